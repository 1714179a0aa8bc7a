//! Rows of a model.

use serde_json::Value;

use crate::filter;
use crate::include::{self, Included};
use crate::model::{Field, ModelView};
use crate::order::Order;
use crate::refusal::Refusal;
use crate::request::{Condition, Query};
use crate::statement::{ROW, Statement, Writer};

/// What holds for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of a page when the request does not say.
    pub default_take: u64,
    /// Rows of a page at most.
    pub max_take: u64,
    /// How deep includes may go.
    pub max_depth: u32,
    /// Columns of one statement at most.
    pub max_fields: Option<u32>,
}

/// A page in the making.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// Reads the page, and one row more to know whether there is another page.
    pub statement: Statement,
    /// Counts all rows, when that was asked for.
    pub count: Option<Statement>,
    /// The columns of the statement's result.
    pub columns: Columns<'a>,
    /// Where the values of the order are in a row; `None` when a page can't go on behind a row.
    pub cursor_at: Option<Vec<usize>>,
    /// Rows of the page.
    pub take: u64,
    /// What stands beside each row.
    pub includes: Vec<Included<'a>>,
}

/// The columns of a result: those that are shown, then those that are needed otherwise.
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    /// In the result's order.
    pub fields: Vec<Field<'a>>,
    /// How many of them, from the first, are shown.
    pub shown: usize,
}

impl<'a> Columns<'a> {
    /// The fields that are asked for; all when none are named.
    pub(crate) fn of(model: ModelView<'a>, select: Option<&[String]>) -> Result<Self, Refusal> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        match select {
            None => fields.extend(model.fields()),
            Some([]) => {
                return Err(Refusal::invalid("`select` names no field: leave it out for all of them"));
            }
            Some(names) => {
                for name in names {
                    let field = model.field(name)?;
                    if fields.contains(&field) {
                        return Err(Refusal::invalid(format!("\"{name}\" stands twice in `select`")));
                    }
                    fields.push(field);
                }
            }
        }
        let shown = fields.len();
        Ok(Self { fields, shown })
    }

    /// Where the field is in a row; added behind those that are shown when it is not there.
    pub(crate) fn place(&mut self, field: Field<'a>) -> usize {
        self.fields.iter().position(|other| other.name == field.name).unwrap_or_else(|| {
            self.fields.push(field);
            self.fields.len().saturating_sub(1)
        })
    }

    pub(crate) fn check(&self, model: ModelView<'_>, bounds: Bounds) -> Result<(), Refusal> {
        match bounds.max_fields {
            Some(most) if self.shown as u64 > u64::from(most) => Err(Refusal::BudgetExceeded(format!(
                "at most {most} fields of {} can be asked for at once (max_fields): name fewer in `select`",
                model.name()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.each(&self.fields, ", ", |writer, field| writer.column(field.name));
    }
}

/// The page that the request asks for, behind the row with these values of its order, if it goes on.
pub fn page<'a>(
    model: ModelView<'a>,
    query: &'a Query,
    bounds: Bounds,
    behind: Option<&[Value]>,
) -> Result<Page<'a>, Refusal> {
    let mut columns = Columns::of(model, query.select.as_deref())?;
    columns.check(model, bounds)?;
    let take = take_of(query.take, bounds)?;
    let order = Order::of(model, &query.order_by)?;
    let includes = include::plan(model, &query.include, &mut columns, bounds)?;
    let cursor_at =
        order.is_total.then(|| order.fields.iter().map(|sort| columns.place(sort.field)).collect());
    let mut writer = Writer::new(model.policy().kind);
    writer.text("SELECT ");
    columns.write(&mut writer);
    from(&mut writer, model);
    match (behind, &query.filter) {
        (None, filter) => filter::write_where(&mut writer, model, filter.as_ref())?,
        (Some(values), filter) => {
            writer.text(" WHERE ");
            if let Some(condition) = filter {
                writer.text("(");
                filter::write(&mut writer, model, condition)?;
                writer.text(") AND ");
            }
            order.write_behind(&mut writer, model, values)?;
        }
    }
    order.write(&mut writer);
    writer.text(&format!(" LIMIT {}", take.saturating_add(1)));
    let count = if query.total_count { Some(count(model, query.filter.as_ref())?) } else { None };
    Ok(Page { statement: writer.finish(), count, columns, cursor_at, take, includes })
}

/// The row of a primary key, with these fields.
pub fn row<'a>(
    model: ModelView<'a>,
    select: Option<&[String]>,
    id: &Value,
    bounds: Bounds,
) -> Result<(Statement, Columns<'a>), Refusal> {
    let columns = Columns::of(model, select)?;
    columns.check(model, bounds)?;
    let key = crate::write::key_of(model, id)?;
    let mut writer = Writer::new(model.policy().kind);
    writer.text("SELECT ");
    columns.write(&mut writer);
    from(&mut writer, model);
    writer.text(" WHERE ");
    key.write(&mut writer);
    writer.text(" LIMIT 2");
    Ok((writer.finish(), columns))
}

/// ` FROM` the model's relation.
pub(crate) fn from(writer: &mut Writer, model: ModelView<'_>) {
    writer.text(" FROM ");
    writer.relation(&model.entitlement.relation);
    writer.text(" AS ");
    writer.text(ROW);
}

/// How many rows are taken.
pub(crate) fn take_of(asked: Option<u64>, bounds: Bounds) -> Result<u64, Refusal> {
    match asked {
        None => Ok(bounds.default_take.min(bounds.max_take)),
        Some(0) => Err(Refusal::invalid("`take` is at least 1")),
        Some(asked) if asked > bounds.max_take => Err(Refusal::BudgetExceeded(format!(
            "at most {} rows can be taken at once (max_rows): take fewer, and go on with `next_cursor`",
            bounds.max_take
        ))),
        Some(asked) => Ok(asked),
    }
}

fn count(model: ModelView<'_>, filter: Option<&Condition>) -> Result<Statement, Refusal> {
    let mut writer = Writer::new(model.policy().kind);
    writer.text("SELECT count(*)");
    from(&mut writer, model);
    filter::write_where(&mut writer, model, filter)?;
    Ok(writer.finish())
}
