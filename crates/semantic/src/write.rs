//! Changes of a model's rows.
//!
//! What is looked at here is what can be told in the request's words. Whether a row may be touched, and what it may become,
//! is for the guard.

use ringfence_policy::{ConnectionKind, Permit};
use serde_json::{Map, Value};

use crate::model::{Field, ModelView};
use crate::query::{Columns, from};
use crate::refusal::Refusal;
use crate::statement::{MOST_PARAMETERS, ROW, Statement, Writer, column_of};
use crate::value::FieldType;

/// Rows of one bulk operation.
pub const MOST_ROWS: usize = 1_000;
/// Values of keys with several fields: each row is a condition of its own.
const MOST_KEY_PARTS: usize = 400;

/// The primary key of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Key<'a> {
    parts: Vec<(Field<'a>, Value)>,
}

/// New rows with the same fields, in one statement.
#[derive(Debug, Clone)]
pub struct Inserted {
    /// Adds them.
    pub statement: Statement,
    /// Which of the request's rows they are.
    pub rows: Vec<usize>,
}

impl Key<'_> {
    /// That a row has the key.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.each(&self.parts, " AND ", |writer, (field, value)| {
            writer.column(field.name);
            writer.text(" = ");
            writer.parameter(value.clone());
        });
    }

    /// As an object, for records.
    pub fn to_object(&self) -> Value {
        Value::Object(
            self.parts.iter().map(|(field, value)| (field.name.to_owned(), value.clone())).collect(),
        )
    }
}

/// The key that a request says: its value, or an object of all its fields.
pub fn key_of<'a>(model: ModelView<'a>, id: &Value) -> Result<Key<'a>, Refusal> {
    let Some(fields) = model.key() else {
        return Err(Refusal::invalid(format!("{} has no primary key that you see: query it", model.name())));
    };
    let given = |field: &Field<'a>, value: &Value| crate::filter::value_of(model, *field, value);
    let parts = match (fields.as_slice(), id) {
        (_, Value::Object(object)) => {
            if let Some(name) = object.keys().find(|name| !fields.iter().any(|field| field.name == **name)) {
                return Err(Refusal::invalid(format!(
                    "\"{name}\" is no part of the primary key of {}",
                    model.name()
                )));
            }
            let part = |field: &Field<'a>| {
                let value = object.get(field.name).ok_or_else(|| {
                    Refusal::invalid(format!("the primary key of {} needs \"{}\"", model.name(), field.name))
                })?;
                Ok((*field, given(field, value)?))
            };
            fields.iter().map(part).collect::<Result<Vec<_>, Refusal>>()?
        }
        ([field], value) => vec![(*field, given(field, value)?)],
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|field| field.name).collect();
            return Err(Refusal::invalid(format!(
                "the primary key of {} has several fields: give an object with {}",
                model.name(),
                names.join(", ")
            )));
        }
    };
    Ok(Key { parts })
}

/// The columns that a change answers.
pub fn returned<'a>(model: ModelView<'a>, fields: Option<&[String]>) -> Result<Columns<'a>, Refusal> {
    Columns::of(model, fields)
}

/// Adds rows, in as few statements as their fields allow.
pub fn create(
    model: ModelView<'_>,
    rows: &[Map<String, Value>],
    returned: &Columns<'_>,
) -> Result<Vec<Inserted>, Refusal> {
    refuse_denied(model, model.operations().create, "created")?;
    if rows.is_empty() || rows.len() > MOST_ROWS {
        return Err(Refusal::invalid(format!("1 to {MOST_ROWS} rows can be created at once")));
    }
    refuse_too_many(model, rows.len())?;
    let mut groups: Vec<(Vec<Field<'_>>, Vec<usize>)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let fields = new_fields(model, row)?;
        match groups.iter_mut().find(|(known, _)| *known == fields) {
            Some((_, members)) => members.push(index),
            None => groups.push((fields, vec![index])),
        }
    }
    let mut inserted = Vec::new();
    for (fields, members) in groups {
        let at_once = MOST_PARAMETERS.checked_div(fields.len()).unwrap_or(1).max(1);
        for members in members.chunks(at_once) {
            inserted.push(insert(model, rows, &fields, members.to_vec(), returned)?);
        }
    }
    Ok(inserted)
}

/// The fields of a new row, in the relation's order.
fn new_fields<'a>(model: ModelView<'a>, row: &Map<String, Value>) -> Result<Vec<Field<'a>>, Refusal> {
    for name in row.keys() {
        let field = model.field(name)?;
        if !field.writable {
            return Err(not_writable(model, field));
        }
    }
    for required in &model.entitlement.writes.required {
        if row.get(required).is_none_or(Value::is_null) {
            return Err(Refusal::RequiredField { model: model.name().to_owned(), field: required.clone() });
        }
    }
    Ok(model.fields().filter(|field| row.contains_key(field.name)).collect())
}

fn insert(
    model: ModelView<'_>,
    rows: &[Map<String, Value>],
    fields: &[Field<'_>],
    members: Vec<usize>,
    returned: &Columns<'_>,
) -> Result<Inserted, Refusal> {
    if fields.is_empty() {
        return Err(Refusal::invalid("a new row needs a field at least"));
    }
    let mut writer = Writer::new(model.policy().kind);
    writer.text("INSERT INTO ");
    writer.relation(&model.entitlement.relation);
    writer.text(" (");
    writer.each(fields, ", ", |writer, field| writer.name(field.name));
    writer.text(") VALUES ");
    writer.list(members.iter().filter_map(|member| rows.get(*member)), ", ", |writer, row| {
        writer.text("(");
        writer.list(fields, ", ", |writer, field| {
            let value = row.get(field.name).unwrap_or(&Value::Null);
            writer.parameter(new_value(model, *field, value)?);
            Ok(())
        })?;
        writer.text(")");
        Ok(())
    })?;
    write_returned(&mut writer, returned);
    Ok(Inserted { statement: writer.finish(), rows: members })
}

/// Changes the rows of these keys. With a version, only the row that has it.
pub fn update(
    model: ModelView<'_>,
    keys: &[Key<'_>],
    data: &Map<String, Value>,
    if_version: Option<&Value>,
    returned: &Columns<'_>,
) -> Result<Statement, Refusal> {
    refuse_denied(model, model.operations().update, "updated")?;
    if data.is_empty() {
        return Err(Refusal::invalid("`data` names no field to change"));
    }
    let mut changes = Vec::new();
    for (name, value) in data {
        let field = model.field(name)?;
        if !field.writable {
            return Err(not_writable(model, field));
        }
        if !model.may_update(field) {
            return Err(Refusal::ImmutableField { model: model.name().to_owned(), field: name.clone() });
        }
        changes.push((field, new_value(model, field, value)?));
    }
    let mut writer = Writer::new(model.policy().kind);
    begin_update(&mut writer, model);
    writer.each(changes, ", ", |writer, (field, value)| {
        writer.name(field.name);
        writer.text(" = ");
        writer.parameter(value);
    });
    if let Some(version) = &model.entitlement.version {
        let Some(version) = model.version().filter(|field| field.writable) else {
            // What can't be moved on would let two changes overwrite each other unseen.
            return Err(Refusal::VersionNotWritable(model.name().to_owned(), version.clone()));
        };
        writer.text(", ");
        writer.name(version.name);
        writer.text(" = ");
        next_version(&mut writer, version)?;
    }
    write_rows(&mut writer, model, keys, if_version)?;
    write_returned(&mut writer, returned);
    Ok(writer.finish())
}

/// Removes the rows of these keys. Where the policy keeps removed rows, the statement sets what says so.
pub fn delete(
    model: ModelView<'_>,
    keys: &[Key<'_>],
    if_version: Option<&Value>,
) -> Result<Statement, Refusal> {
    refuse_denied(model, model.operations().delete, "deleted")?;
    let mut writer = Writer::new(model.policy().kind);
    match &model.entitlement.soft_delete {
        None => {
            writer.text("DELETE FROM ");
            writer.relation(&model.entitlement.relation);
            writer.text(" AS ");
            writer.text(ROW);
            write_rows(&mut writer, model, keys, if_version)?;
        }
        Some(soft) => {
            begin_update(&mut writer, model);
            writer.name(&soft.column.name);
            writer.text(" = CURRENT_TIMESTAMP");
            write_rows(&mut writer, model, keys, if_version)?;
            writer.text(" AND ");
            writer.column(&soft.column.name);
            writer.text(" IS NULL");
        }
    }
    Ok(writer.finish())
}

/// Reads the rows of these keys as they are, in full, for the record and for saying why nothing changed.
pub fn before<'a>(model: ModelView<'a>, keys: &[Key<'_>]) -> Result<(Statement, Columns<'a>), Refusal> {
    let columns = Columns::of(model, None)?;
    let mut writer = Writer::new(model.policy().kind);
    writer.text("SELECT ");
    columns.write(&mut writer);
    from(&mut writer, model);
    write_rows(&mut writer, model, keys, None)?;
    Ok((writer.finish(), columns))
}

fn begin_update(writer: &mut Writer, model: ModelView<'_>) {
    writer.text("UPDATE ");
    writer.relation(&model.entitlement.relation);
    writer.text(" AS ");
    writer.text(ROW);
    writer.text(" SET ");
}

fn write_rows(
    writer: &mut Writer,
    model: ModelView<'_>,
    keys: &[Key<'_>],
    if_version: Option<&Value>,
) -> Result<(), Refusal> {
    writer.text(" WHERE ");
    if let [key] = keys {
        key.write(writer);
    } else if let Some([(field, _)]) = keys.first().map(|key| key.parts.as_slice()) {
        let values = keys.iter().flat_map(|key| &key.parts).map(|(_, value)| value.clone());
        writer.one_of(&column_of(writer.kind, ROW, field.name), values.collect(), false);
    } else {
        let parts: usize = keys.iter().map(|key| key.parts.len()).sum();
        if parts > MOST_KEY_PARTS {
            return Err(Refusal::invalid(format!(
                "the primary key of {} has several fields: at most {MOST_KEY_PARTS} values of keys can be named at once",
                model.name()
            )));
        }
        writer.text("(");
        writer.each(keys, " OR ", |writer, key| {
            writer.text("(");
            key.write(writer);
            writer.text(")");
        });
        writer.text(")");
    }
    let Some(version) = if_version else { return Ok(()) };
    let field = model.version().ok_or_else(|| {
        Refusal::invalid(format!("{} has no version that you see: leave `if_version` out", model.name()))
    })?;
    writer.text(" AND ");
    writer.column(field.name);
    writer.text(" = ");
    writer.parameter(crate::filter::value_of(model, field, version)?);
    Ok(())
}

fn next_version(writer: &mut Writer, version: Field<'_>) -> Result<(), Refusal> {
    match version.class {
        FieldType::Integer => {
            writer.text("coalesce(");
            writer.column(version.name);
            writer.text(", 0) + 1");
            Ok(())
        }
        FieldType::Time => {
            writer.text(match writer.kind {
                // To the microsecond, and later for the later of two.
                ConnectionKind::Postgresql | ConnectionKind::Push => "clock_timestamp()",
                ConnectionKind::Lake => "now()",
                ConnectionKind::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
                ConnectionKind::Mysql => "now(6)",
            });
            Ok(())
        }
        _ => Err(Refusal::invalid(format!(
            "the version \"{}\" is neither a whole number nor a time",
            version.name
        ))),
    }
}

/// ` RETURNING`, where the database has it.
fn write_returned(writer: &mut Writer, returned: &Columns<'_>) {
    if writer.kind == ConnectionKind::Mysql {
        return;
    }
    writer.text(" RETURNING ");
    writer.each(&returned.fields, ", ", |writer, field| writer.name(field.name));
}

fn new_value(model: ModelView<'_>, field: Field<'_>, value: &Value) -> Result<Value, Refusal> {
    field.class.parameter(model.policy().kind, value).ok_or_else(|| {
        Refusal::invalid(format!(
            "a value for \"{}\" of {} is {}",
            field.name,
            model.name(),
            field.class.noun()
        ))
    })
}

/// The operation counts, in however many statements it is done.
fn refuse_too_many(model: ModelView<'_>, rows: usize) -> Result<(), Refusal> {
    match model.entitlement.writes.max_rows {
        Some(limit) if rows as u64 > limit => {
            Err(Refusal::TooManyRows { model: model.name().to_owned(), limit })
        }
        Some(_) | None => Ok(()),
    }
}

fn not_writable(model: ModelView<'_>, field: Field<'_>) -> Refusal {
    Refusal::FieldNotWritable { model: model.name().to_owned(), field: field.name.to_owned() }
}

fn refuse_denied(model: ModelView<'_>, permit: Permit, action: &'static str) -> Result<(), Refusal> {
    if permit != Permit::Deny {
        return Ok(());
    }
    let operations = model.operations();
    let words = [("create", operations.create), ("update", operations.update), ("delete", operations.delete)];
    let may = words.into_iter().filter(|(_, permit)| *permit != Permit::Deny);
    Err(Refusal::WriteDisabled {
        model: model.name().to_owned(),
        action,
        alternatives: may.map(|(word, _)| word.to_owned()).collect(),
    })
}
