//! Calls that the command line makes through a gateway of its own: each follows the rules and leaves its audit record.

use std::sync::Arc;

use ringfence_gateway::{AuditMode, Call, CallLog, Decision, Door, Gateway, Refused};
use ringfence_policy::TraceId;

use super::failure::Failure;
use super::opening::{open_engine, open_existing_store};
use super::serve;
use crate::config::Config;

/// Opens the gateway on the control store itself, does the work, and closes it again.
pub(crate) fn with_gateway<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Gateway) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let gateway = open(config).await?;
        let done = work(&gateway).await;
        serve::close(&gateway).await;
        done
    })
}

/// The gateway for one call: its record is durable before the command ends.
async fn open(config: &Config) -> Result<Gateway, Failure> {
    let store = open_existing_store(config).await?;
    let mut settings = config.gateway_config();
    settings.audit = AuditMode::Strict;
    // Indexing is the server's: this process ends in a moment.
    settings.indexing_at_once = 0;
    let engine = open_engine(config)?;
    let (gateway, bootstrap) = Gateway::open(settings, store, engine).await?;
    serve::show_admin_key(config, &bootstrap);
    Ok(gateway)
}

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
