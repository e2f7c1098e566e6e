use std::sync::atomic::{AtomicUsize, Ordering};

use pandion_types::Error;

use super::*;

/// A value of as many bytes as it says.
#[derive(Debug, PartialEq, Eq)]
struct Block(usize);

impl Weigh for Block {
    fn weigh(&self) -> usize {
        self.0
    }
}

type Blocks = ByteCache<String, Block>;

const ONE: usize = 1000 + ENTRY_BYTES;

fn key(name: &str) -> String {
    name.to_owned()
}

async fn load(cache: &Blocks, name: &str, bytes: usize) -> bool {
    let load = || async { Ok(Arc::new(Block(bytes))) };
    let (value, was_there) = cache.get_or_load(&key(name), load).await.unwrap();
    assert_eq!(*value, Block(bytes));
    was_there
}

fn usage(cache: &Blocks) -> (usize, usize) {
    let usage = cache.usage();
    (usage.entries, usage.bytes)
}

#[tokio::test]
async fn the_least_recently_used_leaves_when_the_budget_is_exceeded() {
    let cache = Blocks::new(2 * ONE);
    let mut there = Vec::new();
    for name in ["a", "b", "a", "c", "a", "b"] {
        there.push(load(&cache, name, 1000).await);
    }
    // `c` pushed out `b`, which is then made again.
    assert_eq!(there, [false, false, true, false, true, false]);
    assert_eq!(usage(&cache), (2, 2 * ONE));
    assert!(cache.get(&key("c")).is_none());
    assert!(cache.get(&key("a")).is_some());
}

#[tokio::test]
async fn a_value_beyond_the_budget_pushes_nothing_out() {
    let cache = Blocks::new(2 * ONE);
    load(&cache, "a", 1000).await;
    assert!(!load(&cache, "huge", 2 * ONE).await);
    assert_eq!(usage(&cache), (1, ONE));
    assert!(load(&cache, "a", 1000).await);
}

#[tokio::test]
async fn values_without_bytes_are_bounded_too() {
    let cache = Blocks::new(10 * ENTRY_BYTES);
    for name in 0..100 {
        load(&cache, &name.to_string(), 0).await;
    }
    assert_eq!(usage(&cache), (10, 10 * ENTRY_BYTES));
}

#[tokio::test]
async fn a_failed_load_leaves_nothing_and_is_tried_again() {
    let cache = Blocks::new(ONE);
    let failed = cache.get_or_load(&key("a"), || async { Err(Error::unavailable("gone")) }).await;
    assert!(failed.is_err());
    assert_eq!(usage(&cache), (0, 0));
    assert!(!load(&cache, "a", 1000).await);
    assert_eq!(usage(&cache), (1, ONE));
}

#[tokio::test]
async fn an_abandoned_load_leaves_nothing() {
    let cache = Blocks::new(ONE);
    let name = key("a");
    let never = || std::future::pending::<Result<Arc<Block>>>();
    let mut load_without_end = Box::pin(cache.get_or_load(&name, never));
    assert!(futures::poll!(&mut load_without_end).is_pending());
    assert_eq!(usage(&cache), (1, 0));
    drop(load_without_end);
    assert_eq!(usage(&cache), (0, 0));
    assert!(!load(&cache, "a", 1000).await);
}

#[tokio::test]
async fn concurrent_callers_share_one_load() {
    let cache = Arc::new(Blocks::new(ONE));
    let loads = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = || async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok(Arc::new(Block(1)))
                };
                cache.get_or_load(&key("a"), load).await.map(|(_, was_there)| was_there)
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(!task.await.unwrap().unwrap());
    }
    assert_eq!((made, loads.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn values_are_forgotten_by_key() {
    let cache = Blocks::new(3 * ONE);
    for name in ["a", "b", "c"] {
        load(&cache, name, 1000).await;
    }
    cache.retain(|key| key != "b");
    assert_eq!(usage(&cache), (2, 2 * ONE));
    assert!(cache.get(&key("b")).is_none());
}
