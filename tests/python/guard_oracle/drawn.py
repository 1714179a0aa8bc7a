"""A statement that was drawn, with the tree that it was printed from."""

import random
from dataclasses import dataclass

from guard_oracle.judge import Statement
from guard_oracle.spelling import respelt
from guard_oracle.tree import Node, printed


@dataclass
class Drawn:
    """It can be made smaller by its tree."""

    tree: Node
    statement: Statement
    features: frozenset[str]
    # How the text was respelt.
    spelling: int | None = None

    def __post_init__(self) -> None:
        self.statement = self.reprinted()

    def reprinted(self) -> Statement:
        """The statement as its tree is now."""
        sql, params = printed(self.tree)
        if self.spelling is not None:
            sql = respelt(sql, random.Random(self.spelling))
        said = self.statement
        return Statement(said.principal, sql, params, said.writes, said.ordered, said.loose, said.residual)
