//! Keeps the nearest rows of a stream of scored rows.
//!
//! Rows are ordered by score and, among equal scores, by key, so that the result is the same set
//! in the same order however the stream was cut and mixed. A score that is not a number is never
//! kept.

use std::cmp::Ordering;

use pandion_types::MetricType;

use crate::kernels::Kernels;

/// Candidates gathered beyond k before the farthest are thrown away, at least.
const SLACK_MIN: usize = 64;

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row.
    pub key: i64,
    /// Its distance or similarity, as the metric defines it.
    pub score: f32,
}

/// The scores that a range search asks for, as Milvus defines them.
///
/// Where smaller is nearer, `range_filter <= score < radius`; where larger is nearer,
/// `radius < score <= range_filter`. A bound that is not a number is met by no score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The far bound; it does not belong to the range.
    pub radius: f32,
    /// The near bound; it belongs to the range.
    pub range_filter: Option<f32>,
}

/// A candidate with a cost that is smaller for nearer rows, whatever the metric.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    cost: f32,
    key: i64,
}

impl Candidate {
    /// Nearer first. No cost is NaN.
    fn order(&self, other: &Self) -> Ordering {
        let by_cost = self.cost.partial_cmp(&other.cost).unwrap_or(Ordering::Equal);
        by_cost.then(self.key.cmp(&other.key))
    }
}

/// The `k` nearest of the rows that it was shown.
///
/// Takes up to `32 * k` bytes, as rows arrive. Showing a row costs one comparison when it is too
/// far away, and amortised constant time otherwise.
#[derive(Clone, Debug)]
pub struct TopK {
    larger_is_nearer: bool,
    k: usize,
    /// Costs below it are outside of the range.
    floor: f32,
    /// Only candidates that come after it, by cost and then by key, count.
    after: Option<Candidate>,
    /// A candidate must come before it, by cost and then by key.
    limit: Candidate,
    candidates: Vec<Candidate>,
}

impl TopK {
    /// Collects the `k` nearest rows, or those of them whose scores are in `range`.
    #[must_use]
    pub fn new(metric: MetricType, k: usize, range: Option<ScoreRange>) -> Self {
        let larger_is_nearer = metric.larger_is_nearer();
        let cost = |score: f32| if larger_is_nearer { -score } else { score };
        // The radius itself is outside, for whatever key: no key is below the smallest.
        let limit = match range {
            _ if k == 0 => Candidate { cost: f32::NEG_INFINITY, key: i64::MIN },
            Some(range) => Candidate { cost: cost(range.radius), key: i64::MIN },
            None => Candidate { cost: f32::INFINITY, key: i64::MAX },
        };
        let floor = range.and_then(|range| range.range_filter).map_or(f32::NEG_INFINITY, cost);
        Self { larger_is_nearer, k, floor, after: None, limit, candidates: Vec::new() }
    }

    /// Collects only rows that come after `hit` in the order of the result, so that the next page
    /// of a search begins exactly where the last one ended, also among equal scores. To be called
    /// before a row is shown. A score that is not a number lets nothing through.
    #[must_use]
    pub fn starting_after(mut self, hit: Option<Hit>) -> Self {
        debug_assert!(self.candidates.is_empty(), "rows were shown before the start was set");
        self.after = hit.map(|hit| Candidate {
            cost: if self.larger_is_nearer { -hit.score } else { hit.score },
            key: hit.key,
        });
        self
    }

    /// The number of rows that are wanted.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// A score that no further row may exceed in distance. It tightens as rows arrive.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.to_score(self.limit.cost)
    }

    /// Shows a row. The same key must not be shown twice.
    #[inline]
    pub fn push(&mut self, key: i64, score: f32) {
        let cost = if self.larger_is_nearer { -score } else { score };
        // Every comparison with NaN is false.
        let near = cost < self.limit.cost || (cost == self.limit.cost && key < self.limit.key);
        if near && cost >= self.floor && self.is_later(cost, key) {
            self.candidates.push(Candidate { cost, key });
            if self.candidates.len() >= self.k.saturating_add(self.k.max(SLACK_MIN)) {
                self.drop_farthest();
            }
        }
    }

    /// Shows the rows `base + ids[i]` with `scores[i]`, at most 64.
    pub(crate) fn offer(&mut self, kernels: &Kernels, base: i64, ids: &[u32], scores: &[f32]) {
        let mut near = (kernels.select)(scores, self.threshold(), self.larger_is_nearer);
        while near != 0 {
            let at = near.trailing_zeros() as usize;
            near &= near - 1;
            self.push(base + i64::from(ids[at]), scores[at]);
        }
    }

    /// Shows what another collector of the same metric, k and range has kept.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!((self.larger_is_nearer, self.k), (other.larger_is_nearer, other.k));
        for candidate in &other.candidates {
            self.push(candidate.key, other.to_score(candidate.cost));
        }
    }

    /// The rows, nearest first and by ascending key among equal scores.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Hit> {
        if self.candidates.len() > self.k {
            self.drop_farthest();
        }
        self.candidates.sort_unstable_by(Candidate::order);
        let hit = |at: &Candidate| Hit { key: at.key, score: self.to_score(at.cost) };
        self.candidates.iter().map(hit).collect()
    }

    /// Whether a candidate comes after the start, if there is one.
    fn is_later(&self, cost: f32, key: i64) -> bool {
        self.after.is_none_or(|after| cost > after.cost || (cost == after.cost && key > after.key))
    }

    /// Keeps the k nearest, of which there are more, and tightens the limit to the last of them.
    fn drop_farthest(&mut self) {
        let (_, last, _) = self.candidates.select_nth_unstable_by(self.k - 1, Candidate::order);
        self.limit = *last;
        self.candidates.truncate(self.k);
    }

    fn to_score(&self, cost: f32) -> f32 {
        if self.larger_is_nearer { -cost } else { cost }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(metric: MetricType, k: usize, rows: &[(i64, f32)]) -> Vec<(i64, f32)> {
        collect_range(metric, k, None, rows)
    }

    fn collect_range(
        metric: MetricType,
        k: usize,
        range: Option<ScoreRange>,
        rows: &[(i64, f32)],
    ) -> Vec<(i64, f32)> {
        let mut top = TopK::new(metric, k, range);
        rows.iter().for_each(|&(key, score)| top.push(key, score));
        top.into_sorted().iter().map(|hit| (hit.key, hit.score)).collect()
    }

    #[test]
    fn equal_scores_are_ordered_by_key_in_both_directions() {
        let rows = [(5, 1.0), (3, 1.0), (9, 0.0), (4, 1.0), (1, 2.0), (2, -0.0)];
        assert_eq!(collect(MetricType::L2, 4, &rows), [(2, -0.0), (9, 0.0), (3, 1.0), (4, 1.0)]);
        assert_eq!(collect(MetricType::Ip, 3, &rows), [(1, 2.0), (3, 1.0), (4, 1.0)]);
    }

    #[test]
    fn nan_is_never_kept_and_infinity_is() {
        let rows = [(1, f32::NAN), (2, f32::INFINITY), (3, -f32::NAN), (4, 0.0)];
        assert_eq!(collect(MetricType::L2, 9, &rows), [(4, 0.0), (2, f32::INFINITY)]);
        assert_eq!(collect(MetricType::Cosine, 9, &rows), [(2, f32::INFINITY), (4, 0.0)]);
        for kernels in Kernels::available() {
            let mut top = TopK::new(MetricType::L2, 3, None);
            top.offer(kernels, 10, &[0, 1, 2], &[f32::NAN, f32::INFINITY, f32::NAN]);
            assert_eq!(top.into_sorted(), [Hit { key: 11, score: f32::INFINITY }]);
        }
    }

    #[test]
    fn nothing_is_kept_for_k_zero() {
        assert_eq!(collect(MetricType::L2, 0, &[(1, f32::NEG_INFINITY), (2, 0.0)]), []);
    }

    #[test]
    fn range_bounds_are_milvus_bounds() {
        let rows: Vec<_> = (0..6_u8).map(|at| (i64::from(at), f32::from(at))).collect();
        let keys = |metric, radius, range_filter| {
            let range = Some(ScoreRange { radius, range_filter });
            let found = collect_range(metric, 9, range, &rows);
            found.iter().map(|&(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(MetricType::L2, 4.0, Some(2.0)), [2, 3]);
        assert_eq!(keys(MetricType::L2, 4.0, None), [0, 1, 2, 3]);
        assert!(keys(MetricType::Hamming, 0.0, None).is_empty());
        assert_eq!(keys(MetricType::Ip, 2.0, Some(4.0)), [4, 3]);
        assert_eq!(keys(MetricType::Cosine, 2.0, None), [5, 4, 3]);
        assert!(keys(MetricType::L2, f32::NAN, None).is_empty());
        assert!(keys(MetricType::L2, 4.0, Some(f32::NAN)).is_empty());
    }

    #[test]
    fn a_start_that_is_not_a_number_lets_nothing_through() {
        let start = Hit { key: 0, score: f32::NAN };
        let mut top = TopK::new(MetricType::L2, 3, None).starting_after(Some(start));
        top.push(1, 0.0);
        assert_eq!(top.into_sorted(), []);
    }

    proptest! {
        #[test]
        fn pages_show_every_row_once_and_in_order(
            scores in prop::collection::vec(-2_i8..3, 0..200),
            page in 1_usize..40,
            larger: bool,
            inner in prop::option::of(-2_i8..3),
        ) {
            let metric = if larger { MetricType::Ip } else { MetricType::L2 };
            let radius = if larger { f32::NEG_INFINITY } else { f32::INFINITY };
            let range =
                inner.map(|inner| ScoreRange { radius, range_filter: Some(f32::from(inner)) });
            let rows: Vec<(i64, f32)> =
                (0..).zip(&scores).map(|(at, &score)| (at * 37 % 401, f32::from(score))).collect();
            let whole = collect_range(metric, rows.len(), range, &rows);
            let mut paged = Vec::new();
            let mut last = None;
            loop {
                let mut top = TopK::new(metric, page, range).starting_after(last);
                rows.iter().for_each(|&(key, score)| top.push(key, score));
                let hits = top.into_sorted();
                paged.extend(hits.iter().map(|hit| (hit.key, hit.score)));
                last = hits.last().copied();
                if hits.len() < page {
                    break;
                }
            }
            prop_assert_eq!(paged, whole);
        }

        #[test]
        fn kept_rows_are_the_first_of_the_sorted_stream(
            scores in prop::collection::vec(-4_i8..4, 0..400),
            k in 1_usize..90,
            larger: bool,
            cut in 0_usize..400,
        ) {
            let metric = if larger { MetricType::Ip } else { MetricType::L2 };
            let rows: Vec<(i64, f32)> =
                (0..).zip(&scores).map(|(at, &score)| (at * 37 % 401, f32::from(score))).collect();
            let mut sorted = rows.clone();
            let sign = if larger { -1.0 } else { 1.0 };
            sorted.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then(a.0.cmp(&b.0)));
            sorted.truncate(k);
            prop_assert_eq!(&collect(metric, k, &rows), &sorted);

            let (left, right) = rows.split_at(cut.min(rows.len()));
            let mut merged = TopK::new(metric, k, None);
            let mut other = merged.clone();
            right.iter().for_each(|&(key, score)| merged.push(key, score));
            left.iter().for_each(|&(key, score)| other.push(key, score));
            merged.merge(&other);
            let merged: Vec<_> =
                merged.into_sorted().iter().map(|hit| (hit.key, hit.score)).collect();
            prop_assert_eq!(merged, sorted);
        }
    }
}
