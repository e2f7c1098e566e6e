//! Which snapshot of a collection's table a request reads, when not the one that is served.

use pandion_proto::common::KeyValuePair;
use pandion_source::SnapshotChoice;
use pandion_types::{Error, Result};
use serde_json::{Map, Value};

use crate::params::Params;

/// The id of a snapshot.
const SNAPSHOT_ID: &str = "snapshot_id";
/// A time: the snapshot is read that was current then.
const SNAPSHOT_TIMESTAMP: &str = "snapshot_timestamp";
/// The name of a branch.
const SNAPSHOT_BRANCH: &str = "snapshot_branch";
/// The name of a tag.
const SNAPSHOT_TAG: &str = "snapshot_tag";

/// Parses the choice of a snapshot; `None` when the request makes none. `now_ms` is the time in
/// milliseconds since 1970.
///
/// # Errors
/// `InvalidArgument` that names the parameter, for a value that is none, for two choices at once,
/// and for a time that has not come.
pub(crate) fn decode_snapshot_choice(
    params: Params<'_>,
    now_ms: i64,
) -> Result<Option<SnapshotChoice>> {
    let keys = [SNAPSHOT_ID, SNAPSHOT_TIMESTAMP, SNAPSHOT_BRANCH, SNAPSHOT_TAG];
    let mut given = keys.into_iter().filter_map(|key| Some((key, params.text(key)?)));
    let Some((key, text)) = given.next() else { return Ok(None) };
    if let Some((other, _)) = given.next() {
        return Err(Error::invalid_argument(format!(
            "{key} and {other} are mutually exclusive: a request reads one snapshot"
        )));
    }
    let choice = match key {
        SNAPSHOT_ID => text.parse().ok().map(SnapshotChoice::Id),
        SNAPSHOT_TIMESTAMP => SnapshotChoice::at(text),
        SNAPSHOT_BRANCH => Some(SnapshotChoice::Branch(text.to_owned())),
        _ => Some(SnapshotChoice::Tag(text.to_owned())),
    };
    match choice {
        Some(SnapshotChoice::Timestamp(timestamp_ms)) if timestamp_ms > now_ms => {
            Err(Error::invalid_argument(format!(
                "{key} [{text}] is invalid: the time has not come yet"
            )))
        }
        Some(choice) => Ok(Some(choice)),
        None => Err(Error::invalid_argument(format!(
            "{key} [{text}] is invalid: {SNAPSHOT_ID} is a 64-bit integer, {SNAPSHOT_TIMESTAMP} \
             milliseconds since 1970 or a time such as 2026-01-31T12:00:00Z"
        ))),
    }
}

/// As [`decode_snapshot_choice`], for a search: clients put parameters that they do not know among
/// those of the index.
///
/// # Errors
/// As [`decode_snapshot_choice`].
pub(crate) fn decode_search_snapshot(
    params: Params<'_>,
    index_params: &Map<String, Value>,
    now_ms: i64,
) -> Result<Option<SnapshotChoice>> {
    let nested = index_params.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        KeyValuePair { key: key.clone(), value }
    });
    let all: Vec<KeyValuePair> = nested.chain(params.0.iter().cloned()).collect();
    decode_snapshot_choice(Params(&all), now_ms)
}

/// Splits a collection's name from the snapshot that may stand behind it, as in
/// `docs@snapshot_id=123`, `docs@timestamp=2026-01-31T12:00:00Z`, `docs@tag=v1` and
/// `docs@branch=dev`. No collection has the sign in its name, and clients pass names on that drop
/// parameters which they do not know.
///
/// # Errors
/// `InvalidArgument` when something else stands behind the sign; as [`decode_snapshot_choice`].
pub(crate) fn split_name(name: &str, now_ms: i64) -> Result<(&str, Option<SnapshotChoice>)> {
    let Some((name, behind)) = name.split_once('@') else { return Ok((name, None)) };
    let key = match behind.split_once('=') {
        Some(("snapshot_id", _)) => SNAPSHOT_ID,
        Some(("timestamp", _)) => SNAPSHOT_TIMESTAMP,
        Some(("tag", _)) => SNAPSHOT_TAG,
        Some(("branch", _)) => SNAPSHOT_BRANCH,
        _ => {
            return Err(Error::invalid_argument(format!(
                "{behind:?} behind the collection {name:?} names no snapshot: write \
                 {name}@snapshot_id=ID, {name}@timestamp=TIME, {name}@tag=NAME or \
                 {name}@branch=NAME"
            )));
        }
    };
    let value = behind.split_once('=').map_or("", |(_, value)| value).to_owned();
    let pair = [KeyValuePair { key: key.to_owned(), value }];
    match decode_snapshot_choice(Params(&pair), now_ms)? {
        Some(choice) => Ok((name, Some(choice))),
        None => Err(Error::invalid_argument(format!("{behind:?} names no snapshot: it is empty"))),
    }
}

/// The one choice that a request makes, in the collection's name or in a parameter.
///
/// # Errors
/// `InvalidArgument` when it makes two.
pub(crate) fn one_choice(
    named: Option<SnapshotChoice>,
    asked: Option<&SnapshotChoice>,
) -> Result<Option<SnapshotChoice>> {
    match (named, asked) {
        (Some(named), Some(asked)) if named != *asked => Err(Error::invalid_argument(format!(
            "the collection's name asks for {named} and a parameter for {asked}"
        ))),
        (named, asked) => Ok(named.or_else(|| asked.cloned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(params: &[(&str, &str)]) -> Result<Option<SnapshotChoice>> {
        let pair = |(key, value): &(&str, &str)| KeyValuePair {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        let pairs: Vec<_> = params.iter().map(pair).collect();
        decode_snapshot_choice(Params(&pairs), 2_000_000_000_000)
    }

    #[test]
    fn each_way_to_name_a_snapshot_is_read() {
        assert_eq!(decode(&[("limit", "1")]).unwrap(), None);
        let found = |key, text| decode(&[(key, text)]).unwrap().unwrap();
        assert_eq!(found("snapshot_id", "-3"), SnapshotChoice::Id(-3));
        assert_eq!(found("snapshot_timestamp", "12"), SnapshotChoice::Timestamp(12));
        let written = found("snapshot_timestamp", "1970-01-01T01:00:01+01:00");
        assert_eq!(written, SnapshotChoice::Timestamp(1000));
        assert_eq!(found("snapshot_branch", "b"), SnapshotChoice::Branch("b".into()));
        assert_eq!(found("snapshot_tag", "t"), SnapshotChoice::Tag("t".into()));
    }

    #[test]
    fn what_names_no_snapshot_is_refused() {
        let refused = |params: &[(&str, &str)]| decode(params).unwrap_err().to_string();
        assert!(refused(&[("snapshot_id", "first")]).contains("snapshot_id [first] is invalid"));
        assert!(refused(&[("snapshot_timestamp", "-1")]).contains("snapshot_timestamp [-1]"));
        let future = refused(&[("snapshot_timestamp", "2000000000001")]);
        assert!(future.contains("has not come yet"), "{future}");
        let both = refused(&[("snapshot_id", "1"), ("snapshot_tag", "t")]);
        assert!(both.contains("snapshot_id and snapshot_tag are mutually exclusive"), "{both}");
    }

    #[test]
    fn a_snapshot_may_stand_behind_the_name() {
        let split = |name| split_name(name, 2_000_000_000_000);
        assert_eq!(split("docs").unwrap(), ("docs", None));
        assert_eq!(split("docs@snapshot_id=7").unwrap(), ("docs", Some(SnapshotChoice::Id(7))));
        let time = Some(SnapshotChoice::Timestamp(1000));
        assert_eq!(split("docs@timestamp=1970-01-01T00:00:01Z").unwrap(), ("docs", time));
        let tag = Some(SnapshotChoice::Tag("a=b@c".into()));
        assert_eq!(split("docs@tag=a=b@c").unwrap(), ("docs", tag));
        for wrong in ["docs@", "docs@7", "docs@tag=", "docs@snapshot_id=x", "docs@timestamp=x"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_makes_one_choice() {
        let (one, other) = (SnapshotChoice::Id(1), SnapshotChoice::Id(2));
        assert_eq!(one_choice(None, None).unwrap(), None);
        assert_eq!(one_choice(Some(one.clone()), Some(&one)).unwrap(), Some(one.clone()));
        assert_eq!(one_choice(None, Some(&other)).unwrap(), Some(other.clone()));
        assert!(one_choice(Some(one), Some(&other)).is_err());
    }

    #[test]
    fn a_search_may_have_it_among_the_parameters_of_the_index() {
        let nested = serde_json::json!({"snapshot_id": 7, "ef": 10, "snapshot_tag": null});
        let nested = nested.as_object().unwrap();
        let found = decode_search_snapshot(Params(&[]), nested, 0).unwrap();
        assert_eq!(found, Some(SnapshotChoice::Id(7)));
    }
}
