//! Data roles of single users, granted by hand: what outside sources give comes and goes beside them.

use ringfence_policy::{Permission, UserId};
use ringfence_store::individual_roles::IndividualRoles;

use crate::call::AskedOrg;
use crate::users::checked_data_roles;
use crate::{Call, Gateway, Refused};

impl Gateway {
    /// Who has any, in the caller's organization; a super administrator may name another, and sees all without. Needs
    /// `read:user`.
    pub async fn list_individual_roles(
        &self,
        call: &Call,
        org: Option<&str>,
    ) -> Result<Vec<IndividualRoles>, Refused> {
        call.log.set_action("list-individual-roles");
        call.needs(Permission::ReadUser)?;
        match call.asked_org(org)? {
            AskedOrg::OutOfSight => Ok(Vec::new()),
            AskedOrg::Seen(org) => Ok(self.shared.store.individual_roles().list(org.as_ref()).await?),
        }
    }

    /// One user's. Needs `read:user`.
    pub async fn individual_roles(&self, call: &Call, user: &str) -> Result<Vec<String>, Refused> {
        call.log.set_action("get-individual-roles");
        call.log.set_object(user);
        call.needs(Permission::ReadUser)?;
        let user = self.visible_user(call, &UserId::new(user)?).await?;
        let roles = self.shared.store.individual_roles().get(&user.id).await?;
        roles.ok_or_else(|| Refused::not_found("user"))
    }

    /// Replaces them, and answers what there is now. Needs `write:user`, and that the caller may manage the user.
    pub async fn put_individual_roles(
        &self,
        call: &Call,
        user: &str,
        roles: Vec<String>,
    ) -> Result<Vec<String>, Refused> {
        call.log.set_action("put-individual-roles");
        call.log.set_object(user);
        call.needs(Permission::WriteUser)?;
        let roles = checked_data_roles(Some(roles))?.unwrap_or_default();
        let user = self.manageable_user(call, &UserId::new(user)?).await?;
        let put = self.shared.store.individual_roles().put(&user.id, &roles).await;
        self.shared.forget_user(&user.id);
        put?;
        Ok(roles)
    }
}
