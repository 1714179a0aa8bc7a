//! A policy against the catalog of its connection: names that are not there.
//!
//! Deciding never needs this: an unknown table is invisible and an unknown column fails in the database. But a misspelt
//! column in `fields` protects nothing, so whoever applies a policy should hear of it.

use crate::catalog::{Catalog, Relation};
use crate::connection::ConnectionKind;
use crate::expression::{Expression, RelationName};
use crate::mask::mask_expression;
use crate::placed::Place;
use crate::policy::{Model, Policy, Show};
use crate::problem::Problem;
use crate::rule::RuleKind;

impl Policy {
    /// What the policy names and the catalog, unfiltered, does not have; and masks that can't be made, which hide their column.
    pub fn check(&self, catalog: &Catalog) -> Vec<Problem> {
        let mut check = Check { policy: self, catalog, problems: Vec::new() };
        for model in self.models.values() {
            check.model(model);
        }
        check.attributes();
        check.joins();
        check.restrictions();
        let mut problems = check.problems;
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}

impl RuleKind {
    /// What a filter on the table names and the catalog does not have.
    pub fn check(&self, table: &RelationName, kind: ConnectionKind, catalog: &Catalog) -> Vec<Problem> {
        let policy = Policy::open(kind, Vec::new());
        let mut check = Check { policy: &policy, catalog, problems: Vec::new() };
        let relation = check.relation(table, Place::default());
        if let (Some(relation), Self::Filter(condition)) = (relation, self) {
            check.expression(Some(relation), condition, Place::default());
        }
        check.problems
    }
}

struct Check<'a> {
    policy: &'a Policy,
    catalog: &'a Catalog,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn model(&mut self, model: &Model) {
        let Some(relation) = self.relation(&model.relation, model.place) else { return };
        for (column, _) in &model.scoping {
            self.column(relation, column, model.place);
        }
        for policy in &model.row_policies {
            self.expression(Some(relation), &policy.condition, policy.place);
        }
        for (name, rules) in &model.fields {
            let place = rules.first().map_or(model.place, |rule| rule.place);
            self.column(relation, name, place);
            let Some(column) = relation.columns.iter().find(|column| column.name == *name) else { continue };
            for rule in rules {
                let Show::Masked(mask) = &rule.show else { continue };
                match mask_expression(mask, column, self.policy.kind) {
                    Ok(expression) => self.expression(Some(relation), &expression, rule.place),
                    Err(message) => {
                        let message =
                            format!("the mask of `{name}` can't be made, which hides it: {message}");
                        self.problems.push(Problem::new(&self.policy.file, rule.place, message));
                    }
                }
            }
        }
        for write in &model.writes {
            let rules = &write.rules;
            let listed = rules.immutable.iter().chain(&rules.required).chain(rules.columns.iter().flatten());
            for column in listed.chain(rules.auto_set.iter().map(|(column, _)| column)) {
                self.column(relation, column, write.place);
            }
            for condition in rules.rows.iter().chain(rules.auto_set.iter().map(|(_, set)| &set.accepts)) {
                self.expression(Some(relation), condition, write.place);
            }
        }
        for (_, way) in &model.relations {
            let target = self
                .policy
                .model(&way.model)
                .and_then(|target| self.catalog.relation(&target.relation.schema, &target.relation.name));
            for (here, there) in &way.on {
                self.column(relation, here, model.place);
                if let Some(target) = target {
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

    fn joins(&mut self) {
        for (name, joins) in &self.policy.joins {
            for join in joins {
                if let Some(relation) = self.relation(name, join.place) {
                    self.column(relation, &join.column, join.place);
                }
                if let Some(target) = self.relation(&join.target, join.place) {
                    self.column(target, &join.target_column, join.place);
                }
            }
        }
    }

    fn restrictions(&mut self) {
        for (name, restrictions) in &self.policy.restrictions {
            for restriction in restrictions {
                let Some(relation) = self.relation(name, restriction.place) else { continue };
                self.column(relation, &restriction.column, restriction.place);
                self.expression(Some(relation), &restriction.condition, restriction.place);
            }
        }
    }

    /// Columns of the relation, and relations of sub-queries with theirs.
    fn expression(&mut self, relation: Option<&Relation>, expression: &Expression, place: Place) {
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
                None => relation.is_none_or(|relation| has(relation, &name)),
                // Two sub-queries may have the same alias: one of them having the column is enough for a hint.
                Some(alias) => aliases.iter().filter(|(known, _)| known == alias).any(|(_, relation)| {
                    self.catalog
                        .relation(&relation.schema, &relation.name)
                        .is_none_or(|found| has(found, &name))
                }),
            };
            if !found {
                let message = format!("there is no column `{name}`");
                let known =
                    relation.iter().flat_map(|relation| &relation.columns).map(|column| column.name.as_str());
                self.problems.push(Problem::new(&self.policy.file, place, message).meant(&name, known));
            }
        }
    }

    fn relation(&mut self, name: &RelationName, place: Place) -> Option<&'a Relation> {
        let found = self.catalog.relation(&name.schema, &name.name);
        if found.is_none() {
            let known = self.catalog.schemas.iter().flat_map(|schema| &schema.relations);
            let known = known.map(|relation| relation.name.as_str());
            let problem = Problem::new(&self.policy.file, place, format!("there is no table {name}"));
            self.problems.push(problem.meant(&name.name, known));
        }
        found
    }

    fn column(&mut self, relation: &Relation, name: &str, place: Place) {
        if !has(relation, name) {
            let known = relation.columns.iter().map(|column| column.name.as_str());
            let message = format!("{} has no column `{name}`", relation.name);
            self.problems.push(Problem::new(&self.policy.file, place, message).meant(name, known));
        }
    }
}

fn has(relation: &Relation, column: &str) -> bool {
    relation.columns.iter().any(|known| known.name == column)
}
