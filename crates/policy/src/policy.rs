//! A policy as it is used: every condition parsed, every name resolved to a relation.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::beside::Beside;
use crate::connection::ConnectionKind;
use crate::document::{AttributeShape, Budget, DefaultAccess, Document};
use crate::drift::Drift;
use crate::expression::{Expression, PrincipalPath, RelationName, SubQuery};
use crate::mask::{Mask, MaskPattern};
use crate::placed::Place;
use crate::problem::PolicyInvalid;
use crate::tenancy::Tenancy;

/// The row policy that hides rows that were removed softly.
pub const SOFT_DELETE: &str = "soft_delete";

/// A policy on a connection of one kind, ready to decide.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The kind of database that its expressions are for.
    pub kind: ConnectionKind,
    /// The connection's name or key, when the document says one.
    pub connection: Option<String>,
    /// The document's name in problems.
    pub file: String,
    /// What holds for relations without a model.
    pub default: DefaultAccess,
    /// Schemas that a name without one is looked up in.
    pub search: Vec<String>,
    /// Whose schema is whose, where each tenant has one.
    pub tenancy: Option<Tenancy>,
    /// Functions beyond the dialect's own list, as (schema, function).
    pub functions: Vec<(String, String)>,
    /// Attributes that are read from the connection.
    pub attributes: BTreeMap<String, QueriedAttribute>,
    /// By relation.
    pub models: HashMap<RelationName, Model>,
    /// The relation of each model's name.
    pub model_names: BTreeMap<String, RelationName>,
    /// Patterns of columns that do not exist.
    pub global_deny: Vec<String>,
    /// Patterns of columns that are masked unless their model says what is shown.
    pub global_mask: Vec<(String, MaskPattern)>,
    /// By the referring relation.
    pub joins: HashMap<RelationName, Vec<Join>>,
    /// By relation.
    pub restrictions: HashMap<RelationName, Vec<Restriction>>,
    /// Data roles whose list of restrictions is empty, and where they stand.
    pub unrestricted: Vec<(String, Place)>,
    /// Limits of every statement.
    pub budgets: Vec<BudgetRule>,
    /// What was said beside the document.
    pub beside: Beside,
    /// Cubes, as written.
    pub cubes: Option<Value>,
    /// What can't be held on the catalog that it is decided with: nothing until somebody looked.
    pub drift: Drift,
    /// Whether tables without a model may be changed: where nobody put a policy.
    pub open_writes: bool,
}

/// An attribute that is read from the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueriedAttribute {
    /// One column, over `principal`. It reads raw rows, as sub-queries of conditions do.
    pub query: SubQuery,
    /// Whether it is a list or one value.
    pub shape: AttributeShape,
    /// How long its answer holds.
    pub ttl: Duration,
    /// Where it stands in the document.
    pub place: Place,
}

/// A relation and what may be done with it.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its business name.
    pub name: String,
    /// The relation.
    pub relation: RelationName,
    /// What it is for.
    pub description: Option<String>,
    /// Whether anybody sees it.
    pub allowed: bool,
    /// Who sees it.
    pub gate: Gate,
    /// Column and the value of the principal that it must equal.
    pub scoping: Vec<(String, PrincipalPath)>,
    /// In the document's order.
    pub row_policies: Vec<RowPolicy>,
    /// By column.
    pub fields: HashMap<String, Vec<FieldRule>>,
    /// What holds for the other columns.
    pub other_fields: DefaultAccess,
    /// Ways to other models, by name.
    pub relations: Vec<(String, ModelRelation)>,
    /// The column that says that a row was removed; [`RowPolicy`] [`SOFT_DELETE`] hides such rows.
    pub soft_delete: Option<String>,
    /// The column that tells one state of a row from the next.
    pub version: Option<String>,
    /// By roles; the first that applies counts.
    pub writes: Vec<WriteRule>,
    /// Limits of statements on it.
    pub budgets: Vec<BudgetRule>,
    /// Free data for other floors.
    pub attributes: Option<Value>,
    /// Where it stands in the document.
    pub place: Place,
}

/// Which principals a rule is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// One of these; everybody when `None`.
    pub roles: Option<Vec<String>>,
    /// None of these.
    pub except: Vec<String>,
}

/// Limits, and whose statements they hold.
#[derive(Debug, Clone)]
pub struct BudgetRule {
    /// For which roles.
    pub gate: Gate,
    /// For which tenants; all of them when `None`.
    pub tenants: Option<Vec<String>>,
    /// Its place among the budgets of the policy or the model, from 0: each counts for itself.
    pub number: usize,
    /// The limits.
    pub budget: Budget,
}

/// A condition on rows.
#[derive(Debug, Clone)]
pub struct RowPolicy {
    /// Its name in explanations.
    pub name: String,
    /// For whom it is.
    pub gate: Gate,
    /// Over raw columns and the principal.
    pub condition: Expression,
    /// What it does.
    pub effect: RowEffect,
    /// Where its condition stands.
    pub place: Place,
}

/// What a row policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowEffect {
    /// Hides the rows for which it does not hold.
    Narrow,
    /// Shows the rows for which it holds, beyond the scope.
    Extend,
    /// Lifts scope and narrow policies for principals for whom it holds.
    Bypass,
}

/// What is shown of a column.
#[derive(Debug, Clone)]
pub struct FieldRule {
    /// For whom it is.
    pub gate: Gate,
    /// What is shown.
    pub show: Show,
    /// Whether it may be written although it is masked.
    pub writable: bool,
    /// Where it stands.
    pub place: Place,
}

/// What is shown of a column.
#[derive(Debug, Clone)]
pub enum Show {
    /// The value.
    Plain,
    /// Nothing: the column does not exist.
    Hidden,
    /// Something else.
    Masked(Mask),
}

/// A way from one model to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRelation {
    /// The other model's name.
    pub model: String,
    /// This model's columns and the other's.
    pub on: Vec<(String, String)>,
    /// Whether there is more than one row on the other side.
    pub many: bool,
    /// How deep includes may go through it.
    pub max_depth: Option<u32>,
}

/// What may be changed.
#[derive(Debug, Clone)]
pub struct WriteRule {
    /// For whom it is.
    pub gate: Gate,
    /// As the entitlement will say it, before it is resolved for a principal.
    pub rules: crate::entitlement::WriteRules,
    /// Where it stands.
    pub place: Place,
}

/// Rows of one relation belong to rows of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The referring column.
    pub column: String,
    /// The relation referred to.
    pub target: RelationName,
    /// Its column.
    pub target_column: String,
    /// Whether what hides the other row hides this one.
    pub inherit: bool,
    /// Who inherits.
    pub gate: Gate,
    /// Where it stands.
    pub place: Place,
}

/// What a data role is restricted to.
#[derive(Debug, Clone)]
pub struct Restriction {
    /// The role.
    pub role: String,
    /// The hierarchy of the column: its name, or the column's when it is its own.
    pub hierarchy: Hierarchy,
    /// The column.
    pub column: String,
    /// Over the relation's columns.
    pub condition: Expression,
    /// Where it stands.
    pub place: Place,
}

/// What restrictions of several roles are merged by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hierarchy {
    /// Several columns.
    Named(String),
    /// One column.
    Column(String),
}

impl Policy {
    /// Reads a document and makes a policy of it for a connection of that kind; `file` is its name in errors.
    pub fn load(file: &str, text: &str, kind: ConnectionKind) -> Result<Self, PolicyInvalid> {
        Self::load_for(file, text, kind, "")
    }

    /// The same for a connection to that database, which is the schema of names without one in MySQL.
    pub fn load_for(
        file: &str,
        text: &str,
        kind: ConnectionKind,
        database: &str,
    ) -> Result<Self, PolicyInvalid> {
        Self::load_beside(file, text, (kind, database), &Beside::default())
    }

    /// The same with what is said beside the document.
    pub fn load_beside(
        file: &str,
        text: &str,
        home: (ConnectionKind, &str),
        beside: &Beside,
    ) -> Result<Self, PolicyInvalid> {
        let document = beside.join(file, Document::read(file, text)?)?;
        crate::compile::compile(file, text, (&document, beside), home, None)
    }

    /// The same for one tenant's schema, of a document that gives each tenant one: its names without a schema are that
    /// schema's.
    pub(crate) fn load_for_tenant(&self, text: &str, schema: &str) -> Result<Self, PolicyInvalid> {
        let document = self.beside.join(&self.file, Document::read(&self.file, text)?)?;
        crate::compile::compile(
            &self.file,
            text,
            (&document, &self.beside),
            (self.kind, schema),
            Some(schema),
        )
    }

    /// What holds of a connection without a policy when its content filters or access rules have to be held: everything is
    /// allowed, and names without a schema are looked up in these.
    pub fn open(kind: ConnectionKind, search: Vec<String>) -> Self {
        let search = if search.is_empty() { vec![schema_of(&[], (kind, "")).to_owned()] } else { search };
        Self {
            kind,
            connection: None,
            file: String::new(),
            default: DefaultAccess::Allow,
            search,
            tenancy: None,
            functions: Vec::new(),
            attributes: BTreeMap::new(),
            models: HashMap::new(),
            model_names: BTreeMap::new(),
            global_deny: Vec::new(),
            global_mask: Vec::new(),
            joins: HashMap::new(),
            restrictions: HashMap::new(),
            unrestricted: Vec::new(),
            budgets: Vec::new(),
            beside: Beside::default(),
            cubes: None,
            drift: Drift::default(),
            open_writes: true,
        }
    }

    /// The schema of relations that the policy names without one.
    pub fn schema(&self) -> &str {
        schema_of(&self.search, (self.kind, ""))
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(self.model_names.get(name)?)
    }
}

/// The first schema that is searched, or the one that such a database begins with.
pub(crate) fn schema_of<'a>(search: &'a [String], home: (ConnectionKind, &'a str)) -> &'a str {
    match (search, home.0) {
        ([first, ..], _) => first,
        ([], ConnectionKind::Sqlite) => "main",
        // A schema is a database there.
        ([], ConnectionKind::Mysql) => home.1,
        ([], ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push) => "public",
    }
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) | Self::Column(name) => f.write_str(name),
        }
    }
}

impl Gate {
    /// Whether it is for somebody with these roles.
    pub fn admits(&self, held: &[&str]) -> bool {
        let holds = |role: &String| held.contains(&role.as_str());
        self.roles.as_ref().is_none_or(|roles| roles.iter().any(holds)) && !self.except.iter().any(holds)
    }

    /// In the words of explanations.
    pub fn describe(&self) -> String {
        let mut words = Vec::new();
        if let Some(roles) = &self.roles {
            words.push(format!("for roles {}", roles.join(", ")));
        }
        if !self.except.is_empty() {
            words.push(format!("except for roles {}", self.except.join(", ")));
        }
        words.join(", ")
    }
}
