//! The sealing key's file, and keeping it in step with the store when a process is killed in mid-rotation.
//!
//! A rotation goes: the new key is durable in `<path>.next`; the store is sealed again; `.next` becomes `<path>`.
//! Killed anywhere between, one of the two files opens the store, and opening tries both.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::{SealingKey, Store, StoreError, StoreLocation};

/// A key file is one line; whatever is longer is something else.
const LONGEST: u64 = 1024;

/// Opens the store with the key in that file, made when missing, and ends a rotation that was cut short.
pub async fn open_with_key_file(location: &StoreLocation, path: &Path) -> Result<Store, StoreError> {
    let next = next_path(path);
    let started_anew = !path.exists() && !next.exists();
    if !path.exists() && next.exists() {
        return open_with_next(location, path, &next).await;
    }
    match Store::open(location, load_or_create(path)?).await {
        Err(StoreError::WrongSealingKey) if next.exists() => open_with_next(location, path, &next).await,
        Err(StoreError::WrongSealingKey) if started_anew => {
            // The store was sealed with a key that is not here; a new one that opens nothing would only mislead.
            let _ = fs::remove_file(path);
            Err(StoreError::WrongSealingKey)
        }
        // A `.next` that is left over stays: another process may be about to use it, and the next rotation will.
        outcome => outcome,
    }
}

async fn open_with_next(location: &StoreLocation, path: &Path, next: &Path) -> Result<Store, StoreError> {
    let store = Store::open(location, load(next)?).await?;
    promote(next, path)?;
    Ok(store)
}

/// Gives the store a new key and puts it into the file. Answers how many secrets were sealed.
///
/// Run again after it was cut short, it goes on with the key that was already made.
pub async fn rotate_key_file(store: &Store, path: &Path) -> Result<u64, StoreError> {
    if !store.is_sealed_with(&load(path)?).await? {
        return Err(StoreError::SealingKey(
            "the file does not hold the key that the store is sealed with".to_owned(),
        ));
    }
    let next = next_path(path);
    let key = load_or_create(&next)?;
    let sealed = store.rotate_sealing_key(key).await?;
    promote(&next, path)?;
    Ok(sealed)
}

/// See [`SealingKey::load_or_create`].
pub(crate) fn load_or_create(path: &Path) -> Result<SealingKey, StoreError> {
    if path.exists() { load(path) } else { create(path) }
}

fn load(path: &Path) -> Result<SealingKey, StoreError> {
    let mut file = File::open(path).map_err(|error| unusable("can't be read", &error))?;
    let metadata = file.metadata().map_err(|error| unusable("can't be read", &error))?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Err(StoreError::SealingKey("its file does not look like a key".to_owned()));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0 {
        let why = "others may read its file: make it readable for its owner alone (chmod 600) and consider a new key";
        return Err(StoreError::SealingKey(why.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(|error| unusable("can't be read", &error))?;
    SealingKey::from_base64(&SecretString::from(text.as_str()))
}

/// Makes a key and puts it at the path, whole and durable or not at all. When another process was faster, its key counts.
fn create(path: &Path) -> Result<SealingKey, StoreError> {
    let key = SealingKey::generate();
    let draft = with_suffix(path, &format!(".{}.draft", uuid::Uuid::new_v4()));
    let linked = write_private(&draft, &key)
        // Unlike a rename, a link never replaces what is there already.
        .and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => {
            sync_directory(path)?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load(path),
        Err(error) => Err(unusable("can't be written", &error)),
    }
}

fn write_private(path: &Path, key: &SealingKey) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.to_base64().expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn promote(next: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(next, path).map_err(|error| unusable("can't be put in place", &error))?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| unusable("can't be made durable", &error))
}

fn next_path(path: &Path) -> PathBuf {
    with_suffix(path, ".next")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn unusable(what: &str, error: &std::io::Error) -> StoreError {
    StoreError::SealingKey(format!("its file {what}: {}", error.kind()))
}
