//! Columns of the matching rows, for nodes that look at all of them.
//!
//! Nothing is kept: what is read is handed on, row group after row group, so that a collection
//! larger than memory passes through. The values of few given rows are `RowTakeExec`'s.

mod forms;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{TryStreamExt as _, stream};
use pandion_types::{Error, FieldSchema, Result, RowId};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::forms::{Form, from_ordered};
use super::batches::matches_in;
use super::{one_child, outbound, properties};
use crate::counters::Counters;
use crate::scan::Matches;
use crate::selection::selection_of_bitmap;
use crate::snapshot::Snapshot;

/// A field in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormedColumn {
    pub(crate) field: FieldSchema,
    pub(crate) form: Form,
}

/// One row per matching row of its input, in ascending order of row id within a partition. The
/// columns are called by their numbers.
///
/// Row groups are read several at a time, each in a task of its own; dropping the stream stops them.
pub struct ColumnsExec {
    input: Arc<dyn ExecutionPlan>,
    read: Arc<ColumnRead>,
    in_flight: usize,
    properties: Arc<PlanProperties>,
}

/// What is read of every row group.
struct ColumnRead {
    snapshot: Arc<Snapshot>,
    columns: Vec<FormedColumn>,
    /// The fields of the columns that are in files, each once.
    mapped: Vec<FieldSchema>,
    schema: Arc<Schema>,
    counters: Arc<Counters>,
}

impl ColumnsExec {
    /// # Errors
    /// `Unsupported` for a field that cannot be read.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        snapshot: Arc<Snapshot>,
        columns: Vec<FormedColumn>,
        in_flight: usize,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let described = columns.iter().enumerate().map(|(at, column)| {
            Ok(Field::new(at.to_string(), column.form.arrow_type(&column.field)?, true))
        });
        let schema = Arc::new(Schema::new(described.collect::<Result<Vec<_>>>()?));
        let mut mapped: Vec<FieldSchema> = Vec::new();
        for FormedColumn { field, .. } in &columns {
            if !field.is_primary_key && !mapped.contains(field) {
                mapped.push(field.clone());
            }
        }
        let partitions = input.output_partitioning().partition_count();
        let properties = properties(Arc::clone(&schema), partitions, EmissionType::Incremental);
        let read = Arc::new(ColumnRead { snapshot, columns, mapped, schema, counters });
        Ok(Self { input, read, in_flight, properties })
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.read.snapshot
    }

    pub(super) fn columns(&self) -> &[FormedColumn] {
        &self.read.columns
    }
}

impl ExecutionPlan for ColumnsExec {
    fn name(&self) -> &'static str {
        "ColumnsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
            Arc::clone(&self.read.snapshot),
            self.read.columns.clone(),
            self.in_flight,
            Arc::clone(&self.read.counters),
        );
        node.map(|node| Arc::new(node) as _).map_err(outbound)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let read = Arc::clone(&self.read);
        let batches = matches_in(input)
            .map_ok(move |found| {
                let read = Arc::clone(&read);
                async move {
                    let task = tokio::spawn(async move { read.row_group(found).await });
                    AbortOnDropHandle::new(task).await.map_err(|error| {
                        Error::internal("a task that read columns ended abnormally")
                            .caused_by(error)
                    })?
                }
            })
            .try_buffered(self.in_flight.max(1))
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten()
            .map_err(outbound);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

impl ColumnRead {
    async fn row_group(&self, found: Matches) -> Result<Vec<RecordBatch>> {
        let _timer = self.counters.stages.columns.start();
        let (entry, file) = self.snapshot.file(found.unit.file)?;
        let rows = found.count();
        let read = if self.mapped.is_empty() {
            vec![None]
        } else {
            let some = found.rows.as_ref().filter(|_| rows < found.unit.rows);
            let selection = some.map(|rows| selection_of_bitmap(rows));
            let row_group = found.unit.row_group;
            let read = file.read(&self.mapped, row_group, selection, &self.counters.io).await?;
            read.into_iter().map(Some).collect()
        };
        let first = RowId::new(entry.id, found.unit.first_row).get();
        let mut keys = self.keys(&found, first);
        let mut batches = Vec::with_capacity(read.len());
        let mut taken = 0;
        for batch in read {
            let count = batch.as_ref().map_or(rows, RecordBatch::num_rows);
            let keys = keys
                .as_mut()
                .map(|keys| Arc::new(keys.take(count).collect::<Int64Array>()) as ArrayRef);
            batches.push(self.batch(batch.as_ref(), keys.as_ref(), count)?);
            taken += count;
        }
        if taken != rows {
            return Err(Error::corrupt(format!("{taken} rows were decoded, {rows} match"))
                .with("file", &entry.identity.uri)
                .with("row_group", found.unit.row_group));
        }
        Ok(batches)
    }

    /// The primary keys of the rows, if a column is made of them.
    fn keys<'a>(
        &self,
        found: &'a Matches,
        first: i64,
    ) -> Option<Box<dyn Iterator<Item = Option<i64>> + Send + 'a>> {
        let key = move |row: usize| i64::try_from(row).ok()?.checked_add(first);
        let is_asked = self.columns.iter().any(|column| column.field.is_primary_key);
        is_asked.then(|| match &found.rows {
            Some(matching) => Box::new(matching.iter().map(key)) as _,
            None => Box::new((0..found.unit.rows).map(key)) as _,
        })
    }

    fn batch(
        &self,
        read: Option<&RecordBatch>,
        keys: Option<&ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch> {
        let lost = || Error::internal("a column was lost while reading");
        let columns = self.columns.iter().zip(self.schema.fields()).map(|(column, into)| {
            let FormedColumn { field, form } = column;
            let values = if field.is_primary_key {
                keys
            } else {
                let at = self.mapped.iter().position(|known| known.id == field.id);
                at.zip(read).and_then(|(at, read)| read.columns().get(at))
            };
            form.of(values.ok_or_else(lost)?, into.data_type())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(
            |error| Error::internal("columns of the matching rows do not fit").caused_by(error),
        )
    }
}

impl DisplayAs for ColumnsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.read.columns.iter();
        let columns: Vec<String> =
            columns.map(|column| format!("{} {:?}", column.field.name, column.form)).collect();
        write!(f, "ColumnsExec: columns=[{}]", columns.join(", "))
    }
}

impl fmt::Debug for ColumnsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}
