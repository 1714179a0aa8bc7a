"""Cubes: what they are made of, the plans that change and ask them, and their answers as frames."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

from .conditions import Operand, Where, where_of
from .connection import Connection
from .drawing import tree
from .errors import RingfenceError, UnexpectedAnswer
from .exchange import Plan, Request
from .frames import SHOWN, Tabular, html_table, library, to_pandas
from .measures import Measure, MeasureExpression
from .tables import Column, TableBase

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

T = TypeVar("T")

TOTAL = "Total"
# What cubes call types that databases call otherwise: their times are moments and days.
CUBE_TYPES = {"time": "moment", "float": "float8", "decimal": "numeric"}
# The member of facts that have no partner in a joined table.
NO_MEMBER = "N/A"


class Level(Operand):
    """A level of a hierarchy: ask by it, filter on it."""

    def __init__(self, hierarchy: str, description: Mapping[str, Any], *, is_unique: bool) -> None:
        self.hierarchy = hierarchy
        self.name = str(description["name"])
        self.caption = str(description.get("caption") or self.name)
        self.table = description.get("table")
        self.column = description.get("column")
        self.type = str(description.get("type", ""))
        self._is_unique = is_unique

    def wire_name(self) -> str:
        return self.name if self._is_unique else f"{self.hierarchy}.{self.name}"

    def reference(self) -> dict[str, str]:
        """How queries name it."""
        return {"hierarchy": self.hierarchy, "level": self.name}

    def __repr__(self) -> str:
        return f"Level({self.hierarchy!r}, {self.name!r})"


class Hierarchy:
    """Levels from the coarse to the fine. `levels` are by name, in this order."""

    def __init__(self, name: str, caption: str, levels: Sequence[Level]) -> None:
        self.name, self.caption = name, caption
        self.levels: dict[str, Level] = {level.name: level for level in levels}

    def __getitem__(self, name: str) -> Level:
        return found(self.levels, name, "level", self.name)

    def __repr__(self) -> str:
        return f"Hierarchy({self.name!r}, {list(self.levels)})"


def found(things: Mapping[str, T], name: str, kind: str, where: str) -> T:
    try:
        return things[name]
    except KeyError:
        raise KeyError(f"{where} has no {kind} {name!r}: {', '.join(things) or 'none for you'}") from None


LevelName = Union[str, tuple[str, str], Level]
Expression = Union[MeasureExpression, Mapping[str, Any]]


class Levels:
    """All levels of a cube: `levels["City"]`, or `levels["Geography", "City"]` where several hierarchies
    have one."""

    def __init__(self, hierarchies: Mapping[str, Hierarchy]) -> None:
        self._hierarchies = hierarchies

    def __getitem__(self, name: str | tuple[str, str]) -> Level:
        if isinstance(name, tuple):
            hierarchy, level = name
            return found(self._hierarchies, hierarchy, "hierarchy", "the cube")[level]
        matching = [level for level in self if level.name == name]
        if len(matching) > 1:
            # A hierarchy of one level that is called like it is what somebody means by the bare name.
            several = ", ".join(repr((level.hierarchy, level.name)) for level in matching)
            raise KeyError(f"{name!r} is a level of several hierarchies: levels[...] with one of {several}")
        if not matching:
            names = ", ".join(dict.fromkeys(level.name for level in self))
            raise KeyError(f"the cube has no level {name!r}: {names or 'none for you'}")
        return matching[0]

    def __iter__(self) -> Iterator[Level]:
        for hierarchy in self._hierarchies.values():
            yield from hierarchy.levels.values()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(level.name == name or (level.hierarchy, level.name) == name for level in self)

    def __repr__(self) -> str:
        return f"<Levels: {', '.join(f'{level.hierarchy}.{level.name}' for level in self)}>"


class Named(Generic[T]):
    """Things of a cube by name, in its order."""

    kind = "thing"

    def __init__(self, cube: CubeBase) -> None:
        self._cube = cube

    def _things(self) -> Mapping[str, T]:
        raise NotImplementedError

    def __getitem__(self, name: str) -> T:
        return found(self._things(), name, self.kind, self._cube.name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._things())

    def __len__(self) -> int:
        return len(self._things())

    def __contains__(self, name: object) -> bool:
        return name in self._things()

    def keys(self) -> list[str]:
        return list(self._things())

    def values(self) -> list[T]:
        return list(self._things().values())

    def items(self) -> list[tuple[str, T]]:
        return list(self._things().items())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self)}>"


class HierarchiesBase(Named[Hierarchy]):
    kind = "hierarchy"

    def _things(self) -> Mapping[str, Hierarchy]:
        return self._cube.known_hierarchies

    def _repr_html_(self) -> str:
        return tree("Hierarchies", [(name, list(one.levels)) for name, one in self.items()])


class MeasuresBase(Named[Measure]):
    kind = "measure"

    def _things(self) -> Mapping[str, Measure]:
        return self._cube.known_measures

    def _repr_html_(self) -> str:
        rows = [[one.name, one.type, one.format or "", one.description or ""] for one in self.values()]
        return html_table(["measure", "type", "format", "description"], rows, headers=1)


class CubeBase:
    """A cube as the caller sees it. Changes of hierarchies and measures are put to the server at once."""

    def __init__(self, connection: Connection, description: Mapping[str, Any]) -> None:
        self._connection = connection
        self.known_hierarchies: dict[str, Hierarchy] = {}
        self.known_measures: dict[str, Measure] = {}
        self._describe(description)

    def _describe(self, description: Mapping[str, Any]) -> None:
        self.name = str(description["name"])
        self.caption = str(description.get("caption") or self.name)
        self.description: str | None = description.get("description")
        self.table: str | None = description.get("table")
        names = [level["name"] for one in description["hierarchies"] for level in one["levels"]]
        self.known_hierarchies = {
            one["name"]: Hierarchy(
                one["name"],
                str(one.get("caption") or one["name"]),
                [
                    Level(one["name"], level, is_unique=names.count(level["name"]) == 1)
                    for level in one["levels"]
                ],
            )
            for one in description["hierarchies"]
        }
        self.known_measures = {one["name"]: Measure(one) for one in description["measures"]}

    @property
    def levels(self) -> Levels:
        return Levels(self.known_hierarchies)

    def refresh_plan(self) -> Plan[None]:
        """What the cube is for the caller now."""
        address = yield from self._connection.path("cubes", self.name)
        self._describe((yield from self._connection.caller.fetch(Request("GET", address, repeatable=True))))

    def definition_plan(self) -> Plan[dict[str, Any]]:
        address = yield from self._connection.path("cubes", self.name, "definition")
        answer = yield from self._connection.caller.fetch(Request("GET", address, repeatable=True))
        return json_document(self.name, str(answer["document"]))

    def change_plan(self, edit: Callable[[dict[str, Any]], None]) -> Plan[None]:
        """Reads the definition, changes it, puts it back, and looks at what the cube is now."""
        document = copy.deepcopy((yield from self.definition_plan()))
        edit(document)
        yield from put_plan(self._connection, self.name, document)
        yield from self.refresh_plan()

    def set_hierarchy_plan(self, name: str, levels: Sequence[Column | Level]) -> Plan[None]:
        made = [level_entry(level) for level in levels]

        def edit(document: dict[str, Any]) -> None:
            document.setdefault("hierarchies", {})[name] = made
            wanted(document, "hierarchies", name)

        yield from self.change_plan(edit)

    def delete_hierarchy_plan(self, name: str) -> Plan[None]:
        yield from self._delete_plan("hierarchies", name, lambda: name in self.known_hierarchies)

    def set_measure_plan(self, name: str, expression: Expression) -> Plan[None]:
        made = measure_entry(expression, self.table)

        def edit(document: dict[str, Any]) -> None:
            document.setdefault("measures", {})[name] = made
            wanted(document, "measures", name)

        yield from self.change_plan(edit)

    def delete_measure_plan(self, name: str) -> Plan[None]:
        yield from self._delete_plan("measures", name, lambda: name in self.known_measures)

    def _delete_plan(self, kind: str, name: str, is_there: Callable[[], bool]) -> Plan[None]:
        """A given one is taken out; an automatic one, perhaps of the same name, is said not to be wanted."""
        if not is_there():
            raise KeyError(name)
        was_given = False

        def take_out(document: dict[str, Any]) -> None:
            nonlocal was_given
            was_given = document.get(kind, {}).pop(name, None) is not None
            if not was_given:
                unwanted(document, kind, name)

        yield from self.change_plan(take_out)
        if was_given and is_there():
            yield from self.change_plan(lambda document: unwanted(document, kind, name))

    def drop_plan(self) -> Plan[None]:
        address = yield from self._connection.path("cubes", self.name)
        yield from self._connection.caller.ask(Request("DELETE", address, repeatable=True))

    def cells_plan(
        self,
        measures: Sequence[Measure | str],
        levels: Sequence[LevelName],
        filter: Where,
        more: Mapping[str, Any],
    ) -> Plan[Cells]:
        body: dict[str, Any] = {
            "measures": [measure_name(measure) for measure in measures],
            "levels": [self._level(level) for level in levels],
        }
        if filter is not None:
            body["filter"] = where_of(filter)
        body.update({name: value for name, value in more.items() if value not in (None, False)})
        if "order" in body:
            body["order"] = [order_entry(one) for one in body["order"]]
        address = yield from self._connection.path("cubes", self.name, "query")
        request = Request("POST", address, json=body, repeatable=True)
        return Cells((yield from self._connection.caller.fetch(request)))

    def _level(self, level: LevelName) -> dict[str, str]:
        return level.reference() if isinstance(level, Level) else self.levels[level].reference()

    def __repr__(self) -> str:
        lines = [f"Cube {self.name}"]
        for hierarchy in self.known_hierarchies.values():
            lines.append(f"  {hierarchy.name}: {' > '.join(hierarchy.levels)}")
        lines.append(f"  measures: {', '.join(self.known_measures)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        branches = [
            (f"{name} (hierarchy)", list(hierarchy.levels))
            for name, hierarchy in self.known_hierarchies.items()
        ]
        return tree(f"Cube {self.name}", [*branches, ("Measures", list(self.known_measures))])


class CubesBase:
    """How cubes are found and made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def descriptions_plan(self) -> Plan[dict[str, dict[str, Any]]]:
        address = yield from self._connection.path("cubes")
        listed = yield from self._connection.caller.fetch(Request("GET", address, repeatable=True))
        return {str(one["name"]): one for one in listed["items"]}

    def description_plan(self, name: str) -> Plan[dict[str, Any]]:
        address = yield from self._connection.path("cubes", name)
        one: dict[str, Any] = yield from self._connection.caller.fetch(
            Request("GET", address, repeatable=True)
        )
        return one


def create_plan(
    connection: Connection, table: TableBase, name: str | None, more: Mapping[str, Any], *, auto: bool
) -> Plan[dict[str, Any]]:
    """A cube over a table and all that is joined to it; gives its description."""
    document: dict[str, Any] = {"table": table.full_name, "auto": auto}
    joins = []
    for join in table.reached():
        entry: dict[str, Any] = {"table": join.other.full_name, "on": dict(join.on)}
        if join.unique:
            entry["unique"] = True
        if join.table is not table:
            entry["from"] = join.table.full_name
        joins.append(entry)
    if joins:
        document["joins"] = joins
    hierarchies, measures = more.get("hierarchies"), more.get("measures")
    if hierarchies:
        document["hierarchies"] = {
            title: [level_entry(level) for level in levels] for title, levels in hierarchies.items()
        }
    if measures:
        document["measures"] = {title: measure_entry(one, table.name) for title, one in measures.items()}
    for word in ("caption", "description"):
        if more.get(word) is not None:
            document[word] = more[word]
    called = name or table.name
    yield from put_plan(connection, called, document)
    return (yield from CubesBase(connection).description_plan(called))


def json_document(name: str, text: str) -> dict[str, Any]:
    """A definition that can be changed from here. One in YAML has comments, which would be lost."""
    try:
        document = json.loads(text)
    except ValueError:
        raise RingfenceError(
            f"the cube {name!r} is kept as YAML: change it with `ringfence cubes apply`, or make it anew here"
        ) from None
    if not isinstance(document, dict):
        raise UnexpectedAnswer(f"the definition of {name!r} is no object")
    return document


def put_plan(connection: Connection, name: str, document: Mapping[str, Any]) -> Plan[None]:
    address = yield from connection.path("cubes", name)
    yield from connection.caller.ask(Request("PUT", address, json=dict(document), repeatable=True))


def level_entry(level: Column | Level) -> dict[str, Any]:
    if isinstance(level, Column):
        return {"level": level.name, "table": level.table.full_name, "column": level.name}
    if isinstance(level, Level):
        return {"level": level.name, "table": level.table, "column": level.column}
    raise TypeError("a hierarchy is a list of columns, table['Country'], or of levels")


def measure_entry(expression: Expression, facts: str | None) -> dict[str, Any]:
    """`facts` is the cube's table, perhaps with its schema. A column elsewhere may have a namesake there."""
    if isinstance(expression, MeasureExpression):
        for table in expression.tables():
            if facts is not None and facts != table and not facts.endswith((f".{table}", f'."{table}"')):
                raise ValueError(f"measures are over columns of {facts}: one of {table} is a level")
        return expression.definition()
    if isinstance(expression, Mapping):
        return dict(expression)
    raise TypeError("a measure is an expression: ringfence.sum(table['Quantity']), m['A'] / m['B']")


def measure_name(measure: Measure | str) -> str:
    if isinstance(measure, (Measure, str)):
        return measure if isinstance(measure, str) else measure.name
    raise TypeError(
        "a query names measures of the cube: m['Quantity.SUM']; define others first, m['Name'] = ..."
    )


def order_entry(by: Any) -> dict[str, Any]:
    """`"-Quantity.SUM"`, a level, a measure, or the server's own form."""
    if isinstance(by, Mapping):
        return dict(by)
    if isinstance(by, Operand):
        return {"by": by.wire_name()}
    return {"by": by[1:], "descending": True} if by.startswith("-") else {"by": by}


def unwanted(document: dict[str, Any], kind: str, name: str) -> None:
    names = document.setdefault("without", {}).setdefault(kind, [])
    if name not in names:
        names.append(name)


def wanted(document: dict[str, Any], kind: str, name: str) -> None:
    """What is given now is not among what is not wanted."""
    names = document.get("without", {}).get(kind)
    if names and name in names:
        names.remove(name)


class Cells(Tabular):
    """What a cube answers: levels first, then measures."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.levels = [str(level["name"]) for level in answer["levels"]]
        self.measures = [str(measure["name"]) for measure in answer["measures"]]
        self._formats = [measure.get("format") for measure in answer["measures"]]
        columns = [*answer["levels"], *answer["measures"]]
        rows = answer["rows"]
        types = [CUBE_TYPES.get(str(one["type"]), str(one["type"])) for one in columns]
        super().__init__([str(one["name"]) for one in columns], types, rows)
        # Whether `limit` left something out.
        self.has_more = bool(answer.get("has_more", False))
        # By how many levels each row is grouped: fewer than all is a total.
        self.grouping: list[int] = list(answer.get("grouping") or [len(self.levels)] * len(rows))

    def to_pandas(self) -> pandas.DataFrame:
        """Levels as the index, as documents print them: a total has the member `Total` at its first open
        level."""
        pandas = library("pandas")
        table: pa.Table = self.to_arrow()
        frame = to_pandas(table.select(list(range(len(self.levels), table.num_columns))))
        if self.levels:
            members = self._members(table)
            if len(self.levels) == 1:
                frame.index = pandas.Index(members[0], name=self.levels[0])
            else:
                frame.index = pandas.MultiIndex.from_arrays(members, names=self.levels)
        frame.attrs.update(grouping=self.grouping, has_more=self.has_more)
        return frame

    def _members(self, table: pa.Table) -> list[list[Any]]:
        """The members of each level."""
        columns: list[list[Any]] = []
        for place in range(len(self.levels)):
            values = table.column(place).to_pylist()
            columns.append([self._member(place, depth, value) for depth, value in zip(self.grouping, values)])
        return columns

    def _member(self, place: int, depth: int, value: Any) -> Any:
        if place >= depth:
            return TOTAL if place == depth else ""
        return NO_MEMBER if value is None else value

    def __str__(self) -> str:
        """As documents print it, figures in their formats."""
        frame = self.to_pandas()
        for place, form in enumerate(self._formats):
            values = frame.iloc[:, place]
            frame.isetitem(place, [formatted(value, form) for value in values])
        return frame.to_string()

    def _repr_html_(self) -> str:
        table = self.to_arrow()
        members = self._members(table)
        figures = [table.column(place).to_pylist() for place in range(len(self.levels), table.num_columns)]
        rows = [
            [
                *(column[number] for column in members),
                *(formatted(column[number], form) for column, form in zip(figures, self._formats)),
            ]
            for number in range(min(len(self), SHOWN))
        ]
        note = self._note() + (", more were left out (limit)" if self.has_more else "")
        return html_table(self.names, rows, note, headers=len(self.levels), figures=True)


def formatted(value: Any, form: str | None) -> Any:
    """`0.00` gives the places after the point; a comma in it asks for thousands; without a format both."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return value
    if form is None:
        return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    percent = form.endswith("%")
    number = form.rstrip("%")
    places = len(number.split(".")[1]) if "." in number else 0
    comma = "," if "," in number else ""
    shown = value * 100 if percent else value
    return f"{shown:{comma}.{places}f}{'%' if percent else ''}"
