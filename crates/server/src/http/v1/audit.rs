//! `/v1/audit`: the audit log for people.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::stream::try_unfold;
use ringfence_gateway::trail::{MAX_RECORDS, Trail, TrailLookup};
use ringfence_gateway::{Call, Code, Decision, Refused};
use ringfence_store::audit::AuditFilter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Params;
use super::negotiate::choose;
use super::refusals::ReadingAudit;
use crate::audit_forms::{AuditEntry, Encoder, Form, moment};
use crate::http::AppState;
use crate::http::call::{BodyFinishesLog, Caller};
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read_audit))
}

const DEFAULT_LIMIT: u32 = 100;

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
struct AuditPage {
    items: Vec<AuditEntry>,
    /// The `cursor` of the next page; null when this is the last.
    next: Option<String>,
}

/// Which records; all that are given hold together.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// In this organization. Default: all that you may read.
    #[param(value_type = String, required = false)]
    org: Option<String>,
    /// In this tenant.
    #[param(value_type = String, required = false)]
    tenant: Option<String>,
    /// Whose credentials were presented.
    #[param(value_type = String, required = false)]
    user: Option<String>,
    /// As whom the call ran, when impersonating.
    #[param(value_type = String, required = false)]
    acting_for: Option<String>,
    /// The agent that the caller named.
    #[param(value_type = String, required = false)]
    agent: Option<String>,
    /// A model of a models request.
    #[param(value_type = String, required = false)]
    model: Option<String>,
    /// A relation that the statement names, such as `public.orders`.
    #[param(value_type = String, required = false)]
    relation: Option<String>,
    /// A connection's key.
    #[param(value_type = String, required = false)]
    connection: Option<String>,
    /// `api`, `v1`, `mcp`, `cli` or `server`.
    #[param(value_type = String, required = false)]
    door: Option<String>,
    /// Such as `run-query`.
    #[param(value_type = String, required = false)]
    action: Option<String>,
    /// `allowed`, `refused`, `failed` or `abandoned`.
    #[param(value_type = String, required = false)]
    decision: Option<String>,
    /// The code of a refusal.
    #[param(value_type = String, required = false)]
    code: Option<String>,
    /// The ticket of an approval.
    #[param(value_type = String, required = false)]
    approval: Option<String>,
    /// As the answer had it in `x-request-id`.
    #[param(value_type = String, required = false)]
    trace_id: Option<String>,
    /// Since then: `2026-01-31`, `2026-01-31T08:00:00Z`, or `24h` for a day ago.
    #[param(value_type = String, required = false)]
    since: Option<String>,
    /// Until then.
    #[param(value_type = String, required = false)]
    until: Option<String>,
    /// By the time of writing. Default: `newest_first`.
    #[serde(default)]
    #[param(value_type = AuditOrder, required = false, inline)]
    order: AuditOrder,
    /// How many at most. Default: 100, and never more than 500, in a page; all in an export.
    #[param(value_type = u32, required = false, minimum = 1)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before, with the same order. Not in an export.
    #[param(value_type = String, required = false)]
    cursor: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AuditOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

impl AuditParams {
    fn filter(&self) -> Result<AuditFilter, Refused> {
        let time = |name: &str, text: &Option<String>| {
            let wrong = |why: String| Refused::invalid(format!("query parameter `{name}`: {why}"));
            text.as_deref().map(moment).transpose().map_err(wrong)
        };
        Ok(AuditFilter {
            since_ms: time("since", &self.since)?,
            until_ms: time("until", &self.until)?,
            org: self.org.clone(),
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            action: self.action.clone(),
            door: self.door.clone(),
            decision: self.decision.clone(),
            connection: self.connection.clone(),
            trace_id: self.trace_id.clone(),
            model: self.model.clone(),
            relation: self.relation.clone(),
            code: self.code.clone(),
            approval: self.approval.clone(),
            agent: self.agent.clone(),
            acting_for: self.acting_for.clone(),
            after: None,
            newest_first: self.order == AuditOrder::NewestFirst,
        })
    }
}

/// Read the audit log
///
/// Every call left one record: who, as whom, through which door, what was asked for, which scopes and rules held, which columns
/// were masked, how it ended. Needs `read:usage-report`, which administrators of an organization and the role `auditor`
/// have. You read what happened in your own organization; another one is as empty as one that does not exist. A super
/// administrator reads everything. Values of changed rows are shown to administrators alone. Reading leaves a record, too.
///
/// `application/json` is a page. `application/x-ndjson`, `text/csv` and `application/vnd.apache.parquet` are an export: all that
/// matches, streamed. In CSV, a text that a spreadsheet would take for a formula gets an apostrophe before it. Should an
/// export fail midway, it is broken off: the connection ends without the last chunk.
#[utoipa::path(
    get, path = "/audit", tag = "Audit",
    params(AuditParams),
    responses(
        (
            status = 200, description = "A page, or an export.",
            content(
                (AuditPage = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "application/vnd.apache.parquet"),
            ),
        ),
        ReadingAudit,
    ),
)]
async fn read_audit(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(params): Params<AuditParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let forms = [Form::Jsonl, Form::Csv, Form::Parquet].map(|form| (Some(form), form.media_type()));
    let offered = [&[(None, "application/json")][..], &forms].concat();
    let form = choose(&headers, &offered).ok_or_else(|| {
        Problem::new(Code::NotAcceptable, "the audit log does not come in a form that `Accept` names")
    })?;
    let filter = params.filter()?;
    let varied = [(header::VARY, HeaderValue::from_static("accept"))];
    let Some(form) = form else {
        let limit = params.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_RECORDS);
        let page =
            app.gateway.read_audit(&call, TrailLookup { filter, cursor: params.cursor, limit }).await?;
        let items = page.records.into_iter().map(AuditEntry::from).collect();
        return Ok((varied, Json(AuditPage { items, next: page.next })).into_response());
    };
    if params.cursor.is_some() {
        return Err(Refused::invalid("`cursor` is for pages of JSON: an export has all of it").into());
    }
    let most = params.limit.map_or(u64::MAX, u64::from);
    let trail = app.gateway.export_audit(&call, filter, most).await?;
    let body = stream(trail, form, call).map_err(|error| Refused::internal(&error))?;
    let named = [(header::CONTENT_TYPE, form.media_type())];
    Ok((varied, named, Extension(BodyFinishesLog), body).into_response())
}

/// An export under way. Its record is finished with the last chunk; dropped before, it says that the client went away.
struct Exporting {
    trail: Trail,
    encoder: Encoder,
    call: Call,
    sent: u64,
}

/// A body that reads on when the client has taken what there was.
fn stream(trail: Trail, form: Form, call: Call) -> io::Result<Body> {
    let mut encoder = Encoder::new(form)?;
    let begun = encoder.begin()?;
    let state = (Some(begun), Some(Exporting { trail, encoder, call, sent: 0 }));
    Ok(Body::from_stream(try_unfold(state, |(begun, exporting)| async {
        match (begun.filter(|bytes| !bytes.is_empty()), exporting) {
            (Some(begun), exporting) => Ok(Some((Bytes::from(begun), (None, exporting)))),
            (None, Some(exporting)) => exporting.step().await,
            (None, None) => Ok(None),
        }
    })))
}

type Step = Option<(Bytes, (Option<Vec<u8>>, Option<Exporting>))>;

impl Exporting {
    async fn step(mut self) -> io::Result<Step> {
        loop {
            match self.trail.next().await {
                Ok(Some(records)) => {
                    self.sent += records.len() as u64;
                    let bytes = self.encoder.records(records.into_iter().map(AuditEntry::from).collect())?;
                    // Some forms gather records.
                    if !bytes.is_empty() {
                        return Ok(Some((bytes.into(), (None, Some(self)))));
                    }
                }
                Ok(None) => {
                    self.call.log().set_rows(self.sent);
                    // In strict mode an answer without its record is no whole answer.
                    self.call.log().finish(Decision::Allowed).await.map_err(io::Error::other)?;
                    let bytes = self.encoder.end()?;
                    return Ok((!bytes.is_empty()).then(|| (bytes.into(), (None, None))));
                }
                Err(refused) => {
                    self.call
                        .log()
                        .finish(Decision::Refused(refused.code))
                        .await
                        .map_err(io::Error::other)?;
                    return Err(io::Error::other(refused));
                }
            }
        }
    }
}
