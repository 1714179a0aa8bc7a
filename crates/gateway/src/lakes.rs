//! Tables of lakes: loaded and removed as a whole, by who may change the connection's database.

use bytes::Bytes;
use futures::stream::BoxStream;
use ringfence_engine::{LoadedTable, SourceAddress, SourceError, TableLoad};
use ringfence_policy::{ConnectionKind, Permission};
use ringfence_store::connections::Connection;
use serde_json::json;

use crate::connections::address_of;
use crate::indexing::{Wish, completed};
use crate::policies::may_govern;
use crate::{Call, Code, Gateway, Refused};

/// A lake whose tables the caller may load.
pub struct LoadableLake {
    connection: Connection,
    address: SourceAddress,
}

impl Gateway {
    /// The caller's lake of that key, for changing its tables.
    ///
    /// A load replaces rows whoever they are of, so where anything narrows what is seen of the lake it takes what a policy takes.
    //
    // INVARIANT: nobody loads through a guarded connection who could not change what guards it. Held by tests/python/lake.
    pub async fn lake_to_load(&self, call: &Call, key: &str) -> Result<LoadableLake, Refused> {
        call.log().set_scope(key);
        call.needs(Permission::WriteDatabases)?;
        let connection = self.connection_of(call, key).await?;
        let org = &call.principal().org;
        let address = address_of(&connection, org)?;
        if address.kind != ConnectionKind::Lake {
            return Err(Refused::invalid("tables are loaded into connections of the kind `lake` only"));
        }
        if connection.spec.db_access_policy.read_only {
            return Err(Refused::new(Code::NotPermitted, "the connection is read-only"));
        }
        if self.lens(call.principal(), &connection, &address).await?.is_some() {
            may_govern(call)?;
        }
        Ok(LoadableLake { connection, address })
    }

    /// Takes rows into a table: all of them, or none. The catalog shows the table when this answers.
    pub async fn load_table(
        &self,
        call: &Call,
        lake: &LoadableLake,
        load: TableLoad,
        body: BoxStream<'static, Result<Bytes, SourceError>>,
    ) -> Result<LoadedTable, Refused> {
        call.log().set_action("load-table");
        call.log().set_object(&load.table);
        call.log().set_inputs(json!({ "mode": format!("{:?}", load.mode), "keys": load.keys }));
        let loaded = self.shared.engine.load(&lake.address, load, body).await?;
        call.log().set_rows(loaded.loaded);
        self.show_tables(call, lake).await?;
        Ok(loaded)
    }

    /// Removes a table that was loaded.
    pub async fn remove_table(&self, call: &Call, lake: &LoadableLake, table: &str) -> Result<(), Refused> {
        call.log().set_action("remove-table");
        call.log().set_object(table);
        self.shared.engine.remove_table(&lake.address, table).await?;
        self.show_tables(call, lake).await
    }

    /// Reads the catalog anew. It is small and near, so that nobody has to wait for a job.
    async fn show_tables(&self, call: &Call, lake: &LoadableLake) -> Result<(), Refused> {
        let sources = self.shared.store.sources();
        let id = lake.connection.source;
        let generation = sources.restart(id).await?;
        let catalog = self.shared.engine.introspect(&lake.address, &|_, _, _| {}).await?;
        if let Some(source) = sources.get(id).await? {
            let report = completed(&source, &catalog)?;
            if !sources.complete(id, generation, &catalog, &report).await? {
                // Somebody else reads it at the same time, perhaps from before: once more, when they are done.
                self.shared.indexer.enqueue(id, &call.principal().org, Wish::Introspect);
            }
        }
        self.shared.catalogs.forget(id);
        Ok(())
    }
}
