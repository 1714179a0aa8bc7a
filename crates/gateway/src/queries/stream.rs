//! Streaming: rows go out as they come, and the statement stops when nobody takes them any more.

use std::sync::Arc;

use ringfence_engine::{ResultColumn, RowStream, SourceError, Value};
use ringfence_guard::{GuardedQuery, StatementKind};
use ringfence_policy::QueryId;

use super::{Admitted, Observation, Permit, QueryRequest};
use crate::{Call, CallLog, Gateway, Refused};

/// A result under way. Dropping it stops the statement in the database.
pub struct StreamedQuery {
    id: QueryId,
    rows: RowStream,
    /// Rows that may still go out.
    allowed: u64,
    sent: u64,
    /// Its effects count: it runs to its end even when no more rows go out.
    has_effects: bool,
    /// Keeps the places of budgets, and knows how to tell what went wrong.
    admitted: Admitted,
    log: Arc<CallLog>,
    observation: Option<Observation>,
    _permit: Permit,
}

pub(super) async fn stream(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    request: &QueryRequest,
) -> Result<StreamedQuery, Refused> {
    let observation = Observation::begin();
    match begin(gateway, call, key, request).await {
        Ok(streamed) => Ok(StreamedQuery { observation: Some(observation), ..streamed }),
        Err(refused) => {
            observation.end(Some(&refused));
            Err(refused)
        }
    }
}

async fn begin(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    request: &QueryRequest,
) -> Result<StreamedQuery, Refused> {
    let permit = gateway.enter(call).await?;
    let admitted = gateway.admit(call, key, request).await?;
    let id = crate::call::new_query_id();
    gateway.remember(call, &id, &admitted, request);
    gateway.within_cost(call, &admitted, &permit).await?;
    let (address, query, options) = (&admitted.address, admitted.query(), &admitted.options);
    let begin = async |query: &GuardedQuery| {
        gateway.shared.engine.stream(address, query, options, permit.cancel.clone()).await
    };
    let rows = begin(query).await;
    let rows = match admitted.as_written(request, rows.as_ref().err()) {
        Some(query) => Box::pin(begin(&query)).await,
        None => rows,
    };
    let rows = rows.map_err(|error| admitted.told(error));
    let rows = rows.inspect_err(|refused| admitted.note(call, refused))?;
    Ok(StreamedQuery {
        id,
        rows,
        allowed: options.max_rows,
        sent: 0,
        has_effects: query.kind() == StatementKind::Effect,
        log: call.log().clone(),
        observation: None,
        admitted,
        _permit: permit,
    })
}

impl StreamedQuery {
    /// The query's id.
    pub fn id(&self) -> &QueryId {
        &self.id
    }

    /// The columns.
    pub fn columns(&self) -> &[ResultColumn] {
        self.rows.columns()
    }

    /// The next rows, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<Value>>>, Refused> {
        if self.observation.is_none() || self.allowed == 0 && !self.has_effects {
            self.end(None);
            return Ok(None);
        }
        match self.next_allowed().await {
            Ok(Some(mut rows)) => {
                rows.truncate(usize::try_from(self.allowed).unwrap_or(usize::MAX));
                self.allowed = self.allowed.saturating_sub(rows.len() as u64);
                self.sent = self.sent.saturating_add(rows.len() as u64);
                self.log.set_rows(self.sent);
                Ok(Some(rows))
            }
            Ok(None) => {
                self.end(None);
                Ok(None)
            }
            Err(error) => {
                let refused = self.admitted.told(error);
                self.end(Some(&refused));
                Err(refused)
            }
        }
    }

    /// The next rows that may go out; those behind the limit are read and dropped.
    async fn next_allowed(&mut self) -> Result<Option<Vec<Vec<Value>>>, SourceError> {
        loop {
            match self.rows.next().await? {
                Some(_) if self.allowed == 0 => {}
                rows => return Ok(rows),
            }
        }
    }

    fn end(&mut self, refused: Option<&Refused>) {
        if let Some(observation) = self.observation.take() {
            observation.end(refused);
        }
    }
}
