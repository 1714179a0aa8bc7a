//! Policies as the database's own row-level security.

use ringfence_policy::{CompiledRls, Problem, compile_rls};

use super::hierarchies;
use crate::{Call, Gateway, Refused};

/// Longest name of a role that PostgreSQL keeps.
const MAX_ROLE_BYTES: usize = 63;

/// What came of compiling a policy.
#[derive(Debug, Clone)]
pub enum Compilation {
    /// Statements, or why there are none.
    Compiled(CompiledRls),
    /// The document can't be used, for these reasons.
    Invalid(Vec<Problem>),
}

impl Gateway {
    /// Compiles a document, or the policy in force, to row-level security for a database role that reads. Nothing is run.
    pub async fn compile_policy(
        &self,
        call: &Call,
        key: &str,
        document: Option<&str>,
        role: &str,
        withhold: bool,
    ) -> Result<Compilation, Refused> {
        call.log().set_action("compile-policy");
        let (connection, place) = self.governed(call, key).await?;
        if role.is_empty() || role.len() > MAX_ROLE_BYTES || role.contains('\0') {
            return Err(Refused::invalid(format!("a role's name is 1 to {MAX_ROLE_BYTES} bytes")));
        }
        let in_force = match document {
            Some(document) => document.to_owned(),
            None => self.policy_in_force(&place).await?.document,
        };
        let weighed = match self.weigh(call, &connection, &in_force).await? {
            Ok(weighed) => weighed,
            Err(problems) => return Ok(Compilation::Invalid(problems)),
        };
        if weighed.policy.is_nobodys() {
            return Err(Refused::invalid(
                "a policy that gives each tenant a schema is not for row-level security: give each tenant's role USAGE on its schema alone",
            ));
        }
        let shown = self.shown_to_governor(call, &connection).await?;
        let loaded = weighed.loaded(place)?;
        let cubes = loaded.cubes.here(&shown.unfiltered, loaded.policy.kind, loaded.schema());
        let policy = loaded.grouped(&hierarchies(&cubes)).policy;
        Ok(Compilation::Compiled(compile_rls(&policy, &shown.unfiltered, role, withhold)))
    }
}
