//! The law of access (DESIGN section 3): what one principal may do with one relation, and why.
//!
//! Reading order: this file says which relations are visible and puts the parts together; [`rows`] has the row
//! predicate, [`columns`] the columns, [`writes`] the changes.

mod columns;
mod inherit;
mod lists;
mod rows;
mod writes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::catalog::{Catalog, Constraint, Relation, RelationKind, Schema};
use crate::connection::ConnectionKind;
use crate::document::DefaultAccess;
use crate::entitlement::{Denial, Entitlement, Reference, View};
use crate::evaluate::role_names;
use crate::expression::RelationName;
use crate::placed::Place;
use crate::policy::{Model, Policy};
use crate::principal::Principal;
use crate::reason::{Clause, Effect, Reason, Subject};
use crate::rule::{AccessRule, Ruling, ruling};

/// Who asks of what: all that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The connection's policy.
    pub policy: &'a Policy,
    /// What the connection's content filters let through.
    pub catalog: &'a Catalog,
    /// What the connection holds.
    pub unfiltered: &'a Catalog,
    /// The connection's access rules.
    pub rules: &'a [AccessRule],
    /// Who asks.
    pub principal: &'a Principal,
}

/// What the principal may do with the relation.
pub fn decide(question: Question<'_>, relation: &RelationName) -> Result<Entitlement, Denial> {
    Decision::new(question, false).decide(relation)
}

/// As [`decide`], and the rules that gave or took each column and row.
pub fn decide_with_reasons(
    question: Question<'_>,
    relation: &RelationName,
) -> (Result<Entitlement, Denial>, Vec<Reason>) {
    let mut decision = Decision::new(question, true);
    let decided = decision.decide(relation);
    (decided, decision.reasons.unwrap_or_default())
}

/// All that the principal sees of the connection.
pub fn view(question: Question<'_>) -> View {
    view_like(question, None)
}

/// The same. What is equal in another view of the same policy and catalog is shared with it, and costs little to find.
//
// INVARIANT: a view is what it would be without the other one. Held by the test `a_view_does_not_depend_on_another`.
pub fn view_like(question: Question<'_>, other: Option<&View>) -> View {
    let mut decision = Decision::new(question, false);
    decision.unfiltered = Some(by_name(question.unfiltered));
    let mut relations = BTreeMap::new();
    let mut unresolved = BTreeMap::new();
    let mut types = Vec::new();
    for schema in &question.catalog.schemas {
        for relation in &schema.relations {
            let name = RelationName::new(&schema.name, &relation.name);
            let known = other.and_then(|other| other.relations.get(&name));
            match decision.shared(&name, relation, known) {
                Ok(entitlement) => {
                    types.extend(entitlement.columns.iter().filter_map(|column| own_type(&column.data_type)));
                    relations.insert(name, entitlement);
                }
                Err(Denial::Invisible(_)) => {}
                Err(denial @ (Denial::ScopeRequired { .. } | Denial::Suspended)) => {
                    unresolved.insert(name, denial);
                }
            }
        }
    }
    for name in question.policy.drift.gone() {
        if let Err(denial @ Denial::Suspended) = decision.visible(name) {
            unresolved.insert(name.clone(), denial);
        }
    }
    types.sort();
    types.dedup();
    let policy = question.policy;
    View { search: policy.search.clone(), relations, functions: policy.functions.clone(), types, unresolved }
}

fn by_name(catalog: &Catalog) -> HashMap<(&str, &str), &Relation> {
    catalog.schemas.iter().flat_map(schema_relations).collect()
}

fn schema_relations(schema: &Schema) -> impl Iterator<Item = ((&str, &str), &Relation)> {
    schema.relations.iter().map(|relation| ((schema.name.as_str(), relation.name.as_str()), relation))
}

/// A type of the connection's own, which the catalog names with its schema.
fn own_type(data_type: &str) -> Option<(String, String)> {
    if !data_type.contains('.') {
        return None;
    }
    let (schema, name) = data_type.split_once('.')?;
    let plain = |part: &str| part.trim_matches('"').to_owned();
    (schema != "pg_catalog").then(|| (plain(schema), plain(name)))
}

/// Schemas of the databases' own catalogs.
const SYSTEM_SCHEMAS: [&str; 5] = ["information_schema", "mysql", "performance_schema", "pg_catalog", "sys"];

/// Whether the schema is the database's own.
pub fn is_of_the_system(schema: &str) -> bool {
    SYSTEM_SCHEMAS.contains(&schema.to_ascii_lowercase().as_str())
}

/// A decision in the making.
struct Decision<'a> {
    question: Question<'a>,
    roles: Vec<&'a str>,
    /// What global patterns say of a column's name, remembered: names repeat.
    globals: HashMap<String, columns::Verdict<'a>>,
    /// The unfiltered catalog by name, for a whole view: a search for each relation would be quadratic.
    unfiltered: Option<HashMap<(&'a str, &'a str), &'a Relation>>,
    reasons: Option<Vec<Reason>>,
    /// Whether what is told now was lifted by a bypass.
    is_lifted: bool,
}

impl<'a> Decision<'a> {
    fn new(question: Question<'a>, explain: bool) -> Self {
        let roles = role_names(question.principal).collect();
        let reasons = explain.then(Vec::new);
        Self { question, roles, globals: HashMap::new(), unfiltered: None, reasons, is_lifted: false }
    }

    fn decide(&mut self, name: &RelationName) -> Result<Entitlement, Denial> {
        let Some(relation) = self.question.catalog.relation(&name.schema, &name.name) else {
            if self.question.policy.drift.gone().contains(name) {
                self.visible(name)?;
            }
            self.because(Subject::Relation, Effect::Takes, None, || {
                "the content filters, or because there is no such relation".to_owned()
            });
            return Err(Denial::Invisible(name.clone()));
        };
        self.decide_on(name, relation)
    }

    /// As [`Self::decide_on`], or the known entitlement where that is the same. Columns are compared by what decides on
    /// them, not one by one, where nothing is said of any.
    fn shared(
        &mut self,
        name: &RelationName,
        relation: &Relation,
        known: Option<&Arc<Entitlement>>,
    ) -> Result<Arc<Entitlement>, Denial> {
        let Some(known) = known else { return self.decide_on(name, relation).map(Arc::new) };
        let model = self.visible(name)?;
        let was_whole = known.columns.len() == relation.columns.len()
            && known.columns.iter().all(|column| column.mask.is_none() && column.writable);
        if was_whole && known.soft_delete.is_none() && self.shows_all_columns(model) {
            let rows = self.rows(name, model)?;
            let writes =
                if known.is_table { self.writes(model) } else { crate::entitlement::WriteRules::default() };
            if rows.condition == known.rows && rows.bypass == known.bypass && writes == known.writes {
                return Ok(Arc::clone(known));
            }
        }
        let decided = self.decide_on(name, relation)?;
        Ok(if decided == **known { Arc::clone(known) } else { Arc::new(decided) })
    }

    /// Whether no rule is about a column.
    fn shows_all_columns(&self, model: Option<&Model>) -> bool {
        let policy = self.question.policy;
        policy.global_deny.is_empty()
            && policy.global_mask.is_empty()
            && model.is_none_or(|model| model.fields.is_empty() && model.other_fields == DefaultAccess::Allow)
    }

    fn decide_on(&mut self, name: &RelationName, relation: &Relation) -> Result<Entitlement, Denial> {
        let model = self.visible(name)?;
        let rows = self.rows(name, model)?;
        let (columns, hidden) = self.columns(name, relation, model);
        let is_table = match relation.kind {
            RelationKind::Table | RelationKind::PartitionedTable | RelationKind::ForeignTable => true,
            RelationKind::View | RelationKind::MaterializedView => false,
        };
        let writes = if is_table { self.writes(model) } else { crate::entitlement::WriteRules::default() };
        let (key, references) = keys(relation);
        let (mut writes, mut soft_delete) = (writes, None);
        if let Some(model) = model.filter(|_| is_table) {
            soft_delete = self.soft_delete(name, relation, model, &mut writes)?;
        }
        let mut entitlement = Entitlement {
            relation: name.clone(),
            columns,
            hidden,
            rows: rows.condition,
            nullable: relation
                .columns
                .iter()
                .filter(|column| column.nullable)
                .map(|column| column.name.clone())
                .collect(),
            key,
            is_table,
            lasting: relation.lasting,
            references,
            writes,
            bypass: rows.bypass,
            soft_delete,
            version: model.and_then(|model| model.version.clone()),
        };
        if matches!(self.question.policy.kind, ConnectionKind::Mysql | ConnectionKind::Lake) {
            lists::pad(&mut entitlement, self.question.principal);
        }
        Ok(entitlement)
    }

    /// Whether the relation exists for the principal, and its model. The catalog has been asked before.
    fn visible(&mut self, name: &RelationName) -> Result<Option<&'a Model>, Denial> {
        // They describe every relation, the hidden ones too, whatever the policy's default is.
        if is_of_the_system(&name.schema) {
            return Err(Denial::Invisible(name.clone()));
        }
        let invisible = || Err(Denial::Invisible(name.clone()));
        if self.question.policy.tenancy.as_ref().is_some_and(|tenancy| !tenancy.has(&name.schema)) {
            self.because(Subject::Relation, Effect::Takes, None, || {
                "the tenancy: it is in no schema of this tenant".to_owned()
            });
            return invisible();
        }
        if let Ruling::Blocked(rule) = ruling(self.question.rules, name, self.question.principal) {
            self.because(Subject::Relation, Effect::Takes, None, || format!("the block rule {}", rule.id));
            return invisible();
        }
        let Some(model) = self.question.policy.models.get(name) else {
            if self.question.policy.default == DefaultAccess::Allow {
                // Its restrictions or joins may rest on what is gone.
                if self.question.policy.drift.suspends(name) {
                    return Err(Denial::Suspended);
                }
                self.because(Subject::Relation, Effect::Gives, None, || "default: allow".to_owned());
                return Ok(None);
            }
            self.because(Subject::Relation, Effect::Takes, None, || "default: deny".to_owned());
            return invisible();
        };
        if !model.allowed || !model.gate.admits(&self.roles) {
            self.because(Subject::Relation, Effect::Takes, Some(model.place), || {
                format!("the model {}, which is not for these roles", model.name)
            });
            return invisible();
        }
        // INVARIANT: only who could see the relation hears that it is suspended; for all others it is missing, as before.
        // Held by the test `only_who_could_see_it_hears_that_a_relation_is_suspended`.
        if self.question.policy.drift.suspends(name) {
            self.because(Subject::Relation, Effect::Takes, Some(model.place), || {
                "the database, which no longer has what the policy rests on".to_owned()
            });
            return Err(Denial::Suspended);
        }
        self.because(Subject::Relation, Effect::Gives, Some(model.place), || {
            format!("the model {}", model.name)
        });
        Ok(Some(model))
    }

    fn because(
        &mut self,
        subject: Subject,
        effect: Effect,
        place: Option<Place>,
        rule: impl FnOnce() -> String,
    ) {
        if let Some(reasons) = &mut self.reasons {
            reasons.push(Reason { subject, effect, rule: rule(), place, clause: None });
        }
    }

    /// The same of a condition on rows. INVARIANT: the condition that is told is the one that was decided with: callers
    /// hand over what they go on with. Held by the test `clauses_come_to_the_decision`.
    fn because_of(
        &mut self,
        effect: Effect,
        place: Option<Place>,
        clause: impl FnOnce() -> Clause,
        rule: impl FnOnce() -> String,
    ) {
        let effect = if self.is_lifted { Effect::Nothing } else { effect };
        if let Some(reasons) = &mut self.reasons {
            reasons.push(Reason {
                subject: Subject::Rows,
                effect,
                rule: rule(),
                place,
                clause: Some(clause()),
            });
        }
    }
}

/// The primary key and the foreign keys.
fn keys(relation: &Relation) -> (Vec<String>, Vec<Reference>) {
    let mut key = Vec::new();
    let mut references = Vec::new();
    for constraint in &relation.constraints {
        match constraint {
            Constraint::Primary { columns } => key.clone_from(columns),
            Constraint::Unique { .. } => {}
            Constraint::Foreign { columns, target_schema, target_relation, target_columns } => {
                references.push(Reference {
                    columns: columns.clone(),
                    target: RelationName::new(target_schema, target_relation),
                    target_columns: target_columns.clone(),
                });
            }
        }
    }
    (key, references)
}
