//! Position delete files: paths of data files, and rows of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use pandion_connector_parquet::ParquetFile;
use pandion_manifest::DeleteFile;
use pandion_source::{IoStats, SourceRoot};
use pandion_types::Result;
use roaring::RoaringBitmap;

use crate::deletes::open::{self, Batches};
use crate::entries::{DELETE_PATH_COLUMN, DELETE_POSITION_COLUMN};
use crate::guard::corrupt;
use crate::paths::TablePaths;

/// A data file whose dead rows are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The caller's number of it.
    pub(crate) work: usize,
    /// Its URI, for messages.
    pub(crate) uri: String,
    /// Its rows.
    pub(crate) rows: u64,
}

impl Target {
    fn row(&self, position: i64, place: &str) -> Result<u32> {
        let row = u32::try_from(position).ok().filter(|row| u64::from(*row) < self.rows);
        row.ok_or_else(|| {
            corrupt(format!(
                "{place} deletes row {position} of {}, which has {} rows",
                self.uri, self.rows
            ))
        })
    }
}

/// The rows that a delete file says are dead, for the data files at the locations of `targets`, by
/// the caller's number. Rows of other files are passed over.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the delete file, also for a row that
/// the data file does not have; those of the store.
pub(crate) async fn read(
    root: &SourceRoot,
    paths: &TablePaths,
    delete: &DeleteFile,
    targets: HashMap<String, Target>,
    stats: &IoStats,
) -> Result<Vec<(usize, RoaringBitmap)>> {
    let opened = open::delete_file(root, delete, stats).await?;
    let columns = [
        column(&opened.file, DELETE_PATH_COLUMN, "file_path")?,
        column(&opened.file, DELETE_POSITION_COLUMN, "pos")?,
    ];
    let (paths, targets) = (paths.clone(), Arc::new(targets));
    let work = move |batches: Batches, place: &str| {
        let (paths, targets) = (paths.clone(), Arc::clone(&targets));
        let mut rows = DeadRows { paths, targets, seen: HashMap::new(), dead: HashMap::new() };
        for batch in &batches {
            rows.add(batch, place)?;
        }
        Ok(rows.dead.into_iter().collect::<Vec<_>>())
    };
    let dead = opened.each_group(&columns, stats, work).await?;
    Ok(dead.into_iter().flatten().collect())
}

fn column(file: &ParquetFile, id: i32, name: &str) -> Result<usize> {
    open::root_of(file, id, &[name.to_owned()]).flatten().ok_or_else(|| {
        corrupt(format!("delete file {} has no column {name}", file.object().identity.uri))
    })
}

struct DeadRows {
    paths: TablePaths,
    /// By location.
    targets: Arc<HashMap<String, Target>>,
    /// What paths, as delete files write them, lead to.
    seen: HashMap<String, Option<Target>>,
    dead: HashMap<usize, RoaringBitmap>,
}

impl DeadRows {
    fn add(&mut self, batch: &[ArrayRef], place: &str) -> Result<()> {
        let [names, positions] = batch else {
            return Err(corrupt(format!("{place}: two columns were expected")));
        };
        let names = plain(names, &ArrowType::Utf8View, place)?;
        let positions = plain(positions, &ArrowType::Int64, place)?;
        if names.null_count() > 0 || positions.null_count() > 0 {
            return Err(corrupt(format!("{place} holds a null path or position")));
        }
        let names = names.as_string_view();
        let views = names.views();
        let positions = positions.as_primitive::<Int64Type>().values();
        let mut start = 0;
        while start < positions.len() {
            // Files are sorted by path, so that runs are long.
            let name = names.value(start);
            // The same view is the same text; other views may be, too.
            let is_other = |at: &usize| views[*at] != views[start] && names.value(*at) != name;
            let run = (start + 1..positions.len()).find(is_other);
            let end = run.unwrap_or(positions.len());
            if let Some(target) = self.target(name) {
                let run = positions.get(start..end).unwrap_or_default().iter();
                let run = run.map(|position| target.row(*position, place));
                let run = run.collect::<Result<Vec<u32>>>()?;
                let rows = self.dead.entry(target.work).or_default();
                // In ascending order, as the specification asks for, rows go to the end.
                if rows.append(run.iter().copied()).is_err() {
                    rows.extend(run);
                }
            }
            start = end;
        }
        Ok(())
    }

    fn target(&mut self, name: &str) -> Option<Target> {
        if let Some(known) = self.seen.get(name) {
            return known.clone();
        }
        // A path outside of the store is none of a file of the table.
        let location = self.paths.locate(name).ok();
        let target = location.and_then(|location| self.targets.get(location.as_ref()).cloned());
        self.seen.insert(name.to_owned(), target.clone());
        target
    }
}

/// A column in one of the forms that writers give it, in the usual one.
fn plain(array: &ArrayRef, wanted: &ArrowType, place: &str) -> Result<ArrayRef> {
    let values = match array.data_type() {
        ArrowType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let fits = match wanted {
        ArrowType::Utf8View => {
            matches!(values, ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View)
        }
        _ => matches!(values, ArrowType::Int64 | ArrowType::Int32),
    };
    if !fits {
        return Err(corrupt(format!("{place} has a column of type {values}, expected {wanted}")));
    }
    arrow::compute::cast(array, wanted).map_err(|error| {
        corrupt(format!("{place} has a column that cannot be read")).caused_by(error)
    })
}
