//! Compiling: the database plans the statement, nothing is executed.

use ringfence_engine::{Explained, SourceError};
use ringfence_policy::RunMode;

use super::{Admitted, Compiled, QueryRequest};
use crate::{Call, Gateway, Refused};

pub(super) async fn compile(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    statement: &str,
) -> Result<Compiled, Refused> {
    let permit = gateway.enter(call).await?;
    let request = QueryRequest { statement: statement.to_owned(), ..QueryRequest::default() };
    let admitted = match gateway.admit_to(RunMode::Explain, call, key, &request).await {
        Err(refused) if refused.code.is_of_guard() => {
            // A pushed catalog has nothing to compile on; for the rest the refusal is what compiling finds.
            return if is_pushed(gateway, call, key).await? { Err(refused) } else { Ok(not_fine(&refused)) };
        }
        admitted => admitted?,
    };
    let Admitted { address, options, .. } = &admitted;
    let explained = tokio::select! {
        explained = gateway.shared.engine.explain(address, admitted.query(), options) => explained,
        () = permit.cancel.cancelled() => Err(SourceError::Cancelled),
    };
    match explained {
        Ok(Explained::NoPlan) => {
            Ok(Compiled { error: None, checked: false, tables: Vec::new(), guarded: admitted.shown_text() })
        }
        Ok(Explained::Plan(mut tables)) => {
            let proven = gateway.connection_of(call, admitted.connection.key.as_str()).await?;
            let shown = gateway.shown_to(call, &proven).await?;
            tables.retain(|(schema, relation)| {
                shown.as_ref().is_some_and(|shown| shown.catalog.relation(schema, relation).is_some())
            });
            Ok(Compiled { error: None, checked: true, tables, guarded: admitted.shown_text() })
        }
        Err(
            error @ (SourceError::Statement { .. }
            | SourceError::TimedOut { .. }
            | SourceError::TooLarge { .. }),
        ) => Ok(not_fine(&admitted.told(error))),
        Err(other) => Err(other.into()),
    }
}

async fn is_pushed(gateway: &Gateway, call: &Call, key: &str) -> Result<bool, Refused> {
    let connection = gateway.connection_of(call, key).await?;
    Ok(connection.spec.push)
}

fn not_fine(refused: &Refused) -> Compiled {
    Compiled {
        error: Some(refused.message.clone().into_owned()),
        checked: true,
        tables: Vec::new(),
        guarded: None,
    }
}
