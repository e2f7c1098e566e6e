//! A prefix of Parquet files as a source.

use async_trait::async_trait;
use pandion_manifest::Manifest;
use pandion_source::{Connector, IoStats, SourceFile, SourceRoot, SourceState, list_flat_prefix};
use pandion_types::Result;

/// What the names of data files end in.
const EXTENSION: &str = ".parquet";

/// The Parquet files that lie directly under a prefix; folders below it are not looked into.
#[derive(Clone, Debug)]
pub struct ParquetConnector {
    root: SourceRoot,
}

impl ParquetConnector {
    /// A connector to the files under the root's prefix.
    #[must_use]
    pub fn new(root: SourceRoot) -> Self {
        Self { root }
    }
}

#[async_trait]
impl Connector for ParquetConnector {
    async fn resolve(&self, _before: Option<&Manifest>, stats: &IoStats) -> Result<SourceState> {
        let objects = list_flat_prefix(&self.root, EXTENSION, stats).await?;
        let files = objects.into_iter().map(SourceFile::Found).collect();
        Ok(SourceState { files, table: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;

    #[tokio::test]
    async fn parquet_files_directly_under_the_prefix_are_the_source() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let names = ["p/b.parquet", "p/a.parquet", "p/deep/c.parquet", "p/d.csv", "q/e.parquet"];
        for name in names {
            store.put(&Path::from(name), "content".into()).await.unwrap();
        }
        let base_uri = "s3://bucket/".to_owned();
        let root = SourceRoot { store, base_uri, prefix: Path::from("p") };
        let stats = IoStats::default();
        let state = ParquetConnector::new(root).resolve(None, &stats).await.unwrap();
        let uris: Vec<_> = state.files.iter().map(|file| file.identity().uri.as_str()).collect();
        assert_eq!(uris, ["s3://bucket/p/a.parquet", "s3://bucket/p/b.parquet"]);
        let counts = stats.counts();
        assert_eq!((counts.list_requests, counts.read_requests), (1, 0));
    }
}
