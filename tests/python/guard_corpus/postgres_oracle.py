"""The oracle of PostgreSQL records."""

import re
from collections.abc import Sequence
from typing import Any

from guard_corpus.oracle import Answer, Seen, State
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import Record, read_state_views
from guard_corpus.session import Session
from guard_corpus.targets import SECONDS

TRANSACTION_CONTROL = re.compile(r"\s*(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|PREPARE\s+TRANSACTION)\b", re.I)


class PostgresOracle:
    """Isolated databases, and the queries that tell the state."""

    def __init__(self, world: PostgresWorld) -> None:
        self.world = world
        self.views = read_state_views()
        self._foreign_before = {principal: self._foreign(principal) for principal in self.views}
        self._hidden_before = {principal: self._hidden(principal) for principal in self.views}

    def check_pairs(self) -> list[str]:
        """The 71 pairs of the corpus."""
        faults, pairs = [], 0
        for principal, views in self.views.items():
            assert views["visible"].keys() == views["iso"].keys()
            for table in views["visible"]:
                pairs += 1
                visible = rows(self.world.shared.session, views["visible"][table])
                isolated = rows(self.world.isolated[principal].session, views["iso"][table])
                if visible != isolated:
                    faults.append(f"{principal}: {table}")
        return faults if pairs == 71 else [*faults, f"{pairs} pairs instead of 71"]

    def look(self, principal: str, *, isolated: bool) -> Seen:
        """What changed on the target's database, which is then put back."""
        database = self.world.isolated[principal] if isolated else self.world.shared
        now = database.fingerprint()
        seen = Seen(changed=database.changed_rows(now))
        if seen.changed and now.schema != database.pristine.schema:
            seen.faults.append("definitions changed")
        elif seen.changed:
            seen.state = self._visible(principal, database.session, "iso" if isolated else "visible")
            if not isolated:
                seen.faults += self._foreign_changes(principal)
        database.restore(now)
        return seen

    def answer(self, record: Record, script: Sequence[bool]) -> Answer:
        """Runs in a transaction that is rolled back; sequences are set back after it."""
        database = self.world.isolated[record.principal]
        with Session(self.world.dsn(database.name), SECONDS) as session:
            session.texts("BEGIN")
            for sql, ran in zip(record.script, script, strict=True):
                # What the target refused has not happened. Each commits by itself, so a fault undoes itself.
                if ran and not TRANSACTION_CONTROL.match(sql):
                    session.texts("SAVEPOINT script")
                    if not session.run(sql.encode()).accepted:
                        session.texts("ROLLBACK TO script")
            outcome = session.run(record.asked_of_oracle, record.params)
            state = None
            if record.writes and outcome.accepted and record.expectation != "refuse":
                state = self._visible(record.principal, session, "iso")
            stayed = session.in_transaction()
        if stayed:
            database.restore_sequences()
        else:
            database.restore(database.fingerprint())
        return Answer(outcome, state)

    def pristine(self, principal: str) -> State:
        """Both sides hold it, as the self-check knows."""
        return self._visible(principal, self.world.isolated[principal].session, "iso")

    @staticmethod
    def _differs(table: str, before: State, now: State) -> bool:
        """A trigger of the owner writes the audit log for whoever changes an order: there rows may be new."""
        if table == "audit_log":
            return any(row not in now[table] for row in before[table])
        return before[table] != now[table]

    def _visible(self, principal: str, session: Session, kind: str) -> State:
        return {table: rows(session, sql) for table, sql in self.views[principal][kind].items()}

    def _foreign(self, principal: str) -> State:
        session = self.world.shared.session
        return {table: rows(session, sql) for table, sql in self.views[principal]["foreign"].items()}

    def _hidden(self, principal: str) -> dict[str, dict[Any, Any]]:
        found: dict[str, dict[Any, Any]] = {}
        for table, hidden in self.views[principal]["hidden"].items():
            key = hidden["pk"]
            read = rows(self.world.shared.session, hidden["sql"])
            found[table] = {row[:key]: row[key:] for row in read}
        return found

    def _foreign_changes(self, principal: str) -> list[str]:
        before, now = self._foreign_before[principal], self._foreign(principal)
        faults = [f"foreign rows of {table} changed" for table in before if self._differs(table, before, now)]
        for table, values in self._hidden(principal).items():
            known = self._hidden_before[principal][table]
            if any(known.get(key, value) != value for key, value in values.items()):
                faults.append(f"hidden columns of {table} changed")
        return faults


def rows(session: Session, sql: str) -> list[tuple[object, ...]]:
    found = session.texts(sql)
    return [*sorted(found, key=lambda row: tuple((value is not None, value or "") for value in row))]
