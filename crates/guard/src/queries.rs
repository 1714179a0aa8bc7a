//! Queries: WITH, SELECT, set operations, FROM and what may stand there.

use std::sync::Arc;

use ringfence_policy::{Entitlement, Permit};
use sqlparser::ast::{
    Cte, CteAsMaterialized, Distinct, Expr, Fetch, GroupByExpr, GroupByWithModifier, Ident, Join,
    JoinConstraint, JoinOperator, LimitClause, LockClause, LockType, NonBlock, Offset, OrderBy, OrderByExpr,
    OrderByKind, OrderByOptions, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, SetOperator, SetQuantifier, TableAlias, TableWithJoins, Values, WildcardAdditionalOptions, With,
};

use crate::admit::DISTINCT;
use crate::refusal::Refusal;
use crate::relations::{CommonTable, Output, Outputs, Scope, Source};
use crate::rewrite::{Writer, not_admitted};

impl Writer<'_> {
    /// A query; answers its columns.
    pub(crate) fn query(&mut self, query: &Query) -> Result<Outputs, Refusal> {
        self.nested(|writer| {
            let known = writer.names.common.len();
            let outputs = writer.query_parts(query);
            writer.names.common.truncate(known);
            outputs
        })
    }

    fn query_parts(&mut self, query: &Query) -> Result<Outputs, Refusal> {
        if self.returning_from.is_some() {
            // There the changed relation has a name that the query might give to something else.
            return Err(not_admitted("a query in RETURNING"));
        }
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } = query
        else {
            return Err(not_admitted("this clause of a query"));
        };
        if !pipe_operators.is_empty() {
            return Err(not_admitted("the pipe syntax"));
        }
        let broad_before = self.broad.len();
        if let Some(with) = with {
            let added = std::mem::take(&mut self.added_items);
            match self.changed_by(body) {
                Some(target) => self.beside_target(&target, |writer| writer.with(with))?,
                None => self.with(with)?,
            }
            self.added_items = added;
        }
        let mut has_condition = false;
        let relations_before = self.relations.len();
        // ORDER BY of a SELECT sees its FROM: so the scope stays until after it.
        let outputs = match body.as_ref() {
            SetExpr::Select(select) => {
                let outputs = self.select(select, order_by.as_ref())?;
                has_condition = self.has_condition;
                self.order_by(order_by.as_ref(), &select.projection)?;
                self.names.scopes.pop();
                outputs
            }
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement)
                if self.is_outermost()
                    && order_by.is_none()
                    && limit_clause.is_none()
                    && fetch.is_none()
                    && locks.is_empty() =>
            {
                self.change(statement)?;
                None
            }
            body => {
                let outputs = self.set_expression(body)?;
                self.order_by(order_by.as_ref(), &[])?;
                outputs
            }
        };
        self.limits(limit_clause.as_ref(), fetch.as_ref())?;
        let is_limited = crate::breadth::is_limited(limit_clause.as_ref(), fetch.as_ref());
        self.note_breadth(broad_before, None, has_condition || is_limited);
        self.locks(locks, relations_before)?;
        Ok(outputs)
    }

    pub(crate) fn with(&mut self, with: &With) -> Result<(), Refusal> {
        let With { with_token: _, recursive, cte_tables } = with;
        self.text(if *recursive { "WITH RECURSIVE " } else { "WITH " });
        if *recursive || self.dialect.always_recursive {
            for Cte { alias, .. } in cte_tables {
                let name = self.folded(&alias.name)?;
                self.names.common.push(CommonTable { name, columns: None, has_check: false });
            }
        }
        self.list(cte_tables, Self::common_table)?;
        self.text(" ");
        Ok(())
    }

    fn common_table(&mut self, table: &Cte) -> Result<(), Refusal> {
        let Cte { alias, query, from: None, materialized, closing_paren_token: _ } = table else {
            return Err(not_admitted("this form of WITH"));
        };
        let TableAlias { explicit: _, name, columns, at: None } = alias else {
            return Err(not_admitted("this form of an alias"));
        };
        let called = self.folded(name)?;
        self.common_name(&called);
        self.alias_columns(columns)?;
        self.text(match materialized {
            None => " AS (",
            Some(CteAsMaterialized::Materialized) => " AS MATERIALIZED (",
            Some(CteAsMaterialized::NotMaterialized) => " AS NOT MATERIALIZED (",
        });
        // A common table stands alone: it sees no FROM around it, but the planner may inline it anywhere.
        let (outputs, has_check) = match query.body.as_ref() {
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                self.changing_common_table(query, statement)?
            }
            _ => (self.early(|writer| writer.query(query))?, false),
        };
        self.text(")");
        let columns = self.renamed(outputs, columns)?;
        let name = self.folded(name)?;
        self.names.common.push(CommonTable { name, columns, has_check });
        Ok(())
    }

    fn set_expression(&mut self, body: &SetExpr) -> Result<Outputs, Refusal> {
        self.nested(|writer| match body {
            SetExpr::Select(select) => {
                let outputs = writer.select(select, None)?;
                writer.names.scopes.pop();
                Ok(outputs)
            }
            SetExpr::Query(_) if writer.dialect.is_sqlite() => {
                Err(not_admitted("a query in parentheses here"))
            }
            SetExpr::Query(query) => {
                writer.text("(");
                let outputs = writer.query(query)?;
                writer.text(")");
                Ok(outputs)
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let outputs = writer.operand(left)?;
                writer.text(match op {
                    SetOperator::Union => " UNION ",
                    SetOperator::Except => " EXCEPT ",
                    SetOperator::Intersect => " INTERSECT ",
                    SetOperator::Minus => return Err(not_admitted("MINUS")),
                });
                writer.text(match set_quantifier {
                    SetQuantifier::All => "ALL ",
                    SetQuantifier::Distinct | SetQuantifier::None => "",
                    _ => return Err(not_admitted("this form of a set operation")),
                });
                // In a recursive common table the right side is not parenthesised unless it must be.
                writer.operand(right)?;
                Ok(outputs)
            }
            SetExpr::Values(values) => writer.values(values),
            SetExpr::Table(_) => Err(not_admitted("TABLE here: write SELECT * FROM")),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(not_admitted("a statement that changes rows inside of a query"))
            }
        })
    }

    /// A side of a set operation: set operations in it are parenthesised, so that no precedence matters.
    fn operand(&mut self, body: &SetExpr) -> Result<Outputs, Refusal> {
        if !matches!(body, SetExpr::SetOperation { .. }) {
            return self.set_expression(body);
        }
        // SQLite has no parentheses here and no precedence: what the parser grouped is read from the left again.
        if self.dialect.is_sqlite() {
            return self.set_expression(body);
        }
        self.text("(");
        let outputs = self.set_expression(body)?;
        self.text(")");
        Ok(outputs)
    }

    pub(crate) fn values(&mut self, values: &Values) -> Result<Outputs, Refusal> {
        let Values { explicit_row: false, value_keyword: false, rows } = values else {
            return Err(not_admitted("this form of VALUES"));
        };
        self.text("VALUES ");
        self.list(rows, |writer, row| {
            writer.text("(");
            writer.list(&row.content, Self::expression)?;
            writer.text(")");
            Ok(())
        })?;
        let width = rows.first().map_or(0, |row| row.content.len());
        let name = |index: usize| Output { name: format!("column{index}"), data_type: None };
        Ok(Some((1..=width).map(name).collect()))
    }

    /// A SELECT without its ORDER BY. Its scope stays on the stack for the caller to take.
    fn select(&mut self, select: &Select, order_by: Option<&OrderBy>) -> Result<Outputs, Refusal> {
        let Select {
            select_token,
            optimizer_hints: _,
            distinct,
            select_modifiers: None,
            top: None,
            top_before_distinct: false,
            projection,
            exclude: None,
            into: None,
            from,
            lateral_views,
            prewhere: None,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify: None,
            window_before_qualify: _,
            value_table_mode: None,
            flavor: SelectFlavor::Standard,
        } = select
        else {
            return Err(not_admitted("this clause of SELECT"));
        };
        let is_plain = lateral_views.is_empty()
            && connect_by.is_empty()
            && cluster_by.is_empty()
            && distribute_by.is_empty()
            && sort_by.is_empty();
        if !is_plain {
            return Err(not_admitted("this clause of SELECT"));
        }
        // FROM is written first, because the names in the list before it mean what FROM says; then it is moved behind.
        let added = std::mem::take(&mut self.added_items);
        let broad_before = self.broad.len();
        let start = self.out.len();
        let before = self.place();
        let scope = self.early(|writer| writer.from(from))?;
        self.refuse_products(from, selection.as_ref(), &scope)?;
        let from_text = self.out.split_off(start);
        let after = self.place();
        self.names.scopes.push(scope);
        self.text("SELECT ");
        let labels = self.labels.get(&select_token.0.span.start).map_or(&[][..], Vec::as_slice);
        let outputs = self.as_written(|writer| {
            writer.distinct(distinct.as_ref())?;
            writer.projection(projection, labels, added.typed.as_ref())
        })?;
        self.added(&added)?;
        self.move_behind(before, after, start);
        self.out.push_str(&from_text);
        if let Some(selection) = selection {
            self.text(" WHERE ");
            self.early(|writer| writer.expression(selection))?;
        }
        self.as_written(|writer| {
            writer.group_by(group_by, projection, having.as_ref(), order_by)?;
            if let Some(having) = having {
                writer.text(" HAVING ");
                writer.early(|writer| writer.expression(having))?;
            }
            if !named_window.is_empty() {
                writer.text(" WINDOW ");
                writer.list(named_window, Self::named_window)?;
            }
            Ok(())
        })?;
        self.note_breadth(broad_before, selection.as_ref(), false);
        Ok(outputs)
    }

    /// What the policy adds to the list of an INSERT's SELECT.
    fn added(&mut self, added: &crate::rewrite::AddedItems) -> Result<(), Refusal> {
        for (column, value) in &added.values {
            self.text(", ");
            match &added.typed {
                Some((_, target)) => {
                    self.typed(target, column, |writer| writer.policy(value, crate::expressions::TARGET))?;
                }
                None => self.policy(value, crate::expressions::TARGET)?,
            }
        }
        Ok(())
    }

    fn distinct(&mut self, distinct: Option<&Distinct>) -> Result<(), Refusal> {
        match distinct {
            None => {}
            Some(Distinct::All) => self.text("ALL "),
            Some(Distinct::Distinct) => self.text("DISTINCT "),
            Some(Distinct::On(expressions)) => {
                self.text("DISTINCT ON (");
                self.list(expressions, Self::expression)?;
                self.text(") ");
            }
        }
        Ok(())
    }

    fn projection(
        &mut self,
        items: &[SelectItem],
        labels: &[String],
        typed: Option<&(Vec<String>, Arc<Entitlement>)>,
    ) -> Result<Outputs, Refusal> {
        let mut outputs = Some(Vec::new());
        let mut labels = labels.iter().filter(|_| labels.len() == items.len());
        let mut columns = typed.map(|(columns, _)| columns.as_slice()).unwrap_or_default().iter();
        self.list(items, |writer, item| {
            let label = labels.next().map(String::as_str);
            let more = match (item, columns.next(), typed) {
                (SelectItem::UnnamedExpr(constant), Some(column), Some((_, target)))
                    if crate::proposed::has_no_type(constant) =>
                {
                    writer.typed(target, column, |writer| writer.expression(constant))?;
                    None
                }
                // How many columns these are is not known here.
                (SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..), ..) => {
                    columns = [].iter();
                    writer.select_item(item, label)?
                }
                _ => writer.select_item(item, label)?,
            };
            outputs = match (outputs.take(), more) {
                (Some(mut all), Some(more)) => {
                    all.extend(more);
                    Some(all)
                }
                _ => None,
            };
            Ok(())
        })?;
        Ok(outputs)
    }

    /// An item, and the text that names it where it has no other name.
    pub(crate) fn select_item(&mut self, item: &SelectItem, label: Option<&str>) -> Result<Outputs, Refusal> {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                let start = self.out.len();
                self.expression(expression)?;
                if let Some([name]) = self.column_path(self.uncast(expression)).as_deref()
                    && self
                        .out
                        .get(start..)
                        .is_some_and(|it| it.trim_start_matches("CAST(").starts_with("(CASE"))
                {
                    // What stands for a whole row has another name, also behind a cast.
                    self.text(" AS ");
                    self.name(name);
                }
                if !self.dialect.is_postgres() {
                    match self.column_path(expression) {
                        None => return Ok(Some(vec![self.labelled(expression, label, start)])),
                        // There the name of a relation's column is what the statement wrote.
                        Some(path) if self.dialect.is_mysql() && self.is_of_relation(&path) => {
                            self.text(" AS ");
                            self.name(path.last().map_or("", String::as_str));
                        }
                        Some(_) => {}
                    }
                }
                Ok(self.unnamed_output(expression)?.map(|output| vec![output]))
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                self.expression(expr)?;
                self.text(" AS ");
                self.identifier(alias)?;
                let data_type = self.plain_type(expr);
                Ok(Some(vec![Output { name: self.folded(alias)?, data_type }]))
            }
            SelectItem::Wildcard(options) => {
                plain_wildcard(options)?;
                self.text("*");
                let scope = self.names.scopes.last().cloned().unwrap_or_default();
                let columns =
                    scope.sources.into_iter().map(|source| source.columns).collect::<Option<Vec<_>>>();
                Ok(columns.map(|columns| columns.into_iter().flatten().collect()))
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                plain_wildcard(options)?;
                let alias = self.wildcard_alias(&self.parts(name)?)?;
                self.name(&alias);
                self.text(".*");
                Ok(self.names.source(&alias, self.same).and_then(|source| source.columns.clone()))
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _)
            | SelectItem::ExprWithAliases { .. } => Err(not_admitted("this item of a SELECT list")),
        }
    }

    /// Names what was computed as the database would have.
    fn labelled(&mut self, expression: &Expr, label: Option<&str>, start: usize) -> Output {
        let name = label.map_or_else(|| expression.to_string(), str::to_owned);
        // There a text is called what it says, which is what is printed.
        let is_text = self.dialect.is_mysql() && crate::expressions::is_text(expression);
        if !is_text && self.out.get(start..) != Some(name.as_str()) {
            self.text(" AS ");
            self.name(&name);
        }
        Output { name, data_type: None }
    }

    fn is_of_relation(&self, path: &[String]) -> bool {
        let sources = self.names.scopes.iter().rev().flat_map(|scope| &scope.sources);
        let mut found = sources.filter(|source| match path {
            [name] => source.columns.iter().flatten().any(|column| (self.same)(&column.name, name)),
            [.., alias, _] => (self.same)(&source.alias, alias),
            [] => false,
        });
        found.next().is_some_and(|source| source.entitlement.is_some() && !source.is_target)
    }

    /// What `alias.*` or `schema.relation.*` stands for.
    pub(crate) fn wildcard_alias(&self, parts: &[String]) -> Result<String, Refusal> {
        match parts {
            [alias] if self.names.holds_hidden(alias, self.same) => {
                Err(not_admitted("the whole row of what is changed"))
            }
            [alias] => Ok(alias.clone()),
            [schema, relation] => {
                let relation = ringfence_policy::RelationName::new(schema, relation);
                let alias = self.names.alias_of(&relation).map(str::to_owned);
                alias.ok_or_else(|| Refusal::UnknownRelation { name: relation.to_string() })
            }
            _ => Err(not_admitted("a name of so many parts")),
        }
    }

    /// The column that an expression without an alias makes, where its name is plain to see.
    fn unnamed_output(&self, expression: &Expr) -> Result<Option<Output>, Refusal> {
        let name = match expression {
            Expr::Identifier(name) => self.folded(name)?,
            Expr::CompoundIdentifier(parts) => {
                parts.last().map(|name| self.folded(name)).transpose()?.unwrap_or_default()
            }
            Expr::Function(function) => self.parts(&function.name)?.pop().unwrap_or_default(),
            _ => return Ok(None),
        };
        Ok(Some(Output { name, data_type: self.plain_type(expression) }))
    }

    fn group_by(
        &mut self,
        group_by: &GroupByExpr,
        projection: &[SelectItem],
        having: Option<&Expr>,
        order_by: Option<&OrderBy>,
    ) -> Result<(), Refusal> {
        let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
            return Err(not_admitted("GROUP BY ALL"));
        };
        let (expressions, is_distinct) = match expressions.as_slice() {
            [Expr::Identifier(mark), rest @ ..] if mark.value == DISTINCT => (rest, true),
            all => (all, false),
        };
        if modifiers.iter().any(|modifier| !matches!(modifier, GroupByWithModifier::GroupingSets(_))) {
            return Err(not_admitted("this form of GROUP BY"));
        }
        if expressions.is_empty() && modifiers.is_empty() {
            return Ok(());
        }
        self.text(if is_distinct { " GROUP BY DISTINCT " } else { " GROUP BY " });
        self.list(expressions, Self::grouping)?;
        for modifier in modifiers {
            if let GroupByWithModifier::GroupingSets(sets) = modifier {
                self.grouping(sets)?;
            }
        }
        for (alias, column) in self.dependent_columns(expressions, projection, having, order_by)? {
            self.text(", ");
            self.qualified(&alias, &column);
        }
        Ok(())
    }

    fn grouping(&mut self, expression: &Expr) -> Result<(), Refusal> {
        let (word, sets) = match expression {
            Expr::GroupingSets(sets) => ("GROUPING SETS (", sets),
            Expr::Cube(sets) => ("CUBE (", sets),
            Expr::Rollup(sets) => ("ROLLUP (", sets),
            Expr::Tuple(items) if items.is_empty() => {
                self.text("()");
                return Ok(());
            }
            other => return self.expression(other),
        };
        // A column that the fence compares with one value is taken for constant, which it is not beside the NULLs of
        // grouping sets: PostgreSQL before 18 forgets to sort by it. It does not look behind a barrier.
        self.may_raise = true;
        self.text(word);
        self.list(sets, |writer, set| {
            writer.text("(");
            writer.list(set, Self::expression)?;
            writer.text(")");
            Ok(())
        })?;
        self.text(")");
        Ok(())
    }

    /// A name alone is first of all one that the list gives, in every database; `items` is that list.
    fn order_by(&mut self, order_by: Option<&OrderBy>, items: &[SelectItem]) -> Result<(), Refusal> {
        let Some(OrderBy { kind, interpolate: None }) = order_by else {
            return if order_by.is_none() { Ok(()) } else { Err(not_admitted("INTERPOLATE")) };
        };
        let OrderByKind::Expressions(expressions) = kind else {
            return Err(not_admitted("ORDER BY ALL"));
        };
        self.text(" ORDER BY ");
        self.as_written(|writer| {
            writer.list(expressions, |writer, item| match &item.expr {
                Expr::Identifier(name) if writer.is_given(name, items)? => {
                    writer.identifier(name)?;
                    writer.direction(item)
                }
                _ => writer.order_by_item(item),
            })
        })
    }

    /// Whether an item of the list is called so by AS.
    fn is_given(&self, name: &Ident, items: &[SelectItem]) -> Result<bool, Refusal> {
        let name = self.folded(name)?;
        let is_same = |alias: &Ident| self.folded(alias).is_ok_and(|alias| (self.same)(&alias, &name));
        Ok(items.iter().any(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if is_same(alias))))
    }

    pub(crate) fn order_by_item(&mut self, item: &OrderByExpr) -> Result<(), Refusal> {
        self.expression(&item.expr)?;
        self.direction(item)
    }

    fn direction(&mut self, item: &OrderByExpr) -> Result<(), Refusal> {
        let OrderByExpr { expr: _, options: OrderByOptions { asc, nulls_first }, with_fill: None } = item
        else {
            return Err(not_admitted("WITH FILL"));
        };
        match asc {
            Some(true) => self.text(" ASC"),
            Some(false) => self.text(" DESC"),
            None => {}
        }
        match nulls_first {
            Some(true) => self.text(" NULLS FIRST"),
            Some(false) => self.text(" NULLS LAST"),
            None => {}
        }
        Ok(())
    }

    /// Limits stay as they are written: a planner that does not know them plans for far more rows.
    fn limits(&mut self, limit: Option<&LimitClause>, fetch: Option<&Fetch>) -> Result<(), Refusal> {
        self.as_written(|writer| writer.limits_as_written(limit, fetch))
    }

    fn limits_as_written(
        &mut self,
        limit: Option<&LimitClause>,
        fetch: Option<&Fetch>,
    ) -> Result<(), Refusal> {
        match limit {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                if let Some(limit) = limit {
                    self.text(" LIMIT ");
                    self.expression(limit)?;
                }
                if let Some(Offset { value, rows: _ }) = offset {
                    self.text(" OFFSET ");
                    self.expression(value)?;
                }
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) if !self.dialect.is_postgres() => {
                self.text(" LIMIT ");
                self.expression(limit)?;
                self.text(" OFFSET ");
                self.expression(offset)?;
            }
            Some(_) => return Err(not_admitted("this form of LIMIT")),
        }
        match fetch {
            None => Ok(()),
            Some(Fetch { with_ties, percent: false, quantity }) if self.dialect.is_postgres() => {
                self.text(" FETCH FIRST ");
                if let Some(quantity) = quantity {
                    self.expression(quantity)?;
                }
                self.text(if *with_ties { " ROWS WITH TIES" } else { " ROWS ONLY" });
                Ok(())
            }
            Some(_) => Err(not_admitted("this form of FETCH")),
        }
    }

    /// FOR UPDATE locks rows, so only who may change them may ask for it.
    fn locks(&mut self, locks: &[LockClause], relations_before: usize) -> Result<(), Refusal> {
        for LockClause { lock_type, of, nonblock } in locks {
            let locked = self.relations.iter().skip(relations_before).find(|relation| {
                self.view
                    .relations
                    .get(*relation)
                    .is_none_or(|entitled| entitled.writes.update != Permit::Allow)
            });
            if let Some(relation) = locked {
                return Err(Refusal::WriteDenied { action: "locking rows", relation: relation.name.clone() });
            }
            self.writes = true;
            self.text(match lock_type {
                LockType::Update => " FOR UPDATE",
                LockType::Share => " FOR SHARE",
            });
            if let Some(name) = of {
                self.text(" OF ");
                let alias = self.parts(name)?.pop().unwrap_or_default();
                self.name(&alias);
            }
            match nonblock {
                None => {}
                Some(NonBlock::Nowait) => self.text(" NOWAIT"),
                Some(NonBlock::SkipLocked) => self.text(" SKIP LOCKED"),
            }
        }
        Ok(())
    }

    pub(crate) fn from(&mut self, tables: &[TableWithJoins]) -> Result<Scope, Refusal> {
        let mut scope = Scope::default();
        if tables.is_empty() {
            return Ok(scope);
        }
        self.text(" FROM ");
        self.list(tables, |writer, table| writer.joined(table, &mut scope))?;
        Ok(scope)
    }

    pub(crate) fn joined(&mut self, table: &TableWithJoins, scope: &mut Scope) -> Result<(), Refusal> {
        let TableWithJoins { relation, joins } = table;
        self.table_factor(relation, scope)?;
        for Join { relation, global, join_operator } in joins {
            if *global {
                return Err(not_admitted("GLOBAL JOIN"));
            }
            let (word, constraint) = match join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN ", constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    ("LEFT JOIN ", constraint)
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    ("RIGHT JOIN ", constraint)
                }
                JoinOperator::FullOuter(constraint) => ("FULL JOIN ", constraint),
                JoinOperator::StraightJoin(constraint) if self.dialect.is_mysql() => {
                    ("STRAIGHT_JOIN ", constraint)
                }
                JoinOperator::CrossJoin(JoinConstraint::None) => ("CROSS JOIN ", &JoinConstraint::None),
                _ => return Err(not_admitted("this kind of join")),
            };
            self.text(if matches!(constraint, JoinConstraint::Natural) { " NATURAL " } else { " " });
            self.text(word);
            let before = scope.sources.len();
            self.table_factor(relation, scope)?;
            self.join_constraint(constraint, scope)?;
            self.note_merged(constraint, join_operator, scope, before)?;
        }
        Ok(())
    }

    /// The columns that a join merges are the left side's, or the right side's in a RIGHT JOIN.
    fn note_merged(
        &self,
        constraint: &JoinConstraint,
        operator: &JoinOperator,
        scope: &mut Scope,
        before: usize,
    ) -> Result<(), Refusal> {
        let has = |source: &Source, name: &str| {
            source.columns.iter().flatten().any(|column| (self.same)(&column.name, name))
        };
        let (left, right) = scope.sources.split_at(before.min(scope.sources.len()));
        let names = match constraint {
            JoinConstraint::Using(columns) => {
                columns.iter().map(|column| Ok(self.parts(column)?.pop().unwrap_or_default())).collect()
            }
            JoinConstraint::Natural => {
                let all = right.iter().flat_map(|source| source.columns.iter().flatten());
                let common = all.filter(|column| left.iter().any(|source| has(source, &column.name)));
                Ok(common.map(|column| column.name.clone()).collect())
            }
            JoinConstraint::On(_) | JoinConstraint::None => Ok(Vec::new()),
        };
        let names: Vec<String> = names?;
        let is_right = matches!(operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_));
        let side = if is_right { right } else { left };
        let owner = |name: &str| {
            if matches!(operator, JoinOperator::FullOuter(_)) {
                return None;
            }
            let known = scope.merged.iter().find(|(merged, _)| !is_right && (self.same)(merged, name));
            known.map_or_else(
                || side.iter().find(|source| has(source, name)).map(|source| source.alias.clone()),
                |(_, owner)| owner.clone(),
            )
        };
        let merged: Vec<(String, Option<String>)> =
            names.into_iter().map(|name| (name.clone(), owner(&name))).collect();
        scope.merged.retain(|(known, _)| !merged.iter().any(|(name, _)| (self.same)(known, name)));
        scope.merged.extend(merged);
        Ok(())
    }

    fn join_constraint(&mut self, constraint: &JoinConstraint, scope: &Scope) -> Result<(), Refusal> {
        match constraint {
            JoinConstraint::Natural | JoinConstraint::None => Ok(()),
            JoinConstraint::On(condition) => {
                self.text(" ON ");
                self.names.scopes.push(scope.clone());
                let done = self.expression(condition);
                self.names.scopes.pop();
                done
            }
            JoinConstraint::Using(columns) => {
                self.text(" USING (");
                self.list(columns, |writer, column| match writer.parts(column)?.as_slice() {
                    [name] => {
                        writer.name(name);
                        Ok(())
                    }
                    _ => Err(not_admitted("a qualified name in USING")),
                })?;
                self.text(")");
                Ok(())
            }
        }
    }

    /// The columns of an alias, under the names that the alias gives them.
    pub(crate) fn renamed(
        &self,
        outputs: Outputs,
        columns: &[sqlparser::ast::TableAliasColumnDef],
    ) -> Result<Outputs, Refusal> {
        let Some(mut outputs) = outputs else { return Ok(None) };
        for (output, column) in outputs.iter_mut().zip(columns) {
            output.name = self.folded(&column.name)?;
        }
        Ok(Some(outputs))
    }
}

fn plain_wildcard(options: &WildcardAdditionalOptions) -> Result<(), Refusal> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike: None,
        opt_exclude: None,
        opt_except: None,
        opt_replace: None,
        opt_rename: None,
        opt_alias: None,
    } = options
    else {
        return Err(not_admitted("this form of *"));
    };
    Ok(())
}
