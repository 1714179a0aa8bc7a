"""Runs what the example binary makes of a statement, and holds it to what the engine would."""

from collections.abc import Sequence

from guard_corpus.compare import Outcome
from guard_corpus.oracle import Answer, Seen, State
from guard_corpus.postgres_oracle import PostgresOracle
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import Record
from guard_corpus.session import Session
from guard_oracle.guard_process import Guarded, GuardProcess
from guard_oracle.judge import REFUSED

# A broken guard may let a statement through that does not end.
SECONDS = 10.0


class GuardTarget:
    """The guard without a server in front of it."""

    isolated = False

    def __init__(self, world: PostgresWorld, guard: GuardProcess) -> None:
        self.guard = guard
        # Whether anything ran since it was looked at that could change rows.
        self.wrote = False
        self._dsn = world.dsn("shared")
        # Reads look names up nowhere but in the database's own schema; changes keep the owner's path.
        self._reads = self._dsn.replace("-c timezone=UTC", "-c timezone=UTC -c search_path=pg_catalog")

    def run(self, principal: str, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
        try:
            text = sql.decode()
        except UnicodeDecodeError:
            # The server refuses the request.
            return Outcome(accepted=False, code="invalid_request", message="no UTF-8")
        guarded = self.guard.guard(principal, text, params or [])
        if guarded.refused is not None:
            return Outcome(accepted=False, code="refused", message=guarded.refused, received=guarded.refused)
        with Session(self._dsn if guarded.writes else self._reads, SECONDS) as session:
            self.wrote |= guarded.writes
            session.texts("BEGIN" if guarded.writes else "BEGIN READ ONLY")
            outcome = held(session.run(guarded.sql.encode(), guarded.params), guarded)
            session.texts("COMMIT" if outcome.accepted and guarded.writes else "ROLLBACK")
        return outcome

    def run_script(self, principal: str, script: Sequence[bytes]) -> list[Outcome]:
        return [self.run(principal, sql) for sql in script]

    def is_alive(self) -> bool:
        return True


def held(outcome: Outcome, guarded: Guarded) -> Outcome:
    """What the engine makes of an ending: the check, the budget of rows, and errors without values."""
    if not outcome.accepted:
        if REFUSED in outcome.message or outcome.sqlstate == "23503":
            # A new row that may not stand looks alike whatever finds it.
            return Outcome(accepted=False, code="row_refused", sqlstate="44000")
        if (outcome.sqlstate or "").startswith(("22", "23")):
            # The engine says in words of its own what was wrong.
            outcome.message = outcome.received = ""
        return outcome
    if guarded.max_rows is not None and (outcome.affected or 0) > guarded.max_rows:
        return Outcome(accepted=False, code="too_many_rows")
    if guarded.has_check:
        if not all(row[-1] is True for row in outcome.rows):
            return Outcome(accepted=False, code="row_refused", sqlstate="44000")
        outcome.columns.pop()
        outcome.types.pop()
        for row in outcome.rows:
            row.pop()
    if not guarded.returns:
        outcome.columns, outcome.types, outcome.rows = [], [], []
    return outcome


class RememberedOracle(PostgresOracle):
    """Every broken guard is asked the same, so that the oracle has to answer once only."""

    def __init__(self, world: PostgresWorld) -> None:
        super().__init__(world)
        self.target: GuardTarget | None = None
        self._answers: dict[tuple[str, tuple[bool, ...]], Answer] = {}
        self._pristine: dict[str, State] = {}

    def look(self, principal: str, *, isolated: bool) -> Seen:
        """Where all ran in transactions that only read, there is nothing to be found and put back."""
        if self.target is not None and not self.target.wrote:
            return Seen(changed=False)
        seen = super().look(principal, isolated=isolated)
        if self.target is not None:
            self.target.wrote = False
        return seen

    def answer(self, record: Record, script: Sequence[bool]) -> Answer:
        key = record.id, tuple(script)
        if key not in self._answers:
            self._answers[key] = super().answer(record, script)
        return self._answers[key]

    def pristine(self, principal: str) -> State:
        if principal not in self._pristine:
            self._pristine[principal] = super().pristine(principal)
        return self._pristine[principal]
