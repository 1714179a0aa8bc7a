//! What a request asked for, as its record may hold it: names and operators, never values.

use serde::Serialize;
use serde_json::Value;

use super::Operation;
use crate::CallLog;
use crate::call::Sanitiser;

/// Keys of requests whose texts are names.
const NAMING: [&str; 16] = [
    "action", "as", "by", "field", "group_by", "hierarchy", "level", "levels", "limit", "measures", "model",
    "op", "order_by", "return_fields", "select", "take",
];

/// Notes a read.
pub(crate) fn note(log: &CallLog, request: &impl Serialize) {
    let sanitiser = Sanitiser { naming: &NAMING, is_told: &|_| false };
    if let Ok(request) = serde_json::to_value(request) {
        log.set_inputs(sanitiser.sanitise(&request));
    }
}

/// Notes changes.
pub(super) fn note_operations(log: &CallLog, operations: &[Operation]) {
    let sanitiser = Sanitiser { naming: &NAMING, is_told: &|_| false };
    // A field of a row may be called like a key of requests: of rows, and of their keys, nothing is a name but the fields.
    let of_rows = Sanitiser { naming: &[], is_told: &|_| false };
    let note = |operation: &Operation| {
        let mut said = serde_json::to_value(operation).unwrap_or_default();
        let mut noted = sanitiser.sanitise(&said);
        for name in ["data", "id", "ids", "if_version"] {
            if let (Some(said), Some(noted)) = (said.get_mut(name), noted.get_mut(name)) {
                *noted = of_rows.sanitise(said);
            }
        }
        noted
    };
    log.set_inputs(Value::Array(operations.iter().map(note).collect()));
}
