//! Executes plans whose operators keep rows, within the limits of one request.
//!
//! Operators get a bounded amount of memory and no disk: what does not fit is an error.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt as _;
use pandion_types::{Error, Result};

use crate::limits::QueryLimits;
use crate::plan::{inbound, unplanned};
use crate::take::{answer_too_large, value_bytes};

/// The rows of a plan of one partition, in one batch.
///
/// # Errors
/// `InvalidArgument` when its operators keep more than `memory_bytes_max` bytes, and when the rows
/// have more than `answer_bytes_max`; those of the nodes.
pub(crate) async fn collect(
    plan: &Arc<dyn ExecutionPlan>,
    limits: QueryLimits,
) -> Result<RecordBatch> {
    let failed = |error| failed(error, limits.memory_bytes_max);
    let mut rows = plan.execute(0, context(limits.memory_bytes_max)?).map_err(failed)?;
    let (mut batches, mut bytes) = (Vec::new(), 0_usize);
    while let Some(batch) = rows.try_next().await.map_err(failed)? {
        let sizes = batch.columns().iter().map(|column| value_bytes(column, None));
        bytes = sizes.fold(bytes, usize::saturating_add);
        if bytes > limits.answer_bytes_max {
            return Err(answer_too_large(bytes, limits.answer_bytes_max));
        }
        batches.push(batch);
    }
    concat_batches(&plan.schema(), &batches)
        .map_err(|error| Error::internal("joining batches failed").caused_by(error))
}

fn context(memory_bytes_max: usize) -> Result<Arc<TaskContext>> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes_max)))
        .with_disk_manager_builder(disk)
        .build_arc()
        .map_err(unplanned)?;
    Ok(Arc::new(TaskContext::default().with_runtime(runtime)))
}

/// As [`inbound`], with what a lack of memory means.
fn failed(error: DataFusionError, memory_bytes_max: usize) -> Error {
    match error {
        DataFusionError::Context(_, inner) => failed(*inner, memory_bytes_max),
        DataFusionError::ResourcesExhausted(text) => Error::invalid_argument(format!(
            "the query needs more than the {memory_bytes_max} bytes of memory that one query may \
             use: narrow the filter, or group by fewer values"
        ))
        .caused_by(text),
        other => inbound(other),
    }
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[test]
    fn lack_of_memory_is_the_callers_to_mend() {
        let error = DataFusionError::ResourcesExhausted("x".to_owned());
        let error = failed(error.context("in a node"), 77);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("more than the 77 bytes"), "{error}");
    }
}
