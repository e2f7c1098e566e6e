//! Groups of hits: the nearest groups, each with its nearest rows.
//!
//! Rows are looked at in the order of the search, a batch after the other, until the wanted groups
//! are there or no row is left. What is found does not depend on the size of the batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::row::{RowConverter, SortField};
use pandion_index::QueryBatch;
use pandion_types::{DataType, Error, FieldId, FieldSchema, Result, RowId};

use crate::counters::Counters;
use crate::engine::{Nearest, QueryEngine};
use crate::request::{OutputColumn, SearchHit};
use crate::snapshot::Snapshot;
use crate::value_path::{JsonCast, ValuePath, cast, json_values};

/// Hits of all queries that are held at a time while groups are filled.
const ROUND_HITS_MAX: usize = 1 << 20;

/// Hits per query in the first round, at least.
const ROUND_HITS_MIN: usize = 64;

/// Rows whose group values are read at a time.
const KEY_ROWS_MAX: usize = 1 << 16;

/// How much deeper each round looks than the one before.
const ROUND_GROWTH: usize = 4;

/// How hits are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Rows with equal values of all keys form a group; rows without a value form one, too.
    pub keys: Vec<GroupKey>,
    /// Hits per group, at most.
    pub size: usize,
    /// Whether groups are filled up to `size` as far as rows exist. Otherwise the search ends as
    /// soon as the wanted groups exist and as many rows as they may hold have been looked at.
    pub strict: bool,
}

/// One value that groups are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Name of the column of its values, as the caller wrote it.
    pub name: String,
    /// Where the value stands.
    pub source: ValuePath,
    /// What values inside of a JSON field are brought to; of no meaning for other fields.
    pub cast: JsonCast,
}

/// The identity of a group.
pub(crate) type Key = Box<[u8]>;

/// Checks that groups can be made by values of this type.
///
/// # Errors
/// `InvalidArgument` that names the type.
pub(crate) fn check_type(data_type: DataType) -> Result<()> {
    match data_type {
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::VarChar
        | DataType::Text
        | DataType::Timestamptz
        | DataType::Json => Ok(()),
        other => Err(Error::invalid_argument(format!(
            "unsupported data type {other} for group by operator"
        ))),
    }
}

fn key_column(key: &GroupKey, column: OutputColumn) -> Result<OutputColumn> {
    check_type(column.field.data_type)?;
    if column.field.data_type != DataType::Json {
        return Ok(column);
    }
    let values = cast(&json_values(&column.values, &key.source.path)?, key.cast)?;
    let field = FieldSchema {
        name: key.name.clone(),
        data_type: key.cast.to,
        nullable: true,
        ..column.field
    };
    Ok(OutputColumn { field, values })
}

impl QueryEngine {
    /// The columns of the group keys for rows, in the order of `rows`, which may repeat.
    pub(crate) async fn group_columns(
        &self,
        snapshot: &Arc<Snapshot>,
        grouping: &Grouping,
        rows: &[RowId],
        counters: &Arc<Counters>,
    ) -> Result<Vec<OutputColumn>> {
        let fields: Vec<FieldId> = grouping.keys.iter().map(|key| key.source.field).collect();
        let columns = self.take_repeating(snapshot, &fields, rows, counters).await?;
        grouping.keys.iter().zip(columns).map(|(key, column)| key_column(key, column)).collect()
    }

    /// The group of each row. Equal bytes mean the same group, also between calls.
    pub(crate) async fn group_keys(
        &self,
        snapshot: &Arc<Snapshot>,
        grouping: &Grouping,
        rows: &[RowId],
        counters: &Arc<Counters>,
    ) -> Result<Vec<Key>> {
        // In the order of the files, so that each page is read once.
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut keys: Vec<Key> = Vec::with_capacity(sorted.len());
        for rows in sorted.chunks(KEY_ROWS_MAX) {
            let columns = self.group_columns(snapshot, grouping, rows, counters).await?;
            keys.extend(encode(columns)?);
        }
        let key = |row: &RowId| sorted.binary_search(row).ok().and_then(|at| keys.get(at)).cloned();
        rows.iter()
            .map(|row| key(row).ok_or_else(|| Error::internal("the group of a row was lost")))
            .collect()
    }

    /// For each query its nearest groups, the one with the nearest hit first, each with its hits,
    /// nearest first. `asked.k` says how many groups.
    ///
    /// Memory is bounded by the groups that are returned; each round reads the group values of the
    /// rows that it looks at.
    pub(crate) async fn nearest_groups(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: &Nearest<'_>,
        grouping: &Grouping,
        counters: &Arc<Counters>,
    ) -> Result<Vec<Vec<Vec<SearchHit>>>> {
        let hits = asked.queries.len().saturating_mul(asked.k).saturating_mul(grouping.size);
        let bytes = hits.saturating_mul(size_of::<SearchHit>());
        if bytes > self.limits().memory_bytes_max {
            return Err(Error::invalid_argument(format!(
                "{} queries for {} groups of {} hits would take {bytes} bytes, more than the {} \
                 that one request may use",
                asked.queries.len(),
                asked.k,
                grouping.size,
                self.limits().memory_bytes_max
            )));
        }
        let mut states: Vec<State> = (0..asked.queries.len())
            .map(|at| State {
                groups: GroupCollector::new(asked.k, grouping),
                last: asked.after.get(at).copied().flatten(),
                ended: asked.k == 0,
            })
            .collect();
        let mut k = asked.k.saturating_mul(grouping.size).clamp(ROUND_HITS_MIN, ROUND_HITS_MAX);
        loop {
            let open: Vec<usize> = (0..states.len()).filter(|&at| !states[at].ended).collect();
            if open.is_empty() {
                break;
            }
            for chunk in open.chunks((ROUND_HITS_MAX / k).max(1)) {
                let queries = select(asked.queries, chunk)?;
                let after: Vec<_> = chunk.iter().map(|&at| states[at].last).collect();
                let round = Nearest { queries: &queries, k, after: &after, ..*asked };
                let hits = self.nearest(snapshot, &round, counters).await?;
                let rows: Vec<RowId> = hits.iter().flatten().map(|hit| hit.row).collect();
                let keys = self.group_keys(snapshot, grouping, &rows, counters).await?;
                let mut keys = keys.into_iter();
                for (&at, hits) in chunk.iter().zip(hits) {
                    states[at].add(&hits, &mut keys, k);
                }
            }
            k = k.saturating_mul(ROUND_GROWTH).min(ROUND_HITS_MAX);
        }
        Ok(states.into_iter().map(|state| state.groups.groups).collect())
    }
}

fn encode(columns: Vec<OutputColumn>) -> Result<Vec<Key>> {
    let failed = |error| Error::internal("encoding group values failed").caused_by(error);
    let fields =
        columns.iter().map(|column| SortField::new(column.values.data_type().clone())).collect();
    let values: Vec<_> = columns.into_iter().map(|column| column.values).collect();
    let converter = RowConverter::new(fields).map_err(failed)?;
    let encoded = converter.convert_columns(&values).map_err(failed)?;
    Ok(encoded.iter().map(|row| row.as_ref().into()).collect())
}

/// How far the search of one query has come.
struct State {
    groups: GroupCollector,
    /// The last hit that was looked at.
    last: Option<SearchHit>,
    ended: bool,
}

impl State {
    /// Takes the hits of a round, and as many keys.
    fn add(&mut self, hits: &[SearchHit], keys: &mut impl Iterator<Item = Key>, asked: usize) {
        for (hit, key) in hits.iter().zip(keys.by_ref()) {
            self.groups.offer(*hit, key);
        }
        self.last = hits.last().copied().or(self.last);
        self.ended = hits.len() < asked || self.groups.is_complete();
    }
}

fn select(queries: &QueryBatch, at: &[usize]) -> Result<QueryBatch> {
    let vectors: Vec<&[u8]> = at.iter().filter_map(|&at| queries.vector(at)).collect();
    QueryBatch::new(queries.vector_type(), &vectors)
}

/// Sorts hits, which come nearest first, into groups.
#[derive(Debug)]
pub(crate) struct GroupCollector {
    wanted: usize,
    size: usize,
    strict: bool,
    numbers: HashMap<Key, usize>,
    groups: Vec<Vec<SearchHit>>,
    full: usize,
    seen: usize,
}

impl GroupCollector {
    pub(crate) fn new(wanted: usize, grouping: &Grouping) -> Self {
        Self {
            wanted,
            size: grouping.size,
            strict: grouping.strict,
            numbers: HashMap::new(),
            groups: Vec::new(),
            full: 0,
            seen: 0,
        }
    }

    /// Whether no further hit is wanted.
    pub(crate) fn is_complete(&self) -> bool {
        self.groups.len() == self.wanted
            && if self.strict {
                self.full == self.wanted
            } else {
                self.seen >= self.wanted.saturating_mul(self.size)
            }
    }

    /// Shows the next hit. After the last wanted one it is ignored, so that the result is the same
    /// however many hits are shown.
    pub(crate) fn offer(&mut self, hit: SearchHit, key: Key) {
        if self.is_complete() {
            return;
        }
        self.seen += 1;
        let number = match self.numbers.get(&key) {
            Some(&number) => number,
            None if self.groups.len() < self.wanted => {
                self.numbers.insert(key, self.groups.len());
                self.groups.push(Vec::new());
                self.groups.len() - 1
            }
            None => return,
        };
        if let Some(group) = self.groups.get_mut(number)
            && group.len() < self.size
        {
            group.push(hit);
            self.full += usize::from(group.len() == self.size);
        }
    }

    #[cfg(test)]
    pub(crate) fn into_groups(self) -> Vec<Vec<SearchHit>> {
        self.groups
    }
}
