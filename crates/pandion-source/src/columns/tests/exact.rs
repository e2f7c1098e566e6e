//! Decimals, dates, times and timestamps in the forms of fields.

use arrow::array::{
    Date32Array, Date64Array, Decimal32Array, Decimal128Array, Decimal256Array,
    Time32MillisecondArray, Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimeUnit, i256};

use super::*;

fn decimals(values: Vec<Option<i128>>, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()
}

#[test]
fn decimals_become_the_nearest_double_or_all_their_digits() {
    let double = field(DataType::Double);
    let values = vec![Some(150), None, Some(-1), Some(i128::from(i64::MAX)), Some(10_i128.pow(37))];
    let converted = convert(&double, decimals(values.clone(), 2)).unwrap();
    let expected = [Some(1.5), None, Some(-0.01), Some(92_233_720_368_547_758.07), Some(1e35)];
    assert_eq!(converted.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), expected);
    let texts = convert(&field(DataType::VarChar), decimals(values, 2)).unwrap();
    let expected = StringArray::from(vec![
        Some("1.50"),
        None,
        Some("-0.01"),
        Some("92233720368547758.07"),
        Some("100000000000000000000000000000000000.00"),
    ]);
    assert_eq!(texts.as_string::<i32>(), &expected);
    let small = Decimal32Array::from(vec![-25]).with_precision_and_scale(9, 1).unwrap();
    assert_eq!(convert(&double, small).unwrap().as_primitive::<Float64Type>().value(0), -2.5);
    let large = Decimal256Array::from(vec![i256::from_i128(-25)]);
    let large = large.with_precision_and_scale(76, 1).unwrap();
    assert_eq!(convert(&double, large).unwrap().as_primitive::<Float64Type>().value(0), -2.5);
    assert!(check(&field(DataType::Float), &ArrowType::Decimal128(9, 2)).is_err());
    assert!(check(&field(DataType::Int64), &ArrowType::Decimal128(9, 0)).is_err());
}

#[test]
fn doubles_of_decimals_are_rounded_once() {
    // A quotient of rounded numbers would be the double below.
    let rounded = decimal_to_double(9_007_199_254_740_993, 0);
    assert_eq!(rounded.to_bits(), 9_007_199_254_740_992_f64.to_bits());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for scale in 0..=38_i8 {
        for _ in 0..200 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let unscaled = i128::from(state.cast_signed() >> (state % 60));
            let text = format!("{unscaled}e-{scale}");
            let nearest: f64 = text.parse().unwrap();
            assert_eq!(decimal_to_double(unscaled, scale).to_bits(), nearest.to_bits(), "{text}");
        }
    }
}

#[test]
fn dates_become_midnight_or_text() {
    let days = vec![Some(0), None, Some(-1), Some(19_782), Some(-719_528)];
    let stamps = convert(&field(DataType::Timestamptz), Date32Array::from(days.clone())).unwrap();
    let micros = stamps.as_primitive::<TimestampMicrosecondType>();
    let expected = days.iter().map(|day| day.map(|day: i32| i64::from(day) * 86_400_000_000));
    assert_eq!(micros.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let texts = convert(&field(DataType::VarChar), Date32Array::from(days)).unwrap();
    let expected = StringArray::from(vec![
        Some("1970-01-01"),
        None,
        Some("1969-12-31"),
        Some("2024-02-29"),
        Some("0000-01-01"),
    ]);
    assert_eq!(texts.as_string::<i32>(), &expected);
    let millis = Date64Array::from(vec![-86_400_000]);
    let stamps = convert(&field(DataType::Timestamptz), millis.clone()).unwrap();
    assert_eq!(stamps.as_primitive::<TimestampMicrosecondType>().value(0), -86_400_000_000);
    let texts = convert(&field(DataType::Text), millis).unwrap();
    assert_eq!(texts.as_string::<i32>().value(0), "1969-12-31");
    for data_type in [DataType::Int32, DataType::Int64, DataType::Json] {
        assert!(check(&field(data_type), &ArrowType::Date32).is_err());
    }
    let far = Date32Array::from(vec![Some(1), Some(i32::MAX)]);
    let message = error_of(&field(DataType::Timestamptz), far.clone());
    assert!(message.contains("at row 1 is a timestamp outside the range"), "{message}");
    let message = error_of(&field(DataType::VarChar), far);
    assert!(message.contains("date outside the range of calendars"), "{message}");
}

#[test]
fn times_and_timestamps_become_microseconds() {
    let arrays: [(ArrayRef, i64); 8] = [
        (Arc::new(Time32SecondArray::from(vec![Some(2), None])), 2_000_000),
        (Arc::new(Time32MillisecondArray::from(vec![Some(2), None])), 2000),
        (Arc::new(Time64MicrosecondArray::from(vec![Some(2), None])), 2),
        (Arc::new(Time64NanosecondArray::from(vec![Some(2999), None])), 2),
        (Arc::new(TimestampSecondArray::from(vec![Some(-2), None])), -2_000_000),
        (Arc::new(TimestampMillisecondArray::from(vec![Some(-2), None])), -2000),
        (Arc::new(TimestampMicrosecondArray::from(vec![Some(-2), None])), -2),
        (Arc::new(TimestampNanosecondArray::from(vec![Some(-2), None])), -1),
    ];
    for (array, expected) in arrays {
        let micros = to_canonical(&field(DataType::Int64), &array).unwrap();
        let micros = micros.as_primitive::<Int64Type>();
        assert_eq!(micros.iter().collect::<Vec<_>>(), [Some(expected), None], "{array:?}");
    }
    let message = error_of(&field(DataType::Int64), TimestampSecondArray::from(vec![i64::MAX]));
    assert!(message.contains("at row 0 is a timestamp outside the range"), "{message}");
    assert!(
        check(&field(DataType::Timestamptz), &ArrowType::Time64(TimeUnit::Microsecond)).is_err()
    );
    assert!(check(&field(DataType::Int32), &ArrowType::Time32(TimeUnit::Second)).is_err());
}

#[test]
fn elements_of_arrays_are_brought_into_their_form() {
    let values = decimals(vec![Some(150), Some(25)], 2);
    let item = item(values.data_type().clone());
    let list = ListArray::new(item, offsets(&[0, 2]), Arc::new(values), None);
    let doubles = convert(&array_of(DataType::Double), list.clone()).unwrap();
    let doubles = doubles.as_list::<i32>().value(0);
    assert_eq!(doubles.as_primitive::<Float64Type>().values(), &[1.5, 0.25]);
    let texts = convert(&array_of(DataType::VarChar), list).unwrap();
    let expected = StringArray::from(vec!["1.50", "0.25"]);
    assert_eq!(texts.as_list::<i32>().value(0).as_string::<i32>(), &expected);
}
