//! `/v1/config`: what the acting user keeps for itself.

use axum::Json;
use axum::extract::State;
use ringfence_policy::Attributes;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, NoParams};
use super::refusals::{Asking, Changing};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_config, change_config))
}

/// Read your configuration
///
/// A map of the acting user's own: free names, any JSON values. The server does nothing with it but keep it.
#[utoipa::path(
    get, path = "/config", tag = "Identity",
    responses(
        (status = 200, description = "The whole map.", body = Object, example = json!({"theme": "dark"})),
        Asking,
    ),
)]
async fn get_config(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<Attributes>, Problem> {
    // With nothing to do it only reads.
    call.log().set_action("get-config");
    Ok(Json(app.gateway.update_user_config(&call, &Attributes::new(), &[]).await?))
}

/// Change your configuration
///
/// A JSON merge patch (RFC 7396): what is given is set, null deletes, the rest stays. Answers the whole map afterwards.
#[utoipa::path(
    patch, path = "/config", tag = "Identity",
    request_body(content = Object, description = "The changes.", example = json!({"theme": "dark", "old_setting": null})),
    responses(
        (status = 200, description = "The whole map.", body = Object, example = json!({"theme": "dark"})),
        Changing,
    ),
)]
async fn change_config(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(patch): Body<Map<String, Value>>,
) -> Result<Json<Attributes>, Problem> {
    let (deleted, patches): (Vec<_>, Vec<_>) = patch.into_iter().partition(|(_, value)| value.is_null());
    let deleted: Vec<String> = deleted.into_iter().map(|(name, _)| name).collect();
    let mut stored = app.gateway.update_user_config(&call, &Attributes::new(), &[]).await?;
    let updated = patches.into_iter().map(|(name, patch)| {
        let mut value = stored.remove(&name).unwrap_or_default();
        merge(&mut value, patch);
        (name, value)
    });
    let updated: Attributes = updated.collect();
    Ok(Json(app.gateway.update_user_config(&call, &updated, &deleted).await?))
}

/// Merges a patch into a value, as RFC 7396 says.
pub(crate) fn merge(value: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *value = patch;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(fields) = value {
        for (name, change) in patch {
            if change.is_null() {
                fields.remove(&name);
            } else {
                merge(fields.entry(name).or_insert(Value::Null), change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Cases of RFC 7396, appendix A.
    #[test]
    fn merging_follows_the_rfc() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut value, patch, expected) in cases {
            merge(&mut value, patch);
            assert_eq!(value, expected);
        }
    }
}
