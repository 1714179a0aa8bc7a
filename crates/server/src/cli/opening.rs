//! Opening what a command works on: the data directory, its lock, the control store, the gateway.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_engine::Engine;
use ringfence_gateway::{Bootstrap, Gateway};
use ringfence_store::{SealingKey, Store, StoreError};

use super::failure::Failure;
use crate::config::Config;
use crate::outgoing::Outgoing;

/// Held by the one process that serves from a data directory.
const LOCK_FILE: &str = "lock";

/// Makes the data directory when it is missing, for its owner alone.
pub(crate) fn make_data_dir(config: &Config) -> Result<Option<PathBuf>, Failure> {
    let Some(directory) = config.data_dir() else {
        return Ok(None);
    };
    let unusable = |cause: &io::Error| unusable_data_dir(&directory, cause);
    if !directory.exists() {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&directory).map_err(|error| unusable(&error))?;
    }
    refuse_file_as_data_dir(&directory)?;
    // Written to, not asked: permissions, read-only mounts and full disks all show here.
    tempfile::Builder::new().prefix(".probe").tempfile_in(&directory).map_err(|error| unusable(&error))?;
    refuse_exposed_store(config, &directory)?;
    Ok(Some(directory))
}

pub(crate) fn refuse_file_as_data_dir(directory: &Path) -> Result<(), Failure> {
    if directory.exists() && !directory.is_dir() {
        return Err(unusable_data_dir(directory, &"it is no directory"));
    }
    Ok(())
}

fn unusable_data_dir(directory: &Path, cause: &dyn std::fmt::Display) -> Failure {
    Failure::new(format_args!("the data directory {} can't be used: {cause}", directory.display()))
        .hint("name another with --data-dir, or make it writable for the user that runs ringfence")
}

/// Refuses directories for `SQLite` connections that hold the data directory: a connection could open the control store.
/// The data directory need not be there yet.
pub(crate) fn refuse_exposed_store(config: &Config, directory: &Path) -> Result<(), Failure> {
    let data = resolved(directory)?;
    for allowed in &config.sqlite.directories {
        // One organization's directory may have any name: nothing beside them may hold the data directory.
        let allowed = organizations_of(allowed).unwrap_or_else(|| allowed.clone());
        let inside = fs::canonicalize(&allowed).is_ok_and(|allowed| data.starts_with(allowed));
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

/// The directory in which the organizations have theirs, when `{org}` stands in the path.
pub(crate) fn organizations_of(directory: &Path) -> Option<PathBuf> {
    let (before, _) = directory.to_str()?.split_once("{org}")?;
    Some(Path::new(before).to_owned())
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    Ok(match existing {
        Some((above, real)) => match path.strip_prefix(above) {
            // Joining nothing would leave a slash behind.
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path,
    })
}

/// Refuses a data directory that another process serves from; makes nothing.
pub(crate) fn refuse_locked(directory: &Path) -> Result<(), Failure> {
    if directory.join(LOCK_FILE).exists() { lock(directory).map(drop) } else { Ok(()) }
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
    match sealed_by(config)? {
        SealedBy::Key(key) => Ok(Store::open(&location, key).await?),
        SealedBy::File(file) => {
            let opened = ringfence_store::open_with_key_file(&location, &file).await;
            opened.map_err(|error| about_key_file(&file, error))
        }
    }
}

/// Where the sealing key comes from.
enum SealedBy {
    Key(SealingKey),
    File(PathBuf),
}

fn sealed_by(config: &Config) -> Result<SealedBy, Failure> {
    if let Some(key) = &config.sealing.key {
        // What is wrong with the text is not repeated: it is nearly a secret.
        let key = SealingKey::from_base64(&key.to_secret_string()).map_err(|error| {
            Failure::usage(format_args!("`sealing.key` (RINGFENCE_SEALING_KEY): {error}")).hint(
                "give the key that the control store was sealed with; for a new store, make one with `openssl rand \
                 -base64 32` and keep it",
            )
        })?;
        Ok(SealedBy::Key(key))
    } else if let Some(file) = config.sealing_key_file() {
        Ok(SealedBy::File(file))
    } else {
        Err(Failure::usage("a control store in PostgreSQL needs a sealing key that all nodes share")
            .hint("make one with `openssl rand -base64 32` and give it as RINGFENCE_SEALING_KEY or `sealing.key_file`"))
    }
}

/// Refuses a sealing key that is no key. A file that is not there is made when the store is opened.
pub(crate) fn check_sealing_key(config: &Config) -> Result<(), Failure> {
    match sealed_by(config)? {
        SealedBy::File(file) if file.exists() => {
            SealingKey::load_or_create(&file).map(drop).map_err(|error| about_key_file(&file, error))
        }
        _ => Ok(()),
    }
}

fn about_key_file(file: &Path, error: StoreError) -> Failure {
    Failure::from(error).about(format_args!("sealing key file {}", file.display()))
}

/// As [`open_store`], for a command that only looks at or changes what is there.
pub(crate) async fn open_existing_store(config: &Config) -> Result<Store, Failure> {
    refuse_missing_store(config)?;
    open_store(config).await
}

/// A store that does not exist is a mistake in the path, not a wish for a new one.
pub(crate) fn refuse_missing_store(config: &Config) -> Result<(), Failure> {
    if let ringfence_store::StoreLocation::Sqlite(file) = config.store_location()
        && !file.exists()
    {
        return Err(Failure::new(format_args!("there is no control store at {}", file.display()))
            .hint("name its directory with --data-dir; `ringfence serve` makes a new one"));
    }
    Ok(())
}

/// The engine, with the lake where the build has it.
pub(crate) fn open_engine(config: &Config) -> Result<Engine, Failure> {
    #[cfg(feature = "lake")]
    {
        let lake = ringfence_lake::Lake::new(&config.lake_settings()).map_err(Failure::new)?;
        Ok(Engine::with_embedded(config.engine_limits(), Some(Arc::new(lake))))
    }
    #[cfg(not(feature = "lake"))]
    Ok(Engine::new(config.engine_limits()))
}

/// Opens the gateway over an opened store.
pub(crate) async fn open_gateway(config: &Config, store: Store) -> Result<(Gateway, Bootstrap), Failure> {
    let engine = open_engine(config)?;
    let mut settings = config.gateway_config();
    if !config.oidc.providers.is_empty() {
        let web = Outgoing::new()
            .map_err(|error| Failure::from(error).about("the certificates of this machine"))?;
        settings.oidc = config.oidc.config(Arc::new(web)).map_err(Failure::usage)?;
    }
    Ok(Gateway::open(settings, store, engine).await?)
}
