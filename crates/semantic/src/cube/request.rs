//! What is asked of a cube, as JSON says it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::request::Condition;

/// Measures at levels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = CubeQuery, example = json!({
    "measures": ["Quantity.SUM"],
    "levels": ["City"],
    "filter": [{"field": "Country", "op": "eq", "value": "France"}],
    "include_totals": true,
}))]
pub struct CubeQuery {
    /// Names of measures. Without any, the members that have facts are answered.
    pub measures: Vec<String>,
    /// Levels to group by. A level brings those above it in its hierarchy.
    pub levels: Vec<LevelReference>,
    /// Which facts, by levels; and which rows of the answer, by measures. As in the models API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Condition>,
    /// Whether to answer totals as well: of all, then for each member of the first level, and so on.
    pub include_totals: bool,
    /// Whether to keep rows in which no measure has a value.
    pub include_empty_rows: bool,
    /// By levels and measures; then by the levels, totals before what they sum up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<CubeOrder>,
    /// How many rows at most, totals among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub limit: Option<u64>,
}

/// A level: its name where only one hierarchy has it, `Hierarchy.Level`, or both by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum LevelReference {
    /// By name.
    Name(String),
    /// By hierarchy and name.
    Of(LevelOf),
}

/// A level of a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CubeLevelReference)]
pub struct LevelOf {
    /// The hierarchy.
    pub hierarchy: String,
    /// The level.
    pub level: String,
}

/// A level or a measure, and which way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CubeOrder {
    /// Its name.
    pub by: String,
    /// Largest first.
    #[serde(default)]
    pub descending: bool,
}
