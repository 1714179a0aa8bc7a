//! What every query of the lakes runs with: memory, threads, functions, and what DataFusion is told to leave alone.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::config::Dialect;
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;

use crate::barrier::{Planner, PutWalls};
use crate::constants::ForgetConstants;
use crate::yielding::Yielding;

/// The catalog's name, which no statement needs to say.
pub(crate) const CATALOG: &str = "lake";
/// The one schema.
pub(crate) const SCHEMA: &str = "public";

/// What the lakes of a process may use.
#[derive(Debug, Clone)]
pub struct LakeSettings {
    /// Directories that lakes may be in; links are resolved before the check. `{org}` in one stands for the organization
    /// that asks; one without is open to all of them.
    pub directories: Vec<PathBuf>,
    /// Memory of all queries together, in bytes, as far as they keep rows: to sort, group or join them.
    pub memory_bytes: usize,
    /// Where rows go that do not fit; the system's directory for such files without one.
    pub spill_directory: Option<PathBuf>,
    /// Room there, in bytes; without any, a query that needs more memory fails.
    pub spill_bytes: u64,
    /// Threads that all queries share.
    pub threads: usize,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            memory_bytes: 1024 * 1024 * 1024,
            spill_directory: None,
            spill_bytes: 16 * 1024 * 1024 * 1024,
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        }
    }
}

/// The state that each query copies, and gives tables to.
pub(crate) fn base(settings: &LakeSettings) -> Result<SessionState> {
    let mode = match (&settings.spill_directory, settings.spill_bytes) {
        (_, 0) => DiskManagerMode::Disabled,
        (Some(directory), _) => DiskManagerMode::Directories(vec![directory.clone()]),
        (None, _) => DiskManagerMode::OsTmpDirectory,
    };
    let disk =
        DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(settings.spill_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(settings.memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(settings.threads.max(1));
    let options = config.options_mut();
    // The guard prints, and callers write, what the dialect of PostgreSQL reads.
    options.sql_parser.dialect = Dialect::PostgreSQL;
    // 0.1 is a tenth.
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.collect_statistics = true;
    // What each sort keeps back to merge what it wrote to the disk: not all that there is.
    let merging = settings.memory_bytes / settings.threads.max(1) / 8;
    options.execution.sort_spill_reservation_bytes =
        options.execution.sort_spill_reservation_bytes.min(merging);
    options.execution.time_zone = Some("UTC".to_owned());
    let mut state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        // INVARIANT: nothing in a statement names a file: there are no table functions, no URLs as tables, and no way to make
        // a table. Held by `statements_only_read`.
        .with_table_functions(HashMap::new())
        .with_table_factories(HashMap::new())
        .with_analyzer_rule(Arc::new(PutWalls))
        .with_query_planner(Arc::new(Planner))
        .with_physical_optimizer_rules(optimizer_rules())
        .build();
    // One call of these fills the memory of the process, and can't be stopped.
    for function in ["repeat", "lpad", "rpad"] {
        state.deregister_udf(function)?;
    }
    Ok(state)
}

fn optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(ForgetConstants)];
    rules.extend(PhysicalOptimizer::new().rules);
    rules.push(Arc::new(Yielding));
    rules
}
