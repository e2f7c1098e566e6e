//! Parquet files of a table, opened for reading columns by their ids.
//!
//! Delete files are small and wanted whole, so that they are read with one request.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_manifest::{DataFile, DeleteFile};
use pandion_source::{IoStats, PinnedObject, SourceRoot};
use pandion_types::{ContentTag, Error, FileIdentity, Result};

use crate::guard::corrupt;

/// Bytes up to which a delete file is read whole.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// Opens a delete file. One request, unless it is large.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the file; those of the store.
pub(crate) async fn delete_file(
    root: &SourceRoot,
    delete: &DeleteFile,
    stats: &IoStats,
) -> Result<ParquetFile> {
    let identity =
        FileIdentity { uri: delete.uri.clone(), size: delete.size, tag: ContentTag::Immutable };
    let object = PinnedObject::new(Arc::clone(&root.store), path(&delete.location)?, identity);
    let file = if delete.size > WHOLE_BYTES_MAX {
        let footer = read_footer(&object, stats).await?;
        ParquetFile::open(object, &footer)?
    } else {
        let object = held(object, stats).await?;
        // What is read from here on comes from memory and is no request.
        let footer = read_footer(&object, &IoStats::default()).await?;
        ParquetFile::open(object, &footer)?
    };
    if file.rows() != delete.records {
        return Err(corrupt(format!(
            "delete file {} has {} rows, the table says {}",
            delete.uri,
            file.rows(),
            delete.records
        )));
    }
    Ok(file)
}

/// Whether the columns of a delete file of this size come from memory.
pub(crate) fn is_held(delete: &DeleteFile) -> bool {
    delete.size <= WHOLE_BYTES_MAX
}

/// Opens a data file, with the footer that the manifest has of it or else the file's own.
///
/// # Errors
/// As [`delete_file`].
pub(crate) async fn data_file(
    root: &SourceRoot,
    file: &DataFile,
    stats: &IoStats,
) -> Result<ParquetFile> {
    let location = path(&file.location)?;
    let object = PinnedObject::new(Arc::clone(&root.store), location, file.identity.clone());
    let footer = match file.has_footer() {
        true => file.footer.clone(),
        false => read_footer(&object, stats).await?,
    };
    let opened = ParquetFile::open(object, &footer)?;
    if opened.rows() != file.rows() {
        return Err(corrupt(format!(
            "data file {} has {} rows, the table says {}",
            file.identity.uri,
            opened.rows(),
            file.rows()
        )));
    }
    Ok(opened)
}

/// The same object, with its content in memory.
async fn held(object: PinnedObject, stats: &IoStats) -> Result<PinnedObject> {
    let content = object.read_all(stats).await?;
    let store = InMemory::new();
    store
        .put(&object.location, PutPayload::from_bytes(content))
        .await
        .map_err(|error| Error::internal("memory refused a file").caused_by(error))?;
    Ok(PinnedObject::new(Arc::new(store), object.location, object.identity))
}

fn path(location: &str) -> Result<Path> {
    Path::parse(location)
        .map_err(|error| corrupt(format!("{location:?} cannot be a path")).caused_by(error))
}

/// Places of top-level columns with these ids; `names` are what the column is called where the file
/// has no ids. The outer `None`: the file has no ids and no name is known.
pub(crate) fn root_of(file: &ParquetFile, id: i32, names: &[String]) -> Option<Option<usize>> {
    let schema = file.metadata().file_metadata().schema_descr();
    let fields = schema.root_schema().get_fields();
    let id_of = |field: &parquet::schema::types::TypePtr| {
        let info = field.get_basic_info();
        info.has_id().then(|| info.id())
    };
    if fields.iter().any(|field| id_of(field).is_some()) {
        return Some(fields.iter().position(|field| id_of(field) == Some(id)));
    }
    if names.is_empty() {
        return None;
    }
    Some(fields.iter().position(|field| names.iter().any(|name| name == field.name())))
}
