//! Places for requests in flight, shared out so that nobody can hold them all: neither one user, nor one organization,
//! nor those who have not said yet who they are.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ringfence_gateway::{Code, Refused};
use ringfence_policy::{OrgId, Principal, UserId};

/// So many parts has the count of each kind of holder, so that requests on many cores seldom meet in one.
const SHARDS: usize = 64;

/// How many places there are, and how many of them one holder gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceLimits {
    pub(crate) total: usize,
    pub(crate) per_user: usize,
    pub(crate) per_organization: usize,
    /// Of requests whose sender is not known yet, or never will be.
    pub(crate) unidentified: usize,
}

/// Counts requests that are being answered. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InFlight {
    shared: Arc<Counter>,
}

struct Counter {
    running: AtomicUsize,
    unidentified: AtomicUsize,
    users: Shares<UserId>,
    organizations: Shares<OrgId>,
    limits: PlaceLimits,
    draining: AtomicBool,
}

/// A request's place; given back when dropped.
pub(crate) struct Place {
    counter: Arc<Counter>,
    holder: OnceLock<(UserId, OrgId)>,
}

impl InFlight {
    pub(super) fn new(limits: PlaceLimits) -> Self {
        let shared = Counter {
            running: AtomicUsize::new(0),
            unidentified: AtomicUsize::new(0),
            users: Shares::new(),
            organizations: Shares::new(),
            limits,
            draining: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// From here on new requests are refused.
    pub(super) fn start_draining(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Requests that are being answered now.
    pub(super) fn count(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Takes a place, or says why there is none.
    pub(super) fn enter(&self) -> Result<Arc<Place>, Refused> {
        let place = self.enter_always()?;
        let Counter { running, unidentified, limits, .. } = &*self.shared;
        // This one is among those counted.
        if running.load(Ordering::Relaxed) > limits.total
            || unidentified.load(Ordering::Relaxed) > limits.unidentified
        {
            return Err(overloaded("the server is busy: too many requests at once, try again".to_owned()));
        }
        Ok(place)
    }

    /// The same for what costs nothing and has to be answered on a full server, too.
    pub(super) fn enter_always(&self) -> Result<Arc<Place>, Refused> {
        if self.is_draining() {
            return Err(Refused::new(
                Code::ShuttingDown,
                "the server is shutting down: send the request again",
            ));
        }
        self.shared.running.fetch_add(1, Ordering::Relaxed);
        self.shared.unidentified.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Place { counter: self.shared.clone(), holder: OnceLock::new() }))
    }
}

impl Place {
    /// From here on the place counts for who asks: for who presented the key, whomever it acts for, and for the
    /// organization that the request is about.
    pub(super) fn identify(&self, principal: &Principal) -> Result<(), Refused> {
        let (user, org) = (principal.authenticated_user(), &principal.org);
        let Counter { unidentified, users, organizations, limits, .. } = &*self.counter;
        if self.holder.get().is_some() {
            return Ok(());
        }
        if !users.take(user, limits.per_user) {
            let most = limits.per_user;
            return Err(overloaded(format!(
                "too many requests of yours at once: wait for one of {most} to be answered"
            )));
        }
        if !organizations.take(org, limits.per_organization) {
            users.give_back(user);
            let message = "your organization has too many requests at once: wait for one to be answered";
            return Err(overloaded(message.to_owned()));
        }
        if self.holder.set((user.clone(), org.clone())).is_err() {
            // A request is identified once; one that were identified twice at the same time would count once, too.
            users.give_back(user);
            organizations.give_back(org);
            return Ok(());
        }
        unidentified.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Counter { running, unidentified, users, organizations, .. } = &*self.counter;
        match self.holder.get() {
            Some((user, org)) => {
                users.give_back(user);
                organizations.give_back(org);
            }
            None => {
                unidentified.fetch_sub(1, Ordering::Relaxed);
            }
        }
        running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn overloaded(message: String) -> Refused {
    Refused::new(Code::Overloaded, message)
}

/// How many places each holder has. Who has none takes no memory.
struct Shares<K> {
    shards: Box<[Mutex<HashMap<K, usize>>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn take(&self, holder: &K, most: usize) -> bool {
        let mut shard = self.shard(holder);
        match shard.get_mut(holder) {
            Some(count) if *count >= most => return false,
            Some(count) => *count += 1,
            None => {
                shard.insert(holder.clone(), 1);
            }
        }
        true
    }

    fn give_back(&self, holder: &K) {
        let mut shard = self.shard(holder);
        match shard.get_mut(holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                shard.remove(holder);
            }
        }
    }

    fn shard(&self, holder: &K) -> MutexGuard<'_, HashMap<K, usize>> {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let place = self.hasher.hash_one(holder) as usize % self.shards.len();
        // Nothing in here panics halfway, so a poisoned map is as good as any.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ringfence_policy::{Permissions, TenantId};

    use super::*;

    fn principal(user: &str, org: &str) -> Principal {
        Principal {
            org: OrgId::new(org).unwrap(),
            tenant: TenantId::new("t").unwrap(),
            user: UserId::new(user).unwrap(),
            name: user.to_owned(),
            roles: Vec::new(),
            data_roles: Arc::default(),
            permissions: Permissions::default(),
            attributes: Arc::default(),
            acted_by: None,
            application: None,
            agent: None,
            standing: None,
        }
    }

    fn places(total: usize, per_user: usize, per_organization: usize, unidentified: usize) -> InFlight {
        InFlight::new(PlaceLimits { total, per_user, per_organization, unidentified })
    }

    fn enter_as(in_flight: &InFlight, user: &str, org: &str) -> Result<Arc<Place>, Refused> {
        let place = in_flight.enter()?;
        place.identify(&principal(user, org)).map(|()| place)
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let in_flight = places(1, 1, 1, 1);
        let place = in_flight.enter().unwrap();
        assert_eq!(in_flight.enter().err().unwrap().code, Code::Overloaded);
        assert_eq!(in_flight.count(), 1, "a refused request takes no place");
        assert!(in_flight.enter_always().is_ok(), "a sign of life is given on a full server, too");
        drop(place);
        assert!(in_flight.enter().is_ok());
        in_flight.start_draining();
        assert_eq!(in_flight.enter().err().unwrap().code, Code::ShuttingDown);
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn nobody_can_hold_all_places() {
        let in_flight = places(10, 2, 3, 2);
        let mut held: Vec<_> = (0..2).map(|_| enter_as(&in_flight, "ann", "a").unwrap()).collect();
        assert_eq!(enter_as(&in_flight, "ann", "a").err().unwrap().code, Code::Overloaded);
        held.push(enter_as(&in_flight, "abe", "a").unwrap());
        assert_eq!(enter_as(&in_flight, "abe", "a").err().unwrap().code, Code::Overloaded);
        held.push(enter_as(&in_flight, "bob", "b").unwrap());
        // Who was refused for the organization's share has a whole share again.
        held.remove(0);
        held.push(enter_as(&in_flight, "abe", "a").unwrap());
        let strangers: Vec<_> = (0..2).map(|_| in_flight.enter().unwrap()).collect();
        assert_eq!(in_flight.enter().err().unwrap().code, Code::Overloaded);
        assert_eq!(in_flight.count(), held.len() + strangers.len());
        drop((held, strangers));
        assert_eq!(in_flight.count(), 0);
        assert!(in_flight.shared.users.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
        assert_eq!(in_flight.shared.unidentified.load(Ordering::Relaxed), 0);
    }
}
