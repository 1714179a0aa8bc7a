//! The audit log for people: who may read it, how much of it, and what of it.

use ringfence_policy::{OrgId, Permission, Principal};
use ringfence_store::audit::{AuditFilter, AuditRecord, RowChange};

use crate::call::{Sanitiser, now_ms, type_of};
use crate::{Call, Gateway, Refused};

/// Records of one answer at most.
pub const MAX_RECORDS: u32 = 500;
/// Records of an export that are in memory at once.
const AT_ONCE: u32 = 250;

/// Which records, and where to go on.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct TrailLookup {
    pub filter: AuditFilter,
    /// What the page before said is next.
    pub cursor: Option<String>,
    pub limit: u32,
}

/// A record as its reader may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailRecord {
    /// Its place in the chain: for those who see all of it. To others the gaps would tell how much goes on elsewhere.
    pub sequence: Option<i64>,
    /// Without the values of rows, for those who do not rule over the organization.
    pub record: AuditRecord,
}

/// Some records, and where the next ones are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct TrailPage {
    pub records: Vec<TrailRecord>,
    pub next: Option<String>,
}

/// All matching records, a few at a time.
pub struct Trail {
    gateway: Gateway,
    reader: Reader,
    filter: AuditFilter,
    left: u64,
    is_over: bool,
}

/// How far somebody may look.
enum Reader {
    Everything,
    Organization { org: OrgId, shows_values: bool },
}

impl Gateway {
    /// A page of the audit log. Needs `read:usage-report`. A super administrator reads all of it, others what happened in
    /// their own organization: another one's log is as empty as that of one which does not exist.
    pub async fn read_audit(&self, call: &Call, lookup: TrailLookup) -> Result<TrailPage, Refused> {
        call.log().set_action("read-audit");
        let (reader, mut filter) = Reader::of(call, lookup.filter)?;
        let Some(known) = reader.within(&mut filter) else {
            return Ok(TrailPage { records: Vec::new(), next: None });
        };
        let log = self.shared.store.audit();
        if let Some(cursor) = &lookup.cursor {
            let wrong = || Refused::invalid("`cursor` is not one that the page before gave as `next`");
            filter.after = Some(log.open_cursor(&known, cursor).ok_or_else(wrong)?);
        }
        let limit = lookup.limit.clamp(1, MAX_RECORDS);
        // One more than asked for tells whether there is a next page.
        let mut found = log.list(&filter, limit + 1).await?;
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > page;
        found.truncate(page);
        let next = found.last().filter(|_| has_more);
        let next = next.map(|last| log.seal_cursor(&known, last.sequence)).transpose()?;
        call.log().set_rows(found.len() as u64);
        let records = found.into_iter().map(|found| reader.shown(found.sequence, found.record)).collect();
        Ok(TrailPage { records, next })
    }

    /// All that match and were written before this call, up to `most`. Needs what [`Self::read_audit`] needs.
    pub async fn export_audit(&self, call: &Call, filter: AuditFilter, most: u64) -> Result<Trail, Refused> {
        call.log().set_action("export-audit");
        let (reader, mut filter) = Reader::of(call, filter)?;
        let is_over = reader.within(&mut filter).is_none();
        // What goes on meanwhile, this export among it, would have no end.
        filter.until_ms = Some(filter.until_ms.unwrap_or(i64::MAX).min(now_ms()));
        // What happened just now is in line to be written.
        self.shared.audit.has_room().await?;
        Ok(Trail { gateway: self.clone(), reader, filter, left: most, is_over })
    }
}

impl Trail {
    /// The next records; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<TrailRecord>>, Refused> {
        if self.is_over || self.left == 0 {
            return Ok(None);
        }
        let limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(AT_ONCE);
        let found = self.gateway.shared.store.audit().list(&self.filter, limit).await?;
        let Some(last) = found.last() else { return Ok(None) };
        self.filter.after = Some(last.sequence);
        self.left -= found.len() as u64;
        self.is_over = found.len() < limit as usize;
        Ok(Some(found.into_iter().map(|found| self.reader.shown(found.sequence, found.record)).collect()))
    }
}

impl Reader {
    /// How far the caller may look; the call's record says for what.
    fn of(call: &Call, filter: AuditFilter) -> Result<(Self, AuditFilter), Refused> {
        call.log().set_object(&described(&filter));
        call.needs(Permission::ReadUsageReport)?;
        Ok((Self::for_one(call.principal()), filter))
    }

    fn for_one(principal: &Principal) -> Self {
        if principal.is_super_admin() {
            return Self::Everything;
        }
        // Who rules over an organization can put its policies, and so could read its rows.
        let shows_values = principal.may(Permission::WriteUser);
        Self::Organization { org: principal.org.clone(), shows_values }
    }

    /// Narrows the filter to what the reader may see, and names the reader for cursors; `None` when there is nothing.
    //
    // INVARIANT: no record of another organization leaves here. Held by the test `each_reads_their_own_organization`.
    fn within(&self, filter: &mut AuditFilter) -> Option<String> {
        match self {
            Self::Everything => Some("all".to_owned()),
            Self::Organization { org, .. } => {
                if filter.org.as_deref().is_some_and(|asked| asked != org.as_str()) {
                    return None;
                }
                filter.org = Some(org.to_string());
                Some(format!("org {org}"))
            }
        }
    }

    fn shown(&self, sequence: i64, mut record: AuditRecord) -> TrailRecord {
        match self {
            Self::Everything => TrailRecord { sequence: Some(sequence), record },
            Self::Organization { shows_values, .. } => {
                if !shows_values {
                    hide_values(&mut record);
                }
                TrailRecord { sequence: None, record }
            }
        }
    }
}

/// Which columns changed is told, and what kind of value they had.
fn hide_values(record: &mut AuditRecord) {
    for RowChange { relation: _, before, after } in &mut record.changes {
        for row in [before, after].into_iter().flatten() {
            row.values_mut().for_each(|value| *value = type_of(value));
        }
    }
    let sanitiser = Sanitiser { naming: Sanitiser::NAMING, is_told: &|_| false };
    record.inputs = record.inputs.as_ref().map(|inputs| sanitiser.sanitise(inputs));
}

/// The conditions, for the record of the one who reads.
fn described(filter: &AuditFilter) -> String {
    let AuditFilter {
        org,
        tenant,
        user,
        action,
        door,
        decision,
        connection,
        trace_id,
        since_ms,
        until_ms,
        model,
        relation,
        code,
        approval,
        agent,
        acting_for,
        after: _,
        newest_first: _,
    } = filter;
    let texts = [
        ("org", org),
        ("tenant", tenant),
        ("user", user),
        ("acting_for", acting_for),
        ("agent", agent),
        ("action", action),
        ("door", door),
        ("decision", decision),
        ("code", code),
        ("connection", connection),
        ("model", model),
        ("relation", relation),
        ("approval", approval),
        ("trace_id", trace_id),
    ];
    let times = [("since", since_ms), ("until", until_ms)];
    let texts = texts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    let times = times.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
    let all: Vec<String> = texts.chain(times).collect();
    if all.is_empty() { "everything".to_owned() } else { all.join(" ") }
}
