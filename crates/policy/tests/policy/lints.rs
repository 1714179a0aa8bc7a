//! Lints: what each warns of, and what it leaves alone.

use ringfence_policy::{Catalog, Column, Constraint, Relation, RelationKind, Schema, WarningCode};

use crate::world::load;

/// Tables with a tenant's column, keys and secrets, and tables without.
fn catalog() -> Catalog {
    let column = |text: &str| {
        let (name, data_type) = text.split_once(' ').unwrap();
        Column { name: name.to_owned(), data_type: data_type.to_owned(), nullable: true, ..Column::default() }
    };
    let table = |name: &str,
                 columns: &[&str],
                 constraints: Vec<Constraint>,
                 unique_indexes: Vec<Vec<String>>| Relation {
        name: name.to_owned(),
        columns: columns.iter().map(|text| column(text)).collect(),
        constraints,
        unique_indexes,
        ..Relation::default()
    };
    let names = |columns: &[&str]| columns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let primary = |columns: &[&str]| Constraint::Primary { columns: names(columns) };
    let unique = |columns: &[&str]| Constraint::Unique { columns: names(columns) };
    let mut view = table("order_view", &["id integer", "tenant_id text"], vec![], vec![]);
    view.kind = RelationKind::View;
    let relations = vec![
        table(
            "orders",
            &["id integer", "tenant_id text", "code text", "note text"],
            vec![primary(&["tenant_id", "id"])],
            vec![],
        ),
        table("invoices", &["id integer", "tenant_id text", "number text"], vec![primary(&["id"])], vec![]),
        table(
            "parcels",
            &["id uuid", "customer_id text", "label text"],
            vec![primary(&["id"]), unique(&["label"])],
            vec![],
        ),
        table(
            "slips",
            &["tenant_id text", "code text", "note text"],
            vec![unique(&["tenant_id", "code"])],
            vec![names(&["code"])],
        ),
        table("currencies", &["code text", "name text"], vec![primary(&["code"])], vec![]),
        table(
            "accounts",
            &["tenant_id text", "password text", "password_changed_at date", "api_key text"],
            vec![],
            vec![],
        ),
        view,
    ];
    let system = vec![table("tables", &["tenant_id text", "password text"], vec![], vec![])];
    Catalog {
        database: "db".to_owned(),
        schemas: vec![
            Schema { name: "information_schema".to_owned(), relations: system },
            Schema { name: "public".to_owned(), relations },
        ],
    }
}

/// `CODE table` of every warning, in the document's order.
fn warned(models: &str) -> Vec<String> {
    let policy = load(models);
    let warnings = policy.warnings(Some(&catalog()));
    for warning in &warnings {
        let is_advised = warning.problem.suggestion.is_some() || warning.code == WarningCode::NameUnknown;
        assert!(is_advised, "{warning} says what to do");
        assert!(warning.problem.message.len() > 20, "{warning}");
    }
    let told = warnings.iter().map(|warning| {
        let relation = warning.relation.as_ref().map_or("-", |relation| &relation.name);
        format!("{} {relation}", warning.code)
    });
    told.collect()
}

fn check(cases: &[(&str, &[&str])]) {
    for (document, expected) in cases {
        assert_eq!(warned(document), *expected, "{document}");
    }
}

const SCOPED: &str = "scoping: { tenant_id: principal.tenant_id }";

#[test]
fn rows_of_all_tenants_are_told() {
    check(&[
        ("models: { O: { table: orders } }", &["TENANT_COLUMN_UNSCOPED orders"]),
        ("models: { O: { table: orders, fields: { tenant_id: deny } } }", &["TENANT_COLUMN_UNSCOPED orders"]),
        ("models: { V: { table: order_view } }", &["TENANT_COLUMN_UNSCOPED order_view"]),
        (
            "models: { O: { table: orders, row_policies: [ { name: n, condition: \"code = 'x'\" } ] } }",
            &["TENANT_COLUMN_UNSCOPED orders"],
        ),
        (
            "models: { O: { table: orders, row_policies: [ { name: n, roles: [x], condition: \"tenant_id = principal.tenant_id\" } ] } }",
            &["TENANT_COLUMN_UNSCOPED orders"],
        ),
        // As the other models are scoped.
        (
            "models: { P: { table: parcels }, O: { table: orders, scoping: { customer_id: principal.tenant_id } } }",
            &["TENANT_COLUMN_UNSCOPED parcels", "NAME_UNKNOWN orders"],
        ),
        (&format!("models: {{ O: {{ table: orders, {SCOPED} }} }}"), &[]),
        ("models: { O: { table: orders, allowed: false } }", &[]),
        ("models: { O: { table: currencies } }", &[]),
        ("models: { P: { table: parcels } }", &[]),
        ("models: {}", &[]),
        (
            "models: { O: { table: orders, row_policies: [ { name: n, condition: \"tenant_id = principal.tenant_id\" } ] } }",
            &[],
        ),
        (
            "models: { O: { table: orders, row_policies: [ { name: n, condition: \"tenant_id IN principal.attributes.all\" } ] } }",
            &[],
        ),
        (
            &format!(
                "models: {{ O: {{ table: orders, {SCOPED} }}, V: {{ table: order_view }} }}\njoins: [ {{ from: order_view.id, to: orders.id, inherit: true }} ]"
            ),
            &[],
        ),
    ]);
}

#[test]
fn a_default_that_shows_all_is_looked_through() {
    let told = warned("default: allow");
    let expected = [
        "TENANT_COLUMN_UNSCOPED accounts",
        "TENANT_COLUMN_UNSCOPED invoices",
        "TENANT_COLUMN_UNSCOPED order_view",
        "TENANT_COLUMN_UNSCOPED orders",
        "TENANT_COLUMN_UNSCOPED slips",
        "SECRET_IN_CLEAR accounts",
        "SECRET_IN_CLEAR accounts",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for line in expected {
        assert!(told.iter().any(|one| one == line), "{line}: {told:?}");
    }
}

#[test]
fn keys_over_all_tenants_are_told() {
    let of = |table: &str, more: &str| format!("models: {{ M: {{ table: {table}, {SCOPED}, {more} }} }}");
    check(&[
        (&of("invoices", "write_policy: { create: allow }"), &["UNIQUE_WITHOUT_TENANT invoices"]),
        (&of("invoices", "write_policy: { update: approval }"), &["UNIQUE_WITHOUT_TENANT invoices"]),
        (&of("slips", "write_policy: { create: allow }"), &["UNIQUE_WITHOUT_TENANT slips"]),
        (
            "models: { P: { table: parcels, scoping: { customer_id: principal.tenant_id }, write_policy: { create: allow } } }",
            &["UNIQUE_WITHOUT_TENANT parcels"],
        ),
        (&of("invoices", "write_policy: { delete: allow }"), &[]),
        (&of("invoices", "fields: { number: { action: allow } }"), &[]),
        (&of("invoices", "fields: { id: deny }, write_policy: { create: allow }"), &[]),
        (&of("orders", "write_policy: { create: allow }"), &[]),
        ("models: { C: { table: currencies, write_policy: { create: allow } } }", &[]),
        (
            "models: { P: { table: parcels, scoping: { customer_id: principal.tenant_id }, fields: { label: deny }, write_policy: { create: allow } } }",
            &[],
        ),
    ]);
}

#[test]
fn secrets_in_clear_are_told() {
    let of = |more: &str| format!("models: {{ A: {{ table: accounts, {SCOPED}, {more} }} }}");
    check(&[
        (&of("fields: { password: deny }"), &["SECRET_IN_CLEAR accounts"]),
        (&of("fields: { password: deny, api_key: { action: allow } }"), &["SECRET_IN_CLEAR accounts"]),
        (
            &of("fields: { password: deny, api_key: [ { roles: [x], action: deny }, { action: allow } ] }"),
            &["SECRET_IN_CLEAR accounts"],
        ),
        (
            &of("fields: { password: deny, api_key: [ { except_roles: [x], action: allow } ] }"),
            &["SECRET_IN_CLEAR accounts"],
        ),
        (&of("fields: { password: deny, api_key: deny }"), &[]),
        (&of("fields: { password: deny, api_key: { action: mask, mask_pattern: '***{last4}' } }"), &[]),
        (&of("fields: { password: hash, api_key: redact }"), &[]),
        (
            &of(
                "fields: { password: deny, api_key: [ { roles: [boss], action: allow }, { action: deny } ] }",
            ),
            &[],
        ),
        (&of("fields: { password: deny, api_key: [ { roles: [boss], action: allow } ] }"), &[]),
        (&of("other_fields: deny"), &[]),
        (&format!("{}\nglobal: {{ deny: ['pass*'], mask: ['*key'] }}", of("other_fields: allow")), &[]),
    ]);
}

#[test]
fn rules_that_never_count_are_told() {
    let of = |more: &str| format!("models: {{ O: {{ table: orders, {SCOPED}, {more} }} }}");
    check(&[
        (
            &of("fields: { note: [ { action: deny }, { roles: [x], action: allow } ] }"),
            &["RULE_SHADOWED orders"],
        ),
        (
            &of("fields: { note: [ { roles: [x, y], action: deny }, { roles: [x], action: allow } ] }"),
            &["RULE_SHADOWED orders"],
        ),
        (
            &of(
                "fields: { note: [ { except_roles: [x], action: deny }, { roles: [y], except_roles: [x], action: allow } ] }",
            ),
            &["RULE_SHADOWED orders"],
        ),
        (
            &of("write_policy: [ { create: allow }, { roles: [x], update: allow } ]"),
            &["RULE_SHADOWED orders"],
        ),
        (
            &of(
                "row_policies: [ { name: a, extends: true, condition: \"code = 'x'\" }, { name: b, extends: true, condition: \"code = 'x'\" } ]",
            ),
            &["RULE_SHADOWED orders"],
        ),
        (
            &of(
                "row_policies: [ { name: a, roles: [x], bypass: true, condition: \"true\" }, { name: b, roles: [x], bypass: true, condition: \"'z' IN principal.roles\" } ]",
            ),
            &["RULE_SHADOWED orders"],
        ),
        (
            &format!("{}\nglobal: {{ deny: [note] }}", of("fields: { note: { action: allow } }")),
            &["RULE_SHADOWED orders"],
        ),
        (&of("fields: { note: [ { roles: [x], action: allow }, { action: deny } ] }"), &[]),
        (
            &of(
                "fields: { note: [ { roles: [x], action: allow }, { roles: [y], action: 'null' }, { action: deny } ] }",
            ),
            &[],
        ),
        (
            &of("fields: { note: [ { except_roles: [x], action: deny }, { roles: [x], action: allow } ] }"),
            &[],
        ),
        (&of("write_policy: [ { roles: [x], create: allow }, { update: allow } ]"), &[]),
        (
            &of(
                "row_policies: [ { name: a, extends: true, condition: \"code = 'x'\" }, { name: b, extends: true, condition: \"code = 'y'\" } ]",
            ),
            &[],
        ),
        (
            &of(
                "row_policies: [ { name: a, roles: [x], condition: \"code = 'x'\" }, { name: b, condition: \"code = 'x'\" } ]",
            ),
            &[],
        ),
        (&format!("{}\nglobal: {{ deny: [note] }}", of("fields: { note: deny }")), &[]),
    ]);
}

#[test]
fn rules_that_do_nothing_or_too_much_are_told() {
    let of = |more: &str| format!("models: {{ O: {{ table: orders, {SCOPED}, {more} }} }}");
    check(&[
        (&of("row_policies: [ { name: a, condition: \"true\" } ]"), &["RULE_WITHOUT_EFFECT orders"]),
        (&of("row_policies: [ { name: a, extends: true, condition: \"true\" } ]"), &["SCOPE_LIFTED orders"]),
        (&of("row_policies: [ { name: a, bypass: true, condition: \"true\" } ]"), &["SCOPE_LIFTED orders"]),
        (
            &of(
                "row_policies: [ { name: a, bypass: true, condition: \"true\" }, { name: b, condition: \"code = 'x'\" } ]",
            ),
            &["SCOPE_LIFTED orders", "RULE_SHADOWED orders"],
        ),
        (
            "models: { C: { table: currencies, row_policies: [ { name: a, extends: true, condition: \"code = 'x'\" } ] } }",
            &["RULE_WITHOUT_EFFECT currencies"],
        ),
        ("models: { C: { table: currencies, roles: [] } }", &["RULE_EMPTY currencies"]),
        ("models: { C: { table: currencies, roles: [x], except_roles: [x] } }", &["RULE_EMPTY currencies"]),
        ("models: { C: { table: currencies } }\nrestrictions: { R: [] }", &["RULE_EMPTY -"]),
        (
            "models: { C: { table: currencies } }\nrestrictions: { R: [ { table: currencies, column: code, in: [] } ] }",
            &["RULE_EMPTY currencies"],
        ),
        (
            "models: { C: { table: currencies } }\nrestrictions: { R: [ { table: orders, column: code, in: [x] } ] }",
            &["RULE_WITHOUT_EFFECT orders"],
        ),
        (&of("row_policies: [ { name: a, condition: \"code = 'x'\" } ]"), &[]),
        (&of("row_policies: [ { name: a, roles: [x], bypass: true, condition: \"true\" } ]"), &[]),
        (&of("row_policies: [ { name: a, bypass: true, condition: \"'x' IN principal.roles\" } ]"), &[]),
        (&of("row_policies: [ { name: a, roles: [x], extends: true, condition: \"true\" } ]"), &[]),
        ("models: { C: { table: currencies, roles: [x], except_roles: [y] } }", &[]),
        (
            &of("row_policies: [ { name: a, bypass: true, condition: \"principal.agent = 'x'\" } ]"),
            &["AGENT_TRUSTED orders"],
        ),
        (
            &of(
                "row_policies: [ { name: a, extends: true, condition: \"note = 'x' AND principal.agent IN ('x', 'y')\" } ]",
            ),
            &["AGENT_TRUSTED orders"],
        ),
        (
            &of(
                "row_policies: [ { name: a, roles: [x], bypass: true, condition: \"principal.agent IS NOT NULL\" } ]",
            ),
            &["AGENT_TRUSTED orders"],
        ),
        (
            &of("row_policies: [ { name: a, bypass: true, condition: \"NOT (principal.agent IS NULL)\" } ]"),
            &["AGENT_TRUSTED orders"],
        ),
        (
            &of(
                "row_policies: [ { name: a, bypass: true, condition: \"'x' IN principal.roles AND principal.agent IS NULL\" } ]",
            ),
            &[],
        ),
        (&of("row_policies: [ { name: a, condition: \"principal.agent IS NULL OR note = 'x'\" } ]"), &[]),
        (
            "models: { C: { table: currencies } }\nrestrictions: { R: [ { table: currencies, column: code, in: [EUR] } ] }",
            &[],
        ),
        (
            "default: allow\nmodels: { O: { table: orders, allowed: false }, A: { table: accounts, allowed: false }, I: { table: invoices, allowed: false }, S: { table: slips, allowed: false }, V: { table: order_view, allowed: false } }\nrestrictions: { R: [ { table: currencies, column: code, in: [EUR] } ] }",
            &[],
        ),
    ]);
}

/// Without a catalog, what the document alone shows is told.
#[test]
fn a_document_alone_is_looked_at_too() {
    let policy = load(
        "models:\n  O:\n    table: orders\n    fields:\n      note:\n        - { action: deny }\n        - { roles: [x], action: allow }\n",
    );
    let warnings = policy.warnings(None);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let problem = &warnings[0].problem;
    assert_eq!((problem.line, problem.column > 0), (7, true), "{problem}");
    assert!(warnings[0].to_string().ends_with("[RULE_SHADOWED]"), "{}", warnings[0]);
    assert!(load("models: { O: { table: nothing } }").warnings(None).is_empty());
}

/// The policy of the guard corpus is one that a careful author wrote.
#[test]
fn a_careful_policy_has_few_warnings() {
    let policy = load(include_str!("../../../../cases/guard-corpus/policy.yaml"));
    assert_eq!(policy.warnings(None), Vec::new());
}
