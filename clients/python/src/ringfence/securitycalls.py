"""Plans for roles, restrictions and credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from .conditions import Both, Comparison, Condition
from .connection import Connection
from .errors import NotFound
from .exchange import Caller, Plan, Request, path
from .tables import Column

# A condition on columns; or `{("table", "column"): [values]}`; or the server's own list.
Restriction = Union[Condition, Mapping[tuple[str, str], Iterable[Any]], Sequence[Mapping[str, Any]]]

IMPERSONATE = "x-waii-impersonate-user"


class Role:
    """A data role and what it restricts."""

    def __init__(self, name: str, restrictions: list[dict[str, Any]]) -> None:
        self.name, self.restrictions = name, restrictions

    def __repr__(self) -> str:
        return f"Role({self.name!r}, {len(self.restrictions)} restrictions)"


class User:
    """A user with a password."""

    def __init__(self, username: str) -> None:
        self.username = username

    def __repr__(self) -> str:
        return f"User({self.username!r})"


def entries(
    restriction: Restriction, together: Iterable[frozenset[tuple[str, str]]] = ()
) -> list[dict[str, Any]]:
    """A restriction as the server keeps it. `together` are columns (table, column) that are levels of one
    hierarchy."""
    if isinstance(restriction, Condition):
        return entries_of(restriction, list(together))
    if isinstance(restriction, Mapping):
        made = []
        for (table, column), values in restriction.items():
            if isinstance(values, (str, bytes)):
                raise TypeError("a restriction has a list of values")
            made.append({"table": table, "column": column, "in": list(values)})
        return made
    return [dict(entry) for entry in restriction]


def entries_of(condition: Condition, together: list[frozenset[tuple[str, str]]]) -> list[dict[str, Any]]:
    """`&` over columns of different hierarchies becomes one entry each, which are intersected. Entries on
    ONE hierarchy are
    alternatives, so that a conjunction there stays one condition: two entries would show more than was
    asked for."""
    parts = list(condition.parts) if isinstance(condition, Both) and condition.word == "and" else [condition]
    groups: list[list[Condition]] = []
    for part in parts:
        here = columns_of(part)
        meeting = [
            group for group in groups if any(meet(here, columns_of(other), together) for other in group)
        ]
        groups = [group for group in groups if group not in meeting]
        groups.append([*(other for group in meeting for other in group), part])
    return [entry(group) for group in groups]


def entry(group: list[Condition]) -> dict[str, Any]:
    """What is on one hierarchy."""
    comparisons = [found for part in group for found in part.comparisons()]
    columns = [column_of(found) for found in comparisons]
    tables = {column.table.full_name for column in columns}
    if len(tables) != 1:
        raise ValueError("`|` and `~` in a restriction are over columns of one table")
    # The last is the finest, as people write it: country and city.
    last = columns[-1]
    head = {"table": last.table.full_name, "column": last.name}
    if len(group) == 1 and isinstance(group[0], Comparison):
        only = group[0]
        if only.op == "eq":
            return {**head, "in": [only.value]}
        if only.op == "in":
            return {**head, "in": list(only.value)}
    text = " AND ".join(f"({part.to_sql()})" for part in group) if len(group) > 1 else group[0].to_sql()
    return {**head, "condition": text}


def column_of(comparison: Comparison) -> Column:
    if not isinstance(comparison.operand, Column):
        raise TypeError("a restriction compares columns of tables: table['City'] == 'Paris'")
    if isinstance(comparison.value, Column):
        raise TypeError("a restriction compares with values")
    return comparison.operand


def columns_of(condition: Condition) -> set[tuple[str, str]]:
    return {
        (column.table.full_name, column.name)
        for column in (column_of(found) for found in condition.comparisons())
    }


def meet(
    here: set[tuple[str, str]], there: set[tuple[str, str]], together: list[frozenset[tuple[str, str]]]
) -> bool:
    """Whether two conditions are on one hierarchy, or on one column."""
    if here & there:
        return True
    return any(here & group and there & group for group in together)


class SecurityCalls:
    """The plans of `session.security`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._caller = connection.caller

    def restrictions(self) -> Plan[dict[str, list[dict[str, Any]]]]:
        key = yield from self._connection.key()
        address = path("security", "restrictions", key)
        answer = yield from self._caller.fetch(Request("GET", address, repeatable=True))
        return {str(one["role"]): list(one["restrictions"]) for one in answer["items"]}

    def restrict(self, role: str, restriction: Restriction) -> Plan[Role]:
        key = yield from self._connection.key()
        together: list[frozenset[tuple[str, str]]] = []
        if isinstance(restriction, Condition) and len(columns_of(restriction)) > 1:
            together = yield from self._hierarchies()
        made = entries(restriction, together)
        address = path("security", "restrictions", key, role)
        yield from self._caller.ask(Request("PUT", address, json={"restrictions": made}, repeatable=True))
        return Role(role, made)

    def unrestrict(self, role: str) -> Plan[None]:
        key = yield from self._connection.key()
        address = path("security", "restrictions", key, role)
        yield from self._caller.ask(Request("DELETE", address, repeatable=True))

    def _hierarchies(self) -> Plan[list[frozenset[tuple[str, str]]]]:
        """Columns that cubes of the connection put into one hierarchy."""
        address = yield from self._connection.path("cubes")
        listed = yield from self._caller.fetch(Request("GET", address, repeatable=True))
        return [
            frozenset((level["table"], level["column"]) for level in hierarchy["levels"])
            for cube in listed["items"]
            for hierarchy in cube["hierarchies"]
        ]

    def individual_roles(self) -> Plan[dict[str, set[str]]]:
        listed = yield from self._caller.fetch(
            Request("GET", path("security", "individual-roles"), repeatable=True)
        )
        return {str(one["user"]): set(one["roles"]) for one in listed["items"]}

    def roles_of(self, user: str) -> Plan[set[str]]:
        address = path("security", "individual-roles", user)
        answer = yield from self._caller.fetch(Request("GET", address, repeatable=True))
        return set(answer["roles"])

    def give_roles(self, user: str, roles: Iterable[str]) -> Plan[set[str]]:
        """Exactly these."""
        if isinstance(roles, str):
            raise TypeError("a set of role names, not one text")
        address = path("security", "individual-roles", user)
        answer = yield from self._caller.fetch(
            Request("PUT", address, json={"roles": sorted(set(roles))}, repeatable=True)
        )
        return set(answer["roles"])

    def change_roles(self, user: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Plan[set[str]]:
        """Some more, some fewer."""
        known = yield from self.roles_of(user)
        wanted = (known | set(add)) - set(remove)
        return known if wanted == known else (yield from self.give_roles(user, wanted))

    def role_mapping(self, source: str) -> Plan[dict[str, set[str]]]:
        address = path("security", "role-mapping", source)
        listed = yield from self._caller.fetch(Request("GET", address, repeatable=True))
        return {str(one["role"]): set(one["means"]) for one in listed["items"]}

    def map_role(self, source: str, role: str, means: Iterable[str]) -> Plan[None]:
        if isinstance(means, str):
            raise TypeError("a set of role names, not one text")
        address = path("security", "role-mapping", source, role)
        body = {"means": sorted(set(means))}
        yield from self._caller.ask(Request("PUT", address, json=body, repeatable=True))

    def unmap_role(self, source: str, role: str) -> Plan[None]:
        address = path("security", "role-mapping", source, role)
        yield from self._caller.ask(Request("DELETE", address, repeatable=True))

    def names(self) -> Plan[list[str]]:
        """Who has a password."""
        listed = yield from self._caller.fetch(
            Request("GET", path("security", "basic-credentials"), repeatable=True)
        )
        return [str(one["name"]) for one in listed["items"]]

    def put_password(self, name: str, password: str) -> Plan[None]:
        address = path("security", "basic-credentials", name)
        yield from self._caller.ask(Request("PUT", address, json={"password": password}, repeatable=True))

    def put_technical_user(self, name: str, password: str) -> Plan[None]:
        """A password for somebody, who is made if there is no such user."""
        try:
            yield from self.put_password(name, password)
        except NotFound:
            yield from make_user(self._caller, name, [])
            yield from self.put_password(name, password)

    def delete_password(self, name: str) -> Plan[None]:
        address = path("security", "basic-credentials", name)
        yield from self._caller.ask(Request("DELETE", address, repeatable=True))

    def create_user(self, name: str, password: str, roles: Iterable[str]) -> Plan[User]:
        """A new user with a password and data roles."""
        yield from make_user(self._caller, name, sorted(set(roles)))
        yield from self.put_password(name, password)
        return User(name)

    def lend_connection(self, user: str, password: str | None) -> Plan[str]:
        """The connection of this session for somebody else, too. Its password is never told, so that it is
        said again."""
        known = yield from self._connection.known()
        spec = {name: value for name, value in known["spec"].items() if value is not None}
        if password is not None:
            spec["password"] = password
        made = yield from self._caller.fetch(
            Request("POST", path("connections"), json=spec, headers={IMPERSONATE: user})
        )
        yield from self._connection.indexed(str(made["key"]), {IMPERSONATE: user})
        return str(made["key"])


def make_user(caller: Caller, name: str, data_roles: list[str]) -> Plan[None]:
    yield from caller.ask(Request("POST", path("users"), json={"id": name, "data_roles": data_roles}))
