//! What a database holds, and what a statement would read.

use std::sync::Mutex;

use ringfence_engine::{Explained, RunOptions, SourceAddress, SourceError};
use ringfence_policy::{Constraint, RelationKind};

use crate::world::{World, open};

const SCHEMA: &[&str] = &[
    "CREATE SCHEMA sales",
    "CREATE SCHEMA empty",
    "CREATE TYPE sales.mood AS ENUM ('a')",
    "CREATE DOMAIN sales.code AS varchar(9) NOT NULL",
    "CREATE TABLE sales.shops (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(20) NOT NULL UNIQUE)",
    "CREATE TABLE sales.\"Orders\" (shop int REFERENCES sales.shops, no int, total numeric(10,2), tags text[],
       m sales.mood, c sales.code, at timestamptz, gone int, PRIMARY KEY (no, shop))",
    "ALTER TABLE sales.\"Orders\" DROP COLUMN gone",
    "COMMENT ON TABLE sales.shops IS 'where'",
    "COMMENT ON COLUMN sales.shops.name IS 'sign'",
    "CREATE VIEW sales.v AS SELECT name FROM sales.shops",
    "CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one",
    "CREATE TABLE parts (a int) PARTITION BY RANGE (a)",
    "CREATE TABLE hidden (a int, b int)",
];

#[tokio::test]
async fn the_catalog_holds_what_the_credentials_see() {
    let world = World::with_places(1).await;
    for sql in SCHEMA {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let heard = Mutex::new(Vec::new());
    let progress = |schema: &str, done, all| {
        heard.lock().expect("no panic").push((schema.to_owned(), done, all));
    };
    let catalog = world.engine.introspect(&world.address(), &progress).await.expect("reads");
    assert_eq!(catalog.database, "shop");
    let names: Vec<_> =
        catalog.schemas.iter().map(|schema| (schema.name.as_str(), schema.relations.len())).collect();
    assert_eq!(names, [("information_schema", 9), ("public", 3), ("sales", 3)]);
    assert_eq!(heard.into_inner().expect("no panic").last(), Some(&("sales".to_owned(), 15, 15)));
    let orders = catalog.relation("sales", "Orders").expect("there");
    let columns: Vec<_> =
        orders.columns.iter().map(|it| (it.name.as_str(), it.data_type.as_str(), it.nullable)).collect();
    assert_eq!(
        columns,
        [
            ("shop", "integer", false),
            ("no", "integer", false),
            ("total", "numeric", true),
            ("tags", "ARRAY", true),
            ("m", "sales.mood", true),
            ("c", "character varying", false),
            ("at", "timestamp with time zone", true),
        ]
    );
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        orders.constraints,
        [
            Constraint::Primary { columns: texts(&["no", "shop"]) },
            Constraint::Foreign {
                columns: texts(&["shop"]),
                target_schema: "sales".to_owned(),
                target_relation: "shops".to_owned(),
                target_columns: texts(&["id"]),
            },
        ]
    );
}

#[tokio::test]
async fn comments_keys_and_kinds_are_read() {
    let world = World::with_places(1).await;
    for sql in SCHEMA {
        world.run(sql).await.expect("made");
    }
    let catalog = world.engine.introspect(&world.address(), &|_, _, _| ()).await.expect("reads");
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let shops = catalog.relation("sales", "shops").expect("there");
    assert_eq!(
        (shops.comment.as_deref(), shops.columns[1].comment.as_deref()),
        (Some("where"), Some("sign"))
    );
    assert_eq!(shops.constraints[1], Constraint::Unique { columns: texts(&["name"]) });
    for (schema, name, kind) in [
        ("sales", "v", RelationKind::View),
        ("public", "mv", RelationKind::MaterializedView),
        ("public", "parts", RelationKind::PartitionedTable),
        ("information_schema", "tables", RelationKind::View),
    ] {
        assert_eq!(catalog.relation(schema, name).map(|it| it.kind), Some(kind), "{name}");
    }
    assert!(!catalog.relation("information_schema", "columns").expect("there").columns.is_empty());
}

#[tokio::test]
async fn another_user_sees_what_was_granted() {
    let world = World::with_places(1).await;
    for sql in SCHEMA {
        world.run(sql).await.expect("made");
    }
    world.server.create_database("spare", "guest", "guest").await;
    world.run("GRANT USAGE ON SCHEMA sales TO guest").await.expect("granted");
    world.run("GRANT SELECT (name) ON sales.shops TO guest").await.expect("granted");
    let guest = SourceAddress {
        username: Some("guest".to_owned()),
        password: Some("guest".into()),
        ..world.address()
    };
    let catalog = world.engine.introspect(&guest, &|_, _, _| ()).await.expect("reads");
    let shops = catalog.relation("sales", "shops").expect("there");
    assert_eq!((catalog.relation_count(), shops.columns.len(), shops.constraints.len()), (10, 1, 1));
}

#[tokio::test]
async fn a_large_database_is_read_in_one_go() {
    let world = World::with_places(1).await;
    let make = "DO $$ BEGIN FOR i IN 1..1500 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, b int REFERENCES t1)', i); \
                IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END $$";
    world.run(make).await.expect("made");
    let catalog = world.engine.introspect(&world.address(), &|_, _, _| ()).await.expect("reads");
    assert_eq!(catalog.relation_count(), 1509);
    assert!(
        catalog.schemas[1]
            .relations
            .iter()
            .all(|table| table.columns.len() == 3 && table.constraints.len() == 2)
    );
}

#[tokio::test]
async fn explain_names_relations_and_executes_nothing() {
    let world = World::with_places(1).await;
    for sql in SCHEMA {
        world.run(sql).await.expect("made");
    }
    let explain = |sql: &'static str| {
        let (engine, address) = (world.engine.clone(), world.address());
        async move { engine.explain(&address, &open(sql), &RunOptions::default()).await }
    };
    let pair = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
    for (sql, relations) in [
        ("SELECT 1", vec![]),
        (
            "SELECT * FROM hidden a JOIN sales.v ON true, hidden b",
            vec![pair("public", "hidden"), pair("sales", "shops")],
        ),
        ("SELECT 1; -- done", vec![]),
        (
            "INSERT INTO hidden SELECT id FROM sales.shops",
            vec![pair("public", "hidden"), pair("sales", "shops")],
        ),
        ("DELETE FROM hidden", vec![pair("public", "hidden")]),
        ("WITH x AS (DELETE FROM hidden RETURNING a) SELECT * FROM x", vec![pair("public", "hidden")]),
        ("CREATE TABLE made AS SELECT * FROM hidden", vec![pair("public", "hidden")]),
    ] {
        let explained = explain(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(explained, Explained::Plan(relations), "{sql}");
    }
    for sql in [
        "CREATE TABLE made (a int)",
        "DROP TABLE hidden",
        "DROP TABLE nothing",
        "SET work_mem = '9MB'",
        "EXPLAIN ANALYZE DELETE FROM hidden",
    ] {
        let explained = explain(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(explained, Explained::NoPlan, "{sql}");
    }
    for (sql, code) in
        [("SELECT * FROM nothing", "42P01"), ("SELEC 1", "42601"), ("SELECT nope FROM hidden", "42703")]
    {
        let refused = explain(sql).await;
        assert!(
            matches!(&refused, Err(SourceError::Statement { sqlstate: Some(it), .. }) if it == code),
            "{sql}: {refused:?}"
        );
    }
    assert_eq!(
        world.json("SELECT to_regclass('made') IS NULL, to_regclass('hidden') IS NOT NULL").await,
        "[[true,true]]"
    );
    assert_eq!(world.json("SHOW work_mem").await, r#"[["4MB"]]"#);
}
