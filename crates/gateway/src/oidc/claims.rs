//! Claims: what a provider says of a user, read as an arrival.

use ringfence_policy::Attributes;
use serde_json::{Map, Value};

use super::ProviderConfig;
use crate::arrivals::Arrival;

/// The claim at the end of that way; `null` is none.
pub(super) fn at<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let found = rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))?;
    (!found.is_null()).then_some(found)
}

/// Who has arrived. `as_of` is when it was said, in milliseconds since the epoch.
pub(super) fn arrival(
    config: &ProviderConfig,
    claims: &Map<String, Value>,
    as_of: i64,
) -> Result<Arrival, &'static str> {
    let Some(Value::String(subject)) = claims.get("sub") else { return Err("no subject") };
    if subject.is_empty() {
        return Err("an empty subject");
    }
    let text = |path: &[String], other: &'static str| match at(claims, path) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(other),
    };
    let name = text(&config.name_claim, "a name that is no text")?.ok_or("no name")?;
    let by = |path: &Option<Vec<String>>, other| match path {
        None => Ok(None),
        Some(path) => text(path, other),
    };
    let mut roles = Vec::new();
    for path in &config.roles_claims {
        roles.extend(texts(at(claims, path))?);
    }
    let attributes = config.attributes.iter();
    let attributes: Attributes =
        attributes.filter_map(|(name, path)| Some((name.clone(), at(claims, path)?.clone()))).collect();
    Ok(Arrival {
        // Whoever is configured under this name one day, another issuer's subject is another user.
        subject: subject_of(config, subject),
        name,
        organization: by(&config.organization_claim, "an organization that is no text")?,
        tenant: by(&config.tenant_claim, "a tenant that is no text")?,
        roles,
        attributes,
        as_of: Some(as_of),
    })
}

/// What links say of a provider's subject.
pub(super) fn subject_of(config: &ProviderConfig, subject: &str) -> String {
    format!("{} {subject}", config.issuer)
}

/// One text, or several.
fn texts(value: Option<&Value>) -> Result<Vec<String>, &'static str> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(values)) => {
            let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a role that is no text");
            values.iter().map(text).collect()
        }
        Some(_) => Err("roles that are no texts"),
    }
}
