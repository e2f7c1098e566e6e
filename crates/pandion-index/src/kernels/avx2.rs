//! Kernels for AVX2 with FMA and F16C: every x86-64 server since 2013.
#![expect(unsafe_code, reason = "vector loads from raw pointers")]

use std::arch::x86_64::{
    __m128, __m128i, __m256, __m256i, _CMP_GE_OQ, _CMP_LE_OQ, _MM_HINT_T1, _mm_add_epi32,
    _mm_add_ps, _mm_castps_si128, _mm_castsi128_ps, _mm_loadu_si128, _mm_prefetch, _mm_shuffle_ps,
    _mm_storeu_ps, _mm_storeu_si128, _mm256_add_epi8, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps,
    _mm256_cvtepi8_epi16, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maskload_ps, _mm256_movemask_ps, _mm256_or_si256, _mm256_sad_epu8,
    _mm256_set1_epi8, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi16, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_sub_epi16, _mm256_sub_ps, _mm256_xor_si256,
};

use super::terms::Isa;
use super::{Kernels, kernel_table};

/// 256-bit registers.
#[derive(Clone, Copy)]
struct Avx2;

kernel_table!(Avx2, "avx2", #[target_feature(enable = "avx2,fma,f16c")]);

/// The table, when this machine can run it.
pub(super) fn available() -> Option<&'static Kernels> {
    let has = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    has.then_some(&KERNELS)
}

/// Read from `8 - count` on, the first `count` lanes are selected.
static HEAD_MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Copies the first `count` of `N` components; the others are 0.
///
/// # Safety
/// `at` is readable for `count <= N` components.
#[inline(always)]
unsafe fn head<T: Copy + Default, const N: usize>(at: *const T, count: usize) -> [T; N] {
    let mut lanes = [T::default(); N];
    // SAFETY: the caller's promise.
    unsafe { at.copy_to_nonoverlapping(lanes.as_mut_ptr(), count) };
    lanes
}

/// The upper half of a register added to its lower half.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(sum: __m256) -> __m128 {
    _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum))
}

/// As [`halves`], for integers.
#[inline]
#[target_feature(enable = "avx2")]
fn int_halves(sum: __m256i) -> __m128 {
    let total = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    _mm_castsi128_ps(total)
}

/// Lanes 0 and 1 of both, and lanes 2 and 3 of both.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs_of_two(x: __m128, y: __m128) -> (__m128, __m128) {
    (_mm_shuffle_ps::<0b01_00_01_00>(x, y), _mm_shuffle_ps::<0b11_10_11_10>(x, y))
}

/// Lanes 0 and 2 of both, and lanes 1 and 3 of both.
#[inline]
#[target_feature(enable = "avx2")]
fn even_and_odd(x: __m128, y: __m128) -> (__m128, __m128) {
    (_mm_shuffle_ps::<0b10_00_10_00>(x, y), _mm_shuffle_ps::<0b11_01_11_01>(x, y))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_as_ints((x, y): (__m128, __m128)) -> __m128i {
    _mm_add_epi32(_mm_castps_si128(x), _mm_castps_si128(y))
}

impl Isa for Avx2 {
    type Floats = __m256;
    type Words = __m256i;
    type Sums = __m256i;
    type Bits = __m256i;

    const FLOATS: usize = 8;
    const WORDS: usize = 16;
    const BIT_BYTES: usize = 32;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn zero_floats() -> __m256 {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_f32(at: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(at) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_f32_head(at: *const f32, count: usize) -> __m256 {
        // SAFETY: `count <= 8`, so that the masks are read in bounds; lanes that are masked out
        // are not read.
        unsafe {
            let mask = _mm256_loadu_si256(HEAD_MASKS.as_ptr().add(8 - count).cast());
            _mm256_maskload_ps(at, mask)
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load_f16(at: *const u16) -> __m256 {
        // SAFETY: the caller's promise.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load_f16_head(at: *const u16, count: usize) -> __m256 {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_f16(head::<_, 8>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_bf16(at: *const u16) -> __m256 {
        // SAFETY: the caller's promise.
        let bits = _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(at.cast()) });
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_bf16_head(at: *const u16, count: usize) -> __m256 {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_bf16(head::<_, 8>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_f32(at: *mut f32, floats: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(at, floats) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add_square_diff(sum: __m256, a: __m256, b: __m256) -> __m256 {
        let diff = _mm256_sub_ps(a, b);
        _mm256_fmadd_ps(diff, diff, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add_product(sum: __m256, a: __m256, b: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn float_totals([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        let (x, y) = pairs_of_two(halves(a), halves(b));
        let ab = _mm_add_ps(x, y);
        let (x, y) = pairs_of_two(halves(c), halves(d));
        let cd = _mm_add_ps(x, y);
        let (x, y) = even_and_odd(ab, cd);
        let mut totals = [0.0; 4];
        // SAFETY: four lanes into an array of four.
        unsafe { _mm_storeu_ps(totals.as_mut_ptr(), _mm_add_ps(x, y)) };
        totals
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn zero_sums() -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_i8(at: *const i8) -> __m256i {
        // SAFETY: the caller's promise.
        _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_i8_head(at: *const i8, count: usize) -> __m256i {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_i8(head::<_, 16>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_i16(at: *const i16) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_i16_head(at: *const i16, count: usize) -> __m256i {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_i16(head::<_, 16>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_i16(at: *mut i16, words: __m256i) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_si256(at.cast(), words) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add_word_square_diff(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        let diff = _mm256_sub_epi16(a, b);
        _mm256_add_epi32(sum, _mm256_madd_epi16(diff, diff))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add_word_product(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn totals([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
        let ab = add_as_ints(pairs_of_two(int_halves(a), int_halves(b)));
        let cd = add_as_ints(pairs_of_two(int_halves(c), int_halves(d)));
        let all = add_as_ints(even_and_odd(_mm_castsi128_ps(ab), _mm_castsi128_ps(cd)));
        let mut totals = [0; 4];
        // SAFETY: four lanes into an array of four.
        unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), all) };
        totals
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_bits(at: *const u8) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_si256(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_bits_head(at: *const u8, count: usize) -> __m256i {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_bits(head::<_, 32>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn xor(a: __m256i, b: __m256i) -> __m256i {
        _mm256_xor_si256(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        _mm256_and_si256(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
        _mm256_or_si256(a, b)
    }

    /// Looks the count of each half byte up in a table of sixteen; sums the bytes of each 64 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add_count(sum: __m256i, bits: __m256i) -> __m256i {
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2,
            3, 3, 4,
        );
        let low_half = _mm256_set1_epi8(0x0F);
        let low = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, low_half));
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), low_half);
        let counts = _mm256_add_epi8(low, _mm256_shuffle_epi8(table, high));
        _mm256_add_epi32(sum, _mm256_sad_epu8(counts, _mm256_setzero_si256()))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn prefetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn select(scores: &[f32], limit: f32, larger: bool) -> u64 {
        let limits = _mm256_set1_ps(limit);
        let mut mask = 0;
        for (at, eight) in scores.chunks(8).enumerate() {
            // SAFETY: a chunk has `len` components and lanes beyond it are not read.
            let floats = unsafe { Self::load_f32_head(eight.as_ptr(), eight.len()) };
            let near = if larger {
                _mm256_cmp_ps::<_CMP_GE_OQ>(floats, limits)
            } else {
                _mm256_cmp_ps::<_CMP_LE_OQ>(floats, limits)
            };
            let lanes = (1 << eight.len()) - 1;
            let near = u64::from(_mm256_movemask_ps(near).cast_unsigned()) & lanes;
            mask |= near << (at * 8);
        }
        mask
    }
}
