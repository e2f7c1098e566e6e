//! Versions of a collection as older, or other, snapshots of its table have them.
//!
//! Nothing is published and nothing is rebuilt: files that the collection serves keep their ids,
//! footers and index segments, and what only the other snapshot has is read when it is needed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pandion_manifest::{DataFile, Manifest};
use pandion_source::{Connector, IoStats, SnapshotChoice, SourceFile, SourceState};
use pandion_types::{Error, FileId, FileIdentity, ManifestVersion, Result};

/// Ids from here on are for files that the collection has never served.
const FIRST_FOREIGN_ID: u32 = 1 << 30;

/// The manifest of a snapshot of the table that `now` is another one of. It is kept in memory only.
///
/// # Errors
/// Those of [`Connector::resolve_at`] and [`Connector::delete_vectors`].
pub(crate) async fn manifest_at(
    connector: &dyn Connector,
    choice: &SnapshotChoice,
    now: &Manifest,
    stats: &IoStats,
) -> Result<Manifest> {
    let found = connector.resolve_at(choice, now, stats).await?;
    let mut manifest = assemble(found, now)?;
    if manifest.table.as_ref().is_some_and(|table| !table.deletes.is_empty()) {
        let deletes = connector.delete_vectors(Some(now), &manifest, stats).await?;
        for (file, deletes) in manifest.files.iter_mut().zip(deletes) {
            file.deletes = deletes;
        }
    }
    Ok(manifest)
}

fn assemble(found: SourceState, now: &Manifest) -> Result<Manifest> {
    let served: HashMap<&FileIdentity, &DataFile> =
        now.files.iter().map(|file| (&file.identity, file)).collect();
    let retired = now.table.iter().flat_map(|table| &table.retired);
    let retired: HashMap<&str, FileId> = retired.map(|file| (file.uri.as_str(), file.id)).collect();
    let mut foreign_ids = HashSet::new();
    let mut files = Vec::with_capacity(found.files.len());
    for file in found.files {
        let SourceFile::Known(mut file) = file else {
            return Err(Error::internal("a table's metadata does not tell of a file"));
        };
        file.deletes = None;
        if let Some(served) = served.get(&file.identity) {
            file.id = served.id;
            file.footer = served.footer.clone();
            file.footer_digest = served.footer_digest;
            file.row_groups.clone_from(&served.row_groups);
        } else if let Some(&id) = retired.get(file.identity.uri.as_str()) {
            file.id = id;
        } else {
            file.id = foreign_id(&file.identity, &mut foreign_ids)?;
        }
        files.push(*file);
    }
    files.sort_unstable_by_key(|file| file.id);
    let snapshot_id = found.table.as_ref().and_then(|table| table.snapshot_id);
    Ok(Manifest {
        collection: now.collection,
        version: version(now, snapshot_id),
        next_file_id: now.next_file_id,
        schema_version: now.schema_version,
        table: found.table,
        files,
    })
}

/// The id of a file that the collection has never served: the same each time the snapshot is read.
fn foreign_id(identity: &FileIdentity, taken: &mut HashSet<u32>) -> Result<FileId> {
    let digest = blake3::hash(identity.uri.as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    let mut id = u32::from_le_bytes([a, b, c, d]) | FIRST_FOREIGN_ID;
    id &= FileId::LAST.get();
    while !taken.insert(id) {
        id = if id == FileId::LAST.get() { FIRST_FOREIGN_ID } else { id + 1 };
    }
    FileId::new(id)
}

/// A number that no published version has.
fn version(now: &Manifest, snapshot_id: Option<i64>) -> ManifestVersion {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&now.version.0.to_le_bytes());
    hasher.update(&snapshot_id.unwrap_or_default().to_le_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    ManifestVersion(u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1 << 63)
}

/// Snapshots that were asked for, beside the one that is served. A few are kept.
#[derive(Clone, Debug)]
pub(crate) struct Travelled<T>(Vec<(SnapshotChoice, Arc<T>)>);

impl<T> Default for Travelled<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Travelled<T> {
    /// How many are kept for a collection.
    const KEPT: usize = 8;

    /// The one that was made for this choice; it counts as the last used.
    pub(crate) fn get(&mut self, choice: &SnapshotChoice) -> Option<Arc<T>> {
        let at = self.0.iter().position(|(kept, _)| kept == choice)?;
        let found = self.0.remove(at);
        let snapshot = Arc::clone(&found.1);
        self.0.push(found);
        Some(snapshot)
    }

    /// Keeps one, and lets go of the one that was not used for the longest time.
    pub(crate) fn insert(&mut self, choice: SnapshotChoice, snapshot: Arc<T>) {
        self.0.retain(|(kept, _)| *kept != choice);
        if self.0.len() == Self::KEPT {
            self.0.remove(0);
        }
        self.0.push((choice, snapshot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_are_kept() {
        let mut kept = Travelled::default();
        for id in 0..8 {
            kept.insert(SnapshotChoice::Id(id), Arc::new(id));
        }
        assert_eq!(kept.get(&SnapshotChoice::Id(0)).as_deref(), Some(&0));
        kept.insert(SnapshotChoice::Id(8), Arc::new(8));
        assert_eq!(kept.get(&SnapshotChoice::Id(1)), None);
        assert_eq!(kept.get(&SnapshotChoice::Id(0)).as_deref(), Some(&0));
        kept.insert(SnapshotChoice::Id(0), Arc::new(9));
        assert_eq!(kept.get(&SnapshotChoice::Id(0)).as_deref(), Some(&9));
    }

    #[test]
    fn files_that_were_never_served_get_ids_of_their_own() {
        let identity = |uri: &str| FileIdentity {
            uri: uri.to_owned(),
            size: 1,
            tag: pandion_types::ContentTag::Immutable,
        };
        let mut taken = HashSet::new();
        let first = foreign_id(&identity("a"), &mut taken).unwrap();
        assert_ne!(foreign_id(&identity("b"), &mut taken).unwrap(), first);
        // Two files with one hash.
        let second = foreign_id(&identity("a"), &mut taken).unwrap();
        assert_eq!(second.get(), first.get() + 1);
        assert_eq!(foreign_id(&identity("a"), &mut HashSet::new()).unwrap(), first);
        assert!(first.get() >= FIRST_FOREIGN_ID);
    }
}
