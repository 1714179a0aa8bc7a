"""What an `AsyncSession` gives: models, tables, cubes, security, as in `Session` and awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .conditions import Where
from .connection import Connection
from .cubecalls import (
    Cells,
    CubeBase,
    CubesBase,
    Expression,
    HierarchiesBase,
    Level,
    LevelName,
    MeasuresBase,
)
from .drivers import AsyncDriver
from .exchange import Caller
from .frames import Result
from .measures import Measure
from .modelcalls import (
    Change,
    Data,
    EndpointBase,
    Figure,
    ModelBase,
    Page,
    decide_plan,
    figures,
    listed,
    ticket_plan,
    tickets_plan,
)
from .resources import ended_plan, query_body
from .securitycalls import Restriction, Role, SecurityCalls, User
from .tables import Column, TableBase, TablesBase

if TYPE_CHECKING:
    import pandas


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
