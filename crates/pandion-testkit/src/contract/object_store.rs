//! What Pandion relies on when it talks to an object store. A store of ours, a decorator, or a
//! server behind a client must keep all of it; what only some stores can do is an [`Ability`].
//!
//! The suite writes below one prefix and removes what it wrote.

use std::collections::BTreeSet;
use std::future::ready;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, UpdateVersion,
};

/// Keys in the listing that must span pages: S3 lists a thousand at a time.
const PAGED_KEYS: usize = 1005;
/// Requests in flight while those keys are written.
const WRITES_IN_FLIGHT: usize = 16;

/// What not every store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Replace an object only if it is the expected version: `PutMode::Update`.
    Update,
}

/// Runs the whole suite below `prefix`, which must hold nothing.
///
/// # Errors
/// The first promise that the store breaks.
pub async fn all(store: &dyn ObjectStore, prefix: &str, abilities: &[Ability]) -> Result<()> {
    let root = Path::from(prefix);
    reads_what_was_written(store, &root.clone().join("write")).await.context("writes")?;
    ranges_are_exact(store, &root.clone().join("range")).await.context("ranges")?;
    reads_can_be_pinned(store, &root.clone().join("pin")).await.context("pinned reads")?;
    creation_is_exclusive(store, &root.clone().join("create")).await.context("creation")?;
    if abilities.contains(&Ability::Update) {
        update_is_exclusive(store, &root.clone().join("update")).await.context("update")?;
    }
    what_is_missing_is_not_found(store, &root.clone().join("missing")).await.context("missing")?;
    listing_follows_prefixes(store, &root.clone().join("list")).await.context("listing")?;
    listing_spans_pages(store, &root.clone().join("pages")).await.context("paged listing")?;
    multipart_becomes_one_object(store, &root.clone().join("parts")).await.context("multipart")?;
    remove_all(store, &root).await.context("removal")
}

/// Written bytes, sizes and overwrites are read back; also under awkward names.
///
/// # Errors
/// A broken promise.
pub async fn reads_what_was_written(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    for name in ["plain.parquet", "day=2024-01-01", "a b", "ä+%&?#", "100%25"] {
        let path = root.clone().join(name);
        store.put(&path, PutPayload::from_static(b"first")).await?;
        let before = store.head(&path).await?;
        ensure!(before.size == 5, "{path}: head says {} bytes instead of 5", before.size);
        ensure!(before.location == path, "{path}: head names {}", before.location);
        ensure!(read(store, &path).await? == "first", "{path}: other bytes were read");

        store.put(&path, PutPayload::from_static(b"again")).await?;
        let after = store.head(&path).await?;
        ensure!(read(store, &path).await? == "again", "{path}: the old bytes were read");
        ensure!(before.e_tag.is_some(), "{path}: no ETag");
        ensure!(before.e_tag != after.e_tag, "{path}: an overwrite kept the ETag");
    }
    let empty = root.clone().join("empty");
    store.put(&empty, PutPayload::new()).await?;
    ensure!(store.head(&empty).await?.size == 0, "an empty object is not empty");
    ensure!(read(store, &empty).await?.is_empty(), "an empty object has bytes");
    Ok(())
}

/// Ranges give exactly the bytes that exist inside them, and the size of the object with them.
///
/// # Errors
/// A broken promise.
pub async fn ranges_are_exact(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let path = root.clone().join("digits");
    store.put(&path, PutPayload::from_static(b"0123456789")).await?;
    let cases = [
        (GetRange::Bounded(2..5), "234"),
        (GetRange::Bounded(0..10), "0123456789"),
        (GetRange::Bounded(8..100), "89"),
        (GetRange::Offset(7), "789"),
        (GetRange::Suffix(3), "789"),
        // What a reader of footers asks of a file smaller than its guess.
        (GetRange::Suffix(100), "0123456789"),
    ];
    for (range, expect) in cases {
        let text = range.to_string();
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let result = store.get_opts(&path, options).await.with_context(|| text.clone())?;
        ensure!(result.meta.size == 10, "{text}: the object's size reads {}", result.meta.size);
        let bytes = result.bytes().await?;
        ensure!(bytes == expect, "{text}: read {bytes:?}, expected {expect:?}");
    }
    let beyond = store.get_range(&path, 10..12).await;
    ensure!(beyond.is_err(), "a range behind the end gave {beyond:?}");
    let several = store.get_ranges(&path, &[0..2, 6..9, 1..3]).await?;
    ensure!(several == ["01", "678", "12"], "several ranges gave {several:?}");
    Ok(())
}

/// A read that names a version gets that version or an error, never another one.
///
/// # Errors
/// A broken promise.
pub async fn reads_can_be_pinned(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let path = root.clone().join("pinned");
    store.put(&path, PutPayload::from_static(b"version one")).await?;
    let etag = store.head(&path).await?.e_tag.context("no ETag")?;
    let pinned = || GetOptions {
        if_match: Some(etag.clone()),
        range: Some(GetRange::Bounded(8..11)),
        ..GetOptions::default()
    };
    let bytes = store.get_opts(&path, pinned()).await?.bytes().await?;
    ensure!(bytes == "one", "the pinned version read {bytes:?}");
    let unless = GetOptions { if_none_match: Some(etag.clone()), ..GetOptions::default() };
    let unchanged = store.get_opts(&path, unless.clone()).await;
    ensure!(matches!(unchanged, Err(Error::NotModified { .. })), "unchanged: {unchanged:?}");

    store.put(&path, PutPayload::from_static(b"version two")).await?;
    let stale = store.get_opts(&path, pinned()).await;
    ensure!(matches!(stale, Err(Error::Precondition { .. })), "a stale pin: {stale:?}");
    let head = GetOptions { head: true, ..pinned() };
    let stale = store.get_opts(&path, GetOptions { range: None, ..head }).await;
    ensure!(matches!(stale, Err(Error::Precondition { .. })), "a stale pin of a head: {stale:?}");
    let changed = store.get_opts(&path, unless).await?.bytes().await?;
    ensure!(changed == "version two", "the changed version read {changed:?}");
    Ok(())
}

/// Of several creators of one object exactly one succeeds, and its bytes stay.
///
/// # Errors
/// A broken promise.
pub async fn creation_is_exclusive(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let path = root.clone().join("once");
    let create = |writer: usize| {
        let path = path.clone();
        async move {
            let payload = PutPayload::from(writer.to_string().into_bytes());
            (writer, store.put_opts(&path, payload, PutOptions::from(PutMode::Create)).await)
        }
    };
    let outcomes: Vec<_> = stream::iter(0..8).map(create).buffer_unordered(8).collect().await;
    let mut winners = Vec::new();
    for (writer, outcome) in outcomes {
        match outcome {
            Ok(_) => winners.push(writer.to_string()),
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error).context("a creator that lost"),
        }
    }
    ensure!(winners.len() == 1, "{} creators succeeded", winners.len());
    let bytes = read(store, &path).await?;
    ensure!(winners.iter().all(|winner| bytes == winner.as_bytes()), "{winners:?} wrote {bytes:?}");
    Ok(())
}

/// An update that expects another version than the one there is fails and changes nothing.
///
/// # Errors
/// A broken promise.
pub async fn update_is_exclusive(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let path = root.clone().join("swap");
    let first = store.put(&path, PutPayload::from_static(b"1")).await?;
    let update = |version: UpdateVersion, bytes: &'static [u8]| {
        let options = PutOptions::from(PutMode::Update(version));
        store.put_opts(&path, PutPayload::from_static(bytes), options)
    };
    let first = UpdateVersion::from(first);
    let second = update(first.clone(), b"2").await?;
    let stale = update(first, b"3").await;
    ensure!(matches!(stale, Err(Error::Precondition { .. })), "a stale update: {stale:?}");
    ensure!(read(store, &path).await? == "2", "a refused update changed the object");
    update(UpdateVersion::from(second), b"4").await?;
    ensure!(read(store, &path).await? == "4", "an accepted update changed nothing");
    Ok(())
}

/// What was never written, and what was deleted, is not found, and says so by name.
///
/// # Errors
/// A broken promise.
pub async fn what_is_missing_is_not_found(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let path = root.clone().join("deleted");
    store.put(&path, PutPayload::from_static(b"x")).await?;
    store.delete(&path).await?;
    for path in [path, root.clone().join("never")] {
        let outcomes = [
            store.get(&path).await.err(),
            store.head(&path).await.err(),
            store.get_range(&path, 0..1).await.err(),
        ];
        for outcome in outcomes {
            ensure!(matches!(outcome, Some(Error::NotFound { .. })), "{path}: {outcome:?}");
        }
    }
    Ok(())
}

/// Listings give exactly what lies below a prefix, by folder if asked.
///
/// # Errors
/// A broken promise.
pub async fn listing_follows_prefixes(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let names = ["a.parquet", "b.parquet", "x/1", "x/2", "x/y/3", "x-ray/4"];
    for name in names {
        store.put(&below(root, name), PutPayload::from(name.as_bytes().to_vec())).await?;
    }
    let found = list(store, root).await?;
    let expect: BTreeSet<Path> = names.iter().map(|name| below(root, name)).collect();
    let locations: BTreeSet<Path> = found.iter().map(|meta| meta.location.clone()).collect();
    ensure!(locations == expect, "listed {locations:?}");
    for meta in &found {
        let head = store.head(&meta.location).await?;
        let same = meta.size == head.size && meta.e_tag == head.e_tag;
        ensure!(same, "the listing says {meta:?}, the head {head:?}");
    }

    let x: BTreeSet<Path> = names[2..5].iter().map(|name| below(root, name)).collect();
    let found: BTreeSet<Path> =
        list(store, &root.clone().join("x")).await?.into_iter().map(|meta| meta.location).collect();
    ensure!(found == x, "a prefix must end at a slash, but listed {found:?}");

    let folders = store.list_with_delimiter(Some(root)).await?;
    let prefixes: BTreeSet<Path> = folders.common_prefixes.into_iter().collect();
    let expect = BTreeSet::from([below(root, "x"), below(root, "x-ray")]);
    ensure!(prefixes == expect, "folders {prefixes:?}");
    ensure!(folders.objects.len() == 2, "beside the folders lie {:?}", folders.objects);

    let offset = below(root, "x/1");
    let after: BTreeSet<Path> = store
        .list_with_offset(Some(root), &offset)
        .map_ok(|meta| meta.location)
        .try_collect()
        .await?;
    let expect: BTreeSet<Path> =
        locations.into_iter().filter(|location| *location > offset).collect();
    ensure!(after == expect, "after {offset} came {after:?}");

    let nothing = list(store, &root.clone().join("nothing")).await?;
    ensure!(nothing.is_empty(), "below nothing lie {nothing:?}");
    Ok(())
}

/// A listing longer than a page of the server is whole and has nothing twice.
///
/// # Errors
/// A broken promise.
pub async fn listing_spans_pages(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let path = |number: usize| root.clone().join(format!("{number:05}"));
    stream::iter(0..PAGED_KEYS)
        .map(|number| {
            let path = path(number);
            async move { store.put(&path, PutPayload::from_static(b"x")).await }
        })
        .buffer_unordered(WRITES_IN_FLIGHT)
        .try_for_each(|_| ready(Ok(())))
        .await?;
    let mut found: Vec<Path> =
        list(store, root).await?.into_iter().map(|meta| meta.location).collect();
    found.sort();
    let expect: Vec<Path> = (0..PAGED_KEYS).map(path).collect();
    ensure!(found == expect, "listed {} of {PAGED_KEYS} keys", found.len());
    Ok(())
}

/// An object written in parts is there when the upload is complete, and not before.
///
/// # Errors
/// A broken promise.
pub async fn multipart_becomes_one_object(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    // S3 wants parts of 5 MiB but for the last.
    let large = Bytes::from(vec![7; 5 << 20]);
    let path = root.clone().join("whole");
    let mut upload = store.put_multipart(&path).await?;
    upload.put_part(large.clone().into()).await?;
    upload.put_part(PutPayload::from_static(b"tail")).await?;
    let early = store.head(&path).await;
    ensure!(matches!(early, Err(Error::NotFound { .. })), "before the end: {early:?}");
    upload.complete().await?;
    let bytes = read(store, &path).await?;
    ensure!(bytes.len() == large.len() + 4, "{} bytes were put together", bytes.len());
    ensure!(bytes.ends_with(b"\x07tail"), "the parts came in another order");

    let path = root.clone().join("abandoned");
    let mut upload = store.put_multipart(&path).await?;
    upload.put_part(PutPayload::from_static(b"part")).await?;
    upload.abort().await?;
    let abandoned = store.head(&path).await;
    ensure!(matches!(abandoned, Err(Error::NotFound { .. })), "abandoned: {abandoned:?}");
    Ok(())
}

fn below(root: &Path, name: &str) -> Path {
    Path::from(format!("{root}/{name}"))
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Bytes> {
    Ok(store.get(path).await?.bytes().await?)
}

async fn list(store: &dyn ObjectStore, prefix: &Path) -> Result<Vec<ObjectMeta>> {
    Ok(store.list(Some(prefix)).try_collect().await?)
}

async fn remove_all(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let found = store.list(Some(root)).map_ok(|meta| meta.location).boxed();
    store.delete_stream(found).try_for_each(|_| ready(Ok(()))).await?;
    let left = list(store, root).await?;
    ensure!(left.is_empty(), "{} objects survived their delete", left.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_directory_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
        all(&store, "suite", &[]).await.unwrap();
    }

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        all(&InMemory::new(), "suite/deep", &[Ability::Update]).await.unwrap();
    }
}
