//! The functions that conditions and masks may call.

/// In lower case. They read their arguments and nothing else: no tables, no files, no settings, no SQL in text, and
/// none draws random numbers or waits. Which of them a database has is for the database to say, when the policy is checked.
pub const ALLOWED: &[&str] = &[
    // text
    "ascii", "btrim", "char_length", "chr", "concat", "concat_ws", "convert_from", "convert_to", "decode",
    "encode", "glob", "hex", "initcap", "instr", "left", "length", "lower", "lpad", "ltrim", "md5",
    "octet_length", "overlay", "printf", "replace", "reverse", "right", "rpad", "rtrim", "sha224", "sha256",
    "sha384", "sha512", "split_part", "starts_with", "strpos", "substr", "substring", "translate", "trim",
    "unhex", "unicode", "upper", // numbers
    "abs", "ceil", "ceiling", "div", "exp", "floor", "greatest", "least", "ln", "log", "mod", "power",
    "round", "scale", "sign", "sqrt", "trunc", "width_bucket", // dates
    "age", "date", "date_part", "date_trunc", "datetime", "isfinite", "julianday", "make_date",
    "make_timestamp", "make_timestamptz", "now", "strftime", "time", "timezone", "to_char", "to_date",
    "to_number", "to_timestamp", // choice
    "coalesce", "iif", "ifnull", "nullif", "num_nonnulls", "num_nulls", "typeof",
    // JSON and arrays
    "array_length", "array_position", "array_remove", "array_to_string", "cardinality", "json_array_length",
    "json_build_array", "json_build_object", "json_extract", "json_extract_path_text", "json_insert",
    "json_object", "json_patch", "json_quote", "json_remove", "json_replace", "json_set", "json_type",
    "json_typeof", "json_valid", "jsonb_array_length", "jsonb_build_array", "jsonb_build_object",
    "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_insert", "jsonb_set", "jsonb_strip_nulls",
    "jsonb_typeof", "string_to_array", "to_json", "to_jsonb", // addresses
    "host", "masklen", "network",
];
