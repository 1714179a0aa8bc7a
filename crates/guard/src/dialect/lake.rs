//! Apache DataFusion 55, which runs lakes inside the process. It reads with the same parser, as PostgreSQL's dialect.

use ringfence_policy::ConnectionKind;

use super::Dialect;

/// Names fold, and a derived table ends in the LIMIT that the lake's planner takes for a wall (`crates/lake/src/barrier.rs`):
/// DataFusion moves predicates through derived tables, and an `OFFSET 0` it would take away.
pub(super) const DIALECT: Dialect = Dialect {
    kind: ConnectionKind::Lake,
    quote: '"',
    identifier_bytes: 255,
    folds: true,
    caseless: false,
    caseless_relations: false,
    function_schema: None,
    barrier: " LIMIT 9223372036854775807",
    explain: "EXPLAIN ",
    like_escape: "",
    numbered: true,
    always_recursive: false,
    functions: FUNCTIONS,
    keywords: &[],
    bare: &["current_date", "current_time", "current_timestamp"],
    operators: &[
        "+", "-", "*", "/", "%", "||", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "&", "|", "<<", ">>",
        "~", "~*", "!~", "!~*",
    ],
    types: &["interval"],
    system_columns: &[],
};

/// None reads files or settings, makes rows of its own, or tells about the process; none is a table function, and none makes
/// a text of any length out of a number: it is the gateway's own memory.
const FUNCTIONS: &[&str] = &[
    // text
    "ascii", "bit_length", "btrim", "char_length", "character_length", "chr", "concat", "concat_ws",
    "contains", "decode", "encode", "ends_with", "initcap", "left", "length", "levenshtein", "lower",
    "ltrim", "md5", "octet_length", "overlay", "position", "regexp_count", "regexp_instr", "regexp_like",
    "regexp_match", "regexp_replace", "replace", "reverse", "right", "rtrim", "sha224", "sha256", "sha384",
    "sha512", "split_part", "starts_with", "strpos", "substr", "substr_index", "substring", "to_hex",
    "translate", "trim", "upper", // mathematics
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "cos", "cosh", "cot",
    "degrees", "exp", "factorial", "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log10", "log2",
    "nanvl", "pi", "pow", "power", "radians", "random", "round", "signum", "sin", "sinh", "sqrt", "tan",
    "tanh", "trunc", // date and time
    "current_date", "current_time", "current_timestamp", "date_bin", "date_format", "date_part",
    "date_trunc", "datepart", "datetrunc", "extract", "from_unixtime", "make_date", "now", "to_char",
    "to_date", "to_timestamp", "to_timestamp_micros", "to_timestamp_millis", "to_timestamp_nanos",
    "to_timestamp_seconds", "to_unixtime", "today", // conditions
    "coalesce", "greatest", "ifnull", "least", "nullif", "nvl", "nvl2", // aggregates
    "approx_distinct", "approx_median", "approx_percentile_cont", "array_agg", "avg", "bit_and", "bit_or",
    "bit_xor", "bool_and", "bool_or", "corr", "count", "covar", "covar_pop", "covar_samp", "grouping", "max",
    "mean", "median", "min", "percentile_cont", "quantile_cont", "regr_avgx", "regr_avgy", "regr_count",
    "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev", "stddev_pop",
    "stddev_samp", "string_agg", "sum", "var", "var_pop", "var_samp", // windows
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile",
    "percent_rank", "rank", "row_number", // arrays
    "array_append", "array_contains", "array_element", "array_has", "array_length", "array_max", "array_min",
    "array_position", "array_prepend", "array_remove", "array_sort", "array_to_string", "cardinality",
    "empty", "list_contains", "string_to_array", "unnest", // the rest
    "uuid",
];
