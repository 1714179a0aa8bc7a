//! Access rules: who is held to which, on open and on guarded connections.

use ringfence_gateway::access_rules::{NewRule, RuleLookup};
use ringfence_gateway::annotations::RelationName;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::{Code, Refused};

use super::{POLICY, Shop};
use crate::sources::{alias, edit, indexed, password, query, tables};
use crate::world::{ROOT, code, eventually};

const COUNT: &str = "SELECT count(*) FROM orders";

/// `scope`: organization, tenant, user; `*` is any. Without an expression it blocks.
fn rule(id: &str, table: &str, scope: [&str; 3], expression: Option<&str>) -> NewRule {
    let part = |text: &str| Some(text.to_owned());
    NewRule {
        id: Some(id.to_owned()),
        name: format!("rule {id}"),
        table: RelationName { schema: Some("PUBLIC".to_owned()), name: table.to_owned() },
        org: part(scope[0]),
        tenant: part(scope[1]),
        user: part(scope[2]),
        expression: expression.map(str::to_owned),
    }
}

const ANYBODY: [&str; 3] = ["*", "*", "*"];

impl Shop {
    async fn try_rule(&self, user: &str, rules: Vec<NewRule>) -> Result<(), Refused> {
        self.world.gateway.update_access_rules(&self.world.call_as(user).await, &self.key, rules).await
    }

    async fn rule(&self, id: &str, table: &str, scope: [&str; 3], expression: Option<&str>) {
        self.try_rule("a-boss", vec![rule(id, table, scope, expression)]).await.unwrap();
    }

    async fn unrule(&self, user: &str, ids: &[&str]) -> Result<(), Refused> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.world.gateway.remove_access_rules(&self.world.call_as(user).await, &self.key, &ids).await
    }

    async fn listed(&self, user: &str, lookup: RuleLookup) -> Vec<String> {
        let call = self.world.call_as(user).await;
        let rules = self.world.gateway.list_access_rules(&call, &self.key, lookup).await.unwrap();
        rules.into_iter().map(|rule| rule.id).collect()
    }
}

#[tokio::test]
async fn the_tightest_filter_counts_on_an_open_connection() {
    let shop = Shop::open("rules_tightest").await;
    shop.rows("a-ann", COUNT, "[[4]]").await;
    shop.rule("all", "ORDERS", ANYBODY, Some("id > 1")).await;
    shop.rows("a-ann", COUNT, "[[3]]").await;
    shop.rule("tenant", "orders", ["a", "a-t1", "*"], Some("tenant_id = {tenant_id}")).await;
    shop.rows("a-ann", COUNT, "[[2]]").await;
    shop.rows("a-abe", COUNT, "[[3]]").await;
    shop.rule("user", "orders", ["a", "a-t1", "a-ann"], Some("status = 'draft' AND {user_id} = 'a-ann'"))
        .await;
    shop.rows("a-ann", "SELECT id, note FROM orders", r#"[[2,"n2"]]"#).await;
    // Wherever it stands, and under any name.
    for statement in [
        "SELECT count(*) FROM public.orders AS o WHERE o.id > 0",
        "WITH x AS (SELECT * FROM orders) SELECT count(*) FROM x",
        "SELECT count(*) FROM regions r RIGHT JOIN orders ON r.id = orders.id",
        "SELECT (SELECT count(*) FROM orders)",
    ] {
        shop.rows("a-ann", statement, "[[1]]").await;
    }
    shop.rows("a-ann", "WITH orders AS (SELECT 1 AS id) SELECT * FROM orders", "[[1]]").await;
    shop.unrule("a-boss", &["user", "tenant", "nothing"]).await.unwrap();
    shop.rows("a-ann", COUNT, "[[3]]").await;
    shop.unrule("a-boss", &["all"]).await.unwrap();
    shop.rows("a-ann", COUNT, "[[4]]").await;
}

#[tokio::test]
async fn a_block_looks_like_nothing_there() {
    let shop = Shop::open("rules_block").await;
    shop.rule("no", "secrets", ["a", "a-t1", "*"], None).await;
    // A filter for her alone does not lift it.
    shop.rule("yes", "secrets", ["a", "a-t1", "a-ann"], Some("TRUE")).await;
    for statement in ["SELECT * FROM secrets", "DELETE FROM secrets", "SELECT word FROM public.secrets s"] {
        let blocked = shop.refused("a-ann", statement, Code::RelationUnknown).await;
        let missing = statement.replace("secrets", "nothing");
        let missing = shop.refused("a-ann", &missing, Code::RelationUnknown).await;
        assert_eq!(blocked.message.replace("secrets", "nothing"), missing.message);
    }
    shop.rows("a-abe", "SELECT word FROM secrets", r#"[["hush"]]"#).await;
    assert!(!tables(&shop.world, "a-ann", &shop.key).await.unwrap().contains(&"public.secrets".to_owned()));
    assert!(tables(&shop.world, "a-abe", &shop.key).await.unwrap().contains(&"public.secrets".to_owned()));
    // What is not hidden is as it was, and may be changed.
    shop.rows("a-ann", COUNT, "[[4]]").await;
    shop.run("a-ann", "UPDATE orders SET note = 'mine' WHERE id = 1").await.unwrap();
    shop.rows("a-abe", "SELECT note FROM orders WHERE id = 1", r#"[["mine"]]"#).await;
}

#[tokio::test]
async fn a_bound_caller_runs_what_the_guard_takes() {
    let shop = Shop::open("rules_kinds").await;
    shop.run("a-ann", "CREATE TABLE scratch (a int)").await.unwrap();
    shop.rule("some", "orders", ["a", "a-t1", "*"], Some("tenant_id = {tenant_id}")).await;
    for statement in [
        "CREATE TABLE more (a int)",
        "CREATE VIEW peek AS SELECT * FROM orders",
        "DROP TABLE scratch",
        "COPY orders TO STDOUT",
        "DO $$ BEGIN PERFORM 1; END $$",
        "SELECT query_to_xml('SELECT * FROM orders', true, true, '')",
        "SELECT tell()",
        "TRUNCATE orders",
    ] {
        let refused = shop.run("a-ann", statement).await.expect_err(statement);
        assert!(refused.code.is_of_guard(), "{statement}: {refused:?}");
    }
    // Changes stay within the rule, and can't leave it.
    shop.run("a-ann", "UPDATE orders SET status = 'seen'").await.unwrap();
    shop.run("a-ann", "DELETE FROM orders WHERE id = 3").await.unwrap();
    assert_eq!(shop.raw().await, "1 a-t1 seen, 2 a-t1 seen, 3 a-t2 new, 4 a-t2 new");
    shop.refused("a-ann", "UPDATE orders SET tenant_id = 'a-t2' WHERE id = 1", Code::RowRefused).await;
    shop.refused("a-ann", "INSERT INTO orders VALUES (9, 'a-t2', 'new')", Code::RowRefused).await;
    // Whom no rule is for has an open connection still.
    shop.run("a-abe", "DROP TABLE scratch").await.unwrap();
}

#[tokio::test]
async fn rules_reach_through_views_and_partitions() {
    let shop = Shop::open("rules_views").await;
    let more = "CREATE VIEW deeper AS SELECT id FROM all_orders; CREATE VIEW plain AS SELECT id FROM regions;
        CREATE MATERIALIZED VIEW copied AS SELECT * FROM orders;
        CREATE TABLE parts (id int, tenant_id text) PARTITION BY LIST (tenant_id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN ('a-t1'); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN ('a-t2');
        INSERT INTO parts VALUES (1, 'a-t1'), (2, 'a-t2')";
    let client =
        ringfence_testkit::Postgres::shared().await.client(shop.spec.database.as_deref().unwrap()).await;
    client.batch_execute(&format!("SET ROLE {}; {more}", shop.owner)).await.unwrap();
    indexed(&shop.world, "a-boss", &shop.spec, None).await;
    shop.world.gateway.refresh_connection(&shop.world.call_as("a-boss").await, &shop.key).await.unwrap();
    eventually(async || {
        tables(&shop.world, "a-ann", &shop.key).await?.contains(&"public.parts".to_owned()).then_some(())
    })
    .await;
    shop.rows("a-ann", "SELECT count(*) FROM deeper", "[[4]]").await;
    shop.rule("some", "orders", ["a", "a-t1", "*"], Some("tenant_id = {tenant_id}")).await;
    for name in ["all_orders", "deeper", "copied"] {
        shop.refused("a-ann", &format!("SELECT count(*) FROM {name}"), Code::RelationUnknown).await;
    }
    shop.rows("a-ann", "SELECT count(*) FROM plain", "[[2]]").await;
    shop.rows("a-ann", "SELECT count(*) FROM parts", "[[2]]").await;
    shop.rows("a-abe", "SELECT count(*) FROM deeper", "[[4]]").await;
    // A part that is blocked is not to be read through the whole.
    shop.rule("part", "parts_2", ["a", "a-t1", "*"], None).await;
    shop.refused("a-ann", "SELECT count(*) FROM parts", Code::RelationUnknown).await;
    shop.rows("a-ann", "SELECT count(*) FROM parts_1", "[[1]]").await;
}

#[tokio::test]
async fn rules_narrow_what_a_policy_shows() {
    let shop = Shop::guarded("rules_guarded").await;
    shop.rows("a-ann", COUNT, "[[2]]").await;
    shop.rule("some", "orders", ANYBODY, Some("id <> 1 AND id <> 3")).await;
    shop.rows("a-ann", "SELECT id FROM orders", "[[2]]").await;
    shop.rows("a-abe", "SELECT id FROM orders", "[[4]]").await;
    // What lifts the scope lifts no rule.
    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[2],[4]]").await;
    // A rule shows nothing that the policy hides.
    shop.rule("secret", "secrets", ANYBODY, Some("TRUE")).await;
    shop.refused("a-ann", "SELECT * FROM secrets", Code::RelationUnknown).await;
    shop.rule("none", "orders", ["a", "a-t1", "*"], None).await;
    shop.refused("a-ann", COUNT, Code::RelationUnknown).await;
    shop.put("models: {}").await;
    shop.refused("a-abe", COUNT, Code::RelationUnknown).await;
    shop.put(POLICY).await;
    shop.rows("a-abe", COUNT, "[[1]]").await;
}

#[tokio::test]
async fn a_rule_takes_effect_at_once() {
    let shop = Shop::open("rules_at_once").await;
    let (other, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
    let call =
        other.authenticate(&crate::world::begin(&other), Some(&crate::world::key_of("a-ann")), None).await;
    let call = call.unwrap();
    let there = async || other.run_query(&call, &shop.key, query("SELECT 1 FROM secrets")).await.is_ok();
    assert!(there().await);
    for _ in 0..5 {
        shop.rule("some", "orders", ANYBODY, Some("id < 3")).await;
        shop.rows("a-ann", COUNT, "[[2]]").await;
        shop.rule("some", "orders", ANYBODY, None).await;
        shop.refused("a-ann", COUNT, Code::RelationUnknown).await;
        shop.unrule("a-boss", &["some"]).await.unwrap();
        shop.rows("a-ann", COUNT, "[[4]]").await;
    }
    shop.rule("no", "secrets", ANYBODY, None).await;
    eventually(async || (!there().await).then_some(())).await;
    shop.unrule("a-boss", &["no"]).await.unwrap();
    eventually(async || there().await.then_some(())).await;
}

#[tokio::test]
async fn no_alias_escapes_a_rule() {
    let shop = Shop::open("rules_alias").await;
    shop.rule("some", "orders", ["*", "*", "*"], Some("id = 1")).await;
    let spelt =
        ringfence_policy::ConnectionSpec { host: Some("localhost".to_owned()), ..alias(&shop.spec, "mine") };
    let key = indexed(&shop.world, "a-ann", &spelt, Some(&password(&shop.owner))).await;
    let call = shop.world.call_as("a-ann").await;
    let outcome = shop.world.gateway.run_query(&call, &key, query(COUNT)).await.unwrap();
    assert_eq!(serde_json::to_string(&outcome.result.rows).unwrap(), "[[1]]");
    let removed = ConnectionEdits { removed: vec![key], ..ConnectionEdits::default() };
    edit(&shop.world, "a-ann", removed).await.unwrap();
}

#[tokio::test]
async fn who_writes_rules_for_whom() {
    let shop = Shop::open("rules_rights").await;
    // Her tenant's administrator has a connection too.
    indexed(&shop.world, "a-lead", &shop.spec, Some(&password(&shop.owner))).await;
    let write = async |user: &str, scope: [&str; 3]| {
        let written = shop.try_rule(user, vec![rule("r", "regions", scope, Some("id = 1"))]).await;
        code(written)
    };
    assert_eq!(write("a-ann", ["a", "a-t1", "a-ann"]).await, Code::NotPermitted);
    let gateway = &shop.world.gateway;
    let ann = shop.world.call_as("a-ann").await;
    assert_eq!(
        code(gateway.list_access_rules(&ann, &shop.key, RuleLookup::default()).await),
        Code::NotPermitted
    );
    assert_eq!(
        code(gateway.remove_access_rules(&ann, &shop.key, &["r".to_owned()]).await),
        Code::NotPermitted
    );
    // Who has no such connection hears what everybody hears of one that is not there.
    assert_eq!(write("b-boss", ANYBODY).await, Code::NotFound);
    assert_eq!(write(ROOT, ANYBODY).await, Code::NotFound);
    // Out of reach and missing are one answer.
    for (user, scope) in [
        ("a-lead", ["a", "a-t2", "*"]),
        ("a-lead", ["a", "nothing", "*"]),
        ("a-lead", ["b", "*", "*"]),
        ("a-lead", ["a", "*", "a-abe"]),
        ("a-lead", ["a", "*", "nobody"]),
        ("a-boss", ["b", "*", "*"]),
        ("a-boss", ["nothing", "*", "*"]),
        ("a-boss", ["*", "b-t1", "*"]),
        ("a-boss", ["*", "a-t1", "a-abe"]),
    ] {
        let refused = shop.try_rule(user, vec![rule("r", "regions", scope, None)]).await.unwrap_err();
        let missing = shop.try_rule(user, vec![rule("r", "regions", ["none", "none", "none"], None)]).await;
        assert_eq!(refused, missing.unwrap_err(), "{user} {scope:?}");
    }
    // What says nothing of the organization means the author's own, and of the tenant that of a tenant's administrator.
    shop.try_rule("a-lead", vec![rule("lead", "regions", ANYBODY, Some("id = 2"))]).await.unwrap();
    shop.rows("a-ann", "SELECT id FROM regions", "[[2]]").await;
    shop.rows("a-abe", "SELECT count(*) FROM regions", "[[2]]").await;
    shop.rule("boss", "regions", ["a", "a-t2", "*"], None).await;
    assert_eq!(shop.listed("a-boss", RuleLookup::default()).await, ["lead", "boss"]);
    assert_eq!(shop.listed("a-lead", RuleLookup::default()).await, ["lead"]);
    shop.unrule("a-lead", &["boss", "nothing"]).await.unwrap();
    shop.refused("a-abe", "SELECT 1 FROM regions", Code::RelationUnknown).await;
    let binding = |user: &str| RuleLookup { user: Some(user.to_owned()), ..RuleLookup::default() };
    assert_eq!(shop.listed("a-boss", binding("a-ann")).await, ["lead"]);
    assert_eq!(shop.listed("a-boss", binding("a-abe")).await, ["boss"]);
    for unseen in ["b-bob", "nobody", ""] {
        assert_eq!(shop.listed("a-boss", binding(unseen)).await, [""; 0], "{unseen}");
    }
    assert_eq!(shop.listed("a-lead", binding("a-abe")).await, [""; 0]);
}

#[tokio::test]
async fn rank_guards_what_others_wrote() {
    let shop = Shop::open("rules_rank").await;
    indexed(&shop.world, "a-lead", &shop.spec, Some(&password(&shop.owner))).await;
    let by_lead = async |id: &str, user: &str, expression: Option<&str>| {
        shop.try_rule("a-lead", vec![rule(id, "orders", ["a", "a-t1", user], expression)]).await
    };
    shop.rule("wide", "orders", ["a", "*", "*"], Some("id > 1")).await;
    shop.rule("mine", "orders", ["a", "a-t1", "a-lead"], Some("id > 2")).await;
    // One that counts instead of the boss's, the boss's own, and its removal.
    assert_eq!(code(by_lead("loose", "*", Some("TRUE")).await), Code::NotPermitted);
    assert_eq!(code(by_lead("mine", "a-lead", Some("TRUE")).await), Code::NotPermitted);
    assert_eq!(code(shop.unrule("a-lead", &["mine"]).await), Code::NotPermitted);
    // A block shows nothing, whoever writes it.
    by_lead("none", "a-ann", None).await.unwrap();
    shop.refused("a-ann", COUNT, Code::RelationUnknown).await;
    shop.unrule("a-boss", &["wide"]).await.unwrap();
    by_lead("own", "*", Some("id > 3")).await.unwrap();
    shop.unrule("a-lead", &["none"]).await.unwrap();
    shop.rows("a-ann", COUNT, "[[1]]").await;
    // A filter is no way to ask for what its author does not see.
    shop.put(POLICY).await;
    for expression in
        ["id IN (SELECT id FROM orders o WHERE o.tenant_id = 'a-t2')", "card LIKE '4%'", "note = 'n1'"]
    {
        let refused = by_lead("own", "*", Some(expression)).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidRequest, "{expression}");
    }
    let refused = shop.try_rule("a-lead", vec![rule("s", "secrets", ANYBODY, None)]).await.unwrap_err();
    let missing = shop.try_rule("a-lead", vec![rule("s", "nothing", ANYBODY, None)]).await.unwrap_err();
    assert_eq!(refused, missing);
}

#[tokio::test]
async fn what_is_no_rule_is_refused() {
    let shop = Shop::open("rules_invalid").await;
    let fine = || rule("fine", "regions", ANYBODY, Some("id = 1"));
    for (expression, part) in [
        ("id > 1) OR (1 = 1", "`)`"),
        ("id > 1; DROP TABLE orders", "`;`"),
        ("id > 1 AND nothing = 2", "no column `nothing`"),
        ("id IN (SELECT id FROM nothing)", "no table"),
        ("id AND status = 'new'", "boolean"),
        ("id = status", "operator"),
        ("pg_sleep(5) IS NULL", "pg_sleep"),
        ("id = {nobody_has_it}", "nobody_has_it"),
        ("", "expression"),
    ] {
        let wrong = rule("wrong", "orders", ANYBODY, Some(expression));
        let refused = shop.try_rule("a-boss", vec![fine(), wrong]).await.expect_err(expression);
        assert_eq!(refused.code, Code::InvalidRequest, "{expression}: {refused}");
        assert!(refused.message.contains(part), "{expression}: {refused}");
    }
    let missing = shop.try_rule("a-boss", vec![fine(), rule("x", "nothing", ANYBODY, None)]).await;
    assert_eq!(code(missing), Code::InvalidRequest);
    assert_eq!(shop.listed("a-boss", RuleLookup::default()).await, [""; 0], "all or none");
    shop.rule("one", "orders", ANYBODY, Some("id = 1")).await;
    for taken in [rule("two", "orders", ANYBODY, None), rule("one", "regions", ANYBODY, None)] {
        assert_eq!(code(shop.try_rule("a-boss", vec![taken]).await), Code::AlreadyExists);
    }
    // A variable that some have: for the others nothing runs.
    shop.give("a-ann", &[], r#"{"least": 3, "few": [1, 4]}"#).await;
    shop.rule("one", "orders", ANYBODY, Some("id >= {least} OR id IN ({few})")).await;
    shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[1],[3],[4]]").await;
    shop.refused("a-abe", COUNT, Code::TenantScopeRequired).await;
    shop.rows("a-abe", "SELECT count(*) FROM regions", "[[2]]").await;
}

#[tokio::test]
async fn compiling_shows_the_filter() {
    let shop = Shop::open("rules_compile").await;
    shop.rule("some", "orders", ["a", "a-t1", "*"], Some("tenant_id = {tenant_id} AND status <> 'it''s'"))
        .await;
    let compile = async |user: &str, statement: &str| {
        let call = shop.world.call_as(user).await;
        shop.world.gateway.compile_query(&call, &shop.key, statement, &[]).await.unwrap()
    };
    let compiled = compile("a-ann", "SELECT o.id FROM orders o WHERE o.status = 'new'").await;
    let text = compiled.guarded.unwrap();
    assert_eq!(compiled.error, None);
    for part in ["'a-t1'", "'it''s'", "\"o\"", "'new'"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('$'), "{text}");
    // It is a statement: the database takes it as it is.
    shop.rows("a-abe", &text, "[[1]]").await;
    assert_eq!(compile("a-abe", "SELECT 1 FROM orders").await.guarded, None);
    // Behind a policy it would name what is hidden.
    shop.put(POLICY).await;
    assert_eq!(compile("a-ann", "SELECT id FROM orders").await.guarded, None);
}
