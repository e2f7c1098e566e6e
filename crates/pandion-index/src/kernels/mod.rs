//! The distance kernels: one table of functions per instruction set, chosen once per process.
//!
//! Every kernel of a table computes a (query, row) pair by the same operations in the same order,
//! whatever else is computed beside it. So a score never depends on how many queries or rows a
//! call has. Between tables, floating-point scores may differ in their last bits, and scores of
//! integers and bits may not. Nothing here knows of validity, filters or top-k.

mod driver;
mod portable;
mod terms;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;

pub(crate) use driver::{Ahead, RowSet, TILE_ROWS_MAX, query_stride};

/// Scores of queries against rows.
///
/// The queries lie one after the other, each padded with zeros to [`query_stride`] components.
/// The score of query `q` and the `i`-th row of the set goes to `out[q * rows.ids.len() + i]`.
///
/// # Panics
/// When a slice does not have the length that the others ask for, or a row id is not in the data.
pub(crate) type PairFn<Q, R> = fn(&[Q], RowSet<'_, R>, Ahead<'_>, &mut [f32]);

/// For each row of the set, the sum of the squares of its components.
///
/// # Panics
/// When `out` is not as long as the set, or a row id is not in the data.
pub(crate) type SquaresFn<R> = fn(RowSet<'_, R>, &mut [f32]);

/// Copies the rows of the set to `out` one after the other in a wider type, each padded with
/// zeros to [`query_stride`] components of that type.
///
/// # Panics
/// When `out` does not have that length, or a row id is not in the data.
pub(crate) type WidenFn<R, W> = fn(RowSet<'_, R>, &mut [W]);

/// Bit `i` says whether `scores[i]` is at least as near as the limit; NaN never is. With `true`,
/// larger scores are nearer. At most 64 scores.
pub(crate) type SelectFn = fn(&[f32], f32, bool) -> u64;

/// Whether a component has all bits of the mask set, which are those of an exponent.
pub(crate) type AnyFn<T> = fn(&[T], T) -> bool;

/// The two sums from which float and int8 metrics are made.
pub(crate) struct PairKernels<Q, R> {
    /// Sum of squared differences.
    pub(crate) square_diff: PairFn<Q, R>,
    /// Sum of products.
    pub(crate) product: PairFn<Q, R>,
}

/// The kernels of one instruction set.
pub struct Kernels {
    name: &'static str,
    pub(crate) f32: PairKernels<f32, f32>,
    pub(crate) f16: PairKernels<f32, u16>,
    pub(crate) bf16: PairKernels<f32, u16>,
    /// Rows of int8 against queries that were widened to i16.
    pub(crate) i8: PairKernels<i16, i8>,
    /// Rows of int8 that were widened to i16, too.
    pub(crate) i16: PairKernels<i16, i16>,
    /// Number of differing bits; a component is a byte.
    pub(crate) hamming: PairFn<u8, u8>,
    /// 1 - |and| / |or|, and 0 when both are empty; a component is a byte.
    pub(crate) jaccard: PairFn<u8, u8>,
    pub(crate) squares_f32: SquaresFn<f32>,
    pub(crate) squares_f16: SquaresFn<u16>,
    pub(crate) squares_bf16: SquaresFn<u16>,
    pub(crate) squares_i8: SquaresFn<i8>,
    pub(crate) widen_f16: WidenFn<u16, f32>,
    pub(crate) widen_bf16: WidenFn<u16, f32>,
    pub(crate) widen_i8: WidenFn<i8, i16>,
    pub(crate) select: SelectFn,
    pub(crate) any_has_32: AnyFn<u32>,
    pub(crate) any_has_16: AnyFn<u16>,
}

impl Kernels {
    /// The kernels that run everywhere and against which the others are tested.
    #[must_use]
    pub fn portable() -> &'static Self {
        &portable::KERNELS
    }

    /// The fastest kernels that this machine can run.
    #[must_use]
    pub fn detect() -> &'static Self {
        static DETECTED: OnceLock<&'static Kernels> = OnceLock::new();
        DETECTED.get_or_init(|| Self::available()[0])
    }

    /// All kernels that this machine can run, the fastest first.
    #[must_use]
    pub fn available() -> Vec<&'static Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(avx512::available());
            all.extend(avx2::available());
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(neon::available());
        all.push(Self::portable());
        all
    }

    /// The name of the instruction set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernels").field(&self.name).finish()
    }
}

/// Defines `KERNELS`, the table of instruction set `$isa`. The attribute switches its features on
/// in the functions into which the generic code is inlined; the table must be handed out only on
/// machines that have the features.
macro_rules! kernel_table {
    ($isa:ty, $name:literal, #[$features:meta]) => {
        /// The table of this instruction set.
        pub(super) static KERNELS: crate::kernels::Kernels = {
            use crate::kernels::PairKernels;
            use crate::kernels::terms::{BF16, Bits, F16, F32, Floats, I8, I16, Words};
            crate::kernels::Kernels {
                name: $name,
                f32: PairKernels {
                    square_diff: pairs::<Floats<F32, true>>,
                    product: pairs::<Floats<F32, false>>,
                },
                f16: PairKernels {
                    square_diff: pairs::<Floats<F16, true>>,
                    product: pairs::<Floats<F16, false>>,
                },
                bf16: PairKernels {
                    square_diff: pairs::<Floats<BF16, true>>,
                    product: pairs::<Floats<BF16, false>>,
                },
                i8: PairKernels {
                    square_diff: pairs::<Words<I8, true>>,
                    product: pairs::<Words<I8, false>>,
                },
                i16: PairKernels {
                    square_diff: pairs::<Words<I16, true>>,
                    product: pairs::<Words<I16, false>>,
                },
                hamming: pairs::<Bits<false>>,
                jaccard: pairs::<Bits<true>>,
                squares_f32: squares::<Floats<F32, false>>,
                squares_f16: squares::<Floats<F16, false>>,
                squares_bf16: squares::<Floats<BF16, false>>,
                squares_i8: squares::<Words<I8, false>>,
                widen_f16: widen::<F16>,
                widen_bf16: widen::<BF16>,
                widen_i8: widen::<I8>,
                select,
                any_has_32: any_has,
                any_has_16: any_has,
            }
        };

        fn any_has<T>(components: &[T], mask: T) -> bool
        where
            T: Copy + PartialEq + std::ops::BitAnd<Output = T>,
        {
            #[$features]
            unsafe fn featured<T>(components: &[T], mask: T) -> bool
            where
                T: Copy + PartialEq + std::ops::BitAnd<Output = T>,
            {
                // SAFETY: the features are on in this function.
                unsafe { crate::kernels::driver::any_has::<$isa, T>(components, mask) }
            }
            // SAFETY: the table is handed out only on machines that have the features.
            unsafe { featured(components, mask) }
        }

        fn pairs<T: crate::kernels::terms::Term<$isa>>(
            queries: &[T::Query],
            rows: crate::kernels::RowSet<'_, T::Row>,
            ahead: crate::kernels::Ahead<'_>,
            out: &mut [f32],
        ) {
            #[$features]
            unsafe fn featured<T: crate::kernels::terms::Term<$isa>>(
                queries: &[T::Query],
                rows: crate::kernels::RowSet<'_, T::Row>,
                ahead: crate::kernels::Ahead<'_>,
                out: &mut [f32],
            ) {
                // SAFETY: the features are on in this function.
                unsafe { crate::kernels::driver::pairs::<$isa, T>(queries, rows, ahead, out) }
            }
            // SAFETY: the table is handed out only on machines that have the features.
            unsafe { featured::<T>(queries, rows, ahead, out) }
        }

        fn squares<T>(rows: crate::kernels::RowSet<'_, T::Row>, out: &mut [f32])
        where
            T: crate::kernels::terms::Term<$isa>,
        {
            #[$features]
            unsafe fn featured<T: crate::kernels::terms::Term<$isa>>(
                rows: crate::kernels::RowSet<'_, T::Row>,
                out: &mut [f32],
            ) {
                // SAFETY: the features are on in this function.
                unsafe { crate::kernels::driver::squares::<$isa, T>(rows, out) }
            }
            // SAFETY: the table is handed out only on machines that have the features.
            unsafe { featured::<T>(rows, out) }
        }

        fn widen<L>(rows: crate::kernels::RowSet<'_, L::Row>, out: &mut [L::Wide])
        where
            L: crate::kernels::terms::Load<$isa>,
        {
            #[$features]
            unsafe fn featured<L: crate::kernels::terms::Load<$isa>>(
                rows: crate::kernels::RowSet<'_, L::Row>,
                out: &mut [L::Wide],
            ) {
                // SAFETY: the features are on in this function.
                unsafe { crate::kernels::driver::widen::<$isa, L>(rows, out) }
            }
            // SAFETY: the table is handed out only on machines that have the features.
            unsafe { featured::<L>(rows, out) }
        }

        fn select(scores: &[f32], limit: f32, larger: bool) -> u64 {
            #[$features]
            unsafe fn featured(scores: &[f32], limit: f32, larger: bool) -> u64 {
                assert!(scores.len() <= 64, "a selection is one word");
                // SAFETY: the features are on in this function.
                unsafe { <$isa as crate::kernels::terms::Isa>::select(scores, limit, larger) }
            }
            // SAFETY: the table is handed out only on machines that have the features.
            unsafe { featured(scores, limit, larger) }
        }
    };
}
use kernel_table;
