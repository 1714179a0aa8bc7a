//! Sign-in sessions: found by the secret's digest until their time is over, told of when they end.

use ringfence_store::StoreError;
use ringfence_store::changes::Change;
use ringfence_store::sessions::{Outside, Session, hash_of};

use crate::world::{World, org, tenant_id, told, two_organizations, user, user_id};

fn session(secret: &str, of: &str) -> Session {
    Session {
        hash: hash_of(secret),
        id: format!("id-{secret}"),
        user: user_id(of),
        org: org("acme"),
        tenant: tenant_id("acme-1"),
        source: "oidc:corp".to_owned(),
        outside_id: Some(format!("outside-{secret}")),
        outside_subject: Some(format!("subject-{of}")),
        opened_at: 1_000,
        last_used_at: 1_000,
        idle_ms: 100,
        expires_at: 1_250,
        address: "203.0.113.0/24".to_owned(),
        agent: "a browser".to_owned(),
    }
}

pub(crate) async fn sessions_are_found_until_their_end(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let sessions = store.sessions();
    let made = session("one", "ann");
    sessions.open(&made, None, 10).await.unwrap();
    let find = async |now: i64| sessions.find(&made.hash, now).await.unwrap();
    assert_eq!(find(1_099).await, Some(made.clone()));
    assert_eq!(find(1_100).await, None, "idle for too long");
    assert_eq!(sessions.find(&hash_of("other"), 1_000).await.unwrap(), None);

    sessions.touch(&made.hash, 1_090).await.unwrap();
    assert_eq!(find(1_189).await.unwrap().last_used_at, 1_090);
    sessions.touch(&made.hash, 1_050).await.unwrap();
    assert_eq!(find(1_189).await.unwrap().last_used_at, 1_090, "a clock that stands behind changes nothing");
    sessions.touch(&made.hash, 1_200).await.unwrap();
    assert_eq!(find(1_200).await, None, "one that has ended is not taken up again");
    sessions.touch(&made.hash, 1_180).await.unwrap();
    assert!(find(1_249).await.is_some());
    assert_eq!(find(1_250).await, None, "however much it is used");
    let nobody = sessions.open(&session("two", "nobody"), None, 10).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
}

pub(crate) async fn opening_ends_what_it_replaces(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let sessions = store.sessions();
    for secret in ["a", "b", "c", "d"] {
        sessions.open(&session(secret, "ann"), None, 3).await.unwrap();
    }
    sessions.open(&session("other", "abe"), None, 3).await.unwrap();
    let secrets = async |of: &str| {
        let listed = sessions.list(&user_id(of), 1_000).await.unwrap();
        listed.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(secrets("ann").await, ["id-b", "id-c", "id-d"], "the oldest went");
    let mut news = store.subscribe();
    sessions.open(&session("e", "ann"), Some(&hash_of("c")), 3).await.unwrap();
    assert_eq!(told(&mut news).await, Change::Key(hash_of("c")));
    assert_eq!(secrets("ann").await, ["id-b", "id-d", "id-e"]);
    let later = Session { opened_at: 2_000, last_used_at: 2_000, expires_at: 9_000, ..session("f", "abe") };
    sessions.open(&later, None, 3).await.unwrap();
    assert_eq!(secrets("ann").await, [] as [&str; 0], "those that were over are removed");
    assert_eq!(secrets("abe").await, ["id-f"]);
}

pub(crate) async fn sessions_end_and_are_told(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let sessions = store.sessions();
    for (secret, of) in [("a", "ann"), ("b", "ann"), ("c", "ann"), ("d", "abe"), ("e", "abe")] {
        sessions.open(&session(secret, of), None, 10).await.unwrap();
    }
    let mut news = store.subscribe();
    assert_eq!(sessions.end(&hash_of("a")).await.unwrap(), Some(session("a", "ann")));
    assert_eq!(told(&mut news).await, Change::Key(hash_of("a")));
    assert_eq!(sessions.end(&hash_of("a")).await.unwrap(), None);
    assert_eq!(sessions.end_one(&user_id("abe"), "id-b").await.unwrap(), None, "another's");
    assert_eq!(sessions.end_one(&user_id("ann"), "id-b").await.unwrap(), Some(hash_of("b")));
    assert_eq!(told(&mut news).await, Change::Key(hash_of("b")));
    let outside = |source, id, subject| Outside { source, id, subject };
    for nothing in [
        outside("oidc:corp", None, None),
        outside("oidc:other", Some("outside-c"), None),
        outside("oidc:corp", Some("outside-c"), Some("subject-abe")),
    ] {
        assert_eq!(sessions.end_outside(nothing).await.unwrap(), [], "{nothing:?}");
    }
    let ended = sessions.end_outside(outside("oidc:corp", Some("outside-c"), Some("subject-ann"))).await;
    assert_eq!(ended.unwrap(), [hash_of("c")]);
    let mut ended = sessions.end_outside(outside("oidc:corp", None, Some("subject-abe"))).await.unwrap();
    ended.sort_by_key(|hash| hash.0);
    let mut both = [hash_of("d"), hash_of("e")];
    both.sort_by_key(|hash| hash.0);
    assert_eq!(ended, both);

    sessions.open(&session("f", "ann"), None, 10).await.unwrap();
    let ann = store.users().get(&user_id("ann")).await.unwrap().unwrap();
    store.users().delete(&ann.id).await.unwrap();
    store.users().create(&user("ann", ann.tenant.as_str(), ann.org.as_str())).await.unwrap();
    assert_eq!(sessions.find(&hash_of("f"), 1_000).await.unwrap(), None, "gone with its user");
    sessions.open(&session("g", "ann"), None, 10).await.unwrap();
    assert_eq!(sessions.end_all(&user_id("ann")).await.unwrap(), [hash_of("g")]);
}
