//! Finding the server's binaries, running them as an unprivileged user, and making a database directory quickly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server's binaries, and the user they run as: database servers refuse to run as root.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// Short, for names of directories.
    product: &'static str,
    binaries: PathBuf,
    version: String,
    run_as: Option<(u32, u32)>,
}

impl Installation {
    /// `user` is who runs it where the tests are root's.
    pub(crate) fn of(product: &'static str, binaries: impl Into<PathBuf>, version: &str, user: &str) -> Self {
        let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let run_as = root.then(|| user_ids(user).or_else(|| user_ids("nobody")).unwrap_or((65_534, 65_534)));
        let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
        Self { product, binaries: binaries.into(), version: version.chars().map(word).collect(), run_as }
    }

    pub(crate) fn command(&self, program: &str, death_signal: Option<&str>) -> Command {
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

    /// A directory whose `data` is as `make` makes it in an empty place. Cached: making takes seconds, and a copy a few
    /// milliseconds.
    pub(crate) fn directory_with_data(&self, make: impl FnOnce(&Path)) -> tempfile::TempDir {
        self.sweep();
        let template = self.template(make);
        let directory = self.new_directory();
        copy_tree(&template, &directory.path().join("data"), self);
        directory
    }

    fn prefix(&self) -> String {
        format!("ringfence-{}-", self.product)
    }

    fn new_directory(&self) -> tempfile::TempDir {
        let directory = tempfile::Builder::new()
            .prefix(&format!("{}{}-", self.prefix(), std::process::id()))
            .tempdir()
            .expect("the temporary directory is writable");
        self.give(directory.path());
        directory
    }

    /// Removes what servers of killed test processes left behind.
    fn sweep(&self) {
        let prefix = self.prefix();
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) =
                name.to_str().and_then(|name| name.strip_prefix(prefix.as_str())?.split('-').next())
            else {
                continue;
            };
            if !Path::new("/proc").join(pid).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn template(&self, make: impl FnOnce(&Path)) -> PathBuf {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testkit");
        let template = cache.join(format!("{}-1-{}", self.product, self.version));
        if template.exists() {
            return template;
        }
        fs::create_dir_all(&cache).expect("the target directory is writable");
        let workshop = self.new_directory();
        let data = workshop.path().join("data");
        make(&data);
        let staged =
            tempfile::Builder::new().prefix("staged-").tempdir_in(&cache).expect("the cache is writable");
        let copy = staged.path().join("data");
        copy_tree(&data, &copy, &Self { run_as: None, ..self.clone() });
        // Whoever renames first wins; a loser's rename fails because the winner's directory is not empty.
        if let Err(error) = fs::rename(&copy, &template) {
            assert!(template.exists(), "the template can't be put in place: {error}");
        }
        template
    }

    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.run_as {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may give a file away");
        }
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the program can be run");
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} failed: {told}{failed}", command.get_program().display());
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
