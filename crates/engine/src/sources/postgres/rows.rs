//! The rows of a statement under way, and how much of them is taken at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tokio_postgres::SimpleQueryMessage;

use super::form::Form;
use super::{binary, text};
use crate::fenced::Checked;
use crate::result::Row;
use crate::value::Value;

const BATCH_ROWS: u64 = 256;
const BATCH_BYTES: u64 = 256 * 1024;

/// Rows as the database sends them.
pub(super) enum Rows {
    /// A row that was read early, and those after it.
    Binary(Option<tokio_postgres::Row>, Pin<Box<tokio_postgres::RowStream>>),
    Text(Option<SimpleQueryMessage>, Pin<Box<tokio_postgres::SimpleQueryStream>>, Option<u64>),
    /// None came, and none will.
    Empty,
}

/// Why a piece of the result could not be had.
pub(super) enum Broken {
    Database(tokio_postgres::Error),
    Malformed,
    TooLarge,
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    counted: u64,
    bytes: u64,
}

pub(super) struct Budget<'a> {
    pub(super) wanted: &'a mut u64,
    pub(super) omitted: &'a mut u64,
    pub(super) bytes_left: &'a mut u64,
    pub(super) names: u64,
    /// Of a statement that is undone when a row fails its check.
    pub(super) checked: Option<&'a mut Checked>,
}

/// Takes the rows that are there: waits for the first only. Resolves to whether the result has ended.
pub(super) fn poll_batch(
    rows: &mut Rows,
    forms: &[Form],
    batch: &mut Batch,
    budget: Budget<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, Broken>> {
    let Budget { wanted, omitted, bytes_left, names, mut checked } = budget;
    while batch.counted < BATCH_ROWS && batch.bytes < BATCH_BYTES {
        let decode = *wanted > 0 || checked.as_ref().is_some_and(|checked| checked.looks());
        let piece = match rows.poll_piece(cx, forms, decode) {
            Poll::Pending if batch.counted > 0 => return Poll::Ready(Ok(false)),
            other => ready!(other)?,
        };
        let Some((mut row, size)) = piece else {
            return Poll::Ready(Ok(true));
        };
        batch.counted += 1;
        batch.bytes += size;
        if let Some(checked) = checked.as_deref_mut() {
            checked.count();
            row.as_mut().into_iter().for_each(|row| checked.check(row));
        }
        let Some(row) = row.filter(|_| *wanted > 0) else {
            *omitted += 1;
            continue;
        };
        *wanted -= 1;
        *bytes_left = bytes_left.checked_sub(size.saturating_add(names)).ok_or(Broken::TooLarge)?;
        batch.rows.push(row);
    }
    Poll::Ready(Ok(false))
}

/// A row, decoded when it is wanted, and its size.
type Piece = Option<(Option<Row>, u64)>;

impl Rows {
    /// Rows changed, when all was read.
    pub(super) fn affected(&self) -> Option<u64> {
        match self {
            Self::Binary(_, rows) => rows.rows_affected(),
            Self::Text(_, _, affected) => *affected,
            Self::Empty => None,
        }
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        forms: &[Form],
        decode: bool,
    ) -> Poll<Result<Piece, Broken>> {
        match self {
            Self::Empty => Poll::Ready(Ok(None)),
            Self::Binary(early, rows) => {
                let row = match early.take() {
                    Some(row) => row,
                    None => match ready!(rows.as_mut().poll_next(cx)) {
                        Some(row) => row.map_err(Broken::Database)?,
                        None => return Poll::Ready(Ok(None)),
                    },
                };
                let size = held(row.raw_size_bytes(), forms);
                let decoded =
                    if decode { Some(decode_binary(&row, forms).ok_or(Broken::Malformed)?) } else { None };
                Poll::Ready(Ok(Some((decoded, size))))
            }
            Self::Text(early, rows, affected) => loop {
                let message = match early.take() {
                    Some(message) => message,
                    None => match ready!(rows.as_mut().poll_next(cx)) {
                        Some(message) => message.map_err(Broken::Database)?,
                        None => return Poll::Ready(Ok(None)),
                    },
                };
                match message {
                    SimpleQueryMessage::Row(row) => {
                        let size = held(
                            (0..row.len()).filter_map(|index| row.get(index)).map(str::len).sum(),
                            forms,
                        );
                        let decoded = decode.then(|| {
                            let cells = (0..row.len()).map(|index| (row.get(index), forms.get(index)));
                            cells
                                .map(|(text, form)| {
                                    text.map_or(Value::Null, |text| {
                                        text::value(form.unwrap_or(&Form::Foreign), text)
                                    })
                                })
                                .collect()
                        });
                        return Poll::Ready(Ok(Some((decoded, size))));
                    }
                    SimpleQueryMessage::CommandComplete(count) => *affected = Some(count),
                    _ => {}
                }
            },
        }
    }
}

/// Roughly what a row takes in memory.
fn held(raw: usize, forms: &[Form]) -> u64 {
    (raw + size_of::<Row>() + forms.len() * size_of::<Value>()) as u64
}

fn decode_binary(row: &tokio_postgres::Row, forms: &[Form]) -> Option<Row> {
    let mut values = Vec::with_capacity(forms.len());
    for (index, form) in forms.iter().enumerate() {
        values.push(match row.try_get::<_, Option<binary::Bytes<'_>>>(index).ok()? {
            None => Value::Null,
            Some(binary::Bytes(bytes)) => binary::value(form, bytes)?,
        });
    }
    Some(values)
}
