"""Texts that nobody would write, at the door: each is answered with a problem, and the server goes on."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests
from throwaway_postgres import Postgres

from guard_http.places import GOVERNOR, Person, Places
from guard_http.test_pool_of_one import OWNER, PASSWORD, POLICY, SCHEMA

# Deep, long and odd statements, as what stands between the quotes of a JSON text.
STATEMENTS = {
    "nested calls": b"SELECT " + b"lower(" * 40 + b"body" + b")" * 40 + b" FROM nowhere",
    "a chain of ANDs": b"SELECT 1 FROM notes WHERE true" + b" AND true" * 100_000,
    "a chain of tests": b"SELECT 1 FROM notes WHERE id" + b" IS NULL" * 100_000,
    "a chain of set operations": b"SELECT 1" + b" UNION SELECT 1" * 60_000,
    "a run of intervals": b"SELECT " + b"INTERVAL " * 100_000,
    "nested parentheses": b"SELECT " + b"(" * 500_000,
    "nested joins": b"SELECT 1 FROM " + b"(notes JOIN " * 60 + b"notes" + b" ON true)" * 60 + b" x",
    "unterminated text": b"SELECT '" + b"a" * 900_000,
    "unterminated comment": b"SELECT 1 /*" + b"/*" * 400_000,
    "too long": b"SELECT 1" + b" " * 1_100_000,
    "a NUL": b"SELECT 1\\u0000",
    "half a surrogate pair": b"SELECT '\\ud800'",
    "a byte order mark": b"\xef\xbb\xbfSELECT 1",
    "a no-break space": b"SELECT\xc2\xa01",
    "no UTF-8": b"SELECT '\xff\xfe'",
    "overlong UTF-8": b"SELECT '\xc0\xaf'",
    "a surrogate in UTF-8": b"SELECT '\xed\xa0\x80'",
}


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Places, str]]:
    with Postgres(["timezone=UTC"]) as postgres:
        postgres.create_database("notes", OWNER, PASSWORD)
        with postgres.connect("notes") as connection:
            connection.execute(f"SET ROLE {OWNER}".encode())
            connection.execute(SCHEMA.encode())
        description = {
            "db_type": "postgresql",
            "host": "127.0.0.1",
            "port": postgres.port,
            "username": OWNER,
            "password": PASSWORD,
            "database": "notes",
        }
        with Places() as places:
            places.add(Person("ann", "one", {"tenant_id": 1}))
            key = places.connect("ann", description)
            places.connect(GOVERNOR, description)
            places.put_policy(key, POLICY.encode())
            yield places, key


@pytest.mark.parametrize("name", STATEMENTS)
def test_it_is_refused_and_the_server_goes_on(name: str, places: tuple[Places, str]) -> None:
    world, key = places
    answer = requests.post(
        f"{world.gateway.url}/v1/connections/{quote(key, safe='')}/query",
        data=b'{"statement": "' + STATEMENTS[name] + b'"}',
        headers={"Authorization": f"Bearer {world.keys['ann']}", "Content-Type": "application/json"},
        timeout=60,
    )
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert answer.json()["code"], answer.text[:300]
    seen = world.ask("ann", key, "SELECT count(*) FROM notes")
    assert seen.json()["rows"] == [[20]], seen.text
