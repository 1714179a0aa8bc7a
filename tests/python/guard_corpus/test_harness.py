"""The harness can fail, and does not fail without cause."""

import re
from decimal import Decimal
from typing import Any

import pytest

from guard_corpus.compare import Outcome, differences
from guard_corpus.dialects import open_runner
from guard_corpus.markers import leaks
from guard_corpus.pg_text import read_value
from guard_corpus.records import Record, corpus, outside_parentheses
from guard_corpus.runner import FROM_THE_VIEW, as_judged, some_of

MARKERS = [re.compile("LEAK_(B|C)_", re.I), re.compile(r"(?<!\d)77700\d{4}(?!\d)")]


@pytest.mark.parametrize(
    ("received", "found"),
    [
        ("nothing", []),
        ("x LEAK_B_pwd_101 y", ["LEAK_B_pwd_101"]),
        ("leak_b_dom", ["leak_b_dom"]),
        ("salary 777000101", ["777000101"]),
        ("1777000101", []),
        ("101_dwp_B_KAEL", ["LEAK_B_pwd_101"]),
        (b"LEAK_B_x".hex(), ["LEAK_B_x"]),
        ("0" + b"LEAK_B_x".hex(), ["LEAK_B_x"]),
        ("TEVBS19CX3B3ZA==", ["LEAK_B_pwd"]),
        ("LEAK_B_said", []),
    ],
)
def test_markers(received: str, found: list[str]) -> None:
    assert leaks(received, MARKERS, ["SELECT 'LEAK_B_said'"]) == found


def test_a_marker_that_the_statement_names_excuses_no_other() -> None:
    assert leaks("LEAK_B_pwd_102", MARKERS, ["WHERE x = 'LEAK_B_pwd_101'"]) == ["LEAK_B_pwd_102"]


@pytest.mark.parametrize(
    ("left", "right", "types", "equal"),
    [
        (1, Decimal("1.00"), ("int4", "numeric"), True),
        ("1.50", Decimal("1.5"), ("numeric", "numeric"), True),
        ("12345678901234567890", "12345678901234567891", ("numeric", "numeric"), False),
        (0.1 + 0.2, Decimal("0.3"), ("float8", "float8"), True),
        ("2024-01-01T00:00:00+00:00", "2024-01-01 02:00:00+02", ("timestamptz", "timestamptz"), True),
        ("2024-01-01T00:00:00", "2024-01-01 00:00:00", ("timestamp", "timestamp"), True),
        ({"a": 1, "b": [2]}, {"b": [Decimal("2.0")], "a": 1}, ("jsonb", "jsonb"), True),
        ({"a": "1"}, {"a": 1}, ("jsonb", "jsonb"), False),
        ("a", "a ", ("text", "text"), False),
        ("1", "1.0", ("text", "text"), False),
        ([1, None, 3], ["1", None, "3"], ("_int4", "_int4"), True),
        (None, "", ("text", "text"), False),
        (True, False, ("bool", "bool"), False),
    ],
)
def test_values_compare_by_type(left: Any, right: Any, types: tuple[str, str], equal: bool) -> None:
    target = Outcome(True, ["x"], [types[0]], [[left]])
    oracle = Outcome(True, ["x"], [types[1]], [[right]])
    assert (differences(target, oracle, ordered=True) == []) == equal


def test_order_counts_where_it_is_asked_for() -> None:
    one, other = (Outcome(True, ["x"], ["int4"], rows) for rows in ([[1], [2]], [[2], [1]]))
    assert differences(one, other, ordered=True)
    assert not differences(one, other, ordered=False)
    assert differences(one, Outcome(True, ["y"], ["int4"], one.rows), ordered=False)


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        ('{a,"b \\"c\\" \\\\ ,}",NULL,"NULL",""}', "_text", ["a", 'b "c" \\ ,}', None, "NULL", ""]),
        ("{{1,2},{3,4}}", "_int4", [["1", "2"], ["3", "4"]]),
        ("[0:1]={1,2}", "_int4", ["1", "2"]),
        ("{}", "_int4", []),
        ("t", "bool", True),
        ('{"a": 1.50}', "jsonb", {"a": Decimal("1.50")}),
    ],
)
def test_text_of_postgresql(text: str, type_name: str, value: object) -> None:
    assert read_value(text, type_name) == value


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT 1 ORDER BY 1", True),
        ("SELECT * FROM (SELECT 1 ORDER BY 1) x", False),
        ("SELECT 'ORDER BY', \"order by\" -- ORDER BY", False),
        ("SELECT rank() OVER (ORDER BY 1)", False),
        ("SELECT $$ ( $$ ORDER\nBY 1", True),
    ],
)
def test_when_order_matters(sql: str, ordered: bool) -> None:
    assert ("order by" in re.sub(r"\s+", " ", outside_parentheses(sql)).lower()) == ordered


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        ([["orders"], ["users"]], 0),
        ([["orders"], ["orders"]], 0),
        ([["orders"], ["api_tokens"]], 1),
        ([["users"], ["users"]], 1),
        ([["orders"]], 1),
        ([["orders"], ["orders"], ["users"]], 1),
    ],
)
def test_some_rows_are_those_of_the_oracle(rows: list[list[str]], faults: int) -> None:
    oracle = Outcome(True, ["relname"], ["name"], [["orders"], ["orders"], ["users"]])
    assert len(some_of(Outcome(True, ["relname"], ["name"], rows), oracle, 2)) == faults
    assert some_of(Outcome(True, ["relkind"], ["name"], rows), oracle, 2)


def test_catalogs_of_the_view_are_held_against_the_isolated_ones() -> None:
    """What the corpus wants refused is compared, or refused: it is never just let through."""
    given = {record.id: record for dialect in ("postgresql", "sqlite") for record in corpus(dialect)}
    for name, fields in FROM_THE_VIEW.items():
        assert given[name].expectation == "refuse"
        judged = as_judged(given[name])
        assert judged.expectation == "isolated"
        assert judged.statement == given[name].statement
        assert judged.asked_of_oracle == fields["oracle_sql"].encode()


def chosen(expectation: str) -> list[Record]:
    """The given records that last no longer than a moment, and as many as fit into a minute."""
    return [
        record
        for record in corpus("postgresql")
        if record.expectation == expectation and record.group != "resource" and record.id.startswith("pg")
    ][::4]


def test_without_a_guard_the_attacks_are_reported() -> None:
    with open_runner("postgresql", "shared") as runner:
        quiet = [
            record.id
            for record in [*chosen("isolated"), *chosen("refuse")]
            if (verdict := runner.check(record)).passed
            and record.fields["effective"]
            # Where the owner of the tables may not, only a superuser could.
            and verdict.outcome.sqlstate != "42501"
        ]
    assert quiet == []


def test_the_isolated_databases_pass() -> None:
    with open_runner("postgresql", "isolated") as runner:
        verdicts = [runner.check(record) for record in [*chosen("benign"), *chosen("isolated")]]
    assert [(verdict.record.id, verdict.faults) for verdict in verdicts if not verdict.passed] == []
