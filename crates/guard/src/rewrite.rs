//! The writer of guarded SQL: one walk over the statement's tree that admits, fences and prints.
//!
//! What the walk does not know it refuses, so nothing is printed that was not looked at: each match is exhaustive or ends
//! in a refusal, and struct patterns name every field. It prints canonical text: identifiers quoted, strings in one form,
//! every sub-expression in parentheses, no comments.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_policy::expression::{PrincipalPath, PrincipalValue};
use ringfence_policy::{Denial, Entitlement, Expression, RelationName, View};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Statement};

use crate::admit::Read;
use crate::dialect::Dialect;
use crate::expressions::TARGET;
use crate::labels::Labels;
use crate::lift::Literal;
use crate::refusal::Refusal;
use crate::relations::{Names, Same, same_exactly, same_without_case};

/// What a placeholder of the printed statement stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// The caller's parameter of that number, from 1.
    Caller(usize),
    /// A value of the principal.
    Principal(PrincipalValue),
    /// A value of a list of the principal that is shorter than the list's place: beyond its end, the last one.
    PrincipalPadded(PrincipalValue),
    /// A list of the principal, as one array.
    PrincipalList(PrincipalPath),
    /// A list of the principal, as a JSON document.
    PrincipalJson(PrincipalPath),
    /// Rows of a system relation, as a JSON document.
    System(Arc<str>),
    /// A literal of the statement, by its number, from 0: among all literals while writing, among the lifted ones after.
    Lifted(usize),
}

/// What was printed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of a statement")]
pub(crate) struct Written {
    pub(crate) sql: String,
    pub(crate) slots: Vec<Slot>,
    /// The relations behind fences, those that are changed, and those of the policy's own sub-queries.
    pub(crate) relations: Vec<RelationName>,
    /// Those that are changed.
    pub(crate) changed: Vec<RelationName>,
    /// Those that the statement reads or changes without a condition or limit of its own.
    pub(crate) broad: Vec<RelationName>,
    /// Without those that only the policy names.
    pub(crate) named: Vec<RelationName>,
    pub(crate) functions: Vec<String>,
    pub(crate) writes: bool,
    pub(crate) check_column: bool,
    pub(crate) null_when_taken: Option<String>,
    pub(crate) returns_rows: bool,
    pub(crate) max_rows: Option<u64>,
    /// Whether fences have the barrier: something in the statement may raise an error that depends on a row.
    pub(crate) has_barrier: bool,
    /// What the statement calls relations and queries: columns are named with these before a point.
    pub(crate) aliases: Vec<String>,
    /// Row policies that lifted the scope of a relation.
    pub(crate) bypasses: Vec<(RelationName, String)>,
    /// Which of the statement's literals are parameters.
    pub(crate) lifted: Vec<bool>,
}

/// Begins the aliases that are our own: nobody else may use them.
pub(crate) const OWN_ALIAS: &str = "_rf_";

/// How deep the walk goes: the parser allows more than the stack of this walk should bear.
const MAX_DEPTH: usize = 200;

/// What becomes of a SELECT list whose rows are inserted.
#[derive(Debug, Default)]
pub(crate) struct AddedItems {
    /// What it ends with: columns that the policy sets, and their values.
    pub(crate) values: Vec<(String, Expression)>,
    /// The columns that its items are for, where constants would no longer take their types by themselves.
    pub(crate) typed: Option<(Vec<String>, Arc<Entitlement>)>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one fact of what was written so far")]
pub(crate) struct Writer<'a> {
    pub(crate) dialect: &'static Dialect,
    pub(crate) view: &'a View,
    pub(crate) names: Names,
    pub(crate) same: Same,
    pub(crate) out: String,
    pub(crate) slots: Vec<Slot>,
    pub(crate) labels: &'a Labels,
    /// While RETURNING is written, where the database knows the changed relation by its own name only: that name.
    pub(crate) returning_from: Option<String>,
    /// Where a barrier would go, in bytes of `out`.
    barriers: Vec<usize>,
    /// Whether what is being written is only ever computed for rows that passed every condition.
    pub(crate) is_final: bool,
    /// Something was written that may raise an error, where a planner may run it before our conditions.
    pub(crate) may_raise: bool,
    pub(crate) relations: Vec<RelationName>,
    pub(crate) changed: Vec<RelationName>,
    /// Relations that no condition and no limit of the statement has been seen for so far.
    pub(crate) broad: Vec<RelationName>,
    /// Whether the SELECT that was written last has a condition on a column.
    pub(crate) has_condition: bool,
    pub(crate) named: Vec<RelationName>,
    pub(crate) functions: Vec<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) writes: bool,
    pub(crate) check_column: bool,
    pub(crate) null_when_taken: Option<String>,
    /// Inside of WITH: the check raises an error.
    pub(crate) check_raises: bool,
    pub(crate) returns_rows: bool,
    pub(crate) max_rows: Option<u64>,
    pub(crate) bypasses: Vec<(RelationName, String)>,
    /// While the columns of a row in the way of an INSERT are set: the rows that the principal sees.
    pub(crate) conflict_rows: Option<Expression>,
    /// For the next SELECT list.
    pub(crate) added_items: AddedItems,
    /// The literals that may become parameters, and which of them did.
    pub(crate) literals: &'a [Literal],
    pub(crate) lifted: Vec<bool>,
    /// Whether what is being written is never compared with another part of the statement, as the SELECT list is with
    /// GROUP BY: equal literals must stay equal there.
    pub(crate) may_lift: bool,
    /// Windows that something so far was computed over.
    pub(crate) windows: BTreeSet<String>,
    /// Numbers aliases of our own.
    fresh: usize,
    depth: usize,
}

/// The statement, guarded.
pub(crate) fn rewrite(
    read: &Read,
    view: &View,
    dialect: &'static Dialect,
    literals: &[Literal],
) -> Result<Written, Refusal> {
    let mut writer = Writer::new(view, dialect, &read.labels, read.placeholders);
    writer.literals = literals;
    writer.lifted = vec![false; literals.len()];
    writer.may_lift = !literals.is_empty();
    writer.statement(&read.statement)?;
    Ok(writer.finish())
}

impl<'a> Writer<'a> {
    /// One that wrote nothing yet, for a statement with so many placeholders.
    pub(crate) fn new(
        view: &'a View,
        dialect: &'static Dialect,
        labels: &'a Labels,
        placeholders: usize,
    ) -> Self {
        Self {
            dialect,
            view,
            names: Names::default(),
            same: if dialect.caseless { same_without_case } else { same_exactly },
            out: String::with_capacity(512),
            slots: if dialect.numbered { (1..=placeholders).map(Slot::Caller).collect() } else { Vec::new() },
            labels,
            returning_from: None,
            barriers: Vec::new(),
            is_final: true,
            may_raise: false,
            relations: Vec::new(),
            changed: Vec::new(),
            broad: Vec::new(),
            has_condition: false,
            named: Vec::new(),
            functions: Vec::new(),
            aliases: Vec::new(),
            writes: false,
            check_column: false,
            null_when_taken: None,
            check_raises: false,
            returns_rows: true,
            max_rows: None,
            bypasses: Vec::new(),
            conflict_rows: None,
            added_items: AddedItems::default(),
            literals: &[],
            lifted: Vec::new(),
            may_lift: false,
            windows: BTreeSet::new(),
            fresh: 0,
            depth: 0,
        }
    }
}

impl Writer<'_> {
    fn statement(&mut self, statement: &Statement) -> Result<(), Refusal> {
        match statement {
            Statement::Query(query) => self.query(query).map(drop),
            other => self.change(other).map(drop),
        }
    }

    /// Puts the barriers in, when they are needed, from the last to the first so that places stay right.
    pub(crate) fn finish(mut self) -> Written {
        if self.may_raise {
            self.barriers.sort_unstable();
            for place in self.barriers.iter().rev() {
                self.out.insert_str(*place, self.dialect.barrier);
            }
        }
        for slot in &mut self.slots {
            if let Slot::Lifted(number) = slot {
                *number = self.lifted.iter().take(*number).filter(|lifted| **lifted).count();
            }
        }
        Written {
            has_barrier: self.may_raise && !self.barriers.is_empty(),
            sql: self.out,
            slots: self.slots,
            relations: self.relations,
            changed: self.changed,
            broad: self.broad,
            named: self.named,
            functions: self.functions,
            aliases: self.aliases,
            writes: self.writes,
            check_column: self.check_column,
            null_when_taken: self.null_when_taken,
            returns_rows: self.returns_rows,
            max_rows: self.max_rows,
            bypasses: self.bypasses,
            lifted: self.lifted,
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Separates what is written for each item.
    pub(crate) fn list<T>(
        &mut self,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text(", ");
            }
            write(self, item)?;
        }
        Ok(())
    }

    /// Runs what may nest.
    pub(crate) fn nested<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        let done = run(self);
        self.depth = self.depth.saturating_sub(1);
        done
    }

    /// Writes what a planner may run before our conditions.
    pub(crate) fn early<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let was_final = std::mem::replace(&mut self.is_final, false);
        let done = run(self);
        self.is_final = was_final;
        done
    }

    /// Writes what may be compared with other parts of the statement: its literals stay.
    pub(crate) fn as_written<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let might_lift = std::mem::replace(&mut self.may_lift, false);
        let done = run(self);
        self.may_lift = might_lift;
        done
    }

    /// What was just written may raise an error.
    pub(crate) fn raises(&mut self) {
        self.may_raise |= !self.is_final;
    }

    /// Whether this is the statement itself, not a query in it.
    pub(crate) fn is_outermost(&self) -> bool {
        self.depth <= 1
    }

    pub(crate) fn mark_barrier(&mut self) {
        self.barriers.push(self.out.len());
    }

    /// How many barriers and slots there are.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.barriers.len(), self.slots.len())
    }

    /// What was written between two places moves to the end of the text; it began at that byte.
    pub(crate) fn move_behind(&mut self, from: (usize, usize), to: (usize, usize), start: usize) {
        let distance = self.out.len().saturating_sub(start);
        for barrier in self.barriers.iter_mut().take(to.0).skip(from.0) {
            *barrier = barrier.saturating_add(distance);
        }
        if !self.dialect.numbered
            && let Some(slots) = self.slots.get_mut(from.1..)
        {
            slots.rotate_left(to.1.saturating_sub(from.1).min(slots.len()));
        }
    }

    pub(crate) fn fresh_alias(&mut self) -> String {
        self.fresh = self.fresh.saturating_add(1);
        format!("{OWN_ALIAS}{}", self.fresh)
    }

    /// A name in quotes.
    pub(crate) fn name(&mut self, name: &str) {
        let quote = self.dialect.quote;
        self.out.push(quote);
        for character in name.chars() {
            if character == quote {
                self.out.push(quote);
            }
            self.out.push(character);
        }
        self.out.push(quote);
    }

    pub(crate) fn relation_name(&mut self, relation: &RelationName) {
        self.name(&relation.schema);
        self.text(".");
        self.name(&relation.name);
    }

    /// A name that WITH defines. Where names without a schema are looked up in the caller's own, it is one that no relation
    /// has.
    pub(crate) fn common_name(&mut self, name: &str) {
        self.aliases.push(name.to_owned());
        if self.dialect.is_postgres() {
            self.name(name);
        } else {
            self.name(&format!("{OWN_ALIAS}w_{name}"));
        }
    }

    /// `alias.column`. In RETURNING the changed relation may go by another name.
    pub(crate) fn qualified(&mut self, alias: &str, column: &str) {
        match self.returning_from.clone() {
            Some(own) if alias == TARGET => self.name(&own),
            _ => self.name(alias),
        }
        self.text(".");
        self.name(column);
    }

    pub(crate) fn identifier(&mut self, identifier: &Ident) -> Result<(), Refusal> {
        let name = self.folded(identifier)?;
        self.name(&name);
        Ok(())
    }

    /// The name as the database reads it.
    pub(crate) fn folded(&self, identifier: &Ident) -> Result<String, Refusal> {
        let Ident { value, quote_style, span: _ } = identifier;
        if value.is_empty() || value.len() > self.dialect.identifier_bytes {
            return Err(not_admitted("a name that is empty or too long"));
        }
        // INVARIANT: no name of the caller's is one of ours, in any spelling: `_rf_t.column` would be the raw column.
        if value.get(..OWN_ALIAS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_ALIAS)) {
            return Err(not_admitted("a name of that form"));
        }
        match quote_style {
            None if self.dialect.folds => Ok(value.to_ascii_lowercase()),
            None | Some('"' | '`') => Ok(value.clone()),
            Some('[') if self.dialect.is_sqlite() => Ok(value.clone()),
            Some(_) => Err(not_admitted("this way of quoting names")),
        }
    }

    /// The parts of a qualified name.
    pub(crate) fn parts(&self, name: &ObjectName) -> Result<Vec<String>, Refusal> {
        name.0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(identifier) => self.folded(identifier),
                ObjectNamePart::Function(_) => Err(not_admitted("a computed name")),
            })
            .collect()
    }

    /// What the principal may do with the relation of that name.
    pub(crate) fn entitlement(&self, name: &ObjectName) -> Result<Arc<Entitlement>, Refusal> {
        let parts = self.parts(name)?;
        let unknown = || Refusal::UnknownRelation { name: parts.join(".") };
        let found = match parts.as_slice() {
            [name] => self.view.search.iter().find_map(|schema| self.lookup(schema, name)),
            [schema, name] => self.lookup(schema, name),
            _ => None,
        };
        match found {
            Some(Ok(entitlement)) => Ok(entitlement),
            Some(Err(Denial::ScopeRequired { attribute })) => {
                Err(Refusal::ScopeRequired { relation: parts.join("."), attribute })
            }
            Some(Err(Denial::Suspended)) => Err(Refusal::Suspended { relation: parts.join(".") }),
            Some(Err(Denial::Invisible(_))) | None => Err(unknown()),
        }
    }

    fn lookup(&self, schema: &str, name: &str) -> Option<Result<Arc<Entitlement>, Denial>> {
        let key = RelationName::new(schema, name);
        let found = |key: &RelationName| {
            let entitled = self.view.relations.get(key).map(|entitlement| Ok(Arc::clone(entitlement)));
            entitled.or_else(|| self.view.unresolved.get(key).map(|denial| Err(denial.clone())))
        };
        found(&key).or_else(|| {
            // Where case does not matter, the stored spelling is looked for.
            let all = self.view.relations.keys().chain(self.view.unresolved.keys());
            let caseless = self.dialect.caseless_relations;
            let mut all = all.filter(|_| caseless);
            all.find(|known| (self.same)(&known.schema, schema) && (self.same)(&known.name, name))
                .and_then(found)
        })
    }

    /// A placeholder for what the slot stands for.
    pub(crate) fn placeholder(&mut self, slot: Slot) {
        if !self.dialect.numbered {
            self.slots.push(slot);
            self.text("?");
            return;
        }
        let place = self.slots.iter().position(|known| *known == slot);
        let place = place.unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len().saturating_sub(1)
        });
        self.text("$");
        let number = place.saturating_add(1).to_string();
        self.text(&number);
    }

    /// The caller's placeholder.
    pub(crate) fn caller_placeholder(&mut self, name: &str) -> Result<(), Refusal> {
        let number = name.strip_prefix(['$', '?']).and_then(|digits| digits.parse().ok());
        let number = number.ok_or_else(|| not_admitted("this placeholder"))?;
        self.placeholder(Slot::Caller(number));
        Ok(())
    }

    /// Remembers that the statement reads or changes the relation.
    pub(crate) fn note_relation(&mut self, entitlement: &Entitlement) {
        if !self.relations.contains(&entitlement.relation) {
            self.relations.push(entitlement.relation.clone());
        }
        // A policy's own sub-query may have named it first: that uses no bypass of the principal, this does.
        if !self.named.contains(&entitlement.relation) {
            self.named.push(entitlement.relation.clone());
            if let Some(policy) = &entitlement.bypass {
                self.bypasses.push((entitlement.relation.clone(), policy.clone()));
            }
        }
    }
}

/// Refuses what is not on a list.
pub(crate) fn not_admitted(what: &str) -> Refusal {
    Refusal::NotAdmitted { what: what.to_owned() }
}
