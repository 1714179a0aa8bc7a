//! One job: prove those who wait, then bring the source's index up to its generation.

use std::collections::BTreeMap;

use ringfence_engine::SourceError;
use ringfence_policy::ConnectionKind;
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::sources::{IndexReport, IndexStatus, SchemaProgress, Source, SourceId};

use super::queue::{Ended, Wish};
use super::{complete_pushed, completed, proving, reading};
use crate::{Gateway, Refused};

/// Generations that one job follows before it makes room for others; the sweep takes up the rest.
const GENERATIONS: usize = 8;

/// How reading a source ended.
pub(super) enum Read {
    /// The generation has passed, or another node has the work.
    Passed,
    Catalog(Box<ringfence_policy::Catalog>),
    /// Why, and how far it came.
    Failed(SourceError, BTreeMap<String, SchemaProgress>),
}

pub(super) async fn run(gateway: &Gateway, id: SourceId, wish: Wish) -> Result<Ended, Refused> {
    let connections = gateway.shared.store.connections().of_source(&id).await?;
    if connections.first().is_some_and(|connection| connection.spec.kind() == Ok(ConnectionKind::Push)) {
        return complete_pushed(gateway, id).await.map(|()| Ended::Well);
    }
    let proven = proving::prove_waiting(gateway, id, connections).await?;
    for round in 0..GENERATIONS {
        let Some(source) = gateway.shared.store.sources().get(id).await? else {
            return Ok(Ended::Well);
        };
        match source.status {
            IndexStatus::Failed if round == 0 && proven => {
                // Somebody's credentials just worked: what failed before may succeed now.
                gateway.shared.store.sources().restart(id).await?;
            }
            IndexStatus::Completed => return Ok(Ended::Well),
            IndexStatus::Failed => return Ok(Ended::Failed),
            IndexStatus::NotStarted | IndexStatus::Indexing => {
                if let Some(ended) = index(gateway, &source, wish).await? {
                    return Ok(ended);
                }
            }
        }
    }
    Ok(Ended::Interrupted)
}

/// Indexes one generation. Answers how it ended, or `None` to look again.
async fn index(gateway: &Gateway, source: &Source, wish: Wish) -> Result<Option<Ended>, Refused> {
    let sources = gateway.shared.store.sources();
    if !reading::lease(gateway, source).await? {
        return Ok(Some(Ended::Interrupted));
    }
    if wish == Wish::Filter
        && let Some((_, catalog)) = sources.catalog(source.id).await?
    {
        finish(gateway, source, &catalog).await?;
        return Ok(None);
    }
    // How far the last attempt came.
    let (mut reason, mut reached) = (None, BTreeMap::new());
    for connection in gateway.shared.store.connections().of_source(&source.id).await? {
        match connection.proof {
            Proof::Proven => {}
            Proof::Failed(text) => {
                reason.get_or_insert(text);
                continue;
            }
            Proof::Pending => continue,
        }
        match reading::read(gateway, source, &connection).await? {
            Read::Passed => return Ok(None),
            Read::Catalog(catalog) => {
                finish(gateway, source, &catalog).await?;
                return Ok(None);
            }
            Read::Failed(error, progress) => {
                reached = progress;
                reason = Some(error.to_string());
                if !disproves(gateway, &connection, &error).await? {
                    break;
                }
            }
        }
    }
    let reason = reason.unwrap_or_else(|| "no credentials for this database were seen to work".to_owned());
    tracing::info!(source.id = source.id.0, %reason, "indexing failed");
    let report = IndexReport { status: IndexStatus::Failed, schemas: reached, diagnostics: Some(reason) };
    sources.report(source.id, source.generation, &report).await?;
    gateway.shared.catalogs.forget(source.id);
    Ok(Some(Ended::Failed))
}

async fn finish(
    gateway: &Gateway,
    source: &Source,
    catalog: &ringfence_policy::Catalog,
) -> Result<(), Refused> {
    let report = completed(source, catalog)?;
    gateway.shared.store.sources().complete(source.id, source.generation, catalog, &report).await?;
    gateway.shared.catalogs.forget(source.id);
    Ok(())
}

/// Credentials that the database no longer takes are not proven any more; others may still work.
async fn disproves(gateway: &Gateway, connection: &Connection, error: &SourceError) -> Result<bool, Refused> {
    if !matches!(error, SourceError::Credentials(_)) {
        return Ok(false);
    }
    let failed = Proof::Failed(error.to_string());
    gateway.shared.store.connections().set_proof(&connection.user, &connection.key, &failed).await?;
    Ok(true)
}
