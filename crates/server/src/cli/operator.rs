//! Calls that the command line makes through the gateway: each follows the rules and leaves its audit record.

use std::sync::Arc;

use ringfence_gateway::{Call, CallLog, Decision, Door, Gateway, Refused};
use ringfence_policy::TraceId;

/// Does something as the configured administrator, or in the place of `acting_for`.
pub(crate) async fn as_operator<T>(
    gateway: &Gateway,
    action: &str,
    acting_for: Option<&str>,
    work: impl AsyncFnOnce(&Call) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let log = begin(gateway, action)?;
    let call = gateway.operator_call(&log, acting_for).await;
    recorded(&log, call, work).await
}

/// Does something as the owner of a key, or in the place of `acting_for`.
pub(crate) async fn with_key<T>(
    gateway: &Gateway,
    action: &str,
    key: &str,
    acting_for: Option<&str>,
    work: impl AsyncFnOnce(&Call) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let log = begin(gateway, action)?;
    let call = gateway.authenticate(&log, Some(key), acting_for).await;
    recorded(&log, call, work).await
}

fn begin(gateway: &Gateway, action: &str) -> Result<Arc<CallLog>, Refused> {
    let trace = TraceId::new(&uuid::Uuid::new_v4().simple().to_string())?;
    Ok(gateway.begin(Door::Cli, action, trace))
}

async fn recorded<T>(
    log: &Arc<CallLog>,
    call: Result<Call, Refused>,
    work: impl AsyncFnOnce(&Call) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let outcome = match &call {
        Ok(call) => work(call).await,
        Err(refused) => Err(refused.clone()),
    };
    let decision = match &outcome {
        Ok(_) => Decision::Allowed,
        Err(refused) => Decision::Refused(refused.code),
    };
    log.finish(decision).await?;
    outcome
}
