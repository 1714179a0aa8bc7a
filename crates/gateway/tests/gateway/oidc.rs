//! Bearer tokens of providers, with a provider of the test's own that counts what it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ringfence_gateway::arrivals::Source;
use ringfence_gateway::oidc::web::{Sending, Unreachable, Web, WebAnswer, WebRequest};
use ringfence_gateway::oidc::{AccessTokens, Algorithm, OidcConfig, ProviderConfig};
use ringfence_gateway::{Call, Code, Credentials, Refused};
use ringfence_policy::{OrgId, Role, TenantId, UserId};
use ringfence_store::role_mapping::RoleSet;
use ringfence_store::users::UserChange;
use serde_json::{Value, json};

use crate::acting::signing::Signer;
use crate::world::{World, code, same_refusal};

const ISSUER: &str = "https://id.a.example";

/// What the provider answers, and how often it was asked.
struct FakeProvider {
    keys: Mutex<Value>,
    introspected: Mutex<Value>,
    is_down: AtomicBool,
    asked: AtomicUsize,
}

impl Web for FakeProvider {
    fn send(&self, request: WebRequest) -> Sending<'_> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let body = match request.url.strip_prefix(ISSUER) {
            _ if self.is_down.load(Ordering::SeqCst) => None,
            Some("/.well-known/openid-configuration") => Some(json!({
                "issuer": ISSUER,
                "jwks_uri": format!("{ISSUER}/jwks"),
                "introspection_endpoint": format!("{ISSUER}/introspect"),
            })),
            Some("/jwks") => Some(self.keys.lock().clone()),
            Some("/introspect") if request.authorization.is_some() => Some(self.introspected.lock().clone()),
            _ => None,
        };
        let answer = body.map(|body| WebAnswer { status: 200, body: body.to_string().into_bytes() });
        Box::pin(std::future::ready(answer.ok_or(Unreachable)))
    }
}

/// A provider of organization `a`, in front of a world.
struct Scene {
    world: World,
    web: Arc<FakeProvider>,
    signer: Signer,
}

fn jwks(kid: &str, signer: &Signer) -> Value {
    let mut key = signer.public_key();
    key.insert("kid".to_owned(), kid.into());
    key.insert("use".to_owned(), "sig".into());
    json!({ "keys": [key, { "kty": "oct", "k": "c2VjcmV0", "kid": "shared" }, { "kty": "new" }] })
}

fn provider(access_tokens: AccessTokens) -> ProviderConfig {
    ProviderConfig {
        source: Source {
            name: "corporate".to_owned(),
            organization: Some(OrgId::new("a").unwrap()),
            tenant: Some(TenantId::new("a-t1").unwrap()),
            tenants: BTreeMap::new(),
            create_tenants: false,
            link_existing: false,
            highest_role: Role::ApiUser,
            default_roles: RoleSet { roles: vec![Role::ApiUser], data_roles: Vec::new() },
        },
        issuer: ISSUER.to_owned(),
        client_id: "shop".to_owned(),
        client_secret: Some("secret".into()),
        scopes: vec!["openid".to_owned()],
        name_claim: vec!["name".to_owned()],
        roles_claims: vec![vec!["realm".to_owned(), "roles".to_owned()]],
        organization_claim: None,
        tenant_claim: None,
        attributes: BTreeMap::new(),
        audiences: vec!["data".to_owned()],
        algorithms: Algorithm::DEFAULT.to_vec(),
        access_tokens,
        opaque_trust: Duration::from_mins(1),
    }
}

impl Scene {
    async fn set(access_tokens: AccessTokens, signer: Signer) -> Self {
        let web = Arc::new(FakeProvider {
            keys: Mutex::new(jwks("k", &signer)),
            introspected: Mutex::new(Value::Null),
            is_down: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        });
        let oidc = OidcConfig { providers: vec![provider(access_tokens)], web: web.clone() };
        let world = World::with(|config| config.oidc = oidc).await;
        Self { world, web, signer }
    }

    fn token(&self, changes: &Value) -> String {
        self.signer.token("k", &claims(changes))
    }

    async fn present(&self, token: &str) -> Result<Call, Refused> {
        let credentials = Credentials { access_key: Some(token), ..Credentials::default() };
        self.world.gateway.identify(&self.world.begin(), credentials).await
    }

    fn asked(&self) -> usize {
        self.web.asked.load(Ordering::SeqCst)
    }
}

fn claims(changes: &Value) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({
        "iss": ISSUER, "aud": ["data", "other"], "sub": "s-1", "name": "zoe", "iat": now, "exp": now + 300,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn a_token_is_its_user() {
    for signer in [Signer::ed25519(), Signer::es256(), Signer::rs256()] {
        let scene = Scene::set(AccessTokens::Jwt, signer).await;
        let call = scene.present(&scene.token(&json!({}))).await.unwrap();
        let principal = call.principal();
        assert_eq!((principal.user.as_str(), principal.tenant.as_str()), ("zoe", "a-t1"));
        assert_eq!((principal.org.as_str(), principal.roles.as_slice()), ("a", [Role::ApiUser].as_slice()));
        // What changes about the user counts at the next request, with the same token.
        let zoe = UserId::new("zoe").unwrap();
        let boss = scene.world.call_as("a-boss").await;
        scene.world.gateway.list_users(&boss, ringfence_gateway::users::UserLookup::default()).await.unwrap();
        let off = UserChange { disabled: Some(true), ..UserChange::default() };
        scene.world.store.users().update(&zoe, &off).await.unwrap();
        // Another token is looked at anew; this one is remembered until the news of the user are through.
        for token in [json!({ "jti": "2" }), json!({})] {
            crate::world::eventually(|| async {
                scene.present(&scene.token(&token)).await.err().map(|_| ())
            })
            .await;
        }
        let refused = scene.present(&scene.token(&json!({}))).await;
        assert_eq!(
            same_refusal(refused, scene.present(&scene.token(&json!({ "aud": "x" }))).await),
            Code::TokenInvalid
        );
        // An access key goes on as before.
        assert_eq!(code(scene.present("rf_made_up").await), Code::KeyUnknown);
    }
}

#[tokio::test]
async fn keys_are_read_seldom() {
    let mut scene = Scene::set(AccessTokens::Jwt, Signer::ed25519()).await;
    scene.present(&scene.token(&json!({}))).await.unwrap();
    assert_eq!(scene.asked(), 2, "the description, and the keys");
    for number in 0..20 {
        scene.present(&scene.token(&json!({ "jti": number }))).await.unwrap();
    }
    assert_eq!(scene.asked(), 2);
    // A new key is found, and the old one is gone.
    let old = scene.token(&json!({ "jti": "old" }));
    scene.signer = Signer::ed25519();
    *scene.web.keys.lock() = jwks("k2", &scene.signer);
    let new = scene.signer.token("k2", &claims(&json!({})));
    scene.present(&new).await.unwrap();
    assert_eq!(scene.asked(), 3);
    assert_eq!(code(scene.present(&old).await), Code::TokenInvalid);
    let before = scene.asked();
    for number in 0..50 {
        let unknown = scene.signer.token(&format!("u{number}"), &claims(&json!({})));
        assert_eq!(code(scene.present(&unknown).await), Code::TokenInvalid);
    }
    assert!(scene.asked() - before <= 3, "unknown keys make some readings, and no more");
    scene.web.is_down.store(true, Ordering::SeqCst);
    scene.present(&scene.signer.token("k2", &claims(&json!({ "jti": "down" })))).await.unwrap();
}

#[tokio::test]
async fn an_opaque_token_counts_as_long_as_the_provider_says() {
    let scene = Scene::set(AccessTokens::Introspected, Signer::ed25519()).await;
    let now = jiff::Timestamp::now().as_second();
    let mut said = claims(&json!({ "active": true, "exp": now + 300 }));
    *scene.web.introspected.lock() = said.clone();
    assert_eq!(scene.present("one").await.unwrap().principal().user.as_str(), "zoe");
    // Remembered, as soon as the news of the new user are through.
    crate::world::eventually(|| async {
        let asked = scene.asked();
        scene.present("one").await.unwrap();
        (scene.asked() == asked).then_some(())
    })
    .await;
    for (name, value) in [
        ("active", json!(false)),
        ("active", json!("true")),
        ("active", Value::Null),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("iss", json!("https://elsewhere.example")),
        ("exp", json!(now - 1)),
        ("nbf", json!(now + 60)),
        ("sub", Value::Null),
        ("name", json!(["zoe"])),
    ] {
        let mut other = said.clone();
        other[name] = value.clone();
        *scene.web.introspected.lock() = other;
        assert_eq!(
            code(scene.present(&format!("{name}-{value}")).await),
            Code::TokenInvalid,
            "{name} {value}"
        );
    }
    // Without an audience it is the client's own, or nobody's.
    said.as_object_mut().unwrap().remove("aud");
    for (client, is_ours) in [(json!("shop"), true), (json!("other"), false), (Value::Null, false)] {
        said["client_id"] = client.clone();
        *scene.web.introspected.lock() = said.clone();
        assert_eq!(scene.present(&format!("of-{client}")).await.is_ok(), is_ours, "{client}");
    }
    let before = scene.asked();
    assert_eq!(code(scene.present("rf_made_up").await), Code::KeyUnknown);
    assert_eq!(scene.asked(), before, "what looks like a key of ours is no business of the provider's");
    scene.web.is_down.store(true, Ordering::SeqCst);
    assert_eq!(code(scene.present("unknown").await), Code::TokenInvalid);
    scene.present("one").await.unwrap();
}

/// Prints what a token that was seen before costs: `--no-capture` shows it, of a release build what users get.
#[expect(clippy::print_stdout, reason = "the figure is what it is for")]
#[tokio::test]
async fn what_a_known_token_costs() {
    const ROUNDS: u32 = 5_000;
    let scene = Scene::set(AccessTokens::Jwt, Signer::rs256()).await;
    let token = scene.token(&json!({ "padding": "x".repeat(600) }));
    let log = scene.world.begin();
    let credentials = Credentials { access_key: Some(&token), ..Credentials::default() };
    scene.world.gateway.identify(&log, credentials).await.unwrap();
    let asked = scene.asked();
    let key = crate::world::key_of("a-ann");
    let by_key = Credentials { access_key: Some(&key), ..Credentials::default() };
    for (what, credentials) in [("a known token", credentials), ("an access key", by_key)] {
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            scene.world.gateway.identify(&log, credentials).await.unwrap();
        }
        println!("{what}: {:?}", begun.elapsed() / ROUNDS);
    }
    assert_eq!(scene.asked(), asked);
}
