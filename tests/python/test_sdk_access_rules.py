"""Table access rules by the unmodified SDK: filters, blocks, variables, who is bound, what is shown."""

from typing import Any

import pytest
from polling import wait_for
from sdk_world import MOVIES, make_user, refused, run, wait_until_indexed
from waii_sdk_py import Waii
from waii_sdk_py.access_rules import (
    ListTableAccessRuleRequest,
    RemoveTableAccessRuleRequest,
    TableAccessRule,
    TableAccessRuleType,
    UpdateTableAccessRuleRequest,
)
from waii_sdk_py.database import ModifyDBConnectionRequest, TableName
from waii_sdk_py.query import GetQueryResultRequest, RunQueryCompilerRequest, RunQueryRequest
from waii_sdk_py.user import UpdateUserRequest, User

PEOPLE = {**MOVIES, "table_name": "PEOPLE"}


def rule(
    name: str, table: dict[str, str] = MOVIES, expression: str | None = None, **scope: str
) -> TableAccessRule:
    """A filter with an expression, a block without one."""
    kind = TableAccessRuleType.filter if expression else TableAccessRuleType.block
    on = TableName(**table)
    return TableAccessRule(id=name, name=name, table=on, type=kind, expression=expression, **scope)


def give(admin: Any, years: list[Any]) -> None:
    """Gives Ann the variable `years`."""
    ann = User(id="ann", name="Ann", tenant_id="sdk-org-tenant", org_id="sdk-org", variables={"years": years})
    admin.user.update_user(UpdateUserRequest(user=ann))


def write(client: Any, *rules: TableAccessRule) -> None:
    client.access_rules.update_table_access_rules(UpdateTableAccessRuleRequest(rules=list(rules)))


def listed(client: Any, **lookup: Any) -> list[TableAccessRule]:
    rules = client.access_rules.list_table_access_rules(ListTableAccessRuleRequest(**lookup)).rules
    return list(rules)


def remove(client: Any, *ids: str) -> None:
    client.access_rules.remove_table_access_rules(RemoveTableAccessRuleRequest(rules=list(ids)))


def connect(client: Any, world: Any) -> None:
    added = ModifyDBConnectionRequest(updated=[world.connection.copy()], validate_before_save=True)
    client.database.modify_connections(added)
    client.database.activate_connection(world.key)
    wait_until_indexed(client, world.key)
    wait_for("the catalog", lambda: client.database.get_catalogs().catalogs)


def titles(client: Any, query: str = "SELECT title FROM movies ORDER BY id") -> list[str]:
    return [row["TITLE"] for row in run(client, query).rows]


@pytest.fixture
def ruled(world: Any) -> Any:
    """The organization's administrator has the connection too; every rule goes at the end."""
    client = world.ada
    connect(client, world)
    yield world
    remove(client, *[one.id for one in listed(client)])


class TestRules:
    """What document 000's client can say and see."""

    def test_a_filter_and_its_end(self, ruled: Any) -> None:
        assert titles(ruled.ann) == ["Cleo", "Ran", "Ikiru"]
        write(ruled.ada, rule("old", expression="year < 1970"))
        assert titles(ruled.ann) == ["Cleo", "Ikiru"]
        assert titles(ruled.ann, "SELECT m.title FROM public.movies AS m WHERE m.id > 1") == ["Ikiru"]
        assert titles(ruled.olga) == ["Cleo", "Ran", "Ikiru"], "another organization"
        write(ruled.ada, rule("old", expression="year > 1970"))
        assert titles(ruled.ann) == ["Ran"]
        remove(ruled.ada, "old", "no-such")
        assert titles(ruled.ann) == ["Cleo", "Ran", "Ikiru"]

    def test_a_rule_comes_back_as_it_was_written(self, ruled: Any) -> None:
        scope = {"org_id": "sdk-org", "tenant_id": "sdk-org-tenant", "user_id": "ann"}
        one = rule("hers", MOVIES, "( id = 1 OR title IN ({permissions}) )", **scope)
        write(ruled.ada, one, rule("none", PEOPLE, user_id="ben"))
        found = listed(ruled.ada)
        assert [found_rule.id for found_rule in found] == ["hers", "none"]
        assert found[0] == one
        assert (found[1].type, found[1].expression, found[1].org_id) == ("block", None, "sdk-org")
        assert [r.id for r in listed(ruled.ada, table=TableName(**PEOPLE))] == ["none"]
        assert [r.id for r in listed(ruled.ada, ids=["hers", "other"])] == ["hers"]
        ann = User(id="ann", name="Ann", tenant_id="sdk-org-tenant", org_id="sdk-org")
        assert [r.id for r in listed(ruled.ada, lookup_user=ann)] == ["hers"]
        assert titles(ruled.ann) == ["Cleo"]

    def test_an_id_is_made_up(self, ruled: Any) -> None:
        one = rule("x", expression="id = 2")
        one.id = None
        write(ruled.ada, one)
        assert listed(ruled.ada)[0].id
        assert titles(ruled.ann) == ["Ran"]

    def test_variables(self, ruled: Any) -> None:
        give(ruled.admin, [1952, 1985])
        write(ruled.ada, rule("mine", expression="year IN ({years}) AND {user_id} = 'ann'", user_id="ann"))
        assert titles(ruled.ann) == ["Ran", "Ikiru"]
        # A value is never text of the statement.
        give(ruled.admin, ["1952) OR (1 = 1"])
        with refused():
            titles(ruled.ann)

    def test_a_block_looks_like_nothing(self, ruled: Any) -> None:
        write(ruled.ada, rule("no", PEOPLE))
        with pytest.raises(Exception, match=r'relation "people" does not exist'):
            run(ruled.ann, "SELECT * FROM people")
        with pytest.raises(Exception, match=r'relation "nothing" does not exist'):
            run(ruled.ann, "SELECT * FROM nothing")
        schemas = ruled.ann.database.get_catalogs().catalogs[0].schemas
        shown = {table.name.table_name for schema in schemas for table in schema.tables}
        assert "MOVIES" in shown
        assert "PEOPLE" not in shown

    def test_compiling_shows_the_filter(self, ruled: Any) -> None:
        write(ruled.ada, rule("old", expression="year > 1970 AND title <> {user_id}"))
        query = "SELECT m.title FROM movies AS m"
        compiled = ruled.ann.query.run_query_compiler(RunQueryCompilerRequest(query=query))
        protection = compiled.enforce_table_access_rules_response
        assert (compiled.should_compile, protection.status.state) == (True, "protected")
        assert "'ann'" in protection.query
        assert titles(ruled.olga, protection.query) == ["Ran"], "it stands for itself"
        blocked = ruled.ann.query.run_query_compiler(RunQueryCompilerRequest(query="SELECT * FROM nothing"))
        assert blocked.should_compile is False

    def test_submitted_queries_are_held_too(self, ruled: Any) -> None:
        write(ruled.ada, rule("old", expression="year > 1970"))
        submitted = ruled.ann.query.submit(RunQueryRequest(query="SELECT title FROM movies"))
        result = ruled.ann.query.get_results(GetQueryResultRequest(query_id=submitted.query_id))
        assert result.rows == [{"TITLE": "Ran"}]

    def test_what_is_refused(self, ruled: Any) -> None:
        for wrong in (
            rule("x", expression="year > 1) OR (1 = 1"),
            rule("x", expression="year > 1; DROP TABLE movies"),
            rule("x", expression="nothing = 1"),
            rule("x", expression="year = {nobody_has_this}"),
            rule("x", {**MOVIES, "table_name": "NOTHING"}),
            rule("x", {**MOVIES, "database_name": "OTHER"}),
            rule("x", org_id="other-org"),
            rule("x", user_id="olga"),
        ):
            with refused():
                write(ruled.ada, rule("fine", PEOPLE), wrong)
        assert listed(ruled.ada) == []
        for call in (lambda c: write(c, rule("x")), listed, lambda c: remove(c, "x")):
            with pytest.raises(Exception, match=r"publish:access-rules"):
                call(ruled.ann)


def test_an_administrator_of_a_tenant(ruled: Any) -> None:
    key = make_user(ruled.admin, "tia", "sdk-org-tenant", "sdk-org", ["waii-admin-user"])
    tia = Waii()
    tia.initialize(api_key=key, url=ruled.url)
    connect(tia, ruled)
    write(tia, rule("ours", expression="id = 3"))
    assert (listed(tia)[0].org_id, listed(tia)[0].tenant_id) == ("sdk-org", "sdk-org-tenant")
    assert titles(ruled.ann) == ["Ikiru"]
    write(ruled.ada, rule("all", PEOPLE, expression="id = 1", org_id="sdk-org"))
    with pytest.raises(Exception, match=r"ranks above you"):
        write(tia, rule("loose", PEOPLE, expression="1 = 1"))
