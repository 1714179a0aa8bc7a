//! A cube as a principal sees it: what stands on a hidden table or column is not there.

use std::collections::BTreeSet;

use ringfence_policy::{Denial, Entitlement, RelationName, View, VisibleColumn};
use serde::Serialize;
use utoipa::ToSchema;

use super::resolve::{Cube, Hierarchy, Level, Measure, MeasureKind};
use super::stages::{Computed, Stages};
use crate::refusal::{Refusal, nearest};
use crate::value::{FieldType, field_type};

/// A cube behind a view.
#[derive(Debug, Clone)]
pub struct CubeView<'a> {
    pub(super) cube: &'a Cube,
    /// By the place among the cube's; `None` for what can't be reached.
    pub(super) tables: Vec<Option<&'a Entitlement>>,
    hierarchies: Vec<SeenHierarchy<'a>>,
    measures: Vec<SeenMeasure<'a>>,
}

#[derive(Debug, Clone)]
struct SeenHierarchy<'a> {
    name: String,
    levels: Vec<SeenLevel<'a>>,
}

/// A level that the principal sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenLevel<'a> {
    level: &'a Level,
    pub(super) column: &'a VisibleColumn,
    pub(super) table: usize,
    pub(super) class: FieldType,
    /// Whether facts may have no member of it.
    pub(super) may_lack: bool,
}

/// A measure that the principal sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenMeasure<'a> {
    pub(super) measure: &'a Measure,
    pub(super) computed: Computed,
}

/// Where a level is: its hierarchy, and its place in it.
pub(super) type LevelAt = (usize, usize);

impl<'a> CubeView<'a> {
    /// The cube behind the view; `None` when its facts are hidden.
    //
    // INVARIANT: what stands on something hidden is not there, and asked for by name it is answered like what never was.
    // Held by the test `hidden_and_missing_are_one` of cubes.
    pub fn of(cube: &'a Cube, view: &'a View) -> Result<Option<Self>, Denial> {
        let Some(facts) = cube.facts() else { return Ok(None) };
        if let Some(denial) = view.unresolved.get(facts) {
            return Err(denial.clone());
        }
        let tables = reached(cube, view);
        let Some(Some(_)) = tables.first() else { return Ok(None) };
        let mut seen = Self { cube, tables, hierarchies: Vec::new(), measures: Vec::new() };
        seen.hierarchies = seen.see_hierarchies();
        seen.measures = seen.see_measures();
        Ok(Some(seen))
    }

    /// The cube's name.
    pub fn name(&self) -> &'a str {
        &self.cube.name
    }

    /// The tables of it that the principal sees.
    pub fn relations(&self) -> impl Iterator<Item = &'a RelationName> {
        self.tables.iter().flatten().map(|entitlement| &entitlement.relation)
    }

    fn see_hierarchies(&self) -> Vec<SeenHierarchy<'a>> {
        let (given, automatic): (Vec<_>, Vec<_>) =
            self.cube.hierarchies.iter().partition(|hierarchy| !hierarchy.is_automatic);
        let mut seen: Vec<SeenHierarchy<'a>> = Vec::new();
        for hierarchy in given {
            seen.extend(self.see(hierarchy, hierarchy.name.clone()));
        }
        // Called after what is seen: a name that gave way to something hidden would tell of it.
        let mut taken: BTreeSet<String> = seen.iter().map(|hierarchy| hierarchy.name.clone()).collect();
        for hierarchy in automatic {
            let Some(level) = hierarchy.levels.first() else { continue };
            let Some(table) = self.cube.tables.get(level.table) else { continue };
            let names = [level.column.clone(), format!("{}.{}", table.relation.name, level.column)];
            let Some(name) = names.into_iter().find(|name| !taken.contains(name)) else { continue };
            if let Some(hierarchy) = self.see(hierarchy, name) {
                taken.insert(hierarchy.name.clone());
                seen.push(hierarchy);
            }
        }
        seen
    }

    fn see(&self, hierarchy: &'a Hierarchy, name: String) -> Option<SeenHierarchy<'a>> {
        let levels: Vec<SeenLevel<'a>> =
            hierarchy.levels.iter().filter_map(|level| self.see_level(level)).collect();
        (!levels.is_empty()).then_some(SeenHierarchy { name, levels })
    }

    fn see_level(&self, level: &'a Level) -> Option<SeenLevel<'a>> {
        let entitlement = (*self.tables.get(level.table)?)?;
        let column = entitlement.columns.iter().find(|column| column.name == level.column)?;
        let class = field_type(self.cube.kind, &column.data_type);
        let may_lack =
            level.table > 0 || column.mask.is_some() || entitlement.nullable.contains(&column.name);
        Some(SeenLevel { level, column, table: level.table, class, may_lack })
    }

    fn see_measures(&self) -> Vec<SeenMeasure<'a>> {
        let kind = self.cube.kind;
        let Some(Some(facts)) = self.tables.first() else { return Vec::new() };
        let column = |name: &str| facts.columns.iter().find(|column| column.name == name);
        let columns =
            |name: &str| column(name).map_or(FieldType::Other, |column| field_type(kind, &column.data_type));
        // Those over hidden columns go, then those over what went, until nothing more goes.
        let all = &self.cube.measures;
        let mut seen: BTreeSet<&str> = all.iter().map(|measure| measure.name.as_str()).collect();
        loop {
            let stays = |measure: &Measure| match &measure.kind {
                MeasureKind::Facts => true,
                MeasureKind::Aggregate(_, formula) => formula.names().all(|name| column(name).is_some()),
                MeasureKind::Expression(formula) => formula.names().all(|name| seen.contains(name)),
                MeasureKind::Share(other, _) => seen.contains(other.as_str()),
            };
            let left = all.iter().filter(|measure| seen.contains(measure.name.as_str()) && stays(measure));
            let left: BTreeSet<&str> = left.map(|measure| measure.name.as_str()).collect();
            if left.len() == seen.len() {
                break;
            }
            seen = left;
        }
        let mut stages = Stages::new(all, kind, &columns);
        let seen = all.iter().filter(|measure| seen.contains(measure.name.as_str()));
        seen.filter_map(|measure| Some(SeenMeasure { measure, computed: stages.of(&measure.name, 0).ok()? }))
            .collect()
    }

    pub(super) fn level_at(&self, (hierarchy, level): LevelAt) -> Option<SeenLevel<'a>> {
        self.hierarchies.get(hierarchy)?.levels.get(level).copied()
    }

    pub(super) fn hierarchy_name(&self, hierarchy: usize) -> &str {
        self.hierarchies.get(hierarchy).map_or("", |hierarchy| hierarchy.name.as_str())
    }

    /// The level of that name, or of that hierarchy and name with a dot in between.
    pub(super) fn level(&self, name: &str) -> Result<LevelAt, Refusal> {
        let all = || {
            self.hierarchies.iter().enumerate().flat_map(|(at, hierarchy)| {
                let levels = hierarchy.levels.iter().enumerate();
                levels.map(move |(level, seen)| ((at, level), hierarchy, seen))
            })
        };
        let qualified = |hierarchy: &SeenHierarchy<'_>, level: &SeenLevel<'_>| {
            format!("{}.{}", hierarchy.name, level.level.name)
        };
        let mut found: Vec<_> = all().filter(|(_, _, level)| level.level.name == name).collect();
        if found.is_empty() {
            found = all().filter(|(_, hierarchy, level)| qualified(hierarchy, level) == name).collect();
        }
        match found.as_slice() {
            [(at, _, _)] => Ok(*at),
            [] => {
                let names: Vec<&str> = all().map(|(_, _, level)| level.level.name.as_str()).collect();
                Err(self.missing("level", name, names.into_iter()))
            }
            several => {
                let names: Vec<String> =
                    several.iter().map(|(_, hierarchy, level)| qualified(hierarchy, level)).collect();
                Err(Refusal::invalid(format!(
                    "\"{name}\" is a level of several hierarchies: write {}",
                    names.join(" or ")
                )))
            }
        }
    }

    /// The level of that hierarchy.
    pub(super) fn level_of(&self, hierarchy: &str, level: &str) -> Result<LevelAt, Refusal> {
        let at = self.hierarchies.iter().position(|known| known.name == hierarchy).ok_or_else(|| {
            self.missing("hierarchy", hierarchy, self.hierarchies.iter().map(|known| known.name.as_str()))
        })?;
        let levels = self.hierarchies.get(at).map_or(&[][..], |hierarchy| &hierarchy.levels);
        let found = levels.iter().position(|known| known.level.name == level);
        found
            .map(|level| (at, level))
            .ok_or_else(|| self.missing("level", level, levels.iter().map(|known| known.level.name.as_str())))
    }

    pub(super) fn has_level(&self, name: &str) -> bool {
        !matches!(self.level(name), Err(Refusal::CubePart { .. }))
    }

    pub(super) fn measure(&self, name: &str) -> Result<SeenMeasure<'a>, Refusal> {
        let found = self.measures.iter().find(|seen| seen.measure.name == name).copied();
        found.ok_or_else(|| {
            self.missing("measure", name, self.measures.iter().map(|seen| seen.measure.name.as_str()))
        })
    }

    /// The one answer for what is hidden and for what is not there.
    pub(super) fn missing<'n>(
        &self,
        noun: &'static str,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) -> Refusal {
        let mut names = nearest(name, known);
        names.dedup();
        Refusal::CubePart { cube: self.cube.name.clone(), noun, name: name.to_owned(), alternatives: names }
    }

    /// The same for what may be a level or a measure.
    pub(super) fn missing_either(&self, name: &str) -> Refusal {
        let levels = self.hierarchies.iter().flat_map(|hierarchy| &hierarchy.levels);
        let measures = self.measures.iter().map(|seen| seen.measure.name.as_str());
        let names = levels.map(|seen| seen.level.name.as_str()).chain(measures);
        self.missing("level or measure", name, names)
    }

    /// What a caller is told of it.
    pub fn describe(&self) -> CubeDescription {
        let table = |at: usize| self.cube.tables.get(at).map_or(String::new(), |it| it.relation.to_string());
        let levels = |hierarchy: &SeenHierarchy<'_>| {
            let levels = hierarchy.levels.iter().map(|seen| LevelDescription {
                name: seen.level.name.clone(),
                caption: seen.level.caption.clone(),
                table: table(seen.table),
                column: seen.column.name.clone(),
                class: seen.class,
            });
            levels.collect()
        };
        CubeDescription {
            name: self.cube.name.clone(),
            caption: self.cube.caption.clone(),
            description: self.cube.description.clone(),
            table: table(0),
            hierarchies: self
                .hierarchies
                .iter()
                .map(|hierarchy| HierarchyDescription {
                    name: hierarchy.name.clone(),
                    levels: levels(hierarchy),
                })
                .collect(),
            measures: self
                .measures
                .iter()
                .map(|seen| MeasureDescription {
                    name: seen.measure.name.clone(),
                    caption: seen.measure.caption.clone(),
                    description: seen.measure.description.clone(),
                    format: seen.measure.format.clone(),
                    class: seen.computed.class,
                })
                .collect(),
        }
    }
}

impl SeenLevel<'_> {
    pub(super) fn name(&self) -> &str {
        &self.level.name
    }
}

/// The tables that the principal sees, and gets to over columns that are seen as they are.
fn reached<'a>(cube: &Cube, view: &'a View) -> Vec<Option<&'a Entitlement>> {
    let mut tables: Vec<Option<&'a Entitlement>> = Vec::new();
    for table in &cube.tables {
        let entitlement = view.relations.get(&table.relation).map(AsRef::as_ref);
        let plain = |of: &Entitlement, name: &str| {
            of.columns.iter().any(|column| column.name == name && column.mask.is_none())
        };
        let is_reached = match (&table.link, entitlement) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(link), Some(this)) => {
                let from = tables.get(link.from).copied().flatten();
                from.is_some_and(|from| plain(from, &link.column)) && plain(this, &link.target_column)
            }
        };
        tables.push(entitlement.filter(|_| is_reached));
    }
    tables
}

/// A cube as you see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Cube)]
pub struct CubeDescription {
    /// Its name.
    pub name: String,
    /// A title for people.
    pub caption: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The table of its facts.
    pub table: String,
    /// Ways to group facts.
    pub hierarchies: Vec<HierarchyDescription>,
    /// What is computed of facts.
    pub measures: Vec<MeasureDescription>,
}

/// A hierarchy as you see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CubeHierarchy)]
pub struct HierarchyDescription {
    /// Its name.
    pub name: String,
    /// From the coarsest to the finest.
    pub levels: Vec<LevelDescription>,
}

/// A level as you see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CubeLevel)]
pub struct LevelDescription {
    /// Its name.
    pub name: String,
    /// A title for people.
    pub caption: Option<String>,
    /// The table that its members are in.
    pub table: String,
    /// The column there.
    pub column: String,
    /// What kind of values its members are.
    #[serde(rename = "type")]
    pub class: FieldType,
}

/// A measure as you see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CubeMeasure)]
pub struct MeasureDescription {
    /// Its name.
    pub name: String,
    /// A title for people.
    pub caption: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// How it is shown, such as `0.00`.
    pub format: Option<String>,
    /// What kind of values it has.
    #[serde(rename = "type")]
    pub class: FieldType,
}
