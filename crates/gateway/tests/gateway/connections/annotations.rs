//! Descriptions, manual constraints and pushed catalogs.

use ringfence_gateway::Code;
use ringfence_gateway::annotations::{ConstraintEdit, ConstraintKind, PushedRelation, RelationName};
use ringfence_gateway::catalog::CatalogView;
use ringfence_policy::{Column, ConnectionSpec, Constraint, Relation};
use ringfence_store::sources::IndexStatus;

use crate::sources::{add, contexts, file, filtered, indexed, run, status, tables};
use crate::world::{World, code, same_refusal};

const SCHEMA: &str =
    "CREATE TABLE movies (id INTEGER PRIMARY KEY, title TEXT, studio INTEGER REFERENCES studios (id));
    CREATE TABLE studios (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE secrets (a)";

fn named(name: &str) -> RelationName {
    RelationName { schema: Some("MAIN".to_owned()), name: name.to_owned() }
}

async fn view(world: &World, user: &str, key: &str) -> CatalogView {
    world.gateway.catalog(&world.call_as(user).await, key, &[]).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_shown_can_be_described_and_what_is_hidden_is_unknown() {
    let world = World::new().await;
    let spec = filtered(&file(&world, "1.db", SCHEMA), r#"[{"type":"exclusion","table_name":"secrets"}]"#);
    let key = indexed(&world, "a-ann", &spec, None).await;
    let (gateway, call) = (&world.gateway, world.call_as("a-ann").await);
    gateway.describe_relation(&call, &key, &named("MOVIES"), "films").await.unwrap();
    let anywhere = RelationName { schema: None, name: "studios".to_owned() };
    gateway.describe_relation(&call, &key, &anywhere, "makers").await.unwrap();
    gateway.describe_schema(&call, &key, "Main", serde_json::json!({"summary": "all"})).await.unwrap();
    let columns =
        [(named("movies"), vec![("TITLE".to_owned(), "name".to_owned()), ("x".to_owned(), "y".to_owned())])];
    let described = gateway.describe_columns(&call, &key, &columns).await.unwrap();
    assert_eq!(described, [(("main".to_owned(), "movies".to_owned()), vec!["title".to_owned()])]);
    let notes = view(&world, "a-ann", &key).await.annotations;
    assert_eq!(notes.relations["main"]["movies"].description.as_deref(), Some("films"));
    assert_eq!(notes.relations["main"]["movies"].columns["title"], "name");
    assert_eq!(notes.schemas["main"]["summary"], "all");
    let hidden = same_refusal(
        gateway.describe_relation(&call, &key, &named("secrets"), "x").await,
        gateway.describe_relation(&call, &key, &named("unknown"), "x").await,
    );
    assert_eq!(hidden, Code::InvalidRequest);
    assert_eq!(
        code(gateway.describe_schema(&call, &key, "other", serde_json::json!({"summary": "x"})).await),
        Code::InvalidRequest
    );
    let large = "x".repeat(64 * 1024 + 1);
    for text in [large.as_str(), "a\0b"] {
        assert_eq!(
            code(gateway.describe_relation(&call, &key, &named("movies"), text).await),
            Code::InvalidRequest
        );
    }
    gateway.describe_relation(&call, &key, &named("movies"), "").await.unwrap();
    assert_eq!(view(&world, "a-ann", &key).await.annotations.relations["main"]["movies"].description, None);
    for user in ["a-trial-api", "b-trial-api"] {
        let call = world.call_as(user).await;
        assert_eq!(
            code(gateway.describe_relation(&call, &key, &named("movies"), "x").await),
            Code::NotPermitted
        );
    }
}

#[tokio::test]
async fn many_describe_at_once_and_nothing_is_lost() {
    let world = World::new().await;
    let key = indexed(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let call = world.call_as("a-ann").await;
    let (movies, studios, secrets) = (named("movies"), named("studios"), named("secrets"));
    let describe = |relation| world.gateway.describe_relation(&call, &key, relation, "described");
    let (one, two, three) = tokio::join!(describe(&movies), describe(&studios), describe(&secrets));
    for done in [one, two, three] {
        done.unwrap();
    }
    assert_eq!(view(&world, "a-ann", &key).await.annotations.relations["main"].len(), 3);
}

#[tokio::test]
async fn what_narrows_later_hides_notes_and_ends_of_keys() {
    let world = World::new().await;
    let spec = file(&world, "1.db", SCHEMA);
    let key = indexed(&world, "a-ann", &spec, None).await;
    let call = world.call_as("a-ann").await;
    world.gateway.describe_relation(&call, &key, &named("studios"), "secret words").await.unwrap();
    let foreign = |view: &CatalogView| {
        let movies = view.catalog.relation("main", "movies").unwrap();
        movies
            .constraints
            .iter()
            .filter(|constraint| matches!(constraint, Constraint::Foreign { .. }))
            .count()
    };
    assert_eq!(foreign(&view(&world, "a-ann", &key).await), 1);
    indexed(&world, "a-ann", &filtered(&spec, r#"[{"table_name":"movies"}]"#), None).await;
    let narrowed = view(&world, "a-ann", &key).await;
    assert_eq!(foreign(&narrowed), 0);
    assert!(!format!("{narrowed:?}").contains("studios"), "{narrowed:?}");
    assert!(!format!("{narrowed:?}").contains("secret words"), "{narrowed:?}");
}

#[tokio::test]
async fn contexts_of_a_request_narrow_further() {
    let world = World::new().await;
    let spec = filtered(&file(&world, "1.db", SCHEMA), r#"[{"type":"exclusion","table_name":"secrets"}]"#);
    let key = indexed(&world, "a-ann", &spec, None).await;
    let call = world.call_as("a-ann").await;
    for (json, expected) in [
        ("[]", vec!["movies", "studios"]),
        (r#"[{"table_name":"MOVIES"}]"#, vec!["movies"]),
        (r#"[{"table_name":"SECRETS"}]"#, vec![]),
        (r#"[{"type":"exclusion","table_name":"m*"}]"#, vec!["studios"]),
    ] {
        let view = world.gateway.catalog(&call, &key, &contexts(json)).await.unwrap().unwrap();
        let names: Vec<_> = view.catalog.schemas.iter().flat_map(|schema| &schema.relations).collect();
        assert_eq!(
            names.iter().map(|relation| relation.name.as_str()).collect::<Vec<_>>(),
            expected,
            "{json}"
        );
    }
}

#[tokio::test]
async fn manual_constraints_replace_and_clear() {
    let world = World::new().await;
    let spec = filtered(&file(&world, "1.db", SCHEMA), r#"[{"type":"exclusion","table_name":"secrets"}]"#);
    let key = indexed(&world, "a-ann", &spec, None).await;
    let (gateway, call) = (&world.gateway, world.call_as("a-ann").await);
    let primary = |columns: &[&str]| Constraint::Primary {
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
    };
    let edit = |name: &str, kind, constraints| ConstraintEdit { relation: named(name), kind, constraints };
    let edits = [edit("MOVIES", ConstraintKind::Primary, vec![primary(&["TITLE"])])];
    let changed = gateway.edit_constraints(&call, &key, &edits).await.unwrap();
    assert_eq!(changed, [("main".to_owned(), "movies".to_owned())]);
    let notes = |view: CatalogView| view.annotations.relations["main"]["movies"].primary.clone();
    assert_eq!(notes(view(&world, "a-ann", &key).await), Some(vec![primary(&["title"])]));
    let foreign = |target: &str| Constraint::Foreign {
        columns: vec!["studio".to_owned()],
        target_schema: "MAIN".to_owned(),
        target_relation: target.to_owned(),
        target_columns: vec!["a".to_owned()],
    };
    let hidden = same_refusal(
        gateway
            .edit_constraints(
                &call,
                &key,
                &[edit("movies", ConstraintKind::Foreign, vec![foreign("secrets")])],
            )
            .await,
        gateway
            .edit_constraints(
                &call,
                &key,
                &[edit("movies", ConstraintKind::Foreign, vec![foreign("unknown")])],
            )
            .await,
    );
    assert_eq!(hidden, Code::InvalidRequest);
    for refused in [
        vec![edit("movies", ConstraintKind::Foreign, vec![primary(&["title"])])],
        vec![edit("movies", ConstraintKind::Primary, vec![primary(&["nothing"])])],
        vec![
            edit("movies", ConstraintKind::Primary, vec![]),
            edit("nothing", ConstraintKind::Primary, vec![]),
        ],
    ] {
        assert_eq!(code(gateway.edit_constraints(&call, &key, &refused).await), Code::InvalidRequest);
    }
    assert!(notes(view(&world, "a-ann", &key).await).is_some(), "a refused edit changes nothing");
    gateway.edit_constraints(&call, &key, &[edit("movies", ConstraintKind::Primary, vec![])]).await.unwrap();
    assert!(!view(&world, "a-ann", &key).await.annotations.relations.contains_key("main"));
}

fn pushed(schema: &str, name: &str) -> PushedRelation {
    let column = Column { name: "Id".to_owned(), data_type: "int".to_owned(), ..Column::default() };
    let relation = Relation { name: name.to_owned(), columns: vec![column], ..Relation::default() };
    PushedRelation {
        schema: schema.to_owned(),
        relation,
        description: Some("pushed".to_owned()),
        column_descriptions: vec![("Id".to_owned(), "key".to_owned())],
    }
}

#[tokio::test]
async fn a_pushed_catalog_is_merged_at_once() {
    let world = World::new().await;
    let spec = ConnectionSpec {
        db_type: "mongodb".to_owned(),
        host: Some("h".to_owned()),
        database: Some("shop".to_owned()),
        push: true,
        ..ConnectionSpec::default()
    };
    let key = add(&world, "a-lead", &spec, None).await;
    assert_eq!(key, "mongodb://push/h/shop");
    assert_eq!(status(&world, "a-lead", &key).await.status, IndexStatus::Completed);
    assert_eq!(tables(&world, "a-lead", &key).await, Some(vec![]));
    let (gateway, call) = (&world.gateway, world.call_as("a-lead").await);
    let updated = vec![pushed("S", "Orders"), pushed("S", "items")];
    let names = gateway.push_relations(&call, &key, updated, &[]).await.unwrap();
    assert_eq!(names.len(), 2);
    assert_eq!(status(&world, "a-lead", &key).await.status, IndexStatus::Completed);
    assert_eq!(tables(&world, "a-lead", &key).await.unwrap(), ["S.Orders", "S.items"]);
    let mut whole = pushed("S", "Orders");
    whole.relation.ddl = Some("CREATE TABLE".to_owned());
    whole.relation.columns[0].sample_values = Some(serde_json::json!({ "values": { "1": 1 } }));
    gateway.push_relations(&call, &key, vec![whole.clone()], &[]).await.unwrap();
    let kept = view(&world, "a-lead", &key).await.catalog;
    assert_eq!(kept.relation("S", "Orders"), Some(&whole.relation), "kept whole");
    let removed = [RelationName { schema: Some("s".to_owned()), name: "ITEMS".to_owned() }];
    gateway.push_relations(&call, &key, vec![pushed("T", "t")], &removed).await.unwrap();
    assert_eq!(tables(&world, "a-lead", &key).await.unwrap(), ["S.Orders", "T.t"]);
    let notes = view(&world, "a-lead", &key).await.annotations;
    assert_eq!(notes.relations["T"]["t"].columns["Id"], "key");
    assert_eq!(code(run(&world, "a-lead", &key, "SELECT 1").await), Code::QueryRefused);
    let mut twice = pushed("s", "t");
    twice.relation.columns.extend(pushed("s", "t").relation.columns);
    let mut long = pushed("s", "t");
    long.relation.ddl = Some("x".repeat(1 << 21));
    let mut large = pushed("s", "t");
    large.relation.columns[0].sample_values = Some("x".repeat(1 << 17).into());
    for refused in [
        long,
        large,
        twice,
        pushed("", "t"),
        pushed("s", "a\0b"),
        PushedRelation { description: Some("\0".to_owned()), ..pushed("s", "t") },
    ] {
        assert_eq!(code(gateway.push_relations(&call, &key, vec![refused], &[]).await), Code::InvalidRequest);
    }
    let (one, two) = tokio::join!(
        gateway.push_relations(&call, &key, vec![pushed("U", "one")], &[]),
        gateway.push_relations(&call, &key, vec![pushed("U", "two")], &[]),
    );
    for done in [one, two] {
        done.unwrap();
    }
    assert_eq!(tables(&world, "a-lead", &key).await.unwrap(), ["S.Orders", "T.t", "U.one", "U.two"]);
    // Another organization's connection of the same key has a catalog of its own.
    assert_eq!(add(&world, "b-lead", &spec, None).await, key);
    assert_eq!(tables(&world, "b-lead", &key).await, Some(vec![]));
}

#[tokio::test]
async fn pushing_on_an_ordinary_connection_changes_nothing() {
    let world = World::new().await;
    let key = indexed(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let call = world.call_as("a-ann").await;
    let before = tables(&world, "a-ann", &key).await;
    let removed = [named("movies")];
    let pushed = vec![pushed("main", "new")];
    assert_eq!(world.gateway.push_relations(&call, &key, pushed, &removed).await, Ok(vec![]));
    assert_eq!(tables(&world, "a-ann", &key).await, before);
}
