//! What a principal's agent reaches: connections, and the models on them.

use ringfence_gateway::agents::AgentConnection;
use ringfence_gateway::models::ModelDescription;
use ringfence_gateway::{Call, Code, Gateway, Refused};

/// All of it.
pub(super) struct Reach {
    pub(super) connections: Vec<Reached>,
}

/// A connection, and the models that the principal sees on it.
pub(super) struct Reached {
    pub(super) connection: AgentConnection,
    pub(super) models: Vec<ModelDescription>,
}

impl Reach {
    pub(super) async fn of(gateway: &Gateway, call: &Call) -> Result<Self, Refused> {
        let mut connections = Vec::new();
        for connection in gateway.list_agent_connections(call).await? {
            let models = if connection.is_guarded {
                models_of(gateway, call, connection.key.as_str()).await?
            } else {
                Vec::new()
            };
            connections.push(Reached { connection, models });
        }
        Ok(Self { connections })
    }

    /// Models on which the operation may be done, each with its connection's key.
    pub(super) fn models<'a>(
        &'a self,
        operation: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a ModelDescription)> {
        self.connections.iter().flat_map(move |reached| {
            let may = move |model: &&ModelDescription| model.operations.iter().any(|word| word == operation);
            reached.models.iter().filter(may).map(|model| (reached.connection.key.as_str(), model))
        })
    }

    /// Connections that statements may be sent to.
    pub(super) fn guarded(&self) -> impl Iterator<Item = &AgentConnection> {
        self.connections.iter().map(|reached| &reached.connection).filter(|connection| connection.is_guarded)
    }
}

/// A connection that can't be looked at now has none: the others are still there.
async fn models_of(gateway: &Gateway, call: &Call, key: &str) -> Result<Vec<ModelDescription>, Refused> {
    match gateway.describe_models(call, key).await {
        Ok(models) => Ok(models),
        Err(refused) if is_about_us(refused.code) => Err(refused),
        Err(refused) => {
            tracing::debug!(code = refused.code.row().name, "a connection without models for its agent");
            Ok(Vec::new())
        }
    }
}

/// Whether asking again may tell something else: then the list would change from call to call.
fn is_about_us(code: Code) -> bool {
    let status = code.row().status;
    status >= 500 || status == 429 || code == Code::NotPermitted
}
