//! What a request on a model may ask for.

use ringfence_semantic::query::Bounds;
use ringfence_semantic::{ModelView, Models};

use crate::road::Road;
use crate::{Code, Refused};

/// Rows of a page when neither the request nor a budget says.
const DEFAULT_TAKE: u64 = 100;
/// How deep includes go where no budget says.
const DEEPEST: u32 = 8;

impl Road<'_> {
    /// The models that the caller sees.
    pub(super) fn models(&self) -> Models<'_> {
        Models::of(&self.snapshot.policy.policy, &self.seat.shape.view)
    }

    /// What holds for a request on the model.
    pub(super) fn bounds(&self, model: ModelView<'_>) -> Bounds {
        let policy = &self.snapshot.policy.policy;
        let config = &self.gateway.shared.config;
        let limits = policy.limits(std::slice::from_ref(&model.model.relation), self.call.principal());
        let max_take = limits.max_rows().map_or(config.max_rows, |limit| limit.value.min(config.max_rows));
        let depth = limits.max_include_depth().map(|limit| limit.value);
        Bounds {
            default_take: DEFAULT_TAKE.min(max_take),
            max_take,
            max_depth: depth.map_or(DEEPEST, |depth| depth.min(DEEPEST)),
            max_fields: limits.max_fields().map(|limit| limit.value),
        }
    }

    /// Refuses a request that asks for more at once than a budget allows.
    pub(super) fn within_complexity(&self, model: ModelView<'_>, score: u64) -> Result<(), Refused> {
        let policy = &self.snapshot.policy.policy;
        let limits = policy.limits(std::slice::from_ref(&model.model.relation), self.call.principal());
        let Some(limit) = limits.max_complexity().filter(|limit| score > u64::from(limit.value)) else {
            return Ok(());
        };
        Err(Refused::new(
            Code::BudgetExceeded,
            format!(
                "the request's score is {score}, and {} are allowed (max_complexity): ask for fewer fields, conditions or relations",
                limit.value
            ),
        ))
    }
}
