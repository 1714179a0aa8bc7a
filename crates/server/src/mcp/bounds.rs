//! How large an answer may be: what a model reads costs, and what does not fit its memory is lost on it.

use ringfence_gateway::{Code, Refused};
use serde_json::{Map, Value};

/// What one answer may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Rows of a page, or of a statement's result.
    pub(crate) max_rows: u64,
    /// Bytes of an answer's JSON.
    pub(crate) max_bytes: usize,
}

/// Set aside for the note about what was left out.
const NOTE_BYTES: usize = 512;

impl Bounds {
    /// How many rows are asked for: as many as wanted, up to the bound.
    pub(super) fn rows(self, wanted: Option<u64>) -> u64 {
        wanted.unwrap_or(self.max_rows).clamp(1, self.max_rows)
    }

    /// The answer with as many of the items at `list` as fit; `advice` says how to ask for less.
    pub(super) fn fit(
        self,
        mut answer: Map<String, Value>,
        list: &str,
        advice: &str,
    ) -> Result<Value, Refused> {
        if size(&answer) <= self.max_bytes {
            return Ok(Value::Object(answer));
        }
        let Some(Value::Array(items)) = answer.get_mut(list) else { return Err(too_large(self.max_bytes)) };
        let mut items = std::mem::take(items);
        let mut left = self.max_bytes.saturating_sub(size(&answer)).saturating_sub(NOTE_BYTES);
        let fits = |item: &Value| {
            let bytes = size(item).saturating_add(1);
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        };
        let all = items.len();
        let kept = items.iter().map(fits).take_while(|fits| *fits).count();
        items.truncate(kept);
        answer.insert(list.to_owned(), Value::Array(items));
        if answer.contains_key("next_cursor") {
            // It would go on behind what was left out.
            answer.insert("next_cursor".to_owned(), Value::Null);
            answer.insert("has_more".to_owned(), Value::Bool(true));
        }
        let note = format!(
            "{} of {all} {list} left out: an answer holds at most {} bytes, and {kept} fit. {advice}",
            all - kept,
            self.max_bytes
        );
        answer.insert("note".to_owned(), Value::String(note));
        if size(&answer) > self.max_bytes {
            Err(too_large(self.max_bytes))
        } else {
            Ok(Value::Object(answer))
        }
    }
}

fn too_large(limit: usize) -> Refused {
    Refused::new(Code::ResultTooLarge, format!("the answer is larger than {limit} bytes"))
}

/// Bytes of its JSON. What can't be written is too large for everything.
fn size(value: &impl serde::Serialize) -> usize {
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(rows: usize) -> Map<String, Value> {
        let rows: Vec<_> = (0..rows).map(|id| json!({"id": id, "text": "x".repeat(100)})).collect();
        let Value::Object(answer) = json!({"rows": rows, "has_more": false, "next_cursor": "behind them"})
        else {
            unreachable!()
        };
        answer
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let bounds = Bounds { max_rows: 10, max_bytes: 4096 };
        let fitted = bounds.fit(answer(3), "rows", "").unwrap();
        assert_eq!(fitted, Value::Object(answer(3)));
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let bounds = Bounds { max_rows: 1000, max_bytes: 4096 };
        let fitted = bounds.fit(answer(100), "rows", "Ask for less.").unwrap();
        let kept = fitted["rows"].as_array().unwrap().len();
        assert!(kept > 5 && kept < 40, "{kept}");
        assert!(fitted.to_string().len() <= 4096);
        assert_eq!(fitted["rows"][kept - 1]["id"], kept - 1, "the first rows stay, in order");
        // A cursor behind rows that were left out would lose them.
        assert_eq!((&fitted["next_cursor"], &fitted["has_more"]), (&Value::Null, &json!(true)));
        let note = fitted["note"].as_str().unwrap();
        assert!(note.starts_with(&format!("{} of 100 rows left out", 100 - kept)), "{note}");
        assert!(note.ends_with("Ask for less."), "{note}");
    }

    #[test]
    fn what_has_nothing_to_leave_out_is_refused() {
        let bounds = Bounds { max_rows: 10, max_bytes: 1024 };
        let Value::Object(row) = json!({"row": {"text": "x".repeat(2000)}}) else { unreachable!() };
        assert_eq!(bounds.fit(row, "rows", "").unwrap_err().code, Code::ResultTooLarge);
    }

    #[test]
    fn rows_are_asked_for_within_the_bound() {
        let bounds = Bounds { max_rows: 200, max_bytes: 1024 };
        assert_eq!(
            [None, Some(0), Some(5), Some(u64::MAX)].map(|wanted| bounds.rows(wanted)),
            [200, 1, 5, 200]
        );
    }
}
