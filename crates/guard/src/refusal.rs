//! Why a statement does not run.

/// A refusal. The text says what was refused and what to do instead, never what exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing but white space and comments.
    #[error("the query is empty: send one SQL statement")]
    Empty,
    /// Longer than [`crate::MAX_STATEMENT_BYTES`].
    #[error("the query is too long: at most {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A NUL byte, which no database takes in SQL text.
    #[error("the query holds a NUL byte: remove it")]
    NulByte,
    /// More than one statement.
    #[error("only one statement per call is allowed: send each statement in a call of its own")]
    SeveralStatements,
    /// BEGIN, COMMIT and their kind.
    #[error(
        "{keyword} is not allowed: each call is a transaction of its own and is committed before the answer"
    )]
    TransactionControl {
        /// The statement's first word.
        keyword: String,
    },
    /// COPY to or from the client connection, and others that have no place in a request and an answer.
    #[error("{keyword} is not supported through this interface: use SELECT or INSERT")]
    Unsupported {
        /// The statement's first word.
        keyword: String,
    },
    /// The connection's kind has nothing to run on.
    #[error("this connection holds a pushed catalog only: it can't run queries")]
    NothingToQuery,
    /// What `MySQL` and `MariaDB` would do in a read-only transaction too, or after ending it.
    #[error("only SELECT, SHOW, DESCRIBE and EXPLAIN are allowed on a read-only connection")]
    MoreThanReading,
    /// PostgreSQL before version 16 writes large objects in read-only transactions too.
    #[error("large-object functions are not allowed on a read-only connection")]
    LargeObjectOnReadOnly,
}
