//! What is computed of the facts, with totals: the finest groups once, and totals of those where they can be made so.

use ringfence_policy::ConnectionKind;

use super::definition::Function;
use super::formula::quotient;
use super::statement::Maker;
use crate::statement::Writer;
use crate::value::FieldType;

/// A measure that is computed of the facts.
pub(super) struct Aggregate {
    /// Its place among those that are needed.
    pub(super) at: usize,
    /// `None` counts the facts themselves.
    pub(super) function: Option<Function>,
    /// The column of the facts.
    pub(super) input: String,
    pub(super) class: FieldType,
    /// Whether a sum of sums would become another type.
    pub(super) is_narrow: bool,
}

impl Aggregate {
    /// Whether totals can be made of finer groups.
    pub(super) fn is_additive(&self) -> bool {
        !matches!(self.function, Some(Function::CountDistinct | Function::Quantile(_)))
    }
}

impl Maker<'_> {
    /// `depth AS d`, the members down to that depth, and nulls for the rest.
    fn head(&self, depth: usize) -> Vec<String> {
        let mut columns = vec![format!("{depth} AS d")];
        columns.extend(
            (0..self.levels.len())
                .map(|at| if at < depth { format!("t.l{at} AS l{at}") } else { format!("NULL AS l{at}") }),
        );
        columns
    }

    fn directly(&self, writer: &mut Writer, aggregates: &[Aggregate], depth: usize) {
        let mut columns = self.head(depth);
        columns.extend(aggregates.iter().map(|it| format!("{} AS m{}", self.direct(it), it.at)));
        grouped(writer, &columns, "facts", depth);
    }

    pub(super) fn plain(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        writer.text("cells AS (");
        self.directly(writer, aggregates, self.levels.len());
        writer.text(")");
    }

    /// Every total from the facts.
    pub(super) fn each_total(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        writer.text("cells AS (");
        for (index, depth) in (0..=self.levels.len()).rev().enumerate() {
            writer.text(if index > 0 { " UNION ALL " } else { "" });
            self.directly(writer, aggregates, depth);
        }
        writer.text(")");
    }

    pub(super) fn grouping_sets(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        self.rolled(writer, aggregates, "facts", &|aggregate| self.direct(aggregate));
    }

    /// Every total in one grouping.
    fn rolled(
        &self,
        writer: &mut Writer,
        aggregates: &[Aggregate],
        source: &str,
        of: &dyn Fn(&Aggregate) -> String,
    ) {
        let names = level_names("t.", self.levels.len());
        let rolled: Vec<String> = names.iter().map(|name| format!("grouping({name})")).collect();
        let mut columns = vec![format!("{} - ({}) AS d", self.levels.len(), rolled.join(" + "))];
        columns.extend(names.iter().enumerate().map(|(at, name)| format!("{name} AS l{at}")));
        columns.extend(aggregates.iter().map(|it| format!("{} AS m{}", of(it), it.at)));
        writer.text(&format!(
            "cells AS (SELECT {} FROM {source} AS t GROUP BY ROLLUP ({}) HAVING count(*) > 0)",
            columns.join(", "),
            names.join(", ")
        ));
    }

    /// What makes the finest groups, with what totals can be made of.
    fn finest(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        let finest = self.levels.len();
        let mut columns: Vec<String> = (0..finest).map(|at| format!("t.l{at} AS l{at}")).collect();
        for aggregate in aggregates {
            let parts = self.parts(aggregate).into_iter().enumerate();
            columns.extend(parts.map(|(part, text)| format!("{text} AS p{}_{part}", aggregate.at)));
        }
        writer.text("finest AS (");
        grouped(writer, &columns, "facts", finest);
        writer.text("), ");
    }

    /// The finest groups, and totals of those, each named once.
    pub(super) fn rolled_up_once(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        self.finest(writer, aggregates);
        self.rolled(writer, aggregates, "finest", &|aggregate| self.together(aggregate, true));
    }

    /// The finest groups once, and totals of those.
    pub(super) fn rolled_up(&self, writer: &mut Writer, aggregates: &[Aggregate]) {
        let finest = self.levels.len();
        self.finest(writer, aggregates);
        writer.text("cells AS (");
        for (index, depth) in (0..=finest).rev().enumerate() {
            writer.text(if index > 0 { " UNION ALL " } else { "" });
            let mut columns = self.head(depth);
            columns.extend(
                aggregates.iter().map(|it| format!("{} AS m{}", self.together(it, depth < finest), it.at)),
            );
            if depth == finest {
                writer.text(&format!("SELECT {} FROM finest AS t", columns.join(", ")));
            } else {
                grouped(writer, &columns, "finest", depth);
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
}

/// `l0`, `l1` and so on: the members down to that depth.
pub(super) fn level_names(prefix: &str, depth: usize) -> Vec<String> {
    (0..depth).map(|at| format!("{prefix}l{at}")).collect()
}

/// A SELECT from `source` that is grouped at that depth: there is a row only where there are facts.
fn grouped(writer: &mut Writer, columns: &[String], source: &str, depth: usize) {
    writer.text(&format!("SELECT {} FROM {source} AS t", columns.join(", ")));
    if depth == 0 {
        writer.text(" HAVING count(*) > 0");
    } else {
        writer.text(&format!(" GROUP BY {}", level_names("t.", depth).join(", ")));
    }
}
