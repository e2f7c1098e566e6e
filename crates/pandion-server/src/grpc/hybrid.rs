//! Hybrid search: several searches of one snapshot whose hits become one list.

use std::time::Instant;

use chrono_tz::Tz;
use futures::future::try_join_all;
use pandion_proto::milvus;
use pandion_query::{HybridRequest, QueryOptions, Snapshot, VectorSearch};
use pandion_source::SnapshotChoice;
use pandion_types::{DataType, Error, Result};

use super::reading::filter;
use super::searching::{
    BINARY_WITH_GROUPS, BOOSTS_WITH_GROUPS, RANGE_WITH_GROUPS, Scope, Shape, search_data, status,
};
use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::explain::EXPLAIN;
use crate::feature::Feature;
use crate::output_fields::search_output;
use crate::params::{Params, timezone_of};
use crate::rank_params::{Scoring, decode_function_score, decode_rank_params};
use crate::refine_params::{decode_group_scorer, decode_grouping, reads_single_group_value};
use crate::search_params::{
    SEARCH_WINDOW_MAX, decode_part_params, decode_round_decimal, decode_time_fields,
    requested_features,
};
use crate::time_travel::{decode_snapshot_choice, one_choice};

/// The most searches that one request may bring.
const SEARCHES_MAX: usize = 1024;

pub(super) async fn hybrid_search(
    door: &Door,
    caller: &Caller,
    request: milvus::HybridSearchRequest,
) -> Result<milvus::SearchResults> {
    let started = Instant::now();
    let (collection, named) =
        door.collection_at(caller, &request.db_name, &request.collection_name)?;
    door.authorize(caller, Action::Read, Resource::Collection(&collection))?;
    super::partitions::check(&request.partition_names)?;
    check(&request)?;
    let params = Params(&request.rank_params);
    let (limit, offset) = decode_window(params)?;
    let timezone = timezone_of(params.timezone()?, &collection.properties)?;
    let choice = one_choice(named, snapshot_choice(&request)?.as_ref())?;
    let snapshot = door.node().snapshot_at(&collection, choice.as_ref()).await?;
    let schema = snapshot.schema();
    let output = search_output(schema, &request.output_fields)?;
    let grouping = decode_grouping(params, schema)?;
    let scoring = scoring(&request, &snapshot, timezone)?;
    let ranker = match scoring.ranker {
        Some(ranker) => ranker,
        None => decode_rank_params(params, request.requests.len())?,
    };
    if scoring.boosts.is_some() && grouping.is_some() {
        return Err(Error::invalid_argument(BOOSTS_WITH_GROUPS));
    }
    let parts = request.requests.iter();
    let scope = Scope { door, collection: &collection, snapshot: &snapshot, timezone };
    let grouped = grouping.is_some();
    let parts =
        try_join_all(parts.map(|part| search(&scope, part, limit + offset, grouped))).await?;
    let (searches, explains): (Vec<_>, Vec<bool>) = parts.into_iter().unzip();
    let explains = params.flag(EXPLAIN)? || explains.contains(&true);
    let shape = Shape {
        limit,
        round_decimal: decode_round_decimal(params)?,
        timezone,
        time_parts: decode_time_fields(params)?,
        single_group_value: reads_single_group_value(params),
    };
    let asked = HybridRequest {
        searches,
        boosts: scoring.boosts,
        ranker,
        grouping,
        group_scorer: decode_group_scorer(params)?,
        limit,
        offset,
        output: output.iter().map(|field| field.id).collect(),
        options: QueryOptions::default(),
    };
    let result = door.node().engine().hybrid_search(&snapshot, asked).await?;
    door.count_read("search", &result.cost, started);
    Ok(milvus::SearchResults {
        status: Some(status(&result, explains)),
        results: Some(search_data(&result, output, &shape)?),
        collection_name: collection.name.clone(),
        session_ts: clock::hybrid_timestamp(),
    })
}

/// The snapshot that the whole or a part of it names: a hybrid search reads one.
fn snapshot_choice(request: &milvus::HybridSearchRequest) -> Result<Option<SnapshotChoice>> {
    let mut chosen = decode_snapshot_choice(Params(&request.rank_params), clock::unix_ms())?;
    for part in &request.requests {
        let Some(choice) = decode_part_params(Params(&part.search_params), 1)?.snapshot else {
            continue;
        };
        if chosen.as_ref().is_some_and(|chosen| *chosen != choice) {
            return Err(Error::invalid_argument(
                "the searches of a hybrid search must read one snapshot",
            ));
        }
        chosen = Some(choice);
    }
    Ok(chosen)
}

/// Checks what needs no schema.
fn check(request: &milvus::HybridSearchRequest) -> Result<()> {
    let count = request.requests.len();
    if count > SEARCHES_MAX {
        return Err(Error::invalid_argument(format!(
            "maximum of ann search requests is {SEARCHES_MAX}"
        )));
    }
    if count == 0 {
        return Err(Error::invalid_argument("a hybrid search needs at least one search request"));
    }
    if request.namespace.is_some() {
        return Err(Feature::Namespace.refusal());
    }
    if !request.function_chains.is_empty() {
        return Err(Feature::FunctionChains.refusal());
    }
    // Clients repeat the options of the whole in every request: what groups is taken from the whole,
    // and an order may stand in the requests alone.
    let lists = request.requests.iter().map(|part| &part.search_params);
    let mut lists = lists.chain([&request.rank_params]);
    if lists.any(|list| Params(list).text("order_by_fields").is_some()) {
        return Err(Error::invalid_argument("order_by is not supported for hybrid search"));
    }
    for part in &request.requests {
        if let Some(feature) = requested_features(part).first() {
            return Err(feature.refusal());
        }
        if part.function_score.is_some() {
            return Err(Error::invalid_argument(
                "function_score belongs to the hybrid search, not to one of its requests",
            ));
        }
    }
    Ok(())
}

fn decode_window(params: Params<'_>) -> Result<(usize, usize)> {
    let limit = params
        .integer("limit")?
        .ok_or_else(|| Error::invalid_argument("limit not found in rank_params"))?;
    let offset = params.integer("offset")?.unwrap_or(0);
    let refuse = |what: String| {
        Err(Error::invalid_argument(format!("invalid max query result window, {what}")))
    };
    let Ok(skipped) = usize::try_from(offset) else {
        return refuse(format!("offset [{offset}] is invalid, should be gte than 0"));
    };
    let wanted = match usize::try_from(limit) {
        Ok(limit) if limit > 0 => limit,
        _ => return refuse(format!("limit [{limit}] is invalid, should be greater than 0")),
    };
    let depth = offset.saturating_add(limit);
    if depth > SEARCH_WINDOW_MAX {
        return refuse(format!(
            "(offset+limit) should be in range [1, {SEARCH_WINDOW_MAX}], but got {depth}"
        ));
    }
    Ok((wanted, skipped))
}

fn scoring(
    request: &milvus::HybridSearchRequest,
    snapshot: &Snapshot,
    timezone: Tz,
) -> Result<Scoring> {
    let Some(score) = &request.function_score else { return Ok(Scoring::default()) };
    let schema = snapshot.schema();
    let templates = std::collections::HashMap::new();
    let filter = |text: &str| filter(schema, text, &templates, timezone);
    decode_function_score(score, schema, request.requests.len(), &filter)
}

/// One of the searches, and whether it asks for an explanation. It takes the window of the whole
/// where it has none.
async fn search(
    scope: &Scope<'_>,
    request: &milvus::SearchRequest,
    limit: usize,
    grouped: bool,
) -> Result<(VectorSearch, bool)> {
    let params = decode_part_params(Params(&request.search_params), limit)?;
    if grouped && params.radius.is_some() {
        return Err(Error::invalid_argument(RANGE_WITH_GROUPS));
    }
    if grouped && params.field(scope.snapshot.schema())?.data_type == DataType::BinaryVector {
        return Err(Error::invalid_argument(BINARY_WITH_GROUPS));
    }
    Ok((scope.part(request, &params).await?, params.explain))
}

#[cfg(test)]
mod tests {
    use pandion_proto::common::KeyValuePair;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
        pairs
            .iter()
            .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
            .collect()
    }

    fn window(list: &[(&str, &str)]) -> Result<(usize, usize)> {
        decode_window(Params(&pairs(list)))
    }

    #[test]
    fn windows_have_limits() {
        assert_eq!(window(&[("limit", "10"), ("offset", "5")]).unwrap(), (10, 5));
        let refusal = |list: &[(&str, &str)]| window(list).unwrap_err().message().to_owned();
        assert_eq!(refusal(&[]), "limit not found in rank_params");
        assert!(
            refusal(&[("limit", "0")]).contains("limit [0] is invalid, should be greater than 0")
        );
        assert!(refusal(&[("limit", "1"), ("offset", "-1")]).contains("should be gte than 0"));
        let text = refusal(&[("limit", "16384"), ("offset", "1")]);
        assert!(text.contains("(offset+limit) should be in range [1, 16384], but got 16385"));
    }

    #[test]
    fn what_belongs_elsewhere_is_refused() {
        let refusal = |request: &milvus::HybridSearchRequest| {
            check(request).unwrap_err().message().to_owned()
        };
        let part = milvus::SearchRequest::default();
        let good =
            milvus::HybridSearchRequest { requests: vec![part.clone()], ..Default::default() };
        check(&good).unwrap();
        let many = vec![part.clone(); SEARCHES_MAX + 1];
        let many = milvus::HybridSearchRequest { requests: many, ..Default::default() };
        assert_eq!(refusal(&many), "maximum of ann search requests is 1024");
        assert!(refusal(&milvus::HybridSearchRequest::default()).contains("at least one"));
        let ordered = milvus::HybridSearchRequest {
            rank_params: pairs(&[("order_by_fields", "a")]),
            ..good.clone()
        };
        assert_eq!(refusal(&ordered), "order_by is not supported for hybrid search");
        let repeated = [("group_by_field", "a"), ("order_by_fields", "a")];
        let of = |list: &[(&str, &str)]| {
            let part = milvus::SearchRequest { search_params: pairs(list), ..part.clone() };
            milvus::HybridSearchRequest { requests: vec![part], ..good.clone() }
        };
        check(&of(&repeated[..1])).unwrap();
        assert_eq!(refusal(&of(&repeated)), "order_by is not supported for hybrid search");
    }
}
