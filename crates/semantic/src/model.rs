//! What there is to ask for: the models that a principal sees, with their fields and ways to each other.

use ringfence_policy::policy::{Model, ModelRelation};
use ringfence_policy::{Entitlement, Permit, Policy, RelationName, View, VisibleColumn};

use crate::refusal::{Refusal, nearest};
use crate::value::{FieldType, field_type};

/// The models of a policy behind a view.
#[derive(Debug, Clone, Copy)]
pub struct Models<'a> {
    policy: &'a Policy,
    view: &'a View,
}

/// A model as the principal sees it.
#[derive(Debug, Clone, Copy)]
pub struct ModelView<'a> {
    /// What the policy says of it.
    pub model: &'a Model,
    /// What the principal may do with it.
    pub entitlement: &'a Entitlement,
    models: Models<'a>,
}

/// A field as the principal sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column's name as stored.
    pub name: &'a str,
    /// The declared type in the words of the database.
    pub declared: &'a str,
    /// What kind of values it has.
    pub class: FieldType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether something else stands in the place of its values.
    pub masked: bool,
    /// Whether it may be written at all.
    pub writable: bool,
}

/// A way from a model to another that the principal may go.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the policy says of it.
    pub relation: &'a ModelRelation,
    /// The other model.
    pub target: ModelView<'a>,
}

/// What may be done with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Operations {
    pub create: Permit,
    pub update: Permit,
    pub delete: Permit,
}

impl<'a> Models<'a> {
    /// The models of the policy that the view lets through.
    pub fn of(policy: &'a Policy, view: &'a View) -> Self {
        Self { policy, view }
    }

    /// All that the principal sees, by name.
    pub fn all(self) -> impl Iterator<Item = ModelView<'a>> {
        self.policy.model_names.values().filter_map(move |relation| self.visible(relation))
    }

    /// The model of that name.
    //
    // INVARIANT: a hidden model is answered like one that is not there. Held by the test `hidden_and_missing_are_one`.
    pub fn named(self, name: &str) -> Result<ModelView<'a>, Refusal> {
        let relation = self.policy.model_names.get(name);
        if let Some(found) = relation.and_then(|relation| self.visible(relation)) {
            return Ok(found);
        }
        if let Some(denial) = relation.and_then(|relation| self.view.unresolved.get(relation)) {
            return Err(Refusal::Denied(denial.clone()));
        }
        let alternatives = nearest(name, self.all().map(|view| view.model.name.as_str()));
        Err(Refusal::ModelNotAllowed { name: name.to_owned(), alternatives })
    }

    fn visible(self, relation: &RelationName) -> Option<ModelView<'a>> {
        let model = self.policy.models.get(relation)?;
        let entitlement = self.view.relations.get(relation)?;
        Some(ModelView { model, entitlement, models: self })
    }
}

impl<'a> ModelView<'a> {
    /// The model's name.
    pub fn name(self) -> &'a str {
        &self.model.name
    }

    /// The policy that the model is of.
    pub(crate) fn policy(self) -> &'a Policy {
        self.models.policy
    }

    /// All fields, in the relation's order.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        self.entitlement.columns.iter().map(move |column| self.field_of(column))
    }

    /// The field of that name.
    //
    // INVARIANT: a hidden field is answered like one that is not there. Held by the test `hidden_and_missing_are_one`.
    pub fn field(self, name: &str) -> Result<Field<'a>, Refusal> {
        self.fields().find(|field| field.name == name).ok_or_else(|| Refusal::FieldNotAllowed {
            model: self.name().to_owned(),
            name: name.to_owned(),
            alternatives: nearest(name, self.fields().map(|field| field.name)),
        })
    }

    /// The primary key; `None` where the principal does not see all of it as it is.
    pub fn key(self) -> Option<Vec<Field<'a>>> {
        let fields: Option<Vec<Field<'a>>> =
            self.entitlement.key.iter().map(|name| self.plain_field(name)).collect();
        fields.filter(|fields| !fields.is_empty())
    }

    /// The way of that name.
    pub fn way(self, name: &str) -> Result<Way<'a>, Refusal> {
        self.ways().find(|way| way.name == name).ok_or_else(|| Refusal::RelationNotAllowed {
            model: self.name().to_owned(),
            name: name.to_owned(),
            alternatives: nearest(name, self.ways().map(|way| way.name)),
        })
    }

    /// The ways to other models. One over a column that the principal does not see as it is leads nowhere.
    pub fn ways(self) -> impl Iterator<Item = Way<'a>> {
        self.model.relations.iter().filter_map(move |(name, relation)| {
            let target = self.models.named(&relation.model).ok()?;
            let is_seen = relation
                .on
                .iter()
                .all(|(here, there)| self.plain_field(here).is_some() && target.plain_field(there).is_some());
            is_seen.then_some(Way { name, relation, target })
        })
    }

    /// What may be done.
    pub fn operations(self) -> Operations {
        let Entitlement { writes, soft_delete, is_table, lasting, .. } = self.entitlement;
        if !is_table || *lasting {
            return Operations { create: Permit::Deny, update: Permit::Deny, delete: Permit::Deny };
        }
        let delete = soft_delete.as_ref().map_or(writes.delete, |soft| soft.permit);
        Operations { create: writes.create, update: writes.update, delete }
    }

    /// The field that tells one state of a row from the next, where the principal sees it as it is.
    pub fn version(self) -> Option<Field<'a>> {
        self.plain_field(self.entitlement.version.as_deref()?)
    }

    /// Whether the field may be changed.
    pub fn may_update(self, field: Field<'_>) -> bool {
        let writes = &self.entitlement.writes;
        let is_listed =
            writes.columns.as_ref().is_none_or(|columns| columns.iter().any(|name| name == field.name));
        field.writable
            && is_listed
            && !writes.immutable.iter().any(|name| name == field.name)
            && self.entitlement.version.as_deref() != Some(field.name)
    }

    pub(crate) fn plain_field(self, name: &str) -> Option<Field<'a>> {
        self.fields().find(|field| field.name == name && !field.masked)
    }

    fn field_of(self, column: &'a VisibleColumn) -> Field<'a> {
        let masked = column.mask.is_some();
        Field {
            name: &column.name,
            declared: &column.data_type,
            class: field_type(self.models.policy.kind, &column.data_type),
            // A mask may be null whatever the column is.
            nullable: masked || self.entitlement.nullable.contains(&column.name),
            masked,
            writable: !masked || column.writable,
        }
    }
}
