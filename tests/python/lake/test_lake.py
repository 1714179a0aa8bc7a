"""Lakes over HTTP: loads that are whole or nothing, and rows that each person sees their own part of."""

import csv
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from gateway import FAST, binary
from guard_http.places import GOVERNOR
from polling import wait_for

from lake.world import SALES, SHOPS, LakeWorld

# Document 002: what each user sees, by city, with the total.
FRANCE = {"Lyon": 609, "Marseille": 603, "Nice": 609, "Paris": 603, "Saint-Étienne": 603}
EVERYWHERE = FRANCE | {
    "Chicago": 603,
    "Houston": 606,
    "Los Angeles": 606,
    "New York": 808,
    "San Antonio": 606,
    "San Diego": 606,
    "San Francisco": 612,
    "San Jose": 603,
}

BY_CITY = """
SELECT shops."City", sum(sales."Quantity") AS quantity
FROM sales JOIN shops ON sales."Shop" = shops."Shop ID"
GROUP BY shops."City" ORDER BY shops."City"
"""


@pytest.fixture(scope="module")
def world() -> Iterator[LakeWorld]:
    """Sales and shops, loaded, with the policy on them."""
    with LakeWorld() as world:
        for name, file, key in (("sales", SALES, "Sale ID"), ("shops", SHOPS, "Shop ID")):
            answer = world.load("loader", name, file.read_bytes(), keys=key)
            assert answer.ok, answer.text
        world.put_policy()
        yield world


@pytest.fixture
def fresh() -> Iterator[LakeWorld]:
    """An empty lake without a policy."""
    with LakeWorld() as world:
        yield world


class TestDocument:
    """Document 002's data half."""

    @pytest.mark.parametrize(
        ("person", "cities"),
        [("global-user", EVERYWHERE), ("french-user", FRANCE), ("parisian-user", {"Paris": 603})],
    )
    def test_each_user_sees_and_sums_their_part(
        self, world: LakeWorld, person: str, cities: dict[str, int]
    ) -> None:
        assert {str(row[0]): row[1] for row in world.rows(person, BY_CITY)} == cities
        total = 'SELECT sum("Quantity") FROM sales'
        assert world.rows(person, total) == [[sum(cities.values())]]

    def test_raw_sql_of_the_parisian_user(self, world: LakeWorld) -> None:
        assert world.rows("parisian-user", 'SELECT sum("Quantity") FROM sales') == [[603]]
        assert world.rows("nobody-user", "SELECT count(*) FROM sales") == [[0]]
        assert world.rows("nobody-user", 'SELECT sum("Quantity") FROM sales') == [[None]]

    def test_totals(self, world: LakeWorld) -> None:
        rollup = """
        SELECT shops."Country", shops."City", sum(sales."Quantity")
        FROM sales JOIN shops ON sales."Shop" = shops."Shop ID"
        GROUP BY ROLLUP (shops."Country", shops."City") ORDER BY 1 NULLS FIRST, 2 NULLS FIRST
        """
        assert world.rows("parisian-user", rollup) == [
            [None, None, 603],
            ["France", None, 603],
            ["France", "Paris", 603],
        ]

    def test_models(self, world: LakeWorld) -> None:
        url = f"{world.places.gateway.url}/v1/models/{quote(world.connection, safe='')}"
        headers = {"Authorization": f"Bearer {world.places.keys['parisian-user']}"}
        body: dict[str, Any] = {"take": 100, "select": ["Shop ID", "City"]}
        answer = requests.post(f"{url}/Shop/query", json=body, headers=headers, timeout=30)
        assert answer.ok, answer.text
        assert {row["City"] for row in answer.json()["rows"]} == {"Paris"}


class TestWall:
    """Nothing that fails, and nothing that can be said, tells about hidden rows."""

    @pytest.mark.parametrize(
        "sql",
        [
            'SELECT "Shop ID" FROM shops WHERE CAST("City" AS INTEGER) = 1',
            """SELECT count(*) FROM shops WHERE 1 / (CASE WHEN "City" = 'Nice' THEN 0 ELSE 1 END) = 1""",
            """SELECT 1 WHERE EXISTS (SELECT 1 FROM shops s
               WHERE 1 / (CASE WHEN s."City" = 'Nice' THEN 0 ELSE 1 END) = 1)""",
            """SELECT count(*) FROM sales a WHERE EXISTS (SELECT 1 FROM sales b, shops s
               WHERE b."Sale ID" = a."Sale ID"
               AND 1 / (CASE WHEN s."City" = 'Nice' THEN 0 ELSE 1 END) = 1)""",
            """SELECT count(*) FROM sales a JOIN shops s
               ON a."Shop" = s."Shop ID" AND 1 / (CASE WHEN s."City" = 'Nice' THEN 0 ELSE 1 END) = 1""",
        ],
    )
    def test_an_expression_that_fails_on_hidden_rows(self, world: LakeWorld, sql: str) -> None:
        if "CAST" in sql:
            # Who sees no row at all hears of none.
            assert world.rows("nobody-user", sql) == []
            return
        # It fails for who sees Nice, and for nobody else.
        assert world.code("french-user", sql) == "QUERY_FAILED"
        assert world.ask("parisian-user", sql).ok
        assert world.ask("nobody-user", sql).ok

    @pytest.mark.parametrize(
        ("sql", "code"),
        [
            ("COPY sales TO '/tmp/x.csv'", "STATEMENT_NOT_ADMITTED"),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc'", "STATEMENT_UNREADABLE"),
            ("SET datafusion.execution.batch_size = 1", "STATEMENT_NOT_ADMITTED"),
            ("SELECT * FROM '/etc/passwd'", "STATEMENT_NOT_ADMITTED"),
            ("SELECT * FROM read_csv('/etc/passwd')", "FUNCTION_NOT_ALLOWED"),
            ("SELECT * FROM information_schema.tables", "RELATION_UNKNOWN"),
            ("SELECT version()", "FUNCTION_NOT_ALLOWED"),
            ("INSERT INTO shops VALUES ('x')", "STATEMENT_NOT_ADMITTED"),
            ("DELETE FROM shops", "STATEMENT_NOT_ADMITTED"),
            ("SELECT * FROM hidden", "RELATION_UNKNOWN"),
        ],
    )
    def test_what_is_refused(self, world: LakeWorld, sql: str, code: str) -> None:
        assert world.code("parisian-user", sql) == code

    def test_open_connections_only_read_tables(self, fresh: LakeWorld) -> None:
        assert fresh.load("loader", "t", "a\n1\n").ok
        (fresh.home / "other").mkdir()
        (fresh.home / "other" / "secret.csv").write_text("a\n1\n")
        for sql in (
            "COPY t TO '/tmp/ringfence-lake-x.csv'",
            "CREATE EXTERNAL TABLE u STORED AS CSV LOCATION '/etc/passwd'",
            "SET datafusion.catalog.information_schema = true",
            f"SELECT * FROM '{fresh.home}/other/secret.csv'",
            "SELECT * FROM generate_series(1, 3)",
            "INSERT INTO t VALUES (2)",
            "CREATE TABLE u AS SELECT 1",
            "SHOW TABLES",
        ):
            assert not fresh.ask("loader", sql).ok, sql
        plan = fresh.ask("loader", "EXPLAIN SELECT a FROM t").text
        assert "TableScan" in plan
        assert str(fresh.home) not in plan


class TestLoads:
    """All rows, or none."""

    def test_types_follow_from_the_rows(self, fresh: LakeWorld) -> None:
        rows = (
            "id,code,price,day,at,ok,name\n"
            "1,007,1.50,2024-02-29,2024-01-01T10:00:00,true,\n"
            "2,08,22.125,1999-12-31,,false,Zoë\n"
        )
        answer = fresh.load("loader", "things", rows, keys="id").json()
        types = {column["name"]: column["type"] for column in answer["columns"]}
        assert types == {
            "id": "bigint",
            "code": "text",
            "price": "numeric(18,3)",
            "day": "date",
            "at": "timestamp",
            "ok": "boolean",
            "name": "text",
        }
        assert (answer["rows"], answer["version"]) == (2, 1)
        assert fresh.rows("loader", "SELECT * FROM things ORDER BY id") == [
            [1, "007", 1.5, "2024-02-29", "2024-01-01T10:00:00", True, None],
            [2, "08", 22.125, "1999-12-31", None, False, "Zoë"],
        ]

    def test_bad_rows_are_named_and_undo_the_load(self, fresh: LakeWorld) -> None:
        assert fresh.load("loader", "t", "a,b\n1,x\n").ok
        bad = 'a,b\n1,"two\nlines"\nnone,y\n3\n4,z\n'
        answer = fresh.load("loader", "t", bad, types=json.dumps({"a": "integer"}))
        assert (answer.status_code, answer.json()["code"]) == (422, "DATA_INVALID")
        assert "line 4" in answer.json()["detail"]
        assert "line 5: 1 values for 2 columns" in answer.json()["detail"]
        assert fresh.rows("loader", "SELECT a, b FROM t") == [[1, "x"]]

    @pytest.mark.parametrize(
        ("body", "parameters", "says"),
        [
            ("", {}, "empty"),
            ("a,a\n1,2\n", {}, "two columns"),
            ("a\n1\n1\n", {"keys": "a"}, "share a key"),
            ("a,b\n1,2\n,3\n", {"keys": "a"}, "is a key and is empty"),
            ("a\n1\n", {"keys": "b"}, 'no column "b"'),
            ("a\n1\n", {"types": '{"a": "money"}'}, "no type"),
            ("_rf_t\n1\n", {}, "_rf_"),
            ('a\n"' + "x" * 17_000_000, {}, "quote"),
        ],
    )
    def test_what_is_no_table(
        self, world: LakeWorld, body: str, parameters: dict[str, str], says: str
    ) -> None:
        answer = world.load(GOVERNOR, "bad", body, **parameters)
        assert answer.status_code == 422, answer.text
        assert says in answer.json()["detail"]
        assert world.remove(GOVERNOR, "bad").status_code == 404

    def test_append_keeps_and_checks(self, fresh: LakeWorld) -> None:
        assert fresh.load("loader", "t", "id,v\n1,a\n2,b\n", keys="id").ok
        added = fresh.load("loader", "t", "v,id\nc,3\n", mode="append").json()
        assert (added["loaded"], added["rows"], added["version"]) == (1, 3, 2)
        repeated = fresh.load("loader", "t", "id,v\n4,x\n2,x\n", mode="append")
        assert "share a key" in repeated.json()["detail"]
        other = fresh.load("loader", "t", "id,w\n5,x\n", mode="append")
        assert (other.status_code, other.json()["code"]) == (409, "TABLE_CONFLICT")
        assert fresh.rows("loader", "SELECT id, v FROM t ORDER BY id") == [[1, "a"], [2, "b"], [3, "c"]]

    def test_files_that_lie_there_are_tables(self, fresh: LakeWorld) -> None:
        (fresh.lake / "plain.csv").write_text('a,b\n1,"x\ny"\n2,z\n')
        (fresh.lake / "lines.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n')
        assert fresh.rows("loader", "SELECT a, b FROM plain ORDER BY a") == [[1, "x\ny"], [2, "z"]]
        assert fresh.rows("loader", "SELECT a, b FROM lines ORDER BY a") == [[1, "x"], [2, None]]
        shadow = fresh.load("loader", "plain", "a\n1\n")
        assert (shadow.status_code, shadow.json()["code"]) == (409, "TABLE_CONFLICT")

    def test_the_command(self, fresh: LakeWorld) -> None:
        command = [str(binary()), "load", str(SHOPS), "--connection", fresh.connection, "--keys", "Shop ID"]
        command += ["--url", fresh.places.gateway.url]
        key = {"RINGFENCE_KEY": fresh.places.keys["loader"], "PATH": "/usr/bin"}
        done = subprocess.run(command, env=key, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        with SHOPS.open() as file:
            expected = len(list(csv.DictReader(file)))
        assert f"loaded {expected} rows into shops" in done.stdout
        again = subprocess.run([*command, "--append"], env=key, capture_output=True, text=True, timeout=60)
        assert again.returncode == 1
        assert "DATA_INVALID" in again.stderr


class TestWho:
    """Who may change what is there."""

    def test_a_reader_may_not(self, fresh: LakeWorld) -> None:
        answer = fresh.load("trial", "t", "a\n1\n")
        assert (answer.status_code, answer.json()["code"]) == (403, "NOT_PERMITTED")
        assert fresh.remove("trial", "t").status_code == 403

    def test_a_policy_binds_the_loader_too(self, world: LakeWorld) -> None:
        answer = world.load("loader", "sales", "a\n1\n")
        assert (answer.status_code, answer.json()["code"]) == (403, "NOT_PERMITTED")
        assert world.remove("loader", "sales").status_code == 403
        assert world.rows("parisian-user", 'SELECT sum("Quantity") FROM sales') == [[603]]

    def test_other_directories_are_none(self, fresh: LakeWorld) -> None:
        for path in ("/etc", "../", "nowhere"):
            headers = {"Authorization": f"Bearer {fresh.places.keys['loader']}"}
            answer = requests.post(
                f"{fresh.places.gateway.url}/v1/connections?validate=true",
                json={"db_type": "lake", "path": path},
                headers=headers,
                timeout=30,
            )
            assert answer.json()["code"] == "SOURCE_NOT_ALLOWED", answer.text


class TestVersions:
    """A query sees one version, a kill leaves one."""

    def test_a_query_sees_one_version_to_its_end(self, fresh: LakeWorld) -> None:
        def version(number: int) -> str:
            return "n,pad\n" + "".join(f"{number},{'x' * 20}\n" for _ in range(20_000))

        assert fresh.load("loader", "t", version(0)).ok
        stop = threading.Event()
        seen: list[list[Any]] = []

        def read() -> None:
            while not stop.is_set():
                seen.extend(fresh.rows("loader", "SELECT min(n), max(n), count(*) FROM t"))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(1, 6 if FAST else 12):
            assert fresh.load("loader", "t", version(number)).ok
        stop.set()
        for reader in readers:
            reader.join(60)
        assert seen
        assert all(low == high and count == 20_000 for low, high, count in seen), seen
        # What was replaced goes, when nobody reads it any more.
        data = fresh.lake / ".ringfence" / "data"
        fresh.rows("loader", "SELECT count(*) FROM t")
        wait_for("old files to be removed", lambda: len(list(data.iterdir())) == 1)

    def test_a_kill_at_any_point_leaves_a_whole_table(self, fresh: LakeWorld) -> None:
        gateway = fresh.places.gateway
        dice = random.Random(7)
        rows = 30_000

        def version(number: int) -> str:
            return "n,pad\n" + "".join(f"{number},{'x' * 30}\n" for _ in range(rows))

        assert fresh.load("loader", "t", version(0)).ok
        whole = 0
        for number in range(1, 6 if FAST else 15):
            body = version(number)
            answers: list[bool] = []

            def send(body: str = body, answers: list[bool] = answers) -> None:
                try:
                    answers.append(fresh.load("loader", "t", body).ok)
                except requests.RequestException:
                    answers.append(False)

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(dice.uniform(0.01, 1.0))  # poll: a moment within the load, whichever it is
            gateway.kill()
            sender.join(60)
            gateway.start()
            [[low, high, count]] = fresh.rows("loader", "SELECT min(n), max(n), count(*) FROM t")
            assert (low, count) == (high, rows)
            assert low == number or (not answers[0] and low == whole)
            whole = low
        # What the killed ones left goes with the next load.
        assert fresh.load("loader", "t", version(0)).ok
        data = fresh.lake / ".ringfence" / "data"
        wait_for("left-overs to be removed", lambda: len(list(data.iterdir())) == 1)
        assert not list((fresh.lake / ".ringfence" / "tables").glob("*.new"))


class TestLimits:
    """A query has a time, a size, and an end."""

    def test_time_and_rows(self, fresh: LakeWorld) -> None:
        assert fresh.load("loader", "t", "n\n" + "\n".join(str(n) for n in range(3_000))).ok
        slow = "SELECT count(*) FROM t a, t b, t c WHERE (a.n + b.n * c.n) % 7 = 3"
        answer = fresh.ask("loader", slow, timeout_ms=300)
        assert answer.json()["code"] == "QUERY_TIMED_OUT", answer.text
        few = fresh.ask("loader", "SELECT n FROM t ORDER BY n", max_rows=10).json()
        assert len(few["rows"]) == 10
        assert fresh.rows("loader", "SELECT count(*) FROM t") == [[3_000]]
