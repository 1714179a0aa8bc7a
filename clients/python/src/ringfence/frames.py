"""Tables in the library that somebody asked for. pandas and polars are imported when they are, and not
before."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from .errors import MissingDependency
from .values import column

if TYPE_CHECKING:
    import pandas
    import polars

# So many rows are shown in a notebook.
SHOWN = 20


def library(name: str) -> Any:
    """`pandas` or `polars`; a clear word when it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise MissingDependency(
            f"{name} is not installed: pip install ringfence[{name}] (to_arrow() needs nothing more)"
        ) from None


def to_pandas(table: pa.Table) -> pandas.DataFrame:
    """Whole numbers with gaps stay whole (`Int64`); decimals stay exact (`decimal.Decimal`)."""
    pandas = library("pandas")
    series = {}
    for position, field in enumerate(table.schema):
        values = table.column(position)
        if pa.types.is_integer(field.type) and values.null_count:
            made = pandas.array(values.to_pylist(), dtype="Int64")
        elif pa.types.is_boolean(field.type) and values.null_count:
            made = pandas.array(values.to_pylist(), dtype="boolean")
        else:
            made = values.to_pandas().array
        series[position] = made
    frame = pandas.DataFrame(series, index=pandas.RangeIndex(table.num_rows))
    # Two columns may have one name.
    frame.columns = pandas.Index(table.column_names)
    return frame  # type: ignore[no-any-return]


def to_polars(table: pa.Table) -> polars.DataFrame:
    """polars has no two columns of one name: the later ones are called `name_1`, `name_2`."""
    polars = library("polars")
    return polars.from_arrow(table.rename_columns(unique(table.column_names)))  # type: ignore[no-any-return]


def unique(names: Sequence[str]) -> list[str]:
    """Names of which none comes twice."""
    given: set[str] = set()
    made: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in given or (number and candidate in names):
            number += 1
            candidate = f"{name}_{number}"
        given.add(candidate)
        made.append(candidate)
    return made


class Row(tuple[Any, ...]):
    """A row: values by place, and by name."""

    _names: tuple[str, ...]

    def __new__(cls, names: Sequence[str], values: Sequence[Any]) -> Row:
        row = super().__new__(cls, values)
        row._names = tuple(names)
        return row

    @overload  # type: ignore[override]
    def __getitem__(self, place: int | str) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, place: int | str | slice) -> Any:
        if isinstance(place, str):
            try:
                return super().__getitem__(self._names.index(place))
            except ValueError:
                raise KeyError(place) from None
        return super().__getitem__(place)

    def keys(self) -> tuple[str, ...]:
        return self._names

    def as_dict(self) -> dict[str, Any]:
        """By name; of columns that share one, the later ones get `_1`, `_2`."""
        return dict(zip(unique(self._names), self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Row, (self._names, tuple(self))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in zip(self._names, self))
        return f"Row({inside})"


class Tabular:
    """Columns with types, and rows as the wire has them."""

    def __init__(
        self, names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]] | None
    ) -> None:
        self.names = list(names)
        self.types = list(types)
        self._rows = rows
        self._table: pa.Table | None = None

    def to_arrow(self) -> pa.Table:
        if self._table is None:
            rows = self._rows or []
            arrays = [column(kind, [row[place] for row in rows]) for place, kind in enumerate(self.types)]
            schema = pa.schema([pa.field(name, made.type) for name, made in zip(self.names, arrays)])
            self._table = pa.Table.from_arrays(arrays, schema=schema)
        return self._table

    def to_pandas(self) -> pandas.DataFrame:
        return to_pandas(self.to_arrow())

    def to_polars(self) -> polars.DataFrame:
        return to_polars(self.to_arrow())

    @property
    def rows(self) -> list[Row]:
        """All rows as Python's values."""
        return list(self)

    def __len__(self) -> int:
        return self.to_arrow().num_rows if self._rows is None else len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        table = self.to_arrow()
        columns = [table.column(place).to_pylist() for place in range(table.num_columns)]
        if not columns:
            return
        for values in zip(*columns):
            yield Row(self.names, values)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows of {', '.join(self.names) or 'nothing'}>"

    def _repr_html_(self) -> str:
        return html_table(self.names, [list(row) for _, row in zip(range(SHOWN), self)], self._note())

    def _note(self) -> str:
        return f"{len(self)} rows" + (f", {SHOWN} of them shown" if len(self) > SHOWN else "")


def html_table(
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    note: str = "",
    headers: int = 0,
    *,
    figures: bool = False,
) -> str:
    """A table for a notebook. Nothing in it is markup but what is written here.

    The first `headers` columns are headings. With `figures` the others stand to the right, whatever they are.
    """
    style = "text-align:left;white-space:pre"
    head = "".join(f'<th style="{style}">{html.escape(str(name))}</th>' for name in names)
    body = []
    for row in rows:
        cells = []
        for place, value in enumerate(row):
            tag = "th" if place < headers else "td"
            side = "left" if isinstance(value, str) and (tag == "th" or not figures) else "right"
            text = "" if value is None else html.escape(str(value))
            cells.append(f'<{tag} style="text-align:{side};white-space:pre">{text}</{tag}>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    foot = f"<div>{html.escape(note)}</div>" if note else ""
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{foot}</div>"


class Result(Tabular):
    """What a statement gave: rows, or how many it changed."""

    def __init__(
        self,
        names: Sequence[str],
        types: Sequence[str],
        rows: Sequence[Sequence[Any]] | None,
        *,
        query_id: str | None = None,
        more_rows: int = 0,
        affected: int | None = None,
    ) -> None:
        super().__init__(names, types, rows)
        self.query_id = query_id
        # Rows that the statement gives beyond `max_rows`.
        self.more_rows = more_rows
        # For a change: how many rows.
        self.affected = affected

    def scalar(self) -> Any:
        """The one value of one row."""
        if len(self) != 1 or len(self.names) != 1:
            raise ValueError(f"not one value: {len(self)} rows, {len(self.names)} columns")
        return next(iter(self))[0]

    def __repr__(self) -> str:
        if self.affected is not None:
            return f"<Result: {self.affected} rows changed>"
        more = f", {self.more_rows} more" if self.more_rows else ""
        return super().__repr__()[:-1] + f"{more}>"

    def _note(self) -> str:
        if self.affected is not None:
            return f"{self.affected} rows changed"
        return super()._note() + (
            f", {self.more_rows} more were left out (max_rows)" if self.more_rows else ""
        )
