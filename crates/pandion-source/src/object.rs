//! Reads that are pinned to a file's identity.
//!
//! Every request carries the identity as a condition, and every answer is compared with it again,
//! since some stores ignore conditions. Too few bytes are never handed on.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt,
};
use pandion_types::{ContentTag, Error, FileIdentity, Result, Subject};

use crate::IoStats;
use crate::store_error::{Failure, StoreFailure};

/// Ranges at most this far apart, in bytes, share a request.
///
/// A store needs some 15 ms to begin an answer and then sends about 100 bytes per microsecond, so
/// the bytes of such a gap cost a tenth of what a request of their own would. A wider gap would
/// save requests where ranges are read one after the other; here they are read side by side, and a
/// take of a few pages would mostly read what it throws away.
pub const COALESCE_GAP_BYTES: u64 = 128 << 10;

/// Ranges are not joined into a request of more than this many bytes; a single range may be larger.
pub const COALESCED_BYTES_MAX: u64 = 16 << 20;

/// Requests that one call has under way at a time.
pub const READ_CONCURRENCY: usize = 16;

/// An object in a store together with the identity that every read of it must have.
#[derive(Clone)]
pub struct PinnedObject {
    /// The store that holds the object.
    pub store: Arc<dyn ObjectStore>,
    /// Where in the store.
    pub location: Path,
    /// The content that reads are pinned to.
    pub identity: FileIdentity,
    /// The entity tag that the first answer had, where the identity has none. Clones share it.
    seen_tag: Arc<OnceLock<String>>,
}

impl PinnedObject {
    /// An object of `store`. Nothing is asked.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, location: Path, identity: FileIdentity) -> Self {
        Self { store, location, identity, seen_tag: Arc::default() }
    }

    /// Reads byte ranges, in the order given. Ranges that lie within [`COALESCE_GAP_BYTES`] of
    /// each other share one request; up to [`READ_CONCURRENCY`] requests run concurrently. The
    /// answer holds exactly the bytes asked for; parts that came with one request share memory.
    /// Each request counts once in `stats`. Dropping the future drops the requests.
    ///
    /// # Errors
    /// `Conflict` about the source, naming file, expected and found identity, when the content has
    /// changed; `NotFound` when the file is gone; `Corrupt` when the store sends too few bytes
    /// twice, or a range lies outside the file; `PermissionDenied`, `Unavailable`.
    pub async fn read_ranges(&self, ranges: &[Range<u64>], stats: &IoStats) -> Result<Vec<Bytes>> {
        for range in ranges {
            if range.start > range.end || range.end > self.identity.size {
                return Err(Error::corrupt(format!(
                    "file {} has {} bytes, but bytes {} to {} of it were asked for",
                    self.identity.uri, self.identity.size, range.start, range.end
                ))
                .about(Subject::Source));
            }
        }
        let requests = coalesce(ranges);
        let answers: Vec<Bytes> = stream::iter(requests.iter().cloned())
            .map(|range| self.read_request(range, stats))
            .buffered(READ_CONCURRENCY)
            .try_collect()
            .await?;
        ranges.iter().map(|range| self.slice(range, &requests, &answers)).collect()
    }

    /// Reads the last `bytes` bytes, or the whole file when it is shorter.
    ///
    /// # Errors
    /// As [`Self::read_ranges`].
    pub async fn read_suffix(&self, bytes: u64, stats: &IoStats) -> Result<Bytes> {
        self.read_range(self.identity.size.saturating_sub(bytes)..self.identity.size, stats).await
    }

    /// Reads the whole file. The caller bounds its size.
    ///
    /// # Errors
    /// As [`Self::read_ranges`].
    pub async fn read_all(&self, stats: &IoStats) -> Result<Bytes> {
        self.read_range(0..self.identity.size, stats).await
    }

    /// Reads one range.
    ///
    /// # Errors
    /// As [`Self::read_ranges`].
    pub async fn read_range(&self, range: Range<u64>, stats: &IoStats) -> Result<Bytes> {
        let mut parts = self.read_ranges(std::slice::from_ref(&range), stats).await?;
        parts.pop().ok_or_else(|| Error::internal("one range gives one part"))
    }

    /// One request, once more when its answer is short.
    async fn read_request(&self, range: Range<u64>, stats: &IoStats) -> Result<Bytes> {
        let expected = range.end - range.start;
        let mut received = 0;
        for _ in 0..2 {
            let bytes = self.try_request(range.clone(), stats).await?;
            received = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if received == expected {
                return Ok(bytes);
            }
        }
        Err(Error::corrupt(format!(
            "the store sent {received} of the {expected} bytes at {} of file {}",
            range.start, self.identity.uri
        ))
        .about(Subject::Source))
    }

    async fn try_request(&self, range: Range<u64>, stats: &IoStats) -> Result<Bytes> {
        let mut options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        match &self.identity.tag {
            ContentTag::ETag(tag) => options.if_match = Some(tag.clone()),
            ContentTag::Version(version) => options.version = Some(version.clone()),
            ContentTag::Immutable => options.if_match = self.seen_tag.get().cloned(),
        }
        let read = async {
            let result = self.store.get_opts(&self.location, options).await?;
            if !self.matches(&result.meta) {
                return Ok(Answer::Changed(Some(result.meta)));
            }
            if result.range != range {
                return Ok(Answer::Bytes(Bytes::new()));
            }
            receive(result).await
        };
        match read.await {
            Ok(Answer::Bytes(bytes)) => {
                stats.count_read(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                Ok(bytes)
            }
            Ok(Answer::Changed(found)) => {
                stats.count_read(0);
                let found = match found {
                    Some(found) => Some(found),
                    None => self.store.head(&self.location).await.ok(),
                };
                Err(self.changed(found.as_ref()))
            }
            Err(error) => {
                stats.count_read(0);
                Err(self.explain(&error).await)
            }
        }
    }

    /// Turns a store's error into ours. Where the content may have changed, asks what is there now.
    async fn explain(&self, error: &object_store::Error) -> Error {
        let failure = StoreFailure::of(error);
        match failure.failure {
            Failure::Changed => {
                let found = self.store.head(&self.location).await.ok();
                self.changed(found.as_ref())
            }
            // A store that looks at the range before the condition says that the range is wrong.
            Failure::Refused | Failure::Senseless => match self.store.head(&self.location).await {
                Ok(found) if !self.matches(&found) => self.changed(Some(&found)),
                _ => failure.into_error(&self.target()),
            },
            _ => failure.into_error(&self.target()),
        }
    }

    fn target(&self) -> String {
        format!("file {}", self.identity.uri)
    }

    fn matches(&self, found: &ObjectMeta) -> bool {
        let same_tag = match &self.identity.tag {
            ContentTag::ETag(tag) => found.e_tag.as_deref().is_some_and(|found| same(found, tag)),
            ContentTag::Version(version) => {
                found.version.as_ref().is_none_or(|found| found == version)
            }
            ContentTag::Immutable => match &found.e_tag {
                // A weak tag tells too little, and cannot be asked for.
                Some(tag) if found.size == self.identity.size && !tag.starts_with("W/") => {
                    same(self.seen_tag.get_or_init(|| tag.clone()), tag)
                }
                _ => true,
            },
        };
        same_tag && found.size == self.identity.size
    }

    fn changed(&self, found: Option<&ObjectMeta>) -> Error {
        let found = match found {
            None => "other content".to_owned(),
            Some(meta) => {
                let tag = match (&self.identity.tag, &meta.e_tag, &meta.version) {
                    (ContentTag::Version(_), _, Some(version)) => format!("version {version}"),
                    (_, Some(tag), _) => format!("etag {tag}"),
                    _ => "no etag".to_owned(),
                };
                format!("({} bytes, {tag})", meta.size)
            }
        };
        Error::conflict(format!(
            "source file has changed since the last refresh: expected {}, found {found}; refresh \
             the collection",
            self.identity
        ))
        .about(Subject::Source)
    }

    fn slice(
        &self,
        range: &Range<u64>,
        requests: &[Range<u64>],
        answers: &[Bytes],
    ) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let at = requests.partition_point(|request| request.start <= range.start) - 1;
        let start = usize::try_from(range.start - requests[at].start);
        let end = usize::try_from(range.end - requests[at].start);
        match (start, end) {
            (Ok(start), Ok(end)) => Ok(answers[at].slice(start..end)),
            _ => Err(Error::unsupported(format!(
                "a range of file {} is larger than the memory of this machine",
                self.identity.uri
            ))),
        }
    }
}

impl fmt::Debug for PinnedObject {
    /// Leaves out the store's own `Debug`, which may show what it is configured with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedObject({} in {})", self.identity, self.store)
    }
}

/// Whether two entity tags are one: some stores put quotation marks round the tag in answers only.
fn same(left: &str, right: &str) -> bool {
    left.trim_matches('"') == right.trim_matches('"')
}

pub(crate) enum Answer {
    Bytes(Bytes),
    /// With what was found instead, if the answer says so.
    Changed(Option<ObjectMeta>),
}

/// Receives the body, and no more than was promised.
pub(crate) async fn receive(result: GetResult) -> object_store::Result<Answer> {
    let promised = result.range.end - result.range.start;
    match result.payload {
        GetResultPayload::File(file, path) => {
            let (bytes, unchanged) = tokio::task::spawn_blocking(move || {
                read_file(&file, result.range, &result.meta).map_err(|source| {
                    object_store::Error::Generic {
                        store: "local files",
                        source: Box::new(std::io::Error::new(
                            source.kind(),
                            format!("{}: {source}", path.display()),
                        )),
                    }
                })
            })
            .await??;
            Ok(if unchanged { Answer::Bytes(bytes) } else { Answer::Changed(None) })
        }
        GetResultPayload::Stream(mut chunks) => {
            let mut bytes = BytesMut::new();
            while let Some(chunk) = chunks.try_next().await? {
                let total = u64::try_from(bytes.len() + chunk.len()).unwrap_or(u64::MAX);
                if total > promised {
                    // Longer than promised is as wrong as shorter, and must not fill the memory.
                    return Ok(Answer::Bytes(Bytes::new()));
                }
                if total == promised && bytes.is_empty() {
                    // The usual case of one chunk is not copied; what may follow is looked at.
                    return match chunks.try_next().await? {
                        Some(more) if !more.is_empty() => Ok(Answer::Bytes(Bytes::new())),
                        _ => Ok(Answer::Bytes(chunk)),
                    };
                }
                if bytes.is_empty() {
                    let size = usize::try_from(promised.min(COALESCED_BYTES_MAX));
                    bytes.reserve(size.unwrap_or_default());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Answer::Bytes(bytes.freeze()))
        }
    }
}

/// Reads a range of an open file, and says whether the file was left alone meanwhile: a file that
/// is overwritten in place keeps its inode, so an open handle alone does not pin its content.
fn read_file(
    file: &std::fs::File,
    range: Range<u64>,
    meta: &ObjectMeta,
) -> std::io::Result<(Bytes, bool)> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let length = range.end - range.start;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let mut reader = file;
    reader.seek(SeekFrom::Start(range.start))?;
    reader.take(length).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    let unchanged = after.len() == meta.size
        && after.modified()? == std::time::SystemTime::from(meta.last_modified);
    Ok((Bytes::from(bytes), unchanged))
}

/// The requests that cover the ranges: sorted, disjoint, none empty.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut requests: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match requests.last_mut() {
            Some(last) if joins(last, &range) => last.end = last.end.max(range.end),
            _ => requests.push(range),
        }
    }
    requests
}

fn joins(last: &Range<u64>, next: &Range<u64>) -> bool {
    if next.start < last.end {
        // Overlapping ranges always share a request, or their bytes would be read twice.
        return true;
    }
    let joined = next.end.max(last.end) - last.start;
    next.start - last.end <= COALESCE_GAP_BYTES && joined <= COALESCED_BYTES_MAX
}

#[cfg(test)]
mod tests;
