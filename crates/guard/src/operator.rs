//! Queries of the operator's own, such as that of a user directory: written in the configuration, with one parameter.
//!
//! They are no statement of a caller and pass no policy: the configuration is the operator's word, like the credentials that it
//! runs with. What a request brings along is the parameter's value, and never a part of the text.

use std::sync::Arc;

use ringfence_policy::{ConnectionKind, OpenAccess};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::dialect::Dialect;
use crate::refusal::Refusal;
use crate::sealed::{self, GuardedQuery, Parameter, Sealed, StatementKind};
use crate::{session, statement};

/// A query that reads, made from the configuration alone.
// INVARIANT: the text comes from the configuration, never from a request. Held by the tidy test
// `operator_queries_are_configured`.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorQuery {
    sealed: Arc<Sealed>,
    /// How often the parameter stands in it, where each place takes a value of its own.
    places: usize,
}

/// Why a text is no such query.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OperatorQueryInvalid {
    /// It is none of the statements that may run.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It does not ask for the parameter.
    #[error("the query does not contain its parameter, :{0}")]
    NoParameter(String),
    /// It asks for something that nobody gives.
    #[error("the query contains a parameter other than :{0}")]
    OtherParameter(String),
}

impl OperatorQuery {
    /// Reads a text of the configuration, in which `:name` stands for the parameter of that name.
    pub fn configured(text: &str, name: &str, kind: ConnectionKind) -> Result<Self, OperatorQueryInvalid> {
        let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery)?;
        // As the database reads it: what stands in texts and comments is no parameter.
        let read = dialect.reader(0);
        let tokens = Tokenizer::new(&*read, text).with_unescape(false).tokenize();
        let tokens = tokens.map_err(|_| Refusal::NotVerified)?;
        let other = || OperatorQueryInvalid::OtherParameter(name.to_owned());
        let (mut sql, mut places) = (String::new(), 0_usize);
        let mut tokens = tokens.iter();
        while let Some(token) = tokens.next() {
            let named = match token {
                Token::Colon => match tokens.next() {
                    Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.as_str()),
                    _ => return Err(other()),
                },
                Token::Placeholder(placeholder) => Some(placeholder.strip_prefix(':').ok_or_else(other)?),
                _ => None,
            };
            match named {
                Some(named) if named == name => {
                    places = places.saturating_add(1);
                    sql.push_str(match kind {
                        ConnectionKind::Postgresql => "$1",
                        ConnectionKind::Sqlite => "?1",
                        ConnectionKind::Mysql | ConnectionKind::Push => "?",
                    });
                }
                Some(_) => return Err(other()),
                None => sql.push_str(&token.to_string()),
            }
        }
        if places == 0 {
            return Err(OperatorQueryInvalid::NoParameter(name.to_owned()));
        }
        let statement = statement::read(&sql, kind)?;
        if session::kind_of(&statement) != StatementKind::Read {
            return Err(Refusal::MoreThanReading.into());
        }
        let sealed = sealed::seal(statement, OpenAccess { read_only: true });
        let places = if kind == ConnectionKind::Mysql { places } else { 1 };
        Ok(Self { sealed: Arc::new(sealed), places })
    }

    /// The query for one value of its parameter.
    pub fn bind_operator(&self, value: &str) -> GuardedQuery {
        let value = Parameter::Text(value.to_owned());
        GuardedQuery::of(&self.sealed, vec![value; self.places])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str, kind: ConnectionKind) -> Result<(String, usize), OperatorQueryInvalid> {
        let query = OperatorQuery::configured(text, "user", kind)?.bind_operator("ann");
        assert!(query.read_only() && query.fence().is_none());
        Ok((query.sql().to_owned(), query.parameters().len()))
    }

    #[test]
    fn the_parameter_is_bound_and_never_written() {
        let text = "SELECT a, ':user', b::text FROM t WHERE name = :user OR mail = :user -- :user";
        let bound = |mark: &str| {
            format!("SELECT a, ':user', b::text FROM t WHERE name = {mark} OR mail = {mark} -- :user")
        };
        assert_eq!(sql(text, ConnectionKind::Postgresql), Ok((bound("$1"), 1)));
        let text = "SELECT a FROM t WHERE name = :user OR mail = :user";
        assert_eq!(
            sql(text, ConnectionKind::Sqlite),
            Ok(("SELECT a FROM t WHERE name = ?1 OR mail = ?1".to_owned(), 1))
        );
        assert_eq!(
            sql(text, ConnectionKind::Mysql),
            Ok(("SELECT a FROM t WHERE name = ? OR mail = ?".to_owned(), 2))
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for kind in [ConnectionKind::Postgresql, ConnectionKind::Sqlite, ConnectionKind::Mysql] {
            for text in [
                "", "SELECT 1", "SELECT ':user'", "SELECT :other", "SELECT :user, :other", "SELECT : user",
                "SELECT ?", "DELETE FROM t WHERE a = :user", "UPDATE t SET a = :user",
                "SELECT :user; SELECT 1", "SELECT ':user", "INSERT INTO t VALUES (:user)",
                "COMMIT; SELECT :user", "DROP TABLE t",
            ] {
                assert!(sql(text, kind).is_err(), "{kind:?}: {text}");
            }
        }
    }
}
