//! The acting user's connections: add, change, remove, list, share by key.

mod address;
mod cache;
mod checks;
mod edit;
mod probes;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfence_policy::{ConnectionKey, ConnectionSpec, UserId};
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::sources::{IndexStatus, SchemaProgress, Source};
use secrecy::SecretString;

pub(crate) use address::address_of;
pub(crate) use cache::ConnectionCache;
pub(crate) use checks::has_nul;
pub(crate) use probes::Probes;

use crate::agents;
use crate::catalog::fold_name;
use crate::indexing::Wish;
use crate::{Call, Code, Gateway, Refused};

/// A connection to add or change.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct NewConnection {
    pub spec: ConnectionSpec,
    /// `None` keeps the stored one of a known key.
    pub password: Option<SecretString>,
}

/// Changes to a list of connections, all or nothing: removals first.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConnectionEdits {
    pub updated: Vec<NewConnection>,
    pub removed: Vec<String>,
    /// Connect first; on failure nothing is saved.
    pub validate_before_save: bool,
    pub default: Option<String>,
    /// Whose list; default the acting user's.
    pub owner: Option<String>,
    /// Refuse as `AlreadyExists` when one of `updated` is on the list.
    pub must_be_new: bool,
    /// Refuse as `NotFound` when one of `removed`, or the default, is not on the list. Else an unknown one of `removed` is
    /// passed over, and an unknown default is an invalid request.
    pub must_exist: bool,
}

/// A connection as its user sees it; never with the password.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConnectionView {
    pub key: ConnectionKey,
    /// With the source's filters, which are shared.
    pub spec: ConnectionSpec,
    pub owner: UserId,
    pub index: IndexView,
}

/// How far indexing is, for this user.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct IndexView {
    pub status: IndexStatus,
    pub schemas: BTreeMap<String, SchemaProgress>,
    /// 0 to 100; 100 too when nothing was begun.
    pub percentage: f64,
    pub diagnostics: Option<String>,
}

/// A list of connections.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConnectionList {
    pub connections: Vec<ConnectionView>,
    pub default: Option<ConnectionKey>,
}

impl Gateway {
    /// Needs `write:databases` (`push:databases` for push connections, `write:user` for somebody else's list).
    /// Answers the keys of `updated`, in order.
    pub async fn edit_connections(
        &self,
        call: &Call,
        edits: ConnectionEdits,
    ) -> Result<Vec<ConnectionKey>, Refused> {
        call.log().set_action("edit-connections");
        edit::edit(self, call, edits).await
    }

    /// The acting user's connections in the order of adding.
    pub async fn list_connections(&self, call: &Call) -> Result<ConnectionList, Refused> {
        call.log().set_action("list-connections");
        let user = call.principal().account();
        let connections = self.shared.store.connections().list(user).await?;
        let default = self.shared.store.connections().default_key(user).await?;
        let mut ids: Vec<_> = connections.iter().map(|connection| connection.source).collect();
        ids.sort_unstable();
        ids.dedup();
        let sources = self.shared.store.sources().get_many(&ids).await?;
        let sources: BTreeMap<_, _> = sources.iter().map(|source| (source.id, source)).collect();
        let mut views = Vec::with_capacity(connections.len());
        for connection in connections {
            let source = sources.get(&connection.source).copied();
            views.push(self.view_connection(call, connection, source).await);
        }
        Ok(ConnectionList { connections: views, default })
    }

    /// One of the acting user's connections.
    pub async fn get_connection(&self, call: &Call, key: &str) -> Result<ConnectionView, Refused> {
        call.log().set_action("get-connection");
        let connection = self.connection_of(call, key).await?;
        let source = self.shared.store.sources().get(connection.source).await?;
        Ok(self.view_connection(call, connection, source.as_ref()).await)
    }

    /// Needs `write:databases`. Starts indexing again; the status is `not-started` when this returns.
    pub async fn refresh_connection(&self, call: &Call, key: &str) -> Result<(), Refused> {
        call.log().set_action("refresh-connection");
        call.log().set_scope(key);
        call.needs(ringfence_policy::Permission::WriteDatabases)?;
        let connection = self.connection_of(call, key).await?;
        let store = &self.shared.store;
        if connection.proof == Proof::Proven {
            store.sources().restart(connection.source).await?;
        } else {
            // Whoever is not proven starts their own proof again, and touches nothing that others share.
            store.connections().set_proof(&connection.user, &connection.key, &Proof::Pending).await?;
        }
        self.shared.catalogs.forget(connection.source);
        self.shared.indexer.enqueue(connection.source, &call.principal().org, Wish::Introspect);
        Ok(())
    }

    /// Refuses, in the words for `noun` (such as "table"), a database that is not the connection's own. What no connection
    /// has is left to the call that follows to refuse, after the permissions.
    pub async fn check_database(
        &self,
        call: &Call,
        key: &str,
        database: &str,
        noun: &'static str,
    ) -> Result<(), Refused> {
        let connection = match self.connection_to_query(call, key).await {
            Ok(connection) => connection,
            Err(refused) if matches!(refused.code, Code::NotFound | Code::InvalidRequest) => return Ok(()),
            Err(other) => return Err(other),
        };
        let own = connection.spec.database_name().map(fold_name);
        if own.is_ok_and(|own| own != fold_name(database)) {
            return Err(Refused::invalid(format!("no such {noun}: name one that the catalog shows")));
        }
        Ok(())
    }

    /// The acting user's connection of that key, or the application's that acts for its user: the one place where a scope is resolved. The answer is the same
    /// whether nobody has such a connection or somebody else has.
    pub(crate) async fn connection_of(&self, call: &Call, key: &str) -> Result<Connection, Refused> {
        let key = scope(call, key)?;
        let found = self.shared.store.connections().get(call.principal().account(), &key).await?;
        let found = found.filter(|connection| agents::may_see(call, connection));
        let found = found.ok_or_else(|| Refused::not_found("connection"))?;
        Ok(agents::narrowed(call, &found).unwrap_or(found))
    }

    /// The same from a copy, for running queries: whether the credentials are proven is not to be read from it.
    pub(crate) async fn connection_to_query(
        &self,
        call: &Call,
        key: &str,
    ) -> Result<Arc<Connection>, Refused> {
        let key = scope(call, key)?;
        let user = call.principal().account();
        let found = self.shared.connections.get(&self.shared.store, user, &key).await?;
        let found = found.filter(|connection| agents::may_see(call, connection));
        let found = found.ok_or_else(|| Refused::not_found("connection"))?;
        Ok(agents::narrowed(call, &found).map_or(found, Arc::new))
    }

    async fn view_connection(
        &self,
        call: &Call,
        connection: Connection,
        source: Option<&Source>,
    ) -> ConnectionView {
        if connection.proof == Proof::Pending {
            // Left behind by a node that went away, perhaps: whoever looks at the status sets it going again.
            self.shared.indexer.enqueue(connection.source, &call.principal().org, Wish::Prove);
        }
        let org = &call.principal().org;
        let is_guarded = match address_of(&connection, org) {
            Ok(address) => self.is_guarded(org, &address).await,
            Err(_) => true,
        };
        view::view(connection, source.filter(|source| source.org == *org), is_guarded)
    }
}

fn scope(call: &Call, key: &str) -> Result<ConnectionKey, Refused> {
    if key.trim().is_empty() {
        return Err(Refused::invalid("the scope is empty: name one of your connections by its key"));
    }
    let key = ConnectionKey::new(key).map_err(|_| Refused::not_found("connection"))?;
    call.log().set_connection(key.as_str());
    Ok(key)
}
