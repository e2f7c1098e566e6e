//! The manifests of a snapshot: which there are, and what one lists.
//!
//! Numbers that entries inherit from their manifest are filled in as the specification says; what a
//! manifest lists as deleted is left out. Nothing here decides which manifests are read.

use std::sync::Arc;

use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestFile, ManifestList, ManifestMetadata,
    ManifestStatus, Snapshot, TableMetadata,
};
use pandion_source::{IoStats, PinnedObject, SourceRoot, read_whole};
use pandion_types::{ContentTag, FileIdentity, Result};

use crate::avro;
use crate::guard::{corrupt, decode, foreign, unsupported};
use crate::paths::TablePaths;
use crate::repair;

/// Bytes of the largest manifest, and of the largest list of manifests.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// A live entry of a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) file: DataFile,
    /// The file's data sequence number.
    pub(crate) sequence_number: i64,
    /// The `_row_id` of the first row, in tables with row lineage.
    pub(crate) first_row_id: Option<i64>,
}

/// What a manifest lists.
#[derive(Clone, Debug)]
pub(crate) struct ReadManifest {
    pub(crate) metadata: ManifestMetadata,
    /// The partition spec that all its files belong to.
    pub(crate) spec_id: i32,
    pub(crate) entries: Vec<Entry>,
}

/// Reads the list of a snapshot's manifests. One request.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the file; those of the store.
pub(crate) async fn read_list(
    root: &SourceRoot,
    paths: &TablePaths,
    snapshot: &Snapshot,
    version: FormatVersion,
    stats: &IoStats,
) -> Result<Vec<ManifestFile>> {
    if snapshot.encryption_key_id().is_some() {
        return Err(unsupported(format!(
            "snapshot {} is encrypted: encrypted tables are not supported",
            snapshot.snapshot_id()
        )));
    }
    let location = paths.locate(snapshot.manifest_list())?;
    let bytes = read_whole(root, &location, MANIFEST_BYTES_MAX, stats).await?;
    let manifests = decode(root.uri_of(&location), move |place| {
        avro::check(&bytes).map_err(|what| corrupt(format!("manifest list {place} {what}")))?;
        let list = ManifestList::parse_with_version(&bytes, version)
            .map_err(|error| foreign(error, place))?;
        Ok(list.consume_entries().into_iter().collect::<Vec<_>>())
    })
    .await?;
    let encrypted = |manifest: &&ManifestFile| {
        manifest.key_metadata.as_ref().is_some_and(|key| !key.is_empty())
    };
    if let Some(manifest) = manifests.iter().find(encrypted) {
        return Err(unsupported(format!(
            "manifest {} is encrypted: encrypted tables are not supported",
            manifest.manifest_path
        )));
    }
    Ok(manifests)
}

/// Reads what a manifest lists. One request.
///
/// # Errors
/// As [`read_list`].
pub(crate) async fn read_manifest(
    root: &SourceRoot,
    paths: &TablePaths,
    table: &Arc<TableMetadata>,
    manifest: &Arc<ManifestFile>,
    stats: &IoStats,
) -> Result<ReadManifest> {
    let location = paths.locate(&manifest.manifest_path)?;
    let uri = root.uri_of(&location);
    let size = u64::try_from(manifest.manifest_length).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| {
        corrupt(format!("manifest {uri} is said to have {} bytes", manifest.manifest_length))
    })?;
    if size > MANIFEST_BYTES_MAX {
        return Err(unsupported(format!(
            "manifest {uri} has {size} bytes, the most is {MANIFEST_BYTES_MAX}"
        )));
    }
    let identity = FileIdentity { uri: uri.clone(), size, tag: ContentTag::Immutable };
    let object = PinnedObject::new(Arc::clone(&root.store), location, identity);
    let bytes = object.read_all(stats).await?;
    let (manifest, table) = (Arc::clone(manifest), Arc::clone(table));
    decode(uri, move |place| {
        avro::check(&bytes).map_err(|what| corrupt(format!("manifest {place} {what}")))?;
        let read = Manifest::parse_avro(&bytes).or_else(|error| {
            let repaired = repair::manifest(&bytes, &table);
            let read = repaired.and_then(|repaired| Manifest::parse_avro(&repaired).ok());
            read.ok_or_else(|| foreign(error, place))
        });
        inherit(read?, &manifest, place)
    })
    .await
}

/// Fills in what entries inherit (Iceberg specification, "Sequence number inheritance" and "First
/// row ID inheritance").
fn inherit(read: Manifest, manifest: &ManifestFile, place: &str) -> Result<ReadManifest> {
    let (entries, metadata) = read.into_parts();
    let mut next_row_id = manifest.first_row_id;
    let mut live = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = Arc::unwrap_or_clone(entry);
        if !entry.is_alive() {
            continue;
        }
        let inherits = entry.status == ManifestStatus::Added || manifest.sequence_number == 0;
        let sequence_number = match entry.sequence_number {
            Some(number) => number,
            None if inherits => manifest.sequence_number,
            None => {
                return Err(corrupt(format!(
                    "manifest {place}: file {} existed before and has no sequence number",
                    entry.data_file.file_path()
                )));
            }
        };
        let first_row_id = match (entry.data_file.first_row_id(), next_row_id) {
            (_, None) => None,
            (Some(given), Some(_)) => Some(given),
            (None, Some(next)) => {
                next_row_id = next.checked_add(entry.data_file.record_count());
                i64::try_from(next).ok()
            }
        };
        live.push(Entry { file: entry.data_file, sequence_number, first_row_id });
    }
    Ok(ReadManifest { metadata, spec_id: manifest.partition_spec_id, entries: live })
}
