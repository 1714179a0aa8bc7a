"""A database that can be put back: what changed since the beginning, and how to undo it."""

from dataclasses import dataclass, field

from psycopg import sql
from throwaway_postgres import SUPERUSER_PASSWORD, Postgres

from guard_corpus.session import Session

USER_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_'
ORDER BY 1
"""

USER_SEQUENCES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind = 'S' AND n.nspname !~ '^pg_'
ORDER BY 1
"""

# Where an attack could leave something that is no row of a table. Temporary objects end with their session.
CATALOGS = {
    "pg_attribute": "attrelid >= 16384 AND attrelid NOT IN"
    " (SELECT oid FROM pg_class WHERE relpersistence = 't')",
    "pg_authid": "rolname !~ '^pg_'",
    "pg_cast": "oid >= 16384",
    "pg_class": "oid >= 16384 AND relpersistence <> 't' AND relkind <> 't' AND relname !~ '^pg_toast'",
    "pg_collation": "oid >= 16384",
    "pg_constraint": "oid >= 16384",
    "pg_db_role_setting": "true",
    "pg_default_acl": "true",
    "pg_description": "objoid >= 16384",
    "pg_event_trigger": "true",
    "pg_extension": "true",
    "pg_foreign_server": "true",
    "pg_language": "true",
    "pg_largeobject_metadata": "true",
    "pg_namespace": "nspname !~ '^pg_(toast_)?temp'",
    "pg_operator": "oid >= 16384",
    "pg_policy": "true",
    "pg_proc": "oid >= 16384",
    "pg_publication": "true",
    "pg_rewrite": "oid >= 16384",
    "pg_statistic_ext": "true",
    "pg_subscription": "true",
    "pg_trigger": "true",
    "pg_ts_config": "oid >= 16384",
    "pg_ts_dict": "oid >= 16384",
    "pg_type": "oid >= 16384 AND typnamespace NOT IN"
    " (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp')",
}

# What TRUNCATE, ANALYZE and the passage of time change without anybody's doing.
VOLATILE = (
    "{relfilenode,relpages,reltuples,relallvisible,relfrozenxid,relminmxid,relhasindex,relhasrules,"
    "relhastriggers,reltoastrelid}"
)


@dataclass
class Fingerprint:
    """A sum over everything; equal sums, equal databases."""

    rows: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, str] = field(default_factory=dict)
    schema: tuple[tuple[str | None, ...], ...] = ()


class Database:
    """A database with a pristine twin."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name
        self.template = f"{name}_pristine"
        self._session: Session | None = None
        self._copies: dict[str, bytes] = {}
        self._truncated: list[str] = []
        self._secret = ""
        self._sequence_names: list[str] = []
        self.pristine = Fingerprint()
        self.rebuilt = 0

    @property
    def session(self) -> Session:
        """Ours, as superuser; the principal under test never gets it."""
        if self._session is None:
            self._session = Session(self.server_dsn())
        return self._session

    def server_dsn(self) -> str:
        return (
            f"host=127.0.0.1 port={self.server.port} user=postgres password={SUPERUSER_PASSWORD}"
            f" dbname={self.name} client_encoding=UTF8"
        )

    def keep(self) -> None:
        """Remembers the present state as the one to come back to."""
        self.close()
        owner = self.server.rows(
            f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{self.name}'"
        )
        self.server.execute(
            f"CREATE DATABASE {self.template} TEMPLATE {self.name} OWNER {owner[0][0]}",
        )
        secret = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{owner[0][0]}'"
        self._secret = str(self.session.texts(secret)[0][0])
        found = [(str(name), kind) for name, kind in self.session.texts(USER_TABLES)]
        self._truncated = [name for name, kind in found if kind != "m"]
        tables = [name for name, kind in found if kind == "r"]
        with self.server.connect(self.name) as connection:
            for table in tables:
                with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
                    self._copies[table] = b"".join(bytes(part) for part in copy)
        self.pristine = self.fingerprint()

    def fingerprint(self) -> Fingerprint:
        """Sums over all rows, sequences and definitions."""
        found = Fingerprint(schema=tuple(self.session.texts(schema_sums())))
        # A sequence that is gone can't be asked; the definitions tell that it is gone.
        if not self.pristine.schema or found.schema == self.pristine.schema:
            found.sequences = self.sequences()
        tables = [str(name) for name, _ in self.session.texts(USER_TABLES)]
        sums = " UNION ALL ".join(
            f"SELECT $${table}$$, count(*) || ':' || coalesce(sum(hashtextextended(t::text, 0)), 0)"
            f" FROM ONLY {table} t"
            for table in tables
        )
        found.rows = {str(table): str(total) for table, total in self.session.texts(sums)} if tables else {}
        return found

    def changed_rows(self, now: Fingerprint) -> bool:
        """Whether rows or definitions are not as they were. Sequences move on with every attempt."""
        return now.rows != self.pristine.rows or now.schema != self.pristine.schema

    def restore(self, now: Fingerprint) -> None:
        """Puts everything back."""
        if now.schema != self.pristine.schema or now.rows.keys() != self.pristine.rows.keys():
            self._rebuild()
            return
        changed = [table for table, total in now.rows.items() if total != self.pristine.rows[table]]
        if not set(changed) <= set(self._copies):
            self._rebuild()
            return
        if changed:
            self._refill()
        self.restore_sequences(now.sequences)

    def restore_sequences(self, now: dict[str, str] | None = None) -> None:
        """Sets the sequences back, which no ROLLBACK does."""
        now = now or self.sequences()
        for name, value in self.pristine.sequences.items():
            if now[name] != value:
                last, _, is_called = value.partition(":")
                self.session.texts(f"SELECT setval($${name}$$, {last}, {is_called})")

    def sequences(self) -> dict[str, str]:
        """Where each sequence stands."""
        if not self._sequence_names:
            self._sequence_names = [str(name) for (name,) in self.session.texts(USER_SEQUENCES)]
        query = " UNION ALL ".join(
            f"SELECT $${name}$$, last_value || ':' || is_called FROM {name}" for name in self._sequence_names
        )
        return {str(name): str(value) for name, value in self.session.texts(query)}

    def close(self) -> None:
        """Leaves the database: a template must have no sessions."""
        if self._session is not None:
            self._session.pg.finish()
            self._session = None

    def _refill(self) -> None:
        """All tables anew, in their order. A transaction that sleeps holds us up for 10 s at most."""
        with self.server.connect(self.name) as connection, connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute("SET LOCAL lock_timeout = '10s'")
            connection.execute(f"TRUNCATE {', '.join(self._truncated)}".encode())
            for table, rows in self._copies.items():
                with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                    copy.write(rows)

    def _rebuild(self) -> None:
        """Definitions changed: the database is made anew from its twin, which ends all sessions on it."""
        self.close()
        self.rebuilt += 1
        name, template = sql.Identifier(self.name), sql.Identifier(self.template)
        with self.server.connect() as connection:
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [self.template]
            ).fetchone()
            assert owner
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    name, template, sql.Identifier(owner[0])
                )
            )
            # Roles belong to no database: an attack may have altered its own.
            connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(owner[0])))
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(owner[0]), sql.Literal(self._secret)
                )
            )


def schema_sums() -> str:
    return " UNION ALL ".join(
        f"SELECT '{catalog}', count(*)::text || ':' ||"
        f" coalesce(sum(hashtextextended({row_text(catalog)}, 0)), 0)"
        f" FROM pg_catalog.{catalog} c WHERE {condition}"
        for catalog, condition in CATALOGS.items()
    )


def row_text(catalog: str) -> str:
    return f"(to_jsonb(c) - '{VOLATILE}'::text[])::text" if catalog == "pg_class" else "c::text"
