//! Exact search against a naive one in f64.

use half::{bf16, f16};
use pandion_types::{ErrorKind, VectorType};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::kernels::Kernels;
use crate::{Hit, QueryBatch, ScoreRange, VectorBlockBuilder};

const ELEMENTS: [VectorElement; 5] = [
    VectorElement::Float32,
    VectorElement::Float16,
    VectorElement::BFloat16,
    VectorElement::Int8,
    VectorElement::Bit,
];

fn metrics(element: VectorElement) -> &'static [MetricType] {
    match element {
        VectorElement::Bit => &[MetricType::Hamming, MetricType::Jaccard],
        _ => &[MetricType::L2, MetricType::Ip, MetricType::Cosine],
    }
}

/// The bytes of a vector of small whole numbers, or of bits.
fn encode(element: VectorElement, values: &[i8]) -> Vec<u8> {
    let floats = values.iter().map(|&value| f32::from(value));
    match element {
        VectorElement::Float32 => floats.flat_map(f32::to_le_bytes).collect(),
        VectorElement::Float16 => floats.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
        VectorElement::BFloat16 => floats.flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect(),
        VectorElement::Int8 => bytemuck::cast_slice(values).to_vec(),
        VectorElement::Bit => values
            .chunks(8)
            .map(|bits| (0..).zip(bits).fold(0, |byte, (at, &bit)| byte | u8::from(bit > 0) << at))
            .collect(),
    }
}

fn naive_score(metric: MetricType, a: &[i8], b: &[i8]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum()
    };
    let count = |term: fn(bool, bool) -> bool| -> f32 {
        a.iter().zip(b).filter(|&(&a, &b)| term(a > 0, b > 0)).map(|_| 1.0).sum()
    };
    match metric {
        MetricType::L2 => sum(|a, b| (a - b) * (a - b)),
        MetricType::Ip => sum(|a, b| a * b),
        MetricType::Cosine => {
            let norms = (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt();
            if norms == 0.0 { 0.0 } else { sum(|a, b| a * b) / norms }
        }
        MetricType::Hamming => f64::from(count(|a, b| a != b)),
        MetricType::Jaccard => {
            let all = count(|a, b| a | b);
            // Rounded as a score is, so that ties are ties.
            let common = count(|a, b| a & b) / all;
            if all == 0.0 { 0.0 } else { f64::from(1.0 - common) }
        }
    }
}

/// A block, a filter and queries of small whole numbers, so that L2 and IP are exact in f32 and
/// ties abound.
struct Case {
    vector_type: VectorType,
    rows: Vec<Option<Vec<i8>>>,
    allowed: Option<Bitmap>,
    queries: Vec<Vec<i8>>,
    base: i64,
}

impl Case {
    fn random(seed: u64, element: VectorElement, rows: usize, queries: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let dim = rng.random_range(1..=40);
        let dim = if element == VectorElement::Bit { dim * 8 } else { dim };
        let mut vector = |spread: i8| -> Vec<i8> {
            (0..dim).map(|_| rng.random_range(-spread..=spread)).collect()
        };
        let vectors: Vec<Vec<i8>> = (0..rows).map(|_| vector(2)).collect();
        let queries = (0..queries).map(|at| vector(if at % 7 == 3 { 0 } else { 2 })).collect();
        let null_share = [0.0, 0.0, 0.3, 0.97][rng.random_range(0..4)];
        let rows = vectors
            .into_iter()
            .map(|row| (!rng.random_bool(null_share)).then_some(row))
            .collect::<Vec<_>>();
        let live_share = [1.0, 0.9, 0.5, 0.1, 0.01, 0.0][rng.random_range(0..6)];
        let allowed = rng.random_bool(0.7).then(|| {
            let mut allowed = Bitmap::empty(rows.len());
            (0..rows.len())
                .filter(|_| rng.random_bool(live_share))
                .for_each(|row| allowed.insert(row));
            allowed
        });
        let base = rng.random_range(-5..5) << 33;
        Self { vector_type: VectorType { element, dim }, rows, allowed, queries, base }
    }

    fn block(&self) -> VectorBlock {
        let mut builder = VectorBlockBuilder::new(self.vector_type, self.rows.len()).unwrap();
        for row in &self.rows {
            match row {
                Some(values) => {
                    builder.push_raw(&encode(self.vector_type.element, values)).unwrap();
                }
                None => builder.push_null().unwrap(),
            }
        }
        builder.finish().unwrap()
    }

    fn batch(&self) -> QueryBatch {
        let encoded: Vec<_> =
            self.queries.iter().map(|query| encode(self.vector_type.element, query)).collect();
        QueryBatch::new(self.vector_type, &encoded).unwrap()
    }

    fn live(&self, rows: &Range<usize>) -> Vec<usize> {
        let allowed = |row: usize| self.allowed.as_ref().is_none_or(|allowed| allowed.get(row));
        rows.clone().filter(|&row| allowed(row) && self.rows[row].is_some()).collect()
    }

    fn naive(
        &self,
        metric: MetricType,
        query: &[i8],
        rows: &Range<usize>,
        range: Option<ScoreRange>,
    ) -> Vec<(i64, f64)> {
        let sign = if metric.larger_is_nearer() { -1.0 } else { 1.0 };
        let in_range = |score: f64| {
            range.is_none_or(|range| {
                sign * score < sign * f64::from(range.radius)
                    && range.range_filter.is_none_or(|near| sign * f64::from(near) <= sign * score)
            })
        };
        let live = self.live(rows).into_iter();
        let mut all: Vec<(i64, f64)> = live
            .filter_map(|row| {
                // Makes a negative zero positive: they are equal, but not to `total_cmp`.
                let score = naive_score(metric, query, self.rows[row].as_ref()?) + 0.0;
                in_range(score).then_some((self.base + i64::try_from(row).unwrap(), score))
            })
            .collect();
        all.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then(a.0.cmp(&b.0)));
        all
    }

    fn search(
        &self,
        prepared: &PreparedQueries,
        block: &VectorBlock,
        rows: Range<usize>,
        k: usize,
        range: Option<ScoreRange>,
    ) -> (Vec<Vec<Hit>>, SearchCounters) {
        let mut collectors = vec![TopK::new(prepared.metric(), k, range); self.queries.len()];
        let part = SearchPart { block, base: self.base, allowed: self.allowed.as_ref() };
        let counters = search_exact(&part, rows, prepared, &mut collectors).unwrap();
        (collectors.into_iter().map(TopK::into_sorted).collect(), counters)
    }

    /// COSINE involves roots, so its scores may differ from the exact ones: each product and root
    /// of the sums, which are exact here, is rounded once, five times in all.
    fn check(
        &self,
        kernels: &'static Kernels,
        k: usize,
        rows: &Range<usize>,
        range_of: Option<f32>,
    ) {
        let (block, batch) = (self.block(), self.batch());
        for &metric in metrics(self.vector_type.element) {
            let range = range_of.map(|width| {
                let (near, far) =
                    if metric.larger_is_nearer() { (width, -width) } else { (1.0, width) };
                ScoreRange { radius: far, range_filter: Some(near) }
            });
            // A rounded cosine may fall on the other side of a bound.
            let range = range.filter(|_| metric != MetricType::Cosine);
            let prepared = batch.prepare_for(metric, kernels).unwrap();
            let (found, counters) = self.search(&prepared, &block, rows.clone(), k, range);
            let live = self.live(rows).len() as u64;
            let distances = live * self.queries.len() as u64;
            let live_rows = if self.queries.is_empty() { 0 } else { live };
            assert_eq!(counters, SearchCounters { live_rows, distances });
            for (query, found) in self.queries.iter().zip(&found) {
                let mut expected = self.naive(metric, query, rows, range);
                if metric == MetricType::Cosine {
                    self.check_cosine(query, found, &expected, k);
                    continue;
                }
                expected.truncate(k);
                let found: Vec<_> =
                    found.iter().map(|hit| (hit.key, f64::from(hit.score))).collect();
                assert_eq!(found, expected, "{metric} {}", kernels.name());
            }
        }
    }

    fn check_cosine(&self, query: &[i8], found: &[Hit], expected: &[(i64, f64)], k: usize) {
        let tolerance = 5.0 * 2.0_f64.powi(-24);
        assert_eq!(found.len(), expected.len().min(k));
        for (hit, nth) in found.iter().zip(expected) {
            let row = self.rows[usize::try_from(hit.key - self.base).unwrap()].as_ref().unwrap();
            let exact = naive_score(MetricType::Cosine, query, row);
            assert!((f64::from(hit.score) - exact).abs() <= tolerance, "{hit:?} for {exact}");
            assert!((exact - nth.1).abs() <= 2.0 * tolerance, "{hit:?} instead of {nth:?}");
        }
        let mut keys: Vec<i64> = found.iter().map(|hit| hit.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), found.len(), "a row was found twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_nearest_rows_are_found(
        seed: u64,
        rows in 0_usize..300,
        queries in 0_usize..=70,
        k in 1_usize..40,
        cut in (0_usize..300, 0_usize..300),
        width in prop::option::of(1.0_f32..60.0),
    ) {
        let element = ELEMENTS[(seed % 5) as usize];
        let case = Case::random(seed, element, rows, queries);
        let (a, b) = (cut.0.min(rows), cut.1.min(rows));
        for kernels in Kernels::available() {
            case.check(kernels, k, &(a.min(b)..a.max(b)), width);
        }
    }
}

#[test]
fn every_number_of_queries_up_to_seventy_works_for_every_element() {
    for element in ELEMENTS {
        for queries in 1..=70 {
            let case = Case::random(queries as u64, element, 90, queries);
            case.check(Kernels::detect(), 5, &(0..90), None);
        }
    }
}

#[test]
fn more_rows_wanted_than_there_are() {
    let case = Case::random(3, VectorElement::Float32, 10, 2);
    case.check(Kernels::detect(), 16_384, &(0..10), None);
    let none = Case::random(3, VectorElement::Float32, 0, 2);
    none.check(Kernels::detect(), 10, &(0..0), None);
}

fn floats(dim: usize, rows: &[Vec<f32>]) -> VectorBlock {
    let vector_type = VectorType { element: VectorElement::Float32, dim };
    let mut builder = VectorBlockBuilder::new(vector_type, rows.len()).unwrap();
    rows.iter().for_each(|row| builder.push_raw(bytemuck::cast_slice(row)).unwrap());
    builder.finish().unwrap()
}

fn queries(block: &VectorBlock, rows: &[usize], metric: MetricType) -> PreparedQueries {
    let rows: Vec<_> = rows.iter().map(|&row| block.row(row).unwrap()).collect();
    QueryBatch::new(block.vector_type(), &rows).unwrap().prepare(metric).unwrap()
}

fn random_floats(seed: u64, dim: usize, rows: usize) -> VectorBlock {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut row = || (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
    floats(dim, &(0..rows).map(|_| row()).collect::<Vec<_>>())
}

#[test]
fn a_row_scores_the_same_bits_alone_in_a_batch_filtered_and_cut_out() {
    let block = random_floats(5, 100, 500);
    let part = SearchPart { block: &block, base: 0, allowed: None };
    let mut allowed = Bitmap::empty(500);
    [3, 77, 78, 400].into_iter().for_each(|row| allowed.insert(row));
    for metric in [MetricType::L2, MetricType::Ip, MetricType::Cosine] {
        let batch: Vec<usize> = (0..70).collect();
        let many = queries(&block, &batch, metric);
        let mut all = vec![TopK::new(metric, 500, None); 70];
        search_exact(&part, 0..500, &many, &mut all).unwrap();
        let mut by_row = vec![0.0; 500];
        all.swap_remove(9)
            .into_sorted()
            .iter()
            .for_each(|hit| by_row[usize::try_from(hit.key).unwrap()] = hit.score);

        let one = queries(&block, &[9], metric);
        for (part, rows) in [
            (part, 0..500),
            (part, 13..499),
            (SearchPart { allowed: Some(&allowed), ..part }, 0..500),
        ] {
            let mut alone = [TopK::new(metric, 500, None)];
            search_exact(&part, rows, &one, &mut alone).unwrap();
            let [alone] = alone;
            for hit in alone.into_sorted() {
                assert_eq!(
                    hit.score.to_bits(),
                    by_row[usize::try_from(hit.key).unwrap()].to_bits(),
                    "{metric}"
                );
            }
        }
        let ids: Vec<u32> = (0..500).rev().collect();
        let mut scores = Vec::new();
        score_rows(&random_floats(5, 100, 500), &ids, &many, 9, &mut scores).unwrap();
        let reversed: Vec<u32> = by_row.iter().rev().map(|score| score.to_bits()).collect();
        assert_eq!(scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>(), reversed);
    }
}

#[test]
fn cosine_of_a_vector_with_itself_is_at_most_one_and_with_zero_is_zero() {
    let mut rows: Vec<Vec<f32>> = Vec::new();
    let mut rng = StdRng::seed_from_u64(6);
    for exponent in -18..18 {
        let scale = 10.0_f32.powi(exponent);
        rows.push((0..33).map(|_| rng.random_range(-1.0..1.0) * scale).collect());
    }
    rows.push(vec![0.0; 33]);
    let zero = rows.len() - 1;
    let block = floats(33, &rows);
    for query in 0..rows.len() {
        let prepared = queries(&block, &[query], MetricType::Cosine);
        let mut scores = Vec::new();
        let pair = [query, zero].map(|row| u32::try_from(row).unwrap());
        score_rows(&block, &pair, &prepared, 0, &mut scores).unwrap();
        if query == zero {
            assert_eq!(scores, [0.0, 0.0]);
        } else {
            assert!(scores[0] <= 1.0 && scores[0] > 1.0 - 4.0 * f32::EPSILON, "{scores:?}");
            assert_eq!(scores[1], 0.0);
        }
    }
}

#[test]
fn scores_that_are_not_numbers_are_not_found() {
    let huge = f32::MAX;
    let rows = [
        vec![f32::NAN, 0.0],
        vec![huge, -huge],
        vec![1.0, 1.0],
        vec![f32::INFINITY, f32::NEG_INFINITY],
        vec![0.0, 0.0],
    ];
    let block = floats(2, &rows);
    let part = SearchPart { block: &block, base: 0, allowed: None };
    for metric in [MetricType::L2, MetricType::Ip, MetricType::Cosine] {
        for query in [1, 2] {
            for kernels in Kernels::available() {
                let batch =
                    QueryBatch::new(block.vector_type(), &[block.row(query).unwrap()]).unwrap();
                let prepared = batch.prepare_for(metric, kernels).unwrap();
                let mut collectors = [TopK::new(metric, 5, None)];
                search_exact(&part, 0..5, &prepared, &mut collectors).unwrap();
                let [found] = collectors;
                let found = found.into_sorted();
                assert!(found.iter().all(|hit| !hit.score.is_nan() && hit.key != 0), "{found:?}");
                assert!(found.iter().any(|hit| hit.key == 2), "{metric} {found:?}");
            }
        }
    }
}

#[test]
fn rows_without_a_vector_score_nan_and_calls_that_make_no_sense_are_errors() {
    let vector_type = VectorType { element: VectorElement::Int8, dim: 2 };
    let mut builder = VectorBlockBuilder::new(vector_type, 3).unwrap();
    builder.push_raw(&[1, 2]).unwrap();
    builder.push_null().unwrap();
    builder.push_raw(&[3, 4]).unwrap();
    let block = builder.finish().unwrap();
    let prepared = queries(&block, &[0], MetricType::L2);
    let mut scores = vec![7.0; 9];
    score_rows(&block, &[2, 1, 0], &prepared, 0, &mut scores).unwrap();
    assert_eq!((scores[0], scores[2], scores.len()), (8.0, 0.0, 3));
    assert!(scores[1].is_nan());

    let kind = |result: Result<()>| result.unwrap_err().kind();
    let mut out = Vec::new();
    assert_eq!(kind(score_rows(&block, &[3], &prepared, 0, &mut out)), ErrorKind::Internal);
    assert_eq!(kind(score_rows(&block, &[0], &prepared, 1, &mut out)), ErrorKind::Internal);
    let search = |part: SearchPart<'_>, rows, collectors: usize| {
        let mut collectors = vec![TopK::new(MetricType::L2, 1, None); collectors];
        kind(search_exact(&part, rows, &prepared, &mut collectors).map(|_| ()))
    };
    let part = SearchPart { block: &block, base: 0, allowed: None };
    assert_eq!(search(part, 0..4, 1), ErrorKind::Internal);
    assert_eq!(search(part, 0..3, 2), ErrorKind::Internal);
    assert_eq!(search(SearchPart { base: i64::MAX - 2, ..part }, 0..3, 1), ErrorKind::Internal);
    let short = Bitmap::full(2);
    assert_eq!(search(SearchPart { allowed: Some(&short), ..part }, 0..3, 1), ErrorKind::Internal);
    let other = random_floats(1, 2, 3);
    let part = SearchPart { block: &other, ..part };
    assert_eq!(search(part, 0..3, 1), ErrorKind::InvalidArgument);
}
