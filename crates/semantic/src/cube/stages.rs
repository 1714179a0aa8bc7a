//! In which order measures are computed, and what kind of values each has.

use std::collections::BTreeMap;

use ringfence_policy::ConnectionKind;

use super::definition::Function;
use super::formula::{Fault, Formula, divided};
use super::resolve::{Measure, MeasureKind};
use crate::value::FieldType;

/// Measures over measures over measures: each is a step of the statement.
const MOST_STEPS: usize = 16;

/// What is known of a measure before it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Computed {
    pub(super) class: FieldType,
    /// 0 for what is computed of the facts; behind everything that it is computed of otherwise.
    pub(super) step: usize,
}

/// What is known of every measure; why not, of those that can't be computed.
pub(super) struct Stages<'a> {
    measures: &'a [Measure],
    kind: ConnectionKind,
    columns: &'a dyn Fn(&str) -> FieldType,
    known: BTreeMap<&'a str, Result<Computed, Fault>>,
}

/// The class of one measure.
pub(super) fn class_of(
    measures: &[Measure],
    name: &str,
    kind: ConnectionKind,
    columns: &dyn Fn(&str) -> FieldType,
) -> Result<FieldType, Fault> {
    Stages { measures, kind, columns, known: BTreeMap::new() }.of(name, 0).map(|computed| computed.class)
}

impl<'a> Stages<'a> {
    pub(super) fn new(
        measures: &'a [Measure],
        kind: ConnectionKind,
        columns: &'a dyn Fn(&str) -> FieldType,
    ) -> Self {
        Self { measures, kind, columns, known: BTreeMap::new() }
    }

    /// What is known of the measure. Each is looked at once, so that no definition takes long to check.
    pub(super) fn of(&mut self, name: &str, depth: usize) -> Result<Computed, Fault> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if depth > MOST_STEPS {
            return Err(Fault::new(format!(
                "measures over measures go in a circle, or more than {MOST_STEPS} deep"
            )));
        }
        let measures = self.measures;
        let measure = measures.iter().find(|measure| measure.name == name);
        let measure = measure.ok_or_else(|| Fault::new(format!("there is no measure `{name}`")))?;
        let computed = self.look(&measure.kind, depth.saturating_add(1));
        self.known.insert(&measure.name, computed.clone());
        computed
    }

    fn look(&mut self, kind: &MeasureKind, depth: usize) -> Result<Computed, Fault> {
        match kind {
            MeasureKind::Facts => Ok(Computed { class: FieldType::Integer, step: 0 }),
            MeasureKind::Aggregate(function, formula) => {
                let class = formula.class(self.kind, self.columns)?;
                Ok(Computed { class: aggregated(self.kind, *function, class), step: 0 })
            }
            MeasureKind::Expression(formula) => self.expression(formula, depth),
            MeasureKind::Share(measure, _) => {
                let whole = self.of(measure, depth)?;
                if !whole.class.is_number() {
                    return Err(Fault::new("shares are of numbers"));
                }
                Ok(Computed { class: divided(self.kind, whole.class), step: whole.step.saturating_add(1) })
            }
        }
    }

    fn expression(&mut self, formula: &Formula, depth: usize) -> Result<Computed, Fault> {
        let mut classes = BTreeMap::new();
        let mut step = 0;
        for name in formula.names() {
            let computed = self.of(name, depth)?;
            classes.insert(name.to_owned(), computed.class);
            step = step.max(computed.step);
        }
        let class_of = |name: &str| classes.get(name).copied().unwrap_or(FieldType::Other);
        Ok(Computed { class: formula.class(self.kind, &class_of)?, step: step.saturating_add(1) })
    }
}

/// What comes of values of that class.
pub(super) fn aggregated(kind: ConnectionKind, function: Function, class: FieldType) -> FieldType {
    match function {
        Function::Sum | Function::Min | Function::Max => class,
        Function::Mean => divided(kind, class),
        Function::Count | Function::CountDistinct => FieldType::Integer,
        Function::Quantile(_) => FieldType::Float,
    }
}

/// Whether that kind of database computes them.
pub(super) fn has_quantiles(kind: ConnectionKind) -> bool {
    matches!(kind, ConnectionKind::Postgresql | ConnectionKind::Lake)
}
