//! For tests of the engine: queries as the guard would fence them, without the guard.
//!
//! The engine must hold what a fence says even if the guard erred, which tests can show only with statements that the
//! guard would not make. The feature is named in dev-dependencies only; the tidy test `guarded_query_is_sealed` sees to it.

use std::sync::Arc;

use crate::sealed::{self, Fence, FencedStatement, GuardedQuery, Parameter};

/// A query with that text, unchecked.
pub fn fenced(sql: &str, parameters: Vec<Parameter>, fence: Fence) -> GuardedQuery {
    let sealed = sealed::seal_fenced(FencedStatement {
        sql: sql.to_owned(),
        fence,
        fingerprint: String::new(),
        named: Vec::new(),
    });
    GuardedQuery::of(&Arc::new(sealed), parameters)
}
