//! Organizations and tenants.

use ringfence_gateway::Code;
use ringfence_gateway::organizations::OrganizationSpec;
use ringfence_gateway::tenants::TenantSpec;

use crate::world::{ROOT, World, attributes, code, same_refusal};

fn org(id: &str) -> OrganizationSpec {
    OrganizationSpec { id: id.to_owned(), ..OrganizationSpec::default() }
}

fn tenant(id: &str, org: Option<&str>) -> TenantSpec {
    TenantSpec { id: id.to_owned(), org: org.map(str::to_owned), ..TenantSpec::default() }
}

#[tokio::test]
async fn organizations_are_the_super_administrator_s() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let root = world.call_as(ROOT).await;
    let named = OrganizationSpec {
        name: Some("Company C".to_owned()),
        variables: Some(attributes(r#"{"x":1}"#)),
        ..org("c")
    };
    let made = gateway.create_org(&root, named).await.unwrap();
    assert_eq!(gateway.update_org(&root, org("c")).await.unwrap(), made, "absent fields stay");
    let renamed =
        gateway.update_org(&root, OrganizationSpec { name: Some("C".to_owned()), ..org("c") }).await.unwrap();
    assert_eq!((renamed.name.as_deref(), renamed.variables), (Some("C"), made.variables));
    assert_eq!(code(gateway.create_org(&root, org("c")).await), Code::AlreadyExists);
    assert_eq!(code(gateway.update_org(&root, org("nowhere")).await), Code::NotFound);
    assert_eq!(code(gateway.delete_org(&root, "nowhere").await), Code::NotFound);
    assert_eq!(code(gateway.delete_org(&root, "a").await), Code::InUse);
    for bad in ["", "\t", "a\u{7f}", &"x".repeat(256)] {
        assert_eq!(code(gateway.create_org(&root, org(bad)).await), Code::InvalidRequest, "{bad:?}");
    }
    gateway.delete_org(&root, "c").await.unwrap();
    let boss = world.call_as("a-boss").await;
    for (own, other) in [("a", "b"), ("a", "nowhere")] {
        for id in [own, other] {
            assert_eq!(code(gateway.create_org(&boss, org(id)).await), Code::NotPermitted);
            assert_eq!(code(gateway.update_org(&boss, org(id)).await), Code::NotPermitted);
            assert_eq!(code(gateway.delete_org(&boss, id).await), Code::NotPermitted);
        }
    }
}

#[tokio::test]
async fn organizations_are_listed_to_those_inside() {
    let world = World::new().await;
    let list = async |user: &str| {
        let call = world.call_as(user).await;
        let orgs = world.gateway.list_orgs(&call).await?;
        Ok::<_, ringfence_gateway::Refused>(
            orgs.iter().map(|org| org.id.to_string()).collect::<Vec<_>>().join(" "),
        )
    };
    assert_eq!(list(ROOT).await.unwrap(), "a b my_org_id");
    assert_eq!(list("a-boss").await.unwrap(), "a");
    assert_eq!(list("b-boss").await.unwrap(), "b");
    assert_eq!(code(list("a-lead").await), Code::NotPermitted);
    let boss = world.call_as("a-boss").await;
    assert_eq!(world.gateway.get_org(&boss, "a").await.unwrap().id.as_str(), "a");
    let hidden =
        same_refusal(world.gateway.get_org(&boss, "b").await, world.gateway.get_org(&boss, "nowhere").await);
    assert_eq!(hidden, Code::NotFound);
}

#[tokio::test]
async fn tenants_are_made_and_changed_within_the_own_organization() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let boss = world.call_as("a-boss").await;
    let made = gateway.create_tenant(&boss, tenant("a-t3", None)).await.unwrap();
    assert_eq!((made.org.as_str(), &made.variables), ("a", &None));
    assert_eq!(gateway.get_tenant(&boss, "a-t3").await.unwrap(), made);
    let change = TenantSpec { variables: Some(attributes(r#"{"x":1}"#)), ..tenant("a-t3", Some("a")) };
    assert_eq!(gateway.update_tenant(&boss, change).await.unwrap().variables, Some(attributes(r#"{"x":1}"#)));
    let kept = gateway.update_tenant(&boss, tenant("a-t3", Some(""))).await.unwrap();
    assert_eq!(kept.variables, Some(attributes(r#"{"x":1}"#)));
    assert_eq!(code(gateway.update_tenant(&boss, tenant("a-t3", Some("b"))).await), Code::InvalidRequest);
    assert_eq!(code(gateway.create_tenant(&boss, tenant("b-t1", None)).await), Code::AlreadyExists);
    assert_eq!(code(gateway.delete_tenant(&boss, "a-t1").await), Code::InUse);
    gateway.delete_tenant(&boss, "a-t3").await.unwrap();
    // The super administrator makes them anywhere.
    let root = world.call_as(ROOT).await;
    assert_eq!(gateway.create_tenant(&root, tenant("b-t2", Some("b"))).await.unwrap().org.as_str(), "b");
    assert_eq!(code(gateway.create_tenant(&root, tenant("x", Some("nowhere"))).await), Code::NotFound);
}

#[tokio::test]
async fn another_organization_s_tenants_do_not_exist() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let boss = world.call_as("a-boss").await;
    for hidden in ["b-t1", "my_tenant_id"] {
        let missing = "nowhere";
        let got =
            same_refusal(gateway.get_tenant(&boss, hidden).await, gateway.get_tenant(&boss, missing).await);
        let deleted = same_refusal(
            gateway.delete_tenant(&boss, hidden).await,
            gateway.delete_tenant(&boss, missing).await,
        );
        assert_eq!((got, deleted), (Code::NotFound, Code::NotFound));
        for org in [None, Some("a"), Some("b")] {
            let updated = same_refusal(
                gateway.update_tenant(&boss, tenant(hidden, org)).await,
                gateway.update_tenant(&boss, tenant(missing, org)).await,
            );
            assert_eq!(updated, Code::NotFound);
        }
    }
    let made = same_refusal(
        gateway.create_tenant(&boss, tenant("new", Some("b"))).await,
        gateway.create_tenant(&boss, tenant("new", Some("nowhere"))).await,
    );
    assert_eq!(made, Code::NotFound);
    for (caller, org, expected) in [
        ("a-boss", None, "a-t1 a-t2"),
        ("a-boss", Some(""), "a-t1 a-t2"),
        ("a-boss", Some("a"), "a-t1 a-t2"),
        ("a-boss", Some("b"), ""),
        ("a-boss", Some("nowhere"), ""),
        (ROOT, None, "my_tenant_id"),
        (ROOT, Some("b"), "b-t1"),
    ] {
        let call = world.call_as(caller).await;
        let tenants = gateway.list_tenants(&call, org).await.unwrap();
        let ids: Vec<String> = tenants.iter().map(|tenant| tenant.id.to_string()).collect();
        assert_eq!(ids.join(" "), expected, "{caller}: {org:?}");
    }
}

#[tokio::test]
async fn only_administrators_of_tenants_touch_tenants() {
    let world = World::new().await;
    for user in ["a-lead", "a-ann", "a-trial-api"] {
        let call = world.call_as(user).await;
        let gateway = &world.gateway;
        assert_eq!(code(gateway.create_tenant(&call, tenant("new", None)).await), Code::NotPermitted);
        assert_eq!(code(gateway.update_tenant(&call, tenant("a-t1", None)).await), Code::NotPermitted);
        assert_eq!(code(gateway.delete_tenant(&call, "a-t2").await), Code::NotPermitted);
        assert_eq!(code(gateway.list_tenants(&call, None).await), Code::NotPermitted);
        assert_eq!(code(gateway.get_tenant(&call, "a-t1").await), Code::NotPermitted);
    }
}
