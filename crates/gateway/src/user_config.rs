//! What the acting user keeps for itself.

use std::collections::HashSet;

use ringfence_policy::Attributes;
use ringfence_policy::id::{MAX_ID_BYTES, check_name};

use crate::limits::json_bytes;
use crate::{Call, Gateway, Refused};

/// Entries that one user may keep.
pub const MAX_ENTRIES: usize = 1000;
/// How large they may be together, as JSON.
pub const MAX_BYTES: usize = 256 * 1024;

impl Gateway {
    /// Deletes, then updates; answers the whole map. With nothing to do it only reads.
    pub async fn update_user_config(
        &self,
        call: &Call,
        updated: &Attributes,
        deleted: &[String],
    ) -> Result<Attributes, Refused> {
        call.log.set_action("update-config");
        let user = call.own_account()?;
        let config = self.shared.store.user_config();
        let mut after = config.update(user, &Attributes::new(), &[]).await?;
        // Only what is there goes to the store, so that endless lists of keys end here.
        let named: HashSet<&String> = deleted.iter().collect();
        let deleted: Vec<String> = after.keys().filter(|key| named.contains(key)).cloned().collect();
        if updated.is_empty() && deleted.is_empty() {
            return Ok(after);
        }
        for key in updated.keys() {
            check_name("configuration key", key, MAX_ID_BYTES)?;
        }
        after.retain(|key, _| !named.contains(key));
        after.extend(updated.iter().map(|(key, value)| (key.clone(), value.clone())));
        let too_large = after.len() > MAX_ENTRIES || json_bytes(&after) > MAX_BYTES;
        // Shrinking is always possible.
        if too_large && !updated.is_empty() {
            return Err(Refused::invalid(format!(
                "the configuration is too large: at most {MAX_ENTRIES} entries and {MAX_BYTES} bytes of JSON"
            )));
        }
        Ok(config.update(user, updated, &deleted).await?)
    }
}
