//! Which records of the audit log.

use crate::database::{Dialect, Value};

/// Which records; all given conditions hold together.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct AuditFilter {
    pub org: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<String>,
    pub action: Option<String>,
    pub door: Option<String>,
    pub decision: Option<String>,
    pub connection: Option<String>,
    pub trace_id: Option<String>,
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// The model of a models request.
    pub model: Option<String>,
    /// A relation that the statement names, such as `public.orders`.
    pub relation: Option<String>,
    /// The public code of a refusal.
    pub code: Option<String>,
    /// The ticket of an approval.
    pub approval: Option<String>,
    /// The agent that the caller named.
    pub agent: Option<String>,
    /// As whom the call ran, when impersonating.
    pub acting_for: Option<String>,
    /// Only records that come after this place in the chain, in the order that is asked for: for paging.
    pub after: Option<i64>,
    /// Last ones first.
    pub newest_first: bool,
}

impl AuditFilter {
    /// The condition as SQL, and its values.
    pub(super) fn condition(&self, dialect: Dialect) -> (String, Vec<Value>) {
        let texts = [
            ("org_id", &self.org),
            ("tenant_id", &self.tenant),
            ("user_id", &self.user),
            ("action", &self.action),
            ("door", &self.door),
            ("decision", &self.decision),
            ("connection", &self.connection),
            ("trace_id", &self.trace_id),
        ];
        let texts = texts.into_iter().map(|(column, value)| (column, "=", value.as_ref().map(Value::from)));
        let integers = [
            ("at_ms", ">=", self.since_ms.map(Value::from)),
            ("at_ms", "<=", self.until_ms.map(Value::from)),
            ("sequence", if self.newest_first { "<" } else { ">" }, self.after.map(Value::from)),
        ];
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        for (column, comparison, value) in texts.chain(integers) {
            if let Some(value) = value {
                values.push(value);
                conditions.push(format!("{column} {comparison} ${}", values.len()));
            }
        }
        for (field, value) in self.fields_of_records() {
            let Some(value) = value else { continue };
            values.push(match dialect {
                // Compared as JSON, because a text of it may hold what is no text there.
                Dialect::Postgres => Value::from(serde_json::Value::from(value.as_str()).to_string()),
                Dialect::Sqlite => value.into(),
            });
            conditions.push(of_record(dialect, field, values.len()));
        }
        let condition =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        (condition, values)
    }

    /// What has no column of its own: few ask for it, and every record would pay for it.
    fn fields_of_records(&self) -> [(&'static str, Option<&String>); 6] {
        [
            ("model", self.model.as_ref()),
            ("tables", self.relation.as_ref()),
            ("code", self.code.as_ref()),
            ("approval", self.approval.as_ref()),
            ("agent", self.agent.as_ref()),
            ("acting_for", self.acting_for.as_ref()),
        ]
    }
}

/// Whether the record has that value in the field, or among the field's values.
fn of_record(dialect: Dialect, field: &str, number: usize) -> String {
    match (dialect, field) {
        (Dialect::Sqlite, "tables") => {
            format!(
                "EXISTS (SELECT 1 FROM json_each(record -> 'tables') named WHERE named.value = ${number})"
            )
        }
        (Dialect::Sqlite, _) => format!("record ->> '{field}' = ${number}"),
        (Dialect::Postgres, _) => {
            let (begins, is_exactly) = if field == "tables" {
                let elements = "json_array_elements(record::json -> 'tables')";
                (
                    String::new(),
                    format!("EXISTS (SELECT 1 FROM {elements} named WHERE named.value::text = ${number})"),
                )
            } else {
                (format!("'\"{field}\":' || "), format!("(record::json -> '{field}')::text = ${number}"))
            };
            // Looked for in the text first, which is quick. It does not read documents with a NUL; those are found by text alone.
            format!(
                "(strpos(record, {begins}${number}) > 0 AND CASE WHEN strpos(record, '\\u0000') > 0 THEN TRUE ELSE {is_exactly} END)"
            )
        }
    }
}
