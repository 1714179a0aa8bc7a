"""Goal O1: the models API over HTTP, beside document 001's Python library that calls SQLite in process.

Both work on the same file, in turn. The library (`ormai`) is installed from PyPI into an environment of its
own, at the versions of requirements-ormai.txt.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from guard_http.places import GOVERNOR, Person, Places
from modelling import FIELDS, USER  # type: ignore[import-not-found, unused-ignore]

TENANTS = 100
KEYS = 1_000
NUMBER = 7
TENANT = f"tenant-{NUMBER}"
ONE, SEVERAL = 1, 8

TABLES = f"""
PRAGMA journal_mode = WAL;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, tenant_id VARCHAR(40) NOT NULL, user_id INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL, total NUMERIC(12, 2) NOT NULL, created_at TIMESTAMP NOT NULL, note TEXT
);
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {TENANTS * KEYS})
INSERT INTO orders
SELECT n, 'tenant-' || (n % {TENANTS}), n / {TENANTS},
    CASE n % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'paid' ELSE 'sent' END,
    n % 997, datetime('2025-01-01', n || ' seconds'), 'note'
FROM numbers;
CREATE INDEX by_id ON orders (tenant_id, id);
CREATE INDEX by_time ON orders (tenant_id, created_at);
ANALYZE;
"""

POLICY = """
models:
  Order:
    table: main.orders
    scoping: { tenant_id: principal.tenant_id }
    write_policy: { create: allow, auto_set: { tenant_id: principal.tenant_id } }
"""

OPEN_ONES = [{"field": "status", "op": "eq", "value": "open"}]
# What ormai_calls.py asks the library for.
REQUESTS: dict[str, dict[str, Any]] = {
    "query": {"select": FIELDS, "where": OPEN_ONES, "order_by": ["-created_at", "-id"], "take": 20},
    "get": {"id": f"{{n}}{NUMBER:02}", "select": FIELDS},
    "aggregate": {"aggregates": [{"op": "sum", "field": "total", "as": "value"}], "where": OPEN_ONES},
    "create": {
        "data": {
            "user_id": 1,
            "status": "open",
            "total": 12.5,
            "note": "new",
            "created_at": "2026-01-01T00:00:00",
        },
        "return_fields": ["id"],
    },
}


class Library:
    """The library in a process of its own. Use it in a `with` block."""

    def __init__(self, target: Path, file: Path) -> None:
        here = Path(__file__).parent
        python = environment(target, here / "requirements-ormai.txt")
        command = [str(python), str(here / "ormai_calls.py"), str(file), TENANT, str(KEYS), str(TENANTS)]
        self.process = subprocess.Popen(
            [*command, str(NUMBER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def ask(self, **wanted: Any) -> Any:
        """One line to it, and one of it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the library ended: {self.process.wait(10)}")
        return json.loads(answer)


def environment(target: Path, requirements: Path) -> Path:
    """The Python of an environment with the library in it, made when it is not there or is another one."""
    directory = target / "python" / "ormai"
    python, stamp = directory / "bin" / "python", directory / "requirements.installed"
    wanted = requirements.read_text()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making a Python environment in {directory}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", str(requirements)], check=True)
    stamp.write_text(wanted)
    return python


def make_orders(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(TABLES)
    connection.close()


def see_that_answers_are_the_same(places: Places, path: str, library: Library) -> None:
    """The same rows, whatever their form."""
    headers = {"Authorization": f"Bearer {places.keys[USER]}"}

    def ours(operation: str, body: Any) -> Any:
        answer = places.http.post(f"{places.gateway.url}{path}{operation}", json=body, headers=headers)
        if not answer.ok:
            raise RuntimeError(f"{operation}: {answer.status_code} {answer.text}")
        return answer.json()

    expected = [row["id"] for row in ours("query", REQUESTS["query"])["rows"]]
    found = library.ask(once="query")
    if [row["id"] for row in found["data"]] != expected or len(expected) != 20:
        raise RuntimeError(f"query: the gateway answers {expected}, the library {found}")
    total = ours("aggregate", REQUESTS["aggregate"])["rows"][0]["value"]
    found = library.ask(once="aggregate")
    if float(found["value"]) != float(total):
        raise RuntimeError(f"aggregate: the gateway answers {total}, the library {found}")


def throughput(bench: Any, places: Places, path: str, library: Library) -> None:
    """Each request: the library, and the gateway with one client and with several, in turn."""
    bench.write("", "## Models beside a library in process", "")
    bench.write(
        "O1: calls a second of `ormai` 0.2.1 on SQLAlchemy, in one Python process on a SQLite file, and of the models API over "  # noqa: E501
        "HTTP on the same file. The library's rows are Python objects: they are not written as JSON, and it keeps "  # noqa: E501
        "no record of its calls.",
        "",
        "| request | the library | over HTTP, 1 client | times the library | 8 clients | times the library "
        "| lowest and highest round | gate / goal |",
        "|---|---|---|---|---|---|---|---|",
    )
    for operation, body in REQUESTS.items():
        port, key = places.gateway.port, places.keys[USER]
        ours = partial(bench.load, port, path + operation, body, key=key, range=KEYS - 1)
        measures = {
            "library": lambda _, operation=operation: library.ask(kind=operation, seconds=bench.seconds),
            "one": lambda _, ours=ours: ours(ONE),
            "several": lambda _, ours=ours: ours(SEVERAL),
        }
        turns = bench.interleave(measures, 0).items()
        seen = {name: [figures["per_second"] for figures in rounds] for name, rounds in turns}
        median = {name: statistics.median(rounds) for name, rounds in seen.items()}
        times = {
            name: [ours / theirs for ours, theirs in zip(seen[name], seen["library"], strict=True)]
            for name in ("one", "several")
        }
        bench.write(
            f"| {operation} | {median['library']:,.0f} | {median['one']:,.0f} | {statistics.median(times['one']):.1f} "  # noqa: E501
            f"| {median['several']:,.0f} | {statistics.median(times['several']):.1f} "
            f"| {min(times['several']):.1f} to {max(times['several']):.1f} | 3 / 8 |"
        )


def measure(bench: Any) -> None:
    """Writes the section of the report."""
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as directory:
        file = Path(directory) / "orders.db"
        make_orders(file)
        settings = {**bench.wide, "RINGFENCE_SQLITE__DIRECTORIES": directory}
        with Places(settings) as places, Library(bench.target, file) as library:
            places.add(Person(USER, TENANT))
            for person in (USER, GOVERNOR):
                connection = places.connect(person, {"db_type": "sqlite", "database": str(file)})
            places.put_policy(connection, POLICY.encode())
            path = f"/v1/models/{quote(connection, safe='')}/Order/"
            see_that_answers_are_the_same(places, path, library)
            throughput(bench, places, path, library)
