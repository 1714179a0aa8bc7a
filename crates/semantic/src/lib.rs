//! Models and cubes: structured requests become statements for a dialect.
//!
//! Nothing here decides about access. A request is held against what the principal may know ([`model`]), so that its
//! mistakes are told in the request's own words; the statement that it becomes goes through the guard like any other, and
//! what the principal may do is decided there.
//!
//! Reading order: [`request`] is what is asked, [`model`] what there is to ask for, [`query`], [`mod@include`], [`aggregate`]
//! and [`mod@write`] make statements of it, [`filter`] and [`order`] their clauses, [`statement`] the text; [`description`]
//! tells a caller what there is, [`refusal`] what can be wrong, [`complexity`] how much is asked at once. [`cube`] is a world
//! of its own, on the same ground.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod aggregate;
pub mod complexity;
pub mod cube;
pub mod description;
pub mod filter;
pub mod include;
pub mod model;
pub mod order;
pub mod query;
pub mod refusal;
pub mod request;
pub mod statement;
pub mod value;
pub mod write;

pub use model::{Field, ModelView, Models, Operations};
pub use refusal::Refusal;
pub use statement::Statement;
