"""The same for asyncio: every method as in `Session`, awaited. What is assigned there is `set` and
`delete`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from .conditions import Where
from .connection import CSV, PARQUET, Connection, arrow_body, arrow_of, file_body, table_name
from .credentials import Auth
from .cubecalls import (
    Cells,
    CubeBase,
    CubesBase,
    Expression,
    HierarchiesBase,
    Level,
    LevelName,
    MeasuresBase,
    create_plan,
)
from .drivers import AsyncDriver, AsyncStream
from .exchange import ARROW, Caller, Reply, Request, path
from .frames import Result, Row
from .measures import Measure
from .modelcalls import (
    Change,
    Data,
    EndpointBase,
    Figure,
    ModelBase,
    Page,
    decide_plan,
    endpoints_plan,
    figures,
    listed,
    models_plan,
    ticket_plan,
    tickets_plan,
    transaction_plan,
)
from .resources import ended_plan, query_body
from .securitycalls import Restriction, Role, SecurityCalls, User
from .session import caller_of
from .streams import decoder
from .tables import Column, TableBase, TablesBase

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa


# `set` is the name of methods below.
RoleNames = set[str]


class AsyncModel(ModelBase):
    """As `Model`."""

    _driver: AsyncDriver

    async def query(
        self,
        filters: Where = None,
        *,
        where: Where = None,
        select: Sequence[str] | None = None,
        order_by: Sequence[str] | None = None,
        take: int | None = None,
        include: Mapping[str, Any] | None = None,
        total_count: bool = False,
        cursor: str | None = None,
    ) -> Page:
        body = query_body(select, order_by, take, include, total_count, cursor)
        return await self._driver.run(self.query_plan(body, filters, where))

    async def pages(self, filters: Where = None, **more: Any) -> AsyncIterator[Page]:
        page = await self.query(filters, **more)
        yield page
        while page.has_more and page.next_cursor:
            page = await self.query(filters, **{**more, "cursor": page.next_cursor})
            yield page

    async def get(self, id: Any, *, select: Sequence[str] | None = None) -> dict[str, Any]:
        return await self._driver.run(self.get_plan(id, select))

    async def aggregate(
        self,
        aggregates: Sequence[Data] | Mapping[str, Figure],
        filters: Where = None,
        *,
        where: Where = None,
        group_by: Sequence[str] | None = None,
        order_by: Sequence[str] | None = None,
        take: int | None = None,
    ) -> Page:
        body = {
            "aggregates": figures(aggregates),
            "group_by": listed(group_by),
            "order_by": listed(order_by),
            "take": take,
        }
        return await self._driver.run(self.aggregate_plan(body, filters, where))

    async def create(
        self, data: Data, *, return_fields: Sequence[str] | None = None, reason: str | None = None
    ) -> Change:
        body = {"data": dict(data), "return_fields": listed(return_fields), "reason": reason}
        return await self._driver.run(self.change_plan("create", body))

    async def bulk_create(
        self,
        data: Iterable[Data],
        *,
        return_fields: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Change:
        body = {"data": [dict(row) for row in data], "return_fields": listed(return_fields), "reason": reason}
        return await self._driver.run(self.change_plan("bulk_create", body))

    async def update(
        self,
        id: Any,
        data: Data,
        *,
        if_version: Any = None,
        return_fields: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Change:
        body = {
            "id": id,
            "data": dict(data),
            "if_version": if_version,
            "return_fields": listed(return_fields),
            "reason": reason,
        }
        return await self._driver.run(self.change_plan("update", body))

    async def bulk_update(
        self,
        ids: Iterable[Any],
        data: Data,
        *,
        return_fields: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Change:
        body = {
            "ids": list(ids),
            "data": dict(data),
            "return_fields": listed(return_fields),
            "reason": reason,
        }
        return await self._driver.run(self.change_plan("bulk_update", body))

    async def delete(self, id: Any, *, if_version: Any = None, reason: str | None = None) -> Change:
        body = {"id": id, "if_version": if_version, "reason": reason}
        return await self._driver.run(self.change_plan("delete", body))


class AsyncEndpoint(EndpointBase):
    """As `Endpoint`."""

    _driver: AsyncDriver

    async def __call__(self, **values: Any) -> Any:
        return await self._driver.run(self.call_plan(values))


class AsyncApprovals:
    """As `Approvals`."""

    def __init__(self, driver: AsyncDriver, caller: Caller) -> None:
        self._driver, self._caller = driver, caller

    async def list(self, role: str = "approver", *, state: str | None = None) -> list[dict[str, Any]]:
        return await self._driver.run(tickets_plan(self._caller, role, state))

    async def get(self, approval: str) -> dict[str, Any]:
        return await self._driver.run(ticket_plan(self._caller, approval))

    async def approve(self, approval: str, reason: str | None = None) -> dict[str, Any]:
        return await self._driver.run(decide_plan(self._caller, approval, "approve", reason))

    async def reject(self, approval: str, reason: str | None = None) -> dict[str, Any]:
        return await self._driver.run(decide_plan(self._caller, approval, "reject", reason))

    async def withdraw(self, approval: str) -> dict[str, Any]:
        return await self._driver.run(decide_plan(self._caller, approval, "withdraw", None))

    async def wait(self, approval: str, timeout: float = 60.0, pause: float = 0.5) -> dict[str, Any]:
        return await self._driver.run(ended_plan(self._caller, approval, timeout, pause))


class AsyncTable(TableBase):
    """As `Table`."""

    _driver: AsyncDriver
    _connection: Connection

    async def head(self, rows: int = 5) -> Result:
        def plan() -> Any:
            dialect = yield from self._connection.dialect()
            return (yield from self._connection.sql(self.select(dialect, rows), None, {}))

        return cast(Result, await self._driver.run(plan()))

    async def drop(self) -> None:
        await self._driver.run(self._connection.drop(self.name))


class AsyncTables(TablesBase):
    """As `Tables`: `tables = await session.tables()`, then `tables["sales"]`."""

    def __getitem__(self, name: str) -> AsyncTable:
        return cast(AsyncTable, self.find(name))


class AsyncHierarchies(HierarchiesBase):
    """`await cube.hierarchies.set("Geography", [...])`."""

    _cube: AsyncCube

    async def set(self, name: str, levels: Sequence[Column | Level]) -> None:
        await self._cube.driver.run(self._cube.set_hierarchy_plan(name, levels))

    async def delete(self, name: str) -> None:
        await self._cube.driver.run(self._cube.delete_hierarchy_plan(name))


class AsyncMeasures(MeasuresBase):
    """`await cube.measures.set("Turnover", ringfence.sum(...))`."""

    _cube: AsyncCube

    async def set(self, name: str, expression: Expression) -> None:
        await self._cube.driver.run(self._cube.set_measure_plan(name, expression))

    async def delete(self, name: str) -> None:
        await self._cube.driver.run(self._cube.delete_measure_plan(name))


class AsyncCube(CubeBase):
    """As `Cube`."""

    driver: AsyncDriver

    @property
    def hierarchies(self) -> AsyncHierarchies:
        return AsyncHierarchies(self)

    @property
    def measures(self) -> AsyncMeasures:
        return AsyncMeasures(self)

    async def refresh(self) -> None:
        await self.driver.run(self.refresh_plan())

    async def query(
        self,
        *measures: Measure | str,
        levels: Sequence[LevelName] = (),
        filter: Where = None,
        include_totals: bool = False,
        include_empty_rows: bool = False,
        order: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> pandas.DataFrame:
        cells = await self.cells(
            *measures,
            levels=levels,
            filter=filter,
            include_totals=include_totals,
            include_empty_rows=include_empty_rows,
            order=order,
            limit=limit,
        )
        return cells.to_pandas()

    async def cells(
        self,
        *measures: Measure | str,
        levels: Sequence[LevelName] = (),
        filter: Where = None,
        include_totals: bool = False,
        include_empty_rows: bool = False,
        order: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> Cells:
        more = {
            "include_totals": include_totals,
            "include_empty_rows": include_empty_rows,
            "order": order,
            "limit": limit,
        }
        return await self.driver.run(self.cells_plan(measures, levels, filter, more))

    async def definition(self) -> dict[str, Any]:
        return await self.driver.run(self.definition_plan())

    async def drop(self) -> None:
        await self.driver.run(self.drop_plan())


class AsyncCubes(CubesBase):
    """`await session.cubes.get("sales")`, `await session.cubes.names()`."""

    def __init__(self, driver: AsyncDriver, connection: Connection) -> None:
        super().__init__(connection)
        self._driver = driver

    async def get(self, name: str) -> AsyncCube:
        return self.made(await self._driver.run(self.description_plan(name)))

    async def names(self) -> list[str]:
        return list(await self._driver.run(self.descriptions_plan()))

    def made(self, description: Mapping[str, Any]) -> AsyncCube:
        cube = AsyncCube(self._connection, description)
        cube.driver = self._driver
        return cube


class AsyncRestrictions:
    """As `Restrictions`."""

    def __init__(self, driver: AsyncDriver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    async def all(self) -> dict[str, list[dict[str, Any]]]:
        return await self._driver.run(self._calls.restrictions())

    async def set(self, role: str, restriction: Restriction) -> Role:
        return await self._driver.run(self._calls.restrict(role, restriction))

    async def delete(self, role: str) -> None:
        await self._driver.run(self._calls.unrestrict(role))


class AsyncIndividualRoles:
    """As `IndividualRoles`."""

    def __init__(self, driver: AsyncDriver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    async def all(self) -> dict[str, RoleNames]:
        return await self._driver.run(self._calls.individual_roles())

    async def get(self, user: str) -> RoleNames:
        return await self._driver.run(self._calls.roles_of(user))

    async def add(self, user: str, *roles: str) -> RoleNames:
        return await self._driver.run(self._calls.change_roles(user, add=roles))

    async def remove(self, user: str, *roles: str) -> RoleNames:
        return await self._driver.run(self._calls.change_roles(user, remove=roles))

    async def set(self, user: str, roles: Iterable[str]) -> RoleNames:
        return await self._driver.run(self._calls.give_roles(user, roles))


class AsyncRoleMapping:
    """As `RoleMappings`; each call names the provider."""

    def __init__(self, driver: AsyncDriver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    async def all(self, source: str) -> dict[str, RoleNames]:
        return await self._driver.run(self._calls.role_mapping(source))

    async def set(self, source: str, role: str, means: Iterable[str]) -> None:
        await self._driver.run(self._calls.map_role(source, role, means))

    async def delete(self, source: str, role: str) -> None:
        await self._driver.run(self._calls.unmap_role(source, role))


class AsyncBasicUsers:
    """As `BasicUsers` with its credentials."""

    def __init__(self, driver: AsyncDriver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    async def names(self) -> list[str]:
        return await self._driver.run(self._calls.names())

    async def set(self, name: str, password: str) -> None:
        await self._driver.run(self._calls.put_technical_user(name, password))

    async def delete(self, name: str) -> None:
        await self._driver.run(self._calls.delete_password(name))

    async def create_user(self, name: str, *, password: str, roles: Iterable[str] = ("ROLE_USER",)) -> User:
        return await self._driver.run(self._calls.create_user(name, password, roles))


class AsyncSecurity:
    """As `Security`."""

    def __init__(self, driver: AsyncDriver, connection: Connection) -> None:
        self._driver = driver
        self._calls = SecurityCalls(connection)
        self.restrictions = AsyncRestrictions(driver, self._calls)
        self.individual_roles = AsyncIndividualRoles(driver, self._calls)
        self.role_mapping = AsyncRoleMapping(driver, self._calls)
        self.basic = AsyncBasicUsers(driver, self._calls)

    async def create_role(self, name: str, *, restrictions: Restriction | None = None) -> Role:
        return Role(name, []) if restrictions is None else await self.restrictions.set(name, restrictions)

    async def lend_connection(self, user: str, *, password: str | None = None) -> str:
        return await self._driver.run(self._calls.lend_connection(user, password))


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
