//! Expectations: what principals should see, kept in a file beside the policy and tried on the data.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;

use crate::document::scalar_or_map;
use crate::placed::Placed;
use crate::principal::Attributes;
use crate::problem::{PolicyInvalid, Problem};

/// A file of expectations.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Ringfence policy expectations")]
pub struct Expectations {
    /// What the file is for, in its author's words.
    pub description: Option<String>,
    /// A policy document to try, instead of the one that is in force.
    pub policy: Option<String>,
    /// What is expected.
    pub tests: Vec<Expectation>,
}

/// One principal, one question, and what should come of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Told when it fails.
    pub name: Placed<String>,
    /// Who asks: the id of a user of the organization, or a person made up for the test.
    #[serde(rename = "as")]
    pub who: Who,
    /// A statement. One that changes data is judged by the guard and never run.
    pub query: Option<String>,
    /// Values of the statement's placeholders.
    #[serde(default)]
    pub parameters: Vec<Option<String>>,
    /// Where the statement looks up names first.
    pub current_schema: Option<String>,
    /// Why the principal asks, for policies that want to know.
    pub reason: Option<String>,
    /// Or a relation, as `schema.name` or `name`, whose columns are looked at.
    pub relation: Option<String>,
    /// What should come of it.
    pub expect: Expect,
}

/// Who asks.
#[derive(Debug, Clone)]
pub enum Who {
    /// A user of the organization.
    User(String),
    /// Somebody made up.
    Person(Box<Person>),
}

/// Somebody made up for a test.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// `principal.user_id`; `test` when left out.
    pub user: Option<String>,
    /// `principal.tenant_id`.
    pub tenant: String,
    /// Product roles; `api-user` when left out.
    pub roles: Option<Vec<String>>,
    /// Data roles.
    #[serde(default)]
    pub data_roles: Vec<String>,
    /// `principal.attributes`: what variables of organization, tenant and user come to.
    #[serde(default)]
    pub attributes: Attributes,
    /// `principal.agent`, as a signed token names it; `unverified` for one that nobody vouches for.
    pub agent: Option<String>,
}

/// What should come of it; all that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How many rows the statement has.
    pub count: Option<u64>,
    /// Its rows, in any order.
    pub rows: Option<Vec<Vec<Value>>>,
    /// Whether `rows` are meant in this order.
    #[serde(default)]
    pub in_order: bool,
    /// The names of its columns, in order.
    pub columns: Option<Vec<String>>,
    /// The code that it is refused with, such as `RELATION_UNKNOWN`.
    pub refused: Option<String>,
    /// Whether the guard lets it through: for statements that change data, which are not run.
    pub admitted: Option<bool>,
    /// Whether the relation exists for the principal.
    pub visible: Option<bool>,
    /// Columns of the relation that do not exist for the principal.
    #[serde(default)]
    pub hides: Vec<String>,
    /// Columns of the relation that the principal reads in clear.
    #[serde(default)]
    pub shows: Vec<String>,
    /// Columns of the relation that the principal sees a mask of.
    #[serde(default)]
    pub masks: Vec<String>,
}

impl Expectations {
    /// Reads a file of expectations, YAML or JSON; `file` is its name in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyInvalid> {
        let read: Self =
            crate::reading::read(file, text).map_err(|problem| PolicyInvalid { problems: vec![problem] })?;
        let problems: Vec<Problem> = read
            .tests
            .iter()
            .filter_map(|test| Some(Problem::new(file, test.name.place, test.fault()?)))
            .collect();
        if problems.is_empty() { Ok(read) } else { Err(PolicyInvalid { problems }) }
    }
}

impl Expectation {
    /// What is wrong with it.
    fn fault(&self) -> Option<&'static str> {
        let Expect { count, rows, in_order: _, columns, refused, admitted, visible, hides, shows, masks } =
            &self.expect;
        let of_answer = count.is_some() || rows.is_some() || columns.is_some();
        let of_query = of_answer || refused.is_some() || admitted.is_some();
        let of_relation = visible.is_some() || !hides.is_empty() || !shows.is_empty() || !masks.is_empty();
        match (&self.query, &self.relation) {
            (None, None) | (Some(_), Some(_)) => Some("a test has either a `query` or a `relation`"),
            (Some(_), None) if !of_query => {
                Some("say what is expected of the query: `count`, `rows`, `columns`, `refused` or `admitted`")
            }
            (None, Some(_)) if !of_relation => {
                Some("say what is expected of the relation: `visible`, `hides`, `shows` or `masks`")
            }
            (Some(_), None) if of_relation => {
                Some("`visible`, `hides`, `shows` and `masks` belong to a `relation`")
            }
            (None, Some(_)) if of_query => Some("what is expected of an answer belongs to a `query`"),
            _ if refused.is_some() && (of_answer || *admitted == Some(true)) => {
                Some("what is refused has no rows")
            }
            _ => None,
        }
    }
}

/// The published JSON Schema of files of expectations.
pub fn expectations_schema() -> Value {
    schemars::schema_for!(Expectations).to_value()
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected =
            "a user's id, or a mapping with `tenant`, `roles`, `data_roles`, `attributes`, `agent`";
        scalar_or_map(deserializer, expected, Self::User, |person| Self::Person(Box::new(person)))
    }
}

impl JsonSchema for Who {
    fn schema_name() -> Cow<'static, str> {
        "Who".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let person = generator.subschema_for::<Person>();
        json_schema!({ "description": "A user's id, or somebody made up.", "anyOf": [{ "type": "string" }, person] })
    }
}
