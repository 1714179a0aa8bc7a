//! What came of expectations.

use ringfence_gateway::policies::{TestOutcome, TestReport};
use serde::Serialize;
use utoipa::ToSchema;

/// What came of all tests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "version": 3, "passed": 1, "failed": 1,
    "tests": [
        {"name": "ann sees her orders", "line": 2, "as": "ann", "passed": true, "failures": []},
        {"name": "nobody sees cards", "line": 6, "as": "ann", "passed": false, "failures": ["the column `card` of public.orders is shown in clear"]},
    ],
}))]
pub(crate) struct TestsReport {
    /// The version that they were tried on; null for a document that came with them.
    version: Option<i64>,
    passed: usize,
    failed: usize,
    /// In the order of the file.
    tests: Vec<Outcome>,
}

/// What came of one test.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestOutcome)]
struct Outcome {
    name: String,
    /// Where it stands in the file, counted from 1.
    line: usize,
    /// Who asked.
    #[serde(rename = "as")]
    who: String,
    passed: bool,
    /// What was not as expected.
    failures: Vec<String>,
}

impl From<TestReport> for TestsReport {
    fn from(TestReport { version, outcomes }: TestReport) -> Self {
        let outcome = |TestOutcome { name, line, who, failures }| Outcome {
            passed: failures.is_empty(),
            name,
            line,
            who,
            failures,
        };
        let tests: Vec<Outcome> = outcomes.into_iter().map(outcome).collect();
        let passed = tests.iter().filter(|test| test.passed).count();
        Self { version, passed, failed: tests.len().saturating_sub(passed), tests }
    }
}

impl TestsReport {
    /// Whether everything was as expected.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// How many were, and how many were not.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }

    /// Name, line, who asked, and what was not as expected.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (&str, usize, &str, &[String])> {
        self.tests
            .iter()
            .map(|test| (test.name.as_str(), test.line, test.who.as_str(), test.failures.as_slice()))
    }
}
