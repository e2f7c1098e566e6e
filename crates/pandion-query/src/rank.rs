//! The arithmetic of re-ranking: fusing several result lists, decay, boosts, scores of groups.
//!
//! Formulas and tie rules are Milvus's. Nothing here reads a row or knows a request: values that a
//! formula needs come in as arguments. Scores are binary32, as they are on the wire; rows with
//! equal scores stand in ascending order of row id, so that every result is reproducible.

use std::cmp::Ordering;
use std::collections::HashMap;

use pandion_filter::Filter;
use pandion_types::{FieldId, MetricType, RowId};

use crate::request::SearchHit;

/// How several result lists, or one, become one list with new scores.
#[derive(Clone, Debug, PartialEq)]
pub enum Ranker {
    /// The sum over the lists of `1 / (k + rank)`, the first rank being 1.
    ReciprocalRank {
        /// Between 0 and 16384, both excluded.
        k: f64,
    },
    /// The weighted sum of the scores of the lists.
    Weighted {
        /// One weight per list, between 0 and 1.
        weights: Vec<f32>,
        /// Whether scores are brought to the range 0 to 1 first. Without, scores are only turned
        /// into similarities, and only when metrics of both directions meet.
        normalize: bool,
    },
    /// The score of the lists times a factor that falls with the distance of a field's value from
    /// an origin.
    Decay(Decay),
}

/// A factor of 1 near an origin that falls with the distance from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decay {
    /// The numeric field. A row without a value keeps its score.
    pub field: FieldId,
    /// How the factor falls.
    pub curve: DecayCurve,
    /// The value with the factor 1.
    pub origin: f64,
    /// The distance, beyond `offset`, at which the factor is `decay`; positive.
    pub scale: f64,
    /// The distance up to which the factor stays 1; not negative.
    pub offset: f64,
    /// Between 0 and 1, both excluded.
    pub decay: f64,
    /// What becomes of the scores of a row that several lists hold.
    pub combine: Combine,
    /// Whether scores are brought to the range 0 to 1 first. Distances are turned into
    /// similarities in any case.
    pub normalize: bool,
}

/// The shape of a [`Decay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecayCurve {
    /// A bell.
    Gauss,
    /// Steep at first.
    Exponential,
    /// A straight line down to `decay`, and no further.
    Linear,
}

/// How several scores become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// The best one.
    #[default]
    Max,
    /// All together.
    Sum,
    /// Their mean.
    Average,
}

/// Scores that rows gain because they meet conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Boosts {
    /// The conditions and what they are worth.
    pub functions: Vec<Boost>,
    /// How the worth of several conditions that a row meets becomes one.
    pub function_mode: ScoreOperator,
    /// How that meets the score of the search.
    pub boost_mode: ScoreOperator,
}

/// One condition of [`Boosts`].
#[derive(Clone, Debug, PartialEq)]
pub struct Boost {
    /// The rows that gain; `None` for all.
    pub filter: Option<Filter>,
    /// What they gain.
    pub weight: f32,
    /// Multiplies the weight by a number between 0 and 1 that differs from row to row.
    pub random: Option<RandomScore>,
}

/// A number between 0 (included) and 1 (excluded) that looks random and is always the same for the
/// same seed and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomScore {
    /// Another seed, other numbers.
    pub seed: i64,
    /// The Int64 field whose value decides; `None` for the row id.
    pub field: Option<FieldId>,
}

/// Product or sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScoreOperator {
    /// One times the other.
    #[default]
    Multiply,
    /// One plus the other.
    Sum,
}

impl Decay {
    /// The factor of a value.
    #[must_use]
    pub fn factor(&self, value: f64) -> f64 {
        let distance = ((value - self.origin).abs() - self.offset).max(0.0);
        match self.curve {
            DecayCurve::Gauss => (self.decay.ln() * (distance / self.scale).powi(2)).exp(),
            DecayCurve::Exponential => (self.decay.ln() * distance / self.scale).exp(),
            DecayCurve::Linear => {
                (1.0 - (1.0 - self.decay) * distance / self.scale).max(self.decay)
            }
        }
    }
}

impl ScoreOperator {
    /// One of both.
    #[must_use]
    pub fn apply(self, left: f32, right: f32) -> f32 {
        match self {
            Self::Multiply => left * right,
            Self::Sum => left + right,
        }
    }
}

impl RandomScore {
    /// The number of a value: the upper bits of a well mixed hash (splitmix64).
    #[must_use]
    pub fn of(self, value: i64) -> f32 {
        let mut bits = value.cast_unsigned() ^ self.seed.cast_unsigned().rotate_left(32);
        bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit into a binary32")]
        let upper = (bits >> 40) as f32;
        upper / 16_777_216.0
    }
}

/// One result list: its metric, and its hits, best first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RankedList<'a> {
    pub(crate) metric: MetricType,
    pub(crate) hits: &'a [SearchHit],
}

/// What [`fuse`] gives.
#[derive(Debug, PartialEq)]
pub(crate) struct Fused {
    /// Best first; equal scores by ascending row id.
    pub(crate) hits: Vec<SearchHit>,
    pub(crate) larger_is_nearer: bool,
}

/// Makes one list of several. `value` gives the value of the decay's field.
pub(crate) fn fuse(
    lists: &[RankedList<'_>],
    ranker: &Ranker,
    value: &dyn Fn(RowId) -> Option<f64>,
) -> Fused {
    let (scores, larger_is_nearer) = match ranker {
        Ranker::ReciprocalRank { k } => (reciprocal_ranks(lists, *k), true),
        Ranker::Weighted { weights, normalize } => {
            let conversion = Conversion::of(lists, *normalize, false);
            let scores = combined(lists, Combine::Sum, |at, list, score| {
                let weight = weights.get(at).copied().unwrap_or_default();
                weight * conversion.apply(list.metric, score)
            });
            let natural = lists.iter().all(|list| list.metric.larger_is_nearer());
            (scores, conversion != Conversion::None || natural)
        }
        Ranker::Decay(decay) => {
            let conversion = Conversion::of(lists, decay.normalize, true);
            let convert = |_, list: &RankedList<'_>, score| conversion.apply(list.metric, score);
            let mut scores = combined(lists, decay.combine, convert);
            for (row, score) in &mut scores {
                if let Some(value) = value(*row) {
                    *score *= narrow(decay.factor(value));
                }
            }
            (scores, true)
        }
    };
    let mut hits: Vec<SearchHit> =
        scores.into_iter().map(|(row, score)| SearchHit { row, score }).collect();
    sort(&mut hits, larger_is_nearer);
    Fused { hits, larger_is_nearer }
}

/// Puts hits into the order of results.
pub(crate) fn sort(hits: &mut [SearchHit], larger_is_nearer: bool) {
    hits.sort_unstable_by(|left, right| {
        by_score(left.score, right.score, larger_is_nearer).then(left.row.cmp(&right.row))
    });
}

/// The score of a row that gained `boost`. Distances fall where similarities rise, so that a row
/// gains by a sum whatever the metric.
pub(crate) fn boosted(metric: MetricType, score: f32, boost: f32, mode: ScoreOperator) -> f32 {
    match mode {
        ScoreOperator::Multiply => score * boost,
        ScoreOperator::Sum if metric.larger_is_nearer() => score + boost,
        ScoreOperator::Sum => score - boost,
    }
}

/// Puts the hits of a fused list into groups: at most `size` of each, best first. Groups are
/// ordered by what `scorer` makes of their hits' scores, then the larger first, then by the row id
/// of their first hit.
pub(crate) fn regroup<K: std::hash::Hash + Eq>(
    fused: &Fused,
    key: impl Fn(RowId) -> K,
    size: usize,
    scorer: Combine,
) -> Vec<Vec<SearchHit>> {
    let mut numbers: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<Vec<SearchHit>> = Vec::new();
    for hit in &fused.hits {
        let number = *numbers.entry(key(hit.row)).or_insert(groups.len());
        match groups.get_mut(number) {
            Some(group) if group.len() < size => group.push(*hit),
            Some(_) => {}
            None => groups.push(vec![*hit]),
        }
    }
    let mut scored: Vec<(f32, Vec<SearchHit>)> =
        groups.into_iter().map(|group| (group_score(&group, scorer), group)).collect();
    scored.sort_by(|(left_score, left), (right_score, right)| {
        by_score(*left_score, *right_score, fused.larger_is_nearer)
            .then(right.len().cmp(&left.len()))
            .then(left.first().map(|hit| hit.row).cmp(&right.first().map(|hit| hit.row)))
    });
    scored.into_iter().map(|(_, group)| group).collect()
}

/// The hits of a group stand best first.
fn group_score(group: &[SearchHit], scorer: Combine) -> f32 {
    let sum = || group.iter().map(|hit| hit.score).sum::<f32>();
    match scorer {
        Combine::Max => group.first().map_or(0.0, |hit| hit.score),
        Combine::Sum => sum(),
        Combine::Average => sum() / count(group.len().max(1)),
    }
}

fn by_score(left: f32, right: f32, larger_is_nearer: bool) -> Ordering {
    // The two zeros are one score.
    let order = (left + 0.0).total_cmp(&(right + 0.0));
    if larger_is_nearer { order.reverse() } else { order }
}

fn reciprocal_ranks(lists: &[RankedList<'_>], k: f64) -> HashMap<RowId, f32> {
    let mut scores = HashMap::new();
    for list in lists {
        for (rank, hit) in (1_u32..).zip(list.hits) {
            *scores.entry(hit.row).or_insert(0.0) += narrow(1.0 / (k + f64::from(rank)));
        }
    }
    scores
}

fn combined(
    lists: &[RankedList<'_>],
    combine: Combine,
    convert: impl Fn(usize, &RankedList<'_>, f32) -> f32,
) -> HashMap<RowId, f32> {
    let mut scores: HashMap<RowId, (f32, usize)> = HashMap::new();
    for (at, list) in lists.iter().enumerate() {
        for hit in list.hits {
            let score = convert(at, list, hit.score);
            let entry = scores.entry(hit.row).or_insert((score, 0));
            entry.1 += 1;
            if entry.1 > 1 {
                entry.0 = match combine {
                    Combine::Max => entry.0.max(score),
                    Combine::Sum | Combine::Average => entry.0 + score,
                };
            }
        }
    }
    let finish = |(score, times): (f32, usize)| match combine {
        Combine::Average => score / count(times),
        Combine::Max | Combine::Sum => score,
    };
    scores.into_iter().map(|(row, entry)| (row, finish(entry))).collect()
}

/// What happens to scores before they are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    None,
    /// Distances become similarities; similarities stay.
    Direction,
    /// All scores are brought to the range 0 to 1, more being nearer.
    Normalize,
}

impl Conversion {
    fn of(lists: &[RankedList<'_>], normalize: bool, similarities: bool) -> Self {
        let larger = lists.iter().filter(|list| list.metric.larger_is_nearer()).count();
        if normalize {
            Self::Normalize
        } else if similarities || (larger != 0 && larger != lists.len()) {
            Self::Direction
        } else {
            Self::None
        }
    }

    fn apply(self, metric: MetricType, score: f32) -> f32 {
        let turned = f64::from(score).atan() / std::f64::consts::PI;
        match (self, metric) {
            (Self::None, _) | (Self::Direction, MetricType::Cosine | MetricType::Ip) => score,
            (Self::Normalize, MetricType::Cosine) => (1.0 + score) * 0.5,
            (Self::Normalize, MetricType::Ip) => narrow(0.5 + turned),
            (_, MetricType::L2 | MetricType::Hamming | MetricType::Jaccard) => {
                narrow(1.0 - 2.0 * turned)
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are binary32")]
fn narrow(score: f64) -> f32 {
    score as f32
}

#[expect(clippy::cast_precision_loss, reason = "a divisor of binary32 scores")]
fn count(number: usize) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests;
