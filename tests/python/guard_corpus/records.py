"""What the corpus says: records, principals, and where the files are."""

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

CASES = Path(os.environ.get("GUARD_CORPUS", Path(__file__).parents[3] / "cases" / "guard-corpus"))

# As it was handed to us, never edited: fixtures, statements, the oracle's derivation.
GIVEN = CASES / "given"

# The corpus policy in Ringfence's own format.
POLICY = CASES / "policy.yaml"

PRINCIPALS = ("a_admin", "a_member", "a_analyst", "a_group")

# What a record may say. A misspelt field would otherwise be a rule that nobody checks.
FIELDS = frozenset(
    [
        "id",
        "dialect",
        "class",
        "principal",
        "expectation",
        "sql",
        "params",
        "script",
        "sql_gen",
        "sql_b64",
        "write",
        "ordered",
        "ignore_columns",
        "seq_columns",
        "forbid",
        # Asked of the isolated database instead of the statement: the same, in words that compare.
        "oracle_sql",
        # So many of the oracle's rows are right, whichever.
        "some_rows",
        "control_sql",
        "control_params",
        "strict_control",
        "residual",
        "source",
        "note",
        "effective",
        "beats_plain_views",
        "sqlparser_0_63",
    ]
)

EXPECTATIONS = frozenset({"refuse", "isolated", "no_marker", "benign"})


@dataclass(frozen=True)
class Principal:
    """Who asks, and what must never match anything that they receive."""

    name: str
    organization: str
    tenant_id: int
    user_id: int
    roles: tuple[str, ...]
    variables: dict[str, Any]
    markers: tuple[re.Pattern[str], ...]


@dataclass(frozen=True)
class Record:
    """One line of the corpus."""

    fields: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def group(self) -> str:
        """The record's class, in the corpus' words."""
        return str(self.fields["class"])

    @property
    def dialect(self) -> str:
        return str(self.fields["dialect"])

    @property
    def principal(self) -> str:
        return str(self.fields["principal"])

    @property
    def expectation(self) -> str:
        return str(self.fields["expectation"])

    @property
    def writes(self) -> bool:
        return bool(self.fields.get("write"))

    @property
    def params(self) -> list[str | None] | None:
        return self.fields.get("params")

    @property
    def script(self) -> list[str]:
        return list(self.fields.get("script", []))

    @cached_property
    def statement(self) -> bytes:
        """What is sent: generated, raw or plain."""
        if "sql_b64" in self.fields:
            return base64.b64decode(self.fields["sql_b64"])
        parts = self.fields.get("sql_gen")
        if parts is None:
            return str(self.fields["sql"]).encode()
        times = int(parts["times"])
        text = parts["prefix"] + parts["repeat"] * times + parts.get("mid", "")
        return str(text + parts.get("repeat2", "") * times + parts.get("suffix", "")).encode()

    @property
    def asked_of_oracle(self) -> bytes:
        """What the isolated database is asked."""
        sql = self.fields.get("oracle_sql")
        return self.statement if sql is None else str(sql).encode()

    @property
    def control(self) -> tuple[bytes, list[str | None] | None] | None:
        """The twin that touches nothing foreign: its text and parameters."""
        if "control_sql" not in self.fields and "control_params" not in self.fields:
            return None
        sql = self.fields.get("control_sql")
        text = self.statement if sql is None else str(sql).encode()
        return text, self.fields.get("control_params", self.params)

    @cached_property
    def is_ordered(self) -> bool:
        """Whether the order of rows matters: by default when an ORDER BY stands outside of parentheses."""
        if "ordered" in self.fields:
            return bool(self.fields["ordered"])
        return re.search(r"\border\s+by\b", outside_parentheses(str(self.fields["sql"])), re.I) is not None


TOKENS = re.compile(
    r"--[^\n\r]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|\$(\w*)\$.*?\$\1\$|[()]|[^()'\"$/-]+|.",
    re.S,
)


def outside_parentheses(sql: str) -> str:
    """The statement without comments, literals, quoted names and whatever stands in parentheses."""
    depth, kept = 0, []
    for match in TOKENS.finditer(sql):
        token = match.group()
        if token == "(":
            depth += 1
        elif token == ")":
            depth -= 1
        elif depth == 0 and not token.startswith(("--", "/*", "'", '"', "$", "e'", "E'")):
            kept.append(token)
        kept.append(" ")
    return "".join(kept)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file. A field, expectation or principal that we do not know is an error."""
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if not line.strip():
            continue
        fields = json.loads(line)
        where = f"{path}:{number}"
        assert FIELDS.issuperset(fields), f"{where}: {sorted(set(fields) - FIELDS)}"
        assert fields["expectation"] in EXPECTATIONS, where
        assert fields["principal"] in PRINCIPALS, where
        yield Record(fields)


def corpus(dialect: str) -> list[Record]:
    """All records of a dialect, given and own. Ids are unique."""
    suffix = {"postgresql": "pg", "sqlite": "sqlite", "mysql": "mysql"}[dialect]
    files = sorted([*GIVEN.glob(f"*.{suffix}.jsonl"), *CASES.glob(f"own.*.{suffix}.jsonl")])
    records = [record for file in files for record in read_records(file)]
    ids = [record.id for record in records]
    assert records, f"there is no corpus in {CASES}"
    assert len(ids) == len(set(ids)), sorted({name for name in ids if ids.count(name) > 1})
    return records


def read_principals() -> dict[str, Principal]:
    """The four who ask."""
    found = json.loads((GIVEN / "principals.json").read_text())
    assert set(found) == set(PRINCIPALS)
    return {
        name: Principal(
            name=name,
            organization=entry["org"],
            tenant_id=entry["tenant_id"],
            user_id=entry["user_id"],
            roles=tuple(entry["roles"]),
            variables={
                "tenant_id": entry["tenant_id"],
                "user_id": entry["user_id"],
                **entry["variables"],
            },
            markers=tuple(re.compile(marker, re.I) for marker in entry["forbidden_markers"]),
        )
        for name, entry in found.items()
    }


def read_state_views() -> Any:
    """The queries that tell which rows a principal sees, and which must stay as they are."""
    return json.loads((GIVEN / "state_views.json").read_text())
