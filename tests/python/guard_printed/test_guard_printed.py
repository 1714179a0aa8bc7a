"""PostgreSQL's own parser reads what the guard prints, and what was asked, and finds the same."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import CASES, corpus
from guard_oracle.guard_process import GuardProcess
from pglast.parser import ParseError

from guard_printed.meaning import difference, meaning

FENCED = CASES.parent / "guard" / "fenced.txt"

# Records that are printed otherwise than PostgreSQL reads them. None gets more than it asked for: what is
# taken for a column does not exist, and the database says so.
OTHERWISE = {
    "pga-session-info-003": "CURRENT_ROLE is taken for a column",
    "ownpga-function-109": "CURRENT_ROLE is taken for a column",
    "ownpga-printer-067": 'U&"..." is taken for an operator between two columns',
    "ownpga-printer-068": "NFD is taken for a column",
    "ownpga-printer-062": "u.tags[1:1] is printed as (u).tags[1:1], which is the same",
    "pgb-analyst-022": "the text of a frame's bound is printed as the interval that it stands for",
}


@pytest.fixture(scope="module")
def guard() -> Iterator[GuardProcess]:
    with PostgresWorld() as world:
        process = GuardProcess(world)
        yield process
        process.close()


def cases() -> Iterator[tuple[str, str]]:
    """Statements of cases/guard, and what is printed for them."""
    for block in FENCED.read_text().split("\n\n"):
        lines = block.strip().split("\n")
        said = "\n".join(line for line in lines if not line.startswith("=> "))
        printed = [line.removeprefix("=> ") for line in lines if line.startswith("=> ")]
        if printed:
            yield said, printed[0]


def compare(said: str, printed: str) -> str:
    """Why they do not mean the same; nothing when they do. Changes are only read."""
    tree = meaning(printed)
    if tree["@"] != "SelectStmt" or "_rf_t" in printed:
        return ""
    try:
        asked = meaning(said)
    except ParseError as error:
        return f"PostgreSQL can't read what was asked: {error}"
    return difference(asked, tree)


@pytest.mark.parametrize(("said", "printed"), cases(), ids=lambda text: re.sub(r"\W+", " ", text)[:40])
def test_cases_mean_what_was_asked(said: str, printed: str) -> None:
    assert compare(said, printed) == ""


def test_the_corpus_means_what_was_asked(guard: GuardProcess) -> None:
    counted: Counter[str] = Counter()
    faults = []
    for record in corpus("postgresql"):
        try:
            said = record.statement.decode()
        except UnicodeDecodeError:
            continue
        guarded = guard.guard(record.principal, said, record.params or [])
        if guarded.refused is not None:
            counted["refused"] += 1
            continue
        counted["read"] += 1
        if (fault := compare(said, guarded.sql)) and record.id not in OTHERWISE:
            faults.append(f"{record.id}: {said[:300]}\n  {guarded.sql[:600]}\n  {fault}")
    print(dict(counted), len(faults))
    assert counted["read"] > 500
    assert not faults, "\n".join(faults[:20])


def test_another_meaning_is_found() -> None:
    printed = 'SELECT ("id" + 1) FROM (SELECT "_rf_r"."id" FROM "public"."t" AS "_rf_r") AS "t"'
    assert compare("SELECT id + 1 FROM t", printed) == ""
    for other in (
        "SELECT id - 1 FROM t",
        "SELECT id + 1 FROM u",
        "SELECT id + 2 FROM t",
        "SELECT id + 1 FROM t x",
    ):
        assert compare(other, printed) != "", other
