"""Every operation on a row of one's own, of another tenant, and on one that is not there: the last two are
one answer. And many writers at once keep what the policy promises."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from throwaway_postgres import Postgres

from models.shop import Shop, shops

POLICY = """
models:
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    version: version
    relations: { lines: { model: Line, on: { id: order_id }, many: true } }
    write_policy:
      create: allow
      update: allow
      delete: allow
      auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id }
      immutable_fields: [id, tenant_id]
  Line:
    table: public.order_lines
    scoping: { tenant_id: principal.tenant_id }
    write_policy:
      create: allow
      update: allow
      delete: allow
      auto_set: { tenant_id: principal.tenant_id }
"""

# Rows of the two tenants, and one of nobody.
OWN, OTHERS, MISSING = 1, 9, 987654

# Ours, made at random for each request, and the number that the request itself says.
RANDOM = re.compile(rb'"trace_id":"[^"]*"')


def requests_on(row: int) -> dict[str, tuple[str, str, Any]]:
    """Each operation on a row: its name, the model, the operation and the body."""
    where = {"field": "id", "op": "eq", "value": row}
    line = {"order_id": row, "line": 2}
    return {
        "get": ("Order", "get", {"id": row}),
        "get a part": ("Order", "get", {"id": row, "select": ["status"]}),
        "get by several fields": ("Line", "get", {"id": line}),
        "query": ("Order", "query", {"where": where}),
        "query with count": ("Order", "query", {"where": where, "total_count": True}),
        "query with include": ("Order", "query", {"where": where, "include": {"lines": {}}}),
        "aggregate": (
            "Order",
            "aggregate",
            {"where": where, "aggregates": [{"op": "count"}, {"op": "max", "field": "note"}]},
        ),
        "update": ("Order", "update", {"id": row, "data": {"note": "changed"}}),
        "update of a version": (
            "Order",
            "update",
            {"id": row, "data": {"note": "changed"}, "if_version": 77},
        ),
        "bulk update": ("Order", "bulk_update", {"ids": [row], "data": {"note": "changed"}}),
        "bulk update with an own": (
            "Order",
            "bulk_update",
            {"ids": [OWN + 1, row], "data": {"note": "changed"}},
        ),
        "delete": ("Line", "delete", {"id": line}),
        "delete of a version": ("Order", "delete", {"id": row, "if_version": 77}),
        "create below": (
            "Line",
            "create",
            {"data": {"order_id": row, "line": 99, "sku": "x", "quantity": 1}},
        ),
    }


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shop(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with shops(postgres, request.param) as shop:
        shop.policy(POLICY)
        yield shop


def body(answer: requests.Response) -> bytes:
    return b"%d %s" % (answer.status_code, RANDOM.sub(b"", answer.content))


@pytest.mark.parametrize("name", requests_on(OWN))
def test_hidden_and_missing_rows_are_one(shop: Shop, name: str) -> None:
    before = shop.raw("SELECT * FROM orders WHERE tenant_id <> 'acme-corp' ORDER BY id")
    model, operation, asked = requests_on(OTHERS)[name]
    hidden = body(shop.ask("ann", model, operation, asked))
    model, operation, asked = requests_on(MISSING)[name]
    missing = body(shop.ask("ann", model, operation, asked))
    assert hidden == missing
    assert shop.raw("SELECT * FROM orders WHERE tenant_id <> 'acme-corp' ORDER BY id") == before
    model, operation, asked = requests_on(OWN)[name]
    own = body(shop.ask("ann", model, operation, asked))
    assert own != hidden, "the case shows nothing when an own row is answered alike"


def test_a_hidden_row_does_not_stop_a_transaction_otherwise_than_a_missing_one(shop: Shop) -> None:
    answers = []
    for row in (OTHERS, MISSING):
        operations = [
            {"action": "update", "model": "Order", "id": OWN + 1, "data": {"note": "t"}},
            {"action": "update", "model": "Order", "id": row, "data": {"note": "t"}},
        ]
        answers.append(body(shop.transaction("ann", {"operations": operations})))
    assert answers[0] == answers[1]


class TestRepeats:
    """A request with an idempotency key is done once."""

    def test_a_repeat_answers_and_does_nothing(self, shop: Shop) -> None:
        request = {"data": {"status": "once"}, "return_fields": ["id", "status"]}
        one = shop.ask("ann", "Order", "create", request, **{"Idempotency-Key": "k1"})
        again = shop.ask("ann", "Order", "create", request, **{"Idempotency-Key": "k1"})
        assert one.ok
        assert one.content == again.content
        assert shop.raw("SELECT count(*) FROM orders WHERE status = 'once'") == [(1,)]
        other = shop.ask("ann", "Order", "create", {"data": {"status": "twice"}}, **{"Idempotency-Key": "k1"})
        assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
        theirs = shop.ask("bob", "Order", "create", request, **{"Idempotency-Key": "k1"})
        assert theirs.ok
        assert theirs.json()["rows"][0]["status"] == "once", "keys are each user's own"
        assert theirs.content != one.content

    def test_what_was_refused_can_be_sent_again(self, shop: Shop) -> None:
        wrong = {"id": MISSING, "data": {"note": "x"}}
        for _ in range(2):
            answer = shop.ask("ann", "Order", "update", wrong, **{"Idempotency-Key": "k2"})
            assert answer.json()["code"] == "NOT_FOUND"

    def test_of_many_at_once_one_is_done(self, shop: Shop) -> None:
        def send(_: int) -> requests.Response:
            request = {"data": {"status": "many"}}
            return shop.ask("ann", "Order", "create", request, **{"Idempotency-Key": "k3"})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(16)))
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert shop.raw("SELECT count(*) FROM orders WHERE status = 'many'") == [(1,)]


def test_many_writers_keep_what_is_promised(shop: Shop) -> None:
    """1,000 changes at once by two tenants: counters lose no step, and nobody's row is anybody else's."""
    made = {
        person: shop.do(person, "Order", "create", {"data": {"status": "busy", "total": 0}})["rows"][0]["id"]
        for person in ("ann", "bob")
    }

    def write(number: int) -> str:
        person, other = ("ann", "bob") if number % 2 else ("bob", "ann")
        match number % 4:
            case 0 | 1:
                for _ in range(200):
                    row = shop.do(person, "Order", "get", {"id": made[person]})
                    change = {
                        "id": row["id"],
                        "data": {"total": float(row["total"]) + 1},
                        "if_version": row["version"],
                    }
                    answer = shop.ask(person, "Order", "update", change)
                    if answer.ok:
                        return "counted"
                    assert answer.json()["code"] in ("PRECONDITION_FAILED", "WRITE_CONFLICT"), answer.text
                return "gave up"
            case 2:
                answer = shop.ask(person, "Order", "update", {"id": made[other], "data": {"note": "stolen"}})
                assert answer.json()["code"] == "NOT_FOUND"
                return "refused"
            case _:
                data = {"status": f"busy-{person}"}
                answer = shop.ask(person, "Order", "create", {"data": data})
                assert answer.ok or answer.json()["code"] in ("WRITE_CONFLICT", "TENANT_BUSY"), answer.text
                return "created" if answer.ok else "busy"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(write, range(1000)))
    for person, tenant in (("ann", "acme-corp"), ("bob", "globex")):
        row = shop.do(person, "Order", "get", {"id": made[person]})
        counted = sum(
            1
            for number, outcome in enumerate(outcomes)
            if outcome == "counted" and (number % 2 == 1) == (person == "ann")
        )
        assert float(row["total"]) == counted
        assert row["version"] == counted + 1
        assert row["note"] is None
        assert row["tenant_id"] == tenant
    strays = "SELECT count(*) FROM orders WHERE status = 'busy-ann' AND tenant_id <> 'acme-corp'"
    assert shop.raw(strays) == [(0,)]
    assert outcomes.count("refused") == 250
    assert outcomes.count("counted") > 400
