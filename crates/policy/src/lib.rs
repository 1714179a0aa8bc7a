//! Who asks, and what they may: the pure floor of Ringfence.
//!
//! This crate holds the words everything above speaks (ids, roles, permissions, principals, catalogs), reads policy
//! documents, and decides with them. It does no IO, knows no clock and never waits; every input arrives as an argument.
//!
//! Reading order: [`id`], [`role`], [`principal`], [`connection`], [`catalog`], [`filter`], [`access`] for who and what;
//! [`document`], [`policy`], [`parse`], [`mask`], [`rule`] for what is said; [`mod@decide`], [`resolve`], [`evaluate`],
//! [`reason`], [`mod@applied`] for what follows from it, `spelling` for how people read it; [`mod@endpoint`] for statements that are published; [`lint`], [`drift`], [`intent`] for what may be wrong with
//! it; [`expression`] and [`entitlement`] for what the guard is told.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod access;
pub mod applied;
pub mod beside;
pub mod budget;
pub mod catalog;
mod check;
mod compile;
pub mod connection;
pub mod cubes;
pub mod decide;
pub mod document;
pub mod drift;
pub mod endpoint;
pub mod entitlement;
pub mod evaluate;
pub mod expectations;
pub mod expression;
pub mod filter;
pub mod id;
pub mod intent;
pub mod lint;
pub mod mask;
pub mod parse;
pub mod placed;
pub mod policy;
pub mod principal;
pub mod problem;
pub mod reading;
pub mod reason;
pub mod resolve;
pub mod rls;
pub mod role;
pub mod rule;
mod spelling;
pub mod tenancy;
mod walk;

pub use access::{OpenAccess, RunMode};
pub use applied::{Applied, applied};
pub use beside::Beside;
pub use catalog::{Catalog, Column, Constraint, Relation, RelationKind, Schema};
pub use compile::duration;
pub use connection::{AgentTools, ConnectionKind, ConnectionSpec, KeyInvalid};
pub use decide::{Question, decide, decide_with_reasons, view, view_like};
pub use document::{Document, json_schema};
pub use drift::{Drift, Footprint};
pub use endpoint::{Endpoint, endpoint_schema};
pub use entitlement::{
    AutoSet, Denial, Entitlement, Permit, Reference, SoftDelete, View, VisibleColumn, WriteRules,
};
pub use expectations::{Expectation, Expectations, Who, expectations_schema};
pub use expression::{Expression, RelationName};
pub use filter::{ContentFilters, FilterInvalid};
pub use id::{ConnectionKey, KeyName, NameInvalid, OrgId, QueryId, TenantId, TraceId, UserId};
pub use intent::{Cast, Intent, intent_schema};
pub use lint::{Warning, WarningCode, folded, names_a_secret, names_a_tenant};
pub use policy::Policy;
pub use principal::{Agent, Attributes, Credential, Identity, Principal, Standing};
pub use problem::{PolicyInvalid, Problem};
pub use reason::{Clause, Effect, Part, Reason, Subject, Verdict};
pub use rls::{CompiledRls, Unsaid, UnsaidCode, compile_rls};
pub use role::{Permission, Permissions, Role, RoleUnknown};
pub use rule::{AccessRule, RuleKind};
pub use tenancy::{Realm, Template, Tenancy};
