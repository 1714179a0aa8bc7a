"""Plans on a connection: which one, what it holds, SQL, uploads."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Callable

from .errors import RingfenceError
from .exchange import ARROW, JSON, NDJSON, Caller, Plan, Reply, Request, Wait, path
from .frames import Result
from .values import parameter

PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"

Body = Callable[[], BinaryIO]

# How often a connection is looked at until it is indexed, in seconds.
LOOKS = (0.05, 0.1, 0.2, 0.4, *([0.5] * 120))


class Connection:
    """A caller's connection. Which one it is becomes known when it is first needed."""

    def __init__(self, caller: Caller, wanted: str | None) -> None:
        self.caller = caller
        self._wanted = wanted
        self._known: dict[str, Any] | None = None

    def known(self) -> Plan[dict[str, Any]]:
        """The connection, as the server lists it."""
        if self._known is None:
            listed = yield from self.caller.fetch(Request("GET", path("connections"), repeatable=True))
            self._known = chosen(listed, self._wanted)
        return self._known

    def key(self) -> Plan[str]:
        found = yield from self.known()
        return str(found["key"])

    def dialect(self) -> Plan[str]:
        found = yield from self.known()
        return str(found["spec"].get("db_type", ""))

    def path(self, room: str, *parts: str) -> Plan[str]:
        """An address below the connection's key."""
        key = yield from self.key()
        return path(room, key, *parts)

    def add(self, description: Mapping[str, Any]) -> Plan[str]:
        """A connection for the caller, which this one is from now on. Gives its key."""
        made = yield from self.caller.fetch(
            Request("POST", path("connections"), (("validate", "true"),), json=dict(description))
        )
        self._wanted, self._known = str(made["key"]), made
        yield from self.indexed(str(made["key"]), {})
        return str(made["key"])

    def indexed(self, key: str, headers: Mapping[str, str]) -> Plan[None]:
        """Until the catalog of a new connection was read: before that a guarded one answers nothing."""
        address = path("connections", key, "status")
        for pause in LOOKS:
            state = yield from self.caller.fetch(Request("GET", address, headers=headers, repeatable=True))
            if state["status"] == "completed":
                return
            if state["status"] == "failed":
                raise RingfenceError(f"the catalog could not be read: {state.get('diagnostics')}")
            yield Wait(pause)
        raise RingfenceError("the connection is not indexed yet: look at its status")

    def catalog(self) -> Plan[list[tuple[str, dict[str, Any]]]]:
        """(schema, table) of all that the caller sees."""
        address = yield from self.path("connections", "catalog")
        catalog = yield from self.caller.fetch(Request("GET", address, repeatable=True))
        if not catalog["indexed"]:
            yield from self.indexed((yield from self.key()), {})
            catalog = yield from self.caller.fetch(Request("GET", address, repeatable=True))
        return [
            (schema["name"], table) for schema in catalog["schemas"] for table in schema.get("tables", [])
        ]

    def sql(self, statement: str, params: Sequence[Any] | None, more: Mapping[str, Any]) -> Plan[Result]:
        """One statement, in one piece."""
        request = yield from self.statement(statement, params, more, JSON, stream=False)
        answer = yield from self.caller.fetch(request)
        columns = answer["columns"]
        return Result(
            [column["name"] for column in columns],
            [column["type"] for column in columns],
            answer["rows"],
            query_id=answer.get("query_id"),
            more_rows=int(answer.get("more_rows", 0)),
            affected=answer.get("affected"),
        )

    def stream(self, statement: str, params: Sequence[Any] | None, more: Mapping[str, Any]) -> Plan[Reply]:
        """One statement, piece by piece: Arrow where the server has it."""
        request = yield from self.statement(statement, params, more, f"{ARROW}, {NDJSON};q=0.5", stream=True)
        reply = yield from self.caller.ask(request)
        return reply

    def statement(
        self,
        text: str,
        params: Sequence[Any] | None,
        more: Mapping[str, Any],
        accept: str,
        *,
        stream: bool,
    ) -> Plan[Request]:
        body: dict[str, Any] = {"statement": text}
        if params is not None:
            body["parameters"] = parameters(params)
        timeout = more.get("timeout")
        body.update({name: value for name, value in more.items() if name != "timeout" and value is not None})
        if timeout is not None:
            body["timeout_ms"] = max(1, int(timeout * 1000))
        address = yield from self.path("connections", "query")
        # The server ends the statement itself: its answer says so.
        wait = None if timeout is None else timeout + 5
        return Request("POST", address, json=body, accept=accept, stream=stream, timeout=wait)

    def upload(
        self,
        table: str,
        body: Body,
        content_type: str,
        keys: Sequence[str],
        types: Mapping[str, str] | None,
        mode: str,
    ) -> Plan[dict[str, Any]]:
        """A file as a table."""
        if mode not in ("replace", "append"):
            raise ValueError("mode is `replace` or `append`")
        if isinstance(keys, str):
            raise TypeError("keys is a list of column names")
        query = [("mode", mode)]
        if keys:
            query.append(("keys", json.dumps(list(keys), ensure_ascii=False)))
        if types:
            query.append(("types", json.dumps(dict(types), ensure_ascii=False)))
        address = yield from self.path("connections", "tables", table)
        request = Request(
            "PUT",
            address,
            tuple(query),
            body=body,
            content_type=content_type,
            # Replacing twice comes to the same, appending does not.
            repeatable=mode == "replace",
            timeout=3600,
        )
        answer: dict[str, Any] = yield from self.caller.fetch(request)
        return answer

    def uploaded(
        self,
        table: str,
        body: Body,
        content_type: str,
        keys: Sequence[str],
        types: Mapping[str, str] | None,
        mode: str,
    ) -> Plan[tuple[str, dict[str, Any]]]:
        """A file as a table: its schema, and what the catalog says of it."""
        made = yield from self.upload(table, body, content_type, keys, types, mode)
        for pause in LOOKS:
            catalog = yield from self.catalog()
            for schema, description in catalog:
                if description["name"] == made["table"]:
                    return schema, description
            yield Wait(pause)
        raise RingfenceError(f"the uploaded table {table!r} is not among those that you see")

    def drop(self, table: str) -> Plan[None]:
        address = yield from self.path("connections", "tables", table)
        yield from self.caller.ask(Request("DELETE", address, repeatable=True))


def chosen(listed: Mapping[str, Any], wanted: str | None) -> dict[str, Any]:
    """The connection that is meant: by key or alias, else the default one, else the only one."""
    items: list[dict[str, Any]] = listed["items"]
    yours = ", ".join(repr(item["key"]) for item in items) or "none"
    if wanted is not None:
        by_key = [item for item in items if item["key"] == wanted]
        by_alias = [
            item for item in items if wanted in (item["spec"].get("alias"), item["spec"].get("db_alias"))
        ]
        found = by_key or by_alias
        if len(found) != 1:
            raise RingfenceError(f"no one connection is {wanted!r}; yours are {yours}")
        return found[0]
    default = listed.get("default")
    found = [item for item in items if item["key"] == default] or (items if len(items) == 1 else [])
    if not found:
        raise RingfenceError(f"which connection? Pass connection=...; yours are {yours}")
    return found[0]


def parameters(params: Sequence[Any]) -> list[str | None]:
    """Values of placeholders, in their order."""
    if isinstance(params, (str, bytes, Mapping)):
        raise TypeError("params is a list: its values stand for $1, $2, ... (?1, ?2, ... on SQLite)")
    return [parameter(value) for value in params]


def file_body(source: Any) -> Body:
    """A path, bytes, or an open binary file, to be read from its beginning at each attempt."""
    if isinstance(source, (bytes, bytearray)):
        content = bytes(source)
        return lambda: io.BytesIO(content)
    if hasattr(source, "read"):
        read = source.read()
        held = read.encode() if isinstance(read, str) else bytes(read)
        return lambda: io.BytesIO(held)
    return lambda: open(source, "rb")


def arrow_body(table: Any) -> Body:
    """A pyarrow table as a stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue()
    return lambda: pa.BufferReader(content)


def arrow_of(frame: Any) -> Any:
    """A frame of pandas or polars, or a table of pyarrow, as the last."""
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return frame
    if hasattr(frame, "to_arrow"):
        return frame.to_arrow()
    return pa.Table.from_pandas(frame, preserve_index=False)


def table_name(source: Any, given: str | None) -> str:
    """What the table is called: as somebody says, else as the file."""
    import os

    if given is not None:
        return given
    if isinstance(source, (str, os.PathLike)):
        return os.path.splitext(os.path.basename(os.fspath(source)))[0]
    raise TypeError("what is no file has no name: pass table_name=...")
