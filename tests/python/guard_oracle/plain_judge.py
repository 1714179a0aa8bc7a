"""The oracle's verdicts for SQLite and MySQL. What each means stands in docs/oracle.md."""

import re

from guard_corpus.compare import Outcome, differences, short
from guard_corpus.markers import leaks
from guard_corpus.oracle import State
from guard_corpus.records import read_principals

from guard_oracle.guard_process import Guarded
from guard_oracle.judge import DATA_CLASSES, REFUSED_BY_CHECK, Judgement, Statement, Verdict
from guard_oracle.plain_sides import Sides

# A write rule of the isolated database, which stands for a refusal or for a row that is skipped.
RULE = re.compile(r"^iso: ")


class PlainJudge:
    """Holds the guarded statement against the original on the isolated database."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.principals = read_principals()

    def judge(self, statement: Statement, guarded: Guarded) -> Judgement:
        """Runs both, and compares."""
        if guarded.crashed:
            return Judgement(Verdict.CRASH)
        oracle, wanted = self.sides.isolated(statement.principal, statement.sql, writes=statement.writes)
        if guarded.refused is not None:
            if oracle.accepted:
                return Judgement(Verdict.REFUSED, guarded.refused)
            return Judgement(self._fault_of(oracle), oracle.message)
        target, state, faults = self.sides.guarded(statement.principal, guarded)
        target = checked(target, guarded)
        if faults and target.accepted:
            return Judgement(Verdict.FOREIGN, "; ".join(faults))
        if leaked := self._leaked(statement, target, oracle):
            return Judgement(Verdict.MARKER, leaked)
        if target.accepted and not oracle.accepted:
            return self._accepted_alone(statement, guarded, target, oracle)
        if not oracle.accepted:
            return Judgement(self._fault_of(oracle), oracle.message)
        if not target.accepted:
            return self._failed_alone(statement, guarded, target)
        judgement = self._compare(statement, target, oracle)
        if judgement.verdict is Verdict.EQUAL and state is not None and wanted is not None:
            return compare_states(statement, state, wanted)
        return judgement

    def without_names(self, message: str) -> str:
        """An error of the oracle, so that like ones count as one."""
        return re.sub(r"'[^']*'|[\w.]+$|: .*", "_", message)

    def _fault_of(self, oracle: Outcome) -> Verdict:
        depends = self.sides.is_data_error(oracle) or RULE.search(oracle.message)
        return Verdict.BOTH_ERR if depends else Verdict.INVALID

    def _accepted_alone(
        self, statement: Statement, guarded: Guarded, target: Outcome, oracle: Outcome
    ) -> Judgement:
        # The guard skips the rows that a rule of the isolated database stands up for.
        if RULE.search(oracle.message):
            return Judgement(Verdict.CHECK, oracle.message)
        if self.sides.is_data_error(oracle) and self._agrees_without_the_invisible(
            statement, guarded, target
        ):
            return Judgement(Verdict.PLAN, oracle.message)
        return Judgement(
            Verdict.ACCEPTED, f"the oracle: {oracle.sqlstate} {oracle.message}; got {short(target.rows)}"
        )

    def _failed_alone(self, statement: Statement, guarded: Guarded, target: Outcome) -> Judgement:
        said = f"{target.sqlstate or ''} {target.message}"
        if target.message == REFUSED_BY_CHECK:
            return Judgement(Verdict.CHECK, said)
        if not self.sides.is_data_error(target):
            return Judgement(Verdict.BROKEN, said)
        taken = "UNIQUE" in target.message or target.sqlstate == "1062"
        if target.sqlstate == "1048" and guarded.null_when_taken is not None:
            taken |= f"'{guarded.null_when_taken}'" in target.message
        if statement.residual and (taken or "FOREIGN KEY" in target.message):
            return Judgement(Verdict.RESIDUAL, said)
        if self._agrees_without_the_invisible(statement, guarded, target):
            return Judgement(Verdict.PLAN, said)
        return Judgement(Verdict.TELLING, said)

    def _agrees_without_the_invisible(self, statement: Statement, guarded: Guarded, target: Outcome) -> bool:
        again = checked(self.sides.guarded(statement.principal, guarded, cleaned=True)[0], guarded)
        if again.accepted != target.accepted:
            return False
        return again.accepted or again.sqlstate == target.sqlstate

    def _compare(self, statement: Statement, target: Outcome, oracle: Outcome) -> Judgement:
        if statement.writes:
            target.rows, target.columns = oracle.rows, oracle.columns
        faults = differences(target, oracle, ordered=statement.ordered)
        if not faults:
            return Judgement(Verdict.EQUAL)
        # What a collation takes for the same: which of equal texts stands for a group is the plan's choice.
        if self.sides.dialect == "mysql" and target.columns == oracle.columns:
            one, other = folded(target), folded(oracle)
            if not differences(one, other, ordered=False):
                return Judgement(Verdict.PLAN, "another text that is equal by its collation")
        return Judgement(Verdict.DIFFERENT, "; ".join(faults))

    def _leaked(self, statement: Statement, target: Outcome, oracle: Outcome) -> str:
        patterns = self.principals[statement.principal].markers
        # Error texts of the database are not passed on, so only an answer can leak.
        if not target.accepted:
            return ""
        said = [statement.sql, oracle.received]
        return short(", ".join(leaks("\n".join([*target.columns, repr(target.rows)]), patterns, said)))


def checked(target: Outcome, guarded: Guarded) -> Outcome:
    """What the gateway makes of the column that says whether new rows may stand."""
    if not target.accepted or not guarded.has_check:
        return target
    if not all(row[-1] in (1, True) for row in target.rows):
        return Outcome(False, sqlstate=DATA_CLASSES[-1], message=REFUSED_BY_CHECK)
    target.rows = [row[:-1] for row in target.rows] if guarded.returns else []
    target.columns = target.columns[:-1] if guarded.returns else []
    target.types = target.types[:-1] if guarded.returns else []
    return target


def compare_states(statement: Statement, state: State, wanted: State) -> Judgement:
    for table, rows in wanted.items():
        if state[table] != rows:
            extra = [row for row in state[table] if row not in rows][:2]
            missing = [row for row in rows if row not in state[table]][:2]
            said = f"{table} ends with {short(extra)}, not {short(missing)}"
            return Judgement(Verdict.RESIDUAL if statement.residual else Verdict.STATE, said)
    return Judgement(Verdict.EQUAL)


def folded(outcome: Outcome) -> Outcome:
    """Texts as MySQL's default collations compare them."""
    rows = [
        [value.casefold().rstrip() if isinstance(value, str) else value for value in row]
        for row in outcome.rows
    ]
    return Outcome(True, outcome.columns, outcome.types, rows)
