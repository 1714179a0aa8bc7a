//! `prove`: the good policy is clean, and each mistake of `cases/prove/mistakes` is found, on both kinds of databases.

use std::path::{Path, PathBuf};

use ringfence_gateway::policies::{NewPolicy, PutPolicy};
use ringfence_gateway::prove::{Proof, ProveRequest, Proved, Verdict};
use ringfence_policy::ConnectionSpec;
use ringfence_store::policies::Expected;

use crate::sources::{database, file, indexed, password};
use crate::world::World;

/// A file of a mistake: what it is, what has to be found of it, and what it changes in the policy.
struct Mistake {
    name: String,
    finds: Vec<(String, String)>,
    changes: Vec<(String, String)>,
}

struct Place {
    world: World,
    key: String,
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/prove")
}

fn read(name: &str) -> String {
    let path = cases().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn mistakes() -> Vec<Mistake> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(cases().join("mistakes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Mistake::read(path)).collect()
}

impl Mistake {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (head, _) = text.split_once("<<<<").unwrap();
        let finds = head.lines().filter_map(|line| line.strip_prefix("finds: ")?.split_once(' '));
        let finds = finds.map(|(invariant, relation)| (invariant.to_owned(), relation.to_owned())).collect();
        let changes = text.split("<<<<\n").skip(1).map(|change| {
            let (old, new) = change.split_once("\n====\n").unwrap();
            let new = new.split_once("\n>>>>").unwrap().0;
            (old.to_owned(), new.to_owned())
        });
        Self { name, finds, changes: changes.collect() }
    }

    fn of(&self, policy: &str) -> String {
        self.changes.iter().fold(policy.to_owned(), |policy, (old, new)| {
            assert_eq!(policy.matches(old.as_str()).count(), 1, "{}: {old}", self.name);
            policy.replace(old.as_str(), new)
        })
    }
}

impl Place {
    async fn on_sqlite() -> Self {
        let world = World::new().await;
        let spec = file(&world, "shop.db", &read("world.sql"));
        Self::open(world, spec, None).await
    }

    async fn on_postgres(name: &str) -> Self {
        let owner = format!("{name}_owner");
        let spec = database(name, &owner, &read("world.sql")).await;
        Self::open(World::new().await, spec, Some(password(&owner))).await
    }

    async fn open(world: World, spec: ConnectionSpec, password: Option<String>) -> Self {
        let key = indexed(&world, "a-boss", &spec, password.as_deref()).await;
        Self { world, key }
    }

    async fn prove(&self, request: ProveRequest) -> Proof {
        let call = self.world.call_as("a-boss").await;
        match self.world.gateway.prove(&call, &self.key, request, &|_| ()).await.unwrap() {
            Proved::Proof(proof) => *proof,
            Proved::Invalid(problems) => panic!("{problems:?}"),
        }
    }

    async fn put(&self, document: &str) {
        let new = NewPolicy { document: document.to_owned(), comment: None, expected: Expected::Any };
        let call = self.world.call_as("a-boss").await;
        let put = self.world.gateway.put_policy(&call, &self.key, new).await.unwrap();
        assert!(matches!(put, PutPolicy::Stored { .. }), "{put:?}");
    }
}

/// Everything is asked as everybody.
fn request(policy: &str) -> ProveRequest {
    ProveRequest {
        policy: Some(policy.to_owned()),
        intent: Some(read("intent.yaml")),
        principals: Some(read("principals.yaml")),
        statements: 10_000,
        ..ProveRequest::default()
    }
}

/// `invariant relation: what` of every finding.
fn told(proof: &Proof) -> Vec<String> {
    let finding = |finding: &ringfence_gateway::prove::Finding| {
        format!(
            "{} {} {}: {} | {} | {:?}",
            finding.invariant.name(),
            finding.relation.name,
            finding.column.as_deref().unwrap_or_default(),
            finding.what,
            finding.statement,
            finding.principals
        )
    };
    proof.findings.iter().map(finding).collect()
}

async fn every_mistake_is_found(place: &Place) {
    let policy = read("policy.yaml");
    let good = place.prove(request(&policy)).await;
    assert!(good.is_proven(), "{:#?}", told(&good));
    assert!(good.checks.iter().all(|checks| checks.checked > 0), "{:?}", good.checks);
    let all = mistakes();
    assert!(all.len() >= 15);
    let mut missed = Vec::new();
    for mistake in all {
        let writes = mistake.finds.iter().any(|(invariant, _)| invariant == "writes_stay_inside");
        let few = ProveRequest { statements: if writes { 400 } else { 1 }, writes, ..request("") };
        let policy = Some(mistake.of(&policy));
        let proof = place.prove(ProveRequest { policy, ..few }).await;
        let found = |(invariant, relation): &(String, String)| {
            proof
                .findings
                .iter()
                .any(|finding| finding.invariant.name() == invariant && finding.relation.name == *relation)
        };
        for wanted in mistake.finds.iter().filter(|wanted| !found(wanted)) {
            missed.push(format!("{}: {wanted:?} is not among {:#?}", mistake.name, told(&proof)));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test]
async fn mistakes_are_found_on_sqlite() {
    every_mistake_is_found(&Place::on_sqlite().await).await;
}

#[tokio::test]
async fn mistakes_are_found_on_postgres() {
    every_mistake_is_found(&Place::on_postgres("prove_mistakes").await).await;
}

/// Without an intent, what rules by role show is told and fails nothing.
#[tokio::test]
async fn a_good_policy_is_clean_without_an_intent() {
    let place = Place::on_sqlite().await;
    place.put(&read("policy.yaml")).await;
    let without = ProveRequest { policy: None, intent: None, ..request("") };
    let proof = place.prove(without).await;
    assert!(proof.is_proven(), "{:#?}", told(&proof));
    assert_eq!(proof.policy_version, Some(1));
    let mut crossings: Vec<String> =
        proof.crossings.iter().map(|it| format!("{} {}", it.relation.name, it.rule)).collect();
    crossings.sort();
    assert_eq!(
        crossings,
        [
            "notices row policy public_or_owned",
            "order_items bypass audit of main.orders",
            "order_items extends children of main.orders",
            "orders bypass audit",
            "orders extends children",
            "products row policy public_or_owned",
        ]
    );
    let broken = proof.cells.iter().filter(|cell| cell.verdict == Verdict::Broken).count();
    assert_eq!(broken, 0);
}

/// Changes are tried on the data itself: all of them are undone.
async fn nothing_is_changed(place: &Place, rows: &str) {
    let few = ProveRequest { statements: 100, ..request(&read("policy.yaml")) };
    let good = place.prove(few).await;
    let tried = good.checks.iter().find(|checks| checks.invariant.name() == "writes_stay_inside").unwrap();
    assert!(tried.checked > 50, "{tried:?}");
    let call = place.world.call_as("a-boss").await;
    let query = crate::sources::query(rows);
    let outcome = place.world.gateway.run_query(&call, &place.key, query).await.unwrap();
    let rows = serde_json::to_string(&outcome.result.rows).unwrap();
    assert_eq!(rows, r#"[[6,6,5,5,"Ada Lovelace"]]"#);
}

const LEFT: &str = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items), \
                    (SELECT count(*) FROM customers), (SELECT count(*) FROM products WHERE price < 500), \
                    (SELECT name FROM customers WHERE id = 1)";

#[tokio::test]
async fn a_proof_changes_nothing() {
    nothing_is_changed(&Place::on_sqlite().await, LEFT).await;
    nothing_is_changed(&Place::on_postgres("prove_nothing").await, LEFT).await;
}

/// Statements of the past, under the policy in force and under another.
#[tokio::test]
async fn a_replay_tells_what_changes() {
    let place = Place::on_sqlite().await;
    let policy = "models: { Country: { table: countries }, Visit: { table: visits } }";
    place.put(policy).await;
    let spec = place.world.call_as("a-boss").await;
    for statement in ["SELECT name FROM countries WHERE code = 'DE'", "SELECT count(*) FROM visits"] {
        let query = crate::sources::query(statement);
        place.world.gateway.run_query(&spec, &place.key, query).await.unwrap();
    }
    let other = "models: { Country: { table: countries } }";
    let proof = place
        .prove(ProveRequest {
            policy: Some(other.to_owned()),
            principals: Some("principals: [a-boss, a-abe]".to_owned()),
            replay: true,
            ..ProveRequest::default()
        })
        .await;
    let replay = proof.replay.unwrap();
    assert_eq!((replay.statements, replay.same, replay.changed.len()), (2, 1, 1), "{replay:?}");
    let changed = &replay.changed[0];
    assert_eq!(
        (changed.statement.as_str(), changed.before.as_str(), changed.after.as_str()),
        ("select count ( * ) from visits", "1 rows of 1 columns", "refused: RELATION_UNKNOWN")
    );
}
