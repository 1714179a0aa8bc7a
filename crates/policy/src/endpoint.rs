//! Published endpoints: a document names a path and the statement behind it, which runs as whoever calls.
//!
//! Reading order: [`EndpointDocument`] is what an author writes, [`Endpoint::load`] checks it, [`statement`] is about the
//! named values in its SQL.

pub mod statement;

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connection::ConnectionKind;
use crate::placed::{Entries, Place, Placed};
use crate::problem::{PolicyInvalid, Problem};
use crate::reading;
use statement::NamedStatement;

/// Paths that are doors of the server itself, and what is below them.
const TAKEN: [&str; 12] = [
    "api", "v1", "mcp", "login", "logout", "oidc", "docs", "openapi.json", "healthz", "readyz", "metrics",
    ".well-known",
];
/// Longest path and name, in bytes.
const MOST_BYTES: usize = 200;
const MOST_PARAMETERS: usize = 50;
/// Longest time that an answer is kept.
pub const LONGEST_CACHE: Duration = Duration::from_hours(24);

/// An endpoint, as its author writes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A published endpoint of Ringfence")]
pub struct EndpointDocument {
    /// What it is called: letters, digits, `-` and `_`.
    pub name: Placed<String>,
    /// What it is for, for its callers.
    #[serde(default)]
    pub description: Option<String>,
    /// How it is called; `GET` when left out, which changes nothing.
    #[serde(default)]
    pub method: Method,
    /// Where it is: any path that is not one of the server's own. `{name}` stands for a parameter.
    pub path: Placed<String>,
    /// Key of the author's connection that the statement runs on.
    #[serde(default)]
    pub connection: Option<Placed<String>>,
    /// One statement. `:name` stands for a parameter, `principal.tenant_id` and its like for what holds of the caller.
    #[serde(default)]
    pub statement: Option<Placed<String>>,
    /// Instead of a statement, something that the server answers by itself.
    #[serde(default)]
    pub builtin: Option<Builtin>,
    /// By name.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, ParameterDocument>")]
    pub parameters: Entries<ParameterDocument>,
    /// Roles whose holders may call it; everybody of the organization when left out.
    #[serde(default)]
    pub roles: Option<Vec<String>>,
    /// What the answer looks like.
    #[serde(default)]
    pub result: ResultDocument,
    /// How long an answer is kept for callers who see the same, such as `30s`; it is not kept when left out.
    #[serde(default)]
    pub cache: Option<Placed<String>>,
    /// Rows of an answer; more are an error of the endpoint, not cut off.
    #[serde(default)]
    pub max_rows: Option<u64>,
}

/// How an endpoint is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the methods of HTTP")]
pub enum Method {
    #[default]
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As HTTP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What the server answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// The caller's name and data roles.
    Whoami,
}

/// A parameter, as its author writes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterDocument {
    /// Where a request has it; in the path when that names it, and else in the query.
    #[serde(default, rename = "in")]
    pub place: Option<ParameterPlace>,
    /// What it holds.
    #[serde(rename = "type")]
    pub data_type: ParameterType,
    /// For callers.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether a request must have it; those in the path always must.
    #[serde(default)]
    pub required: bool,
    /// What it is when a request does not have it; null when left out.
    #[serde(default)]
    pub default: Option<Value>,
    /// The least value of a number, the earliest of a date.
    #[serde(default)]
    pub min: Option<Value>,
    /// The greatest value of a number, the latest of a date.
    #[serde(default)]
    pub max: Option<Value>,
    /// Of a text, in characters.
    #[serde(default)]
    pub min_length: Option<u64>,
    /// Of a text, in characters; 10,000 when left out.
    #[serde(default)]
    pub max_length: Option<u64>,
    /// The only values that it may have.
    #[serde(default, rename = "enum")]
    pub one_of: Option<Vec<Value>>,
}

/// Where a request has a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum ParameterPlace {
    Path,
    Query,
    /// A key of the JSON object that the body is.
    Body,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum ParameterType {
    Text,
    /// Of 64 bits.
    Integer,
    Number,
    Boolean,
    /// `2026-11-22`
    Date,
    /// RFC 3339: `2026-11-22T10:00:00Z`
    Timestamp,
    Uuid,
}

/// What an answer looks like.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ResultDocument {
    /// `rows` when left out.
    #[serde(default)]
    pub shape: Shape,
    /// The key of an object that the answer is put in: `data` makes `{"data": ...}`.
    #[serde(default)]
    pub wrap: Option<String>,
}

/// What of the rows is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// All, as a list of objects.
    #[default]
    Rows,
    /// The only one, as an object; 404 when there is none.
    Row,
    /// Its only value; 404 when there is no row.
    Scalar,
}

/// An endpoint that can be called.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields of the document")]
pub struct Endpoint {
    pub name: String,
    pub description: Option<String>,
    pub method: Method,
    pub path: String,
    pub source: Source,
    pub parameters: Vec<(String, Parameter)>,
    pub roles: Option<Vec<String>>,
    pub result: ResultDocument,
    pub cache: Option<Duration>,
    pub max_rows: Option<u64>,
}

/// What answers.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Source {
    Builtin(Builtin),
    Statement { connection: String, statement: NamedStatement },
}

/// A parameter with its place.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Where a request has it.
    pub place: ParameterPlace,
    /// What its author wrote.
    pub rules: ParameterDocument,
}

impl Endpoint {
    /// Reads a document, YAML or JSON, and says all that is wrong with it. `file` is what problems call it.
    pub fn load(file: &str, text: &str) -> Result<Self, PolicyInvalid> {
        let document: EndpointDocument =
            reading::read(file, text).map_err(|problem| PolicyInvalid { problems: vec![problem] })?;
        let mut checker = Checker { file, problems: Vec::new() };
        let endpoint = checker.endpoint(document);
        match endpoint {
            Some(endpoint) if checker.problems.is_empty() => Ok(endpoint),
            _ => Err(PolicyInvalid { problems: checker.problems }),
        }
    }

    /// Whether somebody with these roles may call it.
    pub fn is_for<'r>(&self, mut roles: impl Iterator<Item = &'r str>) -> bool {
        match &self.roles {
            None => true,
            Some(named) => roles.any(|role| named.iter().any(|name| name == role)),
        }
    }
}

/// The JSON Schema of an endpoint's document.
pub fn endpoint_schema() -> Value {
    schemars::schema_for!(EndpointDocument).to_value()
}

struct Checker<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, place, message));
    }

    fn endpoint(&mut self, document: EndpointDocument) -> Option<Endpoint> {
        let place = document.name.place;
        if !is_word(&document.name.value, "-_") {
            self.problem(place, "a name is made of letters, digits, `-` and `_`");
        }
        let in_path = self.path(&document.path);
        let parameters = self.parameters(document.parameters, &in_path, document.method);
        for name in &in_path {
            if !parameters.iter().any(|(known, _)| known == name) {
                self.problem(
                    document.path.place,
                    format!("`{{{name}}}` is no parameter: say what it is under `parameters`"),
                );
            }
        }
        if parameters.len() > MOST_PARAMETERS {
            self.problem(place, format!("an endpoint has at most {MOST_PARAMETERS} parameters"));
        }
        if document.max_rows == Some(0) {
            self.problem(place, "`max_rows` is 1 at least");
        }
        let cache = document.cache.and_then(|text| self.cache(&text, document.method));
        let source = self.source(place, document.connection, document.statement, document.builtin)?;
        self.uses(place, &source, &parameters);
        if matches!(source, Source::Builtin(_))
            && (document.method != Method::Get || cache.is_some() || !parameters.is_empty())
        {
            self.problem(
                place,
                "what the server answers by itself is read with GET, takes no parameters and is not kept",
            );
        }
        Some(Endpoint {
            name: document.name.value,
            description: document.description,
            method: document.method,
            path: document.path.value,
            source,
            parameters,
            roles: document.roles,
            result: document.result,
            cache,
            max_rows: document.max_rows,
        })
    }

    /// Names of the parameters in the path.
    fn path(&mut self, path: &Placed<String>) -> Vec<String> {
        let Placed { value, place } = path;
        let mut named = Vec::new();
        let Some(rest) = value.strip_prefix('/').filter(|rest| !rest.is_empty() && value.len() <= MOST_BYTES)
        else {
            self.problem(
                *place,
                format!("a path begins with `/`, names something and has at most {MOST_BYTES} bytes"),
            );
            return named;
        };
        for (number, segment) in rest.split('/').enumerate() {
            if let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                if number == 0 {
                    self.problem(*place, "the first part of a path is a fixed word");
                }
                if !is_word(name, "_") || named.iter().any(|known| known == name) {
                    self.problem(*place, format!("`{{{name}}}` is no name, or is there twice"));
                }
                named.push(name.to_owned());
            } else if !is_word(segment, "-._~") || segment.chars().all(|letter| letter == '.') {
                self.problem(
                    *place,
                    "parts of a path are made of letters, digits, `-`, `.`, `_` and `~`, or are a `{name}`",
                );
            }
            if number == 0 && TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(segment)) {
                self.problem(*place, format!("`/{segment}` is one of the server's own: take another path"));
            }
        }
        named
    }

    fn parameters(
        &mut self,
        documents: Entries<ParameterDocument>,
        in_path: &[String],
        method: Method,
    ) -> Vec<(String, Parameter)> {
        let mut parameters: Vec<(String, Parameter)> = Vec::new();
        for (Placed { value: name, place: at }, rules) in documents.0 {
            let is_in_path = in_path.contains(&name);
            let place = match (rules.place, is_in_path) {
                (None, true) => ParameterPlace::Path,
                (None, false) => ParameterPlace::Query,
                (Some(place), _) => place,
            };
            if (place == ParameterPlace::Path) != is_in_path {
                self.problem(
                    at,
                    format!("`{name}` is in the path, or it is not: the path and `in` say different things"),
                );
            }
            if place == ParameterPlace::Body && method == Method::Get {
                self.problem(at, "a GET has no body");
            }
            if rules.required && rules.default.is_some() {
                self.problem(at, format!("`{name}` must be given, so that its default is never taken"));
            }
            if !is_word(&name, "_") {
                self.problem(at, "names of parameters are made of letters, digits and `_`");
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                self.problem(at, format!("`{name}` is there twice"));
            }
            parameters.push((name, Parameter { place, rules }));
        }
        parameters
    }

    fn cache(&mut self, text: &Placed<String>, method: Method) -> Option<Duration> {
        let time =
            crate::compile::duration(&text.value).filter(|time| !time.is_zero() && *time <= LONGEST_CACHE);
        if time.is_none() {
            self.problem(text.place, "`cache` is a number and its unit: ms, s, m or h; at most a day");
        }
        if method != Method::Get {
            self.problem(text.place, "only answers to GET are kept");
        }
        time
    }

    fn source(
        &mut self,
        place: Place,
        connection: Option<Placed<String>>,
        statement: Option<Placed<String>>,
        builtin: Option<Builtin>,
    ) -> Option<Source> {
        match (connection, statement, builtin) {
            (None, None, Some(builtin)) => Some(Source::Builtin(builtin)),
            (Some(connection), Some(statement), None) => match NamedStatement::parse(&statement.value) {
                Ok(statement) => Some(Source::Statement { connection: connection.value, statement }),
                Err(message) => {
                    self.problem(statement.place, message);
                    None
                }
            },
            _ => {
                self.problem(place, "an endpoint has a `connection` and a `statement`, or a `builtin`");
                None
            }
        }
    }

    /// Each parameter is used, and nothing else is.
    fn uses(&mut self, place: Place, source: &Source, parameters: &[(String, Parameter)]) {
        let Source::Statement { statement, .. } = source else { return };
        let used: BTreeSet<&str> = statement.parameters().collect();
        for name in &used {
            if !parameters.iter().any(|(known, _)| known == name) {
                let known = parameters.iter().map(|(known, _)| known.as_str());
                let message = format!("`:{name}` is no parameter: say what it is under `parameters`");
                self.problems.push(Problem::new(self.file, place, message).meant(name, known));
            }
        }
        for (name, _) in parameters {
            if !used.contains(name.as_str()) {
                self.problem(place, format!("the statement does not use `:{name}`"));
            }
        }
    }
}

fn is_word(text: &str, also: &str) -> bool {
    !text.is_empty()
        && text.len() <= MOST_BYTES
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
}

impl Source {
    /// How the statement reads on that kind of connection, with what its placeholders stand for.
    pub fn rendered(&self, kind: ConnectionKind) -> Option<(String, Vec<statement::Named>)> {
        match self {
            Self::Builtin(_) => None,
            Self::Statement { statement, .. } => Some(statement.render(kind)),
        }
    }
}
