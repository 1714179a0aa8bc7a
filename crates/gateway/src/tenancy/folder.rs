//! A folder of SQL migrations: files in the order of their names.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::unusable;
use crate::Refused;

/// One file.
#[derive(Debug, Clone)]
pub struct Migration {
    /// The file's name, without the folder.
    pub name: String,
    /// Its text. Names without a schema are the tenant's.
    pub sql: String,
    /// SHA-256 of the text, in hexadecimal.
    pub checksum: String,
}

/// The `.sql` files of the folder, in the order of their names.
pub fn read(folder: &Path) -> Result<Vec<Migration>, Refused> {
    let entries = std::fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
    let mut migrations = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unusable(folder, &error))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") || !path.is_file() {
            continue;
        }
        let sql = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name = name.ok_or_else(|| unusable(&path, &"the name is not UTF-8"))?;
        migrations.push(Migration { checksum: hex::encode(Sha256::digest(sql.as_bytes())), name, sql });
    }
    if migrations.is_empty() {
        return Err(unusable(folder, &"there is no .sql file in it"));
    }
    migrations.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(migrations)
}
