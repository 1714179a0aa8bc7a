"""Results that come piece by piece: bytes in, Arrow batches out. No IO here."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa

from .errors import UnexpectedAnswer, api_error
from .exchange import ARROW, NDJSON, read_json
from .frames import unique
from .values import inferred

# So many lines become one batch.
LINES = 4096

RECORD_BATCH = 3


class ArrowStream:
    """Arrow's IPC stream, cut into its messages, so that a reader is only asked for what is there whole."""

    def __init__(self) -> None:
        self._coming = bytearray()
        self._whole = _Whole()
        self._reader: Any = None
        self._ended = False

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        """The batches that are whole now."""
        self._coming += chunk
        batches = []
        while not self._ended:
            size = self._message()
            if size is None:
                break
            length, kind = size
            self._whole.add(bytes(self._coming[:length]))
            del self._coming[:length]
            if kind is None:
                self._ended = True
            elif kind == RECORD_BATCH:
                batches.append(self._next())
        return batches

    def finish(self) -> list[pa.RecordBatch]:
        """At the end of the body. A stream without its end mark was cut off."""
        if not self._ended:
            raise UnexpectedAnswer("the result was cut off: the query failed after its first rows")
        return []

    def schema(self) -> pa.Schema | None:
        """Known once the first message was read."""
        if self._reader is None and self._whole.has_any():
            self._open()
        return None if self._reader is None else self._reader.schema

    def _next(self) -> pa.RecordBatch:
        try:
            if self._reader is None:
                self._open()
            return self._reader.read_next_batch()
        except (pa.ArrowException, OSError, StopIteration):
            raise UnexpectedAnswer("the result is no Arrow stream") from None

    def _open(self) -> None:
        self._reader = pa.ipc.open_stream(pa.PythonFile(self._whole, mode="r"))

    def _message(self) -> tuple[int, int | None] | None:
        """Length and kind of the first message, when all of it is there; the kind of the end mark is
        `None`."""
        if len(self._coming) < 8:
            return None
        mark, metadata = struct.unpack_from("<Ii", self._coming)
        if mark != 0xFFFFFFFF or metadata < 0:
            raise UnexpectedAnswer("the result is no Arrow stream")
        if metadata == 0:
            return 8, None
        if len(self._coming) < 8 + metadata:
            return None
        kind, body = header_of(bytes(self._coming[8 : 8 + metadata]))
        length = 8 + metadata + body
        return (length, kind) if len(self._coming) >= length else None


def header_of(metadata: bytes) -> tuple[int, int]:
    """Kind and body length of a message: fields 1 and 3 of the flatbuffer table `Message` in Arrow's
    format."""
    try:
        (table,) = struct.unpack_from("<I", metadata)
        (back,) = struct.unpack_from("<i", metadata, table)
        fields = table - back
        (size,) = struct.unpack_from("<H", metadata, fields)

        def place(field: int) -> int:
            slot = 4 + 2 * field
            return int(struct.unpack_from("<H", metadata, fields + slot)[0]) if slot < size else 0

        kind = struct.unpack_from("<B", metadata, table + place(1))[0] if place(1) else 0
        body = struct.unpack_from("<q", metadata, table + place(3))[0] if place(3) else 0
    except struct.error:
        raise UnexpectedAnswer("the result is no Arrow stream") from None
    if body < 0:
        raise UnexpectedAnswer("the result is no Arrow stream")
    return int(kind), int(body)


class _Whole:
    """A file of whole messages, which forgets what was read."""

    closed = False

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._any = False

    def add(self, message: bytes) -> None:
        self._bytes += message
        self._any = True

    def has_any(self) -> bool:
        return self._any

    def read(self, count: int = -1) -> bytes:
        count = len(self._bytes) if count is None or count < 0 else count
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken

    def readable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        self.closed = True


class LineStream:
    """NDJSON: an object on each line. Types follow from the first batch; what is not whole is a float."""

    def __init__(self, schema: pa.Schema | None = None) -> None:
        self._coming = b""
        self._rows: list[dict[str, Any]] = []
        self._schema = schema

    def feed(self, chunk: bytes) -> list[pa.RecordBatch]:
        lines = (self._coming + chunk).split(b"\n")
        self._coming = lines.pop()
        batches = []
        for line in lines:
            if line:
                self._rows.append(self._row(line))
            if len(self._rows) >= LINES:
                batches.append(self._batch())
        return batches

    def finish(self) -> list[pa.RecordBatch]:
        if self._coming:
            raise UnexpectedAnswer("the result was cut off in the middle of a row")
        return [self._batch()] if self._rows else []

    def schema(self) -> pa.Schema | None:
        return self._schema

    def _row(self, line: bytes) -> dict[str, Any]:
        row: dict[str, Any] = read_json(line)
        error = row.get("error")
        # A column may be called `error`; a problem has a code and a status.
        if len(row) == 1 and isinstance(error, dict) and "code" in error and "status" in error:
            raise api_error(int(error["status"]), error)
        return row

    def _batch(self) -> pa.RecordBatch:
        rows, self._rows = self._rows, []
        names = unique(list(rows[0]))
        arrays = []
        for name in names:
            values = [row[name] for row in rows]
            arrays.append(self._array(name, values))
        if self._schema is None:
            self._schema = pa.schema([pa.field(name, made.type) for name, made in zip(names, arrays)])
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _array(self, name: str, values: list[Any]) -> pa.Array:
        if self._schema is None:
            return inferred(values)
        kind = self._schema.field(name).type
        if pa.types.is_floating(kind):
            values = [float(value) if isinstance(value, (int, Decimal)) else value for value in values]
        if pa.types.is_null(kind) and any(value is not None for value in values):
            raise UnexpectedAnswer(
                f"{name!r} was null in the first rows: name its type, schema=pyarrow.schema(...)"
            )
        try:
            return pa.array(values, kind)
        except pa.ArrowException:
            raise UnexpectedAnswer(
                f"{name!r} has values of another type than before: name its type, schema=pyarrow.schema(...)"
            ) from None


def decoder(media_type: str, schema: pa.Schema | None) -> Any:
    """What reads a body of that type."""
    if media_type == ARROW:
        return ArrowStream()
    if media_type == NDJSON:
        return LineStream(schema)
    raise UnexpectedAnswer(f"the result comes as {media_type or 'nothing known'}")
