"""Random valid queries for SQLite and MySQL."""

import random
import re
from dataclasses import dataclass, field

from guard_oracle.plain_productions import LITERALS, TRAPS, WINDOWS, aggregates, productions
from guard_oracle.plain_schema import JOINS, Schema, Table
from guard_oracle.tree import Node, Part, clause, expression, items

# Where rows of other tenants are visible: an error on them tells of nothing hidden.
SHARED = ("products", "documents")

HOLE = re.compile(r"\{(\w+)\}")

KINDS = ["int", "int", "text", "text", "num", "date", "json"]


@dataclass
class Source:
    """A relation in FROM: what it is called, its columns' kinds, and what tells its rows apart."""

    alias: str
    columns: dict[str, str]
    key: list[str]
    table: Table | None = None


@dataclass
class Query:
    node: Node
    kinds: list[str]
    ordered: bool = False
    loose: bool = False


@dataclass
class PlainQueries:
    """One query."""

    dialect: str
    schema: Schema
    rng: random.Random
    features: set[str] = field(default_factory=set)
    names_foreign_keys: bool = False

    def __post_init__(self) -> None:
        self.productions = productions(self.dialect)
        self.aggregates = aggregates(self.dialect)
        self.may_raise = self.rng.random() < 0.25
        self.attack = self.rng.choice([0.02, 0.1, 0.5])
        self.count = 0

    # Expressions

    def expression(self, kind: str, scope: list[Source], depth: int) -> Node:
        draw = self.rng.random()
        if depth <= 0 or draw < 0.35:
            return self.leaf(kind, scope)
        if depth > 1 and draw < 0.45:
            return self.sub_query(kind, scope, depth)
        if kind == "bool" and self.may_raise and draw < 0.65 and (trap := self.trap(scope)):
            return trap
        listed = [p for p in self.productions[kind] if self.may_raise or not p.startswith("!")]
        return self.fill(self.rng.choice(listed), kind, scope, depth)

    def fill(self, production: str, kind: str, scope: list[Source], depth: int) -> Node:
        if production.startswith("!"):
            self.features.add("may raise")
        parts: list[Part] = []
        for index, piece in enumerate(HOLE.split(production.lstrip("!"))):
            if index % 2 == 0:
                parts.append(piece.replace("{{", "{").replace("}}", "}"))
            elif piece == "key":
                parts.append(self.whole_key(scope))
            else:
                parts.append(self.expression(piece, scope, depth - 1))
        node = expression(kind, "(", Node(parts, separator=""), ")")
        node.separator = ""
        return node

    def trap(self, scope: list[Source]) -> Node | None:
        """An error on rows of others, where one of the relations has such a column."""
        # Also beside them: MariaDB takes one of two equal columns for the other.
        shows_others = any(source.table and source.table.name in SHARED for source in scope)
        found = [
            production.format(f"{source.alias}.{name}")
            for source in scope
            for name, listed in TRAPS[self.dialect].items()
            if source.table
            and name in source.columns
            and (name != "note" or source.table.name == "order_items")
            and not (name == "tenant_id" and shows_others)
            for production in listed
        ]
        if not found:
            return None
        self.features.add("trap")
        return Node(["(", self.rng.choice(found), ")"], kind="bool")

    def leaf(self, kind: str, scope: list[Source]) -> Node:
        fields = [
            (source, name)
            for source in scope
            for name, known in source.columns.items()
            if known == kind or (kind == "num" and known == "int" and self.rng.random() < 0.1)
        ]
        draw = self.rng.random()
        if draw < 0.015 and scope and (table := self.rng.choice(scope).table) and table.hidden:
            self.features.add("hidden column")
            return Node([quoted(self.rng.choice(table.hidden))], kind=kind)
        if fields and draw < 0.75:
            source, name = self.rng.choice(fields)
            written = quoted(name)
            unique = sum(name in other.columns for other in scope) == 1
            if not unique or self.rng.random() < 0.6:
                written = f"{source.alias}.{written}"
            return Node([written], kind=kind)
        if fields and kind in ("int", "text", "num"):
            source, name = self.rng.choice(fields)
            if (
                source.table
                and (value := self.schema.value(self.rng, source.table.name, name, self.attack)) is not None
            ):
                return Node([literal(value)], kind=kind)
        return Node([self.rng.choice(LITERALS[kind])], kind=kind)

    def sub_query(self, kind: str, scope: list[Source], depth: int) -> Node:
        if kind != "bool":
            self.features.add("scalar sub-query")
            inner = self.one_table()
            correlation = clause("WHERE", self.expression("bool", [inner, *scope], depth - 2))
            listed = [p for p in self.aggregates.get(kind, ["max({int})"]) if not p.startswith("!")]
            value = self.fill(self.rng.choice(listed), kind, [inner], 1)
            return expression(kind, "(SELECT", value, "FROM", self.named(inner), correlation, ")")
        if self.rng.random() < 0.5:
            self.features.add("EXISTS")
            inner = self.one_table()
            word = self.rng.choice(["EXISTS", "NOT EXISTS"])
            where = clause("WHERE", self.expression("bool", [inner, *scope], depth - 1))
            return expression("bool", word, "(SELECT 1 FROM", self.named(inner), where, ")")
        self.features.add("IN sub-query")
        compared = self.rng.choice(["int", "text", "int"])
        query = self.select([compared], scope, depth - 2)
        word = self.rng.choice(["IN", "NOT IN"])
        return expression("bool", self.expression(compared, scope, 1), word, "(", query.node, ")")

    def whole_key(self, scope: list[Source]) -> Node:
        parts: list[Part] = [f"{source.alias}.{quoted(name)}" for source in scope for name in source.key]
        return items(parts or ["1"], least=len(parts) or 1)

    # FROM

    def alias(self) -> str:
        self.count += 1
        return self.rng.choice(["t", "x", "u", "o", "a", "q"]) + str(self.count)

    def one_table(self, table: Table | None = None) -> Source:
        table = table or self.schema.tables[self.rng.choice(sorted(self.schema.tables))]
        return Source(self.alias(), dict(table.columns), list(table.key), table)

    def named(self, source: Source) -> Node:
        assert source.table
        name = quoted(source.table.name)
        if self.rng.random() < 0.01 and self.schema.forbidden:
            self.features.add("forbidden table")
            name = quoted(self.rng.choice(self.schema.forbidden))
        return Node([name, self.rng.choice(["AS", ""]), source.alias])

    def derived(self, depth: int) -> tuple[Source, Node]:
        self.features.add("derived table")
        query = self.select(None, [], depth - 1, named=True)
        alias = self.alias()
        columns = {f"c{index}": kind for index, kind in enumerate(query.kinds)}
        return Source(alias, columns, []), Node(["(", query.node, ")", alias])

    def from_clause(self, depth: int) -> tuple[list[Source], Node]:
        if depth > 1 and self.rng.random() < 0.2:
            source, node = self.derived(depth)
            return [source], node
        first = self.one_table()
        scope, parts = [first], [self.named(first)]
        joins: list[Part] = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            joins.append(self.join(scope))
        return scope, Node([*parts, *joins])

    def join(self, scope: list[Source]) -> Node:
        self.features.add("join")
        known = [
            (source, own, target, theirs)
            for source in scope
            for table, own, target, theirs in [*JOINS, *((c, d, a, b) for a, b, c, d in JOINS)]
            if source.table and source.table.name == table and target in self.schema.tables
        ]
        known = [link for link in known if link[1] in link[0].columns]
        known = [link for link in known if link[3] in self.schema.tables[link[2]].columns]
        if not known or self.rng.random() < 0.15:
            source = self.one_table()
            scope.append(source)
            return Node(["CROSS JOIN", self.named(source)])
        left, own, target, theirs = self.rng.choice(known)
        source = self.one_table(self.schema.tables[target])
        on: list[Part] = [f"{left.alias}.{quoted(own)} = {source.alias}.{quoted(theirs)}"]
        scope.append(source)
        words = ["JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN"]
        words += ["STRAIGHT_JOIN", "RIGHT JOIN"] if self.dialect == "mysql" else ["NATURAL JOIN"][:0]
        word = self.rng.choice(words)
        self.features.add(word)
        more = (
            clause("AND", self.expression("bool", [left, source], 1))
            if self.rng.random() < 0.25
            else clause()
        )
        return Node([word, self.named(source), "ON", *on, more])

    # Queries

    def top(self) -> Query:
        draw = self.rng.random()
        if draw < 0.12:
            return self.with_query()
        if draw < 0.24:
            return self.set_operation(2)
        return self.select(None, [], 3, top=True)

    def select(
        self,
        kinds: list[str] | None,
        outer: list[Source],
        depth: int,
        *,
        named: bool = False,
        top: bool = False,
    ) -> Query:
        own, source = self.from_clause(depth)
        scope = [*own, *outer]
        where = clause()
        if self.rng.random() < 0.6:
            where = clause("WHERE", self.expression("bool", scope, max(depth, 1)))
        wanted = kinds or [self.rng.choice(KINDS) for _ in range(self.rng.randint(1, 4))]
        if self.rng.random() < 0.25:
            return self.grouped(wanted, own, scope, source, where, named=named, top=top)
        if top and kinds is None and self.rng.random() < 0.12:
            self.features.add("star")
            # Without an order only: a star has what no ORDER BY here can name.
            return Query(Node(["SELECT *", "FROM", source, where]), [])
        listed: list[Part] = []
        for index, kind in enumerate(wanted):
            value = self.expression(kind, scope, min(depth, 2))
            if kind == "int" and kinds is None and self.rng.random() < 0.12:
                self.features.add("window")
                # Without a key there is no total order, and which row comes first is the plan's choice.
                has_key = all(source.key for source in own)
                windows = [window for window in WINDOWS if has_key or "{key}" not in window]
                value = self.fill(self.rng.choice(windows), "int", own, 1)
            listed.append(Node([value, f"AS c{index}"]) if named or self.rng.random() < 0.4 else value)
        distinct = clause("DISTINCT") if self.rng.random() < 0.1 else clause()
        ending, ordered, loose = self.ending(own, wanted, distinct, top=top)
        return Query(
            Node(["SELECT", distinct, items(listed, least=len(listed)), "FROM", source, where, ending]),
            wanted,
            ordered,
            loose,
        )

    def grouped(
        self,
        wanted: list[str],
        own: list[Source],
        scope: list[Source],
        source: Node,
        where: Node,
        *,
        named: bool,
        top: bool,
    ) -> Query:
        self.features.add("GROUP BY")
        keys = [self.leaf(self.rng.choice(["int", "text"]), own) for _ in range(self.rng.randint(0, 2))]
        # A number there is a position.
        keys = [
            key for key in keys if not str(key.parts[0])[:1].isdigit() and str(key.parts[0])[:1] not in "-N'"
        ]
        listed: list[Part] = []
        for index, kind in enumerate(wanted):
            fitting = [key for key in keys if key.kind == kind]
            if fitting and self.rng.random() < 0.5:
                value = self.rng.choice(fitting)
            else:
                offered = self.aggregates.get(kind) or ["count(*)"]
                offered = [p for p in offered if self.may_raise or not p.startswith("!")]
                value = self.fill(self.rng.choice(offered), kind, scope, 1)
            listed.append(Node([value, f"AS c{index}"]) if named or self.rng.random() < 0.4 else value)
        grouping = Node(["GROUP BY", items([*keys], least=len(keys))]) if keys else clause()
        having = clause()
        if keys and self.rng.random() < 0.3:
            self.features.add("HAVING")
            having = clause("HAVING count(*) >", str(self.rng.choice([0, 1, 3])))
        order = clause()
        if top and self.rng.random() < 0.3:
            order = clause("ORDER BY", ", ".join(str(place) for place in range(1, len(wanted) + 1)))
        return Query(
            Node(
                ["SELECT", items(listed, least=len(listed)), "FROM", source, where, grouping, having, order]
            ),
            wanted,
        )

    def ending(
        self, own: list[Source], wanted: list[str], distinct: Node, *, top: bool
    ) -> tuple[Node, bool, bool]:
        """ORDER BY and LIMIT. An order is total when it ends in the keys."""
        if self.rng.random() > 0.45:
            return clause(), False, False
        self.features.add("ORDER BY")
        if distinct.parts or not all(source.key for source in own):
            places = ", ".join(str(place) for place in range(1, len(wanted) + 1))
            return clause("ORDER BY", places), False, False
        first: list[Part] = []
        if self.rng.random() < 0.6:
            first = [Node([self.leaf("int", own), self.rng.choice(["", "ASC", "DESC"])]), ","]
            if str(first[0].parts[0].parts[0])[:1] in "-N0123456789":  # type: ignore[union-attr]
                first = []
        order = Node(["ORDER BY", *first, self.whole_key(own)])
        limit = clause()
        if self.rng.random() < 0.4:
            self.features.add("LIMIT")
            number = self.rng.choice([0, 1, 3, 10])
            forms = [f"LIMIT {number}", f"LIMIT {number} OFFSET 2"]
            forms += [f"LIMIT 1, {number}"]
            limit = clause(self.rng.choice(forms))
        return Node([order, limit]), True, False

    def set_operation(self, depth: int) -> Query:
        wanted = [self.rng.choice(["int", "text", "int"]) for _ in range(self.rng.randint(1, 3))]
        word = self.rng.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
        self.features.add(word)
        arms = []
        for _ in range(2):
            own, source = self.from_clause(1)
            where = clause("WHERE", self.expression("bool", own, depth))
            listed: list[Part] = [self.expression(kind, own, 1) for kind in wanted]
            arms.append(Node(["SELECT", items(listed, least=len(listed)), "FROM", source, where]))
        order = clause()
        if self.rng.random() < 0.4:
            order = clause("ORDER BY", ", ".join(str(place) for place in range(1, len(wanted) + 1)))
        return Query(Node([arms[0], word, arms[1], order]), wanted)

    def with_query(self) -> Query:
        self.features.add("CTE")
        name = self.rng.choice(["recent", "w1", "users", "orders"])
        if self.rng.random() < 0.25:
            self.features.add("recursive CTE")
            counted = f"WITH RECURSIVE {name}(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM {name} WHERE n < 5)"
            return Query(
                Node(
                    [
                        counted,
                        "SELECT n, (SELECT count(*) FROM order_items WHERE quantity = n)",
                        f"FROM {name}",
                        clause("WHERE n > 2"),
                    ]
                ),
                ["int", "int"],
            )
        inner = self.select(None, [], 2, named=True)
        source = Source("r", {f"c{index}": kind for index, kind in enumerate(inner.kinds)}, [])
        if not inner.kinds:
            return inner
        listed: list[Part] = [self.expression(self.rng.choice(inner.kinds), [source], 1) for _ in range(2)]
        where = clause("WHERE", self.expression("bool", [source], 2))
        return Query(
            Node([f"WITH {name} AS (", inner.node, ") SELECT", items(listed), f"FROM {name} r", where]),
            ["int", "int"],
        )


def quoted(name: str) -> str:
    return name if name.isidentifier() and (name.islower() or "_" in name) else f"`{name}`"


def literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float) or type(value).__name__ == "Decimal":
        return str(value)
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return "'" + str(value).replace("'", "''") + "'"
