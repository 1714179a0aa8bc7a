//! What a connection's description may hold, before anything is looked up or saved.

use ringfence_policy::{ConnectionKey, ConnectionKind, ConnectionSpec, ContentFilters};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;

use super::NewConnection;
use crate::{Call, Refused};

/// Connections on one list.
pub(super) const MAX_CONNECTIONS: usize = 1_000;
const MAX_TEXT_BYTES: usize = 4 * 1024;
const MAX_CONTEXTS: usize = 1_000;
/// Each is a regular expression that is kept compiled.
const MAX_PATTERNS: usize = 100;
const MAX_FILTERS_BYTES: usize = 256 * 1024;
const SSL_MODES: [&str; 4] = ["disable", "prefer", "require", "verify-full"];

/// Checks a new connection, and the permission that its kind needs. Answers its key.
pub(super) fn check(call: &Call, new: &NewConnection) -> Result<ConnectionKey, Refused> {
    let spec = &new.spec;
    if spec.push {
        call.needs(ringfence_policy::Permission::PushDatabases)?;
    }
    check_texts(spec)?;
    check_password(new.password.as_ref())?;
    check_json("parameters", &spec.parameters, MAX_TEXT_BYTES)?;
    check_json("always_include_tables", &spec.always_include_tables, MAX_FILTERS_BYTES)?;
    check_json("sample_filters", &spec.sample_filters, MAX_FILTERS_BYTES)?;
    check_filters(spec)?;
    check_ssl_mode(spec)?;
    let key = spec.key().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
    spec.target().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
    Ok(key)
}

/// Whether there is something to connect to.
pub(super) fn is_pushed(spec: &ConnectionSpec) -> bool {
    spec.kind() == Ok(ConnectionKind::Push)
}

fn check_texts(spec: &ConnectionSpec) -> Result<(), Refused> {
    let names = [
        ("db_type", Some(&spec.db_type)),
        ("account_name", spec.account_name.as_ref()),
        ("username", spec.username.as_ref()),
        ("database", spec.database.as_ref()),
        ("warehouse", spec.warehouse.as_ref()),
        ("role", spec.role.as_ref()),
        ("path", spec.path.as_ref()),
        ("host", spec.host.as_ref()),
        ("embedding_model", spec.embedding_model.as_ref()),
        ("alias", spec.alias.as_ref()),
        ("host_alias", spec.host_alias.as_ref()),
        ("user_alias", spec.user_alias.as_ref()),
        ("db_alias", spec.db_alias.as_ref()),
        ("client_email", spec.client_email.as_ref()),
    ];
    for (field, text) in names {
        let text = text.map_or("", String::as_str);
        check_length(field, text)?;
        if text.chars().any(char::is_control) {
            return Err(Refused::invalid(format!(
                "{field} holds a control character: use printable characters"
            )));
        }
    }
    let description = spec.description.as_deref().unwrap_or_default();
    check_length("description", description)?;
    // Text over several lines is fine in a description; a NUL can't be stored.
    refuse_nul("description", description)
}

fn check_length(field: &str, text: &str) -> Result<(), Refused> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refused::invalid(format!("{field} is too long: at most {MAX_TEXT_BYTES} bytes")));
    }
    Ok(())
}

fn refuse_nul(field: &str, text: &str) -> Result<(), Refused> {
    if text.contains('\0') {
        return Err(Refused::invalid(format!("{field} holds a NUL character: remove it")));
    }
    Ok(())
}

fn check_password(password: Option<&SecretString>) -> Result<(), Refused> {
    let password = password.map_or("", |password| password.expose_secret());
    check_length("password", password)?;
    refuse_nul("password", password)
}

fn check_json(field: &str, json: &impl Serialize, limit: usize) -> Result<(), Refused> {
    let value = serde_json::to_value(json).map_err(|unreadable| Refused::internal(&unreadable))?;
    if value.to_string().len() > limit {
        return Err(Refused::invalid(format!("{field} is too large: at most {limit} bytes of JSON")));
    }
    if has_nul(&value) {
        return Err(Refused::invalid(format!("{field} holds a NUL character: remove it")));
    }
    Ok(())
}

/// Whether a NUL stands anywhere in the JSON: no database stores one.
pub(crate) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn check_filters(spec: &ConnectionSpec) -> Result<(), Refused> {
    let contexts = spec.content_filters.as_deref().unwrap_or_default();
    let patterns = spec.db_content_filters.as_deref().unwrap_or_default();
    for (field, count, limit) in [
        ("content_filters", contexts.len(), MAX_CONTEXTS),
        ("db_content_filters", patterns.len(), MAX_PATTERNS),
    ] {
        if count > limit {
            return Err(Refused::invalid(format!("{field} has too many entries: at most {limit}")));
        }
    }
    check_json("content_filters", &contexts, MAX_FILTERS_BYTES)?;
    check_json("db_content_filters", &patterns, MAX_FILTERS_BYTES)?;
    ContentFilters::new(contexts, patterns).map_err(|invalid| Refused::invalid(invalid.to_string()))?;
    Ok(())
}

fn check_ssl_mode(spec: &ConnectionSpec) -> Result<(), Refused> {
    match spec.parameters.as_ref().and_then(|parameters| parameters.get("sslmode")) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(mode)) if SSL_MODES.contains(&mode.as_str()) => Ok(()),
        Some(_) => {
            Err(Refused::invalid(format!("parameters.sslmode must be one of {}", SSL_MODES.join(", "))))
        }
    }
}
