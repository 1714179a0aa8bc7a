//! A second look at what was printed, by other means than the walk that printed it.
//!
//! The printed text must be read as one statement again, and every qualified name in it that could be a relation must be
//! one that the walk put behind a fence (or whose rows it narrowed). A name without a schema can be no relation: sessions
//! look names up in `pg_catalog` alone, and SQLite's authorizer knows the list.

use std::collections::BTreeSet;

use ringfence_policy::View;
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
    admit::parse(tokens.clone(), dialect).map_err(|_| Refusal::NotVerified)?;
    let schemas: BTreeSet<&str> = written
        .relations
        .iter()
        .chain(view.relations.keys())
        .chain(view.unresolved.keys())
        .map(|relation| relation.schema.as_str())
        .chain(view.search.iter().map(String::as_str))
        .collect();
    for window in tokens.windows(3) {
        let [Token::Word(schema), Token::Period, Token::Word(name)] = window else { continue };
        if schemas.contains(schema.value.as_str()) && !is_known(schema, name, written, view) {
            return Err(Refusal::NotVerified);
        }
    }
    Ok(())
}

fn is_known(schema: &Word, name: &Word, written: &Written, view: &View) -> bool {
    let pair = |known: &(String, String)| known.0 == schema.value && known.1 == name.value;
    written.relations.iter().any(|relation| relation.schema == schema.value && relation.name == name.value)
        || view.types.iter().any(pair)
        || view.functions.iter().any(pair)
}
