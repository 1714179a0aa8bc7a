//! Views: what each principal sees of a snapshot. Equal views are one, and share the plans that were made for it.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_policy::mask::HASH_KEY_ATTRIBUTE;
use ringfence_policy::{
    Applied, Attributes, Catalog, Principal, RelationName, UserId, View, applied, view_like,
};
use ringfence_store::Store;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::plans::shown;
use super::snapshot::Snapshot;
use crate::access_rules::RuleSet;
use crate::call::plain;
use crate::catalog::{Shown, behind};

/// Different views of one snapshot, and fewer of a large catalog: columns in all of them together.
const SHAPES: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
const FEWEST_SHAPES: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not zero");
const MOST_COLUMNS: usize = 500_000;
/// Values of a principal whose seat is remembered.
const MOST_VALUES: usize = 2_000;

/// Relations of one seat of which it is remembered what held.
const MOST_TOLD: usize = 256;

/// Groups of principals of whom it is known what one of them saw last.
const ALIKE: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Numbers of shapes are never used again, so that no plan outlives the view it was made for.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A principal before a snapshot.
pub(crate) struct Seat {
    /// As the view was made for, with what the server adds to its attributes.
    pub(crate) principal: Principal,
    /// The attributes without it.
    given: Arc<Attributes>,
    /// The access rules that the view was made with.
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) shape: Arc<Shape>,
    /// What records say of the relations that were asked for.
    applied: Mutex<HashMap<RelationName, Arc<Told>>>,
}

/// What held for the one on a seat on one relation, as records have it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) scopes: Vec<String>,
    pub(crate) rules: Vec<String>,
}

/// A view, and what was made of it.
pub(crate) struct Shape {
    pub(crate) number: u64,
    pub(crate) view: View,
    /// The catalog behind the view, once somebody asked for it.
    catalog: OnceCell<Arc<Shown>>,
}

/// By user, and the schema that names are looked up in first.
type Seats = LruCache<(UserId, Option<String>), Arc<Seat>>;

/// The views of one snapshot, bounded.
pub(super) struct Views {
    seats: Mutex<Seats>,
    shapes: Mutex<LruCache<u64, Arc<Shape>>>,
    /// What somebody of the same roles saw last: most likely what the next one sees.
    alike: Mutex<LruCache<u64, Arc<Shape>>>,
}

impl Views {
    /// `seats` is how many principals are remembered.
    pub(super) fn of(catalog: &Catalog, seats: NonZeroUsize) -> Self {
        let relations = catalog.schemas.iter().flat_map(|schema| &schema.relations);
        let columns: usize = relations.map(|relation| relation.columns.len()).sum();
        let shapes = NonZeroUsize::new(MOST_COLUMNS / columns.max(1)).unwrap_or(FEWEST_SHAPES);
        let shapes = shapes.clamp(FEWEST_SHAPES, SHAPES);
        Self {
            seats: Mutex::new(LruCache::new(seats)),
            shapes: Mutex::new(LruCache::new(shapes)),
            alike: Mutex::new(LruCache::new(ALIKE)),
        }
    }

    /// What the principal sees; names without a schema are looked up in `schema` first.
    pub(super) fn seat(
        &self,
        snapshot: &Snapshot,
        rules: &Arc<RuleSet>,
        principal: &Principal,
        schema: Option<&str>,
        store: &Store,
    ) -> Arc<Seat> {
        let key = (principal.user.clone(), schema.map(str::to_owned));
        // INVARIANT: a seat counts for the very principal it was made for, in all that a policy can ask for, never for
        // one of the same name. Held by the test `a_seat_is_for_one_principal`.
        if let Some(seat) = self.seats.lock().get(&key).filter(|seat| seat.is_for(principal, rules)) {
            return seat.clone();
        }
        let asking = with_mask_key(principal, store);
        let group = group_of(principal, schema);
        let alike = self.alike.lock().get(&group).cloned();
        let other = alike.as_deref().map(|shape| &shape.view);
        let mut seen = view_like(snapshot.question_of(&asking, rules), other);
        if let Some(schema) = schema {
            seen.search.retain(|other| other != schema);
            seen.search.insert(0, schema.to_owned());
        }
        let shape = match alike.filter(|shape| shape.view == seen) {
            Some(shape) => shape,
            None => self.shape(seen),
        };
        self.alike.lock().put(group, shape.clone());
        let given = principal.attributes.clone();
        let applied = Mutex::default();
        let seat = Arc::new(Seat { principal: asking, given, rules: rules.clone(), shape, applied });
        // What is large is made anew each time, so that memory does not grow with what principals have.
        if is_remembered(&seat.given) {
            self.seats.lock().put(key, seat.clone());
        }
        seat
    }

    pub(super) fn seat_with(&self, seat: &Seat, view: View) -> Arc<Seat> {
        let (principal, given, rules) = (seat.principal.clone(), seat.given.clone(), seat.rules.clone());
        Arc::new(Seat { principal, given, rules, shape: self.shape(view), applied: Mutex::default() })
    }

    pub(super) fn blind_seat(&self, principal: &Arc<Principal>, rules: &Arc<RuleSet>) -> Arc<Seat> {
        let (given, shape) = (principal.attributes.clone(), self.shape(View::default()));
        let (principal, applied) = (Principal::clone(principal), Mutex::default());
        Arc::new(Seat { principal, given, rules: rules.clone(), shape, applied })
    }

    /// The one shape of all views that are equal to this one.
    pub(super) fn shape(&self, view: View) -> Arc<Shape> {
        let hash = hash_of(&view);
        let mut shapes = self.shapes.lock();
        // Two views of one hash are not one view: the later one takes the place.
        if let Some(shape) = shapes.get(&hash).filter(|shape| shape.view == view) {
            return shape.clone();
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let shape = Arc::new(Shape { number, view, catalog: OnceCell::new() });
        let gone = shapes.push(hash, shape.clone());
        drop(shapes);
        if let Some((_, gone)) = gone {
            // Seats would hold on to it.
            self.leave(&gone);
        }
        shape
    }

    fn leave(&self, shape: &Shape) {
        let mut seats = self.seats.lock();
        let of_shape = seats.iter().filter(|(_, seat)| seat.shape.number == shape.number);
        let keys: Vec<_> = of_shape.map(|(key, _)| key.clone()).collect();
        for key in keys {
            seats.pop(&key);
        }
    }
}

impl Shape {
    /// The catalog as it is behind the view.
    pub(crate) async fn behind(&self, snapshot: &Snapshot) -> Arc<Shown> {
        let make = async || Arc::new(behind(&self.view, &snapshot.shown));
        self.catalog.get_or_init(make).await.clone()
    }
}

impl Seat {
    /// Whether a policy can't tell the two apart, and the rules are still the same.
    fn is_for(&self, other: &Principal, rules: &Arc<RuleSet>) -> bool {
        Arc::ptr_eq(rules, &self.rules) && are_alike(&self.principal, &self.given, other)
    }

    /// What held on the relations that a statement names. Looked up once for each seat and relation: both are a seat's.
    pub(crate) fn applied(&self, snapshot: &Snapshot, relations: &[RelationName]) -> Vec<Arc<Told>> {
        let seen = relations.iter().filter(|name| self.shape.view.relations.contains_key(*name));
        let mut known = self.applied.lock();
        seen.map(|name| {
            if let Some(told) = known.get(name) {
                return told.clone();
            }
            if known.len() >= MOST_TOLD {
                known.clear();
            }
            let told = Arc::new(Told::of(name, applied(snapshot.question(self), name)));
            known.insert(name.clone(), told.clone());
            told
        })
        .collect()
    }

    /// Whether what was read through the other seat is what this one shows: the same relations, columns, conditions and
    /// values.
    pub(crate) fn shows_what(&self, other: &Self) -> bool {
        let this = Principal { attributes: self.given.clone(), ..self.principal.clone() };
        are_alike(&other.principal, &other.given, &this)
            && (self.shape.number == other.shape.number || self.shape.view == other.shape.view)
    }
}

impl Told {
    fn of(name: &RelationName, applied: Applied) -> Self {
        let of = |words: Vec<String>| {
            words.into_iter().map(|words| plain(&format!("{}: {words}", shown(name)))).collect()
        };
        Self { scopes: of(applied.scopes), rules: of(applied.rules) }
    }
}

/// Whether a policy can't tell the two apart. `attributes` are those of the first as they were given.
pub(super) fn are_alike(one: &Principal, attributes: &Arc<Attributes>, other: &Principal) -> bool {
    let Principal { org, tenant, user, roles, data_roles, permissions, application, agent, .. } = one;
    *user == other.user
        && *tenant == other.tenant
        && *org == other.org
        && *application == other.application
        && *agent == other.agent
        && *roles == other.roles
        && *permissions == other.permissions
        && *data_roles == other.data_roles
        && (Arc::ptr_eq(attributes, &other.attributes) || *attributes == other.attributes)
}

/// Whether a principal with these attributes is remembered.
pub(super) fn is_remembered(attributes: &Attributes) -> bool {
    let values = attributes.values().map(|value| value.as_array().map_or(1, Vec::len));
    values.sum::<usize>() <= MOST_VALUES
}

/// The principal with the key that the tenant's hashed columns are hashed with, which no variable can set.
fn with_mask_key(principal: &Principal, store: &Store) -> Principal {
    let [reserved, name] = HASH_KEY_ATTRIBUTE;
    let key = store.mask_key(&principal.org, &principal.tenant);
    let mut attributes = Attributes::clone(&principal.attributes);
    let own: Map<String, Value> = [(name.to_owned(), Value::String(key))].into_iter().collect();
    attributes.insert(reserved.to_owned(), Value::Object(own));
    Principal { attributes: Arc::new(attributes), ..principal.clone() }
}

/// Principals of one group most likely see the same; whether they do is looked at each time.
fn group_of(principal: &Principal, schema: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&principal.data_roles, schema).hash(&mut hasher);
    principal.roles.iter().for_each(|role| role.name().hash(&mut hasher));
    hasher.finish()
}

fn hash_of(view: &View) -> u64 {
    let View { search, relations, functions, types, unresolved } = view;
    let mut hasher = DefaultHasher::new();
    (search, functions, types).hash(&mut hasher);
    relations.hash(&mut hasher);
    unresolved.hash(&mut hasher);
    hasher.finish()
}
