//! From text to one statement's tree: bounds, odd characters, and the parser.
//!
//! The parser runs on what the tokenizer read, after two corrections of what it would read otherwise than the database.

use sqlparser::ast::Statement;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace, Word};

use crate::dialect::Dialect;
use crate::fingerprint::{self, is_literal};
use crate::labels::{self, Labels};
use crate::lift::Scanned;
use crate::refusal::Refusal;
use crate::statement::MAX_STATEMENT_BYTES;

/// Deepest nesting of parentheses, brackets and CASE.
const MAX_NESTING: usize = 64;
/// Longest run of prefix operators (`- - -`, NOT NOT).
const MAX_PREFIXES: usize = 48;
/// Operators in one statement, in signs or in words: each may add a level to the tree.
const MAX_OPERATORS: usize = 4000;
/// How deep the parser goes; its stack grows as it needs.
const MAX_RECURSION: usize = 512;
/// How often the parser may begin to read an operand: once for each is what most statements need.
const STEPS_PER_TOKEN: usize = 4;
const FEWEST_STEPS: usize = 1000;
/// Highest number of a placeholder.
const MAX_PLACEHOLDER: usize = 1000;

// Names that stand for what the parser does not know. Nobody else may use them.
/// Of an argument: VARIADIC.
pub(crate) const VARIADIC: &str = "_rf_variadic";
/// The schema of a schema or relation: ONLY.
pub(crate) const ONLY: &str = "_rf_only";
/// A function: ROWS FROM.
pub(crate) const ROWS_FROM: &str = "_rf_rows_from";
/// The first of what is grouped by: DISTINCT.
pub(crate) const DISTINCT: &str = "_rf_distinct";
/// The column that a clause of MERGE sets: DO NOTHING.
pub(crate) const NOTHING: &str = "_rf_nothing";
/// Begins the name of a window that is taken up: EXCLUDE and the rest of the name.
pub(crate) const EXCLUDE: &str = "_rf_exclude_";

/// A statement that was read.
pub(crate) struct Read {
    pub(crate) statement: Statement,
    /// Without literals and comments.
    pub(crate) fingerprint: String,
    /// The highest numbered placeholder, or how many there are.
    pub(crate) placeholders: usize,
    /// What the database would call the columns of a SELECT.
    pub(crate) labels: Labels,
    /// Whether the scanner found the literals that are there.
    pub(crate) is_scanned: bool,
}

/// Reads exactly one statement.
pub(crate) fn read(text: &str, dialect: &Dialect, scanned: Option<&Scanned<'_>>) -> Result<Read, Refusal> {
    refuse_odd_characters(text)?;
    let reader = dialect.reader(0);
    let mut tokenizer = Tokenizer::new(&*reader, text);
    let unreadable = |error: TokenizerError| Refusal::Unreadable { message: error.to_string() };
    if dialect.is_postgres() {
        let mut tokens = tokenizer.tokenize().map_err(unreadable)?;
        let placeholders = inspect(&tokens)?;
        tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
        one_statement(&mut tokens, |token| token)?;
        return Ok(Read {
            fingerprint: fingerprint::of(tokens.iter()),
            is_scanned: scanned.is_some_and(|scanned| scanned.agrees(&tokens)),
            statement: parse(tokens, dialect)?,
            placeholders,
            labels: Labels::default(),
        });
    }
    let mut spans = tokenizer.tokenize_with_location().map_err(unreadable)?;
    let labels = labels::read(text, &mut spans, dialect.is_sqlite())?;
    let tokens: Vec<Token> = spans.iter().map(|spanned| spanned.token.clone()).collect();
    let placeholders = inspect(&tokens)?;
    spans.retain(|spanned| !matches!(spanned.token, Token::Whitespace(_)));
    one_statement(&mut spans, |spanned| &spanned.token)?;
    Ok(Read {
        fingerprint: fingerprint::of(spans.iter().map(|spanned| &spanned.token)),
        is_scanned: false,
        statement: parse_at(spans, dialect)?,
        placeholders,
        labels,
    })
}

/// Takes final semicolons away, and refuses others.
fn one_statement<T>(tokens: &mut Vec<T>, token: impl Fn(&T) -> &Token) -> Result<(), Refusal> {
    while tokens.last().is_some_and(|last| *token(last) == Token::SemiColon) {
        tokens.pop();
    }
    if tokens.is_empty() {
        return Err(Refusal::Empty);
    }
    if tokens.iter().any(|each| *token(each) == Token::SemiColon) {
        return Err(Refusal::SeveralStatements);
    }
    Ok(())
}

pub(crate) fn parse(tokens: Vec<Token>, dialect: &Dialect) -> Result<Statement, Refusal> {
    let tokens = if dialect.is_postgres() { corrected(tokens) } else { tokens };
    let mut literals = 0_u64;
    let numbered = tokens.into_iter().map(|token| {
        if !is_literal(&token) {
            return TokenWithSpan::wrap(token);
        }
        // Which of the statement's literals it is, from 1. On line 0 no message shows it as a place.
        literals = literals.saturating_add(1);
        let place = Location { line: 0, column: literals };
        TokenWithSpan::at(token, place, place)
    });
    parse_at(numbered.collect(), dialect)
}

fn parse_at(tokens: Vec<TokenWithSpan>, dialect: &Dialect) -> Result<Statement, Refusal> {
    let steps = tokens.len().saturating_mul(STEPS_PER_TOKEN).saturating_add(FEWEST_STEPS);
    let reader = dialect.reader(steps);
    let mut parser =
        Parser::new(&*reader).with_recursion_limit(MAX_RECURSION).with_tokens_with_locations(tokens);
    let statement = parser.parse_statement().map_err(refusal)?;
    let next = parser.peek_token().token;
    if next == Token::EOF {
        return Ok(statement);
    }
    Err(Refusal::Unreadable { message: format!("unexpected {next}") })
}

fn refusal(error: ParserError) -> Refusal {
    match error {
        ParserError::RecursionLimitExceeded => Refusal::TooDeep,
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            Refusal::Unreadable { message }
        }
    }
}

/// What databases read otherwise than the tokenizer: white space beyond ASCII, and control characters.
fn refuse_odd_characters(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(Refusal::TooLong { limit: MAX_STATEMENT_BYTES });
    }
    if text.contains('\0') {
        return Err(Refusal::NulByte);
    }
    let odd = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
            || (!c.is_ascii() && c.is_whitespace())
            || c == '\u{feff}'
    };
    if text.contains(odd) {
        return Err(Refusal::NotAdmitted {
            what: "white space other than blanks, tabs and line ends".to_owned(),
        });
    }
    Ok(())
}

/// Bounds what the parser would build, and finds the placeholders.
fn inspect(tokens: &[Token]) -> Result<usize, Refusal> {
    let mut depth = 0_usize;
    let mut prefixes = 0_usize;
    let mut operators = 0_usize;
    let mut placeholders = 0_usize;
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1).chain([&Token::EOF])) {
        match token {
            Token::Number(..) if matches!(next, Token::Word(_)) => {
                return Err(Refusal::Unreadable {
                    message: format!("trailing junk after the number {token}"),
                });
            }
            Token::Word(word)
                if word.quote_style.is_none() && is(word, "interval") && *next == Token::LParen =>
            {
                return Err(Refusal::NotAdmitted { what: "the precision of an interval".to_owned() });
            }
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) if comment.contains('\r') => {
                return Err(Refusal::NotAdmitted { what: "a carriage return in a comment".to_owned() });
            }
            // It is a mark of our own for what the parser has no word for.
            Token::DoubleExclamationMark => {
                return Err(Refusal::NotAdmitted { what: "the operator !!".to_owned() });
            }
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => depth = depth.saturating_add(1),
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(Word { keyword: Keyword::CASE, quote_style: None, .. }) => {
                depth = depth.saturating_add(1);
            }
            Token::Word(Word { keyword: Keyword::END, quote_style: None, .. }) => {
                depth = depth.saturating_sub(1);
            }
            Token::Placeholder(name) => placeholders = placeholder(name, placeholders)?,
            _ => {}
        }
        let is_prefix = matches!(
            token,
            Token::Minus
                | Token::Plus
                | Token::Tilde
                | Token::AtSign
                | Token::Word(Word { keyword: Keyword::NOT | Keyword::INTERVAL, .. })
        );
        prefixes = if is_prefix { prefixes.saturating_add(1) } else { 0 };
        operators = operators.saturating_add(usize::from(may_deepen(token)));
        if depth > MAX_NESTING || prefixes > MAX_PREFIXES || operators > MAX_OPERATORS {
            return Err(Refusal::TooDeep);
        }
    }
    Ok(placeholders)
}

/// Whether the tree may be a level deeper for it. Of words, all that the grammar knows, but for constants and what
/// stands in lists.
fn may_deepen(token: &Token) -> bool {
    match token {
        Token::Number(..)
        | Token::Comma
        | Token::SingleQuotedString(_)
        | Token::Word(Word { quote_style: Some(_), .. }) => false,
        Token::Word(Word { keyword, .. }) => !matches!(
            keyword,
            Keyword::NoKeyword
                | Keyword::NULL
                | Keyword::TRUE
                | Keyword::FALSE
                | Keyword::DEFAULT
                | Keyword::AS
                | Keyword::ASC
                | Keyword::DESC
                | Keyword::WHEN
                | Keyword::THEN
        ),
        _ => true,
    }
}

fn placeholder(name: &str, so_far: usize) -> Result<usize, Refusal> {
    let number = match name.strip_prefix(['$', '?']) {
        Some(digits) => digits.parse().ok().filter(|number| (1..=MAX_PLACEHOLDER).contains(number)),
        None => None,
    };
    let number = number.ok_or_else(|| Refusal::NotAdmitted { what: format!("the placeholder {name}") })?;
    Ok(number.max(so_far))
}

/// `x ISNULL` and `x NOTNULL` as PostgreSQL reads them, `top.x` as a column, `TRIM(LEADING FROM x)`, `TABLE x`, locks by
/// their other names, and what has a name of ours above.
fn corrected(tokens: Vec<Token>) -> Vec<Token> {
    let mut corrected: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let after_operand = corrected.last().is_some_and(ends_operand);
        match token {
            Token::Word(word) if word.quote_style.is_none() && after_operand && is(&word, "isnull") => {
                corrected.extend(["IS", "NULL"].map(Token::make_keyword));
            }
            Token::Word(word) if word.quote_style.is_none() && after_operand && is(&word, "notnull") => {
                corrected.extend(["IS", "NOT", "NULL"].map(Token::make_keyword));
            }
            // The parser knows the stronger locks alone; rows that may be changed are all that they lock.
            Token::Word(word) if is(&word, "update") && ends_with(&corrected, &["for", "no", "key"]) => {
                corrected.truncate(corrected.len().saturating_sub(2));
                corrected.push(Token::Word(word));
            }
            Token::Word(word) if is(&word, "share") && ends_with(&corrected, &["for", "key"]) => {
                corrected.truncate(corrected.len().saturating_sub(1));
                corrected.push(Token::Word(word));
            }
            // The parser knows it in some places, and forgets the quotes of the name.
            Token::Word(word)
                if word.quote_style.is_none() && is(&word, "table") && begins_query(&corrected) =>
            {
                corrected.extend([Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")]);
            }
            Token::Word(word) if is_plain(&word, "only") && corrected.last().is_some_and(begins_relation) => {
                corrected.extend([Token::make_word(ONLY, Some('"')), Token::Period]);
                without_parentheses(&mut rest, &mut corrected);
            }
            Token::Word(word)
                if is_plain(&word, "rows")
                    && begins_rows_from(&corrected)
                    && matches!(rest.peek(), Some(Token::Word(from)) if from.keyword == Keyword::FROM) =>
            {
                rest.next();
                corrected.push(Token::make_word(ROWS_FROM, Some('"')));
            }
            Token::Word(word) if is_plain(&word, "distinct") && ends_with(&corrected, &["group", "by"]) => {
                corrected.extend([Token::make_word(DISTINCT, Some('"')), Token::Comma]);
            }
            Token::Word(word)
                if is_plain(&word, "do")
                    && ends_with(&corrected, &["then"])
                    && matches!(rest.peek(), Some(Token::Word(next)) if is_plain(next, "nothing")) =>
            {
                rest.next();
                corrected.extend(nothing(&corrected));
            }
            Token::Word(word) if is_plain(&word, "exclude") && corrected.last().is_some_and(ends_frame) => {
                exclude(&mut rest, &mut corrected);
            }
            Token::Word(word) if word.quote_style.is_none() && is(&word, "variadic") => {
                corrected.extend([Token::make_word(VARIADIC, Some('"')), Token::RArrow]);
            }
            Token::Word(word) if word.keyword == Keyword::FROM && ends_trim(&corrected) => {
                let function = corrected.pop().map_or("", |place| trim_function(&place));
                corrected.truncate(corrected.len().saturating_sub(2));
                corrected.extend([Token::make_word(function, Some('"')), Token::LParen]);
            }
            Token::Word(word)
                if word.quote_style.is_none()
                    && word.keyword == Keyword::TOP
                    && rest.peek() == Some(&Token::Period) =>
            {
                corrected.push(Token::make_word(&word.value.to_ascii_lowercase(), Some('"')));
            }
            other => corrected.push(other),
        }
    }
    corrected
}

type Rest = std::iter::Peekable<std::vec::IntoIter<Token>>;

/// Whether ROWS FROM may follow, and not a column of that name and FROM.
fn begins_rows_from(tokens: &[Token]) -> bool {
    let outer =
        tokens.iter().rposition(|token| *token != Token::LParen).map_or(0, |last| last.saturating_add(1));
    let before = tokens.get(..outer).unwrap_or_default();
    ["from", "join", "lateral"].iter().any(|word| ends_with(before, &[word]))
}

/// Whether a relation may follow.
fn begins_relation(token: &Token) -> bool {
    match token {
        Token::Comma | Token::LParen => true,
        Token::Word(word) => {
            word.quote_style.is_none()
                && ["from", "join", "update", "into", "using"].iter().any(|text| is(word, text))
        }
        _ => false,
    }
}

/// `ONLY (t)` is `ONLY t`.
fn without_parentheses(rest: &mut Rest, corrected: &mut Vec<Token>) {
    if rest.next_if_eq(&Token::LParen).is_none() {
        return;
    }
    corrected
        .extend(std::iter::from_fn(|| rest.next_if(|token| matches!(token, Token::Word(_) | Token::Period))));
    let _ = rest.next_if_eq(&Token::RParen);
}

/// What says DO NOTHING behind THEN: each kind of clause has its own.
fn nothing(before: &[Token]) -> Vec<Token> {
    let matched =
        before.iter().rposition(|token| matches!(token, Token::Word(word) if is_plain(word, "matched")));
    let is_not = matched.is_some_and(|place| ends_with(before.get(..place).unwrap_or_default(), &["not"]));
    // No literal, because literals are counted.
    let (name, null) = (Token::make_word(NOTHING, Some('"')), Token::make_keyword("NULL"));
    if is_not {
        let [insert, values] = ["INSERT", "VALUES"].map(Token::make_keyword);
        vec![insert, Token::LParen, name, Token::RParen, values, Token::LParen, null, Token::RParen]
    } else {
        let [update, set] = ["UPDATE", "SET"].map(Token::make_keyword);
        vec![update, set, name, Token::Eq, null]
    }
}

fn ends_frame(token: &Token) -> bool {
    matches!(token, Token::Word(word) if ["row", "preceding", "following"].iter().any(|text| is_plain(word, text)))
}

/// Puts what is excluded where the parser expects the window that is taken up, unless there is one.
fn exclude(rest: &mut Rest, corrected: &mut Vec<Token>) {
    let mut name = EXCLUDE.to_owned();
    while let Some(Token::Word(word)) = rest.next_if(|token| matches!(token, Token::Word(_))) {
        name.push_str(&word.value.to_ascii_lowercase());
        name.push('_');
    }
    let mut depth = 0_i32;
    let open = corrected.iter().rposition(|token| {
        depth = depth.saturating_add(match token {
            Token::RParen => 1,
            Token::LParen => -1,
            _ => 0,
        });
        depth < 0
    });
    if let Some(open) = open {
        corrected.insert(open.saturating_add(1), Token::make_word(&name, Some('"')));
    }
}

fn is_plain(word: &Word, text: &str) -> bool {
    word.quote_style.is_none() && is(word, text)
}

/// Whether a query may begin behind these.
fn begins_query(tokens: &[Token]) -> bool {
    match tokens.last() {
        None | Some(Token::LParen | Token::RParen) => true,
        Some(Token::Word(word)) => matches!(
            word.keyword,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::ALL | Keyword::DISTINCT
        ),
        Some(_) => false,
    }
}

fn ends_with(tokens: &[Token], words: &[&str]) -> bool {
    let last = tokens.iter().rev().zip(words.iter().rev());
    tokens.len() >= words.len()
        && last.into_iter().all(
            |(token, text)| matches!(token, Token::Word(word) if word.quote_style.is_none() && is(word, text)),
        )
}

/// Whether these are `TRIM(LEADING`, say: what follows is `FROM`, without a word on what is trimmed.
fn ends_trim(tokens: &[Token]) -> bool {
    matches!(tokens, [.., Token::Word(trim), Token::LParen, place @ Token::Word(_)]
        if trim.quote_style.is_none() && is(trim, "trim") && !trim_function(place).is_empty())
}

fn trim_function(place: &Token) -> &'static str {
    match place {
        Token::Word(Word { keyword: Keyword::LEADING, quote_style: None, .. }) => "ltrim",
        Token::Word(Word { keyword: Keyword::TRAILING, quote_style: None, .. }) => "rtrim",
        Token::Word(Word { keyword: Keyword::BOTH, quote_style: None, .. }) => "btrim",
        _ => "",
    }
}

fn is(word: &Word, text: &str) -> bool {
    word.value.eq_ignore_ascii_case(text)
}

/// Whether an expression can end here, so that a postfix operator may follow.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_some()
                || matches!(
                    word.keyword,
                    Keyword::NoKeyword | Keyword::NULL | Keyword::TRUE | Keyword::FALSE | Keyword::END
                )
                || !sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword)
                    && !matches!(
                        word.keyword,
                        Keyword::SELECT
                            | Keyword::WHERE
                            | Keyword::AND
                            | Keyword::OR
                            | Keyword::NOT
                            | Keyword::AS
                            | Keyword::BY
                            | Keyword::ON
                            | Keyword::WHEN
                            | Keyword::THEN
                            | Keyword::ELSE
                            | Keyword::CASE
                            | Keyword::DISTINCT
                            | Keyword::ALL
                            | Keyword::HAVING
                            | Keyword::SET
                            | Keyword::IN
                    )
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::RParen
        | Token::RBracket
        | Token::Placeholder(_) => true,
        _ => false,
    }
}
