"""The oracle's own parts, and a short run: `pytest tests/python/guard_oracle`."""

import os
import random
import time
from collections.abc import Iterator

import pytest
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import PRINCIPALS

from guard_oracle.generator import Generator
from guard_oracle.guard_process import FAULTS
from guard_oracle.productions import LITERALS
from guard_oracle.report import Report
from guard_oracle.schema import Column, Schema, Table, read_schema
from guard_oracle.shrink import shrink
from guard_oracle.spelling import respelt
from guard_oracle.tree import Node, Param, clause, expression, items, printed
from guard_oracle.worker import Orders, work

SEED = int(os.environ.get("GUARD_ORACLE_SEED", "1"))
STATEMENTS = int(os.environ.get("GUARD_ORACLE_STATEMENTS", "3000"))


@pytest.fixture(scope="module")
def world() -> Iterator[PostgresWorld]:
    with PostgresWorld() as world:
        yield world


@pytest.fixture(scope="module")
def schemas(world: PostgresWorld) -> dict[str, Schema]:
    return {principal: read_schema(world, principal) for principal in PRINCIPALS}


def orders(fault: str | None = None) -> Orders:
    until = time.monotonic() + 300
    return Orders(seed=SEED, statements=STATEMENTS, until=until, shrinks=fault is None, fault=fault)


def test_parameters_are_numbered_as_they_are_printed() -> None:
    tree = Node(["SELECT", Param("a"), clause("WHERE", Param(None)), items([Param("b"), "2"])])
    assert printed(tree) == ("SELECT $1 WHERE $2 $3, 2", ["a", None, "b"])


def test_shrinking_drops_what_does_not_matter() -> None:
    listed = items([expression("int", "(", expression("int", "bad"), "+ 1 )"), expression("int", "2")])
    tree = Node(["SELECT", listed, clause("WHERE true"), clause("LIMIT 1")])
    shrink(tree, lambda: "bad" in printed(tree)[0], literals=LITERALS)
    assert printed(tree)[0] == "SELECT bad"


def test_spelling_leaves_strings_and_quoted_names_alone() -> None:
    sql = """SELECT 'It''s A', "Mixed a" , E'x\\' B' FROM t"""
    for seed in range(50):
        said = respelt(sql, random.Random(seed))
        assert "'It''s A'" in said
        assert '"Mixed a"' in said
        assert "E'x\\' B'" in said


def test_a_statement_depends_on_its_seed_and_number_alone() -> None:
    columns = ["id", "user_id", "order_id", "tenant_id", "product_id", "owner_id", "manager_id"]
    names = ("users", "orders", "order_items", "documents", "products")
    tables = {name: Table(name, [Column(column, "int") for column in columns], ("id",)) for name in names}
    schemas = {name: Schema(name, tables, []) for name in PRINCIPALS}
    one, other = Generator(schemas, 5, share_of_writes=0), Generator(schemas, 5, share_of_writes=0)
    assert [one.draw(n).statement for n in range(50)] == [other.draw(n).statement for n in range(50)]


def test_the_guard_agrees_with_the_oracle(world: PostgresWorld, schemas: dict[str, Schema]) -> None:
    report = work(world, schemas, orders())
    assert not report.divergences, report.findings
    assert valid(report) > 0.6


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_spoilt_guard_is_found(world: PostgresWorld, schemas: dict[str, Schema], fault: str) -> None:
    assert work(world, schemas, orders(fault)).divergences


def valid(report: Report) -> float:
    return report.asked["all"] / report.verdicts.total()
