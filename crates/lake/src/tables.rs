//! Tables that were loaded: which files they are made of now, and who still reads older ones.
//!
//! In the lake's directory, `.ringfence/tables/NAME.json` says of each table its version, columns and parts, and a part is a
//! directory in `.ringfence/data` with Parquet files that never change. A load writes a part, makes sure that it is on the
//! disk, and then puts a new manifest in the place of the old one, in one step. Who reads a version holds a shared lock on
//! each of its parts, until the last row; a part that no manifest names and nobody holds is removed. Locks are the operating
//! system's, so that all processes of a machine heed each other, and one that is killed holds nothing.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is ours in a lake's directory.
pub(crate) const OWN_DIRECTORY: &str = ".ringfence";
/// The form of manifests.
const FORM: u32 = 1;
/// How often a reader looks again whose parts were replaced under it.
const READ_ATTEMPTS: usize = 100;
/// Longest name of a table in bytes: a name of a file, with its ending.
const LONGEST_NAME: usize = 120;

/// What a table is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    form: u32,
    /// Counts loads.
    pub(crate) version: u64,
    pub(crate) columns: Vec<KeptColumn>,
    pub(crate) keys: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptColumn {
    pub(crate) name: String,
    /// As [`crate::columns::named`] reads it.
    pub(crate) data_type: String,
}

/// What one load brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) id: Uuid,
    pub(crate) rows: u64,
}

/// The loaded tables of one lake.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    root: PathBuf,
}

/// A version of a table that stays whole for as long as this is held.
#[derive(Debug)]
pub(crate) struct HeldVersion {
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<PathBuf>,
    _locks: Vec<File>,
}

/// A part that is being written. Nobody removes it meanwhile; dropped before it is committed, it goes.
#[derive(Debug)]
pub(crate) struct StagedPart {
    id: Uuid,
    path: PathBuf,
    _lock: File,
    is_committed: bool,
}

impl Manifest {
    pub(crate) fn new(columns: Vec<KeptColumn>, keys: Vec<String>) -> Self {
        Self { form: FORM, version: 0, columns, keys, parts: Vec::new() }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

/// Whether a table may be called so: what is also a plain name of a file, and needs no care in messages.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
    !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain) && name.trim() == name
}

impl Tables {
    pub(crate) fn of(lake: &Path) -> Self {
        Self { root: lake.join(OWN_DIRECTORY) }
    }

    fn manifests(&self) -> PathBuf {
        self.root.join("tables")
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    fn manifest_path(&self, table: &str) -> PathBuf {
        self.manifests().join(format!("{table}.json"))
    }

    /// The names of the tables, in order.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.manifests()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let table = name.to_str().and_then(|name| name.strip_suffix(".json"));
            names.extend(table.filter(|table| is_name(table)).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// What the table is made of now; `None` when there is none.
    pub(crate) fn manifest(&self, table: &str) -> io::Result<Option<Manifest>> {
        if !is_name(table) {
            return Ok(None);
        }
        let text = match fs::read(self.manifest_path(table)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let manifest: Manifest = serde_json::from_slice(&text)?;
        if manifest.form != FORM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a manifest of another version of this program",
            ));
        }
        Ok(Some(manifest))
    }

    /// The table as it is now, held.
    //
    // INVARIANT: what is held is one version, whole: a part is looked for again under its lock, and when it is gone, so is the
    // version, and the manifest is read anew. Held by the tests of `crates/lake/tests/lake/versions.rs`.
    pub(crate) fn hold(&self, table: &str) -> io::Result<Option<HeldVersion>> {
        for _ in 0..READ_ATTEMPTS {
            let Some(manifest) = self.manifest(table)? else { return Ok(None) };
            if let Some((files, locks)) = self.hold_parts(&manifest)? {
                return Ok(Some(HeldVersion { manifest, files, _locks: locks }));
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the table is replaced faster than it can be opened"))
    }

    fn hold_parts(&self, manifest: &Manifest) -> io::Result<Option<(Vec<PathBuf>, Vec<File>)>> {
        let (mut files, mut locks) = (Vec::new(), Vec::new());
        for part in &manifest.parts {
            let directory = self.data().join(part.id.to_string());
            let lock = match File::open(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                lock => lock?,
            };
            lock.lock_shared()?;
            let entries = match fs::read_dir(&directory) {
                // Removed between the two.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                entries => entries?,
            };
            for entry in entries {
                files.push(entry?.path());
            }
            locks.push(lock);
        }
        files.sort();
        Ok(Some((files, locks)))
    }

    /// A new part. What killed loads left behind is removed.
    pub(crate) fn stage(&self) -> io::Result<StagedPart> {
        fs::create_dir_all(self.manifests())?;
        fs::create_dir_all(self.data())?;
        let _alone = self.lock_alone()?;
        self.sweep_alone()?;
        let id = Uuid::now_v7();
        let path = self.data().join(id.to_string());
        fs::create_dir(&path)?;
        let lock = File::open(&path)?;
        lock.lock_shared()?;
        Ok(StagedPart { id, path, _lock: lock, is_committed: false })
    }

    /// Puts a new version in the place of the one that `change` is given, or leaves all as it is when that answers an error.
    //
    // INVARIANT: whoever is killed anywhere in here leaves either the old manifest or the new one, and the parts of both: the
    // new part is on the disk before the manifest that names it. Held by tests/python/lake.
    pub(crate) fn commit<E: From<io::Error>>(
        &self,
        table: &str,
        staged: &mut StagedPart,
        change: impl FnOnce(Option<Manifest>) -> Result<Manifest, E>,
    ) -> Result<Manifest, E> {
        staged.sync()?;
        let _alone = self.lock_alone()?;
        let manifest = change(self.manifest(table)?)?;
        let beside = self.manifests().join(format!("{}.new", Uuid::now_v7()));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&manifest).map_err(io::Error::from)?)?;
        file.sync_all()?;
        fs::rename(&beside, self.manifest_path(table))?;
        staged.is_committed = true;
        sync_directory(&self.manifests())?;
        // What is left over goes now, or when whoever reads it is done.
        let _ = self.sweep_alone();
        Ok(manifest)
    }

    /// Removes a table; `false` when there is none.
    pub(crate) fn remove(&self, table: &str) -> io::Result<bool> {
        if self.manifest(table)?.is_none() {
            return Ok(false);
        }
        let _alone = self.lock_alone()?;
        match fs::remove_file(self.manifest_path(table)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed?,
        }
        sync_directory(&self.manifests())?;
        let _ = self.sweep_alone();
        Ok(true)
    }

    /// Removes parts that no manifest names and nobody holds.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        if !self.data().exists() {
            return Ok(());
        }
        let _alone = self.lock_alone()?;
        self.sweep_alone()
    }

    fn sweep_alone(&self) -> io::Result<()> {
        let mut named = HashSet::new();
        for table in self.names()? {
            // A manifest that can't be read may name any part.
            let manifest = self.manifest(&table)?;
            named.extend(manifest.into_iter().flat_map(|manifest| manifest.parts).map(|part| part.id));
        }
        for entry in fs::read_dir(self.data())? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok());
            if id.is_none_or(|id| named.contains(&id)) {
                continue;
            }
            let directory = File::open(entry.path())?;
            match directory.try_lock() {
                Ok(()) => fs::remove_dir_all(entry.path())?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        for entry in fs::read_dir(self.manifests())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The right to change what there is; given back when dropped.
    fn lock_alone(&self) -> io::Result<File> {
        let lock = File::options().create(true).truncate(false).write(true).open(self.root.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}

impl StagedPart {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn part(&self, rows: u64) -> Part {
        Part { id: self.id, rows }
    }

    fn sync(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_directory(&self.path)?;
        self.path.parent().map_or(Ok(()), sync_directory)
    }
}

impl Drop for StagedPart {
    fn drop(&mut self) {
        if !self.is_committed
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "what a failed load wrote is left for the next one to remove");
        }
    }
}

/// A new name in a directory is on the disk when the directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
