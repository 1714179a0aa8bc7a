//! A second look at what was printed, by other means than the walk that printed it.
//!
//! The printed text must be read as one statement again, and every qualified name in it that could be a relation must be
//! one that the walk put behind a fence (or whose rows it narrowed). A name without a schema can be no relation: sessions
//! look names up in `pg_catalog` alone, and SQLite's authorizer knows the list.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{LazyLock, Mutex, PoisonError};

use ringfence_policy::{RelationName, View};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::admit;
use crate::dialect::Dialect;
use crate::fence::RAW;
use crate::refusal::Refusal;
use crate::rewrite::Written;

pub(crate) fn verify(written: &Written, view: &View, dialect: &Dialect) -> Result<(), Refusal> {
    let tokens = Tokenizer::new(&*dialect.printed(), &written.sql).tokenize();
    let tokens = tokens.map_err(|_| Refusal::NotVerified)?;
    let tokens: Vec<Token> =
        tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    for window in tokens.windows(4) {
        let [before, Token::Word(schema), Token::Period, Token::Word(name)] = window else { continue };
        // A query may be called like a schema; then it has columns, where no relation can stand.
        if written.aliases.contains(&schema.value) && !begins_relation(before) {
            continue;
        }
        if is_schema(&schema.value, written, view) && !is_known(schema, name, written, view) {
            return Err(Refusal::NotVerified);
        }
    }
    let fences = fences(&tokens);
    for (start, end) in &fences {
        read_fence(tokens.get(*start..=*end).ok_or(Refusal::NotVerified)?, dialect)?;
    }
    admit::parse(outline(tokens, &fences), dialect).map_err(|_| Refusal::NotVerified).map(drop)
}

/// Where fences stand, with their parentheses: they are known by the name of the raw relation, which no caller can write.
/// Fences are read on their own, because those of one relation are mostly the same.
fn fences(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut fences = Vec::new();
    // Where parentheses were opened, and whether a fence is in them.
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut last = &Token::EOF;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::LParen => open.push((index, false)),
            Token::RParen => {
                if let Some((start, true)) = open.pop() {
                    fences.push((start, index));
                }
            }
            Token::Word(word) if word.value == RAW && is_as(last) => {
                if let Some((_, is_fence)) = open.last_mut() {
                    *is_fence = true;
                }
            }
            _ => {}
        }
        last = token;
    }
    // One in another is read with it.
    let inner =
        |(start, end): (usize, usize)| move |(outer, other): &(usize, usize)| *outer < start && end < *other;
    let outermost = fences.iter().filter(|fence| !fences.iter().any(inner(**fence)));
    outermost.copied().collect()
}

/// The statement with a stub for each fence.
fn outline(tokens: Vec<Token>, fences: &[(usize, usize)]) -> Vec<Token> {
    let mut outline = Vec::with_capacity(tokens.len());
    let mut fences = fences.iter().peekable();
    for (index, token) in tokens.into_iter().enumerate() {
        match fences.peek() {
            Some((start, _)) if index < *start => outline.push(token),
            Some((start, end)) => {
                if index == *start {
                    outline.extend([Token::LParen, Token::make_keyword("SELECT"), one(), Token::RParen]);
                }
                if index == *end {
                    fences.next();
                }
            }
            None => outline.push(token),
        }
    }
    outline
}

/// Fences that were read, by a hash whose key nobody knows.
static READ: LazyLock<(RandomState, Mutex<HashSet<u64>>)> = LazyLock::new(Default::default);
/// Then all are forgotten.
const MOST_READ: usize = 16 * 1024;

fn read_fence(fence: &[Token], dialect: &Dialect) -> Result<(), Refusal> {
    let (hasher, read) = &*READ;
    let hash = hasher.hash_one((fence, dialect.quote));
    if read.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash) {
        return Ok(());
    }
    let mut query = vec![Token::make_keyword("SELECT"), one(), Token::make_keyword("FROM")];
    query.extend_from_slice(fence);
    query.extend([Token::make_keyword("AS"), Token::make_word("fence", Some(dialect.quote))]);
    admit::parse(query, dialect).map_err(|_| Refusal::NotVerified)?;
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    if read.len() >= MOST_READ {
        read.clear();
    }
    read.insert(hash);
    Ok(())
}

fn is_as(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.keyword == Keyword::AS)
}

fn one() -> Token {
    Token::Number("1".to_owned(), false)
}

/// Whether relations are in a schema of that name. Looked up, so that a large catalog costs no more.
fn is_schema(name: &str, written: &Written, view: &View) -> bool {
    let first = || RelationName::new(name, "")..;
    let of_schema = |relation: Option<&RelationName>| relation.is_some_and(|found| found.schema == name);
    view.search.iter().any(|schema| schema == name)
        || written.relations.iter().any(|relation| relation.schema == name)
        || of_schema(view.relations.range(first()).next().map(|(relation, _)| relation))
        || of_schema(view.unresolved.range(first()).next().map(|(relation, _)| relation))
}

/// Whether a relation may follow. All that the guard prints is in quotes but the words of the grammar.
fn begins_relation(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none()
        && ["FROM", "JOIN", "INTO", "UPDATE", "USING", "ONLY"].contains(&word.value.as_str()))
}

fn is_known(schema: &Word, name: &Word, written: &Written, view: &View) -> bool {
    let pair = |known: &(String, String)| known.0 == schema.value && known.1 == name.value;
    written.relations.iter().any(|relation| relation.schema == schema.value && relation.name == name.value)
        || view.types.iter().any(pair)
        || view.functions.iter().any(pair)
}

#[cfg(test)]
mod tests {
    use ringfence_policy::ConnectionKind;

    use super::*;
    use crate::rewrite::rewrite;

    /// What the second look says of a text, when the walk says that it fenced `public.orders`.
    fn look_at(sql: &str) -> Result<(), Refusal> {
        let dialect = Dialect::of(ConnectionKind::Postgresql).expect("a dialect");
        let view = View { search: vec!["public".to_owned()], ..View::default() };
        let read = admit::read("SELECT 1", dialect, None).expect("a statement");
        let mut written = rewrite(&read, &view, dialect, &[]).expect("nothing to fence");
        sql.clone_into(&mut written.sql);
        written.relations = vec![RelationName::new("public", "orders")];
        verify(&written, &view, dialect)
    }

    #[test]
    fn a_walk_that_forgot_something_is_found_out() {
        assert_eq!(look_at(r#"SELECT "id" FROM "public"."orders""#), Ok(()));
        for sql in [
            r#"SELECT "id" FROM "public"."users""#,
            r#"SELECT "id" FROM "public"."orders" JOIN "public"."users" USING ("id")"#,
            r#"SELECT (SELECT count(*) FROM "public"."users")"#,
            r#"SELECT "public"."secret_of"(1)"#,
            r#"UPDATE ONLY "public"."users" SET "a" = 1"#,
        ] {
            assert_eq!(look_at(sql), Err(Refusal::NotVerified), "{sql}");
        }
    }

    #[test]
    fn what_is_no_statement_is_found_out() {
        for sql in ["SELECT 'a' b'", "SELECT 1; SELECT 2", "SELECT (1", "SELECT 1 1", ""] {
            assert_eq!(look_at(sql), Err(Refusal::NotVerified), "{sql}");
        }
    }

    fn outlined(sql: &str) -> Result<String, Refusal> {
        let dialect = Dialect::of(ConnectionKind::Postgresql).unwrap();
        let tokens = Tokenizer::new(&*dialect.printed(), sql).tokenize().unwrap();
        let tokens: Vec<Token> =
            tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        let found = fences(&tokens);
        for (start, end) in &found {
            read_fence(&tokens[*start..=*end], dialect)?;
        }
        let outline = outline(tokens, &found);
        Ok(outline.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn fences_are_read_on_their_own() {
        let fence = r#"(SELECT "_rf_r"."a" FROM "s"."t" AS "_rf_r" WHERE ("_rf_r"."b" IN (1, 2)))"#;
        let sql = format!(r#"SELECT "o"."a" FROM {fence} AS "o", (SELECT 1 FROM {fence} AS "p") AS "q""#);
        let stub =
            r#"SELECT "o" . "a" FROM ( SELECT 1 ) AS "o" , ( SELECT 1 FROM ( SELECT 1 ) AS "p" ) AS "q""#;
        // The second time it is known.
        assert_eq!(outlined(&sql), Ok(stub.to_owned()));
        assert_eq!(outlined(&sql), Ok(stub.to_owned()));
        for broken in [
            r#"SELECT 1 FROM (SELECT "_rf_r"."a" FROM "s"."t" AS "_rf_r" WHERE) AS "o""#,
            r#"SELECT 1 FROM (SELECT "a" "b" "c" FROM "s"."t" AS "_rf_r") AS "o""#,
        ] {
            assert_eq!(outlined(broken), Err(Refusal::NotVerified), "{broken}");
            assert_eq!(outlined(broken), Err(Refusal::NotVerified), "{broken}");
        }
    }

    #[test]
    fn a_query_may_be_called_like_a_schema() {
        let dialect = Dialect::of(ConnectionKind::Postgresql).expect("a dialect");
        let view = View { search: vec!["public".to_owned()], ..View::default() };
        let read = admit::read("WITH public(id) AS (SELECT 1) SELECT public.id FROM public", dialect, None);
        let mut written =
            rewrite(&read.expect("a statement"), &view, dialect, &[]).expect("nothing to fence");
        assert_eq!(verify(&written, &view, dialect), Ok(()));
        r#"WITH "public" AS (SELECT 1) SELECT 1 FROM "public"."users""#.clone_into(&mut written.sql);
        assert_eq!(verify(&written, &view, dialect), Err(Refusal::NotVerified));
    }
}
