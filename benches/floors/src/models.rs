//! The floor of the models API: what an engineer would write by hand for these four requests, a handler and a prepared
//! statement each. The tenant is bound as the gateway's policy binds it; no key is checked, nothing is recorded.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::serve::Floor;

/// Rows of a page when the request doesn't say.
const TAKE: i64 = 100;

pub(crate) fn router() -> Router<Arc<Floor>> {
    Router::new()
        .route("/models/Order/query", post(query))
        .route("/models/Order/get", post(get))
        .route("/models/Order/aggregate", post(aggregate))
        .route("/models/Order/create", post(create))
}

/// The latest orders of a status.
async fn query(State(floor): State<Arc<Floor>>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let status = body["where"][0]["value"].as_str().ok_or(StatusCode::BAD_REQUEST)?;
    let take = body["take"].as_i64().unwrap_or(TAKE);
    let mut rows = ask(
        &floor,
        "SELECT id, user_id, status, total, created_at FROM orders WHERE tenant_id = $1 AND status = $2
         ORDER BY created_at DESC, id DESC LIMIT $3",
        &[&floor.tenant, &status, &(take + 1)],
    )
    .await?;
    let has_more = i64::try_from(rows.len()).is_ok_and(|found| found > take);
    rows.truncate(usize::try_from(take).unwrap_or_default());
    let next = rows.last().filter(|_| has_more).map(|row| format!("{}.{}", row["created_at"], row["id"]));
    Ok(Json(json!({ "rows": rows, "has_more": has_more, "next_cursor": next })))
}

async fn get(State(floor): State<Arc<Floor>>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let id = body["id"].as_i64().ok_or(StatusCode::BAD_REQUEST)?;
    let rows = ask(
        &floor,
        "SELECT id, user_id, status, total, created_at FROM orders WHERE tenant_id = $1 AND id = $2",
        &[&floor.tenant, &id],
    )
    .await?;
    rows.into_iter().next().map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn aggregate(State(floor): State<Arc<Floor>>) -> Result<Json<Value>, StatusCode> {
    let rows = ask(
        &floor,
        "SELECT status, count(*) AS orders, sum(total) AS revenue FROM orders WHERE tenant_id = $1
         GROUP BY status ORDER BY status",
        &[&floor.tenant],
    )
    .await?;
    Ok(Json(json!({ "rows": rows, "has_more": false })))
}

async fn create(State(floor): State<Arc<Floor>>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let data = &body["data"];
    let user = data["user_id"].as_i64().and_then(|user| i32::try_from(user).ok());
    let (status, note) = (data["status"].as_str(), data["note"].as_str());
    let total = data["total"].as_str();
    let rows = ask(
        &floor,
        "INSERT INTO orders (tenant_id, user_id, status, total, note) VALUES ($1, $2, $3, $4::text::numeric, $5)
         RETURNING id, tenant_id, user_id, status, total, created_at, note",
        &[&floor.tenant, &user, &status, &total, &note],
    )
    .await?;
    Ok(Json(json!({ "action": "create", "model": "Order", "affected": rows.len(), "rows": rows })))
}

async fn ask(
    floor: &Floor,
    statement: &str,
    bound: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Value>, StatusCode> {
    let client = floor.pool.get().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let statement = client.prepare_cached(statement).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let rows = client.query(&statement, bound).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(rows.iter().map(object).collect())
}

/// The types that the workload has; anything else is null.
fn object(row: &Row) -> Value {
    let fields = row.columns().iter().enumerate().map(|(index, column)| {
        let value = match *column.type_() {
            Type::INT4 => json!(row.get::<_, Option<i32>>(index)),
            Type::INT8 => json!(row.get::<_, Option<i64>>(index)),
            Type::TEXT | Type::VARCHAR => json!(row.get::<_, Option<&str>>(index)),
            Type::NUMERIC => row.get::<_, Option<Cents>>(index).map_or(Value::Null, |cents| cents.json()),
            Type::TIMESTAMPTZ => json!(row.get::<_, Option<SystemTime>>(index).and_then(written)),
            _ => Value::Null,
        };
        (column.name().to_owned(), value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn written(time: SystemTime) -> Option<String> {
    Some(Timestamp::try_from(time).ok()?.to_string())
}

/// An amount of the workload: a numeric with two digits behind the point at most.
struct Cents(i64);

impl Cents {
    fn json(&self) -> Value {
        let whole = i32::try_from(self.0).map_or(f64::MAX, f64::from) / 100.0;
        Number::from_f64(whole).map_or(Value::Null, Value::Number)
    }
}

impl FromSql<'_> for Cents {
    /// Groups of four digits, the weight of the first, the sign, and the digits to show (`numeric_send`).
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let word = |index: usize| -> Result<i64, &'static str> {
            let bytes = raw.get(index * 2..index * 2 + 2).ok_or("a numeric is cut off")?;
            Ok(i64::from(i16::from_be_bytes([bytes[0], bytes[1]])))
        };
        let (groups, weight) = (word(0)?, word(1)?);
        let mut cents = 0;
        for index in 0..groups {
            let group = word(4 + usize::try_from(index)?)?;
            cents += match weight - index {
                power @ 0..=3 => group * 10_000_i64.pow(u32::try_from(power)?) * 100,
                -1 => group / 100,
                _ => 0,
            };
        }
        Ok(Self(if word(2)? == 0 { cents } else { -cents }))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }
}

#[cfg(test)]
mod tests {
    use super::{Cents, FromSql, Type};

    #[test]
    fn amounts_are_read() {
        // 12345.60, -0.05 and 0.
        for (words, expected) in [
            (&[3, 1, 0, 2, 1, 2345, 6000][..], 1_234_560),
            (&[1, -1, 0x4000, 2, 500][..], -5),
            (&[0, 0, 0, 0][..], 0),
        ] {
            let raw: Vec<u8> = words.iter().flat_map(|word: &i16| word.to_be_bytes()).collect();
            assert_eq!(Cents::from_sql(&Type::NUMERIC, &raw).map_or(1, |cents| cents.0), expected);
        }
    }
}
