"""The same for asyncio: every method as in `Session`, awaited; `set` and `delete` for assignments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from .async_resources import (
    AsyncApprovals,
    AsyncCube,
    AsyncCubes,
    AsyncEndpoint,
    AsyncModel,
    AsyncSecurity,
    AsyncTable,
    AsyncTables,
)
from .connection import CSV, PARQUET, Connection, arrow_body, arrow_of, file_body, table_name
from .credentials import Auth
from .cubecalls import (
    Expression,
    create_plan,
)
from .drivers import AsyncDriver, AsyncStream
from .exchange import ARROW, Reply, Request, path
from .frames import Result, Row
from .modelcalls import (
    Change,
    Data,
    endpoints_plan,
    models_plan,
    transaction_plan,
)
from .session import caller_of
from .streams import decoder
from .tables import Column

if TYPE_CHECKING:
    import pyarrow as pa


class AsyncRows:
    """As `Rows`: `async for row in await session.stream(...)`."""

    def __init__(self, reply: Reply, schema: pa.Schema | None) -> None:
        self._stream: AsyncStream = reply.stream
        self._decoder = decoder(reply.media_type(), schema)

    async def batches(self) -> AsyncIterator[pa.RecordBatch]:
        try:
            async for chunk in self._stream.chunks():
                for batch in self._decoder.feed(chunk):
                    yield batch
            for batch in self._decoder.finish():
                yield batch
        finally:
            await self.close()

    async def to_arrow(self) -> pa.Table:
        import pyarrow as pa

        batches = [batch async for batch in self.batches()]
        schema = batches[0].schema if batches else self._decoder.schema() or pa.schema([])
        return pa.Table.from_batches(batches, schema)

    async def close(self) -> None:
        await self._stream.close()

    async def __aiter__(self) -> AsyncIterator[Row]:
        async for batch in self.batches():
            names = batch.schema.names
            for values in zip(*(column.to_pylist() for column in batch.columns)):
                yield Row(names, values)

    async def __aenter__(self) -> AsyncRows:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncSession:
    """As `Session`; the function for bearer tokens may be async."""

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._caller = caller_of(url, auth, agent, principal, retries)
        self._driver = AsyncDriver(self._caller.url, timeout, transport)
        self._connection = Connection(self._caller, connection)
        self._tables: AsyncTables | None = None
        self.approvals = AsyncApprovals(self._driver, self._caller)
        self.security = AsyncSecurity(self._driver, self._connection)
        self.cubes = AsyncCubes(self._driver, self._connection)

    @property
    def url(self) -> str:
        return self._caller.url

    async def connection(self) -> str:
        return await self._driver.run(self._connection.key())

    async def me(self) -> dict[str, Any]:
        plan = self._caller.fetch(Request("GET", path("me"), repeatable=True))
        return cast("dict[str, Any]", await self._driver.run(plan))

    async def connections(self) -> list[dict[str, Any]]:
        plan = self._caller.fetch(Request("GET", path("connections"), repeatable=True))
        return list((await self._driver.run(plan))["items"])

    async def connect(self, **description: Any) -> str:
        self._tables = None
        return await self._driver.run(self._connection.add(description))

    async def sql(
        self,
        statement: str,
        params: Sequence[Any] | None = None,
        *,
        max_rows: int | None = None,
        timeout: float | None = None,
        current_schema: str | None = None,
        reason: str | None = None,
    ) -> Result:
        more = {"max_rows": max_rows, "timeout": timeout, "current_schema": current_schema, "reason": reason}
        return await self._driver.run(self._connection.sql(statement, params, more))

    async def stream(
        self,
        statement: str,
        params: Sequence[Any] | None = None,
        *,
        schema: pa.Schema | None = None,
        timeout: float | None = None,
        current_schema: str | None = None,
        reason: str | None = None,
    ) -> AsyncRows:
        more = {"timeout": timeout, "current_schema": current_schema, "reason": reason}
        return AsyncRows(await self._driver.run(self._connection.stream(statement, params, more)), schema)

    async def models(self) -> dict[str, AsyncModel]:
        models: dict[str, AsyncModel] = {}
        for description in await self._driver.run(models_plan(self._connection)):
            model = AsyncModel(self._connection, description, models)
            model._driver = self._driver
            models[model.name] = model
        return models

    async def transaction(self, operations: Sequence[Data], *, reason: str | None = None) -> list[Change]:
        return await self._driver.run(transaction_plan(self._connection, operations, reason))

    async def endpoints(self) -> dict[str, AsyncEndpoint]:
        listed, described = await self._driver.run(endpoints_plan(self._caller))
        endpoints: dict[str, AsyncEndpoint] = {}
        for summary in listed:
            endpoint = AsyncEndpoint(self._caller, summary, described)
            endpoint._driver = self._driver
            endpoints[endpoint.name] = endpoint
        return endpoints

    async def tables(self) -> AsyncTables:
        if self._tables is None:
            catalog = await self._driver.run(self._connection.catalog())
            self._tables = AsyncTables(self._table(schema, table) for schema, table in catalog)
        return self._tables

    async def refresh_tables(self) -> AsyncTables:
        self._tables = None
        return await self.tables()

    async def read_csv(
        self,
        source: Any,
        *,
        table_name: str | None = None,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> AsyncTable:
        return await self._upload(source, file_body(source), CSV, table_name, keys, types, mode)

    async def read_parquet(
        self,
        source: Any,
        *,
        table_name: str | None = None,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> AsyncTable:
        return await self._upload(source, file_body(source), PARQUET, table_name, keys, types, mode)

    async def read_pandas(
        self,
        frame: Any,
        *,
        table_name: str,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> AsyncTable:
        return await self.read_arrow(frame, table_name=table_name, keys=keys, types=types, mode=mode)

    async def read_arrow(
        self,
        table: Any,
        *,
        table_name: str,
        keys: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        mode: str = "replace",
    ) -> AsyncTable:
        return await self._upload(table, arrow_body(arrow_of(table)), ARROW, table_name, keys, types, mode)

    async def create_cube(
        self,
        table: AsyncTable,
        name: str | None = None,
        *,
        auto: bool = True,
        hierarchies: Mapping[str, Sequence[Column]] | None = None,
        measures: Mapping[str, Expression] | None = None,
        caption: str | None = None,
        description: str | None = None,
    ) -> AsyncCube:
        more = {
            "hierarchies": hierarchies,
            "measures": measures,
            "caption": caption,
            "description": description,
        }
        made = await self._driver.run(create_plan(self._connection, table, name, more, auto=auto))
        return self.cubes.made(made)

    async def close(self) -> None:
        await self._driver.close()

    async def _upload(
        self,
        source: Any,
        body: Any,
        content_type: str,
        name: str | None,
        keys: Sequence[str],
        types: Mapping[str, str] | None,
        mode: str,
    ) -> AsyncTable:
        tables = await self.tables()
        plan = self._connection.uploaded(table_name(source, name), body, content_type, keys, types, mode)
        schema, description = await self._driver.run(plan)
        made = self._table(schema, description)
        made.keys = list(keys) or made.keys
        tables.put(made)
        return made

    def _table(self, schema: str, description: Mapping[str, Any]) -> AsyncTable:
        table = AsyncTable(schema, description)
        table._driver, table._connection = self._driver, self._connection
        return table

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncSession({self.url!r})"
