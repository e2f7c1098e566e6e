//! The query vectors of a search: from the wire to bytes that an index can read.
//!
//! Counts, types and widths are checked here, so that no later layer has to expect a malformed
//! query. The components themselves are not looked at or normalised, and converted only from
//! binary32 to the 16 bits of the field, as Milvus does.

use bytes::Bytes;
use half::{bf16, f16};
use pandion_proto::common::{PlaceholderGroup, PlaceholderType, PlaceholderValue};
use pandion_types::{DataType, Error, FieldSchema, Result, VectorElement, VectorType};
use prost::Message as _;

/// The most query vectors that one request may bring.
pub(crate) const QUERY_VECTORS_MAX: usize = 16_384;

/// The query vectors of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryVectors {
    /// Element and dimension, those of the searched field.
    pub(crate) vector_type: VectorType,
    /// Number of vectors, at least 1.
    pub(crate) count: usize,
    /// The vectors back to back, little endian: `count * vector_type.bytes()` bytes.
    pub(crate) data: Vec<u8>,
}

/// Decodes the serialized `PlaceholderGroup` of a search on `field`.
///
/// `nq` is the number of vectors as the request states it; 0 stands for "as many as there are".
///
/// # Errors
/// `InvalidArgument` when the bytes are no placeholder group, when the number of vectors is wrong,
/// or when they are not of the field's type and dimension; `Unsupported` for searches by text and by
/// lists of vectors.
pub(crate) fn decode_query_vectors(
    field: &FieldSchema,
    nq: i64,
    group: &Bytes,
) -> Result<QueryVectors> {
    let vector_type = field.vector_type().ok_or_else(|| {
        Error::invalid_argument(format!("field {} is not a dense vector field", field.name))
    })?;
    let group = PlaceholderGroup::decode(group.clone()).map_err(|error| {
        Error::invalid_argument("the placeholder group of the search is malformed").caused_by(error)
    })?;
    let placeholder = only_placeholder(&group, nq)?;
    let sent = check_type(field, vector_type.element, placeholder)?;
    let count = check_count(nq, placeholder.values.len())?;

    let width = VectorType { element: sent, ..vector_type }.bytes();
    let mut data = Vec::with_capacity(count * vector_type.bytes());
    for value in &placeholder.values {
        if value.len() != width {
            return Err(Error::invalid_argument(format!(
                "vector dimension mismatch, expected vector size(byte) {width}, actual {}.",
                value.len()
            )));
        }
        if sent == vector_type.element {
            data.extend_from_slice(value);
        } else {
            narrow(value, vector_type.element, &mut data);
        }
    }
    Ok(QueryVectors { vector_type, count, data })
}

/// Rounds binary32 components to the narrower type of the field.
fn narrow(value: &[u8], element: VectorElement, data: &mut Vec<u8>) {
    let (components, _) = value.as_chunks::<4>();
    for component in components {
        let component = f32::from_le_bytes(*component);
        let bits = if element == VectorElement::BFloat16 {
            bf16::from_f32(component).to_bits()
        } else {
            f16::from_f32(component).to_bits()
        };
        data.extend_from_slice(&bits.to_le_bytes());
    }
}

/// Checks the number of query vectors, or of ids, of a search.
///
/// # Errors
/// `InvalidArgument` when there are none or too many.
pub(crate) fn check_query_count(nq: i64) -> Result<usize> {
    usize::try_from(nq).ok().filter(|count| (1..=QUERY_VECTORS_MAX).contains(count)).ok_or_else(
        || {
            Error::invalid_argument(format!(
                "nq [{nq}] is invalid, nq (number of search vector per search request) should be \
                 in range [1, {QUERY_VECTORS_MAX}], but got {nq}"
            ))
        },
    )
}

fn only_placeholder(group: &PlaceholderGroup, nq: i64) -> Result<&PlaceholderValue> {
    match group.placeholders.as_slice() {
        [placeholder] => Ok(placeholder),
        [] => {
            check_query_count(nq)?;
            Err(Error::invalid_argument("nq [0] is invalid, the search has no query vectors"))
        }
        several => Err(Error::invalid_argument(format!(
            "the placeholder group of the search holds {} placeholders, expected 1",
            several.len()
        ))),
    }
}

fn check_count(nq: i64, actual: usize) -> Result<usize> {
    let actual = check_query_count(i64::try_from(actual).unwrap_or(i64::MAX))?;
    let stated = if nq == 0 { actual } else { check_query_count(nq)? };
    if stated == actual {
        return Ok(actual);
    }
    Err(Error::invalid_argument(format!(
        "nq [{nq}] is invalid, the placeholder group holds {actual} vectors"
    )))
}

/// The element of the vectors that were sent: that of the field, or binary32 for a narrower one.
fn check_type(
    field: &FieldSchema,
    element: VectorElement,
    placeholder: &PlaceholderValue,
) -> Result<VectorElement> {
    let kind = PlaceholderType::try_from(placeholder.r#type).map_err(|error| {
        Error::invalid_argument(format!("placeholder type {} is not known", placeholder.r#type))
            .caused_by(error)
    })?;
    let data_type = match kind {
        PlaceholderType::BinaryVector => Some(DataType::BinaryVector),
        PlaceholderType::FloatVector => Some(DataType::FloatVector),
        PlaceholderType::Float16Vector => Some(DataType::Float16Vector),
        PlaceholderType::BFloat16Vector => Some(DataType::BFloat16Vector),
        PlaceholderType::Int8Vector => Some(DataType::Int8Vector),
        PlaceholderType::SparseFloatVector => Some(DataType::SparseFloatVector),
        PlaceholderType::VarChar => {
            return Err(Error::unsupported(format!(
                "search by text on field {} is not supported: no function of the collection makes \
                 vectors from text; send vectors",
                field.name
            )));
        }
        PlaceholderType::EmbListBinaryVector
        | PlaceholderType::EmbListFloatVector
        | PlaceholderType::EmbListFloat16Vector
        | PlaceholderType::EmbListBFloat16Vector
        | PlaceholderType::EmbListSparseFloatVector
        | PlaceholderType::EmbListInt8Vector => {
            return Err(Error::unsupported(format!(
                "search by embedding lists on field {} is not supported: send one vector per query",
                field.name
            )));
        }
        PlaceholderType::None | PlaceholderType::Int64 => None,
    };
    if placeholder.element_level {
        return Err(Error::unsupported(format!(
            "element-level search on field {} is not supported: its values are single vectors",
            field.name
        )));
    }
    if data_type == Some(field.data_type) {
        return Ok(element);
    }
    let narrower = matches!(element, VectorElement::Float16 | VectorElement::BFloat16);
    if narrower && data_type == Some(DataType::FloatVector) {
        return Ok(VectorElement::Float32);
    }
    let actual = data_type.map_or(kind.as_str_name(), DataType::name);
    Err(Error::invalid_argument(format!(
        "vector type must be the same, field {} - type {}, search info type {actual}",
        field.name, field.data_type
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pandion_types::ErrorKind;

    use super::*;

    fn field(data_type: DataType, dim: usize) -> FieldSchema {
        FieldSchema {
            type_params: BTreeMap::from([("dim".to_owned(), dim.to_string())]),
            ..FieldSchema::mapped(101, "v", data_type)
        }
    }

    fn group(kind: PlaceholderType, values: &[&[u8]]) -> Bytes {
        let values = values.iter().map(|value| Bytes::copy_from_slice(value)).collect();
        let placeholder = PlaceholderValue {
            tag: "$0".to_owned(),
            r#type: kind.into(),
            values,
            element_level: false,
        };
        PlaceholderGroup { placeholders: vec![placeholder] }.encode_to_vec().into()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn refusal(field: &FieldSchema, nq: i64, group: &Bytes) -> (ErrorKind, String) {
        let error = decode_query_vectors(field, nq, group).unwrap_err();
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn vectors_lie_back_to_back() {
        let (a, b) = (floats(&[1.0, 2.0]), floats(&[3.0, 4.0]));
        let group = group(PlaceholderType::FloatVector, &[&a, &b]);
        for nq in [0, 2] {
            let vectors =
                decode_query_vectors(&field(DataType::FloatVector, 2), nq, &group).unwrap();
            assert_eq!(vectors.count, 2);
            assert_eq!(vectors.vector_type.dim, 2);
            assert_eq!(vectors.data, [a.clone(), b.clone()].concat());
        }
    }

    #[test]
    fn every_element_type_has_its_width() {
        for (data_type, kind, width) in [
            (DataType::BinaryVector, PlaceholderType::BinaryVector, 1),
            (DataType::Int8Vector, PlaceholderType::Int8Vector, 8),
            (DataType::Float16Vector, PlaceholderType::Float16Vector, 16),
            (DataType::BFloat16Vector, PlaceholderType::BFloat16Vector, 16),
            (DataType::FloatVector, PlaceholderType::FloatVector, 32),
        ] {
            let field = field(data_type, 8);
            let good = decode_query_vectors(&field, 1, &group(kind, &[&vec![0; width]]));
            assert_eq!(good.unwrap().data.len(), width, "{data_type}");
            let (_, message) = refusal(&field, 1, &group(kind, &[&vec![0; width + 1]]));
            let expected = format!(
                "vector dimension mismatch, expected vector size(byte) {width}, actual {}.",
                width + 1
            );
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn floats_are_rounded_to_the_narrower_type_of_the_field() {
        let group = group(PlaceholderType::FloatVector, &[&floats(&[1.0, -2.5])]);
        let bits = |data_type| {
            let vectors = decode_query_vectors(&field(data_type, 2), 1, &group).unwrap();
            assert_eq!(vectors.data.len(), vectors.vector_type.bytes());
            vectors.data
        };
        assert_eq!(bits(DataType::Float16Vector), [0x00, 0x3c, 0x00, 0xc1]);
        assert_eq!(bits(DataType::BFloat16Vector), [0x80, 0x3f, 0x20, 0xc0]);
        let (_, message) = refusal(&field(DataType::Float16Vector, 4), 1, &group);
        assert!(message.contains("expected vector size(byte) 16, actual 8"), "{message}");
        assert!(refusal(&field(DataType::Int8Vector, 2), 1, &group).1.contains("must be the same"));
    }

    #[test]
    fn wrong_counts_are_refused() {
        let field = field(DataType::FloatVector, 2);
        let one = group(PlaceholderType::FloatVector, &[&floats(&[1.0, 2.0])]);
        assert!(refusal(&field, 2, &one).1.starts_with("nq [2] is invalid"));
        assert!(refusal(&field, -1, &one).1.starts_with("nq [-1] is invalid"));
        assert!(refusal(&field, 16_385, &one).1.starts_with("nq [16385] is invalid"));
        let none = group(PlaceholderType::FloatVector, &[]);
        assert!(refusal(&field, 0, &none).1.starts_with("nq [0] is invalid"));
        assert!(refusal(&field, 0, &Bytes::new()).1.starts_with("nq [0] is invalid"));
    }

    #[test]
    fn wrong_types_are_refused() {
        let field = field(DataType::FloatVector, 2);
        let binary = group(PlaceholderType::BinaryVector, &[&[0]]);
        let (kind, message) = refusal(&field, 1, &binary);
        assert_eq!(kind, ErrorKind::InvalidArgument);
        assert!(message.starts_with("vector type must be the same"), "{message}");

        let text = group(PlaceholderType::VarChar, &[b"hello"]);
        assert_eq!(refusal(&field, 1, &text).0, ErrorKind::Unsupported);
        let lists = group(PlaceholderType::EmbListFloatVector, &[&floats(&[1.0, 2.0])]);
        assert_eq!(refusal(&field, 1, &lists).0, ErrorKind::Unsupported);
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        let (kind, message) =
            refusal(&field(DataType::FloatVector, 2), 1, &Bytes::from_static(&[0x0a, 0xff]));
        assert_eq!(kind, ErrorKind::InvalidArgument);
        assert!(message.contains("malformed"), "{message}");
    }
}
