"""A running Ringfence with people and connections: several databases, with a policy or with none."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests
from gateway import ADMIN_KEY, Gateway
from polling import wait_for

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


class Places:
    """The server, and what was set up in it. Use it in a `with` block."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.gateway = Gateway(settings=settings)
        self.keys: dict[str, str] = {}
        self.http = requests.Session()

    def __enter__(self) -> "Places":
        self.gateway.start()
        self._call("POST", "orgs", {"id": ORGANIZATION, "name": ORGANIZATION})
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()

    def add(self, *people: Person) -> None:
        """People, their tenants, and who governs them all."""
        for tenant in dict.fromkeys(person.tenant for person in people):
            self._call("POST", "tenants", {"id": tenant, "name": tenant, "org": ORGANIZATION})
        governor = Person(GOVERNOR, people[0].tenant, roles=["org-admin-user"])
        for person in (*people, governor):
            user: dict[str, Any] = {"id": person.name, "tenant": person.tenant, "org": ORGANIZATION}
            user |= {"variables": person.variables, "data_roles": person.data_roles}
            if person.roles:
                user["roles"] = person.roles
            self._call("POST", "users", user)
            made = self._call("POST", "keys", {"name": "test"}, acting=person.name)
            self.keys[person.name] = made["secret"]

    def connect(self, person: str, description: dict[str, Any]) -> str:
        """A person's connection, indexed; gives its key."""
        added = self._call("POST", "connections?validate=true", description, key=self.keys[person])
        key = str(added["key"])
        path = f"connections/{quote(key, safe='')}/status"
        wait_for(
            f"the catalog of {person}'s connection",
            lambda: self._call("GET", path, None, key=self.keys[person])["status"] == "completed",
        )
        return key

    def put_policy(self, connection: str, policy: bytes) -> None:
        """As the governor, who has a connection of the same key."""
        answer = requests.put(
            f"{self.gateway.url}/v1/policies/{quote(connection, safe='')}",
            data=policy,
            headers={"Authorization": f"Bearer {self.keys[GOVERNOR]}", "Content-Type": "application/yaml"},
            timeout=30,
        )
        assert answer.ok, f"the policy was refused: {answer.status_code} {answer.text}"

    def ask(self, person: str, connection: str, sql: str, **more: Any) -> requests.Response:
        """One statement."""
        timeout = more.pop("wait", 60)
        return self.http.post(
            f"{self.gateway.url}/v1/connections/{quote(connection, safe='')}/query",
            json={"statement": sql, **more},
            headers={"Authorization": f"Bearer {self.keys[person]}"},
            timeout=timeout,
        )

    def _call(self, method: str, path: str, body: Any, *, key: str = ADMIN_KEY, acting: str = "") -> Any:
        headers = {"Authorization": f"Bearer {key}"} | ({"x-waii-impersonate-user": acting} if acting else {})
        answer = requests.request(
            method, f"{self.gateway.url}/v1/{path}", json=body, headers=headers, timeout=30
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None
