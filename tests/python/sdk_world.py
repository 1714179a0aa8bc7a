"""Two organizations, their users and clients, and a database: the world of the SDK suites."""

from types import SimpleNamespace
from typing import Any

import pytest
from gateway import ADMIN_KEY, Gateway
from polling import wait_for
from throwaway_postgres import Postgres
from waii_sdk_py import Waii
from waii_sdk_py.database import (
    DBConnection,
    ModifyDBConnectionRequest,
)
from waii_sdk_py.query import (
    RunQueryRequest,
)
from waii_sdk_py.user import (
    CreateAccessKeyRequest,
    CreateOrganizationRequest,
    CreateTenantRequest,
    CreateUserRequest,
    Organization,
    Tenant,
    User,
)

TABLES = [
    "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, born date)",
    "CREATE TABLE movies (id int PRIMARY KEY, title text, year int, director int REFERENCES people (id))",
    "COMMENT ON TABLE movies IS 'What was shown'",
    'CREATE TABLE "MixedCase" (id int)',
    "INSERT INTO people VALUES (1, 'Agnes', '1928-05-30'), (2, 'Akira', '1910-03-23')",
    "INSERT INTO movies VALUES (1, 'Cleo', 1962, 1), (2, 'Ran', 1985, 2), (3, 'Ikiru', 1952, 2)",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO sdk_owner",
]


def client_for(ringfence: Gateway, key: str) -> Any:
    client = Waii()
    client.initialize(api_key=key, url=ringfence.api)
    return client


def make_user(admin: Any, user_id: str, tenant_id: str, org_id: str, roles: list[str] | None = None) -> str:
    """Makes a user and a key of theirs."""
    user = User(id=user_id, name=user_id.title(), tenant_id=tenant_id, org_id=org_id, roles=roles or [])
    admin.user.create_user(CreateUserRequest(user=user))
    with admin.impersonate_user(user_id):
        keys = admin.user.create_access_key(CreateAccessKeyRequest(name="default")).access_keys
    secret: str = keys[0].access_key
    return secret


@pytest.fixture(scope="module")
def world(ringfence: Gateway, postgres: Postgres) -> Any:
    """Two organizations; in the first one a user, her colleague, and an organization admin."""
    postgres.create_database("sdk_db", "sdk_owner", "sdk password")
    postgres.execute(*TABLES, database="sdk_db")
    admin = client_for(ringfence, ADMIN_KEY)
    for org in ("sdk-org", "other-org"):
        admin.user.create_org(CreateOrganizationRequest(organization=Organization(id=org, name=org)))
        tenant = Tenant(id=f"{org}-tenant", name=org, org_id=org)
        admin.user.create_tenant(CreateTenantRequest(tenant=tenant))
    keys = {
        "ann": make_user(admin, "ann", "sdk-org-tenant", "sdk-org"),
        "ben": make_user(admin, "ben", "sdk-org-tenant", "sdk-org"),
        "ada": make_user(admin, "ada", "sdk-org-tenant", "sdk-org", ["waii-org-admin-user"]),
        "olga": make_user(admin, "olga", "other-org-tenant", "other-org"),
    }
    connection = DBConnection(
        db_type="postgresql",
        host="127.0.0.1",
        port=postgres.port,
        username="sdk_owner",
        password="sdk password",
        database="sdk_db",
    )
    key = f"postgresql://sdk_owner@127.0.0.1:{postgres.port}/sdk_db"
    clients = {name: client_for(ringfence, secret) for name, secret in keys.items()}
    for name in ("ann", "olga"):
        clients[name].database.modify_connections(
            ModifyDBConnectionRequest(updated=[connection], validate_before_save=True)
        )
        clients[name].database.activate_connection(key)
        wait_until_indexed(clients[name], key)
    return SimpleNamespace(
        admin=admin,
        keys=keys,
        key=key,
        connection=connection,
        port=postgres.port,
        url=ringfence.api,
        **clients,
    )


def wait_until_indexed(client: Any, key: str) -> Any:
    def look() -> Any:
        status = client.database.get_connections().connector_status[key].status
        assert status != "failed"
        return status == "completed"

    return wait_for(f"the index of {key}", look)


def run(client: Any, query: str, **options: Any) -> Any:
    return client.query.run(RunQueryRequest(query=query, **options))


def table(client: Any, name: str) -> Any:
    found = [
        table
        for catalog in client.database.get_catalogs().catalogs
        for schema in catalog.schemas
        for table in schema.tables
        if table.name.table_name == name and table.name.schema_name != "INFORMATION_SCHEMA"
    ]
    assert len(found) == 1, found
    return found[0]


def refused() -> Any:
    """The SDK raises a plain Exception with the server's detail, which must say something."""
    return pytest.raises(Exception, match=r".")


MOVIES = {"table_name": "MOVIES", "schema_name": "PUBLIC", "database_name": "SDK_DB"}
