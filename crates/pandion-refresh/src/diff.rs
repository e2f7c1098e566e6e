//! What has changed in a source since a manifest was written.

use std::collections::HashMap;

use pandion_manifest::{DataFile, Manifest, RetiredFile, TableState};
use pandion_source::{PinnedObject, SourceFile, SourceState};

/// The files of a source, sorted by what a refresh has to do for them.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// Files whose identity is as it was; nothing of them is read.
    pub kept: Vec<DataFile>,
    /// Files to read: at a URI that the manifest does not have, or with other content than it had.
    pub new: Vec<PinnedObject>,
    /// New files of which a table's metadata has told everything. Their ids are still to be given,
    /// unless `revived` has them.
    pub known: Vec<DataFile>,
    /// Files of `known` that an earlier version of the collection had, with their ids from then.
    pub revived: Vec<DataFile>,
    /// How many of the new files stand at a URI that the manifest has with other content.
    pub changed: usize,
    /// Files of the manifest whose URI is gone.
    pub removed: usize,
    /// The snapshot that the files are of, when the source is a table.
    pub table: Option<TableState>,
    /// Whether the table's snapshot is the one of the manifest, read in the same columns.
    same_snapshot: bool,
}

impl Diff {
    /// Compares a source with the manifest before it.
    #[must_use]
    pub fn new(before: Option<&Manifest>, now: &SourceState) -> Self {
        let mut known: HashMap<&str, &DataFile> = before
            .map(|manifest| {
                manifest.files.iter().map(|file| (file.identity.uri.as_str(), file)).collect()
            })
            .unwrap_or_default();
        let table_before = before.and_then(|manifest| manifest.table.as_ref());
        let retired = retired_by_uri(table_before);
        let mut diff = Self::default();
        for found in &now.files {
            let identity = found.identity();
            match known.remove(identity.uri.as_str()) {
                // The whole identity counts: size and tag beside the URI.
                Some(file) if file.identity == *identity => diff.kept.push(kept(file, found)),
                before => {
                    diff.changed += usize::from(before.is_some());
                    diff.add(found, &retired);
                }
            }
        }
        diff.removed = known.len();
        diff.kept.sort_unstable_by_key(|file| file.id);
        diff.same_snapshot = match (table_before, &now.table) {
            (None, None) => true,
            (Some(before), Some(now)) => {
                (&before.uuid, before.snapshot_id, &before.columns)
                    == (&now.uuid, now.snapshot_id, &now.columns)
            }
            _ => false,
        };
        diff.table = now.table.clone();
        if let Some(table) = &mut diff.table {
            table.retired = retired_now(table_before, known.into_values(), &diff.revived, table);
        }
        diff
    }

    fn add(&mut self, found: &SourceFile, retired: &HashMap<&str, &RetiredFile>) {
        match found {
            SourceFile::Found(object) => self.new.push(object.clone()),
            SourceFile::Known(file) => match retired.get(file.identity.uri.as_str()) {
                Some(retired) => {
                    self.revived.push(DataFile { id: retired.id, ..file.as_ref().clone() });
                }
                None => self.known.push(file.as_ref().clone()),
            },
        }
    }

    /// Whether the source is exactly what the manifest says.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.fresh() == 0 && self.removed == 0 && self.same_snapshot
    }

    /// Files at URIs that the manifest did not have.
    #[must_use]
    pub fn added(&self) -> usize {
        self.fresh() - self.changed
    }

    fn fresh(&self) -> usize {
        self.new.len() + self.known.len() + self.revived.len()
    }
}

/// A file that is as it was. Where a table lists it, and with which deletes, may have changed, and
/// the metadata may tell of columns that were not mapped before.
fn kept(before: &DataFile, now: &SourceFile) -> DataFile {
    match now {
        SourceFile::Found(_) => before.clone(),
        SourceFile::Known(now) => DataFile {
            table: now.table.clone(),
            columns: now.columns.clone(),
            deletes: None,
            ..before.clone()
        },
    }
}

fn retired_by_uri(table: Option<&TableState>) -> HashMap<&str, &RetiredFile> {
    let retired = table.map(|table| table.retired.as_slice()).unwrap_or_default();
    retired.iter().map(|file| (file.uri.as_str(), file)).collect()
}

/// The files that are in no snapshot that is being read, and in one that may be asked for.
fn retired_now<'a>(
    before: Option<&TableState>,
    gone: impl Iterator<Item = &'a DataFile>,
    revived: &[DataFile],
    now: &TableState,
) -> Vec<RetiredFile> {
    let revived: Vec<_> = revived.iter().map(|file| file.id).collect();
    let earlier = before.into_iter().flat_map(|before| before.retired.iter().cloned());
    let gone = gone.map(|file| RetiredFile {
        uri: file.identity.uri.clone(),
        id: file.id,
        since_ms: now.timestamp_ms,
    });
    let mut retired: Vec<RetiredFile> = earlier
        .chain(gone)
        .filter(|file| file.since_ms > now.oldest_snapshot_ms && !revived.contains(&file.id))
        .collect();
    retired.sort_unstable_by(|left, right| left.uri.cmp(&right.uri));
    retired.dedup_by(|left, right| left.uri == right.uri);
    retired
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use object_store::memory::InMemory;
    use pandion_types::{CollectionId, ContentTag, FileId, FileIdentity, ManifestVersion};

    use super::*;

    fn identity(name: &str, tag: &str) -> FileIdentity {
        FileIdentity {
            uri: format!("s3://host/bucket/{name}"),
            size: 10,
            tag: ContentTag::ETag(tag.into()),
        }
    }

    fn file(id: u32, name: &str, tag: &str) -> DataFile {
        DataFile {
            id: FileId::new(id).unwrap(),
            location: name.into(),
            identity: identity(name, tag),
            footer_digest: [0; 32],
            row_groups: vec![1],
            columns: Vec::new(),
            footer: Bytes::new(),
            deletes: None,
            table: None,
        }
    }

    fn manifest(files: &[(&str, &str)]) -> Manifest {
        let files: Vec<DataFile> =
            (1..).zip(files).map(|(id, (name, tag))| file(id, name, tag)).collect();
        Manifest {
            collection: CollectionId(1),
            version: ManifestVersion(1),
            next_file_id: 100,
            schema_version: 0,
            table: None,
            files,
        }
    }

    fn listing(files: &[(&str, &str)]) -> SourceState {
        let object = |(name, tag): &(&str, &str)| {
            let store = Arc::new(InMemory::new());
            SourceFile::Found(PinnedObject::new(store, (*name).into(), identity(name, tag)))
        };
        SourceState { files: files.iter().map(object).collect(), table: None }
    }

    fn counts(before: &[(&str, &str)], now: &[(&str, &str)]) -> (usize, usize, usize, usize) {
        let diff = Diff::new(Some(&manifest(before)), &listing(now));
        assert_eq!(diff.is_unchanged(), before == now);
        (diff.kept.len(), diff.added(), diff.changed, diff.removed)
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let before = [("a", "1"), ("b", "1")];
        assert_eq!(counts(&before, &before), (2, 0, 0, 0));
        assert_eq!(counts(&before, &[("a", "1"), ("b", "1"), ("c", "1")]), (2, 1, 0, 0));
        assert_eq!(counts(&before, &[("a", "1")]), (1, 0, 0, 1));
        // Same path, same size, other content.
        assert_eq!(counts(&before, &[("a", "2"), ("b", "1")]), (1, 0, 1, 0));
        // A renamed file is a new one.
        assert_eq!(counts(&before, &[("a", "1"), ("z", "1")]), (1, 1, 0, 1));
        assert_eq!(counts(&[], &before), (0, 2, 0, 0));
    }

    fn table_file(name: &str, id: u32) -> SourceFile {
        SourceFile::Known(Box::new(DataFile {
            table: Some(pandion_manifest::TableFile::default()),
            ..file(id, name, "1")
        }))
    }

    fn table(snapshot: i64, oldest_snapshot_ms: i64) -> TableState {
        TableState {
            uuid: "table".into(),
            snapshot_id: Some(snapshot),
            timestamp_ms: snapshot,
            oldest_snapshot_ms,
            ..TableState::default()
        }
    }

    /// The version that a refresh makes of a table, given the one before.
    fn after(before: Option<&Manifest>, names: &[&str], table: TableState) -> (Diff, Manifest) {
        let files = names.iter().map(|name| table_file(name, 1)).collect();
        let diff = Diff::new(before, &SourceState { files, table: Some(table) });
        let mut next_file_id = before.map_or(1, |before| before.next_file_id);
        let known = diff.known.iter().map(|file| {
            next_file_id += 1;
            DataFile { id: FileId::new(next_file_id - 1).unwrap(), ..file.clone() }
        });
        let mut files: Vec<DataFile> = known.collect();
        files.extend(diff.kept.iter().chain(&diff.revived).cloned());
        files.sort_by_key(|file| file.id);
        let table = diff.table.clone();
        (diff, Manifest { next_file_id, table, files, ..manifest(&[]) })
    }

    fn ids(manifest: &Manifest) -> Vec<(u32, &str)> {
        manifest.files.iter().map(|file| (file.id.get(), file.location.as_str())).collect()
    }

    #[test]
    fn a_file_of_a_table_that_comes_back_has_the_id_that_it_had() {
        let (_, first) = after(None, &["a", "b"], table(10, 10));
        assert_eq!(ids(&first), [(1, "a"), (2, "b")]);
        let (diff, second) = after(Some(&first), &["b", "c"], table(20, 10));
        assert_eq!((diff.added(), diff.removed, diff.is_unchanged()), (1, 1, false));
        assert_eq!(ids(&second), [(2, "b"), (3, "c")]);
        // Rolled back to the first snapshot.
        let (diff, third) = after(Some(&second), &["a", "b"], table(10, 10));
        assert_eq!((diff.added(), diff.removed), (1, 1));
        assert_eq!(ids(&third), [(1, "a"), (2, "b")]);
        // Once no snapshot has a file any more, its id is let go of.
        let (_, fourth) = after(Some(&second), &["b", "c"], table(30, 20));
        assert!(fourth.table.unwrap().retired.is_empty());
    }

    #[test]
    fn another_snapshot_or_column_of_the_same_files_is_a_change() {
        let (_, first) = after(None, &["a"], table(10, 10));
        assert!(after(Some(&first), &["a"], table(10, 10)).0.is_unchanged());
        assert!(!after(Some(&first), &["a"], table(20, 10)).0.is_unchanged());
        let mut other = table(10, 10);
        other.columns.push(pandion_manifest::TableColumn {
            field: pandion_types::FieldId(100),
            column_id: 1,
            name: "a".into(),
            names: Vec::new(),
            column_type: "int".into(),
            default: None,
        });
        assert!(!after(Some(&first), &["a"], other).0.is_unchanged());
    }

    #[test]
    fn without_a_manifest_every_file_is_new() {
        let diff = Diff::new(None, &listing(&[("a", "1")]));
        assert_eq!((diff.added(), diff.kept.len()), (1, 0));
    }
}
