"""The tables in PostgreSQL, shared and isolated, and a server with the policy in front of the shared ones."""

import itertools
from pathlib import Path
from typing import Any

from gateway import GatewayWithPeople
from guard_corpus.targets import GatewayTarget
from throwaway_postgres import Postgres

from guard_tpch.rows import TENANTS, rows

HERE = Path(__file__).parent

OWNER, PASSWORD = "analyst", "owner-of-the-analysts"

ADMINISTRATOR = "governor"

ORGANIZATION = "traders"

# Those that refer to others come first.
TABLES = ("lineitem", "orders", "partsupp", "part", "customer", "supplier", "nation", "region")


def user_of(tenant: int) -> str:
    """A tenant's analyst."""
    return f"analyst_{tenant}"


class Databases:
    """Throw-away databases: one that all tenants share, and for each one with its rows alone."""

    def __init__(self) -> None:
        self.server = Postgres(["timezone=UTC", "max_parallel_workers_per_gather=0"])
        try:
            self._fill()
        except BaseException:
            self.server.close()
            raise

    def __enter__(self) -> "Databases":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def dsn(self, database: str) -> str:
        """For libpq, as the owner."""
        return (
            f"host=127.0.0.1 port={self.server.port} user={OWNER} password={PASSWORD}"
            f" dbname={database} client_encoding=UTF8 options='-c timezone=UTC'"
        )

    def isolated(self, tenant: int) -> str:
        """The database that holds a tenant's rows and no others."""
        return f"only_{tenant}"

    def _fill(self) -> None:
        self.server.create_database("shared", OWNER, PASSWORD)
        with self.server.connect("shared") as connection:
            connection.execute(f"SET ROLE {OWNER}".encode())
            connection.execute((HERE / "schema.sql").read_bytes())
            for table, found in itertools.groupby(rows(), key=lambda row: row[0] in ("orders", "lineitem")):
                self._copy(connection, [*found], mixed=table)
        for tenant in TENANTS:
            name = self.isolated(tenant)
            self.server.execute(f"CREATE DATABASE {name} TEMPLATE shared OWNER {OWNER}")
            statements = [f"DELETE FROM {table} WHERE tenant_id <> {tenant}" for table in TABLES]
            self.server.execute(*statements, "VACUUM ANALYZE", database=name)
        self.server.execute("VACUUM ANALYZE", database="shared")

    def _copy(self, connection: Any, found: list[tuple[str, tuple[object, ...]]], *, mixed: bool) -> None:
        """Orders come with their lines between them, so that each table is copied by itself."""
        tables = dict.fromkeys(table for table, _ in found)
        assert not mixed or [*tables] == ["orders", "lineitem"]
        for table in tables:
            with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for of_table, row in found:
                    if of_table == table:
                        copy.write_row(row)


class GuardedAnalysts(GatewayWithPeople):
    """A running Ringfence with an analyst of each tenant on the shared database. Use it in a `with` block."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.databases = databases
        self.connection = f"postgresql://{OWNER}@127.0.0.1:{databases.server.port}/shared"

    def target(self) -> GatewayTarget:
        """What runs a user's statement."""
        return GatewayTarget(self.gateway.url, self.keys, lambda _: self.connection, isolated=False)

    def _fill(self) -> None:
        self.gateway.call("POST", "orgs", {"id": ORGANIZATION, "name": "Traders"})
        for tenant in TENANTS:
            self.gateway.call(
                "POST", "tenants", {"id": str(tenant), "name": str(tenant), "org": ORGANIZATION}
            )
            self._add(user_of(tenant), tenant, variables={"tenant_id": tenant})
        self._add(ADMINISTRATOR, TENANTS[0], roles=["org-admin-user"])
        policy = (HERE / "policy.yaml").read_bytes()
        self.gateway.put_policy(self.connection, policy, self.keys[ADMINISTRATOR])

    def _add(self, user: str, tenant: int, **more: Any) -> None:
        self.gateway.call("POST", "users", {"id": user, "tenant": str(tenant), "org": ORGANIZATION, **more})
        self.keys[user] = self.gateway.call("POST", "keys", {"name": "test"}, acting=user)["secret"]
        description = {
            "db_type": "postgresql",
            "host": "127.0.0.1",
            "port": self.databases.server.port,
            "username": OWNER,
            "password": PASSWORD,
            "database": "shared",
        }
        self.gateway.connect(description, self.keys[user])
