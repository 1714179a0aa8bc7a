//! What each tenant sees.

use ringfence_engine::{Engine, EngineLimits};
use ringfence_gateway::Code;
use ringfence_gateway::queries::QueryRequest;

use super::{POLICY, Shop};
use crate::sources::{query, tables};
use crate::world::World;

#[tokio::test]
async fn each_tenant_sees_its_own_rows() {
    let shop = Shop::guarded("guarded_rows").await;
    shop.rows("a-ann", "SELECT id, card FROM orders ORDER BY id", r#"[[1,"****1111"],[2,"****2222"]]"#).await;
    shop.rows("a-abe", "SELECT id, card FROM orders ORDER BY id", r#"[[3,"****3333"],[4,null]]"#).await;
    shop.rows("a-ann", "SELECT count(*) FROM public.orders WHERE id > 0 OR tenant_id = 'a-t2'", "[[2]]")
        .await;
    shop.rows("a-ann", "SELECT * FROM orders WHERE id = 3", "[]").await;
    shop.rows("a-ann", "SELECT card = '4111111111111111' FROM orders WHERE id = 1", "[[false]]").await;
    shop.rows("a-ann", "SELECT 1", "[[1]]").await;
}

#[tokio::test]
async fn what_is_hidden_is_answered_like_what_is_missing() {
    let shop = Shop::guarded("guarded_hidden").await;
    let in_one_word = |refused: ringfence_gateway::Refused, word: &str| refused.message.replace(word, "x");
    let hidden = shop.refused("a-ann", "SELECT * FROM secrets", Code::RelationUnknown).await;
    let missing = shop.refused("a-ann", "SELECT * FROM nothing", Code::RelationUnknown).await;
    assert_eq!(in_one_word(hidden, "secrets"), in_one_word(missing, "nothing"));
    let hidden = shop.refused("a-ann", "SELECT note FROM orders", Code::ColumnUnknown).await;
    let missing = shop.refused("a-ann", "SELECT gone FROM orders", Code::ColumnUnknown).await;
    assert_eq!(in_one_word(hidden, "note"), in_one_word(missing, "gone"));
    for (statement, code) in [
        ("SELECT * FROM all_orders", Code::RelationUnknown),
        ("SELECT tell()", Code::FunctionNotAllowed),
        ("SELECT pg_read_file('/etc/passwd')", Code::FunctionNotAllowed),
        ("SELECT 'secrets'::regclass", Code::TypeNotAllowed),
        ("SELECT * FROM pg_catalog.pg_stats", Code::RelationUnknown),
        ("SELECT * FROM pg_proc", Code::RelationUnknown),
        ("EXPLAIN SELECT * FROM orders", Code::StatementNotAdmitted),
        ("CREATE TABLE mine (a int)", Code::StatementNotAdmitted),
        ("DROP TABLE orders", Code::StatementNotAdmitted),
        ("SELECT (", Code::StatementUnreadable),
        ("", Code::QueryRefused),
    ] {
        shop.refused("a-ann", statement, code).await;
    }
    // What may be asked of the catalog is about what is there for her.
    shop.rows("a-ann", "SELECT relname FROM pg_catalog.pg_class", r#"[["orders"]]"#).await;
    let columns = "SELECT column_name FROM information_schema.columns ORDER BY ordinal_position";
    shop.rows("a-ann", columns, r#"[["id"],["tenant_id"],["status"],["card"]]"#).await;
}

#[tokio::test]
async fn every_door_goes_through_the_guard() {
    let shop = Shop::guarded("guarded_doors").await;
    let gateway = &shop.world.gateway;
    let call = shop.world.call_as("a-ann").await;
    let mut streamed =
        gateway.stream_query(&call, &shop.key, query("SELECT id FROM orders ORDER BY id")).await.unwrap();
    let rows = streamed.next().await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&rows).unwrap(), "[[1],[2]]");
    let id = gateway.submit_query(&call, &shop.key, query("SELECT max(id) FROM orders")).await.unwrap();
    let result = gateway.query_result(&call, None, id.as_str(), None).await.unwrap().result;
    assert_eq!(serde_json::to_string(&result.rows).unwrap(), "[[2]]");
    for statement in ["SELECT * FROM secrets", "SELECT note FROM orders"] {
        assert!(gateway.stream_query(&call, &shop.key, query(statement)).await.is_err(), "{statement}");
        let submitted = async {
            // Columns are found missing by the database, when the statement has its turn.
            let id = gateway.submit_query(&call, &shop.key, query(statement)).await?;
            gateway.query_result(&call, None, id.as_str(), None).await
        };
        let refused = submitted.await.expect_err(statement);
        assert!([Code::RelationUnknown, Code::ColumnUnknown].contains(&refused.code), "{refused}");
        let compiled = gateway.compile_query(&call, &shop.key, statement, &[]).await.unwrap();
        assert!(compiled.error.is_some() && compiled.tables.is_empty(), "{compiled:?}");
    }
    let fine = "SELECT id FROM orders WHERE id = $1";
    let compiled = gateway.compile_query(&call, &shop.key, fine, &[]).await.unwrap();
    assert_eq!(compiled.error, None);
    assert_eq!(compiled.tables, [("public".to_owned(), "orders".to_owned())]);
}

#[tokio::test]
async fn catalogs_show_what_is_visible() {
    let shop = Shop::guarded("guarded_catalog").await;
    shop.give("a-abe", &[], r#"{"region": "eu"}"#).await;
    assert_eq!(tables(&shop.world, "a-abe", &shop.key).await.unwrap(), ["public.orders", "public.regions"]);
    // Whose region is not known sees no region.
    assert_eq!(tables(&shop.world, "a-ann", &shop.key).await.unwrap(), ["public.orders"]);
    let call = shop.world.call_as("a-ann").await;
    let view = shop.world.gateway.catalog(&call, &shop.key, &[]).await.unwrap().unwrap();
    let text = serde_json::to_string(&*view.catalog).unwrap();
    assert!(text.contains("card") && !text.contains("note") && !text.contains("secrets"), "{text}");
    let list = shop.world.gateway.list_connections(&call).await.unwrap();
    assert!(list.connections[0].index.schemas.is_empty(), "{:?}", list.connections[0].index);
}

#[tokio::test]
async fn parameters_are_values_and_nothing_else() {
    let shop = Shop::guarded("guarded_parameters").await;
    let ask = |statement: &str, parameters: &[Option<&str>]| QueryRequest {
        parameters: parameters.iter().map(|value| value.map(str::to_owned)).collect(),
        ..query(statement)
    };
    let by_id = "SELECT id FROM orders WHERE id = $1";
    assert_eq!(shop.ask("a-ann", ask(by_id, &[Some("2")])).await.unwrap(), "[[2]]");
    assert_eq!(shop.ask("a-abe", ask(by_id, &[Some("2")])).await.unwrap(), "[]");
    assert_eq!(shop.ask("a-ann", ask(by_id, &[None])).await.unwrap(), "[]");
    let by_status = "SELECT id FROM orders WHERE status = $1";
    assert_eq!(shop.ask("a-ann", ask(by_status, &[Some("x' OR '1'='1")])).await.unwrap(), "[]");
    for parameters in [&[][..], &[Some("1"), Some("2")]] {
        assert_eq!(shop.ask("a-ann", ask(by_id, parameters)).await.unwrap_err().code, Code::InvalidRequest);
    }
    let open = Shop::open("guarded_no_parameters").await;
    assert_eq!(open.ask("a-ann", ask(by_id, &[Some("2")])).await.unwrap_err().code, Code::InvalidRequest);
}

#[tokio::test]
async fn two_views_never_share_a_plan() {
    let limits = EngineLimits { max_connections_per_pool: 1, ..EngineLimits::default() };
    let shop = Shop::open_in(World::over(Engine::new(limits)).await, "guarded_one_session").await;
    // Of the same statement, one is shown a column that the other is not, and other rows.
    let policy = POLICY.replace("note: deny", "note: [ { roles: [ROLE_NOTES] }, { action: deny } ]");
    let policy = policy.replace("{ roles: [ROLE_NOTES] }", "{ action: allow, roles: [ROLE_NOTES] }");
    shop.put(&policy).await;
    shop.give("a-abe", &["ROLE_NOTES"], "{}").await;
    let star = "SELECT * FROM orders ORDER BY id LIMIT 1";
    let ann = async |_: usize| {
        shop.rows("a-ann", star, r#"[[1,"a-t1","new","****1111"]]"#).await;
        shop.refused("a-ann", "SELECT note FROM orders", Code::ColumnUnknown).await;
    };
    let abe = async |_: usize| {
        shop.rows("a-abe", star, r#"[[3,"a-t2","new","****3333","n3"]]"#).await;
        shop.rows("a-abe", "SELECT note FROM orders ORDER BY id", r#"[["n3"],["n4"]]"#).await;
    };
    for turn in 0..10 {
        tokio::join!(ann(turn), abe(turn), ann(turn), abe(turn));
    }
}

#[tokio::test]
async fn a_seat_is_for_one_principal() {
    let shop = Shop::guarded("guarded_seats").await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    // Everything that a policy can ask of a principal, changed one after the other.
    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[4]]").await;
    shop.give("a-ann", &[], r#"{"region": "us"}"#).await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    shop.rows("a-ann", "SELECT id FROM regions", "[[2]]").await;
    shop.give("a-ann", &[], r#"{"region": ["eu", "us"]}"#).await;
    shop.rows("a-ann", "SELECT id FROM regions ORDER BY id", "[[1],[2]]").await;
    shop.give("a-ann", &[], r#"{"region": []}"#).await;
    shop.rows("a-ann", "SELECT id FROM regions", "[]").await;
    for missing in ["{}", r#"{"region": null}"#] {
        shop.give("a-ann", &[], missing).await;
        shop.refused("a-ann", "SELECT id FROM regions", Code::TenantScopeRequired).await;
    }
    // What is impersonated sees through its own view.
    let call = shop.world.call_for("a-boss", "a-abe").await;
    let outcome =
        shop.world.gateway.run_query(&call, &shop.key, query("SELECT min(id) FROM orders")).await.unwrap();
    assert_eq!(serde_json::to_string(&outcome.result.rows).unwrap(), "[[3]]");
}

#[tokio::test]
async fn hashes_are_equal_within_a_tenant_only() {
    let shop = Shop::open("guarded_hashes").await;
    shop.put(
        &POLICY
            .replace(r#"{ action: mask, mask_pattern: "****{last4}" }"#, "hash")
            .replace("public.orders\n    scoping: { tenant_id: principal.tenant_id }", "public.orders"),
    )
    .await;
    let select = "SELECT card FROM orders WHERE id = 1";
    let of_ann = shop.run("a-ann", select).await.unwrap();
    assert!(of_ann.len() > 64 && !of_ann.contains("4111"), "{of_ann}");
    assert_eq!(of_ann, shop.run("a-boss", select).await.unwrap());
    assert_ne!(of_ann, shop.run("a-abe", select).await.unwrap());
    // A variable of that name changes nothing.
    shop.give("a-ann", &[], r#"{"ringfence": {"hash_key": "guessed"}}"#).await;
    assert_eq!(of_ann, shop.run("a-ann", select).await.unwrap());
}

#[tokio::test]
async fn budgets_narrow_what_a_caller_asks_for() {
    let shop = Shop::open("guarded_budgets").await;
    shop.put(&format!("{POLICY}\nbudget: {{ max_rows: 1, statement_timeout: 300ms }}\n")).await;
    shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[1]]").await;
    let endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    shop.refused("a-ann", endless, Code::QueryTimedOut).await;
}
