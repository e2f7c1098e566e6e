//! Reads the footers of new files and checks every mapped column of every one of them.

use std::fmt::Write as _;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_manifest::{ColumnStatistics, DataFile, StatValue};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{CollectionSchema, DataType, Error, FieldSchema, FileId, Result, Subject};

/// Files whose footers are read at the same time.
pub(crate) const FILES_IN_FLIGHT: usize = 32;
/// Problems that a message lists; the rest is counted.
const PROBLEMS_SHOWN: usize = 20;
/// Longer bounds of strings are not kept: they would swell the manifest.
const BOUND_BYTES_MAX: usize = 1024;

/// What one file turned out to be: an entry of the manifest, or all that is wrong with it.
struct Checked {
    entry: DataFile,
    problems: Vec<String>,
}

/// The manifest entries of `objects`, in their order; ids are given later.
///
/// # Errors
/// `InvalidArgument` about the source that lists what is wrong with which column of which file, of
/// all files; those of the store.
pub(crate) async fn read(
    objects: Vec<PinnedObject>,
    schema: &Arc<CollectionSchema>,
    stats: &Arc<IoStats>,
) -> Result<Vec<DataFile>> {
    let files = objects.len();
    let checked: Vec<Checked> = stream::iter(objects)
        .map(|object| check(object, Arc::clone(schema), Arc::clone(stats)))
        .buffered(FILES_IN_FLIGHT)
        .try_collect()
        .await?;
    let wrong: Vec<&Checked> = checked.iter().filter(|file| !file.problems.is_empty()).collect();
    if !wrong.is_empty() {
        return Err(report(&wrong, files));
    }
    Ok(checked.into_iter().map(|file| file.entry).collect())
}

async fn check(
    object: PinnedObject,
    schema: Arc<CollectionSchema>,
    stats: Arc<IoStats>,
) -> Result<Checked> {
    let footer = read_footer(&object, &stats).await?;
    let file = ParquetFile::open(object.clone(), &footer)?;
    let fields: Vec<_> = schema.mapped_fields().cloned().collect();
    let problems = file.check(&fields).iter().map(ToString::to_string).collect();
    let metadata = file.metadata();
    let row_groups = metadata.row_groups().iter().map(|group| {
        u64::try_from(group.num_rows()).map_err(|error| {
            Error::corrupt(format!("{} has a negative number of rows", object.identity.uri))
                .caused_by(error)
        })
    });
    let entry = DataFile {
        id: FileId::FIRST,
        location: object.location.to_string(),
        identity: object.identity.clone(),
        footer_digest: *blake3::hash(&footer).as_bytes(),
        row_groups: row_groups.collect::<Result<_>>()?,
        columns: statistics(&file, &fields),
        footer,
        deletes: None,
        table: None,
    };
    Ok(Checked { entry, problems })
}

/// The statistics that pruning can use: of columns of single values, with bounds of a size that a
/// manifest takes.
fn statistics(file: &ParquetFile, fields: &[FieldSchema]) -> Vec<ColumnStatistics> {
    let single: Vec<FieldSchema> = fields
        .iter()
        .filter(|field| {
            let data_type = field.data_type;
            !data_type.is_vector() && data_type != DataType::Array && data_type != DataType::Json
        })
        .cloned()
        .collect();
    let mut columns = file.statistics(&single);
    for column in &mut columns {
        for bound in [&mut column.min, &mut column.max] {
            let long =
                matches!(bound, Some(StatValue::String(text)) if text.len() > BOUND_BYTES_MAX);
            if long {
                *bound = None;
            }
        }
        column.null_count = column.null_count.filter(|&count| count <= file.rows());
    }
    columns.sort_by_key(|column| column.field);
    columns
}

fn report(wrong: &[&Checked], files: usize) -> Error {
    let problems: usize = wrong.iter().map(|file| file.problems.len()).sum();
    let mut text = format!(
        "{problems} problem(s) in {} of {files} new file(s); check external_field mappings in \
         collection schema against actual parquet columns",
        wrong.len()
    );
    let all = wrong
        .iter()
        .flat_map(|file| file.problems.iter().map(|problem| (&file.entry.identity.uri, problem)));
    for (uri, problem) in all.take(PROBLEMS_SHOWN) {
        let written = write!(text, "; {uri}: {problem}");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    if problems > PROBLEMS_SHOWN {
        let written = write!(text, "; and {} more", problems - PROBLEMS_SHOWN);
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    Error::invalid_argument(text).about(Subject::Source)
}
