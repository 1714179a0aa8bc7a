//! The queue of indexing jobs: each source at most once in it, and at most once under way. Organizations take turns, and
//! none has more than its part of the workers; what failed waits longer each time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_policy::OrgId;
use ringfence_store::sources::SourceId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a source waits after its first failure that counts; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_mins(5);
/// Failures in a row after which even who asks for it has to wait: they may be mending the source and trying again.
const FREE_FAILURES: u32 = 3;
/// Failures remembered; with more, those whose time is over are forgotten.
const MOST_FAILURES: usize = 10_000;

/// What is asked for; a later one in this order includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// Try the credentials of those who wait for it.
    Prove,
    /// Go on with what was left unfinished.
    Resume,
    /// The filters changed: the catalog that is there will do.
    Filter,
    /// Read everything again.
    Introspect,
}

impl Wish {
    /// Whether somebody asked for it now, and waits.
    fn is_explicit(self) -> bool {
        matches!(self, Self::Filter | Self::Introspect)
    }
}

/// A job to do.
pub(super) struct Job {
    pub(super) source: SourceId,
    pub(super) wish: Wish,
    /// Cancelled when a newer wish makes this job's work worthless.
    pub(super) superseded: CancellationToken,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    /// The source could not be read.
    Failed,
    /// Nothing is known about the source: superseded, or the store was away.
    Interrupted,
}

pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    closing: CancellationToken,
    per_organization: usize,
}

#[derive(Default)]
struct State {
    /// Organizations with waiting sources, the next one first.
    turns: VecDeque<OrgId>,
    lines: HashMap<OrgId, Line>,
    jobs: HashMap<SourceId, Entry>,
    failures: HashMap<SourceId, Failure>,
}

/// What one organization has.
#[derive(Default)]
struct Line {
    waiting: VecDeque<SourceId>,
    running: usize,
}

struct Entry {
    org: OrgId,
    /// What is still to be begun.
    wish: Option<Wish>,
    running: Option<CancellationToken>,
}

struct Failure {
    /// In a row.
    count: u32,
    last: Instant,
}

/// What a worker finds.
enum Found {
    Job(Job),
    /// Nothing before that time, unless something arrives.
    Nothing(Option<Instant>),
}

impl Queue {
    /// At most so many jobs of one organization run at once.
    pub(super) fn new(per_organization: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            closing: CancellationToken::new(),
            per_organization: per_organization.max(1),
        }
    }

    pub(super) fn push(&self, source: SourceId, org: &OrgId, wish: Wish) {
        if self.closing.is_cancelled() {
            return;
        }
        let mut state = self.state.lock();
        let new = || Entry { org: org.clone(), wish: None, running: None };
        let entry = state.jobs.entry(source).or_insert_with(new);
        if let Some(running) = &entry.running {
            match wish {
                // What runs sees to these.
                Wish::Resume => return,
                Wish::Prove => {}
                Wish::Filter | Wish::Introspect => running.cancel(),
            }
        }
        let is_new = entry.wish.is_none() && entry.running.is_none();
        entry.wish = entry.wish.max(Some(wish));
        if is_new {
            let org = entry.org.clone();
            state.line_up(org, source);
        }
        // Also for one that waits: the larger wish may be due sooner.
        self.arrived.notify_one();
        gauge(&state);
    }

    /// The next job; `None` when the queue is closed.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            // Asked before the look, so that nothing arrives unheard between the two.
            let arrived = self.arrived.notified();
            if self.closing.is_cancelled() {
                return None;
            }
            let due = match self.take() {
                Found::Job(job) => return Some(job),
                Found::Nothing(due) => due,
            };
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = arrived => {}
                () = due => {}
                () = self.closing.cancelled() => return None,
            }
        }
    }

    fn take(&self) -> Found {
        let mut state = self.state.lock();
        let now = Instant::now();
        let mut earliest: Option<Instant> = None;
        for _ in 0..state.turns.len() {
            let Some(org) = state.turns.pop_front() else { break };
            match state.next_of(&org, self.per_organization, now) {
                Ok(source) => {
                    let job = state.begin(source, &org, &self.closing);
                    if !state.turns.is_empty() {
                        // A stored permit wakes one worker only, however many jobs arrived.
                        self.arrived.notify_one();
                    }
                    gauge(&state);
                    return Found::Job(job);
                }
                Err(due) => {
                    earliest = [earliest, due].into_iter().flatten().min();
                    state.turns.push_back(org);
                }
            }
        }
        Found::Nothing(earliest)
    }

    /// Ends a job. Answers whether it has to be done again.
    pub(super) fn done(&self, source: SourceId, ended: Ended) -> bool {
        let mut state = self.state.lock();
        state.note(source, ended);
        let Some(entry) = state.jobs.get_mut(&source) else { return false };
        let (org, again) = (entry.org.clone(), entry.wish.is_some());
        entry.running = None;
        if let Some(line) = state.lines.get_mut(&org) {
            line.running = line.running.saturating_sub(1);
            if line.running == 0 && line.waiting.is_empty() {
                state.lines.remove(&org);
            }
        }
        if again {
            state.line_up(org, source);
        } else {
            state.jobs.remove(&source);
        }
        if !state.turns.is_empty() {
            // The organization may have been at its limit.
            self.arrived.notify_one();
        }
        gauge(&state);
        again
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }
}

impl State {
    fn line_up(&mut self, org: OrgId, source: SourceId) {
        let line = self.lines.entry(org.clone()).or_default();
        if line.waiting.is_empty() {
            self.turns.push_back(org);
        }
        line.waiting.push_back(source);
    }

    /// The organization's next source; else when to look again, where only time is missing.
    fn next_of(&mut self, org: &OrgId, most: usize, now: Instant) -> Result<SourceId, Option<Instant>> {
        let Some(line) = self.lines.get(org).filter(|line| line.running < most) else { return Err(None) };
        let mut earliest: Option<Instant> = None;
        for (index, source) in line.waiting.iter().enumerate() {
            match self.due(*source) {
                Some(due) if due > now => earliest = [earliest, Some(due)].into_iter().flatten().min(),
                _ => {
                    let source = *source;
                    self.lines.get_mut(org).map(|line| line.waiting.remove(index));
                    return Ok(source);
                }
            }
        }
        Err(earliest)
    }

    /// When a source that failed may be tried again.
    fn due(&self, source: SourceId) -> Option<Instant> {
        let failure = self.failures.get(&source)?;
        let is_explicit = self.jobs.get(&source)?.wish.is_some_and(Wish::is_explicit);
        let free = if is_explicit { FREE_FAILURES } else { 0 };
        let counted = failure.count.checked_sub(free).filter(|counted| *counted > 0)?;
        Some(failure.last + delay(counted))
    }

    /// Takes the job of a source that has left its line.
    fn begin(&mut self, source: SourceId, org: &OrgId, closing: &CancellationToken) -> Job {
        let line = self.lines.entry(org.clone()).or_default();
        line.running += 1;
        if !line.waiting.is_empty() {
            self.turns.push_back(org.clone());
        }
        let superseded = closing.child_token();
        let new = || Entry { org: org.clone(), wish: None, running: None };
        let entry = self.jobs.entry(source).or_insert_with(new);
        entry.running = Some(superseded.clone());
        Job { source, wish: entry.wish.take().unwrap_or(Wish::Resume), superseded }
    }

    fn note(&mut self, source: SourceId, ended: Ended) {
        match ended {
            Ended::Interrupted => {}
            Ended::Well => {
                self.failures.remove(&source);
            }
            Ended::Failed => {
                let now = Instant::now();
                if self.failures.len() >= MOST_FAILURES {
                    self.failures.retain(|_, failure| failure.last + LONGEST_DELAY > now);
                }
                let failure = self.failures.entry(source).or_insert(Failure { count: 0, last: now });
                *failure = Failure { count: failure.count.saturating_add(1), last: now };
            }
        }
    }
}

fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_DELAY)
}

fn gauge(state: &State) {
    let count = |jobs: usize| f64::from(u32::try_from(jobs).unwrap_or(u32::MAX));
    let running = state.lines.values().map(|line| line.running).sum();
    let waiting = state.lines.values().map(|line| line.waiting.len()).sum();
    metrics::gauge!("ringfence_indexing_jobs", "state" => "queued").set(count(waiting));
    metrics::gauge!("ringfence_indexing_jobs", "state" => "running").set(count(running));
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SourceId = SourceId(1);
    const B: SourceId = SourceId(2);

    fn org(id: &str) -> OrgId {
        OrgId::new(id).unwrap()
    }

    fn take(queue: &Queue) -> Option<SourceId> {
        match queue.take() {
            Found::Job(job) => Some(job.source),
            Found::Nothing(_) => None,
        }
    }

    #[test]
    fn organizations_take_turns_and_none_has_all_workers() {
        let queue = Queue::new(2);
        for source in 0..100 {
            queue.push(SourceId(source), &org("a"), Wish::Introspect);
        }
        for source in 200..203 {
            queue.push(SourceId(source), &org("b"), Wish::Introspect);
        }
        let taken: Vec<_> = std::iter::from_fn(|| take(&queue)).map(|source| source.0).collect();
        assert_eq!(taken, [0, 200, 1, 201], "in turn, and two of each at once");
        assert!(!queue.done(SourceId(0), Ended::Well));
        assert_eq!(take(&queue), Some(SourceId(2)));
        assert!(!queue.done(SourceId(200), Ended::Failed));
        assert_eq!(take(&queue), Some(SourceId(202)));
        for source in [201, 202] {
            assert!(!queue.done(SourceId(source), Ended::Well));
        }
        assert!(!queue.state.lock().lines.contains_key(&org("b")), "who has nothing takes no memory");
    }

    #[test]
    fn what_fails_waits_longer_each_time_and_holds_up_nothing_else() {
        let queue = Queue::new(2);
        let again = |wish: Wish| {
            queue.push(A, &org("a"), wish);
            let Some(source) = take(&queue) else { return false };
            assert!(!queue.done(source, Ended::Failed));
            true
        };
        assert!(again(Wish::Prove));
        for _ in 1..FREE_FAILURES {
            assert!(again(Wish::Introspect), "who asks for it may try again");
        }
        assert!(again(Wish::Introspect), "the last free one");
        assert!(!again(Wish::Introspect), "it waits now");
        let Found::Nothing(Some(due)) = queue.take() else { panic!("there is a time to look again") };
        assert!(due <= Instant::now() + FIRST_DELAY);
        queue.push(B, &org("a"), Wish::Resume);
        assert_eq!(take(&queue), Some(B), "others of the organization go first");
        assert_eq!([1, 2, 4, 9, 10, 99].map(|failures| delay(failures).as_secs()), [1, 2, 8, 256, 300, 300]);
    }

    #[tokio::test]
    async fn what_waits_for_its_time_is_taken_then_and_success_is_a_new_start() {
        let queue = Queue::new(2);
        queue.push(A, &org("a"), Wish::Prove);
        let job = queue.next().await.unwrap();
        assert!(!queue.done(job.source, Ended::Failed));
        queue.push(A, &org("a"), Wish::Prove);
        assert_eq!(take(&queue), None);
        assert_eq!(queue.next().await.unwrap().source, A, "after its delay of a second");
        assert!(!queue.done(A, Ended::Well));
        queue.push(A, &org("a"), Wish::Prove);
        assert_eq!(take(&queue), Some(A));
    }

    #[tokio::test]
    async fn a_source_waits_once_and_the_larger_wish_counts() {
        let queue = Queue::new(2);
        queue.push(A, &org("a"), Wish::Prove);
        queue.push(B, &org("a"), Wish::Resume);
        queue.push(A, &org("a"), Wish::Introspect);
        queue.push(A, &org("a"), Wish::Filter);
        let first = queue.next().await.unwrap();
        assert_eq!((first.source, first.wish), (A, Wish::Introspect));
        assert_eq!(queue.next().await.unwrap().source, B);
        assert!(!queue.done(A, Ended::Well) && !queue.done(B, Ended::Well));
    }

    #[tokio::test]
    async fn a_newer_wish_supersedes_what_runs_and_is_done_after_it() {
        let queue = Queue::new(2);
        queue.push(A, &org("a"), Wish::Introspect);
        let job = queue.next().await.unwrap();
        queue.push(A, &org("a"), Wish::Resume);
        assert!(!job.superseded.is_cancelled(), "the job sees to it itself");
        queue.push(A, &org("a"), Wish::Prove);
        assert!(!job.superseded.is_cancelled());
        queue.push(A, &org("a"), Wish::Filter);
        assert!(job.superseded.is_cancelled());
        assert!(queue.done(A, Ended::Well));
        assert_eq!(queue.next().await.unwrap().wish, Wish::Filter);
        assert!(!queue.done(A, Ended::Well));
    }

    #[tokio::test]
    async fn closing_ends_waiting() {
        let queue = Queue::new(2);
        queue.close();
        queue.push(A, &org("a"), Wish::Introspect);
        assert!(queue.next().await.is_none());
    }
}
