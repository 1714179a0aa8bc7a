//! Which literals of an open connection's statement may become parameters: those that a column is compared with, in WHERE
//! and ON of a read. What this does not know it does not look into, and what is there stays as it is written.
//!
//! There no catalog says what a column's type is, and none needs to: a number becomes a parameter of the number's own type,
//! a text one without a type, and for both PostgreSQL finds the operator as it does for the literal.

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, Join, JoinConstraint, JoinOperator, Query, Select, SetExpr, Statement,
    TableFactor, TableWithJoins, Value, ValueWithSpan,
};
use sqlparser::tokenizer::Token;

use crate::admit;
use crate::dialect::Dialect;
use crate::lift::{LiteralKind, Scanned};

/// For each literal whether it may be lifted. `tokens` are those of the text, without white space.
pub(crate) fn liftable(scanned: &Scanned<'_>, tokens: &[Token], dialect: &Dialect) -> Vec<bool> {
    let nothing = vec![false; scanned.literals().len()];
    let has_placeholders = tokens.iter().any(|token| matches!(token, Token::Placeholder(_)));
    if has_placeholders || !scanned.agrees(tokens) || admit::inspect(tokens).is_err() {
        return nothing;
    }
    let Ok(Statement::Query(query)) = admit::parse(tokens.to_vec(), dialect) else { return nothing };
    let mut finder = Finder { scanned, lifted: nothing };
    finder.query(&query);
    finder.lifted
}

struct Finder<'a, 't> {
    scanned: &'a Scanned<'t>,
    lifted: Vec<bool>,
}

impl Finder<'_, '_> {
    fn query(&mut self, query: &Query) {
        for Cte { query, .. } in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.query(query);
        }
        self.body(&query.body);
    }

    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &Select) {
        for TableWithJoins { relation, joins } in &select.from {
            self.factor(relation);
            for Join { relation, join_operator, .. } in joins {
                self.factor(relation);
                if let JoinOperator::Join(JoinConstraint::On(condition))
                | JoinOperator::Inner(JoinConstraint::On(condition))
                | JoinOperator::Left(JoinConstraint::On(condition))
                | JoinOperator::LeftOuter(JoinConstraint::On(condition)) = join_operator
                {
                    self.condition(condition);
                }
            }
        }
        if let Some(selection) = &select.selection {
            self.condition(selection);
        }
    }

    fn factor(&mut self, factor: &TableFactor) {
        if let TableFactor::Derived { subquery, .. } = factor {
            self.query(subquery);
        }
    }

    fn condition(&mut self, condition: &Expr) {
        match condition {
            Expr::Nested(inner) | Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: inner } => {
                self.condition(inner);
            }
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.condition(left);
                self.condition(right);
            }
            Expr::BinaryOp {
                left,
                op:
                    BinaryOperator::Eq
                    | BinaryOperator::NotEq
                    | BinaryOperator::Lt
                    | BinaryOperator::LtEq
                    | BinaryOperator::Gt
                    | BinaryOperator::GtEq,
                right,
            } => {
                self.beside(left, right);
                self.beside(right, left);
            }
            Expr::InList { expr, list, negated: _ } => {
                for item in list {
                    self.beside(expr, item);
                }
            }
            Expr::Between { expr, negated: _, low, high } => {
                self.beside(expr, low);
                self.beside(expr, high);
            }
            Expr::InSubquery { subquery, .. } | Expr::Exists { subquery, .. } => self.query(subquery),
            _ => {}
        }
    }

    fn beside(&mut self, column: &Expr, operand: &Expr) {
        let is_column = matches!(column, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let Expr::Value(ValueWithSpan { value, span }) = operand else { return };
        let index = usize::try_from(span.start.column).ok().and_then(|number| number.checked_sub(1));
        let Some(index) = index.filter(|_| is_column && span.start.line == 0) else { return };
        let kind = self.scanned.literals().get(index).map(|literal| literal.kind);
        let fits = match value {
            Value::Number(..) => kind.is_some_and(|kind| kind != LiteralKind::Text),
            Value::SingleQuotedString(_) => kind == Some(LiteralKind::Text),
            _ => false,
        };
        if let Some(lifted) = self.lifted.get_mut(index) {
            *lifted |= fits;
        }
    }
}
