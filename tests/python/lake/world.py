"""A lake behind a Ringfence: a directory of files, people who see parts of it, and one who governs it."""

import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from guard_http.places import GOVERNOR, Person, Places

DATA = Path(__file__).parents[4] / "shared" / "data"

SALES, SHOPS = (DATA / name for name in ("sales.csv", "shops.csv"))

# Document 002's people, and somebody of another tenant whose role sees nothing.
PEOPLE = [
    Person("global-user", "trade"),
    Person("french-user", "trade", data_roles=["ROLE_FRANCE"]),
    Person("parisian-user", "trade", data_roles=["ROLE_PARIS"]),
    Person("nobody-user", "other", data_roles=["ROLE_NOWHERE"]),
    Person("loader", "trade", roles=["admin-user"]),
    Person("trial", "trade", roles=["trial-api-user"]),
]

POLICY = """
models:
  Sale: { table: sales }
  Shop: { table: shops }
joins:
  - { from: sales.Shop, to: shops.Shop ID, inherit: true }
hierarchies:
  geo: [shops.Country, shops.City]
restrictions:
  ROLE_PARIS: [ { table: shops, column: City, in: [Paris] } ]
  ROLE_FRANCE: [ { table: shops, column: Country, in: [France] } ]
  ROLE_NOWHERE: [ { table: shops, column: City, in: [] } ]
"""


class LakeWorld:
    """A server, a lake, and everybody's connection to it. Use it in a `with` block."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ringfence-lake-"))
        self.lake = self.home / "trade"
        self.lake.mkdir()
        self.places = Places({"RINGFENCE_LAKE__DIRECTORIES": str(self.home)})
        self.connection = ""

    def __enter__(self) -> "LakeWorld":
        self.places.__enter__()
        self.places.add(*PEOPLE)
        # Who may not change databases can't connect to one either.
        for person in [*(person.name for person in PEOPLE if person.name != "trial"), GOVERNOR]:
            self.connection = self.places.connect(person, {"db_type": "lake", "path": "trade"})
        return self

    def __exit__(self, *_: object) -> None:
        self.places.__exit__()
        shutil.rmtree(self.home, ignore_errors=True)

    def table(self, name: str) -> str:
        """Where a table is loaded."""
        url = self.places.gateway.url
        return f"{url}/v1/connections/{quote(self.connection, safe='')}/tables/{quote(name, safe='')}"

    def load(
        self, person: str, name: str, body: Any, media_type: str = "text/csv", **parameters: Any
    ) -> requests.Response:
        """One load."""
        headers = {"Authorization": f"Bearer {self.places.keys[person]}", "Content-Type": media_type}
        return requests.put(self.table(name), data=body, params=parameters, headers=headers, timeout=120)

    def remove(self, person: str, name: str) -> requests.Response:
        """The end of a table."""
        headers = {"Authorization": f"Bearer {self.places.keys[person]}"}
        return requests.delete(self.table(name), headers=headers, timeout=60)

    def ask(self, person: str, sql: str, **more: Any) -> requests.Response:
        """One statement."""
        return self.places.ask(person, self.connection, sql, **more)

    def rows(self, person: str, sql: str, **more: Any) -> list[list[Any]]:
        """Its rows; a refusal is an error of the suite."""
        answer = self.ask(person, sql, **more)
        assert answer.ok, f"{sql}: {answer.status_code} {answer.text}"
        return [list(row.values()) if isinstance(row, dict) else row for row in answer.json()["rows"]]

    def code(self, person: str, sql: str) -> str:
        """What it is refused with."""
        answer = self.ask(person, sql)
        assert not answer.ok, f"{sql}: {answer.text}"
        return str(answer.json()["code"])

    def put_policy(self, policy: str = POLICY) -> None:
        """On the lake, by the governor."""
        self.places.put_policy(self.connection, policy.encode())
