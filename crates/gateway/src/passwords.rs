//! Checking passwords: the same work for a right one, a wrong one and that of nobody, off the threads that serve requests, and
//! only so much of it at once.

mod hash;
mod throttle;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Now};

use moka::future::Cache as AsyncCache;
use moka::sync::Cache;
use ring::hmac;
use ringfence_store::access_keys::KeyHash;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

pub(crate) use hash::PasswordHash;
use throttle::{Attempt, Throttle};

use crate::{Code, GatewayConfig, Refused};

/// Longest password that is looked at, in bytes.
pub(crate) const LONGEST_PASSWORD: usize = 1024;
/// Shortest password that may be given to a technical user, in bytes.
pub(crate) const SHORTEST_PASSWORD: usize = 8;

/// How passwords are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordsConfig {
    /// Hashes that are worked on at once; each takes a core and some 20 MiB. `None`: one per core.
    pub at_once: Option<usize>,
    /// Attempts that fail, per minute, for one user name.
    pub failures_per_user: u32,
    /// The same from one address.
    pub failures_per_address: u32,
    /// How long a name and password that were right are not worked on again.
    pub remembered: Duration,
}

impl Default for PasswordsConfig {
    fn default() -> Self {
        Self {
            at_once: None,
            failures_per_user: 10,
            failures_per_address: 60,
            remembered: Duration::from_mins(2),
        }
    }
}

/// How long somebody waits for a turn before the server is too busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// A failure is answered at a multiple of this, so that what else differs (a directory's answer, an older kind of hash) does not
/// show.
const STRIDE: Duration = Duration::from_millis(250);
/// Pairs that are remembered.
const MOST_PAIRS: u64 = 10_000;

/// Where passwords are worked on.
pub(crate) struct PasswordWork {
    turns: Arc<Semaphore>,
    throttle: Throttle,
    /// Of each source of hashes, the parameters of the last one seen there: nobody's password costs as much.
    kinds: Cache<String, PasswordHash>,
    /// Names with passwords that were right, by a keyed digest of both, and the stamp of what they were checked against.
    pub(crate) pairs: AsyncCache<[u8; 32], KeyHash>,
    pair_key: hmac::Key,
    runs: AtomicU64,
}

impl PasswordWork {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let config = &config.passwords;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(config.at_once.unwrap_or(cores).max(1))),
            throttle: Throttle::new(config.failures_per_user, config.failures_per_address),
            kinds: Cache::new(64),
            pairs: AsyncCache::builder().max_capacity(MOST_PAIRS).time_to_live(config.remembered).build(),
            pair_key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            runs: AtomicU64::new(0),
        }
    }

    /// Makes a hash for a new password.
    pub(crate) async fn hash(&self, password: &SecretString) -> Result<PasswordHash, Refused> {
        let password = password.clone();
        let turn = self.turn().await?;
        work(turn, move || PasswordHash::of(password.expose_secret())).await?
    }

    /// Refuses who has been wrong too often, before anything is looked up for them.
    pub(crate) fn let_try(&self, trying: Trying<'_>) -> Result<(), Refused> {
        self.throttle.attempt(trying, Now::now()).map(Attempt::was_right)
    }

    /// Whether the password is the one that `hash` was made of. Without a hash it is not, and that takes as much work as one of
    /// `source` would. Who has been wrong too often is refused.
    // INVARIANT: each call is one run of a hash function, whatever comes of it. Held by the test `nobody_costs_as_much`.
    pub(crate) async fn check(
        &self,
        source: &str,
        hash: Option<PasswordHash>,
        trying: Trying<'_>,
        password: &SecretString,
    ) -> Result<bool, Refused> {
        let is_somebodys = hash.is_some();
        let hash = match hash {
            Some(hash) => {
                self.kinds.insert(source.to_owned(), hash.alike());
                hash
            }
            None => self.kinds.get(source).unwrap_or_else(PasswordHash::nobodys),
        };
        // Not before it is one's turn: many who are right at once must not use up the share of those who are wrong.
        let turn = self.turn().await?;
        let attempt = self.throttle.attempt(trying, Now::now())?;
        self.runs.fetch_add(1, Ordering::Relaxed);
        let password = password.clone();
        let is_right = work(turn, move || hash.is_of(password.expose_secret())).await? && is_somebodys;
        if is_right {
            attempt.was_right();
        }
        Ok(is_right)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let busy =
            || Refused::new(Code::Overloaded, "too many people sign in at once: try again in a moment");
        let turn = timeout(PATIENCE, self.turns.clone().acquire_owned()).await.map_err(|_| busy())?;
        turn.map_err(|_| busy())
    }

    /// What a pair is remembered by. Nothing about either can be learned from it.
    pub(crate) fn pair(&self, user: &str, password: &SecretString) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.pair_key);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.expose_secret().as_bytes());
        context.sign().as_ref().try_into().unwrap_or_default()
    }
}

/// Runs it where it holds up nobody. The turn is given back when the work is done, also when nobody waits for it any more.
async fn work<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    let working = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    working.await.map_err(|error| Refused::internal(&error))
}

/// Who tries a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trying<'a> {
    /// The name, whether somebody has it or not.
    pub(crate) user: &'a str,
    pub(crate) address: Option<IpAddr>,
}

/// Waits until a failure that began then may be answered.
pub(crate) async fn until_told(begun: Instant) {
    let strides = begun.elapsed().as_millis() / STRIDE.as_millis() + 1;
    sleep_until(begun + STRIDE * u32::try_from(strides).unwrap_or(1)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> PasswordWork {
        PasswordWork {
            turns: Arc::new(Semaphore::new(1)),
            throttle: Throttle::new(10, 10),
            kinds: Cache::new(8),
            pairs: AsyncCache::new(8),
            pair_key: hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]),
            runs: AtomicU64::new(0),
        }
    }

    const OF_FOO: &str =
        "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U";

    const ANN: Trying<'_> = Trying { user: "ann", address: None };

    #[tokio::test]
    async fn nobody_costs_as_much() {
        let work = work();
        let (foo, bar) = ("foo".into(), "bar".into());
        let hash = || Some(PasswordHash::read(OF_FOO).unwrap());
        assert!(work.check("table", hash(), ANN, &foo).await.unwrap());
        assert!(!work.check("table", hash(), ANN, &bar).await.unwrap());
        assert!(!work.check("table", None, ANN, &foo).await.unwrap());
        assert_eq!(work.runs.load(Ordering::Relaxed), 3);
        let kind = work.kinds.get("table").unwrap();
        assert_eq!(kind.cost(), hash().unwrap().cost(), "as much as the others of the table");
        assert!(!kind.is_of("foo"), "and no hash of anybody");
        // Before anybody was seen, as much as a new password costs.
        assert!(!work.check("store", None, ANN, &foo).await.unwrap());
        let own = work.hash(&foo).await.unwrap();
        assert_eq!(PasswordHash::nobodys().cost(), own.cost());
        assert!(work.check("store", Some(own), ANN, &foo).await.unwrap());
    }

    #[tokio::test]
    async fn who_is_wrong_too_often_is_not_worked_for() {
        let work = PasswordWork { throttle: Throttle::new(2, 10), ..work() };
        let (foo, bar) = ("foo".into(), "bar".into());
        let hash = || Some(PasswordHash::read(OF_FOO).unwrap());
        for _ in 0..5 {
            assert!(work.check("table", hash(), ANN, &foo).await.unwrap());
        }
        for _ in 0..2 {
            assert!(!work.check("table", hash(), ANN, &bar).await.unwrap());
        }
        assert_eq!(work.check("table", hash(), ANN, &foo).await.unwrap_err().code, Code::RateLimited);
        assert_eq!(work.let_try(ANN).unwrap_err().code, Code::RateLimited);
        assert_eq!(work.runs.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn pairs_are_told_apart() {
        let work = work();
        let pair = work.pair("ab", &"c".into());
        assert_ne!(pair, work.pair("a", &"bc".into()));
        assert_eq!(pair, work.pair("ab", &"c".into()));
    }
}
