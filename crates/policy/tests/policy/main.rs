//! What a policy says and what follows from it, on rows in memory.

mod access_rules;
mod applied;
mod attributes;
mod budgets;
mod corpus;
mod cubes;
mod documents;
mod drift;
mod endpoints;
mod expressions;
mod law;
mod lints;
mod masks;
mod properties;
mod reference;
mod speed;
mod tenancy;
mod world;
