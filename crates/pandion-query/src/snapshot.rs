//! One manifest version, pinned, with the files that it names ready to be read.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use object_store::ObjectStore;
use object_store::path::Path;
use pandion_connector_parquet::ParquetFile;
use pandion_manifest::{DataFile, Manifest};
use pandion_source::PinnedObject;
use pandion_types::{CollectionId, CollectionSchema, FileId, Result, RowId};

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
    /// Parsed footers, in the order of the manifest's files, filled when first needed.
    files: Vec<Arc<OnceLock<ParquetFile>>>,
    /// The scalar indexes of the collection.
    indexed: Vec<IndexedField>,
    /// For each of `indexed` the names of its segments, in the order of the manifest's files, made
    /// when first needed.
    segments: Vec<OnceLock<Vec<SegmentKey>>>,
}

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
    /// Files that `previous` has under the same id are taken over with their parsed footers. Give
    /// `previous` only when it reads through the same store.
    #[must_use]
    pub fn new(
        schema: Arc<CollectionSchema>,
        manifest: Arc<Manifest>,
        store: Arc<dyn ObjectStore>,
        previous: Option<&Self>,
    ) -> Self {
        let known: HashMap<FileId, &Arc<OnceLock<ParquetFile>>> = previous
            .filter(|previous| previous.collection == manifest.collection)
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
        let (indexed, segments) = (Vec::new(), Vec::new());
        Self { collection: manifest.collection, schema, manifest, store, files, indexed, segments }
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
        let keys = keys.get_or_init(|| SegmentKey::of_files(&self.manifest.files, field, spec));
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

    /// The manifest's entry and the open file at this position of the manifest.
    ///
    /// # Errors
    /// `Corrupt` when the footer in the manifest cannot be parsed.
    pub(crate) fn file(&self, at: usize) -> Result<(&DataFile, &ParquetFile)> {
        let (Some(entry), Some(slot)) = (self.manifest.files.get(at), self.files.get(at)) else {
            return Err(pandion_types::Error::internal(format!("no file {at} in the manifest")));
        };
        if let Some(file) = slot.get() {
            return Ok((entry, file));
        }
        let opened = ParquetFile::open(self.object(entry)?, &entry.footer)?;
        Ok((entry, slot.get_or_init(|| opened)))
    }

    /// The position in the manifest of the file with this id.
    pub(crate) fn position(&self, id: FileId) -> Option<usize> {
        self.manifest.files.binary_search_by_key(&id, |file| file.id).ok()
    }

    /// The row with this primary key, if the snapshot has it.
    pub(crate) fn row(&self, key: i64) -> Option<RowId> {
        let row = RowId::from_i64(key)?;
        let file = self.manifest.files.get(self.position(row.file())?)?;
        (u64::from(row.row_in_file()) < file.rows()).then_some(row)
    }

    fn object(&self, entry: &DataFile) -> Result<PinnedObject> {
        let location = Path::parse(&entry.location).map_err(|error| {
            pandion_types::Error::corrupt(format!("manifest names a bad path {}", entry.location))
                .caused_by(error)
        })?;
        Ok(PinnedObject::new(Arc::clone(&self.store), location, entry.identity.clone()))
    }
}
