use std::fs;

use object_store::ObjectStoreExt;
use tempfile::TempDir;

use super::*;
use crate::listing::list_flat_prefix;
use crate::{IoStats, PinnedObject};

struct Lake {
    _directory: TempDir,
    root: PathBuf,
    outside: PathBuf,
}

/// A root with a table of one file, and a directory beside the root.
fn lake() -> Lake {
    let directory = TempDir::new().unwrap();
    let base = directory.path().canonicalize().unwrap();
    let (root, outside) = (base.join("root"), base.join("outside"));
    fs::create_dir_all(root.join("table")).unwrap();
    fs::create_dir_all(outside.join("table")).unwrap();
    fs::write(root.join("table/a.parquet"), "inside").unwrap();
    fs::write(outside.join("table/a.parquet"), "outside").unwrap();
    Lake { _directory: directory, root, outside }
}

fn uri(path: &FsPath) -> SourceUri {
    SourceUri::parse(&format!("file://{}", path.display())).unwrap()
}

async fn files(root: &SourceRoot) -> Result<Vec<PinnedObject>> {
    list_flat_prefix(root, ".parquet", &IoStats::default()).await
}

#[tokio::test]
async fn a_table_below_a_root_can_be_listed_and_read() {
    let lake = lake();
    let roots = LocalRoots::new([&lake.root]).unwrap();
    let root = open_local(&uri(&lake.root.join("table")), &roots).unwrap();
    let files = files(&root).await.unwrap();
    assert_eq!(files.len(), 1);
    let expected = format!("file://{}/table/a.parquet", lake.root.display());
    assert_eq!(files[0].identity.uri, expected);
    assert_eq!(files[0].read_all(&IoStats::default()).await.unwrap(), "inside");
    let write = root.store.put(&files[0].location, "x".into()).await;
    assert!(matches!(write, Err(StoreError::PermissionDenied { .. })));
}

#[test]
fn without_roots_every_file_source_is_refused() {
    let lake = lake();
    for path in [lake.root.as_path(), FsPath::new("/etc"), FsPath::new("/no/such/thing")] {
        let error = open_local(&uri(path), &LocalRoots::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("--local-root DIR"), "{error}");
    }
}

#[test]
fn what_is_not_below_a_root_is_refused_without_being_looked_at() {
    let lake = lake();
    let roots = LocalRoots::new([&lake.root]).unwrap();
    // A name that begins like the root is not below it.
    let beside = PathBuf::from(format!("{}2", lake.root.display()));
    for path in [lake.outside.clone(), lake.outside.join("missing"), "/etc".into(), beside] {
        let error = open_local(&uri(&path), &roots).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", path.display());
        assert!(error.message().contains("--local-root DIR"), "{error}");
    }
    let missing = open_local(&uri(&lake.root.join("missing")), &roots).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let file = open_local(&uri(&lake.root.join("table/a.parquet")), &roots).unwrap_err();
    assert_eq!(file.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn roots_must_be_directories() {
    let lake = lake();
    for root in [lake.root.join("missing"), lake.root.join("table/a.parquet")] {
        let error = LocalRoots::new([root]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_lead_no_way_out() {
    use std::os::unix::fs::symlink;
    let lake = lake();
    let roots = LocalRoots::new([&lake.root]).unwrap();
    symlink(lake.outside.join("table"), lake.root.join("link")).unwrap();
    let error = open_local(&uri(&lake.root.join("link")), &roots).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);

    // A file that is a link to the outside, before and after the source is opened.
    let root = open_local(&uri(&lake.root.join("table")), &roots).unwrap();
    let before = files(&root).await.unwrap();
    symlink(lake.outside.join("table/a.parquet"), lake.root.join("table/b.parquet")).unwrap();
    let error = files(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let all: Vec<_> = root.store.list(Some(&root.prefix)).collect::<Vec<_>>().await;
    assert!(all.iter().any(std::result::Result::is_err));
    fs::remove_file(lake.root.join("table/b.parquet")).unwrap();

    // The directory is exchanged for a link after the listing.
    fs::rename(lake.root.join("table"), lake.root.join("moved")).unwrap();
    symlink(lake.outside.join("table"), lake.root.join("table")).unwrap();
    let error = before[0].read_all(&IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(files(&root).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[cfg(unix)]
#[tokio::test]
async fn a_root_may_be_a_link_and_links_inside_it_are_followed() {
    use std::os::unix::fs::symlink;
    let lake = lake();
    let alias = lake.root.with_file_name("alias");
    symlink(&lake.root, &alias).unwrap();
    symlink(lake.root.join("table/a.parquet"), lake.root.join("table/b.parquet")).unwrap();
    let roots = LocalRoots::new([&alias]).unwrap();
    for path in [alias.join("table"), lake.root.join("table")] {
        let root = open_local(&uri(&path), &roots).unwrap();
        let files = files(&root).await.unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[1].read_all(&IoStats::default()).await.unwrap(), "inside");
        let canonical = format!("file://{}/", lake.root.display());
        assert!(files[0].identity.uri.starts_with(&canonical));
    }
}

#[tokio::test]
async fn a_directory_that_vanished_is_not_found() {
    let lake = lake();
    let roots = LocalRoots::new([&lake.root]).unwrap();
    let root = open_local(&uri(&lake.root.join("table")), &roots).unwrap();
    fs::remove_dir_all(lake.root.join("table")).unwrap();
    let error = files(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("root/table"), "{error}");
}

#[tokio::test]
async fn odd_names_are_read_under_their_own_name() {
    let lake = lake();
    let roots = LocalRoots::new([&lake.root]).unwrap();
    let names = ["50%.parquet", "a b.parquet", "%20.parquet", "ü#?.parquet"];
    fs::create_dir(lake.root.join("odd dir%")).unwrap();
    for name in names {
        fs::write(lake.root.join("odd dir%").join(name), name).unwrap();
    }
    let source = SourceUri::parse(&format!("file://{}/odd%20dir%25", lake.root.display())).unwrap();
    let root = open_local(&source, &roots).unwrap();
    let files = files(&root).await.unwrap();
    assert_eq!(files.len(), names.len());
    for file in files {
        let bytes = file.read_all(&IoStats::default()).await.unwrap();
        let name = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(file.identity.uri.ends_with(&format!("/{name}")), "{}", file.identity.uri);
    }
}
