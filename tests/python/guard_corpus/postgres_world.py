"""The corpus in PostgreSQL: the shared database, and for each principal the isolated one."""

import os
import subprocess
from pathlib import Path
from typing import Any

from throwaway_postgres import Postgres, programs

from guard_corpus.databases import Database
from guard_corpus.records import GIVEN, POLICY, PRINCIPALS, read_state_views

OWNER = "app_owner"
OWNER_PASSWORD = "owner-of-the-corpus"

SETTINGS = ["timezone=UTC", "autovacuum=off", "max_locks_per_transaction=256"]


class PostgresWorld:
    """A throw-away server with all databases of the corpus. Use it in a `with` block."""

    def __init__(self) -> None:
        self.server = Postgres(SETTINGS)
        try:
            self._create_databases()
        except BaseException:
            self.server.close()
            raise

    def __enter__(self) -> "PostgresWorld":
        return self

    def __exit__(self, *_: object) -> None:
        for database in (self.shared, *self.isolated.values()):
            database.close()
        self.server.close()

    def dsn(self, database: str) -> str:
        """For libpq, as the owner of the tables."""
        return (
            f"host=127.0.0.1 port={self.server.port} user={OWNER} password={OWNER_PASSWORD}"
            f" dbname={database} client_encoding=UTF8 options='-c timezone=UTC'"
        )

    def isolated_name(self, principal: str) -> str:
        return f"iso_{principal}"

    def key(self, principal: str, *, guarded: bool) -> str:
        """The key that Ringfence gives a principal's connection."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.server.port}/{self._database(principal, guarded)}"

    def description(self, principal: str, *, guarded: bool) -> dict[str, Any]:
        """A principal's connection: all share the guarded one, and each has an open one of their own."""
        return {
            "db_type": "postgresql",
            "host": "127.0.0.1",
            "port": self.server.port,
            "username": OWNER,
            "password": OWNER_PASSWORD,
            "database": self._database(principal, guarded),
        }

    def settings(self) -> dict[str, str]:
        """What Ringfence has to be told."""
        return {}

    def policy(self) -> bytes:
        """The policy of the guarded connection."""
        return POLICY.read_bytes()

    def _database(self, principal: str, guarded: bool) -> str:
        return "shared" if guarded else self.isolated_name(principal)

    def _create_databases(self) -> None:
        self.server.create_database("shared", OWNER, OWNER_PASSWORD)
        self._psql("shared", GIVEN / "fixture.pg.sql")
        for principal in PRINCIPALS:
            name = self.isolated_name(principal)
            self.server.execute(f"CREATE DATABASE {name} TEMPLATE shared OWNER {OWNER}")
            self._psql(name, GIVEN / "derive_isolated.pg.sql", f"principal={principal}")
        # An owner of tables may not install it, and the attacks by it have to be possible.
        self.server.execute("CREATE EXTENSION IF NOT EXISTS dblink", database="shared")
        self.shared = Database(self.server, "shared")
        self.isolated = {
            principal: Database(self.server, self.isolated_name(principal)) for principal in PRINCIPALS
        }
        for database in (self.shared, *self.isolated.values()):
            database.keep()

    def _psql(self, database: str, script: Path, *variables: str) -> None:
        command = [str(psql()), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        for variable in variables:
            command += ["-v", variable]
        done = subprocess.run(
            [*command, "-f", str(script), self.dsn(database)],
            capture_output=True,
            text=True,
            env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
        )
        assert done.returncode == 0, f"{script} on {database}: {done.stderr}"


def psql() -> Path:
    """The client that belongs to the server's programs, else the first on the path."""
    beside = programs() / "psql"
    return beside if beside.exists() else Path("psql")


def create_secured_views(world: PostgresWorld, principal: str) -> str:
    """A database in which ordinary views stand for the guard, which has to beat them. Gives its name."""
    name = f"views_{principal}"
    world.server.execute(f"CREATE DATABASE {name} TEMPLATE {world.shared.template} OWNER {OWNER}")
    with world.server.connect(name) as connection:
        connection.execute(f"SET ROLE {OWNER}".encode())
        connection.execute(b"ALTER SCHEMA public RENAME TO base")
        connection.execute(b"CREATE SCHEMA public")
        for enumeration in ("order_status", "doc_state"):
            connection.execute(f"ALTER TYPE base.{enumeration} SET SCHEMA public".encode())
        connection.execute(b"SET search_path = base")
        for table, query in read_state_views()[principal]["views"].items():
            connection.execute(f"CREATE VIEW public.{table} AS {query}".encode())
    return name
