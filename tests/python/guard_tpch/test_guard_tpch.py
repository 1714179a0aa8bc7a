"""Every question, asked of all tenants' rows through Ringfence and of one tenant's alone: equal answers."""

from collections.abc import Iterator

import pytest
from guard_corpus.compare import differences
from guard_corpus.records import outside_parentheses
from guard_corpus.session import Session
from guard_corpus.targets import GatewayTarget

from guard_tpch.rows import TENANTS
from guard_tpch.world import HERE, Databases, GuardedAnalysts, user_of


def read_questions(file: str) -> dict[str, str]:
    """The questions of a file, each below its name. The file's own title has none."""
    blocks = (HERE / file).read_text().split("\n\n-- ")[1:]
    return {
        name: sql.strip().removesuffix(";") for name, _, sql in (block.partition("\n") for block in blocks)
    }


TPCH, TPCDS = read_questions("tpch.sql"), read_questions("tpcds.sql")

QUESTIONS = {**{f"TPC-H {name}": sql for name, sql in TPCH.items()}, **TPCDS}


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    with Databases() as databases:
        yield databases


@pytest.fixture(scope="module")
def guarded(databases: Databases) -> Iterator[GatewayTarget]:
    with GuardedAnalysts(databases) as world:
        yield world.target()


def is_ordered(sql: str) -> bool:
    return "order by" in outside_parentheses(sql).lower()


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_answer_is_the_tenants_own(name: str, databases: Databases, guarded: GatewayTarget) -> None:
    sql = QUESTIONS[name]
    with Session(databases.dsn("shared")) as session:
        everything = session.run(sql.encode())
    assert everything.accepted, everything.message
    others_show = 0
    for tenant in TENANTS:
        with Session(databases.dsn(databases.isolated(tenant))) as session:
            own = session.run(sql.encode())
        # A question that finds nothing would show nothing here.
        assert own.rows, "nothing is found: the question needs other values"
        assert any(value is not None for row in own.rows for value in row)
        others_show += bool(differences(everything, own, ordered=False))
        answer = guarded.run(user_of(tenant), sql.encode())
        assert answer.accepted, f"{answer.code}: {answer.message}"
        assert differences(answer, own, ordered=is_ordered(sql)) == []
    # Nor would one that is answered alike without a guard. The best of all is one tenant's best as well.
    assert others_show >= len(TENANTS) - 1, "the rows of others make no difference"


def test_there_are_as_many_questions_as_promised() -> None:
    assert len(TPCH) == 22
    assert len(TPCDS) >= 10
