//! Removes what is a tenant's: first a plan that says what, then the same plan carried out, which leaves a signed manifest.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use ringfence_engine::operator::OperatorSession;
use serde::{Deserialize, Serialize};

use super::export::{read_signed, sign};
use super::holdings::Holdings;
use super::import::count_of;
use super::{Estate, RECORDS, cell, ident, literal};
use crate::{Call, Gateway, Refused};

/// What signatures are about: nothing else has these words.
const PLAN: &str = "erase-plan";
const ERASED: &str = "erased";
/// How old a plan may be.
const FRESH: Duration = Duration::from_hours(24);

/// What a dry run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ErasePlan {
    pub organization: String,
    pub tenant: String,
    pub schema: Option<String>,
    pub database: String,
    pub made_at: String,
    pub tables: Vec<HeldRows>,
}

/// Rows of the tenant in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct HeldRows {
    pub schema: String,
    pub table: String,
    pub scope: Option<String>,
    pub rows: u64,
    /// Over the rows, in whatever order.
    pub md5: String,
}

/// What was removed, when and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Erased {
    pub erased: ErasePlan,
    pub erased_at: String,
    pub erased_by: String,
}

/// What stands outside of a schema: the number of things of each kind that a removal could take along.
const OUTSIDE: &str = "
WITH others AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname <> $ AND left(nspname, 3) <> 'pg_')
SELECT (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_constraint WHERE connamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
   WHERE NOT a.attisdropped AND c.relnamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
   WHERE c.relnamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
   WHERE c.relnamespace IN (SELECT oid FROM others)),
  (SELECT count(*) FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
   WHERE c.relnamespace IN (SELECT oid FROM others))";

impl Estate<'_> {
    /// Says what would be removed, and writes it to a file that the removal wants to see. Nothing is changed.
    pub async fn plan_erase(&self, id: &str, file: &Path) -> Result<ErasePlan, Refused> {
        let session = self.open().await?;
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let held = self.holdings(&session, id).await?;
        let plan = self.plan_of(&session, &held).await?;
        session.run("COMMIT").await?;
        sign(self.gateway, PLAN, &plan, file)?;
        Ok(plan)
    }

    /// Removes what the plan says, all of it or nothing, if it is still so; the manifest is then in a file that is not there
    /// yet. The tenant is suspended, so that nobody of it writes meanwhile.
    //
    // INVARIANT: nothing is removed that no dry run showed, and nothing that is not the tenant's. Held by the Python tests
    // `test_an_erasure_needs_its_dry_run` and `test_other_tenants_stay_as_they_are`.
    pub async fn erase(
        &self,
        call: &Call,
        id: &str,
        plan: &Path,
        manifest: &Path,
    ) -> Result<Erased, Refused> {
        let shown: ErasePlan = read_signed(self.gateway, PLAN, plan)?;
        let tenant = self.tenant(id).await?.id;
        if shown.tenant != tenant.as_str() || shown.organization != self.org.as_str() {
            return Err(Refused::invalid("the plan is another tenant's"));
        }
        let made_at: Timestamp = shown.made_at.parse().map_err(|error| Refused::internal(&error))?;
        if Timestamp::now().duration_since(made_at).unsigned_abs() > FRESH {
            return Err(Refused::invalid("the plan is older than a day: make another dry run"));
        }
        if manifest.exists() {
            return Err(super::unusable(
                manifest,
                &"it is there already: the manifest gets a file of its own",
            ));
        }
        if !self.gateway.shared.store.tenants().is_suspended(&tenant).await? {
            return Err(Refused::invalid(
                "the tenant is not suspended: suspend it first, so that nobody of it writes",
            ));
        }
        let session = self.open().await?;
        self.keep_records(&session).await?;
        session.run(&begin(&shown)).await?;
        let held = self.holdings(&session, id).await?;
        let now = self.plan_of(&session, &held).await?;
        let as_shown = ErasePlan { made_at: shown.made_at.clone(), ..now };
        if as_shown != shown {
            return Err(Refused::invalid("what is there is not what the dry run showed: make another one"));
        }
        remove(&session, &held).await?;
        session.run("COMMIT").await?;
        let erased = Erased {
            erased: shown,
            erased_at: Timestamp::now().to_string(),
            erased_by: call.principal().authenticated_user().to_string(),
        };
        sign(self.gateway, ERASED, &erased, manifest)?;
        Ok(erased)
    }

    async fn plan_of(&self, session: &OperatorSession, held: &Holdings) -> Result<ErasePlan, Refused> {
        let mut tables = Vec::new();
        for holding in &held.tables {
            let row = session
                .rows(&holding.fingerprint(&held.tenant))
                .await?
                .into_iter()
                .next()
                .unwrap_or_default();
            tables.push(HeldRows {
                schema: holding.schema.clone(),
                table: holding.table.clone(),
                scope: holding.scope.clone(),
                rows: cell(&row, 0).parse().map_err(|error| Refused::internal(&error))?,
                md5: cell(&row, 1),
            });
        }
        Ok(ErasePlan {
            organization: self.org.to_string(),
            tenant: held.tenant.to_string(),
            schema: held.schema.clone(),
            database: self.address.database.clone(),
            made_at: Timestamp::now().to_string(),
            tables,
        })
    }
}

impl Gateway {
    /// Checks the manifest of an erasure: that it was written with this control store.
    pub fn verify_erased(&self, file: &Path) -> Result<Erased, Refused> {
        read_signed(self, ERASED, file)
    }
}

/// Locks the tenant's own tables before the first look, so that what is looked at is what is removed.
fn begin(plan: &ErasePlan) -> String {
    let own = plan.tables.iter().filter(|table| table.scope.is_none());
    let own: Vec<String> =
        own.map(|table| format!("{}.{}", ident(&table.schema), ident(&table.table))).collect();
    let lock = if own.is_empty() { String::new() } else { format!("; LOCK TABLE {}", own.join(", ")) };
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '30s'{lock}")
}

async fn remove(session: &OperatorSession, held: &Holdings) -> Result<(), Refused> {
    let shared = held.tables.iter().rev().filter(|holding| holding.scope.is_some());
    for holding in shared {
        let (name, condition) = (holding.name(), holding.condition(&held.tenant));
        session.run(&format!("DELETE FROM {name} WHERE {condition}")).await?;
        // A trigger or a rule may have kept some.
        if count_of(session, &format!("SELECT count(*) FROM {name} WHERE {condition}")).await? != 0 {
            return Err(Refused::invalid(format!("{name} keeps rows of the tenant: nothing was removed")));
        }
    }
    let Some(schema) = &held.schema else { return Ok(()) };
    let outside = OUTSIDE.replace('$', &literal(schema));
    let before = session.rows(&outside).await?;
    session.run(&format!("DROP SCHEMA {} CASCADE", ident(schema))).await?;
    if session.rows(&outside).await? != before {
        return Err(Refused::invalid(format!(
            "something outside of the schema {schema} depends on it and would go with it: nothing was removed"
        )));
    }
    let name = literal(schema);
    session
        .run(&format!(
            "DELETE FROM {RECORDS}.migrations WHERE schema_name = {name}; DELETE FROM {RECORDS}.schemas WHERE schema_name = {name}"
        ))
        .await?;
    Ok(())
}
