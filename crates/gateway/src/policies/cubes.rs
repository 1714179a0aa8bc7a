//! The cubes of a place, in memory beside its policy: they say how its restrictions merge and are handed on.

use std::sync::Arc;
use std::time::Duration;

use ringfence_policy::cubes::{CircularJoins, CubeHierarchy};
use ringfence_policy::{Catalog, ConnectionKind, Policy, PolicyInvalid, RelationName};
use ringfence_semantic::cube::{Cube, Definition};
use ringfence_store::Store;
use ringfence_store::cubes::CubeVersion;
use ringfence_store::policies::PolicyPlace;

use crate::Refused;

/// What problems call a cube's document.
pub(crate) const DOCUMENT: &str = "cube";

/// Definitions that count on a place, by name.
#[derive(Debug, Default)]
pub(crate) struct Definitions(Vec<Defined>);

#[derive(Debug, Clone)]
struct Defined {
    name: String,
    version: i64,
    created_at: i64,
    definition: Definition,
}

/// A cube on a catalog.
pub(crate) struct CubeHere {
    pub(crate) name: String,
    /// The table of its facts.
    pub(crate) facts: Option<RelationName>,
    /// `None` when it fits the catalog no more.
    pub(crate) cube: Option<Cube>,
    /// How long an answer of it counts, where its definition says so.
    pub(crate) cache: Option<Duration>,
}

/// Why the definitions of a place can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the cube {name}, version {version}, can't be read: {invalid}")]
pub(crate) struct Unreadable {
    name: String,
    version: i64,
    invalid: PolicyInvalid,
}

impl Definitions {
    pub(crate) fn of(versions: Vec<CubeVersion>) -> Result<Self, Unreadable> {
        let read = |stored: CubeVersion| {
            let CubeVersion { name, version, document, created_at, .. } = stored;
            match Definition::load(DOCUMENT, &document) {
                Ok(definition) => Ok(Defined { name, version, created_at, definition }),
                Err(invalid) => Err(Unreadable { name, version, invalid }),
            }
        };
        versions.into_iter().map(read).collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// Those that count on a place now.
    pub(crate) async fn on(store: &Store, place: &PolicyPlace) -> Result<Arc<Self>, Refused> {
        let versions = store.cubes().current(place).await?;
        // On a thread of its own: large documents take their time.
        let reading = tokio::task::spawn_blocking(move || Self::of(versions));
        let read = reading.await.map_err(|stopped| Refused::internal(&stopped))?;
        read.map(Arc::new).map_err(|unreadable| {
            tracing::error!(policy.place = %place.place, error = %unreadable, "a stored cube can't be used");
            super::cache::unusable()
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|defined| defined.name == name)
    }

    /// The same with that definition in the place of the one that has its name.
    pub(crate) fn with(&self, name: &str, definition: Definition) -> Self {
        let mut all: Vec<Defined> = self.0.iter().filter(|defined| defined.name != name).cloned().collect();
        all.push(Defined { name: name.to_owned(), version: 0, created_at: 0, definition });
        Self(all)
    }

    /// Whether they are the same versions of the same cubes.
    pub(crate) fn are(&self, others: &Self) -> bool {
        self.versions().eq(others.versions())
    }

    /// Which versions of which cubes they are.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        self.0.iter().map(|defined| (defined.name.as_str(), defined.version, defined.created_at))
    }

    /// The policy with the cubes' joins. What nobody's policy would join is found out for each tenant.
    pub(crate) fn joined(&self, policy: Policy, schema: &str) -> Result<Policy, CircularJoins> {
        if self.0.is_empty() || policy.is_nobodys() {
            return Ok(policy);
        }
        let joins: Vec<_> =
            self.0.iter().flat_map(|defined| defined.definition.inherited_joins(schema)).collect();
        policy.with_cube_joins(&joins)
    }

    /// The cubes on a catalog. One that does not fit is kept without its parts: its name is taken.
    pub(crate) fn here(&self, catalog: &Catalog, kind: ConnectionKind, schema: &str) -> Vec<CubeHere> {
        let here = self.0.iter().map(|defined| {
            let Defined { name, version, definition, .. } = defined;
            let cube = Cube::resolve(name, definition, catalog, kind, schema);
            if let Err(problems) = &cube {
                let problem = problems.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(
                    cube = name,
                    cube.version = version,
                    problem,
                    "a cube fits its database no more"
                );
            }
            let (facts, cache) = (definition.facts(schema), definition.cache());
            CubeHere { name: name.clone(), facts, cube: cube.ok(), cache }
        });
        here.collect()
    }
}

/// What cubes on a catalog say of how restrictions merge.
pub(crate) fn hierarchies(cubes: &[CubeHere]) -> Vec<CubeHierarchy> {
    cubes.iter().filter_map(|here| here.cube.as_ref()).flat_map(Cube::for_policy).collect()
}
