//! What is asked and what is answered, in no protocol's words.

use arrow::array::ArrayRef;
use pandion_filter::Filter;
use pandion_index::{QueryBatch, ScoreRange};
use pandion_source::IoCounts;
use pandion_types::{DataType, FieldId, FieldSchema, MetricType, RowId};

use crate::group::Grouping;
use crate::order::OrderKey;
use crate::rank::{Boosts, Combine, Ranker};

/// Which ways of avoiding work a request may use. The answer is the same with and without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// Leave out files, row groups and pages by their statistics.
    pub pruning: bool,
    /// Answer terms of the filter from scalar indexes.
    pub scalar_indexes: bool,
    /// Use filter columns and filter bitmaps that earlier requests left, and leave some.
    pub filter_caches: bool,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { pruning: true, scalar_indexes: true, filter_caches: true }
    }
}

/// The k nearest rows to each of some vectors.
#[derive(Debug)]
pub struct SearchRequest {
    /// The vector field that is searched.
    pub field: FieldId,
    /// The vectors to search for, of the field's type and dimension.
    pub queries: QueryBatch,
    /// How vectors are compared.
    pub metric: MetricType,
    /// Rows per query vector, after `offset`.
    pub limit: usize,
    /// Nearest rows to leave out per query vector.
    pub offset: usize,
    /// Only scores inside count; `None` when all do.
    pub range: Option<ScoreRange>,
    /// Only rows that match count; `None` when all do.
    pub filter: Option<Filter>,
    /// The fields whose values are returned, in this order.
    pub output: Vec<FieldId>,
    /// How the answer may be found.
    pub options: QueryOptions,
    /// What happens to the nearest rows before they are returned.
    pub refinement: Refinement,
}

/// What happens to the nearest rows of a search. By default nothing.
///
/// The nearest `limit + offset` rows, or groups, are found first; boosts and ranker give them new
/// scores and places; then they are ordered; `offset` and `limit` apply last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refinement {
    /// Only rows that come after this one in the order of the search count: equal scores are
    /// ordered by row id.
    pub after: Option<SearchHit>,
    /// Limit and offset count groups of hits.
    pub grouping: Option<Grouping>,
    /// Not together with `grouping`.
    pub boosts: Option<Boosts>,
    /// Gives the found rows new scores.
    pub ranker: Option<Ranker>,
    /// What a ranker makes of the scores of a group.
    pub group_scorer: Combine,
    /// Order by values instead of by score; a group stands where its first hit does.
    pub order: Vec<OrderKey>,
}

/// Several searches of one snapshot whose hits become one list.
#[derive(Debug)]
pub struct HybridRequest {
    /// The searches, each with as many query vectors as the others; at least one.
    pub searches: Vec<VectorSearch>,
    /// Apply to the hits of each search, before these meet.
    pub boosts: Option<Boosts>,
    /// Makes one list of several.
    pub ranker: Ranker,
    /// Limit and offset count groups of hits.
    pub grouping: Option<Grouping>,
    /// What orders groups.
    pub group_scorer: Combine,
    /// Hits, or groups, per query after `offset`.
    pub limit: usize,
    /// The best hits, or groups, to leave out per query.
    pub offset: usize,
    /// The fields whose values are returned, in this order.
    pub output: Vec<FieldId>,
    /// How the answer may be found.
    pub options: QueryOptions,
}

/// One search of a [`HybridRequest`].
#[derive(Debug)]
pub struct VectorSearch {
    /// The vector field that is searched.
    pub field: FieldId,
    /// The vectors to search for, of the field's type and dimension.
    pub queries: QueryBatch,
    /// How vectors are compared.
    pub metric: MetricType,
    /// Rows, or groups, per query vector.
    pub limit: usize,
    /// Only scores inside count; `None` when all do.
    pub range: Option<ScoreRange>,
    /// Only rows that match count; `None` when all do.
    pub filter: Option<Filter>,
}

/// One found row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchHit {
    /// The row.
    pub row: RowId,
    /// The exact distance or similarity.
    pub score: f32,
}

/// The answer to a [`SearchRequest`].
#[derive(Debug)]
pub struct SearchResult {
    /// The hits of each query vector, nearest first, equal scores by ascending row id, unless the
    /// request asks for another order.
    pub hits: Vec<Vec<SearchHit>>,
    /// The values of all hits, query vector after query vector.
    pub columns: Vec<OutputColumn>,
    /// The values by which all hits are grouped, one column per key; none without groups. The hits
    /// of a group stand together.
    pub groups: Vec<OutputColumn>,
    /// What the answer cost.
    pub cost: QueryCost,
}

/// Rows that match a filter, in the order of `order`, equal ones in ascending order of row id.
#[derive(Clone, Debug, Default)]
pub struct QueryRequest {
    /// Only rows that match count; `None` when all do.
    pub filter: Option<Filter>,
    /// The fields whose values are returned, in this order.
    pub output: Vec<FieldId>,
    /// What the rows are ordered by, most significant first; empty for the row id alone.
    pub order: Vec<OrderBy>,
    /// At most so many rows; `None` for all.
    pub limit: Option<usize>,
    /// Matching rows to leave out first.
    pub offset: usize,
    /// How the answer may be found.
    pub options: QueryOptions,
}

/// One of the fields that rows or groups are ordered by.
///
/// Text is ordered by its bytes, `false` comes before `true`. Of numbers, NaN is the largest, and
/// both zeros are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The field: Bool, an integer, a float, VarChar or Timestamptz.
    pub field: FieldId,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// Whether rows without a value come before all others.
    pub nulls_first: bool,
}

/// The answer to a [`QueryRequest`].
#[derive(Debug)]
pub struct QueryResult {
    /// The rows, in the order that was asked for.
    pub rows: Vec<RowId>,
    /// The values of the rows.
    pub columns: Vec<OutputColumn>,
    /// What the answer cost.
    pub cost: QueryCost,
}

/// Aggregates over the rows that match a filter.
#[derive(Clone, Debug, Default)]
pub struct AggregateRequest {
    /// Only rows that match count; `None` when all do.
    pub filter: Option<Filter>,
    /// Rows with equal values of these fields make a group, rows without a value one of their own;
    /// when empty, all rows make one group, which is there even without rows. The fields are
    /// integers, VarChar or Timestamptz.
    pub group_by: Vec<FieldId>,
    /// The columns that are returned, in this order.
    pub output: Vec<AggregateOutput>,
    /// Fields of `group_by` that groups are ordered by, most significant first. The fields that
    /// are not named follow, ascending, so that the order is the same every time.
    pub order: Vec<OrderBy>,
    /// At most so many groups; `None` for all.
    pub limit: Option<usize>,
    /// Groups to leave out first.
    pub offset: usize,
    /// How the answer may be found.
    pub options: QueryOptions,
}

/// A column of the answer to an [`AggregateRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AggregateOutput {
    /// The value of this field of `group_by`.
    Group(FieldId),
    /// An aggregate of the rows of the group.
    Aggregate(Aggregate),
}

/// An aggregate of the rows of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// The name of its column.
    pub name: String,
    /// What is computed.
    pub function: AggregateFunction,
    /// What it is computed of; `None` for the rows themselves, which can only be counted.
    pub field: Option<FieldId>,
}

/// What is computed of the values of a group. Rows without a value are left out; where none is
/// left, the count is 0 and everything else has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// How many rows have a value, for fields of every type. Int64.
    Count,
    /// The sum of integers, as Int64, or of floats, as Double.
    Sum,
    /// The mean of integers or floats, as Double. The sum of integers behind it is exact.
    Avg,
    /// The smallest integer, float, VarChar or Timestamptz, in the type of the field.
    Min,
    /// The largest integer, float, VarChar or Timestamptz, in the type of the field. NaN is larger
    /// than every other number.
    Max,
}

impl AggregateFunction {
    /// Every function.
    pub const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Avg, Self::Min, Self::Max];

    /// The name as Milvus writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    /// Whether it is defined for fields of this type.
    #[must_use]
    pub fn takes(self, data_type: DataType) -> bool {
        let is_number = data_type.is_integer() || data_type.is_float();
        match self {
            Self::Count => true,
            Self::Sum | Self::Avg => is_number,
            Self::Min | Self::Max => {
                is_number || matches!(data_type, DataType::VarChar | DataType::Timestamptz)
            }
        }
    }
}

/// The answer to an [`AggregateRequest`].
#[derive(Debug)]
pub struct AggregateResult {
    /// One value per group. The columns of aggregates belong to no field of the collection: their
    /// field carries name, type and nullability only.
    pub columns: Vec<OutputColumn>,
    /// What the answer cost.
    pub cost: QueryCost,
}

/// The values of one field for all rows of an answer, in the canonical Arrow type of the field.
#[derive(Clone, Debug)]
pub struct OutputColumn {
    /// The field.
    pub field: FieldSchema,
    /// One value per row.
    pub values: ArrayRef,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryCost {
    /// The manifest version that was read.
    pub version: u64,
    /// The snapshot of the table that was read; `None` when the source is no table.
    pub table_snapshot_id: Option<i64>,
    /// Requests, bytes and rows decoded.
    pub io: IoCounts,
    /// Distances computed.
    pub distances: u64,
    /// Files of the snapshot.
    pub files: u64,
    /// Files left out by the manifest's statistics.
    pub files_pruned: u64,
    /// Row groups of the files that were looked into.
    pub row_groups: u64,
    /// Row groups left out by their statistics.
    pub row_groups_pruned: u64,
    /// Rows that the filter was evaluated on.
    pub rows_filtered: u64,
    /// Rows that matched the filter, as far as they were looked for.
    pub rows_matched: u64,
    /// Rows that would have matched, and are deleted.
    pub rows_deleted: u64,
    /// Terms that scalar indexes answered, counted per file.
    pub index_lookups: u64,
    /// Files whose matching rows, or candidates for them, came from scalar indexes.
    pub files_from_index: u64,
    /// Files whose matching rows an earlier request had left in memory.
    pub files_from_cache: u64,
    /// Where the time went.
    pub stages: StageTimes,
}

/// Microseconds that the stages of a request took. Work that went on at the same time counts each
/// for itself, waiting for reads included, so that the sum may exceed the time that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Choosing files, row groups and pages by their statistics.
    pub prune_us: u64,
    /// Opening and asking scalar indexes.
    pub index_us: u64,
    /// Reading columns and evaluating the filter.
    pub filter_us: u64,
    /// Reading and decoding vectors.
    pub vectors_us: u64,
    /// Comparing vectors.
    pub compare_us: u64,
    /// Reading the columns that rows are aggregated or ordered by.
    pub columns_us: u64,
    /// Fetching the values of result rows.
    pub take_us: u64,
}
