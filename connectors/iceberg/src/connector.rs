//! A table as a source: what its snapshot holds, and what changed since the manifest before.
//!
//! A manifest of the table never changes, so that one that was read for the manifest before is not
//! read again: its files are taken from there. Which data are deleted is asked for apart.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{ManifestFile, Snapshot, TableMetadata};
use pandion_manifest::{DataFile, DeleteVector, Manifest, TableFile, TableState};
use pandion_source::{Connector, IoStats, SnapshotChoice, SourceFile, SourceRoot, SourceState};
use pandion_types::{CollectionSchema, Error, Result, Subject};

use crate::columns::{self, Columns};
use crate::deletes::apply::{self, TableFiles};
use crate::deletes::plan::{self, PlannedDelete};
use crate::entries::{FileMaker, Files};
use crate::guard::{corrupt, decode};
use crate::paths::TablePaths;
use crate::place::{LoadedMetadata, TablePlace};
use crate::{choice, manifests, metadata};

/// Manifests that are read at the same time.
const MANIFESTS_IN_FLIGHT: usize = 16;

/// One Iceberg table.
pub struct IcebergConnector {
    root: SourceRoot,
    place: TablePlace,
    choice: SnapshotChoice,
    schema: Arc<CollectionSchema>,
    paths: TablePaths,
    /// The metadata that were read last.
    loaded: Mutex<Option<LoadedMetadata>>,
}

impl fmt::Debug for IcebergConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergConnector")
            .field("root", &self.root)
            .field("place", &self.place)
            .field("choice", &self.choice)
            .finish_non_exhaustive()
    }
}

/// A snapshot to be read, and the columns to read it in.
struct Wanted {
    metadata: Arc<TableMetadata>,
    snapshot: Option<Arc<Snapshot>>,
    columns: Arc<Columns>,
    /// All but what the snapshot's manifests say.
    table: TableState,
}

/// What the manifest before may be used for.
#[derive(Clone, Copy)]
struct Before<'a> {
    /// A manifest of the same table.
    same_table: Option<&'a Manifest>,
    /// The same, if its statistics are those of the columns wanted.
    same_columns: Option<&'a Manifest>,
}

impl IcebergConnector {
    /// A connector to the table at `place`, whose files lie in the store of `root`; those of a table
    /// that a catalog places, below its prefix. Nothing is read.
    #[must_use]
    pub fn new(
        root: SourceRoot,
        place: TablePlace,
        choice: SnapshotChoice,
        schema: Arc<CollectionSchema>,
    ) -> Self {
        let mut paths = TablePaths::new(&root);
        if matches!(place, TablePlace::Catalog(_)) {
            paths = paths.within(root.prefix.clone());
        }
        Self { root, place, choice, schema, paths, loaded: Mutex::new(None) }
    }

    async fn load(&self, stats: &IoStats) -> Result<LoadedMetadata> {
        let loaded = metadata::load(&self.root, &self.place, stats).await?;
        let mut held = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(loaded.clone());
        Ok(loaded)
    }

    /// The metadata that were read last, of the table with this UUID, or as they are now.
    async fn loaded(&self, uuid: &str, stats: &IoStats) -> Result<Arc<TableMetadata>> {
        let held = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_same = |loaded: &LoadedMetadata| loaded.metadata.uuid().to_string() == uuid;
        let loaded = match held.filter(is_same) {
            Some(loaded) => loaded,
            None => self.load(stats).await?,
        };
        if is_same(&loaded) { Ok(loaded.metadata) } else { Err(other_table(uuid, &loaded)) }
    }

    /// The files of the snapshot.
    async fn state(
        &self,
        wanted: Wanted,
        before: Option<&Manifest>,
        stats: &IoStats,
    ) -> Result<SourceState> {
        let before = Before::new(before, &wanted, self.schema.version);
        let Wanted { mut table, snapshot, .. } = wanted;
        let Some(snapshot) = snapshot else {
            return Ok(SourceState { files: Vec::new(), table: Some(table) });
        };
        if let Some(same) = before.same_snapshot(&table) {
            return Ok(same);
        }
        let version = wanted.metadata.format_version();
        let listed =
            manifests::read_list(&self.root, &self.paths, &snapshot, version, stats).await?;
        check_distinct(&listed)?;
        let maker = FileMaker {
            root: self.root.clone(),
            paths: self.paths.clone(),
            columns: wanted.columns,
        };
        let mut data = Vec::new();
        let mut deletes = Vec::new();
        let kept = Kept::new(before.same_columns);
        let mut parts: Vec<Part> = Vec::with_capacity(listed.len());
        let mut unread = Vec::new();
        for (at, manifest) in listed.iter().enumerate() {
            let at = manifest_number(at)?;
            let part = kept.part(manifest, at);
            if part.is_none() {
                unread.push((at, Arc::new(manifest.clone())));
            }
            parts.push(part.unwrap_or_default());
        }
        let mut read = stream::iter(unread)
            .map(|(at, manifest)| read_part(&maker, &wanted.metadata, (at, manifest), stats))
            .buffered(MANIFESTS_IN_FLIGHT);
        while let Some((at, part)) = read.try_next().await? {
            if let Some(place) = parts.get_mut(at as usize) {
                *place = part;
            }
        }
        for part in parts {
            data.extend(part.data);
            deletes.extend(part.deletes);
        }
        before.carry_over(&mut data);
        plan::assign(&mut data, &deletes, &self.paths, before.same_table)?;
        table.manifests = listed.into_iter().map(|manifest| manifest.manifest_path).collect();
        table.deletes = deletes.into_iter().map(PlannedDelete::into_file).collect();
        Ok(SourceState { files: sorted(data)?, table: Some(table) })
    }
}

#[async_trait]
impl Connector for IcebergConnector {
    async fn resolve(&self, before: Option<&Manifest>, stats: &IoStats) -> Result<SourceState> {
        let loaded = self.load(stats).await?;
        let chosen = choice::resolve(&self.choice, &loaded.metadata)?;
        let names = metadata::name_mapping(&loaded.metadata)?;
        let columns = Columns::resolve(&self.schema, &chosen.schema, &names)?;
        let schema_id = chosen.schema.schema_id();
        let wanted = Wanted::new(&loaded, chosen.snapshot, schema_id, columns);
        self.state(wanted, before, stats).await
    }

    async fn resolve_at(
        &self,
        choice: &SnapshotChoice,
        now: &Manifest,
        stats: &IoStats,
    ) -> Result<SourceState> {
        let table = now.table.as_ref().ok_or_else(|| {
            Error::internal("a manifest without a table cannot be read at a snapshot")
        })?;
        let loaded = self.load(stats).await?;
        if loaded.metadata.uuid().to_string() != table.uuid {
            return Err(other_table(&table.uuid, &loaded));
        }
        let chosen = choice::resolve(choice, &loaded.metadata)?;
        let columns = Columns::known(&self.schema, &table.columns);
        let wanted = Wanted::new(&loaded, chosen.snapshot, table.schema_id, columns);
        self.state(wanted, Some(now), stats).await
    }

    async fn delete_vectors(
        &self,
        before: Option<&Manifest>,
        now: &Manifest,
        stats: &IoStats,
    ) -> Result<Vec<Option<DeleteVector>>> {
        let Some(table) = &now.table else { return Ok(vec![None; now.files.len()]) };
        let same_table = before.filter(|before| is_of_table(before, &table.uuid));
        let files = TableFiles { root: &self.root, paths: &self.paths, manifest: now, table };
        let metadata = || self.loaded(&table.uuid, stats);
        apply::vectors(files, same_table, metadata, stats).await
    }
}

impl Wanted {
    fn new(
        loaded: &LoadedMetadata,
        snapshot: Option<Arc<Snapshot>>,
        schema_id: i32,
        columns: Columns,
    ) -> Self {
        let metadata = &loaded.metadata;
        let oldest = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms()).min();
        let table = TableState {
            uuid: metadata.uuid().to_string(),
            metadata_location: loaded.location.clone(),
            snapshot_id: snapshot.as_ref().map(|snapshot| snapshot.snapshot_id()),
            sequence_number: snapshot.as_ref().map_or(0, |snapshot| snapshot.sequence_number()),
            timestamp_ms: snapshot.as_ref().map_or(0, |snapshot| snapshot.timestamp_ms()),
            oldest_snapshot_ms: oldest.unwrap_or_default(),
            schema_id,
            columns: columns.table_columns(),
            ..TableState::default()
        };
        Self { metadata: Arc::clone(metadata), snapshot, columns: Arc::new(columns), table }
    }
}

impl<'a> Before<'a> {
    fn new(before: Option<&'a Manifest>, wanted: &Wanted, schema_version: i32) -> Self {
        let same_table = before.filter(|before| is_of_table(before, &wanted.table.uuid));
        let same_columns = same_table.filter(|before| {
            before.schema_version == schema_version
                && before.table.as_ref().is_some_and(|table| {
                    columns::same_statistics(&table.columns, &wanted.table.columns)
                })
        });
        Self { same_table, same_columns }
    }

    /// The state, when it is that of the manifest before.
    fn same_snapshot(&self, table: &TableState) -> Option<SourceState> {
        let before = self.same_columns?;
        let known = before.table.as_ref().filter(|known| known.snapshot_id == table.snapshot_id)?;
        let table = TableState {
            manifests: known.manifests.clone(),
            deletes: known.deletes.clone(),
            ..table.clone()
        };
        let files = before.files.iter().map(|file| DataFile { deletes: None, ..file.clone() });
        Some(SourceState { files: sorted(files.collect()).ok()?, table: Some(table) })
    }

    /// Gives files the number and the footer that they had before, also where the manifest that
    /// lists them is another one now.
    fn carry_over(&self, data: &mut [DataFile]) {
        let known = self.same_table.map(|before| before.files.as_slice()).unwrap_or_default();
        let known: HashMap<&str, &DataFile> =
            known.iter().map(|file| (file.identity.uri.as_str(), file)).collect();
        for file in data {
            let Some(known) = known.get(file.identity.uri.as_str()) else { continue };
            if known.identity == file.identity && known.rows() == file.rows() {
                file.id = known.id;
                file.row_groups.clone_from(&known.row_groups);
                file.footer.clone_from(&known.footer);
                file.footer_digest = known.footer_digest;
            }
        }
    }
}

/// What one manifest of the table lists.
#[derive(Debug, Default)]
struct Part {
    data: Vec<DataFile>,
    deletes: Vec<PlannedDelete>,
}

/// What the manifest before knows of the table's manifests.
struct Kept<'a> {
    manifests: HashMap<&'a str, Part>,
}

impl<'a> Kept<'a> {
    fn new(before: Option<&'a Manifest>) -> Self {
        let Some((before, table)) =
            before.and_then(|before| Some((before, before.table.as_ref()?)))
        else {
            return Self { manifests: HashMap::new() };
        };
        let mut parts: Vec<Part> = table.manifests.iter().map(|_| Part::default()).collect();
        for file in &before.files {
            let at = file.table.as_ref().map(|table| table.manifest as usize);
            if let Some(part) = at.and_then(|at| parts.get_mut(at)) {
                part.data.push(DataFile { deletes: None, ..file.clone() });
            }
        }
        for (at, delete) in (0_u32..).zip(&table.deletes) {
            if let Some(part) = parts.get_mut(delete.manifest as usize) {
                part.deletes.push(PlannedDelete::Kept(delete.clone(), at));
            }
        }
        Self { manifests: table.manifests.iter().map(String::as_str).zip(parts).collect() }
    }

    /// What a manifest lists, now that it is number `at`; `None` when it must be read.
    fn part(&self, manifest: &ManifestFile, at: u32) -> Option<Part> {
        if !manifest.has_added_files() && !manifest.has_existing_files() {
            return Some(Part::default());
        }
        let known = self.manifests.get(manifest.manifest_path.as_str())?;
        // A table that is raised to version 3 numbers the rows of the files that it has.
        let is_numbered =
            |file: &DataFile| file.table.as_ref().is_some_and(|table| table.first_row_id.is_some());
        if manifest.first_row_id.is_some() && !known.data.iter().all(is_numbered) {
            return None;
        }
        let data = known.data.iter().map(|file| {
            let table = file.table.clone().map(|table| TableFile { manifest: at, ..table });
            DataFile { table, ..file.clone() }
        });
        let deletes = known.deletes.iter().map(|delete| {
            let mut delete = delete.clone();
            if let PlannedDelete::Kept(file, _) = &mut delete {
                file.manifest = at;
            }
            delete
        });
        Some(Part { data: data.collect(), deletes: deletes.collect() })
    }
}

async fn read_part(
    maker: &FileMaker,
    table: &Arc<TableMetadata>,
    (at, manifest): (u32, Arc<ManifestFile>),
    stats: &IoStats,
) -> Result<(u32, Part)> {
    let read = manifests::read_manifest(&maker.root, &maker.paths, table, &manifest, stats).await?;
    let maker = maker.clone();
    let place = manifest.manifest_path.clone();
    let files: Files = decode(place, move |_| maker.files(&read, at)).await?;
    let deletes = files.deletes.into_iter().map(PlannedDelete::New).collect();
    Ok((at, Part { data: files.data, deletes }))
}

fn manifest_number(at: usize) -> Result<u32> {
    u32::try_from(at)
        .map_err(|error| corrupt("the snapshot has too many manifests").caused_by(error))
}

fn check_distinct(listed: &[ManifestFile]) -> Result<()> {
    let mut seen = HashSet::with_capacity(listed.len());
    match listed.iter().find(|manifest| !seen.insert(manifest.manifest_path.as_str())) {
        Some(twice) => {
            Err(corrupt(format!("the snapshot lists manifest {} twice", twice.manifest_path)))
        }
        None => Ok(()),
    }
}

/// The files by URI, each once.
fn sorted(mut data: Vec<DataFile>) -> Result<Vec<SourceFile>> {
    data.sort_by(|left, right| left.identity.uri.cmp(&right.identity.uri));
    let twice = data.windows(2).find(|pair| match pair {
        [left, right] => left.identity.uri == right.identity.uri,
        _ => false,
    });
    if let Some([file, _]) = twice {
        return Err(corrupt(format!("the table lists data file {} twice", file.identity.uri)));
    }
    Ok(data.into_iter().map(|file| SourceFile::Known(Box::new(file))).collect())
}

fn is_of_table(manifest: &Manifest, uuid: &str) -> bool {
    manifest.table.as_ref().is_some_and(|table| table.uuid == uuid)
}

fn other_table(uuid: &str, found: &LoadedMetadata) -> Error {
    Error::conflict(format!(
        "the source holds another table than at the last refresh: expected the one with UUID \
         {uuid}, found {} at {}; refresh the collection",
        found.metadata.uuid(),
        found.location
    ))
    .about(Subject::Source)
}
