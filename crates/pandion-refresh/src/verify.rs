//! Reads the vectors of new files once, so that what cannot be searched fails the refresh and not a
//! search, and so that the first search finds them in the cache.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use pandion_query::{QueryEngine, Snapshot};
use pandion_source::IoStats;
use pandion_types::{Error, FieldSchema, FileId, Result, Subject};

/// Row groups that are read at the same time.
const GROUPS_IN_FLIGHT: usize = 16;

/// Checks the vectors of the files with id `first` or above.
///
/// # Errors
/// About the source, naming file, column and row of the first vector that cannot be searched:
/// `Corrupt` for a wrong length or a null component, `InvalidArgument` for one that is not finite.
pub(crate) async fn verify(
    engine: &Arc<QueryEngine>,
    snapshot: &Arc<Snapshot>,
    first: FileId,
    stats: &Arc<IoStats>,
) -> Result<()> {
    let fields: Vec<FieldSchema> = snapshot
        .schema()
        .mapped_fields()
        .filter(|field| field.data_type.is_dense_vector())
        .cloned()
        .collect();
    let files = snapshot.manifest().files.iter().enumerate();
    let new: Vec<usize> = files.filter(|(_, file)| file.id >= first).map(|(at, _)| at).collect();
    let row_groups: Vec<(usize, usize)> = stream::iter(new)
        .map(async |at| {
            let (_, file) = snapshot.open(at, stats).await?;
            Ok::<_, Error>((at, file.row_groups()))
        })
        .buffered(GROUPS_IN_FLIGHT)
        .try_collect()
        .await?;
    let mut groups = Vec::new();
    for (at, count) in row_groups {
        for row_group in 0..count {
            groups.extend(fields.iter().map(|field| (at, row_group, field.clone())));
        }
    }
    stream::iter(groups)
        .map(|(file, row_group, field)| {
            let (engine, snapshot, stats) =
                (Arc::clone(engine), Arc::clone(snapshot), Arc::clone(stats));
            async move { verify_group(&engine, &snapshot, file, row_group, &field, &stats).await }
        })
        .buffered(GROUPS_IN_FLIGHT)
        .try_collect()
        .await
}

/// Opens one of the files with id `first` or above, if there is a column of vectors whose dimension
/// the table's metadata does not tell: a wrong one would else be noticed by the first search.
///
/// # Errors
/// Those of [`Snapshot::open`].
pub(crate) async fn probe(snapshot: &Snapshot, first: FileId, stats: &IoStats) -> Result<()> {
    let manifest = snapshot.manifest();
    let Some(table) = &manifest.table else { return Ok(()) };
    let mut vectors = snapshot.schema().mapped_fields().filter(|field| field.data_type.is_vector());
    let untold = vectors.any(|field| {
        table.column(field.id).is_some_and(|column| !column.column_type.starts_with("fixed["))
    });
    let new = manifest.files.iter().position(|file| file.id >= first && file.rows() > 0);
    match new.filter(|_| untold) {
        Some(at) => snapshot.open(at, stats).await.map(drop),
        None => Ok(()),
    }
}

async fn verify_group(
    engine: &QueryEngine,
    snapshot: &Arc<Snapshot>,
    file: usize,
    row_group: usize,
    field: &FieldSchema,
    stats: &Arc<IoStats>,
) -> Result<()> {
    let block = engine.load_vectors(snapshot, file, row_group, field, stats).await?;
    let Some(row) = block.first_non_finite() else { return Ok(()) };
    let uri = snapshot.manifest().files.get(file).map_or("", |file| file.identity.uri.as_str());
    Err(Error::invalid_argument(format!(
        "{uri}: column '{}' of field '{}', row group {row_group}, row {row}: the vector has a \
         component that is not a finite number (NaN or infinite)",
        field.external_field.as_deref().unwrap_or_default(),
        field.name
    ))
    .about(Subject::Source))
}
