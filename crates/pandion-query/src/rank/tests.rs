use pandion_types::FileId;

use super::*;

fn row(number: u32) -> RowId {
    RowId::new(FileId::FIRST, number)
}

fn hits(list: &[(u32, f32)]) -> Vec<SearchHit> {
    list.iter().map(|&(at, score)| SearchHit { row: row(at), score }).collect()
}

fn no_value(_: RowId) -> Option<f64> {
    None
}

fn check(fused: &Fused, expected: &[(u32, f64)]) {
    let rows: Vec<u32> = fused.hits.iter().map(|hit| hit.row.row_in_file()).collect();
    assert_eq!(rows, expected.iter().map(|(at, _)| *at).collect::<Vec<_>>(), "{fused:?}");
    for (hit, (_, score)) in fused.hits.iter().zip(expected) {
        assert!((f64::from(hit.score) - score).abs() < 1e-6, "{hit:?} is not {score}");
    }
}

fn fuse_lists(ranker: &Ranker, lists: &[(MetricType, &[(u32, f32)])]) -> Fused {
    let owned: Vec<_> = lists.iter().map(|(metric, list)| (*metric, hits(list))).collect();
    let lists: Vec<_> =
        owned.iter().map(|(metric, hits)| RankedList { metric: *metric, hits }).collect();
    fuse(&lists, ranker, &no_value)
}

#[test]
fn reciprocal_ranks_look_at_ranks_only() {
    let fused = fuse_lists(
        &Ranker::ReciprocalRank { k: 60.0 },
        &[
            (MetricType::L2, &[(1, 0.1), (2, 0.2), (3, 0.3)]),
            (MetricType::Ip, &[(3, 9.0), (1, 8.0), (4, 7.0)]),
        ],
    );
    check(
        &fused,
        &[
            (1, 1.0 / 61.0 + 1.0 / 62.0),
            (3, 1.0 / 63.0 + 1.0 / 61.0),
            (2, 1.0 / 62.0),
            (4, 1.0 / 63.0),
        ],
    );
    assert!(fused.larger_is_nearer);
}

#[test]
fn equal_scores_stand_by_row() {
    let one: &[(u32, f32)] = &[(9, 0.5)];
    let other: &[(u32, f32)] = &[(2, 0.5)];
    let ranker = Ranker::ReciprocalRank { k: 1.0 };
    let fused = fuse_lists(&ranker, &[(MetricType::L2, one), (MetricType::L2, other)]);
    check(&fused, &[(2, 0.5), (9, 0.5)]);
}

#[test]
fn weights_multiply_scores_as_each_metric_is_normalised() {
    let pi = std::f64::consts::PI;
    let normal = |metric, score: f64| match metric {
        MetricType::Cosine => (1.0 + score) / 2.0,
        MetricType::Ip => 0.5 + score.atan() / pi,
        _ => 1.0 - 2.0 * score.atan() / pi,
    };
    for metric in [
        MetricType::Cosine,
        MetricType::Ip,
        MetricType::L2,
        MetricType::Hamming,
        MetricType::Jaccard,
    ] {
        let ranker = Ranker::Weighted { weights: vec![0.5], normalize: true };
        let fused = fuse_lists(&ranker, &[(metric, &[(1, 0.25)])]);
        check(&fused, &[(1, 0.5 * normal(metric, 0.25))]);
        assert!(fused.larger_is_nearer);
    }
}

#[test]
fn weights_without_normalisation_keep_one_direction_and_join_two() {
    let ranker = Ranker::Weighted { weights: vec![0.25, 0.5], normalize: false };
    let near: &[(u32, f32)] = &[(1, 1.0), (2, 4.0)];
    let far: &[(u32, f32)] = &[(2, 2.0)];
    let distances = fuse_lists(&ranker, &[(MetricType::L2, near), (MetricType::Hamming, far)]);
    check(&distances, &[(1, 0.25), (2, 2.0)]);
    assert!(!distances.larger_is_nearer);
    let similarities = fuse_lists(&ranker, &[(MetricType::Ip, near), (MetricType::Cosine, far)]);
    check(&similarities, &[(2, 2.0), (1, 0.25)]);
    let mixed = fuse_lists(&ranker, &[(MetricType::L2, near), (MetricType::Ip, far)]);
    let turned = |distance: f64| 1.0 - 2.0 * distance.atan() / std::f64::consts::PI;
    check(&mixed, &[(2, 0.25 * turned(4.0) + 1.0), (1, 0.25 * turned(1.0))]);
    assert!(mixed.larger_is_nearer);
}

fn decay(curve: DecayCurve) -> Decay {
    Decay {
        field: FieldId(101),
        curve,
        origin: 100.0,
        scale: 20.0,
        offset: 5.0,
        decay: 0.4,
        combine: Combine::Max,
        normalize: false,
    }
}

#[test]
fn decay_is_one_up_to_the_offset_and_itself_at_the_scale() {
    for curve in [DecayCurve::Gauss, DecayCurve::Exponential, DecayCurve::Linear] {
        let decay = decay(curve);
        for (value, factor) in [(100.0, 1.0), (95.0, 1.0), (105.0, 1.0), (125.0, 0.4), (75.0, 0.4)]
        {
            assert!((decay.factor(value) - factor).abs() < 1e-12, "{curve:?} of {value}");
        }
        assert!(decay.factor(110.0) > decay.factor(120.0), "{curve:?}");
    }
    let half = 0.4_f64.ln();
    assert!((decay(DecayCurve::Gauss).factor(115.0) - (half / 4.0).exp()).abs() < 1e-12);
    assert!((decay(DecayCurve::Exponential).factor(115.0) - (half / 2.0).exp()).abs() < 1e-12);
    assert!((decay(DecayCurve::Linear).factor(115.0) - 0.7).abs() < 1e-12);
    assert!((decay(DecayCurve::Linear).factor(1e9) - 0.4).abs() < 1e-12);
}

#[test]
fn decay_multiplies_similarities_and_leaves_rows_without_a_value() {
    let list = hits(&[(1, 0.9), (2, 0.8), (3, 0.1)]);
    let value = |row: RowId| match row.row_in_file() {
        1 => Some(125.0),
        2 => Some(100.0),
        _ => None,
    };
    let lists = [RankedList { metric: MetricType::Cosine, hits: &list }];
    let fused = fuse(&lists, &Ranker::Decay(decay(DecayCurve::Linear)), &value);
    check(&fused, &[(2, 0.8), (1, 0.36), (3, 0.1)]);
    // A distance is turned into a similarity, or the farthest row would come first.
    let lists = [RankedList { metric: MetricType::L2, hits: &list }];
    let fused = fuse(&lists, &Ranker::Decay(decay(DecayCurve::Linear)), &no_value);
    let rows: Vec<u32> = fused.hits.iter().map(|hit| hit.row.row_in_file()).collect();
    assert_eq!(rows, [3, 2, 1]);
}

#[test]
fn decay_combines_the_scores_of_several_lists() {
    let one: &[(u32, f32)] = &[(1, 0.5), (2, 0.25)];
    let other: &[(u32, f32)] = &[(1, 0.25)];
    for (combine, expected) in [
        (Combine::Max, [(1, 0.5), (2, 0.25)]),
        (Combine::Sum, [(1, 0.75), (2, 0.25)]),
        (Combine::Average, [(1, 0.375), (2, 0.25)]),
    ] {
        let ranker = Ranker::Decay(Decay { combine, ..decay(DecayCurve::Gauss) });
        check(&fuse_lists(&ranker, &[(MetricType::Ip, one), (MetricType::Ip, other)]), &expected);
    }
}

#[test]
fn boosts_make_rows_better_whatever_the_metric() {
    use ScoreOperator::{Multiply, Sum};
    let close = |score: f32, expected: f32| assert!((score - expected).abs() < 1e-6, "{score}");
    close(boosted(MetricType::Cosine, 0.8, 2.0, Multiply), 1.6);
    close(boosted(MetricType::Cosine, 0.8, 0.5, Sum), 1.3);
    close(boosted(MetricType::L2, 0.8, 0.25, Multiply), 0.2);
    close(boosted(MetricType::L2, 0.8, 0.7, Sum), 0.1);
}

#[test]
fn random_scores_are_spread_and_repeatable() {
    let scores: Vec<f32> =
        (0..10_000).map(|value| RandomScore { seed: 7, field: None }.of(value)).collect();
    assert!(scores.iter().all(|score| (0.0..1.0).contains(score)));
    let mean = scores.iter().sum::<f32>() / 10_000.0;
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
    let again = RandomScore { seed: 7, field: None }.of(3);
    assert!((again - scores[3]).abs() < f32::EPSILON);
    let other = RandomScore { seed: 8, field: None }.of(3);
    assert!((again - other).abs() > 1e-6);
}

#[test]
fn groups_are_ordered_by_their_score_size_and_first_row() {
    let fused = Fused {
        hits: hits(&[(1, 0.9), (2, 0.8), (3, 0.7), (4, 0.7), (5, 0.6), (6, 0.1)]),
        larger_is_nearer: true,
    };
    let key = |row: RowId| match row.row_in_file() {
        1 | 6 => "a",
        2..=4 => "b",
        _ => "c",
    };
    let rows = |scorer, size| -> Vec<Vec<u32>> {
        regroup(&fused, key, size, scorer)
            .iter()
            .map(|group| group.iter().map(|hit| hit.row.row_in_file()).collect())
            .collect()
    };
    assert_eq!(rows(Combine::Max, 2), [vec![1, 6], vec![2, 3], vec![5]]);
    assert_eq!(rows(Combine::Sum, 2), [vec![2, 3], vec![1, 6], vec![5]]);
    assert_eq!(rows(Combine::Average, 2), [vec![2, 3], vec![5], vec![1, 6]]);
    let tie = Fused { hits: hits(&[(1, 0.5), (2, 0.5), (3, 0.5)]), larger_is_nearer: true };
    let grouped = regroup(&tie, |row| row.row_in_file() == 1, 2, Combine::Max);
    assert_eq!(grouped[0].len(), 2, "the larger group first");
    let distances = Fused { hits: hits(&[(1, 0.1), (2, 0.4)]), larger_is_nearer: false };
    let grouped = regroup(&distances, |row| row, 1, Combine::Max);
    assert_eq!(grouped[0][0].row, row(1));
}
