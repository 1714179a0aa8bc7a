//! The order of rows, and where a page goes on.
//!
//! Everywhere the same: nulls are larger than every value, so that they come last, and first when the largest come first.

use ringfence_policy::ConnectionKind;
use serde_json::Value;

use crate::filter;
use crate::model::{Field, ModelView};
use crate::refusal::Refusal;
use crate::request::OrderBy;
use crate::statement::Writer;

/// Most fields of an order.
const MOST_FIELDS: usize = 16;

/// A field that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortField<'a> {
    /// The field.
    pub field: Field<'a>,
    /// Largest first.
    pub descending: bool,
}

/// The order of a page: the fields asked for, and the primary key behind them.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// In their order.
    pub fields: Vec<SortField<'a>>,
    /// Whether no two rows are equal in all of them, so that a page can go on behind the last row of the one before.
    pub is_total: bool,
}

impl<'a> Order<'a> {
    /// The order of a request.
    pub fn of(model: ModelView<'a>, asked: &[OrderBy]) -> Result<Self, Refusal> {
        if asked.len() > MOST_FIELDS {
            return Err(Refusal::invalid(format!("rows are ordered by at most {MOST_FIELDS} fields")));
        }
        let mut fields: Vec<SortField<'a>> = Vec::new();
        for OrderBy { field, descending } in asked {
            let field = model.field(field)?;
            if !field.class.is_ordered() {
                return Err(Refusal::invalid(format!("values of \"{}\" have no order", field.name)));
            }
            if fields.iter().any(|other| other.field == field) {
                return Err(Refusal::invalid(format!("\"{}\" stands twice in the order", field.name)));
            }
            fields.push(SortField { field, descending: *descending });
        }
        let key = model.key().filter(|key| key.iter().all(|field| field.class.is_ordered()));
        let is_total = key.is_some();
        for field in key.into_iter().flatten() {
            if !fields.iter().any(|other| other.field == field) {
                fields.push(SortField { field, descending: false });
            }
        }
        Ok(Self { fields, is_total })
    }

    /// ` ORDER BY`, if there is anything to order by.
    pub(crate) fn write(&self, writer: &mut Writer) {
        if self.fields.is_empty() {
            return;
        }
        writer.text(" ORDER BY ");
        writer.each(&self.fields, ", ", |writer, sort| {
            if sort.field.nullable && writer.kind == ConnectionKind::Mysql {
                writer.column(sort.field.name);
                writer.text(if sort.descending { " IS NULL DESC, " } else { " IS NULL, " });
            }
            writer.column(sort.field.name);
            writer.text(if sort.descending { " DESC" } else { "" });
            if sort.field.nullable && writer.kind == ConnectionKind::Sqlite {
                writer.text(if sort.descending { " NULLS FIRST" } else { " NULLS LAST" });
            }
        });
    }

    /// That a row comes behind the one with these values.
    pub(crate) fn write_behind(
        &self,
        writer: &mut Writer,
        model: ModelView<'_>,
        values: &[Value],
    ) -> Result<(), Refusal> {
        let foreign = || Refusal::invalid("the cursor is of another request");
        if values.len() != self.fields.len() {
            return Err(foreign());
        }
        let sorted: Vec<(&SortField<'_>, Value)> = self
            .fields
            .iter()
            .zip(values)
            .map(|(sort, value)| match value {
                Value::Null => Ok((sort, Value::Null)),
                value => filter::value_of(model, sort.field, value).map(|value| (sort, value)),
            })
            .collect::<Result<_, _>>()
            .map_err(|_| foreign())?;
        // An index on the first field begins the page where it begins.
        if let Some((first, value)) = sorted.first()
            && !first.field.nullable
        {
            writer.column(first.field.name);
            writer.text(if first.descending { " <= " } else { " >= " });
            writer.parameter(value.clone());
            writer.text(" AND ");
        }
        writer.text("(");
        for (index, (sort, value)) in sorted.iter().enumerate() {
            writer.text(if index > 0 { " OR (" } else { "(" });
            for (before, value) in sorted.iter().take(index) {
                equal(writer, before.field, value);
                writer.text(" AND ");
            }
            beyond(writer, sort, value);
            writer.text(")");
        }
        writer.text(")");
        Ok(())
    }
}

fn equal(writer: &mut Writer, field: Field<'_>, value: &Value) {
    writer.column(field.name);
    if value.is_null() {
        writer.text(" IS NULL");
    } else {
        writer.text(" = ");
        writer.parameter(value.clone());
    }
}

fn beyond(writer: &mut Writer, sort: &SortField<'_>, value: &Value) {
    match (value.is_null(), sort.descending) {
        (true, false) => writer.text("1 = 0"),
        (true, true) => {
            writer.column(sort.field.name);
            writer.text(" IS NOT NULL");
        }
        (false, descending) => {
            let may_be_null = sort.field.nullable && !descending;
            writer.text(if may_be_null { "(" } else { "" });
            writer.column(sort.field.name);
            writer.text(if descending { " < " } else { " > " });
            writer.parameter(value.clone());
            if may_be_null {
                writer.text(" OR ");
                writer.column(sort.field.name);
                writer.text(" IS NULL)");
            }
        }
    }
}
