//! The requester's principal, made again when their operation runs: from the store as it is then, and only if it is still
//! the one that asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_policy::principal::may_impersonate;
use ringfence_policy::{Permission, Principal};
use ringfence_store::approvals::{Approval, ApprovalRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::role_names;
use crate::authentication::standing::now;
use crate::{Call, CallLog, Code, Gateway, Refused};

/// What is remembered of a requester beside the names.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// Product and data roles.
    roles: BTreeSet<String>,
}

/// For the ticket.
pub(super) fn remembered(principal: &Principal) -> Result<Value, Refused> {
    serde_json::to_value(Remembered::of(principal)).map_err(|error| Refused::internal(&error))
}

impl Remembered {
    fn of(principal: &Principal) -> Self {
        Self { roles: role_names(principal).map(str::to_owned).collect() }
    }
}

impl Gateway {
    /// A call as the requester would make it now.
    //
    // INVARIANT: it may no more than the requester may now, and an operation that was approved for somebody with other roles, in
    // another tenant, or through somebody who may no longer speak for them does not run. Held by the test
    // `the_requester_is_made_again_when_it_runs`.
    pub(super) async fn requester_call(
        &self,
        approval: &Approval,
        log: Arc<CallLog>,
    ) -> Result<Call, Refused> {
        let ApprovalRequest { org, tenant, requester, presenter, principal: remembered, .. } =
            &approval.request;
        let changed = |what: &str| {
            let message = format!("{what} since the operation was asked for: it has to be asked for again");
            Refused::new(Code::NotPermitted, message)
        };
        let store = &self.shared.store;
        let Some(mut principal) = now(store, requester).await? else {
            return Err(changed("the requester was removed"));
        };
        if (&principal.org, &principal.tenant) != (org, tenant) {
            return Err(changed("the requester moved to another tenant"));
        }
        let remembered: Remembered =
            serde_json::from_value(remembered.clone()).map_err(|error| Refused::internal(&error))?;
        // Fewer may see more, because data roles restrict; more may do more than was shown to the approver.
        if remembered != Remembered::of(&principal) {
            return Err(changed("the requester's roles changed"));
        }
        if presenter == requester {
            if !principal.may(Permission::UsageApi) {
                return Err(Refused::lacks(Permission::UsageApi));
            }
        } else {
            let speaks = now(store, presenter).await?.is_some_and(|presenter| {
                presenter.may(Permission::UsageApi) && may_impersonate(&presenter, &principal).is_ok()
            });
            if !speaks {
                return Err(changed("who asked in the requester's name may not do so any more"));
            }
            principal.acted_by = Some(presenter.clone());
        }
        let principal = Arc::new(principal);
        log.set_principal(&principal);
        Ok(Call { principal, log })
    }
}
