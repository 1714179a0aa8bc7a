//! The real binary, over real sockets, in front of real databases.

mod actions;
mod api_connections;
mod api_people;
mod api_queries;
mod api_refusals;
mod bad_input;
mod census;
mod cli;
mod cli_explain;
mod cli_policy;
mod cli_prove;
mod demo;
mod limits;
mod notebook;
mod operations;
mod process;
mod transcript;
mod v1;
mod v1_client;
mod v1_explain;
mod v1_policies;
mod v1_connections;
mod v1_queries;
mod world;
