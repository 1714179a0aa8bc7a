"""Two texts in the words of PostgreSQL's own parser, without what a fence adds and what no reader sees."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from guard_printed.fences import (
    Rows,
    Tree,
    all_of,
    catalogs,
    fenced,
    fields_of,
    is_kind,
    rows_of,
    system_relation,
    tree_of,
    whole_row,
    with_literals,
)

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

# What the guard names in full, and a caller need not.
SCHEMAS = ("pg_catalog", "public")

Common = frozenset[str]


@cache
def meaning_asked(sql: str) -> Tree:
    """The tree of what was asked."""
    return Reader(is_printed=False).read(tree_of(sql))


def meaning_printed(sql: str, asked: str, params: Sequence[str | None] | None = None) -> Tree:
    """The tree of what was printed for that, as if no fence were there and no literal had been lifted.

    `params` are what is sent with it, where that is known: those behind the placeholders of what was asked
    are the guard's own.
    """
    tree = tree_of(sql)
    first = 1 + max((found["number"] for found in all_of(tree_of(asked), "ParamRef")), default=0)
    rows = rows_of(tree)
    if params is not None:
        tree = with_literals(tree, params, first)
    return Reader(is_printed=True, first=first, params=params, rows=rows).read(tree)


@dataclass
class Reader:
    """Reads one of the two."""

    is_printed: bool
    # The number of the first parameter that is the guard's own.
    first: int = 1
    params: Sequence[str | None] | None = None
    rows: Rows = field(default_factory=dict)

    def read(self, node: Tree, common: Common = frozenset()) -> Tree:
        """The tree with fences as relations, names without their schema, and nothing that is not seen."""
        if isinstance(node, (list, tuple)):
            return [self.read(item, common) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node.get("@")
        if kind == "RangeVar":
            return self._relation(node, common)
        if kind == "LockingClause" and "lockedRels" in node:
            # They name sources.
            node = {**node, "lockedRels": [source["relname"] for source in node["lockedRels"]]}
        if self.is_printed and kind == "RangeSubselect":
            if (raw := fenced(node)) is not None:
                return self._source(raw["schemaname"], raw["relname"], node, only=not raw["inh"])
            if (system := system_relation(node, self.first, self.params)) is not None:
                schema, name = system.split(".")
                return self._source(schema, name, node)
        if self.is_printed and (alias := whole_row(node, self.rows)) is not None:
            return {"@": "WholeRow", "alias": alias}
        if kind == "Alias" and str(node["aliasname"]).startswith("_rf_"):
            # One that the statement does not have.
            return None
        return self._rest(node, common)

    def _rest(self, node: Tree, common: Common) -> Tree:
        tree: Tree = {}
        if "withClause" in node:
            tree["withClause"], common = self._with(node["withClause"], common)
        for key, value in node.items():
            if key not in UNSEEN and key != "withClause":
                tree[key] = self.read(value, common)
        for key in ("funcname", "names", "name", "collname"):
            if isinstance(tree.get(key), list):
                tree[key] = [part for part in tree[key] if part.get("sval") not in SCHEMAS]
        if node.get("@") == "ColumnRef":
            tree["fields"] = tree["fields"][-2:]
        if node.get("@") == "FuncCall":
            tree["args"] = [row_of(argument) for argument in tree.get("args", [])]
        return {key: value for key, value in tree.items() if value is not None}

    def _with(self, clause: Tree, common: Common) -> tuple[Tree, Common]:
        """Common tables, each with the names that are known in it, and the names known after them."""
        every = common.union(table["ctename"] for table in clause["ctes"])
        tables = []
        for table in clause["ctes"]:
            tables.append(self.read(table, every if clause["recursive"] else common))
            common |= {table["ctename"]}
        return {"@": "WithClause", "recursive": clause["recursive"], "ctes": tables}, every

    def _relation(self, node: Tree, common: Common) -> Tree:
        """A common table, or a relation by its full name. Nobody asks for a printed one without a fence."""
        name = node["relname"]
        if "schemaname" not in node and name in common and node["inh"]:
            return {"@": "RangeVar", "common": name, "alias": self._alias(node, name)}
        system = "pg_catalog" if f"pg_catalog.{name}" in catalogs() else "public"
        relation = self._source(node.get("schemaname", system), name, node, only=not node["inh"])
        return {**relation, "unfenced": True} if self.is_printed else relation

    def _source(self, schema: str, name: str, node: Tree, *, only: bool = False) -> Tree:
        relation = f"ONLY {schema}.{name}" if only else f"{schema}.{name}"
        return {"@": "RangeVar", "relation": relation, "alias": self._alias(node, name)}

    def _alias(self, node: Tree, name: str) -> Tree:
        return self.read(node.get("alias") or {"@": "Alias", "aliasname": name})


def row_of(argument: Tree) -> Tree:
    """`t.*` as an argument is one row."""
    if is_kind(argument, "ColumnRef") and is_kind(argument["fields"][-1], "A_Star"):
        return {"@": "WholeRow", "alias": argument["fields"][0].get("sval")}
    return argument


def difference(said: Tree, printed: Tree, path: str = "") -> str:
    """Where the two differ first; nothing when they mean the same."""
    if isinstance(said, dict) and isinstance(printed, dict):
        if is_kind(printed, "WholeRow") and fields_of(said) == [printed["alias"]]:
            return ""
        if is_kind(printed, "ResTarget") and is_kind(row := uncast(printed.get("val")), "WholeRow"):
            # The database would call what is printed otherwise than what was asked.
            said = {"name": row["alias"], **said}
        for key in sorted(said.keys() | printed.keys()):
            one, other = said.get(key), printed.get(key)
            if key == "groupClause" and one and other and all(map(is_named, other[len(one) :])):
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


def uncast(node: Tree) -> Tree:
    """What names an item: PostgreSQL looks behind casts for it."""
    while is_kind(node, "TypeCast"):
        node = node["arg"]
    return node


def is_named(node: Tree) -> bool:
    """A column with its relation."""
    return len(fields_of(node)) == 2
