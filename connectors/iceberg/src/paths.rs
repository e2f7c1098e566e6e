//! The absolute URIs of a table's files, as places in the source's store.
//!
//! A table names its files by bucket and key and under whatever scheme its writer used (`s3`,
//! `s3a`, `gs`, `abfss`); the endpoint is the source's. What lies in another bucket is refused: the
//! source's credentials and the policy about endpoints do not speak for it.

use object_store::path::Path;
use pandion_source::SourceRoot;
use pandion_types::Result;

use crate::guard::{corrupt, unsupported};

/// Schemes under which a URI names a file of a machine.
const FILE_SCHEME: &str = "file";

/// Finds the files of a table in the store of its source.
#[derive(Clone, Debug)]
pub(crate) struct TablePaths {
    /// Bucket or container of the store; `None` for files of this machine.
    bucket: Option<String>,
    /// The folder that nothing outside of is read; empty for the whole store.
    folder: Path,
}

impl TablePaths {
    pub(crate) fn new(root: &SourceRoot) -> Self {
        let (scheme, rest) = root.base_uri.split_once("://").unwrap_or_default();
        if scheme == FILE_SCHEME {
            return Self { bucket: None, folder: Path::default() };
        }
        let bucket = rest.rsplit('/').find(|segment| !segment.is_empty());
        let bucket = Some(bucket.unwrap_or_default().to_owned());
        Self { bucket, folder: Path::default() }
    }

    /// The same, restricted to a folder: what a catalog says of a table's place is not chosen by
    /// whoever named the source.
    pub(crate) fn within(self, folder: Path) -> Self {
        Self { folder, ..self }
    }

    /// Where a file of the table lies. The key is taken literally, as the stores do: a `%` in it is
    /// a `%`.
    ///
    /// # Errors
    /// `Unsupported`, naming file and bucket or folder, for what lies elsewhere or cannot be named
    /// in an object store; `Corrupt` for what is no URI.
    pub(crate) fn locate(&self, uri: &str) -> Result<Path> {
        let key = match (&self.bucket, split(uri)) {
            (_, None) => return Err(corrupt(format!("the table names a file {uri:?}, not a URI"))),
            (None, Some((FILE_SCHEME, _, key))) => key,
            (Some(bucket), Some((scheme, named, key))) if scheme != FILE_SCHEME => {
                if named != bucket {
                    return Err(unsupported(format!(
                        "file {uri} of the table lies in bucket {named:?}, but the source is \
                         bucket {bucket:?}: tables that spread over several buckets are not \
                         supported"
                    )));
                }
                key
            }
            _ => {
                return Err(unsupported(format!(
                    "file {uri} of the table does not lie in the store of the source"
                )));
            }
        };
        let path = Path::parse(key).map_err(|error| {
            unsupported(format!(
                "file {uri} of the table has a path with an empty or relative segment, which \
                 cannot be read"
            ))
            .caused_by(error)
        })?;
        if !path.prefix_matches(&self.folder) {
            return Err(unsupported(format!(
                "file {uri} of the table does not lie below {:?}, the folder that external_source \
                 names",
                self.folder.as_ref()
            )));
        }
        Ok(path)
    }
}

/// Scheme in lower case for files and as written else, bucket, and key of a URI.
fn split(uri: &str) -> Option<(&str, &str, &str)> {
    if uri.starts_with('/') {
        return Some((FILE_SCHEME, "", uri));
    }
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    if scheme.eq_ignore_ascii_case(FILE_SCHEME) {
        // `file:/x`, `file:///x` and `file://localhost/x` are all written.
        let path = match rest.strip_prefix("//") {
            Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
            None => rest,
        };
        return path.starts_with('/').then_some((FILE_SCHEME, "", path));
    }
    let (authority, key) = rest.strip_prefix("//")?.split_once('/')?;
    // `container@account.host`, as Azure's schemes have it.
    let bucket = authority.split_once('@').map_or(authority, |(container, _)| container);
    Some((scheme, bucket, key))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use pandion_types::ErrorKind;

    use super::*;

    fn paths(base_uri: &str) -> TablePaths {
        let root = SourceRoot {
            store: Arc::new(InMemory::new()),
            base_uri: base_uri.to_owned(),
            prefix: Path::default(),
        };
        TablePaths::new(&root)
    }

    #[test]
    fn the_bucket_counts_and_the_scheme_does_not() {
        let lake = paths("s3://127.0.0.1:9000/lake/");
        for uri in ["s3://lake/a/b.parquet", "s3a://lake/a/b.parquet", "gs://lake/a/b.parquet"] {
            assert_eq!(lake.locate(uri).unwrap().as_ref(), "a/b.parquet");
        }
        let azure = lake.locate("abfss://lake@account.dfs.core.windows.net/a/b.parquet");
        assert_eq!(azure.unwrap().as_ref(), "a/b.parquet");
        let elsewhere = lake.locate("s3://pond/a/b.parquet").unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::Unsupported);
        assert!(elsewhere.message().contains("s3://pond/a/b.parquet"), "{elsewhere}");
        assert!(elsewhere.message().contains("\"lake\""), "{elsewhere}");
        assert_eq!(lake.locate("file:///a").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(lake.locate("a/b").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_folder_is_not_left() {
        let lake = paths("s3://lake/").within(Path::from("wh/one"));
        assert_eq!(lake.locate("s3://lake/wh/one/t/a").unwrap().as_ref(), "wh/one/t/a");
        for uri in ["s3://lake/wh/two/t/a", "s3://lake/wh/ones/t/a", "s3://lake/wh"] {
            let error = lake.locate(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("\"wh/one\""), "{error}");
        }
    }

    #[test]
    fn keys_are_literal() {
        let lake = paths("s3://lake/");
        let key = "ns/t/data/day=2026-01-01%2000%3A/größe ü+&?.parquet";
        assert_eq!(lake.locate(&format!("s3://lake/{key}")).unwrap().as_ref(), key);
        let empty = lake.locate("s3://lake/wh//t/a.parquet").unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn files_of_this_machine_have_many_spellings() {
        let local = paths("file:///");
        for uri in ["file:/tmp/t/a", "file:///tmp/t/a", "FILE://localhost/tmp/t/a", "/tmp/t/a"] {
            assert_eq!(local.locate(uri).unwrap().as_ref(), "tmp/t/a", "{uri}");
        }
        assert_eq!(local.locate("s3://lake/a").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
