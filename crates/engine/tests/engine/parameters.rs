//! Values travel beside the text, and arrive as what they are.

use ringfence_engine::{ResultSet, RunOptions, SourceError};
use ringfence_guard::{Fence, Parameter, unsealed};
use tokio_util::sync::CancellationToken;

use crate::world::{World, rows};

fn text(text: &str) -> Parameter {
    Parameter::Text(text.to_owned())
}

fn list(values: &[Parameter]) -> Parameter {
    Parameter::List(values.to_vec())
}

async fn read(world: &World, sql: &str, parameters: Vec<Parameter>) -> Result<ResultSet, SourceError> {
    let query = unsealed::fenced(sql, parameters, Fence { returns_rows: true, ..Fence::default() });
    world.engine.run(&world.address(), &query, &RunOptions::default(), CancellationToken::new()).await
}

#[tokio::test]
async fn the_server_types_what_it_is_given() {
    let world = World::with_places(1).await;
    let odd = "it's \\ \"a\" {b,c} NULL \u{fc}\u{1f600} $1 -- /*";
    for (sql, parameters, expected) in [
        ("SELECT $1::text", vec![text(odd)], serde_json::json!([[odd]])),
        (
            "SELECT $1::text, $2::int",
            vec![Parameter::Null, Parameter::Null],
            serde_json::json!([[null, null]]),
        ),
        ("SELECT $1 + 1", vec![Parameter::Integer(41)], serde_json::json!([[42]])),
        ("SELECT $1::int8", vec![Parameter::Integer(i64::MIN)], serde_json::json!([[i64::MIN]])),
        ("SELECT $1::float8", vec![Parameter::Float(1e-7)], serde_json::json!([[1e-7]])),
        ("SELECT $1::numeric = 1.5", vec![Parameter::Float(1.5)], serde_json::json!([[true]])),
        ("SELECT NOT $1", vec![Parameter::Bool(true)], serde_json::json!([[false]])),
        ("SELECT $1::date + 1", vec![text("2024-02-28")], serde_json::json!([["2024-02-29"]])),
        (
            "SELECT $1::uuid",
            vec![text("00000000-0000-0000-0000-00000000000A")],
            serde_json::json!([["00000000-0000-0000-0000-00000000000a"]]),
        ),
        ("SELECT $1::jsonb ->> 'a'", vec![text(r#"{"a": "b\"c"}"#)], serde_json::json!([["b\"c"]])),
        (
            "SELECT 2 = ANY ($1)",
            vec![list(&[Parameter::Integer(1), Parameter::Integer(2)])],
            serde_json::json!([[true]]),
        ),
        (
            "SELECT $1::text[]",
            vec![list(&[text(odd), Parameter::Null, text(""), text("NULL")])],
            serde_json::json!([[[odd, null, "", "NULL"]]]),
        ),
        ("SELECT $1::int[]", vec![list(&[])], serde_json::json!([[[]]])),
        (
            "SELECT $1::bool[][]",
            vec![list(&[list(&[Parameter::Bool(true)]), list(&[Parameter::Bool(false)])])],
            serde_json::json!([[[[true], [false]]]]),
        ),
        // Only PostgreSQL can put these into words.
        (
            "SELECT $1::inet, $2::text",
            vec![text("10.0.0.1"), text(odd)],
            serde_json::json!([["10.0.0.1", odd]]),
        ),
        (
            "SELECT int4range($1, $2), $3::text[]",
            vec![Parameter::Integer(1), Parameter::Null, list(&[text(odd)])],
            serde_json::json!([["[1,)", [odd]]]),
        ),
    ] {
        // Twice: prepared anew, and kept.
        for _ in 0..2 {
            let result = read(&world, sql, parameters.clone()).await;
            let result = result.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!(rows(&result), expected.to_string(), "{sql}");
        }
    }
}

#[tokio::test]
async fn values_and_placeholders_must_match() {
    let world = World::with_places(1).await;
    for (sql, parameters, code) in [
        ("SELECT $1::int", vec![], "42P02"),
        ("SELECT 1", vec![Parameter::Integer(1)], "42P02"),
        ("SELECT $1::text", vec![text("a\0b")], "22021"),
        ("SELECT $1::int", vec![text("x")], "22P02"),
        ("SELECT $1::inet", vec![text("x")], "22P02"),
    ] {
        for _ in 0..2 {
            match read(&world, sql, parameters.clone()).await {
                Err(SourceError::Statement { sqlstate: Some(got), message }) => {
                    assert_eq!(got, code, "{sql}: {message}");
                    assert!(!message.contains("\"x\""), "{message}");
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
        let after = read(&world, "SELECT $1::inet", vec![text("::1")]).await.expect("the session is fine");
        assert_eq!(rows(&after), r#"[["::1"]]"#);
    }
    assert_eq!(world.engine.open_connections(), 1, "no session was given up");
}

#[tokio::test]
async fn one_plan_serves_all_values() {
    let world = World::with_places(1).await;
    for number in 0..20 {
        let result = read(&world, "SELECT $1::int8 * 2", vec![Parameter::Integer(number)]).await;
        assert_eq!(rows(&result.expect("it runs")), format!("[[{}]]", number * 2));
    }
    let kept = "SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE statement LIKE '%int8 * 2'";
    let result = read(&world, kept, vec![]).await.expect("it runs");
    assert_eq!(rows(&result), "[[1]]");
}
