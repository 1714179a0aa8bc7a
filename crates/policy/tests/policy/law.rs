//! The law of access, clause by clause: who sees which rows, and who does not.

use ringfence_policy::evaluate::Datum;
use ringfence_policy::{
    Catalog, ConnectionKind, Denial, Entitlement, Expression, Permit, Policy, Principal, Question, Subject,
    decide, decide_with_reasons, view,
};
use serde_json::{Value, json};

use crate::access_rules::rule;
use crate::world::{EVERY_SALE, catalog, load, name, plain_question, principal, seen};

/// `policy`: models after `models:`; then who, and the ids of sales that they see.
fn check(policy: &str, cases: &[(Principal, &[i128])]) {
    let policy = load(policy);
    for (who, expected) in cases {
        let shown = seen(&policy, &[], who, "sales");
        assert_eq!(shown.as_deref(), Ok(*expected), "{:?} {:?}", who.data_roles, who.attributes);
    }
}

fn of(tenant: &str, roles: &[&str], attributes: Value) -> Principal {
    principal(tenant, "u", roles, attributes)
}

#[test]
fn what_no_model_names_is_invisible() {
    let invisible = |table: &str| Err(Denial::Invisible(name(table)));
    let who = of("a", &["member"], json!({}));
    let cases = [
        ("models: {}", "sales", invisible("sales")),
        ("default: allow", "sales", Ok(EVERY_SALE.to_vec())),
        ("default: allow", "nothing", invisible("nothing")),
        ("models: { Sale: { table: sales } }", "sales", Ok(EVERY_SALE.to_vec())),
        ("models: { Sale: { table: sales } }", "shops", invisible("shops")),
        ("default: allow\nmodels: { Sale: { table: sales, allowed: false } }", "sales", invisible("sales")),
        ("models: { Sale: { table: sales, roles: [member, x] } }", "sales", Ok(EVERY_SALE.to_vec())),
        ("models: { Sale: { table: sales, roles: [api-user] } }", "sales", Ok(EVERY_SALE.to_vec())),
        ("default: allow\nmodels: { Sale: { table: sales, roles: [boss] } }", "sales", invisible("sales")),
        ("models: { Sale: { table: sales, roles: [] } }", "sales", invisible("sales")),
        ("models: { Sale: { table: sales, except_roles: [boss] } }", "sales", Ok(EVERY_SALE.to_vec())),
        ("models: { Sale: { table: sales, except_roles: [member] } }", "sales", invisible("sales")),
    ];
    for (policy, table, expected) in cases {
        let shown = if table == "nothing" {
            decided(policy, &who, table).map(|_| vec![])
        } else {
            seen(&load(policy), &[], &who, table)
        };
        assert_eq!(shown, expected, "{policy}");
    }
}

#[test]
fn the_scope_is_the_principals_value() {
    check(
        "models: { S: { table: sales, scoping: { tenant: principal.tenant_id } } }",
        &[
            (of("a", &[], json!({})), &[1, 2, 3]),
            (of("b", &[], json!({})), &[4, 5]),
            (of("c", &[], json!({})), &[]),
        ],
    );
    check(
        "models: { S: { table: sales, scoping: { tenant: principal.metadata.x.tenants } } }",
        &[
            (of("a", &[], json!({"x": {"tenants": ["b"]}})), &[4, 5]),
            (of("a", &[], json!({"x": {"tenants": "b"}})), &[4, 5]),
            (of("a", &[], json!({"x": {"tenants": ["a", "b"]}})), &[1, 2, 3, 4, 5]),
            (of("a", &[], json!({"x": {"tenants": ["1","2","3","4","5","6","7","8","9","a"]}})), &[1, 2, 3]),
            (of("a", &[], json!({"x": {"tenants": []}})), &[]),
            (of("a", &[], json!({"x": {"tenants": [null]}})), &[]),
        ],
    );
    check(
        "models: { S: { table: sales, scoping: { tenant: principal.tenant_id, owner: principal.user_id } } }",
        &[(of("a", &[], json!({})), &[1]), (of("b", &[], json!({})), &[])],
    );
}

/// "Never no filter."
#[test]
fn a_missing_value_is_an_error() {
    let policy = "models: { S: { table: sales, scoping: { tenant: principal.attributes.t.u },
        row_policies: [ { name: x, condition: 'TRUE', extends: true }, { name: y, condition: \"'boss' IN principal.roles\", bypass: true } ] } }";
    let required = Err(Denial::ScopeRequired { attribute: "principal.attributes.t.u".to_owned() });
    let cases = [
        (json!({}), vec![], required.clone()),
        (json!({"t": null}), vec![], required.clone()),
        (json!({"t": {"u": null}}), vec![], required.clone()),
        (json!({"t": {"u": {"v": 1}}}), vec![], required.clone()),
        (json!({"t": {"u": [["a"]]}}), vec![], required),
        (json!({"t": {"u": "a"}}), vec![], Ok(EVERY_SALE.to_vec())),
        (json!({}), vec!["boss"], Ok(EVERY_SALE.to_vec())),
    ];
    for (attributes, roles, expected) in cases {
        let who = of("a", &roles, attributes.clone());
        assert_eq!(seen(&load(policy), &[], &who, "sales"), expected, "{attributes}");
    }
    let (catalog, policy) = (catalog(), load(policy));
    let who = of("a", &[], json!({}));
    let view = view(plain_question(&policy, &catalog, &who));
    assert!(view.relations.is_empty());
    assert_eq!(view.unresolved.keys().collect::<Vec<_>>(), [&name("sales")]);
}

#[test]
fn policies_narrow_extend_and_bypass() {
    let sale = |policies: &str| {
        format!(
            "models: {{ S: {{ table: sales, scoping: {{ tenant: principal.tenant_id }}, row_policies: [{policies}] }} }}"
        )
    };
    check(
        &sale("{ name: n, condition: \"status = 'draft'\" }"),
        &[(of("a", &[], json!({})), &[1, 2]), (of("b", &[], json!({})), &[])],
    );
    // NULL hides, also under NOT.
    check(&sale("{ name: n, condition: \"NOT (status = 'done')\" }"), &[(of("a", &[], json!({})), &[1, 2])]);
    check(
        &sale("{ name: n, condition: \"owner = 'v'\", roles: [member] }"),
        &[(of("a", &["member"], json!({})), &[2, 3]), (of("a", &["other"], json!({})), &[1, 2, 3])],
    );
    check(
        &sale("{ name: e, condition: \"tenant IN principal.attributes.more\", extends: true }"),
        &[
            (of("a", &[], json!({"more": ["b"]})), &[1, 2, 3, 4, 5]),
            (of("a", &[], json!({"more": []})), &[1, 2, 3]),
            (of("a", &[], json!({})), &[1, 2, 3]),
        ],
    );
    check(
        &sale(
            "{ name: e, condition: \"tenant = 'b'\", extends: true }, { name: n, condition: \"status = 'done'\" }",
        ),
        &[(of("a", &[], json!({})), &[4]), (of("c", &[], json!({})), &[4])],
    );
    check(
        &sale(
            "{ name: b, condition: \"'boss' IN principal.roles\", bypass: true }, { name: n, condition: \"status = 'done'\" }",
        ),
        &[
            (of("a", &["boss"], json!({})), EVERY_SALE),
            (of("a", &["bos"], json!({})), &[]),
            (of("b", &[], json!({})), &[4]),
        ],
    );
    // Both are for whom they name alone.
    for effect in ["extends", "bypass"] {
        check(
            &sale(&format!("{{ name: g, condition: \"1 = 1\", {effect}: true, roles: [member] }}")),
            &[(of("a", &["member"], json!({})), EVERY_SALE), (of("a", &["other"], json!({})), &[1, 2, 3])],
        );
    }
    // A bypass that can't be told does not hold.
    check(
        &sale("{ name: b, condition: \"principal.attributes.level > 3\", bypass: true }"),
        &[
            (of("a", &[], json!({"level": 4})), EVERY_SALE),
            (of("a", &[], json!({"level": 3})), &[1, 2, 3]),
            (of("a", &[], json!({"level": "many"})), &[1, 2, 3]),
            (of("a", &[], json!({})), &[1, 2, 3]),
        ],
    );
}

#[test]
fn roles_unite_within_a_hierarchy_and_intersect_across() {
    let policy = |hierarchies: &str| {
        format!(
            "default: allow\n{hierarchies}
restrictions:
  PARIS: [ {{ table: shops, column: city, in: [Paris] }} ]
  FRANCE: [ {{ table: shops, column: country, in: [France] }} ]
  NOWHERE: [ {{ table: shops, column: city, in: [] }} ]
  UNKNOWN: [ {{ table: shops, column: city, in: [null] }} ]
  SMALL: [ {{ table: shops, column: id, condition: 'id < 2' }} ]\n"
        )
    };
    let geo = policy("hierarchies: { geo: [shops.country, shops.city] }");
    let (geo, apart) = (load(&geo), load(&policy("")));
    let cases: [(&[&str], &[i128], &[i128]); 9] = [
        (&[], &[1, 2, 3, 4], &[1, 2, 3, 4]),
        (&["OTHER"], &[1, 2, 3, 4], &[1, 2, 3, 4]),
        (&["PARIS"], &[1], &[1]),
        (&["FRANCE"], &[1, 2], &[1, 2]),
        (&["PARIS", "FRANCE"], &[1, 2], &[1]),
        (&["NOWHERE"], &[], &[]),
        (&["NOWHERE", "PARIS"], &[1], &[1]),
        (&["UNKNOWN", "PARIS"], &[1, 4], &[1, 4]),
        (&["FRANCE", "SMALL"], &[1], &[1]),
    ];
    for (roles, in_geo, on_their_own) in cases {
        let who = of("a", roles, json!({}));
        assert_eq!(seen(&geo, &[], &who, "shops").as_deref(), Ok(in_geo), "{roles:?}");
        assert_eq!(seen(&apart, &[], &who, "shops").as_deref(), Ok(on_their_own), "{roles:?}");
    }
}

const JOINS: &str = "joins: [ { from: sales.shop, to: shops.id, inherit: true }, { from: shops.region, to: regions.id, inherit: true } ]\n";

#[test]
fn what_hides_the_target_hides_the_rows() {
    let who = || of("a", &["PARIS"], json!({}));
    let open = "models: { Sale: { table: sales }, Shop: { table: shops }, Region: { table: regions } }\n";
    let paris = "restrictions: { PARIS: [ { table: shops, column: city, in: [Paris] } ] }\n";
    check(&format!("{open}{JOINS}{paris}"), &[(who(), &[1, 3]), (of("a", &[], json!({})), EVERY_SALE)]);
    check(&format!("{open}{paris}joins: [ {{ from: sales.shop, to: shops.id }} ]"), &[(who(), EVERY_SALE)]);
    // Two joins away.
    let region = "models: { Sale: { table: sales }, Shop: { table: shops }, Region: { table: regions, scoping: { tenant: principal.tenant_id } } }\n";
    check(&format!("{region}{JOINS}"), &[(who(), &[1, 2, 3, 6]), (of("b", &[], json!({})), &[4, 5])]);
    // The target is no model, or not for these roles.
    check(&format!("models: {{ Sale: {{ table: sales }} }}\n{JOINS}"), &[(who(), &[])]);
    let gated = "models: { Sale: { table: sales }, Shop: { table: shops, except_roles: [PARIS] }, Region: { table: regions } }\n";
    check(&format!("{gated}{JOINS}"), &[(who(), &[]), (of("a", &[], json!({})), EVERY_SALE)]);
    let policy = load(&format!("{open}{JOINS}"));
    let block = rule("shops", None, None, None);
    assert_eq!(seen(&policy, &[block], &who(), "sales"), Ok(vec![]));
}

fn decided(policy: &str, who: &Principal, table: &str) -> Result<Entitlement, Denial> {
    let (catalog, policy) = (catalog(), load(policy));
    decide(plain_question(&policy, &catalog, who), &name(table))
}

#[test]
fn the_first_field_rule_for_the_roles_counts() {
    let policy = "global: { deny: ['*sta*'], mask: [email, owner] }
models:
  Sale:
    table: sales
    fields:
      amount: [ { roles: [member], action: 'null' }, { roles: [boss, member], action: allow } ]
      tenant: deny
      owner: allow
      status: allow\n";
    let columns = |roles: &[&str]| {
        let entitlement = decided(policy, &of("a", roles, json!({})), "sales").unwrap();
        let shown = entitlement
            .columns
            .iter()
            .map(|column| format!("{}{}", column.name, if column.mask.is_some() { "*" } else { "" }));
        (shown.collect::<Vec<_>>().join(" "), entitlement.hidden.join(" "))
    };
    let strings = |shown: &str, hidden: &str| (shown.to_owned(), hidden.to_owned());
    assert_eq!(columns(&[]), strings("id shop owner email*", "tenant status amount"));
    assert_eq!(columns(&["member", "boss"]), strings("id shop owner amount* email*", "tenant status"));
    assert_eq!(columns(&["boss"]), strings("id shop owner amount email*", "tenant status"));
    let closed = "models: { Sale: { table: sales, other_fields: deny, fields: { id: allow, nope: allow } } }";
    let entitlement = decided(closed, &of("a", &[], json!({})), "sales").unwrap();
    assert_eq!(entitlement.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["id"]);
}

#[test]
fn content_filters_hide_columns_too() {
    let whole = catalog();
    let mut filtered: Catalog = whole.clone();
    filtered.schemas[0].relations[1].columns.retain(|column| column.name != "email");
    let (policy, who) = (load("default: allow"), of("a", &[], json!({})));
    let question =
        Question { policy: &policy, catalog: &filtered, unfiltered: &whole, rules: &[], principal: &who };
    let entitlement = decide(question, &name("sales")).unwrap();
    assert_eq!(entitlement.hidden, ["email"]);
    assert!(entitlement.columns.iter().all(|column| column.name != "email" && column.writable));
}

#[test]
fn writes_are_by_role_and_default_to_nothing() {
    let policy = "models:
  Sale:
    table: sales
    write_policy:
      - { roles: [boss], create: allow, update: allow, delete: approval, immutable_fields: [tenant], required_fields: [status],
          auto_set: { tenant: principal.tenant_id, shop: { value: '1', accepts: 'shop IN principal.attributes.shops' } }, max_rows: 5 }
      - { roles: [member], update: allow, columns: [status], rows: 'owner = principal.user_id', require_reason: true }
      - { roles: [lost], create: allow, update: allow, auto_set: { owner: principal.attributes.nobody } }\n";
    let writes =
        |roles: &[&str]| decided(policy, &of("a", roles, json!({"shops": [1, 2]})), "sales").unwrap().writes;
    let boss = writes(&["boss", "member"]);
    assert_eq!((boss.create, boss.update, boss.delete), (Permit::Allow, Permit::Allow, Permit::Approval));
    assert_eq!(
        (boss.immutable, boss.required, boss.max_rows),
        (vec!["tenant".to_owned()], vec!["status".to_owned()], Some(5))
    );
    assert_eq!(boss.auto_set.len(), 2);
    let member = writes(&["member"]);
    assert_eq!((member.create, member.update, member.delete), (Permit::Deny, Permit::Allow, Permit::Deny));
    assert!(
        member.rows.is_some() && member.require_reason && member.columns == Some(vec!["status".to_owned()])
    );
    assert_eq!(writes(&["other"]), ringfence_policy::WriteRules::default());
    let lost = writes(&["lost"]);
    assert_eq!(
        (lost.create, lost.update),
        (Permit::Deny, Permit::Allow),
        "a missing value is not written as NULL"
    );
}

#[test]
fn reasons_name_the_rules() {
    let policy = load(&format!("models:
  Sale: {{ table: sales, scoping: {{ tenant: principal.tenant_id }}, fields: {{ email: deny }}, row_policies: [ {{ name: mine, condition: 'owner = principal.user_id' }} ] }}
  Shop: {{ table: shops, scoping: {{ tenant: principal.tenant_id }} }}\n  Region: {{ table: regions }}\n{JOINS}"));
    let (catalog, who) = (catalog(), of("a", &[], json!({})));
    let question = plain_question(&policy, &catalog, &who);
    let (decided, reasons) = decide_with_reasons(question, &name("sales"));
    assert_eq!(decided, decide(question, &name("sales")));
    let told: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "relation given by the model Sale (line 2)",
            "rows narrowed by the scope tenant = principal.tenant_id (line 2)",
            "rows narrowed by the row policy mine (line 2)",
            "rows narrowed by the join of shop to public.shops, whose rows are narrowed (line 4)"
                .replace("line 4", "line 5")
                .as_str(),
            "column email taken by its field rule (line 2)",
            "writes taken by having no write policy for these roles",
        ]
    );
}

#[test]
fn what_has_no_effect_is_told() {
    let policy = load(
        "models:
  Sale:
    table: sales
    scoping: { tenant: principal.attributes.nowhere }
    row_policies:
      - { name: mine, roles: [SELLER], condition: 'owner = principal.user_id' }
      - { name: never, condition: \"principal.user_id = 'root'\", bypass: true }
      - { name: audit, condition: \"'AUDITOR' IN principal.roles\", bypass: true }
      - { name: done, condition: \"status = 'done'\" }
",
    );
    let told = |roles: &[&str]| {
        let (catalog, who) = (catalog(), of("a", roles, json!({})));
        let question = plain_question(&policy, &catalog, &who);
        let (decided, reasons) = decide_with_reasons(question, &name("sales"));
        let of_rows = reasons.iter().filter(|reason| reason.subject == Subject::Rows);
        (decided.is_ok(), of_rows.map(ToString::to_string).collect::<Vec<_>>())
    };
    // The scope that is missing is lifted with the rest.
    let (is_decided, rows) = told(&["AUDITOR"]);
    assert!(is_decided);
    assert_eq!(
        rows,
        [
            "rows not touched by the row policy never (line 7)",
            "rows scope lifted by the row policy audit (line 8)",
            "rows not touched by the policy on this relation needs principal.attributes.nowhere, which is not set \
             for you: ask your administrator (line 2)",
        ]
    );
    assert!(!told(&[]).0);
    let seller = load(
        "models: { Sale: { table: sales, row_policies: [ { name: mine, roles: [SELLER], condition: 'owner = principal.user_id' } ] } }",
    );
    let (catalog, who) = (catalog(), of("a", &[], json!({})));
    let question = plain_question(&seller, &catalog, &who);
    let (_, reasons) = decide_with_reasons(question, &name("sales"));
    assert!(reasons.iter().any(|reason| reason.rule == "the row policy mine, which is for roles SELLER"));
}

/// Principals in the same situation have equal entitlements, so that they share plans.
#[test]
fn equal_shapes_are_equal() {
    let policy = "models: { S: { table: sales, scoping: { tenant: principal.attributes.tenants },
        row_policies: [ { name: n, condition: \"owner = principal.user_id OR 'boss' IN principal.roles\" } ] } }";
    let shape = |user: &str, roles: &[&str], tenants: Value| {
        decided(policy, &principal("a", user, roles, json!({ "tenants": tenants })), "sales").unwrap()
    };
    assert_eq!(shape("u", &[], json!(["a"])), shape("v", &["x"], json!(["b"])));
    assert_ne!(shape("u", &[], json!(["a"])), shape("u", &[], json!(["a", "b"])));
    assert_ne!(shape("u", &[], json!(["a"])), shape("u", &["boss"], json!(["a"])));
    assert_eq!(shape("u", &[], json!([])).rows, Expression::truth(false));
    assert_eq!(Datum::truth(None), Datum::Null);
}

#[test]
fn catalogs_of_the_database_are_never_visible() {
    let text = "default: allow\nmodels: { Columns: { table: information_schema.columns } }";
    let policy = Policy::load("p.yaml", text, ConnectionKind::Postgresql);
    let policy = policy.expect("a policy");
    let relation = ringfence_policy::Relation { name: "columns".to_owned(), ..Default::default() };
    let schema =
        |name: &str| ringfence_policy::Schema { name: name.to_owned(), relations: vec![relation.clone()] };
    let schemas = vec![schema("information_schema"), schema("public")];
    let catalog = Catalog { database: "d".to_owned(), schemas };
    let principal = of("a", &[], json!({}));
    let seen = view(plain_question(&policy, &catalog, &principal));
    let names: Vec<String> = seen.relations.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["public.columns"]);
}

const SOFT: &str = "
models:
  Sale:
    table: sales
    scoping: { tenant: principal.tenant_id }
    soft_delete: status
    row_policies: [ { name: all, condition: \"'boss' IN principal.roles\", bypass: true } ]
    fields: { status: deny, email: { action: mask, mask_pattern: email } }
    write_policy:
      - { roles: [member], update: deny, delete: allow, rows: \"owner = principal.user_id\", max_rows: 3 }
      - { roles: [clerk], create: allow, update: allow, delete: approval }
";

#[test]
fn rows_that_were_removed_softly_are_gone() {
    check(
        SOFT,
        &[
            (of("a", &[], json!({})), &[3]),
            (of("b", &["member"], json!({})), &[5]),
            // Whom the scope does not bind, this does not bind either.
            (of("a", &["boss"], json!({})), EVERY_SALE),
        ],
    );
}

#[test]
fn a_soft_deletion_sets_one_column() {
    let member = decided(SOFT, &of("a", &["member"], json!({})), "sales").unwrap();
    assert_eq!(member.writes.delete, Permit::Deny, "DELETE would remove them for good");
    let soft = member.soft_delete.clone().unwrap();
    assert_eq!((soft.permit, soft.column.name.as_str()), (Permit::Allow, "status"));
    assert!(member.hidden.contains(&"status".to_owned()));
    let deleting = member.while_deleting().unwrap();
    let writes = &deleting.writes;
    assert_eq!((writes.create, writes.update, writes.delete), (Permit::Deny, Permit::Allow, Permit::Deny));
    assert_eq!(writes.columns.as_deref(), Some(&["status".to_owned()][..]));
    assert_eq!((&writes.rows, writes.max_rows), (&member.writes.rows, Some(3)));
    assert!(writes.rows.is_some());
    // The same rows, but for what says that they are there.
    let without = SOFT.replace("    soft_delete: status\n", "");
    let plain = decided(&without, &of("a", &["member"], json!({})), "sales").unwrap();
    assert_eq!(deleting.rows, plain.rows);
    assert_ne!(deleting.rows, member.rows);
    // Masks stay.
    let email = |entitlement: &Entitlement| {
        entitlement.columns.iter().find(|column| column.name == "email").map(|column| column.mask.clone())
    };
    assert_eq!(email(&deleting), email(&member));

    let clerk = decided(SOFT, &of("a", &["clerk"], json!({})), "sales").unwrap();
    assert_eq!(clerk.while_deleting().unwrap().writes.update, Permit::Approval);
    assert_eq!(clerk.once_approved().while_deleting().unwrap().writes.update, Permit::Allow);
    assert_eq!(member.once_approved(), member, "what is denied stays denied");
    let nobody = decided(SOFT, &of("a", &[], json!({})), "sales").unwrap();
    assert_eq!(nobody.while_deleting().unwrap().writes.update, Permit::Deny);
    assert_eq!(plain.while_deleting(), None);
}

#[test]
fn a_version_may_be_written_by_who_may_update() {
    let policy = "
models:
  Sale:
    table: sales
    version: amount
    write_policy: { update: allow, columns: [status], approvers: [chief], approval_expires: 2h }
";
    let decided = decided(policy, &of("a", &[], json!({})), "sales").unwrap();
    assert_eq!(decided.version.as_deref(), Some("amount"));
    assert_eq!(decided.writes.columns.as_deref(), Some(&["status".to_owned(), "amount".to_owned()][..]));
    assert_eq!(decided.writes.approval_expires.map(|expires| expires.as_secs()), Some(7200));
    let wrong = policy.replace("2h", "soon");
    assert!(Policy::load("policy.yaml", &wrong, ConnectionKind::Postgresql).is_err());
}
