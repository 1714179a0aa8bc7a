//! The engine against real servers and real files.

mod faults;
mod fenced;
mod fenced_sqlite;
mod hygiene;
mod introspection;
mod limits;
mod mysql;
mod mysql_hygiene;
mod parameters;
mod plans;
mod pools;
mod read_only;
mod sqlite;
mod sqlite_catalog;
mod transactions;
mod transactions_mysql;
mod transactions_sqlite;
mod values;
mod world;
