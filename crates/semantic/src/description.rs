//! What there is to ask for, in words for callers.

use ringfence_policy::Permit;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::ModelView;
use crate::query::Bounds;
use crate::value::FieldType;

/// A model as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelDescription {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub description: Option<String>,
    /// The primary key; empty where you do not see all of it.
    pub key: Vec<String>,
    /// In the table's order.
    pub fields: Vec<FieldDescription>,
    /// Ways to other models.
    pub relations: Vec<RelationDescription>,
    /// What may be done: `query`, `get` and `aggregate` always; of `create`, `update` and `delete` those that are allowed.
    pub operations: Vec<String>,
    /// Those of them that wait for somebody's approval.
    pub needs_approval: Vec<String>,
    /// Fields that a new row must have.
    pub required: Vec<String>,
    /// Fields that are set for you in a new row.
    pub set_by_policy: Vec<String>,
    /// The field that `if_version` is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub version: Option<String>,
    /// Whether changes need a `reason`.
    pub requires_reason: bool,
    /// What one request may use.
    pub budget: BudgetDescription,
}

/// A field as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelField)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct FieldDescription {
    /// Its name.
    pub name: String,
    /// What kind of values it has.
    #[serde(rename = "type")]
    pub class: FieldType,
    /// The type in the words of the database.
    pub database_type: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether something stands in the place of its values.
    pub masked: bool,
    /// Whether a new row may have it.
    pub may_create: bool,
    /// Whether it may be changed.
    pub may_update: bool,
}

/// A way to another model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelRelation)]
pub struct RelationDescription {
    /// Its name, for `include`.
    pub name: String,
    /// The other model.
    pub model: String,
    /// Whether there may be more than one row.
    pub many: bool,
}

/// What one request may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ModelBudget)]
pub struct BudgetDescription {
    /// Rows of a page at most.
    pub max_rows: u64,
    /// How deep includes may go.
    pub max_include_depth: u32,
    /// Fields at most, where there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub max_fields: Option<u32>,
    /// Rows that one change may touch at most, where there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub max_changes: Option<u64>,
}

/// The model as its principal sees it. `is_read_only`: nothing may be changed on the connection.
pub fn describe(model: ModelView<'_>, bounds: Bounds, is_read_only: bool) -> ModelDescription {
    let writes = &model.entitlement.writes;
    let permits = model.operations();
    let permits = [("create", permits.create), ("update", permits.update), ("delete", permits.delete)];
    let permits = permits.map(|(word, permit)| (word, if is_read_only { Permit::Deny } else { permit }));
    let may = |wanted: &str| permits.iter().any(|(word, permit)| *word == wanted && *permit != Permit::Deny);
    let with = |wanted: fn(Permit) -> bool| permits.iter().filter(move |(_, permit)| wanted(*permit));
    let operations = ["query", "get", "aggregate"].into_iter();
    let sees = |name: &&String| model.field(name).is_ok();
    let fields = model.fields().map(|field| FieldDescription {
        name: field.name.to_owned(),
        class: field.class,
        database_type: field.declared.to_owned(),
        nullable: field.nullable,
        masked: field.masked,
        may_create: may("create") && field.writable,
        may_update: may("update") && model.may_update(field),
    });
    ModelDescription {
        name: model.name().to_owned(),
        description: model.model.description.clone(),
        key: model.key().into_iter().flatten().map(|field| field.name.to_owned()).collect(),
        fields: fields.collect(),
        relations: model
            .ways()
            .map(|way| RelationDescription {
                name: way.name.to_owned(),
                model: way.target.name().to_owned(),
                many: way.relation.many,
            })
            .collect(),
        operations: operations
            .chain(with(|permit| permit != Permit::Deny).map(|(word, _)| *word))
            .map(str::to_owned)
            .collect(),
        needs_approval: with(|permit| permit == Permit::Approval)
            .map(|(word, _)| (*word).to_owned())
            .collect(),
        required: writes.required.iter().filter(sees).cloned().collect(),
        set_by_policy: writes.auto_set.iter().map(|(name, _)| name).filter(sees).cloned().collect(),
        version: model.version().map(|field| field.name.to_owned()),
        requires_reason: writes.require_reason,
        budget: BudgetDescription {
            max_rows: bounds.max_take,
            max_include_depth: bounds.max_depth,
            max_fields: bounds.max_fields,
            max_changes: writes.max_rows,
        },
    }
}
