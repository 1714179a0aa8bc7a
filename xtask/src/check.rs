//! `cargo xtask check`: the gates, the same here and in CI. The quickest come first.

use std::path::Path;

use crate::repository::{cargo, program, root, run as start, target};
use crate::steps::{Outcome, Steps, passed};
use crate::test::LAKE;
use crate::{edges, mutants, setup, tidy};

/// What the two pure crates must do without: there a panic would be a way to stop a gateway with a statement.
const STRICT_LINTS: [&str; 6] = [
    "clippy::unwrap_used",
    "clippy::expect_used",
    "clippy::panic",
    "clippy::indexing_slicing",
    "clippy::arithmetic_side_effects",
    "clippy::string_slice",
];

pub(crate) fn run(fast: bool, keep_going: bool) -> Result<(), String> {
    let mut steps = Steps::new(keep_going);
    steps.run("tidy", || tidy::run().map(Outcome::Passed));
    steps.run("format", || start(cargo(&["fmt", "--all", "--check"])).map(passed));
    steps.run("crate edges", || edges::run().map(Outcome::Passed));
    steps.run("mutants apply", || mutants::check().map(Outcome::Passed));
    steps.run("lints", || {
        start(cargo(&[
            "clippy", "--quiet", "--workspace", "--all-targets", "--features", LAKE, "--", "-D", "warnings",
        ]))
        .map(passed)
    });
    steps.run("lints of policy and guard", strict_lints);
    steps.run("docs", || if fast { left_out() } else { docs() });
    steps.run("licences and duplicates", || if fast { left_out() } else { licences() });
    steps.run("unused dependencies", || if fast { left_out() } else { unused_dependencies() });
    steps.run("Python", || python(fast));
    steps.finish()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a step stands")]
fn left_out() -> Result<Outcome, String> {
    Ok(Outcome::Skipped("--fast".to_owned()))
}

fn strict_lints() -> Result<Outcome, String> {
    let mut command = cargo(&[
        "clippy", "--quiet", "-p", "ringfence-policy", "-p", "ringfence-guard", "--lib", "--", "-D",
        "warnings",
    ]);
    for lint in STRICT_LINTS {
        command.args(["-D", lint]);
    }
    start(command).map(passed)
}

fn docs() -> Result<Outcome, String> {
    let mut command = cargo(&[
        "doc", "--quiet", "--workspace", "--features", LAKE, "--no-deps", "--document-private-items",
    ]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    start(command).map(passed)
}

fn licences() -> Result<Outcome, String> {
    setup::cargo_tool(&setup::CARGO_DENY)?;
    start(cargo(&["deny", "--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    if !setup::has_advisory_database() {
        return Ok(Outcome::Passed(
            "advisories left out: there is no advisory database on this machine".to_owned(),
        ));
    }
    start(cargo(&["deny", "--offline", "check", "advisories"])).map(passed)
}

fn unused_dependencies() -> Result<Outcome, String> {
    setup::cargo_tool(&setup::CARGO_MACHETE)?;
    start(cargo(&["machete"])).map(passed)
}

fn python(fast: bool) -> Result<Outcome, String> {
    let python = setup::python()?;
    // The client is for older Pythons than the suites, so that it has settings of its own.
    for (settings, paths) in [
        ("tests/python/pyproject.toml", &["tests/python", "benches"][..]),
        ("clients/python/pyproject.toml", &["clients/python"]),
    ] {
        lint_python(&python, &root().join(settings), paths, fast)?;
    }
    let note = if fast { "without types: --fast" } else { "" };
    Ok(Outcome::Passed(note.to_owned()))
}

fn lint_python(python: &Path, settings: &Path, paths: &[&str], fast: bool) -> Result<(), String> {
    for rule in [&["format", "--check"][..], &["check"]] {
        let mut ruff = program(python);
        ruff.args(["-m", "ruff"])
            .args(rule)
            .args(["--quiet", "--no-cache", "--config"])
            .arg(settings)
            .args(paths);
        start(ruff)?;
    }
    if fast {
        return Ok(());
    }
    let mut types = program(python);
    types.args(["-m", "mypy", "--cache-dir"]).arg(target().join("python/mypy"));
    types.arg("--config-file").arg(settings).args(paths);
    start(types)
}
