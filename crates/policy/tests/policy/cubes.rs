//! What cubes make of a policy: which restrictions are alternatives, and which joins hand them on.

use ringfence_policy::cubes::{CubeHierarchy, CubeJoin, relation_name};
use ringfence_policy::policy::Hierarchy;
use ringfence_policy::{ConnectionKind, Policy, RelationName};

const POLICY: &str = "
default: allow
hierarchies: { Place: [shops.country, shops.city] }
restrictions:
  A: [ { table: shops, column: country, in: [x] } ]
  B: [ { table: shops, column: city, in: [x] } ]
  C: [ { table: shops, column: size, in: [x] } ]
  D: [ { table: shops, column: owner, in: [x] } ]
  E: [ { table: sales, column: size, in: [x] } ]
joins:
  - { from: sales.shop, to: shops.id }
";

fn policy() -> Policy {
    Policy::load("p.yaml", POLICY, ConnectionKind::Postgresql).unwrap()
}

fn hierarchy(name: &str, columns: &[&str]) -> CubeHierarchy {
    let level = |written: &&str| {
        let (table, column) = written.split_once('.').unwrap();
        (RelationName::new("public", table), column.to_owned())
    };
    CubeHierarchy { name: name.to_owned(), levels: columns.iter().map(level).collect() }
}

fn join(from: &str, target: &str) -> CubeJoin {
    let name = |written: &str| {
        let (table, column) = written.split_once('.').unwrap();
        (RelationName::new("public", table), column.to_owned())
    };
    let ((from, column), (target, target_column)) = (name(from), name(target));
    CubeJoin { from, column, target, target_column }
}

/// The roles whose restrictions on a relation are alternatives, group by group.
fn groups(policy: &Policy, table: &str) -> Vec<String> {
    let restrictions = &policy.restrictions[&RelationName::new("public", table)];
    let mut groups: Vec<(&Hierarchy, String)> = Vec::new();
    for restriction in restrictions {
        match groups.iter_mut().find(|(hierarchy, _)| *hierarchy == &restriction.hierarchy) {
            Some((_, roles)) => roles.push_str(&restriction.role),
            None => groups.push((&restriction.hierarchy, restriction.role.clone())),
        }
    }
    let mut groups: Vec<String> = groups.into_iter().map(|(_, roles)| roles).collect();
    groups.sort();
    groups
}

#[test]
fn a_column_of_two_hierarchies_is_by_itself() {
    for (hierarchies, expected) in [
        (vec![], &["AB", "C", "D"][..]),
        // Columns that the document does not group.
        (vec![hierarchy("h", &["shops.size", "shops.owner"])], &["AB", "CD"]),
        // The same said twice, and what names none of them.
        (
            vec![
                hierarchy("h", &["shops.size", "shops.owner"]),
                hierarchy("i", &["shops.owner", "shops.size"]),
                hierarchy("j", &["sales.size"]),
            ],
            &["AB", "CD"],
        ),
        // Another cube that has one of them alone.
        (
            vec![hierarchy("h", &["shops.size", "shops.owner"]), hierarchy("i", &["shops.size"])],
            &["AB", "C", "D"],
        ),
        // A cube that does not say what the document says.
        (vec![hierarchy("h", &["shops.city"])], &["A", "B", "C", "D"]),
        (vec![hierarchy("h", &["shops.country", "shops.city"])], &["AB", "C", "D"]),
        // A cube that says more.
        (vec![hierarchy("h", &["shops.country", "shops.city", "shops.size"])], &["AB", "C", "D"]),
        // Names do not count: two hierarchies that share theirs are two.
        (vec![hierarchy("Place", &["shops.size"]), hierarchy("Place", &["shops.owner"])], &["AB", "C", "D"]),
    ] {
        let told = format!("{hierarchies:?}");
        let policy = policy().with_cube_hierarchies(&hierarchies);
        assert_eq!(groups(&policy, "shops"), expected, "{told}");
        assert_eq!(groups(&policy, "sales"), ["E"], "{told}");
    }
}

#[test]
fn joins_of_cubes_inherit_beside_the_policys_own() {
    let sales = RelationName::new("public", "sales");
    let joins =
        [join("sales.shop", "shops.id"), join("sales.shop", "shops.id"), join("shops.region", "regions.id")];
    let policy = policy().with_cube_joins(&joins).unwrap();
    let inherits: Vec<bool> = policy.joins[&sales].iter().map(|join| join.inherit).collect();
    assert_eq!(inherits, [false, true], "once, and what the document says stays");
    assert_eq!(policy.joins[&RelationName::new("public", "shops")].len(), 1);
}

#[test]
fn joins_that_go_in_a_circle_are_refused() {
    for joins in [
        vec![join("sales.shop", "sales.id")],
        vec![join("sales.shop", "shops.id"), join("shops.region", "sales.id")],
    ] {
        assert!(policy().with_cube_joins(&joins).is_err(), "{joins:?}");
    }
}

#[test]
fn tables_are_named_as_in_policies() {
    let name = |written| relation_name(written, "main").map(|name| name.to_string());
    assert_eq!(name("Restrictions example").as_deref(), Some("main.Restrictions example"));
    assert_eq!(name("a.b").as_deref(), Some("a.b"));
    assert_eq!(name("\"a.b\"").as_deref(), Some("main.a.b"));
    for written in ["", "a.b.c", "a.", "\"a"] {
        assert_eq!(name(written), None, "{written}");
    }
}
