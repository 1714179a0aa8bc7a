//! What `MySQL` and `MariaDB` tell about themselves. Their engines, sizes, defaults, definitions and comments are not in a
//! view, so they are NULL or empty.

use super::Cell::{
    BareType, Column, DataType, Key, KeyKind, KeyMark, KeyPosition, Kind, NotNull, Null, Position, Relation,
    Schema, TargetColumn, TargetKey, TargetPosition, TargetRelation, TargetSchema, Text,
};
use super::{Of, SystemRelation};

type Row = (&'static str, &'static str, super::Cell);

const SCHEMATA: &[Row] = &[
    ("CATALOG_NAME", "VARCHAR(256)", Text("def")),
    ("SCHEMA_NAME", "VARCHAR(256)", Schema),
    ("DEFAULT_CHARACTER_SET_NAME", "VARCHAR(256)", Null),
    ("DEFAULT_COLLATION_NAME", "VARCHAR(256)", Null),
    ("SQL_PATH", "VARCHAR(256)", Null),
];

const TABLES: &[Row] = &[
    ("TABLE_CATALOG", "VARCHAR(256)", Text("def")),
    ("TABLE_SCHEMA", "VARCHAR(256)", Schema),
    ("TABLE_NAME", "VARCHAR(256)", Relation),
    ("TABLE_TYPE", "VARCHAR(256)", Kind("BASE TABLE", "VIEW")),
    ("ENGINE", "VARCHAR(256)", Null),
    ("VERSION", "BIGINT", Null),
    ("ROW_FORMAT", "VARCHAR(256)", Null),
    ("TABLE_ROWS", "BIGINT", Null),
    ("AVG_ROW_LENGTH", "BIGINT", Null),
    ("DATA_LENGTH", "BIGINT", Null),
    ("INDEX_LENGTH", "BIGINT", Null),
    ("AUTO_INCREMENT", "BIGINT", Null),
    ("CREATE_TIME", "VARCHAR(256)", Null),
    ("UPDATE_TIME", "VARCHAR(256)", Null),
    ("TABLE_COLLATION", "VARCHAR(256)", Null),
    ("TABLE_COMMENT", "VARCHAR(256)", Text("")),
];

const COLUMNS: &[Row] = &[
    ("TABLE_CATALOG", "VARCHAR(256)", Text("def")),
    ("TABLE_SCHEMA", "VARCHAR(256)", Schema),
    ("TABLE_NAME", "VARCHAR(256)", Relation),
    ("COLUMN_NAME", "VARCHAR(256)", Column),
    ("ORDINAL_POSITION", "BIGINT", Position(1)),
    ("COLUMN_DEFAULT", "VARCHAR(256)", Null),
    ("IS_NULLABLE", "VARCHAR(256)", NotNull("NO", "YES")),
    ("DATA_TYPE", "VARCHAR(256)", BareType),
    ("CHARACTER_MAXIMUM_LENGTH", "BIGINT", Null),
    ("CHARACTER_OCTET_LENGTH", "BIGINT", Null),
    ("NUMERIC_PRECISION", "BIGINT", Null),
    ("NUMERIC_SCALE", "BIGINT", Null),
    ("DATETIME_PRECISION", "BIGINT", Null),
    ("CHARACTER_SET_NAME", "VARCHAR(256)", Null),
    ("COLLATION_NAME", "VARCHAR(256)", Null),
    ("COLUMN_TYPE", "VARCHAR(256)", DataType),
    ("COLUMN_KEY", "VARCHAR(256)", KeyMark),
    ("EXTRA", "VARCHAR(256)", Text("")),
    ("PRIVILEGES", "VARCHAR(256)", Text("")),
    ("COLUMN_COMMENT", "VARCHAR(256)", Text("")),
];

const VIEWS: &[Row] = &[
    ("TABLE_CATALOG", "VARCHAR(256)", Text("def")),
    ("TABLE_SCHEMA", "VARCHAR(256)", Schema),
    ("TABLE_NAME", "VARCHAR(256)", Relation),
    ("VIEW_DEFINITION", "VARCHAR(256)", Null),
    ("CHECK_OPTION", "VARCHAR(256)", Text("NONE")),
    ("IS_UPDATABLE", "VARCHAR(256)", Text("NO")),
];

const TABLE_CONSTRAINTS: &[Row] = &[
    ("CONSTRAINT_CATALOG", "VARCHAR(256)", Text("def")),
    ("CONSTRAINT_SCHEMA", "VARCHAR(256)", Schema),
    ("CONSTRAINT_NAME", "VARCHAR(256)", Key),
    ("TABLE_SCHEMA", "VARCHAR(256)", Schema),
    ("TABLE_NAME", "VARCHAR(256)", Relation),
    ("CONSTRAINT_TYPE", "VARCHAR(256)", KeyKind("PRIMARY KEY", "FOREIGN KEY")),
];

const KEY_COLUMN_USAGE: &[Row] = &[
    ("CONSTRAINT_CATALOG", "VARCHAR(256)", Text("def")),
    ("CONSTRAINT_SCHEMA", "VARCHAR(256)", Schema),
    ("CONSTRAINT_NAME", "VARCHAR(256)", Key),
    ("TABLE_CATALOG", "VARCHAR(256)", Text("def")),
    ("TABLE_SCHEMA", "VARCHAR(256)", Schema),
    ("TABLE_NAME", "VARCHAR(256)", Relation),
    ("COLUMN_NAME", "VARCHAR(256)", Column),
    ("ORDINAL_POSITION", "BIGINT", KeyPosition),
    ("POSITION_IN_UNIQUE_CONSTRAINT", "BIGINT", TargetPosition),
    ("REFERENCED_TABLE_SCHEMA", "VARCHAR(256)", TargetSchema),
    ("REFERENCED_TABLE_NAME", "VARCHAR(256)", TargetRelation),
    ("REFERENCED_COLUMN_NAME", "VARCHAR(256)", TargetColumn),
];

const REFERENTIAL_CONSTRAINTS: &[Row] = &[
    ("CONSTRAINT_CATALOG", "VARCHAR(256)", Text("def")),
    ("CONSTRAINT_SCHEMA", "VARCHAR(256)", Schema),
    ("CONSTRAINT_NAME", "VARCHAR(256)", Key),
    ("UNIQUE_CONSTRAINT_CATALOG", "VARCHAR(256)", Text("def")),
    ("UNIQUE_CONSTRAINT_SCHEMA", "VARCHAR(256)", TargetSchema),
    ("UNIQUE_CONSTRAINT_NAME", "VARCHAR(256)", TargetKey),
    ("MATCH_OPTION", "VARCHAR(256)", Text("NONE")),
    ("UPDATE_RULE", "VARCHAR(256)", Null),
    ("DELETE_RULE", "VARCHAR(256)", Null),
    ("TABLE_NAME", "VARCHAR(256)", Relation),
    ("REFERENCED_TABLE_NAME", "VARCHAR(256)", TargetRelation),
];

pub(super) const INFORMATION: &[SystemRelation] = &[
    SystemRelation { schema: "information_schema", name: "SCHEMATA", of: Of::Schemas, columns: SCHEMATA },
    SystemRelation { schema: "information_schema", name: "TABLES", of: Of::Relations, columns: TABLES },
    SystemRelation { schema: "information_schema", name: "COLUMNS", of: Of::Columns, columns: COLUMNS },
    SystemRelation { schema: "information_schema", name: "VIEWS", of: Of::Views, columns: VIEWS },
    SystemRelation {
        schema: "information_schema",
        name: "TABLE_CONSTRAINTS",
        of: Of::Keys,
        columns: TABLE_CONSTRAINTS,
    },
    SystemRelation {
        schema: "information_schema",
        name: "KEY_COLUMN_USAGE",
        of: Of::KeyColumns,
        columns: KEY_COLUMN_USAGE,
    },
    SystemRelation {
        schema: "information_schema",
        name: "REFERENTIAL_CONSTRAINTS",
        of: Of::ForeignKeys,
        columns: REFERENTIAL_CONSTRAINTS,
    },
];
