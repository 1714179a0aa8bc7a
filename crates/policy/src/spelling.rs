//! How people read an expression: near to SQL, with the values of the principal by their names.
//!
//! It is for explanations alone. What a database reads is printed by the guard.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use crate::expression::{
    BinaryOperator, Expression, IsTest, Literal, PrincipalPath, PrincipalValue, SubQuery,
};

impl Expression {
    /// What it asks of the principal.
    pub fn principal_paths(&self) -> BTreeSet<PrincipalPath> {
        let mut found = BTreeSet::new();
        self.for_each_part(&mut |part| {
            if let Self::Principal(PrincipalValue { path, .. }) | Self::InPrincipal { path, .. } = part {
                found.insert(path.clone());
            }
        });
        found
    }

    /// The columns of its own relation that it reads.
    pub fn own_columns(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.for_each_part(&mut |part| {
            if let Self::Column { qualifier: None, name } = part {
                found.insert(name.clone());
            }
        });
        found
    }

    /// Whether it stands inside of another without parentheses.
    fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::Column { .. }
                | Self::Principal(_)
                | Self::Literal(_)
                | Self::Call { .. }
                | Self::Cast { .. }
                | Self::Case { .. }
                | Self::Exists { .. }
        )
    }
}

/// An operand, in parentheses unless it can't be read in two ways.
struct Operand<'a>(&'a Expression);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_plain() { self.0.fmt(f) } else { write!(f, "({})", self.0) }
    }
}

/// A name, in quotes where one would stumble over it.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.0.chars().all(is_plain) { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0) }
    }
}

/// A list with commas.
struct Listed<'a>(&'a [Expression]);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { " NOT" } else { "" };
        match self {
            Self::Column { qualifier: Some(qualifier), name } => {
                write!(f, "{}.{}", Name(qualifier), Name(name))
            }
            Self::Column { qualifier: None, name } => Name(name).fmt(f),
            Self::Principal(value) => value.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
            Self::Not(operand) => write!(f, "NOT {}", Operand(operand)),
            Self::Negate(operand) => write!(f, "- {}", Operand(operand)),
            Self::Binary { left, operator, right } => binary(f, left, *operator, right),
            Self::Is { operand, test, negated } => {
                write!(f, "{} IS{} {test}", Operand(operand), not(negated))
            }
            Self::InList { operand, list, negated } => {
                write!(f, "{}{} IN ({})", Operand(operand), not(negated), Listed(list))
            }
            Self::InPrincipal { operand, path, values: _, negated } => {
                write!(f, "{}{} IN {path}", Operand(operand), not(negated))
            }
            Self::InQuery { operand, query, negated } => {
                write!(f, "{}{} IN ({query})", Operand(operand), not(negated))
            }
            Self::Exists { query, negated: true } => write!(f, "NOT EXISTS ({query})"),
            Self::Exists { query, negated: false } => write!(f, "EXISTS ({query})"),
            Self::Like { operand, pattern, any_case, negated } => {
                let like = if *any_case { "ILIKE" } else { "LIKE" };
                write!(f, "{}{} {like} {}", Operand(operand), not(negated), Operand(pattern))
            }
            Self::Call { function, arguments } => write!(f, "{function}({})", Listed(arguments)),
            Self::Cast { operand, to } => write!(f, "CAST({operand} AS {to})"),
            Self::Case { operand, branches, otherwise } => {
                f.write_str("CASE")?;
                if let Some(operand) = operand {
                    write!(f, " {operand}")?;
                }
                for (condition, result) in branches {
                    write!(f, " WHEN {condition} THEN {result}")?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {otherwise}")?;
                }
                f.write_str(" END")
            }
        }
    }
}

/// AND within AND and OR within OR need no parentheses, nor do comparisons within either.
fn binary(
    f: &mut Formatter<'_>,
    left: &Expression,
    operator: BinaryOperator,
    right: &Expression,
) -> fmt::Result {
    let is_junction = |operator| matches!(operator, BinaryOperator::And | BinaryOperator::Or);
    let side = |f: &mut Formatter<'_>, operand: &Expression| match operand {
        Expression::Binary { operator: inner, .. }
            if is_junction(operator) && (*inner == operator || !is_junction(*inner)) =>
        {
            operand.fmt(f)
        }
        Expression::Binary { .. } => write!(f, "({operand})"),
        _ if is_junction(operator) => operand.fmt(f),
        _ => Operand(operand).fmt(f),
    };
    side(f, left)?;
    write!(f, " {} ", operator.sql())?;
    side(f, right)
}

impl Display for SubQuery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { from, select, condition } = self;
        write!(f, "SELECT {} FROM ", outward(select))?;
        for (index, (relation, alias)) in from.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{relation} {}", Name(alias))?;
        }
        match condition {
            Some(condition) => write!(f, " WHERE {}", outward(condition)),
            None => Ok(()),
        }
    }
}

/// Within a sub-query, a column of the relation that the policy is on is `row.column`.
fn outward(expression: &Expression) -> Expression {
    let mut expression = expression.clone();
    expression.for_each_part_mut(&mut |part| {
        if let Expression::Column { qualifier: qualifier @ None, name: _ } = part {
            *qualifier = Some("row".to_owned());
        }
    });
    expression
}

impl Display for PrincipalValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.item {
            Some(item) => write!(f, "{}[{item}]", self.path),
            None => self.path.fmt(f),
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(true) => f.write_str("TRUE"),
            Self::Bool(false) => f.write_str("FALSE"),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

impl Display for IsTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "NULL",
            Self::True => "TRUE",
            Self::False => "FALSE",
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::connection::ConnectionKind;
    use crate::expression::RelationName;
    use crate::parse::{Scope, parse_condition};

    /// What is read again is what was meant.
    #[test]
    fn what_is_spelt_reads_back() {
        let relation = RelationName::new("public", "orders");
        let scope = Scope { relation: Some(&relation), kind: ConnectionKind::Postgresql, schema: "public" };
        for text in [
            "tenant_id = principal.tenant_id",
            "a = 1 OR b = 2 AND NOT c",
            "(a OR b) AND c IS NOT NULL",
            "a - (b - c) = 'it''s'",
            "tenant_id IN principal.attributes.tenants",
            "a NOT IN (1, 2) AND b NOT LIKE 'x%'",
            "id NOT IN (SELECT o.id FROM other o)",
            "CASE WHEN a THEN b ELSE lower(c) = 'x' END",
            "(a IS TRUE) = (b IS NOT FALSE)",
            "CAST(a AS integer) + 1 > - b",
        ] {
            let parsed = parse_condition(text, scope).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
            let spelt = parsed.to_string();
            let again = parse_condition(&spelt, scope).unwrap_or_else(|invalid| panic!("{spelt}: {invalid}"));
            assert_eq!(again, parsed, "{text} became {spelt}");
        }
    }

    #[test]
    fn what_an_expression_reads_is_found() {
        let relation = RelationName::new("public", "orders");
        let scope = Scope { relation: Some(&relation), kind: ConnectionKind::Postgresql, schema: "public" };
        let text = "a = principal.user_id AND EXISTS (SELECT 1 FROM m WHERE m.id = orders.b AND m.c IN principal.roles)";
        let parsed = parse_condition(text, scope).unwrap();
        assert_eq!(parsed.own_columns().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let within = "EXISTS (SELECT 1 FROM public.m m WHERE m.id = row.b AND m.c IN principal.roles)";
        assert_eq!(parsed.to_string(), format!("a = principal.user_id AND {within}"));
        let paths: Vec<String> = parsed.principal_paths().iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["principal.user_id", "principal.roles"]);
    }
}
