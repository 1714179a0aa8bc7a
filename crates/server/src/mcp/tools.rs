//! The tools: their names, what is said about them, and who is offered which.

use std::sync::Arc;

use rmcp::model::{Tool as Offered, ToolAnnotations};

use super::bounds::Bounds;
use super::reach::Reach;
use super::schema;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    ListConnections,
    DescribeSchema,
    Query,
    Get,
    Aggregate,
    Create,
    BulkCreate,
    Update,
    BulkUpdate,
    Delete,
    RunSql,
    Explain,
}

impl Tool {
    /// Every tool, in the order in which they are offered.
    pub(super) const ALL: [Self; 12] = [
        Self::ListConnections,
        Self::DescribeSchema,
        Self::Query,
        Self::Get,
        Self::Aggregate,
        Self::Create,
        Self::BulkCreate,
        Self::Update,
        Self::BulkUpdate,
        Self::Delete,
        Self::RunSql,
        Self::Explain,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListConnections => "list_connections",
            Self::DescribeSchema => "describe_schema",
            Self::Query => "query",
            Self::Get => "get",
            Self::Aggregate => "aggregate",
            Self::Create => "create",
            Self::BulkCreate => "bulk_create",
            Self::Update => "update",
            Self::BulkUpdate => "bulk_update",
            Self::Delete => "delete",
            Self::RunSql => "run_sql",
            Self::Explain => "explain",
        }
    }

    /// Of a tool on models, the operation that must be allowed on one of them.
    pub(super) fn operation(self) -> Option<&'static str> {
        match self {
            Self::ListConnections | Self::RunSql | Self::Explain => None,
            Self::DescribeSchema | Self::Query => Some("query"),
            Self::Get => Some("get"),
            Self::Aggregate => Some("aggregate"),
            Self::Create | Self::BulkCreate => Some("create"),
            Self::Update | Self::BulkUpdate => Some("update"),
            Self::Delete => Some("delete"),
        }
    }

    /// What the record calls it, as for every other door.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::ListConnections => "list-connections",
            Self::DescribeSchema => "describe-models",
            Self::Query => "query-model",
            Self::Get => "get-model",
            Self::Aggregate => "aggregate-model",
            Self::Create => "create-model",
            Self::BulkCreate => "bulk-create-model",
            Self::Update => "update-model",
            Self::BulkUpdate => "bulk-update-model",
            Self::Delete => "delete-model",
            Self::RunSql => "run-query",
            Self::Explain => "explain-query",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::ListConnections => "List connections",
            Self::DescribeSchema => "Describe models",
            Self::Query => "Read rows",
            Self::Get => "Read one row",
            Self::Aggregate => "Compute figures",
            Self::Create => "Create a row",
            Self::BulkCreate => "Create rows",
            Self::Update => "Change a row",
            Self::BulkUpdate => "Change rows",
            Self::Delete => "Delete a row",
            Self::RunSql => "Run SQL",
            Self::Explain => "Explain SQL",
        }
    }

    fn description(self, bounds: Bounds, may_write: bool) -> String {
        let rows = bounds.max_rows;
        match self {
            Self::ListConnections => "The databases that you reach, and what you may do there.".to_owned(),
            Self::DescribeSchema => {
                "The models on a connection; with `model`, one of them in full: fields with types, primary key, relations for \
                 `include`, what may be done, what must be given, limits."
                    .to_owned()
            }
            Self::Query => format!(
                "Rows of a model that you see, at most {rows} at once. `include` puts rows of related models beside them; go on \
                 with `cursor` set to `next_cursor` of the page before."
            ),
            Self::Get => "One row of a model by its primary key.".to_owned(),
            Self::Aggregate => format!(
                "Figures over the rows of a model that you see: counts, sums, averages and so on, at most {rows} groups. Better \
                 than reading rows to count them."
            ),
            Self::Create => "A new row of a model. What the policy sets may be left out.".to_owned(),
            Self::BulkCreate => "New rows of a model: all of them, or none.".to_owned(),
            Self::Update => "Changes fields of one row, by its primary key.".to_owned(),
            Self::BulkUpdate => "The same change of several rows, by their primary keys: all of them, or none.".to_owned(),
            Self::Delete => "Removes one row, by its primary key.".to_owned(),
            Self::RunSql => {
                let what = if may_write { "One SQL statement." } else { "One SQL statement that reads." };
                format!(
                    "{what} It sees the rows and columns that you see, at most {rows} rows come back. Write values as \
                     placeholders ($1; ?1 on SQLite) and give them in `parameters`."
                )
            }
            Self::Explain => {
                "What becomes of a SQL statement, without running it: which relations may hide rows or mask columns, and limits."
                    .to_owned()
            }
        }
    }

    /// Hints for whoever confirms calls. They say what may happen, not what is allowed.
    fn annotations(self, may_write: bool) -> ToolAnnotations {
        let hints = ToolAnnotations::with_title(self.title()).open_world(false);
        match self {
            Self::Create | Self::BulkCreate => hints.read_only(false).destructive(false).idempotent(false),
            Self::Update | Self::BulkUpdate | Self::Delete => {
                hints.read_only(false).destructive(true).idempotent(true)
            }
            Self::RunSql if may_write => hints.read_only(false).destructive(true).idempotent(false),
            _ => hints.read_only(true),
        }
    }
}

/// The tools for somebody with that reach.
pub(super) fn offered(reach: &Reach, bounds: Bounds) -> Vec<Offered> {
    let may_write = reach.guarded().any(|connection| connection.may_write);
    let is_of_use = |tool: &Tool| match (tool, tool.operation()) {
        (Tool::ListConnections, _) => true,
        (_, Some(operation)) => reach.models(operation).next().is_some(),
        (_, None) => reach.guarded().next().is_some(),
    };
    let offer = |tool: Tool| {
        let schema = Arc::new(schema::arguments(tool, reach, bounds));
        Offered::new(tool.name(), tool.description(bounds, may_write), schema)
            .with_title(tool.title())
            .with_annotations(tool.annotations(may_write))
    };
    Tool::ALL.into_iter().filter(is_of_use).map(offer).collect()
}
