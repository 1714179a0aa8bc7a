//! Tickets put into the server's store by hand: what makes them on the road is tested where it is made.

use ringfence_policy::{ConnectionKey, OrgId, TenantId, UserId};
use ringfence_store::approvals::{ApprovalId, ApprovalRequest};
use ringfence_store::{SealingKey, Store, StoreLocation};
use serde_json::json;

use crate::process::Server;

/// A pending ticket of banana-user, which administrators of the organization may decide.
pub(crate) async fn plant(server: &Server, connection: &str) -> String {
    let directory = std::path::PathBuf::from(server.data_dir());
    let key = SealingKey::load_or_create(&directory.join("sealing.key")).unwrap();
    let store = Store::open(&StoreLocation::Sqlite(directory.join("ringfence.db")), key).await.unwrap();
    let requester = UserId::new("banana-user").unwrap();
    let request = ApprovalRequest {
        org: OrgId::new("fruit-org").unwrap(),
        tenant: TenantId::new("banana-tenant").unwrap(),
        account: requester.clone(),
        requester: requester.clone(),
        presenter: requester,
        principal: json!({"roles": ["api-user"]}),
        place: "nowhere".to_owned(),
        connection: ConnectionKey::new(connection).unwrap(),
        model: "Movie".to_owned(),
        action: "delete".to_owned(),
        operation: json!({"delete": "Alien"}),
        approvers: vec!["org-admin-user".to_owned()],
        reason: Some("seen too often".to_owned()),
        expires_at: i64::MAX / 4_000_000,
    };
    let id = ApprovalId::generate();
    store.approvals().create(&id, &request, 1).await.unwrap();
    id.to_string()
}
