"""Conditions: `table["City"] == "Paris"`, `level.isin("France", "Italy")`, put together with `&`, `|` and
`~`."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Union

OPERATORS = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


class Condition:
    """What is asked of rows. It is no truth value: use `&`, `|` and `~`, not `and`, `or` and `not`."""

    def to_wire(self) -> Any:
        """As the server's filters have it."""
        raise NotImplementedError

    def comparisons(self) -> list[Comparison]:
        """All comparisons in it."""
        raise NotImplementedError

    def to_sql(self) -> str:
        """As SQL over quoted columns, for what is kept as a text (restrictions)."""
        raise NotImplementedError

    def __and__(self, other: Condition) -> Condition:
        return Both("and", (*self._parts("and"), *checked(other)._parts("and")))

    def __or__(self, other: Condition) -> Condition:
        return Both("or", (*self._parts("or"), *checked(other)._parts("or")))

    def __invert__(self) -> Condition:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a condition has no truth value: put conditions together with &, | and ~, in parentheses"
        )

    def _parts(self, _word: str) -> tuple[Condition, ...]:
        return (self,)


@dataclass(frozen=True, eq=False)
class Comparison(Condition):
    """One operand compared with values."""

    operand: Operand
    op: str
    value: Any

    def to_wire(self) -> Any:
        return {"field": self.operand.wire_name(), "op": self.op, "value": self.value}

    def comparisons(self) -> list[Comparison]:
        return [self]

    def to_sql(self) -> str:
        name = quoted(self.operand.column_name())
        if self.op in OPERATORS:
            return f"{name} {OPERATORS[self.op]} {literal(self.value)}"
        if self.op in ("in", "not_in"):
            words = "NOT IN" if self.op == "not_in" else "IN"
            return f"{name} {words} ({', '.join(literal(value) for value in self.value)})"
        if self.op == "is_null":
            return f"{name} IS {'' if self.value else 'NOT '}NULL"
        if self.op == "between":
            return f"{name} BETWEEN {literal(self.value[0])} AND {literal(self.value[1])}"
        raise ValueError(f"`{self.op}` can't be kept in a restriction")


@dataclass(frozen=True, eq=False)
class Both(Condition):
    """Several conditions, of which all (`and`) or one (`or`) must hold."""

    word: str
    parts: tuple[Condition, ...]

    def to_wire(self) -> Any:
        return {self.word: [part.to_wire() for part in self.parts]}

    def comparisons(self) -> list[Comparison]:
        return [found for part in self.parts for found in part.comparisons()]

    def to_sql(self) -> str:
        return f" {self.word.upper()} ".join(f"({part.to_sql()})" for part in self.parts)

    def _parts(self, word: str) -> tuple[Condition, ...]:
        return self.parts if word == self.word else (self,)


@dataclass(frozen=True, eq=False)
class Not(Condition):
    """What must not hold. As in SQL, nothing but `is_null` is true of null, and its negation isn't either."""

    part: Condition

    def to_wire(self) -> Any:
        return {"not": self.part.to_wire()}

    def comparisons(self) -> list[Comparison]:
        return self.part.comparisons()

    def to_sql(self) -> str:
        return f"NOT ({self.part.to_sql()})"


class Operand:
    """What stands on the left of a comparison: a column, a level, a measure, a field of a model."""

    def wire_name(self) -> str:
        """What filters call it."""
        raise NotImplementedError

    def column_name(self) -> str:
        """The column's own name, for SQL."""
        raise ValueError("only columns of tables can be restricted")

    def __eq__(self, value: object) -> Any:
        if value is None:
            return Comparison(self, "is_null", True)
        return Comparison(self, "eq", value)

    def __ne__(self, value: object) -> Any:
        if value is None:
            return Comparison(self, "is_null", False)
        return Comparison(self, "ne", value)

    def __lt__(self, value: Any) -> Condition:
        return Comparison(self, "lt", value)

    def __le__(self, value: Any) -> Condition:
        return Comparison(self, "lte", value)

    def __gt__(self, value: Any) -> Condition:
        return Comparison(self, "gt", value)

    def __ge__(self, value: Any) -> Condition:
        return Comparison(self, "gte", value)

    # What is compared to make conditions is told apart by identity alone.
    __hash__ = object.__hash__

    def isin(self, *values: Any) -> Condition:
        """One of these; a list of them does, too."""
        return Comparison(self, "in", several(values))

    def notin(self, *values: Any) -> Condition:
        """None of these."""
        return Comparison(self, "not_in", several(values))

    def isnull(self) -> Condition:
        return Comparison(self, "is_null", True)

    def between(self, low: Any, high: Any) -> Condition:
        """Both ends count."""
        return Comparison(self, "between", [low, high])

    def contains(self, text: str) -> Condition:
        return Comparison(self, "contains", text)

    def startswith(self, text: str) -> Condition:
        return Comparison(self, "startswith", text)

    def endswith(self, text: str) -> Condition:
        return Comparison(self, "endswith", text)


def several(values: Sequence[Any]) -> list[Any]:
    if len(values) == 1 and isinstance(values[0], (list, tuple, set, frozenset)):
        return sorted(values[0]) if isinstance(values[0], (set, frozenset)) else list(values[0])
    return list(values)


def checked(condition: object) -> Condition:
    if not isinstance(condition, Condition):
        kind = type(condition).__name__
        raise TypeError(f"{kind} is no condition: put comparisons into parentheses, (a == 1) & (b == 2)")
    return condition


# What filters may be given as: a condition, or the server's own form.
Where = Union[Condition, Mapping[str, Any], Sequence[Any], None]


def where_of(where: Where) -> Any:
    """The server's form. A list means that all hold."""
    if where is None or isinstance(where, Mapping):
        return where
    if isinstance(where, Condition):
        return where.to_wire()
    return [where_of(part) for part in where]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value in SQL."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, decimal.Decimal)):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"a restriction can't hold a value of {type(value).__name__}")
