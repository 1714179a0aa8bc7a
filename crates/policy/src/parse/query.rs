//! Sub-queries: plain joins of relations of the same connection, nothing else.

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select,
    SelectFlavor, SelectItem, SetExpr, Spanned, TableAlias, TableFactor, TableWithJoins,
};

use super::{ParseInvalid, Read, Reader};
use crate::expression::{Expression, Literal, RelationName, SubQuery};

impl Reader<'_> {
    /// A sub-query; `one_column` for IN.
    pub(super) fn query(&mut self, query: &Query, one_column: bool) -> Read<SubQuery> {
        if self.scope.relation.is_none() && !self.is_query {
            let message = "only `principal` may be named here, not a relation";
            return Err(ParseInvalid::at(query.span().start, message));
        }
        let select = plain_select(query)?;
        let mut from = Vec::new();
        let mut conditions = Vec::new();
        for TableWithJoins { relation, joins } in &select.from {
            self.relation(relation, &mut from)?;
            for Join { relation, global: _, join_operator } in joins {
                self.relation(relation, &mut from)?;
                match join_operator {
                    JoinOperator::Join(JoinConstraint::On(on))
                    | JoinOperator::Inner(JoinConstraint::On(on)) => {
                        conditions.push(on);
                    }
                    JoinOperator::CrossJoin(JoinConstraint::None) => {}
                    _ => return Err(refused(query, "a join other than INNER JOIN ... ON")),
                }
            }
        }
        if from.is_empty() {
            return Err(refused(query, "a sub-query without FROM"));
        }
        conditions.extend(&select.selection);
        self.froms.push(from);
        let read = self.columns_and_condition(query, select, &conditions, one_column);
        let from = self.froms.pop().unwrap_or_default();
        let (select, condition) = read?;
        Ok(SubQuery { from, select, condition })
    }

    fn columns_and_condition(
        &mut self,
        query: &Query,
        select: &Select,
        conditions: &[&Expr],
        one_column: bool,
    ) -> Read<(Expression, Option<Expression>)> {
        let column = match (one_column, select.projection.as_slice()) {
            (false, _) => Expression::Literal(Literal::Number("1".to_owned())),
            (
                true,
                [SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, alias: _ }],
            ) => self.expression(column)?,
            (true, _) => return Err(refused(query, "a sub-query of IN with other than one column")),
        };
        let mut all: Option<Expression> = None;
        for condition in conditions {
            let read = self.expression(condition)?;
            all = Some(match all {
                Some(before) => before.and(read),
                None => read,
            });
        }
        Ok((column, all))
    }

    fn relation(&self, factor: &TableFactor, from: &mut Vec<(RelationName, String)>) -> Read<()> {
        let TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } = factor
        else {
            return Err(refused(factor, "what is no relation of the connection in FROM"));
        };
        if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
            return Err(refused(factor, "a hint"));
        }
        let relation = self.relation_name(name)?;
        let alias = match alias {
            None => relation.name.clone(),
            Some(TableAlias { explicit: _, name, columns, at: None }) if columns.is_empty() => {
                self.stored(name)
            }
            Some(_) => return Err(refused(factor, "an alias with columns")),
        };
        if alias == "principal" {
            return Err(refused(factor, "the alias `principal`"));
        }
        if from.iter().chain(self.froms.iter().flatten()).any(|(_, taken)| *taken == alias) {
            let message = format!("the alias `{alias}` is taken: give each relation its own");
            return Err(ParseInvalid::at(factor.span().start, message));
        }
        from.push((relation, alias));
        Ok(())
    }

    fn relation_name(&self, name: &ObjectName) -> Read<RelationName> {
        let parts: Option<Vec<&Ident>> = name
            .0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(part) => Some(part),
                ObjectNamePart::Function(_) => None,
            })
            .collect();
        match parts.as_deref() {
            Some([name]) => Ok(RelationName::new(self.scope.schema, &self.stored(name))),
            Some([schema, name]) => Ok(RelationName::new(&self.stored(schema), &self.stored(name))),
            _ => Err(ParseInvalid::at(name.span().start, "a relation is named by schema and name")),
        }
    }
}

/// The SELECT of a query that is nothing but SELECT, FROM and WHERE.
fn plain_select(query: &Query) -> Read<&Select> {
    let Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return Err(refused(query, "WITH, ORDER BY, LIMIT or FOR in a sub-query"));
    };
    let SetExpr::Select(select) = body.as_ref() else {
        return Err(refused(query, "a sub-query other than SELECT ... FROM ... WHERE"));
    };
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: _,
        exclude: None,
        into: None,
        from: _,
        lateral_views,
        prewhere: None,
        selection: _,
        connect_by,
        group_by: GroupByExpr::Expressions(groups, modifiers),
        cluster_by,
        distribute_by,
        sort_by,
        having: None,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    } = select.as_ref()
    else {
        return Err(refused(query, "a sub-query other than SELECT ... FROM ... WHERE"));
    };
    let plain = locks.is_empty()
        && pipe_operators.is_empty()
        && optimizer_hints.is_empty()
        && lateral_views.is_empty()
        && connect_by.is_empty()
        && groups.is_empty()
        && modifiers.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty();
    if plain { Ok(select) } else { Err(refused(query, "a sub-query other than SELECT ... FROM ... WHERE")) }
}

fn refused(place: &impl Spanned, what: &str) -> ParseInvalid {
    ParseInvalid::at(place.span().start, format!("{what} may not be used in a policy"))
}
