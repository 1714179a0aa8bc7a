"""The guard corpus as lakes: the shared one, and for each principal the isolated one that is its oracle."""

import csv
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from guard_corpus.records import POLICY, PRINCIPALS
from guard_corpus.sqlite_world import SqliteWorld

# DataFusion has no functions for JSON: what only they could mask is in neither lake.
LEFT_OUT = {
    "tenants": ("settings",),
    "users": ("profile",),
    "orders": ("shipping_address",),
    "events": ("payload",),
}

# Words of lakes where those of PostgreSQL do not do: the masks that the isolated files were made with.
EMAIL = "left({0}, 1) || '***@' || split_part({0}, '@', 2)"
WORDS = {
    "encode(sha256(convert_to(email, 'UTF8')), 'hex')": EMAIL.format("email"),
    "encode(sha256(convert_to(customer_email, 'UTF8')), 'hex')": EMAIL.format("customer_email"),
    "CAST(trunc(salary, -4) AS numeric(14,2))": "salary - salary % 10000",
}


class LakeCorpusWorld:
    """Directories of CSV files. Use it in a `with` block."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ringfence-lake-corpus-"))
        with SqliteWorld() as files:
            self._export(files.shared, "shared")
            for principal in PRINCIPALS:
                self._export(files.isolated(principal), f"iso_{principal}")

    def __enter__(self) -> "LakeCorpusWorld":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def key(self, principal: str, *, guarded: bool) -> str:
        """The key that Ringfence gives a principal's connection."""
        return f"lake:///{self._name(principal, guarded)}"

    def description(self, principal: str, *, guarded: bool) -> dict[str, Any]:
        """A principal's connection."""
        return {"db_type": "lake", "path": self._name(principal, guarded)}

    def settings(self) -> dict[str, str]:
        """What Ringfence has to be told."""
        return {"RINGFENCE_LAKE__DIRECTORIES": str(self.home)}

    def policy(self) -> bytes:
        """The policy of the guarded connection, without changes, which a lake does not take."""
        document = yaml.safe_load(POLICY.read_text())
        for model in document["models"].values():
            model.pop("write_policy", None)
            table = model["table"].removeprefix("public.")
            fields = model.get("fields", {})
            for column in LEFT_OUT.get(table, ()):
                fields.pop(column, None)
            for field in fields.values():
                for entry in field if isinstance(field, list) else [field]:
                    entry.pop("writable", None)
                    if isinstance(expression := entry.get("expression"), dict):
                        text = expression["postgresql"]
                        expression["lake"] = WORDS.get(text, text)
        text = str(yaml.safe_dump(document, sort_keys=False))
        return text.encode()

    def _name(self, principal: str, guarded: bool) -> str:
        return "shared" if guarded else f"iso_{principal}"

    def _export(self, database: Path, lake: str) -> None:
        directory = self.home / lake
        directory.mkdir()
        with sqlite3.connect(database) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') "
                "AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
            ).fetchall()
            for (name,) in names:
                export(connection, name, directory)
        connection.close()


def export(connection: sqlite3.Connection, table: str, directory: Path) -> None:
    """A table as CSV, as far as CSV has words for it."""
    declared = {row[1]: row[2].upper() for row in connection.execute(f'PRAGMA table_xinfo("{table}")')}
    columns = [name for name in declared if name not in LEFT_OUT.get(table, ())]
    listed = ", ".join(f'"{name}"' for name in columns)
    with (directory / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in connection.execute(f'SELECT {listed} FROM "{table}"'):
            writer.writerow([cell(value, declared[name]) for name, value in zip(columns, row, strict=True)])


def cell(value: Any, declared: str) -> Any:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if declared.startswith("BOOL") and value in (0, 1):
        return "true" if value else "false"
    return value
