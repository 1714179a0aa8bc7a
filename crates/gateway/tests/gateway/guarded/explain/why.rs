//! Why somebody sees a row, or does not: what is told agrees with what the guard does.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_gateway::queries::{ClauseValue, QueryRequest, Why, WhyRequest};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::{ConnectionSpec, Constraint, Relation};
use serde_json::Value;

use crate::guarded::{POLICY, Shop};
use crate::sources::{database, file, indexed, password};
use crate::world::{World, code};

impl Shop {
    async fn ask_why(
        &self,
        user: &str,
        other: &str,
        relation: &str,
        key: &[(&str, &str)],
    ) -> Result<Why, Refused> {
        let row = key.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned()));
        let request = WhyRequest {
            key: self.key.clone(),
            relation: relation.to_owned(),
            row: row.collect(),
            as_user: Some(other.to_owned()),
        };
        self.world.gateway.explain_row(&self.world.call_as(user).await, request).await
    }

    async fn why(&self, other: &str, relation: &str, id: &str) -> Why {
        self.ask_why("a-boss", other, relation, &[("id", id)]).await.unwrap()
    }
}

fn values(why: &Why) -> Vec<(&'static str, ClauseValue)> {
    why.clauses.iter().map(|clause| (clause.part, clause.value)).collect()
}

#[tokio::test]
async fn each_clause_has_its_value() {
    let shop = Shop::guarded("why_clauses").await;
    let why = shop.why("a-ann", "public.orders", "3").await;
    assert!(why.found && !why.visible);
    assert_eq!(
        values(&why),
        [("bypass", ClauseValue::False), ("scope", ClauseValue::False), ("changes", ClauseValue::Unasked)]
    );
    assert_eq!(why.parts[0], ("base", ClauseValue::False));
    assert_eq!(why.attributes[0], ("principal.tenant_id".to_owned(), Some("a-t1".into())));
    // Roles are asked for by the bypass.
    assert_eq!(why.attributes[1].0, "principal.roles");
    assert_eq!(
        (why.columns[0].name.as_str(), why.columns[0].value.clone()),
        ("tenant_id", Some("a-t2".into()))
    );
    assert!(!format!("{why:?}").contains("4333"), "a column that no clause reads");
    assert!(shop.why("a-abe", "orders", "3").await.visible);
    assert!(!shop.why("a-ann", "orders", "99").await.found);

    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    let why = shop.why("a-ann", "public.orders", "3").await;
    assert!(why.visible);
    assert_eq!(why.clauses[0].because.effect, "lifts");
    assert_eq!((why.clauses[1].because.effect, why.clauses[1].value), ("nothing", ClauseValue::False));
    assert!(!why.parts.iter().any(|(part, _)| *part == "base"), "lifted");
    // A relation that the policy does not let be seen, and one whose scope is missing.
    let why = shop.why("a-ann", "secrets", "1").await;
    assert!(why.found && !why.visible && why.clauses.is_empty() && why.reasons[0].rule == "default: deny");
    let why = shop.why("a-ann", "regions", "1").await;
    assert!(!why.visible && why.denial.unwrap().contains("principal.attributes.region"));
}

#[tokio::test]
async fn null_is_not_false_and_errors_are_told() {
    let shop = Shop::open("why_nulls").await;
    let policies = "row_policies:
      - { name: numeric, condition: 'CAST(status AS integer) = 1' }
      - { name: card, condition: \"card <> 'x'\" }
      - { name: level, condition: 'principal.attributes.level > 3' }
";
    shop.put(&POLICY.replace("row_policies:\n", policies)).await;
    let why = shop.why("a-abe", "orders", "4").await;
    let by_rule: BTreeMap<_, _> =
        why.clauses.iter().map(|clause| (clause.because.rule.as_str(), clause.value)).collect();
    assert_eq!(by_rule["the row policy card"], ClauseValue::Null);
    assert_eq!(by_rule["the row policy level"], ClauseValue::Null);
    assert_eq!(by_rule["the row policy numeric"], ClauseValue::Failed);
    assert!(!why.visible);
    // The note is hidden from everybody, the boss too: so is its value here.
    shop.put(
        &POLICY
            .replace("row_policies:\n", "row_policies:\n      - { name: n, condition: \"note = 'n3'\" }\n"),
    )
    .await;
    let why = shop.why("a-abe", "orders", "3").await;
    let note = why.columns.iter().find(|column| column.name == "note").unwrap();
    assert!(why.visible && note.value.is_none(), "{why:?}");
}

#[tokio::test]
async fn rows_are_explained_to_those_who_may_read_the_policy() {
    let shop = Shop::guarded("why_rights").await;
    let key = [("id", "1")];
    for user in ["a-ann", "a-lead", "a-trial-api"] {
        for relation in ["orders", "secrets", "nowhere"] {
            let refused = shop.ask_why(user, user, relation, &key).await;
            assert_eq!(code(refused), Code::NotPermitted, "{user}");
        }
    }
    for user in ["b-boss", "a-peer"] {
        assert_eq!(code(shop.ask_why(user, user, "orders", &key).await), Code::NotFound, "{user}");
    }
    for other in ["b-ann", "nobody", "a-super"] {
        let refused = shop.ask_why("a-boss", other, "orders", &key).await;
        assert_eq!(code(refused), Code::ImpersonationDenied, "{other}");
    }
    let boss = async |relation: &str, key: &[(&str, &str)]| {
        code(shop.ask_why("a-boss", "a-ann", relation, key).await)
    };
    assert_eq!(boss("nowhere", &key).await, Code::NotFound);
    assert_eq!(boss("orders", &[]).await, Code::InvalidRequest);
    assert_eq!(boss("orders", &[("no\"such", "1")]).await, Code::InvalidRequest);
    assert_eq!(boss("orders", &[("tenant_id", "a-t1")]).await, Code::InvalidRequest, "two rows");
    assert_eq!(boss("orders", &[("id", "one")]).await, Code::QueryFailed);
    assert!(!shop.ask_why("a-boss", "a-ann", "orders", &[("tenant_id", "' OR '1'='1")]).await.unwrap().found);
}

const CORPUS_POLICY: &str = include_str!("../../../../../../cases/guard-corpus/policy.yaml");
const PRINCIPALS: &str = include_str!("../../../../../../cases/guard-corpus/given/principals.json");

/// The guard corpus: who sees what is known by the guard's own answers.
async fn corpus(name: &str, is_sqlite: bool) -> Shop {
    let world = World::new().await;
    let owner = format!("{name}_owner");
    let spec: ConnectionSpec = if is_sqlite {
        let fixture = include_str!("../../../../../../cases/guard-corpus/given/fixture.sqlite.sql");
        file(&world, "corpus.db", fixture)
    } else {
        database(name, &owner, include_str!("../../../../../../cases/guard-corpus/given/fixture.pg.sql"))
            .await
    };
    let secret = password(&owner);
    let secret = (!is_sqlite).then_some(secret.as_str());
    let mut key = String::new();
    for user in ["a-boss", "a-ann"] {
        key = indexed(&world, user, &spec, secret).await;
    }
    let shop = Shop { world, spec, owner, key };
    let policy = CORPUS_POLICY.to_owned();
    let policy =
        if is_sqlite { policy.replace("public.", "main.").replace("[public]", "[main]") } else { policy };
    shop.put(&policy).await;
    shop
}

/// The columns of the relation's primary key, if it has one.
fn key_of(relation: &Relation) -> Vec<String> {
    let primary = relation.constraints.iter().find_map(|constraint| match constraint {
        Constraint::Primary { columns } => Some(columns.clone()),
        _ => None,
    });
    primary.unwrap_or_default()
}

fn quoted(columns: &[String], is_sqlite: bool) -> String {
    let text = if is_sqlite { "TEXT" } else { "text" };
    let each = columns.iter().map(|column| format!("CAST(\"{column}\" AS {text})"));
    each.collect::<Vec<_>>().join(", ")
}

async fn agrees(shop: &Shop, is_sqlite: bool) -> (usize, usize) {
    let (mut visible, mut hidden) = (0, 0);
    let principals: BTreeMap<String, Value> = serde_json::from_str(PRINCIPALS).unwrap();
    let schema = if is_sqlite { "main" } else { "public" };
    let tables = raw_tables(shop, is_sqlite).await;
    for (name, principal) in &principals {
        let mut variables = principal["variables"].as_object().unwrap().clone();
        for attribute in ["tenant_id", "user_id"] {
            variables.insert(attribute.to_owned(), principal[attribute].clone());
        }
        let roles: Vec<&str> =
            principal["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
        shop.give("a-ann", &roles, &Value::Object(variables).to_string()).await;
        for (table, key, rows) in &tables {
            let select = format!("SELECT {} FROM {schema}.\"{table}\"", quoted(key, is_sqlite));
            let request =
                QueryRequest { statement: select, max_rows: Some(10_000), ..QueryRequest::default() };
            let seen: BTreeSet<Vec<String>> = match shop.ask("a-ann", request).await {
                Ok(rows) => serde_json::from_str(&rows).unwrap(),
                Err(refused) => {
                    assert_eq!(refused.code, Code::RelationUnknown, "{name} {table}: {refused}");
                    BTreeSet::new()
                }
            };
            for row in rows {
                let key: Vec<(&str, &str)> =
                    key.iter().map(String::as_str).zip(row.iter().map(String::as_str)).collect();
                let relation = format!("{schema}.{table}");
                let why = shop.ask_why("a-boss", "a-ann", &relation, &key).await.unwrap();
                assert!(why.found, "{name} {table} {key:?}");
                assert_eq!(why.visible, seen.contains(row), "{name} {table} {key:?}: {why:#?}");
                *(if why.visible { &mut visible } else { &mut hidden }) += 1;
            }
        }
    }
    (visible, hidden)
}

/// (table, its key, the keys of all rows as text), by a way around the guard.
async fn raw_tables(shop: &Shop, is_sqlite: bool) -> Vec<(String, Vec<String>, Vec<Vec<String>>)> {
    let source = shop.world.store.sources();
    let connection = shop.world.store.connections();
    let boss = ringfence_policy::UserId::new("a-boss").unwrap();
    let connection = connection.list(&boss).await.unwrap().remove(0);
    let (_, catalog) = source.catalog(connection.source).await.unwrap().unwrap();
    let mut tables = Vec::new();
    let wanted = if is_sqlite { "main" } else { "public" };
    for relation in
        catalog.schemas.iter().filter(|schema| schema.name == wanted).flat_map(|schema| &schema.relations)
    {
        let key = key_of(relation);
        // The tables behind a search index have keys of bytes.
        if key.is_empty() || relation.name.starts_with("doc_search") {
            continue;
        }
        let select = format!("SELECT {} FROM \"{}\"", quoted(&key, is_sqlite), relation.name);
        let mut rows = Vec::new();
        if is_sqlite {
            let raw = rusqlite::Connection::open(shop.world.data().join("corpus.db")).unwrap();
            let mut statement = raw.prepare(&select).unwrap();
            let mut found = statement.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                rows.push((0..key.len()).map(|place| row.get(place).unwrap()).collect());
            }
        } else {
            let server = ringfence_testkit::Postgres::shared().await;
            let client = server.client(shop.spec.database.as_deref().unwrap()).await;
            for row in client.query(&select, &[]).await.unwrap() {
                rows.push((0..key.len()).map(|place| row.get(place)).collect());
            }
        }
        tables.push((relation.name.clone(), key, rows));
    }
    tables
}

#[tokio::test]
async fn why_agrees_with_the_guard() {
    let shop = corpus("why_corpus", false).await;
    let (visible, hidden) = agrees(&shop, false).await;
    assert!(visible > 100 && hidden > 100, "{visible} visible, {hidden} hidden");
}

#[tokio::test]
async fn why_agrees_with_the_guard_on_sqlite() {
    let shop = corpus("why_corpus_sqlite", true).await;
    let (visible, hidden) = agrees(&shop, true).await;
    assert!(visible > 100 && hidden > 100, "{visible} visible, {hidden} hidden");
}
