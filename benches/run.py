"""Measures the gateway beside its floors and writes benches/results.md. Start it with `cargo xtask bench`.

Every figure that is compared is a ratio of one interleaved run (A B A B ...): on a machine that others use
too, nothing else means anything. Absolute figures stand beside the ratios for orientation only.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "python"))

import cubes_cache  # type: ignore[import-not-found, unused-ignore]
import inside  # type: ignore[import-not-found, unused-ignore]
import modelling  # type: ignore[import-not-found, unused-ignore]
import peer  # type: ignore[import-not-found, unused-ignore]
import publishing  # type: ignore[import-not-found, unused-ignore]
from gateway import ADMIN_KEY, Gateway
from polling import wait_for
from throwaway_postgres import Postgres
from throwaway_server import free_port

CLIENTS = (1, 8, 32)

Figures = dict[str, float]
Measure = Callable[[int], Figures]

ONE_ROW = "SELECT id, tenant_id, status FROM orders WHERE id = 4711"
BY_LITERAL = "SELECT id, tenant_id, status FROM orders WHERE id = {n}"
BY_BIND = "SELECT id, tenant_id, status FROM orders WHERE id = $1"
ORDERS = 100_000

# Limits per user protect a server; here one user sends all the load.
WIDE = {
    "RINGFENCE_LIMITS__QUERIES_PER_USER": "256",
    "RINGFENCE_POOLS__PER_POOL": "32",
    "RINGFENCE_LOG__FILTER": "warn",
}

MANY_USERS = 100_000
MANY_CONNECTIONS = 10_000


class Bench:
    """The programs, and how long each measurement takes."""

    def __init__(self, programs: Path, quick: bool) -> None:
        self.floors = programs / "floors"
        # Cargo's directory, where environments are kept as well.
        self.target = programs.parent
        self.clients, self.wide = CLIENTS, WIDE
        os.environ["RINGFENCE_BIN"] = str(programs / "ringfence")
        self.quick = quick
        self.seconds = 0.5 if quick else 2.0
        self.rounds = 2 if quick else 5
        self.users = 2_000 if quick else MANY_USERS
        self.connections = 200 if quick else MANY_CONNECTIONS
        self.lines: list[str] = []

    def write(self, *lines: str) -> None:
        """Adds to the report, and shows it."""
        print(*lines, sep="\n", flush=True)
        self.lines += lines

    def load(
        self, port: int, path: str, body: Any, clients: int, key: str | None = None, **more: Any
    ) -> Figures:
        """Load over HTTP."""
        command = [str(self.floors), "load", "--address", f"127.0.0.1:{port}", "--path", path]
        # "{n}" alone, or before digits, is a number in JSON, not a text.
        command += ["--body", re.sub(r'"(\{n\}\d*)"', r"\1", json.dumps(body)), "--clients", str(clients)]
        if key:
            command += ["--header", f"Authorization: Bearer {key}"]
        options = {"seconds": self.seconds, "range": ORDERS, **more}
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        return self._figures(command)

    def postgres(self, url: str, query: str, clients: int, bind: bool) -> Figures:
        """Load straight to PostgreSQL."""
        command = [
            str(self.floors),
            "postgres",
            "--postgres",
            url,
            "--query",
            query,
            "--clients",
            str(clients),
        ]
        command += [
            "--seconds",
            str(self.seconds),
            "--range",
            str(ORDERS),
            *(["--bind", "yes"] if bind else []),
        ]
        return self._figures(command)

    def interleave(self, measures: dict[str, Measure], clients: int) -> dict[str, list[Figures]]:
        """Each measure once a round, in turn; the first round warms up and is not counted."""
        seen: dict[str, list[Figures]] = {name: [] for name in measures}
        for number in range(self.rounds + 1):
            for name, measure in measures.items():
                figures = measure(clients)
                if number:
                    seen[name].append(figures)
        return seen

    @staticmethod
    def _figures(command: list[str]) -> Figures:
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"{command[1]}: {ran.stderr}")
        figures: Figures = json.loads(ran.stdout)
        if figures["errors"]:
            raise RuntimeError(f"{figures['errors']:.0f} answers were no 200: {command[1:]}")
        return figures


def median(seen: list[Figures], name: str) -> float:
    return statistics.median(figures[name] for figures in seen)


def ratio(ours: list[Figures], theirs: list[Figures], name: str = "per_second") -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a[name] / b[name] for a, b in zip(ours, theirs, strict=True))


def resident_megabytes(server: Gateway) -> float:
    assert server.process
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes) / 1024


def must(answer: requests.Response) -> Any:
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.url}: {answer.status_code} {answer.text}")
    return answer.json()


def make_world(server: Gateway) -> str:
    """An organization with a user; answers the user's key."""
    must(server.post("create-org", {"organization": {"id": "bench-org", "name": "Bench"}}))
    must(server.post("create-tenant", {"tenant": {"id": "bench-tenant", "name": "B", "org_id": "bench-org"}}))
    user = {"id": "bench-user", "name": "Bench User", "tenant_id": "bench-tenant", "org_id": "bench-org"}
    must(server.post("create-user", {"user": user}))
    made = must(server.post("create-key", {"name": "bench"}, x_waii_impersonate_user="bench-user"))
    key: str = made["access_keys"][0]["access_key"]
    return key


def make_orders(postgres: Postgres) -> str:
    """The transactional workload's table, cut down to what one look-up needs; answers a URL."""
    postgres.create_database("bench", "bench", "bench")
    postgres.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id int NOT NULL, status text NOT NULL)",
        f"INSERT INTO orders SELECT n, n % 1000, 'open' FROM generate_series(1, {ORDERS}) AS n",
        "GRANT SELECT ON orders TO bench",
        "ANALYZE orders",
        database="bench",
    )
    return f"postgresql://bench:bench@127.0.0.1:{postgres.port}/bench"


def register(server: Gateway, postgres: Postgres, key: str) -> str:
    """Registers the database for the user; answers the connection's key."""
    connection = {
        "db_type": "postgresql",
        "host": "127.0.0.1",
        "port": postgres.port,
        "username": "bench",
        "password": "bench",
        "database": "bench",
    }
    must(
        server.post(
            "update-db-connect-info", {"updated": [connection], "validate_before_save": True}, key=key
        )
    )
    scope = f"postgresql://bench@127.0.0.1:{postgres.port}/bench"

    def indexed() -> bool:
        status = must(server.post("update-db-connect-info", {}, key=key))["connector_status"][scope]["status"]
        return bool(status == "completed")

    wait_for("the index", indexed)
    return scope


def queries(bench: Bench, server: Gateway, postgres: Postgres, url: str, key: str, floor_port: int) -> None:
    """Goals H1 and H2: run-query of one row against the floor and against PostgreSQL itself."""
    scope = register(server, postgres, key)
    workloads: list[tuple[str, str, Any, Any, str, bool]] = [
        (
            "H1: one row, the same text",
            "0.7 / 0.9",
            {"query": ONE_ROW, "scope": scope},
            {"query": ONE_ROW},
            ONE_ROW,
            False,
        ),
        (
            "H2: one row, a new literal each time",
            "0.5 / 0.75",
            {"query": BY_LITERAL, "scope": scope},
            {"query": BY_BIND, "n": "{n}"},
            BY_BIND,
            True,
        ),
    ]
    bench.write("", "## POST /api/run-query", "")
    bench.write(
        "The floor is a bare axum handler with a pool and prepared statements; for H2 it binds the value.", ""
    )
    bench.write(
        "| workload | clients | of the floor | gate / goal | of direct PostgreSQL | a second | p50 us "
        "| p99 us | p99 of the floor |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    for name, goal, ours, floors, direct, bind in workloads:
        for clients in CLIENTS:

            def gateway(count: int, body: Any = ours) -> Figures:
                return bench.load(server.port, "/api/run-query", body, count, key)

            def floor(count: int, body: Any = floors) -> Figures:
                return bench.load(floor_port, "/api/run-query", body, count)

            def straight(count: int, query: str = direct, bound: bool = bind) -> Figures:
                return bench.postgres(url, query, count, bound)

            seen = bench.interleave({"gateway": gateway, "floor": floor, "direct": straight}, clients)
            ours_seen, floor_seen = seen["gateway"], seen["floor"]
            bench.write(
                f"| {name} | {clients} | {ratio(ours_seen, floor_seen):.2f} | {goal} "
                f"| {ratio(ours_seen, seen['direct']):.2f} | {median(ours_seen, 'per_second'):,.0f} "
                f"| {median(ours_seen, 'p50_us'):.0f} | {median(ours_seen, 'p99_us'):.0f} "
                f"| {ratio(ours_seen, floor_seen, 'p99_us'):.2f} times |"
            )


def authentication(bench: Bench, server: Gateway, key: str, floor_port: int) -> None:
    """What a cached authentication costs: get-user-info against a handler that answers a constant."""
    seen = bench.interleave(
        {
            "gateway": lambda clients: bench.load(server.port, "/api/get-user-info", {}, clients, key),
            "floor": lambda clients: bench.load(floor_port, "/api/get-user-info", {}, clients),
        },
        1,
    )
    per_request = [
        1e6 / ours["per_second"] - 1e6 / theirs["per_second"]
        for ours, theirs in zip(seen["gateway"], seen["floor"], strict=True)
    ]
    bench.write("", "## Authentication, cached", "")
    bench.write(
        "POST /api/get-user-info, less the same request to a handler that answers a constant: the key, the "
        "principal, the permissions, the limits and the audit record together, 1 client.",
        "",
        "| microseconds a request | goal |",
        "|---|---|",
        f"| {statistics.median(per_request):.0f} | under 20 |",
    )


def guard(bench: Bench) -> None:
    """Goals G1 and G2, and what grows with the number of relations."""
    command = [str(bench.floors), "guard", "--rounds", "20" if bench.quick else "200"]
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    bench.write(
        "",
        "## The guard",
        "",
        "G1: a statement that is guarded for the first time, beside parsing and printing the same text without looking at it "  # noqa: E501
        "(gate 2.5 times). G2: one whose plan is known, with the scan for literals, the key check and the binding of values "  # noqa: E501
        "(gate 3 us).",
        "",
        "| statement | characters | parsed and printed us | guarded us | ratio | known us |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one['name']} | {one['characters']:,} | {one['bare_us']:.1f} | {one['guard_us']:.1f} "
            f"| {one['ratio']:.2f} | {one['cached_us']:.2f} |"
            for one in figures["statements"]
        ),
        "",
        "| relations in the catalog, each with a policy | making the first view us "
        "| that of another principal of the same roles us (gate 1,000 for 1,000) "
        "| guarding the first statement above us |",
        "|---|---|---|---|",
        *(
            f"| {one['relations']:,} | {one['first_us']:,.0f} | {one['view_us']:,.0f} | {one['guard_us']:.1f} |"  # noqa: E501
            for one in figures["sizes"]
        ),
    )


def start_up(bench: Bench) -> None:
    """From starting the process until it answers, on an existing store and on none."""
    fresh, again = [], []
    for _ in range(bench.rounds):
        server = Gateway()
        try:
            fresh.append(timed_start(server))
            server.stop()
            again.append(timed_start(server))
        finally:
            server.close()
    bench.write("", "## Start-up", "", "| | seconds | goal |", "|---|---|---|")
    bench.write(
        f"| the first start: makes the store and the sealing key | {statistics.median(fresh):.3f} | |"
    )
    bench.write(f"| later starts | {statistics.median(again):.3f} | under 0.3 |")


def timed_start(server: Gateway) -> float:
    begun = time.perf_counter()
    server.start()
    return time.perf_counter() - begun


def scale(bench: Bench) -> None:
    """Memory and throughput with few and with many users."""
    server = Gateway(settings=WIDE)
    try:
        server.start()
        time.sleep(1)  # poll: not a wait for anything: what idling does to memory
        idle = resident_megabytes(server)
        key = make_world(server)
        few = [who_am_i(bench, server, key) for _ in range(bench.rounds + 1)][1:]
        begun = time.perf_counter()
        fill_users(bench, server)
        took = time.perf_counter() - begun
        fill_connections(bench, server)
        many = [who_am_i(bench, server, key) for _ in range(bench.rounds + 1)][1:]
        full = resident_megabytes(server)
        server.stop()
        restart = timed_start(server)
        time.sleep(1)  # poll: as above
        restarted = resident_megabytes(server)
    finally:
        server.close()
    bench.write("", "## Size", "", "| | | goal |", "|---|---|---|")
    crowd = f"{bench.users:,} users and {bench.connections:,} connections"
    bench.write(f"| resident memory, idle, new store | {idle:.0f} MB | under 60 MB |")
    bench.write(f"| resident memory with {crowd} | {full:.0f} MB | under 200 MB |")
    bench.write(f"| the same after a restart | {restarted:.0f} MB | |")
    bench.write(f"| start-up with them | {restart:.2f} s | under 0.3 s |")
    bench.write(
        f"| throughput with them, of that with a handful (8 clients) | {ratio(many, few):.2f} | 1.0 |"
    )
    bench.write(f"| users made a second, by 16 clients | {bench.users / took:,.0f} | |")


def who_am_i(bench: Bench, server: Gateway, key: str) -> Figures:
    return bench.load(server.port, "/api/get-user-info", {}, 8, key)


def fill_users(bench: Bench, server: Gateway) -> None:
    user = {"id": "user-{i}", "name": "User {i}", "tenant_id": "bench-tenant", "org_id": "bench-org"}
    bench.load(server.port, "/api/create-user", {"user": user}, 16, ADMIN_KEY, count=bench.users)


def fill_connections(bench: Bench, server: Gateway) -> None:
    """Push connections: registered as any other, without a server behind each."""
    connection = {"db_type": "postgresql", "database": "bench", "push": True}
    owners = max(1, bench.connections // 100)
    for number in range(owners):
        body = {"updated": [{**connection, "host": f"push-{number}-{each}"} for each in range(100)]}
        owned = {**body, "owner_user_id": f"user-{number}"}
        must(server.post("update-db-connect-info", owned))


def head(bench: Bench) -> list[str]:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines())
    return [
        "# Figures",
        "",
        f"Made by `cargo xtask bench{' --quick' if bench.quick else ''}` on {datetime.date.today()}: "
        f"{len(names)} cores ({names[0] if names else platform.machine()}), "
        f"{int(memory) // 2**20} GB of memory, {platform.system()} {platform.machine()}. "
        "Load, gateway, floor and PostgreSQL share these cores.",
        "",
        "Only the ratios mean anything: medians over rounds that were run in turn.",
    ]


def in_sections(lines: list[str]) -> dict[str, list[str]]:
    """A report's sections by their headings. What stands before the first is under none."""
    sections: dict[str, list[str]] = {"": []}
    for line in lines:
        if line.startswith("## "):
            sections[line] = []
        sections[list(sections)[-1]].append(line)
    return sections


def report(bench: Bench, in_full: bool) -> None:
    """A new report, or the old one with the sections that were measured now."""
    path = Path(__file__).parent / "results.md"
    measured = in_sections(bench.lines)
    measured.pop("")
    sections = {"": head(bench)} if in_full else in_sections(path.read_text().splitlines())
    sections |= measured
    parts = ["\n".join(lines).strip() for lines in sections.values()]
    path.write_text("\n\n".join(parts) + "\n")
    print(f"\nwritten: {path}")


def over_http(bench: Bench) -> None:
    """Queries and authentication, which share a database, a gateway and a floor."""
    with Postgres(["shared_buffers=256MB"]) as postgres:
        url = make_orders(postgres)
        floor_port = free_port()
        floor = subprocess.Popen(
            [str(bench.floors), "serve", "--listen", f"127.0.0.1:{floor_port}", "--postgres", url]
        )
        try:
            with Gateway(settings=WIDE) as server:
                key = make_world(server)
                queries(bench, server, postgres, url, key, floor_port)
                authentication(bench, server, key, floor_port)
        finally:
            floor.terminate()
            floor.wait(10)


PARTS: dict[str, Callable[[Bench], None]] = {
    "queries": over_http,
    "models": modelling.measure,
    "includes": modelling.measure_includes,
    "endpoints": publishing.measure,
    "kept": cubes_cache.measure,
    "library": peer.measure,
    "guard": guard,
    "inside": inside.measure,
    "start-up": start_up,
    "size": scale,
}


def main() -> None:
    """Runs everything, or what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--programs", type=Path, required=True, help="the directory with ringfence and floors"
    )
    parser.add_argument("--quick", action="store_true", help="short rounds: for a first look")
    parser.add_argument("--only", choices=PARTS, help="one part; the rest of the report stays")
    given = parser.parse_args()
    bench = Bench(given.programs.resolve(), given.quick)
    for part in [given.only] if given.only else PARTS:
        PARTS[part](bench)
    report(bench, in_full=not given.only)


if __name__ == "__main__":
    main()
