"""What a cube should answer, computed from rows in plain Python, in another way than the statement does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

NO_MEMBER = "N/A"

Row = dict[str, Any]
# A table and a column of it.
Column = tuple[str, str]


@dataclass
class Table:
    """A table: its columns with their kinds of values, and its rows."""

    name: str
    kinds: dict[str, str]
    rows: list[Row]
    key: str


@dataclass
class Cube:
    """What is known of a cube: its joins (table to the column of the facts) and its hierarchies."""

    facts: str
    joins: dict[str, str]
    hierarchies: dict[str, list[Column]]
    # Hierarchies of one level that nobody wrote down.
    automatic: list[Column] = field(default_factory=list)

    def groups(self) -> list[frozenset[Column]]:
        """Its hierarchies, as sets of columns."""
        return [frozenset(levels) for levels in self.hierarchies.values()] + [
            frozenset([column]) for column in self.automatic
        ]


@dataclass
class Restriction:
    """What a role may see of a column."""

    role: str
    column: Column
    values: list[Any]


class World:
    """Tables, restrictions, and the cubes that say how restrictions merge."""

    def __init__(self, tables: Iterable[Table], restrictions: list[Restriction]) -> None:
        self.tables = {table.name: table for table in tables}
        self.restrictions = restrictions
        self.cubes: list[Cube] = []

    def standing(self, column: Column) -> Any:
        """Columns of equal standing are alternatives to each other; one in no hierarchy is by itself."""
        groups = [group for cube in self.cubes for group in cube.groups()]
        holding = frozenset(index for index, group in enumerate(groups) if column in group)
        return holding or column

    def sees(self, roles: Iterable[str], table: str, row: Row) -> bool:
        """Whether somebody with these roles sees a row of a table, facts and their partners apart."""
        merged: dict[Any, bool] = {}
        for restriction in self.restrictions:
            if restriction.role in roles and restriction.column[0] == table:
                standing = self.standing(restriction.column)
                allowed = row[restriction.column[1]] in restriction.values
                merged[standing] = merged.get(standing, False) or allowed
        return all(merged.values())

    def facts(self, roles: list[str], cube: Cube) -> list[Row]:
        """The facts that are seen, each with its partners' columns as `table.column`."""
        joins = {join for other in self.cubes if other.facts == cube.facts for join in other.joins.items()}
        restricted = {restriction.column[0] for restriction in self.restrictions if restriction.role in roles}
        partners = {
            name: {row[self.tables[name].key]: row for row in self.tables[name].rows} for name, _ in joins
        }
        seen = []
        for row in self.tables[cube.facts].rows:
            if not self.sees(roles, cube.facts, row):
                continue
            found = {name: partners[name].get(row[column]) for name, column in joins}
            hidden = any(
                name in restricted and (partner is None or not self.sees(roles, name, partner))
                for name, partner in found.items()
            )
            if hidden:
                continue
            joined = {f"{cube.facts}.{name}": value for name, value in row.items()}
            for name in cube.joins:
                partner = found[name] or {}
                joined |= {f"{name}.{column}": partner.get(column) for column in self.tables[name].kinds}
            seen.append(joined)
        return seen

    def kind(self, column: Column) -> str:
        return self.tables[column[0]].kinds[column[1]]

    def member(self, row: Row, column: Column) -> Any:
        """The member of a fact."""
        value = row[".".join(column)]
        return NO_MEMBER if value is None and self.kind(column) == "text" else value


# Measures: from the facts of a row to a value.


def values(rows: list[Row], of: Callable[[Row], Any]) -> list[Any]:
    return [value for value in map(of, rows) if value is not None]


def total(rows: list[Row], of: Callable[[Row], Any]) -> Any:
    found = values(rows, of)
    return sum(found[1:], found[0]) if found else None


def mean(rows: list[Row], of: Callable[[Row], Any]) -> Any:
    found = values(rows, of)
    return quotient(sum(found[1:], found[0]), len(found)) if found else None


def median(rows: list[Row], of: Callable[[Row], Any]) -> Any:
    found = sorted(float(value) for value in values(rows, of))
    if not found:
        return None
    middle = (len(found) - 1) / 2
    low, part = int(middle), middle - int(middle)
    return found[low] + (found[min(low + 1, len(found) - 1)] - found[low]) * part


def quotient(left: Any, right: Any) -> Any:
    """Null by zero and by null, and never of whole numbers."""
    if left is None or right is None or right == 0:
        return None
    if isinstance(left, float) or isinstance(right, float):
        return float(left) / float(right)
    return Decimal(left) / Decimal(right)


# Conditions, with SQL's three values.


def both(results: Iterable[bool | None]) -> bool | None:
    results = list(results)
    return False if False in results else None if None in results else True


def holds(condition: Any, value_of: Callable[[str, str], Any]) -> bool | None:
    """Whether a condition of a request holds; `value_of` is given a field and what is asked of it."""
    if isinstance(condition, list):
        return both(holds(part, value_of) for part in condition)
    if "and" in condition:
        return both(holds(part, value_of) for part in condition["and"])
    if "or" in condition:
        inverse = both(negated(holds(part, value_of)) for part in condition["or"])
        return negated(inverse)
    if "not" in condition:
        return negated(holds(condition["not"], value_of))
    operator, asked = condition["op"], condition["value"]
    value = value_of(condition["field"], operator)
    if operator == "is_null":
        return bool((value is None) == asked)
    if operator in ("in", "not_in") and not asked:
        return bool(operator == "not_in")
    if value is None:
        return None
    return TESTS[operator](value, asked)


def negated(result: bool | None) -> bool | None:
    return None if result is None else not result


TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, asked: value == asked,
    "ne": lambda value, asked: value != asked,
    "lt": lambda value, asked: value < asked,
    "lte": lambda value, asked: value <= asked,
    "gt": lambda value, asked: value > asked,
    "gte": lambda value, asked: value >= asked,
    "in": lambda value, asked: value in asked,
    "not_in": lambda value, asked: value not in asked,
    "contains": lambda value, asked: asked in value,
    "startswith": lambda value, asked: value.startswith(asked),
    "endswith": lambda value, asked: value.endswith(asked),
    "between": lambda value, asked: asked[0] <= value <= asked[1],
}
