"""Answers of cubes that are kept: shared by who sees the same and nobody else, while they are true."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import requests
from guard_http.places import GOVERNOR, Person
from polling import wait_for
from throwaway_postgres import Postgres
from throwaway_server import free_port

from cubes.market import Market, markets
from cubes.test_isolation import CUBE, PEOPLE, POLICY, tables

WRITING = POLICY.replace(
    "    fields:\n      cost:",
    "    write_policy: { create: deny, update: allow, delete: deny }\n    fields:\n      cost:",
    1,
)
LONG = CUBE | {"cache": "1h"}
SHARING = [Person("adam", "acme"), Person("eve", "acme", data_roles=["PARIS"])]
EVERYBODY = [*PEOPLE, *SHARING]


@pytest.fixture(params=["sqlite", "postgresql"])
def market(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Market]:
    server = postgres if request.param == "postgresql" else None
    with markets(request.param, server, *EVERYBODY) as market:
        tables(market)
        market.connect(*(person.name for person in EVERYBODY))
        market.policy(WRITING)
        market.define("sales", LONG)
        yield market


def asked(market: Market, person: str, *levels: str, **headers: str) -> tuple[list[list[Any]], bool]:
    """The rows, and whether they were kept from another call."""
    query = {"measures": ["Amount"], "levels": list(levels), "include_totals": True}
    answer = market.ask(person, "sales", query, **headers)
    assert answer.ok, answer.text
    return answer.json()["rows"], "Age" in answer.headers


def unkept(market: Market, person: str, *levels: str) -> list[list[Any]]:
    """What the database answers now."""
    rows, was_kept = asked(market, person, *levels, **{"Cache-Control": "no-store"})
    assert not was_kept
    return rows


def past_ringfence(market: Market, statement: str) -> None:
    """A change that the server hears nothing of."""
    if isinstance(market.server, Postgres):
        market.server.execute(statement, database="market")
    else:
        with sqlite3.connect(market.file) as connection:
            connection.execute(statement)
        connection.close()


def test_callers_who_see_the_same_share(market: Market) -> None:
    rows, was_kept = asked(market, "ann", "City")
    assert not was_kept
    assert asked(market, "ann", "City") == (rows, True)
    assert asked(market, "adam", "City") == (rows, True), "a colleague with the same view"
    assert asked(market, "adam", "day")[1] is False, "another question"
    query = {"measures": ["Amount"], "levels": ["City"], "include_totals": True}
    for form in [
        "application/vnd.ringfence.cellset+json",
        "text/csv",
        "application/vnd.apache.arrow.stream",
    ]:
        answer = market.ask("adam", "sales", query, Accept=form)
        assert "Age" in answer.headers, "every form is made of the same rows"
    assert market.ask("adam", "sales", query, Accept="text/csv").text.splitlines()[1] == f",,{rows[0][2]},0"


def test_callers_with_different_views_never_share(market: Market) -> None:
    """Whoever comes first, everybody has what they have without a cache; each view is asked for once."""
    market.define("sales", CUBE | {"cache": "0s"})
    questions = [("City",), ("card",), ("day",), ()]
    names = [person.name for person in EVERYBODY]
    right = {(name, levels): unkept(market, name, *levels) for name in names for levels in questions}
    views = {"ann": 1, "adam": 1, "paris": 2, "eve": 2, "france": 3, "books": 4, "bob": 5}
    assert set(views) == set(names)
    for number, order in enumerate(itertools.islice(itertools.permutations(names), 0, None, 1261)):
        # Another version of the cube begins with nothing.
        market.define("sales", LONG | {"description": f"turn {number}"})
        for levels in questions:
            first: set[int] = set()
            for name in (*order, *order):
                rows, was_kept = asked(market, name, *levels)
                assert rows == right[name, levels], f"{name} of {order} at {levels}"
                assert was_kept is (views[name] in first), f"{name} of {order} at {levels}"
                first.add(views[name])


def test_what_an_administrator_changes_counts_at_once(market: Market) -> None:
    def fill() -> None:
        for person in EVERYBODY:
            asked(market, person.name, "City")

    def right() -> None:
        for person in EVERYBODY:
            assert asked(market, person.name, "City")[0] == unkept(market, person.name, "City"), person.name

    fill()
    # Roles of people, then restrictions of roles.
    market.roles("adam", "FRANCE")
    assert asked(market, "adam", "City") == asked(market, "france", "City")
    right()
    path = f"/v1/security/restrictions/{quote(market.connection, safe='')}/LATE"
    market.roles("ann", "LATE")
    fill()
    whole, _ = asked(market, "ann", "City")
    for cities in (["Lyon"], ["Rome"], ["Lyon", "Rome"]):
        entries = [{"table": "shops", "column": "city", "in": cities}]
        assert market.http("PUT", path, GOVERNOR, json={"restrictions": entries}).ok
        rows, was_kept = asked(market, "ann", "City")
        assert not was_kept
        assert sorted(row[1] for row in rows if row[1]) == cities
        right()
    assert market.http("DELETE", path, GOVERNOR).ok
    assert asked(market, "ann", "City")[0] == whole
    # The policy.
    fill()
    market.policy(WRITING.replace("in: [Paris]", "in: [Rome]"))
    assert [row[1] for row in asked(market, "paris", "City")[0]] == [None, None, "Rome"]
    right()
    # The cube.
    market.define("sales", LONG | {"measures": {"Amount": {"max": "amount"}}})
    rows = [[None, None, 1000], ["France", None, 1000], ["France", "Paris", 1000]]
    assert asked(market, "bob", "City") == (rows, False)
    assert asked(market, "ann")[0] == [[80]]
    assert market.http("DELETE", market.path("sales"), GOVERNOR).status_code == 204
    assert market.code(market.ask("ann", "sales", {"measures": ["Amount"]})) == "CUBE_NOT_ALLOWED"


def test_what_is_written_through_ringfence_is_seen_at_once(market: Market) -> None:
    def fill() -> None:
        wait_for("a kept answer", lambda: asked(market, "ann")[1])

    key = quote(market.connection, safe="")
    for number in range(5):
        fill()
        update = f"UPDATE sales SET amount = {100 + number} WHERE id = 1"
        answer = market.places.ask("ann", market.connection, update)
        assert answer.ok, answer.text
        assert asked(market, "adam")[0] == [[240 + number]]
    # By a request on models.
    fill()
    change = {"operations": [{"action": "update", "model": "Sale", "id": 1, "data": {"amount": 10}}]}
    answer = market.http("POST", f"/v1/transactions/{key}", "ann", json=change)
    assert answer.ok, answer.text
    assert asked(market, "adam")[0] == [[150]]
    # What was refused wrote nothing.
    fill()
    assert not market.places.ask("ann", market.connection, "DELETE FROM sales").ok
    assert asked(market, "adam") == ([[150]], True)


def test_what_is_written_past_ringfence_is_seen_in_time(market: Market) -> None:
    past_ringfence(market, "UPDATE sales SET amount = 11 WHERE id = 1")
    assert asked(market, "ann") == ([[151]], False)
    past_ringfence(market, "UPDATE sales SET amount = 12 WHERE id = 1")
    assert asked(market, "ann") == ([[151]], True)
    assert unkept(market, "ann") == [[152]]
    assert asked(market, "ann") == ([[151]], True), "no-store keeps nothing for others"
    assert asked(market, "ann", **{"Cache-Control": "no-cache"}) == ([[152]], False)
    assert asked(market, "adam") == ([[152]], True), "no-cache does"
    # A cube says itself how long its answers count.
    market.define("sales", CUBE | {"cache": "200ms"})
    assert asked(market, "ann") == ([[152]], False)
    past_ringfence(market, "UPDATE sales SET amount = 10 WHERE id = 1")
    wait_for("the time to be over", lambda: asked(market, "adam")[0] == [[150]])
    market.define("sales", CUBE | {"cache": "0s"})
    assert [asked(market, "ann") for _ in range(3)] == [([[150]], False)] * 3
    # Where it says nothing, the configuration does.
    market.define("sales", CUBE)
    assert [asked(market, "ann") for _ in range(2)] == [([[150]], False), ([[150]], True)]
    wrong = market.put("sales", CUBE | {"cache": "2d"})
    assert wrong.status_code == 422
    assert "`cache` is a number and its unit" in wrong.json()["problems"][0]["message"]


def test_what_hangs_on_the_moment_is_never_kept(market: Market) -> None:
    since = 'row_policies: [ { name: since, condition: "day <= current_date" } ]\n    write_policy'
    market.policy(WRITING.replace("write_policy", since, 1))
    assert [asked(market, "ann") for _ in range(3)] == [([[150]], False)] * 3


def test_budgets_hold_for_what_is_kept(market: Market) -> None:
    market.policy(WRITING + "budget: { requests_per_minute: 3 }\n")
    assert [asked(market, "ann")[1] for _ in range(3)] == [False, True, True]
    answer = market.ask("adam", "sales", {"measures": ["Amount"], "include_totals": True})
    assert market.code(answer) == "TENANT_RATE_LIMITED"
    assert asked(market, "bob")[1] is False, "another tenant's minute"


def test_the_record_says_that_an_answer_was_kept(market: Market) -> None:
    asked(market, "ann", "City")
    asked(market, "adam", "City")
    endpoint = {
        "name": "kept",
        "path": "/kept",
        "connection": market.connection,
        "statement": "SELECT id, amount FROM sales ORDER BY id",
        "cache": "1h",
    }
    assert market.http("PUT", "/v1/endpoints/kept", GOVERNOR, json=endpoint).ok
    for person in ("ann", "adam"):
        assert len(market.http("GET", "/kept", person).json()) == 4

    def records(action: str) -> list[dict[str, Any]]:
        path = f"/v1/audit?action={action}&order=oldest_first"
        return [item for item in market.http("GET", path, GOVERNOR).json()["items"] if item["rows"]]

    def both(action: str) -> list[dict[str, Any]] | None:
        found = records(action)
        return found if len(found) == 2 else None

    for action, rows in [("query-cube", 8), ("call-endpoint", 4)]:
        first, second = wait_for(action, partial(both, action))
        assert (first["user"], second["user"]) == ("ann", "adam")
        assert (first["rows"], second["rows"]) == (rows, rows)
        assert first["kept_ms"] is None
        assert second["kept_ms"] >= 0
        assert first["statement"] == second["statement"]
        assert first["scopes"] == second["scopes"]
        assert second["scopes"]


def test_endpoints_are_kept_by_the_same_keeper(market: Market) -> None:
    endpoint = {
        "name": "sum",
        "path": "/sum",
        "connection": market.connection,
        "statement": "SELECT sum(amount) AS amount FROM sales",
        "cache": "1h",
    }
    assert market.http("PUT", "/v1/endpoints/sum", GOVERNOR, json=endpoint).ok

    def called(person: str, **headers: str) -> tuple[int, bool]:
        answer = market.http("GET", "/sum", person, headers=headers)
        return answer.json()[0]["amount"], "Age" in answer.headers

    assert [called("ann"), called("adam"), called("bob")] == [(150, False), (150, True), (1000, False)]
    past_ringfence(market, "UPDATE sales SET amount = 11 WHERE id = 1")
    assert called("ann") == (150, True)
    assert called("ann", **{"Cache-Control": "max-age=0"}) == (151, False)
    assert called("adam") == (151, True)
    # What is written through the server is seen at once.
    assert market.places.ask("bob", market.connection, "UPDATE sales SET amount = 7 WHERE id = 5").ok
    assert called("bob") == (7, False)
    wait_for("a kept answer", lambda: called("bob") == (7, True))


def metrics(port: int) -> dict[str, float]:
    """Measures of the server, by name and labels."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def outcomes(port: int) -> dict[str, int]:
    """How often questions to cubes ended how."""
    found: dict[str, int] = {}
    for name, value in metrics(port).items():
        if name.startswith("ringfence_answers_total{") and 'what="cube"' in name:
            found[name.split('outcome="')[1].split('"')[0]] = int(value)
    return found


def test_a_hundred_users_of_five_views_ask_five_times() -> None:
    people = [Person(f"user{number}", f"tenant{number % 5}", data_roles=["READER"]) for number in range(100)]
    port = free_port()
    settings = {"RINGFENCE_SERVER__ADMIN_LISTEN": f"127.0.0.1:{port}"}
    with markets("sqlite", None, *people, **settings) as market:
        market.table(
            "sales",
            ["id INTEGER PRIMARY KEY", "tenant TEXT", "city TEXT", "amount INTEGER"],
            [[number, f"tenant{number % 5}", f"city {number % 200}", number] for number in range(20_000)],
        )
        market.connect(*(person.name for person in people))
        market.policy("models: { Sale: { table: sales, scoping: { tenant: principal.tenant_id } } }")
        market.define("sales", {"table": "sales", "cache": "1h"})
        query = {"measures": ["amount.SUM"], "levels": ["city"], "include_totals": True}

        def total(person: Person) -> tuple[str, int]:
            answer = market.ask(person.name, "sales", query)
            assert answer.ok, answer.text
            return person.tenant, answer.json()["rows"][0][-1]

        expected = {f"tenant{rest}": sum(range(rest, 20_000, 5)) for rest in range(5)}
        with ThreadPoolExecutor(16) as pool:
            for tenant, amount in pool.map(total, people):
                assert amount == expected[tenant]
        found = outcomes(port)
        assert found["miss"] == 5, found
        assert found.get("hit", 0) + found.get("joined", 0) == 95, found
        seen = metrics(port)
        assert seen["ringfence_answers_kept"] == 5
        # 41 rows of three values for each of five views, not for each of a hundred users.
        assert 5_000 < seen["ringfence_answers_kept_bytes"] < 100_000
        print(json.dumps({"outcomes": found, "bytes": seen["ringfence_answers_kept_bytes"]}))


def test_memory_is_bounded() -> None:
    port = free_port()
    settings = {"RINGFENCE_SERVER__ADMIN_LISTEN": f"127.0.0.1:{port}", "RINGFENCE_CACHE__MEMORY": "64KiB"}
    with markets("sqlite", None, Person("ann", "acme"), **settings) as market:
        rows = [[number, f"{number:04}", number] for number in range(2_000)]
        market.table("sales", ["id INTEGER PRIMARY KEY", "code TEXT", "amount INTEGER"], rows)
        market.connect("ann")
        market.policy("default: allow")
        market.define("sales", {"table": "sales", "cache": "1h"})

        def below(code: int) -> bool:
            conditions = [
                {"field": "code", "op": "lt", "value": f"{code:04}"},
                {"field": "code", "op": "gte", "value": f"{code - 10:04}"},
            ]
            query = {"measures": ["amount.SUM"], "levels": ["code"], "filter": conditions}
            answer = market.ask("ann", "sales", query)
            assert len(answer.json()["rows"]) == 10
            return "Age" in answer.headers

        for code in range(10, 1_010, 10):
            assert not below(code)
            assert metrics(port)["ringfence_answers_kept_bytes"] <= 64 * 1024
        assert below(1_000), "the newest are there"
        assert not below(10), "the oldest had to go"
        before = metrics(port)["ringfence_answers_kept"]
        assert before > 10
        # One that takes more than its part of the memory drives nobody out.
        for _ in range(2):
            answer = market.ask("ann", "sales", {"measures": ["amount.SUM"], "levels": ["code"]})
            assert len(answer.json()["rows"]) == 2_000
            assert "Age" not in answer.headers
        assert metrics(port)["ringfence_answers_kept"] == before


def test_nothing_is_kept_where_it_is_turned_off() -> None:
    with markets("sqlite", None, *PEOPLE, RINGFENCE_CACHE__ENABLED="false") as market:
        tables(market)
        market.connect("ann")
        market.policy(POLICY)
        market.define("sales", LONG)
        assert [asked(market, "ann")[1] for _ in range(3)] == [False, False, False]
