"""Agents of the official MCP SDK, as people's programs run them: over streamable HTTP, or as a command on stdio."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway import Gateway, binary
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult, Implementation, TextContent

T = TypeVar("T")

AGENT = Implementation(name="suite-agent", version="1.0")


@dataclass
class Outcome:
    """What a tool answered."""

    failed: bool
    # For readers, and for programs.
    text: str
    data: Any

    @property
    def code(self) -> str:
        """Of a refusal."""
        assert self.failed, self.text
        return str(self.data["error"]["code"])


class Session:
    """One agent's session."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def tools(self) -> dict[str, Any]:
        """The tools that are offered, by name."""
        return {tool.name: tool for tool in (await self.session.list_tools()).tools}

    async def call(self, tool: str, **arguments: Any) -> Outcome:
        """What the tool answers, whatever it is."""
        result: CallToolResult = await self.session.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        if not result.isError:
            # Programs and readers are told the same.
            assert json.loads(content.text) == result.structuredContent
        return Outcome(bool(result.isError), content.text, result.structuredContent)

    async def do(self, tool: str, **arguments: Any) -> Any:
        """A call that is done."""
        outcome = await self.call(tool, **arguments)
        assert not outcome.failed, f"{tool}: {outcome.text}"
        return outcome.data

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The code of one that is not."""
        outcome = await self.call(tool, **arguments)
        assert outcome.failed, f"{tool} was done: {outcome.text}"
        return outcome.code


@asynccontextmanager
async def over_http(gateway: Gateway, key: str) -> AsyncIterator[Session]:
    """A session at /mcp."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        streamablehttp_client(f"{gateway.url}/mcp", headers=headers) as (read, write, _),
        ClientSession(read, write, client_info=AGENT) as session,
    ):
        await session.initialize()
        yield Session(session)


@asynccontextmanager
async def over_stdio(gateway: Gateway, key: str) -> AsyncIterator[Session]:
    """A session with `ringfence mcp`."""
    command = StdioServerParameters(
        command=str(binary()), args=["mcp", "--url", gateway.url], env={"RINGFENCE_KEY": key}
    )
    async with (
        stdio_client(command) as (read, write),
        ClientSession(read, write, client_info=AGENT) as session,
    ):
        await session.initialize()
        yield Session(session)


DOORS = {"http": over_http, "stdio": over_stdio}


def work(gateway: Gateway, door: str, key: str, task: Callable[[Session], Awaitable[T]]) -> T:
    """Runs a task in a session of its own."""

    async def run() -> T:
        failure: Exception | None = None
        async with DOORS[door](gateway, key) as session:
            try:
                return await task(session)
            except Exception as error:
                # Outside, where the SDK's tasks do not wrap it up.
                failure = error
        assert failure
        raise failure

    return asyncio.run(run())
