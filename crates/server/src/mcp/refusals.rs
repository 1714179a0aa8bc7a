//! How a tool says no: a code, a sentence, and what to do instead, for a reader that has tools and no HTTP.

use ringfence_gateway::{Call, Code, Refused};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

/// A refusal as the result of a tool: the agent reads it, and can do better.
pub(super) fn refusal(refused: &Refused, call: &Call) -> CallToolResult {
    let mut result = CallToolResult::structured_error(json!({ "error": told(refused, call) }));
    result.content = vec![ContentBlock::text(sentence(refused))];
    result
}

/// The refusal for programs.
pub(super) fn told(refused: &Refused, call: &Call) -> Value {
    let mut error = Map::new();
    error.insert("code".to_owned(), refused.code.row().name.into());
    error.insert("message".to_owned(), refused.message.as_ref().into());
    if let Some(hint) = hint(refused.code) {
        error.insert("hint".to_owned(), hint.into());
    }
    error.insert("trace_id".to_owned(), call.log().trace_id().as_str().into());
    Value::Object(error)
}

/// The refusal for readers.
pub(super) fn sentence(refused: &Refused) -> String {
    let name = refused.code.row().name;
    match hint(refused.code) {
        Some(hint) => format!("{name}: {}. To do: {hint}.", refused.message),
        None => format!("{name}: {}", refused.message),
    }
}

/// What an agent can do about a code. Made of nothing but the code.
fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NotFound => "use a connection of list_connections, and keys of rows that query shows",
        Code::ModelNotAllowed | Code::FieldNotAllowed | Code::RelationNotAllowed => {
            "describe_schema lists what you may name"
        }
        Code::RelationUnknown | Code::ColumnUnknown => {
            "describe_schema lists the models; information_schema lists tables and columns for run_sql"
        }
        Code::WriteDenied | Code::WriteDisabled => {
            "describe_schema lists what may be done; a connection is read-only for agents until its user sets agent_tools to \
             read-write"
        }
        Code::ReasonRequired => "say why in `reason`",
        Code::ApprovalRequired => {
            "create, update and delete answer a ticket that somebody can approve; a statement can not be approved"
        }
        Code::TooManyFields => "name the fields that you need in `select`",
        Code::CostExceeded | Code::QueryTooBroad | Code::BudgetExceeded => {
            "narrow it: a condition in `where`, a smaller `take`, fewer includes"
        }
        Code::ResultTooLarge => "select fewer fields or rows",
        Code::QueryTimedOut => "narrow the query",
        Code::CursorInvalid => "begin again without a cursor",
        Code::TooManyQueries
        | Code::RateLimited
        | Code::TenantBusy
        | Code::TenantRateLimited
        | Code::SourceBusy
        | Code::Overloaded
        | Code::StoreUnavailable
        | Code::AuditUnavailable => "wait some seconds, then repeat",
        Code::CatalogNotReady => "the connection is being indexed: wait some seconds, then repeat",
        Code::StatementNotAdmitted | Code::FunctionNotAllowed | Code::TypeNotAllowed => {
            "write it in plainer SQL, or use query and aggregate"
        }
        Code::Internal => "tell the operator the trace_id",
        _ => return None,
    })
}
