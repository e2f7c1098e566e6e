//! Decoded columns that filters read, in memory, within a budget of bytes.
//!
//! A column of few distinct strings is kept as the file has it: numbers into a list of strings.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::compute::concat;
use pandion_source::IoStats;
use pandion_types::{DataType, Error, FieldSchema, FileIdentity, Result};

use crate::cache::{ByteCache, CacheUsage, Weigh};
use crate::scan::Unit;
use crate::snapshot::Snapshot;

/// A column that would take more of the budget than one part in so many is not kept.
const SHARE_MAX: u64 = 4;

/// A column longer than this cannot be one array of 32-bit offsets.
const COLUMN_BYTES_MAX: u64 = 1 << 30;

/// Names the values of one column in one row group of one file's content, in the form of a field's
/// type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ColumnKey {
    identity: FileIdentity,
    column: String,
    data_type: DataType,
    element_type: Option<DataType>,
    row_group: usize,
}

/// The values of one column in one row group.
struct Column(ArrayRef);

impl Weigh for Column {
    fn weigh(&self) -> usize {
        self.0.get_array_memory_size()
    }
}

/// Columns, the least recently used of which leave when the budget is exceeded.
pub(crate) struct ColumnCache {
    bytes_max: u64,
    columns: ByteCache<ColumnKey, Column>,
}

impl std::fmt::Debug for ColumnCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColumnCache").field("usage", &self.usage()).finish()
    }
}

impl ColumnCache {
    /// A cache that keeps up to `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max: bytes_max as u64, columns: ByteCache::new(bytes_max) }
    }

    /// How full the cache is now.
    pub(crate) fn usage(&self) -> CacheUsage {
        self.columns.usage()
    }

    /// Whether a column of this many decoded bytes is worth keeping.
    pub(crate) fn admits(&self, bytes: u64) -> bool {
        bytes < COLUMN_BYTES_MAX && bytes <= self.bytes_max / SHARE_MAX
    }

    /// Whether all the columns are there.
    pub(crate) fn has(
        &self,
        snapshot: &Snapshot,
        unit: &Unit,
        fields: &[FieldSchema],
    ) -> Result<bool> {
        for field in fields {
            if self.columns.get(&key(snapshot, unit, field)?).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The columns, if all of them are there.
    pub(crate) fn get(
        &self,
        snapshot: &Snapshot,
        unit: &Unit,
        fields: &[FieldSchema],
        stats: &IoStats,
    ) -> Result<Option<Vec<ArrayRef>>> {
        let columns = fields.iter().map(|field| {
            let column = self.columns.get(&key(snapshot, unit, field)?);
            Ok(column.map(|column| Arc::clone(&column.0)))
        });
        let columns: Option<Vec<ArrayRef>> = columns.collect::<Result<_>>()?;
        if columns.is_some() {
            fields.iter().for_each(|_| stats.count_cache(true));
        }
        Ok(columns)
    }

    /// The columns, each read as a whole when it is not there.
    ///
    /// # Errors
    /// Those of the file and the store.
    pub(crate) async fn get_or_read(
        &self,
        snapshot: &Snapshot,
        unit: &Unit,
        fields: &[FieldSchema],
        stats: &IoStats,
    ) -> Result<Vec<ArrayRef>> {
        let columns = fields.iter().map(async |field| {
            let key = key(snapshot, unit, field)?;
            let load = || async { read(snapshot, unit, field, stats).await.map(Arc::new) };
            let (column, was_there) = self.columns.get_or_load(&key, load).await?;
            stats.count_cache(was_there);
            Ok(Arc::clone(&column.0))
        });
        futures::future::try_join_all(columns).await
    }
}

fn key(snapshot: &Snapshot, unit: &Unit, field: &FieldSchema) -> Result<ColumnKey> {
    let (entry, _) = snapshot.file(unit.file)?;
    Ok(ColumnKey {
        identity: entry.identity.clone(),
        column: snapshot.manifest().column_key(field),
        data_type: field.data_type,
        element_type: field.element_type,
        row_group: unit.row_group,
    })
}

async fn read(
    snapshot: &Snapshot,
    unit: &Unit,
    field: &FieldSchema,
    stats: &IoStats,
) -> Result<Column> {
    let (_, file) = snapshot.file(unit.file)?;
    if let Some(column) = file.read_dictionary(field, unit.row_group, stats).await? {
        return Ok(Column(column));
    }
    let batches = file.read(std::slice::from_ref(field), unit.row_group, None, stats).await?;
    let parts: Vec<&dyn arrow::array::Array> =
        batches.iter().flat_map(RecordBatch::columns).map(AsRef::as_ref).collect();
    concat(&parts).map(Column).map_err(|error| {
        Error::internal(format!("the values of {} could not be joined", field.name))
            .caused_by(error)
    })
}
