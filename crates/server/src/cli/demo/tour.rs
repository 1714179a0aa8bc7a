//! Asking: every number that the demo shows comes from a query that ran as that user.

use ringfence_engine::Value;
use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::{Call, Gateway, Refused};

use super::world::{Member, World, connection_key};
use crate::cli::failure::Failure;
use crate::cli::operator::with_key;

/// What one user got.
pub(super) struct Finding {
    /// Tables and views that the catalog shows, over all connections.
    pub(super) tables: usize,
    pub(super) orders: i64,
    /// The answer to asking for a connection of others.
    pub(super) elsewhere: String,
    /// The answer to an INSERT that changes nothing where it is allowed.
    pub(super) writing: Result<(), String>,
}

/// What came of stepping into another user's place.
pub(super) struct Stepping {
    pub(super) who: &'static str,
    pub(super) target: &'static str,
    /// Orders seen, or the refusal.
    pub(super) outcome: Result<i64, String>,
}

/// Everything that was found, members in their order.
pub(super) struct Findings {
    pub(super) members: Vec<Finding>,
    pub(super) steppings: Vec<Stepping>,
}

/// Whom heads of organizations try to act for: one of their own, and one of another's.
const STEPPINGS: [(&str, &str, &str); 2] = [("ada", "pia", "paris"), ("ada", "kenji", "tokyo")];

/// Asks as every member.
pub(super) async fn ask_all(gateway: &Gateway, world: &World) -> Result<Findings, Failure> {
    let mut members = Vec::new();
    for member in &world.members {
        members.push(ask(gateway, member).await?);
    }
    let mut steppings = Vec::new();
    for (who, target, shop) in STEPPINGS {
        let Some(member) = world.members.iter().find(|member| member.person.id == who) else {
            continue;
        };
        let key = connection_key(shop);
        let asked = with_key(gateway, "run-query", member.secret(), Some(target), async |call| {
            count(gateway, call, &key, "orders").await
        });
        steppings.push(Stepping { who, target, outcome: asked.await.map_err(|refused| refused.to_string()) });
    }
    Ok(Findings { members, steppings })
}

async fn ask(gateway: &Gateway, member: &Member) -> Result<Finding, Failure> {
    let (mut tables, mut orders) = (0, 0);
    for shop in member.person.shops {
        let key = connection_key(shop);
        tables += with_key(gateway, "get-catalogs", member.secret(), None, async |call| {
            let view = gateway.catalog(call, &key, &[]).await?;
            Ok(view.map_or(0, |view| view.catalog.schemas.iter().map(|schema| schema.relations.len()).sum()))
        })
        .await?;
        orders += run_count(gateway, member, &key, "orders").await?;
    }
    let elsewhere = match run_count(gateway, member, &connection_key(member.person.covets), "orders").await {
        // INVARIANT: this arm is never taken; the test `demo_shows_who_can_see_what` holds it.
        Ok(rows) => format!("SAW {rows} ROWS"),
        Err(refused) => refused.code.row().title.to_lowercase(),
    };
    let home = connection_key(member.person.tenant);
    let nothing = "INSERT INTO customers SELECT * FROM customers WHERE 1 = 0";
    let writing = with_key(gateway, "run-query", member.secret(), None, async |call| {
        run(gateway, call, &home, nothing).await
    });
    let writing = writing.await.map(drop).map_err(|refused| refused.to_string());
    Ok(Finding { tables, orders, elsewhere, writing })
}

async fn run_count(gateway: &Gateway, member: &Member, key: &str, table: &str) -> Result<i64, Refused> {
    with_key(gateway, "run-query", member.secret(), None, async |call| count(gateway, call, key, table).await)
        .await
}

async fn count(gateway: &Gateway, call: &Call, key: &str, table: &str) -> Result<i64, Refused> {
    match run(gateway, call, key, &format!("SELECT count(*) FROM {table}"))
        .await?
        .first()
        .and_then(|row| row.first())
    {
        Some(Value::Integer(rows)) => Ok(*rows),
        other => Err(Refused::internal(&format_args!("a count is no number: {other:?}"))),
    }
}

async fn run(gateway: &Gateway, call: &Call, key: &str, statement: &str) -> Result<Vec<Vec<Value>>, Refused> {
    let request = QueryRequest { statement: statement.to_owned(), ..QueryRequest::default() };
    Ok(gateway.run_query(call, key, request).await?.result.rows.clone())
}
