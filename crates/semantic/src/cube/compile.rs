//! From a query to one statement.
//!
//! The facts are read once, grouped at the finest level that was asked for, and totals are made of those groups, which are few;
//! only what can't be put together from parts (distinct values, quantiles) is computed of the facts for each total. Then come
//! the measures over measures, step by step, and what is asked of the rows.

use ringfence_policy::RelationName;

use super::filtered::Filtered;
use super::request::{CubeQuery, LevelReference};
use super::resolve::MeasureKind;
use super::statement::Maker;
use super::visible::{CubeView, LevelAt, SeenLevel, SeenMeasure};
use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::value::FieldType;

/// The member of facts that have none.
pub const NO_MEMBER: &str = "N/A";

const MOST_LEVELS: usize = 24;
const MOST_MEASURES: usize = 64;
const MOST_ORDERS: usize = 16;

/// What holds for one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CubeBounds {
    /// Rows at most.
    pub max_rows: u64,
    /// Columns at most.
    pub max_fields: Option<u32>,
}

/// A query in the making.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Its columns are the levels, the measures, and by how many levels each row is grouped.
    pub statement: Statement,
    /// The levels, those above them included.
    pub levels: Vec<LevelColumn>,
    /// The measures that were asked for.
    pub measures: Vec<MeasureColumn>,
    /// Rows at most; the statement reads one more.
    pub take: u64,
    /// The tables that it reads.
    pub relations: Vec<RelationName>,
}

/// A level in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct LevelColumn {
    pub name: String,
    pub hierarchy: String,
    pub class: FieldType,
}

/// A measure in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct MeasureColumn {
    pub name: String,
    pub class: FieldType,
    pub format: Option<String>,
}

/// The statement that the query becomes.
pub fn compile(cube: &CubeView<'_>, query: &CubeQuery, bounds: CubeBounds) -> Result<Compiled, Refusal> {
    let levels = levels_of(cube, &query.levels)?;
    let asked = measures_of(cube, &query.measures)?;
    within_fields(bounds, levels.len().saturating_add(asked.len()))?;
    let take = take_of(query.limit, bounds)?;
    let filtered = Filtered::of(cube, query.filter.as_ref())?;
    let orders = orders_of(cube, query, &levels)?;
    let mut needed: Vec<SeenMeasure<'_>> = Vec::new();
    let of_rows = filtered.measures.iter().map(String::as_str);
    let of_order = orders.iter().filter_map(|(by, _)| match by {
        By::Measure(name) => Some(name.as_str()),
        By::Level(_) => None,
    });
    let names = asked.iter().map(|seen| seen.measure.name.as_str()).chain(of_rows).chain(of_order);
    for name in names {
        need(cube, name, &mut needed)?;
    }
    // What a measure is computed of stands before it.
    needed.sort_by_key(|seen| seen.computed.step);
    let columns = levels.iter().filter_map(|at| {
        let seen = cube.level_at(*at)?;
        let hierarchy = cube.hierarchy_name(at.0).to_owned();
        Some(LevelColumn { name: seen.name().to_owned(), hierarchy, class: seen.class })
    });
    let columns = columns.collect();
    let measures = asked.iter().map(|seen| MeasureColumn {
        name: seen.measure.name.clone(),
        class: seen.computed.class,
        format: seen.measure.format.clone(),
    });
    let measures = measures.collect();
    let seen: Vec<SeenLevel<'_>> = levels.iter().filter_map(|at| cube.level_at(*at)).collect();
    let tables = tables_of(cube, &seen, &filtered);
    let relations =
        tables.iter().filter_map(|at| Some(cube.cube.tables.get(*at)?.relation.clone())).collect();
    let maker = Maker { cube, kind: cube.cube.kind, levels: seen, needed, tables };
    let statement = maker.statement(query, &asked, &filtered, &orders, take)?;
    Ok(Compiled { statement, levels: columns, measures, take, relations })
}

/// The levels that were asked for and those above them, hierarchy by hierarchy in the order of the question.
fn levels_of(cube: &CubeView<'_>, asked: &[LevelReference]) -> Result<Vec<LevelAt>, Refusal> {
    let mut deepest: Vec<LevelAt> = Vec::new();
    for reference in asked {
        let (hierarchy, level) = match reference {
            LevelReference::Name(name) => cube.level(name)?,
            LevelReference::Of(of) => cube.level_of(&of.hierarchy, &of.level)?,
        };
        match deepest.iter_mut().find(|(other, _)| *other == hierarchy) {
            Some((_, deepest)) => *deepest = level.max(*deepest),
            None => deepest.push((hierarchy, level)),
        }
    }
    let levels: Vec<LevelAt> = deepest
        .into_iter()
        .flat_map(|(hierarchy, deepest)| (0..=deepest).map(move |level| (hierarchy, level)))
        .collect();
    if levels.len() > MOST_LEVELS {
        return Err(Refusal::invalid(format!(
            "at most {MOST_LEVELS} levels can be asked for, with those above them"
        )));
    }
    Ok(levels)
}

fn measures_of<'a>(cube: &CubeView<'a>, names: &[String]) -> Result<Vec<SeenMeasure<'a>>, Refusal> {
    if names.len() > MOST_MEASURES {
        return Err(Refusal::invalid(format!("at most {MOST_MEASURES} measures can be asked for")));
    }
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|other| other == name) {
            return Err(Refusal::invalid(format!("\"{name}\" stands twice in `measures`")));
        }
    }
    names.iter().map(|name| cube.measure(name)).collect()
}

fn within_fields(bounds: CubeBounds, fields: usize) -> Result<(), Refusal> {
    match bounds.max_fields {
        Some(most) if fields as u64 > u64::from(most) => Err(Refusal::BudgetExceeded(format!(
            "at most {most} levels and measures can be asked for at once (max_fields)"
        ))),
        Some(_) | None => Ok(()),
    }
}

fn take_of(limit: Option<u64>, bounds: CubeBounds) -> Result<u64, Refusal> {
    match limit {
        None => Ok(bounds.max_rows),
        Some(0) => Err(Refusal::invalid("`limit` is at least 1")),
        Some(limit) if limit > bounds.max_rows => Err(Refusal::BudgetExceeded(format!(
            "at most {} rows can be asked for at once (max_rows)",
            bounds.max_rows
        ))),
        Some(limit) => Ok(limit),
    }
}

/// What rows are ordered by.
#[derive(Debug)]
pub(super) enum By {
    /// By its place among the columns.
    Level(usize),
    Measure(String),
}

fn orders_of(cube: &CubeView<'_>, query: &CubeQuery, levels: &[LevelAt]) -> Result<Vec<(By, bool)>, Refusal> {
    if query.order.len() > MOST_ORDERS {
        return Err(Refusal::invalid(format!("rows are ordered by at most {MOST_ORDERS} things")));
    }
    let by = |name: &String| match (cube.has_level(name), cube.measure(name)) {
        (true, Err(_)) => {
            let at = cube.level(name)?;
            let place = levels.iter().position(|other| *other == at);
            place.map(By::Level).ok_or_else(|| {
                Refusal::invalid(format!("\"{name}\" is no level of the answer: ask for it in `levels`"))
            })
        }
        (false, Ok(_)) => Ok(By::Measure(name.clone())),
        (true, Ok(_)) => Err(Refusal::invalid(format!(
            "\"{name}\" is a level and a measure: write the level with its hierarchy, as in Hierarchy.Level"
        ))),
        (false, Err(_)) => Err(cube.missing_either(name)),
    };
    query.order.iter().map(|order| Ok((by(&order.by)?, order.descending))).collect()
}

/// The measure and what it is computed of, each once.
fn need<'a>(cube: &CubeView<'a>, name: &str, needed: &mut Vec<SeenMeasure<'a>>) -> Result<(), Refusal> {
    if needed.iter().any(|seen| seen.measure.name == name) {
        return Ok(());
    }
    let seen = cube.measure(name)?;
    needed.push(seen);
    match &seen.measure.kind {
        MeasureKind::Facts | MeasureKind::Aggregate(..) => Ok(()),
        MeasureKind::Expression(formula) => formula.names().try_for_each(|name| need(cube, name, needed)),
        MeasureKind::Share(other, _) => need(cube, other, needed),
    }
}

/// The tables that are read, and those on the way to them.
fn tables_of(cube: &CubeView<'_>, levels: &[SeenLevel<'_>], filtered: &Filtered<'_>) -> Vec<usize> {
    let of_filter = filtered.levels.iter().filter_map(|at| cube.level_at(*at));
    let mut tables = vec![0];
    for seen in levels.iter().copied().chain(of_filter) {
        let mut next = Some(seen.table);
        while let Some(table) = next.filter(|table| !tables.contains(table)) {
            tables.push(table);
            let link = cube.cube.tables.get(table).and_then(|table| table.link.as_ref());
            next = link.map(|link| link.from);
        }
    }
    // Tables stand behind those that they are joined to.
    tables.sort_unstable();
    tables
}
