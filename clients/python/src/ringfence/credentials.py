"""Who asks: an access key, a name with a password, or a function that gives bearer tokens. None of them
prints."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable
from typing import Callable, Union

# A token, or a token and for how many seconds it is good.
Token = Union[str, tuple[str, float]]
TokenSource = Callable[[], Union[Token, Awaitable[Token]]]


class Basic:
    """A name and a password, sent with each request."""

    __slots__ = ("_password", "name")

    def __init__(self, name: str, password: str) -> None:
        if ":" in name:
            raise ValueError("a user name for Basic has no colon in it")
        self.name = name
        self._password = password

    def header(self) -> str:
        pair = f"{self.name}:{self._password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def __repr__(self) -> str:
        return f"Basic({self.name!r}, ...)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("credentials are not pickled")


Auth = Union[str, Basic, TokenSource, None]


class Credentials:
    """What `auth` says, as the header of the next request."""

    __slots__ = ("_ends", "_fixed", "_source", "_token")

    def __init__(self, auth: Auth) -> None:
        self._fixed: str | None = None
        self._source: TokenSource | None = None
        self._token: str | None = None
        self._ends: float | None = None
        if isinstance(auth, str):
            self._fixed = bearer(auth)
        elif isinstance(auth, Basic):
            self._fixed = auth.header()
        elif callable(auth):
            self._source = auth
        elif auth is not None:
            kind = type(auth).__name__
            raise TypeError(f"auth is an access key, Basic(name, password) or a function, not {kind}")

    @property
    def renewable(self) -> bool:
        """Whether there may be another token after one that is refused."""
        return self._source is not None

    @property
    def source(self) -> TokenSource | None:
        """What to call for a token, if one is needed now."""
        if self._source is None or (self._token is not None and not self._is_over()):
            return None
        return self._source

    def keep(self, token: Token) -> None:
        """What the source gave."""
        if isinstance(token, tuple):
            value, seconds = token
            # A little earlier, so that it does not end on the way.
            self._ends = time.monotonic() + max(0.0, seconds - min(10.0, seconds / 10))
        else:
            value, self._ends = token, None
        if not isinstance(value, str):
            raise TypeError("the function for bearer tokens gives a text, or a text and seconds")
        self._token = bearer(value)

    def forget(self) -> None:
        """The token was refused."""
        self._token = None

    def header(self) -> str | None:
        """The header `Authorization`."""
        return self._fixed or self._token

    def _is_over(self) -> bool:
        return self._ends is not None and time.monotonic() >= self._ends

    def __repr__(self) -> str:
        return "Credentials(...)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("credentials are not pickled")


def bearer(value: str) -> str:
    """The header for a key or token. What is no header says so without repeating it."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("an access key or token is printable ASCII without spaces")
    return f"Bearer {value}"
