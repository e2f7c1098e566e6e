//! The versions that collections serve, ready to be queried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::ObjectStore;
use pandion_catalog::{Catalog, Collection, ManifestPointer};
use pandion_manifest::Manifest;
use pandion_query::{IndexedField, Snapshot};
use pandion_source::{IoStats, SnapshotChoice};
use pandion_types::{CollectionId, ManifestVersion, Result};

use crate::indexes::indexed_fields;
use crate::manifests::ManifestStore;
use crate::sources::{OpenSource, SourceOpener};
use crate::travel::{self, Travelled};

/// Snapshots of what is served now, one per collection, made when first asked for.
#[derive(Debug)]
pub struct Snapshots {
    catalog: Arc<Catalog>,
    manifests: ManifestStore,
    sources: Arc<SourceOpener>,
    kept: Mutex<HashMap<CollectionId, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    version: ManifestVersion,
    /// What the store was opened from: when it changes, files are opened anew.
    source: SourceKey,
    snapshot: Arc<Snapshot>,
    /// Other snapshots of the same table.
    travelled: Travelled<Snapshot>,
}

/// The collection's source as the catalogue has it. Secrets are compared by a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SourceKey {
    source: String,
    spec: String,
    secret: Option<blake3::Hash>,
}

impl Snapshots {
    /// No snapshot yet.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        manifests: ManifestStore,
        sources: Arc<SourceOpener>,
    ) -> Self {
        Self { catalog, manifests, sources, kept: Mutex::default() }
    }

    /// The version that a loaded collection serves. A collection that was never refreshed serves no
    /// rows.
    ///
    /// # Errors
    /// Those of reading the manifest and of opening the source.
    pub async fn serving(&self, collection: &Arc<Collection>) -> Result<Arc<Snapshot>> {
        match collection.serving() {
            Some(pointer) => self.at(collection, pointer).await,
            None => Ok(Arc::new(empty(collection))),
        }
    }

    /// The collection as another snapshot of its table has it: files, deletes and segments that
    /// both have are shared. Reads metadata of the table when the snapshot was not asked for
    /// lately.
    ///
    /// # Errors
    /// `NotFound` about the source when the table does not have the snapshot; `Unsupported` when
    /// the collection's source has none; as [`Self::serving`].
    pub async fn travel(
        &self,
        collection: &Arc<Collection>,
        choice: &SnapshotChoice,
    ) -> Result<Arc<Snapshot>> {
        let serving = self.serving(collection).await?;
        let version = serving.manifest().version;
        let kept = self
            .lock()
            .get_mut(&collection.id)
            .and_then(|kept| kept.travelled.get(choice).filter(|_| kept.version == version));
        if let Some(kept) = kept {
            let indexed = indexed_fields(collection);
            if kept.scalar_indexes() == indexed {
                return Ok(kept);
            }
            return Ok(Arc::new(Snapshot::clone(&kept).with_scalar_indexes(indexed)));
        }
        let opened = self.open(collection).await?;
        let connector = opened.connector(serving.schema());
        let stats = IoStats::default();
        let manifest =
            travel::manifest_at(connector.as_ref(), choice, serving.manifest(), &stats).await?;
        let same =
            |manifest: &Manifest| manifest.table.as_ref().and_then(|table| table.snapshot_id);
        let snapshot = if same(&manifest) == same(serving.manifest()) {
            serving
        } else {
            let (schema, store) = (Arc::clone(serving.schema()), Arc::clone(serving.store()));
            let snapshot = Snapshot::new(schema, Arc::new(manifest), store, Some(&serving));
            Arc::new(snapshot.with_scalar_indexes(indexed_fields(collection)))
        };
        // What a branch or the table's head names now, it may not name with the next request.
        let lasts = !matches!(choice, SnapshotChoice::Latest | SnapshotChoice::Branch(_));
        if let Some(kept) = self.lock().get_mut(&collection.id)
            && kept.version == version
            && lasts
        {
            kept.travelled.insert(choice.clone(), Arc::clone(&snapshot));
        }
        Ok(snapshot)
    }

    /// The version that was last asked for, if it is still kept.
    pub(crate) fn kept(&self, collection: CollectionId) -> Option<Arc<Snapshot>> {
        self.lock().get(&collection).map(|kept| Arc::clone(&kept.snapshot))
    }

    /// Forgets collections that the catalogue no longer has.
    pub fn forget_dropped(&self) {
        let state = self.catalog.state();
        self.lock().retain(|id, _| state.collection_by_id(*id).is_ok());
    }

    async fn at(
        &self,
        collection: &Arc<Collection>,
        pointer: &ManifestPointer,
    ) -> Result<Arc<Snapshot>> {
        let kept = self.lock().get(&collection.id).cloned();
        // A version belongs to the source that it was read from, also when a refresh that is yet to
        // be loaded has moved the collection to another one.
        let indexed = indexed_fields(collection);
        if let Some(kept) = &kept
            && kept.version == pointer.version
            && kept.snapshot.schema().version == collection.schema.version
        {
            if kept.snapshot.scalar_indexes() == indexed {
                return Ok(Arc::clone(&kept.snapshot));
            }
            return Ok(self.with_indexes(collection, kept, indexed));
        }
        let source = self.source_key(collection);
        let previous = kept.filter(|kept| kept.source == source);
        let manifest = Arc::new(self.manifests.read(pointer).await?);
        let store = match &previous {
            Some(kept) => Arc::clone(kept.snapshot.store()),
            None => self.open(collection).await?.root.store,
        };
        let schema = Arc::new(collection.schema.clone());
        let previous = previous.as_ref().map(|kept| kept.snapshot.as_ref());
        let snapshot = Snapshot::new(schema, manifest, store, previous);
        let snapshot = Arc::new(snapshot.with_scalar_indexes(indexed));
        let kept = Kept {
            version: pointer.version,
            source,
            snapshot: Arc::clone(&snapshot),
            travelled: Travelled::default(),
        };
        self.lock().insert(collection.id, kept);
        Ok(snapshot)
    }

    /// The version that is kept, with the indexes that the collection has now.
    fn with_indexes(
        &self,
        collection: &Collection,
        kept: &Kept,
        indexed: Vec<IndexedField>,
    ) -> Arc<Snapshot> {
        let before = kept.snapshot.as_ref();
        let (schema, manifest) = (Arc::clone(before.schema()), Arc::clone(before.manifest()));
        let store = Arc::clone(before.store());
        let snapshot = Snapshot::new(schema, manifest, store, Some(before));
        let snapshot = Arc::new(snapshot.with_scalar_indexes(indexed));
        let kept = Kept { snapshot: Arc::clone(&snapshot), ..kept.clone() };
        self.lock().insert(collection.id, kept);
        snapshot
    }

    async fn open(&self, collection: &Collection) -> Result<OpenSource> {
        let state = self.catalog.state();
        let schema = &collection.schema;
        self.sources
            .open(&schema.external_source, &schema.external_spec, state.secret(collection.id))
            .await
    }

    fn source_key(&self, collection: &Collection) -> SourceKey {
        let state = self.catalog.state();
        let secret = state.secret(collection.id);
        SourceKey {
            source: collection.schema.external_source.clone(),
            spec: collection.schema.external_spec.clone(),
            secret: secret.map(|secret| blake3::hash(secret.expose().as_bytes())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CollectionId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot without files, which therefore reads nothing.
fn empty(collection: &Collection) -> Snapshot {
    let manifest = Manifest {
        collection: collection.id,
        version: ManifestVersion(0),
        next_file_id: 1,
        schema_version: collection.schema.version,
        table: None,
        files: Vec::new(),
    };
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    Snapshot::new(Arc::new(collection.schema.clone()), Arc::new(manifest), store, None)
}
