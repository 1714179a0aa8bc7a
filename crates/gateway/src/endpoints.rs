//! Published endpoints: statements with a path of their own, which run as whoever calls.
//!
//! An endpoint belongs to an organization and runs on its author's connection, behind the view of its caller: what the
//! author may see is never what the caller gets. Reading order: this file is for authors, [`index`] finds an endpoint by its
//! path, [`arguments`] reads what a caller sends, [`answer`] runs it, [`describe`] tells callers what there is.

mod answer;
mod arguments;
mod describe;
mod index;

use std::sync::Arc;

use ringfence_policy::Problem;
use ringfence_policy::endpoint::{Endpoint, Method, Source};
use ringfence_store::endpoints::EndpointVersion;
use serde_json::{Map, Value};

pub use answer::EndpointAnswer;
pub(crate) use index::EndpointCache;
use index::{Index, Published};

use crate::call::now_ms;
use crate::policies::may_govern;
use crate::{Call, Code, Freshness, Gateway, Refused};

/// What problems call a document.
const DOCUMENT: &str = "endpoint";
const MAX_DOCUMENT_BYTES: usize = 128 * 1024;
/// Endpoints of one organization.
const MOST: usize = 1_000;

/// A request for whatever is at a path.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct EndpointRequest<'r> {
    pub method: Method,
    /// As it was sent, percent-encoded.
    pub path: &'r str,
    /// The pairs of the query, decoded.
    pub query: Vec<(String, String)>,
    /// The object that the body is.
    pub body: Option<Map<String, Value>>,
    pub freshness: Freshness,
}

/// What came of putting a document.
#[derive(Debug, Clone)]
pub enum PutEndpoint {
    /// It is published.
    Stored(EndpointVersion),
    /// It can't be used, for these reasons; nothing was changed.
    Invalid(Vec<Problem>),
}

impl Gateway {
    /// Whether there may be an endpoint anywhere: without any, paths that are not the server's own are nobody's.
    pub async fn has_endpoints(&self) -> bool {
        match self.shared.endpoints.any(&self.shared.store).await {
            Ok(any) => any,
            Err(refused) => {
                tracing::warn!(error = %refused, "whether there are endpoints can't be read");
                true
            }
        }
    }

    /// Publishes a document, or a new version of one. For administrators of the organization, as all that changes or shows
    /// documents is.
    pub async fn put_endpoint(
        &self,
        call: &Call,
        name: &str,
        document: &str,
    ) -> Result<PutEndpoint, Refused> {
        call.log().set_action("put-endpoint");
        call.log().set_object(name);
        may_govern(call)?;
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(Refused::invalid(format!("the document is longer than {MAX_DOCUMENT_BYTES} bytes")));
        }
        let endpoint = match Endpoint::load(DOCUMENT, document) {
            Ok(endpoint) => endpoint,
            Err(invalid) => return Ok(PutEndpoint::Invalid(invalid.problems)),
        };
        if endpoint.name != name {
            return Err(Refused::invalid(format!(
                "the document's name is \"{}\", and the path says another",
                endpoint.name
            )));
        }
        arguments::check_rules(&endpoint.parameters)?;
        let index = self.index(call).await?;
        if index.len() >= MOST && index.named(name).is_none() {
            return Err(Refused::invalid(format!("an organization publishes at most {MOST} endpoints")));
        }
        index.refuse_taken(&endpoint)?;
        let author = call.principal().account().clone();
        if let Source::Statement { connection, .. } = &endpoint.source {
            // Looked for among the author's own, and tried as the author: what can never run is not published.
            let connection = self.connection_of(call, connection).await?;
            self.try_out(call, &connection, &Published::new(endpoint.clone(), author.clone())).await?;
        }
        let new = EndpointVersion {
            name: name.to_owned(),
            version: 0,
            document: document.to_owned(),
            author,
            created_at: now_ms(),
            removed: false,
        };
        Ok(PutEndpoint::Stored(self.store_endpoint(call, new).await?))
    }

    /// Takes an endpoint away. Its history stays.
    pub async fn remove_endpoint(&self, call: &Call, name: &str) -> Result<(), Refused> {
        call.log().set_action("remove-endpoint");
        call.log().set_object(name);
        may_govern(call)?;
        if self.index(call).await?.named(name).is_none() {
            return Err(no_such_endpoint());
        }
        let new = EndpointVersion {
            name: name.to_owned(),
            version: 0,
            document: String::new(),
            author: call.principal().account().clone(),
            created_at: now_ms(),
            removed: true,
        };
        self.store_endpoint(call, new).await.map(drop)
    }

    /// The version of an endpoint that counts.
    pub async fn get_endpoint(&self, call: &Call, name: &str) -> Result<EndpointVersion, Refused> {
        call.log().set_action("get-endpoint");
        call.log().set_object(name);
        may_govern(call)?;
        let newest = self.versions_of(call, name).await?.into_iter().next();
        newest.filter(|version| !version.removed).ok_or_else(no_such_endpoint)
    }

    /// All versions of an endpoint, the newest first.
    pub async fn endpoint_history(&self, call: &Call, name: &str) -> Result<Vec<EndpointVersion>, Refused> {
        call.log().set_action("get-endpoint-history");
        call.log().set_object(name);
        may_govern(call)?;
        let versions = self.versions_of(call, name).await?;
        if versions.is_empty() { Err(no_such_endpoint()) } else { Ok(versions) }
    }

    /// The endpoints that the caller may call, by name.
    pub async fn list_endpoints(&self, call: &Call) -> Result<Vec<Endpoint>, Refused> {
        call.log().set_action("list-endpoints");
        let index = self.index(call).await?;
        let own = index.all().filter(|published| published.is_for(call.principal()));
        Ok(own.map(|published| published.endpoint.clone()).collect())
    }

    /// The same as an `OpenAPI` document.
    pub async fn describe_endpoints(&self, call: &Call) -> Result<Value, Refused> {
        let endpoints = self.list_endpoints(call).await?;
        call.log().set_action("describe-endpoints");
        Ok(describe::document(&endpoints))
    }

    async fn versions_of(&self, call: &Call, name: &str) -> Result<Vec<EndpointVersion>, Refused> {
        Ok(self.shared.store.endpoints().history(&call.principal().org, name).await?)
    }

    async fn store_endpoint(&self, call: &Call, new: EndpointVersion) -> Result<EndpointVersion, Refused> {
        let org = &call.principal().org;
        let put = self.shared.store.endpoints().put(org, &new).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.endpoints.forget(org);
        let version = put?;
        call.log().set_object(&format!("{} version {version}", new.name));
        Ok(EndpointVersion { version, ..new })
    }

    async fn index(&self, call: &Call) -> Result<Arc<Index>, Refused> {
        self.shared.endpoints.of(&self.shared.store, &call.principal().org).await
    }
}

/// The one answer for an endpoint that is not there, and for one that is not the caller's to call.
fn no_such_endpoint() -> Refused {
    Refused::new(Code::NotFound, "there is nothing at this path")
}
