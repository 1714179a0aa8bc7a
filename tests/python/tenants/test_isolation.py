"""Document 004's tables over HTTP: each company's user gets their company's row, by no way another's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from guard_http.places import Person
from throwaway_postgres import Postgres

from tenants.estate import Estate, estates

ALL = "SELECT * FROM company_data"
OWN = {"user_1": [[1, "company 1 data"]], "user_2": [[1, "company 2 data"]]}

# The document's own statements.
DOCUMENT = [
    'CREATE SCHEMA "company1"',
    'CREATE SCHEMA "company2"',
    "CREATE SCHEMA blank",
    "CREATE TABLE company1.company_data (id SERIAL PRIMARY KEY, description TEXT NOT NULL)",
    "CREATE TABLE company2.company_data (id SERIAL PRIMARY KEY, description TEXT NOT NULL)",
    "CREATE TABLE blank.company_data (id SERIAL PRIMARY KEY, description TEXT NOT NULL)",
    "INSERT INTO company1.company_data(description) VALUES ('company 1 data')",
    "INSERT INTO company2.company_data(description) VALUES ('company 2 data')",
    "CREATE TABLE company2.only_here (id int)",
    "CREATE FUNCTION company2.tell() RETURNS text LANGUAGE sql AS $$SELECT 'company 2 data'$$",
]


@pytest.fixture(scope="module")
def estate(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """The document's database."""
    folder: Path = tmp_path_factory.mktemp("estate")
    with estates(postgres, "tenants_isolation", folder) as estate:
        estate.execute(*DOCUMENT)
        for schema in ("company1", "company2", "blank"):
            owner = "tenants_isolation_owner"
            estate.execute(
                f"GRANT ALL ON SCHEMA {schema} TO {owner}",
                f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {owner}",
                f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {owner}",
            )
        estate.refresh()
        yield estate


def quoted(estate: Estate) -> str:
    """The connection's key in a path."""
    return quote(estate.connection, safe="")


def rows(estate: Estate, person: str, statement: str) -> Any:
    """What somebody gets."""
    answer = estate.places.ask(person, estate.connection, statement)
    assert answer.ok, f"{person}: {statement}: {answer.status_code} {answer.text}"
    return answer.json()["rows"]


def told(estate: Estate, person: str, statement: str) -> str:
    """Everything that an answer says, but for what is different in each."""
    answer = estate.places.ask(person, estate.connection, statement)
    body = answer.json()
    for name in ("trace_id", "query_id", "instance", "elapsed_ms", "duration_ms", "statistics"):
        body.pop(name, None)
    return f"{answer.status_code} {body}"


def test_each_user_gets_their_companys_row(estate: Estate) -> None:
    for person, expected in OWN.items():
        assert rows(estate, person, ALL) == expected
    assert rows(estate, "user_1", "SELECT company_name FROM company ORDER BY id") == [
        ["company1"],
        ["company2"],
    ]


def test_many_at_once_over_few_sessions(estate: Estate) -> None:
    def ask(number: int) -> bool:
        person = f"user_{number % 2 + 1}"
        return bool(rows(estate, person, ALL) == OWN[person])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(400)))


# `?` is another tenant's schema, or one that is not there: nobody can tell which.
WAYS = [
    "SELECT * FROM ?.company_data",
    'SELECT * FROM "?"."company_data"',
    "SELECT * FROM ?.only_here",
    "SELECT * FROM ?.nothing",
    "WITH x AS (SELECT * FROM ?.company_data) SELECT * FROM x",
    "SELECT (SELECT max(description) FROM ?.company_data)",
    "SELECT * FROM company_data a JOIN ?.company_data b USING (id)",
    "SELECT * FROM company_data WHERE id IN (SELECT id FROM ?.company_data)",
    "SELECT * FROM company_data UNION SELECT * FROM ?.company_data",
    "INSERT INTO ?.company_data (description) VALUES ('x')",
    "UPDATE ?.company_data SET description = 'x'",
    "DELETE FROM ?.company_data",
    "SET search_path TO ?",
    "SET LOCAL search_path TO ?",
    "SELECT set_config('search_path', '?', false)",
    "SELECT pg_catalog.set_config('search_path', '?', false)",
    "SELECT ?.tell()",
    "CREATE TEMP TABLE company_data AS SELECT * FROM ?.company_data",
    "SELECT '?.company_data'::regclass",
    "SELECT to_regclass('?.company_data')",
    "SELECT * FROM pg_namespace WHERE nspname = '?'",
    "SELECT * FROM pg_tables WHERE schemaname = '?'",
    "SELECT * FROM information_schema.schemata WHERE schema_name = '?'",
    "SELECT * FROM information_schema.tables WHERE table_schema = '?'",
    "SELECT * FROM information_schema.columns WHERE table_schema = '?'",
    "SELECT query_to_xml('SELECT * FROM ?.company_data', true, true, '')",
    "SELECT has_schema_privilege('?', 'USAGE')",
]


@pytest.mark.parametrize("way", WAYS)
def test_hidden_is_like_missing(estate: Estate, way: str) -> None:
    hidden = told(estate, "user_1", way.replace("?", "company2"))
    missing = told(estate, "user_1", way.replace("?", "company9"))
    assert hidden.replace("company2", "company9") == missing
    assert "company 2 data" not in hidden
    # Whoever asks next on the same sessions has their own.
    for person, expected in OWN.items():
        assert rows(estate, person, ALL) == expected


def test_catalogs_name_nobody_else(estate: Estate) -> None:
    for statement in (
        "SELECT nspname FROM pg_namespace ORDER BY 1",
        "SELECT DISTINCT table_schema FROM information_schema.tables ORDER BY 1",
    ):
        assert rows(estate, "user_1", statement) == [["company1"], ["public"]]
    key = estate.places.keys["user_1"]
    catalog = str(estate.places.gateway.call("GET", f"connections/{quoted(estate)}/catalog", None, key=key))
    assert "company1" in catalog
    assert "company2" not in catalog
    assert "blank" not in catalog


def test_who_has_no_schema_gets_nothing(estate: Estate) -> None:
    # `staff` is a tenant whose schema is not there: its tables are the template's, and the database has none.
    answer = estate.places.ask("keeper", estate.connection, ALL)
    assert answer.json()["code"] == "RELATION_UNKNOWN"
    call = estate.places.gateway.call
    for tenant in ("public", "Blank", "pg_catalog", "a-b"):
        call("POST", "tenants", {"id": tenant, "org": "acme"})
        person = Person(f"of_{tenant}", tenant)
        call("POST", "users", {"id": person.name, "tenant": tenant, "org": "acme"})
        secret = call("POST", "keys", {"name": "test"}, acting=person.name)["secret"]
        estate.places.keys[person.name] = secret
        owner = {"username": "tenants_isolation_owner", "password": "pw-of-the-estate"}
        place = {"db_type": "postgresql", "host": "127.0.0.1", "port": estate.postgres.port}
        call("POST", "connections", {**place, **owner, "database": estate.database}, key=secret)
        for statement in (ALL, "SELECT * FROM company"):
            answer = estate.places.ask(person.name, estate.connection, statement)
            assert answer.json()["code"] in ("TENANT_SCOPE_REQUIRED", "CATALOG_NOT_READY"), answer.text
