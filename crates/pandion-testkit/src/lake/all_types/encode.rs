//! The byte formats that Arrow has no type for: well-known binary, and the protobuf message in
//! which Milvus keeps an array.

use std::fmt::Write as _;

use crate::convert::to_u64;

/// A plane figure.
#[derive(Clone, Debug)]
pub(super) enum Geometry {
    Point([f64; 2]),
    LineString(Vec<[f64; 2]>),
    /// One ring, closed.
    Polygon(Vec<[f64; 2]>),
}

impl Geometry {
    /// Well-known text as the OGC's Simple Features write it.
    pub(super) fn wkt(&self) -> String {
        match self {
            Self::Point([x, y]) => format!("POINT ({x} {y})"),
            Self::LineString(points) => format!("LINESTRING ({})", coordinates(points)),
            Self::Polygon(ring) => format!("POLYGON (({}))", coordinates(ring)),
        }
    }

    /// Well-known binary, little-endian.
    pub(super) fn wkb(&self) -> Vec<u8> {
        let (code, counts, points): (u32, &[usize], &[[f64; 2]]) = match self {
            Self::Point(point) => (1, &[], std::slice::from_ref(point)),
            Self::LineString(points) => (2, &[points.len()], points),
            Self::Polygon(ring) => (3, &[1, ring.len()], ring),
        };
        let mut bytes = vec![1];
        bytes.extend(code.to_le_bytes());
        for count in counts {
            bytes.extend(u32::try_from(*count).unwrap_or(u32::MAX).to_le_bytes());
        }
        for [x, y] in points {
            bytes.extend(x.to_le_bytes());
            bytes.extend(y.to_le_bytes());
        }
        bytes
    }
}

fn coordinates(points: &[[f64; 2]]) -> String {
    let mut text = String::new();
    for (number, [x, y]) in points.iter().enumerate() {
        let separator = if number == 0 { "" } else { ", " };
        let written = write!(text, "{separator}{x} {y}");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    text
}

/// `ScalarField { long_data: LongArray { data } }`, fields 3 and 1.
pub(super) fn scalar_field_of_longs(longs: &[i64]) -> Vec<u8> {
    let mut packed = Vec::new();
    for long in longs {
        push_varint(&mut packed, long.cast_unsigned());
    }
    let mut array = Vec::new();
    // proto3 leaves an empty packed field out.
    if !packed.is_empty() {
        push_bytes(&mut array, 1, &packed);
    }
    let mut message = Vec::new();
    push_bytes(&mut message, 3, &array);
    message
}

/// `ScalarField { string_data: StringArray { data } }`, fields 6 and 1.
pub(super) fn scalar_field_of_strings(strings: &[String]) -> Vec<u8> {
    let mut array = Vec::new();
    for string in strings {
        push_bytes(&mut array, 1, string.as_bytes());
    }
    let mut message = Vec::new();
    push_bytes(&mut message, 6, &array);
    message
}

/// A length-delimited field.
fn push_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    push_varint(message, field << 3 | 2);
    push_varint(message, to_u64(bytes.len()));
    message.extend_from_slice(bytes);
}

fn push_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        message.push(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    message.push(low);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_have_both_forms() {
        let line = Geometry::LineString(vec![[0.0, 1.5], [-2.0, 3.0]]);
        assert_eq!(line.wkt(), "LINESTRING (0 1.5, -2 3)");
        assert_eq!(line.wkb().len(), 1 + 4 + 4 + 2 * 16);
        let point = Geometry::Point([1.0, -2.5]).wkb();
        assert_eq!(point[..5], [1, 1, 0, 0, 0]);
        assert_eq!(point[5..13], 1.0_f64.to_le_bytes());
        let ring = Geometry::Polygon(vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]);
        assert_eq!(ring.wkt(), "POLYGON ((0 0, 1 0, 0 1, 0 0))");
        assert_eq!(ring.wkb()[1..13], [3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn messages_are_protobuf() {
        assert_eq!(scalar_field_of_longs(&[1, 300]), [0x1a, 5, 0x0a, 3, 1, 0xac, 2]);
        assert_eq!(scalar_field_of_longs(&[]), [0x1a, 0]);
        let minus_one = scalar_field_of_longs(&[-1]);
        assert_eq!(minus_one[4..], [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        let strings = scalar_field_of_strings(&["ab".to_owned(), String::new()]);
        assert_eq!(strings, [0x32, 6, 0x0a, 2, b'a', b'b', 0x0a, 0]);
    }
}
