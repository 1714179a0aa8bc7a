"""What a `Session` gives: models, tables, cubes, security. All of it is plans, run at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSet, Sequence
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
from .securitycalls import Restriction, Role, SecurityCalls, User, entries
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


class Restrictions(MutableMapping[str, list[dict[str, Any]]]):
    """`restrictions["ROLE_FRANCE"] = shops["Country"] == "France"`; a dictionary or the server's list will
    do, too."""

    def __init__(self, driver: Driver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    def __getitem__(self, role: str) -> list[dict[str, Any]]:
        return self._driver.run(self._calls.restrictions())[role]

    def __setitem__(self, role: str, restriction: Restriction) -> None:
        self._driver.run(self._calls.restrict(role, restriction))

    def __delitem__(self, role: str) -> None:
        self[role]
        self._driver.run(self._calls.unrestrict(role))

    def __iter__(self) -> Iterator[str]:
        return iter(self._driver.run(self._calls.restrictions()))

    def __len__(self) -> int:
        return len(self._driver.run(self._calls.restrictions()))

    def __repr__(self) -> str:
        return f"<Restrictions: {', '.join(self)}>"


class Roles(MutableSet[str]):
    """A set of role names that the server keeps: `add` and `remove` count from the next request on."""

    def __init__(self, driver: Driver, calls: SecurityCalls, user: str) -> None:
        self._driver, self._calls, self._user = driver, calls, user

    def add(self, role: str) -> None:
        self._driver.run(self._calls.change_roles(self._user, add=[role]))

    def discard(self, role: str) -> None:
        self._driver.run(self._calls.change_roles(self._user, remove=[role]))

    def _now(self) -> set[str]:
        return self._driver.run(self._calls.roles_of(self._user))

    def __contains__(self, role: object) -> bool:
        return role in self._now()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._now()))

    def __len__(self) -> int:
        return len(self._now())

    @classmethod
    def _from_iterable(cls, roles: Iterable[str]) -> set[str]:  # type: ignore[override]
        return set(roles)

    def __repr__(self) -> str:
        return repr(self._now())


class IndividualRoles(MutableMapping[str, Roles]):
    """Data roles that were granted by hand: `individual_roles["john"].add("ROLE_FRANCE")`."""

    def __init__(self, driver: Driver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    def __getitem__(self, user: str) -> Roles:
        return Roles(self._driver, self._calls, user)

    def __setitem__(self, user: str, roles: Iterable[str]) -> None:
        self._driver.run(self._calls.give_roles(user, roles))

    def __delitem__(self, user: str) -> None:
        self[user] = ()

    def __iter__(self) -> Iterator[str]:
        return iter(self._driver.run(self._calls.individual_roles()))

    def __len__(self) -> int:
        return len(self._driver.run(self._calls.individual_roles()))

    def __repr__(self) -> str:
        return repr(self._driver.run(self._calls.individual_roles()))


class RoleMapping(MutableMapping[str, set[str]]):
    """What the roles of one OpenID provider mean: `{"france": {"ROLE_FRANCE"}}`."""

    def __init__(self, driver: Driver, calls: SecurityCalls, source: str) -> None:
        self._driver, self._calls, self._source = driver, calls, source

    def __getitem__(self, role: str) -> set[str]:
        return self._driver.run(self._calls.role_mapping(self._source))[role]

    def __setitem__(self, role: str, means: Iterable[str]) -> None:
        self._driver.run(self._calls.map_role(self._source, role, means))

    def __delitem__(self, role: str) -> None:
        self[role]
        self._driver.run(self._calls.unmap_role(self._source, role))

    def __iter__(self) -> Iterator[str]:
        return iter(self._driver.run(self._calls.role_mapping(self._source)))

    def __len__(self) -> int:
        return len(self._driver.run(self._calls.role_mapping(self._source)))

    def __repr__(self) -> str:
        return repr(self._driver.run(self._calls.role_mapping(self._source)))


class RoleMappings:
    """Role mappings by provider: `role_mapping["corporate"]["france"] = {"ROLE_FRANCE"}`."""

    def __init__(self, driver: Driver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    def __getitem__(self, source: str) -> RoleMapping:
        return RoleMapping(self._driver, self._calls, source)

    def __setitem__(self, source: str, mapping: Mapping[str, Iterable[str]]) -> None:
        """Exactly this mapping."""
        kept = self[source]
        for role in set(kept) - set(mapping):
            del kept[role]
        for role, means in mapping.items():
            kept[role] = set(means)


class BasicCredentials:
    """Passwords of technical users. They are set and removed, and never read."""

    def __init__(self, driver: Driver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls

    def __setitem__(self, name: str, password: str) -> None:
        """Somebody who is not there yet is made."""
        self._driver.run(self._calls.put_technical_user(name, password))

    def __delitem__(self, name: str) -> None:
        self._driver.run(self._calls.delete_password(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._driver.run(self._calls.names()))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __repr__(self) -> str:
        return f"<BasicCredentials: {', '.join(self)}>"


class BasicUsers:
    """Users with passwords."""

    def __init__(self, driver: Driver, calls: SecurityCalls) -> None:
        self._driver, self._calls = driver, calls
        self.credentials = BasicCredentials(driver, calls)

    def create_user(self, name: str, *, password: str, roles: Iterable[str] = ("ROLE_USER",)) -> User:
        """A new user, with ROLE_USER when nothing else is said."""
        return self._driver.run(self._calls.create_user(name, password, roles))


class Security:
    """Roles, what they restrict, who has them, and passwords. For administrators."""

    def __init__(self, driver: Driver, connection: Connection) -> None:
        self._driver = driver
        self._calls = SecurityCalls(connection)
        self.restrictions = Restrictions(driver, self._calls)
        self.individual_roles = IndividualRoles(driver, self._calls)
        self.role_mapping = RoleMappings(driver, self._calls)
        self.basic = BasicUsers(driver, self._calls)

    def create_role(self, name: str, *, restrictions: Restriction | None = None) -> Role:
        """A data role. Without restrictions it restricts nothing."""
        if restrictions is None:
            return Role(name, entries([]))
        return self._driver.run(self._calls.restrict(name, restrictions))

    def lend_connection(self, user: str, *, password: str | None = None) -> str:
        """Gives somebody the connection of this session, too; `password` is the database's, if it has one."""
        return self._driver.run(self._calls.lend_connection(user, password))
