"""The guard by itself: statements in, guarded text and parameters out."""

import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import GIVEN
from guard_corpus.session import Session

CATALOG = """
SELECT json_agg(json_build_object('name', s.nspname, 'relations', (
  SELECT coalesce(json_agg(json_build_object(
    'name', c.relname,
    'kind', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned_table' WHEN 'v' THEN 'view'
                           WHEN 'm' THEN 'materialized_view' ELSE 'foreign_table' END,
    'columns', (
      SELECT json_agg(json_build_object('name', a.attname, 'data_type', format_type(a.atttypid, a.atttypmod),
                                        'nullable', NOT a.attnotnull) ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'constraints', (
      SELECT coalesce(json_agg(CASE k.contype
        WHEN 'p' THEN json_build_object('kind', 'primary', 'columns', ({own}))
        WHEN 'u' THEN json_build_object('kind', 'unique', 'columns', ({own}))
        ELSE json_build_object('kind', 'foreign', 'columns', ({own}),
          'target_schema', tn.nspname, 'target_relation', tc.relname,
          'target_columns', ({theirs})) END), '[]')
      FROM pg_constraint k LEFT JOIN pg_class tc ON tc.oid = k.confrelid
      LEFT JOIN pg_namespace tn ON tn.oid = tc.relnamespace
      WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f'))) ORDER BY c.relname), '[]')
  FROM pg_class c WHERE c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))))
FROM pg_namespace s WHERE s.nspname IN ('public', 'legacy', 'billing')
"""

KEYS = (
    "SELECT json_agg(a.attname ORDER BY u.p) FROM unnest(k.{}) WITH ORDINALITY u(n, p)"
    " JOIN pg_attribute a ON a.attrelid = k.{} AND a.attnum = u.n"
)

# Faults to put into the guarded text, so that one can see that the oracle finds them.
FAULTS = {
    "barrier": (r" OFFSET 0\)", ")"),
    "rows": (r' WHERE \("_rf_r"\."tenant_id" = \$\d+\)', ""),
    "masks": (r'CAST\(\(\'\*\*\*-\*\*-\'.*?AS text\) AS "ssn"', '"_rf_r"."ssn" AS "ssn"'),
    "writes": (r'"_rf_t"\."tenant_id" = \$\d+', "true"),
    "exists": (r"EXISTS \(SELECT 1 FROM \"public\"\.\"orders\" AS \"inherited\" WHERE .*?\)\)\)\)", "TRUE"),
}


@dataclass(frozen=True)
class Guarded:
    """What the guard makes of a statement."""

    sql: str = ""
    params: list[str | None] = field(default_factory=list)
    writes: bool = False
    has_check: bool = False
    returns: bool = True
    max_rows: int | None = None
    # The column that is NULL when a key is taken (MySQL).
    null_when_taken: str | None = None
    # What the guard printed, where a fault was put into it.
    unspoilt: str | None = None
    # Why it does not run, else nothing.
    refused: str | None = None
    crashed: bool = False


class GuardProcess:
    """The example binary of the guard's crate."""

    def __init__(
        self,
        catalog: dict[str, Any],
        policy: bytes,
        *,
        kind: str = "postgresql",
        fault: tuple[str, str] | None = None,
        binary: str | None = None,
    ) -> None:
        self.fault = fault
        self.binary = binary or newest_binary()
        self._directory = tempfile.TemporaryDirectory(prefix="guard-oracle-")
        self._catalog = Path(self._directory.name) / "catalog.json"
        self._catalog.write_text(json.dumps(catalog))
        self._policy = Path(self._directory.name) / "policy.yaml"
        self._policy.write_bytes(policy)
        self._kind = kind
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        arguments = [self._kind, str(self._catalog), str(self._policy), str(GIVEN / "principals.json")]
        return subprocess.Popen(
            [self.binary, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
        self._directory.cleanup()

    def guard(self, principal: str, sql: str, params: Sequence[str | None]) -> Guarded:
        return self.guard_all([(principal, sql, params)])[0]

    def guard_all(self, asked: Sequence[tuple[str, str, Sequence[str | None]]]) -> list[Guarded]:
        """Guards many at once. After a crash the rest goes to a new process."""
        answers: list[Guarded] = []
        while len(answers) < len(asked):
            rest = asked[len(answers) :]
            answers += self._guard_until_crash(rest)
            if len(answers) < len(asked):
                answers.append(Guarded(refused="the guard crashed", crashed=True))
                self._process.wait(10)
                self._process = self._start()
        return answers

    def _guard_until_crash(self, asked: Sequence[tuple[str, str, Sequence[str | None]]]) -> list[Guarded]:
        process = self._process
        assert process.stdin
        assert process.stdout
        lines = [
            json.dumps({"principal": p, "sql": sql, "params": [*params]}) + "\n" for p, sql, params in asked
        ]
        writer = threading.Thread(target=write, args=(process.stdin, "".join(lines)))
        writer.start()
        answers: list[Guarded] = []
        for _ in asked:
            line = process.stdout.readline()
            if not line:
                break
            answers.append(self._spoilt(read(json.loads(line))))
        writer.join()
        return answers

    def _spoilt(self, guarded: Guarded) -> Guarded:
        if self.fault is None or guarded.refused is not None:
            return guarded
        spoilt = re.sub(*self.fault, guarded.sql)
        # What lost a parameter no longer runs, which would hide the fault.
        if spoilt.count("?") != guarded.sql.count("?") and self._kind != "postgresql":
            return guarded
        for number in range(1, len(guarded.params) + 1):
            if f"${number}" in guarded.sql and not re.search(rf"\${number}\b", spoilt):
                return guarded
        return guarded if spoilt == guarded.sql else replace(guarded, sql=spoilt, unspoilt=guarded.sql)


def postgres_guard(
    world: PostgresWorld, fault: str | None = None, *, binary: str | None = None
) -> GuardProcess:
    """A guard that knows the shared database of PostgreSQL."""
    with Session(world.shared.server_dsn()) as session:
        # Types of the tenant's own then come with their schema.
        own, theirs = KEYS.format("conkey", "conrelid"), KEYS.format("confkey", "confrelid")
        query = CATALOG.replace("{own}", own).replace("{theirs}", theirs)
        session.texts("SET search_path = pg_catalog")
        schemas = json.loads(str(session.texts(query)[0][0]))
    spoilt = FAULTS[fault] if fault else None
    catalog = {"database": "shared", "schemas": schemas}
    return GuardProcess(catalog, world.policy(), fault=spoilt, binary=binary)


def write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        return


def read(answer: dict[str, Any]) -> Guarded:
    if "refused" in answer:
        return Guarded(refused=str(answer["refused"]))
    return Guarded(
        sql=answer["sql"],
        params=answer["params"],
        writes=bool(answer["writes"]),
        has_check=bool(answer["check"]),
        returns=bool(answer["returns"]),
        max_rows=answer["max_rows"],
        null_when_taken=answer["null_when_taken"],
    )


def newest_binary() -> str:
    """What GUARDED names; else the guard's example as it was built last."""
    if named := os.environ.get("GUARDED"):
        return named
    target = Path(__file__).parents[3] / "target" / "debug" / "examples" / "guarded"
    assert target.exists(), "build the guard's example first, or name it in GUARDED"
    return str(target)
