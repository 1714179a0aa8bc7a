"""What a principal can see of the SQLite and MySQL fixtures, and the catalog that the guard is told of."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Rows = Callable[[str], list[tuple[Any, ...]]]

# Columns that hold JSON or moments, whatever their declared type is.
JSON = ("profile", "settings", "attributes", "shipping_address", "payload", "old_row", "tags", "labels")
MOMENTS = (
    "created_at",
    "placed_at",
    "shipped_at",
    "occurred_at",
    "shipped_on",
    "joined_on",
    "issued_on",
    "due_on",
)
UNKNOWN = ("avatar", "updated_at", "at", "email_domain")

# Tables whose rows these columns tell apart.
JOINS = (
    ("orders", "user_id", "users", "id"),
    ("order_items", "order_id", "orders", "id"),
    ("order_items", "product_id", "products", "id"),
    ("shipments", "order_id", "orders", "id"),
    ("memberships", "user_id", "users", "id"),
    ("documents", "owner_id", "users", "id"),
    ("document_shares", "document_id", "documents", "id"),
    ("events", "user_id", "users", "id"),
    ("users", "manager_id", "users", "id"),
    ("invoice_lines", "invoice_no", "invoices", "invoice_no"),
    ("products", "tenant_id", "tenants", "id"),
    ("coupons", "tenant_id", "tenants", "id"),
    ("order_totals", "order_id", "orders", "id"),
    ("orders", "currency", "currencies", "code"),
)


@dataclass
class Table:
    """A table as a principal sees it."""

    name: str
    columns: dict[str, str]
    key: list[str]
    hidden: list[str] = field(default_factory=list)


@dataclass
class Schema:
    """All that one principal sees, and what it does not."""

    principal: str
    tables: dict[str, Table]
    forbidden: list[str]
    # Values of columns, by table and column: visible ones, and others.
    values: dict[tuple[str, str], list[Any]]
    foreign: dict[tuple[str, str], list[Any]]

    def value(self, rng: random.Random, table: str, column: str, attack: float) -> Any:
        """A value that the column has, now and then in a row that is not visible."""
        hidden = self.foreign.get((table, column), [])
        if hidden and rng.random() < attack:
            return rng.choice(hidden)
        seen = self.values.get((table, column), [])
        return rng.choice(seen) if seen else None


def kind_of(name: str, declared: str) -> str | None:
    """The generator's kind of a column; None for those that it leaves alone."""
    if name in UNKNOWN:
        return None
    if name in JSON:
        return "json"
    if name in MOMENTS:
        return "date"
    declared = declared.lower()
    for word, kind in (("int", "int"), ("dec", "num"), ("num", "num"), ("real", "num"), ("char", "text")):
        if word in declared:
            return kind
    return "text" if any(word in declared for word in ("text", "enum")) else None


def read_schema(
    principal: str, isolated: dict[str, Any], shared: dict[str, Any], rows: tuple[Rows, Rows]
) -> Schema:
    """From the guard's catalogs of both databases."""
    whole = {relation["name"]: relation for relation in shared["schemas"][0]["relations"]}
    tables: dict[str, Table] = {}
    for relation in isolated["schemas"][0]["relations"]:
        name = relation["name"]
        if name not in whole:
            continue
        columns = {
            column["name"]: kind_of(column["name"], column["data_type"]) for column in relation["columns"]
        }
        keys = [c["columns"] for c in whole[name]["constraints"] if c["kind"] == "primary"]
        known = [column["name"] for column in whole[name]["columns"]]
        tables[name] = Table(
            name,
            {column: kind for column, kind in columns.items() if kind},
            keys[0] if keys else [],
            [column for column in known if column not in columns],
        )
    schema = Schema(principal, tables, [name for name in whole if name not in tables], {}, {})
    for table in tables.values():
        for column in table.columns:
            query = f"SELECT DISTINCT `{column}` FROM `{table.name}` ORDER BY 1"
            own, every = ([value for (value,) in read(query) if value is not None] for read in rows)
            seen = {repr(value) for value in own}
            schema.values[table.name, column] = own[:: max(1, len(own) // 20)]
            others = [value for value in every if repr(value) not in seen]
            schema.foreign[table.name, column] = others[:: max(1, len(others) // 20)]
    return schema


def sqlite_catalog(rows: Rows) -> dict[str, Any]:
    """What Ringfence's own introspection finds, as far as the guard needs it."""
    relations = []
    for name, kind in rows(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
    ):
        if name.startswith(("sqlite_", "doc_search")):
            continue
        columns = rows(f'PRAGMA table_xinfo("{name}")')
        keys = [row[1] for row in sorted((row for row in columns if row[5]), key=lambda row: row[5])]
        constraints: list[dict[str, Any]] = [{"kind": "primary", "columns": keys}] if keys else []
        links: dict[int, dict[str, Any]] = {}
        for number, _, target, own, theirs, *_ in rows(f'PRAGMA foreign_key_list("{name}")'):
            link = links.setdefault(number, foreign("main", target))
            link["columns"].insert(0, own)
            link["target_columns"].insert(0, theirs)
        constraints += links.values()
        relations.append(relation(name, kind, [(c[1], c[2] or "", not c[3]) for c in columns], constraints))
    return {"database": "main", "schemas": [{"name": "main", "relations": relations}]}


def mysql_catalog(rows: Rows, database: str) -> dict[str, Any]:
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for table, column, declared, nullable in rows(
        "SELECT table_name, column_name, column_type, is_nullable = 'YES' FROM information_schema.columns"
        f" WHERE table_schema = '{database}' ORDER BY table_name, ordinal_position"
    ):
        found.setdefault(table, []).append((column, declared, bool(nullable)))
    keys: dict[str, dict[str, dict[str, Any]]] = {}
    for table, name, column in rows(
        "SELECT table_name, index_name, column_name FROM information_schema.statistics"
        f" WHERE table_schema = '{database}' AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index"
    ):
        kind = "primary" if name == "PRIMARY" else "unique"
        key = keys.setdefault(table, {}).setdefault(name, {"kind": kind, "columns": []})
        key["columns"].append(column)
    kinds: dict[str, str] = dict(
        rows(
            f"SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{database}'"
        )
    )
    relations = [
        relation(name, "view" if "VIEW" in kinds[name] else "table", columns, [*keys.get(name, {}).values()])
        for name, columns in found.items()
    ]
    return {"database": database, "schemas": [{"name": database, "relations": relations}]}


def foreign(schema: str, target: str) -> dict[str, Any]:
    return {
        "kind": "foreign",
        "columns": [],
        "target_schema": schema,
        "target_relation": target,
        "target_columns": [],
    }


def relation(
    name: str, kind: str, columns: list[tuple[str, str, bool]], constraints: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "columns": [{"name": n, "data_type": declared, "nullable": null} for n, declared, null in columns],
        "constraints": constraints,
    }
