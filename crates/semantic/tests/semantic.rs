//! Requests on models, and the statements that they become.

use std::sync::Arc;

use ringfence_policy::{
    Catalog, ConnectionKind, OrgId, Permissions, Policy, Principal, Question, TenantId, UserId, View, view,
};
use ringfence_semantic::query::{Bounds, page, row};
use ringfence_semantic::request::{Aggregate, Operation, Query};
use ringfence_semantic::{Models, Refusal, aggregate, complexity, description, write};
use serde_json::{Value, json};

const POLICY: &str = "
models:
  Order:
    table: orders
    scoping: { tenant_id: principal.tenant_id }
    soft_delete: deleted_at
    version: version
    fields:
      secret: deny
      card: { action: mask, mask_pattern: '****{last4}' }
      deleted_at: deny
    relations:
      customer: { model: Customer, on: { customer_id: id } }
      lines: { model: Line, on: { id: order_id }, many: true, max_depth: 1 }
      by_card: { model: Customer, on: { card: id } }
      hidden: { model: Hidden, on: { id: id } }
    write_policy:
      - roles: [writer]
        create: allow
        update: allow
        delete: approval
        immutable_fields: [tenant_id]
        required_fields: [status]
  Customer: { table: customers, scoping: { tenant_id: principal.tenant_id } }
  Line: { table: lines, scoping: { tenant_id: principal.tenant_id }, relations: { order: { model: Order, on: { order_id: id } } } }
  Hidden: { table: hidden, allowed: false }
  Scoped: { table: scoped, scoping: { region: principal.attributes.region } }
";

const BOUNDS: Bounds = Bounds { default_take: 100, max_take: 1_000, max_depth: 3, max_fields: None };

struct World {
    policy: Policy,
    view: View,
}

impl World {
    fn of(kind: ConnectionKind) -> Self {
        let schema = match kind {
            ConnectionKind::Sqlite => "main",
            ConnectionKind::Mysql => "shop",
            ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push => "public",
        };
        let table = |name: &str, columns: &[(&str, &str, bool)], key: &[&str]| {
            let columns: Vec<Value> = columns
                .iter()
                .map(|(name, data_type, nullable)| {
                    json!({ "name": name, "data_type": data_type, "nullable": nullable })
                })
                .collect();
            let constraints = json!([{ "kind": "primary", "columns": key }]);
            json!({ "name": name, "kind": "table", "columns": columns, "constraints": constraints })
        };
        let orders = [
            ("id", "integer", false),
            ("tenant_id", "text", false),
            ("customer_id", "integer", true),
            ("status", "text", false),
            ("total", "numeric", true),
            ("card", "text", true),
            ("secret", "text", true),
            ("version", "integer", false),
            ("deleted_at", "timestamp", true),
        ];
        let relations = json!([
            table("orders", &orders, &["id"]),
            table(
                "customers",
                &[("id", "integer", false), ("tenant_id", "text", false), ("name", "text", true)],
                &["id"]
            ),
            table(
                "lines",
                &[("order_id", "integer", false), ("line", "integer", false), ("tenant_id", "text", false)],
                &["order_id", "line"]
            ),
            table("hidden", &[("id", "integer", false)], &["id"]),
            table("scoped", &[("id", "integer", false), ("region", "text", false)], &["id"]),
        ]);
        let catalog = json!({ "database": "shop", "schemas": [{ "name": schema, "relations": relations }] });
        let catalog: Catalog = serde_json::from_value(catalog).unwrap();
        let policy = Policy::load_for("policy.yaml", POLICY, kind, "shop").unwrap();
        let principal = Principal {
            org: OrgId::new("acme").unwrap(),
            tenant: TenantId::new("acme-corp").unwrap(),
            user: UserId::new("ann").unwrap(),
            name: "Ann".to_owned(),
            roles: Vec::new(),
            data_roles: Arc::new(["writer".to_owned()]),
            permissions: Permissions::default(),
            attributes: Arc::default(),
            acted_by: None,
            application: None,
            agent: None,
            standing: None,
        };
        let question = Question {
            policy: &policy,
            catalog: &catalog,
            unfiltered: &catalog,
            rules: &[],
            principal: &principal,
        };
        let view = view(question);
        Self { policy, view }
    }

    fn models(&self) -> Models<'_> {
        Models::of(&self.policy, &self.view)
    }

    fn query(&self, query: Value, behind: Option<&[Value]>) -> Result<String, Refusal> {
        let query: Query = serde_json::from_value(query).unwrap();
        page(self.models().named("Order").unwrap(), &query, BOUNDS, behind).map(|page| page.statement.text)
    }
}

fn postgres() -> World {
    World::of(ConnectionKind::Postgresql)
}

#[test]
fn hidden_and_missing_are_one() {
    let world = postgres();
    let alike = |hidden: Refusal, missing: Refusal, names: [&str; 2]| {
        // What there is stands in the order of likeness, which is another for another name.
        let words = |refusal: &Refusal, name: &str| {
            let text = refusal.to_string().replace(name, "?");
            let mut words: Vec<String> = text.split([' ', ',']).map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(words(&hidden, names[0]), words(&missing, names[1]));
        assert_eq!(std::mem::discriminant(&hidden), std::mem::discriminant(&missing));
    };
    let model = |name: &str| world.models().named(name).unwrap_err();
    alike(model("Hidden"), model("Hiddem"), ["Hidden", "Hiddem"]);
    let order = world.models().named("Order").unwrap();
    let field = |name: &str| order.field(name).unwrap_err();
    alike(field("secret"), field("secrex"), ["secret", "secrex"]);
    let way = |name: &str| order.way(name).map(|way| way.name.to_owned()).unwrap_err();
    alike(way("hidden"), way("hiddem"), ["hidden", "hiddem"]);
    alike(way("by_card"), way("by_carx"), ["by_card", "by_carx"]);
    // What is seen says nothing of what is not.
    let told = serde_json::to_string(&description::describe(order, BOUNDS, false)).unwrap();
    for word in ["secret", "deleted_at", "Hidden", "hidden", "by_card"] {
        assert!(!told.contains(word), "{word}: {told}");
    }
    assert!(matches!(world.models().named("Scoped"), Err(Refusal::Denied(_))));
}

#[test]
fn every_place_of_a_request_is_held_against_what_is_seen() {
    let world = postgres();
    for query in [
        json!({ "select": ["secret"] }),
        json!({ "where": { "field": "secret", "op": "is_null" } }),
        json!({ "where": { "not": [{ "or": [{ "field": "secret", "op": "eq", "value": "x" }] }] } }),
        json!({ "order_by": ["secret"] }),
        json!({ "include": { "customer": { "select": ["secret"] } } }),
        json!({ "include": { "lines": { "order_by": ["secret"] } } }),
    ] {
        let refused = world.query(query.clone(), None).unwrap_err();
        assert!(matches!(refused, Refusal::FieldNotAllowed { .. }), "{query}: {refused}");
    }
    let order = world.models().named("Order").unwrap();
    for request in [
        json!({ "aggregates": [{ "op": "max", "field": "secret" }] }),
        json!({ "aggregates": [{ "op": "count" }], "group_by": ["secret"] }),
    ] {
        let request: Aggregate = serde_json::from_value(request).unwrap();
        assert!(matches!(aggregate::figures(order, &request, BOUNDS), Err(Refusal::FieldNotAllowed { .. })));
    }
    let returned = write::returned(order, None).unwrap();
    let data = |value: Value| vec![value.as_object().unwrap().clone()];
    for (row, expected) in [
        (json!({ "status": "x", "secret": "y" }), "no field \"secret\""),
        (json!({ "status": "x", "card": "y" }), "can't be written"),
        (json!({ "total": 1 }), "needs \"status\""),
        (json!({ "status": 5 }), "is a text"),
    ] {
        let refused = write::create(order, &data(row), &returned).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    let keys = [write::key_of(order, &json!(1)).unwrap()];
    for (change, expected) in [
        (json!({ "tenant_id": "x" }), "can't be changed"),
        (json!({ "version": 7 }), "can't be changed"),
        (json!({ "card": "x" }), "can't be written"),
        (json!({}), "names no field"),
    ] {
        let change = change.as_object().unwrap();
        let refused = write::update(order, &keys, change, None, &returned).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn values_are_parameters_and_never_text() {
    let nasty = "'; DROP TABLE orders; --\" ` $1 ?";
    for kind in [ConnectionKind::Postgresql, ConnectionKind::Sqlite, ConnectionKind::Mysql] {
        let world = World::of(kind);
        let order = world.models().named("Order").unwrap();
        let all = ["eq", "ne", "contains", "startswith", "endswith"];
        let conditions: Vec<Value> =
            all.iter().map(|op| json!({ "field": "status", "op": op, "value": nasty })).collect();
        let query: Query =
            serde_json::from_value(json!({ "where": conditions, "order_by": ["-status"] })).unwrap();
        let behind = [json!(nasty), json!(7)];
        let planned = page(order, &query, BOUNDS, Some(&behind)).unwrap();
        assert!(!planned.statement.text.contains("DROP"), "{}", planned.statement.text);
        let (found, _) = row(order, None, &json!(7), BOUNDS).unwrap();
        assert_eq!(found.parameters, [json!(7)]);
        let returned = write::returned(order, None).unwrap();
        let data = json!({ "status": nasty, "tenant_id": nasty });
        let inserted = write::create(order, &[data.as_object().unwrap().clone()], &returned).unwrap();
        assert!(!inserted[0].statement.text.contains("DROP"));
        let placeholders = inserted[0].statement.parameters.len();
        assert_eq!(placeholders, 2);
    }
}

#[test]
fn statements_are_these() {
    let world = postgres();
    let text = world.query(json!({ "select": ["id", "total"], "order_by": ["-total"], "take": 5 }), None);
    let expected = "SELECT t.\"id\", t.\"total\" FROM \"public\".\"orders\" AS t ORDER BY t.\"total\" DESC, t.\"id\" LIMIT 6";
    assert_eq!(text.unwrap(), expected);
    let behind = [Value::Null, json!(3)];
    let text = world.query(json!({ "select": ["id"], "order_by": ["-total"] }), Some(&behind)).unwrap();
    assert!(
        text.contains(
            "WHERE ((t.\"total\" IS NOT NULL) OR (t.\"total\" IS NULL AND t.\"id\" > $1)) ORDER BY"
        ),
        "{text}"
    );
    assert!(world.query(json!({}), Some(&[json!(1), json!(2)])).is_err(), "a cursor of another order");

    let order = world.models().named("Order").unwrap();
    let key = write::key_of(order, &json!({ "id": 4 })).unwrap();
    let deleted = write::delete(order, std::slice::from_ref(&key), Some(&json!(2))).unwrap();
    assert_eq!(
        deleted.text,
        "UPDATE \"public\".\"orders\" AS t SET \"deleted_at\" = CURRENT_TIMESTAMP WHERE t.\"id\" = $1 AND t.\"version\" = $2 \
         AND t.\"deleted_at\" IS NULL"
    );
    let returned = write::returned(order, Some(&["id".to_owned()])).unwrap();
    let change = json!({ "status": "x" });
    let updated = write::update(order, &[key], change.as_object().unwrap(), None, &returned).unwrap();
    assert_eq!(
        updated.text,
        "UPDATE \"public\".\"orders\" AS t SET \"status\" = $1, \"version\" = coalesce(t.\"version\", 0) + 1 \
         WHERE t.\"id\" = $2 RETURNING \"id\""
    );
}

#[test]
fn includes_are_one_statement_for_many_numbers_of_keys() {
    let world = postgres();
    let order = world.models().named("Order").unwrap();
    let query = json!({ "include": { "lines": { "take": 2, "select": ["line"] }, "customer": {} } });
    let query: Query = serde_json::from_value(query).unwrap();
    let planned = page(order, &query, BOUNDS, None).unwrap();
    let lines = planned.includes.iter().find(|included| included.way.name == "lines").unwrap();
    let of = |keys: i64| {
        let keys: Vec<Vec<Value>> = (0..keys).map(|key| vec![json!(key)]).collect();
        lines.statement(&keys, 100).unwrap().text
    };
    assert_eq!(of(5), of(8));
    assert_ne!(of(8), of(9));
    assert_eq!(of(17), of(5_000), "many keys are one parameter");
    assert!(of(1).contains("row_number() OVER (PARTITION BY t.\"order_id\" ORDER BY"), "{}", of(1));
    for (query, depth, is_fine) in [
        (json!({ "include": { "customer": {} } }), 1, true),
        (json!({ "include": { "customer": {} } }), 0, false),
        (json!({ "include": { "lines": { "include": { "order": {} } } } }), 3, false),
    ] {
        let query: Query = serde_json::from_value(query.clone()).unwrap();
        let bounds = Bounds { max_depth: depth, ..BOUNDS };
        assert_eq!(page(order, &query, bounds, None).is_ok(), is_fine, "{query:?} {depth}");
    }
}

#[test]
fn operations_are_read_as_they_are_written() {
    for operation in [
        json!({ "action": "create", "model": "Order", "data": { "status": "x" } }),
        json!({ "action": "update", "model": "Order", "id": 1, "data": {}, "if_version": 3, "return_fields": ["id"] }),
        json!({ "action": "bulk_update", "model": "Order", "ids": [1, { "id": 2 }], "data": {} }),
        json!({ "action": "delete", "model": "Order", "id": 1 }),
    ] {
        let read: Operation = serde_json::from_value(operation.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), operation);
        assert_eq!(read.action(), operation["action"]);
    }
    let unknown = json!({ "action": "delete", "model": "Order", "id": 1, "force": true });
    assert!(serde_json::from_value::<Operation>(unknown).is_err());
}

#[test]
fn complexity_grows_with_what_is_asked() {
    let world = postgres();
    let order = world.models().named("Order").unwrap();
    let score = |query: Value| complexity::of_query(order, &serde_json::from_value(query).unwrap());
    let small = score(json!({ "select": ["id"] }));
    assert_eq!(small, 11);
    assert!(score(json!({})) > small);
    let wide = score(json!({ "select": ["id"], "include": { "customer": { "select": ["id"] } } }));
    let deep = score(
        json!({ "select": ["id"], "include": { "lines": { "include": { "order": { "include": { "customer": {} } } } } } }),
    );
    assert_eq!(wide, 11 + 22);
    assert!(deep > wide);
}
