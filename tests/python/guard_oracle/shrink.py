"""Makes a statement smaller while what is wrong with it stays."""

import time
from collections.abc import Callable

from guard_oracle.tree import Node, Part, walk

Holds = Callable[[], bool]


def shrink(root: Node, holds: Holds, *, literals: dict[str, list[str]], seconds: float = 15.0) -> None:
    """Drops clauses and items, and replaces expressions by simpler ones, in place."""
    until = time.monotonic() + seconds
    changed = True
    while changed and time.monotonic() < until:
        changed = False
        for node in [*walk(root)]:
            if time.monotonic() > until:
                return
            changed |= drop(node, holds) or drop_items(node, holds) or replace(node, holds, literals)


def drop(node: Node, holds: Holds) -> bool:
    return node.optional and bool(node.parts) and attempt(node, [], holds)


def drop_items(node: Node, holds: Holds) -> bool:
    if node.least < 0:
        return False
    changed, index = False, 0
    while index < len(node.parts) and len(node.parts) > node.least:
        if attempt(node, node.parts[:index] + node.parts[index + 1 :], holds):
            changed = True
        else:
            index += 1
    return changed


def replace(node: Node, holds: Holds, literals: dict[str, list[str]]) -> bool:
    """An expression becomes a literal, or one of its own parts."""
    if not node.kind or (len(node.parts) == 1 and isinstance(node.parts[0], str)):
        return False
    plainest: list[Part] = [literals[node.kind][0]]
    if node.parts != plainest and attempt(node, plainest, holds):
        return True
    below = [part for part in walk(node) if part is not node and part.kind == node.kind]
    below = [part for part in below if node.parts != [part]]
    return any(attempt(node, [part], holds) for part in below[:6])


def attempt(node: Node, parts: list[Part], holds: Holds) -> bool:
    kept, separator = node.parts, node.separator
    node.parts = parts
    if holds():
        return True
    node.parts, node.separator = kept, separator
    return False
