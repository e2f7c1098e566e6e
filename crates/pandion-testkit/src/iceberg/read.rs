//! What a reader of the table must find.

use anyhow::Context as _;
use iceberg::spec::Schema;

use super::TableWriter;
use super::oracle::{LiveFile, Row};

impl TableWriter {
    /// URIs of the data files of a snapshot, in the order in which they were written.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn data_files(&self, snapshot: i64) -> anyhow::Result<Vec<String>> {
        let state = self.state_of(Some(snapshot))?;
        Ok(state.files.iter().map(|file| file.rows.uri.clone()).collect())
    }

    /// URIs of the delete files of a snapshot; Puffin files once for each of their vectors.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn delete_file_entries(&self, snapshot: i64) -> anyhow::Result<Vec<String>> {
        let state = self.state_of(Some(snapshot))?;
        let manifests = state.manifests.iter().filter(|manifest| manifest.holds_deletes());
        let entries = manifests.flat_map(|manifest| &manifest.entries);
        Ok(entries.map(|entry| entry.file.file_path().to_owned()).collect())
    }

    /// URIs of the manifests of a snapshot.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn manifest_files(&self, snapshot: i64) -> anyhow::Result<Vec<String>> {
        let state = self.state_of(Some(snapshot))?;
        let paths = state.manifests.iter().map(|manifest| manifest.file.manifest_path.clone());
        Ok(paths.collect())
    }

    /// The live rows of a snapshot with its own schema, by file and position.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn rows_of(&self, snapshot: i64) -> anyhow::Result<Vec<Row>> {
        let entry = self.metadata.snapshots.iter().find(|entry| entry.id == snapshot);
        let entry = entry.with_context(|| format!("the table has no snapshot {snapshot}"))?;
        self.rows_as(snapshot, self.metadata.schema_by_id(entry.schema_id)?.as_ref())
    }

    /// The live rows of the newest snapshot of the branch in use, with the schema in force.
    ///
    /// # Errors
    /// None in practice.
    pub fn rows(&self) -> anyhow::Result<Vec<Row>> {
        match self.head() {
            Some(snapshot) => self.rows_as(snapshot, self.schema()?.as_ref()),
            None => Ok(Vec::new()),
        }
    }

    fn rows_as(&self, snapshot: i64, schema: &Schema) -> anyhow::Result<Vec<Row>> {
        let state = self.state_of(Some(snapshot))?;
        let mut rows = Vec::new();
        for file in &state.files {
            rows.extend(file.rows(schema)?);
        }
        Ok(rows)
    }

    /// The number of live rows of a snapshot.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn row_count(&self, snapshot: i64) -> anyhow::Result<u64> {
        Ok(self.state_of(Some(snapshot))?.files.iter().map(LiveFile::live).sum())
    }

    /// The live rows of the newest snapshot for which `wanted` holds, as a delete names them.
    ///
    /// # Errors
    /// None in practice.
    pub fn positions_where(
        &self,
        wanted: impl Fn(&Row) -> bool,
    ) -> anyhow::Result<Vec<(String, Vec<u64>)>> {
        let mut positions: Vec<(String, Vec<u64>)> = Vec::new();
        for row in self.rows()?.into_iter().filter(|row| wanted(row)) {
            match positions.last_mut() {
                Some((file, found)) if *file == row.file => found.push(row.position),
                _ => positions.push((row.file, vec![row.position])),
            }
        }
        Ok(positions)
    }
}
