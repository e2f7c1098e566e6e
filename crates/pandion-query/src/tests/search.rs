//! Groups, orders, pages, boosts and rankers, each against a reader of all rows.

use arrow::array::{Array as _, AsArray};
use arrow::datatypes::Int32Type;
use pandion_filter::PathSegment;

use super::*;
use crate::group::GroupCollector;
use crate::{
    Boost, Boosts, Combine, Decay, DecayCurve, GroupKey, Grouping, HybridRequest, JsonCast,
    OrderKey, RandomScore, Ranker, ScoreOperator, SearchHit, SearchResult, ValuePath, VectorSearch,
};

const L2: MetricType = MetricType::L2;

impl Lake {
    fn refined(
        &self,
        filter: &str,
        queries: &[Vec<f32>],
        (limit, offset): (usize, usize),
        refinement: &Refinement,
    ) -> SearchResult {
        let request = || SearchRequest {
            field: FieldId(106),
            queries: batch_of(queries),
            metric: L2,
            limit,
            offset,
            range: None,
            filter: self.filter(filter),
            output: vec![FieldId(101)],
            options: QueryOptions::default(),
            refinement: refinement.clone(),
        };
        let coded = self.runtime.block_on(self.coded.search(&self.snapshot, request())).unwrap();
        let result = self.runtime.block_on(self.engine.search(&self.snapshot, request())).unwrap();
        assert_eq!(result.hits, coded.hits, "{refinement:?}: through the codec");
        result
    }

    fn hybrid(&self, request: HybridRequest) -> pandion_types::Result<SearchResult> {
        self.runtime.block_on(self.engine.hybrid_search(&self.snapshot, request))
    }
}

fn batch_of(queries: &[Vec<f32>]) -> QueryBatch {
    let bytes: Vec<Vec<u8>> = queries
        .iter()
        .map(|query| query.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    QueryBatch::new(VectorType { element: VectorElement::Float32, dim: DIM }, &bytes).unwrap()
}

/// A query whose distances to all rows are exact in binary32.
fn query(seed: i32) -> Vec<f32> {
    (0..DIM as i32).map(|d| ((seed * 31 + d * 7) % 19 - 9) as f32 + 0.5).collect()
}

/// All rows with a vector, nearest first, as hits.
fn ranked(query: &[f32], keep: impl Fn(&Row) -> bool) -> Vec<(Row, f32)> {
    let mut found: Vec<(Row, f32)> = rows()
        .into_iter()
        .filter(|row| keep(row))
        .filter_map(|row| {
            let score = score(L2, query, row.vector.as_deref()?) as f32;
            Some((row, score))
        })
        .collect();
    found.sort_by(|left, right| left.1.total_cmp(&right.1).then(left.0.id.cmp(&right.0.id)));
    found
}

fn row_of(id: RowId) -> Row {
    row(id.file().get() as usize - 1, id.row_in_file() as usize)
}

fn plain(field: i64) -> ValuePath {
    ValuePath { field: FieldId(field), path: Vec::new() }
}

fn json_n() -> ValuePath {
    ValuePath { field: FieldId(105), path: vec![PathSegment::Key("n".to_owned())] }
}

/// What groups can be made by, and how the oracle names the group of a row.
#[derive(Clone, Copy, Debug)]
enum By {
    A,
    S,
    FlagAndA,
    JsonNumber,
    Key,
}

impl By {
    fn keys(self) -> Vec<GroupKey> {
        let key = |name: &str, source| GroupKey {
            name: name.to_owned(),
            source,
            cast: JsonCast { to: DataType::VarChar, strict: false },
        };
        match self {
            Self::A => vec![key("a", plain(101))],
            Self::S => vec![key("s", plain(103))],
            Self::FlagAndA => vec![key("flag", plain(104)), key("a", plain(101))],
            Self::JsonNumber => vec![key("j[\"n\"]", json_n())],
            Self::Key => vec![key(VIRTUAL_PK_NAME, plain(100))],
        }
    }

    fn group(self, row: &Row) -> String {
        match self {
            Self::A => format!("{:?}", row.a),
            Self::S => format!("{:?}", row.s),
            Self::FlagAndA => format!("{:?} {:?}", row.flag, row.a),
            Self::JsonNumber => format!("{:?}", row.j),
            Self::Key => row.id.to_string(),
        }
    }
}

/// Groups by the definition: rows one after the other until enough are there.
fn naive_groups<R: Clone>(
    ordered: &[(R, String)],
    wanted: usize,
    size: usize,
    strict: bool,
) -> Vec<Vec<R>> {
    let mut groups: Vec<(String, Vec<R>)> = Vec::new();
    for (seen, (row, key)) in ordered.iter().enumerate() {
        let enough = if strict {
            groups.iter().all(|(_, group)| group.len() == size)
        } else {
            seen >= wanted * size
        };
        if groups.len() == wanted && enough {
            break;
        }
        let known = groups.iter().position(|(known, _)| known == key);
        match known {
            Some(at) if groups[at].1.len() < size => groups[at].1.push(row.clone()),
            None if groups.len() < wanted => groups.push((key.clone(), vec![row.clone()])),
            _ => {}
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

#[test]
fn groups_agree_with_reading_every_row() {
    let lake = Lake::new();
    let by = prop::sample::select(vec![By::A, By::S, By::FlagAndA, By::JsonNumber, By::Key]);
    let strategy =
        (by, 0_i32..50, 1_usize..30, 0_usize..4, 1_usize..5, any::<bool>(), any::<bool>());
    let config = ProptestConfig::with_cases(120);
    proptest!(config, |((by, seed, limit, offset, size, strict, filtered) in strategy)| {
        let queries = [query(seed), query(seed + 1)];
        let refinement = Refinement {
            grouping: Some(Grouping { keys: by.keys(), size, strict }),
            ..Refinement::default()
        };
        let filter = if filtered { "a > 10" } else { "" };
        let found = lake.refined(filter, &queries, (limit, offset), &refinement);
        for (query, hits) in queries.iter().zip(&found.hits) {
            let ordered: Vec<(RowId, String)> =
                ranked(query, |row| !filtered || row.a.is_some_and(|a| a > 10))
                    .into_iter()
                    .map(|(row, _)| (row.id, by.group(&row)))
                    .collect();
            let groups = naive_groups(&ordered, limit + offset, size, strict);
            let expected: Vec<RowId> = groups.into_iter().skip(offset).flatten().collect();
            let rows: Vec<RowId> = hits.iter().map(|hit| hit.row).collect();
            prop_assert_eq!(rows, expected, "{:?} of {}", by, size);
        }
        let hits: usize = found.hits.iter().map(Vec::len).sum();
        prop_assert!(found.groups.iter().all(|column| column.values.len() == hits));
        prop_assert_eq!(found.groups.len(), by.keys().len());
    });
}

#[test]
fn the_collector_does_not_care_how_many_hits_it_is_shown() {
    let strategy = (prop::collection::vec(0_u8..6, 0..80), 1_usize..8, 1_usize..4, any::<bool>());
    proptest!(|((keys, wanted, size, strict) in strategy)| {
        let grouping = Grouping { keys: Vec::new(), size, strict };
        let mut collector = GroupCollector::new(wanted, &grouping);
        let file = FileId::FIRST;
        for (at, key) in keys.iter().enumerate() {
            let hit = SearchHit { row: RowId::new(file, at as u32), score: at as f32 };
            collector.offer(hit, vec![*key].into());
        }
        let ordered: Vec<(usize, String)> =
            keys.iter().enumerate().map(|(at, key)| (at, key.to_string())).collect();
        let expected = naive_groups(&ordered, wanted, size, strict);
        let found: Vec<Vec<usize>> = collector
            .into_groups()
            .iter()
            .map(|group| group.iter().map(|hit| hit.row.row_in_file() as usize).collect())
            .collect();
        prop_assert_eq!(found, expected);
    });
}

#[test]
fn group_values_stand_beside_the_hits() {
    let lake = Lake::new();
    let keys = [By::A.keys(), By::JsonNumber.keys()].concat();
    let mut grouping = Grouping { keys, size: 2, strict: false };
    grouping.keys[1].cast = JsonCast { to: DataType::Int64, strict: true };
    let refinement = Refinement { grouping: Some(grouping), ..Refinement::default() };
    let found = lake.refined("", &[query(3)], (20, 0), &refinement);
    let a = found.groups[0].values.as_primitive::<Int32Type>();
    let n = found.groups[1].values.as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!(found.groups[1].field.name, "j[\"n\"]");
    assert_eq!(found.groups[1].field.data_type, DataType::Int64);
    for (at, hit) in found.hits[0].iter().enumerate() {
        let row = row_of(hit.row);
        assert_eq!(a.is_valid(at).then(|| a.value(at)), row.a);
        let whole = row.j.filter(|j| j.fract() == 0.0).map(|j| j as i64);
        assert_eq!(n.is_valid(at).then(|| n.value(at)), whole, "{row:?}");
    }
}

#[test]
fn groups_by_vectors_are_refused() {
    let lake = Lake::new();
    let keys = vec![GroupKey { source: plain(106), ..By::A.keys().remove(0) }];
    let refinement = Refinement {
        grouping: Some(Grouping { keys, size: 1, strict: false }),
        ..Refinement::default()
    };
    let request = SearchRequest {
        field: FieldId(106),
        queries: batch_of(&[query(1)]),
        metric: L2,
        limit: 1,
        offset: 0,
        range: None,
        filter: None,
        output: Vec::new(),
        options: QueryOptions::default(),
        refinement,
    };
    let error = lake.runtime.block_on(lake.engine.search(&lake.snapshot, request)).unwrap_err();
    assert!(error.message().contains("unsupported data type FloatVector"), "{error}");
}

#[test]
fn orders_rearrange_the_nearest_rows_and_then_cut_the_window() {
    let lake = Lake::new();
    let order = vec![
        OrderKey { source: plain(104), descending: true, nulls_first: false },
        OrderKey { source: json_n(), descending: false, nulls_first: true },
    ];
    let refinement = Refinement { order, ..Refinement::default() };
    let found = lake.refined("", &[query(5), query(6)], (12, 3), &refinement);
    for (seed, hits) in [5, 6].into_iter().zip(&found.hits) {
        let mut nearest = ranked(&query(seed), |_| true);
        nearest.truncate(15);
        // Stable: equal rows stay in the order of their scores.
        nearest.sort_by(|(left, _), (right, _)| {
            let flag = |row: &Row| row.flag.map_or(2, |flag| i32::from(!flag));
            let n = |row: &Row| row.j.map_or(f64::NEG_INFINITY, |j| j);
            flag(left).cmp(&flag(right)).then(n(left).total_cmp(&n(right)))
        });
        let expected: Vec<RowId> = nearest[3..].iter().map(|(row, _)| row.id).collect();
        assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn groups_are_ordered_by_their_first_hits() {
    let lake = Lake::new();
    let grouping = Grouping { keys: By::S.keys(), size: 3, strict: true };
    let plain_order = Refinement { grouping: Some(grouping), ..Refinement::default() };
    let order = vec![OrderKey { source: plain(101), descending: false, nulls_first: false }];
    let ordered = Refinement { order, ..plain_order.clone() };
    let by_group = |found: &SearchResult| {
        let mut groups: Vec<Vec<RowId>> = Vec::new();
        let mut last = None;
        for hit in &found.hits[0] {
            let key = row_of(hit.row).s;
            if last.as_ref() != Some(&key) {
                groups.push(Vec::new());
                last = Some(key);
            }
            groups.last_mut().unwrap().push(hit.row);
        }
        groups
    };
    let mut expected = by_group(&lake.refined("", &[query(8)], (9, 0), &plain_order));
    expected.sort_by_key(|group| row_of(group[0]).a.map_or(i32::MAX, |a| a));
    assert_eq!(by_group(&lake.refined("", &[query(8)], (9, 0), &ordered)), expected);
}

#[test]
fn pages_give_every_row_once_also_among_equal_scores() {
    let lake = Lake::new();
    // Far away and quantised, so that many rows have one score.
    let far = vec![vec![4096.0; DIM]];
    let whole: Vec<SearchHit> =
        lake.refined("", &far, (1000, 0), &Refinement::default()).hits.remove(0);
    let mut scores: Vec<u32> = whole.iter().map(|hit| hit.score.to_bits()).collect();
    scores.dedup();
    assert!(scores.len() * 2 < whole.len(), "ties are needed for this test");
    for size in [1, 7, 40] {
        let mut paged: Vec<SearchHit> = Vec::new();
        loop {
            let after = paged.last().copied();
            let refinement = Refinement { after, ..Refinement::default() };
            let page = lake.refined("", &far, (size, 0), &refinement).hits.remove(0);
            let ended = page.len() < size;
            paged.extend(page);
            if ended {
                break;
            }
        }
        assert_eq!(paged, whole, "pages of {size}");
    }
}

#[test]
fn rows_are_searched_for_by_their_keys() {
    let lake = Lake::new();
    let with = rows().into_iter().find(|row| row.vector.is_some()).unwrap();
    let without = rows().into_iter().find(|row| row.vector.is_none()).unwrap();
    let of = |keys: &[i64]| {
        let field = FieldId(106);
        lake.runtime.block_on(lake.engine.vectors_of(&lake.snapshot, field, keys))
    };
    let found = of(&[with.id.get(), with.id.get()]).unwrap();
    assert_eq!(found.len(), 2);
    let bytes: Vec<u8> =
        with.vector.unwrap().iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!((found.vector(0), found.vector(1)), (Some(&*bytes), Some(&*bytes)));
    let beyond = RowId::new(FileId::FIRST, ROWS_PER_FILE as u32).get();
    let error = of(&[with.id.get(), 5, beyond]).unwrap_err();
    assert_eq!(
        error.message(),
        format!("some of the provided primary key IDs do not exist: missing IDs = [5 {beyond}]")
    );
    let error = of(&(0..30).collect::<Vec<i64>>()).unwrap_err();
    assert!(error.message().ends_with("9 and 20 more]"), "{error}");
    let error = of(&[without.id.get()]).unwrap_err();
    assert!(error.message().contains(&format!("null for primary key {}", without.id)), "{error}");
}

fn part(
    lake: &Lake,
    filter: &str,
    seeds: &[i32],
    metric: MetricType,
    limit: usize,
) -> VectorSearch {
    let queries: Vec<Vec<f32>> = seeds.iter().map(|seed| query(*seed)).collect();
    VectorSearch {
        field: FieldId(106),
        queries: batch_of(&queries),
        metric,
        limit,
        range: None,
        filter: lake.filter(filter),
    }
}

fn hybrid(searches: Vec<VectorSearch>, ranker: Ranker) -> HybridRequest {
    HybridRequest {
        searches,
        boosts: None,
        ranker,
        grouping: None,
        group_scorer: Combine::Max,
        limit: 10,
        offset: 0,
        output: vec![FieldId(101)],
        options: QueryOptions::default(),
    }
}

/// Sums of reciprocal ranks, best first.
fn fused(lists: &[Vec<RowId>], k: f64) -> Vec<(RowId, f64)> {
    let mut scores: BTreeMap<RowId, f64> = BTreeMap::new();
    for list in lists {
        for (rank, row) in (1..).zip(list) {
            *scores.entry(*row).or_default() += 1.0 / (k + f64::from(rank));
        }
    }
    let mut sorted: Vec<_> = scores.into_iter().collect();
    sorted.sort_by(|left, right| {
        (right.1 as f32).total_cmp(&(left.1 as f32)).then(left.0.cmp(&right.0))
    });
    sorted
}

#[test]
fn hybrid_searches_fuse_lists_query_by_query() {
    let lake = Lake::new();
    let searches =
        vec![part(&lake, "flag == true", &[1, 2], L2, 20), part(&lake, "", &[9, 4], L2, 15)];
    let request = HybridRequest {
        limit: 8,
        offset: 2,
        ..hybrid(searches, Ranker::ReciprocalRank { k: 60.0 })
    };
    let found = lake.hybrid(request).unwrap();
    assert_eq!(found.columns[0].values.len(), 16);
    for (at, (first, second)) in [(1, 9), (2, 4)].into_iter().enumerate() {
        let ids = |list: Vec<(Row, f32)>, limit| -> Vec<RowId> {
            list.into_iter().take(limit).map(|(row, _)| row.id).collect()
        };
        let lists = [
            ids(ranked(&query(first), |row| row.flag == Some(true)), 20),
            ids(ranked(&query(second), |_| true), 15),
        ];
        let expected = fused(&lists, 60.0);
        let rows: Vec<RowId> = found.hits[at].iter().map(|hit| hit.row).collect();
        let expected_rows: Vec<RowId> = expected[2..10].iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, expected_rows);
        for (hit, (_, score)) in found.hits[at].iter().zip(&expected[2..]) {
            assert!((f64::from(hit.score) - score).abs() < 1e-6);
        }
    }
}

#[test]
fn hybrid_searches_group_the_fused_list() {
    let lake = Lake::new();
    let searches = vec![part(&lake, "", &[1], L2, 6), part(&lake, "", &[9], L2, 6)];
    let grouping = Grouping { keys: By::S.keys(), size: 2, strict: true };
    let request = HybridRequest {
        grouping: Some(grouping),
        group_scorer: Combine::Sum,
        limit: 5,
        ..hybrid(searches, Ranker::ReciprocalRank { k: 10.0 })
    };
    let found = lake.hybrid(request).unwrap();
    let mut groups: Vec<(Option<String>, f32)> = Vec::new();
    for hit in &found.hits[0] {
        let key = row_of(hit.row).s;
        match groups.last_mut() {
            Some((last, sum)) if *last == key => *sum += hit.score,
            _ => groups.push((key, hit.score)),
        }
    }
    assert_eq!(groups.len(), 5);
    assert!(groups.is_sorted_by(|left, right| left.1 >= right.1), "{groups:?}");
    let values = found.groups[0].values.as_string::<i32>();
    for (at, hit) in found.hits[0].iter().enumerate() {
        assert_eq!(values.is_valid(at).then(|| values.value(at).to_owned()), row_of(hit.row).s);
    }
}

#[test]
fn searches_with_different_numbers_of_queries_do_not_fuse() {
    let lake = Lake::new();
    let searches = vec![part(&lake, "", &[1], L2, 5), part(&lake, "", &[1, 2], L2, 5)];
    let error = lake.hybrid(hybrid(searches, Ranker::ReciprocalRank { k: 1.0 })).unwrap_err();
    assert!(error.message().contains("sub search request nq should be the same"), "{error}");
    let error = lake.hybrid(hybrid(Vec::new(), Ranker::ReciprocalRank { k: 1.0 })).unwrap_err();
    assert!(error.message().contains("at least one"), "{error}");
}

#[test]
fn boosts_change_scores_of_matching_rows_only() {
    let lake = Lake::new();
    let boost = |filter: &str, weight| Boost { filter: lake.filter(filter), weight, random: None };
    let boosts = Boosts {
        functions: vec![boost("flag == true", 0.5), boost("a > 0", 0.25)],
        function_mode: ScoreOperator::Multiply,
        boost_mode: ScoreOperator::Multiply,
    };
    let refinement = Refinement { boosts: Some(boosts), ..Refinement::default() };
    let found = lake.refined("", &[query(7)], (20, 5), &refinement);
    let mut nearest = ranked(&query(7), |_| true);
    nearest.truncate(25);
    let mut expected: Vec<(RowId, f32)> = nearest
        .into_iter()
        .map(|(row, score)| {
            let first = if row.flag == Some(true) { 0.5 } else { 1.0 };
            let second = if row.a.is_some_and(|a| a > 0) { 0.25 } else { 1.0 };
            (row.id, score * (first * second))
        })
        .collect();
    expected.sort_by(|left, right| left.1.total_cmp(&right.1).then(left.0.cmp(&right.0)));
    let hits: Vec<(RowId, f32)> = found.hits[0].iter().map(|hit| (hit.row, hit.score)).collect();
    assert_eq!(hits, expected[5..]);
}

#[test]
fn random_boosts_are_repeatable_and_follow_their_seed() {
    let lake = Lake::new();
    let with = |seed| {
        let random = Some(RandomScore { seed, field: None });
        let functions = vec![Boost { filter: None, weight: 1.0, random }];
        let (function_mode, boost_mode) = (ScoreOperator::Multiply, ScoreOperator::Multiply);
        let boosts = Some(Boosts { functions, function_mode, boost_mode });
        let refinement = Refinement { boosts, ..Refinement::default() };
        lake.refined("", &[query(7)], (20, 0), &refinement).hits
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn decay_takes_the_field_of_each_row() {
    let lake = Lake::new();
    let decay = Decay {
        field: FieldId(101),
        curve: DecayCurve::Linear,
        origin: 0.0,
        scale: 20.0,
        offset: 2.0,
        decay: 0.25,
        combine: Combine::Max,
        normalize: false,
    };
    let refinement =
        Refinement { ranker: Some(Ranker::Decay(decay.clone())), ..Refinement::default() };
    let found = lake.refined("", &[query(7)], (10, 0), &refinement);
    for hit in &found.hits[0] {
        let row = row_of(hit.row);
        let distance = score(L2, &query(7), row.vector.as_deref().unwrap());
        let similarity = 1.0 - 2.0 * distance.atan() / std::f64::consts::PI;
        let factor = row.a.map_or(1.0, |a| decay.factor(f64::from(a)));
        assert!((f64::from(hit.score) - similarity * factor).abs() < 1e-6, "{row:?}");
    }
    assert!(found.hits[0].is_sorted_by(|left, right| left.score >= right.score));
}
