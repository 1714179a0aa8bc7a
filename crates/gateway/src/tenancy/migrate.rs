//! Makes tenants' schemas or databases and brings them up to date: one transaction and one record for each and file.
//!
//! A database of a tenant's own keeps its records itself, and its files are about its schema `public`.

use std::collections::{BTreeMap, VecDeque};

use futures::future::join_all;
use parking_lot::Mutex;
use ringfence_engine::SourceError;
use ringfence_engine::operator::OperatorSession;

use super::folder::Migration;
use super::{Estate, Homeless, Member, RECORDS, SETTINGS, cell, ident, literal, literals};
use crate::Refused;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'p> {
    /// The files.
    pub migrations: &'p [Migration],
    /// Schemas that are worked on at once.
    pub jobs: usize,
    /// Tenants whose schemas are made where they are missing; of all others only those that are there are brought up to date.
    pub make: &'p [String],
    /// Whether the other tenants and the template are brought up to date as well.
    pub everybody: bool,
}

/// What became of it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Migrated {
    pub schemas: usize,
    /// Schemas that were made.
    pub made: usize,
    /// Files that were applied, of all schemas together.
    pub applied: usize,
    pub failures: Vec<SchemaFailure>,
    /// Tenants without a schema that could be brought up to date.
    pub without: Vec<Homeless>,
}

/// A schema that was not brought up to date.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct SchemaFailure {
    pub schema: String,
    /// The file that failed; `None` when the schema could not be made.
    pub migration: Option<String>,
    pub why: String,
}

/// Applied files by schema: name to checksum.
type Applied = BTreeMap<String, BTreeMap<String, String>>;

/// Schemas of one run, what is known of them, and what became of them.
struct Run<'r> {
    estate: &'r Estate<'r>,
    plan: Plan<'r>,
    applied: Applied,
    waiting: Mutex<VecDeque<(Member, bool)>>,
    done: Mutex<Migrated>,
    progress: &'r (dyn Fn(usize, usize) + Sync),
    all: usize,
}

impl Estate<'_> {
    /// Makes and migrates. What is done already is not done again, so that a run that was cut off goes on where it was.
    //
    // INVARIANT: a file and its record are one transaction: after a kill each schema has whole files, and records of those.
    // Held by the Python test `test_a_killed_run_resumes`.
    pub async fn migrate(
        &self,
        plan: Plan<'_>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Migrated, Refused> {
        let session = self.open().await?;
        self.keep_records(&session).await?;
        let (units, without) = self.units(&session, plan).await?;
        let here = units.iter().filter(|(member, _)| member.database.is_none());
        let applied = self.applied(&session, here.map(|(member, _)| member.schema.as_str())).await?;
        check_history(&applied, plan.migrations)?;
        let all = units.len();
        progress(0, all);
        let (templates, tenants): (VecDeque<_>, VecDeque<_>) =
            units.into_iter().partition(|(member, _)| member.tenant.is_none());
        let done = Mutex::new(Migrated { schemas: all, without, ..Migrated::default() });
        let mut run =
            Run { estate: self, plan, applied, waiting: Mutex::new(templates), done, progress, all };
        // What fails on the template would fail on every tenant.
        run.work(session).await;
        if run.done.lock().failures.is_empty() {
            run.waiting = Mutex::new(tenants);
            let mut sessions = Vec::new();
            for _ in 0..plan.jobs.clamp(1, all.max(1)) {
                sessions.push(self.open().await?);
            }
            join_all(sessions.into_iter().map(|session| run.work(session))).await;
        }
        let mut done = run.done.into_inner();
        done.failures.sort_by(|one, other| one.schema.cmp(&other.schema));
        Ok(done)
    }

    /// Whose schemas the plan is about, and whether each is to be made.
    async fn units(
        &self,
        session: &OperatorSession,
        plan: Plan<'_>,
    ) -> Result<(Vec<(Member, bool)>, Vec<Homeless>), Refused> {
        let there = self.names_there(session).await?;
        let mut units = Vec::new();
        if let Some(template) = self.template()?.filter(|_| plan.everybody) {
            let missing = !there.contains(template.name());
            units.push((template, missing));
        }
        for id in plan.make {
            let member = self.member(id).await?;
            let missing = !there.contains(member.name());
            units.push((member, missing));
        }
        let (members, mut without) =
            if plan.everybody { self.members().await? } else { (Vec::new(), Vec::new()) };
        for member in members {
            let known = units.iter().any(|(unit, _)| unit.tenant == member.tenant);
            match member.tenant.clone() {
                Some(_) if there.contains(member.name()) && !known => units.push((member, false)),
                Some(tenant) if !known => {
                    let what = if member.database.is_some() { "database" } else { "schema" };
                    without.push(Homeless { tenant, why: format!("there is no {what} {}", member.name()) });
                }
                Some(_) | None => {}
            }
        }
        Ok((units, without))
    }

    /// What was applied to these schemas.
    pub(super) async fn applied<'s>(
        &self,
        session: &OperatorSession,
        schemas: impl Iterator<Item = &'s str>,
    ) -> Result<Applied, Refused> {
        let mut applied = Applied::new();
        let select = format!(
            "SELECT schema_name, name, checksum FROM {RECORDS}.migrations WHERE schema_name = ANY ({})",
            literals(schemas)
        );
        for row in session.rows(&select).await? {
            applied.entry(cell(&row, 0)).or_default().insert(cell(&row, 1), cell(&row, 2));
        }
        Ok(applied)
    }
}

/// A file that was applied does not change any more, and does not go: what the schemas are could not be told then.
fn check_history(applied: &Applied, migrations: &[Migration]) -> Result<(), Refused> {
    for (schema, files) in applied {
        for (name, checksum) in files {
            let message = match migrations.iter().find(|migration| migration.name == *name) {
                Some(migration) if migration.checksum == *checksum => continue,
                Some(_) => "was changed after it was applied",
                None => "was applied and is not in the folder any more",
            };
            return Err(Refused::invalid(format!(
                "{name} {message} (to the schema {schema}): nothing was done; put it back as it was, and write another file"
            )));
        }
    }
    Ok(())
}

/// Brings a session back to how it was opened. DISCARD ALL goes alone: it is not for transactions, and several statements
/// at once are one.
async fn clean(session: &OperatorSession) -> Result<(), SourceError> {
    session.run("ROLLBACK").await?;
    session.run("DISCARD ALL").await?;
    session.run(SETTINGS).await
}

impl Run<'_> {
    /// Works on schemas until none is left.
    async fn work(&self, session: OperatorSession) {
        let mut session = Some(session);
        loop {
            let Some((member, is_made)) = self.waiting.lock().pop_front() else { return };
            let own = match session.take() {
                Some(session) if member.database.is_none() => Ok(session),
                home => self.session_for(home, &member, is_made).await,
            };
            let is_made = is_made && member.database.is_none();
            let outcome = match own {
                Ok(own) => {
                    let outcome = self.unit(&own, &member, is_made).await;
                    // What a file set is nobody else's; a session that can't be cleaned is not used again. Each database has
                    // sessions of its own.
                    let is_for_others = member.database.is_none() && clean(&own).await.is_ok();
                    session = is_for_others.then_some(own);
                    outcome
                }
                Err(refused) => Err((None, refused.to_string())),
            };
            let mut done = self.done.lock();
            if let Err((migration, why)) = outcome {
                done.failures.push(SchemaFailure { schema: member.name().to_owned(), migration, why });
            }
            drop(done);
            let left = self.waiting.lock().len();
            (self.progress)(self.all.saturating_sub(left), self.all);
        }
    }

    /// A session where the member's tables are; its database is made where it is missing. `home` may be one that is open.
    async fn session_for(
        &self,
        home: Option<OperatorSession>,
        member: &Member,
        is_made: bool,
    ) -> Result<OperatorSession, Refused> {
        let Some(database) = &member.database else { return self.estate.open().await };
        if is_made {
            let home = match home {
                Some(home) => home,
                None => self.estate.open().await?,
            };
            home.run(&format!("CREATE DATABASE {}", ident(database))).await?;
            self.done.lock().made += 1;
        }
        let session = self.estate.open_to(member).await?;
        self.estate.keep_records(&session).await?;
        if is_made {
            session.run(&self.estate.admitting(member)).await?;
        }
        Ok(session)
    }

    async fn unit(
        &self,
        session: &OperatorSession,
        member: &Member,
        is_made: bool,
    ) -> Result<(), (Option<String>, String)> {
        if is_made {
            self.estate.make(session, member).await.map_err(|refused| (None, refused.to_string()))?;
            self.done.lock().made += 1;
        }
        let nothing = BTreeMap::new();
        let own = if member.database.is_some() {
            let own = self.estate.applied(session, std::iter::once(member.schema.as_str())).await;
            let checked = own.and_then(|own| check_history(&own, self.plan.migrations).map(|()| own));
            checked.map_err(|refused| (None, refused.to_string()))?
        } else {
            Applied::new()
        };
        let known = if member.database.is_some() { &own } else { &self.applied };
        let applied = known.get(&member.schema).unwrap_or(&nothing);
        for migration in self.plan.migrations.iter().filter(|it| !applied.contains_key(&it.name)) {
            match self.estate.apply(session, member, migration).await {
                Ok(applied) => self.done.lock().applied += usize::from(applied),
                Err(refused) => return Err((Some(migration.name.clone()), refused.to_string())),
            }
        }
        Ok(())
    }
}

impl Estate<'_> {
    /// Makes the schema, and says so in the records.
    async fn make(&self, session: &OperatorSession, member: &Member) -> Result<(), Refused> {
        Ok(session.run(&format!("BEGIN; {} COMMIT", self.making(member))).await?)
    }

    /// The statements that do.
    pub(super) fn making(&self, member: &Member) -> String {
        let schema = ident(&member.schema);
        let tenant = member.tenant.as_ref().map_or("NULL".to_owned(), |tenant| literal(tenant.as_str()));
        let name = literal(&member.schema);
        let sql = format!(
            "CREATE SCHEMA {schema}; INSERT INTO {RECORDS}.schemas (schema_name, tenant) VALUES ({name}, {tenant}) \
             ON CONFLICT (schema_name) DO UPDATE SET tenant = excluded.tenant, made_at = now();"
        );
        format!("{sql} {}", self.admitting(member))
    }

    /// The statements that let the connection's own role use what is made there, where another one makes it.
    fn admitting(&self, member: &Member) -> String {
        let Some(role) = self.user_role.as_deref().map(ident) else { return String::new() };
        let schema = ident(&member.schema);
        format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role};"
        )
    }

    /// Applies one file to one schema. `false` when somebody else did meanwhile.
    async fn apply(
        &self,
        session: &OperatorSession,
        member: &Member,
        migration: &Migration,
    ) -> Result<bool, Refused> {
        let (schema, name) = (literal(&member.schema), literal(&migration.name));
        session
            .run(&format!(
                "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({schema}, 1380533607))"
            ))
            .await?;
        let known =
            format!("SELECT 1 FROM {RECORDS}.migrations WHERE schema_name = {schema} AND name = {name}");
        if !session.rows(&known).await?.is_empty() {
            session.run("ROLLBACK").await?;
            return Ok(false);
        }
        self.apply_within(session, member, migration).await?;
        session.run("COMMIT").await?;
        Ok(true)
    }

    /// Applies a file and records it, in the transaction that is open.
    pub(super) async fn apply_within(
        &self,
        session: &OperatorSession,
        member: &Member,
        migration: &Migration,
    ) -> Result<(), Refused> {
        let shared = self.tenancy()?.shared.iter().map(String::as_str);
        let path: Vec<String> = std::iter::once(member.schema.as_str()).chain(shared).map(ident).collect();
        session.run(&format!("SET LOCAL search_path = {}", path.join(", "))).await?;
        let number = "SELECT pg_catalog.txid_current()::text";
        let before = session.rows(number).await?;
        session.run(&migration.sql).await?;
        // A file that ends the transaction would leave a half of itself when it fails.
        if session.rows(number).await? != before {
            return Err(Refused::invalid(
                "the file ends the transaction that it runs in: leave BEGIN, COMMIT and ROLLBACK out of it",
            ));
        }
        let (schema, name) = (literal(&member.schema), literal(&migration.name));
        let checksum = literal(&migration.checksum);
        session
            .run(&format!(
                "INSERT INTO {RECORDS}.migrations (schema_name, name, checksum) VALUES ({schema}, {name}, {checksum})"
            ))
            .await?;
        Ok(())
    }
}
