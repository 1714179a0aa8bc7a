//! The floor: axum, a pool, a prepared statement, and the JSON that the gateway answers. No key is checked, nothing
//! is recorded, nobody is kept apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde_json::{Map, Value, json};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row};

use crate::arguments::Arguments;
use crate::models;

pub(crate) struct Floor {
    pub(crate) pool: Pool,
    /// Whose rows the models' handlers answer: what an application has from its session.
    pub(crate) tenant: String,
    answered: AtomicU64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<(), String> {
    let config = arguments.needed("postgres")?.parse().map_err(|error| format!("--postgres: {error}"))?;
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager)
        .max_size(arguments.number("pool", 32)?)
        .build()
        .map_err(|error| error.to_string())?;
    let tenant = arguments.text("tenant").unwrap_or_default().to_owned();
    let floor = Arc::new(Floor { pool, tenant, answered: AtomicU64::new(0) });
    let router = Router::new()
        .route("/api/run-query", post(run_query))
        .route("/api/get-user-info", post(get_user_info))
        .merge(models::router())
        .with_state(floor);
    let listen = arguments.needed("listen")?;
    let listener =
        tokio::net::TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
    axum::serve(listener, router).await.map_err(|error| error.to_string())
}

/// `{"query": ...}`, with `"n"` bound as `$1` when it is there: what an application does instead of writing literals.
async fn run_query(
    State(floor): State<Arc<Floor>>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let query = body["query"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
    let client = floor.pool.get().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let statement = client.prepare_cached(query).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    let number = body["n"].as_i64();
    let bound: Vec<&(dyn ToSql + Sync)> = number.iter().map(|number| number as &(dyn ToSql + Sync)).collect();
    let rows = client.query(&statement, &bound).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    let columns: Vec<Value> = statement
        .columns()
        .iter()
        .map(|column| {
            let name = column.name().to_ascii_uppercase();
            json!({"name": name, "type": column.type_().name(), "comment": null, "description": null, "sample_values": null})
        })
        .collect();
    let uuid = floor.answered.fetch_add(1, Ordering::Relaxed);
    Ok(Json(json!({
        "rows": rows.iter().map(row_object).collect::<Vec<_>>(),
        "more_rows": 0,
        "column_definitions": columns,
        "query_uuid": format!("00000000-0000-7000-8000-{uuid:012x}"),
    })))
}

async fn get_user_info() -> Json<Value> {
    Json(json!({
        "id": "bench-user", "name": "Bench User", "email": "bench-user", "roles": ["waii-api-user"],
        "permissions": [
            "write:databases", "read:similarity-search-index", "read:liked-queries", "write:semantic-context",
            "read:databases", "write:liked-queries", "usage:api", "read:semantic-context", "write:access_key"
        ],
    }))
}

/// The types that the workload has; anything else is null.
fn row_object(row: &Row) -> Value {
    let object: Map<String, Value> = row
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let value = match *column.type_() {
                Type::INT4 => json!(row.get::<_, Option<i32>>(index)),
                Type::INT8 => json!(row.get::<_, Option<i64>>(index)),
                Type::TEXT | Type::VARCHAR => json!(row.get::<_, Option<&str>>(index)),
                Type::BOOL => json!(row.get::<_, Option<bool>>(index)),
                _ => Value::Null,
            };
            (column.name().to_ascii_uppercase(), value)
        })
        .collect();
    Value::Object(object)
}
