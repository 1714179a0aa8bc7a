//! Values are exact, and look as those of other sources do.

use crate::World;

#[tokio::test]
async fn values_are_exact() {
    let world = World::new();
    for (sql, expected) in [
        ("SELECT 0.1 + 0.2", "[[0.3]]"),
        ("SELECT CAST('12345678901234567890.12' AS NUMERIC(30, 2))", r#"[["12345678901234567890.12"]]"#),
        ("SELECT CAST(9223372036854775807 AS BIGINT)", "[[9223372036854775807]]"),
        ("SELECT DATE '2024-02-29'", r#"[["2024-02-29"]]"#),
        ("SELECT TIMESTAMP '2024-02-29 10:00:00.5'", r#"[["2024-02-29T10:00:00.500"]]"#),
        (
            "SELECT CAST('2024-02-29T12:00:00+02:00' AS TIMESTAMP WITH TIME ZONE)",
            r#"[["2024-02-29T10:00:00+00:00"]]"#,
        ),
        ("SELECT CAST('NaN' AS DOUBLE PRECISION), 1.5e0", r#"[["NaN",1.5]]"#),
        ("SELECT NULL, TRUE, 'Zoë'", r#"[[null,true,"Zoë"]]"#),
        ("SELECT array_agg(x) FROM (VALUES (1), (2)) AS t(x)", "[[[1,2]]]"),
        ("SELECT 7 / 2, 7 % 2, -7 / 2", "[[3,1,-3]]"),
    ] {
        assert_eq!(world.json(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn names_are_those_that_were_written() {
    let world = World::new();
    world.load("t", "Id,\"State or region\"\n1,x\n").await;
    let result = world.open(r#"SELECT "Id", "State or region" AS r, 1 AS "One" FROM t"#).await.unwrap();
    let columns: Vec<_> =
        result.columns.iter().map(|column| (column.name.as_str(), column.type_name.as_str())).collect();
    assert_eq!(columns, [("Id", "bigint"), ("r", "text"), ("One", "bigint")]);
    // Without quotes a name is in lower case.
    assert!(world.open("SELECT Id FROM t").await.is_err());
}
