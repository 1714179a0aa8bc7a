//! Reads a statement as far as open mode needs: its tokens, that it is one, and what it begins with.

use ringfence_policy::ConnectionKind;
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::fingerprint::is_string;
use crate::refusal::Refusal;

/// Longest statement in bytes.
pub const MAX_STATEMENT_BYTES: usize = 1024 * 1024;

/// A statement, its text trimmed of the final semicolon.
pub(crate) struct ReadStatement {
    pub(crate) sql: String,
    /// Without white space and comments. `None` where our tokenizer can't read what the database perhaps can: then
    /// the database alone judges, and nothing is assumed of the statement.
    pub(crate) tokens: Option<Vec<Token>>,
}

pub(crate) fn read(text: &str, kind: ConnectionKind) -> Result<ReadStatement, Refusal> {
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(Refusal::TooLong { limit: MAX_STATEMENT_BYTES });
    }
    if text.contains('\0') {
        return Err(Refusal::NulByte);
    }
    let dialect: &dyn Dialect = match kind {
        ConnectionKind::Postgresql | ConnectionKind::Lake => &PostgreSqlDialect {},
        ConnectionKind::Sqlite => &SQLiteDialect {},
        ConnectionKind::Mysql => &MySqlDialect {},
        ConnectionKind::Push => return Err(Refusal::NothingToQuery),
    };
    let Ok(tokens) = Tokenizer::new(dialect, text).with_unescape(false).tokenize() else {
        // An unterminated string or comment, say. The first word is still ours to judge.
        refuse_first_word(&leading_word(text))?;
        return Ok(ReadStatement { sql: text.to_owned(), tokens: None });
    };
    let mut tokens: Vec<Token> =
        tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    while tokens.last() == Some(&Token::SemiColon) {
        tokens.pop();
    }
    if tokens.is_empty() {
        return Err(Refusal::Empty);
    }
    let first =
        tokens.iter().position(|token| !matches!(token, Token::LParen | Token::SemiColon)).unwrap_or(0);
    let first = word_at(&tokens, first).unwrap_or_default();
    refuse_first_word(&first)?;
    if kind == ConnectionKind::Mysql {
        refuse_first_word_of_mysql(&first)?;
    }
    refuse_transaction_preparation(&tokens)?;
    if has_statement_end(&tokens) {
        return Err(Refusal::SeveralStatements);
    }
    Ok(ReadStatement { sql: text.to_owned(), tokens: Some(tokens) })
}

/// `MySQL`'s read-only transactions end where a procedure says COMMIT, and files are none of their business. So what may
/// run on a read-only connection is listed here.
pub(crate) fn refuse_more_than_reading(statement: &ReadStatement) -> Result<(), Refusal> {
    let Some(tokens) = &statement.tokens else {
        return Err(Refusal::MoreThanReading);
    };
    let first = tokens.iter().position(|token| *token != Token::LParen).unwrap_or(0);
    let reads = word_at(tokens, first).is_some_and(|word| MYSQL_READS.contains(&word.as_str()));
    let writes_file = tokens.iter().any(|token| {
        matches!(token, Token::Word(word) if ["outfile", "dumpfile"].iter().any(|file| word.value.eq_ignore_ascii_case(file)))
    });
    // Comments that one version runs and another skips.
    let conditional = statement.sql.contains("/*!") || statement.sql.contains("/*M!");
    if reads && !writes_file && !conditional { Ok(()) } else { Err(Refusal::MoreThanReading) }
}

const MYSQL_READS: [&str; 8] = ["SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"];

/// Looked for among the names, and inside of strings: they may be the body of a DO block, or SQL for `query_to_xml`.
pub(crate) fn refuse_large_objects(statement: &ReadStatement) -> Result<(), Refusal> {
    let named = match &statement.tokens {
        None => writes_large_objects(&statement.sql),
        Some(tokens) => tokens.iter().any(|token| match token {
            // A backslash may be an escape that spells any name.
            Token::Word(word) => starts_a_writer(&word.value) || word.value.contains('\\'),
            token if is_string(token) => writes_large_objects(&token.to_string()),
            _ => false,
        }),
    };
    if named { Err(Refusal::LargeObjectOnReadOnly) } else { Ok(()) }
}

fn starts_a_writer(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    LARGE_OBJECT_WRITERS.iter().any(|writer| name.starts_with(writer))
}

pub(crate) fn writes_large_objects(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    LARGE_OBJECT_WRITERS.iter().any(|writer| text.contains(writer))
}

const LARGE_OBJECT_WRITERS: &[&str] =
    &["lo_creat", "lo_from_bytea", "lo_put", "lo_import", "lo_export", "lo_unlink", "lo_truncate", "lowrite"];

/// A semicolon ends a statement, except between BEGIN and END of a routine's or trigger's body.
fn has_statement_end(tokens: &[Token]) -> bool {
    let creates = word_at(tokens, 0).is_some_and(|word| word == "CREATE");
    let has_body = tokens
        .iter()
        .any(|token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("begin")));
    // Inside a body the database counts: both PostgreSQL and SQLite are asked to prepare exactly one statement.
    !(creates && has_body) && tokens.contains(&Token::SemiColon)
}

fn refuse_first_word(word: &str) -> Result<(), Refusal> {
    match word {
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => {
            Err(Refusal::TransactionControl { keyword: word.to_owned() })
        }
        "COPY" | "ATTACH" | "DETACH" => Err(Refusal::Unsupported { keyword: word.to_owned() }),
        _ => Ok(()),
    }
}

/// XA leaves transactions behind that outlive the connection, LOAD DATA moves data through it, and DELIMITER is a word
/// of the command line only.
fn refuse_first_word_of_mysql(word: &str) -> Result<(), Refusal> {
    match word {
        "XA" => Err(Refusal::TransactionControl { keyword: word.to_owned() }),
        "LOAD" | "DELIMITER" => Err(Refusal::Unsupported { keyword: word.to_owned() }),
        _ => Ok(()),
    }
}

/// PREPARE TRANSACTION leaves a transaction behind that outlives the connection.
fn refuse_transaction_preparation(tokens: &[Token]) -> Result<(), Refusal> {
    match (word_at(tokens, 0).as_deref(), word_at(tokens, 1).as_deref()) {
        (Some("PREPARE"), Some("TRANSACTION")) => {
            Err(Refusal::TransactionControl { keyword: "PREPARE TRANSACTION".to_owned() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn word_at(tokens: &[Token], index: usize) -> Option<String> {
    match tokens.get(index) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// The first word of a text that has no tokens, in upper case.
fn leading_word(text: &str) -> String {
    let mut rest = text;
    loop {
        rest =
            rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '(' || c == '\u{feff}');
        if let Some(line) = rest.strip_prefix("--") {
            rest = line.split_once(['\n', '\r']).map_or("", |(_, after)| after);
        } else if let Some(block) = rest.strip_prefix("/*") {
            rest = after_block_comment(block);
        } else {
            break;
        }
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    rest.split_at(end).0.to_ascii_uppercase()
}

/// What follows a block comment; PostgreSQL nests them.
fn after_block_comment(block: &str) -> &str {
    let (mut rest, mut depth) = (block, 1_u32);
    while depth > 0 {
        let (opened, closed) = (rest.find("/*"), rest.find("*/"));
        let Some(end) = closed else { return "" };
        let opens = opened.is_some_and(|start| start < end);
        depth = if opens { depth.saturating_add(1) } else { depth.saturating_sub(1) };
        rest = rest.split_at(if opens { opened.unwrap_or(end) } else { end }).1.get(2..).unwrap_or("");
    }
    rest
}
