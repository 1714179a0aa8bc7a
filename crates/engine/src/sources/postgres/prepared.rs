//! A prepared statement and how its columns are read.

use std::cmp::Ordering;
use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column, Statement};

use super::form::Form;
use crate::{ResultColumn, SourceError};

pub(super) struct Prepared {
    pub(super) statement: Statement,
    pub(super) shape: Shape,
}

/// The columns of a result.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) columns: Arc<[ResultColumn]>,
    pub(super) forms: Arc<[Form]>,
    pub(super) looked_up_types: bool,
}

impl Shape {
    pub(super) fn of(columns: &[Column]) -> Self {
        let types = || columns.iter().map(Column::type_);
        let named = columns.iter().zip(types()).map(|(column, kind)| ResultColumn {
            name: column.name().to_owned(),
            type_name: kind.name().to_owned(),
        });
        Self {
            columns: named.collect(),
            forms: types().map(Form::of).collect(),
            looked_up_types: looked_up(types()),
        }
    }

    /// Whether a column's type is one that only PostgreSQL can put into words.
    pub(super) fn is_foreign(&self) -> bool {
        self.forms.iter().any(Form::is_foreign)
    }
}

/// Whether the driver had to ask the database for one of these types.
fn looked_up<'a>(mut types: impl Iterator<Item = &'a Type>) -> bool {
    types.any(|kind| Type::from_oid(kind.oid()).is_none())
}

impl Prepared {
    pub(super) async fn new(client: &Client, sql: &str) -> Result<Self, tokio_postgres::Error> {
        let statement = client.prepare(sql).await?;
        let mut shape = Shape::of(statement.columns());
        shape.looked_up_types |= looked_up(statement.params().iter());
        Ok(Self { statement, shape })
    }

    /// Each placeholder needs a value, and each value a placeholder.
    pub(super) fn match_parameters(&self, given: usize) -> Result<(), SourceError> {
        let wanted = self.statement.params().len();
        let message = match given.cmp(&wanted) {
            Ordering::Equal => return Ok(()),
            Ordering::Less => format!("there is no parameter ${}", given + 1),
            Ordering::Greater => format!("there are {given} values for {wanted} parameters"),
        };
        Err(SourceError::Statement { message, sqlstate: Some("42P02".to_owned()) })
    }
}
