//! Access keys of the acting user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_policy::{KeyName, Permission};
use ringfence_store::access_keys::{AccessKey, KeyHash};
use secrecy::{ExposeSecret, SecretString};

use crate::call::now_ms;
use crate::{Call, Gateway, Refused};

/// Keys that one user may have.
pub const MAX_KEYS: usize = 100;

impl Gateway {
    /// Needs `write:access_key`. A name that is taken is refused.
    pub async fn create_access_key(&self, call: &Call, name: &str) -> Result<AccessKey, Refused> {
        call.log.set_action("create-key");
        call.log.set_object(name);
        call.needs(Permission::WriteAccessKey)?;
        let name = KeyName::new(name)?;
        let user = call.own_account()?;
        let keys = self.shared.store.access_keys();
        let present = keys.list(user).await?;
        if present.len() >= MAX_KEYS && present.iter().all(|key| key.name != name) {
            return Err(Refused::invalid(format!(
                "a user may have {MAX_KEYS} access keys: delete one first"
            )));
        }
        let secret = new_secret();
        let made = keys.create(user, &name, &secret, now_ms()).await;
        self.shared.principals.forget_key(&KeyHash::of(secret.expose_secret()));
        Ok(made?)
    }

    /// Needs `write:access_key`.
    pub async fn list_access_keys(&self, call: &Call) -> Result<Vec<AccessKey>, Refused> {
        call.log.set_action("list-access-keys");
        call.needs(Permission::WriteAccessKey)?;
        Ok(self.shared.store.access_keys().list(call.own_account()?).await?)
    }

    /// Needs `write:access_key`. Unknown names are no error; answers how many went.
    pub async fn delete_access_keys(&self, call: &Call, names: &[String]) -> Result<u64, Refused> {
        call.log.set_action("delete-access-keys");
        call.log.set_object(&names.join(","));
        call.needs(Permission::WriteAccessKey)?;
        // What can't be a name is the name of no key.
        let mut names: Vec<KeyName> = names.iter().filter_map(|name| KeyName::new(name).ok()).collect();
        names.sort_unstable();
        names.dedup();
        let user = call.own_account()?;
        let keys = self.shared.store.access_keys();
        // Only those that exist go to the store, so that endless lists of names end here.
        let mut present: Vec<KeyName> = keys.list(user).await?.into_iter().map(|key| key.name).collect();
        present.retain(|name| names.binary_search(name).is_ok());
        if present.is_empty() {
            return Ok(0);
        }
        let deleted = keys.delete(user, &present).await;
        // Forgets the user's other keys too: that costs one reading, and the deleted ones are certain to go.
        self.shared.forget_user(user);
        Ok(deleted?)
    }
}

/// A secret of 256 random bits, with a mark that scanners for leaked secrets can look for.
pub(crate) fn new_secret() -> SecretString {
    let bits: [u8; 32] = rand::random();
    format!("rf_{}", URL_SAFE_NO_PAD.encode(bits)).into()
}
