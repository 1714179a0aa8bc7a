//! Cubes: definitions for administrators, measures at levels for everybody who sees them.
//!
//! A definition belongs to a place, beside its policy, because its hierarchies and joins say how restrictions merge and are
//! handed on. A query becomes a statement in `semantic` and goes the road of every guarded statement: there is no second place
//! where access is decided. Reading order: this file is for authors, [`ask`] for callers.

mod ask;

use ringfence_policy::{Policy, Problem};
use ringfence_semantic::cube::{Cube, Definition};
use ringfence_store::cubes::CubeVersion;
use ringfence_store::policies::{Guarding, PolicyPlace};

pub use ask::{CubeAnswer, CubeRow};
pub use ringfence_semantic::cube::CubeDescription;
pub use ringfence_semantic::cube::CubeQuery;
pub use ringfence_semantic::cube::compile::{LevelColumn, MeasureColumn, NO_MEMBER};
pub use ringfence_semantic::cube::request::{CubeOrder, LevelOf, LevelReference};

use crate::call::now_ms;
use crate::connections::address_of;
use crate::policies::{CUBE_DOCUMENT, Definitions};
use crate::{Call, Code, Gateway, Refused};

const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Cubes of one place.
const MOST: usize = 200;
/// Longest name, in characters.
const MOST_CHARACTERS: usize = 100;

/// What came of putting a document.
#[derive(Debug, Clone)]
pub enum PutCube {
    /// It counts from now on.
    Stored(CubeVersion),
    /// It can't be used, for these reasons; nothing was changed.
    Invalid(Vec<Problem>),
}

impl Gateway {
    /// Defines a cube on the place of one of the caller's connections, or a new version of one. For those who put policies,
    /// as all that changes or shows definitions is.
    pub async fn put_cube(
        &self,
        call: &Call,
        key: &str,
        name: &str,
        document: &str,
    ) -> Result<PutCube, Refused> {
        call.log().set_action("put-cube");
        call.log().set_object(name);
        let (connection, place) = self.governed(call, key).await?;
        check_name(name)?;
        if document.len() > MAX_DOCUMENT_BYTES || document.contains('\0') {
            return Err(Refused::invalid(format!(
                "a cube's document has at most {MAX_DOCUMENT_BYTES} bytes, and no NUL among them"
            )));
        }
        let definition = match Definition::load(CUBE_DOCUMENT, document) {
            Ok(definition) => definition,
            Err(invalid) => return Ok(PutCube::Invalid(invalid.problems)),
        };
        let Guarding::Guarded(in_force) = self.shared.store.policies().current(&place).await? else {
            return Err(unguarded());
        };
        let address = address_of(&connection, &call.principal().org)?;
        let (kind, home) = (address.kind, address.database);
        let database = home.clone();
        // Large documents take their time.
        let loading = tokio::task::spawn_blocking(move || {
            Policy::load_for(CUBE_DOCUMENT, &in_force.document, kind, &database)
        });
        let policy = loading.await.map_err(|stopped| Refused::internal(&stopped))?.map_err(|_| {
            Refused::new(Code::PolicyUnusable, "the policy of the connection can't be used: put one that can")
        })?;
        let schema = if policy.schema().is_empty() { home } else { policy.schema().to_owned() };
        let shown = self.shown_to_governor(call, &connection).await?;
        if let Err(problems) = Cube::resolve(name, &definition, &shown.unfiltered, kind, &schema) {
            return Ok(PutCube::Invalid(problems));
        }
        let known = Definitions::on(&self.shared.store, &place).await?;
        if known.len() >= MOST && !known.has(name) {
            return Err(Refused::invalid(format!("a connection's database has at most {MOST} cubes")));
        }
        if let Err(circular) = known.with(name, definition).joined(policy, &schema) {
            let problem =
                Problem::new(CUBE_DOCUMENT, ringfence_policy::placed::Place::default(), circular.to_string());
            return Ok(PutCube::Invalid(vec![problem]));
        }
        let new = version_of(call, name, document.to_owned(), false);
        Ok(PutCube::Stored(self.store_cube(call, &place, new).await?))
    }

    /// Takes a cube away. Its history stays.
    pub async fn remove_cube(&self, call: &Call, key: &str, name: &str) -> Result<(), Refused> {
        call.log().set_action("remove-cube");
        call.log().set_object(name);
        let (_, place) = self.governed(call, key).await?;
        let newest = self.cube_versions(&place, name).await?.into_iter().next();
        if newest.is_none_or(|version| version.removed) {
            return Err(Refused::not_found("cube"));
        }
        let new = version_of(call, name, String::new(), true);
        self.store_cube(call, &place, new).await.map(drop)
    }

    /// The version of a cube that counts, with its document.
    pub async fn cube_definition(&self, call: &Call, key: &str, name: &str) -> Result<CubeVersion, Refused> {
        call.log().set_action("get-cube-definition");
        call.log().set_object(name);
        let (_, place) = self.governed(call, key).await?;
        let newest = self.cube_versions(&place, name).await?.into_iter().next();
        newest.filter(|version| !version.removed).ok_or_else(|| Refused::not_found("cube"))
    }

    /// All versions of a cube, the newest first.
    pub async fn cube_history(
        &self,
        call: &Call,
        key: &str,
        name: &str,
    ) -> Result<Vec<CubeVersion>, Refused> {
        call.log().set_action("get-cube-history");
        call.log().set_object(name);
        let (_, place) = self.governed(call, key).await?;
        let versions = self.cube_versions(&place, name).await?;
        if versions.is_empty() { Err(Refused::not_found("cube")) } else { Ok(versions) }
    }

    async fn cube_versions(&self, place: &PolicyPlace, name: &str) -> Result<Vec<CubeVersion>, Refused> {
        Ok(self.shared.store.cubes().history(place, name).await?)
    }

    async fn store_cube(
        &self,
        call: &Call,
        place: &PolicyPlace,
        new: CubeVersion,
    ) -> Result<CubeVersion, Refused> {
        let put = self.shared.store.cubes().put(place, &new).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.policies.forget(&place.id());
        let version = put?;
        call.log().set_object(&format!("{} version {version}", new.name));
        Ok(CubeVersion { version, ..new })
    }
}

fn version_of(call: &Call, name: &str, document: String, removed: bool) -> CubeVersion {
    let author = call.principal().authenticated_user().clone();
    CubeVersion { name: name.to_owned(), version: 0, document, author, created_at: now_ms(), removed }
}

fn check_name(name: &str) -> Result<(), Refused> {
    let is_fine = !name.trim().is_empty()
        && name.chars().count() <= MOST_CHARACTERS
        && !name.chars().any(|character| character.is_control() || character == '/');
    if is_fine {
        return Ok(());
    }
    Err(Refused::invalid(format!(
        "a cube's name has 1 to {MOST_CHARACTERS} characters, none of which is `/` or controls"
    )))
}

/// What is said of a connection that no policy guards.
fn unguarded() -> Refused {
    Refused::new(
        Code::CubeNotAllowed,
        "there are no cubes here: cubes are on connections that a policy guards, so put a policy first",
    )
}
