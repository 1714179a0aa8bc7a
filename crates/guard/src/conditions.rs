//! What the guard asks of a policy's conditions, and the ones that it makes itself.

use ringfence_policy::Reference;
use ringfence_policy::expression::{BinaryOperator, Expression, IsTest, Literal, SubQuery};

/// Whether the condition reads any of these columns of its relation.
pub(crate) fn names_any(expression: &Expression, columns: &[String]) -> bool {
    let any = |inner: &Expression| names_any(inner, columns);
    match expression {
        Expression::Column { qualifier: None, name } => columns.contains(name),
        Expression::Column { qualifier: Some(_), .. } | Expression::Principal(_) | Expression::Literal(_) => {
            false
        }
        Expression::Not(operand)
        | Expression::Negate(operand)
        | Expression::Is { operand, .. }
        | Expression::Cast { operand, .. }
        | Expression::InPrincipal { operand, .. } => any(operand),
        Expression::Binary { left, operator: _, right } => any(left) || any(right),
        Expression::InList { operand, list, negated: _ } => any(operand) || list.iter().any(any),
        Expression::InQuery { operand, query, negated: _ } => any(operand) || query_names(query, columns),
        Expression::Exists { query, negated: _ } => query_names(query, columns),
        Expression::Like { operand, pattern, .. } => any(operand) || any(pattern),
        Expression::Call { function: _, arguments } => arguments.iter().any(any),
        Expression::Case { operand, branches, otherwise } => {
            operand.iter().chain(otherwise).any(|inner| any(inner))
                || branches.iter().any(|(condition, result)| any(condition) || any(result))
        }
    }
}

/// Whether the condition reads no other columns of its relation than these.
pub(crate) fn names_only(expression: &Expression, columns: &[String]) -> bool {
    let only = |inner: &Expression| names_only(inner, columns);
    match expression {
        Expression::Column { qualifier: None, name } => columns.contains(name),
        Expression::Principal(_) | Expression::Literal(_) => true,
        Expression::Not(operand)
        | Expression::Negate(operand)
        | Expression::Is { operand, .. }
        | Expression::InPrincipal { operand, .. } => only(operand),
        Expression::Binary { left, operator: _, right } => only(left) && only(right),
        Expression::InList { operand, list, negated: _ } => only(operand) && list.iter().all(only),
        Expression::Column { qualifier: Some(_), .. }
        | Expression::InQuery { .. }
        | Expression::Exists { .. }
        | Expression::Like { .. }
        | Expression::Call { .. }
        | Expression::Cast { .. }
        | Expression::Case { .. } => false,
    }
}

fn query_names(query: &SubQuery, columns: &[String]) -> bool {
    let SubQuery { from: _, select, condition } = query;
    names_any(select, columns) || condition.as_ref().is_some_and(|condition| names_any(condition, columns))
}

/// The columns of a foreign key are null in the row, or refer to a row for which the condition holds.
pub(crate) fn refers(reference: &Reference, row: &str, rows: &Expression, alias: &str) -> Expression {
    let own = |name: &String| Expression::Column { qualifier: Some(row.to_owned()), name: name.clone() };
    let is_null =
        |name: &String| Expression::Is { operand: Box::new(own(name)), test: IsTest::Null, negated: false };
    let nothing = reference.columns.iter().map(is_null).fold(Expression::truth(false), Expression::or);
    let equal =
        reference.columns.iter().zip(&reference.target_columns).map(|(column, target)| Expression::Binary {
            left: Box::new(Expression::Column { qualifier: Some(alias.to_owned()), name: target.clone() }),
            operator: BinaryOperator::Equal,
            right: Box::new(own(column)),
        });
    let matching = equal.fold(qualified(rows, alias), |all, one| one.and(all));
    let query = SubQuery {
        from: vec![(reference.target.clone(), alias.to_owned())],
        select: Expression::Literal(Literal::Number("1".to_owned())),
        condition: Some(matching),
    };
    nothing.or(Expression::Exists { query: Box::new(query), negated: false })
}

/// The same over a relation that is called so.
fn qualified(expression: &Expression, alias: &str) -> Expression {
    let each = |inner: &Expression| Box::new(qualified(inner, alias));
    let all = |list: &[Expression]| list.iter().map(|inner| qualified(inner, alias)).collect();
    let query_of = |query: &SubQuery| {
        Box::new(SubQuery {
            from: query.from.clone(),
            select: qualified(&query.select, alias),
            condition: query.condition.as_ref().map(|condition| qualified(condition, alias)),
        })
    };
    match expression {
        Expression::Column { qualifier: None, name } => {
            Expression::Column { qualifier: Some(alias.to_owned()), name: name.clone() }
        }
        Expression::Column { qualifier: Some(_), .. } | Expression::Principal(_) | Expression::Literal(_) => {
            expression.clone()
        }
        Expression::Not(operand) => Expression::Not(each(operand)),
        Expression::Negate(operand) => Expression::Negate(each(operand)),
        Expression::Binary { left, operator, right } => {
            Expression::Binary { left: each(left), operator: *operator, right: each(right) }
        }
        Expression::Is { operand, test, negated } => {
            Expression::Is { operand: each(operand), test: *test, negated: *negated }
        }
        Expression::InList { operand, list, negated } => {
            Expression::InList { operand: each(operand), list: all(list), negated: *negated }
        }
        Expression::InPrincipal { operand, path, values, negated } => Expression::InPrincipal {
            operand: each(operand),
            path: path.clone(),
            values: *values,
            negated: *negated,
        },
        Expression::InQuery { operand, query, negated } => {
            Expression::InQuery { operand: each(operand), query: query_of(query), negated: *negated }
        }
        Expression::Exists { query, negated } => {
            Expression::Exists { query: query_of(query), negated: *negated }
        }
        Expression::Like { operand, pattern, any_case, negated } => Expression::Like {
            operand: each(operand),
            pattern: each(pattern),
            any_case: *any_case,
            negated: *negated,
        },
        Expression::Call { function, arguments } => {
            Expression::Call { function: function.clone(), arguments: all(arguments) }
        }
        Expression::Cast { operand, to } => Expression::Cast { operand: each(operand), to: to.clone() },
        Expression::Case { operand, branches, otherwise } => Expression::Case {
            operand: operand.as_deref().map(each),
            branches: branches
                .iter()
                .map(|(condition, result)| (qualified(condition, alias), qualified(result, alias)))
                .collect(),
            otherwise: otherwise.as_deref().map(each),
        },
    }
}
