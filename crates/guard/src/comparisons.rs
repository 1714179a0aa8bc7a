//! Comparisons, tests, and the other expressions that are written in words.

use sqlparser::ast::{BinaryOperator, DataType, Expr, Query, Value, ValueWithSpan};

use crate::dialect::SYMMETRIC;
use crate::expressions::{is_constant, is_text};
use crate::refusal::Refusal;
use crate::rewrite::{Writer, not_admitted};

/// Wildcards in one pattern, where a comparison cannot be stopped.
const MAX_WILDCARDS: usize = 8;

impl Writer<'_> {
    pub(crate) fn in_list(&mut self, operand: &Expr, list: &[Expr], negated: bool) -> Result<(), Refusal> {
        self.compared(operand, list);
        self.text("(");
        self.expression(operand)?;
        self.text(either(negated, " NOT IN ", " IN "));
        self.text("(");
        self.list(list, Self::expression)?;
        self.text("))");
        Ok(())
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
        self.expression(low)?;
        self.text(" AND ");
        self.expression(high)?;
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

/// One of two words.
pub(crate) const fn either(negated: bool, not: &'static str, plain: &'static str) -> &'static str {
    if negated { not } else { plain }
}
