//! Constants, conversions and calls.

use sqlparser::ast::{
    CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Interval, ObjectNamePart, Spanned, TypedString, Value,
    ValueWithSpan,
};

use super::{ParseInvalid, Read, Reader, functions, refused};
use crate::connection::ConnectionKind;
use crate::expression::{Expression, Literal};

/// First words of the types that may be converted to: plain data, never names of the database's objects.
const TYPES: [&str; 34] = [
    "bigint", "blob", "bool", "boolean", "bytea", "char", "character", "cidr", "date", "decimal", "double",
    "float", "float4", "float8", "inet", "int", "int2", "int4", "int8", "integer", "interval", "json",
    "jsonb", "numeric", "real", "smallint", "text", "time", "timestamp", "timestamptz", "timetz", "uuid",
    "varchar", "macaddr",
];

pub(super) fn literal(value: &ValueWithSpan) -> Read<Expression> {
    let literal = match &value.value {
        Value::Number(number, false) => Literal::Number(number.clone()),
        Value::SingleQuotedString(text) => {
            if text.contains('\0') {
                return Err(ParseInvalid::at(value.span.start, "a text holds the character NUL"));
            }
            Literal::Text(text.clone())
        }
        Value::Boolean(truth) => Literal::Bool(*truth),
        Value::Null => Literal::Null,
        other => {
            let message = format!("`{other}` may not be used in a policy: write constants plainly");
            return Err(ParseInvalid::at(value.span.start, message));
        }
    };
    Ok(Expression::Literal(literal))
}

impl Reader<'_> {
    pub(super) fn conversion_or_call(&mut self, expr: &Expr) -> Read<Expression> {
        match expr {
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr: operand,
                data_type,
                array: false,
                format: None,
            } => Ok(Expression::Cast {
                operand: Box::new(self.expression(operand)?),
                to: type_name(data_type, expr)?,
            }),
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }) => {
                Ok(Expression::Cast { operand: Box::new(literal(value)?), to: type_name(data_type, expr)? })
            }
            Expr::Interval(Interval {
                value,
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            }) => {
                Ok(Expression::Cast { operand: Box::new(self.expression(value)?), to: "interval".to_owned() })
            }
            Expr::Extract { field, syntax: _, expr: operand } => {
                let operand = self.expression(operand)?;
                Ok(call("date_part", vec![text(&field_name(field)), operand]))
            }
            Expr::Ceil { expr: operand, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                Ok(call("ceil", vec![self.expression(operand)?]))
            }
            Expr::Floor { expr: operand, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                Ok(call("floor", vec![self.expression(operand)?]))
            }
            Expr::Position { expr: part, r#in: whole } => {
                let arguments = vec![self.expression(whole)?, self.expression(part)?];
                Ok(call(if self.is_mysql() || self.is_sqlite() { "instr" } else { "strpos" }, arguments))
            }
            Expr::Substring {
                expr: operand,
                substring_from: Some(from),
                substring_for,
                special: _,
                shorthand: _,
            } => {
                let mut arguments = vec![self.expression(operand)?, self.expression(from)?];
                if let Some(length) = substring_for {
                    arguments.push(self.expression(length)?);
                }
                Ok(call("substr", arguments))
            }
            Expr::Trim { trim_where: None, trim_what: None, expr: operand, trim_characters: None } => {
                Ok(call(
                    if self.is_mysql() || self.is_sqlite() { "trim" } else { "btrim" },
                    vec![self.expression(operand)?],
                ))
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                Ok(call("timezone", vec![self.expression(time_zone)?, self.expression(timestamp)?]))
            }
            Expr::Function(function) => self.call(function, expr),
            other => Err(refused(other, "this kind of expression")),
        }
    }

    fn call(&mut self, function: &Function, whole: &Expr) -> Read<Expression> {
        let Function {
            name,
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args,
            filter: None,
            null_treatment: None,
            over: None,
            within_group,
        } = function
        else {
            return Err(refused(whole, "an aggregate, window or parametrized call"));
        };
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else {
            return Err(refused(whole, "a function with a schema"));
        };
        let name = name.value.to_ascii_lowercase();
        let list = match args {
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses })
                if clauses.is_empty() && within_group.is_empty() =>
            {
                args.as_slice()
            }
            FunctionArguments::None => &[],
            _ => return Err(refused(whole, "a call with DISTINCT, ORDER BY or a sub-query")),
        };
        if let Some(clock) = self.clock(&name, list.is_empty()) {
            return Ok(clock);
        }
        if !functions::ALLOWED.contains(&name.as_str()) {
            let refusal = refused(whole, &format!("the function `{name}`"));
            return Err(refusal.meant(&name, functions::ALLOWED.iter().copied()));
        }
        let mut arguments = Vec::new();
        for argument in list {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                return Err(refused(whole, "a named argument or `*`"));
            };
            arguments.push(self.expression(argument)?);
        }
        Ok(Expression::Call { function: name, arguments })
    }

    /// The keywords of the clock have no parentheses in SQL: calls that mean the same stand in their place.
    fn clock(&self, name: &str, no_arguments: bool) -> Option<Expression> {
        let sqlite = self.is_sqlite();
        match name {
            _ if !no_arguments => None,
            "current_date" if sqlite => Some(call("date", vec![text("now")])),
            "current_date" => {
                Some(Expression::Cast { operand: Box::new(call("now", Vec::new())), to: "date".to_owned() })
            }
            // `now()` is the same in every policy, whatever the database calls it.
            "current_timestamp" | "now" if sqlite => Some(call("datetime", vec![text("now")])),
            "current_timestamp" => Some(call("now", Vec::new())),
            _ => None,
        }
    }

    fn is_mysql(&self) -> bool {
        self.scope.kind == ConnectionKind::Mysql
    }

    fn is_sqlite(&self) -> bool {
        self.scope.kind == ConnectionKind::Sqlite
    }
}

/// INVARIANT: only letters, digits, spaces, commas and parentheses, as [`Expression::Cast`] promises. Held by the test
/// `types_are_plain_words`.
fn type_name(data_type: &DataType, whole: &Expr) -> Read<String> {
    let name = data_type.to_string().to_ascii_lowercase();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || " ,()".contains(c));
    let first = name.split([' ', '(']).next().unwrap_or_default();
    if plain && TYPES.contains(&first) {
        Ok(name)
    } else {
        let refusal =
            ParseInvalid::at(whole.span().start, format!("a cast to `{name}` may not be used in a policy"));
        Err(refusal.meant(first, TYPES))
    }
}

fn field_name(field: &DateTimeField) -> String {
    field.to_string().to_ascii_lowercase()
}

fn call(function: &str, arguments: Vec<Expression>) -> Expression {
    Expression::Call { function: function.to_owned(), arguments }
}

fn text(text: &str) -> Expression {
    Expression::Literal(Literal::Text(text.to_owned()))
}
