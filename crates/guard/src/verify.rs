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
    let tokens = Tokenizer::new(dialect.printed(), &written.sql).tokenize();
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
    for window in tokens.windows(4) {
        let [before, Token::Word(schema), Token::Period, Token::Word(name)] = window else { continue };
        // A query may be called like a schema; then it has columns, where no relation can stand.
        if written.aliases.contains(&schema.value) && !begins_relation(before) {
            continue;
        }
        if schemas.contains(schema.value.as_str()) && !is_known(schema, name, written, view) {
            return Err(Refusal::NotVerified);
        }
    }
    Ok(())
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
    use std::sync::Arc;

    use ringfence_policy::{ConnectionKind, Entitlement, Expression, RelationName, WriteRules};

    use super::*;

    #[test]
    fn what_no_fence_was_written_for_is_found() {
        let dialect = Dialect::of(ConnectionKind::Postgresql).expect("a dialect");
        let relation = RelationName::new("public", "users");
        let entitlement = Entitlement {
            relation: relation.clone(),
            columns: Vec::new(),
            hidden: Vec::new(),
            rows: Expression::truth(true),
            nullable: Vec::new(),
            key: Vec::new(),
            is_table: true,
            references: Vec::new(),
            writes: WriteRules::default(),
            bypass: None,
        };
        let view = View {
            relations: [(relation, Arc::new(entitlement))].into(),
            search: vec!["public".to_owned()],
            ..View::default()
        };
        let read = admit::read("WITH public(id) AS (SELECT 1) SELECT public.id FROM public", dialect);
        let written = crate::rewrite::rewrite(&read.expect("read"), &view, dialect).expect("written");
        assert_eq!(verify(&written, &view, dialect), Ok(()));
        for sql in [
            "SELECT * FROM \"public\".\"secrets\"",
            "SELECT 1 FROM x JOIN \"public\".\"users\" ON TRUE",
            "UPDATE ONLY \"public\".\"users\" SET a = 1",
            "SELECT 1; SELECT 2",
            "SELECT (",
        ] {
            let written = Written { sql: sql.to_owned(), ..written.clone() };
            assert_eq!(verify(&written, &view, dialect), Err(Refusal::NotVerified), "{sql}");
        }
    }
}
