"""Catalogs by the unmodified SDK: tables, descriptions, constraints, pushed tables."""

from typing import Any

import pytest
from gateway import ADMIN_KEY, Gateway
from sdk_world import MOVIES, client_for, refused, run, table, wait_until_indexed
from throwaway_postgres import Postgres
from waii_sdk_py.database import (
    ColumnDefinition,
    ColumnDescription,
    Constraint,
    ConstraintType,
    DBConnection,
    ModifyDBConnectionRequest,
    SchemaName,
    TableConstraints,
    TableDefinition,
    TableName,
    TableToColumnDescription,
    UpdateColumnDescriptionRequest,
    UpdateConstraintRequest,
    UpdateSchemaDescriptionRequest,
    UpdateTableDefinitionRequest,
    UpdateTableDescriptionRequest,
)
from waii_sdk_py.waii_sdk_py import GetModelsRequest


class TestCatalog:
    """Tables, columns, descriptions and constraints."""

    def test_what_is_there(self, world: Any) -> None:
        movies = table(world.ann, "MOVIES")
        assert str(movies.name) == "table_name='MOVIES' schema_name='PUBLIC' database_name='SDK_DB'"
        assert [(column.name, column.type) for column in movies.columns] == [
            ("ID", "integer"),
            ("TITLE", "text"),
            ("YEAR", "integer"),
            ("DIRECTOR", "integer"),
        ]
        assert movies.comment == "What was shown"
        assert table(world.ann, "MixedCase").name.table_name == "MixedCase"

    def test_constraints_of_the_database(self, world: Any) -> None:
        constraints = table(world.ann, "MOVIES").constraints
        primary = [c for c in constraints if c.constraint_type == ConstraintType.primary]
        foreign = [c for c in constraints if c.constraint_type == ConstraintType.foreign]
        assert [c.cols for c in primary] == [["ID"]]
        assert len(foreign) == 1
        assert (foreign[0].src_table.table_name, foreign[0].src_cols) == ("MOVIES", ["DIRECTOR"])
        assert (foreign[0].table.table_name, foreign[0].cols) == ("PEOPLE", ["ID"])

    def test_descriptions(self, world: Any) -> None:
        database = world.ann.database
        database.update_table_description(
            UpdateTableDescriptionRequest(table_name=TableName(**MOVIES), description="All the movies")
        )
        schema = SchemaName(schema_name="PUBLIC", database_name="SDK_DB")
        database.update_schema_description(
            UpdateSchemaDescriptionRequest(schema_name=schema, description="The cinema")
        )
        descriptions = [
            ColumnDescription(column_name="TITLE", description="As on the poster"),
            ColumnDescription(column_name="NO_SUCH", description="left out silently"),
        ]
        reply = database.update_column_description(
            UpdateColumnDescriptionRequest(
                col_descriptions=[
                    TableToColumnDescription(table_name=TableName(**MOVIES), column_descriptions=descriptions)
                ]
            )
        )
        assert [updated.column_names for updated in reply.updated_table_to_cols] == [["TITLE"]]
        movies = table(world.ann, "MOVIES")
        assert movies.description == "All the movies"
        assert {column.name: column.description for column in movies.columns}["TITLE"] == "As on the poster"
        schemas = {s.name.schema_name: s for s in database.get_catalogs().catalogs[0].schemas}
        assert schemas["PUBLIC"].description.summary == "The cinema"

    def test_descriptions_stay_in_the_organization(self, world: Any) -> None:
        world.ann.database.update_table_description(
            UpdateTableDescriptionRequest(table_name=TableName(**MOVIES), description="Not for others")
        )
        assert table(world.olga, "MOVIES").description != "Not for others"

    def test_description_of_an_unknown_table(self, world: Any) -> None:
        unknown = TableName(table_name="NO_SUCH", schema_name="PUBLIC", database_name="SDK_DB")
        with pytest.raises(Exception, match=r"(?i)NO_SUCH|table"):
            world.ann.database.update_table_description(
                UpdateTableDescriptionRequest(table_name=unknown, description="x")
            )

    def test_manual_constraints(self, world: Any) -> None:
        def primaries() -> list[tuple[list[str], str]]:
            constraints = table(world.ann, "MOVIES").constraints
            return [
                (c.cols, c.source.value) for c in constraints if c.constraint_type == ConstraintType.primary
            ]

        def update(constraints: list[Any]) -> Any:
            listed = TableConstraints(
                table_name=TableName(**MOVIES),
                constraint_type=ConstraintType.primary,
                constraints=constraints,
            )
            return world.ann.database.update_constraint(UpdateConstraintRequest(updated_constraints=[listed]))

        manual = Constraint(
            table=TableName(**MOVIES), cols=["TITLE", "YEAR"], constraint_type=ConstraintType.primary
        )
        reply = update([manual])
        assert [updated.table_name for updated in reply.updated_tables] == ["MOVIES"]
        assert primaries() == [(["TITLE", "YEAR"], "manual")]
        wrong = Constraint(table=TableName(**MOVIES), cols=["ID"], constraint_type=ConstraintType.foreign)
        with refused():
            update([wrong])
        assert primaries() == [(["TITLE", "YEAR"], "manual")]

    def test_refresh(self, world: Any, postgres: Postgres) -> None:
        postgres.execute(
            "CREATE TABLE added_later (id int)", "GRANT SELECT ON added_later TO sdk_owner", database="sdk_db"
        )
        world.ann.database.refresh_db_connection()
        wait_until_indexed(world.ann, world.key)
        assert table(world.ann, "ADDED_LATER")
        postgres.execute("DROP TABLE added_later", database="sdk_db")

    def test_models(self, world: Any) -> None:
        # Once in a process: the SDK's default argument can't be sent twice.
        assert world.ann.get_models(GetModelsRequest()).models == []
        assert world.ann.database.get_models().models == []


class TestPushConnections:
    """A catalog that is told, not read."""

    def test_pushed_tables(self, world: Any, ringfence: Gateway) -> None:
        pushed = DBConnection(db_type="postgresql", host="push-host", database="push_db", push=True)
        key = "postgresql://push/push-host/push_db"
        client = client_for(ringfence, ADMIN_KEY)
        reply = client.database.modify_connections(
            ModifyDBConnectionRequest(updated=[pushed], validate_before_save=True)
        )
        assert key in [connection.key for connection in reply.connectors]
        client.database.activate_connection(key)
        name = TableName(table_name="Album", schema_name="Sales", database_name="push_db")
        columns = [ColumnDefinition(name="AlbumId", type="integer", description="number of the album")]
        definition = TableDefinition(name=name, columns=columns, description="Albums")
        updated = client.database.update_table_definition(
            UpdateTableDefinitionRequest(updated_tables=[definition])
        )
        assert [str(table) for table in updated.updated_tables] == [str(name)]
        album = table(client, "Album")
        assert str(album.name) == str(name)
        assert (album.columns[0].name, album.columns[0].description) == ("AlbumId", "number of the album")
        with pytest.raises(Exception, match="pushed"):
            run(client, "SELECT 1")
        client.database.update_table_definition(UpdateTableDefinitionRequest(removed_tables=[name]))
        left = [
            table for c in client.database.get_catalogs().catalogs for s in c.schemas for table in s.tables
        ]
        assert left == []
        client.database.modify_connections(ModifyDBConnectionRequest(removed=[key]))

    def test_an_ordinary_connection_stays_as_it_is(self, world: Any) -> None:
        with_other = TableName(table_name="table2", schema_name="schema2", database_name="db1")
        client = world.ada
        client.database.modify_connections(ModifyDBConnectionRequest(updated=[world.connection]))
        client.database.activate_connection(world.key)
        reply = client.database.update_table_definition(
            UpdateTableDefinitionRequest(updated_tables=[TableDefinition(name=with_other, columns=[])])
        )
        assert reply.updated_tables == []
