//! Technical users: a name and a password with each request, given and taken by administrators, read by nobody.

use ringfence_gateway::basic_credentials::NewPassword;
use ringfence_gateway::sessions::Client;
use ringfence_gateway::{Call, Code, Credentials, NameAndPassword, Refused, SignIn, TenantClaims};
use secrecy::{ExposeSecret as _, SecretString};

use crate::world::{World, code, same_refusal};

const OF_FOO: &str =
    "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U";

async fn with(world: &World, user: &str, password: &str) -> Result<Call, Refused> {
    let password: SecretString = password.into();
    let pair = NameAndPassword { user, password: &password };
    let credentials = Credentials { basic: Some(pair), ..Credentials::default() };
    world.gateway.identify(&world.begin(), credentials).await
}

async fn sign_in(
    world: &World,
    user: &str,
    password: &str,
    claims: TenantClaims<'_>,
) -> Result<String, Refused> {
    let password: SecretString = password.into();
    let pair = NameAndPassword { user, password: &password };
    let sign_in = SignIn { pair, claims, client: Client::default(), replaces: None };
    let opened = world.gateway.sign_in(&world.begin(), sign_in).await?;
    Ok(opened.secret.expose_secret().to_owned())
}

fn plain(password: &str) -> NewPassword {
    NewPassword::Plain(password.into())
}

#[tokio::test]
async fn a_password_counts_until_it_is_another() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    let nobody = with(&world, "nobody", "changeit").await;
    assert_eq!(same_refusal(nobody, with(&world, "a-ann", "changeit").await), Code::SignInRefused);
    assert!(world.gateway.put_basic_credential(&boss, "a-ann", plain("changeit")).await.unwrap());
    for _ in 0..2 {
        assert_eq!(with(&world, "a-ann", "changeit").await.unwrap().principal().user.as_str(), "a-ann");
    }
    assert_eq!(code(with(&world, "a-ann", "changeit ").await), Code::SignInRefused);
    assert!(!world.gateway.put_basic_credential(&boss, "a-ann", plain("another one")).await.unwrap());
    assert_eq!(
        code(with(&world, "a-ann", "changeit").await),
        Code::SignInRefused,
        "at once, though it is remembered"
    );
    assert!(with(&world, "a-ann", "another one").await.is_ok());
    world.gateway.delete_basic_credential(&boss, "a-ann").await.unwrap();
    assert_eq!(code(with(&world, "a-ann", "another one").await), Code::SignInRefused);
}

#[tokio::test]
async fn passwords_are_given_within_reach() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let stranger = world.call_as("b-boss").await;
    let theirs = gateway.put_basic_credential(&stranger, "a-ann", plain("changeit")).await;
    let missing = gateway.put_basic_credential(&stranger, "nobody", plain("changeit")).await;
    assert_eq!(same_refusal(theirs, missing), Code::NotFound);
    let boss = world.call_as("a-boss").await;
    gateway.put_basic_credential(&boss, "a-ann", plain("changeit")).await.unwrap();
    let theirs = gateway.delete_basic_credential(&stranger, "a-ann").await;
    let missing = gateway.delete_basic_credential(&stranger, "nobody").await;
    assert_eq!(same_refusal(theirs, missing), Code::NotFound);
    assert!(gateway.list_basic_credentials(&stranger, None).await.unwrap().is_empty());
    assert!(gateway.list_basic_credentials(&stranger, Some("a")).await.unwrap().is_empty());
    assert_eq!(gateway.list_basic_credentials(&boss, None).await.unwrap().len(), 1);
    let lead = world.call_as("a-lead").await;
    assert_eq!(
        code(gateway.put_basic_credential(&lead, "a-boss", plain("changeit")).await),
        Code::NotPermitted
    );
    let user = world.call_as("a-abe").await;
    assert_eq!(code(gateway.list_basic_credentials(&user, None).await), Code::NotPermitted);
    for unusable in [plain("short"), NewPassword::Hash("foo".into()), plain(&"x".repeat(1025))] {
        assert_eq!(code(gateway.put_basic_credential(&boss, "a-ann", unusable).await), Code::InvalidRequest);
    }
    assert!(with(&world, "a-ann", "changeit").await.is_ok());
}

#[tokio::test]
async fn a_hash_of_passlib_is_upgraded_by_its_password() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    world.gateway.put_basic_credential(&boss, "a-ann", NewPassword::Hash(OF_FOO.into())).await.unwrap();
    let kept = async || {
        let user = "a-ann".parse().unwrap();
        world.store.basic_credentials().find(&user).await.unwrap().unwrap().hash.expose_secret().to_owned()
    };
    assert_eq!(code(with(&world, "a-ann", "bar").await), Code::SignInRefused);
    assert_eq!(kept().await, OF_FOO);
    assert!(with(&world, "a-ann", "foo").await.is_ok());
    assert!(kept().await.starts_with("$argon2id$"));
    assert!(with(&world, "a-ann", "foo").await.is_ok());
}

#[tokio::test]
async fn another_tenant_is_a_wrong_password() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    world.gateway.put_basic_credential(&boss, "a-ann", plain("changeit")).await.unwrap();
    let none = TenantClaims::default();
    let wrong = sign_in(&world, "a-ann", "wrong", none).await;
    for claims in [
        TenantClaims { company: Some("a-t2"), ..none },
        TenantClaims { subdomain: Some("a-t2"), ..none },
        TenantClaims { header: Some("nowhere"), ..none },
        TenantClaims { company: Some("a-t1"), subdomain: Some("a-t2"), ..none },
        TenantClaims { unclear: true, ..none },
    ] {
        let elsewhere = sign_in(&world, "a-ann", "changeit", claims).await;
        assert_eq!(same_refusal(wrong.clone(), elsewhere), Code::SignInRefused, "{claims:?}");
    }
    let own =
        TenantClaims { company: Some("a-t1"), subdomain: Some("A-T1"), header: Some("a-t1"), unclear: false };
    sign_in(&world, "a-ann", "changeit", own).await.unwrap();
}

#[tokio::test]
async fn a_session_is_for_its_own_tenants_address() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    world.gateway.put_basic_credential(&boss, "a-ann", plain("changeit")).await.unwrap();
    let secret = sign_in(&world, "a-ann", "changeit", TenantClaims::default()).await.unwrap();
    let password: SecretString = "changeit".into();
    for (subdomain, is_own) in [("a-t1", true), ("a-t2", false), ("b-t1", false)] {
        let claims = TenantClaims { subdomain: Some(subdomain), ..TenantClaims::default() };
        let session = Credentials { session: Some(&secret), claims, ..Credentials::default() };
        let called = world.gateway.identify(&world.begin(), session).await;
        assert_eq!(called.err().map(|refused| refused.code), (!is_own).then_some(Code::SessionEnded));
        let pair = NameAndPassword { user: "a-ann", password: &password };
        let basic = Credentials { basic: Some(pair), claims, ..Credentials::default() };
        let called = world.gateway.identify(&world.begin(), basic).await;
        assert_eq!(called.err().map(|refused| refused.code), (!is_own).then_some(Code::SignInRefused));
    }
}

#[tokio::test]
async fn guesses_run_out() {
    let world = World::with(|config| config.passwords.failures_per_user = 3).await;
    for _ in 0..3 {
        assert_eq!(code(with(&world, "a-ann", "guess").await), Code::SignInRefused);
    }
    assert_eq!(code(with(&world, "a-ann", "guess").await), Code::RateLimited);
    assert_eq!(code(sign_in(&world, "a-ann", "guess", TenantClaims::default()).await), Code::RateLimited);
    assert_eq!(
        code(with(&world, "nobody", "guess").await),
        Code::SignInRefused,
        "each name has its own share"
    );
}
