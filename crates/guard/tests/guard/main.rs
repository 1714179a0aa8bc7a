//! The guard's answers, case by case: `cases/guard`.

mod mutated;
mod nasty;
mod system;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_guard::{GuardedPlan, Parameter, Refusal, guard, guard_lifted, scan};
use ringfence_policy::{
    Catalog, ConnectionKind, OrgId, Permissions, Policy, Principal, Question, TenantId, UserId, View, view,
};
use serde_json::json;

const KIND: ConnectionKind = ConnectionKind::Postgresql;

const REFUSED: [(&str, ConnectionKind); 4] = [
    ("refused.txt", KIND),
    ("refused.sqlite.txt", ConnectionKind::Sqlite),
    ("refused.mysql.txt", ConnectionKind::Mysql),
    ("refused.lake.txt", ConnectionKind::Lake),
];

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
        application: None,
        agent: None,
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
        ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push => ("public", ""),
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
        ("fenced.lake.txt", ConnectionKind::Lake),
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
    for (file, kind) in REFUSED {
        let view = view_in(kind, &ann());
        check(file, |sql| match guard(sql, kind, &view) {
            Ok(plan) => panic!("{sql}: {}", plan.sql()),
            Err(refusal) => refusal.to_string(),
        });
    }
}

/// The refusals that no statement of `refused*.txt` can have, and where they are tested.
const ELSEWHERE: &[(&str, &str)] = &[
    ("TooLong", "beyond the size of a case: below"),
    ("NulByte", "no text file holds one: below"),
    ("NothingToQuery", "of connections without statements: below"),
    ("ScopeRequired", "of a principal without attributes: below"),
    ("ParameterCount", "of values, not of statements: below"),
    ("TransactionControl", "of the open road: src/statement.rs"),
    ("Unsupported", "of the open road: src/statement.rs"),
    ("MoreThanReading", "of the open road: src/statement.rs"),
    ("LargeObjectOnReadOnly", "of the open road: src/statement.rs"),
    ("Suspended", "of a database that changed: tests/gateway/guarded/drift.rs of the gateway"),
    ("NoTransactions", "of tables that the catalog of the cases does not have: below"),
    ("NotVerified", "an error of ours, which no statement should cause: src/verify.rs"),
];

#[test]
fn every_refusal_has_a_case() {
    let mut seen = BTreeSet::new();
    for (file, kind) in REFUSED {
        let view = view_in(kind, &ann());
        for block in read(file).split("\n\n").filter(|block| block.contains("\n=> ")) {
            let statement: Vec<&str> = block.lines().filter(|line| !line.starts_with("=> ")).collect();
            if let Err(refusal) = guard(&statement.join("\n"), kind, &view) {
                seen.insert(variant(&refusal));
            }
        }
    }
    let declared = std::fs::read_to_string(source().join("refusal.rs")).expect("the refusals");
    let declared = declared.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.trim_end_matches([',', '{', ' ']);
        name.chars().all(char::is_alphanumeric).then_some(name).filter(|name| !name.is_empty())
    });
    let declared: BTreeSet<String> = declared.map(str::to_owned).collect();
    assert!(declared.len() > 20 && seen.is_subset(&declared), "{declared:?}");
    let elsewhere: BTreeSet<String> = ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(&elsewhere & &seen, BTreeSet::new(), "these have a case");
    let missing: Vec<&String> =
        declared.iter().filter(|name| !seen.contains(*name) && !elsewhere.contains(*name)).collect();
    assert!(missing.is_empty(), "no case in cases/guard/refused*.txt: {missing:?}");
}

/// What was written there can't be undone when a check fails.
#[test]
fn tables_without_transactions_are_read_only() {
    let mut view = view_in(ConnectionKind::Mysql, &ann());
    for change in ["UPDATE orders SET note = 'x'", "DELETE FROM orders WHERE id = 1"] {
        let admitted = guard(change, ConnectionKind::Mysql, &view);
        assert!(!matches!(admitted, Err(Refusal::NoTransactions { .. })), "{change}");
    }
    for entitlement in view.relations.values_mut() {
        Arc::make_mut(entitlement).lasting = true;
    }
    let changed = guard("UPDATE orders SET note = 'x'", ConnectionKind::Mysql, &view);
    assert!(matches!(changed, Err(Refusal::NoTransactions { .. })), "{changed:?}");
    assert!(guard("SELECT id FROM orders", ConnectionKind::Mysql, &view).is_ok());
}

/// The name of a refusal's kind.
fn variant(refusal: &Refusal) -> String {
    format!("{refusal:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Reasons that no case reaches: of what the parser builds for other databases alone, and of other policies and
/// principals than those of the cases.
const UNREACHED: &[&str] = &[
    "the pipe syntax",
    "this form of WITH",
    "this form of an alias",
    "this item of a SELECT list",
    "this form of GROUP BY",
    "INTERPOLATE",
    "ORDER BY ALL",
    "WITH FILL",
    "this form of LIMIT",
    "a computed name",
    "this form of a function in FROM",
    // Of policies.
    "a relation without a visible column",
    "an operator of the policy",
    "so long a list of the principal",
    "a type of the policy",
    "giving such a column in this way: leave it out",
    "ON DUPLICATE KEY UPDATE here",
    "changing such a column by ON DUPLICATE KEY UPDATE",
    "a row without a key",
];

#[test]
fn every_reason_has_a_case() {
    let cases: String = REFUSED.iter().map(|(file, _)| read(file)).collect();
    let mut files = vec![source()];
    let mut missing = Vec::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("a file").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        for part in text.split("not_admitted(").skip(1) {
            let part = part.trim_start();
            let Some((reason, _)) = part.strip_prefix('"').and_then(|reason| reason.split_once('"')) else {
                continue;
            };
            if cases.contains(reason) {
                assert!(!UNREACHED.contains(&reason), "{reason} has a case");
            } else if !UNREACHED.contains(&reason) {
                missing.push(reason.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "no case in cases/guard/refused*.txt: {missing:#?}");
}

#[test]
fn what_no_case_can_hold_is_refused() {
    let long = format!("SELECT {}1", " ".repeat(ringfence_guard::MAX_STATEMENT_BYTES));
    assert!(matches!(guarded(&long), Err(Refusal::TooLong { .. })));
    assert_eq!(guarded("SELECT '\0'").expect_err("a NUL byte"), Refusal::NulByte);
    let push = guard("SELECT 1", ConnectionKind::Push, &view_of(&ann()));
    assert_eq!(push.expect_err("no statements"), Refusal::NothingToQuery);
}

#[test]
fn a_missing_relation_and_a_hidden_one_are_refused_alike() {
    let hidden = guarded("SELECT 1 FROM api_tokens").expect_err("hidden").to_string();
    let missing = guarded("SELECT 1 FROM api_tokenz").expect_err("missing").to_string();
    assert_eq!(hidden.replace("api_tokens", "x"), missing.replace("api_tokenz", "x"));
}

/// What the caller's own part of the statement became, with the literals that were lifted out of it.
fn lifted(sql: &str) -> (String, Vec<Parameter>) {
    let scanned = scan(sql, KIND).expect("literals");
    let plan =
        guard_lifted(&scanned, KIND, &view_of(&ann())).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
    let values = scanned.values(plan.lifted());
    let query = plan.bind_lifted(&ann(), &[], &values).expect("bound");
    // What a fence binds comes before or after, and is the same without lifting.
    let unlifted = guard(sql, KIND, &view_of(&ann())).expect("admitted").bind(&ann(), &[]).expect("bound");
    assert_eq!(query.parameters().len(), unlifted.parameters().len() + values.len(), "{sql}");
    (query.sql().to_owned(), values)
}

#[test]
fn literals_are_lifted_where_they_may_be() {
    for (sql, part, count) in [
        ("SELECT note FROM orders WHERE id = 5", "(\"id\" = ($3::integer))", 1),
        ("SELECT note FROM orders WHERE 5 < id", "(($3::integer) < \"id\")", 1),
        ("SELECT note FROM orders WHERE id = 5000000000", "($3::bigint)", 1),
        ("SELECT note FROM orders WHERE total > 1.5", "($3::numeric)", 1),
        ("SELECT id FROM orders o WHERE o.note = 'it''s'", "(\"o\".\"note\" = ($3))", 1),
        ("SELECT id FROM orders WHERE id IN (1, 2)", "IN (($3::integer), ($4::integer))", 2),
        ("SELECT id FROM orders WHERE id BETWEEN 1 AND 2", "BETWEEN ($3::integer) AND ($4::integer)", 2),
        ("SELECT id FROM orders WHERE NOT (id <> 1 OR note >= 'a')", "<> ($3::integer)", 2),
        ("SELECT o.id FROM orders o JOIN users u ON u.id = o.user_id AND u.id = 3", "($3::integer)", 1),
        ("SELECT id FROM (SELECT id FROM orders WHERE id = 1) s WHERE s.id = 2", "($4::integer)", 2),
        ("WITH w AS (SELECT id FROM orders WHERE id = 1) SELECT id FROM w", "($3::integer)", 1),
        ("SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE id = 4)", "($3::integer)", 1),
        ("SELECT id FROM orders WHERE id = 1 UNION SELECT id FROM orders WHERE id = 2", "($4::integer)", 2),
    ] {
        let (text, values) = lifted(sql);
        assert!(text.contains(part), "{sql}: {text}");
        assert_eq!(values.len(), count, "{sql}: {text}");
    }
}

#[test]
fn literals_stay_where_they_could_mean_something_else() {
    for sql in [
        // Compared with other parts of the statement, or naming what they are.
        "SELECT 1, 'a', id = 5 FROM orders",
        "SELECT id = 5, count(*) FROM orders GROUP BY id = 5 HAVING count(*) > 1",
        "SELECT id FROM orders GROUP BY id HAVING id = 5",
        "SELECT id FROM orders ORDER BY id = 5, 1",
        "SELECT (SELECT o.id FROM orders o WHERE o.id = 5) FROM users",
        "SELECT count(*) FILTER (WHERE id = 5) FROM orders",
        "SELECT DISTINCT ON (id = 5) id FROM orders",
        "SELECT sum(id) OVER w FROM orders WINDOW w AS (PARTITION BY id = 5)",
        // Not beside a column, or not of a type that a text is known to be read as.
        "SELECT id FROM orders WHERE id + 1 = 5",
        "SELECT id FROM orders WHERE id = 5 + 1",
        "SELECT id FROM orders WHERE id = -5",
        "SELECT id FROM orders WHERE status = 'draft'",
        "SELECT id FROM orders WHERE note LIKE 'a%'",
        "SELECT id FROM orders WHERE note = 'a' || 'b'",
        "SELECT id FROM orders WHERE note = CAST('a' AS text)",
        "SELECT id FROM orders WHERE now() > DATE '2020-01-01'",
        "SELECT id FROM orders WHERE coalesce(id, 5) = 5",
        "SELECT id FROM orders WHERE 5 = 5",
        // Planners read them.
        "SELECT id FROM orders LIMIT 5 OFFSET 5",
        // Changes keep theirs.
        "UPDATE orders SET note = 'a' WHERE id = 5",
        "DELETE FROM orders WHERE id = 5",
        "INSERT INTO orders (id, note) VALUES (5, 'a')",
    ] {
        let (text, values) = lifted(sql);
        assert!(values.is_empty() && text == guarded(sql).expect("admitted").sql(), "{sql}: {text}");
    }
}

#[test]
fn a_plan_serves_all_texts_of_its_key() {
    let view = view_of(&ann());
    let plan = |sql| {
        let scanned = scan(sql, KIND).expect("literals");
        let plan = guard_lifted(&scanned, KIND, &view).expect("admitted");
        (scanned.key(plan.lifted()), plan)
    };
    let first = plan("SELECT id, 1 FROM orders WHERE note = 'a' AND id > 7 LIMIT 3");
    assert_eq!(first, plan("SELECT id, 1 FROM orders WHERE note = 'b''c' AND id > 8 LIMIT 3"));
    for other in [
        "SELECT id, 2 FROM orders WHERE note = 'a' AND id > 7 LIMIT 3",
        "SELECT id, 1 FROM orders WHERE note = 'a' AND id > 7 LIMIT 4",
        "SELECT id, 1 FROM orders WHERE note = 'a' AND id > 3000000000 LIMIT 3",
        "SELECT id, 1 FROM orders WHERE note = 'a' AND id > 7.5 LIMIT 3",
    ] {
        let other = plan(other);
        assert!(first.0 != other.0 && first.1 != other.1);
    }
    // Without its values it can't be bound.
    assert_eq!(first.1.bind(&ann(), &[]), Err(Refusal::NotVerified));
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
    // What reads no column is asked of proposed rows all the same.
    let insert = "INSERT INTO orders (id, note) VALUES (1, 'x') ON CONFLICT DO NOTHING";
    let plan = guard(insert, KIND, &view_of(&nothing)).expect("no rows");
    assert!(plan.sql().contains("(FALSE") && plan.sql().contains(ringfence_guard::REFUSED), "{}", plan.sql());
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
