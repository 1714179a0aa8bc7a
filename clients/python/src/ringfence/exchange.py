"""The core without IO: what is asked becomes steps (send, wait, fetch a token), which a driver does.

A `Plan` is a generator of steps. Everything above is plans, and what runs them is all that differs between
`Session`
and `AsyncSession`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, Callable, TypeVar, Union
from urllib.parse import quote, urlsplit

from .credentials import Credentials, TokenSource
from .errors import ApiError, ApprovalPending, ConnectionFailed, TimedOut, UnexpectedAnswer, api_error

T = TypeVar("T")

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
NDJSON = "application/x-ndjson"

# Refusals by which the server says that it did nothing yet: whatever was asked may be sent again.
NOT_BEGUN = frozenset(
    {
        "RATE_LIMITED",
        "TENANT_BUSY",
        "TENANT_RATE_LIMITED",
        "TOO_MANY_QUERIES",
        "SOURCE_BUSY",
        "OVERLOADED",
        "SHUTTING_DOWN",
    }
)


@dataclass(frozen=True)
class Request:
    """One call. `path` is encoded and begins with a slash."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Any = None
    # Opens the body anew for each attempt, so that files are streamed.
    body: Callable[[], BinaryIO] | None = None
    content_type: str = JSON
    accept: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    # Whether sending it twice comes to the same.
    repeatable: bool = False
    timeout: float | None = None
    stream: bool = False


@dataclass(frozen=True)
class Reply:
    """What came back. `stream` is the driver's own, when one was asked for and granted."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    stream: Any = None

    def media_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    def json(self) -> Any:
        """The body. Numbers that are not whole stay exact, as `decimal.Decimal`."""
        return read_json(self.content)


@dataclass(frozen=True)
class Fault:
    """No answer: `unsent` when nothing left this machine, else `lost` or `timed_out`."""

    kind: str
    message: str

    def error(self) -> Exception:
        return TimedOut(self.message) if self.kind == "timed_out" else ConnectionFailed(self.message)


@dataclass(frozen=True)
class Send:
    """Step: send it, and answer a `Reply` or a `Fault`."""

    request: Request
    headers: Mapping[str, str]
    content: bytes | None


@dataclass(frozen=True)
class Wait:
    """Step: do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class FetchToken:
    """Step: call the function, and answer what it gives."""

    source: TokenSource


Step = Union[Send, Wait, FetchToken]
Plan = Generator[Step, Any, T]


@dataclass(frozen=True)
class Retries:
    """How often what may be repeated is repeated, and how long it is waited for at most, in seconds."""

    attempts: int = 3
    first_wait: float = 0.2
    longest_wait: float = 30.0

    def wait(self, attempt: int, retry_after: float | None, chance: float) -> float | None:
        """Before attempt `attempt + 1`; `None` when it is not worth it. Callers that failed together
        spread out."""
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            return retry_after * (1 + chance / 10) if retry_after <= self.longest_wait else None
        grown: float = self.first_wait * 2 ** (attempt - 1)
        return min(self.longest_wait, grown) * (0.5 + chance / 2)


class Caller:
    """A server, and who asks it."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        retries: Retries,
        headers: Mapping[str, str],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = checked_url(url)
        self.credentials = credentials
        self.retries = retries
        self._headers = dict(headers)
        self._chance = chance

    def ask(self, request: Request) -> Plan[Reply]:
        """Sends it, again where that is safe, and gives an answer that is no refusal."""
        attempt, renewed = 0, False
        while True:
            attempt += 1
            source = self.credentials.source
            if source is not None:
                self.credentials.keep((yield FetchToken(source)))
            outcome: Reply | Fault = yield self._send(request)
            if isinstance(outcome, Reply) and outcome.status < 300:
                return outcome
            retry_after: float | None = None
            if isinstance(outcome, Reply):
                refusal = refusal_of(outcome)
                if outcome.status == 401 and self.credentials.renewable and not renewed:
                    # A token may have ended on the way. Nothing was done for who is not known.
                    self.credentials.forget()
                    renewed = True
                    attempt -= 1
                    continue
                error: Exception = refusal
                again = may_repeat(request, refusal)
                retry_after = refusal.retry_after if isinstance(refusal, ApiError) else None
            else:
                error = outcome.error()
                again = outcome.kind == "unsent" or request.repeatable
            seconds = self.retries.wait(attempt, retry_after, self._chance()) if again else None
            if seconds is None:
                raise error
            yield Wait(seconds)

    def fetch(self, request: Request) -> Plan[Any]:
        """The answer's JSON."""
        reply = yield from self.ask(request)
        if not reply.content:
            return None
        return reply.json()

    def _send(self, request: Request) -> Send:
        headers = {"Accept": request.accept, **self._headers, **request.headers}
        authorization = self.credentials.header()
        if authorization is not None:
            headers["Authorization"] = authorization
        content: bytes | None = None
        if request.json is not None:
            content = json.dumps(request.json, ensure_ascii=False, allow_nan=False, default=plain).encode()
        if content is not None or request.body is not None:
            headers["Content-Type"] = request.content_type
        return Send(request, headers, content)


def may_repeat(request: Request, refusal: Exception) -> bool:
    """Whether what was refused like this may be sent once more."""
    if not isinstance(refusal, ApiError):
        return False
    if refusal.code in NOT_BEGUN:
        return True
    return refusal.status in (429, 502, 503, 504) and request.repeatable


def refusal_of(reply: Reply) -> Exception:
    """The exception for an answer that is none of 2xx."""
    if 300 <= reply.status < 400:
        # It is not followed: whoever is there is not who the credentials were given for.
        return UnexpectedAnswer(f"the server answered {reply.status} and points elsewhere: is the url right?")
    problem: Any = None
    if reply.media_type() in ("application/problem+json", JSON):
        try:
            problem = read_json(reply.content)
        except ValueError:
            problem = None
    if not isinstance(problem, dict) or "code" not in problem:
        problem = {"code": f"HTTP_{reply.status}", "detail": "the answer is not one of a Ringfence server"}
    return api_error(reply.status, problem, seconds_of(reply.headers.get("retry-after")))


def seconds_of(retry_after: str | None) -> float | None:
    """The header `Retry-After`, as seconds. A date counts from the moment that the answer is read."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    from datetime import datetime, timezone

    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def checked_url(url: str) -> str:
    """The server's root without a slash at its end. Credentials in it would end up in logs."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the url is that of a server: https://data.example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the url: pass auth=ringfence.Basic(name, password)")
    if parts.query or parts.fragment:
        raise ValueError("the url has no query and no fragment")
    return url.rstrip("/")


def path(*parts: str) -> str:
    """An encoded path under `/v1`."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def read_json(content: bytes | str) -> Any:
    """JSON with exact numbers."""
    from decimal import Decimal

    try:
        return json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer("the answer is not JSON") from None


def plain(value: Any) -> Any:
    """What JSON has no form for, as the server reads it."""
    import datetime
    import decimal
    import uuid

    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    # Scalars of NumPy, which this package does not import by itself.
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"a value of {type(value).__name__} can't be sent")


def waiting(reply: Reply) -> None:
    """Raises for a change that waits for somebody's consent: it is never mistaken for one that was made."""
    if reply.status == 202:
        raise ApprovalPending(reply.json())
