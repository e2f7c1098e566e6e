//! Walks the row groups of files and says which of their rows match a filter.
//!
//! For each file: what an earlier request left in memory; else what its scalar indexes say; else,
//! or for the rest, the row groups and pages that statistics cannot rule out are read and tested.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::datasource::physical_plan::parquet::RowGroupAccess;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use pandion_connector_parquet::ParquetFile;
use pandion_index::Bitmap;
use pandion_manifest::DataFile;
use pandion_types::{Error, FileIdentity, Result};
use parquet::arrow::arrow_reader::RowSelection;
use tokio_util::task::AbortOnDropHandle;

use crate::access;
use crate::bloom;
use crate::bucket;
use crate::cache::Weigh;
use crate::counters::{Counter, Counters};
use crate::engine::QueryEngine;
use crate::evaluate::{UnitFilter, evaluate};
use crate::filter::{CompiledFilter, FilterDigest, FilterPlan};
use crate::request::QueryOptions;
use crate::selection::{selection_of_bitmap, selection_of_ranges};
use crate::snapshot::Snapshot;

/// Files whose row groups are chosen at the same time.
const FILES_IN_FLIGHT: usize = 16;

/// One row group of one file.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Position of the file in the manifest.
    pub(crate) file: usize,
    pub(crate) row_group: usize,
    /// The first row's number in the file.
    pub(crate) first_row: u32,
    pub(crate) rows: usize,
}

/// The rows of a unit that match.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) unit: Unit,
    /// The rows, counted in the row group; `None` when all match.
    pub(crate) rows: Option<Arc<Bitmap>>,
}

impl Matches {
    pub(crate) fn count(&self) -> usize {
        self.rows.as_ref().map_or(self.unit.rows, |rows| rows.count())
    }
}

/// Names the matches of a filter in one file's content, whatever the collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatchesKey {
    identity: FileIdentity,
    filter: FilterDigest,
}

/// The matching rows of each row group of a file; `None` for a row group without any.
#[derive(Debug)]
pub(crate) struct FileMatches(Vec<Option<Arc<Bitmap>>>);

impl Weigh for FileMatches {
    fn weigh(&self) -> usize {
        let words = |rows: &Arc<Bitmap>| size_of_val(rows.words());
        self.0.iter().map(|rows| rows.as_ref().map_or(0, words) + size_of::<usize>()).sum()
    }
}

/// A filter over the files of a snapshot.
#[derive(Debug)]
pub(crate) struct Scan {
    engine: QueryEngine,
    snapshot: Arc<Snapshot>,
    filter: Option<Arc<FilterPlan>>,
    options: QueryOptions,
    counters: Arc<Counters>,
}

/// A unit on its way.
enum Work {
    /// Nothing is left to do.
    Done(Matches),
    Evaluate {
        unit: Unit,
        filter: UnitFilter,
        collected: Option<Arc<Collected>>,
    },
}

/// Collects the matches of a file's row groups, to be kept when all are there.
struct Collected {
    key: MatchesKey,
    state: Mutex<CollectedState>,
}

struct CollectedState {
    missing: usize,
    groups: Vec<Option<Arc<Bitmap>>>,
}

impl Scan {
    pub(crate) fn new(
        engine: QueryEngine,
        snapshot: Arc<Snapshot>,
        filter: Option<Arc<FilterPlan>>,
        options: QueryOptions,
        counters: Arc<Counters>,
    ) -> Self {
        Self { engine, snapshot, filter, options, counters }
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn options(&self) -> QueryOptions {
        self.options
    }

    pub(crate) fn filter_text(&self) -> Option<&str> {
        self.filter.as_ref().map(|filter| filter.text())
    }

    pub(crate) fn seed(&self) -> u64 {
        self.filter.as_ref().map_or(0, |filter| filter.seed())
    }

    /// The matches of every row group of `files` that holds some, in ascending order of row id.
    /// Deleted rows are not among them.
    ///
    /// Row groups are evaluated several at a time, each in a task of its own; dropping the stream
    /// stops them.
    pub(crate) fn matches(
        self: &Arc<Self>,
        files: Vec<usize>,
    ) -> impl Stream<Item = Result<Matches>> + Send + 'static {
        let files = self.candidates(files);
        let (by_file, by_unit) = (Arc::clone(self), Arc::clone(self));
        let (counters, snapshot) = (Arc::clone(&self.counters), Arc::clone(&self.snapshot));
        let deleted = Arc::clone(&self.counters);
        stream::iter(files)
            .map(move |file| {
                let scan = Arc::clone(&by_file);
                // A task of its own only where there may be something to compute.
                async move {
                    if scan.filter.is_none() {
                        return scan.units(file).await;
                    }
                    spawned(async move { scan.units(file).await }).await
                }
            })
            .buffered(FILES_IN_FLIGHT)
            .map_ok(|units| stream::iter(units.into_iter().map(Ok)))
            .try_flatten()
            .map_ok(move |work| {
                let scan = Arc::clone(&by_unit);
                async move {
                    match work {
                        Work::Done(matches) => Ok(matches),
                        Work::Evaluate { unit, filter, collected } => {
                            spawned(async move { scan.evaluate(unit, filter, collected).await })
                                .await
                        }
                    }
                }
            })
            .try_buffered(self.engine.in_flight())
            .and_then(move |matches| future::ready(live(&snapshot, matches, &deleted.rows_deleted)))
            .try_filter(move |matches| {
                let count = matches.count();
                counters.rows_matched.add(count as u64);
                future::ready(count > 0)
            })
    }

    /// The files that the manifest's statistics cannot rule out.
    fn candidates(&self, files: Vec<usize>) -> Vec<usize> {
        let Some(filter) = self.filter.as_ref().filter(|_| self.options.pruning) else {
            return files;
        };
        let _timer = self.counters.stages.prune.start();
        let manifest = self.snapshot.manifest();
        let may_match = filter.whole().pruner().files(manifest);
        let before = files.len();
        let files: Vec<usize> = files
            .into_iter()
            .filter(|&at| {
                let key_rows =
                    manifest.files.get(at).and_then(|file| filter.whole().key_rows(file));
                may_match.get(at).copied().unwrap_or(true)
                    && self.in_bucket(filter, at)
                    && key_rows.is_none_or(|rows| !rows.is_empty())
            })
            .collect();
        self.counters.files_pruned.add((before - files.len()) as u64);
        files
    }

    /// Whether the file's bucket partitions may hold a value that the filter asks for.
    fn in_bucket(&self, filter: &FilterPlan, at: usize) -> bool {
        let manifest = self.snapshot.manifest();
        let of_table = manifest.table.as_ref().zip(manifest.files.get(at));
        of_table.is_none_or(|(table, file)| bucket::may_match(filter.bloom_terms(), table, file))
    }

    /// The row groups of a file that may hold matching rows, with what is left to do for each.
    async fn units(&self, at: usize) -> Result<Vec<Work>> {
        let (entry, file) = self.snapshot.open(at, &self.counters.io).await?;
        self.counters.row_groups.add(file.row_groups() as u64);
        let units = all_units(at, file);
        let Some(filter) = &self.filter else {
            let all = |unit| Work::Done(Matches { unit, rows: None });
            return Ok(units.into_iter().filter(|unit| unit.rows > 0).map(all).collect());
        };
        let key = self.matches_key(entry);
        if let Some(known) = key.as_ref().and_then(|key| self.engine.matches_cache().get(key)) {
            self.counters.files_from_cache.add(1);
            let known = units.into_iter().zip(&known.0);
            let known = known.filter_map(|(unit, rows)| {
                let rows = Some(Arc::clone(rows.as_ref()?));
                Some(Work::Done(Matches { unit, rows }))
            });
            return Ok(known.collect());
        }
        let answer = self.ask_indexes(at, filter, entry).await?;
        let answered = vec![false; filter.conjuncts().len()];
        let (allowed, answered) = match answer {
            Some(answer) => (answer.allowed, answer.answered),
            None => (None, answered),
        };
        let residual = filter.residual(&answered)?;
        self.plan(units, residual, allowed.as_ref(), key).await
    }

    /// Says for each unit what is left to test, leaving out those in which no row can match.
    async fn plan(
        &self,
        units: Vec<Unit>,
        residual: Option<Arc<CompiledFilter>>,
        allowed: Option<&Bitmap>,
        key: Option<MatchesKey>,
    ) -> Result<Vec<Work>> {
        let _timer = self.counters.stages.prune.start();
        let Some(first) = units.first() else { return Ok(Vec::new()) };
        let (entry, file) = self.snapshot.file(first.file)?;
        let plan = match &residual {
            Some(filter) if self.options.pruning => {
                Some(filter.pruner().pages(file, &self.counters.io).await?)
            }
            _ => None,
        };
        let pruning = residual.as_ref().filter(|_| self.options.pruning);
        let key_rows = pruning.and_then(|filter| filter.key_rows(entry));
        let groups = units.len();
        let mut left = Vec::with_capacity(groups);
        for unit in units {
            let by_statistics =
                match plan.as_ref().and_then(|plan| plan.inner().get(unit.row_group)) {
                    Some(RowGroupAccess::Skip) => continue,
                    Some(RowGroupAccess::Selection(selection)) => Some(selection.clone()),
                    Some(RowGroupAccess::Scan) | None => None,
                };
            let by_key = key_rows.as_ref().map(|rows| selection_of_ranges(rows, &unit));
            let selection = match (by_statistics, by_key) {
                (Some(left), Some(right)) => Some(left.intersection(&right)),
                (one, other) => one.or(other),
            };
            let allowed = allowed.map(|rows| rows.slice(unit.first_row as usize, unit.rows));
            let selects = selection.as_ref().is_none_or(RowSelection::selects_any);
            let allows = allowed.as_ref().is_none_or(|rows| !rows.is_clear());
            if unit.rows > 0
                && selects
                && allows
                && self.may_match(&unit, residual.as_deref()).await?
            {
                left.push((unit, selection, allowed));
            }
        }
        self.counters.row_groups_pruned.add((groups - left.len()) as u64);
        let collected = key.map(|key| Arc::new(Collected::new(key, groups, left.len())));
        if let Some(collected) = &collected {
            collected.settle(&self.engine);
        }
        let work = left.into_iter().map(|(unit, selection, allowed)| {
            let Some(filter) = &residual else {
                let rows = allowed.map(Arc::new);
                if let Some(collected) = &collected {
                    collected.add(unit.row_group, rows.as_ref(), &self.engine);
                }
                return Work::Done(Matches { unit, rows });
            };
            let selection = narrower(selection, allowed.as_ref(), unit.rows);
            let filter = UnitFilter { filter: Arc::clone(filter), selection, allowed };
            Work::Evaluate { unit, filter, collected: collected.clone() }
        });
        Ok(work.collect())
    }

    /// Whether Bloom filters leave a match in the unit possible. They are not asked when the
    /// columns are in memory: testing the values is cheaper than reading filters.
    async fn may_match(&self, unit: &Unit, residual: Option<&CompiledFilter>) -> Result<bool> {
        let terms = self.filter.as_ref().map_or(&[][..], |filter| filter.bloom_terms());
        let Some(residual) = residual.filter(|_| self.options.pruning && !terms.is_empty()) else {
            return Ok(true);
        };
        if self.options.filter_caches
            && self.engine.columns_cache().has(&self.snapshot, unit, residual.fields())?
        {
            return Ok(true);
        }
        let (cache, io) = (self.engine.blooms_cache(), &self.counters.io);
        bloom::may_match(terms, &self.snapshot, unit, cache, io).await
    }

    async fn ask_indexes(
        &self,
        at: usize,
        filter: &FilterPlan,
        entry: &DataFile,
    ) -> Result<Option<access::IndexAnswer>> {
        if !self.options.scalar_indexes {
            return Ok(None);
        }
        let _timer = self.counters.stages.index.start();
        let indexes = self.engine.indexes(&self.snapshot, at, filter.whole().fields()).await;
        if indexes.is_empty() {
            return Ok(None);
        }
        let rows = usize::try_from(entry.rows()).unwrap_or(usize::MAX);
        let answer = access::ask(filter.conjuncts(), &indexes, rows)?;
        self.counters.index_lookups.add(answer.lookups);
        if answer.allowed.is_some() {
            self.counters.files_from_index.add(1);
        }
        Ok(Some(answer))
    }

    async fn evaluate(
        &self,
        unit: Unit,
        filter: UnitFilter,
        collected: Option<Arc<Collected>>,
    ) -> Result<Matches> {
        let _timer = self.counters.stages.filter.start();
        let caches = self.options.filter_caches.then(|| self.engine.columns_cache());
        let rows = evaluate(&self.snapshot, &unit, &filter, caches, &self.counters).await?;
        let rows = Arc::new(rows);
        if let Some(collected) = collected {
            collected.add(unit.row_group, Some(&rows), &self.engine);
        }
        Ok(Matches { unit, rows: Some(rows) })
    }

    fn matches_key(&self, entry: &DataFile) -> Option<MatchesKey> {
        let filter = self.filter.as_ref().filter(|_| self.options.filter_caches)?.digest()?;
        Some(MatchesKey { identity: entry.identity.clone(), filter })
    }
}

impl Collected {
    fn new(key: MatchesKey, groups: usize, missing: usize) -> Self {
        let state = CollectedState { missing, groups: vec![None; groups] };
        Self { key, state: Mutex::new(state) }
    }

    fn add(&self, row_group: usize, rows: Option<&Arc<Bitmap>>, engine: &QueryEngine) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.missing = state.missing.saturating_sub(1);
            if let (Some(group), Some(rows)) = (state.groups.get_mut(row_group), rows)
                && !rows.is_clear()
            {
                *group = Some(Arc::clone(rows));
            }
        }
        self.settle(engine);
    }

    /// Keeps the matches when none is missing.
    fn settle(&self, engine: &QueryEngine) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.missing == 0 {
            let matches = Arc::new(FileMatches(state.groups.clone()));
            engine.matches_cache().insert(&self.key, &matches);
        }
    }
}

fn all_units(at: usize, file: &ParquetFile) -> Vec<Unit> {
    let unit = |row_group| {
        let rows = file.row_group_rows(row_group);
        Unit { file: at, row_group, first_row: rows.start, rows: rows.len() }
    };
    (0..file.row_groups()).map(unit).collect()
}

/// The matches without the rows that are deleted.
fn live(snapshot: &Snapshot, mut matches: Matches, deleted: &Counter) -> Result<Matches> {
    let live = snapshot.live_rows(matches.unit.file, matches.unit.row_group)?;
    if let Some(live) = live {
        let before = matches.count();
        matches.rows = Some(match matches.rows {
            None => Arc::clone(live),
            Some(rows) => {
                let mut rows = Bitmap::clone(&rows);
                rows.intersect(live);
                Arc::new(rows)
            }
        });
        deleted.add((before - matches.count()) as u64);
    }
    Ok(matches)
}

/// Adds the allowed rows to the selection where that leaves out much.
fn narrower(
    selection: Option<RowSelection>,
    allowed: Option<&Bitmap>,
    rows: usize,
) -> Option<RowSelection> {
    /// Skipping rows is dearer than decoding them, unless most are skipped.
    const SPARSE: usize = 32;
    match allowed.filter(|allowed| allowed.count() < rows / SPARSE) {
        Some(allowed) => {
            let allowed = selection_of_bitmap(allowed);
            Some(selection.map_or(allowed.clone(), |selection| selection.intersection(&allowed)))
        }
        None => selection,
    }
}

async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    AbortOnDropHandle::new(tokio::spawn(work))
        .await
        .map_err(|error| Error::internal("a filter task ended abnormally").caused_by(error))?
}
