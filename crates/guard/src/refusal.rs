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
    /// The parser can't read it.
    #[error("the query can't be read: {message}")]
    Unreadable {
        /// What the parser says, with the place.
        message: String,
    },
    /// More nesting than anybody writes.
    #[error("the query is nested too deeply: simplify it")]
    TooDeep,
    /// Something that is not on the list of what guarded connections take.
    #[error("not supported on a guarded connection: {what}")]
    NotAdmitted {
        /// In words.
        what: String,
    },
    /// A function that is not on the list.
    #[error("function {name} is not allowed on a guarded connection")]
    FunctionNotAllowed {
        /// As the statement calls it.
        name: String,
    },
    /// A type that is not on the list.
    #[error("type {name} is not allowed on a guarded connection")]
    TypeNotAllowed {
        /// As the statement calls it.
        name: String,
    },
    /// No such relation, or a hidden one: one answer.
    #[error("relation \"{name}\" does not exist")]
    UnknownRelation {
        /// As the statement calls it.
        name: String,
    },
    /// No such column, or a hidden one: one answer.
    #[error("column \"{name}\" does not exist")]
    UnknownColumn {
        /// As the statement calls it.
        name: String,
    },
    /// The policy needs an attribute that the principal lacks.
    #[error(
        "the policy on \"{relation}\" needs {attribute}, which is not set for you: ask your administrator"
    )]
    ScopeRequired {
        /// The relation as the statement calls it.
        relation: String,
        /// Such as `principal.attributes.region`.
        attribute: String,
    },
    /// The database changed, so that what the policy says of the relation can't be held any more.
    #[error(
        "access to \"{relation}\" is suspended: the database changed since its policy was written: tell your administrator"
    )]
    Suspended {
        /// The relation as the statement calls it.
        relation: String,
    },
    /// The policy does not let the principal change the relation in this way.
    #[error("{action} on \"{relation}\" is not allowed for you")]
    WriteDenied {
        /// INSERT, UPDATE or DELETE.
        action: &'static str,
        /// The relation as stored.
        relation: String,
    },
    /// The change waits for somebody's approval, which plain SQL can't ask for.
    #[error("{action} on \"{relation}\" needs an approval: use the models API")]
    ApprovalRequired {
        /// INSERT, UPDATE or DELETE.
        action: &'static str,
        /// The relation as stored.
        relation: String,
    },
    /// A column that may not be written: it is masked, set by the policy, or can't change.
    #[error("column \"{column}\" can't be written by you")]
    ColumnNotWritable {
        /// As the statement calls it.
        column: String,
    },
    /// A column that the policy wants to be given.
    #[error("column \"{column}\" must be given")]
    FieldRequired {
        /// As stored.
        column: String,
    },
    /// The statement has another number of parameters than there are values.
    #[error("the query has {expected} parameters, and {given} values were given")]
    ParameterCount {
        /// The highest placeholder.
        expected: usize,
        /// Values of the call.
        given: usize,
    },
    /// What was printed does not read back as it was meant: our mistake, and nothing ran.
    #[error("the query can't be guarded safely: write it in another way")]
    NotVerified,
}
