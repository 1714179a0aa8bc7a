//! User directories: tables of the company's own that users and their passwords are read from, by one query of the configuration.
//!
//! The query runs on a registered connection with that connection's credentials, reads only, and returns at most one row. What it
//! says of a user counts as far as the directory is believed ([`Source`]), like what any outside source says.

use std::time::Duration;

use ringfence_engine::{ResultSet, RunOptions, Value as Cell};
use ringfence_guard::OperatorQuery;
use ringfence_policy::{Attributes, ConnectionKey, UserId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::arrivals::{Arrival, Source};
use crate::connections::address_of;
use crate::passwords::PasswordHash;
use crate::{Code, Gateway, Refused};

/// The query's one parameter: the name that somebody signs in with.
pub const PARAMETER: &str = "user";
/// Most bytes of the one row.
const MOST_BYTES: u64 = 256 * 1024;

/// A directory, as the operator describes it.
#[derive(Debug, Clone)]
pub struct Directory {
    /// How far it is believed; it has the directory's name.
    pub source: Source,
    /// Whose connection it is.
    pub owner: UserId,
    /// The registered connection.
    pub connection: ConnectionKey,
    /// A SELECT with the parameter `:user`.
    pub query: String,
    /// What its columns mean.
    pub columns: DirectoryColumns,
    /// How long it may take.
    pub timeout: Duration,
}

/// Names of the query's columns.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct DirectoryColumns {
    pub user: String,
    /// The password's hash.
    pub password: String,
    pub tenant: Option<String>,
    pub organization: Option<String>,
    /// A list, or a text with names between commas.
    pub roles: Option<String>,
    /// Attributes for policies, and the column that each is.
    pub attributes: Vec<(String, String)>,
}

/// Somebody whom a directory knows.
pub(crate) struct Entry {
    pub(crate) hash: Option<PasswordHash>,
    pub(crate) arrival: Arrival,
}

impl Gateway {
    /// What the directory has under that name. A row that can't be used is the operator's to mend; nobody gets in by it.
    pub(crate) async fn look_up(&self, directory: &Directory, name: &str) -> Result<Option<Entry>, Refused> {
        // No database keeps such a name.
        if name.is_empty() || name.contains('\0') {
            return Ok(None);
        }
        let found = self.ask_directory(directory, name).await.map_err(|cause| {
            tracing::error!(directory = directory.source.name, error = %cause, "a user directory can't be read");
            Refused::new(Code::StoreUnavailable, "the user directory can't be read: try again later")
        })?;
        Ok(found.rows.first().and_then(|row| {
            entry(directory, &found, row, found.rows.len() > 1 || found.more_rows > 0)
                .inspect_err(|cause| {
                    tracing::error!(
                        directory = directory.source.name,
                        error = cause,
                        "a directory's row can't be used"
                    );
                })
                .ok()
        }))
    }

    async fn ask_directory(&self, directory: &Directory, name: &str) -> Result<ResultSet, String> {
        let store = &self.shared.store;
        let owner = store.users().get(&directory.owner).await.map_err(|error| error.to_string())?;
        let owner = owner.ok_or("its connection's owner does not exist")?;
        let connection = store.connections().get(&owner.id, &directory.connection).await;
        let connection =
            connection.map_err(|error| error.to_string())?.ok_or("its connection does not exist")?;
        let address = address_of(&connection, &owner.org).map_err(|refused| refused.to_string())?;
        let query = OperatorQuery::configured(&directory.query, PARAMETER, address.kind);
        let query = query?.bind_operator(name);
        let options = RunOptions {
            timeout: directory.timeout,
            max_rows: 2,
            max_bytes: MOST_BYTES,
            ..RunOptions::default()
        };
        let ran = self.shared.engine.run(&address, &query, &options, CancellationToken::new()).await;
        ran.map_err(|error| error.to_string())
    }
}

/// The row as somebody who arrives. Its values are never repeated in what is said of it.
fn entry(
    directory: &Directory,
    found: &ResultSet,
    row: &[Cell],
    is_one_of_several: bool,
) -> Result<Entry, &'static str> {
    if is_one_of_several {
        return Err("the query answers more than one row for a name");
    }
    let cell = |column: &str| {
        let mut places = found.columns.iter().zip(row).filter(|(named, _)| named.name == column);
        match (places.next(), places.next()) {
            (Some((_, cell)), None) => Ok(cell),
            (None, _) => Err("the query has no column of a configured name"),
            (Some(_), Some(_)) => Err("the query has two columns of a configured name"),
        }
    };
    let text = |column: &str| match cell(column)? {
        Cell::Null => Ok(None),
        Cell::Text(text) => Ok(Some(text.clone())),
        Cell::Integer(number) => Ok(Some(number.to_string())),
        _ => Err("a column is neither text nor number"),
    };
    let optional = |column: &Option<String>| column.as_deref().map_or(Ok(None), text);
    let columns = &directory.columns;
    let user = text(&columns.user)?.ok_or("a user has no name")?;
    let hash = text(&columns.password)?;
    // Who has no password, or one of a kind that is not known, is there and can't sign in.
    let hash = hash.and_then(|hash| {
        PasswordHash::read(&hash)
            .inspect_err(|error| {
                tracing::error!(directory = directory.source.name, %error, "a directory's password hash can't be used");
            })
            .ok()
    });
    let mut attributes = Attributes::new();
    for (name, column) in &columns.attributes {
        // One that is NULL is one that the user does not have.
        if let Some(value) = value(cell(column)?)? {
            attributes.insert(name.clone(), value);
        }
    }
    let roles = columns.roles.as_deref().map_or(Ok(Vec::new()), |column| names(cell(column)?))?;
    let arrival = Arrival {
        subject: user.clone(),
        name: user,
        organization: optional(&columns.organization)?,
        tenant: optional(&columns.tenant)?,
        roles,
        attributes,
        as_of: None,
    };
    Ok(Entry { hash, arrival })
}

fn value(cell: &Cell) -> Result<Option<Value>, &'static str> {
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Bool(truth) => Value::Bool(*truth),
        Cell::Integer(number) => Value::from(*number),
        Cell::Float(number) => Value::from(*number),
        Cell::Decimal(number) => Value::String(number.get().to_owned()),
        Cell::Text(text) => Value::String(text.clone()),
        Cell::Json(json) => serde_json::from_str(json.get()).map_err(|_| "a column's JSON can't be read")?,
        Cell::Array(cells) => {
            let values: Result<Vec<_>, _> = cells.iter().map(value).collect();
            Value::Array(values?.into_iter().flatten().collect())
        }
    }))
}

/// A list of names, however it is kept.
fn names(cell: &Cell) -> Result<Vec<String>, &'static str> {
    let listed = |values: Vec<Value>| {
        let name = |value| match value {
            Value::String(name) => Ok(name),
            _ => Err("a role is no text"),
        };
        values.into_iter().map(name).collect()
    };
    match value(cell)? {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => listed(values),
        Some(Value::String(text)) => {
            Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        Some(_) => Err("the roles are neither a list nor a text"),
    }
}
