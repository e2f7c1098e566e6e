//! Between what the keys of equality deletes lie, so that row groups that lie elsewhere are not read.
//!
//! For whole numbers, dates and text; keys of other types may be anywhere.

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType as ArrowType, Int32Type, Int64Type};
use iceberg::spec::PrimitiveType;
use pandion_connector_parquet::ParquetFile;
use parquet::basic::{ColumnOrder, SortOrder};
use parquet::file::statistics::Statistics;

/// Where the values of one column of a set of keys lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySpan {
    has_null: bool,
    range: Range,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Range {
    /// There is no value.
    #[default]
    Empty,
    Int(i64, i64),
    Text(String, String),
    /// Anywhere.
    All,
}

impl KeySpan {
    /// Takes in more values of a column of this type, in the form in which they are compared.
    pub(crate) fn extend(&mut self, kind: &PrimitiveType, values: &ArrayRef) {
        self.has_null |= values.null_count() > 0;
        let more = match (kind, values.data_type()) {
            (PrimitiveType::Int | PrimitiveType::Date, ArrowType::Int32) => {
                let values = values.as_primitive::<Int32Type>();
                min(values).zip(max(values)).map(|(min, max)| Range::Int(min.into(), max.into()))
            }
            (PrimitiveType::Long, ArrowType::Int64) => {
                let values = values.as_primitive::<Int64Type>();
                min(values).zip(max(values)).map(|(min, max)| Range::Int(min, max))
            }
            (PrimitiveType::String, ArrowType::Utf8) => {
                let values = values.as_string::<i32>();
                let bounds = min_string(values).zip(max_string(values));
                bounds.map(|(min, max)| Range::Text(min.to_owned(), max.to_owned()))
            }
            _ => Some(Range::All),
        };
        self.join(Self { has_null: false, range: more.unwrap_or_default() });
    }

    /// Takes in the values of another span of the same column.
    pub(crate) fn join(&mut self, more: Self) {
        self.has_null |= more.has_null;
        let held = std::mem::take(&mut self.range);
        self.range = match (held, more.range) {
            (Range::Empty, range) | (range, Range::Empty) => range,
            (Range::Int(low, high), Range::Int(min, max)) => {
                Range::Int(low.min(min), high.max(max))
            }
            (Range::Text(low, high), Range::Text(min, max)) => {
                Range::Text(low.min(min), high.max(max))
            }
            _ => Range::All,
        };
    }

    /// Whether a row group may hold one of the values in the top-level column at `root`.
    pub(crate) fn may_be_in(&self, file: &ParquetFile, row_group: usize, root: usize) -> bool {
        let schema = file.metadata().file_metadata().schema_descr();
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
        let group = file.metadata().row_groups().get(row_group);
        let chunk = leaf.zip(group).and_then(|(leaf, group)| group.columns().get(leaf));
        let Some(statistics) = chunk.and_then(|chunk| chunk.statistics()) else { return true };
        if self.has_null && statistics.null_count_opt() != Some(0) {
            return true;
        }
        match (&self.range, statistics) {
            (Range::Empty, _) => false,
            (Range::Int(low, high), Statistics::Int32(values)) => {
                let bounds = values.min_opt().zip(values.max_opt());
                bounds.is_none_or(|(min, max)| i64::from(*min) <= *high && *low <= i64::from(*max))
            }
            (Range::Int(low, high), Statistics::Int64(values)) => {
                let bounds = values.min_opt().zip(values.max_opt());
                bounds.is_none_or(|(min, max)| min <= high && low <= max)
            }
            (Range::Text(low, high), Statistics::ByteArray(values)) => {
                let order = leaf.map(|leaf| file.metadata().file_metadata().column_order(leaf));
                let is_by_bytes = !statistics.is_min_max_deprecated()
                    && order == Some(ColumnOrder::TYPE_DEFINED_ORDER(SortOrder::UNSIGNED));
                let bounds = values.min_bytes_opt().zip(values.max_bytes_opt());
                !is_by_bytes
                    || bounds
                        .is_none_or(|(min, max)| min <= high.as_bytes() && low.as_bytes() <= max)
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, RecordBatch, StringArray};
    use bytes::Bytes;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt as _};
    use pandion_connector_parquet::read_footer;
    use pandion_source::{IoStats, PinnedObject};
    use pandion_types::{ContentTag, FileIdentity};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// A file of a row group of numbers 0 to 9 and texts `a` to `c`, and one of 20 to 29 and
    /// `k` to `m` with a null.
    async fn file() -> ParquetFile {
        let numbers = (0..10).chain(20..30).collect::<Int64Array>();
        let texts = (0..20).map(|row| match row {
            0..10 => Some(["a", "b", "c"][row % 3]),
            19 => None,
            _ => Some(["k", "l", "m"][row % 3]),
        });
        let columns: [(&str, ArrayRef); 2] =
            [("n", Arc::new(numbers)), ("t", Arc::new(texts.collect::<StringArray>()))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let bytes = Bytes::from(bytes);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let at = Path::from("a.parquet");
        let size = bytes.len() as u64;
        store.put(&at, bytes.into()).await.unwrap();
        let identity =
            FileIdentity { uri: "s3://lake/a".to_owned(), size, tag: ContentTag::Immutable };
        let object = PinnedObject::new(store, at, identity);
        let footer = read_footer(&object, &IoStats::default()).await.unwrap();
        ParquetFile::open(object, &footer).unwrap()
    }

    fn span(kind: &PrimitiveType, arrays: &[ArrayRef]) -> KeySpan {
        let mut span = KeySpan::default();
        arrays.iter().for_each(|array| span.extend(kind, array));
        span
    }

    #[tokio::test]
    async fn row_groups_that_keys_cannot_be_in_are_told() {
        let file = file().await;
        let may = |span: &KeySpan, root| [0, 1].map(|group| span.may_be_in(&file, group, root));
        let longs = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        let long = &PrimitiveType::Long;
        assert_eq!(may(&span(long, &[longs(vec![Some(9), Some(4)])]), 0), [true, false]);
        assert_eq!(may(&span(long, &[longs(vec![Some(12)])]), 0), [false, false]);
        let both = [longs(vec![Some(12)]), longs(vec![Some(20)])];
        assert_eq!(may(&span(long, &both), 0), [false, true]);
        // No row group of numbers has a null.
        assert_eq!(may(&span(long, &[longs(vec![None])]), 0), [false, false]);
        assert_eq!(may(&KeySpan::default(), 0), [false, false]);
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![25]));
        assert_eq!(may(&span(&PrimitiveType::Int, &[ints]), 0), [false, true]);
        let instants = span(&PrimitiveType::Timestamp, &[longs(vec![Some(12)])]);
        assert_eq!(may(&instants, 0), [true, true]);
        let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let text = &PrimitiveType::String;
        assert_eq!(may(&span(text, &[texts(vec![Some("b")])]), 1), [true, false]);
        assert_eq!(may(&span(text, &[texts(vec![Some("b"), None])]), 1), [true, true]);
        assert_eq!(may(&span(text, &[texts(vec![Some("x")])]), 1), [false, false]);
    }
}
