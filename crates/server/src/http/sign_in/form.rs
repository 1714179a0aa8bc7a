//! What is sent to sign in: a form, as browsers send it, or an object in JSON.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ringfence_gateway::{Code, Refused};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::SignInSettings;
use crate::http::sender::Sender;
use crate::http::sender::foreign;

/// Largest body that signing in takes.
const LARGEST: usize = 16 * 1024;

/// The hidden fields of the page.
pub(super) const TOKEN_FIELD: &str = "form_token";
pub(super) const RETURN_FIELD: &str = "return_to";

/// Who wants to sign in.
pub(super) struct SignInForm {
    pub(super) user: String,
    pub(super) password: SecretString,
    pub(super) company: Option<String>,
    pub(super) return_to: Option<String>,
    token: Option<String>,
    is_form: bool,
}

impl SignInForm {
    pub(super) async fn read(settings: &SignInSettings, parts: &Parts, body: Body) -> Result<Self, Refused> {
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind =
            kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
        let is_form = match kind.as_str() {
            "application/x-www-form-urlencoded" => true,
            "application/json" => false,
            _ => {
                return Err(Refused::new(
                    Code::UnsupportedMediaType,
                    "send a form (application/x-www-form-urlencoded) or JSON",
                ));
            }
        };
        let body = axum::body::to_bytes(body, LARGEST).await.map_err(|_| {
            Refused::new(Code::BodyTooLarge, "nobody's name and password are as long as this")
        })?;
        let mut fields = if is_form { of_form(&body) } else { of_json(&body)? };
        // An unknown user is answered like a missing one.
        let user = take_one(&mut fields, &settings.user_fields)?.unwrap_or_default();
        let password = take_one(&mut fields, &settings.password_fields)?.unwrap_or_default().into();
        let company = match &settings.company_field {
            // Left empty, it says nothing.
            Some(field) => {
                take_one(&mut fields, std::slice::from_ref(field))?.filter(|text| !text.is_empty())
            }
            None => None,
        };
        let mut take = |name: &str| take_one(&mut fields, &[name.to_owned()]);
        let (return_to, token) = (take(RETURN_FIELD)?, take(TOKEN_FIELD)?);
        Ok(Self { user, password, company, return_to, token, is_form })
    }

    /// A browser's form repeats the token that the page came with, so that no other page can sign somebody in under a name that is
    /// not their own.
    pub(super) fn check_token(
        &self,
        settings: &SignInSettings,
        headers: &HeaderMap,
        sender: Sender,
    ) -> Result<(), Refused> {
        let is_needed = self.is_form && sender == Sender::Own;
        let expected = settings.cookies.form(headers);
        match (&self.token, expected) {
            (None, _) if !is_needed => Ok(()),
            (Some(token), Some(expected)) if same(token, expected) => Ok(()),
            _ => Err(foreign()),
        }
    }
}

/// Without telling by the time it takes how much of it is right.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn of_form(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn of_json(body: &[u8]) -> Result<Vec<(String, String)>, Refused> {
    let wrong = || {
        Refused::invalid("send an object of texts, such as {\"username\": \"ann\", \"password\": \"...\"}")
    };
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| wrong())?;
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        _ => Err(wrong()),
    };
    fields.into_iter().map(text).collect()
}

/// The one field that has one of these names. Two would leave open which of them counts.
fn take_one(fields: &mut Vec<(String, String)>, names: &[String]) -> Result<Option<String>, Refused> {
    let mut found = fields.extract_if(.., |(name, _)| names.contains(name)).map(|(_, value)| value);
    let first = found.next();
    if found.next().is_some() {
        return Err(Refused::invalid(format!(
            "send one field `{}`",
            names.first().map_or("", String::as_str)
        )));
    }
    Ok(first)
}
