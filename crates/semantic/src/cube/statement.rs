//! The text of a query's statement: the facts, then what is computed of them, then what is asked of the rows.

use ringfence_policy::ConnectionKind;

use super::cells::{Aggregate, level_names};
use super::compile::{By, NO_MEMBER};
use super::definition::{Function, Whole};
use super::filtered::Filtered;
use super::formula::{Operand, quotient};
use super::request::CubeQuery;
use super::resolve::MeasureKind;
use super::visible::{CubeView, SeenLevel, SeenMeasure};
use crate::filter;
use crate::refusal::Refusal;
use crate::request::{Condition, Operator, Test};
use crate::statement::{Statement, Writer, column_of};
use crate::value::FieldType;

/// Writes the statement of one query.
pub(super) struct Maker<'a> {
    pub(super) cube: &'a CubeView<'a>,
    pub(super) kind: ConnectionKind,
    pub(super) levels: Vec<SeenLevel<'a>>,
    pub(super) needed: Vec<SeenMeasure<'a>>,
    pub(super) tables: Vec<usize>,
}

impl Maker<'_> {
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.kind, ConnectionKind::Postgresql | ConnectionKind::Push)
    }

    fn is_lake(&self) -> bool {
        self.kind == ConnectionKind::Lake
    }

    pub(super) fn statement(
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
            // What a statement names twice DataFusion computes twice.
            (true, true) if self.is_lake() => self.rolled_up_once(&mut writer, &aggregates),
            (true, true) => self.rolled_up(&mut writer, &aggregates),
            (true, false) if self.is_postgres() || self.is_lake() => {
                self.grouping_sets(&mut writer, &aggregates);
            }
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
                    } else if self.is_lake() && adds && declared == "bigint" {
                        // A sum of such numbers would begin again at the lowest one.
                        text = format!("CAST({text} AS NUMERIC(38, 0))");
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
        if aggregates.is_empty() {
            // Something is computed in any case: it makes the rows of a total one.
            let (input, class) = (String::new(), FieldType::Integer);
            aggregates.push(Aggregate {
                at: self.needed.len(),
                function: None,
                input,
                class,
                is_narrow: true,
            });
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
        let compared = if is_bare { self.bare(seen) } else { self.member(seen) };
        Ok(filter::Operand { name: test.field.clone(), class: seen.class, text: compared })
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
                    let of_parent = above(parent, &level_names("t.", parent));
                    text = format!("{text} WHEN {depth} THEN {of_parent}");
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
        let number =
            if self.is_postgres() { format!("CAST(t.m{at} AS NUMERIC)") } else { format!("t.m{at}") };
        Ok(filter::Operand { name, class: FieldType::Decimal, text: number })
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
            (ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push, false) => {
                text.to_owned()
            }
            (ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push, true) => {
                format!("{text} DESC")
            }
        }
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
