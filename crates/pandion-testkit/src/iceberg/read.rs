//! What a reader of the table must find.

use std::sync::Arc;

use anyhow::Context as _;
use iceberg::spec::{Literal, Schema};

use super::TableWriter;
use super::metadata::SnapshotEntry;
use super::oracle::{LiveFile, Row};
use super::values::literals;

/// What the metadata says of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: i64,
    /// The snapshot before it on its branch.
    pub parent: Option<i64>,
    /// Its sequence number; 0 in format version 1.
    pub sequence_number: i64,
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The schema that was in force.
    pub schema_id: i32,
    /// `append`, `overwrite`, `delete` or `replace`.
    pub operation: String,
}

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
        let schema = self.metadata.schema_by_id(self.entry(snapshot)?.schema_id)?;
        self.rows_as(snapshot, &schema)
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

    /// What the metadata says of a snapshot.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn snapshot(&self, snapshot: i64) -> anyhow::Result<SnapshotInfo> {
        let entry = self.entry(snapshot)?;
        Ok(SnapshotInfo {
            id: entry.id,
            parent: entry.parent,
            sequence_number: entry.sequence_number,
            timestamp_ms: entry.timestamp_ms,
            schema_id: entry.schema_id,
            operation: entry.summary.get("operation").cloned().unwrap_or_default(),
        })
    }

    fn entry(&self, snapshot: i64) -> anyhow::Result<&SnapshotEntry> {
        let found = self.metadata.snapshots.iter().find(|entry| entry.id == snapshot);
        found.with_context(|| format!("the table has no snapshot {snapshot}"))
    }

    /// The values of one top-level column in the live rows of a snapshot, in the order of
    /// [`Self::rows_of`]. Reads no other column.
    ///
    /// # Errors
    /// No such snapshot, or no such column in its schema.
    pub fn column_of(&self, snapshot: i64, name: &str) -> anyhow::Result<Vec<Option<Literal>>> {
        let schema = self.metadata.schema_by_id(self.entry(snapshot)?.schema_id)?;
        let field = schema.as_struct().field_by_name(name);
        let field = field.with_context(|| format!("the snapshot has no column {name}"))?;
        let narrow = Schema::builder().with_fields([Arc::clone(field)]).build()?;
        let mut values = Vec::new();
        for file in &self.state_of(Some(snapshot))?.files {
            let batch = file.batch_as(&narrow)?;
            values.extend(literals(batch.column(0), &field.field_type)?);
        }
        Ok(values)
    }

    /// `_row_id` and `_last_updated_sequence_number` of the live rows of a snapshot, in the order of
    /// [`Self::rows_of`].
    ///
    /// # Errors
    /// No such snapshot.
    pub fn lineage_of(&self, snapshot: i64) -> anyhow::Result<Vec<(Option<i64>, Option<i64>)>> {
        let state = self.state_of(Some(snapshot))?;
        let one = |file: &LiveFile| {
            let rows = file.positions().map(|row| (file.row_id(row), file.last_updated(row)));
            rows.collect::<Vec<_>>()
        };
        Ok(state.files.iter().flat_map(one).collect())
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
