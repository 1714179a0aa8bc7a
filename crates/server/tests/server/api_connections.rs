//! Connections, catalogs and what people say about them: every endpoint's replies, whole.

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::Server;
use crate::transcript::Transcript;
use crate::world::{World, connect, connection_to, key_to, make_database, wait_for_index};

fn table(name: &str) -> Value {
    json!({ "table_name": name, "schema_name": "PUBLIC", "database_name": null })
}

#[tokio::test]
async fn connections() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "conn_db").await;
    let banana = ("banana", world.banana.as_str());
    let mut script = Transcript::new(&server);
    script.replace(&postgres.port().to_string(), "5432");
    script.call(banana, "update-db-connect-info", json!({})).await;
    let key = key_to(postgres, "conn_db");
    let mut aliased = connection_to(postgres, "conn_db");
    aliased["db_alias"] = json!("view");
    aliased["content_filters"] = json!([{ "schema_name": "public", "table_name": "movies" }]);
    let both =
        json!({ "updated": [connection_to(postgres, "conn_db"), aliased], "default_db_connection_key": key });
    // The first reply shows how far indexing is, which nobody can foretell.
    server.done(&world.banana, "update-db-connect-info", &both).await;
    wait_for_index(&server, &world.banana, &key).await;
    wait_for_index(&server, &world.banana, "waii://conn_db@127.0.0.1/view").await;
    script.call(banana, "update-db-connect-info", json!({ "updated": [], "removed": null })).await;
    script
        .call(
            banana,
            "update-db-connect-info",
            json!({ "removed": ["waii://conn_db@127.0.0.1/view", "unknown"] }),
        )
        .await;
    let mut wrong = connection_to(postgres, "conn_db");
    wrong["password"] = json!("wrong");
    wrong["db_alias"] = json!("other");
    script
        .call(banana, "update-db-connect-info", json!({ "updated": [wrong], "validate_before_save": true }))
        .await;
    script
        .call(banana, "update-db-connect-info", json!({ "updated": [{ "db_type": "oracle", "host": "h" }] }))
        .await;
    script
        .call(
            banana,
            "update-db-connect-info",
            json!({ "updated": [{ "db_type": "postgresql", "host": "h" }] }),
        )
        .await;
    script.call(banana, "update-db-connect-info", json!({ "default_db_connection_key": "unknown" })).await;
    script
        .call(banana, "update-db-connect-info", json!({ "owner_user_id": "apple-user", "removed": ["x"] }))
        .await;
    script.call(banana, "refresh-db-connection", json!({ "db_conn_key": key })).await;
    script.call(banana, "refresh-db-connection", json!({ "db_conn_key": "unknown" })).await;
    script.call(banana, "get-models", json!({})).await;
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn catalog_and_descriptions() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "catalog_db").await;
    let scope = connect(&server, &world.banana, postgres, "catalog_db").await;
    let banana = ("banana", world.banana.as_str());
    let mut script = Transcript::new(&server);
    script.replace(&postgres.port().to_string(), "5432");
    let narrowed = json!({ "scope": scope, "search_context": [{ "schema_name": "public" }], "ask": null });
    script.call(banana, "get-table-definitions", narrowed.clone()).await;
    let body = json!({ "scope": scope, "table_name": table("MOVIES"), "description": "All films" });
    script.call(banana, "update-table-description", body).await;
    let mut elsewhere = table("MOVIES");
    elsewhere["database_name"] = json!("OTHER_DB");
    let body = json!({ "scope": scope, "table_name": elsewhere, "description": "x" });
    let refused = server.call(&world.banana, "update-table-description", &body).await;
    let unknown = "no such table: name one that the catalog shows";
    assert_eq!((refused.status.as_u16(), refused.detail().as_str()), (400, unknown));
    let schema = json!({ "schema_name": "PUBLIC", "database_name": "OTHER_DB" });
    let body = json!({ "scope": scope, "query": "SELECT 1", "current_schema": schema });
    assert_eq!(server.call(&world.banana, "run-query", &body).await.status, 400);
    let schema = json!({ "schema_name": "PUBLIC", "database_name": "CATALOG_DB" });
    let body = json!({ "scope": scope, "schema_name": schema, "description": "Of everybody" });
    script.call(banana, "update-schema-description", body).await;
    let columns = json!([{ "column_name": "TITLE", "description": "Name" }, { "column_name": "none", "description": "x" }]);
    let body = json!({ "scope": scope, "col_descriptions": [{ "table_name": table("movies"), "column_descriptions": columns }] });
    script.call(banana, "update-column-description", body).await;
    let foreign =
        json!({ "constraint_type": "foreign", "table": table("ACTORS"), "cols": ["ID"], "src_cols": ["ID"] });
    let body = json!({ "scope": scope, "updated_constraints": [
        { "table_name": table("MOVIES"), "constraint_type": "foreign", "constraints": [foreign] },
        { "table_name": table("ACTORS"), "constraint_type": "primary", "constraints": [{ "cols": ["NAME"] }] },
    ] });
    script.call(banana, "update-constraint", body).await;
    let mixed = json!({ "scope": scope, "updated_constraints": [
        { "table_name": table("MOVIES"), "constraint_type": "primary", "constraints": [foreign] } ] });
    script.call(banana, "update-constraint", mixed).await;
    script.call(banana, "get-table-definitions", narrowed).await;
    let body = json!({ "scope": scope, "table_name": table("NONE"), "description": "x" });
    script.call(banana, "update-table-description", body).await;
    let body = json!({ "scope": scope, "updated_tables": [{ "name": table("t"), "columns": [] }] });
    script.call(banana, "update-table-definitions", body).await;
    script.call(banana, "get-table-definitions", json!({ "scope": scope, "ask": "films" })).await;
    script.call(("apple", &world.apple), "get-table-definitions", json!({ "scope": scope })).await;
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn pushed_catalog() {
    let server = Server::start().await;
    let admin = crate::world::ADMIN;
    let mut script = Transcript::new(&server);
    let connection = json!({ "db_type": "snowflake", "push": true, "host": "acme", "database": "Sales" });
    script.call(admin, "update-db-connect-info", json!({ "updated": [connection] })).await;
    let scope = "snowflake://push/acme/Sales";
    let columns = json!([{ "name": "id", "type": "NUMBER", "sample_values": { "values": { "1": 1 } } },
                         { "name": "Note", "type": "TEXT", "comment": "c", "description": "d" }]);
    let orders = json!({ "name": table("orders"), "columns": columns, "comment": "o", "description": "Orders",
                         "constraints": [{ "constraint_type": "primary", "cols": ["id"] }], "ddl": "CREATE" });
    script
        .call(admin, "update-table-definitions", json!({ "scope": scope, "updated_tables": [orders] }))
        .await;
    script.call(admin, "get-table-definitions", json!({ "scope": scope })).await;
    script.call(admin, "run-query", json!({ "scope": scope, "query": "SELECT 1" })).await;
    script
        .call(
            admin,
            "update-table-definitions",
            json!({ "scope": scope, "removed_tables": [table("orders")] }),
        )
        .await;
    script.call(admin, "get-table-definitions", json!({ "scope": scope })).await;
    insta::assert_snapshot!(script.text());
}
