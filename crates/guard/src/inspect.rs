//! Looking at one row, seen or not, for somebody who rules over the policy: what each of its conditions comes to.
//!
//! The conditions are the policy's and the names the catalog's; of the caller there are the values of the key alone, as
//! parameters. So this is no way to send SQL.

use ringfence_policy::{Expression, RelationName, View};

use crate::dialect::Dialect;
use crate::fence::RAW;
use crate::labels::Labels;
use crate::refusal::Refusal;
use crate::rewrite::{Slot, Writer, Written, not_admitted};

/// What the audit log has in the place of a statement.
pub(crate) const FINGERPRINT: &str = "the policy's conditions on one row";

/// Which row, and what is asked of it. Names are as stored.
#[derive(Debug, Clone, Copy)]
pub struct Inspection<'a> {
    /// The relation.
    pub relation: &'a RelationName,
    /// The columns that the parameters are values of, in their order.
    pub key: &'a [String],
    /// Conditions of the policy, resolved for the principal.
    pub conditions: &'a [&'a Expression],
    /// Columns whose values are asked for.
    pub columns: &'a [String],
}

pub(crate) fn write(
    row: &Inspection<'_>,
    view: &View,
    dialect: &'static Dialect,
) -> Result<Written, Refusal> {
    let Inspection { relation, key, conditions, columns } = *row;
    if key.is_empty() {
        return Err(not_admitted("a row without a key"));
    }
    let labels = Labels::new();
    let mut writer = Writer::new(view, dialect, &labels, key.len());
    writer.relations.push(relation.clone());
    writer.named.push(relation.clone());
    writer.text("SELECT ");
    writer.list(conditions, |writer, condition| writer.truth(condition))?;
    // A constant, so that there is a column in any case.
    writer.text(if conditions.is_empty() { "1" } else { ", 1" });
    for column in columns {
        writer.text(", ");
        writer.qualified(RAW, column);
    }
    writer.text(" FROM ");
    writer.relation_name(relation);
    writer.text(" AS ");
    writer.name(RAW);
    writer.text(" WHERE ");
    for (index, column) in key.iter().enumerate() {
        writer.text(if index > 0 { " AND (" } else { "(" });
        writer.qualified(RAW, column);
        writer.text(" = ");
        writer.placeholder(Slot::Caller(index.saturating_add(1)));
        writer.text(")");
    }
    // A second row is as good as a hundred to see that the key is none.
    writer.text(" LIMIT 2");
    Ok(writer.finish())
}

impl Writer<'_> {
    /// The condition as 1, 0 or NULL, whatever the database has for truths.
    fn truth(&mut self, condition: &Expression) -> Result<(), Refusal> {
        self.text("CASE WHEN ");
        self.policy(condition, RAW)?;
        self.text(" THEN 1 WHEN NOT ");
        self.policy(condition, RAW)?;
        self.text(" THEN 0 END");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ringfence_policy::expression::{BinaryOperator, Literal, PrincipalPath, PrincipalValue};
    use ringfence_policy::{ConnectionKind, Expression, RelationName, View};

    use super::Inspection;
    use crate::{Refusal, inspect_row};

    fn tenant() -> Expression {
        let column = Expression::Column { qualifier: None, name: "tenant".to_owned() };
        let value = PrincipalValue { path: PrincipalPath::TenantId, item: None };
        Expression::Binary {
            left: Box::new(column),
            operator: BinaryOperator::Equal,
            right: Box::new(Expression::Principal(value)),
        }
    }

    fn printed(kind: ConnectionKind, key: &[&str], conditions: &[&Expression]) -> Result<String, Refusal> {
        let relation = RelationName::new("s", "od\"d");
        let key: Vec<String> = key.iter().map(|&name| name.to_owned()).collect();
        let row = Inspection { relation: &relation, key: &key, conditions, columns: &["tenant".to_owned()] };
        inspect_row(&row, kind, &View::default()).map(|plan| plan.sql().to_owned())
    }

    #[test]
    fn each_condition_has_a_column_of_its_own() {
        let null = Expression::Literal(Literal::Null);
        let sql = printed(ConnectionKind::Postgresql, &["id", "no"], &[&tenant(), &null]).unwrap();
        assert_eq!(
            sql,
            "SELECT CASE WHEN (\"_rf_r\".\"tenant\" = $3) THEN 1 WHEN NOT (\"_rf_r\".\"tenant\" = $3) THEN 0 END, \
             CASE WHEN NULL THEN 1 WHEN NOT NULL THEN 0 END, 1, \"_rf_r\".\"tenant\" FROM \"s\".\"od\"\"d\" AS \"_rf_r\" \
             WHERE (\"_rf_r\".\"id\" = $1) AND (\"_rf_r\".\"no\" = $2) LIMIT 2"
        );
        let sql = printed(ConnectionKind::Sqlite, &["id"], &[]).unwrap();
        assert!(sql.starts_with("SELECT 1, `_rf_r`.`tenant` FROM"), "{sql}");
        let sql = printed(ConnectionKind::Mysql, &["id"], &[&tenant()]).unwrap();
        assert!(sql.contains("`_rf_r`.`tenant` = ?"), "{sql}");
    }

    #[test]
    fn a_row_without_a_key_is_no_row() {
        assert!(printed(ConnectionKind::Postgresql, &[], &[&tenant()]).is_err());
        assert_eq!(printed(ConnectionKind::Push, &["id"], &[]), Err(Refusal::NothingToQuery));
    }
}
