//! Two tenants, their shops and sales: the rows that tests ask about.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfence_policy::evaluate::{Datum, Row, World, holds};
use ringfence_policy::principal::permissions_of;
use ringfence_policy::{
    AccessRule, Catalog, Column, ConnectionKind, Denial, OrgId, Policy, Principal, Question, Relation,
    RelationName, Role, Schema, TenantId, UserId, decide,
};
use serde_json::{Value, json};

pub(crate) type Rows = BTreeMap<RelationName, Vec<Row>>;

/// A principal of that tenant with data roles and attributes.
pub(crate) fn principal(tenant: &str, user: &str, roles: &[&str], attributes: Value) -> Principal {
    let Value::Object(attributes) = attributes else { panic!("attributes are an object") };
    Principal {
        org: OrgId::new("acme").unwrap(),
        tenant: TenantId::new(tenant).unwrap(),
        user: UserId::new(user).unwrap(),
        name: user.to_owned(),
        roles: vec![Role::ApiUser],
        data_roles: roles.iter().map(|&role| role.to_owned()).collect(),
        permissions: permissions_of(&[Role::ApiUser]),
        attributes: Arc::new(attributes),
        standing: None,
        acted_by: None,
        application: None,
        agent: None,
    }
}

pub(crate) fn name(table: &str) -> RelationName {
    RelationName::new("public", table)
}

pub(crate) fn catalog() -> Catalog {
    let column = |text: &str| {
        let (name, data_type) = text.split_once(' ').unwrap();
        Column { name: name.to_owned(), data_type: data_type.to_owned(), nullable: true, ..Column::default() }
    };
    let relation = |name: &str, columns: &[&str]| Relation {
        name: name.to_owned(),
        columns: columns.iter().map(|text| column(text)).collect(),
        ..Relation::default()
    };
    let relations = vec![
        relation("regions", &["id integer", "tenant text", "name text"]),
        relation(
            "sales",
            &[
                "id integer", "tenant text", "shop integer", "owner text", "status text", "amount integer",
                "email text",
            ],
        ),
        relation("shops", &["id integer", "tenant text", "city text", "country text", "region integer"]),
    ];
    Catalog { database: "db".to_owned(), schemas: vec![Schema { name: "public".to_owned(), relations }] }
}

pub(crate) fn row(value: &Value) -> Row {
    let object = value.as_object().unwrap();
    object.iter().map(|(name, value)| (name.clone(), Datum::from_json(value).unwrap())).collect()
}

/// Every sale has a shop and every shop a region: a missing partner is a matter of its own.
pub(crate) fn rows() -> Rows {
    let rows = |list: Value| list.as_array().unwrap().iter().map(row).collect::<Vec<_>>();
    BTreeMap::from([
        (
            name("regions"),
            rows(
                json!([{"id": 1, "tenant": "a", "name": "north"}, {"id": 2, "tenant": "b", "name": "south"}]),
            ),
        ),
        (
            name("shops"),
            rows(json!([
                {"id": 1, "tenant": "a", "city": "Paris", "country": "France", "region": 1},
                {"id": 2, "tenant": "a", "city": "Lyon", "country": "France", "region": 1},
                {"id": 3, "tenant": "b", "city": "Rome", "country": "Italy", "region": 2},
                {"id": 4, "tenant": "b", "city": null, "country": null, "region": 2},
            ])),
        ),
        (
            name("sales"),
            rows(json!([
                {"id": 1, "tenant": "a", "shop": 1, "owner": "u", "status": "draft", "amount": 1, "email": "u@x.io"},
                {"id": 2, "tenant": "a", "shop": 2, "owner": "v", "status": "draft", "amount": 2, "email": "v@x.io"},
                {"id": 3, "tenant": "a", "shop": 1, "owner": "v", "status": null, "amount": 3, "email": null},
                {"id": 4, "tenant": "b", "shop": 3, "owner": "w", "status": "done", "amount": 4, "email": "w@x.io"},
                {"id": 5, "tenant": "b", "shop": 4, "owner": "w", "status": null, "amount": null, "email": "x"},
                {"id": 6, "tenant": null, "shop": 2, "owner": null, "status": "done", "amount": 6, "email": ""},
            ])),
        ),
    ])
}

/// The ids of all sales.
pub(crate) const EVERY_SALE: &[i128] = &[1, 2, 3, 4, 5, 6];

pub(crate) fn load(text: &str) -> Policy {
    Policy::load("policy.yaml", text, ConnectionKind::Postgresql)
        .unwrap_or_else(|invalid| panic!("{invalid}\n{text}"))
}

/// What is asked where nothing is filtered and no access rule holds.
pub(crate) fn plain_question<'a>(
    policy: &'a Policy,
    catalog: &'a Catalog,
    principal: &'a Principal,
) -> Question<'a> {
    Question { policy, catalog, unfiltered: catalog, rules: &[], principal }
}

/// The ids of the rows that the principal sees, by the decision under test.
pub(crate) fn seen(
    policy: &Policy,
    rules: &[AccessRule],
    who: &Principal,
    table: &str,
) -> Result<Vec<i128>, Denial> {
    let (catalog, rows) = (catalog(), rows());
    let question = Question { policy, catalog: &catalog, unfiltered: &catalog, rules, principal: who };
    let entitlement = decide(question, &name(table))?;
    let world = World { principal: who, relations: &rows };
    Ok(ids(&rows[&name(table)], |row| holds(&entitlement.rows, world, row).unwrap()))
}

pub(crate) fn ids(rows: &[Row], mut shown: impl FnMut(&Row) -> bool) -> Vec<i128> {
    let id = |row: &Row| match row["id"] {
        Datum::Integer(id) => id,
        ref other => panic!("an id is a number: {other:?}"),
    };
    rows.iter().filter(|row| shown(row)).map(id).collect()
}
