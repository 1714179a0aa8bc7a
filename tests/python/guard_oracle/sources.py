"""Random FROM clauses."""

from guard_oracle.expressions import COMMON, Expressions, Field, Query, Relation, Scope
from guard_oracle.schema import FOREIGN_KEYS, Table
from guard_oracle.tree import Node, Part, clause, items

ALIASES = [
    "t",
    "u",
    "o",
    "x",
    "a",
    "b",
    "users",
    "orders",
    '"T"',
    '"Order Notes"',
    "documents",
    "q",
    "r",
    '"a b"',
    "email",
    "id",
    "tenant_id",
]

# Names by kind, so that NATURAL and USING find columns that compare; some are columns elsewhere.
NAMES = {
    "int": ["n", "id", "user_id", "tenant_id", "order_id", '"N"'],
    "big": ["c", "cnt"],
    "num": ["amount", "total", "salary", "price"],
    "text": ["s", "email", "name", "note", "ssn", "full_name", '"Mixed Case"', "title"],
    "bool": ["flag", "is_active"],
    "tstz": ["at", "created_at", "placed_at"],
    "ts": ["moment"],
    "date": ["day", "shipped_on"],
    "jsonb": ["doc", "profile", "settings"],
    "texts": ["tags", "labels"],
    "ints": ["numbers"],
}


def quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'


class Sources(Expressions):
    """Draws tables, joins and functions in FROM."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.ctes: list[tuple[str, list[tuple[str, str]]]] = []
        self._count = 0

    def from_clause(self, scope: Scope, size: int, depth: int) -> Node:
        """Fills the scope, and answers what stands after FROM."""
        node = self.source(scope, depth)
        for _ in range(size - 1):
            node = self.join(node, scope, depth)
        return node

    def source(self, scope: Scope, depth: int, *, lateral: bool = False) -> Node:
        """One entry. With `lateral`, functions and sub-queries may use what stands before."""
        draw = self.rng.random()
        if self.ctes and draw < 0.3:
            return self.cte_source(scope)
        if draw < 0.72 or depth <= 0:
            return self.table_source(scope)
        if draw < 0.86:
            return self.derived_source(scope, depth, lateral=lateral)
        if draw < 0.92:
            return self.values_source(scope)
        return self.function_source(scope, lateral=lateral)

    def alias(self, scope: Scope) -> str:
        """A name that no other entry has."""
        taken = {relation.alias for relation in scope.relations}
        if self.chance(0.5):
            free = [name for name in ALIASES if name not in taken]
            return self.rng.choice(free)
        self._count += 1
        return f"t{self._count}"

    def table(self) -> Table:
        names = [
            *self.schema.tables,
            "users",
            "orders",
            "order_items",
            "users",
            "orders",
            "documents",
            "products",
        ]
        return self.schema.tables[self.rng.choice(names)]

    def table_source(self, scope: Scope, table: Table | None = None) -> Node:
        """A table, mostly under an alias."""
        table = table or self.table()
        name = self.table_name(table)
        taken = {relation.alias for relation in scope.relations}
        shadowed = any(quoted(table.name) == cte for cte, _ in self.ctes)
        if shadowed and "public." not in name:
            name = "public." + quoted(table.name)
        bare = quoted(table.name) not in taken and self.chance(0.35)
        alias = quoted(table.name) if bare else self.alias(scope)
        names = [column.name for column in table.columns]
        text = name if bare else f"{name} {self.rng.choice(['AS ', ''])}{alias}"
        if not bare and self.chance(0.05):
            self.features.add("column aliases")
            count = self.rng.randint(1, min(3, len(names)))
            names[:count] = [f"k{index}" for index in range(count)]
            text = f"{name} AS {alias}({', '.join(names[:count])})"
        fields = [
            Field(f"{alias}.{self.spelt(new)}", column.kind, table.name, column.name, new)
            for new, column in zip(names, table.columns, strict=True)
        ]
        key = [fields[index] for index, column in enumerate(table.columns) if column.name in table.key]
        scope.relations.append(Relation(alias, fields, key or None, table.name))
        if self.chance(0.01):
            return Node(["ONLY", text])
        return Node([text])

    def table_name(self, table: Table) -> str:
        name = quoted(table.name)
        if name == table.name and self.chance(0.1):
            name = f'"{name}"'
        return f"public.{name}" if self.chance(0.07) else name

    def spelt(self, name: str) -> str:
        if name == quoted(name) and self.chance(0.06):
            return f'"{name}"'
        return quoted(name)

    def cte_source(self, scope: Scope) -> Node:
        name, fields = self.rng.choice(self.ctes)
        alias = (
            name
            if name not in {relation.alias for relation in scope.relations} and self.chance(0.6)
            else self.alias(scope)
        )
        scope.relations.append(Relation(alias, self.fields_of(alias, fields)))
        return Node([name if alias == name else f"{name} AS {alias}"])

    def fields_of(self, alias: str, fields: list[tuple[str, str]]) -> list[Field]:
        """The columns of a sub-query. Of two with one name neither can be named."""
        names = [name for name, _ in fields]
        return [
            Field(f"{alias}.{name}", kind, name=name.strip('"'))
            for name, kind in fields
            if names.count(name) == 1 and name != "?"
        ]

    def derived_source(self, scope: Scope, depth: int, *, lateral: bool) -> Node:
        """A sub-query in FROM."""
        uses = lateral and self.chance(0.5)
        outer = (
            Scope(list(scope.relations), outer=scope.outer)
            if uses
            else scope.outer
            if self.chance(0.3)
            else None
        )
        query = self.query(None, outer, depth - 1)
        alias = self.alias(scope)
        fields = query.fields
        named = alias
        if self.chance(0.15):
            self.features.add("column aliases")
            fields = [(f"d{index}", kind) for index, (_, kind) in enumerate(fields)]
            named = f"{alias}({', '.join(name for name, _ in fields)})"
        scope.relations.append(Relation(alias, self.fields_of(alias, fields)))
        self.features.add("LATERAL" if uses else "derived table")
        return Node(["LATERAL" if uses else "", "(", query.node, ")", "AS", named])

    def values_source(self, scope: Scope) -> Node:
        self.features.add("VALUES in FROM")
        kinds = [self.rng.choice(["int", "text", "num", "bool"]) for _ in range(self.rng.randint(1, 3))]
        rows: list[Part] = []
        for _ in range(self.rng.randint(1, 3)):
            row: list[Part] = [self.literal(kind) for kind in kinds]
            rows.append(Node(["(", items(row, least=len(row)), ")"]))
        alias = self.alias(scope)
        names = [f"v{index}" for index in range(len(kinds))]
        scope.relations.append(Relation(alias, self.fields_of(alias, list(zip(names, kinds, strict=True)))))
        return Node(["(", "VALUES", items(rows), ")", f"AS {alias}({', '.join(names)})"])

    def function_source(self, scope: Scope, *, lateral: bool) -> Node:
        """A function in FROM."""
        self.features.add("function in FROM")
        alias = self.alias(scope)
        inner = Scope(list(scope.relations)) if lateral else Scope()
        kind, call = self.rng.choice(
            [
                ("int", lambda: Node(["generate_series(1,", self.fill("({int} & 3)", "int", inner, 0), ")"])),
                ("int", lambda: Node(["generate_series(1, 5, 2)"])),
                ("tstz", lambda: Node(["generate_series(timestamptz '2024-01-01', '2024-01-03', '1 day')"])),
                ("text", lambda: Node(["unnest(", self.expression("texts", inner, 1), ")"])),
                ("int", lambda: Node(["unnest(", self.expression("ints", inner, 1), ")"])),
                ("text", lambda: Node(["jsonb_object_keys(", self.objects(inner), ")"])),
                (
                    "text",
                    lambda: Node(
                        [
                            "jsonb_array_elements_text(jsonb_build_array(",
                            self.expression("text", inner, 1),
                            "))",
                        ]
                    ),
                ),
                ("text", lambda: Node(["string_to_table(", self.expression("text", inner, 0), ", '-')"])),
                (
                    "text",
                    lambda: Node(["regexp_split_to_table(", self.expression("text", inner, 0), ", ' ')"]),
                ),
                ("pair", lambda: Node(["jsonb_each_text(", self.objects(inner), ")"])),
                ("record", lambda: Node(["jsonb_to_record(", self.objects(inner), ")"])),
                (
                    "rows",
                    lambda: Node(
                        [
                            "ROWS FROM (generate_series(1, 2), unnest(",
                            self.expression("texts", inner, 0),
                            "))",
                        ]
                    ),
                ),
            ]
        )
        fields: list[tuple[str, str]]
        if kind == "pair":
            fields = [("k", "text"), ("v", "text")]
            named = f"{alias}(k, v)"
        elif kind == "record":
            fields = [("theme", "text"), ("n", "int"), ("address", "jsonb")]
            named = f"{alias}(theme text, n int, address jsonb)"
        elif kind == "rows":
            fields = [("g", "int"), ("e", "text")]
            named = f"{alias}(g, e)"
        else:
            fields = [("f", kind)]
            named = f"{alias}(f)"
        with_ordinality = kind not in ("record",) and self.chance(0.2)
        node = call()
        if with_ordinality:
            self.features.add("WITH ORDINALITY")
            fields = [*fields, ("ord", "big")]
            named = named[:-1] + ", ord)"
        scope.relations.append(Relation(alias, self.fields_of(alias, fields), has_row=False))
        prefix = "LATERAL" if lateral and self.chance(0.3) else ""
        return Node([prefix, node, "WITH ORDINALITY" if with_ordinality else "", "AS", named])

    def objects(self, scope: Scope) -> Part:
        """A JSON object, which these functions insist on."""
        columns = [
            f for f in scope.fields() if f.kind == "jsonb" and f.table and f.column not in ("payload",)
        ]
        if columns and self.chance(0.8):
            return self.rng.choice(columns).ref
        return '\'{"theme": "x", "n": 4, "address": {"zip": "1"}}\'::jsonb'

    def join(self, left: Node, scope: Scope, depth: int) -> Node:
        """One more entry, joined."""
        draw = self.rng.random()
        before = list(scope.relations)
        if draw < 0.6 and (pair := self.related(before)):
            table, relation, ref, column = pair
            right = self.table_source(scope, table)
            new = scope.relations[-1]
            own = next(field for field in new.fields if field.column == column)
            return self.with_condition(left, right, Node([own.ref, "=", ref]), scope, relation, new)
        right = self.source(scope, depth, lateral=True)
        new = scope.relations[-1]
        lateral = "LATERAL" in str(right.parts[0])
        common = self.common(before, new)
        if common and draw < 0.75 and not lateral:
            return self.merging(left, right, common, scope, before, new)
        condition = self.equality(before, new)
        if condition is None:
            self.features.add("CROSS JOIN")
            scope_size = len([r for r in scope.relations if r.table])
            if scope_size > 2:
                scope.relations.pop()
                return left
            return (
                Node([left, self.rng.choice(["CROSS JOIN", ","]), right])
                if len(before) < 2
                else Node([left, "CROSS JOIN", right])
            )
        return self.with_condition(left, right, condition, scope, before[-1], new, lateral=lateral)

    def with_condition(
        self,
        left: Node,
        right: Node,
        condition: Node,
        scope: Scope,
        near: Relation,
        new: Relation,
        *,
        lateral: bool = False,
    ) -> Node:
        kinds = ["JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "JOIN"] + (
            [] if lateral else ["RIGHT JOIN", "FULL JOIN"]
        )
        kind = self.rng.choice(kinds)
        self.features.add(kind.replace("INNER ", "").replace("OUTER ", ""))
        parts: list[Part] = [left, kind, right, "ON", condition]
        if self.chance(0.25) and "FULL" not in kind:
            parts.append(clause("AND", self.expression("bool", Scope(scope.relations), 1)))
        return Node(["(", *parts, ")"]) if self.chance(0.12) else Node(parts)

    def related(self, before: list[Relation]) -> tuple[Table, Relation, Part, str] | None:
        """A table that has a foreign key to what stands before, or the other way round."""
        found = []
        for relation in before:
            for table, column, target, target_column in FOREIGN_KEYS:
                for here, mine, there, theirs in (
                    (table, column, target, target_column),
                    (target, target_column, table, column),
                ):
                    if relation.table == here and there in self.schema.tables:
                        ref = next((field.ref for field in relation.fields if field.column == mine), None)
                        if ref is not None:
                            found.append((self.schema.tables[there], relation, ref, theirs))
        return self.rng.choice(found) if found else None

    def equality(self, before: list[Relation], new: Relation) -> Node | None:
        pairs = [
            (mine.ref, theirs.ref)
            for mine in new.fields
            for relation in before
            for theirs in relation.fields
            if mine.kind == theirs.kind and mine.kind not in ("tsvector", "bool", "bytea")
        ]
        if not pairs:
            return None
        mine, theirs = self.rng.choice(pairs)
        return Node([mine, "=", theirs])

    def common(self, before: list[Relation], new: Relation) -> list[str]:
        """Names that a join may merge: once on each side, of one kind."""
        left = [field for relation in before for field in relation.fields]
        names = [field.name for field in left]
        mine = {field.name: field.kind for field in new.fields}
        return [
            field.name
            for field in left
            if names.count(field.name) == 1
            and mine.get(field.name) == field.kind
            and field.kind != "tsvector"
        ]

    def merging(
        self, left: Node, right: Node, common: list[str], scope: Scope, before: list[Relation], new: Relation
    ) -> Node:
        """NATURAL JOIN and USING."""
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "INNER JOIN"])
        lefts = [field.name for relation in before for field in relation.fields]
        everything = {field.name for field in new.fields} & set(lefts)
        if self.chance(0.3) and everything == set(common):
            self.features.add("NATURAL JOIN")
            names = common
            node = Node([left, "NATURAL", kind, right])
        else:
            self.features.add("USING")
            names = self.rng.sample(common, self.rng.randint(1, min(2, len(common))))
            node = Node([left, kind, right, f"USING ({', '.join(map(quoted, names))})"])
        # What is merged goes by its bare name too.
        for name in names:
            merged = next(field for field in new.fields if field.name == name)
            if self.chance(0.7):
                merged.ref = quoted(name)
        return node

    def query(self, kinds: list[str] | None, outer: Scope | None, depth: int) -> Query:
        raise NotImplementedError

    def any_kind(self) -> str:
        return self.rng.choice(COMMON)
