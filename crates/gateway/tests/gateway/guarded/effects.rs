//! `diff`: what a document would change, as it is measured on the data.

use ringfence_gateway::Code;
use ringfence_gateway::policies::{Access, Diff, DiffRequest, GroupEffect, PolicyEffect};

use super::{POLICY, Shop};
use crate::world::{ROOT, code};

impl Shop {
    async fn diff(&self, document: &str, users: &[&str]) -> PolicyEffect {
        let users = users.iter().map(|&user| user.to_owned()).collect();
        let request = DiffRequest { document: document.to_owned(), users, counting: true, sample: None };
        let call = self.world.call_as("a-boss").await;
        match self.world.gateway.diff_policy(&call, &self.key, request).await.unwrap() {
            Diff::Effect(effect) => effect,
            Diff::Invalid(problems) => panic!("{problems:?}"),
        }
    }
}

/// `user relation before after +gained -lost` of all that was counted.
fn rows(groups: &[GroupEffect]) -> Vec<String> {
    let all = groups.iter().flat_map(|group| &group.relations).flat_map(|effect| {
        effect.rows.iter().map(move |rows| {
            assert_eq!(rows.problem, None);
            let (relation, user) = (&effect.relation.name, &rows.user);
            format!("{user} {relation} {} {} +{} -{}", rows.before, rows.after, rows.gained, rows.lost)
        })
    });
    let mut all: Vec<String> = all.collect();
    all.sort();
    all
}

#[tokio::test]
async fn rows_gained_and_lost_are_counted_as_each_user() {
    let shop = Shop::guarded("diff_rows").await;
    let same = shop.diff(POLICY, &[]).await;
    assert!(same.groups.is_empty() && same.unchanged == same.users && same.users > 2, "{same:?}");
    assert_eq!((same.version, same.counts), (Some(1), 0));

    // Ann (a-t1) has one draft of two; Abe (a-t2) has none.
    let narrower = POLICY.replace(
        "row_policies:",
        "row_policies:\n      - { name: no_drafts, condition: \"status <> 'draft'\" }",
    );
    let effect = shop.diff(&narrower, &["a-ann", "a-abe"]).await;
    assert_eq!(rows(&effect.groups), ["a-abe orders 2 2 +0 -0", "a-ann orders 2 1 +0 -1"]);
    assert_eq!((effect.groups.len(), effect.counts), (1, 6), "equal views are one group");

    // Another predicate: one row goes, two come.
    let other = POLICY.replace("scoping: { tenant_id: principal.tenant_id }", "row_policies: [ { name: n, condition: \"status = 'new'\" } ]").replace("    row_policies:\n      - { name: everything, condition: \"'ROLE_AUDITOR' IN principal.roles\", bypass: true }\n", "");
    let effect = shop.diff(&other, &["a-ann"]).await;
    assert_eq!(rows(&effect.groups), ["a-ann orders 2 3 +2 -1"]);
    // Nothing of it is in force.
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
}

#[tokio::test]
async fn columns_writes_and_relations_are_told() {
    let shop = Shop::guarded("diff_columns").await;
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    let other = POLICY
        .replace("note: deny", "status: { action: mask, mask_pattern: partial }")
        .replace("      card: { action: mask, mask_pattern: \"****{last4}\" }\n", "")
        .replace("create: allow", "create: deny")
        .replace("table: public.regions", "table: public.secrets")
        .replace("scoping: { region: principal.attributes.region }", "allowed: true");
    let effect = shop.diff(&other, &["a-ann"]).await;
    let group = &effect.groups[0];
    assert_eq!(
        (group.users.as_slice(), group.roles.as_slice()),
        (&["a-ann".to_owned()][..], &["api-user".to_owned()][..])
    );
    let find = |name: &str| group.relations.iter().find(|effect| effect.relation.name == name).unwrap();
    let orders = find("orders");
    assert_eq!((orders.columns_gained.as_slice(), orders.columns_lost.len()), (&["note".to_owned()][..], 0));
    let changes: Vec<_> =
        orders.columns_changed.iter().map(|it| (it.column.as_str(), it.before, it.after)).collect();
    assert_eq!(changes, [("status", "in clear", "masked"), ("card", "masked", "in clear")]);
    let writes: Vec<_> = orders.writes.iter().map(|it| (it.action, it.before, it.after)).collect();
    assert_eq!(writes, [("create", "allow", "deny")]);
    assert!(!orders.rows_change && orders.rows.is_empty());
    assert_eq!(find("regions").access, (Access::Visible, Access::Missing));
    assert_eq!(find("secrets").access, (Access::Missing, Access::Visible));
    assert_eq!(rows(&effect.groups), ["a-ann regions 1 0 +0 -1", "a-ann secrets 0 1 +1 -0"]);
    // Without the attribute, the relation can't be decided.
    let abe = shop.diff(&other, &["a-abe"]).await;
    let regions = abe.groups[0].relations.iter().find(|effect| effect.relation.name == "regions").unwrap();
    assert_eq!(regions.access.0, Access::Needs("principal.attributes.region".to_owned()));
}

#[tokio::test]
async fn an_open_connection_is_compared_too() {
    let shop = Shop::open("diff_open").await;
    let effect = shop.diff(POLICY, &["a-ann"]).await;
    assert_eq!(effect.version, None);
    assert!(
        rows(&effect.groups).contains(&"a-ann orders 4 2 +0 -2".to_owned()),
        "{:?}",
        rows(&effect.groups)
    );
    assert!(rows(&effect.groups).contains(&"a-ann secrets 1 0 +0 -1".to_owned()));
}

#[tokio::test]
async fn only_administrators_of_the_organization_look_through_others() {
    let shop = Shop::guarded("diff_rights").await;
    let request = || DiffRequest { document: POLICY.to_owned(), counting: true, ..DiffRequest::default() };
    let gateway = &shop.world.gateway;
    for user in ["a-ann", "a-abe"] {
        let call = shop.world.call_as(user).await;
        assert_eq!(
            code(gateway.diff_policy(&call, &shop.key, request()).await),
            Code::NotPermitted,
            "{user}"
        );
        assert_eq!(code(gateway.test_policy(&call, &shop.key, "tests: []", None).await), Code::NotPermitted);
        assert_eq!(code(gateway.check_policy(&call, &shop.key, POLICY).await), Code::NotPermitted);
        assert_eq!(code(gateway.remove_policy(&call, &shop.key, 1, None).await), Code::NotPermitted);
    }
    // Not on one's own list, whoever one is.
    let call = shop.world.call_as(ROOT).await;
    assert_eq!(code(gateway.diff_policy(&call, &shop.key, request()).await), Code::NotFound);
    // People of another organization, and nobody, are one answer.
    let call = shop.world.call_as("a-boss").await;
    let ask = async |user: &str| {
        let request = DiffRequest { users: vec![user.to_owned()], ..request() };
        gateway.diff_policy(&call, &shop.key, request).await.map(drop)
    };
    assert_eq!(ask("b-ann").await, ask("nobody").await);
    assert_eq!(code(ask("b-ann").await), Code::NotFound);
}
