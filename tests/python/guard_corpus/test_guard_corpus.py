"""Every record of the corpus, against Ringfence with its policy. A test is a record: `-k` takes its id."""

import pytest

from guard_corpus.records import Record, corpus
from guard_corpus.runner import Runner, Verdict


def check(record: Record, runner: Runner, verdicts: list[Verdict]) -> None:
    verdict = runner.check(record)
    verdicts.append(verdict)
    assert verdict.passed, "\n".join([str(record.fields["sql"])[:500], *verdict.faults])


def test_what_a_principal_sees_is_what_the_isolated_databases_hold(postgres_runner: Runner) -> None:
    assert postgres_runner.oracle.check_pairs() == []


def test_what_a_principal_sees_is_what_the_isolated_files_hold(sqlite_runner: Runner) -> None:
    assert sqlite_runner.oracle.check_pairs() == []


def test_what_a_principal_sees_is_what_the_isolated_mysql_databases_hold(mysql_runner: Runner) -> None:
    assert mysql_runner.oracle.check_pairs() == []


@pytest.mark.parametrize("record", corpus("postgresql"), ids=lambda record: record.id)
def test_postgresql(record: Record, postgres_runner: Runner, verdicts: list[Verdict]) -> None:
    check(record, postgres_runner, verdicts)


@pytest.mark.parametrize("record", corpus("sqlite"), ids=lambda record: record.id)
def test_sqlite(record: Record, sqlite_runner: Runner, verdicts: list[Verdict]) -> None:
    check(record, sqlite_runner, verdicts)


@pytest.mark.parametrize("record", corpus("mysql"), ids=lambda record: record.id)
def test_mysql(record: Record, mysql_runner: Runner, verdicts: list[Verdict]) -> None:
    check(record, mysql_runner, verdicts)
