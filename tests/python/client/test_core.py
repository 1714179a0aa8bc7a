"""What needs no server: what is sent again, tokens, secrets, addresses, and that both sessions are alike."""

import copy
import inspect
import io
import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ringfence
from ringfence import aio, async_resources, resources, security, session
from ringfence.connection import chosen
from ringfence.exchange import Retries, seconds_of

URL = "https://data.example.com"
SECRET = "rf_very-secret"

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
                assert dict(request.url.params) == {"mode": mode, "keys": '["a"]', "types": '{"b": "text"}'}
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


def test_restrictions_on_the_wire() -> None:
    """What they do is shown with cubes; here is that a conjunction on one hierarchy stays one."""
    levels: list[Any] = [
        {"name": name, "table": "public.shops", "column": name} for name in ("Country", "City")
    ]
    cube = {"name": "sales", "hierarchies": [{"name": "Geography", "levels": levels}], "measures": []}
    shops = {"schemas": [{"name": "public", "tables": [table_of("shops", Country="text", City="text")]}]}
    asked: list[tuple[str, str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/cubes/k":
            return httpx.Response(200, json={"items": [cube]})
        if request.url.path == "/v1/connections/k/catalog":
            return httpx.Response(200, json={"indexed": True, **shops})
        asked.append((request.method, request.url.path, json.loads(request.content or "null")))
        if request.method == "DELETE":
            return httpx.Response(204)
        items = [{"role": "ROLE_PARIS", "restrictions": []}]
        return httpx.Response(200, json={"items": items})

    one = opened(handle)
    table, restrictions = one.tables["shops"], one.security.restrictions
    restrictions["ROLE_PARIS"] = (table["Country"] == "France") & (table["City"] == "Paris")
    condition = "(\"Country\" = 'France') AND (\"City\" = 'Paris')"
    kept: list[dict[str, Any]] = [{"table": "public.shops", "column": "City", "condition": condition}]
    assert asked.pop() == ("PUT", "/v1/security/restrictions/k/ROLE_PARIS", {"restrictions": kept})
    role = one.security.create_role("ROLE_X", restrictions={("shops", "City"): ["Paris", "Lyon"]})
    kept = [{"table": "shops", "column": "City", "in": ["Paris", "Lyon"]}]
    assert (role.name, role.restrictions) == ("ROLE_X", kept)
    assert asked.pop() == ("PUT", "/v1/security/restrictions/k/ROLE_X", {"restrictions": kept})
    assert dict(restrictions) == {"ROLE_PARIS": []}
    del restrictions["ROLE_PARIS"]
    assert asked.pop() == ("DELETE", "/v1/security/restrictions/k/ROLE_PARIS", None)
    with pytest.raises(KeyError):
        del restrictions["ROLE_NOBODY"]


def test_both_sessions_are_the_same() -> None:
    """Whatever a `Session` does, an `AsyncSession` does with the same arguments."""
    pairs = [
        (session.Session, aio.AsyncSession),
        (resources.Model, async_resources.AsyncModel),
        (resources.Approvals, async_resources.AsyncApprovals),
        (resources.Cube, async_resources.AsyncCube),
        (resources.Table, async_resources.AsyncTable),
        (security.Security, async_resources.AsyncSecurity),
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
