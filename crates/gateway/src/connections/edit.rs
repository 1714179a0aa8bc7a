//! Changing a list of connections: check everything, look up what is known, try the credentials, then save at once.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt as _;
use ringfence_engine::SourceAddress;
use ringfence_policy::{ConnectionKey, ConnectionSpec, OrgId, Permission, UserId};
use ringfence_store::connections::{Connection, ConnectionChanges, ConnectionUpsert, Proof};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::address::{address, address_of};
use super::probes::PER_ORGANIZATION;
use super::{ConnectionEdits, NewConnection, checks};
use crate::indexing::Wish;
use crate::policies::may_govern;
use crate::{Call, Code, Gateway, Refused};

/// How long trying the credentials of one connection may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Whose list is changed.
struct Owner {
    user: UserId,
    org: OrgId,
}

/// A connection that is to be saved, with what follows for its source.
struct Planned {
    upsert: ConnectionUpsert,
    wish: Wish,
    pushed: bool,
}

pub(super) async fn edit(
    gateway: &Gateway,
    call: &Call,
    edits: ConnectionEdits,
) -> Result<Vec<ConnectionKey>, Refused> {
    if edits.updated.is_empty() && edits.removed.is_empty() && edits.default.is_none() {
        return Ok(Vec::new());
    }
    call.needs(Permission::WriteDatabases)?;
    let keys = check_all(call, &edits.updated)?;
    note_connection(call, &keys, &edits);
    let owner = owner_of(gateway, call, edits.owner.as_deref()).await?;
    let mut known = list_of(gateway, &owner).await?;
    check_known(&edits, &keys, &known)?;
    // What is removed is gone before anything is added: its password is not kept.
    let removed: Vec<Connection> =
        edits.removed.iter().filter_map(|key| known.remove(&ConnectionKey::new(key).ok()?)).collect();
    let count = known.len() + keys.iter().filter(|key| !known.contains_key(*key)).count();
    if count > checks::MAX_CONNECTIONS {
        return Err(Refused::invalid(format!(
            "too many connections: at most {} on a list",
            checks::MAX_CONNECTIONS
        )));
    }
    let default = default_of(edits.default.as_deref(), &keys, &known)?;
    let mut planned = Vec::with_capacity(keys.len());
    for (key, new) in keys.iter().zip(edits.updated) {
        planned.push(plan(key, new, known.get(key), &owner.org)?);
    }
    if edits.validate_before_save {
        prove(gateway, &owner.org, &mut planned).await?;
    }
    keep_filters(gateway, call, &owner.org, &mut planned).await?;
    note_objects(call, &keys, &removed);
    // Of two that add the same connection at once, the later one looks again when the other has saved.
    let _alone = gateway.shared.connections.save_alone(&owner.user).await;
    if edits.must_be_new {
        check_new(&keys, &list_of(gateway, &owner).await?)?;
    }
    save(gateway, &owner, planned, &removed, default).await?;
    evict(gateway, &owner.org, removed.iter());
    Ok(keys)
}

/// Names the connection in the call's record, when there is but one.
fn note_connection(call: &Call, keys: &[ConnectionKey], edits: &ConnectionEdits) {
    let named = edits.removed.iter().chain(edits.default.as_ref()).map(String::as_str);
    let named: BTreeSet<&str> = keys.iter().map(ConnectionKey::as_str).chain(named).collect();
    if let [key] = named.into_iter().collect::<Vec<_>>()[..] {
        call.log().set_scope(key);
    }
}

/// What the request takes for granted about the list.
fn check_known(
    edits: &ConnectionEdits,
    keys: &[ConnectionKey],
    known: &HashMap<ConnectionKey, Connection>,
) -> Result<(), Refused> {
    if edits.must_be_new {
        check_new(keys, known)?;
    }
    let is_known = |key: &String| ConnectionKey::new(key).is_ok_and(|key| known.contains_key(&key));
    if edits.must_exist && !edits.removed.iter().chain(edits.default.as_ref()).all(is_known) {
        return Err(Refused::not_found("connection"));
    }
    Ok(())
}

fn check_new(keys: &[ConnectionKey], known: &HashMap<ConnectionKey, Connection>) -> Result<(), Refused> {
    if keys.iter().any(|key| known.contains_key(key)) {
        return Err(Refused::new(Code::AlreadyExists, "connection already exists"));
    }
    Ok(())
}

async fn list_of(gateway: &Gateway, owner: &Owner) -> Result<HashMap<ConnectionKey, Connection>, Refused> {
    let list = gateway.shared.store.connections().list(&owner.user).await?;
    Ok(list.into_iter().map(|connection| (connection.key.clone(), connection)).collect())
}

fn check_all(call: &Call, updated: &[NewConnection]) -> Result<Vec<ConnectionKey>, Refused> {
    if updated.len() > checks::MAX_CONNECTIONS {
        return Err(Refused::invalid(format!(
            "too many connections: at most {} on a list",
            checks::MAX_CONNECTIONS
        )));
    }
    let mut keys = Vec::with_capacity(updated.len());
    for new in updated {
        let key = checks::check(call, new)?;
        if keys.contains(&key) {
            return Err(Refused::invalid(format!("the connection {key} is given twice: give each once")));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The acting user, or one that the caller may manage. An unknown user and one out of reach get the same answer.
async fn owner_of(gateway: &Gateway, call: &Call, owner: Option<&str>) -> Result<Owner, Refused> {
    let principal = call.principal();
    match owner.filter(|owner| !owner.is_empty()) {
        Some(owner) if owner != principal.user.as_str() => {
            call.needs(Permission::WriteUser)?;
            let beyond =
                || Refused::new(Code::NotPermitted, "you may not manage the connections of this user");
            let id = UserId::new(owner).map_err(|_| beyond())?;
            match gateway.manageable_user(call, &id).await {
                Ok(user) => Ok(Owner { user: user.id, org: user.org }),
                Err(refused) if matches!(refused.code, Code::NotFound | Code::NotPermitted) => Err(beyond()),
                Err(other) => Err(other),
            }
        }
        _ => Ok(Owner { user: call.own_account()?.clone(), org: principal.org.clone() }),
    }
}

fn default_of(
    default: Option<&str>,
    updated: &[ConnectionKey],
    kept: &HashMap<ConnectionKey, Connection>,
) -> Result<Option<ConnectionKey>, Refused> {
    let Some(default) = default.filter(|default| !default.is_empty()) else {
        return Ok(None);
    };
    ConnectionKey::new(default)
        .ok()
        .filter(|key| updated.contains(key) || kept.contains_key(key))
        .map(Some)
        .ok_or_else(|| Refused::invalid("the default connection is not on the list: name one that is"))
}

/// What saving this connection means for its proof, its filters and the index.
fn plan(
    key: &ConnectionKey,
    new: NewConnection,
    known: Option<&Connection>,
    org: &OrgId,
) -> Result<Planned, Refused> {
    let pushed = checks::is_pushed(&new.spec);
    let mut spec = new.spec;
    // A client that does not know the setting, such as the SDK, does not change it either.
    spec.agent_tools = spec.agent_tools.or_else(|| known.and_then(|known| known.spec.agent_tools));
    let target = target_of(&spec)?;
    // A stored password is kept for the place it was given for, and sent nowhere else: an alias can keep its key and
    // point at another server.
    let same_target = known.filter(|known| target_of(&known.spec).is_ok_and(|stored| stored == target));
    let password = new.password.or_else(|| same_target.and_then(|known| known.password.clone()));
    let unchanged = same_target.filter(|known| same_secret(known.password.as_ref(), password.as_ref()));
    // INVARIANT: credentials that were not seen to work touch nothing that others share. Held by the tests
    // `a_wrong_password_sees_and_changes_nothing` and `a_changed_password_is_proven_again`.
    let proven = pushed || unchanged.is_some_and(|known| known.proof == Proof::Proven);
    let only_filters = unchanged.is_some_and(|known| differs_in_filters_only(&known.spec, &spec));
    let upsert = ConnectionUpsert {
        key: key.clone(),
        spec,
        password,
        proof: if proven { Proof::Proven } else { Proof::Pending },
        org: org.clone(),
        target,
        adopt_filters: proven,
        reindex: proven,
    };
    let wish = if proven && only_filters { Wish::Filter } else { Wish::Introspect };
    Ok(Planned { upsert, wish, pushed })
}

fn target_of(spec: &ConnectionSpec) -> Result<String, Refused> {
    spec.target().map_err(|invalid| Refused::invalid(invalid.to_string()))
}

fn same_secret(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    // Both are this user's own: there is nobody to time the comparison.
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}

fn differs_in_filters_only(old: &ConnectionSpec, new: &ConnectionSpec) -> bool {
    let filtered_as_old = ConnectionSpec {
        content_filters: old.content_filters.clone(),
        db_content_filters: old.db_content_filters.clone(),
        // Of no consequence for what is indexed.
        agent_tools: old.agent_tools,
        ..new.clone()
    };
    old != new && *old == filtered_as_old
}

/// Tries the credentials of all; the first failure in the order of the request is the answer.
async fn prove(gateway: &Gateway, org: &OrgId, planned: &mut [Planned]) -> Result<(), Refused> {
    let addresses = planned
        .iter()
        .filter(|planned| !planned.pushed)
        .map(|planned| address(&planned.upsert.spec, planned.upsert.password.clone(), org))
        .collect::<Result<Vec<_>, _>>()?;
    let probe = |address: SourceAddress| async move {
        let _turn = gateway.shared.probes.turn(org).await?;
        match timeout(PROBE_LIMIT, gateway.shared.engine.probe(&address)).await {
            Ok(probed) => probed.map_err(Refused::from),
            Err(_) => Err(Refused::new(Code::SourceUnreachable, "the database did not answer in time")),
        }
    };
    let mut probes = futures::stream::iter(addresses).map(probe).buffered(PER_ORGANIZATION);
    while let Some(probed) = probes.next().await {
        probed?;
    }
    for planned in planned {
        planned.upsert.proof = Proof::Proven;
        planned.upsert.adopt_filters = true;
        planned.upsert.reindex = true;
    }
    Ok(())
}

/// On guarded connections the shared filters are a part of what is hidden: only those who put policies replace them.
//
// INVARIANT: who may not put a policy shows nothing that the filters of a guarded connection hide. Held by the test
// `only_administrators_change_the_filters_of_a_guarded_connection`.
async fn keep_filters(
    gateway: &Gateway,
    call: &Call,
    org: &OrgId,
    planned: &mut [Planned],
) -> Result<(), Refused> {
    if may_govern(call).is_ok() {
        return Ok(());
    }
    for planned in planned {
        let address = address(&planned.upsert.spec, None, org)?;
        planned.upsert.adopt_filters &= !gateway.is_guarded(org, &address).await;
    }
    Ok(())
}

fn note_objects(call: &Call, keys: &[ConnectionKey], removed: &[Connection]) {
    let removed = removed.iter().map(|connection| &connection.key);
    let keys: Vec<&str> = keys.iter().chain(removed).map(ConnectionKey::as_str).collect();
    call.log().set_object(&keys.join(" "));
}

async fn save(
    gateway: &Gateway,
    owner: &Owner,
    planned: Vec<Planned>,
    removed: &[Connection],
    default: Option<ConnectionKey>,
) -> Result<(), Refused> {
    let wishes: Vec<(Wish, bool)> = planned.iter().map(|planned| (planned.wish, planned.pushed)).collect();
    let changes = ConnectionChanges {
        removed: removed.iter().map(|connection| connection.key.clone()).collect(),
        upserts: planned.into_iter().map(|planned| planned.upsert).collect(),
        default,
    };
    let sources = gateway.shared.store.connections().apply(&owner.user, changes).await?;
    gateway.shared.connections.forget_user(&owner.user);
    for connection in removed {
        gateway.shared.running.forget_connection(&owner.user, &connection.key);
        gateway.shared.catalogs.forget(connection.source);
    }
    for (source, (wish, pushed)) in sources.into_iter().zip(wishes) {
        gateway.shared.catalogs.forget(source);
        if pushed {
            crate::indexing::complete_pushed(gateway, source).await?;
        } else {
            gateway.shared.indexer.enqueue(source, &owner.org, wish);
        }
    }
    Ok(())
}

/// Pools of connections that nobody asked to keep.
fn evict<'a>(gateway: &Gateway, org: &OrgId, removed: impl Iterator<Item = &'a Connection>) {
    for connection in removed.filter(|connection| !checks::is_pushed(&connection.spec)) {
        if let Ok(address) = address_of(connection, org) {
            gateway.shared.engine.evict(&address);
        }
    }
}
