//! System catalogs: what a connection tells about itself, made of the view alone.
//!
//! A database's own catalogs describe every relation, and where rows are left out of them, their numbers (oids, positions,
//! statistics) still tell that something was. So none of them is read. A system relation is a derived table over a document
//! that is made of the view: what is not in the view can't be in it, and its numbers are counted over what is there.
//! Which relations there are, and what their columns hold, is data: [`postgres`], [`mysql`], [`sqlite`].

mod mysql;
mod postgres;
mod sqlite;

use std::sync::Arc;

use ringfence_policy::{ConnectionKind, Entitlement, Reference, RelationName, View, VisibleColumn};
use serde_json::{Map, Value, json};
use sqlparser::ast::TableAlias;

use crate::dialect::Dialect;
use crate::fence::RAW;
use crate::refusal::Refusal;
use crate::relations::{Output, Scope, Source};
use crate::rewrite::{Slot, Writer};

/// A relation of the database's own, as it is told.
pub(crate) struct SystemRelation {
    schema: &'static str,
    name: &'static str,
    /// What it has a row for.
    of: Of,
    /// Name, type, and what it holds.
    columns: &'static [(&'static str, &'static str, Cell)],
}

/// What there is a row for.
#[derive(Debug, Clone, Copy)]
enum Of {
    Schemas,
    Relations,
    Tables,
    Views,
    Columns,
    /// Primary and foreign keys.
    Keys,
    PrimaryKeys,
    ForeignKeys,
    /// Each column of each key.
    KeyColumns,
    Types,
    /// It is there, and empty.
    Nothing,
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Null,
    Text(&'static str),
    Number(i64),
    Bool(bool),
    /// The database's name, from the database.
    Database,
    Schema,
    SchemaId,
    Relation,
    RelationId,
    /// The first for a table, the second for a view.
    Kind(&'static str, &'static str),
    /// How many columns the relation has.
    Columns,
    HasKey,
    Column,
    /// From 1, or from 0.
    Position(i64),
    DataType,
    /// The name and the number of the type, as `PostgreSQL` has them.
    TypeName,
    TypeId,
    /// The first where NULL is not taken.
    NotNull(&'static str, &'static str),
    IsNotNull,
    Key,
    KeyId,
    /// The first for a primary key, the second for a foreign one.
    KeyKind(&'static str, &'static str),
    KeyPositions,
    KeyPosition,
    TargetSchema,
    TargetRelation,
    TargetColumn,
    TargetKey,
    TargetId,
    TargetPositions,
    /// The place in the key that a column refers to, from 1.
    TargetPosition,
    /// Where the key leads: the other end of a foreign key, itself for a primary one.
    EndSchema,
    EndRelation,
    EndColumn,
    /// `varchar` of `varchar(20)`.
    BareType,
    /// `PRI` for a column of the primary key.
    KeyMark,
}

/// What a row is about.
#[derive(Clone, Copy, Default)]
struct Item<'a> {
    schema: &'a str,
    schema_id: i64,
    relation: Option<&'a Entitlement>,
    relation_id: i64,
    column: Option<(usize, &'a VisibleColumn)>,
    key: Option<Key<'a>>,
    key_column: usize,
    data_type: &'a str,
}

/// A primary key, or a foreign one.
#[derive(Clone, Copy)]
struct Key<'a> {
    columns: &'a [String],
    target: Option<(&'a Reference, &'a Entitlement, i64)>,
    id: i64,
}

/// Numbers of our own begin where the database's own end.
const FIRST_SCHEMA: i64 = 20_000;
const FIRST_RELATION: i64 = 100_000;
const FIRST_KEY: i64 = 1_000_000;
/// Keys of one relation that have numbers of their own.
const KEYS_OF_RELATION: i64 = 100;

/// The system relation of that name, if there is one.
pub(crate) fn find(dialect: &Dialect, parts: &[String]) -> Option<&'static SystemRelation> {
    let all: &[&'static [SystemRelation]] = match dialect.kind {
        ConnectionKind::Postgresql => &[postgres::INFORMATION, postgres::CATALOG],
        ConnectionKind::Sqlite => &[sqlite::CATALOG],
        ConnectionKind::Mysql => &[mysql::INFORMATION],
        // It has none: what there is, the catalog's own requests tell.
        ConnectionKind::Lake | ConnectionKind::Push => &[],
    };
    let same = |known: &str, name: &str| {
        if dialect.is_postgres() { known == name } else { known.eq_ignore_ascii_case(name) }
    };
    all.iter().copied().flatten().find(|relation| match parts {
        // The database's own catalog is looked into first, whatever a table is called.
        [name] => relation.schema != "information_schema" && same(relation.name, name),
        [schema, name] => same(relation.schema, schema) && same(relation.name, name),
        _ => false,
    })
}

impl Writer<'_> {
    /// A system relation in FROM.
    pub(crate) fn system_relation(
        &mut self,
        relation: &'static SystemRelation,
        alias: Option<&TableAlias>,
        scope: &mut Scope,
    ) -> Result<(), Refusal> {
        let document = Value::Array(rows(self.view, relation)).to_string();
        self.text("(SELECT ");
        self.list(relation.columns, |writer, (name, _, cell)| {
            writer.system_column(name, *cell);
            Ok(())
        })?;
        self.text(" FROM ");
        self.document(relation, document)?;
        self.text(")");
        let called = if let Some(alias) = alias {
            self.alias(alias)?
        } else {
            self.text(" AS ");
            self.name(relation.name);
            relation.name.to_owned()
        };
        let outputs =
            relation.columns.iter().map(|(name, _, _)| Output { name: (*name).to_owned(), data_type: None });
        let columns = self.renamed(Some(outputs.collect()), alias.map_or(&[], |alias| &alias.columns))?;
        let unaliased = alias.is_none().then(|| RelationName::new(relation.schema, relation.name));
        scope.sources.push(Source { alias: called, unaliased, columns, entitlement: None, is_target: false });
        Ok(())
    }

    fn system_column(&mut self, name: &str, cell: Cell) {
        match cell {
            Cell::Database => self.text("CAST(\"pg_catalog\".\"current_database\"() AS name)"),
            _ if self.dialect.is_sqlite() => {
                self.text("json_extract(");
                self.qualified(RAW, "value");
                self.text(", '$.");
                self.text(name);
                self.text("')");
            }
            _ => self.qualified(RAW, name),
        }
        self.text(" AS ");
        self.name(name);
    }

    /// The document as a relation.
    fn document(&mut self, relation: &SystemRelation, document: String) -> Result<(), Refusal> {
        let slot = Slot::System(Arc::from(document));
        if self.dialect.is_sqlite() {
            self.functions.extend(["json_each".to_owned(), "json_extract".to_owned()]);
            self.text("json_each(");
            self.placeholder(slot);
            self.text(") AS ");
            self.name(RAW);
            return Ok(());
        }
        let kept: Vec<&(&str, &str, Cell)> =
            relation.columns.iter().filter(|(_, _, cell)| !matches!(cell, Cell::Database)).collect();
        if self.dialect.is_postgres() {
            self.text("\"pg_catalog\".\"jsonb_to_recordset\"(CAST(");
            self.placeholder(slot);
            self.text(" AS jsonb)) AS ");
            self.name(RAW);
            self.text(" (");
            self.list(&kept, |writer, (name, data_type, _)| {
                writer.name(name);
                writer.text(" ");
                writer.text(data_type);
                Ok(())
            })?;
            self.text(")");
            return Ok(());
        }
        self.text("JSON_TABLE(");
        self.placeholder(slot);
        self.text(", '$[*]' COLUMNS (");
        self.list(&kept, |writer, (name, data_type, _)| {
            writer.name(name);
            writer.text(" ");
            writer.text(data_type);
            writer.text(" PATH '$.");
            writer.text(name);
            writer.text("'");
            Ok(())
        })?;
        self.text(")) AS ");
        self.name(RAW);
        Ok(())
    }
}

/// The rows of a system relation, as objects.
fn rows(view: &View, relation: &SystemRelation) -> Vec<Value> {
    let row = |item: &Item<'_>| {
        let cells = relation.columns.iter().filter(|(_, _, cell)| !matches!(cell, Cell::Database));
        let cells = cells.map(|(name, _, cell)| ((*name).to_owned(), value(*cell, item)));
        Value::Object(cells.collect::<Map<_, _>>())
    };
    items(view, relation.of).iter().map(row).collect()
}

fn items(view: &View, of: Of) -> Vec<Item<'_>> {
    let relations = relations(view);
    let columns = |item: &Item<'_>| item.relation.map_or(0, |relation| relation.columns.len());
    match of {
        Of::Nothing => Vec::new(),
        Of::Types => {
            postgres::TYPES.iter().map(|(name, _, _)| Item { data_type: name, ..Item::default() }).collect()
        }
        Of::Schemas => {
            let mut schemas = relations;
            schemas.dedup_by_key(|item| item.schema_id);
            schemas
        }
        Of::Relations => relations,
        Of::Tables => {
            relations.into_iter().filter(|item| item.relation.is_some_and(|one| one.is_table)).collect()
        }
        Of::Views => {
            relations.into_iter().filter(|item| item.relation.is_some_and(|one| !one.is_table)).collect()
        }
        Of::Columns => {
            relations.iter().flat_map(|item| (0..columns(item)).map(|at| with_column(*item, at))).collect()
        }
        Of::Keys => relations.iter().flat_map(|item| keys(view, &relations, *item)).collect(),
        Of::PrimaryKeys => {
            let keys = relations.iter().flat_map(|item| keys(view, &relations, *item));
            keys.filter(|item| item.key.is_some_and(|key| key.target.is_none())).collect()
        }
        Of::ForeignKeys => {
            let keys = relations.iter().flat_map(|item| keys(view, &relations, *item));
            keys.filter(|item| item.key.is_some_and(|key| key.target.is_some())).collect()
        }
        Of::KeyColumns => {
            let keys = relations.iter().flat_map(|item| keys(view, &relations, *item));
            keys.flat_map(key_columns).collect()
        }
    }
}

/// Every relation of the view, numbered in the order of names.
fn relations(view: &View) -> Vec<Item<'_>> {
    let mut schema_id = FIRST_SCHEMA;
    let mut last: Option<&str> = None;
    let numbered = view.relations.iter().zip(FIRST_RELATION..);
    let mut items = Vec::with_capacity(view.relations.len());
    for ((name, entitlement), relation_id) in numbered {
        if last.is_some_and(|last| last != name.schema) {
            schema_id = schema_id.saturating_add(1);
        }
        last = Some(&name.schema);
        items.push(Item {
            schema: &name.schema,
            schema_id,
            relation: Some(entitlement),
            relation_id,
            ..Item::default()
        });
    }
    items
}

fn with_column(item: Item<'_>, at: usize) -> Item<'_> {
    let column = item.relation.and_then(|relation| relation.columns.get(at)).map(|column| (at, column));
    Item { column, data_type: column.map_or("", |(_, column)| column.data_type.as_str()), ..item }
}

/// The keys of a relation of which every end is there.
fn keys<'a>(view: &'a View, relations: &[Item<'a>], item: Item<'a>) -> Vec<Item<'a>> {
    let Some(relation) = item.relation else { return Vec::new() };
    let first = FIRST_KEY.saturating_add(item.relation_id.saturating_mul(KEYS_OF_RELATION));
    let has = |relation: &Entitlement, columns: &[String]| {
        !columns.is_empty() && columns.iter().all(|name| place(relation, name).is_some())
    };
    let mut keys = Vec::new();
    if has(relation, &relation.key) {
        keys.push(Key { columns: &relation.key, target: None, id: first });
    }
    for reference in &relation.references {
        let target = view.relations.get(&reference.target);
        let Some(target) = target.filter(|target| has(target, &reference.target_columns)) else { continue };
        let id = relations
            .iter()
            .find(|other| other.relation.is_some_and(|other| other.relation == target.relation));
        if has(relation, &reference.columns) {
            let id_of_target = id.map_or(0, |other| other.relation_id);
            let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let id = first.saturating_add(count.saturating_add(1));
            keys.push(Key {
                columns: &reference.columns,
                target: Some((reference, target, id_of_target)),
                id,
            });
        }
    }
    keys.into_iter().map(|key| Item { key: Some(key), ..item }).collect()
}

/// A row for each column of the key.
fn key_columns(item: Item<'_>) -> Vec<Item<'_>> {
    let columns = item.key.map_or(&[][..], |key| key.columns);
    let at = |name: &String| item.relation.and_then(|relation| place(relation, name)).unwrap_or_default();
    let rows = columns.iter().enumerate();
    rows.map(|(index, name)| Item { key_column: index, ..with_column(item, at(name).saturating_sub(1)) })
        .collect()
}

/// The place of a column among those that are there, from 1.
fn place(relation: &Entitlement, name: &str) -> Option<usize> {
    relation.columns.iter().position(|column| column.name == name).map(|at| at.saturating_add(1))
}

fn value(cell: Cell, item: &Item<'_>) -> Value {
    let relation = item.relation;
    let column = item.column;
    let not_null = || {
        let nullable = |name: &String| column.is_some_and(|(_, column)| column.name == *name);
        !relation.is_some_and(|relation| relation.nullable.iter().any(nullable))
    };
    match cell {
        Cell::Null | Cell::Database => Value::Null,
        Cell::Text(text) => json!(text),
        Cell::Number(number) => json!(number),
        Cell::Bool(truth) => json!(truth),
        Cell::Schema => json!(item.schema),
        Cell::SchemaId => json!(item.schema_id),
        Cell::Relation => json!(relation.map(|relation| &relation.relation.name)),
        Cell::RelationId => json!(item.relation_id),
        Cell::Kind(table, view) => json!(if relation.is_some_and(|one| one.is_table) { table } else { view }),
        Cell::Columns => json!(relation.map_or(0, |relation| relation.columns.len())),
        Cell::HasKey => json!(relation.is_some_and(|one| {
            !one.key.is_empty() && one.key.iter().all(|name| place(one, name).is_some())
        })),
        Cell::Column => json!(column.map(|(_, column)| &column.name)),
        Cell::Position(first) => {
            json!(column.map(|(at, _)| i64::try_from(at).unwrap_or(i64::MAX).saturating_add(first)))
        }
        Cell::DataType if item.data_type.contains('.') => json!("USER-DEFINED"),
        Cell::DataType => json!(item.data_type),
        Cell::TypeName => {
            json!(postgres::type_of(item.data_type).map_or(item.data_type, |(_, name, _)| *name))
        }
        Cell::TypeId => json!(postgres::type_of(item.data_type).map_or(0, |(_, _, id)| *id)),
        Cell::NotNull(yes, no) => json!(if not_null() { yes } else { no }),
        Cell::IsNotNull => json!(not_null()),
        Cell::BareType => json!(item.data_type.split(['(', ' ']).next()),
        Cell::KeyMark => {
            let named = |name: &String| column.is_some_and(|(_, column)| column.name == *name);
            json!(if relation.is_some_and(|one| one.key.iter().any(named)) { "PRI" } else { "" })
        }
        Cell::Key
        | Cell::KeyId
        | Cell::KeyKind(..)
        | Cell::KeyPositions
        | Cell::KeyPosition
        | Cell::TargetSchema
        | Cell::TargetRelation
        | Cell::TargetColumn
        | Cell::TargetKey
        | Cell::TargetId
        | Cell::TargetPositions
        | Cell::TargetPosition
        | Cell::EndSchema
        | Cell::EndRelation
        | Cell::EndColumn => item
            .key
            .zip(relation)
            .map_or(Value::Null, |(key, relation)| key_value(cell, key, relation, item.key_column)),
    }
}

fn key_value(cell: Cell, key: Key<'_>, relation: &Entitlement, at: usize) -> Value {
    let places = |relation: &Entitlement, columns: &[String]| {
        Value::Array(columns.iter().map(|name| json!(place(relation, name))).collect())
    };
    match (cell, key.target) {
        (Cell::Key, target) => json!(key_name(relation, key.columns, target.is_some())),
        (Cell::KeyId, _) => json!(key.id),
        (Cell::KeyKind(primary, _), None) => json!(primary),
        (Cell::KeyKind(_, foreign), Some(_)) => json!(foreign),
        (Cell::KeyPositions, _) => places(relation, key.columns),
        (Cell::KeyPosition, _) => json!(at.saturating_add(1)),
        (Cell::TargetSchema, Some((_, target, _))) => json!(target.relation.schema),
        (Cell::TargetRelation, Some((_, target, _))) => json!(target.relation.name),
        (Cell::TargetColumn, Some((reference, _, _))) => json!(reference.target_columns.get(at)),
        (Cell::TargetKey, Some((_, target, _))) => json!(key_name(target, &target.key, false)),
        (Cell::TargetId, Some((_, _, id))) => json!(id),
        (Cell::TargetId, None) => json!(0),
        (Cell::TargetPosition, Some((reference, target, _))) => {
            let column = reference.target_columns.get(at);
            json!(target.key.iter().position(|name| Some(name) == column).map(|at| at.saturating_add(1)))
        }
        (Cell::EndSchema, target) => json!(target.map_or(relation, |(_, target, _)| target).relation.schema),
        (Cell::EndRelation, target) => json!(target.map_or(relation, |(_, target, _)| target).relation.name),
        (Cell::EndColumn, target) => {
            json!(target.map_or(key.columns, |(reference, _, _)| reference.target_columns.as_slice()).get(at))
        }
        (Cell::TargetPositions, Some((reference, target, _))) => places(target, &reference.target_columns),
        _ => Value::Null,
    }
}

/// A name for a key, as `PostgreSQL` would make it: its own may name what is hidden.
fn key_name(relation: &Entitlement, columns: &[String], foreign: bool) -> String {
    let name = &relation.relation.name;
    if foreign { format!("{name}_{}_fkey", columns.join("_")) } else { format!("{name}_pkey") }
}
