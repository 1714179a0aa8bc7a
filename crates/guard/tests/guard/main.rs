//! The guard's answers, case by case: `cases/guard`.

mod mutated;
mod nasty;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_guard::{GuardedPlan, Refusal, guard};
use ringfence_policy::{
    Catalog, ConnectionKind, OrgId, Permissions, Policy, Principal, Question, TenantId, UserId, View, view,
};
use serde_json::json;

const KIND: ConnectionKind = ConnectionKind::Postgresql;

fn cases(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/guard").join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(cases(file)).expect("a file of cases/guard")
}

fn principal(attributes: serde_json::Value) -> Principal {
    let serde_json::Value::Object(attributes) = attributes else { unreachable!("attributes are an object") };
    Principal {
        org: OrgId::new("acme").expect("an id"),
        tenant: TenantId::new("one").expect("an id"),
        user: UserId::new("ann").expect("an id"),
        name: "Ann".to_owned(),
        roles: Vec::new(),
        data_roles: Arc::default(),
        permissions: Permissions::default(),
        attributes: Arc::new(attributes),
        acted_by: None,
        standing: None,
    }
}

fn view_of(principal: &Principal) -> View {
    view_in(KIND, principal)
}

/// The same world in each kind of database: its schema has another name, and some functions have.
fn view_in(kind: ConnectionKind, principal: &Principal) -> View {
    let (schema, search) = match kind {
        ConnectionKind::Sqlite => ("main", ""),
        ConnectionKind::Mysql => ("shop", "search_schemas: [shop]\n"),
        ConnectionKind::Postgresql | ConnectionKind::Push => ("public", ""),
    };
    let there = |text: String| {
        text.replace("public.", &format!("{schema}.")).replace("\"public\"", &format!("\"{schema}\""))
    };
    let catalog: Catalog = serde_json::from_str(&there(read("catalog.json"))).expect("a catalog");
    let mut policy = search.to_owned() + &there(read("policy.yaml"));
    if kind != KIND {
        policy = policy.replace("left(email, 1)", "substr(email, 1, 1)");
    }
    let policy = Policy::load("policy.yaml", &policy, kind).expect("a policy");
    view(Question { policy: &policy, catalog: &catalog, unfiltered: &catalog, rules: &[], principal })
}

fn ann() -> Principal {
    principal(json!({ "tenant_id": 1, "tenant_ids": [1], "user_id": 7 }))
}

fn guarded(sql: &str) -> Result<GuardedPlan, Refusal> {
    guard(sql, KIND, &view_of(&ann()))
}

/// Cases of a file: a statement, then what came of it, each after its own sign.
fn check(file: &str, answer: impl Fn(&str) -> String) {
    let text = read(file);
    let mut now = String::new();
    for block in text.split("\n\n") {
        let statement: Vec<&str> = block.lines().filter(|line| !line.starts_with("=> ")).collect();
        let statement = statement.join("\n");
        let comment = statement.lines().all(|line| line.starts_with('#') || line.is_empty());
        let _ = if comment {
            writeln!(now, "{}\n", statement.trim_end())
        } else {
            writeln!(now, "{}\n=> {}\n", statement.trim_end(), answer(&statement))
        };
    }
    let now = format!("{}\n", now.trim_end());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(cases(file), &now).expect("written");
    }
    assert_eq!(now, read(file), "UPDATE=1 writes what is answered now");
}

#[test]
fn what_is_admitted_is_fenced() {
    for (file, kind) in [
        ("fenced.txt", KIND),
        ("fenced.sqlite.txt", ConnectionKind::Sqlite),
        ("fenced.mysql.txt", ConnectionKind::Mysql),
    ] {
        let view = view_in(kind, &ann());
        check(file, |sql| match guard(sql, kind, &view) {
            Ok(plan) => plan.sql().to_owned(),
            Err(refusal) => panic!("{sql}: {refusal}"),
        });
    }
}

#[test]
fn what_is_refused_says_why() {
    for (file, kind) in [
        ("refused.txt", KIND),
        ("refused.sqlite.txt", ConnectionKind::Sqlite),
        ("refused.mysql.txt", ConnectionKind::Mysql),
    ] {
        let view = view_in(kind, &ann());
        check(file, |sql| match guard(sql, kind, &view) {
            Ok(plan) => panic!("{sql}: {}", plan.sql()),
            Err(refusal) => refusal.to_string(),
        });
    }
}

#[test]
fn a_missing_relation_and_a_hidden_one_are_refused_alike() {
    let hidden = guarded("SELECT 1 FROM api_tokens").expect_err("hidden").to_string();
    let missing = guarded("SELECT 1 FROM api_tokenz").expect_err("missing").to_string();
    assert_eq!(hidden.replace("api_tokens", "x"), missing.replace("api_tokenz", "x"));
}

#[test]
fn tenants_share_a_plan_and_bind_their_own_values() {
    let other = principal(json!({ "tenant_id": 2, "tenant_ids": [2], "user_id": 9 }));
    assert_eq!(view_of(&ann()), view_of(&other));
    let plan = guarded("SELECT id FROM orders WHERE note = $1").expect("admitted");
    let bind = |principal| plan.bind(principal, &[Some("x".to_owned())]).expect("bound");
    let (own, theirs) = (bind(&ann()), bind(&other));
    assert_eq!(own.sql(), theirs.sql());
    assert_ne!(own.parameters(), theirs.parameters());
    assert!(matches!(plan.bind(&other, &[]), Err(Refusal::ParameterCount { expected: 1, given: 0 })));
}

#[test]
fn who_lacks_the_attribute_is_told_which() {
    let nobody = principal(json!({}));
    let refused = guard("SELECT id FROM orders", KIND, &view_of(&nobody));
    assert!(matches!(refused, Err(Refusal::ScopeRequired { .. })), "{refused:?}");
    let nothing = principal(json!({ "tenant_id": 1, "tenant_ids": [], "user_id": 7 }));
    let plan = guard("SELECT id FROM orders", KIND, &view_of(&nothing)).expect("no rows");
    assert!(plan.sql().contains("WHERE FALSE"), "{}", plan.sql());
}

#[test]
fn a_barrier_stands_only_where_something_may_raise() {
    for (sql, has) in [
        ("SELECT id FROM orders WHERE id = 1", false),
        ("SELECT id FROM orders WHERE id = 1 AND note = 'x' ORDER BY total + 1", false),
        ("SELECT note::int FROM orders", false),
        ("SELECT id FROM orders WHERE note::int = 1", true),
        ("SELECT id FROM orders WHERE note LIKE 'a%'", true),
        ("SELECT * FROM (SELECT note::int AS n FROM orders) q", true),
        ("SELECT o.id FROM orders o JOIN users u ON u.id = o.user_id", false),
        ("SELECT o.id FROM orders o JOIN users u ON u.id / o.id = 1", true),
        ("SELECT code FROM countries WHERE code::int = 1", false),
    ] {
        assert_eq!(guarded(sql).expect("admitted").has_barrier(), has, "{sql}");
    }
}
