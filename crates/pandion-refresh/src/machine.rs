//! A refresh as a state machine: what happened goes in, what to do next comes out.
//!
//! Nothing here does I/O, reads a clock or spawns: the runner performs the effects and reports what
//! came of them.

use std::ops::Range;
use std::sync::Arc;

use pandion_manifest::{DataFile, DeleteVector, Manifest};
use pandion_source::{PinnedObject, SourceState};
use pandion_types::{CollectionId, Error, ErrorKind, FileId, ManifestVersion, Result, Subject};

use crate::diff::Diff;

/// What a refresh starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The collection.
    pub collection: CollectionId,
    /// The schema that columns are checked against.
    pub schema_version: i32,
    /// The manifest that serves now; `None` before the first refresh.
    pub before: Option<Arc<Manifest>>,
    /// The source as messages name it; without credentials.
    pub source: String,
    /// Whether a source without rows may replace one with rows.
    pub allow_empty: bool,
    /// Whether source or credentials change, so that even an unchanged listing is published.
    pub overrides: bool,
    /// Whether the scalar indexes of new files are built before they are published.
    pub indexes: bool,
    /// Whether every vector of a table's new files is read. Those of a folder always are: there is
    /// no metadata that could be trusted instead.
    pub verify_tables: bool,
}

/// Where a refresh stands.
#[derive(Clone, Debug)]
pub enum State {
    /// The job exists.
    Pending,
    /// The source is being listed.
    Listing,
    /// The footers of new files are being read.
    ReadingFooters(Box<Diff>),
    /// The delete files of a table are being read.
    ReadingDeletes(Arc<Manifest>, Receipt),
    /// New files are being checked.
    Verifying(Arc<Manifest>, Receipt),
    /// The scalar indexes of new files are being built.
    Indexing(Arc<Manifest>, Receipt),
    /// The manifest is being written.
    Writing(Arc<Manifest>, Receipt),
    /// The manifest is durable and about to become the one that serves.
    Publishing(Receipt),
    /// It serves.
    Completed(Receipt),
    /// It never will; the version before serves on.
    Failed,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The runner took the job.
    Started,
    /// The listing is complete.
    Listed(SourceState),
    /// The metadata of the new files, in the order asked for. Ids are not given yet.
    FootersRead(Vec<DataFile>),
    /// The dead rows of each file of the manifest.
    DeletesRead(Vec<Option<DeleteVector>>),
    /// The new files can be searched, as far as was to be checked.
    Verified,
    /// The scalar indexes of the new files are there, but for those that could not be built.
    Indexed {
        /// Milliseconds that it took.
        elapsed_ms: u64,
        /// Indexes of single files that were made from those of replaced files.
        remapped: u64,
        /// Indexes of single files that could not be built.
        failures: u64,
    },
    /// The manifest is durable.
    Written,
    /// The manifest serves.
    Published,
}

/// What to do next.
#[derive(Clone, Debug)]
pub enum Effect {
    /// List the source.
    List,
    /// Read and check the footers of these files.
    ReadFooters(Vec<PinnedObject>),
    /// Read which rows of the manifest's files are dead.
    ReadDeletes(Arc<Manifest>),
    /// Check the vectors of the files with these ids or above.
    Verify(Arc<Manifest>, FileId),
    /// Check the columns of one of the files with these ids or above, as far as a table's metadata
    /// does not tell enough of them.
    Probe(Arc<Manifest>, FileId),
    /// Build the scalar indexes of the files with these ids or above.
    Index(Arc<Manifest>, FileId),
    /// Make the manifest durable.
    Write(Arc<Manifest>),
    /// Let the manifest that was written serve, and complete the job, in one commit.
    Publish(Receipt),
    /// Complete the job; the manifest that serves is already right.
    Complete(Receipt),
}

/// What a refresh did, beside what it read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Files at URIs that were not there before.
    pub added: u64,
    /// Files whose content is another one than before.
    pub changed: u64,
    /// Files that are gone.
    pub removed: u64,
    /// Files of which nothing was read.
    pub kept: u64,
    /// Rows of the collection now; deleted ones do not count.
    pub rows: u64,
    /// Milliseconds spent on building scalar indexes.
    pub index_ms: u64,
    /// Scalar indexes of single files that could not be built.
    pub index_failures: u64,
    /// Scalar indexes of single files that were made from those of the files that they replace.
    pub indexes_remapped: u64,
}

impl State {
    /// The percentages between which building indexes moves.
    pub const INDEXING: Range<u8> = 60..95;

    /// How far it is, in percent. Below 100 until the new version serves.
    #[must_use]
    pub fn progress(&self) -> u8 {
        match self {
            Self::Pending | Self::Failed => 0,
            Self::Listing => 5,
            Self::ReadingFooters(_) => 20,
            Self::ReadingDeletes(..) => 30,
            Self::Verifying(..) => 40,
            Self::Indexing(..) => Self::INDEXING.start,
            Self::Writing(..) => Self::INDEXING.end,
            Self::Publishing(_) => 99,
            Self::Completed(_) => 100,
        }
    }

    /// The step's name, for logs and job records.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Listing => "Listing",
            Self::ReadingFooters(_) => "ReadingFooters",
            Self::ReadingDeletes(..) => "ReadingDeletes",
            Self::Verifying(..) => "Verifying",
            Self::Indexing(..) => "Indexing",
            Self::Writing(..) => "Writing",
            Self::Publishing(_) => "Publishing",
            Self::Completed(_) => "Completed",
            Self::Failed => "Failed",
        }
    }
}

/// The next state and what to do in it.
///
/// # Errors
/// Why the refresh fails; an event that does not fit the state is `Internal`.
pub fn step(start: &Start, state: State, event: Event) -> Result<(State, Option<Effect>)> {
    match (state, event) {
        (State::Pending, Event::Started) => Ok((State::Listing, Some(Effect::List))),
        (State::Listing, Event::Listed(source)) => listed(start, &source),
        (State::ReadingFooters(diff), Event::FootersRead(files)) => assemble(start, *diff, files),
        (State::ReadingDeletes(manifest, receipt), Event::DeletesRead(deletes)) => {
            with_deletes(start, &manifest, deletes, receipt)
        }
        (State::Verifying(manifest, receipt), Event::Verified) => index(start, manifest, receipt),
        (State::Indexing(manifest, receipt), Event::Indexed { elapsed_ms, remapped, failures }) => {
            let receipt = Receipt {
                index_ms: elapsed_ms,
                index_failures: failures,
                indexes_remapped: remapped,
                ..receipt
            };
            Ok(write(manifest, receipt))
        }
        (State::Writing(_, receipt), Event::Written) => {
            Ok((State::Publishing(receipt), Some(Effect::Publish(receipt))))
        }
        (State::Publishing(receipt), Event::Published) => Ok((State::Completed(receipt), None)),
        (state, event) => {
            Err(Error::internal(format!("refresh is {} and cannot take {event:?}", state.name())))
        }
    }
}

fn index(
    start: &Start,
    manifest: Arc<Manifest>,
    receipt: Receipt,
) -> Result<(State, Option<Effect>)> {
    if !start.indexes {
        return Ok(write(manifest, receipt));
    }
    let effect = Effect::Index(Arc::clone(&manifest), FileId::new(first_id(start))?);
    Ok((State::Indexing(manifest, receipt), Some(effect)))
}

fn write(manifest: Arc<Manifest>, receipt: Receipt) -> (State, Option<Effect>) {
    let effect = Effect::Write(Arc::clone(&manifest));
    (State::Writing(manifest, receipt), Some(effect))
}

/// The id that the first new file gets.
fn first_id(start: &Start) -> u32 {
    start.before.as_ref().map_or(FileId::FIRST.get(), |manifest| manifest.next_file_id)
}

fn listed(start: &Start, source: &SourceState) -> Result<(State, Option<Effect>)> {
    // A folder without files is likely a wrong path; a table says of itself that it is empty.
    let is_nothing = source.files.is_empty() && source.table.is_none();
    if is_nothing && start.before.is_none() && !start.allow_empty {
        return Err(Error::not_found(
            Subject::Source,
            format!("no files found in external source: {}", start.source),
        ));
    }
    let diff = Diff::new(start.before.as_deref(), source);
    if let Some(before) = &start.before
        && diff.is_unchanged()
        && !start.overrides
    {
        let receipt = Receipt {
            kept: diff.kept.len() as u64,
            rows: before.live_rows(),
            ..Receipt::default()
        };
        return Ok((State::Publishing(receipt), Some(Effect::Complete(receipt))));
    }
    if diff.new.is_empty() {
        return assemble(start, diff, Vec::new());
    }
    let effect = Effect::ReadFooters(diff.new.clone());
    Ok((State::ReadingFooters(Box::new(diff)), Some(effect)))
}

/// Puts kept and new files into the next manifest.
fn assemble(start: &Start, diff: Diff, new: Vec<DataFile>) -> Result<(State, Option<Effect>)> {
    if new.len() != diff.new.len() {
        return Err(Error::internal(format!(
            "{} footers were read for {} files",
            new.len(),
            diff.new.len()
        )));
    }
    let before = start.before.as_deref();
    let first_id = first_id(start);
    let mut receipt = Receipt {
        added: diff.added() as u64,
        changed: diff.changed as u64,
        removed: diff.removed as u64,
        kept: diff.kept.len() as u64,
        ..Receipt::default()
    };
    let mut files = diff.kept;
    let mut next_file_id = first_id;
    for mut file in new.into_iter().chain(diff.known) {
        file.id = FileId::new(next_file_id).map_err(|error| {
            Error::new(
                ErrorKind::Unsupported,
                "the collection has used up its file ids; create it anew",
            )
            .caused_by(error)
        })?;
        next_file_id += 1;
        files.push(file);
    }
    files.extend(diff.revived);
    files.sort_unstable_by_key(|file| file.id);
    let manifest = Manifest {
        collection: start.collection,
        version: ManifestVersion(before.map_or(0, |manifest| manifest.version.0) + 1),
        next_file_id,
        schema_version: start.schema_version,
        table: diff.table,
        files,
    };
    receipt.rows = manifest.live_rows();
    check_not_emptied(start, &manifest)?;
    let manifest = Arc::new(manifest);
    if manifest.table.as_ref().is_some_and(|table| !table.deletes.is_empty()) {
        let effect = Effect::ReadDeletes(Arc::clone(&manifest));
        return Ok((State::ReadingDeletes(manifest, receipt), Some(effect)));
    }
    check_new(start, manifest, receipt)
}

/// Puts the dead rows into the manifest.
fn with_deletes(
    start: &Start,
    manifest: &Manifest,
    deletes: Vec<Option<DeleteVector>>,
    receipt: Receipt,
) -> Result<(State, Option<Effect>)> {
    if deletes.len() != manifest.files.len() {
        return Err(Error::internal(format!(
            "{} delete vectors were read for {} files",
            deletes.len(),
            manifest.files.len()
        )));
    }
    let mut manifest = manifest.clone();
    for (file, deletes) in manifest.files.iter_mut().zip(deletes) {
        file.deletes = deletes;
    }
    check_not_emptied(start, &manifest)?;
    let receipt = Receipt { rows: manifest.live_rows(), ..receipt };
    check_new(start, Arc::new(manifest), receipt)
}

/// Lets the new files be checked, if there are any, as far as nothing vouches for them.
fn check_new(
    start: &Start,
    manifest: Arc<Manifest>,
    receipt: Receipt,
) -> Result<(State, Option<Effect>)> {
    let first_id = first_id(start);
    if manifest.next_file_id == first_id {
        return Ok(write(manifest, receipt));
    }
    let first = FileId::new(first_id)?;
    let effect = if manifest.table.is_some() && !start.verify_tables {
        Effect::Probe(Arc::clone(&manifest), first)
    } else {
        Effect::Verify(Arc::clone(&manifest), first)
    };
    Ok((State::Verifying(manifest, receipt), Some(effect)))
}

fn check_not_emptied(start: &Start, manifest: &Manifest) -> Result<()> {
    if start.allow_empty || manifest.live_rows() > 0 {
        return Ok(());
    }
    let before = start.before.as_ref().map_or(0, |manifest| manifest.files.len());
    let is_table = manifest.table.is_some();
    if is_table && start.before.as_ref().is_none_or(|before| before.live_rows() == 0) {
        return Ok(());
    }
    if (manifest.files.is_empty() || is_table) && before > 0 {
        return Err(Error::conflict(format!(
            "safety check failed: refusing to drop all {before} segments without replacement \
             (keptSegments=0, updatedSegments=0); set the collection property \
             refresh.allow_empty=true if the source is meant to be empty"
        ))
        .about(Subject::Source));
    }
    Err(Error::invalid_argument(format!(
        "external source has {} fragments but zero total rows",
        manifest.files.len()
    ))
    .about(Subject::Source))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use object_store::memory::InMemory;
    use pandion_manifest::TableState;
    use pandion_source::SourceFile;
    use pandion_types::{ContentTag, FileIdentity};

    use super::*;

    fn identity(name: &str) -> FileIdentity {
        FileIdentity {
            uri: format!("s3://host/bucket/{name}"),
            size: 10,
            tag: ContentTag::ETag("tag".into()),
        }
    }

    fn file(id: u32, name: &str, rows: u64) -> DataFile {
        DataFile {
            id: FileId::new(id).unwrap(),
            location: name.into(),
            identity: identity(name),
            footer_digest: [0; 32],
            row_groups: vec![rows],
            columns: Vec::new(),
            footer: Bytes::new(),
            deletes: None,
            table: None,
        }
    }

    fn listing(names: &[&str]) -> SourceState {
        let store: Arc<dyn object_store::ObjectStore> = Arc::new(InMemory::new());
        let object = |name: &&str| {
            SourceFile::Found(PinnedObject::new(Arc::clone(&store), (*name).into(), identity(name)))
        };
        SourceState { files: names.iter().map(object).collect(), table: None }
    }

    fn start(before: Option<&[(u32, &str)]>) -> Start {
        let before = before.map(|files| {
            Arc::new(Manifest {
                collection: CollectionId(7),
                version: ManifestVersion(4),
                next_file_id: 10,
                schema_version: 0,
                table: None,
                files: files.iter().map(|(id, name)| file(*id, name, 5)).collect(),
            })
        });
        Start {
            collection: CollectionId(7),
            schema_version: 0,
            before,
            source: "s3://host/bucket/".to_owned(),
            allow_empty: false,
            overrides: false,
            indexes: false,
            verify_tables: false,
        }
    }

    /// Runs to the first effect after the footers were read; every new file has `rows` rows.
    fn after_footers(start: &Start, now: &[&str], rows: u64) -> Result<(State, Option<Effect>)> {
        let (state, _) = step(start, State::Pending, Event::Started)?;
        let (state, effect) = step(start, state, Event::Listed(listing(now)))?;
        let Some(Effect::ReadFooters(objects)) = effect else { return Ok((state, effect)) };
        let files = objects.iter().map(|object| {
            let name = object.location.to_string();
            file(1, &name, rows)
        });
        step(start, state, Event::FootersRead(files.collect()))
    }

    #[test]
    fn an_unchanged_source_is_complete_after_its_listing() {
        let start = start(Some(&[(1, "a"), (2, "b")]));
        let (state, effect) = after_footers(&start, &["a", "b"], 0).unwrap();
        let Some(Effect::Complete(receipt)) = effect else { panic!("{effect:?}") };
        assert_eq!(receipt, Receipt { kept: 2, rows: 10, ..Receipt::default() });
        assert!(matches!(state, State::Publishing(_)));
    }

    #[test]
    fn ids_of_files_that_are_gone_are_not_given_again() {
        let start = start(Some(&[(3, "a"), (9, "b")]));
        let (_, effect) = after_footers(&start, &["a", "c", "d"], 5).unwrap();
        let Some(Effect::Verify(manifest, first)) = effect else { panic!("{effect:?}") };
        let ids: Vec<u32> = manifest.files.iter().map(|file| file.id.get()).collect();
        assert_eq!(ids, [3, 10, 11]);
        assert_eq!((first.get(), manifest.next_file_id, manifest.version.0), (10, 12, 5));
    }

    #[test]
    fn a_shrunken_source_is_written_without_reading_anything() {
        let start = start(Some(&[(1, "a"), (2, "b")]));
        let (state, effect) = after_footers(&start, &["b"], 0).unwrap();
        assert!(matches!(effect, Some(Effect::Write(_))), "{effect:?}");
        let State::Writing(_, receipt) = state else { panic!("{state:?}") };
        assert_eq!((receipt.removed, receipt.kept, receipt.rows), (1, 1, 5));
    }

    #[test]
    fn an_emptied_source_is_refused_unless_allowed() {
        let mut start = start(Some(&[(1, "a")]));
        let error = after_footers(&start, &[], 0).unwrap_err();
        assert!(error.message().contains("refusing to drop all 1 segments"), "{error}");
        start.allow_empty = true;
        let (state, _) = after_footers(&start, &[], 0).unwrap();
        assert!(matches!(state, State::Writing(..)));
    }

    #[test]
    fn a_first_refresh_needs_files_with_rows() {
        let start = start(None);
        let error = after_footers(&start, &[], 0).unwrap_err();
        assert!(error.message().contains("no files found in external source"), "{error}");
        let error = after_footers(&start, &["a"], 0).unwrap_err();
        assert!(error.message().contains("1 fragments but zero total rows"), "{error}");
    }

    /// Runs to the first effect after a table without files was looked at.
    fn after_empty_table(start: &Start) -> Result<(State, Option<Effect>)> {
        let table = TableState {
            uuid: "t".to_owned(),
            metadata_location: String::new(),
            snapshot_id: None,
            sequence_number: 0,
            timestamp_ms: 0,
            oldest_snapshot_ms: 0,
            schema_id: 0,
            manifests: Vec::new(),
            columns: Vec::new(),
            deletes: Vec::new(),
            retired: Vec::new(),
        };
        let (state, _) = step(start, State::Pending, Event::Started)?;
        let source = SourceState { table: Some(table), ..listing(&[]) };
        step(start, state, Event::Listed(source))
    }

    #[test]
    fn a_table_may_be_empty_but_is_not_emptied() {
        for before in [None, Some(&[][..])] {
            let (state, _) = after_empty_table(&start(before)).unwrap();
            assert!(matches!(state, State::Writing(..)), "{state:?}");
        }
        let error = after_empty_table(&start(Some(&[(1, "a")]))).unwrap_err();
        assert!(error.message().contains("refusing to drop all 1 segments"), "{error}");
    }

    #[test]
    fn indexes_of_new_files_are_built_before_the_manifest_is_written() {
        let mut start = start(Some(&[(1, "a")]));
        start.indexes = true;
        let (state, _) = after_footers(&start, &["a", "b"], 5).unwrap();
        let (state, effect) = step(&start, state, Event::Verified).unwrap();
        let Some(Effect::Index(manifest, first)) = effect else { panic!("{effect:?}") };
        assert_eq!((first.get(), manifest.files.len()), (10, 2));
        assert_eq!((state.name(), state.progress()), ("Indexing", 60));
        let indexed = Event::Indexed { elapsed_ms: 7, remapped: 3, failures: 2 };
        let (state, effect) = step(&start, state, indexed).unwrap();
        assert!(matches!(effect, Some(Effect::Write(_))), "{effect:?}");
        let State::Writing(_, receipt) = state else { panic!("{state:?}") };
        assert_eq!((receipt.index_ms, receipt.index_failures, receipt.rows), (7, 2, 10));
        assert_eq!(receipt.indexes_remapped, 3);
    }

    #[test]
    fn without_new_files_nothing_is_indexed() {
        let mut start = start(Some(&[(1, "a"), (2, "b")]));
        start.indexes = true;
        let (_, effect) = after_footers(&start, &["b"], 0).unwrap();
        assert!(matches!(effect, Some(Effect::Write(_))), "{effect:?}");
    }

    #[test]
    fn without_indexes_the_manifest_is_written_at_once() {
        let start = start(None);
        let (state, _) = after_footers(&start, &["a"], 5).unwrap();
        let (_, effect) = step(&start, state, Event::Verified).unwrap();
        assert!(matches!(effect, Some(Effect::Write(_))), "{effect:?}");
    }

    #[test]
    fn an_event_out_of_turn_is_an_error() {
        let error = step(&start(None), State::Listing, Event::Written).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
