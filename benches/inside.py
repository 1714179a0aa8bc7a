"""Goals P1 and P2: the guard's text in PostgreSQL, beside a predicate by hand and native row security.

A million orders of a thousand tenants. pgbench sends each statement prepared, one client, the variants in
turn.
"""

import json
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from throwaway_postgres import SUPERUSER_PASSWORD, Postgres, programs

ROWS = 1_000_000
TENANTS = 1_000
TENANT = 7
USER = 77  # the seventh user of tenant 7

TABLES = [
    "CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id int NOT NULL, user_id int NOT NULL, status text NOT NULL,"  # noqa: E501
    " total numeric(12, 2) NOT NULL, created_at timestamptz NOT NULL, note text)",
    "CREATE TABLE membership (user_id int NOT NULL, tenant_id int NOT NULL, PRIMARY KEY (user_id, tenant_id))",  # noqa: E501
    f"INSERT INTO orders SELECT n, n % {TENANTS}, n % {10 * TENANTS}, (ARRAY['open', 'paid', 'sent'])[1 + n % 3],"  # noqa: E501
    f" n % 997, timestamptz '2025-01-01' + n * interval '1 second', 'note' FROM generate_series(1, {ROWS}) AS n",  # noqa: E501
    f"INSERT INTO membership SELECT n, n / 10 FROM generate_series(0, {10 * TENANTS - 1}) AS n",
    "CREATE INDEX ON orders (tenant_id, id)",
    "CREATE INDEX ON orders (tenant_id, created_at)",
    "CREATE ROLE by_value LOGIN PASSWORD 'x'",
    "CREATE ROLE by_member LOGIN PASSWORD 'x'",
    "GRANT SELECT ON orders, membership TO by_value, by_member",
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY v ON orders TO by_value USING (tenant_id = current_setting('app.tenant')::int)",
    "CREATE POLICY m ON orders TO by_member USING (tenant_id IN (SELECT tenant_id FROM membership"
    " WHERE user_id = current_setting('app.user')::int))",
    "VACUUM ANALYZE orders, membership",
]

# What callers send: none names the tenant.
QUESTIONS = {
    "Q1: one order by its id": "SELECT id, status, total FROM orders WHERE id = 4711007",
    "Q2: the latest 20": "SELECT id, status, total, created_at FROM orders ORDER BY created_at DESC LIMIT 20",
    "Q3: count and sum by status": "SELECT status, count(*), sum(total) FROM orders GROUP BY status",
}
BY_HAND = {
    "Q1: one order by its id": "SELECT id, status, total FROM orders WHERE tenant_id = :tenant AND id = :n",
    "Q2: the latest 20": "SELECT id, status, total, created_at FROM orders WHERE tenant_id = :tenant"
    " ORDER BY created_at DESC LIMIT 20",
    "Q3: count and sum by status": "SELECT status, count(*), sum(total) FROM orders WHERE tenant_id = :tenant"
    " GROUP BY status",
}
POLICY = "models:\n  Order: { table: public.orders, scoping: { tenant_id: principal.attributes.tenants } }\n"
COLUMNS = {
    "id": "bigint",
    "tenant_id": "integer",
    "user_id": "integer",
    "status": "text",
    "total": "numeric",
    "created_at": "timestamp with time zone",
    "note": "text",
}


class Inside:
    """The tables, and how a statement is measured in them."""

    def __init__(self, floors: Path, postgres: Postgres, seconds: float, rounds: int) -> None:
        self.floors, self.postgres, self.seconds, self.rounds = floors, postgres, seconds, rounds
        self.directory = Path(tempfile.mkdtemp(prefix="ringfence-inside-"))
        postgres.create_database("inside", "inside", "inside")
        for statement in TABLES:
            with postgres.connect("inside") as connection:
                connection.autocommit = True
                connection.execute(statement.encode())

    def guarded(self, question: str, tenants: list[int]) -> str:
        """What the guard prints, as a script of pgbench."""
        columns = [{"name": name, "data_type": data_type} for name, data_type in COLUMNS.items()]
        relation = {"name": "orders", "kind": "table", "columns": columns}
        catalog = {"database": "inside", "schemas": [{"name": "public", "relations": [relation]}]}
        (self.directory / "catalog.json").write_text(json.dumps(catalog))
        (self.directory / "policy.yaml").write_text(POLICY)
        command = [str(self.floors), "guarded", "--catalog", str(self.directory / "catalog.json")]
        command += ["--policy", str(self.directory / "policy.yaml"), "--query", QUESTIONS[question]]
        command += ["--attributes", json.dumps({"tenants": tenants})]
        printed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return re.sub(r"\$(\d+)", r":p\1", printed["sql"]).replace("4711007", ":n")

    def values(self, tenants: list[int], text: str) -> dict[str, str]:
        """The values of the parameters in such a script: one for each tenant, or one array."""
        names = sorted(set(re.findall(r":(p\d+)", text)))
        if len(names) == len(tenants):
            return dict(zip(names, map(str, tenants), strict=True))
        return {names[0]: "{" + ",".join(map(str, tenants)) + "}"}

    def per_second(self, text: str, role: str, values: dict[str, str]) -> float:
        """Statements a second."""
        script = self.directory / "script.sql"
        script.write_text(f"\\set n random(0, {TENANTS - 1}) * {TENANTS} + {TENANT}\n{text};\n")
        command = [
            str(programs() / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-T",
            str(max(1, round(self.seconds))),
        ]
        command += ["-f", str(script), "-h", "127.0.0.1", "-p", str(self.postgres.port), "-U", role]
        for name, value in {"tenant": str(TENANT), **values}.items():
            command += ["-D", f"{name}={value}"]
        password = SUPERUSER_PASSWORD if role == "postgres" else "x"
        options = f"-c app.tenant={TENANT} -c app.user={USER}"
        environment = {**os.environ, "PGPASSWORD": password, "PGOPTIONS": options}
        ran = subprocess.run([*command, "inside"], capture_output=True, text=True, env=environment)
        found = re.search(r"tps = ([\d.]+)", ran.stdout)
        if not found:
            raise RuntimeError(f"{text}: {ran.stdout} {ran.stderr}")
        return float(found.group(1))

    def in_turn(self, variants: dict[str, tuple[str, str, dict[str, str]]]) -> dict[str, list[float]]:
        """Each variant once a round; the first round warms up."""
        seen: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(self.rounds + 1):
            for name, (text, role, values) in variants.items():
                per_second = self.per_second(text, role, values)
                if number:
                    seen[name].append(per_second)
        return seen


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def measure(bench: Any) -> None:
    """Writes both sections of the report."""
    with Postgres(["shared_buffers=512MB"]) as postgres:
        inside = Inside(bench.floors, postgres, bench.seconds, bench.rounds)
        lines = []
        for question, by_hand in BY_HAND.items():
            guarded = inside.guarded(question, [TENANT])
            bare = QUESTIONS[question].replace("4711007", ":n")
            few = inside.guarded(question, [TENANT, 8, 9])
            many = inside.guarded(question, list(range(TENANT, TENANT + 100)))
            wanted = {
                "guarded": (guarded, "postgres", inside.values([TENANT], guarded)),
                "by hand": (by_hand, "postgres", {}),
                "security by value": (bare, "by_value", {}),
                "security by membership": (bare, "by_member", {}),
                "three tenants": (few, "postgres", inside.values([TENANT, 8, 9], few)),
                "a hundred": (many, "postgres", inside.values(list(range(TENANT, TENANT + 100)), many)),
            }
            seen = inside.in_turn(wanted)
            ours = seen["guarded"]
            cells = [ratio(ours, seen[name]) for name in list(wanted)[1:4]]
            lines.append(
                f"| {question} | {cells[0]:.2f} | {cells[1]:.2f} | {cells[2]:,.1f} "
                f"| {ratio(seen['three tenants'], ours):.3f} | {ratio(seen['a hundred'], ours):.4f} "
                f"| {statistics.median(ours):,.0f} |"
            )
    bench.write(
        "",
        "## Inside of PostgreSQL",
        "",
        "P1 and P2: the guard's text over a million orders of a thousand tenants, prepared, one client. Times as fast as a "  # noqa: E501
        "predicate by hand (gate 0.97), native row-level security that compares with a value (not slower), and one that "  # noqa: E501
        "asks a membership table in a sub-query (gate 50 for Q2 and Q3). Then how a longer list of tenants compares with "  # noqa: E501
        "one of them: it reads more rows.",
        "",
        "| statement | of by hand | of security by value | of security by membership | 3 tenants | 100 tenants "  # noqa: E501
        "| a second |",
        "|---|---|---|---|---|---|---|",
        *lines,
    )
