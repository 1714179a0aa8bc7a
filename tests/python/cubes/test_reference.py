"""Generated cubes and queries, each held against a naive evaluation over the rows that the caller may see."""

import datetime
import json
import math
import os
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from gateway import FAST
from guard_http.places import Person
from throwaway_mariadb import Mariadb
from throwaway_postgres import Postgres

from cubes.market import Market, markets
from cubes.naive import (
    Column,
    Cube,
    Restriction,
    Row,
    Table,
    World,
    holds,
    mean,
    median,
    quotient,
    total,
    values,
)

SEED = 20261122
# Rounds of other cubes and people; 20 of them are 5,000 queries, some seven minutes for each database.
ROUNDS = int(os.environ.get("CUBE_ROUNDS", "2" if FAST else "3"))
QUERIES = 60 if FAST else 250
FACTS = 400
# Cubes of one round, all on one place: each says how restrictions merge.
CUBES = 3

DEEP = [f"x{number}" for number in range(10)]

ROLES = ["CITY", "COUNTRY", "CONTINENT", "TAG", "CATEGORY", "BRAND", "YEAR", "NOTHING", "FREE"]

PEOPLE = [
    [],
    ["FREE"],
    ["CITY"],
    ["CONTINENT"],
    ["CITY", "COUNTRY"],
    ["CITY", "CONTINENT", "TAG"],
    ["CATEGORY"],
    ["CATEGORY", "BRAND", "CITY"],
    ["TAG", "YEAR"],
    ["CITY", "COUNTRY", "CONTINENT", "CATEGORY", "BRAND"],
    ["NOTHING"],
]


def make_world(random: random.Random) -> World:
    """Facts with nulls, without partners, with members of all alphabets, and exact amounts."""
    places = [
        {"Place": f"p{number}", "Continent": continent, "Country": country, "City": city}
        for number, (continent, country, city) in enumerate(
            [
                ("Europe", "France", "Paris"),
                ("Europe", "France", "Saint-Étienne"),
                ("Europe", "Germany", "Köln"),
                ("Europe", "Germany", None),
                ("Asia", "日本", "東京"),
                ("Asia", "日本", "N/A"),
                ("Asia", "한국", "서울 🌃"),
                ("America", "USA", "Paris"),
                (None, "Atlantis", 'O\'Neill \\ "x" %_!'),
            ]
        )
    ]
    products = [
        {
            "Product": number,
            "Category": f"c{number % 3}",
            "Brand": random.choice(["b1", "b2", None]),
            "Size": number % 4,
        }
        for number in range(12)
    ]
    facts = []
    for number in range(FACTS):
        fact: Row = {
            "Id": number,
            "Place": random.choice([*(place["Place"] for place in places), "nowhere", None]),
            "Product": random.choice([*range(12), 99, None]),
            "Tag": random.choice(["é", "e", "E", "ß", "x y", "", None]),
            "Day": (datetime.date(2026, 1, 1) + datetime.timedelta(random.randrange(5))).isoformat(),
            "Year": random.choice([2024, 2025, None]),
            "Quantity": random.choice([None, 0, 1, 2, 7, -3, 1000]),
            "Price": random.choice([None, Decimal(random.randrange(10**9)).scaleb(-4)]),
            "Ratio": random.choice([None, random.randrange(-400, 400) / 8]),
        }
        fact |= {name: random.choice(["a", "b"]) for name in DEEP}
        facts.append(fact)
    text = dict.fromkeys(DEEP, "text")
    tables = [
        Table(
            "Facts",
            {
                "Id": "number",
                "Place": "text",
                "Product": "number",
                "Tag": "text",
                "Day": "day",
                "Year": "number",
                "Quantity": "number",
                "Price": "number",
                "Ratio": "number",
                **text,
            },
            facts,
            "Id",
        ),
        Table("Places", dict.fromkeys(["Place", "Continent", "Country", "City"], "text"), places, "Place"),
        Table(
            "Products",
            {"Product": "number", "Category": "text", "Brand": "text", "Size": "number"},
            products,
            "Product",
        ),
    ]
    restrictions = [
        Restriction("CITY", ("Places", "City"), ["Paris", "東京"]),
        Restriction("COUNTRY", ("Places", "Country"), ["Germany", "日本"]),
        Restriction("CONTINENT", ("Places", "Continent"), ["Europe"]),
        Restriction("TAG", ("Facts", "Tag"), ["é", "x y"]),
        Restriction("YEAR", ("Facts", "Year"), [2024]),
        Restriction("CATEGORY", ("Products", "Category"), ["c0", "c1"]),
        Restriction("BRAND", ("Products", "Brand"), ["b1"]),
        Restriction("NOTHING", ("Facts", "Tag"), ["nobody has it"]),
    ]
    return World(tables, restrictions)


LEVELS: list[Column] = [
    ("Facts", "Tag"),
    ("Facts", "Day"),
    ("Facts", "Year"),
    *[("Facts", name) for name in DEEP],
    ("Places", "Continent"),
    ("Places", "Country"),
    ("Places", "City"),
    ("Products", "Category"),
    ("Products", "Brand"),
    ("Products", "Size"),
]

JOINS = {"Places": "Place", "Products": "Product"}


def fact(name: str) -> Callable[[Row], Any]:
    return lambda row: row[f"Facts.{name}"]


def turnover(row: Row) -> Any:
    quantity, price = row["Facts.Quantity"], row["Facts.Price"]
    return None if quantity is None or price is None else quantity * price


# How measures are defined, and what they are.
MEASURES: dict[str, tuple[Any, Callable[[list[Row]], Any]]] = {
    "Quantity.SUM": ({"sum": "Quantity"}, lambda rows: total(rows, fact("Quantity"))),
    "Quantity.MEAN": ({"mean": "Quantity"}, lambda rows: mean(rows, fact("Quantity"))),
    "Price.SUM": ({"sum": "Price"}, lambda rows: total(rows, fact("Price"))),
    "Cheapest": ({"min": "Price"}, lambda rows: min(values(rows, fact("Price")), default=None)),
    "Latest": ({"max": "Day"}, lambda rows: max(values(rows, fact("Day")), default=None)),
    "Ratio.SUM": ({"sum": "Ratio"}, lambda rows: total(rows, fact("Ratio"))),
    "Ratio.MEAN": ({"mean": "Ratio"}, lambda rows: mean(rows, fact("Ratio"))),
    "Priced": ({"count": "Price"}, lambda rows: len(values(rows, fact("Price")))),
    "Tags": ({"count_distinct": "Tag"}, lambda rows: len(set(values(rows, fact("Tag"))))),
    "Turnover": ({"sum": "Quantity * Price"}, lambda rows: total(rows, turnover)),
    "Many": (
        {"sum": "CASE WHEN Quantity > 5 THEN 1 ELSE 0 END"},
        lambda rows: sum((fact("Quantity")(row) or 0) > 5 for row in rows),
    ),
    "contributors.COUNT": (None, len),
}

# What is computed of other measures of a row; `whole` is the same for the row's total or the row above it.
OVER: dict[str, tuple[Any, Callable[[Callable[[str], Any], Callable[[str, str], Any]], Any]]] = {
    "Average price": (
        {"expression": '"Turnover" / "Quantity.SUM"', "format": "0.00"},
        lambda own, whole: quotient(own("Turnover"), own("Quantity.SUM")),
    ),
    "Share": (
        {"share": "Quantity.SUM", "of": "total"},
        lambda own, whole: quotient(own("Quantity.SUM"), whole("Quantity.SUM", "total")),
    ),
    "Part": (
        {"share": "Tags", "of": "parent"},
        lambda own, whole: quotient(own("Tags"), whole("Tags", "parent")),
    ),
    "Mixed": (
        {"expression": 'coalesce("Share", 0) * 2 + "Priced"'},
        lambda own, whole: float(own("Share") or 0) * 2 + own("Priced"),
    ),
}

MEDIAN = ({"median": "Price"}, lambda rows: median(rows, fact("Price")))

# These are of digits that every database keeps, where it keeps decimals at all.
EXACT = {
    "Quantity.SUM",
    "Price.SUM",
    "Cheapest",
    "Latest",
    "Ratio.SUM",
    "Priced",
    "Tags",
    "Turnover",
    "Many",
    "contributors.COUNT",
}


class Evaluated:
    """The rows of a query, by the members that they are grouped by."""

    def __init__(self, world: World, facts: list[Row], levels: list[Column]) -> None:
        self.groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in facts:
            members = tuple(world.member(row, column) for column in levels)
            for depth in range(len(members) + 1):
                self.groups.setdefault(members[:depth], []).append(row)

    def value(self, group: tuple[Any, ...], measure: str) -> Any:
        if measure in OVER:

            def whole(name: str, which: str) -> Any:
                return self.value(group[:-1] if which == "parent" else (), name)

            return OVER[measure][1](lambda name: self.value(group, name), whole)
        _, compute = MEDIAN if measure == "Typical" else MEASURES[measure]
        return compute(self.groups[group])

    def of(self, group: tuple[Any, ...]) -> Callable[[str, str], Any]:
        """Its measures, as a condition asks for them."""
        return lambda measure, _: comparable(self.value(group, measure))


def sort_key(members: tuple[Any, ...], depth: int) -> list[tuple[int, Any]]:
    """Totals first, then members, and what has none last."""
    key: list[tuple[int, Any]] = []
    for member in (*members, *[...] * (depth - len(members))):
        key.append((0, "") if member is ... else (2, "") if member is None else (1, member))
    return key


class Reference:
    """A market with generated cubes."""

    def __init__(self, market: Market, random: random.Random) -> None:
        self.market, self.random = market, random
        self.world = make_world(random)
        self.create()
        people = [f"person{number}" for number in range(len(PEOPLE))]
        market.connect(*people)
        restrictions: dict[str, Any] = {}
        for restriction in self.world.restrictions:
            table, column = restriction.column
            entry = {"table": table, "column": column, "in": restriction.values}
            restrictions.setdefault(restriction.role, []).append(entry)
        market.policy(json.dumps({"default": "allow", "restrictions": restrictions}))

    def create(self) -> None:
        text = {
            "postgresql": "VARCHAR(40)",
            "sqlite": "VARCHAR(40)",
            "lake": "VARCHAR(40)",
            "mysql": "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        }[self.market.kind]
        types = {"text": text, "day": "DATE", "number": "INTEGER"}
        own = {"Price": "NUMERIC(14, 4)", "Ratio": "DOUBLE PRECISION"}
        for table in self.world.tables.values():
            columns = [f'"{name}" {own.get(name, types[kind])}' for name, kind in table.kinds.items()]
            columns = [
                f"{column} PRIMARY KEY" if name == table.key else column
                for name, column in zip(table.kinds, columns, strict=True)
            ]
            keep = float if self.market.kind == "sqlite" else Decimal
            rows = [
                [keep(value) if isinstance(value, Decimal) else value for value in row.values()]
                for row in table.rows
            ]
            self.market.table(table.name, columns, rows)

    def define(self) -> list[tuple[str, Cube, list[str]]]:
        """New cubes in the place of those before: their names, what they are, and their measures."""
        random, made = self.random, []
        self.world.cubes = []
        for number in range(CUBES):
            joins = {name: column for name, column in JOINS.items() if random.random() < 0.85}
            columns = [column for column in LEVELS if column[0] == "Facts" or column[0] in joins]
            random.shuffle(columns)
            hierarchies: dict[str, list[Column]] = {}
            while columns:
                size = random.choice([1, 1, 2, 3, 4, 10])
                name = f"H{len(hierarchies)} é日"
                hierarchies[name] = [columns.pop() for _ in range(min(size, len(columns)))]
            if random.random() < 0.3:
                # A column may be in two hierarchies.
                hierarchies["again"] = [random.choice(hierarchies["H0 é日"])]
            if random.random() < 0.5 and "Places" in joins:
                hierarchies = {
                    name: kept
                    for name, levels in hierarchies.items()
                    if (kept := [level for level in levels if level[0] != "Places"])
                }
                hierarchies["Geography"] = [("Places", name) for name in ("Continent", "Country", "City")]
            is_automatic = random.random() < 0.3
            cube = Cube("Facts", joins, hierarchies)
            if is_automatic:
                cube.automatic = [
                    (table, name)
                    for table in ("Facts", *joins)
                    for name, kind in self.world.tables[table].kinds.items()
                    if kind != "number"
                ]
            self.world.cubes.append(cube)
            measures = {name: kind for name, (kind, _) in {**MEASURES, **OVER}.items() if kind}
            if self.market.kind in ("postgresql", "lake"):
                measures["Typical"] = MEDIAN[0]
            self.market.define(
                f"cube{number}",
                {
                    "table": "Facts",
                    "auto": is_automatic,
                    "joins": [{"table": name, "on": {column: column}} for name, column in joins.items()],
                    "hierarchies": {
                        name: [
                            {"level": f"{table} {column}", "table": table, "column": column}
                            for table, column in levels
                        ]
                        for name, levels in hierarchies.items()
                    },
                    "measures": measures,
                },
            )
            made.append((f"cube{number}", cube, [*measures, "contributors.COUNT"]))
        return made

    def test_of_level(self, name: str, column: Column) -> dict[str, Any]:
        random = self.random
        members = sorted({str(row[column[1]]) for row in self.world.tables[column[0]].rows} - {"None"})
        kind = self.world.kind(column)
        known: list[Any] = [int(member) for member in members] if kind == "number" else members
        if kind == "text":
            known = [*known, "N/A"]
        operators = ["eq", "ne", "lt", "gte", "in", "not_in", "is_null", "between"]
        operator = random.choice(
            [*operators, "contains", "startswith", "endswith"] if kind == "text" else operators
        )
        one = random.choice(known)
        value: Any = one
        if operator in ("in", "not_in"):
            value = random.sample(known, random.randrange(len(known) + 1))
        elif operator == "is_null":
            value = random.random() < 0.5
        elif operator == "between":
            value = sorted([one, random.choice(known)])
        elif operator in ("contains", "startswith", "endswith"):
            value = str(one)[:2] or "a"
        return {"field": name, "op": operator, "value": value}

    def condition(self, levels: list[tuple[str, Column]], depth: int = 2) -> dict[str, Any]:
        random = self.random
        if depth == 0 or random.random() < 0.5:
            return self.test_of_level(*random.choice(levels))
        word = random.choice(["and", "or", "not"])
        if word == "not":
            return {"not": self.condition(levels, depth - 1)}
        return {word: [self.condition(levels, depth - 1) for _ in range(random.randrange(1, 4))]}

    def query(self, name: str, cube: Cube, measures: list[str]) -> None:
        """One query, held against the reference."""
        random, market = self.random, self.market
        number = random.randrange(len(PEOPLE))
        asked = random.sample(measures, random.choice([0, 1, 1, 2, 3]))
        chosen = random.sample(
            list(cube.hierarchies), random.choice([0, 1, 1, 2, min(3, len(cube.hierarchies))])
        )
        levels: list[Column] = []
        references = []
        for hierarchy in chosen:
            deepest = random.randrange(len(cube.hierarchies[hierarchy]))
            shown = cube.hierarchies[hierarchy][: deepest + 1]
            levels += shown
            references.append({"hierarchy": hierarchy, "level": " ".join(shown[-1])})
        named = {
            f"{hierarchy}.{table} {column}": (table, column)
            for hierarchy, columns in cube.hierarchies.items()
            for table, column in columns
        }
        query: dict[str, Any] = {
            "measures": asked,
            "levels": references,
            "include_totals": random.random() < 0.5,
            "include_empty_rows": random.random() < 0.3,
        }
        of_levels = self.condition(list(named.items())) if random.random() < 0.4 else None
        of_rows = None
        if random.random() < 0.3:
            measure = random.choice([name for name in measures if name != "Latest"])
            operator = random.choice(["gt", "lte", "is_null"])
            value: Any = True if operator == "is_null" else random.choice([0.123457, 3.543217, 1000.503])
            of_rows = {"field": measure, "op": operator, "value": value}
        if of_levels or of_rows:
            query["filter"] = [condition for condition in (of_levels, of_rows) if condition]

        def level_value(row: Row) -> Callable[[str, str], Any]:
            return lambda field, operator: (
                row[".".join(named[field])] if operator == "is_null" else self.world.member(row, named[field])
            )

        facts = self.world.facts(PEOPLE[number], cube)
        if of_levels:
            facts = [row for row in facts if holds(of_levels, level_value(row))]
        evaluated = Evaluated(self.world, facts, levels)
        expected = []
        for group in sorted(evaluated.groups, key=lambda group: sort_key(group, len(levels))):
            if len(group) < len(levels) and not query["include_totals"]:
                continue
            computed = [evaluated.value(group, measure) for measure in asked]
            if asked and not query["include_empty_rows"] and all(value is None for value in computed):
                continue
            if of_rows and not holds(of_rows, evaluated.of(group)):
                continue
            padding = [None] * (len(levels) - len(group))
            expected.append(([*group, *padding], computed, len(group)))
        answer = market.ask(f"person{number}", name, query)
        told = f"{market.kind} person{number} {PEOPLE[number]} {name} {cube} {query}"
        assert answer.ok, f"{told}\n{answer.status_code} {answer.text}"
        got = json.loads(answer.text, parse_float=Decimal)
        assert [row[: len(levels)] for row in got["rows"]] == [members for members, _, _ in expected], told
        for row, (members, computed, _) in zip(got["rows"], expected, strict=True):
            for measure, value, wanted in zip(asked, row[len(levels) :], computed, strict=True):
                assert self.is_same(measure, value, wanted), (
                    f"{told}\n{members} {measure}: {value} not {wanted}"
                )
        if query["include_totals"]:
            assert got["grouping"] == [depth for _, _, depth in expected], told

    def is_same(self, measure: str, value: Any, wanted: Any) -> bool:
        if value is None or wanted is None or isinstance(wanted, str):
            return bool(value == wanted)
        has_decimals = self.market.kind != "sqlite"
        if measure in EXACT and (has_decimals or isinstance(wanted, int)):
            return Decimal(value) == Decimal(wanted)
        # The quotients of MariaDB have four digits more than what is divided.
        slack = 2e-4 if self.market.kind == "mysql" else 1e-9
        return math.isclose(float(value), float(wanted), rel_tol=1e-9, abs_tol=slack)


def comparable(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Mariadb]:
    with Mariadb() as server:
        yield server


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql", "lake"])
def test_every_answer_is_the_reference(kind: str, request: pytest.FixtureRequest, postgres: Postgres) -> None:
    server = {"postgresql": postgres}.get(kind)
    if kind == "mysql":
        server = request.getfixturevalue("mariadb")
    chance = random.Random(SEED)
    people = [Person(f"person{number}", "acme", data_roles=roles) for number, roles in enumerate(PEOPLE)]
    with markets(kind, server, *people) as market:
        reference = Reference(market, chance)
        for _ in range(ROUNDS):
            cubes = reference.define()
            for _ in range(QUERIES):
                reference.query(*chance.choice(cubes))
