//! The tables of a lake as one query sees them, from its first look to its last row.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::columns;
use crate::files::{self, FileState, FileTable, Form};
use crate::load::infer;
use crate::session::{CATALOG, SCHEMA};
use crate::tables::{HeldVersion, KeptColumn, Tables};

/// What files as they lie there turned out to hold, until they change.
pub(crate) type Shapes = Mutex<lru::LruCache<(PathBuf, String), (Vec<FileState>, Arc<Shape>)>>;

/// The columns of a table of files.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) schema: SchemaRef,
    /// CSV whose texts go over several lines can't be read in pieces.
    has_line_breaks: bool,
}

/// A lake as one query sees it.
pub(crate) struct Snapshot {
    lake: PathBuf,
    tables: Tables,
    base: SessionState,
    shapes: Arc<Shapes>,
    opened: tokio::sync::Mutex<BTreeMap<String, Option<Opened>>>,
    runtime: Handle,
}

#[derive(Clone)]
struct Opened {
    provider: Arc<dyn TableProvider>,
    /// Keeps the files where they are.
    held: Option<Arc<HeldVersion>>,
}

impl Snapshot {
    pub(crate) fn new(lake: PathBuf, base: SessionState, shapes: Arc<Shapes>, runtime: Handle) -> Arc<Self> {
        let tables = Tables::of(&lake);
        let opened = tokio::sync::Mutex::default();
        Arc::new(Self { lake, tables, base, shapes, opened, runtime })
    }

    /// The state of a query over these tables.
    pub(crate) fn session(self: &Arc<Self>) -> Result<SessionState> {
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(Public(Arc::clone(self))))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let mut session = self.base.clone();
        session.register_catalog_list(Arc::new(catalogs));
        Ok(session)
    }

    /// The names of all tables, in order.
    pub(crate) fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names: Vec<String> = files::all(&self.lake)?.into_keys().collect();
        names.extend(self.tables.names()?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The columns of a table and its keys; `None` when there is none.
    pub(crate) async fn describe(&self, name: &str) -> Result<Option<(SchemaRef, Vec<String>)>> {
        let opened = self.open(name).await?;
        Ok(opened.map(|opened| {
            let keys = opened.held.map(|held| held.manifest.keys.clone()).unwrap_or_default();
            (opened.provider.schema(), keys)
        }))
    }

    async fn open(&self, name: &str) -> Result<Option<Opened>> {
        let mut opened = self.opened.lock().await;
        if let Some(known) = opened.get(name) {
            return Ok(known.clone());
        }
        let found = self.find(name).await?;
        opened.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// A loaded table comes before a file of the same name.
    async fn find(&self, name: &str) -> Result<Option<Opened>> {
        let (tables, lake, named) = (self.tables.clone(), self.lake.clone(), name.to_owned());
        let looking = move || -> std::io::Result<_> {
            match tables.hold(&named)? {
                Some(held) => Ok((Some(held), None)),
                None => Ok((None, files::one(&lake, &named)?)),
            }
        };
        let looked = tokio::task::spawn_blocking(looking).await.map_err(joined)?;
        Ok(match looked? {
            (Some(held), _) => {
                let provider = loaded(&held)?;
                Some(Opened { provider, held: Some(Arc::new(held)) })
            }
            (None, Some(table)) => {
                let shape = self.shape(name, &table).await?;
                let provider = listed(&table, &shape)?;
                Some(Opened { provider, held: None })
            }
            (None, None) => None,
        })
    }

    async fn shape(&self, name: &str, table: &FileTable) -> Result<Arc<Shape>> {
        let key = (self.lake.clone(), name.to_owned());
        if let Some((files, shape)) = self.shapes.lock().get(&key)
            && *files == table.files
        {
            return Ok(Arc::clone(shape));
        }
        let shape = Arc::new(self.infer(table).await?);
        self.shapes.lock().put(key, (table.files.clone(), Arc::clone(&shape)));
        Ok(shape)
    }

    async fn infer(&self, table: &FileTable) -> Result<Shape> {
        if table.form == Form::Csv {
            let paths: Vec<PathBuf> = table.files.iter().map(|file| file.path.clone()).collect();
            let inferring = move || infer::of_files(&paths);
            let inferred = tokio::task::spawn_blocking(inferring).await.map_err(joined)?;
            let inferred = inferred.map_err(|error| DataFusionError::Execution(error.to_string()))?;
            let has_line_breaks = inferred.has_line_breaks();
            return Ok(Shape { schema: inferred.schema(&BTreeMap::new()), has_line_breaks });
        }
        let options = ListingOptions::new(format(table.form, false)).with_file_extension("");
        let mut schemas = Vec::new();
        for url in urls(table.files.iter().map(|file| file.path.as_path()))? {
            let schema = options.infer_schema(&self.base, &url).await?;
            schemas.push(Arc::unwrap_or_clone(schema));
        }
        let schema = Arc::new(Schema::try_merge(schemas)?);
        Ok(Shape { schema, has_line_breaks: false })
    }
}

impl Drop for Snapshot {
    /// What was replaced while this query read it can go now.
    fn drop(&mut self) {
        let opened = std::mem::take(self.opened.get_mut());
        let replaced = opened.iter().any(|(name, opened)| {
            let held = opened.as_ref().and_then(|opened| opened.held.as_ref());
            held.is_some_and(|held| {
                self.tables.manifest(name).ok().flatten().map(|now| now.version)
                    != Some(held.manifest.version)
            })
        });
        drop(opened);
        if replaced {
            let tables = self.tables.clone();
            self.runtime.spawn_blocking(move || {
                if let Err(error) = tables.sweep() {
                    tracing::warn!(%error, "old files of a lake are left for the next load to remove");
                }
            });
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("lake", &self.lake).finish_non_exhaustive()
    }
}

/// The schema that statements see.
#[derive(Debug)]
struct Public(Arc<Snapshot>);

#[async_trait::async_trait]
impl SchemaProvider for Public {
    fn table_names(&self) -> Vec<String> {
        self.0.names().unwrap_or_default()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.open(name).await?.map(|opened| opened.provider))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

/// The schema that the columns of a manifest make.
pub(crate) fn schema_of(columns: &[KeptColumn]) -> Option<SchemaRef> {
    let field =
        |column: &KeptColumn| Some(Field::new(&column.name, columns::named(&column.data_type)?, true));
    Some(Arc::new(Schema::new(columns.iter().map(field).collect::<Option<Vec<_>>>()?)))
}

fn loaded(held: &HeldVersion) -> Result<Arc<dyn TableProvider>> {
    let Some(schema) = schema_of(&held.manifest.columns) else {
        return exec_err!("a manifest names a type that there is not");
    };
    if held.files.is_empty() {
        return Ok(Arc::new(datafusion::datasource::empty::EmptyTable::new(schema)));
    }
    of_parquet(&held.files, schema)
}

/// Files that were written here, as a table.
pub(crate) fn of_parquet(paths: &[PathBuf], schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
    provider(Form::Parquet, false, urls(paths.iter().map(PathBuf::as_path))?, schema)
}

fn listed(table: &FileTable, shape: &Shape) -> Result<Arc<dyn TableProvider>> {
    let urls = urls(table.files.iter().map(|file| file.path.as_path()))?;
    provider(table.form, shape.has_line_breaks, urls, Arc::clone(&shape.schema))
}

fn provider(
    form: Form,
    has_line_breaks: bool,
    urls: Vec<ListingTableUrl>,
    schema: SchemaRef,
) -> Result<Arc<dyn TableProvider>> {
    let options = ListingOptions::new(format(form, has_line_breaks)).with_file_extension("");
    let config =
        ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

fn format(form: Form, has_line_breaks: bool) -> Arc<dyn FileFormat> {
    match form {
        Form::Csv => {
            let format = CsvFormat::default().with_has_header(true);
            Arc::new(format.with_newlines_in_values(has_line_breaks))
        }
        Form::Parquet => Arc::new(ParquetFormat::default()),
        Form::Json => Arc::new(JsonFormat::default()),
        Form::Arrow => Arc::new(ArrowFormat),
    }
}

/// Each file by itself: nothing is listed, and no sign in a name means several.
fn urls<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Vec<ListingTableUrl>> {
    paths
        .map(|path| {
            let url = url::Url::from_file_path(path);
            let Ok(url) = url else { return plan_err!("a file's path is not absolute") };
            ListingTableUrl::try_new(url, None)
        })
        .collect()
}

fn joined(error: tokio::task::JoinError) -> DataFusionError {
    DataFusionError::ExecutionJoin(Box::new(error))
}
