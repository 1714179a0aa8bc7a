"""What the guard prints for one thing that was asked: fences, system relations, whole rows, lifted literals.

Each is known by its exact shape. What looks nearly like one stays as it is printed, and so is a difference.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pglast import parse_sql

Tree = Any

# The name of a raw relation within its fence.
RAW = "_rf_r"

CATALOGS = Path(__file__).parent / "catalogs.txt"

# Where something stands in the text.
PLACES = {"location", "stmt_location", "stmt_len", "rexpr_list_start", "rexpr_list_end"}

# What a lifted number is cast to, in the parser's words.
INTEGER, BIGINT, NUMERIC = "int4", "int8", "numeric"

# Where parts of a statement are compared with each other, named, or read by planners: no literal is lifted
# there, nor in any query inside.
AS_WRITTEN = {
    "targetList",
    "distinctClause",
    "groupClause",
    "havingClause",
    "windowClause",
    "sortClause",
    "limitCount",
    "limitOffset",
}

COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
LISTED = {"AEXPR_IN", "AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"}


def tree_of(sql: str) -> Tree:
    """The tree of the one statement, as the parser gives it."""
    statements = parse_sql(sql)
    assert len(statements) == 1, f"{len(statements)} statements"
    return statements[0].stmt(skip_none=True)  # type: ignore[misc]


def bare(node: Tree) -> Tree:
    """The tree without places."""
    if isinstance(node, (list, tuple)):
        return [bare(item) for item in node]
    if isinstance(node, dict):
        return {key: bare(value) for key, value in node.items() if key not in PLACES}
    return node


def is_kind(node: Tree, kind: str) -> bool:
    return isinstance(node, dict) and node.get("@") == kind


def fields_of(node: Tree) -> list[str]:
    """The names of a reference to a column or a row; none for anything else, or with a star."""
    if not is_kind(node, "ColumnRef") or not all(is_kind(part, "String") for part in node["fields"]):
        return []
    return [part["sval"] for part in node["fields"]]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# Fences.


def fenced(node: Tree) -> Tree | None:
    """The relation behind a fence: columns or masks by name, rows by a condition, and maybe a barrier."""
    query, sources = subquery_of(node)
    if len(sources) != 1 or not is_kind(sources[0], "RangeVar") or "schemaname" not in sources[0]:
        return None
    if bare(sources[0].get("alias")) != {"@": "Alias", "aliasname": RAW}:
        return None
    optional = {"whereClause": query.get("whereClause")} if "whereClause" in query else {}
    rest = plain_query(has_barrier="limitOffset" in query)
    shape = {**bare(query), "targetList": rest["targetList"], "fromClause": rest["fromClause"]}
    if shape != {**rest, **bare(optional)} or columns_of(node) is None:
        return None
    return sources[0]


@cache
def plain_query(*, has_barrier: bool) -> Tree:
    return bare(tree_of("SELECT 1 FROM t OFFSET 0" if has_barrier else "SELECT 1 FROM t"))


def columns_of(node: Tree) -> list[str] | None:
    """The columns of a fence in their order; nothing when one of them is neither raw nor a named mask."""
    columns = []
    for target in subquery_of(node)[0]["targetList"]:
        raw = fields_of(target.get("val"))
        if "name" in target:
            columns.append(target["name"])
        elif len(raw) == 2 and raw[0] == RAW:
            columns.append(raw[1])
        else:
            return None
    return columns


def subquery_of(node: Tree) -> tuple[Tree, list[Tree]]:
    """A derived table's query, and its sources; neither when it is none, or LATERAL."""
    if not is_kind(node, "RangeSubselect") or node.get("lateral") or "targetList" not in node["subquery"]:
        return {"targetList": []}, []
    return node["subquery"], list(node["subquery"].get("fromClause") or [])


# System relations.


@cache
def catalogs() -> dict[str, list[tuple[str, str]]]:
    """The columns of each system relation, and their types or what the database says."""
    text = "\n".join(line for line in CATALOGS.read_text().split("\n") if not line.startswith("#"))
    found = {}
    for block in text.strip().split("\n\n"):
        name, *columns = block.split("\n")
        found[name] = [tuple(column.strip().split(" ", 1)) for column in columns]
    return found  # type: ignore[return-value]


def kept_columns(name: str) -> list[tuple[str, str]]:
    """Those that come from the document."""
    return [(column, kind) for column, kind in catalogs()[name] if not kind.startswith("CAST(")]


@cache
def system_source(name: str, number: int) -> Tree:
    """What is printed for a system relation."""
    outputs = ", ".join(
        f'{kind.replace("current_database", "pg_catalog.current_database")} AS "{column}"'
        if kind.startswith("CAST(")
        else f'"{RAW}"."{column}" AS "{column}"'
        for column, kind in catalogs()[name]
    )
    definitions = ", ".join(f'"{column}" {kind}' for column, kind in kept_columns(name))
    document = f"pg_catalog.jsonb_to_recordset(CAST(${number} AS jsonb))"
    return bare(tree_of(f'SELECT {outputs} FROM {document} AS "{RAW}" ({definitions})'))


def system_relation(node: Tree, first: int, params: Sequence[str | None] | None) -> str | None:
    """The system relation that this stands for. Its document is a parameter from `first` on."""
    query, sources = subquery_of(node)
    numbers = [found["number"] for source in sources for found in all_of(source, "ParamRef")]
    outputs = [target.get("name") for target in query["targetList"]]
    names = [name for name, columns in catalogs().items() if [column for column, _ in columns] == outputs]
    if len(numbers) != 1 or len(names) != 1 or numbers[0] < first:
        return None
    if bare(query) != system_source(names[0], numbers[0]):
        return None
    if params is not None and not holds(params[numbers[0] - 1], names[0]):
        return None
    return names[0]


def holds(document: str | None, name: str) -> bool:
    """Whether the document has rows of that relation."""
    wanted = {column for column, _ in kept_columns(name)}
    rows = json.loads(document or "null")
    return isinstance(rows, list) and all(isinstance(row, dict) and row.keys() == wanted for row in rows)


def all_of(node: Tree, kind: str) -> Iterator[Tree]:
    """Every node of the kind."""
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from all_of(item, kind)
    elif isinstance(node, dict):
        if node.get("@") == kind:
            yield node
        for value in node.values():
            yield from all_of(value, kind)


# Whole rows of relations whose columns an alias calls otherwise.

Rows = dict[str, list[list[tuple[str, str]]]]


def rows_of(tree: Tree) -> Rows:
    """By alias: the own names of a fenced relation's columns, and what they are called."""
    rows: Rows = {}
    for node in all_of(tree, "RangeSubselect"):
        if fenced(node) is not None and "alias" in node:
            own = columns_of(node) or []
            called = [part["sval"] for part in node["alias"].get("colnames", [])]
            called += own[len(called) :]
            rows.setdefault(node["alias"]["aliasname"], []).append(list(zip(own, called, strict=True)))
    return rows


def whole_row(node: Tree, rows: Rows) -> str | None:
    """The alias whose row this is, with the relation's own names."""
    if not is_kind(node, "CaseExpr") or not is_kind(node["args"][0]["expr"], "A_Expr"):
        return None
    tested = fields_of(node["args"][0]["expr"].get("lexpr"))
    for pairs in rows.get(tested[0], []) if len(tested) == 1 else []:
        alias = quoted(tested[0])
        columns = ", ".join(f"{alias}.{quoted(called)} AS {quoted(own)}" for own, called in pairs)
        row = f'SELECT "_rf_w" FROM (SELECT {columns}) AS "_rf_w"'
        wanted = tree_of(f"SELECT (CASE WHEN {alias} IS DISTINCT FROM NULL THEN ({row}) END)")
        if bare(node) == bare(wanted["targetList"][0]["val"]):
            return tested[0]
    return None


# Lifted literals.

# By the number of a parameter.
Values = dict[int, str | None]


def with_literals(node: Tree, params: Sequence[str | None], first: int) -> Tree:
    """The tree with the literals in it that were lifted to parameters from `first` on.

    They are put back only beside a column, in a comparison, where nothing else of the statement is compared
    with them, and each has a parameter of its own. A parameter anywhere else stays one, and so does one that
    a fence has as well.
    """
    numbers = Counter(found["number"] for found in all_of(node, "ParamRef"))
    return put_back(
        node,
        {
            number: params[number - 1]
            for number, count in numbers.items()
            if count == 1 and first <= number <= len(params)
        },
    )


def put_back(node: Tree, values: Values) -> Tree:
    if isinstance(node, (list, tuple)):
        return [put_back(item, values) for item in node]
    if not isinstance(node, dict):
        return node
    tree = {key: value if key in AS_WRITTEN else put_back(value, values) for key, value in node.items()}
    if not is_kind(tree, "A_Expr"):
        return tree
    kind, operator = tree["kind"]["name"], tree["name"][-1]["sval"]
    if kind == "AEXPR_OP" and operator in COMPARISONS and "lexpr" in tree:
        left, right = tree["lexpr"], tree["rexpr"]
        if fields_of(right):
            tree["lexpr"] = literal_of(left, values)
        if fields_of(left):
            tree["rexpr"] = literal_of(right, values)
    elif kind in LISTED and fields_of(tree["lexpr"]):
        tree["rexpr"] = [literal_of(item, values) for item in tree["rexpr"]]
    return tree


def literal_of(node: Tree, values: Values) -> Tree:
    """The literal that a parameter stands for: a text without a cast, a number cast to its own type."""
    is_cast = is_kind(node, "TypeCast")
    inner = node["arg"] if is_cast else node
    value = values.get(inner["number"]) if is_kind(inner, "ParamRef") else None
    if value is None:
        return node
    if not is_cast:
        return constant({"@": "String", "sval": value})
    number = number_of(value)
    if number is None or bare(node["typeName"]) != type_name(type_of(number)):
        return node
    return constant(number)


def constant(value: Tree) -> Tree:
    return {"@": "A_Const", "isnull": False, "val": value}


def number_of(text: str) -> Tree | None:
    """The number as the parser reads it."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text) is None:
        return None
    number = bare(tree_of(f"SELECT {text}")["targetList"][0]["val"]["val"])
    # What is written otherwise is not what the caller wrote.
    return number if text in (number.get("fval"), str(number.get("ival"))) else None


def type_of(number: Tree) -> str:
    """The type of a number without a cast (manual, 4.1.2.6)."""
    if is_kind(number, "Integer"):
        return INTEGER
    text = str(number["fval"])
    return BIGINT if text.isdigit() and int(text) < 2**63 else NUMERIC


@cache
def type_name(name: str) -> Tree:
    return bare(tree_of(f"SELECT CAST(1 AS pg_catalog.{name})")["targetList"][0]["val"]["typeName"])
