//! Catalog types: what a connection holds.

use serde::{Deserialize, Serialize};

/// The relations of one database, in name order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The database's name.
    pub database: String,
    /// Its schemas.
    pub schemas: Vec<Schema>,
}

/// A schema and its relations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The name as stored in the database.
    pub name: String,
    /// Tables, views and the like.
    pub relations: Vec<Relation>,
}

/// A table, view or other thing that a FROM clause can name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Relation {
    /// The name as stored in the database.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// The database's own comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Columns in their order.
    pub columns: Vec<Column>,
    /// Primary and foreign keys, and unique constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Columns of unique indexes that belong to no constraint, over all rows or some: for looking at policies, never
    /// shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique_indexes: Vec<Vec<String>>,
    /// The statement that makes it, as it was pushed. It names every column, so it goes when one is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddl: Option<String>,
}

/// What a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are SQL's own terms")]
pub enum RelationKind {
    #[default]
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Column {
    /// The name as stored in the database.
    pub name: String,
    /// The declared type in the words of the database (`integer`, `character varying`).
    pub data_type: String,
    /// Whether NULL may stand in it.
    #[serde(default)]
    pub nullable: bool,
    /// The database's own comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Values that it holds, as they were pushed: of whatever shape the client gave them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_values: Option<serde_json::Value>,
}

/// A key of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Constraint {
    /// The primary key.
    Primary {
        /// Its columns in key order.
        columns: Vec<String>,
    },
    /// A unique constraint.
    Unique {
        /// Its columns in key order.
        columns: Vec<String>,
    },
    /// A foreign key of this relation.
    Foreign {
        /// The referring columns.
        columns: Vec<String>,
        /// The schema referred to.
        target_schema: String,
        /// The relation referred to.
        target_relation: String,
        /// The columns referred to, in the order of `columns`.
        target_columns: Vec<String>,
    },
}

impl Catalog {
    /// How many relations all schemas hold.
    pub fn relation_count(&self) -> usize {
        self.schemas.iter().map(|schema| schema.relations.len()).sum()
    }

    /// The relation of that schema and name, both as stored.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        let schema = self.schemas.iter().find(|candidate| candidate.name == schema)?;
        schema.relations.iter().find(|candidate| candidate.name == name)
    }
}
