//! Budgets of statements and of tenants, on a real PostgreSQL.

use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::{Call, Code, Refused};

use super::{POLICY, Shop};
use crate::sources::{query, running, stopped};
use crate::world::{World, code, eventually};

/// The policy with a budget of its own, and one of orders.
fn budgets(policy: &str, orders: &str) -> String {
    let orders = format!("table: public.orders\n    budget: {{ {orders} }}");
    format!("{}\nbudget: {{ {policy} }}\n", POLICY.replace("table: public.orders", &orders))
}

/// What a call left in the audit log about the statement's end: the code, and the budget that stopped it.
async fn recorded(world: &World, call: &Call, refused: &Refused) -> (Option<String>, Option<String>) {
    use ringfence_gateway::Decision;
    call.log().finish(Decision::Refused(refused.code)).await.unwrap();
    let record = world.record(call.log()).await.record;
    (record.code, record.object)
}

async fn check(shop: &Shop, statement: &str, expected: Code, object: &str) {
    let call = shop.world.call_as("a-ann").await;
    let refused =
        shop.world.gateway.run_query(&call, &shop.key, query(statement)).await.expect_err(statement);
    assert_eq!(refused.code, expected, "{statement}: {refused}");
    let name = expected.row().name.to_owned();
    let told = recorded(&shop.world, &call, &refused).await;
    assert_eq!(told, (Some(name), Some(object.to_owned())), "{statement}");
}

#[tokio::test]
async fn the_tightest_budget_of_one_statement_counts() {
    let shop = Shop::guarded("budget_tight").await;
    shop.put(&budgets(
        "max_rows: 3, max_fields: 3, statement_timeout: 10s",
        "max_rows: 1, max_fields: 2, statement_timeout: 300ms",
    ))
    .await;
    shop.give("a-ann", &[], r#"{"region": ["eu", "us"]}"#).await;
    shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[1]]").await;
    shop.rows("a-ann", "SELECT id FROM regions ORDER BY id", "[[1],[2]]").await;
    shop.rows("a-ann", "SELECT n FROM (VALUES (1), (2), (3), (4)) v(n)", "[[1],[2],[3]]").await;
    shop.rows("a-ann", "SELECT id, status FROM orders WHERE id = 1", r#"[[1,"new"]]"#).await;
    shop.rows("a-ann", "SELECT 1, 2, 3", "[[1,2,3]]").await;
    check(&shop, "SELECT id, status, card FROM orders", Code::TooManyFields, "budget max_fields").await;
    check(&shop, "SELECT * FROM orders", Code::TooManyFields, "budget max_fields").await;
    check(&shop, "SELECT 1, 2, 3, 4", Code::TooManyFields, "budget max_fields").await;
    let write = "UPDATE orders SET status = 'x' WHERE id = 1 RETURNING id, status, card";
    check(&shop, write, Code::TooManyFields, "budget max_fields").await;
    assert!(shop.raw().await.starts_with("1 a-t1 new"), "nothing was changed");
    shop.rows("a-ann", "UPDATE orders SET status = 'x' WHERE id = 1 RETURNING id, status", r#"[[1,"x"]]"#)
        .await;
    let slow =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c, orders";
    check(&shop, slow, Code::QueryTimedOut, "budget statement_timeout of Order").await;
}

#[tokio::test]
async fn cost_is_asked_before_anything_runs() {
    let shop = Shop::guarded("budget_cost").await;
    shop.put(&budgets("max_cost: 100000", "max_cost: 1000")).await;
    shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[1],[2]]").await;
    let product = "SELECT count(*) FROM orders, generate_series(1, 100000) s";
    check(&shop, product, Code::CostExceeded, "budget max_cost of Order").await;
    let series = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    check(&shop, series, Code::CostExceeded, "budget max_cost").await;
    // With the caller's values, and at every door.
    let with_value = QueryRequest {
        parameters: vec![Some("new".to_owned())],
        ..query("SELECT id FROM orders WHERE status = $1")
    };
    assert_eq!(shop.ask("a-ann", with_value).await.as_deref(), Ok("[[1]]"));
    let call = shop.world.call_as("a-ann").await;
    let gateway = &shop.world.gateway;
    let streamed = gateway.stream_query(&call, &shop.key, query(product)).await;
    assert_eq!(code(streamed.map(drop)), Code::CostExceeded);
    assert_eq!(code(gateway.submit_query(&call, &shop.key, query(product)).await), Code::CostExceeded);
    let change = "UPDATE orders SET status = (SELECT max(o.status) FROM orders o, generate_series(1, 100000) s) WHERE id = 1";
    check(&shop, change, Code::CostExceeded, "budget max_cost of Order").await;
}

#[tokio::test]
async fn broad_queries_are_refused() {
    let shop = Shop::guarded("budget_broad").await;
    shop.give("a-ann", &[], r#"{"region": ["eu", "us"]}"#).await;
    shop.put(&budgets("", "refuse_broad_queries: true")).await;
    for broad in [
        "SELECT id FROM orders",
        "SELECT count(*) FROM orders",
        "SELECT id FROM orders WHERE TRUE",
        "SELECT id FROM orders WHERE 1 = 1 ORDER BY id",
        "SELECT id FROM orders LIMIT NULL",
        "SELECT o.id FROM orders o JOIN regions r ON r.id = o.id",
        "SELECT (SELECT count(*) FROM orders)",
        "SELECT id FROM regions UNION SELECT id FROM orders",
        "WITH o AS (SELECT id FROM orders) SELECT id FROM o",
        "SELECT id FROM (SELECT id FROM orders) o",
        "UPDATE orders SET status = 'x'",
    ] {
        check(&shop, broad, Code::QueryTooBroad, "budget refuse_broad_queries of Order").await;
    }
    for narrow in [
        "SELECT id FROM regions",
        "SELECT id FROM orders WHERE id = 1",
        "SELECT id FROM orders WHERE id IN (1, 2)",
        "SELECT id FROM orders LIMIT 10",
        "SELECT id FROM orders FETCH FIRST ROW ONLY",
        "SELECT o.id FROM orders o JOIN regions r ON r.id = o.id WHERE r.id = 1",
        "SELECT id FROM (SELECT id FROM orders) o WHERE id = 1",
        "SELECT id FROM (SELECT id FROM orders) o LIMIT 5",
        "WITH o AS (SELECT id FROM orders) SELECT id FROM o WHERE id > 1",
        "SELECT id FROM regions WHERE id IN (SELECT id FROM orders)",
        "(SELECT id FROM orders) UNION (SELECT id FROM regions) LIMIT 3",
        "UPDATE orders SET status = 'x' WHERE id = 1",
    ] {
        shop.run("a-ann", narrow).await.unwrap_or_else(|refused| panic!("{narrow}: {refused}"));
    }
    let call = shop.world.call_as("a-ann").await;
    let compiled = shop.world.gateway.compile_query(&call, &shop.key, "SELECT id FROM orders", &[]).await;
    assert!(compiled.unwrap().error.is_some_and(|error| error.contains("as a whole")));
    shop.put(&budgets("refuse_broad_queries: true", "")).await;
    check(&shop, "SELECT id FROM regions", Code::QueryTooBroad, "budget refuse_broad_queries").await;
}

#[tokio::test]
async fn places_of_a_tenant_are_freed_however_a_statement_ends() {
    let shop = Shop::guarded("budget_places").await;
    shop.put(&budgets("max_concurrent: 3", "max_concurrent: 1")).await;
    let gateway = &shop.world.gateway;
    let endless =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c, orders";
    let free = async || shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[1],[2]]").await;
    let taken = async || {
        check(&shop, "SELECT id FROM orders", Code::TenantBusy, "budget max_concurrent of Order").await;
        shop.rows("a-ann", "SELECT 1", "[[1]]").await;
        // Another tenant has places of its own.
        shop.rows("a-abe", "SELECT id FROM orders ORDER BY id", "[[3],[4]]").await;
    };
    free().await;
    // Cancelled.
    let call = shop.world.call_as("a-ann").await;
    let id = gateway.submit_query(&call, &shop.key, query(endless)).await.unwrap();
    running("budget_places", "RECURSIVE").await;
    taken().await;
    gateway.cancel_query(&call, None, id.as_str()).await.unwrap();
    eventually(|| async { shop.run("a-ann", "SELECT id FROM orders").await.ok() }).await;
    // Abandoned.
    let waiting = {
        let (gateway, key) = (gateway.clone(), shop.key.clone());
        tokio::spawn(async move { gateway.run_query(&call, &key, query(endless)).await.map(drop) })
    };
    running("budget_places", "RECURSIVE").await;
    taken().await;
    waiting.abort();
    assert!(waiting.await.is_err());
    free().await;
    stopped("budget_places", "RECURSIVE").await;
    // Failed, and timed out.
    shop.refused("a-ann", "SELECT 1 / (id - 1) FROM orders", Code::QueryFailed).await;
    let short = QueryRequest { timeout_ms: Some(50), ..query(endless) };
    assert_eq!(code(shop.ask("a-ann", short).await), Code::QueryTimedOut);
    free().await;
    // A stream keeps its place until it is dropped.
    let call = shop.world.call_as("a-ann").await;
    let mut stream = gateway.stream_query(&call, &shop.key, query("SELECT id FROM orders")).await.unwrap();
    taken().await;
    while stream.next().await.unwrap().is_some() {}
    drop(stream);
    free().await;
    // Members of one tenant share them.
    let call = shop.world.call_as("a-boss").await;
    let stream = gateway.stream_query(&call, &shop.key, query("SELECT id FROM orders")).await.unwrap();
    taken().await;
    drop(stream);
    free().await;
}

#[tokio::test]
async fn a_tenant_has_so_many_statements_a_minute() {
    let shop = Shop::guarded("budget_minute").await;
    shop.put(&budgets("requests_per_minute: 4", "requests_per_minute: 2")).await;
    for _ in 0..2 {
        shop.rows("a-ann", "SELECT id FROM orders ORDER BY id", "[[1],[2]]").await;
    }
    check(&shop, "SELECT id FROM orders", Code::TenantRateLimited, "budget requests_per_minute of Order")
        .await;
    shop.refused("a-boss", "SELECT id FROM orders", Code::TenantRateLimited).await;
    check(&shop, "SELECT 1", Code::TenantRateLimited, "budget requests_per_minute").await;
    shop.rows("a-abe", "SELECT id FROM orders ORDER BY id", "[[3],[4]]").await;
}

#[tokio::test]
async fn a_reason_is_wanted_for_what_is_changed() {
    let shop = Shop::guarded("budget_reason").await;
    let regions = "table: public.regions\n    write_policy: { update: allow, require_reason: true }";
    shop.put(&POLICY.replace("table: public.regions", regions)).await;
    shop.give("a-ann", &[], r#"{"region": ["eu", "us"]}"#).await;
    // It only reads what wants a reason.
    let read = "UPDATE orders SET status = (SELECT min(region) FROM regions) WHERE id = 1";
    shop.run("a-ann", read).await.unwrap();
    let change = "UPDATE regions SET region = 'us' WHERE id IN (SELECT id FROM orders)";
    shop.refused("a-ann", change, Code::ReasonRequired).await;
    let inside = "WITH u AS (UPDATE regions SET id = id WHERE id = 1 RETURNING id) SELECT id FROM u";
    let refused = shop.run("a-ann", inside).await.expect_err(inside);
    assert!([Code::ReasonRequired, Code::StatementNotAdmitted].contains(&refused.code), "{refused}");
    let why = QueryRequest { reason: Some("because".to_owned()), ..query(change) };
    shop.ask("a-ann", why).await.unwrap();
}

#[tokio::test]
async fn a_result_of_an_earlier_view_is_not_read_again() {
    let shop = Shop::guarded("budget_results").await;
    let gateway = &shop.world.gateway;
    let submit = async || {
        let call = shop.world.call_as("a-ann").await;
        let asked = query("SELECT id FROM orders ORDER BY id");
        gateway.submit_query(&call, &shop.key, asked).await.unwrap().as_str().to_owned()
    };
    let read = async |id: &str| {
        let outcome = gateway.query_result(&shop.world.call_as("a-ann").await, None, id, None).await?;
        Ok::<_, Refused>(serde_json::to_string(&outcome.result.rows).unwrap())
    };
    let outdated = async |id: &str| {
        assert_eq!(code(read(id).await), Code::ResultOutdated);
        assert_eq!(code(read(id).await), Code::NotFound, "it was dropped");
    };
    let id = submit().await;
    assert_eq!(read(&id).await.as_deref(), Ok("[[1],[2]]"));
    assert_eq!(read(&id).await.as_deref(), Ok("[[1],[2]]"));
    shop.put(&POLICY.replace("max_rows: 2", "max_rows: 3")).await;
    outdated(&id).await;
    let id = submit().await;
    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    outdated(&id).await;
    let id = submit().await;
    assert_eq!(read(&id).await.as_deref(), Ok("[[1],[2],[3],[4]]"));
    shop.give("a-ann", &[], "{}").await;
    outdated(&id).await;
    // What an open connection showed is not shown once it is guarded.
    let open = Shop::open("budget_results_open").await;
    let call = open.world.call_as("a-ann").await;
    let asked = query("SELECT id FROM orders ORDER BY id");
    let id = open.world.gateway.submit_query(&call, &open.key, asked).await.unwrap();
    assert!(open.world.gateway.query_result(&call, None, id.as_str(), None).await.is_ok());
    open.put(POLICY).await;
    assert_eq!(
        code(open.world.gateway.query_result(&call, None, id.as_str(), None).await),
        Code::ResultOutdated
    );
}

/// A tenant that floods the connection gets as many places as its budget says, and takes none of its neighbour's.
#[tokio::test]
async fn a_noisy_tenant_takes_nothing_from_its_neighbour() {
    let shop = Shop::guarded("budget_noisy").await;
    shop.put(&format!(
        "{POLICY}\nbudget: [ {{ max_concurrent: 50 }}, {{ tenants: [a-t1], max_concurrent: 2 }} ]\n"
    ))
    .await;
    let gateway = &shop.world.gateway;
    let endless =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c, orders";
    let mut calls = Vec::new();
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let call = shop.world.call_as("a-ann").await;
        under_way.push(gateway.submit_query(&call, &shop.key, query(endless)).await.unwrap());
        calls.push(call);
    }
    // Fifty more of the noisy one are refused, and between them each of the other's gets through.
    let (mut refused, mut answered) = (0, 0);
    for _ in 0..50 {
        let flood = shop.run("a-ann", "SELECT id FROM orders").await;
        refused += u32::from(matches!(flood, Err(refused) if refused.code == Code::TenantBusy));
        answered += u32::from(shop.run("a-abe", "SELECT id FROM orders").await.is_ok());
    }
    assert_eq!((refused, answered), (50, 50));
    for (call, id) in calls.iter().zip(&under_way) {
        gateway.cancel_query(call, None, id.as_str()).await.unwrap();
    }
    eventually(|| async { shop.run("a-ann", "SELECT id FROM orders").await.ok() }).await;
}

/// What is left is told with the answer, and with the refusal.
#[tokio::test]
async fn callers_are_told_of_their_budgets() {
    let shop = Shop::guarded("budget_told").await;
    shop.put(&budgets(
        "max_rows: 9, requests_per_minute: 2",
        "max_rows: 3, statement_timeout: 2s, max_concurrent: 4",
    ))
    .await;
    let mut remaining = Vec::new();
    for _ in 0..3 {
        let call = shop.world.call_as("a-ann").await;
        let ran = shop.world.gateway.run_query(&call, &shop.key, query("SELECT id FROM orders")).await;
        let told = call.log().budget().unwrap();
        let rate = told.rate.unwrap();
        assert_eq!(
            (told.max_rows, told.timeout.map(|time| time.as_secs()), rate.limit),
            (Some(3), Some(2), 2)
        );
        remaining.push((ran.is_ok(), rate.remaining, told.concurrency.map(|held| (held.limit, held.used))));
    }
    assert_eq!(remaining, [(true, 1, Some((4, 1))), (true, 0, Some((4, 1))), (false, 0, None)]);
    let call = shop.world.call_as("a-abe").await;
    shop.world.gateway.run_query(&call, &shop.key, query("SELECT 1")).await.unwrap();
    let told = call.log().budget().unwrap();
    assert_eq!((told.max_rows, told.rate.unwrap().remaining, told.concurrency), (Some(9), 1, None));
}
