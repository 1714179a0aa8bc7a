"""The only IO: a plan's steps over httpx, sync and async."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import httpx

from .exchange import Fault, FetchToken, Plan, Reply, Send, Step, Wait

T = TypeVar("T")

CHUNK = 1 << 20


class Driver:
    """Does the steps of plans, one after the other."""

    def __init__(self, url: str, timeout: float, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        self._client = httpx.Client(timeout=timeouts(timeout), transport=transport, follow_redirects=False)
        # Only one thread at a time fetches a token.
        self._lock = threading.Lock()

    def run(self, plan: Plan[T]) -> T:
        """The plan's result."""
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = self._do(step)

    def close(self) -> None:
        self._client.close()

    def _do(self, step: Step) -> Any:
        if isinstance(step, Wait):
            time.sleep(step.seconds)  # poll: between two attempts
            return None
        if isinstance(step, FetchToken):
            with self._lock:
                token = step.source()
            if inspect.isawaitable(token):
                if inspect.iscoroutine(token):
                    token.close()
                raise TypeError("a Session takes a plain function for tokens; AsyncSession takes async ones")
            return token
        return self._send(step)

    def _send(self, step: Send) -> Reply | Fault:
        opened = step.request.body() if step.request.body is not None else None
        try:
            content: Any = step.content if opened is None else iter(lambda: opened.read(CHUNK), b"")
            request = built(self._client, self._url, step, content)
            response = self._client.send(request, stream=True)
            if step.request.stream and response.status_code < 300:
                return Reply(response.status_code, lowered(response), b"", Stream(response))
            try:
                return Reply(response.status_code, lowered(response), response.read())
            finally:
                response.close()
        except httpx.HTTPError as error:
            fault = fault_of(error)
        finally:
            if opened is not None:
                opened.close()
        # Outside of the handler: httpx's error holds the request, and that the credentials.
        return fault

    def __repr__(self) -> str:
        return f"Driver({self._url!r})"


class AsyncDriver:
    """The same for asyncio."""

    def __init__(self, url: str, timeout: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._client = httpx.AsyncClient(
            timeout=timeouts(timeout), transport=transport, follow_redirects=False
        )

    async def run(self, plan: Plan[T]) -> T:
        """The plan's result."""
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await self._do(step)

    async def close(self) -> None:
        await self._client.aclose()

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, FetchToken):
            token = step.source()
            return await token if inspect.isawaitable(token) else token
        return await self._send(step)

    async def _send(self, step: Send) -> Reply | Fault:
        opened = step.request.body() if step.request.body is not None else None
        try:
            content: Any = step.content if opened is None else read_apart(opened)
            request = built(self._client, self._url, step, content)
            response = await self._client.send(request, stream=True)
            if step.request.stream and response.status_code < 300:
                return Reply(response.status_code, lowered(response), b"", AsyncStream(response))
            try:
                return Reply(response.status_code, lowered(response), await response.aread())
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            fault = fault_of(error)
        finally:
            if opened is not None:
                opened.close()
        return fault

    def __repr__(self) -> str:
        return f"AsyncDriver({self._url!r})"


class Stream:
    """A body that is read as it comes. Leaving it stops the statement in the database."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def chunks(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_bytes()
            return
        except httpx.HTTPError as error:
            fault = fault_of(error)
        raise fault.error()

    def close(self) -> None:
        self._response.close()


class AsyncStream:
    """The same for asyncio."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_bytes():
                yield chunk
            return
        except httpx.HTTPError as error:
            fault = fault_of(error)
        raise fault.error()

    async def close(self) -> None:
        await self._response.aclose()


def timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, 10.0))


def built(client: httpx.Client | httpx.AsyncClient, url: str, step: Send, content: Any) -> httpx.Request:
    request = step.request
    more: dict[str, Any] = {}
    if request.timeout is not None:
        more["timeout"] = timeouts(request.timeout)
    return client.build_request(
        request.method,
        url + request.path,
        params=list(request.query) or None,
        headers=dict(step.headers),
        content=content,
        **more,
    )


def lowered(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def fault_of(error: httpx.HTTPError) -> Fault:
    """What happened, in words of ours: httpx's error knows the request."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return Fault("unsent", f"the server can't be reached ({type(error).__name__})")
    if isinstance(error, httpx.TimeoutException):
        return Fault("timed_out", f"no answer in time ({type(error).__name__})")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return Fault("unsent", "the url can't be used")
    return Fault("lost", f"the connection was lost before the answer was complete ({type(error).__name__})")


async def read_apart(opened: Any) -> AsyncIterator[bytes]:
    """A file's content, read in another thread so that others go on meanwhile."""
    while True:
        chunk: bytes = await asyncio.to_thread(opened.read, CHUNK)
        if not chunk:
            return
        yield chunk
