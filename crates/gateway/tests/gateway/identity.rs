//! Who asks, who may rule over whom, and what is remembered of it.

mod access_keys;
mod audit;
mod authentication;
mod bootstrap;
mod directory;
mod likes;
mod passwords;
mod revocation;
mod sessions;
mod settings;
mod trail;
mod users;
