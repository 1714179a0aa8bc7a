//! Under which name a request is recorded before the gateway is reached: the one that the gateway has for it, so that
//! one kind of call has one name, whichever door it came through and however early it was refused.

use super::call::FrontEnd;

/// How a route is named that nobody wrote: what the client sent must not become a label or an action.
pub(super) const UNMATCHED: &str = "unmatched";

/// Endpoints of `/api/` that the gateway calls something else. The others are called alike in both.
const API: [(&str, &str); 12] = [
    ("apply-table-access-rules", "compile-query"),
    ("get-generated-query-history", "get-history"),
    ("get-table-definitions", "get-catalog"),
    ("refresh-db-connection", "refresh-connection"),
    ("run-query-compiler", "compile-query"),
    ("update-column-description", "describe-columns"),
    ("update-constraint", "edit-constraints"),
    ("update-db-connect-info", "edit-connections"),
    ("update-schema-description", "describe-schema"),
    ("update-table-definitions", "push-relations"),
    ("update-table-description", "describe-relation"),
    ("{*endpoint}", UNMATCHED),
];

/// Every operation of `/v1/`.
const V1: &[(&str, &str)] = &[
    ("GET /v1/models/{key}", "describe-models"),
    ("GET /v1/models/{key}/{model}", "describe-model"),
    ("POST /v1/models/{key}/{model}/query", "query-model"),
    ("POST /v1/models/{key}/{model}/get", "get-model"),
    ("POST /v1/models/{key}/{model}/aggregate", "aggregate-model"),
    ("POST /v1/models/{key}/{model}/create", "create-model"),
    ("POST /v1/models/{key}/{model}/bulk_create", "bulk-create-model"),
    ("POST /v1/models/{key}/{model}/update", "update-model"),
    ("POST /v1/models/{key}/{model}/bulk_update", "bulk-update-model"),
    ("POST /v1/models/{key}/{model}/delete", "delete-model"),
    ("POST /v1/transactions/{key}", "change-models"),
    ("GET /v1/cubes/{key}", "describe-cubes"),
    ("GET /v1/cubes/{key}/{cube}", "describe-cube"),
    ("PUT /v1/cubes/{key}/{cube}", "put-cube"),
    ("DELETE /v1/cubes/{key}/{cube}", "remove-cube"),
    ("GET /v1/cubes/{key}/{cube}/definition", "get-cube-definition"),
    ("GET /v1/cubes/{key}/{cube}/history", "get-cube-history"),
    ("POST /v1/cubes/{key}/{cube}/query", "query-cube"),
    ("PUT /v1/connections/{key}/tables/{name}", "load-table"),
    ("DELETE /v1/connections/{key}/tables/{name}", "remove-table"),
    ("GET /v1/me", "get-user-info"),
    ("GET /v1/keys", "list-access-keys"),
    ("POST /v1/keys", "create-key"),
    ("DELETE /v1/keys/{name}", "delete-access-keys"),
    ("GET /v1/signing-keys", "list-signing-keys"),
    ("POST /v1/signing-keys", "register-signing-key"),
    ("DELETE /v1/signing-keys/{kid}", "revoke-signing-key"),
    ("GET /v1/sessions", "list-sessions"),
    ("DELETE /v1/sessions/{id}", "revoke-session"),
    ("GET /v1/users/{id}/sessions", "list-user-sessions"),
    ("DELETE /v1/users/{id}/sessions", "revoke-user-sessions"),
    ("DELETE /v1/users/{id}/sessions/{session}", "revoke-user-sessions"),
    ("GET /v1/security/basic-credentials", "list-basic-credentials"),
    ("PUT /v1/security/basic-credentials/{name}", "put-basic-credential"),
    ("DELETE /v1/security/basic-credentials/{name}", "delete-basic-credential"),
    ("GET /v1/security/individual-roles", "list-individual-roles"),
    ("GET /v1/security/individual-roles/{user}", "get-individual-roles"),
    ("PUT /v1/security/individual-roles/{user}", "put-individual-roles"),
    ("GET /v1/config", "get-config"),
    ("PATCH /v1/config", "update-config"),
    ("GET /v1/orgs", "list-orgs"),
    ("POST /v1/orgs", "create-org"),
    ("GET /v1/orgs/{id}", "get-org"),
    ("PATCH /v1/orgs/{id}", "update-org"),
    ("DELETE /v1/orgs/{id}", "delete-org"),
    ("GET /v1/tenants", "list-tenants"),
    ("POST /v1/tenants", "create-tenant"),
    ("GET /v1/tenants/{id}", "get-tenant"),
    ("PATCH /v1/tenants/{id}", "update-tenant"),
    ("DELETE /v1/tenants/{id}", "delete-tenant"),
    ("GET /v1/users", "list-users"),
    ("POST /v1/users", "create-user"),
    ("GET /v1/users/{id}", "get-user"),
    ("PATCH /v1/users/{id}", "update-user"),
    ("DELETE /v1/users/{id}", "delete-user"),
    ("GET /v1/security/restrictions/{key}", "list-restrictions"),
    ("PUT /v1/security/restrictions/{key}/{role}", "put-restrictions"),
    ("DELETE /v1/security/restrictions/{key}/{role}", "delete-restrictions"),
    ("GET /v1/security/role-mapping/{source}", "list-role-mapping"),
    ("PUT /v1/security/role-mapping/{source}/{role}", "put-role-mapping"),
    ("DELETE /v1/security/role-mapping/{source}/{role}", "delete-role-mapping"),
    ("GET /v1/connections", "list-connections"),
    ("POST /v1/connections", "edit-connections"),
    ("PUT /v1/connections/default", "edit-connections"),
    ("GET /v1/connections/{key}", "get-connection"),
    ("PATCH /v1/connections/{key}", "edit-connections"),
    ("DELETE /v1/connections/{key}", "edit-connections"),
    ("POST /v1/connections/{key}/refresh", "refresh-connection"),
    ("GET /v1/connections/{key}/status", "get-connection"),
    ("GET /v1/connections/{key}/catalog", "get-catalog"),
    ("PUT /v1/connections/{key}/catalog/{schema}", "describe-schema"),
    ("PUT /v1/connections/{key}/catalog/{schema}/{table}", "describe-relation"),
    ("GET /v1/policies/{key}", "get-policy"),
    ("PUT /v1/policies/{key}", "put-policy"),
    ("DELETE /v1/policies/{key}", "remove-policy"),
    ("POST /v1/policies/{key}/check", "check-policy"),
    ("POST /v1/policies/{key}/diff", "diff-policy"),
    ("POST /v1/policies/{key}/test", "test-policy"),
    ("POST /v1/explain", "explain-query"),
    ("POST /v1/why", "explain-row"),
    ("GET /v1/policies/{key}/history", "get-policy-history"),
    ("POST /v1/policies/{key}/roll-back", "roll-back-policy"),
    ("POST /v1/connections/{key}/query", "run-query"),
    ("POST /v1/connections/{key}/compile", "compile-query"),
    ("POST /v1/connections/{key}/queries", "submit-query"),
    ("GET /v1/queries/{id}", "get-query-result"),
    ("DELETE /v1/queries/{id}", "cancel-query"),
    ("GET /v1/endpoints", "list-endpoints"),
    ("GET /v1/endpoints/openapi", "describe-endpoints"),
    ("GET /v1/endpoints/{name}", "get-endpoint"),
    ("PUT /v1/endpoints/{name}", "put-endpoint"),
    ("DELETE /v1/endpoints/{name}", "remove-endpoint"),
    ("GET /v1/endpoints/{name}/history", "get-endpoint-history"),
    ("POST /v1/endpoints/{name}/try", "try-endpoint"),
    ("GET /v1/audit", "read-audit"),
    ("GET /v1/approvals", "list-approvals"),
    ("GET /v1/approvals/{id}", "get-approval"),
    ("POST /v1/approvals/{id}/approve", "approve-operation"),
    ("POST /v1/approvals/{id}/reject", "reject-operation"),
    ("POST /v1/approvals/{id}/withdraw", "withdraw-approval"),
    ("GET /v1/connections/{key}/history", "get-history"),
    ("GET /v1/connections/{key}/likes", "get-liked-query"),
    ("PUT /v1/connections/{key}/likes", "like-query"),
    ("DELETE /v1/connections/{key}/likes", "like-query"),
    ("GET /v1/connections/{key}/parameters", "list-parameters"),
    ("PUT /v1/connections/{key}/parameters/{name}", "update-parameter"),
    ("DELETE /v1/connections/{key}/parameters/{name}", "delete-parameter"),
];

/// Where people sign in and out.
const SIGN_IN: &[(&str, &str)] = &[
    ("GET /login", "show-sign-in"),
    ("POST /login", "sign-in"),
    ("GET /login/oidc/{provider}", "leave-for-provider"),
    ("GET /login/oidc/{provider}/callback", "sign-in"),
    ("POST /login/oidc/{provider}/back-channel", "end-outside-sessions"),
    ("POST /logout", "sign-out"),
];

/// The name to begin with; never empty. `route` is the template that matched, such as `/v1/users/{id}`.
pub(super) fn action_of<'a>(front_end: FrontEnd, method: &str, route: &'a str) -> &'a str {
    let named = |table: &'static [(&str, &str)], name: &str| {
        table.iter().find(|(written, _)| *written == name).map(|(_, action)| *action)
    };
    match (front_end, route.strip_prefix("/api/")) {
        (FrontEnd::Api, Some(endpoint)) if !endpoint.is_empty() => named(&API, endpoint).unwrap_or(endpoint),
        // The front end knows more once it has read the message.
        (FrontEnd::Mcp, _) => "mcp-message",
        (FrontEnd::SignIn, _) => named(SIGN_IN, &format!("{method} {route}")).unwrap_or(UNMATCHED),
        (FrontEnd::Endpoint, _) => "call-endpoint",
        (FrontEnd::V1, _) => named(V1, &format!("{method} {route}")).unwrap_or(UNMATCHED),
        _ => UNMATCHED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_the_gateways_name() {
        let cases = [
            (FrontEnd::Api, "POST", "/api/run-query", "run-query"),
            (FrontEnd::Api, "POST", "/api/update-db-connect-info", "edit-connections"),
            (FrontEnd::Api, "POST", "/api/{*endpoint}", UNMATCHED),
            (FrontEnd::Api, "POST", "/api/", UNMATCHED),
            (FrontEnd::Api, "POST", "/api", UNMATCHED),
            (FrontEnd::V1, "GET", "/v1/users/{id}", "get-user"),
            (FrontEnd::V1, "BREW", "/v1/users/{id}", UNMATCHED),
            (FrontEnd::V1, "GET", UNMATCHED, UNMATCHED),
        ];
        for (front_end, method, route, action) in cases {
            assert_eq!(action_of(front_end, method, route), action, "{method} {route}");
        }
    }

    #[test]
    fn every_operation_has_a_name() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
        let mut count = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let method = method.to_uppercase();
                assert_ne!(action_of(FrontEnd::V1, &method, path), UNMATCHED, "{method} {path}");
                count += 1;
            }
        }
        assert_eq!(count, V1.len(), "there are names for what is no operation");
    }
}
