//! The rows as they are stored, read by the right of whoever rules over the policy: what answers are held against.
//!
//! They stay in the memory of the proof: reports count them and name their tenants, and never show a value.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_engine::Value;
use ringfence_policy::{Catalog, ConnectionKind, Constraint, Relation, RelationKind, RelationName};

use super::tenancy::{Link, Ownership};
use crate::queries::quoted;

/// A value as it is compared: its text, or nothing for NULL.
pub(super) type Datum = Option<String>;
/// Row numbers by the values of some columns.
type Index = HashMap<Vec<Datum>, Vec<usize>>;

/// All that was read.
#[derive(Default)]
pub(super) struct World {
    pub(super) tables: BTreeMap<RelationName, Table>,
}

/// A relation's rows.
pub(super) struct Table {
    pub(super) name: RelationName,
    pub(super) is_view: bool,
    pub(super) columns: Vec<(String, String)>,
    /// Places of the primary key's columns; empty without one.
    pub(super) key: Vec<usize>,
    pub(super) rows: Vec<Vec<Datum>>,
    /// Whether these are all.
    pub(super) complete: bool,
    pub(super) ownership: Ownership,
    /// Of each row: the tenants that it belongs to.
    pub(super) owners: Vec<BTreeSet<String>>,
    /// Of each row: whether it is meant for everybody.
    pub(super) shared: Vec<bool>,
    /// Of each condition that roles are held to: its number among those of the intent, and whether it holds of each row.
    pub(super) held: Vec<(usize, Vec<bool>)>,
    indexes: Mutex<HashMap<Vec<usize>, Arc<Index>>>,
}

/// The statement that reads a relation: its columns, and then one column for each condition.
pub(super) fn reading(
    relation: &Relation,
    name: &RelationName,
    conditions: &[&str],
    rows: u64,
    kind: ConnectionKind,
) -> String {
    let columns = relation.columns.iter().map(|column| quoted(&column.name, kind));
    let truths = conditions.iter().map(|condition| format!("CASE WHEN ({condition}) THEN 1 ELSE 0 END"));
    let list: Vec<String> = columns.chain(truths).collect();
    format!(
        "SELECT {} FROM {}.{} LIMIT {}",
        list.join(", "),
        quoted(&name.schema, kind),
        quoted(&name.name, kind),
        rows.saturating_add(1)
    )
}

impl Table {
    /// The relation with the rows of that statement's answer.
    pub(super) fn of(
        name: RelationName,
        relation: &Relation,
        answer: Vec<Vec<Value>>,
        most: u64,
    ) -> (Self, Vec<Vec<bool>>) {
        let columns: Vec<(String, String)> =
            relation.columns.iter().map(|column| (column.name.clone(), column.data_type.clone())).collect();
        let key = relation.constraints.iter().find_map(|constraint| match constraint {
            Constraint::Primary { columns } => Some(columns),
            Constraint::Unique { .. } | Constraint::Foreign { .. } => None,
        });
        let place = |column: &String| columns.iter().position(|(name, _)| name == column);
        let key = key.and_then(|key| key.iter().map(place).collect::<Option<Vec<_>>>()).unwrap_or_default();
        let complete = answer.len() as u64 <= most;
        let mut rows = Vec::with_capacity(answer.len());
        let mut truths = Vec::with_capacity(answer.len());
        for mut row in answer.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let held = row.split_off(columns.len().min(row.len()));
            truths.push(held.iter().map(|value| matches!(value, Value::Integer(1))).collect());
            rows.push(row.iter().map(datum).collect());
        }
        let table = Self {
            name,
            is_view: matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView),
            columns,
            key,
            complete,
            ownership: Ownership::Nobody,
            owners: vec![BTreeSet::new(); rows.len()],
            shared: vec![false; rows.len()],
            held: Vec::new(),
            rows,
            indexes: Mutex::new(HashMap::new()),
        };
        (table, truths)
    }

    /// The place of the column.
    pub(super) fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }

    /// The rows that have these values in those places.
    pub(super) fn matching(&self, places: &[usize], values: &[Datum]) -> Vec<usize> {
        self.index(places).get(values).cloned().unwrap_or_default()
    }

    fn index(&self, places: &[usize]) -> Arc<Index> {
        let mut indexes = self.indexes.lock();
        let made = indexes.entry(places.to_vec()).or_insert_with(|| {
            let mut index = Index::new();
            for (number, row) in self.rows.iter().enumerate() {
                let values = places.iter().map(|&place| row.get(place).cloned().flatten()).collect();
                index.entry(values).or_default().push(number);
            }
            Arc::new(index)
        });
        made.clone()
    }

    /// The value in that row and place.
    pub(super) fn datum(&self, row: usize, place: usize) -> Option<&str> {
        self.rows.get(row)?.get(place)?.as_deref()
    }

    /// Whether every value of these columns is there on the other side, and there are any.
    fn refers(&self, link: &Link, target: &Self) -> bool {
        let here: Option<Vec<usize>> = link.columns.iter().map(|column| self.place(column)).collect();
        let there: Option<Vec<usize>> =
            link.target_columns.iter().map(|column| target.place(column)).collect();
        let (Some(here), Some(there)) = (here, there) else { return false };
        let mut any = false;
        for row in &self.rows {
            let values: Vec<Datum> = here.iter().map(|&place| row.get(place).cloned().flatten()).collect();
            if values.iter().any(Option::is_none) {
                continue;
            }
            if target.matching(&there, &values).is_empty() {
                return false;
            }
            any = true;
        }
        any
    }
}

impl World {
    /// Settles whose each row is. `ownership` is asked for each relation, with what its keys may refer to.
    pub(super) fn settle(&mut self, mut ownership: BTreeMap<RelationName, Ownership>) {
        self.drop_untrue_links(&mut ownership);
        for (name, owner) in &ownership {
            if let Some(table) = self.tables.get_mut(name) {
                table.ownership = owner.clone();
                if let Ownership::Column(column) = owner
                    && let Some(place) = table.place(column)
                {
                    for (row, owners) in table.rows.iter().zip(&mut table.owners) {
                        owners.extend(row.get(place).cloned().flatten());
                    }
                }
            }
        }
        // Owners come down from parents to children; as many rounds as there can be steps.
        for _ in 0..self.tables.len() {
            let mut gained = Vec::new();
            for (name, table) in &self.tables {
                let Ownership::Parents(links) = &table.ownership else { continue };
                for link in links {
                    self.inherit(table, link, &mut |row, owners| gained.push((name.clone(), row, owners)));
                }
            }
            let mut changed = false;
            for (name, row, owners) in gained {
                if let Some(known) = self.tables.get_mut(&name).and_then(|table| table.owners.get_mut(row)) {
                    let before = known.len();
                    known.extend(owners);
                    changed |= known.len() != before;
                }
            }
            if !changed {
                break;
            }
        }
        for table in self.tables.values_mut() {
            if matches!(table.ownership, Ownership::Parents(_)) && table.owners.iter().all(BTreeSet::is_empty)
            {
                table.ownership = Ownership::Nobody;
            }
        }
    }

    /// Links that were guessed from names count only where the rows bear them out.
    fn drop_untrue_links(&self, ownership: &mut BTreeMap<RelationName, Ownership>) {
        for (name, owner) in ownership.iter_mut() {
            let (Ownership::Parents(links), Some(table)) = (&mut *owner, self.tables.get(name)) else {
                continue;
            };
            links.retain(|link| {
                link.declared
                    || self.tables.get(&link.target).is_some_and(|target| table.refers(link, target))
            });
            if links.is_empty() {
                *owner = Ownership::Nobody;
            }
        }
    }

    fn inherit(&self, table: &Table, link: &Link, gain: &mut dyn FnMut(usize, BTreeSet<String>)) {
        let Some(target) = self.tables.get(&link.target) else { return };
        let here: Option<Vec<usize>> = link.key_columns().map(|column| table.place(column)).collect();
        let there: Option<Vec<usize>> = link.key_targets().map(|column| target.place(column)).collect();
        let (Some(here), Some(there)) = (here, there) else { return };
        for (number, row) in table.rows.iter().enumerate() {
            let values: Vec<Datum> = here.iter().map(|&place| row.get(place).cloned().flatten()).collect();
            if values.iter().any(Option::is_none) {
                continue;
            }
            let parents = target.matching(&there, &values);
            let owners: BTreeSet<String> =
                parents.iter().filter_map(|&parent| target.owners.get(parent)).flatten().cloned().collect();
            if !owners.is_empty() {
                gain(number, owners);
            }
        }
    }
}

/// All relations of a catalog that are not the system's, with their names.
pub(super) fn relations(catalog: &Catalog) -> impl Iterator<Item = (RelationName, &Relation)> {
    let schemas =
        catalog.schemas.iter().filter(|schema| !ringfence_policy::decide::is_of_the_system(&schema.name));
    schemas.flat_map(|schema| {
        schema.relations.iter().map(|relation| (RelationName::new(&schema.name, &relation.name), relation))
    })
}

/// A value as it is compared.
pub(super) fn datum(value: &Value) -> Datum {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        Value::Json(raw) | Value::Decimal(raw) => Some(raw.get().to_owned()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Integer(number) => Some(number.to_string()),
        other @ (Value::Float(_) | Value::Array(_)) => serde_json::to_string(other).ok(),
    }
}
