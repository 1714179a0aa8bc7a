"""Servers that the suites share."""

from collections.abc import Iterator

import pytest
from gateway import Gateway
from sdk_world import world
from throwaway_postgres import Postgres

# `assert_isolated`, as everybody gets it with the client installed.
pytest_plugins = ["ringfence.pytest_plugin"]

__all__ = ["postgres", "ringfence", "world"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all suites of a run."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="module")
def ringfence() -> Iterator[Gateway]:
    """A fresh Ringfence for each file."""
    with Gateway() as server:
        yield server
