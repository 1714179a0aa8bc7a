//! Signing keys: the public keys that an application signs its users' tokens with.

use ringfence_policy::{KeyName, Permission, UserId};
use ringfence_store::signing_keys::SigningKey;
use serde_json::{Map, Value};

use crate::acting::WebKey;
use crate::call::now_ms;
use crate::limits::given;
use crate::{Call, Gateway, Refused};

/// Keys that one application may have: enough to change them without haste.
pub const MAX_KEYS: usize = 10;
/// Largest key, as JSON.
const MAX_KEY_BYTES: usize = 8 * 1024;

/// A key to register.
#[derive(Debug, Clone)]
pub struct NewSigningKey {
    /// Whose it is; default: the caller.
    pub application: Option<String>,
    /// Default: the key's own `kid`.
    pub kid: Option<String>,
    /// A JSON Web Key, its public half.
    pub public_key: Map<String, Value>,
}

impl Gateway {
    /// For oneself this needs `act:principals` and `write:access_key`; for another application `write:user`, and to stand no
    /// lower than it. A key id that is taken is refused. Tokens signed with the key count from the next request on.
    pub async fn register_signing_key(&self, call: &Call, new: NewSigningKey) -> Result<SigningKey, Refused> {
        call.log.set_action("register-signing-key");
        let application = self.application_of(call, new.application.as_deref()).await?;
        if serde_json::to_vec(&new.public_key).map_or(usize::MAX, |json| json.len()) > MAX_KEY_BYTES {
            return Err(Refused::invalid(format!("the key is too large: at most {MAX_KEY_BYTES} bytes")));
        }
        let invalid = |unusable: crate::acting::KeyUnusable| Refused::invalid(unusable.to_string());
        let own = new.public_key.get("kid").and_then(Value::as_str);
        let Some(kid) = given(new.kid.as_deref()).or(own) else {
            return Err(Refused::invalid("the key has no id: give `kid`, beside the key or in it"));
        };
        let kid = KeyName::new(kid)?;
        call.log.set_object(&object(&application, &kid));
        let web_key = WebKey::read(&new.public_key).map_err(invalid)?;
        let algorithm = web_key.algorithm().map_err(invalid)?.to_owned();
        let public_key = serde_json::to_string(&web_key).map_err(|error| Refused::internal(&error))?;
        let keys = self.shared.store.signing_keys();
        let present = keys.list(&application).await?;
        if present.len() >= MAX_KEYS && present.iter().all(|key| key.kid != kid) {
            return Err(Refused::invalid(format!(
                "an application may have {MAX_KEYS} signing keys: revoke one first"
            )));
        }
        let key = SigningKey { application, kid, algorithm, public_key, created_at: now_ms() };
        let made = keys.create(&key).await;
        self.shared.forget_user(&key.application);
        made?;
        Ok(key)
    }

    /// Needs the same.
    pub async fn list_signing_keys(
        &self,
        call: &Call,
        application: Option<&str>,
    ) -> Result<Vec<SigningKey>, Refused> {
        call.log.set_action("list-signing-keys");
        let application = self.application_of(call, application).await?;
        call.log.set_object(application.as_str());
        Ok(self.shared.store.signing_keys().list(&application).await?)
    }

    /// Needs the same. From the next request on, no token that was signed with it counts, and what runs for one ends.
    pub async fn revoke_signing_key(
        &self,
        call: &Call,
        application: Option<&str>,
        kid: &KeyName,
    ) -> Result<(), Refused> {
        call.log.set_action("revoke-signing-key");
        let application = self.application_of(call, application).await?;
        call.log.set_object(&object(&application, kid));
        let deleted = self.shared.store.signing_keys().delete(&application, kid).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.forget_user(&application);
        if deleted? { Ok(()) } else { Err(Refused::not_found("signing key")) }
    }

    /// The application whose keys the caller may see and change.
    async fn application_of(&self, call: &Call, named: Option<&str>) -> Result<UserId, Refused> {
        let own = call.own_account()?;
        match given(named) {
            Some(name) if name != own.as_str() => {
                call.needs(Permission::WriteUser)?;
                Ok(self.manageable_user(call, &UserId::new(name)?).await?.id)
            }
            _ => {
                call.needs(Permission::ActPrincipals)?;
                call.needs(Permission::WriteAccessKey)?;
                Ok(own.clone())
            }
        }
    }
}

fn object(application: &UserId, kid: &KeyName) -> String {
    format!("{application}/{kid}")
}
