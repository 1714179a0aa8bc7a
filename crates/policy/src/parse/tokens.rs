//! The tokens of an expression, with `IN principal.roles` brought into the form that the SQL parser knows.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::principal::VARIABLE_QUOTE;
use super::{MAX_EXPRESSION_DEPTH, ParseInvalid};

/// Most operators in an expression: the parser builds a chain of them without counting its depth.
const MAX_OPERATORS: usize = 256;

/// Reads the tokens, without white space and comments.
///
/// `x IN principal.attributes.a` is not SQL: a list stands in parentheses. They are added here.
///
/// With `variables`, `{name}` is one of the principal's, as access rules write them; a brace in a string is part of it.
pub(super) fn prepare(text: &str, variables: bool) -> Result<Vec<TokenWithSpan>, ParseInvalid> {
    let dialect = PostgreSqlDialect {};
    let all = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| ParseInvalid::at(error.location, error.message))?;
    let mut prepared: Vec<TokenWithSpan> = Vec::with_capacity(all.len());
    let all = all.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let all = if variables { with_variables(all)? } else { all.collect() };
    let mut tokens = all.into_iter().peekable();
    let (mut open, mut operators) = (0_usize, 0_usize);
    while let Some(token) = tokens.next() {
        open = match token.token {
            Token::LParen => open.saturating_add(1),
            Token::RParen => open.saturating_sub(1),
            _ => open,
        };
        if open > MAX_EXPRESSION_DEPTH {
            return Err(ParseInvalid::at(token.span.start, "the expression is nested too deeply"));
        }
        operators = operators.saturating_add(usize::from(is_operator(&token.token)));
        if operators > MAX_OPERATORS {
            return Err(ParseInvalid::at(
                token.span.start,
                "the expression has too many operators: it is too deep",
            ));
        }
        let is_in = matches!(&token.token, Token::Word(word) if word.keyword == Keyword::IN);
        let span = token.span;
        prepared.push(token);
        if !is_in || !tokens.peek().is_some_and(|next| is_principal(&next.token)) {
            continue;
        }
        prepared.push(TokenWithSpan { token: Token::LParen, span });
        let mut wants_name = true;
        while let Some(next) = tokens.next_if(|next| match next.token {
            Token::Word(_) => wants_name,
            Token::Period => !wants_name,
            _ => false,
        }) {
            wants_name = !wants_name;
            prepared.push(next);
        }
        prepared.push(TokenWithSpan { token: Token::RParen, span });
    }
    Ok(prepared)
}

/// `{name}` as `principal.name`, the name marked as a variable's.
fn with_variables(
    mut tokens: impl Iterator<Item = TokenWithSpan>,
) -> Result<Vec<TokenWithSpan>, ParseInvalid> {
    let word = |value: &str, quote_style| {
        Token::Word(Word { value: value.to_owned(), quote_style, keyword: Keyword::NoKeyword })
    };
    let mut read = Vec::new();
    while let Some(TokenWithSpan { token, span }) = tokens.next() {
        if token != Token::LBrace {
            read.push(TokenWithSpan { token, span });
            continue;
        }
        let (name, end) = (tokens.next(), tokens.next());
        let (Some(Token::Word(Word { value, quote_style: None, .. })), Some(Token::RBrace)) =
            (name.map(|token| token.token), end.map(|token| token.token))
        else {
            return Err(ParseInvalid::at(span.start, "a variable is written `{name}`"));
        };
        let marked = word(&value, Some(VARIABLE_QUOTE));
        read.extend(
            [word("principal", None), Token::Period, marked].map(|token| TokenWithSpan { token, span }),
        );
    }
    Ok(read)
}

/// Whatever is neither a name, a constant nor punctuation.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            matches!(
                word.keyword,
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS | Keyword::IN | Keyword::CASE
            )
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::EOF => false,
        _ => true,
    }
}

fn is_principal(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("principal"))
}
