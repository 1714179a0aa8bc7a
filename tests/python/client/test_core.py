"""What needs no server: retries, secrets, streams in pieces, types, pictures with hostile names."""

import asyncio
import copy
import datetime
import inspect
import io
import json
import pickle
import subprocess
import sys
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import ringfence
from ringfence import aio, frames, resources, session, values
from ringfence.conditions import literal, quoted
from ringfence.connection import chosen
from ringfence.cubecalls import Cells, CubeBase, Levels, formatted
from ringfence.drawing import Diagram, Entity, Line, tree
from ringfence.exchange import Retries, seconds_of
from ringfence.securitycalls import entries
from ringfence.streams import ArrowStream, LineStream
from ringfence.tables import TableBase, TablesBase

URL = "https://data.example.com"
SECRET = "rf_very-secret"
SCRIPT = "<script>alert('x')</script>"

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it was waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr("ringfence.drivers.time.sleep", waited.append)
    return waited


def opened(handler: Handler, auth: Any = SECRET, **more: Any) -> ringfence.Session:
    return ringfence.Session(
        URL, auth, connection="k", transport=httpx.MockTransport(with_connection(handler)), **more
    )


def with_connection(handler: Handler) -> Handler:
    """Lists one connection, so that handlers are about the rest."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/connections":
            one = {"key": "k", "spec": {"db_type": "sqlite"}}
            return httpx.Response(200, json={"items": [one], "default": None})
        return handler(request)

    return handle


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"code": code, "detail": "a sentence", "hint": "a hint", "trace_id": "t-1", "status": status}
    media = {"content-type": "application/problem+json", **headers}
    return httpx.Response(status, content=json.dumps(body), headers=media)


class Server:
    """Answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


ME = httpx.Response(200, json={"id": "ann"})
ROWS = httpx.Response(200, json={"query_id": "q", "columns": [], "rows": [], "more_rows": 0, "affected": 1})
CHANGED = httpx.Response(200, json={"action": "create", "model": "Order", "affected": 1, "rows": []})
ORDER = {
    "name": "Order",
    "fields": [],
    "key": ["id"],
    "relations": [],
    "operations": ["create"],
}


class TestRetries:
    def test_reads_are_repeated(self, waits: list[float]) -> None:
        server = Server(httpx.ReadTimeout("x"), httpx.ReadError("x"), problem(503, "STORE_UNAVAILABLE"), ME)
        assert opened(server).me() == {"id": "ann"}
        assert len(server.asked) == 4
        assert len(waits) == 3
        assert waits == sorted(waits)

    def test_what_may_have_been_done_is_not(self, waits: list[float]) -> None:
        cases: list[tuple[httpx.Response | Exception, type[Exception]]] = [
            (httpx.ReadTimeout("x"), ringfence.TimedOut),
            (httpx.ReadError("x"), ringfence.ConnectionFailed),
            (httpx.RemoteProtocolError("x"), ringfence.ConnectionFailed),
            (problem(503, "STORE_UNAVAILABLE"), ringfence.Busy),
            (problem(500, "INTERNAL"), ringfence.ServerFailed),
        ]
        for fault, error in cases:
            server = Server(fault, ROWS)
            with pytest.raises(error):
                opened(server).sql("UPDATE orders SET total = total + 1")
            assert len(server.asked) == 1
        assert waits == []

    def test_what_was_not_begun_is_repeated(self, waits: list[float]) -> None:
        for refusal in (
            httpx.ConnectError("x"),
            httpx.ConnectTimeout("x"),
            problem(429, "RATE_LIMITED"),
            problem(429, "TENANT_BUSY"),
            problem(503, "SHUTTING_DOWN"),
        ):
            server = Server(refusal, ROWS)
            assert opened(server).sql("UPDATE orders SET total = total + 1").affected == 1
            assert len(server.asked) == 2

    def test_changes_of_models_say_that_they_are_the_same(self, waits: list[float]) -> None:
        server = Server(httpx.Response(200, json={"items": [ORDER]}), httpx.ReadTimeout("x"), CHANGED)
        orders = opened(server).models["Order"]
        orders.create({})
        orders.create({})
        keys = [request.headers["idempotency-key"] for request in server.asked[1:]]
        assert keys[0] == keys[1] != keys[2]

    def test_it_is_waited_as_long_as_the_server_says(self, waits: list[float]) -> None:
        server = Server(problem(429, "RATE_LIMITED", **{"retry-after": "7"}), ME)
        opened(server).me()
        assert len(waits) == 1
        assert 7 <= waits[0] < 8
        # Not for ever.
        server = Server(problem(429, "RATE_LIMITED", **{"retry-after": "3600"}), ME)
        with pytest.raises(ringfence.Busy) as busy:
            opened(server).me()
        assert busy.value.retry_after == 3600
        assert len(server.asked) == 1

    def test_it_ends(self, waits: list[float]) -> None:
        server = Server(problem(503, "OVERLOADED"))
        with pytest.raises(ringfence.Busy):
            opened(server, retries=2).me()
        assert len(server.asked) == 3
        assert opened(Server(ME), retries=0).me() == {"id": "ann"}

    def test_refusals_are_not_repeated(self, waits: list[float]) -> None:
        for status, kind in [
            (400, ringfence.Refused),
            (401, ringfence.AuthenticationFailed),
            (403, ringfence.NotPermitted),
            (404, ringfence.NotFound),
            (409, ringfence.Conflict),
            (422, ringfence.Refused),
            (500, ringfence.ServerFailed),
        ]:
            server = Server(problem(status, "SOME_CODE"))
            with pytest.raises(kind) as refused:
                opened(server).me()
            error = refused.value
            assert (error.code, error.detail, error.hint, error.trace_id) == (
                "SOME_CODE",
                "a sentence",
                "a hint",
                "t-1",
            )
            assert len(server.asked) == 1

    def test_waits_grow_and_spread(self) -> None:
        retries = Retries(attempts=5, first_wait=0.1, longest_wait=0.5)
        assert [retries.wait(attempt, None, 1.0) for attempt in range(1, 6)] == [0.1, 0.2, 0.4, 0.5, None]
        assert retries.wait(1, None, 0.0) == 0.05

    def test_retry_after_is_seconds_or_a_date(self) -> None:
        assert seconds_of("3") == 3.0
        assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
        assert seconds_of("soon") is None
        assert seconds_of(None) is None


class TestTokens:
    def test_a_refused_token_is_renewed_once(self) -> None:
        tokens = iter(["first", "second", "third"])
        server = Server(ME, problem(401, "TOKEN_INVALID"), ME, problem(401, "TOKEN_INVALID"))
        one = opened(server, lambda: next(tokens))
        one.me()
        one.me()
        sent = [request.headers["authorization"] for request in server.asked]
        assert sent == ["Bearer first", "Bearer first", "Bearer second"]
        with pytest.raises(ringfence.AuthenticationFailed):
            one.me()
        assert len(server.asked) == 5

    def test_a_token_that_ends_is_renewed_before(self) -> None:
        tokens = iter([("first", 0.0), ("second", 600.0)])
        server = Server(ME)
        one = opened(server, lambda: next(tokens))
        for _ in range(3):
            one.me()
        sent = [request.headers["authorization"] for request in server.asked]
        assert sent == ["Bearer first", "Bearer second", "Bearer second"]

    def test_a_session_takes_no_async_function(self) -> None:
        async def token() -> str:
            return "x"

        with pytest.raises(TypeError, match="AsyncSession takes async ones"):
            opened(Server(ME), token).me()

    def test_what_is_no_header_is_not_sent(self) -> None:
        for bad in ("", "a b", "a\r\nX-Evil: 1", "ü"):
            with pytest.raises(ValueError, match="printable ASCII") as refused:
                opened(Server(ME), bad)
            assert not bad or bad not in str(refused.value)
        with pytest.raises(TypeError, match="auth is"):
            opened(Server(ME), 7)


class TestSecrets:
    def test_nothing_prints_them(self) -> None:
        one = opened(Server(ME))
        basic = ringfence.Basic("ann", SECRET)
        shown = [
            repr(thing)
            for thing in (
                one,
                basic,
                one._caller,
                one._driver,
                one._caller.credentials,
                one.security,
                one.cubes.__class__,
            )
        ]
        assert not any(SECRET in text for text in shown)
        assert repr(basic) == "Basic('ann', ...)"
        for thing in (basic, one._caller.credentials):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(thing)

    def test_errors_hold_none(self, waits: list[float]) -> None:
        faults: list[httpx.Response | Exception] = [
            httpx.ConnectError("x"),
            httpx.ReadTimeout("x"),
            problem(401, "KEY_UNKNOWN"),
            httpx.Response(502, text="<html>"),
            httpx.Response(302, headers={"location": "https://elsewhere.example.com"}),
            httpx.Response(200, text="no JSON"),
        ]
        for fault in faults:
            with pytest.raises(ringfence.RingfenceError) as failed:
                opened(Server(fault), retries=0).me()
            error = failed.value
            assert error.__cause__ is None
            # What a handler of errors walks: messages and the chain of exceptions.
            assert SECRET not in "".join(traceback.format_exception(error))
            assert not any(isinstance(held, httpx.Request) for held in reached(error))
            assert type(copy.copy(error)) is type(error)

    def test_a_redirect_is_not_followed(self) -> None:
        server = Server(httpx.Response(307, headers={"location": "https://elsewhere.example.com/"}))
        with pytest.raises(ringfence.UnexpectedAnswer, match="points elsewhere"):
            opened(server).me()
        assert [str(request.url) for request in server.asked] == [f"{URL}/v1/me"]

    def test_urls(self) -> None:
        for bad in ("data.example.com", "ftp://x", f"https://ann:{SECRET}@x", "https://x?key=1"):
            with pytest.raises(ValueError) as refused:  # noqa: PT011
                ringfence.Session(bad, SECRET)
            assert SECRET not in str(refused.value)
        with pytest.warns(ringfence.InsecureTransport):
            ringfence.Session("http://data.example.com", SECRET)


def reached(error: BaseException) -> Iterator[Any]:
    """What an exception holds, and what holds it holds, but frames."""
    while error is not None:
        yield from vars(error).values()
        yield from error.args
        error = error.__context__  # type: ignore[assignment]


class TestRequests:
    def test_addresses_are_encoded(self) -> None:
        server = Server(httpx.Response(200, json={"id": 1}))
        key = "postgresql://app@db:5432/a b?c#d"

        def handle(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/v1/connections":
                return httpx.Response(200, json={"items": [{"key": key, "spec": {}}], "default": key})
            return server(request)

        one = ringfence.Session(URL, SECRET, transport=httpx.MockTransport(handle))
        with pytest.raises(KeyError):
            one.sql("SELECT 1")
        assert server.asked[0].url.raw_path == (
            b"/v1/connections/postgresql%3A%2F%2Fapp%40db%3A5432%2Fa%20b%3Fc%23d/query"
        )

    def test_files_are_streamed_and_opened_again(self, tmp_path: Path, waits: list[float]) -> None:
        file = tmp_path / "my sales.csv"
        file.write_text("a,b\n1,2\n")
        bodies: list[bytes] = []
        mode = "replace"
        catalog = {"indexed": True, "schemas": [{"name": "lake", "tables": [table_of("my sales", a="int8")]}]}

        def handle(request: httpx.Request) -> httpx.Response:
            if request.method == "PUT":
                bodies.append(request.read())
                assert request.url.raw_path.startswith(b"/v1/connections/k/tables/my%20sales?")
                assert dict(request.url.params) == {"mode": mode, "keys": "a", "types": '{"b": "text"}'}
                assert request.headers["content-type"] == "text/csv"
                if len(bodies) == 1:
                    raise httpx.ReadError("x")
                return httpx.Response(200, json={"table": "my sales", "rows": 1, "columns": [], "version": 1})
            return httpx.Response(200, json=catalog)

        table = opened(handle).read_csv(file, keys=["a"], types={"b": "text"})
        assert bodies == [b"a,b\n1,2\n"] * 2
        assert (table.name, table.keys) == ("my sales", ["a"])
        # Appending twice is not appending once.
        bodies.clear()
        mode = "append"
        with pytest.raises(ringfence.ConnectionFailed):
            opened(handle).read_csv(
                io.BytesIO(b""), table_name="my sales", mode="append", keys=["a"], types={"b": "text"}
            )

    def test_which_connection(self) -> None:
        one, two = {"key": "a", "spec": {"alias": "x"}}, {"key": "b", "spec": {"db_alias": "y"}}
        assert chosen({"items": [one, two], "default": "b"}, None) is two
        assert chosen({"items": [one], "default": None}, None) is one
        assert chosen({"items": [one, two], "default": None}, "a") is one
        assert chosen({"items": [one, two], "default": None}, "y") is two
        for wanted in (None, "c"):
            with pytest.raises(ringfence.RingfenceError, match="yours are 'a', 'b'"):
                chosen({"items": [one, two], "default": None}, wanted)


def table_of(name: str, **columns: str) -> dict[str, Any]:
    described = [{"name": column, "type": kind, "nullable": True} for column, kind in columns.items()]
    return {"name": name, "columns": described, "constraints": []}


class TestStreams:
    TABLE = pa.table({"n": [1, None, 3], "text": pa.array(["a", "b", "a"]).dictionary_encode()})

    def arrow(self) -> bytes:
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, self.TABLE.schema) as writer:
            writer.write_table(self.TABLE, max_chunksize=2)
        return sink.getvalue()

    @pytest.mark.parametrize("size", [1, 7, 64, 100_000])
    def test_arrow_in_pieces(self, size: int) -> None:
        content, stream = self.arrow(), ArrowStream()
        batches = []
        for start in range(0, len(content), size):
            batches += stream.feed(content[start : start + size])
        batches += stream.finish()
        assert pa.Table.from_batches(batches) == self.TABLE

    def test_arrow_that_is_cut_off(self) -> None:
        content = self.arrow()
        for end in range(0, len(content) - 8, 5):
            stream = ArrowStream()
            stream.feed(content[:end])
            with pytest.raises(ringfence.UnexpectedAnswer, match="cut off"):
                stream.finish()
        for rubbish in (b"<html></html>", b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xfe" * 16):
            with pytest.raises(ringfence.UnexpectedAnswer):
                ArrowStream().feed(rubbish)

    def test_lines_in_pieces(self) -> None:
        content = b'{"a":1,"b":1.5}\n{"a":null,"b":2}\n{"a":3,"b":null}\n'
        for size in (1, 5, 100):
            stream = LineStream()
            batches = []
            for start in range(0, len(content), size):
                batches += stream.feed(content[start : start + size])
            table = pa.Table.from_batches(batches + stream.finish())
            assert table.to_pydict() == {"a": [1, None, 3], "b": [1.5, 2.0, None]}

    def test_lines_that_end_in_an_error(self) -> None:
        failed = {"code": "SOURCE_LOST", "detail": "gone", "status": 424}
        with pytest.raises(ringfence.Refused) as lost:
            LineStream().feed(f'{{"a":1}}\n{json.dumps({"error": failed})}\n'.encode())
        assert lost.value.code == "SOURCE_LOST"
        stream = LineStream()
        stream.feed(b'{"a":1}\n{"a":')
        with pytest.raises(ringfence.UnexpectedAnswer, match="middle of a row"):
            stream.finish()

    def test_types_do_not_change_silently(self) -> None:
        lines = b'{"a":1}\n' * 4096 + b'{"a":"x"}\n'
        stream = LineStream()
        assert len(stream.feed(lines)) == 1
        with pytest.raises(ringfence.UnexpectedAnswer, match="name its type"):
            stream.finish()

    def test_the_server_decides_the_form(self) -> None:
        content = self.arrow()

        def handle(request: httpx.Request) -> httpx.Response:
            assert request.headers["accept"].startswith("application/vnd.apache.arrow.stream")
            return httpx.Response(
                200, content=content, headers={"content-type": "application/vnd.apache.arrow.stream"}
            )

        with opened(handle).stream("SELECT 1") as rows:
            assert [tuple(row) for row in rows] == [(1, "a"), (None, "b"), (3, "a")]

        async def run() -> None:
            transport = httpx.MockTransport(with_connection(handle))
            async with (
                ringfence.AsyncSession(URL, SECRET, transport=transport) as one,
                await one.stream("SELECT 1") as rows,
            ):
                assert await rows.to_arrow() == self.TABLE

        asyncio.run(run())


class TestValues:
    def test_types_of_databases(self) -> None:
        cases: list[tuple[str, list[Any], Any, list[Any]]] = [
            ("int4", [1, None], pa.int64(), [1, None]),
            (
                "numeric(10, 2)",
                [Decimal("1.50"), 2],
                pa.decimal128(38, 2),
                [Decimal("1.50"), Decimal("2.00")],
            ),
            ("numeric", ["20.1666666666666667"], pa.decimal128(38, 16), [Decimal("20.1666666666666667")]),
            ("double precision", [Decimal("1.5"), "NaN"], pa.float64(), None),  # type: ignore[list-item]
            ("BOOLEAN", [1, 0, None], pa.bool_(), [True, False, None]),
            ("character varying", ["a"], pa.string(), ["a"]),
            ("", [1, Decimal("1.5")], pa.float64(), [1.0, 1.5]),
            ("bytea", ["\\x01"], pa.binary(), [b"\x01"]),
            ("date", ["2026-01-31"], pa.date32(), [datetime.date(2026, 1, 31)]),
            ("null", [None], pa.null(), [None]),
        ]
        for kind, wire, expected, python in cases:
            made = values.column(kind, wire)
            assert made.type == expected, kind
            if python is not None:
                assert made.to_pylist() == python

    def test_what_does_not_fit_is_text(self) -> None:
        # SQLite keeps what it is given.
        assert values.column("integer", [1, "two"]).to_pylist() == ["1", "two"]
        assert values.column("date", ["2026-01-31", "soon"]).to_pylist() == ["2026-01-31", "soon"]
        assert values.column("integer", ["****"]).to_pylist() == ["****"]

    def test_moments(self) -> None:
        utc = datetime.UTC
        for text, expected in [
            ("2026-01-31T10:00:00Z", datetime.datetime(2026, 1, 31, 10, tzinfo=utc)),
            ("2026-01-31T10:00:00.5+00:00", datetime.datetime(2026, 1, 31, 10, 0, 0, 500000, tzinfo=utc)),
            ("2026-01-31 10:00:00.1234567", datetime.datetime(2026, 1, 31, 10, 0, 0, 123456)),
            ("2026-01-31 10:00:00+00", datetime.datetime(2026, 1, 31, 10, tzinfo=utc)),
        ]:
            assert values.moment(text) == expected

    def test_parameters(self) -> None:
        given = [None, True, 1, 1.5, Decimal("1.50"), "ü", datetime.date(2026, 1, 31), b"\x01"]
        assert [values.parameter(value) for value in given] == [
            None,
            "true",
            "1",
            "1.5",
            "1.50",
            "ü",
            "2026-01-31",
            "\\x01",
        ]
        with pytest.raises(TypeError, match="stands for one value"):
            values.parameter([1])

    def test_two_columns_of_one_name(self) -> None:
        result = frames.Result(["a", "a"], ["int4", "int4"], [[1, 2]])
        assert list(result.to_pandas().columns) == ["a", "a"]
        assert result.to_polars().columns == ["a", "a_1"]
        assert result.rows[0].as_dict() == {"a": 1, "a_1": 2}


def test_frames_are_imported_when_asked_for() -> None:
    """In a fresh process, where neither is there."""
    script = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pandas", "polars"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import ringfence, ringfence.frames as frames
result = frames.Result(["a"], ["int4"], [[1]])
assert result.to_arrow().num_rows == 1 and "1" in result._repr_html_()
for form in ("pandas", "polars"):
    try:
        getattr(result, f"to_{form}")()
    except ringfence.MissingDependency as error:
        assert f"pip install ringfence[{form}]" in str(error), error
    else:
        raise SystemExit(form)
"""
    source = str(Path(ringfence.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


class TestConditions:
    def table(self) -> TableBase:
        return TableBase("public", table_of("shops", City="text", Country="text", Size="integer"))

    def test_restrictions(self) -> None:
        shops = self.table()
        city, country = shops["City"], shops["Country"]
        name = "public.shops"
        assert entries(city == "Paris") == [{"table": name, "column": "City", "in": ["Paris"]}]
        assert entries(city.isin("Paris", "Lyon")) == [
            {"table": name, "column": "City", "in": ["Paris", "Lyon"]}
        ]
        assert entries({("shops", "City"): ["Paris"]}) == [
            {"table": "shops", "column": "City", "in": ["Paris"]}
        ]
        assert entries((city == "Paris") & (shops["Size"] > 3)) == [
            {"table": name, "column": "City", "in": ["Paris"]},
            {"table": name, "column": "Size", "condition": '"Size" > 3'},
        ]
        assert entries((city == "Paris") | (country == "USA")) == [
            {"table": name, "column": "Country", "condition": "(\"City\" = 'Paris') OR (\"Country\" = 'USA')"}
        ]

    def test_a_conjunction_on_one_hierarchy_never_becomes_alternatives(self) -> None:
        shops = self.table()
        both = (shops["Country"] == "France") & (shops["City"] == "Paris")
        together = [frozenset({("public.shops", "Country"), ("public.shops", "City")})]
        assert entries(both, together) == [
            {
                "table": "public.shops",
                "column": "City",
                "condition": "(\"Country\" = 'France') AND (\"City\" = 'Paris')",
            }
        ]
        once = (shops["City"] > "A") & (shops["City"] < "M")
        assert entries(once) == [
            {"table": "public.shops", "column": "City", "condition": "(\"City\" > 'A') AND (\"City\" < 'M')"}
        ]

    def test_texts_can_not_leave_their_quotes(self) -> None:
        assert literal("it's") == "'it''s'"
        assert quoted('a"b') == '"a""b"'
        hostile = TableBase("", table_of("t", **{'a" = 1 OR "a': "text"}))
        column = hostile['a" = 1 OR "a']
        assert entries((column == "') OR TRUE --") | (column == "y"))[0]["condition"] == (
            '("a"" = 1 OR ""a" = \'\'\') OR TRUE --\') OR ("a"" = 1 OR ""a" = \'y\')'
        )

    def test_measures(self) -> None:
        sales = TableBase("", table_of("sales", Quantity="float8", **{"Unit price": "float8"}))
        quantity, price = sales["Quantity"], sales["Unit price"]
        assert ringfence.sum(quantity).definition() == {"sum": "Quantity"}
        assert ringfence.sum(quantity * price).definition() == {"sum": '("Quantity" * "Unit price")'}
        assert ringfence.mean(1 - quantity / -2).definition() == {"mean": '(1 - ("Quantity" / (-2)))'}
        assert ringfence.quantile(quantity, 0.9).definition() == {
            "quantile": {"column": "Quantity", "q": 0.9}
        }
        turnover = ringfence.Measure({"name": "Turnover", "type": "decimal"})
        pieces = ringfence.Measure({"name": 'a "b"', "type": "decimal"})
        ratio = (turnover / pieces * 100).described(format="0.0%")
        assert ratio.definition() == {"expression": '("Turnover" / "a ""b""") * 100', "format": "0.0%"}
        assert ringfence.share(turnover, of="parent").definition() == {"share": "Turnover", "of": "parent"}
        with pytest.raises(TypeError, match="name this figure first"):
            (ringfence.sum(quantity) / turnover).definition()
        with pytest.raises(TypeError, match="is no number"):
            quantity * "2"
        with pytest.raises(TypeError, match="sum is of a column"):
            ringfence.sum([1, 2])  # type: ignore[arg-type]


CUBE = {
    "name": "sales",
    "table": "public.sales",
    "hierarchies": [
        {"name": "Geography", "levels": [{"name": "Country"}, {"name": "City"}]},
        {"name": "City", "levels": [{"name": "City"}]},
        {"name": "Product", "levels": [{"name": "Product"}]},
    ],
    "measures": [{"name": "Quantity.SUM", "type": "decimal", "format": None}],
}


class TestCubes:
    def test_levels(self) -> None:
        levels = CubeBase(None, CUBE).levels  # type: ignore[arg-type]
        assert levels["Country"].wire_name() == "Country"
        assert levels["Geography", "City"].wire_name() == "Geography.City"
        with pytest.raises(KeyError, match="several hierarchies"):
            levels["City"]
        with pytest.raises(KeyError, match="no level 'Planet'"):
            levels["Planet"]
        assert isinstance(levels, Levels)
        assert len(levels) == 4

    def test_frames(self) -> None:
        answer = {
            "levels": [{"name": "Country", "type": "text"}, {"name": "City", "type": "text"}],
            "measures": [{"name": "Quantity.SUM", "type": "decimal", "format": None}],
            "rows": [
                [None, None, Decimal("15.5")],
                ["France", None, 5],
                ["France", "Paris", 5],
                [None, None, Decimal("10.5")],
                [None, None, Decimal("10.5")],
            ],
            "grouping": [0, 1, 2, 1, 2],
        }
        cells = Cells(answer)
        frame = cells.to_pandas()
        assert frame.index.names == ["Country", "City"]
        assert frame.index.tolist() == [
            ("Total", ""),
            ("France", "Total"),
            ("France", "Paris"),
            ("N/A", "Total"),
            ("N/A", "N/A"),
        ]
        assert frame["Quantity.SUM"].tolist()[0] == Decimal("15.5")
        assert cells.to_polars().shape == (5, 3)
        assert "<th" in cells._repr_html_()
        assert "15.50" in cells._repr_html_()

    def test_nothing_is_an_empty_frame(self) -> None:
        measure = [{"name": "contributors.COUNT", "type": "integer", "format": None}]
        levels = [{"name": "Continent", "type": "text"}, {"name": "Country", "type": "text"}]
        for level in (levels, levels[:1]):
            frame = Cells({"levels": level, "measures": measure, "rows": []}).to_pandas()
            assert str(frame) == "Empty DataFrame\nColumns: [contributors.COUNT]\nIndex: []"

    def test_formats(self) -> None:
        assert formatted(Decimal("3027"), None) == "3,027.00"
        assert formatted(8077.0, None) == "8,077.00"
        assert formatted(1234, None) == "1,234"
        assert formatted(Decimal("0.1234"), "0.0%") == "12.3%"
        assert formatted(1234.5, "#,##0.00") == "1,234.50"
        assert formatted(None, "0.00") is None

    def test_a_measure_is_of_the_facts(self) -> None:
        cube = CubeBase(None, CUBE)  # type: ignore[arg-type]
        shops = TableBase("public", table_of("shops", Size="integer"))
        with pytest.raises(ValueError, match=r"measures are over columns of public\.sales"):
            next(cube.set_measure_plan("Size", ringfence.sum(shops["Size"])))


class TestPictures:
    """Names of tables, columns and members are anybody's: nothing of them is markup."""

    def check(self, markup: str) -> None:
        assert "<script" not in markup
        assert "onerror" not in markup or "&lt;img" in markup
        # Well-formed, with what was hostile as text.
        ElementTree.fromstring(markup)

    def test_tables_with_hostile_names(self) -> None:
        result = frames.Result(
            [SCRIPT, "b"], ["text", "text"], [["<img src=x onerror=alert(1)>", "&amp;"], [None, "]]>"]]
        )
        markup = result._repr_html_()
        self.check(markup)
        assert "&lt;script&gt;" in markup
        assert "&amp;amp;" in markup

    def test_diagrams_with_hostile_names(self) -> None:
        one = TableBase("s", table_of(SCRIPT, **{"a'\"><img src=x onerror=alert(1)>": "text", "id": "int4"}))
        two = TableBase("s", table_of("</title></svg>" + SCRIPT + "long" * 20, id="int4"))
        one.join(two, one["id"] == two["id"])
        diagram = TablesBase([one, two]).schema
        self.check(diagram.svg())
        self.check(diagram._repr_html_())
        for thing in (one, two, TablesBase([one, two])):
            self.check(thing._repr_html_())
        # A quote can't end a name in Mermaid's text either.
        assert diagram.mermaid.count('"') % 2 == 0
        assert "\"a''><img src=x onerror=alert(1)>\"" in diagram.mermaid

    def test_trees_with_hostile_names(self) -> None:
        self.check(tree(SCRIPT, [(SCRIPT, [SCRIPT])]))
        hostile = copy.deepcopy(CUBE)
        hostile["name"] = SCRIPT
        cube = CubeBase(None, hostile)  # type: ignore[arg-type]
        self.check(cube._repr_html_())
        assert "Geography: Country > City" in repr(cube)

    def test_the_diagram_of_document_002(self) -> None:
        diagram = Diagram(
            [
                Entity("Sales", [("String", "Sale ID", True, False), ("double", "Quantity", False, True)]),
                Entity("Shops", [("String", "Shop ID", True, False)]),
            ],
            [Line(0, 1, [("Shop", "Shop ID")])],
        )
        assert " ".join(str(diagram).split()) == (
            'erDiagram "Sales" { _ String PK "Sale ID" _ nullable double "Quantity" } '
            '"Shops" { _ String PK "Shop ID" } "Sales" }o--o| "Shops" : "`Shop` == `Shop ID`"'
        )


class TestJoins:
    def test_both_ways_of_writing(self) -> None:
        sales = TableBase("", table_of("sales", Shop="text", Id="text"))
        shops = TableBase("", table_of("shops", Key="text", Id="text"))
        for on in (sales["Shop"] == shops["Key"], shops["Key"] == sales["Shop"], {"Shop": "Key"}):
            sales.join(shops, on)
            assert [join.on for join in sales.joins] == [{"Shop": "Key"}]
        sales.join(shops)
        assert sales.joins[0].on == {"Id": "Id"}
        with pytest.raises(ValueError, match="is not"):
            sales.join(shops, sales["Shop"] == sales["Id"])
        with pytest.raises(KeyError, match="no column 'Nope'"):
            sales.join(shops, {"Nope": "Key"})


def test_both_sessions_are_the_same() -> None:
    """Whatever a `Session` does, an `AsyncSession` does with the same arguments."""
    pairs = [
        (session.Session, aio.AsyncSession),
        (resources.Model, aio.AsyncModel),
        (resources.Approvals, aio.AsyncApprovals),
        (resources.Cube, aio.AsyncCube),
        (resources.Table, aio.AsyncTable),
        (resources.Security, aio.AsyncSecurity),
        (session.Rows, aio.AsyncRows),
    ]
    for one, other in pairs:
        for name, method in vars(one).items():
            if name.startswith("_"):
                continue
            assert hasattr(other, name), f"{other.__name__} has no {name}"
            if inspect.isfunction(method) and not inspect.isasyncgenfunction(vars(other)[name]):
                there = vars(other)[name]
                mine, theirs = inspect.signature(method).parameters, inspect.signature(there).parameters
                assert list(mine) == list(theirs), f"{other.__name__}.{name}"
                assert [p.default for p in mine.values()] == [p.default for p in theirs.values()], name


def test_errors_travel() -> None:
    error = ringfence.NotFound(404, {"code": "NOT_FOUND", "detail": "x", "trace_id": "t"}, 3.0)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.trace_id, again.retry_after) == (
        ringfence.NotFound,
        "NOT_FOUND",
        "t",
        3.0,
    )
    waiting = pickle.loads(pickle.dumps(ringfence.ApprovalPending({"approval": "a", "expires_at": "x"})))
    assert waiting.approval == "a"
