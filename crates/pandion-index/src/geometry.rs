//! How shapes lie to each other: the geometry predicates of a filter.
//!
//! Relations are those of the DE-9IM on the plane of the coordinates. Distances take the
//! coordinates as degrees of longitude and latitude and follow Milvus: between points the great
//! circle on a sphere of 6,371 km; from a point to any other shape the distance on the plane, times
//! the metres that a degree has at the point's latitude, averaged over the directions.
//!
//! A row's value that is no shape, or has coordinates that are not finite, is related to nothing:
//! the outcome is unknown. An empty shape is at no distance from anything. Nothing here knows of
//! spatial reference systems; heights and measures are ignored.

use std::panic::{AssertUnwindSafe, catch_unwind};

use geo::coordinate_position::{CoordPos, CoordinatePosition};
use geo::{
    BoundingRect, CoordsIter, Distance, Euclidean, Geometry, HaversineMeasure, Point, Rect, Relate,
    Validation,
};
use geozero::ToGeo;
use geozero::wkt::Wkt;
use pandion_filter::{Predicate, SpatialRelation};
use pandion_types::{Error, Result};

/// How deeply collections may nest in well-known text.
const NESTING_MAX: usize = 32;

/// The radius of the sphere in metres.
const EARTH: HaversineMeasure = HaversineMeasure::new(EARTH_RADIUS);
const EARTH_RADIUS: f64 = 6_371_000.0;

/// Metres of a degree of latitude, as Milvus has it.
const METERS_PER_DEGREE: f64 = 111_320.0;

/// Reads well-known text. `None` for what is none, nests too deeply or has a coordinate that is not
/// a finite number.
pub(crate) fn parse_wkt(text: &str) -> Option<Geometry<f64>> {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // The reader is recursive; a polygon of a collection has three levels of its own.
        if depth > NESTING_MAX + 3 {
            return None;
        }
    }
    // The reader checks with debug assertions what it takes for granted.
    let shape = catch_unwind(|| Wkt(text).to_geo().ok()).ok().flatten()?;
    let is_finite = shape.coords_iter().all(|coord| coord.x.is_finite() && coord.y.is_finite());
    is_finite.then_some(shape)
}

/// A geometry predicate, ready to be tested on rows.
#[derive(Clone, Debug)]
pub struct SpatialTest {
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Relation { relation: SpatialRelation, shape: Geometry<f64>, bounds: Option<Rect<f64>> },
    Within { point: Point<f64>, meters: f64 },
    Valid,
}

impl SpatialTest {
    /// The test of a [`Predicate::Spatial`], [`Predicate::SpatialWithin`] or
    /// [`Predicate::SpatialValid`].
    ///
    /// # Errors
    /// `InvalidArgument` that names the literal when it is no well-known text, or not a point where
    /// a point is asked for; `Internal` for another predicate.
    pub fn new(term: &Predicate) -> Result<Self> {
        let test = match term {
            Predicate::Spatial { relation, wkt, .. } => {
                let shape = literal(wkt)?;
                let bounds = shape.bounding_rect();
                Test::Relation { relation: *relation, shape, bounds }
            }
            Predicate::SpatialWithin { point, meters, .. } => match literal(point)? {
                Geometry::Point(point) => Test::Within { point, meters: *meters },
                _ => return Err(bad_literal("is not a POINT", point)),
            },
            Predicate::SpatialValid { .. } => Test::Valid,
            other => {
                return Err(Error::internal(format!("{other} is no geometry predicate")));
            }
        };
        Ok(Self { test })
    }

    /// Whether the predicate holds for a row's shape, given as well-known text; `None` when that is
    /// unknown because the text is no shape.
    #[must_use]
    pub fn test(&self, wkt: &str) -> Option<bool> {
        let shape = parse_wkt(wkt);
        match &self.test {
            Test::Valid => Some(shape.is_some_and(|shape| shape.is_valid())),
            Test::Relation { relation, shape: literal, bounds } => {
                relate(&shape?, *relation, literal, *bounds)
            }
            Test::Within { point, meters } => Some(is_within(&shape?, *point, *meters)),
        }
    }

    /// What a shape's bounding box has to meet for the predicate to hold; a shape without a box may
    /// meet it too.
    pub(crate) fn reach(&self) -> Reach {
        match &self.test {
            Test::Valid => Reach::Everything,
            // Shapes that relate in any of the ways have a point in common.
            Test::Relation { bounds, .. } => match bounds {
                Some(bounds) => Reach::Boxes(vec![*bounds]),
                None => Reach::Boxes(Vec::new()),
            },
            Test::Within { point, meters } => within_reach(*point, *meters),
        }
    }
}

/// Where the shapes that may meet a predicate lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reach {
    /// Anywhere.
    Everything,
    /// In touch with one of the boxes.
    Boxes(Vec<Rect<f64>>),
}

fn literal(wkt: &str) -> Result<Geometry<f64>> {
    parse_wkt(wkt).ok_or_else(|| bad_literal("is not valid WKT", wkt))
}

fn bad_literal(fault: &str, wkt: &str) -> Error {
    let shown: String = wkt.chars().take(256).collect();
    let cut = if shown.len() < wkt.len() { "..." } else { "" };
    Error::invalid_argument(format!(
        "failed to create query plan: geometry \"{shown}{cut}\" {fault}: invalid parameter"
    ))
}

fn relate(
    shape: &Geometry<f64>,
    relation: SpatialRelation,
    literal: &Geometry<f64>,
    bounds: Option<Rect<f64>>,
) -> Option<bool> {
    if let (Some(own), Some(bounds)) = (shape.bounding_rect(), bounds)
        && !boxes_touch(&own, &bounds)
    {
        return Some(false);
    }
    if let Some(outcome) = relate_point(shape, relation, literal) {
        return Some(outcome);
    }
    // The library asserts what holds of valid shapes, and a column may hold others.
    let matrix = catch_unwind(AssertUnwindSafe(|| shape.relate(literal))).ok()?;
    Some(match relation {
        SpatialRelation::Equals => matrix.is_equal_topo(),
        SpatialRelation::Touches => matrix.is_touches(),
        SpatialRelation::Overlaps => matrix.is_overlaps(),
        SpatialRelation::Crosses => matrix.is_crosses(),
        SpatialRelation::Contains => matrix.is_contains(),
        SpatialRelation::Intersects => matrix.is_intersects(),
        SpatialRelation::Within => matrix.is_within(),
    })
}

/// The commonest case without a topology: a point and a polygon.
fn relate_point(
    shape: &Geometry<f64>,
    relation: SpatialRelation,
    literal: &Geometry<f64>,
) -> Option<bool> {
    let (Geometry::Point(point), Geometry::Polygon(polygon)) = (shape, literal) else {
        return None;
    };
    let position = polygon.coordinate_position(&point.0);
    match relation {
        SpatialRelation::Intersects => Some(position != CoordPos::Outside),
        SpatialRelation::Within => Some(position == CoordPos::Inside),
        SpatialRelation::Touches => Some(position == CoordPos::OnBoundary),
        SpatialRelation::Equals
        | SpatialRelation::Overlaps
        | SpatialRelation::Crosses
        | SpatialRelation::Contains => None,
    }
}

fn boxes_touch(left: &Rect<f64>, right: &Rect<f64>) -> bool {
    left.min().x <= right.max().x
        && right.min().x <= left.max().x
        && left.min().y <= right.max().y
        && right.min().y <= left.max().y
}

fn is_within(shape: &Geometry<f64>, point: Point<f64>, meters: f64) -> bool {
    if let Geometry::Point(other) = shape {
        return EARTH.distance(point, *other) <= meters;
    }
    if shape.coords_iter().next().is_none() {
        return false;
    }
    let reach = meters / meters_per_degree(point);
    if let Some(bounds) = shape.bounding_rect()
        && !boxes_touch(&bounds, &around(point, reach, reach))
    {
        return false;
    }
    let distance = catch_unwind(AssertUnwindSafe(|| Euclidean.distance(&point, shape)));
    distance.is_ok_and(|degrees| degrees * meters_per_degree(point) <= meters)
}

/// Metres of a degree at a point, averaged over the directions.
fn meters_per_degree(point: Point<f64>) -> f64 {
    let shrink = point.y().to_radians().cos();
    METERS_PER_DEGREE * f64::midpoint(1.0, shrink * shrink).sqrt()
}

/// A box around a point, a little larger than asked for, so that rounding loses nothing.
fn around(point: Point<f64>, x: f64, y: f64) -> Rect<f64> {
    let wider = |degrees: f64| degrees * (1.0 + 1e-9) + 1e-9;
    let (x, y) = (wider(x), wider(y));
    Rect::new(
        geo::coord! { x: point.x() - x, y: point.y() - y },
        geo::coord! { x: point.x() + x, y: point.y() + y },
    )
}

/// Where shapes within a distance lie: points on the sphere, others on the plane.
fn within_reach(point: Point<f64>, meters: f64) -> Reach {
    let on_plane = meters / meters_per_degree(point);
    let angle = meters / EARTH_RADIUS;
    let latitudes = angle.to_degrees();
    let (low, high) = (point.y() - latitudes, point.y() + latitudes);
    // Near a pole every longitude is near, and coordinates beyond the usual ones wrap around.
    let is_usual = low > -89.0 && high < 89.0 && point.x().abs() <= 180.0;
    if !is_usual || !on_plane.is_finite() {
        return Reach::Everything;
    }
    let longitudes = (angle.sin() / point.y().to_radians().cos()).asin().to_degrees();
    if !longitudes.is_finite() || longitudes >= 90.0 {
        return Reach::Everything;
    }
    let mut boxes = vec![around(point, on_plane, on_plane)];
    // The same place has a name one turn on either side.
    for turn in [-360.0, 0.0, 360.0] {
        let turned = Point::new(point.x() + turn, point.y());
        boxes.push(around(turned, longitudes, latitudes));
    }
    Reach::Boxes(boxes)
}

#[cfg(test)]
mod tests;
