//! The statements that are tried as each principal, made from the catalog and from what the principal sees of it.
//!
//! Each carries what its answer is held against. Values of rows that the principal is not meant to know stand in the
//! statement that is run, never in the one that is shown.

use ringfence_policy::{
    Catalog, ConnectionKind, Constraint, Entitlement, Relation, RelationName, VisibleColumn,
};

use super::actor::{Actor, Standing};
use super::world::{Datum, Table, World, relations};
use crate::queries::quoted;

/// Rows of others, and own rows, that are asked for by their keys.
const KEYS: usize = 2;
/// Columns of one relation that are grouped and ordered by.
const GROUPED: usize = 4;

/// One statement, or two that must be answered alike.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) relation: RelationName,
    pub(super) sql: String,
    /// The statement for people.
    pub(super) shown: String,
    pub(super) check: Check,
    /// Whether it is always tried, however few statements are wanted.
    pub(super) core: bool,
}

/// What an answer is held against.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// Every row of the relation that the principal sees, in these columns.
    Whole(Vec<String>),
    /// Rows of relations: for each, which of the answer's columns are columns of it, as they are stored.
    Rows(Vec<(RelationName, Vec<(usize, String)>)>),
    /// One value and how many rows have it, of that column.
    Groups(String),
    /// Values of these columns, each by itself.
    Values(Vec<String>),
    /// How many rows there are; with a value, those that have it in that column.
    Count(Option<(String, String)>),
    /// No row, or zero: it asks for what is not there for the principal. The column when it is masked.
    Nothing(Option<String>),
    /// The same answer as to this statement, in which the first name stands in the place of the second.
    Alike { other: String, names: Option<(String, String)> },
}

/// What statements are made from.
pub(super) struct Material<'a> {
    pub(super) actor: &'a Actor,
    pub(super) world: &'a World,
    pub(super) catalog: &'a Catalog,
    pub(super) kind: ConnectionKind,
    /// Names that nothing has, of any length.
    pub(super) missing: &'a dyn Fn(&str) -> String,
}

/// All statements for the principal.
pub(super) fn generate(material: &Material<'_>) -> Vec<Case> {
    let mut cases = Vec::new();
    let view = &material.actor.seat.shape.view;
    for (name, relation) in relations(material.catalog) {
        match view.relations.get(&name) {
            Some(entitlement) => {
                let maker = Maker { material, name: &name, relation, entitlement };
                maker.reads(&mut cases);
                maker.by_key(&mut cases);
                maker.of_columns(&mut cases);
                maker.along_keys(&mut cases);
                maker.of_masks(&mut cases);
            }
            // A refusal that names what is missing says itself that the relation is there.
            None if !view.unresolved.contains_key(&name) => material.hidden_relation(&name, &mut cases),
            None => {}
        }
    }
    cases
}

impl Material<'_> {
    fn hidden_relation(&self, name: &RelationName, cases: &mut Vec<Case>) {
        let missing = (self.missing)(&name.name);
        let schema = quoted(&name.schema, self.kind);
        let of = |relation: &str| format!("{schema}.{}", quoted(relation, self.kind));
        for (text, core) in [
            ("SELECT * FROM {}", true),
            ("SELECT count(*) FROM {}", false),
            ("SELECT 1 WHERE EXISTS (SELECT 1 FROM {})", false),
            ("DELETE FROM {}", true),
        ] {
            let sql = text.replace("{}", &of(&name.name));
            let other = text.replace("{}", &of(&missing));
            cases.push(Case {
                relation: name.clone(),
                shown: sql.clone(),
                sql,
                check: Check::Alike { other, names: Some((name.name.clone(), missing.clone())) },
                core,
            });
        }
    }
}

/// Makes the statements on one relation that the principal sees.
struct Maker<'m> {
    material: &'m Material<'m>,
    name: &'m RelationName,
    relation: &'m Relation,
    entitlement: &'m Entitlement,
}

impl Maker<'_> {
    fn quote(&self, name: &str) -> String {
        quoted(name, self.material.kind)
    }

    fn of(&self, name: &RelationName) -> String {
        format!("{}.{}", self.quote(&name.schema), self.quote(&name.name))
    }

    fn from(&self) -> String {
        self.of(self.name)
    }

    fn table(&self) -> Option<&Table> {
        self.material.world.tables.get(self.name)
    }

    fn plain(&self) -> impl Iterator<Item = &VisibleColumn> {
        self.entitlement.columns.iter().filter(|column| column.mask.is_none())
    }

    /// The columns with their places in an answer that begins with them at `first`.
    fn origins(columns: &[&VisibleColumn], first: usize) -> Vec<(usize, String)> {
        columns.iter().enumerate().map(|(place, column)| (first + place, column.name.clone())).collect()
    }

    fn case(&self, sql: String, check: Check, core: bool) -> Case {
        Case { relation: self.name.clone(), shown: sql.clone(), sql, check, core }
    }

    /// Whole reads, in many words.
    fn reads(&self, cases: &mut Vec<Case>) {
        let from = self.from();
        let all: Vec<String> =
            self.entitlement.columns.iter().map(|column| self.quote(&column.name)).collect();
        if all.is_empty() {
            return;
        }
        let list = all.join(", ");
        let names = self.entitlement.columns.iter().map(|column| column.name.clone()).collect();
        cases.push(self.case(format!("SELECT {list} FROM {from}"), Check::Whole(names), true));
        cases.push(self.case(format!("SELECT count(*) FROM {from}"), Check::Count(None), true));
        let rows = |first| {
            let plain: Vec<(usize, String)> = self
                .entitlement
                .columns
                .iter()
                .enumerate()
                .filter(|(_, column)| column.mask.is_none())
                .map(|(place, column)| (first + place, column.name.clone()))
                .collect();
            Check::Rows(vec![(self.name.clone(), plain)])
        };
        let mut add = |sql: String| cases.push(self.case(sql, rows(0), false));
        add(format!("SELECT * FROM {from}"));
        add(format!("SELECT * FROM {from} WHERE 1 = 1 OR 1 = 0"));
        add(format!("SELECT q.* FROM (SELECT * FROM {from}) AS q"));
        add(format!("WITH q AS (SELECT * FROM {from}) SELECT * FROM q"));
        add(format!("SELECT DISTINCT {list} FROM {from}"));
        add(format!("SELECT {list} FROM {from} UNION ALL SELECT {list} FROM {from}"));
        add(format!("SELECT a.* FROM {from} AS a WHERE EXISTS (SELECT 1 FROM {from} AS b)"));
        add(format!("SELECT * FROM {from} LIMIT 3 OFFSET 1"));
        for sql in [
            format!("SELECT (SELECT count(*) FROM {from})"),
            format!("SELECT count(*) FROM {from} WHERE NOT (1 = 0)"),
            format!("SELECT count(*) FROM (SELECT 1 FROM {from}) AS q"),
            format!("SELECT sum(n) FROM (SELECT count(*) AS n FROM {from}) AS q"),
            format!("SELECT DISTINCT count(*) OVER () FROM {from}"),
        ] {
            cases.push(self.case(sql, Check::Count(None), false));
        }
    }

    /// Own rows and others' by their keys, and the same with a key that nothing has.
    fn by_key(&self, cases: &mut Vec<Case>) {
        let Some(table) = self.table().filter(|table| table.complete && !table.key.is_empty()) else {
            return;
        };
        let key: Vec<&(String, String)> =
            table.key.iter().filter_map(|&place| table.columns.get(place)).collect();
        let is_plain = |name: &String| self.plain().any(|column| column.name == *name);
        if !key.iter().all(|(name, _)| is_plain(name)) {
            return;
        }
        let Some(nobodys) = missing_key(table) else { return };
        let foreign: Vec<usize> = (0..table.rows.len())
            .filter(|&row| self.material.actor.standing(table, row) == Standing::Foreign)
            .take(KEYS)
            .collect();
        let from = self.from();
        let is = |values: &[String]| {
            let parts =
                key.iter().zip(values).map(|((name, _), value)| format!("{} = {value}", self.quote(name)));
            parts.collect::<Vec<_>>().join(" AND ")
        };
        let hidden: Vec<String> =
            key.iter().map(|(name, _)| format!("<{name} of a row of another tenant>")).collect();
        for row in foreign {
            let values: Option<Vec<String>> = table
                .key
                .iter()
                .zip(&key)
                .map(|(&place, (_, data_type))| Some(literal(table.datum(row, place)?, data_type)))
                .collect();
            let Some(values) = values else { continue };
            for (text, core) in [
                ("SELECT * FROM {from} WHERE {is}", true),
                ("SELECT count(*) FROM {from} WHERE {is}", false),
                ("SELECT 1 WHERE EXISTS (SELECT 1 FROM {from} WHERE {is})", false),
                (
                    "SELECT CASE WHEN EXISTS (SELECT 1 FROM {from} WHERE {is}) THEN 1 ELSE 0 END AS found",
                    false,
                ),
            ] {
                let text = text.replace("{from}", &from);
                cases.push(Case {
                    relation: self.name.clone(),
                    sql: text.replace("{is}", &is(&values)),
                    shown: text.replace("{is}", &is(&hidden)),
                    check: Check::Alike { other: text.replace("{is}", &is(&nobodys)), names: None },
                    core,
                });
            }
        }
    }

    /// Groups, extremes, orders; and columns that are hidden.
    fn of_columns(&self, cases: &mut Vec<Case>) {
        let from = self.from();
        let plain: Vec<&VisibleColumn> =
            self.plain().filter(|column| is_comparable(&column.data_type)).collect();
        for column in plain.iter().take(GROUPED) {
            let name = self.quote(&column.name);
            let groups = Check::Groups(column.name.clone());
            cases.push(self.case(
                format!("SELECT {name}, count(*) FROM {from} GROUP BY {name}"),
                groups.clone(),
                false,
            ));
            cases.push(self.case(
                format!("SELECT {name}, count(*) FROM {from} GROUP BY {name} HAVING count(*) > 0"),
                groups,
                false,
            ));
            let one = Check::Rows(vec![(self.name.clone(), Self::origins(&[column], 0))]);
            cases.push(self.case(format!("SELECT DISTINCT {name} FROM {from}"), one.clone(), false));
            cases.push(self.case(
                format!("SELECT {name} FROM {from} ORDER BY {name} DESC LIMIT 5"),
                one.clone(),
                false,
            ));
            let extremes = Check::Values(vec![column.name.clone(), column.name.clone()]);
            if is_ordered(&column.data_type) {
                cases.push(self.case(
                    format!("SELECT min({name}), max({name}) FROM {from}"),
                    extremes,
                    false,
                ));
            }
            cases.push(self.case(
                format!("SELECT {name} FROM {from} WHERE {name} IN (SELECT {name} FROM {from})"),
                one,
                false,
            ));
        }
        for hidden in &self.entitlement.hidden {
            let missing = (self.material.missing)(hidden);
            for (text, core) in [
                ("SELECT {} FROM {from}", true),
                ("SELECT count(*) FROM {from} WHERE {} IS NOT NULL", true),
                ("SELECT 1 FROM {from} ORDER BY {}", false),
                ("SELECT count(*) FROM {from} GROUP BY {}", false),
                (
                    "SELECT 1 FROM {from} AS a WHERE EXISTS (SELECT 1 FROM {from} AS b WHERE b.{} = a.{})",
                    false,
                ),
            ] {
                let text = text.replace("{from}", &from);
                let sql = text.replace("{}", &self.quote(hidden));
                let other = text.replace("{}", &self.quote(&missing));
                let names = Some((hidden.clone(), missing.clone()));
                cases.push(self.case(sql, Check::Alike { other, names }, core));
            }
        }
    }

    /// Joins along the keys of the catalog, and sub-queries.
    fn along_keys(&self, cases: &mut Vec<Case>) {
        let view = &self.material.actor.seat.shape.view;
        for constraint in &self.relation.constraints {
            let Constraint::Foreign { columns, target_schema, target_relation, target_columns } = constraint
            else {
                continue;
            };
            let target = RelationName::new(target_schema, target_relation);
            let Some(other) = view.relations.get(&target) else { continue };
            let sees = |entitlement: &Entitlement, names: &[String]| {
                names.iter().all(|name| {
                    entitlement.columns.iter().any(|column| column.name == *name && column.mask.is_none())
                })
            };
            if !sees(self.entitlement, columns) || !sees(other, target_columns) {
                continue;
            }
            let on: Vec<String> = columns
                .iter()
                .zip(target_columns)
                .map(|(one, other)| format!("a.{} = b.{}", self.quote(one), self.quote(other)))
                .collect();
            let on = on.join(" AND ");
            let own: Vec<&VisibleColumn> = self.plain().collect();
            let others: Vec<&VisibleColumn> =
                other.columns.iter().filter(|column| column.mask.is_none()).collect();
            let list: Vec<String> = own
                .iter()
                .map(|column| format!("a.{}", self.quote(&column.name)))
                .chain(others.iter().map(|column| format!("b.{}", self.quote(&column.name))))
                .collect();
            let origins = vec![
                (self.name.clone(), Self::origins(&own, 0)),
                (target.clone(), Self::origins(&others, own.len())),
            ];
            let (list, from, to) = (list.join(", "), self.from(), self.of(&target));
            for join in ["JOIN", "LEFT JOIN"] {
                let sql = format!("SELECT {list} FROM {from} AS a {join} {to} AS b ON {on}");
                cases.push(self.case(sql, Check::Rows(origins.clone()), false));
            }
            let one = Check::Rows(vec![(self.name.clone(), Self::origins(&own, 0))]);
            let own: Vec<String> =
                own.iter().map(|column| format!("a.{}", self.quote(&column.name))).collect();
            let own = own.join(", ");
            for word in ["EXISTS", "NOT EXISTS"] {
                let sql = format!(
                    "SELECT {own} FROM {from} AS a WHERE {word} (SELECT 1 FROM {to} AS b WHERE {on})"
                );
                cases.push(self.case(sql, one.clone(), false));
            }
            if let ([column], [target_column]) = (columns.as_slice(), target_columns.as_slice()) {
                let (column, target_column) = (self.quote(column), self.quote(target_column));
                let sql = format!(
                    "SELECT {own} FROM {from} AS a WHERE a.{column} IN (SELECT {target_column} FROM {to})"
                );
                cases.push(self.case(sql, one, false));
            }
        }
    }

    /// Masked columns by the values that they hide.
    fn of_masks(&self, cases: &mut Vec<Case>) {
        let Some(table) = self.table() else { return };
        let from = self.from();
        for column in self.entitlement.columns.iter().filter(|column| column.mask.is_some()) {
            let Some(place) = table.place(&column.name) else { continue };
            let values = (0..table.rows.len()).filter_map(|row| table.datum(row, place));
            let Some(value) = values.filter(|value| value.chars().count() > 3).take(1).next() else {
                continue;
            };
            let name = self.quote(&column.name);
            let text = format!("SELECT count(*) FROM {from} WHERE {name} = {{}}");
            cases.push(Case {
                relation: self.name.clone(),
                sql: text.replace("{}", &literal(value, &column.data_type)),
                shown: text.replace("{}", "<a value that the mask hides>"),
                check: Check::Nothing(Some(column.name.clone())),
                core: true,
            });
        }
    }
}

/// Whether values of the type can be compared: grouped, and looked for.
fn is_comparable(data_type: &str) -> bool {
    let data_type = data_type.to_ascii_lowercase();
    !["json", "xml", "point", "box", "polygon", "circle", "path", "line", "lseg", "blob", "bytea"]
        .iter()
        .any(|part| data_type.starts_with(part) && data_type != "jsonb")
}

/// Whether there is a least and a greatest of the type on every database.
fn is_ordered(data_type: &str) -> bool {
    let data_type = data_type.to_ascii_lowercase();
    is_comparable(&data_type) && !["jsonb", "bool", "uuid"].iter().any(|part| data_type.starts_with(part))
}

/// Whether the type is a whole number.
pub(super) fn is_integer(data_type: &str) -> bool {
    let data_type = data_type.to_ascii_lowercase();
    data_type.contains("int") && !data_type.contains("interval") && !data_type.contains("point")
}

/// The value as a literal of a column of that type.
pub(super) fn literal(value: &str, data_type: &str) -> String {
    if is_integer(data_type) && value.parse::<i64>().is_ok() {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "''"))
}

/// Literals of a key that no row has; `None` where the type is one that none can be made up for.
pub(super) fn missing_key(table: &Table) -> Option<Vec<String>> {
    let columns = table.key.iter().map(|&place| Some((place, table.columns.get(place)?)));
    let mut values = Vec::new();
    for column in columns {
        let (place, (_, data_type)) = column?;
        values.push(literal(&free_value(table, place, data_type, 0)?, data_type));
    }
    Some(values)
}

/// A value that the column has in no row; another for each `number`.
pub(super) fn free_value(table: &Table, place: usize, data_type: &str, number: usize) -> Option<String> {
    let data_type = data_type.to_ascii_lowercase();
    let taken =
        |value: &str| table.rows.iter().any(|row| row.get(place).and_then(Datum::as_deref) == Some(value));
    if is_integer(&data_type) {
        let largest =
            table.rows.iter().filter_map(|row| row.get(place)?.as_deref()?.parse::<i64>().ok()).max();
        // It has to fit the smallest type that the largest value fits.
        return largest
            .unwrap_or(0)
            .checked_add(1 + i64::try_from(number).ok()?)
            .map(|value| value.to_string());
    }
    let made = if data_type.starts_with("uuid") {
        format!("ffffffff-ffff-4fff-bfff-{number:012x}")
    } else if data_type.contains("char") || data_type.contains("text") || data_type.is_empty() {
        format!("zz{number}")
    } else {
        return None;
    };
    (!taken(&made)).then_some(made)
}
