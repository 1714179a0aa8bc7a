"""Changes that wait for somebody's consent: asked for, looked at, approved or not, and done once."""

from collections.abc import Iterator
from typing import Any

import pytest
from throwaway_postgres import Postgres

from models.shop import Shop, shops

POLICY = """
models:
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    fields:
      note: [ { roles: [chief], action: redact }, { action: allow } ]
    write_policy:
      create: allow
      update: allow
      delete: approval
      approvers: [chief]
      approval_expires: 1h
      auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id }
"""


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shop(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with shops(postgres, request.param) as shop:
        shop.policy(POLICY)
        yield shop


@pytest.fixture
def order(shop: Shop) -> int:
    data = {"data": {"status": "old", "note": "private"}}
    return int(shop.do("ann", "Order", "create", data)["rows"][0]["id"])


def ask(shop: Shop, order: int, person: str = "ann", **headers: str) -> str:
    answer = shop.ask(person, "Order", "delete", {"id": order, "reason": "it is old"}, **headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "pending"
    return str(answer.json()["approval"])


def decide(shop: Shop, person: str, ticket: str, word: str) -> Any:
    return shop.send(person, f"approvals/{ticket}/{word}", {"reason": "so it is"})


def there(shop: Shop, order: int) -> bool:
    return shop.raw(f"SELECT count(*) FROM orders WHERE id = {order}") == [(1,)]


def test_an_approved_change_is_done_once(shop: Shop, order: int) -> None:
    ticket = ask(shop, order)
    assert there(shop, order)
    listed = shop.send("chief", "approvals").json()["items"]
    assert ticket in [one["id"] for one in listed]
    answer = decide(shop, "chief", ticket, "approve")
    assert answer.ok, answer.text
    assert answer.json()["state"] == "executed"
    assert not there(shop, order)
    assert decide(shop, "chief", ticket, "approve").status_code == 409


def test_an_approver_sees_rows_through_their_own_view(shop: Shop, order: int) -> None:
    ticket = ask(shop, order)
    shown = shop.send("chief", f"approvals/{ticket}").json()
    assert "private" not in str(shown)
    assert f"'id': {order}" in str(shown)
    assert "old" in str(shown)
    assert "private" in str(shop.send("ann", f"approvals/{ticket}").json())


def test_nobody_else_decides(shop: Shop, order: int) -> None:
    ticket = ask(shop, order)
    assert decide(shop, "ann", ticket, "approve").status_code == 403
    missing = decide(shop, "bob", "0" * 40, "approve")
    for stranger in ("bob", "adam", "globex-chief"):
        answer = decide(shop, stranger, ticket, "approve")
        assert answer.status_code == 404
        assert answer.json()["detail"] == missing.json()["detail"]
        assert ticket not in str(shop.send(stranger, "approvals").json())
    own = shop.do("chief", "Order", "create", {"data": {"status": "chiefs"}})["rows"][0]["id"]
    mine = ask(shop, own, "chief")
    assert decide(shop, "chief", mine, "approve").status_code == 403, "never who asked"
    assert there(shop, order)
    assert there(shop, own)


def test_a_rejected_change_is_not_done(shop: Shop, order: int) -> None:
    ticket = ask(shop, order)
    assert decide(shop, "chief", ticket, "reject").json()["state"] == "rejected"
    assert decide(shop, "chief", ticket, "approve").status_code == 409
    assert there(shop, order)


def test_the_view_of_then_counts(shop: Shop, order: int) -> None:
    """What the requester lost meanwhile is not done in their name."""
    ticket = ask(shop, order)
    shop.policy(POLICY.replace("delete: approval", "delete: deny"))
    try:
        answer = decide(shop, "chief", ticket, "approve")
        assert answer.json()["state"] == "failed", answer.text
        assert there(shop, order)
    finally:
        shop.policy(POLICY)


def test_what_can_not_be_done_is_refused_at_once(shop: Shop) -> None:
    hidden = shop.ask("ann", "Order", "delete", {"id": 9})
    missing = shop.ask("ann", "Order", "delete", {"id": 987654})
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json()["detail"] == missing.json()["detail"]


def test_a_transaction_waits_as_a_whole(shop: Shop, order: int) -> None:
    operations = [
        {"action": "update", "model": "Order", "id": 1, "data": {"note": "with it"}},
        {"action": "delete", "model": "Order", "id": order},
    ]
    answer = shop.transaction("ann", {"operations": operations})
    assert answer.status_code == 202
    assert shop.raw("SELECT note FROM orders WHERE id = 1") == [("note-acme-corp-1",)]
    done = decide(shop, "chief", answer.json()["approval"], "approve")
    assert done.json()["state"] == "executed"
    assert shop.raw("SELECT note FROM orders WHERE id = 1") == [("with it",)]
    assert not there(shop, order)


def test_a_repeat_is_one_ticket(shop: Shop, order: int) -> None:
    one = ask(shop, order, **{"Idempotency-Key": "ticket"})
    assert ask(shop, order, **{"Idempotency-Key": "ticket"}) == one
