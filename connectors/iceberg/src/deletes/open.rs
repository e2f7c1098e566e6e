//! Parquet files of a table, opened for reading columns by their ids.
//!
//! Delete files are small and wanted whole, so that they are read with one request.

use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_manifest::{DataFile, DeleteFile};
use pandion_source::{IoStats, PinnedObject, SourceRoot};
use pandion_types::{ContentTag, Error, FileIdentity, Result};

use crate::guard::{corrupt, decode};

/// Bytes up to which a delete file is read whole.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
/// Parts of a delete file that are decoded at the same time.
const PARTS: usize = 4;

/// Opens a delete file. One request, unless it is large.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the file; those of the store.
pub(crate) async fn delete_file(
    root: &SourceRoot,
    delete: &DeleteFile,
    stats: &IoStats,
) -> Result<OpenDelete> {
    let identity =
        FileIdentity { uri: delete.uri.clone(), size: delete.size, tag: ContentTag::Immutable };
    let object = PinnedObject::new(Arc::clone(&root.store), path(&delete.location)?, identity);
    let (file, content) = if delete.size > WHOLE_BYTES_MAX {
        let footer = read_footer(&object, stats).await?;
        (ParquetFile::open(object, &footer)?, None)
    } else {
        let content = object.read_all(stats).await?;
        let object = held(object, content.clone()).await?;
        // What is read from here on comes from memory and is no request.
        let footer = read_footer(&object, &IoStats::default()).await?;
        (ParquetFile::open(object, &footer)?, Some(content))
    };
    if file.rows() != delete.records {
        return Err(corrupt(format!(
            "delete file {} has {} rows, the table says {}",
            delete.uri,
            file.rows(),
            delete.records
        )));
    }
    Ok(OpenDelete { file, content })
}

/// A delete file whose footer has been decoded.
#[derive(Debug)]
pub(crate) struct OpenDelete {
    pub(crate) file: ParquetFile,
    /// All of its bytes, unless it is large.
    content: Option<Bytes>,
}

/// Batches of columns.
pub(crate) type Batches = Vec<Vec<ArrayRef>>;

impl OpenDelete {
    /// Decodes the columns at `roots`, which are distinct, and lets `work` have the batches of each
    /// row group, on threads for long work and several at a time. What it makes of them is in the
    /// order of the row groups.
    ///
    /// # Errors
    /// Those of `work`, and as [`ParquetFile::read_raw`].
    pub(crate) async fn each_group<T: Send + 'static>(
        &self,
        roots: &[usize],
        stats: &IoStats,
        work: impl Fn(Batches, &str) -> Result<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>> {
        let place = format!("delete file {}", self.file.object().identity.uri);
        let groups = self.file.row_groups();
        let Some(content) = &self.content else {
            let reads = (0..groups).map(async |group| {
                let batches = self.file.read_raw(roots, group, stats).await?;
                let work = work.clone();
                decode(place.clone(), move |place| work(batches, place)).await
            });
            return stream::iter(reads).buffered(PARTS).try_collect().await;
        };
        let of_part = groups.div_ceil(PARTS).max(1);
        let parts = (0..groups).step_by(of_part).map(|first| {
            let (file, content, roots) = (self.file.clone(), content.clone(), roots.to_vec());
            let work = work.clone();
            decode(place.clone(), move |place| {
                let groups = first..groups.min(first + of_part);
                let made =
                    groups.map(|group| work(file.decode_raw(&roots, group, &content)?, place));
                made.collect::<Result<Vec<T>>>()
            })
        });
        let made = stream::iter(parts.collect::<Vec<_>>()).buffered(PARTS);
        let made: Vec<Vec<T>> = made.try_collect().await?;
        stats.count_rows_decoded(self.file.rows());
        Ok(made.into_iter().flatten().collect())
    }
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

/// The same object, from memory.
async fn held(object: PinnedObject, content: Bytes) -> Result<PinnedObject> {
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

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn numbers(batches: Batches, _: &str) -> Result<Vec<i64>> {
        let arrays = batches.into_iter().flatten();
        Ok(arrays.flat_map(|array| array.as_primitive::<Int64Type>().values().to_vec()).collect())
    }

    #[tokio::test]
    async fn row_groups_come_in_order_from_memory_and_from_the_store() {
        for groups in [0, 1, 3, 4, 9] {
            let column: ArrayRef = Arc::new((0..groups * 10).collect::<Int64Array>());
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10));
            let mut bytes = Vec::new();
            let mut writer =
                ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            let content = Bytes::from(bytes);
            let size = content.len() as u64;
            let identity =
                FileIdentity { uri: "s3://b/d".to_owned(), size, tag: ContentTag::Immutable };
            let object = PinnedObject::new(Arc::new(InMemory::new()), Path::from("d"), identity);
            let object = held(object, content.clone()).await.unwrap();
            let footer = read_footer(&object, &IoStats::default()).await.unwrap();
            let file = ParquetFile::open(object, &footer).unwrap();
            let expected: Vec<Vec<i64>> =
                (0..groups).map(|group| (group * 10..(group + 1) * 10).collect()).collect();
            for content in [None, Some(content)] {
                let opened = OpenDelete { file: file.clone(), content };
                let stats = IoStats::default();
                let found = opened.each_group(&[0], &stats, numbers).await.unwrap();
                assert_eq!(found, expected);
                assert_eq!(stats.counts().rows_decoded, file.rows());
                let refuse = |_: Batches, place: &str| Err::<(), _>(corrupt(place));
                let refused = opened.each_group(&[0], &stats, refuse).await;
                assert_eq!(refused.is_err(), groups > 0);
            }
        }
    }
}
