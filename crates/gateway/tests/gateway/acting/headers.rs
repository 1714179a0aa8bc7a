//! Users in plain headers: from applications that the configuration names, within the same limits.

use ringfence_gateway::{Acting, Call, Code, Credentials, PlainPrincipal, Refused};
use ringfence_policy::UserId;

use super::Portal;
use crate::world::{code, key_of};

async fn plain(portal: &Portal, user: &str, plain: PlainPrincipal<'_>) -> Result<Call, Refused> {
    let key = key_of(user);
    let credentials = Credentials {
        access_key: Some(&key),
        acting: Some(Acting::Headers(plain)),
        ..Credentials::default()
    };
    portal.world.gateway.identify(&portal.world.begin(), credentials).await
}

const PIA: PlainPrincipal<'_> = PlainPrincipal { tenant: "a-t1", user: "pia", roles: None, attributes: None };

#[tokio::test]
async fn plain_headers_are_refused_unless_the_application_is_named() {
    let portal = Portal::open().await;
    for user in ["portal", "suite", "a-ann", "a-boss"] {
        assert_eq!(code(plain(&portal, user, PIA).await), Code::NotPermitted, "{user}");
    }
    let named = Portal::with(|config| {
        config.acting.trusted_headers = ["suite", "a-boss"].map(|user| UserId::new(user).unwrap()).to_vec();
    })
    .await;
    // To be named is not enough: the permission is an administrator's to give.
    for user in ["portal", "a-boss"] {
        assert_eq!(code(plain(&named, user, PIA).await), Code::NotPermitted, "{user}");
    }
    let call = plain(&named, "suite", PIA).await.unwrap();
    assert_eq!(named.ids(&call).await, r#"[["1,2"]]"#);
    let clerk = PlainPrincipal {
        roles: Some("ROLE_CLERK, ,api-user"),
        attributes: Some(r#"{"desk": 7}"#),
        tenant: "a-t2",
        ..PIA
    };
    let call = plain(&named, "suite", clerk).await.unwrap();
    assert_eq!(call.principal().data_roles.to_vec(), ["ROLE_CLERK"]);
    assert_eq!(call.principal().attributes["desk"], 7);
    assert_eq!(named.ids(&call).await, r#"[["3"]]"#);
    for beyond in [
        PlainPrincipal { tenant: "b-t1", ..PIA },
        PlainPrincipal { tenant: "", ..PIA },
        PlainPrincipal { user: "", ..PIA },
        PlainPrincipal { roles: Some("org-admin-user"), ..PIA },
        PlainPrincipal { roles: Some("ROLE_UNKNOWN"), ..PIA },
        PlainPrincipal { attributes: Some("[]"), ..PIA },
        PlainPrincipal { attributes: Some("{"), ..PIA },
        PlainPrincipal { attributes: Some(r#"{"tenant_id":"a-t2"}"#), ..PIA },
    ] {
        assert_eq!(code(plain(&named, "suite", beyond).await), Code::InvalidPrincipalToken, "{beyond:?}");
    }
}
