"""What measures are made of: `sum(table["Quantity"] * table["Price"])`, and arithmetic over measures."""

from __future__ import annotations

from typing import Any, Union

from .conditions import Operand, quoted

Number = Union[int, float]


class RowExpression:
    """Arithmetic over the columns of one row."""

    def sql(self) -> str:
        raise NotImplementedError

    def plain_column(self) -> str | None:
        """The column's name, when it is nothing but one."""
        return None

    def tables(self) -> set[str]:
        """The tables whose columns are in it."""
        return set()

    def __add__(self, other: Any) -> RowExpression:
        return RowArithmetic(self, "+", row_side(other))

    def __radd__(self, other: Any) -> RowExpression:
        return RowArithmetic(row_side(other), "+", self)

    def __sub__(self, other: Any) -> RowExpression:
        return RowArithmetic(self, "-", row_side(other))

    def __rsub__(self, other: Any) -> RowExpression:
        return RowArithmetic(row_side(other), "-", self)

    def __mul__(self, other: Any) -> RowExpression:
        return RowArithmetic(self, "*", row_side(other))

    def __rmul__(self, other: Any) -> RowExpression:
        return RowArithmetic(row_side(other), "*", self)

    def __truediv__(self, other: Any) -> RowExpression:
        return RowArithmetic(self, "/", row_side(other))

    def __rtruediv__(self, other: Any) -> RowExpression:
        return RowArithmetic(row_side(other), "/", self)


class RowArithmetic(RowExpression):
    def __init__(self, left: RowExpression, sign: str, right: RowExpression) -> None:
        self._left, self._sign, self._right = left, sign, right

    def sql(self) -> str:
        return f"({self._left.sql()} {self._sign} {self._right.sql()})"

    def tables(self) -> set[str]:
        return self._left.tables() | self._right.tables()


class Constant(RowExpression):
    def __init__(self, value: Number) -> None:
        self._value = value

    def sql(self) -> str:
        return number(self._value)


def row_side(value: Any) -> RowExpression:
    if isinstance(value, RowExpression):
        return value
    return Constant(checked_number(value))


def checked_number(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} is no number, and nothing to compute with here")
    return value


def number(value: Number) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("a number in an expression is finite")
    text = format(value, "f") if isinstance(value, float) else str(value)
    return f"({text})" if value < 0 else text


class MeasureExpression:
    """Something that a measure can be defined as."""

    def sql(self) -> str:
        """As part of an expression over measures."""
        raise TypeError("name this figure first: m['Name'] = ..., then compute with m['Name']")

    def definition(self) -> dict[str, Any]:
        """The measure's entry in the cube's definition."""
        return {"expression": self.sql()}

    def tables(self) -> set[str]:
        """The tables whose columns are in it: figures are of the table of facts alone."""
        return set()

    def described(
        self,
        *,
        format: str | None = None,
        caption: str | None = None,
        description: str | None = None,
    ) -> MeasureExpression:
        """The same with a format (`0.00`), a caption, a description."""
        more = {"format": format, "caption": caption, "description": description}
        return Described(self, {name: text for name, text in more.items() if text is not None})

    def __add__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(self, "+", measure_side(other))

    def __radd__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(measure_side(other), "+", self)

    def __sub__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(self, "-", measure_side(other))

    def __rsub__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(measure_side(other), "-", self)

    def __mul__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(self, "*", measure_side(other))

    def __rmul__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(measure_side(other), "*", self)

    def __truediv__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(self, "/", measure_side(other))

    def __rtruediv__(self, other: Any) -> MeasureExpression:
        return MeasureArithmetic(measure_side(other), "/", self)


class Aggregated(MeasureExpression):
    """A figure over rows."""

    def __init__(self, function: str, argument: str | dict[str, Any], tables: set[str]) -> None:
        self._function, self._argument, self._tables = function, argument, tables

    def tables(self) -> set[str]:
        return self._tables

    def definition(self) -> dict[str, Any]:
        return {self._function: self._argument}


class Share(MeasureExpression):
    def __init__(self, measure: Measure, of: str) -> None:
        self._measure, self._of = measure, of

    def definition(self) -> dict[str, Any]:
        return {"share": self._measure.name, "of": self._of}


class Described(MeasureExpression):
    def __init__(self, inner: MeasureExpression, more: dict[str, str]) -> None:
        self._inner, self._more = inner, more

    def definition(self) -> dict[str, Any]:
        return {**self._inner.definition(), **self._more}

    def tables(self) -> set[str]:
        return self._inner.tables()


class MeasureArithmetic(MeasureExpression):
    def __init__(self, left: MeasureExpression, sign: str, right: MeasureExpression) -> None:
        self._left, self._sign, self._right = left, sign, right

    def sql(self) -> str:
        return f"({self._left.sql()} {self._sign} {self._right.sql()})"

    def definition(self) -> dict[str, Any]:
        return {"expression": self.sql()[1:-1]}


class MeasureNumber(MeasureExpression):
    def __init__(self, value: Number) -> None:
        self._value = value

    def sql(self) -> str:
        return number(self._value)


def measure_side(value: Any) -> MeasureExpression:
    if isinstance(value, MeasureExpression):
        return value
    return MeasureNumber(checked_number(value))


class Measure(MeasureExpression, Operand):
    """A measure of a cube, as its description has it."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.name = str(description["name"])
        self.caption = str(description.get("caption") or self.name)
        self.description = description.get("description")
        self.format = description.get("format")
        self.type = str(description.get("type", ""))

    def sql(self) -> str:
        return quoted(self.name)

    def wire_name(self) -> str:
        return self.name

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Measure({self.name!r})"


def aggregated(function: str, of: RowExpression) -> MeasureExpression:
    if not isinstance(of, RowExpression):
        raise TypeError(
            f"{function} is of a column or an expression over columns: {function}(table['Quantity'])"
        )
    column = of.plain_column()
    return Aggregated(function, of.sql() if column is None else column, of.tables())


def sum(of: RowExpression) -> MeasureExpression:
    """The sum; nulls are left out, here and below."""
    return aggregated("sum", of)


def mean(of: RowExpression) -> MeasureExpression:
    return aggregated("mean", of)


def min(of: RowExpression) -> MeasureExpression:
    return aggregated("min", of)


def max(of: RowExpression) -> MeasureExpression:
    return aggregated("max", of)


def count(of: RowExpression) -> MeasureExpression:
    """How many rows have a value."""
    return aggregated("count", of)


def count_distinct(of: RowExpression) -> MeasureExpression:
    return aggregated("count_distinct", of)


def median(of: RowExpression) -> MeasureExpression:
    """Where the source has it."""
    return aggregated("median", of)


def quantile(of: RowExpression, q: float) -> MeasureExpression:
    """The value below which a part `q` of all lies, from 0 to 1; where the source has it."""
    column = of.plain_column()
    argument = {"column": of.sql() if column is None else column, "q": q}
    return Aggregated("quantile", argument, of.tables())


def share(measure: Measure, of: str = "total") -> MeasureExpression:
    """A measure's share of its `total`, or of its `parent`."""
    if of not in ("total", "parent"):
        raise ValueError("a share is of the `total` or of the `parent`")
    return Share(measure, of)
