//! Comparisons, tests, and the other expressions that are written in words.

use sqlparser::ast::{BinaryOperator, DataType, Expr, Query, Value, ValueWithSpan};

use crate::dialect::SYMMETRIC;
use crate::expressions::{is_constant, is_text};
use crate::lift::LiteralKind;
use crate::refusal::Refusal;
use crate::rewrite::{Slot, Writer, not_admitted};

/// Wildcards in one pattern, where a comparison cannot be stopped.
const MAX_WILDCARDS: usize = 8;

/// Types, as the catalog names them, whose values may be given as a text in a parameter. The database's own, so that no
/// driver has to look one up.
const TYPES_OF_TEXTS: [&str; 14] = [
    "text", "character varying", "character", "uuid", "date", "timestamp without time zone",
    "timestamp with time zone", "smallint", "integer", "bigint", "numeric", "real", "double precision",
    "boolean",
];

impl Writer<'_> {
    pub(crate) fn in_list(&mut self, operand: &Expr, list: &[Expr], negated: bool) -> Result<(), Refusal> {
        self.compared(operand, list);
        self.text("(");
        self.expression(operand)?;
        self.text(either(negated, " NOT IN ", " IN "));
        self.text("(");
        self.list(list, |writer, item| writer.beside(operand, item))?;
        self.text("))");
        Ok(())
    }

    /// What a column is compared with. A literal there becomes a parameter of its own type; a text, which has none,
    /// takes that of the column, which is what it would be read as.
    //
    // INVARIANT: a statement with lifted literals means what it means with them in it. Held by the test
    // `test_the_corpus_means_what_was_asked` of tests/python/guard_printed, by tests/python/guard_corpus, and here by
    // `literals_are_lifted_where_they_may_be`.
    pub(crate) fn beside(&mut self, column: &Expr, operand: &Expr) -> Result<(), Refusal> {
        let Some((index, kind)) = self.liftable(column, operand) else {
            return self.expression(operand);
        };
        let Some(lifted) = self.lifted.get_mut(index).filter(|lifted| !**lifted) else {
            // Written a second time: both places hold what the text says.
            return self.expression(operand);
        };
        *lifted = true;
        self.text("(");
        self.placeholder(Slot::Lifted(index));
        self.text(kind.cast());
        self.text(")");
        Ok(())
    }

    /// The literal's number among all of the statement, from 0, when it may be lifted.
    fn liftable(&self, column: &Expr, operand: &Expr) -> Option<(usize, LiteralKind)> {
        let Expr::Value(ValueWithSpan { value, span }) = operand else { return None };
        if !self.may_lift || span.start.line != 0 {
            return None;
        }
        let index = usize::try_from(span.start.column).ok()?.checked_sub(1)?;
        let kind = self.literals.get(index)?.kind;
        let data_type = self.plain_type(column)?;
        match (value, kind) {
            (Value::Number(..), LiteralKind::Int4 | LiteralKind::Int8 | LiteralKind::Numeric) => {}
            (Value::SingleQuotedString(_), LiteralKind::Text)
                if TYPES_OF_TEXTS.contains(&base_type(&data_type)) => {}
            _ => return None,
        }
        Some((index, kind))
    }

    pub(crate) fn in_query(&mut self, operand: &Expr, query: &Query, negated: bool) -> Result<(), Refusal> {
        self.raises();
        self.text("(");
        self.expression(operand)?;
        self.text(either(negated, " NOT IN ", " IN "));
        self.text("(");
        self.early(|writer| writer.query(query))?;
        self.text("))");
        Ok(())
    }

    pub(crate) fn exists(&mut self, query: &Query, negated: bool) -> Result<(), Refusal> {
        self.text(if negated { "(NOT EXISTS (" } else { "(EXISTS (" });
        self.early(|writer| writer.query(query))?;
        self.text("))");
        Ok(())
    }

    pub(crate) fn between(
        &mut self,
        operand: &Expr,
        negated: bool,
        low: &Expr,
        high: &Expr,
    ) -> Result<(), Refusal> {
        let (low, is_symmetric) = match low {
            Expr::UnaryOp { op: SYMMETRIC, expr: low } => (low.as_ref(), true),
            low => (low, false),
        };
        self.compared(operand, &[low.clone(), high.clone()]);
        self.text("(");
        self.expression(operand)?;
        self.text(either(negated, " NOT BETWEEN ", " BETWEEN "));
        self.text(if is_symmetric { "SYMMETRIC " } else { "" });
        self.beside(operand, low)?;
        self.text(" AND ");
        self.beside(operand, high)?;
        self.text(")");
        Ok(())
    }

    /// A constant is converted when the statement is read, whatever rows there are.
    pub(crate) fn cast(&mut self, operand: &Expr, data_type: &DataType) -> Result<(), Refusal> {
        if !is_constant(operand) {
            self.raises();
        }
        self.text("CAST(");
        self.expression(operand)?;
        self.text(" AS ");
        self.data_type(data_type)?;
        self.text(")");
        Ok(())
    }

    pub(crate) fn row(&mut self, items: &[Expr]) -> Result<(), Refusal> {
        self.raises();
        self.text(if self.dialect.is_postgres() { "ROW(" } else { "(" });
        self.list(items, Self::expression)?;
        self.text(")");
        Ok(())
    }

    pub(crate) fn substring(
        &mut self,
        operand: &Expr,
        from: Option<&Expr>,
        length: Option<&Expr>,
        shorthand: bool,
    ) -> Result<(), Refusal> {
        let function = if shorthand || !self.dialect.is_postgres() { "substr" } else { "substring" };
        let one = Expr::Value(Value::Number("1".to_owned(), false).into());
        match (from, length) {
            (Some(from), Some(length)) => self.special_call(function, &[operand, from, length]),
            (Some(from), None) => self.special_call(function, &[operand, from]),
            (None, Some(length)) => self.special_call(function, &[operand, &one, length]),
            (None, None) => Err(not_admitted("this form of SUBSTRING")),
        }
    }

    pub(crate) fn test(&mut self, operand: &Expr, test: &str) -> Result<(), Refusal> {
        self.text("(");
        self.expression(operand)?;
        self.text(test);
        Ok(())
    }

    pub(crate) fn infix(&mut self, left: &Expr, word: &str, right: &Expr) -> Result<(), Refusal> {
        self.compared(left, std::slice::from_ref(right));
        self.text("(");
        self.expression(left)?;
        self.text(word);
        self.expression(right)?;
        self.text(")");
        Ok(())
    }

    pub(crate) fn like(
        &mut self,
        operand: &Expr,
        word: &str,
        pattern: &Expr,
        escape: Option<&ValueWithSpan>,
    ) -> Result<(), Refusal> {
        // Each wildcard multiplies the work, and nothing stops SQLite within one comparison.
        if !self.dialect.is_postgres()
            && is_text(pattern)
            && pattern.to_string().matches('%').count() > MAX_WILDCARDS
        {
            return Err(not_admitted("a pattern with so many wildcards"));
        }
        if self.dialect.is_lake() && escape.is_some_and(|escape| !is_backslash(&escape.value)) {
            return Err(not_admitted("ESCAPE with another sign than the backslash"));
        }
        self.raises();
        self.text("(");
        self.expression(operand)?;
        self.text(word);
        self.note_operator("LIKE");
        self.expression(pattern)?;
        if let Some(escape) = escape {
            self.text(" ESCAPE ");
            self.value(escape)?;
        } else {
            self.text(self.dialect.like_escape);
        }
        self.text(")");
        Ok(())
    }

    pub(crate) fn quantified(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        word: &str,
        right: &Expr,
    ) -> Result<(), Refusal> {
        let printed = crate::operators::binary(operator)
            .filter(|printed| self.dialect.is_postgres() && self.dialect.operators.contains(printed));
        let printed = printed.ok_or_else(|| not_admitted("this operator with ANY or ALL"))?;
        self.raises();
        self.text("(");
        self.expression(left)?;
        self.text(" ");
        self.text(printed);
        self.text(word);
        match right {
            Expr::Subquery(query) => self.early(|writer| writer.query(query)).map(drop)?,
            right => self.expression(right)?,
        }
        self.text("))");
        Ok(())
    }
}

/// The type without its length or precision.
fn base_type(data_type: &str) -> &str {
    data_type.split_once('(').map_or(data_type, |(base, _)| base.trim_end())
}

/// One of two words.
pub(crate) const fn either(negated: bool, not: &'static str, plain: &'static str) -> &'static str {
    if negated { not } else { plain }
}

fn is_backslash(value: &Value) -> bool {
    matches!(value, Value::SingleQuotedString(text) if text == "\\")
}
