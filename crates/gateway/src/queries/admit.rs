//! From a request to a statement that may run, and where: the part of the road before the database.

use std::sync::Arc;

use ringfence_engine::{RunOptions, SourceAddress};
use ringfence_guard::GuardedQuery;
use ringfence_policy::{OpenAccess, Permission, QueryId};
use ringfence_store::connections::Connection;
use ringfence_store::history::HistoryEntry;

use super::judged::Judged;
use super::{QueryRequest, confine, options};
use crate::connections::address_of;
use crate::{Call, Gateway, Refused};

/// A statement that may run, where and how.
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    pub(super) address: SourceAddress,
    statement: Arc<Judged>,
    pub(super) options: RunOptions,
}

impl Admitted {
    pub(super) fn query(&self) -> &GuardedQuery {
        &self.statement.query
    }
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
        let statement =
            self.shared.statements.judge(&call.principal().tenant, &request.statement, kind, access)?;
        call.log().set_statement(&statement.fingerprint, &statement.tables);
        let options = options::options(&self.shared.config, request)?;
        let address = address_of(&connection, &call.principal().org)?;
        Ok(Admitted { connection, address, statement, options })
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
