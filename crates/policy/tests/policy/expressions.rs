//! What conditions and masks may say, and what is refused, and where.

use ringfence_policy::expression::{BinaryOperator, Literal, PrincipalPath};
use ringfence_policy::parse::{MAX_EXPRESSION_BYTES, ParseInvalid, Scope, parse_condition, parse_expression};
use ringfence_policy::{ConnectionKind, Expression};

use crate::world::name;

fn parse(text: &str) -> Result<Expression, ParseInvalid> {
    let orders = name("orders");
    parse_expression(
        text,
        Scope { relation: Some(&orders), kind: ConnectionKind::Postgresql, schema: "public" },
    )
}

#[test]
fn admitted() {
    let texts = [
        "status <> 'draft' OR user_id = principal.user_id",
        "principal.agent IS NULL OR (principal.agent = 'assistant' AND status = 'open')",
        "status IN (principal.agent, 'x')",
        "tenant_id IN principal.attributes.tenant_hierarchy",
        "tenant_id NOT IN principal.metadata.a.b",
        "tenant_id in (principal.attributes.a, 2)",
        "'super_admin' IN principal.roles",
        "'write:databases' IN principal.permissions",
        "is_public",
        "settings - 'secret'",
        "'***-**-' || right(ssn, 4)",
        "encode(sha256(convert_to(email, 'UTF8')), 'hex')",
        "substr(email,1,1) || '***@' || substr(email, instr(email,'@')+1)",
        "CASE WHEN id = principal.user_id THEN email ELSE left(email, 1) || '***@' || split_part(email, '@', 2) END",
        "trunc(salary, -4)::numeric(14,2)",
        "salary - salary % 10000",
        "CASE status WHEN 'a' THEN 1 ELSE 2 END = 1",
        "json_remove(settings, '$.secret')",
        "profile->'a'->>'b' = 'x'",
        "EXISTS (SELECT 1 FROM orders2 o WHERE o.id = orders.order_id AND o.tenant_id = principal.tenant_id)",
        "id IN (SELECT items.order_id FROM items JOIN lines l ON l.item = items.id WHERE l.x = 1)",
        "id NOT IN (SELECT o.id FROM public.items AS o, lines)",
        "\"Order Id\" = 1 AND orders.\"When\" < now()",
        "public.orders.id = -1.5e3",
        "a BETWEEN 1 AND 2 AND b NOT BETWEEN 3 AND 4",
        "a IS NULL OR b IS NOT TRUE OR c IS UNKNOWN OR d IS DISTINCT FROM e",
        "a LIKE 'x%' OR b NOT ILIKE '_y'",
        "placed_at > current_date - interval '30 days' AND day = date '2026-01-01'",
        "extract(year FROM placed_at) = 2026 AND position('a' IN b) > 0 AND substring(b FROM 2 FOR 3) = 'x'",
        "CAST(a AS character varying) = trim(b) -- why",
        "placed_at AT TIME ZONE 'UTC' > now() /* c */",
        "ceil(a) = floor(b)",
        "NOT a AND (b OR c)",
    ];
    for text in texts {
        parse(text).unwrap_or_else(|invalid| panic!("{text}: {invalid:?}"));
    }
}

#[test]
fn refused() {
    let cases = [
        ("", 1, 1),
        ("a = ", 1, 5),
        ("a = 1; DROP TABLE x", 1, 6),
        ("a = 1 b", 1, 7),
        ("(a = 1", 1, 7),
        ("a = pg_sleep(1)", 1, 5),
        ("a =\n  lo_export(b)", 2, 3),
        ("query_to_xml('SELECT 1') = 1", 1, 1),
        ("set_config('a', 'b', false) = 'b'", 1, 1),
        ("nextval('s') > 1", 1, 1),
        ("random() > 1", 1, 1),
        ("current_user = 'x'", 1, 1),
        ("count(*) > 1", 1, 1),
        ("max(a) OVER () > 1", 1, 1),
        ("pg_catalog.lower(a) = 'x'", 1, 1),
        ("lower(DISTINCT a) = 'x'", 1, 1),
        ("a = $1", 1, 5),
        ("a = :tenant", 1, 5),
        ("a = E'x'", 1, 5),
        ("a = 'x'::regclass", 1, 5),
        ("a::order_status = 'x'", 1, 1),
        ("a = ARRAY[1]", 1, 11),
        ("a = ANY(b)", 1, 1),
        ("a ~ 'x'", 1, 1),
        ("a @> b", 1, 1),
        ("a LIKE 'x' ESCAPE '!'", 1, 1),
        ("(a, b) = (1, 2)", 1, 2),
        ("a = (SELECT 1)", 1, 6),
        ("EXISTS (SELECT 1)", 1, 9),
        ("a IN (SELECT b FROM t UNION SELECT c FROM u)", 1, 7),
        ("a IN (SELECT b FROM t LIMIT 1)", 1, 7),
        ("a IN (SELECT b, c FROM t)", 1, 7),
        ("a IN (SELECT * FROM t)", 1, 7),
        ("a IN (WITH x AS (SELECT 1) SELECT b FROM x)", 1, 7),
        ("a IN (SELECT b FROM t LEFT JOIN u ON u.x = t.x)", 1, 7),
        ("a IN (SELECT b FROM generate_series(1, 2) b)", 1, 21),
        ("a IN (SELECT b FROM (SELECT 1) x)", 1, 22),
        ("a IN (SELECT b FROM t FOR UPDATE)", 1, 7),
        ("a IN (SELECT b FROM t, u)", 1, 14),
        ("a IN (SELECT t.b FROM t, t)", 1, 26),
        ("other.a = 1", 1, 1),
        ("principal.tenant = 1", 1, 1),
        ("principal.attributes = 1", 1, 1),
        ("principal.attributes.ringfence.hash_key = 'x'", 1, 1),
        ("principal.tenant_id.x = 1", 1, 1),
        ("principal.agent.name = 'x'", 1, 1),
        ("principal.roles = 'x'", 1, 1),
        ("a IN ()", 1, 8),
        ("row(a) = 1", 1, 1),
        ("a[1] = 1", 1, 1),
        ("a COLLATE \"C\" = 'x'", 1, 1),
    ];
    let wrong: Vec<_> = cases
        .into_iter()
        .map(|(text, line, column)| (text, (line, column), parse(text)))
        .filter(
            |(_, place, parsed)| !matches!(parsed, Err(invalid) if (invalid.line, invalid.column) == *place),
        )
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(parse("lowr(a) = 'x'").unwrap_err().suggestion.as_deref(), Some("did you mean `lower`?"));
    assert_eq!(
        parse("principal.tenantid = 1").unwrap_err().suggestion.as_deref(),
        Some("did you mean `tenant_id`?")
    );
}

#[test]
fn conditions_are_no_values() {
    let orders = name("orders");
    let scope = Scope { relation: Some(&orders), kind: ConnectionKind::Postgresql, schema: "public" };
    for text in ["1", "'x'", "a + 1", "a || b", "-a", "a -> 'b'"] {
        parse_condition(text, scope).expect_err(text);
    }
    for text in ["TRUE", "a", "a = 1", "coalesce(a, FALSE)", "NULL"] {
        parse_condition(text, scope).unwrap();
    }
    let nobody = Scope { relation: None, ..scope };
    for (text, fine) in
        [("principal.user_id = 'x'", true), ("a = 1", false), ("EXISTS (SELECT 1 FROM t)", false)]
    {
        assert_eq!(parse_condition(text, nobody).is_ok(), fine, "{text}");
    }
}

#[test]
fn size_is_bounded() {
    let deep = |count: usize| format!("{}a = 1{}", "(".repeat(count), ")".repeat(count));
    parse(&deep(10)).unwrap();
    for count in [65, 1_000, 7_000] {
        assert!(parse(&deep(count)).unwrap_err().message.contains("deep"), "{count}");
    }
    parse(&format!("{} a", "NOT ".repeat(3_000))).unwrap_err();
    parse(&"-".repeat(9_000)).unwrap_err();
    parse(&format!("a IN ({})", vec!["1"; 3_000].join(","))).unwrap();
    parse(&" ".repeat(MAX_EXPRESSION_BYTES + 1)).unwrap_err();
    parse(&format!("{}a", "a OR ".repeat(2_000))).unwrap_err();
}

#[test]
fn names_are_folded_as_the_database_folds_them() {
    let orders = name("orders");
    let scope = Scope { relation: Some(&orders), kind: ConnectionKind::Postgresql, schema: "public" };
    let column = |text: &str, kind| match parse_expression(text, Scope { kind, ..scope }).unwrap() {
        Expression::Column { qualifier: None, name } => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(column("Total", ConnectionKind::Postgresql), "total");
    assert_eq!(column("\"Total\"", ConnectionKind::Postgresql), "Total");
    assert_eq!(column("Total", ConnectionKind::Sqlite), "Total");
}

/// Two texts that mean the same are the same tree.
#[test]
fn sugar_is_gone() {
    let same = [
        ("a BETWEEN 1 AND 2", "a >= 1 AND a <= 2"),
        ("a NOT BETWEEN 1 AND 2", "NOT (a >= 1 AND a <= 2)"),
        ("a IS UNKNOWN", "a IS NULL"),
        ("orders.a = 1", "a = 1"),
        ("a::text = 'x'", "CAST(a AS text) = 'x'"),
        ("a IN principal.roles", "a IN (principal.roles)"),
        ("principal.metadata.x = 1", "principal.attributes.x = 1"),
        ("A = 1", "a = 1"),
    ];
    for (one, other) in same {
        assert_eq!(parse(one).unwrap(), parse(other).unwrap(), "{one}");
    }
    let Expression::Binary { operator: BinaryOperator::Equal, right, .. } = parse("a = 1").unwrap() else {
        panic!()
    };
    assert_eq!(*right, Expression::Literal(Literal::Number("1".to_owned())));
    let Expression::InPrincipal { path, .. } = parse("a IN principal.attributes.x.y").unwrap() else {
        panic!()
    };
    assert_eq!(path, PrincipalPath::Attribute(vec!["x".to_owned(), "y".to_owned()]));
}

#[test]
fn types_are_plain_words() {
    for text in
        ["a::text", "a::numeric(14,2)", "a::timestamp with time zone", "a::double precision", "a::varchar(3)"]
    {
        let Expression::Cast { to, .. } = parse(text).unwrap() else { panic!("{text}") };
        assert!(to.chars().all(|c| c.is_ascii_alphanumeric() || " ,()".contains(c)), "{to}");
    }
    for text in ["a::text[]", "a::\"x\"", "a::regproc", "a::public.t", "a::xml", "a::order_status"] {
        parse(text).expect_err(text);
    }
}
