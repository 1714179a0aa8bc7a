//! What stands in the place of a masked column.
//!
//! A mask never shows more than it says: a value too short for its pattern shows nothing of itself, and NULL stays NULL. It
//! has the column's type; where that can't be, there is no mask and the column is hidden.

use crate::catalog::Column;
use crate::connection::ConnectionKind;
use crate::expression::{BinaryOperator, Expression, IsTest, Literal, PrincipalPath, PrincipalValue};
use crate::parse::RESERVED_ATTRIBUTE;

/// The attribute that holds the key of hashes. The server sets it for each tenant, from a secret of its own, after all
/// variables of users; no policy can name it.
pub const HASH_KEY_ATTRIBUTE: [&str; 2] = [RESERVED_ATTRIBUTE, "hash_key"];

/// What stands in the place of a column.
#[derive(Debug, Clone)]
pub enum Mask {
    /// Some of its characters.
    Pattern(MaskPattern),
    /// What the policy's author wrote, over raw columns.
    Expression(Expression),
    /// A keyed hash.
    Hash,
    /// A constant; `None` for the usual one.
    Constant(Option<String>),
    /// NULL.
    Null,
}

/// Some of a text's characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskPattern {
    /// The first letter and the domain.
    Email,
    /// The last four digits.
    Phone,
    /// The first two characters and the last two.
    Partial,
    /// As written.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// `{first2}`
    First(u32),
    /// `{last4}`
    Last(u32),
}

/// Longest run of characters that a template shows.
const MAX_SHOWN: u32 = 64;

impl MaskPattern {
    /// Reads a pattern: a shape's name, or a template with `{firstN}` and `{lastN}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "email" => return Ok(Self::Email),
            "phone" => return Ok(Self::Phone),
            "partial" => return Ok(Self::Partial),
            _ => {}
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (name, after) = after.split_once('}').ok_or("a `{` without its `}`")?;
            pieces.push(Piece::parse(name)?);
            rest = after;
        }
        if rest.contains('}') {
            return Err("a `}` without its `{`".to_owned());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() { Err("the pattern is empty".to_owned()) } else { Ok(Self::Template(pieces)) }
    }

    /// The pattern for a column that a global rule names, by what the name tells of its shape.
    pub fn by_name(name: &str) -> Self {
        let name = name.to_lowercase();
        if name.contains("mail") {
            Self::Email
        } else if ["phone", "mobile", "fax", "tel"].iter().any(|word| name.contains(word)) {
            Self::Phone
        } else {
            Self::Partial
        }
    }

    /// As the document has it.
    pub fn describe(&self) -> String {
        match self {
            Self::Email => "email".to_owned(),
            Self::Phone => "phone".to_owned(),
            Self::Partial => "partial".to_owned(),
            Self::Template(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::First(count) => format!("{{first{count}}}"),
                    Piece::Last(count) => format!("{{last{count}}}"),
                })
                .collect(),
        }
    }
}

impl Piece {
    fn parse(name: &str) -> Result<Self, String> {
        let count = |digits: &str| digits.parse().ok().filter(|count| (1..=MAX_SHOWN).contains(count));
        let first = name.strip_prefix("first").and_then(count).map(Self::First);
        let last = || name.strip_prefix("last").and_then(count).map(Self::Last);
        first.or_else(last).ok_or_else(|| format!("`{{{name}}}` is neither `{{firstN}}` nor `{{lastN}}`"))
    }
}

/// The mask as an expression of the column's type; an error says why there is none.
pub fn mask_expression(
    mask: &Mask,
    column: &Column,
    kind: ConnectionKind,
) -> Result<Expression, &'static str> {
    let is_text = kind == ConnectionKind::Sqlite || is_text_type(&column.data_type);
    match mask {
        Mask::Expression(expression) => Ok(cast_back(expression.clone(), column, kind)),
        Mask::Null => Ok(cast_back(Expression::Literal(Literal::Null), column, kind)),
        Mask::Constant(Some(constant)) => Ok(cast_back(text(constant), column, kind)),
        Mask::Constant(None) if is_text => Ok(text("[redacted]")),
        Mask::Pattern(pattern) if is_text => {
            Ok(cast_back(pattern_expression(pattern, column, kind), column, kind))
        }
        Mask::Hash if kind == ConnectionKind::Sqlite => Err("SQLite has no SHA-256 to hash with"),
        Mask::Hash if is_text => Ok(cast_back(hash(column, kind), column, kind)),
        Mask::Constant(None) | Mask::Pattern(_) | Mask::Hash => {
            Err("it is no text, and the mask would not be of its type: use `null` or an `expression`")
        }
    }
}

/// `encode(sha256(convert_to(key || ':' || value || ':' || key, 'UTF8')), 'hex')`
///
/// The key is a secret of the tenant, bound as a parameter: without it nobody can try values, and equal values of two
/// tenants differ. It stands at both ends so that a hash can't be extended to that of a longer value.
fn hash(column: &Column, kind: ConnectionKind) -> Expression {
    let mysql = kind == ConnectionKind::Mysql;
    let to = if mysql { "char" } else { "text" };
    let key = || {
        let path = PrincipalPath::Attribute(HASH_KEY_ATTRIBUTE.map(str::to_owned).to_vec());
        let key = Expression::Principal(PrincipalValue { path, item: None });
        Expression::Cast { operand: Box::new(key), to: to.to_owned() }
    };
    let salted = concatenated([key(), text(":"), as_text(column, kind), text(":"), key()]);
    if mysql {
        return call("sha2", vec![salted, number(256)]);
    }
    let bytes =
        if kind == ConnectionKind::Lake { salted } else { call("convert_to", vec![salted, text("UTF8")]) };
    let digest = call("sha256", vec![bytes]);
    call("encode", vec![digest, text("hex")])
}

fn pattern_expression(pattern: &MaskPattern, column: &Column, kind: ConnectionKind) -> Expression {
    let sqlite = matches!(kind, ConnectionKind::Sqlite | ConnectionKind::Mysql);
    let value = || as_text(column, kind);
    let partial = |before: u32, between: &str, after: u32| {
        let mut pieces = vec![Piece::Text(between.to_owned())];
        if before > 0 {
            pieces.insert(0, Piece::First(before));
        }
        pieces.push(Piece::Last(after));
        pieces
    };
    let pieces = match pattern {
        MaskPattern::Email => return email(&value, sqlite),
        MaskPattern::Phone => partial(0, "***-***-", 4),
        MaskPattern::Partial => partial(2, "***", 2),
        MaskPattern::Template(pieces) => pieces.clone(),
    };
    let shown = pieces.iter().fold(0_u32, |sum, piece| match piece {
        Piece::Text(_) => sum,
        Piece::First(count) | Piece::Last(count) => sum.saturating_add(*count),
    });
    let hidden = pieces.iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(text.as_str()),
        Piece::First(_) | Piece::Last(_) => None,
    });
    let hidden = text(&hidden.collect::<String>());
    let full = concatenated(pieces.iter().map(|piece| match piece {
        Piece::Text(constant) => text(constant),
        Piece::First(count) if sqlite => call("substr", vec![value(), number(1), number(*count)]),
        Piece::First(count) => call("left", vec![value(), number(*count)]),
        Piece::Last(count) if sqlite => {
            call("substr", vec![value(), Expression::Negate(Box::new(number(*count)))])
        }
        Piece::Last(count) => call("right", vec![value(), number(*count)]),
    }));
    // Of a value that the pattern would show whole, or nearly, nothing is shown: half of it stays hidden.
    let long = compare(
        call(if kind == ConnectionKind::Mysql { "char_length" } else { "length" }, vec![value()]),
        BinaryOperator::GreaterOrEqual,
        number(shown.saturating_mul(2)),
    );
    case(vec![(long, full), (is_not_null(value()), hidden)])
}

/// The first letter, if there are more, and the domain; of what has no `@` nothing.
fn email(value: &dyn Fn() -> Expression, sqlite: bool) -> Expression {
    let place = || call(if sqlite { "instr" } else { "strpos" }, vec![value(), text("@")]);
    let first = if sqlite {
        call("substr", vec![value(), number(1), number(1)])
    } else {
        call("left", vec![value(), number(1)])
    };
    let domain = || {
        if sqlite {
            let after = Expression::Binary {
                left: Box::new(place()),
                operator: BinaryOperator::Plus,
                right: Box::new(number(1)),
            };
            call("substr", vec![value(), after])
        } else {
            call("split_part", vec![value(), text("@"), number(2)])
        }
    };
    case(vec![
        (compare(place(), BinaryOperator::Greater, number(2)), concatenated([first, text("***@"), domain()])),
        (compare(place(), BinaryOperator::Greater, number(0)), concatenated([text("***@"), domain()])),
        (is_not_null(value()), text("***")),
    ])
}

/// INVARIANT: a mask has the type of its column, so that what is computed from it has the same type as before. A type
/// whose name alone means something else (`character` is one letter) is left alone. SQLite's values carry their own.
fn cast_back(mask: Expression, column: &Column, kind: ConnectionKind) -> Expression {
    let name = column.data_type.to_ascii_lowercase();
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || " ,()".contains(c));
    let special = ["character", "char", "bpchar", "bit", "array", "user-defined"].contains(&name.as_str());
    let done = matches!(&mask, Expression::Cast { .. });
    // MySQL has one type of text, and its names of types are no words of a cast.
    let typeless = matches!(kind, ConnectionKind::Sqlite | ConnectionKind::Mysql);
    if typeless || !plain || special || done {
        mask
    } else {
        Expression::Cast { operand: Box::new(mask), to: name }
    }
}

fn is_text_type(data_type: &str) -> bool {
    let name = data_type.to_ascii_lowercase();
    let first = name.split(['(', ' ']).next().unwrap_or_default();
    ["text", "character", "char", "varchar", "bpchar", "citext", "name", "tinytext", "mediumtext", "longtext"]
        .contains(&first)
}

fn as_text(column: &Column, kind: ConnectionKind) -> Expression {
    let raw = Expression::Column { qualifier: None, name: column.name.clone() };
    let to = if kind == ConnectionKind::Mysql { "char" } else { "text" };
    let plain = kind != ConnectionKind::Sqlite && column.data_type.eq_ignore_ascii_case("text");
    if plain { raw } else { Expression::Cast { operand: Box::new(raw), to: to.to_owned() } }
}

fn concatenated(parts: impl IntoIterator<Item = Expression>) -> Expression {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_else(|| text(""));
    parts.fold(first, |left, right| compare(left, BinaryOperator::Concatenate, right))
}

fn compare(left: Expression, operator: BinaryOperator, right: Expression) -> Expression {
    Expression::Binary { left: Box::new(left), operator, right: Box::new(right) }
}

fn case(branches: Vec<(Expression, Expression)>) -> Expression {
    Expression::Case { operand: None, branches, otherwise: None }
}

fn is_not_null(operand: Expression) -> Expression {
    Expression::Is { operand: Box::new(operand), test: IsTest::Null, negated: true }
}

fn call(function: &str, arguments: Vec<Expression>) -> Expression {
    Expression::Call { function: function.to_owned(), arguments }
}

fn text(text: &str) -> Expression {
    Expression::Literal(Literal::Text(text.to_owned()))
}

fn number(number: u32) -> Expression {
    Expression::Literal(Literal::Number(number.to_string()))
}
