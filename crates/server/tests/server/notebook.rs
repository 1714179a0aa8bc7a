//! The notebook "multi-tenant user access and management", step by step, as the SDK sends it.

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Server};
use crate::world::{connection_to, key_to, wait_for_index};

/// As the SDK does with every body.
fn dressed(mut body: Value) -> Value {
    body["org_id"] = json!("");
    body["user_id"] = json!("");
    body
}

/// The connection with every field that the SDK sends.
fn whole(postgres: &Postgres, name: &str) -> Value {
    let mut connection = connection_to(postgres, name);
    for field in [
        "key", "description", "account_name", "warehouse", "role", "path", "parameters",
        "db_content_filters", "embedding_model", "always_include_tables", "alias", "host_alias",
        "user_alias", "db_alias", "client_email", "content_filters", "sample_filters",
    ] {
        connection[field] = Value::Null;
    }
    connection["sample_col_values"] = json!(true);
    connection["push"] = json!(false);
    connection["db_access_policy"] = json!({
        "read_only": false,
        "allow_access_beyond_db_content_filter": true,
        "allow_access_beyond_search_context": true,
    });
    connection
}

fn only(table: &str) -> Value {
    json!({ "type": "inclusion", "db_name": "*", "schema_name": "information_schema", "table_name": table,
            "column_name": "*", "ignore_case": true })
}

async fn add(server: &Server, key: &str, connection: Value) -> Vec<String> {
    let body = json!({ "updated": [connection], "removed": null, "validate_before_save": null,
                       "default_db_connection_key": null, "owner_user_id": null });
    keys_of(&server.done(key, "update-db-connect-info", &dressed(body)).await)
}

async fn remove(server: &Server, key: &str, removed: &str) -> Vec<String> {
    let body = json!({ "updated": null, "removed": [removed] });
    keys_of(&server.done(key, "update-db-connect-info", &dressed(body)).await)
}

fn keys_of(list: &Value) -> Vec<String> {
    list["connectors"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect()
}

async fn current_database(server: &Server, key: &str, scope: &str) -> Value {
    let body = json!({ "query": "SELECT current_database();", "session_id": null, "current_schema": null,
                       "session_parameters": null, "scope": scope, "tags": null, "parameters": null });
    server.done(key, "run-query", &dressed(body)).await["rows"].clone()
}

async fn count_tables(server: &Server, key: &str, scope: &str) -> usize {
    wait_for_index(server, key, scope).await;
    let body = dressed(json!({ "search_context": null, "ask": null, "internal": false, "scope": scope }));
    let reply = server.done(key, "get-table-definitions", &body).await;
    let catalogs = reply["catalogs"].as_array().unwrap().iter();
    let schemas = catalogs.flat_map(|catalog| catalog["schemas"].as_array().unwrap());
    schemas.map(|schema| schema["tables"].as_array().unwrap().len()).sum()
}

/// Impersonating, the first key that is listed after an attempt to make one.
async fn key_for(server: &Server, user: &str) -> String {
    let authorization = format!("Bearer {ADMIN_KEY}");
    let headers = [("authorization", authorization.as_str()), ("x-waii-impersonate-user", user)];
    for status in [200, 400] {
        let made =
            server.send("create-key", &headers, dressed(json!({ "name": "default" })).to_string()).await;
        assert_eq!(made.status, status, "{}", made.text);
    }
    let listed = server.send("list-access-keys", &headers, dressed(json!({})).to_string()).await;
    listed.json()["access_keys"][0]["access_key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_notebook_runs() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    postgres.create_database("nb_db1", "nb_db1", "secret").await;
    postgres.create_database("nb_db2", "nb_db2", "secret").await;
    let (db1, db2) = (key_to(postgres, "nb_db1"), key_to(postgres, "nb_db2"));

    let org = json!({ "organization": { "id": "fruit-org", "name": "Fruit Org", "variables": null } });
    assert_eq!(server.done(ADMIN_KEY, "create-org", &dressed(org)).await, json!({}));
    let mut expected = Vec::new();
    for (id, name) in [("banana", "Banana"), ("apple", "Apple")] {
        let tenant = json!({ "tenant": { "id": format!("{id}-tenant"), "name": format!("{name} Tenant"),
                                         "org_id": "fruit-org", "variables": null } });
        server.done(ADMIN_KEY, "create-tenant", &dressed(tenant)).await;
        let mut user = json!({ "id": format!("{id}-user"), "name": format!("{name} User"),
                               "tenant_id": format!("{id}-tenant"), "org_id": "fruit-org", "variables": null, "roles": [] });
        server.done(ADMIN_KEY, "create-user", &dressed(json!({ "user": user, "tags": null }))).await;
        user["roles"] = json!(["waii-api-user"]);
        server.done(ADMIN_KEY, "update-user", &dressed(json!({ "user": user }))).await;
        expected.push(user);
    }
    let lookup =
        dressed(json!({ "lookup_org_id": "fruit-org", "lookup_tenant_id": null, "lookup_user_id": null }));
    assert_eq!(server.done(ADMIN_KEY, "list-users", &lookup).await, json!({ "users": expected }));
    let (banana, apple) = (key_for(&server, "banana-user").await, key_for(&server, "apple-user").await);

    let info = server.done(&banana, "get-user-info", &dressed(json!({}))).await;
    assert_eq!(
        (info["email"].as_str(), info["permissions"].as_array().unwrap().len()),
        (Some("banana-user"), 9)
    );
    assert_eq!(add(&server, &banana, whole(postgres, "nb_db1")).await, std::slice::from_ref(&db1));
    add(&server, &apple, whole(postgres, "nb_db2")).await;
    assert_eq!(current_database(&server, &banana, &db1).await, json!([{ "CURRENT_DATABASE": "nb_db1" }]));
    assert_eq!(current_database(&server, &apple, &db2).await, json!([{ "CURRENT_DATABASE": "nb_db2" }]));
    assert_eq!(add(&server, &banana, whole(postgres, "nb_db2")).await, [db1.clone(), db2.clone()]);
    assert_eq!(current_database(&server, &banana, &db2).await, json!([{ "CURRENT_DATABASE": "nb_db2" }]));
    assert_eq!(remove(&server, &banana, &db2).await, std::slice::from_ref(&db1));
    assert!(remove(&server, &banana, &db1).await.is_empty());

    // The same key is the same source, for both tenants of the organization.
    add(&server, &banana, whole(postgres, "nb_db2")).await;
    for key in [&banana, &apple] {
        assert_eq!(count_tables(&server, key, &db2).await, 9);
    }
    let mut limited = whole(postgres, "nb_db2");
    limited["content_filters"] = json!([only("tables"), only("columns")]);
    add(&server, &banana, limited).await;
    for key in [&banana, &apple] {
        assert_eq!(count_tables(&server, key, &db2).await, 2);
    }

    // An alias gives each its own view of it.
    for (key, alias, tables) in [
        (&banana, "db_conn_2_alias_1", vec!["tables"]),
        (&apple, "db_conn_2_alias_2", vec!["columns", "tables"]),
    ] {
        let mut aliased = whole(postgres, "nb_db2");
        aliased["db_alias"] = json!(alias);
        aliased["content_filters"] = tables.iter().map(|table| only(table)).collect();
        let alias = format!("waii://nb_db2@127.0.0.1/{alias}");
        assert_eq!(add(&server, key, aliased).await, [db2.clone(), alias.clone()]);
        assert_eq!(count_tables(&server, key, &alias).await, tables.len());
    }
}
