//! A call of an endpoint, from its path to its answer.

use std::sync::Arc;
use std::time::Duration;

use ringfence_engine::ResultSet;
use ringfence_policy::endpoint::statement::Named;
use ringfence_policy::endpoint::{Builtin, Method, Shape, Source};
use ringfence_policy::{Permission, Principal};
use ringfence_semantic::Statement;
use ringfence_store::connections::{Connection, Proof};
use serde_json::{Map, Value, json};

use super::index::Published;
use super::{EndpointRequest, arguments, no_such_endpoint};
use crate::answers::{Answer, Keeping};
use crate::models::rows;
use crate::road::{Ready, Road};
use crate::{Call, Code, Freshness, Gateway, Refused, agents};

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointAnswer {
    /// The body.
    pub body: Arc<Value>,
    /// How old it is, when it was kept.
    pub age: Option<Duration>,
}

impl Gateway {
    /// Calls whatever is published at the path, as the caller.
    pub async fn call_endpoint(
        &self,
        call: &Call,
        request: EndpointRequest<'_>,
    ) -> Result<EndpointAnswer, Refused> {
        call.log().set_action("call-endpoint");
        let EndpointRequest { method, path, query, body, freshness } = request;
        let index = self.index(call).await?;
        let found = index.at(method, path).filter(|(published, _)| published.is_for(call.principal()));
        let (published, in_path) = found.ok_or_else(no_such_endpoint)?;
        call.log().set_object(&published.endpoint.name);
        let arguments = arguments::read(&published.endpoint.parameters, &in_path, &query, body.as_ref())?;
        self.answer(call, published, &arguments, freshness).await
    }

    /// Calls an endpoint by its name, with its parameters by theirs; nothing that was kept is answered.
    pub async fn try_endpoint(
        &self,
        call: &Call,
        name: &str,
        parameters: &Map<String, Value>,
    ) -> Result<EndpointAnswer, Refused> {
        call.log().set_action("try-endpoint");
        call.log().set_object(name);
        let index = self.index(call).await?;
        let found = index.named(name).filter(|published| published.is_for(call.principal()));
        let published = found.ok_or_else(|| Refused::not_found("endpoint"))?;
        let arguments = arguments::by_name(&published.endpoint.parameters, parameters)?;
        self.answer(call, published, &arguments, Freshness::UNKEPT).await
    }

    /// Has the guard look at the statement as the caller would run it; it is not run.
    pub(super) async fn try_out(
        &self,
        call: &Call,
        connection: &Connection,
        published: &Published,
    ) -> Result<(), Refused> {
        let refused = match Box::pin(self.prepared(call, published, &Map::new())).await {
            Ok((_, ready)) => return refuse_reading_changes(published, &ready),
            Err(refused) => refused,
        };
        // What its author lacks, its callers may have: attributes, and where each tenant has a schema, relations in it.
        let lens = self.lens_on(call, connection).await?;
        let has_schemas = lens.is_some_and(|lens| lens.policy.policy.tenancy.is_some());
        match refused.code {
            Code::TenantScopeRequired => Ok(()),
            Code::RelationUnknown | Code::ColumnUnknown if has_schemas => Ok(()),
            _ => Err(refused),
        }
    }

    async fn answer(
        &self,
        call: &Call,
        published: &Published,
        arguments: &Map<String, Value>,
        freshness: Freshness,
    ) -> Result<EndpointAnswer, Refused> {
        if let Source::Builtin(Builtin::Whoami) = published.endpoint.source {
            return Ok(EndpointAnswer {
                body: Arc::new(wrapped(published, whoami(call.principal()))),
                age: None,
            });
        }
        let (road, ready) = Box::pin(self.prepared(call, published, arguments)).await?;
        refuse_reading_changes(published, &ready)?;
        let keeping = Keeping {
            what: "endpoint",
            time: published.endpoint.cache.filter(|_| !ready.writes()),
            freshness,
        };
        let Answer { result, age } = road.answer(&ready, keeping).await?;
        call.log().set_rows(result.affected.unwrap_or(result.rows.len() as u64));
        let body = Arc::new(wrapped(published, shaped(published, self.shared.config.max_rows, &result)?));
        Ok(EndpointAnswer { body, age })
    }

    /// The statement, ready to run on the author's connection behind the caller's view.
    async fn prepared<'c>(
        &'c self,
        call: &'c Call,
        published: &Published,
        arguments: &Map<String, Value>,
    ) -> Result<(Road<'c>, Ready), Refused> {
        call.needs(Permission::ReadDatabases)?;
        let permit = self.enter(call).await?;
        let connection = self.authors_connection(call, published).await?;
        let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
        let (text, named) = published.statement(kind)?;
        let road = Road::to(self, call, connection, permit, unguarded).await?;
        let mut parameters = Vec::with_capacity(named.len());
        for named in named {
            parameters.push(match named {
                Named::Parameter(name) => arguments.get(&name).cloned().unwrap_or(Value::Null),
                Named::Principal(path) => {
                    let value = road.seat.principal.value(&path).map(std::borrow::Cow::into_owned);
                    // What is missing is never "whatever it may be".
                    value.ok_or_else(|| {
                        Refused::new(
                            Code::TenantScopeRequired,
                            format!("{path} is not set for you: ask your administrator"),
                        )
                    })?
                }
            });
        }
        let statement = Statement { text, parameters };
        let mut ready = road.guard(&road.seat, &statement, None).await?;
        if let Some(most) = published.endpoint.max_rows {
            ready.options.max_rows = ready.options.max_rows.min(most.saturating_add(1));
        }
        Ok((road, ready))
    }

    /// The connection that the author has under the endpoint's key.
    async fn authors_connection(
        &self,
        call: &Call,
        published: &Published,
    ) -> Result<Arc<Connection>, Refused> {
        let Source::Statement { connection: key, .. } = &published.endpoint.source else {
            return Err(Refused::internal(&"an endpoint without a connection"));
        };
        let key = ringfence_policy::ConnectionKey::new(key).map_err(|_| unusable())?;
        call.log().set_connection(key.as_str());
        let store = &self.shared.store;
        // INVARIANT: an author who went to another organization takes nothing along.
        let author = self.shared.principals.principal(store, &published.author).await?;
        if author.is_none_or(|author| author.org != call.principal().org) {
            return Err(unusable());
        }
        let found = self.shared.connections.get(store, &published.author, &key).await?;
        let mut connection = found.ok_or_else(unusable)?;
        if connection.proof != Proof::Proven {
            // A copy may be older than the proof.
            let fresh = store.connections().get(&published.author, &key).await?;
            connection = fresh.map(Arc::new).ok_or_else(unusable)?;
            if connection.proof != Proof::Proven {
                return Err(unusable());
            }
        }
        if !agents::may_see(call, &connection) {
            return Err(no_such_endpoint());
        }
        Ok(agents::narrowed(call, &connection).map_or(connection, Arc::new))
    }
}

fn unusable() -> Refused {
    Refused::new(
        Code::EndpointUnusable,
        "the endpoint can't be used now: its author, or the connection that it runs on, is gone or not ready; tell an administrator",
    )
}

fn unguarded() -> Refused {
    Refused::new(
        Code::EndpointUnusable,
        "endpoints run on connections that a policy guards, and there is none on this one: tell an administrator",
    )
}

/// Browsers and proxies call what is read without being asked.
fn refuse_reading_changes(published: &Published, ready: &Ready) -> Result<(), Refused> {
    if published.endpoint.method == Method::Get && ready.writes() {
        return Err(Refused::new(
            Code::WriteDenied,
            "a GET changes nothing: give the endpoint another method",
        ));
    }
    Ok(())
}

fn whoami(principal: &Principal) -> Value {
    json!({ "name": principal.user.as_str(), "roles": principal.data_roles })
}

fn wrapped(published: &Published, value: Value) -> Value {
    match &published.endpoint.result.wrap {
        None => value,
        Some(key) => json!({ key: value }),
    }
}

fn shaped(published: &Published, most: u64, result: &ResultSet) -> Result<Value, Refused> {
    let endpoint = &published.endpoint;
    let most = endpoint.max_rows.map_or(most, |own| own.min(most));
    if result.rows.len() as u64 > most || result.more_rows > 0 {
        return Err(Refused::new(
            Code::BudgetExceeded,
            format!("the endpoint answers at most {most} rows: ask for less"),
        ));
    }
    if result.columns.is_empty() {
        return Ok(json!({ "affected": result.affected.unwrap_or(0) }));
    }
    let several = || {
        Refused::new(
            Code::EndpointUnusable,
            "the statement answered more than one row, or more than one value",
        )
    };
    if endpoint.result.shape == Shape::Scalar && result.columns.len() > 1 {
        return Err(several());
    }
    let names: Vec<String> = result.columns.iter().map(|column| column.name.clone()).collect();
    let scalar = result.rows.first().and_then(|row| row.first()).cloned();
    let rows = rows::named(&result.rows, &names);
    if endpoint.result.shape != Shape::Rows && rows.len() > 1 {
        return Err(several());
    }
    let nothing = || Refused::not_found("row");
    let shaped = match endpoint.result.shape {
        Shape::Rows => serde_json::to_value(rows),
        Shape::Row => serde_json::to_value(rows.into_iter().next().ok_or_else(nothing)?),
        Shape::Scalar => serde_json::to_value(rows::Cell::Value(scalar.ok_or_else(nothing)?)),
    };
    shaped.map_err(|error| Refused::internal(&error))
}
