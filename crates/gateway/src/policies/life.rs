//! The end of a policy: taking it away, which opens its data source.

use ringfence_store::policies::{Expected, PolicyDraft, PolicyVersion};

use super::{MAX_COMMENT_BYTES, check_size};
use crate::{Call, Gateway, Refused};

impl Gateway {
    /// Takes the policy away, in place of exactly this version. Every connection of the organization to the data source is
    /// open from then on: whoever has one runs any statement there, with the rights of the database's own user. The
    /// history stays, with a version that says so.
    //
    // INVARIANT: nothing opens by accident: the version must be named, a place without a policy is refused, and a node
    // that has not heard of it yet goes on guarding. Held by the test `a_removed_policy_opens_the_connection`.
    pub async fn remove_policy(
        &self,
        call: &Call,
        key: &str,
        version: i64,
        comment: Option<String>,
    ) -> Result<PolicyVersion, Refused> {
        call.log().set_action("remove-policy");
        call.log().set_reason(comment.as_deref());
        let (_, place) = self.governed(call, key).await?;
        check_size("the comment", comment.as_deref().unwrap_or_default(), MAX_COMMENT_BYTES)?;
        self.policy_in_force(&place).await?;
        let draft = PolicyDraft {
            document: String::new(),
            author: call.principal().authenticated_user().clone(),
            comment,
            created_at: crate::call::now_ms(),
            footprint: None,
            removed: true,
        };
        let removed = self.add_version(call, &place, Expected::Version(version), draft).await?;
        tracing::warn!(policy.place = %place.place, policy.version = removed.version, "a policy was removed: its connections are open");
        Ok(removed)
    }
}
