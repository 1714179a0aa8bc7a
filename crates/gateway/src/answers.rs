//! Answers that are kept in memory, for everybody who would be answered the same: one keeper for whatever asks a source for
//! rows and says how long they count.
//!
//! A call goes its whole road first: policy, rules, roles, budgets and limits are looked at each time, and its record says
//! what held. Only the database is not asked again. Reading order: [`key`] is what an answer hangs on, [`shelf`] keeps it
//! within bounds, [`steady`] says what is never kept, [`flight`] has callers who ask for the same at once wait for one statement.

mod flight;
mod key;
mod shelf;
mod steady;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ringfence_engine::{EVERYWHERE, Ended, Engine, ResultSet, SourceError};
use ringfence_store::Store;
use tokio_util::sync::CancellationToken;

use crate::queries::{refuse_cost, told};
use crate::road::{Ready, Road};
use crate::{Gateway, Refused};

use flight::{Flights, Landed};
use key::AnswerKey;
use shelf::Shelf;

/// Between two rounds of telling other nodes what was written.
const PAUSE: Duration = Duration::from_millis(100);
/// More of them in one round are told as all that there are.
const MOST_PLACES: usize = 64;

/// How answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswersConfig {
    /// What all of them may take, in bytes; with 0 none is kept.
    pub memory: u64,
    /// How long the answer of a cube counts whose definition does not say.
    pub cube_time: Duration,
}

/// How new an answer has to be, as far as its caller says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// One that is older is made anew.
    pub oldest: Option<Duration>,
    /// Whether it may be kept for others.
    pub is_kept: bool,
}

impl Freshness {
    /// What is asked of the database each time, and kept for nobody.
    pub const UNKEPT: Self = Self { oldest: Some(Duration::ZERO), is_kept: false };
}

impl Default for Freshness {
    fn default() -> Self {
        Self { oldest: None, is_kept: true }
    }
}

/// What answers are for, how long they count there, and how new this caller wants one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping {
    /// For measures: `cube`, `endpoint`.
    pub(crate) what: &'static str,
    pub(crate) time: Option<Duration>,
    pub(crate) freshness: Freshness,
}

/// Rows, as the source gave them.
pub(crate) struct Answer {
    pub(crate) result: Arc<ResultSet>,
    /// How old they are, when they were not read for this call.
    pub(crate) age: Option<Duration>,
}

/// How many answers are kept, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptAnswers {
    /// How many.
    pub entries: usize,
    /// Their bytes in memory.
    pub bytes: u64,
}

/// The keeper.
//
// INVARIANT: an answer is given again only for the same text behind the same fences with the same values, the principal's
// among them, on the same source as the same database user, under the same versions of the policy and of the data; and only
// after the call went the whole road up to the database. Held by the tests of tests/gateway/answers.rs and, over HTTP, by
// `test_callers_with_different_views_never_share`.
pub(crate) struct Answers {
    shelf: Mutex<Shelf>,
    flights: Flights,
    is_on: bool,
}

impl Answers {
    pub(crate) fn new(config: &AnswersConfig) -> Arc<Self> {
        Arc::new(Self {
            shelf: Mutex::new(Shelf::new(config.memory)),
            flights: Flights::default(),
            is_on: config.memory > 0,
        })
    }

    fn keep(&self, key: AnswerKey, result: &Arc<ResultSet>, made: Instant, time: Duration) {
        let mut kept = self.shelf.lock();
        kept.put(key, result, made, time);
        measure(&kept);
    }
}

/// Tells other nodes where something was written, each place at most once in [`PAUSE`].
pub(crate) fn start(gateway: &Gateway) {
    let stopped = gateway.shared.stopped.clone();
    let (engine, store) = (gateway.shared.engine.clone(), gateway.shared.store.clone());
    tokio::spawn(stopped.run_until_cancelled_owned(async move {
        loop {
            let written = engine.next_written().await;
            tell(&engine, &store, &written).await;
            tokio::time::sleep(PAUSE).await;
            let abandoned = written.iter().filter(|(_, ended)| **ended == Ended::Abandoned);
            abandoned.for_each(|(place, _)| engine.heard_written(place));
        }
    }));
}

/// What is left to tell, before the process ends.
pub(crate) async fn tell_the_rest(gateway: &Gateway) {
    let (engine, store) = (&gateway.shared.engine, &gateway.shared.store);
    tell(engine, store, &engine.take_written()).await;
}

async fn tell(engine: &Engine, store: &Store, written: &BTreeMap<String, Ended>) {
    if written.is_empty() {
        return;
    }
    let places = if written.len() > MOST_PLACES {
        BTreeSet::from([EVERYWHERE.to_owned()])
    } else {
        written.keys().cloned().collect()
    };
    if let Err(error) = store.data_changed(engine.teller(), places).await {
        tracing::warn!(error = %error, "other nodes were not told that data changed: their answers end with their time");
    }
}

impl Gateway {
    /// What is kept at the moment.
    pub fn kept_answers(&self) -> KeptAnswers {
        self.shared.answers.shelf.lock().size()
    }
}

impl Road<'_> {
    /// Runs a statement by itself, or answers what it would. Held to the same limits in either case.
    pub(crate) async fn answer(&self, ready: &Ready, keeping: Keeping) -> Result<Answer, Refused> {
        let Keeping { what, time, freshness } = keeping;
        let answers = &self.gateway.shared.answers;
        let may_be_kept =
            answers.is_on && freshness.is_kept && steady::is_steady(&ready.query, self.address.kind);
        let Some(time) = time.filter(|time| may_be_kept && !time.is_zero()) else {
            count(what, "unkept");
            let result = Arc::new(self.run(ready).await?);
            return Ok(Answer { result, age: None });
        };
        let key = AnswerKey::of(self, ready)?;
        let oldest = freshness.oldest.map_or(time, |oldest| oldest.min(time));
        if oldest.is_zero() {
            count(what, "unwanted");
            let landed = self.wait_for(self.fly(ready, key, time), ready).await?;
            return Ok(Answer { result: landed.0, age: None });
        }
        let known = answers.shelf.lock().get(&key, oldest);
        if let Some((result, age)) = known {
            count(what, "hit");
            self.call.log().set_kept(age);
            return Ok(Answer { result, age: Some(age) });
        }
        // Those who wait have the same patience: nobody hears that the time of another one is over.
        let (flight, is_first) =
            answers.flights.board((key, ready.options.timeout), || self.fly(ready, key, time));
        count(what, if is_first { "miss" } else { "joined" });
        let (result, made) = self.wait_for(flight, ready).await?;
        let age = (!is_first).then(|| made.elapsed());
        if let Some(age) = age {
            self.call.log().set_kept(age);
        }
        Ok(Answer { result, age })
    }

    /// Asks the database, for as long as anybody waits for it, and keeps the answer. A failure is kept for nobody.
    fn fly(
        &self,
        ready: &Ready,
        key: AnswerKey,
        time: Duration,
    ) -> impl Future<Output = Result<Landed, SourceError>> + Send + use<> {
        let shared = &self.gateway.shared;
        let (engine, answers) = (shared.engine.clone(), Arc::clone(&shared.answers));
        let (address, query, options) = (self.address.clone(), ready.query.clone(), ready.options.clone());
        let asks_for_cost = self.max_cost().map(|(most, _)| most);
        async move {
            // It counts from before it was read.
            let made = Instant::now();
            if let Some(most) = asks_for_cost {
                let cost = engine.cost(&address, &query, &options).await?;
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "an estimate that large is no longer exact to a unit"
                )]
                if cost.is_some_and(|cost| cost > most as f64) {
                    return Ok(Landed::TooCostly(cost));
                }
            }
            // Not the token of one caller: others may wait for the same answer. Dropped, it stops in the database.
            let result = engine.run(&address, &query, &options, CancellationToken::new()).await?;
            let result = Arc::new(result);
            answers.keep(key, &result, made, time);
            Ok(Landed::Rows(result, made))
        }
    }

    /// Waits with others, or alone, until this call is cancelled.
    async fn wait_for(
        &self,
        flight: impl Future<Output = Result<Landed, SourceError>>,
        ready: &Ready,
    ) -> Result<(Arc<ResultSet>, Instant), Refused> {
        let landed = tokio::select! {
            biased;
            () = self.cancelled() => Err(SourceError::Cancelled),
            landed = flight => landed,
        };
        match landed.map_err(|error| told(error, &ready.text))? {
            Landed::Rows(result, made) => Ok((result, made)),
            Landed::TooCostly(cost) => {
                // The limit is among what the flight is known by, so it is this call's own.
                if let Some(limit) = self.max_cost() {
                    refuse_cost(self.call, limit, cost)?;
                }
                Err(Refused::internal(&"a statement that costs too much for nobody"))
            }
        }
    }
}

/// By what was asked and how it ended alone: nothing that a caller chooses is in a label.
fn count(what: &'static str, outcome: &'static str) {
    metrics::counter!("ringfence_answers_total", "what" => what, "outcome" => outcome).increment(1);
}

fn measure(shelf: &Shelf) {
    let KeptAnswers { entries, bytes } = shelf.size();
    #[expect(clippy::cast_precision_loss, reason = "a gauge of memory need not be exact to the byte")]
    let (entries, bytes) = (entries as f64, bytes as f64);
    metrics::gauge!("ringfence_answers_kept").set(entries);
    metrics::gauge!("ringfence_answers_kept_bytes").set(bytes);
}
