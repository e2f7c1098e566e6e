//! Exact search over many blocks on the threads of the current rayon pool.
//!
//! The result, to the last bit, and the counters do not depend on the number of threads or on who
//! did what: scores are functions of query and row, and the order of hits is total.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pandion_types::{Error, ErrorKind, Result};
use rayon::prelude::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator,
};

use crate::{Hit, PreparedQueries, ScoreRange, SearchCounters, SearchPart, TopK, search_exact};

/// Bytes of vectors that a thread takes at a time, at most: long enough that taking costs nothing,
/// short enough that threads finish together and a cancellation is noticed soon.
const RANGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Ranges per thread, at least, so that a slow thread does not keep the others waiting.
const RANGES_PER_THREAD: usize = 4;

/// Bytes of vectors times queries below which one thread is faster than several.
const PARALLEL_BYTES_MIN: usize = 512 * 1024;

/// What is asked of [`search_parallel`].
#[derive(Clone, Copy, Debug)]
pub struct SearchRequest<'a> {
    /// The queries, prepared for the metric.
    pub queries: &'a PreparedQueries,
    /// Rows wanted per query. Memory is taken for up to `32 * k` bytes per query and thread.
    pub k: usize,
    /// The scores that are asked for; `None` for all.
    pub range: Option<ScoreRange>,
    /// For each query the hit that its hits have to come after in the order of the answer, or
    /// `None`. Missing entries count as `None`.
    pub after: &'a [Option<Hit>],
    /// Set by whoever wants the search to end early.
    pub cancelled: Option<&'a AtomicBool>,
}

/// What [`search_parallel`] found.
#[derive(Debug)]
pub struct SearchOutcome {
    /// For each query its hits, nearest first and by ascending key among equal scores.
    pub hits: Vec<Vec<Hit>>,
    /// What it cost.
    pub counters: SearchCounters,
}

/// Finds for each query the nearest rows of all parts. Blocks until done; runs on the rayon pool
/// that it is called in.
///
/// # Errors
/// Those of [`search_exact`]; `Cancelled` when the request was.
pub fn search_parallel(
    parts: &[SearchPart<'_>],
    request: &SearchRequest<'_>,
) -> Result<SearchOutcome> {
    parts.iter().try_for_each(|part| part.check(request.queries))?;
    let threads = rayon::current_num_threads();
    let bytes: usize = parts.iter().map(|part| part.block.bytes().len()).sum();
    let small = bytes.saturating_mul(request.queries.len()) < PARALLEL_BYTES_MIN;
    let work = Work {
        parts,
        request,
        ranges: cut(parts, bytes / (threads * RANGES_PER_THREAD)),
        taken: AtomicUsize::new(0),
    };
    let workers = if small { 1 } else { threads.min(work.ranges.len()).max(1) };
    let mut partial = if workers == 1 {
        vec![work.run()?]
    } else {
        (0..workers).into_par_iter().map(|_| work.run()).collect::<Result<Vec<_>>>()?
    };
    let (mut collectors, mut counters) = partial.pop().unwrap_or_default();
    for (others, more) in partial {
        counters += more;
        let pairs = collectors.par_iter_mut().zip(others);
        pairs.for_each(|(collector, other)| collector.merge(&other));
    }
    let hits = if workers == 1 {
        collectors.into_iter().map(TopK::into_sorted).collect()
    } else {
        collectors.into_par_iter().map(TopK::into_sorted).collect()
    };
    Ok(SearchOutcome { hits, counters })
}

/// Ranges that the threads take one after the other.
struct Work<'a> {
    parts: &'a [SearchPart<'a>],
    request: &'a SearchRequest<'a>,
    /// The part, and the rows in it.
    ranges: Vec<(usize, Range<usize>)>,
    /// How many ranges have been taken.
    taken: AtomicUsize,
}

impl Work<'_> {
    /// Takes ranges until none is left. A thread keeps its collectors all the while, so that
    /// what it has found narrows what it still looks for.
    fn run(&self) -> Result<(Vec<TopK>, SearchCounters)> {
        let SearchRequest { queries, k, range, after, cancelled } = *self.request;
        let empty = TopK::new(queries.metric(), k, range);
        let mut collectors: Vec<TopK> = (0..queries.len())
            .map(|at| empty.clone().starting_after(after.get(at).copied().flatten()))
            .collect();
        let mut counters = SearchCounters::default();
        while let Some((part, rows)) = self.ranges.get(self.taken.fetch_add(1, Ordering::Relaxed)) {
            if cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
                return Err(Error::new(ErrorKind::Cancelled, "the search was cancelled"));
            }
            let part = &self.parts[*part];
            counters += search_exact(part, rows.clone(), queries, &mut collectors)?;
        }
        Ok((collectors, counters))
    }
}

/// Cuts the parts into ranges of about `range_bytes`, at most [`RANGE_BYTES_MAX`], that start at
/// multiples of 64 rows.
fn cut(parts: &[SearchPart<'_>], range_bytes: usize) -> Vec<(usize, Range<usize>)> {
    let mut ranges = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let row_bytes = part.block.vector_type().bytes();
        let wanted = range_bytes.min(RANGE_BYTES_MAX) / row_bytes;
        let step = wanted.next_multiple_of(64).max(64);
        let rows = part.block.rows();
        let starts = (0..rows).step_by(step);
        ranges.extend(starts.map(|start| (at, start..rows.min(start + step))));
    }
    ranges
}

#[cfg(test)]
mod tests;
