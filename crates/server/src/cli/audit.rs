//! `ringfence audit`: does the chain hold, and what does it say.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use ringfence_gateway::trail::TrailRecord;
use ringfence_store::Store;
use ringfence_store::audit::{AuditFilter, ChainVerdict, ChainedRecord};

use super::failure::Failure;
use super::help;
use super::opening::open_existing_store;
use super::options::StoreOptions;
use super::terminal::{self, GOOD, paint, say};
use crate::audit_forms::{AuditEntry, Encoder, Form, moment};

/// Records read at once.
const PAGE: u32 = 1000;

/// Verify, read and export the audit log
///
/// Every call leaves one record: who, as whom, what, on which connection, how it ended. The records are chained: one
/// that was changed, removed, put in or cut off shows in `verify`. Reads the control store itself, while the server
/// runs or not.
#[derive(Debug, Args)]
#[command(after_help = help::AUDIT)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check the whole chain; exit code 1 when it does not hold
    Verify(StoreOptions),
    /// Print the latest records as a table
    #[command(visible_alias = "search")]
    List {
        #[command(flatten)]
        conditions: Conditions,
        /// The most records to print
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        store: StoreOptions,
    },
    /// Write records, oldest first, with everything they hold
    Export {
        /// Form of the records
        #[arg(long, value_enum, default_value_t = Form::Jsonl)]
        format: Form,
        #[command(flatten)]
        conditions: Conditions,
        /// The most records to write [default: all]
        #[arg(long)]
        limit: Option<usize>,
        #[command(flatten)]
        store: StoreOptions,
    },
}

/// Which records; all that are given hold together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which records")]
struct Conditions {
    /// Since then: 2026-01-31, 2026-01-31T08:00:00Z, or 24h for a day ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Until then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Whose credentials were presented
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// In this organization
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// In this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Such as run-query or create-user
    #[arg(long)]
    action: Option<String>,
    /// allowed, refused, failed or abandoned
    #[arg(long, value_parser = ["allowed", "refused", "failed", "abandoned"])]
    decision: Option<String>,
    /// As whom the call ran, when impersonating
    #[arg(long, value_name = "ID")]
    acting_for: Option<String>,
    /// The agent that the caller named
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The code of a refusal, such as `NOT_PERMITTED`
    #[arg(long)]
    code: Option<String>,
    /// A model of a models request
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A relation that the statement names, such as public.orders
    #[arg(long, value_name = "NAME")]
    relation: Option<String>,
    /// The ticket of an approval
    #[arg(long, value_name = "ID")]
    approval: Option<String>,
    /// api, v1, cli or server
    #[arg(long)]
    door: Option<String>,
    /// A connection's key
    #[arg(long, value_name = "KEY")]
    connection: Option<String>,
    /// The trace id of an answer
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
}

impl Conditions {
    fn filter(&self) -> AuditFilter {
        AuditFilter {
            org: self.org.clone(),
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            action: self.action.clone(),
            door: self.door.clone(),
            decision: self.decision.clone(),
            connection: self.connection.clone(),
            trace_id: self.trace.clone(),
            since_ms: self.since,
            until_ms: self.until,
            model: self.model.clone(),
            relation: self.relation.clone(),
            code: self.code.clone(),
            approval: self.approval.clone(),
            agent: self.agent.clone(),
            acting_for: self.acting_for.clone(),
            after: None,
            newest_first: false,
        }
    }
}

impl Audit {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match &self.verb {
                Verb::Verify(options) => verify(&open(options).await?).await,
                Verb::List { conditions, limit, store } => {
                    list(&open(store).await?, conditions, *limit).await
                }
                Verb::Export { format, conditions, limit, store } => {
                    export(&open(store).await?, conditions, *format, limit.unwrap_or(usize::MAX)).await
                }
            }
        })
    }
}

async fn open(options: &StoreOptions) -> Result<Store, Failure> {
    open_existing_store(&options.load(Vec::new())?.config).await
}

async fn verify(store: &Store) -> Result<ExitCode, Failure> {
    let bar = terminal::progress_bar(0);
    let verdict = store
        .audit()
        .verify(&|done, all| {
            bar.set_length(u64::try_from(all).unwrap_or_default());
            bar.set_position(u64::try_from(done).unwrap_or_default());
        })
        .await?;
    bar.finish_and_clear();
    match verdict {
        ChainVerdict::Intact { records } => {
            say(format_args!("{} all {records} records are as they were written", paint(GOOD, "ok:")));
            if let Some(cut) = store.audit().cut().await? {
                let (gone, first) = (cut.records, cut.records + 1);
                say(format_args!("    from record {first} on: retention removed the {gone} before it"));
            }
            Ok(ExitCode::SUCCESS)
        }
        ChainVerdict::Broken { sequence, reason } => Err(Failure::new(format_args!(
            "the audit log does not hold: record {sequence} is the first that is not as it was written ({reason})"
        ))
        .hint("keep the store as it is, and compare it with a backup or with exported records")),
    }
}

async fn list(store: &Store, conditions: &Conditions, limit: usize) -> Result<ExitCode, Failure> {
    let mut latest = VecDeque::new();
    let filter = AuditFilter { newest_first: true, ..conditions.filter() };
    for_each(store, filter, limit, &mut |page| {
        for record in page {
            latest.push_front(record);
        }
        Ok(())
    })
    .await?;
    let mut table = terminal::plain_table();
    table.set_header(["#", "time", "door", "user", "organization", "action", "on", "decision"]);
    for ChainedRecord { sequence, record } in latest {
        let user = match (record.user, record.acting_for) {
            (Some(user), Some(other)) => format!("{user} as {other}"),
            (user, _) => user.unwrap_or_else(|| "-".to_owned()),
        };
        let on = record.connection.or(record.object).unwrap_or_default();
        let decision = record.code.map_or(record.decision, |code| code);
        let org = record.org.unwrap_or_default();
        table.add_row([
            sequence.to_string(),
            shown(record.at_ms),
            record.door,
            user,
            org,
            record.action,
            on,
            decision,
        ]);
    }
    say(table);
    Ok(ExitCode::SUCCESS)
}

async fn export(
    store: &Store,
    conditions: &Conditions,
    form: Form,
    limit: usize,
) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(std::io::stdout());
    let mut encoder = Encoder::new(form)?;
    out.write_all(&encoder.begin()?)?;
    for_each(store, conditions.filter(), limit, &mut |page| {
        let shown = |ChainedRecord { sequence, record }| TrailRecord { sequence: Some(sequence), record };
        let entries = page.into_iter().map(shown).map(AuditEntry::from);
        Ok(out.write_all(&encoder.records(entries.collect())?)?)
    })
    .await?;
    out.write_all(&encoder.end()?)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Hands on up to `limit` records that match, page by page.
async fn for_each(
    store: &Store,
    mut filter: AuditFilter,
    mut limit: usize,
    each: &mut dyn FnMut(Vec<ChainedRecord>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while limit > 0 {
        let page = store.audit().list(&filter, u32::try_from(limit).unwrap_or(u32::MAX).min(PAGE)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.sequence);
        limit -= page.len();
        each(page)?;
    }
    Ok(())
}

fn shown(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map(|at| format!("{at:.3}")).unwrap_or_default()
}
