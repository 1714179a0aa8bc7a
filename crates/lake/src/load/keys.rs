//! That no two rows share a key: asked of the lake itself, which has the memory and the disk for it.

use std::path::{Path, PathBuf};

use datafusion::common::Column;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::SessionContext;
use ringfence_engine::SourceError;

use super::write::Written;
use super::{data, of_datafusion, rows_file};
use crate::snapshot::of_parquet;

pub(crate) struct Keys {
    base: SessionState,
}

impl Keys {
    pub(crate) fn new(base: SessionState) -> Self {
        Self { base }
    }

    /// Refuses rows of which two have the same key, the new and the old ones taken together.
    pub(crate) async fn refuse_repeated(
        &self,
        written: &Written,
        part: &Path,
        old: Vec<PathBuf>,
        keys: &[String],
    ) -> Result<(), SourceError> {
        let mut files = old;
        files.push(rows_file(part));
        let asking = async {
            let table = of_parquet(&files, written.schema.clone())?;
            let context = SessionContext::new_with_state(self.base.clone());
            let column = |name: &String| Expr::Column(Column::new_unqualified(name.clone()));
            let repeated = context
                .read_table(table)?
                .aggregate(keys.iter().map(column).collect(), vec![count(lit(1)).alias("_rf_rows")])?
                .filter(column(&"_rf_rows".to_owned()).gt(lit(1)))?
                .limit(0, Some(1))?
                .collect()
                .await?;
            Ok(repeated.iter().any(|batch| batch.num_rows() > 0))
        };
        match asking.await {
            Ok(false) => Ok(()),
            Ok(true) => {
                let keys = keys.join(", ");
                Err(data(format!("nothing was loaded: rows share a key ({keys})")).into())
            }
            Err(error) => Err(of_datafusion(&error).into()),
        }
    }
}
