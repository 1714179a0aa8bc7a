"""Tables of a connection, their columns, and joins between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .conditions import Operand
from .conditions import quoted as double_quoted
from .drawing import Diagram, Entity, Line
from .frames import html_table
from .measures import RowExpression


class Column(Operand, RowExpression):
    """A column: compare it for conditions and joins, compute with it for measures."""

    def __init__(
        self, table: TableBase, name: str, type_name: str, nullable: bool, comment: str | None
    ) -> None:
        self.table, self.name, self.type, self.nullable, self.comment = (
            table,
            name,
            type_name,
            nullable,
            comment,
        )

    def wire_name(self) -> str:
        return self.name

    def column_name(self) -> str:
        return self.name

    def sql(self) -> str:
        return double_quoted(self.name)

    def plain_column(self) -> str | None:
        return self.name

    def tables(self) -> set[str]:
        return {self.table.name}

    def __eq__(self, value: object) -> Any:
        if isinstance(value, Column):
            return JoinCondition([(self, value)])
        return super().__eq__(value)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{self.table.name}[{self.name!r}]"


class JoinCondition:
    """Columns of two tables that are equal."""

    def __init__(self, pairs: list[tuple[Column, Column]]) -> None:
        self.pairs = pairs

    def __and__(self, other: object) -> JoinCondition:
        if not isinstance(other, JoinCondition):
            raise TypeError("a join compares columns with columns")
        return JoinCondition([*self.pairs, *other.pairs])

    def __bool__(self) -> bool:
        raise TypeError("a join condition has no truth value: put them together with &")

    def mapping(self, table: TableBase, other: TableBase) -> dict[str, str]:
        """Columns here to columns there, whichever side they were written on."""
        found: dict[str, str] = {}
        for left, right in self.pairs:
            if left.table is other and right.table is table:
                left, right = right, left
            if left.table is not table or right.table is not other:
                raise ValueError(
                    f"the join is between {table.name} and {other.name}: {left!r} == {right!r} is not"
                )
            found[left.name] = right.name
        return found


class Join:
    """A table's way to another one."""

    def __init__(self, table: TableBase, other: TableBase, on: dict[str, str], *, unique: bool) -> None:
        self.table, self.other, self.on, self.unique = table, other, on, unique


class TableBase:
    """A table as the caller sees it."""

    def __init__(self, schema: str, description: Mapping[str, Any]) -> None:
        self.schema = schema
        self.name = str(description["name"])
        self.comment = description.get("description") or description.get("comment")
        self.columns: dict[str, Column] = {}
        for column in description["columns"]:
            self.columns[column["name"]] = Column(
                self,
                str(column["name"]),
                str(column.get("type", "")),
                bool(column.get("nullable", True)),
                column.get("description") or column.get("comment"),
            )
        self.keys: list[str] = []
        for constraint in description.get("constraints", []):
            if constraint.get("kind") == "primary":
                self.keys = [str(name) for name in constraint["columns"]]
        self.joins: list[Join] = []

    @property
    def full_name(self) -> str:
        """With its schema, as policies and cubes write it."""
        parts = [part for part in (self.schema, self.name) if part]
        return ".".join(double_quoted(part) if "." in part or '"' in part else part for part in parts)

    def __getitem__(self, column: str) -> Column:
        try:
            return self.columns[column]
        except KeyError:
            raise KeyError(f"{self.name} has no column {column!r}: {', '.join(self.columns)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def join(
        self,
        other: TableBase,
        on: JoinCondition | Mapping[str, str] | None = None,
        *,
        unique: bool = False,
    ) -> None:
        """Cubes that are made of this table from now on reach the other one, too.

        A row without partner stays, with the member N/A. Without `on`: columns that have the same name in
        both, of which there must be some. With `unique` you say that no two rows there have one value, which
        the database does not.
        """
        if isinstance(on, JoinCondition):
            mapping = on.mapping(self, other)
        elif on is None:
            mapping = {name: name for name in other.keys or other.columns if name in self.columns}
        else:
            mapping = {self[here].name: other[there].name for here, there in on.items()}
        if not mapping:
            raise ValueError(
                f"{self.name} and {other.name} share no column names: say which columns are equal"
            )
        if other is self:
            raise ValueError("a table is not joined with itself")
        # The last word counts, so that a notebook's cell may be run twice.
        self.joins = [join for join in self.joins if join.other is not other]
        self.joins.append(Join(self, other, mapping, unique=unique))

    def reached(self) -> list[Join]:
        """All joins from here on, nearest first."""
        found: list[Join] = []
        ahead, seen = [self], {id(self)}
        while ahead:
            table = ahead.pop(0)
            for join in table.joins:
                if id(join.other) not in seen:
                    seen.add(id(join.other))
                    found.append(join)
                    ahead.append(join.other)
        return found

    def select(self, dialect: str, limit: int) -> str:
        """The first rows, as SQL of the connection's database."""

        def mark(name: str) -> str:
            return (
                "`" + name.replace("`", "``") + "`"
                if dialect in ("mysql", "mariadb")
                else double_quoted(name)
            )

        columns = ", ".join(mark(name) for name in self.columns)
        source = ".".join(mark(part) for part in (self.schema, self.name) if part)
        return f"SELECT {columns} FROM {source} LIMIT {int(limit)}"

    def __repr__(self) -> str:
        return f"<Table {self.full_name}: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        rows = [
            [
                column.name,
                column.type,
                "key" if column.name in self.keys else "",
                "may be empty" if column.nullable else "",
                column.comment or "",
            ]
            for column in self.columns.values()
        ]
        note = f"{self.full_name}: {len(rows)} columns"
        return html_table(["column", "type", "key", "null", "description"], rows, note, headers=1)


class TablesBase:
    """Tables by name: `tables["sales"]`, or `tables["public.sales"]` where several schemas have one of the
    name."""

    def __init__(self, tables: Iterable[TableBase]) -> None:
        self._all = list(tables)

    def find(self, name: str) -> TableBase:
        found = [
            table
            for table in self._all
            if name in (table.name, table.full_name, f"{table.schema}.{table.name}")
        ]
        if len(found) > 1:
            several = ", ".join(table.full_name for table in found)
            raise KeyError(f"{name!r} is in several schemas: {several}")
        if not found:
            raise KeyError(f"no table {name!r}: {', '.join(self.names()) or 'there are none for you'}")
        return found[0]

    def names(self) -> list[str]:
        plain = [table.name for table in self._all]
        return [table.name if plain.count(table.name) == 1 else table.full_name for table in self._all]

    def put(self, table: TableBase) -> None:
        """In place of one of the same name; what was joined to that one is joined to this."""
        for place, known in enumerate(self._all):
            if (known.schema, known.name) == (table.schema, table.name):
                self._all[place] = table
                for other in self._all:
                    other.joins = [
                        Join(other, table, join.on, unique=join.unique) if join.other is known else join
                        for join in other.joins
                    ]
                return
        self._all.append(table)

    def drop(self, table: TableBase) -> None:
        self._all = [known for known in self._all if known is not table]
        for other in self._all:
            other.joins = [join for join in other.joins if join.other is not table]

    @property
    def schema(self) -> Diagram:
        """Tables and joins as a diagram: a picture in a notebook, Mermaid as text."""
        names = {id(table): name for name, table in zip(self.names(), self._all)}
        ordered = self._neighbours()
        entities = [
            Entity(
                names[id(table)],
                [
                    (column.type, column.name, column.name in table.keys, column.nullable)
                    for column in table.columns.values()
                ],
            )
            for table in ordered
        ]
        places = {id(table): place for place, table in enumerate(ordered)}
        lines = [
            Line(places[id(table)], places[id(join.other)], list(join.on.items()))
            for table in ordered
            for join in table.joins
            if id(join.other) in places
        ]
        return Diagram(entities, lines)

    def _neighbours(self) -> list[TableBase]:
        """What is joined stands side by side, the table that joins first; what is alone comes last."""
        joined = {id(join.other) for table in self._all for join in table.joins}
        roots = [table for table in self._all if table.joins and id(table) not in joined]
        circles = [table for table in self._all if table.joins]
        ordered: list[TableBase] = []
        for root in [*roots, *circles, *self._all]:
            for table in [root, *(join.other for join in root.reached())]:
                if not any(table is known for known in ordered) and any(table is mine for mine in self._all):
                    ordered.append(table)
        return ordered

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Tables: {', '.join(self.names())}>"

    def _repr_html_(self) -> str:
        rows = [
            [name, len(table.columns), ", ".join(table.columns)]
            for name, table in zip(self.names(), self._all)
        ]
        return html_table(["table", "columns", ""], rows, headers=1)
