//! Opening what a command works on: the data directory, its lock, the control store, the gateway.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ringfence_engine::Engine;
use ringfence_gateway::{Bootstrap, Gateway};
use ringfence_store::{SealingKey, Store};

use super::failure::Failure;
use crate::config::Config;

/// Held by the one process that serves from a data directory.
const LOCK_FILE: &str = "lock";

/// Makes the data directory when it is missing, for its owner alone.
pub(crate) fn make_data_dir(config: &Config) -> Result<Option<PathBuf>, Failure> {
    let Some(directory) = config.data_dir() else {
        return Ok(None);
    };
    let unusable = |cause: &dyn std::fmt::Display| {
        Failure::new(format_args!("the data directory {} can't be used: {cause}", directory.display()))
            .hint("name another with --data-dir, or make it writable for the user that runs ringfence")
    };
    if !directory.exists() {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&directory).map_err(|error| unusable(&error))?;
    } else if !directory.is_dir() {
        return Err(unusable(&"it is no directory"));
    }
    // Written to, not asked: permissions, read-only mounts and full disks all show here.
    tempfile::Builder::new().prefix(".probe").tempfile_in(&directory).map_err(|error| unusable(&error))?;
    refuse_exposed_store(config, &directory)?;
    Ok(Some(directory))
}

/// Refuses directories for `SQLite` connections that hold the data directory: a connection could open the control store.
fn refuse_exposed_store(config: &Config, directory: &Path) -> Result<(), Failure> {
    let data = fs::canonicalize(directory)?;
    for allowed in &config.sqlite.directories {
        let inside = fs::canonicalize(allowed).is_ok_and(|allowed| data.starts_with(allowed));
        if inside {
            return Err(Failure::usage(format_args!(
                "`sqlite.directories`: {} holds the data directory {}, so users could open the control store",
                allowed.display(),
                directory.display()
            ))
            .hint("allow a directory beside the data directory instead"));
        }
    }
    Ok(())
}

/// Takes the data directory for this process, until the answer is dropped.
pub(crate) fn lock(directory: &Path) -> Result<File, Failure> {
    let file = File::create(directory.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let listening = fs::read_to_string(directory.join(super::serve::LISTEN_FILE)).unwrap_or_default();
            let at = if listening.is_empty() { String::new() } else { format!(" at {}", listening.trim()) };
            Err(Failure::new(format_args!("another ringfence serves from {}{at}", directory.display()))
                .hint("stop it first, or name another directory with --data-dir"))
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Opens the control store, making a sealing key for an embedded one that has none.
pub(crate) async fn open_store(config: &Config) -> Result<Store, Failure> {
    let location = config.store_location();
    let store = if let Some(key) = &config.sealing.key {
        Store::open(&location, SealingKey::from_base64(&key.to_secret_string())?).await?
    } else if let Some(file) = config.sealing_key_file() {
        ringfence_store::open_with_key_file(&location, &file).await.map_err(|error| {
            let failure = Failure::from(error);
            failure.about(format_args!("sealing key file {}", file.display()))
        })?
    } else {
        return Err(Failure::usage("a control store in PostgreSQL needs a sealing key that all nodes share")
            .hint("make one with `openssl rand -base64 32` and give it as RINGFENCE_SEALING_KEY or `sealing.key_file`"));
    };
    Ok(store)
}

/// As [`open_store`], for a command that only looks at or changes what is there: a store that does not exist is a
/// mistake in the path, not a wish for a new one.
pub(crate) async fn open_existing_store(config: &Config) -> Result<Store, Failure> {
    if let ringfence_store::StoreLocation::Sqlite(file) = config.store_location()
        && !file.exists()
    {
        return Err(Failure::new(format_args!("there is no control store at {}", file.display()))
            .hint("name its directory with --data-dir; `ringfence serve` makes a new one"));
    }
    open_store(config).await
}

/// Opens the gateway over an opened store.
pub(crate) async fn open_gateway(config: &Config, store: Store) -> Result<(Gateway, Bootstrap), Failure> {
    let engine = Engine::new(config.engine_limits());
    Ok(Gateway::open(config.gateway_config(), store, engine).await?)
}
