"""PostgreSQL's own parser reads what the guard prints, and what was asked, and finds the same."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import pytest
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import CASES, Record, corpus
from guard_corpus.session import Session
from guard_oracle.guard_process import Guarded, postgres_guard
from pglast.parser import ParseError

from guard_printed.faults import FAULTS
from guard_printed.fences import catalogs, tree_of
from guard_printed.meaning import difference, meaning_asked, meaning_printed

FENCED = CASES.parent / "guard" / "fenced.txt"

# Records that are printed otherwise than PostgreSQL reads them. None gets more than it asked for: what is
# taken for a column does not exist, and the database says so.
OTHERWISE = {
    "pga-session-info-003": "CURRENT_ROLE is taken for a column",
    "ownpga-function-109": "CURRENT_ROLE is taken for a column",
    "ownpga-printer-067": 'U&"..." is taken for an operator between two columns',
    "ownpga-printer-068": "NFD is taken for a column",
    "ownpga-printer-062": "u.tags[1:1] is printed as (u).tags[1:1], which is the same",
    "pgb-analyst-022": "the text of a frame's bound is printed as the interval that it stands for",
}

# What a system relation's column is said to be, for a type of PostgreSQL's own that tells nothing more.
SAID_AS = {
    '"char"': "text",
    "aclitem[]": "text",
    "int2vector": "smallint[]",
    "pg_node_tree": "text",
    "text[]": "text",
    "information_schema.sql_identifier": "name",
    "information_schema.character_data": "text",
    "information_schema.yes_or_no": "text",
    "information_schema.cardinal_number": "integer",
}

# In how many statements each fault is made.
LEAST_TIMES, MOST_TIMES = 10, 25


@dataclass(frozen=True)
class Printed:
    """A record that was accepted, and what is printed for it."""

    record: Record
    said: str
    guarded: Guarded


@pytest.fixture(scope="module")
def world() -> Iterator[PostgresWorld]:
    with PostgresWorld() as world:
        yield world


@pytest.fixture(scope="module")
def accepted(world: PostgresWorld) -> list[Printed]:
    """The corpus, where it is not refused. Literals are lifted, as the gateway does it."""
    process = postgres_guard(world)
    records = [(record, text_of(record)) for record in corpus("postgresql")]
    readable = [(record, said) for record, said in records if said is not None]
    answers = process.guard_all([(record.principal, said, record.params or []) for record, said in readable])
    process.close()
    pairs = zip(readable, answers, strict=True)
    return [Printed(record, said, guarded) for (record, said), guarded in pairs if guarded.refused is None]


def text_of(record: Record) -> str | None:
    try:
        return record.statement.decode()
    except UnicodeDecodeError:
        return None


def cases() -> Iterator[tuple[str, str]]:
    """Statements of cases/guard, and what is printed for them."""
    for block in FENCED.read_text().split("\n\n"):
        lines = block.strip().split("\n")
        said = "\n".join(line for line in lines if not line.startswith("=> "))
        printed = [line.removeprefix("=> ") for line in lines if line.startswith("=> ")]
        if printed:
            yield said, printed[0]


def is_read(printed: str) -> bool:
    """Changes are only read: their fences are not those of a SELECT."""
    return tree_of(printed)["@"] == "SelectStmt" and "_rf_t" not in printed


def compare(said: str, printed: str, params: Sequence[str | None] | None = None) -> str:
    """Why they do not mean the same; nothing when they do."""
    if not is_read(printed):
        return ""
    try:
        asked = meaning_asked(said)
    except ParseError as error:
        return f"PostgreSQL can't read what was asked: {error}"
    return difference(asked, meaning_printed(printed, said, params))


@pytest.mark.parametrize(("said", "printed"), cases(), ids=lambda text: re.sub(r"\W+", " ", text)[:40])
def test_cases_mean_what_was_asked(said: str, printed: str) -> None:
    assert compare(said, printed) == ""


def test_the_corpus_means_what_was_asked(accepted: list[Printed]) -> None:
    counted: Counter[str] = Counter()
    faults = []
    for record, said, guarded in ((one.record, one.said, one.guarded) for one in accepted):
        counted["compared" if is_read(guarded.sql) else "changes"] += 1
        fault = compare(said, guarded.sql, guarded.params)
        if (fault != "") != (record.id in OTHERWISE):
            faults.append(f"{record.id}: {said[:300]}\n  {guarded.sql[:600]}\n  {fault or 'is the same now'}")
    print(dict(counted), len(faults))
    assert counted["compared"] > 500
    assert not faults, "\n".join(faults[:20])


def test_faults_in_what_is_printed_are_found(accepted: list[Printed]) -> None:
    """Each fault in some statements, which are others for each."""
    reads = [one for one in accepted if one.record.id not in OTHERWISE and is_read(one.guarded.sql)]
    chance = Random(1)
    overlooked = []
    for fault in FAULTS:
        made = 0
        for one in chance.sample(reads, len(reads)):
            before = (one.guarded.sql, list(one.guarded.params))
            sql, params = fault.spoil(before[0], list(before[1]))
            if (sql, params) == before:
                continue
            made += 1
            if not is_noticed(one.said, sql, params):
                overlooked.append(f"{fault.name}: {one.record.id}: {one.said[:200]}\n  {sql}")
            if made == MOST_TIMES:
                break
        assert made >= LEAST_TIMES, fault.name
    assert not overlooked, f"{len(overlooked)}\n" + "\n".join(overlooked[:20])


def is_noticed(said: str, printed: str, params: Sequence[str | None]) -> bool:
    try:
        return compare(said, printed, params) != ""
    except ParseError:
        return True


def test_system_relations_have_the_columns_of_the_database(world: PostgresWorld) -> None:
    """In their order, and of their types."""
    wrong = []
    with Session(world.shared.server_dsn()) as session:
        for relation, columns in catalogs().items():
            found = session.texts(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                f" WHERE attrelid = '{relation}'::regclass AND attnum > 0 ORDER BY attnum"
            )
            said = [(name, re.sub(r"^CAST\(.* AS (\w+)\)$", r"\1", kind)) for name, kind in columns]
            names = {name for name, _ in said}
            own = [(str(name), SAID_AS.get(str(kind), str(kind))) for name, kind in found if name in names]
            pairs = zip(said, own, strict=True)
            wrong += [f"{relation}: {one} is not {other}" for one, other in pairs if one != other]
    assert wrong == []


def test_another_meaning_is_found() -> None:
    printed = 'SELECT ("id" + 1) FROM (SELECT "_rf_r"."id" FROM "public"."t" AS "_rf_r") AS "t"'
    assert compare("SELECT id + 1 FROM t", printed) == ""
    for other in (
        "SELECT id - 1 FROM t",
        "SELECT id + 1 FROM u",
        "SELECT id + 2 FROM t",
        "SELECT id + 1 FROM t x",
        "SELECT id + 1 FROM ONLY t",
        "SELECT id + 1 FROM legacy.t",
        "SELECT id + 1 FROM pg_catalog.t",
        "WITH t AS (SELECT 1 AS id) SELECT id + 1 FROM t",
    ):
        assert compare(other, printed) != "", other


FENCE = '(SELECT "_rf_r"."id", "_rf_r"."name" FROM "public"."t" AS "_rf_r" WHERE ("_rf_r"."org" = $1)) AS "t"'


@pytest.mark.parametrize(
    ("asked", "printed", "value", "is_same"),
    [
        ("id = 4711", "id = ($2::integer)", "4711", True),
        ("4711 = id", "($2::integer) = id", "4711", True),
        ("id = 3000000000", "id = ($2::bigint)", "3000000000", True),
        ("id = 1.50", "id = ($2::numeric)", "1.50", True),
        ("id = 9223372036854775808", "id = ($2::numeric)", "9223372036854775808", True),
        ("id IN (5, 6)", "id IN (5, ($2::integer))", "6", True),
        ("id BETWEEN 5 AND 6", "id BETWEEN 5 AND ($2::integer)", "6", True),
        ("name = 'it''s'", "name = ($2)", "it's", True),
        ("name = '5'", "name = ($2)", "5", True),
        # Another value.
        ("id = 4711", "id = ($2::integer)", "4712", False),
        ("id = 1.50", "id = ($2::numeric)", "1.5", False),
        ("id = 4711", "id = ($2::integer)", "04711", False),
        ("id = 4711", "id = ($2::integer)", "-4711", False),
        ("id = 4711", "id = ($2::integer)", None, False),
        ("name = 'a'", "name = ($2)", "A", False),
        ("name = 'a'", "name = ($2)", None, False),
        # Another type: other operators, other errors.
        ("id = 4711", "id = ($2)", "4711", False),
        ("id = 4711", "id = ($2::bigint)", "4711", False),
        ("id = 3000000000", "id = ($2::integer)", "3000000000", False),
        ("id = 1.50", "id = ($2::float8)", "1.50", False),
        ("id = 1.50", "id = ($2::numeric(3, 2))", "1.50", False),
        ("id = 4711", "id = ($2::public.int4)", "4711", False),
        ("name = '5'", "name = ($2::integer)", "5", False),
        ("name = 'a'", "name = ($2::text)", "a", False),
        # A place where it is compared with more than a column, or a parameter that is the caller's.
        ("id + 1 = 5", "(id + ($2::integer)) = 5", "1", False),
        ("lower(name) = 'a'", "lower(name) = ($2)", "a", False),
        ("name LIKE 'a'", "name LIKE ($2)", "a", False),
        ("name IS DISTINCT FROM 'a'", "name IS DISTINCT FROM ($2)", "a", False),
        ("id = 4711 AND name = $2", "id = ($2::integer) AND name = $2", "4711", False),
        ("EXISTS (SELECT 5)", "EXISTS (SELECT ($2::integer))", "5", False),
        ("EXISTS (SELECT id = 5)", "EXISTS (SELECT id = ($2::integer))", "5", False),
    ],
)
def test_a_lifted_literal_is_the_literal(asked: str, printed: str, value: str | None, is_same: bool) -> None:
    fault = compare(
        f"SELECT id FROM t WHERE {asked}", f"SELECT id FROM {FENCE} WHERE {printed}", ["1", value]
    )
    assert (fault == "") == is_same, fault


def test_a_system_relation_is_read_by_its_exact_shape(world: PostgresWorld) -> None:
    """A statement that names the database's own catalog is compared with what stands for it, nothing else."""
    said = "SELECT nspname FROM pg_namespace"
    source = (
        'SELECT "_rf_r"."oid" AS "oid", "_rf_r"."nspname" AS "nspname", "_rf_r"."nspowner" AS "nspowner",'
        ' "_rf_r"."nspacl" AS "nspacl" FROM "pg_catalog"."jsonb_to_recordset"(CAST($1 AS jsonb)) AS "_rf_r"'
        ' ("oid" oid, "nspname" name, "nspowner" oid, "nspacl" text)'
    )
    document = '[{"oid": 20000, "nspname": "public", "nspowner": 10, "nspacl": null}]'
    printed = f'SELECT "nspname" FROM ({source}) AS "pg_namespace"'
    assert compare(said, printed, [document]) == ""
    assert compare("SELECT nspname FROM pg_catalog.pg_namespace", printed, [document]) == ""
    for other in (
        "SELECT nspname FROM public.pg_namespace",
        "SELECT nspname FROM pg_class AS pg_namespace",
        "SELECT nspname FROM information_schema.pg_namespace",
        "WITH pg_namespace AS (SELECT 1 AS nspname) SELECT nspname FROM pg_namespace",
        "SELECT nspname FROM (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace) AS pg_namespace",
    ):
        assert compare(other, printed, [document]) != "", other
    for wrong in ("[{}]", '[{"nspname": "public"}]', "{}", "null", document.replace("nspacl", "nspowners")):
        assert compare(said, printed, [wrong]) != "", wrong
    # The document is the guard's own: never what a caller sends.
    asked = "SELECT nspname FROM pg_namespace WHERE nspname = $1"
    assert compare(asked, f'{printed} WHERE ("nspname" = $1)', [document]) != ""


def test_a_whole_row_has_the_relations_own_names() -> None:
    fence = FENCE.replace('AS "t"', 'AS "t" ("a")')
    row = (
        '(CASE WHEN "t" IS DISTINCT FROM NULL THEN (SELECT "_rf_w" FROM (SELECT "t"."a" AS "id",'
        ' "t"."name" AS "name") AS "_rf_w") END)'
    )
    printed = f'SELECT "pg_catalog"."count"({row}), {row} AS "t" FROM {fence}'
    assert compare("SELECT count(t.*), t FROM t AS t(a)", printed) == ""
    assert compare("SELECT count(t), t FROM t AS t(a)", printed) == ""
    assert compare("SELECT count(t.*), t.* FROM t AS t(a)", printed) != ""
    assert compare("SELECT count(u.*), t FROM t AS t(a)", printed) != ""
    for wrong in (
        printed.replace('"t"."a" AS "id"', '"t"."a" AS "a"'),
        printed.replace('"t"."a" AS "id", "t"."name" AS "name"', '"t"."a" AS "id"'),
        printed.replace('"t"."a" AS "id"', '"t"."name" AS "id"'),
        printed.replace("IS DISTINCT FROM", "IS NOT DISTINCT FROM"),
        printed.replace(') AS "_rf_w")', ') AS "_rf_w" LIMIT 0)'),
        printed.replace(') AS "t" FROM', ") FROM"),
        printed.replace(') AS "t" FROM', ') AS "u" FROM'),
    ):
        assert wrong != printed
        assert compare("SELECT count(t.*), t FROM t AS t(a)", wrong) != "", wrong
