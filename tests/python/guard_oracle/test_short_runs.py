"""A short seeded run of the oracle on each engine, and of a spoilt guard, which must be found."""

import os
import time
from collections.abc import Iterator

import pytest
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import PRINCIPALS

from guard_oracle.plain_generator import PlainGenerator
from guard_oracle.plain_sides import FAULTS, Sides, bound, open_sides
from guard_oracle.report import Report, described
from guard_oracle.schema import read_schema
from guard_oracle.worker import Orders, work, work_plain

SEED = int(os.environ.get("GUARD_ORACLE_SEED", "11"))

# So many seconds each: what a run found depends on its statements alone, how many there are on the machine.
SECONDS = float(os.environ.get("GUARD_ORACLE_SECONDS", "20"))

# Enough to meet every fault.
SPOILT = 600


def orders(seconds: float = SECONDS, statements: int = 100_000, fault: str | None = None) -> Orders:
    return Orders(
        seed=SEED, statements=statements, until=time.monotonic() + seconds, shrinks=False, fault=fault
    )


def check(report: Report) -> None:
    assert not report.divergences, "\n".join(described(finding) for finding in report.findings)
    # A guard that refuses all, or a generator of nonsense, would agree as well.
    assert report.asked["all"] > 0.6 * report.verdicts.total()
    assert report.accepted["all"] > 0.6 * report.asked["all"]


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Sides]:
    with open_sides("sqlite") as sides:
        yield sides


@pytest.fixture(scope="module")
def mysql() -> Iterator[Sides]:
    with open_sides("mysql") as sides:
        yield sides


def test_postgres() -> None:
    with PostgresWorld() as world:
        schemas = {principal: read_schema(world, principal) for principal in PRINCIPALS}
        check(work(world, schemas, orders()))


def test_sqlite(sqlite: Sides) -> None:
    check(work_plain(sqlite, orders()))


def test_mysql(mysql: Sides) -> None:
    check(work_plain(mysql, orders()))


@pytest.mark.parametrize("fault", sorted(FAULTS["sqlite"]))
def test_a_spoilt_guard_of_sqlite_is_found(sqlite: Sides, fault: str) -> None:
    assert work_plain(sqlite, orders(120, SPOILT, fault)).divergences


@pytest.mark.parametrize("fault", sorted(FAULTS["mysql"]))
def test_a_spoilt_guard_of_mysql_is_found(mysql: Sides, fault: str) -> None:
    assert work_plain(mysql, orders(120, SPOILT, fault)).divergences


def test_a_statement_depends_on_its_seed_and_number_alone(sqlite: Sides) -> None:
    one, other = (PlainGenerator("sqlite", sqlite.schemas, 5) for _ in range(2))
    assert [one.draw(n).statement for n in range(60)] == [other.draw(n).statement for n in range(60)]


def test_values_stand_for_marks_outside_of_texts_and_names() -> None:
    assert bound("SELECT '?', `a?`, ? WHERE x = ? AND y = ?", ["it's", None, 2]) == (
        "SELECT '?', `a?`, 'it''s' WHERE x = NULL AND y = 2"
    )
