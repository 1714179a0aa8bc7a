"""Pictures made here, so that notebooks show them without a network: tables with joins, cubes as trees."""

from __future__ import annotations

import html
from dataclasses import dataclass

# Of a letter, at the size below. Wide enough for most; long names are cut in the picture alone.
LETTER, SIZE, HEIGHT, LONGEST = 7.2, 12, 18, 40
GAP, MARGIN, PER_ROW = 90, 12, 3


@dataclass(frozen=True)
class Entity:
    """A table: its columns are (type, name, is a key, may be null)."""

    name: str
    columns: list[tuple[str, str, bool, bool]]


@dataclass(frozen=True)
class Line:
    """A join from one entity's place to another's, and the columns that are equal."""

    start: int
    end: int
    on: list[tuple[str, str]]


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float


class Diagram:
    """Entities and lines. `print()` it for Mermaid's `erDiagram`; a notebook draws it."""

    def __init__(self, entities: list[Entity], lines: list[Line]) -> None:
        self._entities, self._lines = entities, lines

    @property
    def mermaid(self) -> str:
        """The text of the diagram, for https://mermaid.js.org."""
        text = ["erDiagram"]
        for entity in self._entities:
            text.append(f"  {named(entity.name)} {{")
            for kind, name, is_key, nullable in entity.columns:
                bare = kind.split("(")[0].strip()
                word = "".join(letter if letter.isalnum() else "-" for letter in bare) or "unknown"
                mark = " PK" if is_key else ""
                text.append(
                    f"    _ {'nullable ' if nullable and not is_key else ''}{word}{mark} {named(name)}"
                )
            text.append("  }")
        for line in self._lines:
            start, end = self._entities[line.start].name, self._entities[line.end].name
            text.append(f"  {named(start)} }}o--o| {named(end)} : {named(equal(line))}")
        return "\n".join(text)

    def __str__(self) -> str:
        return self.mermaid

    def __repr__(self) -> str:
        return f"<Diagram: {len(self._entities)} tables, {len(self._lines)} joins>"

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto">{self.svg()}</div>'

    def svg(self) -> str:
        """The picture."""
        boxes = self._boxes()
        width = max((box.x + box.width for box in boxes), default=0) + MARGIN
        height = max((box.y + box.height for box in boxes), default=0) + (GAP / 2 if self._lines else MARGIN)
        parts = [self._line(line, boxes) for line in self._lines]
        parts += [entity_svg(entity, box) for entity, box in zip(self._entities, boxes)]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="{SIZE}">'
            f"<title>Tables and joins</title>{''.join(parts)}</svg>"
        )

    def _boxes(self) -> list[Box]:
        """Rows of boxes, each as wide as its longest line."""
        boxes: list[Box] = []
        x, y, lowest = float(MARGIN), float(MARGIN), 0.0
        for place, entity in enumerate(self._entities):
            if place and place % PER_ROW == 0:
                x, y = float(MARGIN), lowest + GAP / 2
            longest = max([len(entity.name), *(len(label(column)) for column in entity.columns)])
            width = min(longest, LONGEST) * LETTER + 2 * MARGIN
            height = (len(entity.columns) + 1) * HEIGHT + 6
            boxes.append(Box(x, y, width, height))
            x += width + GAP
            lowest = max(lowest, y + height)
        return boxes

    def _line(self, line: Line, boxes: list[Box]) -> str:
        """Straight between neighbours, below what stands in between otherwise."""
        start, end = boxes[line.start], boxes[line.end]
        if line.end == line.start + 1 and start.y == end.y:
            y = start.y + HEIGHT / 2
            path = f"M{start.x + start.width:.0f} {y:.0f} L{end.x:.0f} {y:.0f}"
            x2, y2 = end.x, y
        else:
            x1, x2 = start.x + start.width / 2, end.x + end.width / 2
            y1 = start.y if end.y < start.y else start.y + start.height
            y2 = end.y if end.y > start.y else end.y + end.height
            low = max(y1, y2) + GAP / 2 - 8 if start.y == end.y else (y1 + y2) / 2
            path = f"M{x1:.0f} {y1:.0f} C{x1:.0f} {low:.0f} {x2:.0f} {low:.0f} {x2:.0f} {y2:.0f}"
        return (
            f'<path d="{path}" stroke="#666" fill="none"><title>{html.escape(equal(line))}</title></path>'
            f'<circle cx="{x2:.0f}" cy="{y2:.0f}" r="3" fill="#666"/>'
        )


def entity_svg(entity: Entity, box: Box) -> str:
    """A box with a heading and a line for each column."""
    parts = [
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" '
        'fill="#fff" stroke="#666" rx="3"/>',
        f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{HEIGHT}" fill="#e8eef7" '
        'stroke="#666" rx="3"/>',
        text_svg(entity.name, box.x + MARGIN, box.y + 13, "bold"),
    ]
    for place, column in enumerate(entity.columns):
        weight = "bold" if column[2] else "normal"
        parts.append(text_svg(label(column), box.x + MARGIN, box.y + (place + 2) * HEIGHT - 3, weight))
    return f"<g>{''.join(parts)}</g>"


def text_svg(text: str, x: float, y: float, weight: str) -> str:
    shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    title = f"<title>{html.escape(text)}</title>" if shown != text else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-weight="{weight}" fill="#222">{html.escape(shown)}{title}</text>'
    )


def label(column: tuple[str, str, bool, bool]) -> str:
    kind, name, is_key, nullable = column
    return f"{name}: {kind}{'?' if nullable and not is_key else ''}{' (key)' if is_key else ''}"


def equal(line: Line) -> str:
    return " & ".join(f"`{here}` == `{there}`" for here, there in line.on)


def named(text: str) -> str:
    """A name inside quotes; Mermaid has no way to write a quote, or a new line, in one."""
    return '"' + text.replace('"', "'").replace("\n", " ") + '"'


def tree(name: str, branches: list[tuple[str, list[str]]]) -> str:
    """A heading with branches and leaves, for a notebook."""
    parts = []
    for branch, leaves in branches:
        inside = "".join(f"<li>{html.escape(leaf)}</li>" for leaf in leaves)
        parts.append(f"<li><b>{html.escape(branch)}</b><ul>{inside}</ul></li>")
    return f"<div><b>{html.escape(name)}</b><ul>{''.join(parts)}</ul></div>"
