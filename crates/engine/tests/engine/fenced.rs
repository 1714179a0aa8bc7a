//! What the guard has rewritten runs on sessions of its own, and is undone when a row fails its check.

use std::time::Duration;

use ringfence_engine::{ResultSet, RunOptions, SessionParameter, SourceError};
use ringfence_guard::{Fence, GuardedQuery, Parameter, unsealed};
use tokio_util::sync::CancellationToken;

use crate::world::{World, open, rows};

fn read(sql: &str) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), Fence { returns_rows: true, ..Fence::default() })
}

fn write(sql: &str, returns_rows: bool, max_rows: Option<u64>) -> GuardedQuery {
    let fence = Fence { writes: true, check_column: true, returns_rows, max_rows, ..Fence::default() };
    unsealed::fenced(sql, Vec::new(), fence)
}

fn unchecked(sql: &str, max_rows: Option<u64>) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), Fence { writes: true, max_rows, ..Fence::default() })
}

async fn run(world: &World, query: &GuardedQuery) -> Result<ResultSet, SourceError> {
    world.engine.run(&world.address(), query, &RunOptions::default(), CancellationToken::new()).await
}

/// A table of two tenants, with a reference.
async fn shop(places: usize) -> World {
    let world = World::with_places(places).await;
    for sql in [
        "CREATE TABLE users (id int PRIMARY KEY, tenant int NOT NULL)",
        "CREATE TABLE orders (id int PRIMARY KEY, tenant int NOT NULL CHECK (tenant < 100), \
         user_id int REFERENCES users DEFERRABLE, note varchar(5))",
        "INSERT INTO users VALUES (1, 1), (2, 2)",
        "INSERT INTO orders SELECT n, n % 2 + 1, NULL, 'x' FROM generate_series(1, 10) AS n",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    world
}

async fn tenants(world: &World) -> String {
    world.json("SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 1").await
}

#[tokio::test]
async fn each_purpose_has_sessions_of_its_own() {
    let world = shop(1).await;
    let pid = "SELECT pg_catalog.pg_backend_pid()";
    let mut pids = vec![
        rows(&world.run(pid).await.expect("runs")),
        rows(&world.run_read_only(pid).await.expect("runs")),
        rows(&run(&world, &read(pid)).await.expect("runs")),
    ];
    let writing = "INSERT INTO public.users SELECT pg_catalog.pg_backend_pid(), 1 RETURNING id, true";
    pids.push(rows(&run(&world, &write(writing, true, None)).await.expect("runs")));
    for again in [&read(pid), &open(pid)] {
        let same = rows(&run(&world, again).await.expect("runs"));
        assert!(pids.contains(&same), "a session comes back to its own pool");
    }
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 4, "{pids:?}");
}

#[tokio::test]
async fn reads_see_nothing_that_an_owner_put_in_the_way() {
    let world = shop(1).await;
    for sql in [
        "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$",
        "ALTER ROLE owner SET search_path = public, pg_catalog",
        "ALTER ROLE owner SET timezone = 'Asia/Tokyo'",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let seen = "SELECT lower('A'), current_setting('search_path'), current_setting('TimeZone'), \
                current_setting('transaction_read_only')";
    for _ in 0..2 {
        assert_eq!(
            rows(&run(&world, &read(seen)).await.expect("runs")),
            r#"[["a","pg_catalog","UTC","on"]]"#
        );
        let refused = run(&world, &read("INSERT INTO public.users VALUES (9, 9)")).await;
        assert!(
            matches!(&refused, Err(SourceError::Statement { sqlstate: Some(code), .. }) if code == "25006"),
            "{refused:?}"
        );
    }
    let path = "INSERT INTO users SELECT 50, 1 RETURNING current_setting('search_path'), true";
    let result = run(&world, &write(path, true, None)).await.expect("runs");
    assert_eq!(rows(&result), r#"[["public, pg_catalog"]]"#, "the owner's triggers rely on it");
}

#[tokio::test]
async fn options_bend_no_policy() {
    let world = shop(1).await;
    let run = |options: RunOptions| {
        let world = &world;
        async move {
            let query = read("SELECT current_setting('search_path'), current_setting('work_mem')");
            world.engine.run(&world.address(), &query, &options, CancellationToken::new()).await
        }
    };
    let with = |parameter, value: &str| RunOptions {
        current_schema: Some("public".to_owned()),
        session_parameters: vec![(parameter, value.to_owned())],
        ..RunOptions::default()
    };
    let result = run(with(SessionParameter::WorkMem, "8MB")).await.expect("runs");
    assert_eq!(rows(&result), r#"[["pg_catalog","8MB"]]"#);
    let refused = run(with(SessionParameter::TimeZone, "Asia/Tokyo")).await;
    assert!(matches!(refused, Err(SourceError::Option(_))), "{refused:?}");
}

#[tokio::test]
async fn the_check_is_taken_off_and_rows_are_counted() {
    let world = shop(1).await;
    let update = "UPDATE orders SET note = 'y' WHERE tenant = 1 RETURNING id, note, tenant = 1";
    let shown = run(&world, &write(update, true, Some(5))).await.expect("five rows");
    assert_eq!((shown.columns.len(), shown.rows.len(), shown.affected), (2, 5, Some(5)));
    let counted = run(&world, &write(update, false, Some(5))).await.expect("five rows");
    assert_eq!((counted.columns.len(), counted.rows.len(), counted.more_rows), (0, 0, 0));
    assert_eq!(counted.affected, Some(5));
    let some = RunOptions { max_rows: 2, ..RunOptions::default() };
    let query = write(update, true, None);
    let cut =
        world.engine.run(&world.address(), &query, &some, CancellationToken::new()).await.expect("runs");
    assert_eq!((cut.rows.len(), cut.more_rows, cut.affected), (2, 3, Some(5)));
    let deleted =
        run(&world, &unchecked("DELETE FROM orders WHERE tenant = 2", Some(5))).await.expect("runs");
    assert_eq!(deleted.affected, Some(5));
    assert_eq!(tenants(&world).await, "[[1,5]]");
}

#[tokio::test]
async fn a_row_that_fails_its_check_undoes_the_statement() {
    let world = shop(1).await;
    let before = tenants(&world).await;
    let texts = [
        "UPDATE orders SET tenant = 2 WHERE id = 2 RETURNING id, tenant = 1",
        "UPDATE orders SET note = 'y' RETURNING tenant = 1",
        "INSERT INTO orders VALUES (20, 1), (21, 2), (22, 1) RETURNING tenant = 1",
        "INSERT INTO orders VALUES (20, 1) RETURNING id, NULL::bool",
        "INSERT INTO orders VALUES (20, 1)",
        // What only PostgreSQL can put into words is read as text.
        "INSERT INTO orders VALUES (20, 1) RETURNING '::1'::inet, false",
    ];
    for sql in texts {
        for returns_rows in [true, false] {
            let refused = run(&world, &write(sql, returns_rows, None)).await;
            assert!(matches!(refused, Err(SourceError::RowRefused)), "{sql}: {refused:?}");
            assert_eq!(tenants(&world).await, before, "{sql}");
            // Rows that nobody reads are looked at too.
            let none = RunOptions { max_rows: 0, ..RunOptions::default() };
            let query = write(sql, returns_rows, None);
            let refused = world.engine.run(&world.address(), &query, &none, CancellationToken::new()).await;
            assert!(matches!(refused, Err(SourceError::RowRefused)), "{sql}: {refused:?}");
        }
    }
    assert_eq!(world.json("SELECT count(*) FROM orders WHERE note = 'y'").await, "[[0]]");
}

#[tokio::test]
async fn one_row_too_many_undoes_the_statement() {
    let world = shop(1).await;
    let before = tenants(&world).await;
    for query in [
        write("DELETE FROM orders RETURNING id, true", true, Some(9)),
        write("DELETE FROM orders RETURNING true", false, Some(9)),
        write(
            "INSERT INTO orders SELECT n, 1 FROM generate_series(100, 9999) n RETURNING id, true",
            true,
            Some(9),
        ),
        unchecked("DELETE FROM orders", Some(9)),
    ] {
        let refused = run(&world, &query).await;
        assert!(matches!(refused, Err(SourceError::TooManyRows { limit: 9 })), "{refused:?}");
        assert_eq!(tenants(&world).await, before);
    }
}

#[tokio::test]
async fn a_stream_hands_rows_out_after_the_commit() {
    let world = shop(2).await;
    let sql = "INSERT INTO orders SELECT n, 1 FROM generate_series(100, 1099) n RETURNING id, id < $1";
    let stream = |limit| {
        let fence = Fence { writes: true, check_column: true, returns_rows: true, ..Fence::default() };
        let query = unsealed::fenced(sql, vec![Parameter::Integer(limit)], fence);
        let world = &world;
        async move {
            let options = RunOptions::default();
            world.engine.stream(&world.address(), &query, &options, CancellationToken::new()).await
        }
    };
    let mut refused = stream(1099).await.expect("it begins");
    assert!(matches!(refused.next().await, Err(SourceError::RowRefused)), "not one row came before");
    let mut kept = stream(1100).await.expect("it begins");
    let first = kept.next().await.expect("all are fine").expect("there are rows");
    assert_eq!(first[0].len(), 1);
    assert_eq!(world.json("SELECT count(*) FROM orders WHERE id >= 100").await, "[[1000]]");
}

#[tokio::test]
async fn a_hidden_row_and_a_missing_one_are_refused_alike() {
    let world = shop(1).await;
    let mut seen = Vec::new();
    for (sql, writes) in [
        ("INSERT INTO orders VALUES (30, 1, 2) RETURNING user_id = 1", true),
        ("INSERT INTO orders VALUES (30, 1, 77) RETURNING user_id = 1", true),
        ("INSERT INTO orders VALUES (30, 1, 77) RETURNING true", true),
        // Referred to by a row: hidden or not.
        ("DELETE FROM users WHERE id = 1 RETURNING false", true),
    ] {
        assert!(writes);
        seen.push(format!("{:?}", run(&world, &write(sql, true, None)).await.expect_err("refused")));
    }
    // At the end of the transaction.
    world
        .run("ALTER TABLE orders ALTER CONSTRAINT orders_user_id_fkey DEFERRABLE INITIALLY DEFERRED")
        .await
        .expect("altered");
    let late = run(&world, &write("INSERT INTO orders VALUES (30, 1, 77) RETURNING true", true, None)).await;
    seen.push(format!("{:?}", late.expect_err("refused")));
    seen.dedup();
    assert_eq!(seen, ["RowRefused"]);
}

#[tokio::test]
async fn errors_print_nothing_of_rows() {
    let world = shop(1).await;
    for (sql, code) in [
        ("INSERT INTO orders VALUES (1, 1) RETURNING true", "23505"),
        ("INSERT INTO orders VALUES (40, 4711) RETURNING true", "23514"),
        ("INSERT INTO orders VALUES (40, NULL) RETURNING true", "23502"),
        ("INSERT INTO orders VALUES (40, 1, NULL, 'secretive') RETURNING true", "22001"),
        ("UPDATE orders SET tenant = note::int RETURNING true", "22P02"),
        ("UPDATE orders SET tenant = tenant / 0 RETURNING true", "22012"),
        ("INSERT INTO pg_catalog.pg_authid SELECT * FROM pg_catalog.pg_authid RETURNING true", "42501"),
    ] {
        let error = run(&world, &write(sql, true, None)).await.expect_err(sql);
        let got = match &error {
            SourceError::Statement { sqlstate: Some(got), .. }
            | SourceError::Constraint { sqlstate: got, .. } => got,
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(got, code, "{sql}");
        let told = error.to_string();
        for secret in ["orders", "4711", "\"x\"", "pg_authid", "tenant", "pkey"] {
            assert!(!told.contains(secret), "{sql}: {told}");
        }
        let plan =
            world.engine.explain(&world.address(), &write(sql, true, None), &RunOptions::default()).await;
        assert!(plan.is_ok() || !format!("{plan:?}").contains("pg_authid"), "{plan:?}");
    }
}

#[tokio::test]
async fn nothing_carries_over_in_a_pool_of_one() {
    let world = shop(1).await;
    for sql in [
        "CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            PERFORM set_config('app.who', new.tenant::text, false); PERFORM set_config('search_path', 'evil', false); \
            PERFORM pg_advisory_lock(7); CREATE TEMP TABLE IF NOT EXISTS left_over (a int); RETURN new; END $$",
        "CREATE TRIGGER leave BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION leave()",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let seen = "SELECT coalesce(current_setting('app.who', true), ''), current_setting('search_path') LIKE '%evil%', \
                (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                (SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'left_over')";
    let writing = format!(
        "WITH seen AS ({seen}) INSERT INTO users SELECT max(id) + 1, 1 FROM users \
                           RETURNING (SELECT row_to_json(seen)::text FROM seen), true"
    );
    let clean = run(&world, &write(&writing, true, None)).await.expect("runs");
    for sql in [
        "UPDATE orders SET note = 'z' RETURNING true",
        "UPDATE orders SET note = 'z' RETURNING false",
        "INSERT INTO orders VALUES (1, 1) RETURNING true",
        "INSERT INTO orders VALUES (60, 1) RETURNING '::1'::inet, false",
        "UPDATE orders SET note = pg_sleep(60)::text RETURNING true",
    ] {
        let short = RunOptions { timeout: Duration::from_millis(200), ..RunOptions::default() };
        let query = unsealed::fenced(
            sql,
            Vec::new(),
            Fence { writes: true, check_column: true, returns_rows: true, ..Fence::default() },
        );
        let _ = world.engine.run(&world.address(), &query, &short, CancellationToken::new()).await;
        let after = run(&world, &write(&writing, true, None)).await.expect("runs");
        assert_eq!(rows(&after), rows(&clean), "after {sql}");
        assert_eq!(
            rows(&run(&world, &read(seen)).await.expect("runs")),
            r#"[["",false,0,0]]"#,
            "after {sql}"
        );
    }
}
