//! From a [`Document`] to a [`Policy`]: what its texts mean, with every fault found in one go.

mod attributes;
mod models;
pub(crate) mod names;
mod tenancy;

pub(crate) use names::split as split_name;
pub(crate) mod relations;

pub use names::duration;
use std::collections::HashMap;
use std::time::Duration;

use crate::beside::Beside;
use crate::connection::ConnectionKind;
use crate::document::{Budget, Document, Text};
use crate::drift::Drift;
use crate::expression::{Expression, PrincipalPath, RelationName};
use crate::mask::MaskPattern;
use crate::parse::{ParseInvalid, Scope, parse_condition, parse_expression};
use crate::placed::{OneOrMany, Place, Placed};
use crate::policy::{BudgetRule, Gate, Policy, schema_of};
use crate::problem::{PolicyInvalid, Problem};
use crate::tenancy::Realm;

/// Makes a policy, or says all that is wrong.
pub(crate) fn compile(
    file: &str,
    source: &str,
    (document, beside): (&Document, &Beside),
    home: (ConnectionKind, &str),
    tenant: Option<&str>,
) -> Result<Policy, PolicyInvalid> {
    let kind = home.0;
    let (tenancy, problems) = tenancy::tenancy((file, source), document, kind, tenant);
    let in_schemas = tenancy.as_ref().filter(|tenancy| tenancy.realm == Realm::Schema);
    let schema = match in_schemas {
        // Names are those of the template as long as it is nobody's; without one they are in a schema that nothing is in.
        Some(tenancy) => tenant.or(tenancy.template.as_deref()).unwrap_or_else(|| tenancy.name.text()),
        None => schema_of(&document.search_schemas, home),
    };
    let shared = in_schemas.map(|tenancy| tenancy.shared.as_slice());
    let mut compiler = Compiler { file, source, kind, schema, shared, problems };
    let (models, model_names) = compiler.models(document);
    let joins = compiler.joins(&document.joins);
    let restrictions = compiler.restrictions(document);
    let policy = Policy {
        kind,
        connection: document.connection.clone(),
        file: file.to_owned(),
        default: document.default,
        search: in_schemas.map_or_else(|| search(document, home), |it| tenancy::search(it, schema)),
        tenancy: tenancy.clone(),
        functions: compiler.functions(&document.functions),
        attributes: compiler.attributes(document),
        models,
        model_names,
        global_deny: document.global.deny.iter().map(|pattern| pattern.value.to_lowercase()).collect(),
        global_mask: document.global.mask.iter().map(|pattern| global_mask(&pattern.value)).collect(),
        joins,
        restrictions,
        unrestricted: unrestricted(document),
        budgets: compiler.budgets(document.budget.as_ref(), Place::default()),
        beside: beside.clone(),
        cubes: document.cubes.clone(),
        drift: Drift::default(),
        open_writes: false,
    };
    let mut problems = compiler.problems;
    if problems.is_empty() {
        Ok(policy)
    } else {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(PolicyInvalid { problems })
    }
}

struct Compiler<'a> {
    file: &'a str,
    source: &'a str,
    kind: ConnectionKind,
    schema: &'a str,
    /// Where each tenant has a schema: those that the document may name beside it.
    shared: Option<&'a [String]>,
    problems: Vec<Problem>,
}

impl Compiler<'_> {
    fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, place, message));
    }

    fn scope<'s>(&'s self, relation: Option<&'s RelationName>) -> Scope<'s> {
        Scope { relation, kind: self.kind, schema: self.schema }
    }

    /// The condition for this kind of database.
    fn condition(&mut self, text: &Placed<Text>, relation: Option<&RelationName>) -> Option<Expression> {
        let (text, place) = self.of_kind(text)?;
        let parsed = parse_condition(text, self.scope(relation));
        self.parsed(parsed, text, place)
    }

    fn value(&mut self, text: &Placed<Text>, relation: Option<&RelationName>) -> Option<Expression> {
        let (text, place) = self.of_kind(text)?;
        let parsed = parse_expression(text, self.scope(relation));
        self.parsed(parsed, text, place)
    }

    fn of_kind<'t>(&mut self, text: &'t Placed<Text>) -> Option<(&'t str, Place)> {
        let found = text.of(self.kind);
        if found.is_none() {
            self.problem(text.place, "there is no text for this connection's kind of database");
        }
        found
    }

    fn parsed<T>(&mut self, parsed: Result<T, ParseInvalid>, text: &str, place: Place) -> Option<T> {
        parsed
            .map_err(|invalid| {
                let place = names::within(self.source, place, text, invalid.line, invalid.column);
                let mut problem = Problem::new(self.file, place, invalid.message);
                problem.suggestion = invalid.suggestion;
                self.problems.push(problem);
            })
            .ok()
    }

    fn relation(&mut self, name: &Placed<String>) -> Option<RelationName> {
        match names::split(&name.value).as_deref() {
            Some([table]) => Some(RelationName::new(self.schema, table)),
            Some([schema, table]) => {
                self.beside_tenants(schema, name.place);
                Some(RelationName::new(schema, table))
            }
            _ => {
                self.problem(
                    name.place,
                    "a table is named `schema.table` or `table`; quote parts that hold a dot",
                );
                None
            }
        }
    }

    fn relation_column(&mut self, name: &Placed<String>) -> Option<(RelationName, String)> {
        match names::split(&name.value).as_deref() {
            Some([table, column]) => Some((RelationName::new(self.schema, table), column.clone())),
            Some([schema, table, column]) => {
                self.beside_tenants(schema, name.place);
                Some((RelationName::new(schema, table), column.clone()))
            }
            _ => {
                self.problem(name.place, "a column is named `schema.table.column` or `table.column`");
                None
            }
        }
    }

    fn principal_path(&mut self, text: &Placed<String>) -> Option<PrincipalPath> {
        // Parsed as the right side of IN, where lists may stand as well.
        let parsed = parse_condition(&format!("1 IN {}", text.value), self.scope(None));
        if let Ok(Expression::InPrincipal { path, .. }) = parsed {
            return Some(path);
        }
        self.problem(text.place, "a scope is a value of the principal, such as `principal.tenant_id`");
        None
    }

    fn functions(&mut self, functions: &[Placed<String>]) -> Vec<(String, String)> {
        let mut named = Vec::new();
        for function in functions {
            match names::split(&function.value).as_deref() {
                Some([schema, name]) => named.push((schema.clone(), name.clone())),
                _ => self.problem(function.place, "a function is named `schema.function`"),
            }
        }
        named
    }

    fn budgets(&mut self, budgets: Option<&OneOrMany<Budget>>, place: Place) -> Vec<BudgetRule> {
        let budgets = budgets.map_or(&[][..], |budgets| &budgets.0);
        let is_wrong = |budget: &Budget| budget.statement_timeout.is_some() && budget.timeout().is_none();
        if budgets.iter().any(is_wrong) {
            self.problem(place, "`statement_timeout` is a number and its unit: ms, s, m or h");
        }
        let rule = |(number, budget): (usize, &Budget)| BudgetRule {
            gate: gate(budget.roles.as_ref(), &budget.except_roles),
            tenants: budget.tenants.clone(),
            number,
            budget: budget.clone(),
        };
        budgets.iter().enumerate().map(rule).collect()
    }
}

impl Budget {
    /// How long a statement may run.
    pub fn timeout(&self) -> Option<Duration> {
        duration(self.statement_timeout.as_deref()?)
    }
}

fn search(document: &Document, home: (ConnectionKind, &str)) -> Vec<String> {
    if document.search_schemas.is_empty() {
        vec![schema_of(&[], home).to_owned()]
    } else {
        document.search_schemas.clone()
    }
}

fn unrestricted(document: &Document) -> Vec<(String, Place)> {
    let empty = document.restrictions.0.iter().filter(|(_, entries)| entries.is_empty());
    empty.map(|(role, _)| (role.value.clone(), role.place)).collect()
}

fn global_mask(pattern: &str) -> (String, MaskPattern) {
    (pattern.to_lowercase(), MaskPattern::by_name(pattern))
}

fn gate(roles: Option<&Vec<String>>, except: &[String]) -> Gate {
    Gate { roles: roles.cloned(), except: except.to_vec() }
}

type ByRelation<T> = HashMap<RelationName, T>;
