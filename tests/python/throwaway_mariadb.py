"""A MariaDB of our own, with passwords."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pymysql
from throwaway_server import ThrowawayServer

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


class Mariadb(ThrowawayServer):
    """A running server. Use it in a `with` block."""

    product = "MariaDB"
    short_name = "my"
    own_account = "mysql"
    ended_by = signal.SIGTERM

    def __init__(self, settings: list[str] | None = None) -> None:
        super().__init__([*SETTINGS, *(settings or [])])

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

    def _initialization(self) -> list[str]:
        return [
            str(program("mariadb-install-db")),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=4M",
        ]

    def _command(self, settings: list[str]) -> list[str]:
        command = [str(program("mariadbd")), "--no-defaults", f"--port={self.port}"]
        for option, file in (("datadir", "data"), ("socket", "socket"), ("pid-file", "pid"), ("tmpdir", "")):
            command.append(f"--{option}={self.directory / file}")
        return [*command, *settings]

    def _takes_connections(self) -> bool:
        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True
