//! A schema for each tenant: whose it is, and what there is beside it.

use ringfence_policy::{
    Catalog, Column, ConnectionKind, Constraint, Denial, Policy, Principal, Question, Realm, Relation,
    RelationName, Schema, TenantId, decide, view,
};
use serde_json::{Value, json};

use crate::world::principal;

const DOCUMENT: &str = r#"
default: allow
tenancy: { schema: "t_{tenant_id}", shared: [public], template: blank }
models:
  Note: { table: notes, scoping: { owner: principal.user_id } }
  Country: { table: public.countries }
"#;

fn load(document: &str) -> Policy {
    Policy::load("p.yaml", document, ConnectionKind::Postgresql).unwrap()
}

fn with(template: &str) -> Policy {
    load(&format!("tenancy: {{ schema: \"{template}\", shared: [commons], template: blank }}"))
}

fn of_tenant(tenant: &str, attributes: Value) -> Principal {
    let somebody = principal("t", "u", &[], attributes);
    Principal { tenant: TenantId::new(tenant).unwrap(), ..somebody }
}

fn schema(template: &str, tenant: &str, attributes: Value) -> Result<String, Denial> {
    let policy = with(template);
    policy.tenancy.unwrap().own(&of_tenant(tenant, attributes), ConnectionKind::Postgresql)
}

fn catalog() -> Catalog {
    let column = |name: &str| Column {
        name: name.to_owned(),
        data_type: if name == "mood" { "blank.mood".to_owned() } else { "text".to_owned() },
        ..Column::default()
    };
    let relation = |name: &str, columns: &[&str]| Relation {
        name: name.to_owned(),
        columns: columns.iter().map(|name| column(name)).collect(),
        constraints: vec![Constraint::Foreign {
            columns: vec!["owner".to_owned()],
            target_schema: "blank".to_owned(),
            target_relation: "people".to_owned(),
            target_columns: vec!["id".to_owned()],
        }],
        ..Relation::default()
    };
    let schema = |name: &str, relations: &[(&str, &[&str])]| Schema {
        name: name.to_owned(),
        relations: relations.iter().map(|(name, columns)| relation(name, columns)).collect(),
    };
    let all = &["id", "owner", "mood"][..];
    Catalog {
        database: "db".to_owned(),
        schemas: vec![
            schema("blank", &[("notes", all), ("people", all)]),
            schema("other", &[("notes", all)]),
            schema("public", &[("countries", &["id"])]),
            schema("t_a", &[("notes", &["id", "owner"])]),
            schema("t_b", &[("notes", &["id", "owner"]), ("extra", &["id"])]),
        ],
    }
}

#[test]
fn a_schema_is_a_tenants_own_or_none() {
    let good: [(&str, &str, Value, &str); 7] = [
        ("{tenant_id}", "acme", json!({}), "acme"),
        ("{ principal.tenant_id }", "Acme_2", json!({}), "Acme_2"),
        ("t_{tenant_id}_x", "7", json!({}), "t_7_x"),
        ("{org_id}_{tenant_id}", "one", json!({}), "acme_one"),
        ("{attributes.company}", "x", json!({"company": "company1"}), "company1"),
        ("c{attributes.a.b}", "x", json!({"a": {"b": 12}}), "c12"),
        ("{attributes.company}", "x", json!({"company": "publican"}), "publican"),
    ];
    for (template, tenant, attributes, expected) in good {
        assert_eq!(schema(template, tenant, attributes).as_deref(), Ok(expected), "{template}");
    }
    let long = "x".repeat(64);
    let wrong: [Value; 28] = [
        json!({}),
        json!({"c": null}),
        json!({"c": ""}),
        json!({"c": " "}),
        json!({"c": true}),
        json!({"c": 1.5}),
        json!({"c": -1}),
        json!({"c": ["a"]}),
        json!({"c": {"d": "a"}}),
        json!({"c": "a.b"}),
        json!({"c": "a\"b"}),
        json!({"c": "a b"}),
        json!({"c": "a-b"}),
        json!({"c": "a;b"}),
        json!({"c": "ä"}),
        json!({"c": "a\0"}),
        json!({"c": "1a"}),
        json!({"c": long}),
        json!({"c": "public"}),
        json!({"c": "PUBLIC"}),
        json!({"c": "commons"}),
        json!({"c": "Commons"}),
        json!({"c": "blank"}),
        json!({"c": "pg_catalog"}),
        json!({"c": "pg_temp_3"}),
        json!({"c": "information_schema"}),
        json!({"c": "main"}),
        json!({"c": "ringfence_tenants"}),
    ];
    for attributes in wrong {
        let denied = schema("{attributes.c}", "x", attributes.clone());
        let attribute = "principal.attributes.c".to_owned();
        assert_eq!(denied, Err(Denial::ScopeRequired { attribute }), "{attributes}");
    }
    // Put together, two values could be those of somebody else.
    for tenant in ["b_c", "_", "b_"] {
        assert!(schema("{org_id}_{tenant_id}", tenant, json!({})).is_err(), "{tenant}");
    }
    let policy = with("{tenant_id}");
    let shouting = policy.tenancy.unwrap().own(&of_tenant("Acme", json!({})), ConnectionKind::Mysql);
    assert!(shouting.is_err(), "databases of MySQL may be files of a system that knows no case");
}

#[test]
fn templates_that_could_mix_tenants_up_are_refused() {
    for template in [
        "",
        "fixed",
        "{}",
        "{user_id}",
        "{tenant}",
        "{tenant_id",
        "{org_id}{tenant_id}",
        "{org_id}x{tenant_id}",
        "a.{tenant_id}",
        "a b{tenant_id}",
        "{attributes}",
        "{attributes.}",
        "{attributes.ringfence.hash_key}",
    ] {
        let document = format!("tenancy: {{ schema: \"{template}\" }}");
        let invalid = Policy::load("p.yaml", &document, ConnectionKind::Postgresql).expect_err(template);
        assert!(
            invalid.problems.iter().any(|it| it.message.starts_with("the tenant's schema: ")),
            "{template}: {invalid}"
        );
        assert_eq!(invalid.problems[0].line, 1, "{template}");
    }
    for (document, kind) in [
        ("tenancy: { schema: \"{tenant_id}\" }", ConnectionKind::Sqlite),
        ("tenancy: { schema: \"{tenant_id}\" }\nsearch_schemas: [a]", ConnectionKind::Postgresql),
        ("tenancy: { schema: \"{tenant_id}\", shared: [a], template: A }", ConnectionKind::Postgresql),
        (
            "tenancy: { schema: \"{tenant_id}\" }\nmodels: { N: { table: other.notes } }",
            ConnectionKind::Postgresql,
        ),
        (
            "tenancy: { schema: \"{tenant_id}\" }\njoins: [ { from: a.b, to: other.c.d } ]",
            ConnectionKind::Postgresql,
        ),
        ("tenancy: {}", ConnectionKind::Postgresql),
        ("tenancy: { schema: \"{tenant_id}\", database: \"{tenant_id}\" }", ConnectionKind::Postgresql),
        ("tenancy: { database: \"{tenant_id}\" }", ConnectionKind::Mysql),
        ("tenancy: { database: \"{tenant_id}\", shared: [public] }", ConnectionKind::Postgresql),
        ("tenancy: { database: \"{tenant_id}\", template: blank }", ConnectionKind::Sqlite),
        ("tenancy: { database: \"../{tenant_id}\" }", ConnectionKind::Sqlite),
    ] {
        Policy::load("p.yaml", document, kind).expect_err(document);
    }
}

#[test]
fn other_schemas_hold_nothing() {
    let whole = catalog();
    let nobodys = load(DOCUMENT);
    let asking = principal("a", "u", &[], json!({}));
    // Whoever forgets to make it a tenant's, and whoever forgets to narrow the catalog.
    let question =
        |policy, catalog| Question { policy, catalog, unfiltered: catalog, rules: &[], principal: &asking };
    let nothing = view(question(&nobodys, &whole));
    assert!(nothing.relations.is_empty() && nothing.unresolved.is_empty(), "{nothing:?}");
    let own = nobodys.for_tenant("t_a").unwrap();
    let seen = view(question(&own, &whole));
    let names: Vec<String> = seen.relations.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["public.countries", "t_a.notes"]);
    assert_eq!(seen.search, ["t_a", "public"]);
    let hidden = RelationName::new("t_b", "notes");
    assert_eq!(decide(question(&own, &whole), &hidden), Err(Denial::Invisible(hidden.clone())));
    // The model is that of the tenant's own table.
    let notes = &seen.relations[&RelationName::new("t_a", "notes")];
    assert_ne!(notes.rows, ringfence_policy::Expression::truth(true));
    assert_ne!(seen, view(question(&nobodys.for_tenant("t_b").unwrap(), &whole)));
}

#[test]
fn a_tenant_that_is_not_indexed_is_like_the_template() {
    let (whole, policy) = (catalog(), load(DOCUMENT));
    let tenancy = policy.tenancy.as_ref().unwrap();
    let names = |catalog: &Catalog| -> Vec<String> {
        let all = catalog
            .schemas
            .iter()
            .flat_map(|it| it.relations.iter().map(|r| format!("{}.{}", it.name, r.name)));
        all.collect()
    };
    let own = tenancy.catalog(&whole, &whole, "t_a");
    assert_eq!(names(&own), ["public.countries", "t_a.notes"]);
    let new = tenancy.catalog(&whole, &whole, "t_new");
    assert_eq!(names(&new), ["public.countries", "t_new.notes", "t_new.people"]);
    let notes = new.relation("t_new", "notes").unwrap();
    assert_eq!(notes.columns[2].data_type, "t_new.mood");
    assert!(
        matches!(&notes.constraints[0], Constraint::Foreign { target_schema, .. } if target_schema == "t_new")
    );
    // A filter that hides the tenant's own does not bring back the template's.
    let mut filtered = whole.clone();
    filtered.schemas.retain(|schema| schema.name != "t_a");
    assert_eq!(names(&tenancy.catalog(&filtered, &whole, "t_a")), ["public.countries"]);
    let bare = load("tenancy: { schema: \"{tenant_id}\" }");
    assert!(bare.tenancy.unwrap().catalog(&whole, &whole, "t_new").schemas.is_empty());
}

#[test]
fn names_are_checked_against_the_template() {
    let misspelt = DOCUMENT.replace("owner:", "ownr:");
    let told = |document: &str| -> Vec<String> {
        let warnings = load(document).warnings(Some(&catalog()));
        warnings.iter().map(ToString::to_string).collect()
    };
    assert!(told(DOCUMENT).iter().all(|warning| !warning.contains("NAME_UNKNOWN")), "{:?}", told(DOCUMENT));
    assert!(told(&misspelt).iter().any(|warning| warning.contains("ownr")), "{:?}", told(&misspelt));
    // Without one nobody knows before a tenant comes.
    let unknown = misspelt.replace(", template: blank", "");
    assert!(told(&unknown).iter().all(|warning| !warning.contains("NAME_UNKNOWN")), "{:?}", told(&unknown));
    // A tenant that is behind loses the relations that the policy can't hold, and no others.
    let policy = load(&misspelt.replace("ownr", "mood")).for_tenant("t_a").unwrap();
    let drift = policy.drift_from(&catalog(), &ringfence_policy::Footprint::default());
    assert!(drift.suspends(&RelationName::new("t_a", "notes")));
    assert!(!drift.suspends(&RelationName::new("public", "countries")));
}

#[test]
fn a_database_is_a_tenants_own_or_none() {
    let document = "default: allow\ntenancy: { database: \"app_{tenant_id}\" }";
    for kind in [ConnectionKind::Postgresql, ConnectionKind::Sqlite] {
        let nobodys = Policy::load("p.yaml", document, kind).unwrap();
        let tenancy = nobodys.tenancy.clone().unwrap();
        assert_eq!(tenancy.realm, Realm::Database);
        assert!(nobodys.is_nobodys(), "until a tenant is known it shows nothing");
        assert!(!tenancy.has("public"));
        let own = |tenant: &str| tenancy.own(&of_tenant(tenant, json!({})), kind);
        assert_eq!(own("acme").as_deref(), Ok("app_acme"));
        for tenant in ["a-b", "a.b", "a/b", "..", "a b"] {
            assert!(own(tenant).is_err(), "{tenant}");
        }
        for (name, may_be) in [
            ("app_acme", true),
            ("APP_acme", true),
            ("app_", false),
            ("app", false),
            ("app_a/b", false),
            ("other", false),
            ("", false),
        ] {
            assert_eq!(tenancy.may_be_a_tenants(name), may_be, "{name}");
        }
        let acmes = nobodys.for_tenant("app_acme").unwrap();
        assert_eq!(acmes.tenancy.as_ref().and_then(|tenancy| tenancy.database()), Some("app_acme"));
        assert!(!acmes.is_nobodys());
        assert!(acmes.tenancy.unwrap().has("public"), "the whole database is the tenant's");
    }
    let everywhere =
        Policy::load("p.yaml", "tenancy: { database: \"{tenant_id}\" }", ConnectionKind::Postgresql);
    let tenancy = everywhere.unwrap().tenancy.unwrap();
    for name in ["postgres", "template1"] {
        assert!(tenancy.own(&of_tenant(name, json!({})), ConnectionKind::Postgresql).is_err(), "{name}");
    }
}
