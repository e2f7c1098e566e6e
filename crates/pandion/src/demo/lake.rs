//! The demo's Parquet files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub(super) const FILES: usize = 8;
pub(super) const ROWS_PER_FILE: usize = 5_000;
pub(super) const DIM: usize = 64;

const COLORS: [&str; 5] = ["red", "green", "blue", "yellow", "black"];
const THINGS: [&str; 4] = ["chair", "lamp", "table", "shelf"];

/// A folder of Parquet files.
pub(super) struct Lake {
    folder: PathBuf,
}

impl Lake {
    pub(super) fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).context("making the lake's folder")?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder as an external source.
    pub(super) fn source(&self) -> String {
        format!("file://{}/", self.folder.display())
    }

    pub(super) fn write_all(&self) -> Result<()> {
        (0..FILES).try_for_each(|file| self.write(file, 1))
    }

    /// The vector of one row in the first edition of a file.
    pub(super) fn vector(&self, file: usize, row: usize) -> Vec<f32> {
        vectors(file, 1)[row * DIM..(row + 1) * DIM].to_vec()
    }

    /// Writes one file; another edition has as many rows and other values.
    pub(super) fn write(&self, file: usize, edition: u64) -> Result<()> {
        let batch = batch(file, edition)?;
        // As an engine does it: complete under another name, then renamed, so that no reader sees
        // half a file.
        let partial = self.folder.join(format!("part-{file:05}.partial"));
        let mut writer = ArrowWriter::try_new(File::create(&partial)?, batch.schema(), None)?;
        writer.write(&batch)?;
        writer.close()?;
        fs::rename(&partial, self.folder.join(format!("part-{file:05}.parquet")))?;
        Ok(())
    }
}

fn random(file: usize, edition: u64) -> StdRng {
    StdRng::seed_from_u64(file as u64 * 1_000 + edition)
}

fn vectors(file: usize, edition: u64) -> Vec<f32> {
    let mut random = random(file, edition);
    (0..ROWS_PER_FILE * DIM).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn batch(file: usize, edition: u64) -> Result<RecordBatch> {
    let mut random = random(file, edition + 100);
    let first = i64::try_from(file * ROWS_PER_FILE)?;
    let ids: Vec<i64> = (first..).take(ROWS_PER_FILE).collect();
    let prices: Vec<f64> =
        (0..ROWS_PER_FILE).map(|_| f64::from(random.random_range(50..100_000)) / 100.0).collect();
    let titles: Vec<String> = (0..ROWS_PER_FILE)
        .map(|_| {
            let color = COLORS[random.random_range(0..COLORS.len())];
            format!("{color} {}", THINGS[random.random_range(0..THINGS.len())])
        })
        .collect();
    let element = Arc::new(Field::new("element", DataType::Float32, false));
    let embeddings = FixedSizeListArray::try_new(
        element,
        i32::try_from(DIM)?,
        Arc::new(Float32Array::from(vectors(file, edition))),
        None,
    )?;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("product_id", Arc::new(Int64Array::from(ids))),
        ("title", Arc::new(StringArray::from(titles))),
        ("price", Arc::new(Float64Array::from(prices))),
        ("embedding", Arc::new(embeddings)),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), false))
        .collect();
    let values = columns.into_iter().map(|(_, values)| values).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?)
}
