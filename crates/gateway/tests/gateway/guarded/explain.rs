//! Explanations: what each may know of a statement, and why somebody sees a row.

mod two_worlds;
mod why;

use ringfence_gateway::queries::{
    AdministratorsView, CallersView, ColumnShown, ExplainRequest, Explanation, QueryRequest, View,
};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::{OrgId, Permit, TenantId};

use super::{POLICY, Shop};
use crate::sources::query;
use crate::world::{code, same_refusal};

impl Shop {
    /// As `user` asks about `other`.
    pub(crate) async fn explain(
        &self,
        user: &str,
        other: Option<&str>,
        change: impl FnOnce(&mut ExplainRequest),
    ) -> Result<Explanation, Refused> {
        let as_user = other.map(str::to_owned);
        let mut request = ExplainRequest { key: self.key.clone(), as_user, ..ExplainRequest::default() };
        change(&mut request);
        self.world.gateway.explain_query(&self.world.call_as(user).await, request).await
    }

    pub(crate) async fn callers(&self, user: &str, statement: &str) -> Result<CallersView, Refused> {
        match self.explain(user, None, |request| request.query = query(statement)).await? {
            Explanation::Caller(view) => Ok(view),
            Explanation::Administrator(view) => panic!("{user} got the administrator's view: {view:?}"),
        }
    }

    async fn administrators(
        &self,
        other: &str,
        statement: &str,
        change: impl FnOnce(&mut ExplainRequest),
    ) -> AdministratorsView {
        let asked = self.explain("a-boss", Some(other), |request| {
            request.query = query(statement);
            change(request);
        });
        match asked.await.unwrap() {
            Explanation::Administrator(view) => *view,
            Explanation::Caller(view) => panic!("the boss got the caller's view: {view:?}"),
        }
    }
}

#[tokio::test]
async fn callers_learn_in_kind_what_is_hidden() {
    let shop = Shop::guarded("explain_caller").await;
    let view = shop.callers("a-ann", "SELECT * FROM orders").await.unwrap();
    assert!(view.guarded && !view.changes);
    assert_eq!(view.relations.len(), 1);
    let seen = &view.relations[0];
    assert_eq!((seen.relation.to_string().as_str(), seen.rows_limited), ("public.orders", true));
    assert_eq!(seen.masked, ["card"]);
    assert_eq!(view.limits.max_rows, 1000);
    let text = format!("{view:?}");
    for hidden in ["note", "secrets", "tenant_id", "a-t1", "_rf_", "regions", "everything"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert!(shop.callers("a-ann", "UPDATE orders SET status = 'x' WHERE id = 1").await.unwrap().changes);
    // Nothing of it was run.
    assert!(shop.raw().await.contains("1 a-t1 new"));
    // Whose scope is lifted sees all rows.
    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    assert!(!shop.callers("a-ann", "SELECT * FROM orders").await.unwrap().relations[0].rows_limited);
    let open = Shop::open("explain_open").await;
    let view = open.callers("a-ann", "SELECT * FROM orders").await.unwrap();
    assert!(!view.guarded && view.relations.is_empty());
}

#[tokio::test]
async fn relations_of_the_policys_own_are_not_told() {
    let shop = Shop::open("explain_inner").await;
    let member = "{ name: known, condition: 'EXISTS (SELECT 1 FROM regions r WHERE r.id = orders.id)' }";
    shop.put(&POLICY.replace("row_policies:\n", &format!("row_policies:\n      - {member}\n"))).await;
    // She may see it, and has not asked for it.
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    let view = shop.callers("a-ann", "SELECT id FROM orders").await.unwrap();
    assert_eq!(view.relations.len(), 1, "{view:?}");
    let view = shop.administrators("a-ann", "SELECT id FROM orders", |_| {}).await;
    assert_eq!(view.read_by_policy.iter().map(ToString::to_string).collect::<Vec<_>>(), ["public.regions"]);
}

#[tokio::test]
async fn refusals_are_those_of_running() {
    let shop = Shop::guarded("explain_refusals").await;
    let reason = POLICY.replace("max_rows: 2", "max_rows: 2\n      require_reason: true");
    for (policy, statement, expected) in [
        (POLICY, "SELECT note FROM orders", Code::ColumnUnknown),
        (POLICY, "SELECT nothing FROM orders", Code::ColumnUnknown),
        (POLICY, "SELECT o.note FROM orders o", Code::ColumnUnknown),
        (POLICY, "SELECT * FROM secrets", Code::RelationUnknown),
        (POLICY, "SELECT * FROM nowhere", Code::RelationUnknown),
        (POLICY, "SELECT * FROM regions", Code::TenantScopeRequired),
        (POLICY, "SELECT tell()", Code::FunctionNotAllowed),
        (POLICY, "SELECT 1; SELECT 2", Code::QueryRefused),
        (POLICY, "SELEKT 1", Code::StatementUnreadable),
        (POLICY, "DELETE FROM orders", Code::ApprovalRequired),
        (POLICY, "UPDATE orders SET card = 'x'", Code::ColumnNotWritable),
        (POLICY, "SELECT id + status FROM orders", Code::QueryFailed),
        (reason.as_str(), "UPDATE orders SET status = 'x'", Code::ReasonRequired),
    ] {
        shop.put(policy).await;
        let explained = shop.callers("a-ann", statement).await;
        let ran = shop.run("a-ann", statement).await;
        assert_eq!(same_refusal(explained, ran), expected, "{statement}");
        let view = shop.administrators("a-ann", statement, |_| {}).await;
        let told = view.refusal.unwrap_or_else(|| panic!("{statement} is not refused"));
        assert_eq!(told, shop.run("a-ann", statement).await.unwrap_err(), "{statement}");
    }
    // Without values a placeholder is NULL, so that a statement can be explained before there are any.
    assert!(shop.callers("a-ann", "SELECT id FROM orders WHERE id = $1").await.is_ok());
}

#[tokio::test]
async fn the_administrators_view_is_for_those_who_may_read_the_policy() {
    let shop = Shop::guarded("explain_rights").await;
    let select = |request: &mut ExplainRequest| request.query = query("SELECT id FROM orders");
    for user in ["a-ann", "a-lead", "a-trial-api"] {
        for other in ["a-abe", "b-ann", "nobody"] {
            assert_eq!(code(shop.explain(user, Some(other), select).await), Code::NotPermitted, "{user}");
        }
        let with = async |change: fn(&mut ExplainRequest)| {
            shop.explain(user, None, |request| {
                select(request);
                change(request);
            })
            .await
        };
        assert_eq!(code(with(|request| request.plan = true).await), Code::NotPermitted);
        let all = with(|request| request.view = Some(View::Administrator)).await;
        assert_eq!(code(all), Code::NotPermitted);
    }
    // Nobody of another organization, whoever asks, and it looks as if there were no such person.
    for user in ["a-boss", "a-super"] {
        if user == "a-super" {
            crate::sources::indexed(
                &shop.world,
                user,
                &shop.spec,
                Some(&crate::sources::password(&shop.owner)),
            )
            .await;
        }
        let one = shop.explain(user, Some("b-ann"), select).await;
        let other = shop.explain(user, Some("nobody"), select).await;
        assert_eq!(same_refusal(one, other), Code::ImpersonationDenied, "{user}");
        assert!(matches!(
            shop.explain(user, Some("a-ann"), select).await.unwrap(),
            Explanation::Administrator(_)
        ));
    }
    // Upward neither, and only on connections of the own list.
    assert_eq!(code(shop.explain("a-boss", Some("a-super"), select).await), Code::ImpersonationDenied);
    for user in ["b-boss", "a-peer"] {
        assert_eq!(code(shop.explain(user, Some(user), select).await), Code::NotFound);
    }
    // Who acts for somebody has that one's rank.
    let call = shop.world.call_for("a-boss", "a-ann").await;
    let request = ExplainRequest {
        key: shop.key.clone(),
        query: query("SELECT id FROM orders"),
        ..ExplainRequest::default()
    };
    let view = shop.world.gateway.explain_query(&call, request.clone()).await.unwrap();
    assert!(matches!(view, Explanation::Caller(_)));
    // Both names are recorded.
    let call = shop.world.call_as("a-boss").await;
    let asked = ExplainRequest { as_user: Some("a-abe".to_owned()), ..request };
    shop.world.gateway.explain_query(&call, asked).await.unwrap();
    call.log().finish(ringfence_gateway::Decision::Allowed).await.unwrap();
    let record = shop.world.record(call.log()).await.record;
    assert_eq!(
        (record.user.as_deref(), record.acting_for.as_deref(), record.action.as_str()),
        (Some("a-boss"), Some("a-abe"), "explain-query")
    );
    assert_eq!(record.connection.as_deref(), Some(shop.key.as_str()));
}

#[tokio::test]
async fn administrators_learn_each_rule() {
    let shop = Shop::guarded("explain_rules").await;
    let statement = "SELECT id, card FROM orders WHERE id = $1 AND 10 / id > 1";
    let view = shop.administrators("a-ann", statement, |_| {}).await;
    let sent = view.sent.unwrap();
    assert!(sent.sql.contains("\"public\".\"orders\"") && sent.barrier && !sent.cached && !sent.changes);
    let parameters: Vec<_> = sent.parameters.iter().map(|parameter| parameter.is.as_str()).collect();
    let literals = parameters.iter().filter(|is| **is == "a literal of the statement").count();
    assert_eq!(
        (parameters[0], parameters.len()),
        ("parameter 1 of the caller", 2 + literals),
        "{parameters:?}"
    );
    let tenant = sent.parameters.iter().find(|parameter| parameter.is == "principal.tenant_id");
    assert_eq!(tenant.unwrap().value, Some("a-t1".into()));
    assert_eq!((view.policy_version, view.refusal), (Some(1), None));
    assert!(view.catalog_version.is_some() && view.asked.has_connection);
    let orders = &view.relations[0];
    assert_eq!(orders.rows.as_deref(), Some("tenant_id = principal.tenant_id"));
    let rules: Vec<_> =
        orders.row_reasons.iter().map(|reason| (reason.effect, reason.rule.as_str())).collect();
    assert_eq!(
        rules,
        [("nothing", "the row policy everything"), ("narrows", "the scope tenant_id = principal.tenant_id")]
    );
    let shown: Vec<_> = orders.columns.iter().map(|column| (column.name.as_str(), column.shown)).collect();
    let plain = |name| (name, ColumnShown::Plain);
    assert_eq!(
        shown,
        [
            plain("id"),
            plain("tenant_id"),
            plain("status"),
            ("card", ColumnShown::Masked),
            ("note", ColumnShown::Hidden)
        ]
    );
    assert_eq!(orders.columns[4].reasons[0].effect, "takes");
    assert!(orders.columns[4].reasons[0].line.is_some());
    assert_eq!(orders.permits, [Permit::Allow, Permit::Allow, Permit::Approval]);
    assert!(view.plan.is_none());
    // Somebody of an equal view has run it.
    assert!(shop.administrators("a-abe", statement, |_| {}).await.sent.unwrap().cached);

    // What is hidden has its reason too, also when the statement is refused.
    let view = shop.administrators("a-ann", "SELECT * FROM secrets, nowhere", |_| {}).await;
    assert_eq!(view.refusal.unwrap().code, Code::RelationUnknown);
    let told: Vec<_> = view
        .relations
        .iter()
        .map(|relation| (relation.relation.name.as_str(), &relation.reasons[0]))
        .collect();
    assert_eq!((told[0].0, told[0].1.rule.as_str()), ("secrets", "default: deny"));
    assert!(told[1].1.rule.contains("there is no such relation"), "{told:?}");
    let view = shop.administrators("a-ann", "SELECT * FROM regions", |_| {}).await;
    assert!(view.relations[0].denial.as_ref().unwrap().contains("principal.attributes.region"));

    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    let view = shop.administrators("a-ann", "SELECT id FROM orders", |_| {}).await;
    assert_eq!(view.relations[0].rows, None);
    assert_eq!(view.sent.unwrap().bypasses[0].1, "everything");
    assert!(view.relations[0].row_reasons.iter().any(|reason| reason.effect == "lifts"));
}

#[tokio::test]
async fn secrets_stay_secret() {
    let shop = Shop::open("explain_secrets").await;
    shop.put(&POLICY.replace(r#"{ action: mask, mask_pattern: "****{last4}" }"#, "hash")).await;
    let key = shop.world.store.mask_key(&OrgId::new("a").unwrap(), &TenantId::new("a-t1").unwrap());
    let mut shown = false;
    for statement in [
        "SELECT id, card FROM orders WHERE card = 'x'",
        "UPDATE orders SET status = 'x' WHERE card = 'y' RETURNING card",
    ] {
        let view = shop.administrators("a-ann", statement, |request| request.plan = true).await;
        assert_eq!(view.refusal, None, "{statement}");
        let plan = view.plan.as_ref().unwrap_or_else(|| panic!("{statement} has no plan"));
        assert!(plan.iter().any(|line| line.contains("orders") && line.contains("cost=")), "{plan:?}");
        // A read is a sub-query behind a barrier, whose expressions a plan does not show.
        shown |= plan.iter().any(|line| line.contains("***"));
        let names: Vec<_> = view.sent.as_ref().unwrap().parameters.iter().collect();
        let secret = names.iter().find(|parameter| parameter.is == "the tenant's key for hashes");
        assert_eq!(secret.unwrap().value, None);
        let text = format!("{view:?}");
        assert!(!text.contains(&key), "the key is in {text}");
    }
    assert!(shown, "no plan would have shown the key");
}

#[tokio::test]
async fn plans_come_from_the_other_databases_too() {
    let world = crate::world::World::new().await;
    let sql =
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant_id TEXT); INSERT INTO orders VALUES (1, 'a-t1')";
    let spec = crate::sources::file(&world, "explain.db", sql);
    let key = crate::sources::indexed(&world, "a-boss", &spec, None).await;
    let document = "models: { O: { table: orders, scoping: { tenant_id: principal.tenant_id } } }".to_owned();
    let new = ringfence_gateway::policies::NewPolicy {
        document,
        comment: None,
        expected: ringfence_store::policies::Expected::Any,
    };
    world.gateway.put_policy(&world.call_as("a-boss").await, &key, new).await.unwrap();
    let request = ExplainRequest {
        key,
        query: QueryRequest {
            statement: "SELECT count(*) FROM orders".to_owned(),
            ..QueryRequest::default()
        },
        plan: true,
        ..ExplainRequest::default()
    };
    match world.gateway.explain_query(&world.call_as("a-boss").await, request).await.unwrap() {
        Explanation::Administrator(view) => {
            assert!(view.plan.as_ref().unwrap().iter().any(|line| line.contains("SCAN")), "{view:?}");
        }
        Explanation::Caller(view) => panic!("{view:?}"),
    }
}
