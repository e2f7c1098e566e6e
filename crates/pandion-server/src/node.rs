//! What stands behind every door: the catalogue, refresh jobs, snapshots and the query engine.

use std::path::Path;
use std::sync::Arc;

use pandion_catalog::{
    Catalog, CatalogOptions, Collection, ObjectMetastore, PublishPolicy, SourceBinding,
};
use pandion_query::{EngineOptions, QueryEngine, ScalarSegments, Snapshot};
use pandion_refresh::{IndexService, ManifestStore, RefreshService, Snapshots, SourceOpener};
use pandion_source::{DurableLocalStore, EndpointPolicy, LocalRoots, SnapshotChoice};
use pandion_types::{Error, Result, Subject};

use crate::ServerOptions;
use crate::clock;
use crate::iterators::Iterators;
use crate::metrics::Metrics;
use crate::query_threads::QueryThreads;

/// One server's state. Everything durable is in the catalogue and the manifests.
#[derive(Debug)]
pub(crate) struct Node {
    catalog: Arc<Catalog>,
    engine: Arc<QueryEngine>,
    sources: Arc<SourceOpener>,
    snapshots: Arc<Snapshots>,
    refresh: Arc<RefreshService>,
    indexes: Arc<IndexService>,
    publish: PublishPolicy,
    metrics: Metrics,
    threads: QueryThreads,
    iterators: Iterators,
    /// Held for as long as the node lives, so that no second server uses the directory.
    _lock: std::fs::File,
}

impl Node {
    pub(crate) async fn open(options: &ServerOptions) -> Result<Arc<Self>> {
        let lock = lock(&options.data_dir)?;
        let store = Arc::new(DurableLocalStore::open(&options.data_dir)?);
        let metastore = Arc::new(ObjectMetastore::open(Arc::clone(&store) as _).await?);
        let catalog_options = CatalogOptions {
            owner: format!("pid {}", std::process::id()),
            ..CatalogOptions::default()
        };
        let catalog = Arc::new(Catalog::open(metastore, catalog_options).await?);
        let segments = ScalarSegments::load(Arc::clone(&store) as _, options.scalar_index_bytes);
        let segments = Arc::new(segments.await?);
        let engine_options = EngineOptions {
            vector_cache_bytes: options.vector_cache_bytes,
            column_cache_bytes: options.column_cache_bytes,
            matches_cache_bytes: options.matches_cache_bytes,
            scalar_segments: Some(Arc::clone(&segments)),
            ..EngineOptions::default()
        };
        let engine = Arc::new(QueryEngine::new(&engine_options)?);
        let policy = Arc::new(EndpointPolicy::new(&options.allow_endpoints)?);
        let roots = LocalRoots::new(&options.local_roots)?;
        let sources = SourceOpener::new(policy, roots).with_named(options.named_sources.clone());
        let sources = Arc::new(sources);
        let manifests = ManifestStore::new(store);
        let snapshots =
            Arc::new(Snapshots::new(Arc::clone(&catalog), manifests.clone(), Arc::clone(&sources)));
        let indexes = Arc::new(IndexService::new(
            Arc::clone(&catalog),
            manifests.clone(),
            Arc::clone(&sources),
            segments,
            // Half of the machine stays for queries.
            engine_options.threads / 2,
        ));
        let refresh = Arc::new(RefreshService::new(
            Arc::clone(&catalog),
            manifests,
            Arc::clone(&sources),
            Arc::clone(&snapshots),
            Arc::clone(&engine),
            Arc::clone(&indexes),
            Arc::new(clock::unix_ms),
        ));
        refresh.recover().await?;
        Ok(Arc::new(Self {
            catalog,
            engine,
            sources,
            snapshots,
            refresh,
            indexes,
            publish: options.publish,
            metrics: Metrics::default(),
            threads: QueryThreads::start()?,
            iterators: Iterators::default(),
            _lock: lock,
        }))
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(crate) fn engine(&self) -> &Arc<QueryEngine> {
        &self.engine
    }

    pub(crate) fn refresh(&self) -> &Arc<RefreshService> {
        &self.refresh
    }

    pub(crate) fn indexes(&self) -> &Arc<IndexService> {
        &self.indexes
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The threads that searches and queries run on.
    pub(crate) fn threads(&self) -> &QueryThreads {
        &self.threads
    }

    /// The search iterators that are under way.
    pub(crate) fn iterators(&self) -> &Iterators {
        &self.iterators
    }

    pub(crate) fn publish_policy(&self) -> PublishPolicy {
        self.publish
    }

    /// Checks a source as a user gave it, the addresses that it leads to included. Both empty means
    /// that a refresh is to give them.
    pub(crate) async fn check_source(
        &self,
        source: &str,
        spec: &str,
    ) -> Result<Option<SourceBinding>> {
        self.sources.check_optional(source, spec).await
    }

    /// The version of a collection that queries read now.
    pub(crate) async fn snapshot(&self, collection: &Arc<Collection>) -> Result<Arc<Snapshot>> {
        if !collection.loaded {
            return Err(Error::conflict("collection not loaded")
                .about(Subject::Load)
                .with("collection", &collection.name));
        }
        self.snapshots.serving(collection).await
    }

    /// The version of a collection that a request reads: the one that is served, or the one that it
    /// chooses.
    pub(crate) async fn snapshot_at(
        &self,
        collection: &Arc<Collection>,
        choice: Option<&SnapshotChoice>,
    ) -> Result<Arc<Snapshot>> {
        let serving = self.snapshot(collection).await?;
        match choice {
            None => Ok(serving),
            Some(choice) => self.snapshots.travel(collection, choice).await,
        }
    }

    /// Lets go of what is kept for collections that no longer exist.
    pub(crate) fn forget_dropped(&self) {
        self.snapshots.forget_dropped();
    }
}

/// Takes the data directory for this process.
fn lock(data_dir: &Path) -> Result<std::fs::File> {
    let failed = |what: &str, error: std::io::Error| {
        Error::unavailable(format!("data directory {} {what}: {error}", data_dir.display()))
            .caused_by(error)
    };
    std::fs::create_dir_all(data_dir).map_err(|error| failed("could not be made", error))?;
    restrict(data_dir).map_err(|error| failed("could not be kept to its owner", error))?;
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join("lock"))
        .map_err(|error| failed("could not be locked", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::unavailable(format!(
            "data directory {} is in use by another server",
            data_dir.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(failed("could not be locked", error)),
    }
}

/// The catalogue holds credentials of sources: nobody but the owner may look.
fn restrict(data_dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700))
}
