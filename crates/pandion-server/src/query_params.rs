//! The parameters of a query: from key-value pairs to a typed struct.
//!
//! Limits and texts are those of Milvus. What Pandion does not serve is listed and left to the
//! caller to refuse.

use chrono_tz::Tz;
use pandion_proto::milvus::QueryRequest;
use pandion_source::SnapshotChoice;
use pandion_types::{Error, Result};

use crate::clock;
use crate::explain::EXPLAIN;
use crate::feature::Feature;
use crate::output_fields::QueryOutput;
use crate::params::Params;
use crate::time_parts::{TimePart, decode_time_parts};
use crate::time_travel::decode_snapshot_choice;

/// The largest offset and limit of a query together.
pub(crate) const QUERY_WINDOW_MAX: i64 = 16_384;

/// The parameters of one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryParams {
    /// At most so many rows or groups; `None` for all.
    pub(crate) limit: Option<usize>,
    /// Matching rows or groups to leave out first; 0 without a limit.
    pub(crate) offset: usize,
    /// Whether the query is one page of an iterator.
    pub(crate) iterator: bool,
    /// Whether fewer rows than asked for will do. Pages are always full here.
    pub(crate) reduce_stop_for_best: bool,
    /// The collection that an iterator began with.
    pub(crate) collection_id: Option<i64>,
    /// The primary key after which an iterator goes on.
    pub(crate) after_key: Option<i64>,
    /// What rows are grouped by, as the client wrote it.
    pub(crate) group_by: Vec<String>,
    /// What rows or groups are ordered by, as the client wrote it.
    pub(crate) order_by: Vec<String>,
    /// Zone in which points in time are returned; `None` for the collection's.
    pub(crate) timezone: Option<Tz>,
    /// What is returned of points in time; nothing for whole ones.
    pub(crate) time_parts: Vec<TimePart>,
    /// The snapshot that is read; `None` for the one that is served.
    pub(crate) snapshot: Option<SnapshotChoice>,
    /// Whether the answer is to say how it was found.
    pub(crate) explain: bool,
    /// What is asked for and not served, in a fixed order.
    pub(crate) features: Vec<Feature>,
}

/// Parses the parameters of a query.
///
/// # Errors
/// `InvalidArgument` that names the parameter; for an order without a limit, and for an order or an
/// iterator's key where they do not belong.
pub(crate) fn decode_query_params(request: &QueryRequest) -> Result<QueryParams> {
    let params = Params(&request.query_params);
    let (limit, offset) = decode_window(params)?;
    // What has not been flushed does not exist here; the value is checked all the same.
    params.flag("ignore_growing")?;
    let parts = params.text("time_fields").map(decode_time_parts).transpose()?;
    let decoded = QueryParams {
        limit,
        offset,
        iterator: params.flag("iterator")?,
        reduce_stop_for_best: params.flag("reduce_stop_for_best")?,
        collection_id: params.integer("collection_id")?,
        after_key: decode_iterator_key(params)?,
        group_by: list(params, "group_by_fields"),
        order_by: list(params, "order_by_fields"),
        timezone: params.timezone()?,
        time_parts: parts.unwrap_or_default(),
        snapshot: decode_snapshot_choice(params, clock::unix_ms())?,
        explain: params.flag(EXPLAIN)?,
        features: request.namespace.iter().map(|_| Feature::Namespace).collect(),
    };
    if !decoded.order_by.is_empty() {
        if decoded.limit.is_none() {
            return Err(Error::invalid_argument("ORDER BY requires explicit limit"));
        }
        if decoded.iterator {
            return Err(Error::invalid_argument("ORDER BY with iterator is not supported"));
        }
    }
    if decoded.after_key.is_some() && !decoded.iterator {
        return Err(Error::invalid_argument("query_iter_last_pk is only allowed for an iterator"));
    }
    Ok(decoded)
}

impl QueryParams {
    /// Checks the limit against what is asked for: `filtered` says whether there is a filter that
    /// not every row matches.
    ///
    /// # Errors
    /// `InvalidArgument` for a count of one page, and for all rows of a collection.
    pub(crate) fn check_use(&self, filtered: bool, output: &QueryOutput) -> Result<()> {
        if !filtered && !output.aggregates() && self.limit.is_none() {
            return Err(Error::invalid_argument("empty expression should be used with limit"));
        }
        if output.counts_all_rows() && self.limit.is_some() {
            return Err(Error::invalid_argument("count entities with pagination is not allowed"));
        }
        Ok(())
    }
}

/// The names between commas.
fn list(params: Params<'_>, key: &str) -> Vec<String> {
    let names = params.text(key).unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The key of the last row that an iterator has seen. The place inside that row, which clients send
/// beside it when they iterate over elements of structs, is checked and not used: rows have none.
fn decode_iterator_key(params: Params<'_>) -> Result<Option<i64>> {
    params.integer("query_iter_last_element_offset")?;
    params.integer("query_iter_last_pk")
}

/// Milvus looks at the offset only beside a limit.
fn decode_window(params: Params<'_>) -> Result<(Option<usize>, usize)> {
    let limit = params.integer("limit")?;
    let offset = params.integer("offset")?.unwrap_or(0);
    let Some(limit) = limit else { return Ok((None, 0)) };
    let (limit, offset) = check_window(limit, offset)?;
    Ok((Some(limit), offset))
}

fn check_window(limit: i64, offset: i64) -> Result<(usize, usize)> {
    let refuse = |what: String| {
        Err(Error::invalid_argument(format!("invalid max query result window, {what}")))
    };
    let Ok(offset_rows) = usize::try_from(offset) else {
        return refuse(format!("offset [{offset}] is invalid, should be gte than 0"));
    };
    let limit_rows = match usize::try_from(limit) {
        Ok(limit) if limit > 0 => limit,
        _ => return refuse(format!("limit [{limit}] is invalid, should be greater than 0")),
    };
    let depth = offset.saturating_add(limit);
    if depth > QUERY_WINDOW_MAX {
        return refuse(format!(
            "(offset+limit) should be in range [1, {QUERY_WINDOW_MAX}], but got {depth}"
        ));
    }
    Ok((limit_rows, offset_rows))
}

#[cfg(test)]
mod tests {
    use pandion_proto::common::KeyValuePair;

    use super::*;
    use crate::output_fields::query_output;
    use crate::output_fields::testing::{owned, schema};

    fn decode(list: &[(&str, &str)]) -> Result<QueryParams> {
        let query_params = list
            .iter()
            .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
            .collect();
        decode_query_params(&QueryRequest { query_params, ..Default::default() })
    }

    fn refusal(list: &[(&str, &str)]) -> String {
        decode(list).unwrap_err().message().to_owned()
    }

    #[test]
    fn pages_of_an_iterator_are_understood() {
        let params = decode(&[
            ("collection_id", "449"),
            ("limit", "1000"),
            ("offset", "5"),
            ("iterator", "True"),
            ("ignore_growing", "False"),
            ("reduce_stop_for_best", "True"),
            ("query_iter_last_pk", "-3"),
            ("query_iter_last_element_offset", "0"),
            ("timezone", "UTC"),
            ("explain", "true"),
        ])
        .unwrap();
        let expected = QueryParams {
            limit: Some(1000),
            offset: 5,
            iterator: true,
            reduce_stop_for_best: true,
            collection_id: Some(449),
            after_key: Some(-3),
            timezone: Some(Tz::UTC),
            explain: true,
            ..QueryParams::default()
        };
        assert_eq!(params, expected);
        assert!(refusal(&[("query_iter_last_pk", "3")]).contains("only allowed for an iterator"));
        assert_eq!(refusal(&[("query_iter_last_pk", "x")]), "query_iter_last_pk [x] is invalid");
        assert!(refusal(&[("ignore_growing", "x")]).starts_with("ignore_growing [x] is invalid"));
    }

    #[test]
    fn offset_without_limit_does_nothing() {
        let params = decode(&[("offset", "5")]).unwrap();
        assert_eq!((params.limit, params.offset), (None, 0));
    }

    #[test]
    fn windows_have_limits() {
        assert_eq!(refusal(&[("limit", "x")]), "limit [x] is invalid");
        assert_eq!(refusal(&[("limit", "1"), ("offset", "x")]), "offset [x] is invalid");
        assert!(refusal(&[("limit", "0")]).contains("limit [0] is invalid, should be greater"));
        assert!(refusal(&[("limit", "-1")]).contains("limit [-1] is invalid, should be greater"));
        assert!(refusal(&[("limit", "1"), ("offset", "-1")]).contains("offset [-1] is invalid"));
        assert_eq!(
            refusal(&[("limit", "16384"), ("offset", "1")]),
            "invalid max query result window, (offset+limit) should be in range [1, 16384], but got \
             16385"
        );
        let most = i64::MAX.to_string();
        assert!(refusal(&[("limit", &most), ("offset", &most)]).contains("(offset+limit)"));
        assert_eq!(decode(&[("limit", "16384")]).unwrap().limit, Some(16_384));
    }

    #[test]
    fn lists_are_split_at_commas() {
        let params = decode(&[
            ("limit", "1"),
            ("group_by_fields", " a, ,b "),
            ("order_by_fields", "a:desc:nulls_last,b"),
            ("time_fields", "year,day"),
        ])
        .unwrap();
        assert_eq!(params.group_by, ["a", "b"]);
        assert_eq!(params.order_by, ["a:desc:nulls_last", "b"]);
        assert_eq!(params.time_parts, [TimePart::Year, TimePart::Day]);
        assert!(refusal(&[("time_fields", "week")]).contains("for extraction: week"));
    }

    #[test]
    fn an_order_needs_a_limit_and_no_iterator() {
        assert_eq!(refusal(&[("order_by_fields", "a")]), "ORDER BY requires explicit limit");
        assert_eq!(
            refusal(&[("order_by_fields", "a"), ("limit", "1"), ("iterator", "True")]),
            "ORDER BY with iterator is not supported"
        );
        assert!(decode(&[("order_by_fields", " , ")]).unwrap().order_by.is_empty());
    }

    #[test]
    fn use_is_checked() {
        let paged = decode(&[("limit", "1")]).unwrap();
        let whole = decode(&[]).unwrap();
        let output = |names: &[&str], group_by: &[&str]| {
            query_output(&schema(), &owned(names), &owned(group_by)).unwrap()
        };
        let rows = output(&["*"], &[]);
        let count = output(&["count(*)"], &[]);
        let counts = output(&["count(*)", "sum(price)"], &[]);
        let grouped = output(&["name", "count(*)"], &["name"]);
        let distinct = output(&["name"], &["name"]);
        for (params, filtered, output) in [
            (&paged, false, &rows),
            (&whole, true, &rows),
            (&whole, false, &count),
            (&whole, false, &counts),
            (&whole, false, &grouped),
            (&paged, false, &grouped),
            (&paged, false, &distinct),
            (&whole, true, &distinct),
        ] {
            params.check_use(filtered, output).unwrap();
        }
        let refusal = |params: &QueryParams, output| {
            params.check_use(false, output).unwrap_err().message().to_owned()
        };
        for output in [&count, &counts] {
            assert_eq!(refusal(&paged, output), "count entities with pagination is not allowed");
        }
        for output in [&rows, &distinct] {
            assert_eq!(refusal(&whole, output), "empty expression should be used with limit");
        }
    }

    #[test]
    fn namespaces_are_listed() {
        let request = QueryRequest { namespace: Some("n".to_owned()), ..QueryRequest::default() };
        assert_eq!(decode_query_params(&request).unwrap().features, [Feature::Namespace]);
    }
}
