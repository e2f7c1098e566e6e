//! The rows that a reader must find, kept in memory beside what is written. Works on the rows
//! themselves and never reads a file, a manifest or a delete file back.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use iceberg::spec::{Literal, PartitionSpecRef, Schema, SchemaRef, Struct};
use roaring::RoaringTreemap;

use super::files::Lineage;
use super::project::project;
use super::values::literals;
use crate::convert::{to_i64, to_u64, to_usize};

/// A live row of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// URI of the data file.
    pub file: String,
    /// Number of the row in its file, from 0.
    pub position: u64,
    /// `_row_id`, in tables that keep row lineage.
    pub row_id: Option<i64>,
    /// `_last_updated_sequence_number`, in tables that keep row lineage.
    pub last_updated_sequence_number: Option<i64>,
    /// Values by column of the snapshot's schema, `None` for null.
    pub values: BTreeMap<String, Option<Literal>>,
}

/// The rows of a data file, as they were written.
#[derive(Clone, Debug)]
pub(super) struct FileRows {
    pub(super) uri: String,
    pub(super) spec: PartitionSpecRef,
    pub(super) partition: Struct,
    pub(super) schema: SchemaRef,
    pub(super) batch: RecordBatch,
    pub(super) lineage: Option<Lineage>,
}

impl FileRows {
    pub(super) fn count(&self) -> u64 {
        to_u64(self.batch.num_rows())
    }

    /// The rows as a reader with another schema sees them.
    ///
    /// # Errors
    /// A schema to which no evolution leads.
    pub(super) fn batch_as(&self, schema: &Schema) -> anyhow::Result<RecordBatch> {
        project(&self.batch, &self.schema, schema)
            .with_context(|| format!("as another schema sees {}", self.uri))
    }
}

/// A data file of a snapshot, with its dead rows.
#[derive(Clone, Debug)]
pub(super) struct LiveFile {
    pub(super) rows: Arc<FileRows>,
    pub(super) sequence_number: i64,
    pub(super) first_row_id: Option<i64>,
    /// Dead by any delete.
    pub(super) dead: Arc<RoaringTreemap>,
    /// Dead by position, as a deletion vector of the file must say.
    pub(super) dead_by_position: Arc<RoaringTreemap>,
}

impl LiveFile {
    pub(super) fn new(rows: FileRows, sequence_number: i64) -> Self {
        Self {
            rows: Arc::new(rows),
            sequence_number,
            first_row_id: None,
            dead: Arc::default(),
            dead_by_position: Arc::default(),
        }
    }

    pub(super) fn live(&self) -> u64 {
        self.rows.count().saturating_sub(self.dead.len())
    }

    /// The numbers of the live rows.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.rows.count()).filter(|position| !self.dead.contains(*position))
    }

    /// The live rows as a reader with this schema sees them.
    ///
    /// # Errors
    /// As [`FileRows::batch_as`].
    pub(super) fn batch_as(&self, schema: &Schema) -> anyhow::Result<RecordBatch> {
        let positions = self.positions().map(u32::try_from).collect::<Result<Vec<_>, _>>()?;
        let all = self.rows.batch_as(schema)?;
        Ok(take_record_batch(&all, &UInt32Array::from(positions))?)
    }

    /// `_row_id` of a row.
    pub(super) fn row_id(&self, position: u64) -> Option<i64> {
        let first = self.first_row_id?;
        let at = to_usize(position);
        let written = self.rows.lineage.as_ref().and_then(|lineage| lineage.row_id(at));
        Some(written.unwrap_or_else(|| first + to_i64(at)))
    }

    /// `_last_updated_sequence_number` of a row.
    pub(super) fn last_updated(&self, position: u64) -> Option<i64> {
        self.first_row_id?;
        let at = to_usize(position);
        let written = self.rows.lineage.as_ref().and_then(|lineage| lineage.last_updated(at));
        Some(written.unwrap_or(self.sequence_number))
    }

    /// The live rows.
    ///
    /// # Errors
    /// As [`FileRows::batch_as`].
    pub(super) fn rows(&self, schema: &Schema) -> anyhow::Result<Vec<Row>> {
        let batch = self.batch_as(schema)?;
        let fields = schema.as_struct().fields();
        let columns = batch.columns().iter().zip(fields);
        let columns = columns
            .map(|(column, field)| Ok((&field.name, literals(column, &field.field_type)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let rows = self.positions().enumerate().map(|(at, position)| Row {
            file: self.rows.uri.clone(),
            position,
            row_id: self.row_id(position),
            last_updated_sequence_number: self.last_updated(position),
            values: columns
                .iter()
                .map(|(name, values)| ((*name).clone(), values[at].clone()))
                .collect(),
        });
        Ok(rows.collect())
    }
}
