//! Approvals: who decides, what runs, as whom, and how often.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use ringfence_gateway::approvals::{ApprovalLookup, NewApproval, Operation, Operations, Side};
use ringfence_gateway::{Call, Code, Decision, Gateway, Refused};
use ringfence_policy::{Role, TenantId, UserId};
use ringfence_store::approvals::{Approval, ApprovalState as S};
use ringfence_store::audit::AuditFilter;
use ringfence_store::users::UserChange;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::world::{World, begin, code, eventually, key_of, same_refusal};

/// Runs what the operation says, and remembers as whom.
#[derive(Default)]
struct Trial {
    ran: Mutex<Vec<(String, Value)>>,
    seen: Mutex<Vec<(String, String)>>,
}

/// Runs that wait go on when there is a permit.
static GATE: Semaphore = Semaphore::const_new(0);

impl Operations for Trial {
    fn execute<'a>(
        &'a self,
        _: &'a Gateway,
        requester: &'a Call,
        operation: Operation<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>> {
        Box::pin(async move {
            let user = requester.principal().user.to_string();
            self.ran.lock().push((user, operation.value.clone()));
            match operation.value["how"].as_str() {
                Some("fail") => Err(Refused::new(Code::WriteConflict, "somebody was faster")),
                Some("panic") => panic!("as the test wants it"),
                Some("wait") => {
                    GATE.acquire().await.unwrap().forget();
                    Ok(json!({"waited": true}))
                }
                _ => Ok(json!({"done": operation.action})),
            }
        })
    }

    fn preview<'a>(
        &'a self,
        _: &'a Gateway,
        requester: &'a Call,
        viewer: &'a Call,
        operation: Operation<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>> {
        Box::pin(async move {
            let (user, viewer) =
                (requester.principal().user.to_string(), viewer.principal().user.to_string());
            self.seen.lock().push((user, viewer));
            Ok(json!({"would": operation.value}))
        })
    }
}

const CHIEF: &str = "ROLE_CHIEF";

/// A world in which a-lead, a-abe (of another tenant), a-ann and b-lead are chiefs, and a-ann and a-boss have a connection.
async fn world() -> (World, Arc<Trial>) {
    let trial = Arc::new(Trial::default());
    let world = World::operating(trial.clone()).await;
    rusqlite::Connection::open(world.data().join("shop.db"))
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    for chief in ["a-lead", "a-abe", "a-ann", "b-lead"] {
        let change = UserChange { data_roles: Some(vec![CHIEF.to_owned()]), ..UserChange::default() };
        world.store.users().update(&user(chief), &change).await.unwrap();
    }
    for owner in ["a-ann", "a-user", "a-boss"] {
        world.connect(owner).await;
    }
    (world, trial)
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

async fn ask(world: &World, call: &Call, how: &str, expires: Duration) -> Result<Approval, Refused> {
    let connection = world.connect("a-ann").await;
    let approvers = [CHIEF.to_owned(), Role::OrgAdminUser.name().to_owned()];
    let new = NewApproval {
        connection: connection.as_str(),
        model: "Order",
        action: "delete",
        operation: json!({"how": how, "secret": "s3cret-value"}),
        approvers: &approvers,
        expires,
        reason: Some("a duplicate"),
    };
    world.gateway.request_approval(call, new).await
}

async fn ticket(world: &World, how: &str) -> String {
    let ann = world.call_as("a-ann").await;
    ask(world, &ann, how, Duration::from_mins(10)).await.unwrap().id.to_string()
}

async fn state(world: &World, id: &str) -> Approval {
    let id = id.parse().unwrap();
    world.store.approvals().get(&id, jiff::Timestamp::now().as_millisecond()).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_approved_runs_as_its_requester() {
    let (world, trial) = world().await;
    let mut news = world.gateway.approval_news();
    let (asking, deciding) = (world.call_as("a-ann").await, world.call_as("a-lead").await);
    let id = ask(&world, &asking, "well", Duration::from_mins(10)).await.unwrap().id.to_string();
    let lead = world.call_as("a-lead").await;
    let detail = world.gateway.get_approval(&lead, &id).await.unwrap();
    assert_eq!(detail.preview.unwrap().unwrap()["would"]["how"], "well");
    assert_eq!(*trial.seen.lock(), [("a-ann".to_owned(), "a-lead".to_owned())]);
    assert!(trial.ran.lock().is_empty(), "looking runs nothing");
    let done = world.gateway.approve(&deciding, &id, Some("seen")).await.unwrap();
    assert_eq!((done.state, done.outcome), (S::Executed, None), "the outcome is the requester's view");
    let own = world.gateway.get_approval(&world.call_as("a-ann").await, &id).await.unwrap();
    assert_eq!(own.approval.outcome, Some(json!({"done": "delete"})));
    let ran = trial.ran.lock().clone();
    assert_eq!(ran, [("a-ann".to_owned(), json!({"how": "well", "secret": "s3cret-value"}))]);
    // Once.
    let again = world.call_as("a-boss").await;
    assert_eq!(code(world.gateway.approve(&again, &id, None).await), Code::Conflict);
    assert_eq!(code(world.gateway.reject(&again, &id, None).await), Code::Conflict);
    assert_eq!(trial.ran.lock().len(), 1);
    assert!(world.gateway.get_approval(&lead, &id).await.unwrap().preview.is_none());
    for expected in ["pending", "approved", "running", "executed"] {
        let told = news.recv().await.unwrap();
        assert_eq!((told.state, told.id.as_str(), told.requester.as_str()), (expected, id.as_str(), "a-ann"));
        assert!(!serde_json::to_string(&told).unwrap().contains("s3cret"), "news have no values");
    }
    // Everything is on record, under the names of those who did it.
    for log in [again.log(), asking.log(), deciding.log()] {
        log.finish(Decision::Allowed).await.unwrap();
    }
    for (action, by, reason) in [
        ("request-approval", "a-ann", Some("a duplicate")),
        ("approve-operation", "a-lead", Some("seen")),
        ("execute-approval", "a-ann", Some("a duplicate")),
        ("preview-approval", "a-ann", Some("a duplicate")),
    ] {
        let (action, user) = (Some(action.to_owned()), Some(by.to_owned()));
        let filter = AuditFilter { action, user, ..AuditFilter::default() };
        let found = eventually(|| async {
            let records = world.store.audit().list(&filter, 10).await.unwrap();
            records.into_iter().find(|found| found.record.object.as_deref() == Some(&id))
        });
        assert_eq!(found.await.record.reason.as_deref(), reason, "{filter:?}");
    }
}

#[tokio::test]
async fn a_failed_run_says_why_and_is_not_repeated() {
    let (world, trial) = world().await;
    let lead = world.call_as("a-lead").await;
    let id = ticket(&world, "fail").await;
    let failed = world.gateway.approve(&lead, &id, None).await.unwrap();
    assert_eq!((failed.state, failed.failure.as_deref()), (S::Failed, Some("WRITE_CONFLICT")));
    assert_eq!(state(&world, &id).await.outcome.unwrap()["message"], "somebody was faster");
    world.gateway.settle_approvals().await.unwrap();
    assert_eq!(trial.ran.lock().len(), 1);
}

#[tokio::test]
async fn a_requester_never_decides() {
    let (world, trial) = world().await;
    let ann = world.call_as("a-ann").await;
    let id = ticket(&world, "well").await;
    // In the requester's own name, through somebody who acts for them, and as another for whom the same person acts.
    assert_eq!(code(world.gateway.approve(&ann, &id, None).await), Code::NotPermitted);
    let as_ann = world.call_for("a-boss", "a-ann").await;
    assert_eq!(code(world.gateway.approve(&as_ann, &id, None).await), Code::NotPermitted);
    let other = ask(&world, &as_ann, "well", Duration::from_mins(10)).await.unwrap().id.to_string();
    for (admin, target) in [("a-boss", None), ("a-boss", Some("a-lead"))] {
        let call = world.authenticate(admin, target).await.unwrap();
        let refused = world.gateway.approve(&call, &other, None).await;
        let missing = world.gateway.approve(&call, &"0".repeat(40), None).await;
        assert_eq!(same_refusal(refused, missing), Code::NotFound, "{admin} as {target:?}");
        assert_eq!(code(world.gateway.reject(&call, &other, None).await), Code::NotFound);
        let lookup = ApprovalLookup { limit: 10, ..ApprovalLookup::default() };
        let (listed, _) = world.gateway.list_approvals(&call, &lookup).await.unwrap();
        assert!(listed.iter().all(|ticket| ticket.id.to_string() != other), "{admin} as {target:?}");
    }
    assert!(trial.ran.lock().is_empty());
    let lead = world.call_as("a-lead").await;
    assert_eq!(world.gateway.approve(&lead, &other, None).await.unwrap().state, S::Executed);
    let peer = world.call_for("a-boss", "a-lead").await;
    assert_eq!(
        world.gateway.approve(&peer, &id, None).await.unwrap().state,
        S::Executed,
        "a-boss had no part in it"
    );
}

#[tokio::test]
async fn approvers_reach_their_own_alone() {
    let (world, trial) = world().await;
    let id = ticket(&world, "well").await;
    // A chief of another organization, one of another tenant, an administrator of another organization, somebody without the role,
    // and one who rules over everything and has no such role.
    for stranger in ["b-lead", "a-abe", "b-boss", "a-trial-api", "a-super"] {
        let call = world.call_as(stranger).await;
        let missing = "0123456789abcdef0123456789abcdef01234567";
        let gateway = &world.gateway;
        same_refusal(gateway.get_approval(&call, &id).await, gateway.get_approval(&call, missing).await);
        same_refusal(gateway.approve(&call, &id, None).await, gateway.approve(&call, missing, None).await);
        same_refusal(gateway.reject(&call, &id, None).await, gateway.reject(&call, "no id", None).await);
        let withdrawn = gateway.withdraw_approval(&call, &id).await;
        same_refusal(withdrawn, gateway.withdraw_approval(&call, missing).await);
        for side in [Side::Approver, Side::Requester] {
            let lookup = ApprovalLookup { side, limit: 10, ..ApprovalLookup::default() };
            assert!(
                gateway.list_approvals(&call, &lookup).await.unwrap().0.is_empty(),
                "{stranger} {side:?}"
            );
        }
    }
    assert!(trial.ran.lock().is_empty() && trial.seen.lock().is_empty());
    // Who may read the organization's tenants reaches them all.
    let peer = world.call_as("a-peer").await;
    assert_eq!(world.gateway.approve(&peer, &id, None).await.unwrap().state, S::Executed);
}

#[tokio::test]
async fn tickets_are_listed_rejected_and_withdrawn() {
    let (world, trial) = world().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(ticket(&world, "well").await);
    }
    ids.reverse();
    let (ann, lead) = (world.call_as("a-ann").await, world.call_as("a-lead").await);
    for (call, side) in [(&lead, Side::Approver), (&ann, Side::Requester)] {
        let mut lookup = ApprovalLookup { side, limit: 2, ..ApprovalLookup::default() };
        let mut seen = Vec::new();
        loop {
            let (page, next) = world.gateway.list_approvals(call, &lookup).await.unwrap();
            seen.extend(page.into_iter().map(|ticket| ticket.id.to_string()));
            let Some(next) = next else { break };
            lookup.after = Some(next.to_string());
        }
        assert_eq!(seen, ids);
    }
    assert_eq!(code(world.gateway.withdraw_approval(&lead, &ids[0]).await), Code::NotPermitted);
    let rejected = world.gateway.reject(&lead, &ids[0], Some("no")).await.unwrap();
    assert_eq!((rejected.state, rejected.decision.unwrap().reason.as_deref()), (S::Rejected, Some("no")));
    assert_eq!(world.gateway.withdraw_approval(&ann, &ids[1]).await.unwrap().state, S::Withdrawn);
    for over in &ids[..2] {
        assert_eq!(code(world.gateway.approve(&lead, over, None).await), Code::Conflict);
        assert_eq!(code(world.gateway.withdraw_approval(&ann, over).await), Code::Conflict);
    }
    let pending = ApprovalLookup { state: Some(S::Pending), limit: 10, ..ApprovalLookup::default() };
    assert_eq!(world.gateway.list_approvals(&lead, &pending).await.unwrap().0.len(), 3);
    assert!(trial.ran.lock().is_empty());
}

#[tokio::test]
async fn nothing_is_decided_too_late() {
    let (world, trial) = world().await;
    let (ann, lead) = (world.call_as("a-ann").await, world.call_as("a-lead").await);
    let id = ask(&world, &ann, "well", Duration::ZERO).await.unwrap().id.to_string();
    assert_eq!(code(world.gateway.approve(&lead, &id, None).await), Code::Conflict);
    let expired = ApprovalLookup { state: Some(S::Expired), limit: 10, ..ApprovalLookup::default() };
    assert_eq!(world.gateway.list_approvals(&lead, &expired).await.unwrap().0.len(), 1);
    let mut news = world.gateway.approval_news();
    world.gateway.settle_approvals().await.unwrap();
    assert_eq!(state(&world, &id).await.state, S::Expired);
    let told = news.try_recv();
    assert!(told.is_ok_and(|told| told.state == "expired"), "or the gateway's own upkeep told it before");
    assert!(trial.ran.lock().is_empty());
}

#[tokio::test]
async fn two_nodes_run_a_ticket_once() {
    let (world, trial) = world().await;
    let again = Arc::new(Trial::default());
    let other = world.operating_again(again.clone()).await;
    for _ in 0..10 {
        let id = ticket(&world, "well").await;
        let lead = world.call_as("a-lead").await;
        let boss = other.authenticate(&begin(&other), Some(&key_of("a-boss")), None).await.unwrap();
        let (one, two) =
            tokio::join!(world.gateway.approve(&lead, &id, None), other.approve(&boss, &id, None));
        let (settled, _) = tokio::join!(world.gateway.settle_approvals(), other.settle_approvals());
        settled.unwrap();
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
        assert_eq!(state(&world, &id).await.state, S::Executed);
    }
    assert_eq!(trial.ran.lock().len() + again.ran.lock().len(), 10);
    other.shutdown().await;
}

#[tokio::test]
async fn a_dead_run_is_not_repeated() {
    let (world, trial) = world().await;
    let lead = world.call_as("a-lead").await;
    let id = ticket(&world, "panic").await;
    assert_eq!(code(world.gateway.approve(&lead, &id, None).await), Code::Internal);
    assert_eq!(state(&world, &id).await.state, S::Running, "nobody knows yet");
    world.gateway.settle_approvals().await.unwrap();
    assert_eq!(state(&world, &id).await.state, S::Running, "it may be alive elsewhere");
    world.change_store(&format!("UPDATE approvals SET runs_until = 1 WHERE id = '{id}'")).await;
    world.gateway.settle_approvals().await.unwrap();
    let buried = state(&world, &id).await;
    assert_eq!((buried.state, buried.failure.as_deref()), (S::Failed, Some("OUTCOME_UNKNOWN")));
    world.gateway.settle_approvals().await.unwrap();
    assert_eq!(trial.ran.lock().len(), 1);
    // One whose node died before it began is taken up.
    let id = ticket(&world, "well").await;
    let left = format!("UPDATE approvals SET state = 'approved', decided_at = 1 WHERE id = '{id}'");
    world.change_store(&left).await;
    world.gateway.settle_approvals().await.unwrap();
    assert_eq!(state(&world, &id).await.state, S::Executed);
    assert_eq!(trial.ran.lock().len(), 2);
}

#[tokio::test]
async fn a_run_goes_on_when_nobody_waits_for_it() {
    let (world, _) = world().await;
    let id = ticket(&world, "wait").await;
    let lead = world.call_as("a-lead").await;
    {
        let approving = world.gateway.approve(&lead, &id, None);
        tokio::pin!(approving);
        let runs = eventually(|| async { (state(&world, &id).await.state == S::Running).then_some(()) });
        tokio::select! {
            ended = &mut approving => panic!("{ended:?}"),
            () = runs => {}
        }
    }
    GATE.add_permits(1);
    eventually(|| async { (state(&world, &id).await.state == S::Executed).then_some(()) }).await;
}

#[tokio::test]
async fn the_requester_is_made_again_when_it_runs() {
    let (world, trial) = world().await;
    let lead = world.call_as("a-lead").await;
    let changes = [
        UserChange { roles: Some(vec![Role::User]), ..UserChange::default() },
        UserChange { roles: Some(vec![Role::AdminUser]), ..UserChange::default() },
        UserChange { data_roles: Some(Vec::new()), ..UserChange::default() },
        UserChange {
            home: Some((TenantId::new("a-t2").unwrap(), "a".parse().unwrap())),
            ..UserChange::default()
        },
    ];
    for change in changes {
        let id = ticket(&world, "well").await;
        world.store.users().update(&user("a-ann"), &change).await.unwrap();
        let failed = world.gateway.approve(&lead, &id, None).await.unwrap();
        assert_eq!(
            (failed.state, failed.failure.as_deref()),
            (S::Failed, Some("NOT_PERMITTED")),
            "{change:?}"
        );
        let back = UserChange {
            roles: Some(vec![Role::ApiUser]),
            data_roles: Some(vec![CHIEF.to_owned()]),
            home: Some((TenantId::new("a-t1").unwrap(), "a".parse().unwrap())),
            ..UserChange::default()
        };
        world.store.users().update(&user("a-ann"), &back).await.unwrap();
    }
    // Who asked in the requester's name may not do so any more.
    let as_ann = world.call_for("a-boss", "a-ann").await;
    let id = ask(&world, &as_ann, "well", Duration::from_mins(10)).await.unwrap().id.to_string();
    let demoted = UserChange { roles: Some(vec![Role::ApiUser]), ..UserChange::default() };
    world.store.users().update(&user("a-boss"), &demoted).await.unwrap();
    assert_eq!(world.gateway.approve(&lead, &id, None).await.unwrap().state, S::Failed);
    // The connection leads elsewhere.
    let id = ticket(&world, "well").await;
    world.change_store(&format!("UPDATE approvals SET place = 'elsewhere' WHERE id = '{id}'")).await;
    assert_eq!(world.gateway.approve(&lead, &id, None).await.unwrap().state, S::Failed);
    assert!(trial.ran.lock().is_empty());
    // Tickets go with the account: another of that name inherits nothing.
    let id = ticket(&world, "well").await;
    world.store.users().delete(&user("a-ann")).await.unwrap();
    assert_eq!(code(world.gateway.approve(&lead, &id, None).await), Code::NotFound);
}

#[tokio::test]
async fn requests_have_bounds() {
    let (world, _) = world().await;
    let ann = world.call_as("a-ann").await;
    let connection = world.connect("a-ann").await;
    let roles = [CHIEF.to_owned()];
    let new = |operation, approvers| NewApproval {
        connection: connection.as_str(),
        model: "Order",
        action: "delete",
        operation,
        approvers,
        expires: Duration::from_mins(1),
        reason: None,
    };
    let nobody = world.gateway.request_approval(&ann, new(json!(1), &[])).await;
    assert_eq!(code(nobody), Code::PolicyUnusable);
    let large = json!("x".repeat(2 * 1024 * 1024));
    assert_eq!(code(world.gateway.request_approval(&ann, new(large, &roles)).await), Code::InvalidRequest);
    let elsewhere = NewApproval { connection: "sqlite://none", ..new(json!(1), &roles) };
    assert_eq!(code(world.gateway.request_approval(&ann, elsewhere).await), Code::NotFound);
    for _ in 0..100 {
        world.gateway.request_approval(&ann, new(json!(1), &roles)).await.unwrap();
    }
    let one_more = world.gateway.request_approval(&ann, new(json!(1), &roles)).await;
    assert_eq!(code(one_more), Code::RateLimited);
}
