//! Loading: the file, then the environment, then flags, each of which must name only what exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::providers::Serialized;
use figment::{Figment, Profile};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::invalid::{Origin, line_at};
use super::keys::{CLIENT_VARIABLES, FILE_VARIABLE, Keys, Kind, PREFIX};
use super::{Config, ConfigInvalid};

/// The file that is read when none is named and it is there.
const DEFAULT_FILE: &str = "ringfence.toml";

/// Settings given as flags.
pub(crate) type Flags = Vec<(&'static str, &'static str, Value)>;

/// Where settings come from. The environment is an argument, so that tests need not change the process's own.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    pub(crate) environment: Vec<(String, String)>,
    /// (flag, path of the setting, value).
    pub(crate) flags: Flags,
}

impl Sources {
    /// From the process: its environment, and flags.
    pub(crate) fn of_process(file: Option<PathBuf>, flags: Flags) -> Self {
        // A variable that is no UTF-8 can't be one of ours: those are refused by name below when they start like ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        Self { file, environment, flags }
    }
}

/// A configuration, and where each of its settings was written.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// Reads all sources.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, ConfigInvalid> {
    let keys = Keys::of_config();
    let mut layers = Layers { keys, figment: Figment::new(), origins: BTreeMap::new() };
    let file = file_to_read(sources);
    if let Some(path) = &file {
        layers.add_file(path)?;
    }
    layers.add_environment(&sources.environment)?;
    for (flag, path, value) in &sources.flags {
        layers.set(path, value.clone(), Origin::Flag(flag));
    }
    let config: Config = layers.figment.extract().map_err(|error| wrong_value(&error, &layers.origins))?;
    if let Some((name, message)) = contradiction(&config) {
        let origin = layers.origins.get(name).cloned();
        return Err(ConfigInvalid::Value { origin, name: name.to_owned(), message: message.to_owned() });
    }
    if let Err(message) = super::directory::check(&config) {
        let origin = layers.origins.get("directories").cloned();
        return Err(ConfigInvalid::Value { origin, name: "directories".to_owned(), message });
    }
    Ok(Loaded { config, file, origins: layers.origins })
}

fn file_to_read(sources: &Sources) -> Option<PathBuf> {
    let named = sources.environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
    let default = || Path::new(DEFAULT_FILE).is_file().then(|| PathBuf::from(DEFAULT_FILE));
    sources.file.clone().or_else(|| named.map(|(_, path)| PathBuf::from(path))).or_else(default)
}

struct Layers {
    keys: Keys,
    figment: Figment,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn add_file(&mut self, path: &Path) -> Result<(), ConfigInvalid> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigInvalid::unreadable(path, cause))?;
        let at = |byte: usize| Origin::File(path.to_owned(), Some(line_at(&text, byte)));
        let syntax = |error: toml::de::Error| ConfigInvalid::Syntax {
            origin: error.span().map_or(Origin::File(path.to_owned(), None), |span| at(span.start)),
            message: error.message().to_owned(),
        };
        let table = DeTable::parse(&text).map_err(syntax)?;
        self.walk("", table.get_ref(), &at)?;
        let values: Value = toml::from_str(&text).map_err(syntax)?;
        self.merge(values);
        Ok(())
    }

    /// Checks every name of a table, and remembers where it stands.
    fn walk(
        &mut self,
        above: &str,
        table: &DeTable<'_>,
        at: &dyn Fn(usize) -> Origin,
    ) -> Result<(), ConfigInvalid> {
        for (key, value) in table {
            let key: &Spanned<_> = key;
            let path = if above.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{above}.{}", key.get_ref())
            };
            let origin = at(key.span().start);
            match (self.keys.kind(&path), value.get_ref()) {
                (None, _) => {
                    let suggestion = self.keys.nearest(&path);
                    return Err(ConfigInvalid::UnknownName { origin, name: path, suggestion });
                }
                (Some(Kind::Section), DeValue::Table(below)) => self.walk(&path, below, at)?,
                // A section that is no table fails at extraction, with its place from here.
                _ => {}
            }
            self.origins.insert(path, origin);
        }
        Ok(())
    }

    fn add_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigInvalid> {
        // The long name of a setting wins over its short one, whatever the order of the environment.
        let mut ours: Vec<_> = environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort_by_key(|(name, _)| (name.contains("__"), name));
        for (name, text) in ours {
            if name == FILE_VARIABLE || CLIENT_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let path = Keys::path_of_variable(name).unwrap_or_default();
            let kind = self.keys.kind(&path).filter(|kind| *kind != Kind::Section);
            let Some(kind) = kind else {
                let suggestion = self.keys.nearest_variable(name);
                return Err(ConfigInvalid::UnknownName { origin, name: name.clone(), suggestion });
            };
            let value = typed(kind, text).map_err(|message| ConfigInvalid::Value {
                origin: Some(origin.clone()),
                name: path.clone(),
                message,
            })?;
            self.set(&path, value, origin);
        }
        Ok(())
    }

    fn set(&mut self, path: &str, value: Value, origin: Origin) {
        let nested = path.rsplit('.').fold(value, |value, name| serde_json::json!({ name: value }));
        self.origins.insert(path.to_owned(), origin);
        self.merge(nested);
    }

    fn merge(&mut self, values: Value) {
        let figment = std::mem::take(&mut self.figment);
        self.figment = figment.merge(Serialized::from(values, Profile::Default));
    }
}

/// An environment variable's text as what the setting holds. Lists are separated like PATH.
fn typed(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Integer => match text.trim().parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(format!("`{text}` is no whole number")),
        },
        Kind::Truth => match text.trim() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            other => Err(format!("`{other}` is neither true nor false")),
        },
        Kind::List => Ok(std::env::split_paths(text)
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| Value::from(path.to_string_lossy()))
            .collect()),
        Kind::Text | Kind::Section => Ok(text.into()),
    }
}

/// The setting that is right by itself and wrong beside others, and why.
fn contradiction(config: &Config) -> Option<(&'static str, &'static str)> {
    let Config { server, store, sealing, limits, sign_in, .. } = config;
    let postgres = |url: &str| url.starts_with("postgresql://") || url.starts_with("postgres://");
    if limits.query_timeout.duration() > limits.max_query_timeout.duration() {
        Some(("limits.query_timeout", "longer than `limits.max_query_timeout`: raise that too"))
    } else if limits.default_rows > limits.max_rows {
        Some(("limits.default_rows", "more than `limits.max_rows`: raise that too"))
    } else if server.admin_listen == Some(server.listen) && server.listen.port() != 0 {
        Some(("server.admin_listen", "the same as `server.listen`: give it a port of its own"))
    } else if store.url.as_ref().is_some_and(|url| !postgres(url.expose())) {
        Some(("store.url", "no PostgreSQL URL: write it like postgresql://user:password@host/database"))
    } else if sealing.key.is_some() && sealing.key_file.is_some() {
        Some(("sealing.key", "`sealing.key_file` is given too: give one of them"))
    } else if !sign_in.secure_cookie && !server.listen.ip().is_loopback() {
        Some((
            "sign_in.secure_cookie",
            "false is for a server on loopback alone: `server.listen` is on another address",
        ))
    } else if sign_in.idle_timeout.duration() > sign_in.absolute_timeout.duration() {
        Some(("sign_in.idle_timeout", "longer than `sign_in.absolute_timeout`: raise that too"))
    } else {
        None
    }
}

fn wrong_value(error: &figment::Error, origins: &BTreeMap<String, Origin>) -> ConfigInvalid {
    let name = error.path.join(".");
    let mut place = name.as_str();
    // An error inside a list names the element; the list's own place is the nearest that is known.
    let origin = loop {
        if let Some(origin) = origins.get(place) {
            break Some(origin.clone());
        }
        match place.rfind('.') {
            Some(dot) => place = &place[..dot],
            None => break None,
        }
    };
    ConfigInvalid::Value { origin, name, message: error.kind.to_string() }
}
