"""The state views on other engines than PostgreSQL, for whose fixture they are written."""

import re
from collections.abc import Sequence
from typing import Any

from guard_corpus.oracle import State

# Where the schemas of PostgreSQL's fixture have gone. Partitions have no counterpart.
RENAMED = {
    '"Users"': "UsersQ",
    "legacy.users": "legacy_users",
    "legacy.orders": "legacy_orders",
    "billing.cards": "billing_cards",
}

# They differ by the moment of writing; and the domain is computed in the shared database alone.
NOT_COMPARED = {"documents": {"updated_at"}, "audit_log": {"id", "at"}, "users": {"email_domain"}}

# Of each table: its hidden columns by the key.
Hidden = dict[str, dict[Any, Any]]


def renamed(sql: str) -> str:
    for name, other in RENAMED.items():
        sql = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", other, sql)
    return sql


def visible_rows(views: dict[str, Any], table: str) -> str:
    """The table and the condition on its rows; the masks before them are PostgreSQL's."""
    visible = str(views["visible"][table])
    return visible[visible.index(f" FROM {table} WHERE ") + len(" FROM ") :]


def selected(columns: Sequence[str], rows: str) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f"SELECT {names} FROM {rows}"


def foreign_changes(before: State, now: State, hidden_before: Hidden, hidden: Hidden) -> list[str]:
    """What changed that the principal does not see. A row that went is no change of its columns."""
    faults = [f"foreign rows of {table} changed" for table in now if before[table] != now[table]]
    for table, values in hidden.items():
        known = hidden_before[table]
        if any(known.get(key, value) != value for key, value in values.items()):
            faults.append(f"hidden columns of {table} changed")
    return faults
