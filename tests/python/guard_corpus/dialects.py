"""What the corpus can be run against, in which dialect."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from guard_corpus.mysql_oracle import MysqlOracle
from guard_corpus.mysql_world import MysqlWorld
from guard_corpus.postgres_oracle import PostgresOracle
from guard_corpus.postgres_world import PostgresWorld, create_secured_views
from guard_corpus.records import PRINCIPALS
from guard_corpus.runner import Runner
from guard_corpus.session import Session
from guard_corpus.sqlite_oracle import SqliteOracle
from guard_corpus.sqlite_world import SqliteWorld
from guard_corpus.targets import SECONDS, BareTarget, Run, Target
from guard_corpus.world import GatewayWorld

AGAINST = {
    "guarded": "Ringfence with the policy, on the shared database: everything must pass",
    "open": "Ringfence without a policy, on the isolated databases: everything benign must pass",
    "shared": "the database alone, shared: effective attacks must fail",
    "isolated": "the database alone, isolated: everything benign must pass",
    "views": "PostgreSQL with ordinary views: what only reads must pass, but for GROUP BY of a primary key",
}


@contextmanager
def open_runner(dialect: str, against: str, seconds: float = SECONDS) -> Iterator[Runner]:
    """Databases, oracle and target of that name."""
    if dialect == "sqlite":
        with SqliteWorld() as files:
            oracle = SqliteOracle(files)
            if against in ("guarded", "open"):
                with GatewayWorld(files, guarded=against == "guarded") as world:
                    yield Runner(oracle, world.target(seconds))
            else:
                yield Runner(oracle, alone(files, against))
        return
    if dialect == "mysql":
        with MysqlWorld() as server:
            if against in ("guarded", "open"):
                with GatewayWorld(server, guarded=against == "guarded") as world:
                    yield Runner(MysqlOracle(server), world.target(seconds))
            else:
                yield Runner(MysqlOracle(server), alone(server, against))
        return
    with PostgresWorld() as databases:
        if against in ("guarded", "open"):
            with GatewayWorld(databases, guarded=against == "guarded") as world:
                yield Runner(PostgresOracle(databases), world.target(seconds))
        else:
            yield Runner(PostgresOracle(databases), postgres_alone(databases, against, seconds))


def alone(databases: SqliteWorld | MysqlWorld, against: str) -> Target:
    """The database itself."""
    isolated = against == "isolated"
    return BareTarget(partial(databases.session, isolated=isolated), isolated=isolated)


def postgres_alone(databases: PostgresWorld, against: str, seconds: float) -> Target:
    """PostgreSQL itself, on one of its databases."""
    names = {
        "shared": lambda _: "shared",
        "isolated": databases.isolated_name,
        "views": {name: f"views_{name}" for name in PRINCIPALS}.__getitem__,
    }
    if against == "views":
        for principal in PRINCIPALS:
            create_secured_views(databases, principal)

    @contextmanager
    def session(principal: str) -> Iterator[Run]:
        with Session(databases.dsn(names[against](principal)), seconds) as opened:
            yield opened.run

    return BareTarget(session, isolated=against == "isolated")
