"""A database server of our own: a new directory, a free port; gone when it is closed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from polling import wait_for


@dataclass(frozen=True)
class Account:
    """Whom the server's programs run as: they refuse root, or should not be it."""

    uid: int
    gid: int


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ThrowawayServer(ABC):
    """A running server. Use it in a `with` block."""

    # As people call it, and as its directory is called.
    product: ClassVar[str]
    short_name: ClassVar[str]
    # The account that its package makes.
    own_account: ClassVar[str]
    # What ends it without waiting for its clients.
    ended_by: ClassVar[signal.Signals]

    def __init__(self, settings: list[str]) -> None:
        self.port = free_port()
        self.account = self._unprivileged_account()
        self.directory = Path(tempfile.mkdtemp(prefix=f"ringfence-python-{self.short_name}-"))
        self._give_away(self.directory)
        self._initialize()
        self._process = self._start(settings)
        try:
            wait_for(self.product, self._answers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops this server, by its own process id, and removes its files."""
        self._process.send_signal(self.ended_by)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @abstractmethod
    def _initialization(self) -> list[str]:
        """The command that fills the directory."""

    @abstractmethod
    def _command(self, settings: list[str]) -> list[str]:
        """The command that serves from it."""

    @abstractmethod
    def _takes_connections(self) -> bool:
        """Whether it lets us in by now."""

    def _initialize(self) -> None:
        made = subprocess.run(
            self._initialization(), cwd="/", capture_output=True, text=True, **self._identity()
        )
        assert made.returncode == 0, made.stderr

    def _start(self, settings: list[str]) -> "subprocess.Popen[bytes]":
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(
                self._command(settings), cwd="/", stdout=log, stderr=log, **self._identity()
            )

    def _answers(self) -> bool:
        log = (self.directory / "log").read_text(errors="replace")
        assert self._process.poll() is None, f"{self.product} ended: {log}"
        return self._takes_connections()

    def _unprivileged_account(self) -> Account | None:
        """None when we are no root: then the programs run as ourselves."""
        if os.geteuid() != 0:
            return None
        entries = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = entries.get(self.own_account) or entries["nobody"]
        return Account(entry.pw_uid, entry.pw_gid)

    def _give_away(self, path: Path) -> None:
        """To the account that the programs run as."""
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def _identity(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
