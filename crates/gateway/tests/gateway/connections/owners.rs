//! Who may change whose list.

use ringfence_gateway::Code;
use ringfence_gateway::connections::ConnectionEdits;

use super::keys;
use crate::sources::{add, edit, file, new, update};
use crate::world::{World, code, same_refusal};

fn for_owner(edits: ConnectionEdits, owner: &str) -> ConnectionEdits {
    ConnectionEdits { owner: Some(owner.to_owned()), ..edits }
}

#[tokio::test]
async fn any_change_needs_write_databases() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let key = add(&world, "a-ann", &spec, None).await;
    for user in ["a-trial-api", "b-trial-api"] {
        assert_eq!(code(edit(&world, user, update(new(&spec, None))).await), Code::NotPermitted);
        let call = world.call_as(user).await;
        assert_eq!(code(world.gateway.refresh_connection(&call, &key).await), Code::NotPermitted);
        assert!(keys(&world, user).await.is_empty(), "listing needs nothing");
        assert_eq!(edit(&world, user, ConnectionEdits::default()).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn pushing_needs_push_databases() {
    let world = World::new().await;
    let mut spec = file(&world, "1.db", "");
    spec.push = true;
    assert_eq!(code(edit(&world, "a-ann", update(new(&spec, None))).await), Code::NotPermitted);
    edit(&world, "a-lead", update(new(&spec, None))).await.unwrap();
}

#[tokio::test]
async fn somebody_elses_list_is_for_those_who_manage_the_user() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let edits = || update(new(&spec, None));
    // An administrator of the organization gives a connection to a user who may not add one.
    let key = edit(&world, "a-boss", for_owner(edits(), "a-trial-api")).await.unwrap().remove(0);
    let call = world.call_as("a-trial-api").await;
    let view = world.gateway.get_connection(&call, key.as_str()).await.unwrap();
    assert_eq!(view.owner.as_str(), "a-trial-api");
    assert!(keys(&world, "a-boss").await.is_empty());
    // Out of reach and unknown are the same answer.
    let gone = same_refusal(
        edit(&world, "a-boss", for_owner(edits(), "b-ann")).await,
        edit(&world, "a-boss", for_owner(edits(), "nobody")).await,
    );
    assert_eq!(gone, Code::NotPermitted);
    let more_powerful = same_refusal(
        edit(&world, "a-boss", for_owner(edits(), "a-super")).await,
        edit(&world, "a-boss", for_owner(edits(), "no\0body")).await,
    );
    assert_eq!(more_powerful, Code::NotPermitted);
    for user in ["a-ann", "a-lead"] {
        assert_eq!(code(edit(&world, user, for_owner(edits(), "a-abe")).await), Code::NotPermitted);
    }
    edit(&world, "a-ann", for_owner(edits(), "a-ann")).await.unwrap();
    edit(&world, "a-super", for_owner(edits(), "b-ann")).await.unwrap();
    assert_eq!(keys(&world, "b-ann").await.len(), 1);
    let removal = ConnectionEdits { removed: vec![key.as_str().to_owned()], ..ConnectionEdits::default() };
    edit(&world, "a-boss", for_owner(removal, "a-trial-api")).await.unwrap();
    assert!(keys(&world, "a-trial-api").await.is_empty());
    assert_eq!(keys(&world, "b-ann").await.len(), 1);
}
