"""PostgreSQL's text format, read into the values that Ringfence's JSON has."""

import json
from decimal import Decimal
from typing import Any

# Their elements stand in quotes of their own kind; the whole stays text, as Ringfence leaves it. So does an
# array of rows of a table, whose type is called like the table: its elements begin with a parenthesis.
LEFT_AS_TEXT = frozenset({"_record", "_box"})


def read_value(text: str | None, type_name: str) -> Any:
    """A value from its text. Numbers, times and the rest stay text: comparing reads them by type."""
    if text is None:
        return None
    if type_name.startswith("_") and type_name not in LEFT_AS_TEXT and not text.startswith('{"('):
        return read_elements(read_array(text), type_name[1:])
    if type_name == "bool":
        return text == "t"
    if type_name in ("json", "jsonb"):
        return json.loads(text, parse_float=Decimal)
    return text


def read_elements(items: Any, type_name: str) -> Any:
    if isinstance(items, list):
        return [read_elements(item, type_name) for item in items]
    return read_value(items, type_name)


def read_array(text: str) -> Any:
    """`{1,NULL,"a b"}` as nested lists of texts (manual, 8.15.6). What is no array stays text."""
    start = text.find("{")
    if start < 0 or (start > 0 and not text.startswith("[")):
        return text
    value, end = braces(text, start)
    return value if end == len(text) else text


def braces(text: str, position: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    position += 1
    while text[position] != "}":
        item: Any
        if text[position] == "{":
            item, position = braces(text, position)
        elif text[position] == '"':
            item, position = quoted(text, position + 1)
        else:
            start = position
            while text[position] not in ",}":
                position += 1
            word = text[start:position]
            item = None if word == "NULL" else word
        items.append(item)
        if text[position] == ",":
            position += 1
    return items, position + 1


def quoted(text: str, position: int) -> tuple[str, int]:
    letters = []
    while text[position] != '"':
        if text[position] == "\\":
            position += 1
        letters.append(text[position])
        position += 1
    return "".join(letters), position + 1
