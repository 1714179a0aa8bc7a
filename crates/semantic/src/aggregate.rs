//! Figures over rows of a model.

use ringfence_policy::ConnectionKind;

use crate::filter;
use crate::model::{Field, ModelView};
use crate::query::{Bounds, from, take_of};
use crate::refusal::{Refusal, nearest};
use crate::request::{Aggregate, Function, Measure, OrderBy};
use crate::statement::{Statement, Writer};

const MOST_MEASURES: usize = 64;

/// Figures in the making.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Reads them, and one group more to know whether all came.
    pub statement: Statement,
    /// What the answer calls the columns.
    pub names: Vec<String>,
    /// Groups at most.
    pub take: u64,
}

/// A column of the result.
enum Output<'a> {
    Group(Field<'a>),
    Measure(Function, Option<Field<'a>>),
}

/// The figures that the request asks for.
pub fn figures(model: ModelView<'_>, request: &Aggregate, bounds: Bounds) -> Result<Figures, Refusal> {
    let outputs = outputs(model, request)?;
    let take = take_of(request.take.or(Some(bounds.max_take)), bounds)?;
    let mut writer = Writer::new(model.policy().kind);
    writer.text("SELECT ");
    writer.each(&outputs, ", ", |writer, (name, output)| {
        write(writer, output);
        writer.text(" AS ");
        writer.name(name);
    });
    from(&mut writer, model);
    filter::write_where(&mut writer, model, request.filter.as_ref())?;
    let groups: Vec<&Output<'_>> = outputs
        .iter()
        .map(|(_, output)| output)
        .filter(|output| matches!(output, Output::Group(_)))
        .collect();
    if !groups.is_empty() {
        writer.text(" GROUP BY ");
        writer.each(&groups, ", ", |writer, output| write(writer, output));
        write_order(&mut writer, &outputs, &request.order_by)?;
        writer.text(&format!(" LIMIT {}", take.saturating_add(1)));
    } else if !request.order_by.is_empty() {
        return Err(Refusal::invalid("one row has no order: give `group_by`, or leave `order_by` out"));
    }
    let names = outputs.into_iter().map(|(name, _)| name).collect();
    Ok(Figures { statement: writer.finish(), names, take })
}

fn outputs<'a>(model: ModelView<'a>, request: &Aggregate) -> Result<Vec<(String, Output<'a>)>, Refusal> {
    if request.aggregates.is_empty() || request.aggregates.len() > MOST_MEASURES {
        return Err(Refusal::invalid(format!("`aggregates` names 1 to {MOST_MEASURES} figures")));
    }
    let mut outputs: Vec<(String, Output<'a>)> = Vec::new();
    for name in &request.group_by {
        let field = model.field(name)?;
        if !field.class.is_comparable() {
            return Err(Refusal::invalid(format!("rows can't be grouped by \"{name}\", a JSON document")));
        }
        outputs.push((name.clone(), Output::Group(field)));
    }
    for measure in &request.aggregates {
        let output = measure_of(model, measure)?;
        let name = match (&measure.name, &measure.field) {
            (Some(name), _) if is_name(name) => name.clone(),
            (Some(name), _) => {
                return Err(Refusal::invalid(format!(
                    "\"{name}\" is no name for a figure: letters, digits and _, at most 60"
                )));
            }
            (None, Some(field)) => format!("{}_{field}", word(measure.op)),
            (None, None) => word(measure.op).to_owned(),
        };
        outputs.push((name, output));
    }
    for (index, (name, _)) in outputs.iter().enumerate() {
        if outputs.iter().take(index).any(|(other, _)| other == name) {
            return Err(Refusal::invalid(format!("two columns are called \"{name}\": give one an `as`")));
        }
    }
    Ok(outputs)
}

fn measure_of<'a>(model: ModelView<'a>, measure: &Measure) -> Result<Output<'a>, Refusal> {
    let Some(name) = &measure.field else {
        return match measure.op {
            Function::Count => Ok(Output::Measure(Function::Count, None)),
            _ => Err(Refusal::invalid(format!("`{}` needs a `field`", word(measure.op)))),
        };
    };
    let field = model.field(name)?;
    let fits = match measure.op {
        Function::Count => true,
        Function::CountDistinct => field.class.is_comparable(),
        Function::Sum | Function::Avg => field.class.is_number(),
        Function::Min | Function::Max => field.class.is_ordered(),
    };
    if !fits {
        return Err(Refusal::invalid(format!("`{}` can't be computed of \"{name}\"", word(measure.op))));
    }
    Ok(Output::Measure(measure.op, Some(field)))
}

/// By what was asked, then by the groups, so that the answer is the same each time.
fn write_order(
    writer: &mut Writer,
    outputs: &[(String, Output<'_>)],
    asked: &[OrderBy],
) -> Result<(), Refusal> {
    let mut order: Vec<(&Output<'_>, bool)> = Vec::new();
    for OrderBy { field, descending } in asked {
        let (_, output) = outputs.iter().find(|(name, _)| name == field).ok_or_else(|| {
            let names = nearest(field, outputs.iter().map(|(name, _)| name.as_str()));
            Refusal::invalid(format!("there is no \"{field}\" to order by: {}", names.join(", ")))
        })?;
        order.push((output, *descending));
    }
    let groups = outputs.iter().map(|(_, output)| output).filter(|output| matches!(output, Output::Group(_)));
    order.extend(groups.map(|group| (group, false)));
    writer.text(" ORDER BY ");
    writer.each(order, ", ", |writer, (output, descending)| {
        let may_be_null = match output {
            Output::Group(field) => field.nullable,
            Output::Measure(function, _) => !matches!(function, Function::Count | Function::CountDistinct),
        };
        if may_be_null && writer.kind == ConnectionKind::Mysql {
            write(writer, output);
            writer.text(if descending { " IS NULL DESC, " } else { " IS NULL, " });
        }
        write(writer, output);
        writer.text(if descending { " DESC" } else { "" });
        if may_be_null && writer.kind == ConnectionKind::Sqlite {
            writer.text(if descending { " NULLS FIRST" } else { " NULLS LAST" });
        }
    });
    Ok(())
}

fn write(writer: &mut Writer, output: &Output<'_>) {
    let (function, field) = match output {
        Output::Group(field) => return writer.column(field.name),
        Output::Measure(function, field) => (function, field),
    };
    let Some(field) = field else { return writer.text("count(*)") };
    writer.text(match function {
        Function::Count => "count(",
        Function::CountDistinct => "count(DISTINCT ",
        Function::Sum => "sum(",
        Function::Avg => "avg(",
        Function::Min => "min(",
        Function::Max => "max(",
    });
    writer.column(field.name);
    writer.text(")");
}

fn word(function: Function) -> &'static str {
    match function {
        Function::Count => "count",
        Function::CountDistinct => "count_distinct",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Min => "min",
        Function::Max => "max",
    }
}

/// Longer names are cut by some databases.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    name.len() <= 60
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
        && !name.starts_with("_rf_")
}
