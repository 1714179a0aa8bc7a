//! One module per kind of source.

pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;
