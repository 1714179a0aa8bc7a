//! What a connection's description may hold.

use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionSpec;

use crate::sources::{contexts, edit, file, filtered, new, update};
use crate::world::{World, code};

fn change(spec: &ConnectionSpec, change: impl FnOnce(&mut ConnectionSpec)) -> ConnectionSpec {
    let mut spec = spec.clone();
    change(&mut spec);
    spec
}

#[tokio::test]
async fn what_can_not_be_a_connection_is_refused() {
    let world = World::new().await;
    let good = file(&world, "1.db", "CREATE TABLE t (a)");
    let long = "x".repeat(4 * 1024 + 1);
    let refused = [
        change(&good, |spec| spec.db_type = "oracle".to_owned()),
        change(&good, |spec| spec.database = None),
        change(&good, |spec| spec.db_type = "postgresql".to_owned()),
        change(&good, |spec| spec.username = Some(long.clone())),
        change(&good, |spec| spec.description = Some(long.clone())),
        change(&good, |spec| spec.description = Some("a\0b".to_owned())),
        change(&good, |spec| spec.host = Some("a\0b".to_owned())),
        change(&good, |spec| spec.host = Some("a\nb".to_owned())),
        change(&good, |spec| spec.database = Some("a\rb".to_owned())),
        change(&good, |spec| {
            spec.parameters = serde_json::from_str(r#"{"sslmode":"maybe"}"#).unwrap();
        }),
        change(&good, |spec| {
            spec.parameters = serde_json::from_str(r#"{"a":{"b":["\u0000"]}}"#).unwrap();
        }),
        change(&good, |spec| {
            spec.sample_filters = Some("x".repeat(300 * 1024).into());
        }),
        change(&good, |spec| {
            spec.content_filters = Some(vec![contexts("[{}]").remove(0); 1_001]);
        }),
        change(&good, |spec| {
            spec.db_content_filters =
                serde_json::from_str(r#"[{"filter_scope":"table","pattern":"("}]"#).unwrap();
        }),
        filtered(&good, r#"[{"table_name":"a\u0000"}]"#),
    ];
    for spec in refused {
        let refusal = edit(&world, "a-ann", update(new(&spec, None))).await;
        assert_eq!(code(refusal), Code::InvalidRequest, "{}", spec.db_type);
    }
    for password in [long.as_str(), "a\0b"] {
        let refusal = edit(&world, "a-ann", update(new(&good, Some(password)))).await;
        assert_eq!(code(refusal), Code::InvalidRequest);
    }
    let twice =
        ConnectionEdits { updated: vec![new(&good, None), new(&good, None)], ..ConnectionEdits::default() };
    assert_eq!(code(edit(&world, "a-ann", twice).await), Code::InvalidRequest);
    let list = world.gateway.list_connections(&world.call_as("a-ann").await).await.unwrap();
    assert!(list.connections.is_empty());
    let lines = change(&good, |spec| spec.description = Some("two\nlines".to_owned()));
    edit(&world, "a-ann", update(new(&lines, None))).await.unwrap();
}

#[tokio::test]
async fn a_list_holds_a_thousand() {
    let world = World::new().await;
    let good = file(&world, "1.db", "");
    let numbered = |number: usize| change(&good, |spec| spec.db_alias = Some(format!("n{number}")));
    let many = |count: usize| ConnectionEdits {
        updated: (0..count).map(|number| new(&numbered(number), None)).collect(),
        ..ConnectionEdits::default()
    };
    let refusal: Result<_, Refused> = edit(&world, "a-ann", many(1_001)).await;
    assert_eq!(code(refusal), Code::InvalidRequest);
    edit(&world, "a-ann", many(1_000)).await.unwrap();
    edit(&world, "a-ann", many(1_000)).await.unwrap();
    assert_eq!(code(edit(&world, "a-ann", update(new(&good, None))).await), Code::InvalidRequest);
}
