//! Which statements leave nothing behind in a database session by themselves.
//!
//! Sessions are pooled, and the engine cleans one after every statement: settings, temporary tables, cursors, locks,
//! listeners, sequences. What it can't clean without losing the session's prepared statements is other prepared
//! statements, so a statement that may make one costs them all. The statements that are known not to are recognised here,
//! by list: rows read or changed, in words whose every call is to a function on the list. What a view or a trigger runs
//! can't be seen from here, which is why the engine cleans up after these too.

use sqlparser::tokenizer::Token;

use crate::sealed::StatementKind;
use crate::statement::{ReadStatement, word_at};

pub(crate) fn kind_of(statement: &ReadStatement) -> StatementKind {
    let Some(tokens) = &statement.tokens else {
        return StatementKind::Effect;
    };
    let first = tokens.iter().find(|token| **token != Token::LParen);
    let reads = matches!(first, Some(Token::Word(word)) if word.quote_style.is_none()
        && ["SELECT", "VALUES", "TABLE", "WITH"].iter().any(|reading| word.value.eq_ignore_ascii_case(reading)));
    let writes = (0..tokens.len())
        .filter_map(|index| word_at(tokens, index))
        .any(|word| matches!(word.as_str(), "INTO" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE"));
    // FOR UPDATE falls to `Effect` too: harmless, and rare.
    if reads && !writes { StatementKind::Read } else { StatementKind::Effect }
}

pub(crate) fn may_change(statement: &ReadStatement, kind: StatementKind) -> bool {
    let Some(tokens) = &statement.tokens else {
        return true;
    };
    match kind {
        StatementKind::Read => !every_call_is_harmless(tokens),
        StatementKind::Effect => !changes_rows_plainly(tokens),
    }
}

/// INSERT, UPDATE, DELETE and MERGE.
fn changes_rows_plainly(tokens: &[Token]) -> bool {
    let rest = match word_at(tokens, 0).as_deref() {
        Some("INSERT") => after_insert_target(tokens),
        Some("UPDATE" | "DELETE" | "MERGE") => Some(tokens),
        _ => None,
    };
    rest.is_some_and(every_call_is_harmless)
}

/// The tokens after `INSERT INTO name`, whose list of columns looks like a call.
fn after_insert_target(tokens: &[Token]) -> Option<&[Token]> {
    let mut rest = match tokens {
        [_, Token::Word(into), Token::Word(_), rest @ ..] if into.value.eq_ignore_ascii_case("into") => rest,
        _ => return None,
    };
    while let [Token::Period, Token::Word(_), after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}

/// Every call is written `name (`. A word before a parenthesis is a harmless function, a keyword of the grammar, or
/// reason enough to clean up. A qualified or quoted name is never on the list.
fn every_call_is_harmless(tokens: &[Token]) -> bool {
    let mut qualified = false;
    tokens.windows(2).all(|pair| {
        let [name, next] = pair else { return false };
        let after_period = std::mem::replace(&mut qualified, *name == Token::Period);
        *next != Token::LParen || (!after_period && call_is_harmless(name))
    })
}

fn call_is_harmless(name: &Token) -> bool {
    match name {
        Token::Word(word) if word.quote_style.is_some() => false,
        Token::Word(word) => {
            let name = word.value.to_ascii_lowercase();
            HARMLESS_FUNCTIONS.contains(&name.as_str()) || GRAMMAR.contains(&name.as_str())
        }
        _ => true,
    }
}

/// Words of the grammar that a parenthesis may follow.
const GRAMMAR: &[&str] = &[
    "all", "and", "any", "array", "as", "asc", "between", "by", "case", "conflict", "cube", "desc",
    "distinct", "else", "except", "exists", "filter", "from", "group", "grouping", "having", "in",
    "intersect", "is", "join", "lateral", "like", "ilike", "limit", "materialized", "not", "offset", "on",
    "or", "over", "returning", "rollup", "row", "select", "set", "sets", "some", "then", "union", "using",
    "values", "when", "where", "window", "with", // types with a length or precision
    "bit", "char", "character", "decimal", "float", "interval", "numeric", "time", "timestamp", "varchar",
    "varying",
];

/// Built-in functions of `PostgreSQL` that read their arguments or the clock and leave nothing behind.
const HARMLESS_FUNCTIONS: &[&str] = &[
    "abs", "age", "array_agg", "array_length", "avg", "bool_and", "bool_or", "btrim", "cardinality", "cast",
    "ceil", "ceiling", "char_length", "coalesce", "concat", "concat_ws", "count", "cume_dist",
    "current_catalog", "current_database", "current_schema", "date", "date_part", "date_trunc", "dense_rank",
    "exp", "extract", "first_value", "floor", "format", "generate_series", "greatest", "initcap", "json_agg",
    "json_array", "json_build_array", "json_build_object", "json_object", "jsonb_agg", "jsonb_build_array",
    "jsonb_build_object", "lag", "last_value", "lead", "least", "left", "length", "ln", "log", "lower",
    "lpad", "ltrim", "make_date", "max", "md5", "min", "mod", "now", "nth_value", "ntile", "nullif",
    "octet_length", "overlay", "percent_rank", "percentile_cont", "percentile_disc", "position", "power",
    "random", "rank", "regexp_match", "regexp_replace", "repeat", "replace", "reverse", "right", "round",
    "row_number", "rpad", "rtrim", "sign", "split_part", "sqrt", "starts_with", "stddev", "string_agg",
    "strpos", "substr", "substring", "sum", "to_char", "to_date", "to_number", "to_timestamp", "translate",
    "trim", "trunc", "unnest", "upper", "variance", "version",
];

#[cfg(test)]
mod tests {
    use ringfence_policy::{ConnectionKind, OpenAccess};

    use crate::{Refusal, StatementKind, open};

    fn admit(sql: &str) -> Result<(StatementKind, bool), Refusal> {
        open(sql, ConnectionKind::Postgresql, OpenAccess { read_only: false })
            .map(|query| (query.kind(), query.may_change_session()))
    }

    #[test]
    fn known_reads_leave_the_session_as_it_was() {
        for sql in [
            "SELECT 1",
            "select count(*), max(total) from orders where id in (1, 2) and (a or b)",
            "WITH x AS (SELECT lower(name) FROM users) SELECT * FROM x",
            "(SELECT 1) UNION (SELECT 2);",
            "VALUES (1, 2), (3, 4)",
            "SELECT current_database();",
            "SELECT a::numeric(10, 2) FROM t -- set_config('a', 'b', false)",
            "SELECT 'set_config(1)' FROM t",
        ] {
            assert_eq!(admit(sql), Ok((StatementKind::Read, false)), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_cleaned_up_after() {
        for sql in [
            "SELECT set_config('search_path', 'x', false)",
            "SELECT pg_catalog.set_config('search_path', 'x', false)",
            "SELECT pg_catalog.lower('x')",
            "SELECT \"lower\"('x')",
            "SELECT pg_advisory_lock(1)",
            "SELECT set_config /* ( */ ('a', 'b', false)",
            "SELECT * FROM my_function()",
            "SELECT U&\"set_config\"('a','b',false)",
        ] {
            assert!(matches!(admit(sql), Ok((_, true))), "{sql}");
        }
        for sql in [
            "SET search_path = x",
            "CREATE TEMP TABLE t (a int)",
            "SELECT 1 INTO TEMP t",
            "PREPARE p AS SELECT 1",
            "LISTEN x",
            "DO $$ BEGIN PERFORM 1; END $$",
            "INSERT INTO t VALUES (set_config('a', 'b', false))",
            "INSERT INTO t (a) SELECT pg_advisory_lock(1)",
            "INSERT INTO set_config ('a') VALUES (other.lower('x'))",
            "UPDATE t SET a = nextval('s')",
            "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
            "EXPLAIN SELECT 1",
        ] {
            assert_eq!(admit(sql), Ok((StatementKind::Effect, true)), "{sql}");
        }
    }

    #[test]
    fn plain_changes_of_rows_keep_the_session() {
        for sql in [
            "INSERT INTO t VALUES (1, lower('X'))",
            "insert into s.t (a, b) values (1, 2) on conflict (a) do update set (b) = row(3) returning (a)",
            "UPDATE t SET a = coalesce(a, 1) WHERE b IN (1, 2)",
            "DELETE FROM t USING (SELECT 1) AS x",
        ] {
            assert_eq!(admit(sql), Ok((StatementKind::Effect, false)), "{sql}");
        }
    }

    #[test]
    fn read_only_connections_take_no_large_objects() {
        let admit = |sql, read_only| open(sql, ConnectionKind::Postgresql, OpenAccess { read_only });
        for sql in [
            "SELECT LO_create(0)",
            "SELECT pg_catalog.\"lo_put\"(1, 0, 'x')",
            "DO $$ BEGIN PERFORM lo_from_bytea(0, 'x'); END $$",
            "SELECT U&\"lo\\005fcreate\"(0)",
        ] {
            assert_eq!(admit(sql, true), Err(Refusal::LargeObjectOnReadOnly), "{sql}");
            assert!(admit(sql, false).is_ok(), "{sql}");
        }
        assert!(admit("SELECT lo_get(1), hello_create FROM t", true).is_ok());
    }

    #[test]
    fn mysql_reads_by_list_and_moves_no_data_through_the_connection() {
        let admit = |sql, read_only| open(sql, ConnectionKind::Mysql, OpenAccess { read_only });
        for sql in [
            "SELECT `a` FROM t",
            "(SELECT 1)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "SHOW TABLES",
            "describe t",
            "EXPLAIN SELECT 1",
            "SELECT 'it\\'s; outfile' # ; x",
        ] {
            assert!(admit(sql, true).is_ok(), "{sql}");
        }
        for sql in [
            "DELETE FROM t",
            "CALL p()",
            "SET @a = 1",
            "SELECT 1 INTO OUTFILE '/tmp/x'",
            "DO 1",
            "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */",
            "SELECT 1 /*!99999 INTO OUTFILE '/tmp/x' */",
            "SELECT 1 INTO dumpfile '/tmp/x'",
            "SELECT 'unterminated",
        ] {
            assert_eq!(admit(sql, true), Err(Refusal::MoreThanReading), "{sql}");
            assert!(admit(sql, false).is_ok(), "{sql}");
        }
        for sql in
            ["LOAD DATA INFILE 'x' INTO TABLE t", "load data local infile 'x' into table t", "DELIMITER //"]
        {
            assert!(matches!(admit(sql, false), Err(Refusal::Unsupported { .. })), "{sql}");
        }
        for sql in ["XA START 'x'", "BEGIN", "/*! COMMIT */", "START TRANSACTION"] {
            assert!(matches!(admit(sql, false), Err(Refusal::TransactionControl { .. })), "{sql}");
        }
        assert_eq!(admit("SELECT 1; SELECT 2", false), Err(Refusal::SeveralStatements));
        assert_eq!(admit("SELECT 'a\\'; SELECT 2", false).map(|_| ()), Ok(()), "one string, unterminated");
    }

    #[test]
    fn one_statement_and_no_transaction_control() {
        for sql in [
            "SELECT 1; SELECT 2", "SELECT 1;;DROP TABLE t", "SELECT 1; -- x\n SELECT 2",
            "SELECT $$a$$; SELECT 2",
        ] {
            assert_eq!(admit(sql), Err(Refusal::SeveralStatements), "{sql}");
        }
        for sql in [
            "SELECT ';'", "SELECT 1;", "SELECT 1 ; ;", "SELECT $$;$$", "SELECT 1 /* ; */",
            "SELECT \"a;b\" FROM t",
        ] {
            assert!(admit(sql).is_ok(), "{sql}");
        }
        for sql in [
            "BEGIN", " begin;", "-- x\nCOMMIT", "/* a */ ROLLBACK", "start transaction", "END", "abort",
            "SAVEPOINT a",
        ] {
            assert!(matches!(admit(sql), Err(Refusal::TransactionControl { .. })), "{sql}");
        }
        assert!(matches!(admit("PREPARE TRANSACTION 'x'"), Err(Refusal::TransactionControl { .. })));
        assert!(matches!(admit("COPY t TO STDOUT"), Err(Refusal::Unsupported { .. })));
        for sql in ["/* a /* b */ */ COMMIT", "/* /* */ */ COMMIT 'unterminated", ";COMMIT", "(COMMIT)"] {
            assert!(matches!(admit(sql), Err(Refusal::TransactionControl { .. })), "{sql}");
        }
        assert!(!matches!(admit("/* /* */ COMMIT"), Err(Refusal::TransactionControl { .. })));
        for sql in ["", "  ;; ", "-- only a comment", "/* */"] {
            assert_eq!(admit(sql), Err(Refusal::Empty), "{sql}");
        }
        assert_eq!(admit("SELECT '\0'"), Err(Refusal::NulByte));
        assert_eq!(
            admit(&format!("SELECT '{}'", "x".repeat(1 << 20))),
            Err(Refusal::TooLong { limit: 1 << 20 })
        );
    }
}
