//! `principal.*`: which names there are.

use sqlparser::ast::Ident;

use super::ParseInvalid;
use crate::expression::PrincipalPath;

/// Attributes under this name are the server's own (keys of hashes): no policy may name them, so none can show them.
pub const RESERVED_ATTRIBUTE: &str = "ringfence";

/// The path that the names say; `None` when they do not begin with `principal`.
pub(super) fn path(names: &[Ident]) -> Result<Option<PrincipalPath>, ParseInvalid> {
    let Some((first, rest)) = names.split_first() else { return Ok(None) };
    if first.quote_style.is_some() || !first.value.eq_ignore_ascii_case("principal") {
        return Ok(None);
    }
    let parts: Vec<&str> = rest.iter().map(|part| part.value.as_str()).collect();
    let known = ["org_id", "tenant_id", "user_id", "roles", "permissions", "attributes", "metadata"];
    let path = match parts.as_slice() {
        ["org_id"] => PrincipalPath::OrgId,
        ["tenant_id"] => PrincipalPath::TenantId,
        ["user_id"] => PrincipalPath::UserId,
        ["roles"] => PrincipalPath::Roles,
        ["permissions"] => PrincipalPath::Permissions,
        ["attributes" | "metadata", attribute, ..] if *attribute == RESERVED_ATTRIBUTE => {
            return Err(ParseInvalid::of_names(names, "these attributes are the server's own"));
        }
        ["attributes" | "metadata", attribute @ ..] if !attribute.is_empty() => {
            PrincipalPath::Attribute(attribute.iter().map(|&part| part.to_owned()).collect())
        }
        ["attributes" | "metadata"] | [] => {
            return Err(ParseInvalid::of_names(names, "say which: such as `principal.attributes.region`"));
        }
        [name, ..] if known.contains(name) => {
            return Err(ParseInvalid::of_names(names, format!("`principal.{name}` has no parts")));
        }
        [name, ..] => {
            let message =
                format!("`principal.{name}` does not exist: own values are `principal.attributes.{name}`");
            return Err(ParseInvalid::of_names(names, message).meant(name, known));
        }
    };
    Ok(Some(path))
}
