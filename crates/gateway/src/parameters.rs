//! Settings with a scope.

use std::collections::BTreeMap;

use ringfence_policy::{ConnectionKey, OrgId, Permission, TenantId, UserId};
use ringfence_store::parameters::{ParameterSetting, ParameterTarget};
use serde_json::Value;

use crate::limits::given;
use crate::{Call, Gateway, Refused};

/// Whom a setting or publication is for; `None` or `*` stands for anyone. No field at all: the acting user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Target {
    pub org: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<String>,
    pub connection: Option<String>,
}

impl Target {
    /// Whether it names nobody, not even anyone: then the acting user is meant.
    pub fn is_empty(&self) -> bool {
        [&self.org, &self.tenant, &self.user, &self.connection]
            .into_iter()
            .all(|field| given(field.as_deref()).is_none())
    }
}

/// A setting as it stands for the acting user.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ParameterView {
    pub value: Value,
    pub possible_values: Vec<Value>,
}

/// A setting that there is.
struct Parameter {
    name: &'static str,
    /// The first one is the default.
    values: &'static [Choice],
}

#[derive(Clone, Copy)]
enum Choice {
    Flag(bool),
    Word(&'static str),
}

use Choice::{Flag, Word};

/// Every setting, with its default first.
const PARAMETERS: [Parameter; 3] = [
    Parameter { name: "PUBLIC.LIKED_QUERIES.ENABLED", values: &[Flag(true), Flag(false)] },
    Parameter {
        name: "PUBLIC.LIKED_QUERIES.LEARNING_MODE",
        values: &[Word("few-shot"), Word("single"), Word("disabled")],
    },
    Parameter { name: "PUBLIC.REFLECTION.ENABLED", values: &[Flag(false), Flag(true)] },
];

impl Gateway {
    /// Every setting with the value that the tightest target gives.
    pub async fn list_parameters(
        &self,
        call: &Call,
        key: &str,
    ) -> Result<BTreeMap<String, ParameterView>, Refused> {
        call.log.set_action("list-parameters");
        let connection = self.own_connection(call, key).await?;
        let who = &call.principal;
        let parameters = self.shared.store.parameters();
        let mut settings =
            parameters.applicable(&who.org, &who.tenant, who.account(), Some(&connection)).await?;
        // Widest first, so that a tighter one replaces it.
        settings.sort_by_key(|setting| tightness(&setting.target));
        let mut views: BTreeMap<String, ParameterView> = PARAMETERS
            .iter()
            .map(|parameter| {
                let possible_values: Vec<Value> =
                    parameter.values.iter().copied().map(Choice::json).collect();
                let value = possible_values.first().cloned().unwrap_or_default();
                (parameter.name.to_owned(), ParameterView { value, possible_values })
            })
            .collect();
        for setting in settings {
            if let Some(view) = views.get_mut(&setting.name) {
                view.value = setting.value;
            }
        }
        Ok(views)
    }

    /// A target other than oneself needs `write:user` over it.
    pub async fn set_parameter(
        &self,
        call: &Call,
        key: &str,
        name: &str,
        value: Value,
        target: &Target,
    ) -> Result<(), Refused> {
        call.log.set_action("update-parameter");
        call.log.set_object(name);
        call.own_account()?;
        self.own_connection(call, key).await?;
        let parameter = parameter_named(name)?;
        let value = parameter.choice(&value)?.json();
        let target = self.parameter_target(call, target).await?;
        let setting = ParameterSetting { target, name: parameter.name.to_owned(), value };
        Ok(self.shared.store.parameters().set(&setting).await?)
    }

    /// The default comes back.
    pub async fn delete_parameter(
        &self,
        call: &Call,
        key: &str,
        name: &str,
        target: &Target,
    ) -> Result<(), Refused> {
        call.log.set_action("delete-parameter");
        call.log.set_object(name);
        call.own_account()?;
        self.own_connection(call, key).await?;
        let parameter = parameter_named(name)?;
        let target = self.parameter_target(call, target).await?;
        Ok(self.shared.store.parameters().delete(&target, parameter.name).await?)
    }

    /// The key of one of the acting user's connections.
    pub(crate) async fn own_connection(&self, call: &Call, key: &str) -> Result<ConnectionKey, Refused> {
        Ok(self.connection_of(call, key).await?.key)
    }

    /// Whom the caller means, when that is within its power.
    async fn parameter_target(&self, call: &Call, target: &Target) -> Result<ParameterTarget, Refused> {
        let who = &call.principal;
        let connection = match named(target.connection.as_deref()) {
            Some(key) => Some(self.own_connection(call, key).await?),
            None => None,
        };
        let only_connection = Target { connection: None, ..target.clone() }.is_empty();
        if only_connection || target_is_self(call, target) {
            return Ok(ParameterTarget {
                user: Some(who.user.clone()),
                connection,
                ..ParameterTarget::default()
            });
        }
        call.needs(Permission::WriteUser)?;
        let mut resolved = self.visible_target(call, target).await?;
        if let Some(user) = &resolved.user {
            self.manageable_user(call, user).await?;
        }
        // For anyone means anyone whom the caller rules.
        let anyone = resolved.org.is_none() && resolved.tenant.is_none() && resolved.user.is_none();
        if anyone && !who.is_super_admin() {
            resolved.org = Some(who.org.clone());
        }
        Ok(ParameterTarget { connection, ..resolved })
    }

    /// The organization, tenant and user that a target names; each must be within the caller's sight.
    pub(crate) async fn visible_target(
        &self,
        call: &Call,
        target: &Target,
    ) -> Result<ParameterTarget, Refused> {
        let mut resolved = ParameterTarget::default();
        if let Some(org) = named(target.org.as_deref()) {
            resolved.org = Some(self.visible_org(call, &OrgId::new(org)?).await?.id);
        }
        if let Some(tenant) = named(target.tenant.as_deref()) {
            resolved.tenant = Some(self.visible_tenant(call, &TenantId::new(tenant)?).await?.id);
        }
        if let Some(user) = named(target.user.as_deref()) {
            resolved.user = Some(self.visible_user(call, &UserId::new(user)?).await?.id);
        }
        Ok(resolved)
    }
}

/// Whether the target names the acting user and, around it, nothing but where it lives.
fn target_is_self(call: &Call, target: &Target) -> bool {
    let who = &call.principal;
    let fits = |field: Option<&str>, own: &str| named(field).is_none_or(|id| id == own);
    named(target.user.as_deref()) == Some(who.user.as_str())
        && fits(target.tenant.as_deref(), who.tenant.as_str())
        && fits(target.org.as_deref(), who.org.as_str())
}

/// The id, unless the field is left out or stands for anyone.
fn named(field: Option<&str>) -> Option<&str> {
    given(field).filter(|id| *id != "*")
}

/// User before tenant before organization before anyone; within one level with a connection before without.
fn tightness(target: &ParameterTarget) -> (u8, bool) {
    let level = match target {
        ParameterTarget { user: Some(_), .. } => 3,
        ParameterTarget { tenant: Some(_), .. } => 2,
        ParameterTarget { org: Some(_), .. } => 1,
        _ => 0,
    };
    (level, target.connection.is_some())
}

fn parameter_named(name: &str) -> Result<&'static Parameter, Refused> {
    PARAMETERS.iter().find(|parameter| parameter.name == name).ok_or_else(|| {
        let names: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
        Refused::invalid(format!("unknown parameter: use one of {}", names.join(", ")))
    })
}

impl Parameter {
    /// The possible value that is meant; flags may come as text too.
    fn choice(&self, value: &Value) -> Result<Choice, Refused> {
        self.values.iter().copied().find(|choice| choice.is_meant_by(value)).ok_or_else(|| {
            let possible: Vec<String> = self.values.iter().map(|choice| choice.json().to_string()).collect();
            Refused::invalid(format!(
                "impossible value for {}: use one of {}",
                self.name,
                possible.join(", ")
            ))
        })
    }
}

impl Choice {
    fn json(self) -> Value {
        match self {
            Flag(flag) => Value::from(flag),
            Word(word) => Value::from(word),
        }
    }

    fn is_meant_by(self, value: &Value) -> bool {
        match (self, value) {
            (Flag(flag), Value::Bool(given)) => flag == *given,
            (Flag(flag), Value::String(given)) => {
                given.eq_ignore_ascii_case(if flag { "true" } else { "false" })
            }
            (Word(word), Value::String(given)) => word == given,
            _ => false,
        }
    }
}
