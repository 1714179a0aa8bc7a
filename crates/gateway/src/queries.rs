//! Queries: run, stream, submit, fetch, cancel, compile.

mod admit;
mod budgets;
mod compile;
mod explain;
mod guard;
mod judged;
mod observe;
mod options;
mod revoked;
mod running;
mod stream;
mod submitted;
mod told;
mod trial;

use std::sync::Arc;

use ringfence_engine::ResultSet;
use ringfence_guard::GuardedQuery;
use ringfence_policy::QueryId;
use ringfence_policy::filter::SearchContext;
use serde_json::Map;

use admit::Admitted;
pub(crate) use budgets::{Spending, TenantBudgets, refuse_cost};
pub use explain::{
    AdministratorsView, Asked, Because, CallersView, ClauseValue, ColumnShown, ExplainRequest,
    ExplainedColumn, ExplainedRelation, Explanation, Limits, SeenRelation, Sent, SentParameter, View, Why,
    WhyClause, WhyColumn, WhyRequest,
};
pub(crate) use guard::{check_write, plan, told};
pub(crate) use judged::{JudgedStatements, fingerprint};
use observe::Observation;
pub(crate) use options::options as run_options;
pub(crate) use revoked::start;
pub(crate) use running::{Permit, RunningQueries, stop_all};
pub use stream::StreamedQuery;
pub use told::{BudgetReport, Concurrency, Rate};
pub(crate) use trial::{Changed, Trial, Trials, quoted};

use crate::{Call, Gateway, Refused};

/// A query to run.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct QueryRequest {
    pub statement: String,
    pub current_schema: Option<String>,
    pub session_parameters: Map<String, serde_json::Value>,
    pub timeout_ms: Option<u64>,
    pub max_rows: Option<u64>,
    /// Values of the statement's placeholders, on guarded connections.
    pub parameters: Vec<Option<String>>,
    /// Why the caller does it, for the audit record.
    pub reason: Option<String>,
}

/// A result with its id.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct QueryOutcome {
    pub id: QueryId,
    pub result: Arc<ResultSet>,
}

/// What compiling found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The database's message, or the guard's; `None` when the statement is fine.
    pub error: Option<String>,
    /// Whether the database looked at more than the syntax. It has no plan for statements such as `CREATE` and `SET`, so
    /// what they name may not even exist.
    pub checked: bool,
    /// (schema, relation), as stored.
    pub tables: Vec<(String, String)>,
    /// The statement as access rules leave it, where they apply and it may be shown: behind a policy, or where columns
    /// are hidden, it names what its caller may not know.
    pub guarded: Option<String>,
}

impl Gateway {
    /// Runs a query to its end. Stopped in the database when the future is dropped.
    pub async fn run_query(
        &self,
        call: &Call,
        key: &str,
        request: QueryRequest,
    ) -> Result<QueryOutcome, Refused> {
        call.log().set_action("run-query");
        let observation = Observation::begin();
        let outcome = self.run(call, key, &request).await;
        observation.end(outcome.as_ref().err());
        outcome
    }

    /// Runs a query and streams its rows, up to `max_rows` of them.
    pub async fn stream_query(
        &self,
        call: &Call,
        key: &str,
        request: QueryRequest,
    ) -> Result<StreamedQuery, Refused> {
        call.log().set_action("stream-query");
        stream::stream(self, call, key, &request).await
    }

    /// Starts a query and answers its id at once.
    pub async fn submit_query(
        &self,
        call: &Call,
        key: &str,
        request: QueryRequest,
    ) -> Result<QueryId, Refused> {
        call.log().set_action("submit-query");
        submitted::submit(self, call, key, request).await
    }

    /// Waits for a submitted query's end. The same answer for an unknown id and somebody else's. `key` is checked when given.
    pub async fn query_result(
        &self,
        call: &Call,
        key: Option<&str>,
        id: &str,
        max_rows: Option<u64>,
    ) -> Result<QueryOutcome, Refused> {
        call.log().set_action("get-query-result");
        submitted::result(self, call, key, id, max_rows).await
    }

    /// Stops a submitted query in the database; one that has ended is no error.
    pub async fn cancel_query(&self, call: &Call, key: Option<&str>, id: &str) -> Result<(), Refused> {
        call.log().set_action("cancel-query");
        submitted::cancel(self, call, key, id).await
    }

    /// Has the database plan the statement; nothing is executed.
    pub async fn compile_query(
        &self,
        call: &Call,
        key: &str,
        statement: &str,
        _contexts: &[SearchContext],
    ) -> Result<Compiled, Refused> {
        call.log().set_action("compile-query");
        compile::compile(self, call, key, statement).await
    }

    async fn run(&self, call: &Call, key: &str, request: &QueryRequest) -> Result<QueryOutcome, Refused> {
        let permit = self.enter(call).await?;
        let admitted = self.admit(call, key, request).await?;
        let id = crate::call::new_query_id();
        self.remember(call, &id, &admitted, request);
        self.within_cost(call, &admitted, &permit).await?;
        let result = self.execute(&admitted, request, &permit).await;
        let result = result.inspect_err(|refused| admitted.note(call, refused))?;
        call.log().set_rows(result.rows.len() as u64);
        Ok(QueryOutcome { id, result: Arc::new(result) })
    }

    /// The step that reaches the database. The permit's token stops the statement there.
    async fn execute(
        &self,
        admitted: &Admitted,
        request: &QueryRequest,
        permit: &Permit,
    ) -> Result<ResultSet, Refused> {
        let Admitted { address, options, .. } = admitted;
        let run = async |query: &GuardedQuery| {
            self.shared.engine.run(address, query, options, permit.cancel.clone()).await
        };
        let ran = run(admitted.query()).await;
        let ran = match admitted.as_written(request, ran.as_ref().err()) {
            Some(query) => Box::pin(run(&query)).await,
            None => ran,
        };
        ran.map_err(|error| admitted.told(error))
    }
}
