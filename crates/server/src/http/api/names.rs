//! Names of relations as the SDK writes and reads them.

use ringfence_gateway::annotations::RelationName;
use ringfence_gateway::catalog::shown_name;
use ringfence_gateway::{Call, Gateway, Refused};
use ringfence_policy::{ConnectionKind, ConnectionSpec};
use serde::{Deserialize, Serialize};

/// A relation in a request.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the SDK's")]
pub(super) struct TableName {
    pub(super) table_name: String,
    pub(super) schema_name: Option<String>,
    database_name: Option<String>,
}

/// A schema in a request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SchemaName {
    pub(super) schema_name: String,
    database_name: Option<String>,
}

/// A relation in a reply: exactly these fields, because clients compare it as printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the SDK's")]
pub(super) struct ShownTableName {
    pub(super) table_name: String,
    pub(super) schema_name: String,
    pub(super) database_name: String,
}

/// A schema in a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownSchemaName {
    pub(super) schema_name: String,
    pub(super) database_name: String,
}

/// How one connection's names are shown: in upper case, unless a name has an upper-case letter of its own or its owner
/// pushed it as it is.
#[derive(Debug, Clone)]
pub(super) struct NameStyle {
    database: String,
    is_verbatim: bool,
}

impl TableName {
    /// Refuses a table of another database like one that is not there.
    pub(super) async fn check_database(
        &self,
        gateway: &Gateway,
        call: &Call,
        key: &str,
    ) -> Result<(), Refused> {
        check_database(gateway, call, key, self.database_name.as_deref(), "table").await
    }

    pub(super) fn relation(&self) -> RelationName {
        RelationName { schema: super::given(self.schema_name.clone()), name: self.table_name.clone() }
    }
}

impl SchemaName {
    /// Refuses a schema of another database like one that is not there.
    pub(super) async fn check_database(
        &self,
        gateway: &Gateway,
        call: &Call,
        key: &str,
    ) -> Result<(), Refused> {
        check_database(gateway, call, key, self.database_name.as_deref(), "schema").await
    }
}

impl NameStyle {
    /// Of the acting user's connection of that key.
    pub(super) async fn of_connection(gateway: &Gateway, call: &Call, key: &str) -> Result<Self, Refused> {
        Ok(Self::of_spec(&gateway.get_connection(call, key).await?.spec))
    }

    fn of_spec(spec: &ConnectionSpec) -> Self {
        let kind = spec.kind().unwrap_or(ConnectionKind::Postgresql);
        let database = spec.database_name().unwrap_or_default();
        // An SQLite database's name is a file's path, which says something else in upper case.
        let database =
            if kind == ConnectionKind::Postgresql { shown_name(database) } else { database.to_owned() };
        Self { database, is_verbatim: kind == ConnectionKind::Push }
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    pub(super) fn name(&self, stored: &str) -> String {
        if self.is_verbatim { stored.to_owned() } else { shown_name(stored) }
    }

    pub(super) fn schema(&self, stored: &str) -> ShownSchemaName {
        ShownSchemaName { schema_name: self.name(stored), database_name: self.database.clone() }
    }

    pub(super) fn table(&self, schema: &str, relation: &str) -> ShownTableName {
        ShownTableName {
            table_name: self.name(relation),
            schema_name: self.name(schema),
            database_name: self.database.clone(),
        }
    }

    pub(super) fn tables(&self, stored: &[(String, String)]) -> Vec<ShownTableName> {
        stored.iter().map(|(schema, relation)| self.table(schema, relation)).collect()
    }
}

async fn check_database(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    database: Option<&str>,
    noun: &'static str,
) -> Result<(), Refused> {
    match database.filter(|database| !database.is_empty() && *database != "*") {
        Some(database) => gateway.check_database(call, key, database, noun).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_by_the_kind_of_connection() {
        let style = |db_type: &str, push: bool| {
            let spec = ConnectionSpec {
                db_type: db_type.to_owned(),
                push,
                database: Some("waii_db".to_owned()),
                ..ConnectionSpec::default()
            };
            let shown = NameStyle::of_spec(&spec).table("public", "MixedCase");
            (shown.database_name, shown.schema_name, shown.table_name)
        };
        let shown =
            |database: &str, schema: &str| (database.to_owned(), schema.to_owned(), "MixedCase".to_owned());
        assert_eq!(style("postgresql", false), shown("WAII_DB", "PUBLIC"));
        assert_eq!(style("sqlite", false), shown("waii_db", "PUBLIC"));
        assert_eq!(style("snowflake", true), shown("waii_db", "public"));
    }
}
