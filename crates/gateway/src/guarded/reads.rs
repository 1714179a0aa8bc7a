//! What a relation reads when it is read: a view its tables, a table those that inherit from it.
//!
//! Without a policy nobody says which views are meant to show what. So on such a connection a relation counts only when
//! everything that it reads is there for the caller without fences of its own. The database is asked what that is (EXPLAIN,
//! nothing is executed), once in a while for each relation.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_engine::{Explained, SourceError};
use ringfence_guard::guard;
use ringfence_policy::{
    Catalog, ConnectionKind, Entitlement, Expression, Policy, Principal, Question, Relation, RelationKind,
    RelationName, View, view,
};
use ringfence_store::connections::Connection;

use super::lens::Breadth;
use super::snapshot::Snapshot;
use super::views::Seat;
use crate::access_rules::all_of;
use crate::connections::address_of;
use crate::{Call, Gateway, Refused};

/// How long the answer counts: views may be made anew behind our back, as columns may.
const TRUST: Duration = Duration::from_mins(1);
/// Relations of one snapshot whose answers are remembered.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("1024 is not zero");

/// What relations of a snapshot read, bounded.
pub(crate) struct Reads {
    known: Mutex<LruCache<RelationName, (Instant, Read)>>,
}

/// The relations that are read, but for itself; `None` when it can't be told.
type Read = Option<Arc<[RelationName]>>;

impl Default for Reads {
    fn default() -> Self {
        Self { known: Mutex::new(LruCache::new(KEPT)) }
    }
}

impl Gateway {
    /// Those of a statement's relations through which more would be read than the caller sees.
    //
    // INVARIANT: no view and no parent table shows what a content filter or a rule hides. Held by the tests
    // `hidden_and_missing_are_refused_alike` and `rules_reach_through_views_and_partitions`.
    pub(crate) async fn reaching_beyond(
        &self,
        call: &Call,
        connection: &Connection,
        snapshot: &Snapshot,
        seat: &Seat,
        relations: &[RelationName],
    ) -> Result<BTreeSet<RelationName>, Refused> {
        let mut reaching = BTreeSet::new();
        // Whoever wrote a policy said which views show what.
        if snapshot.breadth == Breadth::Policy {
            return Ok(reaching);
        }
        for name in relations {
            let Some(relation) = snapshot.shown.unfiltered.relation(&name.schema, &name.name) else {
                continue;
            };
            let stays_within = match self.reads(call, connection, snapshot, name, relation).await? {
                Some(read) => read.iter().all(|read| is_whole(&seat.shape.view, read)),
                // A copy of rows, of which nobody can say by which rule they would be hidden.
                None => relation.kind == RelationKind::MaterializedView && !seat.rules.bind(&seat.principal),
            };
            if !stays_within {
                reaching.insert(name.clone());
            }
        }
        Ok(reaching)
    }

    async fn reads(
        &self,
        call: &Call,
        connection: &Connection,
        snapshot: &Snapshot,
        name: &RelationName,
        relation: &Relation,
    ) -> Result<Read, Refused> {
        let kind = snapshot.policy.policy.kind;
        match (relation.kind, kind) {
            (RelationKind::MaterializedView, _) => return Ok(None),
            // Tables inherit in PostgreSQL alone.
            (
                RelationKind::Table | RelationKind::PartitionedTable | RelationKind::ForeignTable,
                ConnectionKind::Sqlite | ConnectionKind::Mysql | ConnectionKind::Lake,
            ) => return Ok(Some(Arc::from([]))),
            _ => {}
        }
        let known = snapshot.reads.known.lock().get(name).cloned();
        if let Some((_, read)) = known.filter(|(asked_at, _)| asked_at.elapsed() < TRUST) {
            return Ok(read);
        }
        let asked_at = Instant::now();
        let read = self.ask_what_is_read(call, connection, snapshot, name, kind).await?;
        snapshot.reads.known.lock().put(name.clone(), (asked_at, read.clone()));
        Ok(read)
    }

    async fn ask_what_is_read(
        &self,
        call: &Call,
        connection: &Connection,
        snapshot: &Snapshot,
        name: &RelationName,
        kind: ConnectionKind,
    ) -> Result<Read, Refused> {
        let address = snapshot.policy.destination(address_of(connection, &call.principal().org)?);
        let catalog = &snapshot.shown.unfiltered;
        let Some(plan) = everything_of(catalog, name, kind, call.principal()) else { return Ok(None) };
        let options = self.shared.config.planning();
        let explained = self.shared.engine.explain(&address, &plan, &options).await;
        match explained {
            Ok(Explained::Plan(read)) => {
                let read: Vec<RelationName> =
                    read.iter().map(|(schema, relation)| RelationName::new(schema, relation)).collect();
                // A plan without any relation, of a view: a database that does not say.
                let is_silent = read.is_empty() && kind == ConnectionKind::Mysql;
                Ok((!is_silent).then(|| read.into_iter().filter(|read| read != name).collect()))
            }
            Ok(Explained::NoPlan) | Err(SourceError::Statement { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

/// A query of the whole relation, through a view that hides nothing. It is planned, never run.
fn everything_of(
    catalog: &Catalog,
    name: &RelationName,
    kind: ConnectionKind,
    principal: &Principal,
) -> Option<ringfence_guard::GuardedQuery> {
    let relation = catalog.relation(&name.schema, &name.name)?;
    let schema = ringfence_policy::Schema { name: name.schema.clone(), relations: vec![relation.clone()] };
    let only = Catalog { database: catalog.database.clone(), schemas: vec![schema] };
    let policy = Policy::open(kind, Vec::new());
    let seen = view(Question { policy: &policy, catalog: &only, unfiltered: &only, rules: &[], principal });
    guard(&all_of(name, kind), kind, &seen).ok()?.bind(principal, &[]).ok()
}

/// Whether the relation is there with all its rows and columns, as they are.
fn is_whole(view: &View, name: &RelationName) -> bool {
    let is_plain = |entitlement: &Arc<Entitlement>| {
        entitlement.hidden.is_empty()
            && entitlement.rows == Expression::truth(true)
            && entitlement.columns.iter().all(|column| column.mask.is_none())
    };
    view.relations.get(name).is_some_and(is_plain)
}
