//! Runs physical plans of DataFusion over a stream of batches.
//!
//! Plans are put together by hand, so that no request pays for planning. They get a bounded amount
//! of memory and no disk: what does not fit is an error.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use pandion_types::{Error, Result};

/// A leaf of a plan that gives these batches, once.
pub(crate) fn source(
    schema: &SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let batches = Batches { schema: Arc::clone(schema), batches: Mutex::new(Some(batches)) };
    let partition: Arc<dyn PartitionStream> = Arc::new(batches);
    let leaf =
        StreamingTableExec::try_new(Arc::clone(schema), vec![partition], None, [], false, None)
            .map_err(unplanned)?;
    Ok(Arc::new(leaf))
}

/// Runs a plan of one partition, whose operators may keep `memory_bytes_max` bytes.
pub(crate) fn execute(
    plan: &Arc<dyn ExecutionPlan>,
    memory_bytes_max: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes_max)))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()
        .map_err(unplanned)?;
    let context = Arc::new(TaskContext::default().with_runtime(runtime));
    let batches = plan.execute(0, context).map_err(unplanned)?;
    Ok(batches.map_err(move |error| failed(error, memory_bytes_max)).boxed())
}

/// A plan that cannot be put together is a defect of ours.
pub(crate) fn unplanned(error: DataFusionError) -> Error {
    Error::internal("the query could not be planned").caused_by(error)
}

/// Gives the error back that a leaf raised, and says what a lack of memory means.
fn failed(error: DataFusionError, memory_bytes_max: usize) -> Error {
    match error {
        DataFusionError::External(cause) => match cause.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::internal("running the query failed").caused_by(other),
        },
        DataFusionError::Context(_, inner) => failed(*inner, memory_bytes_max),
        DataFusionError::ResourcesExhausted(text) => Error::invalid_argument(format!(
            "the query needs more than the {memory_bytes_max} bytes of memory that one query may \
             use: narrow the filter, or group by fewer values"
        ))
        .caused_by(text),
        other => Error::internal("running the query failed").caused_by(other),
    }
}

/// A stream in the shape that DataFusion asks its leaves to have.
struct Batches {
    schema: SchemaRef,
    batches: Mutex<Option<BoxStream<'static, Result<RecordBatch>>>>,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Batches {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let batches = batches.unwrap_or_else(|| {
            stream::once(async { Err(Error::internal("a stream was read twice")) }).boxed()
        });
        let batches = batches.map_err(|error| DataFusionError::External(Box::new(error)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use pandion_types::{ErrorKind, Subject};

    use super::*;

    fn run(batches: BoxStream<'static, Result<RecordBatch>>) -> Result<Vec<RecordBatch>> {
        let plan = source(&Arc::new(Schema::empty()), batches).unwrap();
        futures::executor::block_on(execute(&plan, 1 << 20).unwrap().try_collect())
    }

    #[test]
    fn errors_of_the_leaf_come_out_as_they_went_in() {
        let error = || Error::conflict("the file has changed").about(Subject::Source);
        let found = run(stream::once(async move { Err(error()) }).boxed()).unwrap_err();
        assert_eq!((found.kind(), found.subject()), (ErrorKind::Conflict, Subject::Source));
        assert_eq!(found.message(), "the file has changed");
    }

    #[test]
    fn a_leaf_gives_its_batches_once() {
        let plan = source(&Arc::new(Schema::empty()), stream::empty().boxed()).unwrap();
        let collect = || {
            let batches = execute(&plan, 1 << 20).unwrap();
            futures::executor::block_on(batches.try_collect::<Vec<_>>())
        };
        assert!(collect().unwrap().is_empty());
        assert_eq!(collect().unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn lack_of_memory_is_the_callers_to_mend() {
        let error = failed(DataFusionError::ResourcesExhausted("x".to_owned()), 77);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("more than the 77 bytes"), "{error}");
    }
}
