"""A MariaDB of our own: a new directory, a free port, passwords; gone when it is closed."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pymysql
from polling import wait_for
from throwaway_postgres import Account, free_port

# Character set and time zone are not those that Ringfence asks for, so that it must.
SETTINGS = [
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--character-set-server=latin1",
    "--default-time-zone=+09:00",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=4M",
    "--innodb-use-native-aio=0",
    "--innodb-flush-method=nosync",
    "--sync-frm=0",
    "--performance-schema=OFF",
]

MISSING = "MariaDB is not installed: cargo xtask setup installs it (the Debian package mariadb-server)"

# Packages put the server where only root looks for programs.
PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/libexec")


def program(name: str) -> Path:
    """One of MariaDB's programs. That it is missing is a failure, never a reason to leave tests out."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    assert found, MISSING
    return Path(found)


def unprivileged_account() -> Account | None:
    """None when we are no root: then the server runs as ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("mysql") or names["nobody"]
    return Account(entry.pw_uid, entry.pw_gid)


class Mariadb:
    """A running server. Use it in a `with` block."""

    def __init__(self, settings: list[str] | None = None) -> None:
        self.port = free_port()
        self.account = unprivileged_account()
        self.directory = Path(tempfile.mkdtemp(prefix="ringfence-python-my-"))
        if self.account:
            os.chown(self.directory, self.account.uid, self.account.gid)
        self._initialize()
        self._process = self._start([*SETTINGS, *(settings or [])])
        try:
            wait_for("MariaDB", self._answers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Mariadb":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops this server, by its own process id, and removes its files."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self, database: str | None = None) -> "pymysql.Connection[Any]":
        """A session as superuser, by the socket in the server's own directory."""
        return pymysql.connect(
            unix_socket=str(self.directory / "socket"),
            user="root",
            database=database,
            charset="utf8mb4",
            autocommit=True,
            # The system's certificates would be read for each session, which takes longer than the session.
            ssl_disabled=True,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        )

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Runs statements as superuser."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                while cursor.nextset():
                    pass

    def rows(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """What a statement answers to the superuser."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def create_database(self, name: str, owner: str, password: str) -> None:
        """A database, and a user who may do anything in it. What an earlier suite left goes first."""
        self.execute(
            f"DROP DATABASE IF EXISTS `{name}`",
            f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4",
            f"CREATE USER IF NOT EXISTS `{owner}`@`%` IDENTIFIED BY '{password}'",
            f"GRANT ALL ON `{name}`.* TO `{owner}`@`%`",
        )

    def _initialize(self) -> None:
        made = subprocess.run(
            [
                str(program("mariadb-install-db")),
                "--no-defaults",
                f"--datadir={self.directory / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=4M",
            ],
            cwd="/",
            capture_output=True,
            text=True,
            **self._identity(),
        )
        assert made.returncode == 0, made.stderr

    def _start(self, settings: list[str]) -> "subprocess.Popen[bytes]":
        command = [str(program("mariadbd")), "--no-defaults", f"--port={self.port}"]
        for option, file in (("datadir", "data"), ("socket", "socket"), ("pid-file", "pid"), ("tmpdir", "")):
            command.append(f"--{option}={self.directory / file}")
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(
                [*command, *settings], cwd="/", stdout=log, stderr=log, **self._identity()
            )

    def _answers(self) -> bool:
        log = (self.directory / "log").read_text(errors="replace")
        assert self._process.poll() is None, f"MariaDB ended: {log}"
        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True

    def _identity(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
