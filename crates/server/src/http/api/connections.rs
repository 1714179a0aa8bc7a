//! The acting user's connections: one endpoint changes and lists them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::connections::{
    ConnectionEdits, ConnectionList, ConnectionView, IndexView, NewConnection,
};
use ringfence_gateway::{Gateway, Refused};
use ringfence_policy::{ConnectionSpec, UserId};
use ringfence_store::sources::{IndexStatus, SchemaProgress};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::request::{Nothing, parse_at};
use super::{ApiCaller, AppState, Empty, Reply, Wire, given};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/update-db-connect-info", post(edit_connections))
        .route("/api/refresh-db-connection", post(refresh_connection))
        .route("/api/get-models", post(list_models))
}

#[derive(Debug, Deserialize)]
struct EditRequest {
    /// Raw, because each holds a password beside what the gateway keeps as the specification.
    updated: Option<Vec<Box<RawValue>>>,
    removed: Option<Vec<String>>,
    validate_before_save: Option<bool>,
    default_db_connection_key: Option<String>,
    owner_user_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RefreshRequest {
    db_conn_key: String,
}

#[derive(Debug, Serialize)]
struct ConnectionReply {
    connectors: Vec<Connector>,
    /// Why indexing failed, where it did.
    diagnostics: Option<String>,
    default_db_connection_key: Option<String>,
    connector_status: BTreeMap<String, ShownStatus>,
}

/// A connection as the SDK prints it.
#[derive(Debug, Serialize)]
struct Connector {
    key: String,
    #[serde(flatten)]
    spec: ConnectionSpec,
    password: (),
    secure: bool,
    waii_user_id: String,
    external_authentication_uri: (),
    need_external_authentication: (),
}

#[derive(Debug, Serialize)]
struct ShownStatus {
    status: IndexStatus,
    schema_status: BTreeMap<String, ShownSchemaStatus>,
    index_percentage: serde_json::Number,
}

#[derive(Debug, Serialize)]
struct ShownSchemaStatus {
    n_pending_indexing_tables: u32,
    n_total_tables: u32,
    status: IndexStatus,
}

#[derive(Debug, Serialize)]
struct ModelList {
    models: [(); 0],
}

/// Changes what the request names, if anything, and lists the acting user's connections.
async fn edit_connections(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<EditRequest>,
) -> Reply<ConnectionReply> {
    let edits = read_edits(request)?;
    if !edits.updated.is_empty() || !edits.removed.is_empty() || edits.default.is_some() {
        gateway.edit_connections(&caller.call, edits).await?;
    }
    let list = gateway.list_connections(&caller.call).await?;
    Ok(Json(show_list(list, &caller.call.principal().user)))
}

/// Answers at once; indexing runs behind.
async fn refresh_connection(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<RefreshRequest>,
) -> Reply<Empty> {
    gateway.refresh_connection(&caller.call, &request.db_conn_key).await?;
    Ok(Json(Empty {}))
}

/// There are none: nothing here is generated.
async fn list_models(_caller: ApiCaller, Wire(Nothing {}): Wire<Nothing>) -> Reply<ModelList> {
    Ok(Json(ModelList { models: [] }))
}

fn read_edits(request: EditRequest) -> Result<ConnectionEdits, Refused> {
    let updated = request.updated.unwrap_or_default();
    let updated = updated.iter().enumerate().map(|(index, raw)| read_connection(index, raw.get()));
    Ok(ConnectionEdits {
        updated: updated.collect::<Result<_, _>>()?,
        removed: request.removed.unwrap_or_default(),
        validate_before_save: request.validate_before_save.unwrap_or(false),
        default: given(request.default_db_connection_key),
        owner: given(request.owner_user_id),
        must_be_new: false,
        must_exist: false,
    })
}

fn read_connection(index: usize, text: &str) -> Result<NewConnection, Refused> {
    #[derive(Deserialize)]
    struct PasswordOnly {
        password: Option<String>,
    }

    let place = format!("updated[{index}]");
    if !text.starts_with('{') {
        return Err(Refused::invalid(format!("{place}: a connection is an object")));
    }
    let spec: ConnectionSpec = parse_at(&place, text)?;
    if spec.db_type.is_empty() {
        return Err(Refused::invalid(format!("{place}: missing field `db_type`")));
    }
    let secret: PasswordOnly = parse_at(&place, text)?;
    Ok(NewConnection { spec, password: secret.password.map(SecretString::from) })
}

fn show_list(list: ConnectionList, acting: &UserId) -> ConnectionReply {
    let failures: Vec<String> = list
        .connections
        .iter()
        .filter_map(|view| view.index.diagnostics.as_ref().map(|reason| format!("{}: {reason}", view.key)))
        .collect();
    ConnectionReply {
        diagnostics: if failures.is_empty() { None } else { Some(failures.join("\n")) },
        default_db_connection_key: list.default.map(String::from),
        connector_status: list
            .connections
            .iter()
            .map(|view| (view.key.to_string(), ShownStatus::from(&view.index)))
            .collect(),
        connectors: list.connections.into_iter().map(|view| show_connector(view, acting)).collect(),
    }
}

fn show_connector(view: ConnectionView, acting: &UserId) -> Connector {
    let spec = if view.owner == *acting { view.spec } else { without_address(view.spec) };
    Connector {
        key: view.key.to_string(),
        spec,
        password: (),
        secure: true,
        waii_user_id: view.owner.to_string(),
        external_authentication_uri: (),
        need_external_authentication: (),
    }
}

/// What a user sees who is not the owner.
fn without_address(spec: ConnectionSpec) -> ConnectionSpec {
    ConnectionSpec {
        db_type: spec.db_type,
        alias: spec.alias,
        host_alias: spec.host_alias,
        user_alias: spec.user_alias,
        db_alias: spec.db_alias,
        sample_col_values: true,
        ..ConnectionSpec::default()
    }
}

impl From<&IndexView> for ShownStatus {
    fn from(index: &IndexView) -> Self {
        let shown = |(name, progress): (&String, &SchemaProgress)| {
            let status = match (progress.pending, index.status) {
                (0, _) => IndexStatus::Completed,
                (_, IndexStatus::Failed) => IndexStatus::Failed,
                _ => IndexStatus::Indexing,
            };
            let shown = ShownSchemaStatus {
                n_pending_indexing_tables: progress.pending,
                n_total_tables: progress.total,
                status,
            };
            (ringfence_gateway::catalog::shown_name(name), shown)
        };
        Self {
            status: index.status,
            schema_status: index.schemas.iter().map(shown).collect(),
            index_percentage: whole_percent(index.percentage),
        }
    }
}

/// Rounded down to a whole number, so that 100 means done.
fn whole_percent(percentage: f64) -> serde_json::Number {
    let floor = (0_u8..=100).rev().find(|whole| f64::from(*whole) <= percentage);
    floor.unwrap_or(0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_whole_and_done_means_done() {
        let cases = [(-1.0, 0), (0.0, 0), (99.99, 99), (100.0, 100), (101.0, 100), (f64::NAN, 0)];
        for (given, shown) in cases {
            assert_eq!(whole_percent(given), serde_json::Number::from(shown), "{given}");
        }
    }

    #[test]
    fn a_connection_is_read_with_its_password_beside() {
        let read =
            read_connection(0, r#"{"db_type":"postgresql","password":"p","port":null,"key":"x","later":1}"#)
                .unwrap();
        assert_eq!(read.spec.port, None);
        assert!(read.password.is_some());
        let cases = [
            (
                r#"{"db_type":"postgresql","port":"x"}"#,
                r#"updated[3].port: invalid type: string "x", expected a whole number from 0 to 65535"#,
            ),
            (r#"{"host":"h"}"#, "updated[3]: missing field `db_type`"),
            (
                r#"{"db_type":"postgresql","password":1}"#,
                "updated[3].password: invalid type: integer `1`, expected a string",
            ),
            (r#"["postgresql"]"#, "updated[3]: a connection is an object"),
        ];
        for (text, message) in cases {
            assert_eq!(read_connection(3, text).unwrap_err().message, message, "{text}");
        }
    }
}
