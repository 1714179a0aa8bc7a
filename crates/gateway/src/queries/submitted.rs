//! Submitted queries: they run on their own, and their results wait in memory for their user.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_engine::ResultSet;
use ringfence_policy::{ConnectionKey, Identity, QueryId, UserId};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::running::revoked;
use super::{Observation, QueryOutcome, QueryRequest};
use crate::guarded::Through;
use crate::{Call, Code, Gateway, Refused};

/// Results that one user may have waiting.
const RESULTS_PER_USER: usize = 1_000;
/// One user may take this part of the memory for results, so that others have some too.
const SHARE_PER_USER: u64 = 2;
/// How long cancelling waits for the statement to end in the database.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

type Ended = Result<Arc<ResultSet>, Refused>;

/// Submitted queries by id.
pub(super) struct Submitted {
    queries: HashMap<QueryId, Submission>,
    /// Ended ones, oldest first.
    ended: VecDeque<Kept>,
    bytes: u64,
    memory: u64,
    retention: Duration,
}

#[derive(Clone)]
struct Submission {
    owner: Identity,
    key: ConnectionKey,
    /// What it is seen through, on a guarded connection.
    through: Option<Through>,
    cancel: CancellationToken,
    end: watch::Receiver<Option<Ended>>,
}

struct Kept {
    id: QueryId,
    user: UserId,
    bytes: u64,
    until: Instant,
}

pub(super) async fn submit(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    mut request: QueryRequest,
) -> Result<QueryId, Refused> {
    let observation = Observation::begin();
    // How many rows are wanted is said when the result is read.
    request.max_rows = request.max_rows.or(Some(gateway.shared.config.max_rows));
    let permit = gateway.enter(call).await?;
    let admitted = gateway.admit(call, key, &request).await?;
    gateway.within_cost(call, &admitted, &permit).await?;
    let id = crate::call::new_query_id();
    gateway.remember(call, &id, &admitted, &request);
    let (told, end) = watch::channel(None);
    let submission = Submission {
        owner: Identity { account: admitted.connection.user.clone(), ..call.principal().identity() },
        key: admitted.connection.key.clone(),
        through: admitted.through().cloned(),
        cancel: permit.cancel.clone(),
        end,
    };
    gateway.shared.running.submitted.lock().queries.insert(id.clone(), submission);
    let (gateway, ended_id) = (gateway.clone(), id.clone());
    tokio::spawn(async move {
        let outcome = gateway.execute(&admitted, &request, &permit).await.map(Arc::new);
        observation.end(outcome.as_ref().err());
        let kept = gateway.shared.running.submitted.lock().keep(&ended_id, &outcome);
        told.send_replace(Some(kept.map_or_else(Err, |()| outcome)));
        drop(permit);
    });
    call.log().set_object(id.as_str());
    Ok(id)
}

pub(super) async fn result(
    gateway: &Gateway,
    call: &Call,
    key: Option<&str>,
    id: &str,
    max_rows: Option<u64>,
) -> Result<QueryOutcome, Refused> {
    let (id, mut submission) = find(gateway, call, key, id).await?;
    let lost = |_| Refused::internal(&"a submitted query ended without a result");
    let turn = gateway.wait_in_line(call).await?;
    let ended = tokio::select! {
        biased;
        ended = submission.end.wait_for(Option::is_some) => ended.map_err(lost)?.clone(),
        () = turn.cancel.cancelled() => return Err(revoked()),
    };
    // While this waited, the connection may have been taken away.
    let (_, submission) = find(gateway, call, key, id.as_str()).await?;
    refuse_outdated(gateway, call, &id, &submission).await?;
    let result = ended.unwrap_or_else(|| Err(Refused::internal(&"a submitted query has no result")))?;
    let config = &gateway.shared.config;
    let result = first_rows(result, max_rows.unwrap_or(config.default_rows).min(config.max_rows));
    call.log().set_rows(result.rows.len() as u64);
    Ok(QueryOutcome { id, result })
}

pub(super) async fn cancel(
    gateway: &Gateway,
    call: &Call,
    key: Option<&str>,
    id: &str,
) -> Result<(), Refused> {
    let (_, mut submission) = find(gateway, call, key, id).await?;
    submission.cancel.cancel();
    // Whoever asks afterwards whether the statement still runs hears that it does not.
    let _ = timeout(CANCEL_LIMIT, submission.end.wait_for(Option::is_some)).await;
    Ok(())
}

/// The acting user's query of that id, on that connection when one is named. One answer for all that it is not.
async fn find(
    gateway: &Gateway,
    call: &Call,
    key: Option<&str>,
    id: &str,
) -> Result<(QueryId, Submission), Refused> {
    let unknown = || Refused::not_found("query");
    let scope = match key {
        Some(key) => Some(gateway.connection_of(call, key).await?.key),
        None => None,
    };
    let id = QueryId::new(id).map_err(|_| unknown())?;
    call.log().set_object(id.as_str());
    let identity = call.principal().identity();
    let found = {
        let mut submitted = gateway.shared.running.submitted.lock();
        submitted.purge();
        submitted.queries.get(&id).cloned()
    };
    // INVARIANT: a query belongs to the user who submitted it, also among those for whom one application acts. Held by the test
    // `a_query_id_is_worth_nothing_to_another_user`.
    let found = found.filter(|found| found.owner == identity).ok_or_else(unknown)?;
    match scope {
        Some(scope) if scope != found.key => return Err(unknown()),
        Some(_) => {}
        None => {
            gateway
                .connection_of(call, found.key.as_str())
                .await
                .map_err(|refused| if refused.code == Code::NotFound { unknown() } else { refused })?;
        }
    }
    Ok((id, found))
}

/// A result belongs to the view that it was made under: it is dropped when its user's view is another now, and when the
/// connection became a guarded one.
//
// INVARIANT: no row is read again that the same statement would not show now, for want of rights. Held by the test
// `a_result_of_an_earlier_view_is_not_read_again`.
async fn refuse_outdated(
    gateway: &Gateway,
    call: &Call,
    id: &QueryId,
    submission: &Submission,
) -> Result<(), Refused> {
    let connection = gateway.connection_of(call, submission.key.as_str()).await?;
    if gateway.still_sees(call, &connection, submission.through.as_ref()).await? {
        return Ok(());
    }
    gateway.shared.running.submitted.lock().discard(id);
    Err(Refused::new(
        Code::ResultOutdated,
        "what you may see has changed since the query ran, and its result was dropped: submit it again",
    ))
}

/// The first rows, as if no more had been asked for.
fn first_rows(result: Arc<ResultSet>, limit: u64) -> Arc<ResultSet> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let left_out = result.rows.len().saturating_sub(limit);
    if left_out == 0 {
        return result;
    }
    Arc::new(ResultSet {
        columns: result.columns.clone(),
        rows: result.rows.iter().take(limit).cloned().collect(),
        more_rows: result.more_rows.saturating_add(left_out as u64),
        affected: result.affected,
    })
}

impl Submitted {
    pub(super) fn new(memory: u64, retention: Duration) -> Self {
        Self { queries: HashMap::new(), ended: VecDeque::new(), bytes: 0, memory, retention }
    }

    /// Accounts that have something here.
    pub(super) fn users(&self) -> Vec<UserId> {
        let mut users: Vec<UserId> =
            self.queries.values().map(|submission| submission.owner.account.clone()).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Drops what may no longer be read.
    pub(super) fn purge(&mut self) {
        let now = Instant::now();
        while self.ended.front().is_some_and(|kept| kept.until <= now) {
            self.drop_at(0);
        }
    }

    /// Stops and drops the queries of which this holds.
    pub(super) fn forget(&mut self, gone: impl Fn(&UserId, &ConnectionKey) -> bool) {
        self.queries.retain(|_, submission| {
            let gone = gone(&submission.owner.account, &submission.key);
            if gone {
                submission.cancel.cancel();
            }
            !gone
        });
        let queries = &self.queries;
        self.ended.retain(|kept| queries.contains_key(&kept.id));
        self.bytes = self.ended.iter().map(|kept| kept.bytes).sum();
    }

    /// Stops and drops one.
    fn discard(&mut self, id: &QueryId) {
        if let Some(submission) = self.queries.remove(id) {
            submission.cancel.cancel();
        }
        if let Some(index) = self.ended.iter().position(|kept| kept.id == *id) {
            self.drop_at(index);
        }
    }

    /// Makes room for a result that is to be kept; the oldest go first. Refused when it would not fit alone.
    fn keep(&mut self, id: &QueryId, outcome: &Ended) -> Result<(), Refused> {
        let Some(user) = self.queries.get(id).map(|submission| submission.owner.account.clone()) else {
            return Ok(());
        };
        let mut bytes = outcome.as_ref().map_or(0, |result| result.bytes());
        let share = self.memory / SHARE_PER_USER;
        let fits = bytes <= share;
        if !fits {
            bytes = 0;
        }
        while let Some(oldest) = self.ended.iter().position(|kept| kept.user == user) {
            let own = || self.ended.iter().filter(|kept| kept.user == user);
            let taken: u64 = own().map(|kept| kept.bytes).sum();
            if own().count() < RESULTS_PER_USER && taken.saturating_add(bytes) <= share {
                break;
            }
            self.drop_at(oldest);
        }
        while self.bytes.saturating_add(bytes) > self.memory && !self.ended.is_empty() {
            self.drop_at(0);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.ended.push_back(Kept { id: id.clone(), user, bytes, until: Instant::now() + self.retention });
        if fits {
            Ok(())
        } else {
            Err(Refused::new(
                Code::ResultTooLarge,
                format!(
                    "the result is larger than the {share} bytes kept for submitted queries: use run-query"
                ),
            ))
        }
    }

    fn drop_at(&mut self, index: usize) {
        if let Some(kept) = self.ended.remove(index) {
            self.queries.remove(&kept.id);
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }
}
