//! The queue of indexing jobs: each source at most once in it, and at most once under way.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use ringfence_store::sources::SourceId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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

/// A job to do.
pub(super) struct Job {
    pub(super) source: SourceId,
    pub(super) wish: Wish,
    /// Cancelled when a newer wish makes this job's work worthless.
    pub(super) superseded: CancellationToken,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    closing: CancellationToken,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<SourceId>,
    jobs: HashMap<SourceId, Entry>,
}

#[derive(Default)]
struct Entry {
    /// What is still to be begun.
    wish: Option<Wish>,
    running: Option<CancellationToken>,
}

impl Queue {
    pub(super) fn push(&self, source: SourceId, wish: Wish) {
        if self.closing.is_cancelled() {
            return;
        }
        let mut state = self.state.lock();
        let entry = state.jobs.entry(source).or_default();
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
            state.waiting.push_back(source);
            self.arrived.notify_one();
        }
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
            if let Some(job) = self.take() {
                return Some(job);
            }
            tokio::select! {
                () = arrived => {}
                () = self.closing.cancelled() => return None,
            }
        }
    }

    fn take(&self) -> Option<Job> {
        let mut state = self.state.lock();
        let source = state.waiting.pop_front()?;
        let superseded = self.closing.child_token();
        let entry = state.jobs.entry(source).or_default();
        let wish = entry.wish.take().unwrap_or(Wish::Resume);
        entry.running = Some(superseded.clone());
        if !state.waiting.is_empty() {
            // A stored permit wakes one worker only, however many jobs arrived.
            self.arrived.notify_one();
        }
        gauge(&state);
        Some(Job { source, wish, superseded })
    }

    /// Ends a job. Answers whether it has to be done again.
    pub(super) fn done(&self, source: SourceId) -> bool {
        let mut state = self.state.lock();
        let again = match state.jobs.get_mut(&source) {
            Some(entry) if entry.wish.is_some() => {
                entry.running = None;
                true
            }
            _ => false,
        };
        if again {
            state.waiting.push_back(source);
            self.arrived.notify_one();
        } else {
            state.jobs.remove(&source);
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

fn gauge(state: &State) {
    let count = |jobs: usize| f64::from(u32::try_from(jobs).unwrap_or(u32::MAX));
    let running = state.jobs.values().filter(|entry| entry.running.is_some()).count();
    metrics::gauge!("ringfence_indexing_jobs", "state" => "queued").set(count(state.waiting.len()));
    metrics::gauge!("ringfence_indexing_jobs", "state" => "running").set(count(running));
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SourceId = SourceId(1);
    const B: SourceId = SourceId(2);

    #[tokio::test]
    async fn a_source_waits_once_and_the_larger_wish_counts() {
        let queue = Queue::default();
        queue.push(A, Wish::Prove);
        queue.push(B, Wish::Resume);
        queue.push(A, Wish::Introspect);
        queue.push(A, Wish::Filter);
        let first = queue.next().await.unwrap();
        assert_eq!((first.source, first.wish), (A, Wish::Introspect));
        assert_eq!(queue.next().await.unwrap().source, B);
        assert!(!queue.done(A) && !queue.done(B));
    }

    #[tokio::test]
    async fn a_newer_wish_supersedes_what_runs_and_is_done_after_it() {
        let queue = Queue::default();
        queue.push(A, Wish::Introspect);
        let job = queue.next().await.unwrap();
        queue.push(A, Wish::Resume);
        assert!(!job.superseded.is_cancelled(), "the job sees to it itself");
        queue.push(A, Wish::Prove);
        assert!(!job.superseded.is_cancelled());
        queue.push(A, Wish::Filter);
        assert!(job.superseded.is_cancelled());
        assert!(queue.done(A));
        assert_eq!(queue.next().await.unwrap().wish, Wish::Filter);
        assert!(!queue.done(A));
    }

    #[tokio::test]
    async fn closing_ends_waiting() {
        let queue = Queue::default();
        queue.close();
        queue.push(A, Wish::Introspect);
        assert!(queue.next().await.is_none());
    }
}
