//! The values of fields for the rows of its input.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{TryStreamExt as _, stream};
use pandion_source::columns;
use pandion_types::{Error, FieldId, FieldSchema, Result};

use super::batches::rows_of;
use super::{inbound, one_child, outbound, properties};
use crate::counters::Counters;
use crate::limits::ANSWER_BYTES_MAX;
use crate::snapshot::Snapshot;
use crate::take::{answer_too_large, row_bytes_min, take};

/// The batches of its input as one, followed by a column for each field, in the order of the input.
///
/// What it gives is bounded: rows or values that are too many are an error before all of them are in
/// memory.
pub struct RowTakeExec {
    input: Arc<dyn ExecutionPlan>,
    snapshot: Arc<Snapshot>,
    fields: Vec<FieldSchema>,
    counters: Arc<Counters>,
    bytes_max: usize,
    properties: Arc<PlanProperties>,
}

impl RowTakeExec {
    /// # Errors
    /// `Internal` for a field that the snapshot has not; `Unsupported` for one that cannot be read.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        snapshot: Arc<Snapshot>,
        fields: Vec<FieldSchema>,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let mut columns: Vec<Arc<Field>> = input.schema().fields().iter().cloned().collect();
        for field in &fields {
            let values = columns::canonical_type(field)?;
            columns.push(Arc::new(Field::new(&field.name, values, !field.is_primary_key)));
        }
        let properties = properties(Arc::new(Schema::new(columns)), 1, EmissionType::Final);
        let bytes_max = ANSWER_BYTES_MAX;
        Ok(Self { input, snapshot, fields, counters, bytes_max, properties })
    }

    /// The same with another bound on the bytes of the values, instead of [`ANSWER_BYTES_MAX`].
    pub(crate) fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = FieldId> + '_ {
        self.fields.iter().map(|field| field.id)
    }
}

impl ExecutionPlan for RowTakeExec {
    fn name(&self) -> &'static str {
        "RowTakeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let node = Self::new(
            one_child(children)?,
            Arc::clone(&self.snapshot),
            self.fields.clone(),
            Arc::clone(&self.counters),
        );
        node.map(|node| Arc::new(node.with_bytes_max(self.bytes_max)) as _).map_err(outbound)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (schema, snapshot) = (self.schema(), Arc::clone(&self.snapshot));
        let fields: Vec<FieldId> = self.fields().collect();
        let (counters, bytes_max) = (Arc::clone(&self.counters), self.bytes_max);
        let input_schema = self.input.schema();
        let taken = stream::once(async move {
            let taken = async {
                let row_bytes = row_bytes_min(&snapshot, &fields)?;
                let batches = collect(input, row_bytes, bytes_max).await?;
                let found = concat_batches(&input_schema, &batches).map_err(joined)?;
                let _timer = counters.stages.take.start();
                let taken =
                    take(&snapshot, &fields, &rows_of(&found)?, bytes_max, &counters.io).await?;
                let mut columns: Vec<ArrayRef> = found.columns().to_vec();
                columns.extend(taken.into_iter().map(|column| column.values));
                RecordBatch::try_new(schema, columns).map_err(joined)
            };
            taken.await.map_err(outbound)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), taken)))
    }
}

/// The batches of the input, no more of them than rows that the answer has room for.
async fn collect(
    mut input: SendableRecordBatchStream,
    row_bytes: usize,
    bytes_max: usize,
) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut rows) = (Vec::new(), 0_usize);
    while let Some(batch) = input.try_next().await.map_err(inbound)? {
        rows = rows.saturating_add(batch.num_rows());
        let bytes = rows.saturating_mul(row_bytes);
        if bytes > bytes_max {
            return Err(answer_too_large(bytes, bytes_max));
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn joined(error: arrow::error::ArrowError) -> Error {
    inbound(error.into())
}

impl DisplayAs for RowTakeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
        write!(f, "RowTakeExec: fields=[{}]", names.join(", "))
    }
}

impl fmt::Debug for RowTakeExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}
