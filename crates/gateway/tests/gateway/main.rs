//! Whole roads through the gateway, in a world of two organizations.

mod world;
mod sources;
mod identity;
mod acting;
mod oidc;
mod connections;
mod indexing;
mod prove;
mod queries;
mod guarded;
mod approvals;
