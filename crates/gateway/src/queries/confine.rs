//! Connections whose queries stay within the content filters.
//!
//! The guard does not fence columns yet, so this fails closed: only plain reads run, and only when everything that
//! they name, and everything that the database would read for them, is shown completely. What is hidden and what does
//! not exist get the same answer.

use ringfence_engine::{Explained, SourceError};
use ringfence_guard::{NamedRelation, StatementKind};
use ringfence_policy::ConnectionKind;

use super::admit::Admitted;
use crate::catalog::Shown;
use crate::{Call, Code, Gateway, Refused};

/// PostgreSQL's code for a text that does not parse: it is found before any name is looked up.
const SYNTAX_ERROR: &str = "42601";

pub(super) async fn confine(gateway: &Gateway, call: &Call, admitted: &Admitted) -> Result<(), Refused> {
    let Admitted { connection, address, options, .. } = admitted;
    let query = admitted.query();
    if connection.spec.db_access_policy.allow_access_beyond_db_content_filter {
        return Ok(());
    }
    if query.kind() != StatementKind::Read || query.may_change_session() {
        return Err(Refused::new(
            Code::NotPermitted,
            "this connection is confined to its content filters: it runs plain SELECT statements with common built-in \
             functions only",
        ));
    }
    // Read afresh: a copy does not say whether the credentials are proven by now.
    let proven = gateway.connection_of(call, connection.key.as_str()).await?;
    let Some(shown) = gateway.shown_to(call, &proven).await? else {
        return Err(Refused::new(
            Code::NotPermitted,
            "this connection is confined to its content filters and not indexed yet: wait until its status is completed",
        ));
    };
    // INVARIANT: names are judged before the database is asked about them, so that its answer can't tell a hidden
    // relation from a missing one. Held by the test `hidden_and_missing_are_refused_alike`.
    let named = query.named_relations();
    let exact = connection.spec.kind() != Ok(ConnectionKind::Sqlite);
    let default = options.current_schema.as_deref();
    if !named.complete || !named.relations.iter().all(|relation| is_open(&shown, relation, default, exact)) {
        return Err(beyond());
    }
    match gateway.shared.engine.explain(address, query, options).await {
        Ok(Explained::Plan(read))
            if read.iter().all(|(schema, relation)| shown.is_whole(schema, relation)) =>
        {
            Ok(())
        }
        // Without a plan nobody knows what it reads.
        Ok(Explained::Plan(_) | Explained::NoPlan) => Err(beyond()),
        Err(error @ SourceError::Statement { .. }) => Err(told(error)),
        Err(other) => Err(other.into()),
    }
}

/// What a database's message may say here: nothing that comes from looking up a name.
fn told(error: SourceError) -> Refused {
    match &error {
        SourceError::Statement { sqlstate: Some(code), .. } if code == SYNTAX_ERROR => error.into(),
        _ => beyond(),
    }
}

fn beyond() -> Refused {
    Refused::new(
        Code::NotPermitted,
        "the query names something outside of this connection's content filters: use tables that the catalog shows \
         with all their columns",
    )
}

fn is_open(shown: &Shown, relation: &NamedRelation, default_schema: Option<&str>, exact: bool) -> bool {
    let same = |stored: &str, named: &str| stored == named || !exact && stored.eq_ignore_ascii_case(named);
    let in_schema = |stored: &str| match (&relation.schema, default_schema) {
        (Some(named), _) => same(stored, named),
        (None, Some(default)) => stored.eq_ignore_ascii_case(default),
        (None, None) => true,
    };
    let mut candidates =
        shown.catalog.schemas.iter().filter(|schema| in_schema(&schema.name)).flat_map(|schema| {
            let found = schema.relations.iter().filter(|candidate| same(&candidate.name, &relation.name));
            found.map(|found| shown.is_whole(&schema.name, &found.name))
        });
    let Some(first) = candidates.next() else {
        return false;
    };
    // Which schema an unqualified name means, the database decides: no schema may hide one of that name.
    let unambiguous = relation.schema.is_some() || !shown.hides_relation_named(&relation.name);
    first && candidates.all(|whole| whole) && unambiguous
}
