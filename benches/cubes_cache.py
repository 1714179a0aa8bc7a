"""Answers of cubes that are kept, beside the same question asked of the database each time.

And how a hundred users of five views share them.
"""

import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import requests
from cubes.market import DATABASE, Market
from guard_http.places import Person, Places
from throwaway_postgres import Postgres
from throwaway_server import free_port

ROWS = 1_000_000
USERS, VIEWS = 100, 5
QUERY = {"measures": ["amount.SUM"], "levels": ["region", "product"], "include_totals": True}
POLICY = "models: { Sale: { table: public.sales, scoping: { tenant: principal.tenant_id } } }"


def measures(port: int) -> dict[str, float]:
    """Of the server, by name and labels."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines if name.startswith("ringfence_answers")}


def fill(market: Market, postgres: Postgres) -> None:
    """A million sales of five tenants, in 200 products of 10 regions."""
    postgres.execute(
        "CREATE TABLE sales (id bigint PRIMARY KEY, tenant text NOT NULL, region text NOT NULL,"
        " product text NOT NULL, amount numeric(12, 2) NOT NULL)",
        f"INSERT INTO sales SELECT n, 'tenant-' || n % {VIEWS}, 'region ' || n % 7, 'product ' || n % 200,"
        f" n % 997 FROM generate_series(1, {ROWS}) AS n",
        "VACUUM ANALYZE sales",
        database=DATABASE,
    )
    market.connect(*(f"user-{number}" for number in range(USERS)))
    market.policy(POLICY)
    market.define("sales", {"table": "public.sales", "cache": "1h"})
    market.define("live", {"table": "public.sales", "cache": "0s"})


def share(bench: Any, market: Market, port: int) -> None:
    """A hundred users at once."""

    def ask(number: int) -> Any:
        answer = market.ask(f"user-{number}", "sales", QUERY)
        if not answer.ok:
            raise RuntimeError(answer.text)
        return json.dumps(answer.json()["rows"])

    before = measures(port)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(USERS)))
    for number, answer in enumerate(answers):
        if answer != answers[number % VIEWS]:
            raise RuntimeError(f"user-{number} was answered something else than others of the same view")
    after = measures(port)
    found = {name: value - before.get(name, 0) for name, value in after.items() if "_total" in name}
    asked = {name.split('outcome="')[1].split('"')[0]: int(value) for name, value in found.items() if value}
    kept, size = after["ringfence_answers_kept"], after["ringfence_answers_kept_bytes"] / 1024
    missed, hit, joined = (asked.get(name, 0) for name in ("miss", "hit", "joined"))
    bench.write(
        "",
        f"{USERS} users of {VIEWS} views, each asking once, 16 at a time: {missed} statements, {hit} answers "
        f"from memory and {joined} that waited for another's statement "
        f"({100 - 100 * missed / USERS:.0f} percent shared). In memory are {kept:.0f} answers "
        f"of {size / kept:.0f} KiB each, {size:.0f} KiB in all.",
    )


def measure(bench: Any) -> None:
    """Writes the section."""
    bench.write("", "## Answers of cubes that are kept")
    port = free_port()
    people = [Person(f"user-{number}", f"tenant-{number % VIEWS}") for number in range(USERS)]
    settings = {**bench.wide, "RINGFENCE_SERVER__ADMIN_LISTEN": f"127.0.0.1:{port}"}
    with Postgres() as postgres, Places(settings) as places:
        places.add(*people)
        market = Market(places, "postgresql", postgres, bench.target / "unused.db")
        fill(market, postgres)
        share(bench, market, port)
        key = places.keys["user-0"]
        names = ("sales", "live")
        paths = {name: f"/v1/cubes/{quote(market.connection, safe='')}/{name}/query" for name in names}
        answers = [market.ask("user-0", name, QUERY).json()["rows"] for name in paths]
        if answers[0] != answers[1]:
            raise RuntimeError("what is kept is not what is there")
        bench.write(
            "",
            f"The same question of {ROWS:,} facts ({len(answers[0])} rows), of a cube whose answers are kept "
            "and of one whose are not (`cache: 0s`). Goal: under 2 ms.",
            "",
            "| clients | kept, of not kept | kept a second | p50 us | p99 us | not kept a second | p50 us |",
            "|---|---|---|---|---|---|---|",
        )
        for clients in bench.clients:

            def asking(name: str) -> Any:
                return lambda count: bench.load(places.gateway.port, paths[name], QUERY, count, key)

            seen = bench.interleave({name: asking(name) for name in paths}, clients)
            bench.write(line(clients, seen["sales"], seen["live"]))


def line(clients: int, kept: list[dict[str, float]], live: list[dict[str, float]]) -> str:
    """A row of the table."""

    def median(seen: list[dict[str, float]], figure: str) -> float:
        return statistics.median(one[figure] for one in seen)

    ratios = [a["per_second"] / b["per_second"] for a, b in zip(kept, live, strict=True)]
    return (
        f"| {clients} | {statistics.median(ratios):,.0f} times | {median(kept, 'per_second'):,.0f} "
        f"| {median(kept, 'p50_us'):.0f} | {median(kept, 'p99_us'):.0f} "
        f"| {median(live, 'per_second'):.1f} | {median(live, 'p50_us'):,.0f} |"
    )
