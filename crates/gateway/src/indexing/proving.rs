//! Proving credentials: a key is only text, so whoever names one that others have shows first that the database takes
//! their password.

use std::time::Duration;

use ringfence_engine::SourceError;
use ringfence_store::StoreError;
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::sources::{Source, SourceId};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use crate::connections::address_of;
use crate::{Gateway, Refused};

const LIMIT: Duration = Duration::from_secs(10);

/// Tries the credentials of all who wait for it. Answers whether some worked.
pub(super) async fn prove_waiting(
    gateway: &Gateway,
    id: SourceId,
    connections: Vec<Connection>,
) -> Result<bool, Refused> {
    let Some(source) = gateway.shared.store.sources().get(id).await? else {
        return Ok(false);
    };
    let mut worked = Vec::new();
    for connection in connections.iter().filter(|connection| connection.proof == Proof::Pending) {
        match probe(gateway, &source, connection).await? {
            Ok(()) => {
                accept(gateway, connection).await?;
                worked.push(connection);
            }
            Err(error) => {
                let failed = Proof::Failed(error.to_string());
                record(gateway, connection, &failed).await?;
            }
        }
    }
    for connection in &connections {
        let differs = |other: &&Connection| !same_password(other, connection);
        if connection.proof == Proof::Proven && worked.iter().any(differs) {
            doubt(gateway, &source, connection).await?;
        }
    }
    gateway.shared.catalogs.forget(id);
    Ok(!worked.is_empty())
}

async fn probe(
    gateway: &Gateway,
    source: &Source,
    connection: &Connection,
) -> Result<Result<(), SourceError>, Refused> {
    let address = address_of(connection, &source.org)?;
    let probed = timeout(LIMIT, gateway.shared.engine.probe(&address)).await;
    Ok(probed
        .unwrap_or_else(|_| Err(SourceError::Unreachable("the database did not answer in time".to_owned()))))
}

/// The credentials work: from now on what is shared is this user's too, and what the user said about it counts.
async fn accept(gateway: &Gateway, connection: &Connection) -> Result<(), Refused> {
    if unchanged(gateway, connection).await? != Some(true) {
        return Ok(());
    }
    let sources = gateway.shared.store.sources();
    let Some(source) = sources.get(connection.source).await? else {
        return Ok(());
    };
    let contexts = connection.spec.content_filters.as_deref().unwrap_or_default();
    let patterns = connection.spec.db_content_filters.as_deref().unwrap_or_default();
    let differs = source.content_filters != contexts || source.pattern_filters != patterns;
    // Whose connection it is does not tell whether they may replace the filters of a guarded one.
    if differs && !gateway.is_guarded(&source.org, &address_of(connection, &source.org)?).await {
        // Before the proof is written: the user never sees `completed` with the filters of before.
        sources.set_filters(source.id, contexts, patterns).await?;
    }
    record(gateway, connection, &Proof::Proven).await
}

/// Another password worked for the same user of the same database: this one was changed there, perhaps.
async fn doubt(gateway: &Gateway, source: &Source, connection: &Connection) -> Result<(), Refused> {
    if let Err(error @ SourceError::Credentials(_)) = probe(gateway, source, connection).await? {
        record(gateway, connection, &Proof::Failed(error.to_string())).await?;
    }
    Ok(())
}

/// Writes the outcome, unless the connection was changed while its old credentials were tried. The store has no
/// condition for this, so it is looked at again afterwards: an alias that was pointed at another database in that
/// very moment starts its proof anew.
async fn record(gateway: &Gateway, tried: &Connection, proof: &Proof) -> Result<(), Refused> {
    let connections = gateway.shared.store.connections();
    if unchanged(gateway, tried).await? != Some(true) {
        return Ok(());
    }
    match connections.set_proof(&tried.user, &tried.key, proof).await {
        // Taken from the list meanwhile.
        Err(StoreError::Missing { .. }) => return Ok(()),
        written => written?,
    }
    if unchanged(gateway, tried).await? == Some(false) {
        let doubtful = connections.set_proof(&tried.user, &tried.key, &Proof::Pending);
        doubtful.await?;
    }
    Ok(())
}

/// Whether the connection is still as it was when its credentials were tried; `None` when it is gone.
async fn unchanged(gateway: &Gateway, tried: &Connection) -> Result<Option<bool>, Refused> {
    let now = gateway.shared.store.connections().get(&tried.user, &tried.key).await?;
    Ok(now.map(|now| now.source == tried.source && now.spec == tried.spec && same_password(&now, tried)))
}

fn same_password(one: &Connection, other: &Connection) -> bool {
    let secret =
        |connection: &Connection| connection.password.as_ref().map(|text| text.expose_secret().to_owned());
    secret(one) == secret(other)
}
