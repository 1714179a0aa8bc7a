"""The notebook "Example of multi-tenant user access and management on Waii", from first cell to last.

The SDK is the unmodified one. What differs from the notebook is the port of PostgreSQL, and that we poll
where it sleeps. The cells run in order, as in a notebook: each test is a cell, and goes on with what the last
one left.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from gateway import ADMIN_KEY, Gateway
from polling import wait_for
from throwaway_postgres import Postgres
from waii_sdk_py import Waii
from waii_sdk_py.database import (
    DBConnection,
    GetCatalogRequest,
    ModifyDBConnectionRequest,
)
from waii_sdk_py.database.database import SearchContext
from waii_sdk_py.query import RunQueryRequest
from waii_sdk_py.user import (
    CommonResponse,
    CreateAccessKeyRequest,
    CreateOrganizationRequest,
    CreateTenantRequest,
    CreateUserRequest,
    GetAccessKeyRequest,
    GetUserInfoRequest,
    ListUsersRequest,
    Organization,
    Tenant,
    UpdateUserRequest,
    User,
)

API_USER_PERMISSIONS = {
    "write:databases",
    "read:similarity-search-index",
    "read:liked-queries",
    "write:semantic-context",
    "read:databases",
    "write:liked-queries",
    "usage:api",
    "read:semantic-context",
    "write:access_key",
}

PRINTED_USERS = [
    "id='banana-user' name='Banana User' tenant_id='banana-tenant' org_id='fruit-org' variables=None "
    "roles=['waii-api-user']",
    "id='apple-user' name='Apple User' tenant_id='apple-tenant' org_id='fruit-org' variables=None "
    "roles=['waii-api-user']",
]


@pytest.fixture(scope="module")
def notebook(ringfence: Gateway, postgres: Postgres) -> Any:
    """The notebook's variables: they live as long as it is open."""
    postgres.create_database("waii_test_db1", "waii_test_user1", "password1")
    postgres.create_database("waii_test_db2", "waii_test_user2", "password2")
    admin_client = Waii()
    admin_client.initialize(api_key=ADMIN_KEY, url=ringfence.api)
    return SimpleNamespace(
        url=ringfence.api,
        port=postgres.port,
        admin_client=admin_client,
        key_1=f"postgresql://waii_test_user1@localhost:{postgres.port}/waii_test_db1",
        key_2=f"postgresql://waii_test_user2@localhost:{postgres.port}/waii_test_db2",
    )


def keys_of(reply: Any) -> list[str]:
    return [connection.key for connection in reply.connectors]


def get_all_tables(client: Any) -> list[Any]:
    """The notebook's helper."""
    catalog = client.database.get_catalogs(GetCatalogRequest())
    table_names = []
    for db in catalog.catalogs:
        for schema in db.schemas:
            for table in schema.tables:
                table_names.append(table.name)
    return table_names


def wait_until_indexed(client: Any, key: str) -> Any:
    """The notebook's loop around connector_status, with a deadline."""

    def look() -> Any:
        status = client.database.get_connections().connector_status[key]
        assert status.status in ("not-started", "indexing", "completed"), status
        return status if status.status == "completed" else None

    return wait_for(f"the index of {key}", look)


def table_names(client: Any) -> list[str]:
    return sorted(f"{name.schema_name}.{name.table_name}" for name in get_all_tables(client))


def test_create_organization_tenants_and_users(notebook: Any) -> None:
    admin_client = notebook.admin_client
    replies = [
        admin_client.user.create_org(
            CreateOrganizationRequest(organization=Organization(id="fruit-org", name="Fruit Org"))
        ),
        admin_client.user.create_tenant(
            CreateTenantRequest(tenant=Tenant(id="banana-tenant", name="Banana Tenant", org_id="fruit-org"))
        ),
        admin_client.user.create_tenant(
            CreateTenantRequest(tenant=Tenant(id="apple-tenant", name="Apple Tenant", org_id="fruit-org"))
        ),
        admin_client.user.create_user(
            CreateUserRequest(
                user=User(id="banana-user", name="Banana User", tenant_id="banana-tenant", org_id="fruit-org")
            )
        ),
        admin_client.user.create_user(
            CreateUserRequest(
                user=User(id="apple-user", name="Apple User", tenant_id="apple-tenant", org_id="fruit-org")
            )
        ),
    ]
    assert [repr(reply) for reply in replies] == ["CommonResponse()"] * 5


def test_list_users(notebook: Any) -> None:
    users = notebook.admin_client.user.list_users(ListUsersRequest(lookup_org_id="fruit-org")).users
    assert [str(user) for user in users] == PRINTED_USERS


def test_update_roles(notebook: Any) -> None:
    admin_client = notebook.admin_client
    for user_id, tenant_id, name in [
        ("banana-user", "banana-tenant", "Banana User"),
        ("apple-user", "apple-tenant", "Apple User"),
    ]:
        reply = admin_client.user.update_user(
            UpdateUserRequest(
                user=User(
                    id=user_id, tenant_id=tenant_id, org_id="fruit-org", name=name, roles=["waii-api-user"]
                )
            )
        )
        assert isinstance(reply, CommonResponse)
    users = admin_client.user.list_users(ListUsersRequest(lookup_org_id="fruit-org")).users
    assert [str(user) for user in users] == PRINTED_USERS


def test_create_access_keys_by_impersonation(notebook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    # The reply has no [0]: the SDK raises, and the notebook takes the key from the list. The second time the
    # name is taken, the SDK prints <Response [400]>, and the list gives the same key again.
    made = []
    for _ in range(2):
        admin_client = notebook.admin_client
        with admin_client.impersonate_user("banana-user"):
            try:
                banana_api_key = admin_client.user.create_access_key(CreateAccessKeyRequest(name="default"))[
                    0
                ].access_key
            except:  # noqa: E722 - as the notebook has it
                banana_api_key = (
                    admin_client.user.list_access_keys(GetAccessKeyRequest()).access_keys[0].access_key
                )
        with admin_client.impersonate_user("apple-user"):
            try:
                apple_api_key = admin_client.user.create_access_key(CreateAccessKeyRequest(name="default"))[
                    0
                ].access_key
            except:  # noqa: E722
                apple_api_key = (
                    admin_client.user.list_access_keys(GetAccessKeyRequest()).access_keys[0].access_key
                )
        made.append((banana_api_key, apple_api_key))
    assert made[0] == made[1]
    assert banana_api_key != apple_api_key
    assert min(len(banana_api_key), len(apple_api_key)) >= 22
    assert capsys.readouterr().out == "<Response [400]>\n<Response [400]>\n"
    notebook.banana_api_key, notebook.apple_api_key = made[0]


def test_two_clients(notebook: Any) -> None:
    notebook.banana_client = Waii()
    notebook.banana_client.initialize(api_key=notebook.banana_api_key, url=notebook.url)
    notebook.apple_client = Waii()
    notebook.apple_client.initialize(api_key=notebook.apple_api_key, url=notebook.url)
    for client, user_id, name in [
        (notebook.banana_client, "banana-user", "Banana User"),
        (notebook.apple_client, "apple-user", "Apple User"),
    ]:
        info = client.user.get_user_info(GetUserInfoRequest())
        start = f"id='{user_id}' name='{name}' email='{user_id}' roles=['waii-api-user'] permissions=["
        assert str(info).startswith(start)
        assert len(info.permissions) == 9
        assert set(info.permissions) == API_USER_PERMISSIONS


def test_first_connections(notebook: Any) -> None:
    notebook.db_conn_1 = DBConnection(
        db_type="postgresql",
        host="localhost",
        port=notebook.port,
        username="waii_test_user1",
        password="password1",
        database="waii_test_db1",
    )
    notebook.db_conn_2 = DBConnection(
        db_type="postgresql",
        host="localhost",
        port=notebook.port,
        username="waii_test_user2",
        password="password2",
        database="waii_test_db2",
    )
    all_conns = notebook.banana_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[notebook.db_conn_1])
    )
    printed = str(all_conns).replace("embedding_model='text-embedding-ada-002'", "embedding_model=None")
    assert printed.startswith(
        f"connectors=[DBConnection(key='{notebook.key_1}', db_type='postgresql', description=None, "
        "account_name=None, username='waii_test_user1', password=None, database='waii_test_db1', "
        f"warehouse=None, role=None, path=None, host='localhost', port={notebook.port}, parameters=None, "
        "sample_col_values=True, push=False, db_content_filters=None, embedding_model=None, "
        "always_include_tables=None, alias=None, db_access_policy=DBAccessPolicy(read_only=False, "
        "allow_access_beyond_db_content_filter=True, allow_access_beyond_search_context=True), "
        "host_alias=None, user_alias=None, db_alias=None, client_email=None, content_filters=None, "
        "sample_filters=None"
    )
    extra = all_conns.connectors[0]
    assert extra.secure is True
    assert extra.waii_user_id == "banana-user"
    assert extra.external_authentication_uri is None
    assert extra.need_external_authentication is None
    end = f"diagnostics=None default_db_connection_key=None connector_status={{'{notebook.key_1}': "
    assert end in printed
    status = all_conns.connector_status[notebook.key_1]
    assert (status.status, status.schema_status, status.index_percentage) == ("not-started", {}, 100)

    all_conns = notebook.apple_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[notebook.db_conn_2])
    )
    assert keys_of(all_conns) == [notebook.key_2]
    assert "password1" not in str(all_conns)
    assert "password2" not in str(all_conns)


def test_activate_and_ask_for_the_database(notebook: Any) -> None:
    notebook.banana_client.database.activate_connection(notebook.key_1)
    notebook.apple_client.database.activate_connection(notebook.key_2)
    for client, database in [
        (notebook.banana_client, "waii_test_db1"),
        (notebook.apple_client, "waii_test_db2"),
    ]:
        rows = client.query.run(RunQueryRequest(query="SELECT current_database();")).rows
        assert rows == [{"CURRENT_DATABASE": database}]


def test_neither_reaches_the_other(notebook: Any) -> None:
    for client, foreign in [
        (notebook.banana_client, notebook.key_2),
        (notebook.apple_client, notebook.key_1),
    ]:
        with pytest.raises(Exception, match="is not valid, all the available keys are"):
            client.database.activate_connection(foreign)


def test_second_connection(notebook: Any) -> None:
    all_conns = notebook.banana_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[notebook.db_conn_2])
    )
    assert keys_of(all_conns) == [notebook.key_1, notebook.key_2]
    notebook.banana_client.database.activate_connection(notebook.key_2)
    rows = notebook.banana_client.query.run(RunQueryRequest(query="SELECT current_database();")).rows
    assert rows == [{"CURRENT_DATABASE": "waii_test_db2"}]


def test_remove_connections(notebook: Any) -> None:
    for removed, left in [(notebook.key_2, [notebook.key_1]), (notebook.key_1, [])]:
        all_conns = notebook.banana_client.database.modify_connections(
            ModifyDBConnectionRequest(removed=[removed])
        )
        assert keys_of(all_conns) == left
    # What banana removed is still apple's.
    assert keys_of(notebook.apple_client.database.get_connections()) == [notebook.key_2]


def test_nine_tables_then_two(notebook: Any) -> None:
    banana_client, apple_client = notebook.banana_client, notebook.apple_client
    all_conns = banana_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[notebook.db_conn_2])
    )
    assert keys_of(all_conns) == [notebook.key_2]
    wait_until_indexed(banana_client, notebook.key_2)
    banana_client.database.activate_connection(notebook.key_2)
    apple_client.database.activate_connection(notebook.key_2)
    assert len(get_all_tables(banana_client)) == 9
    assert len(get_all_tables(apple_client)) == 9

    db_conn_2_limited_tables = notebook.db_conn_2.copy(deep=True)
    db_conn_2_limited_tables.content_filters = [
        SearchContext(db_name="*", schema_name="information_schema", table_name="tables"),
        SearchContext(db_name="*", schema_name="information_schema", table_name="columns"),
    ]
    all_conns = banana_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[db_conn_2_limited_tables])
    )
    # A client that polls for "completed" must not see the old state.
    assert all_conns.connector_status[notebook.key_2].status != "completed"
    wait_until_indexed(banana_client, notebook.key_2)
    both = ["INFORMATION_SCHEMA.COLUMNS", "INFORMATION_SCHEMA.TABLES"]
    assert table_names(banana_client) == both
    # Apple shares the connection by its key, and so the filter.
    assert table_names(apple_client) == both


def test_a_view_for_each_by_alias(notebook: Any) -> None:
    banana_client, apple_client = notebook.banana_client, notebook.apple_client
    db_conn_2_alias_1 = notebook.db_conn_2.copy(deep=True)
    db_conn_2_alias_1.db_alias = "db_conn_2_alias_1"
    db_conn_2_alias_1.content_filters = [
        SearchContext(db_name="*", schema_name="information_schema", table_name="tables")
    ]
    db_conn_2_alias_2 = notebook.db_conn_2.copy(deep=True)
    db_conn_2_alias_2.db_alias = "db_conn_2_alias_2"
    db_conn_2_alias_2.content_filters = [
        SearchContext(db_name="*", schema_name="information_schema", table_name="columns"),
        SearchContext(db_name="*", schema_name="information_schema", table_name="tables"),
    ]
    alias_1_key = "waii://waii_test_user2@localhost/db_conn_2_alias_1"
    alias_2_key = "waii://waii_test_user2@localhost/db_conn_2_alias_2"

    all_conns = banana_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[db_conn_2_alias_1])
    )
    assert keys_of(all_conns) == [notebook.key_2, alias_1_key]
    all_conns = apple_client.database.modify_connections(
        ModifyDBConnectionRequest(updated=[db_conn_2_alias_2])
    )
    assert keys_of(all_conns) == [notebook.key_2, alias_2_key]

    wait_until_indexed(banana_client, alias_1_key)
    wait_until_indexed(apple_client, alias_2_key)
    banana_client.database.activate_connection(alias_1_key)
    assert table_names(banana_client) == ["INFORMATION_SCHEMA.TABLES"]
    apple_client.database.activate_connection(alias_2_key)
    assert table_names(apple_client) == ["INFORMATION_SCHEMA.COLUMNS", "INFORMATION_SCHEMA.TABLES"]


def test_the_audit_log_of_the_notebook_is_whole(notebook: Any, ringfence: Gateway) -> None:
    """Not in the notebook: what was done above left a chain that verifies, also while the server runs."""
    assert notebook.key_1
    verified = ringfence.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
