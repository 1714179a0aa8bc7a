//! How large what callers describe may be: names, variables, ids that may be left out.

use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::{Attributes, NameInvalid};

use crate::Refused;

/// Variables of one organization, tenant or user, as JSON.
pub(crate) const MAX_VARIABLES_BYTES: usize = 64 * 1024;

/// Checks a display name.
pub(crate) fn check_display_name(name: Option<&str>) -> Result<(), NameInvalid> {
    name.map_or(Ok(()), |name| check_name("name", name, MAX_ID_BYTES))
}

/// Checks the variables of an organization, tenant or user.
pub(crate) fn check_variables(variables: Option<&Attributes>) -> Result<(), Refused> {
    let Some(variables) = variables else { return Ok(()) };
    for name in variables.keys() {
        check_name("variable name", name, MAX_ID_BYTES)?;
    }
    if json_bytes(variables) > MAX_VARIABLES_BYTES {
        return Err(Refused::invalid(format!(
            "variables are too large: at most {MAX_VARIABLES_BYTES} bytes of JSON"
        )));
    }
    Ok(())
}

/// The size as JSON text.
pub(crate) fn json_bytes(map: &Attributes) -> usize {
    serde_json::to_vec(map).map_or(usize::MAX, |json| json.len())
}

/// The text, unless it is empty: clients send empty texts for what they leave out.
pub(crate) fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
