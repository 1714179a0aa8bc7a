//! Every name that may be written, read off the published schema, so that the three can't drift apart.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    /// True or false.
    Truth,
    List,
    /// A section, with settings below it.
    Section,
}

/// Environment variables with a short name, and the setting that each one is.
pub(crate) const SHORT_NAMES: [(&str, &str); 5] = [
    ("RINGFENCE_LISTEN", "server.listen"),
    ("RINGFENCE_DATA_DIR", "store.data_dir"),
    ("RINGFENCE_STORE_URL", "store.url"),
    ("RINGFENCE_SEALING_KEY", "sealing.key"),
    ("RINGFENCE_ADMIN_KEY", "admin.key"),
];

/// The variable that names the file; no setting itself.
pub(crate) const FILE_VARIABLE: &str = "RINGFENCE_CONFIG";

/// What `ringfence mcp` reads, which has no other configuration: no settings either.
pub(crate) const CLIENT_VARIABLES: [&str; 2] = ["RINGFENCE_KEY", "RINGFENCE_URL"];

/// What our variables start with.
pub(crate) const PREFIX: &str = "RINGFENCE_";

/// The settings by dotted path, such as `server.listen`.
pub(crate) struct Keys(BTreeMap<String, Kind>);

impl Keys {
    pub(crate) fn of_config() -> Self {
        let mut keys = BTreeMap::new();
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        let schema = settings.into_generator().into_root_schema_for::<Config>();
        collect("", schema.as_value(), &mut keys);
        Self(keys)
    }

    pub(crate) fn kind(&self, path: &str) -> Option<Kind> {
        self.0.get(path).copied()
    }

    /// The variable `RINGFENCE_SERVER__LISTEN` as the path `server.listen`.
    pub(crate) fn path_of_variable(name: &str) -> Option<String> {
        if let Some((_, path)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
            return Some((*path).to_owned());
        }
        Some(name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", "."))
    }

    /// Every setting's dotted path, sections left out.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, kind)| **kind != Kind::Section).map(|(path, _)| path.as_str())
    }

    /// The known path nearest to an unknown one.
    pub(crate) fn nearest(&self, path: &str) -> Option<String> {
        nearest(path, self.0.keys().map(String::as_str))
    }

    /// The known variable nearest to an unknown one.
    pub(crate) fn nearest_variable(&self, name: &str) -> Option<String> {
        let long = self.settings().map(variable);
        let short = SHORT_NAMES.iter().map(|(short, _)| (*short).to_owned());
        let all: Vec<String> = short.chain([FILE_VARIABLE.to_owned()]).chain(long).collect();
        nearest(name, all.iter().map(String::as_str))
    }
}

/// The long variable of a path.
fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}

/// The nearest of the names, when it is near enough to be what was meant: one that was cut short, else one that looks
/// alike. A name in another section counts too.
fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let continued = names.clone().filter(|name| is_cut_short(wrong, name)).min_by_key(|name| name.len());
    if let Some(name) = continued {
        return Some(name.to_owned());
    }
    let last = |path: &'a str| path.rsplit('.').next().unwrap_or(path);
    let wrong_last = wrong.rsplit('.').next().unwrap_or(wrong);
    names
        .map(|name| {
            let whole = strsim::jaro_winkler(wrong, name);
            let tail = strsim::jaro_winkler(wrong_last, last(name));
            (whole.max(tail), whole, name)
        })
        .filter(|(score, _, _)| *score > 0.83)
        .max_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal))
        .map(|(_, _, name)| name.to_owned())
}

/// Whether `wrong` is the beginning of the name, in the same section.
fn is_cut_short(wrong: &str, name: &str) -> bool {
    name.strip_prefix(wrong).is_some_and(|rest| !rest.contains('.') && !rest.contains("__"))
}

fn collect(path: &str, schema: &Value, keys: &mut BTreeMap<String, Kind>) {
    let schema = present(schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if !path.is_empty() {
            keys.insert(path.to_owned(), Kind::Section);
        }
        for (name, property) in properties {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(&below, property, keys);
        }
        return;
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        // An optional setting: `["integer", "null"]`.
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str).unwrap_or("string"),
        _ => "string",
    };
    let kind = match kind {
        "integer" => Kind::Integer,
        "boolean" => Kind::Truth,
        "array" => Kind::List,
        _ => Kind::Text,
    };
    keys.insert(path.to_owned(), kind);
}

/// Of an optional section's `anyOf [section, null]`, the section.
fn present(schema: &Value) -> &Value {
    schema.get("anyOf").and_then(Value::as_array).and_then(|choices| choices.first()).unwrap_or(schema)
}

/// The JSON Schema as it is printed and checked in.
pub(crate) fn published_schema() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    serde_json::to_string_pretty(schema.as_value()).unwrap_or_default()
}
