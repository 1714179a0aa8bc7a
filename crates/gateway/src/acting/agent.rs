//! The agent that a caller says it is.

use std::sync::Arc;

use ringfence_policy::id::check_name;
use ringfence_policy::{Agent, Principal};

use crate::Refused;

/// Longest name of an agent, in bytes.
pub const MAX_BYTES: usize = 128;

/// An agent's name as tokens and headers may have it.
pub(crate) fn checked(name: &str) -> Result<&str, &'static str> {
    if check_name("agent", name, MAX_BYTES).is_err() {
        return Err("the agent's name is empty, too long, or has control characters");
    }
    if name.eq_ignore_ascii_case(Agent::UNVERIFIED) {
        return Err("`unverified` stands for agents that nobody vouches for");
    }
    Ok(name)
}

/// The principal with the agent that the request names for itself. One that a token names stands, and another beside it is
/// refused: the record would have to choose.
pub(crate) fn claimed(principal: Arc<Principal>, name: Option<&str>) -> Result<Arc<Principal>, Refused> {
    let Some(name) = name else { return Ok(principal) };
    let name = checked(name).map_err(Refused::invalid)?;
    match &principal.agent {
        Some(agent) if agent.label() == name => Ok(principal),
        Some(_) => Err(Refused::invalid("the request names another agent than the token: name one of them")),
        None => {
            let agent = Some(Agent::Claimed(name.to_owned()));
            Ok(Arc::new(Principal { agent, ..Principal::clone(&principal) }))
        }
    }
}
