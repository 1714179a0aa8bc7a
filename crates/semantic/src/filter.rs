//! Conditions of a request as SQL.

use ringfence_policy::ConnectionKind;
use serde_json::Value;

use crate::model::{Field, ModelView};
use crate::refusal::Refusal;
use crate::request::{Condition, Operator, Test};
use crate::statement::{ROW, Writer, column_of};
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

/// The same without the word.
pub(crate) fn write(writer: &mut Writer, model: ModelView<'_>, condition: &Condition) -> Result<(), Refusal> {
    let kind = writer.kind;
    write_with(writer, condition, &|test| {
        let field = model.field(&test.field)?;
        Ok(Operand {
            name: field.name.to_owned(),
            class: field.class,
            text: column_of(kind, ROW, field.name),
        })
    })
}

/// What a test is about, by the statement that it stands in.
pub(crate) struct Operand {
    /// As messages call it.
    pub(crate) name: String,
    pub(crate) class: FieldType,
    /// An expression, which is written wherever the operand stands.
    pub(crate) text: String,
}

/// Finds what a test is about.
pub(crate) type Operands<'a> = &'a dyn Fn(&Test) -> Result<Operand, Refusal>;

/// The condition, in parentheses where it has parts.
pub(crate) fn write_with(
    writer: &mut Writer,
    condition: &Condition,
    operands: Operands<'_>,
) -> Result<(), Refusal> {
    let mut several = |all: &[Condition], none: &str, separator: &str| {
        if all.is_empty() {
            writer.text(none);
            return Ok(());
        }
        writer.text("(");
        writer.list(all, separator, |writer, part| write_with(writer, part, operands))?;
        writer.text(")");
        Ok(())
    };
    match condition {
        Condition::And(all) => several(all, "1 = 1", " AND "),
        Condition::Or(any) => several(any, "1 = 0", " OR "),
        Condition::Not(inner) => {
            writer.text("NOT (");
            write_with(writer, inner, operands)?;
            writer.text(")");
            Ok(())
        }
        Condition::Test(test) => write_test(writer, &operands(test)?, test),
    }
}

fn write_test(writer: &mut Writer, field: &Operand, test: &Test) -> Result<(), Refusal> {
    let kind = writer.kind;
    if test.operator != Operator::IsNull && !field.class.is_comparable() {
        return Err(Refusal::invalid(format!(
            "\"{}\" is a JSON document, which has no order: select it",
            field.name
        )));
    }
    let value = |value: &Value| value_for(kind, &field.name, field.class, value);
    match test.operator {
        Operator::Eq => compare(writer, field, " = ", value(&test.value)?),
        Operator::Ne => compare(writer, field, " <> ", value(&test.value)?),
        Operator::Lt => compare(writer, ordered(field)?, " < ", value(&test.value)?),
        Operator::Lte => compare(writer, ordered(field)?, " <= ", value(&test.value)?),
        Operator::Gt => compare(writer, ordered(field)?, " > ", value(&test.value)?),
        Operator::Gte => compare(writer, ordered(field)?, " >= ", value(&test.value)?),
        Operator::In => one_of(writer, field, test, false)?,
        Operator::NotIn => one_of(writer, field, test, true)?,
        Operator::IsNull => {
            let Value::Bool(wanted) = test.value else {
                return Err(Refusal::invalid(format!("`is_null` of \"{}\" takes true or false", field.name)));
            };
            writer.text(&field.text);
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

fn compare(writer: &mut Writer, field: &Operand, operator: &str, value: Value) {
    writer.text(&field.text);
    writer.text(operator);
    writer.parameter(value);
}

fn ordered(field: &Operand) -> Result<&Operand, Refusal> {
    if field.class.is_ordered() {
        return Ok(field);
    }
    Err(Refusal::invalid(format!("values of \"{}\" have no order", field.name)))
}

fn one_of(writer: &mut Writer, field: &Operand, test: &Test, negated: bool) -> Result<(), Refusal> {
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
    let kind = writer.kind;
    let values = values.iter().map(|value| value_for(kind, &field.name, field.class, value));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    writer.one_of(&field.text, values, negated);
    Ok(())
}

/// A part of a text, letter for letter. Where LIKE takes small letters for large ones (`SQLite`), it is not used.
fn like(writer: &mut Writer, field: &Operand, test: &Test) -> Result<(), Refusal> {
    let Value::String(part) = &test.value else {
        return Err(Refusal::invalid(format!("a part of \"{}\" is a text", field.name)));
    };
    if !matches!(field.class, FieldType::Text | FieldType::Other) {
        return Err(Refusal::invalid(format!("\"{}\" is no text", field.name)));
    }
    if part.is_empty() {
        // Every text has it, and of null nothing is known.
        writer.text(&field.text);
        writer.text(" = ");
        writer.text(&field.text);
        return Ok(());
    }
    if writer.kind == ConnectionKind::Sqlite {
        let part = Value::String(part.clone());
        match test.operator {
            Operator::Contains => {
                writer.text("instr(");
                writer.text(&field.text);
                writer.text(", ");
                writer.parameter(part);
                writer.text(") > 0");
            }
            Operator::StartsWith => {
                writer.text("instr(");
                writer.text(&field.text);
                writer.text(", ");
                writer.parameter(part);
                writer.text(") = 1");
            }
            _ => {
                writer.text("substr(");
                writer.text(&field.text);
                writer.text(", -length(");
                writer.parameter(part.clone());
                writer.text(")) = ");
                writer.parameter(part);
            }
        }
        return Ok(());
    }
    // DataFusion takes no other.
    let escape = if writer.kind == ConnectionKind::Lake { '\\' } else { ESCAPE };
    let mut pattern = String::new();
    if test.operator != Operator::StartsWith {
        pattern.push('%');
    }
    for character in part.chars() {
        if matches!(character, '%' | '_') || character == escape {
            pattern.push(escape);
        }
        pattern.push(character);
    }
    if test.operator != Operator::EndsWith {
        pattern.push('%');
    }
    writer.text(&field.text);
    writer.text(" LIKE ");
    writer.parameter(Value::String(pattern));
    writer.text(&format!(" ESCAPE '{escape}'"));
    Ok(())
}

/// The value as a parameter. Null is asked for with `is_null`: nothing equals it.
pub(crate) fn value_of(model: ModelView<'_>, field: Field<'_>, value: &Value) -> Result<Value, Refusal> {
    value_for(model.policy().kind, field.name, field.class, value)
}

fn value_for(kind: ConnectionKind, name: &str, class: FieldType, value: &Value) -> Result<Value, Refusal> {
    if value.is_null() {
        return Err(Refusal::invalid(format!("null equals nothing: ask for \"{name}\" with `is_null`")));
    }
    class
        .parameter(kind, value)
        .ok_or_else(|| Refusal::invalid(format!("a value for \"{name}\" is {}", class.noun())))
}
