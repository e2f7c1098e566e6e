use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use pandion_types::ErrorKind;

use super::*;

async fn root(keys: &[&str], prefix: &str) -> SourceRoot {
    let store = Arc::new(InMemory::new());
    for key in keys {
        store.put(&Path::from(*key), "x".into()).await.unwrap();
    }
    let base_uri = "s3://host/bucket/".to_owned();
    SourceRoot { store, base_uri, prefix: Path::from(prefix) }
}

async fn names(root: &SourceRoot) -> Vec<String> {
    let files = list_flat_prefix(root, ".parquet", &IoStats::default()).await.unwrap();
    files.into_iter().map(|file| file.identity.uri).collect()
}

#[tokio::test]
async fn only_data_files_directly_under_the_prefix_are_listed_in_order() {
    let keys = [
        "t/b.parquet",
        "t/a.parquet",
        "t/A.PARQUET",
        "t/sub/c.parquet",
        "t/_SUCCESS",
        "t/_hidden.parquet",
        "t/.hidden.parquet",
        "t/a.parquet.crc",
        "t/README.md",
        "t/parquet",
        "t2/d.parquet",
        "t.parquet",
    ];
    let expected = ["s3://host/bucket/t/a.parquet", "s3://host/bucket/t/b.parquet"];
    assert_eq!(names(&root(&keys, "t").await).await, expected);
    assert_eq!(names(&root(&keys, "").await).await, ["s3://host/bucket/t.parquet"]);
    assert!(names(&root(&keys, "none").await).await.is_empty());
}

#[tokio::test]
async fn a_listing_counts_its_pages_and_reads_nothing() {
    let keys: Vec<_> = (0..1001).map(|number| format!("t/{number}.parquet")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    for (count, pages) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
        let root = root(&keys[..count], "t").await;
        let stats = IoStats::default();
        assert_eq!(list_flat_prefix(&root, ".parquet", &stats).await.unwrap().len(), count);
        let counts = stats.counts();
        assert_eq!((counts.list_requests, counts.read_requests), (pages, 0), "{count}");
    }
}

#[tokio::test]
async fn the_pages_that_a_client_asks_for_are_counted_per_listing() {
    let listing = |pages: usize| async move {
        for _ in 0..pages {
            count_page();
            tokio::task::yield_now().await;
        }
        pages
    };
    let (first, second) = tokio::join!(count_pages(listing(3)), count_pages(listing(5)));
    assert_eq!((first, second), ((3, 3), (5, 5)));
    // Outside of a listing there is nothing to count, and nothing breaks.
    count_page();
}

fn meta(e_tag: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        location: Path::from("t/a.parquet"),
        last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
        size: 3,
        e_tag: e_tag.map(str::to_owned),
        version: None,
    }
}

#[tokio::test]
async fn files_without_a_strong_entity_tag_are_refused_by_name() {
    let root = root(&[], "t").await;
    for tag in [None, Some(""), Some("\"\""), Some("W/\"weak\""), Some("a\r\nb"), Some("ü")] {
        let error = pin(&root, meta(tag)).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::Unsupported, Subject::Source));
        assert!(error.message().contains("s3://host/bucket/t/a.parquet"), "{error}");
    }
    let pinned = pin(&root, meta(Some("\"strong\""))).unwrap();
    assert_eq!(pinned.identity.tag, ContentTag::ETag("\"strong\"".to_owned()));
    assert_eq!(pinned.identity.size, 3);
}
