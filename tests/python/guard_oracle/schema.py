"""What a principal can see: tables, columns, their kinds, and some values of each, visible and not."""

import random
from dataclasses import dataclass, field

from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.session import Session

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
  a.attgenerated <> '', a.atthasdef OR a.attidentity <> '',
  coalesce((SELECT k.conkey[1:] @> ARRAY[a.attnum] FROM pg_constraint k
            WHERE k.conrelid = c.oid AND k.contype = 'p'), false)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') AND NOT c.relispartition
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""

# Views have no key of their own, but these columns tell their rows apart.
KEYS = {"order_totals": ("order_id",), "tenant_revenue": ("tenant_id", "month")}

KINDS = {
    "integer": "int",
    "bigint": "big",
    "text": "text",
    "boolean": "bool",
    "timestamp with time zone": "tstz",
    "date": "date",
    "jsonb": "jsonb",
    "text[]": "texts",
    "uuid": "uuid",
    "bytea": "bytea",
    "character(3)": "char",
    "order_status": "order_status",
    "doc_state": "doc_state",
    "tsvector": "tsvector",
}

FOREIGN_KEYS = [
    ("users", "tenant_id", "tenants", "id"),
    ("users", "manager_id", "users", "id"),
    ("memberships", "user_id", "users", "id"),
    ("products", "tenant_id", "tenants", "id"),
    ("orders", "user_id", "users", "id"),
    ("orders", "tenant_id", "tenants", "id"),
    ("orders", "currency", "currencies", "code"),
    ("order_items", "order_id", "orders", "id"),
    ("order_items", "product_id", "products", "id"),
    ("shipments", "order_id", "orders", "id"),
    ("shipments", "order_id", "order_items", "order_id"),
    ("documents", "owner_id", "users", "id"),
    ("document_shares", "document_id", "documents", "id"),
    ("document_shares", "user_id", "users", "id"),
    ("events", "user_id", "users", "id"),
    ("invoices", "currency", "currencies", "code"),
    ("invoice_lines", "invoice_no", "invoices", "invoice_no"),
    ("coupons", "tenant_id", "tenants", "id"),
    ("Order Notes", "Order Id", "orders", "id"),
    ("order_totals", "order_id", "orders", "id"),
    ("order_totals", "user_id", "users", "id"),
    ("tenant_revenue", "tenant_id", "tenants", "id"),
    ("tenant_closure", "descendant_id", "tenants", "id"),
    ("audit_log", "tenant_id", "tenants", "id"),
]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    kind: str
    nullable: bool = True
    generated: bool = False
    has_default: bool = False


@dataclass
class Table:
    """A table as a principal sees it."""

    name: str
    columns: list[Column] = field(default_factory=list)
    key: tuple[str, ...] = ()
    # Columns that only the shared database has.
    hidden: list[str] = field(default_factory=list)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass
class Schema:
    """All that one principal sees, and what it does not."""

    principal: str
    tables: dict[str, Table]
    forbidden: list[str]
    visible: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    foreign: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def value(self, rng: random.Random, table: str, column: str, *, attack: float) -> str | None:
        """A value that the column has, now and then in a row that is not visible."""
        hidden = self.foreign.get((table, column), [])
        if hidden and rng.random() < attack:
            return rng.choice(hidden)
        seen = self.visible.get((table, column), [])
        return rng.choice(seen) if seen else None


def read_schema(world: PostgresWorld, principal: str) -> Schema:
    """Reads the isolated database, and from the shared one what it lacks."""
    with (
        Session(world.isolated[principal].server_dsn()) as isolated,
        Session(world.shared.server_dsn()) as all,
    ):
        tables, shared = read_tables(isolated), read_tables(all)
        for name, table in tables.items():
            known = {column.name for column in table.columns}
            table.hidden = [column.name for column in shared[name].columns if column.name not in known]
        forbidden = [name for name in shared if name not in tables]
        schema = Schema(principal, tables, forbidden)
        for name, table in tables.items():
            for column in table.columns:
                query = f'SELECT DISTINCT "{column.name}"::text FROM public."{name}" ORDER BY 1'
                seen = [value for (value,) in isolated.texts(query) if value is not None]
                there = [value for (value,) in all.texts(query) if value is not None]
                schema.visible[name, column.name] = thinned(seen)
                known_values = set(seen)
                schema.foreign[name, column.name] = thinned([v for v in there if v not in known_values])
    return schema


def thinned(values: list[str]) -> list[str]:
    return values[:: max(1, len(values) // 40)]


def read_tables(session: Session) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for name, column, data_type, nullable, generated, has_default, is_key in session.texts(COLUMNS):
        table = tables.setdefault(str(name), Table(str(name), key=KEYS.get(str(name), ())))
        kind = "num" if str(data_type).startswith("numeric") else KINDS[str(data_type)]
        table.columns.append(Column(str(column), kind, nullable == "t", generated == "t", has_default == "t"))
        if is_key == "t":
            table.key = (*table.key, str(column))
    return tables
