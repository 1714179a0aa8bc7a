"""Whoever runs a principal's statements: Ringfence over HTTP, or a database itself to prove the harness."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

import requests

from guard_corpus.compare import Outcome

# A record's time limit; a request gets a little longer, so that it is we who say that it was too slow.
SECONDS = 30.0


class Target(Protocol):
    """What is tested."""

    # Whether statements run on the principal's isolated database: nothing foreign is there to change.
    isolated: bool

    def run(self, principal: str, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
        """Runs one statement, committed."""
        ...

    def run_script(self, principal: str, script: Sequence[bytes]) -> list[Outcome]:
        """Runs statements one after another, in one session where there are sessions."""
        ...

    def is_alive(self) -> bool:
        """Whether the service goes on answering."""
        ...


# One statement in a session, with the values of its parameters.
Run: TypeAlias = Callable[[bytes, Sequence[str | None] | None], Outcome]


class BareTarget:
    """The database without a guard: a shared one must fail, and an isolated one must pass."""

    def __init__(self, session: Callable[[str], AbstractContextManager[Run]], *, isolated: bool) -> None:
        self._session = session
        self.isolated = isolated

    def run(self, principal: str, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
        with self._session(principal) as run:
            return run(sql, params)

    def run_script(self, principal: str, script: Sequence[bytes]) -> list[Outcome]:
        with self._session(principal) as run:
            return [run(sql, None) for sql in script]

    def is_alive(self) -> bool:
        return True


class GatewayTarget:
    """Ringfence's own HTTP interface."""

    def __init__(
        self,
        base: str,
        keys: dict[str, str],
        connection: Callable[[str], str],
        *,
        isolated: bool,
        seconds: float = SECONDS,
    ) -> None:
        self.base = base
        self.keys = keys
        self.connection = connection
        self.isolated = isolated
        self.seconds = seconds
        self._http = requests.Session()

    def run(self, principal: str, sql: bytes, params: Sequence[str | None] | None = None) -> Outcome:
        path = f"/v1/connections/{quote(self.connection(principal), safe='')}/query"
        started = time.monotonic()
        try:
            answer = self._http.post(
                self.base + path,
                data=body_of(sql, params),
                headers=self._headers(principal),
                timeout=(5, self.seconds + 5),
            )
        except requests.RequestException as error:
            seconds = time.monotonic() - started
            return Outcome(accepted=False, message=str(error), seconds=seconds, dropped=True)
        outcome = read_answer(answer)
        outcome.seconds = time.monotonic() - started
        return outcome

    def run_script(self, principal: str, script: Sequence[bytes]) -> list[Outcome]:
        return [self.run(principal, sql) for sql in script]

    def is_alive(self) -> bool:
        try:
            key = next(iter(self.keys))
            answer = self._http.get(f"{self.base}/v1/me", headers=self._headers(key), timeout=10)
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def _headers(self, principal: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[principal]}", "Content-Type": "application/json"}


def body_of(sql: bytes, params: Sequence[str | None] | None) -> bytes:
    """The request. Bytes that are no UTF-8 go as they are: the server has to bear them."""
    letters = sql.decode("utf-8", "surrogateescape")
    statement = json.dumps(letters, ensure_ascii=False).encode("utf-8", "surrogateescape")
    rest = b"" if params is None else b', "parameters": ' + json.dumps(list(params)).encode()
    return b'{"statement": ' + statement + rest + b"}"


def read_answer(answer: requests.Response) -> Outcome:
    """A result or a problem."""
    try:
        body = json.loads(answer.content, parse_float=Decimal)
    except ValueError:
        body = {"detail": answer.text}
    received = "\n".join([*texts_of(body), *answer.headers.values()])
    if answer.status_code != 200:
        return Outcome(
            accepted=False,
            code=body.get("code"),
            sqlstate=body.get("sqlstate"),
            message="\n".join(str(body[part]) for part in ("detail", "hint") if part in body),
            received=received,
            # A problem has a code; anything else is a fault of the server.
            dropped="code" not in body,
        )
    return Outcome(
        accepted=True,
        columns=[column["name"] for column in body["columns"]],
        types=[column["type"] for column in body["columns"]],
        rows=body["rows"],
        affected=body.get("affected"),
        received=received,
    )


def texts_of(value: Any) -> list[str]:
    """Every text and number of an answer, without the ids that we make at random."""
    if isinstance(value, dict):
        return [
            text
            for name, item in value.items()
            if name not in ("trace_id", "query_id")
            for text in (name, *texts_of(item))
        ]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [str(value)]
