"""The isolated MySQL database of one principal: the rules of derive_isolated.pg.sql, with MySQL's masks.

MySQL's triggers can't skip a row. One that is to be left alone is set to itself, and deleting one that must
stay is an
error, which the guard does not make: no record deletes such rows without naming its own.
"""

from collections.abc import Mapping, Sequence

USERS = {"a_admin": 1, "a_member": 2, "a_analyst": 3, "a_group": 4}

FOREIGN_TABLES = (
    "api_tokens",
    "UsersQ",
    "app_settings",
    "customer_confidential_archive_of_all_the_tenants_for_year_2023x",
    "legacy_users",
    "legacy_orders",
    "billing_cards",
)

SCOPED = (
    "users",
    "memberships",
    "orders",
    "documents",
    "coupons",
    "events",
    "invoices",
    "invoice_lines",
    "Order Notes",
    "audit_log",
)

READ_ONLY = ("tenants", "tenant_closure", "currencies", "audit_log")

MEMBER_READ_ONLY = ("memberships", "products", "shipments", "document_shares", "coupons")

MEMBER_FORBIDDEN = (
    ("users", "INSERT"),
    ("users", "DELETE"),
    ("orders", "DELETE"),
    ("Order Notes", "UPDATE"),
    ("Order Notes", "DELETE"),
)

# What is set to the member who inserts.
MEMBER_OWNS = {"orders": "user_id", "events": "user_id", "documents": "owner_id"}

DENIED: dict[str, dict[str, tuple[str, ...]]] = {
    "a_admin": {"tenants": ("api_key",), "users": ("password_hash",)},
    "a_group": {"tenants": ("api_key",), "users": ("password_hash",)},
    "a_member": {"tenants": ("api_key",), "users": ("password_hash",), "products": ("cost_price",)},
    "a_analyst": {
        "tenants": ("api_key",),
        "users": ("password_hash", "ssn", "avatar"),
        "products": ("internal_notes",),
    },
}

INVISIBLE = {"a_member": ("invoices", "invoice_lines", "audit_log"), "a_analyst": ("audit_log",)}

PARTIAL = "concat(left(email, 1), '***@', substring_index(email, '@', -1))"

NO_PHONE = "json_remove(profile, '$.home_phone')"


def derive(principal: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The statements that turn a copy of the shared database into the principal's.

    `columns` are each table's columns that are not generated.
    """
    invisible = (*FOREIGN_TABLES, *INVISIBLE.get(principal, ()))
    made = ["DROP VIEW all_emails", *delete_rows(principal), *mask_values(principal)]
    made += [f"DROP TABLE `{table}`" for table in invisible]
    for table, names in columns.items():
        if table not in invisible:
            denied = DENIED[principal].get(table, ())
            kept = [name for name in names if name not in denied]
            made += create_triggers(principal, table, kept)
    return made


def scope_of(principal: str) -> str:
    return "(1, 4)" if principal == "a_group" else "(1)"


def delete_rows(principal: str) -> list[str]:
    """Invisible rows; those that hang on others go after these."""
    user, scope = USERS[principal], scope_of(principal)
    made = [f"DELETE FROM `{table}` WHERE tenant_id NOT IN {scope}" for table in SCOPED]
    made += [
        f"DELETE FROM tenants WHERE id NOT IN {scope}",
        f"DELETE FROM tenant_closure WHERE ancestor_id NOT IN {scope} OR descendant_id NOT IN {scope}",
        f"DELETE FROM products WHERE NOT is_public AND tenant_id NOT IN {scope}",
        f"DELETE FROM documents WHERE state = 'draft' AND owner_id <> {user}",
    ]
    if principal == "a_member":
        made += [
            f"DELETE FROM orders WHERE user_id <> {user}",
            "DELETE FROM `Order Notes` WHERE `Order Id` NOT IN (SELECT id FROM orders)",
        ]
    made += [
        f"DELETE FROM {table} WHERE {column} NOT IN (SELECT id FROM {other})"
        for table, column, other in (
            ("order_items", "order_id", "orders"),
            ("shipments", "order_id", "orders"),
            ("document_shares", "document_id", "documents"),
        )
    ]
    return made


def mask_values(principal: str) -> list[str]:
    """Masked columns hold what is shown, and denied ones are gone."""
    user, scope = USERS[principal], scope_of(principal)
    writes_all = principal in ("a_admin", "a_group")
    # The domain is computed from the address in clear, and two masks may be equal.
    unique = "" if writes_all else ", DROP INDEX email"
    made = [f"ALTER TABLE users MODIFY email_domain varchar(200){unique}"]
    for table in (*SCOPED, "products", "document_shares"):
        made.append(f"ALTER TABLE `{table}` ALTER tenant_id SET DEFAULT 1")
    if principal == "a_member":
        made += [
            f"ALTER TABLE {table} ALTER {name} SET DEFAULT {user}" for table, name in MEMBER_OWNS.items()
        ]
    for table, names in DENIED[principal].items():
        made.append(f"ALTER TABLE {table} {', '.join(f'DROP COLUMN {name}' for name in names)}")
    for table, masks in masks_of(principal, user, scope).items():
        denied = DENIED[principal].get(table, ())
        sets = [f"{name} = {mask}" for name, mask in masks.items() if name not in denied]
        made.append(f"UPDATE {table} SET {', '.join(sets)}")
    return made


def masks_of(principal: str, user: int, scope: str) -> dict[str, dict[str, str]]:
    """Table, column, and what is shown instead."""
    own = f"CASE WHEN tenant_id IN {scope} THEN {{}} END"
    masks = {
        "tenants": {"settings": "json_remove(settings, '$.secret')"},
        "products": {name: own.format(name) for name in ("cost_price", "internal_notes")},
        "users": {"ssn": "concat('***-**-', right(ssn, 4))"},
    }
    if principal == "a_analyst":
        masks["users"] = {"email": PARTIAL, "salary": "truncate(salary, -4)", "profile": NO_PHONE}
        masks["orders"] = {"shipping_address": "json_remove(shipping_address, '$.zip')"}
    if principal == "a_member":
        masks["users"] |= {
            "email": f"CASE WHEN id = {user} THEN email ELSE {PARTIAL} END",
            "salary": f"CASE WHEN id = {user} THEN salary END",
            "profile": f"CASE WHEN id = {user} THEN profile ELSE {NO_PHONE} END",
        }
    if principal in ("a_analyst", "a_member"):
        masks["events"] = {"payload": "json_remove(payload, '$.ip')"}
    return masks


def create_triggers(principal: str, table: str, columns: Sequence[str]) -> list[str]:
    """What stands for the write rules. They hold for everybody but the one who puts the database back."""
    scope, member = scope_of(principal), principal == "a_member"
    refused = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iso: not allowed'"
    bodies: dict[str, list[str]] = {"INSERT": [], "UPDATE": [], "DELETE": []}
    for operation, body in bodies.items():
        read_only = principal == "a_analyst" or table in READ_ONLY or (member and table in MEMBER_READ_ONLY)
        if (
            read_only
            or (table == "events" and operation != "INSERT")
            or (member and (table, operation) in MEMBER_FORBIDDEN)
        ):
            body.append(refused)
    if "tenant_id" in columns:
        bodies["INSERT"].append(f"IF NEW.tenant_id NOT IN {scope} THEN {refused}; END IF")
        bodies["UPDATE"].append(f"IF NOT (NEW.tenant_id <=> OLD.tenant_id) THEN {refused}; END IF")
    if member and table in MEMBER_OWNS:
        bodies["INSERT"].append(
            f"IF NOT (NEW.{MEMBER_OWNS[table]} <=> {USERS[principal]}) THEN {refused}; END IF"
        )
    if condition := writable(principal, table):
        same = ", ".join(f"NEW.`{name}` = OLD.`{name}`" for name in columns)
        bodies["UPDATE"].append(f"IF NOT ({condition}) THEN SET {same}; END IF")
        bodies["DELETE"].append(f"IF NOT ({condition}) THEN {refused}; END IF")
    name = table.replace(" ", "_")
    return [
        f"CREATE TRIGGER iso_{name}_{operation[0]} BEFORE {operation} ON `{table}` FOR EACH ROW"
        f" BEGIN IF @iso_restoring IS NULL THEN {'; '.join(body)}; END IF; END"
        for operation, body in bodies.items()
        if body
    ]


def writable(principal: str, table: str) -> str:
    """Which of the visible rows may be changed; nothing when all may."""
    if table == "products":
        return f"OLD.tenant_id IN {scope_of(principal)}"
    if principal == "a_member":
        return {"users": "OLD.id = 2", "documents": "OLD.owner_id = 2"}.get(table, "")
    return ""
