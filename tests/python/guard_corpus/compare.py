"""Values compare by type: numbers by value, timestamps as instants, JSON as documents, arrays by element."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

INTEGERS = frozenset({"int2", "int4", "int8", "oid", "integer", "bigint", "smallint"})
FLOATS = frozenset({"float4", "float8", "real", "double"})
DOCUMENTS = frozenset({"json", "jsonb"})


@dataclass
class Outcome:
    """How a statement ended, whatever way it went."""

    accepted: bool
    columns: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    affected: int | None = None
    code: str | None = None
    sqlstate: str | None = None
    message: str = ""
    # Everything that the caller received: rows, names, errors, details, notices.
    received: str = ""
    seconds: float = 0.0
    # The connection ended without an answer.
    dropped: bool = False


def differences(
    target: Outcome,
    oracle: Outcome,
    *,
    ordered: bool,
    left_out: Sequence[str] = (),
) -> list[str]:
    """How two accepted statements differ; nothing when they are equal."""
    if target.columns != oracle.columns:
        return [f"column names: {short(target.columns)} instead of {short(oracle.columns)}"]
    kept = [index for index, name in enumerate(oracle.columns) if name not in left_out]
    floating = [
        index
        for index in kept
        if base_type(target.types[index]) in FLOATS or base_type(oracle.types[index]) in FLOATS
    ]
    got = [row_key(row, target.types, kept, floating) for row in target.rows]
    wanted = [row_key(row, oracle.types, kept, floating) for row in oracle.rows]
    if got == wanted:
        return []
    missing, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    if not missing and not extra:
        return ["the rows come in another order"] if ordered else []
    return [
        f"{len(got)} rows instead of {len(wanted)}; {missing.total()} missing: {short(list(missing)[:2])},"
        f" {extra.total()} extra: {short(list(extra)[:2])}"
    ]


def row_key(row: Sequence[Any], types: Sequence[str], kept: Sequence[int], floating: Sequence[int]) -> str:
    """A text that is the same for rows that are equal."""
    return json.dumps(
        [comparable(row[index], "float8" if index in floating else types[index]) for index in kept],
        ensure_ascii=False,
    )


def comparable(value: Any, type_name: str) -> Any:
    """A value, as JSON holds it, in a form in which equal values are equal."""
    if value is None or isinstance(value, bool):
        return value
    if type_name.startswith("_"):
        return elements(value, type_name[1:])
    if type_name in DOCUMENTS:
        return document(value)
    if type_name in FLOATS or isinstance(value, float):
        return rounded(value)
    if type_name in INTEGERS or type_name == "numeric" or isinstance(value, int | Decimal):
        return number(value)
    if type_name == "timestamptz":
        return instant(str(value))
    if type_name == "timestamp":
        return str(value).replace(" ", "T", 1)
    return str(value)


def elements(items: Any, type_name: str) -> Any:
    if isinstance(items, list):
        return [elements(item, type_name) for item in items]
    return comparable(items, type_name)


def base_type(type_name: str) -> str:
    return type_name.removeprefix("_")


def number(value: Any) -> str:
    """1, 1.0 and 1.00 are one number."""
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if not exact.is_finite():
        return str(exact)
    return f"{exact.normalize() + 0:f}" if -60 < exact.adjusted() < 400 else str(exact.normalize())


def rounded(value: Any) -> str:
    """A sum of floats depends on the order of its parts: eleven digits are compared."""
    try:
        return f"{float(value) + 0.0:.10e}"
    except ValueError:
        return str(value)


def document(value: Any) -> Any:
    """A JSON document: objects without order, numbers by value. A document `null` is like no document."""
    if isinstance(value, dict):
        return {key: document(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [document(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    # Tagged, so that the number 1 and the text "1" differ.
    return ["number", number(value)]


def instant(text: str) -> str:
    try:
        return datetime.fromisoformat(text.replace(" ", "T", 1)).astimezone(UTC).isoformat()
    except ValueError:
        return text.replace(" ", "T", 1)


def short(value: Any, limit: int = 400) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
