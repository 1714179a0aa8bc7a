//! Keeps what a caller sends, until it is whole: a file without a name, which goes when the process does.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use ringfence_engine::SourceError;
use tokio::io::AsyncWriteExt as _;

use crate::failure;

pub(super) async fn spool(
    part: &Path,
    mut body: BoxStream<'static, Result<Bytes, SourceError>>,
    max_bytes: u64,
) -> Result<File, SourceError> {
    let io = |error: std::io::Error| failure::of_io(&error);
    // Beside the part: on the disk that it is for, and where it never counts as one.
    let directory = part.parent().unwrap_or(part).to_owned();
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(directory).map_err(io)?);
    let mut bytes = 0_u64;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        bytes = bytes.saturating_add(piece.len() as u64);
        if bytes > max_bytes {
            return Err(SourceError::Data(format!(
                "the rows are larger than {max_bytes} bytes: load them in parts, with append"
            )));
        }
        file.write_all(&piece).await.map_err(io)?;
    }
    file.flush().await.map_err(io)?;
    let mut file = file.into_std().await;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok(file)
}
