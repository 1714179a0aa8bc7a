//! Calls and their answers as one text, with what differs from run to run taken out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::process::{Answer, Server};

/// Fields whose values nobody can foretell.
const SECRET_OR_RANDOM: [&str; 8] = [
    "access_key", "created_at", "timestamp_ms", "query_uuid", "query_id", "uuid", "diagnostics",
    "uuid_filter",
];

/// Records what was asked and what came back.
pub(crate) struct Transcript<'a> {
    server: &'a Server,
    text: String,
    /// Texts that are replaced, such as ports.
    replaced: BTreeMap<String, &'static str>,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        Self { server, text: String::new(), replaced: BTreeMap::new() }
    }

    /// From here on this text is printed as `[name]`.
    pub(crate) fn replace(&mut self, text: &str, name: &'static str) {
        self.replaced.insert(text.to_owned(), name);
    }

    /// Calls and records. `who` names the key's owner.
    pub(crate) async fn call(&mut self, (who, key): (&str, &str), endpoint: &str, body: Value) -> Value {
        let answer = self.server.call(key, endpoint, &body).await;
        self.record(who, endpoint, &body, &answer);
        answer.json()
    }

    pub(crate) fn record(&mut self, who: &str, endpoint: &str, body: &Value, answer: &Answer) {
        let reply = serde_json::to_string_pretty(&settle(answer.json())).unwrap();
        let mut entry = String::new();
        let _ = write!(
            entry,
            "{who}: {endpoint} {}\n{} {reply}\n\n",
            settle(body.clone()),
            answer.status.as_u16()
        );
        for (text, name) in &self.replaced {
            entry = entry.replace(text, name);
        }
        self.text.push_str(&entry);
    }

    pub(crate) fn text(self) -> String {
        self.text
    }
}

fn settle(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(settle).collect(),
        Value::Object(fields) => {
            let settle_field = |(name, value): (String, Value)| {
                let is_chosen = value.is_null() || value == "unknown";
                let is_unforeseeable = SECRET_OR_RANDOM.contains(&name.as_str()) && !is_chosen;
                let value = if is_unforeseeable { Value::String(format!("[{name}]")) } else { settle(value) };
                (name, value)
            };
            Value::Object(fields.into_iter().map(settle_field).collect())
        }
        other => other,
    }
}
