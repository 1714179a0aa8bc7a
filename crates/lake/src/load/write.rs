//! One Parquet file, written in bounded memory.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::{Failed, rows_file};
use crate::columns::sql_type;
use crate::tables::KeptColumn;

/// Rows that are written as one group, at the most: groups are what queries skip, and read at the same time.
const GROUP_ROWS: usize = 256 * 1024;
/// A group that has grown to so many bytes is written earlier.
const GROUP_BYTES: usize = 64 * 1024 * 1024;

/// What a part holds.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) schema: SchemaRef,
    pub(crate) columns: Vec<KeptColumn>,
    pub(crate) rows: u64,
}

pub(super) struct Writer {
    schema: SchemaRef,
    file: ArrowWriter<File>,
    rows: u64,
}

impl Writer {
    pub(super) fn create(part: &Path, schema: SchemaRef) -> Result<Self, Failed> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Page)
            .build();
        let file = File::options().write(true).create_new(true).open(rows_file(part))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties));
        Ok(Self { schema, file: writer.map_err(failed)?, rows: 0 })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failed> {
        self.file.write(batch).map_err(failed)?;
        self.rows += batch.num_rows() as u64;
        if self.file.in_progress_size() >= GROUP_BYTES {
            self.file.flush().map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Written, Failed> {
        self.file.close().map_err(failed)?;
        let kept = |field: &Arc<datafusion::arrow::datatypes::Field>| KeptColumn {
            name: field.name().clone(),
            data_type: sql_type(field.data_type()),
        };
        let columns = self.schema.fields().iter().map(kept).collect();
        Ok(Written { schema: self.schema, columns, rows: self.rows })
    }
}

fn failed(error: ParquetError) -> Failed {
    Failed::Io(std::io::Error::other(error))
}
