//! Changes that are tried as each principal, in transactions that are rolled back: those that would touch, make or move
//! rows of other tenants, and those that are fine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ringfence_policy::{Catalog, Constraint, Entitlement, Permit, Relation};

use super::Bench;
use super::actor::{Actor, Standing};
use super::judge::{Fault, alike};
use super::report::Invariant;
use super::statements::{free_value, is_integer, literal, missing_key};
use super::tenancy::Ownership;
use super::trying::Tried;
use super::world::{Datum, Table, World, datum, reading, relations};
use crate::guarded::Seat;
use crate::queries::{Changed, QueryRequest, quoted};
use crate::{Code, Refused};

/// Rows of others that are reached for, and rows that new ones are made after.
const ROWS: usize = 2;
const TEMPLATES: usize = 4;

/// A change, and the same of a row that nobody has.
struct Change {
    sql: String,
    shown: String,
    /// Must be answered alike.
    of_nobody: Option<String>,
}

/// Tries the changes as one principal.
pub(super) async fn try_changes(
    bench: &Bench<'_>,
    world: &World,
    (number, actor): (usize, &Actor),
    raw: &Seat,
    tried: &mut Tried,
) -> Result<(), Refused> {
    let catalog: &Catalog = &bench.snapshot.shown.unfiltered;
    let mut left = bench.request.statements;
    for (name, relation) in relations(catalog) {
        let Some(entitlement) = actor.seat.shape.view.relations.get(&name) else { continue };
        let writes = &entitlement.writes;
        let permits = [writes.create, writes.update, writes.delete];
        if !entitlement.is_table || permits.iter().all(|permit| *permit == Permit::Deny) {
            continue;
        }
        let Some(table) = world.tables.get(&name).filter(|table| !table.key.is_empty()) else { continue };
        if !table.complete || entitlement.lasting {
            let why =
                if entitlement.lasting { "can't be undone" } else { "would have to be read as a whole" };
            tried.notes.push(format!("changes of {name} were not tried: it {why}"));
            continue;
        }
        let maker = Maker { bench, actor, table, relation, entitlement };
        let changes: Vec<Change> = maker.all().into_iter().take(left).collect();
        left -= changes.len();
        let statement = reading(relation, &name, &[], table.rows.len() as u64 + 1_000, bench.kind);
        for change in changes {
            tried.checked(Invariant::WritesStayInside);
            tried.looks.entry((number, name.clone())).or_default().statements += 1;
            let faults = maker.attempt(world, raw, &statement, &change).await?;
            tried.sight(number, &change.shown, faults);
        }
    }
    Ok(())
}

struct Maker<'m> {
    bench: &'m Bench<'m>,
    actor: &'m Actor,
    table: &'m Table,
    relation: &'m Relation,
    entitlement: &'m Entitlement,
}

impl Maker<'_> {
    fn quote(&self, name: &str) -> String {
        quoted(name, self.bench.kind)
    }

    fn name(&self) -> String {
        format!("{}.{}", self.quote(&self.table.name.schema), self.quote(&self.table.name.name))
    }

    fn all(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.of_others(&mut changes);
        self.whole(&mut changes);
        self.moves(&mut changes);
        self.inserts(&mut changes);
        changes
    }

    fn rows(&self, wanted: impl Fn(usize) -> bool) -> impl Iterator<Item = usize> {
        (0..self.table.rows.len()).filter(move |&row| wanted(row))
    }

    /// Rows that the principal is not meant to change; those that it sees come first.
    fn others(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = self.rows(|row| !self.actor.may_change(self.table, row)).collect();
        rows.sort_by_key(|&row| self.actor.standing(self.table, row) == Standing::Foreign);
        let (seen, hidden): (Vec<usize>, Vec<usize>) =
            rows.into_iter().partition(|&row| self.actor.standing(self.table, row) != Standing::Foreign);
        seen.into_iter().take(ROWS).chain(hidden.into_iter().take(ROWS)).collect()
    }

    fn own(&self) -> Vec<usize> {
        let own = self.rows(|row| self.actor.standing(self.table, row) == Standing::Own);
        own.take(ROWS).collect()
    }

    /// `key = value` of a row.
    fn is(&self, row: usize) -> Option<String> {
        let parts = self.table.key.iter().map(|&place| {
            let (name, data_type) = self.table.columns.get(place)?;
            Some(format!("{} = {}", self.quote(name), literal(self.table.datum(row, place)?, data_type)))
        });
        Some(parts.collect::<Option<Vec<_>>>()?.join(" AND "))
    }

    fn is_nobodys(&self) -> Option<String> {
        let names = self.table.key.iter().filter_map(|&place| self.table.columns.get(place));
        let parts = names
            .zip(missing_key(self.table)?)
            .map(|((name, _), value)| format!("{} = {value}", self.quote(name)));
        Some(parts.collect::<Vec<_>>().join(" AND "))
    }

    /// A column that may be set, and what to.
    fn setting(&self) -> Option<String> {
        let owner = owner_columns(&self.table.ownership);
        let fixed = &self.entitlement.writes.immutable;
        let free = |name: &String| {
            !owner.contains(name)
                && !fixed.contains(name)
                && self.table.place(name).is_some_and(|place| !self.table.key.contains(&place))
                && self.entitlement.writes.columns.as_ref().is_none_or(|columns| columns.contains(name))
                && !self.refers(name)
        };
        let plain =
            self.entitlement.columns.iter().filter(|column| column.mask.is_none() && free(&column.name));
        let texts = |data_type: &str| {
            let data_type = data_type.to_ascii_lowercase();
            data_type.contains("char") || data_type.contains("text")
        };
        let (mut numbers, mut words) = (None, None);
        for column in plain {
            let name = self.quote(&column.name);
            if is_integer(&column.data_type) {
                numbers.get_or_insert(format!("{name} = {name} + 1"));
            } else if texts(&column.data_type) {
                words.get_or_insert(format!("{name} = 'zz'"));
            }
        }
        numbers.or(words)
    }

    fn refers(&self, column: &String) -> bool {
        self.relation.constraints.iter().any(|constraint| match constraint {
            Constraint::Foreign { columns, .. } => columns.contains(column),
            Constraint::Primary { .. } | Constraint::Unique { .. } => false,
        })
    }

    fn of_others(&self, changes: &mut Vec<Change>) {
        let name = self.name();
        let setting = self.setting();
        for row in self.others() {
            let (Some(is), Some(nobodys)) = (self.is(row), self.is_nobodys()) else { continue };
            let hidden = self.actor.standing(self.table, row) == Standing::Foreign;
            let update = setting.as_ref().map(|setting| format!("UPDATE {name} SET {setting} WHERE {{}}"));
            for text in update.into_iter().chain([format!("DELETE FROM {name} WHERE {{}}")]) {
                changes.push(Change {
                    sql: text.replace("{}", &is),
                    shown: text.replace("{}", "<key of a row of another tenant>"),
                    of_nobody: hidden.then(|| text.replace("{}", &nobodys)),
                });
            }
        }
    }

    fn whole(&self, changes: &mut Vec<Change>) {
        let name = self.name();
        let setting = self.setting();
        let update = setting.map(|setting| format!("UPDATE {name} SET {setting} WHERE 1 = 1"));
        for sql in update.into_iter().chain([format!("DELETE FROM {name} WHERE 1 = 1")]) {
            changes.push(Change { shown: sql.clone(), sql, of_nobody: None });
        }
    }

    /// Values that would make a row somebody else's: by column.
    fn elsewhere(&self) -> Vec<(String, String)> {
        let mut values = BTreeMap::new();
        for row in self.others() {
            for column in owner_columns(&self.table.ownership) {
                let Some(place) = self.table.place(&column) else { continue };
                if let (Some(value), Some((_, data_type))) =
                    (self.table.datum(row, place), self.table.columns.get(place))
                {
                    values.entry(column).or_insert_with(|| literal(value, data_type));
                }
            }
        }
        values.into_iter().collect()
    }

    /// Own rows that become somebody else's.
    fn moves(&self, changes: &mut Vec<Change>) {
        let name = self.name();
        for (column, value) in self.elsewhere() {
            let column = self.quote(&column);
            let templates = self.templates();
            for is in templates.into_iter().filter_map(|row| self.is(row)) {
                let text = format!("UPDATE {name} SET {column} = {{}} WHERE {is}");
                changes.push(Change {
                    sql: text.replace("{}", &value),
                    shown: text.replace("{}", "<another tenant's>"),
                    of_nobody: None,
                });
            }
        }
    }

    /// Rows that new ones are made after: own ones that differ, as far as there are.
    fn templates(&self) -> Vec<usize> {
        let small: Vec<usize> = self
            .table
            .columns
            .iter()
            .enumerate()
            .filter(|(place, (_, data_type))| is_integer(data_type) && !self.table.key.contains(place))
            .map(|(place, _)| place)
            .collect();
        let mut kinds = BTreeSet::new();
        let own = self.rows(|row| {
            let owners = self.table.owners.get(row);
            owners.is_some_and(|owners| owners.iter().any(|owner| self.actor.own().contains(owner)))
        });
        // A flag often decides who sees a row: one row of each of its values.
        let differ = own.filter(|&row| {
            let flags: Vec<Option<&str>> = small
                .iter()
                .map(|&place| self.table.datum(row, place).filter(|value| matches!(*value, "0" | "1")))
                .collect();
            let flags = format!("{flags:?}");
            kinds.insert(flags)
        });
        let mut rows: Vec<usize> = differ.take(TEMPLATES).collect();
        rows.extend(self.own());
        rows.sort_unstable();
        rows.dedup();
        rows.truncate(TEMPLATES);
        rows
    }

    /// New rows of somebody else, and new rows over somebody else's.
    fn inserts(&self, changes: &mut Vec<Change>) {
        let elsewhere: BTreeMap<String, String> = self.elsewhere().into_iter().collect();
        let others = self.others();
        for (turn, row) in self.templates().into_iter().enumerate() {
            for (column, value) in &elsewhere {
                let given =
                    |name: &str| (name == column).then(|| (value.clone(), "<another tenant's>".to_owned()));
                changes.extend(self.insert(row, turn, &given, None));
            }
            for &other in others.iter().take(1) {
                let Some(setting) = self.setting() else { continue };
                let given = |name: &str| {
                    let place = self.table.place(name).filter(|place| self.table.key.contains(place))?;
                    let value = literal(self.table.datum(other, place)?, &self.table.columns.get(place)?.1);
                    Some((value, "<key of a row of another tenant>".to_owned()))
                };
                changes.extend(self.insert(row, turn, &given, Some(&setting)));
            }
        }
    }

    fn insert(
        &self,
        row: usize,
        turn: usize,
        given: &dyn Fn(&str) -> Option<(String, String)>,
        over: Option<&str>,
    ) -> Option<Change> {
        let (mut names, mut values, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        for column in self.entitlement.columns.iter().filter(|column| column.mask.is_none()) {
            let place = self.table.place(&column.name)?;
            let unique = self.table.key.contains(&place) || self.is_unique(&column.name);
            let (value, told) = if let Some(given) = given(&column.name) {
                given
            } else if unique && self.refers(&column.name) {
                return None;
            } else if unique {
                let value =
                    literal(&free_value(self.table, place, &column.data_type, turn)?, &column.data_type);
                (value.clone(), value)
            } else {
                let value = self.table.datum(row, place);
                let value =
                    value.map_or_else(|| "NULL".to_owned(), |value| literal(value, &column.data_type));
                (value.clone(), value)
            };
            names.push(self.quote(&column.name));
            values.push(value);
            shown.push(told);
        }
        let text = |values: &[String]| {
            let mut text =
                format!("INSERT INTO {} ({}) VALUES ({})", self.name(), names.join(", "), values.join(", "));
            if let Some(setting) = over {
                let key: Vec<String> = self
                    .table
                    .key
                    .iter()
                    .filter_map(|&place| Some(self.quote(&self.table.columns.get(place)?.0)))
                    .collect();
                let (column, value) = setting.split_once(" = ").unwrap_or((setting, "NULL"));
                let value = value.replace(column, &format!("{}.{column}", self.quote(&self.table.name.name)));
                let _ = write!(text, " ON CONFLICT ({}) DO UPDATE SET {column} = {value}", key.join(", "));
            }
            text
        };
        Some(Change { sql: text(&values), shown: text(&shown), of_nobody: None })
    }

    fn is_unique(&self, column: &String) -> bool {
        let of_constraint = self.relation.constraints.iter().any(|constraint| match constraint {
            Constraint::Unique { columns } | Constraint::Primary { columns } => columns.contains(column),
            Constraint::Foreign { .. } => false,
        });
        of_constraint || self.relation.unique_indexes.iter().any(|columns| columns.contains(column))
    }

    /// Runs the change, looks at the rows, and undoes it.
    async fn attempt(
        &self,
        world: &World,
        raw: &Seat,
        reading: &str,
        change: &Change,
    ) -> Result<Vec<Fault>, Refused> {
        let ask = async |statement: &str| {
            let request = QueryRequest {
                statement: statement.to_owned(),
                reason: Some("ringfence prove".to_owned()),
                ..QueryRequest::default()
            };
            self.bench.trials.change(self.bench.snapshot, &self.actor.seat, &request, (raw, reading)).await
        };
        let outcome = ask(&change.sql).await;
        let mut faults = match &outcome {
            Ok(changed) => self.judge(world, changed),
            Err(refused) if matches!(refused.code, Code::SourceUnreachable | Code::QueryCancelled) => {
                return Err(refused.clone());
            }
            Err(_) => Vec::new(),
        };
        if let (Some(other), true) = (&change.of_nobody, faults.is_empty()) {
            let is_alike = match (&outcome, &ask(other).await) {
                (Ok(one), Ok(other)) => alike(&one.answer, &other.answer),
                (Err(one), Err(other)) => one == other,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            if !is_alike {
                faults.push(Fault {
                    invariant: Invariant::HiddenEqualsMissing,
                    relation: self.table.name.clone(),
                    column: None,
                    what: "a change of another tenant's row is answered otherwise than one of no row"
                        .to_owned(),
                    of_row: true,
                });
            }
        }
        Ok(faults)
    }

    fn judge(&self, world: &World, changed: &Changed) -> Vec<Fault> {
        let by_key = |rows: &[Vec<ringfence_engine::Value>]| -> BTreeMap<Vec<Datum>, Vec<Datum>> {
            let rows = rows.iter().map(|row| row.iter().map(datum).collect::<Vec<Datum>>());
            rows.map(|row| {
                let key = self.table.key.iter().map(|&place| row.get(place).cloned().flatten()).collect();
                (key, row)
            })
            .collect()
        };
        let (before, after) = (by_key(&changed.before.rows), by_key(&changed.after.rows));
        let is_others = |row: &[Datum]| {
            let owners = owners_of(world, self.table, row);
            !owners.is_empty() && !self.actor.may_change_of(&self.table.name, &owners)
        };
        let (mut touched, mut made) = (0_u64, 0_u64);
        for (key, row) in &before {
            if after.get(key) != Some(row) && is_others(row) {
                touched += 1;
            }
        }
        for (key, row) in &after {
            let was = before.get(key);
            if was != Some(row) && is_others(row) && was.is_none_or(|was| !is_others(was)) {
                made += 1;
            }
        }
        let fault = |what: String| Fault {
            invariant: Invariant::WritesStayInside,
            relation: self.table.name.clone(),
            column: None,
            what,
            of_row: false,
        };
        let mut faults = Vec::new();
        if touched > 0 {
            faults.push(fault(format!("{touched} rows of other tenants are changed or deleted")));
        }
        if made > 0 {
            faults.push(fault(format!("{made} rows are made for other tenants, or moved to them")));
        }
        faults
    }
}

/// Whose the row is, as it is now.
fn owners_of(world: &World, table: &Table, row: &[Datum]) -> BTreeSet<String> {
    let value = |column: &String| row.get(table.place(column)?).cloned().flatten();
    match &table.ownership {
        Ownership::Column(column) => value(column).into_iter().collect(),
        Ownership::Parents(links) => {
            let mut owners = BTreeSet::new();
            for link in links {
                let Some(target) = world.tables.get(&link.target) else { continue };
                let here: Option<Vec<Datum>> =
                    link.key_columns().map(|column| value(column).map(Some)).collect();
                let there: Option<Vec<usize>> =
                    link.key_targets().map(|column| target.place(column)).collect();
                let (Some(here), Some(there)) = (here, there) else { continue };
                let parents = target.matching(&there, &here);
                owners.extend(
                    parents.iter().filter_map(|&parent| target.owners.get(parent)).flatten().cloned(),
                );
            }
            owners
        }
        Ownership::Shared | Ownership::Nobody => BTreeSet::new(),
    }
}

/// The columns that say whose a row is.
fn owner_columns(ownership: &Ownership) -> Vec<String> {
    match ownership {
        Ownership::Column(column) => vec![column.clone()],
        Ownership::Parents(links) => links.iter().flat_map(|link| link.key_columns().cloned()).collect(),
        Ownership::Shared | Ownership::Nobody => Vec::new(),
    }
}
