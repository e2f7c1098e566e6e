//! An object store that fails on purpose: a decorator that makes chosen operations slow, fail
//! before or after they take effect, end early, or take the whole store down as a crash would.
//!
//! Choices are seeded and every injected error names the seed, so that a failure can be repeated.
//! It invents no data: what it lets through is what the inner store gave.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::convert::{lock, to_u64, to_usize};

/// The operations that rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreOp {
    /// A write of a whole object.
    Put,
    /// The start of a multipart upload.
    PutMultipart,
    /// One part of it.
    PutPart,
    /// Its end, which makes the object visible.
    CompleteMultipart,
    /// Its abandonment.
    AbortMultipart,
    /// A read of an object or of a range.
    Get,
    /// A look at the metadata of an object.
    Head,
    /// A listing, of any kind.
    List,
    /// A delete of one object.
    Delete,
    /// A copy; also the first half of a rename.
    Copy,
}

/// Which of the operations that match a rule it hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Each.
    Always,
    /// The n-th, counted from 1, and no other.
    Nth(u64),
    /// The first n.
    First(u64),
    /// Each with this probability, 0 to 1, drawn with the store's seed.
    Probability(f64),
}

/// What a rule does to the operations that it hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The operation fails and has not happened.
    FailBefore,
    /// The operation happens, but the caller is told that it failed: an ambiguous commit.
    FailAfter,
    /// The operation has not happened, and the store is down until [`FaultyStore::revive`].
    CrashBefore,
    /// The operation happens, and the store is down until [`FaultyStore::revive`].
    CrashAfter,
    /// A body breaks off with an error after so many bytes.
    BreakBody(u64),
    /// A body ends after so many bytes as if it were whole. Only a reader that counts notices.
    ShortBody(u64),
    /// A listing fails after so many entries.
    BreakList(usize),
    /// The operation starts later.
    Latency(Duration),
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// The operation; any when absent.
    pub op: Option<StoreOp>,
    /// Text that the path must contain; empty matches all.
    pub path: String,
    /// Which matching operations are hit.
    pub when: When,
    /// What happens to them.
    pub effect: Effect,
}

impl FaultRule {
    /// A rule for one kind of operation on any path.
    #[must_use]
    pub fn on(op: StoreOp, when: When, effect: Effect) -> Self {
        Self { op: Some(op), path: String::new(), when, effect }
    }

    /// A rule for every operation on any path.
    #[must_use]
    pub fn on_any(when: When, effect: Effect) -> Self {
        Self { op: None, path: String::new(), when, effect }
    }

    /// The same rule for paths that contain `text` only.
    #[must_use]
    pub fn for_path(mut self, text: impl Into<String>) -> Self {
        self.path = text.into();
        self
    }
}

/// The decorator. Clones share rules, counts and the state of being down.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<(FaultRule, u64)>,
    random: StdRng,
    ops: Vec<(StoreOp, Path)>,
    injected: u64,
    is_down: bool,
}

/// What the rules say about one operation.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    number: u64,
    latency: Duration,
    effect: Option<Effect>,
    is_down: bool,
}

impl Verdict {
    fn fails_before(self) -> bool {
        self.is_down || matches!(self.effect, Some(Effect::FailBefore | Effect::CrashBefore))
    }

    fn fails_after(self) -> bool {
        matches!(self.effect, Some(Effect::FailAfter | Effect::CrashAfter))
    }
}

/// The error that a rule injects. It is the source of an [`object_store::Error::Generic`].
#[derive(Debug)]
pub struct InjectedFault {
    /// The store's seed.
    pub seed: u64,
    /// The number of the operation, from 1.
    pub number: u64,
    /// The operation.
    pub op: StoreOp,
    /// What it was about.
    pub path: Path,
}

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, number, op, path } = self;
        write!(f, "injected fault in operation {number}, {op:?} of {path:?} (seed {seed})")
    }
}

impl std::error::Error for InjectedFault {}

impl FaultyStore {
    /// Decorates `inner` with `rules`, which draw from a generator with this seed.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64, rules: Vec<FaultRule>) -> Self {
        let store = Self {
            inner,
            shared: Arc::new(Shared {
                seed,
                state: Mutex::new(State {
                    rules: Vec::new(),
                    random: StdRng::seed_from_u64(seed),
                    ops: Vec::new(),
                    injected: 0,
                    is_down: false,
                }),
            }),
        };
        store.set_rules(rules);
        store
    }

    /// The seed, to be printed by a test that fails.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// Puts `rules` in place of the ones before; their counts start at zero.
    pub fn set_rules(&self, rules: Vec<FaultRule>) {
        lock(&self.shared.state).rules = rules.into_iter().map(|rule| (rule, 0)).collect();
    }

    /// The store answers again after a crash, without rules: the process was started anew.
    pub fn revive(&self) {
        let mut state = lock(&self.shared.state);
        state.is_down = false;
        state.rules.clear();
    }

    /// The operations that were asked for, in order, also those that failed. A loop that crashes
    /// at each of them in turn visits every crash point.
    #[must_use]
    pub fn ops(&self) -> Vec<(StoreOp, Path)> {
        lock(&self.shared.state).ops.clone()
    }

    /// How many faults were injected, latency included; the failures of a store that is down are
    /// not counted.
    #[must_use]
    pub fn injected(&self) -> u64 {
        lock(&self.shared.state).injected
    }

    fn judge(&self, op: StoreOp, path: &Path) -> Verdict {
        let mut state = lock(&self.shared.state);
        state.ops.push((op, path.clone()));
        let number = to_u64(state.ops.len());
        let mut verdict = Verdict { number, is_down: state.is_down, ..Verdict::default() };
        if verdict.is_down {
            return verdict;
        }
        let State { rules, random, injected, is_down, .. } = &mut *state;
        for (rule, seen) in rules {
            let matches = rule.op.is_none_or(|wanted| wanted == op)
                && path.as_ref().contains(rule.path.as_str());
            if !matches {
                continue;
            }
            *seen += 1;
            let hits = match rule.when {
                When::Always => true,
                When::Nth(nth) => *seen == nth,
                When::First(count) => *seen <= count,
                When::Probability(p) => random.random_bool(p.clamp(0.0, 1.0)),
            };
            if !hits {
                continue;
            }
            *injected += 1;
            match rule.effect {
                Effect::Latency(latency) => verdict.latency += latency,
                effect => verdict.effect = verdict.effect.or(Some(effect)),
            }
        }
        *is_down = matches!(verdict.effect, Some(Effect::CrashBefore | Effect::CrashAfter));
        verdict
    }

    fn error(&self, verdict: Verdict, op: StoreOp, path: &Path) -> object_store::Error {
        let source = Box::new(InjectedFault {
            seed: self.shared.seed,
            number: verdict.number,
            op,
            path: path.clone(),
        });
        object_store::Error::Generic { store: "FaultyStore", source }
    }

    /// Runs an operation that has no body to break.
    async fn run<T>(
        &self,
        op: StoreOp,
        path: &Path,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.judge_and_run(op, path, operation).await.map(|(_, value)| value)
    }

    async fn judge_and_run<T>(
        &self,
        op: StoreOp,
        path: &Path,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<(Verdict, T)> {
        let verdict = self.judge(op, path);
        if !verdict.latency.is_zero() {
            tokio::time::sleep(verdict.latency).await;
        }
        if verdict.fails_before() {
            return Err(self.error(verdict, op, path));
        }
        let value = operation.await?;
        if verdict.fails_after() {
            return Err(self.error(verdict, op, path));
        }
        Ok((verdict, value))
    }

    fn break_list(
        &self,
        path: Path,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        stream::once(async move {
            let op = StoreOp::List;
            let (verdict, ()) = store.judge_and_run(op, &path, async { Ok(()) }).await?;
            let Some(Effect::BreakList(keep)) = verdict.effect else {
                return Ok::<_, object_store::Error>(listing);
            };
            let error = store.error(verdict, op, &path);
            Ok(listing.take(keep).chain(stream::iter([Err(error)])).boxed())
        })
        .try_flatten()
        .boxed()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore(seed {}, {})", self.shared.seed, self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.run(StoreOp::Put, location, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let started = self.inner.put_multipart_opts(location, opts);
        let inner = self.run(StoreOp::PutMultipart, location, started).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), path: location.clone(), inner }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let op = if options.head { StoreOp::Head } else { StoreOp::Get };
        let got = self.inner.get_opts(location, options);
        let (verdict, result) = self.judge_and_run(op, location, got).await?;
        let (keep, breaks) = match verdict.effect {
            Some(Effect::BreakBody(keep)) => (keep, true),
            Some(Effect::ShortBody(keep)) => (keep, false),
            _ => return Ok(result),
        };
        let error = breaks.then(|| self.error(verdict, op, location));
        Ok(shorten(result, keep, error))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .and_then(move |path| {
                let store = store.clone();
                async move {
                    store.run(StoreOp::Delete, &path, store.inner.delete(&path)).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.break_list(prefix.cloned().unwrap_or_default(), self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listing = self.inner.list_with_offset(prefix, offset);
        self.break_list(prefix.cloned().unwrap_or_default(), listing)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let op = StoreOp::List;
        let path = prefix.cloned().unwrap_or_default();
        let listing = self.inner.list_with_delimiter(prefix);
        match self.judge_and_run(op, &path, listing).await? {
            // Such a listing is one value: it cannot come in part.
            (verdict @ Verdict { effect: Some(Effect::BreakList(_)), .. }, _) => {
                Err(self.error(verdict, op, &path))
            }
            (_, listing) => Ok(listing),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(StoreOp::Copy, to, self.inner.copy_opts(from, to, options)).await
    }
}

/// The result with a body of `keep` bytes, and the error behind them if there is one. A body that
/// is not longer stays as it is.
fn shorten(result: GetResult, keep: u64, error: Option<object_store::Error>) -> GetResult {
    if result.range.end - result.range.start <= keep {
        return result;
    }
    let (meta, range) = (result.meta.clone(), result.range.clone());
    let attributes = result.attributes.clone();
    let body = async move {
        let bytes = result.bytes().await?;
        Ok(bytes.slice(..bytes.len().min(to_usize(keep))))
    };
    let chunks = stream::once(body).chain(stream::iter(error.map(Err)));
    GetResult { payload: GetResultPayload::Stream(chunks.boxed()), meta, range, attributes }
}

/// A multipart upload whose parts and end can fail.
#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    path: Path,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let store = self.store.clone();
        let path = self.path.clone();
        let part = self.inner.put_part(data);
        Box::pin(async move { store.run(StoreOp::PutPart, &path, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Self { store, path, inner } = self;
        store.run(StoreOp::CompleteMultipart, path, inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let Self { store, path, inner } = self;
        store.run(StoreOp::AbortMultipart, path, inner.abort()).await
    }
}

#[cfg(test)]
mod tests;
