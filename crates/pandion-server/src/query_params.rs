//! The parameters of a query: from key-value pairs to a typed struct.
//!
//! Limits and texts are those of Milvus. What Pandion does not serve is listed and left to the
//! caller to refuse.

use chrono_tz::Tz;
use pandion_proto::milvus::QueryRequest;
use pandion_types::{Error, Result};

use crate::feature::Feature;
use crate::params::Params;

/// The largest offset and limit of a query together.
pub(crate) const QUERY_WINDOW_MAX: i64 = 16_384;

/// The parameters of one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryParams {
    /// At most so many rows; `None` for all.
    pub(crate) limit: Option<usize>,
    /// Matching rows to leave out first; 0 without a limit.
    pub(crate) offset: usize,
    /// Whether the query is one page of an iterator.
    pub(crate) iterator: bool,
    /// Whether fewer rows than asked for will do.
    pub(crate) reduce_stop_for_best: bool,
    /// The collection that an iterator began with.
    pub(crate) collection_id: Option<i64>,
    /// Zone in which points in time are returned.
    pub(crate) timezone: Option<Tz>,
    /// What is asked for and not served, in a fixed order.
    pub(crate) features: Vec<Feature>,
}

/// Parses the parameters of a query.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub(crate) fn decode_query_params(request: &QueryRequest) -> Result<QueryParams> {
    let params = Params(&request.query_params);
    let limit = params.integer("limit")?;
    let offset = params.integer("offset")?.unwrap_or(0);
    // Milvus looks at the offset only beside a limit.
    let (limit, offset) = match limit {
        Some(limit) => {
            let (limit, offset) = check_window(limit, offset)?;
            (Some(limit), offset)
        }
        None => (None, 0),
    };
    let asked = [
        (Feature::GroupBy, params.text("group_by_fields").is_some()),
        (Feature::OrderBy, params.text("order_by_fields").is_some()),
        (Feature::Namespace, request.namespace.is_some()),
        (Feature::TimeFields, params.text("time_fields").is_some()),
    ];
    Ok(QueryParams {
        limit,
        offset,
        iterator: params.flag("iterator")?,
        reduce_stop_for_best: params.flag("reduce_stop_for_best")?,
        collection_id: params.integer("collection_id")?,
        timezone: params.timezone()?,
        features: asked.into_iter().filter(|(_, asked)| *asked).map(|(f, _)| f).collect(),
    })
}

impl QueryParams {
    /// Checks the limit against what is asked for: `filtered` says whether there is a filter,
    /// `counts` whether rows are counted instead of returned.
    ///
    /// # Errors
    /// `InvalidArgument` for a count of one page, and for all rows of a collection.
    pub(crate) fn check_use(&self, filtered: bool, counts: bool) -> Result<()> {
        if counts && self.limit.is_some() {
            return Err(Error::invalid_argument("count entities with pagination is not allowed"));
        }
        if !filtered && !counts && self.limit.is_none() {
            return Err(Error::invalid_argument("empty expression should be used with limit"));
        }
        Ok(())
    }
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
            ("timezone", "UTC"),
        ])
        .unwrap();
        let expected = QueryParams {
            limit: Some(1000),
            offset: 5,
            iterator: true,
            reduce_stop_for_best: true,
            collection_id: Some(449),
            timezone: Some(Tz::UTC),
            features: Vec::new(),
        };
        assert_eq!(params, expected);
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
    fn use_is_checked() {
        let paged = decode(&[("limit", "1")]).unwrap();
        let whole = decode(&[]).unwrap();
        paged.check_use(false, false).unwrap();
        whole.check_use(true, false).unwrap();
        whole.check_use(false, true).unwrap();
        let text = |result: Result<()>| result.unwrap_err().message().to_owned();
        assert_eq!(
            text(paged.check_use(false, true)),
            "count entities with pagination is not allowed"
        );
        assert_eq!(
            text(whole.check_use(false, false)),
            "empty expression should be used with limit"
        );
    }

    #[test]
    fn features_are_listed() {
        let params = decode(&[("group_by_fields", "a"), ("order_by_fields", "a:asc")]).unwrap();
        assert_eq!(params.features, [Feature::GroupBy, Feature::OrderBy]);
    }
}
