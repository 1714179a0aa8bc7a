"""The oracle of MySQL records."""

from collections.abc import Sequence
from typing import Any

from guard_corpus.mysql_world import NEXT_ID, MysqlWorld, Session, run
from guard_corpus.oracle import Answer, Seen, State
from guard_corpus.records import PRINCIPALS, Record, read_state_views
from guard_corpus.state_views import NOT_COMPARED, RENAMED, foreign_changes, renamed, selected, visible_rows

# What the fixture of MySQL does not have.
ABSENT = frozenset({"tenant_revenue"})

DEFINITIONS = (
    "SELECT 'column', table_name, column_name, column_type, extra FROM information_schema.columns"
    " WHERE table_schema = '{0}'"
    " UNION ALL SELECT 'view', table_name, view_definition, '', '' FROM information_schema.views"
    " WHERE table_schema = '{0}'"
    " UNION ALL SELECT 'trigger', trigger_name, action_statement, '', '' FROM information_schema.triggers"
    " WHERE trigger_schema = '{0}'"
    " UNION ALL SELECT 'routine', routine_name, routine_definition, '', '' FROM information_schema.routines"
    " WHERE routine_schema = '{0}'"
    " UNION ALL SELECT 'database', schema_name, '', '', '' FROM information_schema.schemata"
    " ORDER BY 1, 2, 3, 4, 5"
)

Rows = list[tuple[Any, ...]]


class MysqlOracle:
    """Isolated databases, and a copy of every table's rows to put back."""

    def __init__(self, world: MysqlWorld) -> None:
        self.world = world
        self.views = read_state_views()
        # ANSI_QUOTES, for the names in the queries that came with the corpus.
        self._session = world.server.connect()
        self._session.query("SET sql_mode = 'ANSI_QUOTES', time_zone = '+00:00', @iso_restoring = 1")
        self._tables = {name: world.tables(name) for name in world.names()}
        self._counted = {name: self._auto_increments(name) for name in world.names()}
        for name in world.names():
            self._copy(name)
        self._definitions = {name: self._read(DEFINITIONS.format(name)) for name in world.names()}
        self._summing = {name: self._summing_query(name) for name in world.names()}
        self._sums = {name: self._checksums(name) for name in world.names()}
        self._plain = {principal: self._plain_columns(principal) for principal in PRINCIPALS}
        self._foreign_before = {principal: self._foreign(principal) for principal in PRINCIPALS}
        self._hidden_before = {principal: self._hidden(principal) for principal in PRINCIPALS}
        self._pristine = {principal: self.isolated_state(principal) for principal in PRINCIPALS}

    def check_pairs(self) -> list[str]:
        """Each table that a principal sees has at least its key in clear, and as many rows on both sides."""
        return [
            f"{principal}: {table}"
            for principal, tables in self._plain.items()
            for table, columns in tables.items()
            if not columns or self.visible(principal)[table] != self.pristine(principal)[table]
        ]

    def look(self, principal: str, *, isolated: bool) -> Seen:
        """What changed on the target's database, which is then put back."""
        name = self.world.database(principal, isolated=isolated)
        changed_definitions = self._read(DEFINITIONS.format(name)) != self._definitions[name]
        changed = [] if changed_definitions else self.changed(name)
        seen = Seen(changed=changed_definitions or bool(changed))
        if changed_definitions:
            seen.faults.append("definitions changed")
            self.world.recreate(name)
            return seen
        if changed and isolated:
            seen.state = self.isolated_state(principal)
        elif changed:
            seen.state = self.visible(principal)
            seen.faults += self.foreign_changes(principal)
        self._restore(name, changed)
        return seen

    def answer(self, record: Record, script: Sequence[bool]) -> Answer:
        """Runs on the isolated database, which is then put back."""
        name = self.world.isolated_name(record.principal)
        connection = self.world.connect(name)
        try:
            for sql, ran in zip(record.script, script, strict=True):
                if ran:
                    run(connection, sql.encode())
            outcome = run(connection, record.asked_of_oracle, record.params)
        finally:
            connection.close()
        state = None
        changed = self.changed(name) if record.writes or record.script else []
        if record.writes and outcome.accepted and record.expectation != "refuse":
            state = self.isolated_state(record.principal)
        self._restore(name, changed)
        return Answer(outcome, state)

    def pristine(self, principal: str) -> State:
        """What the isolated database held."""
        return self._pristine[principal]

    def _read(self, sql: str, database: str = "mysql", session: Session | None = None) -> Rows:
        session = session or self._session
        session.select_db(database)
        # Sessions of targets leave values as the server sent them.
        session.decoders = self._session.decoders
        with session.cursor() as cursor:
            cursor.execute(sql)
            return sorted(cursor.fetchall(), key=repr)

    def _do(self, sql: str) -> None:
        with self._session.cursor() as cursor:
            cursor.execute(sql)

    def _auto_increments(self, name: str) -> set[str]:
        counted = (
            "SELECT table_name FROM information_schema.columns WHERE extra LIKE '%auto_increment%'"
            f" AND table_schema = '{name}'"
        )
        return {table for (table,) in self._read(counted)}

    def _copy(self, name: str) -> None:
        """Keeps the rows of each table in a database that no target knows of."""
        self._do(f"CREATE DATABASE {name}_pristine")
        for table in self._tables[name]:
            self._do(f"CREATE TABLE {name}_pristine.`{table}` AS SELECT * FROM {name}.`{table}`")

    def _summing_query(self, name: str) -> str:
        """CHECKSUM TABLE would do, but for tables with generated columns its sum is another each time."""
        parts = []
        for table in self._tables[name]:
            values = ", ".join(f"coalesce(hex(`{column}`), '-')" for column in self._plain_names(name, table))
            parts.append(
                f"SELECT '{table}', count(*),"
                f" coalesce(bit_xor(conv(left(md5(concat_ws('/', {values})), 15), 16, 10)), 0)"
                f" FROM {name}.`{table}`"
            )
        return " UNION ALL ".join(parts)

    def _checksums(self, name: str, session: Session | None = None) -> dict[str, Any]:
        return {table: sums for table, *sums in self._read(self._summing[name], name, session)}

    def changed(self, name: str, session: Session | None = None) -> list[str]:
        """The tables that are not as they were."""
        now = self._checksums(name, session)
        return [table for table, total in self._sums[name].items() if now[table] != total]

    def _restore(self, name: str, changed: Sequence[str]) -> None:
        if changed:
            self._refill(name, changed)
            still = self.changed(name)
            assert not still, f"{name} could not be put back: {still}"

    def _refill(self, name: str, tables: Sequence[str]) -> None:
        for table in tables:
            listed = ", ".join(f"`{column}`" for column in self._plain_names(name, table))
            self._do(f"TRUNCATE {name}.`{table}`")
            self._do(
                f"INSERT INTO {name}.`{table}` ({listed}) SELECT {listed} FROM {name}_pristine.`{table}`"
            )
        for table in self._counted[name]:
            self._do(f"ALTER TABLE {name}.`{table}` AUTO_INCREMENT = {NEXT_ID}")

    def _plain_names(self, name: str, table: str) -> list[str]:
        """The columns that are not generated."""
        listed = (
            "SELECT ordinal_position, column_name FROM information_schema.columns"
            f" WHERE table_schema = '{name}' AND table_name = '{table}' AND is_generated = 'NEVER'"
        )
        return [column for _, column in self._read(listed)]

    def _plain_columns(self, principal: str) -> dict[str, list[str]]:
        """The columns that nothing masks: those whose values are the same on both sides."""
        isolated = self.world.isolated_name(principal)
        plain: dict[str, list[str]] = {}
        for table in self.views[principal]["iso"]:
            if table in ABSENT:
                continue
            listed = (
                "SELECT column_name FROM information_schema.columns"
                f" WHERE table_schema = '{isolated}' AND table_name = '{table.strip(chr(34))}'"
            )
            plain[table] = [
                name
                for (name,) in self._read(listed)
                if name not in NOT_COMPARED.get(table, ())
                and self._read(selected([name], visible_rows(self.views[principal], table)), "shared")
                == self._read(selected([name], table), isolated)
            ]
        return plain

    def visible(
        self, principal: str, session: Session | None = None, only: Sequence[str] | None = None
    ) -> State:
        """The rows of the shared database that the principal sees, in a session with ANSI_QUOTES."""
        return {
            table: self._read(
                selected(columns, visible_rows(self.views[principal], table)), "shared", session
            )
            for table, columns in self._plain[principal].items()
            if is_of(table, only)
        }

    def isolated_state(
        self, principal: str, session: Session | None = None, only: Sequence[str] | None = None
    ) -> State:
        """The same of the isolated one."""
        database = self.world.isolated_name(principal)
        return {
            table: self._read(selected(columns, table), database, session)
            for table, columns in self._plain[principal].items()
            if is_of(table, only)
        }

    def _foreign(
        self, principal: str, session: Session | None = None, only: Sequence[str] | None = None
    ) -> State:
        return {
            table: self._read(renamed(sql), "shared", session)
            for table, sql in self.views[principal]["foreign"].items()
            if table not in ABSENT and is_of(table, only)
        }

    def _hidden(self, principal: str, session: Session | None = None) -> dict[str, dict[Any, Any]]:
        return {
            table: {
                row[: hidden["pk"]]: row[hidden["pk"] :]
                for row in self._read(hidden["sql"], "shared", session)
            }
            for table, hidden in self.views[principal]["hidden"].items()
        }

    def foreign_changes(
        self, principal: str, session: Session | None = None, only: Sequence[str] | None = None
    ) -> list[str]:
        """What changed that the principal does not see."""
        return foreign_changes(
            self._foreign_before[principal],
            self._foreign(principal, session, only),
            self._hidden_before[principal],
            self._hidden(principal, session),
        )


def is_of(table: str, only: Sequence[str] | None) -> bool:
    """Whether a table of the state views is one of those; views are, as their tables are."""
    return only is None or table == "order_totals" or RENAMED.get(table, table.strip('"')) in only
