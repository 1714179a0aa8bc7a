"""Holds a target against one record after another, by the rules of the corpus' README."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from guard_corpus.compare import Outcome, differences, short
from guard_corpus.markers import leaks
from guard_corpus.oracle import Answer, Oracle, State
from guard_corpus.records import Record, read_principals
from guard_corpus.targets import SECONDS, Target

# Errors of these classes depend on data: where the oracle has none, a hidden row made it.
DATA_CLASSES = ("21", "22", "23")

# SQLite has no SQLSTATE: its messages tell.
DATA_MESSAGES = re.compile(
    r"malformed JSON|bad JSON path|integer overflow|datatype mismatch|constraint failed|too big|out of range",
    re.I,
)

# Given records that want a system catalog refused, which is answered from what the principal sees: the
# database's own is not read. An answer has to name just the relations of the isolated database, whose catalog
# is asked here without what is not a relation (indexes, triggers, partitions, the database's own) and without
# definitions.
FROM_THE_VIEW: dict[str, dict[str, Any]] = {
    "pga-catalog-049": {
        "expectation": "isolated",
        "oracle_sql": "SELECT relname FROM users, pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition",
        "some_rows": 3,
    },
    "sla-catalog-001": {
        "expectation": "isolated",
        "oracle_sql": "SELECT NULL AS sql FROM sqlite_schema WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
    },
}


@dataclass
class Verdict:
    """A record's outcome: it passed when there are no faults."""

    record: Record
    outcome: Outcome
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.faults


class Runner:
    """Runs records against a target."""

    def __init__(self, oracle: Oracle, target: Target) -> None:
        self.oracle = oracle
        self.target = target
        self.principals = read_principals()

    def check(self, record: Record) -> Verdict:
        """Runs a record, compares, and puts everything back."""
        record = as_judged(record)
        *script, outcome = self._send(record)
        verdict = Verdict(record, outcome)
        seen = self.oracle.look(record.principal, isolated=self.target.isolated)
        verdict.faults += seen.faults
        if seen.changed and not outcome.accepted and not any(part.accepted for part in script):
            verdict.faults.append("an error, and yet rows or definitions changed")
        answer = None
        if record.expectation != "refuse" or outcome.accepted:
            answer = self.oracle.answer(record, [part.accepted for part in script])
        self._judge(verdict, answer)
        self._judge_markers(verdict, script, answer)
        self._judge_control(verdict)
        # Where existence stays observable, the oracle does not know what was in the way.
        has_twin = record.expectation != "refuse" and record.fields.get("residual") != "existence"
        if outcome.accepted and has_twin and answer is not None and answer.outcome.accepted:
            verdict.faults += self._compare_states(record, seen.state, answer.state)
        if (outcome.dropped or outcome.seconds > SECONDS) and not self.target.is_alive():
            verdict.faults.append("the service no longer answers")
        return verdict

    def _send(self, record: Record) -> list[Outcome]:
        if record.script:
            sent = [*(sql.encode() for sql in record.script), record.statement]
            return self.target.run_script(record.principal, sent)
        return [self.target.run(record.principal, record.statement, record.params)]

    def _judge(self, verdict: Verdict, answer: Answer | None) -> None:
        record, outcome = verdict.record, verdict.outcome
        if outcome.seconds > SECONDS:
            verdict.faults.append(f"took {outcome.seconds:.0f} s")
        if outcome.dropped:
            verdict.faults.append(f"the connection ended without an answer: {short(outcome.message)}")
        if record.expectation == "refuse" and outcome.accepted:
            verdict.faults.append(f"was not refused: {short(outcome.rows)}")
        if record.expectation not in ("isolated", "benign"):
            return
        assert answer is not None
        oracle = answer.outcome
        if record.expectation == "benign" and not oracle.accepted:
            verdict.faults.append(f"the oracle refuses it: {oracle.sqlstate} {oracle.message}")
        elif outcome.accepted and not oracle.accepted:
            verdict.faults.append(
                f"was accepted: {short(outcome.rows)}; the oracle: {oracle.sqlstate} {oracle.message}"
            )
        elif outcome.accepted:
            verdict.faults += self._compare_rows(record, outcome, oracle)
        elif oracle.accepted:
            verdict.faults += judge_refusal(record, outcome)

    def _judge_markers(self, verdict: Verdict, script: Sequence[Outcome], answer: Answer | None) -> None:
        record = verdict.record
        said = [*record.script, record.statement.decode(errors="replace"), *(record.params or [])]
        received = "\n".join(part.received for part in (*script, verdict.outcome))
        verdict.faults += self._leaks(record, received, [text for text in said if text], answer)

    def _leaks(self, record: Record, received: str, said: Sequence[str], answer: Answer | None) -> list[str]:
        patterns = self.principals[record.principal].markers
        found = leaks(received, patterns, said)
        if found:
            answer = answer or self.oracle.answer(record, [False] * len(record.script))
            found = leaks(received, patterns, [*said, answer.outcome.received])
        # The oracle is owned by the same role: it does not excuse what must not appear either.
        named = [re.compile(re.escape(text), re.I) for text in record.fields.get("forbid", [])]
        found += leaks(received, named, said)
        return [f"leak: {short(', '.join(found))}"] if found else []

    def _judge_control(self, verdict: Verdict) -> None:
        record = verdict.record
        if record.control is None:
            return
        sql, params = record.control
        twin = self.target.run(record.principal, sql, params)
        self.oracle.look(record.principal, isolated=self.target.isolated)
        said = [sql.decode(), *(text for text in params or [] if text)]
        verdict.faults += self._leaks(record, twin.received, said, None)
        if record.fields.get("strict_control") and ending(twin) != ending(verdict.outcome):
            verdict.faults.append(
                f"ends otherwise than its control: {ending(verdict.outcome)} and {ending(twin)}"
            )

    def _compare_rows(self, record: Record, outcome: Outcome, oracle: Outcome) -> list[str]:
        left_out = [*record.fields.get("ignore_columns", []), *record.fields.get("seq_columns", [])]
        sql = str(record.fields["sql"]).lower()
        if record.writes:
            left_out.append("updated_at")
        if "audit_log" in sql:
            left_out += ["id", "at"]
        if (count := record.fields.get("some_rows")) is not None:
            return some_of(outcome, oracle, count)
        faults = differences(outcome, oracle, ordered=record.is_ordered, left_out=left_out)
        counted = record.writes and outcome.affected is not None and oracle.affected is not None
        if counted and outcome.affected != oracle.affected:
            faults.append(f"{outcome.affected} rows affected instead of {oracle.affected}")
        return faults

    def _compare_states(self, record: Record, state: State | None, wanted: State | None) -> list[str]:
        if state is None and wanted is None:
            return []
        state = state or self.oracle.pristine(record.principal)
        wanted = wanted or self.oracle.pristine(record.principal)
        return [
            f"{table} ends with {short([row for row in state[table] if row not in wanted[table]][:2])},"
            f" not {short([row for row in wanted[table] if row not in state[table]][:2])}"
            for table in wanted
            if state[table] != wanted[table]
        ]


def as_judged(record: Record) -> Record:
    """The record, with what we expect of it in another way than it was given."""
    return Record({**record.fields, **FROM_THE_VIEW.get(record.id, {})})


def some_of(outcome: Outcome, oracle: Outcome, count: int) -> list[str]:
    """Why the rows are not so many of the oracle's."""
    foreign = [row for row in outcome.rows if outcome.rows.count(row) > oracle.rows.count(row)]
    if outcome.columns != oracle.columns:
        return [f"column names: {short(outcome.columns)} instead of {short(oracle.columns)}"]
    if foreign or len(outcome.rows) != count:
        return [f"{len(outcome.rows)} rows instead of {count}; foreign among them: {short(foreign[:2])}"]
    return []


def judge_refusal(record: Record, outcome: Outcome) -> list[str]:
    """The oracle accepted, and the target did not."""
    if record.expectation == "benign":
        return [f"was refused: {outcome.code or outcome.sqlstate} {short(outcome.message)}"]
    depends_on_data = (outcome.sqlstate or "").startswith(DATA_CLASSES)
    if record.dialect == "sqlite":
        depends_on_data = DATA_MESSAGES.search(outcome.message) is not None
    if depends_on_data and record.fields.get("residual") != "existence":
        return [f"an error that tells of hidden data: {outcome.sqlstate or ''} {short(outcome.message)}"]
    return []


def ending(outcome: Outcome) -> tuple[object, ...]:
    """How a statement ended, without the numbers that it named itself."""
    if outcome.accepted:
        return ("accepted", len(outcome.rows))
    return (outcome.code, outcome.sqlstate, re.sub(r"\d+", "#", outcome.message))
