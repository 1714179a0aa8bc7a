//! PostgreSQL 12 and later.

use std::any::TypeId;

use ringfence_policy::ConnectionKind;
use sqlparser::ast::{Expr, UnaryOperator};
use sqlparser::dialect::{Dialect as ParserDialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

use super::{Dialect, Steps, word_after};

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

/// The parser's own dialect, but for one thing: what an argument is called is a name, not any expression. The parser would
/// read each argument twice to find that out, and so on within each. And it reads otherwise than PostgreSQL how far
/// `IS DISTINCT FROM` reaches, COLLATE behind a cast, and BETWEEN SYMMETRIC, whose lower bound is marked here.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) steps: Steps,
}

/// Says of the lower bound of BETWEEN that either bound may be the greater: an operator that no version of ours has.
pub(crate) const SYMMETRIC: UnaryOperator = UnaryOperator::PGPrefixFactorial;

const OWN: PostgreSqlDialect = PostgreSqlDialect {};

impl ParserDialect for Reader {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn is_column_alias(&self, word: &Keyword, parser: &mut Parser) -> bool {
        // ON CONFLICT follows an INSERT's SELECT: PostgreSQL takes ON for a label only behind AS.
        *word != Keyword::ON && OWN.is_column_alias(word, parser)
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.steps.take()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        OWN.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        OWN.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        OWN.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        OWN.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        OWN.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        OWN.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        OWN.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        OWN.prec_value(precedence)
    }

    fn supports_unicode_string_literal(&self) -> bool {
        OWN.supports_unicode_string_literal()
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        OWN.supports_filter_during_aggregation()
    }

    fn supports_group_by_expr(&self) -> bool {
        OWN.supports_group_by_expr()
    }

    fn allow_extract_custom(&self) -> bool {
        OWN.allow_extract_custom()
    }

    fn allow_extract_single_quotes(&self) -> bool {
        OWN.allow_extract_single_quotes()
    }

    fn supports_factorial_operator(&self) -> bool {
        OWN.supports_factorial_operator()
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        OWN.supports_bitwise_shift_operators()
    }

    fn supports_named_fn_args_with_colon_operator(&self) -> bool {
        OWN.supports_named_fn_args_with_colon_operator()
    }

    fn supports_empty_projections(&self) -> bool {
        OWN.supports_empty_projections()
    }

    fn supports_nested_comments(&self) -> bool {
        OWN.supports_nested_comments()
    }

    fn supports_string_escape_constant(&self) -> bool {
        OWN.supports_string_escape_constant()
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        OWN.supports_numeric_literal_underscores()
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        OWN.supports_array_typedef_with_brackets()
    }

    fn supports_geometric_types(&self) -> bool {
        OWN.supports_geometric_types()
    }

    fn supports_notnull_operator(&self) -> bool {
        OWN.supports_notnull_operator()
    }

    fn supports_interval_options(&self) -> bool {
        OWN.supports_interval_options()
    }

    fn supports_insert_table_alias(&self) -> bool {
        OWN.supports_insert_table_alias()
    }

    fn supports_select_wildcard_with_alias(&self) -> bool {
        OWN.supports_select_wildcard_with_alias()
    }

    fn supports_comma_separated_trim(&self) -> bool {
        OWN.supports_comma_separated_trim()
    }

    fn supports_xml_expressions(&self) -> bool {
        OWN.supports_xml_expressions()
    }

    fn supports_explain_with_utility_options(&self) -> bool {
        OWN.supports_explain_with_utility_options()
    }

    fn supports_create_index_with_clause(&self) -> bool {
        OWN.supports_create_index_with_clause()
    }

    fn supports_listen_notify(&self) -> bool {
        OWN.supports_listen_notify()
    }

    fn supports_comment_on(&self) -> bool {
        OWN.supports_comment_on()
    }

    fn supports_load_extension(&self) -> bool {
        OWN.supports_load_extension()
    }

    fn supports_set_names(&self) -> bool {
        OWN.supports_set_names()
    }

    fn supports_alter_column_type_using(&self) -> bool {
        OWN.supports_alter_column_type_using()
    }

    fn supports_create_table_like_parenthesized(&self) -> bool {
        OWN.supports_create_table_like_parenthesized()
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let left = || Box::new(left.clone());
        let is_not = usize::from(word_after(parser, 0, "NOT") || word_after(parser, 1, "NOT"));
        let negated = is_not > 0;
        if word_after(parser, 0, "COLLATE") {
            parser.advance_token();
            let collation = parser.parse_object_name(false);
            return Some(collation.map(|collation| Expr::Collate { expr: left(), collation }));
        }
        if word_after(parser, 0, "IS")
            && word_after(parser, is_not.saturating_add(1), "DISTINCT")
            && word_after(parser, is_not.saturating_add(2), "FROM")
        {
            (0..is_not.saturating_add(3)).for_each(|_| parser.advance_token());
            let right = parser.parse_subexpr(self.prec_value(Precedence::Is)).map(Box::new);
            let distinct = if negated { Expr::IsNotDistinctFrom } else { Expr::IsDistinctFrom };
            return Some(right.map(|right| distinct(left(), right)));
        }
        let is_between = word_after(parser, is_not, "BETWEEN");
        let is_symmetric = word_after(parser, is_not.saturating_add(1), "SYMMETRIC");
        if is_between && (is_symmetric || word_after(parser, is_not.saturating_add(1), "ASYMMETRIC")) {
            (0..is_not.saturating_add(2)).for_each(|_| parser.advance_token());
            let between = parser.parse_between(*left(), negated);
            return Some(between.map(|between| if is_symmetric { symmetric(between) } else { between }));
        }
        None
    }
}

fn symmetric(between: Expr) -> Expr {
    match between {
        Expr::Between { expr, negated, low, high } => {
            let low = Box::new(Expr::UnaryOp { op: SYMMETRIC, expr: low });
            Expr::Between { expr, negated, low, high }
        }
        other => other,
    }
}
