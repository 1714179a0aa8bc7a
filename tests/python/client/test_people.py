"""Who sees what, and who may do what, through the Python client: isolation, roles, technical users."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import ringfence
from gateway import ADMIN_KEY, Gateway
from guard_http.places import GOVERNOR
from models.shop import shops
from ringfence.pytest_plugin import AssertIsolated, Question
from throwaway_postgres import Postgres

from client.office import POLICY, TENANTS, Office


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def office(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Office]:
    with shops(postgres, request.param) as shop:
        shop.policy(POLICY)
        office = Office(shop)
        yield office
        office.close()


class TestIsolation:
    def test_the_policy_holds(self, office: Office, assert_isolated: AssertIsolated) -> None:
        people = {name: office.session(name) for name in TENANTS}
        questions: list[Question] = [
            "SELECT * FROM orders",
            "SELECT id, tenant_id FROM orders WHERE id > 0 OR tenant_id <> 'acme-corp'",
            lambda session: session.models["Order"].query(take=100),
            lambda session: session.sql("SELECT * FROM users").to_pandas(),
        ]
        for question in questions:
            assert_isolated(question, principals=people, marker="tenant_id", owns=TENANTS)
        assert_isolated("SELECT id FROM orders", principals=people)
        assert_isolated("SELECT id, status FROM orders", principals=people, by=["id"])

    def test_it_fails_where_nothing_holds(self, postgres: Postgres, assert_isolated: AssertIsolated) -> None:
        with shops(postgres, "sqlite") as shop:
            office = Office(shop)
            people = {name: office.session(name) for name in TENANTS}
            ask = "SELECT id, tenant_id FROM orders"
            with pytest.raises(pytest.fail.Exception) as by_marker:
                assert_isolated(ask, principals=people, marker="tenant_id", owns=TENANTS)
            report = str(by_marker.value)
            assert "ann sees 20 rows of others (tenant_id is not 'acme-corp'):" in report
            assert "tenant_id='globex'" in report
            with pytest.raises(pytest.fail.Exception, match="ann and bob both see 28 rows"):
                assert_isolated(ask, principals=people)
            shop.policy(POLICY)
            assert_isolated(ask, principals=people, marker="tenant_id", owns=TENANTS)
            office.close()

    def test_silence_shows_nothing(self, office: Office, assert_isolated: AssertIsolated) -> None:
        people = {name: office.session(name) for name in TENANTS}
        with pytest.raises(pytest.fail.Exception, match="nobody sees a row"):
            assert_isolated("SELECT id FROM orders WHERE id < 0", principals=people, allow_empty=True)
        with pytest.raises(pytest.fail.Exception, match="ann sees nothing"):
            assert_isolated("SELECT id FROM orders WHERE id BETWEEN 9 AND 12", principals=people)
        with pytest.raises(pytest.fail.Exception, match="ann was refused, RELATION_UNKNOWN"):
            assert_isolated("SELECT * FROM tenants", principals=people)
        with pytest.raises(pytest.fail.Exception, match="no column 'tenant'"):
            assert_isolated("SELECT id FROM orders", principals=people, marker="tenant", owns=TENANTS)


class TestPeople:
    """`session.security` on what is there without cubes."""

    def test_a_technical_user(self, office: Office) -> None:
        admin = office.session(GOVERNOR)
        credentials = admin.security.basic.credentials
        name = f"technical-{office.shop.kind}"
        credentials[name] = "changeit, please"
        admin.security.individual_roles[name] = {"ROLE_USER"}
        assert name in credentials
        with ringfence.Session(office.url, ringfence.Basic(name, "changeit, please")) as technical:
            assert technical.me()["data_roles"] == ["ROLE_USER"]
            credentials[name] = "changed, thank you"
            with pytest.raises(ringfence.AuthenticationFailed):
                technical.me()
        del credentials[name]
        assert name not in credentials

    def test_roles_by_hand(self, office: Office) -> None:
        admin = office.session(GOVERNOR)
        user = admin.security.basic.create_user(f"john-{office.shop.kind}", password="abcdef123456")
        roles = admin.security.individual_roles[user.username]
        assert set(roles) == {"ROLE_USER"}
        roles.add("ROLE_FRANCE")
        assert set(roles) == {"ROLE_USER", "ROLE_FRANCE"}
        assert roles & {"ROLE_FRANCE"} == {"ROLE_FRANCE"}
        with ringfence.Session(office.url, ringfence.Basic(user.username, "abcdef123456")) as john:
            assert john.me()["data_roles"] == ["ROLE_FRANCE", "ROLE_USER"]
            roles.remove("ROLE_FRANCE")
            assert john.me()["data_roles"] == ["ROLE_USER"]
        with pytest.raises(KeyError):
            roles.remove("ROLE_FRANCE")
        assert set(admin.security.individual_roles[user.username]) == {"ROLE_USER"}

    def test_a_connection_is_lent(self, office: Office) -> None:
        if office.shop.kind != "sqlite":
            pytest.skip("the password of the throw-away PostgreSQL is the same road")
        admin = office.session(GOVERNOR)
        admin.security.basic.create_user("borrower", password="abcdef123456", roles=[])
        admin.security.lend_connection("borrower")
        with ringfence.Session(office.url, ringfence.Basic("borrower", "abcdef123456")) as borrower:
            assert {row["tenant_id"] for row in borrower.sql("SELECT tenant_id FROM users")} == {"acme-corp"}


def test_role_mapping(tmp_path: Path) -> None:
    file = tmp_path / "ringfence.toml"
    file.write_text(
        """
[[oidc.providers]]
name = "corporate"
issuer = "http://127.0.0.1:1"
client_id = "shop"
organization = "shops"
tenant = "acme"
"""
    )
    with Gateway(settings={"RINGFENCE_CONFIG": str(file)}) as server:
        server.call("POST", "orgs", {"id": "shops"})
        server.call("POST", "tenants", {"id": "acme", "org": "shops"})
        with ringfence.Session(server.url, ADMIN_KEY) as admin:
            mapping = admin.security.role_mapping["corporate"]
            wanted = {"atoti": {"ROLE_USER"}, "france": {"ROLE_FRANCE"}, "paris": {"ROLE_PARIS"}}
            mapping.update(wanted)
            assert dict(mapping) == wanted
            del mapping["paris"]
            assert dict(mapping) == {"atoti": {"ROLE_USER"}, "france": {"ROLE_FRANCE"}}
            admin.security.role_mapping["corporate"] = {"nord": {"ROLE_NORD"}}
            assert dict(mapping) == {"nord": {"ROLE_NORD"}}


def test_async_roles(office: Office) -> None:
    async def run() -> None:
        key = office.shop.places.keys[GOVERNOR]
        name = f"anna-{office.shop.kind}"
        async with ringfence.AsyncSession(office.url, key) as admin:
            await admin.security.basic.create_user(name, password="abcdef123456")
            assert await admin.security.individual_roles.add(name, "ROLE_PARIS") == {
                "ROLE_PARIS",
                "ROLE_USER",
            }

            async def token() -> str:
                return key

            async with ringfence.AsyncSession(office.url, token) as by_token:
                assert (await by_token.me())["id"] == GOVERNOR
            await admin.security.individual_roles.remove(name, "ROLE_USER")
            assert await admin.security.individual_roles.get(name) == {"ROLE_PARIS"}

    asyncio.run(run())
