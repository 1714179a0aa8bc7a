"""The corpus in SQLite: the shared file, and for each principal the isolated one that is its oracle."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from guard_corpus.compare import Outcome
from guard_corpus.records import GIVEN, POLICY, PRINCIPALS
from guard_corpus.targets import SECONDS, Run


class SqliteWorld:
    """A directory with the files. Use it in a `with` block."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ringfence-corpus-"))
        self.shared = self.directory / "shared.db"
        with sqlite3.connect(self.shared) as connection:
            connection.executescript((GIVEN / "fixture.sqlite.sql").read_text())
        connection.close()
        derive = GIVEN / "derive_isolated_sqlite.py"
        for principal in PRINCIPALS:
            files = [str(self.shared), str(self.isolated(principal)), principal]
            subprocess.run([sys.executable, str(derive), *files], check=True)

    def __enter__(self) -> "SqliteWorld":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def isolated(self, principal: str) -> Path:
        return self.directory / f"iso_{principal}.db"

    @contextmanager
    def session(self, principal: str, *, isolated: bool) -> Iterator[Run]:
        """SQLite without a guard."""
        connection = sqlite3.connect(self._file(principal, not isolated), isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        try:
            yield partial(run, connection)
        finally:
            connection.close()

    def key(self, principal: str, *, guarded: bool) -> str:
        """The key that Ringfence gives a principal's connection."""
        return f"sqlite:///{self._file(principal, guarded)}"

    def description(self, principal: str, *, guarded: bool) -> dict[str, Any]:
        """A principal's connection: all share the guarded one, and each has an open one of their own."""
        return {"db_type": "sqlite", "database": str(self._file(principal, guarded))}

    def settings(self) -> dict[str, str]:
        """What Ringfence has to be told."""
        return {"RINGFENCE_SQLITE__DIRECTORIES": str(self.directory)}

    def policy(self) -> bytes:
        """The policy of the guarded connection: SQLite has one schema, and it is called main."""
        text = POLICY.read_text().replace("public.", "main.").replace("[public]", "[main]")
        return text.encode()

    def _file(self, principal: str, guarded: bool) -> Path:
        return self.shared if guarded else self.isolated(principal)


def run(connection: sqlite3.Connection, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
    """One statement, as text in UTF-8."""
    started = time.monotonic()
    connection.set_progress_handler(lambda: time.monotonic() - started > SECONDS - 5, 100_000)
    outcome = Outcome(accepted=True)
    try:
        cursor = connection.execute(sql.decode(), params or [])
        outcome.columns = [column[0] for column in cursor.description or []]
        outcome.rows = [[as_json(value) for value in row] for row in cursor]
        outcome.affected = cursor.rowcount if cursor.rowcount >= 0 else None
    except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError, ValueError, OverflowError) as error:
        outcome = Outcome(accepted=False, message=str(error))
    # Types belong to values: a column that holds a float is compared as floats.
    outcome.types = [
        "real" if any(isinstance(row[index], float) for row in outcome.rows) else ""
        for index in range(len(outcome.columns))
    ]
    outcome.seconds = time.monotonic() - started
    outcome.received = "\n".join([*outcome.columns, repr(outcome.rows), outcome.message])
    return outcome


def as_json(value: Any) -> Any:
    return "\\x" + value.hex() if isinstance(value, bytes) else value
