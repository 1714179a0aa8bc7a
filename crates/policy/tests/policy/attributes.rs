//! Attributes that are read from the connection: what their queries may say, and what a list of them shows.

use proptest::prelude::*;
use proptest::sample::select;
use ringfence_policy::document::AttributeShape;
use ringfence_policy::evaluate::{Datum, World, evaluate};
use ringfence_policy::expression::Literal;
use ringfence_policy::resolve::resolve_query;
use ringfence_policy::{ConnectionKind, Denial, Expression, Policy, Principal};
use serde_json::{Value, json};

use crate::world::{Rows, catalog, ids, load, name, plain_question, principal, rows, seen};

fn problems(query: &str) -> Vec<String> {
    let document =
        json!({"attributes": {"mine": {"query": query}, "other": "SELECT id FROM sales"}}).to_string();
    match Policy::load("p.json", &document, ConnectionKind::Postgresql) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.problems.into_iter().map(|problem| problem.message).collect(),
    }
}

#[test]
fn a_query_reads_one_column_of_relations() {
    for fine in [
        "SELECT tenant FROM shops",
        "SELECT DISTINCT s.tenant FROM public.shops s JOIN regions r ON r.id = s.region WHERE r.name = principal.org_id",
        "SELECT lower(tenant) FROM shops WHERE tenant IN principal.attributes.tenants AND region IS NOT NULL",
        "SELECT tenant FROM shops WHERE EXISTS (SELECT 1 FROM regions r WHERE r.id = shops.region)",
    ] {
        assert_eq!(problems(fine), Vec::<String>::new(), "{fine}");
    }
    for (wrong, part) in [
        ("", "the query is empty"),
        ("tenant", "expected"),
        ("SELECT 1", "without FROM"),
        ("SELECT id, tenant FROM shops", "other than one column"),
        ("SELECT * FROM shops", "other than one column"),
        ("SELECT tenant FROM shops; DELETE FROM shops", "was not expected here"),
        ("DELETE FROM shops RETURNING tenant", "other than SELECT"),
        ("SELECT tenant FROM shops LIMIT 1", "LIMIT"),
        ("SELECT tenant FROM shops UNION SELECT name FROM regions", "other than SELECT"),
        ("SELECT count(*) FROM shops GROUP BY tenant", "other than SELECT"),
        ("SELECT tenant FROM (SELECT tenant FROM shops) s", "no relation of the connection"),
        ("SELECT tenant FROM generate_series(1, 2) s", "no relation of the connection"),
        ("SELECT pg_sleep(9) FROM shops", "pg_sleep"),
        ("SELECT tenant FROM shops, regions", "say of which relation"),
        ("SELECT tenant FROM shops WHERE sales.id = 1", "no relation that can be named here"),
        ("SELECT tenant FROM shops WHERE id = principal.attributes.other", "can't be read by another"),
        ("SELECT tenant FROM shops WHERE id IN principal.attributes.mine", "can't be read by another"),
        ("SELECT tenant FROM shops WHERE id = principal.attributes.ringfence.key", "the server's own"),
    ] {
        let told = problems(wrong);
        assert!(told.len() == 1 && told[0].contains(part), "{wrong}: {told:?}");
    }
}

#[test]
fn what_a_query_names_is_checked() {
    let policy = load("attributes: { mine: 'SELECT tenat FROM shops', other: 'SELECT a.id FROM shopz a' }");
    let told: Vec<_> = policy.check(&catalog()).into_iter().map(|problem| problem.problem.message).collect();
    assert_eq!(told, ["there is no column `tenat`", "there is no table public.shopz"]);
    let policy = load(
        "attributes: { mine: { query: { postgresql: 'SELECT id FROM shops' }, ttl: 2m, shape: value } }",
    );
    let mine = &policy.attributes["mine"];
    assert_eq!((mine.shape, mine.ttl.as_secs()), (AttributeShape::Value, 120));
    assert_eq!(mine.query.relations(), [&name("shops")]);
}

/// What a gateway would have read: each value once, NULL among them.
fn read(policy: &Policy, who: &Principal, rows: &Rows) -> Value {
    let query = Box::new(resolve_query(&policy.attributes["mine"].query, who).unwrap());
    let world = World { principal: who, relations: rows };
    let found = |literal| {
        let operand = Box::new(Expression::Literal(literal));
        evaluate(&Expression::InQuery { operand, query: query.clone(), negated: false }, world, None).unwrap()
    };
    let mut values: Vec<Value> = ["a", "b"]
        .into_iter()
        .filter(|text| found(Literal::Text((*text).to_owned())) == Datum::Bool(true))
        .map(Value::from)
        .collect();
    if found(Literal::Text("nobody's".to_owned())) == Datum::Null {
        values.push(Value::Null);
    }
    Value::Array(values)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// A list that was read shows what the query itself would show in its place, NULL and NOT among it.
    #[test]
    fn a_list_that_was_read_stands_for_its_query(
        condition in select(vec![
            "FALSE", "TRUE", "shop = 1", "owner = principal.user_id", "status IS NULL", "tenant = principal.tenant_id",
            "amount > 3", "tenant IS NULL",
        ]),
        tenant in select(vec!["a", "b"]), user in select(vec!["u", "v", "w"]),
        negated in prop::bool::ANY,
    ) {
        let (rows, query) = (rows(), format!("SELECT s.tenant FROM sales s WHERE {condition}"));
        let not = if negated { "NOT " } else { "" };
        let document = json!({
            "attributes": {"mine": query.replace("FROM sales s", "FROM sales")
                .replace("s.tenant", "tenant")},
            "models": {"S": {"table": "sales", "row_policies": [
                {"name": "read", "condition": format!("tenant {not}IN principal.attributes.mine")}]}},
        });
        let by_hand = json!({"models": {"S": {"table": "sales", "row_policies": [
            {"name": "joined", "condition": format!("tenant {not}IN ({query})")}]}}});
        let policy = load(&document.to_string());
        let before = principal(tenant, user, &[], json!({"mine": ["a", "b"]}));
        let list = read(&policy, &before, &rows);
        let who = principal(tenant, user, &[], json!({"mine": list}));
        prop_assert_eq!(seen(&policy, &[], &who, "sales"), seen(&load(&by_hand.to_string()), &[], &who, "sales"));
        // As a scope: the same rows, and an empty list is none.
        if !negated {
            let scoped = json!({"models": {"S": {"table": "sales", "scoping": {"tenant": "principal.attributes.mine"}}}});
            let shown = seen(&load(&scoped.to_string()), &[], &who, "sales");
            prop_assert_eq!(shown.clone(), seen(&policy, &[], &who, "sales"));
            prop_assert!(list != json!([]) || shown == Ok(Vec::new()));
            let rows = &rows[&name("sales")];
            prop_assert!(shown.unwrap().len() <= ids(rows, |row| row["tenant"] != Datum::Null).len());
        }
    }
}

#[test]
fn an_attribute_that_is_not_there_is_an_error() {
    let policy = load(
        "attributes: { mine: { query: 'SELECT tenant FROM shops', shape: value } }
models: { S: { table: sales, scoping: { tenant: principal.attributes.mine } } }",
    );
    for nothing in [json!({}), json!({"mine": null})] {
        let denied = seen(&policy, &[], &principal("a", "u", &[], nothing), "sales");
        let attribute = "principal.attributes.mine".to_owned();
        assert_eq!(denied, Err(Denial::ScopeRequired { attribute }));
    }
    let nobody = principal("a", "u", &[], json!({"mine": []}));
    assert_eq!(seen(&policy, &[], &nobody, "sales"), Ok(vec![]));
}

#[test]
fn long_lists_have_steps_where_there_are_no_arrays() {
    use ringfence_policy::decide;
    use ringfence_policy::expression::ListShape;
    let shape = |kind: ConnectionKind, count: usize| {
        let text = "search_schemas: [public]\nmodels: { S: { table: sales, scoping: { tenant: principal.attributes.t } } }";
        let policy = Policy::load("p", text, kind).unwrap();
        let tenants: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let (catalog, who) = (catalog(), principal("a", "u", &[], json!({"t": tenants})));
        let question = plain_question(&policy, &catalog, &who);
        match decide(question, &name("sales")).unwrap().rows {
            Expression::InPrincipal { values, .. } => values,
            other => panic!("{other:?}"),
        }
    };
    for (count, expected) in [(8, ListShape::Few(8)), (9, ListShape::Padded(16)), (17, ListShape::Padded(32))]
    {
        assert_eq!(shape(ConnectionKind::Mysql, count), expected);
    }
    assert_eq!(shape(ConnectionKind::Mysql, 10_000), ListShape::Padded(16_384));
    assert_eq!(shape(ConnectionKind::Postgresql, 10_000), ListShape::Many);
}
