//! The row lineage that a file of a table carries itself: reserved columns with the ids of rows that
//! were rewritten, and with the sequence numbers of the commits that changed them last.
//!
//! What a row inherits where the columns are null, or not there, is not known here.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pandion_manifest::TableColumn;
use pandion_source::IoStats;
use pandion_types::{DataType, Error, FieldSchema, Result};

use crate::file::ParquetFile;
use crate::mapping::Source;

/// `_row_id` of the Iceberg specification.
const ROW_ID: i32 = 2_147_483_540;
/// `_last_updated_sequence_number`.
const LAST_UPDATED: i32 = 2_147_483_539;

/// What a file says of a row itself; `None` for what the row inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLineage {
    /// The row's id, unique in the table for as long as the row exists.
    pub row_id: Option<i64>,
    /// The sequence number of the commit that changed the row last.
    pub last_updated: Option<i64>,
}

impl ParquetFile {
    /// Whether the file has a column of row ids. Reads nothing.
    #[must_use]
    pub fn carries_row_ids(&self) -> bool {
        let [row_ids, _] = fields();
        let source = self.with_lineage().and_then(|file| file.source(&row_ids).map(is_column));
        source.unwrap_or(false)
    }

    /// The lineage that the file carries for the rows of a row group, in their order. Columns that
    /// the file lacks cost nothing.
    ///
    /// # Errors
    /// As [`Self::read`]; `InvalidArgument` when the file has no column ids.
    pub async fn row_lineage(&self, row_group: usize, stats: &IoStats) -> Result<Vec<RowLineage>> {
        let file = self.with_lineage()?;
        let batches = file.read(&fields(), row_group, None, stats).await?;
        let mut lineage = Vec::with_capacity(self.row_group_rows(row_group).len());
        for batch in &batches {
            let [row_ids, last_updated] = batch.columns() else {
                return Err(Error::internal("a column of row lineage was lost"));
            };
            let (Some(row_ids), Some(last_updated)) = (
                row_ids.as_primitive_opt::<Int64Type>(),
                last_updated.as_primitive_opt::<Int64Type>(),
            ) else {
                return Err(Error::internal("row lineage was not read as integers"));
            };
            let rows = row_ids.iter().zip(last_updated);
            lineage.extend(rows.map(|(row_id, last_updated)| RowLineage { row_id, last_updated }));
        }
        Ok(lineage)
    }

    /// The same file with the reserved columns in place of the collection's.
    fn with_lineage(&self) -> Result<Self> {
        let [row_ids, last_updated] = fields();
        let column = |field: &FieldSchema, column_id| TableColumn {
            field: field.id,
            column_id,
            name: field.name.clone(),
            names: Vec::new(),
            column_type: "long".to_owned(),
            default: None,
        };
        self.of_table(&[column(&row_ids, ROW_ID), column(&last_updated, LAST_UPDATED)], &[])
    }
}

fn is_column(source: Source<'_>) -> bool {
    matches!(source, Source::Column(_))
}

fn fields() -> [FieldSchema; 2] {
    [(1, "_row_id"), (2, "_last_updated_sequence_number")].map(|(id, name)| FieldSchema {
        type_params: std::collections::BTreeMap::new(),
        external_field: None,
        ..FieldSchema::mapped(id, name, DataType::Int64)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::testing::{open, write, write_with_ids};

    fn column(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[tokio::test]
    async fn lineage_is_read_by_column_id_and_is_null_where_a_file_has_none() {
        let values = column(&[Some(1), Some(2), Some(3)]);
        let ids = column(&[Some(7), None, Some(9)]);
        let numbers = column(&[Some(1), Some(1), None]);
        let columns = [
            ("_row_id", Some(1), Arc::clone(&values)),
            ("a", Some(ROW_ID), ids),
            ("b", Some(LAST_UPDATED), numbers),
        ];
        let groups = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let file = open(write_with_ids(&columns, groups.clone())).await;
        let stats = IoStats::default();
        let of = |row_id, last_updated| RowLineage { row_id, last_updated };
        assert!(file.carries_row_ids());
        let first = file.row_lineage(0, &stats).await.unwrap();
        assert_eq!(first, [of(Some(7), Some(1)), of(None, Some(1))]);
        assert_eq!(file.row_lineage(1, &stats).await.unwrap(), [of(Some(9), None)]);

        let plain = open(write_with_ids(&columns[..1], groups.clone())).await;
        let before = stats.counts();
        assert!(!plain.carries_row_ids());
        assert_eq!(plain.row_lineage(0, &stats).await.unwrap(), [of(None, None); 2]);
        assert_eq!(stats.counts().read_requests, before.read_requests);

        let without_ids = open(write(&[("_row_id", values)], groups)).await;
        assert!(!without_ids.carries_row_ids());
        assert!(without_ids.row_lineage(0, &stats).await.is_err());
    }
}
