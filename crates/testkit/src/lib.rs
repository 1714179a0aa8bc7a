//! What tests lean on: throw-away servers that start quickly and never outlive their test.
//!
//! Nothing here ships. Panics are this crate's way to fail: a test world that can't be built fails its test.

mod installation;
pub mod mariadb;
pub mod postgres;
mod process;

pub use mariadb::Mariadb;
pub use postgres::Postgres;
pub use tokio_postgres::Client as PostgresClient;
