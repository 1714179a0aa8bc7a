//! Transactions of several fenced statements on PostgreSQL: all of it lasts, or nothing, and nothing stays behind.

use std::time::{Duration, Instant};

use ringfence_engine::{Isolation, ResultSet, RunOptions, SessionParameter, SourceError, SourceTransaction};
use ringfence_guard::{Fence, GuardedQuery, unsealed};
use tokio_util::sync::CancellationToken;

use crate::world::{World, open, rows, timeout};

fn read(sql: &str) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), Fence { returns_rows: true, ..Fence::default() })
}

fn write(sql: &str) -> GuardedQuery {
    let fence =
        Fence { writes: true, check_column: true, returns_rows: true, max_rows: Some(5), ..Fence::default() };
    unsealed::fenced(sql, Vec::new(), fence)
}

async fn shop(places: usize) -> World {
    let world = World::with_places(places).await;
    for sql in [
        "CREATE TABLE orders (id int PRIMARY KEY, tenant int NOT NULL, note text)",
        "INSERT INTO orders SELECT n, n % 2 + 1, 'x' FROM generate_series(1, 10) AS n",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    world
}

async fn begin(world: &World, isolation: Isolation, options: &RunOptions) -> SourceTransaction {
    begin_until(world, isolation, options, CancellationToken::new()).await
}

async fn begin_until(
    world: &World,
    isolation: Isolation,
    options: &RunOptions,
    cancel: CancellationToken,
) -> SourceTransaction {
    world.engine.begin(&world.address(), options, isolation, cancel).await.expect("it begins")
}

async fn run(transaction: &mut SourceTransaction, query: &GuardedQuery) -> Result<ResultSet, SourceError> {
    transaction.run(query, &RunOptions::default()).await
}

async fn notes(world: &World) -> String {
    world.json("SELECT string_agg(id::text || note, ' ' ORDER BY id) FROM orders WHERE note <> 'x'").await
}

/// Until nobody holds a lock on the table that keeps others from writing.
async fn until_unlocked(world: &World) {
    let client = world.server.client("shop").await;
    let counted = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass";
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.query_one(counted, &[]).await.expect("pg_locks can be read").get::<_, i64>(0) != 0 {
        assert!(Instant::now() < deadline, "a lock stays");
        tokio::time::sleep(Duration::from_millis(10)).await; // poll: until the deadline above
    }
}

const FIRST: &str = "UPDATE orders SET note = 'a' WHERE id = 1 RETURNING id, true";
const SECOND: &str = "UPDATE orders SET note = 'b' WHERE id = 2 RETURNING id, true";

#[tokio::test]
async fn what_is_committed_lasts_together() {
    let world = shop(1).await;
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
        let mut transaction = begin(&world, isolation, &RunOptions::default()).await;
        let first = run(&mut transaction, &write(FIRST)).await.expect("runs");
        assert_eq!((rows(&first).as_str(), first.affected, first.columns.len()), ("[[1]]", Some(1), 1));
        let own = run(&mut transaction, &read("SELECT note FROM public.orders WHERE id = 1")).await;
        assert_eq!(rows(&own.expect("runs")), r#"[["a"]]"#, "its own changes are seen");
        run(&mut transaction, &write(SECOND)).await.expect("runs");
        assert_eq!(notes(&world).await, "[[null]]", "nobody else sees them");
        transaction.commit().await.expect("kept");
        assert_eq!(notes(&world).await, r#"[["1a 2b"]]"#);
        world.run("UPDATE orders SET note = 'x'").await.expect("runs");
    }
    let mut transaction = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
    run(&mut transaction, &write(FIRST)).await.expect("runs");
    transaction.roll_back().await.expect("undone");
    assert_eq!(notes(&world).await, "[[null]]");
    until_unlocked(&world).await;
}

/// What ends a transaction after its first statement.
type Ending = (&'static str, fn(&Result<ResultSet, SourceError>) -> bool);

const ENDINGS: &[Ending] = &[
    ("INSERT INTO orders VALUES (1, 1) RETURNING id, true", |ended| {
        matches!(ended, Err(SourceError::Constraint { .. }))
    }),
    ("UPDATE orders SET tenant = 2 WHERE id = 2 RETURNING id, tenant = 1", |ended| {
        matches!(ended, Err(SourceError::RowRefused))
    }),
    ("UPDATE orders SET note = 'c' WHERE id = 2", |ended| matches!(ended, Err(SourceError::RowRefused))),
    ("UPDATE orders SET note = 'c' RETURNING id, true", |ended| {
        matches!(ended, Err(SourceError::TooManyRows { limit: 5 }))
    }),
    ("UPDATE orders SET note = note || pg_sleep(60) WHERE id = 2 RETURNING id, true", |ended| {
        matches!(ended, Err(SourceError::TimedOut { limit_ms: 300 }))
    }),
    ("UPDATE orders SET note = repeat('c', 9000) WHERE id = 2 RETURNING note, true", |ended| {
        matches!(ended, Err(SourceError::TooLarge { .. }))
    }),
    ("SELECT nothing", |ended| matches!(ended, Err(SourceError::Statement { .. }))),
];

#[tokio::test]
async fn an_error_undoes_everything() {
    let world = shop(1).await;
    let tight = RunOptions { timeout: Duration::from_millis(300), max_bytes: 4096, ..RunOptions::default() };
    for (sql, is_expected) in ENDINGS {
        let mut transaction = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
        run(&mut transaction, &write(FIRST)).await.expect("runs");
        let ended = transaction.run(&write(sql), &tight).await;
        assert!(is_expected(&ended), "{sql}: {ended:?}");
        let later = run(&mut transaction, &write(SECOND)).await;
        let code = "25P02".to_owned();
        assert!(matches!(&later, Err(SourceError::Statement { sqlstate, .. }) if *sqlstate == Some(code)));
        assert!(transaction.commit().await.is_err(), "{sql}");
        // In a pool of one: the place is free.
        let mut next = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
        run(&mut next, &write(SECOND)).await.expect("runs");
        next.roll_back().await.expect("undone");
        assert_eq!(notes(&world).await, "[[null]]", "{sql}");
        until_unlocked(&world).await;
    }
}

#[tokio::test]
async fn whoever_goes_away_leaves_nothing() {
    let world = shop(1).await;
    let sleeping = write("UPDATE orders SET note = note || pg_sleep(60) WHERE id = 2 RETURNING id, true");
    for way in ["drop", "drop a call", "cancel", "cancel a call", "time-out", "open", "write"] {
        let cancel = CancellationToken::new();
        let whole = timeout(if way == "time-out" { 500 } else { 60_000 });
        let mut transaction = begin_until(&world, Isolation::RepeatableRead, &whole, cancel.clone()).await;
        run(&mut transaction, &write(FIRST)).await.expect("runs");
        match way {
            "drop" => drop(transaction),
            "drop a call" => {
                tokio::select! {
                    ended = run(&mut transaction, &sleeping) => panic!("{ended:?}"),
                    () = world.until_active("%pg_sleep(60)%", 1) => {}
                }
                assert!(run(&mut transaction, &write(SECOND)).await.is_err());
            }
            "cancel" => {
                cancel.cancel();
                until_unlocked(&world).await;
                let ended = run(&mut transaction, &write(SECOND)).await;
                assert!(matches!(ended, Err(SourceError::Cancelled)), "{ended:?}");
            }
            "cancel a call" => {
                let (ended, ()) = tokio::join!(run(&mut transaction, &sleeping), async {
                    world.until_active("%pg_sleep(60)%", 1).await;
                    cancel.cancel();
                });
                assert!(matches!(ended, Err(SourceError::Cancelled)), "{ended:?}");
            }
            "time-out" => {
                // Nobody asks for anything.
                until_unlocked(&world).await;
                let ended = transaction.commit().await;
                assert!(matches!(ended, Err(SourceError::TimedOut { limit_ms: 500 })), "{ended:?}");
            }
            "open" => {
                let ended = run(&mut transaction, &open("SELECT 1")).await;
                assert!(matches!(ended, Err(SourceError::Option(_))), "{ended:?}");
                assert!(transaction.commit().await.is_err());
            }
            _ => {
                let other = RunOptions {
                    session_parameters: vec![(SessionParameter::WorkMem, "8MB".to_owned())],
                    ..RunOptions::default()
                };
                let ended = transaction.run(&write(SECOND), &other).await;
                assert!(matches!(ended, Err(SourceError::Option(_))), "{ended:?}");
                assert!(transaction.roll_back().await.is_ok(), "it was");
            }
        }
        until_unlocked(&world).await;
        assert_eq!(notes(&world).await, "[[null]]", "{way}");
        world.until_active("%pg_sleep(60)%", 0).await;
        let mut next = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
        run(&mut next, &write(SECOND)).await.expect("the place is free");
        next.roll_back().await.expect("undone");
    }
}

#[tokio::test]
async fn nothing_carries_over_to_the_next_of_the_session() {
    let world = shop(1).await;
    for sql in [
        "CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            PERFORM set_config('app.who', new.tenant::text, false); PERFORM set_config('search_path', 'evil', false); \
            PERFORM pg_advisory_lock(7); CREATE TEMP TABLE IF NOT EXISTS left_over (a int); RETURN new; END $$",
        "CREATE TRIGGER leave BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION leave()",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let seen = "SELECT pg_catalog.coalesce_text FROM (SELECT concat_ws(',', current_setting('app.who', true), \
                current_setting('search_path') LIKE '%evil%', \
                (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                (SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'left_over'), \
                current_setting('transaction_isolation'), current_setting('work_mem'))) AS pg_catalog(coalesce_text)";
    let inserting = write(&format!(
        "INSERT INTO public.orders (id, tenant, note) SELECT 99, 1, ({seen}) RETURNING note, true"
    ));
    let options = RunOptions {
        session_parameters: vec![(SessionParameter::WorkMem, "8MB".to_owned())],
        ..RunOptions::default()
    };
    for commits in [true, false] {
        let mut transaction = begin(&world, Isolation::RepeatableRead, &options).await;
        let set = run(&mut transaction, &read("SELECT current_setting('work_mem')")).await.expect("runs");
        assert_eq!(rows(&set), r#"[["8MB"]]"#);
        run(&mut transaction, &write(FIRST)).await.expect("runs");
        if commits {
            transaction.commit().await.expect("kept");
        } else {
            drop(transaction);
        }
        let mut next = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
        let after = run(&mut next, &inserting).await.expect("runs");
        assert_eq!(rows(&after), r#"[[",f,0,0,read committed,4MB"]]"#, "committed: {commits}");
        next.roll_back().await.expect("undone");
    }
}

#[tokio::test]
async fn reads_among_writes_only_read() {
    let world = shop(1).await;
    for sql in [
        "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$",
        "ALTER ROLE owner SET search_path = public, pg_catalog",
        "CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS $$ DELETE FROM public.orders; SELECT 1 $$",
        "CREATE VIEW sneaky AS SELECT sneak()",
        "CREATE FUNCTION bend() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 'evil', false) $$",
        "CREATE VIEW bending AS SELECT bend()",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let mut transaction = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
    for _ in 0..2 {
        let seen = read("SELECT lower('A'), current_setting('search_path')");
        let seen = run(&mut transaction, &seen).await.expect("runs");
        assert_eq!(rows(&seen), r#"[["a","pg_catalog"]]"#);
        run(&mut transaction, &read("SELECT * FROM public.bending")).await.expect("runs");
        let path = "UPDATE orders SET note = 'p' WHERE id = 3 RETURNING current_setting('search_path'), true";
        let path = run(&mut transaction, &write(path)).await.expect("runs");
        assert_eq!(rows(&path), r#"[["public, pg_catalog"]]"#, "the owner's triggers rely on it");
        // What only PostgreSQL can put into words is prepared by name.
        for _ in 0..2 {
            let query = unsealed::fenced(
                "SELECT '::1'::inet, $1::text",
                vec![ringfence_guard::Parameter::Text("t".to_owned())],
                Fence { returns_rows: true, ..Fence::default() },
            );
            let told = run(&mut transaction, &query).await.expect("runs");
            assert_eq!(rows(&told), r#"[["::1","t"]]"#);
        }
    }
    let refused = run(&mut transaction, &read("SELECT * FROM public.sneaky")).await;
    assert!(matches!(&refused, Err(SourceError::Statement { sqlstate: Some(code), .. }) if code == "25006"));
    assert_eq!(world.json("SELECT count(*) FROM orders WHERE note = 'x'").await, "[[10]]");
}

#[tokio::test]
async fn reads_of_one_transaction_fit_together() {
    let world = shop(2).await;
    let counted = read("SELECT pg_catalog.count(*) FROM public.orders");
    let mut transaction = begin(&world, Isolation::ReadOnly, &RunOptions::default()).await;
    let mut seen = vec![rows(&run(&mut transaction, &counted).await.expect("runs"))];
    world.run("DELETE FROM orders WHERE id > 3").await.expect("runs");
    let many = read("SELECT n FROM pg_catalog.generate_series(1, 5000) AS n");
    let few = RunOptions { max_rows: 2, ..RunOptions::default() };
    let few = transaction.run(&many, &few).await.expect("runs");
    assert_eq!((rows(&few).as_str(), few.more_rows, few.affected), ("[[1],[2]]", 4998, None));
    seen.push(rows(&run(&mut transaction, &counted).await.expect("runs")));
    assert_eq!(seen, ["[[10]]", "[[10]]"]);
    let refused = run(&mut transaction, &write(FIRST)).await;
    assert!(matches!(&refused, Err(SourceError::Statement { sqlstate: Some(code), .. }) if code == "25006"));
    let mut transaction = begin(&world, Isolation::ReadOnly, &RunOptions::default()).await;
    assert_eq!(rows(&run(&mut transaction, &counted).await.expect("runs")), "[[3]]");
    transaction.commit().await.expect("ends");
}

#[tokio::test]
async fn conflicts_say_so() {
    let world = shop(2).await;
    // Both read, the first writes: the second's picture is old.
    let mut first = begin(&world, Isolation::RepeatableRead, &RunOptions::default()).await;
    let mut second = begin(&world, Isolation::RepeatableRead, &RunOptions::default()).await;
    run(&mut second, &read("SELECT note FROM public.orders")).await.expect("runs");
    run(&mut first, &write(FIRST)).await.expect("runs");
    first.commit().await.expect("kept");
    let late = run(&mut second, &write(FIRST)).await;
    assert!(matches!(late, Err(SourceError::Conflict)), "{late:?}");
    // Each waits for the other.
    let mut first = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
    let mut second = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
    run(&mut first, &write(FIRST)).await.expect("runs");
    run(&mut second, &write(SECOND)).await.expect("runs");
    let (one, other) = (write(SECOND), write(FIRST));
    let (one, other) = tokio::join!(async { run(&mut first, &one).await.map(drop) }, async {
        run(&mut second, &other).await.map(drop)
    });
    let conflicts = [&one, &other].into_iter().filter(|ended| matches!(ended, Err(SourceError::Conflict)));
    assert_eq!(conflicts.count(), 1, "{one:?} {other:?}");
    drop((first, second));
    until_unlocked(&world).await;
    // A table that changed since a session prepared its statement.
    let all = write("UPDATE orders SET note = 'z' WHERE id = 1 RETURNING orders.*, true");
    let mut before = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
    run(&mut before, &all).await.expect("runs");
    before.commit().await.expect("kept");
    world.run("ALTER TABLE orders ADD COLUMN more int").await.expect("altered");
    let mut met = 0;
    for _ in 0..4 {
        let mut again = begin(&world, Isolation::ReadCommitted, &RunOptions::default()).await;
        match run(&mut again, &all).await {
            Err(SourceError::Conflict) => met += 1,
            ended => assert_eq!(ended.expect("runs").columns.len(), 4),
        }
    }
    assert!((1..=2).contains(&met), "each session learns it once: {met}");
}
