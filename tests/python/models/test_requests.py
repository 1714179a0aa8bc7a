"""What requests on models mean: held against the same question asked of the rows in Python."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from throwaway_postgres import Postgres

from models.shop import Shop, shops

POLICY = """
models:
  Tenant:
    table: public.tenants
    scoping: { id: principal.tenant_id }
    relations: { users: { model: User, on: { id: tenant_id }, many: true } }
  User:
    table: public.users
    scoping: { tenant_id: principal.tenant_id }
    fields: { email: { action: mask, mask_pattern: email } }
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    soft_delete: deleted_at
    version: version
    fields: { organization_id: deny, deleted_at: deny }
    relations:
      user: { model: User, on: { user_id: id } }
      tenant: { model: Tenant, on: { tenant_id: id } }
      lines: { model: Line, on: { id: order_id }, many: true, max_depth: 1 }
      hidden: { model: Secret, on: { tenant_id: tenant_id }, many: true }
    write_policy:
      create: allow
      update: allow
      delete: allow
      auto_set:
        tenant_id: principal.tenant_id
        user_id: principal.user_id
        created_by: principal.user_id
        created_at: now()
      immutable_fields: [id, tenant_id, user_id]
      required_fields: [status]
      max_rows: 50
  Line:
    table: public.order_lines
    scoping: { tenant_id: principal.tenant_id }
    write_policy:
      create: allow
      update: allow
      delete: allow
      auto_set: { tenant_id: principal.tenant_id }
    relations: { order: { model: Order, on: { order_id: id } } }
  Secret:
    table: public.documents
    allowed: false
"""

FIELDS = ["id", "status", "total", "note", "version", "user_id"]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shop(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with shops(postgres, request.param) as shop:
        shop.policy(POLICY)
        rng = random.Random(7)
        for chunk in range(4):
            data = [
                {
                    "status": rng.choice(["pending", "done", "50%_!off", "Done", "ünï"]),
                    "total": rng.choice([None, 0, 1.5, -3, 10, 99.99]),
                    "note": rng.choice([None, "", "a'b", 'x"y', "%", "_", "!", "Ä", "pend", f"n{chunk}"]),
                }
                for _ in range(50)
            ]
            shop.do("ann", "Order", "bulk_create", {"data": data, "return_fields": ["id"]})
        yield shop


def every(shop: Shop, person: str = "ann", **query: Any) -> list[dict[str, Any]]:
    """All rows, page by page."""
    query = {"select": FIELDS, "take": 37} | query
    rows: list[dict[str, Any]] = []
    while True:
        page = shop.do(person, "Order", "query", query)
        rows += page["rows"]
        if not page["next_cursor"]:
            assert not page["has_more"]
            return rows
        query = query | {"cursor": page["next_cursor"]}


Test = Callable[[dict[str, Any]], bool | None]


def is_true(field: str, compare: Callable[[Any], bool]) -> Test:
    """Of null nothing is known."""
    return lambda row: None if row[field] is None else compare(row[field])


def at(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


TESTS: list[tuple[dict[str, Any], Test]] = [
    (at("status", "eq", "done"), is_true("status", lambda value: value == "done")),
    (at("status", "ne", "done"), is_true("status", lambda value: value != "done")),
    (at("total", "lt", 1.5), is_true("total", lambda value: float(value) < 1.5)),
    (at("total", "lte", "1.5"), is_true("total", lambda value: float(value) <= 1.5)),
    (at("total", "gt", 0), is_true("total", lambda value: float(value) > 0)),
    (at("id", "gte", 1010), is_true("id", lambda value: value >= 1010)),
    (at("total", "in", [0, 10]), is_true("total", lambda value: float(value) in (0, 10))),
    (
        at("status", "not_in", ["done", "Done"]),
        is_true("status", lambda value: value not in ("done", "Done")),
    ),
    (at("note", "in", []), lambda row: False),
    (at("note", "not_in", []), lambda row: True),
    (at("note", "is_null", True), lambda row: row["note"] is None),
    (at("total", "is_null", False), lambda row: row["total"] is not None),
    (at("status", "contains", "%_!"), is_true("status", lambda value: "%_!" in value)),
    (at("status", "contains", "one"), is_true("status", lambda value: "one" in value)),
    (at("status", "startswith", "D"), is_true("status", lambda value: value.startswith("D"))),
    (at("status", "endswith", "off"), is_true("status", lambda value: value.endswith("off"))),
    (at("note", "contains", "'"), is_true("note", lambda value: "'" in value)),
    (at("note", "endswith", ""), is_true("note", lambda value: True)),
    (at("note", "startswith", "%"), is_true("note", lambda value: value.startswith("%"))),
    (at("total", "between", [0, 10]), is_true("total", lambda value: 0 <= float(value) <= 10)),
]


def negated(inner: Test) -> Test:
    def result(row: dict[str, Any]) -> bool | None:
        value = inner(row)
        return None if value is None else not value

    return result


def joined(one: Test, other: Test, both: bool) -> Test:
    def result(row: dict[str, Any]) -> bool | None:
        values = (one(row), other(row))
        decides = not both
        if decides in values:
            return decides
        return None if None in values else not decides

    return result


def test_conditions_mean_what_they_say(shop: Shop) -> None:
    rows = every(shop)
    assert len(rows) > 200
    asked = list(TESTS)
    for (one, is_one), (other, is_other) in itertools.islice(itertools.combinations(TESTS, 2), 0, None, 3):
        asked.append(({"and": [one, {"not": other}]}, joined(is_one, negated(is_other), both=True)))
        asked.append(({"not": {"or": [one, other]}}, negated(joined(is_one, is_other, both=False))))
        asked.append(({"not": [one, other]}, negated(joined(is_one, is_other, both=True))))
    for where, expected in asked:
        got = [row["id"] for row in every(shop, where=where, take=300)]
        assert got == [row["id"] for row in rows if expected(row)], where


@pytest.mark.parametrize(
    "order", [["total"], ["-total"], ["-status", "total"], ["note", "-total", "-id"], ["-note"]], ids=str
)
def test_pages_lose_and_repeat_nothing(shop: Shop, order: list[str]) -> None:
    whole = every(shop, order_by=order, take=300)
    assert len(whole) == len({row["id"] for row in whole}) > 200
    assert every(shop, order_by=order, take=7) == whole
    # Null is larger than every value, everywhere.
    first = order[0].strip("-")
    nulls = [row[first] is None for row in whole]
    assert nulls == sorted(nulls, reverse=order[0].startswith("-"))


def test_pages_while_others_write(shop: Shop) -> None:
    """Rows that stay come once; those that come and go meanwhile shift nothing."""
    stay = {row["id"] for row in every(shop, take=300)}
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            made = shop.do("adam", "Order", "create", {"data": {"status": "brief"}})["rows"][0]
            shop.do("adam", "Order", "delete", {"id": made["id"]})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            ids = [row["id"] for row in every(shop, take=11, order_by=["-status"])]
            assert len(ids) == len(set(ids))
            assert stay <= set(ids)
    finally:
        stop.set()
        writer.join()


def test_a_cursor_is_of_one_request_and_user(shop: Shop) -> None:
    query = {"select": ["id"], "take": 5, "order_by": ["-id"]}
    cursor = shop.do("ann", "Order", "query", query)["next_cursor"]
    head, tag = cursor.split(".")
    changes: list[tuple[str, dict[str, Any]]] = [
        ("ann", {"order_by": ["id"]}),
        ("ann", {"where": at("id", "gt", 0)}),
        ("adam", {}),
        ("bob", {}),
    ]
    for person, changed in changes:
        assert (
            shop.refused(person, "Order", "query", query | {"cursor": cursor} | changed) == "CURSOR_INVALID"
        )
    for forged in (
        "",
        "x",
        head,
        f"{head}.",
        f"{head[:-1]}.{tag}",
        f"WzFd.{tag}",
        f"{head}.{tag}x",
        "." * 30000,
    ):
        assert shop.refused("ann", "Order", "query", query | {"cursor": forged}) == "CURSOR_INVALID"
    assert shop.do("ann", "Order", "query", query | {"cursor": cursor, "take": 3, "select": ["note"]})["rows"]


def test_rows_of_other_models_stand_beside(shop: Shop) -> None:
    query = {
        "select": ["id"],
        "where": at("id", "lte", 8),
        "include": {
            "user": {"select": ["id", "email"]},
            "lines": {"select": ["sku"], "order_by": ["-line"], "take": 1},
            "tenant": {"select": ["name"], "include": {"users": {"select": ["id"]}}},
        },
        "total_count": True,
    }
    page = shop.do("ann", "Order", "query", query)
    assert page["total_count"] == 8
    assert len(page["rows"]) == 8
    for row in page["rows"]:
        owner = "ann" if row["id"] <= 4 else "adam"
        assert row["user"]["id"] == owner
        assert row["user"]["email"] != f"{owner}@example.org", "masked here as everywhere"
        assert row["lines"] == [{"sku": "sku-2-acme-corp"}]
        assert {user["id"] for user in row["tenant"]["users"]} == {"ann", "adam", "chief"}
    assert shop.refused("ann", "Order", "query", {"include": {"hidden": {}}}) == "RELATION_NOT_ALLOWED"
    assert shop.refused("ann", "Order", "query", {"include": {"nothing": {}}}) == "RELATION_NOT_ALLOWED"
    deeper: dict[str, Any] = {"include": {"lines": {"include": {"order": {}}}}}
    assert shop.refused("ann", "Order", "query", deeper) == "BUDGET_EXCEEDED"


def test_figures_are_those_of_the_rows(shop: Shop) -> None:
    rows = every(shop, take=300)
    request = {
        "aggregates": [
            {"op": "count"},
            {"op": "count", "field": "total"},
            {"op": "count_distinct", "field": "total", "as": "kinds"},
            {"op": "sum", "field": "total"},
            {"op": "avg", "field": "total"},
            {"op": "min", "field": "id"},
            {"op": "max", "field": "note"},
        ],
        "group_by": ["status"],
        "order_by": ["-count"],
    }
    got = shop.do("ann", "Order", "aggregate", request)["rows"]
    assert [row["count"] for row in got] == sorted((row["count"] for row in got), reverse=True)
    for row in got:
        own = [one for one in rows if one["status"] == row["status"]]
        totals = [float(one["total"]) for one in own if one["total"] is not None]
        assert row["count"] == len(own)
        assert row["count_total"] == len(totals)
        assert row["kinds"] == len(set(totals))
        assert float(row["sum_total"]) == pytest.approx(sum(totals))
        assert float(row["avg_total"]) == pytest.approx(sum(totals) / len(totals))
        assert row["min_id"] == min(one["id"] for one in own)
    assert sum(row["count"] for row in got) == len(rows)
    for wrong in [
        {"aggregates": [{"op": "sum", "field": "note"}]},
        {"aggregates": [{"op": "sum"}]},
        {"aggregates": []},
        {"aggregates": [{"op": "count", "as": "a b"}]},
        {"aggregates": [{"op": "count"}, {"op": "count"}]},
        {"aggregates": [{"op": "count"}], "order_by": ["nothing"], "group_by": ["status"]},
    ]:
        assert shop.refused("ann", "Order", "aggregate", wrong) == "INVALID_REQUEST"


def test_what_is_asked_wrongly_is_said(shop: Shop) -> None:
    for query, code in [
        ({"select": ["nothing"]}, "FIELD_NOT_ALLOWED"),
        ({"select": ["organization_id"]}, "FIELD_NOT_ALLOWED"),
        ({"where": at("organization_id", "eq", "x")}, "FIELD_NOT_ALLOWED"),
        ({"order_by": ["-organization_id"]}, "FIELD_NOT_ALLOWED"),
        ({"select": []}, "INVALID_REQUEST"),
        ({"select": ["id", "id"]}, "INVALID_REQUEST"),
        ({"take": 0}, "INVALID_REQUEST"),
        ({"where": at("id", "eq", "1 OR 1=1")}, "INVALID_REQUEST"),
        ({"where": at("id", "eq", None)}, "INVALID_REQUEST"),
        ({"where": at("id", "between", [1])}, "INVALID_REQUEST"),
        ({"where": at("id", "in", 1)}, "INVALID_REQUEST"),
        ({"where": at("id", "contains", "1")}, "INVALID_REQUEST"),
        ({"where": {"field": "id", "op": "like", "value": 1}}, "INVALID_REQUEST"),
        ({"where": {"id": 1}}, "INVALID_REQUEST"),
        ({"nothing": 1}, "INVALID_REQUEST"),
    ]:
        assert shop.refused("ann", "Order", "query", query) == code, query


class TestChanges:
    """Versions, soft deletion, composite keys, transactions."""

    def test_a_version_moves_on(self, shop: Shop) -> None:
        made = shop.do("ann", "Order", "create", {"data": {"status": "v"}})["rows"][0]
        assert made["version"] == 1
        assert made["created_by"] == "ann"
        assert made["created_at"]
        change = {"id": made["id"], "data": {"status": "w"}, "if_version": 1, "return_fields": ["version"]}
        assert shop.do("ann", "Order", "update", change)["rows"] == [{"version": 2}]
        assert shop.refused("ann", "Order", "update", change) == "PRECONDITION_FAILED"
        assert (
            shop.refused("ann", "Order", "delete", {"id": made["id"], "if_version": 1})
            == "PRECONDITION_FAILED"
        )
        claimed = {"id": made["id"], "data": {"version": 9}}
        assert shop.refused("ann", "Order", "update", claimed) == "IMMUTABLE_FIELD"
        assert shop.raw(f"SELECT status, version FROM orders WHERE id = {made['id']}") == [("w", 2)]

    def test_a_soft_deletion_keeps_the_row(self, shop: Shop) -> None:
        made = shop.do("ann", "Order", "create", {"data": {"status": "soft"}})["rows"][0]
        shop.do("ann", "Order", "delete", {"id": made["id"]})
        assert shop.refused("ann", "Order", "get", {"id": made["id"]}) == "NOT_FOUND"
        assert shop.refused("ann", "Order", "delete", {"id": made["id"]}) == "NOT_FOUND"
        gone = shop.raw(f"SELECT status FROM orders WHERE id = {made['id']} AND deleted_at IS NOT NULL")
        assert gone == [("soft",)]
        assert (
            "WRITE_DENIED" in shop.places.ask("ann", shop.connection, "DELETE FROM orders WHERE id = 1").text
        )
        update = "UPDATE orders SET deleted_at = NULL WHERE id = 1"
        assert shop.places.ask("ann", shop.connection, update).status_code >= 400

    def test_what_must_be_given(self, shop: Shop) -> None:
        assert shop.refused("ann", "Order", "create", {"data": {"note": "x"}}) == "REQUIRED_FIELD"
        assert shop.refused("ann", "Order", "create", {"data": {"status": None}}) == "REQUIRED_FIELD"
        unknown = {"data": {"status": "x", "organization_id": "y"}}
        assert shop.refused("ann", "Order", "create", unknown) == "FIELD_NOT_ALLOWED"

    def test_keys_of_several_fields(self, shop: Shop) -> None:
        key = {"order_id": 1, "line": 2}
        assert shop.do("ann", "Line", "get", {"id": key})["quantity"] == 20
        shop.do("ann", "Line", "update", {"id": key, "data": {"quantity": 21}})
        assert shop.do("ann", "Line", "get", {"id": key})["quantity"] == 21
        for wrong in [1, {"order_id": 1}, {"order_id": 1, "line": 2, "x": 3}]:
            assert shop.refused("ann", "Line", "get", {"id": wrong}) == "INVALID_REQUEST"
        both = {"ids": [key, {"order_id": 1, "line": 1}], "data": {"quantity": 5}}
        assert shop.do("ann", "Line", "bulk_update", both)["affected"] == 2
        assert shop.refused("ann", "Line", "bulk_update", {"ids": [key, key], "data": {"quantity": 5}})

    def test_a_reference_to_anothers_row_is_refused(self, shop: Shop) -> None:
        line = {"data": {"order_id": 9, "line": 7, "sku": "x", "quantity": 1}}
        missing = {"data": {"order_id": 99999, "line": 7, "sku": "x", "quantity": 1}}
        one, other = shop.ask("ann", "Line", "create", line), shop.ask("ann", "Line", "create", missing)
        assert one.status_code == other.status_code == 422
        assert one.json()["code"] == other.json()["code"] == "ROW_REFUSED"

    def test_all_operations_or_none(self, shop: Shop) -> None:
        before = shop.raw("SELECT count(*) FROM orders")
        operations = [
            {"action": "create", "model": "Order", "data": {"status": "t"}},
            {"action": "update", "model": "Order", "id": 1, "data": {"note": "t"}},
            {"action": "delete", "model": "Order", "id": 9},
        ]
        answer = shop.transaction("ann", {"operations": operations})
        assert answer.json()["code"] == "NOT_FOUND"
        assert shop.raw("SELECT count(*) FROM orders") == before
        assert shop.raw("SELECT note FROM orders WHERE id = 1") == [("note-acme-corp-1",)]
        answer = shop.transaction("ann", {"operations": operations[:2]})
        assert [result["action"] for result in answer.json()["results"]] == ["create", "update"]

    def test_no_more_rows_than_the_policy_lets(self, shop: Shop) -> None:
        ids = [row["id"] for row in every(shop, take=60)][:51]
        assert (
            shop.refused("ann", "Order", "bulk_update", {"ids": ids, "data": {"note": "x"}})
            == "TOO_MANY_ROWS"
        )
        assert (
            shop.do("ann", "Order", "bulk_update", {"ids": ids[:50], "data": {"note": "x"}})["affected"] == 50
        )
