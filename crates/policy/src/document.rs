//! The policy document as its author writes it: YAML or JSON, in the words of DESIGN section 6.
//!
//! These types say which keys there are. What the texts in them mean is decided by [`crate::policy`], which parses each
//! condition once and refuses what it can't read.

mod shapes;

pub(crate) use shapes::scalar_or_map;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::connection::ConnectionKind;
use crate::placed::{Entries, FromWord, OneOrMany, Place, Placed};
use crate::problem::PolicyInvalid;
use crate::tenancy::TenancyEntry;

/// A policy on a connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Ringfence policy document")]
pub struct Document {
    /// The connection's name or key.
    pub connection: Option<String>,
    /// What the policy is for, in its author's words.
    pub description: Option<String>,
    /// What holds for relations that no model names.
    #[serde(default)]
    pub default: DefaultAccess,
    /// Schemas that a name without one is looked up in, in order; the first is also where the policy's own names are.
    #[serde(default)]
    pub search_schemas: Vec<String>,
    /// Each tenant has a schema of its own.
    pub tenancy: Option<TenancyEntry>,
    /// Functions beyond the dialect's own list that statements may call, as `schema.function`.
    #[serde(default)]
    pub functions: Vec<Placed<String>>,
    /// Attributes of the principal that are read from the connection: a query, and how long its answer holds.
    #[serde(default)]
    pub attributes: Entries<Placed<DerivedAttribute>>,
    /// Relations with their business names.
    #[serde(default)]
    pub models: Entries<ModelEntry>,
    /// What holds for columns of every relation, by name.
    #[serde(default)]
    pub global: Global,
    /// How relations belong together.
    #[serde(default)]
    pub joins: Vec<JoinEntry>,
    /// Columns of one table that are levels of one hierarchy: restrictions on them are alternatives.
    #[serde(default)]
    pub hierarchies: Entries<Vec<Placed<String>>>,
    /// What each data role is restricted to.
    #[serde(default)]
    pub restrictions: Entries<Vec<RestrictionEntry>>,
    /// Limits of every statement: one, or several for different roles and tenants. All that apply count.
    pub budget: Option<OneOrMany<Budget>>,
    /// Cubes, read by their own floor.
    pub cubes: Option<Value>,
}

/// What holds for relations that no model names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum DefaultAccess {
    #[default]
    Deny,
    Allow,
}

/// A relation and what may be done with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The relation, as `schema.name` or `name`; parts with a dot or a quote stand in double quotes.
    pub table: Placed<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether anybody sees it at all.
    #[serde(default = "yes")]
    pub allowed: bool,
    /// Only principals with one of these roles see it.
    pub roles: Option<Vec<String>>,
    /// Principals with one of these roles do not see it.
    #[serde(default)]
    pub except_roles: Vec<String>,
    /// Column to the value of the principal that it must equal; a list means one of it.
    #[serde(default)]
    pub scoping: Entries<Placed<String>>,
    /// Conditions on rows.
    #[serde(default)]
    pub row_policies: Vec<RowPolicyEntry>,
    /// Column to what is shown of it.
    #[serde(default)]
    pub fields: Entries<OneOrMany<FieldEntry>>,
    /// What holds for columns that `fields` does not name.
    #[serde(default = "allow")]
    pub other_fields: DefaultAccess,
    /// How to get from a row to rows of other models.
    #[serde(default)]
    pub relations: Entries<RelationEntry>,
    /// A time column. Deleting a row through the models API sets it instead, and rows in which it is set are gone.
    pub soft_delete: Option<Placed<String>>,
    /// A whole number or a time that every update through the models API moves on: updates that name another version are
    /// refused.
    pub version: Option<Placed<String>>,
    /// What may be changed; nothing when left out.
    #[serde(default)]
    pub write_policy: OneOrMany<WriteEntry>,
    /// Limits of statements on the model: one, or several for different roles and tenants. All that apply count.
    pub budget: Option<OneOrMany<Budget>>,
    /// Free data for other floors.
    pub attributes: Option<Value>,
}

/// A condition on the rows of a model.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowPolicyEntry {
    /// Named in explanations and in the audit log.
    pub name: Placed<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Over the columns of the table and the principal.
    pub condition: Placed<Text>,
    /// Applies only to principals with one of these roles.
    pub roles: Option<Vec<String>>,
    /// Does not apply to principals with one of these roles.
    #[serde(default)]
    pub except_roles: Vec<String>,
    /// Shows rows beyond the scope instead of hiding rows.
    #[serde(default)]
    pub extends: bool,
    /// Lifts scope and row policies for principals for whom it holds; speaks of the principal alone.
    #[serde(default)]
    pub bypass: bool,
}

/// What is shown of a column.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldEntry {
    /// Applies only to principals with one of these roles.
    pub roles: Option<Vec<String>>,
    /// Does not apply to principals with one of these roles.
    #[serde(default)]
    pub except_roles: Vec<String>,
    /// What is done.
    pub action: Placed<FieldAction>,
    /// For `mask`: a template such as `****{last4}`, or a shape: `email`, `phone`, `partial`.
    pub mask_pattern: Option<Placed<String>>,
    /// For `mask`: what is shown instead, over the raw columns of the row.
    pub expression: Option<Placed<Text>>,
    /// For `redact`: the constant, `[redacted]` when left out.
    pub constant: Option<String>,
    /// Whether the column may be written although it is masked.
    pub writable: Option<bool>,
}

/// What is done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldAction {
    /// It is shown as it is.
    Allow,
    /// It does not exist.
    Deny,
    /// A pattern or an expression stands in its place.
    Mask,
    /// A keyed hash of it, the same for equal values of one tenant.
    Hash,
    /// A constant.
    Redact,
    /// NULL.
    Null,
}

/// A text, or one for each dialect.
#[derive(Debug, Clone)]
pub enum Text {
    /// The same for every dialect.
    Same(String),
    /// By dialect.
    ByDialect(Box<DialectTexts>),
}

/// A text for each dialect.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the dialects' names")]
pub struct DialectTexts {
    pub postgresql: Option<Placed<String>>,
    pub sqlite: Option<Placed<String>>,
    pub lake: Option<Placed<String>>,
    pub mysql: Option<Placed<String>>,
}

/// A way from one model to another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationEntry {
    /// The other model.
    pub model: Placed<String>,
    /// This model's columns to the other's.
    pub on: Entries<String>,
    /// Whether there is more than one row on the other side.
    #[serde(default)]
    pub many: bool,
    /// How deep includes may go through it.
    pub max_depth: Option<u32>,
}

/// What may be changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteEntry {
    /// Applies only to principals with one of these roles.
    pub roles: Option<Vec<String>>,
    /// Does not apply to principals with one of these roles.
    #[serde(default)]
    pub except_roles: Vec<String>,
    /// Whether rows may be added.
    #[serde(default)]
    pub create: WriteAction,
    /// Whether rows may be changed.
    #[serde(default)]
    pub update: WriteAction,
    /// Whether rows may be removed.
    #[serde(default)]
    pub delete: WriteAction,
    /// The only columns that may be updated.
    pub columns: Option<Vec<Placed<String>>>,
    /// Which of the visible rows may be updated or deleted; others are skipped.
    pub rows: Option<Placed<Text>>,
    /// Columns that are set on create.
    #[serde(default)]
    pub auto_set: Entries<Placed<AutoSetEntry>>,
    /// Columns that can't be updated.
    #[serde(default)]
    pub immutable_fields: Vec<Placed<String>>,
    /// Columns that must be given on create.
    #[serde(default)]
    pub required_fields: Vec<Placed<String>>,
    /// Whether the caller must say why.
    #[serde(default)]
    pub require_reason: bool,
    /// Rows that one statement may change at most.
    pub max_rows: Option<u64>,
    /// Roles whose holders may approve what needs an approval; administrators of the organization when left out.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// How long an approval is waited for, such as `24h`; a day when left out.
    pub approval_expires: Option<String>,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WriteAction {
    /// Never.
    #[default]
    Deny,
    /// After somebody approved.
    Approval,
    /// Always.
    Allow,
}

/// The value that a column is set to.
#[derive(Debug, Clone)]
pub enum AutoSetEntry {
    /// An expression; a value of the caller's must equal it.
    Value(String),
    /// An expression, and which values of the caller's are fine.
    Checked(Box<CheckedValue>),
}

/// An expression, and which values of the caller's are fine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckedValue {
    /// The value when the caller gives none.
    pub value: Placed<String>,
    /// A condition over the column itself.
    pub accepts: Option<Placed<String>>,
}

/// What holds for columns of every relation, by name; `*` stands for any run of characters.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Global {
    /// Columns that do not exist, whatever a model says.
    #[serde(default)]
    pub deny: Vec<Placed<String>>,
    /// Columns that are masked unless a model says what is shown of them.
    #[serde(default)]
    pub mask: Vec<Placed<String>>,
}

/// Rows of one relation belong to rows of another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinEntry {
    /// The referring column, as `table.column` or `schema.table.column`.
    pub from: Placed<String>,
    /// The column referred to.
    pub to: Placed<String>,
    /// Whether rows are hidden whose row on the other side is hidden.
    #[serde(default)]
    pub inherit: bool,
    /// Inherited only by principals with one of these roles.
    pub roles: Option<Vec<String>>,
    /// Not inherited by principals with one of these roles.
    #[serde(default)]
    pub except_roles: Vec<String>,
}

/// What a data role is restricted to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestrictionEntry {
    /// The table, as `schema.name` or `name`.
    pub table: Placed<String>,
    /// The column; it tells which hierarchy the restriction is on.
    pub column: Placed<String>,
    /// The values that are seen.
    #[serde(rename = "in")]
    pub values: Option<Vec<Value>>,
    /// Or a condition.
    pub condition: Option<Placed<Text>>,
}

/// An attribute that is read from the connection: a query over `principal`, and how long its answer holds.
#[derive(Debug, Clone)]
pub struct DerivedAttribute {
    /// The query: `SELECT column FROM ... WHERE ...`.
    pub query: Placed<Text>,
    /// Such as `60s`.
    pub ttl: Option<String>,
    /// Whether it is a list or one value.
    pub shape: AttributeShape,
}

/// What an attribute that is read from the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeShape {
    /// All values of the column, each once.
    #[default]
    List,
    /// The one value of the column; missing when there is no row.
    Value,
}

/// Limits of statements.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Applies only to principals with one of these roles.
    pub roles: Option<Vec<String>>,
    /// Does not apply to principals with one of these roles.
    #[serde(default)]
    pub except_roles: Vec<String>,
    /// Applies only to principals of one of these tenants.
    pub tenants: Option<Vec<String>>,
    /// Rows of an answer; what is beyond is left out.
    pub max_rows: Option<u64>,
    /// How long a statement may run, such as `5s`.
    pub statement_timeout: Option<String>,
    /// How deep includes of the models API may go. Statements have none.
    pub max_include_depth: Option<u32>,
    /// The score of a request of the models API. Statements have none.
    pub max_complexity: Option<u32>,
    /// Columns of an answer.
    pub max_fields: Option<u32>,
    /// What the database itself expects a statement to cost, in its own unit (PostgreSQL).
    pub max_cost: Option<u64>,
    /// Whether a statement that reads or changes a relation without a condition or limit of its own is refused.
    #[serde(default)]
    pub refuse_broad_queries: bool,
    /// Statements that run at once for one tenant.
    pub max_concurrent: Option<u32>,
    /// Statements of one tenant in a minute.
    pub requests_per_minute: Option<u32>,
}

impl FromWord for Budget {
    /// There is no word for one.
    fn from_word(_: &str) -> Option<Self> {
        None
    }

    const EXPECTED: &'static str = "a budget, or a list of budgets";
}

impl Document {
    /// Reads a document; `file` is its name in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyInvalid> {
        crate::reading::read(file, text).map_err(|problem| PolicyInvalid { problems: vec![problem] })
    }
}

/// The published JSON Schema of the document.
pub fn json_schema() -> Value {
    schemars::schema_for!(Document).to_value()
}

impl Placed<Text> {
    /// The text for that kind of database, and where it stands.
    pub fn of(&self, kind: ConnectionKind) -> Option<(&str, Place)> {
        let texts = match &self.value {
            Text::Same(text) => return Some((text, self.place)),
            Text::ByDialect(texts) => texts,
        };
        let text = match kind {
            ConnectionKind::Postgresql | ConnectionKind::Push => texts.postgresql.as_ref(),
            ConnectionKind::Sqlite => texts.sqlite.as_ref(),
            ConnectionKind::Lake => texts.lake.as_ref(),
            ConnectionKind::Mysql => texts.mysql.as_ref(),
        };
        text.map(|text| (text.value.as_str(), text.place))
    }
}

impl FieldAction {
    pub(crate) const WORDS: [(&'static str, Self); 6] = [
        ("allow", Self::Allow),
        ("deny", Self::Deny),
        ("mask", Self::Mask),
        ("hash", Self::Hash),
        ("redact", Self::Redact),
        ("null", Self::Null),
    ];

    /// The action's word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, action)| *action == self).map_or("deny", |(word, _)| word)
    }
}

impl FromWord for FieldEntry {
    const EXPECTED: &'static str =
        "allow, deny, hash, redact, null, a mapping with `action`, or a list of such mappings";

    fn from_word(word: &str) -> Option<Self> {
        let (_, action) = FieldAction::WORDS.into_iter().find(|(known, _)| *known == word)?;
        // A mask without a pattern would be a riddle.
        (action != FieldAction::Mask).then_some(Self {
            roles: None,
            except_roles: Vec::new(),
            action: Placed { value: action, place: Place::default() },
            mask_pattern: None,
            expression: None,
            constant: None,
            writable: None,
        })
    }
}

impl FromWord for WriteEntry {
    const EXPECTED: &'static str = "a mapping with `create`, `update`, `delete`, or a list of such mappings";

    fn from_word(_: &str) -> Option<Self> {
        None
    }
}

const fn yes() -> bool {
    true
}

const fn allow() -> DefaultAccess {
    DefaultAccess::Allow
}
