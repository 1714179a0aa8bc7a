//! Rows that a statement proposes, checked before the database compares their keys with those of rows that may be hidden:
//! so neither ON CONFLICT nor an error about a key tells of what the principal could not have written.
//!
//! The check raises an error of a text that the engine knows. It stands in the statement's own values, because those are
//! computed before any row is put in; what the rows become is checked afterwards all the same ([`crate::writes`]).

use ringfence_policy::expression::BinaryOperator;
use ringfence_policy::{Entitlement, Expression};
use sqlparser::ast::{Expr, Value, ValueWithSpan, Values};

use crate::conditions::names_any;
use crate::expressions::TARGET;
use crate::inserts::Columns;
use crate::refusal::Refusal;
use crate::rewrite::{Writer, not_admitted};
use crate::writes::{is_default, writable_rows};

/// What the error says that a proposed row raises which may not be written.
pub const REFUSED: &str = "_rf_refused";
/// How the proposed rows are called.
const PROPOSED: &str = "_rf_p";
/// How the query is called whose rows are inserted.
pub(crate) const QUERY: &str = "_rf_q";
/// Functions that answer otherwise when they are asked again.
const VOLATILE: &[&str] = &["random", "randomblob", "gen_random_uuid", "clock_timestamp"];

/// What proposed rows must fulfil.
#[derive(Debug, Default)]
pub(crate) struct Proposal {
    /// Over columns whose values the statement tells.
    checked: Vec<Expression>,
    columns: Vec<String>,
    /// Over others as well, which are left to their defaults. A row of `excluded` has those too.
    pub(crate) left: Vec<Expression>,
}

impl Proposal {
    pub(crate) fn is_empty(&self) -> bool {
        self.checked.is_empty()
    }
}

impl Writer<'_> {
    /// What rows must fulfil of which the caller gives some columns and the statement tells some.
    pub(crate) fn proposal(&mut self, target: &Entitlement, given: &[String], told: &[String]) -> Proposal {
        let mut proposal = Proposal::default();
        let mut conditions = Vec::new();
        conjuncts(&writable_rows(target), &mut conditions);
        for (_, set) in target.writes.auto_set.iter().filter(|(column, _)| given.contains(column)) {
            conjuncts(&set.accepts, &mut conditions);
        }
        let all = || target.columns.iter().map(|column| &column.name).chain(&target.hidden);
        for condition in conditions {
            let read: Vec<String> = all()
                .filter(|column| names_any(&condition, std::slice::from_ref(*column)))
                .cloned()
                .collect();
            let is_new = !proposal.checked.contains(&condition) && !proposal.left.contains(&condition);
            // One that reads no column says of every row that it may not be written: so it is asked as well.
            if !is_new || !(read.is_empty() || read.iter().any(|column| given.contains(column))) {
                continue;
            }
            if read.iter().all(|column| told.contains(column)) {
                proposal.checked.push(condition);
                proposal.columns.extend(read);
            } else {
                proposal.left.push(condition);
            }
        }
        let Proposal { checked, left, .. } = &mut proposal;
        left.retain(|condition| !is_implied(condition, checked));
        let matters = |columns: &[String]| columns.iter().any(|column| given.contains(column));
        let is_told = |columns: &[String]| columns.iter().all(|column| told.contains(column));
        let whole = self.references(target, PROPOSED, |columns| matters(columns) && is_told(columns));
        if !whole.is_empty() {
            let references = target.references.iter().map(|reference| &reference.columns);
            proposal.columns.extend(references.filter(|c| matters(c) && is_told(c)).flatten().cloned());
        }
        proposal.checked.extend(whole);
        let parts = self.references(target, "excluded", |columns| matters(columns) && !is_told(columns));
        proposal.left.extend(parts);
        proposal.columns.sort_unstable();
        proposal.columns.dedup();
        if proposal.columns.is_empty() {
            match given.iter().find(|column| told.contains(column)) {
                Some(column) => proposal.columns.push(column.clone()),
                None => proposal.left.append(&mut proposal.checked),
            }
        }
        proposal
    }

    /// The same for the rows of VALUES.
    pub(crate) fn proposal_of_rows(
        &mut self,
        values: &Values,
        columns: &Columns,
        target: &Entitlement,
    ) -> Proposal {
        let defaults =
            |place: usize| values.rows.iter().map(move |row| row.content.get(place).is_none_or(is_default));
        let is_set = |column: &String| target.writes.auto_set.iter().any(|(set, _)| set == column);
        let mut given = Vec::new();
        let mut told = columns.added_names(target);
        for (place, column) in columns.given.iter().enumerate() {
            if !defaults(place).all(|is_default| is_default) {
                given.push(column.clone());
            }
            if is_set(column) || !defaults(place).any(|is_default| is_default) {
                told.push(column.clone());
            }
        }
        self.proposal(target, &given, &told)
    }

    /// A value of the first row of VALUES, which is computed before any row is put in: with the check of them all.
    pub(crate) fn value_that_checks(
        &mut self,
        value: &Expr,
        column: &str,
        proposal: &Proposal,
        (values, columns, target): (&Values, &Columns, &Entitlement),
    ) -> Result<(), Refusal> {
        let is_sqlite = self.dialect.is_sqlite();
        self.text(if is_sqlite { "CASE WHEN " } else { "CASE WHEN CASE WHEN " });
        let known = self.functions.len();
        self.refused(proposal, target, |writer| {
            writer.text(" FROM (VALUES ");
            let mut is_first = true;
            writer.list(&values.rows, |writer, row| {
                writer.text("(");
                writer.list(&proposal.columns, |writer, column| {
                    writer.told_value(&row.content, column, columns, target, is_first)
                })?;
                writer.text(")");
                is_first = false;
                Ok(())
            })?;
            writer.text(") AS \"_rf_v\"");
            Ok(())
        })?;
        let called = self.functions.get(known..).unwrap_or_default();
        if called.iter().any(|name| VOLATILE.contains(&name.as_str()) || name.contains('.')) {
            return Err(not_admitted("a random value in a column that the policy looks at"));
        }
        self.text(" THEN ");
        self.refuse();
        self.text(if is_sqlite { " ELSE " } else { " ELSE TRUE END THEN " });
        self.typed(target, column, |writer| writer.expression(value))?;
        self.text(" END");
        Ok(())
    }

    fn told_value(
        &mut self,
        row: &[Expr],
        column: &String,
        columns: &Columns,
        target: &Entitlement,
        is_first: bool,
    ) -> Result<(), Refusal> {
        let given = columns.given.iter().zip(row).find(|(known, _)| *known == column);
        let set = target.writes.auto_set.iter().find(|(known, _)| known == column);
        let write = |writer: &mut Self| match (given, set) {
            (Some((_, value)), _) if !is_default(value) => writer.expression(value),
            (_, Some((_, set))) => writer.policy(&set.value, TARGET),
            _ => Err(Refusal::NotVerified),
        };
        if is_first { self.typed(target, column, write) } else { write(self) }
    }

    /// ` WHERE` the row of the query may be written, and an error where not.
    pub(crate) fn rows_that_check(
        &mut self,
        proposal: &Proposal,
        target: &Entitlement,
    ) -> Result<(), Refusal> {
        self.text(" WHERE CASE WHEN ");
        self.refused(proposal, target, |writer| {
            // One row, from the row around it.
            writer.text(" FROM (SELECT ");
            let mut place = 0_usize;
            writer.list(&proposal.columns, |writer, column| {
                place = place.saturating_add(1);
                writer.qualified(QUERY, column);
                writer.text(&format!(" AS column{place}"));
                Ok(())
            })?;
            writer.text(") AS \"_rf_v\"");
            Ok(())
        })?;
        self.text(" THEN ");
        self.refuse();
        self.text(" ELSE TRUE END");
        Ok(())
    }

    /// Whether a row of what `rows` writes, whose columns are called `column1` and so on, may not be written.
    fn refused(
        &mut self,
        proposal: &Proposal,
        target: &Entitlement,
        rows: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.text("EXISTS (SELECT 1 FROM (SELECT ");
        let mut place = 0_usize;
        self.list(&proposal.columns, |writer, column| {
            place = place.saturating_add(1);
            writer.as_stored(&format!("column{place}"), column, target);
            writer.text(" AS ");
            writer.name(column);
            Ok(())
        })?;
        rows(self)?;
        self.text(") AS ");
        self.name(PROPOSED);
        self.text(" WHERE ");
        self.fails(&proposal.checked, PROPOSED)?;
        self.text(")");
        Ok(())
    }

    /// ` (conditions) IS NOT TRUE`.
    pub(crate) fn fails(&mut self, conditions: &[Expression], alias: &str) -> Result<(), Refusal> {
        self.all(conditions, alias)?;
        self.text(" IS NOT TRUE");
        Ok(())
    }

    /// `(condition AND condition)`.
    pub(crate) fn all(&mut self, conditions: &[Expression], alias: &str) -> Result<(), Refusal> {
        self.text("(");
        for (index, condition) in conditions.iter().enumerate() {
            self.text(if index > 0 { " AND " } else { "" });
            self.policy(condition, alias)?;
        }
        self.text(")");
        Ok(())
    }

    /// Ends the statement with an error that says [`REFUSED`]. It has the type of a condition.
    pub(crate) fn refuse(&mut self) {
        if self.dialect.is_sqlite() {
            self.functions.push("json_extract".to_owned());
            self.text("json_extract('{}', ");
            self.string(REFUSED);
            self.text(")");
        } else {
            // A query, so that no planner computes it before it is asked for.
            self.text("CAST((SELECT ");
            self.string(REFUSED);
            self.text(") AS boolean)");
        }
    }

    /// A value that takes the type of the column, as it would in the list of an INSERT.
    pub(crate) fn typed(
        &mut self,
        target: &Entitlement,
        column: &str,
        value: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if !self.dialect.is_postgres() {
            return value(self);
        }
        let data_type = target.columns.iter().find(|known| known.name == column);
        if data_type.is_some_and(|known| matches!(known.data_type.as_str(), "text" | "character varying")) {
            // These take values of every type.
            self.text("CAST(");
            value(self)?;
            self.text(" AS text)");
            return Ok(());
        }
        self.text("CASE WHEN TRUE THEN ");
        value(self)?;
        self.text(" ELSE (SELECT \"_rf_n\".");
        self.name(column);
        self.text(" FROM ");
        self.relation_name(&target.relation);
        self.text(" AS \"_rf_n\" WHERE FALSE) END");
        Ok(())
    }

    /// What becomes of the value in the column: SQLite stores digits as a number where the column is for numbers.
    fn as_stored(&mut self, value: &str, column: &str, target: &Entitlement) {
        let declared = target.columns.iter().find(|known| known.name == column);
        let declared = declared.map(|known| known.data_type.to_ascii_uppercase()).unwrap_or_default();
        let is = |part: &str| declared.contains(part);
        match () {
            () if !self.dialect.is_sqlite() || is("BLOB") || declared.is_empty() => self.text(value),
            () if !is("INT") && (is("CHAR") || is("CLOB") || is("TEXT")) => {
                self.text(&format!("CAST({value} AS TEXT)"));
            }
            () => {
                self.functions.extend(["typeof", "glob"].map(str::to_owned));
                self.text(&format!(
                    "CASE WHEN typeof({value}) = 'text' AND {value} <> '' AND {value} NOT GLOB '*[^0-9]*' \
                     THEN CAST({value} AS INTEGER) ELSE {value} END"
                ));
            }
        }
    }
}

/// A constant that has no type of its own: it takes that of the place where it stands.
pub(crate) fn has_no_type(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => has_no_type(inner),
        Expr::Value(ValueWithSpan { value, span: _ }) => {
            !matches!(value, Value::Number(..) | Value::Boolean(_))
        }
        _ => false,
    }
}

fn conjuncts(condition: &Expression, all: &mut Vec<Expression>) {
    match condition {
        Expression::Binary { left, operator: BinaryOperator::And, right } => {
            conjuncts(left, all);
            conjuncts(right, all);
        }
        other if *other == Expression::truth(true) => {}
        other => all.push(other.clone()),
    }
}

/// Whether a condition holds where those hold, as far as its form tells.
fn is_implied(condition: &Expression, by: &[Expression]) -> bool {
    by.contains(condition)
        || matches!(condition, Expression::Binary { left, operator: BinaryOperator::Or, right }
            if is_implied(left, by) || is_implied(right, by))
}
