//! Exact search: scores every live row of a block and keeps the nearest.
//!
//! Rows that the filter leaves out are not scored, so the cost follows the number of live rows.
//! Threads, merging and cancellation are the business of `parallel`.

use std::ops::{AddAssign, Range};

use bytemuck::Pod;
use pandion_types::{Error, MetricType, Result, VectorElement};

use crate::aligned::AlignedBytes;
use crate::kernels::{Ahead, PairFn, PairKernels, RowSet, TILE_ROWS_MAX, query_stride};
use crate::{Bitmap, PreparedQueries, TopK, VectorBlock};

/// Bytes of rows scored at a time, about: small enough to stay in the first-level cache while
/// the queries go over them.
const TILE_BYTES: usize = 32 * 1024;

/// Queries whose scores of one tile are held at a time.
const TILE_QUERIES: usize = 16;

/// Queries that the kernels take at a time. When there are more, rows of narrow types are widened
/// once for all of them.
const STRIP_QUERIES: usize = 4;

/// A part with fewer live rows than one in so many does not compute the norms of all its rows.
const NORMS_SHARE: usize = 8;

/// Vectors to search, and what they are called in results.
#[derive(Clone, Copy, Debug)]
pub struct SearchPart<'a> {
    /// The vectors.
    pub block: &'a VectorBlock,
    /// Key of the block's row 0; row `r` has key `base + r`.
    pub base: i64,
    /// The rows that may be found, one bit per row of the block; `None` for all.
    pub allowed: Option<&'a Bitmap>,
}

impl SearchPart<'_> {
    /// Checks that the part makes sense together with the queries.
    pub(crate) fn check(&self, queries: &PreparedQueries) -> Result<()> {
        queries.check_rows(self.block.vector_type())?;
        let rows = self.block.rows();
        if let Some(allowed) = self.allowed
            && allowed.len() != rows
        {
            return Err(Error::internal(format!(
                "a filter of {} rows for a block of {rows} rows",
                allowed.len()
            )));
        }
        let last = i64::try_from(rows).ok().and_then(|rows| self.base.checked_add(rows));
        if last.is_none() {
            return Err(Error::internal(format!("keys from {} on overflow", self.base)));
        }
        Ok(())
    }
}

/// What a search has done; the same for every number of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchCounters {
    /// Rows that had a vector and were allowed.
    pub live_rows: u64,
    /// Pairs of a query and a row that were compared.
    pub distances: u64,
}

impl AddAssign for SearchCounters {
    fn add_assign(&mut self, other: Self) {
        self.live_rows += other.live_rows;
        self.distances += other.distances;
    }
}

/// Shows the live rows among `rows` of the part's block to the collectors, one for each query.
///
/// # Errors
/// `InvalidArgument` when the block holds vectors of another type than the queries; `Internal`
/// when the number of collectors or of the filter's rows is not right, `rows` are not in the
/// block, or keys overflow; `Unavailable` when the memory cannot be had.
pub fn search_exact(
    part: &SearchPart<'_>,
    rows: Range<usize>,
    queries: &PreparedQueries,
    collectors: &mut [TopK],
) -> Result<SearchCounters> {
    part.check(queries)?;
    if collectors.len() != queries.len() {
        return Err(Error::internal(format!(
            "{} collectors for {} queries",
            collectors.len(),
            queries.len()
        )));
    }
    if rows.start > rows.end || rows.end > part.block.rows() {
        return Err(Error::internal(format!(
            "rows {}..{} of a block of {} rows",
            rows.start,
            rows.end,
            part.block.rows()
        )));
    }
    let mut counters = SearchCounters::default();
    if queries.is_empty() {
        return Ok(counters);
    }
    if queries.metric() == MetricType::Cosine {
        let live: u64 = LiveRows::new(part, rows.clone()).map(|(_, word)| ones(word)).sum();
        if live >= (rows.len() / NORMS_SHARE) as u64 {
            part.block.norms().fill(part.block, rows.start, rows.end);
        }
    }
    let mut scorer = Scorer::new(queries, part.block)?;
    let words = LiveRows::new(part, rows);
    let mut feed = Feed { words, rest: (0, 0), tile_rows: scorer.tile_rows() };
    let mut tile = Tile { ids: IOTA, len: 0 };
    let mut next = tile.clone();
    feed.fill(&mut tile);
    while !tile.ids().is_empty() {
        feed.fill(&mut next);
        scorer.collect(tile.ids(), next.ids(), part.base, collectors);
        counters.live_rows += tile.ids().len() as u64;
        std::mem::swap(&mut tile, &mut next);
    }
    counters.distances = counters.live_rows * queries.len() as u64;
    Ok(counters)
}

/// Scores given rows of a block against one query, for re-ranking. `out` is emptied and gets one
/// score per row, in the order of `rows`; a row without a vector scores NaN. The scores are the
/// same, to the last bit, as those that [`search_exact`] finds.
///
/// # Errors
/// `InvalidArgument` when the block holds vectors of another type than the queries; `Internal`
/// when a row or the query does not exist; `Unavailable` when the memory cannot be had.
pub fn score_rows(
    block: &VectorBlock,
    rows: &[u32],
    queries: &PreparedQueries,
    query: usize,
    out: &mut Vec<f32>,
) -> Result<()> {
    queries.check_rows(block.vector_type())?;
    if let Some(row) = rows.iter().find(|&&row| row as usize >= block.rows()) {
        return Err(Error::internal(format!("row {row} of a block of {} rows", block.rows())));
    }
    if query >= queries.len() {
        return Err(Error::internal(format!("query {query} of {}", queries.len())));
    }
    let mut scorer = Scorer::new(queries, block)?;
    out.clear();
    out.resize(rows.len(), 0.0);
    let size = scorer.tile_rows();
    let mut tiles = rows.chunks(size).peekable();
    let mut scores = out.chunks_mut(size);
    while let (Some(ids), Some(scores)) = (tiles.next(), scores.next()) {
        let ahead = tiles.peek().copied().unwrap_or_default();
        scorer.load(ids);
        scorer.score(query..query + 1, ids, ahead, scores);
        if let Some(valid) = block.validity() {
            let missing = ids.iter().zip(scores).filter(|(id, _)| !valid.get(**id as usize));
            missing.for_each(|(_, score)| *score = f32::NAN);
        }
    }
    Ok(())
}

/// Scores tiles of one block's rows.
struct Scorer<'a> {
    queries: &'a PreparedQueries,
    block: &'a VectorBlock,
    /// The current tile in a wider type, when that pays.
    widened: Option<AlignedBytes>,
    /// 1 / |row| of the current tile, for COSINE.
    inverse_norms: [f32; TILE_ROWS_MAX],
    scores: Vec<f32>,
}

impl<'a> Scorer<'a> {
    fn new(queries: &'a PreparedQueries, block: &'a VectorBlock) -> Result<Self> {
        let narrow = matches!(
            block.vector_type().element,
            VectorElement::Float16 | VectorElement::BFloat16 | VectorElement::Int8
        );
        let scores = vec![0.0; TILE_ROWS_MAX * TILE_QUERIES.min(queries.len())];
        let inverse_norms = [0.0; TILE_ROWS_MAX];
        let mut scorer = Self { queries, block, widened: None, inverse_norms, scores };
        if narrow && queries.len() > STRIP_QUERIES {
            scorer.widened =
                Some(AlignedBytes::with_capacity(scorer.tile_rows() * queries.padded_bytes())?);
        }
        Ok(scorer)
    }

    /// Rows per tile: a multiple of four.
    fn tile_rows(&self) -> usize {
        let rows = TILE_BYTES / self.queries.padded_bytes();
        (rows / 4 * 4).clamp(4, TILE_ROWS_MAX)
    }

    /// Scores a tile against all queries and shows it to the collectors.
    fn collect(&mut self, ids: &[u32], ahead: &[u32], base: i64, collectors: &mut [TopK]) {
        self.load(ids);
        let mut scores = std::mem::take(&mut self.scores);
        for (at, collectors) in collectors.chunks_mut(TILE_QUERIES).enumerate() {
            let first = at * TILE_QUERIES;
            let scores = &mut scores[..collectors.len() * ids.len()];
            let ahead = if first == 0 { ahead } else { &[] };
            self.score(first..first + collectors.len(), ids, ahead, scores);
            for (collector, scores) in collectors.iter_mut().zip(scores.chunks(ids.len())) {
                collector.offer(self.queries.kernels(), base, ids, scores);
            }
        }
        self.scores = scores;
    }

    /// Makes the rows ready to be scored.
    fn load(&mut self, ids: &[u32]) {
        if self.queries.metric() == MetricType::Cosine {
            let norms = &mut self.inverse_norms[..ids.len()];
            self.block.norms().gather(self.block, ids, norms);
        }
        let (kernels, block) = (self.queries.kernels(), self.block);
        let dim = self.queries.row_components();
        let Some(widened) = &mut self.widened else { return };
        match block.vector_type().element {
            VectorElement::Float16 => {
                let rows = RowSet { data: block.view(), dim, ids };
                (kernels.widen_f16)(rows, room(widened, dim, ids.len()));
            }
            VectorElement::BFloat16 => {
                let rows = RowSet { data: block.view(), dim, ids };
                (kernels.widen_bf16)(rows, room(widened, dim, ids.len()));
            }
            VectorElement::Int8 => {
                let rows = RowSet { data: block.view(), dim, ids };
                (kernels.widen_i8)(rows, room(widened, dim, ids.len()));
            }
            VectorElement::Float32 | VectorElement::Bit => {}
        }
    }

    /// Scores rows that are loaded, while rows `ahead` are brought into the cache.
    fn score(&self, queries: Range<usize>, ids: &[u32], ahead: &[u32], out: &mut [f32]) {
        let bytes = self.block.bytes();
        let row_bytes = self.block.vector_type().bytes();
        let ahead = Ahead { bytes, row_bytes, ids: ahead };
        self.pairs(queries.clone(), ids, ahead, out);
        if self.queries.metric() == MetricType::Cosine {
            let inverse_norms = &self.queries.inverse_norms()[queries];
            for (scores, query_norm) in out.chunks_mut(ids.len()).zip(inverse_norms) {
                for (score, row_norm) in scores.iter_mut().zip(&self.inverse_norms) {
                    // In this order no intermediate result can overflow for a zero product.
                    *score = (*score * query_norm * row_norm).clamp(-1.0, 1.0);
                }
            }
        }
    }

    fn pairs(&self, queries: Range<usize>, ids: &[u32], ahead: Ahead<'_>, out: &mut [f32]) {
        let (asked, block) = (self.queries, self.block);
        let dim = asked.row_components();
        let (kernels, metric) = (asked.kernels(), asked.metric());
        let element = block.vector_type().element;
        if let Some(widened) = &self.widened {
            let ids = &IOTA[..ids.len()];
            if element == VectorElement::Int8 {
                let dim = query_stride::<i16>(dim);
                let rows = RowSet { data: widened.view(), dim, ids };
                pick(&kernels.i16, metric)(asked.components(queries), rows, ahead, out);
            } else {
                let dim = query_stride::<f32>(dim);
                let rows = RowSet { data: widened.view(), dim, ids };
                pick(&kernels.f32, metric)(asked.components(queries), rows, ahead, out);
            }
            return;
        }
        match element {
            VectorElement::Float32 => {
                let rows = RowSet { data: block.view(), dim, ids };
                pick(&kernels.f32, metric)(asked.components(queries), rows, ahead, out);
            }
            VectorElement::Float16 => {
                let rows = RowSet { data: block.view(), dim, ids };
                pick(&kernels.f16, metric)(asked.components(queries), rows, ahead, out);
            }
            VectorElement::BFloat16 => {
                let rows = RowSet { data: block.view(), dim, ids };
                pick(&kernels.bf16, metric)(asked.components(queries), rows, ahead, out);
            }
            VectorElement::Int8 => {
                let rows = RowSet { data: block.view(), dim, ids };
                pick(&kernels.i8, metric)(asked.components(queries), rows, ahead, out);
            }
            VectorElement::Bit => {
                let rows = RowSet { data: block.view(), dim, ids };
                let jaccard = metric == MetricType::Jaccard;
                let kernel = if jaccard { kernels.jaccard } else { kernels.hamming };
                kernel(asked.components(queries), rows, ahead, out);
            }
        }
    }
}

/// The sum that the metric is made from.
fn pick<Q, R>(kernels: &PairKernels<Q, R>, metric: MetricType) -> PairFn<Q, R> {
    if metric == MetricType::L2 { kernels.square_diff } else { kernels.product }
}

/// Room for `rows` rows of `dim` widened components.
fn room<W: Pod>(buffer: &mut AlignedBytes, dim: usize, rows: usize) -> &mut [W] {
    let len = query_stride::<W>(dim) * rows;
    buffer.truncate(0);
    buffer.grow_zeroed(len * size_of::<W>());
    buffer.view_mut()
}

/// 0, 1, 2, ...
static IOTA: [u32; TILE_ROWS_MAX] = {
    let mut ids = [0; TILE_ROWS_MAX];
    let mut at = 1;
    while at < TILE_ROWS_MAX {
        ids[at] = ids[at - 1] + 1;
        at += 1;
    }
    ids
};

fn ones(word: u64) -> u64 {
    u64::from(word.count_ones())
}

/// Live rows as words of 64: the number of the first row, and the word, which is not 0.
struct LiveRows<'a> {
    validity: Option<&'a [u64]>,
    allowed: Option<&'a [u64]>,
    rows: Range<usize>,
}

impl<'a> LiveRows<'a> {
    fn new(part: &SearchPart<'a>, rows: Range<usize>) -> Self {
        let validity = part.block.validity().map(Bitmap::words);
        let allowed = part.allowed.map(Bitmap::words);
        Self { validity, allowed, rows }
    }
}

impl Iterator for LiveRows<'_> {
    type Item = (usize, u64);

    fn next(&mut self) -> Option<Self::Item> {
        while self.rows.start < self.rows.end {
            let (at, low) = (self.rows.start / 64, self.rows.start % 64);
            let high = 64.min(self.rows.end - at * 64);
            self.rows.start = at * 64 + high;
            let mut word = (u64::MAX << low) & (u64::MAX >> (64 - high));
            if let Some(validity) = self.validity {
                word &= validity[at];
            }
            if let Some(allowed) = self.allowed {
                word &= allowed[at];
            }
            if word != 0 {
                return Some((at * 64, word));
            }
        }
        None
    }
}

/// Live rows, cut into tiles.
struct Feed<'a> {
    words: LiveRows<'a>,
    /// Rows of the last word that did not fit into a tile.
    rest: (usize, u64),
    tile_rows: usize,
}

impl Feed<'_> {
    /// Puts the next live rows into the tile; none when there are no more.
    fn fill(&mut self, tile: &mut Tile) {
        tile.len = 0;
        while tile.len < self.tile_rows {
            if self.rest.1 == 0 {
                let Some(next) = self.words.next() else { return };
                self.rest = next;
            }
            let (first, word) = self.rest;
            if word == u64::MAX && self.tile_rows - tile.len == TILE_ROWS_MAX {
                for (id, at) in tile.ids.iter_mut().zip(IOTA) {
                    *id = row_number(first) + at;
                }
                tile.len = TILE_ROWS_MAX;
                self.rest.1 = 0;
            } else {
                tile.ids[tile.len] = row_number(first) + word.trailing_zeros();
                tile.len += 1;
                self.rest.1 = word & (word - 1);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a block has fewer than 2^32 rows")]
fn row_number(row: usize) -> u32 {
    row as u32
}

/// Rows that are scored together, wherever they lie in the block.
#[derive(Clone)]
struct Tile {
    ids: [u32; TILE_ROWS_MAX],
    len: usize,
}

impl Tile {
    fn ids(&self) -> &[u32] {
        &self.ids[..self.len]
    }
}

#[cfg(test)]
mod tests;
