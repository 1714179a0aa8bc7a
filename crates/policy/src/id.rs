//! Ids: each noun has a type of its own, so that one can't be passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id in bytes. Connection keys join several names and may be four times as long.
pub const MAX_ID_BYTES: usize = 255;
const MAX_KEY_BYTES: usize = 4 * MAX_ID_BYTES;

/// Why a text can't be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameInvalid {
    /// Nothing was given.
    #[error("{what} is empty: give a non-empty text")]
    Empty {
        /// What the text names, such as "user id".
        what: &'static str,
    },
    /// Longer than the limit.
    #[error("{what} is too long: at most {limit} bytes")]
    TooLong {
        /// What the text names.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// Control characters (NUL and line breaks among them) end up in logs, headers and databases that can't hold them.
    #[error("{what} holds a control character: use printable characters")]
    ControlCharacter {
        /// What the text names.
        what: &'static str,
    },
}

/// Checks a text that people choose and that is shown to others: ids and display names.
pub fn check_name(what: &'static str, text: &str, limit: usize) -> Result<(), NameInvalid> {
    if text.trim().is_empty() {
        Err(NameInvalid::Empty { what })
    } else if text.len() > limit {
        Err(NameInvalid::TooLong { what, limit })
    } else if text.chars().any(char::is_control) {
        Err(NameInvalid::ControlCharacter { what })
    } else {
        Ok(())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks the text and makes it an id.
            pub fn new(text: &str) -> Result<Self, NameInvalid> {
                check_name($what, text, $limit)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameInvalid;

            fn from_str(text: &str) -> Result<Self, NameInvalid> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameInvalid;

            fn try_from(text: String) -> Result<Self, NameInvalid> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// An organization's id, unique on the server.
    OrgId,
    "organization id",
    MAX_ID_BYTES
);
id!(
    /// A tenant's id, unique on the server.
    TenantId,
    "tenant id",
    MAX_ID_BYTES
);
id!(
    /// A user's id, unique on the server.
    UserId,
    "user id",
    MAX_ID_BYTES
);
id!(
    /// The name of an access key, unique for its user.
    KeyName,
    "access key name",
    MAX_ID_BYTES
);
id!(
    /// A connection's key, computed from what it points at; unique for a user.
    ConnectionKey,
    "connection key",
    MAX_KEY_BYTES
);
id!(
    /// A query that was run or submitted; unguessable.
    QueryId,
    "query id",
    MAX_ID_BYTES
);
id!(
    /// One call, from the front door to the audit record.
    TraceId,
    "trace id",
    MAX_ID_BYTES
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_cannot_be_a_name() {
        assert_eq!(UserId::new(""), Err(NameInvalid::Empty { what: "user id" }));
        assert_eq!(UserId::new("  "), Err(NameInvalid::Empty { what: "user id" }));
        assert_eq!(UserId::new("a\0b"), Err(NameInvalid::ControlCharacter { what: "user id" }));
        assert_eq!(
            UserId::new(&"x".repeat(256)),
            Err(NameInvalid::TooLong { what: "user id", limit: MAX_ID_BYTES })
        );
        assert_eq!(UserId::new("né-1 @x").unwrap().as_str(), "né-1 @x");
    }

    #[test]
    fn deserializing_checks_too() {
        assert!(serde_json::from_str::<OrgId>("\"\"").is_err());
        assert_eq!(serde_json::from_str::<OrgId>("\"a\"").unwrap(), OrgId::new("a").unwrap());
    }
}
