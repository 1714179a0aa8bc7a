//! How often somebody may be wrong: for one user name, and from one address.
//!
//! An attempt takes its share before the password is looked at, so that a thousand at once are no way around, and gives it back
//! when it was right. Names that do not exist have a share like all others.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use parking_lot::Mutex;

use super::Trying;
use crate::{Code, Refused};

/// Names and addresses that are remembered; each is small.
const MOST: u64 = 100_000;
/// After so long everything that was taken has come back.
const MINUTE: Duration = Duration::from_mins(1);

/// Who was wrong how often.
pub(crate) struct Throttle {
    users: Shares,
    addresses: Shares,
}

struct Shares {
    per_minute: u32,
    buckets: Cache<u64, Arc<Mutex<Bucket>>>,
    hasher: RandomState,
}

/// What is taken of one share, as it was at that time. It comes back evenly over a minute.
struct Bucket {
    taken: f64,
    at: Instant,
}

/// An attempt that has taken its share.
pub(crate) struct Attempt(Vec<Arc<Mutex<Bucket>>>);

impl Attempt {
    /// It was right: it counts for nothing.
    pub(crate) fn was_right(self) {
        for bucket in self.0 {
            let mut bucket = bucket.lock();
            bucket.taken = (bucket.taken - 1.0).max(0.0);
        }
    }
}

impl Throttle {
    pub(crate) fn new(per_user: u32, per_address: u32) -> Self {
        Self { users: Shares::new(per_user), addresses: Shares::new(per_address) }
    }

    /// Takes a share of the name's and of the address's.
    pub(crate) fn attempt(&self, trying: Trying<'_>, now: Instant) -> Result<Attempt, Refused> {
        let Trying { user, address } = trying;
        let too_many =
            || Refused::new(Code::RateLimited, "too many attempts to sign in: wait a minute, then try again");
        let user = self.users.take(self.users.hasher.hash_one(user), now).ok_or_else(too_many)?;
        let Some(address) = address else { return Ok(Attempt(vec![user])) };
        let address = self.addresses.hasher.hash_one(network_of(address));
        let Some(address) = self.addresses.take(address, now) else {
            // The name's owner is not to suffer for an address that is refused anyway.
            Attempt(vec![user]).was_right();
            return Err(too_many());
        };
        Ok(Attempt(vec![user, address]))
    }
}

impl Shares {
    fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            buckets: Cache::builder().max_capacity(MOST).time_to_idle(MINUTE * 2).build(),
            hasher: RandomState::new(),
        }
    }

    fn take(&self, whose: u64, now: Instant) -> Option<Arc<Mutex<Bucket>>> {
        let bucket = self.buckets.get_with(whose, || Arc::new(Mutex::new(Bucket { taken: 0.0, at: now })));
        let most = f64::from(self.per_minute);
        let mut held = bucket.lock();
        let back = now.saturating_duration_since(held.at).as_secs_f64() / MINUTE.as_secs_f64() * most;
        held.taken = (held.taken - back).max(0.0);
        held.at = held.at.max(now);
        if held.taken + 1.0 > most {
            return None;
        }
        held.taken += 1.0;
        drop(held);
        Some(bucket)
    }
}

/// Of IPv6 the network, because one machine has a whole /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trying<'a>(user: &'a str, address: &str) -> Trying<'a> {
        Trying { user, address: Some(address.parse().unwrap()) }
    }

    #[test]
    fn a_name_is_tried_so_often_and_no_more() {
        let throttle = Throttle::new(3, 100);
        let begin = Instant::now();
        let attempt = |user: &str, seconds: u64| {
            throttle.attempt(trying(user, "203.0.113.1"), begin + Duration::from_secs(seconds)).is_ok()
        };
        assert_eq!(
            [attempt("ann", 0), attempt("ann", 0), attempt("ann", 0), attempt("ann", 0)],
            [true, true, true, false]
        );
        assert!(attempt("abe", 0), "another name");
        assert!(!attempt("ann", 19));
        assert!(attempt("ann", 20), "one comes back");
        assert!(!attempt("ann", 21));
    }

    #[test]
    fn who_is_right_is_not_held_up() {
        let throttle = Throttle::new(2, 2);
        let now = Instant::now();
        for _ in 0..100 {
            throttle.attempt(trying("ann", "203.0.113.1"), now).unwrap().was_right();
        }
        let _wrong = throttle.attempt(trying("ann", "203.0.113.1"), now).unwrap();
        assert!(throttle.attempt(trying("ann", "203.0.113.1"), now).is_ok());
    }

    #[test]
    fn an_address_is_counted_over_all_names() {
        let throttle = Throttle::new(100, 3);
        let now = Instant::now();
        let attempt = |user: &str, from: &str| throttle.attempt(trying(user, from), now).is_ok();
        assert!(attempt("a", "2001:db8::1") && attempt("b", "2001:db8::2") && attempt("c", "2001:db8::3"));
        assert!(!attempt("d", "2001:db8::4"), "one machine has a whole network");
        assert!(attempt("d", "2001:db8:1::4"));
        assert!(
            attempt("d", "::ffff:203.0.113.1") && attempt("d", "203.0.113.1") && attempt("d", "203.0.113.1")
        );
        assert!(!attempt("d", "203.0.113.1"), "however the address is written");
        let victim = Throttle::new(1, 1);
        assert!(victim.attempt(trying("x", "203.0.113.1"), now).is_ok());
        assert!(victim.attempt(trying("ann", "203.0.113.1"), now).is_err());
        assert!(victim.attempt(trying("ann", "203.0.113.2"), now).is_ok(), "ann was not counted");
    }
}
