//! The typed tree of a policy's conditions and masks: parsed once, when the policy is loaded.
//!
//! It says less than SQL does, on purpose: what a policy author may use is what can be explained, checked and printed for
//! every kind of database. The parser of policy documents makes it from text.

use std::fmt;

/// A relation, by schema and name as stored in the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationName {
    /// The schema; SQLite's is `main`, a MySQL database is one.
    pub schema: String,
    /// The relation.
    pub name: String,
}

impl RelationName {
    /// The relation of that schema and name.
    pub fn new(schema: &str, name: &str) -> Self {
        Self { schema: schema.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A condition, or what a mask computes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A raw column: of the relation that the policy is on, or of a relation of a sub-query by its alias.
    Column {
        /// The alias in a sub-query; `None` for the relation that the policy is on.
        qualifier: Option<String>,
        /// The column's name as stored.
        name: String,
    },
    /// A single value of the principal, bound when the statement runs.
    Principal(PrincipalValue),
    /// A constant.
    Literal(Literal),
    /// NOT.
    Not(Box<Expression>),
    /// Unary minus.
    Negate(Box<Expression>),
    /// Two operands.
    Binary {
        /// On the left.
        left: Box<Expression>,
        /// What is done.
        operator: BinaryOperator,
        /// On the right.
        right: Box<Expression>,
    },
    /// `IS [NOT] NULL`, `IS [NOT] TRUE` and so on.
    Is {
        /// What is tested.
        operand: Box<Expression>,
        /// For what.
        test: IsTest,
        /// IS NOT.
        negated: bool,
    },
    /// `IN` a written list.
    InList {
        /// What is looked for.
        operand: Box<Expression>,
        /// The values; never empty.
        list: Vec<Expression>,
        /// NOT IN.
        negated: bool,
    },
    /// `IN` a list of the principal.
    InPrincipal {
        /// What is looked for.
        operand: Box<Expression>,
        /// Whose values.
        path: PrincipalPath,
        /// How many values there are, as far as it matters to the statement.
        values: ListShape,
        /// NOT IN.
        negated: bool,
    },
    /// `IN (SELECT ...)`.
    InQuery {
        /// What is looked for.
        operand: Box<Expression>,
        /// One column.
        query: Box<SubQuery>,
        /// NOT IN.
        negated: bool,
    },
    /// `EXISTS (SELECT ...)`.
    Exists {
        /// Its columns do not matter.
        query: Box<SubQuery>,
        /// NOT EXISTS.
        negated: bool,
    },
    /// `LIKE`.
    Like {
        /// What is matched.
        operand: Box<Expression>,
        /// The pattern.
        pattern: Box<Expression>,
        /// ILIKE.
        any_case: bool,
        /// NOT LIKE.
        negated: bool,
    },
    /// A function of the list that policies may use, or one that the policy allows by name.
    Call {
        /// In lower case, without a schema: it is the database's own.
        function: String,
        /// In their order.
        arguments: Vec<Expression>,
    },
    /// CAST.
    Cast {
        /// What is converted.
        operand: Box<Expression>,
        /// A type in SQL's words, such as `numeric(14,2)`; only letters, digits, spaces, commas and parentheses.
        to: String,
    },
    /// CASE.
    Case {
        /// What is compared; `None` when each branch has a condition.
        operand: Option<Box<Expression>>,
        /// WHEN and THEN.
        branches: Vec<(Expression, Expression)>,
        /// ELSE.
        otherwise: Option<Box<Expression>>,
    },
}

/// Relations of the same connection, read raw: the policy's author sees everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubQuery {
    /// The relations and their aliases, joined by the condition.
    pub from: Vec<(RelationName, String)>,
    /// The one column; a constant for EXISTS.
    pub select: Expression,
    /// WHERE.
    pub condition: Option<Expression>,
}

/// Where a value of the principal comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalPath {
    /// The organization's id.
    OrgId,
    /// The tenant's id.
    TenantId,
    /// The user's id.
    UserId,
    /// Names of product roles and data roles.
    Roles,
    /// Names of permissions.
    Permissions,
    /// The agent that the request is made with.
    Agent,
    /// `principal.attributes.a.b`.
    Attribute(Vec<String>),
    /// `{name}` in an access rule: the attribute of that name, or else what has the name by itself (`user_id`).
    Variable(String),
}

/// One value of the principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalValue {
    /// Where it comes from.
    pub path: PrincipalPath,
    /// Which of a list's values; `None` for what is no list, or for the list as a whole.
    pub item: Option<usize>,
}

/// How a list is sent: statements of principals with equal shapes share a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListShape {
    /// Not yet known: the condition as the policy has it.
    Unresolved,
    /// That many values, each a parameter of its own. 1 becomes `=`.
    Few(usize),
    /// One array.
    Many,
    /// So many parameters, where there are no arrays: the list's last value fills what is left over.
    Padded(usize),
}

/// Longest list whose values are parameters of their own.
pub const FEW: usize = 8;

/// A constant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Literal {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A text.
    Text(String),
}

/// What IS tests for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are SQL's own words")]
pub enum IsTest {
    Null,
    True,
    False,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are the operators' names")]
pub enum BinaryOperator {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    Concatenate,
    /// `->`
    JsonMember,
    /// `->>`
    JsonMemberText,
}

impl BinaryOperator {
    /// As SQL spells it.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Concatenate => "||",
            Self::JsonMember => "->",
            Self::JsonMemberText => "->>",
        }
    }
}

impl Expression {
    /// A constant condition.
    pub const fn truth(value: bool) -> Self {
        Self::Literal(Literal::Bool(value))
    }

    /// Both, without what is plainly true.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.combined(BinaryOperator::And, other, true)
    }

    /// Either, without what is plainly false.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.combined(BinaryOperator::Or, other, false)
    }

    fn combined(self, operator: BinaryOperator, other: Self, neutral: bool) -> Self {
        if self == Self::truth(neutral) {
            other
        } else if other == Self::truth(neutral) {
            self
        } else if self == Self::truth(!neutral) || other == Self::truth(!neutral) {
            Self::truth(!neutral)
        } else {
            Self::Binary { left: Box::new(self), operator, right: Box::new(other) }
        }
    }
}

impl PrincipalPath {
    /// What every principal has, by name.
    pub(crate) fn built_in(name: &str) -> Option<Self> {
        match name {
            "org_id" => Some(Self::OrgId),
            "tenant_id" => Some(Self::TenantId),
            "user_id" => Some(Self::UserId),
            "roles" => Some(Self::Roles),
            "permissions" => Some(Self::Permissions),
            _ => None,
        }
    }
}

impl fmt::Display for PrincipalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OrgId => f.write_str("principal.org_id"),
            Self::TenantId => f.write_str("principal.tenant_id"),
            Self::UserId => f.write_str("principal.user_id"),
            Self::Roles => f.write_str("principal.roles"),
            Self::Permissions => f.write_str("principal.permissions"),
            Self::Agent => f.write_str("principal.agent"),
            Self::Attribute(parts) => write!(f, "principal.attributes.{}", parts.join(".")),
            Self::Variable(name) => write!(f, "{{{name}}}"),
        }
    }
}
