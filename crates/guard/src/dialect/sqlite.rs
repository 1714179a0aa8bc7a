//! SQLite 3.38 and later.

use std::any::TypeId;

use ringfence_policy::ConnectionKind;
use sqlparser::ast::{BinaryOperator, Expr, Statement, UnaryOperator};
use sqlparser::dialect::{Dialect as ParserDialect, Precedence, SQLiteDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{Dialect, Steps, word_after};

/// Quoted with backticks: between double quotes, a name that SQLite does not find becomes a text.
pub(super) const DIALECT: Dialect = Dialect {
    kind: ConnectionKind::Sqlite,
    quote: '`',
    identifier_bytes: 1024,
    folds: false,
    caseless: true,
    caseless_relations: true,
    function_schema: None,
    barrier: " LIMIT -1",
    explain: "EXPLAIN QUERY PLAN ",
    like_escape: "",
    numbered: false,
    always_recursive: true,
    functions: FUNCTIONS,
    keywords: &[],
    bare: &["current_date", "current_time", "current_timestamp"],
    operators: &[
        "+", "-", "*", "/", "%", "||", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "&", "|", "<<", ">>",
        "->", "->>", "GLOB",
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

/// The parser's dialect, with the precedence that SQLite's manual gives, `GLOB`, and `IS` between any two values.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) steps: Steps,
}

const LIKE_EQUAL: u8 = 17;
const LESS: u8 = 18;
const BITS: u8 = 22;
const SUM: u8 = 30;
const PRODUCT: u8 = 40;
const CONCATENATION: u8 = 45;

impl ParserDialect for Reader {
    fn dialect(&self) -> TypeId {
        SQLiteDialect {}.dialect()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        SQLiteDialect {}.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        SQLiteDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        SQLiteDialect {}.is_identifier_part(ch)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_insert_table_alias(&self) -> bool {
        true
    }

    fn supports_in_empty_list(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_dollar_placeholder(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.steps.take()
    }

    fn parse_statement(&self, parser: &mut Parser) -> Option<Result<Statement, ParserError>> {
        SQLiteDialect {}.parse_statement(parser)
    }

    // Of the parser's own levels: minus binds closer than anything, and BETWEEN, LIKE and IS like `=`.
    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::MulDivModOp => 50,
            Precedence::Between | Precedence::Eq | Precedence::Like | Precedence::Is => LIKE_EQUAL,
            other => SQLiteDialect {}.prec_value(other),
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        Some(Ok(match &parser.peek_token_ref().token {
            Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => LESS,
            Token::Ampersand | Token::Pipe | Token::ShiftLeft | Token::ShiftRight => BITS,
            Token::Plus | Token::Minus => SUM,
            Token::Mul | Token::Div | Token::Mod => PRODUCT,
            Token::StringConcat | Token::Arrow | Token::LongArrow => CONCATENATION,
            Token::Word(word) if word.quote_style.is_some() => 0,
            _ if word_after(parser, 0, "GLOB") || word_after(parser, 0, "ISNULL") => LIKE_EQUAL,
            _ if word_after(parser, 0, "NOT") && word_after(parser, 1, "GLOB") => LIKE_EQUAL,
            _ => return None,
        }))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if word_after(parser, 0, "ISNULL") {
            parser.advance_token();
            return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
        }
        let negated = word_after(parser, 0, "NOT");
        if word_after(parser, usize::from(negated), "GLOB") {
            (0..=usize::from(negated)).for_each(|_| parser.advance_token());
            return Some(parser.parse_subexpr(LIKE_EQUAL).map(|right| {
                let op = BinaryOperator::Custom("GLOB".to_owned());
                let glob = Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right) };
                if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(glob) } } else { glob }
            }));
        }
        if !word_after(parser, 0, "IS") {
            return None;
        }
        let negated = word_after(parser, 1, "NOT");
        let next = if negated { 2 } else { 1 };
        let is_distinct =
            word_after(parser, next, "DISTINCT") && word_after(parser, next.saturating_add(1), "FROM");
        let is_test = [Keyword::NULL, Keyword::TRUE, Keyword::FALSE]
            .iter()
            .any(|test| matches!(&parser.peek_nth_token_ref(next).token, Token::Word(word) if word.keyword == *test));
        if is_test && !is_distinct {
            return None;
        }
        (0..next.saturating_add(if is_distinct { 2 } else { 0 })).for_each(|_| parser.advance_token());
        Some(parser.parse_subexpr(LIKE_EQUAL).map(|right| {
            let (left, right) = (Box::new(left.clone()), Box::new(right));
            if negated == is_distinct {
                Expr::IsNotDistinctFrom(left, right)
            } else {
                Expr::IsDistinctFrom(left, right)
            }
        }))
    }
}
