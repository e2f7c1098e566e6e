//! Plans the first rows in the order of some fields.
//!
//! All matching rows are looked at, their ordering columns streamed through DataFusion's top-k;
//! what is kept is as many rows as are asked for. Rows that are equal in every field are in
//! ascending order of row id, so that an answer is the same every time.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use pandion_types::{Error, Result};

use crate::counters::Counters;
use crate::engine::{QueryEngine, resolve};
use crate::plan::{ColumnsExec, FilterBitmapExec, Form, FormedColumn, ROW, unplanned};
use crate::request::{OrderBy, QueryRequest};
use crate::snapshot::Snapshot;

impl QueryEngine {
    /// The row ids of the page that `request` asks for, in its order.
    ///
    /// # Errors
    /// `Unsupported` for a field that cannot be read.
    pub(crate) fn ordered_rows_plan(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &QueryRequest,
        filter: Arc<FilterBitmapExec>,
        counters: &Arc<Counters>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = columns(snapshot, &request.order)?;
        let key = columns.len() - 1;
        let order = ordering(&columns, &request.order)?;
        let read = ColumnsExec::new(
            filter,
            Arc::clone(snapshot),
            columns,
            self.in_flight(),
            Arc::clone(counters),
        )?;
        let fetch = request.limit.map(|limit| limit.saturating_add(request.offset));
        let sorted = sorted(Arc::new(read), order, fetch);
        let page = GlobalLimitExec::new(sorted, request.offset, request.limit);
        let row = (Arc::new(Column::new(&key.to_string(), key)) as _, ROW.to_owned());
        let rows = ProjectionExec::try_new([row], Arc::new(page)).map_err(unplanned)?;
        Ok(Arc::new(rows))
    }
}

/// The rows of all partitions in one order, the first `fetch` of them.
pub(crate) fn sorted(
    input: Arc<dyn ExecutionPlan>,
    order: LexOrdering,
    fetch: Option<usize>,
) -> Arc<dyn ExecutionPlan> {
    let partitions = input.output_partitioning().partition_count();
    let sorted = SortExec::new(order.clone(), input).with_fetch(fetch);
    if partitions == 1 {
        return Arc::new(sorted);
    }
    let sorted = Arc::new(sorted.with_preserve_partitioning(true));
    Arc::new(SortPreservingMergeExec::new(order, sorted).with_fetch(fetch))
}

/// How Arrow sorts what `key` asks for.
pub(crate) fn sort_options(key: &OrderBy) -> SortOptions {
    SortOptions { descending: key.descending, nulls_first: key.nulls_first }
}

/// The fields of the order, each once, and the primary key last.
fn columns(snapshot: &Snapshot, order: &[OrderBy]) -> Result<Vec<FormedColumn>> {
    let ids: Vec<_> = order.iter().map(|key| key.field).collect();
    let mut columns: Vec<FormedColumn> = Vec::new();
    for field in resolve(snapshot, &ids)? {
        let column = FormedColumn { field, form: Form::Comparable };
        if !column.field.is_primary_key && !columns.contains(&column) {
            columns.push(column);
        }
    }
    let key = snapshot.schema().fields.iter().find(|field| field.is_primary_key);
    let key = key.ok_or_else(|| Error::internal("no primary key to order by"))?;
    columns.push(FormedColumn { field: key.clone(), form: Form::Plain });
    Ok(columns)
}

fn ordering(columns: &[FormedColumn], order: &[OrderBy]) -> Result<LexOrdering> {
    let sort = |at: usize, options: SortOptions| {
        PhysicalSortExpr::new(Arc::new(Column::new(&at.to_string(), at)), options)
    };
    let mut keys = Vec::with_capacity(order.len() + 1);
    for key in order {
        if let Some(at) = columns.iter().position(|column| column.field.id == key.field) {
            keys.push(sort(at, sort_options(key)));
        }
    }
    keys.push(sort(columns.len() - 1, SortOptions::default()));
    // Of a field that is named twice, the first time counts.
    LexOrdering::new(keys).ok_or_else(|| Error::internal("there is nothing to order by"))
}
