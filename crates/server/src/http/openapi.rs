//! The OpenAPI document: what the handlers say about themselves, with what holds for all of them.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use ringfence_gateway::refused::ROWS;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr, Response, SecurityRequirement};
use utoipa::{Modify, OpenApi};

use super::AppState;
use super::problem::{ProblemBody, standing_hint};

/// What the document says before any operation.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ringfence",
        description = "A data gateway that lets each caller see their part of the data, and nothing else.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&Identification, &Conventions),
    tags(
        (name = "Identity", description = "Who you are, your access keys, and what you keep for yourself."),
        (name = "Organizations", description = "The outermost boundary. Made and changed by super administrators."),
        (name = "Tenants", description = "The customers of an organization."),
        (name = "Users", description = "People and programs; each belongs to one tenant."),
        (name = "Security", description = "Passwords of technical users, and data roles granted by hand."),
        (name = "Connections", description = "The databases you have registered, and how far their indexing is."),
        (name = "Catalog", description = "What a connection holds, as far as you may see it, and what is said about it."),
        (name = "Policies", description = "What each person may see and change of a connection: documents with versions."),
        (name = "Models", description = "Structured reads and changes of what a policy names, for applications and agents."),
        (name = "Cubes", description = "Measures of facts at levels of hierarchies, with totals of what each caller sees."),
        (name = "Endpoints", description = "Statements that are published at paths of their own, and run as whoever calls."),
        (name = "Approvals", description = "Operations that wait for somebody's consent, and run once when they have it."),
        (name = "Queries", description = "Run SQL, wait for it or fetch it later, and read what you ran before."),
        (name = "Audit", description = "What was asked, by whom, and what was enforced."),
        (name = "Settings", description = "Settings with a scope."),
    ),
)]
pub(crate) struct Base;

/// How callers say who they are. Impersonation is a second scheme and not a parameter: it decides as whom everything
/// else runs.
struct Identification;

impl Modify for Identification {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An access key, in the header `Authorization: Bearer <key>`."))
            .build();
        let impersonate = ApiKeyValue::with_description(
            "x-waii-impersonate-user",
            "Besides the access key: the id of the user as whom the whole request runs. Needs `usage:impersonation`; \
             within the own organization (super administrators: any), and never somebody with more permissions.",
        );
        let principal = ApiKeyValue::with_description(
            "X-Ringfence-Principal",
            "Besides an application's own access key: a JWT that it signed for a user of its own, as whom the whole request runs. \
             Needs `act:principals` and a registered signing key; within the own organization, and nowhere more than the \
             application itself.",
        );
        let components = document.components.get_or_insert_default();
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("A technical user's id and password."))
            .build();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        components.add_security_scheme("accessKey", SecurityScheme::Http(bearer));
        components.add_security_scheme("impersonation", SecurityScheme::ApiKey(ApiKey::Header(impersonate)));
        components.add_security_scheme("principal", SecurityScheme::ApiKey(ApiKey::Header(principal)));
        let nothing: [String; 0] = [];
        document.security = Some(vec![
            SecurityRequirement::new("accessKey", nothing.clone()),
            SecurityRequirement::new("accessKey", nothing.clone()).add("impersonation", nothing.clone()),
            SecurityRequirement::new("accessKey", nothing.clone()).add("principal", nothing.clone()),
            SecurityRequirement::new("basic", nothing),
        ]);
    }
}

/// Adds what holds for every operation, and the table of codes.
struct Conventions;

const CONVENTIONS: &str = "\n\n\
## Conventions

- Every request names an access key (`Authorization: Bearer <key>`), or a technical user with a password (`Authorization: \
Basic`), or has the cookie of a sign-in session.
- Bodies are JSON. Fields and query parameters that an operation does not know are refused, with the nearest one that \
it knows.
- A connection is named by its key, percent-encoded: `postgresql://u@h/d` is \
`/v1/connections/postgresql%3A%2F%2Fu%40h%2Fd`.
- The header `X-Ringfence-Agent` names the program that asks for you, such as a language model's agent: it is recorded, \
and policies can hold agents back.
- What belongs to somebody else is answered exactly like what does not exist.
- Lists answer `{\"items\": [...]}`, in order of creation.
- Refusals are problem details (RFC 9457): decide by `code`, which is stable. `trace_id` names the call in the \
audit log.

## Codes

| code | status | meaning | what to do |
|---|---|---|---|
";

impl Modify for Conventions {
    fn modify(&self, document: &mut Document) {
        let description = document.info.description.get_or_insert_default();
        description.push_str(CONVENTIONS);
        for row in ROWS {
            let hint = standing_hint(row.code).unwrap_or("the `detail` says it");
            // Writing to a String can't fail.
            let _ = writeln!(description, "| `{}` | {} | {} | {hint} |", row.name, row.status, row.title);
        }
    }
}

/// Moves refusals that several operations share to one place, which makes the document a fifth as long.
pub(crate) fn share_refusals(document: &mut Document) {
    let mut shared: Vec<(String, String, Response)> = Vec::new();
    for operation in document.paths.paths.values_mut().flat_map(operations_of) {
        for (status, response) in &mut operation.responses.responses {
            let RefOr::T(refusal) = &*response else { continue };
            if status.starts_with('2') {
                continue;
            }
            let text = serde_json::to_string(refusal).unwrap_or_default();
            let known = shared.iter().find(|(_, known, _)| *known == text).map(|(name, _, _)| name.clone());
            let name = known.unwrap_or_else(|| {
                let number = shared
                    .iter()
                    .filter(|(name, _, _)| name.starts_with(&format!("Refused{status}")))
                    .count();
                let name = if number == 0 {
                    format!("Refused{status}")
                } else {
                    format!("Refused{status}_{number}")
                };
                shared.push((name.clone(), text, refusal.clone()));
                name
            });
            *response = RefOr::Ref(Ref::from_response_name(name));
        }
    }
    let components = document.components.get_or_insert_default();
    components.responses.extend(shared.into_iter().map(|(name, _, refusal)| (name, RefOr::T(refusal))));
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// `GET /openapi.json`, for anyone: the document holds nothing but what this program can do.
pub(crate) fn router(document: &Document) -> Router<AppState> {
    let text = Bytes::from(in_json(document));
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    Router::new().route("/openapi.json", get(move || async move { (headers, text) }))
}

/// The document as it is served and checked in.
pub(crate) fn in_json(document: &Document) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}
