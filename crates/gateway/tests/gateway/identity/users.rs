//! Users: defaults, confinement and rank.

use ringfence_gateway::Code;
use ringfence_gateway::users::{UserLookup, UserSpec};
use ringfence_policy::Role;

use crate::world::{ROOT, World, attributes, code, same_refusal};

fn spec(id: &str) -> UserSpec {
    UserSpec { id: id.to_owned(), ..UserSpec::default() }
}

fn with_roles(id: &str, roles: &[&str]) -> UserSpec {
    UserSpec { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..spec(id) }
}

fn at(id: &str, tenant: Option<&str>, org: Option<&str>) -> UserSpec {
    UserSpec { tenant: tenant.map(str::to_owned), org: org.map(str::to_owned), ..spec(id) }
}

#[tokio::test]
async fn a_new_user_gets_the_defaults() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    let made = world.gateway.create_user(&boss, spec("new")).await.unwrap();
    assert_eq!((made.tenant.as_str(), made.org.as_str()), ("a-t1", "a"));
    assert_eq!(
        (made.roles.as_slice(), made.name.as_ref(), made.variables.as_ref()),
        (&[Role::ApiUser][..], None, None)
    );
    assert_eq!(world.gateway.get_user(&boss, "new").await.unwrap(), made);
    // The tenant's organization; empty texts are left out.
    let root = world.call_as(ROOT).await;
    let made = world.gateway.create_user(&root, at("new-b", Some("b-t1"), Some(""))).await.unwrap();
    assert_eq!(made.org.as_str(), "b");
    let twice = with_roles("both", &["waii-user", "trial-api-user", "user"]);
    assert_eq!(
        world.gateway.create_user(&boss, twice).await.unwrap().roles,
        [Role::User, Role::TrialApiUser]
    );
}

#[tokio::test]
async fn what_can_not_be_a_user_is_refused() {
    let world = World::new().await;
    let (boss, root) = (world.call_as("a-boss").await, world.call_as(ROOT).await);
    let create = async |spec| code(world.gateway.create_user(&boss, spec).await);
    for taken in ["a-ann", "a-boss", "b-ann"] {
        assert_eq!(create(spec(taken)).await, Code::AlreadyExists, "{taken}");
    }
    for bad in ["", " ", "a\nb", "a\0", &"x".repeat(256)] {
        assert_eq!(create(spec(bad)).await, Code::InvalidRequest, "{bad:?}");
        assert_eq!(
            create(UserSpec { name: Some(bad.to_owned()), ..spec("new") }).await,
            Code::InvalidRequest,
            "{bad:?}"
        );
    }
    for role in ["root", "", "API-USER", "waii-waii-user"] {
        assert_eq!(create(with_roles("new", &[role])).await, Code::InvalidRequest, "{role}");
    }
    let large = serde_json::json!({ "x": "y".repeat(70_000) }).as_object().cloned();
    assert_eq!(create(UserSpec { variables: large, ..spec("new") }).await, Code::InvalidRequest);
    // The super administrator learns which of them does not fit.
    let as_root = async |spec| code(world.gateway.create_user(&root, spec).await);
    assert_eq!(as_root(at("new", Some("nowhere"), None)).await, Code::NotFound);
    assert_eq!(as_root(at("new", Some("a-t1"), Some("nowhere"))).await, Code::NotFound);
    assert_eq!(as_root(at("new", Some("a-t1"), Some("b"))).await, Code::InvalidRequest);
    assert_eq!(as_root(at("new", None, Some("b"))).await, Code::InvalidRequest);
}

#[tokio::test]
async fn only_administrators_of_users_touch_users() {
    let world = World::new().await;
    for user in ["a-lead", "a-ann", "a-trial-api"] {
        let call = world.call_as(user).await;
        let gateway = &world.gateway;
        assert_eq!(code(gateway.create_user(&call, spec("new")).await), Code::NotPermitted);
        // Not even itself: own variables steer access rules.
        assert_eq!(code(gateway.update_user(&call, spec(user)).await), Code::NotPermitted);
        assert_eq!(code(gateway.delete_user(&call, user).await), Code::NotPermitted);
        assert_eq!(code(gateway.list_users(&call, UserLookup::default()).await), Code::NotPermitted);
        assert_eq!(code(gateway.get_user(&call, user).await), Code::NotPermitted);
    }
    // An administrator who acts for such a user has no more power than that user.
    let acting = world.call_for("a-boss", "a-ann").await;
    assert_eq!(code(world.gateway.create_user(&acting, spec("new")).await), Code::NotPermitted);
}

#[tokio::test]
async fn another_organization_s_users_do_not_exist() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    let gateway = &world.gateway;
    for hidden in ["b-ann", "b-boss", ROOT] {
        let missing = "nobody";
        let code =
            same_refusal(gateway.get_user(&boss, hidden).await, gateway.get_user(&boss, missing).await);
        assert_eq!(code, Code::NotFound);
        let code =
            same_refusal(gateway.delete_user(&boss, hidden).await, gateway.delete_user(&boss, missing).await);
        assert_eq!(code, Code::NotFound);
        let change = |id: &str| UserSpec { variables: Some(attributes("{}")), ..spec(id) };
        let code = same_refusal(
            gateway.update_user(&boss, change(hidden)).await,
            gateway.update_user(&boss, change(missing)).await,
        );
        assert_eq!(code, Code::NotFound);
        assert!(
            world.store.users().get(&hidden.parse().unwrap()).await.unwrap().unwrap().variables.is_none()
        );
    }
    // Nor do its tenants, as homes.
    for (hidden, missing) in [
        (at("new", Some("b-t1"), None), at("new", Some("nowhere"), None)),
        (at("new", Some("b-t1"), Some("a")), at("new", Some("nowhere"), Some("a"))),
        (at("new", None, Some("b")), at("new", None, Some("nowhere"))),
        (at("new", Some("b-t1"), Some("b")), at("new", Some("b-t1"), Some("nowhere"))),
    ] {
        let code = same_refusal(
            gateway.create_user(&boss, hidden.clone()).await,
            gateway.create_user(&boss, missing.clone()).await,
        );
        assert_eq!(code, Code::NotFound, "{hidden:?}");
        let (hidden, missing) =
            (UserSpec { id: "a-ann".into(), ..hidden }, UserSpec { id: "a-ann".into(), ..missing });
        let code =
            same_refusal(gateway.update_user(&boss, hidden).await, gateway.update_user(&boss, missing).await);
        assert_eq!(code, Code::NotFound);
    }
    assert!(world.store.users().get(&"new".parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn nobody_grants_more_than_the_own_rank() {
    let world = World::new().await;
    for (admin, role, allowed) in [
        ("a-boss", "org-admin-user", true),
        ("a-boss", "admin-user", true),
        ("a-boss", "trial-api-user", true),
        ("a-boss", "super-admin-user", false),
        ("a-boss", "waii-super-admin-user", false),
        (ROOT, "super-admin-user", true),
    ] {
        let call = world.call_as(admin).await;
        let id = format!("{admin}-{role}");
        let made = world.gateway.create_user(&call, with_roles(&id, &[role])).await.map(drop);
        let own = with_roles(if admin == ROOT { "a-abe" } else { "a-ann" }, &["user", role]);
        let changed = world.gateway.update_user(&call, own).await.map(drop);
        for done in [made, changed] {
            assert_eq!(
                done.as_ref().map_err(|refused| refused.code),
                allowed.then_some(()).as_ref().ok_or(Code::NotPermitted)
            );
        }
    }
    // Nor to itself.
    let boss = world.call_as("a-boss").await;
    let climb = with_roles("a-boss", &["super-admin-user"]);
    assert_eq!(code(world.gateway.update_user(&boss, climb).await), Code::NotPermitted);
}

#[tokio::test]
async fn nobody_touches_a_user_who_may_more() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    let named = |id: &str| UserSpec { name: Some("renamed".to_owned()), ..spec(id) };
    assert_eq!(code(world.gateway.update_user(&boss, named("a-super")).await), Code::NotPermitted);
    assert_eq!(code(world.gateway.delete_user(&boss, "a-super").await), Code::NotPermitted);
    assert!(world.gateway.get_user(&boss, "a-super").await.is_ok(), "seen it may be");
    for equal_or_lower in ["a-peer", "a-boss", "a-lead", "a-trial-api"] {
        let changed = world.gateway.update_user(&boss, named(equal_or_lower)).await.unwrap();
        assert_eq!(changed.name.as_deref(), Some("renamed"));
    }
    world.gateway.delete_user(&boss, "a-peer").await.unwrap();
    let root = world.call_as(ROOT).await;
    world.gateway.delete_user(&root, "a-super").await.unwrap();
}

#[tokio::test]
async fn absent_fields_stay() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    let full = UserSpec {
        name: Some("Ann".to_owned()),
        variables: Some(attributes(r#"{"region":"FR"}"#)),
        tenant: Some("a-t2".to_owned()),
        org: Some("a".to_owned()),
        ..with_roles("a-ann", &["user", "trial-api-user"])
    };
    let changed = world.gateway.update_user(&boss, full).await.unwrap();
    assert_eq!((changed.tenant.as_str(), changed.org.as_str()), ("a-t2", "a"));
    let unchanged = world.gateway.update_user(&boss, at("a-ann", Some(""), Some(""))).await.unwrap();
    assert_eq!(unchanged, changed);
    let emptied = UserSpec { variables: Some(attributes("{}")), ..spec("a-ann") };
    assert_eq!(world.gateway.update_user(&boss, emptied).await.unwrap().variables, Some(attributes("{}")));
}

#[tokio::test]
async fn only_super_administrators_move_users_between_organizations() {
    let world = World::new().await;
    let root = world.call_as(ROOT).await;
    let moved = world.gateway.update_user(&root, at("a-ann", Some("b-t1"), None)).await.unwrap();
    assert_eq!((moved.tenant.as_str(), moved.org.as_str()), ("b-t1", "b"));
    assert_eq!(world.call_as("a-ann").await.principal().org.as_str(), "b");
    assert_eq!(
        code(world.gateway.update_user(&root, at("a-abe", None, Some("b"))).await),
        Code::InvalidRequest
    );
    assert_eq!(
        code(world.gateway.update_user(&root, at("a-abe", Some("b-t1"), Some("a"))).await),
        Code::InvalidRequest
    );
}

#[tokio::test]
async fn the_last_super_administrator_stays() {
    let world = World::new().await;
    let root = world.call_as(ROOT).await;
    world.gateway.update_user(&root, with_roles("a-super", &["org-admin-user"])).await.unwrap();
    assert_eq!(code(world.gateway.delete_user(&root, ROOT).await), Code::InUse);
    assert_eq!(
        code(world.gateway.update_user(&root, with_roles(ROOT, &["org-admin-user"])).await),
        Code::InUse
    );
    // Anything else about it may change.
    let renamed =
        UserSpec { name: Some("Root".to_owned()), ..with_roles(ROOT, &["super-admin-user", "user"]) };
    world.gateway.update_user(&root, renamed).await.unwrap();
    world.gateway.update_user(&root, with_roles("a-super", &["super-admin-user"])).await.unwrap();
    world.gateway.delete_user(&root, ROOT).await.unwrap();
}

#[tokio::test]
async fn two_super_administrators_can_not_remove_each_other() {
    let world = World::new().await;
    let (root, other) = (world.call_as(ROOT).await, world.call_as("a-super").await);
    let (one, two) =
        tokio::join!(world.gateway.delete_user(&root, "a-super"), world.gateway.delete_user(&other, ROOT));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
}

#[tokio::test]
async fn lists_hold_what_the_caller_rules() {
    let world = World::new().await;
    let list = async |caller: &str, org: &str, tenant: &str, user: &str| {
        let call = world.call_as(caller).await;
        // Empty texts mean that the condition is absent.
        let [org, tenant, user] = [org, tenant, user].map(|text| Some(text.to_owned()));
        let users = world.gateway.list_users(&call, UserLookup { org, tenant, user }).await.unwrap();
        users.iter().map(|user| user.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let of_a = "a-super a-boss a-peer a-lead a-ann a-abe a-user a-trial a-trial-api";
    let of_b = "b-boss b-lead b-ann b-user b-trial b-trial-api";
    for (caller, org, tenant, user, expected) in [
        ("a-boss", "", "", "", of_a),
        ("a-boss", "a", "", "", of_a),
        ("a-boss", "", "a-t2", "", "a-peer a-abe"),
        ("a-boss", "", "a-t2", "a-abe", "a-abe"),
        ("a-boss", "", "a-t1", "a-abe", ""),
        ("a-boss", "b", "", "", ""),
        ("a-boss", "nowhere", "", "", ""),
        ("a-boss", "", "b-t1", "", ""),
        ("a-boss", "", "", "b-ann", ""),
        ("a-boss", "b", "", "b-ann", ""),
        ("a-boss", "", "", ROOT, ""),
        (ROOT, "", "", "", ROOT),
        (ROOT, "b", "", "", of_b),
        (ROOT, "", "b-t1", "", of_b),
        (ROOT, "", "", "b-ann", "b-ann"),
        (ROOT, "a", "", "b-ann", ""),
        (ROOT, "nowhere", "", "", ""),
    ] {
        assert_eq!(list(caller, org, tenant, user).await, expected, "{caller}: {org}/{tenant}/{user}");
    }
}
