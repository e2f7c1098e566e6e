//! A data set as Parquet files in memory, with an engine that answers filters over it.

mod arrays;
mod deleted;
mod indexed;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_filter::{Filter, ParseOptions, Templates};
use pandion_index::QueryBatch;
use pandion_manifest::{DataFile, Manifest};
use pandion_query::plan::CodecTransport;
use pandion_query::{
    EngineOptions, QueryEngine, QueryOptions, QueryRequest, Refinement, SearchRequest, Snapshot,
};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{
    CollectionId, CollectionSchema, ContentTag, FieldSchema, FileId, FileIdentity, ManifestVersion,
    MetricType, RowId, VectorElement, VectorType,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tokio::runtime::Runtime;

use crate::dataset::{DIM, Dataset, Row, VECTOR};
use crate::rows::Numbers;

use deleted::Deleted;
pub use indexed::{Indexed, KINDS};

/// Bytes of decoded vectors that the engine keeps: fewer than a data set has, so that some are read
/// again.
const VECTOR_CACHE_BYTES: usize = 4 << 10;

/// A data set in files, and an engine that reads them.
#[derive(Debug)]
pub struct Lake {
    /// The rows.
    pub dataset: Dataset,
    /// The files, as one manifest version names them.
    pub snapshot: Arc<Snapshot>,
    /// What answers.
    pub engine: QueryEngine,
    /// Divides its plans into three partitions, and executes what comes out of their bytes.
    coded: QueryEngine,
    options: EngineOptions,
    /// The same rows among dead ones.
    deleted: Deleted,
    /// Engines with indexes, by the kind of index; made when first asked for.
    indexed: RefCell<BTreeMap<&'static str, Rc<Indexed>>>,
    runtime: Runtime,
}

impl Lake {
    /// Writes the files and starts an engine.
    ///
    /// # Errors
    /// The rows do not fit the columns.
    pub fn new(dataset: Dataset) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let schema = dataset.schema();
        let mut files = Vec::new();
        let rows_per_file = dataset.layout.file.max(1);
        for (at, rows) in dataset.rows.chunks(rows_per_file).enumerate() {
            let number = u32::try_from(at + 1).context("too many files")?;
            let bytes = parquet(&dataset, rows, at * rows_per_file)?;
            files.push(runtime.block_on(data_file(&store, number, bytes, &schema))?);
        }
        let manifest = Manifest {
            collection: CollectionId(1),
            version: ManifestVersion(1),
            table: None,
            next_file_id: u32::try_from(files.len() + 1).context("too many files")?,
            schema_version: 0,
            files,
        };
        let snapshot = Snapshot::new(Arc::new(schema), Arc::new(manifest), store, None);
        let snapshot = Arc::new(snapshot);
        let options = EngineOptions {
            threads: 2,
            vector_cache_bytes: VECTOR_CACHE_BYTES,
            ..EngineOptions::default()
        };
        let engine = QueryEngine::new(&options)?;
        let transport = CodecTransport { snapshots: Arc::clone(&snapshot) as _ };
        let coded = QueryEngine::new(&EngineOptions {
            partitions: 3,
            transport: Some(Arc::new(transport)),
            ..options.clone()
        })?;
        let indexed = RefCell::default();
        let deleted = Deleted::new(&dataset, &runtime)?;
        Ok(Self { dataset, snapshot, engine, coded, options, deleted, indexed, runtime })
    }

    /// Runs what the engine answers with.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Parses a filter of the collection.
    ///
    /// # Errors
    /// The filter is refused.
    pub fn parse(
        &self,
        text: &str,
        templates: &Templates,
        options: &ParseOptions,
    ) -> pandion_types::Result<Filter> {
        pandion_filter::parse_with(text, self.snapshot.schema(), templates, options)
    }

    /// The rows that a query finds.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn query(&self, filter: &Filter, options: QueryOptions) -> pandion_types::Result<Numbers> {
        self.numbers(&self.rows(&self.engine, &self.snapshot, filter, options)?)
    }

    /// The rows that a query finds where most rows are dead. A count has to find as many.
    ///
    /// # Errors
    /// Those of the engine; `Internal` when a row is dead or the count is another one.
    pub fn query_deleted(
        &self,
        filter: &Filter,
        options: QueryOptions,
    ) -> pandion_types::Result<Numbers> {
        let snapshot = &self.deleted.snapshot;
        let rows = self.rows(&self.engine, snapshot, filter, options)?;
        let (count, _) = self.block_on(self.engine.count(snapshot, Some(filter), options))?;
        if count != rows.len() as u64 {
            return Err(pandion_types::Error::internal(format!(
                "{} rows, but the count is {count}",
                rows.len()
            )));
        }
        self.deleted
            .numbers(&rows)
            .ok_or_else(|| pandion_types::Error::internal(format!("rows that are dead: {rows:?}")))
    }

    /// The rows that a query finds whose plan went through its bytes.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn query_coded(&self, filter: &Filter) -> pandion_types::Result<Numbers> {
        self.numbers(&self.rows(&self.coded, &self.snapshot, filter, QueryOptions::default())?)
    }

    /// The rows that a query finds when every field that may have an index of this kind has one.
    ///
    /// # Errors
    /// Those of building the indexes, and of the engine.
    pub fn query_indexed(
        &self,
        kind: &'static str,
        filter: &Filter,
        options: QueryOptions,
    ) -> pandion_types::Result<Numbers> {
        let known = self.indexed.borrow().get(kind).map(Rc::clone);
        let indexed = match known {
            Some(indexed) => indexed,
            None => {
                let built = indexed::build(&self.snapshot, kind, &self.options);
                let built = self.block_on(built).map_err(|error| {
                    pandion_types::Error::internal(format!("indexes {kind}: {error:#}"))
                })?;
                let built = Rc::new(built);
                self.indexed.borrow_mut().insert(kind, Rc::clone(&built));
                built
            }
        };
        self.numbers(&self.rows(&indexed.engine, &indexed.snapshot, filter, options)?)
    }

    fn rows(
        &self,
        engine: &QueryEngine,
        snapshot: &Arc<Snapshot>,
        filter: &Filter,
        options: QueryOptions,
    ) -> pandion_types::Result<Vec<RowId>> {
        let request =
            QueryRequest { filter: Some(filter.clone()), options, ..QueryRequest::default() };
        let found = self.block_on(engine.query(snapshot, request))?;
        if !found.rows.is_sorted_by(|left, right| left < right) {
            return Err(pandion_types::Error::internal("the rows of a query are not in order"));
        }
        Ok(found.rows)
    }

    /// How many rows a count finds.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn count(&self, filter: &Filter) -> pandion_types::Result<u64> {
        let options = QueryOptions::default();
        Ok(self.block_on(self.engine.count(&self.snapshot, Some(filter), options))?.0)
    }

    /// The rows that a search for as many rows as there are finds.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn search(
        &self,
        filter: &Filter,
        options: QueryOptions,
        coded: bool,
    ) -> pandion_types::Result<Numbers> {
        let field = self.snapshot.schema().field(VECTOR)?.id;
        let query: Vec<u8> = [0.5_f32; DIM].iter().flat_map(|value| value.to_le_bytes()).collect();
        let vector_type = VectorType { element: VectorElement::Float32, dim: DIM };
        let request = SearchRequest {
            field,
            queries: QueryBatch::new(vector_type, &[query])?,
            metric: MetricType::L2,
            limit: self.dataset.rows.len(),
            offset: 0,
            range: None,
            filter: Some(filter.clone()),
            output: Vec::new(),
            refinement: Refinement::default(),
            options,
        };
        let engine = if coded { &self.coded } else { &self.engine };
        let found = self.block_on(engine.search(&self.snapshot, request))?;
        let rows: Vec<RowId> = found.hits.iter().flatten().map(|hit| hit.row).collect();
        self.numbers(&rows)
    }

    /// The numbers of rows, from 1, in the order of the data set.
    ///
    /// # Errors
    /// `Internal` when a row does not exist or occurs twice.
    pub fn numbers(&self, rows: &[RowId]) -> pandion_types::Result<Numbers> {
        let layout = self.dataset.layout;
        let number = |row: &RowId| {
            let file = usize::try_from(row.file().get()).ok()?.checked_sub(1)?;
            let number = file * layout.file + usize::try_from(row.row_in_file()).ok()? + 1;
            (number <= self.dataset.rows.len()).then_some(number)
        };
        let numbers: Option<Numbers> = rows.iter().map(number).collect();
        numbers.filter(|numbers| numbers.len() == rows.len()).ok_or_else(|| {
            pandion_types::Error::internal(format!("rows that do not exist or twice: {rows:?}"))
        })
    }
}

/// The bytes of a file with these rows, the first of which is row `first` of the data set.
fn parquet(dataset: &Dataset, rows: &[Row], first: usize) -> Result<Vec<u8>> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (at, column) in dataset.columns.iter().enumerate() {
        let values: Vec<_> = rows.iter().map(|row| row.get(at).and_then(Option::as_ref)).collect();
        let array = arrays::of_column(column, &values)
            .with_context(|| format!("column {}", column.name))?;
        columns.push((column.name.clone(), array));
    }
    columns.push((VECTOR.to_owned(), arrays::vectors(first, rows.len())?));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(name, values.data_type().clone(), true))
        .collect();
    let values = columns.into_iter().map(|(_, values)| values).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?;
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(dataset.layout.row_group))
        .set_data_page_row_count_limit(dataset.layout.page)
        .set_write_batch_size(dataset.layout.page)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

async fn data_file(
    store: &Arc<dyn ObjectStore>,
    number: u32,
    bytes: Vec<u8>,
    schema: &CollectionSchema,
) -> Result<DataFile> {
    let location = Path::from(format!("lake/{number:05}.parquet"));
    store.put(&location, Bytes::from(bytes).into()).await?;
    let meta = store.head(&location).await?;
    let identity = FileIdentity {
        uri: format!("memory://{location}"),
        size: meta.size,
        tag: ContentTag::ETag(meta.e_tag.context("the store gives no tag")?),
    };
    let object = PinnedObject::new(Arc::clone(store), location, identity);
    let footer = read_footer(&object, &IoStats::default()).await?;
    let open = ParquetFile::open(object.clone(), &footer)?;
    let fields: Vec<FieldSchema> = schema.mapped_fields().cloned().collect();
    let row_groups: Vec<u64> = open
        .metadata()
        .row_groups()
        .iter()
        .map(|group| u64::try_from(group.num_rows()))
        .collect::<Result<_, _>>()?;
    ensure!(!row_groups.is_empty(), "the file has no row group");
    Ok(DataFile {
        id: FileId::new(number)?,
        location: object.location.to_string(),
        identity: object.identity,
        footer_digest: [0; 32],
        row_groups,
        columns: open.statistics(&fields),
        footer,
        deletes: None,
        table: None,
    })
}
