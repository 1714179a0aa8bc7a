//! Whether an answer holds what is meant: each of its values is looked up among the rows as they are stored.

use std::collections::{BTreeSet, HashMap};

use ringfence_engine::{ResultSet, Value};
use ringfence_policy::RelationName;
use ringfence_policy::intent::ShownIntent;

use super::actor::{Actor, Standing};
use super::report::{Invariant, RowCounts};
use super::secrecy::Secrets;
use super::statements::{Case, Check};
use super::tenancy::Ownership;
use super::world::{Datum, Table, World, datum};

/// Shorter texts are found by chance.
const TELLING: usize = 8;

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) invariant: Invariant,
    pub(super) relation: RelationName,
    pub(super) column: Option<String>,
    pub(super) what: String,
    /// Whether it is the row of another tenant that can be asked for.
    pub(super) of_row: bool,
}

/// What a whole read showed, for the statements that follow.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) rows: RowCounts,
    /// Rows of the answer; `None` when some were left out.
    whole: Option<u64>,
    /// What masked columns showed, and how often.
    masked: HashMap<(String, String), u64>,
}

/// What answers are held against.
pub(super) struct Judge<'a> {
    pub(super) actor: &'a Actor,
    pub(super) world: &'a World,
    pub(super) secrets: &'a Secrets,
    /// Texts of the rows that belong to tenants, and where they are.
    pub(super) texts: &'a Texts,
}

/// Telling texts of tenants' rows, for views of which nothing says whose rows they show.
#[derive(Default)]
pub(super) struct Texts {
    owned: HashMap<String, Vec<(RelationName, usize)>>,
    /// Those that somebody else's rows have too.
    common: BTreeSet<String>,
}

impl Texts {
    pub(super) fn of(world: &World) -> Self {
        let mut texts = Self::default();
        for (name, table) in world.tables.iter().filter(|(_, table)| !table.is_view) {
            for (number, row) in table.rows.iter().enumerate() {
                let is_owned = table.owners.get(number).is_some_and(|owners| !owners.is_empty())
                    && !table.shared.get(number).copied().unwrap_or(false);
                for text in row.iter().flatten().filter(|text| text.chars().count() >= TELLING) {
                    if is_owned {
                        texts.owned.entry(text.clone()).or_default().push((name.clone(), number));
                    } else {
                        texts.common.insert(text.clone());
                    }
                }
            }
        }
        texts
    }
}

impl Judge<'_> {
    /// What is wrong with the answer. `seen` gathers what whole reads show.
    pub(super) fn judge(&self, case: &Case, result: &ResultSet, seen: &mut Seen) -> Vec<Fault> {
        let table = self.world.tables.get(&case.relation);
        let rows: Vec<Vec<Datum>> = result.rows.iter().map(|row| row.iter().map(datum).collect()).collect();
        let mut faults = Vec::new();
        match (&case.check, table) {
            (Check::Whole(columns), Some(table)) => {
                self.whole(table, columns, (&rows, result), seen, &mut faults);
            }
            (Check::Rows(origins), _) => {
                for (relation, columns) in origins {
                    if let Some(table) = self.world.tables.get(relation) {
                        self.rows(table, columns, &rows, &mut faults);
                    }
                }
            }
            (Check::Groups(column), Some(table)) => self.groups(table, column, &rows, &mut faults),
            (Check::Values(columns), Some(table)) => self.values(table, columns, &rows, &mut faults),
            (Check::Count(of), Some(table)) => self.count(table, of.as_ref(), &rows, seen, &mut faults),
            (Check::Nothing(column), _) => nothing(case, column.as_ref(), &rows, seen, &mut faults),
            (Check::Alike { .. }, _) | (_, None) => {}
        }
        self.secrets(case, &rows, &mut faults);
        faults
    }

    /// All that the principal sees of a relation, row by row.
    fn whole(
        &self,
        table: &Table,
        columns: &[String],
        (rows, result): (&[Vec<Datum>], &ResultSet),
        seen: &mut Seen,
        faults: &mut Vec<Fault>,
    ) {
        let Some(entitlement) = self.actor.seat.shape.view.relations.get(&table.name) else { return };
        let plain: Vec<(usize, usize)> = columns
            .iter()
            .enumerate()
            .filter(|(_, name)| {
                entitlement.columns.iter().any(|column| column.name == **name && column.mask.is_none())
            })
            .filter_map(|(place, name)| Some((place, table.place(name)?)))
            .collect();
        seen.whole = (result.more_rows == 0).then_some(rows.len() as u64);
        let places: Vec<usize> = plain.iter().map(|(_, place)| *place).collect();
        let mut taken: HashMap<Vec<Datum>, usize> = HashMap::new();
        let mut counts = RowCounts::default();
        let mut tenants = BTreeSet::new();
        for row in rows {
            let values: Vec<Datum> =
                plain.iter().map(|(place, _)| row.get(*place).cloned().flatten()).collect();
            let candidates = table.matching(&places, &values);
            // Rows that look alike are told apart by how many there are: those that are meant come first.
            let mut standings: Vec<(Standing, usize)> =
                candidates.iter().map(|&number| (self.actor.standing(table, number), number)).collect();
            standings.sort_by_key(|(standing, number)| (*standing == Standing::Foreign, *number));
            let turn = taken.entry(values).or_default();
            let found = standings.get(*turn);
            *turn += 1;
            match found {
                Some((Standing::Own, _)) => counts.own += 1,
                Some((Standing::Shared, _)) => counts.shared += 1,
                Some((Standing::Crossing(_), _)) => counts.crossing += 1,
                Some((Standing::Foreign, number)) => {
                    counts.foreign += 1;
                    tenants.extend(table.owners.get(*number).into_iter().flatten().cloned());
                }
                None => counts.unknown += 1,
            }
            if let ([(_, number)], true) = (standings.as_slice(), candidates.len() == 1) {
                self.masks(table, columns, row, *number, faults);
            }
        }
        for (place, name) in columns.iter().enumerate() {
            if entitlement.columns.iter().any(|column| column.name == *name && column.mask.is_some()) {
                for shown in rows.iter().filter_map(|row| row.get(place)?.clone()) {
                    *seen.masked.entry((name.clone(), shown)).or_default() += 1;
                }
            }
        }
        if counts.foreign > 0 {
            let tenants = tenants.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            let what = format!("{} rows of others are seen (tenants {tenants})", counts.foreign);
            faults.push(of_others(&table.name, what));
        }
        if matches!(table.ownership, Ownership::Nobody) && table.is_view {
            self.nobodys_view(table, columns, rows, faults);
        }
        seen.rows = counts;
    }

    /// What masks of sensitive columns show of a row that is known.
    fn masks(
        &self,
        table: &Table,
        columns: &[String],
        row: &[Datum],
        number: usize,
        faults: &mut Vec<Fault>,
    ) {
        let Some(entitlement) = self.actor.seat.shape.view.relations.get(&table.name) else { return };
        for (place, name) in columns.iter().enumerate() {
            let is_masked =
                entitlement.columns.iter().any(|column| column.name == *name && column.mask.is_some());
            let Some(sensitive) = self.secrets.meant(self.actor, &table.name, name).filter(|_| is_masked)
            else {
                continue;
            };
            let raw = table.place(name).and_then(|place| table.datum(number, place));
            let shown = row.get(place).and_then(Datum::as_deref);
            let (Some(raw), Some(shown)) = (raw, shown) else { continue };
            if sensitive.shows_too_much(raw, shown) {
                let limit = match sensitive.at_most {
                    Some(limit) => format!("more than the {limit} characters that are meant"),
                    None => "more than half of the value".to_owned(),
                };
                push_once(
                    faults,
                    Fault {
                        invariant: Invariant::MaskedFieldsMasked,
                        relation: table.name.clone(),
                        column: Some(name.clone()),
                        what: format!("the mask shows {limit}"),
                        of_row: false,
                    },
                );
            }
        }
    }

    /// A view of which nothing says whose rows it shows: texts that only rows of others have.
    fn nobodys_view(&self, table: &Table, columns: &[String], rows: &[Vec<Datum>], faults: &mut Vec<Fault>) {
        let mut times = 0_u64;
        let mut from: Option<(&RelationName, String)> = None;
        for row in rows {
            for (place, text) in row.iter().enumerate() {
                let Some(text) = text else { continue };
                if self.texts.common.contains(text) {
                    continue;
                }
                let Some(holders) = self.texts.owned.get(text) else { continue };
                let is_foreign = holders.iter().all(|(name, number)| {
                    let holder = self.world.tables.get(name);
                    holder.is_some_and(|holder| self.actor.standing(holder, *number) == Standing::Foreign)
                });
                if is_foreign {
                    times += 1;
                    from = from.or_else(|| {
                        Some((&holders.first()?.0, columns.get(place).cloned().unwrap_or_default()))
                    });
                }
            }
        }
        if let Some((holder, column)) = from {
            faults.push(Fault {
                invariant: Invariant::NoCrossTenantData,
                relation: table.name.clone(),
                column: Some(column),
                what: format!("{times} values are seen that only rows of others in {holder} have"),
                of_row: false,
            });
        }
    }

    /// Rows of a relation in an answer, found by their columns as stored.
    fn rows(&self, table: &Table, columns: &[(usize, String)], rows: &[Vec<Datum>], faults: &mut Vec<Fault>) {
        let known: Vec<(usize, usize)> =
            columns.iter().filter_map(|(place, name)| Some((*place, table.place(name)?))).collect();
        let places: Vec<usize> = known.iter().map(|(_, place)| *place).collect();
        let mut foreign = 0_u64;
        for row in rows {
            let values: Vec<Datum> =
                known.iter().map(|(place, _)| row.get(*place).cloned().flatten()).collect();
            // The other side of a LEFT JOIN without a partner.
            if values.iter().all(Option::is_none) {
                continue;
            }
            foreign += u64::from(self.is_only_of_others(table, &places, &values));
        }
        if foreign > 0 {
            faults.push(of_others(&table.name, format!("{foreign} rows of others are in the answer")));
        }
    }

    /// Whether there are rows with these values, and none of them is meant to be seen.
    fn is_only_of_others(&self, table: &Table, places: &[usize], values: &[Datum]) -> bool {
        let candidates = table.matching(places, values);
        // In a relation that was read partly, one that was not looked at may have them too.
        let is_key = !table.key.is_empty() && table.key.iter().all(|place| places.contains(place));
        (table.complete || is_key)
            && !candidates.is_empty()
            && candidates.iter().all(|&number| self.actor.standing(table, number) == Standing::Foreign)
    }

    fn groups(&self, table: &Table, column: &str, rows: &[Vec<Datum>], faults: &mut Vec<Fault>) {
        let Some(place) = table.place(column).filter(|_| table.complete) else { return };
        let mut wrong = 0_u64;
        for row in rows {
            let [value, count] = row.as_slice() else { continue };
            let Some(count) = count.as_ref().and_then(|count| count.parse::<u64>().ok()) else { continue };
            let candidates = table.matching(&[place], std::slice::from_ref(value));
            let meant = candidates.iter().filter(|&&number| self.is_meant(table, number)).count() as u64;
            wrong += u64::from(!candidates.is_empty() && count > meant);
        }
        if wrong > 0 {
            faults.push(of_others(&table.name, format!("{wrong} groups count rows of others")));
        }
    }

    fn values(&self, table: &Table, columns: &[String], rows: &[Vec<Datum>], faults: &mut Vec<Fault>) {
        for row in rows {
            for (value, column) in row.iter().zip(columns) {
                let Some(place) = table.place(column).filter(|_| value.is_some()) else { continue };
                if self.is_only_of_others(table, &[place], std::slice::from_ref(value)) {
                    let what = "the least or greatest value is one that only rows of others have";
                    push_once(faults, of_others(&table.name, what.to_owned()));
                }
            }
        }
    }

    fn count(
        &self,
        table: &Table,
        of: Option<&(String, String)>,
        rows: &[Vec<Datum>],
        seen: &Seen,
        faults: &mut Vec<Fault>,
    ) {
        let Some(count) = number(rows) else { return };
        if table.complete {
            let place = of.and_then(|(column, value)| Some((table.place(column)?, value)));
            let has = |number: &usize| {
                place.is_none_or(|(place, value)| table.datum(*number, place) == Some(value.as_str()))
            };
            let all = (0..table.rows.len()).filter(has);
            let meant = all.filter(|&number| self.is_meant(table, number)).count() as u64;
            if count > meant {
                let what = format!("{count} rows are counted where {meant} are meant to be seen");
                faults.push(of_others(&table.name, what));
                return;
            }
        }
        if let (Some(whole), None) = (seen.whole, of)
            && count > whole
        {
            let what = format!("{count} rows are counted where a whole read shows {whole}");
            faults.push(of_others(&table.name, what));
        }
    }

    fn is_meant(&self, table: &Table, number: usize) -> bool {
        self.actor.standing(table, number) != Standing::Foreign
    }

    /// Values of sensitive columns, wherever they stand.
    fn secrets(&self, case: &Case, rows: &[Vec<Datum>], faults: &mut Vec<Fault>) {
        let Check::Whole(columns) = &case.check else { return };
        for row in rows {
            for (value, column) in row.iter().zip(columns) {
                let Some(value) = value else { continue };
                let Some(((relation, holder), sensitive)) = self.secrets.holder(self.actor, value) else {
                    continue;
                };
                // Said of the column itself already.
                if (relation, holder) == (&case.relation, column)
                    || self.secrets.meant(self.actor, &case.relation, column).is_some()
                {
                    continue;
                }
                let invariant = match sensitive.show {
                    ShownIntent::Nothing => Invariant::NoDeniedFields,
                    ShownIntent::Mask | ShownIntent::Clear => Invariant::MaskedFieldsMasked,
                };
                push_once(
                    faults,
                    Fault {
                        invariant,
                        relation: case.relation.clone(),
                        column: Some(column.clone()),
                        what: format!("it shows values of {relation}.{holder} as they are stored"),
                        of_row: false,
                    },
                );
            }
        }
    }
}

/// A masked column was looked through for a value that its mask hides.
fn nothing(case: &Case, column: Option<&String>, rows: &[Vec<Datum>], seen: &Seen, faults: &mut Vec<Fault>) {
    let Some(count) = number(rows).filter(|count| *count > 0) else { return };
    // A mask may show some values, and then they can be found.
    let shown: u64 = seen
        .masked
        .iter()
        .filter(|((name, value), _)| Some(name) == column && case.sql.contains(value.as_str()))
        .map(|(_, times)| times)
        .sum();
    if seen.whole.is_some() && count > shown {
        faults.push(Fault {
            invariant: Invariant::MaskedFieldsMasked,
            relation: case.relation.clone(),
            column: column.cloned(),
            what: "a condition finds the value behind the mask".to_owned(),
            of_row: false,
        });
    }
}

/// Rows of others, or what follows from them.
fn of_others(relation: &RelationName, what: String) -> Fault {
    Fault {
        invariant: Invariant::NoCrossTenantData,
        relation: relation.clone(),
        column: None,
        what,
        of_row: false,
    }
}

/// The one number of an answer.
fn number(rows: &[Vec<Datum>]) -> Option<u64> {
    match rows {
        [] => Some(0),
        [row] => match row.as_slice() {
            [Some(value)] => value.parse::<f64>().ok().map(|value| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count, and not negative"
                )]
                let count = value.max(0.0) as u64;
                count
            }),
            _ => None,
        },
        _ => None,
    }
}

fn push_once(faults: &mut Vec<Fault>, fault: Fault) {
    if !faults.contains(&fault) {
        faults.push(fault);
    }
}

/// Whether two answers are the same to the letter.
pub(super) fn alike(one: &ResultSet, other: &ResultSet) -> bool {
    let text = |rows: &Vec<Vec<Value>>| serde_json::to_string(rows).unwrap_or_default();
    one.columns == other.columns
        && one.more_rows == other.more_rows
        && one.affected == other.affected
        && text(&one.rows) == text(&other.rows)
}
