//! What records say of what held.

use ringfence_policy::{AccessRule, Principal, Question, applied};
use serde_json::{Value, json};

use crate::access_rules::rule;
use crate::world::{catalog, load, name, principal};

fn check(policy: &str, rules: &[AccessRule], who: &Principal, scopes: &[&str], others: &[&str]) {
    let (policy, catalog) = (load(policy), catalog());
    let question =
        Question { policy: &policy, catalog: &catalog, unfiltered: &catalog, rules, principal: who };
    let applied = applied(question, &name("sales"));
    assert_eq!((applied.scopes, applied.rules), (own(scopes), own(others)));
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn of(roles: &[&str], attributes: Value) -> Principal {
    principal("acme-corp", "u", roles, attributes)
}

#[test]
fn scopes_have_the_principals_values() {
    let by = |path: &str| format!("models: {{ S: {{ table: sales, scoping: {{ tenant: {path} }} }} }}");
    check(&by("principal.tenant_id"), &[], &of(&[], json!({})), &["tenant = 'acme-corp'"], &[]);
    let of_list = by("principal.attributes.t");
    for (value, expected) in [
        (json!(["a"]), "tenant = 'a'"),
        (json!(["a", "it's", 3]), "tenant IN ('a', 'it''s', 3)"),
        (json!([]), "tenant IN ()"),
        (json!(7), "tenant = 7"),
    ] {
        check(&of_list, &[], &of(&[], json!({ "t": value })), &[expected], &[]);
    }
    let many: Vec<usize> = (0..1000).collect();
    let numbers: Vec<String> = many[..16].iter().map(usize::to_string).collect();
    let expected = format!("tenant IN ({} and 984 more)", numbers.join(", "));
    check(&of_list, &[], &of(&[], json!({ "t": many })), &[&expected], &[]);
}

#[test]
fn what_held_is_told_and_nothing_else() {
    let policy = "models: { S: { table: sales, scoping: { tenant: principal.tenant_id }, row_policies: [
        { name: drafts, condition: \"status <> 'draft'\" },
        { name: for_bosses, condition: \"status <> 'x'\", roles: [boss] },
        { name: more, condition: \"tenant IN principal.attributes.more\", extends: true },
        { name: all, condition: \"'root' IN principal.roles\", bypass: true } ] } }";
    let scope = ["tenant = 'acme-corp'"];
    check(policy, &[], &of(&[], json!({})), &scope, &["row policy drafts"]);
    let more = json!({ "more": ["b"] });
    check(policy, &[], &of(&[], more.clone()), &scope, &["row policy more", "row policy drafts"]);
    check(policy, &[], &of(&["boss"], json!({})), &scope, &["row policy drafts", "row policy for_bosses"]);
    // A bypass lifts the scope: it was not put in.
    check(policy, &[], &of(&["root"], more), &[], &["row policy all"]);
    check("models: {}", &[], &of(&[], json!({})), &[], &[]);
    let rules = [rule("sales", None, None, Some("id > 1"))];
    check("default: allow", &rules, &of(&[], json!({})), &[], &[&format!("access rule {}", rules[0].id)]);
}
