"""A PostgreSQL of our own: a new directory, a free port, password authentication; gone when it is closed."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from polling import wait_for

SUPERUSER_PASSWORD = "superuser-of-the-tests"

SETTINGS = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
]


@dataclass(frozen=True)
class Account:
    """Whom the server's programs run as: PostgreSQL refuses root."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """None when we are no root: then the programs run as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise AssertionError("there is no user to run PostgreSQL as")


def programs() -> Path:
    """The directory with initdb and postgres."""
    named = os.environ.get("POSTGRES_PROGRAMS")
    if named:
        return Path(named)
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if packaged:
        return packaged[-1].parent
    found = shutil.which("initdb")
    assert found, "PostgreSQL is not installed: cargo xtask setup"
    return Path(found).parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres:
    """A running server. Use it in a `with` block."""

    def __init__(self, settings: list[str] | None = None) -> None:
        self.port = free_port()
        self.account = unprivileged_account()
        self.directory = Path(tempfile.mkdtemp(prefix="ringfence-python-pg-"))
        if self.account:
            os.chown(self.directory, self.account.uid, self.account.gid)
        self._initialize()
        self._process = self._start([*SETTINGS, *(settings or [])])
        try:
            wait_for("PostgreSQL", self._answers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops this server, by its own process id, and removes its files."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements as superuser, each in a transaction of its own."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a statement answers to the superuser."""
        with self.connect(database) as connection:
            return connection.execute(statement.encode()).fetchall()

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection as superuser."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=SUPERUSER_PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def create_database(self, name: str, owner: str, password: str) -> None:
        """A user, and a database of theirs. What an earlier suite left goes first."""
        self.execute(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
            f"DROP USER IF EXISTS {owner}",
            f"CREATE USER {owner} WITH PASSWORD '{password}'",
            f"CREATE DATABASE {name} OWNER {owner}",
            f"GRANT ALL PRIVILEGES ON DATABASE {name} TO {owner}",
        )

    def _initialize(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(SUPERUSER_PASSWORD)
        if self.account:
            os.chown(password_file, self.account.uid, self.account.gid)
        arguments = ["--auth=scram-sha-256", "--username=postgres", f"--pwfile={password_file}"]
        arguments += ["--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata", str(self.directory / "data")]
        made = subprocess.run(
            [str(programs() / "initdb"), *arguments],
            cwd="/",
            capture_output=True,
            text=True,
            **self._identity(),
        )
        assert made.returncode == 0, made.stderr

    def _start(self, settings: list[str]) -> "subprocess.Popen[bytes]":
        command = [str(programs() / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        command += ["-k", str(self.directory)]
        for setting in settings:
            command += ["-c", setting]
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._identity())

    def _answers(self) -> bool:
        log = (self.directory / "log").read_text(errors="replace")
        assert self._process.poll() is None, f"PostgreSQL ended: {log}"
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _identity(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
