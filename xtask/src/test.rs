//! `cargo xtask test`: installs what is missing, then runs every test, in Rust and in Python.

use std::fs;
use std::process::Command;

use crate::repository::{cargo, program, run as start, target};
use crate::setup;
use crate::steps::{Outcome, Steps, passed};

/// The newcomer's build leaves it out; everything that is tested, linted and released has it (docs/decisions/0019-the-lake.md).
pub(crate) const LAKE: &str = "ringfence-server/lake";

/// Python suites: the name in the table, and the file.
const PYTHON_SUITES: &[(&str, &str)] = &[
    ("notebook", "test_notebook.py"),
    ("SDK: queries", "test_sdk_queries.py"),
    ("SDK: catalogs", "test_sdk_catalog.py"),
    ("SDK: users", "test_sdk_users.py"),
    ("SDK: access rules", "test_sdk_access_rules.py"),
    ("SDK: MySQL", "test_sdk_mysql.py"),
    ("OpenAPI", "test_openapi.py"),
    ("MCP", "test_mcp.py"),
    ("models: document 001", "models/test_document.py"),
    ("models: requests", "models/test_requests.py"),
    ("models: isolation", "models/test_isolation.py"),
    ("models: many rows", "models/test_many.py"),
    ("models: approvals", "models/test_approvals.py"),
    ("cubes: documents 002 and 003", "cubes/test_document.py"),
    ("cubes: kept answers", "cubes/test_cache.py"),
    ("cubes: isolation", "cubes/test_isolation.py"),
    ("cubes: reference", "cubes/test_reference.py"),
    ("OpenID: bearer tokens", "oidc/test_bearer.py"),
    ("OpenID: browsers", "oidc/test_browser.py"),
    ("published endpoints", "endpoints/test_endpoints.py"),
    ("Python client: core", "client/test_core.py"),
    ("Python client: frames", "client/test_frames.py"),
    ("Python client", "client/test_client.py"),
    ("Python client: people", "client/test_people.py"),
    ("Python client: cubes", "client/test_cubes.py"),
    ("Python client: lakes", "client/test_lake.py"),
    ("Python client: documents 003 and 002", "client/test_documents.py"),
    ("tenants: isolation", "tenants/test_isolation.py"),
    ("tenants: life", "tenants/test_life.py"),
    ("tenants: databases", "tenants/test_databases.py"),
    ("sign-in: document 004", "signin/test_document.py"),
    ("sign-in: walls", "signin/test_walls.py"),
    ("sign-in: two nodes", "signin/test_nodes.py"),
    ("sign-in: many users", "signin/test_many_users.py"),
    ("lakes", "lake/test_lake.py"),
    ("lakes: guard corpus", "lake/test_corpus.py"),
    ("crash", "test_crash.py"),
    ("guard corpus: harness", "guard_corpus/test_harness.py"),
    ("guard corpus", "guard_corpus/test_guard_corpus.py"),
    ("what the guard prints", "guard_printed/test_guard_printed.py"),
    ("oracle: short runs", "guard_oracle/test_short_runs.py"),
    ("TPC-H and TPC-DS shapes", "guard_tpch/test_guard_tpch.py"),
    ("two worlds", "guard_http/test_two_worlds.py"),
    ("nasty texts", "guard_http/test_nasty_texts.py"),
    ("a pool of one", "guard_http/test_pool_of_one.py"),
];

pub(crate) fn run(fast: bool, keep_going: bool) -> Result<(), String> {
    let mut steps = Steps::new(keep_going);
    steps.run("set-up", || setup::system_packages().map(passed));
    let mut with_nextest = false;
    steps.run("test runner", || {
        // Without it the tests run under `cargo test`: the same tests, in one process per binary.
        with_nextest = setup::cargo_tool(&setup::CARGO_NEXTEST).is_ok();
        Ok(Outcome::Passed(if with_nextest {
            String::new()
        } else {
            "cargo test, for want of nextest".to_owned()
        }))
    });
    // One build with one set of features makes the binary too, so that nothing is compiled twice.
    steps.run("build", || {
        start(cargo(&["build", "--workspace", "--all-targets", "--features", LAKE])).map(passed)
    });
    steps.run("Rust tests", || {
        if with_nextest {
            start(cargo(&["nextest", "run", "--workspace", "--features", LAKE, "--no-fail-fast"])).map(passed)
        } else {
            start(cargo(&["test", "--workspace", "--features", LAKE, "--all-targets", "--no-fail-fast"]))
                .map(passed)
        }
    });
    steps.run("doc tests", || {
        start(cargo(&["test", "--workspace", "--features", LAKE, "--doc", "--quiet"])).map(passed)
    });
    for (name, file) in PYTHON_SUITES {
        steps.run(name, || python_suite(file, fast));
    }
    steps.finish()
}

fn python_suite(file: &str, fast: bool) -> Result<Outcome, String> {
    let python = setup::python()?;
    let report = target().join("python").join(format!("{}.xml", file.replace('/', ".")));
    let mut pytest = program(python);
    pytest.args(["-m", "pytest", "-c", "tests/python/pyproject.toml", "--rootdir", "tests/python"]);
    pytest.arg(format!("tests/python/{file}"));
    pytest.arg("--junit-xml").arg(&report);
    pytest.env("RINGFENCE_BIN", target().join("debug").join("ringfence"));
    // The build of all targets made it.
    pytest.env("GUARDED", target().join("debug").join("examples").join("guarded"));
    pytest.env("POSTGRES_PROGRAMS", setup::postgres_programs()?);
    pytest.env("PYTHONDONTWRITEBYTECODE", "1");
    if fast {
        pytest.env("RINGFENCE_FAST", "1");
    }
    run_counted(pytest, &report)
}

/// Runs pytest and reads the counts from its report for the table.
fn run_counted(pytest: Command, report: &std::path::Path) -> Result<Outcome, String> {
    start(pytest)?;
    let counts = fs::read_to_string(report).ok().and_then(|xml| {
        let tests: u32 = attribute(&xml, "tests")?.parse().ok()?;
        let skipped: u32 = attribute(&xml, "skipped")?.parse().ok()?;
        Some(format!("{} tests, {skipped} skipped", tests.saturating_sub(skipped)))
    });
    Ok(Outcome::Passed(counts.unwrap_or_default()))
}

fn attribute<'xml>(xml: &'xml str, name: &str) -> Option<&'xml str> {
    let (_, after) = xml.split_once(&format!(" {name}=\""))?;
    after.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::attribute;

    #[test]
    fn counts_are_read_from_the_report() {
        let xml = r#"<testsuites><testsuite name="pytest" errors="0" skipped="2" tests="14">"#;
        assert_eq!(attribute(xml, "tests"), Some("14"));
        assert_eq!(attribute(xml, "skipped"), Some("2"));
        assert_eq!(attribute(xml, "missing"), None);
    }
}
