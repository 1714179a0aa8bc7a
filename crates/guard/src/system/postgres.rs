//! What `PostgreSQL` tells about itself. Owners, defaults, definitions, sizes, comments and rules of keys are not in a view,
//! so they are NULL or left out.

use super::Cell::{
    Bool, Column, Columns, DataType, Database, EndColumn, EndRelation, EndSchema, HasKey, IsNotNull, Key,
    KeyId, KeyKind, KeyPosition, KeyPositions, Kind, NotNull, Null, Number, Position, Relation, RelationId,
    Schema, SchemaId, TargetId, TargetKey, TargetPosition, TargetPositions, TargetSchema, Text, TypeId,
    TypeName,
};
use super::{Of, SystemRelation};

type Row = (&'static str, &'static str, super::Cell);

/// The types of columns as the catalog calls them, as `pg_type` does, and their numbers, which are the same everywhere.
pub(super) const TYPES: &[(&str, &str, i64)] = &[
    ("bigint", "int8", 20),
    ("boolean", "bool", 16),
    ("bytea", "bytea", 17),
    ("character", "bpchar", 1042),
    ("character varying", "varchar", 1043),
    ("date", "date", 1082),
    ("double precision", "float8", 701),
    ("inet", "inet", 869),
    ("integer", "int4", 23),
    ("interval", "interval", 1186),
    ("json", "json", 114),
    ("jsonb", "jsonb", 3802),
    ("money", "money", 790),
    ("name", "name", 19),
    ("numeric", "numeric", 1700),
    ("oid", "oid", 26),
    ("real", "float4", 700),
    ("smallint", "int2", 21),
    ("text", "text", 25),
    ("time without time zone", "time", 1083),
    ("time with time zone", "timetz", 1266),
    ("timestamp without time zone", "timestamp", 1114),
    ("timestamp with time zone", "timestamptz", 1184),
    ("uuid", "uuid", 2950),
    ("xml", "xml", 142),
    ("cidr", "cidr", 650),
    ("macaddr", "macaddr", 829),
    ("bit", "bit", 1560),
    ("bit varying", "varbit", 1562),
    ("point", "point", 600),
    ("tsvector", "tsvector", 3614),
];

/// The row of a type.
pub(super) fn type_of(data_type: &str) -> Option<&'static (&'static str, &'static str, i64)> {
    TYPES.iter().find(|(name, _, _)| *name == data_type)
}

const SCHEMATA: &[Row] = &[
    ("catalog_name", "name", Database),
    ("schema_name", "name", Schema),
    ("schema_owner", "name", Null),
    ("default_character_set_catalog", "name", Null),
    ("default_character_set_schema", "name", Null),
    ("default_character_set_name", "name", Null),
    ("sql_path", "text", Null),
];

const TABLES: &[Row] = &[
    ("table_catalog", "name", Database),
    ("table_schema", "name", Schema),
    ("table_name", "name", Relation),
    ("table_type", "text", Kind("BASE TABLE", "VIEW")),
    ("self_referencing_column_name", "name", Null),
    ("reference_generation", "text", Null),
    ("user_defined_type_catalog", "name", Null),
    ("user_defined_type_schema", "name", Null),
    ("user_defined_type_name", "name", Null),
    ("is_insertable_into", "text", Kind("YES", "NO")),
    ("is_typed", "text", Text("NO")),
    ("commit_action", "text", Null),
];

const COLUMNS: &[Row] = &[
    ("table_catalog", "name", Database),
    ("table_schema", "name", Schema),
    ("table_name", "name", Relation),
    ("column_name", "name", Column),
    ("ordinal_position", "integer", Position(1)),
    ("column_default", "text", Null),
    ("is_nullable", "text", NotNull("NO", "YES")),
    ("data_type", "text", DataType),
    ("character_maximum_length", "integer", Null),
    ("character_octet_length", "integer", Null),
    ("numeric_precision", "integer", Null),
    ("numeric_precision_radix", "integer", Null),
    ("numeric_scale", "integer", Null),
    ("datetime_precision", "integer", Null),
    ("interval_type", "text", Null),
    ("interval_precision", "integer", Null),
    ("character_set_catalog", "name", Null),
    ("character_set_schema", "name", Null),
    ("character_set_name", "name", Null),
    ("collation_catalog", "name", Null),
    ("collation_schema", "name", Null),
    ("collation_name", "name", Null),
    ("domain_catalog", "name", Null),
    ("domain_schema", "name", Null),
    ("domain_name", "name", Null),
    ("udt_catalog", "name", Database),
    ("udt_schema", "name", Text("pg_catalog")),
    ("udt_name", "name", TypeName),
    ("scope_catalog", "name", Null),
    ("scope_schema", "name", Null),
    ("scope_name", "name", Null),
    ("maximum_cardinality", "integer", Null),
    ("dtd_identifier", "name", Null),
    ("is_self_referencing", "text", Text("NO")),
    ("is_identity", "text", Text("NO")),
    ("identity_generation", "text", Null),
    ("identity_start", "text", Null),
    ("identity_increment", "text", Null),
    ("identity_maximum", "text", Null),
    ("identity_minimum", "text", Null),
    ("identity_cycle", "text", Text("NO")),
    ("is_generated", "text", Text("NEVER")),
    ("generation_expression", "text", Null),
    ("is_updatable", "text", Kind("YES", "NO")),
];

const VIEWS: &[Row] = &[
    ("table_catalog", "name", Database),
    ("table_schema", "name", Schema),
    ("table_name", "name", Relation),
    ("view_definition", "text", Null),
    ("check_option", "text", Text("NONE")),
    ("is_updatable", "text", Text("NO")),
    ("is_insertable_into", "text", Text("NO")),
    ("is_trigger_updatable", "text", Text("NO")),
    ("is_trigger_deletable", "text", Text("NO")),
    ("is_trigger_insertable_into", "text", Text("NO")),
];

const TABLE_CONSTRAINTS: &[Row] = &[
    ("constraint_catalog", "name", Database),
    ("constraint_schema", "name", Schema),
    ("constraint_name", "name", Key),
    ("table_catalog", "name", Database),
    ("table_schema", "name", Schema),
    ("table_name", "name", Relation),
    ("constraint_type", "text", KeyKind("PRIMARY KEY", "FOREIGN KEY")),
    ("is_deferrable", "text", Text("NO")),
    ("initially_deferred", "text", Text("NO")),
    ("enforced", "text", Text("YES")),
    ("nulls_distinct", "text", Null),
];

const KEY_COLUMN_USAGE: &[Row] = &[
    ("constraint_catalog", "name", Database),
    ("constraint_schema", "name", Schema),
    ("constraint_name", "name", Key),
    ("table_catalog", "name", Database),
    ("table_schema", "name", Schema),
    ("table_name", "name", Relation),
    ("column_name", "name", Column),
    ("ordinal_position", "integer", KeyPosition),
    ("position_in_unique_constraint", "integer", TargetPosition),
];

const REFERENTIAL_CONSTRAINTS: &[Row] = &[
    ("constraint_catalog", "name", Database),
    ("constraint_schema", "name", Schema),
    ("constraint_name", "name", Key),
    ("unique_constraint_catalog", "name", Database),
    ("unique_constraint_schema", "name", TargetSchema),
    ("unique_constraint_name", "name", TargetKey),
    ("match_option", "text", Text("NONE")),
    ("update_rule", "text", Null),
    ("delete_rule", "text", Null),
];

const CONSTRAINT_COLUMN_USAGE: &[Row] = &[
    ("table_catalog", "name", Database),
    ("table_schema", "name", EndSchema),
    ("table_name", "name", EndRelation),
    ("column_name", "name", EndColumn),
    ("constraint_catalog", "name", Database),
    ("constraint_schema", "name", Schema),
    ("constraint_name", "name", Key),
];

const NAMESPACE: &[Row] = &[
    ("oid", "oid", SchemaId),
    ("nspname", "name", Schema),
    ("nspowner", "oid", Number(10)),
    ("nspacl", "text", Null),
];

const CLASS: &[Row] = &[
    ("oid", "oid", RelationId),
    ("relname", "name", Relation),
    ("relnamespace", "oid", SchemaId),
    ("reltype", "oid", Number(0)),
    ("reloftype", "oid", Number(0)),
    ("relowner", "oid", Number(10)),
    ("relam", "oid", Number(0)),
    ("relfilenode", "oid", Number(0)),
    ("reltablespace", "oid", Number(0)),
    ("relpages", "integer", Null),
    ("reltuples", "real", Null),
    ("relallvisible", "integer", Null),
    ("reltoastrelid", "oid", Number(0)),
    ("relhasindex", "boolean", HasKey),
    ("relisshared", "boolean", Bool(false)),
    ("relpersistence", "text", Text("p")),
    ("relkind", "text", Kind("r", "v")),
    ("relnatts", "smallint", Columns),
    ("relchecks", "smallint", Number(0)),
    ("relhasrules", "boolean", Bool(false)),
    ("relhastriggers", "boolean", Bool(false)),
    ("relhassubclass", "boolean", Bool(false)),
    ("relrowsecurity", "boolean", Bool(false)),
    ("relforcerowsecurity", "boolean", Bool(false)),
    ("relispopulated", "boolean", Bool(true)),
    ("relreplident", "text", Text("d")),
    ("relispartition", "boolean", Bool(false)),
    ("relacl", "text", Null),
    ("reloptions", "text", Null),
    ("relpartbound", "text", Null),
];

const ATTRIBUTE: &[Row] = &[
    ("attrelid", "oid", RelationId),
    ("attname", "name", Column),
    ("atttypid", "oid", TypeId),
    ("attstattarget", "integer", Null),
    ("attlen", "smallint", Number(-1)),
    ("attnum", "smallint", Position(1)),
    ("attndims", "integer", Number(0)),
    ("atttypmod", "integer", Number(-1)),
    ("attnotnull", "boolean", IsNotNull),
    ("atthasdef", "boolean", Bool(false)),
    ("atthasmissing", "boolean", Bool(false)),
    ("attidentity", "text", Text("")),
    ("attgenerated", "text", Text("")),
    ("attisdropped", "boolean", Bool(false)),
    ("attislocal", "boolean", Bool(true)),
    ("attinhcount", "integer", Number(0)),
    ("attcollation", "oid", Number(0)),
    ("attacl", "text", Null),
    ("attoptions", "text", Null),
];

const TYPE: &[Row] = &[
    ("oid", "oid", TypeId),
    ("typname", "name", TypeName),
    ("typnamespace", "oid", Number(11)),
    ("typowner", "oid", Number(10)),
    ("typlen", "smallint", Null),
    ("typtype", "text", Text("b")),
    ("typisdefined", "boolean", Bool(true)),
    ("typdelim", "text", Text(",")),
    ("typrelid", "oid", Number(0)),
    ("typelem", "oid", Number(0)),
    ("typarray", "oid", Number(0)),
    ("typnotnull", "boolean", Bool(false)),
    ("typbasetype", "oid", Number(0)),
    ("typtypmod", "integer", Number(-1)),
    ("typndims", "integer", Number(0)),
    ("typcollation", "oid", Number(0)),
    ("typdefault", "text", Null),
];

const INDEX: &[Row] = &[
    ("indexrelid", "oid", KeyId),
    ("indrelid", "oid", RelationId),
    ("indisunique", "boolean", Bool(true)),
    ("indisprimary", "boolean", Bool(true)),
    ("indisexclusion", "boolean", Bool(false)),
    ("indimmediate", "boolean", Bool(true)),
    ("indisvalid", "boolean", Bool(true)),
    ("indisready", "boolean", Bool(true)),
    ("indislive", "boolean", Bool(true)),
    ("indkey", "smallint[]", KeyPositions),
    ("indexprs", "text", Null),
    ("indpred", "text", Null),
];

const CONSTRAINT: &[Row] = &[
    ("oid", "oid", KeyId),
    ("conname", "name", Key),
    ("connamespace", "oid", SchemaId),
    ("contype", "text", KeyKind("p", "f")),
    ("condeferrable", "boolean", Bool(false)),
    ("condeferred", "boolean", Bool(false)),
    ("convalidated", "boolean", Bool(true)),
    ("conrelid", "oid", RelationId),
    ("contypid", "oid", Number(0)),
    ("conindid", "oid", Number(0)),
    ("conparentid", "oid", Number(0)),
    ("confrelid", "oid", TargetId),
    ("confupdtype", "text", Null),
    ("confdeltype", "text", Null),
    ("confmatchtype", "text", Null),
    ("conislocal", "boolean", Bool(true)),
    ("conkey", "smallint[]", KeyPositions),
    ("confkey", "smallint[]", TargetPositions),
];

const DESCRIPTION: &[Row] = &[
    ("objoid", "oid", Null),
    ("classoid", "oid", Null),
    ("objsubid", "integer", Null),
    ("description", "text", Null),
];

const ATTRDEF: &[Row] =
    &[("oid", "oid", Null), ("adrelid", "oid", Null), ("adnum", "smallint", Null), ("adbin", "text", Null)];

const INHERITS: &[Row] =
    &[("inhrelid", "oid", Null), ("inhparent", "oid", Null), ("inhseqno", "integer", Null)];

const PG_TABLES: &[Row] = &[
    ("schemaname", "name", Schema),
    ("tablename", "name", Relation),
    ("tableowner", "name", Null),
    ("tablespace", "name", Null),
    ("hasindexes", "boolean", HasKey),
    ("hasrules", "boolean", Bool(false)),
    ("hastriggers", "boolean", Bool(false)),
    ("rowsecurity", "boolean", Bool(false)),
];

const PG_VIEWS: &[Row] = &[
    ("schemaname", "name", Schema),
    ("viewname", "name", Relation),
    ("viewowner", "name", Null),
    ("definition", "text", Null),
];

pub(super) const INFORMATION: &[SystemRelation] = &[
    information("schemata", Of::Schemas, SCHEMATA),
    information("tables", Of::Relations, TABLES),
    information("columns", Of::Columns, COLUMNS),
    information("views", Of::Views, VIEWS),
    information("table_constraints", Of::Keys, TABLE_CONSTRAINTS),
    information("key_column_usage", Of::KeyColumns, KEY_COLUMN_USAGE),
    information("referential_constraints", Of::ForeignKeys, REFERENTIAL_CONSTRAINTS),
    information("constraint_column_usage", Of::KeyColumns, CONSTRAINT_COLUMN_USAGE),
];

pub(super) const CATALOG: &[SystemRelation] = &[
    catalog("pg_namespace", Of::Schemas, NAMESPACE),
    catalog("pg_class", Of::Relations, CLASS),
    catalog("pg_attribute", Of::Columns, ATTRIBUTE),
    catalog("pg_type", Of::Types, TYPE),
    catalog("pg_index", Of::PrimaryKeys, INDEX),
    catalog("pg_constraint", Of::Keys, CONSTRAINT),
    catalog("pg_description", Of::Nothing, DESCRIPTION),
    catalog("pg_attrdef", Of::Nothing, ATTRDEF),
    catalog("pg_inherits", Of::Nothing, INHERITS),
    catalog("pg_tables", Of::Tables, PG_TABLES),
    catalog("pg_views", Of::Views, PG_VIEWS),
];

/// A relation of `information_schema`.
const fn information(name: &'static str, of: Of, columns: &'static [Row]) -> SystemRelation {
    SystemRelation { schema: "information_schema", name, of, columns }
}

/// A relation of `pg_catalog`.
const fn catalog(name: &'static str, of: Of, columns: &'static [Row]) -> SystemRelation {
    SystemRelation { schema: "pg_catalog", name, of, columns }
}
