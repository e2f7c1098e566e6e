//! Iceberg's values as those that manifests keep.
//!
//! A value is converted for one field: a timestamp of a Timestamptz field is microseconds, a
//! decimal of a Double field its nearest double. What has no such form is `None`, never another
//! value.

use arrow::datatypes::{Decimal128Type, DecimalType as _};
use arrow::temporal_conversions::date32_to_datetime;
use iceberg::spec::{PrimitiveLiteral, PrimitiveType};
use pandion_manifest::{MAX_BOUND_BYTES, StatValue};
use pandion_types::DataType;

pub(crate) const MICROS_PER_DAY: i64 = 86_400_000_000;

/// How a value that has no exact form becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// At most the value.
    Lower,
    /// At least the value.
    Upper,
}

/// A value of a column of type `kind`, as one of a field of type `data_type`.
pub(crate) fn value(
    literal: &PrimitiveLiteral,
    kind: &PrimitiveType,
    data_type: DataType,
) -> Option<StatValue> {
    let is_text = data_type.is_string();
    let text = |text: String| (text.len() <= MAX_BOUND_BYTES).then_some(StatValue::String(text));
    Some(match (literal, kind) {
        (PrimitiveLiteral::Boolean(value), _) => {
            (data_type == DataType::Bool).then_some(StatValue::Bool(*value))?
        }
        (PrimitiveLiteral::Int(days), PrimitiveType::Date) => match data_type {
            DataType::Timestamptz => StatValue::Int(i64::from(*days) * MICROS_PER_DAY),
            _ if is_text => text(date32_to_datetime(*days)?.date().to_string())?,
            _ => return None,
        },
        (PrimitiveLiteral::Int(value), _) => integer(i64::from(*value), data_type)?,
        (
            PrimitiveLiteral::Long(value),
            PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs,
        ) => integer(value.div_euclid(1000), data_type)?,
        (PrimitiveLiteral::Long(value), _) => integer(*value, data_type)?,
        (PrimitiveLiteral::Float(value), _) => float(f64::from(value.0), data_type)?,
        (PrimitiveLiteral::Double(value), _) => float(value.0, data_type)?,
        (PrimitiveLiteral::Int128(value), PrimitiveType::Decimal { precision, scale }) => {
            decimal(*value, *precision, *scale, data_type)?
        }
        (PrimitiveLiteral::String(value), _) => {
            let fits = is_text || matches!(data_type, DataType::Json | DataType::Geometry);
            fits.then(|| text(value.clone()))??
        }
        (PrimitiveLiteral::Binary(bytes), _) => {
            let fits = is_text || data_type == DataType::Json;
            let value = fits.then(|| String::from_utf8(bytes.clone()).ok())??;
            text(value)?
        }
        (PrimitiveLiteral::UInt128(value), PrimitiveType::Uuid) if is_text => text(uuid(*value))?,
        _ => return None,
    })
}

/// A bound of the values of a column of type `kind`, as a bound of a field's. `None` also where the
/// order of the field's values is not that of the column's.
pub(crate) fn bound(
    literal: &PrimitiveLiteral,
    kind: &PrimitiveType,
    data_type: DataType,
    side: Bound,
) -> Option<StatValue> {
    if data_type.is_string()
        && !matches!(literal, PrimitiveLiteral::String(_) | PrimitiveLiteral::Binary(_))
    {
        return None;
    }
    if matches!(data_type, DataType::Json | DataType::Geometry) {
        return None;
    }
    if let (
        PrimitiveLiteral::Long(value),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs,
    ) = (literal, kind)
        && side == Bound::Upper
    {
        let rest = value.rem_euclid(1000) > 0;
        return integer(value.div_euclid(1000) + i64::from(rest), data_type);
    }
    match value(literal, kind, data_type)? {
        StatValue::Float(value) if value.is_nan() => None,
        // Writers do not agree on which zero a bound is.
        StatValue::Float(0.0) => {
            Some(StatValue::Float(if side == Bound::Lower { -0.0 } else { 0.0 }))
        }
        value => Some(value),
    }
}

fn integer(value: i64, data_type: DataType) -> Option<StatValue> {
    let fits = data_type.is_integer() || data_type == DataType::Timestamptz;
    fits.then_some(StatValue::Int(value))
}

fn float(value: f64, data_type: DataType) -> Option<StatValue> {
    data_type.is_float().then_some(StatValue::Float(value))
}

fn decimal(value: i128, precision: u32, scale: u32, data_type: DataType) -> Option<StatValue> {
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    if data_type.is_string() {
        return Some(StatValue::String(Decimal128Type::format_decimal(value, precision, scale)));
    }
    // The text is exact, and reading it rounds once.
    let nearest: f64 = format!("{value}e-{scale}").parse().ok()?;
    (data_type == DataType::Double).then_some(StatValue::Float(nearest))
}

fn uuid(value: u128) -> String {
    let hex = format!("{value:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: i64) -> Option<StatValue> {
        Some(StatValue::Int(value))
    }

    #[test]
    fn timestamps_become_microseconds_and_their_bounds_hold() {
        let nanos = PrimitiveLiteral::Long(-1_500);
        let kind = PrimitiveType::TimestamptzNs;
        assert_eq!(value(&nanos, &kind, DataType::Timestamptz), int(-2));
        assert_eq!(bound(&nanos, &kind, DataType::Timestamptz, Bound::Lower), int(-2));
        assert_eq!(bound(&nanos, &kind, DataType::Timestamptz, Bound::Upper), int(-1));
        let day = PrimitiveLiteral::Int(-1);
        assert_eq!(value(&day, &PrimitiveType::Date, DataType::Timestamptz), int(-MICROS_PER_DAY));
        let text = value(&day, &PrimitiveType::Date, DataType::VarChar);
        assert_eq!(text, Some(StatValue::String("1969-12-31".to_owned())));
        assert_eq!(bound(&day, &PrimitiveType::Date, DataType::VarChar, Bound::Lower), None);
    }

    #[test]
    fn zeros_widen_bounds_and_nan_is_none() {
        let zero = PrimitiveLiteral::Double(0.0.into());
        let lower = bound(&zero, &PrimitiveType::Double, DataType::Double, Bound::Lower);
        assert!(matches!(lower, Some(StatValue::Float(zero)) if zero.is_sign_negative()));
        let nan = PrimitiveLiteral::Float(f32::NAN.into());
        assert_eq!(bound(&nan, &PrimitiveType::Float, DataType::Float, Bound::Upper), None);
    }

    #[test]
    fn decimals_and_uuids_are_text_or_the_nearest_double() {
        let kind = PrimitiveType::Decimal { precision: 9, scale: 2 };
        let cents = PrimitiveLiteral::Int128(-1420);
        assert_eq!(value(&cents, &kind, DataType::Double), Some(StatValue::Float(-14.2)));
        let text = value(&cents, &kind, DataType::VarChar);
        assert_eq!(text, Some(StatValue::String("-14.20".to_owned())));
        let id = PrimitiveLiteral::UInt128(0xf79c_3e09_677c_4bbd_a479_3f34_9cb7_85e7);
        let text = value(&id, &PrimitiveType::Uuid, DataType::VarChar);
        let expected = "f79c3e09-677c-4bbd-a479-3f349cb785e7".to_owned();
        assert_eq!(text, Some(StatValue::String(expected)));
    }

    #[test]
    fn values_of_other_types_are_none() {
        let long = PrimitiveLiteral::Long(1);
        assert_eq!(value(&long, &PrimitiveType::Long, DataType::VarChar), None);
        let cut = PrimitiveLiteral::Binary(vec![0xc3]);
        assert_eq!(value(&cut, &PrimitiveType::Binary, DataType::VarChar), None);
        assert_eq!(value(&PrimitiveLiteral::AboveMax, &PrimitiveType::Int, DataType::Int32), None);
    }
}
