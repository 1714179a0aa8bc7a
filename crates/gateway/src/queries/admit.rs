//! From a request to a statement that may run, and where: the part of the road before the database.

use std::sync::Arc;

use ringfence_engine::{RunOptions, SourceAddress};
use ringfence_guard::GuardedQuery;
use ringfence_policy::{ConnectionKind, OpenAccess, Permission, QueryId};
use ringfence_store::connections::Connection;
use ringfence_store::history::HistoryEntry;
use sha2::{Digest as _, Sha256};

use super::{QueryRequest, confine, options};
use crate::connections::address_of;
use crate::{Call, Gateway, Refused};

/// Relations of one statement that the audit record names.
const MAX_TABLES: usize = 64;
const FINGERPRINT_BYTES: usize = 16;

/// A statement that may run, where and how.
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    pub(super) address: SourceAddress,
    pub(super) query: GuardedQuery,
    pub(super) options: RunOptions,
}

impl Gateway {
    /// The road of every query that is executed.
    pub(super) async fn admit(
        &self,
        call: &Call,
        key: &str,
        request: &QueryRequest,
    ) -> Result<Admitted, Refused> {
        let admitted = self.admit_for_planning(call, key, request).await?;
        confine::confine(self, call, &admitted).await?;
        Ok(admitted)
    }

    /// The same, but for what a connection's content filters have to say.
    pub(super) async fn admit_for_planning(
        &self,
        call: &Call,
        key: &str,
        request: &QueryRequest,
    ) -> Result<Admitted, Refused> {
        call.needs(Permission::ReadDatabases)?;
        let connection = self.connection_to_query(call, key).await?;
        self.shared.audit.ready().await?;
        let kind = connection.spec.kind().map_err(|invalid| Refused::internal(&invalid))?;
        let access = OpenAccess { read_only: connection.spec.db_access_policy.read_only };
        let query = guarded(call, &request.statement, kind, access)?;
        let options = options::options(&self.shared.config, request)?;
        let address = address_of(&connection, &call.principal().org)?;
        Ok(Admitted { connection, address, query, options })
    }

    /// History has the query before its answer, so that whoever has the id finds it.
    pub(super) fn remember(&self, id: &QueryId, admitted: &Admitted, request: &QueryRequest) {
        self.shared.history.record(HistoryEntry {
            id: id.clone(),
            user: admitted.connection.user.clone(),
            connection: admitted.connection.key.clone(),
            query: request.statement.clone(),
            ran_at: jiff::Timestamp::now().as_millisecond(),
        });
    }
}

fn guarded(
    call: &Call,
    statement: &str,
    kind: ConnectionKind,
    access: OpenAccess,
) -> Result<GuardedQuery, Refused> {
    let query = ringfence_guard::open(statement, kind, access)?;
    let named = query.named_relations().relations.iter().take(MAX_TABLES);
    let tables = named.map(|relation| match &relation.schema {
        Some(schema) => format!("{schema}.{}", relation.name),
        None => relation.name.clone(),
    });
    call.log().set_statement(&fingerprint(query.fingerprint_text()), tables.collect());
    Ok(query)
}

/// What alike statements have in common, without a literal in it.
fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex::encode(digest.iter().copied().take(FINGERPRINT_BYTES).collect::<Vec<u8>>())
}
