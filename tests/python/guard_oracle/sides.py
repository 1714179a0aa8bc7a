"""Where statements run: a session that stays open, and what came of each statement."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from guard_corpus.compare import Outcome
from guard_corpus.pg_text import read_value
from psycopg import pq
from psycopg.pq.abc import PGconn

FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)

Row = tuple[bytes | None, ...]


@dataclass
class Ending:
    """How a statement ended, in PostgreSQL's own text."""

    accepted: bool
    columns: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    command: str = ""
    sqlstate: str = ""
    message: str = ""

    def outcome(self) -> Outcome:
        """In the words of the corpus, for comparing by type."""
        rows = [
            [
                read_value(None if v is None else v.decode(errors="replace"), t)
                for v, t in zip(row, self.types, strict=True)
            ]
            for row in self.rows
        ]
        return Outcome(accepted=self.accepted, columns=self.columns, types=self.types, rows=rows)


class Side:
    """One database, one session."""

    def __init__(
        self, dsn: str, *, search_path: str = "", read_only: bool = True, seconds: float = 4.0
    ) -> None:
        options = f"-c timezone=UTC -c statement_timeout={int(seconds * 1000)} -c work_mem=32MB -c jit=off"
        if search_path:
            options += f" -c search_path={search_path}"
        if read_only:
            options += " -c default_transaction_read_only=on"
        self._dsn = dsn.replace("-c timezone=UTC", options)
        self.pg: PGconn = self._connect()
        self._types = {
            int(str(oid)): str(name)
            for oid, name in self.texts("SELECT oid, typname FROM pg_catalog.pg_type")
        }

    def _connect(self) -> PGconn:
        pg = pq.PGconn.connect(self._dsn.encode())
        assert pg.status == pq.ConnStatus.OK, pg.error_message
        pg.notice_handler = None
        return pg

    def close(self) -> None:
        self.pg.finish()

    def texts(self, sql: str) -> list[tuple[str | None, ...]]:
        """A query of our own."""
        result = self.pg.exec_(sql.encode())
        assert result.status not in FAILED, result.error_message.decode() + sql
        columns = range(result.nfields)
        return [
            tuple(
                None if (v := result.get_value(row, c)) is None else v.decode(errors="replace")
                for c in columns
            )
            for row in range(result.ntuples)
        ]

    def run(self, sql: str, params: Sequence[str | None]) -> Ending:
        if self.pg.status != pq.ConnStatus.OK:
            self.pg = self._connect()
        values = [None if value is None else value.encode() for value in params]
        try:
            result = self.pg.exec_params(sql.encode(), values)
        except ValueError as error:
            return Ending(False, sqlstate="HARNESS", message=str(error))
        if result.status in FAILED:
            state = result.error_field(pq.DiagnosticField.SQLSTATE) or b"08000"
            message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
            return Ending(False, sqlstate=state.decode(), message=message.decode(errors="replace"))
        columns = range(result.nfields)
        return Ending(
            True,
            [(result.fname(column) or b"").decode() for column in columns],
            [self._types.get(result.ftype(column), "unknown") for column in columns],
            [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)],
            (result.command_status or b"").decode(),
        )
