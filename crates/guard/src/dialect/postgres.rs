//! PostgreSQL 12 and later.

use ringfence_policy::ConnectionKind;

use super::Dialect;

pub(super) const DIALECT: Dialect = Dialect {
    kind: ConnectionKind::Postgresql,
    quote: '"',
    identifier_bytes: 63,
    folds: true,
    caseless: false,
    caseless_relations: false,
    function_schema: Some("pg_catalog"),
    barrier: " OFFSET 0",
    explain: "EXPLAIN ",
    like_escape: "",
    numbered: true,
    always_recursive: false,
    functions: FUNCTIONS,
    keywords: &["array", "coalesce", "greatest", "grouping", "least", "nullif", "row"],
    bare: &["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"],
    operators: OPERATORS,
    types: TYPES,
    system_columns: &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"],
};

/// Each is in `pg_catalog`, reads nothing but its arguments and the clock, and runs no SQL text.
const FUNCTIONS: &[&str] = &[
    // text
    "ascii", "btrim", "char_length", "character_length", "chr", "concat", "concat_ws", "convert_from",
    "convert_to", "decode", "encode", "format", "initcap", "left", "length", "lower", "lpad", "ltrim", "md5",
    "normalize", "octet_length", "bit_length", "overlay", "position", "quote_ident", "quote_literal",
    "quote_nullable", "regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_matches",
    "regexp_replace", "regexp_split_to_array", "regexp_split_to_table", "regexp_substr", "repeat", "replace",
    "reverse", "right", "rpad", "rtrim", "sha224", "sha256", "sha384", "sha512", "split_part", "starts_with",
    "string_to_array", "string_to_table", "strpos", "substr", "substring", "to_char", "to_hex", "to_number",
    "translate", "trim", "unistr", "upper", // mathematics
    "abs", "acos", "asin", "atan", "atan2", "cbrt", "ceil", "ceiling", "cos", "cot", "degrees", "div", "exp",
    "factorial", "floor", "gcd", "lcm", "ln", "log", "log10", "min_scale", "mod", "pi", "pow", "power",
    "radians", "random", "round", "scale", "sign", "sin", "sqrt", "tan", "trim_scale", "trunc",
    "width_bucket", // date and time
    "age", "clock_timestamp", "date_bin", "date_part", "date_trunc", "extract", "isfinite", "justify_days",
    "justify_hours", "justify_interval", "make_date", "make_interval", "make_time", "make_timestamp",
    "make_timestamptz", "now", "overlaps", "statement_timestamp", "timezone", "to_date", "to_timestamp",
    "transaction_timestamp", "date", "timestamp", "timestamptz", // conditions
    "num_nonnulls", "num_nulls", // aggregates
    "any_value", "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr", "count",
    "covar_pop", "covar_samp", "every", "json_agg", "json_object_agg", "jsonb_agg", "jsonb_object_agg",
    "max", "min", "mode", "percentile_cont", "percentile_disc", "range_agg", "regr_avgx", "regr_avgy",
    "regr_count", "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev",
    "stddev_pop", "stddev_samp", "string_agg", "sum", "var_pop", "var_samp", "variance",
    // windows
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile",
    "percent_rank", "rank", "row_number", // JSON
    "array_to_json", "json_array_elements", "json_array_elements_text", "json_array_length",
    "json_build_array", "json_build_object", "json_each", "json_each_text", "json_extract_path",
    "json_extract_path_text", "json_object", "json_object_keys", "json_strip_nulls", "json_to_record",
    "json_to_recordset", "json_typeof", "jsonb_array_elements", "jsonb_array_elements_text",
    "jsonb_array_length", "jsonb_build_array", "jsonb_build_object", "jsonb_each", "jsonb_each_text",
    "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_insert", "jsonb_object", "jsonb_object_keys",
    "jsonb_path_exists", "jsonb_path_match", "jsonb_path_query", "jsonb_path_query_array",
    "jsonb_path_query_first", "jsonb_pretty", "jsonb_set", "jsonb_set_lax", "jsonb_strip_nulls",
    "jsonb_to_record", "jsonb_to_recordset", "jsonb_typeof", "row_to_json", "to_json", "to_jsonb",
    // arrays
    "array_append", "array_cat", "array_dims", "array_length", "array_lower", "array_ndims", "array_position",
    "array_positions", "array_prepend", "array_remove", "array_replace", "array_to_string", "array_upper",
    "cardinality", "trim_array", "unnest",
    // full text: not ts_stat and ts_rewrite, which run SQL text
    "numnode", "phraseto_tsquery", "plainto_tsquery", "querytree", "setweight", "strip", "to_tsquery",
    "to_tsvector", "ts_headline", "ts_rank", "ts_rank_cd", "tsvector_to_array", "websearch_to_tsquery",
    // rows
    "generate_series", "generate_subscripts", // the rest
    "broadcast", "family", "gen_random_uuid", "host", "inet", "lower_inc", "lower_inf", "masklen", "netmask",
    "network", "isempty", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange",
    "range_merge", "upper_inc", "upper_inf",
];

const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "^", "||", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "&", "|", "#", "<<",
    ">>", "&&", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*", "^@", "->", "->>", "#>", "#>>", "@@",
    "@>", "<@", "#-", "@?", "?", "?&", "?|", "-|-", "&<", "&>", "<->", "<<=", ">>=", "OVERLAPS",
];

/// None of the reg* types, which look names up, and no row type.
const TYPES: &[&str] = &[
    "bit", "bool", "bpchar", "bytea", "char", "cidr", "date", "daterange", "float4", "float8", "inet",
    "int2", "int4", "int4range", "int8", "int8range", "interval", "json", "jsonb", "jsonpath", "macaddr",
    "money", "name", "numeric", "numrange", "text", "time", "timestamp", "timestamptz", "timetz", "tsquery",
    "tsrange", "tstzrange", "tsvector", "uuid", "varbit", "varchar",
];
