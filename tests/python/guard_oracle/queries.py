"""Random queries."""

from collections.abc import Callable

from guard_oracle.expressions import Field, Query, Relation, Scope
from guard_oracle.sources import NAMES, Sources, quoted
from guard_oracle.tree import Node, Part, clause, expression, items

# Cannot be sorted, or not so that equal values look equal.
UNSORTABLE = frozenset({"tsvector"})


class Queries(Sources):
    """Draws SELECT and everything around it."""

    def query(self, kinds: list[str] | None, outer: Scope | None, depth: int) -> Query:
        """A query to be used within another: whatever LIMIT it has leaves nothing open."""
        draw = self.rng.random()
        if draw < 0.10 and depth > 0:
            return self.set_operation(kinds, outer, depth)
        if draw < 0.14:
            return self.values(kinds)
        if draw < 0.20 and depth > 0:
            return self.with_ctes(lambda: self.select(kinds, outer, depth - 1))
        return self.select(kinds, outer, depth)

    def top(self) -> Query:
        """A whole statement."""
        self.budget = 60
        draw = self.rng.random()
        if draw < 0.22:
            query = self.with_ctes(lambda: self.body(2))
        elif draw < 0.25:
            query = self.table_command()
        else:
            query = self.body(2)
        return query

    def body(self, depth: int) -> Query:
        if self.chance(0.12):
            return self.set_operation(None, None, depth, top=True)
        if self.chance(0.03):
            return self.values(None)
        return self.select(None, None, depth, top=True)

    def table_command(self) -> Query:
        self.features.add("TABLE")
        table = self.table()
        return Query(Node([f"TABLE {quoted(table.name)}"]), [(quoted(c.name), c.kind) for c in table.columns])

    def select(self, kinds: list[str] | None, outer: Scope | None, depth: int, *, top: bool = False) -> Query:
        """One SELECT."""
        scope = Scope(outer=outer)
        size = self.rng.choice([1, 1, 1, 2, 2, 3]) if depth > 0 else self.rng.choice([1, 1, 2])
        source = self.from_clause(scope, size, depth)
        if len(scope.relations) > 1:
            self.features.add("join")
        where: Node = clause()
        if self.chance(0.6):
            kept = self.may_raise
            self.may_raise = kept and len(scope.relations) == 1 and self.chance(0.5)
            where = clause("WHERE", self.condition(scope, depth))
            self.may_raise = kept
        if self.chance(0.25):
            return self.grouping_select(kinds, scope, source, where, depth, top=top)
        named, windows = self.named_windows(scope) if top and self.chance(0.06) else ([], clause())
        scope.windows = self.chance(0.3)
        if kinds is None and self.chance(0.15):
            listed, fields = self.star(scope)
        else:
            listed, fields = self.select_list(kinds, scope, depth, named)
        scope.windows = False
        distinct, order, ordered = self.ending(scope, fields, listed, top=top)
        limit, loose = self.limit(ordered, top=top)
        node = Node(["SELECT", distinct, listed, "FROM", source, where, windows, order, limit])
        return Query(node, fields, ordered, loose)

    def condition(self, scope: Scope, depth: int) -> Node:
        condition = self.expression("bool", scope, max(1, depth))
        if self.chance(0.3):
            condition = expression(
                "bool",
                "(",
                condition,
                ")",
                self.rng.choice(["AND", "OR"]),
                "(",
                self.expression("bool", scope, depth),
                ")",
            )
        if self.chance(0.12) and (trap := self.trap(scope)):
            condition = expression(
                "bool",
                "(",
                trap,
                self.rng.choice([">= -100000", "<> 12345", "IS NOT NULL"]),
                ") AND (",
                condition,
                ")",
            )
        return condition

    def named_windows(self, scope: Scope) -> tuple[list[str], Node]:
        self.features.add("named window")
        text = Node(
            [
                "WINDOW w AS (PARTITION BY",
                self.sortable(scope),
                ")",
                ", w2 AS (w ORDER BY",
                self.sortable(scope),
                ")",
            ]
        )
        return ["count(*) OVER w", "rank() OVER w2", "sum(1) OVER (w)"], text

    def select_list(
        self, kinds: list[str] | None, scope: Scope, depth: int, named: list[str]
    ) -> tuple[Node, list[tuple[str, str]]]:
        """Items, mostly with names of their own."""
        wanted = kinds or [self.any_kind() for _ in range(self.rng.randint(1, 5))]
        listed: list[Part] = []
        fields: list[tuple[str, str]] = []
        for kind in wanted:
            hidden = self.hidden(scope) if self.chance(0.006) else None
            value = hidden or self.expression(kind, scope, 2 if depth > 0 else 1)
            name = self.name(kind, {known for known, _ in fields})
            if name and self.chance(0.85 if kinds is None else 0.5):
                word = (
                    self.rng.choice(["AS", "AS", "AS", ""])
                    if name not in ("name", "at", "day", "total", "doc")
                    else "AS"
                )
                listed.append(Node([value, word, name]))
                fields.append((name, kind))
            else:
                listed.append(value)
                fields.append(("?", kind))
        for text in named:
            listed.append(Node([text]))
            fields.append(("?", "big"))
        return items(listed, least=1 if kinds is None else len(listed)), fields

    def hidden(self, scope: Scope) -> Node | None:
        """A column that is not there for the principal. The oracle then errs."""
        for relation in scope.relations:
            table = self.schema.tables.get(relation.table)
            if table and table.hidden:
                self.features.add("hidden column")
                return Node([f"{relation.alias}.{self.rng.choice(table.hidden)}"])
        return None

    def name(self, kind: str, taken: set[str]) -> str | None:
        free = [name for name in NAMES.get(kind, [f"c_{kind}"]) if name not in taken]
        return self.rng.choice(free) if free else None

    def star(self, scope: Scope) -> tuple[Node, list[tuple[str, str]]]:
        """`*`, and its kin."""
        self.features.add("star")
        relation = self.rng.choice(scope.relations)
        chosen = scope.relations if self.chance(0.6) or not relation.has_row else [relation]
        text = "*" if chosen is scope.relations else f"{relation.alias}.*"
        fields = [
            (quoted(field.name) if field.name else "?", field.kind)
            for part in chosen
            for field in part.fields
        ]
        if self.chance(0.2):
            return items([text, Node([self.expression("int", scope, 1), "AS extra"])]), [
                *fields,
                ("extra", "int"),
            ]
        return Node([text]), fields

    def ending(
        self, scope: Scope, fields: list[tuple[str, str]], listed: Node, *, top: bool
    ) -> tuple[Node, Node, bool]:
        """DISTINCT, ORDER BY, and whether that leaves nothing open."""
        sortable = all(kind not in UNSORTABLE for _, kind in fields)
        starry = len(listed.parts) != len(fields) or listed.least < 0
        distinct = clause()
        if sortable and not starry and self.chance(0.1):
            if self.chance(0.5):
                self.features.add("DISTINCT")
                distinct = clause("DISTINCT")
            elif key := scope.key():
                self.features.add("DISTINCT ON")
                chosen = self.sortable(scope)
                order = [Node([chosen]), *[self.sorted_by(field.ref) for field in key]]
                ordered = self.joined_order(order)
                return Node(["DISTINCT ON (", chosen, ")"]), ordered, False
        if not self.chance(0.5):
            return distinct, clause(), False
        self.features.add("ORDER BY")
        plain = not distinct.parts
        if plain and self.chance(0.25):
            key = scope.key()
            order = [self.sorted_by(self.sortable(scope))]
            if key:
                return (
                    distinct,
                    self.joined_order([*order, *[self.sorted_by(field.ref) for field in key]]),
                    True,
                )
            return distinct, self.joined_order(order), False
        if not sortable or starry:
            return distinct, clause(), False
        positions: list[Node] = []
        for position, (name, _) in enumerate(fields, 1):
            unambiguous = name != "?" and sum(1 for known, _ in fields if known == name) == 1
            positions.append(self.sorted_by(name if unambiguous and self.chance(0.4) else str(position)))
        self.rng.shuffle(positions)
        return distinct, self.joined_order(positions), True

    def joined_order(self, order: list[Node]) -> Node:
        return clause("ORDER BY", items([*order], least=1))

    def limit(self, ordered: bool, *, top: bool) -> tuple[Node, bool]:
        """LIMIT where the order is total; at the top now and then without."""
        if not ordered and not (top and self.chance(0.04)):
            return clause(), False
        if not self.chance(0.3 if ordered else 1):
            return clause(), False
        self.features.add("LIMIT")
        count = self.rng.choice([0, 1, 2, 3, 5, 10, 100])
        form = self.rng.choice(
            [
                f"LIMIT {count}",
                f"LIMIT {count} OFFSET {self.rng.choice([0, 1, 3])}",
                f"OFFSET {self.rng.choice([1, 2])}",
                f"OFFSET 1 ROWS FETCH NEXT {count} ROWS ONLY",
                f"FETCH FIRST {count} ROW ONLY",
                f"FETCH FIRST {count} ROWS WITH TIES",
                "LIMIT ALL",
                f"OFFSET 1 LIMIT {count}",
                f"LIMIT (SELECT {count})",
            ]
        )
        return clause(form), not ordered

    def grouping_select(
        self, kinds: list[str] | None, scope: Scope, source: Node, where: Node, depth: int, *, top: bool
    ) -> Query:
        """SELECT with GROUP BY, or aggregates over all rows."""
        self.features.add("GROUP BY")
        kept, self.may_use_params = self.may_use_params, False
        keys: list[Field] = []
        draw = self.rng.random()
        grouping: Node = clause()
        keyed = [
            relation
            for relation in scope.relations
            if relation.key
            and relation.table in self.schema.tables
            and self.schema.tables[relation.table].key
        ]
        real = [relation for relation in keyed if relation.table not in ("order_totals", "tenant_revenue")]
        if draw < 0.12 and real:
            self.features.add("GROUP BY primary key")
            relation = self.rng.choice(real)
            assert relation.key
            keys = list(relation.fields)
            grouping = Node(
                ["GROUP BY", items([field.ref for field in relation.key], least=len(relation.key))]
            )
        elif draw < 0.85:
            count = self.rng.randint(1, 3)
            for _ in range(count):
                key = self.sortable(scope)
                if self.chance(0.15):
                    key = self.fill("date_trunc('month', {tstz})", "tstz", scope, 0)
                keys.append(Field(key, key.kind))
            refs: list[Part] = [key.ref for key in keys]
            form = self.rng.random()
            if form < 0.65:
                grouping = Node(["GROUP BY", items(refs, least=len(refs))])
            elif form < 0.95:
                word = self.rng.choice(["ROLLUP", "CUBE", "GROUPING SETS"])
                self.features.add(word)
                sets: list[Part] = [*refs]
                if word == "GROUPING SETS":
                    sets = [*(Node(["(", ref, ")"]) for ref in refs), "()"]
                grouping = Node(["GROUP BY", word, "(", items(sets, least=len(sets)), ")"])
            else:
                grouping = Node(["GROUP BY DISTINCT", items(refs, least=len(refs))])
        grouped = Scope(scope.relations, keys, Scope(scope.relations), scope.outer)
        grouped.windows = self.chance(0.1)
        having = clause()
        if self.chance(0.3):
            self.features.add("HAVING")
            having = clause("HAVING", self.expression("bool", grouped, 2))
        listed, fields = self.select_list(kinds, grouped, min(depth, 1), [])
        grouped.windows = False
        if kinds is None and keys and self.chance(0.2) and "ROLLUP" in self.features:
            listed.parts.append(Node(["grouping(", keys[0].ref, ")"]))
            fields.append(("?", "int"))
        sortable = all(kind not in UNSORTABLE for _, kind in fields)
        order, ordered = clause(), False
        if sortable and self.chance(0.5):
            self.features.add("ORDER BY")
            order, ordered = (
                self.joined_order([self.sorted_by(str(place)) for place in range(1, len(fields) + 1)]),
                True,
            )
        limit, loose = self.limit(ordered, top=top)
        self.may_use_params = kept
        node = Node(["SELECT", listed, "FROM", source, where, grouping, having, order, limit])
        return Query(node, fields, ordered, loose)

    def set_operation(
        self, kinds: list[str] | None, outer: Scope | None, depth: int, *, top: bool = False
    ) -> Query:
        """UNION, INTERSECT, EXCEPT."""
        wanted = kinds or [self.any_kind() for _ in range(self.rng.randint(1, 3))]
        operator = self.rng.choice(
            ["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL", "UNION DISTINCT"]
        )
        self.features.add(operator.split()[0])
        left, right = self.arm(wanted, outer, depth), self.arm(wanted, outer, depth)
        parts: list[Part] = [left.node, operator, right.node]
        if self.chance(0.2):
            parts += [self.rng.choice(["UNION ALL", "EXCEPT", "INTERSECT"]), self.arm(wanted, outer, 0).node]
        ordered = False
        fields = left.fields
        if self.chance(0.5):
            self.features.add("ORDER BY")
            parts.append(
                self.joined_order([self.sorted_by(str(place)) for place in range(1, len(wanted) + 1)])
            )
            ordered = True
        limit, loose = self.limit(ordered, top=top)
        parts.append(limit)
        return Query(Node(parts), fields, ordered, loose)

    def arm(self, kinds: list[str], outer: Scope | None, depth: int) -> Query:
        """One side of a set operation, in parentheses when it ends in clauses of its own."""
        query = self.select(kinds, outer, depth - 1)
        query.node = Node(["(", query.node, ")"])
        return query

    def values(self, kinds: list[str] | None) -> Query:
        self.features.add("VALUES")
        wanted = kinds or [self.rng.choice(["int", "text", "num"]) for _ in range(self.rng.randint(1, 3))]
        rows: list[Part] = []
        for _ in range(self.rng.randint(1, 3)):
            row: list[Part] = [self.literal(kind) for kind in wanted]
            rows.append(Node(["(", items(row, least=len(row)), ")"]))
        return Query(
            Node(["VALUES", items(rows)]), [(f"column{n}", kind) for n, kind in enumerate(wanted, 1)]
        )

    def with_ctes(self, body: Callable[[], Query]) -> Query:
        """WITH, and a query that uses it."""
        self.features.add("CTE")
        kept = list(self.ctes)
        listed: list[Part] = []
        recursive = self.chance(0.3)
        for _ in range(self.rng.randint(1, 2)):
            name = self.rng.choice(["c1", "users", "orders", "recent", '"Big"', "order_items", "public", "t"])
            if any(name == known for known, _ in self.ctes[len(kept) :]):
                continue
            if recursive and self.chance(0.6):
                node, fields = self.recursive(name)
            else:
                query = self.query(None, None, 1)
                fields = self.nameable(query.fields)
                columns = f"({', '.join(f for f, _ in fields)})" if fields is not query.fields else ""
                how = self.rng.choice(["", "", "MATERIALIZED", "NOT MATERIALIZED"])
                if self.ctes_named(name) and name in self.schema.tables:
                    self.features.add("CTE shadows a table")
                node = Node([f"{name}{columns} AS", how, "(", query.node, ")"])
            listed.append(node)
            self.ctes = [known for known in self.ctes if known[0] != name] + [(name, fields)]
        query = body()
        self.ctes = kept
        query.node = Node(["WITH RECURSIVE" if recursive else "WITH", items(listed), query.node])
        return query

    def ctes_named(self, name: str) -> bool:
        return name.strip('"') in self.schema.tables

    def nameable(self, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Names for all columns, where some lack one."""
        names = [name for name, _ in fields]
        if "?" in names or len(set(names)) < len(names):
            return [(f"e{index}", kind) for index, (_, kind) in enumerate(fields)]
        return fields

    def recursive(self, name: str) -> tuple[Node, list[tuple[str, str]]]:
        self.features.add("recursive CTE")
        if self.chance(0.5):
            limit = self.rng.randint(2, 5)
            node = Node([f"{name}(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM {name} WHERE n < {limit})"])
            return node, [("n", "int")]
        start = self.rng.choice(["manager_id IS NULL", "id = 1", "id IN (101, 1)", "manager_id = 1"])
        union = self.rng.choice(["UNION", "UNION ALL"])
        users = "public.users"
        node = Node(
            [
                f"{name}(id, email, depth) AS (SELECT id, email, 0 FROM {users} WHERE {start} {union}"
                f" SELECT u.id, u.email, r.depth + 1 FROM {users} u JOIN {name} r ON u.manager_id = r.id"
                " WHERE r.depth < 4)"
            ]
        )
        return node, [("id", "int"), ("email", "text"), ("depth", "int")]

    def sub_query(self, kind: str, scope: Scope, depth: int) -> Node:
        """A query within an expression."""
        outer = (
            scope if scope.grouped is None else Scope([Relation("", [f for f in scope.grouped if f.table])])
        )
        kept, self.ctes = self.ctes, self.ctes
        draw = self.rng.random()
        if kind == "bool":
            node = self.sub_query_condition(outer, depth, draw)
        elif kind in ("texts", "ints") and draw < 0.5:
            inner = self.select([kind.removesuffix("s")] if kind == "ints" else ["text"], outer, depth - 2)
            if not inner.ordered:
                inner.node = Node(["SELECT s FROM (", inner.node, ") AS z(s) ORDER BY 1"])
            node = expression(kind, "ARRAY(", inner.node, ")")
            self.features.add("ARRAY sub-query")
        else:
            node = self.scalar(kind, outer, depth)
        self.ctes = kept
        return node

    def scalar(self, kind: str, outer: Scope, depth: int) -> Node:
        """At most one row: by an aggregate, or by LIMIT 1 in a total order."""
        self.features.add("scalar sub-query")
        inner = self.select([kind], outer, depth - 2)
        if kind in UNSORTABLE:
            return self.leaf(kind, outer)
        direction = self.rng.choice(["", " DESC", " NULLS FIRST"])
        return expression(
            kind, "(", "SELECT z.s FROM (", inner.node, f") AS z(s) ORDER BY z.s{direction} LIMIT 1", ")"
        )

    def sub_query_condition(self, outer: Scope, depth: int, draw: float) -> Node:
        if draw < 0.4:
            self.features.add("EXISTS")
            inner = self.select(None, outer, depth - 2)
            return expression("bool", self.rng.choice(["EXISTS", "NOT EXISTS"]), "(", inner.node, ")")
        kind = self.rng.choice(["int", "text", "int", "num", "date"])
        left = self.expression(kind, outer, 1)
        inner = self.query([kind], outer, depth - 2)
        if draw < 0.75:
            self.features.add("IN sub-query")
            return expression("bool", left, self.rng.choice(["IN", "NOT IN", "IN"]), "(", inner.node, ")")
        if draw < 0.85:
            self.features.add("row IN sub-query")
            pair = self.select([kind, "text"], outer, depth - 2)
            return expression(
                "bool", "(", left, ",", self.expression("text", outer, 1), ")", "IN", "(", pair.node, ")"
            )
        self.features.add("ANY/ALL")
        operator = self.rng.choice(["=", "<>", "<", ">="])
        return expression(
            "bool", left, operator, self.rng.choice(["ANY", "ALL", "SOME"]), "(", inner.node, ")"
        )
