"""Two texts in the words of PostgreSQL's own parser, without what a fence adds and what no reader sees."""

from typing import Any

from pglast import parse_sql

# Where something stands in the text, how a call or a row was spelt, and what follows from the rest.
UNSEEN = {
    "location",
    "stmt_location",
    "stmt_len",
    "funcformat",
    "row_format",
    "inh",
    "relpersistence",
    "strength",
    "rexpr_list_start",
    "rexpr_list_end",
    "list_start",
    "list_end",
}

# The name of a raw relation within its fence.
RAW = "_rf_r"

# What the guard names in full, and a caller need not.
SCHEMAS = ("pg_catalog", "public")

Tree = Any


def meaning(sql: str) -> Tree:
    """The tree of the one statement."""
    statements = parse_sql(sql)
    assert len(statements) == 1, f"{len(statements)} statements"
    return seen(statements[0].stmt(skip_none=True))  # type: ignore[misc]


def seen(node: Tree) -> Tree:
    """The tree with fences as relations, names without their schema, and nothing that is not seen."""
    if isinstance(node, (list, tuple)):
        return [seen(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("@")
    if kind == "RangeSubselect" and (relation := fenced(node)) is not None:
        node, kind = relation, "RangeVar"
    if kind == "RangeVar":
        alias = node.get("alias") or {"@": "Alias", "aliasname": node["relname"]}
        return {"@": kind, "relation": node["relname"], "alias": seen(alias)}
    if kind == "Alias" and str(node["aliasname"]).startswith("_rf_"):
        # One that the statement does not have.
        return None
    tree = {key: seen(value) for key, value in node.items() if key not in UNSEEN}
    for key in ("funcname", "names", "name", "collname"):
        if isinstance(tree.get(key), list):
            tree[key] = [part for part in tree[key] if part.get("sval") not in SCHEMAS]
    if kind == "ColumnRef":
        tree["fields"] = tree["fields"][-2:]
    return {key: value for key, value in tree.items() if value is not None}


def fenced(node: dict[str, Tree]) -> dict[str, Tree] | None:
    """The relation behind a fence, under the alias of the fence."""
    sources: list[Tree] = [*(node["subquery"].get("fromClause") or [])]
    if len(sources) != 1 or sources[0]["@"] != "RangeVar":
        return None
    if sources[0].get("alias", {}).get("aliasname") != RAW:
        return None
    return {**sources[0], "alias": node["alias"]}


def difference(said: Tree, printed: Tree, path: str = "") -> str:
    """Where the two differ first; nothing when they mean the same."""
    if isinstance(said, dict) and isinstance(printed, dict):
        for key in sorted(said.keys() | printed.keys()):
            one, other = said.get(key), printed.get(key)
            if key == "groupClause" and one and other:
                # A fence has no key: columns that depend on it are grouped by as well.
                other = other[: len(one)]
            if found := difference(one, other, f"{path}/{key}"):
                return found
        return ""
    if isinstance(said, list) and isinstance(printed, list) and len(said) == len(printed):
        for number, (one, other) in enumerate(zip(said, printed, strict=True)):
            if found := difference(one, other, f"{path}[{number}]"):
                return found
        return ""
    return "" if said == printed else f"{path}: {said!r:.200} and {printed!r:.200}"
