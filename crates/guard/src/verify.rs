//! A second look at what was printed, by other means than the walk that printed it.
//!
//! The printed text must be read as one statement again, and every qualified name in it that could be a relation must be
//! one that the walk put behind a fence (or whose rows it narrowed). A name without a schema can be no relation: sessions
//! look names up in `pg_catalog` alone, and SQLite's authorizer knows the list.

use ringfence_policy::{RelationName, View};
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::admit;
use crate::dialect::Dialect;
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
    admit::parse(tokens, dialect).map_err(|_| Refusal::NotVerified).map(drop)
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
    use ringfence_policy::{ConnectionKind, RelationName};

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

    #[test]
    fn a_query_may_be_called_like_a_schema() {
        let dialect = Dialect::of(ConnectionKind::Postgresql).expect("a dialect");
        let view = View { search: vec!["public".to_owned()], ..View::default() };
        let read = admit::read("WITH public(id) AS (SELECT 1) SELECT public.id FROM public", dialect, None);
        let mut written = rewrite(&read.expect("a statement"), &view, dialect, &[]).expect("nothing to fence");
        assert_eq!(verify(&written, &view, dialect), Ok(()));
        r#"WITH "public" AS (SELECT 1) SELECT 1 FROM "public"."users""#.clone_into(&mut written.sql);
        assert_eq!(verify(&written, &view, dialect), Err(Refusal::NotVerified));
    }
}
