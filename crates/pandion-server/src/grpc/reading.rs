//! Search, and what it shares with query.

use std::collections::HashMap;
use std::time::Instant;

use chrono_tz::Tz;
use pandion_filter::{Filter, ParseOptions, Templates, TimeZone, parse_with};
use pandion_index::{QueryBatch, ScoreRange};
use pandion_proto::common::Status;
use pandion_proto::milvus;
use pandion_proto::schema::{self, FieldData, SearchResultData};
use pandion_query::{OutputColumn, QueryCost, QueryOptions, SearchHit, SearchRequest};
use pandion_types::{
    CollectionSchema, Error, FieldSchema, MetricType, Result, Subject, VIRTUAL_PK_NAME,
};

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::field_data::{encode_column, encode_row_ids};
use crate::output_fields::search_output;
use crate::params::Params;
use crate::placeholder::decode_query_vectors;
use crate::search_params::{
    SearchInput, SearchParams, decode_search_input, decode_search_params, requested_features,
};
use crate::status;
use crate::template_codec::{TemplateValue, decode_templates};

pub(super) async fn search(
    door: &Door,
    caller: &Caller,
    request: milvus::SearchRequest,
) -> Result<milvus::SearchResults> {
    let started = Instant::now();
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    door.authorize(caller, Action::Read, Resource::Collection(&collection))?;
    super::partitions::check(&request.partition_names)?;
    if let Some(feature) = requested_features(&request)?.first() {
        return Err(feature.refusal());
    }
    let params = decode_search_params(Params(&request.search_params))?;
    let snapshot = door.node().snapshot(&collection).await?;
    let schema = snapshot.schema();
    let field = params.field(schema)?.clone();
    let metric = params.metric(index_metric(&collection, &field)?)?;
    params.check_range(metric)?;
    let timezone = params.timezone.unwrap_or(Tz::UTC);
    let output = search_output(schema, &request.output_fields)?;
    let filter = filter(schema, &request.dsl, &request.expr_template_values, timezone)?;
    let queries = queries(&field, &request)?;
    let asked = SearchRequest {
        field: field.id,
        queries,
        metric,
        limit: params.limit,
        offset: params.offset,
        range: score_range(&params),
        filter,
        output: output.iter().map(|field| field.id).collect(),
        options: QueryOptions::default(),
    };
    let result = door.node().engine().search(&snapshot, asked).await?;
    door.count_read("search", &result.cost, started);
    let results = SearchResultData {
        fields_data: encode_columns(&result.columns, timezone)?,
        output_fields: output.into_iter().map(|field| field.name).collect(),
        ..search_data(&params, &result.hits)
    };
    Ok(milvus::SearchResults {
        status: Some(with_cost(&result.cost)),
        results: Some(results),
        collection_name: collection.name.clone(),
        session_ts: clock::hybrid_timestamp(),
    })
}

/// The metric that the field's index was created with.
fn index_metric(
    collection: &pandion_catalog::Collection,
    field: &FieldSchema,
) -> Result<MetricType> {
    let index = collection.indexes_of(field.id).next().ok_or_else(|| {
        Error::not_found(Subject::Index, "index not found").with("collection", &collection.name)
    })?;
    Ok(index.metric.unwrap_or_else(|| MetricType::default_for(field.data_type)))
}

pub(super) fn filter(
    schema: &CollectionSchema,
    text: &str,
    templates: &HashMap<String, schema::TemplateValue>,
    timezone: Tz,
) -> Result<Option<Filter>> {
    let mut named = Templates::new();
    for (name, value) in decode_templates(templates)? {
        named.insert(name, template(value));
    }
    let time_zone: TimeZone = timezone.name().parse()?;
    let options = ParseOptions { time_zone };
    let filter = parse_with(text, schema, &named, &options)?;
    Ok((!filter.is_match_all()).then_some(filter))
}

fn template(value: TemplateValue) -> pandion_filter::TemplateValue {
    use pandion_filter::TemplateValue as Filter;
    match value {
        TemplateValue::Bool(value) => Filter::Bool(value),
        TemplateValue::Int64(value) => Filter::Int64(value),
        TemplateValue::Double(value) => Filter::Double(value),
        TemplateValue::String(value) => Filter::String(value),
        TemplateValue::List(values) => Filter::Array(values.into_iter().map(template).collect()),
    }
}

fn queries(field: &FieldSchema, request: &milvus::SearchRequest) -> Result<QueryBatch> {
    let SearchInput::Vectors(group) = decode_search_input(request)? else {
        return Err(Error::unsupported(
            "search by primary keys is not supported yet: give the vectors themselves",
        ));
    };
    let vectors = decode_query_vectors(field, request.nq, &group)?;
    let each: Vec<&[u8]> = vectors.data.chunks_exact(vectors.vector_type.bytes().max(1)).collect();
    let queries = QueryBatch::new(vectors.vector_type, &each)?;
    match queries.first_non_finite() {
        Some(at) => Err(Error::invalid_argument(format!(
            "query vector {at} of the search has a component that is not a finite number"
        ))),
        None => Ok(queries),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are binary32, and so are their bounds")]
fn score_range(params: &SearchParams) -> Option<ScoreRange> {
    let range_filter = params.range_filter.map(|inner| inner as f32);
    params.radius.map(|radius| ScoreRange { radius: radius as f32, range_filter })
}

fn encode_columns(columns: &[OutputColumn], timezone: Tz) -> Result<Vec<FieldData>> {
    columns.iter().map(|column| encode_column(&column.field, &column.values, timezone)).collect()
}

/// The part of an answer that is the same whatever fields are asked for.
fn search_data(params: &SearchParams, hits: &[Vec<SearchHit>]) -> SearchResultData {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let all = || hits.iter().flatten();
    let found: usize = hits.iter().map(Vec::len).sum();
    SearchResultData {
        num_queries: number(hits.len()),
        top_k: number(params.limit),
        topks: hits.iter().map(|hits| number(hits.len())).collect(),
        scores: all().map(|hit| params.round(hit.score)).collect(),
        ids: (found > 0).then(|| encode_row_ids(all().map(|hit| hit.row))),
        primary_field_name: VIRTUAL_PK_NAME.to_owned(),
        ..SearchResultData::default()
    }
}

/// Success, with what the answer cost under the keys that clients know and under our own.
pub(super) fn with_cost(cost: &QueryCost) -> Status {
    let looked_up = cost.io.cache_hits + cost.io.cache_misses;
    #[expect(clippy::cast_precision_loss, reason = "a ratio to show")]
    let hit_ratio = if looked_up == 0 { 0.0 } else { cost.io.cache_hits as f64 / looked_up as f64 };
    let pairs = [
        ("scanned_remote_bytes", cost.io.bytes_read.to_string()),
        ("scanned_total_bytes", cost.io.bytes_read.to_string()),
        ("cache_hit_ratio", hit_ratio.to_string()),
        ("read_requests", cost.io.read_requests.to_string()),
        ("bytes_read", cost.io.bytes_read.to_string()),
        ("rows_decoded", cost.io.rows_decoded.to_string()),
        ("rows_filtered", cost.rows_filtered.to_string()),
        ("distances", cost.distances.to_string()),
        ("files", cost.files.to_string()),
        ("files_pruned", cost.files_pruned.to_string()),
        ("row_groups", cost.row_groups.to_string()),
        ("row_groups_pruned", cost.row_groups_pruned.to_string()),
    ];
    let extra_info = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Status { extra_info, ..status::success() }
}
