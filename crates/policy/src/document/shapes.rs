//! How entries that have more than one shape are read and described.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{AutoSetEntry, CheckedValue, DerivedAttribute, DialectTexts, FieldAction, Text};

/// Reads a scalar in one way and a mapping in another.
struct ScalarOrMap<F, G>(&'static str, F, G);

impl<'de, T, M: Deserialize<'de>, F: FnOnce(String) -> T, G: FnOnce(M) -> T> Visitor<'de>
    for ScalarOrMap<F, (G, PhantomData<M>)>
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        Ok((self.1)(text.to_owned()))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<T, E> {
        Ok((self.1)(value.to_string()))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<T, E> {
        Ok((self.1)(value.to_string()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<T, E> {
        Ok((self.1)(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(self.2.0)
    }
}

pub(crate) fn scalar_or_map<'de, D: Deserializer<'de>, T, M: Deserialize<'de>>(
    deserializer: D,
    expected: &'static str,
    scalar: impl FnOnce(String) -> T,
    map: impl FnOnce(M) -> T,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(ScalarOrMap(expected, scalar, (map, PhantomData)))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an expression, or a mapping with postgresql, sqlite, mysql";
        scalar_or_map(deserializer, expected, Self::Same, |texts| Self::ByDialect(Box::new(texts)))
    }
}

impl<'de> Deserialize<'de> for AutoSetEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an expression, or a mapping with `value` and `accepts`";
        scalar_or_map(deserializer, expected, Self::Value, |checked| Self::Checked(Box::new(checked)))
    }
}

impl<'de> Deserialize<'de> for DerivedAttribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            query: String,
            ttl: Option<String>,
        }
        scalar_or_map(
            deserializer,
            "a query, or a mapping with `query` and `ttl`",
            |query| Self { query, ttl: None },
            |Keys { query, ttl }| Self { query, ttl },
        )
    }
}

impl<'de> Deserialize<'de> for FieldAction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ActionVisitor;

        impl Visitor<'_> for ActionVisitor {
            type Value = FieldAction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("allow, deny, mask, hash, redact or null")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<FieldAction, E> {
                const NAMES: [&str; 6] = ["allow", "deny", "mask", "hash", "redact", "null"];
                let found = FieldAction::WORDS.into_iter().find(|(known, _)| *known == word);
                found.map(|(_, action)| action).ok_or_else(|| E::unknown_variant(word, &NAMES))
            }

            // YAML reads the bare word as its own null.
            fn visit_unit<E: serde::de::Error>(self) -> Result<FieldAction, E> {
                Ok(FieldAction::Null)
            }
        }

        deserializer.deserialize_any(ActionVisitor)
    }
}

impl JsonSchema for FieldAction {
    fn schema_name() -> Cow<'static, str> {
        "FieldAction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "What is done with a column.", "enum": ["allow", "deny", "mask", "hash", "redact", "null", null] })
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let texts = generator.subschema_for::<DialectTexts>();
        json_schema!({ "description": "An expression, or one for each dialect.",
            "anyOf": [{ "type": ["string", "boolean", "integer"] }, texts] })
    }
}

impl JsonSchema for AutoSetEntry {
    fn schema_name() -> Cow<'static, str> {
        "AutoSet".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let checked = generator.subschema_for::<CheckedValue>();
        json_schema!({ "description": "The value that a column is set to on create.",
            "anyOf": [{ "type": ["string", "boolean", "integer"] }, checked] })
    }
}

impl JsonSchema for DerivedAttribute {
    fn schema_name() -> Cow<'static, str> {
        "DerivedAttribute".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let keys = json_schema!({ "type": "object", "additionalProperties": false, "required": ["query"],
            "properties": { "query": { "type": "string" }, "ttl": { "type": "string" } } });
        json_schema!({ "description": "A query over `principal`, and how long its answer holds.",
            "anyOf": [{ "type": "string" }, keys] })
    }
}
