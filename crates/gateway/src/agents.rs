//! What agents reach: those who come through the door for them, MCP, as some user.
//!
//! An agent is its user, and less: it reaches connections alone whose user lets agents in, changes rows only where that was
//! asked for, and runs nothing on a connection that no guard is on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_policy::{AgentTools, ConnectionKey, Permission};
use ringfence_store::connections::Connection;

use crate::acting::agent as acting;
use crate::{Call, Code, Door, Gateway, Refused};

/// A connection as an agent sees it.
#[derive(Debug, Clone)]
pub struct AgentConnection {
    /// Its key.
    pub key: ConnectionKey,
    /// The product.
    pub db_type: String,
    /// The database's name, or its alias.
    pub name: Option<String>,
    /// What its user says about it.
    pub description: Option<String>,
    /// Whether it is the one to use when none is named.
    pub is_default: bool,
    /// Whether policies, access rules or content filters stand between the agent and the data. Without them it runs nothing.
    pub is_guarded: bool,
    /// Whether the agent may change anything, as far as the connection goes.
    pub may_write: bool,
}

impl Gateway {
    /// The acting user's connections that agents are let into, in the order of adding.
    pub async fn list_agent_connections(&self, call: &Call) -> Result<Vec<AgentConnection>, Refused> {
        call.log().set_action("list-connections");
        call.needs(Permission::ReadDatabases)?;
        let user = call.principal().account();
        let connections = self.shared.store.connections();
        let list = connections.list(user).await?;
        let default = connections.default_key(user).await?;
        let mut seen = Vec::with_capacity(list.len());
        for connection in list.iter().filter(|connection| may_see(call, connection)) {
            let narrow = narrowed(call, connection);
            let connection = narrow.as_ref().unwrap_or(connection);
            let spec = &connection.spec;
            seen.push(AgentConnection {
                key: connection.key.clone(),
                db_type: spec.db_type.clone(),
                name: spec.alias.clone().or_else(|| spec.db_alias.clone()).or_else(|| spec.database.clone()),
                description: spec.description.clone(),
                is_default: default.as_ref() == Some(&connection.key),
                // What can't be looked at now is refused when it is used.
                is_guarded: !spec.push && !matches!(self.lens_on(call, connection).await, Ok(None)),
                may_write: !spec.db_access_policy.read_only,
            });
        }
        Ok(seen)
    }
}

/// What an agent is called that does not say.
const UNNAMED: &str = "mcp";
/// Longest name of a session that is looked at.
const LONGEST_SESSION: usize = 2048;

impl Gateway {
    /// The call as one of the agent that a message names. Whoever comes through the door for agents is one, named or not; whom
    /// a token or a header names already, stays.
    pub fn as_agent(&self, call: Call, name: Option<&str>) -> Result<Call, Refused> {
        if call.principal.agent.is_some() {
            return Ok(call);
        }
        let principal = acting::claimed(call.principal.clone(), Some(name.unwrap_or(UNNAMED)))?;
        call.log.set_principal(&principal);
        Ok(Call { principal, log: call.log })
    }

    /// The name of a session of the caller's, for clients that say who they are once and expect to be known by a session
    /// afterwards. It holds what they said, signed; it opens nothing, because every request is authenticated by itself.
    pub fn name_session(&self, call: &Call, agent: &str) -> String {
        let payload = format!("{} {agent}", hex::encode(rand::random::<[u8; 16]>()));
        let tag = self.shared.store.session_tag(&parts(call, &payload));
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(tag))
    }

    /// The agent that a session was begun by. The answer is the same for a session of somebody else and for none.
    //
    // INVARIANT: a session is its principal's alone. Held by the test `a_session_is_of_one_principal` of
    // tests/python/test_mcp.py.
    pub fn agent_of_session(&self, call: &Call, session: &str) -> Result<String, Refused> {
        let opened = || {
            let (payload, tag) =
                Some(session).filter(|session| session.len() <= LONGEST_SESSION)?.split_once('.')?;
            let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
            let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
            let holds = self.shared.store.is_session_tag(&parts(call, &payload), &tag);
            holds.then(|| payload.split_once(' ').map(|(_, agent)| agent.to_owned()))?
        };
        opened().ok_or_else(|| Refused::not_found("session"))
    }
}

/// Whose a session is. An administrator in somebody's place is not that somebody, and an application's user is nobody of that
/// name elsewhere.
fn parts<'a>(call: &'a Call, payload: &'a str) -> [&'a str; 6] {
    let principal = call.principal();
    let acted_by = principal.acted_by.as_ref().map_or("", |user| user.as_str());
    let account = principal.account().as_str();
    [principal.org.as_str(), principal.tenant.as_str(), account, principal.user.as_str(), acted_by, payload]
}

/// Whether the connection exists for whoever came through this door.
//
// INVARIANT: what its user closed to agents is answered like what is missing. Held by the test
// `a_closed_connection_is_missing` of tests/python/test_mcp.py.
pub(crate) fn may_see(call: &Call, connection: &Connection) -> bool {
    !is_agent(call) || connection.spec.agent_tools() != AgentTools::None
}

/// The connection as agents have it, where that is narrower: everything that asks whether it may be changed asks the same
/// setting that its user has for themselves.
//
// INVARIANT: an agent changes nothing where its user did not say so. Held by the test `without_leave_agents_read` of
// tests/python/test_mcp.py.
pub(crate) fn narrowed(call: &Call, connection: &Connection) -> Option<Connection> {
    let is_narrower = is_agent(call) && connection.spec.agent_tools() != AgentTools::ReadWrite;
    is_narrower.then(|| {
        let mut connection = connection.clone();
        connection.spec.db_access_policy.read_only = true;
        connection
    })
}

/// Refuses an agent's statement on a connection that nothing guards.
pub(crate) fn need_guard(call: &Call) -> Result<(), Refused> {
    if !is_agent(call) {
        return Ok(());
    }
    Err(Refused::new(
        Code::NotPermitted,
        "agents run statements on guarded connections only, and there is no policy on this one",
    ))
}

fn is_agent(call: &Call) -> bool {
    call.log().door() == Door::Mcp
}
