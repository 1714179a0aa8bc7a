"""A database for each tenant, by one policy: PostgreSQL databases and SQLite files."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from guard_http.places import GOVERNOR, Person, Places
from throwaway_postgres import Postgres

from tenants.estate import MIGRATIONS, PASSWORD, Estate

POLICY = """
default: allow
tenancy: { database: "app_{tenant_id}" }
models:
  Data:
    table: company_data
    write_policy: { create: allow, delete: allow }
"""

OWNER = "databases_owner"
HOME = "app_home"
ALL = "SELECT description FROM company_data ORDER BY id"


@pytest.fixture(scope="module")
def estate(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """A blank database that tenants' databases are made like, and the people of two of them."""
    postgres.create_database(HOME, OWNER, PASSWORD)
    postgres.execute(f"ALTER ROLE {OWNER} CREATEDB")
    postgres.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {OWNER}", database=HOME)
    with Places({"RINGFENCE_POOLS__PER_POOL": "2"}) as places:
        places.add(
            Person("keeper", "staff"),
            Person("user_1", "company1"),
            Person("user_2", "company2"),
            Person("homely", "home"),
        )
        made = Estate(postgres, places, HOME, tmp_path_factory.mktemp("databases"))
        for person in (GOVERNOR, "user_1", "user_2", "keeper", "homely"):
            made.connection = places.connect(person, address(postgres, HOME))
        places.put_policy(made.connection, POLICY.encode())
        made.write(MIGRATIONS)
        said = made.done("migrate", "--migrations", str(made.migrations))
        assert "2 files applied" in said or "applied" in said
        made.done("create", "company1", "company2", "--migrations", str(made.migrations))
        made.refresh()
        for company in ("company1", "company2"):
            postgres.execute(
                f"INSERT INTO company_data (description) VALUES ('{company} data')",
                "CREATE FUNCTION tell() RETURNS text LANGUAGE sql AS "
                "$$SELECT description FROM public.company_data LIMIT 1$$",
                database=f"app_{company}",
            )
        yield made


def address(postgres: Postgres, database: str) -> dict[str, Any]:
    """A connection to that database, as the role that owns them all."""
    place = {"db_type": "postgresql", "host": "127.0.0.1", "port": postgres.port, "database": database}
    return place | {"username": OWNER, "password": PASSWORD}


def rows(estate: Estate, person: str, statement: str, connection: str = "") -> Any:
    """What somebody gets."""
    answer = estate.places.ask(person, connection or estate.connection, statement)
    assert answer.ok, f"{person}: {statement}: {answer.status_code} {answer.text}"
    return answer.json()["rows"]


def refused(estate: Estate, person: str, statement: str, connection: str = "") -> tuple[int, str]:
    """How somebody is refused."""
    answer = estate.places.ask(person, connection or estate.connection, statement)
    assert not answer.ok, f"{person}: {statement}: {answer.text}"
    return answer.status_code, answer.json()["code"]


def post(estate: Estate, person: str, path: str, body: Any) -> Any:
    """A call of somebody's."""
    return estate.places.gateway.call("POST", path, body, key=estate.places.keys[person])


def quoted(connection: str) -> str:
    """The connection's key in a path."""
    return quote(connection, safe="")


def test_a_statement_goes_to_the_tenants_own_database(estate: Estate) -> None:
    """By SQL, models, a transaction and an explanation alike."""
    key = quoted(estate.connection)
    for person, own in (("user_1", "company1 data"), ("user_2", "company2 data")):
        assert rows(estate, person, ALL) == [[own]]
        page = post(estate, person, f"models/{key}/Data/query", {"select": ["description"]})
        assert [row["description"] for row in page["rows"]] == [own]
        counted = post(estate, person, f"models/{key}/Data/aggregate", {"aggregates": [{"op": "count"}]})
        assert list(counted["rows"][0].values()) == [1]
    # What is written stays in it.
    post(estate, "user_1", f"models/{key}/Data/create", {"data": {"description": "new of one"}})
    assert rows(estate, "user_1", ALL) == [["company1 data"], ["new of one"]]
    assert rows(estate, "user_2", ALL) == [["company2 data"]]
    assert estate.rows("SELECT count(*) FROM company_data") == [(0,)], "the home is as it was"
    gone = "DELETE FROM company_data WHERE description = 'new of one'"
    assert estate.places.ask("user_1", estate.connection, gone).ok
    assert rows(estate, "user_1", ALL) == [["company1 data"]]


def test_who_has_no_database_gets_none(estate: Estate) -> None:
    """A tenant without one, one whose name makes the home, and what is common to all."""
    assert refused(estate, "homely", ALL) == (403, "TENANT_SCOPE_REQUIRED")
    status, code = refused(estate, "keeper", ALL)
    assert status in (404, 424), code
    # Other databases can't be named.
    for statement in (
        "SELECT * FROM app_company2.public.company_data",
        "SELECT * FROM app_company2.public.no_such_table",
        "SELECT * FROM dblink('dbname=app_company2', 'SELECT 1') AS t(a int)",
    ):
        hidden = estate.places.ask("user_1", estate.connection, statement)
        missing = estate.places.ask("user_1", estate.connection, statement.replace("company2", "company8"))
        assert not hidden.ok
        told = hidden.json()["detail"].replace("company2", "company8")
        assert (hidden.status_code, told) == (missing.status_code, missing.json()["detail"])
    listed = estate.places.ask("user_1", estate.connection, "SELECT datname FROM pg_database")
    assert "company2" not in listed.text


def test_many_at_once_get_their_own(estate: Estate) -> None:
    """Both companies over few sessions."""

    def ask(number: int) -> bool:
        company = number % 2 + 1
        return rows(estate, f"user_{company}", ALL) == [[f"company{company} data"]]

    with ThreadPoolExecutor(16) as workers:
        assert all(workers.map(ask, range(400)))


def test_a_tenants_database_is_under_the_familys_policy(estate: Estate) -> None:
    """Whoever registers a connection straight to one gets their own through it, and nobody else's."""
    places = estate.places
    straight = {}
    for person in ("user_1", "user_2", GOVERNOR):
        answer = places.gateway.call(
            "POST", "connections", address(estate.postgres, "app_company2"), key=places.keys[person]
        )
        straight[person] = str(answer["key"])
        places.gateway.wait_for_catalog(straight[person], places.keys[person])
    assert rows(estate, "user_2", ALL, straight["user_2"]) == [["company2 data"]]
    key = quoted(straight["user_1"])
    for person in ("user_1", GOVERNOR):
        assert refused(estate, person, ALL, straight[person]) == (403, "TENANT_SCOPE_REQUIRED")
        assert refused(estate, person, "SELECT 1", straight[person]) == (403, "TENANT_SCOPE_REQUIRED")
    for path, body in (
        (f"models/{key}/Data/query", {}),
        (f"models/{key}/Data/create", {"data": {"description": "x"}}),
        ("explain", {"connection": straight["user_1"], "statement": ALL}),
    ):
        with pytest.raises(AssertionError, match="TENANT_SCOPE_REQUIRED"):
            post(estate, "user_1", path, body)
    with pytest.raises(AssertionError, match="TENANT_SCOPE_REQUIRED"):
        places.gateway.call("GET", f"connections/{key}/catalog", None, key=places.keys["user_1"])


def test_databases_are_kept_alike(estate: Estate) -> None:
    """A file goes to the home first and then to every database; one that fails stays as it was."""
    estate.execute("CREATE TABLE company_data_extra (id int)")
    assert estate.run("check").returncode == 1
    estate.execute("DROP TABLE company_data_extra")
    postgres = estate.postgres
    postgres.execute("DROP FUNCTION tell()", database="app_company1")
    postgres.execute("DROP FUNCTION tell()", database="app_company2")
    # A record of a file that was taken back is a table of ours, in a schema of its own.
    assert "alike" in estate.done("check")
    postgres.execute("CREATE TABLE later (id int)", database="app_company2")
    estate.write({**MIGRATIONS, "003_later.sql": "CREATE TABLE later (id int)"})
    ran = estate.run("migrate", "--migrations", str(estate.migrations))
    assert ran.returncode == 1
    assert "app_company2" in ran.stdout + ran.stderr
    assert postgres.rows("SELECT count(*) FROM later", "app_company1") == [(0,)]
    postgres.execute("DROP TABLE later", database="app_company2")
    estate.done("migrate", "--migrations", str(estate.migrations))
    assert postgres.rows("SELECT count(*) FROM later", "app_company2") == [(0,)]
    # What was applied does not change.
    estate.write({**MIGRATIONS, "003_later.sql": "CREATE TABLE later (id bigint)"})
    assert estate.run("migrate", "--migrations", str(estate.migrations)).returncode == 1
    for verb, more in (("export", ["company1", "--to", str(estate.folder / "out")]),):
        ran = estate.run(verb, *more)
        assert ran.returncode != 0
        assert "database's own tools" in ran.stdout + ran.stderr
        assert not (estate.folder / "out").exists()


def test_a_sqlite_file_for_each_tenant(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files beside the connection's own, with its ending."""
    folder = tmp_path_factory.mktemp("files")
    with Places({"RINGFENCE_SQLITE__DIRECTORIES": str(folder)}) as places:
        for name in ("blank", "shop_one", "shop_two"):
            with sqlite3.connect(folder / f"{name}.db") as file:
                file.execute("CREATE TABLE notes (text TEXT)")
                if name != "blank":
                    file.execute("INSERT INTO notes VALUES (?)", (f"of {name}",))
        places.add(Person("ann", "one"), Person("bob", "two"), Person("cat", "three"))
        keys = {}
        for person in ("ann", "bob", "cat", GOVERNOR):
            keys[person] = places.connect(person, {"db_type": "sqlite", "database": str(folder / "blank.db")})
        policy = 'default: allow\ntenancy: { database: "shop_{tenant_id}" }\n'
        places.put_policy(keys[GOVERNOR], policy.encode())
        for person, expected in (("ann", "of shop_one"), ("bob", "of shop_two")):
            answer = places.ask(person, keys[person], "SELECT text FROM notes")
            assert answer.ok, answer.text
            assert answer.json()["rows"] == [[expected]]
        answer = places.ask("cat", keys["cat"], "SELECT text FROM notes")
        assert not answer.ok
        assert not (folder / "shop_three.db").exists(), "asking makes no file"
        # A link or a name with a path in it leads nowhere else.
        straight = places.gateway.call(
            "POST",
            "connections",
            {"db_type": "sqlite", "database": str(folder / "shop_two.db")},
            key=places.keys["ann"],
        )
        places.gateway.wait_for_catalog(str(straight["key"]), places.keys["ann"])
        answer = places.ask("ann", str(straight["key"]), "SELECT text FROM notes")
        assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_SCOPE_REQUIRED")
