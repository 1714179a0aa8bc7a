//! Trying credentials: servers that never answer hold up only those who name them.

use std::net::TcpListener;

use futures::future::join_all;
use ringfence_gateway::Code;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_policy::ConnectionSpec;

use crate::sources::{edit, file, new, update};
use crate::world::{World, code};

#[tokio::test]
async fn one_organization_can_not_take_all_turns_at_trying_credentials() {
    let world = World::new().await;
    // Connections are taken by the system, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let to_silent = |database: usize| {
        let spec = ConnectionSpec {
            db_type: "postgresql".to_owned(),
            host: Some("127.0.0.1".to_owned()),
            port: Some(port),
            username: Some("u".to_owned()),
            database: Some(database.to_string()),
            ..ConnectionSpec::default()
        };
        ConnectionEdits { validate_before_save: true, ..update(new(&spec, None)) }
    };
    let many = join_all((0..12).map(|n| edit(&world, "a-ann", to_silent(n))));
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let other = async {
        let valid = ConnectionEdits { validate_before_save: true, ..update(new(&spec, None)) };
        edit(&world, "b-ann", valid).await.unwrap();
    };
    let mut many = std::pin::pin!(many);
    tokio::select! {
        _ = &mut many => panic!("the other organization waited for those that nobody answers"),
        () = other => {}
    }
    let many = many.await;
    let codes: Vec<Code> = many.into_iter().map(code).collect();
    let count = |wanted: Code| codes.iter().filter(|code| **code == wanted).count();
    assert_eq!((count(Code::SourceUnreachable), count(Code::SourceBusy)), (2, 10), "{codes:?}");
}
