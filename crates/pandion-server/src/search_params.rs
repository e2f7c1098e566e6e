//! The parameters of a search: from key-value pairs to a typed struct.
//!
//! Ranges and texts are those of Milvus. What depends on the collection (which field, which metric)
//! is resolved by the functions that take the schema; what Pandion does not serve is listed by
//! [`requested_features`] and left to the caller to refuse.

use chrono_tz::Tz;
use pandion_proto::common::KeyValuePair;
use pandion_proto::milvus::SearchRequest;
use pandion_proto::milvus::search_request::SearchInput as WireInput;
use pandion_proto::schema::i_ds::IdField;
use pandion_source::SnapshotChoice;
use pandion_types::{CollectionId, CollectionSchema, Error, FieldSchema, MetricType, Result};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock;
use crate::explain::EXPLAIN;
use crate::feature::Feature;
use crate::params::Params;
use crate::placeholder::check_query_count;
use crate::time_parts::{TimePart, decode_time_parts};
use crate::time_travel::decode_search_snapshot;

/// The largest number of hits per query vector, of hits left out, and of both together.
pub(crate) const SEARCH_WINDOW_MAX: i64 = 16_384;

/// The parameters of one search.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SearchParams {
    /// Hits per query vector, after `offset`.
    pub(crate) limit: usize,
    /// Nearest hits to leave out per query vector.
    pub(crate) offset: usize,
    /// Decimals to which scores are rounded; `None` for all there are.
    pub(crate) round_decimal: Option<u8>,
    /// Name of the metric as the client wrote it; `None` when it did not choose.
    pub(crate) metric_type: Option<String>,
    /// Name of the searched field; `None` when the client did not choose.
    pub(crate) anns_field: Option<String>,
    /// Outer bound of the scores, exclusive.
    pub(crate) radius: Option<f64>,
    /// Inner bound of the scores, inclusive.
    pub(crate) range_filter: Option<f64>,
    /// Parameters of the index, such as `ef` and `nprobe`.
    pub(crate) index_params: Map<String, Value>,
    /// Zone in which points in time are returned.
    pub(crate) timezone: Option<Tz>,
    /// Whether the search is one page of an iterator.
    pub(crate) iterator: Option<SearchIterator>,
    /// The collection that an iterator began with.
    pub(crate) collection_id: Option<i64>,
    /// Whether the answer is to tell how it was found.
    pub(crate) explain: bool,
    /// The parts that are returned of points in time; none for whole ones.
    pub(crate) time_parts: Vec<TimePart>,
    /// The snapshot that is searched; `None` for the one that is served.
    pub(crate) snapshot: Option<SnapshotChoice>,
}

/// How an iterator of a client pages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SearchIterator {
    /// The client moves `radius` and leaves out ids it has seen.
    V1,
    /// The server keeps to a bound.
    V2 {
        /// The bound that the page before gave out.
        last_bound: Option<f32>,
        /// The token that the first page gave out.
        id: Option<Uuid>,
    },
}

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SearchInput {
    /// A serialized placeholder group.
    Vectors(bytes::Bytes),
    /// Primary keys of rows whose vectors are searched for.
    Ids(Vec<i64>),
}

/// Parses the parameters of a search.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub(crate) fn decode_search_params(params: Params<'_>) -> Result<SearchParams> {
    let iterates = params.flag("iterator")?;
    let (limit, offset) = decode_window(params, iterates)?;
    let decoded = decode_rest(params, limit, offset)?;
    let iterator = decode_iterator_v2(params, iterates, offset)
        .map_err(|error| error.context("parse iterator v2 info failed"))?;
    match iterator {
        None if iterates => Ok(SearchParams { iterator: Some(SearchIterator::V1), ..decoded }),
        None => Ok(decoded),
        Some((iterator, limit)) => Ok(SearchParams { iterator: Some(iterator), limit, ..decoded }),
    }
}

/// Parses the parameters of one part of a hybrid search; `limit` holds where it has none of its
/// own. The offset of a hybrid search is that of the whole.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub(crate) fn decode_part_params(params: Params<'_>, limit: usize) -> Result<SearchParams> {
    if params.flag("iterator")? || params.flag("search_iter_v2")? {
        return Err(Error::invalid_argument("search iterator is not supported in hybrid search"));
    }
    let limit = match params.integer("topk")? {
        Some(limit) => check_window("topk", limit, 1)?,
        None => limit,
    };
    decode_rest(params, limit, 0)
}

/// What plain and hybrid searches have in common.
fn decode_rest(params: Params<'_>, limit: usize, offset: usize) -> Result<SearchParams> {
    let index_params = decode_index_params(params)?;
    let bound = |key: &str| decode_bound(params, &index_params, key);
    let (radius, range_filter) = (bound("radius")?, bound("range_filter")?);
    if range_filter.is_some() && radius.is_none() {
        return Err(Error::invalid_argument(
            "range_filter requires radius to be set; range_filter alone is not a valid range search \
             parameter",
        ));
    }
    let explain = decode_explain(params, &index_params)?;
    let snapshot = decode_search_snapshot(params, &index_params, clock::unix_ms())?;
    Ok(SearchParams {
        limit,
        offset,
        round_decimal: decode_round_decimal(params)?,
        metric_type: decode_metric(params, &index_params),
        anns_field: params.text("anns_field").map(str::to_owned),
        radius,
        range_filter,
        index_params,
        timezone: params.timezone()?,
        iterator: None,
        collection_id: params.integer("collection_id")?,
        explain,
        time_parts: decode_time_fields(params)?,
        snapshot,
    })
}

impl SearchParams {
    /// The field that is searched: the one that the client names, or the only vector field.
    ///
    /// # Errors
    /// `InvalidArgument` when several fields qualify, there is none of that name, or it holds no
    /// vectors.
    pub(crate) fn field<'a>(&self, schema: &'a CollectionSchema) -> Result<&'a FieldSchema> {
        let Some(name) = &self.anns_field else {
            let mut fields = schema.vector_fields();
            return match (fields.next(), fields.next()) {
                (Some(field), None) => Ok(field),
                (Some(_), Some(_)) => Err(Error::invalid_argument(
                    "multiple anns_fields exist, please specify a anns_field in search_params",
                )),
                (None, _) => Err(Error::invalid_argument("anns_field not found in schema")),
            };
        };
        let field = schema.field(name).map_err(|error| {
            Error::invalid_argument(format!(
                "failed to create query plan: failed to get field schema by name: \
                 fieldName({name}) not found: invalid parameter"
            ))
            .caused_by(error)
        })?;
        if field.data_type.is_dense_vector() {
            return Ok(field);
        }
        Err(Error::invalid_argument(format!(
            "field {name} of type {} is not a vector field and cannot be searched",
            field.data_type
        )))
    }

    /// The metric of the search, which is that of the index.
    ///
    /// # Errors
    /// `InvalidArgument` when the client asks for another one.
    pub(crate) fn metric(&self, index: MetricType) -> Result<MetricType> {
        match &self.metric_type {
            Some(name) if !name.eq_ignore_ascii_case(index.name()) => {
                Err(Error::invalid_argument("metric type not match: invalid parameter")
                    .with("expected", index)
                    .with("actual", name))
            }
            _ => Ok(index),
        }
    }

    /// Checks that the bounds leave room for a score.
    ///
    /// # Errors
    /// `InvalidArgument` when no score can lie between them.
    pub(crate) fn check_range(&self, metric: MetricType) -> Result<()> {
        let (Some(radius), Some(inner)) = (self.radius, self.range_filter) else { return Ok(()) };
        let (room, relation) = if metric.larger_is_nearer() {
            (inner > radius, "greater")
        } else {
            (inner < radius, "less")
        };
        if room {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "range_filter({inner}) must be {relation} than radius({radius}) for metric type {metric}"
        )))
    }

    /// Checks that an iterator still goes over the collection that it began with.
    ///
    /// # Errors
    /// `InvalidArgument` when the name has come to mean another one.
    pub(crate) fn check_collection(&self, id: CollectionId) -> Result<()> {
        match self.collection_id {
            Some(asked) if asked > 0 && asked != id.0 => Err(Error::invalid_argument(format!(
                "collection id:{asked} in the request is not consistent to that in the search \
                 context,alias or database may have been changed: {id}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Rounds a score to so many decimals; `None` for all there are.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a score is a float; so is its rounding")]
pub(crate) fn round(score: f32, decimals: Option<u8>) -> f32 {
    match decimals {
        Some(decimals) => {
            let scale = 10_f64.powi(i32::from(decimals));
            ((f64::from(score) * scale).round() / scale) as f32
        }
        None => score,
    }
}

/// What a search request asks for that Pandion does not serve, in a fixed order.
#[must_use]
pub(crate) fn requested_features(request: &SearchRequest) -> Vec<Feature> {
    let params = Params(&request.search_params);
    let given = |keys: &[&str]| keys.iter().any(|key| params.text(key).is_some());
    let asked = [
        (Feature::FunctionChains, !request.function_chains.is_empty()),
        (Feature::SearchAggregation, request.search_aggregation.is_some()),
        (Feature::Highlighter, request.highlighter.is_some()),
        (Feature::Namespace, request.namespace.is_some()),
        (Feature::SubRequests, !request.sub_reqs.is_empty()),
        (Feature::Analyzer, given(&["analyzer_name"])),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(feature, _)| feature).collect()
}

/// What a search request searches for.
///
/// # Errors
/// `InvalidArgument` when it searches for nothing, for too much, or for keys that are not numbers.
pub(crate) fn decode_search_input(request: &SearchRequest) -> Result<SearchInput> {
    let ids = match &request.search_input {
        Some(WireInput::PlaceholderGroup(group)) => return Ok(SearchInput::Vectors(group.clone())),
        Some(WireInput::Ids(ids)) => ids,
        None => {
            return Err(Error::invalid_argument(
                "nq [0] is invalid, the search names neither vectors nor ids",
            ));
        }
    };
    match &ids.id_field {
        Some(IdField::IntId(ids)) => {
            check_query_count(i64::try_from(ids.data.len()).unwrap_or(i64::MAX))?;
            Ok(SearchInput::Ids(ids.data.clone()))
        }
        Some(IdField::StrId(_)) => Err(Error::invalid_argument(
            "the primary key of an external collection is Int64, but the ids of the search are texts",
        )),
        None => check_query_count(0).map(|_| SearchInput::Ids(Vec::new())),
    }
}

fn decode_window(params: Params<'_>, iterates: bool) -> Result<(usize, usize)> {
    let limit =
        params.integer("topk")?.ok_or_else(|| Error::invalid_argument("topk is required"))?;
    // An iterator may ask for pages larger than a search may be; it gets the largest there is.
    let limit = if iterates { limit.min(SEARCH_WINDOW_MAX) } else { limit };
    let limit_rows = check_window("topk", limit, 1)?;
    let offset = params.integer("offset")?.unwrap_or(0);
    let offset_rows = check_window("offset", offset, 0)?;
    check_window("offset+topk", offset + limit, 1)?;
    Ok((limit_rows, offset_rows))
}

/// Checks that `number` lies between `min` and the largest window.
fn check_window(what: &str, number: i64, min: i64) -> Result<usize> {
    usize::try_from(number).ok().filter(|_| (min..=SEARCH_WINDOW_MAX).contains(&number)).ok_or_else(
        || {
            Error::invalid_argument(format!(
                "{what} [{number}] is invalid, it should be in range [1, {SEARCH_WINDOW_MAX}], but \
                 got {number}"
            ))
        },
    )
}

/// Clients put parameters that they do not know among those of the index.
fn decode_explain(params: Params<'_>, index_params: &Map<String, Value>) -> Result<bool> {
    let shown = match index_params.get(EXPLAIN) {
        None | Some(Value::Null) => return params.flag(EXPLAIN),
        Some(Value::Bool(explains)) => return Ok(*explains),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let pair = KeyValuePair { key: EXPLAIN.to_owned(), value: shown };
    Params(&[pair]).flag(EXPLAIN)
}

/// Parses `time_fields`.
///
/// # Errors
/// `InvalidArgument` that names what is no part of a point in time.
pub(crate) fn decode_time_fields(params: Params<'_>) -> Result<Vec<TimePart>> {
    Ok(params.text("time_fields").map(decode_time_parts).transpose()?.unwrap_or_default())
}

/// Parses `round_decimal`.
///
/// # Errors
/// `InvalidArgument` for anything but -1 and 0 to 6.
pub(crate) fn decode_round_decimal(params: Params<'_>) -> Result<Option<u8>> {
    let Some(text) = params.text("round_decimal") else { return Ok(None) };
    match text.parse::<i64>().map(u8::try_from) {
        Ok(Ok(decimals)) if decimals <= 6 => Ok(Some(decimals)),
        _ if text == "-1" => Ok(None),
        _ => Err(Error::invalid_argument(format!(
            "round_decimal [{text}] is invalid, should be -1 or an integer in range [0, 6]"
        ))),
    }
}

fn decode_index_params(params: Params<'_>) -> Result<Map<String, Value>> {
    let Some(text) = params.text("params") else { return Ok(Map::new()) };
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Error::invalid_argument(format!("params [{text}] is not a JSON object"))),
        Err(error) => {
            Err(Error::invalid_argument(format!("params [{text}] is not valid JSON"))
                .caused_by(error))
        }
    }
}

/// Clients name the metric beside the parameters of the index, among them, or both.
fn decode_metric(params: Params<'_>, index_params: &Map<String, Value>) -> Option<String> {
    params
        .text("metric_type")
        .or_else(|| index_params.get("metric_type")?.as_str().filter(|name| !name.is_empty()))
        .map(str::to_owned)
}

/// Clients name the bounds among the parameters of the index or beside them, as number or text.
fn decode_bound(
    params: Params<'_>,
    index_params: &Map<String, Value>,
    key: &str,
) -> Result<Option<f64>> {
    let (number, shown) = match index_params.get(key) {
        Some(Value::Null) | None => match params.text(key) {
            Some(text) => (text.parse().ok(), text.to_owned()),
            None => return Ok(None),
        },
        Some(Value::String(text)) => (text.parse().ok(), text.clone()),
        Some(value) => (value.as_f64(), value.to_string()),
    };
    number
        .filter(|number: &f64| !number.is_nan())
        .map(Some)
        .ok_or_else(|| Error::invalid_argument(format!("{key} [{shown}] is not a number")))
}

/// The iterator, if it is one of the second version, and its hits per page.
fn decode_iterator_v2(
    params: Params<'_>,
    iterates: bool,
    offset: usize,
) -> Result<Option<(SearchIterator, usize)>> {
    if !params.flag("search_iter_v2")? {
        return Ok(None);
    }
    if !iterates {
        return Err(Error::invalid_argument(
            "both iterator and search_iter_v2 must be set in the SDK",
        ));
    }
    if offset > 0 {
        return Err(Error::invalid_argument(
            "Setting an offset is not permitted when using a search iterator v2",
        ));
    }
    let id = params
        .text("search_iter_id")
        .map(Uuid::parse_str)
        .transpose()
        .map_err(|error| Error::invalid_argument("invalid token format").caused_by(error))?;
    let batch_size = params
        .integer("search_iter_batch_size")
        .map_err(|error| error.context("batch size is invalid"))?
        .ok_or_else(|| Error::invalid_argument("batch size is required"))?;
    let limit = check_window("search_iter_batch_size", batch_size, 1)
        .map_err(|error| error.context("batch size is invalid"))?;
    let last_bound = params
        .text("search_iter_last_bound")
        .map(|text| {
            let bound = text.parse().ok().filter(|bound: &f32| !bound.is_nan());
            bound.ok_or_else(|| {
                Error::invalid_argument(format!("failed to parse input last bound, {text}"))
            })
        })
        .transpose()?;
    Ok(Some((SearchIterator::V2 { last_bound, id }, limit)))
}

#[cfg(test)]
mod tests;
