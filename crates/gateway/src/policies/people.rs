//! Principals that administrators of policies look through: users of the organization, and people made up for a test.

use std::sync::Arc;

use ringfence_policy::expectations::Person;
use ringfence_policy::principal::permissions_of;
use ringfence_policy::{Agent, Principal, Role, TenantId, UserId};
use ringfence_store::users::UserFilter;

use crate::authentication::standing::now;
use crate::{Call, Gateway, Refused};

/// Users whose views one request compares.
const MOST_PEOPLE: usize = 1_000;
/// The user of a test that names none.
const NOBODY: &str = "test";

impl Gateway {
    /// The user as a principal. One of another organization is answered like one that is not there.
    pub(crate) async fn user_of_organization(&self, call: &Call, user: &str) -> Result<Principal, Refused> {
        let missing = || Refused::not_found("user");
        let user = UserId::new(user).map_err(|_| missing())?;
        let principal = now(&self.shared.store, &user).await?;
        principal.filter(|principal| principal.org == call.principal().org).ok_or_else(missing)
    }

    /// The named users, or all of the organization up to a bound, and how many were left out.
    pub(crate) async fn people(
        &self,
        call: &Call,
        named: &[String],
    ) -> Result<(Vec<Principal>, usize), Refused> {
        if named.len() > MOST_PEOPLE {
            return Err(Refused::invalid(format!("too many users: at most {MOST_PEOPLE}")));
        }
        let mut people = Vec::new();
        for user in named {
            people.push(self.user_of_organization(call, user).await?);
        }
        if !named.is_empty() {
            return Ok((people, 0));
        }
        let org = Some(call.principal().org.clone());
        let users = self.shared.store.users().list(&UserFilter { org, ..UserFilter::default() }).await?;
        let left_out = users.len().saturating_sub(MOST_PEOPLE);
        for user in users.iter().take(MOST_PEOPLE) {
            // One that was deleted meanwhile is none.
            people.extend(now(&self.shared.store, &user.id).await?);
        }
        Ok((people, left_out))
    }
}

/// Somebody who does not exist, in the organization of the one who asks.
pub(crate) fn made_up(call: &Call, person: &Person) -> Result<Principal, Refused> {
    let roles = match &person.roles {
        None => vec![Role::ApiUser],
        Some(names) => {
            let read = names.iter().map(|name| name.parse::<Role>());
            read.collect::<Result<_, _>>().map_err(|unknown| Refused::invalid(unknown.to_string()))?
        }
    };
    let user = person.user.as_deref().unwrap_or(NOBODY);
    Ok(Principal {
        org: call.principal().org.clone(),
        tenant: TenantId::new(&person.tenant)?,
        user: UserId::new(user)?,
        name: user.to_owned(),
        permissions: permissions_of(&roles),
        roles,
        data_roles: person.data_roles.iter().cloned().collect(),
        attributes: Arc::new(person.attributes.clone()),
        acted_by: None,
        application: None,
        agent: person.agent.clone().map(Agent::Vouched),
        standing: None,
    })
}
