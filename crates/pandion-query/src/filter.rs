//! A filter, ready to be evaluated on batches of a file's columns.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use pandion_filter::{Filter, PkConstraint};
use pandion_index::Bitmap;
use pandion_manifest::DataFile;
use pandion_source::columns;
use pandion_types::{
    CollectionSchema, Error, FieldSchema, FileId, Result, RowId, Subject, VIRTUAL_PK_NAME,
};

use crate::compile::{self, Columns};
use crate::prune::Pruner;

/// A filter of one collection, compiled for DataFusion.
#[derive(Debug)]
pub(crate) struct CompiledFilter {
    /// The fields that are read from files, in the order of the batch's first columns.
    fields: Vec<FieldSchema>,
    /// Whether the batch has the primary key as its last column.
    uses_key: bool,
    /// The batch, its columns named as the source names them, so that statistics can be found.
    columns: SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
    pruner: Pruner,
    key: Option<PkConstraint>,
}

impl CompiledFilter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// `Unsupported` that names the operator when it is not built.
    pub(crate) fn new(filter: &Filter, schema: &CollectionSchema) -> Result<Self> {
        let referenced = filter.referenced_fields();
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        let mut positions = HashMap::new();
        let mut key = None;
        for field in schema.fields.iter().filter(|field| referenced.contains(&field.id)) {
            if field.is_primary_key {
                key = Some(field.id);
                continue;
            }
            positions.insert(field.id, columns.len());
            let name = field.external_field.as_ref().unwrap_or(&field.name);
            columns.push(Field::new(name, columns::canonical_type(field)?, true));
            fields.push(field.clone());
        }
        if let Some(key) = key {
            positions.insert(key, columns.len());
            let int64 = arrow::datatypes::DataType::Int64;
            columns.push(Field::new(VIRTUAL_PK_NAME, int64, false));
        }
        let columns = Columns { schema: Arc::new(Schema::new(columns)), positions };
        let predicate = compile::predicate(&filter.predicate, &columns)?;
        let pruner = Pruner::new(&predicate, &columns.schema, &fields);
        Ok(Self {
            fields,
            uses_key: key.is_some(),
            columns: columns.schema,
            predicate,
            pruner,
            key: pandion_filter::pk_constraint(&filter.predicate),
        })
    }

    pub(crate) fn fields(&self) -> &[FieldSchema] {
        &self.fields
    }

    pub(crate) fn pruner(&self) -> &Pruner {
        &self.pruner
    }

    /// The rows of a file that the filter's terms on the primary key leave, as ascending ranges;
    /// `None` when the filter has no such term.
    pub(crate) fn key_rows(&self, file: &DataFile) -> Option<Vec<Range<u32>>> {
        let rows = u32::try_from(file.rows()).unwrap_or(u32::MAX);
        let first = RowId::new(file.id, 0).get();
        Some(match self.key.as_ref()? {
            PkConstraint::Range { lower, upper } => {
                let last = first + i64::from(rows) - 1;
                let (from, to) = ((*lower).max(first), (*upper).min(last));
                if from > to {
                    return Some(Vec::new());
                }
                let from = offset(from - first);
                let to = offset(to - first);
                std::iter::once(from..to + 1).collect()
            }
            PkConstraint::Ids(keys) => {
                let from = keys.partition_point(|&key| key < first);
                let to = keys.partition_point(|&key| key < first + i64::from(rows));
                let keys = keys.get(from..to).unwrap_or_default();
                keys.iter().map(|key| offset(key - first)).map(|row| row..row + 1).collect()
            }
        })
    }

    /// Evaluates the filter on decoded rows and adds those that match to `matching`.
    ///
    /// `batch` holds the columns of [`Self::fields`], or is `None` when there are none; `at` says
    /// where in the row group each row stands.
    pub(crate) fn evaluate(
        &self,
        batch: Option<&RecordBatch>,
        file: FileId,
        first_row: u32,
        at: &[usize],
        matching: &mut Bitmap,
    ) -> Result<()> {
        let mut arrays: Vec<ArrayRef> =
            batch.map(|batch| batch.columns().to_vec()).unwrap_or_default();
        if self.uses_key {
            let first = RowId::new(file, first_row).get();
            let keys = at.iter().map(|&row| first + i64::try_from(row).unwrap_or(i64::MAX - first));
            arrays.push(Arc::new(Int64Array::from_iter_values(keys)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(at.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.columns), arrays, &options)
            .map_err(|error| {
                Error::internal("the columns of the filter do not fit together").caused_by(error)
            })?;
        let values = self
            .predicate
            .evaluate(&batch)
            .and_then(|values| values.into_array(at.len()))
            .map_err(failed)?;
        let values = values
            .as_any()
            .downcast_ref::<BooleanArray>()
            .ok_or_else(|| Error::internal("a filter gave something other than booleans"))?;
        for (row, &at) in at.iter().enumerate() {
            // Unknown is not a match.
            if values.is_valid(row) && values.value(row) {
                matching.insert(at);
            }
        }
        Ok(())
    }
}

fn failed(error: DataFusionError) -> Error {
    match error {
        // Raised for values of the file that are not what their column says.
        DataFusionError::Execution(text) => Error::corrupt(text).about(Subject::Source),
        error => Error::internal("evaluating the filter failed").caused_by(error),
    }
}

/// A difference of two keys of one file; both lie inside the file, so that it fits.
fn offset(difference: i64) -> u32 {
    debug_assert!((0..=i64::from(u32::MAX)).contains(&difference));
    u32::try_from(difference).unwrap_or(u32::MAX)
}
