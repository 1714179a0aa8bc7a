//! Conditions of a request as SQL.

use ringfence_policy::ConnectionKind;
use serde_json::Value;

use crate::model::{Field, ModelView};
use crate::refusal::Refusal;
use crate::request::{Condition, Operator, Test};
use crate::statement::Writer;
use crate::value::FieldType;

/// Longest list of `in`.
const MOST_VALUES: usize = 1_000;
/// What stands before a character of a pattern that means itself.
const ESCAPE: char = '!';

/// ` WHERE` the condition, if there is one.
pub(crate) fn write_where(
    writer: &mut Writer,
    model: ModelView<'_>,
    filter: Option<&Condition>,
) -> Result<(), Refusal> {
    let Some(condition) = filter else { return Ok(()) };
    writer.text(" WHERE ");
    write(writer, model, condition)
}

/// The condition, in parentheses where it has parts.
pub(crate) fn write(writer: &mut Writer, model: ModelView<'_>, condition: &Condition) -> Result<(), Refusal> {
    let mut several = |all: &[Condition], none: &str, separator: &str| {
        if all.is_empty() {
            writer.text(none);
            return Ok(());
        }
        writer.text("(");
        writer.list(all, separator, |writer, part| write(writer, model, part))?;
        writer.text(")");
        Ok(())
    };
    match condition {
        Condition::And(all) => several(all, "1 = 1", " AND "),
        Condition::Or(any) => several(any, "1 = 0", " OR "),
        Condition::Not(inner) => {
            writer.text("NOT (");
            write(writer, model, inner)?;
            writer.text(")");
            Ok(())
        }
        Condition::Test(test) => write_test(writer, model, test),
    }
}

fn write_test(writer: &mut Writer, model: ModelView<'_>, test: &Test) -> Result<(), Refusal> {
    let field = model.field(&test.field)?;
    if test.operator != Operator::IsNull && !field.class.is_comparable() {
        return Err(Refusal::invalid(format!(
            "\"{}\" is a JSON document, which has no order: select it",
            field.name
        )));
    }
    let value = |value: &Value| value_of(model, field, value);
    match test.operator {
        Operator::Eq => compare(writer, field, " = ", value(&test.value)?),
        Operator::Ne => compare(writer, field, " <> ", value(&test.value)?),
        Operator::Lt => compare(writer, ordered(field)?, " < ", value(&test.value)?),
        Operator::Lte => compare(writer, ordered(field)?, " <= ", value(&test.value)?),
        Operator::Gt => compare(writer, ordered(field)?, " > ", value(&test.value)?),
        Operator::Gte => compare(writer, ordered(field)?, " >= ", value(&test.value)?),
        Operator::In => one_of(writer, model, field, test, false)?,
        Operator::NotIn => one_of(writer, model, field, test, true)?,
        Operator::IsNull => {
            let Value::Bool(wanted) = test.value else {
                return Err(Refusal::invalid(format!("`is_null` of \"{}\" takes true or false", field.name)));
            };
            writer.column(field.name);
            writer.text(if wanted { " IS NULL" } else { " IS NOT NULL" });
        }
        Operator::Contains | Operator::StartsWith | Operator::EndsWith => like(writer, field, test)?,
        Operator::Between => {
            let bounds = test.value.as_array().map_or(&[][..], Vec::as_slice);
            let [low, high] = bounds else {
                return Err(Refusal::invalid(format!(
                    "`between` of \"{}\" takes a list of two values",
                    field.name
                )));
            };
            compare(writer, ordered(field)?, " >= ", value(low)?);
            writer.text(" AND ");
            compare(writer, field, " <= ", value(high)?);
        }
    }
    Ok(())
}

fn compare(writer: &mut Writer, field: Field<'_>, operator: &str, value: Value) {
    writer.column(field.name);
    writer.text(operator);
    writer.parameter(value);
}

fn ordered(field: Field<'_>) -> Result<Field<'_>, Refusal> {
    if field.class.is_ordered() {
        return Ok(field);
    }
    Err(Refusal::invalid(format!("values of \"{}\" have no order", field.name)))
}

fn one_of(
    writer: &mut Writer,
    model: ModelView<'_>,
    field: Field<'_>,
    test: &Test,
    negated: bool,
) -> Result<(), Refusal> {
    let values = test.value.as_array().ok_or_else(|| {
        Refusal::invalid(format!("`in` and `not_in` of \"{}\" take a list of values", field.name))
    })?;
    if values.len() > MOST_VALUES {
        return Err(Refusal::invalid(format!("a list of at most {MOST_VALUES} values can be asked for")));
    }
    if values.is_empty() {
        writer.text(if negated { "1 = 1" } else { "1 = 0" });
        return Ok(());
    }
    let values = values.iter().map(|value| value_of(model, field, value)).collect::<Result<Vec<_>, _>>()?;
    writer.one_of(field.name, values, negated);
    Ok(())
}

/// A part of a text, letter for letter. Where LIKE takes small letters for large ones (`SQLite`), it is not used.
fn like(writer: &mut Writer, field: Field<'_>, test: &Test) -> Result<(), Refusal> {
    let Value::String(part) = &test.value else {
        return Err(Refusal::invalid(format!("a part of \"{}\" is a text", field.name)));
    };
    if !matches!(field.class, FieldType::Text | FieldType::Other) {
        return Err(Refusal::invalid(format!("\"{}\" is no text", field.name)));
    }
    if part.is_empty() {
        // Every text has it, and of null nothing is known.
        writer.column(field.name);
        writer.text(" = ");
        writer.column(field.name);
        return Ok(());
    }
    if writer.kind == ConnectionKind::Sqlite {
        let part = Value::String(part.clone());
        match test.operator {
            Operator::Contains => {
                writer.text("instr(");
                writer.column(field.name);
                writer.text(", ");
                writer.parameter(part);
                writer.text(") > 0");
            }
            Operator::StartsWith => {
                writer.text("instr(");
                writer.column(field.name);
                writer.text(", ");
                writer.parameter(part);
                writer.text(") = 1");
            }
            _ => {
                writer.text("substr(");
                writer.column(field.name);
                writer.text(", -length(");
                writer.parameter(part.clone());
                writer.text(")) = ");
                writer.parameter(part);
            }
        }
        return Ok(());
    }
    let mut pattern = String::new();
    if test.operator != Operator::StartsWith {
        pattern.push('%');
    }
    for character in part.chars() {
        if matches!(character, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(character);
    }
    if test.operator != Operator::EndsWith {
        pattern.push('%');
    }
    writer.column(field.name);
    writer.text(" LIKE ");
    writer.parameter(Value::String(pattern));
    writer.text(" ESCAPE '!'");
    Ok(())
}

/// The value as a parameter. Null is asked for with `is_null`: nothing equals it.
pub(crate) fn value_of(model: ModelView<'_>, field: Field<'_>, value: &Value) -> Result<Value, Refusal> {
    if value.is_null() {
        return Err(Refusal::invalid(format!(
            "null equals nothing: ask for \"{}\" with `is_null`",
            field.name
        )));
    }
    field
        .class
        .parameter(model.policy().kind, value)
        .ok_or_else(|| Refusal::invalid(format!("a value for \"{}\" is {}", field.name, field.class.noun())))
}
