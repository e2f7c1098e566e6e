//! The files that lie directly under a prefix.
//!
//! Complete or an error: what a listing leaves out would be taken for deleted. Files without a
//! strong entity tag are refused, since nothing could pin a read to their content.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pandion_types::{ContentTag, Error, FileIdentity, Result, Subject};

use crate::store_error::StoreFailure;
use crate::{IoStats, PinnedObject};

/// Entries of one page of a listing, where the store does not tell how many pages there were.
const PAGE_ENTRIES: usize = 1000;

tokio::task_local! {
    /// Counts the pages that the listing of this task has asked for. A task-local, because a
    /// listing has no parameter through which a counter could reach the HTTP client.
    static PAGES: Arc<AtomicU64>;
}

/// Called by the HTTP client for each page of a listing that it asks for.
pub(crate) fn count_page() {
    if PAGES.try_with(|pages| pages.fetch_add(1, Ordering::Relaxed)).is_err() {
        tracing::trace!("page of a listing that nobody counts");
    }
}

/// A source that is open: its store, read-only, and where in it the files lie.
#[derive(Clone)]
pub struct SourceRoot {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// What stands before a location in a file's URI, with the slash: `s3://host/bucket/`.
    pub base_uri: String,
    /// The folder of the files.
    pub prefix: Path,
}

impl SourceRoot {
    /// The URI of an object of the store, as it stands in identities and messages.
    #[must_use]
    pub fn uri_of(&self, location: &Path) -> String {
        format!("{}{location}", self.base_uri)
    }
}

impl fmt::Debug for SourceRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceRoot({} in {})", self.uri_of(&self.prefix), self.store)
    }
}

/// The files directly under the root's prefix whose names end in `extension` (`.parquet`; case
/// matters), pinned, sorted by URI. What lies in folders below, and names that begin with `_` or
/// `.`, are left out, as the engines that write such files do. Costs one request per page; reads no
/// file. An empty answer is for the caller to judge.
///
/// # Errors
/// `NotFound` about the source when the bucket or folder does not exist; `Unsupported` naming the
/// first file without a strong entity tag; `PermissionDenied`, `Unavailable`, `Corrupt` when the
/// listing breaks off.
pub async fn list_flat_prefix(
    root: &SourceRoot,
    extension: &str,
    stats: &IoStats,
) -> Result<Vec<PinnedObject>> {
    let prefix = Some(&root.prefix).filter(|prefix| !prefix.is_root());
    let (listed, pages) = count_pages(root.store.list_with_delimiter(prefix)).await;
    let seen = listed.as_ref().map_or(0, |found| found.objects.len() + found.common_prefixes.len());
    let pages_of_entries = u64::try_from(seen.div_ceil(PAGE_ENTRIES)).unwrap_or(u64::MAX).max(1);
    for _ in 0..if pages == 0 { pages_of_entries } else { pages } {
        stats.count_list();
    }
    let found = listed.map_err(|error| {
        let target = if root.base_uri.starts_with("file:") { "folder" } else { "bucket or prefix" };
        StoreFailure::of(&error).into_error(&format!("{target} {}", root.uri_of(&root.prefix)))
    })?;
    let mut files = found
        .objects
        .into_iter()
        .filter(|meta| is_data_file(&root.prefix, meta, extension))
        .map(|meta| pin(root, meta))
        .collect::<Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.identity.uri.cmp(&b.identity.uri));
    if let Some(pair) = files.windows(2).find(|pair| pair[0].identity.uri == pair[1].identity.uri) {
        return Err(Error::corrupt(format!("the store lists {} twice", pair[0].identity.uri))
            .about(Subject::Source));
    }
    Ok(files)
}

/// Runs a listing and tells how many pages the HTTP client asked for; 0 when there is none.
async fn count_pages<T>(listing: impl Future<Output = T>) -> (T, u64) {
    let pages = Arc::new(AtomicU64::new(0));
    let listed = PAGES.scope(Arc::clone(&pages), listing).await;
    (listed, pages.load(Ordering::Relaxed))
}

fn is_data_file(prefix: &Path, meta: &ObjectMeta, extension: &str) -> bool {
    // A marker of the folder itself (`prefix/`, empty) has the location of the prefix.
    let Some(mut below) = meta.location.prefix_match(prefix) else { return false };
    let (Some(name), None) = (below.next(), below.next()) else { return false };
    let name = name.as_ref();
    name.ends_with(extension) && !name.starts_with(['_', '.'])
}

fn pin(root: &SourceRoot, meta: ObjectMeta) -> Result<PinnedObject> {
    let uri = root.uri_of(&meta.location);
    let refused = |what: &str| {
        Error::unsupported(format!(
            "file {uri} has {what} entity tag, so that a change of it could not be noticed"
        ))
        .about(Subject::Source)
    };
    let tag = match meta.e_tag {
        None => return Err(refused("no")),
        Some(tag) if tag.trim_matches('"').is_empty() => return Err(refused("an empty")),
        Some(tag) if tag.starts_with("W/") => return Err(refused("only a weak")),
        // It is sent back in a header, where nothing else may stand.
        Some(tag) if !tag.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Err(refused("a malformed"));
        }
        Some(tag) => ContentTag::ETag(tag),
    };
    let identity = FileIdentity { uri, size: meta.size, tag };
    Ok(PinnedObject::new(Arc::clone(&root.store), meta.location, identity))
}

#[cfg(test)]
mod tests;
