//! The protobuf messages that plan nodes travel as.
//!
//! Only their shape; what becomes of them is the codec's business.

use pandion_types::{Error, Result, RowId};
use prost::Message;

use crate::request::SearchHit;
use crate::snapshot::Snapshot;

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeMessage {
    #[prost(oneof = "Node", tags = "1, 2, 3, 4, 5, 6, 8")]
    pub(super) node: Option<Node>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Node {
    #[prost(message, tag = "1")]
    Filter(FilterMessage),
    #[prost(message, tag = "2")]
    TopK(TopKMessage),
    #[prost(message, tag = "3")]
    Merge(MergeMessage),
    #[prost(message, tag = "4")]
    Rows(RowsMessage),
    #[prost(message, tag = "5")]
    Ids(IdsMessage),
    #[prost(message, tag = "6")]
    Take(TakeMessage),
    #[prost(message, tag = "8")]
    Columns(ColumnsMessage),
}

/// Names a snapshot.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Version {
    #[prost(int64, tag = "1")]
    pub(super) collection: i64,
    #[prost(uint64, tag = "2")]
    pub(super) manifest: u64,
}

impl Version {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let manifest = snapshot.manifest();
        Self { collection: snapshot.collection().0, manifest: manifest.version.0 }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FilterMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) version: Option<Version>,
    #[prost(string, optional, tag = "2")]
    pub(super) filter: Option<String>,
    #[prost(uint64, tag = "3")]
    pub(super) seed: u64,
    #[prost(bool, tag = "4")]
    pub(super) pruning: bool,
    #[prost(bool, tag = "5")]
    pub(super) scalar_indexes: bool,
    #[prost(bool, tag = "6")]
    pub(super) filter_caches: bool,
    #[prost(message, repeated, tag = "7")]
    pub(super) partitions: Vec<PartitionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionMessage {
    /// Positions in the manifest.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) files: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopKMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) version: Option<Version>,
    #[prost(int64, tag = "2")]
    pub(super) field: i64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) queries: Vec<Vec<u8>>,
    #[prost(string, tag = "4")]
    pub(super) metric: String,
    #[prost(uint64, tag = "5")]
    pub(super) k: u64,
    #[prost(float, optional, tag = "6")]
    pub(super) radius: Option<f32>,
    #[prost(float, optional, tag = "7")]
    pub(super) range_filter: Option<f32>,
    #[prost(message, repeated, tag = "8")]
    pub(super) after: Vec<HitMessage>,
}

/// A hit; none without a row.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct HitMessage {
    #[prost(int64, optional, tag = "1")]
    pub(super) row: Option<i64>,
    #[prost(float, tag = "2")]
    pub(super) score: f32,
}

impl HitMessage {
    pub(super) fn of(hit: Option<&SearchHit>) -> Self {
        Self { row: hit.map(|hit| hit.row.get()), score: hit.map_or(0.0, |hit| hit.score) }
    }

    pub(super) fn hit(self) -> Result<Option<SearchHit>> {
        let Some(row) = self.row else { return Ok(None) };
        let row = RowId::from_i64(row)
            .ok_or_else(|| Error::corrupt("the bytes of a plan hold no row id"))?;
        Ok(Some(SearchHit { row, score: self.score }))
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MergeMessage {
    #[prost(string, tag = "1")]
    pub(super) metric: String,
    #[prost(uint64, tag = "2")]
    pub(super) k: u64,
    #[prost(uint64, tag = "3")]
    pub(super) queries: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RowsMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) version: Option<Version>,
    #[prost(uint64, tag = "2")]
    pub(super) skip: u64,
    #[prost(uint64, optional, tag = "3")]
    pub(super) fetch: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IdsMessage {
    #[prost(int64, repeated, tag = "1")]
    pub(super) rows: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TakeMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) version: Option<Version>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) fields: Vec<i64>,
    #[prost(uint64, tag = "3")]
    pub(super) bytes_max: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ColumnsMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) version: Option<Version>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) fields: Vec<i64>,
    /// One for each field.
    #[prost(uint32, repeated, tag = "3")]
    pub(super) forms: Vec<u32>,
}
