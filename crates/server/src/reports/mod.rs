//! Answers that are the same over HTTP and on the command line, in the shape that programs read.

mod effect;
mod findings;
mod proof;
mod proof_html;
mod tests_run;

pub(crate) use effect::{EffectReport, Mark};
pub(crate) use findings::{DocumentProblem, Finding, SuspendedRelation};
pub(crate) use proof::ProofReport;
pub(crate) use tests_run::TestsReport;
