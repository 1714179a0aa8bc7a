//! Endpoints by path, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use matchit::Router;
use moka::future::Cache;
use ringfence_policy::endpoint::statement::Named;
use ringfence_policy::endpoint::{Endpoint, Method};
use ringfence_policy::{ConnectionKind, OrgId, Principal, UserId};
use ringfence_store::Store;
use ringfence_store::endpoints::EndpointVersion;

use crate::versions::Versions;
use crate::{Code, Refused};

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// Organizations that are remembered.
const KEPT: u64 = 4_096;

/// An endpoint that counts.
pub(super) struct Published {
    pub(super) endpoint: Endpoint,
    pub(super) author: UserId,
}

impl Published {
    pub(super) fn new(endpoint: Endpoint, author: UserId) -> Self {
        Self { endpoint, author }
    }

    pub(super) fn is_for(&self, principal: &Principal) -> bool {
        let product = principal.roles.iter().map(|role| role.name());
        self.endpoint.is_for(product.chain(principal.data_roles.iter().map(String::as_str)))
    }

    /// The statement for that kind of connection, and what its placeholders stand for.
    pub(super) fn statement(&self, kind: ConnectionKind) -> Result<(String, Vec<Named>), Refused> {
        self.endpoint
            .source
            .rendered(kind)
            .ok_or_else(|| Refused::internal(&"an endpoint without a statement"))
    }
}

/// What stands in the place of a path's parameters, by name, as it was sent.
pub(super) type InPath = Vec<(String, String)>;

/// Those of one organization.
#[derive(Default)]
pub(super) struct Index {
    named: BTreeMap<String, Arc<Published>>,
    routes: BTreeMap<&'static str, Router<Arc<Published>>>,
}

impl Index {
    /// What can't be used any more is left out, and said in the log: the others go on.
    fn of(org: &OrgId, versions: Vec<EndpointVersion>) -> Self {
        let mut index = Self::default();
        for EndpointVersion { name, version, document, author, .. } in versions {
            let endpoint = match Endpoint::load(super::DOCUMENT, &document) {
                Ok(endpoint) => endpoint,
                Err(invalid) => {
                    tracing::error!(org = %org, endpoint = %name, version, error = %invalid, "a stored endpoint can't be used");
                    continue;
                }
            };
            let published = Arc::new(Published::new(endpoint, author));
            let routes = index.routes.entry(published.endpoint.method.name()).or_default();
            if let Err(error) = routes.insert(published.endpoint.path.clone(), Arc::clone(&published)) {
                tracing::error!(org = %org, endpoint = %name, version, %error, "an endpoint's path is taken");
                continue;
            }
            index.named.insert(name, published);
        }
        index
    }

    pub(super) fn len(&self) -> usize {
        self.named.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Published>> {
        self.named.values()
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Published>> {
        self.named.get(name)
    }

    /// The endpoint at a path, with what stands in the place of its parameters, as it was sent.
    pub(super) fn at(&self, method: Method, path: &str) -> Option<(&Arc<Published>, InPath)> {
        let found = self.routes.get(method.name())?.at(path).ok()?;
        let parameters = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some((found.value, parameters.collect()))
    }

    /// Refuses an endpoint whose path another one has.
    pub(super) fn refuse_taken(&self, endpoint: &Endpoint) -> Result<(), Refused> {
        let mut routes = Router::new();
        let others = self.all().filter(|other| other.endpoint.name != endpoint.name);
        for other in others.filter(|other| other.endpoint.method == endpoint.method) {
            // They stood beside each other before.
            let _ = routes.insert(other.endpoint.path.clone(), ());
        }
        routes.insert(endpoint.path.clone(), ()).map_err(|_| {
            Refused::new(
                Code::Conflict,
                format!(
                    "another endpoint has {} {}, or one that reads alike",
                    endpoint.method.name(),
                    endpoint.path
                ),
            )
        })
    }
}

/// Indexes by organization, bounded. Every copy carries the version of its organization as it was before the store was read.
pub(crate) struct EndpointCache {
    copies: Cache<OrgId, (Arc<Index>, u64)>,
    any: Cache<(), (bool, u64)>,
    versions: Versions,
}

impl EndpointCache {
    pub(crate) fn new() -> Self {
        Self {
            copies: Cache::builder().max_capacity(KEPT).time_to_live(TRUST).build(),
            any: Cache::builder().max_capacity(1).time_to_live(TRUST).build(),
            versions: Versions::new(),
        }
    }

    /// Trusts no copy of this organization's any more.
    pub(crate) fn forget(&self, org: &OrgId) {
        self.versions.advance(org);
    }

    /// Trusts no copy any more.
    pub(crate) fn forget_all(&self) {
        self.versions.advance_all();
    }

    /// Whether there ever was one.
    pub(super) async fn any(&self, store: &Store) -> Result<bool, Refused> {
        let changes = self.versions.changes();
        if let Some((any, seen)) = self.any.get(&()).await
            && (any || seen == changes)
        {
            return Ok(any);
        }
        let any = store.endpoints().any().await?;
        self.any.insert((), (any, changes)).await;
        Ok(any)
    }

    // INVARIANT: a call that starts after an endpoint was changed sees the change. Held by the test
    // `a_changed_endpoint_counts_at_once`.
    pub(super) async fn of(&self, store: &Store, org: &OrgId) -> Result<Arc<Index>, Refused> {
        let version = self.versions.of(org);
        if let Some((index, seen)) = self.copies.get(org).await
            && seen == version
        {
            return Ok(index);
        }
        let (versions, of) = (store.endpoints().current(org).await?, org.clone());
        // On a thread of its own: an organization may have many documents.
        let reading = tokio::task::spawn_blocking(move || Index::of(&of, versions));
        let index = Arc::new(reading.await.map_err(|stopped| Refused::internal(&stopped))?);
        self.copies.insert(org.clone(), (Arc::clone(&index), version)).await;
        Ok(index)
    }
}
