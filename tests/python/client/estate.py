"""Databases for the documents: PostgreSQL, SQLite or a lake, with tables in them; and roles' restrictions."""

import csv
import json
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import requests
import ringfence
from gateway import Gateway, binary
from ringfence.securitycalls import Restriction, entries
from throwaway_postgres import SUPERUSER_PASSWORD, Postgres

DATA = Path(__file__).parents[3].parent / "shared" / "data"
DATABASE = "documents"


def has_lake() -> bool:
    """A server without it has no settings for it."""
    schema = subprocess.run(
        [binary(), "config", "schema"], check=True, capture_output=True, timeout=60
    ).stdout
    return "lake" in json.loads(schema)["properties"]


class Database:
    """One database of a kind, to be filled and connected to. Use it in a `with` block."""

    def __init__(self, kind: str, postgres: Postgres) -> None:
        self.kind, self.postgres = kind, postgres
        self.directory = Path(tempfile.mkdtemp(prefix="ringfence-documents-"))

    def __enter__(self) -> "Database":
        if self.kind == "postgresql":
            self.postgres.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            self.postgres.execute(f"CREATE DATABASE {DATABASE}")
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def settings(self) -> dict[str, str]:
        """What the server has to know of it."""
        if self.kind == "sqlite":
            return {"RINGFENCE_SQLITE__DIRECTORIES": str(self.directory)}
        if self.kind == "lake":
            (self.directory / "trade").mkdir(exist_ok=True)
            return {"RINGFENCE_LAKE__DIRECTORIES": str(self.directory)}
        return {}

    @property
    def password(self) -> str | None:
        return SUPERUSER_PASSWORD if self.kind == "postgresql" else None

    @property
    def description(self) -> dict[str, Any]:
        if self.kind == "sqlite":
            return {"db_type": "sqlite", "database": str(self.directory / "documents.db")}
        if self.kind == "lake":
            return {"db_type": "lake", "path": "trade"}
        return {
            "db_type": "postgresql",
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "username": "postgres",
            "password": SUPERUSER_PASSWORD,
            "database": DATABASE,
        }

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A table; a column is its name in quotes and its type."""
        statement = f'CREATE TABLE "{table}" ({", ".join(columns)})'
        kept = [list(row) for row in rows]
        if self.kind == "sqlite":
            connection = sqlite3.connect(self.directory / "documents.db")
            connection.execute(statement)
            marks = ", ".join("?" * len(kept[0]))
            connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', kept)
            connection.commit()
            connection.close()
            return
        with self.postgres.connect(DATABASE) as server:
            server.execute(statement.encode())
            marks = ", ".join(["%s"] * len(kept[0]))
            with server.cursor() as cursor:
                cursor.executemany(f'INSERT INTO "{table}" VALUES ({marks})'.encode(), kept)

    def fill_from(self, table: str, file: Path, key: str, **types: str) -> None:
        """A table of a CSV file."""
        with file.open(newline="") as opened:
            names, *rows = list(csv.reader(opened))
        kinds = [types.get(name.replace(" ", "_"), "VARCHAR(60)") for name in names]
        marks = [" PRIMARY KEY" if name == key else "" for name in names]
        columns = [f'"{name}" {kind}{mark}' for name, kind, mark in zip(names, kinds, marks, strict=True)]
        self.fill(table, columns, rows)


class Restricting:
    """Restrictions of roles: at run time, or by a policy where the server has no more yet."""

    def __init__(self, gateway: Gateway, key: str, session: ringfence.Session) -> None:
        self._gateway, self._key, self._session = gateway, key, session
        paths = requests.get(f"{gateway.url}/openapi.json", timeout=30).json()["paths"]
        self._at_run_time = any(path.startswith("/v1/security/restrictions") for path in paths)
        self._kept: dict[str, list[dict[str, Any]]] = {}
        self._put()

    def create_role(self, name: str, restrictions: Restriction) -> ringfence.Role:
        if self._at_run_time:
            return self._session.security.create_role(name, restrictions=restrictions)
        self._kept[name] = entries(restrictions)
        self._put()
        return ringfence.Role(name, self._kept[name])

    def update(self, restrictions: dict[str, Restriction]) -> None:
        """As document 002 does it."""
        if self._at_run_time:
            self._session.security.restrictions.update(restrictions)  # type: ignore[arg-type]
            return
        for name, restriction in restrictions.items():
            self.create_role(name, restriction)

    def _put(self) -> None:
        document: dict[str, Any] = {"default": "allow"}
        if self._kept:
            document["restrictions"] = self._kept
        self._gateway.put_policy(self._session.connection, json.dumps(document).encode(), self._key)
