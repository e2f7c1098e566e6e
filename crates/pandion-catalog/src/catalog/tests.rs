//! Crashes at every write, recovery, and several catalogues over one log.

use std::collections::BTreeMap;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use pandion_types::{
    CollectionId, CollectionSchema, DataType, FieldSchema, JobId, ManifestVersion, Secret,
};
use serde_json::Value;

use super::*;
use crate::changes::LEASE;
use crate::faulty::{Fault, FaultyStore};
use crate::{
    CreateCollection, CreateIndex, History, JobUpdate, LoadRequest, ManifestPointer,
    ObjectMetastore, Publication, PublishPolicy, Receipt, RefreshRequest, SourceBinding,
};

fn options(owner: &str) -> CatalogOptions {
    // Checkpoints are written by hand, so that the writes of a script are always the same.
    CatalogOptions { owner: owner.to_owned(), checkpoint_every: 0 }
}

async fn open_on(store: Arc<dyn ObjectStore>, owner: &str) -> Result<Catalog> {
    let metastore = ObjectMetastore::open(store).await?;
    Catalog::open(Arc::new(metastore), options(owner)).await
}

fn collection(name: &str) -> CreateCollection {
    let field = FieldSchema {
        type_params: [("dim".to_owned(), "4".to_owned())].into(),
        ..FieldSchema::mapped(101, "v", DataType::FloatVector)
    };
    let schema = CollectionSchema {
        fields: vec![field],
        external_source: "s3://b/old".to_owned(),
        external_spec: "{}".to_owned(),
        ..CollectionSchema::default()
    };
    CreateCollection {
        database: String::new(),
        name: name.to_owned(),
        schema,
        secret: Some(Secret::new("canary-old")),
        properties: BTreeMap::new(),
        consistency_level: 2,
        now_ms: 10,
    }
}

fn new_source() -> SourceBinding {
    SourceBinding {
        source: "s3://b/new".to_owned(),
        spec: "{\"format\":\"parquet\"}".to_owned(),
        secret: Some(Secret::new("canary-new")),
    }
}

fn refresh(source: Option<SourceBinding>) -> RefreshRequest {
    RefreshRequest { database: String::new(), collection: "c".to_owned(), source, now_ms: 20 }
}

fn publication(job: JobId, version: u64, source: Option<SourceBinding>) -> Publication {
    let manifest = ManifestPointer {
        version: ManifestVersion(version),
        path: format!("manifest/{version}"),
        digest: "00".to_owned(),
        rows: 7,
        files: 1,
    };
    let receipt = Receipt { rows: 7, ..Receipt::default() };
    Publication { job, manifest: Some(manifest), source, receipt, now_ms: 30 }
}

fn active_job(catalog: &Catalog) -> JobId {
    let state = catalog.state();
    state.all_jobs().find(|job| job.state.is_active()).unwrap().id
}

const STEPS: usize = 12;

/// One step of a life of a catalogue. Each is one commit or none, and may be run again.
async fn step(catalog: &Catalog, number: usize) -> Result<()> {
    match number {
        0 => catalog.create_collection(collection("c")).await.map(|_| ()),
        1 => {
            let index = CreateIndex {
                collection: "c".to_owned(),
                field: "v".to_owned(),
                ..CreateIndex::default()
            };
            catalog.create_index(index).await.map(|_| ())
        }
        2 => catalog.start_refresh(refresh(None)).await.map(|_| ()),
        3 => {
            let (job, step) = (active_job(catalog), "listing".to_owned());
            let update = JobUpdate { job, step, progress: 10, receipt: Receipt::default() };
            catalog.update_job(update).await
        }
        4 => catalog.publish(publication(active_job(catalog), 1, None)).await,
        5 | 8 | 10 => catalog.checkpoint().await,
        6 => {
            let publish = PublishPolicy::OnLoad;
            let (database, collection) = (String::new(), "c".to_owned());
            catalog.load(LoadRequest { database, collection, publish, refresh: false }).await
        }
        7 => catalog.start_refresh(refresh(Some(new_source()))).await.map(|_| ()),
        9 => catalog.publish(publication(active_job(catalog), 2, Some(new_source()))).await,
        _ => catalog.create_alias("", "a", "c", 40).await,
    }
}

type Entries = BTreeMap<String, Value>;

/// What a state holds, but for who wrote it.
fn entries(state: &CatalogState) -> Entries {
    let mut entries = state.checkpoint().unwrap().entries;
    entries.remove(LEASE);
    entries
}

/// Runs the script from a step on and gives what there was before and after each step.
async fn run(catalog: &Catalog, from: usize) -> (Vec<Entries>, Result<()>) {
    let mut seen = vec![entries(&catalog.state())];
    for number in from..STEPS {
        if let Err(error) = step(catalog, number).await {
            return (seen, Err(error));
        }
        seen.push(entries(&catalog.state()));
    }
    (seen, Ok(()))
}

/// What holds of every state, whatever was interrupted.
fn check_whole(state: &CatalogState) {
    for job in state.all_jobs() {
        let collection = state.collection_by_id(job.collection).unwrap();
        if job.state == crate::JobState::Completed {
            assert!(collection.manifest_version() > job.base_version, "job without its version");
        }
        if job.state.is_active() {
            assert_eq!(collection.manifest_version(), job.base_version, "version without its job");
        }
    }
    if let Ok(collection) = state.collection("", "c") {
        let renewed = collection.schema.external_source == "s3://b/new";
        let secret = state.secret(collection.id).unwrap().expose();
        assert_eq!(secret, if renewed { "canary-new" } else { "canary-old" });
        assert_eq!(renewed, collection.manifest_version() == ManifestVersion(2));
        assert!(!collection.loaded || collection.serving().unwrap().version == ManifestVersion(1));
    }
}

/// A crash before or after any write leaves what was acknowledged, and the step under way happened
/// whole or not at all. The script then goes on to the same end.
#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_and_shows_no_half() {
    let clean = open_on(Arc::new(InMemory::new()), "clean").await.unwrap();
    let (expected, outcome) = run(&clean, 0).await;
    outcome.unwrap();
    let mut crashes = 0;
    for at in 1.. {
        let mut came_to_an_end = true;
        for fault in [Fault::Before(at), Fault::After(at)] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let faulty = FaultyStore::crashing(Arc::clone(&store), fault);
            let mut acknowledged = 0;
            if let Ok(catalog) = open_on(Arc::new(faulty.clone()), "first").await {
                let (seen, _) = run(&catalog, 0).await;
                acknowledged = seen.len() - 1;
            }
            came_to_an_end &= faulty.writes() < at;
            crashes += usize::from(faulty.writes() >= at);

            let reopened = open_on(store, "second").await.unwrap();
            let found = entries(&reopened.state());
            check_whole(&reopened.state());
            let next = (acknowledged + 1).min(STEPS);
            assert!(
                found == expected[acknowledged] || found == expected[next],
                "{fault:?}: neither before nor after step {acknowledged}"
            );
            let from = if found == expected[next] { next } else { acknowledged };
            let (seen, outcome) = run(&reopened, from).await;
            outcome.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert_eq!(seen.last(), expected.last(), "{fault:?}");
        }
        if came_to_an_end {
            break;
        }
    }
    // Every commit, the probe, the checkpoints and the deletions were each hit twice.
    assert!(crashes >= 2 * (STEPS + 3), "only {crashes} crashes");
}

/// A store that loses answers but goes on is no reason for any command to fail.
#[tokio::test]
async fn a_lost_answer_at_any_commit_goes_unnoticed() {
    let clean = open_on(Arc::new(InMemory::new()), "clean").await.unwrap();
    let (expected, _) = run(&clean, 0).await;
    let commits = usize::try_from(clean.state().version().0).unwrap();
    let mut hit = 0;
    for at in 1..=commits + 20 {
        for fault in [Fault::Before(at), Fault::After(at)] {
            let faulty = FaultyStore::new(Arc::new(InMemory::new()), fault);
            let Ok(catalog) = open_on(Arc::new(faulty.clone()), "one").await else { continue };
            let (seen, outcome) = run(&catalog, 0).await;
            // A checkpoint says so when it fails; it is no command.
            if outcome.is_ok() {
                assert_eq!(seen, expected);
                hit += usize::from(faulty.writes() >= at);
            } else {
                let failed = seen.len() - 1;
                assert!([5, 8, 10].contains(&failed), "{fault:?} at step {failed}");
            }
        }
    }
    assert!(hit >= 2 * (commits - 1), "only {hit} commits were hit");
}

#[tokio::test]
async fn checkpoint_and_log_give_the_same_state() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = open_on(Arc::clone(&store), "one").await.unwrap();
    let metastore = ObjectMetastore::open_for_reading(store);
    let mut history = metastore.load().await.unwrap();
    for number in 0..STEPS {
        let before = catalog.state().version();
        step(&catalog, number).await.unwrap();
        let News::Commits(commits) = metastore.news(before).await.unwrap() else {
            panic!("a catalogue is never behind itself")
        };
        history.commits.extend(commits);
        let from_log = CatalogState::replay(&history).unwrap().checkpoint().unwrap();
        let from_store = load(&metastore).await.unwrap().checkpoint().unwrap();
        let in_memory = catalog.state().checkpoint().unwrap();
        assert_eq!(from_log, in_memory, "step {number}");
        assert_eq!(from_store, in_memory, "step {number}");
        let alone = History { checkpoint: in_memory.clone(), commits: Vec::new() };
        assert_eq!(CatalogState::replay(&alone).unwrap().checkpoint().unwrap(), in_memory);
    }
}

#[tokio::test]
async fn checkpoints_are_written_on_their_own() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let metastore: Arc<dyn Metastore> =
        Arc::new(ObjectMetastore::open(Arc::clone(&store)).await.unwrap());
    let every = CatalogOptions { checkpoint_every: 4, ..CatalogOptions::default() };
    let catalog = Catalog::open(Arc::clone(&metastore), every).await.unwrap();
    for number in 0..9 {
        catalog.create_database(&format!("d{number}"), BTreeMap::new(), 1).await.unwrap();
    }
    // They are written behind the back of the command: let them come to their end.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metastore.load().await.unwrap().checkpoint.version, Version(8));
}

#[tokio::test]
async fn commands_at_the_same_time_all_happen() {
    let catalog = open_on(Arc::new(InMemory::new()), "one").await.unwrap();
    let commands = (0..20).map(|number| {
        let catalog = catalog.clone();
        async move { catalog.create_database(&format!("d{number}"), BTreeMap::new(), 1).await }
    });
    let ids: std::collections::BTreeSet<_> =
        futures::future::join_all(commands).await.into_iter().collect::<Result<_>>().unwrap();
    assert_eq!(ids.len(), 20, "an id was given twice");
    assert_eq!(catalog.state().databases().count(), 21);
}

#[tokio::test]
async fn a_command_outlives_its_caller() {
    let catalog = open_on(Arc::new(InMemory::new()), "one").await.unwrap();
    let mut seen = catalog.subscribe();
    seen.mark_unchanged();
    let mut command = Box::pin(catalog.create_database("d", BTreeMap::new(), 1));
    assert!(futures::poll!(&mut command).is_pending());
    drop(command);
    seen.changed().await.unwrap();
    assert!(catalog.state().database("d").is_ok());
}

#[tokio::test]
async fn a_reader_follows_and_does_not_write() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let writer = open_on(Arc::clone(&store), "one").await.unwrap();
    let metastore = Arc::new(ObjectMetastore::open_for_reading(store));
    let reader = Catalog::open_for_reading(metastore).await.unwrap();
    writer.create_collection(collection("c")).await.unwrap();
    assert!(reader.state().collection("", "c").is_err());
    assert!(reader.sync().await.unwrap().collection("", "c").is_ok());
    let refused = reader.drop_collection("", "c", 1).await.unwrap_err();
    assert_eq!(refused.to_string(), "this catalogue was opened for reading only");
}

#[tokio::test]
async fn a_reader_that_slept_through_deletions_begins_anew() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let writer = open_on(Arc::clone(&store), "one").await.unwrap();
    let metastore = Arc::new(ObjectMetastore::open_for_reading(store));
    let reader = Catalog::open_for_reading(metastore).await.unwrap();
    let (_, outcome) = run(&writer, 0).await;
    outcome.unwrap();
    let state = reader.sync().await.unwrap();
    assert_eq!(state.version(), writer.state().version());
    assert_eq!(entries(&state), entries(&writer.state()));
}

#[tokio::test]
async fn a_commit_of_a_fenced_writer_in_the_log_is_damage() {
    let mut state = CatalogState::default();
    let commit = |version, epoch, key: &str, value: Value| {
        let change = crate::Change::Put { key: key.to_owned(), value };
        let transaction = Transaction { id: String::new(), epoch, changes: vec![change] };
        Commit { version: Version(version), transaction }
    };
    state.apply(&commit(1, 5, LEASE, serde_json::json!({ "epoch": 5, "owner": "x" }))).unwrap();
    let error = state.clone().apply(&commit(2, 4, "next_id", 9.into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("epoch 4, after epoch 5"), "{error}");
    let error = state.clone().apply(&commit(3, 5, "next_id", 9.into())).unwrap_err();
    assert!(error.message().contains("follows version 1"), "{error}");
    // A kind of record that a newer release knows survives in a checkpoint.
    state.apply(&commit(2, 5, "grant/7", serde_json::json!({ "who": "me" }))).unwrap();
    assert_eq!(state.checkpoint().unwrap().entries["grant/7"]["who"], "me");
}

#[tokio::test]
async fn an_old_record_is_read_and_a_broken_one_named() {
    let mut state = CatalogState::default();
    let commit = |key: &str, value: Value| {
        let change = crate::Change::Put { key: key.to_owned(), value };
        let transaction = Transaction { id: String::new(), epoch: 0, changes: vec![change] };
        Commit { version: Version(1), transaction }
    };
    let old = serde_json::json!({ "id": 7, "database": 1, "name": "c" });
    state.apply(&commit("collection/7", old)).unwrap();
    let read = state.collection("", "c").unwrap();
    assert_eq!((read.id, read.loaded, read.manifest.is_none()), (CollectionId(7), false, true));

    let mut state = CatalogState::default();
    let broken = state.apply(&commit("secret/7", serde_json::json!(["canary"]))).unwrap_err();
    assert!(broken.message().contains("secret/7 is not what its key says"), "{broken}");
    assert!(!format!("{broken:?}").contains("canary"));
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = open_on(Arc::clone(&store), "one").await.unwrap();
    let request = collection("c");
    let mut shown = format!("{request:?} {:?}", new_source());
    catalog.create_collection(request).await.unwrap();
    let history = ObjectMetastore::open_for_reading(store).load().await.unwrap();
    let state = catalog.state();
    shown += &format!("{catalog:?} {state:?} {history:?} {:?}", state.checkpoint().unwrap());
    assert!(shown.contains("put secret/2"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(state.secret(CollectionId(2)).unwrap().expose(), "canary-old");
}
