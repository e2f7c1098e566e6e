//! What an instruction set must provide, and the sums that are built from it.
//!
//! [`Isa`] is a thin layer over vector instructions. [`Term`] says, for one element type and one
//! sum, how a piece of a query and a piece of a row add to the running totals. Loops are in
//! `driver`.
#![expect(unsafe_code, reason = "vector loads from raw pointers")]

use std::marker::PhantomData;

/// The operations of one instruction set.
///
/// Sums over the lanes of a register are taken as a fixed tree, so that `float_totals` and
/// `float_totals_4` give the same bits for the same register.
///
/// # Safety of all methods
/// They may run only where the instruction set's features are on: inlined into a function that
/// enables them, on a machine that has them. Pointers must be readable for as many components as
/// the method says; they need no alignment beyond that of their type.
pub(super) trait Isa: Copy + 'static {
    /// f32 lanes.
    type Floats: Copy;
    /// i16 lanes.
    type Words: Copy;
    /// i32 lanes: running totals of words or of bits.
    type Sums: Copy;
    /// Plain bits.
    type Bits: Copy;

    /// f32 components per register.
    const FLOATS: usize;
    /// i16 components per register.
    const WORDS: usize;
    /// Bytes of bits per register.
    const BIT_BYTES: usize;

    /// All lanes 0.
    unsafe fn zero_floats() -> Self::Floats;
    /// `FLOATS` components.
    unsafe fn load_f32(at: *const f32) -> Self::Floats;
    /// The first `count < FLOATS` components, then zeros.
    unsafe fn load_f32_head(at: *const f32, count: usize) -> Self::Floats;
    /// `FLOATS` components, widened.
    unsafe fn load_f16(at: *const u16) -> Self::Floats;
    /// The first `count < FLOATS` components, widened, then zeros.
    unsafe fn load_f16_head(at: *const u16, count: usize) -> Self::Floats;
    /// `FLOATS` components, widened.
    unsafe fn load_bf16(at: *const u16) -> Self::Floats;
    /// The first `count < FLOATS` components, widened, then zeros.
    unsafe fn load_bf16_head(at: *const u16, count: usize) -> Self::Floats;
    /// Writes `FLOATS` components.
    unsafe fn store_f32(at: *mut f32, floats: Self::Floats);
    /// `sum + (a - b)^2`.
    unsafe fn add_square_diff(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `sum + a * b`.
    unsafe fn add_product(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The total of each register's lanes.
    unsafe fn float_totals(sums: [Self::Floats; 4]) -> [f32; 4];
    /// Four times `float_totals`, where that can be done faster at once.
    #[inline(always)]
    unsafe fn float_totals_4(sums: [[Self::Floats; 4]; 4]) -> [[f32; 4]; 4] {
        let mut totals = [[0.0; 4]; 4];
        for at in 0..4 {
            // SAFETY: the caller's promise.
            totals[at] = unsafe { Self::float_totals(sums[at]) };
        }
        totals
    }

    /// All lanes 0.
    unsafe fn zero_sums() -> Self::Sums;
    /// `WORDS` components, sign-extended.
    unsafe fn load_i8(at: *const i8) -> Self::Words;
    /// The first `count < WORDS` components, sign-extended, then zeros.
    unsafe fn load_i8_head(at: *const i8, count: usize) -> Self::Words;
    /// `WORDS` components.
    unsafe fn load_i16(at: *const i16) -> Self::Words;
    /// The first `count < WORDS` components, then zeros.
    unsafe fn load_i16_head(at: *const i16, count: usize) -> Self::Words;
    /// Writes `WORDS` components.
    unsafe fn store_i16(at: *mut i16, words: Self::Words);
    /// `sum + (a - b)^2`; the words are in [-128, 127].
    unsafe fn add_word_square_diff(sum: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    /// `sum + a * b`; the words are in [-128, 127].
    unsafe fn add_word_product(sum: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    /// The total of each register's lanes.
    unsafe fn totals(sums: [Self::Sums; 4]) -> [i32; 4];

    /// `BIT_BYTES` bytes.
    unsafe fn load_bits(at: *const u8) -> Self::Bits;
    /// The first `count < BIT_BYTES` bytes, then zeros.
    unsafe fn load_bits_head(at: *const u8, count: usize) -> Self::Bits;
    /// Bits that are in one of both.
    unsafe fn xor(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bits that are in both.
    unsafe fn and(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Bits that are in any.
    unsafe fn or(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// `sum` and the number of set bits, spread over the lanes.
    unsafe fn add_count(sum: Self::Sums, bits: Self::Bits) -> Self::Sums;

    /// Asks for the cache line at `at`, which may be any address.
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        let _ = at;
    }

    /// See [`super::SelectFn`].
    #[inline(always)]
    unsafe fn select(scores: &[f32], limit: f32, larger: bool) -> u64 {
        let mut mask = 0;
        for (at, &score) in scores.iter().enumerate() {
            let near = if larger { score >= limit } else { score <= limit };
            mask |= u64::from(near) << at;
        }
        mask
    }
}

/// A sum over the components of a query and a row.
///
/// # Safety of all methods
/// As for [`Isa`].
pub(super) trait Term<S: Isa> {
    /// A component of a query.
    type Query: Copy;
    /// A component of a row.
    type Row: Copy;
    /// Components in a register.
    type Vector: Copy;
    /// Running totals in a register.
    type Sum: Copy;

    /// Components per register.
    const LANES: usize;

    /// All totals 0.
    unsafe fn zero() -> Self::Sum;
    /// `LANES` components.
    unsafe fn query(at: *const Self::Query) -> Self::Vector;
    /// `LANES` components.
    unsafe fn row(at: *const Self::Row) -> Self::Vector;
    /// The first `count < LANES` components, then zeros, which add nothing.
    unsafe fn row_head(at: *const Self::Row, count: usize) -> Self::Vector;
    /// Adds a piece of a query and of a row.
    unsafe fn add(sum: Self::Sum, query: Self::Vector, row: Self::Vector) -> Self::Sum;
    /// The scores of `Q` queries and 4 rows.
    unsafe fn scores<const Q: usize>(sums: [[Self::Sum; 4]; Q]) -> [[f32; 4]; Q];
}

/// How the components of a row become lanes of a register.
///
/// # Safety of all methods
/// As for [`Isa`].
pub(super) trait Load<S: Isa> {
    /// A component of a row as it is stored.
    type Row: Copy;
    /// A component after widening.
    type Wide: Copy;
    /// A register full of widened components.
    type Vector: Copy;
    /// Components per register.
    const LANES: usize;
    /// `LANES` components.
    unsafe fn load(at: *const Self::Row) -> Self::Vector;
    /// The first `count < LANES` components, then zeros.
    unsafe fn head(at: *const Self::Row, count: usize) -> Self::Vector;
    /// Writes `LANES` widened components.
    unsafe fn store(at: *mut Self::Wide, vector: Self::Vector);
}

macro_rules! loaders {
    ($($(#[$doc:meta])* $loader:ident($row:ty => $wide:ty, $vector:ident, $lanes:ident):
        $load:ident, $head:ident, $store:ident;)*) => {$(
        $(#[$doc])*
        pub(super) struct $loader;

        impl<S: Isa> Load<S> for $loader {
            type Row = $row;
            type Wide = $wide;
            type Vector = S::$vector;
            const LANES: usize = S::$lanes;

            #[inline(always)]
            unsafe fn load(at: *const $row) -> S::$vector {
                // SAFETY: the caller's promise.
                unsafe { S::$load(at) }
            }

            #[inline(always)]
            unsafe fn head(at: *const $row, count: usize) -> S::$vector {
                // SAFETY: the caller's promise.
                unsafe { S::$head(at, count) }
            }

            #[inline(always)]
            unsafe fn store(at: *mut $wide, vector: S::$vector) {
                // SAFETY: the caller's promise.
                unsafe { S::$store(at, vector) }
            }
        }
    )*};
}

loaders! {
    /// Rows of f32.
    F32(f32 => f32, Floats, FLOATS): load_f32, load_f32_head, store_f32;
    /// Rows of binary16.
    F16(u16 => f32, Floats, FLOATS): load_f16, load_f16_head, store_f32;
    /// Rows of bfloat16.
    BF16(u16 => f32, Floats, FLOATS): load_bf16, load_bf16_head, store_f32;
    /// Rows of int8.
    I8(i8 => i16, Words, WORDS): load_i8, load_i8_head, store_i16;
    /// Rows of int8 that were widened to i16.
    I16(i16 => i16, Words, WORDS): load_i16, load_i16_head, store_i16;
}

/// Sum of squared differences (`DIFF`) or of products, in f32.
pub(super) struct Floats<L, const DIFF: bool>(PhantomData<L>);

impl<S, L, const DIFF: bool> Term<S> for Floats<L, DIFF>
where
    S: Isa,
    L: Load<S, Vector = S::Floats>,
{
    type Query = f32;
    type Row = L::Row;
    type Vector = S::Floats;
    type Sum = S::Floats;
    const LANES: usize = S::FLOATS;

    #[inline(always)]
    unsafe fn zero() -> S::Floats {
        // SAFETY: the caller's promise.
        unsafe { S::zero_floats() }
    }

    #[inline(always)]
    unsafe fn query(at: *const f32) -> S::Floats {
        // SAFETY: the caller's promise.
        unsafe { S::load_f32(at) }
    }

    #[inline(always)]
    unsafe fn row(at: *const L::Row) -> S::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::load(at) }
    }

    #[inline(always)]
    unsafe fn row_head(at: *const L::Row, count: usize) -> S::Floats {
        // SAFETY: the caller's promise.
        unsafe { L::head(at, count) }
    }

    #[inline(always)]
    unsafe fn add(sum: S::Floats, query: S::Floats, row: S::Floats) -> S::Floats {
        // SAFETY: the caller's promise.
        unsafe {
            if DIFF { S::add_square_diff(sum, query, row) } else { S::add_product(sum, query, row) }
        }
    }

    #[inline(always)]
    unsafe fn scores<const Q: usize>(sums: [[S::Floats; 4]; Q]) -> [[f32; 4]; Q] {
        let mut scores = [[0.0; 4]; Q];
        if Q == 4 {
            // SAFETY: the caller's promise.
            let totals = unsafe { S::float_totals_4([sums[0], sums[1], sums[2], sums[3]]) };
            scores.copy_from_slice(&totals);
        } else {
            for at in 0..Q {
                // SAFETY: the caller's promise.
                scores[at] = unsafe { S::float_totals(sums[at]) };
            }
        }
        scores
    }
}

/// Sum of squared differences (`DIFF`) or of products, in i32 until the end.
pub(super) struct Words<L, const DIFF: bool>(PhantomData<L>);

impl<S, L, const DIFF: bool> Term<S> for Words<L, DIFF>
where
    S: Isa,
    L: Load<S, Vector = S::Words>,
{
    type Query = i16;
    type Row = L::Row;
    type Vector = S::Words;
    type Sum = S::Sums;
    const LANES: usize = S::WORDS;

    #[inline(always)]
    unsafe fn zero() -> S::Sums {
        // SAFETY: the caller's promise.
        unsafe { S::zero_sums() }
    }

    #[inline(always)]
    unsafe fn query(at: *const i16) -> S::Words {
        // SAFETY: the caller's promise.
        unsafe { S::load_i16(at) }
    }

    #[inline(always)]
    unsafe fn row(at: *const L::Row) -> S::Words {
        // SAFETY: the caller's promise.
        unsafe { L::load(at) }
    }

    #[inline(always)]
    unsafe fn row_head(at: *const L::Row, count: usize) -> S::Words {
        // SAFETY: the caller's promise.
        unsafe { L::head(at, count) }
    }

    #[inline(always)]
    unsafe fn add(sum: S::Sums, query: S::Words, row: S::Words) -> S::Sums {
        // SAFETY: the caller's promise.
        unsafe {
            if DIFF {
                S::add_word_square_diff(sum, query, row)
            } else {
                S::add_word_product(sum, query, row)
            }
        }
    }

    #[inline(always)]
    unsafe fn scores<const Q: usize>(sums: [[S::Sums; 4]; Q]) -> [[f32; 4]; Q] {
        let mut scores = [[0.0; 4]; Q];
        for at in 0..Q {
            // SAFETY: the caller's promise.
            let totals = unsafe { S::totals(sums[at]) };
            for row in 0..4 {
                scores[at][row] = nearest_f32(totals[row]);
            }
        }
        scores
    }
}

/// Number of differing bits, or the Jaccard distance.
pub(super) struct Bits<const JACCARD: bool>;

impl<S: Isa, const JACCARD: bool> Term<S> for Bits<JACCARD> {
    type Query = u8;
    type Row = u8;
    type Vector = S::Bits;
    /// Differing bits and nothing, or common bits and all bits.
    type Sum = (S::Sums, S::Sums);
    const LANES: usize = S::BIT_BYTES;

    #[inline(always)]
    unsafe fn zero() -> Self::Sum {
        // SAFETY: the caller's promise.
        unsafe { (S::zero_sums(), S::zero_sums()) }
    }

    #[inline(always)]
    unsafe fn query(at: *const u8) -> S::Bits {
        // SAFETY: the caller's promise.
        unsafe { S::load_bits(at) }
    }

    #[inline(always)]
    unsafe fn row(at: *const u8) -> S::Bits {
        // SAFETY: the caller's promise.
        unsafe { S::load_bits(at) }
    }

    #[inline(always)]
    unsafe fn row_head(at: *const u8, count: usize) -> S::Bits {
        // SAFETY: the caller's promise.
        unsafe { S::load_bits_head(at, count) }
    }

    #[inline(always)]
    unsafe fn add(sum: Self::Sum, query: S::Bits, row: S::Bits) -> Self::Sum {
        // SAFETY: the caller's promise.
        unsafe {
            if JACCARD {
                let common = S::add_count(sum.0, S::and(query, row));
                (common, S::add_count(sum.1, S::or(query, row)))
            } else {
                (S::add_count(sum.0, S::xor(query, row)), sum.1)
            }
        }
    }

    #[inline(always)]
    unsafe fn scores<const Q: usize>(sums: [[Self::Sum; 4]; Q]) -> [[f32; 4]; Q] {
        let mut scores = [[0.0; 4]; Q];
        for at in 0..Q {
            let [a, b, c, d] = sums[at];
            // SAFETY: the caller's promise.
            let first = unsafe { S::totals([a.0, b.0, c.0, d.0]) };
            let second = if JACCARD {
                // SAFETY: the caller's promise.
                unsafe { S::totals([a.1, b.1, c.1, d.1]) }
            } else {
                [0; 4]
            };
            for row in 0..4 {
                scores[at][row] = if JACCARD {
                    jaccard(first[row], second[row])
                } else {
                    nearest_f32(first[row])
                };
            }
        }
        scores
    }
}

#[inline(always)]
fn jaccard(common: i32, all: i32) -> f32 {
    if all == 0 { 0.0 } else { 1.0 - nearest_f32(common) / nearest_f32(all) }
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "a score is the f32 nearest to the exact sum")]
fn nearest_f32(total: i32) -> f32 {
    total as f32
}
