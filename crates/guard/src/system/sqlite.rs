//! What `SQLite` tells about itself.

use super::Cell::{Kind, Null, Number, Relation};
use super::{Of, SystemRelation};

const MASTER: &[(&str, &str, super::Cell)] = &[
    ("type", "text", Kind("table", "view")),
    ("name", "text", Relation),
    ("tbl_name", "text", Relation),
    ("rootpage", "integer", Number(0)),
    // It names every column.
    ("sql", "text", Null),
];

pub(super) const CATALOG: &[SystemRelation] = &[
    SystemRelation { schema: "main", name: "sqlite_master", of: Of::Relations, columns: MASTER },
    SystemRelation { schema: "main", name: "sqlite_schema", of: Of::Relations, columns: MASTER },
];
