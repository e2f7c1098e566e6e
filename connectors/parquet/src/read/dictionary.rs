//! Columns of few distinct strings, as numbers into the list of these strings.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use pandion_source::IoStats;
use pandion_types::{DataType, Error, FieldSchema, Result};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::Plan;
use crate::file::ParquetFile;
use crate::guard;
use crate::mapping::{Found, Source};

/// Bytes per value above which a column chunk cannot consist of numbers into a dictionary alone: a
/// string takes four for its length.
const BYTES_PER_VALUE_MAX: u64 = 3;

impl ParquetFile {
    /// Reads a field of strings of a row group as one array of type `Dictionary(Int32, Utf8)`.
    /// `None`, and nothing is read, when the file does not have the column in that form, or the
    /// field is not of strings.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_dictionary(
        &self,
        field: &FieldSchema,
        row_group: usize,
        stats: &IoStats,
    ) -> Result<Option<ArrayRef>> {
        let Some(metadata) = self.dictionary_metadata(field, row_group)? else { return Ok(None) };
        let plan = Plan::new(self, std::slice::from_ref(field), row_group)?;
        let batches = plan.run(&metadata, row_group, None, stats).await?;
        let expected = self.row_group_rows(row_group).len();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows != expected {
            return Err(plan.wrong_rows(rows, expected));
        }
        let parts = batches.iter().map(|batch| batch.columns().first());
        let parts: Option<Vec<&dyn Array>> = parts.map(|part| part.map(AsRef::as_ref)).collect();
        let parts = parts.ok_or_else(|| Error::internal("a column was lost"))?;
        let wanted = dictionary_of(ArrowType::Utf8);
        let joined = concat(&parts).and_then(|joined| cast(&joined, &wanted));
        joined.map(Some).map_err(|error| {
            Error::internal(format!("{}: joining a column failed", plan.place)).caused_by(error)
        })
    }

    /// How to read the column so; `None` when it is not worth it.
    fn dictionary_metadata(
        &self,
        field: &FieldSchema,
        row_group: usize,
    ) -> Result<Option<ArrowReaderMetadata>> {
        if !matches!(field.data_type, DataType::VarChar | DataType::Text | DataType::Json) {
            return Ok(None);
        }
        let column = match self.source(field)? {
            Source::Column(Found { column, projection: None }) => column,
            Source::Column(_) | Source::Value(_) => return Ok(None),
        };
        let chunk = self.row_group(row_group)?.columns().get(column.leaves.start);
        let Some(chunk) = chunk.filter(|_| column.leaves.len() == 1) else { return Ok(None) };
        let bytes = u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX);
        let values = u64::try_from(chunk.num_values()).unwrap_or(0);
        if chunk.dictionary_page_offset().is_none()
            || bytes > values.saturating_mul(BYTES_PER_VALUE_MAX)
        {
            return Ok(None);
        }
        let Some(place) = self.plain_column(field) else { return Ok(None) };
        let schema = self.arrow_schema();
        let strings = match schema.fields().get(place).map(|field| field.data_type()) {
            Some(strings @ (ArrowType::Utf8 | ArrowType::LargeUtf8)) => strings.clone(),
            _ => return Ok(None),
        };
        let fields = schema.fields().iter().enumerate().map(|(at, field)| {
            if at == place {
                let as_numbers = dictionary_of(strings.clone());
                Arc::new(Field::new(field.name(), as_numbers, field.is_nullable()))
            } else {
                Arc::clone(field)
            }
        });
        let schema =
            Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        let place = format!("{}: schema", self.uri());
        // A schema that the reader refuses is read plainly instead.
        guard::guarded(&place, || {
            Ok(ArrowReaderMetadata::try_new(Arc::clone(self.metadata()), options).ok())
        })
    }
}

fn dictionary_of(values: ArrowType) -> ArrowType {
    ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(values))
}
