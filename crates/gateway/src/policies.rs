//! Policies: read, put, look back, roll back. Each is on a place: a data source of an organization, whoever registered a
//! connection to it and however that is spelt.

mod cache;
mod diff;
mod effect;
mod life;
mod native;
mod people;
mod trials;

use std::collections::BTreeSet;

use ringfence_policy::document::Budget;
use ringfence_policy::{
    Beside, Catalog, ConnectionKind, Footprint, Permission, Policy, Problem, RelationName, Role, Warning,
    WarningCode,
};
use ringfence_store::StoreError;
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::policies::{Expected, Guarding, PolicyDraft, PolicyPlace, PolicyVersion};

pub(crate) use cache::{LoadedPolicy, PolicyCache};
pub use diff::{Diff, DiffRequest};
pub use effect::{Access, ColumnChange, GroupEffect, PolicyEffect, RelationEffect, RowsEffect, WriteChange};
pub use native::Compilation;
pub(crate) use people::made_up;
pub use trials::{TestOutcome, TestReport, Tested};

use crate::connections::address_of;
use crate::{Call, Code, Gateway, Refused};

/// What problems call a document.
pub(crate) const DOCUMENT: &str = "policy";
/// As much as anybody writes by hand or by program.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
const MAX_COMMENT_BYTES: usize = 1000;

/// A document to put.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct NewPolicy {
    /// YAML or JSON.
    pub document: String,
    pub comment: Option<String>,
    pub expected: Expected,
}

/// What came of putting a document.
#[derive(Debug, Clone)]
pub enum PutPolicy {
    /// It counts from now on.
    Stored {
        /// With its number.
        version: PolicyVersion,
        /// What there is to look at in it: names that the indexed catalog does not have, and lints.
        warnings: Vec<Warning>,
    },
    /// It can't be used, for these reasons; nothing was changed.
    Invalid(Vec<Problem>),
}

/// A policy that counts, and how it fits its data source.
#[derive(Debug, Clone)]
pub struct PolicyStatus {
    /// With its document.
    pub version: PolicyVersion,
    /// Why the document can't be used any more.
    pub problems: Vec<Problem>,
    /// What there is to look at in it.
    pub warnings: Vec<Warning>,
    /// Relations to which access is suspended, because the database moved away from under the policy, and why.
    pub suspended: Vec<(RelationName, Vec<Warning>)>,
}

/// What there is to say about a document that nobody put.
#[derive(Debug, Clone, Default)]
pub struct CheckedPolicy {
    /// Why it can't be used.
    pub problems: Vec<Problem>,
    /// What there is to look at in it, if it can.
    pub warnings: Vec<Warning>,
    /// Whether a catalog was there to hold it against.
    pub indexed: bool,
}

/// A document that can be used.
pub(crate) struct Weighed {
    pub(crate) policy: Policy,
    warnings: Vec<Warning>,
    /// What it rests on in the catalog, when there is one.
    footprint: Option<Footprint>,
}

impl Gateway {
    /// The policy that counts on the place of one of the caller's connections. Needs `publish:access-rules` and the rank
    /// of an organization's administrator, as everything here does.
    pub async fn get_policy(&self, call: &Call, key: &str) -> Result<PolicyStatus, Refused> {
        call.log().set_action("get-policy");
        let (connection, place) = self.governed(call, key).await?;
        let version = self.policy_in_force(&place).await?;
        let mut status =
            PolicyStatus { version, problems: Vec::new(), warnings: Vec::new(), suspended: Vec::new() };
        let weighed = match self.weigh(call, &connection, &status.version.document).await? {
            Ok(weighed) => weighed,
            Err(problems) => return Ok(PolicyStatus { problems, ..status }),
        };
        status.warnings = weighed.warnings;
        if let Some(catalog) = self.indexed(call, &connection).await? {
            let before = cache::footprint_of(status.version.footprint.as_deref());
            let drift = weighed.policy.drift_from(&catalog, &before);
            let suspended = drift.suspended();
            status.suspended = suspended.map(|(relation, why)| (relation.clone(), why.to_vec())).collect();
        }
        Ok(status)
    }

    /// Says what is wrong with a document, and what there is to look at in it; nothing is put.
    pub async fn check_policy(
        &self,
        call: &Call,
        key: &str,
        document: &str,
    ) -> Result<CheckedPolicy, Refused> {
        call.log().set_action("check-policy");
        let (connection, _) = self.governed(call, key).await?;
        Ok(match self.weigh(call, &connection, document).await? {
            Ok(weighed) => CheckedPolicy {
                problems: Vec::new(),
                warnings: weighed.warnings,
                indexed: weighed.footprint.is_some(),
            },
            Err(problems) => CheckedPolicy { problems, ..CheckedPolicy::default() },
        })
    }

    /// All versions, the newest first.
    pub async fn policy_history(&self, call: &Call, key: &str) -> Result<Vec<PolicyVersion>, Refused> {
        call.log().set_action("get-policy-history");
        let (_, place) = self.governed(call, key).await?;
        let history = self.shared.store.policies().history(&place).await?;
        if history.is_empty() { Err(Refused::not_found("policy")) } else { Ok(history) }
    }

    /// Puts a document in force. The connection is guarded from then on, for everybody of the organization who has one to
    /// the same place, until [`Gateway::remove_policy`] takes the policy away.
    pub async fn put_policy(&self, call: &Call, key: &str, new: NewPolicy) -> Result<PutPolicy, Refused> {
        call.log().set_action("put-policy");
        let (connection, place) = self.governed(call, key).await?;
        check_size("the comment", new.comment.as_deref().unwrap_or_default(), MAX_COMMENT_BYTES)?;
        let weighed = match self.weigh(call, &connection, &new.document).await? {
            Ok(weighed) => weighed,
            Err(problems) => return Ok(PutPolicy::Invalid(problems)),
        };
        let footprint = weighed.footprint.map(|footprint| serde_json::to_string(&footprint));
        let footprint = footprint.transpose().map_err(|error| Refused::internal(&error))?;
        let version = self.store_policy(call, &place, new, footprint).await?;
        Ok(PutPolicy::Stored { version, warnings: weighed.warnings })
    }

    /// Reads a document for a connection: what can be used with all there is to say about it, or all that is wrong.
    pub(crate) async fn weigh(
        &self,
        call: &Call,
        connection: &Connection,
        document: &str,
    ) -> Result<Result<Weighed, Vec<Problem>>, Refused> {
        check_size("the document", document, MAX_DOCUMENT_BYTES)?;
        let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
        let document = document.to_owned();
        let address = address_of(connection, &call.principal().org)?;
        let beside = match self.place_of(&call.principal().org, &address)? {
            Some(place) => cache::beside(&self.shared.store, &place).await?.1.ok_or_else(cache::unusable)?,
            None => Beside::default(),
        };
        let loading = tokio::task::spawn_blocking(move || {
            Policy::load_beside(DOCUMENT, &document, (kind, &address.database), &beside)
        });
        let policy = match loading.await.map_err(|stopped| Refused::internal(&stopped))? {
            Ok(policy) => policy,
            Err(invalid) => return Ok(Err(invalid.problems)),
        };
        let as_warning = |code| move |problem| Warning::new(code, problem);
        let mut warnings: Vec<Warning> =
            misnamed(&policy, connection).into_iter().map(as_warning(WarningCode::OtherConnection)).collect();
        warnings.extend(unheeded(&policy).into_iter().map(as_warning(WarningCode::BudgetNotHeld)));
        let catalog = self.indexed(call, connection).await?;
        let looking = tokio::task::spawn_blocking(move || {
            warnings.extend(policy.warnings(catalog.as_ref()));
            let footprint = catalog.map(|catalog| policy.footprint(&catalog));
            Weighed { policy, warnings, footprint }
        });
        looking.await.map(Ok).map_err(|stopped| Refused::internal(&stopped))
    }

    /// Puts an earlier version in force again, as a new version.
    pub async fn roll_back_policy(
        &self,
        call: &Call,
        key: &str,
        version: i64,
        expected: Expected,
    ) -> Result<PutPolicy, Refused> {
        call.log().set_action("roll-back-policy");
        let (_, place) = self.governed(call, key).await?;
        let earlier = self.shared.store.policies().version(&place, version).await?;
        let earlier = earlier.ok_or_else(|| Refused::not_found("version of the policy"))?;
        if earlier.removed {
            return Err(Refused::invalid(format!(
                "version {version} took the policy away: it has no document"
            )));
        }
        let comment = Some(format!("back to version {version}"));
        self.put_policy(call, key, NewPolicy { document: earlier.document, comment, expected }).await
    }

    async fn store_policy(
        &self,
        call: &Call,
        place: &PolicyPlace,
        new: NewPolicy,
        footprint: Option<String>,
    ) -> Result<PolicyVersion, Refused> {
        let NewPolicy { document, comment, expected } = new;
        let author = call.principal().authenticated_user().clone();
        let created_at = crate::call::now_ms();
        let draft = PolicyDraft { document, author, comment, created_at, footprint, removed: false };
        self.add_version(call, place, expected, draft).await
    }

    async fn add_version(
        &self,
        call: &Call,
        place: &PolicyPlace,
        expected: Expected,
        draft: PolicyDraft,
    ) -> Result<PolicyVersion, Refused> {
        let put = self.shared.store.policies().put(place, expected, &draft).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.policies.forget(&place.id());
        let version = put.map_err(|error| match error {
            StoreError::Conflict { what: "the policy" } => Refused::new(
                Code::PreconditionFailed,
                "another version of the policy is in force: read it, then put yours again",
            ),
            other => other.into(),
        })?;
        call.log().set_object(&format!("version {version}"));
        let PolicyDraft { document, author, comment, created_at, footprint, removed } = draft;
        Ok(PolicyVersion { version, document, author, comment, created_at, footprint, removed })
    }

    /// The version that counts.
    async fn policy_in_force(&self, place: &PolicyPlace) -> Result<PolicyVersion, Refused> {
        match self.shared.store.policies().current(place).await? {
            Guarding::Guarded(version) => Ok(version),
            Guarding::Open => Err(Refused::not_found("policy")),
            Guarding::Lost => Err(cache::unusable()),
        }
    }

    /// One of the caller's connections, and its place, for somebody who rules over it.
    pub(crate) async fn governed(
        &self,
        call: &Call,
        key: &str,
    ) -> Result<(Connection, PolicyPlace), Refused> {
        call.log().set_scope(key);
        may_govern(call)?;
        let connection = self.connection_of(call, key).await?;
        let address = address_of(&connection, &call.principal().org)?;
        let place = self.place_of(&call.principal().org, &address)?.ok_or_else(|| {
            Refused::invalid(
                "a pushed catalog has no rows to guard: policies are for connections that run queries",
            )
        })?;
        Ok((connection, place))
    }

    /// The whole catalog, when it is there and the caller may know it.
    pub(crate) async fn indexed(
        &self,
        call: &Call,
        connection: &Connection,
    ) -> Result<Option<Catalog>, Refused> {
        if connection.proof != Proof::Proven {
            return Ok(None);
        }
        let sources = self.shared.store.sources();
        let source = sources.get(connection.source).await?;
        if source.is_none_or(|source| source.org != call.principal().org) {
            return Ok(None);
        }
        Ok(sources.catalog(connection.source).await?.map(|(_, catalog)| catalog))
    }
}

/// Refuses who may not put policies.
///
/// A policy binds every tenant of the organization, and shows what it hides: so it is for those who administer the
/// organization as a whole, not for a tenant's administrators, who have the permission too.
pub(crate) fn may_govern(call: &Call) -> Result<(), Refused> {
    call.needs(Permission::PublishAccessRules)?;
    if call.principal().rank() < Role::OrgAdminUser.rank() {
        return Err(Refused::new(
            Code::NotPermitted,
            "policies are for administrators of the organization: ask one of them",
        ));
    }
    Ok(())
}

/// Budgets that nothing holds statements of this connection to.
fn unheeded(policy: &Policy) -> Vec<Problem> {
    let of_models = policy.models.values().map(|model| (model.place.line, &model.budgets));
    let all = of_models.chain([(0, &policy.budgets)]);
    let mut problems: Vec<Problem> = all
        .flat_map(|(line, budgets)| {
            let keys = budgets.iter().flat_map(|rule| unheeded_keys(&rule.budget, policy.kind));
            // One of several is as good as all.
            let keys: BTreeSet<_> = keys.collect();
            keys.into_iter().map(move |why| (line, why))
        })
        .map(|(line, message)| Problem {
            file: DOCUMENT.to_owned(),
            line,
            column: 0,
            message: message.to_owned(),
            suggestion: None,
        })
        .collect();
    problems.sort_by(|one, other| (one.line, &one.message).cmp(&(other.line, &other.message)));
    problems
}

fn unheeded_keys(budget: &Budget, kind: ConnectionKind) -> Vec<&'static str> {
    let Budget {
        max_rows: _,
        statement_timeout: _,
        roles: _,
        except_roles: _,
        tenants: _,
        max_include_depth,
        max_complexity,
        max_fields: _,
        max_cost,
        refuse_broad_queries: _,
        max_concurrent: _,
        requests_per_minute: _,
    } = budget;
    let given = [
        (
            "the budget's `max_include_depth` is for includes of the models API: statements have none",
            max_include_depth.is_some(),
        ),
        (
            "the budget's `max_complexity` is for requests of the models API: statements have none",
            max_complexity.is_some(),
        ),
        (
            "the budget's `max_cost` is not held: this kind of database does not say what a statement will cost",
            max_cost.is_some() && kind != ConnectionKind::Postgresql,
        ),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(why, _)| why).collect()
}

/// A document that says it is for another connection.
fn misnamed(policy: &Policy, connection: &Connection) -> Vec<Problem> {
    let Some(name) = &policy.connection else { return Vec::new() };
    let spec = &connection.spec;
    let names = [&spec.alias, &spec.db_alias, &spec.database, &spec.description];
    let is_meant = name == connection.key.as_str() || names.into_iter().flatten().any(|other| other == name);
    if is_meant {
        return Vec::new();
    }
    vec![Problem {
        file: DOCUMENT.to_owned(),
        line: 0,
        column: 0,
        message: format!("the document says that it is for the connection `{name}`"),
        suggestion: None,
    }]
}

pub(crate) fn check_size(what: &str, text: &str, limit: usize) -> Result<(), Refused> {
    if text.len() > limit {
        return Err(Refused::invalid(format!("{what} is too long: at most {limit} bytes")));
    }
    // PostgreSQL can't store one.
    if text.contains('\0') {
        return Err(Refused::invalid(format!("{what} holds a NUL character: remove it")));
    }
    Ok(())
}
