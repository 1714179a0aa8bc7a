//! SQLite 3.38 and later.

use ringfence_policy::ConnectionKind;

use super::Dialect;

/// Quoted with backticks: between double quotes, a name that SQLite does not find becomes a text.
pub(super) const DIALECT: Dialect = Dialect {
    kind: ConnectionKind::Sqlite,
    quote: '`',
    identifier_bytes: 1024,
    folds: false,
    caseless: true,
    function_schema: None,
    barrier: " LIMIT -1",
    numbered: false,
    always_recursive: true,
    functions: FUNCTIONS,
    keywords: &[],
    bare: &["current_date", "current_time", "current_timestamp"],
    operators: &[
        "+", "-", "*", "/", "%", "||", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "&", "|", "<<", ">>",
        "->", "->>",
    ],
    types: &["blob", "integer", "numeric", "real", "text"],
    system_columns: &["_rowid_", "oid", "rowid"],
};

/// None reads files, loads extensions or tells about the process; none takes the name of a table.
const FUNCTIONS: &[&str] = &[
    "abs", "avg", "ceil", "ceiling", "char", "coalesce", "count", "cume_dist", "date", "datetime",
    "dense_rank", "exp", "first_value", "floor", "format", "glob", "group_concat", "hex", "ifnull", "iif",
    "instr", "json", "json_array", "json_array_length", "json_each", "json_extract", "json_group_array",
    "json_group_object", "json_insert", "json_object", "json_patch", "json_quote", "json_remove",
    "json_replace", "json_set", "json_tree", "json_type", "json_valid", "julianday", "lag", "last_value",
    "lead", "length", "like", "ln", "log", "log10", "log2", "lower", "ltrim", "max", "min", "mod",
    "nth_value", "ntile", "nullif", "percent_rank", "pi", "pow", "power", "printf", "quote", "radians",
    "random", "rank", "replace", "round", "row_number", "rtrim", "sign", "sqrt", "strftime", "substr",
    "substring", "sum", "time", "total", "trim", "trunc", "typeof", "unicode", "unixepoch", "upper",
];
