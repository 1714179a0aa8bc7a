//! `cargo xtask setup`: installs what the gates and tests need and this machine lacks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::repository::{cargo, find, is_installed, program, root, run as start, target};

/// A cargo subcommand that we use, at the version that we know.
pub(crate) struct CargoTool {
    package: &'static str,
    version: &'static str,
    /// Features that need a TLS stack, and so minutes more to compile, are left out.
    flags: &'static [&'static str],
}

pub(crate) const CARGO_DENY: CargoTool = CargoTool { package: "cargo-deny", version: "0.20.2", flags: &[] };
pub(crate) const CARGO_MACHETE: CargoTool =
    CargoTool { package: "cargo-machete", version: "0.9.2", flags: &[] };
pub(crate) const CARGO_NEXTEST: CargoTool =
    CargoTool { package: "cargo-nextest", version: "0.9.151", flags: &["--no-default-features"] };

pub(crate) fn run() -> Result<(), String> {
    system_packages()?;
    for tool in [&CARGO_NEXTEST, &CARGO_DENY, &CARGO_MACHETE] {
        cargo_tool(tool)?;
    }
    let python = python()?;
    println!("ready: PostgreSQL at {}, Python at {}", postgres_programs()?.display(), python.display());
    Ok(())
}

/// Installs a cargo subcommand, unless there is one of that name. Without optimization: it compiles in half the time,
/// and none of them runs long.
pub(crate) fn cargo_tool(tool: &CargoTool) -> Result<(), String> {
    if is_installed(tool.package) {
        return Ok(());
    }
    eprintln!("installing {} {} (once; some minutes)", tool.package, tool.version);
    let package = format!("{}@{}", tool.package, tool.version);
    let mut install = cargo(&["install", "--locked", "--debug", "--quiet", &package]);
    // Where it compiles is its own business: our target directory stays free of it.
    install.args(tool.flags).env_remove("CARGO_TARGET_DIR");
    start(install)
}

/// PostgreSQL's and MariaDB's server programs, Python's venv, Node.js and Chromium, from the distribution's packages.
pub(crate) fn system_packages() -> Result<(), String> {
    let mut missing = Vec::new();
    if postgres_programs().is_err() {
        missing.push("postgresql");
    }
    // The tests' PostgreSQL is found by pg_config.
    if !is_installed("pg_config") {
        missing.push("libpq-dev");
    }
    // Its directory of server programs is not on everybody's path.
    if !is_installed("mariadbd") && !Path::new("/usr/sbin/mariadbd").is_file() {
        missing.push("mariadb-server");
    }
    if !is_installed("python3") {
        missing.push("python3");
    }
    // The OpenID provider that the suites sign in at is a program for Node.js.
    if !is_installed("node") {
        missing.push("nodejs");
    }
    if !is_installed("npm") {
        missing.push("npm");
    }
    // And what somebody signs in with.
    if !is_installed("chromium") {
        missing.push("chromium");
    }
    if !has_venv_module() {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !is_installed("apt-get") || !is_root() {
        return Err(format!(
            "please install what these Debian packages hold, then try again: {}",
            missing.join(" ")
        ));
    }
    eprintln!("installing {}", missing.join(" "));
    apt(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(missing);
    apt(&install)
}

/// The Python of our virtual environment, made and filled when it is not up to date.
pub(crate) fn python() -> Result<PathBuf, String> {
    let wanted = fs::read_to_string(root().join("tests/python/requirements.txt"))
        .map_err(|error| format!("tests/python/requirements.txt can't be read: {error}"))?;
    let environment = target().join("python").join("venv");
    let python = environment.join("bin").join("python");
    let stamp = environment.join("requirements.installed");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    system_packages()?;
    eprintln!("making a Python environment in {}", environment.display());
    let mut make = program("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    start(make)?;
    let mut install = program(&python);
    install.args([
        "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r",
        "tests/python/requirements.txt",
    ]);
    start(install)?;
    fs::write(&stamp, wanted).map_err(|error| format!("{} can't be written: {error}", stamp.display()))?;
    Ok(python)
}

/// The directory with initdb and postgres.
pub(crate) fn postgres_programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").is_file())
        .collect();
    found.sort();
    let packaged = found.pop().map(|(_, programs)| programs);
    let on_path = || find("initdb").and_then(|file| file.parent().map(Path::to_path_buf));
    packaged.or_else(on_path).ok_or_else(|| "PostgreSQL's initdb is not installed".to_owned())
}

/// Whether somebody has fetched the advisory database to where cargo-deny keeps it: a clone. The lock file beside it is
/// there without one.
pub(crate) fn has_advisory_database() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let kept = home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    kept.into_iter().flatten().flatten().any(|entry| entry.path().join(".git").is_dir())
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = program("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    start(command)
}

fn has_venv_module() -> bool {
    let mut command = program("python3");
    command.args(["-c", "import venv, ensurepip"]).stderr(std::process::Stdio::null());
    start(command).is_ok()
}

fn is_root() -> bool {
    let mut command = program("id");
    command.arg("-u");
    crate::repository::output_of(command).is_ok_and(|id| id.trim() == "0")
}
