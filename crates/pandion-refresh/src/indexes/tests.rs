#![expect(clippy::cast_precision_loss, reason = "the numbers are small")]

use std::collections::BTreeSet;

use arrow::array::{
    ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType as ArrowType, Field};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pandion_catalog::{
    CatalogOptions, CreateCollection, CreateIndex, IndexRecord, JobState, LoadRequest,
    ObjectMetastore, PropertyChange, PublishPolicy, RefreshJob,
};
use pandion_manifest::{DataFile, Manifest};
use pandion_query::{EngineOptions, QueryEngine};
use pandion_source::{EndpointPolicy, LocalRoots};
use pandion_types::{
    CollectionSchema, ContentTag, DataType, FieldId, FieldSchema, FileIdentity, ManifestVersion,
    VIRTUAL_PK_NAME,
};
use parquet::arrow::ArrowWriter;

mod lineage;

use super::*;
use crate::{RefreshService, Snapshots, WAIT_FOR_INDEX_PROPERTY};

const ROWS: i64 = 10;

/// A lake in a directory, and a server's own store in memory that survives its nodes.
struct World {
    lake: tempfile::TempDir,
    own: Arc<dyn ObjectStore>,
}

/// What one start of a server has.
struct Node {
    catalog: Arc<Catalog>,
    segments: Arc<ScalarSegments>,
    snapshots: Arc<Snapshots>,
    indexes: Arc<IndexService>,
    refresh: RefreshService,
}

impl World {
    fn new() -> Self {
        Self { lake: tempfile::tempdir().unwrap(), own: Arc::new(InMemory::new()) }
    }

    async fn node(&self) -> Node {
        self.node_with(&self.own).await
    }

    /// A start of a server whose own store is another one.
    async fn node_with(&self, own: &Arc<dyn ObjectStore>) -> Node {
        let metastore = ObjectMetastore::open(Arc::clone(own)).await.unwrap();
        let catalog = Catalog::open(Arc::new(metastore), CatalogOptions::default()).await.unwrap();
        let catalog = Arc::new(catalog);
        let segments = ScalarSegments::load(Arc::clone(own), 1 << 20).await.unwrap();
        let segments = Arc::new(segments);
        let options = EngineOptions { threads: 2, ..EngineOptions::default() };
        let engine = Arc::new(QueryEngine::new(&options).unwrap());
        let policy = Arc::new(EndpointPolicy::new::<String>([]).unwrap());
        let roots = LocalRoots::new([self.lake.path()]).unwrap();
        let sources = Arc::new(SourceOpener::new(policy, roots));
        let manifests = ManifestStore::new(Arc::clone(own));
        let snapshots =
            Snapshots::new(Arc::clone(&catalog), manifests.clone(), Arc::clone(&sources));
        let snapshots = Arc::new(snapshots);
        let indexes = Arc::new(IndexService::new(
            Arc::clone(&catalog),
            manifests.clone(),
            Arc::clone(&sources),
            Arc::clone(&segments),
            2,
        ));
        let refresh = RefreshService::new(
            Arc::clone(&catalog),
            manifests,
            sources,
            Arc::clone(&snapshots),
            engine,
            Arc::clone(&indexes),
            Arc::new(|| 0),
        );
        Node { catalog, segments, snapshots, indexes, refresh }
    }

    fn put(&self, name: &str, first: i64) {
        let texts = (first..first + ROWS).map(|row| Some(format!("s{row}")));
        self.put_with(name, first, Arc::new(texts.collect::<StringArray>()));
    }

    /// A file whose texts no index can hold, though the type of the column promises them.
    fn put_bad(&self, name: &str, first: i64) {
        let texts = vec![b"\xff\xfe".as_slice(); usize::try_from(ROWS).unwrap()];
        self.put_with(name, first, Arc::new(BinaryArray::from_vec(texts)));
    }

    fn put_with(&self, name: &str, first: i64, texts: ArrayRef) {
        let numbers: Int64Array = (first..first + ROWS).map(Some).collect();
        let components: Vec<f32> = (0..ROWS * 4).map(|at| (first + at) as f32).collect();
        let item = Arc::new(Field::new("item", ArrowType::Float32, true));
        let vectors =
            FixedSizeListArray::try_new(item, 4, Arc::new(Float32Array::from(components)), None);
        let columns: Vec<(&str, ArrayRef)> =
            vec![("N", Arc::new(numbers)), ("S", texts), ("V", Arc::new(vectors.unwrap()))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        std::fs::write(self.lake.path().join(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.lake.path().join(name)).unwrap();
    }

    async fn stored(&self) -> usize {
        let prefix = Path::from("indexes/scalar");
        self.own.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap().len()
    }

    async fn until_stored(&self, segments: usize) {
        let stored = async {
            while self.stored().await != segments {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), stored).await.unwrap();
    }

    async fn create(&self, node: &Node, name: &str) -> CollectionId {
        self.create_with(node, name, "{\"format\":\"parquet\"}").await
    }

    async fn create_with(&self, node: &Node, name: &str, spec: &str) -> CollectionId {
        let field = |id: i64, name: &str, data_type| FieldSchema {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            element_type: None,
            nullable: id != 100,
            is_primary_key: id == 100,
            auto_id: id == 100,
            external_field: (id != 100).then(|| name.to_uppercase()),
            type_params: [("dim".to_owned(), "4".to_owned())].into(),
        };
        let schema = CollectionSchema {
            fields: vec![
                field(100, VIRTUAL_PK_NAME, DataType::Int64),
                field(101, "n", DataType::Int64),
                field(102, "s", DataType::VarChar),
                field(103, "v", DataType::FloatVector),
            ],
            external_source: format!("file://{}", self.lake.path().display()),
            external_spec: spec.to_owned(),
            ..CollectionSchema::default()
        };
        let request = CreateCollection {
            database: String::new(),
            name: name.to_owned(),
            schema,
            secret: None,
            properties: BTreeMap::new(),
            consistency_level: 2,
            now_ms: 0,
        };
        node.catalog.create_collection(request).await.unwrap()
    }
}

impl Node {
    async fn index(&self, collection: &str, field: &str) -> IndexId {
        let request = CreateIndex {
            collection: collection.to_owned(),
            field: field.to_owned(),
            ..CreateIndex::default()
        };
        self.catalog.create_index(request).await.unwrap()
    }

    /// Refreshes and gives the job at its end.
    async fn refresh(&self, collection: &str) -> RefreshJob {
        let id = self.refresh.start("", collection, "", "").await.unwrap();
        let mut states = self.catalog.subscribe();
        loop {
            let job = states.borrow_and_update().job(id).unwrap().as_ref().clone();
            if !job.state.is_active() {
                self.until_unpinned().await;
                return job;
            }
            states.changed().await.unwrap();
        }
    }

    /// A job lets go of its segments a moment after its end can be seen.
    async fn until_unpinned(&self) {
        let pins = &self.indexes.inner.pins;
        while self.segments.keys().iter().any(|key| pins.holds(key)) {
            tokio::task::yield_now().await;
        }
    }

    async fn refreshed(&self, collection: &str) -> pandion_catalog::Receipt {
        let job = self.refresh(collection).await;
        assert_eq!((job.state, job.reason.as_str()), (JobState::Completed, ""));
        job.receipt
    }

    fn collection(&self, name: &str) -> Arc<Collection> {
        Arc::clone(self.catalog.state().collection("", name).unwrap())
    }

    async fn coverage(&self, collection: &str, index: IndexId) -> (IndexState, u64, u64) {
        let collection = self.collection(collection);
        let coverage = self.indexes.coverage(&collection).await.unwrap();
        let found = &coverage[&index];
        (found.state, found.rows_indexed, found.rows)
    }

    async fn complete(&self, collection: &str) {
        let id = self.collection(collection).id;
        self.indexes.inner.complete(id).await;
    }

    async fn collect(&self) -> usize {
        self.indexes.inner.collect_garbage().await.unwrap()
    }

    /// Waits for what the service does in the background.
    async fn until_covered(&self, collection: &str, index: IndexId, rows: u64) {
        let covered = async {
            while self.coverage(collection, index).await != (Finished, rows, rows) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), covered).await.unwrap();
    }
}

use IndexState::{Failed, Finished, InProgress};

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_builds_the_indexes_of_new_files_and_of_no_others() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "plain").await;
    world.create(&node, "c").await;
    let (n, s, v) =
        (node.index("c", "n").await, node.index("c", "s").await, node.index("c", "v").await);
    assert_eq!(node.coverage("c", n).await, (Finished, 0, 0));
    world.put("a.parquet", 0);
    world.put("b.parquet", 10);
    let plain = node.refreshed("plain").await;
    assert_eq!((plain.rows_indexed, plain.index_failures), (0, 0));
    // A footer and the vectors of each file.
    assert_eq!(plain.read_requests, 4);

    let first = node.refreshed("c").await;
    assert_eq!((first.rows, first.rows_indexed, first.index_failures), (20, 20, 0));
    // The vectors are in memory already; the two indexed columns of a file are read together.
    assert_eq!(first.read_requests, 4);
    for index in [n, s, v] {
        assert_eq!(node.coverage("c", index).await, (Finished, 20, 20));
    }
    assert_eq!(world.stored().await, 4);

    let again = node.refreshed("c").await;
    assert_eq!((again.list_requests, again.read_requests), (1, 0));
    assert_eq!((again.rows, again.rows_indexed), (20, 20));

    world.put("c.parquet", 20);
    let more = node.refreshed("c").await;
    assert_eq!((more.rows_indexed, more.read_requests), (30, 3));
    assert_eq!(node.coverage("c", s).await, (Finished, 30, 30));
    assert_eq!(world.stored().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_rows_that_are_there_is_built_in_the_background() {
    let world = World::new();
    let node = world.node().await;
    let id = world.create(&node, "c").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let n = node.index("c", "n").await;
    assert_eq!(node.coverage("c", n).await, (InProgress, 0, 10));
    node.complete("c").await;
    assert_eq!(node.coverage("c", n).await, (Finished, 10, 10));
    // Nothing is left to do, and nothing is done again.
    assert!(node.indexes.inner.pass(id).await.is_empty());
    assert_eq!(world.stored().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_does_not_wait_when_told_not_to() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    let n = node.index("c", "n").await;
    let set = [(WAIT_FOR_INDEX_PROPERTY.to_owned(), "false".to_owned())].into();
    let change = PropertyChange { set, delete: Vec::new() };
    node.catalog.alter_collection("", "c", change, 0).await.unwrap();
    world.put("a.parquet", 0);
    assert_eq!(node.refreshed("c").await.rows_indexed, 0);
    assert_eq!(node.coverage("c", n).await, (InProgress, 0, 10));
    node.complete("c").await;
    assert_eq!(node.coverage("c", n).await, (Finished, 10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_indexed_does_not_fail_the_refresh() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    let (n, s) = (node.index("c", "n").await, node.index("c", "s").await);
    world.put("a.parquet", 0);
    world.put_bad("b.parquet", 10);
    let receipt = node.refreshed("c").await;
    assert_eq!((receipt.rows, receipt.rows_indexed, receipt.index_failures), (20, 10, 1));
    for _ in 0..2 {
        assert_eq!(node.coverage("c", n).await, (Finished, 20, 20));
        assert_eq!(node.coverage("c", s).await, (Failed, 10, 20));
        let coverage = node.indexes.coverage(&node.collection("c")).await.unwrap();
        let reason = &coverage[&s].reason;
        assert!(reason.contains("b.parquet: index on field 's'"), "{reason}");
        node.complete("c").await;
    }
    world.put("b.parquet", 10);
    assert_eq!(node.refreshed("c").await.rows_indexed, 20);
    assert_eq!(node.coverage("c", s).await, (Finished, 20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_segments_that_nobody_needs_are_deleted() {
    let world = World::new();
    let node = world.node().await;
    for name in ["c", "d"] {
        world.create(&node, name).await;
        node.index(name, "n").await;
    }
    node.index("c", "s").await;
    world.put("a.parquet", 0);
    world.put("b.parquet", 10);
    node.refreshed("c").await;
    assert_eq!((world.stored().await, node.collect().await), (4, 0));
    // The other collection finds what the first one built.
    let receipt = node.refreshed("d").await;
    assert_eq!((receipt.rows_indexed, receipt.read_requests), (20, 2));
    assert_eq!(world.stored().await, 4);

    node.catalog.drop_index("", "c", "s").await.unwrap();
    assert_eq!((node.collect().await, world.stored().await), (2, 2));
    node.catalog.drop_index("", "c", "n").await.unwrap();
    assert_eq!(node.collect().await, 0);
    world.remove("b.parquet");
    node.refreshed("d").await;
    assert_eq!((node.collect().await, world.stored().await), (1, 1));
    node.catalog.drop_collection("", "c", 0).await.unwrap();
    assert_eq!(node.collect().await, 0);
    node.catalog.drop_collection("", "d", 0).await.unwrap();
    assert_eq!((node.collect().await, world.stored().await), (1, 0));
    assert!(node.indexes.inner.lock().needs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_may_serve_and_refreshes_under_way_keep_their_segments() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    node.index("c", "n").await;
    node.index("c", "v").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let load = LoadRequest {
        database: String::new(),
        collection: "c".to_owned(),
        publish: PublishPolicy::OnLoad,
        refresh: false,
    };
    node.catalog.load(load).await.unwrap();
    world.remove("a.parquet");
    world.put("b.parquet", 10);
    node.refreshed("c").await;
    // The loaded version is the one with the first file.
    assert_eq!((node.collect().await, world.stored().await), (0, 2));
    node.catalog.release("", "c").await.unwrap();
    let pin = node.indexes.inner.pins.pin(node.segments.keys());
    assert_eq!(node.collect().await, 0);
    drop(pin);
    assert_eq!((node.collect().await, world.stored().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_goes_on_where_the_last_one_ended() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let n = node.index("c", "n").await;
    // A refresh that was cut off before it published left the index of a file of no version.
    let orphan = Path::from(format!("indexes/scalar/{}", "ab".repeat(32)));
    world.own.put(&orphan, Bytes::from_static(b"x").into()).await.unwrap();
    drop(node);

    let node = world.node().await;
    assert_eq!(node.coverage("c", n).await, (InProgress, 0, 10));
    node.refresh.recover().await.unwrap();
    node.until_covered("c", n, 10).await;
    // The catalogue is watched: a new index, and one that is gone.
    let s = node.index("c", "s").await;
    node.until_covered("c", s, 10).await;
    node.catalog.drop_index("", "c", "n").await.unwrap();
    world.until_stored(1).await;
    // What a refresh that failed has built goes when the refresh ends.
    let collection = node.collection("c");
    let spec = collection.indexes[&s].scalar_spec(&collection.schema).unwrap().unwrap();
    let tag = ContentTag::ETag("of no version".to_owned());
    let identity = FileIdentity { uri: "file:///a".to_owned(), size: 1, tag };
    let orphan = SegmentKey::of_files(&one_file(identity), &collection.schema.fields[2], &spec)[0];
    let pin = node.indexes.inner.pins.pin(vec![orphan]);
    node.segments.put(&orphan, Bytes::from_static(b"index")).await.unwrap();
    assert_eq!(node.collect().await, 0);
    drop(pin);
    world.until_stored(1).await;
    assert_eq!(node.coverage("c", s).await, (Finished, 10, 10));
    node.refresh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_is_built_anew() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    let n = node.index("c", "n").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let [key] = node.segments.keys()[..] else { panic!("{:?}", node.segments.keys()) };
    let path = Path::from(format!("indexes/scalar/{key}"));
    world.own.put(&path, Bytes::from_static(b"damaged").into()).await.unwrap();
    node.refresh.recover().await.unwrap();
    assert!(node.segments.open(&key, 10).await.is_none());
    node.until_covered("c", n, 10).await;
    assert!(node.segments.open(&key, 10).await.is_some());
    assert_eq!(node.segments.damaged(), 1);
    node.refresh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_leaves_the_index_failed_until_it_is_back() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let n = node.index("c", "n").await;
    let away = world.lake.path().join("away");
    std::fs::rename(world.lake.path().join("a.parquet"), &away).unwrap();
    node.complete("c").await;
    assert_eq!(node.coverage("c", n).await, (Failed, 0, 10));
    std::fs::rename(&away, world.lake.path().join("a.parquet")).unwrap();
    node.complete("c").await;
    assert_eq!(node.coverage("c", n).await, (Finished, 10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_when_its_index_or_collection_is_dropped() {
    let world = World::new();
    let node = world.node().await;
    let id = world.create(&node, "c").await;
    node.index("c", "n").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let collection = node.collection("c");
    let pointer = collection.manifest.as_ref().unwrap();
    for drop_collection in [false, true] {
        let inner = &node.indexes.inner;
        let needs = inner.needs(&node.collection("c"), pointer).await.unwrap();
        let mut dropped = std::pin::pin!(inner.dropped(id, &needs));
        assert!(futures::poll!(&mut dropped).is_pending());
        if drop_collection {
            node.catalog.drop_collection("", "c", 0).await.unwrap();
        } else {
            node.catalog.drop_index("", "c", "n").await.unwrap();
        }
        dropped.await;
        if !drop_collection {
            node.index("c", "n").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_indexes_that_its_collection_has() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    node.index("c", "v").await;
    world.put("a.parquet", 0);
    node.refreshed("c").await;
    let load = LoadRequest {
        database: String::new(),
        collection: "c".to_owned(),
        publish: PublishPolicy::Immediate,
        refresh: false,
    };
    node.catalog.load(load).await.unwrap();
    let indexed = async || {
        let snapshot = node.snapshots.serving(&node.collection("c")).await.unwrap();
        let indexes = snapshot.scalar_indexes().iter();
        (indexes.map(|index| index.field.0).collect::<BTreeSet<_>>(), snapshot)
    };
    assert_eq!(indexed().await.0, BTreeSet::new());
    node.index("c", "n").await;
    node.index("c", "s").await;
    let (fields, first) = indexed().await;
    assert_eq!(fields, [101, 102].into());
    let (_, second) = indexed().await;
    assert!(Arc::ptr_eq(&first, &second));
    node.catalog.drop_index("", "c", "n").await.unwrap();
    assert_eq!(indexed().await.0, [102].into());
    // A snapshot that a query holds does not change.
    assert_eq!(first.scalar_indexes().len(), 2);
}

#[tokio::test]
async fn an_index_that_cannot_be_built_says_so() {
    let world = World::new();
    let node = world.node().await;
    world.create(&node, "c").await;
    let mut collection = node.collection("c").as_ref().clone();
    let index = IndexRecord {
        id: IndexId(77),
        name: "s".to_owned(),
        field: FieldId(102),
        params: [("index_type".to_owned(), "RTREE".to_owned())].into(),
        metric: None,
        created_ms: 0,
    };
    collection.indexes.insert(index.id, index);
    let coverage = node.indexes.coverage(&collection).await.unwrap();
    assert_eq!(coverage[&IndexId(77)].state, Failed);
    assert!(!coverage[&IndexId(77)].reason.is_empty());
    let tag = ContentTag::ETag("tag".to_owned());
    let identity = FileIdentity { uri: "file:///a".to_owned(), size: 1, tag };
    assert!(Needs::new(&collection, &one_file(identity)).indexes.is_empty());
}

fn one_file(identity: FileIdentity) -> Manifest {
    let file = DataFile {
        id: FileId::FIRST,
        location: "a".to_owned(),
        identity,
        footer_digest: [0; 32],
        row_groups: vec![1],
        columns: Vec::new(),
        footer: Bytes::new(),
        deletes: None,
        table: None,
    };
    Manifest {
        collection: CollectionId(1),
        version: ManifestVersion(1),
        next_file_id: 2,
        schema_version: 0,
        table: None,
        files: vec![file],
    }
}
