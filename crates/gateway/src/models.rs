//! Models: structured reads and writes for applications and agents.
//!
//! A request becomes a statement in `semantic`, and the statement goes the road of every guarded statement: there is no
//! second place where access is decided. Reading order: [`crate::road`] is what a request walks on, [`describe`], [`read`] and
//! [`change`] what it asks for (changes are made ready in [`prepare`]), [`rows`] its answer, [`cursor`] how a page goes on.

mod approval;
mod bounds;
mod change;
mod cursor;
mod describe;
pub(crate) mod inputs;
mod prepare;
mod read;
mod repeats;
pub(crate) mod rows;

pub use approval::ModelOperations;
pub use change::{Change, Changed, OperationResult};
pub use read::{AggregateAnswer, Page};
pub use ringfence_semantic::description::{FieldDescription, ModelDescription};
pub use ringfence_semantic::request::{Aggregate, Include, Operation, Query};
pub use ringfence_semantic::value::FieldType;
pub use rows::{Cell, Row};

use ringfence_policy::Denial;
use ringfence_semantic::Refusal;

use crate::{Code, Refused};

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::ModelNotAllowed { .. } | Refusal::Denied(Denial::Invisible(_)) => Code::ModelNotAllowed,
            Refusal::CubeNotAllowed { .. } => Code::CubeNotAllowed,
            Refusal::FieldNotAllowed { .. } | Refusal::CubePart { .. } => Code::FieldNotAllowed,
            Refusal::RelationNotAllowed { .. } => Code::RelationNotAllowed,
            Refusal::Denied(Denial::ScopeRequired { .. }) => Code::TenantScopeRequired,
            Refusal::Denied(Denial::Suspended) => Code::RelationSuspended,
            Refusal::Invalid(_) => Code::InvalidRequest,
            Refusal::BudgetExceeded(_) => Code::BudgetExceeded,
            Refusal::WriteDisabled { .. } | Refusal::VersionNotWritable(..) => Code::WriteDisabled,
            Refusal::TooManyRows { .. } => Code::TooManyRows,
            Refusal::ImmutableField { .. } => Code::ImmutableField,
            Refusal::FieldNotWritable { .. } => Code::ColumnNotWritable,
            Refusal::RequiredField { .. } => Code::RequiredField,
        };
        Self::new(code, refusal.to_string())
    }
}
