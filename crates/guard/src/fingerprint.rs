//! A statement without its literals: what the audit log remembers, through a hash, and what groups alike statements.

use sqlparser::tokenizer::Token;

/// The statement in one form: literals as `?`, one space between tokens, unquoted words in lower case. Comments and
/// white space are no tokens here. `None` stands for a text that our tokenizer can't read.
pub(crate) fn text(tokens: Option<&[Token]>) -> String {
    let Some(tokens) = tokens else {
        // Nothing of a text that we can't read is known to be free of literals.
        return "unreadable".to_owned();
    };
    of(tokens.iter())
}

/// The same of a text that was read.
pub(crate) fn of<'t>(tokens: impl Iterator<Item = &'t Token>) -> String {
    let mut text = String::with_capacity(256);
    for token in tokens {
        if !text.is_empty() {
            text.push(' ');
        }
        match token {
            Token::Word(word) if word.quote_style.is_none() => {
                text.push_str(&word.value.to_ascii_lowercase());
            }
            literal if is_literal(literal) => text.push('?'),
            other => text.push_str(&other.to_string()),
        }
    }
    text
}

/// Whether the token carries a value of the caller's. Everything that is no name and no operator does.
pub(crate) fn is_literal(token: &Token) -> bool {
    matches!(token, Token::Number(..) | Token::Char(_) | Token::HexStringLiteral(_)) || is_string(token)
}

/// Whether the token is a string in any spelling.
pub(crate) fn is_string(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
    )
}

#[cfg(test)]
mod tests {
    use ringfence_policy::{ConnectionKind, OpenAccess};

    use crate::open;

    fn check(sql: &str, expected: &str) {
        let query = open(sql, ConnectionKind::Postgresql, OpenAccess { read_only: false }).unwrap();
        assert_eq!(query.fingerprint_text(), expected, "{sql}");
    }

    #[test]
    fn literals_comments_and_case_are_gone() {
        let folded = "select name from users where id = ? and city = ?";
        check("SELECT name FROM users WHERE id = 1 AND city = 'Paris'", folded);
        check("select Name\n from USERS -- secret\n where id=42 and city=$$Rome$$;", folded);
        check("SELECT name FROM users /* 'x' */ WHERE id = 1e9 AND city = E'a\\'b'", folded);
        check("SELECT \"Name\" FROM t", "select \"Name\" from t");
        check("SELECT U&'x', X'ff', B'01', N'n', $1", "select ? , ? , ? , ? , $1");
        check("SELECT 'unterminated", "unreadable");
    }
}
