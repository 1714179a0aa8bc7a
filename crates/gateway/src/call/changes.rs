//! Rows before and after a change, as many of them as a record has room for.

use ringfence_store::audit::RowChange;

/// Rows of one record.
const MOST_ROWS: usize = 100;
/// Bytes of all of them together, as JSON.
const MOST_BYTES: usize = 64 * 1024;

/// The changes of one call.
#[derive(Default)]
pub(super) struct Changes {
    kept: Vec<RowChange>,
    bytes: usize,
    left_out: usize,
}

impl Changes {
    /// Keeps the change while there is room. Once one was left out, all that follow are: what is kept is a beginning.
    pub(super) fn add(&mut self, change: RowChange) {
        let bytes = serde_json::to_vec(&change).map_or(usize::MAX, |json| json.len());
        let has_room = self.kept.len() < MOST_ROWS && bytes <= MOST_BYTES - self.bytes;
        if self.left_out == 0 && has_room {
            self.bytes += bytes;
            self.kept.push(change);
        } else {
            self.left_out += 1;
        }
    }

    /// The changes, and what was left out.
    pub(super) fn finish(self) -> (Vec<RowChange>, Option<String>) {
        let all = self.kept.len() + self.left_out;
        let note = (self.left_out > 0).then(|| {
            format!("the first {} of {all} changed rows: the others had no room here", self.kept.len())
        });
        (self.kept, note)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(text: &str) -> RowChange {
        let after = [("a".to_owned(), json!(text))].into_iter().collect();
        RowChange { relation: "public.t".to_owned(), before: None, after: Some(after) }
    }

    #[test]
    fn changes_are_bounded_in_rows_and_bytes() {
        let finished = |texts: &mut dyn Iterator<Item = String>| {
            let mut changes = Changes::default();
            texts.for_each(|text| changes.add(change(&text)));
            let (kept, note) = changes.finish();
            (kept.len(), note.unwrap_or_default())
        };
        assert_eq!(finished(&mut std::iter::repeat_n("x".to_owned(), 100)), (100, String::new()));
        let (kept, note) = finished(&mut std::iter::repeat_n("x".to_owned(), 250));
        assert!(kept == 100 && note.starts_with("the first 100 of 250 "), "{note}");
        let (kept, note) = finished(&mut std::iter::repeat_n("x".repeat(30_000), 3));
        assert!(kept == 2 && note.starts_with("the first 2 of 3 "), "{note}");
        // One that has room after one that has none would leave a gap.
        let (kept, note) = finished(&mut ["x".repeat(100_000), "x".to_owned()].into_iter());
        assert!(kept == 0 && note.starts_with("the first 0 of 2 "), "{note}");
    }
}
