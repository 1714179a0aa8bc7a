//! Expressions of a policy as PostgreSQL's text, over a row that has a name.

use crate::catalog::Catalog;
use crate::expression::{Expression, Literal, PrincipalPath, RelationName, SubQuery};

/// Types whose name is enough for a cast. A column of another type is compared as text.
const PLAIN_TYPES: [&str; 12] = [
    "smallint", "integer", "bigint", "numeric", "text", "character varying", "uuid", "date", "boolean",
    "timestamp with time zone", "timestamp without time zone", "double precision",
];

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn text_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// What an expression is read in.
pub(super) struct Scope<'a> {
    pub(super) catalog: &'a Catalog,
    /// The relation of columns without a qualifier.
    pub(super) relation: &'a RelationName,
    /// What its row is called.
    pub(super) row: &'a str,
    /// Relations of sub-queries around it.
    pub(super) aliases: Vec<(String, RelationName)>,
}

/// The setting of the session that holds the value, as text.
fn setting(name: &str) -> String {
    format!("NULLIF(current_setting('ringfence.{name}', true), '')")
}

/// A value of the principal, as JSON.
pub(super) fn json_of(path: &PrincipalPath) -> String {
    let whole = |name: &str| format!("({}::jsonb)", setting(name));
    match path {
        PrincipalPath::OrgId => format!("to_jsonb({})", setting("org_id")),
        PrincipalPath::TenantId => format!("to_jsonb({})", setting("tenant_id")),
        PrincipalPath::UserId => format!("to_jsonb({})", setting("user_id")),
        PrincipalPath::Agent => format!("to_jsonb({})", setting("agent")),
        PrincipalPath::Roles => whole("roles"),
        PrincipalPath::Permissions => whole("permissions"),
        PrincipalPath::Attribute(parts) => {
            let parts = parts.iter().map(|part| text_literal(part)).collect::<Vec<_>>().join(", ");
            format!("({} #> ARRAY[{parts}]::text[])", whole("attributes"))
        }
        // Of access rules: policies have none.
        PrincipalPath::Variable(name) => {
            let own = json_of(&PrincipalPath::Attribute(vec![name.clone()]));
            match PrincipalPath::built_in(name) {
                Some(built_in) => format!("COALESCE(NULLIF({own}, 'null'::jsonb), {})", json_of(&built_in)),
                None => own,
            }
        }
    }
}

/// The same as a text.
fn text_of(path: &PrincipalPath) -> String {
    match path {
        PrincipalPath::OrgId => setting("org_id"),
        PrincipalPath::TenantId => setting("tenant_id"),
        PrincipalPath::UserId => setting("user_id"),
        PrincipalPath::Agent => setting("agent"),
        PrincipalPath::Roles
        | PrincipalPath::Permissions
        | PrincipalPath::Attribute(_)
        | PrincipalPath::Variable(_) => {
            format!("({} #>> ARRAY[]::text[])", json_of(path))
        }
    }
}

/// The values of a list, one value being a list of one: read once for a statement, not for each row.
pub(super) fn values_of(path: &PrincipalPath, data_type: &str) -> String {
    let json = json_of(path);
    format!(
        "ARRAY(SELECT v::{data_type} FROM jsonb_array_elements_text(CASE jsonb_typeof({json}) WHEN 'array' THEN {json} \
         WHEN 'object' THEN '[]'::jsonb WHEN 'null' THEN '[]'::jsonb ELSE jsonb_build_array({json}) END) AS v)"
    )
}

impl Scope<'_> {
    /// The expression.
    pub(super) fn print(&self, expression: &Expression) -> String {
        match expression {
            Expression::Column { qualifier: None, name } => format!("{}.{}", self.row, identifier(name)),
            Expression::Column { qualifier: Some(alias), name } => {
                format!("{}.{}", identifier(alias), identifier(name))
            }
            Expression::Principal(value) => match value.item {
                None => text_of(&value.path),
                Some(item) => format!("({} ->> {item})", json_of(&value.path)),
            },
            Expression::Literal(literal) => print_literal(literal),
            Expression::Not(operand) => format!("(NOT {})", self.print(operand)),
            Expression::Negate(operand) => format!("(- {})", self.print(operand)),
            Expression::Binary { left, operator, right } => {
                format!("({} {} {})", self.beside(left, right), operator.sql(), self.beside(right, left))
            }
            Expression::Is { operand, test, negated } => {
                format!("({} IS {}{test})", self.print(operand), not(*negated))
            }
            Expression::InList { operand, list, negated } => {
                let list = list.iter().map(|item| self.beside(item, operand)).collect::<Vec<_>>().join(", ");
                format!("({} {}IN ({list}))", self.print(operand), not(*negated))
            }
            Expression::InPrincipal { operand, path, values: _, negated } => {
                let how = if *negated { "<> ALL" } else { "= ANY" };
                let (operand, data_type) = self.compared(operand);
                format!("({operand} {how} ({}))", values_of(path, &data_type))
            }
            Expression::InQuery { operand, query, negated } => {
                format!("({} {}IN ({}))", self.print(operand), not(*negated), self.query(query))
            }
            Expression::Exists { query, negated } => {
                format!("({}EXISTS ({}))", not(*negated), self.query(query))
            }
            Expression::Like { operand, pattern, any_case, negated } => {
                let like = if *any_case { "ILIKE" } else { "LIKE" };
                format!("({} {}{like} {})", self.print(operand), not(*negated), self.print(pattern))
            }
            Expression::Call { function, arguments } => {
                let arguments = arguments.iter().map(|argument| self.print(argument)).collect::<Vec<_>>();
                let constructs = ["coalesce", "nullif", "greatest", "least"];
                let own = if constructs.contains(&function.as_str()) { "" } else { "pg_catalog." };
                let name = if own.is_empty() { function.clone() } else { identifier(function) };
                format!("{own}{name}({})", arguments.join(", "))
            }
            Expression::Cast { operand, to } => format!("CAST({} AS {to})", self.print(operand)),
            Expression::Case { operand, branches, otherwise } => {
                let mut text = "(CASE".to_owned();
                if let Some(operand) = operand {
                    text = format!("{text} {}", self.print(operand));
                }
                for (condition, result) in branches {
                    text = format!("{text} WHEN {} THEN {}", self.print(condition), self.print(result));
                }
                if let Some(otherwise) = otherwise {
                    text = format!("{text} ELSE {}", self.print(otherwise));
                }
                format!("{text} END)")
            }
        }
    }

    /// An operand that stands beside another: a value of the principal gets the other's type.
    fn beside(&self, expression: &Expression, other: &Expression) -> String {
        let printed = self.print(expression);
        match (expression, other) {
            (Expression::Principal(_), Expression::Principal(_)) => printed,
            (Expression::Principal(_), other) => match self.type_of(other) {
                Some(data_type) => format!("({printed})::{data_type}"),
                None => printed,
            },
            (Expression::Column { .. }, Expression::Principal(_)) => self.compared(expression).0,
            _ => printed,
        }
    }

    /// An operand as it is compared with values of the principal, and the type of both.
    pub(super) fn compared(&self, operand: &Expression) -> (String, String) {
        let printed = self.print(operand);
        match self.type_of(operand) {
            Some(data_type) => (printed, data_type),
            None => (format!("({printed})::text"), "text".to_owned()),
        }
    }

    fn type_of(&self, expression: &Expression) -> Option<String> {
        match expression {
            Expression::Column { qualifier, name } => {
                let relation = match qualifier {
                    None => self.relation,
                    Some(alias) => &self.aliases.iter().rev().find(|(known, _)| known == alias)?.1,
                };
                let relation = self.catalog.relation(&relation.schema, &relation.name)?;
                let column = relation.columns.iter().find(|column| column.name == *name)?;
                PLAIN_TYPES.contains(&column.data_type.as_str()).then(|| column.data_type.clone())
            }
            Expression::Literal(Literal::Number(_)) => Some("numeric".to_owned()),
            Expression::Literal(Literal::Text(_)) => Some("text".to_owned()),
            Expression::Cast { operand: _, to } => Some(to.clone()),
            _ => None,
        }
    }

    fn query(&self, query: &SubQuery) -> String {
        let mut aliases = self.aliases.clone();
        aliases.extend(query.from.iter().map(|(relation, alias)| (alias.clone(), relation.clone())));
        let inner = Scope { aliases, ..*self };
        let from = query.from.iter().map(|(relation, alias)| {
            let (schema, name) = (identifier(&relation.schema), identifier(&relation.name));
            format!("{schema}.{name} AS {}", identifier(alias))
        });
        let from = from.collect::<Vec<_>>().join(", ");
        let condition = query.condition.as_ref().map_or_else(|| "true".to_owned(), |it| inner.print(it));
        format!("SELECT {} FROM {from} WHERE {condition}", inner.print(&query.select))
    }
}

fn print_literal(literal: &Literal) -> String {
    match literal {
        Literal::Null => "NULL".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Number(number) => number.clone(),
        Literal::Text(text) => text_literal(text),
    }
}

const fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}
