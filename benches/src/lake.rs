//! The files that are searched, and what the right answers are.
//!
//! Both follow from the number of rows and the dimension alone. They are kept between runs, because
//! writing them takes longer than most measurements.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Float32Type;
use pandion_testkit::lake::{Codec, Lake, Layout, VEC, VectorLayout, VectorsSpec};
use serde::{Deserialize, Serialize};

use crate::Options;
use crate::client::Found;
use crate::report::note;

/// Rows of a row group; files have a multiple of it.
const ROW_GROUP_ROWS: usize = 50_000;
const FILES: usize = 10;
const CLUSTERS: usize = 1_000;
/// Queries of which the right answers are known.
const QUERIES: usize = 5;
/// Rows that are asked for.
pub(crate) const K: usize = 10;
/// By how much distances may differ that were summed in another order, relative to their size.
const TOLERANCE: f64 = 1e-4;

/// How the files hold the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Lists of a fixed size, not compressed.
    #[value(name = "fsl-none")]
    FixedNone,
    /// Lists of a fixed size, compressed.
    #[value(name = "fsl-zstd")]
    FixedZstd,
    /// Lists of any size, not compressed.
    #[value(name = "list-none")]
    ListNone,
}

impl Form {
    /// Arrow type and codec.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FixedNone => "fsl-none",
            Self::FixedZstd => "fsl-zstd",
            Self::ListNone => "list-none",
        }
    }
}

/// What all files of a lake hold together.
pub(crate) fn spec(options: &Options, form: Form) -> VectorsSpec {
    let (vector_layout, codec) = match form {
        Form::FixedNone => (VectorLayout::FixedSizeList, Codec::None),
        Form::FixedZstd => (VectorLayout::FixedSizeList, Codec::Zstd),
        Form::ListNone => (VectorLayout::List, Codec::None),
    };
    VectorsSpec {
        rows: options.rows,
        dim: options.dim,
        clusters: CLUSTERS,
        vector_layout,
        layout: Layout { codec, row_group_rows: ROW_GROUP_ROWS, ..Layout::default() },
        ..VectorsSpec::default()
    }
}

/// The components of a batch's vectors, row after row.
pub(crate) fn components(batch: &RecordBatch) -> Result<&[f32]> {
    let vectors = batch.column_by_name(VEC).context("a batch without vectors")?;
    let vectors = vectors.as_fixed_size_list_opt().context("vectors of no fixed size")?;
    let values = vectors.values().as_primitive_opt::<Float32Type>();
    Ok(values.context("vectors of something else than floats")?.values())
}

/// A directory of Parquet files.
#[derive(Debug)]
pub(crate) struct DiskLake {
    pub(crate) directory: PathBuf,
    files: Vec<PathBuf>,
}

impl DiskLake {
    /// The lake of this form, written if it is not there yet.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn of(options: &Options, form: Form) -> Result<Self> {
        let directory = place(options)?.join(format!("{}-{}", form.name(), size(options)));
        if !directory.is_dir() {
            note(&format!("writing {}", directory.display()));
            write(options, form, &directory)?;
        }
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()
            .with_context(|| format!("listing {}", directory.display()))?;
        files.sort();
        Ok(Self { directory, files })
    }

    /// `file:///directory/`.
    pub(crate) fn uri(&self) -> String {
        format!("file://{}/", self.directory.display())
    }

    /// Reads every file once, so that the first to be measured does not wait for the disk alone.
    /// Returns their bytes.
    pub(crate) fn warm(&self) -> Result<u64> {
        let read = |file: &PathBuf| std::io::copy(&mut fs::File::open(file)?, &mut std::io::sink());
        let bytes = self.files.iter().map(read).sum::<std::io::Result<u64>>();
        bytes.with_context(|| format!("reading {}", self.directory.display()))
    }
}

fn write(options: &Options, form: Form, directory: &Path) -> Result<()> {
    let partial = directory.with_extension("partial");
    if partial.is_dir() {
        fs::remove_dir_all(&partial)?;
    }
    let mut lake = Lake::in_directory(&partial, spec(options, form))?;
    // Row groups then begin at the same rows as in a single file, and hold the same vectors.
    let in_file = options.rows.div_ceil(FILES).next_multiple_of(ROW_GROUP_ROWS);
    while lake.rows() < options.rows {
        lake.append(in_file.min(options.rows - lake.rows()))?;
    }
    fs::rename(&partial, directory).with_context(|| format!("making {}", directory.display()))
}

/// Queries and the rows nearest to them, computed in double precision by the plainest of loops.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Truth {
    pub(crate) k: usize,
    pub(crate) queries: Vec<Vec<f32>>,
    /// For each query the ids of the nearest rows, nearest first.
    ids: Vec<Vec<i64>>,
    /// Their squared distances.
    distances: Vec<Vec<f64>>,
}

impl Truth {
    /// Computes it, or reads it where it was kept. Also returns the file.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(crate) fn of(options: &Options) -> Result<(Self, PathBuf)> {
        let file = place(options)?.join(format!("truth-{}.json", size(options)));
        if let Ok(text) = fs::read_to_string(&file) {
            let truth = serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged: remove it", file.display()))?;
            return Ok((truth, file));
        }
        note("computing the right answers");
        let truth = Self::compute(&spec(options, Form::FixedNone))?;
        let partial = file.with_extension("partial");
        fs::write(&partial, serde_json::to_string(&truth)?)?;
        fs::rename(&partial, &file).with_context(|| format!("making {}", file.display()))?;
        Ok((truth, file))
    }

    fn compute(spec: &VectorsSpec) -> Result<Self> {
        let queries = spec.queries(QUERIES);
        let mut nearest: Vec<Vec<(f64, i64)>> = vec![Vec::new(); queries.len()];
        let mut first = spec.first_id;
        for batch in spec.batches()? {
            let batch = batch?;
            for (query, nearest) in queries.iter().zip(&mut nearest) {
                let rows = components(&batch)?.chunks_exact(spec.dim);
                let distances = rows.map(|row| square_distance(query, row));
                nearest.extend(distances.zip(first..));
                nearest.sort_by(|left, right| left.0.total_cmp(&right.0));
                nearest.truncate(K);
            }
            first += i64::try_from(batch.num_rows())?;
        }
        let each = |pick: fn(&(f64, i64)) -> f64| {
            nearest.iter().map(|rows| rows.iter().map(pick).collect()).collect()
        };
        let distances = each(|row| row.0);
        let ids = nearest.iter().map(|rows| rows.iter().map(|row| row.1).collect()).collect();
        Ok(Self { k: K, queries, ids, distances })
    }

    /// Checks an answer to one query.
    ///
    /// # Errors
    /// It is not the right one.
    pub(crate) fn check(&self, query: usize, answer: &[Found]) -> Result<()> {
        let ids = self.ids.get(query).context("no such query")?;
        let distances = self.distances.get(query).context("no such query")?;
        ensure!(answer.len() == ids.len(), "{} rows of {}", answer.len(), ids.len());
        let mut expected = ids.clone();
        let mut found: Vec<i64> = answer.iter().map(|row| row.id).collect();
        expected.sort_unstable();
        found.sort_unstable();
        ensure!(found == expected, "query {query}: found {found:?}, nearest are {expected:?}");
        for (row, distance) in answer.iter().zip(distances) {
            let difference = (row.distance - distance).abs();
            ensure!(
                difference <= TOLERANCE * distance.max(1.0),
                "query {query}, row {}: distance {} instead of {distance}",
                row.id,
                row.distance
            );
        }
        Ok(())
    }
}

fn square_distance(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| (f64::from(*left) - f64::from(*right)).powi(2)).sum()
}

fn size(options: &Options) -> String {
    format!("{}x{}", options.rows, options.dim)
}

/// Where lakes are kept.
pub(crate) fn place(options: &Options) -> Result<PathBuf> {
    let place = match &options.lakes {
        Some(place) => place.clone(),
        None => {
            let own = std::env::current_exe().context("looking for this program")?;
            let output = own.parent().and_then(Path::parent).context("this program is nowhere")?;
            output.join("benches")
        }
    };
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    place.canonicalize().with_context(|| format!("resolving {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_is_a_sorted_scan_and_knows_wrong_answers() {
        let spec = VectorsSpec {
            rows: 700,
            dim: 8,
            layout: Layout { row_group_rows: 300, ..Layout::default() },
            ..VectorsSpec::default()
        };
        let truth = Truth::compute(&spec).unwrap();
        let batch = spec.batch().unwrap();
        let rows: Vec<&[f32]> = components(&batch).unwrap().chunks(8).collect();
        for (at, query) in truth.queries.iter().enumerate() {
            let mut all: Vec<(f64, i64)> =
                rows.iter().map(|row| square_distance(query, row)).zip(0..).collect();
            all.sort_by(|left, right| left.0.total_cmp(&right.0));
            let mut answer: Vec<Found> =
                all.iter().take(K).map(|&(d, id)| Found { id, distance: d }).collect();
            truth.check(at, &answer).unwrap();
            answer[K - 1].distance *= 1.01;
            assert!(truth.check(at, &answer).unwrap_err().to_string().contains("instead of"));
            answer[K - 1] = Found { id: all[K].1, distance: all[K].0 };
            assert!(truth.check(at, &answer).unwrap_err().to_string().contains("nearest are"));
            assert!(truth.check(at, &answer[1..]).is_err());
        }
    }
}
