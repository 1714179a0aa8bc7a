//! Who reads the audit log, and what of it.

use std::time::Duration;

use ringfence_gateway::trail::{TrailLookup, TrailPage};
use ringfence_gateway::users::{UserLookup, UserSpec};
use ringfence_gateway::{Code, Decision, GatewayConfig, Refused};
use ringfence_policy::{KeyName, UserId};
use ringfence_store::audit::{AuditFilter, AuditRecord, ChainVerdict, RowChange};
use serde_json::json;

use crate::world::{ROOT, World, code, eventually, key_of};

impl World {
    /// Users with the role, one in each of two organizations.
    async fn with_auditors(&self) {
        for (user, tenant) in [("a-aud", "a-t1"), ("b-aud", "b-t1")] {
            let roles = vec!["auditor".to_owned()];
            let tenant = Some(tenant.to_owned());
            let spec = UserSpec { id: user.to_owned(), tenant, roles, ..UserSpec::default() };
            self.gateway.create_user(&self.call_as(ROOT).await, spec).await.unwrap();
            let (id, name) = (UserId::new(user).unwrap(), KeyName::new("first").unwrap());
            self.store.access_keys().create(&id, &name, &key_of(user).into(), 1).await.unwrap();
        }
    }

    async fn read(&self, user: &str, lookup: TrailLookup) -> Result<TrailPage, Refused> {
        self.gateway.read_audit(&self.call_as(user).await, lookup).await
    }

    /// Records of both organizations and of nobody, 1 to 6, that nothing else looks like.
    async fn scene(&self) {
        let record = |n: i64| AuditRecord {
            at_ms: n,
            action: "scene".to_owned(),
            decision: "allowed".to_owned(),
            trace_id: format!("s-{n}"),
            org: [None, Some("a".to_owned()), Some("b".to_owned())][usize::try_from(n).unwrap() % 3].clone(),
            ..AuditRecord::default()
        };
        let records: Vec<_> = (1..=6).map(record).collect();
        self.store.audit().append(&records).await.unwrap();
    }
}

fn scene() -> TrailLookup {
    let filter = AuditFilter { action: Some("scene".to_owned()), ..AuditFilter::default() };
    TrailLookup { filter, cursor: None, limit: 100 }
}

fn of_org(org: &str) -> TrailLookup {
    let mut lookup = scene();
    lookup.filter.org = Some(org.to_owned());
    lookup
}

fn traces(page: &TrailPage) -> Vec<&str> {
    page.records.iter().map(|record| record.record.trace_id.as_str()).collect()
}

#[tokio::test]
async fn each_reads_their_own_organization() {
    let world = World::new().await;
    world.with_auditors().await;
    world.scene().await;
    assert_eq!(traces(&world.read(ROOT, scene()).await.unwrap()), ["s-1", "s-2", "s-3", "s-4", "s-5", "s-6"]);
    assert_eq!(traces(&world.read(ROOT, of_org("b")).await.unwrap()), ["s-2", "s-5"]);
    for user in ["a-aud", "a-boss"] {
        assert_eq!(traces(&world.read(user, scene()).await.unwrap()), ["s-1", "s-4"], "{user}");
        assert_eq!(traces(&world.read(user, of_org("a")).await.unwrap()), ["s-1", "s-4"], "{user}");
        // Another organization is as empty as one that does not exist, whatever else is asked for.
        let (others, nobodys) =
            (world.read(user, of_org("b")).await, world.read(user, of_org("nowhere")).await);
        assert_eq!(others.unwrap(), nobodys.unwrap(), "{user}");
        let mut by_trace = scene();
        by_trace.filter.trace_id = Some("s-2".to_owned());
        assert!(world.read(user, by_trace).await.unwrap().records.is_empty(), "{user}");
        // Gaps between places in the chain would tell how much others do.
        assert!(
            world.read(user, scene()).await.unwrap().records.iter().all(|record| record.sequence.is_none())
        );
    }
    assert_eq!(traces(&world.read("b-aud", scene()).await.unwrap()), ["s-2", "s-5"]);
    for user in ["a-ann", "a-abe"] {
        assert_eq!(code(world.read(user, scene()).await), Code::NotPermitted, "{user}");
        let call = world.call_as(user).await;
        assert_eq!(
            code(world.gateway.export_audit(&call, AuditFilter::default(), 1).await),
            Code::NotPermitted
        );
    }
}

#[tokio::test]
async fn pages_follow_each_other_for_one_reader() {
    let world = World::new().await;
    world.with_auditors().await;
    world.scene().await;
    let page = |cursor: Option<String>, newest_first: bool| {
        let mut lookup = TrailLookup { cursor, limit: 1, ..scene() };
        lookup.filter.newest_first = newest_first;
        lookup
    };
    for (newest_first, expected) in [(false, ["s-1", "s-4"]), (true, ["s-4", "s-1"])] {
        let first = world.read("a-aud", page(None, newest_first)).await.unwrap();
        assert_eq!(traces(&first), expected[..1]);
        let second = world.read("a-aud", page(first.next.clone(), newest_first)).await.unwrap();
        assert_eq!((traces(&second), &second.next), (expected[1..].to_vec(), &None));
        // Of another organization's reader, it is none.
        for user in ["b-aud", ROOT] {
            let stolen = world.read(user, page(first.next.clone(), newest_first)).await;
            assert_eq!(code(stolen), Code::InvalidRequest, "{user}");
        }
    }
    assert_eq!(code(world.read("a-aud", page(Some("4".to_owned()), false)).await), Code::InvalidRequest);
}

#[tokio::test]
async fn reading_is_recorded() {
    let world = World::new().await;
    world.with_auditors().await;
    world.scene().await;
    let call = world.call_as("a-aud").await;
    world.gateway.read_audit(&call, of_org("a")).await.unwrap();
    call.log().finish(Decision::Allowed).await.unwrap();
    let record = world.record(call.log()).await.record;
    assert_eq!((record.action.as_str(), record.user.as_deref()), ("read-audit", Some("a-aud")));
    assert_eq!((record.object.as_deref(), record.rows), (Some("org=a action=scene"), Some(2)));
    let call = world.call_as("a-ann").await;
    let refused = world.gateway.read_audit(&call, of_org("b")).await;
    call.log().finish(Decision::Refused(code(refused))).await.unwrap();
    let record = world.record(call.log()).await.record;
    assert_eq!((record.decision.as_str(), record.object.as_deref()), ("refused", Some("org=b action=scene")));
}

#[tokio::test]
async fn an_export_has_all_of_it_and_an_end() {
    let world = World::new().await;
    world.with_auditors().await;
    let many: Vec<_> = (0..700)
        .map(|n| AuditRecord {
            at_ms: n,
            action: "scene".to_owned(),
            trace_id: format!("m-{n}"),
            org: Some(if n % 2 == 0 { "a" } else { "b" }.to_owned()),
            ..AuditRecord::default()
        })
        .collect();
    world.store.audit().append(&many).await.unwrap();
    let export = async |user: &str, filter: AuditFilter, most: u64| {
        let call = world.call_as(user).await;
        let mut trail = world.gateway.export_audit(&call, filter, most).await.unwrap();
        let mut all = Vec::new();
        while let Some(records) = trail.next().await.unwrap() {
            all.extend(records);
        }
        all
    };
    let found = export("a-aud", scene().filter, u64::MAX).await;
    assert_eq!(found.len(), 350);
    assert!(found.iter().all(|found| found.record.org.as_deref() == Some("a")));
    assert_eq!(export("a-aud", scene().filter, 260).await.len(), 260);
    assert_eq!(export("a-aud", of_org("b").filter, u64::MAX).await.len(), 0);
    assert_eq!(export(ROOT, scene().filter, u64::MAX).await.len(), 700);
}

/// The auditor sees that a row was changed, and which of its columns, not what is in it.
#[tokio::test]
async fn an_auditor_reads_the_log_and_no_data() {
    let world = World::new().await;
    world.with_auditors().await;
    let call = world.call_as("a-ann").await;
    call.log().set_action("scene");
    let row = |status: &str| {
        let row = json!({ "id": 7, "status": status, "note": null });
        row.as_object().cloned()
    };
    let change = RowChange {
        relation: "public.orders".to_owned(),
        before: row("old secret"),
        after: row("new secret"),
    };
    call.log().add_changes([change.clone()]);
    call.log().set_inputs(json!({ "select": ["id"], "where": { "status": { "eq": "old secret" } } }));
    call.log().finish(Decision::Allowed).await.unwrap();
    let recorded = async |user: &str| {
        eventually(async || world.read(user, scene()).await.unwrap().records.pop()).await.record
    };
    for user in [ROOT, "a-boss"] {
        assert_eq!(recorded(user).await.changes, std::slice::from_ref(&change), "{user}");
    }
    let seen = recorded("a-aud").await;
    let hidden = json!({ "id": "<number>", "status": "<text>", "note": null });
    assert_eq!(serde_json::to_value(&seen.changes[0].before).unwrap(), hidden);
    assert_eq!(seen.inputs, Some(json!({ "select": ["id"], "where": { "status": { "eq": "<text>" } } })));
    assert!(!serde_json::to_string(&seen).unwrap().contains("secret"));
    // Nor is there another way to data, or to more rights.
    let call = world.call_as("a-aud").await;
    let gateway = &world.gateway;
    let query =
        ringfence_gateway::queries::QueryRequest { statement: "SELECT 1".to_owned(), ..Default::default() };
    assert_eq!(code(gateway.run_query(&call, "x", query.clone()).await), Code::NotPermitted);
    assert_eq!(code(gateway.submit_query(&call, "x", query).await), Code::NotPermitted);
    let spec = UserSpec { id: "a-aud".to_owned(), roles: vec!["api-user".to_owned()], ..UserSpec::default() };
    assert_eq!(code(gateway.update_user(&call, spec).await), Code::NotPermitted);
    assert_eq!(code(gateway.list_users(&call, UserLookup::default()).await), Code::NotPermitted);
}

#[tokio::test]
async fn old_records_go_when_the_configuration_says_so() {
    let world = World::new().await;
    // They are of the year 1970.
    world.scene().await;
    let config = GatewayConfig { audit_retention: Some(Duration::from_hours(1)), ..world.config.clone() };
    let (other, _) = world.open_again(config).await.unwrap();
    let pruned = eventually(async || {
        let filter = AuditFilter { action: Some("prune-audit".to_owned()), ..AuditFilter::default() };
        world.store.audit().list(&filter, 1).await.unwrap().pop()
    });
    let record = pruned.await.record;
    assert_eq!((record.rows, record.door.as_str()), (Some(6), "server"));
    assert_eq!(record.object.as_deref(), Some("up to record 6"));
    assert_eq!(world.store.audit().list(&scene().filter, 9).await.unwrap(), []);
    let verdict = world.store.audit().verify(&|_, _| {}).await.unwrap();
    assert!(matches!(verdict, ChainVerdict::Intact { .. }), "{verdict:?}");
    other.shutdown().await;
}
