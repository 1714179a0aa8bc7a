//! How many sources of a SELECT nothing connects: their rows are multiplied, which no budget of rows can stop in time.

use sqlparser::ast::{BinaryOperator, Expr, Join, JoinConstraint, JoinOperator, TableWithJoins};

use crate::refusal::Refusal;
use crate::relations::Scope;
use crate::rewrite::{Writer, not_admitted};

/// Sources that may stand side by side without a condition between them.
const MAX_UNCONNECTED: usize = 4;

impl Writer<'_> {
    /// Refuses a product of many relations. Any comparison of two of them connects them; so does USING or NATURAL.
    pub(crate) fn refuse_products(
        &self,
        from: &[TableWithJoins],
        selection: Option<&Expr>,
        scope: &Scope,
    ) -> Result<(), Refusal> {
        if scope.sources.len() <= MAX_UNCONNECTED {
            return Ok(());
        }
        let mut groups: Vec<usize> = (0..scope.sources.len()).collect();
        if let Some(selection) = selection {
            self.connect(selection, scope, &mut groups);
        }
        let mut shared = 0_usize;
        for Join { join_operator, .. } in from.iter().flat_map(|table| &table.joins) {
            match constraint(join_operator) {
                Some(JoinConstraint::On(condition)) => self.connect(condition, scope, &mut groups),
                Some(JoinConstraint::Using(_) | JoinConstraint::Natural) => shared = shared.saturating_add(1),
                Some(JoinConstraint::None) | None => {}
            }
        }
        groups.sort_unstable();
        groups.dedup();
        if groups.len().saturating_sub(shared) > MAX_UNCONNECTED {
            return Err(not_admitted("a join of so many relations without a condition between them"));
        }
        Ok(())
    }

    fn connect(&self, condition: &Expr, scope: &Scope, groups: &mut [usize]) {
        match condition {
            Expr::Nested(inner) => self.connect(inner, scope, groups),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.connect(left, scope, groups);
                self.connect(right, scope, groups);
            }
            Expr::BinaryOp { left, op: _, right } => {
                let mut paths = Vec::new();
                crate::expressions::column_paths(self, left, &mut paths);
                crate::expressions::column_paths(self, right, &mut paths);
                let mut named = paths.iter().filter_map(|path| self.source_of(path, scope));
                let Some(first) = named.next() else { return };
                let Some(kept) = groups.get(first).copied() else { return };
                for other in named {
                    let Some(joined) = groups.get(other).copied() else { continue };
                    groups.iter_mut().filter(|group| **group == joined).for_each(|group| *group = kept);
                }
            }
            _ => {}
        }
    }

    /// Which source a column is of; of a name alone, the first that has it.
    fn source_of(&self, path: &[String], scope: &Scope) -> Option<usize> {
        match path {
            [name] => scope.sources.iter().position(|source| {
                source
                    .columns
                    .as_ref()
                    .is_some_and(|columns| columns.iter().any(|column| (self.same)(&column.name, name)))
            }),
            [.., alias, _] => scope.sources.iter().position(|source| (self.same)(&source.alias, alias)),
            [] => None,
        }
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::StraightJoin(constraint) => Some(constraint),
        _ => None,
    }
}
