"""One statement for SQLite or MySQL after another, from a seed."""

import random

from guard_oracle.drawn import Drawn
from guard_oracle.judge import Statement
from guard_oracle.plain_productions import LITERALS
from guard_oracle.plain_schema import Schema
from guard_oracle.plain_writes import WRITTEN, PlainWrites

PRINCIPALS = ["a_admin", "a_admin", "a_member", "a_member", "a_analyst", "a_group"]


class PlainGenerator:
    """All principals take turns."""

    literals = LITERALS

    def __init__(self, dialect: str, schemas: dict[str, Schema], seed: int, *, writes: float = 0.2) -> None:
        self.dialect = dialect
        self.schemas = schemas
        self.seed = seed
        self.share_of_writes = writes

    def draw(self, number: int) -> Drawn:
        """The statement of that number: the same for the same seed."""
        rng = random.Random(f"{self.seed}:{number}")
        principal = rng.choice(PRINCIPALS)
        drawing = PlainWrites(self.dialect, self.schemas[principal], rng)
        is_write = principal in WRITTEN and rng.random() < self.share_of_writes
        query = drawing.write() if is_write else drawing.top()
        statement = Statement(
            principal, "", [], is_write, query.ordered, query.loose, drawing.names_foreign_keys
        )
        return Drawn(query.node, statement, frozenset(drawing.features))
