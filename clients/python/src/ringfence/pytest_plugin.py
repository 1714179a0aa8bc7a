"""For everybody's tests: `assert_isolated` asks the same as several users, and fails when anybody sees
another's rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Union

import pytest

from .errors import ApiError
from .frames import Tabular
from .modelcalls import Page
from .session import Session

# SQL, or what to do with a session: what comes of it has rows.
Question = Union[str, Callable[[Session], Any]]

# So many foreign rows are shown for each user.
SHOWN = 5


@dataclass
class Seen:
    """What one user was shown."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    refused: str | None = None


def ask(session: Session, question: Question) -> Any:
    return session.sql(question) if isinstance(question, str) else question(session)


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """Rows as dictionaries, of whatever a session gives."""
    if isinstance(answer, Tabular):
        return [row.as_dict() for row in answer]
    if isinstance(answer, Page):
        return list(answer.rows)
    if isinstance(answer, Mapping):
        return [dict(answer)]
    if hasattr(answer, "reset_index"):
        named = any(name is not None for name in answer.index.names)
        records: list[dict[str, Any]] = (answer.reset_index() if named else answer).to_dict("records")
        return records
    if hasattr(answer, "to_dicts"):
        return list(answer.to_dicts())
    if isinstance(answer, Sequence) and not isinstance(answer, (str, bytes)):
        if not all(isinstance(row, Mapping) for row in answer):
            raise TypeError("the question gives a list, but not of dictionaries")
        return [dict(row) for row in answer]
    raise TypeError(f"the question gives {type(answer).__name__}, which has no rows")


def isolation_report(
    question: Question,
    *,
    principals: Mapping[str, Session],
    marker: str | None = None,
    owns: Mapping[str, Collection[Any]] | None = None,
    by: Sequence[str] | None = None,
    allow_empty: bool = False,
    allow_refused: bool = False,
) -> str | None:
    """What is wrong, to be read by people; `None` when all is well."""
    if len(principals) < 2:
        raise ValueError("isolation is between users: name two at least")
    if (marker is None) != (owns is None):
        raise ValueError("marker and owns belong together: the column, and whose values are whose")
    if owns is not None and set(owns) != set(principals):
        raise ValueError("owns says of each user whose rows they may see, and of nobody else")
    seen = {name: look(session, question) for name, session in principals.items()}
    problems = unanswered(seen, allow_empty=allow_empty, allow_refused=allow_refused)
    if marker is not None and owns is not None:
        problems += marked(seen, marker, owns)
    else:
        problems += shared(seen, by)
    if not problems:
        return None
    asked = question if isinstance(question, str) else getattr(question, "__name__", repr(question))
    counts = [f"  {name}: {found.refused or f'{len(found.rows)} rows'}" for name, found in seen.items()]
    return "\n".join(["not isolated", f"asked: {asked}", *counts, "", *problems])


def look(session: Session, question: Question) -> Seen:
    try:
        return Seen(rows_of(ask(session, question)))
    except ApiError as error:
        return Seen(refused=f"refused, {error.code}: {error.detail}")


def unanswered(seen: Mapping[str, Seen], *, allow_empty: bool, allow_refused: bool) -> list[str]:
    """A question that nobody gets an answer to shows nothing about isolation."""
    problems = []
    for name, found in seen.items():
        if found.refused is not None:
            if not allow_refused:
                problems.append(f"{name} was {found.refused} (allow_refused=True if that is right)")
        elif not found.rows and not allow_empty:
            problems.append(f"{name} sees nothing, which shows nothing (allow_empty=True if that is right)")
    if not any(found.rows for found in seen.values()):
        problems.append("nobody sees a row: the question shows nothing about isolation")
    return problems


def marked(seen: Mapping[str, Seen], marker: str, owns: Mapping[str, Collection[Any]]) -> list[str]:
    """Rows whose marker is somebody else's."""
    problems = []
    for name, found in seen.items():
        if found.rows and any(marker not in row for row in found.rows):
            problems.append(f"{name}: the answer has no column {marker!r}, but {', '.join(found.rows[0])}")
            continue
        foreign = [row for row in found.rows if row[marker] not in owns[name]]
        if foreign:
            mine = ", ".join(repr(value) for value in owns[name]) or "nothing"
            problems.append(f"{name} sees {len(foreign)} rows of others ({marker} is not {mine}):")
            problems += shown(foreign)
    return problems


def shared(seen: Mapping[str, Seen], by: Sequence[str] | None) -> list[str]:
    """Rows that two users both see, as a whole or by the columns that tell rows apart."""
    problems = []
    identities: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for name, found in seen.items():
        missing = [column for column in by or () if found.rows and column not in found.rows[0]]
        if missing:
            columns = ", ".join(found.rows[0])
            problems.append(f"{name}: the answer has no column {missing[0]!r}, but {columns}")
            continue
        identities[name] = {identity(row, by): row for row in found.rows}
    people = list(identities)
    for place, one in enumerate(people):
        for other in people[place + 1 :]:
            both = [row for key, row in identities[one].items() if key in identities[other]]
            if both:
                problems.append(f"{one} and {other} both see {len(both)} rows:")
                problems += shown(both)
    return problems


def identity(row: Mapping[str, Any], by: Sequence[str] | None) -> tuple[Any, ...]:
    return tuple(repr(row[column]) for column in (by if by is not None else row))


def shown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["    " + ", ".join(f"{name}={value!r}" for name, value in row.items()) for row in rows[:SHOWN]]
    return [*lines, f"    ... and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else lines


class AssertIsolated:
    """Asks a question (SQL, or a function of a session) as several users.

    With `marker` and `owns` each row's marker must be among the user's own values: `marker="tenant_id",
    owns={"ann": ["acme"], "bob": ["globex"]}`. Without, no two users may see one row; `by` names the
    columns that tell
    rows apart. Somebody who sees nothing, or is refused, fails it, too, unless that is allowed: a question
    that
    nobody gets an answer to shows nothing.
    """

    def __call__(
        self,
        question: Question,
        *,
        principals: Mapping[str, Session],
        marker: str | None = None,
        owns: Mapping[str, Collection[Any]] | None = None,
        by: Sequence[str] | None = None,
        allow_empty: bool = False,
        allow_refused: bool = False,
    ) -> None:
        __tracebackhide__ = True
        report = isolation_report(
            question,
            principals=principals,
            marker=marker,
            owns=owns,
            by=by,
            allow_empty=allow_empty,
            allow_refused=allow_refused,
        )
        if report is not None:
            pytest.fail(report, pytrace=False)


@pytest.fixture(scope="session")
def assert_isolated() -> AssertIsolated:
    """The check that a question shows each user their own rows."""
    return AssertIsolated()
