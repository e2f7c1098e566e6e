use object_store::memory::InMemory;
use object_store::{Error, PutMode};

use super::*;
use crate::contract::object_store::{Ability, all};

fn faulty(rules: Vec<FaultRule>) -> (Arc<InMemory>, FaultyStore) {
    let inner = Arc::new(InMemory::new());
    let store = FaultyStore::new(Arc::clone(&inner) as Arc<dyn ObjectStore>, 11, rules);
    (inner, store)
}

fn path(name: &str) -> Path {
    Path::from(name)
}

async fn put(store: &dyn ObjectStore, name: &str) -> Result<PutResult> {
    store.put(&path(name), PutPayload::from_static(b"0123456789")).await
}

#[tokio::test]
async fn without_rules_it_keeps_the_contract() {
    let (_, store) = faulty(Vec::new());
    all(&store, "suite", &[Ability::Update]).await.unwrap();
    assert_eq!(store.injected(), 0);
    let directory = tempfile::tempdir().unwrap();
    let local = object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    all(&FaultyStore::new(Arc::new(local), 0, Vec::new()), "suite", &[]).await.unwrap();
}

#[tokio::test]
async fn the_nth_operation_fails_and_says_so() {
    let rule = FaultRule::on(StoreOp::Put, When::Nth(2), Effect::FailBefore).for_path("data/");
    let (inner, store) = faulty(vec![rule]);
    put(&store, "other").await.unwrap();
    put(&store, "data/1").await.unwrap();
    let error = put(&store, "data/2").await.unwrap_err();
    put(&store, "data/3").await.unwrap();
    assert!(inner.head(&path("data/2")).await.is_err());
    let text = error.to_string();
    assert!(text.contains("operation 3") && text.contains("data/2"), "{text}");
    assert!(text.contains("seed 11") && store.to_string().contains("seed 11"), "{text}");
    assert_eq!((store.injected(), store.seed()), (1, 11));
}

#[tokio::test]
async fn an_ambiguous_put_was_applied() {
    let rule = FaultRule::on(StoreOp::Put, When::First(1), Effect::FailAfter);
    let (inner, store) = faulty(vec![rule]);
    put(&store, "commit").await.unwrap_err();
    assert_eq!(inner.head(&path("commit")).await.unwrap().size, 10);
    let again = store.put_opts(&path("commit"), PutPayload::new(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
}

#[tokio::test]
async fn a_crash_takes_the_store_down_until_it_is_revived() {
    for (effect, survives) in [(Effect::CrashBefore, false), (Effect::CrashAfter, true)] {
        let (inner, store) = faulty(vec![FaultRule::on_any(When::Nth(2), effect)]);
        put(&store, "first").await.unwrap();
        put(&store, "second").await.unwrap_err();
        assert_eq!(inner.head(&path("second")).await.is_ok(), survives, "{effect:?}");
        store.get(&path("first")).await.unwrap_err();
        store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
        store.delete(&path("first")).await.unwrap_err();
        store.revive();
        store.get(&path("first")).await.unwrap();
        assert_eq!(store.ops().len(), 6);
    }
}

#[tokio::test]
async fn bodies_break_or_end_early_from_memory_and_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let local = object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(InMemory::new()), Arc::new(local)];
    for inner in stores {
        put(&inner, "k").await.unwrap();
        let store = FaultyStore::new(inner, 0, Vec::new());
        store.set_rules(vec![FaultRule::on(StoreOp::Get, When::Always, Effect::ShortBody(4))]);
        assert_eq!(store.get(&path("k")).await.unwrap().bytes().await.unwrap(), "0123");
        assert_eq!(store.get_range(&path("k"), 2..5).await.unwrap(), "234");

        store.set_rules(vec![FaultRule::on(StoreOp::Get, When::Always, Effect::BreakBody(4))]);
        let mut body = store.get(&path("k")).await.unwrap().into_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "0123");
        assert!(body.next().await.unwrap().is_err());
        assert!(body.next().await.is_none());
    }
}

#[tokio::test]
async fn a_listing_breaks_off_with_an_error() {
    let rule = FaultRule::on(StoreOp::List, When::Always, Effect::BreakList(2));
    let (_, store) = faulty(vec![rule]);
    for name in ["a", "b", "c"] {
        put(&store, name).await.unwrap();
    }
    let entries: Vec<_> = store.list(None).collect().await;
    let ok: Vec<bool> = entries.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, true, false]);
    let after: Vec<_> = store.list_with_offset(None, &path("b")).collect().await;
    assert!(after.last().unwrap().is_err());
    store.list_with_delimiter(None).await.unwrap_err();
}

#[tokio::test]
async fn probabilities_repeat_with_their_seed() {
    let outcomes = |seed| async move {
        let rule = FaultRule::on(StoreOp::Put, When::Probability(0.3), Effect::FailBefore);
        let store = FaultyStore::new(Arc::new(InMemory::new()), seed, vec![rule]);
        let mut outcomes = Vec::new();
        for number in 0..200 {
            outcomes.push(put(&store, &number.to_string()).await.is_err());
        }
        outcomes
    };
    let first = outcomes(1).await;
    let failed = first.iter().filter(|failed| **failed).count();
    assert!((30..90).contains(&failed), "{failed} of 200 at a probability of 0.3");
    assert_eq!(first, outcomes(1).await);
    assert_ne!(first, outcomes(2).await);
}

#[tokio::test]
async fn latency_adds_up() {
    let slow = |ms| FaultRule::on_any(When::Always, Effect::Latency(Duration::from_millis(ms)));
    let (inner, store) = faulty(vec![slow(20), slow(30)]);
    let start = std::time::Instant::now();
    put(&store, "k").await.unwrap();
    assert!(start.elapsed().as_millis() >= 50);
    assert!(inner.head(&path("k")).await.is_ok());
}

#[tokio::test]
async fn multipart_uploads_fail_in_part_and_at_the_end() {
    let (inner, store) = faulty(Vec::new());
    let fail = |op, effect| store.set_rules(vec![FaultRule::on(op, When::Always, effect)]);
    fail(StoreOp::PutMultipart, Effect::FailBefore);
    store.put_multipart(&path("k")).await.unwrap_err();
    fail(StoreOp::PutPart, Effect::FailBefore);
    let mut upload = store.put_multipart(&path("k")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"x")).await.unwrap_err();
    fail(StoreOp::CompleteMultipart, Effect::FailAfter);
    let mut upload = store.put_multipart(&path("k")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"x")).await.unwrap();
    upload.complete().await.unwrap_err();
    assert!(inner.head(&path("k")).await.is_ok());
}
