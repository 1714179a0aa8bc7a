//! What is posted, how it is signed, where it may go, and what is tried again.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use parking_lot::Mutex;
use ringfence_engine::HostRule;
use tokio::net::TcpListener;

use super::*;

const SECRET: &str = "a secret of sixteen";

fn settings(url: &str) -> Approvals {
    Approvals { webhook_url: Some(url.to_owned()), webhook_secret: Some(SECRET.to_owned().into()) }
}

fn news() -> ApprovalNews {
    ApprovalNews {
        id: "0f".to_owned(),
        state: "pending",
        model: "Order".to_owned(),
        action: "delete".to_owned(),
        org: "acme".to_owned(),
        tenant: "berlin".to_owned(),
        requester: "ann".to_owned(),
        approver: None,
        created_at: 0,
        expires_at: 60_000,
        decided_at: None,
        executed_at: None,
        failure: None,
    }
}

/// What arrived, and how many of the first are answered 503.
#[derive(Default)]
struct Receiver {
    got: Mutex<Vec<(HeaderMap, String)>>,
    fails: AtomicUsize,
    answers: Option<StatusCode>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: String) -> StatusCode {
    receiver.got.lock().push((headers, body));
    let fails = receiver.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if fails.is_ok() { StatusCode::SERVICE_UNAVAILABLE } else { receiver.answers.unwrap_or(StatusCode::OK) }
}

async fn listen(receiver: Arc<Receiver>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/hook/{token}", post(receive)).with_state(receiver);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/hook/t0ken?a=b")
}

fn webhook(url: &str, egress: Egress) -> Webhook {
    let webhook = Webhook::of(&settings(url), egress).unwrap().unwrap();
    Webhook { pause: Duration::from_millis(1), ..webhook }
}

#[tokio::test]
async fn a_change_is_posted_and_signed() {
    let receiver = Arc::new(Receiver { fails: AtomicUsize::new(2), ..Receiver::default() });
    let webhook = webhook(&listen(receiver.clone()).await, Egress::default());
    webhook.post(&news()).await;
    let got = receiver.got.lock().clone();
    assert_eq!(got.len(), 3, "two were answered 503");
    for (headers, body) in &got {
        let of = |name: &str| headers[name].to_str().unwrap().to_owned();
        let at: i64 = of("ringfence-timestamp").parse().unwrap();
        assert_eq!(of("ringfence-signature"), format!("v1={}", signature(&webhook.secret, at, body)));
        assert_ne!(of("ringfence-signature"), format!("v1={}", signature(&webhook.secret, at + 1, body)));
        assert_eq!(of("content-type"), "application/json");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["delivery"], of("ringfence-delivery"), "the same for all tries");
        assert_eq!(body["approval"]["expires_at"], "1970-01-01T00:01:00Z");
        assert_eq!(body["approval"]["state"], "pending");
    }
    assert_eq!(got[0].1, got[2].1);
}

#[test]
fn the_signature_is_the_one_of_the_manual() {
    // printf '17.{}' | openssl dgst -sha256 -hmac 'a secret of sixteen'
    let expected = "7d4c20315fae08e8ced6315f72bee32bbbb1f2fe992bb22c01d116a35463293c";
    assert_eq!(signature(&SECRET.to_owned().into(), 17, "{}"), expected);
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    let receiver = Arc::new(Receiver { answers: Some(StatusCode::GONE), ..Receiver::default() });
    webhook(&listen(receiver.clone()).await, Egress::default()).post(&news()).await;
    assert_eq!(receiver.got.lock().len(), 1);
    let receiver = Arc::new(Receiver { fails: AtomicUsize::new(99), ..Receiver::default() });
    webhook(&listen(receiver.clone()).await, Egress::default()).post(&news()).await;
    assert_eq!(receiver.got.lock().len(), TRIES as usize);
}

#[tokio::test]
async fn nothing_is_posted_where_connections_may_not_lead() {
    let receiver = Arc::new(Receiver::default());
    let url = listen(receiver.clone()).await;
    let rule = |text: &str| vec![text.parse::<HostRule>().unwrap()];
    for egress in [
        Egress { denied: rule("loopback"), ..Egress::default() },
        Egress { allowed: rule("hooks.example.com"), ..Egress::default() },
    ] {
        let tried = webhook(&url, egress).deliver("{}", "d").await;
        assert!(matches!(tried, Err(Undelivered::NotAllowed)), "{tried:?}");
    }
    assert!(receiver.got.lock().is_empty());
}

#[test]
fn settings_are_whole_or_refused() {
    let of = |settings: &Approvals| Webhook::of(settings, Egress::default()).map(|webhook| webhook.is_some());
    assert_eq!(of(&Approvals::default()), Ok(false));
    assert_eq!(of(&settings("https://[::1]:8443/x")), Ok(true));
    for url in ["", "hooks.example.com/x", "ftp://a/b", "https://user:pass@a/b", "https:///x"] {
        assert_eq!(of(&settings(url)), Err(WebhookInvalid::Url), "{url}");
    }
    let url = "https://a/b".to_owned();
    let half = Approvals { webhook_url: Some(url), webhook_secret: None };
    assert_eq!(of(&half), Err(WebhookInvalid::Half));
    let short = Approvals { webhook_secret: Some("short".to_owned().into()), ..settings("https://a/b") };
    assert_eq!(of(&short), Err(WebhookInvalid::ShortSecret));
}
