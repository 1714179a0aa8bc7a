//! Liked queries.

use ringfence_policy::{ConnectionKey, Permission, QueryId};
use ringfence_store::history::{HistoryEntry, HistoryPage};
use ringfence_store::likes::LikedQuery;
use ringfence_store::parameters::ParameterTarget;

use crate::call::{new_query_id, now_ms};
use crate::limits::given;
use crate::parameters::Target;
use crate::{Call, Code, Gateway, Refused};

/// Liked queries that one user may have on one connection.
pub const MAX_LIKES: usize = 1000;
const MAX_ASK_BYTES: usize = 64 * 1024;
const MAX_QUERY_BYTES: usize = 256 * 1024;
const MAX_STEPS: usize = 100;

/// A like, or with `liked` false its withdrawal.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct LikeRequest {
    pub query_uuid: Option<String>,
    pub ask: Option<String>,
    pub query: Option<String>,
    pub liked: bool,
    pub rewrite_question: bool,
    pub detailed_steps: Option<Vec<String>>,
    /// Given: published, which needs `publish:liked-queries`.
    pub target: Option<Target>,
}

/// The query that a request names.
struct NamedQuery {
    uuid: String,
    ask: String,
    query: String,
}

impl Gateway {
    /// Needs `write:liked-queries`.
    pub async fn like_query(&self, call: &Call, key: &str, request: LikeRequest) -> Result<(), Refused> {
        call.log.set_action("like-query");
        call.needs(Permission::WriteLikedQueries)?;
        let connection = self.own_connection(call, key).await?;
        check_sizes(&request)?;
        let published = match request.target.as_ref().filter(|target| !target.is_empty()) {
            None => None,
            Some(target) => Some(self.publication(call, &connection, target).await?),
        };
        let user = call.own_account()?;
        let likes = self.shared.store.likes();
        let mut own = likes.visible_to(&call.principal, &connection).await?;
        own.retain(|like| like.owner == *user);
        let named = self.named_query(call, &connection, &own, &request).await?;
        call.log.set_object(&named.uuid);
        if !request.liked {
            return Ok(likes.delete(user, &connection, &named.ask).await?);
        }
        if own.len() >= MAX_LIKES && own.iter().all(|like| like.ask != named.ask) {
            return Err(Refused::invalid(format!(
                "a user may like {MAX_LIKES} queries of a connection: withdraw one first"
            )));
        }
        let like = LikedQuery {
            uuid: named.uuid,
            owner: user.clone(),
            org: call.principal.org.clone(),
            connection,
            ask: named.ask,
            query: named.query,
            rewrite_question: request.rewrite_question,
            detailed_steps: request.detailed_steps,
            published,
            created_at: now_ms(),
        };
        Ok(likes.put(&like).await?)
    }

    /// Needs `read:liked-queries`: own ones and those published to the acting user, on this connection.
    pub async fn liked_queries(
        &self,
        call: &Call,
        key: &str,
        uuid: Option<&str>,
    ) -> Result<Vec<LikedQuery>, Refused> {
        call.log.set_action("get-liked-query");
        call.needs(Permission::ReadLikedQueries)?;
        let connection = self.own_connection(call, key).await?;
        let mut likes = self.shared.store.likes().visible_to(&call.principal, &connection).await?;
        if let Some(uuid) = given(uuid) {
            likes.retain(|like| like.uuid == uuid);
        }
        Ok(likes)
    }

    /// By its id a query that was liked or run before; else the one that is spelled out.
    async fn named_query(
        &self,
        call: &Call,
        connection: &ConnectionKey,
        own: &[LikedQuery],
        request: &LikeRequest,
    ) -> Result<NamedQuery, Refused> {
        let (ask, query) = (given(request.ask.as_deref()), given(request.query.as_deref()));
        if let Some(uuid) = given(request.query_uuid.as_deref()) {
            if let Some(like) = own.iter().find(|like| like.uuid == uuid) {
                return Ok(NamedQuery {
                    uuid: like.uuid.clone(),
                    ask: like.ask.clone(),
                    query: like.query.clone(),
                });
            }
            let unknown = || Refused::not_found("query");
            let id = QueryId::new(uuid).map_err(|_| unknown())?;
            let run = self.run_before(call, connection, id).await?.ok_or_else(unknown)?;
            // Nobody asked for a query that was run; its own text tells it from the others.
            let ask = ask.unwrap_or(&run.query).to_owned();
            return Ok(NamedQuery { uuid: run.id.to_string(), ask, query: run.query });
        }
        let (Some(ask), Some(query)) = (ask, query) else {
            return Err(Refused::invalid("name the query: give query_uuid, or both ask and query"));
        };
        let known = own.iter().find(|like| like.ask == ask).map(|like| like.uuid.clone());
        let uuid = known.unwrap_or_else(|| new_query_id().to_string());
        Ok(NamedQuery { uuid, ask: ask.to_owned(), query: query.to_owned() })
    }

    async fn run_before(
        &self,
        call: &Call,
        connection: &ConnectionKey,
        id: QueryId,
    ) -> Result<Option<HistoryEntry>, Refused> {
        self.shared.history.flush().await;
        let page = HistoryPage { limit: 1, offset: 0, newest_first: true, id: Some(id) };
        let found = self.shared.store.history().list(&call.principal.identity(), connection, &page).await?;
        Ok(found.into_iter().next())
    }

    /// To whom a like is published: never beyond the own organization.
    async fn publication(
        &self,
        call: &Call,
        connection: &ConnectionKey,
        target: &Target,
    ) -> Result<ParameterTarget, Refused> {
        call.needs(Permission::PublishLikedQueries)?;
        let own_org = call.principal.org.as_str();
        let elsewhere = |org: &str| org != own_org && org != "*";
        if given(target.org.as_deref()).is_some_and(elsewhere) {
            return Err(Refused::not_found("organization"));
        }
        if given(target.connection.as_deref()).is_some_and(|key| key != "*" && key != connection.as_str()) {
            return Err(Refused::invalid(
                "a query is liked on the connection in scope: publish it on the same one",
            ));
        }
        let mut resolved = self.visible_target(call, target).await?;
        // INVARIANT: a publication never leaves its owner's organization; the test `publications_stay_at_home` holds it.
        resolved.org = Some(call.principal.org.clone());
        Ok(resolved)
    }
}

fn check_sizes(request: &LikeRequest) -> Result<(), Refused> {
    let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    if bytes(&request.ask) > MAX_ASK_BYTES || bytes(&request.query) > MAX_QUERY_BYTES {
        return Err(Refused::new(
            Code::InvalidRequest,
            format!("ask may have {MAX_ASK_BYTES} bytes and query {MAX_QUERY_BYTES} bytes"),
        ));
    }
    let steps = request.detailed_steps.as_deref().unwrap_or_default();
    if steps.len() > MAX_STEPS || steps.iter().map(String::len).sum::<usize>() > MAX_ASK_BYTES {
        return Err(Refused::invalid(format!(
            "detailed_steps may have {MAX_STEPS} entries and {MAX_ASK_BYTES} bytes"
        )));
    }
    Ok(())
}
