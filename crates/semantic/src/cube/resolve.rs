//! A definition held against a catalog: every name found, with what is automatic put in.

use std::collections::BTreeSet;

use ringfence_policy::cubes::{CubeHierarchy, relation_name};
use ringfence_policy::placed::{Place, Placed};
use ringfence_policy::{Catalog, Column, ConnectionKind, Constraint, Problem, Relation, RelationName};

use super::definition::{Definition, Function, JoinTo, LevelEntry, MeasureEntry, Said, Whole};
use super::formula::{Fault, Formula, unknown};
use crate::value::{FieldType, field_type};

/// The measure that every cube has: how many facts there are.
pub const CONTRIBUTORS: &str = "contributors.COUNT";

/// A cube whose names are all found.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Cube {
    pub name: String,
    pub caption: Option<String>,
    pub description: Option<String>,
    pub kind: ConnectionKind,
    /// The facts first; the others behind the ones that they are joined to.
    pub tables: Vec<Table>,
    pub hierarchies: Vec<Hierarchy>,
    pub measures: Vec<Measure>,
}

/// A table of a cube.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Table {
    pub relation: RelationName,
    /// How it is reached; `None` for the facts.
    pub link: Option<Link>,
}

/// How a table is joined.
#[derive(Debug, Clone)]
pub struct Link {
    /// The table that it is joined to, by its place among the cube's.
    pub from: usize,
    /// A column there.
    pub column: String,
    /// The column of this table.
    pub target_column: String,
}

/// A hierarchy.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Hierarchy {
    pub name: String,
    /// An automatic one is called after what a caller sees beside it.
    pub is_automatic: bool,
    /// From the coarsest to the finest.
    pub levels: Vec<Level>,
}

/// A level of a hierarchy.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Level {
    pub name: String,
    pub caption: Option<String>,
    /// By its place among the cube's.
    pub table: usize,
    pub column: String,
}

/// A measure.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Measure {
    pub name: String,
    pub caption: Option<String>,
    pub description: Option<String>,
    pub format: Option<String>,
    pub kind: MeasureKind,
}

/// How a measure is computed.
#[derive(Debug, Clone)]
pub enum MeasureKind {
    /// How many facts there are.
    Facts,
    /// Of the facts, each by a formula over its columns.
    Aggregate(Function, Formula),
    /// Of other measures of the same row.
    Expression(Formula),
    /// A measure as a part of another row's.
    Share(String, Whole),
}

impl Cube {
    /// The definition, held against the catalog; `schema` is where names without one are looked up. All that is wrong
    /// otherwise.
    pub fn resolve(
        name: &str,
        definition: &Definition,
        catalog: &Catalog,
        kind: ConnectionKind,
        schema: &str,
    ) -> Result<Self, Vec<Problem>> {
        let mut resolver =
            Resolver { definition, catalog, kind, schema, tables: Vec::new(), problems: Vec::new() };
        resolver.tables();
        if !resolver.problems.is_empty() {
            return Err(resolver.problems);
        }
        let hierarchies = resolver.hierarchies();
        let measures = resolver.measures();
        let Resolver { tables, problems, .. } = resolver;
        if !problems.is_empty() {
            return Err(problems);
        }
        let text = |text: &Option<Placed<String>>| text.as_ref().map(|text| text.value.clone());
        Ok(Self {
            name: name.to_owned(),
            caption: text(&definition.document.caption),
            description: text(&definition.document.description),
            kind,
            tables: tables.into_iter().map(|found| found.table).collect(),
            hierarchies,
            measures,
        })
    }

    /// The table of facts.
    pub fn facts(&self) -> Option<&RelationName> {
        self.tables.first().map(|table| &table.relation)
    }

    /// What the cube says about how restrictions merge.
    pub fn for_policy(&self) -> impl Iterator<Item = CubeHierarchy> {
        self.hierarchies.iter().map(|hierarchy| {
            let levels = hierarchy.levels.iter().filter_map(|level| {
                Some((self.tables.get(level.table)?.relation.clone(), level.column.clone()))
            });
            CubeHierarchy { name: hierarchy.name.clone(), levels: levels.collect() }
        })
    }
}

/// A table with what the catalog has of it.
struct Found<'a> {
    table: Table,
    relation: &'a Relation,
}

struct Resolver<'a> {
    definition: &'a Definition,
    catalog: &'a Catalog,
    kind: ConnectionKind,
    schema: &'a str,
    tables: Vec<Found<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Resolver<'a> {
    fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(self.definition.problem(place, message));
    }

    fn fault(&mut self, place: Place, fault: Fault) {
        let problem = self.definition.problem(place, fault.message);
        self.problems.push(Problem { suggestion: fault.suggestion, ..problem });
    }

    fn tables(&mut self) {
        let definition = self.definition;
        let Some((relation, found)) = self.relation(&definition.document.table) else { return };
        self.tables.push(Found { table: Table { relation, link: None }, relation: found });
        for join in &definition.joins {
            self.join(join);
        }
    }

    fn relation(&mut self, written: &Placed<String>) -> Option<(RelationName, &'a Relation)> {
        let name = relation_name(&written.value, self.schema)?;
        if let Some(found) = self.catalog.relation(&name.schema, &name.name) {
            return Some((name, found));
        }
        let all = self.catalog.schemas.iter().flat_map(|schema| {
            schema.relations.iter().map(|relation| {
                if schema.name == self.schema {
                    relation.name.clone()
                } else {
                    format!("{}.{}", schema.name, relation.name)
                }
            })
        });
        let all: Vec<String> = all.collect();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        self.fault(written.place, unknown("table", &written.value, &names));
        None
    }

    fn join(&mut self, join: &JoinTo) {
        let from = match &join.from {
            None => 0,
            Some(from) => {
                let name = relation_name(&from.value, self.schema);
                let Some(at) =
                    self.tables.iter().position(|found| Some(&found.table.relation) == name.as_ref())
                else {
                    return self.problem(from.place, format!("`{}` is no table of the cube", from.value));
                };
                at
            }
        };
        let Some((relation, found)) = self.relation(&join.table) else { return };
        let Some(left) = self.tables.get(from).map(|found| found.relation) else { return };
        let one = self.column(left, &join.column).map(|column| (column, join.column.place));
        let other = self.column(found, &join.target_column);
        let (Some((one, place)), Some(other)) = (one, other) else { return };
        let classes = [one, other].map(|column| field_type(self.kind, &column.data_type));
        let [left_class, right_class] = classes;
        if left_class != right_class && !(left_class.is_number() && right_class.is_number()) {
            self.problem(
                place,
                format!(
                    "`{}` is {} and `{}` {}",
                    one.name,
                    left_class.noun(),
                    other.name,
                    right_class.noun()
                ),
            );
        }
        if !join.unique && !is_key(found, &other.name) {
            let message = format!(
                "`{}` is no key of `{}`: a fact would count once for each partner. Join on a key, or say `unique: true` where the catalog does not know that it is one",
                other.name, join.table.value
            );
            self.problem(join.target_column.place, message);
        }
        let link = Link { from, column: one.name.clone(), target_column: other.name.clone() };
        self.tables.push(Found { table: Table { relation, link: Some(link) }, relation: found });
    }

    fn column(&mut self, relation: &'a Relation, written: &Placed<String>) -> Option<&'a Column> {
        if let Some(found) = relation.columns.iter().find(|column| column.name == written.value) {
            return Some(found);
        }
        let names: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        let noun = format!("column of `{}` called", relation.name);
        self.fault(written.place, unknown(&noun, &written.value, &names));
        None
    }

    fn hierarchies(&mut self) -> Vec<Hierarchy> {
        let definition = self.definition;
        let mut hierarchies = Vec::new();
        for (name, entries) in &definition.document.hierarchies.0 {
            let levels: Vec<Option<Level>> = entries.iter().map(|entry| self.level(entry)).collect();
            let levels = levels.into_iter().flatten().collect();
            hierarchies.push(Hierarchy { name: name.value.clone(), is_automatic: false, levels });
        }
        if definition.is_automatic() {
            let automatic = self.automatic_hierarchies(&hierarchies);
            hierarchies.extend(automatic);
        }
        hierarchies
    }

    fn level(&mut self, entry: &Placed<LevelEntry>) -> Option<Level> {
        let (place, LevelEntry { level, table, column, caption }) = (entry.place, &entry.value);
        let table = match table {
            Some(table) => self.table_called(table, place)?,
            None => self.table_with(column, place)?,
        };
        let relation = self.tables.get(table)?.relation;
        let found = self.column(relation, &Placed { value: column.clone(), place })?;
        if !is_level(self.kind, found) {
            self.problem(place, format!("`{column}` is {}: rows can't be grouped by it", self.noun(found)));
        }
        let name = level.clone().unwrap_or_else(|| column.clone());
        Some(Level { name, caption: caption.clone(), table, column: column.clone() })
    }

    fn noun(&self, column: &Column) -> &'static str {
        field_type(self.kind, &column.data_type).noun()
    }

    fn table_called(&mut self, written: &str, place: Place) -> Option<usize> {
        let name = relation_name(written, self.schema);
        let at = self.tables.iter().position(|found| Some(&found.table.relation) == name.as_ref());
        if at.is_none() {
            let names: Vec<&str> =
                self.tables.iter().map(|found| found.table.relation.name.as_str()).collect();
            let fault = unknown("table of the cube called", written, &names);
            self.fault(place, fault);
        }
        at
    }

    /// The only table that has the column.
    fn table_with(&mut self, column: &str, place: Place) -> Option<usize> {
        let has = |found: &Found<'_>| found.relation.columns.iter().any(|known| known.name == column);
        let holding: Vec<usize> =
            self.tables.iter().enumerate().filter(|(_, found)| has(found)).map(|(at, _)| at).collect();
        match holding.as_slice() {
            [only] => Some(*only),
            [] => {
                let all = self.tables.iter().flat_map(|found| &found.relation.columns);
                let names: Vec<&str> = all.map(|column| column.name.as_str()).collect();
                let fault = unknown("column", column, &names);
                self.fault(place, fault);
                None
            }
            _ => {
                let message = format!(
                    "several tables have a column `{column}`: write {{ table: ..., column: {column} }}"
                );
                self.problem(place, message);
                None
            }
        }
    }

    /// A hierarchy for every column that is no number.
    fn automatic_hierarchies(&self, given: &[Hierarchy]) -> Vec<Hierarchy> {
        let unwanted = &self.definition.document.without.hierarchies;
        let mut taken: BTreeSet<String> = given.iter().map(|hierarchy| hierarchy.name.clone()).collect();
        let mut automatic = Vec::new();
        for (table, found) in self.tables.iter().enumerate() {
            for column in &found.relation.columns {
                let class = field_type(self.kind, &column.data_type);
                if class.is_number() || !is_level(self.kind, column) {
                    continue;
                }
                let mut name = column.name.clone();
                if taken.contains(&name) {
                    name = format!("{}.{}", found.table.relation.name, column.name);
                }
                if !taken.insert(name.clone()) || unwanted.contains(&name) {
                    continue;
                }
                let level =
                    Level { name: column.name.clone(), caption: None, table, column: column.name.clone() };
                automatic.push(Hierarchy { name, is_automatic: true, levels: vec![level] });
            }
        }
        automatic
    }

    fn measures(&mut self) -> Vec<Measure> {
        let definition = self.definition;
        let given = &definition.document.measures.0;
        let mut measures: Vec<Measure> = Vec::new();
        for (name, entry) in given {
            let MeasureEntry { caption, description, format, .. } = entry;
            let kind = match entry.said() {
                Ok(Said::Aggregate(function, text)) => self.aggregate(function, text),
                // Looked at when all are known.
                Ok(Said::Expression(_) | Said::Share(..)) => Some(MeasureKind::Facts),
                Err(_) => None,
            };
            if let Some(kind) = kind {
                measures.push(Measure {
                    name: name.value.clone(),
                    caption: caption.clone(),
                    description: description.clone(),
                    format: format.clone(),
                    kind,
                });
            }
        }
        self.automatic_measures(&mut measures);
        let all: Vec<String> = measures.iter().map(|measure| measure.name.clone()).collect();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        for (name, entry) in given {
            let kind = match entry.said() {
                Ok(Said::Expression(text)) => match Formula::read(&text.value, "measure", &names) {
                    Ok(formula) => MeasureKind::Expression(formula),
                    Err(fault) => {
                        self.fault(text.place, fault);
                        continue;
                    }
                },
                Ok(Said::Share(measure, _)) if !names.contains(&measure.value.as_str()) => {
                    let fault = unknown("measure", &measure.value, &names);
                    self.fault(measure.place, fault);
                    continue;
                }
                Ok(Said::Share(measure, whole)) => MeasureKind::Share(measure.value.clone(), whole),
                Ok(Said::Aggregate(..)) | Err(_) => continue,
            };
            if let Some(measure) = measures.iter_mut().find(|measure| measure.name == name.value) {
                measure.kind = kind;
            }
        }
        self.measures_fit(&measures);
        measures
    }

    fn aggregate(&mut self, function: Function, text: &Placed<String>) -> Option<MeasureKind> {
        let facts = self.tables.first()?.relation;
        let names: Vec<&str> = facts.columns.iter().map(|column| column.name.as_str()).collect();
        let formula = match Formula::read(&text.value, "column", &names) {
            Ok(formula) => formula,
            Err(fault) => {
                self.fault(text.place, fault);
                return None;
            }
        };
        let kind = self.kind;
        let class_of = |name: &str| class_in(facts, kind, name);
        let class = match formula.class(kind, &class_of) {
            Ok(class) => class,
            Err(fault) => {
                self.fault(text.place, fault);
                return None;
            }
        };
        let fits = match function {
            Function::Sum | Function::Mean | Function::Quantile(_) => class.is_number(),
            Function::Min | Function::Max => class.is_ordered() && class != FieldType::Boolean,
            Function::Count => true,
            Function::CountDistinct => class.is_comparable(),
        };
        if !fits {
            self.problem(text.place, format!("this can't be computed of {}", class.noun()));
        }
        if matches!(function, Function::Quantile(_)) && !super::stages::has_quantiles(kind) {
            self.problem(text.place, "this kind of database computes no median and no quantiles");
        }
        Some(MeasureKind::Aggregate(function, formula))
    }

    /// How many facts there are, and sum and mean of every number that is no key.
    fn automatic_measures(&self, measures: &mut Vec<Measure>) {
        let unwanted = &self.definition.document.without.measures;
        let mut add = |name: String, kind: MeasureKind| {
            if !unwanted.contains(&name) && !measures.iter().any(|measure| measure.name == name) {
                measures.push(Measure { name, caption: None, description: None, format: None, kind });
            }
        };
        if let Some(facts) = self.tables.first().filter(|_| self.definition.is_automatic()) {
            for column in &facts.relation.columns {
                let class = field_type(self.kind, &column.data_type);
                if !class.is_number() || is_part_of_key(facts.relation, &column.name) {
                    continue;
                }
                for (word, function) in [("SUM", Function::Sum), ("MEAN", Function::Mean)] {
                    let kind = MeasureKind::Aggregate(function, Formula::of(&column.name));
                    add(format!("{}.{word}", column.name), kind);
                }
            }
        }
        add(CONTRIBUTORS.to_owned(), MeasureKind::Facts);
    }

    /// Refuses measures that go in a circle, and those whose parts can't be computed with.
    fn measures_fit(&mut self, measures: &[Measure]) {
        let definition = self.definition;
        let Some(facts) = self.tables.first().map(|found| found.relation) else { return };
        let kind = self.kind;
        let class_of = |name: &str| class_in(facts, kind, name);
        for (name, _) in &definition.document.measures.0 {
            match super::stages::class_of(measures, &name.value, kind, &class_of) {
                Ok(_) => {}
                Err(fault) => self.fault(name.place, fault),
            }
        }
    }
}

fn class_in(relation: &Relation, kind: ConnectionKind, name: &str) -> FieldType {
    let column = relation.columns.iter().find(|column| column.name == name);
    column.map_or(FieldType::Other, |column| field_type(kind, &column.data_type))
}

/// Whether rows can be grouped by it and put in order.
fn is_level(kind: ConnectionKind, column: &Column) -> bool {
    let class = field_type(kind, &column.data_type);
    class.is_comparable() && class.is_ordered()
}

/// Whether no two rows have one value of the column.
fn is_key(relation: &Relation, column: &str) -> bool {
    let is_only = |columns: &[String]| matches!(columns, [only] if only == column);
    relation.unique_indexes.iter().any(|columns| is_only(columns))
        || relation.constraints.iter().any(|constraint| match constraint {
            Constraint::Primary { columns } | Constraint::Unique { columns } => is_only(columns),
            Constraint::Foreign { .. } => false,
        })
}

/// Whether the column tells rows apart or points to others: nobody adds such numbers up.
fn is_part_of_key(relation: &Relation, column: &str) -> bool {
    relation.constraints.iter().any(|constraint| match constraint {
        Constraint::Primary { columns } | Constraint::Foreign { columns, .. } => {
            columns.iter().any(|name| name == column)
        }
        Constraint::Unique { .. } => false,
    })
}
