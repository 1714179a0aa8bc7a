"""Holds the guarded statement against the original on the isolated database."""

import contextlib
import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from guard_corpus.compare import differences, short
from guard_corpus.markers import leaks
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import read_principals, read_state_views

from guard_oracle.guard_process import Guarded
from guard_oracle.sides import Ending, Side

DATA_CLASSES = ("21", "22", "23")

REFUSED_BY_CHECK = "constraint"

TOUCHED = """SELECT coalesce(p.relname, s.relname) FROM pg_stat_xact_user_tables s
LEFT JOIN pg_inherits i ON i.inhrelid = s.relid LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0"""

SEQUENCES = ["users", "products", "orders", "shipments", "documents"]

SET_SEQUENCES = " ".join(f"SELECT setval('public.{table}_id_seq', 10000);" for table in SEQUENCES)

BEGIN = f"BEGIN; {SET_SEQUENCES}"

# Where names without a schema are looked for: reads need none, triggers of writes do.
PATHS = {True: "pg_catalog", False: "public"}

# Writes are rolled back, which leaves dead rows behind.
WRITES_TO_VACUUM = 3000

# What differs by nature after a write.
NOT_COMPARED = ["updated_at", "at", "email_domain"]

# Views of the state, without what the isolated database does not compute (email_domain is no longer generated
# there), and without what the trigger on orders adds to a log that the principal may not see.
STATE_VIEWS = {
    "users": "SELECT to_jsonb(v) - 'email_domain' FROM ({}) v",
    "audit_log foreign": "SELECT * FROM ({}) v WHERE id <= 10000",
}


class Verdict(enum.StrEnum):
    """What came of a statement."""

    EQUAL = "equal"
    BOTH_ERR = "both err"
    INVALID = "invalid: the oracle can't read it"
    REFUSED = "refused"
    # The guarded text is no SQL that PostgreSQL takes: safe, and a fault of the guard.
    BROKEN = "guarded text does not run"
    # An error on visible data that one plan meets and the other does not.
    PLAN = "error depends on the plan"
    RESIDUAL = "collides with an invisible row"
    # A new row that the principal would not see, or that refers to such a one.
    CHECK = "the check of new rows refuses"
    TIMEOUT = "too slow"
    # From here on: divergences.
    DIFFERENT = "DIFFERENT ANSWER"
    ACCEPTED = "ACCEPTED WHERE THE ORACLE ERRS"
    TELLING = "ERROR TELLS OF HIDDEN DATA"
    MARKER = "MARKER LEAKED"
    STATE = "DIFFERENT STATE"
    FOREIGN = "INVISIBLE ROWS OR COLUMNS CHANGED"
    CRASH = "THE GUARD CRASHED"


DIVERGENCES = frozenset(
    {
        Verdict.DIFFERENT,
        Verdict.ACCEPTED,
        Verdict.TELLING,
        Verdict.MARKER,
        Verdict.STATE,
        Verdict.FOREIGN,
        Verdict.CRASH,
    }
)


@dataclass
class Statement:
    """What is asked, and how it compares."""

    principal: str
    sql: str
    params: list[str | None]
    writes: bool = False
    ordered: bool = False
    loose: bool = False
    # It names a key that an invisible row may have.
    residual: bool = False


@dataclass
class Judgement:
    verdict: Verdict
    detail: str = ""

    @property
    def diverges(self) -> bool:
        return self.verdict in DIVERGENCES


class Judge:
    """All sessions that one worker needs."""

    def __init__(self, world: PostgresWorld, principals: Sequence[str]) -> None:
        self.world = world
        self.principals = read_principals()
        self._writes = 0
        self.views = read_state_views()
        self.shared_reads = Side(world.dsn("shared"), search_path="pg_catalog")
        self.shared_writes = Side(world.dsn("shared"), read_only=False)
        self.reads = {name: Side(world.dsn(world.isolated_name(name))) for name in principals}
        self.writes = {
            name: Side(world.dsn(world.isolated_name(name)), read_only=False) for name in principals
        }
        self._superuser: Side | None = None
        self._foreign: dict[tuple[str, str], str] = {}
        self._hidden: dict[tuple[str, str], dict[tuple[str | None, ...], tuple[str | None, ...]]] = {}

    def judge(self, statement: Statement, guarded: Guarded) -> Judgement:
        """Runs both, and compares."""
        if guarded.crashed:
            return Judgement(Verdict.CRASH)
        if statement.writes:
            return self._judge_write(statement, guarded)
        oracle = self.reads[statement.principal].run(statement.sql, statement.params)
        if is_invalid(oracle) and guarded.refused is not None:
            return Judgement(Verdict.INVALID, oracle.message)
        if guarded.refused is not None:
            return refusal(oracle, guarded)
        target = self._run_guarded_read(guarded)
        return self._compare(statement, guarded, target, oracle)

    def without_names(self, message: str) -> str:
        """An error of the oracle, so that like ones count as one."""
        return re.sub(r"\"[^\"]*\"", '"_"', message)

    def _run_guarded_read(self, guarded: Guarded) -> Ending:
        return self.shared_reads.run(guarded.sql, guarded.params)

    def _compare(self, statement: Statement, guarded: Guarded, target: Ending, oracle: Ending) -> Judgement:
        if "57014" in (target.sqlstate, oracle.sqlstate):
            return Judgement(Verdict.TIMEOUT)
        if not target.accepted and (leaked := self._leaked(statement, target, oracle)):
            return Judgement(Verdict.MARKER, leaked)
        if target.accepted and not oracle.accepted:
            if is_data_error(oracle) and self._clean_agrees(statement, guarded, target):
                return Judgement(Verdict.PLAN, f"{oracle.sqlstate} {oracle.message}")
            return Judgement(
                Verdict.ACCEPTED, f"the oracle: {oracle.sqlstate} {oracle.message}; got {short(target.rows)}"
            )
        if not oracle.accepted:
            return Judgement(Verdict.INVALID if is_invalid(oracle) else Verdict.BOTH_ERR, oracle.message)
        if not target.accepted:
            return self._judge_error(statement, guarded, target)
        return self._compare_rows(statement, target, oracle)

    def _judge_error(self, statement: Statement, guarded: Guarded, target: Ending) -> Judgement:
        said = f"{target.sqlstate} {target.message}"
        if not is_data_error(target):
            return Judgement(Verdict.BROKEN, said)
        if target.message == REFUSED_BY_CHECK:
            return Judgement(Verdict.CHECK, said)
        if target.sqlstate in ("23505", "23503", "23P01") and statement.residual:
            return Judgement(Verdict.RESIDUAL, said)
        if self._clean_agrees(statement, guarded, target):
            return Judgement(Verdict.PLAN, said)
        return Judgement(Verdict.TELLING, said)

    def _compare_rows(self, statement: Statement, target: Ending, oracle: Ending) -> Judgement:
        if statement.loose:
            if len(target.rows) != len(oracle.rows) or target.columns != oracle.columns:
                return Judgement(Verdict.DIFFERENT, f"{len(target.rows)} rows instead of {len(oracle.rows)}")
            return Judgement(Verdict.EQUAL)
        if target.columns == oracle.columns and target.rows == oracle.rows:
            return Judgement(Verdict.EQUAL)
        left_out = NOT_COMPARED if statement.writes else []
        if statement.writes and "audit_log" in statement.sql.lower():
            left_out = [*left_out, "id"]
        faults = differences(target.outcome(), oracle.outcome(), ordered=statement.ordered, left_out=left_out)
        if not faults:
            return Judgement(Verdict.EQUAL)
        received = "\n".join(v.decode(errors="replace") for row in target.rows for v in row if v is not None)
        expected = "\n".join(v.decode(errors="replace") for row in oracle.rows for v in row if v is not None)
        patterns = self.principals[statement.principal].markers
        said = [statement.sql, expected, *(value for value in statement.params if value)]
        if found := leaks("\n".join([received, *target.columns]), patterns, said):
            return Judgement(Verdict.MARKER, short(", ".join(found)))
        return Judgement(Verdict.DIFFERENT, "; ".join(faults))

    def _leaked(self, statement: Statement, target: Ending, oracle: Ending) -> str:
        patterns = self.principals[statement.principal].markers
        said = [statement.sql, oracle.message, *(value for value in statement.params if value)]
        return ", ".join(leaks(target.message, patterns, said))

    # What tells an error of the plan from one that tells of hidden rows: the same text once more, on the same
    # tables with the same statistics, but without the invisible rows. What ends alike there does not depend
    # on them.

    def _clean_agrees(self, statement: Statement, guarded: Guarded, target: Ending) -> bool:
        if self._superuser is None:
            self._superuser = Side(
                self.world.shared.server_dsn() + " options='-c timezone=UTC'", read_only=False
            )
        side = self._superuser
        side.texts(
            f"BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL search_path = {PATHS[False]}"
        )
        try:
            for removal in removals(self.views[statement.principal]["foreign"]):
                side.texts(removal)
            path = PATHS[not guarded.writes]
            side.texts(
                "SET LOCAL session_replication_role = origin;"
                f" SET LOCAL search_path = {path}; {SET_SEQUENCES}"
            )
            again = checked(side.run(guarded.sql, guarded.params), guarded)
        finally:
            side.pg.exec_(b"ROLLBACK")
        if again.accepted != target.accepted:
            return False
        return (
            again.sqlstate == target.sqlstate if not target.accepted else len(again.rows) == len(target.rows)
        )

    def _vacuum(self) -> None:
        self._writes += 1
        if self._writes > WRITES_TO_VACUUM:
            self._writes = 0
            for database in ("shared", *(self.world.isolated_name(name) for name in self.writes)):
                self.world.server.execute("VACUUM", database=database)

    def _judge_write(self, statement: Statement, guarded: Guarded) -> Judgement:
        self._vacuum()
        isolated, shared = self.writes[statement.principal], self.shared_writes
        isolated.texts(BEGIN)
        try:
            oracle = isolated.run(statement.sql, statement.params)
            if guarded.refused is not None:
                return refusal(oracle, guarded)
            shared.texts(BEGIN)
            target = checked(shared.run(guarded.sql, guarded.params), guarded)
            if target.accepted and (fault := self._foreign_changes(statement.principal)):
                return Judgement(Verdict.FOREIGN, fault)
            if target.accepted and not oracle.accepted:
                # The run without invisible rows has a session of its own, which would wait for its locks.
                shared.pg.exec_(b"ROLLBACK")
            judgement = self._compare(statement, guarded, target, oracle)
            if statement.residual and judgement.verdict in (
                Verdict.DIFFERENT,
                Verdict.ACCEPTED,
                Verdict.TELLING,
            ):
                judgement = Judgement(Verdict.RESIDUAL, judgement.detail)
            if (
                judgement.verdict is Verdict.EQUAL
                and target.accepted
                and (fault := self._other_state(statement, isolated))
            ):
                return Judgement(Verdict.RESIDUAL if statement.residual else Verdict.STATE, fault)
            return judgement
        finally:
            for side in (isolated, shared):
                with contextlib.suppress(Exception):
                    side.pg.exec_(b"ROLLBACK")

    def _touched(self, side: Side) -> set[str]:
        return {str(name) for (name,) in side.texts(TOUCHED)}

    def _foreign_changes(self, principal: str) -> str:
        touched = self._touched(self.shared_writes)
        views = self.views[principal]
        for name in touched:
            key = key_of(name, views["foreign"])
            if key in views["foreign"] and summed(
                self.shared_writes, self._foreign_view(principal, key)
            ) != self._foreign_before(principal, key):
                return f"foreign rows of {name} changed"
            if key in views["hidden"]:
                known = self._hidden_before(principal, key)
                now = self._hidden_rows(self.shared_writes, principal, key)
                if any(known.get(at, value) != value for at, value in now.items()):
                    return f"hidden columns of {name} changed"
        return ""

    def _other_state(self, statement: Statement, isolated: Side) -> str:
        views = self.views[statement.principal]
        for name in self._touched(self.shared_writes) | self._touched(isolated):
            key = key_of(name, views["visible"])
            if key not in views["visible"]:
                continue
            form = STATE_VIEWS.get(key, "{}")
            visible, expected = (form.replace("{}", views[kind][key]) for kind in ("visible", "iso"))
            if summed(self.shared_writes, visible) != summed(isolated, expected):
                got = {*self.shared_writes.texts(visible)}
                wanted = {*isolated.texts(expected)}
                return f"{name} ends with {short([*(got - wanted)][:2])}, not {short([*(wanted - got)][:2])}"
        return ""

    def _foreign_view(self, principal: str, key: str) -> str:
        view: str = self.views[principal]["foreign"][key]
        return STATE_VIEWS.get(f"{key} foreign", "{}").replace("{}", view)

    def _foreign_before(self, principal: str, key: str) -> str:
        if (principal, key) not in self._foreign:
            side = Side(self.world.dsn("shared"))
            self._foreign[principal, key] = summed(side, self._foreign_view(principal, key))
            side.close()
        return self._foreign[principal, key]

    def _hidden_before(
        self, principal: str, key: str
    ) -> dict[tuple[str | None, ...], tuple[str | None, ...]]:
        if (principal, key) not in self._hidden:
            side = Side(self.world.dsn("shared"))
            self._hidden[principal, key] = self._hidden_rows(side, principal, key)
            side.close()
        return self._hidden[principal, key]

    def _hidden_rows(
        self, side: Side, principal: str, key: str
    ) -> dict[tuple[str | None, ...], tuple[str | None, ...]]:
        hidden = self.views[principal]["hidden"][key]
        return {row[: hidden["pk"]]: row[hidden["pk"] :] for row in side.texts(hidden["sql"])}


# What the guard has a proposed row raise that may not be written.
REFUSED = "_rf_refused"


def checked(target: Ending, guarded: Guarded) -> Ending:
    """What the gateway makes of the column that says whether new keys are visible, and of its error."""
    if not target.accepted and REFUSED in target.message:
        return Ending(False, sqlstate="23503", message=REFUSED_BY_CHECK)
    if not target.accepted or not guarded.has_check:
        return target
    good = all(row[-1] == b"t" for row in target.rows)
    if not good:
        return Ending(False, sqlstate="23503", message=REFUSED_BY_CHECK)
    target.rows = [row[:-1] for row in target.rows] if guarded.returns else []
    target.columns = target.columns[:-1] if guarded.returns else []
    target.types = target.types[:-1] if guarded.returns else []
    return target


def refusal(oracle: Ending, guarded: Guarded) -> Judgement:
    if is_invalid(oracle):
        return Judgement(Verdict.INVALID, oracle.message)
    if not oracle.accepted:
        return Judgement(Verdict.BOTH_ERR, oracle.message)
    return Judgement(Verdict.REFUSED, guarded.refused or "")


def is_invalid(ending: Ending) -> bool:
    """The statement is no good, whatever the data."""
    return ending.sqlstate[:2] in ("42", "0A") or ending.sqlstate == "HARNESS"


def is_data_error(ending: Ending) -> bool:
    return ending.sqlstate.startswith(DATA_CLASSES)


def key_of(table: str, views: dict[str, object]) -> str:
    quoted = f'"{table}"'
    return quoted if quoted in views else table


def summed(side: Side, view: str) -> str:
    found = side.texts(f"SELECT count(*), sum(hashtextextended(x::text, 0)) FROM ({view}) x")
    return repr(found[0])


def removals(foreign: dict[str, str]) -> list[str]:
    """Statements that delete what a principal can't see. Rows that hang on others go first."""
    dependent = ("shipments", "order_items", "document_shares")
    tables = sorted(foreign, key=lambda table: table not in dependent)
    return [
        re.sub(r"^SELECT \* FROM", "DELETE FROM", foreign[table])
        for table in tables
        if table not in ("order_totals", "tenant_revenue")
    ]
