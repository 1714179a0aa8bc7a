//! From a stored connection to the address that the engine connects to.

use ringfence_engine::SourceAddress;
use ringfence_policy::{ConnectionSpec, OrgId};
use ringfence_store::connections::Connection;
use secrecy::SecretString;
use serde_json::Value;

use crate::Refused;

/// The address of a stored connection, with its user's own credentials.
pub(crate) fn address_of(connection: &Connection, org: &OrgId) -> Result<SourceAddress, Refused> {
    address(&connection.spec, connection.password.clone(), org)
}

/// The address that a description gives. Pools are shared within one organization only.
pub(super) fn address(
    spec: &ConnectionSpec,
    password: Option<SecretString>,
    org: &OrgId,
) -> Result<SourceAddress, Refused> {
    let invalid = |invalid: ringfence_policy::KeyInvalid| Refused::invalid(invalid.to_string());
    let sslmode = spec.parameters.as_ref().and_then(|parameters| parameters.get("sslmode"));
    Ok(SourceAddress {
        kind: spec.kind().map_err(invalid)?,
        pool_scope: org.as_str().to_owned(),
        host: spec.host.clone().unwrap_or_default(),
        port: spec.port,
        database: spec.database_name().map_err(invalid)?.to_owned(),
        username: spec.username.clone().filter(|name| !name.is_empty()),
        password,
        sslmode: sslmode.and_then(Value::as_str).map(str::to_owned),
    })
}
