//! Data sources for the world: files and a server, and what a user does with them.

use ringfence_gateway::Refused;
use ringfence_gateway::connections::{ConnectionEdits, IndexView, NewConnection};
use ringfence_gateway::queries::QueryRequest;
use ringfence_policy::filter::SearchContext;
use ringfence_policy::{ConnectionKey, ConnectionSpec};
use ringfence_store::sources::IndexStatus;
use ringfence_testkit::Postgres;

use crate::world::{World, eventually};

/// A new `SQLite` file in the world's directory, filled by `sql`.
pub(crate) fn file(world: &World, name: &str, sql: &str) -> ConnectionSpec {
    let path = world.data().join(name);
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    ConnectionSpec {
        db_type: "sqlite".to_owned(),
        database: Some(path.to_str().unwrap().to_owned()),
        ..ConnectionSpec::default()
    }
}

/// A database of the shared server; its owner `owner` has the password `pw-<owner>`.
pub(crate) async fn database(name: &str, owner: &str, sql: &str) -> ConnectionSpec {
    let server = Postgres::shared().await;
    server.create_database(name, owner, &password(owner)).await;
    let client = server.client(name).await;
    client.batch_execute(&format!("SET ROLE {owner}; {sql}")).await.unwrap();
    ConnectionSpec {
        db_type: "postgresql".to_owned(),
        host: Some("127.0.0.1".to_owned()),
        port: Some(server.port()),
        username: Some(owner.to_owned()),
        database: Some(name.to_owned()),
        ..ConnectionSpec::default()
    }
}

pub(crate) fn password(owner: &str) -> String {
    format!("pw-{owner}")
}

pub(crate) fn new(spec: &ConnectionSpec, password: Option<&str>) -> NewConnection {
    NewConnection { spec: spec.clone(), password: password.map(Into::into) }
}

/// The spec with an alias for its database, so with a key of its own.
pub(crate) fn alias(spec: &ConnectionSpec, alias: &str) -> ConnectionSpec {
    ConnectionSpec { db_alias: Some(alias.to_owned()), ..spec.clone() }
}

pub(crate) fn contexts(json: &str) -> Vec<SearchContext> {
    serde_json::from_str(json).unwrap()
}

/// The spec with content filters, as JSON.
pub(crate) fn filtered(spec: &ConnectionSpec, filters: &str) -> ConnectionSpec {
    ConnectionSpec { content_filters: Some(contexts(filters)), ..spec.clone() }
}

/// The spec confined to its content filters, as JSON.
pub(crate) fn confined(spec: &ConnectionSpec, filters: &str) -> ConnectionSpec {
    let mut spec = filtered(spec, filters);
    spec.db_access_policy.allow_access_beyond_db_content_filter = false;
    spec
}

pub(crate) fn update(new: NewConnection) -> ConnectionEdits {
    ConnectionEdits { updated: vec![new], ..ConnectionEdits::default() }
}

pub(crate) async fn edit(
    world: &World,
    user: &str,
    edits: ConnectionEdits,
) -> Result<Vec<ConnectionKey>, Refused> {
    world.gateway.edit_connections(&world.call_as(user).await, edits).await
}

/// Puts the connection on the user's list, and answers its key at once.
pub(crate) async fn add(world: &World, user: &str, spec: &ConnectionSpec, password: Option<&str>) -> String {
    edit(world, user, update(new(spec, password))).await.unwrap().remove(0).as_str().to_owned()
}

/// The same, waiting until indexing has ended well.
pub(crate) async fn indexed(
    world: &World,
    user: &str,
    spec: &ConnectionSpec,
    password: Option<&str>,
) -> String {
    let key = add(world, user, spec, password).await;
    let index = settled(world, user, &key).await;
    assert_eq!(index.status, IndexStatus::Completed, "{index:?}");
    key
}

pub(crate) async fn status(world: &World, user: &str, key: &str) -> IndexView {
    world.gateway.get_connection(&world.call_as(user).await, key).await.unwrap().index
}

/// The status when indexing has ended, well or not.
pub(crate) async fn settled(world: &World, user: &str, key: &str) -> IndexView {
    eventually(|| async {
        let index = status(world, user, key).await;
        matches!(index.status, IndexStatus::Completed | IndexStatus::Failed).then_some(index)
    })
    .await
}

/// `schema.relation` of everything that the connection shows; `None` without a catalog.
pub(crate) async fn tables(world: &World, user: &str, key: &str) -> Option<Vec<String>> {
    let view = world.gateway.catalog(&world.call_as(user).await, key, &[]).await.unwrap()?;
    let names = view.catalog.schemas.iter().flat_map(|schema| {
        schema.relations.iter().map(move |relation| format!("{}.{}", schema.name, relation.name))
    });
    Some(names.collect())
}

pub(crate) fn query(statement: &str) -> QueryRequest {
    QueryRequest { statement: statement.to_owned(), ..QueryRequest::default() }
}

/// Runs a statement and answers its rows as JSON.
pub(crate) async fn run(world: &World, user: &str, key: &str, statement: &str) -> Result<String, Refused> {
    let outcome = world.gateway.run_query(&world.call_as(user).await, key, query(statement)).await?;
    Ok(serde_json::to_string(&outcome.result.rows).unwrap())
}

/// A read that does not end by itself.
pub(crate) const ENDLESS: &str =
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";

/// Waits until no statement like this one runs on the shared server.
pub(crate) async fn stopped(database: &str, part: &str) {
    let client = Postgres::shared().await.client(database).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%' || $1 || '%' \
                 AND pid <> pg_backend_pid()";
    eventually(|| async {
        let running: i64 = client.query_one(count, &[&part]).await.unwrap().get(0);
        (running == 0).then_some(())
    })
    .await;
}

/// Waits until such a statement runs on the shared server.
pub(crate) async fn running(database: &str, part: &str) {
    let client = Postgres::shared().await.client(database).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%' || $1 || '%' \
                 AND pid <> pg_backend_pid()";
    eventually(|| async {
        let running: i64 = client.query_one(count, &[&part]).await.unwrap().get(0);
        (running > 0).then_some(())
    })
    .await;
}
