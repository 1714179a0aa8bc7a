"""Random expressions of a wanted kind."""

import random
import re
from dataclasses import dataclass, field

from guard_oracle.productions import (
    AGGREGATES,
    FRAMES,
    LITERALS,
    SCALARS,
    TOTAL_FRAMES,
    TOTAL_WINDOWS,
    TRAPS,
    TYPES,
    WINDOWS,
)
from guard_oracle.schema import Schema
from guard_oracle.tree import Node, Param, Part, clause, expression

HOLES = re.compile(r"(?<!\{)\{(\w+|=)\}(?!\})")

COMMON = ["int", "int", "int", "text", "text", "text", "num", "bool", "tstz", "date", "jsonb", "texts", "big"]


@dataclass
class Field:
    """Something with a name that an expression can use."""

    ref: Part
    kind: str
    # Where values like it come from.
    table: str = ""
    column: str = ""
    # The name that it has in `SELECT *`.
    name: str = ""


@dataclass
class Relation:
    """One entry of FROM."""

    alias: str
    fields: list[Field]
    # No two rows have the same values in these.
    key: list[Field] | None = None
    table: str = ""
    # `alias` stands for the whole row.
    has_row: bool = True


@dataclass
class Scope:
    """What an expression can use where it stands."""

    relations: list[Relation] = field(default_factory=list)
    # Set where only these may be used: under GROUP BY.
    grouped: list[Field] | None = None
    # And what the aggregates there range over.
    over: "Scope | None" = None
    outer: "Scope | None" = None
    windows: bool = False

    def fields(self) -> list[Field]:
        if self.grouped is not None:
            return self.grouped
        return [field for relation in self.relations for field in relation.fields]

    def key(self) -> list[Field] | None:
        """What tells all rows apart, when something does."""
        if self.grouped is not None or not self.relations:
            return None
        found: list[Field] = []
        for relation in self.relations:
            if relation.key is None:
                return None
            found += relation.key
        return found


@dataclass
class Query:
    """A query, and what it answers."""

    node: Node
    fields: list[tuple[str, str]]
    # The rows come in an order that leaves nothing open.
    ordered: bool = False
    # Which rows come is left open; only their number can be compared.
    loose: bool = False


class Expressions:
    """Draws expressions. What follows in the chain of classes draws FROM, queries and statements."""

    def __init__(self, schema: Schema, rng: random.Random) -> None:
        self.schema = schema
        self.rng = rng
        self.features: set[str] = set()
        self.may_use_params = True
        self.may_raise = False
        self.attack = 0.1
        self.budget = 0

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def expression(self, kind: str, scope: Scope, depth: int = 2) -> Node:
        """An expression of that kind."""
        self.budget -= 1
        if depth <= 0 or self.budget <= 0 or self.chance(0.3):
            return self.leaf(kind, scope)
        draw = self.rng.random()
        if scope.over is not None and draw < 0.45 and kind in AGGREGATES:
            return self.aggregate(kind, scope)
        if scope.windows and draw < 0.2 and (kind in WINDOWS or kind in TOTAL_WINDOWS):
            return self.window(kind, scope)
        if draw > 0.93 and depth > 1:
            return self.sub_query(kind, scope, depth)
        if draw > 0.90 and (row := self.whole_row(kind, scope)):
            return row
        if draw > 0.87 and kind == "int" and (trap := self.trap(scope)):
            return trap
        return self.fill(self.production(kind), kind, scope, depth - 1)

    def production(self, kind: str) -> str:
        found = self.rng.choice(SCALARS[kind])
        while found.startswith("!") and not self.may_raise:
            found = self.rng.choice(SCALARS[kind])
        if found.startswith("!"):
            self.features.add("may raise")
        return found.lstrip("!")

    def fill(self, template: str, kind: str, scope: Scope, depth: int) -> Node:
        """A production with its holes filled. `{=}` repeats the last one."""
        parts: list[Part] = []
        end = 0
        last: Part = ""
        wrapped = "(" if not template.endswith(")") or " " in template else ""
        for hole in HOLES.finditer(template):
            parts.append(template[end : hole.start()].replace("{{", "{").replace("}}", "}"))
            if hole[1] != "=":
                last = self.expression(hole[1], scope, depth)
            parts.append(last)
            end = hole.end()
        parts.append(template[end:].replace("{{", "{").replace("}}", "}"))
        if wrapped:
            parts = ["(", *parts, ")"]
        return Node(parts, kind=kind, separator="")

    def leaf(self, kind: str, scope: Scope) -> Node:
        """A column, or a literal."""
        fields = [field for field in scope.fields() if field.kind == kind]
        if scope.outer is not None and (not fields or self.chance(0.15)):
            further = [field for field in scope.outer.fields() if field.kind == kind]
            if further and self.chance(0.6):
                self.features.add("correlated")
                fields = further
        if fields and self.chance(0.85):
            return expression(kind, self.rng.choice(fields).ref)
        if scope.over is not None and kind in AGGREGATES and self.chance(0.6):
            return self.aggregate(kind, scope)
        return self.literal(kind, scope)

    def literal(self, kind: str, scope: Scope | None = None) -> Node:
        """A value in the text, or beside it."""
        value: str | None = None
        fields = [field for field in scope.fields() if field.kind == kind and field.table] if scope else []
        if fields and self.chance(0.6):
            like = self.rng.choice(fields)
            value = self.schema.value(self.rng, like.table, like.column, attack=self.attack)
        if value is None and self.chance(0.04):
            return expression(kind, f"NULL::{TYPES[kind]}")
        if self.may_use_params and kind not in ("tsvector", "interval") and self.chance(0.12):
            self.features.add("parameters")
            if value is None and kind in ("int", "text"):
                value = {"int": "3", "text": "eng"}[kind]
            if value is not None:
                cast = "" if kind == "text" and self.chance(0.2) else f"::{TYPES[kind]}"
                return expression(kind, Node([Param(value), cast], separator=""))
        said = constant(value, kind, self.rng) if value is not None else self.rng.choice(LITERALS[kind])
        if kind == "text" and self.chance(0.5 if scope else 0.1):
            said += "::text"
        return expression(kind, said)

    def aggregate(self, kind: str, scope: Scope) -> Node:
        """An aggregate over the rows of a group."""
        assert scope.over is not None
        self.features.add("aggregate")
        inner = Scope(scope.over.relations)
        template = self.rng.choice(AGGREGATES[kind])
        for word in ("DISTINCT", "WITHIN GROUP", "ORDER BY"):
            if word in template:
                self.features.add(f"aggregate {word}")
        kept, self.may_use_params = self.may_use_params, False
        call = self.fill(template, kind, inner, self.rng.choice([0, 0, 1]))
        # Outer parentheses and casts can't come between a call and its FILTER.
        plain = template.startswith(
            ("count", "sum", "min", "max", "avg", "bool", "string_agg", "array_agg", "jsonb", "every")
        )
        if plain and self.chance(0.2):
            self.features.add("aggregate FILTER")
            if call.parts[0] == "(":
                call.parts = call.parts[1:-1]
            condition = self.expression("bool", inner, 1)
            call = expression(kind, "(", call, clause("FILTER (WHERE", condition, ")"), ")")
        self.may_use_params = kept
        return call

    def window(self, kind: str, scope: Scope) -> Node:
        """A window function."""
        self.features.add("window")
        key = scope.key() if self.chance(0.6) else None
        total = key is not None and kind in TOTAL_WINDOWS
        if not total and kind not in WINDOWS:
            return self.leaf(kind, scope)
        inner = Scope(scope.relations, scope.grouped, scope.over)
        template = self.rng.choice((TOTAL_WINDOWS if total else WINDOWS)[kind])
        round_about = template.startswith("round(avg")
        call = self.fill(
            template.removeprefix("round(").removesuffix(", 4)") if round_about else template, kind, inner, 0
        )
        if call.parts[0] == "(":
            call.parts = call.parts[1:-1]
        parts: list[Part] = []
        if self.chance(0.6):
            parts.append(clause("PARTITION BY", self.sortable(inner)))
        order: list[Part] = []
        if total and key:
            if self.chance(0.5):
                order.append(self.sorted_by(self.sortable(inner)))
            for position, column in enumerate(key):
                order += [", "] if position or order else []
                order.append(self.sorted_by(column.ref))
        elif self.chance(0.8) or template.endswith("rank()"):
            order.append(self.sorted_by(self.sortable(inner)))
        if order:
            frame = self.rng.choice(TOTAL_FRAMES if total else FRAMES)
            takes_frame = not template.startswith(("rank", "dense", "row_number", "lag", "lead", "ntile"))
            parts.append(Node(["ORDER BY ", *order], separator=""))
            if takes_frame and frame:
                self.features.add("window frame")
                parts.append(clause(frame))
        over = expression(kind, call, "OVER", "(", *parts, ")")
        return expression(kind, "round(", over, ", 4)") if round_about else over

    def sortable(self, scope: Scope) -> Node:
        """An expression to sort or partition by: never a bare literal, which would be a position."""
        fields = [field for field in scope.fields() if field.kind not in ("tsvector",)]
        if not fields:
            return self.fill("abs({int})", "int", scope, 0)
        chosen = self.rng.choice(fields)
        if chosen.kind == "text" and self.chance(0.3):
            return expression("text", "lower(", chosen.ref, ")")
        if chosen.kind == "int" and self.chance(0.3):
            return expression("int", "(", chosen.ref, "% 3 )")
        return expression(chosen.kind, chosen.ref)

    def sorted_by(self, what: Part) -> Node:
        direction = self.rng.choice(
            ["", "", "ASC", "DESC", "DESC NULLS LAST", "ASC NULLS FIRST", "NULLS FIRST"]
        )
        return Node([what, clause(direction)] if direction else [what])

    def whole_row(self, kind: str, scope: Scope) -> Node | None:
        """A row as one value."""
        if scope.grouped is not None:
            return None
        rows = [relation for relation in scope.relations if relation.has_row]
        templates = {
            "text": ["{}::text", "md5(CAST({} AS text))", "concat({}, '')", "format('%s', {})"],
            "jsonb": ["to_jsonb({})", "row_to_json({})::jsonb", "to_jsonb({}.*)", "to_json({})::jsonb"],
            "bool": [
                "{} IS NOT NULL",
                "({} IS NULL)",
                "({}) IS DISTINCT FROM NULL",
                "ROW({}.*) IS NULL",
                "{} = {}",
            ],
            "int": ["num_nulls({})", "num_nulls({}.*)"],
            "big": [],
        }.get(kind, [])
        if not rows or not templates:
            return None
        self.features.add("whole row")
        return expression(
            kind, "(", self.rng.choice(templates).replace("{}", self.rng.choice(rows).alias), ")"
        )

    def trap(self, scope: Scope) -> Node | None:
        """An expression that raises an error on invisible rows only."""
        if scope.grouped is not None:
            return None
        rows = [relation for relation in scope.relations if relation.table in TRAPS]
        if not rows:
            return None
        chosen = self.rng.choice(rows)
        self.features.add("trap")
        return expression("int", "(", self.rng.choice(TRAPS[chosen.table]).replace("{}", chosen.alias), ")")

    def sub_query(self, kind: str, scope: Scope, depth: int) -> Node:
        raise NotImplementedError


def constant(value: str, kind: str, rng: random.Random) -> str:
    """A value as a literal."""
    quoted = "'" + value.replace("'", "''") + "'"
    if kind == "int":
        return value if not value.startswith("-") else f"({value})"
    if kind == "num":
        return rng.choice([value, quoted + "::numeric"]) if not value.startswith("-") else f"({value})"
    if kind == "text":
        return quoted
    if kind == "bool":
        return value
    return f"{quoted}::{TYPES[kind]}"
