//! The same answer whoever does the work.

use pandion_types::{MetricType, VectorElement, VectorType};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::{Bitmap, QueryBatch, VectorBlock, VectorBlockBuilder};

const VECTORS: VectorType = VectorType { element: VectorElement::Float32, dim: 24 };

fn block(seed: u64, rows: usize) -> VectorBlock {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut builder = VectorBlockBuilder::new(VECTORS, rows).unwrap();
    for _ in 0..rows {
        // Coarse components make many equal scores.
        let row: Vec<f32> = (0..24).map(|_| f32::from(rng.random_range(-1_i8..=1))).collect();
        builder.push_raw(bytemuck::cast_slice(&row)).unwrap();
    }
    builder.finish().unwrap()
}

fn prepared(queries: usize, metric: MetricType) -> PreparedQueries {
    let rows = block(99, queries);
    let rows: Vec<_> = (0..queries).map(|row| rows.row(row).unwrap()).collect();
    QueryBatch::new(VECTORS, &rows).unwrap().prepare(metric).unwrap()
}

fn search(threads: usize, parts: &[SearchPart<'_>], request: &SearchRequest<'_>) -> SearchOutcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| search_parallel(parts, request)).unwrap()
}

#[test]
fn hits_and_counters_do_not_depend_on_the_number_of_threads() {
    let blocks = [block(1, 9000), block(2, 1), block(3, 0), block(4, 20_000)];
    let mut allowed = Bitmap::empty(20_000);
    (0..20_000).filter(|row| row % 3 == 0).for_each(|row| allowed.insert(row));
    let part = |at: usize, base| SearchPart { block: &blocks[at], base, allowed: None };
    let filtered = SearchPart { allowed: Some(&allowed), ..part(3, 4 << 32) };
    let parts = [part(0, 1 << 32), part(1, 2 << 32), part(2, 3 << 32), filtered];
    for metric in [MetricType::L2, MetricType::Ip, MetricType::Cosine] {
        for (queries, k) in [(1, 10), (9, 700), (33, 3)] {
            let queries = prepared(queries, metric);
            let request =
                SearchRequest { queries: &queries, k, range: None, after: &[], cancelled: None };
            let alone = search(1, &parts, &request);
            assert_eq!(alone.counters.live_rows, 9001 + 6667);
            assert_eq!(alone.counters.distances, (9001 + 6667) * queries.len() as u64);
            assert!(alone.hits.iter().all(|hits| hits.len() == k));
            for threads in [2, 3, 7] {
                let outcome = search(threads, &parts, &request);
                assert_eq!(outcome.hits, alone.hits, "{metric} with {threads} threads");
                assert_eq!(outcome.counters, alone.counters);
            }
        }
    }
}

#[test]
fn the_answer_is_that_of_one_pass_over_each_part() {
    let blocks = [block(5, 3000), block(6, 700)];
    let parts = [
        SearchPart { block: &blocks[0], base: 1000, allowed: None },
        SearchPart { block: &blocks[1], base: -5000, allowed: None },
    ];
    let queries = prepared(6, MetricType::L2);
    let range = Some(ScoreRange { radius: 25.0, range_filter: Some(12.0) });
    let request = SearchRequest { queries: &queries, k: 50, range, after: &[], cancelled: None };
    let mut collectors = vec![TopK::new(MetricType::L2, 50, range); 6];
    for part in &parts {
        search_exact(part, 0..part.block.rows(), &queries, &mut collectors).unwrap();
    }
    let expected: Vec<_> = collectors.into_iter().map(TopK::into_sorted).collect();
    assert!(expected.iter().flatten().all(|hit| (12.0..25.0).contains(&hit.score)));
    assert_eq!(search(4, &parts, &request).hits, expected);
}

#[test]
fn a_search_goes_on_after_the_last_hit_of_each_query() {
    let block = block(7, 900);
    let parts = [SearchPart { block: &block, base: 0, allowed: None }];
    let queries = prepared(3, MetricType::L2);
    let whole =
        SearchRequest { queries: &queries, k: 60, range: None, after: &[], cancelled: None };
    let whole_hits = search(3, &parts, &whole).hits;
    let after = [Some(whole_hits[0][19]), None, Some(whole_hits[2][59])];
    let rest = search(3, &parts, &SearchRequest { k: 40, after: &after, ..whole }).hits;
    assert_eq!(rest[0], whole_hits[0][20..]);
    assert_eq!(rest[1], whole_hits[1][..40]);
    assert!(rest[2].iter().all(|hit| !whole_hits[2].contains(hit)));
}

#[test]
fn nothing_to_search_is_an_empty_answer_for_each_query() {
    let queries = prepared(3, MetricType::Ip);
    let request =
        SearchRequest { queries: &queries, k: 5, range: None, after: &[], cancelled: None };
    let outcome = search(2, &[], &request);
    assert_eq!((outcome.hits, outcome.counters), (vec![Vec::new(); 3], SearchCounters::default()));
    let none = prepared(0, MetricType::Ip);
    let request = SearchRequest { queries: &none, ..request };
    let block = block(1, 100);
    let part = SearchPart { block: &block, base: 0, allowed: None };
    assert!(search(2, &[part], &request).hits.is_empty());
}

#[test]
fn a_cancelled_search_says_so() {
    let block = block(1, 100);
    let parts = [SearchPart { block: &block, base: 0, allowed: None }];
    let queries = prepared(1, MetricType::L2);
    let cancelled = AtomicBool::new(true);
    let request = SearchRequest {
        queries: &queries,
        k: 1,
        range: None,
        after: &[],
        cancelled: Some(&cancelled),
    };
    let error = search_parallel(&parts, &request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn ranges_cover_every_row_once_and_start_at_whole_words() {
    let blocks = [block(1, 5000), block(2, 63)];
    let part = |at: usize| SearchPart { block: &blocks[at], base: 0, allowed: None };
    let parts = [part(0), part(1)];
    for range_bytes in [0, 1000, 100_000, usize::MAX] {
        let mut seen = [0, 0];
        for (at, rows) in cut(&parts, range_bytes) {
            assert_eq!((rows.start, rows.start % 64), (seen[at], 0));
            assert!(!rows.is_empty() && rows.len() * 96 <= RANGE_BYTES_MAX + 64 * 96);
            seen[at] = rows.end;
        }
        assert_eq!(seen, [5000, 63]);
    }
}
