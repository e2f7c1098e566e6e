use object_store::memory::InMemory;
use pandion_manifest::Manifest;
use pandion_types::{CollectionSchema, FileId, ManifestVersion, RowId};

use super::*;

const COLLECTION: CollectionId = CollectionId(7);

fn snapshot() -> Arc<Snapshot> {
    let manifest = Manifest {
        collection: COLLECTION,
        version: ManifestVersion(1),
        next_file_id: 1,
        schema_version: 0,
        table: None,
        files: Vec::new(),
    };
    let schema = Arc::new(CollectionSchema::default());
    Arc::new(Snapshot::new(schema, Arc::new(manifest), Arc::new(InMemory::new()), None))
}

fn end(row: u32, score: f32) -> PageEnd {
    let last = Some(SearchHit { row: RowId::new(FileId::FIRST, row), score });
    PageEnd { last, score, larger_is_nearer: false }
}

#[test]
fn pages_that_end_at_one_score_have_bounds_of_their_own() {
    let (iterators, now) = (Iterators::default(), Instant::now());
    let (token, first) = iterators.open(COLLECTION, snapshot(), end(1, 0.5), now);
    assert_eq!(first.to_bits(), 0.5_f32.to_bits());
    let second = iterators.advance(token, end(2, 0.5), now);
    let third = iterators.advance(token, end(3, 0.5), now);
    assert!(first < second && second < third && third < 0.500_001);
    for (bound, row) in [(first, 1), (second, 2), (third, 3)] {
        let resumed = iterators.resume(token, COLLECTION, Some(bound), now).unwrap();
        assert_eq!(resumed.after.unwrap().row.row_in_file(), row);
    }
    // A page that is asked for again ends where it ended.
    assert_eq!(iterators.advance(token, end(2, 0.5), now).to_bits(), second.to_bits());
    let larger = PageEnd { larger_is_nearer: true, ..end(4, 0.5) };
    assert!(iterators.advance(token, larger, now) < first);
}

#[test]
fn an_iterator_keeps_its_snapshot() {
    let (iterators, now) = (Iterators::default(), Instant::now());
    let pinned = snapshot();
    let (token, _) = iterators.open(COLLECTION, Arc::clone(&pinned), end(1, 0.5), now);
    let resumed = iterators.resume(token, COLLECTION, None, now).unwrap();
    assert!(Arc::ptr_eq(&resumed.snapshot, &pinned) && resumed.after.is_none());
}

#[test]
fn an_empty_first_page_is_a_place_too() {
    let (iterators, now) = (Iterators::default(), Instant::now());
    let end = PageEnd { last: None, score: f32::MIN, larger_is_nearer: false };
    let (token, bound) = iterators.open(COLLECTION, snapshot(), end, now);
    assert!(iterators.resume(token, COLLECTION, Some(bound), now).unwrap().after.is_none());
    assert_eq!(iterators.advance(token, end, now).to_bits(), bound.to_bits());
}

#[test]
fn strangers_are_refused() {
    let (iterators, now) = (Iterators::default(), Instant::now());
    let (token, bound) = iterators.open(COLLECTION, snapshot(), end(1, 0.5), now);
    let refusal = |token, collection, bound| {
        iterators.resume(token, collection, Some(bound), now).unwrap_err().message().to_owned()
    };
    assert!(refusal(Uuid::new_v4(), COLLECTION, bound).contains("is not known here"));
    assert!(refusal(token, CollectionId(8), bound).contains("is not known here"));
    assert!(refusal(token, COLLECTION, 0.75).contains("was not given out"));
}

#[test]
fn unused_iterators_and_old_pages_are_forgotten() {
    let (iterators, start) = (Iterators::default(), Instant::now());
    let (token, first) = iterators.open(COLLECTION, snapshot(), end(0, 0.0), start);
    let mut last = first;
    for row in 1..=u32::try_from(PAGES_MAX).unwrap() {
        last = iterators.advance(token, end(row, 1.0), start);
    }
    assert!(iterators.resume(token, COLLECTION, Some(first), start).is_err());
    let later = start + IDLE_MAX;
    assert!(iterators.resume(token, COLLECTION, Some(last), later).is_ok());
    // Its use a moment ago counts.
    assert!(iterators.resume(token, COLLECTION, Some(last), later + IDLE_MAX).is_ok());
    let expired = later + IDLE_MAX + IDLE_MAX + Duration::from_millis(1);
    assert!(iterators.resume(token, COLLECTION, Some(last), expired).is_err());
}

#[test]
fn the_longest_unused_iterator_makes_room() {
    let (iterators, start) = (Iterators::default(), Instant::now());
    let snapshot = snapshot();
    let at = |age: usize| start + Duration::from_millis(u64::try_from(age).unwrap());
    let open = |age| iterators.open(COLLECTION, Arc::clone(&snapshot), end(1, 0.5), at(age)).0;
    let tokens: Vec<Uuid> = (0..=ITERATORS_MAX).map(open).collect();
    let now = at(ITERATORS_MAX);
    assert!(iterators.resume(tokens[0], COLLECTION, None, now).is_err());
    assert!(iterators.resume(tokens[1], COLLECTION, None, now).is_ok());
    assert!(iterators.resume(tokens[ITERATORS_MAX], COLLECTION, None, now).is_ok());
}
