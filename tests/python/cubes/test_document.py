"""Documents 003 and 002, step by step, over HTTP."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guard_http.places import GOVERNOR, Person
from throwaway_mariadb import Mariadb
from throwaway_postgres import Postgres

from cubes.market import Market, markets

DATA = Path(__file__).parents[3].parent / "shared" / "data"

TABLE = "Restrictions example"

ROWS = [
    ("Asia", "Korea", "KRW"),
    ("Asia", "Japan", "JPY"),
    ("Europe", "France", "EUR"),
    ("Europe", "Germany", "EUR"),
    ("Europe", "Norway", "NOK"),
    ("Europe", "Sweden", "SEK"),
]

POLICY = f"""
default: allow
restrictions:
  ROLE_FRANCE: [ {{ table: {TABLE}, column: Country, in: [France] }} ]
  ROLE_GERMANY: [ {{ table: {TABLE}, column: Country, in: [Germany] }} ]
  ROLE_NORDIC: [ {{ table: {TABLE}, column: Country, in: [Norway, Sweden] }} ]
  ROLE_ASIA: [ {{ table: {TABLE}, column: Continent, in: [Asia] }} ]
  ROLE_EUR: [ {{ table: {TABLE}, column: Currency, in: [EUR] }} ]
"""

GEOGRAPHY = {
    "table": TABLE,
    "auto": True,
    "hierarchies": {"Geography": ["Continent", "Country"]},
    "without": {"hierarchies": ["Continent", "Country"]},
}

COUNT = "contributors.COUNT"

SALES_POLICY = """
default: allow
restrictions:
  ROLE_PARIS: [ { table: Shops, column: City, in: [Paris] } ]
  ROLE_FRANCE: [ { table: Shops, column: Country, in: [France] } ]
"""

TOTALS: dict[str, list[list[Any]]] = {
    "parisian-user": [[None, 603], ["Paris", 603]],
    "french-user": [
        [None, 3027],
        ["Lyon", 609],
        ["Marseille", 603],
        ["Nice", 609],
        ["Paris", 603],
        ["Saint-Étienne", 603],
    ],
    "global-user": [
        [None, 8077],
        ["Chicago", 603],
        ["Houston", 606],
        ["Los Angeles", 606],
        ["Lyon", 609],
        ["Marseille", 603],
        ["New York", 808],
        ["Nice", 609],
        ["Paris", 603],
        ["Saint-Étienne", 603],
        ["San Antonio", 606],
        ["San Diego", 606],
        ["San Francisco", 612],
        ["San Jose", 603],
    ],
}


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Mariadb]:
    with Mariadb() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql", "mysql", "lake"])
def market(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Market]:
    servers = {"sqlite": None, "postgresql": postgres, "lake": None}
    server = servers[request.param] if request.param in servers else request.getfixturevalue("mariadb")
    people = [Person(name, "acme") for name in ("john", "global-user")]
    people += [Person("french-user", "acme", data_roles=["ROLE_FRANCE"])]
    people += [Person("parisian-user", "acme", data_roles=["ROLE_PARIS"])]
    with markets(request.param, server, *people) as market:
        yield market


def test_document_003(market: Market) -> None:
    keys = ['"Continent" VARCHAR(40)', '"Country" VARCHAR(40)', '"Currency" VARCHAR(40)']
    market.table(TABLE, [*keys, 'PRIMARY KEY ("Continent", "Country", "Currency")'], ROWS)
    market.connect("john")
    market.policy(POLICY)
    market.define("example", GEOGRAPHY)
    everything = [
        ["Asia", "Japan", "JPY", 1],
        ["Asia", "Korea", "KRW", 1],
        ["Europe", "France", "EUR", 1],
        ["Europe", "Germany", "EUR", 1],
        ["Europe", "Norway", "NOK", 1],
        ["Europe", "Sweden", "SEK", 1],
    ]

    def both() -> list[list[Any]]:
        return market.rows("john", "example", COUNT, levels=["Country", "Currency"])

    def countries() -> list[list[Any]]:
        """As the cube has it, which raw SQL must say as well."""
        rows = market.rows("john", "example", COUNT, levels=["Country"])
        continent, country, table = (market.name(name) for name in ("Continent", "Country", TABLE))
        raw = market.sql("john", f"SELECT {continent}, {country} FROM {table} ORDER BY 1, 2")
        assert [row[:2] for row in rows] == raw
        return rows

    def of(*names: str) -> list[list[Any]]:
        return [[continent, country, 1] for continent, country, *_ in everything if country in names]

    answer = market.query("john", "example", COUNT, levels=["Country", "Currency"])
    assert [level["name"] for level in answer["levels"]] == ["Continent", "Country", "Currency"]
    assert answer["rows"] == everything
    market.roles("john", "ROLE_FRANCE")
    assert countries() == of("France")
    market.roles("john", "ROLE_FRANCE", "ROLE_GERMANY")
    assert countries() == of("France", "Germany")
    market.roles("john", "ROLE_FRANCE", "ROLE_GERMANY", "ROLE_NORDIC")
    assert countries() == of("France", "Germany", "Norway", "Sweden")
    roles = ["ROLE_FRANCE", "ROLE_GERMANY", "ROLE_NORDIC", "ROLE_ASIA"]
    market.roles("john", *roles)
    assert countries() == of("Japan", "Korea", "France", "Germany", "Norway", "Sweden")
    market.roles("john", *roles, "ROLE_EUR")
    assert both() == [["Europe", "France", "EUR", 1], ["Europe", "Germany", "EUR", 1]]
    market.roles("john", "ROLE_NORDIC", "ROLE_ASIA", "ROLE_EUR")
    assert countries() == []
    assert market.rows("john", "example", COUNT, levels=["Country"], include_totals=True) == []


def test_the_hierarchy_is_what_makes_alternatives(market: Market) -> None:
    market.table(TABLE, ['"Continent" VARCHAR(40)', '"Country" VARCHAR(40)', '"Currency" VARCHAR(40)'], ROWS)
    market.connect("john")
    market.policy(POLICY)
    market.roles("john", "ROLE_FRANCE", "ROLE_ASIA")
    statement = f"SELECT count(*) FROM {market.name(TABLE)}"
    assert market.sql("john", statement) == [[0]], "without a cube each column is by itself"
    market.define("example", GEOGRAPHY)
    assert market.sql("john", statement) == [[3]], "at once, in raw SQL as well"
    # Another cube that takes one of the columns by itself: the stricter counts.
    market.define("other", {"table": TABLE, "hierarchies": {"Country": ["Country"]}})
    assert market.sql("john", statement) == [[0]]
    assert market.rows("john", "example", COUNT, levels=["Country"]) == []
    assert market.http("DELETE", market.path("other"), GOVERNOR).status_code == 204
    assert market.sql("john", statement) == [[3]]
    # A cube that says the same changes nothing, and one that names neither column does not count.
    market.define("same", GEOGRAPHY)
    market.define("currencies", {"table": TABLE, "hierarchies": {"Currency": ["Currency"]}})
    assert market.sql("john", statement) == [[3]]


def test_document_002(market: Market) -> None:
    def column(name: str, rest: str = "VARCHAR(40)") -> str:
        return f'"{name}" {rest}'

    with (DATA / "shops.csv").open() as file:
        names, *shops = list(csv.reader(file))
    columns = [column(names[0], "VARCHAR(40) PRIMARY KEY"), *(column(name) for name in names[1:])]
    market.table("Shops", columns, shops)
    with (DATA / "sales.csv").open() as file:
        names, *sales = list(csv.reader(file))
    types = {"Date": "DATE", "Quantity": "DOUBLE PRECISION", "Unit price": "DOUBLE PRECISION"}
    key = column(names[0], "VARCHAR(40) PRIMARY KEY")
    columns = [key, *(column(name, types.get(name, "VARCHAR(40)")) for name in names[1:])]
    market.table("Sales", columns, sales)
    market.connect(*TOTALS)
    market.policy(SALES_POLICY)
    market.define("Sales", "table: Sales\njoins:\n  - { table: Shops, on: { Shop: Shop ID } }\n")
    described = market.http("GET", market.path(), "global-user").json()["items"]
    assert [cube["name"] for cube in described] == ["Sales"]
    measures = {measure["name"] for measure in described[0]["measures"]}
    assert measures == {"Quantity.SUM", "Quantity.MEAN", "Unit price.SUM", "Unit price.MEAN", COUNT}
    hierarchies = {hierarchy["name"] for hierarchy in described[0]["hierarchies"]}
    assert hierarchies >= {"Date", "Shop", "Product", "City", "State or region", "Country", "Shop size"}
    for person, expected in TOTALS.items():
        answer = market.query(person, "Sales", "Quantity.SUM", levels=["City"], include_totals=True)
        assert answer["rows"] == expected
        assert answer["grouping"] == [0, *[1] * (len(expected) - 1)]
        quantity = f"SELECT sum({market.name('Quantity')}) FROM {market.name('Sales')}"
        assert market.sql(person, quantity) == [[expected[0][1]]]
