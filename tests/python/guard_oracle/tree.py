"""Statements as trees of text that know which of their parts can be left out."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Param:
    """A value that goes beside the text. Its number is given when the tree is printed."""

    value: str | None


@dataclass(slots=True)
class Node:
    """A part of a statement. What may be left out, or replaced, is for minimising."""

    parts: "list[str | Param | Node]"
    # Expressions: may be replaced by a literal, or by a part of the same kind.
    kind: str = ""
    optional: bool = False
    # The parts are items; all but so many may go.
    least: int = -1
    separator: str = " "


Part = str | Param | Node


def clause(*parts: Part) -> Node:
    """A part that may be left out."""
    return Node([*parts], optional=True)


def items(parts: list[Part], separator: str = ", ", least: int = 1) -> Node:
    """A list of which items may be left out."""
    return Node(parts, separator=separator, least=least)


def expression(kind: str, *parts: Part) -> Node:
    return Node([*parts], kind=kind)


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, upper ones first."""
    level = [node]
    while level:
        yield from level
        level = [part for above in level for part in above.parts if isinstance(part, Node)]


def printed(node: Node) -> tuple[str, list[str | None]]:
    """The statement's text and its parameters."""
    values: list[str | None] = []

    def text(part: Part) -> str:
        if isinstance(part, str):
            return part
        if isinstance(part, Param):
            values.append(part.value)
            return f"${len(values)}"
        return part.separator.join(said for said in map(text, part.parts) if said)

    return text(node), values
