//! Search, and what a plain search and a hybrid one have in common.

use std::sync::Arc;
use std::time::Instant;

use chrono_tz::Tz;
use pandion_catalog::Collection;
use pandion_index::{QueryBatch, ScoreRange};
use pandion_proto::common::Status;
use pandion_proto::milvus;
use pandion_proto::schema::{SearchIteratorV2Results, SearchResultData};
use pandion_query::{
    QueryOptions, Refinement, SearchHit, SearchRequest, SearchResult, Snapshot, VectorSearch,
};
use pandion_types::{
    DataType, Error, FieldId, FieldSchema, FileId, MetricType, Result, RowId, Subject,
    VIRTUAL_PK_NAME,
};

use super::reading::{filter, with_cost};
use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::explain::{EXPLAIN, explain};
use crate::field_data::encode_row_ids;
use crate::iterators::PageEnd;
use crate::output_fields::search_output;
use crate::params::{Params, timezone_of};
use crate::placeholder::decode_query_vectors;
use crate::rank_params::{Scoring, decode_function_score};
use crate::refine_params::{
    decode_group_scorer, decode_grouping, decode_order, reads_single_group_value,
};
use crate::search_params::{
    SearchInput, SearchIterator, SearchParams, decode_search_input, decode_search_params,
    requested_features, round,
};
use crate::time_parts::{TimePart, encode_columns};
use crate::time_travel::one_choice;

/// Refused in plain and hybrid searches.
pub(super) const RANGE_WITH_GROUPS: &str =
    "Not allowed to do range-search when doing search-group-by";
/// Refused in plain and hybrid searches.
pub(super) const BINARY_WITH_GROUPS: &str =
    "not support search_group_by operation based on binary vector column";
/// Refused in plain and hybrid searches.
pub(super) const BOOSTS_WITH_GROUPS: &str = "failed to create query plan: don't support use segment \
     scorer with group_by or search_iterator";

pub(super) async fn search(
    door: &Door,
    caller: &Caller,
    request: milvus::SearchRequest,
) -> Result<milvus::SearchResults> {
    let started = Instant::now();
    let (collection, choice) =
        door.collection_at(caller, &request.db_name, &request.collection_name)?;
    door.authorize(caller, Action::Read, Resource::Collection(&collection))?;
    super::partitions::check(&request.partition_names)?;
    if let Some(feature) = requested_features(&request).first() {
        return Err(feature.refusal());
    }
    let mut params = decode_search_params(Params(&request.search_params))?;
    params.snapshot = one_choice(choice, params.snapshot.as_ref())?;
    params.check_collection(collection.id)?;
    let timezone = timezone_of(params.timezone, &collection.properties)?;
    let (snapshot, after) = start(door, &collection, &params).await?;
    let output = search_output(snapshot.schema(), &request.output_fields)?;
    let scope = Scope { door, collection: &collection, snapshot: &snapshot, timezone };
    let part = scope.part(&request, &params).await?;
    let refinement = Refinement { after, ..scope.refinement(&request, &params, part.field)? };
    let (metric, queries) = (part.metric, part.queries.len());
    check_iterator(&params, queries)?;
    let asked = SearchRequest {
        field: part.field,
        queries: part.queries,
        metric,
        limit: params.limit,
        offset: params.offset,
        range: part.range,
        filter: part.filter,
        output: output.iter().map(|field| field.id).collect(),
        options: QueryOptions::default(),
        refinement,
    };
    let result = door.node().engine().search(&snapshot, asked).await?;
    door.count_read("search", &result.cost, started);
    let page = page(door, &collection, &snapshot, &params, metric, after, &result);
    let status = status(&result, params.explain);
    let shape = Shape {
        limit: params.limit,
        round_decimal: params.round_decimal,
        timezone,
        time_parts: params.time_parts,
        single_group_value: reads_single_group_value(Params(&request.search_params)),
    };
    let mut results = search_data(&result, output, &shape)?;
    results.search_iterator_v2_results = page;
    Ok(milvus::SearchResults {
        status: Some(status),
        results: Some(results),
        collection_name: collection.name.clone(),
        session_ts: clock::hybrid_timestamp(),
    })
}

/// The snapshot that is searched and, for a later page of an iterator, the last hit before it.
async fn start(
    door: &Door,
    collection: &Arc<Collection>,
    params: &SearchParams,
) -> Result<(Arc<Snapshot>, Option<SearchHit>)> {
    let current = door.node().snapshot_at(collection, params.snapshot.as_ref()).await?;
    match params.iterator {
        Some(SearchIterator::V2 { last_bound, id: Some(token) }) => {
            let iterators = door.node().iterators();
            let resumed = iterators.resume(token, collection.id, last_bound, Instant::now())?;
            Ok((resumed.snapshot, resumed.after))
        }
        // A bound of the client's own making: what lies strictly beyond it is asked for.
        Some(SearchIterator::V2 { last_bound: Some(score), id: None }) => {
            let row = RowId::new(FileId::LAST, u32::MAX);
            Ok((current, Some(SearchHit { row, score })))
        }
        _ => Ok((current, None)),
    }
}

/// Checks what depends on the number of query vectors.
fn check_iterator(params: &SearchParams, queries: usize) -> Result<()> {
    if queries > 1 && matches!(params.iterator, Some(SearchIterator::V2 { .. })) {
        return Err(Error::invalid_argument(format!(
            "search iterator v2 supports one query vector, but nq is {queries}"
        )));
    }
    Ok(())
}

/// Notes where the page of an iterator ended, and tells the client how to go on.
fn page(
    door: &Door,
    collection: &Collection,
    snapshot: &Arc<Snapshot>,
    params: &SearchParams,
    metric: MetricType,
    after: Option<SearchHit>,
    result: &SearchResult,
) -> Option<SearchIteratorV2Results> {
    let Some(SearchIterator::V2 { last_bound, id }) = params.iterator else { return None };
    let larger_is_nearer = metric.larger_is_nearer();
    let last = result.hits.first().and_then(|hits| hits.last()).copied();
    let begin = if larger_is_nearer { f32::MAX } else { f32::MIN };
    let score = match last {
        Some(hit) => round(hit.score, params.round_decimal),
        None => last_bound.unwrap_or(begin),
    };
    let end = PageEnd { last: last.or(after), score, larger_is_nearer };
    let (iterators, now) = (door.node().iterators(), Instant::now());
    let (token, last_bound) = match id {
        Some(token) => (token, iterators.advance(token, end, now)),
        None => iterators.open(collection.id, Arc::clone(snapshot), end, now),
    };
    Some(SearchIteratorV2Results { token: token.to_string(), last_bound })
}

/// What the parts of one request have in common.
pub(super) struct Scope<'a> {
    pub(super) door: &'a Door,
    pub(super) collection: &'a Collection,
    pub(super) snapshot: &'a Arc<Snapshot>,
    /// Zone of points in time without one.
    pub(super) timezone: Tz,
}

impl Scope<'_> {
    /// One search over one vector field: the whole of a plain search, a part of a hybrid one.
    pub(super) async fn part(
        &self,
        request: &milvus::SearchRequest,
        params: &SearchParams,
    ) -> Result<VectorSearch> {
        let schema = self.snapshot.schema();
        let field = params.field(schema)?;
        let metric = params.metric(index_metric(self.collection, field)?)?;
        params.check_range(metric)?;
        let filter = filter(schema, &request.dsl, &request.expr_template_values, self.timezone)?;
        let queries = match decode_search_input(request)? {
            SearchInput::Vectors(group) => {
                let vectors = decode_query_vectors(field, request.nq, &group)?;
                let width = vectors.vector_type.bytes().max(1);
                let each: Vec<&[u8]> = vectors.data.chunks_exact(width).collect();
                QueryBatch::new(vectors.vector_type, &each)?
            }
            SearchInput::Ids(keys) => {
                let engine = self.door.node().engine();
                engine.vectors_of(self.snapshot, field.id, &keys).await?
            }
        };
        if let Some(at) = queries.first_non_finite() {
            return Err(Error::invalid_argument(format!(
                "query vector {at} of the search has a component that is not a finite number"
            )));
        }
        let (field, limit, range) = (field.id, params.limit, score_range(params));
        Ok(VectorSearch { field, queries, metric, limit, range, filter })
    }

    /// What happens to the hits of a plain search on `field`.
    fn refinement(
        &self,
        request: &milvus::SearchRequest,
        params: &SearchParams,
        field: FieldId,
    ) -> Result<Refinement> {
        let (schema, list) = (self.snapshot.schema(), Params(&request.search_params));
        let scoring = match &request.function_score {
            Some(score) => {
                let templates = &request.expr_template_values;
                let filter = |text: &str| filter(schema, text, templates, self.timezone);
                decode_function_score(score, schema, 1, &filter)?
            }
            None => Scoring::default(),
        };
        let refinement = Refinement {
            after: None,
            grouping: decode_grouping(list, schema)?,
            boosts: scoring.boosts,
            ranker: scoring.ranker,
            group_scorer: decode_group_scorer(list)?,
            order: decode_order(list, schema)?,
        };
        let data_type = schema.field_by_id(field).map(|field| field.data_type);
        match contradiction(params, &refinement, data_type == Some(DataType::BinaryVector)) {
            Some(text) => Err(Error::invalid_argument(format!("{text}: invalid parameter"))),
            None => Ok(refinement),
        }
    }
}

/// Why what is asked for does not go together, if so.
fn contradiction(
    params: &SearchParams,
    refinement: &Refinement,
    binary: bool,
) -> Option<&'static str> {
    let Refinement { grouping, boosts, ranker, order, .. } = refinement;
    let (grouped, ordered) = (grouping.is_some(), !order.is_empty());
    let iterates = params.iterator.is_some();
    let several = grouping.as_ref().is_some_and(|grouping| grouping.keys.len() > 1);
    let scores = boosts.is_some() || ranker.is_some();
    let rules = [
        (grouped && iterates, "Not allowed to do groupBy when doing iteration"),
        (grouped && params.radius.is_some(), RANGE_WITH_GROUPS),
        (grouped && binary, BINARY_WITH_GROUPS),
        (several && ordered, "order_by is not supported with more than one group_by field"),
        (iterates && ordered, "order_by is not supported when using search iterator"),
        (
            scores && ordered,
            "order_by and function_score cannot be used together: they specify conflicting sort \
             criteria",
        ),
        (boosts.is_some() && (grouped || iterates), BOOSTS_WITH_GROUPS),
        (iterates && scores, "function_score is not supported when using search iterator"),
    ];
    rules.into_iter().find(|(broken, _)| *broken).map(|(_, text)| text)
}

/// The metric that the field's index was created with.
fn index_metric(collection: &Collection, field: &FieldSchema) -> Result<MetricType> {
    let index = collection.indexes_of(field.id).next().ok_or_else(|| {
        Error::not_found(Subject::Index, "index not found").with("collection", &collection.name)
    })?;
    Ok(index.metric.unwrap_or_else(|| MetricType::default_for(field.data_type)))
}

#[expect(clippy::cast_possible_truncation, reason = "scores are binary32, and so are their bounds")]
fn score_range(params: &SearchParams) -> Option<ScoreRange> {
    let range_filter = params.range_filter.map(|inner| inner as f32);
    params.radius.map(|radius| ScoreRange { radius: radius as f32, range_filter })
}

/// How a client wants its answer written.
pub(super) struct Shape {
    /// Hits, or groups, per query that were asked for.
    pub(super) limit: usize,
    /// Decimals of scores.
    pub(super) round_decimal: Option<u8>,
    /// Zone of points in time.
    pub(super) timezone: Tz,
    /// The parts of them that are wanted; none for whole ones.
    pub(super) time_parts: Vec<TimePart>,
    /// Whether the client looks for group values in the place for one field only.
    pub(super) single_group_value: bool,
}

/// The hits and the values that stand with them.
pub(super) fn search_data(
    result: &SearchResult,
    output: Vec<FieldSchema>,
    shape: &Shape,
) -> Result<SearchResultData> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let all = || result.hits.iter().flatten();
    let found: usize = result.hits.iter().map(Vec::len).sum();
    let mut data = SearchResultData {
        num_queries: number(result.hits.len()),
        top_k: number(shape.limit),
        topks: result.hits.iter().map(|hits| number(hits.len())).collect(),
        scores: all().map(|hit| round(hit.score, shape.round_decimal)).collect(),
        ids: (found > 0).then(|| encode_row_ids(all().map(|hit| hit.row))),
        primary_field_name: VIRTUAL_PK_NAME.to_owned(),
        fields_data: encode_columns(&result.columns, shape.timezone, &shape.time_parts)?,
        output_fields: output.into_iter().map(|field| field.name).collect(),
        ..SearchResultData::default()
    };
    let groups = encode_columns(&result.groups, shape.timezone, &shape.time_parts)?;
    if shape.single_group_value {
        data.group_by_field_value = groups.into_iter().next();
    } else {
        data.group_by_field_values = groups;
    }
    Ok(data)
}

/// Success, with what the answer cost and, when asked, how it was found.
pub(super) fn status(result: &SearchResult, explains: bool) -> Status {
    let mut status = with_cost(&result.cost);
    if explains {
        let rows = result.hits.iter().map(Vec::len).sum();
        status.extra_info.insert(EXPLAIN.to_owned(), explain(&result.cost, rows));
    }
    status
}
