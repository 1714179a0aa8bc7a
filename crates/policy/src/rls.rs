//! A policy as PostgreSQL's own row-level security: a second wall for a role that reads the tables without Ringfence.
//!
//! Row-level security says which rows a role reads. It can't mask, can't hide a column from some principals of one role, has
//! nothing for views, and knows no approvals or budgets. What it can't say is refused, or, when the caller asks for that,
//! withheld: the role then gets less than the policy gives, never more. Only reading is compiled.
//!
//! The principal's values come from settings of the session: `ringfence.org_id`, `ringfence.tenant_id`, `ringfence.user_id`
//! and `ringfence.agent` as text, `ringfence.roles` (product roles and data roles), `ringfence.permissions` and `ringfence.attributes` as JSON.
//! [`rows`] writes the predicates, [`mod@print`] the expressions in them.

mod print;
mod rows;

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Relation, RelationKind};
use crate::connection::ConnectionKind;
use crate::decide::is_of_the_system;
use crate::document::DefaultAccess;
use crate::expression::RelationName;
use crate::filter::wildcard_matches;
use crate::placed::Place;
use crate::policy::{Model, Policy, Show};
use crate::problem::Problem;

use print::{identifier, text_literal};
use rows::Rows;

/// The schema of the functions that look at rows which the role may not read.
const SCHEMA: &str = "ringfence_rls";
const POLICY: &str = "ringfence_read";
/// PostgreSQL cuts longer names, so that two could become one.
const LONGEST_NAME: usize = 63;

/// Why something of a policy is not said by row-level security.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`name` says what each is")]
pub enum UnsaidCode {
    OtherDatabase,
    NameUnknown,
    Mask,
    ColumnByRole,
    View,
    Writes,
    QueriedAttribute,
}

impl UnsaidCode {
    /// As people and programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherDatabase => "RLS_OTHER_DATABASE",
            Self::NameUnknown => "RLS_NAME_UNKNOWN",
            Self::Mask => "RLS_MASK",
            Self::ColumnByRole => "RLS_COLUMN_BY_ROLE",
            Self::View => "RLS_VIEW",
            Self::Writes => "RLS_WRITES",
            Self::QueriedAttribute => "RLS_QUERIED_ATTRIBUTE",
        }
    }

    /// Whether the role can do without, and is given less.
    const fn can_be_withheld(self) -> bool {
        match self {
            Self::Mask | Self::ColumnByRole | Self::View | Self::Writes => true,
            Self::OtherDatabase | Self::NameUnknown | Self::QueriedAttribute => false,
        }
    }
}

/// Something of the policy that row-level security can't say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaid {
    /// What kind of thing.
    pub code: UnsaidCode,
    /// Where, and what.
    pub problem: Problem,
}

/// What came of compiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledRls {
    /// To be run by a superuser; empty when something is refused.
    pub sql: String,
    /// Why nothing is compiled.
    pub refused: Vec<Unsaid>,
    /// What the role does not get although the policy gives it.
    pub withheld: Vec<Unsaid>,
}

/// Compiles the policy for a role that reads. With `withhold`, what can't be said is kept from the role instead of refused.
pub fn compile_rls(policy: &Policy, catalog: &Catalog, role: &str, withhold: bool) -> CompiledRls {
    let (unsaid, sql) = (Vec::new(), String::new());
    let mut compiler = Compiler { policy, name: role, role: identifier(role), functions: 0, unsaid, sql };
    compiler.compile(catalog);
    let mut unsaid = compiler.unsaid;
    unsaid.sort_by(|one, other| {
        let key = |unsaid: &Unsaid| (unsaid.problem.line, unsaid.problem.column, unsaid.code);
        key(one).cmp(&key(other)).then_with(|| one.problem.message.cmp(&other.problem.message))
    });
    unsaid.dedup();
    let (kept_back, refused): (Vec<Unsaid>, Vec<Unsaid>) =
        unsaid.into_iter().partition(|unsaid| withhold && unsaid.code.can_be_withheld());
    let sql = if refused.is_empty() { compiler.sql } else { String::new() };
    CompiledRls { sql, refused, withheld: kept_back }
}

struct Compiler<'a> {
    policy: &'a Policy,
    /// The role, and the same as SQL names it.
    name: &'a str,
    role: String,
    /// How many functions there are.
    functions: usize,
    unsaid: Vec<Unsaid>,
    sql: String,
}

impl Compiler<'_> {
    fn unsaid(&mut self, code: UnsaidCode, place: Place, message: String) {
        self.unsaid.push(Unsaid { code, problem: Problem::new(&self.policy.file, place, message) });
    }

    fn line(&mut self, line: &str) {
        self.sql.push_str(line);
        self.sql.push('\n');
    }

    fn compile(&mut self, catalog: &Catalog) {
        if self.policy.kind != ConnectionKind::Postgresql {
            let message = "row-level security is PostgreSQL's: the policy is for another database".to_owned();
            self.unsaid(UnsaidCode::OtherDatabase, Place::default(), message);
            return;
        }
        for (name, attribute) in &self.policy.attributes {
            let message =
                format!("the attribute `{name}` is read by a query, which no session setting holds");
            self.unsaid(UnsaidCode::QueriedAttribute, attribute.place, message);
        }
        for warning in self.policy.check(catalog) {
            if warning.code == crate::lint::WarningCode::NameUnknown {
                self.unsaid.push(Unsaid { code: UnsaidCode::NameUnknown, problem: warning.problem });
            }
        }
        self.head();
        for schema in catalog.schemas.iter().filter(|schema| !is_of_the_system(&schema.name)) {
            let mut granted = false;
            for relation in &schema.relations {
                let name = RelationName::new(&schema.name, &relation.name);
                let model = self.policy.models.get(&name);
                let is_named =
                    model.map_or(self.policy.default == DefaultAccess::Allow, |model| model.allowed);
                if is_named {
                    granted |= self.relation(&name, relation, model, catalog);
                }
            }
            if granted {
                self.line(&format!("GRANT USAGE ON SCHEMA {} TO {};", identifier(&schema.name), self.role));
            }
        }
        self.line("COMMIT;");
    }

    fn head(&mut self) {
        let role = self.role.clone();
        for line in [
            "-- A Ringfence policy as row-level security. Run it as a superuser (or a role with BYPASSRLS that owns the tables):",
            "-- the functions in ringfence_rls read as their owner. FORCE binds the tables' owner too, unless it has BYPASSRLS.",
            "-- The role reads what the session's settings say it may; whoever can SET them is whoever they say:",
            "--   SET ringfence.org_id = 'acme'; SET ringfence.tenant_id = 'berlin'; SET ringfence.user_id = 'ann';",
            "--   SET ringfence.roles = '[\"api-user\"]'; SET ringfence.permissions = '[]'; SET ringfence.attributes = '{}';",
            "BEGIN;",
            "SET LOCAL search_path = pg_catalog;",
        ] {
            self.line(line);
        }
        let exists = text_literal(self.name);
        self.line(&format!(
            "DO $do$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = {exists} AND (rolsuper OR rolbypassrls)) THEN \
             RAISE EXCEPTION 'the role bypasses row-level security'; END IF; END $do$;"
        ));
        self.line(&format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA};"));
        self.line(&format!("GRANT USAGE ON SCHEMA {SCHEMA} TO {role};"));
    }

    /// Whether the role reads something of the relation.
    fn relation(
        &mut self,
        name: &RelationName,
        relation: &Relation,
        model: Option<&Model>,
        catalog: &Catalog,
    ) -> bool {
        let place = model.map_or_else(Place::default, |model| model.place);
        match relation.kind {
            RelationKind::Table | RelationKind::PartitionedTable => {}
            RelationKind::View | RelationKind::MaterializedView | RelationKind::ForeignTable => {
                let message = format!("{name} is no table: row-level security has nothing for it");
                self.unsaid(UnsaidCode::View, place, message);
                return false;
            }
        }
        if model.is_some_and(|model| !model.writes.is_empty()) {
            let message = format!("what may be changed of {name} is not compiled: the role only reads");
            self.unsaid(UnsaidCode::Writes, place, message);
        }
        let columns = self.columns(name, relation, model);
        let mut rows = Rows::of(self.policy, catalog);
        let table = format!("{}.{}", identifier(&name.schema), identifier(&name.name));
        let predicate = rows.predicate(name, &identifier(&name.name));
        self.line("");
        let using = if rows.has_queries {
            let mut rows = Rows::of(self.policy, catalog);
            let body = rows.predicate(name, "(r)");
            self.functions = self.functions.saturating_add(1);
            let mut function = format!("{}.{}", name.schema, name.name);
            if function.len() > LONGEST_NAME {
                function = format!("rows_{}", self.functions);
            }
            let function = format!("{SCHEMA}.{}", identifier(&function));
            let mut tag = "$ringfence$".to_owned();
            while body.contains(&tag) {
                tag = format!("$r{}", tag.trim_start_matches('$'));
            }
            self.line(&format!(
                "CREATE OR REPLACE FUNCTION {function}(r {table}) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER\n  \
                 SET search_path = pg_catalog, pg_temp AS {tag} SELECT {body} {tag};"
            ));
            self.line(&format!("REVOKE ALL ON FUNCTION {function}({table}) FROM PUBLIC;"));
            self.line(&format!("GRANT EXECUTE ON FUNCTION {function}({table}) TO {};", self.role));
            format!("{function}({}.*)", identifier(&name.name))
        } else {
            predicate
        };
        self.line(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"));
        self.line(&format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"));
        self.line(&format!("DROP POLICY IF EXISTS {POLICY} ON {table};"));
        self.line(&format!("CREATE POLICY {POLICY} ON {table} FOR SELECT TO {} USING ({using});", self.role));
        self.line(&format!("REVOKE ALL ON {table} FROM {};", self.role));
        if columns.is_empty() {
            return false;
        }
        let columns = columns.iter().map(|column| identifier(column)).collect::<Vec<_>>().join(", ");
        self.line(&format!("GRANT SELECT ({columns}) ON {table} TO {};", self.role));
        true
    }

    /// The columns that everybody who sees the relation reads in clear.
    fn columns(&mut self, name: &RelationName, relation: &Relation, model: Option<&Model>) -> Vec<String> {
        let mut plain = Vec::new();
        for column in &relation.columns {
            let column = &column.name;
            let matches = |pattern: &str| wildcard_matches(pattern, column, true);
            if self.policy.global_deny.iter().any(|pattern| matches(pattern)) {
                continue;
            }
            let rules = model.and_then(|model| Some((model, model.fields.get(column)?)));
            let Some((model, rules)) = rules else {
                let is_hidden = model.is_some_and(|model| model.other_fields == DefaultAccess::Deny);
                if self.policy.global_mask.iter().any(|(pattern, _)| matches(pattern)) {
                    let place = model.map_or_else(Place::default, |model| model.place);
                    self.unsaid(UnsaidCode::Mask, place, masked(name, column));
                } else if !is_hidden {
                    plain.push(column.clone());
                }
                continue;
            };
            let place = rules.first().map_or(model.place, |rule| rule.place);
            if rules.iter().all(|rule| matches!(rule.show, Show::Hidden)) {
                continue;
            }
            if rules.iter().any(|rule| matches!(rule.show, Show::Masked(_))) {
                self.unsaid(UnsaidCode::Mask, place, masked(name, column));
                continue;
            }
            let is_for_all =
                |roles: &Option<Vec<String>>, except: &[String]| roles.is_none() && except.is_empty();
            match rules.first() {
                Some(rule) if is_for_all(&rule.gate.roles, &rule.gate.except) => {
                    if matches!(rule.show, Show::Plain) {
                        plain.push(column.clone());
                    }
                }
                _ => {
                    let message = format!(
                        "who reads `{column}` of {name} depends on roles, and a grant is for one role"
                    );
                    self.unsaid(UnsaidCode::ColumnByRole, place, message);
                }
            }
        }
        plain
    }
}

fn masked(name: &RelationName, column: &str) -> String {
    format!("`{column}` of {name} is masked, and a grant gives a column or does not")
}

/// Names of the roles that a condition asks for, as an array.
fn array_of(roles: &BTreeSet<&str>) -> String {
    let listed = roles.iter().map(|role| text_literal(role)).collect::<Vec<_>>().join(", ");
    format!("ARRAY[{listed}]::text[]")
}
