//! Reads a request's body: one JSON object in UTF-8, in which null and absent mean the same and unknown fields nothing.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use ringfence_gateway::{CallLog, Refused};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ApiRefused;
use crate::http::AppState;
use crate::http::limits::read_body;
use crate::http::wording::{in_plain_words, of_broken_json};

/// The body as a `T`. Fields that `T` does not name, such as the SDK's `org_id` and `user_id`, change nothing: who asks
/// follows from the key alone.
pub(super) struct Wire<T>(pub(super) T);

/// The key of the activated connection, from the field `scope`, and the body as a `T`.
pub(super) struct Scoped<T>(pub(super) String, pub(super) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Wire<T> {
    type Rejection = ApiRefused;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiRefused> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body, &state.settings).await?;
        Ok(Self(parse(check_text(&bytes)?)?))
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for Scoped<T> {
    type Rejection = ApiRefused;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiRefused> {
        #[derive(Deserialize)]
        struct ScopeOnly {
            scope: Option<String>,
        }

        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body, &state.settings).await?;
        let text = check_text(&bytes)?;
        let scope = parse::<ScopeOnly>(text)?.scope.filter(|scope| !scope.trim().is_empty());
        let scope = scope.ok_or_else(|| Refused::invalid("scope is missing: name the connection's key"))?;
        if let Some(log) = parts.extensions.get::<Arc<CallLog>>() {
            log.set_scope(&scope);
        }
        Ok(Self(scope, parse(text)?))
    }
}

/// A request without fields of interest.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

fn check_text(bytes: &[u8]) -> Result<&str, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refused::invalid("the body is not valid UTF-8"))?;
    // serde would take an array for a struct.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Refused::invalid("the body must be a JSON object"));
    }
    if holds_nul(text) {
        // No database takes it in text, and log readers end a line there.
        return Err(Refused::invalid("the body holds a NUL character: remove it"));
    }
    Ok(text)
}

/// Whether some string has the escape for NUL. (A raw one is no JSON, and the parser says so.)
fn holds_nul(text: &str) -> bool {
    text.match_indices("\\u0000").any(|(position, _)| {
        // After an odd number of backslashes this one is escaped itself.
        let before = text.as_bytes().iter().take(position).rev().take_while(|byte| **byte == b'\\').count();
        before % 2 == 0
    })
}

/// Parses a whole text; the refusal names the field that is wrong.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refused> {
    parse_at("", text)
}

/// Parses a part of a body that stands at `place`.
pub(super) fn parse_at<T: DeserializeOwned>(place: &str, text: &str) -> Result<T, Refused> {
    if let Ok(parsed) = serde_json::from_str(text) {
        return Ok(parsed);
    }
    // Once more, and this time noting where: that costs, and nobody but a refusal needs it.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| explain(place, &error))?;
    deserializer.end().map_err(|error| Refused::invalid(of_broken_json(&error.to_string())))?;
    Ok(parsed)
}

fn explain(place: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Refused {
    let (path, cause) = (error.path().to_string(), error.inner());
    let text = cause.to_string();
    if !cause.is_data() {
        return Refused::invalid(of_broken_json(&text));
    }
    let message = in_plain_words(&text);
    match (place, path.as_str()) {
        ("", "." | "") => Refused::invalid(message),
        (place, "." | "") => Refused::invalid(format!("{place}: {message}")),
        ("", path) => Refused::invalid(format!("{path}: {message}")),
        (place, path) => Refused::invalid(format!("{place}.{path}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only their types matter here")]
    struct Sample {
        id: String,
        user: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only their types matter here")]
    struct Inner {
        roles: Option<Vec<String>>,
    }

    #[test]
    fn a_refusal_names_the_place() {
        let cases = [
            (r#"{"id":5}"#, "id: invalid type: integer `5`, expected a string"),
            (r#"{"user":{}}"#, "missing field `id`"),
            (
                r#"{"id":"a","user":{"roles":["x",null]}}"#,
                "user.roles[1]: invalid type: null, expected a string",
            ),
            (
                r#"{"id":"a","user":"expected struct "}"#,
                "user: invalid type: string \"expected struct \", expected an object",
            ),
            (r#"{"id":"a""#, "the body is not valid JSON: the body ends too early"),
            (r#"{"id":"a"} x"#, "the body is not valid JSON: trailing characters at line 1 column 12"),
            (
                r#"{"id":"\ud800"}"#,
                "the body is not valid JSON: unexpected end of hex escape at line 1 column 14",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(parse::<Sample>(text).unwrap_err().message, message, "{text}");
        }
        assert_eq!(
            parse_at::<Inner>("updated[0]", r#"{"roles":1}"#).unwrap_err().message.split(' ').next(),
            Some("updated[0].roles:")
        );
    }

    #[test]
    fn only_objects_in_utf8_without_nul_are_read() {
        assert!(check_text(b" {}").is_ok());
        assert!(check_text(br#"{"a":"\\u0000"}"#).is_ok(), "an escaped backslash, then letters");
        for bad in [
            b"[]".as_slice(),
            b"",
            b"null",
            b"\"a\"",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\u0000"}"#,
            br#"{"a":"\\\u0000"}"#,
        ] {
            assert!(check_text(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
