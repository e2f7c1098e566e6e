//! A writer of Iceberg tables whose contents are known: format versions 1 to 3, every kind of
//! delete, evolution of schema and partitioning, branches and tags, compaction with row lineage, and
//! tables with something wrong. Made for tests and benchmarks; it has one writer, no concurrency, and
//! no care for speed but that a table of ten thousand files takes seconds.
//!
//! What it writes follows from the seed: names, ids, times, rows and data files. Manifests hold the
//! same, but their bytes differ from run to run, as Avro files begin with random marks.

mod change;
mod commit;
mod deletes;
mod evolve;
mod files;
mod history;
mod manifests;
mod metadata;
mod metrics;
mod oracle;
mod partition;
mod place;
mod project;
mod read;
mod samples;
mod values;
mod vector;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use bytes::Bytes;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, PartitionSpecRef, Schema, SchemaRef, Transform};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

pub use self::change::{Change, Defect, DeleteLayout, EqualityDelete};
use self::deletes::EqualityKeys;
pub use self::evolve::{NewColumn, SchemaChange};
use self::files::Style;
use self::manifests::Manifest;
use self::metadata::Metadata;
use self::oracle::LiveFile;
pub use self::oracle::Row;
pub use self::place::Place;
pub use self::read::SnapshotInfo;
pub use self::samples::{
    DeleteKind, Sample, SampleOptions, VectorForm, sample_batch, sample_schema,
};
use crate::lake::Layout;

/// Earlier metadata files that metadata lists.
const METADATA_LOG_MAX: usize = 100;

/// How metadata files are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataNames {
    /// `00000-<uuid>.metadata.json` and so on, as catalogues name them.
    #[default]
    Numbered,
    /// `v1.metadata.json` and so on, with the newest number in `version-hint.text`.
    Versioned,
}

/// How a table is written.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// Version of the format.
    pub format_version: FormatVersion,
    /// What ids and names follow from.
    pub seed: u64,
    /// How metadata files are named.
    pub metadata_names: MetadataNames,
    /// Whether metadata files are compressed.
    pub gzip_metadata: bool,
    /// Whether data files carry field ids. Without them the table has a name mapping, as tables have
    /// that were migrated from Hive.
    pub field_ids: bool,
    /// Characters of a string, or bytes, in column bounds; all if missing.
    pub bound_length_max: Option<usize>,
    /// Files in a manifest of new files.
    pub manifest_files_max: usize,
    /// Layout of Parquet files.
    pub layout: Layout,
    /// Table properties.
    pub properties: BTreeMap<String, String>,
    /// Time of the first metadata file, in milliseconds since 1970.
    pub first_ms: i64,
    /// Milliseconds between two metadata files.
    pub step_ms: i64,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            format_version: FormatVersion::V2,
            seed: 42,
            metadata_names: MetadataNames::default(),
            gzip_metadata: false,
            field_ids: true,
            bound_length_max: Some(16),
            manifest_files_max: 1_000,
            layout: Layout::default(),
            properties: BTreeMap::new(),
            first_ms: 1_700_000_000_000,
            step_ms: 1_000,
        }
    }
}

impl TableOptions {
    /// The defaults with another format version.
    #[must_use]
    pub fn version(format_version: FormatVersion) -> Self {
        Self { format_version, ..Self::default() }
    }
}

/// What a snapshot holds.
#[derive(Debug, Default)]
struct State {
    manifests: Vec<Arc<Manifest>>,
    files: Vec<LiveFile>,
    /// Equality deletes with their sequence numbers.
    equality: Vec<(i64, Arc<EqualityKeys>)>,
}

/// A table and its only writer. Remembers the rows of every snapshot.
#[derive(Debug)]
pub struct TableWriter {
    place: Place,
    options: TableOptions,
    style: Style,
    rng: StdRng,
    clock_ms: i64,
    metadata: Metadata,
    /// What snapshots hold, by id.
    states: BTreeMap<i64, Arc<State>>,
    branch: String,
    /// URIs of all metadata files, the newest last.
    metadata_files: Vec<String>,
    files_begun: usize,
}

impl TableWriter {
    /// An empty table, with its first metadata file. Field ids are those of the schema; partition
    /// fields are pairs of a column and a transform.
    ///
    /// # Errors
    /// Partition fields that do not fit the schema, or a store that fails.
    pub async fn create(
        place: Place,
        schema: Schema,
        partitions: &[(&str, Transform)],
        options: TableOptions,
    ) -> anyhow::Result<Self> {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let names = schema.field_id_to_fields().iter();
        let names = names.map(|(id, field)| (*id, vec![field.name.clone()])).collect();
        let metadata = Metadata {
            format_version: options.format_version,
            uuid: uuid::Builder::from_random_bytes(rng.random()).into_uuid(),
            location: place.location().to_owned(),
            last_sequence_number: 0,
            last_updated_ms: 0,
            last_column_id: schema.highest_field_id(),
            current_schema_id: schema.schema_id(),
            schemas: vec![Arc::new(schema)],
            specs: Vec::new(),
            default_spec_id: 0,
            last_partition_id: 999,
            properties: options.properties.clone(),
            snapshots: Vec::new(),
            snapshot_log: Vec::new(),
            metadata_log: Vec::new(),
            refs: BTreeMap::new(),
            next_row_id: 0,
            names: (!options.field_ids).then_some(names),
        };
        let style = Style {
            properties: options.layout.properties(),
            field_ids: options.field_ids,
            bound_length_max: options.bound_length_max,
        };
        let mut table = Self {
            place,
            style,
            rng,
            clock_ms: options.first_ms - options.step_ms,
            options,
            metadata,
            states: BTreeMap::new(),
            branch: MAIN_BRANCH.to_owned(),
            metadata_files: Vec::new(),
            files_begun: 0,
        };
        table.metadata.evolve_partition(partitions)?;
        let now = table.tick();
        table.write_metadata(now).await?;
        Ok(table)
    }

    /// Appends rows: a data file for each batch and partition. Columns are found by name. Returns
    /// the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn append(&mut self, batches: &[RecordBatch]) -> anyhow::Result<i64> {
        self.commit(Change::append(batches)).await
    }

    /// Replaces data files by rows. Returns the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn overwrite(
        &mut self,
        files: &[String],
        batches: &[RecordBatch],
    ) -> anyhow::Result<i64> {
        self.commit(Change { removed: files.to_vec(), ..Change::append(batches) }).await
    }

    /// Removes data files. Returns the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn delete_files(&mut self, files: &[String]) -> anyhow::Result<i64> {
        self.overwrite(files, &[]).await
    }

    /// Deletes rows by file and position: position delete files in format version 2, deletion
    /// vectors in version 3. Returns the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn delete_positions(
        &mut self,
        positions: &[(String, Vec<u64>)],
        layout: DeleteLayout,
    ) -> anyhow::Result<i64> {
        let positions = positions.to_vec();
        self.commit(Change { positions, layout, ..Change::default() }).await
    }

    /// Deletes the rows whose columns have the values of a row of `rows`. Returns the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn delete_where_equal(
        &mut self,
        columns: &[&str],
        rows: RecordBatch,
    ) -> anyhow::Result<i64> {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        let delete = EqualityDelete { columns, rows, in_all_partitions: false };
        self.commit(Change { equality: vec![delete], ..Change::default() }).await
    }

    /// Changes the schema; files written before stay as they are.
    ///
    /// # Errors
    /// A change that does not apply, or a store that fails.
    pub async fn evolve_schema(&mut self, changes: &[SchemaChange]) -> anyhow::Result<()> {
        self.metadata.evolve_schema(changes)?;
        self.touch().await
    }

    /// Changes the partitioning of files to come.
    ///
    /// # Errors
    /// Partition fields that do not fit the schema, or a store that fails.
    pub async fn evolve_partition(
        &mut self,
        partitions: &[(&str, Transform)],
    ) -> anyhow::Result<()> {
        self.metadata.evolve_partition(partitions)?;
        self.touch().await
    }

    /// Raises the format version. Rows get row ids with the next snapshot after version 3 is
    /// reached.
    ///
    /// # Errors
    /// A lower version, or a store that fails.
    pub async fn upgrade(&mut self, version: FormatVersion) -> anyhow::Result<()> {
        ensure!(version >= self.metadata.format_version, "format versions only rise");
        self.metadata.format_version = version;
        self.touch().await
    }

    /// Sets a table property.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn set_property(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        self.metadata.properties.insert(name.to_owned(), value.to_owned());
        self.touch().await
    }

    /// Where the table lies.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// URI of the newest metadata file.
    #[must_use]
    pub fn metadata_location(&self) -> &str {
        self.metadata_files.last().map_or("", String::as_str)
    }

    /// URIs of all metadata files, the newest last.
    #[must_use]
    pub fn metadata_locations(&self) -> &[String] {
        &self.metadata_files
    }

    /// The schema in force.
    ///
    /// # Errors
    /// None in practice.
    pub fn schema(&self) -> anyhow::Result<SchemaRef> {
        self.metadata.schema()
    }

    /// The Arrow schema of batches to append.
    ///
    /// # Errors
    /// A type without an Arrow form.
    pub fn arrow_schema(&self) -> anyhow::Result<ArrowSchemaRef> {
        project::arrow_schema(self.schema()?.as_ref())
    }

    /// The snapshots that the metadata lists, the oldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<i64> {
        self.metadata.snapshots.iter().map(|snapshot| snapshot.id).collect()
    }

    /// The newest snapshot of the branch in use.
    #[must_use]
    pub fn head(&self) -> Option<i64> {
        self.metadata.reference(&self.branch)
    }

    fn state_of(&self, snapshot: Option<i64>) -> anyhow::Result<Arc<State>> {
        let Some(snapshot) = snapshot else { return Ok(Arc::default()) };
        let found = self.states.get(&snapshot);
        found.map(Arc::clone).with_context(|| format!("the table has no snapshot {snapshot}"))
    }

    /// The newest schema that has the columns which a spec partitions by.
    fn schema_for(&self, spec: &PartitionSpecRef) -> anyhow::Result<SchemaRef> {
        let current = self.schema()?;
        if spec.partition_type(&current).is_ok() {
            return Ok(current);
        }
        let fits = |schema: &&SchemaRef| spec.partition_type(schema).is_ok();
        let found = self.metadata.schemas.iter().rev().find(fits);
        found.map(Arc::clone).context("no schema has the columns of the partition spec")
    }

    fn new_id(&mut self) -> i64 {
        self.rng.random_range(1..i64::MAX)
    }

    fn new_uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.random()).into_uuid()
    }

    fn file_uri(&mut self, folders: &str, end: &str) -> String {
        let number = self.files_begun;
        self.files_begun += 1;
        let uuid = self.new_uuid();
        self.place.uri(&format!("data/{folders}{number:05}-{uuid}{end}"))
    }

    fn manifest_uri(&mut self, number: usize) -> String {
        let uuid = self.new_uuid();
        self.place.uri(&format!("metadata/{uuid}-m{number}.avro"))
    }

    fn tick(&mut self) -> i64 {
        self.clock_ms += self.options.step_ms;
        self.clock_ms
    }

    async fn touch(&mut self) -> anyhow::Result<()> {
        let now = self.tick();
        self.write_metadata(now).await
    }

    async fn write_metadata(&mut self, now_ms: i64) -> anyhow::Result<()> {
        if let Some(last) = self.metadata_files.last() {
            let log = &mut self.metadata.metadata_log;
            log.push((self.metadata.last_updated_ms, last.clone()));
            let surplus = log.len().saturating_sub(METADATA_LOG_MAX);
            log.drain(..surplus);
        }
        self.metadata.last_updated_ms = now_ms;
        let gzip = if self.options.gzip_metadata { ".gz" } else { "" };
        let number = self.metadata_files.len();
        let name = match self.options.metadata_names {
            MetadataNames::Numbered => format!("{number:05}-{}", self.new_uuid()),
            MetadataNames::Versioned => format!("v{}", number + 1),
        };
        let uri = self.place.uri(&format!("metadata/{name}{gzip}.metadata.json"));
        self.place.put(&uri, self.metadata.bytes(self.options.gzip_metadata)?).await?;
        if self.options.metadata_names == MetadataNames::Versioned {
            let hint = self.place.uri("metadata/version-hint.text");
            self.place.put(&hint, Bytes::from((number + 1).to_string())).await?;
        }
        self.metadata_files.push(uri);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
