//! A prefix of Parquet files as a source.

use async_trait::async_trait;
use pandion_source::{
    Connector, IoStats, SourceFile, SourceRoot, SourceState, list_flat_prefix,
};
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
    async fn resolve(&self, stats: &IoStats) -> Result<SourceState> {
        let objects = list_flat_prefix(&self.root, EXTENSION, stats).await?;
        Ok(SourceState { files: objects.into_iter().map(|object| SourceFile { object }).collect() })
    }
}
