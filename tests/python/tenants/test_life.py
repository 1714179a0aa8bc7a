"""`ringfence tenants`: schemas are made, kept alike, copied and removed; other tenants stay as they are."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway import ADMIN_KEY, FAST
from polling import wait_for
from throwaway_postgres import Postgres

from tenants.estate import MIGRATIONS, Estate, estates

# A thousand tenants, as the figure in docs/tenants.md; fewer where time is short.
MANY = 100 if FAST else 1000

APPLIED = "SELECT count(*) FROM ringfence_tenants.migrations WHERE schema_name ~ '^t[0-9]+$'"


@pytest.fixture
def estate(postgres: Postgres, tmp_path: Path) -> Iterator[Estate]:
    """A database of its own for each test."""
    with estates(postgres, "tenants_life", tmp_path) as estate:
        yield estate


@pytest.fixture
def companies(estate: Estate) -> Estate:
    """Two companies with rows."""
    estate.done("migrate", "--migrations", str(estate.migrations))
    # The template is indexed, the companies that are made after it are not.
    estate.refresh()
    estate.done("create", "company1", "company2", "--migrations", str(estate.migrations))
    for schema in ("company1", "company2"):
        estate.fill(schema)
    return estate


def test_schemas_are_made_and_migrated(companies: Estate) -> None:
    estate = companies
    migrations = ["--migrations", str(estate.migrations)]
    answer = estate.places.ask(
        "user_1", estate.connection, "SELECT description FROM company_data WHERE id = 1"
    )
    assert answer.json()["rows"] == [["company1 data"]], "columns are the template's until it is indexed"
    assert "alike: 2" in estate.done("check")
    assert "files applied: 0" in estate.done("migrate", *migrations), "what is done is not done again"
    assert "files applied: 0" in estate.done("create", "company1", *migrations)
    # One tenant's schema fails and is rolled back; the others are migrated.
    estate.execute("ALTER TABLE company2.notes ADD COLUMN extra int")
    estate.write(
        MIGRATIONS
        | {"003_extra.sql": "INSERT INTO notes VALUES ('n'); ALTER TABLE notes ADD COLUMN extra int"}
    )
    before = estate.contents("company2")
    ran = estate.run("migrate", *migrations)
    assert ran.returncode == 1
    assert "failed:" in ran.stderr
    assert 'company2, 003_extra.sql: column "extra" of relation "notes" already exists' in ran.stderr
    assert "failed: 1" in ran.stdout
    assert estate.contents("company2") == before
    ran = estate.run("check")
    assert ran.returncode == 0, f"company2 has the column by chance: {ran.stdout}"
    estate.execute("ALTER TABLE company2.notes DROP COLUMN extra", "DROP INDEX company1.notes_text")
    ran = estate.run("check", "--format", "json")
    assert ran.returncode == 1
    found = {it["tenant"]: it for it in json.loads(ran.stdout)["unlike"]}
    assert found["company2"]["lacks"] == ["column notes.extra"]
    assert found["company1"]["lacks"] == ["index notes_text"]
    assert estate.done("migrate", *migrations).count("files applied: 1") == 1


def test_what_can_not_be_trusted_is_refused(companies: Estate) -> None:
    estate = companies
    migrations = ["--migrations", str(estate.migrations)]
    before = {schema: estate.contents(schema) for schema in ("company1", "company2", "blank")}
    changed = MIGRATIONS | {
        "002_notes.sql": MIGRATIONS["002_notes.sql"] + "--",
        "003.sql": "DROP TABLE notes",
    }
    for files, why in (
        (changed, "was changed after it was applied"),
        ({"002_notes.sql": MIGRATIONS["002_notes.sql"]}, "is not in the folder any more"),
        (MIGRATIONS | {"003.sql": "COMMIT; BEGIN"}, "ends the transaction"),
    ):
        estate.write(files)
        ran = estate.run("migrate", *migrations)
        assert ran.returncode == 1
        assert why in ran.stderr, ran.stderr
    assert before == {schema: estate.contents(schema) for schema in before}
    estate.write(MIGRATIONS)
    assert "failed: 0" in estate.done("migrate", *migrations)
    # A name that can be no tenant's schema.
    for tenant in ("public", "blank", "a-b", "pg_catalog"):
        ran = estate.run("create", tenant, *migrations)
        assert ran.returncode == 1
        assert "can have no schema" in ran.stderr, ran.stderr


def test_a_killed_run_resumes(estate: Estate) -> None:
    migrations = ["--migrations", str(estate.migrations)]
    estate.done("migrate", *migrations)
    ids = estate.folder / "ids"
    ids.write_text("\n".join(f"t{number}" for number in range(MANY)))

    def killed(verb: str, *arguments: str, at: int) -> None:
        process = estate.begin(verb, *arguments)
        wait_for(
            "some to be done",
            lambda: estate.rows(APPLIED)[0][0] >= at or process.poll() is not None,
            seconds=600,
        )
        assert process.poll() is None, f"it ended before it could be killed: {estate.said.read_text()}"
        process.kill()
        process.wait(30)

    begun = time.monotonic()
    killed("create", "--ids-from", str(ids), *migrations, at=MANY // 2)
    # Whole files and their records, in every schema.
    half = (
        "SELECT count(*) FROM ringfence_tenants.migrations m WHERE name = '002_notes.sql' AND NOT EXISTS "
        "(SELECT FROM pg_tables t WHERE t.schemaname = m.schema_name AND t.tablename = 'notes')"
    )
    more = (
        "SELECT count(*) FROM pg_tables t WHERE tablename = 'notes' AND NOT EXISTS (SELECT FROM "
        "ringfence_tenants.migrations m WHERE m.schema_name = t.schemaname AND m.name = '002_notes.sql')"
    )
    # The killed command's sessions may live a moment longer.
    wait_for("its sessions to end", lambda: estate.rows(half)[0][0] + estate.rows(more)[0][0] == 0)
    assert estate.rows(APPLIED)[0][0] < 2 * MANY
    estate.done("create", "--ids-from", str(ids), *migrations)
    made = time.monotonic() - begun
    assert estate.rows(APPLIED)[0][0] == 2 * MANY
    estate.write(MIGRATIONS | {"003_more.sql": "ALTER TABLE notes ADD COLUMN more int DEFAULT 7"})
    begun = time.monotonic()
    killed("migrate", *migrations, at=2 * MANY + MANY // 3)
    estate.done("migrate", *migrations)
    migrated = time.monotonic() - begun
    assert estate.rows(APPLIED)[0][0] == 3 * MANY
    print(f"{MANY} schemas: made by two files in {made:.1f} s, migrated by one in {migrated:.1f} s")
    assert f"alike: {MANY}" in estate.done("check")


def test_a_suspended_tenant_gets_in_nowhere(companies: Estate) -> None:
    estate = companies
    ask = "SELECT count(*) FROM notes"

    def code(person: str) -> str:
        answer = estate.places.ask(person, estate.connection, ask)
        return "ok" if answer.ok else str(answer.json()["code"])

    assert [code("user_1"), code("user_2")] == ["ok", "ok"]
    assert estate.plain("suspend", "company2").returncode == 0
    # Another process learned of it: it takes a second at most.
    wait_for("the news to arrive", lambda: code("user_2") == "TENANT_SUSPENDED", seconds=3)
    assert code("user_1") == "ok"
    gateway = estate.places.gateway

    def me(key: str, **more: str) -> Any:
        headers = {"Authorization": f"Bearer {key}", **more}
        return estate.places.http.get(f"{gateway.url}/v1/me", headers=headers, timeout=10).json()["code"]

    assert me(estate.places.keys["user_2"]) == "TENANT_SUSPENDED"
    # Nobody gets in there in somebody's place.
    assert me(ADMIN_KEY, **{"x-waii-impersonate-user": "user_2"}) == "TENANT_SUSPENDED"
    assert "was suspended already" in estate.plain("suspend", "company2").stdout
    assert estate.plain("suspend", "my_tenant_id").returncode == 1, "nobody locks themselves out"
    assert estate.plain("suspend", "nobody").returncode == 1
    assert estate.plain("resume", "company2").returncode == 0
    wait_for("the news to arrive", lambda: code("user_2") == "ok", seconds=3)


def test_export_erase_import(companies: Estate, tmp_path: Path) -> None:
    estate = companies
    migrations = ["--migrations", str(estate.migrations)]
    before = estate.contents("company2")
    others = {schema: estate.contents(schema) for schema in ("company1", "blank", "public")}
    copy, plan, manifest = tmp_path / "copy", tmp_path / "plan.json", tmp_path / "erased.json"
    assert "exported: 3 tables, 11 rows" in estate.done("export", "company2", "--to", str(copy))
    verify = estate.places.gateway.command
    assert "3 tables, 11 rows" in verify("tenants", "verify", str(copy)).stdout
    # Nothing without a dry run, and nothing of a tenant that may still write.
    erase = ["erase", "company2", "--plan", str(plan)]
    assert estate.run(*erase, "--manifest", str(manifest)).returncode == 1
    assert "nothing was removed" in estate.done(*erase, "--dry-run")
    assert "not suspended" in estate.run(*erase, "--manifest", str(manifest)).stderr
    estate.plain("suspend", "company2")
    # What changed since is in no plan.
    estate.execute("INSERT INTO company2.notes VALUES ('later')")
    assert "not what the dry run showed" in estate.run(*erase, "--manifest", str(manifest)).stderr
    estate.execute("DELETE FROM company2.notes WHERE text = 'later'")
    wrong = ["erase", "company1", "--plan", str(plan), "--manifest", str(manifest)]
    assert "another tenant's" in estate.run(*wrong).stderr
    assert estate.contents("company2") == before
    # What depends on it from outside would go with it.
    estate.execute("CREATE VIEW public.peek AS SELECT * FROM company2.notes")
    assert "outside of the schema" in estate.run(*erase, "--manifest", str(manifest)).stderr
    assert estate.contents("company2") == before
    estate.execute("DROP VIEW public.peek")
    assert not manifest.exists()
    assert "erased: 11 rows" in estate.done(*erase, "--manifest", str(manifest))
    assert estate.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'company2'") == [(0,)]
    assert "erased" in verify("tenants", "verify", str(manifest)).stdout
    assert others == {schema: estate.contents(schema) for schema in others}
    # A half of it is nothing of it.
    estate.write({"001_tables.sql": MIGRATIONS["001_tables.sql"]})
    assert estate.run("import", str(copy), *migrations).returncode == 1
    assert estate.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'company2'") == [(0,)]
    estate.write(MIGRATIONS)
    assert "imported: tenant company2, 11 rows" in estate.done("import", str(copy), *migrations)
    assert estate.contents("company2") == before
    assert others == {schema: estate.contents(schema) for schema in others}
    again = tmp_path / "again"
    estate.done("export", "company2", "--to", str(again))
    for file in sorted(copy.glob("*.csv")):
        assert file.read_bytes() == (again / file.name).read_bytes()
    assert "alike: 2" in estate.done("check"), "keys and indexes are back, too"
    assert estate.run("import", str(copy), *migrations).returncode == 1, "it is there already"
    estate.plain("resume", "company2")


def test_what_was_changed_is_refused(companies: Estate, tmp_path: Path) -> None:
    estate = companies
    copy = tmp_path / "copy"
    estate.done("export", "company1", "--to", str(copy))
    verify = estate.places.gateway.command
    for path in sorted(copy.iterdir()):
        kept = path.read_bytes()
        changed = kept.replace(b"company1", b"company2", 1) if b"company1" in kept else kept + b"\n"
        path.write_bytes(changed)
        assert verify("tenants", "verify", str(copy)).returncode == 1, path.name
        path.write_bytes(kept)
    assert verify("tenants", "verify", str(copy)).returncode == 0
    plan = tmp_path / "plan.json"
    estate.done("erase", "company1", "--dry-run", "--plan", str(plan))
    estate.plain("suspend", "company1")
    text = plan.read_text()
    plan.write_text(text.replace('"company1"', '"company2"'))
    ran = estate.run("erase", "company2", "--plan", str(plan), "--manifest", str(tmp_path / "m"))
    assert ran.returncode == 1
    assert "changed since" in ran.stderr
    estate.plain("resume", "company1")


def test_rows_in_shared_tables(companies: Estate, tmp_path: Path) -> None:
    estate = companies
    policy = "models: { Order: { table: public.orders, scoping: { tenant_id: principal.tenant_id } } }"
    estate.places.put_policy(estate.connection, policy.encode())
    copy, plan, manifest = tmp_path / "copy", tmp_path / "plan.json", tmp_path / "erased.json"
    assert "1 tables, 2 rows" in estate.done("export", "company2", "--to", str(copy))
    before = estate.contents("public")
    estate.done("erase", "company2", "--dry-run", "--plan", str(plan))
    estate.plain("suspend", "company2")
    estate.done("erase", "company2", "--plan", str(plan), "--manifest", str(manifest))
    assert estate.rows("SELECT * FROM orders") == [(1, "company1", "one")]
    assert estate.rows("SELECT count(*) FROM company2.notes") == [(4,)], "the policy says nothing of schemas"
    estate.done("import", str(copy))
    assert estate.contents("public") == before
    estate.plain("resume", "company2")
