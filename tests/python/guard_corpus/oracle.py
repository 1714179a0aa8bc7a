"""What tells right from wrong: isolated databases, and the state of the shared one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from guard_corpus.compare import Outcome
from guard_corpus.records import Record

# Rows of a state query, sorted.
State = dict[str, list[tuple[object, ...]]]


@dataclass
class Seen:
    """What a statement left behind on the target's side."""

    changed: bool = False
    # Why it must not have.
    faults: list[str] = field(default_factory=list)
    # What the principal sees now; None when nothing changed.
    state: State | None = None


@dataclass
class Answer:
    """What the oracle says."""

    outcome: Outcome
    # What the principal would see then; None when nothing changed.
    state: State | None


class Oracle(Protocol):
    """The databases of one dialect."""

    def check_pairs(self) -> list[str]:
        """The self-check: what a principal sees of the shared database is what the isolated one holds."""
        ...

    def look(self, principal: str, *, isolated: bool) -> Seen:
        """What changed on the target's database, which is then put back."""
        ...

    def answer(self, record: Record, script: Sequence[bool]) -> Answer:
        """Runs the record on the isolated database, with what the target accepted of its script."""
        ...

    def pristine(self, principal: str) -> State:
        """What the principal sees before anything happened."""
        ...
