//! Numbers and moments that no field has a type for: decimals, dates, times, and timestamps as
//! numbers.
//!
//! Each form says what the value is, but for two things that are declared: decimals become the
//! nearest double where the field asks for one, and moments finer than a microsecond are cut down
//! to the microsecond before.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float64Array, Int64Array,
    PrimitiveArray, StringArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Date64Type, Decimal128Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use pandion_types::{FieldSchema, Result};

use super::corrupt;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;
/// Integers up to this size are doubles without rounding.
const DOUBLE_EXACT_MAX: u128 = 1 << 53;
/// Powers of ten up to this one are doubles without rounding.
const POWER_EXACT_MAX: i8 = 22;
/// Digits of the largest decimal of 128 bits.
const DIGITS_MAX: u8 = 38;

/// Whether values are days.
pub(super) fn is_date(source: &ArrowType) -> bool {
    matches!(source, ArrowType::Date32 | ArrowType::Date64)
}

/// Whether values are timestamps, or times of a day.
pub(super) fn is_moment(source: &ArrowType) -> bool {
    matches!(source, ArrowType::Timestamp(..) | ArrowType::Time32(_) | ArrowType::Time64(_))
}

/// Timestamps, dates, or numbers of microseconds as timestamps.
pub(super) fn timestamps(field: &FieldSchema, array: &ArrayRef) -> Result<ArrayRef> {
    let micros = match array.data_type() {
        ArrowType::Date32 => {
            scaled::<Date32Type>(field, array, |days| i64::from(days).checked_mul(DAY_MICROS))?
        }
        ArrowType::Date64 => scaled::<Date64Type>(field, array, |millis| millis.checked_mul(1000))?,
        _ => micros(field, array)?,
    };
    let micros = micros.reinterpret_cast::<TimestampMicrosecondType>();
    Ok(Arc::new(micros.with_timezone("UTC")))
}

/// Timestamps, times, or numbers of microseconds as numbers of microseconds.
pub(super) fn micros(field: &FieldSchema, array: &ArrayRef) -> Result<Int64Array> {
    let seconds = |value: i64| value.checked_mul(1_000_000);
    let millis = |value: i64| value.checked_mul(1000);
    // Rounds down also before 1970, so that order is kept.
    let nanos = |value: i64| Some(value.div_euclid(1000));
    match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Second, _) => {
            scaled::<TimestampSecondType>(field, array, seconds)
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled::<TimestampMillisecondType>(field, array, millis)
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled::<TimestampNanosecondType>(field, array, nanos)
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast())
        }
        ArrowType::Time32(TimeUnit::Second) => {
            scaled::<Time32SecondType>(field, array, |value| seconds(value.into()))
        }
        ArrowType::Time32(_) => {
            scaled::<Time32MillisecondType>(field, array, |value| millis(value.into()))
        }
        ArrowType::Time64(TimeUnit::Nanosecond) => {
            scaled::<Time64NanosecondType>(field, array, nanos)
        }
        ArrowType::Time64(_) => {
            Ok(array.as_primitive::<Time64MicrosecondType>().reinterpret_cast())
        }
        _ => Ok(array.as_primitive::<Int64Type>().clone()),
    }
}

fn scaled<T: ArrowPrimitiveType>(
    field: &FieldSchema,
    array: &ArrayRef,
    scale: impl Fn(T::Native) -> Option<i64>,
) -> Result<Int64Array> {
    let source: &PrimitiveArray<T> = array.as_primitive();
    source.try_unary(|value| scale(value).ok_or(())).map_err(|()| {
        let fits = |value: Option<T::Native>| value.is_none_or(|value| scale(value).is_some());
        let row = source.iter().position(|value| !fits(value));
        corrupt(field, row, "is a timestamp outside the range of microseconds")
    })
}

/// Decimals as the nearest doubles.
pub(super) fn doubles(field: &FieldSchema, array: &ArrayRef) -> Result<ArrayRef> {
    let failed = || corrupt(field, None, "has decimals that cannot be read");
    let small = match array.data_type() {
        ArrowType::Decimal32(_, scale)
        | ArrowType::Decimal64(_, scale)
        | ArrowType::Decimal128(_, scale) => Some(*scale),
        _ => None,
    };
    let Some(scale) = small else {
        // Digits are read as exactly as they are written.
        let texts = decimal_text(field, array)?;
        let parsed = texts.iter().map(|text| text.map(str::parse).transpose());
        let parsed = parsed.collect::<std::result::Result<Float64Array, _>>();
        return Ok(Arc::new(parsed.map_err(|error| failed().caused_by(error))?));
    };
    let wide = cast(array, &ArrowType::Decimal128(DIGITS_MAX, scale));
    let wide: Decimal128Array =
        wide.map_err(|error| failed().caused_by(error))?.as_primitive::<Decimal128Type>().clone();
    let doubles = wide.iter().map(|value| value.map(|value| decimal_to_double(value, scale)));
    Ok(Arc::new(doubles.collect::<Float64Array>()))
}

/// The double that is nearest to `unscaled` divided by ten to the power of `scale`.
#[must_use]
pub fn decimal_to_double(unscaled: i128, scale: i8) -> f64 {
    if unscaled.unsigned_abs() <= DOUBLE_EXACT_MAX && (0..=POWER_EXACT_MAX).contains(&scale) {
        #[expect(clippy::cast_precision_loss, reason = "the bound is where rounding begins")]
        let unscaled = unscaled as f64;
        // Both are exact, so that the division rounds once.
        return unscaled / 10_f64.powi(i32::from(scale));
    }
    // Text of this form is read exactly, so that this cannot fail.
    format!("{unscaled}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

/// Dates and decimals as text; `None` for any other array.
pub(super) fn text(field: &FieldSchema, array: &ArrayRef) -> Result<Option<ArrayRef>> {
    if array.data_type().is_decimal() {
        return decimal_text(field, array).map(|texts| Some(Arc::new(texts) as ArrayRef));
    }
    if !is_date(array.data_type()) {
        return Ok(None);
    }
    // A date of 64 bits is in milliseconds, and would be written with its time.
    let days = cast(array, &ArrowType::Date32);
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let texts = days.and_then(|days| cast_with_options(&days, &ArrowType::Utf8, &options));
    texts.map(Some).map_err(|error| {
        corrupt(field, None, "has a date outside the range of calendars").caused_by(error)
    })
}

fn decimal_text(field: &FieldSchema, array: &ArrayRef) -> Result<StringArray> {
    let texts = cast(array, &ArrowType::Utf8).map_err(|error| {
        corrupt(field, None, "has decimals that cannot be written").caused_by(error)
    })?;
    Ok(texts.as_string::<i32>().clone())
}
