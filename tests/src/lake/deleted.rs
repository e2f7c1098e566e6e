//! The rows of a data set among dead ones, in files whose footers nobody has read.
//!
//! Every dead row is a copy of a live one of its file, so that whatever keeps the one keeps the
//! other: where deletes are forgotten, an answer has rows that do not exist.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pandion_manifest::{DeleteVector, Manifest};
use pandion_query::Snapshot;
use pandion_types::{CollectionId, ManifestVersion, RowId};
use tokio::runtime::Runtime;

use super::{data_file, parquet};
use crate::dataset::{Dataset, Row};
use crate::rows::Numbers;

/// The files, and which of their rows are which of the data set's.
#[derive(Debug)]
pub(super) struct Deleted {
    pub(super) snapshot: Arc<Snapshot>,
    /// For each file and row its number in the data set, from 1; `None` for the dead.
    numbers: Vec<Vec<Option<usize>>>,
}

impl Deleted {
    /// Writes the files.
    ///
    /// # Errors
    /// The rows do not fit the columns.
    pub(super) fn new(dataset: &Dataset, runtime: &Runtime) -> Result<Self> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let schema = dataset.schema();
        let rows_per_file = dataset.layout.file.max(1);
        let (mut files, mut numbers) = (Vec::new(), Vec::new());
        for (at, rows) in dataset.rows.chunks(rows_per_file).enumerate() {
            let number = u32::try_from(at + 1).context("too many files")?;
            let (all, of_file) = with_dead(rows, at * rows_per_file);
            let bytes = parquet(dataset, &all, at * rows_per_file)?;
            let mut file = runtime.block_on(data_file(&store, number, bytes, &schema))?;
            let dead = (0..).zip(&of_file).filter(|(_, number)| number.is_none());
            file.deletes = DeleteVector::new(dead.map(|(row, _)| row).collect());
            file.row_groups = vec![file.rows()];
            file.footer = Bytes::new();
            file.footer_digest = *blake3::hash(&file.footer).as_bytes();
            files.push(file);
            numbers.push(of_file);
        }
        let manifest = Manifest {
            collection: CollectionId(1),
            version: ManifestVersion(1),
            next_file_id: u32::try_from(files.len() + 1).context("too many files")?,
            schema_version: 0,
            table: None,
            files,
        };
        let snapshot = Snapshot::new(Arc::new(schema), Arc::new(manifest), store, None);
        Ok(Self { snapshot: Arc::new(snapshot), numbers })
    }

    /// The numbers of rows, from 1, in the order of the data set; `None` when one is dead or does
    /// not exist.
    pub(super) fn numbers(&self, rows: &[RowId]) -> Option<Numbers> {
        let number = |row: &RowId| {
            let file = usize::try_from(row.file().get()).ok()?.checked_sub(1)?;
            *self.numbers.get(file)?.get(usize::try_from(row.row_in_file()).ok()?)?
        };
        rows.iter().map(number).collect()
    }
}

/// The rows with dead ones before, between and behind them, and the number of each.
fn with_dead(rows: &[Row], first: usize) -> (Vec<Row>, Vec<Option<usize>>) {
    let (mut all, mut numbers) = (Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        if at % 3 != 1 {
            let copied = rows.get(at * 7 % rows.len()).unwrap_or(row);
            all.push(copied.clone());
            numbers.push(None);
        }
        all.push(row.clone());
        numbers.push(Some(first + at + 1));
    }
    all.extend(rows.first().cloned());
    numbers.push(None);
    (all, numbers)
}
