//! Texts of Iceberg types: the short form, and the JSON of the specification's appendix C.

use serde_json::{Map, Value};

use super::{IcebergField, IcebergType};

/// How deep types may lie in each other: decoders recurse into them.
const DEPTH_MAX: usize = 64;

/// The primitive types without parameters.
const PRIMITIVES: [(&str, IcebergType); 16] = [
    ("boolean", IcebergType::Boolean),
    ("int", IcebergType::Int),
    ("long", IcebergType::Long),
    ("float", IcebergType::Float),
    ("double", IcebergType::Double),
    ("date", IcebergType::Date),
    ("time", IcebergType::Time),
    ("timestamp", IcebergType::Timestamp),
    ("timestamptz", IcebergType::Timestamptz),
    ("timestamp_ns", IcebergType::TimestampNs),
    ("timestamptz_ns", IcebergType::TimestamptzNs),
    ("string", IcebergType::String),
    ("uuid", IcebergType::Uuid),
    ("binary", IcebergType::Binary),
    ("unknown", IcebergType::Unknown),
    ("variant", IcebergType::Variant),
];

/// The name of a type without parameters that are shown.
pub(super) fn name(primitive: &IcebergType) -> &'static str {
    let known = PRIMITIVES.iter().find(|(_, known)| known == primitive);
    match (known, primitive) {
        (Some((name, _)), _) => name,
        (None, IcebergType::Geometry) => "geometry",
        (None, IcebergType::Geography) => "geography",
        (None, _) => "nested",
    }
}

/// `None` when the text is no type.
pub(super) fn parse(text: &str) -> Option<IcebergType> {
    let text = text.trim();
    if text.starts_with(['{', '"']) {
        // The parser of JSON bounds the depth itself.
        return from_json(&serde_json::from_str(text).ok()?, 0);
    }
    short(text, 0)
}

fn short(text: &str, depth: usize) -> Option<IcebergType> {
    if depth > DEPTH_MAX {
        return None;
    }
    let text = text.trim();
    let inside =
        |name: &str| text.strip_prefix(name)?.trim_start().strip_prefix('<')?.strip_suffix('>');
    let part = |text: &str| Some(Box::new(unnamed(None, short(text, depth + 1)?)));
    if let Some(element) = inside("list") {
        return Some(IcebergType::List(part(element)?));
    }
    if let Some(pair) = inside("map") {
        let (key, value) = pair.split_at_checked(comma(pair)?)?;
        return Some(IcebergType::Map(part(key)?, part(value.strip_prefix(',')?)?));
    }
    primitive(text)
}

/// Where the first comma stands that is inside of no brackets.
fn comma(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.char_indices().find_map(|(at, letter)| {
        match letter {
            '<' | '(' | '[' => open += 1,
            '>' | ')' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
        (letter == ',' && open == 0).then_some(at)
    })
}

fn primitive(text: &str) -> Option<IcebergType> {
    if let Some((_, known)) = PRIMITIVES.iter().find(|(name, _)| *name == text) {
        return Some(known.clone());
    }
    let (name, parameters) = match text.split_once(['(', '[']) {
        Some((name, rest)) => (name.trim_end(), rest.strip_suffix([')', ']'])?),
        None => (text, ""),
    };
    match name {
        "decimal" => {
            let (precision, scale) = parameters.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let fits = (1..=38).contains(&precision) && (0..=38).contains(&scale);
            fits.then_some(IcebergType::Decimal { precision, scale })
        }
        "fixed" => {
            let length = parameters.trim().parse().ok().filter(|&length| length >= 0)?;
            Some(IcebergType::Fixed(length))
        }
        "geometry" => Some(IcebergType::Geometry),
        "geography" => Some(IcebergType::Geography),
        _ => None,
    }
}

fn from_json(json: &Value, depth: usize) -> Option<IcebergType> {
    if depth > DEPTH_MAX {
        return None;
    }
    let members = match json {
        Value::String(text) => return primitive(text.trim()),
        json => json.as_object()?,
    };
    let part = |name: &str| {
        let id = id(members.get(&format!("{name}-id"))?)?;
        Some(Box::new(unnamed(Some(id), from_json(members.get(name)?, depth + 1)?)))
    };
    match members.get("type")?.as_str()? {
        "struct" => {
            let fields = members.get("fields")?.as_array()?.iter();
            let fields = fields.map(|field| struct_field(field.as_object()?, depth + 1));
            Some(IcebergType::Struct(fields.collect::<Option<_>>()?))
        }
        "list" => Some(IcebergType::List(part("element")?)),
        "map" => Some(IcebergType::Map(part("key")?, part("value")?)),
        _ => None,
    }
}

fn struct_field(members: &Map<String, Value>, depth: usize) -> Option<IcebergField> {
    Some(IcebergField {
        id: Some(id(members.get("id")?)?),
        name: members.get("name")?.as_str()?.to_owned(),
        field_type: from_json(members.get("type")?, depth)?,
        has_default: members.get("initial-default").is_some_and(|default| !default.is_null()),
    })
}

fn id(json: &Value) -> Option<i32> {
    i32::try_from(json.as_i64()?).ok()
}

fn unnamed(id: Option<i32>, field_type: IcebergType) -> IcebergField {
    IcebergField { id, name: String::new(), field_type, has_default: false }
}
