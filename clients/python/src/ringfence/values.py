"""Values of the wire as Arrow: types are the database's names, whatever database it is."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Callable

import pyarrow as pa

INTEGERS = frozenset(
    [
        "int2",
        "int4",
        "int8",
        "smallint",
        "integer",
        "int",
        "bigint",
        "serial",
        "bigserial",
        "smallserial",
        "mediumint",
        "tinyint",
        "oid",
        "int64",
        "int32",
        "int16",
        "int8u",
    ]
)
FLOATS = frozenset(["float4", "float8", "real", "double", "float", "float32", "float64"])
DECIMALS = frozenset(["numeric", "decimal", "money", "newdecimal", "decimal128", "decimal256"])
BOOLEANS = frozenset(["bool", "boolean"])
TIMES = frozenset(["timestamp", "datetime", "timestampntz"])
ZONED = frozenset(["timestamptz", "timestampltz"])
BYTES = frozenset(["bytea", "blob", "binary", "varbinary", "tinyblob", "mediumblob", "longblob"])
DOCUMENTS = frozenset(["json", "jsonb"])
TEXTS = frozenset(
    [
        "text",
        "varchar",
        "char",
        "bpchar",
        "name",
        "uuid",
        "utf8",
        "string",
        "interval",
        "inet",
        "cidr",
        "citext",
    ]
)


def family(type_name: str) -> str:
    """What kind of values a type has: `integer`, `float`, ..., `list`, or `unknown`."""
    name = type_name.strip().lower()
    if name.startswith("_") or name.endswith("[]"):
        return "list"
    if "with time zone" in name and name.startswith("timestamp"):
        return "zoned"
    name = re.sub(r"\(.*", "", name).strip()
    name = name.split(" ")[0] if name not in ("double precision", "character varying") else name
    kinds = {
        "integer": INTEGERS,
        "float": FLOATS | {"double precision"},
        "decimal": DECIMALS,
        "boolean": BOOLEANS,
        "timestamp": TIMES,
        "zoned": ZONED,
        "bytes": BYTES,
        "json": DOCUMENTS,
        "text": TEXTS | {"character varying", "character"},
        "date": frozenset(("date", "date32")),
        "time": frozenset(("time", "time64")),
        "moment": frozenset(("moment",)),
        "null": frozenset(("null",)),
    }
    return next((kind for kind, names in kinds.items() if name in names), "unknown")


def column(type_name: str, values: Sequence[Any]) -> pa.Array:
    """A column in its own type. Values that do not fit there (SQLite has them) make it a column of texts."""
    kind = family(type_name)
    try:
        return CONVERSIONS.get(kind, inferred)(values)
    except (pa.ArrowException, ValueError, TypeError, InvalidOperation, OverflowError):
        return texts(values)


def python_values(type_name: str, values: Sequence[Any]) -> list[Any]:
    """The same as Python's values."""
    listed: list[Any] = column(type_name, values).to_pylist()
    return listed


def integers(values: Sequence[Any]) -> pa.Array:
    if any(isinstance(value, bool) for value in values):
        raise TypeError("a truth value is no number")
    return pa.array([None if value is None else whole(value) for value in values], pa.int64())


def whole(value: Any) -> int:
    number = Decimal(value)
    if number != number.to_integral_value():
        raise ValueError("not whole")
    return int(number)


def floats(values: Sequence[Any]) -> pa.Array:
    if any(isinstance(value, bool) for value in values):
        raise TypeError("a truth value is no number")
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def decimals(values: Sequence[Any]) -> pa.Array:
    """Exact, with as many places as the longest needs."""
    exact = [None if value is None else Decimal(value) for value in values]
    known = [value for value in exact if value is not None]
    if not all(value.is_finite() for value in known):
        # NaN and the infinities have no place in a decimal.
        return floats([None if value is None else str(value) for value in exact])
    if not known:
        return pa.array(exact, pa.decimal128(38, 0))
    scale = max(max(0, -int(value.as_tuple().exponent)) for value in known)
    digits = max(max(0, value.adjusted() + 1) for value in known) + scale
    if digits > 76:
        return texts([None if value is None else str(value) for value in values])
    kind = pa.decimal128(38, scale) if digits <= 38 else pa.decimal256(76, scale)
    return pa.array(exact, kind)


def booleans(values: Sequence[Any]) -> pa.Array:
    known = {0: False, 1: True}
    return pa.array(
        [value if value is None or isinstance(value, bool) else known[value] for value in values], pa.bool_()
    )


def dates(values: Sequence[Any]) -> pa.Array:
    parsed = [None if value is None else datetime.date.fromisoformat(value) for value in values]
    return pa.array(parsed, pa.date32())


def times(values: Sequence[Any]) -> pa.Array:
    parsed = [None if value is None else datetime.time.fromisoformat(value) for value in values]
    return pa.array(parsed, pa.time64("us"))


def timestamps(values: Sequence[Any]) -> pa.Array:
    parsed = [None if value is None else moment(value) for value in values]
    if any(value is not None and value.tzinfo is not None for value in parsed):
        raise ValueError("a time with a zone")
    return pa.array(parsed, pa.timestamp("us"))


def zoned(values: Sequence[Any]) -> pa.Array:
    parsed = [None if value is None else moment(value) for value in values]
    if any(value is not None and value.tzinfo is None for value in parsed):
        raise ValueError("a time without a zone")
    return pa.array(parsed, pa.timestamp("us", tz="UTC"))


def moment(text: str) -> datetime.datetime:
    """Python before 3.11 reads fractions of three or six digits alone, and no Z."""
    text = text.replace("Z", "+00:00")
    found = re.fullmatch(r"(.*[T ]\d\d:\d\d:\d\d)\.(\d+)(.*)", text)
    if found:
        text = f"{found[1]}.{found[2][:6]:0<6}{found[3]}"
    if re.search(r"[+-]\d\d$", text[10:]):
        text += ":00"
    return datetime.datetime.fromisoformat(text)


def moments(values: Sequence[Any]) -> pa.Array:
    """Days, or moments with or without a zone: whichever all of them are."""
    for convert in (dates, timestamps, zoned):
        try:
            return convert(values)
        except (ValueError, TypeError):
            continue
    return texts(values)


def raw_bytes(values: Sequence[Any]) -> pa.Array:
    parsed = []
    for value in values:
        if value is not None and not value.startswith("\\x"):
            raise ValueError("not hexadecimal")
        parsed.append(None if value is None else bytes.fromhex(value[2:]))
    return pa.array(parsed, pa.binary())


def documents(values: Sequence[Any]) -> pa.Array:
    """JSON as text, which every frame can hold."""
    return pa.array([None if value is None else dumped(value) for value in values], pa.string())


def lists(values: Sequence[Any]) -> pa.Array:
    return pa.array(values)


def nulls(values: Sequence[Any]) -> pa.Array:
    return inferred(values) if any(value is not None for value in values) else pa.nulls(len(values))


def strict_texts(values: Sequence[Any]) -> pa.Array:
    return pa.array(values, pa.string())


def texts(values: Sequence[Any]) -> pa.Array:
    plain = [value if value is None or isinstance(value, str) else dumped(value) for value in values]
    return pa.array(plain, pa.string())


def inferred(values: Sequence[Any]) -> pa.Array:
    """By the values, where the database names no type: what is not whole is a float."""
    if any(isinstance(value, (dict, list)) for value in values):
        return documents(values)
    known = {type(value) for value in values if value is not None}
    if known <= {int, Decimal} and Decimal in known:
        return floats(values)
    return pa.array(values)


def dumped(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=float)


CONVERSIONS: dict[str, Callable[[Sequence[Any]], pa.Array]] = {
    "integer": integers,
    "float": floats,
    "decimal": decimals,
    "boolean": booleans,
    "timestamp": timestamps,
    "zoned": zoned,
    "bytes": raw_bytes,
    "json": documents,
    "text": strict_texts,
    "date": dates,
    "time": times,
    "moment": moments,
    "list": lists,
    "null": nulls,
}


def parameter(value: Any) -> str | None:
    """A value of a placeholder, as the text that the server takes."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, (dict, list, tuple)):
        raise TypeError("a placeholder stands for one value")
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return parameter(item())
    return str(value)
