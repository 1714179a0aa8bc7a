//! What every call leaves behind.

use std::time::Duration;

use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Code, Decision, Door};
use ringfence_policy::TraceId;
use ringfence_store::audit::{AuditFilter, AuditRecord, ChainVerdict};
use secrecy::ExposeSecret;

use crate::world::{ROOT, ROOT_KEY, World, attributes, code, eventually, key_of};

fn trace(text: &str) -> TraceId {
    TraceId::new(text).unwrap()
}

#[tokio::test]
async fn a_record_says_who_did_what() {
    let world = World::new().await;
    let log = world.gateway.begin(Door::V1, "POST /v1/users", trace("t-1"));
    let call = world.gateway.authenticate(&log, Some(&key_of("a-boss")), None).await.unwrap();
    let new = UserSpec { id: "new".to_owned(), ..UserSpec::default() };
    world.gateway.create_user(&call, new).await.unwrap();
    log.set_connection("pg://x");
    log.set_statement("f00d", &["public.orders".to_owned()]);
    log.set_rows(7);
    log.finish(Decision::Allowed).await.unwrap();
    let record = world.record(&log).await.record;
    let now = jiff::Timestamp::now().as_millisecond();
    assert!((now - 60_000..=now).contains(&record.at_ms));
    assert!((1..60_000_000).contains(&record.duration_us));
    let text = |text: &str| Some(text.to_owned());
    let expected = AuditRecord {
        at_ms: record.at_ms,
        trace_id: "t-1".to_owned(),
        door: "v1".to_owned(),
        action: "create-user".to_owned(),
        user: text("a-boss"),
        acting_for: None,
        tenant: text("a-t1"),
        org: text("a"),
        connection: text("pg://x"),
        statement: text("f00d"),
        tables: vec!["public.orders".to_owned()],
        object: text("new"),
        rows: Some(7),
        duration_us: record.duration_us,
        decision: "allowed".to_owned(),
        code: None,
        ..AuditRecord::default()
    };
    assert_eq!(record, expected);
}

#[tokio::test]
async fn impersonation_records_both_names() {
    let world = World::new().await;
    let call = world.call_for(ROOT, "b-ann").await;
    world.gateway.list_access_keys(&call).await.unwrap();
    call.log().finish(Decision::Allowed).await.unwrap();
    let record = world.record(call.log()).await.record;
    assert_eq!((record.user.as_deref(), record.acting_for.as_deref()), (Some(ROOT), Some("b-ann")));
    assert_eq!((record.org.as_deref(), record.tenant.as_deref()), (Some("b"), Some("b-t1")));
    // A refused one names the administrator and whom it wanted to be; nobody was acted for.
    let log = world.begin();
    let refused = world.gateway.authenticate(&log, Some(&key_of("a-boss")), Some("b-ann")).await;
    log.finish(Decision::Refused(code(refused))).await.unwrap();
    let record = world.record(&log).await.record;
    assert_eq!((record.user.as_deref(), record.acting_for), (Some("a-boss"), None));
    assert_eq!((record.object.as_deref(), record.org.as_deref()), (Some("b-ann"), Some("a")));
    assert_eq!((record.decision.as_str(), record.code.as_deref()), ("refused", Some("IMPERSONATION_DENIED")));
}

#[tokio::test]
async fn every_end_has_its_word() {
    let world = World::new().await;
    for (decision, word, code) in [
        (Decision::Allowed, "allowed", None),
        (Decision::Abandoned, "abandoned", None),
        (Decision::Refused(Code::KeyUnknown), "refused", Some("KEY_UNKNOWN")),
        (Decision::Refused(Code::QueryRefused), "refused", Some("QUERY_REFUSED")),
        (Decision::Refused(Code::QueryFailed), "failed", Some("QUERY_FAILED")),
        (Decision::Refused(Code::SourceUnreachable), "failed", Some("SOURCE_UNREACHABLE")),
        (Decision::Refused(Code::Internal), "failed", Some("INTERNAL")),
    ] {
        let log = world.begin();
        log.finish(decision).await.unwrap();
        let record = world.record(&log).await.record;
        assert_eq!((record.decision.as_str(), record.code.as_deref()), (word, code));
        assert_eq!((record.user, record.org, record.action.as_str()), (None, None, "test"));
    }
}

#[tokio::test]
async fn who_finishes_twice_leaves_one_record_and_who_never_does_leaves_one_too() {
    let world = World::new().await;
    let twice = world.begin();
    twice.finish(Decision::Refused(Code::NotFound)).await.unwrap();
    twice.finish(Decision::Allowed).await.unwrap();
    assert_eq!(world.record(&twice).await.record.decision, "refused");
    let call = world.call_as("a-ann").await;
    world.gateway.list_access_keys(&call).await.unwrap();
    let filter = AuditFilter { trace_id: Some(call.log().trace_id().to_string()), ..AuditFilter::default() };
    drop(call);
    let record = eventually(async || world.store.audit().list(&filter, 1).await.unwrap().pop()).await.record;
    assert_eq!((record.decision.as_str(), record.action.as_str()), ("abandoned", "list-access-keys"));
    assert_eq!(record.user.as_deref(), Some("a-ann"));
    // The first one was finished: dropping it later adds nothing.
    let filter = AuditFilter { trace_id: Some(twice.trace_id().to_string()), ..AuditFilter::default() };
    drop(twice);
    world.gateway.shutdown().await;
    assert_eq!(world.store.audit().list(&filter, 5).await.unwrap().len(), 1);
}

#[tokio::test]
async fn texts_of_callers_can_not_hold_up_the_log() {
    let world = World::new().await;
    let log = world.gateway.begin(Door::Cli, "a\0b\n", trace("odd"));
    log.set_object(&"é".repeat(10_000));
    log.finish(Decision::Allowed).await.unwrap();
    let record = world.record(&log).await.record;
    assert_eq!((record.action.as_str(), record.door.as_str()), ("a\u{fffd}b\u{fffd}", "cli"));
    assert!(record.object.unwrap().len() <= 1020);
}

#[tokio::test]
async fn strict_records_are_durable_before_the_answer() {
    let world = World::strict().await;
    for _ in 0..5 {
        let log = world.begin();
        log.finish(Decision::Allowed).await.unwrap();
        let filter = AuditFilter { trace_id: Some(log.trace_id().to_string()), ..AuditFilter::default() };
        assert_eq!(world.store.audit().list(&filter, 5).await.unwrap().len(), 1, "without waiting");
    }
}

// On threads of its own: the test waits for the store where the gateway has to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_calls_are_refused_while_the_log_can_not_be_written() {
    let world = World::strict().await;
    let raw = world.raw_store();
    raw.execute_batch("ALTER TABLE audit RENAME TO audit_away").unwrap();
    // The one whose writing fails, and those behind it, are told at once.
    let during = [world.begin(), world.begin(), world.begin()];
    for log in &during {
        let finished = tokio::time::timeout(Duration::from_secs(5), log.finish(Decision::Allowed)).await;
        assert_eq!(code(finished.unwrap()), Code::AuditUnavailable);
    }
    raw.execute_batch("ALTER TABLE audit_away RENAME TO audit").unwrap();
    // The records were kept meanwhile, and then calls are as good as ever.
    for log in &during {
        assert_eq!(world.record(log).await.record.decision, "allowed");
    }
    eventually(async || world.begin().finish(Decision::Allowed).await.ok()).await;
}

// On threads of its own: the test waits for the store where the gateway has to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_log_can_not_be_written() {
    let world = World::with(|config| config.audit_queue = 8).await;
    let raw = world.raw_store();
    raw.execute_batch("ALTER TABLE audit RENAME TO audit_away").unwrap();
    let mut traces = Vec::new();
    let full = loop {
        let log = world.begin();
        let finished = log.finish(Decision::Allowed).await;
        traces.push(log.trace_id().to_string());
        if let Err(refused) = finished {
            break refused;
        }
        assert!(traces.len() < 600, "the queue never fills");
    };
    assert_eq!(full.code, Code::AuditUnavailable);
    // Nothing new is begun then, and what is dropped or given up is remembered all the same.
    assert_eq!(code(world.authenticate("a-ann", None).await), Code::AuditUnavailable);
    let dropped = world.begin();
    traces.push(dropped.trace_id().to_string());
    drop(dropped);
    let given_up = world.begin();
    traces.push(given_up.trace_id().to_string());
    assert!(
        tokio::time::timeout(Duration::from_millis(20), given_up.finish(Decision::Allowed)).await.is_err()
    );
    raw.execute_batch("ALTER TABLE audit_away RENAME TO audit").unwrap();
    for trace_id in traces {
        let filter = AuditFilter { trace_id: Some(trace_id), ..AuditFilter::default() };
        eventually(async || world.store.audit().list(&filter, 1).await.unwrap().pop()).await;
    }
    assert!(world.authenticate("a-ann", None).await.is_ok());
}

#[tokio::test]
async fn shutting_down_writes_everything() {
    let world = World::new().await;
    for _ in 0..300 {
        world.begin().finish(Decision::Allowed).await.unwrap();
    }
    world.gateway.shutdown().await;
    assert_eq!(world.store.audit().list(&AuditFilter::default(), 1000).await.unwrap().len(), 300);
    let verdict = world.store.audit().verify(&|_, _| {}).await.unwrap();
    assert_eq!(verdict, ChainVerdict::Intact { records: 300 });
}

/// Everything that touches keys, by everyone, well and badly; then no secret is in any record.
#[tokio::test]
async fn no_secret_is_in_the_log() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let mut secrets = vec![ROOT_KEY.to_owned()];
    for user in ["a-ann", "a-boss", "b-ann", "a-trial-api", ROOT] {
        secrets.push(key_of(user));
        for round in 0..3 {
            let call = world.call_as(user).await;
            let made = gateway.create_access_key(&call, &format!("key-{round}")).await.unwrap();
            let secret = made.secret.expose_secret().to_owned();
            let _ = gateway.create_access_key(&call, "first").await;
            gateway.list_access_keys(&call).await.unwrap();
            let log = world.begin();
            let with_new = gateway.authenticate(&log, Some(&secret), None).await.unwrap();
            gateway.delete_access_keys(&with_new, &[format!("key-{}", round % 2)]).await.unwrap();
            let config = attributes(&serde_json::json!({ "token": secret }).to_string());
            gateway.update_user_config(&call, &config, &[]).await.unwrap();
            log.finish(Decision::Allowed).await.unwrap();
            // A deleted or mistyped key, and one with a name to act for.
            for (key, target) in
                [(secret.clone(), None), (format!("{secret}x"), None), (secret.clone(), Some("a-ann"))]
            {
                let log = world.begin();
                let ended = match gateway.authenticate(&log, Some(&key), target).await {
                    Ok(_) => Decision::Allowed,
                    Err(refused) => Decision::Refused(refused.code),
                };
                log.finish(ended).await.unwrap();
            }
            secrets.push(secret);
        }
    }
    gateway.shutdown().await;
    let records = world.store.audit().list(&AuditFilter::default(), 10_000).await.unwrap();
    assert!(records.len() >= 75, "{}", records.len());
    let text = serde_json::to_string(&records).unwrap();
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}");
    }
}
