//! `cargo xtask wheel`: the Python client as a wheel, and whether it can be installed and used.

use std::fs;
use std::path::{Path, PathBuf};

use crate::repository::{program, root, run as start, target};
use crate::setup;

/// What is tried with the installed wheel: it is imported from there, and pytest finds its plugin.
const TRIED: &str = "\
import importlib.metadata, importlib.util, ringfence
assert ringfence.__version__ == importlib.metadata.version('ringfence'), ringfence.__version__
found = importlib.metadata.entry_points(group='pytest11')
assert any(plugin.value == 'ringfence.pytest_plugin' for plugin in found), list(found)
assert importlib.util.find_spec('ringfence').submodule_search_locations[0].count('site-packages') == 1
import ringfence.aio, ringfence.frames
print('ringfence', ringfence.__version__)";

pub(crate) fn run() -> Result<(), String> {
    let python = setup::python()?;
    let wheels = target().join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels)
            .map_err(|error| format!("{} can't be emptied: {error}", wheels.display()))?;
    }
    // pip makes an environment with the build backend by itself.
    let mut build = program(&python);
    build.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir"]);
    build.arg(&wheels).arg(root().join("clients/python"));
    start(build)?;
    let wheel = only_wheel(&wheels)?;
    try_out(&wheel)?;
    println!("{}", wheel.display());
    Ok(())
}

fn only_wheel(wheels: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(wheels).map_err(|error| format!("{}: {error}", wheels.display()))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_wheel).collect();
    match (found.pop(), found.is_empty()) {
        (Some(wheel), true) => Ok(wheel),
        _ => Err(format!("there is not one wheel in {}", wheels.display())),
    }
}

/// Installs it with what it depends on, where nothing else is.
fn try_out(wheel: &Path) -> Result<(), String> {
    let environment = target().join("python").join("wheel");
    let mut make = program("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    start(make)?;
    let python = environment.join("bin").join("python");
    let mut install = program(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).arg(wheel);
    start(install)?;
    let mut check = program(&python);
    // Not from the repository's own sources.
    check.args(["-I", "-c", TRIED]);
    start(check)
}
