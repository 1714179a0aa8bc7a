//! Approvals: what is asked for is sealed, each step is made once, and each caller finds their own.

use ringfence_policy::{ConnectionKey, TenantId, UserId};
use ringfence_store::approvals::{
    Approval, ApprovalFilter, ApprovalId, ApprovalRequest, ApprovalState, Decision, Step,
};
use ringfence_store::{SealingKey, Store, StoreError};
use serde_json::json;

use crate::world::{World, org, two_organizations, user_id};

const MADE: i64 = 1_000;
const EXPIRES: i64 = 9_000;

fn request(requester: &str, org_id: &str, tenant: &str) -> ApprovalRequest {
    ApprovalRequest {
        org: org(org_id),
        tenant: TenantId::new(tenant).unwrap(),
        account: user_id(requester),
        requester: user_id(requester),
        presenter: user_id(requester),
        principal: json!({"roles": ["api-user"], "mark": "principal-mark"}),
        place: "postgresql://db/shop".to_owned(),
        connection: ConnectionKey::new("shop").unwrap(),
        model: "Order".to_owned(),
        action: "delete".to_owned(),
        operation: json!({"delete": {"id": 7}, "mark": "operation-mark"}),
        approvers: vec!["ROLE_CHIEF".to_owned(), "org-admin-user".to_owned(), "ROLE_CHIEF".to_owned()],
        reason: Some("a duplicate".to_owned()),
        expires_at: EXPIRES,
    }
}

async fn ticket(store: &Store, requester: &str, org_id: &str, tenant: &str) -> ApprovalId {
    let id = ApprovalId::generate();
    store.approvals().create(&id, &request(requester, org_id, tenant), MADE).await.unwrap();
    id
}

async fn get(store: &Store, id: &ApprovalId, now: i64) -> Approval {
    store.approvals().get(id, now).await.unwrap().expect("it is there")
}

fn decision() -> Decision {
    Decision { approver: user_id("abe"), presenter: user_id("abe"), reason: Some("fine".to_owned()) }
}

async fn step(store: &Store, id: &ApprovalId, step: Step<'_>, now: i64) -> bool {
    store.approvals().step(id, &step, now).await.unwrap()
}

pub(crate) async fn tickets_are_sealed_and_come_back(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let id = ticket(&store, "ann", "acme", "acme-1").await;
    let found = get(&store, &id, MADE).await;
    let mut asked = request("ann", "acme", "acme-1");
    asked.approvers = vec!["ROLE_CHIEF".to_owned(), "org-admin-user".to_owned()];
    assert_eq!((&found.request, found.state, found.created_at), (&asked, ApprovalState::Pending, MADE));
    assert!(step(&store, &id, Step::Approve(&decision()), 2_000).await);
    assert!(step(&store, &id, Step::Start { runner: "n", until: 5_000 }, 2_001).await);
    let outcome = json!({"deleted": 1, "mark": "outcome-mark"});
    assert!(step(&store, &id, Step::Finish { runner: "n", failure: None, outcome: &outcome }, 3_000).await);
    let bytes = world.bytes().await;
    for mark in ["principal-mark", "operation-mark", "outcome-mark"] {
        assert!(!bytes.windows(mark.len()).any(|part| part == mark.as_bytes()), "{mark} is in clear");
    }
    let new_key = SealingKey::generate();
    store.rotate_sealing_key(new_key).await.unwrap();
    let found = get(&store, &id, MADE).await;
    assert_eq!((found.request, found.state), (asked, ApprovalState::Executed));
    assert_eq!((found.decided_at, found.executed_at), (Some(2_000), Some(3_000)));
    assert_eq!((found.decision, found.outcome, found.failure), (Some(decision()), Some(outcome), None));
    // What is sealed for one ticket opens in no other.
    let other = ticket(&store, "ann", "acme", "acme-1").await;
    world
        .raw(&format!(
            "UPDATE approvals SET operation = (SELECT operation FROM approvals WHERE id = '{id}') WHERE id = '{other}'"
        ))
        .await;
    let moved = store.approvals().get(&other, MADE).await;
    assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
    let nobody =
        store.approvals().create(&ApprovalId::generate(), &request("nobody", "acme", "acme-1"), MADE).await;
    assert!(matches!(nobody, Err(StoreError::Missing { .. })), "{nobody:?}");
}

/// Brings a new ticket to a state.
async fn brought(store: &Store, state: ApprovalState) -> ApprovalId {
    let id = ticket(store, "ann", "acme", "acme-1").await;
    let decision = decision();
    let (start, outcome) = (Step::Start { runner: "n", until: 5_000 }, json!(1));
    let steps = match state {
        ApprovalState::Pending => vec![],
        ApprovalState::Approved => vec![Step::Approve(&decision)],
        ApprovalState::Rejected => vec![Step::Reject(&decision)],
        ApprovalState::Withdrawn => vec![Step::Withdraw],
        ApprovalState::Running => vec![Step::Approve(&decision), start],
        ApprovalState::Executed => vec![
            Step::Approve(&decision),
            start,
            Step::Finish { runner: "n", failure: None, outcome: &outcome },
        ],
        ApprovalState::Failed => vec![
            Step::Approve(&decision),
            start,
            Step::Finish { runner: "n", failure: Some("QUERY_FAILED"), outcome: &outcome },
        ],
        ApprovalState::Expired => {
            store.approvals().expire(EXPIRES).await.unwrap();
            vec![]
        }
    };
    for made in steps {
        assert!(step(store, &id, made, MADE + 1).await, "{state:?}");
    }
    assert_eq!(get(store, &id, MADE + 2).await.state, state);
    id
}

pub(crate) async fn steps_are_made_from_their_own_states(world: World) {
    use ApprovalState as S;
    let store = world.open().await;
    two_organizations(&store).await;
    let (decision, outcome) = (decision(), json!(2));
    let steps: [(Step<'_>, S, S); 6] = [
        (Step::Approve(&decision), S::Pending, S::Approved),
        (Step::Reject(&decision), S::Pending, S::Rejected),
        (Step::Withdraw, S::Pending, S::Withdrawn),
        (Step::Start { runner: "m", until: 6_000 }, S::Approved, S::Running),
        (Step::Keep { runner: "n", until: 6_000 }, S::Running, S::Running),
        (Step::Finish { runner: "n", failure: None, outcome: &outcome }, S::Running, S::Executed),
    ];
    for (made, from, to) in &steps {
        for state in S::ALL {
            let id = brought(&store, state).await;
            let done = step(&store, &id, made.clone(), MADE + 3).await;
            assert_eq!(done, state == *from, "{made:?} from {state:?}");
            assert_eq!(get(&store, &id, MADE + 4).await.state, if done { *to } else { state });
        }
    }
    let unknown = ApprovalId::generate();
    for (made, _, _) in steps {
        assert!(!step(&store, &unknown, made, MADE).await);
    }
    // Another's run is not mine to keep or to end.
    let id = brought(&store, S::Running).await;
    assert!(!step(&store, &id, Step::Keep { runner: "m", until: 9_999 }, MADE).await);
    assert!(!step(&store, &id, Step::Finish { runner: "m", failure: None, outcome: &outcome }, MADE).await);
}

pub(crate) async fn nobody_decides_too_late(world: World) {
    use ApprovalState as S;
    let store = world.open().await;
    two_organizations(&store).await;
    let id = ticket(&store, "ann", "acme", "acme-1").await;
    let decision = decision();
    for made in [Step::Approve(&decision), Step::Reject(&decision), Step::Withdraw] {
        assert!(!step(&store, &id, made, EXPIRES).await);
    }
    let listed = async |state, now| {
        let filter = ApprovalFilter { state: Some(state), ..ApprovalFilter::default() };
        store.approvals().list(&filter, now, 10).await.unwrap().len()
    };
    assert_eq!((listed(S::Pending, EXPIRES - 1).await, listed(S::Expired, EXPIRES - 1).await), (1, 0));
    assert_eq!((listed(S::Pending, EXPIRES).await, listed(S::Expired, EXPIRES).await), (0, 1));
    assert_eq!(store.approvals().expire(EXPIRES - 1).await.unwrap(), []);
    assert_eq!(store.approvals().expire(EXPIRES).await.unwrap(), std::slice::from_ref(&id));
    assert_eq!(store.approvals().expire(EXPIRES).await.unwrap(), []);
    let found = get(&store, &id, 0).await;
    assert_eq!((found.state, found.decided_at), (S::Expired, Some(EXPIRES)));
}

pub(crate) async fn a_ticket_runs_once(world: World) {
    let (one, other) = (world.open().await, world.open().await);
    two_organizations(&one).await;
    for round in 0..10 {
        let id = ticket(&one, "ann", "acme", "acme-1").await;
        let tries = (0..8).map(|n| {
            let (store, id) = (if n % 2 == 0 { one.clone() } else { other.clone() }, id.clone());
            tokio::spawn(async move {
                let who = user_id(if n % 2 == 0 { "abe" } else { "rob" });
                let decision = Decision { presenter: who.clone(), approver: who, reason: None };
                let approved = step(&store, &id, Step::Approve(&decision), 2_000).await;
                let runner = format!("{n}");
                let began = step(&store, &id, Step::Start { runner: &runner, until: 9_999 }, 2_000).await;
                (approved, began)
            })
        });
        let (mut approved, mut began) = (0, 0);
        for tried in tries.collect::<Vec<_>>() {
            let (did_approve, did_begin) = tried.await.unwrap();
            approved += usize::from(did_approve);
            began += usize::from(did_begin);
        }
        assert_eq!((approved, began), (1, 1), "round {round}");
    }
}

pub(crate) async fn a_run_whose_node_died_is_not_repeated(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let id = brought(&store, ApprovalState::Running).await;
    assert_eq!(store.approvals().left_behind(i64::MAX).await.unwrap(), []);
    assert!(step(&store, &id, Step::Keep { runner: "n", until: 7_000 }, 4_000).await);
    assert_eq!(store.approvals().bury(6_999, "UNKNOWN").await.unwrap(), []);
    assert_eq!(store.approvals().bury(7_000, "UNKNOWN").await.unwrap(), std::slice::from_ref(&id));
    let outcome = json!(3);
    for late in [
        Step::Keep { runner: "n", until: 99_000 },
        Step::Finish { runner: "n", failure: None, outcome: &outcome },
        Step::Start { runner: "m", until: 99_000 },
    ] {
        assert!(!step(&store, &id, late, 8_000).await);
    }
    let found = get(&store, &id, 8_000).await;
    assert_eq!((found.state, found.failure.as_deref()), (ApprovalState::Failed, Some("UNKNOWN")));
    assert_eq!((found.outcome, found.executed_at), (None, Some(7_000)));
    // One that was approved and never began may begin.
    let left = brought(&store, ApprovalState::Approved).await;
    assert_eq!(store.approvals().left_behind(MADE + 1).await.unwrap(), []);
    assert_eq!(store.approvals().left_behind(MADE + 2).await.unwrap(), [left]);
}

pub(crate) async fn each_finds_their_own_tickets(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let mut mine = Vec::new();
    for _ in 0..5 {
        mine.push(ticket(&store, "ann", "acme", "acme-1").await);
    }
    let elsewhere = ticket(&store, "rob", "rival", "rival-1").await;
    let ids = async |filter: &ApprovalFilter, limit| {
        let found = store.approvals().list(filter, MADE, limit).await.unwrap();
        found.into_iter().map(|ticket| ticket.id).collect::<Vec<_>>()
    };
    mine.reverse();
    let of_org = ApprovalFilter { org: Some(org("acme")), ..ApprovalFilter::default() };
    assert_eq!(ids(&of_org, 10).await, mine);
    let second = ApprovalFilter { before: Some(mine[1].clone()), ..of_org.clone() };
    assert_eq!(ids(&second, 2).await, mine[2..4]);
    for unknown in [ApprovalId::generate(), elsewhere.clone()] {
        let after = ApprovalFilter { before: Some(unknown), ..of_org.clone() };
        assert!(ids(&after, 10).await.is_empty(), "a place in somebody else's list");
    }
    let requester = |account: &str, name: &str| ApprovalFilter {
        requester: Some((user_id(account), user_id(name))),
        ..ApprovalFilter::default()
    };
    assert_eq!(ids(&requester("ann", "ann"), 10).await.len(), 5);
    assert!(ids(&requester("ann", "abe"), 10).await.is_empty());
    let roles = |roles: &[&str], not_by: &[&str]| ApprovalFilter {
        roles: Some(roles.iter().map(|&role| role.to_owned()).collect()),
        not_by: not_by.iter().map(|user| user_id(user)).collect::<Vec<UserId>>(),
        ..of_org.clone()
    };
    assert_eq!(ids(&roles(&["other", "ROLE_CHIEF"], &["abe"]), 10).await.len(), 5);
    for (with, not_by) in [(&["other"][..], &[][..]), (&[], &[]), (&["ROLE_CHIEF"], &["ann"])] {
        assert!(ids(&roles(with, not_by), 10).await.is_empty(), "{with:?} {not_by:?}");
    }
    let of_tenant = ApprovalFilter { tenant: Some(TenantId::new("acme-2").unwrap()), ..of_org.clone() };
    assert!(ids(&of_tenant, 10).await.is_empty());
    assert_eq!(store.approvals().count(&of_org, MADE).await.unwrap(), 5);
    store.users().delete(&user_id("ann")).await.unwrap();
    assert_eq!(store.approvals().count(&of_org, MADE).await.unwrap(), 0, "they go with the account");
    assert!(store.approvals().get(&elsewhere, MADE).await.unwrap().is_some());
}
