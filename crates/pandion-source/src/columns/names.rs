//! Arrow types as Arrow's own implementation, and so Milvus's messages, name them.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// The name of a type in messages: `int8`, `string`, `list<item: float>`, `timestamp[us, tz=UTC]`.
#[must_use]
pub fn arrow_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Float16 => "halffloat".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::LargeUtf8 => "large_string".to_owned(),
        DataType::Utf8View => "string_view".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::LargeBinary => "large_binary".to_owned(),
        DataType::BinaryView => "binary_view".to_owned(),
        DataType::FixedSizeBinary(width) => format!("fixed_size_binary[{width}]"),
        DataType::Timestamp(unit, None) => format!("timestamp[{}]", unit_name(*unit)),
        DataType::Timestamp(unit, Some(zone)) => {
            format!("timestamp[{}, tz={zone}]", unit_name(*unit))
        }
        DataType::Date32 => "date32[day]".to_owned(),
        DataType::Date64 => "date64[ms]".to_owned(),
        DataType::Time32(unit) => format!("time32[{}]", unit_name(*unit)),
        DataType::Time64(unit) => format!("time64[{}]", unit_name(*unit)),
        DataType::Duration(unit) => format!("duration[{}]", unit_name(*unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "month_interval".to_owned(),
        DataType::Interval(IntervalUnit::DayTime) => "day_time_interval".to_owned(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "month_day_nano_interval".to_owned(),
        DataType::Decimal32(precision, scale) => format!("decimal32({precision}, {scale})"),
        DataType::Decimal64(precision, scale) => format!("decimal64({precision}, {scale})"),
        DataType::Decimal128(precision, scale) => format!("decimal128({precision}, {scale})"),
        DataType::Decimal256(precision, scale) => format!("decimal256({precision}, {scale})"),
        DataType::List(item) => format!("list<{}>", item_name(item)),
        DataType::LargeList(item) => format!("large_list<{}>", item_name(item)),
        DataType::ListView(item) => format!("list_view<{}>", item_name(item)),
        DataType::LargeListView(item) => format!("large_list_view<{}>", item_name(item)),
        DataType::FixedSizeList(item, length) => {
            format!("fixed_size_list<{}>[{length}]", item_name(item))
        }
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| item_name(field)).collect();
            format!("struct<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => format!("map<{}>", item_name(entries)),
        DataType::Dictionary(_, values) => format!("dictionary<{}>", arrow_name(values)),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => data_type.to_string().to_lowercase(),
    }
}

fn item_name(field: &arrow::datatypes::Field) -> String {
    format!("{}: {}", field.name(), arrow_name(field.data_type()))
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}
