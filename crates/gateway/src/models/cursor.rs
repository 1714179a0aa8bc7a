//! Cursors: where a page ended, signed, so that it goes on there and nowhere else.
//!
//! A cursor holds the values of the last row that the caller saw. It is not secret from them; it counts for the same
//! request of the same user alone, and a changed one is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_policy::Principal;
use ringfence_semantic::request::Query;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::road::Road;
use crate::{Code, Refused};

/// Longest cursor that is looked at.
const LONGEST: usize = 16 * 1024;

/// What a cursor belongs to: the connection's place, the model, conditions and order. Fields and the number of rows may
/// differ from page to page.
fn request_of(road: &Road<'_>, model: &str, query: &Query) -> String {
    let place = &road.snapshot.policy.place.place;
    let text = serde_json::json!([place, model, query.filter, query.order_by]).to_string();
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn parts<'a>(principal: &'a Principal, request: &'a str, payload: &'a str) -> [&'a str; 6] {
    let (account, user) = (principal.account().as_str(), principal.user.as_str());
    [principal.org.as_str(), principal.tenant.as_str(), account, user, request, payload]
}

/// The cursor behind a row with these values.
pub(super) fn make(road: &Road<'_>, model: &str, query: &Query, values: &[Value]) -> String {
    let payload = Value::from(values).to_string();
    let request = request_of(road, model, query);
    let tag = road.gateway.shared.store.cursor_tag(&parts(road.call.principal(), &request, &payload));
    format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(tag))
}

/// The values behind which the page goes on.
//
// INVARIANT: nothing of a cursor is believed before its tag is. Held by the test `a_cursor_is_of_one_request_and_user`.
pub(super) fn read(road: &Road<'_>, model: &str, query: &Query) -> Result<Option<Vec<Value>>, Refused> {
    let Some(cursor) = &query.cursor else { return Ok(None) };
    let opened = || {
        let (payload, tag) = Some(cursor).filter(|cursor| cursor.len() <= LONGEST)?.split_once('.')?;
        let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let request = request_of(road, model, query);
        let store = &road.gateway.shared.store;
        let holds = store.is_cursor_tag(&parts(road.call.principal(), &request, &payload), &tag);
        holds.then(|| serde_json::from_str::<Vec<Value>>(&payload).ok())?
    };
    opened().map(Some).ok_or_else(|| {
        Refused::new(
            Code::CursorInvalid,
            "the cursor is not of this request: go on with `next_cursor` of the page before, and change nothing but `select`, `take` and `include`",
        )
    })
}
