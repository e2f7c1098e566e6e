//! Finds the first rows in the order of some fields.
//!
//! All matching rows are looked at, their ordering columns streamed through DataFusion's top-k;
//! what is kept is as many rows as are asked for. Rows that are equal in every field are in
//! ascending order of row id, so that an answer is the same every time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType as ArrowType, Float32Type, Float64Type, Int64Type};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pandion_types::{Error, FieldSchema, Result, RowId};

use crate::aggregate::sort_options;
use crate::engine::QueryEngine;
use crate::filter::CompiledFilter;
use crate::plan;
use crate::request::QueryRequest;
use crate::scan::Counters;
use crate::selected::{schema_of, selected_columns};
use crate::snapshot::Snapshot;

impl QueryEngine {
    /// The rows of the page that `request` asks for, in its order.
    ///
    /// # Errors
    /// As [`Self::query`]; `InvalidArgument` when the rows that must be kept need more memory than
    /// one request may use.
    pub(crate) async fn ordered_rows(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &QueryRequest,
        filter: Option<&Arc<CompiledFilter>>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<RowId>> {
        let fields = ordering_fields(snapshot, request)?;
        let batches = selected_columns(snapshot, filter, &fields, counters, self.in_flight())?;
        let plan = sorted(&fields, batches, request)?;
        let mut sorted = plan::execute(&plan, self.limits().memory_bytes_max)?;
        let mut rows = Vec::new();
        while let Some(batch) = sorted.try_next().await? {
            append(&batch, &mut rows)?;
        }
        rows.drain(..request.offset.min(rows.len()));
        Ok(rows)
    }
}

/// The fields of the order, each once, and the primary key last.
fn ordering_fields(snapshot: &Snapshot, request: &QueryRequest) -> Result<Vec<FieldSchema>> {
    let schema = snapshot.schema();
    let mut fields: Vec<FieldSchema> = Vec::new();
    for key in &request.order {
        let field = schema
            .field_by_id(key.field)
            .ok_or_else(|| Error::internal(format!("no field with id {}", key.field)))?;
        if !field.is_primary_key && !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    let key = schema.fields.iter().find(|field| field.is_primary_key);
    fields.push(key.ok_or_else(|| Error::internal("no primary key to order by"))?.clone());
    Ok(fields)
}

fn sorted(
    fields: &[FieldSchema],
    batches: BoxStream<'static, Result<RecordBatch>>,
    request: &QueryRequest,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = schema_of(fields)?;
    let comparable = batches.map(|batch| comparable(&batch?)).boxed();
    let source = plan::source(&schema, comparable)?;
    let sort = |at: usize, options: SortOptions| {
        PhysicalSortExpr::new(Arc::new(Column::new(schema.field(at).name(), at)), options)
    };
    let mut order = Vec::with_capacity(request.order.len() + 1);
    for key in &request.order {
        // A field that is named twice is ordered by the first time.
        if let Some(at) = fields.iter().position(|field| field.id == key.field) {
            order.push(sort(at, sort_options(key)));
        }
    }
    order.push(sort(fields.len() - 1, SortOptions::default()));
    let order =
        LexOrdering::new(order).ok_or_else(|| Error::internal("there is nothing to order by"))?;
    let fetch = request.limit.map(|limit| limit.saturating_add(request.offset));
    Ok(Arc::new(SortExec::new(order, source).with_fetch(fetch)))
}

/// Arrow tells the zeros and the NaNs apart; here they are equal.
fn comparable(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| -> ArrayRef {
            match column.data_type() {
                ArrowType::Float32 => {
                    let floats = column.as_primitive::<Float32Type>();
                    let plain = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
                    Arc::new(floats.unary::<_, Float32Type>(plain)) as ArrayRef
                }
                ArrowType::Float64 => {
                    let floats = column.as_primitive::<Float64Type>();
                    let plain = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
                    Arc::new(floats.unary::<_, Float64Type>(plain)) as ArrayRef
                }
                _ => Arc::clone(column),
            }
        })
        .collect();
    RecordBatch::try_new(batch.schema(), columns)
        .map_err(|error| Error::internal("ordering columns do not fit").caused_by(error))
}

/// Adds the row ids, which are the last column.
fn append(batch: &RecordBatch, rows: &mut Vec<RowId>) -> Result<()> {
    let keys = batch.columns().last().and_then(|keys| keys.as_primitive_opt::<Int64Type>());
    let keys = keys.ok_or_else(|| Error::internal("sorted rows have no keys"))?;
    for &key in keys.values() {
        let row = RowId::from_i64(key);
        rows.push(row.ok_or_else(|| Error::internal(format!("{key} is no row id")))?);
    }
    Ok(())
}
