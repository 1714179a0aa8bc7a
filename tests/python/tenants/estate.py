"""A database with a schema for each company, as document 004 has it, behind a Ringfence."""

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway import binary
from guard_http.places import GOVERNOR, Person, Places
from throwaway_postgres import Postgres

PASSWORD = "pw-of-the-estate"

POLICY = """
default: allow
tenancy: { schema: "{tenant_id}", shared: [public], template: blank }
"""

MIGRATIONS = {
    "001_tables.sql": """
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE TABLE company_data (id serial PRIMARY KEY, description text NOT NULL);
        CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, boss int REFERENCES people,
          data int REFERENCES company_data, feeling mood, raw bytea, rate double precision, seen timestamptz,
          tags text[], doc jsonb, doubled double precision GENERATED ALWAYS AS (rate * 2) STORED);
        ALTER TABLE company_data ADD COLUMN owner int REFERENCES people;
    """,
    "002_notes.sql": "CREATE TABLE notes (text text); CREATE INDEX notes_text ON notes (text);",
}

# Values that a careless copy would change.
ROWS = """
    INSERT INTO {0}.company_data (description) VALUES
      ('{0} data'), (''), ('a "b", c' || chr(10) || '\\N'), ('ä');
    INSERT INTO {0}.people (boss, data, feeling, raw, rate, seen, tags, doc) VALUES
      (NULL, 1, 'good', '\\x00ff5c', 0.1, '2024-02-29 23:59:59.123456+05', '{{a,NULL,"b,c"}}',
       '{{"a": [1, null]}}'),
      (1, 2, NULL, '', 'NaN', 'infinity', '{{}}', 'null'), (2, NULL, 'bad', NULL, 1e300, NULL, NULL, NULL);
    UPDATE {0}.company_data SET owner = 3 WHERE id = 1;
    INSERT INTO {0}.notes VALUES (NULL), (''), ('x'), ('x');
"""


class Estate:
    """The database, its Ringfence, and the command that an operator runs."""

    def __init__(self, postgres: Postgres, places: Places, database: str, folder: Path) -> None:
        self.postgres = postgres
        self.places = places
        self.database = database
        self.folder = folder
        self.connection = ""

    @property
    def migrations(self) -> Path:
        """The folder of SQL files."""
        return self.folder / "migrations"

    @property
    def said(self) -> Path:
        """What a command that was begun says."""
        return self.folder / "said"

    def write(self, files: dict[str, str]) -> None:
        """The migrations are these files, and no others."""
        self.migrations.mkdir(exist_ok=True)
        for old in self.migrations.glob("*"):
            old.unlink()
        for name, sql in files.items():
            (self.migrations / name).write_text(sql)

    def target(self) -> list[str]:
        """Which connection, and whose."""
        return ["--connection", self.connection, "--user", GOVERNOR]

    def command(self, verb: str, *arguments: str) -> list[str]:
        """`ringfence tenants`, with where everything is."""
        place = [*self.target(), "--data-dir", str(self.places.gateway.data_dir)]
        return [str(binary()), "tenants", verb, *arguments, *place]

    def run(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`ringfence tenants`, on the connection."""
        return subprocess.run(
            self.command(verb, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            env=self.places.gateway._environment(),
        )

    def done(self, verb: str, *arguments: str) -> str:
        """The same, which goes well; gives what it says."""
        ran = self.run(verb, *arguments)
        assert ran.returncode == 0, f"tenants {verb} {arguments}: {ran.stdout} {ran.stderr}"
        return ran.stdout + ran.stderr

    def plain(self, verb: str, tenant: str) -> "subprocess.CompletedProcess[str]":
        """A verb that is about the tenant alone."""
        return self.places.gateway.command("tenants", verb, tenant)

    def begin(self, verb: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Starts the command and does not wait for it."""
        with self.said.open("wb") as said:
            return subprocess.Popen(
                self.command(verb, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self.places.gateway._environment(),
            )

    def refresh(self) -> None:
        """Has the database indexed anew."""
        key = self.places.keys[GOVERNOR]
        path = f"connections/{quote(self.connection, safe='')}/refresh"
        self.places.gateway.call("POST", path, None, key=key)
        self.places.gateway.wait_for_catalog(self.connection, key)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is in the database."""
        return self.postgres.rows(sql, self.database)

    def execute(self, *sql: str) -> None:
        """Changes the database behind everybody's back."""
        self.postgres.execute(*sql, database=self.database)

    def fill(self, schema: str) -> None:
        """Rows of every kind."""
        for statement in ROWS.format(schema).split(";\n"):
            if statement.strip():
                self.execute(statement)

    def contents(self, schema: str) -> dict[str, str]:
        """A hash of every table of the schema, and where its sequences are."""
        found = {}
        tables = "SELECT c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        for name, kind in self.rows(
            f"{tables} WHERE n.nspname = '{schema}' AND relkind IN ('r', 'S') ORDER BY 1"
        ):
            if kind in ("S", b"S"):
                text = str(self.rows(f"SELECT last_value, is_called FROM {schema}.{name}"))
            else:
                text = str(self.rows(f"SELECT t::text FROM {schema}.{name} t ORDER BY 1"))
            found[name] = hashlib.sha256(text.encode()).hexdigest()
        return found


@contextmanager
def estates(postgres: Postgres, database: str, folder: Path) -> Iterator[Estate]:
    """Two companies with a user each, and none of them has a schema yet."""
    owner = f"{database}_owner"
    postgres.create_database(database, owner, PASSWORD)
    postgres.execute(
        "CREATE TABLE company (id serial PRIMARY KEY, company_name text)",
        "INSERT INTO company (company_name) VALUES ('company1'), ('company2')",
        "CREATE TABLE orders (id int PRIMARY KEY, tenant_id text, note text)",
        "INSERT INTO orders VALUES (1, 'company1', 'one'), (2, 'company2', 'two'), (3, 'company2', NULL)",
        f"ALTER TABLE company OWNER TO {owner}",
        f"ALTER TABLE orders OWNER TO {owner}",
        f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}",
        database=database,
    )
    # Few sessions, so that one serves many people.
    with Places({"RINGFENCE_POOLS__PER_POOL": "2"}) as places:
        places.add(Person("keeper", "staff"), Person("user_1", "company1"), Person("user_2", "company2"))
        description = {
            "db_type": "postgresql",
            "host": "127.0.0.1",
            "port": postgres.port,
            "database": database,
        }
        description |= {"username": owner, "password": PASSWORD}
        estate = Estate(postgres, places, database, folder)
        for person in (GOVERNOR, "user_1", "user_2", "keeper"):
            estate.connection = places.connect(person, description)
        places.put_policy(estate.connection, POLICY.encode())
        estate.write(MIGRATIONS)
        yield estate
