//! Named values in a statement: `:name` and `principal.tenant_id` become placeholders, so that what a caller sends is
//! never read as SQL.

use sqlparser::dialect::{Dialect, PostgreSqlDialect};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::connection::ConnectionKind;
use crate::expression::PrincipalPath;
use crate::parse::principal_path;

/// Longest statement in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// A statement in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStatement {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Named),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The parameter of that name.
    Parameter(String),
    /// Something that holds of the caller.
    Principal(PrincipalPath),
}

impl NamedStatement {
    /// Finds the named values in a text for whichever database; an error says what can't stand in a statement.
    pub fn parse(statement: &str) -> Result<Self, String> {
        Self::read(statement, &PostgreSqlDialect {})
    }

    /// The same as that dialect's tokens are read.
    pub fn read(statement: &str, dialect: &dyn Dialect) -> Result<Self, String> {
        if statement.len() > MOST_BYTES {
            return Err(format!("a statement has at most {MOST_BYTES} bytes"));
        }
        let tokens = Tokenizer::new(dialect, statement).with_unescape(false).tokenize_with_location();
        let tokens = tokens.map_err(|error| format!("the statement can't be read: {error}"))?;
        let printed: String = tokens.iter().map(|token| token.token.to_string()).collect();
        if printed != statement {
            return Err(
                "the statement is written in a way that can't be kept as it is: write it plainer".to_owned()
            );
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let mut rest = tokens.as_slice();
        let mut before: Option<&Token> = None;
        while let Some((first, others)) = rest.split_first() {
            let (value, after) = match named(before, &first.token, others)? {
                Some((value, used)) => (Some(value), others.get(used..).unwrap_or_default()),
                None => (None, others),
            };
            match value {
                Some(value) => pieces.push(Piece::Value(value)),
                None => push(&mut pieces, &first.token),
            }
            before = Some(&first.token);
            rest = after;
        }
        Ok(Self { pieces })
    }

    /// Names of the parameters, as often as they stand there.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(Named::Parameter(name)) => Some(name.as_str()),
            Piece::Value(Named::Principal(_)) | Piece::Text(_) => None,
        })
    }

    /// The text for that kind of connection, and what its placeholders stand for, in their order.
    pub fn render(&self, kind: ConnectionKind) -> (String, Vec<Named>) {
        let (mut text, mut values): (String, Vec<Named>) = (String::new(), Vec::new());
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    continue;
                }
                Piece::Value(value) => value,
            };
            if kind == ConnectionKind::Mysql {
                text.push('?');
                values.push(value.clone());
                continue;
            }
            let known = values.iter().position(|known| known == value);
            let number = known.unwrap_or_else(|| {
                values.push(value.clone());
                values.len().saturating_sub(1)
            });
            text.push(if kind == ConnectionKind::Sqlite { '?' } else { '$' });
            text.push_str(&number.saturating_add(1).to_string());
        }
        (text, values)
    }
}

/// A named value that begins with the token, and how many of the following ones it takes.
fn named(
    before: Option<&Token>,
    first: &Token,
    others: &[TokenWithSpan],
) -> Result<Option<(Named, usize)>, String> {
    match first {
        Token::Placeholder(text) if text.starts_with(':') => {
            Ok(Some((Named::Parameter(text.trim_start_matches(':').to_owned()), 0)))
        }
        Token::Placeholder(text) => {
            Err(format!("`{text}` stands for nothing here: name values, such as `:id`"))
        }
        Token::Colon => {
            // In a[1:n] it parts the ends of a slice.
            let parts =
                matches!(before, Some(Token::Word(_) | Token::Number(..) | Token::RBracket | Token::RParen));
            match others.first().map(|next| &next.token) {
                Some(Token::Word(word)) if !parts && word.quote_style.is_none() => {
                    Ok(Some((Named::Parameter(word.value.clone()), 1)))
                }
                _ => Ok(None),
            }
        }
        Token::Word(word)
            if word.quote_style.is_none()
                && word.value.eq_ignore_ascii_case("principal")
                && !matches!(before, Some(Token::Period)) =>
        {
            let mut names = Vec::new();
            for pair in others.chunks(2) {
                let [dot, name] = pair else { break };
                let (Token::Period, Token::Word(name)) = (&dot.token, &name.token) else { break };
                names.push(name.value.as_str());
            }
            let path = principal_path(&names)?;
            Ok(Some((Named::Principal(path), names.len().saturating_mul(2))))
        }
        _ => Ok(None),
    }
}

/// Adds the token to the text. Comments say nothing to a database.
fn push(pieces: &mut Vec<Piece>, token: &Token) {
    let text = match token {
        Token::Whitespace(Whitespace::SingleLineComment { .. }) => "\n".to_owned(),
        Token::Whitespace(Whitespace::MultiLineComment(_)) => " ".to_owned(),
        token => token.to_string(),
    };
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(&text),
        _ => pieces.push(Piece::Text(text)),
    }
}
