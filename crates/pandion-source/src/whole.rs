//! Objects of which nothing but the place is known, read whole in one request.
//!
//! For what names the rest: the metadata of a table, which no listing and no manifest pins. What is
//! read here is looked at once; files of rows are read through [`PinnedObject`](crate::PinnedObject).

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore as _};
use pandion_types::{Error, Result, Subject};

use crate::object::{Answer, receive};
use crate::store_error::StoreFailure;
use crate::{IoStats, SourceRoot};

/// Reads an object whole. One request, counted in `stats` also when nothing is there; a second one
/// when the first answer is cut short.
///
/// # Errors
/// `NotFound` about the source when there is no such object; `Unsupported` when it has more than
/// `bytes_max` bytes, of which none is kept then; `Corrupt` when the store sends too few bytes
/// twice; `PermissionDenied`, `Unavailable`.
pub async fn read_whole(
    root: &SourceRoot,
    location: &Path,
    bytes_max: u64,
    stats: &IoStats,
) -> Result<Bytes> {
    let uri = root.uri_of(location);
    for _ in 0..2 {
        let read = async {
            let result = root.store.get_opts(location, GetOptions::default()).await?;
            let size = result.meta.size;
            if size > bytes_max {
                return Ok((size, None));
            }
            Ok((size, Some(receive(result).await?)))
        };
        match read.await {
            Ok((size, None)) => {
                stats.count_read(0);
                return Err(Error::unsupported(format!(
                    "file {uri} has {size} bytes, the most is {bytes_max}"
                ))
                .about(Subject::Source));
            }
            Ok((size, Some(Answer::Bytes(bytes)))) => {
                let received = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                stats.count_read(received);
                if received == size {
                    return Ok(bytes);
                }
            }
            Ok((_, Some(Answer::Changed(_)))) => stats.count_read(0),
            Err(error) => {
                stats.count_read(0);
                return Err(StoreFailure::of(&error).into_error(&format!("file {uri}")));
            }
        }
    }
    Err(Error::corrupt(format!("the store did not send all bytes of file {uri}"))
        .about(Subject::Source))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt as _};
    use pandion_types::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn an_object_is_read_in_one_request_within_its_bound() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let at = Path::from("t/v1.metadata.json");
        store.put(&at, "content".into()).await.unwrap();
        let root = SourceRoot { store, base_uri: "s3://b/".to_owned(), prefix: Path::default() };
        let stats = IoStats::default();
        assert_eq!(read_whole(&root, &at, 7, &stats).await.unwrap(), "content");
        assert_eq!((stats.counts().read_requests, stats.counts().bytes_read), (1, 7));
        let large = read_whole(&root, &at, 6, &stats).await.unwrap_err();
        assert_eq!(large.kind(), ErrorKind::Unsupported);
        let gone = read_whole(&root, &Path::from("t/v2"), 7, &stats).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert!(gone.message().contains("s3://b/t/v2"), "{gone}");
        assert_eq!(stats.counts().read_requests, 3);
    }
}
