//! Template values of a filter: from the wire to plain values.
//!
//! A filter may hold `{name}` where a constant stands; the request brings the constant beside it.
//! This module only translates. Whether a filter uses a name, and whether the type fits, is for the
//! filter to say.

use std::collections::{BTreeMap, HashMap};

use pandion_proto::schema;
use pandion_proto::schema::template_array_value::Data;
use pandion_proto::schema::template_value::Val;
use pandion_types::{Error, Result};

/// A constant that stands in for `{name}`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TemplateValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int64(i64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    String(String),
    /// A list, possibly empty or of mixed types.
    List(Vec<TemplateValue>),
}

/// Decodes the template values of a request.
///
/// # Errors
/// `InvalidArgument` that names the template when it has no value, or one that a filter cannot
/// compare with: bytes, a JSON object, a JSON null.
pub(crate) fn decode_templates(
    values: &HashMap<String, schema::TemplateValue>,
) -> Result<BTreeMap<String, TemplateValue>> {
    values
        .iter()
        .map(|(name, value)| {
            let value = decode_value(value)
                .map_err(|error| error.context(format!("template value {name}")))?;
            Ok((name.clone(), value))
        })
        .collect()
}

fn decode_value(value: &schema::TemplateValue) -> Result<TemplateValue> {
    match &value.val {
        Some(Val::BoolVal(value)) => Ok(TemplateValue::Bool(*value)),
        Some(Val::Int64Val(value)) => Ok(TemplateValue::Int64(*value)),
        Some(Val::FloatVal(value)) => Ok(TemplateValue::Double(*value)),
        Some(Val::StringVal(value)) => Ok(TemplateValue::String(value.clone())),
        Some(Val::ArrayVal(array)) => decode_array(array),
        Some(Val::BytesVal(_)) => {
            Err(Error::invalid_argument("bytes cannot be compared with in a filter"))
        }
        None => Err(Error::invalid_argument("no value is given")),
    }
}

fn decode_array(array: &schema::TemplateArrayValue) -> Result<TemplateValue> {
    let values = match &array.data {
        // Clients send an empty list with no member set.
        None => Vec::new(),
        Some(Data::BoolData(values)) => {
            values.data.iter().copied().map(TemplateValue::Bool).collect()
        }
        Some(Data::LongData(values)) => {
            values.data.iter().copied().map(TemplateValue::Int64).collect()
        }
        Some(Data::DoubleData(values)) => {
            values.data.iter().copied().map(TemplateValue::Double).collect()
        }
        Some(Data::StringData(values)) => {
            values.data.iter().cloned().map(TemplateValue::String).collect()
        }
        Some(Data::ArrayData(arrays)) => {
            arrays.data.iter().map(decode_array).collect::<Result<_>>()?
        }
        Some(Data::JsonData(texts)) => {
            texts.data.iter().map(|text| decode_json(text)).collect::<Result<_>>()?
        }
    };
    Ok(TemplateValue::List(values))
}

/// Clients write the elements of a list of mixed types as JSON texts.
fn decode_json(text: &[u8]) -> Result<TemplateValue> {
    let value = serde_json::from_slice(text).map_err(|error| {
        Error::invalid_argument("a list element is not a JSON text").caused_by(error)
    })?;
    from_json(value)
}

fn from_json(value: serde_json::Value) -> Result<TemplateValue> {
    match value {
        serde_json::Value::Bool(value) => Ok(TemplateValue::Bool(value)),
        serde_json::Value::String(value) => Ok(TemplateValue::String(value)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Ok(TemplateValue::Int64(value)),
            (None, Some(value)) => Ok(TemplateValue::Double(value)),
            (None, None) => Err(Error::invalid_argument(format!("number {number} is too large"))),
        },
        serde_json::Value::Array(values) => {
            values.into_iter().map(from_json).collect::<Result<_>>().map(TemplateValue::List)
        }
        serde_json::Value::Null => {
            Err(Error::invalid_argument("null cannot be compared with in a filter"))
        }
        serde_json::Value::Object(_) => {
            Err(Error::invalid_argument("a JSON object cannot be compared with in a filter"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(val: Option<Val>) -> Result<TemplateValue> {
        let values = HashMap::from([("x".to_owned(), schema::TemplateValue { val })]);
        decode_templates(&values).map(|mut values| values.remove("x").unwrap())
    }

    fn list(data: Option<Data>) -> Option<Val> {
        Some(Val::ArrayVal(schema::TemplateArrayValue { data }))
    }

    #[test]
    fn scalars_keep_their_types() {
        assert_eq!(decode(Some(Val::BoolVal(true))).unwrap(), TemplateValue::Bool(true));
        assert_eq!(decode(Some(Val::Int64Val(-1))).unwrap(), TemplateValue::Int64(-1));
        assert_eq!(decode(Some(Val::FloatVal(0.5))).unwrap(), TemplateValue::Double(0.5));
        let text = TemplateValue::String("a".to_owned());
        assert_eq!(decode(Some(Val::StringVal("a".to_owned()))).unwrap(), text);
    }

    #[test]
    fn list_without_data_is_empty() {
        assert_eq!(decode(list(None)).unwrap(), TemplateValue::List(Vec::new()));
    }

    #[test]
    fn lists_nest_and_mix() {
        let inner = schema::TemplateArrayValue {
            data: Some(Data::LongData(schema::LongArray { data: vec![1, 2] })),
        };
        let nested = Data::ArrayData(schema::TemplateArrayValueArray { data: vec![inner] });
        assert_eq!(
            decode(list(Some(nested))).unwrap(),
            TemplateValue::List(vec![TemplateValue::List(vec![
                TemplateValue::Int64(1),
                TemplateValue::Int64(2)
            ])])
        );
        let texts = ["1", "2.5", "\"a\"", "true", "[3]"].map(|text| text.as_bytes().to_vec());
        let mixed = Data::JsonData(schema::JsonArray { data: texts.to_vec() });
        assert_eq!(
            decode(list(Some(mixed))).unwrap(),
            TemplateValue::List(vec![
                TemplateValue::Int64(1),
                TemplateValue::Double(2.5),
                TemplateValue::String("a".to_owned()),
                TemplateValue::Bool(true),
                TemplateValue::List(vec![TemplateValue::Int64(3)]),
            ])
        );
    }

    #[test]
    fn values_without_an_order_are_refused_by_name() {
        let json = |text: &str| {
            list(Some(Data::JsonData(schema::JsonArray { data: vec![text.as_bytes().to_vec()] })))
        };
        for val in [None, Some(Val::BytesVal(vec![1])), json("{}"), json("null"), json("{")] {
            let error = decode(val).unwrap_err();
            assert!(error.message().starts_with("template value x: "), "{error}");
        }
    }
}
