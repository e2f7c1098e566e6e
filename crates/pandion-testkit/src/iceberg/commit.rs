//! A commit: files, manifests, the list of them, and metadata that names the list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use bytes::Bytes;
use iceberg::spec::{
    DataContentType, DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, PartitionSpecRef,
    SnapshotReference, SnapshotRetention,
};
use roaring::RoaringTreemap;

use super::change::{Change, Defect, DeleteLayout};
use super::deletes::{EqualityKeys, Positions, equality_files, position_file, vector_file};
use super::files::{Lineage, NewData, NewFile};
use super::manifests::{Added, Commit, FileKey, Manifest, count};
use super::metadata::SnapshotEntry;
use super::oracle::LiveFile;
use super::project::{arrow_schema, conform};
use super::{State, TableWriter};

/// How far past the end of a file [`Defect::PositionBeyondEnd`] points.
const BEYOND_END: u64 = 7;

/// `_row_id` and `_last_updated_sequence_number` of rows.
type RowVersions = Vec<(Option<i64>, Option<i64>)>;

/// What a commit is going to write.
struct Draft {
    commit: Commit,
    parent: Option<i64>,
    state: Arc<State>,
    defect: Option<Defect>,
    /// The data files of the new snapshot.
    files: Vec<LiveFile>,
    removed: BTreeSet<FileKey>,
    added: Vec<(PartitionSpecRef, DataFile)>,
    equality: Vec<(i64, Arc<EqualityKeys>)>,
    data_sequence_number: Option<i64>,
    objects: Vec<(String, Bytes)>,
}

impl Draft {
    fn file_mut(&mut self, uri: &str) -> anyhow::Result<&mut LiveFile> {
        let found = self.files.iter_mut().find(|file| file.rows.uri == uri);
        found.with_context(|| format!("{uri} is no data file of the snapshot"))
    }

    fn add(&mut self, spec: &PartitionSpecRef, new: NewFile) {
        let is_data = new.file.content_type() == DataContentType::Data;
        let missing = if is_data { Defect::DataFileMissing } else { Defect::DeleteFileMissing };
        let uri = new.file.file_path().to_owned();
        let is_there = self.objects.last().is_some_and(|(known, _)| *known == uri);
        if self.defect != Some(missing) && !is_there {
            self.objects.push((uri, new.bytes));
        }
        self.added.push((Arc::clone(spec), new.file));
    }

    /// Removes the delete files that are about these data files alone.
    fn remove_deletes_of(&mut self, uris: &BTreeSet<String>) {
        let manifests = self.state.manifests.iter().filter(|manifest| manifest.holds_deletes());
        for entry in manifests.flat_map(|manifest| &manifest.entries) {
            if entry.file.referenced_data_file().is_some_and(|uri| uris.contains(&uri)) {
                self.removed.insert(entry.key());
            }
        }
    }
}

impl TableWriter {
    /// Makes one snapshot of a change, on the branch in use; returns its id.
    ///
    /// # Errors
    /// A change that names what the snapshot lacks, or that the format version lacks; a store that
    /// fails.
    pub async fn commit(&mut self, change: Change) -> anyhow::Result<i64> {
        self.commit_with(change, Vec::new()).await
    }

    /// Rewrites the live rows of data files as few new ones, sorted as they were. In format version
    /// 3 rows keep `_row_id` and `_last_updated_sequence_number`. Returns the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn compact(&mut self, files: &[String]) -> anyhow::Result<i64> {
        let (batch, lineage) = self.live_rows(files)?;
        self.rewrite(files, "replace", batch, lineage).await
    }

    /// Rewrites the live rows of data files in the same order, some of them with other values:
    /// `changed` has, by the position of each such row in that order, a batch of one row. In format
    /// version 3 all rows keep `_row_id`, and those that changed inherit
    /// `_last_updated_sequence_number`. Returns the snapshot's id.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn update(
        &mut self,
        files: &[String],
        changed: &BTreeMap<usize, RecordBatch>,
    ) -> anyhow::Result<i64> {
        let (batch, mut lineage) = self.live_rows(files)?;
        let schema = self.schema()?;
        let mut rows = (0..batch.num_rows()).map(|row| batch.slice(row, 1)).collect::<Vec<_>>();
        for (&at, row) in changed {
            let place = rows.get_mut(at).with_context(|| format!("there is no row {at}"))?;
            *place = conform(row, &schema)?;
            if let Some((_, updated)) = lineage.as_mut().and_then(|rows| rows.get_mut(at)) {
                *updated = None;
            }
        }
        let batch = concat_batches(&batch.schema(), &rows)?;
        self.rewrite(files, "overwrite", batch, lineage).await
    }

    /// The live rows of data files, and in format version 3 the `_row_id` and
    /// `_last_updated_sequence_number` of each.
    fn live_rows(&self, files: &[String]) -> anyhow::Result<(RecordBatch, Option<RowVersions>)> {
        let schema = self.schema()?;
        let state = self.state_of(self.head())?;
        let (mut batches, mut versions) = (Vec::new(), Vec::new());
        for uri in files {
            let found = state.files.iter().find(|file| &file.rows.uri == uri);
            let found = found.with_context(|| format!("{uri} is no data file of the snapshot"))?;
            batches.push(found.batch_as(&schema)?);
            let positions = found.positions();
            versions.extend(positions.map(|at| (found.row_id(at), found.last_updated(at))));
        }
        let batch = concat_batches(&arrow_schema(&schema)?, &batches)?;
        let keeps = self.metadata.format_version >= FormatVersion::V3;
        Ok((batch, keeps.then_some(versions)))
    }

    async fn rewrite(
        &mut self,
        files: &[String],
        operation: &'static str,
        batch: RecordBatch,
        versions: Option<RowVersions>,
    ) -> anyhow::Result<i64> {
        let lineage = versions.map(|versions| {
            let (row_ids, updated): (Vec<_>, Vec<_>) = versions.into_iter().unzip();
            Lineage::new(Int64Array::from(row_ids), Int64Array::from(updated))
        });
        let operation = Some(operation);
        let change = Change { operation, removed: files.to_vec(), ..Change::default() };
        self.commit_with(change, vec![(batch, lineage)]).await
    }

    async fn commit_with(
        &mut self,
        change: Change,
        rewritten: Vec<(RecordBatch, Option<Lineage>)>,
    ) -> anyhow::Result<i64> {
        let version = self.metadata.format_version;
        let deletes = !change.positions.is_empty() || !change.equality.is_empty();
        ensure!(!deletes || version > FormatVersion::V1, "format version 1 has no delete files");
        let parent = self.head();
        let state = self.state_of(parent)?;
        let sequence_number = match version {
            FormatVersion::V1 => 0,
            FormatVersion::V2 | FormatVersion::V3 => self.metadata.last_sequence_number + 1,
        };
        let commit =
            Commit { format_version: version, snapshot_id: self.new_id(), sequence_number };
        let mut draft = Draft {
            commit,
            parent,
            files: state.files.clone(),
            defect: change.defect.clone(),
            removed: BTreeSet::new(),
            added: Vec::new(),
            equality: state.equality.clone(),
            data_sequence_number: change.data_sequence_number,
            objects: Vec::new(),
            state,
        };
        remove_files(&mut draft, &change.removed)?;
        self.delete_by_position(&mut draft, &change)?;
        self.delete_by_value(&mut draft, &change)?;
        let schema = self.schema()?;
        let appended = change.appended.iter().map(|batch| Ok((conform(batch, &schema)?, None)));
        let appended = appended.collect::<anyhow::Result<Vec<_>>>()?;
        for (batch, lineage) in appended.into_iter().chain(rewritten) {
            self.append_rows(&mut draft, batch, lineage)?;
        }
        self.publish(draft, change.operation()).await
    }

    fn append_rows(
        &mut self,
        draft: &mut Draft,
        batch: RecordBatch,
        lineage: Option<Lineage>,
    ) -> anyhow::Result<()> {
        let spec = self.metadata.spec_by_id(self.metadata.default_spec_id)?;
        let schema = self.schema()?;
        let data = NewData { schema, spec: Arc::clone(&spec), batch, lineage };
        let sequence = draft.data_sequence_number.unwrap_or(draft.commit.sequence_number);
        for (partition, folders, data) in data.partitions()? {
            let uri = self.file_uri(&folders, ".parquet");
            let (new, rows) = data.file(uri, partition, &self.style, draft.defect.as_ref())?;
            draft.add(&spec, new);
            let mut file = LiveFile::new(rows, sequence);
            // Only files with an older number than the snapshot's meet equality deletes.
            for (_, keys) in draft.equality.iter().filter(|(number, _)| *number > sequence) {
                let reached = keys.positions(&file)?;
                *Arc::make_mut(&mut file.dead) |= &reached;
            }
            draft.files.push(file);
        }
        Ok(())
    }

    fn delete_by_position(&mut self, draft: &mut Draft, change: &Change) -> anyhow::Result<()> {
        let mut targets: Vec<Positions> = Vec::new();
        let vectors = draft.commit.format_version >= FormatVersion::V3;
        for (uri, positions) in &change.positions {
            let beyond = draft.defect == Some(Defect::PositionBeyondEnd);
            let file = draft.file_mut(uri)?;
            let count = file.rows.count();
            let mut new: RoaringTreemap = positions.iter().copied().collect();
            ensure!(new.max().is_none_or(|last| last < count), "{uri} has {count} rows");
            *Arc::make_mut(&mut file.dead) |= &new;
            *Arc::make_mut(&mut file.dead_by_position) |= &new;
            if vectors {
                new = file.dead_by_position.as_ref().clone();
            }
            if beyond {
                new.insert(count + BEYOND_END);
            }
            targets.push((file.clone(), new));
        }
        if targets.is_empty() {
            return Ok(());
        }
        if vectors {
            let uris = targets.iter().map(|(file, _)| file.rows.uri.clone()).collect();
            draft.remove_deletes_of(&uris);
            return self.write_vectors(draft, &targets, change.layout);
        }
        self.write_position_files(draft, targets, change.layout)
    }

    fn write_vectors(
        &mut self,
        draft: &mut Draft,
        targets: &[Positions],
        layout: DeleteLayout,
    ) -> anyhow::Result<()> {
        let groups: Vec<&[Positions]> = match layout {
            DeleteLayout::Shared => vec![targets],
            DeleteLayout::PerFile => targets.chunks(1).collect(),
        };
        let copies = if draft.defect == Some(Defect::VectorTwice) { 2 } else { 1 };
        for group in groups.into_iter().flat_map(|group| std::iter::repeat_n(group, copies)) {
            let uri = self.file_uri("", "-deletes.puffin");
            let files = vector_file(&uri, group, draft.defect.as_ref())?;
            for (new, (target, _)) in files.into_iter().zip(group) {
                draft.add(&target.rows.spec, new);
            }
        }
        Ok(())
    }

    fn write_position_files(
        &mut self,
        draft: &mut Draft,
        targets: Vec<Positions>,
        layout: DeleteLayout,
    ) -> anyhow::Result<()> {
        let mut groups: Vec<Vec<Positions>> = Vec::new();
        for target in targets {
            let rows = Arc::clone(&target.0.rows);
            let group = groups.iter_mut().find(|group| {
                let first = &group[0].0.rows;
                layout == DeleteLayout::Shared
                    && first.spec.spec_id() == rows.spec.spec_id()
                    && first.partition == rows.partition
            });
            match group {
                Some(group) => group.push(target),
                None => groups.push(vec![target]),
            }
        }
        for group in groups {
            let uri = self.file_uri("", "-deletes.parquet");
            let new = position_file(&uri, &group, &self.style, draft.defect.as_ref())?;
            draft.add(&group[0].0.rows.spec, new);
        }
        Ok(())
    }

    fn delete_by_value(&mut self, draft: &mut Draft, change: &Change) -> anyhow::Result<()> {
        let schema = self.schema()?;
        let style = self.style.clone();
        let sequence = draft.commit.sequence_number;
        for delete in &change.equality {
            let spec = if delete.in_all_partitions {
                self.metadata.unpartitioned_spec()
            } else {
                self.metadata.spec_by_id(self.metadata.default_spec_id)?
            };
            let defect = draft.defect.clone();
            let name = |folders: &str| self.file_uri(folders, "-equality.parquet");
            let files = equality_files(delete, &schema, &spec, &style, defect.as_ref(), name)?;
            for (new, keys) in files {
                draft.add(&spec, new);
                for file in &mut draft.files {
                    let reached = keys.positions(file)?;
                    if !reached.is_empty() {
                        *Arc::make_mut(&mut file.dead) |= &reached;
                    }
                }
                draft.equality.push((sequence, Arc::new(keys)));
            }
        }
        Ok(())
    }

    async fn publish(&mut self, mut draft: Draft, operation: &str) -> anyhow::Result<i64> {
        let commit = draft.commit;
        let manifests = self.manifests(&mut draft).await?;
        let timestamp_ms = self.tick();
        let uri = format!("metadata/snap-{}-1-{}.avro", commit.snapshot_id, self.new_uuid());
        let mut snapshot = SnapshotEntry {
            id: commit.snapshot_id,
            parent: draft.parent,
            sequence_number: commit.sequence_number,
            timestamp_ms,
            manifest_list: self.place.uri(&uri),
            summary: BTreeMap::new(),
            schema_id: self.metadata.current_schema_id,
            row_range: None,
        };
        let first = self.metadata.next_row_id;
        let (manifests, bytes, next) = commit.list(&snapshot, manifests, first).await?;
        draft.objects.push((snapshot.manifest_list.clone(), bytes));
        if commit.format_version >= FormatVersion::V3 {
            snapshot.row_range = Some((first, next - first));
            self.metadata.next_row_id = next;
        }
        snapshot.summary = summary(operation, &draft, &manifests);
        for (uri, bytes) in std::mem::take(&mut draft.objects) {
            self.place.put(&uri, bytes).await?;
        }
        let files = with_row_ids(draft.files, &manifests);
        let state = State { manifests, files, equality: draft.equality };
        self.states.insert(commit.snapshot_id, Arc::new(state));
        self.metadata.snapshots.push(snapshot);
        self.metadata.last_sequence_number = commit.sequence_number;
        self.set_head(commit.snapshot_id, timestamp_ms);
        self.write_metadata(timestamp_ms).await?;
        Ok(commit.snapshot_id)
    }

    /// The manifests of the new snapshot: new files first, then those of its parent.
    async fn manifests(&mut self, draft: &mut Draft) -> anyhow::Result<Vec<Arc<Manifest>>> {
        let mut groups: BTreeMap<(bool, i32), (PartitionSpecRef, Vec<DataFile>)> = BTreeMap::new();
        for (spec, file) in std::mem::take(&mut draft.added) {
            let is_delete = file.content_type() != DataContentType::Data;
            let group = groups.entry((is_delete, spec.spec_id()));
            group.or_insert_with(|| (spec, Vec::new())).1.push(file);
        }
        let mut manifests = Vec::new();
        for ((is_delete, _), (spec, files)) in groups {
            for files in files.chunks(self.options.manifest_files_max.max(1)) {
                let added = Added {
                    schema: self.schema_for(&spec)?,
                    spec: Arc::clone(&spec),
                    content: if is_delete {
                        ManifestContentType::Deletes
                    } else {
                        ManifestContentType::Data
                    },
                    files: files.to_vec(),
                    sequence_number: draft.data_sequence_number.filter(|_| !is_delete),
                };
                let uri = self.manifest_uri(manifests.len());
                let (manifest, bytes) = draft.commit.add(&uri, added).await?;
                draft.objects.push((uri, bytes));
                manifests.push(Arc::new(manifest));
            }
        }
        let state = Arc::clone(&draft.state);
        for manifest in &state.manifests {
            let changes = manifest.entries.iter().any(|entry| draft.removed.contains(&entry.key()));
            if changes {
                let uri = self.manifest_uri(manifests.len());
                let (manifest, bytes) =
                    draft.commit.rewrite(&uri, manifest, &draft.removed).await?;
                draft.objects.push((uri, bytes));
                manifests.push(Arc::new(manifest));
            } else if !manifest.entries.is_empty() {
                manifests.push(Arc::clone(manifest));
            }
        }
        Ok(manifests)
    }

    fn set_head(&mut self, snapshot_id: i64, timestamp_ms: i64) {
        let retention = SnapshotRetention::branch(None, None, None);
        let reference = SnapshotReference::new(snapshot_id, retention);
        self.metadata.refs.insert(self.branch.clone(), reference);
        if self.branch == MAIN_BRANCH {
            self.metadata.snapshot_log.push((timestamp_ms, snapshot_id));
        }
    }
}

fn remove_files(draft: &mut Draft, uris: &[String]) -> anyhow::Result<()> {
    for uri in uris {
        draft.file_mut(uri)?;
        draft.files.retain(|file| &file.rows.uri != uri);
        draft.removed.insert((uri.clone(), None));
    }
    draft.remove_deletes_of(&uris.iter().cloned().collect());
    Ok(())
}

/// Data files with the row ids that the manifests gave them.
fn with_row_ids(mut files: Vec<LiveFile>, manifests: &[Arc<Manifest>]) -> Vec<LiveFile> {
    let entries = manifests.iter().flat_map(|manifest| &manifest.entries);
    let ids: HashMap<&str, i64> =
        entries.filter_map(|entry| Some((entry.file.file_path(), entry.first_row_id?))).collect();
    for file in &mut files {
        file.first_row_id = ids.get(file.rows.uri.as_str()).copied();
    }
    files
}

fn summary(
    operation: &str,
    draft: &Draft,
    manifests: &[Arc<Manifest>],
) -> BTreeMap<String, String> {
    let live = || manifests.iter().flat_map(|manifest| &manifest.entries);
    let new = || live().filter(|entry| entry.snapshot_id == draft.commit.snapshot_id);
    let old = || draft.state.manifests.iter().flat_map(|manifest| &manifest.entries);
    let removed = || old().filter(|entry| draft.removed.contains(&entry.key()));
    let mut summary = BTreeMap::from([("operation".to_owned(), operation.to_owned())]);
    let mut add = |name: &str, number: i64| {
        if number > 0 || name.starts_with("total") {
            summary.insert(name.to_owned(), number.to_string());
        }
    };
    for (kind, content) in [
        ("data", DataContentType::Data),
        ("position", DataContentType::PositionDeletes),
        ("equality", DataContentType::EqualityDeletes),
    ] {
        let total = count(live().map(|entry| &entry.file), content);
        let added = count(new().map(|entry| &entry.file), content);
        let gone = count(removed().map(|entry| &entry.file), content);
        let (files, rows) = match kind {
            "data" => ("data-files".to_owned(), "records".to_owned()),
            kind => (format!("{kind}-delete-files"), format!("{kind}-deletes")),
        };
        let gone_word = if kind == "data" { "deleted" } else { "removed" };
        add(&format!("total-{files}"), total.0);
        add(&format!("total-{rows}"), total.1);
        add(&format!("added-{files}"), added.0);
        add(&format!("added-{rows}"), added.1);
        add(&format!("{gone_word}-{files}"), gone.0);
        add(&format!("{gone_word}-{rows}"), gone.1);
    }
    summary
}
