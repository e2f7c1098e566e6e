//! Decoded vectors in memory, shared by all queries, within a budget of bytes.

use std::future::Future;
use std::sync::Arc;

use pandion_index::VectorBlock;
use pandion_source::IoStats;
use pandion_types::{FileIdentity, Result, VectorType};

use crate::cache::{ByteCache, CacheUsage, Weigh};

/// Names the vectors of one column in one row group of one file's content.
///
/// The identity is part of the name, so that a file that was overwritten can never be answered from
/// what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VectorKey {
    pub(crate) identity: FileIdentity,
    pub(crate) column: String,
    pub(crate) vector_type: VectorType,
    pub(crate) row_group: usize,
}

impl Weigh for VectorBlock {
    fn weigh(&self) -> usize {
        self.memory_bytes()
    }
}

/// Blocks of vectors, the least recently used of which leave when the budget is exceeded.
///
/// Blocks in use by a query stay alive until the query ends, whatever the budget says.
#[derive(Debug)]
pub struct VectorCache {
    blocks: ByteCache<VectorKey, VectorBlock>,
}

impl VectorCache {
    /// A cache that keeps up to `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { blocks: ByteCache::new(bytes_max) }
    }

    /// How full the cache is now.
    #[must_use]
    pub fn usage(&self) -> CacheUsage {
        self.blocks.usage()
    }

    /// The block, made by `load` when it is not there. Concurrent callers share one load; when it
    /// fails, the next caller tries again.
    pub(crate) async fn get_or_load<F>(
        &self,
        key: &VectorKey,
        stats: &IoStats,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Arc<VectorBlock>>
    where
        F: Future<Output = Result<VectorBlock>> + Send,
    {
        let load = || {
            let load = load();
            async move { load.await.map(Arc::new) }
        };
        let loaded = self.blocks.get_or_load(key, load).await;
        stats.count_cache(matches!(loaded, Ok((_, true))));
        loaded.map(|(block, _)| block)
    }
}

#[cfg(test)]
mod tests {
    use pandion_index::VectorBlockBuilder;
    use pandion_types::{ContentTag, VectorElement};

    use super::*;

    const VECTOR_TYPE: VectorType = VectorType { element: VectorElement::Float32, dim: 16 };

    fn key(tag: &str) -> VectorKey {
        VectorKey {
            identity: FileIdentity {
                uri: "s3://host/bucket/a".to_owned(),
                size: 1,
                tag: ContentTag::ETag(tag.into()),
            },
            column: "v".into(),
            vector_type: VECTOR_TYPE,
            row_group: 0,
        }
    }

    fn block() -> VectorBlock {
        let mut builder = VectorBlockBuilder::new(VECTOR_TYPE, 4).unwrap();
        builder.push_raw(&[0; 4 * 64]).unwrap();
        builder.finish().unwrap()
    }

    #[tokio::test]
    async fn blocks_are_kept_by_the_content_of_their_file() {
        let cache = VectorCache::new(1 << 20);
        let stats = IoStats::default();
        for tag in ["1", "1", "2", "1"] {
            cache.get_or_load(&key(tag), &stats, || async { Ok(block()) }).await.unwrap();
        }
        assert_eq!(cache.usage().entries, 2);
        assert!(cache.usage().bytes >= 2 * block().memory_bytes());
        assert_eq!((stats.counts().cache_hits, stats.counts().cache_misses), (2, 2));
    }
}
