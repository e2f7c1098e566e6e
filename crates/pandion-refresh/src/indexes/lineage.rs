//! Finds the rows of new files in the files that they replace, by the row lineage of a table.
//!
//! A compaction writes rows anew that keep their `_row_id`, and the sequence number of the commit
//! that changed them last. A row is taken for an old one only if both are the same: an update keeps
//! the id of a row, too. Whatever is in doubt is not found, and the file is read.

use std::collections::HashSet;
use std::sync::Arc;

use object_store::ObjectStore;
use pandion_connector_parquet::ParquetFile;
use pandion_index::scalar::ROW_GONE;
use pandion_manifest::{DataFile, Manifest};
use pandion_query::{OldSegment, ScalarSegments, SegmentKey, Snapshot};
use pandion_source::IoStats;
use pandion_types::{CollectionSchema, Error, Result};
use tokio::sync::OnceCell;

use super::needs::Needs;

/// Old files are read through by this many times the rows of the new file at most. Beyond that,
/// reading the new file costs less.
const OLD_ROWS_PER_ROW: u64 = 4;
/// Rows of old files whose own columns of lineage are kept in memory, at 24 bytes each.
const CARRIED_ROWS_MAX: u64 = 1 << 23;

/// The files of the version before that are no longer in the table.
pub(crate) struct Replaced {
    before: Snapshot,
    /// For each index of [`Needs`] the names of its segments over the files of the version before;
    /// `None` when the column was another one.
    keys: Vec<Option<Vec<SegmentKey>>>,
    inherited: Arc<OldRows>,
    /// As `inherited`, with the rows whose lineage the files carry themselves; read when rows are
    /// not found otherwise. `None` when there are none.
    carried: OnceCell<Option<Arc<OldRows>>>,
}

/// Where rows of a new file were.
#[derive(Clone, Debug)]
pub(crate) struct MovedFrom {
    /// The position of the old file in the version before.
    file: usize,
    /// For each of its rows the row of the new file, or [`ROW_GONE`].
    rows: Arc<[u32]>,
}

/// The id of a row and the sequence number of the commit that changed it last.
type Version = (i64, i64);

/// Rows of old files by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
struct OldRows {
    /// In the order of their first row ids. No two share an id.
    files: Vec<OldFile>,
    /// Rows whose ids the files carry, and the file, by its place in `files`, and row of each. In
    /// the order of ids, no two of which are the same.
    carried: Vec<(Version, u32, u32)>,
}

/// Rows that inherit their lineage have the ids from the first on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct OldFile {
    /// The position in the version before.
    file: usize,
    first_row_id: i64,
    rows: u32,
    sequence_number: i64,
}

impl OldFile {
    fn new(file: usize, entry: &DataFile) -> Option<Self> {
        let table = entry.table.as_ref()?;
        let rows = u32::try_from(entry.rows()).ok().filter(|rows| *rows > 0)?;
        let first_row_id = table.first_row_id?;
        first_row_id.checked_add(rows.into())?;
        Some(Self { file, first_row_id, rows, sequence_number: table.sequence_number })
    }

    fn end(&self) -> i64 {
        self.first_row_id + i64::from(self.rows)
    }
}

impl OldRows {
    /// The files of `before` that `now` lacks; `None` when there are none whose rows have ids, or
    /// when their ids are in disorder.
    fn new(before: &Manifest, now: &Manifest) -> Option<Self> {
        let uuid = |manifest: &Manifest| manifest.table.as_ref().map(|table| table.uuid.clone());
        // Row ids are unique in one table.
        if uuid(before)? != uuid(now)? {
            return None;
        }
        let kept: HashSet<&str> = now.files.iter().map(|file| file.identity.uri.as_str()).collect();
        let gone = before.files.iter().enumerate();
        let gone = gone.filter(|(_, file)| !kept.contains(file.identity.uri.as_str()));
        let mut files: Vec<OldFile> =
            gone.filter_map(|(at, file)| OldFile::new(at, file)).collect();
        files.sort_unstable_by_key(|file| file.first_row_id);
        let is_apart = files.is_sorted_by(|left, right| left.end() <= right.first_row_id);
        (is_apart && !files.is_empty()).then_some(Self { files, carried: Vec::new() })
    }

    /// The place in `files`, and the row, of a row that is as it was.
    fn find(&self, version: Version) -> Option<(usize, u32)> {
        let (row_id, last_updated) = version;
        let behind = self.files.partition_point(|file| file.first_row_id <= row_id);
        if let Some(at) = behind.checked_sub(1)
            && let Some(file) = self.files.get(at)
            && row_id < file.end()
        {
            // Nobody but this row of the file has the id.
            let row = u32::try_from(row_id - file.first_row_id).ok()?;
            return (last_updated == file.sequence_number).then_some((at, row));
        }
        let at = self.carried.binary_search_by_key(&version, |(version, ..)| *version).ok()?;
        self.carried.get(at).map(|(_, file, row)| (*file as usize, *row))
    }

    /// Where each of the rows was; `None` unless all of them are found.
    fn moves(&self, rows: &[Version]) -> Option<Vec<MovedFrom>> {
        let old_rows_max = OLD_ROWS_PER_ROW.saturating_mul(rows.len() as u64);
        let mut old_rows = 0;
        let mut found: Vec<Vec<u32>> = vec![Vec::new(); self.files.len()];
        for (to, version) in (0_u32..).zip(rows) {
            let (at, row) = self.find(*version)?;
            let (file, places) = self.files.get(at).zip(found.get_mut(at))?;
            if places.is_empty() {
                old_rows += u64::from(file.rows);
                if old_rows > old_rows_max {
                    return None;
                }
                places.resize(file.rows as usize, ROW_GONE);
            }
            let place = places.get_mut(row as usize).filter(|place| **place == ROW_GONE)?;
            *place = to;
        }
        let touched = self.files.iter().zip(found).filter(|(_, places)| !places.is_empty());
        Some(
            touched
                .map(|(file, places)| MovedFrom { file: file.file, rows: places.into() })
                .collect(),
        )
    }
}

impl Replaced {
    /// What `now`, which needs the segments of `needs`, has replaced of `before`, whose files are
    /// read from `store`; `None` when no row of it can be found again.
    pub(crate) fn new(
        schema: &Arc<CollectionSchema>,
        store: &Arc<dyn ObjectStore>,
        before: &Arc<Manifest>,
        now: &Manifest,
        needs: &Needs,
    ) -> Option<Self> {
        let inherited = Arc::new(OldRows::new(before, now)?);
        let keys = needs.indexes.iter().map(|index| {
            let is_same = before.column_key(&index.field) == now.column_key(&index.field);
            is_same.then(|| SegmentKey::of_files(before, &index.field, &index.spec))
        });
        let keys = keys.collect();
        let before = Snapshot::new(Arc::clone(schema), Arc::clone(before), Arc::clone(store), None);
        Some(Self { before, keys, inherited, carried: OnceCell::new() })
    }

    /// The names of the segments of all indexes over the files that are gone.
    pub(crate) fn keys(&self) -> impl Iterator<Item = SegmentKey> {
        (0..self.keys.len()).flat_map(|index| self.keys_of(index))
    }

    /// Whether some segment of the index at this position is stored.
    pub(crate) fn has_some(&self, index: usize, segments: &ScalarSegments) -> bool {
        self.keys_of(index).any(|key| segments.contains(&key))
    }

    fn keys_of(&self, index: usize) -> impl Iterator<Item = SegmentKey> {
        let keys = self.keys.get(index).and_then(Option::as_ref);
        let files = self.inherited.files.iter();
        files.filter_map(move |file| keys?.get(file.file).copied())
    }

    /// The segments of the index at this position over the files that rows came from; `None` when
    /// they are of another column.
    pub(crate) fn segments(&self, index: usize, moves: &[MovedFrom]) -> Option<Vec<OldSegment>> {
        let keys = self.keys.get(index)?.as_ref()?;
        let of = |moved: &MovedFrom| {
            let key = *keys.get(moved.file)?;
            Some(OldSegment { key, rows: Arc::clone(&moved.rows) })
        };
        moves.iter().map(of).collect()
    }

    /// Where the rows of a new file were; `None` unless each of them is found and unchanged. Reads
    /// the columns of lineage of the file, and of old files that carry some.
    ///
    /// # Errors
    /// Those of reading the new file.
    pub(crate) async fn moves(
        &self,
        file: &ParquetFile,
        stats: &IoStats,
    ) -> Result<Option<Vec<MovedFrom>>> {
        // What was not rewritten has no such column.
        if !file.carries_row_ids() {
            return Ok(None);
        }
        let Some(rows) = versions(file, stats).await? else { return Ok(None) };
        let rows = Arc::new(rows);
        if let Some(moves) = moves(&self.inherited, &rows).await? {
            return Ok(Some(moves));
        }
        let carried = self.carried.get_or_init(|| self.read_carried(stats)).await;
        match carried {
            Some(carried) => moves(carried, &rows).await,
            None => Ok(None),
        }
    }

    /// Reads the lineage that the old files carry. A file that cannot be read any more is left out.
    async fn read_carried(&self, stats: &IoStats) -> Option<Arc<OldRows>> {
        let mut rows = 0;
        let mut carried = Vec::new();
        for (at, old) in (0_u32..).zip(&self.inherited.files) {
            let read = self.carried_by(old, &mut rows, stats).await;
            let read = read.unwrap_or_else(|error| {
                tracing::debug!(error = ?error, "the row lineage of a replaced file is not known");
                Vec::new()
            });
            carried.extend(read.into_iter().map(|(version, row)| (version, at, row)));
        }
        carried.sort_unstable();
        let is_unique = carried.is_sorted_by(|((left, _), ..), ((right, _), ..)| left < right);
        let files = self.inherited.files.clone();
        (is_unique && !carried.is_empty()).then(|| Arc::new(OldRows { files, carried }))
    }

    /// The rows of an old file whose ids it carries. `rows` counts the rows read.
    async fn carried_by(
        &self,
        old: &OldFile,
        rows: &mut u64,
        stats: &IoStats,
    ) -> Result<Vec<(Version, u32)>> {
        let (_, file) = self.before.open(old.file, stats).await?;
        if !file.carries_row_ids() || *rows + u64::from(old.rows) > CARRIED_ROWS_MAX {
            return Ok(Vec::new());
        }
        *rows += u64::from(old.rows);
        let mut carried = Vec::new();
        for row_group in 0..file.row_groups() {
            let lineage = file.row_lineage(row_group, stats).await?;
            for (row, lineage) in file.row_group_rows(row_group).zip(lineage) {
                let Some(row_id) = lineage.row_id else { continue };
                let last_updated = lineage.last_updated.unwrap_or(old.sequence_number);
                carried.push(((row_id, last_updated), row));
            }
        }
        Ok(carried)
    }
}

/// Looks the rows up on a thread that may be busy with it.
async fn moves(known: &Arc<OldRows>, rows: &Arc<Vec<Version>>) -> Result<Option<Vec<MovedFrom>>> {
    let (known, rows) = (Arc::clone(known), Arc::clone(rows));
    tokio::task::spawn_blocking(move || known.moves(&rows)).await.map_err(|error| {
        Error::internal("a thread that looked rows up ended abnormally").caused_by(error)
    })
}

/// The lineage that a new file carries; `None` when a row is without, because it is new or changed.
async fn versions(file: &ParquetFile, stats: &IoStats) -> Result<Option<Vec<Version>>> {
    let mut versions = Vec::new();
    for row_group in 0..file.row_groups() {
        for row in file.row_lineage(row_group, stats).await? {
            let (Some(row_id), Some(last_updated)) = (row.row_id, row.last_updated) else {
                return Ok(None);
            };
            versions.push((row_id, last_updated));
        }
    }
    Ok(Some(versions))
}

#[cfg(test)]
mod tests;
