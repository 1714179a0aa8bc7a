"""Two worlds that differ only in what a principal can't see: attacks are answered alike, byte for byte."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from gateway import FAST
from guard_corpus.databases import Database
from guard_corpus.postgres_world import OWNER, OWNER_PASSWORD, PostgresWorld
from guard_corpus.records import POLICY, PRINCIPALS, outside_parentheses, read_principals
from guard_oracle.two_worlds import PLAIN, attacks, create_other_worlds, other_name

from guard_http.places import GOVERNOR, Person, Places

# Ours, made at random for each request, and how long it took.
RANDOM = re.compile(rb'"(?:trace_id|query_id)":"[^"]*"|"(?:elapsed|took|elapsed_ms)":[0-9.]+')

# The clock: what a row was changed at, or what a statement asks it for.
CLOCK = re.compile(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00(?::00)?)?")

# That a key is taken stays observable, and nothing more: an INSERT may end so in one world alone.
TAKEN = re.compile(rb'"code":"(?:CONSTRAINT_VIOLATED|ROW_REFUSED)"')

READS = re.compile(r"\W*(?:SELECT|VALUES|TABLE|SHOW|EXPLAIN)\b", re.I)


@dataclass
class Pair:
    """One principal's two worlds."""

    plain: str
    other: str
    databases: list[Database]

    def restore(self) -> None:
        """Puts both back: what was added in one world only would show in all that follows."""
        for database in self.databases:
            database.restore(database.fingerprint())


@dataclass
class Worlds:
    places: Places
    pairs: dict[str, Pair] = field(default_factory=dict)


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with PostgresWorld() as databases, Places() as places:
        create_other_worlds(databases)
        principals = read_principals()
        places.add(*(Person(p.name, "1", p.variables, data_roles=list(p.roles)) for p in principals.values()))
        worlds = Worlds(places)
        for name in PRINCIPALS:
            # Each changes a copy of its own: what one changed, another would see in one world only.
            copy = f"plain_{name}"
            databases.server.execute(f"CREATE DATABASE {copy} TEMPLATE {PLAIN} OWNER {OWNER}")
            keys = []
            # Kept as they are while nobody is there.
            kept = [Database(databases.server, database) for database in (copy, other_name(name))]
            for database in kept:
                database.keep()
            for named in (copy, other_name(name)):
                description = {
                    "db_type": "postgresql",
                    "host": "127.0.0.1",
                    "port": databases.server.port,
                    "username": OWNER,
                    "password": OWNER_PASSWORD,
                    "database": named,
                }
                keys.append(places.connect(name, description))
                places.connect(GOVERNOR, description)
                places.put_policy(keys[-1], POLICY.read_bytes())
            worlds.pairs[name] = Pair(keys[0], keys[1], kept)
        yield worlds
        for pair in worlds.pairs.values():
            for database in pair.databases:
                database.close()


def answer(worlds: Worlds, principal: str, connection: str, sql: str, params: list[str | None]) -> bytes:
    """Status and body, without what no two requests share."""
    got = worlds.places.ask(principal, connection, sql, parameters=params)
    body = RANDOM.sub(b"", got.content)
    # System catalogs tell what the database is called, and two databases of one server are not called alike.
    for name in (f"plain_{principal}", other_name(principal)):
        body = body.replace(f'"{name}"'.encode(), b'"<database>"')
    return b"%d %s" % (got.status_code, CLOCK.sub(b"<clock>", body))


def is_ordered(sql: str) -> bool:
    return "order by" in outside_parentheses(sql).lower()


def rows_sorted(got: bytes) -> bytes:
    """The answer with its rows in an order of our own."""
    start, rows, end = got.partition(b'"rows":[')
    found, tail, rest = end.rpartition(b"],")
    return start + rows + b"],[".join(sorted(found.strip(b"[]").split(b"],["))) + tail + rest


def test_attacks_are_answered_alike(worlds: Worlds) -> None:
    seen: Counter[str] = Counter()
    differ = []
    # Of the short run every fifth.
    for name, principal, sql, params in itertools.islice(attacks(), 0, None, 5 if FAST else 1):
        pair = worlds.pairs[principal]
        one = answer(worlds, principal, pair.plain, sql, params)
        other = answer(worlds, principal, pair.other, sql, params)
        seen["asked"] += 1
        seen[one[:3].decode()] += 1
        if not READS.match(sql) and b"200 " in (one[:4], other[:4]):
            pair.restore()
        if one == other:
            continue
        if not is_ordered(sql) and rows_sorted(one) == rows_sorted(other):
            # Rows lie elsewhere when others were added and removed: no order was asked for.
            seen["another order"] += 1
            continue
        if "INSERT" in sql.upper() and (TAKEN.search(one) or TAKEN.search(other)):
            seen["that a key is taken"] += 1
            continue
        differ.append(f"{name}: {principal}: {sql[:300]}\n  {one[:300]!r}\n  {other[:300]!r}")
    print(dict(seen))
    assert seen["asked"] > (200 if FAST else 1000)
    assert seen["200"] > 50
    assert seen["that a key is taken"] + seen["another order"] <= 10
    assert not differ, f"{len(differ)} of {seen}:\n" + "\n".join(differ[:10])


def test_without_a_policy_the_worlds_differ(worlds: Worlds) -> None:
    """The harness sees what it is there for: two principals' worlds are not the same."""
    one, other = worlds.pairs["a_admin"], worlds.pairs["a_member"]
    sql = "SELECT count(*), sum(salary) FROM users"
    plain = answer(worlds, "a_admin", one.plain, sql, [])
    assert plain != answer(worlds, "a_member", other.plain, sql, [])
