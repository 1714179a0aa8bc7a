//! Expectations, tried: what principals see under the policy in force, or under a document that is not yet.

use std::sync::Arc;

use ringfence_engine::ResultSet;
use ringfence_policy::{
    Attributes, Expectation, Expectations, Policy, Problem, RelationName, View, VisibleColumn, Who,
};
use serde_json::Value;

use super::people::made_up;
use crate::access_rules::RuleSet;
use crate::guarded::{Breadth, Seat, Snapshot};
use crate::queries::{QueryRequest, Trial, Trials};
use crate::{Call, Code, Gateway, Refused};

/// Expectations of one request.
const MOST_TESTS: usize = 1_000;
/// What a file of expectations is called in problems.
const FILE: &str = "expectations";
/// Rows that a failure shows.
const SHOWN_ROWS: usize = 5;

/// What came of trying them.
#[derive(Debug, Clone)]
pub enum Tested {
    /// All were tried.
    Report(TestReport),
    /// The expectations, or the document that they are tried on, can't be used.
    Invalid(Vec<Problem>),
}

/// What came of all tests.
#[derive(Debug, Clone)]
pub struct TestReport {
    /// The version that they were tried on; `None` for a document that came with them.
    pub version: Option<i64>,
    /// In the order of the file.
    pub outcomes: Vec<TestOutcome>,
}

/// What came of one test.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct TestOutcome {
    pub name: String,
    /// Where it stands in the file; 0 when unknown.
    pub line: usize,
    /// The user, or `somebody of TENANT`.
    pub who: String,
    /// What was not as expected; empty when the test passed.
    pub failures: Vec<String>,
}

impl Gateway {
    /// Tries a file of expectations on the data. Statements that change data are judged by the guard and never run.
    ///
    /// `policy` is a document to try them on, instead of one in the file or the one in force.
    pub async fn test_policy(
        &self,
        call: &Call,
        key: &str,
        expectations: &str,
        policy: Option<&str>,
    ) -> Result<Tested, Refused> {
        call.log().set_action("test-policy");
        let (connection, place) = self.governed(call, key).await?;
        super::check_size("the file of expectations", expectations, super::MAX_DOCUMENT_BYTES)?;
        let expectations = match Expectations::read(FILE, expectations) {
            Ok(expectations) => expectations,
            Err(invalid) => return Ok(Tested::Invalid(invalid.problems)),
        };
        if expectations.tests.len() > MOST_TESTS {
            return Err(Refused::invalid(format!("too many tests: at most {MOST_TESTS} at once")));
        }
        let shown = self.shown_to_governor(call, &connection).await?;
        let (version, snapshot) = if let Some(document) = policy.or(expectations.policy.as_deref()) {
            let loaded = match self.weigh(call, &connection, document).await? {
                Ok(weighed) => weighed.loaded(place)?,
                Err(problems) => return Ok(Tested::Invalid(problems)),
            };
            (None, Arc::new(Snapshot::of(Arc::new(loaded), shown, Breadth::Policy)))
        } else {
            let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
            let (version, snapshot) = self.snapshot_in_force(&place, kind, &shown).await?;
            if version.is_none() {
                return Err(Refused::not_found("policy"));
            }
            (version, snapshot)
        };
        let policy = &snapshot.policy;
        let rules = self.rules_on(&call.principal().org, &policy.place, policy.policy.kind).await?;
        let trials = Trials::begin(self, call, &connection).await?;
        let mut outcomes = Vec::new();
        for test in &expectations.tests {
            outcomes.push(self.try_one(call, &trials, (&snapshot, &rules), test).await?);
        }
        call.log().set_object(&format!("{} tests", outcomes.len()));
        Ok(Tested::Report(TestReport { version, outcomes }))
    }

    async fn try_one(
        &self,
        call: &Call,
        trials: &Trials<'_>,
        (whole, rules): (&Arc<Snapshot>, &Arc<RuleSet>),
        test: &Expectation,
    ) -> Result<TestOutcome, Refused> {
        let mut outcome = TestOutcome {
            name: test.name.value.clone(),
            line: test.name.place.line,
            who: match &test.who {
                Who::User(user) => user.clone(),
                Who::Person(person) => format!("somebody of {}", person.tenant),
            },
            failures: Vec::new(),
        };
        let nothing = Attributes::new();
        let (principal, stated) = match &test.who {
            Who::User(user) => (self.user_of_organization(call, user).await, &nothing),
            Who::Person(person) => (made_up(call, person), &person.attributes),
        };
        let principal = match (principal, &test.who) {
            (Ok(principal), _) => Arc::new(principal),
            (Err(refused), Who::User(user)) if refused.code == Code::NotFound => {
                outcome.failures.push(format!("there is no user `{user}` in your organization"));
                return Ok(outcome);
            }
            (Err(refused), Who::User(_)) => return Err(refused),
            (Err(refused), Who::Person(_)) => {
                outcome.failures.push(refused.to_string());
                return Ok(outcome);
            }
        };
        let schema = test.current_schema.as_deref();
        let before = async {
            let snapshot = whole.for_tenant_of(&principal).await?;
            let seat = trials.seat(&snapshot, rules, &principal, stated, schema).await?;
            Ok((snapshot, seat))
        };
        let (snapshot, seat) = match before.await {
            Ok(place) => place,
            // Whatever the principal sends hears the same.
            Err(refused) => {
                outcome.failures = judge(test, Err(refused));
                return Ok(outcome);
            }
        };
        outcome.failures = if let Some(statement) = &test.query {
            let request = QueryRequest {
                statement: statement.clone(),
                parameters: test.parameters.clone(),
                reason: test.reason.clone(),
                ..QueryRequest::default()
            };
            judge(test, trials.run(&snapshot, &seat, &request).await)
        } else {
            columns(test, &snapshot.policy.policy, &seat)
        };
        Ok(outcome)
    }
}

/// What of an answer is not as expected.
fn judge(test: &Expectation, trial: Result<Trial, Refused>) -> Vec<String> {
    let expect = &test.expect;
    let mut failures = Vec::new();
    match trial {
        Err(refused) => {
            let code = refused.code.row().name;
            match &expect.refused {
                Some(expected) if expected == code => {}
                Some(expected) => {
                    failures.push(format!("expected the refusal {expected}, got {code}: {refused}"));
                }
                None if expect.admitted == Some(false) => {}
                None => failures.push(format!("refused with {code}: {refused}")),
            }
        }
        Ok(trial) => {
            if let Some(expected) = &expect.refused {
                failures.push(format!("expected the refusal {expected}, but the statement is let through"));
            } else if expect.admitted == Some(false) {
                failures.push("expected a refusal, but the statement is let through".to_owned());
            }
            match trial {
                Trial::Answered(result) => answer(test, &result, &mut failures),
                Trial::NotRun
                    if expect.count.is_some() || expect.rows.is_some() || expect.columns.is_some() =>
                {
                    let why =
                        "the statement changes data, so it was not run: expect `admitted` or `refused` of it";
                    failures.push(why.to_owned());
                }
                Trial::NotRun => {}
            }
        }
    }
    failures
}

fn answer(test: &Expectation, result: &ResultSet, failures: &mut Vec<String>) {
    let expect = &test.expect;
    let found = result.rows.len() as u64 + result.more_rows;
    if let Some(count) = expect.count.filter(|count| *count != found) {
        let more = if result.more_rows > 0 { " or more" } else { "" };
        failures.push(format!("expected {count} rows, got {found}{more}"));
    }
    if let Some(columns) = &expect.columns {
        let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
        if names != *columns {
            failures.push(format!("expected the columns {}, got {}", columns.join(", "), names.join(", ")));
        }
    }
    let Some(expected) = &expect.rows else { return };
    let rows: Vec<Vec<Value>> = result.rows.iter().map(|row| row.iter().map(json).collect()).collect();
    let is_same = result.more_rows == 0
        && rows.len() == expected.len()
        && if expect.in_order {
            expected.iter().zip(&rows).all(|(one, other)| same_row(one, other))
        } else {
            same_set(expected, &rows)
        };
    if !is_same {
        let shown: Vec<String> =
            rows.iter().take(SHOWN_ROWS).map(|row| Value::Array(row.clone()).to_string()).collect();
        let more = if rows.len() > SHOWN_ROWS { ", ..." } else { "" };
        let order = if expect.in_order { " in this order" } else { "" };
        failures.push(format!(
            "expected {} rows as given{order}, got {found}: {}{more}",
            expected.len(),
            shown.join(", ")
        ));
    }
}

fn json(value: &ringfence_engine::Value) -> Value {
    let text = serde_json::to_string(value);
    text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}

fn same_row(expected: &[Value], row: &[Value]) -> bool {
    expected.len() == row.len() && expected.iter().zip(row).all(|(one, other)| same(one, other))
}

/// Each expected row takes one that is there.
fn same_set(expected: &[Vec<Value>], rows: &[Vec<Value>]) -> bool {
    let mut left: Vec<&Vec<Value>> = rows.iter().collect();
    expected.iter().all(|wanted| {
        let found = left.iter().position(|row| same_row(wanted, row));
        found.map(|index| left.swap_remove(index)).is_some()
    })
}

/// Databases have more types than a file: a text stands for whatever is written like it.
fn same(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::Number(one), Value::Number(other)) => {
            one == other
                || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
        }
        (Value::String(text), Value::Number(number)) => text.as_str() == number.to_string(),
        (Value::String(text), Value::Bool(truth)) => text == if *truth { "true" } else { "false" },
        (Value::Array(one), Value::Array(other)) => same_row(one, other),
        _ => expected == value,
    }
}

/// What of a relation's columns is not as expected.
fn columns(test: &Expectation, policy: &Policy, seat: &Seat) -> Vec<String> {
    let name = test.relation.as_deref().unwrap_or_default();
    let view: &View = &seat.shape.view;
    let relation = match name.split_once('.') {
        Some((schema, name)) => RelationName::new(schema, name),
        None => RelationName::new(policy.schema(), name),
    };
    let entitlement = view.relations.get(&relation);
    let expect = &test.expect;
    let mut failures = Vec::new();
    if let Some(visible) = expect.visible.filter(|visible| *visible != entitlement.is_some()) {
        let words = if visible { "does not exist for the principal" } else { "is visible" };
        failures.push(format!("{relation} {words}"));
    }
    let find = |column: &String| -> Option<&VisibleColumn> {
        entitlement?.columns.iter().find(|visible| visible.name == *column)
    };
    for column in expect.hides.iter().filter(|column| find(column).is_some()) {
        failures.push(format!("the column `{column}` of {relation} is there"));
    }
    let wanted = expect.shows.iter().map(|column| (column, false));
    for (column, masked) in wanted.chain(expect.masks.iter().map(|column| (column, true))) {
        match find(column) {
            None => {
                failures
                    .push(format!("the column `{column}` of {relation} does not exist for the principal"));
            }
            Some(visible) if visible.mask.is_some() != masked => {
                let words = if masked { "is shown in clear" } else { "is masked" };
                failures.push(format!("the column `{column}` of {relation} {words}"));
            }
            Some(_) => {}
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_as_people_write_them() {
        for (expected, value, is_same) in [
            (json!(1), json!(1), true),
            (json!(1), json!(1.0), true),
            (json!("12.50"), json!(12.5), false),
            (json!(12.5), json!(12.50), true),
            (json!("1"), json!(1), true),
            (json!("true"), json!(true), true),
            (json!(null), json!(null), true),
            (json!([1, "a"]), json!([1, "a"]), true),
            (json!(1), json!("1"), false),
            (json!(null), json!(""), false),
            (json!(1), json!(2), false),
            (json!([1]), json!([1, 2]), false),
        ] {
            assert_eq!(same(&expected, &value), is_same, "{expected} {value}");
        }
        let rows = |value: Value| -> Vec<Vec<Value>> { serde_json::from_value(value).unwrap() };
        assert!(same_set(&rows(json!([[1], [2], [1]])), &rows(json!([[2], [1], [1]]))));
        assert!(!same_set(&rows(json!([[1], [2], [2]])), &rows(json!([[2], [1], [1]]))));
    }
}
