//! Who asks, and what they may: the pure floor of Ringfence.
//!
//! This crate holds the words everything above speaks (ids, roles, permissions, principals, catalogs) and
//! decides with them. It does no IO, knows no clock and never waits; every input arrives as an argument.
//!
//! Reading order: [`id`], [`role`], [`principal`], [`connection`], [`catalog`], [`filter`], [`access`].

pub mod access;
pub mod catalog;
pub mod connection;
pub mod filter;
pub mod id;
pub mod principal;
pub mod role;

pub use access::{OpenAccess, RunMode};
pub use catalog::{Catalog, Column, Constraint, Relation, RelationKind, Schema};
pub use connection::{ConnectionKind, ConnectionSpec, KeyInvalid};
pub use filter::{ContentFilters, FilterInvalid};
pub use id::{ConnectionKey, KeyName, NameInvalid, OrgId, QueryId, TenantId, TraceId, UserId};
pub use principal::{Attributes, Principal, Standing};
pub use role::{Permission, Permissions, Role, RoleUnknown};
