//! Statements of the past, as their users, under the policy in force and under another: what would be answered otherwise.

use std::collections::HashSet;

use ringfence_engine::ResultSet;
use ringfence_policy::{Attributes, ConnectionKind, OpenAccess};
use ringfence_store::history::HistoryPage;

use super::Bench;
use super::company::Member;
use super::report::{Replay, Replayed};
use crate::guarded::{Seat, Snapshot};
use crate::queries::{QueryRequest, Trial};
use crate::{Gateway, Refused};

/// Statements of each user, the newest.
const OF_EACH: u32 = 200;
/// Changed statements that are told.
const TOLD: usize = 200;

impl Gateway {
    /// Runs the statements that users of the proof ran before, under both policies.
    pub(super) async fn replay(
        &self,
        bench: &Bench<'_>,
        before: &Snapshot,
        actors: &[Member],
    ) -> Result<Replay, Refused> {
        self.shared.history.flush().await;
        let mut replay = Replay::default();
        for Member { number, principal, actor } in actors {
            let page = HistoryPage { limit: OF_EACH, offset: 0, newest_first: true, id: None };
            let entries =
                self.shared.store.history().list(&principal.identity(), &bench.connection.key, &page).await?;
            if entries.is_empty() {
                continue;
            }
            let nothing = Attributes::new();
            let old = bench.trials.seat(before, bench.rules, principal, &nothing, None).await;
            let mut known = HashSet::new();
            for entry in entries {
                if !known.insert(entry.query.clone()) {
                    continue;
                }
                replay.statements += 1;
                let one = match &old {
                    Ok(seat) => answer(bench, before, seat, &entry.query).await,
                    Err(refused) => Outcome::Refused(refused.code.row().name.to_owned()),
                };
                let other = answer(bench, bench.snapshot, &actor.seat, &entry.query).await;
                replay.not_run += usize::from(matches!(other, Outcome::NotRun));
                if one == other {
                    replay.same += 1;
                } else if replay.changed.len() < TOLD {
                    replay.changed.push(Replayed {
                        principal: *number,
                        statement: without_literals(&entry.query, bench.kind),
                        before: one.told(),
                        after: other.told(),
                    });
                } else {
                    replay.left_out += 1;
                }
            }
        }
        Ok(replay)
    }
}

/// The statement as alike ones share it: its values are its user's.
fn without_literals(statement: &str, kind: ConnectionKind) -> String {
    let read = ringfence_guard::open_plan(statement, kind, OpenAccess { read_only: true });
    read.map_or_else(
        |_| "a statement that can't be read".to_owned(),
        |plan| plan.fingerprint_text().to_owned(),
    )
}

/// What came of a statement, as far as two of them are compared.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Rows { columns: Vec<String>, count: u64, rows: Vec<String> },
    NotRun,
    Refused(String),
}

async fn answer(bench: &Bench<'_>, snapshot: &Snapshot, seat: &Seat, statement: &str) -> Outcome {
    let request = QueryRequest {
        statement: statement.to_owned(),
        max_rows: Some(bench.most_rows),
        ..QueryRequest::default()
    };
    match bench.trials.run(snapshot, seat, &request).await {
        Ok(Trial::Answered(result)) => Outcome::of(&result),
        Ok(Trial::NotRun) => Outcome::NotRun,
        Err(refused) => Outcome::Refused(refused.code.row().name.to_owned()),
    }
}

impl Outcome {
    fn of(result: &ResultSet) -> Self {
        let mut rows: Vec<String> =
            result.rows.iter().map(|row| serde_json::to_string(row).unwrap_or_default()).collect();
        // Without ORDER BY a database may answer in any order.
        rows.sort();
        Self::Rows {
            columns: result.columns.iter().map(|column| column.name.clone()).collect(),
            count: rows.len() as u64 + result.more_rows,
            rows,
        }
    }

    /// For reports: no values.
    fn told(&self) -> String {
        match self {
            Self::Rows { columns, count, .. } => format!("{count} rows of {} columns", columns.len()),
            Self::NotRun => "let through, not run".to_owned(),
            Self::Refused(code) => format!("refused: {code}"),
        }
    }
}
