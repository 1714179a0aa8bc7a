//! Attributes of a principal that a policy reads from the connection: once, and then for as long as the policy says, so
//! that no statement pays for them.
//!
//! Reading order: [`Gateway::with_attributes`] makes the principal that views are made for, [`AttributeCache`] keeps what
//! was read, [`WrittenAttributes`] forgets it when a statement changed what it was read from.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use lru::LruCache;
use moka::Expiry;
use moka::future::Cache;
use parking_lot::Mutex;
use ringfence_engine::{ResultSet, RunOptions, SourceAddress, SourceError, Value as Cell};
use ringfence_guard::{GuardedQuery, attribute_query};
use ringfence_policy::document::AttributeShape;
use ringfence_policy::policy::QueriedAttribute;
use ringfence_policy::resolve::resolve_query;
use ringfence_policy::{Attributes, Denial, Policy, Principal, RelationName, UserId};
use ringfence_store::connections::Connection;
use ringfence_store::policies::{PolicyId, PolicyPlace};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::snapshot::Snapshot;
use super::views::{are_alike, is_remembered};
use crate::connections::address_of;
use crate::versions::Versions;
use crate::{Code, Gateway, Refused, Shared};

/// Values of one attribute: a longer list is refused, never cut.
const MOST_VALUES: usize = 10_000;
/// And how much they may take.
const MOST_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of all answers that are kept.
const MEMORY: u64 = 64 * 1024 * 1024;
/// What an entry takes beside its values.
const ENTRY_BYTES: usize = 512;
/// How long a query of an attribute may run where the policy's budget says nothing.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Numbers of snapshots are never used again, so that no answer outlives the policy and the catalog it was read under.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What was read, bounded.
pub(crate) struct AttributeCache {
    answers: Cache<Key, Arc<Answer>>,
    /// Of each policy's place: moved on when a statement changed rows that its attributes are read from.
    written: Versions,
}

/// What an answer depends on.
//
// INVARIANT: an answer counts for the very query and values that it was read with. The text of a query and the
// principal's values in it are compared, not hashes of them. Held by the test `two_principals_never_share_an_answer`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    snapshot: u64,
    written: u64,
    attribute: String,
    /// The query as the database gets it, and the values bound in it.
    asked: String,
}

struct Answer {
    value: Value,
    until: Instant,
    bytes: usize,
}

/// Principals whose attributes were put together.
pub(super) struct Settled {
    snapshot: u64,
    principals: Mutex<LruCache<UserId, Arc<Complete>>>,
}

/// A principal with what was read.
struct Complete {
    asked: Arc<Principal>,
    principal: Arc<Principal>,
    until: Instant,
    written: u64,
}

/// One attribute to be read for one principal.
struct Reading<'a> {
    snapshot: &'a Snapshot,
    address: &'a SourceAddress,
    principal: &'a Principal,
    name: &'a str,
    attribute: &'a QueriedAttribute,
    written: u64,
}

impl AttributeCache {
    pub(crate) fn new() -> Self {
        let weigh = |_: &Key, answer: &Arc<Answer>| u32::try_from(answer.bytes).unwrap_or(u32::MAX);
        let answers = Cache::builder().max_capacity(MEMORY).weigher(weigh).expire_after(UntilThen).build();
        Self { answers, written: Versions::new() }
    }

    /// Trusts no answer any more that was read under this policy.
    pub(crate) fn forget(&self, policy: &PolicyId) {
        self.written.advance(policy);
    }

    /// Trusts no answer any more.
    pub(crate) fn forget_all(&self) {
        self.written.advance_all();
    }
}

/// Each answer says itself how long it counts.
struct UntilThen;

impl Expiry<Key, Arc<Answer>> for UntilThen {
    fn expire_after_create(&self, _: &Key, answer: &Arc<Answer>, _: Instant) -> Option<Duration> {
        Some(answer.until.saturating_duration_since(Instant::now()))
    }
}

impl Settled {
    /// Of so many principals it is known what was put together.
    pub(super) fn new(principals: NonZeroUsize) -> Self {
        let snapshot = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { snapshot, principals: Mutex::new(LruCache::new(principals)) }
    }

    fn of(&self, principal: &Principal, written: u64) -> Option<Arc<Principal>> {
        let mut principals = self.principals.lock();
        let known = principals.get(&principal.user)?;
        let counts = known.written == written
            && known.until > Instant::now()
            && are_alike(&known.asked, &known.asked.attributes, principal);
        counts.then(|| known.principal.clone())
    }
}

impl Gateway {
    /// The principal with what the policy reads about them from the connection.
    pub(crate) async fn with_attributes(
        &self,
        asked: &Arc<Principal>,
        connection: &Connection,
        snapshot: &Snapshot,
    ) -> Result<Arc<Principal>, Refused> {
        let queried = &snapshot.policy.policy.attributes;
        if queried.is_empty() {
            return Ok(asked.clone());
        }
        // Before anything is read: what is written meanwhile makes the answer one that nobody asks for.
        let written = self.shared.attributes.written.of(&snapshot.policy.place.id());
        if let Some(principal) = snapshot.settled.of(asked, written) {
            return Ok(principal);
        }
        let address = &snapshot.policy.destination(address_of(connection, &asked.org)?);
        let principal = asked.as_ref();
        let reading = queried.iter().map(|(name, attribute)| {
            self.read_attribute(Reading { snapshot, address, principal, name, attribute, written })
        });
        let answers = try_join_all(reading).await?;
        let mut attributes = Attributes::clone(&asked.attributes);
        for (name, answer) in queried.keys().zip(&answers) {
            // INVARIANT: what the policy reads counts, never a variable of the same name, which administrators of one
            // tenant may set. Held by the test `a_variable_does_not_stand_for_what_is_read`.
            attributes.insert(name.clone(), answer.value.clone());
        }
        let principal = Arc::new(Principal { attributes: Arc::new(attributes), ..Principal::clone(asked) });
        let until = answers.iter().map(|answer| answer.until).min();
        if let Some(until) = until.filter(|_| is_remembered(&principal.attributes)) {
            let complete = Complete { asked: asked.clone(), principal: principal.clone(), until, written };
            snapshot.settled.principals.lock().put(asked.user.clone(), Arc::new(complete));
        }
        Ok(principal)
    }

    async fn read_attribute(&self, reading: Reading<'_>) -> Result<Arc<Answer>, Refused> {
        let Reading { snapshot, address, principal, name, attribute, written } = reading;
        let policy = &snapshot.policy.policy;
        let resolved = resolve_query(&attribute.query, principal).map_err(|denial| lacking(name, &denial))?;
        let query = attribute_query(&resolved, policy.kind, principal, MOST_VALUES.saturating_add(1));
        let query = query.map_err(|refusal| unavailable(name, &refusal))?;
        let key = Key {
            snapshot: snapshot.settled.snapshot,
            written,
            attribute: name.to_owned(),
            asked: format!("{}\0{:?}", query.sql(), query.parameters()),
        };
        let timeout = policy.limits(&[], principal).timeout().map_or(TIMEOUT, |limit| limit.value);
        let timeout = timeout.min(self.shared.config.max_query_timeout);
        // Whoever asks for the same meanwhile waits for this one answer. An error is kept for nobody.
        let asking = Box::pin(self.ask(address, &query, name, attribute, timeout));
        self.shared.attributes.answers.try_get_with(key, asking).await.map_err(|error| Refused::clone(&error))
    }

    async fn ask(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        name: &str,
        attribute: &QueriedAttribute,
        timeout: Duration,
    ) -> Result<Arc<Answer>, Refused> {
        // It counts from before it was read.
        let until = Instant::now() + attribute.ttl;
        let options = RunOptions {
            timeout,
            max_rows: MOST_VALUES as u64 + 1,
            max_bytes: MOST_BYTES,
            ..RunOptions::default()
        };
        // Not the token of one caller: others may wait for the same answer. Dropped, it stops in the database.
        let ran = self.shared.engine.run(address, query, &options, CancellationToken::new()).await;
        let (value, bytes) = match ran {
            Ok(result) => read_value(name, attribute.shape, result)?,
            Err(SourceError::TooLarge { .. }) => return Err(too_long(name)),
            Err(
                error @ (SourceError::Statement { .. }
                | SourceError::TimedOut { .. }
                | SourceError::Cancelled
                | SourceError::Option(_)),
            ) => return Err(unavailable(name, &error)),
            // The statement itself would hear the same.
            Err(other) => return Err(other.into()),
        };
        Ok(Arc::new(Answer { value, until, bytes: bytes.saturating_add(ENTRY_BYTES) }))
    }
}

/// The values of the one column, in an order that does not depend on the database, and how much memory they take.
fn read_value(name: &str, shape: AttributeShape, result: ResultSet) -> Result<(Value, usize), Refused> {
    let mut values = Vec::with_capacity(result.rows.len());
    for row in result.rows {
        let [cell] = <[Cell; 1]>::try_from(row).map_err(|_| unavailable(name, &"not one column"))?;
        values
            .push(plain(cell).ok_or_else(|| unavailable(name, &"a value that is neither text nor number"))?);
    }
    if values.len() > MOST_VALUES {
        return Err(too_long(name));
    }
    let size = |value: &Value| size_of::<Value>() + value.as_str().map_or(0, str::len);
    let bytes = values.iter().map(size).sum();
    match shape {
        AttributeShape::List => {
            values.sort_by_cached_key(Value::to_string);
            Ok((Value::Array(values), bytes))
        }
        AttributeShape::Value => match <[Value; 1]>::try_from(values) {
            Ok([value]) => Ok((value, bytes)),
            // No row: the principal does not have the attribute.
            Err(none) if none.is_empty() => Ok((Value::Null, bytes)),
            Err(_) => Err(Refused::new(
                Code::AttributeUnavailable,
                format!(
                    "principal.attributes.{name} has more than one value for you in the database: ask your administrator"
                ),
            )),
        },
    }
}

/// As a policy compares it; NULL stays NULL, so that IN means what it means in SQL.
fn plain(cell: Cell) -> Option<Value> {
    match cell {
        Cell::Null => Some(Value::Null),
        Cell::Bool(truth) => Some(Value::Bool(truth)),
        Cell::Integer(number) => Some(Value::from(number)),
        Cell::Float(number) => serde_json::Number::from_f64(number).map(Value::Number),
        // All its digits are kept as text: the database reads it as what it is compared with.
        Cell::Decimal(number) => Some(Value::String(number.get().to_owned())),
        Cell::Text(text) => Some(Value::String(text)),
        Cell::Json(_) | Cell::Array(_) => None,
    }
}

/// The query needs an attribute that the principal has not, in the shape that it needs.
fn lacking(name: &str, denial: &Denial) -> Refused {
    let Denial::ScopeRequired { attribute: what } = denial else { return unavailable(name, denial) };
    Refused::new(
        Code::TenantScopeRequired,
        format!(
            "principal.attributes.{name} is read with {what}, which is not set for you: ask your administrator"
        ),
    )
}

fn unavailable(name: &str, cause: &dyn std::fmt::Display) -> Refused {
    tracing::warn!(attribute = name, error = %cause, "an attribute of a policy can't be read");
    Refused::new(
        Code::AttributeUnavailable,
        format!(
            "principal.attributes.{name} can't be read from the database, so nothing was run: try again, or ask your administrator"
        ),
    )
}

fn too_long(name: &str) -> Refused {
    Refused::new(
        Code::AttributeUnavailable,
        format!(
            "principal.attributes.{name} has more than {MOST_VALUES} values or {MOST_BYTES} bytes for you: ask your administrator"
        ),
    )
}

/// A statement changes rows that attributes are read from. Dropped, when it has ended or nobody waits for it any more,
/// it has what was read forgotten, here and on other nodes.
//
// INVARIANT: the next statement on this node after such a change reads anew. Held by the test
// `a_change_of_a_membership_counts_at_once`.
pub(crate) struct WrittenAttributes {
    shared: Weak<Shared>,
    place: PolicyPlace,
}

impl WrittenAttributes {
    /// `None` when the statement changes nothing that an attribute is read from.
    pub(crate) fn of(
        gateway: &Gateway,
        policy: &Policy,
        place: &PolicyPlace,
        changed: &[RelationName],
    ) -> Option<Self> {
        if changed.is_empty() {
            return None;
        }
        let read = policy.attributes.values().flat_map(|attribute| attribute.query.relations());
        let is_read = read.into_iter().any(|relation| changed.contains(relation));
        is_read.then(|| Self { shared: Arc::downgrade(&gateway.shared), place: place.clone() })
    }
}

impl Drop for WrittenAttributes {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.attributes.forget(&self.place.id());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let place = self.place.clone();
        runtime.spawn(async move {
            if let Err(error) = shared.store.policies().attributes_changed(&place).await {
                tracing::warn!(error = %error, "other nodes were not told that attributes changed");
            }
        });
    }
}
