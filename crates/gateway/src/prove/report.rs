//! What a proof found, as programs and reports read it.

use ringfence_policy::RelationName;

/// What holds of every policy, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Nobody sees a row of another tenant, or what follows from one.
    NoCrossTenantData,
    /// What is meant to be hidden is in no answer.
    NoDeniedFields,
    /// What is meant to be masked is in no answer as it is stored.
    MaskedFieldsMasked,
    /// No answer is larger than the budget that is meant.
    ResponseWithinBudget,
    /// No change touches, makes or moves a row of another tenant.
    WritesStayInside,
    /// A hidden relation, column or row is answered like one that is not there.
    HiddenEqualsMissing,
}

impl Invariant {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 6] = [
        Self::NoCrossTenantData,
        Self::NoDeniedFields,
        Self::MaskedFieldsMasked,
        Self::ResponseWithinBudget,
        Self::WritesStayInside,
        Self::HiddenEqualsMissing,
    ];

    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCrossTenantData => "no_cross_tenant_data",
            Self::NoDeniedFields => "no_denied_fields",
            Self::MaskedFieldsMasked => "masked_fields_masked",
            Self::ResponseWithinBudget => "response_within_budget",
            Self::WritesStayInside => "writes_stay_inside",
            Self::HiddenEqualsMissing => "hidden_equals_missing",
        }
    }
}

/// What came of a proof.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Proof {
    pub connection: String,
    /// The version that was proven; `None` for a document that is not in force.
    pub policy_version: Option<i64>,
    pub seed: u64,
    /// Whether an intent said who may cross: then nothing else may.
    pub has_intent: bool,
    /// What a principal's tenant is called in the rows, such as `principal.tenant_id`.
    pub tenant_value: String,
    pub principals: Vec<ProvenPrincipal>,
    /// Principals that were not looked through, because there are too many.
    pub principals_left_out: usize,
    /// By name.
    pub relations: Vec<ProvenRelation>,
    pub cells: Vec<Cell>,
    pub checks: Vec<InvariantChecks>,
    pub findings: Vec<Finding>,
    pub crossings: Vec<Crossing>,
    /// What the proof could not look at, and why.
    pub notes: Vec<String>,
    pub replay: Option<Replay>,
}

impl Proof {
    /// Whether no invariant was seen broken.
    pub fn is_proven(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Somebody as whom statements were run.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ProvenPrincipal {
    pub name: String,
    pub tenant: String,
    pub roles: Vec<String>,
    /// Why nothing can be asked as this principal, when nothing can.
    pub refused: Option<String>,
}

/// A relation, and how its rows say whose they are.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ProvenRelation {
    pub relation: RelationName,
    /// `tenant_id`, `through public.orders`, `shared`, or `nobody's`.
    pub owner: String,
    /// Rows that were looked at.
    pub rows: usize,
    /// Whether there are more.
    pub partly: bool,
}

/// What one principal saw of one relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does not exist for the principal.
    Hidden,
    /// Nothing but what is meant.
    Inside,
    /// Rows of others too, as a rule of the policy or the intent says.
    Crossing,
    /// An invariant is broken.
    Broken,
    /// It could not be looked at.
    Unknown,
}

/// A principal and a relation.
#[derive(Debug, Clone)]
pub struct Cell {
    /// An index of [`Proof::principals`].
    pub principal: usize,
    /// An index of [`Proof::relations`].
    pub relation: usize,
    /// What came of it.
    pub verdict: Verdict,
    /// Statements that asked for the relation.
    pub statements: usize,
    /// Rows by whose they are.
    pub rows: RowCounts,
    /// Invariants that are broken.
    pub broken: Vec<Invariant>,
}

/// Rows of a whole read, by whose they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RowCounts {
    pub own: u64,
    /// Meant for everybody, or nobody's.
    pub shared: u64,
    /// Of others, as declared.
    pub crossing: u64,
    /// Of others, although nothing says so.
    pub foreign: u64,
    /// That could not be told: the row changed meanwhile, or was not looked at.
    pub unknown: u64,
}

/// How often an invariant was held against an answer.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "plain fields")]
pub struct InvariantChecks {
    pub invariant: Invariant,
    pub checked: u64,
    pub broken: u64,
}

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which one.
    pub invariant: Invariant,
    /// On which relation.
    pub relation: RelationName,
    /// The column, when it is about one.
    pub column: Option<String>,
    /// What was seen, without values that are hidden.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// A statement that shows it, with what is hidden redacted.
    pub statement: String,
    /// As whom: indexes of [`Proof::principals`].
    pub principals: Vec<usize>,
    /// Answers that showed it.
    pub times: u64,
}

/// Rows of others that somebody sees because a rule says so.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Crossing {
    pub relation: RelationName,
    /// The rule, in the document's words.
    pub rule: String,
    /// Indexes of [`Proof::principals`].
    pub principals: Vec<usize>,
    /// The most rows of others that one of them sees.
    pub rows: u64,
}

/// Statements of the past, under the policy in force and under another.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Replay {
    pub statements: usize,
    /// That change data, which are judged by the guard and not run.
    pub not_run: usize,
    pub same: usize,
    pub changed: Vec<Replayed>,
    /// Changed statements that are not told, because there are too many.
    pub left_out: usize,
}

/// A statement that is answered otherwise.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Replayed {
    pub principal: usize,
    /// Without literals.
    pub statement: String,
    pub before: String,
    pub after: String,
}
