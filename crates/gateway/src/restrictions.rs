//! Restrictions of data roles at run time: what administrators say beside the policy, in force with the next statement.

use ringfence_policy::id::check_name;
use ringfence_policy::{Beside, Catalog, Policy, Problem, beside};
use ringfence_store::StoreError;
use ringfence_store::connections::Connection;
use ringfence_store::policies::{Guarding, PolicyPlace};
use ringfence_store::restrictions::{ByRole, Restricted};
use serde_json::{Map, Value};

use crate::call::now_ms;
use crate::connections::address_of;
use crate::{Call, Code, Gateway, Refused};

/// Roles that are restricted on one place.
const MAX_ROLES: usize = 1_000;
/// Bytes of one role's restrictions.
const MAX_BYTES: usize = 64 << 10;
/// Longest name of a data role.
const MAX_ROLE_BYTES: usize = 255;

/// What became of a change.
#[derive(Debug)]
pub enum PutRestrictions {
    /// It is in force.
    Stored,
    /// It can't be used, and all that is wrong with it.
    Invalid(Vec<Problem>),
}

impl Gateway {
    /// What is said of each role on the place of a connection. Needs what reading the policy needs.
    pub async fn list_restrictions(&self, call: &Call, key: &str) -> Result<ByRole, Refused> {
        call.log().set_action("list-restrictions");
        let (_, place) = self.governed(call, key).await?;
        Ok(self.shared.store.restrictions().on(&place).await?.roles)
    }

    /// Restricts a role, in the words of a policy document's `restrictions`; replaces what was said of it here. Needs what
    /// putting a policy needs, and that there is one.
    pub async fn put_restrictions(
        &self,
        call: &Call,
        key: &str,
        role: &str,
        entries: &Value,
    ) -> Result<PutRestrictions, Refused> {
        call.log().set_action("put-restrictions");
        call.log().set_object(role);
        let (connection, place) = self.governed(call, key).await?;
        check_name("role", role, MAX_ROLE_BYTES)?;
        crate::policies::check_size("the restrictions", &entries.to_string(), MAX_BYTES)?;
        let known = self.shared.store.restrictions().on(&place).await?;
        if known.roles.len() >= MAX_ROLES && !known.roles.contains_key(role) {
            return Err(Refused::invalid(format!("at most {MAX_ROLES} roles are restricted on one place")));
        }
        let problems = self.wrong_with(call, &connection, (&place, &known), (role, entries)).await?;
        if !problems.is_empty() {
            return Ok(PutRestrictions::Invalid(problems));
        }
        self.store_restrictions(call, &place, &known, (role, Some(entries))).await?;
        Ok(PutRestrictions::Stored)
    }

    /// Says nothing of a role any more: it restricts nothing. Needs what putting needs.
    pub async fn delete_restrictions(&self, call: &Call, key: &str, role: &str) -> Result<(), Refused> {
        call.log().set_action("delete-restrictions");
        call.log().set_object(role);
        let (_, place) = self.governed(call, key).await?;
        let known = self.shared.store.restrictions().on(&place).await?;
        if !known.roles.contains_key(role) {
            return Err(Refused::not_found("restricted role"));
        }
        self.store_restrictions(call, &place, &known, (role, None)).await
    }

    async fn store_restrictions(
        &self,
        call: &Call,
        place: &PolicyPlace,
        known: &Restricted,
        said: (&str, Option<&Value>),
    ) -> Result<(), Refused> {
        let author = (call.principal().authenticated_user(), now_ms());
        let stored = self.shared.store.restrictions().put(place, known, said, author).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.policies.forget(&place.id());
        match stored {
            Ok(_) => Ok(()),
            Err(StoreError::Conflict { .. }) => Err(Refused::new(
                Code::Conflict,
                "somebody else changed restrictions here at the same moment: look, and try again",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// All that is wrong with restricting the role so, under the policy in force.
    async fn wrong_with(
        &self,
        call: &Call,
        connection: &Connection,
        (place, known): (&PolicyPlace, &Restricted),
        (role, entries): (&str, &Value),
    ) -> Result<Vec<Problem>, Refused> {
        let Guarding::Guarded(version) = self.shared.store.policies().current(place).await? else {
            return Err(Refused::invalid(
                "nothing is guarded here: put a policy on the connection first; `default: allow` is one",
            ));
        };
        let mut roles = known.roles.clone();
        roles.insert(role.to_owned(), entries.clone());
        let home = address_of(connection, &call.principal().org)?;
        let catalog = self.indexed(call, connection).await?;
        let (role, kind, database) = (role.to_owned(), home.kind, home.database);
        let looking = tokio::task::spawn_blocking(move || {
            let beside = match read(&roles) {
                Ok(beside) => beside,
                Err(invalid) => return invalid.problems,
            };
            let home = (kind, database.as_str());
            match Policy::load_beside(crate::policies::DOCUMENT, &version.document, home, &beside) {
                Ok(policy) => catalog.map_or_else(Vec::new, |catalog| unknown(&policy, &catalog, &role)),
                Err(invalid) => invalid.problems,
            }
        });
        looking.await.map_err(|stopped| Refused::internal(&stopped))
    }
}

/// What is stored, as the policy takes it.
pub(crate) fn read(roles: &ByRole) -> Result<Beside, ringfence_policy::PolicyInvalid> {
    if roles.is_empty() {
        return Ok(Beside::default());
    }
    Beside::read(&Value::Object(Map::from_iter(roles.clone())).to_string())
}

/// Tables and columns of the role's restrictions that are not in the database. Those of tenants' own schemas are not known here.
fn unknown(policy: &Policy, catalog: &Catalog, role: &str) -> Vec<Problem> {
    if policy.tenancy.is_some() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (relation, restrictions) in &policy.restrictions {
        for restriction in restrictions.iter().filter(|restriction| restriction.role == role) {
            let place = ringfence_policy::placed::Place::default();
            let found = catalog.relation(&relation.schema, &relation.name);
            let message = match found {
                None => format!("there is no table {}.{}", relation.schema, relation.name),
                Some(found) if found.columns.iter().any(|column| column.name == restriction.column) => {
                    continue;
                }
                Some(_) => format!("{} has no column `{}`", relation.name, restriction.column),
            };
            problems.push(Problem::new(beside::FILE, place, message));
        }
    }
    problems
}
