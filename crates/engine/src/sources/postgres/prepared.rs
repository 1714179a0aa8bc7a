//! A prepared statement and how its columns are read.

use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::form::Form;
use crate::{ResultColumn, SourceError};

pub(super) struct Prepared {
    pub(super) statement: Statement,
    pub(super) columns: Arc<[ResultColumn]>,
    pub(super) forms: Arc<[Form]>,
    pub(super) looked_up_types: bool,
}

impl Prepared {
    pub(super) async fn new(client: &Client, sql: &str) -> Result<Self, tokio_postgres::Error> {
        let statement = client.prepare(sql).await?;
        let columns = statement.columns().iter().map(|column| ResultColumn {
            name: column.name().to_owned(),
            type_name: column.type_().name().to_owned(),
        });
        let types = || statement.columns().iter().map(tokio_postgres::Column::type_);
        Ok(Self {
            columns: columns.collect(),
            forms: types().map(Form::of).collect(),
            looked_up_types: types()
                .chain(statement.params())
                .any(|kind| Type::from_oid(kind.oid()).is_none()),
            statement,
        })
    }

    /// Whether a column's type is one that only PostgreSQL can put into words.
    pub(super) fn is_foreign(&self) -> bool {
        self.forms.iter().any(Form::is_foreign)
    }

    pub(super) fn refuse_parameters(&self) -> Result<(), SourceError> {
        if self.statement.params().is_empty() {
            return Ok(());
        }
        Err(SourceError::Statement {
            message: "there is no parameter $1".to_owned(),
            sqlstate: Some("42P02".to_owned()),
        })
    }
}
