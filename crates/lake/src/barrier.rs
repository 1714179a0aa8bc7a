//! The wall that a fence ends in: no predicate of the caller's gets behind it.
//!
//! DataFusion moves filters through derived tables towards the files, and then evaluates them together with the fence's own:
//! one that can fail would fail on a hidden row. The guard ends a fence in a LIMIT that cuts nothing off, and a LIMIT stops
//! filters; but sub-queries of EXISTS lose theirs, and it makes one stream of several. So the LIMIT becomes a node of our own,
//! before anything is optimized: it stays where it is, keeps streams apart, and lets columns be left out.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result, ScalarValue, Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, Limit, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

/// Puts the walls in.
#[derive(Debug)]
pub(crate) struct PutWalls;

impl AnalyzerRule for PutWalls {
    fn name(&self) -> &'static str {
        "put_walls"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let walled = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Limit(Limit { skip: None, fetch: Some(fetch), input }) if is_endless(&fetch) => {
                Ok(Transformed::yes(walled(Arc::unwrap_or_clone(input))))
            }
            // What a filter makes constant is null in the rows of totals, which DataFusion's sorts and windows overlook.
            plan if has_totals(&plan) => Ok(Transformed::yes(walled(plan))),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(walled.data)
    }
}

fn walled(input: LogicalPlan) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(Wall { input, above: Vec::new() }) })
}

fn has_totals(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(grouped) if matches!(grouped.group_expr.as_slice(), [Expr::GroupingSet(_)]))
}

/// Whether it is the LIMIT that the guard writes (`crates/guard/src/dialect/lake.rs`). A caller's of the same size cuts
/// nothing off either.
fn is_endless(fetch: &Expr) -> bool {
    matches!(fetch, Expr::Literal(ScalarValue::Int64(Some(i64::MAX)), _))
}

/// The wall in a plan that is not yet one of streams.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Wall {
    input: LogicalPlan,
    /// Conditions without columns: the optimizer would move them through any node of ours, so they are taken back above it.
    above: Vec<Expr>,
}

impl PartialOrd for Wall {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Wall {
    fn name(&self) -> &'static str {
        "Wall"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.above.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(mut input) = inputs.pop() else { return internal_err!("a wall without a plan") };
        let mut above = exprs;
        loop {
            match input {
                LogicalPlan::Filter(filter) if filter.predicate.column_refs().is_empty() => {
                    above.push(filter.predicate);
                    input = Arc::unwrap_or_clone(filter.input);
                }
                other => return Ok(Self { input: other, above }),
            }
        }
    }

    /// What is not asked for need not be read.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// Plans queries, walls among them.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait::async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn datafusion::catalog::Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WallPlanner)]);
        planner.create_physical_plan(logical_plan, session).await
    }
}

struct WallPlanner;

#[async_trait::async_trait]
impl ExtensionPlanner for WallPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn datafusion::catalog::Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(wall) = node.as_any().downcast_ref::<Wall>() else { return Ok(None) };
        let ([logical], [input]) = (logical_inputs, physical_inputs) else {
            return internal_err!("a wall without a plan");
        };
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(WallExec::new(Arc::clone(input)));
        for condition in &wall.above {
            let condition = planner.create_physical_expr(condition, logical.schema(), session, planning)?;
            plan = Arc::new(FilterExec::try_new(condition, plan)?);
        }
        Ok(Some(plan))
    }
}

/// The wall as the streams meet it. Whatever it does not say about pushing filters, sorts and limits is "no".
#[derive(Debug, Clone)]
pub(crate) struct WallExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl WallExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        // Which columns are constant or in order is not said of what comes through.
        let known = EquivalenceProperties::new(input.schema());
        let properties = PlanProperties::clone(input.properties()).with_eq_properties(known);
        Self { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for WallExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

impl ExecutionPlan for WallExec {
    fn name(&self) -> &'static str {
        "Wall"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return internal_err!("a wall without a plan") };
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(
        &self,
        partition: Option<usize>,
    ) -> Vec<datafusion::physical_plan::statistics::ChildStats> {
        vec![datafusion::physical_plan::statistics::ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _arguments: &datafusion::physical_plan::statistics::StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let [input] = inputs else { return internal_err!("a wall without a plan") };
        Ok(Arc::clone(input))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
