//! What an answer hangs on.

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use ringfence_engine::{RunOptions, SourceAddress};

use crate::Refused;
use crate::road::{Ready, Road};

/// A digest of everything that decides what the database would answer.
///
/// Complete, because a source is given nothing but an address, a text, values and options:
/// - **the text** is the guard's: it names the relations with their schema and holds the fences, so the columns that are seen,
///   the masks, every condition of policy, rules, restrictions and inherited joins, and what the caller asked for;
/// - **the values** are those of the caller and of the principal, attributes that were read for them among them;
/// - **the address**, with the organization, the database user and the password: the tenant's own database where each has one,
///   and whatever defaults the database has for that user. One who signs in otherwise asks for themselves;
/// - **the options** cut rows and set the session;
/// - **the data's version** moves with every statement of this server that may have changed something.
///
/// Beyond what the text says, the versions of the policy and of the restrictions and cubes beside it are in it: a new version
/// begins with nothing, whatever it changed. The cost that a budget allows is in it because it is held against an estimate
/// of the database before the statement runs. Who asks is not in it, and neither is how long they would wait. What hangs on
/// the moment is never kept: see [`super::steady`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AnswerKey([u8; 32]);

impl AnswerKey {
    pub(super) fn of(road: &Road<'_>, ready: &Ready) -> Result<Self, Refused> {
        let version = road.gateway.shared.engine.data_version(&road.address)?;
        let mut digest = Digester(Sha256::new());
        digest.part(road.call.principal().org.as_str());
        digest.address(&road.address);
        digest.part(&format!("{:?}", road.connection.source));
        digest.part(&format!("{:?}", road.snapshot.policy.identity()));
        digest.part(&format!("{version:?}"));
        digest.part(ready.query.sql());
        digest.part(&format!("{:?}", ready.query.parameters()));
        digest.options(&ready.options);
        digest.part(&format!("{:?}", road.max_cost()));
        Ok(Self(digest.0.finalize().into()))
    }

    #[cfg(test)]
    pub(super) fn numbered(number: u8) -> Self {
        Self([number; 32])
    }
}

/// Takes parts one after the other, none of which can be mistaken for two.
struct Digester(Sha256);

impl Digester {
    fn part(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn address(&mut self, address: &SourceAddress) {
        // Every field by its name, so that a new one is not forgotten.
        let SourceAddress { kind, pool_scope, host, port, database, username, password, sslmode } = address;
        self.part(&format!("{:?}", (kind, pool_scope, host, port, database, username, sslmode)));
        self.part(if password.is_some() { "password" } else { "none" });
        self.part(password.as_ref().map_or("", |password| password.expose_secret()));
    }

    fn options(&mut self, options: &RunOptions) {
        let RunOptions { timeout: _, max_rows, max_bytes, current_schema, session_parameters, max_columns } =
            options;
        let parts = (max_rows, max_bytes, current_schema, session_parameters, max_columns);
        self.part(&format!("{parts:?}"));
    }
}
