//! The loops of the kernels, the same for every instruction set.
//!
//! Four rows and up to four queries are worked on at a time: their sixteen running totals fit in
//! the registers, and each loaded piece is used four times. The loops check all bounds before
//! they start and use raw pointers inside.
#![expect(unsafe_code, reason = "the inner loops read through raw pointers")]

use super::terms::{Isa, Load, Term};
use crate::aligned::ALIGNMENT;

/// Rows worked on at a time.
const ROWS: usize = 4;

/// Some rows of a block.
#[derive(Debug)]
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
    rows.check();
    let stride = query_stride::<T::Query>(rows.dim);
    let count = queries.len() / stride;
    assert!(queries.len() == count * stride, "a query is cut off");
    assert!(out.len() == count * rows.ids.len(), "one score for each query and row");
    if rows.ids.is_empty() {
        return;
    }
    let parts = count.div_ceil(4);
    let mut scores = out.chunks_mut(4 * rows.ids.len());
    for part in 0..parts {
        let ahead = AheadPart { ahead, part, parts };
        let Some(scores) = scores.next() else { return };
        // SAFETY: the slice starts inside of `queries`, and the strip is not longer than what is
        // left of it; the rows were checked. The rest is the caller's promise.
        unsafe {
            let queries = queries.as_ptr().add(part * 4 * stride);
            match count - part * 4 {
                1 => strip::<S, T, 1>(queries, &rows, ahead, scores),
                2 => strip::<S, T, 2>(queries, &rows, ahead, scores),
                3 => strip::<S, T, 3>(queries, &rows, ahead, scores),
                _ => strip::<S, T, 4>(queries, &rows, ahead, scores),
            }
        }
    }
}

/// `Q` queries against all rows of the set.
///
/// # Safety
/// As for [`Isa`]; `queries` points to `Q` queries, and the ids of the rows are in bounds.
#[inline(always)]
unsafe fn strip<S: Isa, T: Term<S>, const Q: usize>(
    queries: *const T::Query,
    rows: &RowSet<'_, T::Row>,
    ahead: AheadPart<'_>,
    out: &mut [f32],
) {
    let count = rows.ids.len();
    let mut first = 0;
    while first < count {
        // SAFETY: `first` is below the number of ids, which are in bounds.
        let scores = unsafe {
            ahead.prefetch::<S>(first);
            let group = rows.group(first);
            T::scores(block::<S, T, Q>(queries, group, rows.dim))
        };
        let wanted = ROWS.min(count - first);
        for query in 0..Q {
            let at = query * count + first;
            if wanted == ROWS {
                out[at..at + ROWS].copy_from_slice(&scores[query]);
            } else {
                out[at..at + wanted].copy_from_slice(&scores[query][..wanted]);
            }
        }
        first += ROWS;
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
            for query in 0..Q {
                let asked = T::query(queries.add(query * stride + at));
                for row in 0..ROWS {
                    sums[query][row] = T::add(sums[query][row], asked, pieces[row]);
                }
            }
            at += T::LANES;
        }
        if at < dim {
            let rest = dim - at;
            for row in 0..ROWS {
                let piece = T::row_head(rows[row].add(at), rest);
                for query in 0..Q {
                    let asked = T::query(queries.add(query * stride + at));
                    sums[query][row] = T::add(sums[query][row], asked, piece);
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
    rows.check();
    assert!(out.len() == rows.ids.len(), "one square for each row");
    for (group, out) in out.chunks_mut(ROWS).enumerate() {
        // SAFETY: there is an id for each place in `out`; ids are in bounds, so that each pointer
        // is good for `dim` components.
        let scores: [[f32; ROWS]; 1] = unsafe {
            let mut sums = [T::zero(); ROWS];
            let group = rows.group(group * ROWS);
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
    rows.check();
    let stride = query_stride::<L::Wide>(rows.dim);
    assert!(out.len() == stride * rows.ids.len(), "one widened row for each row");
    let whole = rows.dim - rows.dim % L::LANES;
    for (row, out) in out.chunks_exact_mut(stride).enumerate() {
        // SAFETY: the row has `dim` components. `out` has `stride` of them, which is at least
        // `dim` and a multiple of `LANES`, so that the last register still fits.
        unsafe {
            let from = rows.group(row)[0];
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

impl<R> RowSet<'_, R> {
    /// Checks what the loops rely on.
    #[inline(always)]
    fn check(&self) {
        assert!(self.dim > 0, "rows without components");
        let rows = self.data.len() / self.dim;
        let mut largest = 0;
        for &id in self.ids {
            largest = largest.max(id as usize);
        }
        assert!(self.ids.is_empty() || largest < rows, "a row beyond the end of the data");
    }

    /// Where four rows from the `first`-th id on start. When there are fewer, the last one stands
    /// for those that are missing.
    ///
    /// # Safety
    /// `first` is below the number of ids, and all ids are in bounds.
    #[inline(always)]
    unsafe fn group(&self, first: usize) -> [*const R; ROWS] {
        let last = self.ids.len() - 1;
        let mut starts = [self.data.as_ptr(); ROWS];
        for (row, start) in starts.iter_mut().enumerate() {
            // SAFETY: the index is at most `last`, and the id that it finds is in bounds.
            *start = unsafe {
                let id = *self.ids.get_unchecked((first + row).min(last));
                self.data.as_ptr().add(id as usize * self.dim)
            };
        }
        starts
    }
}

/// The share of one strip in bringing the next rows into the cache: every `parts`-th line.
#[derive(Clone, Copy)]
struct AheadPart<'a> {
    ahead: Ahead<'a>,
    part: usize,
    parts: usize,
}

impl AheadPart<'_> {
    /// Asks for this strip's share of the four rows from the `first`-th on.
    ///
    /// # Safety
    /// As for [`Isa`].
    #[inline(always)]
    unsafe fn prefetch<S: Isa>(&self, first: usize) {
        let ids = self.ahead.ids;
        let mut at = first;
        while at < ids.len() && at < first + ROWS {
            let row = ids[at] as usize * self.ahead.row_bytes;
            let mut offset = self.part * ALIGNMENT;
            while offset < self.ahead.row_bytes {
                // SAFETY: any address may be prefetched. The rest is the caller's promise.
                unsafe { S::prefetch(self.ahead.bytes.as_ptr().wrapping_add(row + offset)) };
                offset += self.parts * ALIGNMENT;
            }
            at += 1;
        }
    }
}
