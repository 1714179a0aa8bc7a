//! Requests per minute: per access key that was seen to be valid, else per peer address.
//!
//! An unknown key gets no bucket of its own, or else inventing keys would be a way around the limit and a way to fill
//! the memory.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Between two looks for buckets that are full again, and so need not be kept.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Valid keys remembered. When there are more, all are forgotten: each pays one request by its peer's address.
const MAX_KNOWN_KEYS: usize = 65_536;
/// Buckets kept; beyond, full ones are dropped at once.
const MAX_BUCKETS: usize = 262_144;

/// Whom a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// The hash of a valid access key, under a key of this process.
    Key(u64),
    /// Of IPv6 the network, because one machine has a whole /64.
    Peer(IpAddr),
}

/// The buckets.
pub(crate) struct RateLimits {
    limiter: DefaultKeyedRateLimiter<Payer, StateInformationMiddleware>,
    clock: DefaultClock,
    hasher: RandomState,
    known: Mutex<HashSet<u64>>,
    per_minute: NonZeroU32,
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    limit: u32,
    remaining: u32,
    /// Until the bucket is full again or, when refused, until the next request.
    reset_seconds: u64,
    pub(crate) is_allowed: bool,
    /// The peer paid, for want of knowing the key.
    is_by_peer: bool,
}

impl RateLimits {
    /// `None` for a limit of zero, which would be no service.
    pub(crate) fn new(per_minute: u32) -> Option<Self> {
        let per_minute = NonZeroU32::new(per_minute)?;
        Some(Self {
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute)).with_middleware(),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
            known: Mutex::default(),
            per_minute,
        })
    }

    /// Counts a request for its key, when that is known, else for its peer.
    pub(crate) fn take(&self, key: Option<&[u8]>, peer: IpAddr) -> Allowance {
        if self.limiter.len() > MAX_BUCKETS {
            self.limiter.retain_recent();
        }
        let known = key.map(|key| self.hasher.hash_one(key)).filter(|hash| self.lock_known().contains(hash));
        let payer = known.map_or_else(|| Payer::Peer(network_of(peer)), Payer::Key);
        self.charge(payer)
    }

    /// Counts a request for its key after all, when answering it has shown that the key is valid: else the first request
    /// of a key would not be counted for it.
    pub(crate) fn settle(&self, allowance: Allowance, key: Option<&[u8]>) -> Allowance {
        let hash = key.map(|key| self.hasher.hash_one(key)).filter(|hash| self.lock_known().contains(hash));
        match hash {
            // It has been answered, whatever the bucket says now.
            Some(hash) if allowance.is_allowed && allowance.is_by_peer => {
                Allowance { is_allowed: true, ..self.charge(Payer::Key(hash)) }
            }
            _ => allowance,
        }
    }

    fn charge(&self, payer: Payer) -> Allowance {
        let is_by_peer = matches!(payer, Payer::Peer(_));
        match self.limiter.check_key(&payer) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = u64::from(self.per_minute.get().saturating_sub(remaining));
                Allowance {
                    limit: self.per_minute.get(),
                    remaining,
                    reset_seconds: (missing * 60).div_ceil(u64::from(self.per_minute.get())),
                    is_allowed: true,
                    is_by_peer,
                }
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Allowance {
                    limit: self.per_minute.get(),
                    remaining: 0,
                    reset_seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
                    is_allowed: false,
                    is_by_peer,
                }
            }
        }
    }

    /// Remembers whether a presented key is valid.
    pub(crate) fn learn(&self, key: &[u8], is_valid: bool) {
        let hash = self.hasher.hash_one(key);
        let mut known = self.lock_known();
        if !is_valid {
            known.remove(&hash);
        } else if !known.contains(&hash) {
            if known.len() >= MAX_KNOWN_KEYS {
                known.clear();
            }
            known.insert(hash);
        }
    }

    fn lock_known(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        // Nothing in here panics halfway, so a poisoned set is as good as any.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Allowance {
    /// Tells the client, in the names of both drafts of the IETF that are in use.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let figures = [
            ("ratelimit-limit", u64::from(self.limit)),
            ("ratelimit-remaining", u64::from(self.remaining)),
            ("ratelimit-reset", self.reset_seconds),
        ];
        for (name, figure) in figures {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(figure));
        }
        let structured = [
            ("ratelimit-policy", format!("\"default\";q={};w=60", self.limit)),
            ("ratelimit", format!("\"default\";r={};t={}", self.remaining, self.reset_seconds)),
        ];
        for (name, text) in structured {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if !self.is_allowed {
            headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from(self.reset_seconds.max(1)));
        }
    }
}

/// Forgets buckets that are full again, for as long as it runs.
pub(super) async fn forget_idle(limits: Option<Arc<RateLimits>>) {
    let Some(limits) = limits else { return };
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        limits.limiter.retain_recent();
        limits.limiter.shrink_to_fit();
    }
}

fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn invented_keys_share_the_bucket_of_their_peer() {
        let limits = RateLimits::new(3).unwrap();
        for guess in 0_u8..3 {
            assert!(limits.take(Some(&[guess]), PEER).is_allowed);
        }
        let refused = limits.take(Some(b"another"), PEER);
        assert!(
            !refused.is_allowed && refused.reset_seconds >= 1 && refused.reset_seconds <= 20,
            "{refused:?}"
        );
        assert!(limits.take(None, IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2))).is_allowed);
    }

    #[test]
    fn a_valid_key_pays_for_itself_until_it_is_revoked() {
        let limits = RateLimits::new(2).unwrap();
        limits.learn(b"valid", true);
        assert_eq!(limits.take(Some(b"valid"), PEER).remaining, 1);
        assert_eq!(limits.take(Some(b"valid"), PEER).remaining, 0);
        assert!(!limits.take(Some(b"valid"), PEER).is_allowed);
        assert!(limits.take(None, PEER).is_allowed, "the peer has paid nothing yet");
        limits.learn(b"valid", false);
        assert!(limits.take(Some(b"valid"), PEER).is_allowed, "now the peer pays");
        assert!(!limits.take(Some(b"valid"), PEER).is_allowed);
    }

    #[test]
    fn the_first_request_of_a_valid_key_is_counted_for_it() {
        let limits = RateLimits::new(2).unwrap();
        let first = limits.take(Some(b"valid"), PEER);
        assert_eq!(limits.settle(first, Some(b"valid")), first, "nobody knows yet that it is valid");
        limits.learn(b"valid", true);
        assert_eq!(limits.settle(first, Some(b"valid")).remaining, 1);
        let second = limits.take(Some(b"valid"), PEER);
        assert_eq!(limits.settle(second, Some(b"valid")), second, "it has paid itself");
        assert_eq!(second.remaining, 0);
        assert!(!limits.take(Some(b"valid"), PEER).is_allowed);
        assert!(limits.settle(first, Some(b"valid")).is_allowed, "it was answered before the count");
    }

    #[test]
    fn one_ipv6_network_is_one_peer() {
        let limits = RateLimits::new(1).unwrap();
        assert!(limits.take(None, "2001:db8::1".parse().unwrap()).is_allowed);
        assert!(!limits.take(None, "2001:db8::2".parse().unwrap()).is_allowed);
        assert!(limits.take(None, "2001:db8:0:1::1".parse().unwrap()).is_allowed);
    }
}
