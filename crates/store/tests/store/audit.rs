//! The audit log and its chain.

use std::sync::Mutex;

use ringfence_store::audit::{AuditFilter, AuditRecord, ChainVerdict};
use ringfence_store::{Store, StoreError};

use crate::world::World;

fn record(n: i64) -> AuditRecord {
    AuditRecord {
        at_ms: 1_000 + n,
        trace_id: format!("trace-{n}"),
        door: "api".to_owned(),
        action: if n % 2 == 0 { "run-query" } else { "create-user" }.to_owned(),
        user: (n % 3 != 0).then(|| "ann".to_owned()),
        acting_for: (n == 4).then(|| "abe".to_owned()),
        tenant: Some("acme-1".to_owned()),
        org: Some(if n == 5 { "rival" } else { "acme" }.to_owned()),
        connection: (n == 2).then(|| "c".to_owned()),
        statement: Some("hash".to_owned()),
        tables: vec!["public.t_é".to_owned(), "\0".to_owned()],
        object: None,
        rows: Some(n),
        duration_us: 3,
        decision: if n == 3 { "refused" } else { "allowed" }.to_owned(),
        code: (n == 3).then(|| "NOT_FOUND".to_owned()),
        approval: (n == 6).then(|| "t-1".to_owned()),
        bypasses: if n == 2 { vec!["public.t: all".to_owned()] } else { Vec::new() },
        reason: (n == 2).then(|| "why not".to_owned()),
        agent: (n == 2).then(|| "assistant".to_owned()),
        model: (n == 2).then(|| "Order".to_owned()),
        scopes: if n == 2 { vec!["public.t: tenant_id = 'acme-1'".to_owned()] } else { Vec::new() },
        ..AuditRecord::default()
    }
}

async fn append(store: &Store, from: i64, to: i64) {
    let records: Vec<_> = (from..=to).map(record).collect();
    store.audit().append(&records).await.unwrap();
}

async fn verdict(store: &Store) -> ChainVerdict {
    store.audit().verify(&|_, _| ()).await.unwrap()
}

pub(crate) async fn records_come_back(world: World) {
    let store = world.open().await;
    store.audit().append(&[]).await.unwrap();
    append(&store, 1, 3).await;
    append(&store, 4, 5).await;
    let all = store.audit().list(&AuditFilter::default(), 100).await.unwrap();
    assert_eq!(all.iter().map(|found| found.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(
        all.iter().map(|found| found.record.clone()).collect::<Vec<_>>(),
        (1..=5).map(record).collect::<Vec<_>>()
    );
    let reopened = world.open().await;
    append(&reopened, 6, 6).await;
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 6 });
}

/// A filter by fields of its JSON-like description: `name=value` pairs.
fn filter(text: &str) -> AuditFilter {
    let mut filter = AuditFilter::default();
    for (name, value) in text.split(' ').filter_map(|pair| pair.split_once('=')) {
        let (words, number) = (Some(value.to_owned()), value.parse().ok());
        match name {
            "org" => filter.org = words,
            "tenant" => filter.tenant = words,
            "user" => filter.user = words,
            "action" => filter.action = words,
            "door" => filter.door = words,
            "decision" => filter.decision = words,
            "connection" => filter.connection = words,
            "trace" => filter.trace_id = words,
            "since" => filter.since_ms = number,
            "until" => filter.until_ms = number,
            "after" => filter.after = number,
            "model" => filter.model = words,
            "relation" => filter.relation = words,
            "code" => filter.code = words,
            "approval" => filter.approval = words,
            "agent" => filter.agent = words,
            "for" => filter.acting_for = words,
            "newest" => filter.newest_first = value == "1",
            _ => panic!("no such field: {name}"),
        }
    }
    filter
}

pub(crate) async fn records_are_filtered(world: World) {
    let store = world.open().await;
    append(&store, 1, 6).await;
    let cases: [(&str, u32, &[i64]); 28] = [
        ("", 2, &[1, 2]),
        ("after=2", 2, &[3, 4]),
        ("org=rival", 9, &[5]),
        ("tenant=acme-1", 9, &[1, 2, 3, 4, 5, 6]),
        ("tenant=acme", 9, &[]),
        ("user=ann", 9, &[1, 2, 4, 5]),
        ("action=run-query", 9, &[2, 4, 6]),
        ("door=api", 9, &[1, 2, 3, 4, 5, 6]),
        ("door=cli", 9, &[]),
        ("decision=refused", 9, &[3]),
        ("connection=c", 9, &[2]),
        ("trace=trace-4", 9, &[4]),
        ("since=1003 until=1005", 9, &[3, 4, 5]),
        ("user=ann action=run-query after=2", 9, &[4]),
        ("org='/**/OR/**/1<2--", 9, &[]),
        ("model=Order", 9, &[2]),
        ("model=order", 9, &[]),
        ("relation=public.t_é", 9, &[1, 2, 3, 4, 5, 6]),
        ("relation=public.t", 9, &[]),
        ("code=NOT_FOUND", 9, &[3]),
        ("approval=t-1", 9, &[6]),
        ("agent=a", 9, &[]),
        ("for=abe", 9, &[4]),
        ("model='/**/OR/**/1<2--", 9, &[]),
        ("relation=\"')/**/OR/**/('1'='1", 9, &[]),
        ("newest=1", 2, &[6, 5]),
        ("newest=1 after=5", 9, &[4, 3, 2, 1]),
        ("newest=1 user=ann after=4", 9, &[2, 1]),
    ];
    for (text, limit, expected) in cases {
        let found = store.audit().list(&filter(text), limit).await.unwrap();
        assert_eq!(found.iter().map(|found| found.sequence).collect::<Vec<_>>(), expected, "{text}");
    }
}

pub(crate) async fn an_untouched_chain_is_intact(world: World) {
    let store = world.open().await;
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 0 });
    append(&store, 1, 1).await;
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 1 });
    append(&store, 2, 40).await;
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 39 + 1 });
}

/// What an intruder with the database's own rights does first.
async fn disarm(world: &World) {
    world
        .raw(if world.is_postgres() {
            "ALTER TABLE audit DISABLE TRIGGER ALL"
        } else {
            "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_removed"
        })
        .await;
}

const COLUMNS: &str =
    "record, mac, at_ms, trace_id, door, action, user_id, tenant_id, org_id, connection, decision";

pub(crate) async fn every_tampering_shows(world: World) {
    let store = world.open().await;
    append(&store, 1, 6).await;
    disarm(&world).await;
    let save = format!(
        "CREATE TABLE saved AS SELECT sequence, {COLUMNS} FROM audit; CREATE TABLE saved_head AS SELECT * FROM audit_head"
    );
    world.raw(&save).await;
    let swap = "UPDATE audit SET sequence = -1 WHERE sequence = 2; UPDATE audit SET sequence = 2 WHERE sequence = 3; \
                UPDATE audit SET sequence = 3 WHERE sequence = -1";
    let insert = |at: i64| {
        format!(
            "INSERT INTO audit (sequence, {COLUMNS}) SELECT {at}, {COLUMNS} FROM audit WHERE sequence = 2"
        )
    };
    let shift = "UPDATE audit SET sequence = -sequence WHERE sequence > 3; UPDATE audit SET sequence = 1 - sequence WHERE sequence < 0; ";
    let close = "DELETE FROM audit WHERE sequence = 3; UPDATE audit SET sequence = -sequence WHERE sequence > 3; \
                 UPDATE audit SET sequence = -sequence - 1 WHERE sequence < 0; UPDATE audit_head SET records = 5";
    let cases = [
        ("a word", "UPDATE audit SET record = REPLACE(record, 'trace-3', 'trace-9') WHERE sequence = 3", 3),
        ("a column that is searched", "UPDATE audit SET org_id = 'other' WHERE sequence = 3", 3),
        ("a column made null", "UPDATE audit SET user_id = NULL WHERE sequence = 4", 4),
        ("a time", "UPDATE audit SET at_ms = at_ms + 1 WHERE sequence = 1", 1),
        ("a MAC", "UPDATE audit SET mac = (SELECT mac FROM saved WHERE sequence = 5) WHERE sequence = 4", 4),
        ("the first removed", "DELETE FROM audit WHERE sequence = 1", 1),
        ("one removed", "DELETE FROM audit WHERE sequence = 3", 3),
        ("one removed and the gap closed", close, 3),
        ("the last removed", "DELETE FROM audit WHERE sequence = 6", 6),
        ("the tail cut off", "DELETE FROM audit WHERE sequence > 2", 3),
        (
            "the tail cut off and counted",
            "DELETE FROM audit WHERE sequence > 2; UPDATE audit_head SET records = 2",
            3,
        ),
        ("all removed", "DELETE FROM audit", 1),
        ("all removed, and the head", "DELETE FROM audit; DELETE FROM audit_head", 1),
        ("two exchanged", swap, 2),
        ("one inserted at the end", &insert(7), 7),
        ("one inserted far away", &insert(900), 7),
        ("one inserted before", &insert(0), 0),
        ("one inserted between", &format!("{shift}{}", insert(4)), 4),
        ("the head's count", "UPDATE audit_head SET records = 5", 6),
        ("the head's MAC", "UPDATE audit_head SET mac = last_mac", 7),
        ("the head removed", "DELETE FROM audit_head", 7),
    ];
    for (what, tampering, expected) in cases {
        world.raw(tampering).await;
        match verdict(&store).await {
            ChainVerdict::Broken { sequence, reason } => assert_eq!(sequence, expected, "{what}: {reason}"),
            ChainVerdict::Intact { .. } => panic!("it went unseen: {what}"),
        }
        let restore = format!(
            "DELETE FROM audit; INSERT INTO audit (sequence, {COLUMNS}) SELECT sequence, {COLUMNS} FROM saved; \
             DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM saved_head"
        );
        world.raw(&restore).await;
        assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 6 }, "restored after {what}");
    }
}

pub(crate) async fn a_tampered_head_takes_no_more_records(world: World) {
    let store = world.open().await;
    append(&store, 1, 3).await;
    disarm(&world).await;
    world.raw("DELETE FROM audit WHERE sequence = 3; UPDATE audit_head SET records = 2").await;
    let refused = store.audit().append(&[record(9)]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    world.raw("DELETE FROM audit_head").await;
    let refused = store.audit().append(&[record(9)]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    let reopened = world.open().await;
    assert!(matches!(verdict(&reopened).await, ChainVerdict::Broken { .. }), "opening makes no new head");
}

pub(crate) async fn nodes_append_to_one_chain(world: World) {
    let nodes = [world.open().await, world.open().await];
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let node = nodes[n % 2].clone();
        tasks.spawn(async move { append(&node, 1, 3).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(verdict(&nodes[0]).await, ChainVerdict::Intact { records: 120 });
}

pub(crate) async fn the_log_is_append_only(world: World) {
    let store = world.open().await;
    append(&store, 1, 2).await;
    let mut attempts = vec!["UPDATE audit SET door = 'x'", "DELETE FROM audit WHERE sequence = 2"];
    if world.is_postgres() {
        attempts.push("TRUNCATE audit");
    }
    for attempt in attempts {
        assert!(world.try_raw(attempt).await.is_err(), "{attempt}");
    }
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 2 });
}

pub(crate) async fn long_chains_are_walked_in_pages(world: World) {
    let store = world.open().await;
    append(&store, 1, 2_500).await;
    let told = Mutex::new(Vec::new());
    let progress = |done: i64, of: i64| told.lock().unwrap().push((done, of));
    assert_eq!(store.audit().verify(&progress).await.unwrap(), ChainVerdict::Intact { records: 2_500 });
    assert_eq!(*told.lock().unwrap(), [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)]);
}

pub(crate) async fn old_records_are_pruned(world: World) {
    let store = world.open().await;
    assert_eq!(store.audit().prune(i64::MAX).await.unwrap(), 0);
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 0 });
    append(&store, 1, 6).await;
    assert_eq!(store.audit().cut().await.unwrap(), None);
    // Record n is of the time 1,000 + n.
    assert_eq!(store.audit().prune(1_003).await.unwrap(), 2);
    assert_eq!(store.audit().cut().await.unwrap().unwrap().records, 2);
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 4 });
    let left = store.audit().list(&AuditFilter::default(), 9).await.unwrap();
    assert_eq!(left.iter().map(|found| found.sequence).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(store.audit().prune(1_003).await.unwrap(), 0);
    append(&store, 7, 8).await;
    // An old one behind a young one stays as long as that one does.
    append(&store, 1, 1).await;
    assert_eq!(store.audit().prune(1_006).await.unwrap(), 3);
    assert_eq!(verdict(&world.open().await).await, ChainVerdict::Intact { records: 4 });
    assert_eq!(store.audit().prune(i64::MAX).await.unwrap(), 4);
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 0 });
    append(&store, 1, 1).await;
    assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 1 });
    // What is left can still not be removed by itself.
    assert!(world.try_raw("DELETE FROM audit").await.is_err());
}

pub(crate) async fn pruning_goes_in_batches_beside_others(world: World) {
    let nodes = [world.open().await, world.open().await];
    append(&nodes[0], 1, 2_500).await;
    let mut tasks = tokio::task::JoinSet::new();
    for node in nodes.clone() {
        tasks.spawn(async move {
            let mut removed = 0;
            loop {
                let batch = node.audit().prune(3_001).await.unwrap();
                assert!(batch <= 1_000, "{batch} at once");
                removed += batch;
                append(&node, 5_000, 5_001).await;
                if batch < 1_000 {
                    break removed;
                }
            }
        });
    }
    let mut removed = 0;
    while let Some(done) = tasks.join_next().await {
        removed += done.unwrap();
    }
    assert_eq!(removed, 2_000);
    assert!(matches!(verdict(&nodes[0]).await, ChainVerdict::Intact { .. }));
    assert_eq!(nodes[1].audit().cut().await.unwrap().unwrap().records, 2_000);
}

/// Evidence is not removed by the one who looks after the log.
pub(crate) async fn what_was_tampered_with_is_not_pruned(world: World) {
    let store = world.open().await;
    append(&store, 1, 6).await;
    disarm(&world).await;
    let save = format!("CREATE TABLE saved AS SELECT sequence, {COLUMNS} FROM audit");
    world.raw(&save).await;
    let insert =
        format!("INSERT INTO audit (sequence, {COLUMNS}) SELECT 0, {COLUMNS} FROM audit WHERE sequence = 2");
    for tampering in [
        "UPDATE audit SET record = REPLACE(record, 'trace-1', 'trace-9') WHERE sequence = 1",
        "UPDATE audit SET at_ms = 1 WHERE sequence = 6",
        "DELETE FROM audit WHERE sequence = 1",
        "DELETE FROM audit WHERE sequence = 3",
        &insert,
    ] {
        world.raw(tampering).await;
        let pruned = store.audit().prune(i64::MAX).await;
        assert!(matches!(pruned, Err(StoreError::Corrupt(_))), "{tampering}: {pruned:?}");
        world.raw(&format!("DELETE FROM audit; INSERT INTO audit (sequence, {COLUMNS}) SELECT sequence, {COLUMNS} FROM saved")).await;
        assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 6 }, "restored after {tampering}");
    }
    assert_eq!(store.audit().prune(1_004).await.unwrap(), 3);
    // What retention removed can't be made to be more, or less, than it was.
    world.raw("CREATE TABLE saved_cut AS SELECT * FROM audit_cut").await;
    for tampering in [
        "UPDATE audit_cut SET records = 4; DELETE FROM audit WHERE sequence = 4",
        "DELETE FROM audit WHERE sequence = 4",
        "UPDATE audit_cut SET records = 0",
        "UPDATE audit_cut SET last_mac = mac",
        "DELETE FROM audit_cut",
        "DELETE FROM audit",
    ] {
        world.raw(tampering).await;
        assert!(matches!(verdict(&store).await, ChainVerdict::Broken { .. }), "it went unseen: {tampering}");
        world.raw(&format!(
            "DELETE FROM audit; INSERT INTO audit (sequence, {COLUMNS}) SELECT sequence, {COLUMNS} FROM saved WHERE sequence > 3; \
             DELETE FROM audit_cut; INSERT INTO audit_cut SELECT * FROM saved_cut"
        )).await;
        assert_eq!(verdict(&store).await, ChainVerdict::Intact { records: 3 }, "restored after {tampering}");
    }
}

pub(crate) async fn cursors_are_for_one_reader(world: World) {
    let store = world.open().await;
    let log = store.audit();
    let cursor = log.seal_cursor("acme", 7).unwrap();
    assert_eq!(log.open_cursor("acme", &cursor), Some(7));
    assert_eq!(world.open().await.audit().open_cursor("acme", &cursor), Some(7));
    assert_ne!(log.seal_cursor("acme", 7).unwrap(), cursor, "two of one place don't look alike");
    let changed = format!("{}A", &cursor[..cursor.len() - 1]);
    for wrong in ["", "7", "AAAA", &changed, &cursor[1..]] {
        assert!(wrong == cursor || log.open_cursor("acme", wrong).is_none(), "{wrong}");
    }
    assert_eq!(log.open_cursor("rival", &cursor), None);
}
