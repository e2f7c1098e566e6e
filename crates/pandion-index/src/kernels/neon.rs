//! Kernels for the vector instructions that every 64-bit Arm processor has.
#![expect(unsafe_code, reason = "vector loads from raw pointers")]

use std::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, uint8x16_t, vaddq_s32, vandq_u8, vcntq_u8, vdupq_n_f32,
    vdupq_n_s32, veorq_u8, vfmaq_f32, vget_low_s16, vld1_s8, vld1_u16, vld1q_f32, vld1q_s16,
    vld1q_u8, vmlal_high_s16, vmlal_s16, vmovl_s8, vmovl_u16, vorrq_u8, vpaddlq_u8, vpaddlq_u16,
    vpaddq_f32, vpaddq_s32, vreinterpretq_f32_u32, vreinterpretq_s32_u32, vshlq_n_u32, vst1q_f32,
    vst1q_s16, vst1q_s32, vsubq_f32, vsubq_s16,
};

use half::f16;

use super::terms::Isa;
use super::{Kernels, kernel_table};

/// 128-bit registers.
#[derive(Clone, Copy)]
struct Neon;

kernel_table!(Neon, "neon", #[target_feature(enable = "neon")]);

/// The table, when this machine can run it.
pub(super) fn available() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

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

impl Isa for Neon {
    type Floats = float32x4_t;
    type Words = int16x8_t;
    type Sums = int32x4_t;
    type Bits = uint8x16_t;

    const FLOATS: usize = 4;
    const WORDS: usize = 8;
    const BIT_BYTES: usize = 16;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn zero_floats() -> float32x4_t {
        vdupq_n_f32(0.0)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_f32(at: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(at) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_f32_head(at: *const f32, count: usize) -> float32x4_t {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_f32(head::<_, 4>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_f16(at: *const u16) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { Self::load_f16_head(at, 4) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_f16_head(at: *const u16, count: usize) -> float32x4_t {
        // SAFETY: the caller's promise.
        let [a, b, c, d] = unsafe { head::<_, 4>(at, count) };
        let lanes = [
            f16::from_bits(a).to_f32(),
            f16::from_bits(b).to_f32(),
            f16::from_bits(c).to_f32(),
            f16::from_bits(d).to_f32(),
        ];
        // SAFETY: the array is as long as a register.
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bf16(at: *const u16) -> float32x4_t {
        // SAFETY: the caller's promise.
        let bits = vmovl_u16(unsafe { vld1_u16(at) });
        vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bf16_head(at: *const u16, count: usize) -> float32x4_t {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_bf16(head::<_, 4>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_f32(at: *mut f32, floats: float32x4_t) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(at, floats) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_square_diff(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        let diff = vsubq_f32(a, b);
        vfmaq_f32(sum, diff, diff)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_product(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vfmaq_f32(sum, a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn float_totals([a, b, c, d]: [float32x4_t; 4]) -> [f32; 4] {
        let mut totals = [0.0; 4];
        // SAFETY: four lanes into an array of four.
        unsafe { vst1q_f32(totals.as_mut_ptr(), vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))) };
        totals
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn zero_sums() -> int32x4_t {
        vdupq_n_s32(0)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_i8(at: *const i8) -> int16x8_t {
        // SAFETY: the caller's promise.
        vmovl_s8(unsafe { vld1_s8(at) })
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_i8_head(at: *const i8, count: usize) -> int16x8_t {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_i8(head::<_, 8>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_i16(at: *const i16) -> int16x8_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_s16(at) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_i16_head(at: *const i16, count: usize) -> int16x8_t {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_i16(head::<_, 8>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_i16(at: *mut i16, words: int16x8_t) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_s16(at, words) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_word_square_diff(sum: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
        let diff = vsubq_s16(a, b);
        // SAFETY: the caller's promise.
        unsafe { Self::add_word_product(sum, diff, diff) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_word_product(sum: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
        vmlal_high_s16(vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b)), a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn totals([a, b, c, d]: [int32x4_t; 4]) -> [i32; 4] {
        let mut totals = [0; 4];
        // SAFETY: four lanes into an array of four.
        unsafe { vst1q_s32(totals.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) };
        totals
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bits(at: *const u8) -> uint8x16_t {
        // SAFETY: the caller's promise.
        unsafe { vld1q_u8(at) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bits_head(at: *const u8, count: usize) -> uint8x16_t {
        // SAFETY: the caller's promise; the copy is as long as a register.
        unsafe { Self::load_bits(head::<_, 16>(at, count).as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn xor(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        veorq_u8(a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn and(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        vandq_u8(a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        vorrq_u8(a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_count(sum: int32x4_t, bits: uint8x16_t) -> int32x4_t {
        let counts = vpaddlq_u16(vpaddlq_u8(vcntq_u8(bits)));
        vaddq_s32(sum, vreinterpretq_s32_u32(counts))
    }
}
