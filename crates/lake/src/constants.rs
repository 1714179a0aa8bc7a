//! Filters that say of an expression what it is.
//!
//! DataFusion leaves such an expression out of a sort behind the filter, later forgets that it is constant, and then refuses its
//! own plan. So nothing is said of it behind the filter; of columns it keeps what it knows.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use crate::barrier::WallExec;

/// Has such filters end in a wall.
#[derive(Debug)]
pub(crate) struct ForgetConstants;

impl PhysicalOptimizerRule for ForgetConstants {
    fn name(&self) -> &'static str {
        "forget_constants"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let forgetting = plan.transform_up(|node| {
            if fixes_an_expression(&node) {
                let wall: Arc<dyn ExecutionPlan> = Arc::new(WallExec::new(node));
                return Ok(Transformed::yes(wall));
            }
            Ok(Transformed::no(node))
        })?;
        Ok(forgetting.data)
    }
}

fn fixes_an_expression(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.downcast_ref::<FilterExec>().is_some_and(|filter| {
        let known = filter.properties().equivalence_properties().constants();
        known.iter().any(|constant| constant.expr.downcast_ref::<Column>().is_none())
    })
}
