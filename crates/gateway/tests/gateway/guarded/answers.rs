//! Answers that are kept: for everybody who sees the same, for nobody else, and not beyond the data and the policy they are of.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ringfence_gateway::cubes::{CubeAnswer, CubeQuery, LevelReference, PutCube};
use ringfence_gateway::{AnswersConfig, Code, Freshness, KeptAnswers, Refused};
use ringfence_policy::ConnectionSpec;
use tokio_util::sync::CancellationToken;

use super::{POLICY, Shop};
use crate::sources::indexed;
use crate::world::{World, begin, eventually, key_of};

const FRESH: Freshness = Freshness { oldest: Some(Duration::ZERO), is_kept: true };

fn by(level: &str) -> CubeQuery {
    CubeQuery {
        measures: vec!["contributors.COUNT".to_owned()],
        levels: vec![LevelReference::Name(level.to_owned())],
        include_totals: true,
        ..CubeQuery::default()
    }
}

impl Shop {
    /// Under the policy, with a cube over the orders.
    async fn counting(name: &str, policy: &str, cube: &str) -> Self {
        let shop = Self::open(name).await;
        shop.put(policy).await;
        shop.define(cube).await;
        shop
    }

    async fn define(&self, cube: &str) {
        let call = self.world.call_as("a-boss").await;
        let put = self.world.gateway.put_cube(&call, &self.key, "orders", cube).await.unwrap();
        assert!(matches!(put, PutCube::Stored(_)), "{put:?}");
    }

    async fn cube(&self, user: &str, level: &str, freshness: Freshness) -> Result<CubeAnswer, Refused> {
        let call = self.world.call_as(user).await;
        self.world.gateway.query_cube(&call, &self.key, "orders", &by(level), freshness).await
    }

    /// What a user is answered, and whether it was kept.
    async fn counted(&self, user: &str) -> (String, bool) {
        told(&self.cube(user, "status", Freshness::default()).await.unwrap())
    }

    fn kept(&self) -> KeptAnswers {
        self.world.gateway.kept_answers()
    }
}

fn told(answer: &CubeAnswer) -> (String, bool) {
    let rows: Vec<_> = answer.rows().map(|row| row.values).collect();
    (serde_json::to_string(&rows).unwrap(), answer.age.is_some())
}

const CUBE: &str = "{ table: orders, cache: 1h }";

#[tokio::test]
async fn who_sees_the_same_shares_and_nobody_else() {
    let shop = Shop::counting("answers_shared", POLICY, CUBE).await;
    let anns = r#"[[null,2],["draft",1],["new",1]]"#.to_owned();
    let abes = r#"[[null,2],["new",2]]"#.to_owned();
    assert_eq!(shop.counted("a-ann").await, (anns.clone(), false));
    assert_eq!(shop.counted("a-boss").await, (anns.clone(), true), "another user of the tenant");
    assert_eq!(shop.counted("a-abe").await, (abes.clone(), false), "the values differ");
    assert_eq!(shop.counted("a-abe").await, (abes, true));
    assert_eq!(shop.kept().entries, 2);
    // What somebody sees more is another statement.
    shop.give("a-boss", &["ROLE_AUDITOR"], "{}").await;
    let all = r#"[[null,4],["draft",1],["new",3]]"#.to_owned();
    assert_eq!(shop.counted("a-boss").await, (all, false));
    assert_eq!(shop.counted("a-ann").await, (anns, true));
}

#[tokio::test]
async fn what_is_written_is_another_version() {
    let shop = Shop::counting("answers_written", POLICY, CUBE).await;
    let (other, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
    let there = other.authenticate(&begin(&other), Some(&key_of("a-ann")), None).await.unwrap();
    let there = async || {
        let question = by("status");
        let asked = other.query_cube(&there, &shop.key, "orders", &question, Freshness::default());
        told(&asked.await.unwrap()).0
    };
    let (before, after) = (r#"[[null,2],["draft",1],["new",1]]"#, r#"[[null,2],["new",2]]"#);
    for (status, seen) in [("new", after), ("draft", before), ("new", after)] {
        shop.counted("a-ann").await;
        there().await;
        let update = format!("UPDATE orders SET status = '{status}' WHERE id = 2 RETURNING status");
        shop.rows("a-ann", &update, &format!(r#"[["{status}"]]"#)).await;
        assert_eq!(shop.counted("a-ann").await.0, seen, "who writes has answers from after it");
        eventually(async || (there().await == seen).then_some(())).await;
    }
    // A statement that is refused, and one that reads, change nothing.
    eventually(async || shop.counted("a-ann").await.1.then_some(())).await;
    shop.refused("a-ann", "DELETE FROM orders", Code::ApprovalRequired).await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    assert!(shop.counted("a-ann").await.1);
}

#[tokio::test]
async fn a_policy_counts_for_what_is_kept() {
    let shop = Shop::counting("answers_policy", POLICY, CUBE).await;
    let all = shop.counted("a-ann").await.0;
    let narrow = POLICY.replace(
        "    row_policies:\n",
        "    row_policies:\n      - { name: new, condition: \"status = 'new'\" }\n",
    );
    shop.put(&narrow).await;
    assert_eq!(shop.counted("a-ann").await, (r#"[[null,1],["new",1]]"#.to_owned(), false));
    shop.put(POLICY).await;
    assert_eq!(shop.counted("a-ann").await, (all, false), "another version begins with nothing");
    shop.define("{ table: orders, cache: 0s }").await;
    for _ in 0..2 {
        assert!(!shop.counted("a-ann").await.1, "a cube that keeps nothing");
    }
}

#[tokio::test]
async fn limits_hold_for_what_is_kept() {
    let counted = "budget: { requests_per_minute: 4 }\n";
    let shop = Shop::counting("answers_limits", &format!("{POLICY}{counted}"), CUBE).await;
    for kept in [false, true, true, true] {
        assert_eq!(shop.counted("a-ann").await.1, kept);
    }
    let refused = shop.cube("a-ann", "status", Freshness::default()).await.unwrap_err();
    assert_eq!(refused.code, Code::TenantRateLimited);
    // What one may have computed is not there for one who may not.
    let costly = "budget: [ { roles: [cheap], max_cost: 1 }, { max_cost: 100000 } ]\n";
    shop.put(&format!("{POLICY}{costly}")).await;
    shop.give("a-boss", &["cheap"], "{}").await;
    assert!(shop.cube("a-ann", "status", Freshness::default()).await.is_ok());
    assert!(shop.counted("a-ann").await.1);
    let refused = shop.cube("a-boss", "status", Freshness::default()).await.unwrap_err();
    assert_eq!(refused.code, Code::CostExceeded);
}

#[tokio::test]
async fn callers_say_how_new_an_answer_has_to_be() {
    let shop = Shop::counting("answers_fresh", POLICY, CUBE).await;
    let stored = shop.counted("a-ann").await.0;
    let server = ringfence_testkit::Postgres::shared().await;
    let client = server.client(shop.spec.database.as_deref().unwrap()).await;
    client.batch_execute("UPDATE orders SET status = 'sent' WHERE tenant_id = 'a-t1'").await.unwrap();
    assert_eq!(shop.counted("a-ann").await, (stored.clone(), true), "nobody told the server");
    let unkept = shop.cube("a-ann", "status", Freshness::UNKEPT).await.unwrap();
    let now = r#"[[null,2],["sent",2]]"#.to_owned();
    assert_eq!(told(&unkept), (now.clone(), false));
    assert_eq!(shop.counted("a-ann").await, (stored, true), "that one was kept for nobody");
    let newest = shop.cube("a-ann", "status", FRESH).await.unwrap();
    assert_eq!(told(&newest), (now.clone(), false));
    assert_eq!(shop.counted("a-boss").await, (now, true), "that one was kept for all");
}

#[tokio::test]
async fn what_hangs_on_the_moment_is_kept_for_nobody() {
    let policy = POLICY.replace(
        "    row_policies:\n",
        "    row_policies:\n      - { name: until, condition: \"current_date < '2099-01-01'\" }\n",
    );
    let shop = Shop::counting("answers_moment", &policy, CUBE).await;
    for _ in 0..2 {
        assert_eq!(shop.counted("a-ann").await, (r#"[[null,2],["draft",1],["new",1]]"#.to_owned(), false));
    }
    assert_eq!(shop.kept(), KeptAnswers { entries: 0, bytes: 0 });
}

#[tokio::test]
async fn nothing_is_kept_where_it_is_turned_off_or_too_large() {
    for (name, memory) in [("answers_off", 0), ("answers_small", 4_096)] {
        let off = AnswersConfig { memory, cube_time: Duration::from_hours(1) };
        let world = World::with(|config| config.answers = off).await;
        let shop = Shop::open_in(world, name).await;
        shop.put(POLICY).await;
        shop.define(CUBE).await;
        for _ in 0..2 {
            assert!(!shop.counted("a-ann").await.1);
        }
        assert_eq!(shop.kept().entries, 0);
    }
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_statement_and_one_who_leaves_takes_nothing_along() {
    let shop = Arc::new(Shop::counting("answers_at_once", POLICY, CUBE).await);
    let server = ringfence_testkit::Postgres::shared().await;
    let database = shop.spec.database.clone().unwrap();
    let (holder, watcher) = (server.client(&database).await, server.client(&database).await);
    holder.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let ask = |user: &'static str| {
        let (shop, leave) = (shop.clone(), CancellationToken::new());
        let left = leave.clone();
        let asking = tokio::spawn(left.run_until_cancelled_owned(async move { shop.counted(user).await }));
        (asking, leave)
    };
    let waiting = async || -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
        watcher.query_one(count, &[&database]).await.unwrap().get(0)
    };
    let (first, leave) = ask("a-ann");
    eventually(async || (waiting().await == 1).then_some(())).await;
    let others: Vec<_> = ["a-ann", "a-boss", "a-ann", "a-boss", "a-ann"].map(ask).into_iter().collect();
    // Somebody with another view waits for a statement of their own, begun after those.
    let (other, _other) = ask("a-abe");
    eventually(async || (waiting().await == 2).then_some(())).await;
    leave.cancel();
    assert!(first.await.unwrap().is_none(), "the first one left");
    assert_eq!(waiting().await, 2, "it still runs for the others");
    holder.batch_execute("COMMIT").await.unwrap();
    for (asking, _leave) in others {
        let (rows, _) = asking.await.unwrap().unwrap();
        assert_eq!(rows, r#"[[null,2],["draft",1],["new",1]]"#);
    }
    assert_eq!(other.await.unwrap().unwrap().0, r#"[[null,2],["new",2]]"#);
    assert_eq!(shop.kept().entries, 2);
    // When all have left, it stops in the database.
    holder.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    shop.define("{ table: orders, cache: 2h }").await;
    let (asking, leave) = ask("a-abe");
    eventually(async || (waiting().await == 1).then_some(())).await;
    leave.cancel();
    assert!(asking.await.unwrap().is_none());
    eventually(async || (waiting().await == 0).then_some(())).await;
    holder.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn hundred_callers_of_five_views_are_five_statements() {
    // Each of five roles has a mask of its own; who has none of them sees nothing of the column.
    let masks: Vec<String> = (0..5)
        .map(|role| format!("{{ roles: [ROLE_{role}], action: redact, constant: 'seen by {role}' }}"))
        .collect();
    let policy = format!(
        "models:\n  Order:\n    table: public.orders\n    fields: {{ card: [ {} ] }}\n",
        masks.join(", ")
    );
    let shop = Shop::counting("answers_hundred", &policy, CUBE).await;
    let users = ["a-boss", "a-ann", "a-abe"];
    let mut seen = std::collections::BTreeMap::new();
    let mut kept = 0;
    for role in 0..5 {
        let role = format!("ROLE_{role}");
        for user in users {
            shop.give(user, &[&role], "{}").await;
        }
        let asked =
            (0..20).map(|number| shop.cube(users[number % users.len()], "card", Freshness::default()));
        for answer in join_all(asked).await {
            let (rows, was_kept) = told(&answer.unwrap());
            kept += usize::from(was_kept);
            assert_eq!(*seen.entry(role.clone()).or_insert_with(|| rows.clone()), rows);
        }
    }
    let different: std::collections::BTreeSet<&String> = seen.values().collect();
    assert_eq!((different.len(), kept), (5, 95));
    let KeptAnswers { entries, bytes } = shop.kept();
    assert!(entries == 5 && bytes < 5 * 4_096, "{entries} in {bytes}");
}

#[tokio::test]
async fn another_database_user_asks_for_themselves() {
    let shop = Shop::counting("answers_other_user", POLICY, CUBE).await;
    let server = ringfence_testkit::Postgres::shared().await;
    let client = server.client(shop.spec.database.as_deref().unwrap()).await;
    client
        .batch_execute(
            "DROP ROLE IF EXISTS answers_reader; CREATE ROLE answers_reader LOGIN PASSWORD 'reader';
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO answers_reader;
             ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
             CREATE POLICY first ON orders FOR SELECT TO answers_reader USING (id = 1)",
        )
        .await
        .unwrap();
    let (all, _) = shop.counted("a-ann").await;
    let spec = ConnectionSpec { username: Some("answers_reader".to_owned()), ..shop.spec.clone() };
    let key = indexed(&shop.world, "a-ann", &spec, Some("reader")).await;
    let call = shop.world.call_as("a-ann").await;
    let question = by("status");
    let asked = shop.world.gateway.query_cube(&call, &key, "orders", &question, Freshness::default());
    assert_eq!(told(&asked.await.unwrap()), (r#"[[null,1],["new",1]]"#.to_owned(), false));
    assert_eq!(shop.counted("a-ann").await, (all, true));
    client.batch_execute("DROP OWNED BY answers_reader; DROP ROLE answers_reader").await.unwrap();
}
