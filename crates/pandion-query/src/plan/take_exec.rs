//! The values of fields for the rows of its input.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
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
use crate::snapshot::Snapshot;
use crate::take::take;

/// The batches of its input as one, followed by a column for each field, in the order of the input.
pub struct RowTakeExec {
    input: Arc<dyn ExecutionPlan>,
    snapshot: Arc<Snapshot>,
    fields: Vec<FieldSchema>,
    counters: Arc<Counters>,
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
        Ok(Self { input, snapshot, fields, counters, properties })
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
        node.map(|node| Arc::new(node) as Arc<dyn ExecutionPlan>).map_err(outbound)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (schema, snapshot) = (self.schema(), Arc::clone(&self.snapshot));
        let fields: Vec<FieldId> = self.fields().collect();
        let counters = Arc::clone(&self.counters);
        let input_schema = self.input.schema();
        let taken = stream::once(async move {
            let batches: Vec<RecordBatch> = input.try_collect().await?;
            let taken = async {
                let found = concat_batches(&input_schema, &batches).map_err(joined)?;
                take_all(&snapshot, &fields, &found, &schema, &counters).await
            };
            taken.await.map_err(outbound)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), taken)))
    }
}

async fn take_all(
    snapshot: &Arc<Snapshot>,
    fields: &[FieldId],
    found: &RecordBatch,
    schema: &SchemaRef,
    counters: &Counters,
) -> Result<RecordBatch> {
    let rows = rows_of(found)?;
    let _timer = counters.stages.take.start();
    let taken = take(snapshot, fields, &rows, &counters.io).await?;
    let mut columns: Vec<ArrayRef> = found.columns().to_vec();
    columns.extend(taken.into_iter().map(|column| column.values));
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(joined)
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
