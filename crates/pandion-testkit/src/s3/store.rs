//! What the S3 server holds: buckets of immutable objects, and multipart uploads in the making.
//! Knows nothing of HTTP or signatures.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use md5::{Digest, Md5};

use crate::convert::{lock, read, write};

/// Greater than every character that may follow a common prefix, so that the next range starts
/// after all keys below the prefix.
const AFTER_ALL_KEYS: char = '\u{10ffff}';

/// An object; a new version of it is a new `Object`.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) data: Bytes,
    /// Strong, without quotes.
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
    pub(crate) metadata: Option<HashMap<String, String>>,
}

impl Object {
    /// An object written now, with the ETag that S3 gives to a single PUT.
    pub(crate) fn new(data: Bytes, metadata: Option<HashMap<String, String>>) -> Self {
        let etag = hex(&Md5::digest(&data));
        Self { data, etag, modified: SystemTime::now(), metadata }
    }
}

/// What must hold for a write to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing.
    None,
    /// The key is free: `If-None-Match: *`.
    Absent,
    /// The key holds some object: `If-Match: *`.
    Present,
    /// The key holds the object with this ETag: `If-Match`.
    ETag(String),
}

/// Why a store operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(String, Arc<Object>)>,
    pub(crate) prefixes: Vec<String>,
    /// Where the next page starts, exclusive; `None` on the last page.
    pub(crate) next: Option<String>,
}

/// What a page of a listing is to hold.
#[derive(Debug)]
pub(crate) struct ListQuery<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    /// Keys up to this one, inclusive, are left out.
    pub(crate) after: &'a str,
    pub(crate) keys_max: usize,
}

type Bucket = BTreeMap<String, Arc<Object>>;
type Parts = BTreeMap<i32, Bytes>;

/// All buckets. Every method is atomic.
#[derive(Debug, Default)]
pub(crate) struct Store {
    buckets: RwLock<BTreeMap<String, Bucket>>,
    uploads: Mutex<HashMap<String, Parts>>,
    uploads_begun: AtomicU64,
}

impl Store {
    /// Whether the bucket is new.
    pub(crate) fn create_bucket(&self, bucket: &str) -> bool {
        let mut buckets = write(&self.buckets);
        let is_new = !buckets.contains_key(bucket);
        buckets.entry(bucket.to_owned()).or_default();
        is_new
    }

    pub(crate) fn has_bucket(&self, bucket: &str) -> bool {
        read(&self.buckets).contains_key(bucket)
    }

    pub(crate) fn bucket_names(&self) -> Vec<String> {
        read(&self.buckets).keys().cloned().collect()
    }

    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        read(&self.buckets)
            .get(bucket)
            .map(|keys| keys.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Result<Arc<Object>, Refusal> {
        let buckets = read(&self.buckets);
        let objects = buckets.get(bucket).ok_or(Refusal::NoSuchBucket)?;
        objects.get(key).map(Arc::clone).ok_or(Refusal::NoSuchKey)
    }

    pub(crate) fn put(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        precondition: &Precondition,
    ) -> Result<(), Refusal> {
        let mut buckets = write(&self.buckets);
        let objects = buckets.get_mut(bucket).ok_or(Refusal::NoSuchBucket)?;
        match (precondition, objects.get(key)) {
            (Precondition::None, _)
            | (Precondition::Absent, None)
            | (Precondition::Present, Some(_)) => {}
            (Precondition::Absent, Some(_)) => return Err(Refusal::PreconditionFailed),
            (Precondition::Present | Precondition::ETag(_), None) => {
                return Err(Refusal::NoSuchKey);
            }
            (Precondition::ETag(etag), Some(found)) => {
                if *etag != found.etag {
                    return Err(Refusal::PreconditionFailed);
                }
            }
        }
        objects.insert(key.to_owned(), Arc::new(object));
        Ok(())
    }

    /// Whether there was such an object.
    pub(crate) fn delete(&self, bucket: &str, key: &str) -> Result<bool, Refusal> {
        let mut buckets = write(&self.buckets);
        let objects = buckets.get_mut(bucket).ok_or(Refusal::NoSuchBucket)?;
        Ok(objects.remove(key).is_some())
    }

    pub(crate) fn list(&self, bucket: &str, query: &ListQuery<'_>) -> Result<Page, Refusal> {
        let buckets = read(&self.buckets);
        let objects = buckets.get(bucket).ok_or(Refusal::NoSuchBucket)?;
        Ok(page_of(objects, query))
    }

    pub(crate) fn begin_upload(&self) -> String {
        let id = format!("upload-{}", self.uploads_begun.fetch_add(1, Ordering::Relaxed));
        lock(&self.uploads).insert(id.clone(), Parts::new());
        id
    }

    /// The ETag of the part.
    pub(crate) fn put_part(&self, upload: &str, part: i32, data: Bytes) -> Result<String, Refusal> {
        let etag = hex(&Md5::digest(&data));
        let mut uploads = lock(&self.uploads);
        uploads.get_mut(upload).ok_or(Refusal::NoSuchUpload)?.insert(part, data);
        Ok(etag)
    }

    /// The ETag of the object: S3's digest of the digests of the parts. The upload is over also
    /// when the precondition fails.
    pub(crate) fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        precondition: &Precondition,
    ) -> Result<String, Refusal> {
        let parts = lock(&self.uploads).remove(upload).ok_or(Refusal::NoSuchUpload)?;
        let mut digest = Md5::new();
        let mut data = Vec::new();
        for part in parts.values() {
            digest.update(Md5::digest(part));
            data.extend_from_slice(part);
        }
        let etag = format!("{}-{}", hex(&digest.finalize()), parts.len());
        let object = Object {
            data: data.into(),
            etag: etag.clone(),
            modified: SystemTime::now(),
            metadata: None,
        };
        self.put(bucket, key, object, precondition)?;
        Ok(etag)
    }

    pub(crate) fn abort_upload(&self, upload: &str) {
        lock(&self.uploads).remove(upload);
    }

    /// Serves the files below `directory` as objects, without reading them: they are mapped into
    /// memory and must not be changed while the server lives. Empty files are served as such.
    /// Returns how many there are.
    pub(crate) fn preload(&self, bucket: &str, directory: &Path) -> anyhow::Result<usize> {
        let mut found = Bucket::new();
        map_files(directory, directory, &mut found)?;
        let count = found.len();
        write(&self.buckets).entry(bucket.to_owned()).or_default().append(&mut found);
        Ok(count)
    }
}

fn page_of(objects: &Bucket, query: &ListQuery<'_>) -> Page {
    let mut page = Page::default();
    let mut lower = first_bound(query);
    let mut last = None;
    while let Some((key, object)) = objects.range((lower, Bound::Unbounded)).next() {
        let Some(rest) = key.strip_prefix(query.prefix) else { break };
        if page.objects.len() + page.prefixes.len() == query.keys_max {
            page.next = last;
            break;
        }
        let folder = query.delimiter.and_then(|delimiter| {
            let end = rest.find(delimiter)? + delimiter.len();
            key.get(..query.prefix.len() + end)
        });
        if let Some(folder) = folder {
            page.prefixes.push(folder.to_owned());
            last = Some(folder.to_owned());
            lower = Bound::Excluded(format!("{folder}{AFTER_ALL_KEYS}"));
        } else {
            page.objects.push((key.clone(), Arc::clone(object)));
            last = Some(key.clone());
            lower = Bound::Excluded(key.clone());
        }
    }
    page
}

fn first_bound(query: &ListQuery<'_>) -> Bound<String> {
    if query.after.is_empty() || query.after < query.prefix {
        return Bound::Included(query.prefix.to_owned());
    }
    // A page that ended with a common prefix continues behind everything below it.
    match query.delimiter {
        Some(delimiter) if query.after.ends_with(delimiter) => {
            Bound::Excluded(format!("{}{AFTER_ALL_KEYS}", query.after))
        }
        _ => Bound::Excluded(query.after.to_owned()),
    }
}

fn map_files(root: &Path, directory: &Path, found: &mut Bucket) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list the directory {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            map_files(root, &path, found)?;
            continue;
        }
        let key = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        let object =
            map_file(&path).with_context(|| format!("cannot map the file {}", path.display()))?;
        found.insert(key, Arc::new(object));
    }
    Ok(())
}

fn map_file(path: &Path) -> anyhow::Result<Object> {
    let file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let modified = metadata.modified()?;
    let data = if metadata.len() == 0 {
        Bytes::new()
    } else {
        #[expect(
            unsafe_code,
            reason = "mapping is what lets a benchmark serve files without a copy"
        )]
        // SAFETY: the caller of `preload` promises that the file is not changed or cut short while
        // the server lives; the map itself is read-only and owned by the returned `Bytes`.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Bytes::from_owner(map)
    };
    // A digest would read the file; size and time are as strong for a file that does not change.
    let nanoseconds = modified.duration_since(UNIX_EPOCH)?.as_nanos();
    let etag = format!("{:x}-{nanoseconds:x}", metadata.len());
    Ok(Object { data, etag, modified, metadata: None })
}

fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(keys: &[&str]) -> Bucket {
        let object = |key: &str| Arc::new(Object::new(Bytes::from(key.to_owned()), None));
        keys.iter().map(|key| ((*key).to_owned(), object(key))).collect()
    }

    fn check(
        keys: &[&str],
        prefix: &str,
        delimiter: Option<&str>,
        keys_max: usize,
        pages: &[&[&str]],
    ) {
        let objects = bucket(keys);
        let mut after = String::new();
        for (number, expect) in pages.iter().enumerate() {
            let query = ListQuery { prefix, delimiter, after: &after, keys_max };
            let page = page_of(&objects, &query);
            let mut found: Vec<String> = page.objects.iter().map(|(key, _)| key.clone()).collect();
            found.extend(page.prefixes.clone());
            found.sort();
            assert_eq!(found, *expect, "page {number}");
            assert_eq!(page.next.is_some(), number + 1 < pages.len(), "page {number}");
            after = page.next.unwrap_or_default();
        }
    }

    #[test]
    fn pages_join_to_the_whole_listing() {
        let keys = ["a", "p/1", "p/2", "p/x/1", "p/x/2", "p/y/1", "p0", "q"];
        check(&keys, "", None, 1000, &[&keys]);
        check(&keys, "p/", None, 2, &[&["p/1", "p/2"], &["p/x/1", "p/x/2"], &["p/y/1"]]);
        check(&keys, "p/", Some("/"), 3, &[&["p/1", "p/2", "p/x/"], &["p/y/"]]);
        check(&keys, "p/", Some("/"), 1, &[&["p/1"], &["p/2"], &["p/x/"], &["p/y/"]]);
        check(&keys, "", Some("/"), 10, &[&["a", "p/", "p0", "q"]]);
        check(&keys, "none", None, 10, &[&[]]);
        check(&keys, "", None, 0, &[&[]]);
    }

    #[test]
    fn preconditions_decide_writes() {
        let store = Store::default();
        store.create_bucket("b");
        let put = |key: &str, text: &'static str, precondition: &Precondition| {
            store.put(
                "b",
                key,
                Object::new(Bytes::from_static(text.as_bytes()), None),
                precondition,
            )
        };
        let wrong = Precondition::ETag("wrong".to_owned());
        assert_eq!(put("k", "1", &wrong), Err(Refusal::NoSuchKey));
        assert_eq!(put("k", "1", &Precondition::Absent), Ok(()));
        assert_eq!(put("k", "2", &Precondition::Absent), Err(Refusal::PreconditionFailed));
        assert_eq!(put("k", "2", &wrong), Err(Refusal::PreconditionFailed));
        let etag = store.get("b", "k").unwrap().etag.clone();
        assert_eq!(put("k", "2", &Precondition::ETag(etag)), Ok(()));
        assert_eq!(store.get("b", "k").unwrap().data, "2");
    }
}
