//! Finds components that are not finite numbers, at the speed at which memory is read.
//!
//! It works on the bit patterns: a component is finite unless its exponent is all ones. It does
//! not say which of infinity and NaN it found.

use std::ops::BitAnd;

use pandion_types::VectorElement;

use crate::kernels::{AnyFn, Kernels};

/// Components looked at together before the place is looked for.
const STRIDE: usize = 64 * 1024;

/// The index of the first component that is infinite or not a number. `bytes` are whole,
/// naturally aligned components.
pub(crate) fn first_non_finite(element: VectorElement, bytes: &[u8]) -> Option<usize> {
    let kernels = Kernels::detect();
    match element {
        VectorElement::Float32 => {
            find(kernels.any_has_32, bytemuck::cast_slice(bytes), 0x7F80_0000)
        }
        VectorElement::Float16 => find(kernels.any_has_16, bytemuck::cast_slice(bytes), 0x7C00),
        VectorElement::BFloat16 => find(kernels.any_has_16, bytemuck::cast_slice(bytes), 0x7F80),
        VectorElement::Int8 | VectorElement::Bit => None,
    }
}

fn find<T>(any_has: AnyFn<T>, components: &[T], exponent: T) -> Option<usize>
where
    T: Copy + PartialEq + BitAnd<Output = T>,
{
    let mut parts = components.chunks(STRIDE).enumerate();
    let (at, part) = parts.find(|(_, part)| any_has(part, exponent))?;
    let within = part.iter().position(|&component| component & exponent == exponent)?;
    Some(at * STRIDE + within)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn check<T: bytemuck::NoUninit>(element: VectorElement, good: &[T], bad: &[T]) {
        for len in [1, 7, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE + 5] {
            let mut values: Vec<T> = good.iter().copied().cycle().take(len).collect();
            assert_eq!(first_non_finite(element, bytemuck::cast_slice(&values)), None);
            for at in [0, len / 2, len - 1] {
                for &value in bad {
                    let kept = values[at];
                    values[at] = value;
                    let found = first_non_finite(element, bytemuck::cast_slice(&values));
                    assert_eq!(found, Some(at), "{element:?} {len} {at}");
                    values[at] = kept;
                }
            }
        }
    }

    #[test]
    fn every_kind_of_non_finite_component_is_found_at_its_place() {
        check(
            VectorElement::Float32,
            &[0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 1.5],
            &[f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
        );
        let half = [f16::ZERO, f16::MAX, f16::MIN, f16::MIN_POSITIVE_SUBNORMAL];
        let bad = [f16::NAN, f16::INFINITY, f16::NEG_INFINITY];
        check(VectorElement::Float16, &half.map(f16::to_bits), &bad.map(f16::to_bits));
        let brain = [bf16::ZERO, bf16::MAX, bf16::MIN, bf16::MIN_POSITIVE_SUBNORMAL];
        let bad = [bf16::NAN, bf16::INFINITY, bf16::NEG_INFINITY];
        check(VectorElement::BFloat16, &brain.map(bf16::to_bits), &bad.map(bf16::to_bits));
        assert_eq!(first_non_finite(VectorElement::Int8, &[0xFF; 9]), None);
    }
}
