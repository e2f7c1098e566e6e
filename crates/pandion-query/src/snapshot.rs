//! One manifest version, pinned, with the files that it names ready to be read.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_index::Bitmap;
use pandion_manifest::{DataFile, DeleteVector, Manifest, TableColumn};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{CollectionId, CollectionSchema, Error, FileId, Result, RowId, Subject};
use tokio::sync::OnceCell;

use crate::segments::{IndexedField, SegmentKey};

/// Everything a query needs to know of a collection, fixed at one manifest version.
///
/// A query holds one snapshot from its first to its last step, so that it sees exactly one version.
#[derive(Clone)]
pub struct Snapshot {
    collection: CollectionId,
    schema: Arc<CollectionSchema>,
    manifest: Arc<Manifest>,
    store: Arc<dyn ObjectStore>,
    /// The columns that fields are read from, when the source is a table.
    columns: Option<Arc<[TableColumn]>>,
    /// Open files, in the order of the manifest's, filled when first needed.
    files: Vec<Arc<OnceCell<Opened>>>,
    /// The live rows of files with deletes, in the same order, made when first needed.
    live: Vec<OnceLock<LiveRows>>,
    /// The scalar indexes of the collection.
    indexed: Vec<IndexedField>,
    /// For each of `indexed` the names of its segments, in the order of the manifest's files, made
    /// when first needed.
    segments: Vec<OnceLock<Vec<SegmentKey>>>,
}

/// A file that is open.
#[derive(Debug)]
struct Opened {
    file: ParquetFile,
    /// Its footer, when the manifest lacks it.
    footer: Option<Bytes>,
}

/// The live rows of each row group of a file; `None` where all are.
type LiveRows = Vec<Option<Arc<Bitmap>>>;

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("collection", &self.collection)
            .field("version", &self.manifest.version)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// A snapshot of `manifest` whose files are read from `store`.
    ///
    /// Files that `previous` has under the same id are taken over with their parsed footers, unless
    /// a table has changed its columns. Give `previous` only when it reads through the same store.
    #[must_use]
    pub fn new(
        schema: Arc<CollectionSchema>,
        manifest: Arc<Manifest>,
        store: Arc<dyn ObjectStore>,
        previous: Option<&Self>,
    ) -> Self {
        let columns = manifest.table.as_ref().map(|table| Arc::from(table.columns.as_slice()));
        let known: HashMap<FileId, &Arc<OnceCell<Opened>>> = previous
            .filter(|previous| previous.collection == manifest.collection)
            .filter(|previous| previous.columns == columns)
            .map(|previous| {
                let ids = previous.manifest.files.iter().map(|file| file.id);
                ids.zip(&previous.files).collect()
            })
            .unwrap_or_default();
        let files = manifest
            .files
            .iter()
            .map(|file| known.get(&file.id).map(|known| Arc::clone(known)).unwrap_or_default())
            .collect();
        let live = manifest.files.iter().map(|_| OnceLock::new()).collect();
        let (indexed, segments) = (Vec::new(), Vec::new());
        let collection = manifest.collection;
        Self { collection, schema, manifest, store, columns, files, live, indexed, segments }
    }

    /// The same snapshot, of a collection that has these scalar indexes.
    #[must_use]
    pub fn with_scalar_indexes(mut self, indexed: Vec<IndexedField>) -> Self {
        self.segments = indexed.iter().map(|_| OnceLock::new()).collect();
        self.indexed = indexed;
        self
    }

    /// The scalar indexes of the collection. Each covers some of the files, or all.
    #[must_use]
    pub fn scalar_indexes(&self) -> &[IndexedField] {
        &self.indexed
    }

    /// The name of the segment of the index at position `index` over the file at position `file`.
    pub(crate) fn segment_key(&self, index: usize, file: usize) -> Option<SegmentKey> {
        let IndexedField { field, spec } = self.indexed.get(index)?;
        let field = self.schema.field_by_id(*field)?;
        let keys = self.segments.get(index)?;
        let keys = keys.get_or_init(|| SegmentKey::of_files(&self.manifest, field, spec));
        keys.get(file).copied()
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    /// The collection's fields.
    #[must_use]
    pub fn schema(&self) -> &Arc<CollectionSchema> {
        &self.schema
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The store that the files are read from.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Opens the file at this position of the manifest. Reads its footer, unless the manifest has
    /// it or someone has read it before.
    ///
    /// # Errors
    /// `Corrupt` when the footer cannot be parsed or contradicts the table's metadata;
    /// `InvalidArgument` when its columns do not fit the collection; those of the store.
    pub async fn open(&self, at: usize, stats: &IoStats) -> Result<(&DataFile, &ParquetFile)> {
        let (entry, slot) = self.slot(at)?;
        if entry.has_footer() || slot.initialized() {
            return self.file(at);
        }
        let opened = slot.get_or_try_init(|| self.open_unread(entry, stats)).await?;
        Ok((entry, &opened.file))
    }

    /// The manifest's entry and the open file at this position of the manifest. A file whose footer
    /// the manifest lacks must have been opened before.
    ///
    /// # Errors
    /// `Corrupt` when the footer in the manifest cannot be parsed.
    pub(crate) fn file(&self, at: usize) -> Result<(&DataFile, &ParquetFile)> {
        let (entry, slot) = self.slot(at)?;
        if let Some(opened) = slot.get() {
            return Ok((entry, &opened.file));
        }
        if !entry.has_footer() {
            return Err(Error::internal(format!("{} was not opened", entry.identity.uri)));
        }
        let file = self.parsed(entry, self.object(entry)?, &entry.footer)?;
        // Another thread may have been faster; its file is as good.
        drop(slot.set(Opened { file, footer: None }));
        let opened = slot.get().ok_or_else(|| Error::internal("an open file was lost"))?;
        Ok((entry, &opened.file))
    }

    /// The manifest's entry at this position.
    pub(crate) fn entry(&self, at: usize) -> Result<&DataFile> {
        self.slot(at).map(|(entry, _)| entry)
    }

    fn slot(&self, at: usize) -> Result<(&DataFile, &OnceCell<Opened>)> {
        let slots = self.files.get(at).map(AsRef::as_ref);
        let found = self.manifest.files.get(at).zip(slots);
        found.ok_or_else(|| Error::internal(format!("no file {at} in the manifest")))
    }

    /// Reads the footer of a file that only the table's metadata has told of until now, and holds
    /// the file against what was told.
    async fn open_unread(&self, entry: &DataFile, stats: &IoStats) -> Result<Opened> {
        let object = self.object(entry)?;
        let footer = read_footer(&object, stats).await?;
        let file = self.parsed(entry, object, &footer)?;
        if file.rows() != entry.rows() {
            return Err(Error::corrupt(format!(
                "{} has {} rows where the table's metadata says {}",
                entry.identity.uri,
                file.rows(),
                entry.rows()
            ))
            .about(Subject::Source));
        }
        let fields: Vec<_> = self.schema.mapped_fields().cloned().collect();
        let problems = file.check(&fields);
        if problems.is_empty() {
            return Ok(Opened { file, footer: Some(footer) });
        }
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Err(Error::invalid_argument(format!("{}: {}", entry.identity.uri, problems.join("; ")))
            .about(Subject::Source))
    }

    fn parsed(
        &self,
        entry: &DataFile,
        object: PinnedObject,
        footer: &Bytes,
    ) -> Result<ParquetFile> {
        match (&self.columns, &entry.table) {
            (Some(columns), Some(file)) => {
                ParquetFile::open_of_table(object, footer, columns, &file.constants)
            }
            _ => ParquetFile::open(object, footer),
        }
    }

    /// Puts the footers that were read since into `manifest`, which may be another version, so that
    /// they need not be read again.
    pub fn add_footers(&self, manifest: &mut Manifest) {
        for (entry, slot) in self.manifest.files.iter().zip(&self.files) {
            let Some(Opened { file, footer: Some(footer) }) = slot.get() else { continue };
            let Ok(at) = manifest.files.binary_search_by_key(&entry.id, |file| file.id) else {
                continue;
            };
            let same =
                |known: &&mut DataFile| known.identity == entry.identity && !known.has_footer();
            if let Some(known) = manifest.files.get_mut(at).filter(same) {
                known.footer_digest = *blake3::hash(footer).as_bytes();
                known.footer = footer.clone();
                let rows = (0..file.row_groups()).map(|group| file.row_group_rows(group).len());
                known.row_groups = rows.map(|rows| rows as u64).collect();
            }
        }
    }

    /// The live rows of a row group of an open file; `None` when all are.
    pub(crate) fn live_rows(&self, at: usize, row_group: usize) -> Result<Option<&Arc<Bitmap>>> {
        let (entry, file) = self.file(at)?;
        let (Some(deletes), Some(live)) = (&entry.deletes, self.live.get(at)) else {
            return Ok(None);
        };
        let live = live.get_or_init(|| live_rows(file, deletes));
        Ok(live.get(row_group).and_then(Option::as_ref))
    }

    /// The position in the manifest of the file with this id.
    pub(crate) fn position(&self, id: FileId) -> Option<usize> {
        self.manifest.files.binary_search_by_key(&id, |file| file.id).ok()
    }

    /// The row with this primary key, if the snapshot has it and it is not deleted.
    pub(crate) fn row(&self, key: i64) -> Option<RowId> {
        let row = RowId::from_i64(key)?;
        let file = self.manifest.files.get(self.position(row.file())?)?;
        let dead = file.deletes.as_ref().is_some_and(|dead| dead.contains(row.row_in_file()));
        (u64::from(row.row_in_file()) < file.rows() && !dead).then_some(row)
    }

    fn object(&self, entry: &DataFile) -> Result<PinnedObject> {
        let location = Path::parse(&entry.location).map_err(|error| {
            Error::corrupt(format!("manifest names a bad path {}", entry.location)).caused_by(error)
        })?;
        Ok(PinnedObject::new(Arc::clone(&self.store), location, entry.identity.clone()))
    }
}

fn live_rows(file: &ParquetFile, deletes: &DeleteVector) -> LiveRows {
    let of_group = |row_group| {
        let rows = file.row_group_rows(row_group);
        if deletes.count_in(rows.clone()) == 0 {
            return None;
        }
        let mut live = Bitmap::full(rows.len());
        for row in deletes.rows_in(rows.clone()) {
            live.remove((row - rows.start) as usize);
        }
        Some(Arc::new(live))
    };
    (0..file.row_groups()).map(of_group).collect()
}
