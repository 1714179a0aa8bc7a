"""A session: one server, one caller, one connection."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from .connection import CSV, PARQUET, Connection, arrow_body, arrow_of, file_body, table_name
from .credentials import Auth, Credentials
from .cubecalls import Expression, create_plan
from .drivers import Driver, Stream
from .exchange import ARROW, Caller, Reply, Request, Retries, path
from .frames import Result, Row
from .modelcalls import Change, Data, endpoints_plan, models_plan, transaction_plan
from .resources import Approvals, Cube, Cubes, Endpoint, Model, Table, Tables
from .security import Security
from .streams import decoder
from .tables import Column

if TYPE_CHECKING:
    import pyarrow as pa

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class InsecureTransport(UserWarning):
    """Credentials would go over the network in clear."""


def caller_of(
    url: str,
    auth: Auth,
    agent: str | None,
    principal: str | None,
    retries: int,
) -> Caller:
    """A caller, as a session's arguments describe it."""
    headers = {"User-Agent": "ringfence-python/0.1.0"}
    if agent is not None:
        headers["X-Ringfence-Agent"] = agent
    if principal is not None:
        headers["X-Ringfence-Principal"] = principal
    caller = Caller(url, Credentials(auth), retries=Retries(attempts=retries + 1), headers=headers)
    parts = urlsplit(caller.url)
    if auth is not None and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        warnings.warn("credentials go over http in clear: use https", InsecureTransport, stacklevel=3)
    return caller


class Rows:
    """The rows of a statement as they come: iterate over it, or over `batches()`. Leaving it stops the
    statement."""

    def __init__(self, reply: Reply, schema: pa.Schema | None) -> None:
        self._stream: Stream = reply.stream
        self._decoder = decoder(reply.media_type(), schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """As Arrow, batch by batch."""
        try:
            for chunk in self._stream.chunks():
                yield from self._decoder.feed(chunk)
            yield from self._decoder.finish()
        finally:
            self.close()

    def to_arrow(self) -> pa.Table:
        """All that is left, in one piece."""
        import pyarrow as pa

        batches = list(self.batches())
        schema = batches[0].schema if batches else self._decoder.schema() or pa.schema([])
        return pa.Table.from_batches(batches, schema)

    def close(self) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Row]:
        for batch in self.batches():
            names = batch.schema.names
            for values in zip(*(column.to_pylist() for column in batch.columns)):
                yield Row(names, values)

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Session:
    """A caller at a server.

    `auth` is an access key, `Basic(name, password)`, or a function that gives a bearer token, or a token
    and for how many
    seconds it is good; it is called again when a token ends or is refused. `connection` is the key or
    alias of one of the
    caller's connections; the default one, or the only one, when left out. `timeout` is in seconds and for
    each request;
    `retries` is how often a request is sent again that may be. `agent` names the program for the audit
    log, `principal`
    is an application's token for one of its users.
    """

    def __init__(
        self,
        url: str,
        auth: Auth = None,
        *,
        connection: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        agent: str | None = None,
        principal: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._caller = caller_of(url, auth, agent, principal, retries)
        self._driver = Driver(self._caller.url, timeout, transport)
        self._connection = Connection(self._caller, connection)
        self._tables: Tables | None = None
        self.approvals = Approvals(self._driver, self._caller)
        self.security = Security(self._driver, self._connection)
        self.cubes = Cubes(self._driver, self._connection)

    @property
    def url(self) -> str:
        return self._caller.url

    @property
    def connection(self) -> str:
        """The key of the connection that the session is on."""
        return self._driver.run(self._connection.key())

    def me(self) -> dict[str, Any]:
        """Who the server takes you for, with roles and permissions."""
        found: dict[str, Any] = self._driver.run(
            self._caller.fetch(Request("GET", path("me"), repeatable=True))
        )
        return found

    def connections(self) -> list[dict[str, Any]]:
        """Your connections, without passwords."""
        listed = self._driver.run(self._caller.fetch(Request("GET", path("connections"), repeatable=True)))
        return list(listed["items"])

    def connect(self, **description: Any) -> str:
        """Adds a connection, `db_type="sqlite", database="/data/shop.db"`, and goes on with it. Gives its
        key."""
        self._tables = None
        return self._driver.run(self._connection.add(description))

    def sql(
        self,
        statement: str,
        params: Sequence[Any] | None = None,
        *,
        max_rows: int | None = None,
        timeout: float | None = None,
        current_schema: str | None = None,
        reason: str | None = None,
    ) -> Result:
        """One statement, in one piece. It is sent once: it may be a change."""
        more = {"max_rows": max_rows, "timeout": timeout, "current_schema": current_schema, "reason": reason}
        return self._driver.run(self._connection.sql(statement, params, more))

    def stream(
        self,
        statement: str,
        params: Sequence[Any] | None = None,
        *,
        schema: pa.Schema | None = None,
        timeout: float | None = None,
        current_schema: str | None = None,
        reason: str | None = None,
    ) -> Rows:
        """One statement, row by row, however many they are. `schema` says the types where the server does
        not."""
        more = {"timeout": timeout, "current_schema": current_schema, "reason": reason}
        return Rows(self._driver.run(self._connection.stream(statement, params, more)), schema)

    @property
    def models(self) -> dict[str, Model]:
        """What the policy names, as you see it now."""
        models: dict[str, Model] = {}
        for description in self._driver.run(models_plan(self._connection)):
            model = Model(self._connection, description, models)
            model._driver = self._driver
            models[model.name] = model
        return models

    def transaction(self, operations: Sequence[Data], *, reason: str | None = None) -> list[Change]:
        """Several changes of models, all or none: `[{"action": "create", "model": "Order", "data": {...}},
        ...]`."""
        return self._driver.run(transaction_plan(self._connection, operations, reason))

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Published endpoints that you may call: `session.endpoints["orders-of-day"](day="2026-11-22")`."""
        listed, described = self._driver.run(endpoints_plan(self._caller))
        endpoints: dict[str, Endpoint] = {}
        for summary in listed:
            endpoint = Endpoint(self._caller, summary, described)
            endpoint._driver = self._driver
            endpoints[endpoint.name] = endpoint
        return endpoints

    @property
    def tables(self) -> Tables:
        """Tables that you see. Read once, with what was joined since; `refresh_tables()` reads them anew."""
        if self._tables is None:
            self._tables = Tables(
                self._table(schema, table) for schema, table in self._driver.run(self._connection.catalog())
            )
        return self._tables

    def refresh_tables(self) -> Tables:
        self._tables = None
        return self.tables

    def read_csv(
        self,
        source: Any,
        *,
        table_name: str | None = None,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> Table:
        """A CSV file (a path, bytes or an open file) as a table of the lake. `mode` is `replace` or
        `append`."""
        return self._upload(source, file_body(source), CSV, table_name, keys, types, mode)

    def read_parquet(
        self,
        source: Any,
        *,
        table_name: str | None = None,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> Table:
        """A Parquet file as a table of the lake."""
        return self._upload(source, file_body(source), PARQUET, table_name, keys, types, mode)

    def read_pandas(
        self,
        frame: Any,
        *,
        table_name: str,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> Table:
        """A frame of pandas as a table of the lake; its index is left out."""
        return self.read_arrow(frame, table_name=table_name, keys=keys, types=types, mode=mode)

    def read_arrow(
        self,
        table: Any,
        *,
        table_name: str,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> Table:
        """A table of pyarrow, or a frame of polars, as a table of the lake."""
        return self._upload(table, arrow_body(arrow_of(table)), ARROW, table_name, keys, types, mode)

    def create_cube(
        self,
        table: Table,
        name: str | None = None,
        *,
        auto: bool = True,
        hierarchies: Mapping[str, Sequence[Column]] | None = None,
        measures: Mapping[str, Expression] | None = None,
        caption: str | None = None,
        description: str | None = None,
    ) -> Cube:
        """A cube over a table and what is joined to it; of one name there is one. With `auto` every other
        column is a
        hierarchy, and every number a sum and a mean."""
        more = {
            "hierarchies": hierarchies,
            "measures": measures,
            "caption": caption,
            "description": description,
        }
        return self.cubes.made(self._driver.run(create_plan(self._connection, table, name, more, auto=auto)))

    def close(self) -> None:
        self._driver.close()

    def _upload(
        self,
        source: Any,
        body: Any,
        content_type: str,
        name: str | None,
        keys: Sequence[str],
        types: Mapping[str, str] | None,
        mode: str,
    ) -> Table:
        # Known tables are asked for first: joins between them stay.
        tables = self.tables
        plan = self._connection.uploaded(table_name(source, name), body, content_type, keys, types, mode)
        schema, description = self._driver.run(plan)
        made = self._table(schema, description)
        made.keys = list(keys) or made.keys
        tables.put(made)
        return made

    def _table(self, schema: str, description: Mapping[str, Any]) -> Table:
        table = Table(schema, description)
        table._driver, table._connection = self._driver, self._connection
        return table

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.url!r})"
