"""Documents 003 and 002 through the Python client: their steps in their order, their frames to the letter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ringfence
from gateway import Gateway
from guard_http.places import GOVERNOR, Person, Places
from oidc.identity_provider import AUDIENCE, IdentityProvider, identity_provider
from throwaway_postgres import Postgres

from client.estate import DATA, Database, Restricting, has_lake

KINDS = ["postgresql", "sqlite", "lake"]

TABLE = "Restrictions example"

ROWS = [
    ("Asia", "Korea", "KRW"),
    ("Asia", "Japan", "JPY"),
    ("Europe", "France", "EUR"),
    ("Europe", "Germany", "EUR"),
    ("Europe", "Norway", "NOK"),
    ("Europe", "Sweden", "SEK"),
]
COLUMNS = ["Continent", "Country", "Currency"]

PASSWORD = "abcdef123456"

# What document 003 prints, in its order.
ALL = """
                           contributors.COUNT
Continent Country Currency
Asia      Japan   JPY                       1
          Korea   KRW                       1
Europe    France  EUR                       1
          Germany EUR                       1
          Norway  NOK                       1
          Sweden  SEK                       1
"""
FRANCE = """
                   contributors.COUNT
Continent Country
Europe    France                    1
"""
FRANCE_GERMANY = """
                   contributors.COUNT
Continent Country
Europe    France                    1
          Germany                   1
"""
AND_NORDIC = """
                   contributors.COUNT
Continent Country
Europe    France                    1
          Germany                   1
          Norway                    1
          Sweden                    1
"""
AND_ASIA = """
                   contributors.COUNT
Continent Country
Asia      Japan                     1
          Korea                     1
Europe    France                    1
          Germany                   1
          Norway                    1
          Sweden                    1
"""
IN_EURO = """
                            contributors.COUNT
Continent Country Currency
Europe    France  EUR                        1
          Germany EUR                        1
"""
NOTHING = """
Empty DataFrame
Columns: [contributors.COUNT]
Index: []
"""


def printed(frame: pd.DataFrame) -> list[list[str]]:
    """The words of each line: pandas has changed how far columns are apart since."""
    return [line.split() for line in str(frame).splitlines() if line.strip()]


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def frame_of(*rows: tuple[str, ...], names: list[str]) -> pd.DataFrame:
    """What the document's frame is, but for its looks."""
    index = pd.MultiIndex.from_arrays(
        [[row[place] for row in rows] for place in range(len(names))], names=names
    )
    return pd.DataFrame({"contributors.COUNT": [1] * len(rows)}, index=index)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Database]:
    if request.param == "lake" and not has_lake():
        pytest.skip("this server was built without the lake")
    with Database(request.param, postgres) as database:
        yield database


@contextmanager
def governed(database: Database) -> Iterator[tuple[Places, ringfence.Session]]:
    """A server, and the session of who governs the organization."""
    with Places(database.settings) as places:
        places.add(Person("ann", "acme"))
        with ringfence.Session(places.gateway.url, places.keys[GOVERNOR]) as session:
            yield places, session


def loaded(session: ringfence.Session, database: Database) -> ringfence.Table:
    """Document 003's frame as a table."""
    if database.kind == "lake":
        session.connect(**database.description)
        frame = pd.DataFrame(ROWS, columns=COLUMNS)
        return session.read_pandas(frame, keys=COLUMNS, table_name=TABLE)
    columns = [f'"{name}" VARCHAR(40)' for name in COLUMNS]
    keys = ", ".join(f'"{name}"' for name in COLUMNS)
    database.fill(TABLE, [*columns, f"PRIMARY KEY ({keys})"], ROWS)
    session.connect(**database.description)
    return session.tables[TABLE]


def test_document_003(database: Database) -> None:
    with governed(database) as (places, session):
        table = loaded(session, database)
        restricting = Restricting(places.gateway, places.keys[GOVERNOR], session)
        cube = session.create_cube(table)
        cube.hierarchies["Geography"] = [table["Continent"], table["Country"]]
        for name in cube.hierarchies["Geography"].levels:
            del cube.hierarchies[name]
        assert sorted(cube.hierarchies) == ["Currency", "Geography"]

        user = session.security.basic.create_user("john", password=PASSWORD)
        session.security.lend_connection(user.username, password=database.password)
        # Signed in once, and open while roles change.
        query_session = ringfence.Session(session.url, auth=ringfence.Basic(user.username, PASSWORD))
        query_cube = query_session.cubes[cube.name]
        l, m = query_cube.levels, query_cube.measures  # noqa: E741
        roles = session.security.individual_roles[user.username]
        assert set(roles) == {"ROLE_USER"}

        def by_country() -> pd.DataFrame:
            frame = query_cube.query(m["contributors.COUNT"], levels=[l["Country"]])
            raw = query_session.sql(f'SELECT "Continent", "Country" FROM "{TABLE}" ORDER BY 1, 2')
            assert frame.index.tolist() == [tuple(row) for row in raw], "raw SQL shows what the cube shows"
            return frame

        def by_country_and_currency() -> pd.DataFrame:
            return query_cube.query(m["contributors.COUNT"], levels=[l["Country"], l["Currency"]])

        frame = by_country_and_currency()
        assert printed(frame) == words(ALL)
        pd.testing.assert_frame_equal(frame, frame_of(*sorted(ROWS), names=COLUMNS))

        role_france = restricting.create_role("ROLE_FRANCE", {(TABLE, "Country"): ["France"]})
        roles.add(role_france.name)
        frame = by_country()
        assert printed(frame) == words(FRANCE)
        pd.testing.assert_frame_equal(frame, frame_of(("Europe", "France"), names=COLUMNS[:2]))

        role_germany = restricting.create_role("ROLE_GERMANY", {(TABLE, "Country"): ["Germany"]})
        roles.add(role_germany.name)
        assert printed(by_country()) == words(FRANCE_GERMANY)

        role_nordic = restricting.create_role("ROLE_NORDIC", {(TABLE, "Country"): ["Norway", "Sweden"]})
        roles.add(role_nordic.name)
        assert printed(by_country()) == words(AND_NORDIC)

        role_asia = restricting.create_role("ROLE_ASIA", {(TABLE, "Continent"): ["Asia"]})
        roles.add(role_asia.name)
        frame = by_country()
        assert printed(frame) == words(AND_ASIA)
        everywhere = [row[:2] for row in sorted(ROWS)]
        pd.testing.assert_frame_equal(frame, frame_of(*everywhere, names=COLUMNS[:2]))

        role_eur = restricting.create_role("ROLE_EUR", {(TABLE, "Currency"): ["EUR"]})
        roles.add(role_eur.name)
        assert printed(by_country_and_currency()) == words(IN_EURO)

        for role in [role_france, role_germany]:
            roles.remove(role.name)
        frame = by_country()
        assert printed(frame) == words(NOTHING)
        assert list(frame.columns) == ["contributors.COUNT"]
        assert len(frame) == 0
        query_session.close()


# What document 002 prints, in its order.
TABLES = {
    "parisian-user": """
      Quantity.SUM
City
Total 603.00
Paris 603.00
""",
    "french-user": """
              Quantity.SUM
City
Total         3,027.00
Lyon          609.00
Marseille     603.00
Nice          609.00
Paris         603.00
Saint-Étienne 603.00
""",
    "global-user": """
              Quantity.SUM
City
Total         8,077.00
Chicago       603.00
Houston       606.00
Los Angeles   606.00
Lyon          609.00
Marseille     603.00
New York      808.00
Nice          609.00
Paris         603.00
Saint-Étienne 603.00
San Antonio   606.00
San Diego     606.00
San Francisco 612.00
San Jose      603.00
""",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as one:
        yield one


@contextmanager
def company(database: Database, provider: IdentityProvider, directory: Path) -> Iterator[tuple[Gateway, str]]:
    """A server that knows the provider, and the key of who governs the provider's organization."""
    file = directory / "ringfence.toml"
    file.write_text(
        f"""
[[oidc.providers]]
name = "corporate"
issuer = "{provider.issuer}"
client_id = "shop"
client_secret_env = "SHOP_CLIENT_SECRET"
organization = "shops"
tenant = "acme"
roles_claims = [["resource_access", "shop", "roles"]]
audiences = ["{AUDIENCE}"]
default_roles = ["api-user"]
"""
    )
    settings = {"RINGFENCE_CONFIG": str(file), "SHOP_CLIENT_SECRET": provider.secret, **database.settings}
    with Gateway(settings=settings) as server:
        server.call("POST", "orgs", {"id": "shops"})
        server.call("POST", "tenants", {"id": "acme", "org": "shops"})
        server.call(
            "POST", "users", {"id": "boss", "tenant": "acme", "org": "shops", "roles": ["org-admin-user"]}
        )
        yield server, server.call("POST", "keys", {"name": "test"}, acting="boss")["secret"]


def test_document_002(database: Database, provider: IdentityProvider, tmp_path: Path) -> None:
    with (
        company(database, provider, tmp_path) as (server, key),
        ringfence.Session(server.url, key) as session,
    ):
        sales_table, shops_table = read(session, database)
        sales_table.join(shops_table, sales_table["Shop"] == shops_table["Shop ID"])
        assert '"sales" }o--o| "shops" : "`Shop` == `Shop ID`"' in str(session.tables.schema)
        restricting = Restricting(server, key, session)
        session.create_cube(sales_table)
        restricting.update(
            {
                "ROLE_PARIS": shops_table["City"] == "Paris",
                "ROLE_FRANCE": shops_table["Country"] == "France",
            }
        )
        session.security.role_mapping["corporate"].update(
            {
                "user": {"ROLE_USER"},
                "atoti": {"ROLE_USER"},
                "france": {"ROLE_FRANCE"},
                "paris": {"ROLE_PARIS"},
            }
        )

        def query_city_and_quantity_sum(name: str) -> ringfence.Cells:
            def token() -> str:
                return provider.password_token(name, jwt=True)

            with ringfence.Session(session.url, auth=token) as existing_session:
                existing_session.me()
                session.security.lend_connection(name, password=database.password)
                cube = next(iter(existing_session.cubes.values()))
                asked: dict[str, Any] = {"levels": [cube.levels["City"]], "include_totals": True}
                frame = cube.query(cube.measures["Quantity.SUM"], **asked)
                cells = cube.cells(cube.measures["Quantity.SUM"], **asked)
                pd.testing.assert_frame_equal(frame, cells.to_pandas())
                raw = existing_session.sql('SELECT sum("Quantity") FROM sales').scalar()
                assert raw == frame["Quantity.SUM"]["Total"]
                return cells

        for name, table in TABLES.items():
            cells = query_city_and_quantity_sum(name)
            assert words(str(cells)) == words(table)
            frame = cells.to_pandas()
            assert frame.index.name == "City"
            assert frame["Quantity.SUM"]["Total"] == sum(frame["Quantity.SUM"][1:])
            # A lake reads one decimal place as a decimal.
            assert str(frame["Quantity.SUM"].dtype) == ("object" if database.kind == "lake" else "float64")

        session.security.basic.credentials["technical-user"] = "changeit, please"
        session.security.individual_roles["technical-user"] = {"ROLE_USER"}
        server_answer = who_is_there(server, key, session)
        assert server_answer == {"name": "technical-user", "roles": ["ROLE_USER"]}


def read(session: ringfence.Session, database: Database) -> tuple[ringfence.Table, ringfence.Table]:
    """The document's two files, as tables that the session is connected to."""
    sales, shops = DATA / "sales.csv", DATA / "shops.csv"
    if database.kind == "lake":
        session.connect(**database.description)
        return session.read_csv(sales, keys=["Sale ID"]), session.read_csv(shops, keys=["Shop ID"])
    figure = "DOUBLE PRECISION"
    database.fill_from("shops", shops, "Shop ID")
    database.fill_from("sales", sales, "Sale ID", Date="DATE", Quantity=figure, Unit_price=figure)
    session.connect(**database.description)
    return session.tables["sales"], session.tables["shops"]


def who_is_there(server: Gateway, key: str, session: ringfence.Session) -> Any:
    """The document's last steps: an endpoint, called by a technical user."""
    import requests

    document = {"name": "whoami", "path": "/pyapi/whoami", "builtin": "whoami"}
    headers = {"Authorization": f"Bearer {key}"}
    made = requests.put(f"{server.url}/v1/endpoints/whoami", json=document, headers=headers, timeout=30)
    assert made.ok, made.text
    with ringfence.Session(
        session.url, auth=ringfence.Basic("technical-user", "changeit, please")
    ) as technical:
        answer = technical.endpoints["whoami"]()
    with ringfence.Session(session.url) as nobody, pytest.raises(ringfence.AuthenticationFailed):
        nobody.endpoints["whoami"]()
    return answer
