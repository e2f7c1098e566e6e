//! Every index against a naive evaluator, row by row.

mod columns;
mod naive;
mod remap;

use std::sync::Arc;

use bytes::Bytes;
use pandion_filter::{
    ArithmeticOp, Bound, CompareOp, ContainsMode, FieldRef, LikePattern, Operand, PathSegment,
    Predicate, Value,
};
use pandion_types::{DataType, ErrorKind, FieldId};
use proptest::prelude::*;

use self::columns::{columns, shapes, specs, terms};
use self::naive::{Row, evaluate};
use super::*;

fn field(data_type: DataType, element_type: Option<DataType>) -> Arc<FieldRef> {
    Arc::new(FieldRef {
        id: FieldId(101),
        name: "f".to_owned(),
        data_type,
        element_type,
        nullable: true,
        is_primary_key: false,
    })
}

fn path() -> Vec<PathSegment> {
    vec![PathSegment::Key("a".to_owned())]
}

/// The operand that an index of these values is asked about.
fn operand(values: &IndexedValues) -> Operand {
    match values {
        IndexedValues::Field(data_type) => Operand::Field(field(*data_type, None)),
        IndexedValues::Elements(data_type) => {
            Operand::Field(field(DataType::Array, Some(*data_type)))
        }
        IndexedValues::Json { path, .. } => {
            Operand::Json { field: field(DataType::Json, None), path: path.clone() }
        }
    }
}

fn build(spec: &ScalarIndexSpec, rows: &[Row]) -> Bytes {
    let mut builder = scalar_index_builder(spec).unwrap();
    for row in rows {
        row.with_datum(|datum| builder.push(datum)).unwrap();
    }
    builder.finish().unwrap()
}

fn open(spec: &ScalarIndexSpec, rows: &[Row]) -> Arc<dyn ScalarIndex> {
    let index = open_scalar_index(build(spec, rows)).unwrap();
    assert_eq!((index.spec(), index.rows()), (spec, rows.len()));
    index
}

/// Compares a lookup with the evaluator. Returns whether the index answered.
fn check(index: &dyn ScalarIndex, rows: &[Row], term: &Predicate) -> bool {
    let estimate = index.estimate(term);
    let Some(lookup) = index.lookup(term).unwrap() else {
        assert_eq!(estimate, None, "{term}");
        return false;
    };
    let estimate = estimate.unwrap_or_else(|| panic!("no estimate of {term}"));
    match lookup {
        Lookup::Exact { matches, unknown } => {
            assert!(estimate.exact, "{term}");
            assert_eq!(matches.len(), rows.len());
            let mut count = 0;
            for (at, row) in rows.iter().enumerate() {
                let is_unknown = unknown.as_ref().is_some_and(|unknown| unknown.get(at));
                let found = if is_unknown { None } else { Some(matches.get(at)) };
                assert_eq!(
                    found,
                    evaluate(row, term),
                    "{term} on {row:?} in {}",
                    index.spec().canonical()
                );
                assert!(!(is_unknown && matches.get(at)), "{term} on {row:?}");
                count += usize::from(matches.get(at));
            }
            assert_eq!(matches.count(), count, "{term}");
            let is_counted = matches!(term, Predicate::Compare { operand, .. } if !matches!(operand, Operand::Arithmetic { .. }));
            assert!(!is_counted || estimate.rows == count as u64, "{term} {estimate:?} {count}");
        }
        Lookup::Candidates(candidates) => {
            assert!(!estimate.exact, "{term}");
            assert_eq!(candidates.len(), rows.len());
            for (at, row) in rows.iter().enumerate() {
                let is_match = evaluate(row, term) == Some(true);
                assert!(!is_match || candidates.get(at), "{term} on {row:?}");
            }
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn lookups_agree_with_a_scan(
        (spec, rows, terms) in specs().prop_flat_map(|spec| {
            let rows = columns(&spec.values);
            let terms = prop::collection::vec(terms(&spec.values), 1..24);
            (Just(spec), rows, terms)
        }),
    ) {
        let index = open(&spec, &rows);
        for term in &terms {
            check(index.as_ref(), &rows, term);
        }
    }

    #[test]
    fn damaged_bytes_are_refused(
        (spec, rows) in specs().prop_flat_map(|spec| (Just(spec.clone()), columns(&spec.values))),
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let bytes = build(&spec, &rows);
        let mut changed = bytes.to_vec();
        let at = at.index(changed.len());
        changed[at] ^= change;
        // Of the head, 4 bytes are padding; they are hashed like the rest.
        let error = open_scalar_index(changed.into()).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        let cut = bytes.slice(..at);
        prop_assert_eq!(open_scalar_index(cut).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Bytes with a right checksum that no builder made: opening refuses them, or asking stays
    /// inside of them.
    #[test]
    fn forged_bytes_do_no_harm(
        (spec, rows, terms) in specs().prop_flat_map(|spec| {
            let rows = columns(&spec.values);
            let terms = prop::collection::vec(terms(&spec.values), 8);
            (Just(spec), rows, terms)
        }),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = build(&spec, &rows).to_vec();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] = change;
        }
        format::seal(&mut bytes);
        match open_scalar_index(bytes.into()) {
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
            Ok(index) => {
                for term in &terms {
                    index.estimate(term);
                    if let Ok(Some(Lookup::Candidates(rows) | Lookup::Exact { matches: rows, .. })) =
                        index.lookup(term)
                    {
                        prop_assert_eq!(rows.len(), index.rows());
                    }
                }
            }
        }
    }
}

fn spec_of(data_type: DataType) -> ScalarIndexSpec {
    ScalarIndexSpec { kind: ScalarIndexKind::Auto, values: IndexedValues::Field(data_type) }
}

fn compare(values: &IndexedValues, op: CompareOp, value: Value) -> Predicate {
    Predicate::Compare { operand: operand(values), op, value }
}

const OPS: [CompareOp; 6] = [
    CompareOp::Equal,
    CompareOp::NotEqual,
    CompareOp::Less,
    CompareOp::LessEqual,
    CompareOp::Greater,
    CompareOp::GreaterEqual,
];

#[test]
fn what_a_column_can_decide_is_answered() {
    let text = |text: &str| Row::Text(text.to_owned());
    let spec = spec_of(DataType::VarChar);
    let rows = [text("ab"), Row::Null, text("abc"), text("b"), text("ab")];
    let index = open(&spec, &rows);
    let own = || operand(&spec.values);
    let like = |pattern| Predicate::Like { operand: own(), pattern: LikePattern::new(pattern) };
    let regex =
        |pattern: &str| Predicate::RegexMatch { operand: own(), pattern: pattern.to_owned() };
    for pattern in ["ab", "ab%", "%", "", "%b", "%b%", "a_c", "x%"] {
        assert!(check(index.as_ref(), &rows, &like(pattern)), "{pattern}");
    }
    for pattern in ["^a.c$", "b", ""] {
        assert!(check(index.as_ref(), &rows, &regex(pattern)), "{pattern}");
    }
    assert!(check(index.as_ref(), &rows, &Predicate::IsNull(own())));
    assert_eq!(index.lookup(&regex("(")).unwrap_err().kind(), ErrorKind::InvalidArgument);
    // Terms of another type and connectives are not its business.
    assert!(index.lookup(&Predicate::Constant(true)).unwrap().is_none());
    let other = compare(&IndexedValues::Field(DataType::Int64), CompareOp::Equal, Value::Int(1));
    assert!(index.lookup(&other).unwrap().is_none());
}

#[test]
fn an_index_tied_to_a_field_is_silent_on_others() {
    let spec = spec_of(DataType::Int64);
    let rows = [Row::Int(1), Row::Int(2)];
    let term = compare(&spec.values, CompareOp::Equal, Value::Int(1));
    let own = on_field(FieldId(101), open(&spec, &rows));
    let other = on_field(FieldId(102), open(&spec, &rows));
    assert!(check(own.as_ref(), &rows, &term));
    assert!(!check(other.as_ref(), &rows, &term));
    assert_eq!((other.spec(), other.rows()), (&spec, 2));
}

#[test]
fn json_values_of_other_kinds_are_undecided() {
    let values = IndexedValues::Json { path: path(), cast: JsonCast::Double };
    let spec = ScalarIndexSpec { kind: ScalarIndexKind::Inverted, values: values.clone() };
    let pure = [Row::Int(1), Row::Float(1.5), Row::Null];
    let mixed = [Row::Int(1), Row::Text("x".to_owned()), Row::Null];
    let number = compare(&values, CompareOp::NotEqual, Value::Int(1));
    let text = compare(&values, CompareOp::Equal, Value::String("x".to_owned()));
    for (rows, answers_text) in [(&pure, true), (&mixed, false)] {
        let index = open(&spec, rows);
        assert!(check(index.as_ref(), rows, &number));
        assert_eq!(check(index.as_ref(), rows, &text), answers_text);
        assert!(check(index.as_ref(), rows, &Predicate::IsNull(operand(&values))));
    }
    let elsewhere =
        IndexedValues::Json { path: vec![PathSegment::Index(0)], cast: JsonCast::Double };
    let index = open(&spec, &pure);
    assert!(!check(index.as_ref(), &pure, &compare(&elsewhere, CompareOp::Equal, Value::Int(1))));
}

#[test]
fn values_with_many_rows_are_bitmaps() {
    let spec = spec_of(DataType::Int64);
    let value = |at: i64| match at % 100 {
        0..60 => Row::Int(7),
        60..90 => Row::Int(-2),
        90..95 => Row::Null,
        _ => Row::Int(1000 + at),
    };
    let rows: Vec<Row> = (0..9_999).map(value).collect();
    let bytes = build(&spec, &rows);
    assert!(bytes.len() < 20_000, "{}", bytes.len());
    let index = open_scalar_index(bytes).unwrap();
    for literal in [-3, -2, 0, 7, 8, 1095, 5000, i64::MAX] {
        for op in OPS {
            assert!(check(index.as_ref(), &rows, &compare(&spec.values, op, Value::Int(literal))));
        }
    }
    let values = [7, 1095, 1096, 3].map(Value::Int).to_vec();
    let list = Predicate::In { operand: operand(&spec.values), values };
    assert!(check(index.as_ref(), &rows, &list));
}

#[test]
fn arrays_of_many_common_elements() {
    let values = IndexedValues::Elements(DataType::Int64);
    let spec = ScalarIndexSpec { kind: ScalarIndexKind::Inverted, values: values.clone() };
    let row = |at: i64| {
        let elements = (1..8).filter(|divisor| at % divisor == 0).chain([10 + at % 3, 100 + at]);
        Row::List(elements.map(Row::Int).collect())
    };
    let rows: Vec<Row> = (0..6000).map(row).collect();
    let index = open(&spec, &rows);
    let lists = [vec![], vec![1], vec![1, 2], vec![2, 3, 11], vec![1, 5, 105], vec![1, 2, -1]];
    for list in lists {
        for mode in [ContainsMode::All, ContainsMode::Any] {
            let values = list.iter().copied().map(Value::Int).collect();
            let term = Predicate::Contains { operand: operand(&spec.values), mode, values };
            assert!(check(index.as_ref(), &rows, &term));
        }
    }
    let length = Operand::Length(Box::new(operand(&values)));
    let term =
        Predicate::Compare { operand: length, op: CompareOp::GreaterEqual, value: Value::Int(5) };
    assert!(check(index.as_ref(), &rows, &term));
}

#[test]
fn a_million_literals() {
    let spec = spec_of(DataType::Int64);
    let rows: Vec<Row> = (0..50_000).map(|at| Row::Int(at * 7 % 50_021)).collect();
    let index = open(&spec, &rows);
    let values: Vec<Value> = (0..1_000_000).rev().map(|at| Value::Int(at * 3)).collect();
    let list = Predicate::In { operand: operand(&spec.values), values };
    let Some(Lookup::Exact { matches, unknown: None }) = index.lookup(&list).unwrap() else {
        panic!("not answered");
    };
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(matches.get(at), matches!(row, Row::Int(value) if value % 3 == 0));
    }
}

#[test]
fn too_many_distinct_values_are_not_tested_one_by_one() {
    let spec = spec_of(DataType::VarChar);
    let distinct: Vec<Row> = (0..5000).map(|at| Row::Text(format!("value {at}"))).collect();
    let repeated: Vec<Row> = (0..5000).map(|at| Row::Text(format!("value {}", at % 50))).collect();
    let term =
        Predicate::Like { operand: operand(&spec.values), pattern: LikePattern::new("%e 1%") };
    assert!(!check(open(&spec, &distinct).as_ref(), &distinct, &term));
    assert!(check(open(&spec, &repeated).as_ref(), &repeated, &term));
}

#[test]
fn pieces_are_counted_in_characters() {
    let spec = ScalarIndexSpec {
        kind: ScalarIndexKind::Ngram { min: 2, max: 3 },
        values: IndexedValues::Field(DataType::VarChar),
    };
    let texts = ["größe", "groß", "ß", "", "maßstab", "öß"];
    let mut rows: Vec<Row> = texts.map(|text| Row::Text(text.to_owned())).to_vec();
    rows.push(Row::Null);
    let index = open(&spec, &rows);
    let count = |pattern: &str| {
        let pattern = LikePattern::new(pattern);
        let term = Predicate::Like { operand: operand(&spec.values), pattern };
        match index.lookup(&term).unwrap() {
            Some(Lookup::Candidates(rows)) => Some(rows.count()),
            Some(Lookup::Exact { .. }) => panic!("pieces decide nothing"),
            None => None,
        }
    };
    assert_eq!(count("%öß%"), Some(2));
    assert_eq!(count("%größe%"), Some(1));
    assert_eq!(count("%xy%"), Some(0));
    assert_eq!(count("%ß%"), None);
    assert_eq!(count("%ß%st_b"), Some(1));
    let term = |pattern: &str| Predicate::RegexMatch {
        operand: operand(&spec.values),
        pattern: pattern.to_owned(),
    };
    assert!(check(index.as_ref(), &rows, &term("^gr.*ße")));
    assert!(!check(index.as_ref(), &rows, &term("gr|ma")));
    assert!(check(index.as_ref(), &rows, &Predicate::IsNotNull(operand(&spec.values))));
    assert_eq!(index.lookup(&term("gr(")).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

proptest! {
    #[test]
    fn boxes_find_every_shape(
        rows in prop::collection::vec(shapes(), 0..120),
        relation in prop::sample::select(pandion_filter::SpatialRelation::ALL.to_vec()),
        (x, y, side) in (-200_i32..200, -95_i32..95, 0_i32..60),
        meters in prop_oneof![0.0..100_000.0, 0.0..9_000_000.0],
    ) {
        let spec = ScalarIndexSpec {
            kind: ScalarIndexKind::RTree,
            values: IndexedValues::Field(DataType::Geometry),
        };
        let index = open(&spec, &rows);
        let field = field(DataType::Geometry, None);
        let (right, top) = (x + side, y + side);
        let wkt = format!("POLYGON (({x} {y}, {right} {y}, {right} {top}, {x} {top}, {x} {y}))");
        let point = format!("POINT ({x} {y})");
        let terms = [
            Predicate::Spatial { field: Arc::clone(&field), relation, wkt },
            Predicate::Spatial { field: Arc::clone(&field), relation, wkt: point.clone() },
            Predicate::SpatialWithin { field: Arc::clone(&field), point, meters },
        ];
        for term in terms {
            let test = crate::geometry::SpatialTest::new(&term).unwrap();
            let Some(Lookup::Candidates(candidates)) = index.lookup(&term).unwrap() else {
                panic!("not answered");
            };
            for (at, row) in rows.iter().enumerate() {
                if let Row::Text(wkt) = row {
                    let is_match = test.test(wkt) == Some(true);
                    prop_assert!(!is_match || candidates.get(at), "{term} on {wkt}");
                } else {
                    prop_assert!(!candidates.get(at));
                }
            }
            let estimate = index.estimate(&term).unwrap();
            prop_assert!(!estimate.exact && estimate.rows >= candidates.count() as u64);
        }
        let valid = Predicate::SpatialValid { field: Arc::clone(&field) };
        prop_assert!(index.lookup(&valid).unwrap().is_none());
        prop_assert!(check(index.as_ref(), &rows, &Predicate::IsNull(Operand::Field(field))));
    }
}

#[test]
fn a_tree_of_boxes_is_searched_not_scanned() {
    let spec = ScalarIndexSpec {
        kind: ScalarIndexKind::RTree,
        values: IndexedValues::Field(DataType::Geometry),
    };
    for count in [1, 2, 16, 17, 300, 5000] {
        let row = |at: i32| Row::Text(format!("POINT ({} {})", at % 100, at / 100));
        let rows: Vec<Row> = (0..count).map(row).collect();
        let index = open(&spec, &rows);
        let term = Predicate::Spatial {
            field: field(DataType::Geometry, None),
            relation: pandion_filter::SpatialRelation::Equals,
            wkt: "POINT (0 0)".to_owned(),
        };
        let Some(Lookup::Candidates(candidates)) = index.lookup(&term).unwrap() else {
            panic!("not answered");
        };
        assert_eq!(candidates.iter().collect::<Vec<_>>(), [0]);
        let estimate = index.estimate(&term).unwrap();
        assert_eq!(estimate, Estimate { rows: 1, entries: 1, exact: false });
        let wrong = Predicate::SpatialWithin {
            field: field(DataType::Geometry, None),
            point: "LINESTRING (0 0, 1 1)".to_owned(),
            meters: 1.0,
        };
        assert_eq!(index.lookup(&wrong).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let same: Vec<Row> = (0..200).map(|_| Row::Text("POINT (1 1)".to_owned())).collect();
    assert_eq!(open(&spec, &same).rows(), 200);
}

#[test]
fn builders_refuse_what_is_not_of_their_kind() {
    let mut builder = scalar_index_builder(&spec_of(DataType::Int64)).unwrap();
    builder.push(Datum::Int(1)).unwrap();
    for value in [Datum::Text("x"), Datum::Float(1.0), Datum::Other, Datum::List(&[])] {
        assert_eq!(builder.push(value).unwrap_err().kind(), ErrorKind::Internal);
    }
    let refused = [
        (ScalarIndexKind::RTree, DataType::Int64),
        (ScalarIndexKind::Inverted, DataType::Geometry),
        (ScalarIndexKind::Ngram { min: 1, max: 2 }, DataType::Int64),
        (ScalarIndexKind::Auto, DataType::FloatVector),
    ];
    for (kind, data_type) in refused {
        let spec = ScalarIndexSpec { kind, values: IndexedValues::Field(data_type) };
        assert_eq!(scalar_index_builder(&spec).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
