"""Loading tables through the Python client: CSV, Parquet, frames of pandas and polars, into a real lake."""

import asyncio
import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import ringfence
from guard_http.places import GOVERNOR, Person, Places
from throwaway_postgres import Postgres

from client.estate import DATA, Database, has_lake


@pytest.fixture(scope="module")
def lake(postgres: Postgres) -> Iterator[tuple[Places, Database]]:
    if not has_lake():
        pytest.skip("this server was built without the lake")
    with Database("lake", postgres) as database, Places(database.settings) as places:
        places.add(Person("ann", "acme"))
        yield places, database


@pytest.fixture(scope="module")
def session(lake: tuple[Places, Database]) -> Iterator[ringfence.Session]:
    places, database = lake
    with ringfence.Session(places.gateway.url, places.keys[GOVERNOR]) as session:
        session.connect(**database.description)
        yield session


def test_csv_files(session: ringfence.Session) -> None:
    shops = session.read_csv(DATA / "shops.csv", keys=["Shop ID"])
    sales = session.read_csv(DATA / "sales.csv", keys=["Sale ID"])
    assert (shops.name, shops.keys) == ("shops", ["Shop ID"])
    sales.join(shops, sales["Shop"] == shops["Shop ID"])
    row = session.sql('SELECT sum("Quantity") AS q, count(*) AS n, min("Date") AS d FROM sales').rows[0]
    assert tuple(row) == (Decimal(8077), 3204, datetime.date(2026, 1, 1))
    # Loaded once more, a table is the same one, and stays joined.
    session.read_csv(DATA / "shops.csv", keys=["Shop ID"])
    assert [join.other.name for join in session.tables["sales"].joins] == ["shops"]
    with session.stream('SELECT "Sale ID" FROM sales') as rows:
        assert rows.to_arrow().num_rows == 3204


def test_frames(session: ringfence.Session) -> None:
    name = "a, b"
    frame = pd.DataFrame({"a, b": [1, 2], "text": ["x", None]}, index=[7, 8])
    table = session.read_pandas(frame, table_name="Frames of people", keys=[name])
    assert (table.keys, list(table)) == ([name], [name, "text"])
    more = pl.DataFrame({name: [3], "text": ["ü"]})
    table = session.read_arrow(more, table_name="Frames of people", keys=[name], mode="append")
    rows = sorted((tuple(row) for row in table.head()), key=lambda row: row[0])
    assert rows == [(1, "x"), (2, None), (3, "ü")]


def test_parquet_files(session: ringfence.Session, tmp_path: Path) -> None:
    file = tmp_path / "moments.parquet"
    pd.DataFrame({"at": pd.to_datetime(["2026-01-31 10:00"]), "n": [1.5]}).to_parquet(file)
    table = session.read_parquet(file)
    assert table.head().rows[0].as_dict() == {"at": datetime.datetime(2026, 1, 31, 10), "n": 1.5}
    del session.tables["moments"]
    assert "moments" not in session.tables
    with pytest.raises(ringfence.Refused):
        session.sql("SELECT * FROM moments")


def test_what_does_not_fit_is_not_loaded(session: ringfence.Session) -> None:
    session.read_csv(b"a,b\n1,2\n", table_name="whole")
    for content, keys in [(b"a,b\n1,2\nx,y,z\n", []), (b"a,b\n1,2\n1,3\n", ["a"])]:
        with pytest.raises(ringfence.Refused) as refused:
            session.read_csv(content, table_name="whole", keys=keys)
        assert refused.value.code == "DATA_INVALID"
    assert [tuple(row) for row in session.sql("SELECT a, b FROM whole")] == [(1, 2)]


def test_async(lake: tuple[Places, Database], session: ringfence.Session) -> None:
    async def run() -> None:
        key = lake[0].keys[GOVERNOR]
        async with ringfence.AsyncSession(session.url, key, connection=session.connection) as one:
            table = await one.read_csv(DATA / "shops.csv", table_name="shops again")
            assert len(await table.head(2)) == 2
            await table.drop()

    asyncio.run(run())
