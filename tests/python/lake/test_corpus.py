"""The guard corpus on lakes: a guarded statement answers what it answers on the principal's own lake.

Records are those that read, of PostgreSQL and SQLite: many are not admitted, or mean nothing to DataFusion,
and are refused alike. What is admitted must be right.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from guard_corpus.compare import Outcome, differences, short
from guard_corpus.markers import leaks
from guard_corpus.records import Record, corpus, read_principals
from guard_corpus.targets import GatewayTarget
from guard_corpus.world import GatewayWorld

from lake.corpus_world import LakeCorpusWorld

# Errors of these classes depend on rows.
DATA_CLASSES = ("21", "22", "23")

# PostgreSQL cuts such a name after 63 bytes, so that it calls something else; here names are whole.
WHOLE_NAMES = "ownpga-name-resolution-056"

# What DataFusion says to texts that the guard prints in other words: the isolated lakes have no answer.
OTHER_WORDS = ("require unique expression names", "Unsupported Value")

# What one statement may be answered in two ways with: another's order, the clock, chance.
UNSTABLE = ("random(", "now(", "current_timestamp", "current_time", "uuid")


@contextmanager
def targets() -> Iterator[tuple[GatewayTarget, GatewayTarget]]:
    """The guarded lake, and the isolated ones without a guard."""
    with (
        LakeCorpusWorld() as lakes,
        GatewayWorld(lakes, guarded=True) as guarded,
        GatewayWorld(lakes, guarded=False) as isolated,
    ):
        yield guarded.target(), isolated.target()


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[GatewayTarget, GatewayTarget]]:
    """Both, for all records."""
    with targets() as both:
        yield both


@pytest.mark.parametrize(("dialect", "fewest"), [("postgresql", 250), ("sqlite", 10)])
def test_what_is_admitted_is_right(
    sides: tuple[GatewayTarget, GatewayTarget], dialect: str, fewest: int
) -> None:
    guarded, isolated = sides
    principals = read_principals()
    faults: list[str] = []
    ends: Counter[str] = Counter()
    for record in corpus(dialect):
        if record.writes or record.script:
            continue
        outcome = guarded.run(record.principal, record.statement, record.params)
        ends[outcome.code or "answered"] += 1
        # An open connection takes no parameters.
        oracle = isolated.run(record.principal, filled(record))
        found = judge(record, outcome, oracle)
        said = [record.statement.decode(errors="replace"), *(text for text in record.params or [] if text)]
        patterns = [*principals[record.principal].markers]
        if leaked := leaks(outcome.received, patterns, [*said, oracle.received]):
            found.append(f"leak: {short(leaked)}")
        if not guarded.is_alive():
            found.append("the service no longer answers")
        faults += [f"{record.id}: {fault}\n    {short(said[0], 300)}" for fault in found]
    print(dialect, dict(ends))
    assert not faults, "\n".join([f"{len(faults)} faults", *faults])
    assert ends["answered"] >= fewest, ends


def judge(record: Record, outcome: Outcome, oracle: Outcome) -> list[str]:
    if outcome.dropped:
        return [f"the connection ended without an answer: {short(outcome.message)}"]
    if not outcome.accepted:
        tells = outcome.code == "QUERY_FAILED" and (outcome.sqlstate or "")[:2] in DATA_CLASSES
        if tells and oracle.accepted:
            return [f"fails where the isolated lake answers: {outcome.sqlstate} {outcome.message}"]
        return []
    if record.expectation == "refuse" and record.id != WHOLE_NAMES:
        return [f"was not refused: {short(outcome.rows)}"]
    if not oracle.accepted and any(words in oracle.message for words in OTHER_WORDS):
        return []
    if not oracle.accepted:
        return [f"answers where the isolated lake does not: {short(outcome.rows)}; {oracle.message}"]
    sql = record.statement.decode(errors="replace").lower()
    if any(word in sql for word in UNSTABLE):
        return []
    if len(outcome.columns) != len(oracle.columns):
        return [f"{len(outcome.columns)} columns instead of {len(oracle.columns)}"]
    # What is computed is named by the text on one side, and by DataFusion on the other; and a sum of floats
    # depends on the order that threads bring them in.
    oracle.types = ["float8" if name in ("double precision", "real") else name for name in oracle.types]
    return differences(replace(outcome, columns=oracle.columns), oracle, ordered=False)


def filled(record: Record) -> bytes:
    """The statement with its parameters' values in their places."""
    text = record.statement.decode(errors="surrogateescape")
    values = record.params or []

    def value(place: re.Match[str]) -> str:
        known = values[int(place[1]) - 1]
        if known is None:
            return "NULL"
        # A number may be a LIMIT too, and is whatever is asked of it.
        return known if re.fullmatch(r"\d+", known) else "'" + known.replace("'", "''") + "'"

    if values:
        text = re.sub(r"\$(\d+)", value, text)
    return text.encode(errors="surrogateescape")
