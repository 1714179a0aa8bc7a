//! What may stand in FROM: relations behind their fence, common tables, sub-queries, functions, joins in parentheses.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_policy::RelationName;
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderBy,
    OrderByKind, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableAliasColumnDef, TableFactor,
    TableFunctionArgs,
};

use crate::admit::ROWS_FROM;
use crate::refusal::Refusal;
use crate::relations::{CommonTable, Output, Outputs, Scope, Source, without_only};
use crate::rewrite::{Writer, not_admitted};
use crate::system;

impl Writer<'_> {
    pub(crate) fn table_factor(&mut self, factor: &TableFactor, scope: &mut Scope) -> Result<(), Refusal> {
        self.nested(|writer| match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version: None,
                with_ordinality,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => match args {
                Some(TableFunctionArgs { args, settings: None }) => {
                    writer.function_source(false, name, args, *with_ordinality, alias.as_ref(), scope)
                }
                Some(_) => Err(not_admitted("this form of a function in FROM")),
                None if *with_ordinality => Err(not_admitted("WITH ORDINALITY without a function")),
                None => writer.named_relation(name, alias.as_ref(), scope),
            },
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                let (outputs, alias) = writer.derived(*lateral, subquery, alias.as_ref(), scope)?;
                scope.sources.push(Source {
                    alias,
                    unaliased: None,
                    columns: outputs,
                    entitlement: None,
                    is_target: false,
                });
                Ok(())
            }
            TableFactor::Function { lateral, name, args, with_ordinality, alias } => {
                writer.function_source(*lateral, name, args, *with_ordinality, alias.as_ref(), scope)
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset: false,
                with_offset_alias: None,
                with_ordinality,
            } => writer.unnest(array_exprs, *with_ordinality, alias.as_ref(), scope),
            TableFactor::NestedJoin { table_with_joins, alias } => {
                writer.text("(");
                let mut inner = Scope::default();
                writer.joined(table_with_joins, &mut inner)?;
                writer.text(")");
                let Some(alias) = alias else {
                    scope.sources.extend(inner.sources);
                    return Ok(());
                };
                if writer.dialect.is_lake() {
                    // Of two columns of one name it would take the first, where others say that there are two.
                    return Err(not_admitted("an alias of a join in brackets"));
                }
                let alias = writer.alias(alias)?;
                scope.sources.push(Source {
                    alias,
                    unaliased: None,
                    columns: None,
                    entitlement: None,
                    is_target: false,
                });
                Ok(())
            }
            _ => Err(not_admitted("this item of FROM")),
        })
    }

    /// A common table, or a relation behind its fence.
    pub(crate) fn named_relation(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        scope: &mut Scope,
    ) -> Result<(), Refusal> {
        let (name, only) = without_only(name);
        let parts = self.parts(&name)?;
        let common = match parts.as_slice() {
            [name] => self.names.common_table(name, self.same).cloned(),
            _ => None,
        };
        if common.is_some() && only {
            return Err(not_admitted("ONLY of a common table"));
        }
        if let Some(table) = common {
            self.common_relation(&table)?;
            let called = match alias {
                None if self.dialect.is_postgres() && !table.has_check => table.name,
                None => {
                    let own = parts.last().cloned().unwrap_or_default();
                    self.text(" AS ");
                    self.name(&own);
                    own
                }
                Some(alias) => self.alias(alias)?,
            };
            let columns = self.renamed(table.columns, alias.map_or(&[], |alias| &alias.columns))?;
            scope.sources.push(Source {
                alias: called,
                unaliased: None,
                columns,
                entitlement: None,
                is_target: false,
            });
            return Ok(());
        }
        if let Some(system) = system::find(self.dialect, &parts).filter(|_| !only) {
            return self.system_relation(system, alias, scope);
        }
        let entitlement = self.entitlement(&name)?;
        self.fence(&entitlement, only)?;
        let called = if let Some(alias) = alias {
            self.alias(alias)?
        } else {
            let own = parts.last().cloned().unwrap_or_default();
            self.text(" AS ");
            self.name(&own);
            own
        };
        let columns =
            self.renamed(Some(Self::outputs_of(&entitlement)), alias.map_or(&[], |alias| &alias.columns))?;
        let unaliased = alias.is_none().then(|| entitlement.relation.clone());
        scope.sources.push(Source {
            alias: called,
            unaliased,
            columns,
            entitlement: Some(entitlement),
            is_target: false,
        });
        Ok(())
    }

    /// A common table, without the column of ours that it may have.
    fn common_relation(&mut self, table: &CommonTable) -> Result<(), Refusal> {
        if !table.has_check {
            self.common_name(&table.name);
            return Ok(());
        }
        let columns = table.columns.clone().unwrap_or_default();
        if columns.is_empty() {
            // It has no RETURNING, and can't be named.
            return Err(Refusal::UnknownRelation { name: table.name.clone() });
        }
        self.text("(SELECT ");
        self.list(&columns, |writer, column| {
            writer.name(&column.name);
            Ok(())
        })?;
        self.text(" FROM ");
        self.common_name(&table.name);
        self.text(")");
        Ok(())
    }

    fn derived(
        &mut self,
        lateral: bool,
        query: &sqlparser::ast::Query,
        alias: Option<&TableAlias>,
        scope: &Scope,
    ) -> Result<(Outputs, String), Refusal> {
        self.text(if lateral { "LATERAL (" } else { "(" });
        if lateral {
            self.names.scopes.push(scope.clone());
        }
        let outputs = self.query(query);
        if lateral {
            self.names.scopes.pop();
        }
        let outputs = outputs?;
        self.text(")");
        let Some(alias) = alias else {
            let fresh = self.fresh_alias();
            self.text(" AS ");
            self.name(&fresh);
            return Ok((outputs, fresh));
        };
        let called = self.alias(alias)?;
        Ok((self.renamed(outputs, &alias.columns)?, called))
    }

    /// Functions in FROM see what stands before them.
    fn function_source(
        &mut self,
        lateral: bool,
        name: &ObjectName,
        arguments: &[FunctionArg],
        with_ordinality: bool,
        alias: Option<&TableAlias>,
        scope: &mut Scope,
    ) -> Result<(), Refusal> {
        self.text(if lateral { "LATERAL " } else { "" });
        self.names.scopes.push(scope.clone());
        let is_rows_from =
            matches!(name.0.as_slice(), [ObjectNamePart::Identifier(one)] if one.value == ROWS_FROM);
        let written = if is_rows_from { self.rows_from(arguments) } else { self.plain_call(name, arguments) };
        self.names.scopes.pop();
        let function = written?;
        self.function_alias(function, with_ordinality, alias, scope)
    }

    /// `ROWS FROM (functions)`; answers what the result is called without an alias.
    fn rows_from(&mut self, functions: &[FunctionArg]) -> Result<String, Refusal> {
        self.text("ROWS FROM (");
        let mut called = None;
        self.list(functions, |writer, function| {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(function))) = function else {
                return Err(not_admitted("anything but functions in ROWS FROM"));
            };
            let FunctionArguments::List(list) = &function.args else {
                return Err(not_admitted("this form of a function in ROWS FROM"));
            };
            if !crate::functions::is_plain_call(function) || list.duplicate_treatment.is_some() {
                return Err(not_admitted("this form of a function in ROWS FROM"));
            }
            let name = writer.plain_call(&function.name, &list.args)?;
            called.get_or_insert(name);
            Ok(())
        })?;
        self.text(")");
        called.ok_or_else(|| not_admitted("ROWS FROM without a function"))
    }

    fn unnest(
        &mut self,
        arrays: &[Expr],
        with_ordinality: bool,
        alias: Option<&TableAlias>,
        scope: &mut Scope,
    ) -> Result<(), Refusal> {
        let arguments: Vec<FunctionArg> =
            arrays.iter().map(|array| FunctionArg::Unnamed(FunctionArgExpr::Expr(array.clone()))).collect();
        if let [_] = arguments.as_slice() {
            let name = ObjectName::from(vec![Ident::new("unnest")]);
            return self.function_source(false, &name, &arguments, with_ordinality, alias, scope);
        }
        // With several arrays it is a word of the grammar, which takes no schema.
        self.raises();
        self.text("UNNEST(");
        self.names.scopes.push(scope.clone());
        let written = self.list(arrays, Self::expression);
        self.names.scopes.pop();
        written?;
        self.text(")");
        self.function_alias("unnest".to_owned(), with_ordinality, alias, scope)
    }

    fn function_alias(
        &mut self,
        function: String,
        with_ordinality: bool,
        alias: Option<&TableAlias>,
        scope: &mut Scope,
    ) -> Result<(), Refusal> {
        if with_ordinality {
            self.text(" WITH ORDINALITY");
        }
        let (called, columns) = match alias {
            None => (function, None),
            Some(alias) => {
                let called = self.alias(alias)?;
                let named = alias
                    .columns
                    .iter()
                    .map(|column| self.folded(&column.name).map(|name| Output { name, data_type: None }));
                let named = named.collect::<Result<Vec<_>, _>>()?;
                (called, if named.is_empty() { None } else { Some(named) })
            }
        };
        scope.sources.push(Source {
            alias: called,
            unaliased: None,
            columns,
            entitlement: None,
            is_target: false,
        });
        Ok(())
    }

    /// ` AS alias (columns)`; answers the name.
    pub(crate) fn alias(&mut self, alias: &TableAlias) -> Result<String, Refusal> {
        let TableAlias { explicit: _, name, columns, at: None } = alias else {
            return Err(not_admitted("this form of an alias"));
        };
        let called = self.folded(name)?;
        self.text(" AS ");
        self.name(&called);
        self.aliases.push(called.clone());
        self.alias_columns(columns)?;
        Ok(called)
    }

    pub(crate) fn alias_columns(&mut self, columns: &[TableAliasColumnDef]) -> Result<(), Refusal> {
        if columns.is_empty() {
            return Ok(());
        }
        self.text(" (");
        self.list(columns, |writer, TableAliasColumnDef { name, data_type }| {
            writer.identifier(name)?;
            if let Some(data_type) = data_type {
                writer.text(" ");
                writer.data_type(data_type)?;
            }
            Ok(())
        })?;
        self.text(")");
        Ok(())
    }

    /// Grouped by a relation's primary key, its other columns may be named without an aggregate. A fence has no key, so
    /// that those which are named are grouped by as well: it makes no difference to the groups.
    pub(crate) fn dependent_columns(
        &self,
        grouped: &[Expr],
        projection: &[SelectItem],
        having: Option<&Expr>,
        order_by: Option<&OrderBy>,
    ) -> Result<BTreeSet<(String, String)>, Refusal> {
        let mut dependent = BTreeSet::new();
        let scope = self.names.scopes.last().cloned().unwrap_or_default();
        let grouped: Vec<Vec<String>> =
            grouped.iter().filter_map(|expression| self.column_path(expression)).collect();
        if grouped.is_empty() || grouped.len() > 64 {
            return Ok(dependent);
        }
        let mut named = Vec::new();
        let mut whole = Vec::new();
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expression)
                | SelectItem::ExprWithAlias { expr: expression, alias: _ } => {
                    named.push(expression);
                }
                SelectItem::Wildcard(_) => {
                    whole.extend(scope.sources.iter().map(|source| source.alias.clone()));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    whole.push(self.wildcard_alias(&self.parts(name)?)?);
                }
                SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {}
            }
        }
        named.extend(having);
        if let Some(OrderBy { kind: OrderByKind::Expressions(items), interpolate: _ }) = order_by {
            named.extend(items.iter().map(|item| &item.expr));
        }
        let mut paths = Vec::new();
        for expression in named {
            if !crate::expressions::column_paths(self, expression, &mut paths) {
                whole.extend(scope.sources.iter().map(|source| source.alias.clone()));
            }
        }
        for source in &scope.sources {
            if !self.is_grouped_by_key(source, &scope, &grouped) {
                continue;
            }
            let columns = source.columns.iter().flatten().filter(|column| can_be_grouped(column));
            let own = |column: &Output| vec![source.alias.clone(), column.name.clone()];
            let all: Vec<Vec<String>> = columns.filter(|_| whole.contains(&source.alias)).map(own).collect();
            for path in paths.iter().chain(&all) {
                let column = self.column_of(source, &scope, path);
                let column = column.filter(|column| {
                    !grouped.iter().any(|grouped| self.column_of(source, &scope, grouped) == Some(column))
                });
                if let Some(column) = column {
                    dependent.insert((source.alias.clone(), column.to_owned()));
                }
            }
        }
        Ok(dependent)
    }

    fn is_grouped_by_key(&self, source: &Source, scope: &Scope, grouped: &[Vec<String>]) -> bool {
        let (Some(entitlement), Some(columns)) = (&source.entitlement, &source.columns) else { return false };
        // An alias may call the columns otherwise; they stay in their order.
        let called = |key: &String| {
            let place =
                entitlement.columns.iter().position(|column| column.name == *key && column.mask.is_none());
            place.and_then(|place| columns.get(place)).map(|column| column.name.as_str())
        };
        let is_grouped =
            |name: &str| grouped.iter().any(|path| self.column_of(source, scope, path) == Some(name));
        !entitlement.key.is_empty() && entitlement.key.iter().all(|key| called(key).is_some_and(is_grouped))
    }

    /// The column of the source that a path names, when it can be no other's.
    fn column_of<'p>(&self, source: &'p Source, scope: &Scope, path: &[String]) -> Option<&'p str> {
        let columns = source.columns.as_deref()?;
        let name = match path {
            [name] if scope.merged.iter().any(|(merged, _)| (self.same)(merged, name)) => {
                let mut merged = scope.merged.iter().filter(|(merged, _)| (self.same)(merged, name));
                merged.next().filter(|(_, owner)| owner.as_ref() == Some(&source.alias)).map(|_| name)?
            }
            [name] => {
                let others = scope.sources.iter().filter(|other| other.alias != source.alias);
                let mut others = others.map(|other| other.columns.as_deref());
                let is_only = others.all(|columns| {
                    columns
                        .is_some_and(|columns| !columns.iter().any(|column| (self.same)(&column.name, name)))
                });
                is_only.then_some(name)?
            }
            [alias, name] if (self.same)(alias, &source.alias) => name,
            [schema, relation, name]
                if source.unaliased.as_ref() == Some(&RelationName::new(schema, relation)) =>
            {
                name
            }
            _ => return None,
        };
        columns.iter().find(|column| (self.same)(&column.name, name)).map(|column| column.name.as_str())
    }

    /// Whether an alias calls the columns of a relation otherwise. The row as a whole keeps their own names all the same,
    /// which it would not behind a fence.
    pub(crate) fn is_renamed(&self, alias: &str) -> bool {
        self.dialect.is_postgres()
            && self.names.source(alias, self.same).is_some_and(|source| {
                let columns = source.columns.iter().flatten();
                source.entitlement.as_ref().is_some_and(|entitlement| {
                    entitlement.columns.iter().zip(columns).any(|(own, called)| own.name != called.name)
                })
            })
    }

    /// The row as a whole, with the relation's own names. A row that an outer join did not find is NULL, and not one of
    /// NULLs.
    pub(crate) fn renamed_row(&mut self, alias: &str) -> Result<(), Refusal> {
        let source = self.names.source(alias, self.same).cloned().ok_or(Refusal::NotVerified)?;
        let own = source.entitlement.as_ref().map(|entitlement| entitlement.columns.clone());
        let pairs: Vec<_> = own.into_iter().flatten().zip(source.columns.into_iter().flatten()).collect();
        self.text("(CASE WHEN ");
        self.name(alias);
        self.text(" IS DISTINCT FROM NULL THEN (SELECT \"_rf_w\" FROM (SELECT ");
        self.list(&pairs, |writer, (own, called)| {
            writer.qualified(alias, &called.name);
            writer.text(" AS ");
            writer.name(&own.name);
            Ok(())
        })?;
        self.text(") AS \"_rf_w\") END)");
        Ok(())
    }

    /// The names of a column reference; `None` for every other expression.
    pub(crate) fn column_path(&self, expression: &Expr) -> Option<Vec<String>> {
        match expression {
            Expr::Identifier(name) => Some(vec![self.folded(name).ok()?]),
            Expr::CompoundIdentifier(parts) => parts.iter().map(|part| self.folded(part).ok()).collect(),
            Expr::Nested(inner) => self.column_path(inner),
            _ => None,
        }
    }

    /// The relation that a statement changes, as a source of names. Its row is not fenced.
    pub(crate) fn target_source(
        alias: &str,
        unaliased: Option<RelationName>,
        target: &Arc<ringfence_policy::Entitlement>,
    ) -> Source {
        Source {
            alias: alias.to_owned(),
            unaliased,
            columns: Some(Self::outputs_of(target)),
            entitlement: Some(Arc::clone(target)),
            is_target: true,
        }
    }
}

/// Whether the type has an equality.
fn can_be_grouped(column: &Output) -> bool {
    !matches!(
        column.data_type.as_deref(),
        Some("json" | "xml" | "point" | "box" | "polygon" | "line" | "lseg" | "path")
    )
}
