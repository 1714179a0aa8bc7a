"""The oracle of SQLite records."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from guard_corpus.oracle import Answer, Seen, State
from guard_corpus.records import PRINCIPALS, Record, read_state_views
from guard_corpus.sqlite_world import SqliteWorld, run
from guard_corpus.state_views import NOT_COMPARED, foreign_changes, renamed, selected, visible_rows


class SqliteOracle:
    """Isolated files. They are read into memory, so that nothing has to be put back."""

    def __init__(self, world: SqliteWorld) -> None:
        self.world = world
        self.views = read_state_views()
        self._before = {path: contents(path) for path in self._files()}
        self._kept = {path: in_memory(path) for path in self._files()}
        self._plain = {principal: self._plain_columns(principal) for principal in PRINCIPALS}
        shared = self._kept[world.shared]
        self._foreign_before = {principal: self._foreign(shared, principal) for principal in PRINCIPALS}
        self._hidden_before = {principal: self._hidden(shared, principal) for principal in PRINCIPALS}

    def check_pairs(self) -> list[str]:
        """Each table that a principal sees has at least its key in clear, and as many rows on both sides."""
        faults = []
        for principal, tables in self._plain.items():
            visible = self.visible(self._kept[self.world.shared], principal)
            for table, columns in tables.items():
                if not columns or visible[table] != self.pristine(principal)[table]:
                    faults.append(f"{principal}: {table}")
        return faults

    def look(self, principal: str, *, isolated: bool) -> Seen:
        """What changed in the target's file, which is then put back."""
        path = self.world.isolated(principal) if isolated else self.world.shared
        now = contents(path)
        if now == self._before[path]:
            return Seen()
        seen = Seen(changed=True)
        if now[0] != self._before[path][0]:
            seen.faults.append("definitions changed")
        elif isolated:
            seen.state = self.isolated_state(path, principal)
        else:
            seen.state = self.visible(path, principal)
            seen.faults += self.foreign_changes(path, principal)
        with sqlite3.connect(path, timeout=10) as connection:
            self._kept[path].backup(connection)
        connection.close()
        assert contents(path) == self._before[path], "the file could not be put back"
        return seen

    def answer(self, record: Record, script: Sequence[bool]) -> Answer:
        """Runs on a copy in memory."""
        connection = in_memory(self.world.isolated(record.principal))
        for sql, ran in zip(record.script, script, strict=True):
            if ran:
                run(connection, sql.encode())
        outcome = run(connection, record.asked_of_oracle, record.params)
        state = None
        if record.writes and outcome.accepted and record.expectation != "refuse":
            state = self.isolated_state(connection, record.principal)
        connection.close()
        return Answer(outcome, state)

    def pristine(self, principal: str) -> State:
        """What the isolated file held."""
        return self.isolated_state(self._kept[self.world.isolated(principal)], principal)

    def _files(self) -> list[Path]:
        return [self.world.shared, *(self.world.isolated(principal) for principal in PRINCIPALS)]

    def _plain_columns(self, principal: str) -> dict[str, list[str]]:
        """The columns that nothing masks: those whose values are the same on both sides."""
        shared = self._kept[self.world.shared]
        isolated = self._kept[self.world.isolated(principal)]
        plain: dict[str, list[str]] = {}
        for table in self.views[principal]["iso"]:
            names = [row[1] for row in isolated.execute(f"PRAGMA table_xinfo({table})")]
            plain[table] = [
                name
                for name in names
                if name not in NOT_COMPARED.get(table, ())
                and read(shared, selected([name], visible_rows(self.views[principal], table)))
                == read(isolated, selected([name], table))
            ]
        return plain

    def visible(self, source: "Path | sqlite3.Connection", principal: str) -> State:
        """The rows of the shared database that the principal sees."""
        return {
            table: read(source, selected(columns, visible_rows(self.views[principal], table)))
            for table, columns in self._plain[principal].items()
        }

    def isolated_state(self, source: "Path | sqlite3.Connection", principal: str) -> State:
        """The same of the isolated one."""
        return {
            table: read(source, selected(columns, table)) for table, columns in self._plain[principal].items()
        }

    def _foreign(self, source: "Path | sqlite3.Connection", principal: str) -> State:
        return {table: read(source, renamed(sql)) for table, sql in self.views[principal]["foreign"].items()}

    def _hidden(self, source: "Path | sqlite3.Connection", principal: str) -> dict[str, dict[Any, Any]]:
        return {
            table: {row[: hidden["pk"]]: row[hidden["pk"] :] for row in read(source, hidden["sql"])}
            for table, hidden in self.views[principal]["hidden"].items()
        }

    def foreign_changes(self, source: "Path | sqlite3.Connection", principal: str) -> list[str]:
        """What changed that the principal does not see."""
        return foreign_changes(
            self._foreign_before[principal],
            self._foreign(source, principal),
            self._hidden_before[principal],
            self._hidden(source, principal),
        )


def in_memory(path: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with sqlite3.connect(path) as connection:
        connection.backup(memory)
    connection.close()
    memory.execute("PRAGMA foreign_keys = ON")
    return memory


def contents(path: Path) -> tuple[list[Any], dict[str, list[Any]]]:
    """Definitions, and all rows of all tables."""
    connection = sqlite3.connect(path, timeout=10)
    # The pages where tables begin move when the file is put back.
    definitions = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"
    ).fetchall()
    tables = {
        name: read(connection, f'SELECT * FROM "{name}"')
        for kind, name, _, sql in definitions
        if kind == "table"
        and sql
        and not sql.startswith("CREATE VIRTUAL")
        and not name.startswith("doc_search_")
    }
    connection.close()
    return definitions, tables


def read(source: "Path | sqlite3.Connection", sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(source, timeout=10) if isinstance(source, Path) else source
    try:
        found: Iterable[tuple[object, ...]] = connection.execute(sql).fetchall()
        return sorted(found, key=repr)
    finally:
        if isinstance(source, Path):
            connection.close()
