//! Sign-in sessions: a cookie's secret is the user, until the session ends or anything about the user changes.

use std::time::Duration;

use ringfence_gateway::sessions::{Client, NewSession, OpenedSession, SignInSource};
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Acting, Call, Code, Credentials, Gateway, Refused};
use ringfence_policy::UserId;
use secrecy::ExposeSecret as _;

use crate::world::{World, begin, code, eventually, key_of, same_refusal};

/// A session of the user, as a password would open it.
async fn sign_in(gateway: &Gateway, user: &str, replaces: Option<&str>) -> OpenedSession {
    open(gateway, user, SignInSource::Password, replaces).await.unwrap()
}

async fn open(
    gateway: &Gateway,
    user: &str,
    source: SignInSource,
    replaces: Option<&str>,
) -> Result<OpenedSession, Refused> {
    let user = UserId::new(user).unwrap();
    let outside = matches!(source, SignInSource::Oidc(_));
    let new = NewSession {
        user: &user,
        source,
        outside_id: outside.then_some("outside"),
        outside_subject: outside.then_some("subject"),
        replaces,
        client: Client { address: Some([203, 0, 113, 9].into()), agent: Some("a browser") },
    };
    gateway.open_session(&begin(gateway), new).await
}

async fn with(gateway: &Gateway, secret: &str) -> Result<Call, Refused> {
    let credentials = Credentials { session: Some(secret), ..Credentials::default() };
    gateway.identify(&begin(gateway), credentials).await
}

fn secret(opened: &OpenedSession) -> String {
    opened.secret.expose_secret().to_owned()
}

#[tokio::test]
async fn a_session_is_its_user_and_nothing_else() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let opened = sign_in(gateway, "a-ann", None).await;
    let secret = secret(&opened);
    let call = with(gateway, &secret).await.unwrap();
    assert_eq!(call.principal().user.as_str(), "a-ann");
    let by_key = world.call_as("a-ann").await;
    assert_eq!(call.principal().permissions, by_key.principal().permissions);

    // A session's secret is no access key, an access key is no session, and what never was is answered like what has ended.
    assert_eq!(code(gateway.authenticate(&world.begin(), Some(&secret), None).await), Code::KeyUnknown);
    let never = with(gateway, &key_of("a-ann")).await;
    gateway.end_session(&world.begin(), &secret).await.unwrap().unwrap();
    let ended = with(gateway, &secret).await;
    assert_eq!(same_refusal(never, ended), Code::SessionEnded);
    assert!(gateway.end_session(&world.begin(), &secret).await.unwrap().is_none());
    assert_eq!(code(with(gateway, "").await), Code::SessionEnded);
}

#[tokio::test]
async fn what_is_presented_beside_a_session_counts_before_it() {
    let world = World::new().await;
    let secret = secret(&sign_in(&world.gateway, "a-ann", None).await);
    let key = key_of("a-boss");
    let both = Credentials { access_key: Some(&key), session: Some(&secret), ..Credentials::default() };
    let call = world.gateway.identify(&world.begin(), both).await.unwrap();
    assert_eq!(call.principal().user.as_str(), "a-boss");
    // A wrong key is not made good by a session.
    let wrong = Credentials { access_key: Some("wrong"), ..both };
    assert_eq!(code(world.gateway.identify(&world.begin(), wrong).await), Code::KeyUnknown);
    // And a browser speaks for nobody but the person in front of it.
    let acting = Credentials {
        session: Some(&secret),
        acting: Some(Acting::Token("a.b.c")),
        ..Credentials::default()
    };
    assert_eq!(code(world.gateway.identify(&world.begin(), acting).await), Code::NotPermitted);
}

#[tokio::test]
async fn signing_in_ends_the_session_that_was_there() {
    let world = World::new().await;
    let gateway = &world.gateway;
    // Somebody plants the cookie of a session of their own in another's browser.
    let planted = secret(&sign_in(gateway, "b-ann", None).await);
    assert!(with(gateway, &planted).await.is_ok());
    let own = secret(&sign_in(gateway, "a-ann", Some(&planted)).await);
    assert_ne!(own, planted);
    assert_eq!(code(with(gateway, &planted).await), Code::SessionEnded);
    assert_eq!(with(gateway, &own).await.unwrap().principal().user.as_str(), "a-ann");
    // A secret that somebody made up is not taken over.
    let made_up = secret(&sign_in(gateway, "a-ann", Some("rfs_made_up")).await);
    assert_eq!(code(with(gateway, "rfs_made_up").await), Code::SessionEnded);
    assert!(with(gateway, &made_up).await.is_ok());
}

#[tokio::test]
async fn each_sees_and_ends_their_own_sessions() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let (first, second) = (sign_in(gateway, "a-ann", None).await, sign_in(gateway, "a-ann", None).await);
    let other = sign_in(gateway, "a-abe", None).await;
    let call = with(gateway, &secret(&first)).await.unwrap();
    let listed = gateway.list_sessions(&call).await.unwrap();
    let flags: Vec<_> = listed.iter().map(|it| (it.session.id.as_str(), it.is_current)).collect();
    assert_eq!(flags, [(first.id.as_str(), true), (second.id.as_str(), false)]);
    assert_eq!(listed[0].session.address, "203.0.113.0/24");
    let theirs = gateway.revoke_session(&call, &other.id).await;
    let missing = gateway.revoke_session(&call, "no-such-session").await;
    assert_eq!(same_refusal(theirs, missing), Code::NotFound);
    assert!(with(gateway, &secret(&other)).await.is_ok());
    gateway.revoke_session(&call, &second.id).await.unwrap();
    assert_eq!(code(with(gateway, &secret(&second)).await), Code::SessionEnded);
    assert!(with(gateway, &secret(&first)).await.is_ok());
}

#[tokio::test]
async fn administrators_end_sessions_of_those_they_manage() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let ann = sign_in(gateway, "a-ann", None).await;
    let again = sign_in(gateway, "a-ann", None).await;
    let boss = sign_in(gateway, "a-boss", None).await;
    let stranger = world.call_as("b-boss").await;
    let theirs = gateway.list_sessions_of(&stranger, "a-ann").await;
    let missing = gateway.list_sessions_of(&stranger, "nobody").await;
    assert_eq!(same_refusal(theirs, missing), Code::NotFound);
    let lead = world.call_as("a-lead").await;
    assert_eq!(code(gateway.revoke_sessions_of(&lead, "a-boss", None).await), Code::NotPermitted);
    let user = world.call_as("a-abe").await;
    assert_eq!(code(gateway.revoke_sessions_of(&user, "a-ann", None).await), Code::NotPermitted);
    let admin = world.call_as("a-boss").await;
    assert_eq!(gateway.list_sessions_of(&admin, "a-ann").await.unwrap().len(), 2);
    gateway.revoke_sessions_of(&admin, "a-ann", Some(&ann.id)).await.unwrap();
    assert_eq!(code(with(gateway, &secret(&ann)).await), Code::SessionEnded);
    assert!(with(gateway, &secret(&again)).await.is_ok());
    gateway.revoke_sessions_of(&admin, "a-ann", None).await.unwrap();
    assert_eq!(code(with(gateway, &secret(&again)).await), Code::SessionEnded);
    assert!(with(gateway, &secret(&boss)).await.is_ok());
}

#[tokio::test]
async fn a_change_of_the_user_counts_in_open_sessions_at_once() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let boss = world.call_as("a-boss").await;
    let secret = secret(&sign_in(gateway, "a-ann", None).await);
    let spec = |id: &str| UserSpec { id: id.to_owned(), ..UserSpec::default() };
    let france = UserSpec { data_roles: Some(vec!["ROLE_FRANCE".to_owned()]), ..spec("a-ann") };
    gateway.update_user(&boss, france).await.unwrap();
    assert_eq!(*with(gateway, &secret).await.unwrap().principal().data_roles, ["ROLE_FRANCE"]);
    gateway.update_user(&boss, UserSpec { data_roles: Some(Vec::new()), ..spec("a-ann") }).await.unwrap();
    assert!(with(gateway, &secret).await.unwrap().principal().data_roles.is_empty());
    let powerless = UserSpec { roles: vec!["user".to_owned()], ..spec("a-ann") };
    gateway.update_user(&boss, powerless).await.unwrap();
    assert_eq!(code(with(gateway, &secret).await), Code::NotPermitted);
    assert_eq!(code(open(gateway, "a-ann", SignInSource::Password, None).await), Code::NotPermitted);
    let back = UserSpec { roles: vec!["api-user".to_owned()], ..spec("a-ann") };
    gateway.update_user(&boss, back).await.unwrap();
    assert!(with(gateway, &secret).await.is_ok());
    // Who moves signs in again, and who is deleted leaves nothing to a later user of that name.
    gateway.update_user(&boss, UserSpec { tenant: Some("a-t2".to_owned()), ..spec("a-ann") }).await.unwrap();
    assert_eq!(code(with(gateway, &secret).await), Code::SessionEnded);
    gateway.update_user(&boss, UserSpec { tenant: Some("a-t1".to_owned()), ..spec("a-ann") }).await.unwrap();
    assert!(with(gateway, &secret).await.is_ok());
    gateway.delete_user(&boss, "a-ann").await.unwrap();
    assert_eq!(code(with(gateway, &secret).await), Code::SessionEnded);
    gateway.create_user(&boss, spec("a-ann")).await.unwrap();
    assert_eq!(code(with(gateway, &secret).await), Code::SessionEnded);
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let world = World::with(|config| config.sessions.absolute = Duration::from_millis(400)).await;
    let gateway = &world.gateway;
    let secret = secret(&sign_in(gateway, "a-ann", None).await);
    // Asking keeps it from being idle, and does not keep it open.
    let refused = eventually(async || with(gateway, &secret).await.err()).await;
    assert_eq!(refused.code, Code::SessionEnded);
}

#[tokio::test]
async fn a_provider_ends_what_rests_on_it() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let corp = || SignInSource::Oidc("corp".to_owned());
    let outside = secret(&open(gateway, "a-ann", corp(), None).await.unwrap());
    let own = secret(&sign_in(gateway, "a-ann", None).await);
    let log = || world.begin();
    let ended =
        async |source, id, subject| gateway.end_outside_sessions(&log(), &source, id, subject).await.unwrap();
    assert_eq!(ended(corp(), None, None).await, 0);
    assert_eq!(ended(SignInSource::Oidc("other".to_owned()), Some("outside"), None).await, 0);
    assert_eq!(ended(corp(), Some("outside"), Some("somebody else")).await, 0);
    assert!(with(gateway, &outside).await.is_ok());
    assert_eq!(ended(corp(), None, Some("subject")).await, 1);
    assert_eq!(code(with(gateway, &outside).await), Code::SessionEnded);
    assert!(with(gateway, &own).await.is_ok());
}

#[tokio::test]
async fn another_node_hears_that_a_session_ended() {
    let world = World::new().await;
    let (other, _) = world.open_again(world.config.clone()).await.unwrap();
    let opened = sign_in(&world.gateway, "a-ann", None).await;
    let secret = secret(&opened);
    assert!(with(&other, &secret).await.is_ok());
    world.gateway.end_session(&world.begin(), &secret).await.unwrap();
    let refused = eventually(async || with(&other, &secret).await.err()).await;
    assert_eq!(refused.code, Code::SessionEnded);
}
