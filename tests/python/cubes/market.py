"""Tables on PostgreSQL, SQLite, MariaDB and lakes, with cubes over them, behind a Ringfence."""

import datetime
import io
import json
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet
import requests
from guard_http.places import GOVERNOR, Person, Places
from throwaway_mariadb import Mariadb
from throwaway_postgres import SUPERUSER_PASSWORD, Postgres

DATABASE = "market"
PASSWORD = "market password"

SCHEMAS = {"postgresql": "public", "sqlite": "main", "mysql": DATABASE, "lake": "public"}

# How columns of a lake are declared, and what makes their cells.
TYPES: dict[str, tuple[pa.DataType, Callable[[Any], Any]]] = {
    "VARCHAR": (pa.string(), str),
    "TEXT": (pa.string(), str),
    "DATE": (pa.date32(), datetime.date.fromisoformat),
    "INTEGER": (pa.int32(), int),
    "NUMERIC": (pa.decimal128(14, 4), Decimal),
    "DOUBLE": (pa.float64(), float),
}

COLUMN = re.compile(r'(?:"([^"]+)"|(\w+)) (\w+)')


class Market:
    """One database with people's connections to it."""

    def __init__(self, places: Places, kind: str, server: Postgres | Mariadb | None, file: Path) -> None:
        self.places, self.kind, self.server, self.file = places, kind, server, file
        self.lake = file.parent / "lake"
        self.schema = SCHEMAS[kind]
        self.connection = ""
        if isinstance(server, Postgres):
            server.execute(
                f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)",
                f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
            )
        elif isinstance(server, Mariadb):
            server.create_database(DATABASE, "owner", PASSWORD)

    def name(self, text: str) -> str:
        """A name in SQL of this kind of database."""
        return f"`{text}`" if self.kind == "mysql" else f'"{text}"'

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A table with rows. A column is `name type`, and a name with spaces stands in double quotes."""
        if self.kind == "mysql":
            columns = [column.replace('"', "`") for column in columns]
        rows = [list(row) for row in rows]
        create = f"CREATE TABLE {self.name(name)} ({', '.join(columns)})"
        mark = "?" if self.server is None else "%s"
        width = len(rows[0]) if rows else 0
        if self.kind == "lake":
            self.load(name, columns, [list(row) for row in rows])
            return
        insert = f"INSERT INTO {self.name(name)} VALUES ({', '.join([mark] * width)})"
        if self.server is None:
            with sqlite3.connect(self.file) as connection:
                connection.execute(create)
                if rows:
                    connection.executemany(insert, rows)
            connection.close()
        elif isinstance(self.server, Postgres):
            with self.server.connect(DATABASE) as postgres, postgres.cursor() as cursor:
                cursor.execute(create.encode())
                if rows:
                    cursor.executemany(insert.encode(), rows)
        else:
            with self.server.connect(DATABASE) as mariadb, mariadb.cursor() as cursor:
                cursor.execute(create)
                if rows:
                    cursor.executemany(insert, rows)

    def load(self, name: str, columns: Sequence[str], rows: list[list[Any]]) -> None:
        """The same into a lake."""
        self.lake.mkdir(exist_ok=True)
        self.connection = self.connection or self.places.connect(GOVERNOR, self.description())
        keys, arrays = [], {}
        for at, column in enumerate(columns):
            if column.startswith("PRIMARY KEY"):
                keys = re.findall(r'"([^"]+)"', column)
                continue
            found = COLUMN.match(column)
            assert found, column
            title = found[1] or found[2]
            if column.endswith(" PRIMARY KEY"):
                keys = [title]
            column_type, make = TYPES[found[3].upper()]
            cells = [None if row[at] is None else make(row[at]) for row in rows]
            arrays[title] = pa.array(cells, column_type)
        file = io.BytesIO()
        pyarrow.parquet.write_table(pa.table(arrays), file)
        path = f"/v1/connections/{quote(self.connection, safe='')}/tables/{quote(name, safe='')}"
        answer = self.http(
            "PUT",
            path,
            GOVERNOR,
            data=file.getvalue(),
            params={"keys": json.dumps(keys)},
            headers={"Content-Type": "application/vnd.apache.parquet"},
        )
        assert answer.ok, answer.text

    def description(self) -> dict[str, Any]:
        if self.kind == "lake":
            return {"db_type": "lake", "path": self.lake.name}
        if self.server is None:
            return {"db_type": "sqlite", "database": str(self.file)}
        is_postgres = isinstance(self.server, Postgres)
        return {
            "db_type": self.kind,
            "host": "127.0.0.1",
            "port": self.server.port,
            "username": "postgres" if is_postgres else "owner",
            "password": SUPERUSER_PASSWORD if is_postgres else PASSWORD,
            "database": DATABASE,
        }

    def connect(self, *people: str) -> None:
        """Connections for people and the governor, once the tables are there."""
        # Tables of a lake come in through the governor's.
        for person in people if self.kind == "lake" else (*people, GOVERNOR):
            self.connection = self.places.connect(person, self.description())

    def refresh(self) -> None:
        """What the database became, indexed again."""
        path = f"/v1/connections/{quote(self.connection, safe='')}/refresh"
        answer = self.http("POST", path, GOVERNOR)
        assert answer.ok, answer.text
        self.places.gateway.wait_for_catalog(self.connection, self.places.keys[GOVERNOR])

    def policy(self, text: str) -> None:
        """The policy from now on."""
        self.places.put_policy(self.connection, text.encode())

    def put(self, name: str, document: Any, person: str = GOVERNOR) -> requests.Response:
        """A definition of a cube: a text is YAML, anything else is JSON."""
        is_text = isinstance(document, str)
        return self.http(
            "PUT",
            self.path(name),
            person,
            data=document.encode() if is_text else None,
            json=None if is_text else document,
            headers={"Content-Type": "application/yaml" if is_text else "application/json"},
        )

    def define(self, name: str, document: Any) -> None:
        """The same, which must be taken."""
        answer = self.put(name, document)
        assert answer.ok, answer.text

    def path(self, *parts: str) -> str:
        """Of a cube, or of something of it."""
        return "/".join(["/v1/cubes", *(quote(part, safe="") for part in (self.connection, *parts))])

    def http(self, method: str, path: str, person: str | None, **more: Any) -> requests.Response:
        headers = dict(more.pop("headers", {}))
        if person is not None:
            headers["Authorization"] = f"Bearer {self.places.keys[person]}"
        url = f"{self.places.gateway.url}{path}"
        return self.places.http.request(method, url, headers=headers, timeout=60, **more)

    def ask(self, person: str, cube: str, query: Any, **headers: str) -> requests.Response:
        return self.http("POST", self.path(cube, "query"), person, json=query, headers=headers)

    def query(self, person: str, cube: str, *measures: str, **more: Any) -> Any:
        """A query that is answered."""
        answer = self.ask(person, cube, {"measures": list(measures), **more})
        assert answer.ok, f"{more}: {answer.status_code} {answer.text}"
        return answer.json()

    def rows(self, person: str, cube: str, *measures: str, **more: Any) -> list[list[Any]]:
        """Its rows."""
        rows: list[list[Any]] = self.query(person, cube, *measures, **more)["rows"]
        return rows

    def code(self, answer: requests.Response) -> str:
        assert not answer.ok, f"it was done: {answer.text}"
        return str(answer.json()["code"])

    def sql(self, person: str, statement: str) -> list[list[Any]]:
        """Rows of a statement."""
        answer = self.places.ask(person, self.connection, statement)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        rows: list[list[Any]] = answer.json()["rows"]
        return rows

    def roles(self, person: str, *roles: str) -> None:
        """The data roles that the person has from now on."""
        path = f"/v1/security/individual-roles/{person}"
        answer = self.http("PUT", path, GOVERNOR, json={"roles": list(roles)})
        assert answer.ok, answer.text


@contextmanager
def markets(
    kind: str, server: Postgres | Mariadb | None, *people: Person, **settings: str
) -> Iterator[Market]:
    """A market of its own on the kind of database. `settings` are the server's, as in its environment."""
    setting = f"RINGFENCE_{'LAKE' if kind == 'lake' else 'SQLITE'}__DIRECTORIES"
    with (
        tempfile.TemporaryDirectory(prefix="ringfence-market-") as directory,
        Places({setting: directory, **settings}) as places,
    ):
        places.add(*people)
        try:
            yield Market(places, kind, server, Path(directory) / "market.db")
        finally:
            places.gateway.stop()
            if isinstance(server, Postgres):
                server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
