//! Has PostgreSQL plan a statement, and reads from the plan what it would touch.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::future::join;
use ringfence_guard::GuardedQuery;
use serde_json::Value as Json;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::failure;
use super::parameter::{Bound, refuse_nul};
use super::pool::{Pools, Wish};
use super::prepared::Prepared;
use super::run::give_up;
use super::session::{Purpose, Tidy};
use super::transaction::{Failure, Opening, Transaction};
use crate::watchdog::Watchdog;
use crate::{Explained, RunOptions, SourceAddress, SourceError};

/// The relations (schema, name) of the plan. A statement that has none is only parsed, which finds no missing names.
pub(super) async fn explain(
    pools: &Arc<Pools>,
    closing: CancellationToken,
    address: &SourceAddress,
    query: &GuardedQuery,
    options: &RunOptions,
) -> Result<Explained, SourceError> {
    let Some(plan) = planned(pools, closing, address, query, options).await? else {
        return Ok(Explained::NoPlan);
    };
    let mut relations = BTreeSet::new();
    collect(&plan, &mut relations);
    Ok(Explained::Plan(relations.into_iter().collect()))
}

/// The planner's estimate, in its own unit; `None` for a statement without a plan.
pub(super) async fn cost(
    pools: &Arc<Pools>,
    closing: CancellationToken,
    address: &SourceAddress,
    query: &GuardedQuery,
    options: &RunOptions,
) -> Result<Option<f64>, SourceError> {
    Ok(total(planned(pools, closing, address, query, options).await?.as_ref()))
}

/// The same within a read-only transaction that is open already.
pub(super) async fn cost_within(
    client: &Client,
    query: &GuardedQuery,
) -> Result<(Option<f64>, bool), Failure> {
    refuse_nul(query.parameters()).map_err(Failure::Refused)?;
    let prepared = Prepared::new(client, query.sql()).await.map_err(Failure::Database)?;
    let (plan, looked_up_types) = explained(client, query, &prepared).await?;
    Ok((total(plan.as_ref()), looked_up_types))
}

fn total(plan: Option<&Json>) -> Option<f64> {
    plan.and_then(|plan| plan.pointer("/0/Plan/Total Cost")).and_then(Json::as_f64)
}

async fn planned(
    pools: &Arc<Pools>,
    closing: CancellationToken,
    address: &SourceAddress,
    query: &GuardedQuery,
    options: &RunOptions,
) -> Result<Option<Json>, SourceError> {
    // Planning evaluates functions declared immutable, which an owner may have declared wrongly: so it is read-only
    // and rolled back.
    let opening = Opening::of(Transaction::ReadOnly, options)?.ok_or(SourceError::Lost)?;
    let wish = if query.may_change_session() { Wish::Cold } else { Wish::Warm };
    let mut lease = pools.lease(address, Purpose::of(query), wish).await?;
    let session = lease.session()?;
    session.in_flight = true;
    let mut watchdog = Watchdog::new(options.timeout, CancellationToken::new(), closing);
    let tidy = Tidy { transaction: Transaction::ReadOnly, discard: query.may_change_session() };
    match watchdog.guard(plan(&session.client, query, &opening)).await {
        Ok(Ok((plan, looked_up_types))) => {
            session.looked_up_types |= looked_up_types;
            lease.give_back(tidy);
            Ok(plan)
        }
        Ok(Err(failure)) => Err(give_up(lease, &failure, tidy, query.fence().is_some())),
        Err(stop) => {
            lease.stop().await;
            Err(stop)
        }
    }
}

/// The plan, if the statement has one, and whether types were looked up.
async fn plan(
    client: &Client,
    query: &GuardedQuery,
    opening: &Opening,
) -> Result<(Option<Json>, bool), Failure> {
    refuse_nul(query.parameters()).map_err(Failure::Refused)?;
    let (begun, prepared) = join(opening.begin(client), Prepared::new(client, query.sql())).await;
    begun?;
    explained(client, query, &prepared.map_err(Failure::Database)?).await
}

async fn explained(
    client: &Client,
    query: &GuardedQuery,
    prepared: &Prepared,
) -> Result<(Option<Json>, bool), Failure> {
    prepared.match_parameters(query.parameters().len()).map_err(Failure::Refused)?;
    // The text alone is one statement, so this is one too; the database refuses a second one here as well.
    let explain = format!("EXPLAIN (VERBOSE, FORMAT JSON) {}", query.sql());
    match client.query_raw(&explain, query.parameters().iter().map(Bound)).await {
        Ok(rows) => {
            let rows: Vec<_> = rows.try_collect().await.map_err(Failure::Database)?;
            let plan = rows.first().and_then(|row| row.try_get::<_, super::binary::Bytes<'_>>(0).ok());
            let plan = plan.and_then(|bytes| serde_json::from_slice(bytes.0).ok());
            Ok((Some(plan.unwrap_or(Json::Null)), prepared.shape.looked_up_types))
        }
        // It parses, and EXPLAIN does not take it: a statement without a plan, such as CREATE or SET.
        Err(error) if failure::is_syntax_error(&error) => Ok((None, prepared.shape.looked_up_types)),
        Err(error) => Err(Failure::Database(error)),
    }
}

fn collect(plan: &Json, relations: &mut BTreeSet<(String, String)>) {
    match plan {
        Json::Array(plans) => plans.iter().for_each(|plan| collect(plan, relations)),
        Json::Object(node) => {
            if let (Some(schema), Some(relation)) =
                (text(node.get("Schema")), text(node.get("Relation Name")))
            {
                relations.insert((schema, relation));
            }
            node.values()
                .filter(|value| value.is_array() || value.is_object())
                .for_each(|value| collect(value, relations));
        }
        _ => {}
    }
}

fn text(value: Option<&Json>) -> Option<String> {
    value.and_then(Json::as_str).map(str::to_owned)
}
