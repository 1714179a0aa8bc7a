//! Walls that the compiler can't see: the sealed query, and modules that must not know each other.

use super::Finding;
use super::tree::{File, Tree};

const SEALED: &str = "crates/guard/src/sealed.rs";

/// Functions of the guard that may hand out a sealed query.
const MAKERS: [&str; 7] =
    ["open", "bind", "bind_lifted", "bind_typed", "bind_to_explain", "bind_operator", "attribute_query"];

/// Who makes queries of the operator's, and from what: a text of the configuration.
const OPERATOR: (&str, &str) = ("OperatorQuery::configured(", "crates/gateway/src/directories.rs");

/// Hands out queries that the guard never saw, for tests of the engine, behind a feature of this name.
const UNSEALED: (&str, &str) = ("crates/guard/src/unsealed.rs", "\"unsealed\"");

/// Front ends of the server. None imports another; the command line, which starts them, is imported by none.
const FRONTS: [&str; 6] = ["http/api", "http/v1", "pgwire", "mcp", "login", "cli"];

/// What the pure crates do without. Clock, randomness and IO come in as arguments.
const IMPURE: [&str; 9] = [
    "std::fs", "std::net", "std::env", "std::process", "std::thread", "SystemTime", "Instant::now",
    "async fn", "tokio::",
];

const PURE: [&str; 3] = ["crates/policy/src/", "crates/guard/src/", "crates/semantic/src/"];

/// Nothing outside the guard may make a `GuardedQuery`: its fields are private, nothing derives or implements a way to
/// make one, and only the functions in [`MAKERS`] hand one out.
pub(super) fn guarded_query_is_sealed(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(SEALED) else {
        return vec![Finding::new(SEALED, 0, "is missing: where is GuardedQuery?")];
    };
    let mut findings = derives_and_fields(file);
    for (file, source) in tree.rust().filter(|(file, _)| file.path.starts_with("crates/guard/src/")) {
        for (line, code) in source.shipped() {
            let opens = [
                "Default for GuardedQuery",
                "Deserialize<'de> for GuardedQuery",
                "> for GuardedQuery",
                "FromStr for GuardedQuery",
            ];
            if opens.iter().any(|way| code.contains(way)) {
                findings.push(Finding::new(
                    &file.path,
                    line,
                    "this would make a GuardedQuery without the guard",
                ));
            }
        }
        let text = source.code.join(" ");
        for signature in text.split("pub fn ").skip(1).filter_map(|after| after.split(['{', ';']).next()) {
            let name = signature.split(['(', '<']).next().unwrap_or("");
            let answer = signature.split("->").nth(1).unwrap_or("");
            let allowed = MAKERS.contains(&name) || file.path == UNSEALED.0;
            if answer.contains("GuardedQuery") && !allowed {
                findings.push(Finding::new(&file.path, 0, format!("pub fn {name} hands out a GuardedQuery")));
            }
        }
    }
    findings.extend(shipped_unsealed(tree));
    findings.extend(operator_queries_are_configured(tree));
    findings
}

/// One place makes a query of the operator's, and makes it of its configuration.
fn operator_queries_are_configured(tree: &Tree) -> Vec<Finding> {
    let (maker, place) = OPERATOR;
    let mut findings = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| !file.path.starts_with("crates/guard/")) {
        for (line, code) in source.shipped().filter(|(_, code)| code.contains(maker)) {
            let is_configured =
                file.path == place && code.contains("OperatorQuery::configured(&directory.query,");
            if !is_configured {
                let message = "a query of the operator's is made of a directory's configuration alone";
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

/// The feature that opens the seal is for tests: a manifest names it below `[dev-dependencies]` or not at all, and it
/// stands before the module that it is for.
fn shipped_unsealed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let mut section = "";
        for (index, line) in file.text.lines().enumerate() {
            if line.starts_with('[') {
                section = line;
            }
            if line.contains(UNSEALED.1) && section != "[dev-dependencies]" {
                let message = "the feature unsealed is for dev-dependencies alone";
                findings.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    if let Some(lib) = tree.file("crates/guard/src/lib.rs")
        && lib.text.contains("pub mod unsealed")
        && !lib.text.contains("#[cfg(feature = \"unsealed\")]\npub mod unsealed")
    {
        findings.push(Finding::new(&lib.path, 0, "pub mod unsealed is not behind its feature"));
    }
    findings
}

fn derives_and_fields(file: &File) -> Vec<Finding> {
    let code = file.rust.as_ref().map(|source| source.code.join("\n")).unwrap_or_default();
    let Some((before, after)) = code.split_once("pub struct GuardedQuery") else {
        return vec![Finding::new(&file.path, 0, "GuardedQuery is not here")];
    };
    let mut findings = Vec::new();
    let attributes = before.rsplit_once(['}', ';']).map_or(before, |(_, attributes)| attributes);
    for derive in ["Default", "Deserialize"] {
        if attributes.contains(derive) {
            findings.push(Finding::new(
                &file.path,
                0,
                format!("GuardedQuery derives {derive}: anyone could make one"),
            ));
        }
    }
    let fields = after.split('}').next().unwrap_or("");
    if fields.contains("pub") {
        findings.push(Finding::new(&file.path, 0, "a field of GuardedQuery is not private"));
    }
    findings
}

/// Where operator work begins: the type says that no request asked for it.
const OPERATOR_COMMANDS: &str = "crates/engine/src/operator.rs";

/// Only the command line says that an operator gave a command, and nothing else makes that of nothing.
pub(super) fn operator_work_is_sealed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        let is_command_line = file.path.starts_with("crates/server/src/cli/");
        for (line, code) in source.shipped() {
            let makes = code.contains("OperatorCommand::given") || code.contains("OperatorCommand(");
            if makes && !is_command_line && file.path != OPERATOR_COMMANDS {
                findings.push(Finding::new(
                    &file.path,
                    line,
                    "only the command line gives operators' commands",
                ));
            }
            if ["Default for OperatorCommand", "> for OperatorCommand"].iter().any(|way| code.contains(way)) {
                findings.push(Finding::new(
                    &file.path,
                    line,
                    "this would make an operator's command of nothing",
                ));
            }
        }
    }
    let code =
        tree.file(OPERATOR_COMMANDS).and_then(|file| file.rust.as_ref()).map(|source| source.code.join("\n"));
    let code = code.unwrap_or_default();
    let before = code.split_once("pub struct OperatorCommand(())").map(|(before, _)| before);
    let attributes = before.map(|before| before.rsplit_once(['}', ';']).map_or(before, |(_, after)| after));
    match attributes {
        Some(attributes) if !["Default", "Deserialize", "Clone"].iter().any(|it| attributes.contains(it)) => {
        }
        Some(_) => {
            findings.push(Finding::new(OPERATOR_COMMANDS, 0, "OperatorCommand derives a way to make one"));
        }
        None => findings.push(Finding::new(
            OPERATOR_COMMANDS,
            0,
            "is not there: where is OperatorCommand, with its private field?",
        )),
    }
    findings
}

pub(super) fn walls_inside_crates(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        if PURE.iter().any(|pure| file.path.starts_with(pure)) {
            for (line, code) in source.shipped() {
                let found = IMPURE.iter().filter(|word| code.contains(**word));
                findings.extend(
                    found.map(|word| Finding::new(&file.path, line, format!("{word} in a pure crate"))),
                );
            }
        }
        for (line, code) in source.numbered() {
            if let Some(other) = front_that_is_reached(&file.path, code) {
                let message = format!("front ends never import each other: this reaches {other}");
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

fn front_that_is_reached(path: &str, code: &str) -> Option<&'static str> {
    let own = path.strip_prefix("crates/server/src/")?;
    let stands_in = |front: &str| own.strip_prefix(front).is_some_and(|rest| rest.starts_with(['/', '.']));
    let here = FRONTS.iter().find(|front| stands_in(front))?;
    FRONTS.iter().copied().filter(|front| front != here && *here != "cli").find(|front| {
        let path = front.replace('/', "::");
        let sibling = path.rsplit("::").next().unwrap_or(&path);
        code.contains(&format!("crate::{path}::"))
            || front.contains('/') && here.contains('/') && code.contains(&format!("super::{sibling}::"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::sample;
    use super::*;

    const GOOD: &str = "#[derive(Debug)]\npub struct GuardedQuery {\n    sql: String,\n}\n";

    #[test]
    fn an_opened_seal_is_found() {
        let broken = |text: &str| guarded_query_is_sealed(&sample(SEALED, text)).len();
        assert_eq!(broken(GOOD), 0);
        assert_eq!(broken(&GOOD.replace("Debug", "Debug, Default")), 1);
        assert_eq!(broken(&GOOD.replace("Debug", "serde::Deserialize")), 1);
        assert_eq!(broken(&GOOD.replace("sql:", "pub(crate) sql:")), 1);
        assert_eq!(broken(&format!("{GOOD}impl Default for GuardedQuery {{}}")), 1);
        assert_eq!(broken(&format!("{GOOD}impl From<String> for GuardedQuery {{}}")), 1);
        assert_eq!(broken(&format!("{GOOD}pub fn raw(sql: String) -> GuardedQuery {{}}")), 1);
        let with = |path: &str, text: &str| {
            let mut tree = sample(SEALED, GOOD);
            tree.add(path, text);
            guarded_query_is_sealed(&tree).len()
        };
        let unsealed = "guard = { features = [\"unsealed\"] }";
        assert_eq!(with("crates/engine/Cargo.toml", &format!("[dev-dependencies]\n{unsealed}")), 0);
        assert_eq!(with("crates/engine/Cargo.toml", &format!("[dependencies]\n{unsealed}")), 1);
        assert_eq!(with("crates/guard/src/lib.rs", "pub mod unsealed;"), 1);
        assert_eq!(with("crates/guard/src/unsealed.rs", "pub fn fenced() -> GuardedQuery {}"), 0);
        assert_eq!(broken("struct Other;"), 1);
        assert_eq!(guarded_query_is_sealed(&Tree::default()).len(), 1);
    }

    #[test]
    fn an_operators_command_from_elsewhere_is_found() {
        const GOOD: &str = "#[derive(Debug)]\npub struct OperatorCommand(());\n";
        let with = |sealed: &str, path: &str, text: &str| {
            let mut tree = sample(OPERATOR_COMMANDS, sealed);
            tree.add(path, text);
            operator_work_is_sealed(&tree).len()
        };
        let given = "fn f() { OperatorCommand::given(); }";
        assert_eq!(with(GOOD, "crates/server/src/cli/tenants.rs", given), 0);
        assert_eq!(with(GOOD, "crates/server/src/http/v1/tenants.rs", given), 1);
        assert_eq!(with(GOOD, "crates/gateway/src/tenancy.rs", given), 1);
        assert_eq!(with(GOOD, "crates/engine/src/lib.rs", "fn f() { OperatorCommand(()); }"), 1);
        assert_eq!(with(GOOD, "crates/gateway/src/a.rs", "impl From<()> for OperatorCommand {}"), 1);
        assert_eq!(with(&GOOD.replace("Debug", "Debug, Clone"), "crates/gateway/src/a.rs", ""), 1);
        assert_eq!(with("", "crates/gateway/src/a.rs", ""), 1);
    }

    #[test]
    fn front_ends_that_meet_are_found() {
        let found = |path: &str, text: &str| walls_inside_crates(&sample(path, text)).len();
        assert_eq!(found("crates/server/src/http/api/users.rs", "use crate::http::v1::users;"), 1);
        assert_eq!(found("crates/server/src/http/v1/mod.rs", "use super::api::users;"), 1);
        assert_eq!(found("crates/server/src/http/v1/users.rs", "use crate::cli::Table;"), 1);
        assert_eq!(found("crates/server/src/http/v1/users.rs", "use crate::http::call::Caller;"), 0);
        assert_eq!(found("crates/server/src/cli/serve.rs", "use crate::http::v1::openapi;"), 0);
    }

    #[test]
    fn io_in_a_pure_crate_is_found() {
        let found = |path: &str, text: &str| walls_inside_crates(&sample(path, text)).len();
        assert_eq!(found("crates/policy/src/a.rs", "use std::fs;"), 1);
        assert_eq!(found("crates/policy/src/a.rs", "#[cfg(test)]\nmod tests {\n use std::fs;\n}"), 0);
        assert_eq!(found("crates/store/src/a.rs", "use std::fs;"), 0);
    }
}
