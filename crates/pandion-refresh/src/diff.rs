//! What has changed in a source since a manifest was written.

use std::collections::HashMap;

use pandion_manifest::{DataFile, Manifest};
use pandion_source::{PinnedObject, SourceState};

/// The files of a source, sorted by what a refresh has to do for them.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// Files whose identity is as it was; nothing of them is read.
    pub kept: Vec<DataFile>,
    /// Files to read: at a URI that the manifest does not have, or with other content than it had.
    pub new: Vec<PinnedObject>,
    /// How many of `new` stand at a URI that the manifest has with other content.
    pub changed: usize,
    /// Files of the manifest whose URI is gone.
    pub removed: usize,
}

impl Diff {
    /// Compares a listing with the manifest before it.
    #[must_use]
    pub fn new(before: Option<&Manifest>, now: &SourceState) -> Self {
        let mut known: HashMap<&str, &DataFile> = before
            .map(|manifest| {
                manifest.files.iter().map(|file| (file.identity.uri.as_str(), file)).collect()
            })
            .unwrap_or_default();
        let mut diff = Self::default();
        for found in &now.files {
            let object = &found.object;
            match known.remove(object.identity.uri.as_str()) {
                // The whole identity counts: size and tag beside the URI.
                Some(file) if file.identity == object.identity => diff.kept.push(file.clone()),
                Some(_) => {
                    diff.changed += 1;
                    diff.new.push(object.clone());
                }
                None => diff.new.push(object.clone()),
            }
        }
        diff.removed = known.len();
        diff.kept.sort_unstable_by_key(|file| file.id);
        diff
    }

    /// Whether the source is exactly what the manifest says.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.new.is_empty() && self.removed == 0
    }

    /// Files at URIs that the manifest did not have.
    #[must_use]
    pub fn added(&self) -> usize {
        self.new.len() - self.changed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use object_store::memory::InMemory;
    use pandion_source::SourceFile;
    use pandion_types::{CollectionId, ContentTag, FileId, FileIdentity, ManifestVersion};

    use super::*;

    fn identity(name: &str, tag: &str) -> FileIdentity {
        FileIdentity {
            uri: format!("s3://host/bucket/{name}"),
            size: 10,
            tag: ContentTag::ETag(tag.into()),
        }
    }

    fn manifest(files: &[(&str, &str)]) -> Manifest {
        let files: Vec<DataFile> = (1..)
            .zip(files)
            .map(|(id, (name, tag))| DataFile {
                id: FileId::new(id).unwrap(),
                location: (*name).into(),
                identity: identity(name, tag),
                footer_digest: [0; 32],
                row_groups: vec![1],
                columns: Vec::new(),
                footer: Bytes::new(),
                deletes: None,
                table: None,
            })
            .collect();
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

    #[test]
    fn without_a_manifest_every_file_is_new() {
        let diff = Diff::new(None, &listing(&[("a", "1")]));
        assert_eq!((diff.added(), diff.kept.len()), (1, 0));
    }
}
