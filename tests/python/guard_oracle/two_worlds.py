"""Two shared databases that differ only in what a principal can't see must look alike to it.

`python -m guard_oracle.two_worlds --seed N`: the attacks of the corpus, then generated statements.
"""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from guard_corpus.compare import Outcome, differences
from guard_corpus.markers import leaks
from guard_corpus.postgres_world import OWNER, PostgresWorld
from guard_corpus.records import PRINCIPALS, corpus, read_principals

from guard_oracle.generator import Generator
from guard_oracle.guard_process import FAULTS, Guarded, postgres_guard
from guard_oracle.judge import BEGIN, checked
from guard_oracle.schema import read_schema
from guard_oracle.sides import Ending, Side

USERS = {"a_admin": 1, "a_member": 2, "a_analyst": 3, "a_group": 4}

# The statements that make one world of the other, in sections.
STATEMENTS = (Path(__file__).parent / "other_world.sql").read_text()

# Rows lie in the order of their keys in all worlds: which row an error meets first must not depend on how
# we changed the hidden ones.
SORTED = "the order of rows"

PLAIN = "plain"

# A key that is taken in one world, or another one of several errors.
LEFT_OPEN = "left open"


def other_name(principal: str) -> str:
    return f"other_{principal}"


def section(name: str) -> str:
    """The statements for one purpose."""
    found = re.search(rf"^-- for {name}\n(.*?)(?=^-- for |\Z)", STATEMENTS, re.S | re.M)
    assert found, name
    return found[1]


def create_other_worlds(world: PostgresWorld) -> None:
    """For each principal a shared database in which all that is hidden is otherwise."""
    world.server.execute(f"CREATE DATABASE {PLAIN} TEMPLATE {world.shared.template} OWNER {OWNER}")
    world.server.execute(section(SORTED), database=PLAIN)
    for principal in PRINCIPALS:
        name = other_name(principal)
        world.server.execute(f"CREATE DATABASE {name} TEMPLATE {world.shared.template} OWNER {OWNER}")
        with world.server.connect(name) as connection:
            connection.execute(b"SET session_replication_role = replica")
            connection.execute(section("everybody").replace("{user}", str(USERS[principal])).encode())
            connection.execute(section(principal).encode())
            connection.execute(section(SORTED).encode())
            if principal == "a_member":
                continue
            connection.execute(b"REFRESH MATERIALIZED VIEW tenant_revenue")


class Pair:
    """One statement's two endings."""

    def __init__(self, world: PostgresWorld, fault: str | None = None) -> None:
        self.guard = postgres_guard(world, fault)
        self.markers = {name: principal.markers for name, principal in read_principals().items()}
        names = {PLAIN: PLAIN, **{principal: other_name(principal) for principal in PRINCIPALS}}
        self.reads = {key: Side(world.dsn(name), search_path="pg_catalog") for key, name in names.items()}
        self.writes = {key: Side(world.dsn(name), read_only=False) for key, name in names.items()}

    def run(self, key: str, guarded: Guarded) -> Ending:
        if not guarded.writes:
            return self.reads[key].run(guarded.sql, guarded.params)
        side = self.writes[key]
        side.texts(BEGIN)
        ending = checked(side.run(guarded.sql, guarded.params), guarded)
        side.pg.exec_(b"ROLLBACK")
        if ending.sqlstate.startswith("23"):
            ending.message = "constraint"
        return ending

    def marked(self, principal: str, ending: Ending) -> bool:
        return bool(leaks(ending.message, self.markers[principal], []))

    def difference(self, principal: str, guarded: Guarded, *, ordered: bool) -> str:
        one, other = self.run(PLAIN, guarded), self.run(principal, guarded)
        if "57014" in (one.sqlstate, other.sqlstate):
            return ""
        if (one.accepted, one.sqlstate, one.message) != (other.accepted, other.sqlstate, other.message):
            if guarded.writes and "23" in (one.sqlstate[:2], other.sqlstate[:2]):
                # That a key is taken stays observable, and nothing more.
                return LEFT_OPEN
            if one.sqlstate[:2] == other.sqlstate[:2] == "22" and not self.marked(principal, one):
                # Of several errors on visible rows one plan meets this first, another plan that. In the
                # plain world hidden values have their markers, so that the text is of none of them.
                return LEFT_OPEN
            return f"ends with {one.sqlstate} {one.message!r} and {other.sqlstate} {other.message!r}"
        if one.columns != other.columns or one.command != other.command:
            return f"answers {one.columns} {one.command} and {other.columns} {other.command}"
        # A database says its own name, and two can't have the same.
        name = other_name(principal).encode()
        other.rows = [
            tuple(value and value.replace(name, PLAIN.encode()) for value in row) for row in other.rows
        ]
        if one.rows == other.rows:
            return ""
        outcomes: tuple[Outcome, Outcome] = (one.outcome(), other.outcome())
        return "; ".join(differences(*outcomes, ordered=ordered, left_out=["updated_at", "at"]))


def attacks() -> Iterator[tuple[str, str, str, list[str | None]]]:
    for record in corpus("postgresql"):
        if record.group in ("resource", "timing") or record.script or record.fields.get("residual"):
            continue
        try:
            yield record.id, record.principal, record.statement.decode(), record.params or []
        except UnicodeDecodeError:
            continue


def main() -> int:
    parser = argparse.ArgumentParser(prog="guard_oracle.two_worlds", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--statements", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--fault", choices=[*FAULTS], help="spoil the guarded text: must be found")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    seen: Counter[str] = Counter()
    with PostgresWorld() as world:
        create_other_worlds(world)
        pair = Pair(world, arguments.fault)
        for name, principal, sql, params in attacks():
            check(pair, name, principal, sql, params, seen)
        generator = Generator({name: read_schema(world, name) for name in PRINCIPALS}, arguments.seed)
        for number in range(arguments.statements):
            if time.monotonic() > until:
                break
            said = generator.draw(number).statement
            name = f"seed {arguments.seed}, statement {number}"
            check(
                pair,
                name,
                said.principal,
                said.sql,
                said.params,
                seen,
                ordered=said.ordered,
                loose=said.loose,
                residual=said.residual,
            )
        pair.guard.close()
    print(", ".join(f"{count} {what}" for what, count in seen.most_common()))
    return 1 if seen["DIFFERENT"] else 0


def check(
    pair: Pair,
    name: str,
    principal: str,
    sql: str,
    params: list[str | None],
    seen: Counter[str],
    *,
    ordered: bool = False,
    loose: bool = False,
    residual: bool = False,
) -> None:
    guarded = pair.guard.guard(principal, sql, params)
    seen["asked"] += 1
    if guarded.refused is not None:
        seen["refused"] += 1
        return
    difference = pair.difference(principal, guarded, ordered=ordered)
    if difference == LEFT_OPEN or (difference and (loose or (residual and guarded.writes))):
        seen["left open"] += 1
    elif difference:
        seen["DIFFERENT"] += 1
        lines = [f"### {name}: {principal}", f"asked:   {sql}", f"params:  {params}"]
        lines += [f"guarded: {guarded.sql}", f"params:  {guarded.params}", f"differs: {difference}\n"]
        print("\n".join(lines), flush=True)
    else:
        seen["alike"] += 1


if __name__ == "__main__":
    sys.exit(main())
