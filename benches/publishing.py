"""Published endpoints, beside the same two requests written by hand.

The world of `modelling.py`: a million orders of a thousand tenants, a policy that scopes them, and a floor
that binds the tenant itself, checks no key and keeps no record.
"""

import json
from typing import Any

import requests
from guard_http.places import GOVERNOR
from modelling import FIELDS, KEYS, NUMBER, USER, World, comparable, line, worlds

SELECTED = ", ".join(FIELDS)
# A name, what it publishes, and the handler of the floor that it stands for.
ENDPOINTS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "endpoint: one by its primary key": (
        {
            "path": "/bench/order",
            "statement": f"SELECT {SELECTED} FROM orders WHERE id = :id",
            "parameters": {"id": {"type": "integer", "required": True}},
            "result": {"shape": "row"},
        },
        "get",
        {"id": f"{{n}}{NUMBER:03}"},
    ),
    "endpoint: count and sum by status": (
        {
            "path": "/bench/totals",
            "statement": "SELECT status, count(*) AS orders, sum(total) AS revenue"
            " FROM orders GROUP BY status",
            "result": {"wrap": "rows"},
        },
        "aggregate",
        {},
    ),
}


def publish(world: World, number: int, document: dict[str, Any]) -> None:
    """As who governs, for everybody."""
    world.places.gateway.call(
        "PUT",
        f"endpoints/bench-{number}",
        {"method": "POST", "connection": world.connection, **document},
        key=world.places.keys[GOVERNOR],
    )


def see_that_answers_are_the_same(world: World, path: str, operation: str, body: Any) -> None:
    """A floor that does less would flatter nobody but itself."""
    sent = json.loads(json.dumps(body).replace(f'"{{n}}{NUMBER:03}"', f"471{NUMBER:03}"))
    headers = {"Authorization": f"Bearer {world.places.keys[USER]}"}
    ours = requests.post(f"{world.places.gateway.url}{path}", json=sent, headers=headers, timeout=60)
    floor = requests.post(
        f"http://127.0.0.1:{world.floor_port}/models/Order/{operation}", json=sent, timeout=60
    )
    if comparable(operation, ours.json()) != comparable(operation, floor.json()):
        raise RuntimeError(f"{path}: the gateway answers {ours.text}, the floor {floor.text}")


def measure(bench: Any) -> None:
    """Writes the section."""
    with worlds(bench) as world:
        bench.write("", "## Published endpoints", "")
        bench.write(
            "`POST` to an endpoint's own path as a user of one of a thousand tenants; its statement names no "
            "tenant. The floor is the axum handler of the models' table, with a prepared statement binding "
            "the tenant. Both give the same answer, which is checked first.",
            "",
            "| request | clients | of the floor | lowest and highest round | gate / goal | a second | p50 us "
            "| p99 us | p99 of the floor |",
            "|---|---|---|---|---|---|---|---|---|",
        )
        key = world.places.keys[USER]
        for number, (name, (document, operation, body)) in enumerate(ENDPOINTS.items()):
            publish(world, number, document)
            path = document["path"]
            see_that_answers_are_the_same(world, path, operation, body)
            for clients in bench.clients:

                def gateway(count: int, path: str = path, body: Any = body) -> Any:
                    return bench.load(world.places.gateway.port, path, body, count, key, range=KEYS)

                def floor(count: int, operation: str = operation, body: Any = body) -> Any:
                    path = f"/models/Order/{operation}"
                    return bench.load(world.floor_port, path, body, count, range=KEYS)

                seen = bench.interleave({"gateway": gateway, "floor": floor}, clients)
                bench.write(line(name, clients, seen["gateway"], seen["floor"]))
