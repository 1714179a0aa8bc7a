"""Document 001, section by section: its policies one to one in our format, its promises held over HTTP."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from guard_http.places import GOVERNOR
from polling import wait_for
from throwaway_postgres import Postgres

from models.shop import Shop, shops

# "Configure Tenant Scoping", "Write Operations".
BASIC = """
models:
  User:
    table: public.users
    allowed: true
    fields: { id: allow, tenant_id: allow, email: allow }
    scoping: { tenant_id: principal.tenant_id }
  Order:
    table: public.orders
    allowed: true
    scoping: { tenant_id: principal.tenant_id }
    write_policy:
      create: allow
      update: allow
      delete: allow
      auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id }
      immutable_fields: [tenant_id]
"""


def order(more: str) -> str:
    """A policy with one model, `Order`."""
    lines = [
        "models:",
        "  Order:",
        "    table: public.orders",
        *("    " + line for line in more.strip().splitlines()),
    ]
    return "\n".join(lines)


def pending(value: str = "pending") -> list[dict[str, Any]]:
    return [{"field": "status", "op": "eq", "value": value}]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shop(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with shops(postgres, request.param) as shop:
        yield shop


class TestScoping:
    """Basic Setup, How Scoping Works."""

    def test_each_tenant_has_its_own_rows(self, shop: Shop) -> None:
        shop.policy(BASIC)
        assert shop.column("ann", "Order", "id") == list(range(1, 9))
        assert shop.column("bob", "Order", "id") == [9, 10, 11, 12]
        assert shop.column("bob", "User", "email") == ["bob@example.org", "globex-chief@example.org"]

    def test_the_callers_filter_is_inside_the_scope(self, shop: Shop) -> None:
        shop.policy(BASIC)
        assert shop.column("ann", "Order", "id", where=pending()) == [1, 2, 5, 6]

    def test_nobody_gets_around_the_scope(self, shop: Shop) -> None:
        shop.policy(BASIC)
        theirs = {"field": "tenant_id", "op": "eq", "value": "globex"}
        mine = {"field": "tenant_id", "op": "eq", "value": "acme-corp"}
        for where in (
            theirs,
            {"not": mine},
            {"or": [theirs, mine]},
            {"field": "id", "op": "gte", "value": 0},
        ):
            assert set(shop.column("ann", "Order", "tenant_id", where=where)) <= {"acme-corp"}
        counted = shop.do("ann", "Order", "aggregate", {"aggregates": [{"op": "count"}]})
        assert counted["rows"] == [{"count": 8}]

    def test_a_missing_tenant_is_an_error_and_not_no_filter(self, shop: Shop) -> None:
        shop.policy(order("scoping: { organization_id: principal.metadata.nothing_like_it }"))
        assert shop.refused("ann", "Order", "query", {}) == "TENANT_SCOPE_REQUIRED"


class TestMultipleScopingFields:
    """Multiple Scoping Fields, User-Level Scoping."""

    def test_all_fields_hold(self, shop: Shop) -> None:
        shop.policy(
            order("""
scoping:
  tenant_id: principal.tenant_id
  organization_id: principal.metadata.org_id
""")
        )
        assert shop.column("ann", "Order", "id") == [1, 2, 3, 4]
        assert shop.column("adam", "Order", "id") == [5, 6, 7, 8]
        assert shop.column("bob", "Order", "id") == [9, 10, 11, 12]
        assert shop.refused("carol", "Order", "query", {}) == "TENANT_SCOPE_REQUIRED"

    def test_users_see_their_own(self, shop: Shop) -> None:
        shop.policy(order("scoping: { tenant_id: principal.tenant_id, user_id: principal.user_id }"))
        assert shop.column("ann", "Order", "id") == [1, 2, 3, 4]
        assert shop.column("chief", "Order", "id") == []


class TestHierarchy:
    """Hierarchical Tenancy. The document's row policy can be read in two ways: see docs/decisions."""

    PARENTS = """
scoping: {{ tenant_id: principal.tenant_id }}
row_policies:
  - name: parent_access
    condition: "tenant_id IN principal.metadata.tenant_hierarchy"
    description: Access data from parent tenants
    {more}
"""

    def test_a_row_policy_that_extends_shows_the_parents(self, shop: Shop) -> None:
        shop.policy(order(self.PARENTS.format(more="extends: true")))
        tenants = shop.column("carol", "Order", "tenant_id")
        assert sorted(set(tenants)) == ["child-tenant", "parent-tenant", "root"]

    def test_as_written_it_narrows(self, shop: Shop) -> None:
        shop.policy(order(self.PARENTS.format(more="extends: false")))
        assert set(shop.column("carol", "Order", "tenant_id")) == {"child-tenant"}
        assert shop.column("ann", "Order", "id") == [], "what is not known to hold hides the row"


class TestAdminBypass:
    """Cross-Tenant Access (Admin), and that each use is on record."""

    POLICY = order("""
scoping: { tenant_id: principal.tenant_id }
row_policies:
  - { name: admin_bypass, condition: "'super_admin' IN principal.roles", bypass: true }
""")

    def test_admins_see_all_and_others_their_own(self, shop: Shop) -> None:
        shop.policy(self.POLICY)
        assert len(set(shop.column("admin-001", "Order", "tenant_id"))) == 6
        assert set(shop.column("ann", "Order", "tenant_id")) == {"acme-corp"}

    def test_the_role_can_not_be_claimed(self, shop: Shop) -> None:
        shop.policy(self.POLICY)
        answer = shop.ask("ann", "Order", "query", {"roles": ["super_admin"]})
        assert answer.status_code == 400


class TestWrites:
    """Preventing Tenant Leakage: Write Operations."""

    def test_the_tenant_is_set_on_create(self, shop: Shop) -> None:
        shop.policy(BASIC)
        made = shop.do("ann", "Order", "create", {"data": {"status": "new"}})["rows"][0]
        assert (made["tenant_id"], made["user_id"], made["status"]) == ("acme-corp", "ann", "new")
        assert shop.raw(f"SELECT tenant_id FROM orders WHERE id = {made['id']}") == [("acme-corp",)]
        again = shop.do("ann", "Order", "get", {"id": made["id"]})
        assert again["status"] == "new"

    def test_another_tenant_can_not_be_set(self, shop: Shop) -> None:
        shop.policy(BASIC)
        before = shop.raw("SELECT count(*) FROM orders")
        data = {"status": "new", "tenant_id": "globex"}
        assert shop.refused("ann", "Order", "create", {"data": data}) in (
            "ROW_REFUSED",
            "COLUMN_NOT_WRITABLE",
        )
        assert shop.raw("SELECT count(*) FROM orders") == before

    def test_the_tenant_does_not_change(self, shop: Shop) -> None:
        shop.policy(BASIC)
        change = {"id": 1, "data": {"tenant_id": "globex"}}
        assert shop.refused("ann", "Order", "update", change) == "IMMUTABLE_FIELD"
        assert shop.raw("SELECT tenant_id FROM orders WHERE id = 1") == [("acme-corp",)]

    def test_others_rows_can_not_be_touched(self, shop: Shop) -> None:
        shop.policy(BASIC)
        before = shop.raw("SELECT * FROM orders WHERE tenant_id = 'globex' ORDER BY id")
        assert shop.refused("ann", "Order", "update", {"id": 9, "data": {"status": "mine"}}) == "NOT_FOUND"
        assert shop.refused("ann", "Order", "delete", {"id": 9}) == "NOT_FOUND"
        both = {"ids": [1, 9], "data": {"status": "mine"}}
        assert shop.refused("ann", "Order", "bulk_update", both) == "NOT_FOUND"
        assert shop.raw("SELECT * FROM orders WHERE tenant_id = 'globex' ORDER BY id") == before
        assert shop.raw("SELECT status FROM orders WHERE id = 1") == [("pending",)], "all or none"

    def test_a_change_and_its_end(self, shop: Shop) -> None:
        shop.policy(BASIC)
        made = shop.do("ann", "Order", "create", {"data": {"status": "new", "total": 12.5}})["rows"][0]
        change = {"id": made["id"], "data": {"status": "paid"}, "return_fields": ["id", "status"]}
        changed = shop.do("ann", "Order", "update", change)
        assert changed["rows"] == [{"id": made["id"], "status": "paid"}]
        assert changed["affected"] == 1
        shop.do("ann", "Order", "delete", {"id": made["id"]})
        assert shop.refused("ann", "Order", "get", {"id": made["id"]}) == "NOT_FOUND"
        assert shop.raw(f"SELECT count(*) FROM orders WHERE id = {made['id']}") == [(0,)]

    def test_without_a_write_policy_nothing_is_written(self, shop: Shop) -> None:
        shop.policy(order("scoping: { tenant_id: principal.tenant_id }"))
        for operation, body in [
            ("create", {"data": {"status": "x", "user_id": "ann", "tenant_id": "acme-corp"}}),
            ("update", {"id": 1, "data": {"status": "x"}}),
            ("delete", {"id": 1}),
        ]:
            assert shop.refused("ann", "Order", operation, body) == "WRITE_DISABLED"


class TestValidation:
    """Validation: row policies that catch edge cases."""

    def test_a_row_without_a_tenant_is_nobodys(self, shop: Shop) -> None:
        shop.policy(
            order("""
row_policies:
  - { name: tenant_required, condition: "organization_id IS NOT NULL", description: Ensure it is always set }
scoping: { tenant_id: principal.tenant_id }
write_policy: { create: allow, auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id } }
""")
        )
        assert shop.column("carol", "Order", "id") == []
        assert shop.refused("ann", "Order", "create", {"data": {"status": "x"}}) == "ROW_REFUSED"
        shop.do("ann", "Order", "create", {"data": {"status": "x", "organization_id": "org-9"}})


class TestIsolation:
    """Testing Multi-Tenancy: what one tenant makes, the other does not see."""

    def test_tenant_isolation(self, shop: Shop) -> None:
        shop.policy(BASIC)
        made = shop.do("ann", "Order", "create", {"data": {"status": "isolated"}})["rows"][0]
        seen = shop.do("bob", "Order", "query", {"where": pending("isolated")})
        assert seen["rows"] == []
        assert seen["next_cursor"] is None
        assert shop.refused("bob", "Order", "get", {"id": made["id"]}) == "NOT_FOUND"


class TestCommonPatterns:
    """Shared Resources, Tenant Metadata Access."""

    def test_shared_resources(self, shop: Shop) -> None:
        shop.policy("""
models:
  Document:
    table: public.documents
    scoping: {}
    row_policies:
      - { name: public_or_owned, condition: "is_public = true OR tenant_id = principal.tenant_id" }
""")
        assert shop.column("ann", "Document", "id") == [1, 3]
        assert shop.column("bob", "Document", "id") == [2, 3]

    def test_tenant_metadata(self, shop: Shop) -> None:
        shop.policy("""
models:
  Tenant:
    table: public.tenants
    allowed: true
    fields: { id: allow, name: allow }
    other_fields: deny
    scoping: { id: principal.tenant_id }
    write_policy: { create: deny, update: deny, delete: deny }
""")
        assert shop.do("ann", "Tenant", "query", {})["rows"] == [{"id": "acme-corp", "name": "Acme-Corp"}]
        assert shop.refused("ann", "Tenant", "query", {"select": ["plan"]}) == "FIELD_NOT_ALLOWED"
        assert (
            shop.refused("ann", "Tenant", "update", {"id": "acme-corp", "data": {"name": "x"}})
            == "WRITE_DISABLED"
        )
        described = shop.do("ann", "Tenant", "")
        assert [field["name"] for field in described["fields"]] == ["id", "name"]
        assert described["operations"] == ["query", "get", "aggregate"]


class TestAuditTrail:
    """Audit Trail, and querying it by tenant."""

    def records(self, shop: Shop, person: str, **conditions: str) -> requests.Response:
        query = "&".join(f"{name}={value}" for name, value in conditions.items())
        return shop.send(person, f"audit?{query}")

    def test_what_was_enforced_is_on_record(self, shop: Shop) -> None:
        shop.policy(BASIC)
        asked = shop.ask("ann", "Order", "query", {"where": pending("audited")})
        trace = asked.headers["x-request-id"]
        record = wait_for_record(lambda: self.records(shop, GOVERNOR, trace_id=trace).json()["items"])
        assert (record["tenant"], record["user"], record["model"]) == ("acme-corp", "ann", "Order")
        assert [scope.split(": ")[1] for scope in record["scopes"]] == ["tenant_id = 'acme-corp'"]
        assert "audited" not in str(record), "what was asked for is kept without values"
        assert record["inputs"]["where"]["and"][0] == {"field": "status", "op": "eq", "value": "<text>"}

    def test_by_tenant(self, shop: Shop) -> None:
        shop.policy(BASIC)
        for person in ("ann", "bob"):
            shop.do(person, "Order", "query", {"take": 1})
        items = self.records(shop, GOVERNOR, tenant="globex", model="Order").json()["items"]
        assert {item["tenant"] for item in items} <= {"globex"}
        assert self.records(shop, "ann", tenant="acme-corp").json()["code"] == "NOT_PERMITTED"

    def test_a_bypass_is_on_record(self, shop: Shop) -> None:
        shop.policy(TestAdminBypass.POLICY)
        asked = shop.ask("admin-001", "Order", "query", {"take": 1})
        trace = asked.headers["x-request-id"]
        record = wait_for_record(lambda: self.records(shop, GOVERNOR, trace_id=trace).json()["items"])
        assert any("admin_bypass" in bypass for bypass in record["bypasses"])

    def test_rows_before_and_after_a_change(self, shop: Shop) -> None:
        shop.policy(BASIC)
        made = shop.do("ann", "Order", "create", {"data": {"status": "first"}})["rows"][0]
        asked = shop.ask("ann", "Order", "update", {"id": made["id"], "data": {"status": "second"}})
        trace = asked.headers["x-request-id"]
        record = wait_for_record(lambda: self.records(shop, GOVERNOR, trace_id=trace).json()["items"])
        [change] = record["changes"]
        assert (change["before"]["status"], change["after"]["status"]) == ("first", "second")


def wait_for_record(look: Callable[[], list[Any]]) -> Any:
    """Records are written behind."""
    found: list[Any] = []

    def is_there() -> bool:
        found[:] = look()
        return bool(found)

    wait_for("the record", is_there)
    return found[0]


class TestInvariants:
    """Invariant Testing: the harness of the document is `ringfence prove`."""

    def prove(self, shop: Shop) -> int:
        options = ["--connection", shop.connection, "--user", GOVERNOR, "--statements", "40"]
        return shop.places.gateway.command("prove", *options).returncode

    def test_a_policy_that_keeps_tenants_apart(self, shop: Shop) -> None:
        shop.policy(BASIC)
        assert self.prove(shop) == 0

    def test_one_that_forgets_a_table(self, shop: Shop) -> None:
        forgets = BASIC.replace("    allowed: true\n    scoping: { tenant_id: principal.tenant_id }\n", "")
        shop.policy(forgets)
        assert self.prove(shop) == 1


def test_hidden_and_missing_models_are_answered_alike(shop: Shop) -> None:
    shop.policy(BASIC.replace("allowed: true\n    fields", "allowed: false\n    fields"))

    def body(model: str) -> dict[str, Any]:
        answer: requests.Response = shop.ask("ann", model, "query", {})
        found = answer.json()
        return {name: found[name] for name in ("status", "code", "title")} | {
            "detail": found["detail"].replace(model, "?")
        }

    assert body("User") == body("Usex")
