"""The control plane and connections by the unmodified SDK."""

import threading
from typing import Any

import pytest
from gateway import ADMIN_KEY
from polling import wait_for
from sdk_world import make_user, refused, run
from waii_sdk_py import Waii
from waii_sdk_py.database import (
    DBConnection,
    ModifyDBConnectionRequest,
)
from waii_sdk_py.user import (
    CreateAccessKeyRequest,
    CreateOrganizationRequest,
    CreateTenantRequest,
    CreateUserRequest,
    DelAccessKeyRequest,
    DeleteOrganizationRequest,
    DeleteTenantRequest,
    DeleteUserRequest,
    GetAccessKeyRequest,
    GetUserInfoRequest,
    ListOrganizationsRequest,
    ListTenantsRequest,
    ListUsersRequest,
    Organization,
    Tenant,
    UpdateOrganizationRequest,
    UpdateTenantRequest,
    UpdateUserRequest,
    User,
)


class TestControlPlane:
    """Organizations, tenants, users, keys and impersonation."""

    def test_who_am_i(self, world: Any) -> None:
        info = world.admin.user.get_user_info(GetUserInfoRequest())
        assert (info.id, info.name, info.roles) == ("my_org_id", "J.A.R.V.I.S.", ["waii-super-admin-user"])
        assert len(info.permissions) == 22

    def test_wrong_key(self, world: Any) -> None:
        for key in ("", "no-such-key", "abc12", "ABC123"):
            with refused():
                client = Waii()
                client.initialize(api_key=key, url=world.url)

    def test_keys(self, world: Any) -> None:
        user = world.ben.user
        made = user.create_access_key(CreateAccessKeyRequest(name="second")).access_keys
        assert [key.name for key in made] == ["second"]
        assert [key.name for key in user.list_access_keys(GetAccessKeyRequest()).access_keys] == [
            "default",
            "second",
        ]
        second = Waii()
        second.initialize(api_key=made[0].access_key, url=world.url)
        assert second.user.get_user_info(GetUserInfoRequest()).id == "ben"
        user.delete_access_key(DelAccessKeyRequest(names=["second", "no-such"]))
        with refused():
            second.user.get_user_info(GetUserInfoRequest())

    def test_impersonation_is_for_admins(self, world: Any) -> None:
        for target in ("ben", "ann", "olga", "nobody"):
            with world.ann.impersonate_user(target), refused():
                world.ann.user.get_user_info(GetUserInfoRequest())
        assert world.ann.user.get_user_info(GetUserInfoRequest()).id == "ann"

    def test_an_org_admin_stays_in_the_organization(self, world: Any) -> None:
        with world.ada.impersonate_user("ben"):
            assert world.ada.user.get_user_info(GetUserInfoRequest()).id == "ben"
        answers = []
        for target in ("olga", "my_org_id", "nobody"):
            with world.ada.impersonate_user(target), refused() as raised:
                world.ada.user.get_user_info(GetUserInfoRequest())
            answers.append(str(raised.value))
        assert len(set(answers)) == 1

    def test_an_api_user_manages_nobody(self, world: Any) -> None:
        user = world.ann.user
        calls = [
            lambda: user.list_users(ListUsersRequest()),
            lambda: user.list_tenants(ListTenantsRequest()),
            lambda: user.list_orgs(ListOrganizationsRequest()),
            lambda: user.create_user(CreateUserRequest(user=User(id="sneaky"))),
            lambda: user.update_user(UpdateUserRequest(user=User(id="ann", variables={"tenant": "other"}))),
            lambda: user.delete_user(DeleteUserRequest(id="ben")),
        ]
        for call in calls:
            with pytest.raises(Exception, match=r"(?i)permission|permitted|needs"):
                call()

    def test_manage_users(self, world: Any) -> None:
        user = world.admin.user
        with pytest.raises(Exception, match="exists"):
            user.create_user(
                CreateUserRequest(user=User(id="ann", tenant_id="sdk-org-tenant", org_id="sdk-org"))
            )
        with refused():
            user.create_user(
                CreateUserRequest(user=User(id="lost", tenant_id="sdk-org-tenant", org_id="other-org"))
            )
        with refused():
            user.create_user(
                CreateUserRequest(user=User(id="odd", tenant_id="sdk-org-tenant", roles=["no-such-role"]))
            )
        with refused():
            user.update_user(UpdateUserRequest(user=User(id="nobody", name="x")))
        key = make_user(world.admin, "temp", "sdk-org-tenant", "sdk-org")
        user.update_user(
            UpdateUserRequest(user=User(id="temp", name="Renamed", variables={"region": "north"}))
        )
        found = user.list_users(ListUsersRequest(lookup_user_id="temp")).users
        assert [str(each) for each in found] == [
            "id='temp' name='Renamed' tenant_id='sdk-org-tenant' org_id='sdk-org' "
            "variables={'region': 'north'} roles=['waii-api-user']"
        ]
        user.delete_user(DeleteUserRequest(id="temp"))
        with refused():
            Waii().initialize(api_key=key, url=world.url)

    def test_manage_tenants_and_organizations(self, world: Any) -> None:
        user = world.admin.user
        user.create_org(CreateOrganizationRequest(organization=Organization(id="o1", name="One")))
        user.create_tenant(CreateTenantRequest(tenant=Tenant(id="t1", name="T", org_id="o1")))
        with pytest.raises(Exception, match=r"(?i)tenant"):
            user.delete_org(DeleteOrganizationRequest(id="o1"))
        user.update_org(UpdateOrganizationRequest(organization=Organization(id="o1", name="Two")))
        user.update_tenant(UpdateTenantRequest(tenant=Tenant(id="t1", name="T2", org_id="o1")))
        names = {org.id: org.name for org in user.list_orgs(ListOrganizationsRequest()).organizations}
        assert names["o1"] == "Two"
        tenants = user.list_tenants(ListTenantsRequest(lookup_org_id="o1")).tenants
        assert [(tenant.id, tenant.name) for tenant in tenants] == [("t1", "T2")]
        user.delete_tenant(DeleteTenantRequest(id="t1"))
        user.delete_org(DeleteOrganizationRequest(id="o1"))
        assert "o1" not in [org.id for org in user.list_orgs(ListOrganizationsRequest()).organizations]

    def test_users_made_side_by_side(self, world: Any) -> None:
        """Of many that make the same user at once, one succeeds and the others are told."""
        outcomes: list[str] = []
        start = threading.Barrier(8)

        def make() -> None:
            client = Waii()
            client.initialize(api_key=ADMIN_KEY, url=world.url)
            start.wait(30)
            try:
                client.user.create_user(CreateUserRequest(user=User(id="racer", tenant_id="sdk-org-tenant")))
                outcomes.append("made")
            except Exception as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert outcomes.count("made") == 1
        assert len(outcomes) == 8
        world.admin.user.delete_user(DeleteUserRequest(id="racer"))


class TestConnections:
    """Adding, sharing and hiding connections."""

    def test_validation(self, world: Any) -> None:
        before = [c.key for c in world.ben.database.get_connections().connectors]
        for change in ({"password": "wrong"}, {"port": 1}, {"host": "no-such-host.invalid"}):
            broken = world.connection.copy(deep=True, update=change)
            with refused() as raised:
                world.ben.database.modify_connections(
                    ModifyDBConnectionRequest(updated=[broken], validate_before_save=True)
                )
            assert "sdk password" not in str(raised.value)
        with refused():
            world.ben.database.modify_connections(
                ModifyDBConnectionRequest(updated=[DBConnection(db_type="no-such-database", database="x")])
            )
        assert [c.key for c in world.ben.database.get_connections().connectors] == before

    def test_an_unreachable_database_fails_to_index(self, world: Any) -> None:
        dead = world.connection.copy(deep=True, update={"port": 1})
        key = "postgresql://sdk_owner@127.0.0.1:1/sdk_db"
        world.ben.database.modify_connections(ModifyDBConnectionRequest(updated=[dead]))
        wait_for(
            "the failure",
            lambda: world.ben.database.get_connections().connector_status[key].status == "failed",
        )
        world.ben.database.activate_connection(key)
        with refused():
            run(world.ben, "SELECT 1")
        world.ben.database.modify_connections(ModifyDBConnectionRequest(removed=[key]))

    def test_wrong_password_shares_nothing(self, world: Any) -> None:
        """The key is only text: who does not know the password must not see the shared catalog."""
        guess = world.connection.copy(deep=True, update={"password": "a guess"})
        world.ben.database.modify_connections(ModifyDBConnectionRequest(updated=[guess]))
        wait_for(
            "the failure",
            lambda: world.ben.database.get_connections().connector_status[world.key].status == "failed",
        )
        world.ben.database.activate_connection(world.key)
        with refused():
            run(world.ben, "SELECT 1")
        try:
            seen = world.ben.database.get_catalogs().catalogs
        except Exception:
            seen = []
        assert seen == []
        # And ann's goes on.
        assert world.ann.database.get_connections().connector_status[world.key].status == "completed"
        assert run(world.ann, "SELECT 1 AS one").rows == [{"ONE": 1}]
        world.ben.database.modify_connections(ModifyDBConnectionRequest(removed=[world.key]))

    def test_another_users_scope_is_unknown(self, world: Any) -> None:
        answers = []
        for scope in (world.key, "postgresql://nobody@nowhere/nothing"):
            world.ben.http_client.set_scope(scope)
            with refused() as raised:
                run(world.ben, "SELECT 1")
            answers.append(str(raised.value).replace(scope, "<key>"))
        assert len(set(answers)) == 1

    def test_an_admin_adds_for_a_user(self, world: Any) -> None:
        world.ada.database.modify_connections(
            ModifyDBConnectionRequest(updated=[world.connection], owner_user_id="ben")
        )
        mine = world.ben.database.get_connections().connectors
        assert [(c.key, c.waii_user_id) for c in mine] == [(world.key, "ben")]
        world.ada.database.modify_connections(
            ModifyDBConnectionRequest(removed=[world.key], owner_user_id="ben")
        )
        assert world.ben.database.get_connections().connectors == []
        with refused():
            world.ann.database.modify_connections(
                ModifyDBConnectionRequest(updated=[world.connection], owner_user_id="ben")
            )
