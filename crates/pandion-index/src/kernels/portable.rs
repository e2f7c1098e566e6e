//! Kernels without special instructions: for every machine, and the measure for the others.
//!
//! Products and sums are rounded separately, because a fused operation would be a library call
//! on machines without one.
#![expect(unsafe_code, reason = "vector loads from raw pointers")]

use half::f16;

use super::kernel_table;
use super::terms::Isa;

/// Arrays for registers.
#[derive(Clone, Copy)]
struct Portable;

kernel_table!(Portable, "portable", #[inline(never)]);

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

impl Isa for Portable {
    type Floats = [f32; 8];
    type Words = [i16; 8];
    type Sums = [i32; 8];
    type Bits = [u64; 4];

    const FLOATS: usize = 8;
    const WORDS: usize = 8;
    const BIT_BYTES: usize = 32;

    #[inline(always)]
    unsafe fn zero_floats() -> [f32; 8] {
        [0.0; 8]
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const f32) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { head(at, 8) }
    }

    #[inline(always)]
    unsafe fn load_f32_head(at: *const f32, count: usize) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { head(at, count) }
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u16) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { head::<_, 8>(at, 8) }.map(|bits| f16::from_bits(bits).to_f32())
    }

    #[inline(always)]
    unsafe fn load_f16_head(at: *const u16, count: usize) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { head::<_, 8>(at, count) }.map(|bits| f16::from_bits(bits).to_f32())
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u16) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { head::<_, 8>(at, 8) }.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    unsafe fn load_bf16_head(at: *const u16, count: usize) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { head::<_, 8>(at, count) }.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    unsafe fn store_f32(at: *mut f32, floats: [f32; 8]) {
        // SAFETY: the caller's promise.
        unsafe { at.copy_from_nonoverlapping(floats.as_ptr(), 8) }
    }

    #[inline(always)]
    unsafe fn add_square_diff(mut sum: [f32; 8], a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            let diff = a[lane] - b[lane];
            sum[lane] += diff * diff;
        }
        sum
    }

    #[inline(always)]
    unsafe fn add_product(mut sum: [f32; 8], a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            sum[lane] += a[lane] * b[lane];
        }
        sum
    }

    #[inline(always)]
    unsafe fn float_totals(sums: [[f32; 8]; 4]) -> [f32; 4] {
        sums.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
    }

    #[inline(always)]
    unsafe fn zero_sums() -> [i32; 8] {
        [0; 8]
    }

    #[inline(always)]
    unsafe fn load_i8(at: *const i8) -> [i16; 8] {
        // SAFETY: the caller's promise.
        unsafe { head::<_, 8>(at, 8) }.map(i16::from)
    }

    #[inline(always)]
    unsafe fn load_i8_head(at: *const i8, count: usize) -> [i16; 8] {
        // SAFETY: the caller's promise.
        unsafe { head::<_, 8>(at, count) }.map(i16::from)
    }

    #[inline(always)]
    unsafe fn load_i16(at: *const i16) -> [i16; 8] {
        // SAFETY: the caller's promise.
        unsafe { head(at, 8) }
    }

    #[inline(always)]
    unsafe fn load_i16_head(at: *const i16, count: usize) -> [i16; 8] {
        // SAFETY: the caller's promise.
        unsafe { head(at, count) }
    }

    #[inline(always)]
    unsafe fn store_i16(at: *mut i16, words: [i16; 8]) {
        // SAFETY: the caller's promise.
        unsafe { at.copy_from_nonoverlapping(words.as_ptr(), 8) }
    }

    #[inline(always)]
    unsafe fn add_word_square_diff(mut sum: [i32; 8], a: [i16; 8], b: [i16; 8]) -> [i32; 8] {
        for lane in 0..8 {
            let diff = i32::from(a[lane]) - i32::from(b[lane]);
            sum[lane] += diff * diff;
        }
        sum
    }

    #[inline(always)]
    unsafe fn add_word_product(mut sum: [i32; 8], a: [i16; 8], b: [i16; 8]) -> [i32; 8] {
        for lane in 0..8 {
            sum[lane] += i32::from(a[lane]) * i32::from(b[lane]);
        }
        sum
    }

    #[inline(always)]
    unsafe fn totals(sums: [[i32; 8]; 4]) -> [i32; 4] {
        sums.map(|lanes| lanes.iter().sum())
    }

    #[inline(always)]
    unsafe fn load_bits(at: *const u8) -> [u64; 4] {
        // SAFETY: the caller's promise; an array of bytes needs no alignment.
        unsafe { Self::load_bits_head(at, 32) }
    }

    #[inline(always)]
    unsafe fn load_bits_head(at: *const u8, count: usize) -> [u64; 4] {
        // SAFETY: the caller's promise.
        bytemuck::cast(unsafe { head::<_, 32>(at, count) })
    }

    #[inline(always)]
    unsafe fn xor(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]]
    }

    #[inline(always)]
    unsafe fn and(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        [a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]]
    }

    #[inline(always)]
    unsafe fn or(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        [a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]]
    }

    #[inline(always)]
    unsafe fn add_count(mut sum: [i32; 8], bits: [u64; 4]) -> [i32; 8] {
        for lane in 0..4 {
            sum[lane] += bits[lane].count_ones().cast_signed();
        }
        sum
    }
}
