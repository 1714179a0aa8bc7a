//! The operator: the command line on the machine that holds the store and its sealing key, and so every secret.

use std::sync::Arc;

use ringfence_policy::UserId;

use super::Miss;
use crate::{Call, CallLog, Door, Gateway, Refused};

impl Gateway {
    /// A call of the configured administrator without a key, perhaps in another user's place: for the command line,
    /// never for a request. Whoever may open the store needs no key to it, and gets by this road what they could not
    /// get by opening it themselves: the rules and the audit record of every other call.
    pub async fn operator_call(&self, log: &Arc<CallLog>, acting_for: Option<&str>) -> Result<Call, Refused> {
        // No request comes through this door, whatever code may one day call this.
        if log.door() != Door::Cli {
            return Err(Refused::internal(&"an operator's call from a door other than the command line"));
        }
        self.shared.audit.has_room().await?;
        let admin = UserId::new(&self.shared.config.admin.user)?;
        let operator = match self.shared.principals.by_user(&self.shared.store, &admin).await {
            Ok(copy) => copy.principal,
            Err(Miss::Unknown { .. }) => return Err(Refused::not_found("the configured administrator")),
            Err(Miss::Failed(refused)) => return Err(refused),
        };
        log.set_principal(&operator);
        let principal = match acting_for {
            None => operator,
            Some(target) => {
                log.set_object(target);
                let acting = Arc::new(self.step_into(&operator, target).await?);
                log.set_principal(&acting);
                acting
            }
        };
        Ok(Call { principal, log: log.clone() })
    }
}
