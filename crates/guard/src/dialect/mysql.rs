//! MySQL 8 and MariaDB 10.6 and later.

use std::any::TypeId;

use ringfence_policy::ConnectionKind;
use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::dialect::{Dialect as ParserDialect, MySqlDialect, Precedence};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{Dialect, Steps, word_after};

/// Callers' texts are read as the servers do by default: double quotes are texts, a backslash escapes. What is printed
/// means the same in sessions with `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`, because names are in backticks.
pub(super) const DIALECT: Dialect = Dialect {
    kind: ConnectionKind::Mysql,
    quote: '`',
    identifier_bytes: 64,
    folds: false,
    caseless: true,
    caseless_relations: false,
    function_schema: None,
    barrier: " LIMIT 18446744073709551615",
    explain: "EXPLAIN FORMAT=JSON ",
    like_escape: " ESCAPE '\\'",
    numbered: false,
    always_recursive: false,
    functions: FUNCTIONS,
    keywords: &[],
    bare: &["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"],
    operators: OPERATORS,
    types: &[],
    system_columns: &[],
};

const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "=", "<>", "<", "<=", ">", ">=", "<=>", "AND", "OR", "XOR", "DIV", "&", "|",
    "^", "<<", ">>", "->", "->>",
];

/// Both servers have all of them: a name that one lacks would be looked for among the connection's own functions.
/// None reads files, waits, locks, names a sequence, or tells about the session.
const FUNCTIONS: &[&str] = &[
    // text
    "ascii", "bin", "bit_length", "char_length", "character_length", "concat", "concat_ws", "conv", "crc32",
    "elt", "field", "find_in_set", "format", "from_base64", "hex", "insert", "instr", "lcase", "left",
    "length", "locate", "lower", "lpad", "ltrim", "md5", "mid", "oct", "octet_length", "ord", "position",
    "quote", "regexp_instr", "regexp_replace", "regexp_substr", "repeat", "replace", "reverse", "right",
    "rpad", "rtrim", "sha1", "sha2", "soundex", "space", "strcmp", "substr", "substring", "substring_index",
    "to_base64", "trim", "ucase", "unhex", "upper", // mathematics
    "abs", "acos", "asin", "atan", "atan2", "ceil", "ceiling", "cos", "cot", "degrees", "exp", "floor", "ln",
    "log", "log10", "log2", "mod", "pi", "pow", "power", "radians", "rand", "round", "sign", "sin", "sqrt",
    "tan", "truncate", // date and time
    "adddate", "addtime", "convert_tz", "curdate", "current_date", "current_time", "current_timestamp",
    "curtime", "date", "date_add", "date_format", "date_sub", "datediff", "day", "dayname", "dayofmonth",
    "dayofweek", "dayofyear", "from_days", "from_unixtime", "hour", "last_day", "localtime",
    "localtimestamp", "makedate", "maketime", "microsecond", "minute", "month", "monthname", "now",
    "period_add", "period_diff", "quarter", "sec_to_time", "second", "str_to_date", "subdate", "subtime",
    "sysdate", "time", "time_format", "time_to_sec", "timediff", "timestamp", "timestampadd",
    "timestampdiff", "to_days", "to_seconds", "unix_timestamp", "utc_date", "utc_time", "utc_timestamp",
    "week", "weekday", "weekofyear", "year", "yearweek", // conditions
    "coalesce", "greatest", "if", "ifnull", "interval", "isnull", "least", "nullif", // aggregates
    "avg", "bit_and", "bit_or", "bit_xor", "count", "group_concat", "json_arrayagg", "json_objectagg", "max",
    "min", "std", "stddev", "stddev_pop", "stddev_samp", "sum", "var_pop", "var_samp",
    "variance", // windows
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile",
    "percent_rank", "rank", "row_number", // JSON
    "json_array", "json_array_append", "json_array_insert", "json_contains", "json_contains_path",
    "json_depth", "json_extract", "json_insert", "json_keys", "json_length", "json_merge_patch",
    "json_merge_preserve", "json_object", "json_quote", "json_remove", "json_replace", "json_search",
    "json_set", "json_type", "json_unquote", "json_valid", "json_value", // the rest
    "inet6_aton", "inet6_ntoa", "inet_aton", "inet_ntoa", "is_ipv4", "is_ipv6", "uuid",
];

/// The parser's dialect, with the precedence of the manual, and without comments that some servers run.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) steps: Steps,
    /// Whether a backslash escapes: in callers' texts it does, in printed ones not.
    pub(super) escapes: bool,
}

const COMPARISON: u8 = 18;
const EXCLUSIVE_OR: u8 = 8;

impl ParserDialect for Reader {
    fn dialect(&self) -> TypeId {
        MySqlDialect {}.dialect()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch != '@' && MySqlDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.is_identifier_start(ch) || ch.is_ascii_digit()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        self.escapes
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    fn ignores_wildcard_escapes(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_insert_set(&self) -> bool {
        true
    }

    fn is_table_factor_alias(
        &self,
        explicit: bool,
        keyword: &sqlparser::keywords::Keyword,
        parser: &mut Parser,
    ) -> bool {
        MySqlDialect {}.is_table_factor_alias(explicit, keyword, parser)
    }

    fn supports_table_hints(&self) -> bool {
        true
    }

    fn requires_single_line_comment_whitespace(&self) -> bool {
        true
    }

    fn supports_select_modifiers(&self) -> bool {
        true
    }

    fn supports_update_order_by(&self) -> bool {
        true
    }

    fn supports_data_type_signed_suffix(&self) -> bool {
        true
    }

    fn supports_double_ampersand_operator(&self) -> bool {
        true
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.steps.take()
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::MulDivModOp => 50,
            Precedence::Between | Precedence::Eq | Precedence::Like | Precedence::Is => COMPARISON,
            Precedence::Xor => EXCLUSIVE_OR,
            other => MySqlDialect {}.prec_value(other),
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        Some(Ok(match &parser.peek_token_ref().token {
            Token::Caret => 45,
            Token::Mul | Token::Div | Token::Mod => 40,
            Token::Plus | Token::Minus => 30,
            Token::ShiftLeft | Token::ShiftRight => 26,
            Token::Ampersand => 24,
            Token::Pipe => 22,
            // JSON paths; what they stand for is a call.
            Token::Arrow | Token::LongArrow => 60,
            Token::Overlap => 10,
            // `||` is OR there, and callers who think otherwise are told.
            Token::StringConcat => 5,
            Token::Word(word) if word.quote_style.is_some() => 0,
            _ if word_after(parser, 0, "DIV") || word_after(parser, 0, "MOD") => 40,
            _ => return None,
        }))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let op = if word_after(parser, 0, "DIV") {
            BinaryOperator::MyIntegerDivide
        } else if word_after(parser, 0, "MOD") {
            BinaryOperator::Modulo
        } else {
            return None;
        };
        parser.advance_token();
        let right = parser.parse_subexpr(40);
        Some(right.map(|right| Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right) }))
    }
}
