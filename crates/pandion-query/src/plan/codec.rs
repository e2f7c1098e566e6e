//! Plans as bytes, for execution elsewhere.
//!
//! A node is one protobuf message beside those of DataFusion's own nodes. A filter travels as its
//! normalised text; a snapshot as collection and manifest version, from which whoever decodes must
//! be able to open the same one. Bytes are understood by the release that wrote them; they are not
//! kept.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use pandion_index::{QueryBatch, ScoreRange};
use pandion_types::{
    CollectionId, Error, FieldId, FieldSchema, ManifestVersion, MetricType, Result, RowId,
};
use prost::Message as _;

use super::columns_exec::{ColumnsExec, Form, FormedColumn};
use super::filter_exec::FilterBitmapExec;
use super::messages::{
    ColumnsMessage, FilterMessage, HitMessage, IdsMessage, MergeMessage, Node, NodeMessage,
    PartitionMessage, RowsMessage, TakeMessage, TopKMessage, Version,
};
use super::rows_exec::{MatchingRowsExec, RowIdsExec};
use super::take_exec::RowTakeExec;
use super::topk_exec::{Target, TopKMergeExec, VectorTopKExec};
use super::{PlanTransport, inbound, one_child, outbound};
use crate::aggregate::udaf;
use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::filter::FilterPlan;
use crate::request::{AggregateFunction, QueryOptions};
use crate::scan::Scan;
use crate::snapshot::Snapshot;

/// Gives the snapshots that plans name.
pub trait SnapshotResolver: Send + Sync + fmt::Debug {
    /// The snapshot of this version.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn snapshot(&self, collection: CollectionId, version: ManifestVersion)
    -> Result<Arc<Snapshot>>;
}

/// Turns plans into bytes and back.
pub struct PlanCodec {
    engine: QueryEngine,
    snapshots: Arc<dyn SnapshotResolver>,
    /// What decoded nodes count into.
    counters: Arc<Counters>,
}

impl PlanCodec {
    /// A codec whose decoded plans are executed by `engine`.
    #[must_use]
    pub fn new(engine: QueryEngine, snapshots: Arc<dyn SnapshotResolver>) -> Self {
        Self { engine, snapshots, counters: Arc::default() }
    }

    /// The bytes of a plan.
    ///
    /// # Errors
    /// `Internal` for a plan with nodes that are neither DataFusion's nor ours.
    pub fn encode(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
        let bytes = physical_plan_to_bytes_with_extension_codec(plan, self).map_err(inbound)?;
        Ok(bytes.to_vec())
    }

    /// The plan in `bytes`.
    ///
    /// # Errors
    /// `Corrupt` for bytes that are no plan; those of the [`SnapshotResolver`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
        let context = TaskContext::default();
        physical_plan_from_bytes_with_extension_codec(bytes, &context, self).map_err(inbound)
    }

    fn open(&self, version: Option<&Version>) -> Result<Arc<Snapshot>> {
        let version = version.ok_or_else(|| corrupt("snapshot"))?;
        let (collection, manifest) =
            (CollectionId(version.collection), ManifestVersion(version.manifest));
        self.snapshots.snapshot(collection, manifest)
    }

    fn node(
        &self,
        message: NodeMessage,
        inputs: &[Arc<dyn ExecutionPlan>],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = || one_child(inputs.to_vec()).map_err(inbound);
        Ok(match message.node.ok_or_else(|| corrupt("node"))? {
            Node::Filter(message) => Arc::new(self.filter(message)?),
            Node::TopK(message) => {
                let snapshot = self.open(message.version.as_ref())?;
                let target = target(message, &snapshot)?;
                Arc::new(VectorTopKExec::new(
                    input()?,
                    self.engine.clone(),
                    snapshot,
                    Arc::new(target),
                    Arc::clone(&self.counters),
                ))
            }
            Node::Merge(message) => Arc::new(TopKMergeExec::new(
                input()?,
                metric(&message.metric)?,
                size(message.k)?,
                size(message.queries)?,
            )),
            Node::Rows(message) => Arc::new(MatchingRowsExec::new(
                input()?,
                self.open(message.version.as_ref())?,
                size(message.skip)?,
                message.fetch.map(size).transpose()?,
            )),
            Node::Ids(message) => {
                let rows = message.rows.into_iter();
                let rows = rows.map(|row| RowId::from_i64(row).ok_or_else(|| corrupt("row id")));
                Arc::new(RowIdsExec::new(rows.collect::<Result<_>>()?))
            }
            Node::Take(message) => {
                let snapshot = self.open(message.version.as_ref())?;
                let fields = message.fields.into_iter();
                let fields = fields.map(|id| field(&snapshot, id)).collect::<Result<_>>()?;
                let counters = Arc::clone(&self.counters);
                let node = RowTakeExec::new(input()?, snapshot, fields, counters)?;
                Arc::new(node.with_bytes_max(size(message.bytes_max)?))
            }
            Node::Columns(message) => Arc::new(self.columns(message, input()?)?),
        })
    }

    fn columns(
        &self,
        message: ColumnsMessage,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<ColumnsExec> {
        let snapshot = self.open(message.version.as_ref())?;
        if message.fields.len() != message.forms.len() {
            return Err(corrupt("form"));
        }
        let columns = message.fields.into_iter().zip(message.forms);
        let columns = columns.map(|(id, form)| {
            let form = Form::ALL.into_iter().find(|known| known.code() == form);
            let form = form.ok_or_else(|| corrupt("form"))?;
            Ok(FormedColumn { field: field(&snapshot, id)?, form })
        });
        let columns = columns.collect::<Result<_>>()?;
        let in_flight = self.engine.in_flight();
        ColumnsExec::new(input, snapshot, columns, in_flight, Arc::clone(&self.counters))
    }

    fn filter(&self, message: FilterMessage) -> Result<FilterBitmapExec> {
        let snapshot = self.open(message.version.as_ref())?;
        let filter = match message.filter {
            Some(text) => {
                let templates = pandion_filter::Templates::new();
                let filter = pandion_filter::parse(&text, snapshot.schema(), &templates)?;
                Some(Arc::new(FilterPlan::new(
                    filter,
                    snapshot.schema(),
                    snapshot.manifest(),
                    message.seed,
                )?))
            }
            None => None,
        };
        let files = snapshot.manifest().files.len();
        let mut partitions = Vec::with_capacity(message.partitions.len());
        for partition in message.partitions {
            let known = |&file: &u32| (file as usize) < files;
            if !partition.files.iter().all(known) {
                return Err(corrupt("file"));
            }
            partitions.push(partition.files.into_iter().map(|file| file as usize).collect());
        }
        let options = QueryOptions {
            pruning: message.pruning,
            scalar_indexes: message.scalar_indexes,
            filter_caches: message.filter_caches,
        };
        let counters = Arc::clone(&self.counters);
        let scan = Scan::new(self.engine.clone(), snapshot, filter, options, counters);
        Ok(FilterBitmapExec::new(Arc::new(scan), partitions))
    }
}

/// Sends every plan through its codec and executes what comes back.
#[derive(Debug)]
pub struct CodecTransport {
    /// Opens the snapshots that plans name.
    pub snapshots: Arc<dyn SnapshotResolver>,
}

impl PlanTransport for CodecTransport {
    fn transport(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        engine: &QueryEngine,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let codec = PlanCodec::new(engine.clone(), Arc::clone(&self.snapshots));
        let bytes = codec.encode(plan)?;
        codec.decode(&bytes)
    }
}

impl SnapshotResolver for Snapshot {
    fn snapshot(
        &self,
        collection: CollectionId,
        version: ManifestVersion,
    ) -> Result<Arc<Snapshot>> {
        if (self.collection(), self.manifest().version) == (collection, version) {
            return Ok(Arc::new(self.clone()));
        }
        Err(Error::not_found(
            pandion_types::Subject::Collection,
            format!("version {version} of collection {collection} is not open"),
        ))
    }
}

impl fmt::Debug for PlanCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanCodec").finish_non_exhaustive()
    }
}

impl PhysicalExtensionCodec for PlanCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let message = NodeMessage::decode(bytes)
            .map_err(|error| outbound(corrupt("message").caused_by(error)))?;
        self.node(message, inputs).map_err(outbound)
    }

    /// The aggregate functions that plans call are DataFusion's own, known by name.
    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> DataFusionResult<Arc<AggregateUDF>> {
        AggregateFunction::ALL
            .into_iter()
            .find(|function| function.name() == name)
            .map(udaf)
            .ok_or_else(|| outbound(corrupt("aggregate function")))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
    ) -> DataFusionResult<()> {
        let message = message_of(node.as_ref())
            .ok_or_else(|| DataFusionError::Internal(format!("{} has no codec", node.name())))?;
        bytes.extend_from_slice(&NodeMessage { node: Some(message) }.encode_to_vec());
        Ok(())
    }
}

fn message_of(node: &dyn ExecutionPlan) -> Option<Node> {
    if let Some(node) = node.downcast_ref::<FilterBitmapExec>() {
        return Some(Node::Filter(filter_message(node)));
    }
    if let Some(node) = node.downcast_ref::<VectorTopKExec>() {
        return Some(Node::TopK(target_message(node)));
    }
    if let Some(node) = node.downcast_ref::<TopKMergeExec>() {
        let (metric, k, queries) = node.parts();
        let metric = metric.name().to_owned();
        return Some(Node::Merge(MergeMessage { metric, k: k as u64, queries: queries as u64 }));
    }
    if let Some(node) = node.downcast_ref::<MatchingRowsExec>() {
        let (skip, fetch) = node.window();
        return Some(Node::Rows(RowsMessage {
            version: Some(Version::of(node.snapshot())),
            skip: skip as u64,
            fetch: fetch.map(|fetch| fetch as u64),
        }));
    }
    if let Some(node) = node.downcast_ref::<RowIdsExec>() {
        let rows = node.rows().iter().map(|row| row.get()).collect();
        return Some(Node::Ids(IdsMessage { rows }));
    }
    if let Some(node) = node.downcast_ref::<ColumnsExec>() {
        return Some(Node::Columns(ColumnsMessage {
            version: Some(Version::of(node.snapshot())),
            fields: node.columns().iter().map(|column| column.field.id.0).collect(),
            forms: node.columns().iter().map(|column| column.form.code()).collect(),
        }));
    }
    let node = node.downcast_ref::<RowTakeExec>()?;
    Some(Node::Take(TakeMessage {
        version: Some(Version::of(node.snapshot())),
        fields: node.fields().map(|field| field.0).collect(),
        bytes_max: node.bytes_max() as u64,
    }))
}

fn filter_message(node: &FilterBitmapExec) -> FilterMessage {
    let scan = node.scan();
    let position = |&file: &usize| u32::try_from(file).unwrap_or(u32::MAX);
    let partitions = node.partitions().iter();
    let options = scan.options();
    FilterMessage {
        version: Some(Version::of(scan.snapshot())),
        filter: scan.filter_text().map(str::to_owned),
        seed: scan.seed(),
        pruning: options.pruning,
        scalar_indexes: options.scalar_indexes,
        filter_caches: options.filter_caches,
        partitions: partitions
            .map(|files| PartitionMessage { files: files.iter().map(position).collect() })
            .collect(),
    }
}

fn target_message(node: &VectorTopKExec) -> TopKMessage {
    let Target { field, queries, metric, k, range, after } = node.target();
    let vectors = (0..queries.len()).filter_map(|at| queries.vector(at).map(<[u8]>::to_vec));
    TopKMessage {
        version: Some(Version::of(node.snapshot())),
        field: field.id.0,
        queries: vectors.collect(),
        metric: metric.name().to_owned(),
        k: *k as u64,
        radius: range.map(|range| range.radius),
        range_filter: range.and_then(|range| range.range_filter),
        after: after.iter().map(|hit| HitMessage::of(hit.as_ref())).collect(),
    }
}

fn target(message: TopKMessage, snapshot: &Snapshot) -> Result<Target> {
    let field = field(snapshot, message.field)?;
    let vector_type = field.vector_type().ok_or_else(|| corrupt("vector field"))?;
    let range_filter = message.range_filter;
    let after = message.after.into_iter().map(HitMessage::hit).collect::<Result<_>>()?;
    Ok(Target {
        queries: Arc::new(QueryBatch::new(vector_type, &message.queries)?),
        metric: metric(&message.metric)?,
        k: size(message.k)?,
        range: message.radius.map(|radius| ScoreRange { radius, range_filter }),
        after,
        field,
    })
}

fn field(snapshot: &Snapshot, id: i64) -> Result<FieldSchema> {
    snapshot.schema().field_by_id(FieldId(id)).cloned().ok_or_else(|| corrupt("field"))
}

fn metric(name: &str) -> Result<MetricType> {
    name.parse()
}

fn size(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(|error| corrupt("size").caused_by(error))
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(format!("the bytes of a plan hold no {what}"))
}
