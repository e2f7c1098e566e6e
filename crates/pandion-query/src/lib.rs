//! Answers searches and queries over one snapshot of a collection.
//!
//! The stages are `prune -> filter -> vector top-k | scan -> merge -> take -> project`. Filters are
//! evaluated by DataFusion over the Parquet columns; vectors are compared by `pandion-index`; the
//! values of the result rows are fetched last, from the pages that hold them.
//!
//! Nothing here knows a network protocol, changes a catalogue or writes to a source.
#![warn(missing_docs)]

mod access;
mod aggregate;
mod bloom;
mod bounded;
mod bucket;
mod by_key;
mod cache;
mod columns_cache;
mod compare;
mod compile;
mod counters;
mod engine;
mod evaluate;
mod filter;
mod group;
mod json;
mod limits;
mod order;
mod ordered_rows;
pub mod plan;
mod prune;
mod rank;
mod refine;
mod request;
mod row_test;
mod rows;
mod sample;
mod scan;
mod search;
mod segments;
mod selection;
mod snapshot;
mod take;
mod value_path;
mod vectors;

pub use cache::CacheUsage;
pub use engine::{EngineOptions, QueryEngine};
pub use group::{GroupKey, Grouping};
pub use limits::{ANSWER_BYTES_MAX, QUERY_MEMORY_BYTES_MAX, QueryLimits};
pub use order::OrderKey;
pub use rank::{Boost, Boosts, Combine, Decay, DecayCurve, RandomScore, Ranker, ScoreOperator};
pub use request::{
    Aggregate, AggregateFunction, AggregateOutput, AggregateRequest, AggregateResult,
    HybridRequest, OrderBy, OutputColumn, QueryCost, QueryOptions, QueryRequest, QueryResult,
    Refinement, SearchHit, SearchRequest, SearchResult, VectorSearch,
};
pub use segments::{
    IndexedField, OldSegment, ScalarSegments, SegmentKey, build_segments, remap_segment,
};
pub use snapshot::Snapshot;
pub use value_path::{JsonCast, ValuePath};
pub use vectors::VectorCache;

#[cfg(test)]
mod tests;
