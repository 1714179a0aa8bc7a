//! Walking over the parts of an expression, sub-queries among them.

use crate::expression::{Expression, RelationName, SubQuery};

impl Expression {
    /// Calls the function with the expression and each part of it.
    pub fn for_each_part(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
        self.parts(&mut |part| part.for_each_part(visit));
    }

    /// Calls the function with the expression and each part of it, which it may change.
    pub fn for_each_part_mut(&mut self, visit: &mut dyn FnMut(&mut Self)) {
        visit(self);
        self.parts_mut(&mut |part| part.for_each_part_mut(visit));
    }

    fn parts<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match self {
            Self::Column { .. } | Self::Principal(_) | Self::Literal(_) => {}
            Self::Not(operand)
            | Self::Negate(operand)
            | Self::Is { operand, .. }
            | Self::InPrincipal { operand, .. }
            | Self::Cast { operand, .. } => visit(operand),
            Self::Binary { left, operator: _, right } | Self::Like { operand: left, pattern: right, .. } => {
                visit(left);
                visit(right);
            }
            Self::InList { operand, list, negated: _ } => {
                visit(operand);
                list.iter().for_each(visit);
            }
            Self::InQuery { operand, query, negated: _ } => {
                visit(operand);
                query.parts(visit);
            }
            Self::Exists { query, negated: _ } => query.parts(visit),
            Self::Call { function: _, arguments } => arguments.iter().for_each(visit),
            Self::Case { operand, branches, otherwise } => {
                if let Some(operand) = operand {
                    visit(operand);
                }
                for (condition, result) in branches {
                    visit(condition);
                    visit(result);
                }
                if let Some(otherwise) = otherwise {
                    visit(otherwise);
                }
            }
        }
    }

    fn parts_mut(&mut self, visit: &mut dyn FnMut(&mut Self)) {
        match self {
            Self::Column { .. } | Self::Principal(_) | Self::Literal(_) => {}
            Self::Not(operand)
            | Self::Negate(operand)
            | Self::Is { operand, .. }
            | Self::InPrincipal { operand, .. }
            | Self::Cast { operand, .. } => visit(operand),
            Self::Binary { left, operator: _, right } | Self::Like { operand: left, pattern: right, .. } => {
                visit(left);
                visit(right);
            }
            Self::InList { operand, list, negated: _ } => {
                visit(operand);
                list.iter_mut().for_each(visit);
            }
            Self::InQuery { operand, query, negated: _ } => {
                visit(operand);
                query.parts_mut(visit);
            }
            Self::Exists { query, negated: _ } => query.parts_mut(visit),
            Self::Call { function: _, arguments } => arguments.iter_mut().for_each(visit),
            Self::Case { operand, branches, otherwise } => {
                if let Some(operand) = operand {
                    visit(operand);
                }
                for (condition, result) in branches {
                    visit(condition);
                    visit(result);
                }
                if let Some(otherwise) = otherwise {
                    visit(otherwise);
                }
            }
        }
    }
}

impl SubQuery {
    /// Calls the function with each expression in it, and each part of them.
    pub fn for_each_part(&self, visit: &mut dyn FnMut(&Expression)) {
        self.parts(&mut |part| part.for_each_part(visit));
    }

    /// The relations that it reads, those of queries in its conditions among them.
    pub fn relations(&self) -> Vec<&RelationName> {
        let mut relations: Vec<&RelationName> = self.from.iter().map(|(relation, _)| relation).collect();
        self.inner_relations(&mut relations);
        relations
    }

    fn inner_relations<'a>(&'a self, relations: &mut Vec<&'a RelationName>) {
        let mut waiting = vec![&self.select];
        waiting.extend(&self.condition);
        while let Some(expression) = waiting.pop() {
            if let Expression::InQuery { query, .. } | Expression::Exists { query, .. } = expression {
                relations.extend(query.from.iter().map(|(relation, _)| relation));
            }
            expression.parts(&mut |part| waiting.push(part));
        }
    }

    fn parts<'a>(&'a self, visit: &mut dyn FnMut(&'a Expression)) {
        visit(&self.select);
        self.condition.iter().for_each(visit);
    }

    fn parts_mut(&mut self, visit: &mut dyn FnMut(&mut Expression)) {
        visit(&mut self.select);
        self.condition.iter_mut().for_each(visit);
    }
}
