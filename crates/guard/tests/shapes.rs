//! Shapes of guarded statements, on a small view.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfence_guard::guard;
use ringfence_policy::expression::{BinaryOperator, ListShape, PrincipalPath, PrincipalValue};
use ringfence_policy::*;

fn column(name: &str) -> Expression {
    Expression::Column { qualifier: None, name: name.to_owned() }
}

fn tenant() -> Expression {
    Expression::InPrincipal {
        operand: Box::new(column("tenant_id")),
        path: PrincipalPath::Attribute(vec!["tenant_ids".to_owned()]),
        values: ListShape::Few(1),
        negated: false,
    }
}

fn view() -> View {
    let visible = |name: &str, kind: &str| VisibleColumn {
        name: name.to_owned(),
        data_type: kind.to_owned(),
        mask: None,
        writable: true,
    };
    let mut users = vec![
        visible("id", "integer"),
        visible("tenant_id", "integer"),
        visible("email", "text"),
        visible("name", "text"),
    ];
    users[2].mask = Some(Expression::Call {
        function: "left".to_owned(),
        arguments: vec![column("email"), Expression::Literal(expression::Literal::Number("1".to_owned()))],
    });
    users[2].writable = false;
    let own = PrincipalValue { path: PrincipalPath::Attribute(vec!["tenant_id".to_owned()]), item: None };
    let writes = WriteRules {
        create: Permit::Allow,
        update: Permit::Allow,
        delete: Permit::Allow,
        auto_set: vec![(
            "tenant_id".to_owned(),
            AutoSet { value: Expression::Principal(own), accepts: tenant() },
        )],
        immutable: vec!["tenant_id".to_owned()],
        ..WriteRules::default()
    };
    let entitlement = Entitlement {
        relation: RelationName::new("public", "users"),
        columns: users,
        hidden: vec!["password_hash".to_owned()],
        rows: tenant(),
        nullable: Vec::new(),
        key: vec!["id".to_owned()],
        is_table: true,
        references: Vec::new(),
        writes,
        bypass: None,
    };
    View {
        search: vec!["public".to_owned()],
        relations: BTreeMap::from([(entitlement.relation.clone(), Arc::new(entitlement))]),
        ..View::default()
    }
}

#[test]
fn shapes() {
    for sql in [
        "SELECT * FROM users",
        "select u.id, count(*) from users u left join users v using (id) where u.id = 5 and v.name like 'a%' group by u.id order by 2 desc limit 3",
        "SELECT name, email FROM public.users WHERE users.id = 1 GROUP BY users.id",
        "WITH RECURSIVE c AS (SELECT id FROM users UNION ALL SELECT c.id + 1 FROM c WHERE id < 3) SELECT * FROM c",
        "SELECT password_hash FROM users u WHERE u.password_hash = 'x'",
        "UPDATE users SET name = name || '!' WHERE password_hash = 'x'",
        "UPDATE users SET name = email WHERE id = 3 RETURNING *",
        "UPDATE users u SET name = v.name FROM users v WHERE u.id = v.id AND u.name::int > 3 RETURNING u.id",
        "DELETE FROM users WHERE name ISNULL",
        "INSERT INTO users (id, name) VALUES (1, 'x'), (2, DEFAULT) ON CONFLICT (id) DO UPDATE SET name = excluded.name || users.email RETURNING id",
        "INSERT INTO users (id, tenant_id, name) SELECT id + 1, 2, name FROM users",
        "MERGE INTO users c USING (VALUES (1)) v(id) ON c.id = v.id WHEN MATCHED THEN UPDATE SET name = 'y' WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, 'x')",
        "SELECT - -1, @ -5, NOT NOT true, (1, 2) = (3, 4), ARRAY[1, 2], interval '1 day'",
        "SELECT user_secret(1)",
        "SELECT 1; SELECT 2",
        "SELECT u FROM users u",
        "SELECT trim(leading 'x' from name), extract(year from now()), count(*) filter (where id > 1) over (partition by name order by id rows between 1 preceding and current row) FROM users",
    ] {
        match guard(sql, ConnectionKind::Postgresql, &view()) {
            Ok(plan) => println!("{sql}\n   => {}", plan.sql()),
            Err(refusal) => println!("{sql}\n   !! {refusal}"),
        }
    }
}
