//! History of queries.

use ringfence_policy::Identity;
use ringfence_store::history::{HistoryEntry, HistoryPage};

use crate::world::{World, key, tenant_id, two_organizations, user_id};

fn own(user: &str) -> Identity {
    Identity { account: user_id(user), on_behalf_of: None }
}

fn entry(id: &str, user: &str, connection: &str, ran_at: i64) -> HistoryEntry {
    HistoryEntry {
        id: id.parse().unwrap(),
        owner: own(user),
        connection: key(connection),
        query: format!("SELECT '{id}'"),
        ran_at,
    }
}

pub(crate) async fn history_pages(world: World) {
    type Case = (u32, u32, bool, Option<&'static str>, &'static [&'static str]);
    let store = world.open().await;
    two_organizations(&store).await;
    store.history().append(&[]).await.unwrap();
    let entries = [
        entry("q1", "ann", "c", 10),
        entry("q2", "ann", "c", 30),
        entry("q3", "ann", "c", 20),
        entry("q4", "ann", "c", 30),
        entry("q5", "ann", "d", 15),
        entry("q6", "abe", "c", 15),
    ];
    store.history().append(&entries).await.unwrap();
    let cases: [Case; 8] = [
        (10, 0, false, None, &["q1", "q3", "q2", "q4"]),
        (10, 0, true, None, &["q4", "q2", "q3", "q1"]),
        (2, 0, true, None, &["q4", "q2"]),
        (2, 1, false, None, &["q3", "q2"]),
        (2, 4, false, None, &[]),
        (0, 0, false, None, &[]),
        (10, 0, true, Some("q3"), &["q3"]),
        (10, 0, true, Some("q6"), &[]),
    ];
    for (limit, offset, newest_first, id, expected) in cases {
        let page = HistoryPage { limit, offset, newest_first, id: id.map(|id| id.parse().unwrap()) };
        let found = store.history().list(&own("ann"), &key("c"), &page).await.unwrap();
        assert_eq!(found.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), expected, "{page:?}");
    }
    let page = HistoryPage { limit: u32::MAX, offset: 0, newest_first: false, id: None };
    assert_eq!(store.history().list(&own("abe"), &key("c"), &page).await.unwrap(), [entries[5].clone()]);
    // The newest stay, and so does what belongs to others.
    store.history().prune(&user_id("ann"), &key("c"), 2).await.unwrap();
    for (user, connection, kept) in
        [("ann", "c", &["q3", "q4"][..]), ("ann", "d", &["q5"]), ("abe", "c", &["q6"])]
    {
        let found = store.history().list(&own(user), &key(connection), &page).await.unwrap();
        assert_eq!(
            found.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
            kept,
            "{user} {connection}"
        );
    }
}

pub(crate) async fn history_of_the_gone_is_dropped(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let mut odd = entry("q2", "ann", "c", 2);
    "SELECT '\0'".clone_into(&mut odd.query);
    store.history().append(&[entry("q1", "gone", "c", 1), odd]).await.unwrap();
    let page = HistoryPage { limit: 10, offset: 0, newest_first: false, id: None };
    assert!(store.history().list(&own("gone"), &key("c"), &page).await.unwrap().is_empty());
    let found = store.history().list(&own("ann"), &key("c"), &page).await.unwrap();
    assert_eq!(found[0].query, "SELECT '\u{fffd}'", "NUL is no text that both databases can hold");
}

pub(crate) async fn history_of_one_account_is_kept_apart(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let behalf = |tenant: &str, user: &str| Identity {
        account: user_id("ann"),
        on_behalf_of: Some((tenant_id(tenant), user_id(user))),
    };
    let owners = [own("ann"), behalf("one", "bob"), behalf("one", "cid"), behalf("two", "bob")];
    let entries: Vec<HistoryEntry> = (1..)
        .zip(&owners)
        .map(|(n, owner)| HistoryEntry { owner: owner.clone(), ..entry(&format!("q{n}"), "ann", "c", n) })
        .collect();
    store.history().append(&entries).await.unwrap();
    let page = HistoryPage { limit: 10, offset: 0, newest_first: false, id: None };
    for (owner, written) in owners.iter().zip(&entries) {
        let found = store.history().list(owner, &key("c"), &page).await.unwrap();
        assert_eq!(found, std::slice::from_ref(written), "{owner:?}");
        let others = entries.iter().find(|entry| entry.owner != *owner).unwrap();
        let one = HistoryPage { id: Some(others.id.clone()), ..page.clone() };
        assert_eq!(store.history().list(owner, &key("c"), &one).await.unwrap(), [], "{owner:?}");
    }
}
