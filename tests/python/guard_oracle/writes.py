"""Random INSERT, UPDATE, DELETE and MERGE."""

from guard_oracle.expressions import Field, Relation, Scope, constant
from guard_oracle.queries import Queries
from guard_oracle.schema import FOREIGN_KEYS, Column, Table
from guard_oracle.sources import quoted
from guard_oracle.tree import Node, Param, Part, clause, expression, items

# Where most writes go; the others are mostly not allowed.
WRITTEN = [
    "users",
    "memberships",
    "products",
    "orders",
    "order_items",
    "shipments",
    "documents",
    "document_shares",
    "events",
    "invoices",
    "invoice_lines",
    "coupons",
    "Order Notes",
]

MEMBER = ["users", "orders", "order_items", "documents", "events", "Order Notes"]


class Writes(Queries):
    """Draws statements that change rows."""

    def write(self) -> tuple[Node, bool]:
        """A statement, and whether it names keys that an invisible row may have."""
        self.budget = 30
        self.residual = False
        self.may_use_params = True
        draw = self.rng.random()
        if draw < 0.32:
            node = self.insert()
        elif draw < 0.58:
            node = self.update()
        elif draw < 0.76:
            node = self.delete()
        elif draw < 0.87:
            node = self.merge()
        else:
            node = self.data_modifying_cte()
        return node, self.residual

    def target(self) -> Table:
        if self.chance(0.03):
            return self.schema.tables[self.rng.choice([*self.schema.tables])]
        usual = MEMBER if self.schema.principal == "a_member" and self.chance(0.85) else WRITTEN
        names = [name for name in usual if name in self.schema.tables]
        return self.schema.tables[self.rng.choice(names)]

    def target_relation(self, table: Table, *, alias: bool) -> tuple[str, Relation]:
        """The target's text in the statement, and what expressions can use."""
        name = self.table_name(table)
        called = (
            self.rng.choice(["t", "x", "tgt", '"T"']) if alias and self.chance(0.4) else quoted(table.name)
        )
        # The isolated database does not compute the one, and the clock sets the other.
        compared = [column for column in table.columns if column.name not in ("email_domain", "updated_at")]
        fields = [
            Field(f"{called}.{self.spelt(c.name)}", c.kind, table.name, c.name, c.name) for c in compared
        ]
        text = name if called == quoted(table.name) else f"{name} AS {called}"
        key = [field for field in fields if field.column in table.key]
        return text, Relation(called, fields, key or None, table.name)

    def fresh(self, table: Table, column: Column, row: int) -> Node:
        """A value for a new row."""
        base = 20001 + self.rng.randint(0, 50) + row * 100
        parent = [(t, c) for owner, own, t, c in FOREIGN_KEYS if (owner, own) == (table.name, column.name)]
        if column.name == "tenant_id":
            outside = self.chance(0.04)
            return expression(column.kind, "2" if outside else "1")
        if parent and self.chance(0.93):
            attack = 0.06
            value = self.schema.value(self.rng, *parent[0], attack=attack)
            if value is not None:
                return self.given(value, column.kind)
        if column.name == "role":
            return expression("text", self.rng.choice(["'admin'", "'member'", "'analyst'"]))
        if column.name in ("quantity",):
            return expression("int", str(self.rng.randint(1, 9)))
        if column.name in table.key or column.name in ("id", "email", "order_no", "sku", "code"):
            if self.chance(0.15):
                value = self.schema.value(self.rng, table.name, column.name, attack=0.2)
                if value is not None:
                    self.residual |= value in self.schema.foreign.get((table.name, column.name), [])
                    return self.given(value, column.kind)
            if column.kind in ("int", "big"):
                return expression("int", str(base))
            if column.kind == "text":
                return expression("text", f"'new-{base}'")
        self.budget = max(self.budget, 3)
        scope = Scope()
        if column.name == "occurred_at":
            return expression(
                "tstz",
                self.rng.choice(["'2024-02-02 00:00+00'::timestamptz", "'2024-08-01'", "'2023-05-05'"]),
            )
        if self.chance(0.15):
            return self.expression(column.kind, scope, 1)
        value = self.schema.value(self.rng, table.name, column.name, attack=0.02)
        return self.given(value, column.kind) if value is not None else self.literal(column.kind)

    def given(self, value: str, kind: str) -> Node:
        if self.chance(0.25):
            self.features.add("parameters")
            return expression(kind, Param(value))
        if self.chance(0.3) and kind not in ("int", "num", "bool", "big"):
            return expression(kind, "'" + value.replace("'", "''") + "'")
        return expression(kind, constant(value, kind, self.rng))

    def columns_to_fill(self, table: Table) -> list[Column]:
        serial = table.name in ("users", "products", "orders", "shipments", "documents")
        chosen = []
        for column in table.columns:
            if (column.generated and self.chance(0.98)) or column.name == "email_domain":
                continue
            needed = not column.nullable and not column.has_default
            if column.name == "tenant_id":
                wanted = self.chance(0.4) or table.name in ("invoice_lines",)
            elif column.name == "id" and serial:
                wanted = self.chance(0.6)
            elif (
                column.name in ("ssn", "salary", "email", "settings", "cost_price", "internal_notes")
                and not needed
            ):
                wanted = self.chance(0.15)
            else:
                wanted = needed or self.chance(0.25)
            if wanted:
                chosen.append(column)
        return chosen

    def insert(self) -> Node:
        """INSERT in all its forms."""
        self.features.add("INSERT")
        table = self.target()
        columns = self.columns_to_fill(table)
        text, relation = self.target_relation(table, alias=True)
        draw = self.rng.random()
        names = f"({', '.join(self.spelt(column.name) for column in columns)})"
        if draw < 0.05:
            self.features.add("DEFAULT VALUES")
            return Node(["INSERT INTO", text, "DEFAULT VALUES", self.returning(relation)])
        if draw < 0.70 or not columns:
            rows: list[Part] = []
            for row in range(self.rng.choice([1, 1, 1, 2, 3])):
                values: list[Part] = [
                    Node(["DEFAULT"])
                    if column.has_default and self.chance(0.1)
                    else self.fresh(table, column, row)
                    for column in columns
                ]
                rows.append(Node(["(", items(values, least=len(values)), ")"]))
            source = Node(["VALUES", items(rows)])
        else:
            source = self.insert_source(table, columns)
        conflict = clause()
        if table.key and self.chance(0.25):
            conflict = self.on_conflict(table, relation)
        return Node(["INSERT INTO", text, names, source, conflict, self.returning(relation)])

    def insert_source(self, table: Table, columns: list[Column]) -> Node:
        """SELECT as the source: fresh values beside what a query gives."""
        self.features.add("INSERT SELECT")
        scope = Scope()
        kept = self.ctes
        keyed = [table for table in self.schema.tables.values() if table.key]
        source = self.table_source(scope, self.rng.choice(keyed))
        key = scope.key()
        listed: list[Part] = []
        for column in columns:
            fields = [f for f in scope.fields() if f.kind == column.kind]
            plain = column.name not in (
                *table.key,
                "id",
                "email",
                "order_no",
                "sku",
                "code",
                "role",
                "quantity",
                "tenant_id",
            )
            is_key = any((owner, own) == (table.name, column.name) for owner, own, _, _ in FOREIGN_KEYS)
            if column.name == "id":
                listed.append(Node(["30000 +", fields[0].ref]) if fields else Node(["30001"]))
            elif fields and plain and not is_key and self.chance(0.7):
                listed.append(Node([self.rng.choice(fields).ref]))
            elif column.name in ("email", "order_no", "sku", "code") and key:
                listed.append(Node(["'n-' ||", key[0].ref, "::text"]))
            else:
                listed.append(self.fresh(table, column, 0))
        order = Node(["ORDER BY", items([field.ref for field in key or []], least=len(key or []))])
        limit = clause(f"LIMIT {self.rng.choice([1, 1, 2, 3])}")
        self.ctes = kept
        where = clause("WHERE", self.expression("bool", scope, 1)) if self.chance(0.4) else clause()
        return Node(["SELECT", items(listed, least=len(listed)), "FROM", source, where, order, limit])

    def on_conflict(self, table: Table, relation: Relation) -> Node:
        self.features.add("ON CONFLICT")
        arbiter = ", ".join(quoted(name) for name in table.key)
        extra = {"users": "email", "orders": "order_no"}.get(table.name)
        if extra and self.chance(0.3):
            arbiter = extra
        if self.chance(0.4):
            return clause("ON CONFLICT", self.rng.choice([f"({arbiter})", ""]), "DO NOTHING")
        excluded = Relation(
            "excluded",
            [
                Field(f"excluded.{quoted(c.name)}", c.kind, table.name, c.name)
                for c in table.columns
                if c.name not in ("email_domain", "updated_at")
            ],
        )
        scope = Scope([relation, excluded])
        where = clause("WHERE", self.expression("bool", scope, 1)) if self.chance(0.3) else clause()
        return clause(f"ON CONFLICT ({arbiter}) DO UPDATE SET", self.assignments(table, scope), where)

    def assignments(self, table: Table, scope: Scope) -> Node:
        """What SET says."""
        usual = [
            c
            for c in table.columns
            if not c.generated
            and c.name not in (*table.key, "tenant_id", "email", "order_no", "sku", "ssn", "salary")
        ]
        if self.schema.principal == "a_member" and table.name == "users":
            usual = [c for c in usual if c.name in ("full_name", "tags")] if self.chance(0.9) else usual
        if self.schema.principal == "a_member":
            usual = [c for c in usual if c.name not in ("owner_id", "user_id") or self.chance(0.1)]
        chosen = (
            self.rng.sample(usual, min(len(usual), self.rng.choice([1, 1, 2, 3])))
            if usual
            else [table.columns[-1]]
        )
        if self.chance(0.06):
            chosen = [self.rng.choice(table.columns)]
        unique = (*table.key, "email", "order_no", "sku", "slug")
        self.residual |= any(column.name in unique for column in chosen)
        parts: list[Part] = []
        if len(chosen) > 1 and self.chance(0.15):
            self.features.add("SET row")
            names = ", ".join(self.spelt(c.name) for c in chosen)
            values: list[Part] = [self.assigned(table, c, scope) for c in chosen]
            return Node(
                [f"({names}) =", self.rng.choice(["ROW", ""]), "(", items(values, least=len(values)), ")"]
            )
        for column in chosen:
            value = (
                Node(["DEFAULT"])
                if column.has_default and self.chance(0.05)
                else self.assigned(table, column, scope)
            )
            parts.append(Node([self.spelt(column.name), "=", value]))
        return items(parts)

    def assigned(self, table: Table, column: Column, scope: Scope) -> Node:
        if column.name in ("role", "quantity") or any(
            (o, c) == (table.name, column.name) for o, c, _, _ in FOREIGN_KEYS
        ):
            return self.fresh(table, column, 0)
        if self.chance(0.6):
            return self.expression(column.kind, scope, 2)
        value = self.schema.value(self.rng, table.name, column.name, attack=0.03)
        return self.given(value, column.kind) if value is not None else self.literal(column.kind)

    def returning(self, *relations: Relation) -> Node:
        if not self.chance(0.5):
            return clause()
        self.features.add("RETURNING")
        if self.chance(0.3):
            return clause("RETURNING", self.rng.choice(["*", f"{relations[0].alias}.*"]))
        listed, _ = self.select_list(None, Scope([*relations]), 1, [])
        return clause("RETURNING", listed)

    def where(self, scope: Scope, table: Table) -> Node:
        relation = scope.relations[0]
        key = [field for field in relation.fields if field.column in table.key]
        if key and self.chance(0.4):
            field = self.rng.choice(key)
            value = self.schema.value(self.rng, table.name, field.column, attack=0.15)
            if value is not None:
                return clause("WHERE", field.ref, "=", self.given(value, field.kind))
        if self.chance(0.9):
            return clause("WHERE", self.condition(scope, 2))
        return clause()

    def update(self) -> Node:
        self.features.add("UPDATE")
        table = self.target()
        text, relation = self.target_relation(table, alias=True)
        scope = Scope([relation])
        if self.chance(0.3):
            # Each row must have one partner at most, else which one counts is open.
            partner = self.partner(table, relation, scope)
            if partner is not None:
                source, condition = partner
                self.features.add("UPDATE FROM")
                values = self.assignments(table, scope)
                more = (
                    clause("AND (", self.expression("bool", scope, 1), ")") if self.chance(0.5) else clause()
                )
                return Node(
                    [
                        "UPDATE",
                        text,
                        "SET",
                        values,
                        "FROM",
                        source,
                        "WHERE",
                        condition,
                        more,
                        self.returning(*scope.relations),
                    ]
                )
        return Node(
            [
                "UPDATE",
                text,
                "SET",
                self.assignments(table, scope),
                self.where(scope, table),
                self.returning(relation),
            ]
        )

    def partner(self, table: Table, relation: Relation, scope: Scope) -> tuple[Node, Node] | None:
        """A table that the target refers to by that table's whole key."""
        found = [
            (own, there, theirs)
            for owner, own, there, theirs in FOREIGN_KEYS
            if owner == table.name
            and there in self.schema.tables
            and self.schema.tables[there].key == (theirs,)
        ]
        if not found:
            return None
        own, there, theirs = self.rng.choice(found)
        source = self.table_source(scope, self.schema.tables[there])
        mine = next(field for field in relation.fields if field.column == own)
        other = next(field for field in scope.relations[-1].fields if field.column == theirs)
        return source, Node([mine.ref, "=", other.ref])

    def delete(self) -> Node:
        self.features.add("DELETE")
        table = self.target()
        text, relation = self.target_relation(table, alias=True)
        scope = Scope([relation])
        # Rows of other tenants may hang on these.
        self.residual |= table.name in ("products", "users", "orders")
        if self.chance(0.3) and (partner := self.partner(table, relation, scope)):
            self.features.add("DELETE USING")
            source, condition = partner
            more = clause("AND (", self.expression("bool", scope, 1), ")") if self.chance(0.6) else clause()
            return Node(
                [
                    "DELETE FROM",
                    text,
                    "USING",
                    source,
                    "WHERE",
                    condition,
                    more,
                    self.returning(*scope.relations),
                ]
            )
        return Node(["DELETE FROM", text, self.where(scope, table), self.returning(relation)])

    def merge(self) -> Node:
        """MERGE on the whole key, so that no row has two partners."""
        self.features.add("MERGE")
        table = self.target()
        if not table.key:
            return self.update()
        self.residual |= table.name in ("products", "users", "orders")
        text, relation = self.target_relation(table, alias=True)
        kinds = {column.name: column.kind for column in table.columns}
        rows: list[Part] = []
        for row in range(self.rng.choice([1, 2])):
            fresh = self.chance(0.4)
            values: list[Part] = []
            for name in table.key:
                column = table.column(name)
                assert column
                value = None if fresh else self.schema.value(self.rng, table.name, name, attack=0.1)
                if value is not None:
                    self.residual |= value in self.schema.foreign.get((table.name, name), [])
                    values.append(Node([constant(value, column.kind, self.rng)]))
                else:
                    values.append(self.fresh(table, column, row))
            values.append(self.literal("text"))
            rows.append(Node(["(", items(values, least=len(values)), ")"]))
        names = [*(f"k{place}" for place in range(len(table.key))), "s"]
        source = Relation(
            "src",
            [
                *(Field(f"src.{n}", kinds[k]) for n, k in zip(names, table.key, strict=False)),
                Field("src.s", "text"),
            ],
        )
        scope = Scope([relation, source])
        on: list[Part] = []
        for place, name in enumerate(table.key):
            on += ["AND"] if on else []
            on += [f"{relation.alias}.{quoted(name)} = src.k{place}"]
        whens: list[Part] = []
        if self.chance(0.8):
            guard = clause("AND", self.expression("bool", scope, 1)) if self.chance(0.3) else clause()
            action: Part = (
                self.rng.choice(["DELETE", "DO NOTHING"])
                if self.chance(0.3)
                else Node(["UPDATE SET", self.assignments(table, scope)])
            )
            whens.append(Node(["WHEN MATCHED", guard, "THEN", action]))
        if self.chance(0.6) or not whens:
            columns = self.columns_to_fill(table)
            given: list[Part] = [
                Node([f"src.k{table.key.index(column.name)}"])
                if column.name in table.key
                else self.fresh(table, column, 0)
                for column in columns
            ]
            listed = ", ".join(self.spelt(column.name) for column in columns)
            new = (
                Node([f"INSERT ({listed}) VALUES (", items(given, least=len(given)), ")"])
                if columns
                else Node(["DO NOTHING"])
            )
            whens.append(Node(["WHEN NOT MATCHED THEN", new]))
        return Node(
            [
                "MERGE INTO",
                text,
                "USING (VALUES",
                items(rows),
                f") AS src({', '.join(names)}) ON",
                Node(on),
                *whens,
            ]
        )

    def data_modifying_cte(self) -> Node:
        self.features.add("data-modifying CTE")
        table = self.target()
        text, relation = self.target_relation(table, alias=False)
        kind = self.rng.choice(["UPDATE", "DELETE", "INSERT"])
        scope = Scope([relation])
        key = relation.key or relation.fields[:1]
        returned = f"RETURNING {', '.join(str(f.ref) for f in key)}"
        if kind == "UPDATE":
            inner = Node(
                ["UPDATE", text, "SET", self.assignments(table, scope), self.where(scope, table), returned]
            )
        elif kind == "DELETE":
            self.residual |= table.name in ("products", "users", "orders")
            inner = Node(["DELETE FROM", text, self.where(scope, table), returned])
        else:
            columns = self.columns_to_fill(table)
            values: list[Part] = [self.fresh(table, column, 0) for column in columns]
            names = ", ".join(self.spelt(column.name) for column in columns)
            inner = Node(
                [
                    "INSERT INTO",
                    text,
                    f"({names})" if columns else "",
                    "VALUES (" if columns else "DEFAULT VALUES",
                    items(values, least=len(values)),
                    ")" if columns else "",
                    returned,
                ]
            )
        fields = [(quoted(f.column), f.kind) for f in key]
        draw = self.rng.random()
        if draw < 0.4:
            body = Node(["SELECT count(*) FROM w"])
        elif draw < 0.7:
            body = Node(["SELECT * FROM w"])
        else:
            # The rest of the statement sees the rows as they were.
            self.ctes = [("w", fields)]
            body = self.select(None, None, 1, top=True).node
            self.ctes = []
        return Node(["WITH w AS (", inner, ")", body])
