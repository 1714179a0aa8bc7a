"""What a user of the Python client does, on PostgreSQL and SQLite: SQL, models, endpoints, people, errors."""

import asyncio
import datetime
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import ringfence
from models.shop import shops
from throwaway_postgres import Postgres

from client.office import POLICY, Office


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def office(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Office]:
    with shops(postgres, request.param) as shop:
        shop.policy(POLICY)
        office = Office(shop)
        yield office
        office.close()


@pytest.fixture
def ann(office: Office) -> ringfence.Session:
    return office.session("ann")


class TestSql:
    def test_rows_in_every_form(self, ann: ringfence.Session) -> None:
        result = ann.sql("SELECT id, status, total FROM orders ORDER BY id LIMIT 3")
        assert [tuple(row) for row in result] == [
            (1, "pending", Decimal(10)),
            (2, "pending", Decimal("20.5")),
            (3, "done", Decimal(30)),
        ]
        assert result.rows[1]["total"] == Decimal("20.5")
        frame = result.to_pandas()
        assert list(frame.columns) == ["id", "status", "total"]
        assert frame["id"].tolist() == [1, 2, 3]
        assert str(frame["id"].dtype) == "int64"
        assert frame["total"].tolist() == [Decimal(10), Decimal("20.5"), Decimal(30)]
        assert result.to_polars()["status"].to_list() == ["pending", "pending", "done"]
        assert pa.types.is_decimal(result.to_arrow().schema.field("total").type)

    def test_nothing_has_its_columns_too(self, ann: ringfence.Session) -> None:
        frame = ann.sql("SELECT id, total FROM orders WHERE id < 0").to_pandas()
        assert list(frame.columns) == ["id", "total"]
        assert len(frame) == 0

    def test_values_are_bound(self, ann: ringfence.Session, office: Office) -> None:
        ask = f"SELECT count(*) FROM orders WHERE status = {office.placeholder()}"
        assert ann.sql(ask, ["pending"]).scalar() == 4
        assert ann.sql(ask, ["pending' OR 'a' = 'a"]).scalar() == 0
        by_number = f"SELECT id FROM orders WHERE id = {office.placeholder()}"
        assert [row["id"] for row in ann.sql(by_number, [2])] == [2]
        with pytest.raises(TypeError, match="params is a list"):
            ann.sql(ask, {"status": "pending"})  # type: ignore[arg-type]

    def test_what_is_left_out_is_said(self, ann: ringfence.Session) -> None:
        result = ann.sql("SELECT id FROM orders ORDER BY id", max_rows=3)
        assert (len(result), result.more_rows) == (3, 5)
        assert "5 more" in repr(result)
        assert "5 more were left out" in result._repr_html_()

    def test_gaps_keep_whole_numbers_whole(self, ann: ringfence.Session) -> None:
        ask = "SELECT CASE WHEN id > 1 THEN id END AS n FROM orders WHERE id < 4 ORDER BY id"
        frame = ann.sql(ask).to_pandas()
        assert str(frame["n"].dtype) == "Int64"
        assert frame["n"].isna().tolist() == [True, False, False]

    def test_a_stream_brings_all_rows(self, ann: ringfence.Session) -> None:
        with ann.stream("SELECT id, note FROM orders ORDER BY id") as rows:
            assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
        schema = pa.schema([("id", pa.int16())])
        with ann.stream("SELECT id FROM orders ORDER BY id", schema=schema) as rows:
            table = rows.to_arrow()
        assert table.schema == schema
        assert table.column("id").to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8]

    def test_a_stream_may_be_left(self, ann: ringfence.Session) -> None:
        with ann.stream("SELECT a.id FROM orders a, orders b, orders c, orders d") as rows:
            assert next(iter(rows))["id"] is not None
        assert ann.sql("SELECT count(*) FROM orders WHERE id < 9").scalar() == 8

    def test_tables_are_what_one_sees(self, ann: ringfence.Session) -> None:
        assert sorted(ann.tables) == ["order_lines", "orders", "users"]
        orders = ann.tables["orders"]
        assert "organization_id" not in orders
        assert orders.keys == ["id"]
        assert len(orders.head(3)) == 3
        with pytest.raises(KeyError, match="no table 'tenants'"):
            ann.tables["tenants"]

    def test_a_policy_counts_at_once(self, office: Office, ann: ringfence.Session) -> None:
        try:
            office.shop.policy(POLICY.replace("first2", "first1"))
            assert ann.sql("SELECT note FROM orders WHERE id = 1").scalar() == "n***"
        finally:
            office.shop.policy(POLICY)
        assert ann.sql("SELECT note FROM orders WHERE id = 1").scalar() == "no***"


def test_values_of_postgresql(postgres: Postgres) -> None:
    ask = """
        SELECT date '2026-01-31' AS d, time '10:30:00.5' AS t, timestamp '2026-01-31 10:30:00.123456' AS ts,
               timestamptz '2026-01-31 10:30:00+02' AS tz, 1.5::float8 AS f, 'NaN'::float8 AS nan,
               12345678901234567890123456789.123456789012345::numeric AS big, true AS b,
               '\\x01ff'::bytea AS raw,
               '{"a": [1.5, null]}'::jsonb AS j, ARRAY[1, NULL, 3] AS arr, interval '1 day' AS i,
               9223372036854775807::int8 AS whole, NULL::int4 AS nothing, 'ü'::text AS text
    """
    with shops(postgres, "postgresql") as shop:
        session = Office(shop).session("ann")
        row = session.sql(ask).rows[0].as_dict()
        assert row["nan"] != row["nan"]
        del row["nan"]
        assert row == {
            "d": datetime.date(2026, 1, 31),
            "t": datetime.time(10, 30, 0, 500000),
            "ts": datetime.datetime(2026, 1, 31, 10, 30, 0, 123456),
            "tz": datetime.datetime(2026, 1, 31, 8, 30, tzinfo=datetime.UTC),
            "f": 1.5,
            "big": Decimal("12345678901234567890123456789.123456789012345"),
            "b": True,
            "raw": b"\x01\xff",
            "j": '{"a": [1.5, null]}',
            "arr": [1, None, 3],
            "i": "1 day",
            "whole": 9223372036854775807,
            "nothing": None,
            "text": "ü",
        }
        frame = session.sql(ask).to_pandas()
        assert frame["big"][0] == Decimal("12345678901234567890123456789.123456789012345")
        assert str(frame["tz"].dtype) == "datetime64[us, UTC]"
        session.close()


class TestModels:
    def test_queries(self, ann: ringfence.Session) -> None:
        orders = ann.models["Order"]
        page = orders.query(
            orders["status"] == "pending", select=["id", "total"], order_by=["-total", "id"], total_count=True
        )
        assert page.rows == [
            {"id": 2, "total": Decimal("20.5")},
            {"id": 6, "total": Decimal("20.5")},
            {"id": 1, "total": Decimal(10)},
            {"id": 5, "total": Decimal(10)},
        ]
        assert page.total_count == 4
        assert page.to_pandas()["id"].tolist() == [2, 6, 1, 5]
        # As document 001 writes it.
        filters = [{"field": "status", "op": "eq", "value": "pending"}]
        assert [row["id"] for row in orders.query(filters, order_by=["id"])] == [1, 2, 5, 6]

    def test_conditions_are_put_together(self, ann: ringfence.Session) -> None:
        orders = ann.models["Order"]

        def ids(condition: ringfence.Condition) -> list[int]:
            return [row["id"] for row in orders.query(condition, select=["id"], order_by=["id"])]

        total, status = orders["total"], orders["status"]
        assert ids((status == "pending") & (total > 10)) == [2, 6]
        assert ids(total.isnull() | (total >= 30)) == [3, 4, 7, 8]
        assert ids(~(status == "pending") & (total != None)) == [3, 7]  # noqa: E711
        assert ids(orders["id"].isin([3, 9, 10])) == [3], "another tenant's rows are not there"
        assert ids(orders["id"].between(2, 4)) == [2, 3, 4]
        assert ids(status.startswith("pen") & orders["id"].notin(1, 2)) == [5, 6]
        with pytest.raises(TypeError, match="no truth value"):
            ids((status == "pending") and (total > 10))
        with pytest.raises(KeyError, match="no field 'organization_id'"):
            orders["organization_id"]

    def test_pages_go_on(self, ann: ringfence.Session) -> None:
        pages = list(ann.models["Order"].pages(select=["id"], order_by=["id"], take=3))
        assert [[row["id"] for row in page] for page in pages] == [[1, 2, 3], [4, 5, 6], [7, 8]]

    def test_rows_of_other_models(self, ann: ringfence.Session) -> None:
        lines = {"lines": {"select": ["line", "quantity"], "order_by": ["line"]}}
        page = ann.models["Order"].query(select=["id"], order_by=["id"], take=1, include=lines)
        assert page.rows == [{"id": 1, "lines": [{"line": 1, "quantity": 10}, {"line": 2, "quantity": 20}]}]

    def test_get_and_aggregate(self, ann: ringfence.Session) -> None:
        orders = ann.models["Order"]
        assert orders.get(1, select=["id", "note"]) == {"id": 1, "note": "no***"}
        with pytest.raises(ringfence.NotFound) as hidden:
            orders.get(9)
        with pytest.raises(ringfence.NotFound) as missing:
            orders.get(99999)
        assert (hidden.value.code, hidden.value.detail) == (missing.value.code, missing.value.detail)
        figures = orders.aggregate(
            {"revenue": ("sum", "total"), "orders": "count"}, group_by=["status"], order_by=["-revenue"]
        )
        assert figures.rows == [
            {"status": "pending", "revenue": Decimal(61), "orders": 4},
            {"status": "done", "revenue": Decimal(60), "orders": 4},
        ]
        assert orders.aggregate([{"op": "count"}]).rows == [{"count": 8}]

    def test_changes(self, ann: ringfence.Session, office: Office) -> None:
        orders = ann.models["Order"]
        made = orders.create({"status": "new", "total": Decimal("1.25")}, return_fields=["id", "tenant_id"])
        number = made.row["id"]
        assert made.row["tenant_id"] == "acme-corp"
        assert office.shop.raw(f"SELECT user_id FROM orders WHERE id = {number}") == [("ann",)]
        version = orders.get(number, select=["version"])["version"]
        assert orders.update(number, {"status": "done"}, if_version=version).row["status"] == "done"
        with pytest.raises(ringfence.Conflict) as stale:
            orders.update(number, {"status": "new"}, if_version=version)
        assert stale.value.code == "PRECONDITION_FAILED"
        more = orders.bulk_create([{"status": "x"}, {"status": "y"}]).rows
        changed = orders.bulk_update([row["id"] for row in more], {"status": "z"})
        assert changed.affected == 2
        with pytest.raises(ringfence.ApiError) as theirs:
            orders.update(9, {"status": "mine"})
        assert theirs.value.code == "NOT_FOUND"
        with pytest.raises(ringfence.ApiError) as other:
            orders.create({"status": "new", "tenant_id": "globex"})
        assert other.value.code in ("ROW_REFUSED", "COLUMN_NOT_WRITABLE", "IMMUTABLE_FIELD")
        keys = ", ".join(str(key) for key in [number, *(row["id"] for row in more)])
        done = ann.transaction(
            [{"action": "update", "model": "Order", "id": number, "data": {"status": "t"}}], reason="a test"
        )
        assert [change.affected for change in done] == [1]
        ann.sql(f"UPDATE orders SET status = 'over' WHERE id IN ({keys})")
        counted = ann.sql("SELECT count(*) FROM orders WHERE status = 'over'").scalar()
        assert counted == 3
        self._remove(office, keys)

    @staticmethod
    def _remove(office: Office, keys: str) -> None:
        """Behind the gateway, so that each test begins with the same rows."""
        if office.shop.server is not None:
            with office.shop.server.connect("shop") as server:
                server.execute(f"DELETE FROM orders WHERE id IN ({keys})".encode())
            return
        import sqlite3

        connection = sqlite3.connect(office.shop.file)
        connection.execute(f"DELETE FROM orders WHERE id IN ({keys})")
        connection.commit()
        connection.close()

    def test_what_waits_is_no_change(self, ann: ringfence.Session, office: Office) -> None:
        number = ann.models["Order"].create({"status": "to go"}).row["id"]
        with pytest.raises(ringfence.ApprovalPending) as waiting:
            ann.models["Order"].delete(number, reason="entered twice")
        ticket = waiting.value.approval
        with pytest.raises(ringfence.ApprovalPending) as together:
            ann.transaction([{"action": "delete", "model": "Order", "id": number}])
        ann.approvals.withdraw(together.value.approval)
        assert ann.models["Order"].get(number)["status"] == "to go"
        assert ann.approvals.get(ticket)["state"] == "pending"
        chief = office.session("chief")
        assert ticket in [one["id"] for one in chief.approvals.list(state="pending")]
        with pytest.raises(ringfence.NotFound):
            office.session("globex-chief").approvals.approve(ticket)
        chief.approvals.approve(ticket, reason="seen")
        assert ann.approvals.wait(ticket)["state"] == "executed"
        with pytest.raises(ringfence.NotFound):
            ann.models["Order"].get(number)


class TestEndpoints:
    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def published(office: Office) -> None:
        schema = "main" if office.shop.kind == "sqlite" else "public"
        office.publish(
            "orders-of",
            path="/shop/orders/{status}",
            statement=f"SELECT id FROM {schema}.orders WHERE status = :status AND id >= :least ORDER BY id",
            parameters={"status": {"type": "text"}, "least": {"type": "integer", "default": 0}},
            result={"wrap": "data"},
        )
        office.publish("whoami", path="/pyapi/whoami", builtin="whoami")
        office.publish(
            "add",
            path="/shop/orders",
            method="POST",
            statement=f"INSERT INTO {schema}.orders (status) VALUES (:status) RETURNING tenant_id, status",
            parameters={"status": {"in": "body", "type": "text", "required": True}},
            result={"shape": "row"},
        )
        office.publish("chiefs", path="/shop/chiefs", statement="SELECT 1 AS one", roles=["chief"])

    def test_everybody_gets_their_own(self, office: Office) -> None:
        expected = {"ann": [2, 5, 6], "bob": [9, 10]}
        for person, ids in expected.items():
            endpoints = office.session(person).endpoints
            assert endpoints["orders-of"](status="pending", least=2) == {"data": [{"id": one} for one in ids]}
        assert office.session("chief").endpoints["whoami"]() == {"name": "chief", "roles": ["chief"]}

    def test_values_stay_values(self, ann: ringfence.Session) -> None:
        for nasty in ("a/../b", "pending' OR 'a'='a", "ü ?#%2F&"):
            assert ann.endpoints["orders-of"](status=nasty) == {"data": []}

    def test_bodies_and_mistakes(self, ann: ringfence.Session) -> None:
        assert ann.endpoints["add"](status="by hand") == {"tenant_id": "acme-corp", "status": "by hand"}
        ann.sql("UPDATE orders SET status = 'gone' WHERE status = 'by hand'")
        assert "chiefs" not in ann.endpoints
        with pytest.raises(TypeError, match="no parameter 'colour'"):
            ann.endpoints["orders-of"](colour="red")
        with pytest.raises(TypeError, match="needs all that is in its path"):
            ann.endpoints["orders-of"](least=1)


class TestErrors:
    def test_what_was_refused(self, ann: ringfence.Session) -> None:
        with pytest.raises(ringfence.Refused) as refused:
            ann.sql("SELECT nope FROM orders")
        error = refused.value
        assert (error.status, error.code) == (422, "COLUMN_UNKNOWN")
        assert error.hint == "the connection's catalog lists what you can name"
        assert error.trace_id
        assert error.trace_id in str(error)
        with pytest.raises(ringfence.NotPermitted) as denied:
            ann.security.individual_roles["bob"].add("chief")
        assert denied.value.code == "NOT_PERMITTED"

    def test_who_is_nobody(self, office: Office) -> None:
        for auth in ("rf_of_nobody", ringfence.Basic("ann", "of nobody"), None):
            with (
                ringfence.Session(office.url, auth) as session,
                pytest.raises(ringfence.AuthenticationFailed) as refused,
            ):
                session.me()
            assert "nobody" not in str(refused.value)

    def test_where_nobody_is(self) -> None:
        with ringfence.Session("http://127.0.0.1:1", "k", retries=0) as session:
            with pytest.raises(ringfence.ConnectionFailed) as failed:
                session.me()
            assert failed.value.__context__ is None
            assert failed.value.__cause__ is None

    def test_a_statement_that_takes_too_long(self, office: Office) -> None:
        if office.shop.kind == "sqlite":
            pytest.skip("the same road; PostgreSQL has a statement that is sure to take long")
        ask = "SELECT count(*) FROM generate_series(1, 1000000000)"
        with pytest.raises(ringfence.Refused) as late:
            office.session("ann").sql(ask, timeout=0.2)
        assert late.value.code == "QUERY_TIMED_OUT"

    def test_which_connection(self, office: Office) -> None:
        with pytest.raises(ringfence.RingfenceError, match="no one connection is 'nowhere'"):
            office.session("ann", connection="nowhere").sql("SELECT 1")
        named = office.session("ann", connection=office.shop.connection)
        assert named.connection == office.shop.connection


class TestManyAtOnce:
    def test_one_session_in_many_threads(self, ann: ringfence.Session) -> None:
        barrier = threading.Barrier(8)

        def ask(number: int) -> Any:
            barrier.wait()
            return ann.sql(f"SELECT count(*) + {number} FROM orders WHERE id < 9").scalar()

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(ask, range(8))) == [8, 9, 10, 11, 12, 13, 14, 15]

    def test_async(self, office: Office) -> None:
        async def run() -> None:
            async with ringfence.AsyncSession(office.url, office.shop.places.keys["ann"]) as session:
                results = await asyncio.gather(
                    *(
                        session.sql(f"SELECT count(*) + {number} FROM orders WHERE id < 9")
                        for number in range(4)
                    )
                )
                assert [result.scalar() for result in results] == [8, 9, 10, 11]
                orders = (await session.models())["Order"]
                assert (await orders.get(1, select=["id"])) == {"id": 1}
                assert [len(page) async for page in orders.pages(orders["id"] < 9, take=3)] == [3, 3, 2]
                made = await orders.create({"status": "async"})
                with pytest.raises(ringfence.ApprovalPending) as waiting:
                    await orders.delete(made.row["id"])
                assert (await session.approvals.withdraw(waiting.value.approval))["state"] == "withdrawn"
                await session.sql("UPDATE orders SET status = 'gone' WHERE status = 'async'")
                async with await session.stream("SELECT id FROM orders WHERE id < 9 ORDER BY id") as rows:
                    assert [row["id"] async for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
                assert "orders" in await session.tables()
                assert await session.connection() == office.shop.connection
                with pytest.raises(ringfence.Refused):
                    await session.sql("SELECT nope FROM orders")

        asyncio.run(run())
