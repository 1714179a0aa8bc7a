//! Two tenants of one organization and one of another, each with a key, and a database with two tables.

use std::time::{Duration, Instant};

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Server};
use crate::v1_client::V1;

pub(crate) const ADMIN: (&str, &str) = ("admin", ADMIN_KEY);

/// People's keys.
pub(crate) struct World {
    pub(crate) banana: String,
    pub(crate) apple: String,
    /// Of another organization.
    pub(crate) stone: String,
}

impl World {
    /// What somebody did before the test.
    pub(crate) async fn make(server: &Server) -> Self {
        for (org, tenants) in [("fruit-org", ["banana", "apple"].as_slice()), ("rock-org", &["stone"])] {
            let body = json!({ "organization": { "id": org, "name": "An organization" } });
            server.done(ADMIN_KEY, "create-org", &body).await;
            for tenant in tenants {
                let id = format!("{tenant}-tenant");
                let body = json!({ "tenant": { "id": id, "name": "A tenant", "org_id": org } });
                server.done(ADMIN_KEY, "create-tenant", &body).await;
                let user = json!({ "id": format!("{tenant}-user"), "name": "A user", "tenant_id": id, "org_id": org });
                server.done(ADMIN_KEY, "create-user", &json!({ "user": user })).await;
            }
        }
        Self {
            banana: key_of(server, "banana-user").await,
            apple: key_of(server, "apple-user").await,
            stone: key_of(server, "stone-user").await,
        }
    }
}

/// A connection that two users have who are of one organization and of different tenants: one administrates, one reads.
pub(crate) struct SharedConnection {
    pub(crate) boss: String,
    pub(crate) banana: String,
    /// The connection's key.
    pub(crate) key: String,
}

impl SharedConnection {
    pub(crate) async fn make(server: &Server, name: &str) -> Self {
        let postgres = Postgres::shared().await;
        let world = World::make(server).await;
        make_database(postgres, name).await;
        let user = json!({"id": "boss", "tenant": "apple-tenant", "roles": ["org-admin-user"]});
        V1::of(server).expect(ADMIN_KEY, "POST", "/v1/users", user, 201).await;
        let boss = key_of(server, "boss").await;
        let key = connect(server, &boss, postgres, name).await;
        connect(server, &world.banana, postgres, name).await;
        Self { boss, banana: world.banana, key }
    }
}

/// A new key of a user, made by the administrator in its place.
pub(crate) async fn key_of(server: &Server, user: &str) -> String {
    let authorization = format!("Bearer {ADMIN_KEY}");
    let headers = [("authorization", authorization.as_str()), ("x-waii-impersonate-user", user)];
    let answer = server.send("create-key", &headers, json!({ "name": "first" }).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["access_keys"][0]["access_key"].as_str().unwrap().to_owned()
}

/// A database with `movies` and `actors`, whose owner has the same name and the password `secret`.
pub(crate) async fn make_database(postgres: &Postgres, name: &str) {
    postgres.create_database(name, name, "secret").await;
    let client = postgres.client(name).await;
    client
        .batch_execute(&format!(
            "CREATE TABLE movies (id int PRIMARY KEY, title text NOT NULL, \"Year\" int);
             COMMENT ON TABLE movies IS 'Films';
             COMMENT ON COLUMN movies.title IS 'In English';
             CREATE TABLE actors (id int PRIMARY KEY, movie_id int REFERENCES movies (id), name text UNIQUE);
             INSERT INTO movies VALUES (1, 'Alien', 1979), (2, 'Brazil', 1985), (3, 'Heat', NULL);
             ALTER TABLE movies OWNER TO {name};
             ALTER TABLE actors OWNER TO {name};"
        ))
        .await
        .unwrap();
}

/// The connection to it.
pub(crate) fn connection_to(postgres: &Postgres, name: &str) -> Value {
    json!({
        "db_type": "postgresql",
        "host": "127.0.0.1",
        "port": postgres.port(),
        "username": name,
        "password": "secret",
        "database": name,
    })
}

/// Its key.
pub(crate) fn key_to(postgres: &Postgres, name: &str) -> String {
    format!("postgresql://{name}@127.0.0.1:{}/{name}", postgres.port())
}

/// Waits until the connection's index is complete.
pub(crate) async fn wait_for_index(server: &Server, key: &str, connection: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let list = server.done(key, "update-db-connect-info", &json!({})).await;
        let status = list["connector_status"][connection]["status"].clone();
        if status == "completed" {
            return;
        }
        assert!(Instant::now() < deadline && status != "failed", "not indexed: {list}");
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
}

/// Adds the connection and waits for its index.
pub(crate) async fn connect(server: &Server, key: &str, postgres: &Postgres, name: &str) -> String {
    let body = json!({ "updated": [connection_to(postgres, name)] });
    server.done(key, "update-db-connect-info", &body).await;
    let connection = key_to(postgres, name);
    wait_for_index(server, key, &connection).await;
    connection
}
