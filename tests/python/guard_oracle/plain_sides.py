"""SQLite and MySQL as the oracle needs them: the shared database and the isolated ones."""

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from guard_corpus import mysql_world, sqlite_world
from guard_corpus.compare import Outcome
from guard_corpus.mysql_oracle import MysqlOracle
from guard_corpus.mysql_world import MysqlWorld, Session
from guard_corpus.oracle import State
from guard_corpus.records import PRINCIPALS
from guard_corpus.sqlite_oracle import SqliteOracle, in_memory
from guard_corpus.sqlite_world import SqliteWorld
from guard_corpus.state_views import RENAMED, renamed

from guard_oracle.guard_process import Guarded
from guard_oracle.plain_schema import Schema, mysql_catalog, read_schema, sqlite_catalog

# What the guard's sessions have, see connect.rs.
FENCED = (
    "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', max_statement_time = 4"
)

PLAIN = (
    "SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION', max_statement_time = 4"
)

# Errors of MySQL that depend on the data: duplicates, NULL, ranges, wrong values, sub-queries, JSON.
MYSQL_DATA = frozenset(
    [
        *("1022", "1048", "1062", "1139", "1216", "1217", "1241", "1242", "1264", "1265", "1292", "1365"),
        *("1366", "1367", "1406", "1411", "1441", "1451", "1452", "1690", "3819", "4025", "4037", "4038"),
        *("4039", "4042", "4079", "4151"),
    ]
)

SQLITE_DATA = re.compile(
    "malformed JSON|bad JSON path|integer overflow|datatype mismatch|constraint failed|out of range|JSON",
    re.I,
)

# Faults to put into the guarded text, so that one can see that the oracle finds them.
FAULTS = {
    "sqlite": {
        "barrier": (r" LIMIT -1\)", ")"),
        "masks": (r"\('\*\*\*-\*\*-' \|\| substr\(`_rf_r`\.`ssn`, \(- 4\)\)\)", "`_rf_r`.`ssn`"),
        "rows": (r"`_rf_r`\.`tenant_id` = \?", "? IS NOT NULL"),
        "writes": (r"`_rf_t`\.`tenant_id` = \?", "? IS NOT NULL"),
    },
    "mysql": {
        "barrier": (r" LIMIT 18446744073709551615\)", ")"),
        "masks": (r"concat\('\*\*\*-\*\*-', right\(`_rf_r`\.`ssn`, 4\)\)", "`_rf_r`.`ssn`"),
        "rows": (r"`_rf_r`\.`tenant_id` = \?", "? IS NOT NULL"),
        "writes": (r"`_rf_t`\.`tenant_id` = \?", "? IS NOT NULL"),
    },
}


class Sides(Protocol):
    """The databases of one dialect. Everything runs in transactions that are rolled back."""

    dialect: str
    catalog: dict[str, Any]
    policy: bytes
    schemas: dict[str, Schema]

    def isolated(self, principal: str, sql: str, *, writes: bool) -> tuple[Outcome, State | None]:
        """The oracle's answer, and what the principal sees after a write."""
        ...

    def guarded(
        self, principal: str, guarded: Guarded, *, cleaned: bool = False
    ) -> tuple[Outcome, State | None, list[str]]:
        """The guarded text's, and what changed of what is invisible. Cleaned: without invisible rows."""
        ...

    def is_data_error(self, outcome: Outcome) -> bool: ...


class SqliteSides:
    """In memory, from the corpus' files."""

    dialect = "sqlite"

    def __init__(self, world: SqliteWorld) -> None:
        self.oracle = SqliteOracle(world)
        self.policy = world.policy()
        self._shared = in_memory(world.shared)
        self._isolated = {principal: in_memory(world.isolated(principal)) for principal in PRINCIPALS}
        self._cleaned: dict[str, sqlite3.Connection] = {}
        self._path = world.shared
        self.catalog = sqlite_catalog(self._rows(self._shared))
        self.schemas = {
            principal: read_schema(
                principal,
                sqlite_catalog(self._rows(connection)),
                self.catalog,
                (self._rows(connection), self._rows(self._shared)),
            )
            for principal, connection in self._isolated.items()
        }

    def isolated(self, principal: str, sql: str, *, writes: bool) -> tuple[Outcome, State | None]:
        connection = self._isolated[principal]
        with rolled_back(connection):
            outcome = limited(connection, sql, [])
            state = self.oracle.isolated_state(connection, principal) if writes and outcome.accepted else None
        return outcome, state

    def guarded(
        self, principal: str, guarded: Guarded, *, cleaned: bool = False
    ) -> tuple[Outcome, State | None, list[str]]:
        connection = self._clean(principal) if cleaned else self._shared
        with rolled_back(connection):
            outcome = limited(connection, guarded.sql, guarded.params)
            if not guarded.writes or not outcome.accepted or cleaned:
                return outcome, None, []
            faults = without_log(self.oracle.foreign_changes(connection, principal))
            return outcome, self.oracle.visible(connection, principal), faults

    def is_data_error(self, outcome: Outcome) -> bool:
        return not outcome.accepted and SQLITE_DATA.search(outcome.message) is not None

    def _clean(self, principal: str) -> sqlite3.Connection:
        if principal not in self._cleaned:
            connection = in_memory(self._path)
            connection.execute("PRAGMA foreign_keys = OFF")
            for removal in removals(self.oracle.views[principal]["foreign"]):
                connection.execute(removal)
            connection.execute("PRAGMA foreign_keys = ON")
            self._cleaned[principal] = connection
        return self._cleaned[principal]

    def _rows(self, connection: sqlite3.Connection) -> Callable[[str], list[tuple[Any, ...]]]:
        return lambda sql: connection.execute(sql).fetchall()


class MysqlSides:
    """Two sessions for each principal's database, and one on the shared one."""

    dialect = "mysql"

    def __init__(self, world: MysqlWorld) -> None:
        self.oracle = MysqlOracle(world)
        # The guard's example has no connection whose database names without a schema could mean.
        self.policy = b"search_schemas: [shared]\n" + world.policy()
        self._shared = world.connect("shared")
        self._isolated = {principal: world.connect(f"iso_{principal}") for principal in PRINCIPALS}
        rows = world.server.rows
        self.catalog = mysql_catalog(rows, "shared")
        self.schemas = {
            principal: read_schema(
                principal,
                mysql_catalog(rows, f"iso_{principal}"),
                self.catalog,
                (partial(rows, database=f"iso_{principal}"), partial(rows, database="shared")),
            )
            for principal in PRINCIPALS
        }

    def isolated(self, principal: str, sql: str, *, writes: bool) -> tuple[Outcome, State | None]:
        session = self._isolated[principal]
        with transaction(session, PLAIN, f"iso_{principal}"):
            outcome = mysql_world.run(session, sql.encode())
            if not writes or not outcome.accepted:
                return outcome, None
            session.query("SET sql_mode = 'ANSI_QUOTES'")
            changed = self.oracle.changed(f"iso_{principal}", session)
            return outcome, self._state(principal, self.oracle.isolated_state(principal, session, changed))

    def guarded(
        self, principal: str, guarded: Guarded, *, cleaned: bool = False
    ) -> tuple[Outcome, State | None, list[str]]:
        session = self._shared
        with transaction(session, FENCED, "shared"):
            if cleaned:
                for removal in removals(self.oracle.views[principal]["foreign"]):
                    session.query(removal)
            outcome = mysql_world.run(session, bound(guarded.sql, guarded.params).encode())
            if not guarded.writes or not outcome.accepted or cleaned:
                return outcome, None, []
            changed = self.oracle.changed("shared", session)
            faults = without_log(self.oracle.foreign_changes(principal, session, changed))
            return outcome, self._state(principal, self.oracle.visible(principal, session, changed)), faults

    def _state(self, principal: str, changed: State) -> State:
        return {**self.oracle.pristine(principal), **changed}

    def is_data_error(self, outcome: Outcome) -> bool:
        return not outcome.accepted and outcome.sqlstate in MYSQL_DATA


def without_log(faults: list[str]) -> list[str]:
    """A trigger of the fixture writes to that log, also for those who do not see it."""
    return [fault for fault in faults if fault != "foreign rows of audit_log changed"]


@contextmanager
def rolled_back(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def transaction(session: Session, settings: str, database: str) -> Iterator[None]:
    session.ping(reconnect=True)
    session.decoders = {}
    session.select_db(database)
    session.query(settings)
    session.query("START TRANSACTION")
    try:
        yield
    finally:
        session.rollback()


def limited(connection: sqlite3.Connection, sql: str, params: Sequence[Any]) -> Outcome:
    """As the corpus runs it; parameters may be numbers."""
    return sqlite_world.run(connection, sql.encode(), list(params))


PIECES = re.compile(r"'(?:[^']|'')*'|`[^`]*`|\?", re.S)


def bound(sql: str, params: Sequence[Any]) -> str:
    """The guard's text with literals for its marks, in a session where a backslash is a letter."""

    def literal(value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bool | int | float):
            return str(value)
        return "'" + str(value).replace("'", "''") + "'"

    return mysql_world.marks_replaced(sql, PIECES, map(literal, params))


def removals(foreign: dict[str, str]) -> list[str]:
    """Statements that delete what a principal can't see. Rows that hang on others go first."""
    first = ("shipments", "order_items", "document_shares", "invoice_lines", '"Order Notes"')
    tables = sorted(foreign, key=lambda table: table not in first)
    kept = ("order_totals", "tenant_revenue", "audit_log")
    statements = [foreign[table] for table in tables if table not in kept and table not in RENAMED]
    return [renamed(re.sub(r"^SELECT \* FROM", "DELETE FROM", sql)) for sql in statements]


@contextmanager
def open_sides(dialect: str) -> Iterator[Sides]:
    """The databases of that dialect."""
    if dialect == "sqlite":
        with SqliteWorld() as files:
            yield SqliteSides(files)
    else:
        with MysqlWorld() as server:
            yield MysqlSides(server)
