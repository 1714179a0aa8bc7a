//! Reading a request strictly: what is not understood is refused, with the place and the nearest thing that is known.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use ringfence_gateway::{CallLog, Code, Refused};
use ringfence_policy::{ConnectionKey, KeyName, OrgId, QueryId, TenantId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::http::problem::Problem;
use crate::http::wording::{in_plain_words, of_broken_json};

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::UnsupportedMediaType, "the body is not declared as JSON"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
        read_json(&bytes).map(Self)
    }
}

/// What documents are sent as. Nobody registered all of them, and clients send what they know.
const MEDIA_TYPES: [&str; 6] =
    ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain", "application/json"];

/// The body as it came: a document.
pub(crate) struct Document(pub(crate) String);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = declared.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !MEDIA_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "the body is declared as no form of a document",
            )
            .with_hint("send it with the header `Content-Type: application/yaml`"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| unreadable(&rejection))?;
        let text = String::from_utf8(bytes.into());
        text.map(Self).map_err(|_| Problem::new(Code::InvalidRequest, "the document is not in UTF-8"))
    }
}

/// The query parameters.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(wrong_parameter(&rejection.body_text())),
        }
    }
}

/// The operation has no query parameters: any is refused, so that a misspelt or misplaced one is not lost silently.
#[derive(Debug)]
pub(crate) struct NoParams;

impl<S: Send + Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        Params::<Nothing>::from_request_parts(parts, state).await.map(|_| Self)
    }
}

/// What the path names. A text that can't be such a name is answered like a name that nothing has: only so do the two
/// stay indistinguishable.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: Nameable> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(name)) => {
                if let (Some(log), Some(key)) = (parts.extensions.get::<Arc<CallLog>>(), name.connection()) {
                    log.set_connection(key.as_str());
                }
                Ok(Self(name))
            }
            Err(_) => Err(Refused::not_found(T::NOUN).into()),
        }
    }
}

/// What can stand in a path.
pub(crate) trait Nameable: DeserializeOwned + Send {
    /// As the gateway calls it when there is none.
    const NOUN: &'static str;

    /// The connection that it names, for the call's record.
    fn connection(&self) -> Option<&ConnectionKey> {
        None
    }
}

impl Nameable for OrgId {
    const NOUN: &'static str = "organization";
}
impl Nameable for TenantId {
    const NOUN: &'static str = "tenant";
}
impl Nameable for UserId {
    const NOUN: &'static str = "user";
}
impl Nameable for KeyName {
    const NOUN: &'static str = "access key";
}
impl Nameable for ConnectionKey {
    const NOUN: &'static str = "connection";

    fn connection(&self) -> Option<&ConnectionKey> {
        Some(self)
    }
}
impl Nameable for QueryId {
    const NOUN: &'static str = "query";
}
impl Nameable for (ConnectionKey, String) {
    const NOUN: &'static str = "connection";

    fn connection(&self) -> Option<&ConnectionKey> {
        Some(&self.0)
    }
}
impl Nameable for (ConnectionKey, String, String) {
    const NOUN: &'static str = "connection";

    fn connection(&self) -> Option<&ConnectionKey> {
        Some(&self.0)
    }
}

/// For fields that may be absent but not null: "absent" keeps what is there, and null would look like "clear it".
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads JSON that has been taken in. Also for bodies that are merged with what is stored.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            wrong_body(&error.to_string(), &place_of::<T>(bytes, &error))
        } else {
            Problem::new(Code::InvalidRequest, of_broken_json(&error.to_string()))
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

pub(super) fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(Code::BodyTooLarge, "the body is larger than this server accepts")
    } else {
        Problem::new(Code::InvalidRequest, "the body ended before it was complete")
    }
}

/// Where the mistake is, in dots and brackets. axum reads with a deserializer that keeps track of the place, and prints
/// it before the message that we know already.
fn place_of<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> String {
    let Err(JsonRejection::JsonDataError(tracked)) = Json::<T>::from_bytes(bytes) else {
        return String::new();
    };
    let text = tracked.body_text();
    let place = text
        .strip_suffix(&error.to_string())
        .and_then(|rest| rest.strip_suffix(": "))
        .and_then(|rest| rest.split_once(": "))
        .map(|(_, place)| place);
    place.unwrap_or_default().to_owned()
}

fn wrong_body(message: &str, place: &str) -> Problem {
    let problem = explain(message, "field").at(pointer_of(place));
    match quoted(message).next() {
        Some(field) if message.starts_with("missing field") => {
            problem.with_hint(format!("add the field `{field}`"))
        }
        _ => problem,
    }
}

fn wrong_parameter(text: &str) -> Problem {
    let message = text.split_once(": ").map_or(text, |(_, message)| message);
    // The place is one name, or nothing when the parameter as such is the mistake.
    match message.split_once(": ") {
        Some((name, rest)) if !message.starts_with("unknown field") && !name.contains('`') => {
            let rest = rest.split_once(": unknown field").map_or(rest, |_| rest);
            if rest.starts_with("unknown field") {
                explain(rest, "query parameter")
            } else {
                Problem::new(
                    Code::InvalidRequest,
                    format!("query parameter `{name}`: {}", in_plain_words(rest)),
                )
            }
        }
        _ => explain(message, "query parameter"),
    }
}

/// Words for serde's message; for an unknown name, the nearest known one. (serde lists the known names after the
/// unknown one, each in backquotes.)
fn explain(message: &str, noun: &str) -> Problem {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        let message = in_plain_words(message);
        // Of serde's other messages, these begin with what is named.
        let is_of_field = ["missing field", "duplicate field"].iter().any(|start| message.starts_with(start));
        let message = if is_of_field { message.replacen("field", noun, 1) } else { message };
        return Problem::new(Code::InvalidRequest, message);
    };
    // The unknown name may hold backquotes itself, so the list is looked for from the end.
    let (unknown, list) = rest
        .rsplit_once("`, expected one of ")
        .or_else(|| rest.rsplit_once("`, expected "))
        .or_else(|| rest.rsplit_once("`, there are no fields"))
        .unwrap_or((rest, ""));
    let known: Vec<&str> = quoted(list).collect();
    let problem = Problem::new(Code::InvalidRequest, format!("unknown {noun} `{unknown}`"));
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(unknown, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => problem.with_hint(format!("did you mean `{candidate}`?")),
        None if known.is_empty() => problem.with_hint(format!("there is no {noun} here")),
        None => problem.with_hint(format!("known: {}", known.join(", "))),
    }
}

/// The texts between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `a.b[0].c` as a JSON pointer (RFC 6901); the whole body is the empty pointer.
fn pointer_of(place: &str) -> String {
    if place == "." {
        return String::new();
    }
    let mut pointer = String::new();
    for step in place.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty())
    {
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}
