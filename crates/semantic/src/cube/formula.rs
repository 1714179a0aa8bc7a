//! Expressions in measures: over the columns of a fact, or over other measures. They are read once, when a cube is defined,
//! and mean the same on every kind of database: a division is never one of whole numbers, and by zero it is null.

use ringfence_policy::expression::{BinaryOperator, Expression, IsTest, Literal};
use ringfence_policy::parse::{Scope, parse_expression};
use ringfence_policy::{ConnectionKind, RelationName};

use crate::refusal::nearest;
use crate::value::FieldType;

/// Functions of one number that every kind of database has.
const OF_ONE: [&str; 4] = ["abs", "ceil", "floor", "round"];

/// An expression whose names are what they were found to be.
#[derive(Debug, Clone)]
pub struct Formula {
    expression: Expression,
    /// Each once.
    names: Vec<String>,
}

/// What a name in a formula stands for, in a statement.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) text: String,
    pub(super) class: FieldType,
}

/// Why a text is no formula.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None }
    }
}

impl Formula {
    /// A single name.
    pub(super) fn of(name: &str) -> Self {
        let expression = Expression::Column { qualifier: None, name: name.to_owned() };
        Self { expression, names: vec![name.to_owned()] }
    }

    /// Reads a text over these names, which may be written in other letters where that is clear.
    pub(super) fn read(text: &str, noun: &str, names: &[&str]) -> Result<Self, Fault> {
        // A text that is a name needs no quotes around it.
        if names.contains(&text) {
            return Ok(Self::of(text));
        }
        // Names stay as they are written: the dialect that leaves them so is asked for.
        let anything = RelationName::new("", noun);
        let scope = Scope { relation: Some(&anything), kind: ConnectionKind::Sqlite, schema: "" };
        let mut expression = parse_expression(text, scope).map_err(|invalid| Fault {
            message: format!("the expression can't be read: {}", invalid.message),
            suggestion: invalid.suggestion,
        })?;
        check(&expression)?;
        let (mut missing, mut used) = (None, Vec::new());
        expression.for_each_part_mut(&mut |part| {
            if let Expression::Column { name, .. } = part {
                match found(name, names) {
                    Some(exact) => {
                        exact.clone_into(name);
                        if !used.contains(name) {
                            used.push(name.clone());
                        }
                    }
                    None => missing = Some(name.clone()),
                }
            }
        });
        match missing {
            None => Ok(Self { expression, names: used }),
            Some(name) => Err(unknown(noun, &name, names)),
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The column that it is, when it computes nothing.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.expression {
            Expression::Column { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What kind of values it has; an error in words when its parts don't fit together.
    pub(super) fn class(
        &self,
        kind: ConnectionKind,
        class_of: &dyn Fn(&str) -> FieldType,
    ) -> Result<FieldType, Fault> {
        class(&self.expression, kind, class_of)
    }

    /// The text of it; the operands have classes that fit.
    pub(super) fn write(&self, kind: ConnectionKind, operand: &dyn Fn(&str) -> Operand) -> String {
        if let Some(name) = self.plain() {
            return operand(name).text;
        }
        Printer { kind, operand }.print(&self.expression)
    }
}

/// That there is no such name.
pub(super) fn unknown(noun: &str, name: &str, names: &[&str]) -> Fault {
    let likely = nearest(name, names.iter().copied());
    Fault {
        message: format!("there is no {noun} `{name}`"),
        suggestion: likely.first().map(|name| format!("did you mean `{name}`?")),
    }
}

fn found<'n>(written: &str, names: &[&'n str]) -> Option<&'n str> {
    if let Some(exact) = names.iter().find(|name| **name == written) {
        return Some(exact);
    }
    let lower = written.to_lowercase();
    let mut alike = names.iter().filter(|name| name.to_lowercase() == lower);
    match (alike.next(), alike.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Refuses what is not the same on every kind of database.
fn check(expression: &Expression) -> Result<(), Fault> {
    let mut refused = None;
    expression.for_each_part(&mut |part| {
        let what = match part {
            Expression::Column { .. }
            | Expression::Literal(_)
            | Expression::Not(_)
            | Expression::Negate(_)
            | Expression::Is { .. }
            | Expression::InList { .. }
            | Expression::Case { .. } => return,
            Expression::Binary { operator, .. } => match operator {
                BinaryOperator::Concatenate | BinaryOperator::JsonMember | BinaryOperator::JsonMemberText => {
                    format!("the operator {}", operator.sql())
                }
                _ => return,
            },
            Expression::Call { function, arguments } => match (function.as_str(), arguments.len()) {
                (name, 1) if OF_ONE.contains(&name) => return,
                ("round" | "nullif", 2) => return,
                ("coalesce", many) if many > 0 => return,
                (name, _) => format!("{name}() with so many arguments"),
            },
            Expression::Principal(_) | Expression::InPrincipal { .. } => "the principal".to_owned(),
            Expression::InQuery { .. } | Expression::Exists { .. } => "a query".to_owned(),
            Expression::Like { .. } => "LIKE".to_owned(),
            Expression::Cast { .. } => "CAST".to_owned(),
        };
        refused.get_or_insert(what);
    });
    match refused {
        None => Ok(()),
        Some(what) => Err(Fault::new(format!(
            "{what} can't be used in a measure: there are + - * / %, comparisons, AND, OR, NOT, IN, IS NULL, CASE, abs, ceil, floor, round, coalesce and nullif"
        ))),
    }
}

fn class(
    expression: &Expression,
    kind: ConnectionKind,
    class_of: &dyn Fn(&str) -> FieldType,
) -> Result<FieldType, Fault> {
    let of = |part: &Expression| class(part, kind, class_of);
    let number = |part: &Expression| match of(part)? {
        class if class.is_number() => Ok(class),
        _ => Err(Fault::new("what is computed with must be numbers")),
    };
    match expression {
        Expression::Column { name, .. } => Ok(class_of(name)),
        Expression::Literal(Literal::Number(digits)) if digits.contains(['.', 'e', 'E']) => {
            Ok(FieldType::Decimal)
        }
        Expression::Literal(Literal::Number(_)) => Ok(FieldType::Integer),
        Expression::Literal(Literal::Text(_)) => Ok(FieldType::Text),
        Expression::Literal(Literal::Null) => Ok(FieldType::Other),
        Expression::Negate(operand) => number(operand),
        Expression::Binary { left, operator, right } => match operator {
            BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply => {
                Ok(wider(number(left)?, number(right)?))
            }
            BinaryOperator::Divide => Ok(divided(kind, wider(number(left)?, number(right)?))),
            BinaryOperator::Modulo => match wider(number(left)?, number(right)?) {
                FieldType::Float => Err(Fault::new("% is for exact numbers")),
                class => Ok(class),
            },
            _ => {
                of(left)?;
                of(right)?;
                Ok(FieldType::Boolean)
            }
        },
        Expression::Call { function, arguments } => match (function.as_str(), arguments.as_slice()) {
            ("coalesce", all) => together(all.iter(), &of),
            ("nullif", [first, _]) => of(first),
            ("round", [first, places]) => {
                let is_small = matches!(places, Expression::Literal(Literal::Number(digits)) if digits.parse::<u8>().is_ok_and(|places| places <= 15));
                if !is_small {
                    return Err(Fault::new("round() is to 0 to 15 places"));
                }
                Ok(if number(first)? == FieldType::Integer { FieldType::Integer } else { exact(kind) })
            }
            (_, [first]) => number(first),
            _ => Err(Fault::new(format!("{function}() with so many arguments"))),
        },
        Expression::Case { branches, otherwise, .. } => {
            together(branches.iter().map(|(_, result)| result).chain(otherwise.as_deref()), &of)
        }
        _ => Ok(FieldType::Boolean),
    }
}

/// What several values are together, of which any may be null.
fn together<'e>(
    parts: impl Iterator<Item = &'e Expression>,
    of: &dyn Fn(&Expression) -> Result<FieldType, Fault>,
) -> Result<FieldType, Fault> {
    let mut all: Option<FieldType> = None;
    for part in parts {
        let class = of(part)?;
        if matches!(part, Expression::Literal(Literal::Null)) {
            continue;
        }
        all = match all {
            None => Some(class),
            Some(other) if other == class => Some(class),
            Some(other) if other.is_number() && class.is_number() => Some(wider(other, class)),
            Some(_) => return Err(Fault::new("the values of CASE and coalesce() must be of one kind")),
        };
    }
    all.ok_or_else(|| Fault::new("this is always null"))
}

/// What comes of two numbers.
pub(super) fn wider(one: FieldType, other: FieldType) -> FieldType {
    match (one, other) {
        (FieldType::Float, _) | (_, FieldType::Float) => FieldType::Float,
        (FieldType::Decimal, _) | (_, FieldType::Decimal) => FieldType::Decimal,
        _ => FieldType::Integer,
    }
}

/// What a division of such numbers gives.
pub(super) fn divided(kind: ConnectionKind, class: FieldType) -> FieldType {
    if class == FieldType::Float { FieldType::Float } else { exact(kind) }
}

/// Numbers with a point: `SQLite` has only floating ones, and quotients of a lake's decimals have too few digits.
fn exact(kind: ConnectionKind) -> FieldType {
    if matches!(kind, ConnectionKind::Sqlite | ConnectionKind::Lake) {
        FieldType::Float
    } else {
        FieldType::Decimal
    }
}

/// `left / right`, as every kind of database would have it: of numbers with a point, and null by zero.
pub(super) fn quotient(kind: ConnectionKind, class: FieldType, left: &str, right: &str) -> String {
    match (kind, class) {
        (ConnectionKind::Sqlite, _) => format!("(CAST({left} AS REAL) / NULLIF({right}, 0))"),
        (ConnectionKind::Lake, _) => format!("(CAST({left} AS DOUBLE PRECISION) / NULLIF({right}, 0))"),
        (ConnectionKind::Mysql, _) | (_, FieldType::Float) => format!("({left} / NULLIF({right}, 0))"),
        (ConnectionKind::Postgresql | ConnectionKind::Push, _) => {
            format!("(CAST({left} AS NUMERIC) / NULLIF({right}, 0))")
        }
    }
}

struct Printer<'a> {
    kind: ConnectionKind,
    operand: &'a dyn Fn(&str) -> Operand,
}

impl Printer<'_> {
    fn is_postgres(&self) -> bool {
        matches!(self.kind, ConnectionKind::Postgresql | ConnectionKind::Push)
    }

    fn class(&self, expression: &Expression) -> FieldType {
        let class_of = |name: &str| (self.operand)(name).class;
        // What could not be was refused when the cube was defined.
        class(expression, self.kind, &class_of).unwrap_or(FieldType::Other)
    }

    fn print(&self, expression: &Expression) -> String {
        match expression {
            Expression::Column { name, .. } => self.name(name),
            Expression::Literal(literal) => self.literal(literal),
            Expression::Not(operand) => format!("(NOT {})", self.print(operand)),
            Expression::Negate(operand) => format!("(0 - {})", self.print(operand)),
            Expression::Binary { left, operator, right } => {
                let (one, other) = (self.print(left), self.print(right));
                match operator {
                    BinaryOperator::Divide => quotient(self.kind, self.class(expression), &one, &other),
                    BinaryOperator::Modulo => format!("({one} % NULLIF({other}, 0))"),
                    operator => format!("({one} {} {other})", operator.sql()),
                }
            }
            Expression::Is { operand, test, negated } => {
                let test = match test {
                    IsTest::Null => "NULL",
                    IsTest::True => "TRUE",
                    IsTest::False => "FALSE",
                };
                let not = if *negated { "NOT " } else { "" };
                format!("({} IS {not}{test})", self.print(operand))
            }
            Expression::InList { operand, list, negated } => {
                let not = if *negated { "NOT " } else { "" };
                format!("({} {not}IN ({}))", self.print(operand), self.all(list))
            }
            Expression::Call { function, arguments } => self.call(function, arguments),
            Expression::Case { operand, branches, otherwise } => {
                let mut parts = vec!["(CASE".to_owned()];
                parts.extend(operand.as_ref().map(|operand| self.print(operand)));
                for (condition, result) in branches {
                    parts.push(format!("WHEN {} THEN {}", self.print(condition), self.print(result)));
                }
                parts.extend(otherwise.as_ref().map(|otherwise| format!("ELSE {}", self.print(otherwise))));
                format!("{} END)", parts.join(" "))
            }
            // Refused when the cube was defined.
            _ => "NULL".to_owned(),
        }
    }

    /// Whole numbers become numbers without a limit where the database would otherwise run out of digits.
    fn name(&self, name: &str) -> String {
        let Operand { text, class } = (self.operand)(name);
        match self.kind {
            ConnectionKind::Postgresql | ConnectionKind::Push if class == FieldType::Integer => {
                format!("CAST({text} AS NUMERIC)")
            }
            // Whole numbers would begin again at the lowest one.
            ConnectionKind::Lake if class == FieldType::Integer => format!("CAST({text} AS NUMERIC(38, 0))"),
            _ => text,
        }
    }

    fn all(&self, expressions: &[Expression]) -> String {
        expressions.iter().map(|expression| self.print(expression)).collect::<Vec<_>>().join(", ")
    }

    fn call(&self, function: &str, arguments: &[Expression]) -> String {
        match (function, arguments) {
            ("round", [first, places]) if self.is_postgres() => {
                format!("round(CAST({} AS NUMERIC), {})", self.print(first), self.print(places))
            }
            ("round", [first, places]) if self.kind == ConnectionKind::Lake => {
                format!("round(CAST({} AS DOUBLE PRECISION), {})", self.print(first), self.print(places))
            }
            _ => format!("{function}({})", self.all(arguments)),
        }
    }

    fn literal(&self, literal: &Literal) -> String {
        match literal {
            Literal::Null => "NULL".to_owned(),
            Literal::Bool(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
            Literal::Number(digits) => digits.clone(),
            Literal::Text(text) => {
                let text = text.replace('\'', "''");
                // There a backslash escapes in a text.
                let text = if self.kind == ConnectionKind::Mysql { text.replace('\\', "\\\\") } else { text };
                format!("'{text}'")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["Quantity", "Unit price", "note", "ratio"];

    fn class_of(name: &str) -> FieldType {
        match name {
            "Quantity" => FieldType::Integer,
            "Unit price" => FieldType::Decimal,
            "ratio" => FieldType::Float,
            _ => FieldType::Text,
        }
    }

    fn printed(text: &str, kind: ConnectionKind) -> String {
        let formula = Formula::read(text, "column", &NAMES).unwrap();
        formula.write(kind, &|name| Operand { text: format!("[{name}]"), class: class_of(name) })
    }

    #[test]
    fn divisions_are_the_same_everywhere() {
        use ConnectionKind::{Lake, Mysql, Postgresql, Sqlite};
        for (text, kind, expected) in [
            ("quantity / 2", Postgresql, "(CAST(CAST([Quantity] AS NUMERIC) AS NUMERIC) / NULLIF(2, 0))"),
            ("quantity / 2", Sqlite, "(CAST([Quantity] AS REAL) / NULLIF(2, 0))"),
            ("quantity / 2", Mysql, "([Quantity] / NULLIF(2, 0))"),
            (
                "quantity / 2",
                Lake,
                "(CAST(CAST([Quantity] AS NUMERIC(38, 0)) AS DOUBLE PRECISION) / NULLIF(2, 0))",
            ),
            ("ratio / ratio", Postgresql, "([ratio] / NULLIF([ratio], 0))"),
            ("Quantity", Postgresql, "[Quantity]"),
            ("Unit price", Postgresql, "[Unit price]"),
            ("\"Unit price\" * -1", Sqlite, "([Unit price] * (0 - 1))"),
            (
                "CASE WHEN note = 'it''s \\' THEN 1 END",
                Mysql,
                "(CASE WHEN ([note] = 'it''s \\\\') THEN 1 END)",
            ),
        ] {
            assert_eq!(printed(text, kind), expected, "{text}");
        }
    }

    #[test]
    fn what_differs_between_databases_is_refused() {
        for text in [
            "upper(note)", "note || note", "principal.user_id", "Quantity IN (SELECT 1)",
            "CAST(note AS integer)", "note LIKE 'x%'", "count(Quantity)", "nothing + 1", "round()", "",
        ] {
            assert!(Formula::read(text, "column", &NAMES).is_err(), "{text}");
        }
        let unknown = Formula::read("quantiti + 1", "column", &NAMES).unwrap_err();
        assert_eq!(unknown.suggestion.as_deref(), Some("did you mean `Quantity`?"));
    }

    #[test]
    fn parts_must_fit_together() {
        let class = |text: &str| {
            Formula::read(text, "column", &NAMES).unwrap().class(ConnectionKind::Postgresql, &class_of)
        };
        for (text, expected) in [
            ("Quantity * \"Unit price\"", FieldType::Decimal),
            ("Quantity + ratio", FieldType::Float),
            ("Quantity / 2", FieldType::Decimal),
            ("Quantity % 2", FieldType::Integer),
            ("round(Quantity)", FieldType::Integer),
            ("coalesce(NULL, Quantity, ratio)", FieldType::Float),
            ("CASE WHEN Quantity > 1 THEN note END", FieldType::Text),
            ("Quantity > 1", FieldType::Boolean),
        ] {
            assert_eq!(class(text).unwrap(), expected, "{text}");
        }
        for text in ["note + 1", "ratio % 2", "coalesce(note, 1)", "round(Quantity, ratio)", "NULL + 1"] {
            assert!(class(text).is_err(), "{text}");
        }
    }
}
