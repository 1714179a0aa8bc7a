//! The session of an operator's command: its statements go as they are, and values come and go as text.

use std::pin::pin;

use futures::StreamExt as _;
use tokio_postgres::SimpleQueryMessage;

use super::failure;
use super::session::Session;
use crate::SourceError;
use crate::operator::TextRow;

/// One session, outside every pool.
pub(crate) struct OperatorClient(Session);

impl OperatorClient {
    pub(super) const fn new(session: Session) -> Self {
        Self(session)
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), SourceError> {
        self.0.client.batch_execute(sql).await.map_err(|error| self.told(&error))
    }

    pub(crate) async fn each(
        &self,
        sql: &str,
        receive: &mut (dyn FnMut(TextRow) -> Result<(), String> + Send),
    ) -> Result<(), SourceError> {
        let stream = self.0.client.simple_query_raw(sql).await.map_err(|error| self.told(&error))?;
        let mut stream = pin!(stream);
        while let Some(message) = stream.next().await {
            let SimpleQueryMessage::Row(row) = message.map_err(|error| self.told(&error))? else { continue };
            let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
            receive(values).map_err(SourceError::Option)?;
        }
        Ok(())
    }

    fn told(&self, error: &tokio_postgres::Error) -> SourceError {
        failure::of_statement(error, &self.0.watch)
    }
}
