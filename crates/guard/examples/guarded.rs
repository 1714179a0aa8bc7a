//! Guards statements from standard input, one JSON object a line: for trying the guard against a database by hand.
//!
//! `guarded KIND CATALOG.json POLICY.yaml PRINCIPALS.json`; a line is `{"principal", "sql", "params"}`.

use std::collections::HashMap;
use std::io::{BufRead, Write};

use ringfence_guard::{Parameter, guard, guard_lifted, scan};
use ringfence_policy::{
    Catalog, ConnectionKind, OrgId, Permissions, Policy, Principal, Question, TenantId, UserId, View, view,
};
use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let read = |path: &str| std::fs::read_to_string(path).expect(path);
    let kind = match arguments[0].as_str() {
        "postgresql" => ConnectionKind::Postgresql,
        "sqlite" => ConnectionKind::Sqlite,
        "lake" => ConnectionKind::Lake,
        _ => ConnectionKind::Mysql,
    };
    let catalog: Catalog = serde_json::from_str(&read(&arguments[1])).expect("a catalog");
    let policy = Policy::load(&arguments[2], &read(&arguments[2]), kind)
        .unwrap_or_else(|invalid| panic!("{invalid:#?}"));
    let principals: HashMap<String, Value> = serde_json::from_str(&read(&arguments[3])).expect("principals");
    let views: HashMap<String, (Principal, View)> = principals
        .into_iter()
        .map(|(name, said)| {
            let mut attributes = said["variables"].as_object().cloned().unwrap_or_default();
            for key in ["tenant_id", "user_id"] {
                attributes.insert(key.to_owned(), said[key].clone());
            }
            let roles: Vec<String> = serde_json::from_value(said["roles"].clone()).expect("roles");
            let principal = Principal {
                org: OrgId::new("acme").unwrap(),
                tenant: TenantId::new("1").unwrap(),
                user: UserId::new(&name).unwrap(),
                name: name.clone(),
                roles: Vec::new(),
                data_roles: roles.into(),
                permissions: Permissions::default(),
                attributes: std::sync::Arc::new(attributes),
                acted_by: None,
                application: None,
                agent: None,
                standing: None,
            };
            let view = view(Question {
                policy: &policy,
                catalog: &catalog,
                unfiltered: &catalog,
                rules: &[],
                principal: &principal,
            });
            (name, (principal, view))
        })
        .collect();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let (principal, view) = &views[asked["principal"].as_str().expect("a principal")];
        let given: Vec<Option<String>> = serde_json::from_value(asked["params"].clone()).unwrap_or_default();
        let sql = asked["sql"].as_str().expect("sql");
        // As the gateway does it: with literals lifted, where there are any.
        let made = match scan(sql, kind) {
            Some(scanned) => guard_lifted(&scanned, kind, view)
                .and_then(|plan| plan.bind_lifted(principal, &given, &scanned.values(plan.lifted()))),
            None => guard(sql, kind, view).and_then(|plan| plan.bind(principal, &given)),
        };
        let answer = match made {
            Ok(query) => {
                let fence = query.fence().expect("guarded");
                json!({ "sql": query.sql(), "params": query.parameters().iter().map(|value| shown(value, kind)).collect::<Vec<_>>(),
                    "writes": fence.writes, "check": fence.check_column, "returns": fence.returns_rows,
                    "max_rows": fence.max_rows, "null_when_taken": fence.null_when_taken,
                    "relations": fence.relations, "functions": fence.functions })
            }
            Err(refusal) => json!({ "refused": refusal.to_string(), "kind": format!("{refusal:?}") }),
        };
        writeln!(out, "{answer}").expect("written");
        out.flush().expect("written");
    }
}

/// PostgreSQL decides the type by the place; elsewhere the value has one.
fn shown(parameter: &Parameter, kind: ConnectionKind) -> Value {
    match parameter {
        _ if kind == ConnectionKind::Postgresql => text(parameter),
        Parameter::Integer(number) => Value::from(*number),
        Parameter::Float(number) => Value::from(*number),
        Parameter::Bool(value) => Value::from(*value),
        other => text(other),
    }
}

fn text(parameter: &Parameter) -> Value {
    match parameter {
        Parameter::Null => Value::Null,
        Parameter::Text(text) => Value::from(text.as_str()),
        Parameter::Integer(number) => Value::from(number.to_string()),
        Parameter::Float(number) => Value::from(number.to_string()),
        Parameter::Bool(value) => Value::from(value.to_string()),
        Parameter::List(items) => {
            let items: Vec<String> =
                items.iter().map(|item| text(item).as_str().unwrap_or("NULL").to_owned()).collect();
            Value::from(format!("{{{}}}", items.join(",")))
        }
    }
}
