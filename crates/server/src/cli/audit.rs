//! `ringfence audit`: does the chain hold, and what does it say.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use ringfence_store::Store;
use ringfence_store::audit::{AuditFilter, ChainVerdict, ChainedRecord};

use super::failure::Failure;
use super::help;
use super::opening::open_existing_store;
use super::options::StoreOptions;
use super::terminal::{self, GOOD, paint, say};

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
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        #[command(flatten)]
        conditions: Conditions,
        /// The most records to write [default: all]
        #[arg(long)]
        limit: Option<usize>,
        #[command(flatten)]
        store: StoreOptions,
    },
}

/// A form to export in.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated, with a header
    Csv,
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
    /// api, v1 or cli
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
            after: None,
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
    for_each(store, conditions.filter(), &mut |record| {
        if latest.len() == limit {
            latest.pop_front();
        }
        if limit > 0 {
            latest.push_back(record);
        }
        Ok(true)
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
    format: Format,
    mut limit: usize,
) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(std::io::stdout());
    if matches!(format, Format::Csv) {
        out.write_all(&csv_line(COLUMNS)?)?;
    }
    for_each(store, conditions.filter(), &mut |record| {
        if limit == 0 {
            return Ok(false);
        }
        limit -= 1;
        match format {
            Format::Csv => out.write_all(&csv_line(cells(&record))?)?,
            Format::Jsonl => writeln!(out, "{}", serde_json::to_string(&record).map_err(Failure::new)?)?,
        }
        Ok(true)
    })
    .await?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn csv_line<const N: usize>(cells: [impl AsRef<[u8]>; N]) -> Result<Vec<u8>, Failure> {
    let mut line = csv::Writer::from_writer(Vec::new());
    line.write_record(cells).map_err(Failure::new)?;
    line.into_inner().map_err(Failure::new)
}

/// Calls `each` for every record that matches, until it answers false.
async fn for_each(
    store: &Store,
    mut filter: AuditFilter,
    each: &mut dyn FnMut(ChainedRecord) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    loop {
        let page = store.audit().list(&filter, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        filter.after = Some(last.sequence);
        for record in page {
            if !each(record)? {
                return Ok(());
            }
        }
    }
}

const COLUMNS: [&str; 20] = [
    "sequence", "time", "trace_id", "door", "action", "user", "acting_for", "tenant", "org", "connection",
    "statement", "tables", "object", "rows", "duration_us", "decision", "code", "at_ms", "bypasses",
    "reason",
];

fn cells(ChainedRecord { sequence, record }: &ChainedRecord) -> [String; 20] {
    let text = |text: &Option<String>| harmless(text.as_deref().unwrap_or_default());
    [
        sequence.to_string(),
        shown(record.at_ms),
        harmless(&record.trace_id),
        harmless(&record.door),
        harmless(&record.action),
        text(&record.user),
        text(&record.acting_for),
        text(&record.tenant),
        text(&record.org),
        text(&record.connection),
        text(&record.statement),
        harmless(&record.tables.join(" ")),
        text(&record.object),
        record.rows.map(|rows| rows.to_string()).unwrap_or_default(),
        record.duration_us.to_string(),
        harmless(&record.decision),
        text(&record.code),
        record.at_ms.to_string(),
        harmless(&record.bypasses.join(" ")),
        text(&record.reason),
    ]
}

/// Spreadsheets run a cell that begins like a formula, and callers choose these texts.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn shown(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map(|at| format!("{at:.3}")).unwrap_or_default()
}

/// A moment in milliseconds: a timestamp, a date (its beginning, UTC), or a length of time before now.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    if let Ok(date) = text.parse::<civil::Date>()
        && let Ok(begin) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(begin.timestamp().as_millisecond());
    }
    text.parse::<SignedDuration>()
        .ok()
        .filter(SignedDuration::is_positive)
        .and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .map(Timestamp::as_millisecond)
        .ok_or_else(|| "write it like 2026-01-31, 2026-01-31T08:00:00Z or 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(1000));
        let hour_ago = Timestamp::now().as_millisecond() - 3_600_000;
        assert!((moment("1h").unwrap() - hour_ago).abs() < 1000);
        for wrong in ["", "yesterday", "-1h", "2026-13-01"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cells_are_no_formulas() {
        assert_eq!(harmless("=1+1"), "'=1+1");
        assert_eq!(harmless("ada"), "ada");
    }
}
