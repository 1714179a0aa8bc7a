//! Table access rules: a filter or a block on one table, for an organization, a tenant, a user or everybody.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::access_rules::{NewRule, RuleLookup};
use ringfence_gateway::{Gateway, Refused};
use serde::{Deserialize, Serialize};

use super::names::{NameStyle, ShownTableName, TableName};
use super::{ApiCaller, AppState, Empty, Reply, Scoped, given};

/// Any organization, tenant or user.
const ANY: &str = "*";

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/update-table-access-rules", post(update_rules))
        .route("/api/remove-table-access-rules", post(remove_rules))
        .route("/api/list-table-access-rules", post(list_rules))
}

#[derive(Debug, Deserialize)]
struct UpdateRequest {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    id: Option<String>,
    name: String,
    table: TableName,
    org_id: Option<String>,
    tenant_id: Option<String>,
    user_id: Option<String>,
    #[serde(rename = "type")]
    kind: RuleType,
    expression: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum RuleType {
    Filter,
    Block,
}

#[derive(Debug, Deserialize)]
struct RemoveRequest {
    rules: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ListRequest {
    table: Option<TableName>,
    ids: Option<Vec<String>>,
    lookup_user: Option<LookupUser>,
}

#[derive(Debug, Deserialize)]
struct LookupUser {
    id: String,
}

#[derive(Debug, Serialize)]
struct ListReply {
    rules: Vec<ShownRule>,
}

/// A rule in a reply.
#[derive(Debug, Serialize)]
struct ShownRule {
    id: String,
    name: String,
    table: ShownTableName,
    org_id: String,
    tenant_id: String,
    user_id: String,
    #[serde(rename = "type")]
    kind: RuleType,
    expression: Option<String>,
}

async fn update_rules(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<UpdateRequest>,
) -> Reply<Empty> {
    let mut rules = Vec::with_capacity(request.rules.len());
    for rule in request.rules {
        rule.table.check_database(&gateway, &caller.call, &key).await?;
        rules.push(rule.read()?);
    }
    gateway.update_access_rules(&caller.call, &key, rules).await?;
    Ok(Json(Empty {}))
}

async fn remove_rules(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<RemoveRequest>,
) -> Reply<Empty> {
    gateway.remove_access_rules(&caller.call, &key, &request.rules).await?;
    Ok(Json(Empty {}))
}

async fn list_rules(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ListRequest>,
) -> Reply<ListReply> {
    if let Some(table) = &request.table {
        table.check_database(&gateway, &caller.call, &key).await?;
    }
    let lookup = RuleLookup {
        table: request.table.map(|table| table.relation()),
        ids: request.ids,
        user: request.lookup_user.map(|user| user.id),
    };
    let rules = gateway.list_access_rules(&caller.call, &key, lookup).await?;
    let style = NameStyle::of_connection(&gateway, &caller.call, &key).await?;
    let any = |part: Option<&str>| part.unwrap_or(ANY).to_owned();
    let shown = rules.into_iter().map(|rule| ShownRule {
        table: style.table(&rule.schema, &rule.table),
        org_id: any(rule.org.as_ref().map(ringfence_policy::OrgId::as_str)),
        tenant_id: any(rule.tenant.as_ref().map(ringfence_policy::TenantId::as_str)),
        user_id: any(rule.user.as_ref().map(ringfence_policy::UserId::as_str)),
        kind: if rule.expression.is_some() { RuleType::Filter } else { RuleType::Block },
        id: rule.id,
        name: rule.name,
        expression: rule.expression,
    });
    Ok(Json(ListReply { rules: shown.collect() }))
}

impl Rule {
    fn read(self) -> Result<NewRule, Refused> {
        let expression = match (self.kind, given(self.expression)) {
            // What a client says beside a block says nothing.
            (RuleType::Block, _) => None,
            (RuleType::Filter, Some(expression)) => Some(expression),
            (RuleType::Filter, None) => {
                return Err(Refused::invalid("a filter needs an expression: say which rows are shown"));
            }
        };
        Ok(NewRule {
            id: given(self.id),
            name: self.name,
            table: self.table.relation(),
            org: self.org_id,
            tenant: self.tenant_id,
            user: self.user_id,
            expression,
        })
    }
}
