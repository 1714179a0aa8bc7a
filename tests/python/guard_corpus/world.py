"""The corpus behind Ringfence: organization, users, keys, connections and the policy.

`python -m guard_corpus.world --json` keeps it up for others to use, until it is interrupted.
"""

import argparse
import json
import signal
import sys
import threading
from typing import Any, Protocol

from gateway import GatewayWithPeople

from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import PRINCIPALS, Principal, read_principals
from guard_corpus.targets import SECONDS, GatewayTarget

TENANT = "1"


class Databases(Protocol):
    """The databases of one dialect, as Ringfence is told of them."""

    def key(self, principal: str, *, guarded: bool) -> str: ...

    def description(self, principal: str, *, guarded: bool) -> dict[str, Any]: ...

    def settings(self) -> dict[str, str]: ...

    def policy(self) -> bytes: ...


GOVERNOR = "governor"


class GatewayWorld(GatewayWithPeople):
    """A running Ringfence, with the four principals. Use it in a `with` block.

    Guarded: all four share a connection to the shared database, under the policy. Open: each has a connection
    to its own isolated database, which shows that both ways of reading values agree.
    """

    def __init__(self, databases: Databases, *, guarded: bool) -> None:
        super().__init__(databases.settings())
        self.databases = databases
        self.guarded = guarded
        self.governor = ""

    def connection(self, principal: str) -> str:
        """The key of a principal's connection."""
        return self.databases.key(principal, guarded=self.guarded)

    def target(self, seconds: float = SECONDS) -> GatewayTarget:
        """What the runner takes."""
        return GatewayTarget(
            self.gateway.url, self.keys, self.connection, isolated=not self.guarded, seconds=seconds
        )

    def _fill(self) -> None:
        principals = read_principals()
        organization = {principal.organization for principal in principals.values()}
        assert len(organization) == 1
        self.gateway.call("POST", "orgs", {"id": (org := organization.pop()), "name": org.title()})
        self.gateway.call("POST", "tenants", {"id": TENANT, "name": "A", "org": org})
        for principal in principals.values():
            self._add_principal(principal)
        if self.guarded:
            self._add_governor(principals)
        for name in principals:
            self.gateway.wait_for_catalog(self.connection(name), self.keys[name])
        if self.guarded:
            shared = self.connection(PRINCIPALS[0])
            self.gateway.put_policy(shared, self.databases.policy(), self.governor)

    def _add_principal(self, principal: Principal) -> None:
        user: dict[str, Any] = {
            "id": principal.name,
            "tenant": TENANT,
            "org": principal.organization,
            "variables": principal.variables,
        }
        if self.guarded:
            user["data_roles"] = list(principal.roles)
        self.gateway.call("POST", "users", user)
        made = self.gateway.call("POST", "keys", {"name": "corpus"}, acting=principal.name)
        self.keys[principal.name] = made["secret"]
        description = self.databases.description(principal.name, guarded=self.guarded)
        added = self.gateway.call(
            "POST", "connections?validate=true", description, key=self.keys[principal.name]
        )
        assert added["key"] == self.connection(principal.name), added

    def _add_governor(self, principals: dict[str, Principal]) -> None:
        """Who puts the policy: an administrator of the organization, with a connection of the same key."""
        org = next(iter(principals.values())).organization
        user = {"id": GOVERNOR, "tenant": TENANT, "org": org, "roles": ["org-admin-user"]}
        self.gateway.call("POST", "users", user)
        self.governor = self.gateway.call("POST", "keys", {"name": "corpus"}, acting=GOVERNOR)["secret"]
        description = self.databases.description(PRINCIPALS[0], guarded=True)
        self.gateway.call("POST", "connections", description, key=self.governor)


def main() -> int:
    parser = argparse.ArgumentParser(prog="guard_corpus.world", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of words")
    arguments = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with PostgresWorld() as postgres, GatewayWorld(postgres, guarded=True) as world:
        said = {
            "base": world.gateway.url,
            "connection": world.connection(PRINCIPALS[0]),
            "keys": world.keys,
            "admin_dsn": postgres.shared.server_dsn(),
            "shared_dsn": postgres.dsn("shared"),
        }
        if arguments.json:
            print(json.dumps(said), flush=True)
        else:
            print("\n".join(f"{name}: {value}" for name, value in said.items()), flush=True)
        over.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
