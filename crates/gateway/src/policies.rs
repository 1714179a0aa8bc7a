//! Policies: read, put, look back, roll back. Each is on a place: a data source of an organization, whoever registered a
//! connection to it and however that is spelt.

mod cache;

use ringfence_policy::document::Budget;
use ringfence_policy::{Catalog, ConnectionKind, Permission, Policy, Problem, Role};
use ringfence_store::StoreError;
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::policies::{Expected, Guarding, PolicyDraft, PolicyPlace, PolicyVersion};

pub(crate) use cache::{Guard, LoadedPolicy, PolicyCache, unusable};

use crate::connections::address_of;
use crate::{Call, Code, Gateway, Refused};

/// What problems call a document.
const DOCUMENT: &str = "policy";
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
        /// Names that the indexed catalog does not have, and masks that can't be made.
        warnings: Vec<Problem>,
    },
    /// It can't be used, for these reasons; nothing was changed.
    Invalid(Vec<Problem>),
}

impl Gateway {
    /// The policy that counts on the place of one of the caller's connections. Needs `publish:access-rules` and the rank
    /// of an organization's administrator, as everything here does.
    pub async fn get_policy(&self, call: &Call, key: &str) -> Result<PolicyVersion, Refused> {
        call.log().set_action("get-policy");
        let (_, place) = self.governed(call, key).await?;
        match self.shared.store.policies().current(&place).await? {
            Guarding::Guarded(version) => Ok(version),
            Guarding::Open => Err(Refused::not_found("policy")),
            Guarding::Lost => Err(unusable()),
        }
    }

    /// All versions, the newest first.
    pub async fn policy_history(&self, call: &Call, key: &str) -> Result<Vec<PolicyVersion>, Refused> {
        call.log().set_action("get-policy-history");
        let (_, place) = self.governed(call, key).await?;
        let history = self.shared.store.policies().history(&place).await?;
        if history.is_empty() { Err(Refused::not_found("policy")) } else { Ok(history) }
    }

    /// Puts a document in force. The connection is guarded from then on, for everybody of the organization who has one to
    /// the same place. There is no way back to an open connection: a policy can only be replaced.
    pub async fn put_policy(&self, call: &Call, key: &str, new: NewPolicy) -> Result<PutPolicy, Refused> {
        call.log().set_action("put-policy");
        let (connection, place) = self.governed(call, key).await?;
        check_size("the document", &new.document, MAX_DOCUMENT_BYTES)?;
        check_size("the comment", new.comment.as_deref().unwrap_or_default(), MAX_COMMENT_BYTES)?;
        let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
        let document = new.document.clone();
        let loading = tokio::task::spawn_blocking(move || Policy::load(DOCUMENT, &document, kind));
        let policy = match loading.await.map_err(|stopped| Refused::internal(&stopped))? {
            Ok(policy) => policy,
            Err(invalid) => return Ok(PutPolicy::Invalid(invalid.problems)),
        };
        let mut warnings = misnamed(&policy, &connection);
        warnings.extend(unheeded(&policy));
        if let Some(catalog) = self.indexed(call, &connection).await? {
            warnings.extend(policy.check(&catalog));
        }
        let version = self.store_policy(call, &place, new).await?;
        Ok(PutPolicy::Stored { version, warnings })
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
        let comment = Some(format!("back to version {version}"));
        self.put_policy(call, key, NewPolicy { document: earlier.document, comment, expected }).await
    }

    async fn store_policy(
        &self,
        call: &Call,
        place: &PolicyPlace,
        new: NewPolicy,
    ) -> Result<PolicyVersion, Refused> {
        let NewPolicy { document, comment, expected } = new;
        let author = call.principal().authenticated_user().clone();
        let draft = PolicyDraft { document, author, comment, created_at: crate::call::now_ms() };
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
        let PolicyDraft { document, author, comment, created_at } = draft;
        Ok(PolicyVersion { version, document, author, comment, created_at })
    }

    /// One of the caller's connections, and its place, for somebody who rules over it.
    async fn governed(&self, call: &Call, key: &str) -> Result<(Connection, PolicyPlace), Refused> {
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
    async fn indexed(&self, call: &Call, connection: &Connection) -> Result<Option<Catalog>, Refused> {
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
    let of_models = policy.models.values().map(|model| (model.place.line, model.budget.as_ref()));
    let all = of_models.chain([(0, policy.budget.as_ref())]);
    let mut problems: Vec<Problem> = all
        .flat_map(|(line, budget)| {
            budget
                .into_iter()
                .flat_map(|budget| unheeded_keys(budget, policy.kind))
                .map(move |why| (line, why))
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
        max_include_depth,
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

fn check_size(what: &str, text: &str, limit: usize) -> Result<(), Refused> {
    if text.len() > limit {
        return Err(Refused::invalid(format!("{what} is too long: at most {limit} bytes")));
    }
    // PostgreSQL can't store one.
    if text.contains('\0') {
        return Err(Refused::invalid(format!("{what} holds a NUL character: remove it")));
    }
    Ok(())
}
