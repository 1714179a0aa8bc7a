//! Documents of published endpoints.

use ringfence_policy::endpoint::statement::{Named, NamedStatement};
use ringfence_policy::endpoint::{ParameterPlace, Source};
use ringfence_policy::expression::PrincipalPath;
use ringfence_policy::{ConnectionKind, Endpoint};

const GOOD: &str = "
name: order
path: /shop/orders/{id}
connection: postgresql://shop
statement: |
  SELECT o.*, ':no' AS text, o.total::text -- :neither
  FROM orders o WHERE o.id = :id AND o.owner = principal.user_id AND o.tags[1:2] IS NULL AND o.id <> :id
parameters: { id: { type: integer, min: 1 } }
result: { shape: row, wrap: data }
cache: 30s
";

#[test]
fn a_document_becomes_an_endpoint() {
    let endpoint = Endpoint::load("f", GOOD).unwrap();
    assert_eq!(endpoint.parameters[0].1.place, ParameterPlace::Path);
    assert!(endpoint.is_for(std::iter::empty()));
    let (text, values) = endpoint.source.rendered(ConnectionKind::Postgresql).unwrap();
    assert!(text.contains("o.id = $1 AND o.owner = $2") && text.contains("o.id <> $1"), "{text}");
    assert!(text.contains("':no'") && text.contains("total::text") && text.contains("[1:2]"), "{text}");
    assert!(!text.contains("neither"), "{text}");
    let id = Named::Parameter("id".to_owned());
    assert_eq!(values, [id.clone(), Named::Principal(PrincipalPath::UserId)]);
    let (text, values) = endpoint.source.rendered(ConnectionKind::Mysql).unwrap();
    assert_eq!((text.matches('?').count(), values.len()), (3, 3));
    let (text, _) = endpoint.source.rendered(ConnectionKind::Sqlite).unwrap();
    assert!(text.contains("o.id <> ?1"), "{text}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (from, to, said) in [
        ("/shop/orders/{id}", "shop", "begins with `/`"),
        ("/shop/orders/{id}", "/v1/{id}", "one of the server's own"),
        ("/shop/orders/{id}", "/V1/{id}", "one of the server's own"),
        ("/shop/orders/{id}", "/{id}", "fixed word"),
        ("/shop/orders/{id}", "/a/../{id}", "parts of a path"),
        ("/shop/orders/{id}", "/a//{id}", "parts of a path"),
        ("/shop/orders/{id}", "/a/{id}/{other}", "`{other}` is no parameter"),
        ("/shop/orders/{id}", "/a/{id}/{id}", "twice"),
        ("type: integer", "type: whole", "not a value"),
        ("id: {", "idd: {", "`:id` is no parameter"),
        ("id: {", "other: { type: text }, id: {", "does not use `:other`"),
        ("cache: 30s", "cache: 30 parsecs", "a number and its unit"),
        ("cache: 30s", "cache: 30s\nmethod: POST", "only answers to GET"),
        ("cache: 30s", "builtin: whoami", "or a `builtin`"),
        ("name: order", "name: an order", "letters, digits"),
        (":id AND", "$1 AND", "stands for nothing"),
        ("principal.user_id", "principal.nothing", "does not exist"),
        ("principal.user_id", "principal.attributes.ringfence", "server's own"),
        ("id: {", "id: { in: body,", "say different things"),
        ("cache:", "cach:", "unknown key"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        let invalid = Endpoint::load("f", &text).expect_err(to);
        assert!(invalid.to_string().contains(said), "{to}: {invalid}");
        assert!(invalid.problems.iter().all(|problem| problem.line > 0), "{invalid:?}");
    }
}

#[test]
fn the_server_answers_some_by_itself() {
    let whoami =
        Endpoint::load("f", "{name: whoami, path: /pyapi/whoami, builtin: whoami, roles: [ROLE_USER]}")
            .unwrap();
    assert!(matches!(whoami.source, Source::Builtin(_)));
    assert!(whoami.is_for(["x", "ROLE_USER"].into_iter()) && !whoami.is_for(["x"].into_iter()));
}

#[test]
fn a_statement_stays_as_it_was_written() {
    for statement in [
        "SELECT 'it''s', E'a\\'b', \"a\"\"b\", $$ :x $$, 1.50, 0x1F, a::int, x -> 'k', y ->> 'k', 'ü' FROM t",
        "SELECT  1\t+ 2 ,  b  FROM t WHERE a @> b AND c ~* 'x' OR d ?| array['a']",
    ] {
        let Ok(named) = NamedStatement::parse(statement) else { continue };
        assert_eq!(named.render(ConnectionKind::Postgresql).0, statement);
    }
    assert!(NamedStatement::parse("SELECT 'open").is_err());
}
