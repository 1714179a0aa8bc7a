//! Writes what is a tenant's to a folder: a CSV file for each table and a signed manifest with their hashes.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use ringfence_engine::operator::OperatorSession;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::holdings::{Holding, Holdings};
use super::{Estate, RECORDS, cell, csv, ident, literal, unusable};
use crate::{Gateway, Refused};

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// What a signature is about: nothing else has this word.
const WORD: &str = "export";

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Manifest {
    pub format: u32,
    pub organization: String,
    pub tenant: String,
    /// The tenant's schema, where it has one.
    pub schema: Option<String>,
    pub database: String,
    pub exported_at: String,
    /// Files that the schema was made by.
    pub migrations: Vec<AppliedFile>,
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
}

/// A migration as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct AppliedFile {
    pub name: String,
    pub sha256: String,
}

/// A table's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Table {
    pub file: String,
    pub schema: String,
    pub table: String,
    /// The column whose value is the tenant's id, in a table that several tenants share.
    pub scope: Option<String>,
    /// Names and types.
    pub columns: Vec<(String, String)>,
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// Where a sequence of the tenant's schema is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Sequence {
    pub name: String,
    pub last_value: String,
    pub is_called: bool,
}

/// A manifest as it stands in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signed<T> {
    pub(super) manifest: T,
    /// Over the manifest as it is written, by the control store that wrote it.
    pub(super) signature: String,
}

impl Estate<'_> {
    /// Writes the tenant's rows, as of one moment, to a folder that is not there yet.
    pub async fn export(&self, id: &str, folder: &Path) -> Result<Manifest, Refused> {
        self.is_not_for_databases("copy it with the database's own tools")?;
        let session = self.open().await?;
        self.keep_records(&session).await?;
        fs::create_dir(folder).map_err(|error| unusable(folder, &error))?;
        // Types are named as they will be when they are held against the tables again.
        session
            .run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog")
            .await?;
        let held = self.holdings(&session, id).await?;
        let mut tables = Vec::new();
        for (number, holding) in held.tables.iter().enumerate() {
            tables.push(write_table(&session, holding, &held, folder, number).await?);
        }
        let manifest = Manifest {
            format: 1,
            organization: self.org.to_string(),
            tenant: held.tenant.to_string(),
            schema: held.schema.clone(),
            database: self.address.database.clone(),
            exported_at: jiff::Timestamp::now().to_string(),
            migrations: self.files_of(&session, held.schema.as_deref()).await?,
            tables,
            sequences: sequences(&session, held.schema.as_deref()).await?,
        };
        session.run("COMMIT").await?;
        sign(self.gateway, WORD, &manifest, &folder.join(MANIFEST))?;
        Ok(manifest)
    }

    pub(super) async fn files_of(
        &self,
        session: &OperatorSession,
        schema: Option<&str>,
    ) -> Result<Vec<AppliedFile>, Refused> {
        let Some(schema) = schema else { return Ok(Vec::new()) };
        let select = format!(
            "SELECT name, checksum FROM {RECORDS}.migrations WHERE schema_name = {} ORDER BY name",
            literal(schema)
        );
        let rows = session.rows(&select).await?;
        Ok(rows.iter().map(|row| AppliedFile { name: cell(row, 0), sha256: cell(row, 1) }).collect())
    }
}

impl Gateway {
    /// Checks an export: that its manifest was written with this control store, and that every file is as it was written.
    pub fn verify_export(&self, folder: &Path) -> Result<Manifest, Refused> {
        let manifest: Manifest = read_signed(self, WORD, &folder.join(MANIFEST))?;
        for table in &manifest.tables {
            // Written by us, but who knows what came since: a file stands in the folder, nowhere else.
            if table.file.contains(['/', '\\']) || table.file.starts_with('.') {
                return Err(Refused::invalid(format!("{}: is no file of an export", table.file)));
            }
            let path = folder.join(&table.file);
            let mut file = File::open(&path).map_err(|error| unusable(&path, &error))?;
            let mut hash = Hashing { inner: std::io::sink(), hash: Sha256::new(), bytes: 0 };
            std::io::copy(&mut file, &mut hash).map_err(|error| unusable(&path, &error))?;
            if hash.bytes != table.bytes || hex::encode(hash.hash.finalize()) != table.sha256 {
                return Err(unusable(&path, &"it is not as it was exported"));
            }
        }
        Ok(manifest)
    }
}

async fn write_table(
    session: &OperatorSession,
    holding: &Holding,
    held: &Holdings,
    folder: &Path,
    number: usize,
) -> Result<Table, Refused> {
    let plain: String =
        holding.table.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name = format!("{number:04}-{plain}.csv");
    let path = folder.join(&name);
    let file = File::create_new(&path).map_err(|error| unusable(&path, &error))?;
    let mut out = Hashing { inner: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
    let header = holding.columns.iter().map(|(name, _)| Some(name.clone())).collect();
    csv::write(&mut out, &header).map_err(|error| unusable(&path, &error))?;
    let mut rows = 0_u64;
    session
        .each_row(&holding.select(&held.tenant), &mut |row| {
            rows += 1;
            csv::write(&mut out, &row).map_err(|error| error.to_string())
        })
        .await?;
    out.inner.flush().map_err(|error| unusable(&path, &error))?;
    out.inner.get_ref().sync_all().map_err(|error| unusable(&path, &error))?;
    Ok(Table {
        file: name,
        schema: holding.schema.clone(),
        table: holding.table.clone(),
        scope: holding.scope.clone(),
        columns: holding.columns.clone(),
        rows,
        bytes: out.bytes,
        sha256: hex::encode(out.hash.finalize()),
    })
}

async fn sequences(session: &OperatorSession, schema: Option<&str>) -> Result<Vec<Sequence>, Refused> {
    let Some(schema) = schema else { return Ok(Vec::new()) };
    let select = format!(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND n.nspname = {} ORDER BY 1",
        literal(schema)
    );
    let mut sequences = Vec::new();
    for row in session.rows(&select).await? {
        let name = cell(&row, 0);
        let at = format!("SELECT last_value, is_called FROM {}.{}", ident(schema), ident(&name));
        let at = session.rows(&at).await?.into_iter().next().unwrap_or_default();
        sequences.push(Sequence { name, last_value: cell(&at, 0), is_called: cell(&at, 1) == "t" });
    }
    Ok(sequences)
}

/// Writes a manifest with its signature; it is on the disk when this returns.
pub(super) fn sign<T: Serialize>(
    gateway: &Gateway,
    word: &str,
    manifest: &T,
    path: &Path,
) -> Result<(), Refused> {
    let text = serde_json::to_string(manifest).map_err(|error| Refused::internal(&error))?;
    let signature = hex::encode(gateway.shared.store.manifest_tag(&[word, &text]));
    let signed = serde_json::to_string_pretty(&Signed { manifest, signature });
    let signed = signed.map_err(|error| Refused::internal(&error))?;
    let mut file = File::create_new(path).map_err(|error| unusable(path, &error))?;
    let written = file.write_all(signed.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| unusable(path, &error))
}

/// Reads a manifest that this control store signed.
//
// INVARIANT: a manifest that was changed by a letter is refused. Held by the Python test `test_what_was_changed_is_refused`.
pub(super) fn read_signed<T: Serialize + for<'de> Deserialize<'de>>(
    gateway: &Gateway,
    word: &str,
    path: &Path,
) -> Result<T, Refused> {
    let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let signed: Signed<T> = serde_json::from_str(&text).map_err(|error| unusable(path, &error))?;
    // Written again as it was written then: fields have one order.
    let text = serde_json::to_string(&signed.manifest).map_err(|error| Refused::internal(&error))?;
    let signature = hex::decode(&signed.signature).unwrap_or_default();
    if !gateway.shared.store.is_manifest_tag(&[word, &text], &signature) {
        return Err(unusable(path, &"it was not written with this control store, or was changed since"));
    }
    Ok(signed.manifest)
}

/// Hashes and counts what goes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: std::io::Write> std::io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
