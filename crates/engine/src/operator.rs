//! Operator work: statements that a command of the one who runs this brings, never a request.
//!
//! Tenants' schemas are made, changed, copied and removed by statements that no guard could let through. They run on a
//! session of their own, outside every pool, that is closed behind them: what they set is met by nobody else.

use crate::sources::postgres::OperatorClient;
use crate::written::Writing;
use crate::{Engine, SourceAddress, SourceError};

use ringfence_policy::ConnectionKind;

/// That somebody at the command line asked for it.
//
// INVARIANT: no request makes one: only the command line does. Held by the tidy test `operator_work_is_sealed`.
#[derive(Debug)]
pub struct OperatorCommand(());

impl OperatorCommand {
    /// For the command line alone.
    pub const fn given() -> Self {
        Self(())
    }
}

/// A session of an operator's command. Dropped, it is closed, and what was not committed is undone.
pub struct OperatorSession {
    client: OperatorClient,
    /// What it writes is known when it has ended.
    _writing: Writing,
}

/// A row as the database writes it out.
pub type TextRow = Vec<Option<String>>;

impl Engine {
    /// Signs in for an operator's command. `PostgreSQL` only.
    pub async fn operate(
        &self,
        _: &OperatorCommand,
        address: &SourceAddress,
    ) -> Result<OperatorSession, SourceError> {
        match address.kind {
            ConnectionKind::Postgresql => {
                let client = self.shared.postgres.operate(address).await?;
                Ok(OperatorSession { client, _writing: self.writing_at(address) })
            }
            ConnectionKind::Sqlite | ConnectionKind::Mysql | ConnectionKind::Lake | ConnectionKind::Push => {
                Err(SourceError::Option("tenants are managed on PostgreSQL only".to_owned()))
            }
        }
    }
}

impl OperatorSession {
    /// Runs statements one after the other; their rows are not read.
    pub async fn run(&self, sql: &str) -> Result<(), SourceError> {
        self.client.run(sql).await
    }

    /// Runs one statement and reads all its rows.
    pub async fn rows(&self, sql: &str) -> Result<Vec<TextRow>, SourceError> {
        let mut rows = Vec::new();
        self.client
            .each(sql, &mut |row| {
                rows.push(row);
                Ok(())
            })
            .await?;
        Ok(rows)
    }

    /// Runs one statement and hands over its rows one by one. An error of the receiver ends it, and the session with it.
    pub async fn each_row(
        &self,
        sql: &str,
        receive: &mut (dyn FnMut(TextRow) -> Result<(), String> + Send),
    ) -> Result<(), SourceError> {
        self.client.each(sql, receive).await
    }
}
