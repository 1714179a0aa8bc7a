"""Random valid changes for SQLite and MySQL."""

from guard_oracle.plain_queries import PlainQueries, Query, Source, literal, quoted
from guard_oracle.plain_schema import Table
from guard_oracle.tree import Node, Part, clause, items

# What everybody who writes may change in full: where triggers can stand for the write rules, see
# mysql_derive.
WRITTEN = {
    "a_admin": (
        "users",
        "orders",
        "order_items",
        "shipments",
        "documents",
        "invoices",
        "coupons",
        "memberships",
    ),
    "a_member": ("orders", "order_items"),
}
WRITTEN["a_group"] = WRITTEN["a_admin"]


class PlainWrites(PlainQueries):
    """One query or change."""

    def write(self) -> Query:
        name = self.rng.choice([n for n in WRITTEN[self.schema.principal] if n in self.schema.tables])
        table = self.schema.tables[name]
        draw = self.rng.random()
        if draw < 0.4:
            return Query(self.update(table), [])
        return Query(self.delete(table) if draw < 0.6 else self.insert(table), [])

    def settable(self, table: Table) -> list[str]:
        fixed = {
            *table.key,
            "tenant_id",
            "line_total",
            "ssn",
            "settings",
            "user_id",
            "owner_id",
            "state",
            "order_id",
        }
        return [name for name, kind in table.columns.items() if name not in fixed and kind != "date"]

    def update(self, table: Table) -> Node:
        self.features.add("UPDATE")
        # A text of the table's own column, so that it fits.
        source = Source(quoted(table.name), dict(table.columns), list(table.key), table)
        sets: list[Part] = []
        offered = self.settable(table)
        for name in self.rng.sample(offered, min(len(offered), self.rng.randint(1, 2))):
            if self.rng.random() < 0.5:
                value = self.value_for(table, name)
                # Somebody's e-mail or order number may be a key that is taken.
                self.names_foreign_keys = True
            else:
                value = self.expression(table.columns[name], [source], 1)
            sets.append(Node([f"{quoted(name)} =", value]))
        where = clause("WHERE", self.expression("bool", [source], 2))
        ending = clause()
        if self.dialect == "mysql" and self.rng.random() < 0.15:
            self.features.add("UPDATE ... LIMIT")
            ending = Node(["ORDER BY", ", ".join(quoted(name) for name in table.key), "LIMIT 2"])
        return Node(["UPDATE", quoted(table.name), "SET", items(sets), where, ending])

    def value_for(self, table: Table, name: str) -> Node:
        value = self.schema.value(self.rng, table.name, name, self.attack)
        return Node([literal(value)], kind=table.columns[name])

    def delete(self, table: Table) -> Node:
        self.features.add("DELETE")
        source = Source(quoted(table.name), dict(table.columns), list(table.key), table)
        return Node(["DELETE FROM", quoted(table.name), "WHERE", self.expression("bool", [source], 2)])

    def insert(self, table: Table) -> Node:
        """A row like one that is there, with a key of its own, or one that is taken."""
        self.features.add("INSERT")
        columns = [name for name in table.columns if name not in ("line_total",)]
        row: list[Part] = []
        for name in columns:
            value: Part = self.value_for(table, name)
            if name == table.key[-1] and self.rng.random() < 0.7:
                text = table.columns[name] != "int"
                fresh = self.rng.randrange(20_000, 90_000)
                value = f"'N{fresh}'" if text else str(fresh)
            row.append(value)
        # An e-mail, an order's number and others are unique over all tenants.
        self.names_foreign_keys = True
        names = ", ".join(quoted(name) for name in columns)
        ending = clause()
        if self.rng.random() < 0.25:
            self.features.add("upsert")
            name = self.rng.choice(self.settable(table))
            if self.dialect == "mysql":
                ending = clause(f"ON DUPLICATE KEY UPDATE {quoted(name)} = VALUES({quoted(name)})")
            else:
                key = ", ".join(quoted(column) for column in table.key)
                ending = clause(f"ON CONFLICT ({key}) DO UPDATE SET {quoted(name)} = excluded.{quoted(name)}")
        return Node(
            [
                "INSERT INTO",
                quoted(table.name),
                f"({names}) VALUES (",
                items(row, least=len(row)),
                ")",
                ending,
            ]
        )
