"""Two tenants in turn on one backend session: nothing that one does is there for the other."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from polling import wait_for
from throwaway_postgres import Postgres

from guard_http.places import GOVERNOR, Person, Places

OWNER, PASSWORD = "owner", "owner-of-one-session"

# Names as applications have them, and as attackers would: each as it is stored.
NAMES = (
    "plain",
    "Mixed Case",
    "UPPER",
    'quo"te',
    "semi;colon",
    "select",
    "\u00e9t\u00e9",
    "\u6f22\u5b57",
    "\U0001f600",
    "n" * 63,
    "a.b",
    "it's",
)

SCHEMA = """
CREATE TABLE notes (id int PRIMARY KEY, tenant_id int NOT NULL, body text);
INSERT INTO notes SELECT n, 1 + n % 2, 'SECRET_' || (1 + n % 2) || '_' || n FROM generate_series(1, 40) n;
CREATE SCHEMA evil;
CREATE TABLE evil.notes (id int, tenant_id int, body text);
INSERT INTO evil.notes VALUES (666, 1, 'EVIL'), (667, 2, 'EVIL');
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'EVIL' $$;
"""

POLICY = """
models:
  Note:
    table: public.notes
    scoping: { tenant_id: principal.attributes.tenant_id }
    write_policy:
      create: allow
      update: allow
      delete: allow
      auto_set: { tenant_id: principal.attributes.tenant_id }
"""

# What an open connection might leave in a session: the statement, what shows it, and what a clean one says.
LEFT_BEHIND = [
    ("SET search_path = evil, public", "SHOW search_path", '"$user", public'),
    ("SET ROLE none", "SELECT current_user::text", OWNER),
    ("SET TIME ZONE 'Asia/Tokyo'", "SELECT current_setting('TimeZone')", "UTC"),
    (
        "SELECT set_config('app.tenant', '1', false)",
        "SELECT coalesce(current_setting('app.tenant', true), '')",
        "",
    ),
    ("CREATE TEMP TABLE notes (id int, tenant_id int, body text)", "SELECT count(*)::text FROM notes", "40"),
    ("PREPARE mine AS SELECT 1", "SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql", "0"),
    ("LISTEN mine", "SELECT count(*)::text FROM pg_listening_channels()", "0"),
    ("SELECT pg_advisory_lock(1)", "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'", "0"),
    (
        "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*)::text FROM pg_cursors WHERE name = 'mine'",
        "0",
    ),
    ("SET default_transaction_read_only = on", "SHOW transaction_read_only", "off"),
    ("SET statement_timeout = 1", "SELECT (current_setting('statement_timeout') = '1ms')::text", "false"),
]


class World:
    """One server, one database, one session for each purpose."""

    def __init__(self, postgres: Postgres, places: Places) -> None:
        self.postgres = postgres
        self.places = places
        self.guarded = self._connect("guarded", policy=True)
        self.open = self._connect("plain", policy=False)

    def _connect(self, database: str, *, policy: bool) -> str:
        description = {
            "db_type": "postgresql",
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "username": OWNER,
            "password": PASSWORD,
            "database": database,
        }
        keys = {self.places.connect(person, description) for person in ("ann", "bob", GOVERNOR)}
        key = keys.pop()
        assert not keys, "all have the same connection"
        if policy:
            self.places.put_policy(key, POLICY.encode())
        return key

    def rows(self, person: str, connection: str, sql: str, **more: Any) -> list[list[Any]]:
        """What a statement that must be good answers."""
        answer = self.places.ask(person, connection, sql, **more)
        assert answer.status_code == 200, f"{sql}: {answer.status_code} {answer.text}"
        rows: list[list[Any]] = answer.json()["rows"]
        return rows

    def check(self, when: str) -> None:
        """Both see their own rows, and all of them, however the statement is sent."""
        for person, tenant in (("ann", 1), ("bob", 2)):
            for sql in (
                "SELECT * FROM notes ORDER BY id",
                "SELECT id, tenant_id, lower(body) FROM notes ORDER BY 1",
            ):
                rows = self.rows(person, self.guarded, sql)
                assert len(rows) == 20, f"{when}: {person} sees {len(rows)} rows"
                assert {row[1] for row in rows} == {tenant}, f"{when}: {person} sees {rows}"
                assert all(f"secret_{tenant}_" in str(row[2]).lower() for row in rows), f"{when}: {rows}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Postgres(["timezone=UTC"]) as postgres:
        for number, database in enumerate(("guarded", "plain")):
            if number == 0:
                postgres.create_database(database, OWNER, PASSWORD)
            else:
                postgres.execute(f"CREATE DATABASE {database} OWNER {OWNER}")
            with postgres.connect(database) as connection:
                connection.execute(f"SET ROLE {OWNER}".encode())
                connection.execute(SCHEMA.encode())
                for name in NAMES:
                    quoted = '"' + name.replace('"', '""') + '"'
                    connection.execute(f"CREATE TABLE {quoted} (tenant_id int, {quoted} text)".encode())
                    connection.execute(
                        f"INSERT INTO {quoted} VALUES (1, 'SECRET_1'), (2, 'SECRET_2')".encode()
                    )
        with Places({"RINGFENCE_POOLS__PER_POOL": "1"}) as places:
            places.add(Person("ann", "one", {"tenant_id": 1}), Person("bob", "two", {"tenant_id": 2}))
            yield World(postgres, places)


def test_errors_and_undone_changes_leave_nothing(world: World) -> None:
    world.check("at first")
    for sql in (
        "SELECT 1 / (id - id) FROM notes",
        "SELECT body::int FROM notes",
        "INSERT INTO notes (id, body) VALUES (1, 'taken'), (100, 'new')",
        "INSERT INTO notes (id, tenant_id, body) VALUES (101, 2, 'not mine')",
        "UPDATE notes SET tenant_id = 2",
        "SELECT * FROM nowhere",
        "SELEC",
        "SET search_path = evil",
        "BEGIN",
        "CREATE TEMP TABLE notes (id int)",
        "SELECT set_config('search_path', 'evil', false)",
        "SELECT pg_advisory_lock(1)",
        "LISTEN mine",
        "DECLARE mine CURSOR WITH HOLD FOR SELECT * FROM notes",
        "PREPARE mine AS SELECT * FROM notes",
        "DISCARD ALL",
    ):
        answer = world.places.ask("ann", world.guarded, sql)
        assert answer.status_code >= 400, f"{sql}: {answer.text}"
        world.check(f"after {sql}")


def test_a_plan_is_shared_and_its_values_are_not(world: World) -> None:
    sql = "SELECT count(*), min(body) FROM notes WHERE id > $1"
    for turn in range(12):
        person, tenant = (("ann", 1), ("bob", 2))[turn % 2]
        rows = world.rows(person, world.guarded, sql, parameters=["0"])
        assert rows[0][0] == 20
        assert f"SECRET_{tenant}_" in rows[0][1]


def test_changes_in_turn_stay_within_each_tenant(world: World) -> None:
    for turn in range(6):
        person, tenant = (("ann", 1), ("bob", 2))[turn % 2]
        changed = world.places.ask(person, world.guarded, f"UPDATE notes SET body = 'SECRET_{tenant}_' || id")
        assert changed.json()["affected"] == 20, changed.text
        world.check("after an update")
    raw = world.postgres.rows(
        "SELECT count(*) FROM notes WHERE body <> 'SECRET_' || tenant_id || '_' || id", "guarded"
    )
    assert raw == [(0,)]


def test_who_leaves_in_the_middle_leaves_nothing(world: World) -> None:
    series = ", ".join(f"generate_series(1, 2000) {name}" for name in "abc")
    slow = f"SELECT count(*) FROM {series}, notes"

    def running() -> bool:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%'"
        )
        return world.postgres.rows(query + " AND pid <> pg_backend_pid()") != [(0,)]

    def leave() -> None:
        # The connection is closed while the statement runs.
        with pytest.raises(requests.exceptions.RequestException):
            world.places.ask("ann", world.guarded, slow, wait=1)

    leaver = threading.Thread(target=leave)
    leaver.start()
    wait_for("the slow statement", running)
    leaver.join()
    wait_for("the end of the slow statement", lambda: not running())
    world.check("after somebody left")


@pytest.mark.parametrize(("leave", "look", "clean"), LEFT_BEHIND, ids=lambda text: str(text)[:24])
def test_an_open_connection_hands_on_a_clean_session(world: World, leave: str, look: str, clean: str) -> None:
    left = world.places.ask("ann", world.open, leave)
    assert left.status_code == 200, left.text
    assert world.rows("bob", world.open, look) == [[clean]]
    world.check(f"after {leave}")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_mean_one_relation(world: World, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    policy = POLICY + (
        f"  Named:\n    table: {yaml_of('public.' + quoted)}\n"
        "    scoping: { tenant_id: principal.attributes.tenant_id }\n"
    )
    world.places.put_policy(world.guarded, policy.encode())
    for person, tenant in (("ann", 1), ("bob", 2)):
        for sql in (
            f"SELECT {quoted} FROM {quoted}",
            f"SELECT {quoted}.{quoted} FROM public.{quoted}",
            f"SELECT q.{quoted} FROM {quoted} AS q WHERE q.{quoted} IS NOT NULL",
        ):
            assert world.rows(person, world.guarded, sql) == [[f"SECRET_{tenant}"]], sql
        for sql in (
            f'SELECT 1 FROM "{name[:1]}\u00a0"',
            f'SELECT 1 FROM "{"x" * 64}"',
            f'SELECT 1 FROM "{name[:-1]}_"',
        ):
            answer = world.places.ask(person, world.guarded, sql)
            assert answer.status_code >= 400, sql
            assert "SECRET" not in answer.text
    # What only differs in case is another relation, which nobody may see.
    if name != name.swapcase():
        other = '"' + name.swapcase().replace('"', '""') + '"'
        assert world.places.ask("ann", world.guarded, f"SELECT * FROM {other}").status_code >= 400


def yaml_of(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
