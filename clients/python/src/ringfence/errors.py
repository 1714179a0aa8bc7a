"""What goes wrong, as exceptions. None of them holds a request, so that no credentials travel with one."""

from __future__ import annotations

from typing import Any


class RingfenceError(Exception):
    """Everything that this package raises by itself, but wrong arguments (`TypeError`, `ValueError`,
    `KeyError`)."""


class ConnectionFailed(RingfenceError):
    """The server could not be reached, or went away before it answered."""


class TimedOut(RingfenceError):
    """There was no answer in time. What was asked for may have been done."""


class UnexpectedAnswer(RingfenceError):
    """Something else than a Ringfence server answered, or one that speaks otherwise."""


class MissingDependency(RingfenceError, ImportError):
    """A library that was asked for is not installed."""


class ApiError(RingfenceError):
    """What the server refused. Decide by `code`, which is stable; people read `detail` and `hint`."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code", "UNKNOWN"))
        self.detail = str(problem.get("detail", problem.get("title", "")))
        self.hint: str | None = problem.get("hint")
        self.trace_id: str | None = problem.get("trace_id")
        # Where in the body that was sent the mistake is (RFC 6901).
        self.pointer: str | None = problem.get("pointer")
        # All that is wrong with a document.
        self.problems: list[dict[str, Any]] = list(problem.get("problems") or [])
        self.retry_after = retry_after
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        text = f"{self.code}: {self.detail}"
        if self.pointer:
            text += f" (at {self.pointer})"
        if self.hint:
            text += f"; {self.hint}"
        for problem in self.problems:
            text += (
                f"\n  - {problem.get('path', problem.get('pointer', ''))}: {problem.get('message', problem)}"
            )
        if self.trace_id:
            text += f" [trace {self.trace_id}]"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        problem = {
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "trace_id": self.trace_id,
            "pointer": self.pointer,
            "problems": self.problems,
        }
        return type(self), (self.status, problem, self.retry_after)


class AuthenticationFailed(ApiError):
    """The credentials are missing, wrong, or no longer good (401)."""


class NotPermitted(ApiError):
    """The caller may not do that (403)."""


class NotFound(ApiError):
    """There is no such thing, or none that the caller may see (404)."""


class Conflict(ApiError):
    """Something else is there, or somebody was faster (409, 412)."""


class Refused(ApiError):
    """The request itself can't be done (any other 4xx)."""


class Busy(ApiError):
    """Too much at once, or not now (429, 503); `retry_after` says when, if it is known."""


class ServerFailed(ApiError):
    """The server's own fault (5xx). Tell its operator the trace id."""


class ApprovalPending(RingfenceError):
    """The change was not made: somebody has to agree first. `ticket` is what waits."""

    def __init__(self, ticket: dict[str, Any]) -> None:
        self.ticket = ticket
        # What `session.approvals` knows it by.
        self.approval = str(ticket.get("approval", ""))
        super().__init__(
            f"the change waits for an approval until {ticket.get('expires_at')}: "
            f"session.approvals.get({self.approval!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ticket,)


def api_error(status: int, problem: dict[str, Any], retry_after: float | None = None) -> ApiError:
    """The exception for a problem document."""
    kinds: dict[int, type[ApiError]] = {
        401: AuthenticationFailed,
        403: NotPermitted,
        404: NotFound,
        409: Conflict,
        412: Conflict,
        429: Busy,
        503: Busy,
    }
    kind = kinds.get(status, ServerFailed if status >= 500 else Refused)
    return kind(status, problem, retry_after)
