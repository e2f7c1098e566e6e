//! Every table of kernels against the portable one.

use half::{bf16, f16};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// All small dimensions, so that every remainder of every register width occurs, and common ones.
fn dims() -> impl Iterator<Item = usize> {
    (1..=130).chain([255, 384, 513, 768, 1536])
}

fn others() -> impl Iterator<Item = &'static Kernels> {
    Kernels::available().into_iter().filter(|kernels| kernels.name() != "portable")
}

/// Queries as the kernels want them: padded with zeros.
fn padded<Q: Copy + Default>(queries: &[Vec<Q>], dim: usize) -> Vec<Q> {
    let stride = query_stride::<Q>(dim);
    let mut all = Vec::new();
    for query in queries {
        all.extend_from_slice(query);
        all.resize(all.len() + stride - dim, Q::default());
    }
    all
}

fn run<Q: Copy + Default, R>(
    kernel: PairFn<Q, R>,
    queries: &[Vec<Q>],
    data: &[R],
    dim: usize,
    ids: &[u32],
) -> Vec<f32> {
    let mut out = vec![f32::NAN; queries.len() * ids.len()];
    let bytes = [0; 100];
    let ahead = Ahead { bytes: &bytes, row_bytes: 10, ids: &[0, 1, 2, 3, 4] };
    kernel(&padded(queries, dim), RowSet { data, dim, ids }, ahead, &mut out);
    out
}

fn random<T>(rng: &mut StdRng, len: usize, next: impl Fn(&mut StdRng) -> T) -> Vec<T> {
    (0..len).map(|_| next(rng)).collect()
}

/// Two sums of the same `n` terms, in any order and with or without fused rounding, each differ
/// from the exact sum by at most about `(n + 2) * u * sum(|terms|)`, where `u = 2^-24` (Higham,
/// Accuracy and Stability of Numerical Algorithms, section 4.2; the 2 stands for forming a term).
fn check_close(terms: &[f64], a: f32, b: f32, what: &str) {
    let exact: f64 = terms.iter().sum();
    let magnitude: f64 = terms.iter().map(|term| term.abs()).sum();
    let tolerance = (terms.len() as f64 + 3.0) * 2.0_f64.powi(-24) * magnitude + 1e-37;
    for (name, value) in [("tested", a), ("portable", b)] {
        let error = (f64::from(value) - exact).abs();
        assert!(error <= tolerance, "{what} {name}: {value} for {exact}, error {error}");
    }
}

/// One element type of floats: how it is made and read, and the kernels for it.
struct FloatCase<R> {
    name: &'static str,
    make: fn(f32) -> R,
    read: fn(R) -> f32,
    pairs: fn(&Kernels) -> &PairKernels<f32, R>,
    squares: fn(&Kernels) -> SquaresFn<R>,
}

fn check_floats<R: Copy>(case: &FloatCase<R>) {
    let mut rng = StdRng::seed_from_u64(7);
    for dim in dims() {
        let rows = 7;
        let data = random(&mut rng, rows * dim, |rng| (case.make)(rng.random_range(-3.0..3.0)));
        let queries: Vec<Vec<f32>> = (0..6)
            .map(|_| {
                random(&mut rng, dim, |rng| (case.read)((case.make)(rng.random_range(-3.0..3.0))))
            })
            .collect();
        let ids = [6, 0, 3, 3, 1];
        for kernels in others() {
            for square_diff in [true, false] {
                let pick = |kernels: &'static Kernels| {
                    let pairs = (case.pairs)(kernels);
                    if square_diff { pairs.square_diff } else { pairs.product }
                };
                let tested = run(pick(kernels), &queries, &data, dim, &ids);
                let portable = run(pick(Kernels::portable()), &queries, &data, dim, &ids);
                for (at, query) in queries.iter().enumerate() {
                    for (within, &id) in ids.iter().enumerate() {
                        let row = &data[id as usize * dim..][..dim];
                        let terms: Vec<f64> = query
                            .iter()
                            .zip(row)
                            .map(|(&a, &b)| (f64::from(a), f64::from((case.read)(b))))
                            .map(|(a, b)| if square_diff { (a - b) * (a - b) } else { a * b })
                            .collect();
                        let place = at * ids.len() + within;
                        let what = format!("{} {} {dim}", kernels.name(), case.name);
                        check_close(&terms, tested[place], portable[place], &what);
                    }
                }
            }
            let mut tested = [f32::NAN; 5];
            (case.squares)(kernels)(RowSet { data: &data, dim, ids: &ids }, &mut tested);
            let mut portable = [f32::NAN; 5];
            let rows = RowSet { data: &data, dim, ids: &ids };
            (case.squares)(Kernels::portable())(rows, &mut portable);
            for (within, &id) in ids.iter().enumerate() {
                let row = data[id as usize * dim..][..dim].iter();
                let terms: Vec<f64> = row.map(|&x| f64::from((case.read)(x)).powi(2)).collect();
                check_close(&terms, tested[within], portable[within], case.name);
            }
        }
    }
}

const FLOATS: FloatCase<f32> = FloatCase {
    name: "f32",
    make: |value| value,
    read: |value| value,
    pairs: |kernels| &kernels.f32,
    squares: |kernels| kernels.squares_f32,
};

const HALFS: FloatCase<u16> = FloatCase {
    name: "f16",
    make: |value| f16::from_f32(value).to_bits(),
    read: |bits| f16::from_bits(bits).to_f32(),
    pairs: |kernels| &kernels.f16,
    squares: |kernels| kernels.squares_f16,
};

const BRAINS: FloatCase<u16> = FloatCase {
    name: "bf16",
    make: |value| bf16::from_f32(value).to_bits(),
    read: |bits| bf16::from_bits(bits).to_f32(),
    pairs: |kernels| &kernels.bf16,
    squares: |kernels| kernels.squares_bf16,
};

#[test]
fn f32_sums_are_as_exact_as_the_number_of_terms_allows() {
    check_floats(&FLOATS);
}

#[test]
fn f16_sums_are_as_exact_as_the_number_of_terms_allows() {
    check_floats(&HALFS);
}

#[test]
fn bf16_sums_are_as_exact_as_the_number_of_terms_allows() {
    check_floats(&BRAINS);
}

#[test]
fn int8_sums_are_exact() {
    let mut rng = StdRng::seed_from_u64(8);
    for dim in dims() {
        let data = random(&mut rng, 7 * dim, Rng::random::<i8>);
        let wide: Vec<i16> = data.iter().map(|&byte| i16::from(byte)).collect();
        let queries: Vec<Vec<i16>> =
            (0..6).map(|_| random(&mut rng, dim, |rng| i16::from(rng.random::<i8>()))).collect();
        let ids = [6, 0, 3, 3, 1];
        let exact = |term: fn(i32, i32) -> i32| {
            let mut all = Vec::new();
            for query in &queries {
                all.extend(ids.iter().map(|&id| {
                    let row = &data[id as usize * dim..][..dim];
                    let terms = query.iter().zip(row).map(|(&a, &b)| term(a.into(), b.into()));
                    terms.sum::<i32>() as f32
                }));
            }
            all
        };
        let square_diff = exact(|a, b| (a - b) * (a - b));
        let product = exact(|a, b| a * b);
        for kernels in Kernels::available() {
            let name = kernels.name();
            assert_eq!(
                run(kernels.i8.square_diff, &queries, &data, dim, &ids),
                square_diff,
                "{name}"
            );
            assert_eq!(run(kernels.i8.product, &queries, &data, dim, &ids), product, "{name}");
            assert_eq!(
                run(kernels.i16.square_diff, &queries, &wide, dim, &ids),
                square_diff,
                "{name}"
            );
            assert_eq!(run(kernels.i16.product, &queries, &wide, dim, &ids), product, "{name}");
            let mut squares = [f32::NAN; 5];
            (kernels.squares_i8)(RowSet { data: &data, dim, ids: &ids }, &mut squares);
            for (&id, square) in ids.iter().zip(squares) {
                let row = data[id as usize * dim..][..dim].iter();
                let exact: i32 = row.map(|&byte| i32::from(byte).pow(2)).sum();
                assert_eq!(square, exact as f32, "{name} {dim}");
            }
        }
    }
}

/// The sums of the longest vectors of the most extreme bytes still fit in 31 bits.
#[test]
fn the_largest_int8_sums_do_not_overflow() {
    let dim = 32_768;
    for kernels in Kernels::available() {
        let low = vec![-128_i8; dim];
        let high = vec![vec![127_i16; dim]];
        let low_query = vec![vec![-128_i16; dim]];
        let name = kernels.name();
        let farthest = run(kernels.i8.square_diff, &high, &low, dim, &[0]);
        assert_eq!(farthest, [(255.0_f32 * 255.0) * 32_768.0], "{name}");
        assert_eq!(run(kernels.i8.product, &low_query, &low, dim, &[0]), [16_384.0 * 32_768.0]);
        assert_eq!(run(kernels.i8.product, &high, &low, dim, &[0]), [-16_256.0 * 32_768.0]);
    }
}

#[test]
fn bit_metrics_are_exact() {
    let mut rng = StdRng::seed_from_u64(9);
    for dim in (1..=40).chain([63, 64, 65, 127, 128, 129, 192, 1000, 4096]) {
        let mut data = random(&mut rng, 7 * dim, |rng| rng.random::<u8>() & rng.random::<u8>());
        data[..dim].fill(0);
        let mut queries: Vec<Vec<u8>> =
            (0..6).map(|_| random(&mut rng, dim, Rng::random::<u8>)).collect();
        queries[2].fill(0);
        queries[3].fill(0xFF);
        let ids = [6, 0, 3, 3, 1];
        let exact = |score: fn(u32, u32, u32) -> f32| {
            let mut all = Vec::new();
            for query in &queries {
                all.extend(ids.iter().map(|&id| {
                    let row = &data[id as usize * dim..][..dim];
                    let count = |term: fn(u8, u8) -> u8| {
                        query.iter().zip(row).map(|(&a, &b)| term(a, b).count_ones()).sum::<u32>()
                    };
                    score(count(|a, b| a ^ b), count(|a, b| a & b), count(|a, b| a | b))
                }));
            }
            all
        };
        let hamming = exact(|differing, _, _| differing as f32);
        let jaccard =
            exact(|_, common, all| if all == 0 { 0.0 } else { 1.0 - common as f32 / all as f32 });
        for kernels in Kernels::available() {
            let name = kernels.name();
            assert_eq!(run(kernels.hamming, &queries, &data, dim, &ids), hamming, "{name} {dim}");
            assert_eq!(run(kernels.jaccard, &queries, &data, dim, &ids), jaccard, "{name} {dim}");
        }
    }
}

/// The promise of the module: what else is computed beside a pair does not change its score.
#[test]
fn a_score_is_the_same_to_the_last_bit_in_any_company() {
    let mut rng = StdRng::seed_from_u64(10);
    for dim in [1, 5, 8, 16, 17, 31, 100, 128, 200] {
        let data = random(&mut rng, 20 * dim, |rng| rng.random_range(-1.0_f32..1.0));
        let halfs: Vec<u16> = data.iter().map(|&value| f16::from_f32(value).to_bits()).collect();
        let queries: Vec<Vec<f32>> =
            (0..9).map(|_| random(&mut rng, dim, |rng| rng.random_range(-1.0..1.0))).collect();
        let ids: Vec<u32> = (0..20).rev().collect();
        for kernels in Kernels::available() {
            for kernel in [kernels.f32.square_diff, kernels.f32.product] {
                let all = run(kernel, &queries, &data, dim, &ids);
                for count in 1..=queries.len() {
                    let some = run(kernel, &queries[..count], &data, dim, &ids);
                    assert!(bits(&some).eq(bits(&all[..count * ids.len()])), "{}", kernels.name());
                }
                for (at, &id) in ids.iter().enumerate() {
                    let alone = run(kernel, &queries[4..5], &data, dim, &[id]);
                    assert!(bits(&alone).eq(bits(&all[4 * ids.len() + at..][..1])));
                }
            }
            // Rows that were widened beforehand score as rows that are widened on the way.
            let stride = query_stride::<f32>(dim);
            let mut wide = vec![f32::NAN; stride * ids.len()];
            (kernels.widen_f16)(RowSet { data: &halfs, dim, ids: &ids }, &mut wide);
            let iota: Vec<u32> = (0..20).collect();
            let padded: Vec<Vec<f32>> = queries
                .iter()
                .map(|query| query.iter().copied().chain([0.0; 16]).take(stride).collect())
                .collect();
            let before = run(kernels.f32.square_diff, &padded, &wide, stride, &iota);
            let on_the_way = run(kernels.f16.square_diff, &queries, &halfs, dim, &ids);
            assert!(bits(&before).eq(bits(&on_the_way)), "{} {dim}", kernels.name());
        }
    }
}

fn bits(scores: &[f32]) -> impl Iterator<Item = u32> + '_ {
    scores.iter().map(|score| score.to_bits())
}

type Exact = fn(u16) -> f32;

#[test]
fn widening_is_exact_for_every_bit_pattern_and_pads_with_zeros() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    for kernels in Kernels::available() {
        for dim in [1, 3, 16, 31, 256] {
            let stride = query_stride::<f32>(dim);
            for first in (0..65_536 / dim).step_by(64) {
                let ids: Vec<u32> = (first..(first + 64).min(65_536 / dim))
                    .map(|id| u32::try_from(id).unwrap())
                    .collect();
                let mut out = vec![f32::NAN; stride * ids.len()];
                let cases: [(WidenFn<u16, f32>, Exact); 2] = [
                    (kernels.widen_f16, |bits| f16::from_bits(bits).to_f32()),
                    (kernels.widen_bf16, |bits| bf16::from_bits(bits).to_f32()),
                ];
                for (widen, exact) in cases {
                    widen(RowSet { data: &all, dim, ids: &ids }, &mut out);
                    for (row, &id) in out.chunks(stride).zip(&ids) {
                        for (at, value) in row.iter().enumerate() {
                            let expected =
                                if at < dim { exact(all[id as usize * dim + at]) } else { 0.0 };
                            let same = value.to_bits() == expected.to_bits();
                            assert!(same || (value.is_nan() && expected.is_nan()), "{value}");
                        }
                    }
                }
            }
            let stride = query_stride::<i16>(dim);
            let mut out = vec![-1; stride];
            (kernels.widen_i8)(RowSet { data: &bytes, dim, ids: &[0] }, &mut out);
            let expected = bytes.iter().map(|&byte| i16::from(byte)).take(dim);
            assert!(out.iter().copied().eq(expected.chain([0; 32]).take(stride)));
        }
    }
}

#[test]
#[should_panic(expected = "a row beyond the end of the data")]
fn a_row_that_does_not_exist_is_not_read() {
    run(Kernels::detect().f32.product, &[vec![0.0; 4]], &[0.0; 8], 4, &[0, 2]);
}

proptest! {
    #[test]
    fn selection_is_a_comparison_of_each_score(
        scores in prop::collection::vec(prop_oneof![
            (-3_i8..3).prop_map(f32::from),
            Just(f32::NAN),
            Just(f32::INFINITY),
            Just(f32::NEG_INFINITY),
            Just(-0.0),
        ], 0..=64),
        limit in prop_oneof![(-3_i8..3).prop_map(f32::from), Just(f32::INFINITY), Just(f32::NAN)],
        larger: bool,
    ) {
        let near = |score: f32| if larger { score >= limit } else { score <= limit };
        let expected = (0..).zip(&scores).fold(0, |word, (at, &score)| word | u64::from(near(score)) << at);
        for kernels in Kernels::available() {
            prop_assert_eq!((kernels.select)(&scores, limit, larger), expected, "{}", kernels.name());
        }
    }

    /// Any values, also huge and tiny ones, at any place in memory.
    #[test]
    fn any_floats_give_the_same_sums_up_to_rounding(
        dim in 1_usize..130,
        seed: u64,
        exponent in -30_i32..30,
        skip in 0_usize..16,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let scale = 2.0_f32.powi(exponent);
        let data = random(&mut rng, skip + 3 * dim, |rng| rng.random_range(-scale..scale));
        let query = vec![random(&mut rng, dim, |rng| rng.random_range(-scale..scale))];
        let rows = &data[skip..];
        for kernels in others() {
            let tested = run(kernels.f32.square_diff, &query, rows, dim, &[0, 1, 2]);
            let portable = run(Kernels::portable().f32.square_diff, &query, rows, dim, &[0, 1, 2]);
            for (at, row) in rows.chunks_exact(dim).enumerate() {
                let terms = query[0].iter().zip(row).map(|(&a, &b)| f64::from(a) - f64::from(b));
                let terms: Vec<f64> = terms.map(|diff| diff * diff).collect();
                check_close(&terms, tested[at], portable[at], kernels.name());
            }
        }
    }
}

#[test]
fn components_with_all_bits_of_an_exponent_are_noticed_wherever_they_are() {
    for kernels in Kernels::available() {
        for len in [0, 1, 15, 64, 1023, 1025, 5000] {
            // All bits but one of each exponent.
            let mut wide = vec![0xFF7F_FFFF_u32; len];
            let mut narrow = vec![0xFBFF_u16; len];
            assert!(!(kernels.any_has_32)(&wide, 0x7F80_0000), "{} {len}", kernels.name());
            assert!(!(kernels.any_has_16)(&narrow, 0x7C00), "{} {len}", kernels.name());
            for at in [0, len / 3, len.saturating_sub(1)].into_iter().filter(|&at| at < len) {
                wide[at] = 0x7F80_0000;
                narrow[at] = 0xFC01;
                assert!((kernels.any_has_32)(&wide, 0x7F80_0000), "{} {at}", kernels.name());
                assert!((kernels.any_has_16)(&narrow, 0x7C00), "{} {at}", kernels.name());
                wide[at] = 0;
                narrow[at] = 0;
            }
        }
    }
}
