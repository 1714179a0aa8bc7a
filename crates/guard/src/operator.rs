//! Queries of the operator's own, such as that of a user directory: written in the configuration, with one parameter.
//!
//! They are no statement of a caller and pass no policy: the configuration is the operator's word, like the credentials that it
//! runs with. What a request brings along is the parameter's value, and never a part of the text.

use std::sync::Arc;

use ringfence_policy::endpoint::statement::{Named, NamedStatement};
use ringfence_policy::{ConnectionKind, OpenAccess};

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

impl OperatorQuery {
    /// Reads a text of the configuration, in which `:name` stands for the parameter of that name, the only one. An error says
    /// what is wrong with it.
    pub fn configured(text: &str, name: &str, kind: ConnectionKind) -> Result<Self, String> {
        let refused = |refusal: Refusal| refusal.to_string();
        let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery).map_err(refused)?;
        // As the database reads it: what stands in texts and comments is no parameter.
        let (sql, values) = NamedStatement::read(text, &*dialect.reader(0))?.render(kind);
        if values.is_empty() || values.iter().any(|value| *value != Named::Parameter(name.to_owned())) {
            return Err(format!("the query's one parameter is :{name}, and it has none, or another"));
        }
        let statement = statement::read(&sql, kind).map_err(refused)?;
        if session::kind_of(&statement) != StatementKind::Read {
            return Err(refused(Refusal::MoreThanReading));
        }
        let sealed = sealed::seal(statement, OpenAccess { read_only: true });
        Ok(Self { sealed: Arc::new(sealed), places: values.len() })
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

    fn sql(text: &str, kind: ConnectionKind) -> Result<(String, usize), String> {
        let query = OperatorQuery::configured(text, "user", kind)?.bind_operator("ann");
        assert!(query.read_only() && query.fence().is_none());
        Ok((query.sql().to_owned(), query.parameters().len()))
    }

    #[test]
    fn the_parameter_is_bound_and_never_written() {
        let text = "SELECT a, ':user', b::text FROM t WHERE name = :user OR mail = :user -- :user";
        let bound =
            |mark: &str| format!("SELECT a, ':user', b::text FROM t WHERE name = {mark} OR mail = {mark}");
        let bound_text =
            sql(text, ConnectionKind::Postgresql).map(|(sql, places)| (sql.trim().to_owned(), places));
        assert_eq!(bound_text, Ok((bound("$1"), 1)));
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
