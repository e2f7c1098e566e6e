//! Tags, branches, and the end of snapshots.

use std::collections::BTreeSet;

use anyhow::ensure;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};

use super::TableWriter;

impl TableWriter {
    /// Names a snapshot.
    ///
    /// # Errors
    /// No such snapshot, or a store that fails.
    pub async fn tag(&mut self, name: &str, snapshot: i64) -> anyhow::Result<()> {
        self.set_reference(name, snapshot, SnapshotRetention::Tag { max_ref_age_ms: None }).await
    }

    /// Starts a branch at a snapshot, or moves it there.
    ///
    /// # Errors
    /// No such snapshot, or a store that fails.
    pub async fn branch(&mut self, name: &str, snapshot: i64) -> anyhow::Result<()> {
        self.state_of(Some(snapshot))?;
        if name == MAIN_BRANCH {
            self.metadata.snapshot_log.push((self.clock_ms + self.options.step_ms, snapshot));
        }
        self.set_reference(name, snapshot, SnapshotRetention::branch(None, None, None)).await
    }

    /// Commits go to this branch from now on.
    ///
    /// # Errors
    /// No such branch.
    pub fn use_branch(&mut self, name: &str) -> anyhow::Result<()> {
        let known = name == MAIN_BRANCH || self.metadata.refs.contains_key(name);
        ensure!(known, "no branch is named {name}");
        name.clone_into(&mut self.branch);
        Ok(())
    }

    async fn set_reference(
        &mut self,
        name: &str,
        snapshot: i64,
        retention: SnapshotRetention,
    ) -> anyhow::Result<()> {
        self.state_of(Some(snapshot))?;
        let reference = SnapshotReference::new(snapshot, retention);
        self.metadata.refs.insert(name.to_owned(), reference);
        self.touch().await
    }

    /// Expires snapshots: they leave the metadata, their tags and branches go, and objects that
    /// only they needed are removed.
    ///
    /// # Errors
    /// No such snapshot, the newest of the main branch, or a store that fails.
    pub async fn expire(&mut self, snapshots: &[i64]) -> anyhow::Result<()> {
        let mut gone = BTreeSet::new();
        for id in snapshots {
            ensure!(self.metadata.reference(MAIN_BRANCH) != Some(*id), "{id} is the newest");
            gone.extend(self.objects_of(*id)?);
        }
        self.states.retain(|id, _| !snapshots.contains(id));
        for id in self.states.keys() {
            for needed in self.objects_of(*id)? {
                gone.remove(&needed);
            }
        }
        let metadata = &mut self.metadata;
        metadata.snapshots.retain(|snapshot| !snapshots.contains(&snapshot.id));
        metadata.refs.retain(|_, reference| !snapshots.contains(&reference.snapshot_id));
        // History with gaps would tell wrong states for the times between.
        let log = metadata.snapshot_log.iter();
        let last_gone = log.rev().position(|(_, id)| snapshots.contains(id));
        if let Some(kept) = last_gone {
            let entries = metadata.snapshot_log.len();
            metadata.snapshot_log.drain(..entries - kept);
        }
        self.touch().await?;
        for uri in gone {
            self.place.delete(&uri).await?;
        }
        Ok(())
    }

    /// URIs of all objects that a snapshot needs but for metadata.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn objects_of(&self, snapshot: i64) -> anyhow::Result<BTreeSet<String>> {
        let state = self.state_of(Some(snapshot))?;
        let entries = state.manifests.iter().flat_map(|manifest| &manifest.entries);
        let files = entries.map(|entry| entry.file.file_path().to_owned());
        let manifests = state.manifests.iter().map(|manifest| manifest.file.manifest_path.clone());
        let listed = self.metadata.snapshots.iter().filter(|entry| entry.id == snapshot);
        let list = listed.map(|entry| entry.manifest_list.clone());
        Ok(files.chain(manifests).chain(list).collect())
    }
}
