//! What a database calls the columns that a SELECT computes: SQLite and MySQL take the text as it was written. What the
//! guard prints is written otherwise, so that it says the name.

use std::collections::BTreeMap;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

use crate::refusal::Refusal;

/// By the place of SELECT: the text of each item.
pub(crate) type Labels = BTreeMap<Location, Vec<String>>;

/// Reads the items' texts, numbers the placeholders that stand in order, and makes numbers of `0x1F`, which the tokenizer
/// takes for the string `X'1F'`.
pub(crate) fn read(text: &str, tokens: &mut [TokenWithSpan], is_sqlite: bool) -> Result<Labels, Refusal> {
    let places = places(text, tokens);
    let slice = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let mut placeholders = 0_usize;
    for (spanned, (from, to)) in tokens.iter_mut().zip(&places) {
        match &spanned.token {
            Token::Placeholder(name) => {
                let number = name.get(1..).and_then(|digits| digits.parse().ok());
                placeholders =
                    number.map_or(placeholders.saturating_add(1), |given: usize| given.max(placeholders));
                if name == "?" {
                    spanned.token = Token::Placeholder(format!("?{placeholders}"));
                }
            }
            // What some servers run is no comment; others skip it.
            Token::Whitespace(Whitespace::MultiLineComment(comment))
                if comment.starts_with('!') || comment.starts_with("M!") =>
            {
                return Err(Refusal::NotAdmitted { what: "a comment of that form".to_owned() });
            }
            Token::HexStringLiteral(digits) if is_sqlite && slice(*from, *to).starts_with('0') => {
                let number = i64::from_str_radix(digits, 16);
                let number = number
                    .map_err(|_| Refusal::Unreadable { message: "a number that is too large".to_owned() })?;
                spanned.token = Token::Number(number.to_string(), false);
            }
            _ => {}
        }
    }
    let mut kept = places.iter();
    let code: Vec<(&TokenWithSpan, (usize, usize))> = tokens
        .iter()
        .filter_map(|spanned| kept.next().map(|place| (spanned, *place)))
        .filter(|(spanned, _)| !matches!(spanned.token, Token::Whitespace(_)))
        .collect();
    let mut labels = Labels::new();
    for (index, (spanned, _)) in code.iter().enumerate() {
        if keyword(&spanned.token) == Some(Keyword::SELECT) {
            let items = items(code.get(index.saturating_add(1)..).unwrap_or_default());
            labels.insert(
                spanned.span.start,
                items.into_iter().map(|(from, to)| slice(from, to).to_owned()).collect(),
            );
        }
    }
    Ok(labels)
}

/// Where in the text each token begins and ends, in bytes.
fn places(text: &str, tokens: &[TokenWithSpan]) -> Vec<(usize, usize)> {
    let mut rest = text.char_indices().peekable();
    let mut at = Location::new(1, 1);
    let mut byte_of = |wanted: Location| {
        while at < wanted {
            match rest.next() {
                Some((_, '\n')) => at = Location::new(at.line.saturating_add(1), 1),
                Some(_) => at.column = at.column.saturating_add(1),
                None => break,
            }
        }
        rest.peek().map_or(text.len(), |(byte, _)| *byte)
    };
    tokens.iter().map(|token| (byte_of(token.span.start), byte_of(token.span.end))).collect()
}

/// The places of a SELECT's items, of what follows the word.
fn items(code: &[(&TokenWithSpan, (usize, usize))]) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let (mut depth, mut item, mut before) = (0_usize, None, None);
    for (spanned, (from, to)) in code {
        let word = keyword(&spanned.token);
        match &spanned.token {
            Token::LParen => depth = depth.saturating_add(1),
            Token::RParen if depth == 0 => break,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon => break,
            Token::Comma if depth == 0 => {
                items.extend(item.take());
                continue;
            }
            // `IS DISTINCT FROM` is an operator.
            _ if depth == 0 && word.is_some_and(ends_items) && before != Some(Keyword::DISTINCT) => break,
            _ if item.is_none() && matches!(word, Some(Keyword::DISTINCT | Keyword::ALL)) => continue,
            _ => {}
        }
        before = word;
        item = Some((item.map_or(*from, |(start, _)| start), *to));
    }
    items.extend(item);
    items
}

fn ends_items(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::WINDOW
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::INTO
            | Keyword::FOR
    )
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}
