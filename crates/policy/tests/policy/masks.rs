//! Masks: what is left of a value, and that it is never more than the pattern says.

use ringfence_policy::evaluate::{Datum, World, evaluate};
use ringfence_policy::mask::{Mask, MaskPattern, mask_expression};
use ringfence_policy::{Column, ConnectionKind, Expression, decide};
use serde_json::json;

use crate::world::{Rows, catalog, load, name, plain_question, principal, row};

fn text_column(data_type: &str) -> Column {
    Column { name: "c".to_owned(), data_type: data_type.to_owned(), ..Column::default() }
}

fn shown(pattern: &str, value: Option<&str>, kind: ConnectionKind) -> Datum {
    let mask = Mask::Pattern(MaskPattern::parse(pattern).unwrap());
    let expression = mask_expression(&mask, &text_column("text"), kind).unwrap();
    let (who, relations) = (principal("a", "u", &[], json!({})), Rows::new());
    let world = World { principal: &who, relations: &relations };
    evaluate(&expression, world, Some(&row(&json!({ "c": value })))).unwrap()
}

#[test]
fn patterns_show_what_they_say() {
    let cases = [
        ("****{last4}", "4242424242421234", "****1234"),
        ("****{last4}", "12345678", "****5678"),
        ("****{last4}", "1234567", "****"),
        ("****{last4}", "1234", "****"),
        ("****{last4}", "", "****"),
        ("{first2}***", "Müller", "Mü***"),
        ("{first2}***", "Bo", "***"),
        ("{first1}-{last1}", "abcd", "a-d"),
        ("{first1}-{last1}", "abc", "-"),
        ("hidden", "anything", "hidden"),
        ("email", "ada@example.org", "a***@example.org"),
        ("email", "a@example.org", "***@example.org"),
        ("email", "no address", "***"),
        ("email", "@example.org", "***@example.org"),
        ("phone", "+44 20 7946 0958", "***-***-0958"),
        ("phone", "0958", "***-***-"),
        ("partial", "abcdefgh", "ab***gh"),
        ("partial", "abcd", "***"),
    ];
    for (pattern, value, expected) in cases {
        for kind in [ConnectionKind::Postgresql, ConnectionKind::Sqlite] {
            assert_eq!(
                shown(pattern, Some(value), kind),
                Datum::Text(expected.to_owned()),
                "{pattern} {value} {kind:?}"
            );
        }
        assert_eq!(shown(pattern, None, ConnectionKind::Sqlite), Datum::Null, "{pattern}");
        assert_eq!(shown(pattern, None, ConnectionKind::Postgresql), Datum::Null, "{pattern}");
    }
    for wrong in ["", "{last}", "{last0}", "{last99}", "{x4}", "{last4", "last4}", "{last-1}"] {
        MaskPattern::parse(wrong).expect_err(wrong);
    }
}

#[test]
fn masks_have_the_type_of_their_column() {
    use ConnectionKind::{Postgresql, Sqlite};
    let made = |mask: Mask, data_type: &str, kind| mask_expression(&mask, &text_column(data_type), kind);
    let pattern = || Mask::Pattern(MaskPattern::Partial);
    let cast_to = |made: Result<Expression, &str>| match made {
        Ok(Expression::Cast { to, .. }) => Some(to),
        Ok(_) | Err(_) => None,
    };
    assert_eq!(
        cast_to(made(pattern(), "character varying", Postgresql)).as_deref(),
        Some("character varying")
    );
    assert_eq!(cast_to(made(Mask::Null, "numeric", Postgresql)).as_deref(), Some("numeric"));
    // The bare name would cut to one letter.
    assert_eq!(cast_to(made(pattern(), "character", Postgresql)), None);
    assert!(made(pattern(), "character", Postgresql).is_ok());
    assert_eq!(cast_to(made(pattern(), "INTEGER", Sqlite)), None);
    for (mask, data_type, kind) in [
        (pattern(), "integer", Postgresql),
        (pattern(), "USER-DEFINED", Postgresql),
        (Mask::Hash, "uuid", Postgresql),
        (Mask::Constant(None), "date", Postgresql),
        (Mask::Hash, "text", Sqlite),
    ] {
        made(mask, data_type, kind).unwrap_err();
    }
}

#[test]
fn a_mask_that_cannot_be_made_hides() {
    let columns = |policy: &str, attributes| {
        let (policy, catalog, who) = (load(policy), catalog(), principal("a", "u", &[], attributes));
        let question = plain_question(&policy, &catalog, &who);
        decide(question, &name("sales")).unwrap().hidden
    };
    let hash = "models: { S: { table: sales, fields: { email: hash } } }";
    assert_eq!(columns(hash, json!({})), ["email"]);
    assert_eq!(columns(hash, json!({"ringfence": {"hash_key": ""}})), ["email"]);
    assert!(columns(hash, json!({"ringfence": {"hash_key": "k"}})).is_empty());
    let number =
        "models: { S: { table: sales, fields: { amount: { action: mask, mask_pattern: '{first1}' } } } }";
    assert_eq!(columns(number, json!({})), ["amount"]);
    let list = "models: { S: { table: sales, fields: { email: { action: mask, expression: \"email || principal.attributes.x\" } } } }";
    assert_eq!(columns(list, json!({"x": ["a"]})), ["email"]);
    assert!(columns(list, json!({"x": "a"})).is_empty());
    assert!(columns(list, json!({})).is_empty());
}
