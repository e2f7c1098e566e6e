//! The loops of the kernels, the same for every instruction set.
//!
//! Four rows and up to four queries are worked on at a time: their sixteen running totals fit in
//! the registers, and each loaded piece is used four times. The loops check all bounds before
//! they start and use raw pointers inside.
#![expect(unsafe_code, reason = "the inner loops read through raw pointers")]

use std::ops::BitAnd;

use super::terms::{Isa, Load, Term};
use crate::aligned::ALIGNMENT;

/// Components that `any_has` looks at between two decisions whether to go on.
const CHECKED: usize = 1024;

/// Rows worked on at a time.
const ROWS: usize = 4;

/// Rows that a kernel takes at once, at most: as many as one selection word has bits.
pub(crate) const TILE_ROWS_MAX: usize = 64;

/// Some rows of a block, at most [`TILE_ROWS_MAX`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowSet<'a, R> {
    /// Components, row after row.
    pub(crate) data: &'a [R],
    /// Components per row, at least 1.
    pub(crate) dim: usize,
    /// The rows, in any order.
    pub(crate) ids: &'a [u32],
}

/// Rows that will be wanted next, to be brought into the cache meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead<'a> {
    /// Bytes, row after row.
    pub(crate) bytes: &'a [u8],
    /// Bytes per row.
    pub(crate) row_bytes: usize,
    /// The rows.
    pub(crate) ids: &'a [u32],
}

/// Components from one query to the next: `dim`, padded to whole cache lines, so that queries are
/// loaded without regard to where they end.
pub(crate) const fn query_stride<Q>(dim: usize) -> usize {
    dim.next_multiple_of(ALIGNMENT / size_of::<Q>())
}

/// See [`super::PairFn`].
///
/// # Safety
/// As for [`Isa`].
#[inline(always)]
pub(super) unsafe fn pairs<S: Isa, T: Term<S>>(
    queries: &[T::Query],
    rows: RowSet<'_, T::Row>,
    ahead: Ahead<'_>,
    out: &mut [f32],
) {
    let starts = rows.starts();
    let stride = query_stride::<T::Query>(rows.dim);
    let count = queries.len() / stride;
    assert!(queries.len() == count * stride, "a query is cut off");
    assert!(out.len() == count * rows.ids.len(), "one score for each query and row");
    if rows.ids.is_empty() {
        return;
    }
    let parts = count.div_ceil(4);
    for (part, out) in out.chunks_mut(4 * rows.ids.len()).enumerate() {
        let share = AheadShare { ahead, part, parts };
        // SAFETY: `out` has a chunk for every four queries, so that the slice starts inside of
        // `queries`, and `Q` is not more than what is left of it and of `out`. The pointers are
        // good for `dim` components each. The rest is the caller's promise.
        unsafe {
            let queries = queries.as_ptr().add(part * 4 * stride);
            let strip = Strip { queries, starts: &starts, dim: rows.dim, share, out };
            match count - part * 4 {
                1 => strip.run::<S, T, 1>(rows.ids.len()),
                2 => strip.run::<S, T, 2>(rows.ids.len()),
                3 => strip.run::<S, T, 3>(rows.ids.len()),
                _ => strip.run::<S, T, 4>(rows.ids.len()),
            }
        }
    }
}

/// Up to four queries against all rows of a set.
struct Strip<'a, Q, R> {
    queries: *const Q,
    starts: &'a [*const R; TILE_ROWS_MAX],
    dim: usize,
    share: AheadShare<'a>,
    out: &'a mut [f32],
}

impl<Q, R> Strip<'_, Q, R> {
    /// Scores `rows` rows against `N` queries.
    ///
    /// # Safety
    /// As for [`Isa`]; `queries` points to `N` queries, the starts to `dim` components each, and
    /// `out` has room for `N * rows` scores.
    #[inline(always)]
    unsafe fn run<S: Isa, T: Term<S, Query = Q, Row = R>, const N: usize>(self, rows: usize) {
        let out = self.out.as_mut_ptr();
        let prefetch = self.share.is_something();
        let mut first = 0;
        while first < rows {
            // SAFETY: there are starts up to the next multiple of four. What is written are the
            // places from `first` on of each query's `rows` places.
            unsafe {
                if prefetch {
                    self.share.prefetch::<S>(first);
                }
                let group: [*const R; ROWS] = *self.starts.as_ptr().add(first).cast();
                let scores = T::scores(block::<S, T, N>(self.queries, group, self.dim));
                let wanted = ROWS.min(rows - first);
                for (query, scores) in scores.iter().enumerate() {
                    let place = out.add(query * rows + first);
                    if wanted == ROWS {
                        place.cast::<[f32; ROWS]>().write_unaligned(*scores);
                    } else {
                        place.copy_from_nonoverlapping(scores.as_ptr(), wanted);
                    }
                }
            }
            first += ROWS;
        }
    }
}

/// The running totals of `Q` queries and 4 rows.
///
/// # Safety
/// As for [`Isa`]; `queries` points to `Q` queries, the pointers of `rows` to `dim` components.
#[inline(always)]
unsafe fn block<S: Isa, T: Term<S>, const Q: usize>(
    queries: *const T::Query,
    rows: [*const T::Row; ROWS],
    dim: usize,
) -> [[T::Sum; ROWS]; Q] {
    let stride = query_stride::<T::Query>(dim);
    // SAFETY: rows are read up to `dim`, queries up to `stride`, which whole registers divide.
    unsafe {
        let mut sums = [[T::zero(); ROWS]; Q];
        let mut at = 0;
        while at + T::LANES <= dim {
            let [a, b, c, d] = rows;
            let pieces =
                [T::row(a.add(at)), T::row(b.add(at)), T::row(c.add(at)), T::row(d.add(at))];
            for (query, sums) in sums.iter_mut().enumerate() {
                let asked = T::query(queries.add(query * stride + at));
                for (sum, piece) in sums.iter_mut().zip(pieces) {
                    *sum = T::add(*sum, asked, piece);
                }
            }
            at += T::LANES;
        }
        if at < dim {
            let rest = dim - at;
            for row in 0..ROWS {
                let piece = T::row_head(rows[row].add(at), rest);
                for (query, sums) in sums.iter_mut().enumerate() {
                    let asked = T::query(queries.add(query * stride + at));
                    sums[row] = T::add(sums[row], asked, piece);
                }
            }
        }
        sums
    }
}

/// See [`super::SquaresFn`]. `T` is a sum of products.
///
/// # Safety
/// As for [`Isa`].
#[inline(always)]
pub(super) unsafe fn squares<S: Isa, T: Term<S>>(rows: RowSet<'_, T::Row>, out: &mut [f32]) {
    let starts = rows.starts();
    assert!(out.len() == rows.ids.len(), "one square for each row");
    for (out, group) in out.chunks_mut(ROWS).zip(starts.as_chunks::<ROWS>().0) {
        // SAFETY: each pointer is good for `dim` components, since there are starts up to the
        // next multiple of four.
        let scores: [[f32; ROWS]; 1] = unsafe {
            let mut sums = [T::zero(); ROWS];
            for row in 0..ROWS {
                let mut at = 0;
                while at + T::LANES <= rows.dim {
                    let piece = T::row(group[row].add(at));
                    sums[row] = T::add(sums[row], piece, piece);
                    at += T::LANES;
                }
                if at < rows.dim {
                    let piece = T::row_head(group[row].add(at), rows.dim - at);
                    sums[row] = T::add(sums[row], piece, piece);
                }
            }
            T::scores([sums])
        };
        out.copy_from_slice(&scores[0][..out.len()]);
    }
}

/// See [`super::WidenFn`].
///
/// # Safety
/// As for [`Isa`].
#[inline(always)]
pub(super) unsafe fn widen<S: Isa, L: Load<S>>(rows: RowSet<'_, L::Row>, out: &mut [L::Wide]) {
    let starts = rows.starts();
    let stride = query_stride::<L::Wide>(rows.dim);
    assert!(out.len() == stride * rows.ids.len(), "one widened row for each row");
    let whole = rows.dim - rows.dim % L::LANES;
    for (out, &from) in out.chunks_exact_mut(stride).zip(&starts) {
        // SAFETY: the row has `dim` components. `out` has `stride` of them, which is at least
        // `dim` and a multiple of `LANES`, so that the last register still fits.
        unsafe {
            let mut at = 0;
            while at < whole {
                L::store(out.as_mut_ptr().add(at), L::load(from.add(at)));
                at += L::LANES;
            }
            while at < stride {
                let piece = L::head(from.add(at.min(rows.dim)), rows.dim.saturating_sub(at));
                L::store(out.as_mut_ptr().add(at), piece);
                at += L::LANES;
            }
        }
    }
}

/// See [`super::AnyFn`].
///
/// # Safety
/// As for [`Isa`].
#[inline(always)]
pub(super) unsafe fn any_has<S: Isa, T>(components: &[T], mask: T) -> bool
where
    T: Copy + PartialEq + BitAnd<Output = T>,
{
    let end = components.as_ptr_range().end.cast::<u8>();
    for (at, chunk) in components.chunks(CHECKED).enumerate() {
        let mut line = 0;
        while line < size_of_val(chunk) {
            let ahead = (at + 2) * CHECKED * size_of::<T>() + line;
            // SAFETY: any address may be prefetched. The rest is the caller's promise.
            unsafe { S::prefetch(components.as_ptr().cast::<u8>().wrapping_add(ahead).min(end)) };
            line += ALIGNMENT;
        }
        // Without a branch inside, this becomes vector code.
        let mut any = false;
        for &component in chunk {
            any |= component & mask == mask;
        }
        if any {
            return true;
        }
    }
    false
}

impl<R> RowSet<'_, R> {
    /// Where each row starts. The last row stands for those that are missing to a multiple of
    /// four. Every start is good for `dim` components, but for those after that.
    ///
    /// # Panics
    /// When there are too many rows, or one is not in the data.
    #[inline(always)]
    fn starts(&self) -> [*const R; TILE_ROWS_MAX] {
        assert!(self.dim > 0, "rows without components");
        assert!(self.ids.len() <= TILE_ROWS_MAX, "too many rows at a time");
        let rows = self.data.len() / self.dim;
        let mut starts = [self.data.as_ptr(); TILE_ROWS_MAX];
        let mut largest = 0;
        for (start, &id) in starts.iter_mut().zip(self.ids) {
            largest = largest.max(id as usize);
            *start = self.data.as_ptr().wrapping_add((id as usize).wrapping_mul(self.dim));
        }
        assert!(self.ids.is_empty() || largest < rows, "a row beyond the end of the data");
        for missing in self.ids.len()..self.ids.len().next_multiple_of(ROWS) {
            starts[missing] = starts[missing - 1];
        }
        starts
    }
}

/// The share of one strip in bringing the next rows into the cache: every `parts`-th line.
#[derive(Clone, Copy)]
struct AheadShare<'a> {
    ahead: Ahead<'a>,
    part: usize,
    parts: usize,
}

impl AheadShare<'_> {
    /// Whether there is a line to be fetched at all.
    #[inline(always)]
    fn is_something(&self) -> bool {
        !self.ahead.ids.is_empty() && self.part * ALIGNMENT < self.ahead.row_bytes
    }

    /// Asks for this strip's share of the four rows from the `first`-th on.
    ///
    /// # Safety
    /// As for [`Isa`].
    #[inline(always)]
    unsafe fn prefetch<S: Isa>(&self, first: usize) {
        for &id in self.ahead.ids.iter().skip(first).take(ROWS) {
            let row = id as usize * self.ahead.row_bytes;
            let mut offset = self.part * ALIGNMENT;
            while offset < self.ahead.row_bytes {
                // SAFETY: any address may be prefetched. The rest is the caller's promise.
                unsafe { S::prefetch(self.ahead.bytes.as_ptr().wrapping_add(row + offset)) };
                offset += self.parts * ALIGNMENT;
            }
        }
    }
}
