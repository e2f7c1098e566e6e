//! Which segments the scalar indexes of a collection need at one version.
//!
//! Nothing here reads or changes anything.

use pandion_catalog::{Collection, IndexId};
use pandion_index::scalar::ScalarIndexSpec;
use pandion_manifest::{DataFile, Manifest};
use pandion_query::{IndexedField, ScalarSegments, SegmentKey};
use pandion_types::FieldSchema;

/// The segments of one version of a collection; none by default.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// The indexes that are built, in the order of their ids.
    pub(crate) indexes: Vec<IndexNeeds>,
    /// Rows of each file of the manifest, deleted ones included: an index covers them, too.
    rows: Vec<u64>,
}

/// The segments of one index.
#[derive(Debug)]
pub(crate) struct IndexNeeds {
    pub(crate) id: IndexId,
    pub(crate) field: FieldSchema,
    pub(crate) spec: ScalarIndexSpec,
    /// One for each file of the manifest, in its order.
    pub(crate) keys: Vec<SegmentKey>,
}

/// The indexes of a collection for which segments are built. An index that an earlier release let
/// pass and that cannot be built is left out.
pub(crate) fn built(
    collection: &Collection,
) -> impl Iterator<Item = (IndexId, &FieldSchema, ScalarIndexSpec)> {
    collection.indexes.values().filter_map(|index| {
        let field = collection.schema.field_by_id(index.field)?;
        let spec = index.scalar_spec(&collection.schema).ok().flatten()?;
        Some((index.id, field, spec))
    })
}

/// The indexes as a snapshot has them.
pub(crate) fn indexed_fields(collection: &Collection) -> Vec<IndexedField> {
    built(collection).map(|(_, field, spec)| IndexedField { field: field.id, spec }).collect()
}

impl Needs {
    /// What the collection needs for the files of this version.
    pub(crate) fn new(collection: &Collection, manifest: &Manifest) -> Self {
        let indexes = built(collection).map(|(id, field, spec)| {
            let keys = SegmentKey::of_files(manifest, field, &spec);
            IndexNeeds { id, field: field.clone(), spec, keys }
        });
        Self {
            indexes: indexes.collect(),
            rows: manifest.files.iter().map(DataFile::rows).collect(),
        }
    }

    /// Whether the collection still has the indexes that it had.
    pub(crate) fn fits(&self, collection: &Collection) -> bool {
        let ids = self.indexes.iter().map(|index| index.id);
        ids.eq(built(collection).map(|(id, ..)| id))
    }

    /// The names of all segments of files that have rows, some perhaps several times.
    pub(crate) fn keys(&self) -> impl Iterator<Item = SegmentKey> {
        self.keys_from(0)
    }

    /// As [`Self::keys`], of the files at this position or behind it.
    pub(crate) fn keys_from(&self, first: usize) -> impl Iterator<Item = SegmentKey> {
        self.indexes.iter().flat_map(move |index| {
            let files = index.keys.iter().zip(&self.rows).skip(first);
            files.filter(|(_, rows)| **rows > 0).map(|(key, _)| *key)
        })
    }

    /// The positions of the indexes that lack the file at this position, as `is_missing` says.
    pub(crate) fn lacking(
        &self,
        file: usize,
        is_missing: impl Fn(&SegmentKey) -> bool,
    ) -> Vec<usize> {
        if self.rows.get(file).is_none_or(|&rows| rows == 0) {
            return Vec::new();
        }
        let lacks = |index: &IndexNeeds| index.keys.get(file).is_some_and(&is_missing);
        (0..).zip(&self.indexes).filter(|(_, index)| lacks(index)).map(|(at, _)| at).collect()
    }

    /// Rows of all files.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// Rows of the files that the index covers.
    pub(crate) fn covered(&self, index: &IndexNeeds, segments: &ScalarSegments) -> u64 {
        segments.sum_present(index.keys.iter().zip(self.rows.iter().copied()))
    }

    /// The least number of rows that an index covers; 0 when there is no index.
    pub(crate) fn covered_by_all(&self, segments: &ScalarSegments) -> u64 {
        self.indexes.iter().map(|index| self.covered(index, segments)).min().unwrap_or(0)
    }
}
