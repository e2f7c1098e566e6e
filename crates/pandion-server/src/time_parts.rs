//! Parts of points in time: what `time_fields` asks for instead of whole ones.
//!
//! Where parts are asked for, every column of points in time becomes a column of arrays, one
//! number per part, in the order in which the parts are named.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use chrono_tz::Tz;
use pandion_proto::schema::field_data::Field;
use pandion_proto::schema::scalar_field::Data as Scalar;
use pandion_proto::schema::{ArrayArray, FieldData, LongArray, ScalarField};
use pandion_query::OutputColumn;
use pandion_types::{DataType, Error, Result};

use crate::field_data::encode_column;

/// A part of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePart {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// Microseconds after the second.
    Microsecond,
}

/// Parses the value of `time_fields`: names of parts between commas or spaces.
///
/// # Errors
/// `InvalidArgument` that names what is no part.
pub(crate) fn decode_time_parts(text: &str) -> Result<Vec<TimePart>> {
    text.split([',', ' '])
        .filter(|name| !name.is_empty())
        .map(|name| {
            Ok(match name.to_ascii_lowercase().as_str() {
                "year" => TimePart::Year,
                "month" => TimePart::Month,
                "day" => TimePart::Day,
                "hour" => TimePart::Hour,
                "minute" => TimePart::Minute,
                "second" => TimePart::Second,
                "microsecond" => TimePart::Microsecond,
                // Milvus spells it so, and clients match it.
                _ => {
                    return Err(Error::invalid_argument(format!(
                        "unsupported field for extraction: {name}, fields should be seprated by \
                         ',' or ' '"
                    )));
                }
            })
        })
        .collect()
}

/// Encodes the columns of an answer; points in time are written in `timezone`, as `parts` if there
/// are any.
///
/// # Errors
/// Those of [`encode_column`].
pub(crate) fn encode_columns(
    columns: &[OutputColumn],
    timezone: Tz,
    parts: &[TimePart],
) -> Result<Vec<FieldData>> {
    columns
        .iter()
        .map(|column| {
            let is_time = column.field.data_type == DataType::Timestamptz;
            let mut data = encode_column(&column.field, &column.values, timezone)?;
            if is_time && !parts.is_empty() {
                data.r#type = DataType::Array.code();
                data.field = Some(encode_parts(&column.values, timezone, parts)?);
            }
            Ok(data)
        })
        .collect()
}

fn encode_parts(column: &ArrayRef, timezone: Tz, parts: &[TimePart]) -> Result<Field> {
    let times = column
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal("a column of points in time is of another type"))?;
    let rows = times.iter().map(|micros| {
        let data = match micros {
            Some(micros) => {
                let utc: DateTime<Utc> =
                    DateTime::from_timestamp_micros(micros).ok_or_else(|| {
                        Error::corrupt(format!(
                            "{micros} microseconds since 1970 is no point in time"
                        ))
                    })?;
                let local = utc.with_timezone(&timezone);
                parts.iter().map(|part| part.of(&local)).collect()
            }
            None => Vec::new(),
        };
        Ok(ScalarField { data: Some(Scalar::LongData(LongArray { data })) })
    });
    let data = rows.collect::<Result<Vec<_>>>()?;
    let arrays = ArrayArray { data, element_type: DataType::Int64.code() };
    Ok(Field::Scalars(ScalarField { data: Some(Scalar::ArrayData(arrays)) }))
}

impl TimePart {
    fn of(self, time: &DateTime<Tz>) -> i64 {
        match self {
            Self::Year => time.year().into(),
            Self::Month => time.month().into(),
            Self::Day => time.day().into(),
            Self::Hour => time.hour().into(),
            Self::Minute => time.minute().into(),
            Self::Second => time.second().into(),
            Self::Microsecond => (time.nanosecond() % 1_000_000_000 / 1_000).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use pandion_types::FieldSchema;

    use super::*;

    fn column(data_type: DataType, values: ArrayRef) -> OutputColumn {
        let field =
            FieldSchema { external_field: None, ..FieldSchema::mapped(107, "t", data_type) };
        OutputColumn { field, values }
    }

    #[test]
    fn parts_are_named_between_commas_and_spaces() {
        let parts = decode_time_parts("year, MONTH day,,microsecond").unwrap();
        let expected = [TimePart::Year, TimePart::Month, TimePart::Day, TimePart::Microsecond];
        assert_eq!(parts, expected);
        assert!(decode_time_parts(" ,").unwrap().is_empty());
        let error = decode_time_parts("year;month").unwrap_err();
        assert!(error.message().contains("for extraction: year;month, fields"), "{error}");
    }

    #[test]
    fn points_in_time_become_arrays_of_their_parts() {
        // 2025-12-31T23:59:58.000007 UTC
        let micros = 1_767_225_598_000_007;
        let times = TimestampMicrosecondArray::from(vec![Some(micros), None]).with_timezone("UTC");
        let times = column(DataType::Timestamptz, Arc::new(times));
        let number = column(DataType::Int64, Arc::new(Int64Array::from(vec![1, 2])));
        let parts = decode_time_parts("year month day hour minute second microsecond").unwrap();
        let shanghai = Tz::Asia__Shanghai;
        let found = encode_columns(&[times.clone(), number], shanghai, &parts).unwrap();
        assert_eq!((found[0].r#type, found[1].r#type), (22, 5));
        assert_eq!(found[0].valid_data, [true, false]);
        let Some(Field::Scalars(ScalarField { data: Some(Scalar::ArrayData(arrays)) })) =
            &found[0].field
        else {
            panic!("not arrays: {:?}", found[0]);
        };
        let row = |data: Vec<i64>| ScalarField { data: Some(Scalar::LongData(LongArray { data })) };
        assert_eq!(arrays.data, [row(vec![2026, 1, 1, 7, 59, 58, 7]), row(vec![])]);
        assert_eq!(arrays.element_type, 5);
        let whole = encode_columns(&[times], shanghai, &[]).unwrap();
        assert_eq!(whole[0].r#type, 26);
    }
}
