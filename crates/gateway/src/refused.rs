//! What reaches a client when something is not done: a public code, a sentence, nothing else.

use std::borrow::Cow;

/// A public error code. Stable: clients may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`ROWS` says what each means")]
pub enum Code {
    // The caller can mend these.
    AuthenticationRequired,
    KeyUnknown,
    SessionEnded,
    SignInRefused,
    CrossSiteRequest,
    InvalidPrincipalToken,
    TokenInvalid,
    NotPermitted,
    ImpersonationDenied,
    InvalidRequest,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    AlreadyExists,
    InUse,
    Conflict,
    WriteConflict,
    QueryRefused,
    QueryFailed,
    QueryTimedOut,
    QueryCancelled,
    ResultTooLarge,
    TooManyQueries,
    StatementUnreadable,
    StatementNotAdmitted,
    FunctionNotAllowed,
    TypeNotAllowed,
    ModelNotAllowed,
    CubeNotAllowed,
    FieldNotAllowed,
    RelationNotAllowed,
    CursorInvalid,
    IdempotencyKeyReused,
    RelationUnknown,
    ColumnUnknown,
    TenantScopeRequired,
    TenantSuspended,
    WriteDenied,
    WriteDisabled,
    ColumnNotWritable,
    ImmutableField,
    RequiredField,
    ReasonRequired,
    ApprovalRequired,
    RowRefused,
    TooManyRows,
    TooManyFields,
    CostExceeded,
    EndpointUnusable,
    QueryTooBroad,
    BudgetExceeded,
    TenantBusy,
    TenantRateLimited,
    ResultOutdated,
    ConstraintViolated,
    DataInvalid,
    TableConflict,
    MemoryExceeded,
    CatalogNotReady,
    PolicyInvalid,
    CubeInvalid,
    EndpointInvalid,
    PreconditionFailed,
    RateLimited,
    RequestTimeout,
    NotAcceptable,
    UnsupportedMediaType,
    // The owner of the connection can mend these.
    PolicyUnusable,
    AttributeUnavailable,
    RelationSuspended,
    CubeUnusable,
    SourceUnreachable,
    SourceCredentials,
    SourceNotAllowed,
    SourceBusy,
    SourceLost,
    // The operator, or we, can mend these.
    LakeNotBuilt,
    NotImplemented,
    AuditUnavailable,
    StoreUnavailable,
    Overloaded,
    ShuttingDown,
    Internal,
}

/// One code's public face. The one table that every front end reads.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "plain fields")]
pub struct CodeRow {
    pub code: Code,
    /// As clients see it.
    pub name: &'static str,
    /// HTTP status at /v1/.
    pub status: u16,
    /// HTTP status at /api/, whose clients know fewer.
    pub api_status: u16,
    pub sqlstate: &'static str,
    pub title: &'static str,
}

const fn row(
    code: Code,
    name: &'static str,
    status: u16,
    sqlstate: &'static str,
    title: &'static str,
) -> CodeRow {
    // The SDK knows 400 for whatever the caller, or the owner of the connection, can mend.
    let api_status = match status {
        409 | 410 | 412 | 422 | 424 => 400,
        known => known,
    };
    CodeRow { code, name, status, api_status, sqlstate, title }
}

/// Every code.
pub const ROWS: &[CodeRow] = &[
    row(Code::AuthenticationRequired, "AUTHENTICATION_REQUIRED", 401, "28000", "Credentials are missing"),
    row(Code::KeyUnknown, "KEY_UNKNOWN", 401, "28000", "The access key is not valid"),
    row(Code::SessionEnded, "SESSION_ENDED", 401, "28000", "The sign-in session has ended"),
    row(Code::SignInRefused, "SIGN_IN_REFUSED", 401, "28P01", "User name or password is wrong"),
    row(
        Code::CrossSiteRequest,
        "CROSS_SITE_REQUEST",
        403,
        "42501",
        "The request does not come from this site",
    ),
    row(
        Code::InvalidPrincipalToken,
        "INVALID_PRINCIPAL_TOKEN",
        401,
        "28000",
        "The user to act for is not accepted",
    ),
    row(Code::TokenInvalid, "TOKEN_INVALID", 401, "28000", "The bearer token is not accepted"),
    row(Code::NotPermitted, "NOT_PERMITTED", 403, "42501", "Not permitted"),
    row(Code::ImpersonationDenied, "IMPERSONATION_DENIED", 403, "42501", "Impersonation denied"),
    row(Code::InvalidRequest, "INVALID_REQUEST", 400, "22023", "The request is not valid"),
    row(Code::NotFound, "NOT_FOUND", 404, "42704", "Not found"),
    row(Code::MethodNotAllowed, "METHOD_NOT_ALLOWED", 405, "0A000", "Method not allowed"),
    row(Code::BodyTooLarge, "BODY_TOO_LARGE", 413, "54000", "The request body is too large"),
    row(Code::AlreadyExists, "ALREADY_EXISTS", 409, "42710", "Already exists"),
    row(Code::InUse, "IN_USE", 409, "2BP01", "Still in use"),
    row(Code::Conflict, "CONFLICT", 409, "40001", "Changed by someone else"),
    row(Code::WriteConflict, "WRITE_CONFLICT", 409, "40001", "Somebody changed the same rows"),
    row(Code::QueryRefused, "QUERY_REFUSED", 400, "0A000", "The query is refused"),
    row(Code::QueryFailed, "QUERY_FAILED", 422, "42000", "The database refused the query"),
    row(Code::QueryTimedOut, "QUERY_TIMED_OUT", 422, "57014", "The query took too long"),
    row(Code::QueryCancelled, "QUERY_CANCELLED", 409, "57014", "The query was cancelled"),
    row(Code::ResultTooLarge, "RESULT_TOO_LARGE", 422, "54000", "The result is too large"),
    row(Code::TooManyQueries, "TOO_MANY_QUERIES", 429, "53300", "Too many queries at once"),
    row(Code::StatementUnreadable, "STATEMENT_UNREADABLE", 400, "42601", "The query can't be read"),
    row(Code::StatementNotAdmitted, "STATEMENT_NOT_ADMITTED", 400, "0A000", "Not on a guarded connection"),
    row(Code::FunctionNotAllowed, "FUNCTION_NOT_ALLOWED", 400, "0A000", "The function is not allowed"),
    row(Code::TypeNotAllowed, "TYPE_NOT_ALLOWED", 400, "0A000", "The type is not allowed"),
    row(Code::ModelNotAllowed, "MODEL_NOT_ALLOWED", 404, "42P01", "There is no such model for you"),
    row(Code::CubeNotAllowed, "CUBE_NOT_ALLOWED", 404, "42P01", "There is no such cube for you"),
    row(Code::FieldNotAllowed, "FIELD_NOT_ALLOWED", 422, "42703", "There is no such field for you"),
    row(Code::RelationNotAllowed, "RELATION_NOT_ALLOWED", 422, "42703", "There is no such relation for you"),
    row(Code::CursorInvalid, "CURSOR_INVALID", 400, "34000", "The cursor is not of this request"),
    row(
        Code::IdempotencyKeyReused,
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "22023",
        "The idempotency key is another request's",
    ),
    row(Code::RelationUnknown, "RELATION_UNKNOWN", 422, "42P01", "There is no such relation for you"),
    row(Code::ColumnUnknown, "COLUMN_UNKNOWN", 422, "42703", "There is no such column for you"),
    row(Code::TenantScopeRequired, "TENANT_SCOPE_REQUIRED", 403, "42501", "An attribute of yours is missing"),
    row(Code::TenantSuspended, "TENANT_SUSPENDED", 403, "42501", "The tenant is suspended"),
    row(Code::WriteDenied, "WRITE_DENIED", 403, "42501", "The change is not allowed"),
    row(Code::WriteDisabled, "WRITE_DISABLED", 403, "42501", "The model can't be changed like this"),
    row(Code::ColumnNotWritable, "COLUMN_NOT_WRITABLE", 403, "42501", "The column can't be written"),
    row(Code::ImmutableField, "IMMUTABLE_FIELD", 422, "42501", "The field does not change"),
    row(Code::RequiredField, "REQUIRED_FIELD", 422, "23502", "A field must be given"),
    row(Code::ReasonRequired, "REASON_REQUIRED", 422, "22023", "A reason must be given"),
    row(Code::ApprovalRequired, "APPROVAL_REQUIRED", 403, "42501", "The change needs an approval"),
    row(Code::RowRefused, "ROW_REFUSED", 422, "44000", "A row may not be written like this"),
    row(Code::TooManyRows, "TOO_MANY_ROWS", 422, "54000", "The change touches too many rows"),
    row(Code::TooManyFields, "TOO_MANY_FIELDS", 422, "54011", "The query selects too many columns"),
    row(Code::CostExceeded, "COST_EXCEEDED", 422, "54000", "The query would cost too much"),
    row(Code::EndpointUnusable, "ENDPOINT_UNUSABLE", 503, "58000", "The endpoint can't be used now"),
    row(Code::QueryTooBroad, "QUERY_TOO_BROAD", 422, "54000", "The query reads a relation as a whole"),
    row(
        Code::BudgetExceeded,
        "BUDGET_EXCEEDED",
        422,
        "54000",
        "The request asks for more than a budget allows",
    ),
    row(Code::TenantBusy, "TENANT_BUSY", 429, "53300", "The tenant has too many queries at once"),
    row(Code::TenantRateLimited, "TENANT_RATE_LIMITED", 429, "53300", "The tenant has sent too many queries"),
    row(Code::ResultOutdated, "RESULT_OUTDATED", 410, "55000", "The result is of an earlier view"),
    row(Code::ConstraintViolated, "CONSTRAINT_VIOLATED", 422, "23000", "A constraint refuses the change"),
    row(Code::DataInvalid, "DATA_INVALID", 422, "22P04", "The rows can't be taken in"),
    row(Code::TableConflict, "TABLE_CONFLICT", 409, "42809", "The table is not one that takes these rows"),
    row(Code::MemoryExceeded, "MEMORY_EXCEEDED", 422, "53200", "The query needs too much memory"),
    row(Code::CatalogNotReady, "CATALOG_NOT_READY", 409, "57P03", "The connection is not indexed yet"),
    row(Code::PolicyInvalid, "POLICY_INVALID", 422, "22023", "The policy can't be used"),
    row(Code::CubeInvalid, "CUBE_INVALID", 422, "22023", "The cube can't be used"),
    row(Code::EndpointInvalid, "ENDPOINT_INVALID", 422, "22023", "The endpoint can't be used"),
    row(Code::PreconditionFailed, "PRECONDITION_FAILED", 412, "40001", "Not the version that was meant"),
    row(Code::RateLimited, "RATE_LIMITED", 429, "53300", "Too many requests"),
    row(Code::RequestTimeout, "REQUEST_TIMEOUT", 408, "57014", "The request took too long to arrive"),
    row(Code::NotAcceptable, "NOT_ACCEPTABLE", 406, "0A000", "No such representation"),
    row(Code::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", 415, "0A000", "The body is not JSON"),
    row(Code::PolicyUnusable, "POLICY_UNUSABLE", 424, "55000", "The connection's policy can't be used"),
    row(
        Code::AttributeUnavailable,
        "ATTRIBUTE_UNAVAILABLE",
        424,
        "55000",
        "An attribute can't be read from the connection",
    ),
    row(
        Code::RelationSuspended,
        "RELATION_SUSPENDED",
        424,
        "55000",
        "The database changed under the relation's policy",
    ),
    row(Code::CubeUnusable, "CUBE_UNUSABLE", 424, "55000", "The database changed under the cube"),
    row(Code::SourceUnreachable, "SOURCE_UNREACHABLE", 424, "08001", "The database can't be reached"),
    row(Code::SourceCredentials, "SOURCE_CREDENTIALS", 424, "28P01", "The database refused the credentials"),
    row(Code::SourceNotAllowed, "SOURCE_NOT_ALLOWED", 400, "42501", "The file may not be opened"),
    row(Code::SourceBusy, "SOURCE_BUSY", 429, "53300", "The connection is busy"),
    row(Code::SourceLost, "SOURCE_LOST", 424, "08006", "The connection to the database was lost"),
    row(Code::LakeNotBuilt, "LAKE_NOT_BUILT", 501, "0A000", "This build has no lake"),
    row(Code::NotImplemented, "NOT_IMPLEMENTED", 501, "0A000", "Not implemented"),
    row(Code::AuditUnavailable, "AUDIT_UNAVAILABLE", 503, "58000", "The audit log can't be written"),
    row(Code::StoreUnavailable, "STORE_UNAVAILABLE", 503, "58000", "The control store is unavailable"),
    row(Code::Overloaded, "OVERLOADED", 503, "53300", "The server is busy"),
    row(Code::ShuttingDown, "SHUTTING_DOWN", 503, "57P01", "The server is shutting down"),
    row(Code::Internal, "INTERNAL", 500, "XX000", "Internal error"),
];

impl Code {
    /// The code's public face.
    pub fn row(self) -> &'static CodeRow {
        // INVARIANT: every variant has a row, in the order of declaration; the test `rows_stand_in_order` holds it.
        &ROWS[self as usize]
    }
}

/// Why a call was not done. The message is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[expect(missing_docs, reason = "plain fields")]
pub struct Refused {
    pub code: Code,
    pub message: Cow<'static, str>,
}

impl Code {
    /// Whether the guard says so of a statement: what compiling finds, not a reason not to compile.
    pub fn is_of_guard(self) -> bool {
        matches!(
            self,
            Self::QueryRefused
                | Self::StatementUnreadable
                | Self::StatementNotAdmitted
                | Self::FunctionNotAllowed
                | Self::TypeNotAllowed
                | Self::RelationUnknown
                | Self::ColumnUnknown
                | Self::TenantScopeRequired
                | Self::WriteDenied
                | Self::ColumnNotWritable
                | Self::RequiredField
                | Self::ReasonRequired
                | Self::QueryTooBroad
                | Self::ApprovalRequired
                | Self::RelationSuspended
        )
    }
}

impl Refused {
    /// A refusal with that code and sentence.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The one answer for everything that does not exist or is not the caller's: `what` is the noun.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(Code::NotFound, format!("{what} not found"))
    }

    /// Bad input.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// The caller lacks a permission.
    pub fn lacks(permission: ringfence_policy::Permission) -> Self {
        Self::new(Code::NotPermitted, format!("this needs the permission {permission}"))
    }

    /// Something that only we can mend: the cause goes to the log, never to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "internal error");
        Self::new(Code::Internal, "internal error: tell the operator the trace id of this answer")
    }
}

impl From<ringfence_store::StoreError> for Refused {
    fn from(error: ringfence_store::StoreError) -> Self {
        use ringfence_store::StoreError as E;
        match error {
            E::Duplicate { what } => Self::new(Code::AlreadyExists, format!("{what} already exists")),
            E::Missing { what } => Self::not_found(what),
            E::InUse { what, dependents } => {
                Self::new(Code::InUse, format!("{what} still has {dependents}: remove them first"))
            }
            E::Conflict { what } => {
                Self::new(Code::Conflict, format!("{what} was changed by someone else meanwhile: try again"))
            }
            E::Unavailable(cause) => {
                tracing::error!(error = %cause, "control store unavailable");
                Self::new(Code::StoreUnavailable, "the control store is unavailable: try again later")
            }
            other @ (E::NewerSchema { .. } | E::WrongSealingKey | E::SealingKey(_) | E::Corrupt(_)) => {
                Self::internal(&other)
            }
        }
    }
}

impl From<ringfence_policy::NameInvalid> for Refused {
    fn from(invalid: ringfence_policy::NameInvalid) -> Self {
        Self::invalid(invalid.to_string())
    }
}

impl From<ringfence_guard::Refusal> for Refused {
    fn from(refusal: ringfence_guard::Refusal) -> Self {
        use ringfence_guard::Refusal as R;
        let code = match &refusal {
            R::Empty
            | R::TooLong { .. }
            | R::NulByte
            | R::SeveralStatements
            | R::TransactionControl { .. }
            | R::Unsupported { .. }
            | R::NothingToQuery
            | R::MoreThanReading
            | R::LargeObjectOnReadOnly => Code::QueryRefused,
            R::Unreadable { .. } => Code::StatementUnreadable,
            R::TooDeep | R::NotAdmitted { .. } | R::NotVerified => Code::StatementNotAdmitted,
            R::FunctionNotAllowed { .. } => Code::FunctionNotAllowed,
            R::TypeNotAllowed { .. } => Code::TypeNotAllowed,
            R::UnknownRelation { .. } => Code::RelationUnknown,
            R::UnknownColumn { .. } => Code::ColumnUnknown,
            R::ScopeRequired { .. } => Code::TenantScopeRequired,
            R::Suspended { .. } => Code::RelationSuspended,
            R::WriteDenied { .. } | R::NoTransactions { .. } => Code::WriteDenied,
            R::ApprovalRequired { .. } => Code::ApprovalRequired,
            R::ColumnNotWritable { .. } => Code::ColumnNotWritable,
            R::FieldRequired { .. } => Code::RequiredField,
            R::ParameterCount { .. } => Code::InvalidRequest,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<ringfence_engine::SourceError> for Refused {
    fn from(error: ringfence_engine::SourceError) -> Self {
        use ringfence_engine::SourceError as E;
        let code = match &error {
            E::Statement { .. } => Code::QueryFailed,
            E::RowRefused => Code::RowRefused,
            E::Conflict => Code::WriteConflict,
            E::TooManyRows { .. } => Code::TooManyRows,
            E::TooManyColumns { .. } => Code::TooManyFields,
            E::Constraint { .. } => Code::ConstraintViolated,
            E::Option(_) => Code::InvalidRequest,
            E::Unreachable(_) => Code::SourceUnreachable,
            E::Credentials(_) => Code::SourceCredentials,
            E::FileNotAllowed(_) => Code::SourceNotAllowed,
            E::TimedOut { .. } => Code::QueryTimedOut,
            E::Cancelled => Code::QueryCancelled,
            E::TooLarge { .. } | E::TooWide { .. } => Code::ResultTooLarge,
            E::Busy => Code::SourceBusy,
            E::Lost => Code::SourceLost,
            E::NotBuilt => Code::LakeNotBuilt,
            E::Data(_) => Code::DataInvalid,
            E::NoTable(_) => Code::NotFound,
            E::TableConflict(_) => Code::TableConflict,
            E::OutOfMemory(_) => Code::MemoryExceeded,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_order() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.code as usize, index, "{}", row.name);
        }
        assert_eq!(Code::Internal as usize, ROWS.len() - 1, "Internal stands last");
    }
}
