//! Attributes that a policy reads from the connection: memberships decide which notes are seen, on each kind of database.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfence_gateway::policies::{Diff, DiffRequest, NewPolicy, PutPolicy, Tested};
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Code, Refused};
use ringfence_policy::{ConnectionSpec, WarningCode};
use ringfence_store::policies::Expected;
use ringfence_testkit::{Mariadb, Postgres};

use crate::sources::{self, database, file, indexed, password};
use crate::world::{World, attributes, code, eventually};

const SCHEMA: &str = "
    CREATE TABLE memberships (user_id varchar(40) NOT NULL, tenant varchar(40), weight int, part numeric(12,2));
    CREATE TABLE notes (id int PRIMARY KEY, tenant varchar(40), weight int);
    INSERT INTO notes VALUES (1, 't1', 1), (2, 't1', 2), (3, 't2', 3), (4, 't2', 4), (5, 't3', 5), (6, NULL, 6), (7, 't999', 7);
    INSERT INTO memberships VALUES ('a-ann', 't1', 1, 1.50), ('a-ann', 't1', 1, 1.50), ('a-lead', 't1', 1, 1.00), ('a-lead', 't2', 9, 2.00)";

const POLICY: &str = r#"
attributes:
  member_of: { query: "SELECT tenant FROM memberships WHERE user_id = principal.user_id", ttl: 1h }
models:
  Note: { table: notes, scoping: { tenant: principal.attributes.member_of } }
  Membership:
    table: memberships
    write_policy: { create: allow, update: allow, delete: allow }
"#;

enum Server {
    Postgres(String),
    Sqlite(std::path::PathBuf),
    Mariadb(Mariadb, String),
}

/// A database of members and notes, which Ann, Abe and their lead have connections to.
struct Club {
    world: World,
    key: String,
    server: Server,
    /// What the policy begins with there.
    search: String,
}

impl Club {
    async fn on_postgres(name: &str) -> Self {
        let owner = format!("{name}_owner");
        let spec = database(name, &owner, SCHEMA).await;
        Self::open(spec, Some(&password(&owner)), Server::Postgres(name.to_owned()), String::new()).await
    }

    async fn on_sqlite() -> Self {
        let world = World::new().await;
        let spec = file(&world, "club.db", SCHEMA);
        let path = world.data().join("club.db");
        Self::over(world, spec, None, Server::Sqlite(path), String::new()).await
    }

    async fn on_mariadb() -> Self {
        let server = Mariadb::start().await;
        server.create_database("club", "club_owner", "pw-club_owner");
        server.sql(&format!("USE club; {SCHEMA}"));
        let spec = ConnectionSpec {
            db_type: "mysql".to_owned(),
            host: Some("127.0.0.1".to_owned()),
            port: Some(server.port()),
            username: Some("club_owner".to_owned()),
            database: Some("club".to_owned()),
            ..ConnectionSpec::default()
        };
        let search = "search_schemas: [club]\n".to_owned();
        Self::open(spec, Some("pw-club_owner"), Server::Mariadb(server, "club".to_owned()), search).await
    }

    async fn each() -> [Self; 3] {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("club_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        [Self::on_postgres(&name).await, Self::on_sqlite().await, Self::on_mariadb().await]
    }

    async fn open(spec: ConnectionSpec, password: Option<&str>, server: Server, search: String) -> Self {
        Self::over(World::new().await, spec, password, server, search).await
    }

    async fn over(
        world: World,
        spec: ConnectionSpec,
        password: Option<&str>,
        server: Server,
        search: String,
    ) -> Self {
        let mut key = String::new();
        for user in ["a-boss", "a-ann", "a-abe", "a-lead"] {
            key = indexed(&world, user, &spec, password).await;
        }
        let club = Self { world, key, server, search };
        club.put(POLICY).await;
        club
    }

    async fn try_put(&self, document: &str) -> PutPolicy {
        let document = format!("{}{document}", self.search);
        let new = NewPolicy { document, comment: None, expected: Expected::Any };
        self.world.gateway.put_policy(&self.world.call_as("a-boss").await, &self.key, new).await.unwrap()
    }

    async fn put(&self, document: &str) {
        match self.try_put(document).await {
            // Who belongs where is read as a whole, by the policy alone: that it looks like a tenant's is known here.
            PutPolicy::Stored { warnings, .. } => {
                let others =
                    warnings.iter().filter(|warning| warning.code != WarningCode::TenantColumnUnscoped);
                assert_eq!(others.count(), 0, "{warnings:?}");
            }
            PutPolicy::Invalid(problems) => panic!("{problems:?}"),
        }
    }

    async fn run(&self, user: &str, statement: &str) -> Result<String, Refused> {
        sources::run(&self.world, user, &self.key, statement).await
    }

    async fn rows(&self, user: &str, statement: &str, expected: &str) {
        assert_eq!(self.run(user, statement).await.as_deref(), Ok(expected), "{user}: {statement}");
    }

    /// The ids of notes that the user sees.
    async fn sees(&self, user: &str, expected: &str) {
        self.rows(user, "SELECT id FROM notes ORDER BY id", expected).await;
    }

    /// Past the gateway.
    async fn raw(&self, sql: &str) {
        match &self.server {
            Server::Postgres(name) => {
                Postgres::shared().await.client(name).await.batch_execute(sql).await.unwrap();
            }
            Server::Sqlite(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Server::Mariadb(server, name) => {
                server.sql(&format!("USE {name}; {sql}"));
            }
        }
    }

    /// What the semi-join finds that somebody would have written by hand.
    async fn by_hand(&self, user: &str) -> String {
        let select = format!(
            "SELECT id FROM notes WHERE tenant IN (SELECT tenant FROM memberships WHERE user_id = '{user}') ORDER BY id"
        );
        let ids: Vec<i64> = match &self.server {
            Server::Postgres(name) => {
                let rows = Postgres::shared().await.client(name).await.query(&select, &[]).await.unwrap();
                rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).collect()
            }
            Server::Sqlite(path) => {
                let file = rusqlite::Connection::open(path).unwrap();
                let mut statement = file.prepare(&select).unwrap();
                let ids = statement.query_map([], |row| row.get(0)).unwrap();
                ids.collect::<Result<_, _>>().unwrap()
            }
            Server::Mariadb(server, name) => {
                let text = server.sql(&format!("USE {name}; {select}"));
                text.lines().map(|line| line.parse().unwrap()).collect()
            }
        };
        serde_json::to_string(&ids.into_iter().map(|id| [id]).collect::<Vec<_>>()).unwrap()
    }
}

fn memberships(user: &str, from: usize, to: usize) -> String {
    let rows: Vec<String> = (from..=to).map(|number| format!("('{user}', 't{number}', 1, 1)")).collect();
    format!("INSERT INTO memberships VALUES {}", rows.join(", "))
}

#[tokio::test]
async fn what_is_seen_equals_the_semi_join() {
    for club in Club::each().await {
        club.raw(&memberships("a-boss", 2, 1001)).await;
        for (user, expected) in [
            ("a-abe", "[]"),
            ("a-ann", "[[1],[2]]"),
            ("a-lead", "[[1],[2],[3],[4]]"),
            ("a-boss", "[[3],[4],[5],[7]]"),
        ] {
            club.sees(user, expected).await;
            assert_eq!(club.by_hand(user).await, expected, "{user}");
        }
        // And where it stands in a condition, with numbers.
        club.put(
            r#"
attributes:
  weights: "SELECT DISTINCT m.weight FROM memberships m JOIN notes n ON n.tenant = m.tenant WHERE m.user_id = principal.user_id"
  parts: "SELECT part FROM memberships WHERE user_id = principal.user_id"
  tenant: { query: "SELECT tenant FROM memberships WHERE user_id = principal.user_id AND weight = 1", shape: value, ttl: 5m }
models:
  Note:
    table: notes
    scoping: { tenant: principal.attributes.tenant }
    row_policies:
      - { name: light, condition: "weight IN principal.attributes.weights OR weight = 2" }
      - { name: parts, condition: "2.00 IN principal.attributes.parts OR 1.5 IN principal.attributes.parts" }
"#,
        )
        .await;
        club.sees("a-ann", "[[1],[2]]").await;
        club.sees("a-lead", "[[1],[2]]").await;
        // Nothing is not everything: without a value there is no scope, and of two none is chosen.
        let missing = club.run("a-abe", "SELECT id FROM notes").await;
        assert_eq!(code(missing), Code::TenantScopeRequired);
        let several = club.run("a-boss", "SELECT id FROM notes").await.expect_err("several");
        assert_eq!(several.code, Code::AttributeUnavailable);
        assert!(several.message.contains("more than one value"), "{several}");
    }
}

#[tokio::test]
async fn null_is_what_it_is_in_sql() {
    for club in Club::each().await {
        club.raw("INSERT INTO memberships VALUES ('a-lead', NULL, 1, 1)").await;
        club.sees("a-lead", "[[1],[2],[3],[4]]").await;
        let not_in = POLICY.replace(
            "scoping: { tenant: principal.attributes.member_of }",
            "row_policies: [ { name: others, condition: 'tenant NOT IN principal.attributes.member_of' } ]",
        );
        club.put(&not_in).await;
        club.sees("a-ann", "[[3],[4],[5],[7]]").await;
        // Whether a tenant is not NULL nobody can tell.
        club.sees("a-lead", "[]").await;
        club.raw(&memberships("a-lead", 50, 70)).await;
        club.put(&not_in).await;
        club.sees("a-lead", "[]").await;
        club.sees("a-abe", "[[1],[2],[3],[4],[5],[6],[7]]").await;
    }
}

#[tokio::test]
async fn a_change_of_a_membership_counts_at_once() {
    for club in Club::each().await {
        club.sees("a-ann", "[[1],[2]]").await;
        // Behind the gateway's back it counts when the time is over.
        club.raw("INSERT INTO memberships VALUES ('a-ann', 't3', 1, 1)").await;
        club.sees("a-ann", "[[1],[2]]").await;
        club.run("a-boss", "INSERT INTO memberships (user_id, tenant) VALUES ('a-abe', 't2')").await.unwrap();
        club.sees("a-abe", "[[3],[4]]").await;
        club.sees("a-ann", "[[1],[2],[5]]").await;
        club.run("a-boss", "DELETE FROM memberships WHERE user_id = 'a-ann'").await.unwrap();
        club.sees("a-ann", "[]").await;
        club.run("a-boss", "UPDATE memberships SET tenant = 't1' WHERE user_id = 'a-abe'").await.unwrap();
        club.sees("a-abe", "[[1],[2]]").await;
        // A new version of the policy reads anew, too.
        club.raw("DELETE FROM memberships").await;
        club.put(POLICY).await;
        club.sees("a-abe", "[]").await;
    }
}

#[tokio::test]
async fn other_nodes_hear_of_a_change_and_time_ends_what_was_read() {
    let club = Club::on_postgres("club_nodes").await;
    let (other, _) = club.world.open_again(club.world.config.clone()).await.unwrap();
    let there = async || {
        let log = crate::world::begin(&other);
        let call = other.authenticate(&log, Some(&crate::world::key_of("a-ann")), None).await.unwrap();
        let request = sources::query("SELECT id FROM notes ORDER BY id");
        let outcome = other.run_query(&call, &club.key, request).await.unwrap();
        serde_json::to_string(&outcome.result.rows).unwrap()
    };
    assert_eq!(there().await, "[[1],[2]]");
    club.run("a-boss", "INSERT INTO memberships (user_id, tenant) VALUES ('a-ann', 't3')").await.unwrap();
    eventually(|| async { (there().await == "[[1],[2],[5]]").then_some(()) }).await;
    club.put(&POLICY.replace("1h", "50ms")).await;
    club.sees("a-ann", "[[1],[2],[5]]").await;
    club.raw("DELETE FROM memberships").await;
    let none = async || club.run("a-ann", "SELECT id FROM notes").await.as_deref() == Ok("[]");
    eventually(|| async { none().await.then_some(()) }).await;
}

#[tokio::test]
async fn two_principals_never_share_an_answer() {
    for club in Club::each().await {
        for _ in 0..2 {
            club.sees("a-ann", "[[1],[2]]").await;
            club.sees("a-abe", "[]").await;
            club.sees("a-lead", "[[1],[2],[3],[4]]").await;
        }
        // One user, whose value in the query changes.
        let by_variable = POLICY.replace("principal.user_id", "principal.attributes.name");
        club.put(&by_variable).await;
        for (name, expected) in [("a-ann", "[[1],[2]]"), ("a-lead", "[[1],[2],[3],[4]]"), ("nobody", "[]")] {
            give(&club.world, "a-abe", &format!(r#"{{"name": "{name}"}}"#)).await;
            club.sees("a-abe", expected).await;
        }
        give(&club.world, "a-abe", r#"{"name": ["a-ann"]}"#).await;
        club.sees("a-abe", "[[1],[2]]").await;
    }
}

async fn give(world: &World, user: &str, variables: &str) {
    let variables = Some(attributes(variables));
    let spec = UserSpec { id: user.to_owned(), variables, ..UserSpec::default() };
    world.gateway.update_user(&world.call_as("a-boss").await, spec).await.unwrap();
}

#[tokio::test]
async fn a_variable_does_not_stand_for_what_is_read() {
    let club = Club::on_sqlite().await;
    give(&club.world, "a-abe", r#"{"member_of": ["t1", "t2", "t3"]}"#).await;
    club.sees("a-abe", "[]").await;
    // Nor where nothing is read.
    club.put(&POLICY.replace("ttl: 1h", "shape: value")).await;
    assert_eq!(code(club.run("a-abe", "SELECT id FROM notes").await), Code::TenantScopeRequired);
}

#[tokio::test]
async fn what_can_not_be_read_refuses_everything() {
    for club in Club::each().await {
        club.sees("a-ann", "[[1],[2]]").await;
        for thousand in 0..10 {
            club.raw(&memberships("a-abe", thousand * 1_000 + 1, (thousand + 1) * 1_000)).await;
        }
        club.put(POLICY).await;
        club.sees("a-abe", "[[1],[2],[3],[4],[5],[7]]").await;
        club.raw("INSERT INTO memberships VALUES ('a-abe', 'one too many', 1, 1)").await;
        club.put(POLICY).await;
        for statement in ["SELECT id FROM notes", "SELECT 1", "DELETE FROM memberships WHERE user_id = 'x'"] {
            let refused = club.run("a-abe", statement).await.expect_err(statement);
            assert_eq!(refused.code, Code::AttributeUnavailable, "{refused}");
            assert!(refused.message.contains("10000 values"), "{refused}");
        }
        club.sees("a-ann", "[[1],[2]]").await;
        club.raw("ALTER TABLE memberships RENAME TO gone").await;
        club.put_anyway(POLICY).await;
        let refused = club.run("a-ann", "SELECT id FROM notes").await.expect_err("no table");
        assert_eq!(refused.code, Code::AttributeUnavailable, "{refused}");
        assert!(!refused.message.contains("memberships"), "{refused}");
        let key = &club.key;
        let listed = club.world.gateway.catalog(&club.world.call_as("a-ann").await, key, &[]).await;
        assert_eq!(code(listed), Code::AttributeUnavailable);
        club.raw("ALTER TABLE gone RENAME TO memberships").await;
        club.sees("a-ann", "[[1],[2]]").await;
    }
}

impl Club {
    /// The catalog may be older than the database.
    async fn put_anyway(&self, document: &str) {
        assert!(matches!(self.try_put(document).await, PutPolicy::Stored { .. }));
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_refused() {
    let club = Club::on_postgres("club_slow").await;
    club.raw(
        "CREATE VIEW slow AS SELECT user_id, tenant FROM memberships, pg_sleep(60); GRANT SELECT ON slow TO club_slow_owner",
    )
    .await;
    let slow = POLICY.replace("FROM memberships", "FROM slow") + "budget: { statement_timeout: 100ms }\n";
    club.put_anyway(&slow).await;
    assert_eq!(code(club.run("a-ann", "SELECT 1").await), Code::AttributeUnavailable);
}

impl Club {
    /// `user before after +gained -lost` of the notes, under another document.
    async fn effect(&self, document: &str) -> Vec<String> {
        let document = format!("{}{document}", self.search);
        let users = ["a-ann", "a-abe"].map(str::to_owned).to_vec();
        let request = DiffRequest { document, users, counting: true, sample: None };
        let call = self.world.call_as("a-boss").await;
        let effect = match self.world.gateway.diff_policy(&call, &self.key, request).await.unwrap() {
            Diff::Effect(effect) => effect,
            Diff::Invalid(problems) => panic!("{problems:?}"),
        };
        let relations = effect.groups.iter().flat_map(|group| &group.relations);
        let rows = relations.filter(|effect| effect.relation.name == "notes").flat_map(|effect| &effect.rows);
        let mut all: Vec<String> = rows
            .map(|rows| match &rows.problem {
                Some(problem) => format!("{} {problem}", rows.user),
                None => {
                    format!("{} {} {} +{} -{}", rows.user, rows.before, rows.after, rows.gained, rows.lost)
                }
            })
            .collect();
        all.sort();
        all
    }

    async fn failures(&self, test: &str) -> String {
        let document = format!("tests:\n  - {{ name: one, {test} }}\n");
        let call = self.world.call_as("a-boss").await;
        match self.world.gateway.test_policy(&call, &self.key, &document, None).await.unwrap() {
            Tested::Report(report) => report.outcomes[0].failures.join("; "),
            Tested::Invalid(problems) => panic!("{problems:?}"),
        }
    }
}

#[tokio::test]
async fn the_effect_of_a_document_is_measured_with_what_is_read() {
    for club in Club::each().await {
        give(&club.world, "a-abe", r#"{"member_of": ["t1", "t2", "t3"]}"#).await;
        // Both read the same; the other document narrows it.
        let narrower = POLICY.replace(
            "}\n  Membership",
            ", row_policies: [{ name: few, condition: weight <> 2 }] }\n  Membership",
        );
        assert_eq!(club.effect(&narrower).await, ["a-ann 2 1 +0 -1"]);
        // Each reads something else under one name.
        let heavier = POLICY.replace("user_id = principal.user_id", "weight > 1");
        let other = "principal.attributes.member_of has another value under each policy: rows of both are not counted";
        assert_eq!(club.effect(&heavier).await, [format!("a-abe {other}"), format!("a-ann {other}")]);
        // Who lacks what the other document reads with, in the shape that it needs, is refused all there.
        give(&club.world, "a-ann", r#"{"badge": {"no": "single value"}}"#).await;
        give(&club.world, "a-abe", r#"{"badge": {"no": "single value"}}"#).await;
        let lacking = POLICY.replace("principal.user_id\"", "principal.attributes.badge\"");
        assert_eq!(club.effect(&lacking).await, ["a-abe 0 0 +0 -0", "a-ann 2 0 +0 -2"]);
    }
}

#[tokio::test]
async fn tests_of_a_policy_read_what_statements_read() {
    let club = Club::on_sqlite().await;
    give(&club.world, "a-abe", r#"{"member_of": ["t1", "t2", "t3"]}"#).await;
    let ids = "query: SELECT id FROM notes ORDER BY id";
    for (who, count) in [
        ("as: a-ann", 2),
        ("as: a-abe", 0),
        ("as: { tenant: a-t1, user: a-ann }", 2),
        ("as: { tenant: a-t1, user: nobody }", 0),
        // Made up from head to foot.
        ("as: { tenant: a-t1, user: nobody, attributes: { member_of: [t1, t2, t3] } }", 5),
    ] {
        assert_eq!(club.failures(&format!("{who}, {ids}, expect: {{ count: {count} }}")).await, "", "{who}");
    }
    club.raw("ALTER TABLE memberships RENAME TO gone").await;
    club.put_anyway(POLICY).await;
    let refused = format!("as: a-ann, {ids}, expect: {{ refused: ATTRIBUTE_UNAVAILABLE }}");
    assert_eq!(club.failures(&refused).await, "");
    let relation = "as: a-ann, relation: notes, expect: { visible: true }";
    assert!(club.failures(relation).await.contains("ATTRIBUTE_UNAVAILABLE"));
}
