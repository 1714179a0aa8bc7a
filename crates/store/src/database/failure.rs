//! Why a statement failed, in the store's own terms. Messages name no address, no user and no value.

use crate::StoreError;

/// A failure, before a repository says which noun it is about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A unique constraint does not hold.
    Taken,
    /// A foreign key does not hold: what is referred to is missing, or what is removed is in use.
    Reference,
    /// The database gave the transaction up in favour of another; it may be run again.
    GaveWay,
    /// The database can't do it now.
    Unavailable(String),
    /// The database or its content is damaged, or a statement of ours is wrong.
    Corrupt(String),
}

impl Failure {
    /// A taken name is a duplicate of `what`.
    pub(crate) fn taken_is(self, what: &'static str) -> StoreError {
        match self {
            Self::Taken => StoreError::Duplicate { what },
            other => other.into(),
        }
    }

    /// A broken reference means that `what` is missing.
    pub(crate) fn reference_is_missing(self, what: &'static str) -> StoreError {
        match self {
            Self::Reference => StoreError::Missing { what },
            other => other.into(),
        }
    }

    /// A taken name is a duplicate of `what`, and a broken reference means that `referred` is missing.
    pub(crate) fn on_insert(self, what: &'static str, referred: &'static str) -> StoreError {
        match self {
            Self::Taken => StoreError::Duplicate { what },
            other => other.reference_is_missing(referred),
        }
    }

    /// A broken reference means that `dependents` still need `what`.
    pub(crate) fn reference_is_use(self, what: &'static str, dependents: &'static str) -> StoreError {
        match self {
            Self::Reference => StoreError::InUse { what, dependents },
            other => other.into(),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Taken => Self::Conflict { what: "a record" },
            Failure::Reference => Self::Missing { what: "what the record refers to" },
            Failure::GaveWay => Self::Conflict { what: super::GAVE_WAY },
            Failure::Unavailable(why) => Self::Unavailable(why),
            Failure::Corrupt(why) => Self::Corrupt(why),
        }
    }
}
