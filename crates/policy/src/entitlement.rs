//! What one principal may do with one relation, and with all of a connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::expression::{Expression, RelationName};

/// What a principal may do with a relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entitlement {
    /// Which relation.
    pub relation: RelationName,
    /// The columns that exist for the principal, in the relation's order.
    pub columns: Vec<VisibleColumn>,
    /// The columns that do not.
    pub hidden: Vec<String>,
    /// Which rows exist for the principal: those for which this is TRUE. Over raw columns.
    pub rows: Expression,
    /// The columns that take NULL.
    pub nullable: Vec<String>,
    /// The primary key.
    pub key: Vec<String>,
    /// Whether rows of it can be changed at all: it is a table.
    pub is_table: bool,
    /// Whether its changes can't be undone, and so can't be refused after the fact either.
    pub lasting: bool,
    /// Its foreign keys.
    pub references: Vec<Reference>,
    /// What may be changed.
    pub writes: WriteRules,
    /// The row policy that lifted the scope, when one did: each use is recorded.
    pub bypass: Option<String>,
    /// How rows are removed where the policy keeps them.
    pub soft_delete: Option<SoftDelete>,
    /// The column that tells one state of a row from the next.
    pub version: Option<String>,
}

/// A row that is removed stays, with the time in a column; from then on it is gone for those whom the policy binds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SoftDelete {
    /// The column.
    pub column: VisibleColumn,
    /// Whether the principal may remove rows. [`WriteRules::delete`] is deny beside it: DELETE would remove them for good.
    pub permit: Permit,
    /// [`Entitlement::rows`] without the condition that a row is not removed.
    pub rows: Expression,
}

impl Entitlement {
    /// What holds while rows are removed softly: the column that says so, and it alone, may be set on rows that may be
    /// removed. `None` where rows are removed for good.
    //
    // INVARIANT: it allows no more than the removal. Held by the test `a_soft_deletion_sets_one_column`.
    pub fn while_deleting(&self) -> Option<Self> {
        let soft = self.soft_delete.as_ref()?;
        let mut while_deleting = self.clone();
        while_deleting.rows = soft.rows.clone();
        while_deleting.columns.retain(|column| column.name != soft.column.name);
        while_deleting.columns.push(soft.column.clone());
        while_deleting.writes = WriteRules {
            update: soft.permit,
            columns: Some(vec![soft.column.name.clone()]),
            rows: self.writes.rows.clone(),
            require_reason: self.writes.require_reason,
            max_rows: self.writes.max_rows,
            ..WriteRules::default()
        };
        Some(while_deleting)
    }

    /// What holds once somebody approved: what needs an approval is allowed.
    pub fn once_approved(&self) -> Self {
        let mut approved = self.clone();
        let writes = &mut approved.writes;
        let soft = approved.soft_delete.as_mut().map(|soft| &mut soft.permit);
        for permit in [&mut writes.create, &mut writes.update, &mut writes.delete].into_iter().chain(soft) {
            if *permit == Permit::Approval {
                *permit = Permit::Allow;
            }
        }
        approved
    }
}

/// A column that exists for the principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VisibleColumn {
    /// The name as stored.
    pub name: String,
    /// The declared type in the words of the database.
    pub data_type: String,
    /// What the principal sees instead of the value. Over raw columns; of the column's type, or cast to it.
    pub mask: Option<Expression>,
    /// Whether the value may be written although it is masked: the mask shows the rows that may be written in clear.
    pub writable: bool,
}

/// A foreign key: a new value must refer to a row that the principal sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The referring columns.
    pub columns: Vec<String>,
    /// The relation referred to.
    pub target: RelationName,
    /// The columns referred to, in the order of `columns`.
    pub target_columns: Vec<String>,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Permit {
    #[default]
    Deny,
    /// Only after somebody approved.
    Approval,
    Allow,
}

/// What may be changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct WriteRules {
    /// INSERT.
    pub create: Permit,
    /// UPDATE.
    pub update: Permit,
    /// DELETE.
    pub delete: Permit,
    /// Columns that are set from the principal on create. A different value is refused.
    pub auto_set: Vec<(String, AutoSet)>,
    /// Columns that can't be updated.
    pub immutable: Vec<String>,
    /// Columns that must be given on create.
    pub required: Vec<String>,
    /// The only columns that may be updated; `None` for all that are visible and plain.
    pub columns: Option<Vec<String>>,
    /// Rows that may be updated or deleted, narrower than those that may be read; others are skipped.
    pub rows: Option<Expression>,
    /// Whether the caller must say why.
    pub require_reason: bool,
    /// Rows that one statement may change at most.
    pub max_rows: Option<u64>,
    /// Roles whose holders may approve what needs an approval; administrators of the organization when empty.
    pub approvers: Vec<String>,
    /// How long an approval is waited for.
    pub approval_expires: Option<Duration>,
}

/// What a column is set to on create.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AutoSet {
    /// The value when the statement has none.
    pub value: Expression,
    /// Whether a value that the statement gives is fine: over the column itself, such as `tenant_id IN principal.tenants`.
    pub accepts: Expression,
}

/// All that a principal sees of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Schemas that a name without one is looked up in, in order.
    pub search: Vec<String>,
    /// By name as stored.
    pub relations: BTreeMap<RelationName, Arc<Entitlement>>,
    /// Functions beyond the dialect's own list that the policy allows by name, as (schema, function).
    pub functions: Vec<(String, String)>,
    /// Types of the connection that visible columns have and that a cast may name (enumerations), as (schema, type).
    pub types: Vec<(String, String)>,
    /// Relations whose policy can't be held against the principal, and why: an attribute is missing, or the database changed.
    pub unresolved: BTreeMap<RelationName, Denial>,
}

/// Why there is no entitlement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denial {
    /// There is no such relation, or it is hidden: one answer.
    #[error("relation \"{0}\" does not exist")]
    Invisible(RelationName),
    /// The database changed so that the policy on it can't be held any more.
    #[error(
        "access to this relation is suspended: the database changed and its policy has to be looked at: tell your administrator"
    )]
    Suspended,
    /// The policy needs an attribute that the principal does not have.
    #[error(
        "the policy on this relation needs {attribute}, which is not set for you: ask your administrator"
    )]
    ScopeRequired {
        /// Such as `principal.attributes.region`.
        attribute: String,
    },
}
