"""One statement after another, from a seed."""

import random
from collections.abc import Iterator

from guard_oracle.drawn import Drawn
from guard_oracle.judge import Statement
from guard_oracle.productions import LITERALS
from guard_oracle.schema import Schema
from guard_oracle.writes import Writes


class Generator:
    """All principals take turns."""

    # What expressions are made of when a statement is made smaller.
    literals = LITERALS

    def __init__(self, schemas: dict[str, Schema], seed: int, *, share_of_writes: float = 0.2) -> None:
        self.schemas = schemas
        self.seed = seed
        self.share_of_writes = share_of_writes

    def statements(self) -> Iterator[Drawn]:
        number = 0
        while True:
            yield self.draw(number)
            number += 1

    def draw(self, number: int) -> Drawn:
        """The statement of that number: the same for the same seed."""
        rng = random.Random(f"{self.seed}:{number}")
        principal = rng.choice(["a_admin", "a_admin", "a_member", "a_member", "a_analyst", "a_group"])
        writes = Writes(self.schemas[principal], rng)
        writes.may_raise = rng.random() < 0.25
        writes.attack = rng.choice([0.02, 0.1, 0.5])
        is_write = rng.random() < (self.share_of_writes if principal != "a_analyst" else 0.03)
        ordered = loose = residual = False
        if is_write:
            tree, residual = writes.write()
        else:
            query = writes.top()
            tree, ordered, loose = query.node, query.ordered, query.loose
        spelling = rng.randrange(1 << 30) if rng.random() < 0.25 else None
        if spelling is not None:
            writes.features.add("odd spelling")
        statement = Statement(principal, "", [], is_write, ordered, loose, residual)
        return Drawn(tree, statement, frozenset(writes.features), spelling)
