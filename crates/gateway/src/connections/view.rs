//! How a connection looks to its user.

use std::collections::BTreeMap;

use ringfence_store::connections::{Connection, Proof};
use ringfence_store::sources::{IndexStatus, Source};

use super::{ConnectionView, IndexView};

/// The connection without its password. What is shared shows only to those whose credentials are proven.
///
/// On a guarded connection the shared filters and the schemas' names tell of what a policy hides: there the user sees the
/// filters of their own.
pub(super) fn view(connection: Connection, source: Option<&Source>, is_guarded: bool) -> ConnectionView {
    let mut index = index_view(&connection.proof, source);
    let mut spec = connection.spec;
    if is_guarded {
        index.schemas.clear();
    } else if let (Proof::Proven, Some(source)) = (&connection.proof, source) {
        let given = |empty: bool| !empty;
        spec.content_filters =
            given(source.content_filters.is_empty()).then(|| source.content_filters.clone());
        spec.db_content_filters =
            given(source.pattern_filters.is_empty()).then(|| source.pattern_filters.clone());
    }
    ConnectionView { key: connection.key, spec, owner: connection.user, index }
}

fn index_view(proof: &Proof, source: Option<&Source>) -> IndexView {
    let unbegun = IndexView {
        status: IndexStatus::NotStarted,
        schemas: BTreeMap::new(),
        percentage: 100.0,
        diagnostics: None,
    };
    match (proof, source) {
        (Proof::Pending, _) | (Proof::Proven, None) => unbegun,
        (Proof::Failed(reason), _) => {
            IndexView { status: IndexStatus::Failed, diagnostics: Some(reason.clone()), ..unbegun }
        }
        // What an earlier generation counted says nothing about this one.
        (Proof::Proven, Some(source)) if source.status == IndexStatus::NotStarted => unbegun,
        (Proof::Proven, Some(source)) => IndexView {
            status: source.status,
            percentage: percentage(source),
            schemas: source.schemas.clone(),
            diagnostics: source.diagnostics.clone().filter(|_| source.status == IndexStatus::Failed),
        },
    }
}

fn percentage(source: &Source) -> f64 {
    let sum = |part: fn(&ringfence_store::sources::SchemaProgress) -> u32| {
        source.schemas.values().map(|progress| f64::from(part(progress))).sum::<f64>()
    };
    let (total, pending) = (sum(|progress| progress.total), sum(|progress| progress.pending));
    if source.status != IndexStatus::Indexing || total <= 0.0 {
        return 100.0;
    }
    (100.0 * (total - pending) / total).clamp(0.0, 100.0)
}
