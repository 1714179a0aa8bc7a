//! Which refusals an operation can answer with: named here once, described in the document from the code table.

use std::collections::BTreeMap;

use ringfence_gateway::Code;
use serde_json::json;
use utoipa::IntoResponses;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, Object, Ref, RefOr, Response, ResponseBuilder, Type};

use crate::http::problem::{self, Problem};

/// What any call may be refused with.
const ANY_CALL: [Code; 18] = [
    Code::InvalidRequest,
    Code::AuthenticationRequired,
    Code::KeyUnknown,
    Code::SessionEnded,
    Code::SignInRefused,
    Code::CrossSiteRequest,
    Code::TokenInvalid,
    Code::InvalidPrincipalToken,
    Code::NotPermitted,
    Code::ImpersonationDenied,
    Code::TenantSuspended,
    Code::RequestTimeout,
    Code::RateLimited,
    Code::AuditUnavailable,
    Code::StoreUnavailable,
    Code::Overloaded,
    Code::ShuttingDown,
    Code::Internal,
];

/// Makes a marker for `responses(...)` out of a list of codes that come on top of [`ANY_CALL`].
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = [$($code:ident),*];)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                by_status(&[$(Code::$code),*])
            }
        }
    )*};
}

refusals! {
    /// Nothing is named and nothing is sent.
    Asking = [];
    /// One thing is named.
    Naming = [NotFound];
    /// The audit log is read.
    ReadingAudit = [NotAcceptable];
    /// Something is made from a body.
    Making = [NotFound, BodyTooLarge, UnsupportedMediaType, AlreadyExists];
    /// One thing is named and changed by a body.
    Changing = [NotFound, BodyTooLarge, UnsupportedMediaType, Conflict];
    /// One thing is named and removed.
    Removing = [NotFound, InUse, Conflict];
    /// A connection is made or changed, and perhaps tried.
    Connecting = [
        NotFound, BodyTooLarge, UnsupportedMediaType, AlreadyExists, Conflict, SourceUnreachable, SourceCredentials,
        SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// Rows are taken into a table.
    Loading = [
        NotFound, BodyTooLarge, UnsupportedMediaType, DataInvalid, TableConflict, WriteConflict, Conflict, MemoryExceeded,
        PolicyUnusable, SourceUnreachable, SourceNotAllowed, SourceBusy, SourceLost, LakeNotBuilt
    ];
    /// A table is removed.
    Unloading = [NotFound, Conflict, PolicyUnusable, SourceUnreachable, SourceNotAllowed, SourceBusy, SourceLost, LakeNotBuilt];
    /// A ticket is decided.
    Deciding = [NotFound, BodyTooLarge, UnsupportedMediaType, Conflict];
    /// A ticket is taken back.
    Withdrawing = [NotFound, Conflict];
    /// A policy is read.
    Governing = [NotFound, PolicyUnusable, SourceNotAllowed];
    /// A policy is put.
    Legislating = [
        NotFound, BodyTooLarge, UnsupportedMediaType, PolicyInvalid, PreconditionFailed, Conflict, SourceNotAllowed
    ];
    /// A policy is removed.
    Repealing = [NotFound, PreconditionFailed, Conflict, PolicyUnusable, SourceNotAllowed];
    /// A document is tried on the data.
    Trying = [
        NotFound, BodyTooLarge, UnsupportedMediaType, PolicyInvalid, CatalogNotReady, PolicyUnusable, TooManyQueries,
        SourceNotAllowed
    ];
    /// A statement is compiled.
    Compiling = [
        NotFound, BodyTooLarge, UnsupportedMediaType, QueryRefused, CatalogNotReady, PolicyUnusable,
        AttributeUnavailable, QueryFailed, QueryTimedOut, TooManyQueries, SourceUnreachable, SourceCredentials, SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// A statement is explained.
    Explaining = [
        NotFound, BodyTooLarge, UnsupportedMediaType, QueryRefused, StatementUnreadable, StatementNotAdmitted, FunctionNotAllowed,
        TypeNotAllowed, RelationUnknown, ColumnUnknown, TenantScopeRequired, WriteDenied, ColumnNotWritable, RequiredField,
        ReasonRequired, ApprovalRequired, QueryTooBroad, CatalogNotReady, PolicyUnusable, RelationSuspended,
        AttributeUnavailable, QueryFailed, QueryTimedOut, QueryCancelled, TooManyQueries, SourceUnreachable, SourceCredentials, SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// A row is explained.
    Inspecting = [
        NotFound, BodyTooLarge, UnsupportedMediaType, TenantScopeRequired, CatalogNotReady, PolicyUnusable, AttributeUnavailable, QueryFailed, QueryTimedOut,
        QueryCancelled, TooManyQueries, SourceUnreachable, SourceCredentials, SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// A statement is run.
    Running = [
        NotFound, BodyTooLarge, UnsupportedMediaType, NotAcceptable, QueryRefused, StatementUnreadable, StatementNotAdmitted, FunctionNotAllowed,
        TypeNotAllowed, RelationUnknown, ColumnUnknown, TenantScopeRequired, WriteDenied, ColumnNotWritable, RequiredField,
        ReasonRequired, ApprovalRequired, RowRefused, TooManyRows, TooManyFields, CostExceeded, QueryTooBroad, TenantBusy,
        TenantRateLimited, ConstraintViolated, CatalogNotReady, PolicyUnusable, RelationSuspended, AttributeUnavailable,
        QueryFailed, QueryTimedOut,
        QueryCancelled, ResultTooLarge, TooManyQueries, SourceUnreachable, SourceCredentials, SourceNotAllowed,
        SourceBusy, SourceLost
    ];
    /// Endpoints are looked at, or taken away.
    ReadingEndpoints = [NotFound, Conflict];
    /// An endpoint is published.
    PublishingEndpoints = [
        EndpointInvalid, Conflict,
        NotFound, BodyTooLarge, UnsupportedMediaType, StatementUnreadable, StatementNotAdmitted, FunctionNotAllowed,
        TypeNotAllowed, RelationUnknown, ColumnUnknown, TenantScopeRequired, WriteDenied, ColumnNotWritable, RequiredField,
        ReasonRequired, ApprovalRequired, RowRefused, TooManyRows, TooManyFields, CostExceeded, QueryTooBroad, BudgetExceeded, TenantBusy,
        TenantRateLimited, ConstraintViolated, CatalogNotReady, PolicyUnusable, EndpointUnusable, RelationSuspended, AttributeUnavailable,
        QueryFailed, QueryTimedOut, QueryCancelled, ResultTooLarge, TooManyQueries, SourceUnreachable, SourceCredentials,
        SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// An endpoint is called.
    CallingEndpoints = [
        NotFound, BodyTooLarge, UnsupportedMediaType, StatementUnreadable, StatementNotAdmitted, FunctionNotAllowed,
        TypeNotAllowed, RelationUnknown, ColumnUnknown, TenantScopeRequired, WriteDenied, ColumnNotWritable, RequiredField,
        ReasonRequired, ApprovalRequired, RowRefused, TooManyRows, TooManyFields, CostExceeded, QueryTooBroad, BudgetExceeded, TenantBusy,
        TenantRateLimited, ConstraintViolated, CatalogNotReady, PolicyUnusable, EndpointUnusable, RelationSuspended, AttributeUnavailable,
        QueryFailed, QueryTimedOut, QueryCancelled, ResultTooLarge, TooManyQueries, SourceUnreachable, SourceCredentials,
        SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// Models are described.
    Modelling = [
        NotFound, ModelNotAllowed, TenantScopeRequired, CatalogNotReady, PolicyUnusable, RelationSuspended, AttributeUnavailable,
        TooManyQueries, SourceNotAllowed
    ];
    /// Rows of a model are read.
    ReadingModels = [
        NotFound, BodyTooLarge, UnsupportedMediaType, ModelNotAllowed, FieldNotAllowed, RelationNotAllowed, CursorInvalid,
        TenantScopeRequired, BudgetExceeded, QueryTooBroad, CostExceeded, TenantBusy, TenantRateLimited, CatalogNotReady,
        PolicyUnusable, RelationSuspended, AttributeUnavailable, QueryFailed, QueryTimedOut, QueryCancelled, ResultTooLarge,
        TooManyQueries, SourceUnreachable, SourceCredentials, SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// Rows of a model are changed.
    ChangingModels = [
        NotFound, BodyTooLarge, UnsupportedMediaType, ModelNotAllowed, FieldNotAllowed, TenantScopeRequired, WriteDenied,
        WriteDisabled, ColumnNotWritable, ImmutableField, RequiredField, ReasonRequired, ApprovalRequired, RowRefused,
        TooManyRows, ConstraintViolated, PreconditionFailed, WriteConflict, Conflict, IdempotencyKeyReused, CostExceeded, QueryTooBroad, TenantBusy,
        TenantRateLimited, CatalogNotReady, PolicyUnusable, RelationSuspended, AttributeUnavailable, QueryFailed,
        QueryTimedOut, QueryCancelled, ResultTooLarge, TooManyQueries, SourceUnreachable, SourceCredentials,
        SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// A cube's definition is read, or taken away.
    ReadingCubes = [NotFound, Conflict, SourceNotAllowed];
    /// A cube is defined.
    DefiningCubes = [
        NotFound, CubeNotAllowed, BodyTooLarge, UnsupportedMediaType, CubeInvalid, Conflict, CatalogNotReady, PolicyUnusable,
        SourceNotAllowed
    ];
    /// Cubes are described.
    SeeingCubes = [
        NotFound, CubeNotAllowed, TenantScopeRequired, CatalogNotReady, PolicyUnusable, RelationSuspended, CubeUnusable,
        AttributeUnavailable, TooManyQueries, SourceNotAllowed
    ];
    /// A cube is queried.
    AskingCubes = [
        NotFound, BodyTooLarge, UnsupportedMediaType, NotAcceptable, CubeNotAllowed, FieldNotAllowed, TenantScopeRequired,
        BudgetExceeded, QueryTooBroad, CostExceeded, TenantBusy, TenantRateLimited, CatalogNotReady, PolicyUnusable,
        RelationSuspended, CubeUnusable, AttributeUnavailable, QueryFailed, QueryTimedOut, QueryCancelled, ResultTooLarge,
        TooManyQueries, SourceUnreachable, SourceCredentials, SourceNotAllowed, SourceBusy, SourceLost
    ];
    /// A submitted query's end is waited for.
    Waiting = [
        NotFound, QueryRefused, RowRefused, TooManyRows, TooManyFields, ConstraintViolated, ResultOutdated, CatalogNotReady,
        PolicyUnusable, AttributeUnavailable, QueryFailed, QueryTimedOut, QueryCancelled,
        ResultTooLarge, SourceUnreachable,
        SourceCredentials, SourceNotAllowed, SourceBusy, SourceLost
    ];
}

fn by_status(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut grouped: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in ANY_CALL.iter().chain(codes) {
        grouped.entry(code.row().status).or_default().push(*code);
    }
    grouped
        .into_iter()
        .map(|(status, codes)| (status.to_string(), describe_codes(status, &codes).into()))
        .collect()
}

fn describe_codes(status: u16, codes: &[Code]) -> Response {
    let sentences: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}.", code.row().name, code.row().title)).collect();
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(Some(example(codes)));
    let response =
        ResponseBuilder::new().description(sentences.join(" ")).content(problem::MEDIA_TYPE, content.build());
    match status {
        401 => response.header("WWW-Authenticate", text_header("Always `Bearer`.", Type::String)),
        429 | 503 => {
            response.header("Retry-After", text_header("Seconds to wait before repeating.", Type::Integer))
        }
        _ => response,
    }
    .build()
}

fn example(codes: &[Code]) -> serde_json::Value {
    let Some(code) = codes.first() else {
        return json!({});
    };
    let problem = Problem::new(*code, code.row().title).traced("01890a5d-ac96-774b-bcce-b302099a8057");
    serde_json::to_value(problem.body()).unwrap_or_default()
}

fn text_header(description: &str, of: Type) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(Some(Object::with_type(of))).description(Some(description)).build()
}
