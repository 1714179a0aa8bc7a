"""What a guard with a fault would print: each must be found to mean something else than what was asked."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from guard_printed.fences import RAW

Spoil = Callable[[str, list[str | None]], tuple[str, list[str | None]]]

# A fence or a system relation begins so.
BEGINS = re.compile(r'\(SELECT (?="_rf_r"\.|CAST\()')
SYSTEM = '"pg_catalog"."jsonb_to_recordset"'
RELATION = re.compile(r'FROM (?:ONLY )?("\w+"\."\w+") AS "_rf_r"')
LIFTED = re.compile(r"(?<!ANY )\(\$(\d+)(::\w+)?\)")


class Fault(NamedTuple):
    """A fault in what is printed, or in what is sent with it."""

    name: str
    spoil: Spoil


def closing(text: str, start: int) -> int:
    """Behind the parenthesis that closes the one at `start`."""
    depth, quote = 0, ""
    for place in range(start, len(text)):
        letter = text[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth == 0:
                return place + 1
    raise AssertionError(f"{text[start:]} does not end")


def parts_of(sql: str) -> Iterator[tuple[bool, str]]:
    """The text in parts: whether it is a fence or a system relation, and the part."""
    place = 0
    for match in BEGINS.finditer(sql):
        end = closing(sql, match.start())
        if match.start() >= place and f' AS "{RAW}"' in sql[match.start() : end]:
            yield False, sql[place : match.start()]
            yield True, sql[match.start() : end]
            place = end
    yield False, sql[place:]


def outside(pattern: str, new: str) -> Spoil:
    """A change of what the caller wrote, at its first place."""

    def spoil(sql: str, params: list[str | None]) -> tuple[str, list[str | None]]:
        count, spoilt = 0, []
        for is_fence, part in parts_of(sql):
            if not is_fence and count == 0:
                part, count = re.subn(pattern, new, part, count=1)
            spoilt.append(part)
        return "".join(spoilt), params

    return spoil


def inside(change: Callable[[str], str], *, system: bool = False) -> Spoil:
    """A change of the first fence, or of the first system relation."""

    def spoil(sql: str, params: list[str | None]) -> tuple[str, list[str | None]]:
        parts = list(parts_of(sql))
        for place, (is_fence, part) in enumerate(parts):
            if is_fence and (SYSTEM in part) == system:
                parts[place] = (True, change(part))
                break
        return "".join(part for _, part in parts), params

    return spoil


def without_fence(fence: str) -> str:
    relation = RELATION.search(fence)
    return relation.group(1) if relation else fence


def another_relation(fence: str) -> str:
    return RELATION.sub(r'FROM "public"."another" AS "_rf_r"', fence, count=1)


def only(fence: str) -> str:
    return fence.replace(" FROM ", " FROM ONLY ", 1)


def lifted_numbers(sql: str) -> list[int]:
    return [int(match.group(1)) - 1 for match in LIFTED.finditer(sql)]


def another_value(sql: str, params: list[str | None]) -> tuple[str, list[str | None]]:
    for number in lifted_numbers(sql)[:1]:
        params[number] = f"{params[number]}1"
    return sql, params


def values_in_another_order(sql: str, params: list[str | None]) -> tuple[str, list[str | None]]:
    numbers = lifted_numbers(sql)
    values = [params[number] for number in numbers]
    for number, value in zip(numbers, values[1:] + values[:1], strict=True):
        params[number] = value
    return sql, params


def another_document(sql: str, params: list[str | None]) -> tuple[str, list[str | None]]:
    for match in re.finditer(rf"{re.escape(SYSTEM)}\(CAST\(\$(\d+)", sql):
        params[int(match.group(1)) - 1] = '[{"rolname": "postgres", "rolpassword": "md5"}]'
    return sql, params


def in_system(pattern: str, new: str) -> Spoil:
    return inside(lambda part: re.sub(pattern, new, part, count=1), system=True)


FAULTS = [
    Fault("a relation without its fence", inside(without_fence)),
    Fault("the fence of another relation", inside(another_relation)),
    Fault("a fence with fewer rows", inside(lambda part: part[:-1] + " LIMIT 1)")),
    Fault("a fence with rows of another relation", inside(lambda part: f"{part[:-1]} UNION ALL {part[1:]}")),
    Fault("a fence with two sources", inside(lambda part: part.replace(f' AS "{RAW}"', f' AS "{RAW}", u'))),
    Fault("a fence with a computed column", inside(lambda part: part.replace('"_rf_r"', 'NOT "_rf_r"', 1))),
    Fault("a relation without those that inherit", inside(only)),
    Fault("a lifted number of another type", outside(r"::integer\)", "::bigint)")),
    Fault("a lifted number without a type", outside(r"(\(\$\d+)::\w+\)", r"\1)")),
    Fault("a lifted number as a text", outside(r"::(integer|bigint|numeric)\)", "::text)")),
    Fault("a lifted number in an array", outside(r"::integer\)", "::integer[])")),
    Fault("a lifted text with a type", outside(r"(?<!ANY )(\(\$\d+)\)", r"\1::text)")),
    Fault("a lifted literal of another value", another_value),
    Fault("lifted literals of other places", values_in_another_order),
    Fault("the first parameter for a lifted literal", outside(r"(?<!ANY )\(\$\d+(::\w+)?\)", r"($1\1)")),
    Fault("a system relation of the database's own", in_system(r"(?s).*", '"pg_catalog"."pg_class"')),
    Fault("a system relation without a column", in_system(r'(?s), "_rf_r"\."\w+" AS "\w+"', "")),
    Fault("a system relation with a column of another", in_system(r'"_rf_r"\."\w+" AS', '"_rf_r"."oid" AS')),
    Fault("a system relation with a column of another type", in_system(r'("\w+") name([,)])', r"\1 text\2")),
    Fault("a system relation of another function", in_system("jsonb_to_recordset", "json_to_recordset")),
    Fault("a system relation of no parameter", in_system(r"CAST\(\$\d+ AS jsonb\)", "'[]'")),
    Fault("a system relation with a condition", in_system(r"\)$", " WHERE true)")),
    Fault("a system relation with another document", another_document),
    Fault("another comparison", outside(" = ", " <> ")),
    Fault("another order of numbers", outside(" > ", " >= ")),
    Fault("OR for AND", outside(" AND ", " OR ")),
    Fault("no NOT", outside(r"\(NOT ", "(")),
    Fault("another test", outside(" IS NULL", " IS NOT NULL")),
    Fault("another join", outside(r'(?<=[")]) JOIN ', " FULL JOIN ")),
    Fault("another function", outside(r'"pg_catalog"\."\w+"', '"pg_catalog"."another"')),
    Fault("another schema's function", outside(r'"pg_catalog"\.', '"legacy".')),
    Fault("another order", outside(" ORDER BY ", " ORDER BY 9, ")),
    Fault("no limit", outside(r" LIMIT \d+", "")),
    Fault("another set", outside(" UNION ALL ", " UNION ")),
    Fault("another number", outside(r"(?<![\w$\"'.])(\d+)(?![\w\"'.])", r"\g<1>1")),
    Fault("another text", outside(r"(?<!')'([^']+)'", r"'\1x'")),
    Fault("another name", outside(r'"(\w+)"( AS "\w+")? FROM', r'"\1x"\2 FROM')),
]
