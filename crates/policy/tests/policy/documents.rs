//! Documents: what is read, and what an author hears about the rest.

use ringfence_policy::{
    ConnectionKind, Expectations, Policy, expectations_schema, intent_schema, json_schema,
};

fn problems(text: &str, kind: ConnectionKind) -> Vec<String> {
    let invalid = Policy::load("p.yaml", text, kind).expect_err(text);
    invalid.problems.iter().map(ToString::to_string).collect()
}

/// Documents with a fault, and what is said of it.
const FAULTS: &[(&str, &str)] = &[
    (
        "models:\n  Order:\n    table: a\n    feilds: {}\n",
        "p.yaml:4:5: unknown key `feilds` (did you mean `fields`?)",
    ),
    (
        "{\n\t\"default\": \"alow\"}",
        "p.yaml:2:13: `alow` is not a value that may stand here (did you mean `allow`?)",
    ),
    (
        "models:\n  A: { table: x, write_policy: { create: alow } }\n",
        "p.yaml:2:42: `alow` is not a value that may stand here (did you mean `allow`?)",
    ),
    ("models:\n  A: { table: x }\n  A: { table: y }\n", "p.yaml:3:3: the key `A` is here twice"),
    ("models:\n  A: { scoping: {} }\n", "p.yaml:2:8: the key `table` is missing here"),
    (
        "models:\n  A: { table: x }\n  B: { table: public.x }\n",
        "p.yaml:3:15: the table public.x is the model A's already",
    ),
    (
        "models:\n  A: { table: x, relations: { b: { model: Usr, on: { a: b } } } }\n  User: { table: y }\n",
        "p.yaml:2:43: there is no model `Usr` (did you mean `User`?)",
    ),
    (
        "models:\n  A: { table: x, row_policies: [ { name: n, condition: \"a = lowr(b)\" } ] }\n",
        "p.yaml:2:61: the function `lowr` may not be used in a policy (did you mean `lower`?)",
    ),
    (
        "models:\n  A: { table: x, row_policies: [ { name: n, condition: a = lowr(b) } ] }\n",
        "p.yaml:2:60: the function `lowr` may not be used in a policy (did you mean `lower`?)",
    ),
    (
        "models:\n  A:\n    table: x\n    row_policies:\n      - name: n\n        condition: |\n          a = 1 AND\n          b = lowr(c)\n",
        "p.yaml:8:15: the function `lowr` may not be used in a policy (did you mean `lower`?)",
    ),
    (
        "models:\n  A: { table: x, scoping: { a: tenant } }\n",
        "p.yaml:2:32: a scope is a value of the principal, such as `principal.tenant_id`",
    ),
    (
        "models:\n  A: { table: x, row_policies: [ { name: n, condition: \"a = 1\", bypass: true } ] }\n",
        "p.yaml:2:57: only `principal` may be named here, not a column",
    ),
    (
        "models:\n  A: { table: x, fields: { c: { action: mask } } }\n",
        "p.yaml:2:41: a mask has either a `mask_pattern` or an `expression`",
    ),
    (
        "models:\n  A: { table: x, fields: { c: { action: mask, mask_pattern: \"{frist2}\" } } }\n",
        "p.yaml:2:61: `{frist2}` is neither `{firstN}` nor `{lastN}`",
    ),
    (
        "models:\n  A: { table: x, fields: { c: { action: deny, expression: a } } }\n",
        "p.yaml:2:41: `mask_pattern` and `expression` belong to `action: mask`",
    ),
    (
        "models:\n  A: { table: x, budget: { statement_timeout: fast } }\n",
        "p.yaml:2:3: `statement_timeout` is a number and its unit: ms, s, m or h",
    ),
    (
        "models:\n  A: { table: x, write_policy: { auto_set: { a: b } } }\n",
        "p.yaml:2:49: only `principal` may be named here, not a column",
    ),
    (
        "joins: [ { from: a, to: b.c } ]\n",
        "p.yaml:1:18: a column is named `schema.table.column` or `table.column`",
    ),
    ("hierarchies: { g: [a.x, b.y] }\n", "p.yaml:1:25: all columns of a hierarchy are of one table"),
    ("hierarchies: { g: [a.x], h: [a.x] }\n", "p.yaml:1:30: a column is a level of one hierarchy only"),
    (
        "restrictions: { R: [ { table: a, column: b } ] }\n",
        "p.yaml:1:42: a restriction has either `in` or `condition`",
    ),
    (
        "restrictions: { R: [ { table: a, column: b, in: [[1]] } ] }\n",
        "p.yaml:1:42: values of `in` are texts, numbers, true, false or null",
    ),
    ("functions: [f]\n", "p.yaml:1:13: a function is named `schema.function`"),
    (
        "attributes: { ringfence: SELECT a FROM t }\n",
        "p.yaml:1:15: attributes of this name are the server's own",
    ),
    (
        "attributes: { a: { query: SELECT a FROM t, ttl: soon } }\n",
        "p.yaml:1:18: a time is a number and its unit: ms, s, m or h",
    ),
    (
        "attributes: { a: { query: SELECT a FROM t, ttl: 48h } }\n",
        "p.yaml:1:18: an attribute is kept for a day at most",
    ),
    (
        "attributes: { a: { query: SELECT a FROM t WHERE b = pg_sleep(1) } }\n",
        "p.yaml:1:53: the function `pg_sleep` may not be used in a policy",
    ),
];

#[test]
fn faults_are_told_with_their_place() {
    for (text, expected) in FAULTS {
        assert_eq!(problems(text, ConnectionKind::Postgresql), [*expected], "{text}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = "models:
  A: { table: x, row_policies: [ { name: n, condition: 'a =' }, { name: n, condition: 'f(a)' } ] }
joins: [ { from: a, to: b } ]\n";
    assert_eq!(problems(text, ConnectionKind::Postgresql).len(), 4);
}

#[test]
fn joins_do_not_inherit_in_a_circle() {
    let join = |from: &str, to: &str| format!("{{ from: {from}.x, to: {to}.id, inherit: true }}");
    let circle = format!("joins: [ {}, {}, {} ]", join("a", "b"), join("b", "c"), join("c", "a"));
    assert_eq!(problems(&circle, ConnectionKind::Postgresql).len(), 3);
    assert_eq!(problems(&format!("joins: [ {} ]", join("a", "a")), ConnectionKind::Postgresql).len(), 1);
    let chain = |length: usize| {
        let joins: Vec<String> =
            (0..length).map(|place| join(&format!("t{place}"), &format!("t{}", place + 1))).collect();
        format!("joins: [ {} ]", joins.join(", "))
    };
    Policy::load("p.yaml", &chain(8), ConnectionKind::Postgresql).unwrap();
    assert!(!problems(&chain(12), ConnectionKind::Postgresql).is_empty());
}

#[test]
fn dialects_have_their_own_texts() {
    let text = "models: { A: { table: x, fields: { c: { action: mask, expression: { postgresql: \"left(c, 1)\" } } } } }";
    Policy::load("p.yaml", text, ConnectionKind::Postgresql).unwrap();
    assert_eq!(
        problems(text, ConnectionKind::Sqlite),
        ["p.yaml:1:67: there is no text for this connection's kind of database"]
    );
    let hash = "models: { A: { table: x, fields: { c: hash } } }";
    Policy::load("p.yaml", hash, ConnectionKind::Postgresql).unwrap();
    assert!(problems(hash, ConnectionKind::Sqlite)[0].contains("SHA-256"));
}

/// JSON is YAML, and the two forms of a document are one policy.
#[test]
fn json_is_read_too() {
    let yaml = include_str!("documents/shop.yaml");
    let value: serde_json::Value = serde_saphyr::from_str(yaml).unwrap();
    for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
        let (one, other) = (
            Policy::load("p", yaml, ConnectionKind::Postgresql).unwrap(),
            Policy::load("p", &json, ConnectionKind::Postgresql).unwrap(),
        );
        assert_eq!(one.model_names, other.model_names);
        assert_eq!((one.search, one.functions, one.cubes), (other.search, other.functions, other.cubes));
    }
    Policy::load("p", yaml, ConnectionKind::Sqlite).unwrap();
}

/// `UPDATE=1 cargo test -p ringfence-policy` writes it anew.
#[test]
fn the_published_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.schema.json");
    let current = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == current, "docs/policy.schema.json is out of date: run with UPDATE=1");
}

/// The same of published endpoints.
#[test]
fn the_published_schema_of_endpoints_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/endpoint.schema.json");
    let current = serde_json::to_string_pretty(&ringfence_policy::endpoint_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == current, "docs/endpoint.schema.json is out of date: run with UPDATE=1");
}

/// The same of files of expectations.
#[test]
fn the_published_schema_of_expectations_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy-expectations.schema.json");
    let current = serde_json::to_string_pretty(&expectations_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == current, "docs/policy-expectations.schema.json is out of date: run with UPDATE=1");
}

/// The same of files of intent.
#[test]
fn the_published_schema_of_intents_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy-intent.schema.json");
    let current = serde_json::to_string_pretty(&intent_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == current, "docs/policy-intent.schema.json is out of date: run with UPDATE=1");
}

#[test]
fn expectations_are_read_strictly() {
    let told = |test: &str| match Expectations::read("t.yaml", &format!("tests:\n  - name: n\n    {test}\n"))
    {
        Ok(read) => format!("ok {}", read.tests.len()),
        Err(invalid) => invalid.to_string(),
    };
    for fine in [
        "as: ann\n    query: SELECT 1\n    expect: { count: 1 }",
        "as: { tenant: a, roles: [api-user], data_roles: [R], attributes: { region: eu } }\n    query: SELECT 1\n    expect: { rows: [[1, null]], in_order: true }",
        "as: ann\n    query: DELETE FROM x\n    expect: { admitted: false, refused: WRITE_DENIED }",
        "as: ann\n    relation: x\n    expect: { hides: [a], shows: [b], masks: [c], visible: true }",
    ] {
        assert_eq!(told(fine), "ok 1", "{fine}");
    }
    for (wrong, words) in [
        ("as: ann\n    expect: { count: 1 }", "t.yaml:2:11: a test has either"),
        ("as: ann\n    query: x\n    relation: y\n    expect: { count: 1 }", "a test has either"),
        ("as: ann\n    query: x\n    expect: {}", "say what is expected of the query"),
        ("as: ann\n    relation: x\n    expect: {}", "say what is expected of the relation"),
        ("as: ann\n    query: x\n    expect: { count: 1, hides: [a] }", "belong to a `relation`"),
        ("as: ann\n    relation: x\n    expect: { visible: true, refused: X }", "belongs to a `query`"),
        ("as: ann\n    query: x\n    expect: { count: 1, refused: X }", "has no rows"),
        (
            "as: ann\n    query: x\n    expect: { cuont: 1 }",
            "t.yaml:5:15: unknown key `cuont` (did you mean `count`?)",
        ),
        ("as: { tenantt: a }\n    query: x\n    expect: { count: 1 }", "unknown key `tenantt`"),
        ("query: x\n    expect: { count: 1 }", "the key `as` is missing"),
    ] {
        assert!(told(wrong).contains(words), "{wrong}: {}", told(wrong));
    }
}

#[test]
fn names_that_are_not_there_are_told() {
    let told = |text: &str| {
        let problems = crate::world::load(text).check(&crate::world::catalog());
        problems.iter().map(|warning| warning.problem.to_string()).collect::<Vec<_>>().join("\n")
    };
    let cases = [
        (
            "models: { S: { table: sales, scoping: { tenant: principal.tenant_id }, fields: { email: deny } } }",
            "",
        ),
        (
            "models: { S: { table: sale } }",
            "policy.yaml:1:11: there is no table public.sale (did you mean `sales`?)",
        ),
        (
            "models: { S: { table: sales, fields: { emial: deny } } }",
            "policy.yaml:1:40: sales has no column `emial` (did you mean `email`?)",
        ),
        (
            "models: { S: { table: sales, fields: { amount: { action: mask, mask_pattern: email } } } }",
            "policy.yaml:1:58: the mask of `amount` can't be made, which hides it: it is no text, and the mask would not be of its type: use `null` or an `expression`",
        ),
        (
            "models: { S: { table: sales, row_policies: [ { name: n, condition: stauts = 'x' } ] } }",
            "policy.yaml:1:68: there is no column `stauts` (did you mean `status`?)",
        ),
        ("joins: [ { from: sales.shop, to: shops.ix } ]", "policy.yaml:1:18: shops has no column `ix`"),
        (
            "restrictions: { R: [ { table: shops, column: citi, in: [x] } ] }",
            "policy.yaml:1:46: shops has no column `citi` (did you mean `city`?)\npolicy.yaml:1:46: there is no column `citi` (did you mean `city`?)",
        ),
        (
            "models: { S: { table: sales, row_policies: [ { name: n, condition: shop IN (SELECT x FROM shops) } ] } }",
            "policy.yaml:1:68: there is no column `x`",
        ),
        (
            "models: { S: { table: sales, row_policies: [ { name: n, condition: shop IN (SELECT id FROM shops WHERE city = 'x') } ] } }",
            "",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn a_role_is_restricted_in_one_place() {
    let document = "default: allow\nrestrictions: { PARIS: [ { table: shops, column: city, in: [Paris] } ] }";
    let load = |said: &str| {
        let beside = ringfence_policy::Beside::read(said).unwrap();
        Policy::load_beside("p.yaml", document, (ConnectionKind::Postgresql, "shop"), &beside)
    };
    let both = load(r#"{"ROME": [{"table": "shops", "column": "city", "in": ["Rome"]}]}"#).unwrap();
    let restrictions = both.restrictions.values().flatten();
    let mut roles: Vec<&str> = restrictions.map(|restriction| restriction.role.as_str()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["PARIS", "ROME"]);
    let invalid = load(r#"{"PARIS": [{"table": "shops", "column": "city", "in": ["Rome"]}]}"#).unwrap_err();
    assert_eq!(
        invalid.problems[0].to_string(),
        "p.yaml:2:17: `PARIS` is restricted at run time as well: say it here or there"
    );
    // What is wrong with what is said is told, and nothing is guessed.
    for said in [
        r#"{"ROME": [{"table": "shops", "column": "city"}]}"#,
        r#"{"ROME": [{"table": "shops", "column": "city", "condition": "city = "}]}"#,
        r#"{"ROME": [{"table": "shops", "column": "city", "in": [[1]]}]}"#,
    ] {
        load(said).expect_err(said);
    }
    for said in [r#"{"ROME": [{"table": "shops"}]}"#, r#"{"ROME": [{"shop": 1}]}"#, "[]", "{"] {
        ringfence_policy::Beside::read(said).expect_err(said);
    }
}
