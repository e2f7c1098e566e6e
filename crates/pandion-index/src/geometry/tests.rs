use std::sync::Arc;

use pandion_filter::FieldRef;
use pandion_types::{DataType, ErrorKind, FieldId};
use proptest::prelude::*;

use super::*;

fn field() -> Arc<FieldRef> {
    Arc::new(FieldRef {
        id: FieldId(101),
        name: "g".to_owned(),
        data_type: DataType::Geometry,
        element_type: None,
        nullable: true,
        is_primary_key: false,
    })
}

fn related(relation: SpatialRelation, wkt: &str) -> Predicate {
    Predicate::Spatial { field: field(), relation, wkt: wkt.to_owned() }
}

fn within(point: &str, meters: f64) -> Predicate {
    Predicate::SpatialWithin { field: field(), point: point.to_owned(), meters }
}

/// The functions that hold between the row's shape and the literal.
fn relations(row: &str, literal: &str) -> Vec<&'static str> {
    let holds = |relation: &SpatialRelation| {
        SpatialTest::new(&related(*relation, literal)).unwrap().test(row).unwrap()
    };
    SpatialRelation::ALL.into_iter().filter(holds).map(SpatialRelation::function).collect()
}

const SQUARE: &str = "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))";

#[test]
fn known_relations_hold() {
    let table: [(&str, &str, &[&str]); 17] = [
        ("POINT (2 2)", SQUARE, &["st_intersects", "st_within"]),
        ("POINT (4 2)", SQUARE, &["st_touches", "st_intersects"]),
        ("POINT (5 2)", SQUARE, &[]),
        (SQUARE, "POINT (2 2)", &["st_contains", "st_intersects"]),
        (SQUARE, "POINT (0 0)", &["st_touches", "st_intersects"]),
        ("POINT (1 1)", "POINT (1 1)", &["st_equals", "st_contains", "st_intersects", "st_within"]),
        (SQUARE, SQUARE, &["st_equals", "st_contains", "st_intersects", "st_within"]),
        (
            "POLYGON ((4 4, 0 4, 0 0, 4 0, 4 2, 4 4))",
            SQUARE,
            &["st_equals", "st_contains", "st_intersects", "st_within"],
        ),
        ("POLYGON ((1 1, 2 1, 2 2, 1 2, 1 1))", SQUARE, &["st_intersects", "st_within"]),
        ("POLYGON ((4 0, 8 0, 8 4, 4 4, 4 0))", SQUARE, &["st_touches", "st_intersects"]),
        ("POLYGON ((2 2, 6 2, 6 6, 2 6, 2 2))", SQUARE, &["st_overlaps", "st_intersects"]),
        ("LINESTRING (-1 2, 5 2)", SQUARE, &["st_crosses", "st_intersects"]),
        ("LINESTRING (1 1, 2 2)", SQUARE, &["st_intersects", "st_within"]),
        ("LINESTRING (0 0, 4 0)", SQUARE, &["st_touches", "st_intersects"]),
        ("LINESTRING (0 0, 2 2)", "LINESTRING (0 2, 2 0)", &["st_crosses", "st_intersects"]),
        ("LINESTRING (0 0, 2 0)", "LINESTRING (1 0, 3 0)", &["st_overlaps", "st_intersects"]),
        ("MULTIPOINT (1 1, 9 9)", SQUARE, &["st_crosses", "st_intersects"]),
    ];
    for (row, literal, expected) in table {
        let mut expected = expected.to_vec();
        let mut found = relations(row, literal);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{row} / {literal}");
    }
}

#[test]
fn shapes_that_are_none_are_unknown() {
    let test = SpatialTest::new(&related(SpatialRelation::Intersects, SQUARE)).unwrap();
    let near = SpatialTest::new(&within("POINT (0 0)", 1e9)).unwrap();
    let valid = SpatialTest::new(&Predicate::SpatialValid { field: field() }).unwrap();
    let deep =
        format!("{}POINT (1 1){}", "GEOMETRYCOLLECTION (".repeat(100_000), ")".repeat(100_000));
    for text in ["", "POINT", "POINT (1)", "POINT (1 NaN)", "POINT (1 1e999)", "x", "((((", &deep] {
        assert_eq!(test.test(text), None, "{text:.40}");
        assert_eq!(near.test(text), None, "{text:.40}");
        assert_eq!(valid.test(text), Some(false), "{text:.40}");
    }
    for text in ["POINT EMPTY", "POLYGON EMPTY", "GEOMETRYCOLLECTION EMPTY", "MULTIPOINT EMPTY"] {
        assert_ne!(test.test(text), Some(true), "{text}");
        assert_ne!(near.test(text), Some(true), "{text}");
    }
}

#[test]
fn validity_is_that_of_the_rings() {
    let valid = SpatialTest::new(&Predicate::SpatialValid { field: field() }).unwrap();
    assert_eq!(valid.test(SQUARE), Some(true));
    assert_eq!(valid.test("POINT (1 2)"), Some(true));
    assert_eq!(valid.test("POLYGON ((0 0, 4 4, 4 0, 0 4, 0 0))"), Some(false));
}

#[test]
fn bad_literals_are_named() {
    for wkt in ["", "POINT (1)", "nonsense", "POINT (NaN 1)"] {
        let error = SpatialTest::new(&related(SpatialRelation::Equals, wkt)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(&format!("geometry \"{wkt}\"")), "{error}");
    }
    let error = SpatialTest::new(&within(SQUARE, 1.0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("is not a POINT"), "{error}");
    let error = SpatialTest::new(&Predicate::Constant(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn distances_between_points_are_great_circles() {
    // A degree on a sphere of 6,371,000 m is 111,194.93 m.
    let table = [
        ("POINT (0 0)", "POINT (1 0)", 111_194.93),
        ("POINT (0 0)", "POINT (0 1)", 111_194.93),
        ("POINT (179.5 0)", "POINT (-179.5 0)", 111_194.93),
        ("POINT (0 60)", "POINT (1 60)", 55_595.0),
        ("POINT (13.4050 52.5200)", "POINT (2.3522 48.8566)", 877_463.0),
    ];
    for (row, point, meters) in table {
        let is_within = |meters| SpatialTest::new(&within(point, meters)).unwrap().test(row);
        assert_eq!(is_within(meters * 1.001), Some(true), "{row} {point}");
        assert_eq!(is_within(meters * 0.999), Some(false), "{row} {point}");
    }
}

#[test]
fn distances_to_other_shapes_are_to_their_nearest_part() {
    let line = "LINESTRING (1 -5, 1 5)";
    let is_within = |row: &str, meters| {
        SpatialTest::new(&within("POINT (0 0)", meters)).unwrap().test(row).unwrap()
    };
    assert!(is_within(line, 111_321.0) && !is_within(line, 111_319.0));
    assert!(is_within("MULTIPOINT (9 9, 0 1)", 111_321.0));
    assert!(is_within("POLYGON ((-1 -1, 1 -1, 1 1, -1 1, -1 -1))", 0.0));
    // At 60 degrees north a degree has 111,320 m times the root of (1 + 1/4) / 2.
    let north = SpatialTest::new(&within("POINT (0 60)", 88_100.0)).unwrap();
    assert_eq!(north.test("LINESTRING (1 50, 1 70)"), Some(true));
    let north = SpatialTest::new(&within("POINT (0 60)", 87_900.0)).unwrap();
    assert_eq!(north.test("LINESTRING (1 50, 1 70)"), Some(false));
}

/// Texts near to shapes, and shapes that are not valid.
fn any_shape() -> impl Strategy<Value = String> {
    let coordinate = (-4_i32..5, -4_i32..5).prop_map(|(x, y)| format!("{x} {y}"));
    let coordinates = prop::collection::vec(coordinate, 0..7).prop_map(|list| list.join(", "));
    let simple = ("POINT|LINESTRING|MULTIPOINT", coordinates.clone())
        .prop_map(|(kind, list)| format!("{kind} ({list})"));
    let ring = ("POLYGON|MULTILINESTRING", coordinates.clone())
        .prop_map(|(kind, list)| format!("{kind} (({list}))"));
    let rings = (coordinates.clone(), coordinates)
        .prop_map(|(one, other)| format!("MULTIPOLYGON ((({one})), (({other})))"));
    prop_oneof![simple, ring, rings]
}

proptest! {
    #[test]
    fn every_valid_shape_is_decided(row in any_shape(), literal in any_shape()) {
        let valid = SpatialTest::new(&Predicate::SpatialValid { field: field() }).unwrap();
        let are_valid = valid.test(&row) == Some(true) && valid.test(&literal) == Some(true);
        let mut holding = Vec::new();
        for relation in SpatialRelation::ALL {
            let Ok(test) = SpatialTest::new(&related(relation, &literal)) else {
                prop_assert_eq!(valid.test(&literal), Some(false));
                continue;
            };
            let outcome = test.test(&row);
            prop_assert!(outcome.is_some() || !are_valid, "{row} / {literal}");
            if outcome == Some(true) {
                holding.push(relation);
            }
        }
        // Shapes that relate in any way have a point in common, but for empty ones.
        prop_assert!(
            holding.is_empty()
                || holding.contains(&SpatialRelation::Intersects)
                || parse_wkt(&row).unwrap().bounding_rect().is_none(),
            "{row} / {literal} {holding:?}"
        );
        let near = SpatialTest::new(&within("POINT (1 1)", 1000.0)).unwrap();
        prop_assert_eq!(near.test(&row).is_none(), parse_wkt(&row).is_none());
    }

    #[test]
    fn the_reach_holds_what_is_near(
        (x, y) in (-180.0..180.0, -90.0..90.0),
        (other_x, other_y) in (-5.0..5.0, -5.0..5.0),
        meters in 0.0..2_000_000.0,
    ) {
        let test = SpatialTest::new(&within(&format!("POINT ({x} {y})"), meters)).unwrap();
        let mut other_x: f64 = x + other_x;
        if other_x > 180.0 {
            other_x -= 360.0;
        }
        let other_y = f64::clamp(y + other_y, -90.0, 90.0);
        let point = format!("POINT ({other_x} {other_y})");
        let line = format!("LINESTRING ({other_x} {other_y}, {other_x} {other_y})");
        for shape in [point, line] {
            let bounds = parse_wkt(&shape).unwrap().bounding_rect().unwrap();
            if test.test(&shape) == Some(true)
                && let Reach::Boxes(boxes) = test.reach()
            {
                prop_assert!(boxes.iter().any(|near| boxes_touch(near, &bounds)), "{shape}");
            }
        }
    }
}
