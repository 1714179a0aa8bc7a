//! What a SQLite file holds, what a statement would read of it, and files that hold nothing.

use std::time::Duration;

use ringfence_engine::{Explained, RunOptions, SourceError};
use ringfence_policy::{Constraint, RelationKind};
use tokio_util::sync::CancellationToken;

use crate::sqlite::{Files, address, query};

#[tokio::test]
async fn the_catalog_holds_what_the_file_does() {
    let files = Files::new();
    let catalog = files.engine.introspect(&address("shop.db"), &|_, _, _| ()).await.expect("reads");
    assert_eq!(
        (catalog.database.as_str(), catalog.schemas.len(), catalog.relation_count()),
        ("shop.db", 1, 4)
    );
    let orders = catalog.relation("main", "orders").expect("there");
    let columns: Vec<_> = orders.columns.iter().map(|it| (it.name.as_str(), it.data_type.as_str())).collect();
    assert_eq!(columns, [("shop", "INT"), ("no", "INT"), ("doc", "JSON")]);
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        orders.constraints,
        [
            Constraint::Primary { columns: texts(&["no", "shop"]) },
            Constraint::Foreign {
                columns: texts(&["shop"]),
                target_schema: "main".to_owned(),
                target_relation: "shops".to_owned(),
                target_columns: texts(&["id"]),
            },
        ]
    );
    let shops = catalog.relation("main", "shops").expect("there");
    assert_eq!(
        shops.constraints,
        [Constraint::Primary { columns: texts(&["id"]) }, Constraint::Unique { columns: texts(&["name"]) }]
    );
    assert!(!shops.columns[1].nullable && shops.columns[2].nullable);
    assert_eq!(
        catalog.relation("main", "v").map(|view| (view.kind, view.columns.len())),
        Some((RelationKind::View, 1))
    );
    assert_eq!(catalog.relation("main", "broken").map(|view| view.columns.len()), Some(0));
}

#[tokio::test]
async fn explain_names_tables_and_executes_nothing() {
    let files = Files::new();
    let explain = |sql: &'static str| {
        let engine = files.engine.clone();
        async move { engine.explain(&address("shop.db"), &query(sql, false), &RunOptions::default()).await }
    };
    let main =
        |names: &[&str]| names.iter().map(|&name| ("main".to_owned(), name.to_owned())).collect::<Vec<_>>();
    for (sql, relations) in [
        ("SELECT 1", main(&[])),
        ("SELECT count(*) FROM shops", main(&["shops"])),
        ("SELECT * FROM v JOIN orders ON true", main(&["orders", "shops", "v"])),
        ("WITH x AS (SELECT 1 FROM Orders) SELECT count(*) FROM x", main(&["orders"])),
        // Its foreign key names the other table.
        ("DELETE FROM orders", main(&["orders", "shops"])),
        ("INSERT INTO orders SELECT id, id, NULL FROM shops", main(&["orders", "shops"])),
    ] {
        let explained = explain(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(explained, Explained::Plan(relations), "{sql}");
    }
    assert!(matches!(explain("SELECT * FROM gone").await, Err(SourceError::Statement { .. })));
    assert_eq!(files.json("SELECT count(*) FROM orders").await, "[[0]]");
}

#[tokio::test]
async fn a_file_that_is_no_database_says_so() {
    let files = Files::new();
    std::fs::write(files.inside.join("text.db"), "no database, and long enough to look like one".repeat(50))
        .expect("written");
    let error = files.engine.probe(&address("text.db")).await.expect_err("no database");
    assert!(matches!(error, SourceError::Unreachable(_)), "{error:?}");
    let mut bytes = std::fs::read(files.inside.join("shop.db")).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xA5);
    std::fs::write(files.inside.join("broken.db"), bytes).expect("written");
    let (broken, join) = (address("broken.db"), query("SELECT * FROM shops JOIN orders", false));
    let _ = files.engine.run(&broken, &join, &RunOptions::default(), CancellationToken::new()).await;
    // A writer's lock is waited for, within the time limit.
    let writer = rusqlite::Connection::open(files.inside.join("shop.db")).expect("opens");
    writer.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let options = RunOptions { timeout: Duration::from_millis(200), ..RunOptions::default() };
    let locked = files.run_with("SELECT * FROM shops", false, &options).await;
    assert!(
        matches!(locked, Err(SourceError::Statement { .. } | SourceError::TimedOut { .. })),
        "{locked:?}"
    );
}

#[tokio::test]
async fn options_that_mean_nothing_are_refused() {
    let files = Files::new();
    let schema = |name: &str| RunOptions { current_schema: Some(name.to_owned()), ..RunOptions::default() };
    assert!(files.run_with("SELECT 1", false, &schema("MAIN")).await.is_ok());
    assert!(matches!(
        files.run_with("SELECT 1", false, &schema("public")).await,
        Err(SourceError::Option(_))
    ));
    let parameter = RunOptions {
        session_parameters: vec![(ringfence_engine::SessionParameter::TimeZone, "UTC".to_owned())],
        ..RunOptions::default()
    };
    assert!(matches!(files.run_with("SELECT 1", false, &parameter).await, Err(SourceError::Option(_))));
}
