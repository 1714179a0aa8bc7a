//! A policy against the catalog of its connection: names that are not there, and types that are others than they were.
//!
//! A misspelt column in `fields` protects nothing, and one that was renamed since is protected no more: whoever applies a
//! policy hears of it, and [`crate::drift`] suspends what rests on it.

use crate::catalog::{Catalog, Column, Relation};
use crate::connection::ConnectionKind;
use crate::drift::Footprint;
use crate::expression::{Expression, RelationName};
use crate::lint::{Warning, WarningCode};
use crate::mask::mask_expression;
use crate::placed::Place;
use crate::policy::{Model, Policy, Show};
use crate::problem::Problem;
use crate::rule::RuleKind;

impl Policy {
    /// What the policy names and the catalog, unfiltered, does not have; and masks that can't be made, which hide their
    /// column.
    pub fn check(&self, catalog: &Catalog) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = walk(self, catalog, &Footprint::default())
            .faults
            .into_iter()
            .map(|fault| fault.warning)
            .collect();
        warnings.sort_by_key(|warning| (warning.problem.line, warning.problem.column));
        warnings
    }
}

/// Something that the policy names and that is not there as it names it.
pub(crate) struct Fault {
    /// What is told.
    pub(crate) warning: Warning,
    /// Whether the relation that the warning is about can't be protected as the policy says.
    pub(crate) suspends: bool,
}

/// What came of looking everything up.
pub(crate) struct Looked {
    pub(crate) faults: Vec<Fault>,
    /// Every column that was found, with its type.
    pub(crate) found: Footprint,
}

/// Looks up all that the policy names. Types are held against those of `before`, as far as it has them.
pub(crate) fn walk(policy: &Policy, catalog: &Catalog, before: &Footprint) -> Looked {
    let mut check = Check::new(policy, catalog, before);
    check.attributes();
    for model in policy.models.values() {
        check.subject = Some(model.relation.clone());
        check.model(model);
    }
    check.joins();
    check.restrictions();
    check.looked
}

impl RuleKind {
    /// What a filter on the table names and the catalog does not have.
    pub fn check(&self, table: &RelationName, kind: ConnectionKind, catalog: &Catalog) -> Vec<Problem> {
        let policy = Policy::open(kind, Vec::new());
        let before = Footprint::default();
        let mut check = Check::new(&policy, catalog, &before);
        check.subject = Some(table.clone());
        let named = check.relation(table, Place::default());
        if let (Some(named), Self::Filter(condition)) = (named, self) {
            check.expression(Some(&named), condition, Place::default());
        }
        check.looked.faults.into_iter().map(|fault| fault.warning.problem).collect()
    }
}

struct Check<'a> {
    policy: &'a Policy,
    catalog: &'a Catalog,
    before: &'a Footprint,
    /// The relation whose protection rests on what is looked up; `None` when none does.
    subject: Option<RelationName>,
    looked: Looked,
}

/// A relation of the catalog.
#[derive(Clone)]
struct Named<'a> {
    name: RelationName,
    relation: &'a Relation,
}

impl<'a> Check<'a> {
    fn new(policy: &'a Policy, catalog: &'a Catalog, before: &'a Footprint) -> Self {
        let looked = Looked { faults: Vec::new(), found: Footprint::default() };
        Check { policy, catalog, before, subject: None, looked }
    }

    fn fault(&mut self, code: WarningCode, problem: Problem, suspends: bool) {
        let warning = Warning { code, relation: self.subject.clone(), problem };
        self.looked.faults.push(Fault { warning, suspends: suspends && self.subject.is_some() });
    }

    fn model(&mut self, model: &Model) {
        let Some(named) = self.relation(&model.relation, model.place) else { return };
        for (column, _) in &model.scoping {
            self.column(&named, column, model.place);
        }
        for policy in &model.row_policies {
            self.expression(Some(&named), &policy.condition, policy.place);
        }
        if let Some(column) = &model.version {
            self.column(&named, column, model.place);
        }
        self.fields(model, &named);
        for write in &model.writes {
            let rules = &write.rules;
            let listed = rules.immutable.iter().chain(&rules.required).chain(rules.columns.iter().flatten());
            for column in listed.chain(rules.auto_set.iter().map(|(column, _)| column)) {
                self.column(&named, column, write.place);
            }
            for condition in rules.rows.iter().chain(rules.auto_set.iter().map(|(_, set)| &set.accepts)) {
                self.expression(Some(&named), condition, write.place);
            }
        }
        // Ways to other models protect nothing.
        self.subject = None;
        for (_, way) in &model.relations {
            let target = self.policy.model(&way.model).and_then(|target| self.find(&target.relation));
            for (here, there) in &way.on {
                self.column(&named, here, model.place);
                if let Some(target) = &target {
                    self.column(target, there, model.place);
                }
            }
        }
    }

    fn attributes(&mut self) {
        for attribute in self.policy.attributes.values() {
            // Checked as what it could stand in: `TRUE IN (SELECT ...)`.
            let query = Box::new(attribute.query.clone());
            let whole =
                Expression::InQuery { operand: Box::new(Expression::truth(true)), query, negated: false };
            self.expression(None, &whole, attribute.place);
        }
    }

    fn fields(&mut self, model: &Model, named: &Named<'a>) {
        for (name, rules) in &model.fields {
            let place = rules.first().map_or(model.place, |rule| rule.place);
            let Some(column) = self.column(named, name, place) else { continue };
            for rule in rules {
                let Show::Masked(mask) = &rule.show else { continue };
                match mask_expression(mask, column, self.policy.kind) {
                    Ok(expression) => self.expression(Some(named), &expression, rule.place),
                    Err(message) => {
                        let message =
                            format!("the mask of `{name}` can't be made, which hides it: {message}");
                        let problem = Problem::new(&self.policy.file, rule.place, message);
                        self.fault(WarningCode::MaskImpossible, problem, false);
                    }
                }
            }
        }
    }

    fn joins(&mut self) {
        for (name, joins) in &self.policy.joins {
            for join in joins {
                self.subject = join.inherit.then(|| name.clone());
                if let Some(named) = self.relation(name, join.place) {
                    self.column(&named, &join.column, join.place);
                }
                if let Some(target) = self.relation(&join.target, join.place) {
                    self.column(&target, &join.target_column, join.place);
                }
            }
        }
    }

    fn restrictions(&mut self) {
        for (name, restrictions) in &self.policy.restrictions {
            self.subject = Some(name.clone());
            for restriction in restrictions {
                let Some(named) = self.relation(name, restriction.place) else { continue };
                self.column(&named, &restriction.column, restriction.place);
                self.expression(Some(&named), &restriction.condition, restriction.place);
            }
        }
    }

    /// Columns of the relation, and relations of sub-queries with theirs.
    fn expression(&mut self, named: Option<&Named<'a>>, expression: &Expression, place: Place) {
        let mut aliases: Vec<(String, RelationName)> = Vec::new();
        let mut columns: Vec<(Option<String>, String)> = Vec::new();
        expression.for_each_part(&mut |part| match part {
            Expression::Column { qualifier, name } => columns.push((qualifier.clone(), name.clone())),
            Expression::InQuery { query, .. } | Expression::Exists { query, .. } => {
                aliases.extend(query.from.iter().map(|(relation, alias)| (alias.clone(), relation.clone())));
            }
            _ => {}
        });
        for (_, name) in &aliases {
            self.relation(name, place);
        }
        for (qualifier, name) in columns {
            let found = match &qualifier {
                None => named.is_none_or(|named| self.sees(named, &name, place)),
                // Two sub-queries may have the same alias: one of them having the column is enough for a hint.
                Some(alias) => {
                    let meant = aliases.iter().filter(|(known, _)| known == alias);
                    let all: Vec<bool> = meant
                        .map(|(_, relation)| {
                            self.find(relation).is_none_or(|named| self.sees(&named, &name, place))
                        })
                        .collect();
                    all.contains(&true)
                }
            };
            if !found {
                let message = format!("there is no column `{name}`");
                let known = named.iter().flat_map(|named| &named.relation.columns);
                let known = known.map(|column| column.name.as_str());
                let problem = Problem::new(&self.policy.file, place, message).meant(&name, known);
                self.fault(WarningCode::NameUnknown, problem, true);
            }
        }
    }

    fn find(&self, name: &RelationName) -> Option<Named<'a>> {
        let relation = self.catalog.relation(&name.schema, &name.name)?;
        Some(Named { name: name.clone(), relation })
    }

    fn relation(&mut self, name: &RelationName, place: Place) -> Option<Named<'a>> {
        let found = self.find(name);
        if found.is_none() && !self.policy.is_unknown_yet(&name.schema) {
            let known = self.catalog.schemas.iter().flat_map(|schema| &schema.relations);
            let known = known.map(|relation| relation.name.as_str());
            let problem = Problem::new(&self.policy.file, place, format!("there is no table {name}"));
            self.fault(WarningCode::NameUnknown, problem.meant(&name.name, known), true);
        }
        found
    }

    fn column(&mut self, named: &Named<'a>, name: &str, place: Place) -> Option<&'a Column> {
        let found = named.relation.columns.iter().find(|known| known.name == name);
        if found.is_none() {
            let known = named.relation.columns.iter().map(|column| column.name.as_str());
            let message = format!("{} has no column `{name}`", named.relation.name);
            let problem = Problem::new(&self.policy.file, place, message).meant(name, known);
            self.fault(WarningCode::NameUnknown, problem, true);
        }
        self.sees(named, name, place);
        found
    }

    /// Whether the relation has the column; what it is, is written down, and held against what it was.
    fn sees(&mut self, named: &Named<'a>, name: &str, place: Place) -> bool {
        let Some(column) = named.relation.columns.iter().find(|known| known.name == name) else {
            return false;
        };
        if let Some(before) = self.before.type_of(&named.name, name)
            && !before.eq_ignore_ascii_case(&column.data_type)
        {
            let message = format!(
                "the column `{name}` of {} was of type {before} when the policy was put, and is of type {} now",
                named.name, column.data_type
            );
            let mut problem = Problem::new(&self.policy.file, place, message);
            problem.suggestion =
                Some("look whether the policy still says what it should, and put it again".to_owned());
            self.fault(WarningCode::TypeChanged, problem, true);
        }
        self.looked.found.put(&named.name, name, &column.data_type);
        true
    }
}
