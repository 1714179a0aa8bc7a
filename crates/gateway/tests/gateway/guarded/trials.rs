//! `test`: expectations that are kept in files, tried on the data.

use ringfence_gateway::policies::{TestReport, Tested};

use super::{POLICY, Shop};

impl Shop {
    async fn try_expectations(&self, text: &str) -> TestReport {
        let call = self.world.call_as("a-boss").await;
        match self.world.gateway.test_policy(&call, &self.key, text, None).await.unwrap() {
            Tested::Report(report) => report,
            Tested::Invalid(problems) => panic!("{problems:?}"),
        }
    }

    /// The failures of one test, which begins with `as` and stands in one line.
    async fn failures(&self, test: &str) -> String {
        let report = self.try_expectations(&format!("tests:\n  - {{ name: one, {test} }}\n")).await;
        assert_eq!((report.outcomes.len(), report.outcomes[0].line), (1, 2));
        report.outcomes[0].failures.join("; ")
    }
}

#[tokio::test]
async fn expectations_hold_or_say_what_was_found() {
    let shop = Shop::guarded("trial_expectations").await;
    for (test, failure) in [
        ("as: a-ann, query: SELECT id FROM orders, expect: { count: 2, columns: [id] }", ""),
        ("as: a-ann, query: SELECT id FROM orders, expect: { count: 3 }", "expected 3 rows, got 2"),
        (
            "as: a-ann, query: SELECT id FROM orders, expect: { columns: [id, card] }",
            "expected the columns id, card, got id",
        ),
        ("as: a-ann, query: 'SELECT id, status FROM orders', expect: { rows: [[2, draft], [1, new]] }", ""),
        (
            "as: a-ann, query: SELECT id FROM orders ORDER BY id, expect: { rows: [[1], [2]], in_order: true }",
            "",
        ),
        (
            "as: a-ann, query: SELECT id FROM orders ORDER BY id, expect: { rows: [[2], [1]], in_order: true }",
            "in this order, got 2: [1], [2]",
        ),
        (
            "as: a-abe, query: SELECT id FROM orders, expect: { rows: [[1], [2]] }",
            "expected 2 rows as given, got 2: [3], [4]",
        ),
        ("as: a-ann, query: SELECT id FROM secrets, expect: { refused: RELATION_UNKNOWN }", ""),
        ("as: a-ann, query: SELECT note FROM orders, expect: { refused: COLUMN_UNKNOWN }", ""),
        (
            "as: a-ann, query: SELECT id FROM orders, expect: { refused: RELATION_UNKNOWN }",
            "the statement is let through",
        ),
        ("as: a-ann, query: SELECT id FROM secrets, expect: { count: 1 }", "refused with RELATION_UNKNOWN"),
        (
            "as: a-ann, query: SELECT id FROM secrets, expect: { refused: WRITE_DENIED }",
            "expected the refusal WRITE_DENIED, got RELATION_UNKNOWN",
        ),
        (
            "as: a-ann, query: 'SELECT id FROM orders WHERE id = $1', parameters: ['2'], expect: { rows: [[2]] }",
            "",
        ),
        (
            "as: a-ann, relation: orders, expect: { visible: true, hides: [note], shows: [id, status], masks: [card] }",
            "",
        ),
        ("as: a-ann, relation: public.secrets, expect: { visible: false }", ""),
        (
            "as: a-ann, relation: orders, expect: { hides: [id], shows: [card], masks: [status] }",
            "the column `id` of public.orders is there; the column `card` of public.orders is masked; the column `status` of public.orders is shown in clear",
        ),
        (
            "as: a-ann, relation: secrets, expect: { visible: true, shows: [word] }",
            "does not exist for the principal",
        ),
        ("as: nobody, query: SELECT 1, expect: { count: 1 }", "there is no user `nobody`"),
        ("as: b-ann, query: SELECT 1, expect: { count: 1 }", "there is no user `b-ann`"),
        ("as: { tenant: a-t2 }, query: SELECT id FROM orders, expect: { count: 2 }", ""),
        ("as: { tenant: nowhere }, query: SELECT id FROM orders, expect: { count: 0 }", ""),
        (
            "as: { tenant: a-t2, data_roles: [ROLE_AUDITOR] }, query: SELECT id FROM orders, expect: { count: 4 }",
            "",
        ),
        (
            "as: { tenant: a-t2, roles: [emperor] }, query: SELECT id FROM orders, expect: { count: 4 }",
            "unknown role",
        ),
        (
            "as: { tenant: a, attributes: { region: us } }, query: SELECT id FROM regions, expect: { rows: [[2]] }",
            "",
        ),
        ("as: a-ann, query: SELECT id FROM regions, expect: { refused: TENANT_SCOPE_REQUIRED }", ""),
    ] {
        let failures = shop.failures(test).await;
        let is_expected = if failure.is_empty() { failures.is_empty() } else { failures.contains(failure) };
        assert!(is_expected, "{test}: {failures}");
    }
}

#[tokio::test]
async fn tests_change_nothing() {
    let shop = Shop::guarded("trial_writes").await;
    let before = shop.raw().await;
    for (test, failure) in [
        ("as: a-ann, query: DELETE FROM orders, expect: { refused: APPROVAL_REQUIRED }", ""),
        ("as: a-ann, query: \"UPDATE orders SET status = 'x'\", expect: { admitted: true }", ""),
        ("as: a-ann, query: \"UPDATE orders SET status = 'x' RETURNING id\", expect: { admitted: true }", ""),
        (
            "as: a-ann, query: \"INSERT INTO orders (id, status) VALUES (9, 'x')\", expect: { admitted: true }",
            "",
        ),
        (
            "as: a-ann, query: \"WITH x AS (UPDATE orders SET status = 'x' RETURNING id) SELECT * FROM x\", expect: { refused: STATEMENT_NOT_ADMITTED }",
            "",
        ),
        ("as: a-ann, query: \"UPDATE orders SET status = 'x'\", expect: { count: 2 }", "it was not run"),
        ("as: a-ann, query: \"UPDATE orders SET tenant_id = 'a-t2'\", expect: { admitted: false }", ""),
        (
            "as: a-ann, query: \"UPDATE orders SET status = 'x'\", expect: { admitted: false }",
            "is let through",
        ),
    ] {
        let failures = shop.failures(test).await;
        let is_expected = if failure.is_empty() { failures.is_empty() } else { failures.contains(failure) };
        assert!(is_expected, "{test}: {failures}");
    }
    assert_eq!(shop.raw().await, before);
}

#[tokio::test]
async fn a_document_is_tried_before_it_is_put() {
    let shop = Shop::guarded("trial_document").await;
    let test = "tests:\n  - { name: all, as: a-ann, query: SELECT id FROM orders, expect: { count: 4 } }\n";
    let report = shop.try_expectations(test).await;
    assert_eq!((report.version, report.outcomes[0].failures.len()), (Some(1), 1));
    let wider = POLICY.replace("scoping: { tenant_id: principal.tenant_id }", "allowed: true");
    let with = format!("policy: {}\n{test}", serde_json::to_string(&wider).unwrap());
    let report = shop.try_expectations(&with).await;
    assert_eq!((report.version, report.outcomes[0].failures.len()), (None, 0), "{report:?}");
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    let call = shop.world.call_as("a-boss").await;
    for wrong in ["policy: 'models: ['\ntests: []", "tests: [ { name: x } ]", "["] {
        let tested = shop.world.gateway.test_policy(&call, &shop.key, wrong, None).await.unwrap();
        assert!(matches!(tested, Tested::Invalid(_)), "{wrong}");
    }
}
