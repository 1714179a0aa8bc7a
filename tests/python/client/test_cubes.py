"""Cubes through the Python client: hierarchies, measures and queries by hand; everybody has their own."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal

import pandas as pd
import pytest
import ringfence
from guard_http.places import GOVERNOR, Person, Places
from ringfence.pytest_plugin import AssertIsolated
from ringfence.securitycalls import entries
from throwaway_postgres import Postgres

from client.estate import Database

SHOPS = [
    ("S1", "Paris", "France"),
    ("S2", "Lyon", "France"),
    ("S3", "Chicago", "USA"),
    ("S4", "Boston", "USA"),
]
SALES = [
    (1, "acme", "S1", "pen", 2, Decimal("1.50")),
    (2, "acme", "S1", "ink", 1, Decimal("10.25")),
    (3, "acme", "S2", "pen", 4, Decimal("1.50")),
    (4, "acme", "S3", "pen", 8, Decimal("1.25")),
    (5, "acme", "S9", "ink", 1, Decimal("10.25")),
    (6, "rival", "S4", "pen", 100, Decimal("1.00")),
]

POLICY = b"""
default: deny
models:
  Sale: { table: sales, scoping: { tenant: principal.tenant_id } }
  Shop: { table: shops }
"""


class Market:
    """Sales of two tenants in one table, a cube over them, and sessions."""

    def __init__(self, places: Places, database: Database) -> None:
        self.places = places
        self.admin = ringfence.Session(places.gateway.url, places.keys[GOVERNOR])
        text = "VARCHAR(40)"
        database.fill(
            "shops", [f'"Shop ID" {text} PRIMARY KEY', f'"City" {text}', f'"Country" {text}'], SHOPS
        )
        columns = [
            '"id" INTEGER PRIMARY KEY',
            *(f'"{name}" {text}' for name in ("tenant", "Shop", "Product")),
        ]
        figures = ['"Quantity" INTEGER', '"Unit price" NUMERIC(10, 2)']
        rows = SALES if database.kind == "postgresql" else [(*row[:5], float(row[5])) for row in SALES]
        database.fill("sales", [*columns, *figures], rows)
        key = self.admin.connect(**database.description)
        places.gateway.put_policy(key, POLICY, places.keys[GOVERNOR])
        for person in ("ann", "rita"):
            self.admin.security.lend_connection(person, password=database.password)
        self.admin.refresh_tables()

    def session(self, person: str) -> ringfence.Session:
        return ringfence.Session(self.places.gateway.url, self.places.keys[person])

    def cube(self) -> ringfence.Cube:
        """As it is made by hand."""
        sales, shops = self.admin.tables["sales"], self.admin.tables["shops"]
        sales.join(shops, {"Shop": "Shop ID"})
        return self.admin.create_cube(
            sales,
            "market",
            auto=False,
            hierarchies={
                "Geography": [shops["Country"], shops["City"]],
                "Product": [sales["Product"]],
                "Tenant": [sales["tenant"]],
            },
            measures={"Pieces": ringfence.sum(sales["Quantity"])},
            caption="The market",
        )


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def market(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Market]:
    with Database(request.param, postgres) as database, Places(database.settings) as places:
        places.add(Person("ann", "acme"), Person("rita", "rival"))
        market = Market(places, database)
        market.cube()
        yield market
        market.admin.close()


def test_a_cube_is_what_it_is_made_of(market: Market) -> None:
    cube = market.cube()
    assert (cube.name, cube.caption) == ("market", "The market")
    assert list(cube.hierarchies["Geography"].levels) == ["Country", "City"]
    assert set(cube.measures) == {"Pieces", "contributors.COUNT"}
    assert cube.levels["City"].hierarchy == "Geography"
    assert "Geography: Country > City" in repr(cube)
    assert "<li>City</li>" in cube._repr_html_()
    assert list(market.admin.cubes) == ["market"]
    with pytest.raises(KeyError, match="no cube 'nothing'"):
        market.admin.cubes["nothing"]


def test_measures_are_assigned(market: Market) -> None:
    cube, sales = market.cube(), market.admin.tables["sales"]
    m, l = cube.measures, cube.levels  # noqa: E741
    m["Turnover"] = ringfence.sum(sales["Quantity"] * sales["Unit price"])
    m["Average price"] = (m["Turnover"] / m["Pieces"]).described(format="0.00", caption="Price of a piece")
    m["Share"] = ringfence.share(m["Pieces"])
    m["Products"] = ringfence.count_distinct(sales["Product"])
    assert cube.measures["Average price"].format == "0.00"
    ann = market.session("ann").cubes["market"]
    frame = ann.query("Pieces", "Turnover", "Average price", "Share", "Products", levels=[l["Country"]])
    assert frame.index.tolist() == ["France", "N/A", "USA"]
    assert frame.index.name == "Country"
    assert frame["Pieces"].tolist() == [7, 1, 8]
    assert [float(value) for value in frame["Turnover"]] == [19.25, 10.25, 10.0]
    assert [round(float(value), 4) for value in frame["Average price"]] == [2.75, 10.25, 1.25]
    assert [round(float(value), 4) for value in frame["Share"]] == [0.4375, 0.0625, 0.5]
    assert frame["Products"].tolist() == [2, 1, 1]
    del m["Share"]
    assert "Share" not in cube.measures
    del m["contributors.COUNT"]
    assert "contributors.COUNT" not in cube.measures
    with pytest.raises(KeyError):
        del m["Share"]
    with pytest.raises(ValueError, match="measures are over columns of"):
        m["Cities"] = ringfence.count_distinct(market.admin.tables["shops"]["City"])
    with pytest.raises(ringfence.Refused) as refused:
        m["Wrong"] = {"expression": '"Nothing like it" / 2'}
    assert refused.value.code == "CUBE_INVALID"
    assert "Nothing like it" in str(refused.value)
    assert "Wrong" not in market.admin.cubes["market"].measures


def test_totals_filters_orders_and_limits(market: Market) -> None:
    market.cube()
    cube = market.session("ann").cubes["market"]
    l, m = cube.levels, cube.measures  # noqa: E741
    frame = cube.query(m["Pieces"], levels=[l["City"]], include_totals=True)
    assert frame.index.names == ["Country", "City"]
    assert dict(zip(frame.index, frame["Pieces"], strict=True)) == {
        ("Total", ""): 16,
        ("France", "Total"): 7,
        ("France", "Lyon"): 4,
        ("France", "Paris"): 3,
        ("N/A", "Total"): 1,
        ("N/A", "N/A"): 1,
        ("USA", "Total"): 8,
        ("USA", "Chicago"): 8,
    }
    assert frame.index[0] == ("Total", "")
    assert frame.attrs["grouping"] == [0, 1, 2, 2, 1, 2, 1, 2]
    french = cube.query(m["Pieces"], levels=[l["City"]], filter=l["Country"] == "France")
    assert french["Pieces"].to_dict() == {("France", "Lyon"): 4, ("France", "Paris"): 3}
    large = cube.query(
        "Pieces", levels=["Country"], filter=(m["Pieces"] > 1) & l["Country"].isin("USA", "France")
    )
    assert large["Pieces"].to_dict() == {"France": 7, "USA": 8}
    first = cube.query("Pieces", levels=["Country"], order=["-Pieces"], limit=1)
    assert first["Pieces"].to_dict() == {"USA": 8}
    assert first.attrs["has_more"]
    whole = cube.query(m["Pieces"], m["contributors.COUNT"])
    assert whole.to_dict("records") == [{"Pieces": 16, "contributors.COUNT": 5}]
    nothing = cube.query(m["Pieces"], levels=[l["City"]], filter=l["Country"] == "Nowhere")
    assert isinstance(nothing, pd.DataFrame)
    assert str(nothing) == "Empty DataFrame\nColumns: [Pieces]\nIndex: []"
    cells = cube.cells("Pieces", levels=["Product"], include_totals=True)
    assert cells.to_polars()["Pieces"].to_list() == [16, 2, 14]
    with pytest.raises(ringfence.ApiError) as missing:
        cube.query("Nothing", levels=["Country"])
    assert missing.value.status in (404, 422)


def test_automatic_hierarchies_go_and_come(market: Market) -> None:
    sales = market.admin.tables["sales"]
    cube = market.admin.create_cube(sales, "automatic")
    assert {"Product", "City", "Country"} <= set(cube.hierarchies)
    shops = market.admin.tables["shops"]
    cube.hierarchies["City"] = [shops["Country"], shops["City"]]
    assert list(cube.hierarchies["City"].levels) == ["Country", "City"]
    # The one that was given goes, and the automatic one of the name does not take its place.
    del cube.hierarchies["City"]
    assert "City" not in cube.hierarchies
    cube.hierarchies["City"] = [shops["City"]]
    assert list(market.admin.cubes["automatic"].hierarchies["City"].levels) == ["City"]
    del market.admin.cubes["automatic"]
    assert list(market.admin.cubes) == ["market"]


def test_everybody_has_their_own_figures(market: Market, assert_isolated: AssertIsolated) -> None:
    market.cube()
    people = {name: market.session(name) for name in ("ann", "rita")}
    owns = {"ann": ["acme"], "rita": ["rival"]}

    def by_tenant(session: ringfence.Session) -> pd.DataFrame:
        return session.cubes["market"].query("Pieces", levels=["tenant", "City"])

    assert_isolated(by_tenant, principals=people, marker="tenant", owns=owns)
    totals = {
        name: session.cubes["market"].query("Pieces", include_totals=True)["Pieces"].tolist()
        for name, session in people.items()
    }
    assert totals == {"ann": [16], "rita": [100]}
    # The check sees it when the policy lets everybody see everything.
    governor = market.places.keys[GOVERNOR]
    market.places.gateway.put_policy(market.admin.connection, b"default: allow", governor)
    try:
        with pytest.raises(pytest.fail.Exception, match="ann sees 1 rows of others"):
            assert_isolated(by_tenant, principals=people, marker="tenant", owns=owns)
        with pytest.raises(pytest.fail.Exception, match="ann and rita both see 6 rows"):
            assert_isolated('SELECT "id", "tenant" FROM sales', principals=people)
    finally:
        market.places.gateway.put_policy(market.admin.connection, POLICY, governor)
    with pytest.raises(ringfence.NotPermitted):
        people["ann"].cubes["market"].drop()


def test_restrictions_say_what_they_say(market: Market) -> None:
    """Each form of a condition, in the words that the client makes of it, against the rows that are seen."""
    market.cube()
    shops, sales = market.admin.tables["shops"], market.admin.tables["sales"]
    country, city, product = shops["Country"], shops["City"], sales["Product"]
    together = [frozenset({(shops.full_name, "Country"), (shops.full_name, "City")})]
    governor = market.places.keys[GOVERNOR]
    cases: list[tuple[ringfence.Condition, list[str]]] = [
        (city == "Paris", ["Paris"]),
        (city.isin("Paris", "Chicago"), ["Chicago", "Paris"]),
        ((country == "France") & (city == "Paris"), ["Paris"]),
        ((city == "Chicago") | (country == "France"), ["Chicago", "Lyon", "Paris"]),
        (~(country == "France"), ["Chicago"]),
        ((city > "D") & city.isnull() | (city == 'it\'s "not"'), []),
        ((country == "France") & (product == "ink"), ["Paris"]),
        (city.between("A", "D") & (country != "France"), ["Chicago"]),
    ]
    market.admin.security.individual_roles["ann"] = {"ROLE_SOME"}
    try:
        cube = market.session("ann").cubes["market"]
        for condition, cities in cases:
            kept = json.dumps({"ROLE_SOME": entries(condition, together)})
            document = POLICY + f"\nrestrictions: {kept}\n".encode()
            market.places.gateway.put_policy(market.admin.connection, document, governor)
            frame = cube.query(levels=[cube.levels["City"]], filter=cube.levels["City"] != "N/A")
            assert sorted(set(frame.index.get_level_values("City"))) == cities, kept
    finally:
        market.admin.security.individual_roles["ann"] = set()
        market.places.gateway.put_policy(market.admin.connection, POLICY, governor)


def test_async(market: Market) -> None:
    market.cube()

    async def run() -> None:
        key = market.places.keys[GOVERNOR]
        async with ringfence.AsyncSession(market.places.gateway.url, key) as session:
            tables = await session.tables()
            tables["sales"].join(tables["shops"], {"Shop": "Shop ID"})
            cube = await session.create_cube(tables["sales"], "async")
            await cube.measures.set("Pieces", ringfence.sum(tables["sales"]["Quantity"]))
            await cube.hierarchies.set("Geography", [tables["shops"]["Country"], tables["shops"]["City"]])
            for name in ("Country", "City"):
                await cube.hierarchies.delete(name)
            frame = await cube.query("Pieces", levels=[cube.levels["City"]])
            # Who governs is of the first tenant.
            assert frame["Pieces"].sum() == 16
            assert sorted(await session.cubes.names()) == ["async", "market"]
            await (await session.cubes.get("async")).drop()

    asyncio.run(run())
