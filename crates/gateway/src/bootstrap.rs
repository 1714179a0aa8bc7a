//! The first administrator.

use ringfence_policy::{KeyName, OrgId, Role, TenantId, UserId};
use ringfence_store::access_keys::{AccessKey, KeyHash};
use ringfence_store::organizations::Organization;
use ringfence_store::tenants::Tenant;
use ringfence_store::users::User;
use ringfence_store::{Store, StoreError};
use secrecy::{ExposeSecret, SecretString};

use crate::call::now_ms;
use crate::{Code, Refused, access_keys};

/// The name of the key that configuration, or the first start, gives the administrator.
const KEY_NAME: &str = "default";

/// Who the first super administrator is.
#[derive(Debug, Clone)]
pub struct AdminAccount {
    /// Default `my_org_id`.
    pub org: String,
    /// Default `my_tenant_id`.
    pub tenant: String,
    /// Default `my_org_id`.
    pub user: String,
    /// Default `J.A.R.V.I.S.`.
    pub name: String,
    /// From configuration; without it one is made at the first start and printed once.
    pub key: Option<SecretString>,
}

/// What opening the gateway made.
#[derive(Debug, Default)]
pub struct Bootstrap {
    /// The administrator's key, when it was made just now: to be shown once.
    pub admin_key: Option<SecretString>,
}

/// Makes what is missing and changes nothing else, so that every start may do it, and two nodes at once.
pub(crate) async fn bootstrap(store: &Store, admin: &AdminAccount) -> Result<Bootstrap, Refused> {
    let org = OrgId::new(&admin.org)?;
    let tenant = TenantId::new(&admin.tenant)?;
    let user = UserId::new(&admin.user)?;
    let organization = Organization { id: org.clone(), name: None, variables: None };
    existing_is_fine(store.organizations().create(&organization).await)?;
    let home = Tenant { id: tenant.clone(), org: org.clone(), name: None, variables: None };
    existing_is_fine(store.tenants().create(&home).await)?;
    // An administrator who exists is left alone: someone may have moved or demoted it on purpose.
    if store.users().get(&user).await?.is_none() {
        let name = Some(admin.name.clone()).filter(|name| !name.is_empty());
        let roles = vec![Role::SuperAdminUser];
        let account = User {
            id: user.clone(),
            tenant,
            org,
            name,
            variables: None,
            roles,
            data_roles: Vec::new(),
            disabled: false,
            outside: None,
        };
        existing_is_fine(store.users().create(&account).await)?;
    }
    match admin.key.as_ref().filter(|key| !key.expose_secret().is_empty()) {
        Some(configured) => {
            install_key(store, &user, configured).await?;
            Ok(Bootstrap::default())
        }
        None => Ok(Bootstrap { admin_key: first_key(store, &user).await? }),
    }
}

/// Makes the configured key the administrator's. One that was configured before stops working: whoever changes the
/// configuration wants exactly that.
async fn install_key(store: &Store, user: &UserId, configured: &SecretString) -> Result<(), Refused> {
    let name = KeyName::new(KEY_NAME)?;
    let keys = store.access_keys();
    let is_configured = |key: &AccessKey| key.secret.expose_secret() == configured.expose_secret();
    let present = keys.list(user).await?;
    if present.iter().any(|key| key.name == name && is_configured(key)) {
        return Ok(());
    }
    match keys.find(&KeyHash::of(configured.expose_secret())).await? {
        Some(owner) if owner != *user => {
            let message =
                "the configured administrator key is another user's access key: configure a new one";
            return Err(Refused::new(Code::AlreadyExists, message));
        }
        _ => {}
    }
    // It may be there under another name; then the old `default` goes all the same.
    let mut names = vec![name.clone()];
    names.extend(present.iter().filter(|key| is_configured(key)).map(|key| key.name.clone()));
    keys.delete(user, &names).await?;
    match keys.create(user, &name, configured, now_ms()).await {
        Ok(_) => {
            tracing::info!(user.id = %user, "the configured administrator key is in place");
            Ok(())
        }
        // Another node was faster. With the same configuration it made the same key.
        Err(StoreError::Duplicate { .. }) if keys.list(user).await?.iter().any(is_configured) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A key for an administrator who has none.
async fn first_key(store: &Store, user: &UserId) -> Result<Option<SecretString>, Refused> {
    if !store.access_keys().list(user).await?.is_empty() {
        return Ok(None);
    }
    let secret = access_keys::new_secret();
    match store.access_keys().create(user, &KeyName::new(KEY_NAME)?, &secret, now_ms()).await {
        Ok(_) => Ok(Some(secret)),
        // Another node was faster and shows the key.
        Err(StoreError::Duplicate { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn existing_is_fine(made: Result<(), StoreError>) -> Result<(), Refused> {
    match made {
        Ok(()) | Err(StoreError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
