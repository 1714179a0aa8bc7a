"""Queries by the unmodified SDK: run, submit, cancel, compile; history, likes and settings."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from polling import wait_for
from sdk_world import refused, run
from throwaway_postgres import Postgres
from waii_sdk_py import Waii
from waii_sdk_py.database import (
    DBAccessPolicy,
    ModifyDBConnectionRequest,
    SchemaName,
)
from waii_sdk_py.history import GetHistoryRequest, SortOrder
from waii_sdk_py.query import (
    CancelQueryRequest,
    GetLikedQueryRequest,
    GetQueryResultRequest,
    LikeQueryRequest,
    QueryGenerationRequest,
    RunQueryCompilerRequest,
    RunQueryRequest,
)
from waii_sdk_py.settings import DeleteParameterRequest, Parameters, UpdateParameterRequest
from waii_sdk_py.user import (
    UpdateConfigRequest,
)
from waii_sdk_py.waii_sdk_py import AsyncWaii


class TestQueries:
    """Running, submitting, cancelling and compiling."""

    def test_rows_and_columns(self, world: Any) -> None:
        result = run(world.ann, 'SELECT title, year AS "Year", director FROM movies ORDER BY id LIMIT 1')
        assert result.rows == [{"TITLE": "Cleo", "Year": 1962, "DIRECTOR": 1}]
        assert [(c.name, c.type) for c in result.column_definitions] == [
            ("TITLE", "text"),
            ("Year", "int4"),
            ("DIRECTOR", "int4"),
        ]
        assert result.more_rows == 0
        assert result.query_uuid

    def test_equal_names_lose_nothing(self, world: Any) -> None:
        assert run(world.ann, "SELECT 1 AS a, 2 AS a, 3 AS a").rows == [{"A": 1, "A_1": 2, "A_2": 3}]

    def test_values(self, world: Any) -> None:
        statement = """SELECT NULL::int AS n, true AS b, 9223372036854775807::int8 AS i, 'NaN'::float8 AS f,
            0.1::numeric AS d, 12345678901234567890.123456789::numeric AS big, date '2024-02-29' AS day,
            timestamp '2024-02-29 12:00:00' AS t, timestamptz '2024-02-29 12:00:00+00' AS tz,
            '{"a": [1, null]}'::jsonb AS j, ARRAY[[1, NULL], [3, 4]] AS a, '\\x00ff'::bytea AS bin,
            '[1,5)'::int4range AS r, 'a1b2c3d4-0000-0000-0000-000000000000'::uuid AS u"""
        row = run(world.ann, statement).rows[0]
        assert (row["N"], row["B"], row["I"], row["F"]) == (None, True, 9223372036854775807, "NaN")
        assert row["D"] == 0.1
        assert row["BIG"] == "12345678901234567890.123456789"
        assert (row["DAY"], row["T"]) == ("2024-02-29", "2024-02-29T12:00:00")
        assert row["TZ"].startswith("2024-02-29T12:00:00")
        assert row["J"] == {"a": [1, None]}
        assert row["A"] == [[1, None], [3, 4]]
        assert (row["BIN"], row["R"]) == ("\\x00ff", "[1,5)")
        assert row["U"] == "a1b2c3d4-0000-0000-0000-000000000000"

    def test_changes_are_committed(self, world: Any, postgres: Postgres) -> None:
        assert run(world.ann, "CREATE TABLE made_here (id int)").rows == []
        assert run(world.ann, "INSERT INTO made_here VALUES (1), (2)").rows == []
        assert postgres.rows("SELECT count(*) FROM made_here", "sdk_db") == [(2,)]
        assert run(world.ann, "DROP TABLE made_here").column_definitions == []

    def test_row_limit(self, world: Any) -> None:
        result = run(world.ann, "SELECT * FROM generate_series(1, 10003) AS n")
        assert len(result.rows) == 10_000
        assert result.more_rows > 0

    @pytest.mark.parametrize("query", ["SELECT 1; SELECT 2", "BEGIN", "COMMIT", "", "-- nothing"])
    def test_refused(self, world: Any, query: str) -> None:
        with refused():
            run(world.ann, query)

    def test_an_error_of_the_database(self, world: Any) -> None:
        with pytest.raises(Exception, match=r'^relation "no_such" does not exist$'):
            run(world.ann, "SELECT * FROM no_such")

    def test_nothing_is_carried_over(self, world: Any) -> None:
        held = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'"
        for _ in range(4):
            assert run(world.ann, "SELECT current_setting('search_path') AS p").rows == [
                {"P": '"$user", public'}
            ]
            run(world.ann, "SET search_path = information_schema")
            run(world.ann, "SELECT set_config('search_path', 'pg_catalog', false)")
            run(world.ann, "CREATE TEMP TABLE movies (secret int)")
            assert run(world.ann, "SELECT count(*) AS n FROM movies").rows == [{"N": 3}]
            run(world.ann, "SELECT pg_advisory_lock(42)")
            # The session is given up after the answer, and its process ends when it hears of it.
            wait_for("the lock to go", lambda: run(world.ann, held).rows == [{"N": 0}])

    def test_current_schema(self, world: Any) -> None:
        schema = SchemaName(schema_name="INFORMATION_SCHEMA", database_name="SDK_DB")
        result = run(world.ann, "SELECT count(*) > 0 AS there FROM tables", current_schema=schema)
        assert result.rows == [{"THERE": True}]
        with refused():
            run(world.ann, "SELECT 1", session_parameters={"session_authorization": "postgres"})

    def test_submit_and_get(self, world: Any) -> None:
        query_id = world.ann.query.submit(RunQueryRequest(query="SELECT 7 AS n")).query_id
        for _ in range(2):
            result = world.ann.query.get_results(GetQueryResultRequest(query_id=query_id))
            assert result.rows == [{"N": 7}]
        unknown = "00000000-0000-7000-8000-000000000000"
        answers = []
        for client, asked in [(world.olga, query_id), (world.olga, unknown), (world.ann, unknown)]:
            with refused() as raised:
                client.query.get_results(GetQueryResultRequest(query_id=asked))
            answers.append(str(raised.value))
        # Somebody else's query and none at all are one answer.
        assert len(set(answers)) == 1

    def test_a_submitted_failure(self, world: Any) -> None:
        query_id = world.ann.query.submit(RunQueryRequest(query="SELECT 1/0")).query_id
        with pytest.raises(Exception, match="division by zero"):
            world.ann.query.get_results(GetQueryResultRequest(query_id=query_id))

    def test_cancel_reaches_the_database(self, world: Any, postgres: Postgres) -> None:
        def running() -> int:
            rows = postgres.rows(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
                "AND query LIKE '%pg_sleep(61)%'"
            )
            return int(rows[0][0])

        query_id = world.ann.query.submit(RunQueryRequest(query="SELECT pg_sleep(61)")).query_id
        wait_for("the query to run", lambda: running() == 1)
        world.ann.query.cancel(CancelQueryRequest(query_id=query_id))
        wait_for("the query to end in the database", lambda: running() == 0)
        with pytest.raises(Exception, match=r"(?i)cancel"):
            world.ann.query.get_results(GetQueryResultRequest(query_id=query_id))
        # Once more is no error.
        world.ann.query.cancel(CancelQueryRequest(query_id=query_id))

    def test_compiler(self, world: Any) -> None:
        def compile_query(query: str) -> Any:
            return world.ann.query.run_query_compiler(RunQueryCompilerRequest(query=query))

        good = compile_query("SELECT title FROM movies")
        assert good.should_compile is True
        assert good.errors == ""
        assert good.explain_error_msg.state == 1
        assert [name.table_name for name in good.tables] == ["MOVIES"]
        bad = compile_query("SELECT nothing FROM movies")
        assert bad.should_compile is False
        assert bad.explain_error_msg.state == 2
        assert "nothing" in bad.errors
        compile_query("DELETE FROM movies")
        assert run(world.ann, "SELECT count(*) AS n FROM movies").rows == [{"N": 3}]

    def test_read_only_connection(self, world: Any) -> None:
        # Under an alias: the same database, another connection.
        read_only = world.connection.copy(deep=True)
        read_only.db_access_policy = DBAccessPolicy(read_only=True)
        read_only.db_alias = "look_only"
        key = "waii://sdk_owner@127.0.0.1/look_only"
        world.ann.database.modify_connections(ModifyDBConnectionRequest(updated=[read_only]))
        world.ann.database.activate_connection(key)
        try:
            assert run(world.ann, "SELECT count(*) AS n FROM movies").rows == [{"N": 3}]
            for attempt in [
                "DELETE FROM movies",
                "SET transaction_read_only = off",
                "WITH gone AS (DELETE FROM movies RETURNING *) SELECT * FROM gone",
                "DO $$ BEGIN SET transaction_read_only = off; DELETE FROM movies; END $$",
            ]:
                # Refused or without effect: both are right.
                with contextlib.suppress(Exception):
                    run(world.ann, attempt)
                assert run(world.ann, "SELECT count(*) AS n FROM movies").rows == [{"N": 3}], attempt
        finally:
            world.ann.database.activate_connection(world.key)
            world.ann.database.modify_connections(ModifyDBConnectionRequest(removed=[key]))

    def test_a_view_does_not_open_a_read_only_connection(self, world: Any, postgres: Postgres) -> None:
        """What a view calls counts too: after it, the next statement still can't write."""
        postgres.execute(
            "CREATE VIEW opener AS SELECT set_config('default_transaction_read_only', 'off', false) AS was",
            "CREATE TABLE written (id int)",
            "CREATE FUNCTION write_one() RETURNS int LANGUAGE sql VOLATILE SECURITY DEFINER "
            "AS 'INSERT INTO written VALUES (1) RETURNING id'",
            "CREATE VIEW writer AS SELECT write_one() AS id",
            "GRANT SELECT ON opener, writer TO sdk_owner",
            database="sdk_db",
        )
        read_only = world.connection.copy(deep=True)
        read_only.db_access_policy = DBAccessPolicy(read_only=True)
        read_only.db_alias = "look_through_views"
        key = "waii://sdk_owner@127.0.0.1/look_through_views"
        world.ann.database.modify_connections(ModifyDBConnectionRequest(updated=[read_only]))
        world.ann.database.activate_connection(key)
        try:
            for _ in range(3):
                with contextlib.suppress(Exception):
                    run(world.ann, "SELECT * FROM opener")
                with contextlib.suppress(Exception):
                    run(world.ann, "SELECT * FROM writer")
        finally:
            world.ann.database.activate_connection(world.key)
            world.ann.database.modify_connections(ModifyDBConnectionRequest(removed=[key]))
        written = postgres.rows("SELECT count(*) FROM written", "sdk_db")
        postgres.execute(
            "DROP VIEW opener, writer", "DROP FUNCTION write_one", "DROP TABLE written", database="sdk_db"
        )
        assert written == [(0,)]

    def test_what_needs_a_model_says_so(self, world: Any) -> None:
        with refused() as raised:
            world.ann.query.generate(QueryGenerationRequest(ask="all movies"), verbose=False)
        assert len(str(raised.value)) > 10

    def test_side_by_side_for_one_user(self, world: Any) -> None:
        """Four calls of one user that can end only together: each waits until all four run."""
        # A sequence is seen by others before the transaction ends.
        run(world.ann, "CREATE SEQUENCE arrivals")
        wait_for_all = """DO $$ BEGIN
            PERFORM nextval('arrivals');
            FOR i IN 1..600 LOOP
                IF (SELECT last_value FROM arrivals) >= 4 THEN RETURN; END IF;
                PERFORM pg_sleep(0.05);
            END LOOP;
            RAISE EXCEPTION 'alone';
        END $$"""
        with ThreadPoolExecutor(4) as pool:
            clients = []
            for _ in range(4):
                client = Waii()
                client.initialize(api_key=world.keys["ann"], url=world.url)
                client.database.activate_connection(world.key)
                clients.append(client)
            results = list(pool.map(lambda client: run(client, wait_for_all).rows, clients))
        assert results == [[], [], [], []]
        run(world.ann, "DROP SEQUENCE arrivals")

    def test_async_client(self, world: Any) -> None:
        async def calls() -> list[Any]:
            client = AsyncWaii()
            await client.initialize(url=world.url, api_key=world.keys["ann"])
            await client.database.activate_connection(world.key)
            return await asyncio.gather(
                *(client.query.run(RunQueryRequest(query=f"SELECT {n} AS n")) for n in range(8))
            )

        assert [result.rows for result in asyncio.run(calls())] == [[{"N": n}] for n in range(8)]


class TestHistoryLikesAndSettings:
    """What a user keeps on a connection."""

    def test_history(self, world: Any) -> None:
        uuids = [run(world.ann, f"SELECT {n} AS remembered").query_uuid for n in range(3)]

        def look() -> Any:
            history = world.ann.history.get(GetHistoryRequest(limit=3)).history
            return history if [entry.query.uuid for entry in history] == uuids[::-1] else None

        latest = wait_for("the history", look)
        assert latest[0].query.query == "SELECT 2 AS remembered"
        ascending = GetHistoryRequest(timestamp_sort_order=SortOrder.asc, limit=1000)
        stamps = [entry.timestamp_ms for entry in world.ann.history.get(ascending).history]
        assert stamps == sorted(stamps)
        one = world.ann.history.get(GetHistoryRequest(uuid_filter=uuids[1])).history
        assert [entry.query.uuid for entry in one] == [uuids[1]]
        assert world.olga.history.get(GetHistoryRequest(uuid_filter=uuids[1])).history == []

    def test_likes(self, world: Any) -> None:
        liked = LikeQueryRequest(ask="How many?", query="SELECT count(*) FROM movies", liked=True)
        world.ann.query.like(liked)
        assert [(q.ask, q.query) for q in self.likes(world.ann)] == [
            ("How many?", "SELECT count(*) FROM movies")
        ]
        assert self.likes(world.olga) == []
        unliked = LikeQueryRequest(ask="How many?", query="SELECT count(*) FROM movies", liked=False)
        world.ann.query.like(unliked)
        assert self.likes(world.ann) == []
        with refused():
            world.ann.query.like(LikeQueryRequest(liked=True))

    @staticmethod
    def likes(client: Any) -> list[Any]:
        # The SDK has no method for it.
        reply = client.http_client.common_fetch("get-liked-query", GetLikedQueryRequest(), ret_json=True)
        return [SimpleNamespace(**query) for query in reply["queries"]]

    def test_settings(self, world: Any) -> None:
        settings = world.ann.settings

        def value(name: str) -> Any:
            return settings.list_parameters().parameters[name].value

        name = Parameters.LIKED_QUERIES_LEARNING_MODE.value
        listed = settings.list_parameters().parameters
        assert value(name) == "few-shot"
        assert set(listed[name].possible_values) == {"disabled", "single", "few-shot"}
        settings.update_parameter(UpdateParameterRequest(parameter=name, value="single"))
        assert value(name) == "single"
        assert world.olga.settings.list_parameters().parameters[name].value == "few-shot"
        with refused():
            settings.update_parameter(UpdateParameterRequest(parameter=name, value="sometimes"))
        with refused():
            settings.update_parameter(UpdateParameterRequest(parameter="NO.SUCH", value=True))
        with refused():
            settings.update_parameter(
                UpdateParameterRequest(parameter=name, value="single", target_user_id="ben")
            )
        settings.delete_parameter(DeleteParameterRequest(parameter=name))
        assert value(name) == "few-shot"

    def test_config(self, world: Any) -> None:
        user = world.ben.user
        first = user.update_config(UpdateConfigRequest(updated={"a": 1, "b": {"c": [True, None]}})).configs
        assert first == {"a": 1, "b": {"c": [True, None]}}
        second = user.update_config(UpdateConfigRequest(updated={"d": "x"}, deleted=["a", "none"])).configs
        assert second == {"b": {"c": [True, None]}, "d": "x"}
        assert user.update_config(UpdateConfigRequest()).configs == second
        assert world.ann.user.update_config(UpdateConfigRequest()).configs == {}
