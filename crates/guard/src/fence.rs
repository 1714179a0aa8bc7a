//! The fence: a derived table with the columns and rows that exist for the principal. The only code that writes what a
//! policy says into a statement.

use ringfence_policy::Entitlement;
use ringfence_policy::expression::{
    BinaryOperator, Expression, IsTest, ListShape, Literal, PrincipalPath, PrincipalValue, SubQuery,
};

use crate::comparisons::either;
use crate::refusal::Refusal;
use crate::relations::Output;
use crate::rewrite::{Slot, Writer, not_admitted};

/// How the raw relation is called inside of its fence.
pub(crate) const RAW: &str = "_rf_r";

impl Writer<'_> {
    /// `(SELECT columns, masked FROM relation WHERE rows)`.
    pub(crate) fn fence(&mut self, entitlement: &Entitlement, only: bool) -> Result<(), Refusal> {
        self.note_relation(entitlement);
        self.broad.push(entitlement.relation.clone());
        self.text("(SELECT ");
        if entitlement.columns.is_empty() {
            return Err(not_admitted("a relation without a visible column"));
        }
        self.list(&entitlement.columns, |writer, column| {
            match &column.mask {
                None => writer.qualified(RAW, &column.name),
                Some(mask) => {
                    writer.policy(mask, RAW)?;
                    writer.text(" AS ");
                    writer.name(&column.name);
                }
            }
            Ok(())
        })?;
        self.text(if only { " FROM ONLY " } else { " FROM " });
        self.relation_name(&entitlement.relation);
        self.text(" AS ");
        self.name(RAW);
        if entitlement.rows != Expression::truth(true) {
            self.text(" WHERE ");
            self.policy(&entitlement.rows, RAW)?;
            self.mark_barrier();
        }
        self.text(")");
        Ok(())
    }

    pub(crate) fn outputs_of(entitlement: &Entitlement) -> Vec<Output> {
        let output = |column: &ringfence_policy::VisibleColumn| Output {
            name: column.name.clone(),
            data_type: column.mask.is_none().then(|| column.data_type.clone()),
        };
        entitlement.columns.iter().map(output).collect()
    }

    /// An expression of a policy over the raw relation, which is called `alias` here.
    pub(crate) fn policy(&mut self, expression: &Expression, alias: &str) -> Result<(), Refusal> {
        self.nested(|writer| writer.policy_node(expression, alias))
    }

    fn policy_node(&mut self, expression: &Expression, alias: &str) -> Result<(), Refusal> {
        match expression {
            Expression::Column { qualifier, name } => {
                self.qualified(qualifier.as_deref().unwrap_or(alias), name);
                Ok(())
            }
            Expression::Principal(value) => {
                self.placeholder(Slot::Principal(value.clone()));
                Ok(())
            }
            Expression::Literal(literal) => {
                self.policy_literal(literal);
                Ok(())
            }
            Expression::Not(operand) => self.policy_prefix("NOT ", operand, alias),
            Expression::Negate(operand) => self.policy_prefix("- ", operand, alias),
            // There `||` is OR.
            Expression::Binary { left, operator: BinaryOperator::Concatenate, right }
                if self.dialect.is_mysql() =>
            {
                self.text("concat(");
                self.policy(left, alias)?;
                self.text(", ");
                self.policy(right, alias)?;
                self.text(")");
                Ok(())
            }
            Expression::Binary {
                operator: BinaryOperator::JsonMember | BinaryOperator::JsonMemberText,
                ..
            } if !self.dialect.has_documents() => Err(not_admitted("an operator of the policy")),
            Expression::Binary { left, operator, right } => {
                self.text("(");
                self.policy(left, alias)?;
                self.text(" ");
                self.text(operator.sql());
                self.text(" ");
                self.note_operator(operator.sql());
                self.policy(right, alias)?;
                self.text(")");
                Ok(())
            }
            Expression::Is { operand, test, negated } => self.policy_test(operand, *test, *negated, alias),
            Expression::InList { operand, list, negated } => {
                self.text("(");
                self.policy(operand, alias)?;
                self.text(either(*negated, " NOT IN (", " IN ("));
                self.list(list, |writer, item| writer.policy(item, alias))?;
                self.text("))");
                Ok(())
            }
            Expression::InPrincipal { operand, path, values, negated } => {
                self.text("(");
                self.policy(operand, alias)?;
                self.policy_values(path, *values, *negated)?;
                self.text(")");
                Ok(())
            }
            Expression::InQuery { operand, query, negated } => {
                self.text("(");
                self.policy(operand, alias)?;
                self.text(either(*negated, " NOT IN (", " IN ("));
                self.policy_query(query, alias)?;
                self.text("))");
                Ok(())
            }
            Expression::Exists { query, negated } => {
                self.text(either(*negated, "(NOT EXISTS (", "(EXISTS ("));
                self.policy_query(query, alias)?;
                self.text("))");
                Ok(())
            }
            Expression::Like { operand, pattern, any_case, negated } => {
                self.text("(");
                self.policy(operand, alias)?;
                self.text(either(*negated, " NOT ", " "));
                self.text(either(*any_case && self.dialect.is_like_postgres(), "ILIKE ", "LIKE "));
                self.note_operator("LIKE");
                self.policy(pattern, alias)?;
                self.text(self.dialect.like_escape);
                self.text(")");
                Ok(())
            }
            Expression::Call { function, arguments } => {
                self.policy_call(function);
                self.text("(");
                self.list(arguments, |writer, argument| writer.policy(argument, alias))?;
                self.text(")");
                Ok(())
            }
            Expression::Cast { operand, to } => {
                self.text("CAST(");
                self.policy(operand, alias)?;
                self.text(" AS ");
                self.policy_type(to)?;
                self.text(")");
                Ok(())
            }
            Expression::Case { operand, branches, otherwise } => {
                self.policy_case(operand.as_deref(), branches, otherwise.as_deref(), alias)
            }
        }
    }

    fn policy_test(
        &mut self,
        operand: &Expression,
        test: IsTest,
        negated: bool,
        alias: &str,
    ) -> Result<(), Refusal> {
        self.text("(");
        self.policy(operand, alias)?;
        self.text(either(negated, " IS NOT ", " IS "));
        self.text(match test {
            IsTest::Null => "NULL)",
            IsTest::True => "TRUE)",
            IsTest::False => "FALSE)",
        });
        Ok(())
    }

    /// `IN` the values of a list of the principal.
    fn policy_values(
        &mut self,
        path: &PrincipalPath,
        values: ListShape,
        negated: bool,
    ) -> Result<(), Refusal> {
        let item = |item| PrincipalValue { path: path.clone(), item: Some(item) };
        match values {
            ListShape::Unresolved => return Err(Refusal::NotVerified),
            ListShape::Few(1) => {
                self.text(if negated { " <> " } else { " = " });
                self.placeholder(Slot::Principal(item(0)));
            }
            ListShape::Many if self.dialect.is_postgres() => {
                self.text(if negated { " <> ALL (" } else { " = ANY (" });
                self.placeholder(Slot::PrincipalList(path.clone()));
                self.text(")");
            }
            ListShape::Few(_) => {
                let ListShape::Few(count) = values else { return Err(Refusal::NotVerified) };
                self.text(if negated { " NOT IN (" } else { " IN (" });
                let items: Vec<usize> = (0..count).collect();
                self.list(&items, |writer, index| {
                    writer.placeholder(Slot::Principal(item(*index)));
                    Ok(())
                })?;
                self.text(")");
            }
            ListShape::Padded(count) => {
                self.text(if negated { " NOT IN (" } else { " IN (" });
                let items: Vec<usize> = (0..count).collect();
                self.list(&items, |writer, index| {
                    writer.placeholder(Slot::PrincipalPadded(item(*index)));
                    Ok(())
                })?;
                self.text(")");
            }
            // There it has a length.
            ListShape::Many if !self.dialect.has_documents() => return Err(Refusal::NotVerified),
            // No arrays here: the list travels as JSON.
            ListShape::Many => {
                self.text(if negated { " NOT IN " } else { " IN " });
                self.text("(SELECT value FROM json_each(");
                self.functions.push("json_each".to_owned());
                self.placeholder(Slot::PrincipalJson(path.clone()));
                self.text("))");
            }
        }
        Ok(())
    }

    fn policy_case(
        &mut self,
        operand: Option<&Expression>,
        branches: &[(Expression, Expression)],
        otherwise: Option<&Expression>,
        alias: &str,
    ) -> Result<(), Refusal> {
        self.text("(CASE");
        if let Some(operand) = operand {
            self.text(" ");
            self.policy(operand, alias)?;
        }
        for (condition, result) in branches {
            self.text(" WHEN ");
            self.policy(condition, alias)?;
            self.text(" THEN ");
            self.policy(result, alias)?;
        }
        if let Some(otherwise) = otherwise {
            self.text(" ELSE ");
            self.policy(otherwise, alias)?;
        }
        self.text(" END)");
        Ok(())
    }

    fn policy_prefix(&mut self, prefix: &str, operand: &Expression, alias: &str) -> Result<(), Refusal> {
        self.text("(");
        self.text(prefix);
        self.policy(operand, alias)?;
        self.text(")");
        Ok(())
    }

    /// A sub-query of a policy reads raw relations: its author sees everything.
    pub(crate) fn policy_query(&mut self, query: &SubQuery, alias: &str) -> Result<(), Refusal> {
        let SubQuery { from, select, condition } = query;
        self.text("SELECT ");
        self.policy(select, alias)?;
        self.text(" FROM ");
        self.list(from, |writer, (relation, as_alias)| {
            if !writer.relations.contains(relation) {
                writer.relations.push(relation.clone());
            }
            writer.relation_name(relation);
            writer.text(" AS ");
            writer.name(as_alias);
            Ok(())
        })?;
        if let Some(condition) = condition {
            self.text(" WHERE ");
            self.policy(condition, alias)?;
        }
        Ok(())
    }

    /// `SELECT DISTINCT column FROM ... LIMIT n`: what a policy reads about the principal, before any statement.
    pub(crate) fn attribute(&mut self, query: &SubQuery, limit: usize) -> Result<(), Refusal> {
        let start = self.out.len();
        // Every column of such a query is named with its relation, so that no other alias is used.
        self.policy_query(query, RAW)?;
        let written = self.out.split_off(start);
        let rest = written.strip_prefix("SELECT ").ok_or(Refusal::NotVerified)?;
        self.text("SELECT DISTINCT ");
        self.text(rest);
        self.text(" LIMIT ");
        self.text(&limit.to_string());
        Ok(())
    }

    fn policy_literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Null => self.text("NULL"),
            Literal::Bool(true) => self.text("TRUE"),
            Literal::Bool(false) => self.text("FALSE"),
            Literal::Number(number) => self.text(number),
            Literal::Text(text) => self.string(text),
        }
    }

    fn policy_call(&mut self, function: &str) {
        if self.dialect.keywords.contains(&function) || self.dialect.function_schema.is_none() {
            self.text(function);
            self.functions.push(function.to_owned());
        } else {
            self.function_name(function);
        }
    }

    /// The type of a policy's cast: built in, or one of the connection's own.
    fn policy_type(&mut self, name: &str) -> Result<(), Refusal> {
        let known = self.view.types.iter().find(|(_, known)| known == name).cloned();
        if let Some((schema, name)) = known {
            self.name(&schema);
            self.text(".");
            self.name(&name);
            return Ok(());
        }
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | ',' | '(' | ')' | '[' | ']' | '_' | '"');
        if !name.chars().all(is_plain) {
            return Err(not_admitted("a type of the policy"));
        }
        self.text(name);
        Ok(())
    }
}
