"""MySQL as a kind of connection, by the unmodified SDK and /v1, on a real MariaDB."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import requests
from gateway import ADMIN_KEY, Gateway
from polling import wait_for
from sdk_world import client_for, make_user, refused, run, table, wait_until_indexed
from throwaway_mariadb import Mariadb
from waii_sdk_py.database import DBConnection, ModifyDBConnectionRequest
from waii_sdk_py.query import CancelQueryRequest, GetQueryResultRequest, RunQueryRequest
from waii_sdk_py.user import CreateOrganizationRequest, CreateTenantRequest, Organization, Tenant

TABLES = (
    "CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL COMMENT 'in full')",
    "CREATE TABLE films (id INT PRIMARY KEY AUTO_INCREMENT, title VARCHAR(80), director INT,"
    " FOREIGN KEY (director) REFERENCES people (id)) COMMENT 'What was shown'",
    "INSERT INTO people VALUES (1, 'Agnès'), (2, 'Akira')",
    "INSERT INTO films (title, director) VALUES ('Cléo', 1), ('Ran', 2), ('Ikiru', 2)",
    "CREATE VIEW titles AS SELECT title FROM films",
)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Mariadb]:
    with Mariadb() as server:
        yield server


@pytest.fixture(scope="module")
def shop(mariadb: Mariadb) -> Iterator[Any]:
    """One user, one connection, one place in its pool: each statement meets the session of the last."""
    mariadb.create_database("shop", "owner", "shop password")
    mariadb.execute(*TABLES, database="shop")
    with Gateway(settings={"RINGFENCE_POOLS__PER_POOL": "1"}) as ringfence:
        admin = client_for(ringfence, ADMIN_KEY)
        admin.user.create_org(CreateOrganizationRequest(organization=Organization(id="org", name="org")))
        admin.user.create_tenant(CreateTenantRequest(tenant=Tenant(id="tenant", name="t", org_id="org")))
        secret = make_user(admin, "ann", "tenant", "org")
        ann = client_for(ringfence, secret)
        connection = DBConnection(
            db_type="mysql",
            host="127.0.0.1",
            port=mariadb.port,
            username="owner",
            password="shop password",
            database="shop",
        )
        key = f"mysql://owner@127.0.0.1:{mariadb.port}/shop"
        ann.database.modify_connections(
            ModifyDBConnectionRequest(updated=[connection], validate_before_save=True)
        )
        ann.database.activate_connection(key)
        wait_until_indexed(ann, key)
        yield SimpleNamespace(ann=ann, key=key, secret=secret, connection=connection, url=ringfence.url)


def ask(shop: Any, statement: str, **options: Any) -> Any:
    """The same by /v1."""
    return requests.post(
        f"{shop.url}/v1/connections/{quote(shop.key, safe='')}/query",
        json={"statement": statement, **options},
        headers={"Authorization": f"Bearer {shop.secret}"},
        timeout=30,
    )


def test_wrong_credentials_are_refused(shop: Any) -> None:
    wrong = shop.connection.copy(update={"password": "wrong"})
    with pytest.raises(Exception, match=r"(?i)password"):
        shop.ann.database.modify_connections(
            ModifyDBConnectionRequest(updated=[wrong], validate_before_save=True)
        )


def test_the_catalog(shop: Any) -> None:
    # The SDK's names are in upper case where the database's are in lower.
    films = table(shop.ann, "FILMS")
    assert [column.name for column in films.columns] == ["ID", "TITLE", "DIRECTOR"]
    assert films.name.schema_name == "SHOP"
    assert table(shop.ann, "TITLES").name.table_name == "TITLES"


def test_rows_and_changes(shop: Any, mariadb: Mariadb) -> None:
    result = run(shop.ann, "SELECT title, director FROM films ORDER BY id LIMIT 1")
    assert [list(row.values()) for row in result.rows] == [["Cléo", 1]]
    assert run(shop.ann, "INSERT INTO films (title) VALUES ('Tampopo')").rows == []
    assert mariadb.rows("SELECT count(*) FROM shop.films") == [(4,)]
    answer = ask(shop, "DELETE FROM films WHERE title = 'Tampopo'")
    assert (answer.status_code, answer.json()["affected"]) == (200, 1)


@pytest.mark.parametrize(
    ("declared", "literal", "value"),
    [
        ("DECIMAL(10,2)", "1.50", 1.5),
        ("DECIMAL(30,1)", "12345678901234567890.5", "12345678901234567890.5"),
        ("BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"),
        ("BIGINT", "-9223372036854775808", -9223372036854775808),
        ("TINYINT(1)", "TRUE", 1),
        ("DOUBLE", "1e300", 1e300),
        ("DATE", "'2024-02-29'", "2024-02-29"),
        ("DATETIME(3)", "'2024-02-29 12:00:00.250'", "2024-02-29T12:00:00.25"),
        ("TIME", "'-100:00:01'", "-100:00:01"),
        ("YEAR", "2024", 2024),
        ("BIT(7)", "b'101'", 5),
        ("BINARY(3)", "x'00ff'", "\\x00ff00"),
        ("VARBINARY(8)", "x'00ff'", "\\x00ff"),
        ("BLOB", "x'80'", "\\x80"),
        ("ENUM('a', 'b')", "'b'", "b"),
        ("SET('a', 'b')", "'a,b'", "a,b"),
        ("TEXT", "'it''s ü 😀'", "it's ü 😀"),
    ],
)
def test_values(shop: Any, mariadb: Mariadb, declared: str, literal: str, value: object) -> None:
    mariadb.execute(
        "SET NAMES utf8mb4",
        f"CREATE OR REPLACE TABLE shop.kept (v {declared}) CHARACTER SET utf8mb4",
        f"INSERT INTO shop.kept VALUES ({literal})",
    )
    answer = ask(shop, "SELECT v FROM kept").json()
    assert answer["rows"] == [[value]]


def test_zero_dates_are_shown_as_they_are_kept(shop: Any, mariadb: Mariadb) -> None:
    mariadb.execute(
        "SET sql_mode = ''; CREATE OR REPLACE TABLE shop.zero (v DATE, t DATETIME);"
        " INSERT INTO shop.zero VALUES ('0000-00-00', '2024-00-00')"
    )
    assert ask(shop, "SELECT v, t FROM zero").json()["rows"] == [["0000-00-00", "2024-00-00T00:00:00"]]


def test_errors_of_the_database(shop: Any) -> None:
    with pytest.raises(Exception, match="no_such"):
        run(shop.ann, "SELECT * FROM no_such")
    with refused():
        run(shop.ann, "SELECT 1; SELECT 2")
    assert ask(shop, "SELECT ?").status_code in (400, 422)


def test_limits(shop: Any) -> None:
    result = run(shop.ann, "SELECT seq FROM seq_1_to_10003")
    assert (len(result.rows), result.more_rows > 0) == (10_000, True)
    late = ask(shop, "SELECT sleep(60)", timeout_ms=300)
    assert (late.status_code, late.json()["code"]) == (422, "QUERY_TIMED_OUT")


def test_cancel_reaches_the_database(shop: Any, mariadb: Mariadb) -> None:
    def running() -> int:
        count = (
            "SELECT count(*) FROM information_schema.processlist WHERE user = 'owner' AND info LIKE '%61)%'"
        )
        return int(mariadb.rows(count)[0][0])

    query_id = shop.ann.query.submit(RunQueryRequest(query="SELECT sleep(61)")).query_id
    wait_for("the query to run", lambda: running() == 1)
    shop.ann.query.cancel(CancelQueryRequest(query_id=query_id))
    wait_for("the query to end in the database", lambda: running() == 0)
    with pytest.raises(Exception, match=r"(?i)cancel"):
        shop.ann.query.get_results(GetQueryResultRequest(query_id=query_id))


# What a statement leaves in its session, and what asks for it. The pool has one place: the same session.
LEFT = {
    "variable": ("SET @secret = 'of a'", "SELECT @secret", [[None]]),
    "setting": ("SET sql_mode = ''", "SELECT @@sql_mode = ''", [[0]]),
    "time zone": ("SET time_zone = '-11:00'", "SELECT @@time_zone = '-11:00'", [[0]]),
    "lock": ("SELECT GET_LOCK('l', 0)", "SELECT IS_USED_LOCK('l') IS NULL", [[1]]),
    "identity": ("INSERT INTO films (title) VALUES ('gone')", "SELECT LAST_INSERT_ID()", [[0]]),
    "names": ("SET NAMES latin1", "SELECT @@character_set_client", [["utf8mb4"]]),
}


@pytest.mark.parametrize("left", sorted(LEFT))
def test_nothing_is_carried_over(shop: Any, left: str) -> None:
    before, after, expected = LEFT[left]
    assert ask(shop, before).status_code == 200
    assert ask(shop, after).json()["rows"] == expected
    # Not after an error, either, nor after a statement that was stopped.
    assert ask(shop, before).status_code == 200
    assert ask(shop, "SELECT * FROM no_such").status_code == 422
    assert ask(shop, "SELECT sleep(60)", timeout_ms=200).status_code == 422
    assert ask(shop, after).json()["rows"] == expected


def test_a_temporary_table_is_not_carried_over(shop: Any) -> None:
    assert ask(shop, "CREATE TEMPORARY TABLE films (secret INT)").status_code == 200
    assert ask(shop, "SELECT count(*) > 0 FROM films").json()["rows"] == [[1]]
    assert ask(shop, "SELECT secret FROM films").status_code == 422
