"""Published endpoints over HTTP: whoever calls sees what they see, whoever wrote the statement."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from guard_http.places import GOVERNOR
from models.shop import Shop, shops
from throwaway_postgres import Postgres

POLICY = """
models:
  User: { table: public.users, scoping: { tenant_id: principal.tenant_id } }
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    fields: { organization_id: deny }
    write_policy:
      create: allow
      update: allow
      auto_set: { tenant_id: principal.tenant_id, user_id: principal.user_id }
"""

ENDPOINTS: dict[str, dict[str, Any]] = {
    "orders": {
        "path": "/data",
        "statement": "SELECT id, tenant_id, total FROM public.orders ORDER BY id",
        "result": {"wrap": "data"},
    },
    "order": {
        "path": "/shop/orders/{id}",
        "statement": "SELECT id, note FROM public.orders WHERE id = :id",
        "parameters": {"id": {"type": "integer", "min": 1}},
        "result": {"shape": "row"},
    },
    "count": {
        "path": "/shop/count",
        "statement": "SELECT count(*) FROM public.orders WHERE status = :status OR :status IS NULL",
        "parameters": {"status": {"type": "text", "enum": ["pending", "done"]}},
        "result": {"shape": "scalar", "wrap": "count"},
    },
    "mine": {
        "path": "/shop/mine",
        "statement": "SELECT id FROM public.orders WHERE user_id = principal.user_id ORDER BY id",
    },
    "region": {
        "path": "/shop/region",
        "statement": "SELECT id FROM public.orders WHERE note = principal.attributes.region",
    },
    "add": {
        "path": "/shop/orders",
        "method": "POST",
        "statement": "INSERT INTO public.orders (status, note) VALUES (:status, :note) "
        "RETURNING id, tenant_id, user_id",
        "parameters": {
            "status": {"in": "body", "type": "text", "required": True},
            "note": {"in": "body", "type": "text", "default": "none"},
        },
        "result": {"shape": "row"},
    },
    "kept": {
        "path": "/shop/kept",
        "statement": "SELECT count(*) AS n, min(tenant_id) AS t FROM public.orders",
        "result": {"shape": "row"},
        "cache": "1h",
    },
    "few": {"path": "/shop/few", "statement": "SELECT id FROM public.orders", "max_rows": 2},
    "chiefs": {"path": "/shop/chiefs", "statement": "SELECT 1 AS one", "roles": ["chief"]},
    "whoami": {"path": "/pyapi/whoami", "builtin": "whoami"},
}


class Published:
    """A shop whose organization publishes endpoints."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.url = shop.places.gateway.url

    def document(self, name: str, **more: Any) -> dict[str, Any]:
        document = {"name": name} | ENDPOINTS.get(name, {}) | more
        if "statement" in document:
            document.setdefault("connection", self.shop.connection)
            if self.shop.kind == "sqlite":
                document["statement"] = document["statement"].replace("public.", "main.")
        return document

    def put(self, name: str, person: str = GOVERNOR, **more: Any) -> requests.Response:
        return self.http("PUT", f"/v1/endpoints/{name}", person, json=self.document(name, **more))

    def http(self, method: str, path: str, person: str | None, **more: Any) -> requests.Response:
        headers = more.pop("headers", {})
        if person is not None:
            headers["Authorization"] = f"Bearer {self.shop.places.keys[person]}"
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)

    def get(self, person: str, path: str) -> Any:
        answer = self.http("GET", path, person)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def code(self, person: str | None, path: str, method: str = "GET", **more: Any) -> str:
        answer = self.http(method, path, person, **more)
        assert not answer.ok, f"{path}: {answer.text}"
        return str(answer.json()["code"])


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def published(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Published]:
    with shops(postgres, request.param) as shop:
        shop.policy(POLICY)
        published = Published(shop)
        assert published.http("GET", "/data", None).status_code == 404, "nobody publishes anything yet"
        for name in ENDPOINTS:
            answer = published.put(name)
            assert answer.status_code == 201, answer.text
        yield published


def test_everybody_gets_their_own_rows(published: Published) -> None:
    for person, tenant in [("ann", "acme-corp"), ("bob", "globex"), ("carol", "child-tenant")]:
        rows = published.get(person, "/data")["data"]
        assert {row["tenant_id"] for row in rows} == {tenant}
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        # Their author sees nothing of it all: what they may see is not what callers get.
    assert {row["id"] for row in published.get("adam", "/shop/mine")} <= set(range(5, 9))


def test_values_are_never_read_as_sql(published: Published) -> None:
    assert published.get("ann", "/shop/orders/1")["note"] == "note-acme-corp-1"
    hidden = published.http("GET", "/shop/orders/9", "ann")
    missing = published.http("GET", "/shop/orders/99999999", "ann")
    assert hidden.status_code == missing.status_code == 404
    assert {**hidden.json(), "trace_id": ""} == {**missing.json(), "trace_id": ""}
    assert published.get("ann", "/shop/count")["count"] == 8
    assert published.get("ann", "/shop/count?status=done")["count"] == 4
    for path in [
        "/shop/orders/1%20OR%201=1",
        "/shop/orders/0",
        "/shop/orders/1?id=2",
        "/shop/count?status=done'%20OR%20'1'='1",
        "/shop/count?status=done&status=pending",
        "/shop/count?nothing=1",
    ]:
        assert published.code("ann", path) == "INVALID_REQUEST", path
    injected = "x'); DELETE FROM orders; --"
    row = published.http("POST", "/shop/orders", "bob", json={"status": "new", "note": injected}).json()
    assert (row["tenant_id"], row["user_id"]) == ("globex", "bob")
    assert published.shop.raw(f"SELECT note FROM orders WHERE id = {row['id']}") == [(injected,)]
    assert published.shop.raw("SELECT COUNT(*) FROM orders WHERE tenant_id = 'acme-corp'") == [(8,)]
    for body in [{}, {"status": 1}, {"status": "x", "tenant_id": "acme-corp"}]:
        assert published.code("bob", "/shop/orders", "POST", json=body) == "INVALID_REQUEST", body
    plain = {"data": "status=x", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    assert published.code("bob", "/shop/orders", "POST", **plain) == "UNSUPPORTED_MEDIA_TYPE"


def test_what_is_missing_of_the_caller_is_an_error(published: Published) -> None:
    assert published.code("ann", "/shop/region") == "TENANT_SCOPE_REQUIRED"


def test_who_may_not_call_hears_of_nothing(published: Published) -> None:
    assert published.get("chief", "/shop/chiefs") == [{"one": 1}]
    hidden = published.http("GET", "/shop/chiefs", "ann")
    missing = published.http("GET", "/shop/thieves", "ann")
    assert hidden.status_code == missing.status_code == 404
    assert {**hidden.json(), "trace_id": ""} == {**missing.json(), "trace_id": ""}
    named = {
        name: published.http("POST", f"/v1/endpoints/{name}/try", "ann", json={})
        for name in ["chiefs", "thieves"]
    }
    assert {answer.status_code for answer in named.values()} == {404}
    assert len({json.dumps({**answer.json(), "trace_id": ""}) for answer in named.values()}) == 1
    # Without credentials, each path is answered alike, whether anything is there or not.
    answers = [published.http("GET", path, None) for path in ("/shop/chiefs", "/shop/thieves", "/anything")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({json.dumps({**answer.json(), "trace_id": ""}) for answer in answers}) == 1
    listed = {person: published.get(person, "/v1/endpoints")["items"] for person in ("ann", "chief")}
    names = {person: {item["name"] for item in items} for person, items in listed.items()}
    assert names["chief"] - names["ann"] == {"chiefs"}
    assert "/shop/chiefs" not in published.get("ann", "/v1/endpoints/openapi")["paths"]
    assert published.code("ann", "/data", "DELETE") == "NOT_FOUND"


def test_another_organization_has_paths_of_its_own(published: Published) -> None:
    gateway = published.shop.places.gateway
    gateway.call("POST", "orgs", {"id": "other", "name": "other"})
    gateway.call("POST", "tenants", {"id": "acme-other", "name": "acme-other", "org": "other"})
    user = {"id": "olga", "tenant": "acme-other", "org": "other", "roles": ["org-admin-user"]}
    gateway.call("POST", "users", user)
    made = gateway.call("POST", "keys", {"name": "test"}, acting="olga")
    published.shop.places.keys["olga"] = made["secret"]
    assert published.code("olga", "/data") == "NOT_FOUND"
    assert published.code("olga", "/v1/endpoints/orders") == "NOT_FOUND"
    mine = {"name": "orders", "path": "/data", "builtin": "whoami"}
    assert published.http("PUT", "/v1/endpoints/orders", "olga", json=mine).status_code == 201
    assert published.get("olga", "/data") == {"name": "olga", "roles": []}
    assert "data" in published.get("ann", "/data")


def test_a_kept_answer_is_for_those_who_see_the_same(published: Published) -> None:
    first = published.http("GET", "/shop/kept", "ann")
    assert "Age" not in first.headers
    assert "Age" in published.http("GET", "/shop/kept", "ann").headers
    colleague = published.http("GET", "/shop/kept", "adam")
    assert colleague.json() == first.json()
    for person, tenant in [("bob", "globex"), ("carol", "child-tenant"), ("adam", "acme-corp")]:
        assert published.get(person, "/shop/kept")["t"] == tenant
        assert published.get(person, "/shop/kept")["t"] == tenant
    # A policy that shows less counts for what is kept, too.
    published.shop.policy(
        POLICY.replace(
            "scoping: { tenant_id: principal.tenant_id }\n",
            (
                "scoping: { tenant_id: principal.tenant_id }\n"
                "    row_policies: [{ name: done, condition: \"status = 'done'\" }]\n"
            ),
        )
    )
    try:
        assert published.get("ann", "/shop/kept")["n"] < first.json()["n"]
    finally:
        published.shop.policy(POLICY)


def test_answers_are_bounded(published: Published) -> None:
    assert published.code("ann", "/shop/few") == "BUDGET_EXCEEDED"


def test_whoami_says_who_calls(published: Published) -> None:
    assert published.get("chief", "/pyapi/whoami") == {"name": "chief", "roles": ["chief"]}


def test_what_can_not_run_is_not_published(published: Published) -> None:
    statement = "SELECT organization_id FROM public.orders"
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("v", {"path": "/v1/x", "statement": "SELECT 1"}, "ENDPOINT_INVALID"),
        ("v", {"path": "/x/{id}", "statement": "SELECT 1"}, "ENDPOINT_INVALID"),
        ("v", {"path": "/x", "statement": "SELECT :id"}, "ENDPOINT_INVALID"),
        ("v", {"path": "/x", "statement": "SELECT 1; SELECT 2"}, "QUERY_REFUSED"),
        ("v", {"path": "/x", "statement": "SELECT * FROM public.documents"}, "RELATION_UNKNOWN"),
        ("v", {"path": "/x", "statement": "DELETE FROM public.orders"}, "WRITE_DENIED"),
        ("v", {"path": "/x", "statement": "UPDATE public.orders SET note = 'x'"}, "WRITE_DENIED"),
        ("v", {"path": "/data", "statement": "SELECT 1"}, "CONFLICT"),
        (
            "v",
            {
                "path": "/shop/orders/{number}",
                "statement": "SELECT :number",
                "parameters": {"number": {"type": "text"}},
            },
            "CONFLICT",
        ),
        ("v", {"path": "/x", "statement": "SELECT 1", "connection": "postgresql://nowhere"}, "NOT_FOUND"),
    ]
    for name, more, code in wrong:
        answer = published.put(name, **more)
        assert answer.json().get("code") == code, (more, answer.text)
    assert published.put("orders", person="ann").json()["code"] in ("NOT_PERMITTED", "PERMISSION_REQUIRED")
    # What a caller may not see is found missing when it is called.
    assert published.put("hidden", path="/shop/hidden", statement=statement).ok
    assert published.code("ann", "/shop/hidden") == "COLUMN_UNKNOWN"
    assert published.http("DELETE", "/v1/endpoints/hidden", GOVERNOR).status_code == 204


def test_a_changed_endpoint_counts_at_once(published: Published) -> None:
    for number in range(1, 6):
        assert published.put("changing", path="/shop/changing", statement=f"SELECT {number} AS n").ok
        assert published.get("ann", "/shop/changing") == [{"n": number}]
    history = published.get(GOVERNOR, "/v1/endpoints/changing/history")["items"]
    assert [item["version"] for item in history] == [5, 4, 3, 2, 1]
    assert published.http("DELETE", "/v1/endpoints/changing", GOVERNOR).status_code == 204
    assert published.code("ann", "/shop/changing") == "NOT_FOUND"
    assert published.code(GOVERNOR, "/v1/endpoints/changing") == "NOT_FOUND"
    assert published.put("changing", path="/shop/changing", statement="SELECT 6 AS n").json()["version"] == 7
    assert published.get("ann", "/shop/changing") == [{"n": 6}]


def test_callers_of_two_tenants_never_meet(published: Published) -> None:
    def work(number: int) -> None:
        person, tenant = [("ann", "acme-corp"), ("bob", "globex"), ("adam", "acme-corp")][number % 3]
        path = ["/data", "/shop/kept"][number % 2]
        answer = published.get(person, path)
        seen = {row["tenant_id"] for row in answer["data"]} if path == "/data" else {answer["t"]}
        assert seen == {tenant}

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(600)))


def test_each_call_is_on_record(published: Published) -> None:
    published.get("ann", "/data")
    deadline = time.monotonic() + 10
    while True:
        gateway = published.shop.places.gateway
        records = gateway.call("GET", "audit?door=endpoint&user=ann&limit=5", None)["items"]
        if records:
            break
        assert time.monotonic() < deadline, "the call left no record"
        time.sleep(0.05)  # poll: the record is written behind
    assert records[0]["action"] == "call-endpoint"


def test_the_command_line_publishes_and_tries(published: Published, tmp_path: Path) -> None:
    gateway = published.shop.places.gateway
    document = tmp_path / "cli.json"
    document.write_text(
        json.dumps(
            published.document(
                "cli",
                path="/shop/cli",
                statement=("SELECT count(*) AS n FROM public.orders WHERE id >= :least"),
                parameters={"least": {"type": "integer", "default": 0}},
            )
        )
    )

    def ringfence(*arguments: str) -> subprocess.CompletedProcess[str]:
        return gateway.command("endpoints", *arguments)

    applied = ringfence("apply", str(document), "--user", GOVERNOR)
    assert "version 1 is published" in applied.stdout, applied.stderr
    assert "/shop/cli" in ringfence("list", "--user", "ann").stdout
    tried = ringfence("try", "cli", "-p", "least=3", "--user", "ann")
    assert json.loads(tried.stdout)[0]["n"] >= 1, tried.stderr
    document.write_text("{name: cli, path: /v1, builtin: whoami}")
    wrong = ringfence("apply", str(document), "--user", GOVERNOR)
    assert wrong.returncode == 1
    assert "one of the server's own" in wrong.stderr
