//! Indexes that were made from others against the ones that were built.

use super::*;

/// Rows of old files, and where they lie in the new one.
#[derive(Debug)]
struct Moves {
    rows: Vec<Row>,
    /// For each old file its rows, each with its place in `rows` if it is still there.
    files: Vec<Vec<(Row, u32)>>,
}

/// Some rows of three old files, shuffled, and others that are gone.
fn moves(rows: BoxedStrategy<Vec<Row>>) -> impl Strategy<Value = Moves> {
    let old = prop::collection::vec(rows, 1..4).prop_flat_map(|files| {
        let files = files.into_iter().map(|rows| {
            let count = rows.len();
            (Just(rows), prop::collection::vec(prop::bool::weighted(0.8), count))
        });
        files.collect::<Vec<_>>()
    });
    let kept = (old, any::<bool>()).prop_flat_map(|(files, keeps_all)| {
        let mut kept = Vec::new();
        for (file, (rows, stays)) in files.iter().enumerate() {
            let stay = (0..rows.len()).filter(|row| keeps_all || stays[*row]);
            kept.extend(stay.map(|row| (file, row)));
        }
        let files = files.into_iter().map(|(rows, _)| rows).collect::<Vec<_>>();
        (Just(files), Just(kept).prop_shuffle())
    });
    kept.prop_map(|(files, kept)| {
        let rows = kept.iter().map(|(file, row)| files[*file][*row].clone()).collect();
        let gone = |rows: Vec<Row>| rows.into_iter().map(|row| (row, ROW_GONE)).collect();
        let mut files: Vec<Vec<(Row, u32)>> = files.into_iter().map(gone).collect();
        for (at, (file, row)) in (0..).zip(kept) {
            files[file][row].1 = at;
        }
        Moves { rows, files }
    })
}

fn parts(spec: &ScalarIndexSpec, files: &[Vec<(Row, u32)>]) -> Vec<MovedRows> {
    let part = |file: &Vec<(Row, u32)>| {
        let (rows, to): (Vec<Row>, Vec<u32>) = file.iter().cloned().unzip();
        MovedRows { index: open(spec, &rows), rows: to.into() }
    };
    files.iter().map(part).collect()
}

/// Whether a row has an element that an index of JSON arrays does not hold.
fn is_foreign(spec: &ScalarIndexSpec, rows: &[(Row, u32)]) -> bool {
    let kind = match &spec.values {
        IndexedValues::Json { cast, .. } if cast.is_elements() => *cast,
        _ => return false,
    };
    let holds = |element: &Row| match kind {
        JsonCast::BoolElements => matches!(element, Row::Bool(_)),
        JsonCast::DoubleElements => matches!(element, Row::Int(_) | Row::Float(_)),
        _ => matches!(element, Row::Text(_)),
    };
    rows.iter().any(|(row, _)| matches!(row, Row::List(list) if !list.iter().all(holds)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_made_of_old_indexes_is_what_is_built(
        (spec, moves) in specs().prop_flat_map(|spec| {
            let moves = moves(columns(&spec.values));
            (Just(spec), moves)
        }),
    ) {
        let made = remap_scalar_index(&spec, &parts(&spec, &moves.files), moves.rows.len()).unwrap();
        let is_lost = |file: &&Vec<(Row, u32)>| {
            file.iter().any(|(_, to)| *to == ROW_GONE) && is_foreign(&spec, file)
        };
        match made {
            Some(made) => prop_assert_eq!(made, build(&spec, &moves.rows)),
            None => prop_assert!(moves.files.iter().any(|file| is_lost(&file))),
        }
    }

    #[test]
    fn boxes_move_with_their_rows(moves in moves(prop::collection::vec(shapes(), 0..80).boxed())) {
        let values = IndexedValues::Field(DataType::Geometry);
        let spec = ScalarIndexSpec { kind: ScalarIndexKind::RTree, values };
        let made = remap_scalar_index(&spec, &parts(&spec, &moves.files), moves.rows.len()).unwrap();
        prop_assert_eq!(made.unwrap(), build(&spec, &moves.rows));
    }
}

#[test]
fn values_with_many_rows_move_too() {
    let spec = spec_of(DataType::VarChar);
    let count = 3000_u32;
    let row = |at: u32| Row::Text(if at.is_multiple_of(3) { "a".into() } else { format!("{at}") });
    // Turned round, and without the first 100 rows.
    let to = |at: u32| if at < 100 { ROW_GONE } else { count - 1 - at };
    let old: Vec<(Row, u32)> = (0..count).map(|at| (row(at), to(at))).collect();
    let rows: Vec<Row> = (100..count).rev().map(row).collect();
    let made = remap_scalar_index(&spec, &parts(&spec, &[old]), rows.len()).unwrap();
    assert_eq!(made.unwrap(), build(&spec, &rows));
}

#[test]
fn moves_that_do_not_give_each_row_once_make_nothing() {
    let spec = spec_of(DataType::Int64);
    let old = |to: [u32; 2]| vec![(Row::Int(1), to[0]), (Row::Int(2), to[1])];
    let made = |files: &[Vec<(Row, u32)>], rows: usize| {
        remap_scalar_index(&spec, &parts(&spec, files), rows).unwrap().is_some()
    };
    assert!(made(&[old([1, 0]), old([2, ROW_GONE])], 3));
    assert!(!made(&[old([1, 0])], 3));
    assert!(!made(&[old([1, 0]), old([2, 1])], 3));
    assert!(!made(&[old([3, 0]), old([2, 1])], 3));
    let index = open(&spec, &[Row::Int(1)]);
    let short = MovedRows { index: Arc::clone(&index), rows: [0, 1].into() };
    assert!(remap_scalar_index(&spec, &[short], 2).unwrap().is_none());
    // Another index over the same rows tells nothing.
    let other = MovedRows { index, rows: [0].into() };
    let sorted = ScalarIndexSpec { kind: ScalarIndexKind::Sort, ..spec };
    assert!(remap_scalar_index(&sorted, std::slice::from_ref(&other), 1).unwrap().is_none());
    let tied = MovedRows { index: on_field(FieldId(101), other.index), rows: other.rows };
    assert!(remap_scalar_index(&spec_of(DataType::Int64), &[tied], 1).unwrap().is_none());
}
