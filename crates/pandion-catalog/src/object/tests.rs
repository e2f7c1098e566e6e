//! The contract on two stores, damage of every kind, and writers that come too late.

use object_store::PutPayload;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use serde_json::json;

use super::*;
use crate::faulty::{Fault, FaultyStore};
use crate::{Change, contract};

async fn handles(store: Arc<dyn ObjectStore>) -> Result<contract::Handles> {
    let one = ObjectMetastore::open(Arc::clone(&store)).await?;
    Ok((Arc::new(one), Arc::new(ObjectMetastore::open_for_reading(store))))
}

#[tokio::test]
async fn contract_in_memory() {
    contract::run(async || handles(Arc::new(InMemory::new())).await).await.unwrap();
}

#[tokio::test]
async fn contract_in_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let count = AtomicNumber::default();
    contract::run(async || {
        let folder = root.path().join(count.next());
        std::fs::create_dir(&folder).unwrap();
        handles(Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap())).await
    })
    .await
    .unwrap();
}

#[derive(Default)]
struct AtomicNumber(std::sync::atomic::AtomicUsize);

impl AtomicNumber {
    fn next(&self) -> String {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string()
    }
}

#[tokio::test]
async fn a_store_that_creates_twice_is_refused() {
    let store = FaultyStore::new(Arc::new(InMemory::new()), Fault::Overwrites);
    let error = ObjectMetastore::open(Arc::new(store)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("creates an object that exists already"), "{error}");
}

#[tokio::test]
async fn the_probe_leaves_nothing_behind() {
    let store = InMemory::new();
    ObjectMetastore::open(Arc::new(store.fork())).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    ObjectMetastore::open(Arc::clone(&store)).await.unwrap();
    assert_eq!(store.list(None).count().await, 0);
}

fn transaction(id: &str) -> Transaction {
    let put = Change::Put { key: id.to_owned(), value: json!(id) };
    Transaction { id: id.to_owned(), epoch: 1, changes: vec![put] }
}

/// A store with `commits` commits and a checkpoint at each of `checkpoints`, and its metastore.
async fn filled(commits: u64, checkpoints: &[u64]) -> (Arc<InMemory>, ObjectMetastore) {
    let store = Arc::new(InMemory::new());
    let metastore =
        ObjectMetastore::open(Arc::clone(&store) as Arc<dyn ObjectStore>).await.unwrap();
    for number in 0..commits {
        metastore.commit(Version(number), &transaction(&number.to_string())).await.unwrap();
        if checkpoints.contains(&(number + 1)) {
            let entries = [("n".to_owned(), json!(number + 1))].into();
            let version = Version(number + 1);
            metastore.checkpoint(&Checkpoint { version, entries }).await.unwrap();
        }
    }
    (store, metastore)
}

async fn numbers(store: &InMemory, folder: &str) -> Vec<u64> {
    let objects: Vec<_> = store.list(Some(&Path::from(folder))).try_collect().await.unwrap();
    let number = |object: &object_store::ObjectMeta| parse_number(object.location.filename()?);
    objects.iter().map(|object| number(object).unwrap().0).collect()
}

async fn damage(store: &InMemory, path: &Path) {
    let mut bytes = store.get(path).await.unwrap().bytes().await.unwrap().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    store.put(path, PutPayload::from(bytes)).await.unwrap();
}

#[tokio::test]
async fn a_damaged_commit_is_named_and_never_passed_over() {
    let (store, metastore) = filled(5, &[]).await;
    damage(&store, &log_path(Version(3))).await;
    for error in
        [metastore.load().await.unwrap_err(), metastore.news(Version(1)).await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("meta/catalog/00000000000000000003"), "{error}");
    }
    let blocked = metastore.commit(Version(2), &transaction("x")).await;
    assert!(
        matches!(blocked, Err(CommitError::Unknown(error)) if error.kind() == ErrorKind::Corrupt)
    );
}

#[tokio::test]
async fn a_missing_commit_is_named() {
    let (store, metastore) = filled(5, &[]).await;
    store.delete(&log_path(Version(3))).await.unwrap();
    let error = metastore.load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("meta/catalog/00000000000000000003 is missing"), "{error}");
}

#[tokio::test]
async fn a_commit_under_anothers_name_is_named() {
    let (store, metastore) = filled(2, &[]).await;
    let bytes = store.get(&log_path(Version(2))).await.unwrap().bytes().await.unwrap();
    store.put(&log_path(Version(3)), bytes.into()).await.unwrap();
    let error = metastore.load().await.unwrap_err();
    assert!(error.message().contains("00000000000000000003 holds version 2"), "{error}");
}

#[tokio::test]
async fn objects_with_other_names_are_left_alone() {
    let (store, metastore) = filled(3, &[]).await;
    for name in ["meta/catalog/readme", "meta/catalog/7", "meta/checkpoint/x"] {
        store.put(&Path::from(name), PutPayload::from("text")).await.unwrap();
    }
    assert_eq!(metastore.load().await.unwrap().commits.len(), 3);
}

#[tokio::test]
async fn only_what_two_checkpoints_cover_is_deleted() {
    let (store, metastore) = filled(11, &[3, 6, 9]).await;
    assert_eq!(numbers(&store, LOG).await, [6, 7, 8, 9, 10, 11]);
    assert_eq!(numbers(&store, CHECKPOINTS).await, [6, 9]);
    let history = metastore.load().await.unwrap();
    assert_eq!((history.checkpoint.version, history.commits.len()), (Version(9), 2));
}

#[tokio::test]
async fn a_damaged_checkpoint_is_made_up_for_by_the_one_before() {
    let (store, metastore) = filled(11, &[3, 6, 9]).await;
    damage(&store, &checkpoint_path(Version(9))).await;
    let history = metastore.load().await.unwrap();
    assert_eq!((history.checkpoint.version, history.commits.len()), (Version(6), 5));
    // With one of the two newest damaged, nothing more is deleted.
    metastore
        .checkpoint(&Checkpoint { version: Version(11), ..Checkpoint::default() })
        .await
        .unwrap();
    assert_eq!(numbers(&store, LOG).await, [6, 7, 8, 9, 10, 11]);

    damage(&store, &checkpoint_path(Version(6))).await;
    damage(&store, &checkpoint_path(Version(11))).await;
    let error = metastore.load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("meta/checkpoint/00000000000000000011"), "{error}");
}

#[tokio::test]
async fn a_damaged_first_checkpoint_is_made_up_for_by_the_whole_log() {
    let (store, metastore) = filled(5, &[3]).await;
    damage(&store, &checkpoint_path(Version(3))).await;
    let history = metastore.load().await.unwrap();
    assert_eq!((history.checkpoint.version, history.commits.len()), (Version::EMPTY, 5));
}

/// A writer that slept while its place in the log was deleted can create the object again.
#[tokio::test]
async fn a_commit_into_a_deleted_place_is_not_believed() {
    let (store, metastore) = filled(9, &[3, 6, 9]).await;
    for slept_at in [0, 1, 2, 3, 4] {
        let outcome = metastore.commit(Version(slept_at), &transaction("late")).await;
        assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{slept_at}: {outcome:?}");
    }
    assert_eq!(numbers(&store, LOG).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Nor does what it left behind mislead anyone.
    for slept_at in 0..5 {
        let news = metastore.news(Version(slept_at)).await.unwrap();
        assert!(matches!(news, News::Behind), "{slept_at}: {news:?}");
    }
    assert_eq!(metastore.load().await.unwrap().checkpoint.version, Version(9));
    metastore.commit(Version(9), &transaction("next")).await.unwrap();
}

async fn commit_with(fault: Fault) -> (Arc<InMemory>, Result<Version, CommitError>) {
    let (store, _) = filled(1, &[]).await;
    let inner = Arc::clone(&store) as Arc<dyn ObjectStore>;
    let faulty = Arc::new(FaultyStore::new(inner, fault));
    let metastore = ObjectMetastore::open_for_reading(faulty);
    let outcome = metastore.commit(Version(1), &transaction("mine")).await;
    (store, outcome)
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_acknowledged() {
    for fault in [Fault::After(1), Fault::Before(1)] {
        let (store, outcome) = commit_with(fault).await;
        assert!(matches!(outcome, Ok(Version(2))), "{fault:?}: {outcome:?}");
        assert_eq!(numbers(&store, LOG).await, [1, 2]);
    }
}

#[tokio::test]
async fn a_commit_that_cannot_be_found_is_not_denied_either() {
    let (store, outcome) = commit_with(Fault::From(1)).await;
    assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
    assert_eq!(numbers(&store, LOG).await, [1]);
}
