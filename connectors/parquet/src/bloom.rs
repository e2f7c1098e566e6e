//! Bloom filters of column chunks: whether a row group can hold a value.

use arrow::datatypes::DataType as ArrowType;
use pandion_source::IoStats;
use pandion_types::{Error, FieldSchema, Result, Subject};
use parquet::basic::Type as PhysicalType;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ColumnChunkMetaData;

use crate::file::ParquetFile;
use crate::guard;
use crate::mapping::Source;

/// A filter is made of blocks of so many bytes.
const BLOCK_BYTES: u64 = 32;

/// A filter that is longer than one part in so many of its column is not worth reading first.
const COLUMN_SHARE: u64 = 4;

/// A value that a filter is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum BloomValue {
    /// Of an integer field of any width.
    Int(i64),
    /// Of a string field.
    Text(String),
}

/// The Bloom filter of one column in one row group.
#[derive(Debug)]
pub struct BloomFilter {
    filter: Sbbf,
    physical: PhysicalType,
}

impl BloomFilter {
    /// Whether the row group may hold the value.
    #[must_use]
    pub fn may_hold(&self, value: &BloomValue) -> bool {
        match (value, self.physical) {
            (BloomValue::Int(value), PhysicalType::INT64) => self.filter.check(value),
            // What the column cannot hold it does not hold.
            (BloomValue::Int(value), PhysicalType::INT32) => {
                i32::try_from(*value).is_ok_and(|value| self.filter.check(&value))
            }
            (BloomValue::Text(value), PhysicalType::BYTE_ARRAY) => {
                self.filter.check(value.as_str())
            }
            _ => true,
        }
    }

    /// Bytes that it holds in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.filter.num_blocks().saturating_mul(32)
    }
}

impl ParquetFile {
    /// Reads the Bloom filter of a field's column in a row group; `None` when there is none that
    /// would help: none in the file, one nearly as long as the column, or a field whose values are
    /// not stored as they are compared.
    ///
    /// # Errors
    /// `Corrupt` that names the file for a malformed filter; those of the store.
    pub async fn bloom_filter(
        &self,
        field: &FieldSchema,
        row_group: usize,
        stats: &IoStats,
    ) -> Result<Option<BloomFilter>> {
        let Some((chunk, physical)) = self.bloom_column(field, row_group)? else { return Ok(None) };
        let place = format!("{}: row group {row_group}, column {}", self.uri(), field.name);
        let malformed =
            || Error::corrupt(format!("{place}: malformed Bloom filter")).about(Subject::Source);
        let (Some(start), Some(length)) =
            (chunk.bloom_filter_offset(), chunk.bloom_filter_length())
        else {
            return Ok(None);
        };
        let start = u64::try_from(start).map_err(|error| malformed().caused_by(error))?;
        let length = u64::try_from(length).map_err(|error| malformed().caused_by(error))?;
        let column = u64::try_from(chunk.compressed_size()).unwrap_or(0);
        if length > column / COLUMN_SHARE {
            return Ok(None);
        }
        let end = start.checked_add(length).ok_or_else(malformed)?;
        let bytes = self.object().read_range(start..end, stats).await?;
        let filter = guard::guarded(&place, || {
            Sbbf::from_bytes(&bytes).map_err(|error| malformed().caused_by(error))
        })?;
        let blocks = filter.num_blocks() as u64;
        if blocks == 0 || blocks.saturating_mul(BLOCK_BYTES) > length {
            return Err(malformed());
        }
        Ok(Some(BloomFilter { filter, physical }))
    }

    fn bloom_column(
        &self,
        field: &FieldSchema,
        row_group: usize,
    ) -> Result<Option<(&ColumnChunkMetaData, PhysicalType)>> {
        let Source::Column(found) = self.source(field)? else { return Ok(None) };
        let [leaf] = found.column.leaves.clone().collect::<Vec<_>>()[..] else { return Ok(None) };
        let chunk = self.row_group(row_group)?.columns().get(leaf);
        let (Some(chunk), Some(held_as)) = (chunk, found.held_as()) else { return Ok(None) };
        let physical = chunk.column_type();
        let is_integer = matches!(
            held_as,
            ArrowType::Int8 | ArrowType::Int16 | ArrowType::Int32 | ArrowType::Int64
        );
        let is_text = matches!(
            held_as,
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Binary | ArrowType::LargeBinary
        );
        // Integers that have been widened are in the filter as the file has them.
        let stored_as_compared = match physical {
            PhysicalType::INT32 | PhysicalType::INT64 => is_integer && field.data_type.is_integer(),
            PhysicalType::BYTE_ARRAY => is_text && field.data_type.is_string(),
            _ => false,
        };
        Ok((stored_as_compared && chunk.column_descr().max_rep_level() == 0)
            .then_some((chunk, physical)))
    }
}
