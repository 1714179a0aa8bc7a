"""A PostgreSQL of our own, with password authentication."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psycopg
from throwaway_server import ThrowawayServer

SUPERUSER_PASSWORD = "superuser-of-the-tests"

SETTINGS = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
]


def programs() -> Path:
    """The directory with initdb and postgres."""
    named = os.environ.get("POSTGRES_PROGRAMS")
    if named:
        return Path(named)
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if packaged:
        return packaged[-1].parent
    found = shutil.which("initdb")
    assert found, "PostgreSQL is not installed: cargo xtask setup"
    return Path(found).parent


class Postgres(ThrowawayServer):
    """A running server. Use it in a `with` block."""

    product = "PostgreSQL"
    short_name = "pg"
    own_account = "postgres"
    ended_by = signal.SIGINT

    def __init__(self, settings: list[str] | None = None) -> None:
        super().__init__([*SETTINGS, *(settings or [])])

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements as superuser, each in a transaction of its own."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a statement answers to the superuser."""
        with self.connect(database) as connection:
            return connection.execute(statement.encode()).fetchall()

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection as superuser."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=SUPERUSER_PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def create_database(self, name: str, owner: str, password: str) -> None:
        """A user, and a database of theirs. What an earlier suite left goes first."""
        self.execute(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"DROP USER IF EXISTS {owner}",
            f"CREATE USER {owner} WITH PASSWORD '{password}'",
            f"CREATE DATABASE {name} OWNER {owner}",
            f"GRANT ALL PRIVILEGES ON DATABASE {name} TO {owner}",
        )

    def _initialization(self) -> list[str]:
        password_file = self.directory / "password"
        password_file.write_text(SUPERUSER_PASSWORD)
        self._give_away(password_file)
        arguments = ["--auth=scram-sha-256", "--username=postgres", f"--pwfile={password_file}"]
        arguments += ["--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata", str(self.directory / "data")]
        return [str(programs() / "initdb"), *arguments]

    def _command(self, settings: list[str]) -> list[str]:
        command = [str(programs() / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        command += ["-k", str(self.directory)]
        for setting in settings:
            command += ["-c", setting]
        return command

    def _takes_connections(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
