//! Kernels for AVX-512: with F, BW, DQ and VL alone, and with VNNI and VPOPCNTDQ besides.
#![expect(unsafe_code, reason = "vector loads from raw pointers")]

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, __mmask32, __mmask64, _CMP_GE_OQ, _CMP_LE_OQ, _MM_HINT_T1,
    _mm_prefetch, _mm_setr_epi8, _mm256_loadu_si256, _mm256_maskz_loadu_epi8,
    _mm256_maskz_loadu_epi16, _mm512_add_epi8, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
    _mm512_cvtepi8_epi16, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_dpwssd_epi32,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_mask_blend_ps,
    _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi16, _mm512_maskz_loadu_ps, _mm512_or_si512,
    _mm512_popcnt_epi64, _mm512_sad_epu8, _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_f32x4, _mm512_shuffle_ps,
    _mm512_slli_epi32, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_epi16,
    _mm512_sub_ps, _mm512_xor_si512,
};

use super::Kernels;
use super::terms::Isa;

/// 512-bit registers; `EXTENDED` says whether VNNI and VPOPCNTDQ may be used.
#[derive(Clone, Copy)]
struct Avx512<const EXTENDED: bool>;

mod base {
    use super::Avx512;
    use crate::kernels::kernel_table;

    kernel_table!(
        Avx512<false>,
        "avx512",
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    );
}

mod extended {
    use super::Avx512;
    use crate::kernels::kernel_table;

    kernel_table!(
        Avx512<true>,
        "avx512-vnni-vpopcntdq",
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq"
        )]
    );
}

/// The tables that this machine can run, the faster one first.
pub(super) fn available() -> Vec<&'static Kernels> {
    let mut tables = Vec::new();
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if has {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vpopcntdq") {
            tables.push(&extended::KERNELS);
        }
        tables.push(&base::KERNELS);
    }
    tables
}

/// The lowest `count < 64` lanes.
#[inline]
const fn lanes_64(count: usize) -> __mmask64 {
    (1 << count) - 1
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most 32 lanes are asked for")]
const fn lanes_32(count: usize) -> __mmask32 {
    lanes_64(count) as __mmask32
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most 16 lanes are asked for")]
const fn lanes_16(count: usize) -> __mmask16 {
    lanes_64(count) as __mmask16
}

/// Two registers of which each has `n` partial sums of each of its rows are rearranged: the first
/// half of the partial sums of all rows, and the second half. Added, they are one register.
type Split = (__m512, __m512);

/// 16 partial sums of one row each, by halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn split_16(x: __m512, y: __m512) -> Split {
    (_mm512_mask_blend_ps(0xFF00, x, y), _mm512_shuffle_f32x4::<0b01_00_11_10>(x, y))
}

/// 8 partial sums of two rows each, by quarters: rows `x0 x1 y0 y1` get a quarter each.
#[inline]
#[target_feature(enable = "avx512f")]
fn split_8(x: __m512, y: __m512) -> Split {
    (_mm512_shuffle_f32x4::<0b10_00_10_00>(x, y), _mm512_shuffle_f32x4::<0b11_01_11_01>(x, y))
}

/// 4 partial sums of four rows each: in each quarter, two of `x` and two of `y`.
#[inline]
#[target_feature(enable = "avx512f")]
fn split_4(x: __m512, y: __m512) -> Split {
    (_mm512_mask_blend_ps(0xCCCC, x, y), _mm512_shuffle_ps::<0b01_00_11_10>(x, y))
}

/// 2 partial sums of eight rows each: in each quarter, two rows of `x` and two of `y`.
#[inline]
#[target_feature(enable = "avx512f")]
fn split_2(x: __m512, y: __m512) -> Split {
    (_mm512_shuffle_ps::<0b10_00_10_00>(x, y), _mm512_shuffle_ps::<0b11_01_11_01>(x, y))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(split: Split) -> __m512 {
    _mm512_add_ps(split.0, split.1)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_as_ints(split: Split) -> __m512 {
    let (x, y) = (_mm512_castps_si512(split.0), _mm512_castps_si512(split.1));
    _mm512_castsi512_ps(_mm512_add_epi32(x, y))
}

/// The lanes that are at least as near as the limit.
#[inline]
#[target_feature(enable = "avx512f")]
fn near(floats: __m512, limits: __m512, larger: bool) -> __mmask16 {
    if larger {
        _mm512_cmp_ps_mask::<_CMP_GE_OQ>(floats, limits)
    } else {
        _mm512_cmp_ps_mask::<_CMP_LE_OQ>(floats, limits)
    }
}

impl<const EXTENDED: bool> Isa for Avx512<EXTENDED> {
    type Floats = __m512;
    type Words = __m512i;
    type Sums = __m512i;
    type Bits = __m512i;

    const FLOATS: usize = 16;
    const WORDS: usize = 32;
    const BIT_BYTES: usize = 64;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn zero_floats() -> __m512 {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_f32(at: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(at) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_f32_head(at: *const f32, count: usize) -> __m512 {
        // SAFETY: lanes that are masked out are not read.
        unsafe { _mm512_maskz_loadu_ps(lanes_16(count), at) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_f16(at: *const u16) -> __m512 {
        // SAFETY: the caller's promise.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_f16_head(at: *const u16, count: usize) -> __m512 {
        // SAFETY: lanes that are masked out are not read.
        _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(lanes_16(count), at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_bf16(at: *const u16) -> __m512 {
        // SAFETY: the caller's promise.
        let bits = _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(at.cast()) });
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_bf16_head(at: *const u16, count: usize) -> __m512 {
        // SAFETY: lanes that are masked out are not read.
        let halves = unsafe { _mm256_maskz_loadu_epi16(lanes_16(count), at.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_f32(at: *mut f32, floats: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(at, floats) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn add_square_diff(sum: __m512, a: __m512, b: __m512) -> __m512 {
        let diff = _mm512_sub_ps(a, b);
        _mm512_fmadd_ps(diff, diff, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn add_product(sum: __m512, a: __m512, b: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn float_totals([a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        let rows = add(split_8(add(split_16(a, b)), add(split_16(c, d))));
        let rows = add(split_4(rows, rows));
        let rows = add(split_2(rows, rows));
        let mut lanes = [0.0; 16];
        // SAFETY: sixteen lanes into an array of sixteen.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), rows) };
        [lanes[0], lanes[4], lanes[8], lanes[12]]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn float_totals_4([a, b, c, d]: [[__m512; 4]; 4]) -> [[f32; 4]; 4] {
        let row_0 = add(split_8(add(split_16(a[0], b[0])), add(split_16(c[0], d[0]))));
        let row_1 = add(split_8(add(split_16(a[1], b[1])), add(split_16(c[1], d[1]))));
        let rows_01 = add(split_4(row_0, row_1));
        let row_2 = add(split_8(add(split_16(a[2], b[2])), add(split_16(c[2], d[2]))));
        let row_3 = add(split_8(add(split_16(a[3], b[3])), add(split_16(c[3], d[3]))));
        let rows_23 = add(split_4(row_2, row_3));
        let mut totals = [[0.0; 4]; 4];
        // SAFETY: sixteen lanes into an array of sixteen.
        unsafe { _mm512_storeu_ps(totals.as_mut_ptr().cast(), add(split_2(rows_01, rows_23))) };
        totals
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn zero_sums() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load_i8(at: *const i8) -> __m512i {
        // SAFETY: the caller's promise.
        _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(at.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_i8_head(at: *const i8, count: usize) -> __m512i {
        // SAFETY: lanes that are masked out are not read.
        _mm512_cvtepi8_epi16(unsafe { _mm256_maskz_loadu_epi8(lanes_32(count), at) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_i16(at: *const i16) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load_i16_head(at: *const i16, count: usize) -> __m512i {
        // SAFETY: lanes that are masked out are not read.
        unsafe { _mm512_maskz_loadu_epi16(lanes_32(count), at) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_i16(at: *mut i16, words: __m512i) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_si512(at.cast(), words) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn add_word_square_diff(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        let diff = _mm512_sub_epi16(a, b);
        // SAFETY: the caller's promise.
        unsafe { Self::add_word_product(sum, diff, diff) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn add_word_product(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        if EXTENDED {
            // SAFETY: an extended table is handed out only where VNNI is there.
            unsafe { _mm512_dpwssd_epi32(sum, a, b) }
        } else {
            _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn totals([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
        let ab = add_as_ints(split_16(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
        let cd = add_as_ints(split_16(_mm512_castsi512_ps(c), _mm512_castsi512_ps(d)));
        let rows = add_as_ints(split_8(ab, cd));
        let rows = add_as_ints(split_4(rows, rows));
        let rows = add_as_ints(split_2(rows, rows));
        let mut lanes = [0; 16];
        // SAFETY: sixteen lanes into an array of sixteen.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), _mm512_castps_si512(rows)) };
        [lanes[0], lanes[4], lanes[8], lanes[12]]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_bits(at: *const u8) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load_bits_head(at: *const u8, count: usize) -> __m512i {
        // SAFETY: lanes that are masked out are not read.
        unsafe { _mm512_maskz_loadu_epi8(lanes_64(count), at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn xor(a: __m512i, b: __m512i) -> __m512i {
        _mm512_xor_si512(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        _mm512_and_si512(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        _mm512_or_si512(a, b)
    }

    /// Without VPOPCNTDQ, looks the count of each half byte up in a table of sixteen and sums the
    /// bytes of each 64 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn add_count(sum: __m512i, bits: __m512i) -> __m512i {
        if EXTENDED {
            // SAFETY: an extended table is handed out only where VPOPCNTDQ is there.
            return _mm512_add_epi32(sum, unsafe { _mm512_popcnt_epi64(bits) });
        }
        let counts = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
        let table = _mm512_broadcast_i32x4(counts);
        let low_half = _mm512_set1_epi8(0x0F);
        let low = _mm512_shuffle_epi8(table, _mm512_and_si512(bits, low_half));
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bits), low_half);
        let counts = _mm512_add_epi8(low, _mm512_shuffle_epi8(table, high));
        _mm512_add_epi32(sum, _mm512_sad_epu8(counts, _mm512_setzero_si512()))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn prefetch(at: *const u8) {
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn select(scores: &[f32], limit: f32, larger: bool) -> u64 {
        let limits = _mm512_set1_ps(limit);
        let (whole, rest) = scores.as_chunks::<16>();
        let mut mask = 0;
        for (at, sixteen) in whole.iter().enumerate() {
            // SAFETY: sixteen lanes from an array of sixteen.
            let floats = unsafe { _mm512_loadu_ps(sixteen.as_ptr()) };
            mask |= u64::from(near(floats, limits, larger)) << (at * 16);
        }
        if !rest.is_empty() {
            let lanes = lanes_16(rest.len());
            // SAFETY: lanes that are masked out are not read.
            let floats = unsafe { _mm512_maskz_loadu_ps(lanes, rest.as_ptr()) };
            mask |= u64::from(near(floats, limits, larger) & lanes) << (whole.len() * 16);
        }
        mask
    }
}
