//! Statements that change rows. The changed relation stands raw in them, under an alias of ours: each of its columns is
//! looked up and replaced by what the principal sees, and its rows are narrowed by a condition of the policy that comes
//! first. What a new row must fulfil is returned as a last column, which the engine checks before it commits.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_policy::{Entitlement, Expression, Permit};
use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName, Query, SelectItem,
    SetExpr, Statement, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind,
};

use crate::expressions::TARGET;
use crate::refusal::Refusal;
use crate::relations::{Outputs, Scope, Source, without_only};
use crate::rewrite::{Writer, not_admitted};

/// The name of the column that the engine checks.
pub(crate) const CHECK: &str = "_rf_check";

/// The relation that a statement changes.
pub(crate) struct Target {
    pub(crate) entitlement: Arc<Entitlement>,
    /// How the statement calls it.
    pub(crate) alias: String,
    pub(crate) is_aliased: bool,
    /// Without the relations that inherit from it.
    pub(crate) only: bool,
}

impl Writer<'_> {
    /// A statement that changes rows; answers the columns of its RETURNING.
    pub(crate) fn change(&mut self, statement: &Statement) -> Result<Outputs, Refusal> {
        self.writes = true;
        match statement {
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Merge(_)
                if self.dialect.is_lake() =>
            {
                Err(not_admitted("a change by a statement: the tables of a lake are loaded as a whole"))
            }
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge).map(|()| None),
            _ => Err(not_admitted("this kind of statement")),
        }
    }

    /// Inside of WITH the engine sees no last column, so that the check raises an error there. Whether there is one decides
    /// how the rest of the statement may name the result.
    pub(crate) fn changing_common_table(
        &mut self,
        query: &Query,
        statement: &Statement,
    ) -> Result<(Outputs, bool), Refusal> {
        let Query {
            with: None,
            body: _,
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
            return Err(not_admitted("this clause of a statement in WITH"));
        };
        if !locks.is_empty() || !pipe_operators.is_empty() {
            return Err(not_admitted("this clause of a statement in WITH"));
        }
        let before = (self.check_column, self.returns_rows, self.max_rows);
        (self.check_column, self.check_raises) = (false, true);
        let outputs = self.change(statement)?;
        let has_check = std::mem::replace(&mut self.check_column, before.0);
        self.check_raises = false;
        let can_be_named = outputs.as_ref().is_some_and(|outputs| {
            let names: BTreeSet<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            names.len() == outputs.len()
        });
        if self.max_rows != before.2 || (has_check && !can_be_named) {
            return Err(not_admitted("such a change inside of WITH: send it as a statement of its own"));
        }
        self.returns_rows = before.1;
        Ok((outputs, has_check))
    }

    pub(crate) fn target(
        &mut self,
        name: &ObjectName,
        alias: Option<&Ident>,
        permit: impl FnOnce(&Entitlement) -> Permit,
        action: &'static str,
    ) -> Result<Target, Refusal> {
        let (name, only) = without_only(name);
        let parts = self.parts(&name)?;
        if let [name] = parts.as_slice()
            && self.names.common_table(name, self.same).is_some()
        {
            return Err(not_admitted("changing a relation of WITH"));
        }
        let entitlement = self.entitlement(&name)?;
        let relation = || entitlement.relation.name.clone();
        match permit(&entitlement) {
            Permit::Allow if entitlement.lasting => {
                return Err(Refusal::NoTransactions { action, relation: relation() });
            }
            Permit::Allow if entitlement.is_table => {}
            Permit::Approval => return Err(Refusal::ApprovalRequired { action, relation: relation() }),
            Permit::Allow | Permit::Deny => {
                return Err(Refusal::WriteDenied { action, relation: relation() });
            }
        }
        self.note_relation(&entitlement);
        self.changed.push(entitlement.relation.clone());
        self.max_rows = match (self.max_rows, entitlement.writes.max_rows) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let own = parts.last().cloned().unwrap_or_default();
        let alias_name = alias.map_or(Ok(own), |alias| self.folded(alias))?;
        Ok(Target { entitlement, alias: alias_name, is_aliased: alias.is_some(), only })
    }

    /// ` schema.relation AS alias`, and the target among the names.
    pub(crate) fn write_target(&mut self, target: &Target, scope: &mut Scope) {
        self.text(if target.only { "ONLY " } else { "" });
        self.relation_name(&target.entitlement.relation);
        self.text(" AS ");
        self.name(TARGET);
        let unaliased = (!target.is_aliased).then(|| target.entitlement.relation.clone());
        scope.sources.insert(0, Self::target_source(&target.alias, unaliased, &target.entitlement));
    }

    /// The relation that a statement with WITH changes; `None` for one that is refused anyway.
    pub(crate) fn changed_by(&self, body: &SetExpr) -> Option<Arc<Entitlement>> {
        let name = match body {
            SetExpr::Insert(Statement::Insert(Insert { table: TableObject::TableName(name), .. })) => name,
            SetExpr::Update(Statement::Update(update)) => target_name(&update.table.relation).ok()?.0,
            SetExpr::Delete(Statement::Delete(Delete { from: FromTable::WithFromKeyword(from), .. })) => {
                target_name(&from.first()?.relation).ok()?.0
            }
            SetExpr::Merge(Statement::Merge(merge)) => target_name(&merge.table).ok()?.0,
            _ => return None,
        };
        self.entitlement(&without_only(name).0).ok()
    }

    /// Writes what stands beside the changed relation, and may not name its columns.
    pub(crate) fn beside_target<T>(
        &mut self,
        target: &Arc<Entitlement>,
        run: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let before = self.names.beside.replace(Arc::clone(target));
        let done = self.early(run);
        self.names.beside = before;
        done
    }

    fn update(&mut self, update: &Update) -> Result<Outputs, Refusal> {
        let Update {
            update_token: _,
            optimizer_hints: _,
            table: TableWithJoins { relation, joins },
            assignments,
            from,
            selection,
            returning,
            output: None,
            or: None,
            order_by,
            limit,
        } = update
        else {
            return Err(not_admitted("this clause of UPDATE"));
        };
        let (name, alias) = target_name(relation)?;
        let is_limited = !order_by.is_empty() || limit.is_some();
        if !joins.is_empty() || (is_limited && !self.dialect.is_mysql()) {
            return Err(not_admitted("this form of UPDATE"));
        }
        let target = self.target(name, alias, |entitled| entitled.writes.update, "UPDATE")?;
        let mut scope = Scope::default();
        self.text("UPDATE ");
        self.write_target(&target, &mut scope);
        let others = match from {
            None => &[][..],
            Some(UpdateTableFromKind::AfterSet(tables)) => tables.as_slice(),
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(not_admitted("this form of UPDATE")),
        };
        // The names of FROM are needed for SET, which stands before it.
        let start = self.out.len();
        let before = self.place();
        let mut sources = self.beside_target(&target.entitlement, |writer| writer.from(others))?;
        let from_text = self.out.split_off(start);
        let after = self.place();
        refuse_alias_twice(&target, &sources)?;
        scope.sources.append(&mut sources.sources);
        self.names.scopes.push(scope);
        self.text(" SET ");
        let assigned = self.assignments(assignments, &target.entitlement)?;
        self.move_behind(before, after, start);
        self.out.push_str(&from_text);
        self.narrowed(&target.entitlement, selection.as_ref())?;
        if !order_by.is_empty() {
            self.text(" ORDER BY ");
            self.early(|writer| writer.list(order_by, Self::order_by_item))?;
        }
        if let Some(limit) = limit {
            self.text(" LIMIT ");
            self.expression(limit)?;
        }
        let check = self.check_of_update(&target.entitlement, &assigned);
        let outputs = self.returning(returning.as_deref(), &target, check.as_deref())?;
        self.names.scopes.pop();
        Ok(outputs)
    }

    fn delete(&mut self, delete: &Delete) -> Result<Outputs, Refusal> {
        let Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from: FromTable::WithFromKeyword(from),
            using,
            selection,
            returning,
            output: None,
            order_by,
            limit: None,
        } = delete
        else {
            return Err(not_admitted("this clause of DELETE"));
        };
        let [TableWithJoins { relation, joins }] = from.as_slice() else {
            return Err(not_admitted("this form of DELETE"));
        };
        if !tables.is_empty() || !joins.is_empty() || !order_by.is_empty() {
            return Err(not_admitted("this form of DELETE"));
        }
        let (name, alias) = target_name(relation)?;
        let target = self.target(name, alias, |entitled| entitled.writes.delete, "DELETE")?;
        let mut scope = Scope::default();
        if self.dialect.is_mysql() {
            // The one form that takes an alias on both servers.
            self.text("DELETE ");
            self.name(TARGET);
            self.text(" FROM ");
        } else {
            self.text("DELETE FROM ");
        }
        self.write_target(&target, &mut scope);
        if let Some(using) = using {
            if self.dialect.is_mysql() {
                return Err(not_admitted("this form of DELETE"));
            }
            self.text(" USING ");
            let mut sources = Scope::default();
            self.beside_target(&target.entitlement, |writer| {
                writer.list(using, |writer, table| writer.joined(table, &mut sources))
            })?;
            refuse_alias_twice(&target, &sources)?;
            scope.sources.append(&mut sources.sources);
        }
        self.names.scopes.push(scope);
        self.narrowed(&target.entitlement, selection.as_ref())?;
        let outputs = self.returning(returning.as_deref(), &target, None)?;
        self.names.scopes.pop();
        Ok(outputs)
    }

    /// ` WHERE` the policy's conditions hold, and the statement's own on the rows for which they do.
    fn narrowed(&mut self, target: &Entitlement, selection: Option<&Expr>) -> Result<(), Refusal> {
        self.broad.push(target.relation.clone());
        self.note_breadth(0, selection, false);
        let rows = writable_rows(target);
        if rows == Expression::truth(true) {
            return match selection {
                None => Ok(()),
                Some(selection) => {
                    self.text(" WHERE ");
                    self.early(|writer| writer.expression(selection))
                }
            };
        }
        self.text(" WHERE ");
        self.policy(&rows, TARGET)?;
        match selection {
            None => Ok(()),
            Some(selection) => {
                self.text(" AND ");
                self.after_rows(&rows, selection)
            }
        }
    }

    /// The statement's condition, computed on rows that the principal may change and on no other.
    pub(crate) fn after_rows(&mut self, rows: &Expression, condition: &Expr) -> Result<(), Refusal> {
        let might_raise = std::mem::replace(&mut self.may_raise, false);
        let start = self.out.len();
        let before = self.place();
        self.early(|writer| writer.expression(condition))?;
        let raises = std::mem::replace(&mut self.may_raise, true);
        self.may_raise = might_raise || raises;
        if raises {
            // CASE alone promises an order.
            let written = self.out.split_off(start);
            let after = self.place();
            self.text("CASE WHEN ");
            self.policy(rows, TARGET)?;
            self.text(" THEN ");
            self.move_behind(before, after, start);
            self.out.push_str(&written);
            self.text(" ELSE FALSE END");
        }
        Ok(())
    }

    /// `column = value, ...`; answers the columns.
    pub(crate) fn assignments(
        &mut self,
        assignments: &[Assignment],
        target: &Entitlement,
    ) -> Result<Vec<String>, Refusal> {
        let mut assigned = Vec::new();
        self.list(assignments, |writer, Assignment { target: names, value }| {
            match names {
                AssignmentTarget::ColumnName(name) => {
                    let column = writer.updatable(name, target)?;
                    writer.name(&column);
                    writer.text(" = ");
                    writer.assigned_value(value, &column)?;
                    assigned.push(column);
                    return Ok(());
                }
                AssignmentTarget::Tuple(_) if writer.conflict_rows.is_some() => {
                    return Err(not_admitted("several columns in one assignment here: write one for each"));
                }
                AssignmentTarget::Tuple(names) => {
                    writer.text("(");
                    writer.list(names, |writer, name| {
                        let column = writer.updatable(name, target)?;
                        writer.name(&column);
                        assigned.push(column);
                        Ok(())
                    })?;
                    writer.text(")");
                }
            }
            writer.text(" = ");
            writer.value_or_default(value)
        })?;
        Ok(assigned)
    }

    /// A value; on a row in the way of an INSERT that the principal does not see, the column stays as it is.
    fn assigned_value(&mut self, value: &Expr, column: &str) -> Result<(), Refusal> {
        let Some(rows) = self.conflict_rows.clone() else {
            return self.value_or_default(value);
        };
        if is_default(value) {
            return Err(not_admitted("DEFAULT here: write the value"));
        }
        self.text("CASE WHEN ");
        self.policy(&rows, TARGET)?;
        self.text(" THEN ");
        self.expression(value)?;
        self.text(" ELSE ");
        self.qualified(TARGET, column);
        self.text(" END");
        Ok(())
    }

    fn updatable(&self, name: &ObjectName, target: &Entitlement) -> Result<String, Refusal> {
        let column = self.writable_column(name, target)?;
        let rules = &target.writes;
        let is_listed = rules.columns.as_ref().is_none_or(|columns| columns.contains(&column));
        if rules.immutable.contains(&column) || !is_listed {
            return Err(Refusal::ColumnNotWritable { column });
        }
        Ok(column)
    }

    /// The stored name of a column that may be written.
    pub(crate) fn writable_column(&self, name: &ObjectName, target: &Entitlement) -> Result<String, Refusal> {
        let parts = self.parts(name)?;
        let name = match parts.as_slice() {
            [name] => name,
            [alias, name]
                if self.dialect.is_mysql()
                    && self.names.source(alias, self.same).is_some_and(|source| source.is_target) =>
            {
                name
            }
            _ => return Err(not_admitted("a qualified name on the left of an assignment")),
        };
        let column = target.columns.iter().find(|column| (self.same)(&column.name, name));
        let column = column.ok_or_else(|| Refusal::UnknownColumn { name: name.clone() })?;
        if column.mask.is_some() && !column.writable {
            return Err(Refusal::ColumnNotWritable { column: column.name.clone() });
        }
        Ok(column.name.clone())
    }

    pub(crate) fn value_or_default(&mut self, value: &Expr) -> Result<(), Refusal> {
        if is_default(value) {
            self.text("DEFAULT");
            return Ok(());
        }
        self.expression(value)
    }

    /// ` RETURNING` what the statement asks for, and the check.
    pub(crate) fn returning(
        &mut self,
        items: Option<&[SelectItem]>,
        target: &Target,
        check: Option<&[Expression]>,
    ) -> Result<Outputs, Refusal> {
        self.returns_rows = items.is_some();
        let mut outputs = Some(Vec::new());
        if items.is_none() && check.is_none() {
            return Ok(outputs);
        }
        if self.dialect.is_mysql() {
            let what = if items.is_some() {
                "RETURNING"
            } else {
                "changing a column so that the row has to be checked, which MySQL can't"
            };
            return Err(not_admitted(what));
        }
        self.text(" RETURNING ");
        if self.dialect.is_sqlite() {
            // There it is known by its own name, and nothing else is known.
            let own = target.entitlement.relation.name.clone();
            let scope = self.names.scopes.last_mut();
            if let Some(Source { alias, .. }) = scope.and_then(|scope| {
                scope.sources.truncate(1);
                scope.sources.first_mut()
            }) {
                alias.clone_from(&own);
            }
            self.returning_from = Some(own);
        }
        self.list(items.unwrap_or_default(), |writer, item| {
            let more = writer.returned(item, target)?;
            outputs = match (outputs.take(), more) {
                (Some(mut all), Some(more)) => {
                    all.extend(more);
                    Some(all)
                }
                _ => None,
            };
            Ok(())
        })?;
        if let Some(check) = check {
            self.check_column = true;
            self.text(if items.is_some() { ", " } else { "" });
            if self.check_raises {
                self.text("CASE WHEN ");
                self.fails(check, TARGET)?;
                self.text(" THEN ");
                self.refuse();
                self.text(" ELSE TRUE END");
            } else {
                self.all(check, TARGET)?;
            }
            self.text(" AS ");
            self.name(CHECK);
        }
        self.returning_from = None;
        Ok(outputs)
    }

    fn returned(&mut self, item: &SelectItem, target: &Target) -> Result<Outputs, Refusal> {
        let is_target = match item {
            SelectItem::Wildcard(_) => self.names.scopes.last().is_some_and(|scope| scope.sources.len() == 1),
            SelectItem::QualifiedWildcard(
                sqlparser::ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                _,
            ) => {
                let parts = self.parts(name)?;
                parts == [target.alias.clone()]
                    || (!target.is_aliased
                        && parts == [target.entitlement.relation.schema.clone(), target.alias.clone()])
            }
            SelectItem::UnnamedExpr(expression) => return self.returned_column(item, expression),
            _ => return self.select_item(item, None),
        };
        if !is_target {
            return match item {
                SelectItem::Wildcard(_) => {
                    Err(not_admitted("RETURNING * over several relations: name the columns"))
                }
                _ => self.select_item(item, None),
            };
        }
        let entitlement = Arc::clone(&target.entitlement);
        self.list(&entitlement.columns, |writer, column| {
            writer.target_column(&entitlement, &column.name)?;
            writer.text(" AS ");
            writer.name(&column.name);
            Ok(())
        })?;
        Ok(Some(Self::outputs_of(&entitlement)))
    }

    /// A column keeps its name, whatever stands for it.
    fn returned_column(&mut self, item: &SelectItem, expression: &Expr) -> Result<Outputs, Refusal> {
        let outputs = self.select_item(item, None)?;
        let column = if self.dialect.is_postgres() { named_after(expression) } else { Some(expression) };
        if let Some(path) = column.and_then(|column| self.column_path(column))
            && !path.first().is_some_and(|alias| path.len() == 1 && self.is_renamed(alias))
        {
            self.text(" AS ");
            self.name(path.last().map_or("", String::as_str));
        }
        Ok(outputs)
    }

    /// What the new row must fulfil after these columns changed; `None` when they have no part in it.
    pub(crate) fn check_of_update(
        &mut self,
        target: &Entitlement,
        assigned: &[String],
    ) -> Option<Vec<Expression>> {
        let mut check = Vec::new();
        let rows = writable_rows(target);
        if crate::conditions::names_any(&rows, assigned) {
            check.push(rows);
        }
        check.extend(
            self.references(target, TARGET, |columns| columns.iter().any(|column| assigned.contains(column))),
        );
        (!check.is_empty()).then_some(check)
    }

    /// That the row of that alias refers to rows that the principal sees, for the foreign keys that matter.
    pub(crate) fn references(
        &mut self,
        target: &Entitlement,
        row: &str,
        matters: impl Fn(&[String]) -> bool,
    ) -> Vec<Expression> {
        let mut conditions = Vec::new();
        for reference in target.references.iter().filter(|reference| matters(&reference.columns)) {
            let entitled = self.view.relations.get(&reference.target).map(Arc::clone);
            let rows = entitled.map_or(Expression::truth(false), |entitled| entitled.rows.clone());
            if rows == Expression::truth(true) {
                continue;
            }
            let alias = self.fresh_alias();
            if !self.relations.contains(&reference.target) {
                self.relations.push(reference.target.clone());
            }
            conditions.push(crate::conditions::refers(reference, row, &rows, &alias));
        }
        conditions
    }
}

/// Rows that may be changed: those that may be read, and narrower.
pub(crate) fn writable_rows(target: &Entitlement) -> Expression {
    let narrower = target.writes.rows.clone().unwrap_or(Expression::truth(true));
    target.rows.clone().and(narrower)
}

/// The column that the result of an expression is called after.
fn named_after(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Some(expression),
        Expr::Nested(inner)
        | Expr::Cast { expr: inner, .. }
        | Expr::Collate { expr: inner, .. }
        | Expr::Case { else_result: Some(inner), .. } => named_after(inner),
        _ => None,
    }
}

fn refuse_alias_twice(target: &Target, sources: &Scope) -> Result<(), Refusal> {
    if sources.sources.iter().any(|source| source.alias == target.alias) {
        return Err(not_admitted("two relations of one name: give one an alias"));
    }
    Ok(())
}

pub(crate) fn target_name(factor: &TableFactor) -> Result<(&ObjectName, Option<&Ident>), Refusal> {
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
        return Err(not_admitted("changing anything but a relation"));
    };
    let is_plain = with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty();
    match alias {
        None if is_plain => Ok((name, None)),
        Some(alias) if is_plain && alias.columns.is_empty() && alias.at.is_none() => {
            Ok((name, Some(&alias.name)))
        }
        _ => Err(not_admitted("this form of a relation")),
    }
}

pub(crate) fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(Ident { value, quote_style: None, span: _ }) if value.eq_ignore_ascii_case("default"))
}

/// The rows of VALUES, when a query is nothing else.
pub(crate) fn plain_values(query: &Query) -> Option<&sqlparser::ast::Values> {
    let Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: _,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: _,
    } = query
    else {
        return None;
    };
    match body.as_ref() {
        SetExpr::Values(values) => Some(values),
        _ => None,
    }
}
