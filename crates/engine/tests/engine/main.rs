//! The engine against real servers and real files.

mod faults;
mod hygiene;
mod introspection;
mod limits;
mod pools;
mod read_only;
mod sqlite;
mod sqlite_catalog;
mod values;
mod world;
