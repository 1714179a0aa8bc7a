//! No predicate of a caller's gets behind a fence, and nothing tells what is there.

use ringfence_guard::Parameter;

use crate::{WALL, World, sqlstate};

/// Rows 0 to 9, of which a fence shows those from 5 on. What fails for 3 fails on a hidden row.
async fn world() -> World {
    let world = World::new();
    let rows = (0..10).map(|n| format!("{n},{}\n", n % 3)).collect::<Vec<_>>().concat();
    world.load("t", &format!("n,m\n{rows}")).await;
    world
}

fn fence(end: &str) -> String {
    format!(
        r#"(SELECT "_rf_r"."n", "_rf_r"."m" FROM "public"."t" AS "_rf_r" WHERE ("_rf_r"."n" >= $1) {end})"#
    )
}

/// Statements that fail for 3, with the fence as `{f}`.
const FAILING: &[&str] = &[
    r#"SELECT "n" FROM {f} AS "t" WHERE 1 / ("n" - 3) = 7"#,
    r#"SELECT count(*) FROM {f} AS "t" WHERE 1 / ("n" - 3) = 7"#,
    r#"SELECT "a"."n" FROM {f} AS "a" JOIN {f} AS "b" ON "a"."n" = "b"."n" AND 1 / ("b"."n" - 3) = 7"#,
    r#"SELECT "a"."n" FROM {f} AS "a" LEFT JOIN {f} AS "b" ON "a"."m" = 1 / ("b"."n" - 3)"#,
    r#"SELECT 1 WHERE EXISTS (SELECT 1 FROM {f} AS "t" WHERE 1 / ("n" - 3) = 7)"#,
    r#"SELECT "a"."n" FROM {f} AS "a" WHERE EXISTS (SELECT 1 FROM {f} AS "b" WHERE "b"."m" = "a"."m" AND 1 / ("b"."n" - 3) = 7)"#,
    r#"SELECT "a"."n" FROM {f} AS "a" WHERE EXISTS
       (SELECT 1 FROM {f} AS "b", {f} AS "c" WHERE "b"."n" = "a"."n" AND 1 / ("c"."n" - 3) = 7)"#,
    r#"SELECT "n" FROM {f} AS "t" WHERE "m" IN (SELECT 1 / ("n" - 3) FROM {f} AS "u")"#,
    r#"WITH "w" AS (SELECT 1 / ("n" - 3) AS "q", "n" FROM {f} AS "t") SELECT "q" FROM "w" WHERE "q" = 7"#,
    r#"SELECT "n" FROM (SELECT "n", 1 / ("n" - 3) AS "q" FROM {f} AS "t" UNION ALL SELECT 0, 0) AS "u" WHERE "q" = 7"#,
    r#"SELECT "m", sum("n") FROM {f} AS "t" WHERE 1 / ("n" - 3) = 7 GROUP BY ROLLUP ("m")"#,
    r#"SELECT "n" FROM {f} AS "t" ORDER BY 1 / ("n" - 3) LIMIT 1"#,
];

#[tokio::test]
async fn what_fails_on_a_hidden_row_does_not_fail() {
    let world = world().await;
    for statement in FAILING {
        let walled = statement.replace("{f}", &fence(WALL));
        let shown = world.fenced(&walled, vec![Parameter::Integer(5)]).await;
        assert!(shown.is_ok(), "{statement}: {shown:?}");
        // Where the row is seen it fails: otherwise the test would show nothing.
        let failed = world.fenced(&walled, vec![Parameter::Integer(0)]).await;
        assert_eq!(sqlstate(failed), "22012", "{statement}");
    }
}

/// Without the wall the first of them does fail, so that it is the wall that the other test shows.
#[tokio::test]
async fn without_the_wall_it_does() {
    let world = world().await;
    let bare = FAILING[0].replace("{f}", &fence(""));
    assert_eq!(sqlstate(world.fenced(&bare, vec![Parameter::Integer(5)]).await), "22012");
}

/// A condition without columns says nothing of any row, so it may not tell that there are some.
#[tokio::test]
async fn what_fails_for_every_row_fails_for_seen_rows_only() {
    let world = world().await;
    for statement in [
        r#"SELECT "n" FROM {f} AS "t" WHERE 1 / 0 = 1"#,
        r#"SELECT "n" FROM {f} AS "t" WHERE CAST('x' AS INTEGER) = 1"#,
        r#"SELECT "a"."n" FROM {f} AS "a", {f} AS "b" WHERE 1 / (SELECT 0) = 1"#,
    ] {
        let walled = statement.replace("{f}", &fence(WALL));
        let nothing = world.fenced(&walled, vec![Parameter::Integer(100)]).await;
        let seen = world.fenced(&walled, vec![Parameter::Integer(5)]).await;
        // It may fail while it is planned, and then always.
        let empty = World::new();
        empty.load("t", "n,m\n").await;
        let types = nothing.is_ok() || seen.is_err();
        assert!(types, "{statement}: {nothing:?} {seen:?}");
    }
}

/// Columns that nobody asks for are not read, and streams stay apart.
#[tokio::test]
async fn a_wall_lets_columns_be_left_out() {
    let world = world().await;
    let sql = format!(r#"EXPLAIN SELECT "n" FROM {} AS "t" WHERE 1 / "n" = 1"#, fence(WALL));
    let plan = world.fenced(&sql, vec![Parameter::Integer(5)]).await.unwrap();
    let plan = serde_json::to_string(&plan.rows).unwrap();
    assert!(plan.contains("Wall") && plan.contains("projection=[n]"), "{plan}");
    assert!(!plan.contains("Limit"), "{plan}");
}

#[tokio::test]
async fn errors_tell_nothing() {
    let world = World::new();
    world.load("t", "n,s\n1,secret-value\n").await;
    std::fs::write(world.lake.join("odd.csv"), "n\n1\n").unwrap();
    let failed = world.fenced(r#"SELECT CAST("s" AS INTEGER) FROM "public"."t""#, Vec::new()).await;
    let told = format!("{failed:?}");
    assert!(told.contains("22P02") && !told.contains("secret-value"), "{told}");
    let parameter = vec![Parameter::Text("tenant-secret".to_owned())];
    let failed = world.fenced(r#"SELECT CAST($1 AS INTEGER) + "n" FROM "public"."t""#, parameter).await;
    let told = format!("{failed:?}");
    assert!(failed.is_err() && !told.contains("tenant-secret"), "{told}");
    std::fs::write(world.lake.join("broken.parquet"), "PAR1 no").unwrap();
    let told = format!("{:?}", world.open("SELECT * FROM broken").await.unwrap_err());
    assert!(!told.contains(world.lake.to_str().unwrap()), "{told}");
}
