//! Rows of other models beside the rows of a page: one statement for each relation, however many rows there are.

use std::collections::BTreeMap;

use ringfence_policy::ConnectionKind;
use ringfence_policy::policy::ModelRelation;
use serde_json::Value;

use crate::filter;
use crate::model::{Field, ModelView, Way};
use crate::order::Order;
use crate::query::{Bounds, Columns, from};
use crate::refusal::Refusal;
use crate::request::Include;
use crate::statement::{FEW, MOST_PARAMETERS, ROW, Statement, Writer, column_of};

/// Relations beside one row.
const MOST_INCLUDES: usize = 16;

/// Rows of another model in the making.
#[derive(Debug, Clone)]
pub struct Included<'a> {
    /// How the rows are reached.
    pub way: Way<'a>,
    /// Where the joining values are in a row of the first model.
    pub here: Vec<usize>,
    /// Where they are in a row of the other.
    pub there: Vec<usize>,
    /// The columns of the statement's result.
    pub columns: Columns<'a>,
    /// What stands beside the other's rows.
    pub includes: Vec<Included<'a>>,
    joined: Vec<Field<'a>>,
    order: Order<'a>,
    request: &'a Include,
}

/// Plans what is included, and adds the columns that it needs of the first model.
pub(crate) fn plan<'a>(
    model: ModelView<'a>,
    includes: &'a BTreeMap<String, Include>,
    columns: &mut Columns<'a>,
    bounds: Bounds,
) -> Result<Vec<Included<'a>>, Refusal> {
    if includes.is_empty() {
        return Ok(Vec::new());
    }
    if includes.len() > MOST_INCLUDES {
        return Err(Refusal::BudgetExceeded(format!("at most {MOST_INCLUDES} relations can be included")));
    }
    let Some(below) = bounds.max_depth.checked_sub(1) else {
        return Err(Refusal::BudgetExceeded(format!(
            "{} can't include that deep (max_include_depth): ask for less, or for the other model by itself",
            model.name()
        )));
    };
    includes.iter().map(|(name, request)| plan_one(model, name, request, columns, (bounds, below))).collect()
}

fn plan_one<'a>(
    model: ModelView<'a>,
    name: &str,
    request: &'a Include,
    shown: &mut Columns<'a>,
    (bounds, below): (Bounds, u32),
) -> Result<Included<'a>, Refusal> {
    let way = model.way(name)?;
    let ModelRelation { on, many, max_depth, .. } = way.relation;
    let below = match max_depth {
        Some(0) => return Err(Refusal::BudgetExceeded(format!("\"{name}\" can't be included (max_depth)"))),
        Some(depth) => below.min(depth.saturating_sub(1)),
        None => below,
    };
    let other = way.target;
    let mut columns = Columns::of(other, request.select.as_deref())?;
    columns.check(other, bounds)?;
    let (mut here, mut there, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (column, target) in on {
        here.push(shown.place(model.field(column)?));
        let field = other.field(target)?;
        there.push(columns.place(field));
        joined.push(field);
    }
    if !many && request.take.is_some() {
        return Err(Refusal::invalid(format!("\"{name}\" has one row at most: leave `take` out")));
    }
    if request.take.is_some_and(|take| take == 0 || take > bounds.max_take) {
        return Err(Refusal::BudgetExceeded(format!(
            "`take` of \"{name}\" is from 1 to {}",
            bounds.max_take
        )));
    }
    let includes = plan(other, &request.include, &mut columns, Bounds { max_depth: below, ..bounds })?;
    let order = Order::of(other, &request.order_by)?;
    // The first of each group are put in order again.
    for sort in &order.fields {
        columns.place(sort.field);
    }
    Ok(Included { way, here, there, columns, includes, joined, order, request })
}

impl Included<'_> {
    /// Keys that one statement looks for.
    pub fn most_keys(&self) -> usize {
        match self.way.target.policy().kind {
            // Each is a parameter, and they are padded to a power of two.
            ConnectionKind::Mysql | ConnectionKind::Lake => {
                MOST_PARAMETERS.checked_div(self.joined.len().saturating_mul(2)).unwrap_or(1).max(1)
            }
            ConnectionKind::Postgresql | ConnectionKind::Sqlite | ConnectionKind::Push => 8_192,
        }
    }

    /// Reads the rows that belong to these keys, and perhaps a few more: of a key of several fields, each is looked for by
    /// itself. No more than `limit` rows come. One text serves many numbers of keys.
    pub fn statement(&self, keys: &[Vec<Value>], limit: u64) -> Result<Statement, Refusal> {
        let model = self.way.target;
        let mut writer = Writer::new(model.policy().kind);
        let place = self.request.take.map(|take| (take, self.free_name()));
        writer.text("SELECT ");
        self.columns.write(&mut writer);
        match &place {
            None => {
                from(&mut writer, model);
                self.condition(&mut writer, keys)?;
            }
            Some((take, place)) => {
                // The first of each group, found in one go.
                writer.text(" FROM (SELECT ");
                self.columns.write(&mut writer);
                writer.text(", row_number() OVER (PARTITION BY ");
                writer.each(&self.joined, ", ", |writer, field| writer.column(field.name));
                self.order.write(&mut writer);
                writer.text(") AS ");
                writer.name(place);
                from(&mut writer, model);
                self.condition(&mut writer, keys)?;
                writer.text(&format!(") AS {ROW} WHERE "));
                writer.column(place);
                writer.text(&format!(" <= {take}"));
            }
        }
        self.order.write(&mut writer);
        writer.text(&format!(" LIMIT {}", limit.saturating_add(1)));
        Ok(writer.finish())
    }

    fn condition(&self, writer: &mut Writer, keys: &[Vec<Value>]) -> Result<(), Refusal> {
        writer.text(" WHERE ");
        // One text for many numbers of keys.
        let few = keys.len() <= FEW || matches!(writer.kind, ConnectionKind::Mysql | ConnectionKind::Lake);
        let padded = if few { keys.len().max(1).next_power_of_two() } else { keys.len() };
        let kind = writer.kind;
        writer.list(self.joined.iter().enumerate(), " AND ", |writer, (index, field)| {
            let mut values = Vec::with_capacity(padded);
            for key in (0..padded).map(|number| keys.get(number).or(keys.last())) {
                let value = key.and_then(|key| key.get(index)).unwrap_or(&Value::Null);
                values.push(field.class.parameter(kind, value).ok_or_else(|| {
                    Refusal::invalid(format!("\"{}\" joins fields of different types", self.way.name))
                })?);
            }
            writer.one_of(&column_of(writer.kind, ROW, field.name), values, false);
            Ok(())
        })?;
        if let Some(filter) = &self.request.filter {
            writer.text(" AND (");
            filter::write(writer, self.way.target, filter)?;
            writer.text(")");
        }
        Ok(())
    }

    /// A name that no field has.
    fn free_name(&self) -> String {
        let mut name = "row_place".to_owned();
        while self.columns.fields.iter().any(|field| field.name.eq_ignore_ascii_case(&name)) {
            name.push('_');
        }
        name
    }
}
