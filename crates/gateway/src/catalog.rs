//! What a connection shows: the indexed catalog, narrowed by its content filters.

mod cache;
mod names;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use ringfence_policy::filter::SearchContext;
use ringfence_policy::{Catalog, ContentFilters, Permission};
use ringfence_store::annotations::Annotations;
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::sources::IndexStatus;
use tokio::time::{Instant, sleep};

pub(crate) use cache::CatalogCache;
pub(crate) use names::{find_column, find_relation, find_schema, fold_name};
pub(crate) use shown::{Shown, behind, of_tenant};

use crate::indexing::Wish;
use crate::{Call, Code, Gateway, Refused};

/// Search contexts in one request.
const MAX_CONTEXTS: usize = 1_000;

/// How long a catalog is waited for while its first index is made: clients ask right after adding a connection, and a
/// small database takes less.
const FIRST_INDEX_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile.
const FIRST_INDEX_POLL: Duration = Duration::from_millis(40);

/// A catalog with what people said about it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct CatalogView {
    pub catalog: Arc<Catalog>,
    pub annotations: Arc<Annotations>,
}

impl Gateway {
    /// What the connection shows, narrowed further by `contexts`. `None` before the first index is complete, which is
    /// waited for briefly, and for a user whose credentials are not proven. Needs `read:databases`.
    pub async fn catalog(
        &self,
        call: &Call,
        key: &str,
        contexts: &[SearchContext],
    ) -> Result<Option<CatalogView>, Refused> {
        call.log().set_action("get-catalog");
        call.needs(Permission::ReadDatabases)?;
        if contexts.len() > MAX_CONTEXTS {
            return Err(Refused::invalid(format!("too many search contexts: at most {MAX_CONTEXTS}")));
        }
        let Some(shown) = self.shown_soon(call, key).await? else {
            return Ok(None);
        };
        let catalog = if contexts.is_empty() {
            shown.catalog.clone()
        } else {
            let asked = ContentFilters::new(contexts, &[])
                .map_err(|invalid| Refused::invalid(invalid.to_string()))?;
            shown::narrowed(asked, shown.catalog.clone()).await?
        };
        Ok(Some(CatalogView { catalog, annotations: shown.annotations.clone() }))
    }

    /// What the connection shows to its user, waiting briefly while nothing is there and it may be coming.
    async fn shown_soon(&self, call: &Call, key: &str) -> Result<Option<Arc<Shown>>, Refused> {
        let deadline = Instant::now() + FIRST_INDEX_WAIT;
        let mut connection = self.connection_of(call, key).await?;
        self.ask_for_proof(call, &connection);
        loop {
            // Asked first, so that what is completed in between is not missed.
            let coming = self.is_coming(call, &connection).await?;
            if let Some(shown) = self.shown_if_proven(call, &connection).await? {
                return Ok(Some(shown));
            }
            if !coming || Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(FIRST_INDEX_POLL).await;
            // Read afresh: the proof of the credentials may be what is coming, and the connection may have gone.
            connection = self.connection_of(call, key).await?;
        }
    }

    /// Whether somebody is at work on what the connection will show. Once it has failed, nobody is.
    async fn is_coming(&self, call: &Call, connection: &Connection) -> Result<bool, Refused> {
        match &connection.proof {
            Proof::Failed(_) => Ok(false),
            Proof::Pending => Ok(true),
            Proof::Proven => {
                let source = self.shared.store.sources().get(connection.source).await?;
                let unfinished = [IndexStatus::NotStarted, IndexStatus::Indexing];
                Ok(source.is_some_and(|source| {
                    source.org == call.principal().org && unfinished.contains(&source.status)
                }))
            }
        }
    }

    /// What the connection shows to its user: nothing before the user's own credentials are proven, whatever others
    /// with the same key have indexed.
    pub(crate) async fn shown_to(
        &self,
        call: &Call,
        connection: &Connection,
    ) -> Result<Option<Arc<Shown>>, Refused> {
        self.ask_for_proof(call, connection);
        self.shown_if_proven(call, connection).await
    }

    /// Has credentials tried that wait for it: a node that went away may have left them.
    pub(crate) fn ask_for_proof(&self, call: &Call, connection: &Connection) {
        if connection.proof == Proof::Pending {
            self.shared.indexer.enqueue(connection.source, &call.principal().org, Wish::Prove);
        }
    }

    async fn shown_if_proven(
        &self,
        call: &Call,
        connection: &Connection,
    ) -> Result<Option<Arc<Shown>>, Refused> {
        // INVARIANT: an unproven user sees nothing of a shared source. Held by the test
        // `a_wrong_password_sees_and_changes_nothing`.
        if connection.proof != Proof::Proven {
            return Ok(None);
        }
        let Some(source) = self.shared.store.sources().get(connection.source).await? else {
            return Ok(None);
        };
        // A user may have moved to another organization since: what the old one shares stays there.
        if source.org != call.principal().org {
            return Ok(None);
        }
        let lens = self.lens_on(call, connection).await?;
        // Within the content filters everything is shown, unless a policy or a rule says more.
        let Some(lens) = lens.filter(|lens| !lens.is_confined() || lens.rules.bind(call.principal())) else {
            return self.shared.catalogs.shown(&self.shared.store, source).await;
        };
        match self.seat(call, connection, lens, None).await {
            Ok((snapshot, seat)) => Ok(Some(seat.shape.behind(&snapshot).await)),
            Err(refused) if refused.code == Code::CatalogNotReady => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

/// A name as clients see it: without an upper-case letter it is shown in upper case (ASCII), else as it is.
pub fn shown_name(name: &str) -> String {
    if name.chars().any(char::is_uppercase) { name.to_owned() } else { name.to_ascii_uppercase() }
}
