"""The worlds of the corpus, and its report at the end of a run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard_corpus import report
from guard_corpus.dialects import open_runner
from guard_corpus.runner import Runner, Verdict

VERDICTS: list[Verdict] = []


@pytest.fixture(scope="session")
def verdicts() -> list[Verdict]:
    """Where the tests leave what came of each record."""
    return VERDICTS


@pytest.fixture(scope="session")
def postgres_runner() -> Iterator[Runner]:
    """Ringfence with the policy, on the shared database."""
    with open_runner("postgresql", os.environ.get("GUARD_CORPUS_AGAINST", "guarded")) as runner:
        yield runner


@pytest.fixture(scope="session")
def sqlite_runner() -> Iterator[Runner]:
    """The same on the shared file."""
    with open_runner("sqlite", os.environ.get("GUARD_CORPUS_AGAINST", "guarded")) as runner:
        yield runner


@pytest.fixture(scope="session")
def mysql_runner() -> Iterator[Runner]:
    """The same on MariaDB."""
    with open_runner("mysql", os.environ.get("GUARD_CORPUS_AGAINST", "guarded")) as runner:
        yield runner


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table, and writes the report where GUARD_CORPUS_REPORT says."""
    if not VERDICTS:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line(report.table(VERDICTS))
    if path := os.environ.get("GUARD_CORPUS_REPORT"):
        report.write(Path(path), VERDICTS)
