//! What a proof found, for programs. docs/prove.md and docs/prove.schema.json describe it.

use ringfence_gateway::prove::{Invariant, Proof, RowCounts, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

/// What came of `ringfence prove`. Within one version keys are added, and none is taken away or means something else.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "Ringfence proof")]
pub(crate) struct ProofReport {
    /// `ringfence-proof`.
    format: &'static str,
    /// Of this form.
    version: u32,
    /// When it was made, as RFC 3339.
    made_at: String,
    pub(crate) connection: String,
    /// The version of the policy that is in force; null for a document that was given.
    pub(crate) policy_version: Option<i64>,
    /// Whether no invariant was seen broken.
    pub(crate) proven: bool,
    /// The same seed draws the same statements.
    pub(crate) seed: u64,
    /// Whether an intent was given: then whatever it does not say is a finding.
    pub(crate) has_intent: bool,
    /// What a principal's own tenant is called in the rows.
    pub(crate) tenant_value: String,
    pub(crate) principals: Vec<PrincipalReport>,
    /// Principals that were not looked through, because there are too many.
    pub(crate) principals_left_out: usize,
    pub(crate) relations: Vec<RelationReport>,
    /// Principals by relations.
    pub(crate) matrix: Vec<CellReport>,
    pub(crate) invariants: Vec<InvariantReport>,
    pub(crate) findings: Vec<FindingReport>,
    /// Rows of others that are seen because a rule, or the intent, says so.
    pub(crate) crossings: Vec<CrossingReport>,
    /// What could not be looked at, and why.
    pub(crate) notes: Vec<String>,
    /// Statements of the past under both policies; null unless asked for.
    pub(crate) replay: Option<ReplayReport>,
}

/// Somebody as whom statements were run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PrincipalReport {
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) roles: Vec<String>,
    /// Why nothing could be asked as this principal; null when it could.
    pub(crate) refused: Option<String>,
}

/// A relation, and how its rows say whose they are.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RelationReport {
    /// As `schema.name`.
    pub(crate) relation: String,
    /// The column of the tenant, `through ...`, `everybody's`, or `nothing says`.
    pub(crate) owner: String,
    /// Rows that answers were held against.
    pub(crate) rows: usize,
    /// Whether there are more.
    pub(crate) partly: bool,
}

/// What one principal saw of one relation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CellReport {
    /// Its place in `principals`.
    pub(crate) principal: usize,
    /// Its place in `relations`.
    pub(crate) relation: usize,
    pub(crate) verdict: VerdictName,
    /// Statements that asked for the relation.
    pub(crate) statements: usize,
    pub(crate) rows: RowsReport,
    /// Names of invariants that are broken.
    pub(crate) broken: Vec<&'static str>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerdictName {
    /// It does not exist for the principal.
    Hidden,
    /// Nothing but what is meant.
    Inside,
    /// Rows of others too, as a rule or the intent says.
    Crossing,
    /// An invariant is broken.
    Broken,
    /// It could not be looked at.
    Unknown,
}

/// Rows of a whole read, by whose they are.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct RowsReport {
    pub(crate) own: u64,
    /// Meant for everybody, or nobody's.
    pub(crate) shared: u64,
    /// Of others, as the intent says.
    pub(crate) crossing: u64,
    /// Of others otherwise.
    pub(crate) foreign: u64,
    /// That could not be told.
    pub(crate) unknown: u64,
}

/// How often an invariant was held against an answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct InvariantReport {
    pub(crate) invariant: &'static str,
    pub(crate) checked: u64,
    pub(crate) broken: u64,
}

/// An invariant that does not hold.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct FindingReport {
    pub(crate) invariant: &'static str,
    pub(crate) relation: String,
    pub(crate) column: Option<String>,
    /// What was seen. Hidden values are never in it.
    pub(crate) what: String,
    /// What to do.
    pub(crate) advice: String,
    /// A statement that shows it; what it may not show stands between `<` and `>`.
    pub(crate) statement: String,
    /// As whom: places in `principals`.
    pub(crate) principals: Vec<usize>,
    /// Answers that showed it.
    pub(crate) times: u64,
}

/// Rows of others that are seen because a rule says so.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CrossingReport {
    pub(crate) relation: String,
    pub(crate) rule: String,
    /// By whom: places in `principals`.
    pub(crate) principals: Vec<usize>,
    /// The most rows of others that one of them sees.
    pub(crate) rows: u64,
}

/// Statements of the past under both policies.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ReplayReport {
    pub(crate) statements: usize,
    pub(crate) same: usize,
    /// That change data: they are judged, not run.
    pub(crate) not_run: usize,
    pub(crate) changed: Vec<ReplayedReport>,
    pub(crate) left_out: usize,
}

/// A statement that is answered otherwise.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ReplayedReport {
    /// A place in `principals`.
    pub(crate) principal: usize,
    /// Without literals.
    pub(crate) statement: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl ProofReport {
    pub(crate) fn new(proof: Proof, made_at: String) -> Self {
        Self {
            format: "ringfence-proof",
            version: 1,
            made_at,
            proven: proof.is_proven(),
            connection: proof.connection,
            policy_version: proof.policy_version,
            seed: proof.seed,
            has_intent: proof.has_intent,
            tenant_value: proof.tenant_value,
            principals: proof
                .principals
                .into_iter()
                .map(|it| PrincipalReport {
                    name: it.name,
                    tenant: it.tenant,
                    roles: it.roles,
                    refused: it.refused,
                })
                .collect(),
            principals_left_out: proof.principals_left_out,
            relations: proof
                .relations
                .into_iter()
                .map(|it| RelationReport {
                    relation: it.relation.to_string(),
                    owner: it.owner,
                    rows: it.rows,
                    partly: it.partly,
                })
                .collect(),
            matrix: proof
                .cells
                .into_iter()
                .map(|cell| CellReport {
                    principal: cell.principal,
                    relation: cell.relation,
                    verdict: cell.verdict.into(),
                    statements: cell.statements,
                    rows: cell.rows.into(),
                    broken: cell.broken.into_iter().map(Invariant::name).collect(),
                })
                .collect(),
            invariants: proof
                .checks
                .into_iter()
                .map(|it| InvariantReport {
                    invariant: it.invariant.name(),
                    checked: it.checked,
                    broken: it.broken,
                })
                .collect(),
            findings: proof.findings.into_iter().map(FindingReport::from).collect(),
            crossings: proof
                .crossings
                .into_iter()
                .map(|it| CrossingReport {
                    relation: it.relation.to_string(),
                    rule: it.rule,
                    principals: it.principals,
                    rows: it.rows,
                })
                .collect(),
            notes: proof.notes,
            replay: proof.replay.map(ReplayReport::from),
        }
    }

    /// When it was made.
    pub(crate) fn made_at(&self) -> &str {
        &self.made_at
    }

    /// Names of principals by their places.
    pub(crate) fn names(&self, places: &[usize]) -> String {
        let names = places.iter().filter_map(|place| self.principals.get(*place));
        names.map(|principal| principal.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl From<ringfence_gateway::prove::Finding> for FindingReport {
    fn from(finding: ringfence_gateway::prove::Finding) -> Self {
        Self {
            invariant: finding.invariant.name(),
            relation: finding.relation.to_string(),
            column: finding.column,
            what: finding.what,
            advice: finding.advice,
            statement: finding.statement,
            principals: finding.principals,
            times: finding.times,
        }
    }
}

impl From<ringfence_gateway::prove::Replay> for ReplayReport {
    fn from(replay: ringfence_gateway::prove::Replay) -> Self {
        let changed = replay.changed.into_iter().map(|it| ReplayedReport {
            principal: it.principal,
            statement: it.statement,
            before: it.before,
            after: it.after,
        });
        Self {
            statements: replay.statements,
            same: replay.same,
            not_run: replay.not_run,
            changed: changed.collect(),
            left_out: replay.left_out,
        }
    }
}

impl From<RowCounts> for RowsReport {
    fn from(rows: RowCounts) -> Self {
        let RowCounts { own, shared, crossing, foreign, unknown } = rows;
        Self { own, shared, crossing, foreign, unknown }
    }
}

impl From<Verdict> for VerdictName {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Hidden => Self::Hidden,
            Verdict::Inside => Self::Inside,
            Verdict::Crossing => Self::Crossing,
            Verdict::Broken => Self::Broken,
            Verdict::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published schema is the one of these types.
    #[test]
    fn the_published_schema_of_proofs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/prove.schema.json");
        let schema = schemars::schema_for!(ProofReport).to_value();
        let current = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(published == current, "docs/prove.schema.json is out of date: run with UPDATE=1");
    }
}
