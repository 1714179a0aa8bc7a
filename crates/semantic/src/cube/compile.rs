//! From a query to one statement.
//!
//! The facts are read once, grouped at the finest level that was asked for, and totals are made of those groups, which are few;
//! only what can't be put together from parts (distinct values, quantiles) is computed of the facts for each total. Then come
//! the measures over measures, step by step, and what is asked of the rows.

use ringfence_policy::{ConnectionKind, RelationName};

use super::definition::{Function, Whole};
use super::filtered::Filtered;
use super::formula::{Operand, quotient};
use super::request::{CubeQuery, LevelReference};
use super::resolve::MeasureKind;
use super::visible::{CubeView, LevelAt, SeenLevel, SeenMeasure};
use crate::filter;
use crate::refusal::Refusal;
use crate::request::{Condition, Operator, Test};
use crate::statement::{Statement, Writer, column_of};
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
enum By {
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

struct Maker<'a> {
    cube: &'a CubeView<'a>,
    kind: ConnectionKind,
    levels: Vec<SeenLevel<'a>>,
    needed: Vec<SeenMeasure<'a>>,
    tables: Vec<usize>,
}

/// A measure that is computed of the facts.
struct Aggregate {
    /// Its place among those that are needed.
    at: usize,
    /// `None` counts the facts themselves.
    function: Option<Function>,
    /// The column of the facts.
    input: String,
    class: FieldType,
    /// Whether a sum of sums would become another type.
    is_narrow: bool,
}

impl Maker<'_> {
    fn is_postgres(&self) -> bool {
        matches!(self.kind, ConnectionKind::Postgresql | ConnectionKind::Push)
    }

    fn statement(
        &self,
        query: &CubeQuery,
        asked: &[SeenMeasure<'_>],
        filtered: &Filtered<'_>,
        orders: &[(By, bool)],
        take: u64,
    ) -> Result<Statement, Refusal> {
        let mut writer = Writer::new(self.kind);
        let (aggregates, inputs) = self.aggregates();
        let totals = (query.include_totals || self.has_shares()) && !self.levels.is_empty();
        let is_additive = aggregates.iter().all(Aggregate::is_additive);
        writer.text("WITH facts AS ");
        if totals && !is_additive && self.is_postgres() {
            // What the filter fixes is not constant beside the nulls of totals.
            writer.text("MATERIALIZED ");
        }
        writer.text("(");
        self.facts(&mut writer, &inputs, filtered)?;
        writer.text("), ");
        match (totals, is_additive) {
            (false, _) => self.plain(&mut writer, &aggregates),
            (true, true) => self.rolled_up(&mut writer, &aggregates),
            (true, false) if self.is_postgres() => self.grouping_sets(&mut writer, &aggregates),
            (true, false) => self.each_total(&mut writer, &aggregates),
        }
        let last = self.steps(&mut writer);
        writer.text(" SELECT ");
        let shown =
            asked.iter().filter_map(|seen| self.place(&seen.measure.name)).map(|at| format!("t.m{at}"));
        let columns: Vec<String> = (0..self.levels.len())
            .map(|at| format!("t.l{at}"))
            .chain(shown)
            .chain(["t.d".to_owned()])
            .collect();
        writer.text(&columns.join(", "));
        writer.text(&format!(" FROM {last} AS t"));
        self.rows(&mut writer, query, asked, filtered)?;
        self.order(&mut writer, orders, query.include_totals);
        writer.text(&format!(" LIMIT {}", take.saturating_add(1)));
        Ok(writer.finish())
    }

    /// Whether totals are needed to compute rows.
    fn has_shares(&self) -> bool {
        self.needed.iter().any(|seen| matches!(seen.measure.kind, MeasureKind::Share(..)))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.needed.iter().position(|seen| seen.measure.name == name)
    }

    /// What is computed of the facts, and the expressions that the facts give for it.
    fn aggregates(&self) -> (Vec<Aggregate>, Vec<String>) {
        let (mut aggregates, mut inputs) = (Vec::new(), Vec::<String>::new());
        for (at, seen) in self.needed.iter().enumerate() {
            let class = seen.computed.class;
            match &seen.measure.kind {
                MeasureKind::Facts => {
                    let input = String::new();
                    aggregates.push(Aggregate { at, function: None, input, class, is_narrow: true });
                }
                MeasureKind::Aggregate(function, formula) => {
                    let declared = formula.plain().and_then(|name| self.declared(name)).unwrap_or_default();
                    let mut text = formula.write(self.kind, &|name| self.fact_column(name));
                    let adds = matches!(function, Function::Sum | Function::Mean);
                    if self.is_postgres() && adds && declared == "real" {
                        text = format!("CAST({text} AS DOUBLE PRECISION)");
                    }
                    let known = inputs.iter().position(|other| *other == text);
                    let input = known.unwrap_or_else(|| {
                        inputs.push(text);
                        inputs.len().saturating_sub(1)
                    });
                    let is_narrow =
                        *function == Function::Count || matches!(declared.as_str(), "integer" | "smallint");
                    let (function, input) = (Some(*function), format!("t.c{input}"));
                    aggregates.push(Aggregate { at, function, input, class, is_narrow });
                }
                MeasureKind::Expression(_) | MeasureKind::Share(..) => {}
            }
        }
        (aggregates, inputs)
    }

    fn declared(&self, column: &str) -> Option<String> {
        let facts = (*self.cube.tables.first()?)?;
        let found = facts.columns.iter().find(|known| known.name == column)?;
        Some(found.data_type.to_ascii_lowercase())
    }

    fn fact_column(&self, name: &str) -> Operand {
        let declared = self.declared(name).unwrap_or_default();
        Operand {
            text: column_of(self.kind, "t", name),
            class: crate::value::field_type(self.kind, &declared),
        }
    }

    /// The facts that the filter leaves, with their members and what is computed of them.
    fn facts(&self, writer: &mut Writer, inputs: &[String], filtered: &Filtered<'_>) -> Result<(), Refusal> {
        let levels = self.levels.iter().enumerate();
        let levels = levels.map(|(at, seen)| format!("{} AS l{at}", self.member(*seen)));
        let inputs = inputs.iter().enumerate().map(|(at, text)| format!("{text} AS c{at}"));
        let mut columns: Vec<String> = levels.chain(inputs).collect();
        if columns.is_empty() {
            columns.push("1 AS c0".to_owned());
        }
        writer.text("SELECT ");
        writer.text(&columns.join(", "));
        for at in &self.tables {
            let Some(table) = self.cube.cube.tables.get(*at) else { continue };
            writer.text(if table.link.is_some() { " LEFT JOIN " } else { " FROM " });
            writer.relation(&table.relation);
            writer.text(" AS ");
            writer.text(&alias(*at));
            if let Some(link) = &table.link {
                let one = column_of(self.kind, &alias(*at), &link.target_column);
                let other = column_of(self.kind, &alias(link.from), &link.column);
                writer.text(&format!(" ON {one} = {other}"));
            }
        }
        for (index, condition) in filtered.facts.iter().enumerate() {
            writer.text(if index == 0 { " WHERE " } else { " AND " });
            let is_alone = matches!(condition, Condition::Test(_));
            writer.text("(");
            filter::write_with(writer, condition, &|test| self.level_operand(test, is_alone))?;
            writer.text(")");
        }
        Ok(())
    }

    /// The column of a level, without a member for facts that have none.
    fn bare(&self, seen: SeenLevel<'_>) -> String {
        column_of(self.kind, &alias(seen.table), &seen.column.name)
    }

    /// The member of a fact.
    fn member(&self, seen: SeenLevel<'_>) -> String {
        let bare = self.bare(seen);
        if seen.class == FieldType::Text && seen.may_lack {
            format!("COALESCE({bare}, '{NO_MEMBER}')")
        } else {
            bare
        }
    }

    /// What a condition on a level compares. Where nothing but real members can be meant it is the column itself, which an
    /// index may serve.
    fn level_operand(&self, test: &Test, is_alone: bool) -> Result<filter::Operand, Refusal> {
        let at = self.cube.level(&test.field)?;
        let seen = self.cube.level_at(at).ok_or_else(|| self.cube.missing_either(&test.field))?;
        let is_real = |value: &serde_json::Value| value.as_str().is_some_and(|text| text != NO_MEMBER);
        let is_bare = match test.operator {
            Operator::IsNull => true,
            Operator::Eq => is_alone && is_real(&test.value),
            Operator::In => {
                is_alone && test.value.as_array().is_some_and(|values| values.iter().all(is_real))
            }
            _ => false,
        };
        let text = if is_bare { self.bare(seen) } else { self.member(seen) };
        Ok(filter::Operand { name: test.field.clone(), class: seen.class, text })
    }

    fn level_names(&self, prefix: &str, depth: usize) -> Vec<String> {
        (0..depth).map(|at| format!("{prefix}l{at}")).collect()
    }

    /// `depth AS d`, the members down to that depth, and nulls for the rest.
    fn head(&self, depth: usize) -> Vec<String> {
        let mut columns = vec![format!("{depth} AS d")];
        columns.extend(
            (0..self.levels.len())
                .map(|at| if at < depth { format!("t.l{at} AS l{at}") } else { format!("NULL AS l{at}") }),
        );
        columns
    }

    /// A SELECT from `source` that is grouped at that depth: there is a row only where there are facts.
    fn grouped(&self, writer: &mut Writer, columns: &[String], source: &str, depth: usize) {
        // Without anything to compute, a HAVING would not make the rows one.
        let is_bare = depth == 0 && self.needed.iter().all(|seen| seen.computed.step > 0);
        writer.text(if is_bare { "SELECT DISTINCT " } else { "SELECT " });
        writer.text(&columns.join(", "));
        writer.text(&format!(" FROM {source} AS t"));
        if depth > 0 {
            writer.text(&format!(" GROUP BY {}", self.level_names("t.", depth).join(", ")));
        } else if !is_bare {
            writer.text(" HAVING count(*) > 0");
        }
    }

    fn directly(&self, writer: &mut Writer, aggregates: &[Aggregate], depth: usize) {
        let mut columns = self.head(depth);
        columns.extend(aggregates.iter().map(|it| format!("{} AS m{}", self.direct(it), it.at)));
        self.grouped(writer, &columns, "facts", depth);
    }

    fn plain(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        writer.text("cells AS (");
        self.directly(writer, aggregates, self.levels.len());
        writer.text(")");
    }

    /// Every total from the facts.
    fn each_total(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        writer.text("cells AS (");
        for (index, depth) in (0..=self.levels.len()).rev().enumerate() {
            writer.text(if index > 0 { " UNION ALL " } else { "" });
            self.directly(writer, aggregates, depth);
        }
        writer.text(")");
    }

    fn grouping_sets(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        let names = self.level_names("t.", self.levels.len());
        let rolled: Vec<String> = names.iter().map(|name| format!("grouping({name})")).collect();
        let mut columns = vec![format!("{} - ({}) AS d", self.levels.len(), rolled.join(" + "))];
        columns.extend(names.iter().enumerate().map(|(at, name)| format!("{name} AS l{at}")));
        columns.extend(aggregates.iter().map(|it| format!("{} AS m{}", self.direct(it), it.at)));
        writer.text(&format!(
            "cells AS (SELECT {} FROM facts AS t GROUP BY ROLLUP ({}) HAVING count(*) > 0)",
            columns.join(", "),
            names.join(", ")
        ));
    }

    /// The finest groups once, and totals of those.
    fn rolled_up(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        let finest = self.levels.len();
        let mut columns: Vec<String> = (0..finest).map(|at| format!("t.l{at} AS l{at}")).collect();
        for aggregate in aggregates {
            let parts = self.parts(aggregate).into_iter().enumerate();
            columns.extend(parts.map(|(part, text)| format!("{text} AS p{}_{part}", aggregate.at)));
        }
        writer.text("finest AS (");
        self.grouped(writer, &columns, "facts", finest);
        writer.text("), cells AS (");
        for (index, depth) in (0..=finest).rev().enumerate() {
            writer.text(if index > 0 { " UNION ALL " } else { "" });
            let mut columns = self.head(depth);
            columns.extend(
                aggregates.iter().map(|it| format!("{} AS m{}", self.together(it, depth < finest), it.at)),
            );
            if depth == finest {
                writer.text(&format!("SELECT {} FROM finest AS t", columns.join(", ")));
            } else {
                self.grouped(writer, &columns, "finest", depth);
            }
        }
        writer.text(")");
    }

    /// Computed of the facts.
    fn direct(&self, aggregate: &Aggregate) -> String {
        let input = &aggregate.input;
        match aggregate.function {
            None => "count(*)".to_owned(),
            Some(Function::Sum) => format!("sum({input})"),
            Some(Function::Mean) => {
                quotient(self.kind, aggregate.class, &format!("sum({input})"), &format!("count({input})"))
            }
            Some(Function::Min) => format!("min({input})"),
            Some(Function::Max) => format!("max({input})"),
            Some(Function::Count) => format!("count({input})"),
            Some(Function::CountDistinct) => format!("count(DISTINCT {input})"),
            Some(Function::Quantile(part)) => {
                format!("percentile_cont({part}) WITHIN GROUP (ORDER BY {input})")
            }
        }
    }

    /// What the finest groups keep, so that totals can be made of it.
    fn parts(&self, aggregate: &Aggregate) -> Vec<String> {
        let input = &aggregate.input;
        match aggregate.function {
            Some(Function::Mean) => vec![format!("sum({input})"), format!("count({input})")],
            _ => vec![self.direct(aggregate)],
        }
    }

    /// The measure, of what the finest groups kept.
    fn together(&self, aggregate: &Aggregate, is_total: bool) -> String {
        let part = |part: usize| format!("t.p{}_{part}", aggregate.at);
        if !is_total {
            return match aggregate.function {
                Some(Function::Mean) => quotient(self.kind, aggregate.class, &part(0), &part(1)),
                _ => part(0),
            };
        }
        match aggregate.function {
            Some(Function::Mean) => {
                let (sum, count) = (format!("sum({})", part(0)), format!("sum({})", part(1)));
                quotient(self.kind, aggregate.class, &sum, &count)
            }
            Some(Function::Min) => format!("min({})", part(0)),
            Some(Function::Max) => format!("max({})", part(0)),
            _ => self.narrowed(aggregate, &format!("sum({})", part(0))),
        }
    }

    /// A sum of sums or counts, in the type that the sum itself has.
    fn narrowed(&self, aggregate: &Aggregate, text: &str) -> String {
        let is_count = aggregate.function.is_none() || aggregate.function == Some(Function::Count);
        match self.kind {
            ConnectionKind::Postgresql | ConnectionKind::Push if aggregate.is_narrow => {
                format!("CAST({text} AS BIGINT)")
            }
            ConnectionKind::Mysql if is_count => format!("CAST({text} AS SIGNED)"),
            _ => text.to_owned(),
        }
    }

    /// The measures over measures, each step a table over the one before; answers the last one's name.
    fn steps(&self, writer: &mut Writer) -> String {
        let mut last = "cells".to_owned();
        let most = self.needed.iter().map(|seen| seen.computed.step).max().unwrap_or(0);
        for step in 1..=most {
            let is_new = |seen: &SeenMeasure<'_>| seen.computed.step == step;
            if !self.needed.iter().any(is_new) {
                continue;
            }
            let mut columns = vec!["t.d AS d".to_owned()];
            columns.extend((0..self.levels.len()).map(|at| format!("t.l{at} AS l{at}")));
            for (at, seen) in self.needed.iter().enumerate() {
                if seen.computed.step < step {
                    columns.push(format!("t.m{at} AS m{at}"));
                } else if is_new(seen) {
                    columns.push(format!("{} AS m{at}", self.of_measures(seen)));
                }
            }
            writer.text(&format!(", step{step} AS (SELECT {} FROM {last} AS t)", columns.join(", ")));
            last = format!("step{step}");
        }
        last
    }

    fn of_measures(&self, seen: &SeenMeasure<'_>) -> String {
        let operand = |name: &str| {
            let at = self.place(name);
            let class =
                at.and_then(|at| self.needed.get(at)).map_or(FieldType::Other, |it| it.computed.class);
            Operand { text: at.map_or("NULL".to_owned(), |at| format!("t.m{at}")), class }
        };
        match &seen.measure.kind {
            MeasureKind::Expression(formula) => formula.write(self.kind, &operand),
            MeasureKind::Share(other, whole) => {
                let Operand { text, .. } = operand(other);
                quotient(self.kind, seen.computed.class, &text, &self.whole(&text, *whole))
            }
            MeasureKind::Facts | MeasureKind::Aggregate(..) => "NULL".to_owned(),
        }
    }

    /// The same measure, of the row that a row is a part of.
    fn whole(&self, measure: &str, whole: Whole) -> String {
        let above = |depth: usize, members: &[String]| {
            let partition = if members.is_empty() {
                String::new()
            } else {
                format!("PARTITION BY {}", members.join(", "))
            };
            format!("max(CASE WHEN t.d = {depth} THEN {measure} END) OVER ({partition})")
        };
        if self.levels.is_empty() {
            return measure.to_owned();
        }
        match whole {
            Whole::Total => above(0, &[]),
            Whole::Parent => {
                let mut text = format!("(CASE t.d WHEN 0 THEN {measure}");
                for depth in 1..=self.levels.len() {
                    let parent = depth.saturating_sub(1);
                    let of_parent = above(parent, &self.level_names("t.", parent));
                    text.push_str(&format!(" WHEN {depth} THEN {of_parent}"));
                }
                text.push_str(" END)");
                text
            }
        }
    }

    /// Which rows are answered.
    fn rows(
        &self,
        writer: &mut Writer,
        query: &CubeQuery,
        asked: &[SeenMeasure<'_>],
        filtered: &Filtered<'_>,
    ) -> Result<(), Refusal> {
        let mut word = " WHERE ";
        if self.has_shares() && !query.include_totals && !self.levels.is_empty() {
            writer.text(&format!("{word}t.d = {}", self.levels.len()));
            word = " AND ";
        }
        if !query.include_empty_rows && !asked.is_empty() && asked.iter().all(may_be_null) {
            let places = asked.iter().filter_map(|seen| self.place(&seen.measure.name));
            let nulls: Vec<String> = places.map(|at| format!("t.m{at} IS NULL")).collect();
            writer.text(&format!("{word}NOT ({})", nulls.join(" AND ")));
            word = " AND ";
        }
        for condition in &filtered.rows {
            writer.text(word);
            writer.text("(");
            filter::write_with(writer, condition, &|test| self.measure_operand(test))?;
            writer.text(")");
            word = " AND ";
        }
        Ok(())
    }

    /// What a condition on a measure compares: numbers of all kinds with each other.
    fn measure_operand(&self, test: &Test) -> Result<filter::Operand, Refusal> {
        let seen = self.cube.measure(&test.field)?;
        let at = self.place(&test.field).ok_or_else(|| self.cube.missing_either(&test.field))?;
        let class = seen.computed.class;
        let name = test.field.clone();
        if !matches!(class, FieldType::Integer | FieldType::Decimal) {
            return Ok(filter::Operand { name, class, text: format!("t.m{at}") });
        }
        let text = if self.is_postgres() { format!("CAST(t.m{at} AS NUMERIC)") } else { format!("t.m{at}") };
        Ok(filter::Operand { name, class: FieldType::Decimal, text })
    }

    /// As asked; then by members, totals before what they sum up.
    fn order(&self, writer: &mut Writer, orders: &[(By, bool)], has_totals: bool) {
        let mut items: Vec<String> = Vec::new();
        let total_first = |at: usize| format!("CASE WHEN t.d > {at} THEN 1 ELSE 0 END");
        for (by, descending) in orders {
            match by {
                By::Level(at) => {
                    if has_totals {
                        items.push(total_first(*at));
                    }
                    items.push(self.directed(&format!("t.l{at}"), *descending));
                }
                By::Measure(name) => {
                    if let Some(at) = self.place(name) {
                        items.push(self.directed(&format!("t.m{at}"), *descending));
                    }
                }
            }
        }
        for at in 0..self.levels.len() {
            if has_totals {
                items.push(total_first(at));
            }
            items.push(self.directed(&format!("t.l{at}"), false));
        }
        if !items.is_empty() {
            writer.text(&format!(" ORDER BY {}", items.join(", ")));
        }
    }

    /// Null is larger than every value.
    fn directed(&self, text: &str, descending: bool) -> String {
        match (self.kind, descending) {
            (ConnectionKind::Mysql, false) => format!("{text} IS NULL, {text}"),
            (ConnectionKind::Mysql, true) => format!("{text} IS NULL DESC, {text} DESC"),
            (ConnectionKind::Sqlite, false) => format!("{text} NULLS LAST"),
            (ConnectionKind::Sqlite, true) => format!("{text} DESC NULLS FIRST"),
            (ConnectionKind::Postgresql | ConnectionKind::Push, false) => text.to_owned(),
            (ConnectionKind::Postgresql | ConnectionKind::Push, true) => format!("{text} DESC"),
        }
    }
}

impl Aggregate {
    /// Whether totals can be made of finer groups.
    fn is_additive(&self) -> bool {
        !matches!(self.function, Some(Function::CountDistinct | Function::Quantile(_)))
    }
}

fn may_be_null(seen: &SeenMeasure<'_>) -> bool {
    !matches!(
        seen.measure.kind,
        MeasureKind::Facts | MeasureKind::Aggregate(Function::Count | Function::CountDistinct, _)
    )
}

/// What a table of the cube is called in the statement.
fn alias(table: usize) -> String {
    if table == 0 { "t".to_owned() } else { format!("j{table}") }
}
