//! Each type's values, read from the binary and from the text format.

use ringfence_engine::{RunOptions, SessionParameter};

use crate::world::{World, rows};

/// An expression and its JSON.
const VALUES: &[(&str, &str)] = &[
    ("NULL::int4", "null"),
    ("true", "true"),
    ("false", "false"),
    ("(-32768)::int2", "-32768"),
    ("2147483647", "2147483647"),
    ("9223372036854775807", "9223372036854775807"),
    ("(-9223372036854775808)::int8", "-9223372036854775808"),
    ("4294967295::oid", "4294967295"),
    ("0.1::float4", "0.1"),
    ("1.5::float8", "1.5"),
    ("1e300::float8", "1e+300"),
    ("'NaN'::float8", r#""NaN""#),
    ("'Infinity'::float4", r#""Infinity""#),
    ("'-Infinity'::float8", r#""-Infinity""#),
    ("'ü \"quoted\" \\ '::text", r#""ü \"quoted\" \\ ""#),
    ("'ab'::char(4)", r#""ab  ""#),
    ("'x'::\"char\"", r#""x""#),
    ("'n'::name", r#""n""#),
    ("0::numeric", "0"),
    ("0.00::numeric", "0.00"),
    ("1.50::numeric(10,2)", "1.50"),
    ("-12345.678900::numeric", "-12345.678900"),
    ("0.00001234::numeric", "0.00001234"),
    ("10000::numeric", "10000"),
    ("123456789012345::numeric", "123456789012345"),
    ("1234567890123456::numeric", r#""1234567890123456""#),
    ("1e20::numeric", r#""100000000000000000000""#),
    ("1234567890.123456789::numeric", r#""1234567890.123456789""#),
    ("'NaN'::numeric", r#""NaN""#),
    ("'-Infinity'::numeric", r#""-Infinity""#),
    ("date '2024-02-29'", r#""2024-02-29""#),
    ("date '10000-01-01'", r#""10000-01-01""#),
    ("date '0044-03-15 BC'", r#""0044-03-15 BC""#),
    ("'infinity'::date", r#""infinity""#),
    ("timestamp '2024-01-31 23:59:59'", r#""2024-01-31T23:59:59""#),
    ("timestamp '1969-12-31 23:59:59.000001'", r#""1969-12-31T23:59:59.000001""#),
    ("timestamp '2024-01-31 12:00:00.500'", r#""2024-01-31T12:00:00.5""#),
    ("timestamp '12345-01-31 12:00:00'", r#""12345-01-31 12:00:00""#),
    ("timestamp '0044-03-15 12:00:00 BC'", r#""0044-03-15 12:00:00 BC""#),
    ("'-infinity'::timestamp", r#""-infinity""#),
    ("timestamptz '2024-01-31 12:00:00.25+05:30'", r#""2024-01-31T06:30:00.25+00:00""#),
    ("'infinity'::timestamptz", r#""infinity""#),
    ("time '23:59:59.999999'", r#""23:59:59.999999""#),
    ("time '24:00:00'", r#""24:00:00""#),
    ("timetz '12:00:00+05:30'", r#""12:00:00+05:30""#),
    ("timetz '12:00:00-08'", r#""12:00:00-08""#),
    ("interval '1 year 2 months -3 days 04:05:06.7'", r#""1 year 2 mons -3 days +04:05:06.7""#),
    ("interval '-1 month'", r#""-1 mons""#),
    ("interval '0'", r#""00:00:00""#),
    (r#"'{"b": [1, {"a": null}], "a": 1.0}'::json"#, r#"{"b": [1, {"a": null}], "a": 1.0}"#),
    (r#"'{"b":1,"a":1e3}'::jsonb"#, r#"{"a": 1000, "b": 1}"#),
    ("'null'::jsonb", "null"),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    ("'\\x00ff10'::bytea", r#""\\x00ff10""#),
    ("'happy'::mood", r#""happy""#),
    ("5::positive", "5"),
    ("'{1,NULL,3}'::int4[]", "[1,null,3]"),
    ("'{{1,2},{3,4}}'::int8[]", "[[1,2],[3,4]]"),
    ("'[5:6]={1,2}'::int4[]", "[1,2]"),
    ("'{}'::text[]", "[]"),
    (r#"ARRAY['a,b', 'NULL', NULL, '"q" \', '']"#, r#"["a,b","NULL",null,"\"q\" \\",""]"#),
    ("ARRAY['happy', NULL]::mood[]", r#"["happy",null]"#),
    ("ARRAY[1.5, 'NaN']::numeric[]", r#"[1.5,"NaN"]"#),
    ("ARRAY[date '2024-01-31']", r#"["2024-01-31"]"#),
    (r#"ARRAY['{"a": 1}']::jsonb[]"#, r#"[{"a": 1}]"#),
    ("ARRAY['\\x00ff']::bytea[]", r#"["\\x00ff"]"#),
    ("ARRAY[true, false]", "[true,false]"),
    // PostgreSQL's own words
    ("int4range(1, 5)", r#""[1,5)""#),
    ("'{[1,3), [5,7)}'::int4multirange", r#""{[1,3),[5,7)}""#),
    ("ROW(1, 'a b', NULL)", r#""(1,\"a b\",)""#),
    ("'12.34'::money", r#""$12.34""#),
    ("B'1010'", r#""1010""#),
    ("point(1, 2)", r#""(1,2)""#),
    ("'10.0.0.0/8'::cidr", r#""10.0.0.0/8""#),
    ("'::1'::inet", r#""::1""#),
    ("'08:00:2b:01:02:03'::macaddr", r#""08:00:2b:01:02:03""#),
    ("'<a/>'::xml", r#""<a/>""#),
    ("to_tsvector('simple', 'b a')", r#""'a':2 'b':1""#),
    ("'1 2 3'::int2vector", r#""1 2 3""#),
    ("'pg_class'::regclass", r#""pg_class""#),
    ("ARRAY['::1'::inet]", r#""{::1}""#),
    ("pg_sleep(0)", r#""""#),
];

#[tokio::test]
async fn every_type_has_its_json_in_both_formats() {
    let world = World::with_places(1).await;
    world.run("CREATE TYPE mood AS ENUM ('sad', 'happy')").await.expect("made");
    world.run("CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)").await.expect("made");
    for (expression, json) in VALUES {
        assert_eq!(world.json(&format!("SELECT {expression}")).await, format!("[[{json}]]"), "{expression}");
        // An address beside it makes the whole result come as text.
        let as_text = format!("SELECT {expression}, '::1'::inet");
        assert_eq!(world.json(&as_text).await, format!("[[{json},\"::1\"]]"), "{expression}, as text");
    }
}

#[tokio::test]
async fn columns_carry_names_and_types() {
    let world = World::with_places(1).await;
    world.run("CREATE TYPE mood AS ENUM ('sad')").await.expect("made");
    let sql = "SELECT 1::int8 AS a, 'x'::text AS a, ARRAY[1] AS \"B c\", 'sad'::mood AS m, int4range(1,2) AS r WHERE false";
    let result = world.run(sql).await.expect("runs");
    let columns: Vec<_> = result.columns.iter().map(|it| (it.name.as_str(), it.type_name.as_str())).collect();
    assert_eq!(columns, [("a", "int8"), ("a", "text"), ("B c", "_int4"), ("m", "mood"), ("r", "int4range")]);
    assert_eq!((result.rows.len(), result.more_rows, result.affected), (0, 0, None));
    let made = world.run("CREATE TABLE t (a int)").await.expect("made");
    assert!(made.columns.is_empty() && made.rows.is_empty() && made.affected.is_none());
    // Enough rows that they come in several pieces, with a type that the driver looks up.
    let many = world
        .run("SELECT 'sad'::mood, i, repeat('x', 100) FROM generate_series(1, 9999) i")
        .await
        .expect("runs");
    assert_eq!((many.rows.len(), many.more_rows), (9999, 0));
}

#[tokio::test]
async fn settings_hold_for_one_query() {
    let world = World::with_places(1).await;
    let set = |parameter, value: &str| RunOptions {
        session_parameters: vec![(parameter, value.to_owned())],
        ..RunOptions::default()
    };
    let show = |name: &str| format!("SELECT current_setting('{name}')");
    for (parameter, name, value, shown) in [
        (SessionParameter::TimeZone, "timezone", "Asia/Tokyo", "Asia/Tokyo"),
        (SessionParameter::DateStyle, "datestyle", "German", "German, DMY"),
        (SessionParameter::IntervalStyle, "intervalstyle", "iso_8601", "iso_8601"),
        (SessionParameter::ExtraFloatDigits, "extra_float_digits", "0", "0"),
        (SessionParameter::StatementTimeout, "statement_timeout", "4s", "4s"),
        (SessionParameter::LockTimeout, "lock_timeout", "3s", "3s"),
        (SessionParameter::WorkMem, "work_mem", "8MB", "8MB"),
    ] {
        let before = world.json(&show(name)).await;
        let during = world.run_with(&show(name), &set(parameter, value)).await.expect("runs");
        assert_eq!(rows(&during), format!("[[\"{shown}\"]]"), "{name}");
        assert_eq!(world.json(&show(name)).await, before, "{name} afterwards");
    }
    for value in ["nonsense", "x'; DROP TABLE t; --", "a\\", "a\0"] {
        let refused = world.run_with("SELECT 1", &set(SessionParameter::TimeZone, value)).await;
        assert!(matches!(refused, Err(ringfence_engine::SourceError::Option(_))), "{value:?}: {refused:?}");
    }
    assert_eq!(world.json("SELECT date '2024-01-31'").await, r#"[["2024-01-31"]]"#);
}

#[tokio::test]
async fn a_schema_is_current_for_one_query() {
    let world = World::with_places(1).await;
    for sql in [
        "CREATE SCHEMA sales",
        "CREATE SCHEMA \"Sales\"",
        "CREATE SCHEMA other",
        "CREATE TABLE sales.t AS SELECT 'lower' AS v",
        "CREATE TABLE \"Sales\".t AS SELECT 'upper' AS v",
        "CREATE TABLE other.t AS SELECT 7 AS v",
        "CREATE TABLE p AS SELECT 1 AS v",
    ] {
        world.run(sql).await.expect("made");
    }
    let within =
        |schema: &str| RunOptions { current_schema: Some(schema.to_owned()), ..RunOptions::default() };
    // The same text in another schema has other columns: nothing prepared for one serves the other.
    for _ in 0..2 {
        for (schema, value) in
            [("sales", "\"lower\""), ("Sales", "\"upper\""), ("OTHER", "7"), ("SALES", "\"upper\"")]
        {
            let result = world.run_with("SELECT v FROM t", &within(schema)).await.expect("runs");
            assert_eq!(rows(&result), format!("[[{value}]]"), "{schema}");
        }
        assert!(world.run("SELECT v FROM t").await.is_err());
    }
    assert_eq!(rows(&world.run_with("SELECT v FROM p", &within("sales")).await.expect("runs")), "[[1]]");
    let catalog = world.run_with("SELECT 1 FROM tables LIMIT 1", &within("INFORMATION_SCHEMA")).await;
    assert_eq!(rows(&catalog.expect("runs")), "[[1]]");
    for schema in ["none", "x\"; DROP SCHEMA sales; --", "'", "a\0"] {
        let refused = world.run_with("SELECT 1", &within(schema)).await;
        assert!(matches!(refused, Err(ringfence_engine::SourceError::Option(_))), "{schema:?}: {refused:?}");
    }
    // Effects under a schema are committed.
    world.run_with("INSERT INTO t VALUES (8)", &within("other")).await.expect("runs");
    assert_eq!(world.json("SELECT count(*) FROM other.t").await, "[[2]]");
}

#[tokio::test]
async fn a_changed_table_is_seen_by_prepared_statements() {
    let world = World::with_places(1).await;
    world.run("CREATE TABLE t AS SELECT 1 AS v").await.expect("made");
    for _ in 0..3 {
        assert_eq!(world.json("SELECT * FROM t").await, "[[1]]");
    }
    // From outside, so that the pooled session keeps what it has prepared.
    let client = world.server.client("shop").await;
    client.batch_execute("ALTER TABLE t ADD COLUMN w text DEFAULT 'new'").await.expect("altered");
    assert_eq!(world.json("SELECT * FROM t").await, r#"[[1,"new"]]"#);
    client
        .batch_execute("DROP TABLE t; CREATE TABLE t AS SELECT 2.5 AS v; ALTER TABLE t OWNER TO owner")
        .await
        .expect("made anew");
    assert_eq!(world.json("SELECT * FROM t").await, "[[2.5]]");
}
