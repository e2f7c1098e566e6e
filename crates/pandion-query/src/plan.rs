//! The physical plan of a request: DataFusion `ExecutionPlan` nodes over one snapshot.
//!
//! | node | rows |
//! |---|---|
//! | [`FilterBitmapExec`] | one per row group: which of its rows match |
//! | [`MatchingRowsExec`] | one per matching row, in ascending order of row id |
//! | [`VectorTopKExec`] | one per candidate: query vector, row, score; the nearest of each partition |
//! | [`TopKMergeExec`] | the nearest of all partitions |
//! | [`ColumnsExec`] | one per matching row: columns that are aggregated or ordered by |
//! | [`RowIdsExec`] | given rows |
//! | [`RowTakeExec`] | the rows of its input with the values of fields |
//!
//! A partition is a set of files. Nothing else is shared between partitions, so that each can be
//! executed elsewhere: [`PlanCodec`] turns plans into bytes and back. Requests build their plans
//! here directly and pay for no SQL planning.

mod batches;
mod codec;
mod columns_exec;
mod filter_exec;
mod messages;
mod rows_exec;
mod take_exec;
mod topk_exec;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PlanProperties};
use pandion_types::{Error, Result};

pub(crate) use batches::{ROW, hits_of, matches_in, rows_of};
pub use codec::{CodecTransport, PlanCodec, SnapshotResolver};
pub use columns_exec::ColumnsExec;
pub(crate) use columns_exec::{Form, FormedColumn, from_ordered};
pub use filter_exec::FilterBitmapExec;
pub use rows_exec::{MatchingRowsExec, RowIdsExec};
pub use take_exec::RowTakeExec;
pub(crate) use topk_exec::Target;
pub use topk_exec::{TopKMergeExec, VectorTopKExec};

/// What becomes of a plan between its making and its execution.
///
/// The engine executes what this gives back. The default is the plan itself; a cluster puts in
/// nodes that send partitions away, a test sends the plan through its codec.
pub trait PlanTransport: Send + Sync + std::fmt::Debug {
    /// A plan with the same schema and the same rows.
    ///
    /// # Errors
    /// Those of encoding and sending.
    fn transport(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        engine: &crate::QueryEngine,
    ) -> Result<Arc<dyn ExecutionPlan>>;
}

/// The properties of a node whose rows are in no order that DataFusion could use.
fn properties(schema: SchemaRef, partitions: usize, emission: EmissionType) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        emission,
        Boundedness::Bounded,
    ))
}

/// Carries an error of ours through DataFusion.
pub(crate) fn outbound(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error that came through DataFusion: ours again, if it was.
pub(crate) fn inbound(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => Error::internal(format!("executing the plan failed: {other}")),
        },
        DataFusionError::Context(_, inner) => inbound(*inner),
        DataFusionError::ArrowError(inner, _) => {
            Error::internal("executing the plan failed").caused_by(*inner)
        }
        error => Error::internal("executing the plan failed").caused_by(error),
    }
}

/// A plan that cannot be put together is a defect of ours.
pub(crate) fn unplanned(error: DataFusionError) -> Error {
    Error::internal("the request could not be planned").caused_by(error)
}

/// A leaf with the children that a rewritten plan gives it: none.
fn no_child(
    leaf: Arc<dyn ExecutionPlan>,
    children: &[Arc<dyn ExecutionPlan>],
) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    if children.is_empty() {
        return Ok(leaf);
    }
    Err(DataFusionError::Internal(format!("{} is a leaf", leaf.name())))
}

fn one_child(
    mut children: Vec<Arc<dyn ExecutionPlan>>,
) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(child),
        _ => Err(DataFusionError::Internal("the node has one input".to_owned())),
    }
}
