//! The part of the road that a guarded connection adds: the statement goes behind the fences of the caller's view.

use std::borrow::Cow;
use std::sync::Arc;

use ringfence_engine::{RunOptions, SourceError};
use ringfence_guard::{GuardedPlan, GuardedQuery, Refusal};
use ringfence_policy::{ConnectionKind, RelationName, RunMode};
use ringfence_store::connections::Connection;

use super::QueryRequest;
use super::budgets::Spending;
use crate::guarded::{Lens, Planned, Seat, Snapshot, Through, WrittenAttributes, shown};
use crate::lifted::Found;
use crate::{Call, Code, Gateway, Refused};

/// What a statement became behind the fences of the caller's view, and what it takes along while it runs.
pub(super) struct Guarded {
    pub(super) query: GuardedQuery,
    /// Whether literals were lifted out of it.
    is_lifted: bool,
    pub(super) through: Through,
    pub(super) spending: Spending,
    /// Forgets the attributes that are read from what the statement changes.
    _written: Option<WrittenAttributes>,
    /// Whether the caller may see what became of it.
    pub(super) may_show: bool,
}

impl Guarded {
    /// The statement with its literals in it, where they are not.
    pub(super) fn as_written(
        &self,
        request: &QueryRequest,
        kind: ConnectionKind,
    ) -> Option<Result<GuardedQuery, Refusal>> {
        let seat = self.is_lifted.then_some(&self.through.seat)?;
        let plan = ringfence_guard::guard(&request.statement, kind, &seat.shape.view);
        Some(plan.and_then(|plan| plan.bind(&seat.principal, &request.parameters)))
    }
}

/// Guards and binds one statement, and narrows its limits to the policy's budgets.
pub(super) async fn guard(
    gateway: &Gateway,
    call: &Call,
    connection: &Connection,
    lens: Lens,
    (mode, request): (RunMode, &QueryRequest),
    options: &mut RunOptions,
) -> Result<Guarded, Refused> {
    let kind = lens.policy.policy.kind;
    let is_confined = lens.is_confined();
    // Names are looked up by the guard: the database hears no schema.
    let schema = options.current_schema.take();
    let (snapshot, seat) = gateway.seat(call, connection, lens, schema.as_deref()).await?;
    // The tenant's own, where each has a schema.
    let policy = snapshot.policy.clone();
    let found = if mode == RunMode::Execute {
        plan(gateway, call, connection, (&snapshot, &seat), &request.statement).await?
    } else {
        // What the database says of it is about the statement as it was written.
        plan(gateway, call, connection, (&snapshot, &seat), &request.statement).await?;
        let plan = ringfence_guard::guard(&request.statement, kind, &seat.shape.view)?;
        Found { plan: Arc::new(Planned::of(plan, &seat.shape.view)), values: Vec::new(), cached: false }
    };
    let query = found.bind(&seat.principal, &parameters(&found.plan.plan, mode, request))?;
    let Planned { plan, fingerprint, tables, masked } = &*found.plan;
    call.log().set_statement(fingerprint, tables);
    let bypasses = plan.bypasses().iter().map(|(relation, policy)| format!("{}: {policy}", shown(relation)));
    call.log().set_bypasses(bypasses);
    call.log().set_enforced(seat.applied(&snapshot, plan.named()), masked.clone());
    if query.fence().is_none_or(|fence| fence.writes) {
        check_write(connection, plan, &seat, mode, request)?;
    }
    let mut spending = Spending::default();
    spending.spend(gateway, call, &policy, plan, mode, options)?;
    let changed = if mode == RunMode::Execute { plan.changed() } else { &[] };
    let written = WrittenAttributes::of(gateway, &policy.policy, &policy.place, changed);
    let is_lifted = !found.values.is_empty();
    let may_show = is_confined && names_nothing_hidden(&seat, plan);
    let through = Through { policy, seat, schema };
    Ok(Guarded { query, is_lifted, through, spending, _written: written, may_show })
}

/// The statement behind the fences of the seat's view.
pub(crate) async fn plan(
    gateway: &Gateway,
    call: &Call,
    connection: &Connection,
    (snapshot, seat): (&Snapshot, &Seat),
    statement: &str,
) -> Result<Found<Planned>, Refused> {
    let kind = snapshot.policy.policy.kind;
    let found = gateway.shared.plans.plan(statement, kind, &seat.shape);
    let named = match &found {
        Ok(found) => found.plan.plan.named().to_vec(),
        Err(_) => maybe_named(seat, statement),
    };
    let reaching = gateway.reaching_beyond(call, connection, snapshot, seat, &named).await?;
    if reaching.is_empty() {
        return Ok(found?);
    }
    // As if they were not there, so that they are refused as what is not there.
    let mut view = seat.shape.view.clone();
    view.relations.retain(|name, _| !reaching.contains(name));
    let plan = ringfence_guard::guard(statement, kind, &view)?;
    Ok(Found { plan: Arc::new(Planned::of(plan, &view)), values: Vec::new(), cached: false })
}

/// The relations that a refused statement may name: a refusal must not tell that one of them is there.
fn maybe_named(seat: &Seat, statement: &str) -> Vec<RelationName> {
    let statement = statement.to_lowercase();
    // Identifiers with escapes can stand for any name.
    let any = statement.contains("u&\"");
    let relations = seat.shape.view.relations.keys();
    relations.filter(|name| any || statement.contains(&name.name.to_lowercase())).cloned().collect()
}

/// Whether the plan's text may be shown to its caller.
fn names_nothing_hidden(seat: &Seat, plan: &GuardedPlan) -> bool {
    // A relation that the view does not have is named by a rule's condition.
    plan.relations().iter().all(|name| {
        seat.shape.view.relations.get(name).is_some_and(|entitlement| entitlement.hidden.is_empty())
    })
}

/// What is told of a database's error on a guarded connection. Its values are out already: see the engine.
///
/// The guard leaves the names of columns to the database, which finds a hidden one missing: the fence does not have it.
/// A name that the statement does not hold is the policy's, in a database that changed since it was indexed.
pub(crate) fn told(error: SourceError, statement: &str) -> Refused {
    let SourceError::Statement { message, sqlstate } = &error else { return error.into() };
    let Some((noun, name)) = missing_name(message, sqlstate.as_deref()) else { return error.into() };
    let name = name.rsplit('.').next().unwrap_or_default().trim_matches(['"', '`']);
    if name.is_empty() || !statement.to_lowercase().contains(&name.to_lowercase()) {
        return Refused::new(
            Code::QueryFailed,
            "the database is not as it was indexed: ask for the connection to be refreshed",
        );
    }
    let name = name.to_owned();
    match noun {
        Noun::Column => Refusal::UnknownColumn { name }.into(),
        Noun::Relation => Refusal::UnknownRelation { name }.into(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noun {
    Column,
    Relation,
}

/// The name that the database does not know, if that is what its message says; empty when the message has another form.
fn missing_name<'m>(message: &'m str, sqlstate: Option<&str>) -> Option<(Noun, &'m str)> {
    let postgres = |start: &str| {
        let name = message.strip_prefix(start).and_then(|rest| rest.strip_suffix(" does not exist"));
        // Of USING, FOR UPDATE OF, a window or a composite value it is said in other words, with the name in quotes.
        name.or_else(|| message.split('"').nth(1)).unwrap_or_default()
    };
    match sqlstate {
        Some("42703") => Some((Noun::Column, postgres("column "))),
        Some("42P01") => Some((Noun::Relation, postgres("relation "))),
        // Windows; and schemas and other objects: a guarded statement names none that the guard did not look up.
        Some("42704" | "3F000") => Some((Noun::Relation, postgres("window "))),
        // MySQL and MariaDB, in their own words and in English; other languages have another form.
        Some("42S22") => {
            let name = message.strip_prefix("Unknown column '").and_then(|rest| rest.split_once("' in '"));
            Some((Noun::Column, name.map_or("", |(name, _)| name)))
        }
        Some("42S02") => Some((Noun::Relation, "")),
        Some(_) => None,
        None => {
            let column = message.strip_prefix("no such column: ").map(|name| (Noun::Column, name));
            let sqlite = || message.strip_prefix("no such table: ").map(|name| (Noun::Relation, name));
            column.or_else(sqlite)
        }
    }
}

/// The caller's values. To plan a statement without any, each placeholder is NULL.
pub(super) fn parameters<'a>(
    plan: &GuardedPlan,
    mode: RunMode,
    request: &'a QueryRequest,
) -> Cow<'a, [Option<String>]> {
    if mode == RunMode::Explain && plan.placeholders() > 0 {
        return Cow::Owned(vec![None; plan.placeholders()]);
    }
    Cow::Borrowed(&request.parameters)
}

/// What holds of a change beside its rows and columns.
pub(crate) fn check_write(
    connection: &Connection,
    plan: &GuardedPlan,
    seat: &Seat,
    mode: RunMode,
    request: &QueryRequest,
) -> Result<(), Refused> {
    if connection.spec.db_access_policy.read_only {
        return Err(Refused::new(Code::WriteDenied, "this connection is read-only"));
    }
    let view = &seat.shape.view;
    let wants_reason = |relation: &RelationName| {
        view.relations.get(relation).is_some_and(|entitlement| entitlement.writes.require_reason)
    };
    let has_reason = request.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty());
    if !has_reason && mode == RunMode::Execute && plan.changed().iter().any(wants_reason) {
        return Err(Refused::new(Code::ReasonRequired, "the policy wants to know why: give a `reason`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_statement_are_told() {
        let tell = |message: &str, sqlstate: Option<&str>, statement: &str| {
            let sqlstate = sqlstate.map(str::to_owned);
            let refused = told(SourceError::Statement { message: message.to_owned(), sqlstate }, statement);
            (refused.code, refused.message.into_owned())
        };
        let column = (Code::ColumnUnknown, "column \"note\" does not exist".to_owned());
        let select = "SELECT o.Note FROM orders o";
        assert_eq!(tell("column o.note does not exist", Some("42703"), select), column);
        assert_eq!(tell("column \"note\" does not exist", Some("42703"), select), column);
        assert_eq!(tell("no such column: o.note", None, select), column);
        assert_eq!(tell("Unknown column 'o.note' in 'SELECT'", Some("42S22"), select), column);
        assert_eq!(tell("Unknown column 'note' in 'where clause'", Some("42S22"), select), column);
        let missing = |name: &str| (Code::RelationUnknown, format!("relation \"{name}\" does not exist"));
        for (message, sqlstate, name) in [
            ("missing FROM-clause entry for table \"o\"", "42P01", "o"),
            ("relation \"o\" in FOR UPDATE clause not found in FROM clause", "42P01", "o"),
            ("window \"o\" does not exist", "42704", "o"),
        ] {
            assert_eq!(tell(message, Some(sqlstate), select), missing(name), "{message}");
        }
        let using = "column \"note\" specified in USING clause does not exist in left table";
        assert_eq!(tell(using, Some("42703"), select), column);
        for (message, sqlstate) in [
            ("column \"tenant_secret\" does not exist", Some("42703")),
            ("relation \"hidden.members\" does not exist", Some("42P01")),
            ("la colonne \u{ab} tenant_secret \u{bb} n'existe pas", Some("42703")),
            ("no such column: tenant_secret", None),
            ("no such table: main.members", None),
            ("Unknown column 'tenant_secret' in 'WHERE'", Some("42S22")),
            ("Champ 'note' inconnu dans WHERE", Some("42S22")),
            ("Table 'shop.members' doesn't exist", Some("42S02")),
            ("type \"mood\" does not exist", Some("42704")),
        ] {
            let (code, text) = tell(message, sqlstate, select);
            assert_eq!(code, Code::QueryFailed, "{message}");
            assert!(text.contains("not as it was indexed"), "{message}: {text}");
        }
        let other = tell("operator does not exist: text = integer", Some("42883"), select);
        assert_eq!(other, (Code::QueryFailed, "operator does not exist: text = integer".to_owned()));
    }
}
