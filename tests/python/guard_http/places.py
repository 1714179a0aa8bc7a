"""A running Ringfence with people and connections: several databases, with a policy or with none."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests
from gateway import GatewayWithPeople

ORGANIZATION = "acme"

GOVERNOR = "governor"


@dataclass
class Person:
    """Who asks."""

    name: str
    tenant: str
    variables: dict[str, Any] = field(default_factory=dict)
    data_roles: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)


class Places(GatewayWithPeople):
    """The server, and what was set up in it. Use it in a `with` block."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        super().__init__(settings)
        self.http = requests.Session()

    def _fill(self) -> None:
        self.gateway.call("POST", "orgs", {"id": ORGANIZATION, "name": ORGANIZATION})

    def add(self, *people: Person) -> None:
        """People, their tenants, and who governs them all."""
        for tenant in dict.fromkeys(person.tenant for person in people):
            self.gateway.call("POST", "tenants", {"id": tenant, "name": tenant, "org": ORGANIZATION})
        governor = Person(GOVERNOR, people[0].tenant, roles=["org-admin-user"])
        for person in (*people, governor):
            user: dict[str, Any] = {"id": person.name, "tenant": person.tenant, "org": ORGANIZATION}
            user |= {"variables": person.variables, "data_roles": person.data_roles}
            if person.roles:
                user["roles"] = person.roles
            self.gateway.call("POST", "users", user)
            made = self.gateway.call("POST", "keys", {"name": "test"}, acting=person.name)
            self.keys[person.name] = made["secret"]

    def connect(self, person: str, description: dict[str, Any]) -> str:
        """A person's connection, indexed; gives its key."""
        return self.gateway.connect(description, self.keys[person])

    def put_policy(self, connection: str, policy: bytes) -> None:
        """As the governor, who has a connection of the same key."""
        self.gateway.put_policy(connection, policy, self.keys[GOVERNOR])

    def ask(self, person: str, connection: str, sql: str, **more: Any) -> requests.Response:
        """One statement."""
        timeout = more.pop("wait", 60)
        return self.http.post(
            f"{self.gateway.url}/v1/connections/{quote(connection, safe='')}/query",
            json={"statement": sql, **more},
            headers={"Authorization": f"Bearer {self.keys[person]}"},
            timeout=timeout,
        )
