//! Settings with a scope.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::parameters::{ParameterView, Target};
use ringfence_gateway::{Gateway, Refused};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::Nothing;
use super::{ApiCaller, AppState, Empty, Reply, Scoped, given};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/list-parameters", post(list_parameters))
        .route("/api/update-parameter", post(update_parameter))
        .route("/api/delete-parameter", post(delete_parameter))
}

/// Names the parameter and whom it is for; `value` is for changes only.
#[derive(Debug, Deserialize)]
struct ParameterRequest {
    parameter: String,
    value: Option<Value>,
    target_org_id: Option<String>,
    target_tenant_id: Option<String>,
    target_user_id: Option<String>,
    target_connection_key: Option<String>,
}

#[derive(Debug, Serialize)]
struct ParameterList {
    parameters: BTreeMap<String, ShownParameter>,
}

#[derive(Debug, Serialize)]
struct ShownParameter {
    value: Value,
    possible_values: Vec<Value>,
}

async fn list_parameters(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, Nothing {}): Scoped<Nothing>,
) -> Reply<ParameterList> {
    let parameters = gateway.list_parameters(&caller.call, &key).await?;
    let show = |(name, view): (String, ParameterView)| {
        (name, ShownParameter { value: view.value, possible_values: view.possible_values })
    };
    Ok(Json(ParameterList { parameters: parameters.into_iter().map(show).collect() }))
}

async fn update_parameter(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ParameterRequest>,
) -> Reply<Empty> {
    let (name, target, value) = request.into_parts();
    let value = value.ok_or_else(|| Refused::invalid("missing field `value`"))?;
    gateway.set_parameter(&caller.call, &key, &name, value, &target).await?;
    Ok(Json(Empty {}))
}

async fn delete_parameter(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ParameterRequest>,
) -> Reply<Empty> {
    let (name, target, _) = request.into_parts();
    gateway.delete_parameter(&caller.call, &key, &name, &target).await?;
    Ok(Json(Empty {}))
}

impl ParameterRequest {
    fn into_parts(self) -> (String, Target, Option<Value>) {
        let target = Target {
            org: given(self.target_org_id),
            tenant: given(self.target_tenant_id),
            user: given(self.target_user_id),
            connection: given(self.target_connection_key),
        };
        (self.parameter, target, self.value)
    }
}
