//! Hearing other nodes: LISTEN on a connection of its own, which comes back when it breaks.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use ringfence_policy::{OrgId, UserId};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;
use tokio_postgres::AsyncMessage;

use super::postgres::CHANNEL;
use super::postgres_tls::Target;
use super::publish;
use crate::access_keys::KeyHash;
use crate::access_rules::RulePlace;
use crate::changes::Change;
use crate::policies::PolicyId;
use crate::sources::SourceId;

/// How often the connection is asked for a sign of life, and how long it may take over it: nodes promise each other
/// news within a second, so silence must not last much longer unnoticed.
const HEARTBEAT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);

/// Listens until the task is aborted. Whenever news may have been missed, it says so.
pub(super) async fn listen(target: Target, node: String, listeners: broadcast::Sender<Change>) {
    loop {
        listen_once(&target, &node, &listeners).await;
        // Told at each failed attempt: copies that were filled during the gap are worth no more than older ones.
        publish(&listeners, vec![Change::Everything]);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen_once(target: &Target, node: &str, listeners: &broadcast::Sender<Change>) {
    let Ok(Ok((client, mut connection))) = timeout(2 * HEARTBEAT, target.connect()).await else {
        return;
    };
    let (heard, mut news) = mpsc::unbounded_channel();
    let driver = async move {
        while let Some(Ok(message)) = poll_fn(|context| -> Poll<_> { connection.poll_message(context) }).await
        {
            if let AsyncMessage::Notification(notification) = message {
                let _ = heard.send(notification.payload().to_owned());
            }
        }
    };
    let mut driver: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(driver);
    let talk = async {
        let listen = format!("LISTEN {CHANNEL}");
        if !matches!(timeout(2 * HEARTBEAT, client.batch_execute(&listen)).await, Ok(Ok(()))) {
            return;
        }
        // Before this moment nothing was heard.
        publish(listeners, vec![Change::Everything]);
        loop {
            match timeout(HEARTBEAT, news.recv()).await {
                Ok(Some(payload)) => publish(listeners, decode(node, &payload).into_iter().collect()),
                Err(_) if matches!(timeout(2 * HEARTBEAT, client.batch_execute("")).await, Ok(Ok(()))) => {}
                Ok(None) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = talk => {}
        () = &mut driver => {}
    }
}

/// The text of a notification: the node that sent it, the kind of change, and its id.
pub(super) fn encode(node: &str, change: &Change) -> String {
    let (kind, id) = match change {
        Change::User(user) => ("user", user.as_str().to_owned()),
        Change::Directory => ("directory", String::new()),
        Change::Key(hash) => ("key", hex::encode(hash.0)),
        Change::Source(source) => ("source", source.0.to_string()),
        Change::Policy(policy) => ("policy", policy.0.clone()),
        Change::Attributes(policy) => ("attributes", policy.0.clone()),
        Change::AccessRules(place) => ("rules", place.0.clone()),
        Change::Endpoints(org) => ("endpoints", org.as_str().to_owned()),
        Change::Data { teller, place } => ("data", format!("{teller} {place}")),
        Change::Everything => ("everything", String::new()),
    };
    format!("{node} {kind} {id}")
}

/// Reads a notification; `None` for this node's own. What can't be read is a change of something unknown.
fn decode(own_node: &str, payload: &str) -> Option<Change> {
    let mut parts = payload.splitn(3, ' ');
    if parts.next() == Some(own_node) {
        return None;
    }
    let known = match (parts.next(), parts.next()) {
        (Some("user"), Some(id)) => UserId::new(id).ok().map(Change::User),
        (Some("directory"), _) => Some(Change::Directory),
        (Some("key"), Some(id)) => {
            let mut hash = [0; 32];
            hex::decode_to_slice(id, &mut hash).ok().map(|()| Change::Key(KeyHash(hash)))
        }
        (Some("rules"), Some(id)) => Some(Change::AccessRules(RulePlace(id.to_owned()))),
        (Some("endpoints"), Some(id)) => OrgId::new(id).ok().map(Change::Endpoints),
        (Some("data"), Some(id)) => id.split_once(' ').and_then(|(teller, place)| {
            Some(Change::Data { teller: teller.parse().ok()?, place: place.to_owned() })
        }),
        (Some("policy"), Some(id)) => Some(Change::Policy(PolicyId(id.to_owned()))),
        (Some("attributes"), Some(id)) => Some(Change::Attributes(PolicyId(id.to_owned()))),
        (Some("source"), Some(id)) => id.parse().ok().map(|id| Change::Source(SourceId(id))),
        _ => None,
    };
    Some(known.unwrap_or(Change::Everything))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_travel_and_own_ones_are_not_heard() {
        let changes = [
            Change::User(UserId::new("a user, 'quoted'").unwrap()),
            Change::Directory,
            Change::Key(KeyHash([7; 32])),
            Change::Source(SourceId(42)),
            Change::Policy(PolicyId("ab12".to_owned())),
            Change::Attributes(PolicyId("ab12".to_owned())),
            Change::AccessRules(RulePlace("cd34".to_owned())),
            Change::Endpoints(OrgId::new("acme corp").unwrap()),
            Change::Data { teller: u64::MAX, place: "sqlite:///a file of some name".to_owned() },
            Change::Everything,
        ];
        for change in changes {
            assert_eq!(decode("own", &encode("other", &change)), Some(change.clone()));
            assert_eq!(decode("own", &encode("own", &change)), None);
        }
        assert_eq!(decode("own", "gibberish"), Some(Change::Everything));
        assert_eq!(decode("own", "other key nothex"), Some(Change::Everything));
    }
}
