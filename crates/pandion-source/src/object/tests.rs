use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{
    Attributes, CopyOptions, ListResult, MultipartUpload, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use pandion_types::ErrorKind;
use tempfile::TempDir;

use super::*;

async fn pinned(store: Arc<dyn ObjectStore>, location: &str, bytes: Vec<u8>) -> PinnedObject {
    let location = Path::from(location);
    store.put(&location, bytes.into()).await.unwrap();
    let meta = store.head(&location).await.unwrap();
    let identity = FileIdentity {
        uri: format!("s3://host/bucket/{location}"),
        size: meta.size,
        tag: ContentTag::ETag(meta.e_tag.unwrap()),
    };
    PinnedObject::new(store, location, identity)
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn near_ranges_share_a_request() {
    let gap = COALESCE_GAP_BYTES;
    let max = COALESCED_BYTES_MAX;
    let check = |ranges: &[Range<u64>], expected: &[Range<u64>]| {
        assert_eq!(coalesce(ranges), expected, "{ranges:?}");
    };
    let joined = |ranges: &[Range<u64>], expected: Range<u64>| check(ranges, &vec![expected; 1]);
    check(&[], &[]);
    check(&[5..5, 7..7], &[]);
    joined(&[0..1, 1 + gap..2 + gap], 0..2 + gap);
    check(&[0..1, 2 + gap..3 + gap], &[0..1, 2 + gap..3 + gap]);
    joined(&[10..20, 0..5, 12..15], 0..20);
    check(&[0..max, max..max + 1], &[0..max, max..max + 1]);
    joined(&[0..2 * max, max..3 * max], 0..3 * max);
}

#[tokio::test]
async fn ranges_come_back_exactly_and_in_order() {
    let bytes = numbered(1_000_000);
    let object = pinned(Arc::new(InMemory::new()), "a.parquet", bytes.clone()).await;
    let ranges = [900_000..900_010, 0..4, 7..7, 2..6, 999_990..1_000_000];
    let stats = IoStats::default();
    let parts = object.read_ranges(&ranges, &stats).await.unwrap();
    for (range, part) in ranges.iter().zip(&parts) {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert_eq!(part[..], bytes[range]);
    }
    let counts = stats.counts();
    assert_eq!((counts.read_requests, counts.bytes_read), (2, 6 + 100_000));

    assert_eq!(object.read_suffix(8, &stats).await.unwrap()[..], bytes[999_992..]);
    assert_eq!(object.read_suffix(u64::MAX, &stats).await.unwrap()[..], bytes[..]);
    assert_eq!(object.read_all(&stats).await.unwrap()[..], bytes[..]);
    assert_eq!(stats.counts().read_requests, 5);
}

#[tokio::test]
async fn ranges_outside_the_file_are_errors() {
    let object = pinned(Arc::new(InMemory::new()), "a.parquet", numbered(10)).await;
    let backwards = Range { start: 5, end: 4 };
    for range in [0..11, 11..11, u64::MAX - 1..u64::MAX, backwards] {
        let error = object.read_range(range, &IoStats::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("a.parquet"), "{error}");
    }
}

#[tokio::test]
async fn debug_shows_no_configuration_of_the_store() {
    let object = pinned(Arc::new(InMemory::new()), "a.parquet", numbered(10)).await;
    let shown = format!("{object:?}");
    assert!(shown.starts_with("PinnedObject(s3://host/bucket/a.parquet (10 bytes"), "{shown}");
}

async fn local() -> (TempDir, PinnedObject) {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    let object = pinned(store, "a.parquet", numbered(10)).await;
    (directory, object)
}

fn assert_changed(error: &Error, object: &PinnedObject) {
    assert_eq!((error.kind(), error.subject()), (ErrorKind::Conflict, Subject::Source));
    let message = error.message();
    assert!(message.contains(&format!("expected {}", object.identity)), "{message}");
    assert!(message.contains("found (") && message.contains("refresh"), "{message}");
}

#[tokio::test]
async fn an_overwritten_file_is_an_error_that_names_both_identities() {
    let (directory, object) = local().await;
    let stats = IoStats::default();
    object.read_all(&stats).await.unwrap();
    // Replaced by another file of the same size.
    object.store.put(&object.location, vec![9; 10].into()).await.unwrap();
    assert_changed(&object.read_all(&stats).await.unwrap_err(), &object);

    let (in_place, object) = local().await;
    std::fs::write(in_place.path().join("a.parquet"), [9; 12]).unwrap();
    let error = object.read_range(0..4, &stats).await.unwrap_err();
    assert_changed(&error, &object);
    assert!(error.message().contains("found (12 bytes"), "{error}");
    drop(directory);
}

#[tokio::test]
async fn a_file_changed_in_place_with_the_same_size_is_noticed() {
    let (directory, object) = local().await;
    let path = directory.path().join("a.parquet");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, [9; 10]).unwrap();
    // The clock of the file system may not have ticked since: say that it has.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before + Duration::from_millis(5)).unwrap();
    assert_changed(&object.read_all(&IoStats::default()).await.unwrap_err(), &object);
}

#[test]
fn a_change_while_an_open_file_is_read_is_noticed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("f");
    std::fs::write(&path, numbered(10)).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let meta = ObjectMeta {
        location: Path::from("f"),
        last_modified: modified.into(),
        size: 10,
        e_tag: None,
        version: None,
    };
    let (bytes, unchanged) = read_file(&file, 2..5, &meta).unwrap();
    assert_eq!((&bytes[..], unchanged), (&[2_u8, 3, 4][..], true));
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified + Duration::from_secs(1))
        .unwrap();
    assert!(!read_file(&file, 2..5, &meta).unwrap().1);
}

#[tokio::test]
async fn a_deleted_file_is_not_found() {
    let (_directory, object) = local().await;
    object.store.delete(&object.location).await.unwrap();
    let error = object.read_all(&IoStats::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, Subject::Source));
    assert!(error.message().contains("s3://host/bucket/a.parquet"), "{error}");
}

#[tokio::test]
async fn a_version_is_pinned_too() {
    let mut object = pinned(Arc::new(InMemory::new()), "a.parquet", numbered(10)).await;
    object.identity.tag = ContentTag::Version("v1".to_owned());
    let script = Script::new([Reply::Body { bytes: vec![1, 2], size: 10, version: Some("v1") }]);
    object.store = script;
    assert_eq!(object.read_range(0..2, &IoStats::default()).await.unwrap()[..], [1, 2]);
    object.store = Script::new([Reply::Body { bytes: vec![1, 2], size: 10, version: Some("v2") }]);
    let error = object.read_range(0..2, &IoStats::default()).await.unwrap_err();
    assert_changed(&error, &object);
    assert!(error.message().contains("version v2"), "{error}");
}

/// What the scripted store answers.
#[derive(Clone, Debug)]
enum Reply {
    Body { bytes: Vec<u8>, size: u64, version: Option<&'static str> },
    Status(&'static str),
}

/// A store that answers reads from a script, whatever is asked.
#[derive(Debug)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
}

impl Script {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()) })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

#[async_trait]
impl ObjectStore for Script {
    async fn put_opts(
        &self,
        _: &Path,
        _: PutPayload,
        _: PutOptions,
    ) -> object_store::Result<PutResult> {
        Err(object_store::Error::NotSupported { source: "script".into() })
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotSupported { source: "script".into() })
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let reply = self.replies.lock().unwrap().pop_front().expect("a reply is scripted");
        let (bytes, size, version) = match reply {
            Reply::Body { bytes, size, version } => (bytes, size, version),
            Reply::Status(text) => {
                return Err(object_store::Error::Generic { store: "S3", source: text.into() });
            }
        };
        let range = match options.range {
            Some(GetRange::Bounded(range)) => range,
            _ => 0..size,
        };
        let chunks: Vec<_> =
            bytes.chunks(3).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter(chunks).boxed()),
            meta: ObjectMeta {
                location: location.clone(),
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size,
                e_tag: Some("\"tag\"".to_owned()),
                version: version.map(str::to_owned),
            },
            range,
            attributes: Attributes::new(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        locations
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> object_store::Result<ListResult> {
        Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Ok(())
    }
}

fn scripted(replies: impl IntoIterator<Item = Reply>) -> PinnedObject {
    let identity = FileIdentity {
        uri: "s3://host/bucket/a.parquet".to_owned(),
        size: 10,
        tag: ContentTag::ETag("tag".to_owned()),
    };
    PinnedObject::new(Script::new(replies), Path::from("a.parquet"), identity)
}

fn body(length: usize) -> Reply {
    Reply::Body { bytes: numbered(length), size: 10, version: None }
}

#[tokio::test]
async fn a_short_answer_is_asked_for_again_once() {
    let stats = IoStats::default();
    let object = scripted([body(5), body(8)]);
    assert_eq!(object.read_range(0..8, &stats).await.unwrap()[..], numbered(8));
    assert_eq!(stats.counts().read_requests, 2);

    for wrong in [0, 5, 9, 30] {
        let object = scripted([body(wrong), body(wrong), body(8)]);
        let error = object.read_range(0..8, &stats).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{wrong}");
        assert!(error.message().contains("of the 8 bytes at 0 of file s3://host"), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_caught() {
    let other = Reply::Body { bytes: numbered(8), size: 11, version: None };
    let object = scripted([other]);
    let error = object.read_range(0..8, &IoStats::default()).await.unwrap_err();
    assert_changed(&error, &object);
}

#[tokio::test]
async fn errors_of_the_store_keep_their_meaning() {
    let status = |text| format!("Server returned non-2xx status code: {text}");
    for (text, kind) in [
        ("403 Forbidden: <Code>AccessDenied</Code>", ErrorKind::PermissionDenied),
        ("503 Slow Down: <Code>SlowDown</Code>", ErrorKind::Unavailable),
        ("404 Not Found: <Code>NoSuchKey</Code>", ErrorKind::NotFound),
    ] {
        let text: &'static str = Box::leak(status(text).into_boxed_str());
        let object = scripted([Reply::Status(text)]);
        let error = object.read_range(0..8, &IoStats::default()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.message().contains("s3://host/bucket/a.parquet"), "{error}");
    }
    // A range that does not fit the file any more: the second answer tells why.
    let now = Reply::Body { bytes: vec![], size: 3, version: None };
    let text = "Server returned non-2xx status code: 416 Range Not Satisfiable: ";
    let object = scripted([Reply::Status(text), now]);
    let error = object.read_range(4..8, &IoStats::default()).await.unwrap_err();
    assert_changed(&error, &object);
    assert!(error.message().contains("found (3 bytes"), "{error}");
    // The same answer about a file that is as it was.
    let object = scripted([Reply::Status(text), body(0)]);
    let error = object.read_range(4..8, &IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
