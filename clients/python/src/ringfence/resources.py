"""What a `Session` gives: models, tables, cubes, security. All of it is plans, run at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .conditions import Where
from .cubecalls import Cells, CubeBase, CubesBase, Expression, HierarchiesBase, Level, LevelName, MeasuresBase
from .drivers import Driver
from .exchange import Wait
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
from .tables import Column, TableBase, TablesBase

if TYPE_CHECKING:
    import pandas

    from .connection import Connection
    from .exchange import Caller

# States of a ticket from which it does not move on.
ENDED = frozenset({"executed", "failed", "rejected", "withdrawn", "expired"})


class Model(ModelBase):
    """A model: `query`, `get`, `aggregate`, `create`, `update`, `delete`, `bulk_create`, `bulk_update`."""

    _driver: Driver

    def query(
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
        """A page of rows."""
        body = query_body(select, order_by, take, include, total_count, cursor)
        return self._driver.run(self.query_plan(body, filters, where))

    def pages(self, filters: Where = None, **more: Any) -> Iterator[Page]:
        """Page after page, as `query`."""
        page = self.query(filters, **more)
        yield page
        while page.has_more and page.next_cursor:
            page = self.query(filters, **{**more, "cursor": page.next_cursor})
            yield page

    def get(self, id: Any, *, select: Sequence[str] | None = None) -> dict[str, Any]:
        """One row by its primary key: the value, or a mapping of all its fields."""
        return self._driver.run(self.get_plan(id, select))

    def aggregate(
        self,
        aggregates: Sequence[Data] | Mapping[str, Figure],
        filters: Where = None,
        *,
        where: Where = None,
        group_by: Sequence[str] | None = None,
        order_by: Sequence[str] | None = None,
        take: int | None = None,
    ) -> Page:
        """Figures: `{"revenue": ("sum", "total"), "orders": "count"}`."""
        body = {
            "aggregates": figures(aggregates),
            "group_by": listed(group_by),
            "order_by": listed(order_by),
            "take": take,
        }
        return self._driver.run(self.aggregate_plan(body, filters, where))

    def create(
        self, data: Data, *, return_fields: Sequence[str] | None = None, reason: str | None = None
    ) -> Change:
        """A new row. What the policy sets may be left out."""
        body = {"data": dict(data), "return_fields": listed(return_fields), "reason": reason}
        return self._driver.run(self.change_plan("create", body))

    def bulk_create(
        self,
        data: Iterable[Data],
        *,
        return_fields: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Change:
        """New rows, all or none."""
        body = {"data": [dict(row) for row in data], "return_fields": listed(return_fields), "reason": reason}
        return self._driver.run(self.change_plan("bulk_create", body))

    def update(
        self,
        id: Any,
        data: Data,
        *,
        if_version: Any = None,
        return_fields: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Change:
        """A change of one row; with `if_version` only while it is still the one that was read."""
        body = {
            "id": id,
            "data": dict(data),
            "if_version": if_version,
            "return_fields": listed(return_fields),
            "reason": reason,
        }
        return self._driver.run(self.change_plan("update", body))

    def bulk_update(
        self,
        ids: Iterable[Any],
        data: Data,
        *,
        return_fields: Sequence[str] | None = None,
        reason: str | None = None,
    ) -> Change:
        """The same change of several rows, all or none."""
        body = {
            "ids": list(ids),
            "data": dict(data),
            "return_fields": listed(return_fields),
            "reason": reason,
        }
        return self._driver.run(self.change_plan("bulk_update", body))

    def delete(self, id: Any, *, if_version: Any = None, reason: str | None = None) -> Change:
        """The end of one row."""
        return self._driver.run(
            self.change_plan("delete", {"id": id, "if_version": if_version, "reason": reason})
        )


def query_body(
    select: Sequence[str] | None,
    order_by: Sequence[str] | None,
    take: int | None,
    include: Mapping[str, Any] | None,
    total_count: bool,
    cursor: str | None,
) -> dict[str, Any]:
    return {
        "select": listed(select),
        "order_by": listed(order_by),
        "take": take,
        "include": None if include is None else {name: dict(inside) for name, inside in include.items()},
        "total_count": total_count or None,
        "cursor": cursor,
    }


class Endpoint(EndpointBase):
    """A published endpoint: call it with its parameters."""

    _driver: Driver

    def __call__(self, **values: Any) -> Any:
        return self._driver.run(self.call_plan(values))


class Approvals:
    """Changes that wait for somebody's consent."""

    def __init__(self, driver: Driver, caller: Caller) -> None:
        self._driver, self._caller = driver, caller

    def list(self, role: str = "approver", *, state: str | None = None) -> list[dict[str, Any]]:
        """Those that you may decide (`approver`), or asked for (`requester`)."""
        return self._driver.run(tickets_plan(self._caller, role, state))

    def get(self, approval: str) -> dict[str, Any]:
        """One, with the operation and what it would do."""
        return self._driver.run(ticket_plan(self._caller, approval))

    def approve(self, approval: str, reason: str | None = None) -> dict[str, Any]:
        return self._driver.run(decide_plan(self._caller, approval, "approve", reason))

    def reject(self, approval: str, reason: str | None = None) -> dict[str, Any]:
        return self._driver.run(decide_plan(self._caller, approval, "reject", reason))

    def withdraw(self, approval: str) -> dict[str, Any]:
        return self._driver.run(decide_plan(self._caller, approval, "withdraw", None))

    def wait(self, approval: str, timeout: float = 60.0, pause: float = 0.5) -> dict[str, Any]:
        """Until it is decided and done; as it stands when the time is over."""
        return self._driver.run(ended_plan(self._caller, approval, timeout, pause))


def ended_plan(caller: Caller, approval: str, timeout: float, pause: float) -> Any:
    left = timeout
    while True:
        ticket = yield from ticket_plan(caller, approval)
        if ticket["state"] in ENDED or left <= 0:
            return ticket
        yield Wait(min(pause, left))
        left -= pause


class Table(TableBase):
    """A table of the connection."""

    _driver: Driver
    _connection: Connection

    def head(self, rows: int = 5) -> Result:
        """The first rows that you see."""

        def plan() -> Any:
            dialect = yield from self._connection.dialect()
            return (yield from self._connection.sql(self.select(dialect, rows), None, {}))

        return cast(Result, self._driver.run(plan()))

    def drop(self) -> None:
        """Removes an uploaded table."""
        self._driver.run(self._connection.drop(self.name))


class Tables(TablesBase):
    """Tables by name: `tables["sales"]`."""

    def __getitem__(self, name: str) -> Table:
        return cast(Table, self.find(name))

    def __delitem__(self, name: str) -> None:
        table = self[name]
        table.drop()
        super().drop(table)


class Hierarchies(HierarchiesBase):
    """`cube.hierarchies["Geography"] = [table["Continent"], table["Country"]]`."""

    _cube: Cube

    def __setitem__(self, name: str, levels: Sequence[Column | Level]) -> None:
        self._cube.driver.run(self._cube.set_hierarchy_plan(name, levels))

    def __delitem__(self, name: str) -> None:
        self._cube.driver.run(self._cube.delete_hierarchy_plan(name))


class Measures(MeasuresBase):
    """`cube.measures["Turnover"] = ringfence.sum(table["Quantity"] * table["Price"])`."""

    _cube: Cube

    def __setitem__(self, name: str, expression: Expression) -> None:
        self._cube.driver.run(self._cube.set_measure_plan(name, expression))

    def __delitem__(self, name: str) -> None:
        self._cube.driver.run(self._cube.delete_measure_plan(name))


class Cube(CubeBase):
    """A cube: `hierarchies`, `levels`, `measures`, `query`."""

    driver: Driver

    @property
    def hierarchies(self) -> Hierarchies:
        return Hierarchies(self)

    @property
    def measures(self) -> Measures:
        return Measures(self)

    def refresh(self) -> None:
        """Looks at the cube anew: others may have changed it, or what you see of it."""
        self.driver.run(self.refresh_plan())

    def query(
        self,
        *measures: Measure | str,
        levels: Sequence[LevelName] = (),
        filter: Where = None,
        include_totals: bool = False,
        include_empty_rows: bool = False,
        order: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> pandas.DataFrame:
        """A frame of pandas, indexed by the levels and their parents."""
        return self.cells(
            *measures,
            levels=levels,
            filter=filter,
            include_totals=include_totals,
            include_empty_rows=include_empty_rows,
            order=order,
            limit=limit,
        ).to_pandas()

    def cells(
        self,
        *measures: Measure | str,
        levels: Sequence[LevelName] = (),
        filter: Where = None,
        include_totals: bool = False,
        include_empty_rows: bool = False,
        order: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> Cells:
        """The same for other libraries: `.to_arrow()`, `.to_polars()`, rows."""
        more = {
            "include_totals": include_totals,
            "include_empty_rows": include_empty_rows,
            "order": order,
            "limit": limit,
        }
        return self.driver.run(self.cells_plan(measures, levels, filter, more))

    def definition(self) -> dict[str, Any]:
        """The document that the cube is kept as."""
        return self.driver.run(self.definition_plan())

    def drop(self) -> None:
        self.driver.run(self.drop_plan())


class Cubes(CubesBase, Mapping[str, Cube]):
    """Cubes of the connection, by name. Each look asks the server: what you see may change."""

    def __init__(self, driver: Driver, connection: Connection) -> None:
        super().__init__(connection)
        self._driver = driver

    def __getitem__(self, name: str) -> Cube:
        known = self._driver.run(self.descriptions_plan())
        if name not in known:
            raise KeyError(f"no cube {name!r}: {', '.join(known) or 'there are none for you'}")
        return self.made(known[name])

    def made(self, description: Mapping[str, Any]) -> Cube:
        cube = Cube(self._connection, description)
        cube.driver = self._driver
        return cube

    def __delitem__(self, name: str) -> None:
        self[name].drop()

    def __iter__(self) -> Iterator[str]:
        return iter(self._driver.run(self.descriptions_plan()))

    def __len__(self) -> int:
        return len(self._driver.run(self.descriptions_plan()))

    def __repr__(self) -> str:
        return f"<Cubes: {', '.join(self)}>"
