//! The dead rows of all files of a manifest.
//!
//! What was found for the manifest before is taken over where the same delete files concern a data
//! file, and added to where more do. Deletes are never taken back from a set of rows: where a delete
//! file is gone, the set is made anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::TableMetadata;
use pandion_manifest::{DataFile, DeleteFile, DeleteKind, DeleteVector, Manifest, TableState};
use pandion_source::{IoStats, SourceRoot};
use pandion_types::{Error, Result};
use roaring::RoaringBitmap;

use crate::deletes::equality::{self, Group};
use crate::deletes::position::{self, Target};
use crate::deletes::vector::{self, WantedVector};
use crate::paths::TablePaths;

/// Delete files that are read at the same time.
const FILES_IN_FLIGHT: usize = 16;

/// A manifest whose files' dead rows are wanted, and where its table is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableFiles<'a> {
    pub(crate) root: &'a SourceRoot,
    pub(crate) paths: &'a TablePaths,
    pub(crate) manifest: &'a Manifest,
    pub(crate) table: &'a TableState,
}

/// A data file that delete files are to be read for.
#[derive(Debug)]
struct Work<'a> {
    /// Its place among the files.
    at: usize,
    file: &'a DataFile,
    rows: RoaringBitmap,
    /// Places of the delete files.
    deletes: Vec<u32>,
}

/// Dead rows by the place of the work that they were found for.
type Found = Vec<(usize, RoaringBitmap)>;

/// The dead rows of each file, in their order. `before` is a manifest of the same table; `metadata`
/// is asked for only when values have to be compared.
///
/// # Errors
/// As [`Connector::delete_vectors`](pandion_source::Connector::delete_vectors).
pub(crate) async fn vectors<F>(
    files: TableFiles<'_>,
    before: Option<&Manifest>,
    metadata: impl FnOnce() -> F,
    stats: &IoStats,
) -> Result<Vec<Option<DeleteVector>>>
where
    F: Future<Output = Result<Arc<TableMetadata>>>,
{
    let mut vectors = vec![None; files.manifest.files.len()];
    let mut work = Vec::new();
    let known = Known::new(before, files.table);
    for (at, (file, vector)) in files.manifest.files.iter().zip(&mut vectors).enumerate() {
        let wanted = file.table.as_ref().map(|table| table.deletes.as_slice()).unwrap_or_default();
        match known.of(file, wanted) {
            KnownRows::All(rows) => *vector = rows.cloned(),
            KnownRows::Some(rows, deletes) => {
                let rows = rows.map(|rows| rows.rows().clone()).unwrap_or_default();
                work.push(Work { at, file, rows, deletes });
            }
        }
    }
    let found = files.positions(&work, stats).await?;
    add(&mut work, found);
    let found = files.deletion_vectors(&work, stats).await?;
    add(&mut work, found);
    let groups = files.equality_groups(&work)?;
    if !groups.is_empty() {
        let metadata = metadata().await?;
        let mut found = Vec::new();
        for (ids, group) in groups {
            found.extend(equality::read(files.root, &metadata, &ids, group, stats).await?);
        }
        add(&mut work, found);
    }
    for work in work {
        if let Some(vector) = vectors.get_mut(work.at) {
            *vector = DeleteVector::new(work.rows);
        }
    }
    Ok(vectors)
}

/// Runs reads side by side. Of several errors it is always the same that is told.
async fn all(reads: Vec<BoxFuture<'_, Result<Found>>>) -> Result<Found> {
    let mut reads = stream::iter(reads).buffered(FILES_IN_FLIGHT);
    let mut found = Vec::new();
    while let Some(rows) = reads.try_next().await? {
        found.extend(rows);
    }
    Ok(found)
}

fn add(work: &mut [Work<'_>], found: Found) {
    for (at, rows) in found {
        if let Some(work) = work.get_mut(at) {
            work.rows |= rows;
        }
    }
}

impl<'a> TableFiles<'a> {
    fn delete(&self, at: u32) -> Result<&'a DeleteFile> {
        let delete = self.table.deletes.get(at as usize);
        delete.ok_or_else(|| Error::internal("a file names a delete file that the table has not"))
    }

    async fn positions(&self, work: &[Work<'_>], stats: &IoStats) -> Result<Found> {
        let mut targets: BTreeMap<u32, HashMap<String, Target>> = BTreeMap::new();
        for (at, work) in work.iter().enumerate() {
            for &delete in &work.deletes {
                if self.delete(delete)?.kind == DeleteKind::Position {
                    let uri = work.file.identity.uri.clone();
                    let target = Target { work: at, uri, rows: work.file.rows() };
                    let of_delete = targets.entry(delete).or_default();
                    of_delete.insert(work.file.location.clone(), target);
                }
            }
        }
        let mut reads = Vec::with_capacity(targets.len());
        for (delete, targets) in targets {
            let delete = self.delete(delete)?;
            reads.push(position::read(self.root, self.paths, delete, targets, stats).boxed());
        }
        all(reads).await
    }

    async fn deletion_vectors(&self, work: &[Work<'_>], stats: &IoStats) -> Result<Found> {
        let mut by_file: BTreeMap<&str, (Vec<usize>, Vec<WantedVector<'_>>)> = BTreeMap::new();
        for (at, work) in work.iter().enumerate() {
            for &delete in &work.deletes {
                let delete = self.delete(delete)?;
                if matches!(delete.kind, DeleteKind::Vector { .. }) {
                    let (works, wanted) = by_file.entry(&delete.location).or_default();
                    works.push(at);
                    let data_file = work.file.identity.uri.as_str();
                    wanted.push(WantedVector { delete, data_file, rows: work.file.rows() });
                }
            }
        }
        let mut reads = Vec::with_capacity(by_file.len());
        for (works, wanted) in by_file.into_values() {
            let read = async move {
                let rows = vector::read(self.root, &wanted, stats).await?;
                Ok(works.into_iter().zip(rows).collect())
            };
            reads.push(read.boxed());
        }
        all(reads).await
    }

    /// Equality delete files and what they concern, by the columns that they compare, in ascending
    /// order of their ids.
    fn equality_groups<'b>(&self, work: &[Work<'b>]) -> Result<BTreeMap<Vec<i32>, Group<'b>>>
    where
        'a: 'b,
    {
        let mut deletes: BTreeMap<Vec<i32>, BTreeSet<u32>> = BTreeMap::new();
        let mut groups: BTreeMap<Vec<i32>, Group<'b>> = BTreeMap::new();
        for (at, work) in work.iter().enumerate() {
            let mut concerned: BTreeSet<Vec<i32>> = BTreeSet::new();
            for &delete in &work.deletes {
                if let DeleteKind::Equality { column_ids, .. } = &self.delete(delete)?.kind {
                    let mut ids = column_ids.clone();
                    ids.sort_unstable();
                    ids.dedup();
                    deletes.entry(ids.clone()).or_default().insert(delete);
                    concerned.insert(ids);
                }
            }
            for ids in concerned {
                groups.entry(ids).or_default().files.push((at, work.file));
            }
        }
        for (ids, deletes) in deletes {
            let deletes = deletes.into_iter().map(|delete| self.delete(delete));
            let deletes = deletes.collect::<Result<Vec<_>>>()?;
            groups.entry(ids).or_default().deletes = deletes;
        }
        Ok(groups)
    }
}

/// What the manifest before knows of dead rows.
struct Known<'a> {
    files: HashMap<&'a str, &'a DataFile>,
    /// The present places of the delete files before; `None` for those that are gone.
    places: Vec<Option<u32>>,
}

enum KnownRows<'a> {
    /// The dead rows.
    All(Option<&'a DeleteVector>),
    /// Some of the dead rows, and the delete files that tell the others.
    Some(Option<&'a DeleteVector>, Vec<u32>),
}

impl<'a> Known<'a> {
    fn new(before: Option<&'a Manifest>, now: &TableState) -> Self {
        let now: HashMap<_, u32> = now.deletes.iter().map(key).zip(0..).collect();
        let table = before.and_then(|before| before.table.as_ref());
        let deletes = table.map(|table| table.deletes.as_slice()).unwrap_or_default();
        let files = before.map(|before| before.files.as_slice()).unwrap_or_default();
        Self {
            files: files.iter().map(|file| (file.identity.uri.as_str(), file)).collect(),
            places: deletes.iter().map(|delete| now.get(&key(delete)).copied()).collect(),
        }
    }

    /// What is known of a file that the delete files at `wanted`, ascending, concern.
    fn of(&self, file: &DataFile, wanted: &[u32]) -> KnownRows<'a> {
        if wanted.is_empty() {
            return KnownRows::All(None);
        }
        let known = self.files.get(file.identity.uri.as_str());
        let known = known.filter(|known| known.identity == file.identity);
        let applied = known.and_then(|known| self.applied(known));
        match (known, applied) {
            (Some(known), Some(applied)) if applied == wanted => {
                KnownRows::All(known.deletes.as_ref())
            }
            (Some(known), Some(applied))
                if applied.iter().all(|at| wanted.binary_search(at).is_ok()) =>
            {
                let more = wanted.iter().filter(|at| applied.binary_search(at).is_err());
                KnownRows::Some(known.deletes.as_ref(), more.copied().collect())
            }
            _ => KnownRows::Some(None, wanted.to_vec()),
        }
    }

    /// The present places of the delete files that went into a file's dead rows, ascending; `None`
    /// when one of them is gone.
    fn applied(&self, known: &DataFile) -> Option<Vec<u32>> {
        let deletes = known.table.as_ref()?.deletes.iter();
        let places = deletes.map(|at| self.places.get(*at as usize).copied().flatten());
        let mut places = places.collect::<Option<Vec<u32>>>()?;
        places.sort_unstable();
        Some(places)
    }
}

/// What tells a delete file from others.
fn key(delete: &DeleteFile) -> (&str, u64) {
    let offset = match delete.kind {
        DeleteKind::Vector { offset, .. } => offset,
        DeleteKind::Position | DeleteKind::Equality { .. } => 0,
    };
    (&delete.uri, offset)
}
