"""`session.security`: sets and mappings that the server keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSet
from typing import TYPE_CHECKING, Any

from .drivers import Driver
from .securitycalls import Restriction, Role, SecurityCalls, User, entries

if TYPE_CHECKING:
    from .connection import Connection


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
