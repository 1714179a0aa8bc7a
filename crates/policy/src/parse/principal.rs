//! `principal.*`: which names there are.

use sqlparser::ast::Ident;

use super::ParseInvalid;
use crate::expression::PrincipalPath;

/// Attributes under this name are the server's own (keys of hashes): no policy may name them, so none can show them.
pub const RESERVED_ATTRIBUTE: &str = "ringfence";

/// How a rule's variable `{name}` is marked on its way through the SQL parser: no text is read as a name quoted so.
pub(super) const VARIABLE_QUOTE: char = '{';

/// The path that the names behind `principal` say.
pub(crate) fn principal_path(names: &[&str]) -> Result<PrincipalPath, String> {
    let idents: Vec<Ident> =
        std::iter::once("principal").chain(names.iter().copied()).map(Ident::new).collect();
    match path(&idents) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err("say which value of the principal: such as `principal.tenant_id`".to_owned()),
        Err(invalid) => Err(invalid.to_string()),
    }
}

/// The path that the names say; `None` when they do not begin with `principal`.
pub(super) fn path(names: &[Ident]) -> Result<Option<PrincipalPath>, ParseInvalid> {
    let Some((first, rest)) = names.split_first() else { return Ok(None) };
    if first.quote_style.is_some() || !first.value.eq_ignore_ascii_case("principal") {
        return Ok(None);
    }
    if let [name] = rest
        && name.quote_style == Some(VARIABLE_QUOTE)
    {
        if name.value == RESERVED_ATTRIBUTE {
            return Err(ParseInvalid::of_names(names, "these attributes are the server's own"));
        }
        return Ok(Some(PrincipalPath::Variable(name.value.clone())));
    }
    let parts: Vec<&str> = rest.iter().map(|part| part.value.as_str()).collect();
    let known = ["org_id", "tenant_id", "user_id", "roles", "permissions", "agent", "attributes", "metadata"];
    let path = match parts.as_slice() {
        [name] if PrincipalPath::built_in(name).is_some() => return Ok(PrincipalPath::built_in(name)),
        // Not one of the names that every principal has, and that a rule's `{name}` may mean.
        ["agent"] => PrincipalPath::Agent,
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
