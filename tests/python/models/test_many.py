"""Requests on many rows at once: what they may be depends on nobody's count of placeholders."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from throwaway_postgres import Postgres

from models.shop import Shop, shops

MANY = 1000

POLICY = """
models:
  Tenant: { table: public.tenants, scoping: { id: principal.tenant_id } }
  User: { table: public.users, scoping: { tenant_id: principal.tenant_id } }
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    relations:
      user: { model: User, on: { user_id: id } }
      tenant: { model: Tenant, on: { tenant_id: id } }
      lines: { model: Line, on: { id: order_id }, many: true }
    write_policy:
      create: allow
      update: allow
      auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id }
  Line:
    table: public.order_lines
    scoping: { tenant_id: principal.tenant_id }
    write_policy: { create: allow, auto_set: { tenant_id: principal.tenant_id } }
  Document:
    table: public.documents
    scoping: { tenant_id: principal.tenant_id }
    write_policy: { create: allow, auto_set: { tenant_id: principal.tenant_id }, max_rows: 3 }
"""
# The planner's estimate, in its own unit: far above what these statements take.
COSTS = POLICY + "budget: { max_cost: 1000000 }\n"


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shop(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Shop]:
    # Fewer sessions than requests at once: what holds one must not wait for another.
    with shops(postgres, request.param, RINGFENCE_POOLS__PER_POOL="3") as shop:
        shop.policy(POLICY)
        yield shop


@pytest.fixture(scope="module")
def orders(shop: Shop) -> list[dict[str, Any]]:
    """A thousand orders with a line each, made in two requests."""
    # Of two kinds, so that they are several statements: the answer is in the order asked for all the same.
    data = [{"status": "many", "note": str(n)} | ({"total": n} if n % 3 else {}) for n in range(MANY)]
    made: list[dict[str, Any]] = shop.do("ann", "Order", "bulk_create", {"data": data})["rows"]
    assert [row["note"] for row in made] == [str(n) for n in range(MANY)]
    lines = [{"order_id": row["id"], "line": 1, "sku": f"s{row['note']}", "quantity": 1} for row in made]
    assert len(shop.do("ann", "Line", "bulk_create", {"data": lines})["rows"]) == MANY
    return made


def page(shop: Shop, ids: list[int]) -> list[dict[str, Any]]:
    query = {
        "select": ["id", "note"],
        "where": {"field": "id", "op": "in", "value": ids},
        "include": {
            "user": {"select": ["id"]},
            "tenant": {"select": ["name"]},
            "lines": {"select": ["sku"], "take": 1},
        },
        "order_by": ["id"],
        "take": MANY,
        "total_count": True,
    }
    answer = shop.do("ann", "Order", "query", query)
    assert answer["total_count"] == len(ids)
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


@pytest.mark.parametrize("count", [1, 16, 17, 300, MANY])
def test_relations_stand_beside_many_rows(shop: Shop, orders: list[dict[str, Any]], count: int) -> None:
    rows = page(shop, [order["id"] for order in orders[:count]])
    assert sorted(int(row["note"]) for row in rows) == list(range(count))
    for row in rows:
        assert row["user"] == {"id": "ann"}
        assert row["tenant"] == {"name": "Acme-Corp"}
        assert row["lines"] == [{"sku": f"s{row['note']}"}]


def test_long_lists_mean_what_short_ones_mean(shop: Shop, orders: list[dict[str, Any]]) -> None:
    ids = [order["id"] for order in orders]
    for values in [ids[:5], ids[:500]]:
        both = [
            {"field": "id", "op": "not_in", "value": values},
            {"field": "id", "op": "gte", "value": min(ids)},
        ]
        rest = shop.column("ann", "Order", "id", where={"and": both})
        assert set(rest) == set(ids) - set(values)
    notes = [order["note"] for order in orders[:700]]
    assert len(shop.column("ann", "Order", "id", where={"field": "note", "op": "in", "value": notes})) == 700
    totals = [order["total"] for order in orders[:100] if order["total"] is not None]
    found = shop.column("ann", "Order", "id", where={"field": "total", "op": "in", "value": totals})
    assert {order["id"] for order in orders[:100] if order["total"] is not None} <= set(found)
    # The hundred of somebody else's tenant are not there.
    assert shop.column("bob", "Order", "id", where={"field": "id", "op": "in", "value": ids}) == []


def test_many_rows_are_changed_at_once(shop: Shop, orders: list[dict[str, Any]]) -> None:
    ids = [order["id"] for order in orders]
    answer = shop.ask("ann", "Order", "bulk_update", {"ids": ids, "data": {"status": "more"}})
    assert answer.ok, answer.text
    assert len(answer.json()["rows"]) == MANY
    assert shop.raw("SELECT COUNT(*) FROM orders WHERE status = 'more'") == [(MANY,)]
    mixed = {"ids": [*ids[1:], 9], "data": {"status": "theirs"}}
    assert shop.refused("ann", "Order", "bulk_update", mixed) == "NOT_FOUND", "9 is another tenant's"
    assert shop.raw("SELECT COUNT(*) FROM orders WHERE status = 'theirs'") == [(0,)]


def test_the_policy_counts_rows_of_a_request(shop: Shop) -> None:
    made = {"data": [{"title": f"t{n}", "is_public": False} for n in range(4)]}
    # Two kinds of rows would be two statements of two rows each.
    made["data"][2].pop("title")
    made["data"][3].pop("title")
    assert shop.refused("ann", "Document", "bulk_create", made) == "TOO_MANY_ROWS"
    assert shop.raw("SELECT COUNT(*) FROM documents WHERE title LIKE 't_'") == [(0,)]
    rows = shop.do("ann", "Document", "bulk_create", {"data": made["data"][:3]})["rows"]
    assert len(rows) == 3


def test_costs_are_asked_for_where_nothing_waits(shop: Shop, orders: list[dict[str, Any]]) -> None:
    if shop.kind != "postgresql":
        pytest.skip("SQLite estimates no costs")
    shop.policy(COSTS)
    try:
        ids = [order["id"] for order in orders[:20]]

        def work(number: int) -> None:
            assert len(page(shop, ids)) == 20
            shop.do("ann", "Order", "update", {"id": ids[number % 20], "data": {"status": "costly"}})

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(work, range(50)))
        shop.policy(COSTS.replace("1000000", "0"))
        query = {"where": {"field": "id", "op": "in", "value": ids}, "include": {"lines": {}}}
        assert shop.refused("ann", "Order", "query", query) == "COST_EXCEEDED"
        change = {"ids": ids, "data": {"status": "cheap"}}
        assert shop.refused("ann", "Order", "bulk_update", change) == "COST_EXCEEDED"
    finally:
        shop.policy(POLICY)
