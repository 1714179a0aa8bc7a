"""One session of libpq, raw: statements go as bytes, values come as text, nothing is rewritten."""

import json
import select
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import pq

from guard_corpus.compare import Outcome
from guard_corpus.pg_text import read_value

# An answer beyond this is cut: some attacks ask for terabytes.
MOST_BYTES = 64 * 1024 * 1024

# The names of types by their numbers, for each database.
TYPES: dict[str, dict[int, str]] = {}

ROWS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE)
COPIES = (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_BOTH)
FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


class Session:
    """A connection to PostgreSQL. Use it in a `with` block."""

    def __init__(self, dsn: str, seconds: float = 30.0) -> None:
        self.pg = pq.PGconn.connect(dsn.encode())
        assert self.pg.status == pq.ConnStatus.OK, self.pg.error_message
        self.seconds = seconds
        self.notices: list[str] = []
        self.pg.notice_handler = self._notice
        self._dsn = dsn

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.pg.finish()

    def texts(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows of a query of our own, as text. An error is a bug of the harness."""
        result = self.pg.exec_(sql.encode())
        assert result.status not in FAILED, result.error_message.decode() + sql
        return [
            tuple(text(result.get_value(row, column)) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]

    def in_transaction(self) -> bool:
        status = self.pg.transaction_status
        return status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    def run(self, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
        """Sends a statement and gathers all that comes back."""
        if b"\0" in sql:
            # Would end the text for libpq, and what stands before it would run.
            return Outcome(accepted=False, message="a statement must not hold a NUL byte")
        started = time.monotonic()
        self.notices.clear()
        outcome = Outcome(accepted=True)
        try:
            if params is None:
                self.pg.send_query(sql)
            else:
                self.pg.send_query_params(sql, [None if p is None else p.encode() for p in params])
            self.pg.set_single_row_mode()
            self._gather(outcome, started + self.seconds)
        except psycopg.OperationalError as error:
            outcome.accepted, outcome.message = False, str(error)
        outcome.seconds = time.monotonic() - started
        outcome.dropped = self.pg.status != pq.ConnStatus.OK
        values = json.dumps(outcome.rows, ensure_ascii=False, default=str)
        outcome.received = "\n".join([*outcome.columns, values, outcome.message, *self.notices])
        return outcome

    def _gather(self, outcome: Outcome, deadline: float) -> None:
        received = 0
        while (result := self._next(deadline)) is not None:
            if result.status in FAILED:
                self._fail(outcome, result)
            elif result.status in COPIES:
                self._refuse_copy(outcome, result.status, deadline)
            elif result.status in ROWS:
                received += self._take(outcome, result)
                if received > MOST_BYTES:
                    self.pg.get_cancel().cancel()
                    outcome.accepted, outcome.message = False, "the answer is too large"
            tag = (result.command_tuples if result.status not in FAILED else None) or None
            if tag is not None:
                outcome.affected = int(tag)

    def _next(self, deadline: float) -> Any:
        cancelled = False
        while self.pg.is_busy():
            left = deadline - time.monotonic()
            if left <= 0 and not cancelled:
                self.pg.get_cancel().cancel()
                cancelled, deadline = True, deadline + 10
            assert left > -10, "the statement can't be cancelled"
            select.select([self.pg.socket], [], [], max(left, 0.05))
            self.pg.consume_input()
        return self.pg.get_result()

    def _take(self, outcome: Outcome, result: Any) -> int:
        columns = range(result.nfields)
        # Of several statements the last result counts, but all that came was received.
        outcome.columns = [(result.fname(column) or b"").decode(errors="replace") for column in columns]
        outcome.types = [self._type(result.ftype(column)) for column in columns]
        size = 0
        for row in range(result.ntuples):
            values = [result.get_value(row, column) for column in columns]
            size += sum(len(value) for value in values if value is not None)
            if size <= MOST_BYTES:
                pairs = zip(values, outcome.types, strict=True)
                outcome.rows.append([read_value(text(value), name) for value, name in pairs])
        return size

    def _type(self, oid: int) -> str:
        known = TYPES.setdefault(self._dsn, {})
        if not known:
            with Session(self._dsn) as other:
                found = other.texts("SELECT oid, typname FROM pg_type")
            known.update((int(str(number)), str(name)) for number, name in found)
        return known.get(oid, "unknown")

    def _fail(self, outcome: Outcome, result: Any) -> None:
        fields = [
            result.error_field(getattr(pq.DiagnosticField, name))
            for name in ("MESSAGE_PRIMARY", "MESSAGE_DETAIL", "MESSAGE_HINT", "CONTEXT")
        ]
        outcome.accepted = False
        outcome.sqlstate = text(result.error_field(pq.DiagnosticField.SQLSTATE))
        outcome.message = "\n".join(part.decode(errors="replace") for part in fields if part)

    def _refuse_copy(self, outcome: Outcome, status: int, deadline: float) -> None:
        """Data that flows outside of results: what comes is received, what is asked for is not given."""
        if status != pq.ExecStatus.COPY_OUT:
            self.pg.put_copy_end(b"nothing to copy")
            return
        while True:
            size, data = self.pg.get_copy_data(0)
            if size < 0:
                return
            outcome.message += bytes(data).decode(errors="replace")
            assert time.monotonic() < deadline

    def _notice(self, result: Any) -> None:
        fields = (pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.MESSAGE_DETAIL)
        parts = [result.error_field(name) for name in fields]
        self.notices.append("\n".join(part.decode(errors="replace") for part in parts if part))


def text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
