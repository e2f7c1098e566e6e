//! Equality delete files: keys whose rows are dead.
//!
//! Delete files that compare the same columns are read once each into one set of keys; then the
//! columns of every data file that they concern are read once. A key kills rows of data that are
//! older than the delete file, so that each key keeps the highest sequence number that it was
//! deleted with.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::row::Rows;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::TableMetadata;
use pandion_connector_parquet::ParquetFile;
use pandion_manifest::{DataFile, DeleteFile, DeleteKind, TableFile};
use pandion_source::{IoStats, SourceRoot};
use pandion_types::{Error, Result};
use roaring::RoaringBitmap;

use crate::deletes::integers::{DeadNumbers, SortedKeys};
use crate::deletes::key_set::KeySet;
use crate::deletes::keys::{KeyColumn, KeyColumns};
use crate::deletes::open::{self, Batches};
use crate::deletes::spans::KeySpan;
use crate::guard::{corrupt, decode};

/// Delete files, or row groups of data files, that are read at the same time.
const READS_IN_FLIGHT: usize = 8;

/// Delete files that compare the same columns, and the data files that they concern.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    /// Each once.
    pub(crate) deletes: Vec<&'a DeleteFile>,
    /// With the caller's numbers.
    pub(crate) files: Vec<(usize, &'a DataFile)>,
}

/// What a delete file is limited to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    All,
    Partition(i32, String),
}

/// What the delete files of one scope kill.
#[derive(Debug, Default)]
struct Keys {
    /// The files.
    read: Vec<ReadKeys>,
    /// Where the values of the keys lie, for each column.
    spans: Vec<KeySpan>,
    /// The keys, where they are whole numbers.
    sorted: Option<SortedKeys>,
    /// Keys, and the highest sequence number that each was deleted with; made when first needed.
    numbers: OnceLock<KeySet>,
}

/// What one delete file holds.
#[derive(Debug)]
struct ReadKeys {
    sequence_number: i64,
    /// A batch each.
    keys: Vec<Rows>,
    /// The same without nulls, where they are whole numbers.
    integers: Option<Vec<Int64Array>>,
    spans: Vec<KeySpan>,
}

/// The rows of the group's data files whose keys, in the columns `ids`, are deleted.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the file; those of the store.
pub(crate) async fn read(
    root: &SourceRoot,
    table: &Arc<TableMetadata>,
    ids: &[i32],
    group: Group<'_>,
    stats: &IoStats,
) -> Result<Vec<(usize, RoaringBitmap)>> {
    let columns = Arc::new(KeyColumns::new(table, ids)?);
    let reads = group.deletes.into_iter();
    let reads: Vec<_> =
        reads.map(|delete| read_keys(root, Arc::clone(&columns), delete, stats)).collect();
    let read = stream::iter(reads).buffered(READS_IN_FLIGHT);
    let read: Vec<(Scope, ReadKeys)> = read.try_collect().await?;
    let place = "keys of equality deletes".to_owned();
    let scopes = decode(place, move |_| Ok(by_scope(read))).await?;
    let search = Search { root, table, columns, scopes: Arc::new(scopes), stats };
    let searches: Vec<_> =
        group.files.into_iter().map(|(work, file)| search.dead_rows(work, file)).collect();
    stream::iter(searches).buffered(READS_IN_FLIGHT).try_collect().await
}

async fn read_keys(
    root: &SourceRoot,
    columns: Arc<KeyColumns>,
    delete: &DeleteFile,
    stats: &IoStats,
) -> Result<(Scope, ReadKeys)> {
    let opened = open::delete_file(root, delete, stats).await?;
    let roots = columns
        .columns()
        .iter()
        .map(|column| {
            // Some writers leave the ids out; the names are then those of the table.
            let mut names = column.names.clone();
            names.push(column.name.clone());
            open::root_of(&opened.file, column.id, &names).flatten().ok_or_else(|| {
                corrupt(format!("delete file {} has no column {:?}", delete.uri, column.name))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let distinct = distinct(&roots);
    let (wanted, of_keys) = (distinct.clone(), Arc::clone(&columns));
    let work = move |batches: Batches, place: &str| {
        let mut spans = vec![KeySpan::default(); of_keys.columns().len()];
        let mut all = Vec::with_capacity(batches.len());
        for batch in arranged(&batches, &wanted, &roots)? {
            let values = of_keys.values(&batch, place)?;
            of_keys.extend(&mut spans, &values);
            all.push((of_keys.keys(&values)?, of_keys.integers(&values)));
        }
        Ok((all, spans))
    };
    let mut read = ReadKeys {
        sequence_number: delete.sequence_number,
        keys: Vec::new(),
        integers: Some(Vec::new()),
        spans: vec![KeySpan::default(); columns.columns().len()],
    };
    for (batches, spans) in opened.each_group(&distinct, stats, work).await? {
        read.spans.iter_mut().zip(spans).for_each(|(span, more)| span.join(more));
        for (keys, integers) in batches {
            read.keys.push(keys);
            match (integers, &mut read.integers) {
                (Some(integers), Some(all)) => all.push(integers),
                _ => read.integers = None,
            }
        }
    }
    let scope = match delete.kind {
        DeleteKind::Equality { global: true, .. } => Scope::All,
        _ => Scope::Partition(delete.spec_id, delete.partition.clone()),
    };
    Ok((scope, read))
}

fn by_scope(read: Vec<(Scope, ReadKeys)>) -> HashMap<Scope, Keys> {
    let mut scopes: HashMap<Scope, Keys> = HashMap::new();
    for (scope, mut file) in read {
        let known = scopes.entry(scope).or_default();
        known.spans.resize_with(file.spans.len(), KeySpan::default);
        for (span, more) in known.spans.iter_mut().zip(std::mem::take(&mut file.spans)) {
            span.join(more);
        }
        known.read.push(file);
    }
    for keys in scopes.values_mut() {
        keys.sorted = keys.sort();
    }
    scopes
}

impl Keys {
    /// The keys in order; `None` when they are no whole numbers.
    fn sort(&mut self) -> Option<SortedKeys> {
        let mut all = Vec::new();
        for file in &mut self.read {
            for integers in file.integers.take()? {
                all.extend(integers.iter().flatten().map(|key| (key, file.sequence_number)));
            }
        }
        Some(SortedKeys::new(all))
    }

    fn is_dead(&self, key: &[u8], sequence_number: i64) -> bool {
        let numbers = self.numbers.get_or_init(|| {
            let mut numbers = KeySet::default();
            for file in &self.read {
                for keys in &file.keys {
                    let bytes = keys.iter().next().map_or(0, |key| key.as_ref().len());
                    numbers.reserve(keys.num_rows(), bytes);
                    keys.iter().for_each(|key| numbers.insert(key.as_ref(), file.sequence_number));
                }
            }
            numbers
        });
        numbers.deleted_at(key).is_some_and(|at| at > sequence_number)
    }
}

/// Tells of the places in a batch of the rows that keys newer than `sequence_number` kill, in
/// ascending order.
fn dead_in_batch(
    columns: &KeyColumns,
    sets: &[&Keys],
    values: &[ArrayRef],
    sequence_number: i64,
    mut tell: impl FnMut(u32),
) -> Result<()> {
    let sorted: Option<Vec<&SortedKeys>> = sets.iter().map(|set| set.sorted.as_ref()).collect();
    if let Some((integers, sorted)) = columns.integers(values).zip(sorted)
        && let Some(dead) = DeadNumbers::of(&sorted, &integers, sequence_number)
    {
        let numbers = (0..).zip(integers.values());
        numbers.filter(|(_, it)| dead.contains(**it)).for_each(|(at, _)| tell(at));
        return Ok(());
    }
    let keys = columns.keys(values)?;
    for (at, key) in (0..).zip(&keys) {
        if sets.iter().any(|set| set.is_dead(key.as_ref(), sequence_number)) {
            tell(at);
        }
    }
    Ok(())
}

/// Reads columns of a row group, of which the same may be wanted twice.
async fn read_columns(
    file: &ParquetFile,
    roots: &[usize],
    row_group: usize,
    stats: &IoStats,
) -> Result<Batches> {
    let distinct = distinct(roots);
    let batches = file.read_raw(&distinct, row_group, stats).await?;
    arranged(&batches, &distinct, roots)
}

/// The columns that are wanted, each once, in ascending order.
fn distinct(roots: &[usize]) -> Vec<usize> {
    let mut distinct = roots.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

/// The columns at `roots`, of batches that have those at `distinct`.
fn arranged(batches: &Batches, distinct: &[usize], roots: &[usize]) -> Result<Batches> {
    let column = |batch: &[ArrayRef], root: &usize| {
        let at = distinct.binary_search(root).ok()?;
        batch.get(at).cloned()
    };
    let arranged = batches
        .iter()
        .map(|batch| roots.iter().map(|root| column(batch, root)).collect::<Option<Vec<_>>>());
    arranged.collect::<Option<Vec<_>>>().ok_or_else(|| Error::internal("a column of keys was lost"))
}

/// Looks for keys in data files.
struct Search<'a> {
    root: &'a SourceRoot,
    table: &'a Arc<TableMetadata>,
    columns: Arc<KeyColumns>,
    scopes: Arc<HashMap<Scope, Keys>>,
    stats: &'a IoStats,
}

impl Search<'_> {
    async fn dead_rows(&self, work: usize, file: &DataFile) -> Result<(usize, RoaringBitmap)> {
        let part = file.table.as_ref().ok_or_else(|| Error::internal("a file without a table"))?;
        let opened = open::data_file(self.root, file, self.stats).await?;
        let roots = self
            .columns
            .columns()
            .iter()
            .map(|column| data_column(&opened, column))
            .collect::<Result<Vec<_>>>()?;
        let groups: Vec<_> = (0..opened.row_groups())
            .map(|group| self.dead_in_group(&opened, part, &roots, group))
            .collect();
        let groups: Vec<RoaringBitmap> =
            stream::iter(groups).buffered(READS_IN_FLIGHT).try_collect().await?;
        Ok((work, groups.into_iter().fold(RoaringBitmap::new(), |all, group| all | group)))
    }

    async fn dead_in_group(
        &self,
        file: &ParquetFile,
        part: &TableFile,
        roots: &[Option<usize>],
        group: usize,
    ) -> Result<RoaringBitmap> {
        let rows = file.row_group_rows(group);
        let own = Scope::Partition(part.spec_id, part.partition.clone());
        let may_hold_keys = [&Scope::All, &own].into_iter().any(|scope| {
            let keys = self.scopes.get(scope);
            keys.is_some_and(|keys| {
                let mut columns = keys.spans.iter().zip(roots);
                columns
                    .all(|(span, root)| root.is_none_or(|root| span.may_be_in(file, group, root)))
            })
        });
        if !may_hold_keys {
            return Ok(RoaringBitmap::new());
        }
        let there: Vec<usize> = roots.iter().flatten().copied().collect();
        let batches = if there.is_empty() {
            vec![Vec::new()]
        } else {
            read_columns(file, &there, group, self.stats).await?
        };
        let mut complete = Vec::with_capacity(batches.len());
        for batch in batches {
            let len = batch.first().map_or(rows.len(), Array::len);
            let mut held = batch.into_iter();
            let arrays =
                roots.iter().zip(self.columns.columns()).map(|(root, column)| match root {
                    Some(_) => held.next().ok_or_else(|| Error::internal("a column was lost")),
                    None => column.absent(self.table, part, len),
                });
            complete.push(arrays.collect::<Result<Vec<_>>>()?);
        }
        let (columns, scopes) = (Arc::clone(&self.columns), Arc::clone(&self.scopes));
        let sequence_number = part.sequence_number;
        decode(format!("data file {}", file.object().identity.uri), move |place| {
            let sets: Vec<&Keys> =
                [&Scope::All, &own].into_iter().filter_map(|scope| scopes.get(scope)).collect();
            let mut dead = Vec::new();
            let mut first = rows.start;
            for batch in &complete {
                let values = columns.values(batch, place)?;
                dead_in_batch(&columns, &sets, &values, sequence_number, |at| {
                    dead.push(first.saturating_add(at));
                })?;
                let len = values.first().map_or(0, Array::len);
                first = first.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
            }
            RoaringBitmap::from_sorted_iter(dead).map_err(|error| {
                Error::internal("rows of a file were not counted upwards").caused_by(error)
            })
        })
        .await
    }
}

/// Where a data file has a column; `None` when it was written before the column existed.
fn data_column(file: &ParquetFile, column: &KeyColumn) -> Result<Option<usize>> {
    open::root_of(file, column.id, &column.names).ok_or_else(|| {
        corrupt(format!(
            "data file {} has no column ids and the table no name mapping",
            file.object().identity.uri
        ))
    })
}
