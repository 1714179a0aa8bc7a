//! INSERT and MERGE.

use std::sync::Arc;

use ringfence_policy::{Entitlement, Expression, Permit};
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, DoUpdate, Expr, Insert, Merge, MergeAction, MergeClause,
    MergeClauseKind, MergeInsertExpr, MergeInsertKind, MergeUpdateExpr, ObjectName, ObjectNamePart,
    OnConflict, OnConflictAction, OnInsert, TableAliasWithoutColumns, TableObject, Values,
};

use crate::admit::NOTHING;
use crate::expressions::TARGET;
use crate::proposed::{Proposal, QUERY};
use crate::refusal::Refusal;
use crate::relations::{Outputs, Scope, Source};
use crate::rewrite::{Writer, not_admitted};
use crate::writes::{Target, is_default, plain_values, target_name, writable_rows};

/// The columns of an INSERT: those that the statement names, and those that the policy adds.
pub(crate) struct Columns {
    pub(crate) given: Vec<String>,
    /// Places in `auto_set` of the target.
    added: Vec<usize>,
}

impl Columns {
    pub(crate) fn added_names(&self, target: &Entitlement) -> Vec<String> {
        let added = self.added.iter().filter_map(|index| target.writes.auto_set.get(*index));
        added.map(|(name, _)| name.clone()).collect()
    }
}

impl Writer<'_> {
    pub(crate) fn insert(&mut self, insert: &Insert) -> Result<Outputs, Refusal> {
        let Insert {
            insert_token: _,
            optimizer_hints: _,
            or: None,
            ignore: false,
            into: _,
            table: TableObject::TableName(name),
            table_alias,
            columns,
            overwrite: false,
            source,
            assignments,
            partitioned: None,
            after_columns,
            has_table_keyword: false,
            on,
            returning,
            output: None,
            replace_into: false,
            priority: None,
            insert_alias: None,
            settings: None,
            format_clause: None,
            multi_table_insert_type: None,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause: None,
        } = insert
        else {
            return Err(not_admitted("this form of INSERT"));
        };
        let is_plain = assignments.is_empty()
            && after_columns.is_empty()
            && multi_table_into_clauses.is_empty()
            && multi_table_when_clauses.is_empty();
        if !is_plain {
            return Err(not_admitted("this form of INSERT"));
        }
        let alias = table_alias.as_ref().map(|TableAliasWithoutColumns { explicit: _, alias }| alias);
        let target = self.target(name, alias, |entitled| entitled.writes.create, "INSERT")?;
        if target.only {
            return Err(not_admitted("ONLY in INSERT"));
        }
        if self.dialect.is_mysql() {
            let plain = returning.is_none().then_some(source.as_deref()).flatten().and_then(plain_values);
            let values = plain.ok_or_else(|| not_admitted("this form of INSERT: use VALUES"))?;
            return self.implied_insert(&target, columns, values, on.as_ref()).map(|()| None);
        }
        let mut scope = Scope::default();
        self.text("INSERT INTO ");
        self.write_target(&target, &mut scope);
        let width = source
            .as_deref()
            .and_then(plain_values)
            .and_then(|values| values.rows.first())
            .map(|row| row.content.len());
        let columns = self.insert_columns(columns, &target.entitlement, source.is_some(), width)?;
        let proposal = match source.as_deref().map(|query| (query, plain_values(query))) {
            None => Proposal::default(),
            Some((_, Some(values))) => self.proposal_of_rows(values, &columns, &target.entitlement),
            Some((_, None)) => {
                let mut told = columns.given.clone();
                told.extend(columns.added_names(&target.entitlement));
                self.proposal(&target.entitlement, &columns.given, &told)
            }
        };
        self.insert_source(&columns, source.as_deref(), &target.entitlement, &proposal)?;
        self.names.scopes.push(scope);
        self.on_conflict(on.as_ref(), &target, &proposal.left)?;
        let check = self.check_of_insert(&target.entitlement, &columns);
        let outputs = self.returning(returning.as_deref(), &target, check.as_deref())?;
        self.names.scopes.pop();
        Ok(outputs)
    }

    /// Without a list of columns, values go to the visible ones in their order.
    fn insert_columns(
        &self,
        named: &[ObjectName],
        target: &Entitlement,
        has_source: bool,
        width: Option<usize>,
    ) -> Result<Columns, Refusal> {
        let given = if named.is_empty() && has_source {
            let width = width.ok_or_else(|| not_admitted("INSERT of a query without a list of columns"))?;
            let in_order =
                target.columns.iter().take(width).map(|column| ObjectName::from(vec![quoted(&column.name)]));
            in_order.map(|name| self.writable_column(&name, target)).collect::<Result<Vec<_>, _>>()?
        } else {
            named.iter().map(|name| self.writable_column(name, target)).collect::<Result<Vec<_>, _>>()?
        };
        let rules = &target.writes;
        let is_set = |column: &String| rules.auto_set.iter().any(|(set, _)| set == column);
        if let Some(column) = rules.required.iter().find(|column| !given.contains(column) && !is_set(column))
        {
            return Err(Refusal::FieldRequired { column: column.clone() });
        }
        let missing = |(_, (column, _)): &(usize, &(String, _))| !given.contains(column);
        let added = rules.auto_set.iter().enumerate().filter(missing).map(|(index, _)| index).collect();
        Ok(Columns { given, added })
    }

    fn insert_source(
        &mut self,
        columns: &Columns,
        source: Option<&sqlparser::ast::Query>,
        target: &Entitlement,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let added: Vec<_> =
            columns.added.iter().filter_map(|index| target.writes.auto_set.get(*index)).collect();
        if columns.given.is_empty() && added.is_empty() {
            self.text(" DEFAULT VALUES");
            return Ok(());
        }
        self.text(" (");
        let names: Vec<&String> = columns.given.iter().chain(added.iter().map(|(name, _)| name)).collect();
        self.list(&names, |writer, name| {
            writer.name(name);
            Ok(())
        })?;
        self.text(") ");
        match source {
            None => {
                self.text("VALUES (");
                self.list(&added, |writer, (_, set)| writer.policy(&set.value, TARGET))?;
                self.text(")");
                Ok(())
            }
            Some(query) => match plain_values(query) {
                Some(values) => self.inserted_rows(values, columns, target, proposal),
                None if proposal.is_empty() => self.inserted_query(query, &added),
                None => self.checked_query(query, &names, &added, target, proposal),
            },
        }
    }

    fn inserted_rows(
        &mut self,
        values: &Values,
        columns: &Columns,
        target: &Entitlement,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let Values { explicit_row: false, value_keyword: false, rows } = values else {
            return Err(not_admitted("this form of VALUES"));
        };
        if rows.iter().any(|row| row.content.len() != columns.given.len()) {
            return Err(not_admitted("a row with another number of values than columns"));
        }
        let rules = &target.writes.auto_set;
        // The first row's first value checks them all.
        let mut is_unchecked = !proposal.is_empty();
        self.text("VALUES ");
        self.list(rows, |writer, row| {
            writer.text("(");
            let pairs: Vec<_> = row.content.iter().zip(&columns.given).collect();
            writer.list(&pairs, |writer, (value, column)| {
                let set = rules.iter().find(|(name, _)| name == *column).filter(|_| is_default(value));
                match set {
                    Some((_, set)) => writer.policy(&set.value, TARGET),
                    None if is_unchecked && !is_default(value) => {
                        is_unchecked = false;
                        writer.value_that_checks(value, column, proposal, (values, columns, target))
                    }
                    None => writer.value_or_default(value),
                }
            })?;
            if is_unchecked {
                return Err(not_admitted("a first row of nothing but DEFAULT: send it after another"));
            }
            for (index, (_, set)) in columns.added.iter().filter_map(|index| rules.get(*index)).enumerate() {
                writer.text(if index > 0 || !pairs.is_empty() { ", " } else { "" });
                writer.policy(&set.value, TARGET)?;
            }
            writer.text(")");
            Ok(())
        })
    }

    fn inserted_query(
        &mut self,
        query: &sqlparser::ast::Query,
        added: &[&(String, ringfence_policy::AutoSet)],
    ) -> Result<(), Refusal> {
        if added.is_empty() {
            return self.query(query).map(drop);
        }
        if matches!(query.body.as_ref(), sqlparser::ast::SetExpr::Select(_)) {
            // In its own list, so that constants there still take the types of the columns.
            self.added_items.values =
                added.iter().map(|(column, set)| (column.clone(), set.value.clone())).collect();
            return self.query(query).map(drop);
        }
        let alias = self.fresh_alias();
        self.text("SELECT ");
        self.name(&alias);
        self.text(".*, ");
        self.list(added, |writer, (_, set)| writer.policy(&set.value, TARGET))?;
        self.text(" FROM (");
        self.query(query)?;
        self.text(") AS ");
        self.name(&alias);
        // Without it SQLite takes ON CONFLICT for the condition of a join.
        self.text(if self.dialect.is_sqlite() { " WHERE TRUE" } else { "" });
        Ok(())
    }

    /// A query whose rows are checked one by one, before each is put in.
    fn checked_query(
        &mut self,
        query: &sqlparser::ast::Query,
        names: &[&String],
        added: &[&(String, ringfence_policy::AutoSet)],
        target: &Entitlement,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        self.text("WITH ");
        self.name(QUERY);
        self.text(" (");
        self.list(names, |writer, name| {
            writer.name(name);
            Ok(())
        })?;
        // A barrier, so that the check is not computed on rows that the query leaves out.
        let is_sqlite = self.dialect.is_sqlite();
        self.text(if is_sqlite { ") AS (SELECT * FROM (" } else { ") AS MATERIALIZED (" });
        if self.dialect.is_postgres() && matches!(query.body.as_ref(), sqlparser::ast::SetExpr::Select(_)) {
            let columns = names.iter().map(|name| (*name).clone()).collect();
            self.added_items.typed = Some((columns, Arc::new(target.clone())));
        }
        self.inserted_query(query, added)?;
        if is_sqlite {
            self.text(")");
            self.text(self.dialect.barrier);
        }
        self.text(") SELECT * FROM ");
        self.name(QUERY);
        self.rows_that_check(proposal, target)
    }

    fn on_conflict(
        &mut self,
        on: Option<&OnInsert>,
        target: &Target,
        left: &[Expression],
    ) -> Result<(), Refusal> {
        let (conflict_target, action) = match on {
            None => return Ok(()),
            Some(OnInsert::OnConflict(OnConflict { conflict_target, action })) => (conflict_target, action),
            Some(_) => return Err(not_admitted("this form of INSERT")),
        };
        self.text(" ON CONFLICT");
        match conflict_target {
            None => {}
            Some(ConflictTarget::Columns(columns)) => {
                self.text(" (");
                self.list(columns, |writer, column| {
                    let name = ObjectName::from(vec![column.clone()]);
                    let parts = writer.parts(&name)?;
                    let known = parts.first().and_then(|name| {
                        target.entitlement.columns.iter().find(|column| (writer.same)(&column.name, name))
                    });
                    let known = known.ok_or_else(|| Refusal::UnknownColumn { name: parts.join(".") })?;
                    writer.name(&known.name);
                    Ok(())
                })?;
                self.text(")");
            }
            Some(ConflictTarget::OnConstraint(_)) => {
                return Err(not_admitted("ON CONSTRAINT: name the columns"));
            }
        }
        match action {
            // It would tell whether there is a row with that key, and nothing would look at what is proposed.
            OnConflictAction::DoNothing if !left.is_empty() => Err(not_admitted(
                "DO NOTHING where a column that the policy looks at is left to its default: give it a value",
            )),
            OnConflictAction::DoNothing => {
                self.text(" DO NOTHING");
                Ok(())
            }
            OnConflictAction::DoUpdate(DoUpdate { assignments, selection }) => {
                self.conflict_update(assignments, selection.as_ref(), target, left)
            }
        }
    }

    /// The row in the way may be one that the principal does not see. Then nothing of the statement is computed on it:
    /// it is set to what it is, which the check of the new row finds, so that all is undone as for a key that is taken.
    fn conflict_update(
        &mut self,
        assignments: &[Assignment],
        selection: Option<&Expr>,
        target: &Target,
        left: &[Expression],
    ) -> Result<(), Refusal> {
        let entitlement = Arc::clone(&target.entitlement);
        match entitlement.writes.update {
            Permit::Allow => {}
            Permit::Approval | Permit::Deny => {
                let relation = entitlement.relation.name.clone();
                return Err(Refusal::WriteDenied { action: "UPDATE", relation });
            }
        }
        let excluded = Source {
            alias: "excluded".to_owned(),
            unaliased: None,
            columns: Some(Self::outputs_of(&entitlement)),
            entitlement: None,
            is_target: false,
        };
        let mut scope = Scope::default();
        scope.sources.push(Self::target_source(&target.alias, None, &entitlement));
        // Its columns are never found by a name alone: those are the changed relation's.
        self.names.scopes.push(Scope { sources: vec![excluded], is_proposed: true, ..Scope::default() });
        self.names.scopes.push(scope);
        self.text(" DO UPDATE SET ");
        let is_scoped = entitlement.rows != Expression::truth(true);
        self.conflict_rows = is_scoped.then(|| entitlement.rows.clone());
        let assigned = self.assignments(assignments, &entitlement);
        self.conflict_rows = None;
        assigned?;
        self.conflict_condition(selection, &entitlement, left)?;
        self.names.scopes.pop();
        self.names.scopes.pop();
        Ok(())
    }

    /// Rows that may be read and not changed are skipped. What of the proposed row was left to defaults is known here.
    fn conflict_condition(
        &mut self,
        selection: Option<&Expr>,
        target: &Entitlement,
        left: &[Expression],
    ) -> Result<(), Refusal> {
        let narrower = target.writes.rows.as_ref();
        if selection.is_none() && narrower.is_none() && left.is_empty() {
            return Ok(());
        }
        self.text(" WHERE CASE");
        if !left.is_empty() {
            self.text(" WHEN ");
            self.fails(left, "excluded")?;
            self.text(" THEN ");
            self.refuse();
            if selection.is_none() && narrower.is_none() {
                self.text(" ELSE TRUE END");
                return Ok(());
            }
        }
        self.text(" WHEN ");
        self.policy(&target.rows, TARGET)?;
        self.text(" THEN ");
        if let Some(narrower) = narrower {
            self.policy(narrower, TARGET)?;
            self.text(if selection.is_some() { " AND " } else { "" });
        }
        match (selection, narrower) {
            (Some(selection), Some(narrower)) => self.after_rows(narrower, selection)?,
            (Some(selection), None) => self.early(|writer| writer.expression(selection))?,
            (None, _) => {}
        }
        self.text(" ELSE TRUE END");
        Ok(())
    }

    /// The new row must be one that the principal sees, with the values that the policy sets, and refer to rows that it
    /// sees.
    fn check_of_insert(&mut self, target: &Entitlement, columns: &Columns) -> Option<Vec<Expression>> {
        let mut check = Vec::new();
        let rows = writable_rows(target);
        if rows != Expression::truth(true) {
            check.push(rows);
        }
        for (column, set) in &target.writes.auto_set {
            if columns.given.contains(column) && !check.contains(&set.accepts) {
                check.push(set.accepts.clone());
            }
        }
        let auto: Vec<String> = target.writes.auto_set.iter().map(|(column, _)| column.clone()).collect();
        check.extend(
            self.references(target, TARGET, |columns| !columns.iter().all(|column| auto.contains(column))),
        );
        (!check.is_empty()).then_some(check)
    }

    /// MERGE returns nothing that could be checked, so that a new row must be right by the way it is made.
    pub(crate) fn merge(&mut self, merge: &Merge) -> Result<(), Refusal> {
        let Merge { merge_token: _, optimizer_hints: _, into: _, table, source, on, clauses, output: None } =
            merge
        else {
            return Err(not_admitted("this clause of MERGE"));
        };
        if !self.dialect.is_postgres() {
            return Err(not_admitted("MERGE"));
        }
        let (name, alias) = target_name(table)?;
        // Any of the three may be asked of it; each clause asks for its own.
        let target = self.target(name, alias, |_| Permit::Allow, "MERGE")?;
        self.returns_rows = false;
        let rows = writable_rows(&target.entitlement);
        let mut scope = Scope::default();
        self.text("MERGE INTO ");
        self.write_target(&target, &mut scope);
        self.text(" USING ");
        let mut sources = Scope::default();
        self.beside_target(&target.entitlement, |writer| writer.table_factor(source, &mut sources))?;
        if sources.sources.iter().any(|source| source.alias == target.alias) {
            return Err(not_admitted("two relations of one name: give one an alias"));
        }
        scope.sources.append(&mut sources.sources);
        self.names.scopes.push(scope);
        self.text(" ON ");
        self.policy(&target.entitlement.rows, TARGET)?;
        self.text(" AND ");
        self.after_rows(&target.entitlement.rows.clone(), on)?;
        for clause in clauses {
            self.merge_clause(clause, &target, &rows)?;
        }
        self.names.scopes.pop();
        Ok(())
    }

    fn merge_clause(
        &mut self,
        clause: &MergeClause,
        target: &Target,
        rows: &Expression,
    ) -> Result<(), Refusal> {
        let MergeClause { when_token: _, clause_kind, predicate, action } = clause;
        let is_matched = match clause_kind {
            MergeClauseKind::Matched => true,
            MergeClauseKind::NotMatched => false,
            MergeClauseKind::NotMatchedByTarget | MergeClauseKind::NotMatchedBySource => {
                return Err(not_admitted("this clause of MERGE"));
            }
        };
        self.text(if is_matched { " WHEN MATCHED" } else { " WHEN NOT MATCHED" });
        if is_matched && (target.entitlement.writes.rows.is_some() || predicate.is_some()) {
            self.text(" AND ");
            self.policy(rows, TARGET)?;
            if let Some(predicate) = predicate {
                self.text(" AND ");
                self.after_rows(rows, predicate)?;
            }
        } else if let Some(predicate) = predicate {
            self.text(" AND ");
            self.early(|writer| writer.expression(predicate))?;
        }
        self.text(" THEN ");
        let entitlement = Arc::clone(&target.entitlement);
        if is_nothing(action) {
            self.text("DO NOTHING");
            return Ok(());
        }
        match action {
            MergeAction::Delete { delete_token: _ } => {
                permitted(entitlement.writes.delete, "DELETE", &entitlement)?;
                self.text("DELETE");
                Ok(())
            }
            MergeAction::Update(MergeUpdateExpr {
                update_token: _,
                assignments,
                update_predicate: None,
                delete_predicate: None,
            }) => {
                permitted(entitlement.writes.update, "UPDATE", &entitlement)?;
                self.text("UPDATE SET ");
                let assigned = self.assignments(assignments, &entitlement)?;
                let matters = crate::conditions::names_any(rows, &assigned)
                    || !self
                        .references(&entitlement, TARGET, |columns| {
                            columns.iter().any(|c| assigned.contains(c))
                        })
                        .is_empty();
                if matters {
                    return Err(not_admitted("changing such a column by MERGE: use UPDATE"));
                }
                Ok(())
            }
            MergeAction::Insert(insert) => {
                permitted(entitlement.writes.create, "INSERT", &entitlement)?;
                self.merge_insert(insert, &entitlement, rows)
            }
            MergeAction::Update(_) => Err(not_admitted("this clause of MERGE")),
        }
    }

    fn merge_insert(
        &mut self,
        insert: &MergeInsertExpr,
        target: &Entitlement,
        rows: &Expression,
    ) -> Result<(), Refusal> {
        let MergeInsertExpr {
            insert_token: _,
            columns,
            kind_token: _,
            kind: MergeInsertKind::Values(Values { explicit_row: false, value_keyword: _, rows: values }),
            insert_predicate: None,
        } = insert
        else {
            return Err(not_admitted("this form of INSERT in MERGE"));
        };
        let [values] = values.as_slice() else {
            return Err(not_admitted("this form of INSERT in MERGE"));
        };
        let columns = self.insert_columns(columns, target, true, Some(values.content.len()))?;
        self.refuse_unless_implied(target, rows)?;
        self.text("INSERT (");
        self.column_names(&columns, target)?;
        self.text(") VALUES (");
        self.implied_row(&values.content, &columns, target)
    }

    /// Where nothing can be checked afterwards, the row must be seen because of what the policy sets, and of nothing else.
    fn refuse_unless_implied(&mut self, target: &Entitlement, rows: &Expression) -> Result<(), Refusal> {
        let auto: Vec<String> = target.writes.auto_set.iter().map(|(column, _)| column.clone()).collect();
        let is_implied = crate::conditions::names_only(rows, &auto)
            && self
                .references(target, TARGET, |columns| !columns.iter().all(|column| auto.contains(column)))
                .is_empty();
        if is_implied {
            return Ok(());
        }
        Err(not_admitted(if self.dialect.is_mysql() {
            "inserting a row that has to be checked, which MySQL can't"
        } else {
            "inserting a row that has to be checked by MERGE: use INSERT"
        }))
    }

    fn column_names(&mut self, columns: &Columns, target: &Entitlement) -> Result<(), Refusal> {
        let added = columns.added.iter().filter_map(|index| target.writes.auto_set.get(*index));
        let names: Vec<&String> = columns.given.iter().chain(added.map(|(name, _)| name)).collect();
        self.list(&names, |writer, name| {
            writer.name(name);
            Ok(())
        })
    }

    /// The values of a row that is right by the way it is made, and `)`.
    fn implied_row(
        &mut self,
        values: &[Expr],
        columns: &Columns,
        target: &Entitlement,
    ) -> Result<(), Refusal> {
        if values.len() != columns.given.len() {
            return Err(not_admitted("a row with another number of values than columns"));
        }
        let pairs: Vec<_> = values.iter().zip(&columns.given).collect();
        self.list(&pairs, |writer, (value, column)| {
            let set = target.writes.auto_set.iter().find(|(name, _)| name == *column);
            match set {
                None => writer.value_or_default(value),
                Some((_, set)) if is_default(value) => writer.policy(&set.value, TARGET),
                // Another value than the policy's becomes NULL, which the column does not take.
                Some((_, set)) if refuses_null(target, column) => {
                    writer.text("CASE WHEN (");
                    writer.expression(value)?;
                    writer.text(" = ");
                    writer.policy(&set.value, TARGET)?;
                    writer.text(") THEN ");
                    writer.policy(&set.value, TARGET)?;
                    writer.text(" END");
                    Ok(())
                }
                Some(_) => Err(not_admitted("giving such a column in this way: leave it out")),
            }
        })?;
        let added = columns.added.iter().filter_map(|index| target.writes.auto_set.get(*index));
        for (index, (_, set)) in added.enumerate() {
            self.text(if index > 0 || !pairs.is_empty() { ", " } else { "" });
            self.policy(&set.value, TARGET)?;
        }
        self.text(")");
        Ok(())
    }

    /// INSERT where nothing is returned: MySQL.
    fn implied_insert(
        &mut self,
        target: &Target,
        columns: &[ObjectName],
        values: &Values,
        on: Option<&OnInsert>,
    ) -> Result<(), Refusal> {
        let entitlement = Arc::clone(&target.entitlement);
        self.returns_rows = false;
        let width = values.rows.first().map(|row| row.content.len());
        let columns = self.insert_columns(columns, &entitlement, true, width)?;
        self.refuse_unless_implied(&entitlement, &writable_rows(&entitlement))?;
        self.text("INSERT INTO ");
        self.relation_name(&entitlement.relation);
        self.text(" (");
        self.column_names(&columns, &entitlement)?;
        self.text(") VALUES ");
        self.list(&values.rows, |writer, row| {
            writer.text("(");
            writer.implied_row(&row.content, &columns, &entitlement)
        })?;
        match on {
            None => Ok(()),
            Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
                self.duplicate_update(assignments, target, &columns)
            }
            Some(_) => Err(not_admitted("this form of INSERT")),
        }
    }

    /// The row in the way may be one that the principal does not see. Then a column that takes no NULL is set to NULL, first
    /// of all, and the statement fails as for a key that is taken.
    fn duplicate_update(
        &mut self,
        assignments: &[Assignment],
        target: &Target,
        columns: &Columns,
    ) -> Result<(), Refusal> {
        let entitlement = Arc::clone(&target.entitlement);
        permitted(entitlement.writes.update, "UPDATE", &entitlement)?;
        let rows = writable_rows(&entitlement);
        let takes_no_null = |name: &&String| refuses_null(&entitlement, name);
        let auto = entitlement.writes.auto_set.iter().map(|(name, _)| name);
        let guard = auto.chain(&columns.given).find(takes_no_null);
        let guard = guard.ok_or_else(|| not_admitted("ON DUPLICATE KEY UPDATE here"))?.clone();
        self.text(" ON DUPLICATE KEY UPDATE ");
        // There is no alias: the changed relation has its own name.
        self.returning_from = Some(entitlement.relation.name.clone());
        self.name(&guard);
        self.text(" = CASE WHEN ");
        self.policy(&rows, TARGET)?;
        self.text(" THEN ");
        self.qualified(TARGET, &guard);
        self.text(" END, ");
        let mut scope = Scope::default();
        scope.sources.push(Self::target_source(&target.alias, None, &entitlement));
        self.names.scopes.push(scope);
        let assigned = self.assignments(assignments, &entitlement)?;
        self.names.scopes.pop();
        self.returning_from = None;
        if assigned.contains(&guard) || self.check_of_update(&entitlement, &assigned).is_some() {
            return Err(not_admitted("changing such a column by ON DUPLICATE KEY UPDATE"));
        }
        self.null_when_taken = Some(guard);
        Ok(())
    }
}

/// Whether a clause of MERGE says DO NOTHING.
fn is_nothing(action: &MergeAction) -> bool {
    let is_mark = |name: &ObjectName| matches!(name.0.as_slice(), [ObjectNamePart::Identifier(mark)] if mark.value == NOTHING);
    match action {
        MergeAction::Insert(insert) => matches!(insert.columns.as_slice(), [name] if is_mark(name)),
        MergeAction::Update(update) => matches!(
            update.assignments.as_slice(),
            [Assignment { target: AssignmentTarget::ColumnName(name), value: _ }] if is_mark(name)
        ),
        MergeAction::Delete { .. } => false,
    }
}

fn quoted(name: &str) -> sqlparser::ast::Ident {
    sqlparser::ast::Ident::with_quote('"', name)
}

fn permitted(permit: Permit, action: &'static str, target: &Entitlement) -> Result<(), Refusal> {
    let relation = || target.relation.name.clone();
    match permit {
        Permit::Allow => Ok(()),
        Permit::Approval => Err(Refusal::ApprovalRequired { action, relation: relation() }),
        Permit::Deny => Err(Refusal::WriteDenied { action, relation: relation() }),
    }
}

/// Whether a column that is set to NULL is an error, which is how a statement is ended that must not change a row. In
/// place of NULL a `TIMESTAMP` may take the clock, and an `AUTO_INCREMENT` column, which is a number, its next value or 0.
//
// INVARIANT: what ends a statement is an error in every setting of the server. Held by the records `ownmya-upsert` of
// the guard corpus, on a real server.
fn refuses_null(target: &Entitlement, name: &str) -> bool {
    let declared = target.columns.iter().find(|column| column.name == name);
    let declared = declared.map(|column| column.data_type.to_ascii_lowercase());
    let Some(declared) = declared.filter(|_| !target.nullable.iter().any(|other| other == name)) else {
        return false;
    };
    let is_number = ["int", "float", "double", "real", "serial"].iter().any(|word| declared.contains(word));
    // What the policy sets says whose the row is: no counter, unless it is the whole key.
    let is_set = target.writes.auto_set.iter().any(|(set, _)| set == name) && target.key != [name];
    !declared.starts_with("timestamp") && (is_set || !is_number)
}
