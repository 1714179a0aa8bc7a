//! Examining the caller's connections: what their databases let them do, and whether their policies fit.

use ringfence_engine::Examined;
use ringfence_policy::{ConnectionKey, ConnectionKind, Policy, RelationName, Warning};
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::policies::Guarding;

use crate::connections::address_of;
use crate::policies::may_govern;
use crate::{Call, Gateway, Refused};

/// One connection under examination.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConnectionExam {
    pub key: ConnectionKey,
    pub kind: Option<ConnectionKind>,
    pub state: Guardedness,
    /// Whether the credentials were seen to work, and the catalog is there.
    pub is_proven: bool,
    /// What the database says; `None` for a kind that is not asked.
    pub backend: Option<Result<Examined, String>>,
    /// Relations to which access is suspended.
    pub suspended: Vec<RelationName>,
    /// What there is to look at in the policy.
    pub warnings: Vec<Warning>,
    /// Whether the policy lets somebody change something.
    pub writes: bool,
}

/// Whether a policy is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guardedness {
    /// None.
    Open,
    /// This version.
    Guarded(i64),
    /// One that can't be used: nothing runs.
    Unusable,
}

impl Gateway {
    /// Examines the caller's connections, or the one of that key. Needs what putting a policy needs.
    pub async fn examine_connections(
        &self,
        call: &Call,
        key: Option<&str>,
    ) -> Result<Vec<ConnectionExam>, Refused> {
        call.log().set_action("examine-connections");
        may_govern(call)?;
        let connections = match key {
            Some(key) => vec![self.connection_of(call, key).await?],
            None => self.shared.store.connections().list(call.principal().account()).await?,
        };
        let mut exams = Vec::with_capacity(connections.len());
        for connection in &connections {
            exams.push(self.examine_one(call, connection).await?);
        }
        Ok(exams)
    }

    async fn examine_one(&self, call: &Call, connection: &Connection) -> Result<ConnectionExam, Refused> {
        let kind = connection.spec.kind().ok();
        let org = &call.principal().org;
        let mut exam = ConnectionExam {
            key: connection.key.clone(),
            kind,
            state: Guardedness::Open,
            is_proven: connection.proof == Proof::Proven,
            backend: None,
            suspended: Vec::new(),
            warnings: Vec::new(),
            writes: false,
        };
        let Ok(address) = address_of(connection, org) else { return Ok(exam) };
        if kind == Some(ConnectionKind::Postgresql) {
            let examined = self.shared.engine.examine(&address).await;
            exam.backend = Some(examined.map_err(|error| error.to_string()));
        }
        // A file that may not be opened has no place, and nothing runs on it.
        let Ok(Some(place)) = self.place_of(org, &address) else { return Ok(exam) };
        exam.state = match self.shared.store.policies().current(&place).await? {
            Guarding::Open => Guardedness::Open,
            Guarding::Lost => Guardedness::Unusable,
            Guarding::Guarded(version) => Guardedness::Guarded(version.version),
        };
        if let Guardedness::Guarded(_) = exam.state {
            let status = self.get_policy(call, connection.key.as_str()).await?;
            if !status.problems.is_empty() {
                exam.state = Guardedness::Unusable;
            } else if let Ok(policy) = Policy::load("policy", &status.version.document, address.kind) {
                exam.writes = policy.models.values().any(|model| !model.writes.is_empty());
            }
            exam.suspended = status.suspended.into_iter().map(|(relation, _)| relation).collect();
            exam.warnings = status.warnings;
        }
        Ok(exam)
    }
}
