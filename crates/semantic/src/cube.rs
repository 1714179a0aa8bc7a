//! Cubes: measures of facts at levels of hierarchies, with totals.
//!
//! A cube names a table of facts, the tables that are joined to it, hierarchies of levels, and measures. A query of it becomes
//! ONE statement, as a caller could have written it; what the caller may see of it is decided where every statement is.
//!
//! Reading order: [`definition`] is what an author writes, [`resolve`] holds it against a catalog, [`visible`] is what is left
//! of it behind a principal's view, [`request`] what is asked, [`mod@compile`] looks up what it is about, [`statement`] and
//! [`cells`] write it, with measures in the order of [`stages`]; [`formula`] are the expressions in measures.

mod cells;
pub mod compile;
pub mod definition;
mod filtered;
pub mod formula;
pub mod request;
pub mod resolve;
mod stages;
mod statement;
pub mod visible;

pub use compile::{Compiled, compile};
pub use definition::Definition;
pub use request::CubeQuery;
pub use resolve::Cube;
pub use visible::{CubeDescription, CubeView};
