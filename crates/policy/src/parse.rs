//! From the text of a condition or a mask to an [`Expression`].
//!
//! The SQL parser reads; an allow list admits. Every arm below names what it takes, field by field, and whatever is
//! not named is refused with its place. A new kind of expression in the parser is therefore refused until somebody
//! has thought about it.

mod atoms;
mod functions;
mod principal;
mod query;
mod tokens;

use sqlparser::ast::{
    BinaryOperator as SqlOperator, CaseWhen, Distinct, Expr, Ident, SetExpr, Spanned, UnaryOperator,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token};

use crate::connection::ConnectionKind;
use crate::expression::{
    BinaryOperator, Expression, IsTest, ListShape, Literal, PrincipalPath, RelationName, SubQuery,
};

pub use functions::ALLOWED as ALLOWED_FUNCTIONS;
pub use principal::RESERVED_ATTRIBUTE;
pub(crate) use principal::principal_path;

/// Longest expression in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 << 10;
/// Deepest nesting of an expression.
pub const MAX_EXPRESSION_DEPTH: usize = 64;

/// Where an expression stands: what its names mean.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The relation whose columns it may name; `None` where only the principal may be named.
    pub relation: Option<&'a RelationName>,
    /// The kind of database: it says how names without quotes are stored.
    pub kind: ConnectionKind,
    /// The schema of relations that are named without one.
    pub schema: &'a str,
}

/// Why a text is not an expression that a policy may use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseInvalid {
    /// What is wrong.
    pub message: String,
    /// In the text, from 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What may have been meant.
    pub suggestion: Option<String>,
}

/// Parses a condition: an expression that can be true or false.
pub fn parse_condition(text: &str, scope: Scope<'_>) -> Result<Expression, ParseInvalid> {
    condition(parse(text, scope, false)?)
}

/// Parses the condition of an access rule, in which `{name}` is a variable of the principal.
pub fn parse_rule(text: &str, scope: Scope<'_>) -> Result<Expression, ParseInvalid> {
    condition(parse(text, scope, true)?)
}

/// Parses an expression of any type.
pub fn parse_expression(text: &str, scope: Scope<'_>) -> Result<Expression, ParseInvalid> {
    parse(text, scope, false)
}

fn condition(expression: Expression) -> Result<Expression, ParseInvalid> {
    let value = matches!(
        expression,
        Expression::Literal(Literal::Number(_) | Literal::Text(_)) | Expression::Negate(_)
    );
    let computed = matches!(&expression, Expression::Binary { operator, .. } if !is_condition(*operator));
    if value || computed {
        return Err(ParseInvalid::start("this is a value, not a condition: compare it with something"));
    }
    Ok(expression)
}

fn parse(text: &str, scope: Scope<'_>, variables: bool) -> Result<Expression, ParseInvalid> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(ParseInvalid::start("the expression is longer than 16 KiB"));
    }
    if text.trim().is_empty() {
        return Err(ParseInvalid::start("the expression is empty"));
    }
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method is not general enough in its lifetime"
    )]
    let parsed = parse_with(text, variables, |parser| parser.parse_expr())?;
    Reader { scope, froms: Vec::new(), depth: 0, is_query: false }.expression(&parsed)
}

/// Parses a query of one column over relations of the connection and the principal: what a sub-query may be, standing
/// alone. It may begin with SELECT DISTINCT.
pub fn parse_query(text: &str, scope: Scope<'_>) -> Result<SubQuery, ParseInvalid> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(ParseInvalid::start("the query is longer than 16 KiB"));
    }
    if text.trim().is_empty() {
        return Err(ParseInvalid::start("the query is empty"));
    }
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method is not general enough in its lifetime"
    )]
    let mut parsed = parse_with(text, false, |parser| parser.parse_query())?;
    if let SetExpr::Select(select) = parsed.body.as_mut()
        && matches!(select.distinct, Some(Distinct::Distinct))
    {
        // A list has each value once anyway.
        select.distinct = None;
    }
    let scope = Scope { relation: None, ..scope };
    Reader { scope, froms: Vec::new(), depth: 0, is_query: true }.query(&parsed, true)
}

/// The whole text as one thing.
fn parse_with<T>(
    text: &str,
    variables: bool,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, ParseInvalid> {
    let tokens = tokens::prepare(text, variables)?;
    let dialect = PostgreSqlDialect {};
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(MAX_EXPRESSION_DEPTH).with_tokens_with_locations(tokens);
    let parsed = parse(&mut parser).map_err(|error| ParseInvalid::of_parser(&error, &parser, text))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(ParseInvalid::at(next.span.start, format!("`{}` was not expected here", next.token)));
    }
    Ok(parsed)
}

/// Walks the parser's tree.
struct Reader<'a> {
    scope: Scope<'a>,
    /// The relations of the sub-queries around the current place, innermost last, by alias.
    froms: Vec<Vec<(RelationName, String)>>,
    depth: usize,
    /// Whether the whole is a query that stands alone.
    is_query: bool,
}

type Read<T> = Result<T, ParseInvalid>;

impl Reader<'_> {
    fn expression(&mut self, expr: &Expr) -> Read<Expression> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_EXPRESSION_DEPTH {
            return Err(ParseInvalid::at(expr.span().start, "the expression is nested too deeply"));
        }
        let read = self.any(expr);
        self.depth = self.depth.saturating_sub(1);
        read
    }

    fn any(&mut self, expr: &Expr) -> Read<Expression> {
        match expr {
            Expr::Nested(inner) => self.expression(inner),
            Expr::Identifier(name) => self.name(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.name(names),
            Expr::Value(value) => atoms::literal(value),
            Expr::IsNull(operand) | Expr::IsUnknown(operand) => self.is(operand, IsTest::Null, false),
            Expr::IsNotNull(operand) | Expr::IsNotUnknown(operand) => self.is(operand, IsTest::Null, true),
            Expr::IsTrue(operand) => self.is(operand, IsTest::True, false),
            Expr::IsNotTrue(operand) => self.is(operand, IsTest::True, true),
            Expr::IsFalse(operand) => self.is(operand, IsTest::False, false),
            Expr::IsNotFalse(operand) => self.is(operand, IsTest::False, true),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right),
            Expr::IsNotDistinctFrom(left, right) => {
                self.distinct(left, right).map(|distinct| Expression::Not(Box::new(distinct)))
            }
            Expr::UnaryOp { op, expr: operand } => self.unary(*op, operand, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, expr),
            Expr::Between { expr: operand, negated, low, high } => self.between(operand, *negated, low, high),
            Expr::InList { expr: operand, list, negated } => self.in_list(operand, list, *negated),
            Expr::InSubquery { expr: operand, subquery, negated } => Ok(Expression::InQuery {
                operand: Box::new(self.expression(operand)?),
                query: Box::new(self.query(subquery, true)?),
                negated: *negated,
            }),
            Expr::Exists { subquery, negated } => {
                Ok(Expression::Exists { query: Box::new(self.query(subquery, false)?), negated: *negated })
            }
            Expr::Like { negated, any: false, expr: operand, pattern, escape_char: None } => {
                self.like(operand, pattern, false, *negated)
            }
            Expr::ILike { negated, any: false, expr: operand, pattern, escape_char: None } => {
                self.like(operand, pattern, true, *negated)
            }
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            other => self.conversion_or_call(other),
        }
    }

    fn is(&mut self, operand: &Expr, test: IsTest, negated: bool) -> Read<Expression> {
        Ok(Expression::Is { operand: Box::new(self.expression(operand)?), test, negated })
    }

    /// `a IS DISTINCT FROM b` is `(a = b) IS NOT TRUE`, except where both are NULL.
    fn distinct(&mut self, left: &Expr, right: &Expr) -> Read<Expression> {
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        let is =
            |operand: Expression, test, negated| Expression::Is { operand: Box::new(operand), test, negated };
        let equal = binary(left.clone(), BinaryOperator::Equal, right.clone());
        let both_null = is(left, IsTest::Null, false).and(is(right, IsTest::Null, false));
        Ok(is(equal, IsTest::True, true).and(Expression::Not(Box::new(both_null))))
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &Expr, whole: &Expr) -> Read<Expression> {
        let read = self.expression(operand)?;
        match operator {
            UnaryOperator::Not => Ok(Expression::Not(Box::new(read))),
            UnaryOperator::Minus => Ok(Expression::Negate(Box::new(read))),
            UnaryOperator::Plus => Ok(read),
            other => Err(refused(whole, &format!("the operator `{other}`"))),
        }
    }

    fn binary(
        &mut self,
        left: &Expr,
        operator: &SqlOperator,
        right: &Expr,
        whole: &Expr,
    ) -> Read<Expression> {
        use BinaryOperator as Ours;
        let operator = match operator {
            SqlOperator::And => Ours::And,
            SqlOperator::Or => Ours::Or,
            SqlOperator::Eq => Ours::Equal,
            SqlOperator::NotEq => Ours::NotEqual,
            SqlOperator::Lt => Ours::Less,
            SqlOperator::LtEq => Ours::LessOrEqual,
            SqlOperator::Gt => Ours::Greater,
            SqlOperator::GtEq => Ours::GreaterOrEqual,
            SqlOperator::Plus => Ours::Plus,
            SqlOperator::Minus => Ours::Minus,
            SqlOperator::Multiply => Ours::Multiply,
            SqlOperator::Divide => Ours::Divide,
            SqlOperator::Modulo => Ours::Modulo,
            SqlOperator::StringConcat => Ours::Concatenate,
            SqlOperator::Arrow => Ours::JsonMember,
            SqlOperator::LongArrow => Ours::JsonMemberText,
            other => return Err(refused(whole, &format!("the operator `{other}`"))),
        };
        Ok(binary(self.expression(left)?, operator, self.expression(right)?))
    }

    fn between(&mut self, operand: &Expr, negated: bool, low: &Expr, high: &Expr) -> Read<Expression> {
        let operand = self.expression(operand)?;
        let above = binary(operand.clone(), BinaryOperator::GreaterOrEqual, self.expression(low)?);
        let below = binary(operand, BinaryOperator::LessOrEqual, self.expression(high)?);
        let within = binary(above, BinaryOperator::And, below);
        Ok(if negated { Expression::Not(Box::new(within)) } else { within })
    }

    fn in_list(&mut self, operand: &Expr, list: &[Expr], negated: bool) -> Read<Expression> {
        let operand = Box::new(self.expression(operand)?);
        if let [Expr::CompoundIdentifier(names)] = list
            && let Some(path) = principal::path(names)?
        {
            let values = ListShape::Unresolved;
            return Ok(Expression::InPrincipal { operand, path, values, negated });
        }
        let (variables, list): (Vec<_>, Vec<_>) = list.iter().partition(|item| is_variable(item));
        if !variables.is_empty() {
            return self.in_variables(&operand, &variables, &list, negated);
        }
        let list = list.into_iter().map(|item| self.expression(item)).collect::<Read<Vec<_>>>()?;
        if list.is_empty() {
            return Err(ParseInvalid::start("IN needs at least one value"));
        }
        Ok(Expression::InList { operand, list, negated })
    }

    /// A rule's variables may be lists in a list: each is asked by itself.
    fn in_variables(
        &mut self,
        operand: &Expression,
        variables: &[&Expr],
        others: &[&Expr],
        negated: bool,
    ) -> Read<Expression> {
        let mut parts = Vec::new();
        for variable in variables {
            let Expr::CompoundIdentifier(names) = variable else { continue };
            if let Some(path) = principal::path(names)? {
                let (operand, values) = (Box::new(operand.clone()), ListShape::Unresolved);
                parts.push(Expression::InPrincipal { operand, path, values, negated: false });
            }
        }
        let list = others.iter().map(|item| self.expression(item)).collect::<Read<Vec<_>>>()?;
        if !list.is_empty() {
            parts.push(Expression::InList { operand: Box::new(operand.clone()), list, negated: false });
        }
        let any = parts.into_iter().fold(Expression::truth(false), Expression::or);
        Ok(if negated { Expression::Not(Box::new(any)) } else { any })
    }

    fn like(&mut self, operand: &Expr, pattern: &Expr, any_case: bool, negated: bool) -> Read<Expression> {
        let (operand, pattern) = (Box::new(self.expression(operand)?), Box::new(self.expression(pattern)?));
        Ok(Expression::Like { operand, pattern, any_case, negated })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Read<Expression> {
        let mut branches = Vec::new();
        for CaseWhen { condition, result } in conditions {
            branches.push((self.expression(condition)?, self.expression(result)?));
        }
        let operand = operand.map(|operand| self.expression(operand)).transpose()?.map(Box::new);
        let otherwise = otherwise.map(|otherwise| self.expression(otherwise)).transpose()?.map(Box::new);
        Ok(Expression::Case { operand, branches, otherwise })
    }

    /// A column, or a value of the principal.
    fn name(&self, names: &[Ident]) -> Read<Expression> {
        if let Some(path) = principal::path(names)? {
            let is_list = match &path {
                PrincipalPath::Roles | PrincipalPath::Permissions => true,
                PrincipalPath::Variable(name) => matches!(name.as_str(), "roles" | "permissions"),
                _ => false,
            };
            if is_list {
                let message = "this is a list: ask `'name' IN principal.roles`";
                return Err(ParseInvalid::of_names(names, message));
            }
            return Ok(Expression::Principal(crate::expression::PrincipalValue { path, item: None }));
        }
        self.column(names)
    }

    fn column(&self, names: &[Ident]) -> Read<Expression> {
        let Some((name, qualifiers)) = names.split_last() else {
            return Err(ParseInvalid::start("a name is empty"));
        };
        let own = self.scope.relation;
        if own.is_none() && self.froms.is_empty() {
            let message = "only `principal` may be named here, not a column";
            return Err(ParseInvalid::of_names(names, message));
        }
        let name = self.stored(name);
        let qualifiers: Vec<String> = qualifiers.iter().map(|part| self.stored(part)).collect();
        let column = |qualifier: Option<&str>| {
            Ok(Expression::Column { qualifier: qualifier.map(str::to_owned), name: name.clone() })
        };
        match qualifiers.as_slice() {
            [] => match self.froms.last().map(Vec::as_slice) {
                None => column(None),
                Some([(_, alias)]) => column(Some(alias)),
                Some(_) => Err(ParseInvalid::of_names(names, "say of which relation of the sub-query it is")),
            },
            [alias] if self.froms.iter().flatten().any(|(_, known)| known == alias) => column(Some(alias)),
            [table] if own.is_some_and(|own| *table == own.name) => column(None),
            [schema, table] if own.is_some_and(|own| *table == own.name && *schema == own.schema) => {
                column(None)
            }
            _ => {
                let message = format!("`{}` is no relation that can be named here", qualifiers.join("."));
                let known = self.froms.iter().flatten().map(|(_, alias)| alias.as_str());
                let known = known.chain(own.map(|own| own.name.as_str()));
                Err(ParseInvalid::of_names(names, message).meant(&qualifiers.join("."), known))
            }
        }
    }

    /// The name as the database stores it.
    fn stored(&self, name: &Ident) -> String {
        match (name.quote_style, self.scope.kind) {
            (Some(_), _) | (None, ConnectionKind::Sqlite | ConnectionKind::Mysql) => name.value.clone(),
            (None, ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push) => {
                name.value.to_ascii_lowercase()
            }
        }
    }
}

fn is_variable(item: &Expr) -> bool {
    let quote = |name: &Ident| name.quote_style == Some(principal::VARIABLE_QUOTE);
    matches!(item, Expr::CompoundIdentifier(names) if names.iter().any(quote))
}

fn binary(left: Expression, operator: BinaryOperator, right: Expression) -> Expression {
    Expression::Binary { left: Box::new(left), operator, right: Box::new(right) }
}

/// The place behind the last character.
fn end_of(text: &str) -> Location {
    let (line, column) = text.chars().fold((1_u64, 1_u64), |(line, column), letter| match letter {
        '\n' => (line.saturating_add(1), 1),
        _ => (line, column.saturating_add(1)),
    });
    Location::new(line, column)
}

const fn is_condition(operator: BinaryOperator) -> bool {
    match operator {
        BinaryOperator::And
        | BinaryOperator::Or
        | BinaryOperator::Equal
        | BinaryOperator::NotEqual
        | BinaryOperator::Less
        | BinaryOperator::LessOrEqual
        | BinaryOperator::Greater
        | BinaryOperator::GreaterOrEqual => true,
        BinaryOperator::Plus
        | BinaryOperator::Minus
        | BinaryOperator::Multiply
        | BinaryOperator::Divide
        | BinaryOperator::Modulo
        | BinaryOperator::Concatenate
        | BinaryOperator::JsonMember
        | BinaryOperator::JsonMemberText => false,
    }
}

fn refused(whole: &Expr, what: &str) -> ParseInvalid {
    ParseInvalid::at(whole.span().start, format!("{what} may not be used in a policy"))
}

impl ParseInvalid {
    fn start(message: &str) -> Self {
        Self { message: message.to_owned(), line: 1, column: 1, suggestion: None }
    }

    fn at(place: Location, message: impl Into<String>) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        Self {
            message: message.into(),
            line: count(place.line),
            column: count(place.column),
            suggestion: None,
        }
    }

    fn of_names(names: &[Ident], message: impl Into<String>) -> Self {
        let start = names.first().map_or(Location::new(1, 1), |name| name.span.start);
        Self::at(start, message)
    }

    fn of_parser(error: &ParserError, parser: &Parser<'_>, text: &str) -> Self {
        match error {
            ParserError::TokenizerError(message) => Self::start(message),
            ParserError::ParserError(message) => {
                let message = message.split(" at Line: ").next().unwrap_or(message);
                let next = parser.peek_token();
                let place = if next.token == Token::EOF { end_of(text) } else { next.span.start };
                Self::at(place, message.replace("Expected:", "expected").replace("EOF", "the end"))
            }
            ParserError::RecursionLimitExceeded => Self::start("the expression is nested too deeply"),
        }
    }

    fn meant<'a>(mut self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        self.suggestion = crate::problem::nearest(given, known).map(|name| format!("did you mean `{name}`?"));
        self
    }
}
