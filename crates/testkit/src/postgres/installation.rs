//! Finding the server's binaries, running them as an unprivileged user, and making a database directory quickly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DIRECTORY_PREFIX: &str = "ringfence-pg-";

/// Only the socket, which lies in a directory closed to others, is trusted.
const HBA: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// The server's binaries, and the user they run as: `PostgreSQL` refuses to run as root.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    binaries: PathBuf,
    version: String,
    run_as: Option<(u32, u32)>,
}

impl Installation {
    pub(super) fn find() -> Self {
        let ask = |flag: &str| {
            let output = Command::new("pg_config").arg(flag).output().expect("pg_config is installed");
            String::from_utf8(output.stdout).expect("pg_config speaks UTF-8").trim().to_owned()
        };
        let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let run_as =
            root.then(|| user_ids("postgres").or_else(|| user_ids("nobody")).unwrap_or((65_534, 65_534)));
        Self {
            binaries: ask("--bindir").into(),
            version: ask("--version").replace([' ', '/', '(', ')'], "_"),
            run_as,
        }
    }

    pub(super) fn command(&self, program: &str, death_signal: Option<&str>) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = self.run_as {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
        }
        if let Some(signal) = death_signal {
            command.arg(format!("--pdeathsig={signal}"));
        }
        command.arg(self.binaries.join(program)).env_remove("PGPORT").env_remove("PGDATA").env("LC_ALL", "C");
        command
    }

    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.run_as {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may give a file away");
        }
    }
}

/// Finds the server and copies a database directory for it.
pub(super) fn prepare() -> (Installation, tempfile::TempDir) {
    let installation = Installation::find();
    sweep();
    let template = template(&installation);
    let directory = new_directory(&installation);
    copy_tree(&template, &directory.path().join("data"), &installation);
    (installation, directory)
}

fn new_directory(installation: &Installation) -> tempfile::TempDir {
    let directory = tempfile::Builder::new()
        .prefix(&format!("{DIRECTORY_PREFIX}{}-", std::process::id()))
        .tempdir()
        .expect("the temporary directory is writable");
    installation.give(directory.path());
    directory
}

/// Removes what servers of killed test processes left behind.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(DIRECTORY_PREFIX)?.split('-').next())
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A database directory as initdb makes it, cached: initdb takes a second or more and a copy a few milliseconds.
fn template(installation: &Installation) -> PathBuf {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testkit");
    let template = cache.join(format!("initdb-1-{}", installation.version));
    if template.exists() {
        return template;
    }
    fs::create_dir_all(&cache).expect("the target directory is writable");
    let workshop = new_directory(installation);
    let data = workshop.path().join("data");
    let mut initdb = installation.command("initdb", None);
    initdb
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    initdb.args(["--wal-segsize=1", "--no-instructions"]);
    let output = initdb.current_dir("/").output().expect("initdb can be run");
    assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(data.join("pg_hba.conf"), HBA).expect("the new database directory is writable");
    let staged =
        tempfile::Builder::new().prefix("staged-").tempdir_in(&cache).expect("the cache is writable");
    let copy = staged.path().join("data");
    copy_tree(&data, &copy, &Installation { run_as: None, ..installation.clone() });
    // Whoever renames first wins; a loser's rename fails because the winner's directory is not empty.
    if let Err(error) = fs::rename(&copy, &template) {
        assert!(template.exists(), "the template can't be put in place: {error}");
    }
    template
}

fn copy_tree(from: &Path, to: &Path, installation: &Installation) {
    fs::create_dir(to).expect("the target of a copy is new");
    let permissions = fs::metadata(from).expect("the source of a copy exists").permissions();
    fs::set_permissions(to, permissions).expect("an own directory takes permissions");
    installation.give(to);
    for entry in fs::read_dir(from).expect("a template is readable") {
        let entry = entry.expect("a template is readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a template is readable").is_dir() {
            copy_tree(&entry.path(), &target, installation);
        } else {
            fs::copy(entry.path(), &target).expect("a template can be copied");
            installation.give(&target);
        }
    }
}

fn user_ids(name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
