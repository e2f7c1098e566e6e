//! Which snapshot of a table a specification asks for.

use std::collections::BTreeMap;
use std::fmt;

use pandion_types::{Error, Result};
use serde_json::Value;

use super::{SourceFormat, bad_json, read_snapshot_id};

/// The keys of which at most one may be set.
const KEYS: [&str; 4] = ["snapshot_id", "branch", "tag", "timestamp"];

/// The snapshot of a table to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum SnapshotChoice {
    /// The newest on the main branch at each refresh.
    #[default]
    Latest,
    /// The one with this id.
    Id(i64),
    /// The newest on this branch at each refresh.
    Branch(String),
    /// The one that this tag names at each refresh.
    Tag(String),
    /// The one that was current at this time, in milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}

impl SnapshotChoice {
    /// The snapshot that was current at a time: milliseconds since 1970, or a time as RFC 3339
    /// writes it. `None` when the text is neither.
    #[must_use]
    pub fn at(time: &str) -> Option<Self> {
        timestamp_ms(time).filter(|time| *time >= 0).map(Self::Timestamp)
    }
}

impl fmt::Display for SnapshotChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => write!(f, "the newest snapshot"),
            Self::Id(id) => write!(f, "snapshot {id}"),
            Self::Branch(name) => write!(f, "branch {name:?}"),
            Self::Tag(name) => write!(f, "tag {name:?}"),
            Self::Timestamp(timestamp_ms) => write!(f, "the snapshot at {timestamp_ms} ms"),
        }
    }
}

fn timestamp_ms(text: &str) -> Option<i64> {
    let instant = || chrono::DateTime::parse_from_rfc3339(text).ok();
    text.parse().ok().or_else(|| Some(instant()?.timestamp_millis()))
}

/// Reads the four keys. `snapshot_id` is accepted beside any format, as Milvus does; the others
/// belong to tables alone.
pub(super) fn read_choice(
    document: &BTreeMap<String, Value>,
    format: SourceFormat,
) -> Result<SnapshotChoice> {
    let set: Vec<_> = KEYS
        .into_iter()
        .filter(|key| document.get(*key).is_some_and(|value| !value.is_null()))
        .collect();
    if let Some(key) = set.iter().find(|key| **key != "snapshot_id")
        && format != SourceFormat::IcebergTable
    {
        return Err(Error::invalid_argument(format!(
            "{key} is only valid for format \"iceberg-table\", got format {:?}",
            format.name()
        )));
    }
    let key = match set.as_slice() {
        [] => return Ok(SnapshotChoice::Latest),
        [key] => *key,
        _ => {
            return Err(Error::invalid_argument(format!(
                "{} are mutually exclusive, found {}",
                KEYS.join(", "),
                set.join(" and ")
            )));
        }
    };
    let value = document.get(key);
    let name = |value: Option<&Value>| match value.and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(bad_json(&format!("{key} must be a non-empty string"))),
    };
    match key {
        "branch" => name(value).map(SnapshotChoice::Branch),
        "tag" => name(value).map(SnapshotChoice::Tag),
        "timestamp" => read_timestamp(value).map(SnapshotChoice::Timestamp),
        _ => Ok(read_snapshot_id(value)?.map_or(SnapshotChoice::Latest, SnapshotChoice::Id)),
    }
}

fn read_timestamp(value: Option<&Value>) -> Result<i64> {
    let found = match value {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => timestamp_ms(text),
        _ => None,
    };
    found.filter(|timestamp_ms| *timestamp_ms >= 0).ok_or_else(|| {
        bad_json(
            "timestamp must be milliseconds since 1970, as a number or a string, or a time such \
             as \"2026-01-31T12:00:00Z\"",
        )
    })
}
