//! The leaf of a plan: which rows of which row groups match.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt as _, TryStreamExt as _};

use super::batches::{MATCHES, matches_batch};
use super::{no_child, outbound, properties};
use crate::scan::Scan;

/// Evaluates a filter over files; the partitions are sets of files.
pub struct FilterBitmapExec {
    scan: Arc<Scan>,
    /// Positions in the manifest, ascending within a partition and from one to the next.
    partitions: Vec<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl FilterBitmapExec {
    pub(crate) fn new(scan: Arc<Scan>, partitions: Vec<Vec<usize>>) -> Self {
        let properties =
            properties(Arc::clone(&MATCHES), partitions.len(), EmissionType::Incremental);
        Self { scan, partitions, properties }
    }

    pub(super) fn scan(&self) -> &Arc<Scan> {
        &self.scan
    }

    pub(super) fn partitions(&self) -> &[Vec<usize>] {
        &self.partitions
    }
}

impl ExecutionPlan for FilterBitmapExec {
    fn name(&self) -> &'static str {
        "FilterBitmapExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        no_child(self, &children)
    }

    fn execute(
        &self,
        partition: usize,
        _: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let files = self.partitions.get(partition).cloned().ok_or_else(|| {
            DataFusionError::Internal(format!("there is no partition {partition}"))
        })?;
        let batches =
            self.scan.matches(files).map(|found| matches_batch(&found?)).map_err(outbound);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&MATCHES), batches)))
    }
}

impl DisplayAs for FilterBitmapExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FilterBitmapExec: files={}",
            self.partitions.iter().map(Vec::len).sum::<usize>()
        )?;
        match self.scan.filter_text() {
            Some(text) => write!(f, ", filter={text}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for FilterBitmapExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}
