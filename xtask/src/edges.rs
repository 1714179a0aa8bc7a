//! The allowed edges between our crates (ARCHITECTURE.md, "The floors"), held against what cargo resolves.

use crate::repository::{cargo, output_of};

/// What each crate may depend on, of our own.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("policy", &[]),
    ("guard", &["policy"]),
    ("semantic", &["policy"]),
    ("store", &["policy"]),
    ("engine", &["policy", "guard"]),
    ("gateway", &["policy", "guard", "semantic", "store", "engine"]),
    // Behind the server's feature `lake`.
    ("lake", &["policy", "guard", "engine"]),
    ("server", &["policy", "store", "engine", "gateway", "lake"]),
    ("testkit", &[]),
    ("floors", &["policy", "guard"]),
    ("xtask", &[]),
];

/// What the pure floors must never reach, not even through others: IO, async and drivers.
const IMPURE: [&str; 9] =
    ["tokio", "async-std", "mio", "socket2", "hyper", "reqwest", "rusqlite", "tokio-postgres", "mysql_async"];

/// The crates that are pure.
const PURE: [&str; 3] = ["policy", "guard", "semantic"];

pub(crate) fn run() -> Result<String, String> {
    let direct = output_of(cargo(&[
        "tree", "--workspace", "--depth", "1", "--edges", "normal,build", "--prefix", "depth", "--format",
        " {p}",
    ]))?;
    let mut faults = forbidden_edges(&direct);
    for pure in PURE.iter().filter(|name| direct.contains(&format!("0 ringfence-{name} "))) {
        let package = format!("ringfence-{pure}");
        let tree = output_of(cargo(&["tree", "-p", &package, "--edges", "normal", "--prefix", "none"]))?;
        faults.extend(impure_dependencies(pure, &tree));
    }
    if faults.is_empty() {
        Ok(format!("{} crates", direct.lines().filter(|line| line.starts_with('0')).count()))
    } else {
        Err(faults.join("\n"))
    }
}

/// Reads `cargo tree --prefix depth`: a line that begins with 0 is a crate of ours, the lines with 1 are what it uses.
fn forbidden_edges(tree: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut of = String::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(package)) = (words.next(), words.next()) else {
            continue;
        };
        let name = short(package);
        if depth == "0" {
            if !ALLOWED.iter().any(|(known, _)| *known == name) {
                faults.push(format!(
                    "{package} is not a crate that xtask/src/edges.rs knows: say what it may use"
                ));
            }
            name.clone_into(&mut of);
        } else if ALLOWED.iter().any(|(known, _)| *known == name && package.starts_with("ringfence-")) {
            let allowed = ALLOWED.iter().find(|(known, _)| *known == of).map_or(&[][..], |(_, uses)| *uses);
            if !allowed.contains(&name) {
                faults.push(format!("{of} may not depend on {name}: see \"The floors\" in ARCHITECTURE.md"));
            }
        }
    }
    faults
}

fn impure_dependencies(of: &str, tree: &str) -> Vec<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| IMPURE.contains(name))
        .map(|name| format!("{of} is pure and may not reach {name}"))
        .collect()
}

fn short(package: &str) -> &str {
    package.strip_prefix("ringfence-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_upwards_is_found() {
        let tree = "0 ringfence-guard v0.1.0 (/x)\n1 ringfence-policy v0.1.0 (/x)\n1 serde v1.0.0\n";
        assert_eq!(forbidden_edges(tree), Vec::<String>::new());
        let tree = "0 ringfence-guard v0.1.0 (/x)\n1 ringfence-engine v0.1.0 (/x)\n";
        assert_eq!(forbidden_edges(tree).len(), 1);
        let tree = "0 ringfence-server v0.1.0 (/x)\n1 ringfence-testkit v0.1.0 (/x)\n";
        assert_eq!(forbidden_edges(tree).len(), 1);
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert_eq!(forbidden_edges("0 ringfence-extras v0.1.0 (/x)\n").len(), 1);
    }

    #[test]
    fn io_below_the_pure_floors_is_found() {
        assert_eq!(
            impure_dependencies("guard", "ringfence-guard v0.1.0\nsqlparser v0.62.0\nmio v1.0.0\n").len(),
            1
        );
        assert!(impure_dependencies("guard", "ringfence-guard v0.1.0\nsqlparser v0.62.0\n").is_empty());
    }
}
