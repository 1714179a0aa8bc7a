"""The corpus in MariaDB: the shared database, and for each principal the isolated one that is its oracle."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pymysql
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import escape_string
from throwaway_mariadb import Mariadb

from guard_corpus.compare import Outcome
from guard_corpus.mysql_derive import derive
from guard_corpus.records import GIVEN, POLICY, PRINCIPALS
from guard_corpus.targets import SECONDS, Run

OWNER = "app_owner"
OWNER_PASSWORD = "owner-of-the-corpus"

# Where AUTO_INCREMENT goes on, on both sides.
NEXT_ID = 10001

# As the guard's sessions: how strict the server is is no matter of isolation. The
# text is the caller's own, so double quotes and backslashes mean what they mean by default.
SESSION = (
    "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
)

if TYPE_CHECKING:
    # Generic in its type information only.
    Session: TypeAlias = pymysql.Connection[Any]
else:
    Session = pymysql.Connection

TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}' AND table_type = 'BASE TABLE'"
    " ORDER BY table_name"
)

COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = '{}'"
    " AND is_generated = 'NEVER' ORDER BY table_name, ordinal_position"
)


class MysqlWorld:
    """A server with the databases. Use it in a `with` block."""

    def __init__(self) -> None:
        self.server = Mariadb()
        try:
            for name in self.names():
                self._create(name)
        except BaseException:
            self.server.close()
            raise

    def __enter__(self) -> "MysqlWorld":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def names(self) -> list[str]:
        """All databases, the shared one first."""
        return ["shared", *(self.isolated_name(principal) for principal in PRINCIPALS)]

    def isolated_name(self, principal: str) -> str:
        return f"iso_{principal}"

    def database(self, principal: str, *, isolated: bool) -> str:
        return self.isolated_name(principal) if isolated else "shared"

    def tables(self, database: str) -> list[str]:
        """The names of its tables, not of its views."""
        return [name for (name,) in self.server.rows(TABLES.format(database))]

    def connect(self, database: str) -> Session:
        """As the owner, over TCP, in a session like the guard's."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=OWNER,
            password=OWNER_PASSWORD,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            # As in throwaway_mariadb.py.
            ssl_disabled=True,
            init_command=SESSION,
            # Rows that an UPDATE meets, not those that it changes, as for Ringfence.
            client_flag=CLIENT.FOUND_ROWS,
            read_timeout=SECONDS,
            conv={},
        )

    @contextmanager
    def session(self, principal: str, *, isolated: bool) -> Iterator[Run]:
        """MariaDB without a guard."""
        connection = self.connect(self.database(principal, isolated=isolated))
        try:
            yield partial(run, connection)
        finally:
            connection.close()

    def key(self, principal: str, *, guarded: bool) -> str:
        """The key that Ringfence gives a principal's connection."""
        database = self.database(principal, isolated=not guarded)
        return f"mysql://{OWNER}@127.0.0.1:{self.server.port}/{database}"

    def description(self, principal: str, *, guarded: bool) -> dict[str, Any]:
        """A principal's connection: all share the guarded one, and each has an open one of their own."""
        return {
            "db_type": "mysql",
            "host": "127.0.0.1",
            "port": self.server.port,
            "username": OWNER,
            "password": OWNER_PASSWORD,
            "database": self.database(principal, isolated=not guarded),
        }

    def settings(self) -> dict[str, str]:
        """What Ringfence has to be told."""
        return {}

    def policy(self) -> bytes:
        """The policy of the guarded connection: its database is its one schema, looked up by default."""
        text = POLICY.read_text().replace("search_schemas: [public]\n", "")
        return text.replace("public.", "").encode()

    def recreate(self, name: str) -> None:
        """Makes one of the databases anew."""
        self._create(name)

    def _create(self, name: str) -> None:
        self.server.create_database(name, OWNER, OWNER_PASSWORD)
        fixture = (GIVEN / "fixture.mysql.sql").read_text()
        self.server.execute(fixture, database=name)
        if name != "shared":
            columns: dict[str, list[str]] = {table: [] for table in self.tables(name)}
            for table, column in self.server.rows(COLUMNS.format(name)):
                if table in columns:
                    columns[table].append(column)
            self.server.execute(*derive(name.removeprefix("iso_"), columns), database=name)
        counted = (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}'"
            " AND auto_increment IS NOT NULL"
        )
        found = self.server.rows(counted.format(name))
        self.server.execute(
            *(f"ALTER TABLE `{table}` AUTO_INCREMENT = {NEXT_ID}" for (table,) in found), database=name
        )


def run(connection: Session, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
    """One statement, as text in UTF-8. Values of parameters stand for their marks, as literals."""
    started = time.monotonic()
    try:
        text = with_values(sql.decode(), params) if params else sql.decode()
        outcome = executed(connection, text)
    except (pymysql.Error, UnicodeDecodeError, ValueError) as error:
        code, message = error.args if len(error.args) == 2 else (0, str(error))
        outcome = Outcome(accepted=False, sqlstate=str(code), message=str(message))
    outcome.seconds = time.monotonic() - started
    outcome.received = "\n".join([*outcome.columns, repr(outcome.rows), outcome.message])
    return outcome


def executed(connection: Session, text: str) -> Outcome:
    with connection.cursor() as cursor:
        affected = cursor.execute(text)
        if cursor.description is None:
            return Outcome(accepted=True, affected=affected)
        assert cursor._result is not None
        fields = cursor._result.fields
        readers = [reader(field) for field in fields]
        return Outcome(
            accepted=True,
            columns=[field.name for field in fields],
            types=[type_name(field) for field in fields],
            rows=[
                [None if value is None else read(value) for read, value in zip(readers, row, strict=True)]
                for row in cursor.fetchall()
            ],
        )


MARK = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|\?", re.S)


def with_values(sql: str, params: Sequence[str | None]) -> str:
    """The text with literals for its question marks, those in literals and names left alone.

    LIMIT takes no text as a literal, and one as a parameter: whole numbers are written as such.
    """

    def literal(value: str | None) -> str:
        if value is None:
            return "NULL"
        return value if value.isdecimal() else f"'{escape_string(value)}'"

    return marks_replaced(sql, MARK, map(literal, params))


def marks_replaced(sql: str, pieces: "re.Pattern[str]", literals: Iterator[str]) -> str:
    """`pieces` are the question marks, and all in which one is a letter."""
    return pieces.sub(lambda found: next(literals) if found.group() == "?" else found.group(), sql)


BINARY = 63

INTEGERS = frozenset(
    {
        FIELD_TYPE.TINY,
        FIELD_TYPE.SHORT,
        FIELD_TYPE.INT24,
        FIELD_TYPE.LONG,
        FIELD_TYPE.LONGLONG,
        FIELD_TYPE.YEAR,
    }
)
DECIMALS = frozenset({FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL})
FLOATS = frozenset({FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE})
MOMENTS = frozenset({FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP})
BYTES = frozenset(
    {
        FIELD_TYPE.VAR_STRING,
        FIELD_TYPE.STRING,
        FIELD_TYPE.VARCHAR,
        FIELD_TYPE.BLOB,
        FIELD_TYPE.TINY_BLOB,
        FIELD_TYPE.MEDIUM_BLOB,
        FIELD_TYPE.LONG_BLOB,
    }
)


def type_name(field: Any) -> str:
    """As far as comparing needs it."""
    if field.type_code in INTEGERS:
        return "bigint"
    if field.type_code in DECIMALS:
        return "numeric"
    if field.type_code in FLOATS:
        return "double"
    return "timestamp" if field.type_code in MOMENTS else ""


def reader(field: Any) -> Callable[[Any], Any]:
    """What makes of a value of the text protocol what Ringfence answers."""
    if field.type_code in INTEGERS:
        return int
    if field.type_code in DECIMALS:
        return lambda value: Decimal(as_text(value))
    if field.type_code in FLOATS:
        return float
    if field.type_code in MOMENTS:
        return lambda value: without_zeros(as_text(value).replace(" ", "T", 1))
    if field.type_code == FIELD_TYPE.TIME:
        return lambda value: without_zeros(as_text(value))
    if field.type_code == FIELD_TYPE.BIT:
        return lambda value: int.from_bytes(value, "big")
    if field.type_code in BYTES and field.charsetnr == BINARY:
        return lambda value: "\\x" + as_bytes(value).hex()
    return as_text


def as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def without_zeros(text: str) -> str:
    """A moment without the zeros that end its fraction."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
