//! `ringfence explain` and `ringfence why`: what becomes of a statement, and why somebody sees a row or not.

mod text;

use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::connections::ConnectionView;
use ringfence_gateway::queries::{ExplainRequest, QueryRequest, View, WhyRequest};
use ringfence_gateway::{Call, Gateway, Refused};

use super::failure::Failure;
use super::help;
use super::operator::{as_operator, with_gateway};
use super::options::{Format, StoreOptions};
use super::terminal::say_json;
use crate::explanation::{ExplanationAnswer, WhyAnswer};

/// Explain what becomes of a statement
///
/// Shows what the database gets when USER sends the statement, each relation with the rules that gave or took columns and
/// rows, and what running it would be refused with. Nothing of it is run; the database is asked whether it could. Works on
/// the control store itself, as `policy` does, and the call is in the audit log.
#[derive(Debug, Args)]
#[command(after_help = help::EXPLAIN)]
pub(crate) struct Explain {
    /// One SQL statement
    statement: String,
    #[command(flatten)]
    asking: Asking,
    /// With the database's own plan
    #[arg(long)]
    plan: bool,
    /// What USER may know, instead of all that is to be known
    #[arg(long, conflicts_with = "plan")]
    callers_view: bool,
    /// The schema in which names without one are looked up
    #[arg(long, value_name = "SCHEMA")]
    schema: Option<String>,
    /// A value of a placeholder, in their order; NULLs when none is given
    #[arg(long = "parameter", value_name = "TEXT")]
    parameters: Vec<String>,
    /// Why USER would run it: some policies want a reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Explain why somebody sees a row, or does not
///
/// Shows every clause of the policy that speaks of the relation's rows, with its value (TRUE, FALSE or NULL) on that row,
/// and what it asks of USER. The row is visible where base, narrow, roles, inherited and rule are all TRUE. Of the row's
/// columns those are shown that clauses read. Works on the control store itself, and the call is in the audit log.
#[derive(Debug, Args)]
#[command(after_help = help::WHY)]
pub(crate) struct Why {
    #[command(flatten)]
    asking: Asking,
    /// The relation, with its schema or without
    #[arg(long, value_name = "SCHEMA.TABLE")]
    relation: String,
    /// A column of the row's primary key, and its value; once for each column
    #[arg(long = "key", value_name = "COLUMN=VALUE", required = true, value_parser = key_value)]
    key: Vec<(String, String)>,
}

/// Who asks about whom, and where.
#[derive(Debug, Args)]
struct Asking {
    /// Id of the user whom it is about
    #[arg(long = "as", value_name = "USER")]
    as_user: String,
    /// Key of the connection, or its alias or database when no other has the same
    #[arg(long, value_name = "NAME")]
    connection: String,
    /// Id of the administrator whose connection it is [default: USER's own connection]
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// How it is printed; for programs as /v1/explain and /v1/why answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    store: StoreOptions,
}

impl Explain {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let explanation = self.asking.ask("explain-query", async |gateway, call, key| {
            let query = QueryRequest {
                statement: self.statement.clone(),
                current_schema: self.schema.clone(),
                parameters: self.parameters.iter().cloned().map(Some).collect(),
                reason: self.reason.clone(),
                ..QueryRequest::default()
            };
            let view = if self.callers_view { View::Caller } else { View::Administrator };
            let as_user = Some(self.asking.as_user.clone());
            let request = ExplainRequest { key, query, as_user, view: Some(view), plan: self.plan };
            gateway.explain_query(call, request).await
        })?;
        match self.asking.format {
            Format::Text => text::explanation(&explanation),
            Format::Json => say_json(&ExplanationAnswer::from(explanation))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Why {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let why = self.asking.ask("explain-row", async |gateway, call, key| {
            let request = WhyRequest {
                key,
                relation: self.relation.clone(),
                row: self.key.iter().cloned().collect(),
                as_user: Some(self.asking.as_user.clone()),
            };
            gateway.explain_row(call, request).await
        })?;
        match self.asking.format {
            Format::Text => text::why(&why),
            Format::Json => say_json(&WhyAnswer::from(why))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Asking {
    /// Asks with the connection's key, as the administrator or the operator.
    fn ask<T>(
        &self,
        action: &str,
        work: impl AsyncFnOnce(&Gateway, &Call, String) -> Result<T, Refused>,
    ) -> Result<T, Failure> {
        let config = self.store.load(Vec::new())?.config;
        with_gateway(&config, async |gateway| {
            let key = self.key(gateway).await?;
            let user = self.user.as_deref();
            Ok(as_operator(gateway, action, user, async |call| work(gateway, call, key).await).await?)
        })
    }

    /// The connection's key. A name that is none is looked for on the list.
    async fn key(&self, gateway: &Gateway) -> Result<String, Failure> {
        if self.connection.contains("://") {
            return Ok(self.connection.clone());
        }
        let owner = self.user.as_ref().unwrap_or(&self.as_user);
        let list = as_operator(gateway, "list-connections", Some(owner), async |call| {
            gateway.list_connections(call).await
        });
        let list = list.await?;
        let found: Vec<_> = list.connections.iter().filter(|view| self.names(view)).collect();
        match found.as_slice() {
            [one] => Ok(one.key.to_string()),
            several => {
                let many = if several.is_empty() { "no connection" } else { "more than one connection" };
                Err(Failure::new(format_args!("{owner} has {many} of the name {}", self.connection))
                    .hint("give its key, such as postgresql://app@db:5432/shop"))
            }
        }
    }

    fn names(&self, view: &ConnectionView) -> bool {
        let spec = &view.spec;
        let names = [&spec.alias, &spec.db_alias, &spec.database];
        names.into_iter().flatten().any(|name| *name == self.connection)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(column, _)| !column.trim().is_empty());
    let (column, value) = pair.ok_or("give a column and its value, such as id=42")?;
    Ok((column.trim().to_owned(), value.to_owned()))
}
